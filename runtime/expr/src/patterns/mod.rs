//! The patterns of times, as Java 17 reads them for a user of US English: `DateTimeFormatter` for DATE_FORMAT and
//! TO_TIMESTAMP, `SimpleDateFormat` for the functions around Unix seconds and for TO_DATE.

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

/// A time without a zone: seconds since 1970-01-01T00:00 and nanoseconds.
pub type Local = (i64, u32);

/// The pattern that was used last on a thread, ready for use: a column has one as a rule.
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

/// Writes a time without a zone by a pattern of `DateTimeFormatter`.
///
/// # Errors
/// The words for the user when the pattern is none, or asks for what a time without a zone has not.
pub fn format(pattern: &str, time: Local) -> Result<String, String> {
    let formatter = FORMATTER.with(|last| last.get(pattern, Formatter::new))?;
    write::write(&formatter, time).map_err(|why| about(pattern, &why))
}

/// Reads a time by a pattern of `DateTimeFormatter`, offsets and zones left out; none when the text does not fit.
///
/// # Errors
/// The words for the user when the pattern is none.
pub fn parse(pattern: &str, text: &str) -> Result<Option<Local>, String> {
    let formatter = FORMATTER.with(|last| last.get(pattern, Formatter::new))?;
    Ok(read::read(&formatter, text).and_then(resolve::resolve))
}

/// Writes an instant in a zone by a pattern of `SimpleDateFormat`.
///
/// # Errors
/// The words for the user when the pattern is none.
pub fn format_simple(pattern: &str, millis: i64, zone: &Zone) -> Result<String, String> {
    Ok(SIMPLE.with(|last| last.get(pattern, Simple::new))?.format(millis, zone))
}

/// Reads an instant in milliseconds by a pattern of `SimpleDateFormat`, from the begin of a text; none when it does not fit.
/// A year of two digits lies within the hundred years that begin eighty years before the clock's.
///
/// # Errors
/// The words for the user when the pattern is none.
pub fn parse_simple(pattern: &str, text: &str, zone: &Zone, clock: &dyn Clock) -> Result<Option<i64>, String> {
    Ok(SIMPLE.with(|last| last.get(pattern, Simple::new))?.parse(text, zone, clock))
}

/// Whether a pattern is one by which a time without a zone can be written.
///
/// # Errors
/// The words for the user when it is not.
pub fn check_writing(pattern: &str) -> Result<(), String> {
    let formatter = Formatter::new(pattern)?;
    write::check(&formatter.items).map_err(|why| about(pattern, &why))
}

/// Whether a pattern is one by which a time can be read.
///
/// # Errors
/// The words for the user when it is not.
pub fn check_reading(pattern: &str) -> Result<(), String> {
    Formatter::new(pattern).map(|_| ())
}

/// Whether a pattern is one of `SimpleDateFormat`.
///
/// # Errors
/// The words for the user when it is not.
pub fn check_simple(pattern: &str) -> Result<(), String> {
    Simple::new(pattern).map(|_| ())
}

/// The day of a year, month and day in the calendar of Java's SQL classes; of a year before 1 the number without its era.
pub(crate) fn sql_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let (y, m, d) = julian::date(julian::day(year, month, day)?);
    let y = if y > 0 { y } else { 1 - y };
    crate::time::days(i32::try_from(y).ok()?, m, d).map(i64::from)
}

fn about(pattern: &str, why: &str) -> String {
    let shown: String = pattern.chars().take(40).collect();
    let dots = if shown.len() < pattern.len() { "…" } else { "" };
    format!("the pattern '{shown}{dots}' of times cannot be used: {why}")
}
