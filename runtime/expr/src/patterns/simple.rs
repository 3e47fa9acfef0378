//! The patterns of `SimpleDateFormat`, with its lenient parsing and its calendar.

use super::about;
use super::julian;
use super::names::{self, DAYS, HALVES, MONTHS};
use crate::time::Zone;
use weir_core::clock::Clock;

/// The milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A part of a pattern.
#[derive(Debug, PartialEq)]
enum Token {
    /// A letter, and how often it occurs in a row.
    Field(char, usize),
    /// Text without a meaning of its own.
    Text(String),
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Simple {
    tokens: Vec<Token>,
}

/// The fields that were found in a text.
#[derive(Default)]
struct Read {
    era: Option<i64>,
    year: Option<i64>,
    week_year: Option<i64>,
    month: Option<i64>,
    /// The field that determines the day (d, D, w, W or F), and its value. If there are several, the last one is used.
    day: Option<(char, i64)>,
    /// The day of the week, in days since Sunday.
    weekday: Option<i64>,
    /// The hour, and whether it is one of 24. If there are several such fields, the last one is used.
    hour: Option<(i64, bool)>,
    /// 0 for AM, 1 for PM.
    half: Option<i64>,
    minute: i64,
    second: i64,
    milli: i64,
    /// The offset from UTC in seconds.
    offset: Option<i64>,
}

impl Simple {
    /// Compiles a pattern. The error is a message for the user.
    pub(super) fn new(pattern: &str) -> Result<Simple, String> {
        let mut tokens: Vec<Token> = vec![];
        let text = |tokens: &mut Vec<Token>, c: char| match tokens.last_mut() {
            Some(Token::Text(t)) => t.push(c),
            _ => tokens.push(Token::Text(c.to_string())),
        };
        let mut chars = pattern.chars().enumerate().peekable();
        let mut quote = None;
        while let Some((at, c)) = chars.next() {
            if c == '\'' {
                // Two quotes in a row stand for one, inside of quoted text and outside.
                if chars.next_if(|(_, c)| *c == '\'').is_some() {
                    text(&mut tokens, '\'');
                } else {
                    quote = if quote.is_some() { None } else { Some(at) };
                }
            } else if quote.is_some() || !c.is_ascii_alphabetic() {
                text(&mut tokens, c);
            } else if !"GyYMLwWDdFEuaHkKhmsSzZX".contains(c) {
                let why = format!("the letter '{c}' stands for nothing; write text in quotes (character {})", at + 1);
                return Err(about(pattern, &why));
            } else {
                let mut n = 1;
                while chars.next_if(|(_, next)| *next == c).is_some() {
                    n += 1;
                }
                if c == 'X' && n > 3 {
                    let why = format!("'X' stands at most 3 times in a row, not {n} (character {})", at + 1);
                    return Err(about(pattern, &why));
                }
                tokens.push(Token::Field(c, n));
            }
        }
        match quote {
            Some(at) => Err(about(pattern, &format!("a quote opens and is not closed (character {})", at + 1))),
            None => Ok(Simple { tokens }),
        }
    }

    /// Formats an instant, which is given in milliseconds since 1970-01-01T00:00Z.
    pub(super) fn format(&self, millis: i64, zone: &Zone) -> String {
        let epoch = millis.div_euclid(1000);
        let offset = zone.clock_offset_at(epoch);
        let local = i128::from(millis) + i128::from(offset) * 1000;
        let day = local.div_euclid(i128::from(DAY)) as i64;
        let of_day = local.rem_euclid(i128::from(DAY)) as i64;
        let mut out = String::new();
        for token in &self.tokens {
            match token {
                Token::Text(t) => out.push_str(t),
                Token::Field('z', n) => out.push_str(&names::zone(zone, epoch, *n >= 4)),
                Token::Field(c @ ('Z' | 'X'), n) => out.push_str(&offset_text(*c, *n, offset)),
                Token::Field(c, n) => write(*c, *n, day, of_day, &mut out),
            }
        }
        out
    }

    /// Parses an instant. Returns milliseconds since 1970-01-01T00:00Z; none if the text does not match.
    pub(super) fn parse(&self, text: &str, zone: &Zone, clock: &dyn Clock) -> Option<i64> {
        let mut read = Read::default();
        let mut rest = text;
        for (i, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Text(t) => rest = rest.strip_prefix(t.as_str())?,
                Token::Field(c, n) => {
                    // If a number directly follows, this one has at most as many digits as the pattern has letters.
                    let touched = match self.tokens.get(i + 1) {
                        Some(Token::Field('M' | 'L', n)) => *n <= 2,
                        Some(Token::Field(c, _)) => !"GEazZX".contains(*c),
                        _ => false,
                    };
                    rest = take(*c, *n, touched, rest, (zone, clock), &mut read)?;
                }
            }
        }
        read.instant(zone)
    }
}

fn offset_text(letter: char, n: usize, offset: i64) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    let (h, m) = (minutes / 60, minutes % 60);
    match (letter, n) {
        ('X', _) if offset == 0 => "Z".to_string(),
        ('X', 1) => format!("{sign}{h:02}"),
        ('X', 3) => format!("{sign}{h:02}:{m:02}"),
        _ => format!("{sign}{h:02}{m:02}"),
    }
}

/// The number of days since the last Sunday. 1970-01-01 was a Thursday.
fn from_sunday(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

/// The Sunday on or before a day.
fn sunday(day: i64) -> i64 {
    day - from_sunday(day)
}

fn write(c: char, n: usize, day: i64, of_day: i64, out: &mut String) {
    let (year, month, of_month) = julian::date(day);
    let of_era = if year > 0 { year } else { 1 - year };
    let first = |y: i64| julian::month(y, 1).unwrap_or(day);
    let hour = of_day / 3_600_000;
    // The week that contains the first day of the next year belongs to that year.
    let next_year = sunday(first(year + 1)) <= day;
    let mut number = |v: i64| out.push_str(&format!("{v:0n$}"));
    match c {
        'y' if n == 2 => out.push_str(&format!("{:02}", of_era % 100)),
        'Y' if n == 2 => out.push_str(&format!("{:02}", (if next_year { year + 1 } else { of_era }) % 100)),
        'y' => number(of_era),
        'Y' => number(if next_year { year + 1 } else { of_era }),
        'M' | 'L' if n < 3 => number(i64::from(month)),
        'w' if next_year => number(1),
        'w' => number((day - sunday(first(year))) / 7 + 1),
        'W' => number((day - sunday(day - i64::from(of_month) + 1)) / 7 + 1),
        'D' => number(day - first(year) + 1),
        'd' => number(i64::from(of_month)),
        'F' => number((i64::from(of_month) - 1) / 7 + 1),
        'u' => number((from_sunday(day) + 6) % 7 + 1),
        'H' => number(hour),
        'k' => number(if hour == 0 { 24 } else { hour }),
        'K' => number(hour % 12),
        'h' => number((hour + 11) % 12 + 1),
        'm' => number(of_day / 60_000 % 60),
        's' => number(of_day / 1_000 % 60),
        'S' => number(of_day % 1_000),
        'M' | 'L' => {
            let name = MONTHS[month as usize - 1];
            out.push_str(if n == 3 { &name[..3] } else { name });
        }
        'E' => {
            let name = DAYS[(from_sunday(day) + 6) as usize % 7];
            out.push_str(if n < 4 { &name[..3] } else { name });
        }
        'a' => out.push_str(HALVES[usize::from(hour >= 12)]),
        'G' => out.push_str(if year > 0 { "AD" } else { "BC" }),
        _ => {}
    }
}

/// Parses a number at the start of a text, which may be negative and has at most `most` characters. Returns it with the rest of the text.
fn number(text: &str, most: usize) -> Option<(i64, &str)> {
    let start = usize::from(text.starts_with('-'));
    let end = start + text.bytes().skip(start).take(most - start.min(most)).take_while(u8::is_ascii_digit).count();
    Some((text.get(..end)?.parse().ok().filter(|_| end > start)?, &text[end..]))
}

/// Parses one of these names at the start of a text, in full or its first `short` letters, in any case. Returns its index and the rest of
/// the text.
fn name<'t>(text: &'t str, all: &[&str], short: usize) -> Option<(i64, &'t str)> {
    let starts = |n: &str| text.get(..n.len()).is_some_and(|head| head.eq_ignore_ascii_case(n));
    for (at, n) in all.iter().enumerate() {
        for length in [n.len(), short] {
            if n.get(..length).is_some_and(starts) {
                return Some((at as i64, &text[length..]));
            }
        }
    }
    None
}

/// Parses the field of a pattern letter, which occurs `n` times in a row, at the start of a text. Returns the rest of the text. `touched`
/// says whether a number directly follows.
fn take<'t>(
    c: char,
    n: usize,
    touched: bool,
    text: &'t str,
    (zone, clock): (&Zone, &dyn Clock),
    read: &mut Read,
) -> Option<&'t str> {
    let text = text.trim_start_matches([' ', '\t']);
    match c {
        'G' => {
            let (era, rest) = name(text, &["BC", "AD"], 2)?;
            read.era = Some(era);
            return Some(rest);
        }
        'M' | 'L' if n >= 3 => {
            let (month, rest) = name(text, &MONTHS, 3)?;
            read.month = Some(month + 1);
            return Some(rest);
        }
        'E' => {
            let (day, rest) = name(text, &DAYS, 3)?;
            read.weekday = Some((day + 1) % 7);
            return Some(rest);
        }
        'a' => {
            let (half, rest) = name(text, &HALVES, 2)?;
            read.half = Some(half);
            return Some(rest);
        }
        'z' | 'Z' => return take_zone(text, zone, read),
        'X' => {
            if let Some(rest) = text.strip_prefix('Z') {
                read.offset = Some(0);
                return Some(rest);
            }
            return take_offset(text, n != 1, n == 3, true, read);
        }
        _ => {}
    }
    let (v, rest) = number(text, if touched { n } else { 18 })?;
    match c {
        'y' | 'Y' => {
            // A year of two digits is between 80 years ago and 19 years ahead.
            let two = n <= 2 && text.len() - rest.len() == 2 && v >= 0;
            let year = if two { in_century(v, clock) } else { v };
            *(if c == 'y' { &mut read.year } else { &mut read.week_year }) = Some(year);
        }
        'M' | 'L' => read.month = Some(v),
        'd' | 'D' | 'w' | 'W' | 'F' => read.day = Some((c, v)),
        'u' => read.weekday = Some(v.rem_euclid(7)),
        'H' => read.hour = Some((v, true)),
        'k' => read.hour = Some((if v == 24 { 0 } else { v }, true)),
        'K' => read.hour = Some((v, false)),
        'h' => read.hour = Some((if v == 12 { 0 } else { v }, false)),
        'm' => read.minute = v,
        's' => read.second = v,
        'S' => read.milli = v,
        _ => return None,
    }
    Some(rest)
}

/// The year of two digits, by the current year of the clock.
fn in_century(v: i64, clock: &dyn Clock) -> i64 {
    let (year, _, _) = julian::date(clock.now().div_euclid(DAY));
    let start = year - 80;
    start - start % 100 + v + if v < start % 100 { 100 } else { 0 }
}

fn take_zone<'t>(text: &'t str, zone: &Zone, read: &mut Read) -> Option<&'t str> {
    if text.starts_with(['+', '-']) {
        return take_offset(text, true, false, true, read);
    }
    if let Some(gmt) = text.get(..3).filter(|t| t.eq_ignore_ascii_case("GMT")) {
        let behind = &text[gmt.len()..];
        if behind.starts_with(['+', '-']) {
            return take_offset(behind, true, true, false, read);
        }
        if !behind.starts_with(|c: char| c.is_ascii_alphabetic()) {
            read.offset = Some(0);
            return Some(behind);
        }
    }
    let (offset, length) = names::take_zone(text, zone)?;
    read.offset = Some(offset);
    Some(&text[length..])
}

/// Parses an offset from UTC. It is `+hh` without `minutes`, otherwise `+hhmm`, or `+hh:mm` if `colon`. The hours may have a single digit
/// unless `two`.
fn take_offset<'t>(text: &'t str, minutes: bool, colon: bool, two: bool, read: &mut Read) -> Option<&'t str> {
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let body = &text[1..];
    let digits = body.bytes().take(2).take_while(u8::is_ascii_digit).count();
    if digits == 0 || (two && digits < 2) {
        return None;
    }
    let hours: i64 = body[..digits].parse().ok().filter(|h| *h <= 23)?;
    let mut rest = &body[digits..];
    let mut of_hour = 0;
    if minutes {
        rest = if colon { rest.strip_prefix(':')? } else { rest };
        let pair = rest.get(..2).filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?;
        of_hour = pair.parse().ok().filter(|m| *m <= 59)?;
        rest = &rest[2..];
    }
    read.offset = Some(sign * (hours * 3600 + of_hour * 60));
    Some(rest)
}

impl Read {
    /// The day of the fields, in days since 1970-01-01. Months and days that are out of range carry over.
    fn date(&self) -> Option<i64> {
        let year = match (self.year.unwrap_or(1970), self.era) {
            (y, Some(0)) => 1 - y,
            (y, _) => y,
        };
        let month = self.month.unwrap_or(1);
        let weekday = self.weekday;
        if let Some(year) = self.week_year
            && self.year.is_none()
        {
            let week = self.day.filter(|(c, _)| *c == 'w').map_or(1, |(_, w)| w);
            return sunday(julian::month(year, 1)?).checked_add((week - 1) * 7 + weekday.unwrap_or(0));
        }
        match self.day {
            Some(('D', d)) => julian::month(year, 1)?.checked_add(d - 1),
            Some(('w', w)) => sunday(julian::month(year, 1)?).checked_add((w - 1) * 7 + weekday.unwrap_or(0)),
            Some(('W', w)) => sunday(julian::month(year, month)?).checked_add((w - 1) * 7 + weekday.unwrap_or(0)),
            Some(('F', k)) => {
                let first = julian::month(year, month)?;
                let to_day = (weekday.unwrap_or(0) - from_sunday(first)).rem_euclid(7);
                first.checked_add((k - 1) * 7 + to_day)
            }
            Some((_, d)) => julian::day(year, month, d),
            None => {
                let first = julian::month(year, month)?;
                Some(match weekday {
                    Some(w) => sunday(first) + w,
                    None => first,
                })
            }
        }
    }

    /// The instant of the fields, in milliseconds since 1970-01-01T00:00Z.
    fn instant(&self, zone: &Zone) -> Option<i64> {
        let hour = match (self.hour, self.half) {
            (Some((h, true)), _) => h,
            (Some((h, false)), half) => h + half.unwrap_or(0) * 12,
            (None, half) => half.unwrap_or(0) * 12,
        };
        let of_day = hour
            .checked_mul(3600)?
            .checked_add(self.minute.checked_mul(60)?)?
            .checked_add(self.second)?
            .checked_mul(1000)?
            .checked_add(self.milli)?;
        let local = self.date()?.checked_mul(DAY)?.checked_add(of_day)?;
        let seconds = local.div_euclid(1000);
        let utc = match self.offset {
            Some(offset) => seconds - offset,
            None => zone.to_utc_late(seconds),
        };
        utc.checked_mul(1000)?.checked_add(local.rem_euclid(1000))
    }
}
