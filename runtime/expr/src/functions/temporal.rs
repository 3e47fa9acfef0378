//! Functions of dates and times.

use super::Body;
use super::arguments;
use super::table::*;
use crate::context::EvalContext;
use crate::patterns;
use crate::time::{self, Unit, Zone};
use arrow::array::ArrayRef;
use weir_core::Result as CoreResult;

pub(super) const ALL: &[Definition] = &[
    def("EXTRACT", &[Text, Any], (2, 2), Of(|a| part(unit_of(&a[0])?, a)), Strict(extract)),
    def("YEAR", &[Any], (1, 1), Of(|a| part(Unit::Year, a)), Strict(|a, c| field(Unit::Year, a, c))),
    def("QUARTER", &[Any], (1, 1), Of(|a| part(Unit::Quarter, a)), Strict(|a, c| field(Unit::Quarter, a, c))),
    def("MONTH", &[Any], (1, 1), Of(|a| part(Unit::Month, a)), Strict(|a, c| field(Unit::Month, a, c))),
    def("WEEK", &[Any], (1, 1), Of(|a| part(Unit::Week, a)), Strict(|a, c| field(Unit::Week, a, c))),
    def("DAYOFYEAR", &[Any], (1, 1), Of(|a| part(Unit::DayOfYear, a)), Strict(|a, c| field(Unit::DayOfYear, a, c))),
    def("DAYOFMONTH", &[Any], (1, 1), Of(|a| part(Unit::Day, a)), Strict(|a, c| field(Unit::Day, a, c))),
    def("DAYOFWEEK", &[Any], (1, 1), Of(|a| part(Unit::DayOfWeek, a)), Strict(|a, c| field(Unit::DayOfWeek, a, c))),
    def("HOUR", &[Any], (1, 1), Of(|a| part(Unit::Hour, a)), Strict(|a, c| field(Unit::Hour, a, c))),
    def("MINUTE", &[Any], (1, 1), Of(|a| part(Unit::Minute, a)), Strict(|a, c| field(Unit::Minute, a, c))),
    def("SECOND", &[Any], (1, 1), Of(|a| part(Unit::Second, a)), Strict(|a, c| field(Unit::Second, a, c))),
    def("FLOOR TO", &[Text, Time], (2, 2), Of(stepped), Strict(|a, c| step(a, c, time::floor))),
    def("CEIL TO", &[Text, Time], (2, 2), Of(stepped), Strict(|a, c| step(a, c, time::ceil))),
    def("TIMESTAMPDIFF", &[Text, Time, Time], (3, 3), Of(difference_type), Strict(difference)),
    def("TIMESTAMPADD", &[Text, Long, Time], (3, 3), Of(added), Strict(add_units)),
    def("TIME + INTERVAL", &[Time, Any], (2, 2), Of(shifted), Strict(|a, c| shift(a, c, 1))),
    def("TIME - INTERVAL", &[Time, Any], (2, 2), Of(shifted), Strict(|a, c| shift(a, c, -1))),
    def("TIME - TIME", &[Time, Time, Text], (3, 3), Of(interval_of), Strict(subtract)),
    def("DATE_FORMAT", &[Any, Text], (2, 2), Of(formatted), Strict(date_format)),
    def("TO_DATE", &[Text], (1, 2), Of(|a| by_pattern(a, T::Date, patterns::check_simple)), Strict(to_date)),
    def("TO_TIMESTAMP", &[Text], (1, 2), Of(timestamp_type), Strict(to_timestamp)),
    def("TO_TIMESTAMP_LTZ", &[Any, Any, Any], (1, 3), Of(ltz_type), Strict(to_timestamp_ltz)),
    def(
        "FROM_UNIXTIME",
        &[Long, Text],
        (1, 2),
        Of(|a| by_pattern(a, string(), patterns::check_simple)),
        Strict(from_unixtime),
    ),
    changing(def("UNIX_TIMESTAMP", &[Text], (0, 2), Of(unix_type), Strict(unix_timestamp))),
    def("CONVERT_TZ", &[Text], (3, 3), MaybeNull(string), Strict(convert_tz)),
    changing(def("CURRENT_TIMESTAMP", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, c| Ok(now(c))))),
    changing(def("CURRENT_ROW_TIMESTAMP", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, c| Ok(now(c))))),
    changing(def("PROCTIME", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, c| Ok(now(c))))),
    changing(Definition {
        body: Body::Columns(current_watermark),
        ..def("CURRENT_WATERMARK", &[Time], (1, 1), Of(moment), Lenient(|_, _| Ok(Value::Null)))
    }),
    changing(def("NOW", &[], (0, 0), NotNull(|| T::TimestampLtz(3)), Lenient(|_, c| Ok(now(c))))),
    changing(def("LOCALTIMESTAMP", &[], (0, 0), NotNull(|| T::Timestamp(3)), Lenient(|_, c| Ok(local_now(c))))),
    changing(def(
        "CURRENT_DATE",
        &[],
        (0, 0),
        NotNull(|| T::Date),
        Lenient(|_, c| Ok(Value::Date(local_seconds(c).div_euclid(DAY) as i32))),
    )),
    changing(def("CURRENT_TIME", &[], (0, 0), NotNull(|| T::Time(0)), Lenient(|_, c| Ok(clock(c))))),
    changing(def("LOCALTIME", &[], (0, 0), NotNull(|| T::Time(0)), Lenient(|_, c| Ok(clock(c))))),
];

/// The seconds of a day.
const DAY: i64 = 86_400;

/// A definition of a function that is not deterministic.
const fn changing(d: Definition) -> Definition {
    Definition { deterministic: false, ..d }
}

fn now(c: &Call<'_>) -> Value<'static> {
    let millis = c.clock.now();
    Value::Timestamp(millis.div_euclid(1000), millis.rem_euclid(1000) as u32 * 1_000_000)
}

/// The result type of CURRENT_WATERMARK: that of the rowtime column, but nullable.
fn moment(a: &[Expr]) -> Result<SqlType, String> {
    match a[0].ty().kind {
        kind @ (T::Timestamp(_) | T::TimestampLtz(_)) => Ok(SqlType::from(kind)),
        other => Err(format!("it takes the column with the rows' times, and {other} is none")),
    }
}

/// CURRENT_WATERMARK: the watermark in front of the operator. NULL before the first one.
fn current_watermark(_: &[ArrayRef], rows: usize, call: &Call<'_>, context: &mut EvalContext) -> CoreResult<ArrayRef> {
    let value = context.watermark.map_or(Value::Null, |millis| {
        Value::Timestamp(millis.div_euclid(1000), (millis.rem_euclid(1000) * 1_000_000) as u32)
    });
    Ok(weir_core::builder::column(&call.ty.arrow(), std::iter::repeat_n(value, rows)))
}

fn local_now(c: &Call<'_>) -> Value<'static> {
    let millis = c.clock.now();
    Value::Timestamp(c.session.zone.to_local(millis.div_euclid(1000)), millis.rem_euclid(1000) as u32 * 1_000_000)
}

/// The current time in the zone of the session, as local seconds.
fn local_seconds(c: &Call<'_>) -> i64 {
    c.session.zone.to_local(c.clock.now().div_euclid(1000))
}

fn clock(c: &Call<'_>) -> Value<'static> {
    Value::Time(local_seconds(c).rem_euclid(DAY) as i32 * 1000)
}

/// Converts a date, time or timestamp to local seconds and nanoseconds.
fn local(v: &Value<'_>, ty: &SqlType, c: &Call<'_>) -> Option<(i64, u32)> {
    Some(match v {
        Value::Date(d) => (i64::from(*d) * DAY, 0),
        Value::Time(t) => (i64::from(*t) / 1000, (*t % 1000) as u32 * 1_000_000),
        Value::Timestamp(s, n) if matches!(ty.kind, T::TimestampLtz(_)) => (c.session.zone.to_local(*s), *n),
        Value::Timestamp(s, n) => (*s, *n),
        _ => return None,
    })
}

/// Converts local seconds and nanoseconds to a value of a type.
fn back((s, n): (i64, u32), ty: &SqlType, c: &Call<'_>) -> Value<'static> {
    match ty.kind {
        T::Date => Value::Date(s.div_euclid(DAY) as i32),
        T::Time(_) => Value::Time(s.rem_euclid(DAY) as i32 * 1000 + (n / 1_000_000) as i32),
        T::TimestampLtz(_) => Value::Timestamp(c.session.zone.to_utc(s), n),
        _ => Value::Timestamp(s, n),
    }
}

/// Parses the name of a unit.
fn unit(v: &Value<'_>) -> Result<Unit, String> {
    let name = arguments::text(v);
    Unit::parse(name).ok_or_else(|| format!("there is no unit of time '{name}'"))
}

/// The unit that an argument names, which must be a constant.
fn unit_of(e: &Expr) -> Result<Unit, String> {
    match e {
        Expr::Literal { value, .. } => unit(value),
        _ => Err("the unit of time is a word".to_string()),
    }
}

/// The result type of EXTRACT for a unit. The date, time, timestamp or interval must have that unit.
fn part(unit: Unit, a: &[Expr]) -> Result<SqlType, String> {
    use Unit as U;
    let ty = a.last().map_or(SqlType::from(T::Null), Expr::ty);
    let parts: Option<&[Unit]> = match ty.kind {
        T::Timestamp(_) | T::TimestampLtz(_) | T::Null => None,
        T::Date => {
            let whole = !matches!(unit, U::Microsecond | U::Nanosecond);
            return whole
                .then(|| SqlType::from(T::BigInt).nullable(ty.nullable))
                .ok_or_else(|| format!("a DATE has no {unit:?}"));
        }
        T::Time(_) => Some(&[U::Hour, U::Minute, U::Second, U::Millisecond]),
        T::IntervalMonth => Some(&[U::Millennium, U::Century, U::Year, U::Quarter, U::Month]),
        T::IntervalDay => Some(&[U::Day, U::Hour, U::Minute, U::Second]),
        _ => return Err("takes a DATE, TIME, TIMESTAMP or INTERVAL".to_string()),
    };
    match parts {
        Some(parts) if !parts.contains(&unit) => {
            let names: Vec<String> = parts.iter().map(|u| format!("{u:?}").to_uppercase()).collect();
            Err(format!("{} has only {}", ty.kind, names.join(", ")))
        }
        _ => Ok(SqlType::from(T::BigInt).nullable(ty.nullable)),
    }
}

fn field(unit: Unit, a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let at = a.len() - 1;
    if let (Value::Int(v), ty) = (&a[at], &c.types[at]) {
        return of_interval(unit, *v, ty);
    }
    let (s, n) = match (&a[at], &c.types[at].kind) {
        (Value::Timestamp(s, n), T::TimestampLtz(_)) => (s + c.session.zone.clock_offset_at(*s), *n),
        (v, _) => local(v, &c.types[at], c).ok_or("takes a date or a time")?,
    };
    Ok(time::extract(unit, s, n).map_or(Value::Null, Value::Int))
}

fn extract(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    field(unit(&a[0])?, a, c)
}

/// Extracts a unit from an interval.
fn of_interval(unit: Unit, v: i64, ty: &SqlType) -> Outcome {
    let months = ty.kind == T::IntervalMonth;
    Ok(Value::Int(match unit {
        Unit::Millennium if months => v / 12_000,
        Unit::Century if months => v / 1_200,
        Unit::Year if months => v / 12,
        Unit::Quarter if months => v % 12 / 3 + 1,
        Unit::Month if months => v % 12,
        Unit::Day if !months => v / 86_400_000,
        Unit::Hour if !months => v / 3_600_000 % 24,
        Unit::Minute if !months => v / 60_000 % 60,
        Unit::Second if !months => v / 1000 % 60,
        _ => return Err("this unit cannot be taken from an interval".to_string()),
    }))
}

/// The result type of FLOOR and CEIL to a unit. Some units are rejected.
fn stepped(a: &[Expr]) -> Result<SqlType, String> {
    use Unit as U;
    match unit_of(&a[0])? {
        U::DayOfWeek | U::IsoDayOfWeek | U::DayOfYear | U::IsoYear | U::Microsecond | U::Nanosecond | U::Epoch => {
            Err("the unit is MILLISECOND, SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER, YEAR or longer".to_string())
        }
        _ => Ok(a[1].ty()),
    }
}

/// The result type of TIMESTAMPDIFF. TIMESTAMP_LTZ and TIME can only be combined with a value of the same type.
fn difference_type(a: &[Expr]) -> Result<SqlType, String> {
    let (x, y) = (a[1].ty(), a[2].ty());
    let alone = |t: &SqlType| matches!(t.kind, T::TimestampLtz(_) | T::Time(_));
    if (alone(&x) || alone(&y)) && !x.is_like(&y) {
        return Err("TIMESTAMP_LTZ and TIME go with their like only; CAST one of the two".to_string());
    }
    let kind = match unit_of(&a[0])? {
        Unit::Nanosecond => T::BigInt,
        Unit::DayOfWeek | Unit::IsoDayOfWeek | Unit::DayOfYear | Unit::IsoYear | Unit::Epoch => {
            return Err(
                "the unit is NANOSECOND, MICROSECOND, MILLISECOND, SECOND, MINUTE, HOUR, DAY or longer".to_string()
            );
        }
        _ => T::Int,
    };
    Ok(SqlType::from(kind).nullable(x.nullable || y.nullable))
}

type Step = fn(Unit, i64, u32) -> Option<(i64, u32)>;

fn step(a: &[Value<'_>], c: &Call<'_>, f: Step) -> Outcome {
    let unit = unit(&a[0])?;
    // An instant is converted to local time and back with the same offset, so that the two hours at the end of summer time stay apart.
    // Units below the hour need no conversion.
    if let (Value::Timestamp(s, n), T::TimestampLtz(_)) = (&a[1], &c.types[1].kind) {
        let below = matches!(unit, Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond);
        let offset = if below { 0 } else { c.session.zone.clock_offset_at(*s) };
        return Ok(f(unit, s + offset, *n).map_or(Value::Null, |(s, n)| Value::Timestamp(s - offset, n)));
    }
    let (s, n) = local(&a[1], &c.types[1], c).ok_or("takes a date or a time")?;
    // As in Flink, CEIL of a DATE to DAY is the next day.
    if unit == Unit::Day && c.ty.kind == T::Date && f(unit, 0, 1) != Some((0, 0)) {
        return Ok(back((s.saturating_add(DAY), 0), c.ty, c));
    }
    Ok(f(unit, s, n).map_or(Value::Null, |t| back(t, c.ty, c)))
}

/// Converts a date, time or timestamp to seconds and nanoseconds. TIMESTAMP_LTZ is not converted to local time, so that differences are
/// elapsed time.
fn counted(v: &Value<'_>, ty: &SqlType, c: &Call<'_>) -> Option<(i64, u32)> {
    match v {
        Value::Timestamp(s, n) => Some((*s, *n)),
        v => local(v, ty, c),
    }
}

/// Converts two values to seconds and nanoseconds: to instants if both are TIMESTAMP_LTZ, otherwise to local time.
fn both(a: &[Value<'_>], types: &[SqlType], c: &Call<'_>) -> Option<[(i64, u32); 2]> {
    let instants = types.iter().all(|t| matches!(t.kind, T::TimestampLtz(_)));
    let one = |at: usize| if instants { counted(&a[at], &types[at], c) } else { local(&a[at], &types[at], c) };
    Some([one(0)?, one(1)?])
}

fn difference(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let Some([from, to]) = both(&a[1..], &c.types[1..], c) else {
        return Ok(Value::Null);
    };
    let whole = |v: i64| if c.ty.kind == T::BigInt { v } else { i64::from(v as i32) };
    Ok(time::difference(unit(&a[0])?, from, to).map_or(Value::Null, |v| Value::Int(whole(v))))
}

fn added(a: &[Expr]) -> Result<SqlType, String> {
    let ty = a[2].ty();
    let nullable = a.iter().any(|e| e.ty().nullable);
    let days_only = match unit_of(&a[0])? {
        Unit::Millennium
        | Unit::Century
        | Unit::Decade
        | Unit::Year
        | Unit::Quarter
        | Unit::Month
        | Unit::Week
        | Unit::Day => true,
        Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond => false,
        _ => return Err("the unit is MILLISECOND, SECOND, MINUTE, HOUR, DAY or longer".to_string()),
    };
    Ok(match ty.kind {
        T::Date if !days_only => SqlType::from(T::Timestamp(6)).nullable(nullable),
        _ => ty.nullable(nullable),
    })
}

fn add_units(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (s, n) = counted(&a[2], &c.types[2], c).ok_or("takes a date or a time")?;
    let k = arguments::int(&a[1]);
    let months = |m: i64| k.checked_mul(m).and_then(|k| time::add_months(s, k)).map(|s| (s, n));
    let seconds = |m: i64| k.checked_mul(m).and_then(|k| s.checked_add(k)).map(|s| (s, n));
    let moved = match unit(&a[0])? {
        Unit::Millennium => months(12_000),
        Unit::Century => months(1_200),
        Unit::Decade => months(120),
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
    Ok(moved.map_or(Value::Null, |(s, n)| match c.ty.kind {
        T::TimestampLtz(_) => Value::Timestamp(s, n),
        _ => back((s, n), c.ty, c),
    }))
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
    let k = arguments::int(&a[1]) * sign;
    // TIMESTAMP_LTZ moves by days of 24 hours, and by months in UTC.
    if c.types[1].kind == T::IntervalDay {
        return Ok(match (&a[0], &c.types[0].kind) {
            (Value::Timestamp(s, n), _) => {
                let (s, n) = plus_millis((*s, *n), k);
                Value::Timestamp(s, n)
            }
            (Value::Date(d), _) => Value::Date((i64::from(*d) + k / 86_400_000) as i32),
            (Value::Time(t), _) => Value::Time((i64::from(*t) + k).rem_euclid(86_400_000) as i32),
            _ => Value::Null,
        });
    }
    let (s, n) = counted(&a[0], &c.types[0], c).ok_or("takes a date or a time")?;
    Ok(time::add_months(s, k).map_or(Value::Null, |s| match &a[0] {
        Value::Timestamp(..) => Value::Timestamp(s, n),
        _ => back((s, n), c.ty, c),
    }))
}

fn interval_of(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = a.iter().any(|e| e.ty().nullable);
    if !a[0].ty().is_like(&a[1].ty()) {
        return Err("both times must be of one type; CAST one of the two".to_string());
    }
    let months = matches!(unit_of(&a[2])?, Unit::Year | Unit::Month | Unit::Quarter);
    Ok(SqlType::from(if months { T::IntervalMonth } else { T::IntervalDay }).nullable(nullable))
}

fn subtract(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let Some([x, y]) = both(a, &c.types[..2], c) else {
        return Ok(Value::Null);
    };
    let u = if c.ty.kind == T::IntervalMonth { Unit::Month } else { Unit::Millisecond };
    Ok(time::difference(u, y, x).map_or(Value::Null, Value::Int))
}

/// The result type `kind` of a function whose second argument is a pattern. A constant pattern is checked.
fn by_pattern(a: &[Expr], kind: T, check: fn(&str) -> Result<(), String>) -> Result<SqlType, String> {
    if let Some(Expr::Literal { value: Value::Text(pattern), .. }) = a.get(1) {
        check(pattern)?;
    }
    Ok(SqlType::from(kind))
}

fn formatted(a: &[Expr]) -> Result<SqlType, String> {
    let ty = a[0].ty();
    if !(ty.is_text() || ty.is_null() || ty.is_timestamp()) {
        return Err("takes a TIMESTAMP, or a text that says one; CAST a DATE to TIMESTAMP".to_string());
    }
    by_pattern(a, string(), if ty.is_text() { patterns::check_simple } else { patterns::check_writing })
}

fn timestamp_type(a: &[Expr]) -> Result<SqlType, String> {
    by_pattern(a, T::Timestamp(3), patterns::check_reading)
}

fn unix_type(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = a.iter().any(|e| e.ty().nullable);
    by_pattern(a, long(), patterns::check_simple).map(|t| t.nullable(nullable))
}

/// The default pattern, which is that of timestamps as text.
const PLAIN: &str = "yyyy-MM-dd HH:mm:ss";

fn date_format(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let pattern = arguments::text(&a[1]);
    if let Value::Text(t) = &a[0] {
        let millis = patterns::parse_simple(PLAIN, t, &Zone::UTC, c.clock)?;
        return Ok(match millis {
            Some(ms) => Value::string(patterns::format_simple(pattern, ms, &Zone::UTC)?),
            None => Value::Null,
        });
    }
    Ok(match local(&a[0], &c.types[0], c) {
        Some(t) => Value::string(patterns::format(pattern, t)?),
        None => Value::Null,
    })
}

fn to_date(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let t = arguments::text(&a[0]);
    let days = match a.get(1).and_then(Value::as_str) {
        None => time::parse_date(t),
        Some(f) => patterns::parse_simple(f, t, &Zone::UTC, c.clock)?.map(|ms| ms.div_euclid(DAY * 1000) as i32),
    };
    Ok(days.map_or(Value::Null, Value::Date))
}

/// Parses text by a pattern. Text that does not match it is parsed as by `java.sql.Timestamp`.
fn by_format(text: &str, pattern: &str) -> Result<Option<(i64, u32)>, String> {
    Ok(match patterns::parse(pattern, text)? {
        Some((s, n)) => Some((s, n / 1_000_000 * 1_000_000)),
        None => time::parse_sql_timestamp(text),
    })
}

fn to_timestamp(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let t = arguments::text(&a[0]);
    let parsed = match a.get(1).and_then(Value::as_str) {
        None => time::cast_timestamp(t).map(|(s, n)| (s, n / 1_000_000 * 1_000_000)),
        Some(f) => by_format(t, f)?,
    };
    let unit = 10u32.pow(9 - u32::from(c.ty.time_digits().unwrap_or(3).min(9)));
    Ok(parsed.map_or(Value::Null, |(s, n)| Value::Timestamp(s, n / unit * unit)))
}

fn ltz_type(a: &[Expr]) -> Result<SqlType, String> {
    let numeric = a[0].ty().is_numeric();
    if numeric && a.len() == 2 && !a[1].ty().is_integer() || numeric && a.len() == 3 {
        return Err(PRECISION.to_string());
    }
    if !numeric && !a[0].ty().is_text() && !a[0].ty().is_null() {
        return Err("takes a number or text".to_string());
    }
    if !numeric && a.iter().skip(1).any(|e| !e.ty().is_text() && !e.ty().is_null()) {
        return Err("behind a text there are a pattern and a zone, both texts".to_string());
    }
    let digits = match a.get(1) {
        Some(Expr::Literal { value: Value::Int(p), .. }) if numeric && (0..=9).contains(p) => (*p).max(3) as u8,
        Some(Expr::Literal { value: Value::Int(_), .. }) if numeric => return Err(PRECISION.to_string()),
        _ => 3,
    };
    by_pattern(a, T::TimestampLtz(digits), patterns::check_reading)
}

const PRECISION: &str =
    "the second argument says how many digits of the second the number has, from 0 for seconds to 9";

fn to_timestamp_ltz(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let unit = 10u32.pow(9 - u32::from(c.ty.time_digits().unwrap_or(3).min(9)));
    let cut = |(s, n): (i64, u32)| Value::Timestamp(s, n / unit * unit);
    if let Some(t) = a[0].as_str() {
        let parsed = match a.get(1).and_then(Value::as_str) {
            None => Some(
                time::cast_timestamp(t).ok_or_else(|| format!("'{t}' is no time; write it as yyyy-MM-dd HH:mm:ss"))?,
            ),
            Some(f) => by_format(t, f)?,
        };
        let zone = match a.get(2).and_then(Value::as_str) {
            Some(z) => Zone::parse(z).map_err(|e| e.message)?,
            None => Zone::UTC,
        };
        return Ok(parsed.map_or(Value::Null, |(s, n)| cut((zone.to_utc(s), n))));
    }
    let digits = a.get(1).and_then(Value::as_i64).unwrap_or(3);
    if !(0..=9).contains(&digits) {
        return Err(format!("{PRECISION}, not {digits}"));
    }
    Ok(instant(&a[0], digits as u32).map_or(Value::Null, cut))
}

/// Converts a number to an instant in seconds and nanoseconds. Its last `digits` digits are the fraction of a second. None outside of the
/// years 0 to 9999.
fn instant(v: &Value<'_>, digits: u32) -> Option<(i64, u32)> {
    const BEGIN: i128 = -62_167_219_200;
    const END: i128 = 253_402_300_800;
    let per_second = 10i128.pow(digits);
    let nanos = match v {
        Value::Int(_) | Value::Decimal(..) => {
            let whole = match v {
                Value::Decimal(v, s) => v / 10i128.pow(u32::from(*s)),
                v => i128::from(v.as_i64()?),
            };
            (BEGIN * per_second..END * per_second).contains(&whole).then(|| whole * 10i128.pow(9 - digits))?
        }
        v => {
            let d = v.as_f64()?;
            let seconds = d / per_second as f64;
            let within = BEGIN as f64 <= seconds && seconds <= (END - 1) as f64;
            // As in Flink, the result passes through a 64-bit number of nanoseconds.
            within.then(|| i128::from((d * 10f64.powi(9 - digits as i32)) as i64))?
        }
    };
    Some((nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32))
}

fn from_unixtime(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let format = a.get(1).and_then(Value::as_str).unwrap_or(PLAIN);
    let millis = arguments::int(&a[0]).wrapping_mul(1000);
    Ok(Value::string(patterns::format_simple(format, millis, &c.session.zone)?))
}

fn unix_timestamp(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let Some(t) = a.first().and_then(Value::as_str) else {
        return Ok(Value::Int(c.clock.now().div_euclid(1000)));
    };
    let format = a.get(1).and_then(Value::as_str).unwrap_or(PLAIN);
    // Fractions of a second are rounded towards 1970.
    Ok(Value::Int(patterns::parse_simple(format, t, &c.session.zone, c.clock)?.map_or(i64::MIN, |ms| ms / 1000)))
}

fn convert_tz(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let zone = |at: usize| Zone::lenient(arguments::text(&a[at]));
    let millis = patterns::parse_simple(PLAIN, arguments::text(&a[0]), &zone(1), c.clock)?;
    Ok(match millis {
        Some(ms) => Value::string(patterns::format_simple(PLAIN, ms, &zone(2))?),
        None => Value::Null,
    })
}
