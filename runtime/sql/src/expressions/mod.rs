//! Binds scalar expressions: resolves names to columns, types operators as Flink does, and makes implicit casts explicit.

mod aggregate_calls;
mod branches;
mod calls;
mod casts;
mod conditions;
mod forms;
mod intervals;
mod literals;
mod operators;

use crate::aggregates::Collector;
use crate::names::{Binder, Scope, field};
use crate::places::{place, start};
use crate::words::check_name;
pub(crate) use calls::{arguments, built_in_names};
pub(crate) use conditions::truth;
use sqlparser::ast::{AccessExpr, BinaryOperator, Expr as Ast, Ident, Subscript, UnaryOperator};
use weir_core::{Error, Result, SqlType, Value};
use weir_expr::Expr;

fn illegal_null() -> Error {
    Error::script("a bare NULL has no type here").hint("give it one: CAST(NULL AS INT)")
}

/// Functions that are called without parentheses.
const BARE: &[&str] = &[
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "PI",
    "CURRENT_ROW_TIMESTAMP",
];

impl Binder<'_> {
    /// Binds an expression. Its aggregates are added to the collector, if there is one.
    pub(crate) fn expr(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        self.deeper(|this| this.bind(ast, scope, agg)).map_err(|e| e.at(place(start(ast))))
    }

    /// Dispatches each kind of expression to the module that binds it.
    fn bind(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        match ast {
            Ast::Identifier(i) => self.name(i, scope),
            Ast::CompoundIdentifier(parts) => {
                parts.iter().try_for_each(check_name)?;
                self.resolve(parts, scope)
            }
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, scope, agg),
            Ast::Nested(e) => self.expr(e, scope, agg),
            Ast::Value(v) => match self.catalog.forms.of(&v.value) {
                Some(form) => self.form(&form, scope, agg),
                None => literals::literal(&v.value),
            },
            Ast::TypedString(t) => literals::typed(t),
            Ast::Interval(i) => self.interval(i, scope, agg),
            Ast::UnaryOp { op: UnaryOperator::Minus, expr } => self.minus(expr, scope, agg),
            Ast::UnaryOp { op: UnaryOperator::Plus, expr } => self.expr(expr, scope, agg),
            Ast::UnaryOp { op: UnaryOperator::Not, expr } => {
                let e = self.expr(expr, scope, agg)?;
                Ok(Expr::Not(Box::new(truth(e, "NOT")?)))
            }
            Ast::BinaryOp { left, op: BinaryOperator::Overlaps, right } => self.overlaps(left, right, scope, agg),
            Ast::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat, .. } => {
                self.chain(ast, scope, agg)
            }
            Ast::BinaryOp { left, op, right } => {
                let l = self.expr(left, scope, agg)?;
                let r = self.expr(right, scope, agg)?;
                self.binary(l, op, r)
            }
            Ast::IsNull(_)
            | Ast::IsNotNull(_)
            | Ast::IsTrue(_)
            | Ast::IsNotTrue(_)
            | Ast::IsFalse(_)
            | Ast::IsNotFalse(_)
            | Ast::IsUnknown(_)
            | Ast::IsNotUnknown(_)
            | Ast::IsDistinctFrom(..)
            | Ast::IsNotDistinctFrom(..)
            | Ast::Between { .. }
            | Ast::InList { .. }
            | Ast::Like { .. }
            | Ast::SimilarTo { .. } => self.condition(ast, scope, agg),
            Ast::Extract { .. }
            | Ast::Ceil { .. }
            | Ast::Floor { .. }
            | Ast::Substring { .. }
            | Ast::Overlay { .. } => self.with_words(ast, scope, agg),
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), scope, agg)
            }
            Ast::Array(a) => {
                let items = a.elem.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>()?;
                self.special("ARRAY", "ARRAY", items, agg)
            }
            Ast::Tuple(items) => {
                let items = items.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>()?;
                self.call("ROW", items)
            }
            Ast::Function(f) => self.function(f, scope, agg),
            Ast::InSubquery { .. } | Ast::Exists { .. } | Ast::Subquery(_) | Ast::AnyOp { .. } | Ast::AllOp { .. } => {
                self.sub_query(ast, scope, agg)
            }
            _ => Err(unsupported(ast)),
        }
    }

    /// Binds a single name: a column, or a function that is called without parentheses.
    fn name(&mut self, i: &Ident, scope: &Scope) -> Result<Expr> {
        if i.quote_style.is_none() && scope.find(None, &i.value)?.is_none() {
            match i.value.to_ascii_uppercase().as_str() {
                "UNKNOWN" => return Ok(Expr::literal(Value::Null, SqlType::BOOLEAN)),
                bare if BARE.contains(&bare) => return self.call(bare, vec![]),
                _ => {}
            }
        }
        check_name(i)?;
        self.resolve(std::slice::from_ref(i), scope)
    }

    /// Binds access to elements and fields of a name or an expression.
    fn access(
        &mut self,
        root: &Ast,
        access_chain: &[AccessExpr],
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let mut expr = None;
        let mut rest = access_chain;
        // `t.pos[1]` is parsed as a chain that begins with names.
        let mut names: Vec<Ident> = match root {
            Ast::Identifier(i) => vec![i.clone()],
            Ast::CompoundIdentifier(p) => p.clone(),
            _ => vec![],
        };
        if names.is_empty() {
            expr = Some(self.expr(root, scope, agg)?);
        } else {
            while let [AccessExpr::Dot(Ast::Identifier(i)), tail @ ..] = rest {
                names.push(i.clone());
                rest = tail;
            }
        }
        let mut expr = match expr {
            Some(e) => e,
            None => self.resolve(&names, scope)?,
        };
        for access in rest {
            expr = match access {
                AccessExpr::Dot(Ast::Identifier(i)) => field(expr, &i.value)?,
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let index = self.expr(index, scope, agg)?;
                    self.element_at(expr, index)?
                }
                _ => {
                    return Err(Error::script("this access is not known; write a[1], m['k'] or r.field"));
                }
            };
        }
        Ok(expr)
    }
}

/// The error for an unsupported expression.
fn unsupported(ast: &Ast) -> Error {
    match ast {
        Ast::RLike { .. } | Ast::ILike { .. } => {
            Error::script("RLIKE and ILIKE are not supported").hint("REGEXP(text, pattern) looks for a pattern")
        }
        Ast::Cast { .. } => {
            Error::script("this cast is not known").hint("write CAST(… AS type) or TRY_CAST(… AS type)")
        }
        Ast::Prefixed { .. } => Error::script("character sets of texts are not supported"),
        _ => Error::script("this expression is not supported"),
    }
}
