//! Conditions: comparisons, IS …, BETWEEN, IN and LIKE.

use super::illegal_null;
use super::literals::{boolean, text};
use crate::aggregates::Collector;
use crate::budget::{joined, size};
use crate::names::{Binder, Scope};
use sqlparser::ast::Expr as Ast;
use weir_core::value::decimal_text;
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::functions::{self, cast_to, common_type};
use weir_expr::{CompareOp, Expr};

impl Binder<'_> {
    /// What asks whether something holds: IS …, BETWEEN, IN and LIKE.
    pub(super) fn condition(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        match ast {
            Ast::IsNull(e) => Ok(Expr::IsNull(Box::new(self.expr(e, scope, agg)?))),
            Ast::IsNotNull(e) => Ok(Expr::Not(Box::new(Expr::IsNull(Box::new(self.expr(e, scope, agg)?))))),
            Ast::IsTrue(e) => self.is(e, scope, agg, Some(true), false),
            Ast::IsNotTrue(e) => self.is(e, scope, agg, Some(true), true),
            Ast::IsFalse(e) => self.is(e, scope, agg, Some(false), false),
            Ast::IsNotFalse(e) => self.is(e, scope, agg, Some(false), true),
            Ast::IsUnknown(e) => self.is(e, scope, agg, None, false),
            Ast::IsNotUnknown(e) => self.is(e, scope, agg, None, true),
            Ast::IsDistinctFrom(a, b) | Ast::IsNotDistinctFrom(a, b) => {
                let op = match ast {
                    Ast::IsDistinctFrom(..) => CompareOp::DistinctFrom,
                    _ => CompareOp::NotDistinctFrom,
                };
                let (a, b) = (self.expr(a, scope, agg)?, self.expr(b, scope, agg)?);
                compare(op, a, b)
            }
            Ast::Between { expr, negated, low, high } => {
                let e = self.expr(expr, scope, agg)?;
                let (low, high) = (self.expr(low, scope, agg)?, self.expr(high, scope, agg)?);
                let from = compare(CompareOp::GreaterEq, self.again(&e)?, low)?;
                let to = compare(CompareOp::LessEq, e, high)?;
                Ok(negate(Expr::And(Box::new(from), Box::new(to)), *negated))
            }
            Ast::InList { expr, list, negated } => {
                let e = self.expr(expr, scope, agg)?;
                let mut all = vec![];
                let list = list.iter().map(|i| self.expr(i, scope, agg)).collect::<Result<Vec<_>>>()?;
                check_list(&list)?;
                for item in list {
                    all.push(compare(CompareOp::Eq, self.again(&e)?, listed(item, &e.ty()))?);
                }
                let mut all = if all.len() > SET { in_set(all) } else { all };
                if all.is_empty() {
                    all.push(boolean(false));
                }
                Ok(negate(joined(all, |a, b| Ok(Expr::Or(Box::new(a), Box::new(b))))?, *negated))
            }
            Ast::Like { any: true, .. } => Err(Error::script("LIKE ANY is not supported yet")),
            Ast::Like { negated, expr, pattern, escape_char, .. }
            | Ast::SimilarTo { negated, expr, pattern, escape_char } => {
                let name = if matches!(ast, Ast::Like { .. }) { "LIKE" } else { "SIMILAR TO" };
                let mut args = vec![self.expr(expr, scope, agg)?, self.expr(pattern, scope, agg)?];
                if let Some(e) = escape_char {
                    args.push(text(&e.value.clone().into_string().unwrap_or_default()));
                }
                Ok(negate(self.call(name, args)?, *negated))
            }
            _ => Err(Error::internal("no condition")),
        }
    }

    fn is(
        &mut self,
        e: &Ast,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
        value: Option<bool>,
        negated: bool,
    ) -> Result<Expr> {
        let e = truth(self.expr(e, scope, agg)?, "IS")?;
        let test = match value {
            Some(b) => Expr::Compare { op: CompareOp::NotDistinctFrom, left: Box::new(e), right: Box::new(boolean(b)) },
            None => Expr::IsNull(Box::new(e)),
        };
        Ok(negate(test, negated))
    }
}

fn negate(e: Expr, negated: bool) -> Expr {
    if negated { Expr::Not(Box::new(e)) } else { e }
}

/// An expression that must be a condition.
pub(crate) fn truth(e: Expr, of: &str) -> Result<Expr> {
    let ty = e.ty();
    match ty.kind {
        TypeKind::Boolean => Ok(e),
        TypeKind::Null if matches!(of, "AND" | "OR" | "NOT") => Err(illegal_null()),
        TypeKind::Null => Ok(Expr::literal(Value::Null, SqlType::BOOLEAN)),
        _ => Err(Error::script(format!("{of} takes a condition, not {} ({})", ty.kind, brief(&e)))),
    }
}

/// Whether the items behind IN go together.
fn check_list(list: &[Expr]) -> Result<()> {
    let types: Vec<SqlType> = list.iter().map(Expr::ty).filter(|t| !t.is_null()).collect();
    if types.is_empty() || common_type(&types).is_some() {
        return Ok(());
    }
    let mut names: Vec<String> = types.iter().map(|t| t.kind.to_string()).collect();
    names.dedup();
    Err(Error::script(format!("the values behind IN have types that do not go together: {}", names.join(", ")))
        .hint("write all of them as texts, or none"))
}

/// An item behind IN: as in Flink, text there becomes what it is compared with, and what is compared with text becomes text. A
/// constant is as exact as the FLOAT that it is compared with.
fn listed(item: Expr, with: &SqlType) -> Expr {
    let plain = |t: &SqlType| t.is_numeric() || t.kind == TypeKind::Boolean || t.is_temporal();
    let ty = item.ty();
    match () {
        _ if ty.is_text() && plain(with) => cast_to(item, with),
        _ if plain(&ty) && with.is_text() => cast_to(item, &SqlType::STRING),
        _ if with.kind == TypeKind::Float && ty.is_decimal() && written(&item) => cast_to(item, with),
        _ => item,
    }
}

/// Whether it is a number as a script writes it.
fn written(e: &Expr) -> bool {
    match e {
        Expr::Literal { .. } => true,
        Expr::Cast { expr, .. } => !expr.ty().is_text() && written(expr),
        _ => false,
    }
}

fn equality(op: CompareOp) -> bool {
    matches!(op, CompareOp::Eq | CompareOp::NotEq)
}

fn orders(op: CompareOp) -> bool {
    matches!(op, CompareOp::Less | CompareOp::LessEq | CompareOp::Greater | CompareOp::GreaterEq)
}

/// One side of a comparison, where the other is of this type. As in Flink, text becomes a number, a truth value or a time where
/// order is asked for; where equality is, it becomes a time only, and NULL if it says none. A FLOAT that is written as a decimal number
/// is as exact as the DOUBLE that it may be equal to.
fn beside(op: CompareOp, side: Expr, other: &SqlType) -> Expr {
    let ty = side.ty();
    let constant = matches!(side, Expr::Literal { .. });
    match () {
        _ if ty.is_text()
            && orders(op)
            && (other.is_temporal() || other.is_numeric() || other.kind == TypeKind::Boolean) =>
        {
            cast_to(side, other)
        }
        _ if ty.is_text() && other.is_temporal() && constant => cast_to(side, other),
        _ if ty.is_text() && other.is_temporal() => {
            Expr::Cast { expr: Box::new(side), ty: other.clone().nullable(true), safe: true }
        }
        _ if equality(op) && ty.kind == TypeKind::Float && other.kind == TypeKind::Double => match side {
            Expr::Cast { expr, .. } if written(&expr) => cast_to(*expr, other),
            side => side,
        },
        _ => side,
    }
}

/// The start of an expression's text, for messages.
fn brief(e: &Expr) -> String {
    if size(e) > 20 {
        return "…".to_string();
    }
    let text = e.to_string();
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A comparison: both sides brought to one type, where they have one.
pub(super) fn compare(op: CompareOp, l: Expr, r: Expr) -> Result<Expr> {
    let (lt, rt) = (l.ty(), r.ty());
    let (l, r) = (beside(op, l, &rt), beside(op, r, &lt));
    // Between FLOAT and DOUBLE the left one says how exact equality is, as in Flink.
    let r = if equality(op) && l.ty().kind == TypeKind::Float && r.ty().kind == TypeKind::Double {
        cast_to(r, &l.ty())
    } else {
        r
    };
    let (lt, rt) = (l.ty(), r.ty());
    let refused = || {
        let e = Error::script(format!("cannot compare {} with {}: {} and {}", lt.kind, rt.kind, brief(&l), brief(&r)));
        if lt.is_text() || rt.is_text() { e.hint("text is not converted by itself; CAST one of them") } else { e }
    };
    let ty = match () {
        _ if lt.is_null() && rt.is_null() => SqlType::BOOLEAN,
        _ if lt.is_timestamp() && rt.kind == TypeKind::Date || rt.is_timestamp() && lt.kind == TypeKind::Date => {
            return Err(refused().hint("CAST one of them to the other's type"));
        }
        _ if lt.is_decimal() && rt.is_decimal()
            || lt.is_decimal() && rt.is_integer()
            || lt.is_integer() && rt.is_decimal() =>
        {
            let ((p, s), (q, t)) = (lt.as_decimal().unwrap_or((38, 0)), rt.as_decimal().unwrap_or((38, 0)));
            let (whole, scale) = ((p - s).max(q - t), s.max(t));
            if whole + scale > 38 {
                // No type holds both: they are compared as they are.
                let exact = |e: Expr, (p, s)| Box::new(cast_to(e, &SqlType::from(TypeKind::Decimal(p, s))));
                return Ok(Expr::Compare { op, left: exact(l, (p, s)), right: exact(r, (q, t)) });
            }
            SqlType::from(TypeKind::Decimal(whole + scale, scale))
        }
        _ => match (&lt.kind, &rt.kind) {
            // A local time and an instant: the left one becomes what the right one is, as in Flink, unless that is a literal. Where
            // clocks are turned it matters.
            (TypeKind::Timestamp(p), TypeKind::TimestampLtz(q)) => SqlType::from(TypeKind::TimestampLtz(*p.max(q))),
            (TypeKind::TimestampLtz(p), TypeKind::Timestamp(q)) if !matches!(r, Expr::Literal { .. }) => {
                SqlType::from(TypeKind::Timestamp(*p.max(q)))
            }
            _ => common_type(&[lt.clone(), rt.clone()]).ok_or_else(refused)?,
        },
    };
    if orders(op) && matches!(ty.kind, TypeKind::Map(..) | TypeKind::Multiset(_)) {
        return Err(refused());
    }
    // A decimal constant is brought to the column's scale exactly or not at all.
    let bring = |e: Expr| match (&e, &ty.kind) {
        (Expr::Literal { value: Value::Decimal(v, s), .. }, TypeKind::Decimal(_, scale)) if s <= scale => {
            let digits: String = decimal_text(*v, *s).chars().filter(|c| *c != '.').collect();
            let digits = digits + &"0".repeat(usize::from(scale - s));
            match digits.parse() {
                Ok(v) => Expr::literal(Value::Decimal(v, *scale), ty.clone().not_null()),
                Err(_) => cast_to(e, &ty),
            }
        }
        (Expr::Literal { value: Value::Int(v), ty: t }, TypeKind::BigInt | TypeKind::Int) if t.is_integer() => {
            Expr::literal(Value::Int(*v), ty.clone().not_null())
        }
        _ => cast_to(e, &ty),
    };
    Ok(Expr::Compare { op, left: Box::new(bring(l)), right: Box::new(bring(r)) })
}

/// From how many comparisons on IN is a look into a set.
const SET: usize = 16;

/// Comparisons of one expression with constants, as far as that can be, as a look into a set.
fn in_set(all: Vec<Expr>) -> Vec<Expr> {
    let mut sets: Vec<(Expr, Vec<Value<'static>>)> = vec![];
    let mut rest = vec![];
    for e in all {
        let Expr::Compare { op: CompareOp::Eq, left, right } = e else {
            rest.push(e);
            continue;
        };
        let ty = left.ty();
        // What a text means as a local time depends on the session.
        let plain = !ty.is_nested() && !ty.is_approximate() && !matches!(ty.kind, TypeKind::TimestampLtz(_));
        let value = (plain && right.ty().kind == ty.kind)
            .then(|| Some(right.as_ref()).filter(|r| r.constant()))
            .flatten()
            .and_then(|r| weir_expr::eval::constant(r, &Default::default()).ok());
        match value {
            Some(v) => match sets.iter_mut().find(|(e, _)| {
                e.ty().kind == ty.kind && std::mem::discriminant(e) == std::mem::discriminant(left.as_ref())
            }) {
                Some((_, values)) => values.push(v),
                None => sets.push((*left, vec![v])),
            },
            None => rest.push(Expr::Compare { op: CompareOp::Eq, left, right }),
        }
    }
    sets.into_iter().map(|(e, values)| functions::in_set(e, &values)).chain(rest).collect()
}
