//! Writes a time without a zone by a pattern of `DateTimeFormatter`.

use super::Local;
use super::formatter::{Field, Formatter, Item, Length, Sign};
use super::names::{DAYS, HALVES, MONTHS, QUARTERS, day_period};
use crate::time::date_time;
use chrono::{Datelike, NaiveDateTime, Timelike};

const NO_ZONE: &str =
    "it asks for a zone or an offset, and this time has none (FROM_UNIXTIME writes times in the session's zone)";

/// Whether a pattern can be written of every time without a zone.
pub(super) fn check(items: &[Item]) -> Result<(), String> {
    items.iter().try_for_each(|item| match item {
        Item::Offset { .. } | Item::GmtOffset { .. } | Item::Zone { .. } => Err(NO_ZONE.to_string()),
        Item::Padded(_, inner) => check(std::slice::from_ref(inner)),
        _ => Ok(()),
    })
}

pub(super) fn write(formatter: &Formatter, (seconds, nanos): Local) -> Result<String, String> {
    let time = date_time(seconds, nanos).ok_or("the time is out of range")?;
    let mut out = String::new();
    all(&formatter.items, &time, &mut out)?;
    Ok(out)
}

fn all(items: &[Item], time: &NaiveDateTime, out: &mut String) -> Result<(), String> {
    items.iter().try_for_each(|item| one(item, time, out))
}

fn one(item: &Item, time: &NaiveDateTime, out: &mut String) -> Result<(), String> {
    match item {
        Item::Text(t) => out.push_str(t),
        Item::Number { field, min, max, sign, .. } => number(*field, value(*field, time), *min, *max, *sign, out)?,
        Item::TwoDigits { field, .. } => {
            let v = value(*field, time).abs() % 100;
            out.push_str(&format!("{v:02}"));
        }
        Item::Fraction(digits, _) => out.push_str(&format!("{:09}", time.nanosecond())[..*digits]),
        Item::Name { field, length } => out.push_str(&name(*field, value(*field, time), *length)),
        Item::DayPeriod(length) => {
            out.push_str(day_period(time.hour(), time.minute(), *length == Length::Narrow));
        }
        Item::Offset { .. } | Item::GmtOffset { .. } | Item::Zone { .. } => return Err(NO_ZONE.to_string()),
        Item::Padded(width, inner) => {
            let mut part = String::new();
            one(inner, time, &mut part)?;
            let length = part.chars().count();
            if length > *width {
                return Err(format!("'{part}' is wider than the {width} characters that 'p' gives it"));
            }
            out.extend(std::iter::repeat_n(' ', width - length));
            out.push_str(&part);
        }
        // A section that asks for what the time has not is left out.
        Item::Optional(items) => {
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

fn number(field: Field, v: i64, min: usize, max: usize, sign: Sign, out: &mut String) -> Result<(), String> {
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

fn name(field: Field, v: i64, length: Length) -> String {
    let of = |names: &[&str], at: i64| names.get(at as usize).copied().unwrap_or_default().to_string();
    let cut = |text: String| match length {
        Length::Full => text,
        Length::Short => text.chars().take(3).collect(),
        Length::Narrow => text.chars().take(1).collect(),
    };
    match field {
        Field::Month => cut(of(&MONTHS, v - 1)),
        Field::DayOfWeek => cut(of(&DAYS, v - 1)),
        Field::Half => of(&HALVES, v),
        Field::Quarter => match length {
            Length::Full => of(&QUARTERS, v - 1),
            Length::Short => format!("Q{v}"),
            Length::Narrow => v.to_string(),
        },
        Field::Era => match length {
            Length::Full => of(&["Before Christ", "Anno Domini"], v),
            Length::Short => of(&["BC", "AD"], v),
            Length::Narrow => of(&["B", "A"], v),
        },
        _ => v.to_string(),
    }
}

/// The number of the week that a day lies in, weeks beginning on Sunday and the first of them with the first day.
fn week(day: i64, days_from_sunday: i64) -> i64 {
    let start = (day - days_from_sunday - 1).rem_euclid(7);
    let offset = if start > 0 { 7 - start } else { 0 };
    (7 + offset + day - 1) / 7
}

fn value(field: Field, t: &NaiveDateTime) -> i64 {
    let sunday = i64::from(t.weekday().num_days_from_sunday());
    let year = i64::from(t.year());
    let of_day = i64::from(t.num_seconds_from_midnight());
    let nanos = i64::from(t.nanosecond());
    let leap = t.date().leap_year();
    let week_of_year = || {
        let week_now = week(i64::from(t.ordinal()), sunday);
        let days = if leap { 366 } else { 365 };
        // The week of the next year's first day is that year's first.
        let to_next = days + 1 - i64::from(t.ordinal());
        if to_next + sunday < 7 { (year + 1, 1) } else { (year, week_now) }
    };
    match field {
        Field::Era => i64::from(year > 0),
        Field::Year => year,
        Field::YearOfEra => {
            if year > 0 {
                year
            } else {
                1 - year
            }
        }
        Field::WeekYear => week_of_year().0,
        Field::DayOfYear => i64::from(t.ordinal()),
        Field::Month => i64::from(t.month()),
        Field::Day => i64::from(t.day()),
        Field::Quarter => i64::from(t.month0() / 3 + 1),
        Field::Week => week_of_year().1,
        Field::WeekOfMonth => week(i64::from(t.day()), sunday),
        Field::DayOfWeek => i64::from(t.weekday().number_from_monday()),
        Field::LocalDayOfWeek => sunday + 1,
        Field::DayOfWeekInMonth => (i64::from(t.day()) - 1) % 7 + 1,
        Field::Half => i64::from(t.hour() / 12),
        Field::Hour => i64::from(t.hour()),
        Field::ClockHour => i64::from(if t.hour() == 0 { 24 } else { t.hour() }),
        Field::HourOfHalf => i64::from(t.hour() % 12),
        Field::ClockHourOfHalf => i64::from((t.hour() + 11) % 12 + 1),
        Field::Minute => i64::from(t.minute()),
        Field::Second => i64::from(t.second()),
        Field::Nano => nanos,
        Field::MilliOfDay => of_day * 1_000 + nanos / 1_000_000,
        Field::NanoOfDay => of_day * 1_000_000_000 + nanos,
        Field::ModifiedJulianDay => t.and_utc().timestamp().div_euclid(86_400) + 40_587,
    }
}
