//! Parses and formats dates and times.

use super::{DAY, date, days};
use chrono::Datelike;

/// Parses digits without blanks around them.
fn strict(text: &str) -> Option<i64> {
    integer(text).filter(|_| text.trim() == text)
}

/// Parses digits, which may have blanks around them.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Parses a date as Flink's CAST does: `2020-2-9`, `2020-02` or `2020`. A blank and what follows it are ignored. Returns days since
/// 1970-01-01; none if the text is not a date.
pub fn parse_date(text: &str) -> Option<i32> {
    let text = match text.find(' ') {
        Some(at) if at > 0 => &text[..at],
        _ => text,
    };
    let mut parts = text.splitn(3, '-');
    let year = integer(parts.next()?)?;
    let month = parts.next().map_or(Some(1), integer)?;
    let day = parts.next().map_or(Some(1), integer)?;
    if !(0..=9999).contains(&year) {
        return None;
    }
    days(year as i32, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

/// Parses a time of day: `12`, `12:34` or `1:2:3.456`. Digits after the third one of the fraction are ignored. Returns milliseconds since
/// midnight; none if the text is not a time.
pub fn parse_time(text: &str) -> Option<i32> {
    let text = text.trim();
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let hour = integer(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), integer)?;
    let second = parts.next().map_or(Some(0), integer)?;
    if hour > 23 || minute > 59 || second > 59 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{:0<3}", &fraction[..fraction.len().min(3)]).parse().unwrap_or(0);
    Some(((hour * 3600 + minute * 60 + second) * 1000 + millis) as i32)
}

/// Parses a timestamp as Flink's CAST does: a date, or a date, a blank, and hours, minutes and seconds with up to nine digits of a
/// fraction. A day past the end of its month becomes the last day of the month. Hour 24 is the start of the next day. Returns local seconds
/// and nanoseconds; none if the text is not a timestamp.
pub fn parse_timestamp(text: &str) -> Option<(i64, u32)> {
    let (date, clock) = match text.split_once(' ') {
        Some((d, c)) => (d, Some(c)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    let years = match y.strip_prefix('+') {
        Some(y) => (y.len() > 4).then_some(y)?,
        None => (y.len() == 4).then_some(y)?,
    };
    let short = |t: &str| (1..=2).contains(&t.len()) && t.trim() == t;
    if parts.next().is_some() || years.len() > 6 || years.trim() != years || !short(m) || !short(d) {
        return None;
    }
    let (y, m, d) = (integer(years)? as i32, integer(m)? as u32, integer(d)? as u32);
    if d == 0 || d > 31 {
        return None;
    }
    let day = (0..4).find_map(|back| days(y, m, d - back.min(d - 1)))?;
    let Some(clock) = clock else {
        return Some((i64::from(day) * DAY, 0));
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let (h, mi, s) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || [h, mi, s].iter().any(|p| p.len() > 2 || p.trim() != *p) {
        return None;
    }
    let (h, mi, s) = (integer(h)?, integer(mi)?, integer(s)?);
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) || mi > 59 || s > 59 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    if h > 24 || (h == 24 && (mi, s, nanos) != (0, 0, 0)) {
        return None;
    }
    Some((i64::from(day) * DAY + h * 3600 + mi * 60 + s, nanos))
}

/// Parses a timestamp as CAST and TO_TIMESTAMP do: like [`parse_timestamp`], but years before 1 are rejected.
pub fn cast_timestamp(text: &str) -> Option<(i64, u32)> {
    const YEAR_1: i64 = -62_135_596_800;
    parse_timestamp(text).filter(|(s, _)| *s >= YEAR_1)
}

/// Parses a time of day as CAST does. An offset at the end is added to the time. The fourth digit of the fraction rounds the third one, and
/// characters of the fraction that are not digits count as 0. Returns milliseconds since midnight; none if the text is not a time.
pub fn cast_time(text: &str) -> Option<i32> {
    let (clock, offset) = match text.find('-').or_else(|| text.find('+')) {
        Some(at) => {
            let sign = if text[at..].starts_with('-') { -1 } else { 1 };
            let (h, m) = text[at + 1..].split_once(':').unwrap_or((&text[at + 1..], "0"));
            (&text[..at], sign * (integer(h)? * 3_600_000 + integer(m)? * 60_000))
        }
        None => (text, 0),
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((c, f)) if c.matches(':').count() == 2 => (c, f.trim()),
        Some(_) => return None,
        None => (clock, ""),
    };
    let mut parts = clock.splitn(3, ':');
    let h = integer(parts.next()?)?;
    let m = parts.next().map_or(Some(0), integer)?;
    let s = parts.next().map_or(Some(0), integer)?;
    if h > 23 || m > 59 || s > 59 {
        return None;
    }
    let digit =
        |at: usize| fraction.as_bytes().get(at).copied().filter(u8::is_ascii_digit).map_or(0, |b| i64::from(b - b'0'));
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2) + i64::from(digit(3) >= 5);
    let total = (h * 3600 + m * 60 + s) * 1000 + offset;
    // The last millisecond of the day is not rounded up.
    let total = if total + millis == DAY * 1000 { total + 999 } else { total + millis };
    (0..DAY * 1000).contains(&total).then_some(total as i32)
}

/// Parses a timestamp, or a date alone, as `java.sql.Timestamp` does. Hours, minutes and seconds that are too great carry over, and so do
/// days past the end of their month. Returns local seconds and nanoseconds; none if the text is not a timestamp.
pub fn parse_sql_timestamp(text: &str) -> Option<(i64, u32)> {
    let text = text.trim();
    let (date, clock) = match text.split_once(' ') {
        Some((d, c)) => (d, Some(c)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [y, m, d] = parts.as_slice() else { return None };
    if y.len() != 4 || !(1..=2).contains(&m.len()) || !(1..=2).contains(&d.len()) {
        return None;
    }
    let (y, m, d) = (strict(y)?, strict(m)?, strict(d)?);
    if !(1..=12).contains(&m) || !(1..=31).contains(&d) {
        return None;
    }
    let day = crate::patterns::sql_day(y, m, d)?;
    let Some(clock) = clock else {
        return Some((day * DAY, 0));
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((_, "")) => return None,
        Some((c, f)) => (c, f),
        None => (clock, ""),
    };
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let parts: Vec<&str> = clock.split(':').collect();
    let [h, mi, s] = parts.as_slice() else { return None };
    let (h, mi, s) = (strict(h)?, strict(mi)?, strict(s)?);
    let of_day = h.checked_mul(3600)?.checked_add(mi.checked_mul(60)?)?.checked_add(s)?;
    Some(((day * DAY).checked_add(of_day)?, nanos))
}

/// Formats a date, which is given in days since 1970-01-01. As in Java, years beyond 9999 and before 0 have a sign.
pub fn date_text(days: i32) -> String {
    match date(days) {
        Some(d) if (0..=9999).contains(&d.year()) => {
            format!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day())
        }
        Some(d) => format!("{:+05}-{:02}-{:02}", d.year(), d.month(), d.day()),
        None => days.to_string(),
    }
}

/// Formats a time of day as CAST does: with at most `digits` digits of the second, and without zeros at the end. If `digits` is not 0, at
/// least one digit is shown. `millis` are milliseconds since midnight.
pub fn cast_time_text(millis: i32, digits: u8) -> String {
    let text = time_text(millis, digits);
    match text.split_once('.') {
        Some((clock, fraction)) => {
            let kept = fraction.trim_end_matches('0');
            format!("{clock}.{}", if kept.is_empty() { "0" } else { kept })
        }
        None => text,
    }
}

/// Formats a time of day with `digits` digits of the second. `millis` are milliseconds since midnight.
pub fn time_text(millis: i32, digits: u8) -> String {
    let s = millis / 1000;
    let base = format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    with_fraction(base, (millis % 1000) as u32 * 1_000_000, digits)
}

fn with_fraction(base: String, nanos: u32, digits: u8) -> String {
    if digits == 0 {
        return base;
    }
    format!("{base}.{}", &format!("{nanos:09}")[..usize::from(digits.min(9))])
}

/// Formats a timestamp as CAST does, with `digits` digits of the second.
pub fn timestamp_text(seconds: i64, nanos: u32, digits: u8) -> String {
    let days = seconds.div_euclid(DAY);
    let s = seconds.rem_euclid(DAY);
    let base = format!("{} {:02}:{:02}:{:02}", date_text(days as i32), s / 3600, s / 60 % 60, s % 60);
    with_fraction(base, nanos, digits)
}

/// Formats a time of day as Java's `LocalTime` does. Seconds are left out if they are zero, and a fraction has 3, 6 or 9 digits.
pub fn iso_time(seconds: i64, nanos: u32) -> String {
    let base = format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 == 0 && nanos == 0 {
        return base;
    }
    format!("{base}:{:02}{}", seconds % 60, iso_fraction(nanos))
}

/// Formats the fraction of a second as Java does: with 3, 6 or 9 digits, or as an empty text if it is zero.
pub fn iso_fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    }
}

/// Formats a timestamp as Java's `LocalDateTime` does.
pub fn iso_timestamp(seconds: i64, nanos: u32) -> String {
    let days = seconds.div_euclid(DAY);
    format!("{}T{}", date_text(days as i32), iso_time(seconds.rem_euclid(DAY), nanos))
}

/// Formats an instant in UTC as Java's `ISO_OFFSET_DATE_TIME` does: with as many digits of the second as it needs.
pub fn iso_offset_time(seconds: i64, nanos: u32) -> String {
    let whole = iso_instant(seconds, 0);
    let digits = format!("{nanos:09}");
    match digits.trim_end_matches('0') {
        "" => whole,
        digits => format!("{}.{digits}Z", whole.trim_end_matches('Z')),
    }
}

/// Formats an instant as Java's `Instant` does.
pub fn iso_instant(seconds: i64, nanos: u32) -> String {
    let s = seconds.rem_euclid(DAY);
    format!(
        "{}T{:02}:{:02}:{:02}{}Z",
        date_text(seconds.div_euclid(DAY) as i32),
        s / 3600,
        s / 60 % 60,
        s % 60,
        iso_fraction(nanos)
    )
}
