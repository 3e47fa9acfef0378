//! Formats a timestamp without a zone by a pattern of `DateTimeFormatter`.

use super::Local;
use super::formatter::{Formatter, NameLength, PatternItem, Sign, TimeField};
use super::names::{DAYS, HALVES, MONTHS, QUARTERS, day_period};
use crate::time::date_time;
use chrono::{Datelike, NaiveDateTime, Timelike};

const NO_ZONE: &str =
    "it asks for a zone or an offset, and this time has none (FROM_UNIXTIME writes times in the session's zone)";

/// Checks that a pattern contains neither zones nor offsets, except in optional sections.
pub(super) fn check(items: &[PatternItem]) -> Result<(), String> {
    items.iter().try_for_each(|item| match item {
        PatternItem::Offset { .. } | PatternItem::GmtOffset { .. } | PatternItem::Zone { .. } => {
            Err(NO_ZONE.to_string())
        }
        PatternItem::Padded(_, inner) => check(std::slice::from_ref(inner)),
        _ => Ok(()),
    })
}

pub(super) fn write(formatter: &Formatter, (seconds, nanos): Local) -> Result<String, String> {
    let time = date_time(seconds, nanos).ok_or("the time is out of range")?;
    let mut out = String::new();
    all(&formatter.items, &time, &mut out)?;
    Ok(out)
}

fn all(items: &[PatternItem], time: &NaiveDateTime, out: &mut String) -> Result<(), String> {
    items.iter().try_for_each(|item| one(item, time, out))
}

fn one(item: &PatternItem, time: &NaiveDateTime, out: &mut String) -> Result<(), String> {
    match item {
        PatternItem::Text(t) => out.push_str(t),
        PatternItem::Number { field, min, max, sign, .. } => {
            number(*field, value(*field, time), *min, *max, *sign, out)?
        }
        PatternItem::TwoDigits { field, .. } => {
            let v = value(*field, time).abs() % 100;
            out.push_str(&format!("{v:02}"));
        }
        PatternItem::Fraction(digits, _) => out.push_str(&format!("{:09}", time.nanosecond())[..*digits]),
        PatternItem::Name { field, length } => out.push_str(&name(*field, value(*field, time), *length)),
        PatternItem::DayPeriod(length) => {
            out.push_str(day_period(time.hour(), time.minute(), *length == NameLength::Narrow));
        }
        PatternItem::Offset { .. } | PatternItem::GmtOffset { .. } | PatternItem::Zone { .. } => {
            return Err(NO_ZONE.to_string());
        }
        PatternItem::Padded(width, inner) => {
            let mut part = String::new();
            one(inner, time, &mut part)?;
            let length = part.chars().count();
            if length > *width {
                return Err(format!("'{part}' is wider than the {width} characters that 'p' gives it"));
            }
            out.extend(std::iter::repeat_n(' ', width - length));
            out.push_str(&part);
        }
        // An optional section with a zone or an offset is left out.
        PatternItem::Optional(items) => {
            let before = out.len();
            if check(items).is_ok() {
                all(items, time, out)?;
            } else {
                out.truncate(before);
            }
        }
    }
    Ok(())
}

fn number(field: TimeField, v: i64, min: usize, max: usize, sign: Sign, out: &mut String) -> Result<(), String> {
    let digits = v.unsigned_abs().to_string();
    if digits.len() > max {
        return Err(format!("the number {v} of {field:?} is wider than {max} digits"));
    }
    match (v < 0, sign) {
        (true, Sign::No) => return Err(format!("the number {v} of {field:?} is negative")),
        (true, _) => out.push('-'),
        (false, Sign::Exceeds) if digits.len() > min => out.push('+'),
        _ => {}
    }
    out.extend(std::iter::repeat_n('0', min.saturating_sub(digits.len())));
    out.push_str(&digits);
    Ok(())
}

fn name(field: TimeField, v: i64, length: NameLength) -> String {
    let of = |names: &[&str], at: i64| names.get(at as usize).copied().unwrap_or_default().to_string();
    let cut = |text: String| match length {
        NameLength::Full => text,
        NameLength::Short => text.chars().take(3).collect(),
        NameLength::Narrow => text.chars().take(1).collect(),
    };
    match field {
        TimeField::Month => cut(of(&MONTHS, v - 1)),
        TimeField::DayOfWeek => cut(of(&DAYS, v - 1)),
        TimeField::Half => of(&HALVES, v),
        TimeField::Quarter => match length {
            NameLength::Full => of(&QUARTERS, v - 1),
            NameLength::Short => format!("Q{v}"),
            NameLength::Narrow => v.to_string(),
        },
        TimeField::Era => match length {
            NameLength::Full => of(&["Before Christ", "Anno Domini"], v),
            NameLength::Short => of(&["BC", "AD"], v),
            NameLength::Narrow => of(&["B", "A"], v),
        },
        _ => v.to_string(),
    }
}

/// The number of a week in its month or year. `day` is the day of the month or year, from 1. Weeks begin on Sunday, and the first week is
/// that of the first day.
fn week(day: i64, days_from_sunday: i64) -> i64 {
    let start = (day - days_from_sunday - 1).rem_euclid(7);
    let offset = if start > 0 { 7 - start } else { 0 };
    (7 + offset + day - 1) / 7
}

/// The value of a field of a timestamp.
fn value(field: TimeField, t: &NaiveDateTime) -> i64 {
    let sunday = i64::from(t.weekday().num_days_from_sunday());
    let year = i64::from(t.year());
    let of_day = i64::from(t.num_seconds_from_midnight());
    let nanos = i64::from(t.nanosecond());
    let leap = t.date().leap_year();
    let week_of_year = || {
        let week_now = week(i64::from(t.ordinal()), sunday);
        let days = if leap { 366 } else { 365 };
        // The week that contains the first day of the next year is the first week of that year.
        let to_next = days + 1 - i64::from(t.ordinal());
        if to_next + sunday < 7 { (year + 1, 1) } else { (year, week_now) }
    };
    match field {
        TimeField::Era => i64::from(year > 0),
        TimeField::Year => year,
        TimeField::YearOfEra => {
            if year > 0 {
                year
            } else {
                1 - year
            }
        }
        TimeField::WeekYear => week_of_year().0,
        TimeField::DayOfYear => i64::from(t.ordinal()),
        TimeField::Month => i64::from(t.month()),
        TimeField::Day => i64::from(t.day()),
        TimeField::Quarter => i64::from(t.month0() / 3 + 1),
        TimeField::Week => week_of_year().1,
        TimeField::WeekOfMonth => week(i64::from(t.day()), sunday),
        TimeField::DayOfWeek => i64::from(t.weekday().number_from_monday()),
        TimeField::LocalDayOfWeek => sunday + 1,
        TimeField::DayOfWeekInMonth => (i64::from(t.day()) - 1) % 7 + 1,
        TimeField::Half => i64::from(t.hour() / 12),
        TimeField::Hour => i64::from(t.hour()),
        TimeField::ClockHour => i64::from(if t.hour() == 0 { 24 } else { t.hour() }),
        TimeField::HourOfHalf => i64::from(t.hour() % 12),
        TimeField::ClockHourOfHalf => i64::from((t.hour() + 11) % 12 + 1),
        TimeField::Minute => i64::from(t.minute()),
        TimeField::Second => i64::from(t.second()),
        TimeField::Nano => nanos,
        TimeField::MilliOfDay => of_day * 1_000 + nanos / 1_000_000,
        TimeField::NanoOfDay => of_day * 1_000_000_000 + nanos,
        TimeField::ModifiedJulianDay => t.and_utc().timestamp().div_euclid(86_400) + 40_587,
    }
}
