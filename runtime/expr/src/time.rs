//! Dates, times and time zones: parsing, formatting, fields, and rounding to units.

mod text;
mod zone;

use chrono::{Datelike, NaiveDate, NaiveDateTime};

pub use text::{
    cast_time, cast_time_text, cast_timestamp, date_text, iso_fraction, iso_instant, iso_offset_time, iso_time,
    iso_timestamp, parse_date, parse_sql_timestamp, parse_time, parse_timestamp, time_text, timestamp_text,
};
pub use zone::Zone;

/// The seconds of a day.
const DAY: i64 = 86_400;

/// The days from 1970-01-01 to a date. None if there is no such date.
pub fn days(year: i32, month: u32, day: u32) -> Option<i32> {
    Some(NaiveDate::from_ymd_opt(year, month, day)?.num_days_from_ce() - 719_163)
}

/// The date that is this many days after 1970-01-01. None if it is out of range.
pub fn date(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(719_163)?)
}

/// The date and time of local seconds (the seconds since 1970-01-01T00:00 in local time). None if it is out of range.
pub fn date_time(seconds: i64, nanos: u32) -> Option<NaiveDateTime> {
    chrono::DateTime::from_timestamp(seconds, nanos).map(|t| t.naive_utc())
}

/// A unit of time, as in EXTRACT, FLOOR and TIMESTAMPDIFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the units")]
pub enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Unit {
    /// Parses the name of a unit, in any case. None if there is no such unit.
    pub fn parse(name: &str) -> Option<Unit> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
        Some(match name {
            "MILLENNIUM" => Unit::Millennium,
            "CENTURY" => Unit::Century,
            "DECADE" => Unit::Decade,
            "YEAR" | "YEARS" => Unit::Year,
            "QUARTER" | "QUARTERS" => Unit::Quarter,
            "MONTH" | "MONTHS" => Unit::Month,
            "WEEK" | "WEEKS" => Unit::Week,
            "DAY" | "DAYS" => Unit::Day,
            "DOW" => Unit::DayOfWeek,
            "ISODOW" => Unit::IsoDayOfWeek,
            "DOY" => Unit::DayOfYear,
            "ISOYEAR" => Unit::IsoYear,
            "HOUR" | "HOURS" => Unit::Hour,
            "MINUTE" | "MINUTES" => Unit::Minute,
            "SECOND" | "SECONDS" => Unit::Second,
            "MILLISECOND" | "MILLISECONDS" => Unit::Millisecond,
            "MICROSECOND" | "MICROSECONDS" => Unit::Microsecond,
            "NANOSECOND" | "NANOSECONDS" => Unit::Nanosecond,
            "EPOCH" => Unit::Epoch,
            _ => return None,
        })
    }
}

/// The field of a local timestamp, which is given in seconds since 1970-01-01T00:00 and nanoseconds. None if it is out of range.
///
/// As in Flink, times before 1970 are rounded to days towards 1970, and fields smaller than a day are negative there.
pub fn extract(unit: Unit, seconds: i64, nanos: u32) -> Option<i64> {
    let millis = seconds.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
    let below = i64::from(nanos % 1_000_000);
    let day = calendar_day(seconds, nanos);
    let t = date_time(day * DAY, 0)?;
    Some(match unit {
        Unit::Millennium => i64::from((t.year() - 1).div_euclid(1000) + 1),
        Unit::Century => i64::from((t.year() - 1).div_euclid(100) + 1),
        Unit::Decade => i64::from(t.year().div_euclid(10)),
        Unit::Year => i64::from(t.year()),
        Unit::Quarter => i64::from((t.month() - 1) / 3 + 1),
        Unit::Month => i64::from(t.month()),
        Unit::Week => i64::from(t.iso_week().week()),
        Unit::Day => i64::from(t.day()),
        Unit::DayOfWeek => i64::from(t.weekday().num_days_from_sunday() + 1),
        Unit::IsoDayOfWeek => i64::from(t.weekday().number_from_monday()),
        Unit::DayOfYear => i64::from(t.ordinal()),
        Unit::IsoYear => i64::from(t.iso_week().year()),
        Unit::Hour => millis % 86_400_000 / 3_600_000,
        Unit::Minute => millis % 3_600_000 / 60_000,
        Unit::Second => millis % 60_000 / 1_000,
        Unit::Millisecond => millis % 1_000,
        Unit::Microsecond => millis % 1_000 * 1_000 + below / 1_000,
        Unit::Nanosecond => millis % 1_000 * 1_000_000 + below,
        Unit::Epoch => millis / 1_000,
    })
}

/// The day of a timestamp for Flink's calendar functions, in days since 1970-01-01. It is rounded towards 1970, so that a time before 1970
/// belongs to the next day unless it is midnight.
pub fn calendar_day(seconds: i64, nanos: u32) -> i64 {
    let millis = seconds * 1000 + i64::from(nanos / 1_000_000);
    millis / (DAY * 1000)
}

/// Rounds a local timestamp down to a unit: the start of the unit that contains it. None if it is out of range.
pub fn floor(unit: Unit, seconds: i64, nanos: u32) -> Option<(i64, u32)> {
    let t = date_time(calendar_day(seconds, nanos) * DAY, 0)?;
    let first = |y: i32, m: u32| days(y, m, 1).map(|d| (i64::from(d) * DAY, 0));
    let down = |step: i64| Some((seconds.div_euclid(step) * step, 0));
    match unit {
        Unit::Millennium => first((t.year() - 1).div_euclid(1000) * 1000 + 1, 1),
        Unit::Century => first((t.year() - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Decade => first(t.year().div_euclid(10) * 10, 1),
        Unit::Year => first(t.year(), 1),
        Unit::Quarter => first(t.year(), (t.month() - 1) / 3 * 3 + 1),
        Unit::Month => first(t.year(), t.month()),
        Unit::Week => {
            let day = calendar_day(seconds, nanos);
            Some(((day - i64::from(t.weekday().num_days_from_sunday())) * DAY, 0))
        }
        Unit::Day => down(DAY),
        Unit::Hour => down(3600),
        Unit::Minute => down(60),
        Unit::Second => Some((seconds, 0)),
        Unit::Millisecond => Some((seconds, nanos / 1_000_000 * 1_000_000)),
        _ => Some((seconds, nanos)),
    }
}

/// Rounds a local timestamp up to a unit. None if it is out of range. As in Flink, WEEK, MONTH, QUARTER and YEAR ignore the time of day: on
/// the first day of a unit, the result is the start of the unit. For DECADE, CENTURY and MILLENNIUM, the result is always the start of the
/// next unit.
pub fn ceil(unit: Unit, seconds: i64, nanos: u32) -> Option<(i64, u32)> {
    let low = floor(unit, seconds, nanos)?;
    let months =
        |n| if low.0 == calendar_day(seconds, nanos) * DAY { Some(low) } else { Some((add_months(low.0, n)?, 0)) };
    let up = |step: i64| if low == (seconds, nanos) { Some(low) } else { Some((low.0 + step, 0)) };
    match unit {
        Unit::Millennium => Some((add_months(low.0, 12_000)?, 0)),
        Unit::Century => Some((add_months(low.0, 1_200)?, 0)),
        Unit::Decade => Some((add_months(low.0, 120)?, 0)),
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Week if low.0 == calendar_day(seconds, nanos) * DAY => Some(low),
        Unit::Week => Some((low.0 + 7 * DAY, 0)),
        Unit::Day => up(DAY),
        Unit::Hour => up(3600),
        Unit::Minute => up(60),
        Unit::Second => up(1),
        // Flink computes in milliseconds. Smaller fractions are dropped, and not rounded up.
        Unit::Millisecond => Some(low),
        _ => Some((seconds, nanos)),
    }
}

/// Adds months to local seconds. The day of the month is kept; if the month is shorter, its last day is used. None if the result is out of
/// range.
pub fn add_months(seconds: i64, months: i64) -> Option<i64> {
    let t = date_time(seconds, 0)?;
    let month = (i64::from(t.year()) * 12 + i64::from(t.month0())).checked_add(months)?;
    let (y, m) = (i32::try_from(month.div_euclid(12)).ok()?, month.rem_euclid(12) as u32 + 1);
    let day = (0..4).find_map(|back| days(y, m, t.day().checked_sub(back)?))?;
    Some(i64::from(day) * DAY + seconds.rem_euclid(DAY))
}

/// The number of whole months from one local timestamp to another. It is found by adding months to the earlier day: if a month does not
/// have that day, its last day is used.
fn months_between(from: (i64, u32), to: (i64, u32)) -> Option<i64> {
    fn days_apart(from: i64, to: i64) -> Option<i64> {
        if to < from {
            return days_apart(to, from).map(|m| -m);
        }
        let mut m = (to - from) / 31;
        while months_later(from, m)? < to && months_later(from, m + 1)? <= to {
            m += 1;
        }
        Some(m)
    }
    let (day, end) = (from.0.div_euclid(DAY), to.0.div_euclid(DAY));
    let m = days_apart(day, end)?;
    let clock = |t: (i64, u32)| (t.0.rem_euclid(DAY), t.1);
    Some(if months_later(day, m)? == end && clock(to) < clock(from) { m - 1 } else { m })
}

fn months_later(day: i64, months: i64) -> Option<i64> {
    add_months(day * DAY, months).map(|s| s.div_euclid(DAY))
}

/// The number of whole units from one local timestamp to another. None for units such as DOW, which cannot be counted, and if it is out of
/// range.
pub fn difference(unit: Unit, from: (i64, u32), to: (i64, u32)) -> Option<i64> {
    let nanos = (i128::from(to.0) - i128::from(from.0)) * 1_000_000_000 + i128::from(to.1) - i128::from(from.1);
    let months = || months_between(from, to);
    let per = |n: i128| i64::try_from(nanos / n).ok();
    match unit {
        Unit::Millennium => months().map(|m| m / 12_000),
        Unit::Century => months().map(|m| m / 1_200),
        Unit::Decade => months().map(|m| m / 120),
        Unit::Year => months().map(|m| m / 12),
        Unit::Quarter => months().map(|m| m / 3),
        Unit::Month => months(),
        Unit::Week => per(7 * 86_400_000_000_000),
        Unit::Day => per(86_400_000_000_000),
        Unit::Hour => per(3_600_000_000_000),
        Unit::Minute => per(60_000_000_000),
        Unit::Second => per(1_000_000_000),
        Unit::Millisecond => per(1_000_000),
        Unit::Microsecond => per(1_000),
        Unit::Nanosecond => per(1),
        _ => None,
    }
}
