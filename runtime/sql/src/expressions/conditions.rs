//! Binds predicates: comparisons, IS …, BETWEEN, IN and LIKE.

use super::illegal_null;
use super::literals::{boolean, text};
use crate::aggregates::Collector;
use crate::budget::{joined, size};
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use sqlparser::ast::Expr as Ast;
use weir_core::value::decimal_text;
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::functions::{self, cast_to, common_type};
use weir_expr::{CompareOp, Expr};

impl Binder<'_> {
    /// Binds predicates with IS …, BETWEEN, IN and LIKE.
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
            Ast::InList { expr, list, negated }
                if matches!(expr.as_ref(), Ast::Tuple(_)) && list.iter().all(is_tuple) =>
            {
                let Ast::Tuple(expr) = expr.as_ref() else { return Err(Error::internal("no row")) };
                let values = expr.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>()?;
                let any = list.iter().map(|row| self.equals_row(&values, row, scope, agg)).collect::<Result<_>>()?;
                Ok(negate(joined(any, |a, b| Ok(Expr::Or(Box::new(a), Box::new(b))))?, *negated))
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

    /// Whether values equal those of a row in the list of an IN, one by one: with a NULL that is unknown only if all others are equal.
    fn equals_row(
        &mut self,
        values: &[Expr],
        row: &Ast,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let Ast::Tuple(items) = row else { return Err(Error::internal("no row")) };
        if items.len() != values.len() {
            let e = format!("IN compares a row of {} columns with one of {}", values.len(), items.len());
            return Err(Error::script(e).at(place(start(row))));
        }
        let mut all = vec![];
        for (value, item) in values.iter().zip(items) {
            let item = self.expr(item, scope, agg)?;
            all.push(compare(CompareOp::Eq, self.again(value)?, listed(item, &value.ty()))?);
        }
        joined(all, |a, b| Ok(Expr::And(Box::new(a), Box::new(b))))
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

/// Checks that an expression is a predicate.
pub(crate) fn truth(e: Expr, of: &str) -> Result<Expr> {
    let ty = e.ty();
    match ty.kind {
        TypeKind::Boolean => Ok(e),
        TypeKind::Null if matches!(of, "AND" | "OR" | "NOT") => Err(illegal_null()),
        TypeKind::Null => Ok(Expr::literal(Value::Null, SqlType::BOOLEAN)),
        _ => Err(Error::script(format!("{of} takes a condition, not {} ({})", ty.kind, brief(&e)))),
    }
}

fn is_tuple(e: &Ast) -> bool {
    matches!(e, Ast::Tuple(_))
}

/// Checks that the items of IN have a common type.
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

/// Casts an item of IN. As in Flink, text is cast to the type of the left operand, and if that is text, the item is cast to text. A
/// constant that is compared with a FLOAT is rounded to it.
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

/// Whether the expression is a literal number in the script.
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

/// Casts one operand of a comparison for the type of the other one. As in Flink, with an order operator text is cast to a number, a BOOLEAN
/// or a time. With an equality it is only cast to a time, and is NULL if it is not one. A FLOAT that is a decimal literal is as precise as
/// the DOUBLE with which it is compared.
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

/// The beginning of an expression's text, for messages.
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

/// Builds a comparison. Both operands are cast to a common type, if there is one.
pub(super) fn compare(op: CompareOp, l: Expr, r: Expr) -> Result<Expr> {
    let (lt, rt) = (l.ty(), r.ty());
    let (l, r) = (beside(op, l, &rt), beside(op, r, &lt));
    // Between FLOAT and DOUBLE, the left operand decides the precision of an equality, as in Flink.
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
                // No type holds both, so they are compared without a cast.
                let exact = |e: Expr, (p, s)| Box::new(cast_to(e, &SqlType::from(TypeKind::Decimal(p, s))));
                return Ok(Expr::Compare { op, left: exact(l, (p, s)), right: exact(r, (q, t)) });
            }
            SqlType::from(TypeKind::Decimal(whole + scale, scale))
        }
        _ => match (&lt.kind, &rt.kind) {
            // A local time and an instant: as in Flink, the left operand is cast to the type of the right one, unless that is a literal.
            // This matters where clocks change.
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
    // A decimal constant is only cast to the column's scale if that is exact.
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

/// The number of comparisons from which IN uses a set.
const SET: usize = 16;

/// Combines comparisons of one expression with constants into a lookup in a set, where possible.
fn in_set(all: Vec<Expr>) -> Vec<Expr> {
    let mut sets: Vec<(Expr, Vec<Value<'static>>)> = vec![];
    let mut rest = vec![];
    for e in all {
        let Expr::Compare { op: CompareOp::Eq, left, right } = e else {
            rest.push(e);
            continue;
        };
        let ty = left.ty();
        // The meaning of a text as a local time depends on the session.
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
