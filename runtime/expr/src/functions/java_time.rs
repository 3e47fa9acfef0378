//! The patterns of Java's `DateTimeFormatter` and `SimpleDateFormat`, as far as SQL uses them.

use crate::time::{date_time, days};
use chrono::{Datelike, Timelike};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

enum Token {
    Field(char, usize),
    Text(String),
}

fn tokens(pattern: &str) -> Result<Vec<Token>, String> {
    let mut out = vec![];
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            let mut text = String::new();
            loop {
                match chars.next() {
                    Some('\'') if chars.peek() == Some(&'\'') => {
                        chars.next();
                        text.push('\'');
                    }
                    Some('\'') => break,
                    Some(c) => text.push(c),
                    None => return Err(format!("the pattern '{pattern}' ends within quotes")),
                }
            }
            out.push(Token::Text(if text.is_empty() { "'".to_string() } else { text }));
        } else if c.is_ascii_alphabetic() {
            let mut n = 1;
            while chars.peek() == Some(&c) {
                chars.next();
                n += 1;
            }
            out.push(Token::Field(c, n));
        } else {
            out.push(Token::Text(c.to_string()));
        }
    }
    Ok(out)
}

/// Writes a local timestamp by a pattern.
///
/// # Errors
/// The words for the user when the pattern has a letter that means nothing.
pub fn format(pattern: &str, seconds: i64, nanos: u32) -> Result<String, String> {
    let Some(t) = date_time(seconds, nanos) else {
        return Err("the time is out of range".to_string());
    };
    let mut out = String::new();
    let number = |out: &mut String, v: i64, n: usize| *out += &format!("{v:0n$}");
    for token in tokens(pattern)? {
        let (c, n) = match token {
            Token::Text(t) => {
                out += &t;
                continue;
            }
            Token::Field(c, n) => (c, n),
        };
        match c {
            'y' | 'u' if n == 2 => number(&mut out, i64::from(t.year().rem_euclid(100)), 2),
            'y' | 'u' => number(&mut out, i64::from(t.year()), n),
            'Y' => number(&mut out, i64::from(t.iso_week().year()), n),
            'M' | 'L' if n >= 4 => out += MONTHS[t.month0() as usize],
            'M' | 'L' if n == 3 => out += &MONTHS[t.month0() as usize][..3],
            'M' | 'L' => number(&mut out, i64::from(t.month()), n),
            'Q' | 'q' => number(&mut out, i64::from(t.month0() / 3 + 1), n),
            'w' => number(&mut out, i64::from(t.iso_week().week()), n),
            'd' => number(&mut out, i64::from(t.day()), n),
            'D' => number(&mut out, i64::from(t.ordinal()), n),
            'E' if n >= 4 => out += DAYS[t.weekday().num_days_from_monday() as usize],
            'E' => out += &DAYS[t.weekday().num_days_from_monday() as usize][..3],
            'e' => number(&mut out, i64::from(t.weekday().num_days_from_sunday() + 1), n),
            'a' => out += if t.hour() < 12 { "AM" } else { "PM" },
            'H' => number(&mut out, i64::from(t.hour()), n),
            'k' => number(&mut out, i64::from(if t.hour() == 0 { 24 } else { t.hour() }), n),
            'K' => number(&mut out, i64::from(t.hour() % 12), n),
            'h' => number(&mut out, i64::from((t.hour() + 11) % 12 + 1), n),
            'm' => number(&mut out, i64::from(t.minute()), n),
            's' => number(&mut out, i64::from(t.second()), n),
            'S' => out += &format!("{nanos:09}{:0>w$}", "", w = n.saturating_sub(9))[..n],
            'n' => number(&mut out, i64::from(nanos), n),
            'G' => out += if t.year() > 0 { "AD" } else { "BC" },
            c => {
                return Err(format!("the pattern '{pattern}' has a letter '{c}' that stands for nothing here"));
            }
        }
    }
    Ok(out)
}

/// Reads a local timestamp by a pattern; none when the text does not fit. A lenient reader leaves what follows unread.
///
/// # Errors
/// The words for the user when the pattern has a letter that means nothing.
pub fn parse(pattern: &str, text: &str, lenient: bool) -> Result<Option<(i64, u32)>, String> {
    let tokens = tokens(pattern)?;
    let (mut y, mut mo, mut d, mut h, mut mi, mut s, mut nanos) = (1970i64, 1i64, 1i64, 0i64, 0i64, 0i64, 0u32);
    let (mut half, mut doy): (Option<i64>, Option<i64>) = (None, None);
    let mut zone = 0i64;
    let mut rest = text;
    for (at, token) in tokens.iter().enumerate() {
        let (c, n) = match token {
            Token::Text(t) => match rest.strip_prefix(t.as_str()) {
                Some(r) => {
                    rest = r;
                    continue;
                }
                None => return Ok(None),
            },
            Token::Field(c, n) => (*c, *n),
        };
        // Fields that touch each other take as many digits as they have letters.
        let touching = matches!(tokens.get(at + 1), Some(Token::Field(c, _)) if *c != 'a' && *c != 'E');
        let most = match c {
            'S' => {
                if touching {
                    n
                } else {
                    9
                }
            }
            'y' | 'u' if n > 2 => {
                if touching {
                    n
                } else {
                    9
                }
            }
            _ if touching => n,
            _ => 2.max(n),
        };
        let number = |rest: &mut &str| -> Option<i64> {
            let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let v = rest.get(..digits)?.parse().ok()?;
            *rest = &rest[digits..];
            Some(v)
        };
        let name = |rest: &mut &str, names: &[&str]| -> Option<i64> {
            for (i, name) in names.iter().enumerate() {
                for len in [name.len(), 3] {
                    if rest.get(..len).is_some_and(|p| p.eq_ignore_ascii_case(&name[..len])) {
                        *rest = &rest[len..];
                        return Some(i as i64);
                    }
                }
            }
            None
        };
        let before = rest.len();
        let value = match c {
            'M' | 'L' if n >= 3 => name(&mut rest, &MONTHS).map(|m| m + 1),
            'E' => name(&mut rest, &DAYS),
            'a' => name(&mut rest, &["AM ", "PM "]).or_else(|| {
                let v = match rest.get(..2)?.to_ascii_uppercase().as_str() {
                    "AM" => 0,
                    "PM" => 1,
                    _ => return None,
                };
                rest = &rest[2..];
                Some(v)
            }),
            'X' | 'Z' | 'x' => offset(&mut rest),
            _ => number(&mut rest),
        };
        let Some(v) = value else { return Ok(None) };
        match c {
            'y' | 'u' => y = if n == 2 && v < 100 { 2000 + v } else { v },
            'M' | 'L' => mo = v,
            'd' => d = v,
            'D' => doy = Some(v),
            'H' | 'k' => h = v % if c == 'k' { 24 } else { i64::MAX },
            'h' | 'K' => h = v % 12,
            'm' => mi = v,
            's' => s = v,
            'S' => {
                let digits = (before - rest.len()) as u32;
                nanos = v as u32 * 10u32.pow(9 - digits.min(9));
            }
            'a' => half = Some(v),
            'X' | 'Z' | 'x' => zone = v,
            'E' => {}
            c => {
                return Err(format!("the pattern '{pattern}' has a letter '{c}' that cannot be read here"));
            }
        }
    }
    if let Some(half) = half {
        h = h % 12 + half * 12;
    }
    if h > 23 || mi > 59 || s > 59 || !rest.is_empty() && !lenient {
        return Ok(None);
    }
    let day = match doy {
        Some(n) => days(y as i32, 1, 1).map(|first| first + n as i32 - 1),
        None => days(y as i32, mo as u32, d as u32)
            .or_else(|| if d <= 31 { (1..4).find_map(|b| days(y as i32, mo as u32, (d - b) as u32)) } else { None }),
    };
    Ok(day.map(|day| (i64::from(day) * 86_400 + h * 3600 + mi * 60 + s - zone, nanos)))
}

fn offset(rest: &mut &str) -> Option<i64> {
    if let Some(r) = rest.strip_prefix('Z') {
        *rest = r;
        return Some(0);
    }
    let sign = match rest.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let body = &rest[1..];
    let digits: String = body.chars().filter(char::is_ascii_digit).take(4).collect();
    let used = if body.get(2..3) == Some(":") { 6 } else { 1 + digits.len() };
    let (h, m): (i64, i64) = (digits.get(..2)?.parse().ok()?, digits.get(2..4).unwrap_or("0").parse().ok()?);
    *rest = rest.get(used..)?;
    Some(sign * (h * 3600 + m * 60))
}
