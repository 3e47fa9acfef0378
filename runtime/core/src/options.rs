//! Parses values of options: sizes, durations and booleans, in Flink's spellings.

use crate::{Error, Result};
use std::time::Duration;

/// Parses `true` or `false` in any case.
///
/// # Errors
/// For anything else.
pub fn boolean(key: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::script(format!("option '{key}' is true or false, not '{value}'"))),
    }
}

/// Parses a whole number.
///
/// # Errors
/// For anything else.
pub fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| Error::script(format!("option '{key}' is a whole number in range, not '{value}'")))
}

/// Parses a size in bytes: `64mb`, `1 gb`, `512`.
///
/// # Errors
/// For anything else.
pub fn bytes(key: &str, value: &str) -> Result<u64> {
    let (n, unit) = split(value);
    let factor: u64 = match unit.as_str() {
        "" | "b" | "bytes" => 1,
        "k" | "kb" | "kib" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mib" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gib" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tib" | "tebibytes" => 1 << 40,
        _ => return Err(size_error(key, value)),
    };
    n.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| size_error(key, value))
}

fn size_error(key: &str, value: &str) -> Error {
    Error::script(format!("option '{key}' is a size such as '64mb', not '{value}'"))
}

/// Parses a duration: `1s`, `10 min`, `500 ms`, `1 d`. A plain number is in milliseconds.
///
/// # Errors
/// For anything else.
pub fn duration(key: &str, value: &str) -> Result<Duration> {
    let wrong = || Error::script(format!("option '{key}' is a duration such as '10s' or '500 ms', not '{value}'"));
    let (n, unit) = split(value);
    let n: u64 = n.parse().map_err(|_| wrong())?;
    let nanos: u64 = match unit.as_str() {
        "ns" | "nano" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return Err(wrong()),
    };
    n.checked_mul(nanos).map(Duration::from_nanos).ok_or_else(wrong)
}

fn split(value: &str) -> (String, String) {
    let value = value.trim();
    let at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    (value[..at].to_string(), value[at..].trim().to_ascii_lowercase())
}
