//! Dates and times.

use super::table::*;
use super::{format_time, parse_time};
use crate::time::{self, Unit};

pub(super) const ALL: &[Definition] = &[
    def("EXTRACT", &[Text, Any], (2, 2), Type(long), Strict(extract)),
    def("YEAR", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Year, a, c))),
    def("QUARTER", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Quarter, a, c))),
    def("MONTH", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Month, a, c))),
    def("WEEK", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Week, a, c))),
    def("DAYOFYEAR", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::DayOfYear, a, c))),
    def("DAYOFMONTH", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Day, a, c))),
    def("DAYOFWEEK", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::DayOfWeek, a, c))),
    def("HOUR", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Hour, a, c))),
    def("MINUTE", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Minute, a, c))),
    def("SECOND", &[Time], (1, 1), Type(long), Strict(|a, c| field(Unit::Second, a, c))),
    def("FLOOR TO", &[Text, Time], (2, 2), Of(second_type), Strict(|a, c| step(a, c, time::floor))),
    def("CEIL TO", &[Text, Time], (2, 2), Of(second_type), Strict(|a, c| step(a, c, time::ceil))),
    def("TIMESTAMPDIFF", &[Text, Time, Time], (3, 3), Type(int), Strict(difference)),
    def("TIMESTAMPADD", &[Text, Long, Time], (3, 3), Of(added), Strict(add_units)),
    def("TIME + INTERVAL", &[Time, Any], (2, 2), Of(shifted), Strict(|a, c| shift(a, c, 1))),
    def("TIME - INTERVAL", &[Time, Any], (2, 2), Of(shifted), Strict(|a, c| shift(a, c, -1))),
    def("TIME - TIME", &[Time, Time, Text], (3, 3), Of(interval_of), Strict(subtract)),
    def("DATE_FORMAT", &[Any, Text], (2, 2), MaybeNull(string), Strict(date_format)),
    def("TO_DATE", &[Text], (1, 2), MaybeNull(|| T::Date), Strict(to_date)),
    def("TO_TIMESTAMP", &[Text], (1, 2), MaybeNull(|| T::Timestamp(3)), Strict(to_timestamp)),
    def("TO_TIMESTAMP_LTZ", &[Any, Any, Any], (1, 3), Of(ltz_type), Strict(to_timestamp_ltz)),
    def("FROM_UNIXTIME", &[Long, Text], (1, 2), MaybeNull(string), Strict(from_unixtime)),
    changing(def("UNIX_TIMESTAMP", &[Text], (0, 2), Type(long), Strict(unix_timestamp))),
    def("CONVERT_TZ", &[Text], (3, 3), MaybeNull(string), Strict(convert_tz)),
    changing(def("CURRENT_TIMESTAMP", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, _| Ok(now())))),
    changing(def("CURRENT_ROW_TIMESTAMP", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, _| Ok(now())))),
    changing(def("PROCTIME", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, _| Ok(now())))),
    changing(def("NOW", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, _| Ok(now())))),
    changing(def("LOCALTIMESTAMP", &[], (0, 0), NotNull(|| T::Timestamp(3)), Lenient(|_, c| Ok(local_now(c))))),
    changing(def(
        "CURRENT_DATE",
        &[],
        (0, 0),
        NotNull(|| T::Date),
        Lenient(|_, c| Ok(Value::Date(c.session.zone.to_local(time::now().0).div_euclid(DAY) as i32))),
    )),
    changing(def("CURRENT_TIME", &[], (0, 0), NotNull(|| T::Time(0)), Lenient(|_, c| Ok(clock(c))))),
    changing(def("LOCALTIME", &[], (0, 0), NotNull(|| T::Time(0)), Lenient(|_, c| Ok(clock(c))))),
];

const DAY: i64 = 86_400;

const fn changing(d: Definition) -> Definition {
    Definition { deterministic: false, ..d }
}

fn now() -> Value<'static> {
    let (s, n) = time::now();
    Value::Timestamp(s, n / 1_000_000 * 1_000_000)
}

fn local_now(c: &Call<'_>) -> Value<'static> {
    let (s, n) = time::now();
    Value::Timestamp(c.session.zone.to_local(s), n / 1_000_000 * 1_000_000)
}

fn clock(c: &Call<'_>) -> Value<'static> {
    Value::Time(c.session.zone.to_local(time::now().0).rem_euclid(DAY) as i32 * 1000)
}

/// A time value as local seconds and nanoseconds.
fn local(v: &Value<'_>, ty: &SqlType, c: &Call<'_>) -> Option<(i64, u32)> {
    Some(match v {
        Value::Date(d) => (i64::from(*d) * DAY, 0),
        Value::Time(t) => (i64::from(*t) / 1000, (*t % 1000) as u32 * 1_000_000),
        Value::Timestamp(s, n) if matches!(ty.kind, T::TimestampLtz(_)) => (c.session.zone.to_local(*s), *n),
        Value::Timestamp(s, n) => (*s, *n),
        _ => return None,
    })
}

/// Local seconds back as a value of a type.
fn back((s, n): (i64, u32), ty: &SqlType, c: &Call<'_>) -> Value<'static> {
    match ty.kind {
        T::Date => Value::Date(s.div_euclid(DAY) as i32),
        T::Time(_) => Value::Time(s.rem_euclid(DAY) as i32 * 1000 + (n / 1_000_000) as i32),
        T::TimestampLtz(_) => Value::Timestamp(c.session.zone.to_utc(s), n),
        _ => Value::Timestamp(s, n),
    }
}

fn unit(v: &Value<'_>) -> Result<Unit, String> {
    let name = v.as_str().unwrap_or_default();
    Unit::parse(name).ok_or_else(|| format!("there is no unit of time '{name}'"))
}

fn field(unit: Unit, a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let at = a.len() - 1;
    let epoch = matches!(c.types[at].kind, T::TimestampLtz(_)) && unit == Unit::Epoch;
    let t = match (&a[at], epoch) {
        (Value::Timestamp(s, n), true) => Some((*s, *n)),
        (v, _) => local(v, &c.types[at], c),
    };
    let (s, n) = t.ok_or("takes a date or a time")?;
    Ok(time::extract(unit, s, n).map_or(Value::Null, Value::Int))
}

fn extract(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let u = unit(&a[0])?;
    if let (Value::Int(v), ty) = (&a[1], &c.types[1]) {
        let months = ty.kind == T::IntervalMonth;
        return Ok(Value::Int(match u {
            Unit::Year if months => v / 12,
            Unit::Month if months => v % 12,
            Unit::Day => v / 86_400_000,
            Unit::Hour => v / 3_600_000 % 24,
            Unit::Minute => v / 60_000 % 60,
            Unit::Second => v / 1000 % 60,
            _ => return Err("this unit cannot be taken from an interval".to_string()),
        }));
    }
    field(u, a, c)
}

fn second_type(a: &[Expr]) -> Result<SqlType, String> {
    Ok(a[1].ty())
}

type Step = fn(Unit, i64, u32) -> Option<(i64, u32)>;

fn step(a: &[Value<'_>], c: &Call<'_>, f: Step) -> Outcome {
    let (s, n) = local(&a[1], &c.types[1], c).ok_or("takes a date or a time")?;
    Ok(f(unit(&a[0])?, s, n).map_or(Value::Null, |t| back(t, c.ty, c)))
}

fn difference(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (from, to) = (local(&a[1], &c.types[1], c), local(&a[2], &c.types[2], c));
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(Value::Null);
    };
    Ok(time::difference(unit(&a[0])?, from, to).map_or(Value::Null, |v| Value::Int(i64::from(v as i32))))
}

fn added(a: &[Expr]) -> Result<SqlType, String> {
    let ty = a[2].ty();
    let nullable = a.iter().any(|e| e.ty().nullable);
    let days_only = match &a[0] {
        Expr::Literal { value, .. } => {
            matches!(unit(value)?, Unit::Year | Unit::Quarter | Unit::Month | Unit::Week | Unit::Day)
        }
        _ => false,
    };
    Ok(match ty.kind {
        T::Date if !days_only => SqlType::from(T::Timestamp(0)).nullable(nullable),
        _ => ty.nullable(nullable),
    })
}

fn add_units(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (s, n) = local(&a[2], &c.types[2], c).ok_or("takes a date or a time")?;
    let k = a[1].as_i64().unwrap_or(0);
    let months = |m: i64| k.checked_mul(m).and_then(|k| time::add_months(s, k)).map(|s| (s, n));
    let seconds = |m: i64| k.checked_mul(m).and_then(|k| s.checked_add(k)).map(|s| (s, n));
    let moved = match unit(&a[0])? {
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Week => seconds(7 * DAY),
        Unit::Day => seconds(DAY),
        Unit::Hour => seconds(3600),
        Unit::Minute => seconds(60),
        Unit::Second => seconds(1),
        Unit::Millisecond => Some(plus_millis((s, n), k)),
        _ => return Err("this unit cannot be added".to_string()),
    };
    Ok(moved.map_or(Value::Null, |t| back(t, c.ty, c)))
}

fn plus_millis((s, n): (i64, u32), millis: i64) -> (i64, u32) {
    let total = i128::from(s) * 1_000_000_000 + i128::from(n) + i128::from(millis) * 1_000_000;
    (total.div_euclid(1_000_000_000) as i64, total.rem_euclid(1_000_000_000) as u32)
}

fn shifted(a: &[Expr]) -> Result<SqlType, String> {
    let (t, i) = (a[0].ty(), a[1].ty());
    if !i.is_interval() {
        return Err("only an interval can be added to a time".to_string());
    }
    Ok(t.clone().nullable(t.nullable || i.nullable))
}

fn shift(a: &[Value<'_>], c: &Call<'_>, sign: i64) -> Outcome {
    let k = a[1].as_i64().unwrap_or(0) * sign;
    // An instant moves by days of 24 hours, months by the local calendar.
    if c.types[1].kind == T::IntervalDay {
        return Ok(match (&a[0], &c.types[0].kind) {
            (Value::Timestamp(s, n), _) => {
                let (s, n) = plus_millis((*s, *n), k);
                Value::Timestamp(s, n)
            }
            (Value::Date(d), _) => Value::Date((i64::from(*d) + k.div_euclid(86_400_000)) as i32),
            (Value::Time(t), _) => Value::Time((i64::from(*t) + k).rem_euclid(86_400_000) as i32),
            _ => Value::Null,
        });
    }
    let (s, n) = local(&a[0], &c.types[0], c).ok_or("takes a date or a time")?;
    Ok(time::add_months(s, k).map_or(Value::Null, |s| back((s, n), c.ty, c)))
}

fn interval_of(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = a.iter().any(|e| e.ty().nullable);
    let months = match &a[2] {
        Expr::Literal { value, .. } => {
            matches!(unit(value)?, Unit::Year | Unit::Month | Unit::Quarter)
        }
        _ => false,
    };
    Ok(SqlType::from(if months { T::IntervalMonth } else { T::IntervalDay }).nullable(nullable))
}

fn subtract(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (x, y) = (local(&a[0], &c.types[0], c), local(&a[1], &c.types[1], c));
    let (Some(x), Some(y)) = (x, y) else {
        return Ok(Value::Null);
    };
    let u = if c.ty.kind == T::IntervalMonth { Unit::Month } else { Unit::Millisecond };
    Ok(time::difference(u, y, x).map_or(Value::Null, Value::Int))
}

fn date_format(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let t = match &a[0] {
        Value::Text(t) => time::parse_timestamp(t.trim()),
        v => local(v, &c.types[0], c),
    };
    let Some((s, n)) = t else {
        return Ok(Value::Null);
    };
    Ok(Value::string(format_time(a[1].as_str().unwrap_or_default(), s, n)?))
}

fn to_date(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let t = a[0].as_str().unwrap_or_default();
    let days = match a.get(1).and_then(Value::as_str) {
        None => time::parse_date(t),
        Some(f) => parse_time(f, t, true)?.map(|(s, _)| s.div_euclid(DAY) as i32),
    };
    Ok(days.map_or(Value::Null, Value::Date))
}

fn to_timestamp(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let t = a[0].as_str().unwrap_or_default();
    let parsed = match a.get(1).and_then(Value::as_str) {
        None => time::parse_timestamp(t),
        Some(f) => parse_time(f, t, false)?,
    };
    Ok(parsed.map_or(Value::Null, |(s, n)| Value::Timestamp(s, n / 1_000_000 * 1_000_000)))
}

fn ltz_type(a: &[Expr]) -> Result<SqlType, String> {
    let numeric = a[0].ty().is_numeric();
    if numeric && a.len() == 2 && !a[1].ty().is_integer() {
        return Err("the second argument is 0 for seconds or 3 for milliseconds".to_string());
    }
    if !numeric && !a[0].ty().is_text() && !a[0].ty().is_null() {
        return Err("takes a number or text".to_string());
    }
    Ok(SqlType::from(T::TimestampLtz(3)))
}

fn to_timestamp_ltz(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    if let Some(t) = a[0].as_str() {
        let parsed = match a.get(1).and_then(Value::as_str) {
            None => time::parse_timestamp(t),
            Some(f) => parse_time(f, t, false)?,
        };
        let zone = match a.get(2).and_then(Value::as_str) {
            Some(z) => crate::time::Zone::parse(z).map_err(|e| e.message)?,
            None if a.len() == 1 => crate::time::Zone::UTC,
            None => c.session.zone,
        };
        return Ok(parsed.map_or(Value::Null, |(s, n)| Value::Timestamp(zone.to_utc(s), n / 1_000_000 * 1_000_000)));
    }
    let digits = a.get(1).and_then(Value::as_i64).unwrap_or(3);
    let millis = match (&a[0], digits) {
        (Value::Int(v), 0) => v.checked_mul(1000),
        (Value::Int(v), 3) => Some(*v),
        (v, 0) => v.as_f64().map(|d| (d * 1000.0) as i64),
        (v, 3) => v.as_f64().map(|d| d as i64),
        _ => {
            return Err(format!("the precision is 0 for seconds or 3 for milliseconds, not {digits}"));
        }
    };
    Ok(millis.map_or(Value::Null, |m| Value::Timestamp(m.div_euclid(1000), m.rem_euclid(1000) as u32 * 1_000_000)))
}

fn from_unixtime(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let format = a.get(1).and_then(Value::as_str).unwrap_or("yyyy-MM-dd HH:mm:ss");
    Ok(Value::string(format_time(format, c.session.zone.to_local(a[0].as_i64().unwrap_or(0)), 0)?))
}

fn unix_timestamp(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let Some(t) = a.first().and_then(Value::as_str) else {
        return Ok(Value::Int(time::now().0));
    };
    let format = a.get(1).and_then(Value::as_str).unwrap_or("yyyy-MM-dd HH:mm:ss");
    Ok(Value::Int(parse_time(format, t, true)?.map_or(i64::MIN, |(s, _)| c.session.zone.to_utc(s))))
}

fn convert_tz(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let zone =
        |at: usize| crate::time::Zone::parse(a[at].as_str().unwrap_or_default()).unwrap_or(crate::time::Zone::UTC);
    let t = a[0].as_str().unwrap_or_default();
    Ok(time::parse_timestamp(t)
        .map_or(Value::Null, |(s, n)| Value::string(time::timestamp_text(zone(2).to_local(zone(1).to_utc(s)), n, 0))))
}
