//! Date and time patterns as in Java 17, in the locale of US English. Patterns of `DateTimeFormatter` are used by DATE_FORMAT, TO_TIMESTAMP
//! and TO_TIMESTAMP_LTZ. Patterns of `SimpleDateFormat` are used by FROM_UNIXTIME, UNIX_TIMESTAMP, CONVERT_TZ and TO_DATE, and by
//! DATE_FORMAT of a text.

mod formatter;
mod julian;
mod names;
mod read;
mod resolve;
mod simple;
mod write;

use formatter::Formatter;
use simple::Simple;
use std::cell::RefCell;
use std::rc::Rc;

use crate::time::Zone;
use weir_core::clock::Clock;

/// A timestamp without a zone: seconds since 1970-01-01T00:00 and nanoseconds.
pub type Local = (i64, u32);

/// The pattern that was used last on a thread, in compiled form. A column usually has a single pattern.
struct Last<T>(RefCell<Option<(String, Rc<T>)>>);

impl<T> Last<T> {
    const fn new() -> Self {
        Last(RefCell::new(None))
    }
    fn get(&self, pattern: &str, make: impl Fn(&str) -> Result<T, String>) -> Result<Rc<T>, String> {
        if let Some((p, ready)) = self.0.borrow().as_ref()
            && p == pattern
        {
            return Ok(ready.clone());
        }
        let ready = Rc::new(make(pattern)?);
        self.0.replace(Some((pattern.to_string(), ready.clone())));
        Ok(ready)
    }
}

thread_local! {
    static FORMATTER: Last<Formatter> = const { Last::new() };
    static SIMPLE: Last<Simple> = const { Last::new() };
}

/// Formats a timestamp without a zone by a pattern of `DateTimeFormatter`.
///
/// # Errors
/// A message for the user, if the pattern is invalid, if it contains a zone or an offset outside of optional sections, or if a value does
/// not fit.
pub fn format(pattern: &str, time: Local) -> Result<String, String> {
    let formatter = FORMATTER.with(|last| last.get(pattern, Formatter::new))?;
    write::write(&formatter, time).map_err(|why| about(pattern, &why))
}

/// Parses a timestamp by a pattern of `DateTimeFormatter`. Offsets and zones in the text are ignored. None if the text does not match the
/// pattern.
///
/// # Errors
/// A message for the user, if the pattern is invalid.
pub fn parse(pattern: &str, text: &str) -> Result<Option<Local>, String> {
    let formatter = FORMATTER.with(|last| last.get(pattern, Formatter::new))?;
    Ok(read::read(&formatter, text).and_then(resolve::resolve))
}

/// Formats an instant in a zone by a pattern of `SimpleDateFormat`. `millis` are milliseconds since 1970-01-01T00:00Z.
///
/// # Errors
/// A message for the user, if the pattern is invalid.
pub fn format_simple(pattern: &str, millis: i64, zone: &Zone) -> Result<String, String> {
    Ok(SIMPLE.with(|last| last.get(pattern, Simple::new))?.format(millis, zone))
}

/// Parses an instant by a pattern of `SimpleDateFormat`. Returns milliseconds since 1970-01-01T00:00Z; none if the text does not begin with
/// a match. What follows the match is ignored. A year of two digits is in the hundred years that begin eighty years before the current year
/// of the clock.
///
/// # Errors
/// A message for the user, if the pattern is invalid.
pub fn parse_simple(pattern: &str, text: &str, zone: &Zone, clock: &dyn Clock) -> Result<Option<i64>, String> {
    Ok(SIMPLE.with(|last| last.get(pattern, Simple::new))?.parse(text, zone, clock))
}

/// Checks that a pattern of `DateTimeFormatter` can format timestamps without a zone.
///
/// # Errors
/// A message for the user, if that is not the case.
pub fn check_writing(pattern: &str) -> Result<(), String> {
    let formatter = Formatter::new(pattern)?;
    write::check(&formatter.items).map_err(|why| about(pattern, &why))
}

/// Checks that a pattern of `DateTimeFormatter` is valid, so that timestamps can be parsed by it.
///
/// # Errors
/// A message for the user, if that is not the case.
pub fn check_reading(pattern: &str) -> Result<(), String> {
    Formatter::new(pattern).map(|_| ())
}

/// Checks that a pattern of `SimpleDateFormat` is valid.
///
/// # Errors
/// A message for the user, if that is not the case.
pub fn check_simple(pattern: &str) -> Result<(), String> {
    Simple::new(pattern).map(|_| ())
}

/// The day of a date as Java's SQL classes understand it, in days since 1970-01-01. Days that are out of range carry over in the Julian and
/// Gregorian calendar; the result is the day of the same name in the ISO calendar. As in Java, a year before 1 loses its era: 1 BC becomes
/// year 1. None if there is no such day.
pub(crate) fn sql_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let (y, m, d) = julian::date(julian::day(year, month, day)?);
    let y = if y > 0 { y } else { 1 - y };
    crate::time::days(i32::try_from(y).ok()?, m, d).map(i64::from)
}

/// The message about a pattern that cannot be used.
fn about(pattern: &str, why: &str) -> String {
    let shown: String = pattern.chars().take(40).collect();
    let dots = if shown.len() < pattern.len() { "…" } else { "" };
    format!("the pattern '{shown}{dots}' of times cannot be used: {why}")
}
