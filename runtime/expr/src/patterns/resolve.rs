//! Computes a timestamp from parsed fields, as Java's resolver in smart mode does. Missing fields are those of 1970-01-01T00:00.

use super::Local;
use super::formatter::TimeField as F;
use super::read::Fields;
use crate::time::{date, days};
use chrono::Datelike;

/// The timestamp of these fields. None if a field is out of range, or if fields contradict each other.
pub(super) fn resolve(mut f: Fields) -> Option<Local> {
    let within = |v: Option<i64>, low: i64, high: i64| v.is_none_or(|v| (low..=high).contains(&v)).then_some(());
    let day = whole_day(&mut f)?;
    clock(&mut f)?;
    within(f.get(F::Hour), 0, 24)?;
    within(f.get(F::Minute), 0, 59)?;
    within(f.get(F::Second), 0, 59)?;
    within(f.get(F::Nano), 0, 999_999_999)?;
    within(f.get(F::HourOfHalf), 0, 11)?;
    let (hour, minute) = (f.get(F::Hour).unwrap_or(0), f.get(F::Minute).unwrap_or(0));
    let (second, nano) = (f.get(F::Second).unwrap_or(0), f.get(F::Nano).unwrap_or(0));
    if hour == 24 && (minute, second, nano) != (0, 0, 0) {
        return None;
    }
    let day = match day {
        Some(day) => {
            contradicts(&f, day)?;
            day + if hour == 24 { 1 } else { 0 }
        }
        None => {
            let year = f.get(F::Year).unwrap_or(1970);
            let (month, day) = (f.get(F::Month).unwrap_or(1), f.get(F::Day).unwrap_or(1));
            i64::from(days(i32::try_from(year).ok()?, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?)
        }
    };
    let seconds = day.checked_mul(86_400)?.checked_add(hour % 24 * 3600 + minute * 60 + second)?;
    Some((seconds, nano as u32))
}

/// The day that the fields determine, in days since 1970-01-01. `None` if fields are invalid, `Some(None)` if they do not determine a day.
fn whole_day(f: &mut Fields) -> Option<Option<i64>> {
    if let Some(mjd) = f.take(F::ModifiedJulianDay) {
        return mjd.checked_sub(40_587).map(Some);
    }
    if let Some(year) = f.take(F::YearOfEra) {
        if year < 1 {
            return None;
        }
        f.set(F::Year, if f.get(F::Era) == Some(0) { 1 - year } else { year })?;
        f.take(F::Era);
    }
    let Some(year) = f.get(F::Year) else {
        return week_day(f);
    };
    let year_number = i32::try_from(year).ok()?;
    if let (Some(month), Some(day)) = (f.get(F::Month), f.get(F::Day)) {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // A day past the end of its month becomes the last day of the month.
        let found = (0..4).find_map(|back| days(year_number, month as u32, (day - back) as u32))?;
        f.take(F::Day);
        return Some(Some(i64::from(found)));
    }
    if let Some(of_year) = f.get(F::DayOfYear) {
        let first = days(year_number, 1, 1)?;
        let next = days(year_number + 1, 1, 1)?;
        if of_year < 1 || of_year > i64::from(next - first) {
            return None;
        }
        return Some(Some(i64::from(first) + of_year - 1));
    }
    Some(None)
}

/// The day that a week-based year, a week and a day of the week determine. The result is like that of [`whole_day`].
fn week_day(f: &mut Fields) -> Option<Option<i64>> {
    let (Some(year), Some(week)) = (f.get(F::WeekYear), f.get(F::Week)) else {
        return Some(None);
    };
    let from_sunday = match (f.get(F::LocalDayOfWeek), f.get(F::DayOfWeek)) {
        (Some(d), _) => d - 1,
        (None, Some(d)) => d % 7,
        _ => return Some(None),
    };
    if !(1..=53).contains(&week) || !(0..7).contains(&from_sunday) {
        return None;
    }
    let first = i64::from(days(i32::try_from(year).ok()?, 1, 1)?);
    // 1970-01-01 was a Thursday.
    let sunday = first - (first + 4).rem_euclid(7);
    Some(Some(sunday + (week - 1) * 7 + from_sunday))
}

/// Checks that the other fields agree with the day. None if they do not.
fn contradicts(f: &Fields, day: i64) -> Option<()> {
    let d = date(i32::try_from(day).ok()?)?;
    let same = |field: F, v: i64| f.get(field).is_none_or(|said| said == v).then_some(());
    same(F::DayOfWeek, i64::from(d.weekday().number_from_monday()))?;
    same(F::LocalDayOfWeek, i64::from(d.weekday().num_days_from_sunday()) + 1)?;
    same(F::DayOfYear, i64::from(d.ordinal()))?;
    same(F::Quarter, i64::from(d.month0() / 3 + 1))?;
    same(F::DayOfWeekInMonth, (i64::from(d.day()) - 1) % 7 + 1)
}

/// Converts the fields of the time of day to hours, minutes, seconds and nanoseconds. None if fields are invalid or contradict each other.
fn clock(f: &mut Fields) -> Option<()> {
    if let Some(h) = f.take(F::ClockHour) {
        if !(0..=24).contains(&h) {
            return None;
        }
        f.set(F::Hour, h % 24)?;
    }
    if let Some(h) = f.take(F::ClockHourOfHalf) {
        if !(0..=12).contains(&h) {
            return None;
        }
        f.set(F::HourOfHalf, h % 12)?;
    }
    if let (Some(half), Some(h)) = (f.get(F::Half), f.get(F::HourOfHalf)) {
        if h > 11 {
            return None;
        }
        f.take(F::HourOfHalf);
        f.set(F::Hour, half * 12 + h)?;
    }
    if let (Some(middle), Some(h), None) = (f.period, f.get(F::HourOfHalf), f.get(F::Hour)) {
        f.take(F::HourOfHalf);
        // Of the two possible hours, this is the one that is nearer to the middle of the day period.
        let far = |hour: i64| ((hour * 60 - middle).rem_euclid(1440)).min((middle - hour * 60).rem_euclid(1440));
        f.set(F::Hour, if far(h) <= far(h + 12) { h } else { h + 12 })?;
    }
    let split = |f: &mut Fields, seconds: i64| {
        f.set(F::Hour, seconds / 3600)?;
        f.set(F::Minute, seconds / 60 % 60)?;
        f.set(F::Second, seconds % 60)
    };
    if let Some(n) = f.take(F::NanoOfDay) {
        split(f, n / 1_000_000_000)?;
        f.set(F::Nano, n % 1_000_000_000)?;
    }
    if let Some(ms) = f.take(F::MilliOfDay) {
        split(f, ms / 1000)?;
        f.set(F::Nano, ms % 1000 * 1_000_000)?;
    }
    Some(())
}
