//! Sub-queries in the expressions of a SELECT. They are collected while its expressions are bound, and replaced by columns.

use sqlparser::ast::BinaryOperator;
use weir_core::SqlType;
use weir_core::error::Place;
use weir_expr::Expr;
use weir_plan::Plan;

/// What an expression asks of a sub-query.
pub(crate) enum Kind {
    /// Its only value.
    Scalar,
    /// Whether it has rows.
    Exists,
    /// Whether the comparison of these values with one of its rows is true.
    Any(Vec<Expr>, BinaryOperator),
}

/// A sub-query in an expression.
pub(crate) struct SubQuery {
    pub kind: Kind,
    pub plan: Plan,
    /// The conditions that name columns of the query around. They may read columns behind those that the sub-query selects.
    pub correlation: Vec<Expr>,
    /// The columns of the query around whose values the plan needs, if it is evaluated for all of their values together.
    pub values: Vec<Expr>,
    /// The plan as it was bound.
    pub whole: Plan,
    /// The value of a scalar sub-query that finds no row.
    pub of_no_rows: Option<Expr>,
    pub place: Option<Place>,
}

/// Columns from this index on are placeholders for sub-queries.
const PLACEHOLDER: usize = 1 << 27;
/// The index after these placeholders.
const END: usize = 1 << 28;

/// The number of a placeholder.
pub(crate) fn number(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } if (PLACEHOLDER..END).contains(index) => Some(index - PLACEHOLDER),
        _ => None,
    }
}

/// The placeholder for the sub-query with this number.
pub(crate) fn placeholder(number: usize, ty: SqlType) -> Expr {
    Expr::column(PLACEHOLDER + number, "sub-query", ty)
}

/// Whether an expression is a placeholder.
pub(crate) fn is_sub_query(e: &Expr) -> bool {
    number(e).is_some()
}

/// Columns from this index on are those of the query around a sub-query.
pub(crate) const OUTER: usize = 1 << 26;
/// The index after these columns.
pub(crate) const END_OF_OUTER: usize = 1 << 27;

/// A column of the query around a sub-query, as the sub-query's expressions have it.
pub(crate) fn outer(e: Expr) -> Expr {
    e.with_columns(&mut |c| OUTER + c)
}

/// Whether an expression is such a column.
pub(crate) fn is_outer(e: &Expr) -> bool {
    matches!(e, Expr::Column { index, .. } if (OUTER..END_OF_OUTER).contains(index))
}

/// Whether an expression contains sub-queries.
pub(crate) fn has_sub_query(e: &Expr) -> bool {
    e.any(&is_sub_query)
}
