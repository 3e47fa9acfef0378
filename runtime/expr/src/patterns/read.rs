//! Parses the fields of a timestamp by a pattern of `DateTimeFormatter`.

use super::formatter::{
    Adjacent, FIELDS, Formatter, NameLength, OffsetPart, OffsetStyle, PatternItem, Sign, TimeField,
};
use super::names::{self, DAYS, HALVES, MONTHS, QUARTERS};
use crate::time::Zone;

/// The fields that were found in a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    values: [Option<i64>; FIELDS],
    /// The middle of the day period, such as `in the morning`, in minutes since midnight.
    pub period: Option<i64>,
}

impl Fields {
    pub(super) fn get(&self, field: TimeField) -> Option<i64> {
        self.values[field as usize]
    }
    pub(super) fn take(&mut self, field: TimeField) -> Option<i64> {
        self.values[field as usize].take()
    }
    /// Sets a field. None if it already has another value.
    pub(super) fn set(&mut self, field: TimeField, value: i64) -> Option<()> {
        match self.values[field as usize].replace(value) {
            Some(before) if before != value => None,
            _ => Some(()),
        }
    }
}

/// The fields of a text. None if the text as a whole does not match the pattern.
pub(super) fn read(formatter: &Formatter, text: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    (all(&formatter.items, text, 0, &mut fields)? == text.len()).then_some(fields)
}

fn all(items: &[PatternItem], text: &str, at: usize, fields: &mut Fields) -> Option<usize> {
    items.iter().try_fold(at, |at, item| one(item, text, at, fields))
}

fn one(item: &PatternItem, text: &str, at: usize, fields: &mut Fields) -> Option<usize> {
    let rest = text.get(at..)?;
    match item {
        PatternItem::Text(t) => rest.starts_with(t.as_str()).then_some(at + t.len()),
        PatternItem::Number { field, min, max, sign, adjacent } => {
            let (value, used) = number(rest, *min, *max, *sign, *adjacent)?;
            fields.set(*field, value)?;
            Some(at + used)
        }
        PatternItem::TwoDigits { field, adjacent } => {
            let (value, used) = number(rest, 2, 2, Sign::No, *adjacent)?;
            fields.set(*field, 2000 + value)?;
            Some(at + used)
        }
        PatternItem::Fraction(most, _) => {
            if digits(rest, *most) < *most {
                return None;
            }
            let value = rest[..*most].bytes().fold(0, |v, b| v * 10 + i64::from(b - b'0'));
            fields.set(TimeField::Nano, value * 10i64.pow(9 - *most as u32))?;
            Some(at + most)
        }
        PatternItem::Name { field, length } => {
            let (value, used) = name(rest, *field, *length)?;
            fields.set(*field, value)?;
            Some(at + used)
        }
        PatternItem::DayPeriod(_) => {
            const PERIODS: [(&str, i64); 6] = [
                ("in the afternoon", 15 * 60),
                ("in the morning", 9 * 60),
                ("in the evening", 19 * 60 + 30),
                ("at night", 90),
                ("midnight", 0),
                ("noon", 12 * 60),
            ];
            let (name, minutes) = PERIODS.iter().find(|(name, _)| rest.starts_with(name))?;
            fields.period = Some(*minutes);
            Some(at + name.len())
        }
        PatternItem::Offset { style, none } => {
            if rest.starts_with(none) {
                return Some(at + none.len());
            }
            Some(at + offset(rest, *style)?)
        }
        PatternItem::GmtOffset { long } => {
            let body = rest.strip_prefix("GMT")?;
            if !body.starts_with(['+', '-']) {
                return Some(at + 3);
            }
            let hours = digits(&body[1..], 2);
            if hours == 0 || (*long && hours != 2) {
                return None;
            }
            let minutes = &body[1 + hours..];
            let used = if minutes.starts_with(':') && digits(&minutes[1..], 2) == 2 { 3 } else { 0 };
            (used == 3 || !long).then_some(at + 4 + hours + used)
        }
        PatternItem::Zone { id } => zone(rest, *id).map(|used| at + used),
        PatternItem::Padded(width, inner) => {
            let field = rest.get(..*width)?;
            let blanks = field.len() - field.trim_start_matches(' ').len();
            let end = all(std::slice::from_ref(inner), &text[..at + width], at + blanks, fields)?;
            (end == at + width).then_some(end)
        }
        PatternItem::Optional(items) => {
            let mut inside = *fields;
            match all(items, text, at, &mut inside) {
                Some(end) => {
                    *fields = inside;
                    Some(end)
                }
                None => Some(at),
            }
        }
    }
}

/// The number of digits at the start of a text, but not more than `most`.
fn digits(text: &str, most: usize) -> usize {
    text.bytes().take(most).take_while(u8::is_ascii_digit).count()
}

/// Parses a number at the start of a text. Returns the number and its length in bytes.
fn number(text: &str, min: usize, max: usize, sign: Sign, adjacent: Adjacent) -> Option<(i64, usize)> {
    let (negative, positive) = (text.starts_with('-'), text.starts_with('+'));
    match sign {
        Sign::No if negative || positive => return None,
        Sign::Normal if positive => return None,
        _ => {}
    }
    let start = usize::from(negative || positive);
    let body = &text[start..];
    let behind = if let Adjacent::Leaves(n) = adjacent { n } else { 0 };
    let mut length = digits(body, max + behind);
    if length < min {
        return None;
    }
    if behind > 0 {
        length = length.min(min.max(length.saturating_sub(behind)));
    }
    let value: i64 = body[..length].parse().ok()?;
    match sign {
        _ if negative && value == 0 => return None,
        Sign::Exceeds if positive && length <= min => return None,
        Sign::Exceeds if !positive && !negative && length > min => return None,
        _ => {}
    }
    Some((if negative { -value } else { value }, start + length))
}

/// Parses a name at the start of a text. Case matters. Returns the value that the name stands for, and its length in bytes.
fn name(text: &str, field: TimeField, length: NameLength) -> Option<(i64, usize)> {
    let find = |names: &[&str], first: i64| {
        let shown = |n: &&str| match length {
            NameLength::Full => n.len(),
            _ => 3.min(n.len()),
        };
        let at = names.iter().position(|n| text.starts_with(&n[..shown(n)]))?;
        Some((first + at as i64, shown(&names[at])))
    };
    match (field, length) {
        (TimeField::Half, _) => find(&HALVES, 0),
        (TimeField::Quarter, NameLength::Short) => {
            let n = text.strip_prefix('Q')?.bytes().next().filter(|b| (b'1'..=b'4').contains(b))?;
            Some((i64::from(n - b'0'), 2))
        }
        (TimeField::Era, NameLength::Short) => find(&["BC", "AD"], 0),
        (TimeField::Era, NameLength::Full) => find(&["Before Christ", "Anno Domini"], 0),
        // A single letter does not identify a month or weekday.
        (_, NameLength::Narrow) => None,
        (TimeField::Month, _) => find(&MONTHS, 1),
        (TimeField::DayOfWeek, _) => find(&DAYS, 1),
        (TimeField::Quarter, _) => find(&QUARTERS, 1),
        _ => None,
    }
}

/// The length in bytes of an offset such as +0200 at the start of a text. None if there is no valid offset.
fn offset(text: &str, style: OffsetStyle) -> Option<usize> {
    if !text.starts_with(['+', '-']) {
        return None;
    }
    let pair = |at: usize| -> Option<i64> {
        let pair = text.get(at..at + 2)?;
        (digits(pair, 2) == 2).then(|| pair.parse().ok()).flatten()
    };
    let mut total = pair(1)? * 3600;
    let mut at = 3;
    for (part, unit) in [(style.minutes, 60), (style.seconds, 1)] {
        let colon = usize::from(style.colon);
        let there = !style.colon || text.get(at..at + 1) == Some(":");
        match (part, there.then(|| pair(at + colon)).flatten()) {
            (OffsetPart::Never, _) | (OffsetPart::Some, None) => break,
            (_, Some(v)) if v < 60 => {
                total += v * unit;
                at += 2 + colon;
            }
            _ => return None,
        }
    }
    (total <= 18 * 3600).then_some(at)
}

/// The length in bytes of the name or identifier of a zone at the start of a text. Only an identifier is accepted if `id`.
fn zone(text: &str, id: bool) -> Option<usize> {
    // Identifiers consist of these characters.
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "/_+-:".contains(c))).unwrap_or(text.len());
    let word = &text[..end];
    let named = if id { None } else { names::take_zone(text, &Zone::UTC).map(|(_, n)| n) };
    let whole = (1..=end).rev().find(|n| {
        word.get(..*n).is_some_and(|w| w.parse::<chrono_tz::Tz>().is_ok() || (w != "+" && Zone::parse(w).is_ok()))
    });
    named.max(whole)
}
