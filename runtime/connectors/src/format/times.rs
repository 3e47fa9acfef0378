//! Dates and times in records, as strict as Java's ISO 8601 formats: two digits where two are expected, and nothing around them.

use weir_expr::time::days;

const DAY: i64 = 86_400;

fn two(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

/// Parses a date to days since 1970-01-01. The year has four digits, or more after a sign. With `last`, a day up to the 31st that its month
/// does not have is the month's last day.
pub(super) fn date(text: &str, last: bool) -> Option<i32> {
    let (year, rest) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, digits) = match year.as_bytes() {
        [b'-', digits @ ..] => (-1, digits),
        // A plus sign means that the year has more than four digits.
        [b'+', digits @ ..] if digits.len() > 4 => (1, digits),
        digits if digits.len() == 4 => (1, digits),
        _ => return None,
    };
    if !(4..=9).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year = sign * digits.iter().fold(0i32, |all, d| all * 10 + i32::from(d - b'0'));
    let [b'-', m1, m2, b'-', d1, d2] = rest.as_bytes() else { return None };
    let (month, day) = (two(&[*m1, *m2])?, two(&[*d1, *d2])?);
    match days(year, month, day) {
        None if last && (29..=31).contains(&day) => (28..31).rev().find_map(|d| days(year, month, d)),
        found => found,
    }
}

/// Parses a time of day, `03:04:05` with up to nine fraction digits, to seconds and nanoseconds. With `brief`, seconds may be missing. With
/// `midnight`, the end of the day may be written as hour 24.
pub(super) fn clock(text: &str, brief: bool, midnight: bool) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    let (hours, minutes) = (two(bytes.get(..2)?)?, two(bytes.get(3..5)?)?);
    if bytes[2] != b':' {
        return None;
    }
    let (seconds, fraction) = match bytes.get(5..)? {
        [] if brief => (0, &[][..]),
        [b':', a, b] => (two(&[*a, *b])?, &[][..]),
        [b':', a, b, b'.', fraction @ ..] => (two(&[*a, *b])?, fraction),
        _ => return None,
    };
    if fraction.len() > 9 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |all, i| all * 10 + u32::from(fraction.get(i).map_or(0, |d| d - b'0')));
    let end = midnight && hours == 24 && (minutes, seconds, nanos) == (0, 0, 0);
    if !end && (hours > 23 || minutes > 59 || seconds > 59) {
        return None;
    }
    Some((i64::from(hours * 3600 + minutes * 60 + seconds), nanos))
}

/// Parses a date and a time to seconds since 1970-01-01 and nanoseconds. In the ISO 8601 form, there is a `T` between them, and seconds may
/// be missing. Otherwise there is a blank, a day that the month does not have is the month's last one, and 24:00:00 is the beginning of the
/// next day.
pub(super) fn timestamp(text: &str, iso: bool) -> Option<(i64, u32)> {
    let at = text.find(if iso { ['T', 't'] } else { [' ', ' '] })?;
    let days = date(&text[..at], !iso)?;
    let (seconds, nanos) = clock(&text[at + 1..], iso, !iso)?;
    Some((i64::from(days) * DAY + seconds, nanos))
}

/// Parses a time of day to milliseconds.
pub(super) fn millis(text: &str) -> Option<i32> {
    let (seconds, nanos) = clock(text, false, true)?;
    Some(((seconds % DAY) * 1000) as i32 + (nanos / 1_000_000) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_a_real_flink_took() {
        let at = |text: &str| timestamp(text, false);
        assert_eq!(at("1970-01-02 00:00:01.5"), Some((86_401, 500_000_000)));
        assert_eq!(at("1970-01-01 24:00:00"), Some((86_400, 0)));
        assert_eq!(at("1970-01-01 00:00:05."), Some((5, 0)));
        assert_eq!(at("-0001-01-02 03:04:05").map(|t| t.0 < 0), Some(true));
        for wrong in [
            "1970-01-01 00:00",
            "1970-01-01T00:00:00",
            "1970-1-1 0:0:0",
            " 1970-01-01 00:00:00",
            "1970-01-01 00:00:00Z",
            "1970-01-01 00:00:00.1234567891",
            "10000-01-01 00:00:00",
            "1970-01-01",
            "",
            "1970-01-01 ",
            "ä",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        let at = |text: &str| timestamp(text, true);
        assert_eq!(at("1970-01-01T00:01"), Some((60, 0)));
        assert_eq!(at("1970-01-01t00:01:01"), Some((61, 0)));
        assert!(at("+10000-01-02T03:04:05").is_some());
        for wrong in ["1970-01-01 00:00:00", "1970-01-01T24:00:00", "1970-02-29T00:00:00", "1970-01-01T00"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        assert_eq!(millis("00:00:01.2345"), Some(1_234));
        assert_eq!(millis("24:00:00"), Some(0));
        for wrong in ["00:00", "0:0:0", "00:00:00Z", "23:59:60", "24:00:01"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
        assert_eq!(date("1970-01-02", false), Some(1));
        assert_eq!(date("1970-02-30", false), None);
        assert_eq!(date("1970-02-30", true), date("1970-02-28", false));
        assert_eq!(date("+1970-01-02", false), None);
    }
}
