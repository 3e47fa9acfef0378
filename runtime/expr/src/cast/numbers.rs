//! Parses numbers and booleans.

use crate::arith::power_of_ten;
use crate::text::trimmed;
use arrow::datatypes::i256;

/// Parses an integer as Flink's CAST does. Surrounding spaces and the digits after a point are ignored. None if the text is not an integer
/// of 64 bits.
pub fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim_matches(' ');
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if digits.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut v: i64 = 0;
    for b in whole.bytes() {
        v = v.checked_mul(10)?.checked_add(sign * i64::from(b - b'0'))?;
    }
    Some(v)
}

/// The maximum precision of decimals that Flink stores as 64-bit numbers, and the maximum length of texts that it parses as such.
pub(super) const SHORT: u8 = 18;

/// The characters that are ignored around a number.
pub(super) const BLANK: [char; 3] = [' ', '\n', '\t'];

/// Parses a short text as a decimal as Flink does, which is not strict: one character after the digits is ignored, and leading zeros count
/// as digits. None if it is not a number; an inner none if it has too many digits.
pub(super) fn short_decimal(text: &[u8], precision: u8, scale: u8) -> Option<Option<i128>> {
    let text = &text[text.iter().position(|b| !b" \n\t".contains(b))?..];
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let (mut value, mut digits, mut point, mut last) = (0i128, 0i32, None, 0);
    while let [b, tail @ ..] = rest {
        (last, rest) = (*b, tail);
        match b {
            b'0'..=b'9' => {
                value = value * 10 + i128::from(b - b'0');
                digits += 1;
            }
            b'.' if point.is_some() => return None,
            b'.' => point = Some(digits),
            _ => break,
        }
    }
    let mut exponent = 0i32;
    if matches!(last, b'e' | b'E') && !rest.is_empty() {
        let down = rest[0] == b'-';
        if matches!(rest[0], b'-' | b'+') {
            rest = &rest[1..];
            if rest.is_empty() {
                return None;
            }
        }
        while let [b, tail @ ..] = rest {
            rest = tail;
            match b {
                b'0'..=b'9' if exponent < 40 => exponent = exponent * 10 + i32::from(b - b'0'),
                b'0'..=b'9' => {}
                _ => break,
            }
        }
        exponent = if down { -exponent } else { exponent };
    }
    if rest.iter().any(|b| !b" \n\t".contains(b)) {
        return None;
    }
    let change = exponent - (digits - point.unwrap_or(digits)) + i32::from(scale);
    if digits + change > i32::from(precision) {
        return Some(None);
    }
    if change.abs() > i32::from(SHORT) {
        return None;
    }
    let unit = 10i128.pow(change.unsigned_abs());
    let value = if change >= 0 { value * unit } else { (value + unit / 2) / unit };
    Some(Some(if negative { -value } else { value }))
}

/// Parses a boolean as Flink's CAST does, in any case. None if the text is not a boolean.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// The text of a floating point number without what surrounds it in Java: blanks, and a suffix such as `f`. None if it cannot be a number.
fn java_number(text: &str) -> Option<&str> {
    let t = trimmed(text);
    let t = if t.len() > 1 { t.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(t) } else { t };
    let bare = t.strip_prefix(['+', '-']).unwrap_or(t);
    match bare {
        "NaN" | "Infinity" => Some(t),
        _ if !bare.starts_with(['+', '-'])
            && bare.bytes().any(|b| b.is_ascii_digit())
            && bare.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) =>
        {
            Some(t)
        }
        _ => None,
    }
}

/// Parses a double as Java does. None if the text is not a number.
pub fn parse_double(text: &str) -> Option<f64> {
    let t = java_number(text)?;
    fast_float2::parse(t.strip_prefix('+').unwrap_or(t)).ok()
}

/// Parses a float as Java does. None if the text is not a number.
pub fn parse_float(text: &str) -> Option<f32> {
    let t = java_number(text)?;
    fast_float2::parse(t.strip_prefix('+').unwrap_or(t)).ok()
}

/// Parses a decimal number, with or without an exponent. Returns the unscaled value and the scale; none if the text contains other
/// characters. Digits far beyond `keep` places after the point are dropped, except for the one that decides the rounding. A number of more
/// than 76 digits becomes 10⁷⁶, which fits no DECIMAL.
pub fn parse_decimal(text: &str, keep: u8) -> Option<(i256, u8)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
    let mut scale = fraction.len() as i32 - exponent;
    let most = i32::from(keep) + 1;
    while scale > most && !digits.is_empty() {
        digits.pop();
        scale -= 1;
    }
    if digits.iter().all(|d| *d == 0) {
        return Some((i256::ZERO, 0));
    }
    if scale < 0 {
        if scale < -76 {
            return Some((power_of_ten(76), 0));
        }
        digits.extend(std::iter::repeat_n(0, -scale as usize));
        scale = 0;
    }
    let start = digits.iter().position(|d| *d != 0).unwrap_or(0);
    if digits.len() - start > 76 {
        return Some((power_of_ten(76), 0));
    }
    let mut v = i256::ZERO;
    for d in &digits[start..] {
        v = v.wrapping_mul(i256::from_i128(10)).wrapping_add(i256::from_i128(i128::from(*d)));
    }
    Some((if negative { v.wrapping_neg() } else { v }, scale as u8))
}
