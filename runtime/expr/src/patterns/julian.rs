//! The calendar of Java's older date classes: Julian until 1582-10-04, Gregorian from 1582-10-15.

/// The first day of the Gregorian calendar, in days since 1970-01-01.
const CUTOVER: i64 = -141_427;

/// 0000-03-01 in the Julian calendar, in days since 1970-01-01.
const MARCH_0: i64 = -719_470;

/// 0000-03-01 in the Gregorian calendar, in days since 1970-01-01.
const GREGORIAN_MARCH_0: i64 = -719_468;

/// The year, month and day of a day, which is given in days since 1970-01-01. The year before 1 is 0.
pub(super) fn date(day: i64) -> (i64, u32, u32) {
    let (years, of_year) = if day >= CUTOVER {
        let since = day - GREGORIAN_MARCH_0;
        let of_era = since.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        (since.div_euclid(146_097) * 400 + year, of_era - (365 * year + year / 4 - year / 100))
    } else {
        let since = day - MARCH_0;
        let of_cycle = since.rem_euclid(1_461);
        let year = (of_cycle - of_cycle / 1_460) / 365;
        (since.div_euclid(1_461) * 4 + year, of_cycle - 365 * year)
    };
    let m = (5 * of_year + 2) / 153;
    let d = of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (years + i64::from(month <= 2), month as u32, d as u32)
}

/// The first day of a month in one of the calendars, in days since 1970-01-01. Months are 1 to 12.
fn first(year: i64, month: i64, gregorian: bool) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let m = if month <= 2 { month + 9 } else { month - 3 };
    let years = 365 * y + y.div_euclid(4) + (153 * m + 2) / 5;
    if gregorian { GREGORIAN_MARCH_0 + years - y.div_euclid(100) + y.div_euclid(400) } else { MARCH_0 + years }
}

/// The first day of a month, in days since 1970-01-01. Months beyond 1 to 12 are in earlier or later years. None if the year is out of
/// range.
pub(super) fn month(year: i64, month: i64) -> Option<i64> {
    let year = year.checked_add((month - 1).div_euclid(12)).filter(|y| y.abs() < 1 << 40)?;
    let month = (month - 1).rem_euclid(12) + 1;
    let gregorian = first(year, month, true);
    Some(if gregorian >= CUTOVER { gregorian } else { first(year, month, false) })
}

/// The day of a date in days since 1970-01-01. `of_year` is the month. Days past the end of the month are in later months. None if the date
/// is out of range.
pub(super) fn day(year: i64, of_year: i64, day: i64) -> Option<i64> {
    let first = month(year, of_year)?;
    let found = first.checked_add(day - 1)?;
    // In October 1582, the days up to the 4th are Julian, and the days from the 15th on are Gregorian.
    if first < CUTOVER && found >= CUTOVER && (year, of_year) == (1582, 10) && day >= 15 {
        return Some(CUTOVER + day - 15);
    }
    Some(found)
}
