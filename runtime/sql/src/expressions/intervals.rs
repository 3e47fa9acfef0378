//! Intervals: `INTERVAL '1 02:03' DAY TO MINUTE`, `INTERVAL n HOUR`.

use crate::aggregates::Collector;
use crate::names::{Binder, Scope};
use sqlparser::ast::{DateTimeField, Expr as Ast, Interval, UnaryOperator, Value as Literal};
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::functions::cast_to;
use weir_expr::time::Unit;
use weir_expr::{ArithOp, Expr};

/// Months of a unit; 0 where it has a fixed length.
fn months(unit: Unit) -> i64 {
    match unit {
        Unit::Year => 12,
        Unit::Quarter => 3,
        Unit::Month => 1,
        _ => 0,
    }
}

/// Milliseconds of a unit of fixed length.
fn millis(unit: Unit) -> i64 {
    match unit {
        Unit::Week => 604_800_000,
        Unit::Day => 86_400_000,
        Unit::Hour => 3_600_000,
        Unit::Minute => 60_000,
        _ => 1_000,
    }
}

fn unit(field: &Option<DateTimeField>) -> Option<Unit> {
    field.as_ref().and_then(|f| Unit::parse(&f.to_string()))
}

/// How many months or milliseconds a text is, without its sign; nothing where it is no interval from the one unit to the other.
fn length(text: &str, lead: Unit, last: Option<Unit>) -> Option<i64> {
    let factor = months(lead);
    if factor > 0 {
        return match (text.split_once('-'), last) {
            (Some((y, m)), Some(Unit::Month)) => Some(y.parse::<i64>().ok()? * 12 + m.parse::<i64>().ok()?),
            _ => Some(text.parse::<i64>().ok()? * factor),
        };
    }
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let order = [Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
    let parts: Vec<&str> = clock.split([' ', ':']).collect();
    let first = order.iter().position(|u| *u == lead);
    let mut total = 0i64;
    for (k, p) in parts.iter().enumerate() {
        let u = match first {
            Some(f) => *order.get(f + k)?,
            None if parts.len() == 1 => lead,
            None => return None,
        };
        total += p.parse::<i64>().ok()? * millis(u);
    }
    let digits = format!("{fraction:0<3}");
    Some(total + digits.get(..3).and_then(|d| d.parse::<i64>().ok())?)
}

impl Binder<'_> {
    /// An interval.
    pub(super) fn interval(&mut self, i: &Interval, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let lead = unit(&i.leading_field).ok_or_else(|| Error::script("an interval needs a unit: INTERVAL '1' DAY"))?;
        let kind = if months(lead) > 0 { TypeKind::IntervalMonth } else { TypeKind::IntervalDay };
        let (sign, body) = match i.value.as_ref() {
            Ast::UnaryOp { op: UnaryOperator::Minus, expr } => (-1, expr.as_ref()),
            e => (1, e),
        };
        let written = match body {
            Ast::Value(v) => match &v.value {
                Literal::Number(n, _) => Some(n.clone()),
                other => other.clone().into_string(),
            },
            _ => None,
        };
        let Some(written) = written else {
            let e = self.expr(&i.value, scope, agg)?;
            if !e.ty().is_integer() {
                return Err(Error::script("an interval's length is a whole number"));
            }
            let factor = if months(lead) > 0 { months(lead) } else { millis(lead) };
            let e = cast_to(e, &SqlType::from(kind));
            let ty = e.ty();
            let factor = Expr::literal(Value::Int(factor), ty.clone().not_null());
            return Ok(Expr::Arith { op: ArithOp::Multiply, left: Box::new(e), right: Box::new(factor), ty });
        };
        let (minus, rest) = match written.trim().strip_prefix('-') {
            Some(r) => (-1, r),
            None => (1, written.trim().trim_start_matches('+')),
        };
        let value = length(rest, lead, unit(&i.last_field))
            .ok_or_else(|| Error::script(format!("'{written}' is no interval of this unit")))?;
        Ok(Expr::literal(Value::Int(sign * minus * value), SqlType::from(kind).not_null()))
    }
}
