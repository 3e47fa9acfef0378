//! Positions in a script.

use sqlparser::ast::{Expr as Ast, Spanned};
use sqlparser::tokenizer::Location;
use weir_core::error::Place;

/// The start and the end of something in the script.
pub type Range = (Location, Location);

/// Converts a position of the parser; none if it is not in the script.
pub fn place(l: Location) -> Option<Place> {
    (l.line > 0).then_some(Place { line: l.line, column: l.column })
}

/// The text of a range in the script.
pub fn excerpt(sql: &str, (from, to): Range) -> &str {
    let (mut line, mut column) = (1, 1);
    let (mut start, mut end) = (sql.len(), sql.len());
    for (at, c) in sql.char_indices() {
        if (line, column) == (from.line, from.column) {
            start = at;
        }
        if (line, column) == (to.line, to.column) {
            end = at;
            break;
        }
        (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    sql.get(start..end).unwrap_or_default()
}

/// The start of an expression. The parser's own method visits the whole subtree on every level.
pub(crate) fn start(ast: &Ast) -> Location {
    let mut at = ast;
    loop {
        at = match at {
            Ast::BinaryOp { left, .. } => left,
            Ast::Nested(e)
            | Ast::IsNull(e)
            | Ast::IsNotNull(e)
            | Ast::IsTrue(e)
            | Ast::IsNotTrue(e)
            | Ast::IsFalse(e)
            | Ast::IsNotFalse(e)
            | Ast::IsUnknown(e)
            | Ast::IsNotUnknown(e)
            | Ast::IsDistinctFrom(e, _)
            | Ast::IsNotDistinctFrom(e, _) => e,
            Ast::Between { expr, .. }
            | Ast::InList { expr, .. }
            | Ast::Like { expr, .. }
            | Ast::SimilarTo { expr, .. }
            | Ast::UnaryOp { expr, .. }
            | Ast::Cast { expr, .. } => expr,
            Ast::Function(f) => return f.name.span().start,
            Ast::Case { case_token, .. } => return case_token.0.span.start,
            Ast::Array(a) if !a.elem.is_empty() => &a.elem[0],
            Ast::Tuple(items) if !items.is_empty() => &items[0],
            e => return e.span().start,
        };
    }
}
