//! Binds intervals in Flink's forms: `INTERVAL '1 02:03' DAY TO MINUTE`, `INTERVAL n HOUR`.

use crate::aggregates::Collector;
use crate::names::{Binder, Scope};
use sqlparser::ast::{DateTimeField, Expr as Ast, Interval, UnaryOperator};
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::functions::cast_to;
use weir_expr::time::Unit;
use weir_expr::{ArithOp, Expr};

fn unit(field: &Option<DateTimeField>) -> Option<Unit> {
    field.as_ref().and_then(|f| Unit::parse(&f.to_string()))
}

/// The length of a unit, and whether it is in months instead of milliseconds; none if intervals do not support the unit.
fn length(unit: Unit) -> Option<(i64, bool)> {
    Some(match unit {
        Unit::Year => (12, true),
        Unit::Quarter => (3, true),
        Unit::Month => (1, true),
        Unit::Week => (604_800_000, false),
        Unit::Day => (86_400_000, false),
        Unit::Hour => (3_600_000, false),
        Unit::Minute => (60_000, false),
        Unit::Second => (1_000, false),
        _ => return None,
    })
}

/// The units of an interval: `DAY(3) TO SECOND(2)`.
struct Range {
    lead: Unit,
    last: Option<Unit>,
    /// The maximum number of digits of the first number; none means 2.
    digits: Option<u64>,
    /// The maximum number of digits of fractional seconds; none means 6.
    fraction: Option<u64>,
}

/// The consecutive units, each with the separator before its number and the maximum number.
static DAYS: [(Unit, char, i64); 4] =
    [(Unit::Day, ' ', i64::MAX), (Unit::Hour, ' ', 23), (Unit::Minute, ':', 59), (Unit::Second, ':', 59)];
static MONTHS: [(Unit, char, i64); 2] = [(Unit::Year, ' ', i64::MAX), (Unit::Month, '-', 11)];

impl Range {
    /// Parses a text to months or milliseconds.
    ///
    /// # Errors
    /// If the text has another form, or a number is too large.
    fn read(&self, text: &str) -> Result<i64> {
        let wrong = || Error::script(format!("'{text}' is no interval of these units"));
        let (minus, rest) = match text.trim().strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.trim().strip_prefix('+').unwrap_or(text.trim())),
        };
        let lead = [(self.lead, ' ', i64::MAX)];
        let units = match self.last {
            None => &lead[..],
            Some(last) => {
                let order = if matches!(self.lead, Unit::Year | Unit::Month) { &MONTHS[..] } else { &DAYS[..] };
                let at = |unit: Unit| order.iter().position(|(u, ..)| *u == unit);
                let (from, to) = at(self.lead).zip(at(last)).filter(|(f, t)| f < t).ok_or_else(|| {
                    Error::script("an interval's units are YEAR TO MONTH, or from DAY, HOUR or MINUTE to a smaller one")
                })?;
                &order[from..=to]
            }
        };
        let seconds = units.last().is_some_and(|(unit, ..)| *unit == Unit::Second);
        let (whole, fraction) = match rest.split_once('.') {
            Some((whole, fraction)) if seconds => (whole, Some(fraction)),
            _ => (rest, None),
        };
        let (mut total, mut rest) = (0i64, whole);
        for (i, (unit, before, most)) in units.iter().enumerate() {
            if i > 0 {
                rest = rest.strip_prefix(*before).ok_or_else(wrong)?;
            }
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, behind) = rest.split_at(end);
            let digits = if i > 0 { 2 } else { self.digits.unwrap_or(2) };
            if number.is_empty() {
                return Err(wrong());
            }
            let value: i64 = number.parse().map_err(|_| wrong())?;
            if value.checked_ilog10().map_or(1, |d| u64::from(d) + 1) > digits {
                let e = Error::script(format!("the interval's {number} has more than {digits} digits"));
                let unit = format!("{unit:?}").to_uppercase();
                return Err(e.hint(format!("say how many there are: {unit}({})", number.len())));
            }
            if value > *most || i > 0 && number.len() > 2 {
                return Err(wrong());
            }
            let (factor, _) = length(*unit).ok_or_else(wrong)?;
            total = value.checked_mul(factor).and_then(|v| total.checked_add(v)).ok_or_else(wrong)?;
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(wrong());
        }
        if let Some(f) = fraction {
            let fits = !f.is_empty() && f.len() as u64 <= self.fraction.unwrap_or(6);
            if !fits || !f.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            total += format!("{f:0<3}")[..3].parse::<i64>().map_err(|_| wrong())?;
        }
        Ok(if minus { -total } else { total })
    }
}

impl Binder<'_> {
    /// Binds an interval.
    pub(super) fn interval(&mut self, i: &Interval, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let lead = unit(&i.leading_field).ok_or_else(|| Error::script("an interval needs a unit: INTERVAL '1' DAY"))?;
        let (factor, months) = length(lead).ok_or_else(|| {
            Error::script("an interval's unit is YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND")
        })?;
        let kind = if months { TypeKind::IntervalMonth } else { TypeKind::IntervalDay };
        let (sign, body) = match i.value.as_ref() {
            Ast::UnaryOp { op: UnaryOperator::Minus, expr } => (-1, expr.as_ref()),
            e => (1, e),
        };
        let written = match body {
            Ast::Value(v) => v.value.clone().into_string(),
            _ => None,
        };
        let Some(written) = written else {
            let e = self.expr(&i.value, scope, agg)?;
            if !e.ty().is_integer() {
                return Err(Error::script("an interval's length is a whole number"));
            }
            let e = cast_to(e, &SqlType::from(kind));
            let ty = e.ty();
            let factor = Expr::literal(Value::Int(factor), ty.clone().not_null());
            return Ok(Expr::Arith { op: ArithOp::Multiply, left: Box::new(e), right: Box::new(factor), ty });
        };
        let range = Range {
            lead,
            last: unit(&i.last_field),
            digits: i.leading_precision,
            fraction: i.fractional_seconds_precision,
        };
        Ok(Expr::literal(Value::Int(sign * range.read(&written)?), SqlType::from(kind).not_null()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, lead: Unit, last: Option<Unit>, digits: Option<u64>) -> Option<i64> {
        Range { lead, last, digits, fraction: None }.read(text).ok()
    }

    /// Each as Flink 2.3 takes or refuses it.
    #[test]
    fn texts_of_intervals_have_one_form() {
        let day = |text: &str| read(text, Unit::Day, None, None);
        assert_eq!(day("1"), Some(86_400_000));
        assert_eq!(day("-1"), Some(-86_400_000));
        assert_eq!([day("1.5"), day("100"), day("x"), day("")], [None; 4]);
        assert_eq!(read("1000", Unit::Day, None, Some(4)), Some(86_400_000_000));
        assert_eq!(read("1.5", Unit::Second, None, None), Some(1_500));
        assert_eq!(read("0.1234567", Unit::Second, None, None), None);
        let to = |text: &str, lead, last| read(text, lead, Some(last), None);
        assert_eq!(to("1 2", Unit::Day, Unit::Hour), Some(93_600_000));
        assert_eq!(to("1 02:03:04.567", Unit::Day, Unit::Second), Some(93_784_567));
        assert_eq!(to("1:2:3.004", Unit::Hour, Unit::Second), Some(3_723_004));
        assert_eq!(to("1-2", Unit::Year, Unit::Month), Some(14));
        assert_eq!(to("1 25", Unit::Day, Unit::Hour), None);
        assert_eq!(to("1:60", Unit::Hour, Unit::Minute), None);
        assert_eq!(to("1-13", Unit::Year, Unit::Month), None);
        assert_eq!(to("1", Unit::Day, Unit::Second), None);
    }
}
