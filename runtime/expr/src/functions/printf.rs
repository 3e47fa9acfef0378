//! PRINTF: Java's `String.format` for SQL values. If Java throws an exception, the result is NULL, as in Flink.

use super::size;
use super::table::*;

/// Why there is no formatted text.
enum No {
    /// Java rejects the format or an argument, so the result is NULL.
    Null,
    /// The row fails with this message.
    Failed(String),
}

impl From<String> for No {
    fn from(why: String) -> Self {
        No::Failed(why)
    }
}

type Piece<T> = Result<T, No>;

/// A format specifier `%…`.
#[derive(Default)]
struct Spec {
    index: Option<usize>,
    previous: bool,
    minus: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    comma: bool,
    parenthesis: bool,
    hash: bool,
    width: Option<usize>,
    precision: Option<usize>,
    conversion: char,
}

pub(super) fn printf(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let Some(format) = a[0].as_str() else {
        return Ok(Value::Null);
    };
    match formatted(format, &a[1..], &c.types[1..]) {
        Ok(text) => Ok(Value::string(text)),
        Err(No::Null) => Ok(Value::Null),
        Err(No::Failed(why)) => Err(why),
    }
}

fn formatted(format: &str, values: &[Value<'_>], types: &[SqlType]) -> Piece<String> {
    let mut out = String::new();
    let mut rest = format;
    let (mut ordinary, mut last) = (0, None);
    while let Some(at) = rest.find('%') {
        out += &rest[..at];
        let (spec, behind) = spec(&rest[at + 1..])?;
        rest = behind;
        let piece = match spec.conversion {
            'n' if spec.plain() && spec.width.is_none() => "\n".to_string(),
            '%' if spec.precision.is_none() && spec.only_minus() => "%".to_string(),
            'n' | '%' => return Err(No::Null),
            _ => {
                let at = match (spec.index, spec.previous) {
                    (_, true) => last.ok_or(No::Null)?,
                    (Some(i), _) => i.checked_sub(1).ok_or(No::Null)?,
                    _ => {
                        ordinary += 1;
                        ordinary - 1
                    }
                };
                last = Some(at);
                let (value, ty) = values.get(at).zip(types.get(at)).ok_or(No::Null)?;
                piece(&spec, value, ty)?
            }
        };
        let piece = if spec.conversion.is_ascii_uppercase() { piece.to_uppercase() } else { piece };
        let missing = spec.width.unwrap_or(0).saturating_sub(piece.encode_utf16().count());
        size::fits(out.len() + piece.len() + missing)?;
        if !spec.minus {
            out.extend(std::iter::repeat_n(' ', missing));
        }
        out += &piece;
        if spec.minus {
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }
    size::fits(out.len() + rest.len())?;
    Ok(out + rest)
}

/// Parses a format specifier whose `%` has been read. Returns it with the rest of the format.
fn spec(text: &str) -> Piece<(Spec, &str)> {
    let digits = |t: &str| t.len() - t.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = |t: &str| t.parse::<i32>().ok().and_then(|n| usize::try_from(n).ok()).ok_or(No::Null);
    let mut spec = Spec::default();
    let mut rest = text;
    let n = digits(rest);
    if n > 0 && rest[n..].starts_with('$') {
        spec.index = Some(number(&rest[..n])?);
        rest = &rest[n + 1..];
    } else if let Some(behind) = rest.strip_prefix('<') {
        spec.previous = true;
        rest = behind;
    }
    while let Some(c) = rest.chars().next() {
        let flag = match c {
            '-' => &mut spec.minus,
            '+' => &mut spec.plus,
            ' ' => &mut spec.blank,
            '0' => &mut spec.zero,
            ',' => &mut spec.comma,
            '(' => &mut spec.parenthesis,
            '#' => &mut spec.hash,
            _ => break,
        };
        if std::mem::replace(flag, true) {
            return Err(No::Null);
        }
        rest = &rest[1..];
    }
    let n = digits(rest);
    if n > 0 {
        spec.width = Some(number(&rest[..n])?);
        rest = &rest[n..];
    }
    if let Some(behind) = rest.strip_prefix('.') {
        let n = digits(behind);
        spec.precision = Some(number(&behind[..n])?);
        rest = &behind[n..];
    }
    let mut chars = rest.chars();
    spec.conversion = chars.next().ok_or(No::Null)?;
    let no_width = spec.width.is_none() && (spec.minus || spec.zero);
    if no_width || spec.minus && spec.zero || spec.plus && spec.blank {
        return Err(No::Null);
    }
    Ok((spec, chars.as_str()))
}

impl Spec {
    fn plain(&self) -> bool {
        self.only_minus() && !self.minus && self.precision.is_none()
    }
    fn only_minus(&self) -> bool {
        !(self.plus || self.blank || self.zero || self.comma || self.parenthesis || self.hash)
    }
}

/// Formats a value by a specifier, without padding it to the width.
fn piece(spec: &Spec, value: &Value<'_>, ty: &SqlType) -> Piece<String> {
    let cut = |t: String| match spec.precision {
        Some(p) => t.chars().take(p).collect(),
        None => t,
    };
    let lower = spec.conversion.to_ascii_lowercase();
    let capital_allowed = "sbhcxega".contains(lower);
    if spec.conversion.is_ascii_uppercase() && !capital_allowed {
        return Err(No::Null);
    }
    match (lower, value) {
        ('s' | 'b' | 'h', _) if !spec.only_minus() => Err(No::Null),
        ('b', v) => Ok(cut((!v.is_null() && v.as_bool() != Some(false)).to_string())),
        ('s', Value::Null) | ('h', Value::Null) => Ok(cut("null".to_string())),
        ('s', v) => Ok(cut(plain_text(v, ty))),
        ('h', Value::Int(n)) => Ok(cut(format!("{:x}", (*n ^ if ty.kind == T::BigInt { n >> 32 } else { 0 }) as u32))),
        ('h', Value::Bool(b)) => Ok(cut(format!("{:x}", if *b { 1231 } else { 1237 }))),
        ('h', _) => Err(No::Failed(format!("%h is for whole numbers and booleans, not {}", ty.kind))),
        ('c', _) if !spec.only_minus() || spec.precision.is_some() => Err(No::Null),
        ('c', Value::Null) => Ok("null".to_string()),
        ('c', Value::Int(n)) if ty.kind != T::BigInt => {
            u32::try_from(*n).ok().and_then(char::from_u32).map(|c| c.to_string()).ok_or(No::Null)
        }
        ('d' | 'x' | 'o', _) if spec.precision.is_some() => Err(No::Null),
        ('d', _) if spec.hash => Err(No::Null),
        ('x' | 'o', _) if spec.plus || spec.blank || spec.comma || spec.parenthesis => Err(No::Null),
        ('e', _) if spec.comma => Err(No::Null),
        ('g', _) if spec.hash => Err(No::Null),
        ('a', _) if spec.comma || spec.parenthesis => Err(No::Null),
        ('d' | 'x' | 'o' | 'e' | 'f' | 'g' | 'a', Value::Null) => Ok("null".to_string()),
        ('d', Value::Int(n)) => Ok(signed(spec, *n < 0, &n.unsigned_abs().to_string())),
        ('x' | 'o', Value::Int(n)) => {
            let bits = match ty.kind {
                T::TinyInt => u64::from(*n as u8),
                T::SmallInt => u64::from(*n as u16),
                T::Int => u64::from(*n as u32),
                _ => *n as u64,
            };
            let (mark, digits) = if lower == 'x' { ("0x", format!("{bits:x}")) } else { ("0", format!("{bits:o}")) };
            let mark = if spec.hash { mark } else { "" };
            let missing = if spec.zero { spec.width.unwrap_or(0) } else { 0 };
            let missing = missing.saturating_sub(mark.len() + digits.len());
            size::fits(missing)?;
            Ok(format!("{mark}{}{digits}", "0".repeat(missing)))
        }
        ('e' | 'f' | 'g' | 'a', Value::Double(_) | Value::Float(_)) => {
            real(spec, lower, value.as_f64().unwrap_or(f64::NAN))
        }
        _ => Err(No::Null),
    }
}

/// Formats a number, given the text of its absolute value: adds the sign, grouping commas, and zeros up to the width.
fn signed(spec: &Spec, negative: bool, digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let (before, behind) = match negative {
        true if spec.parenthesis => ("(", ")"),
        true => ("-", ""),
        false if spec.plus => ("+", ""),
        false if spec.blank => (" ", ""),
        false => ("", ""),
    };
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in whole.chars().enumerate() {
        if spec.comma && i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    let length = before.len() + grouped.len() + rest.len() + behind.len();
    let zeros = if spec.zero { spec.width.unwrap_or(0).saturating_sub(length) } else { 0 };
    let zeros = if size::fits(zeros).is_ok() { zeros } else { 0 };
    format!("{before}{}{grouped}{rest}{behind}", "0".repeat(zeros))
}

/// The shortest digits that identify a double, and an exponent `point`. The absolute value is 0.digits × 10^point.
fn digits_of(v: f64) -> (Vec<u8>, i32) {
    let text = crate::text::double_text(v.abs());
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
    let zeros = all.iter().take_while(|d| **d == 0).count();
    let mut digits = all[zeros..].to_vec();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    (digits, whole.len() as i32 - zeros as i32 + exponent.parse::<i32>().unwrap_or(0))
}

/// Rounds digits half up, so that `keep` of them remain.
fn rounded(digits: &mut Vec<u8>, point: &mut i32, keep: i64) {
    if keep >= digits.len() as i64 {
        return;
    }
    let up = keep >= 0 && digits[keep as usize] >= 5;
    digits.truncate(keep.max(0) as usize);
    if up {
        while digits.last() == Some(&9) {
            digits.pop();
        }
        match digits.last_mut() {
            Some(d) => *d += 1,
            None => {
                digits.push(1);
                *point += 1;
            }
        }
    }
}

fn real(spec: &Spec, conversion: char, v: f64) -> Piece<String> {
    if v.is_nan() {
        return Ok("NaN".to_string());
    }
    if v.is_infinite() {
        return Ok(match v < 0.0 {
            true if spec.parenthesis => "(Infinity)",
            true => "-Infinity",
            false if spec.plus => "+Infinity",
            false if spec.blank => " Infinity",
            false => "Infinity",
        }
        .to_string());
    }
    let precision = spec.precision.unwrap_or(6);
    size::fits(precision + 400)?;
    let negative = v.is_sign_negative();
    Ok(match conversion {
        'a' => hexadecimal(v),
        'f' => signed(spec, negative, &fixed(v, precision, spec.hash)),
        'e' => signed(spec, negative, &scientific(v, precision, spec.hash)),
        _ => {
            let precision = precision.max(1);
            let (mut digits, mut point) = digits_of(v);
            rounded(&mut digits, &mut point, precision as i64);
            if v == 0.0 || (-3..=precision as i32).contains(&point) {
                let whole = if v == 0.0 { 1 } else { point };
                let fraction = (precision as i64 - i64::from(whole)).max(0) as usize;
                signed(spec, negative, &fixed(v, fraction, false))
            } else {
                signed(spec, negative, &scientific(v, precision - 1, false))
            }
        }
    })
}

fn fixed(v: f64, precision: usize, point_always: bool) -> String {
    let (mut digits, mut point) = digits_of(v);
    let keep = i64::from(point) + precision as i64;
    rounded(&mut digits, &mut point, keep);
    let digit = |i: i64| usize::try_from(i).ok().and_then(|i| digits.get(i)).map_or('0', |d| char::from(b'0' + d));
    let mut out = String::with_capacity(precision + 2);
    for i in 0..i64::from(point).max(1) {
        out.push(digit(if point > 0 { i } else { i64::from(point) - 1 }));
    }
    if precision > 0 || point_always {
        out.push('.');
    }
    for i in 0..precision as i64 {
        out.push(digit(i64::from(point) + i));
    }
    out
}

fn scientific(v: f64, precision: usize, point_always: bool) -> String {
    let (mut digits, mut point) = digits_of(v);
    rounded(&mut digits, &mut point, precision as i64 + 1);
    let exponent = if digits.is_empty() { 0 } else { point - 1 };
    let digit = |i: usize| digits.get(i).map_or('0', |d| char::from(b'0' + d));
    let mut out = digit(0).to_string();
    if precision > 0 || point_always {
        out.push('.');
    }
    out.extend((1..=precision).map(digit));
    out + &format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Formats a double as Java's `Double.toHexString` does.
fn hexadecimal(v: f64) -> String {
    let sign = if v.is_sign_negative() { "-" } else { "" };
    let (exponent, fraction) = ((v.to_bits() >> 52 & 0x7FF) as i32, v.to_bits() & ((1 << 52) - 1));
    let digits = format!("{fraction:013x}");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        d => d,
    };
    match (exponent, fraction) {
        (0, 0) => format!("{sign}0x0.0p0"),
        (0, _) => format!("{sign}0x0.{digits}p-1022"),
        _ => format!("{sign}0x1.{digits}p{}", exponent - 1023),
    }
}

fn plain_text(v: &Value<'_>, ty: &SqlType) -> String {
    match (v, &ty.kind) {
        (Value::Bool(b), _) => b.to_string(),
        (Value::Date(d), _) => d.to_string(),
        (Value::Timestamp(s, n), T::Timestamp(_) | T::TimestampLtz(_)) => crate::time::iso_timestamp(*s, *n),
        (v, _) => crate::text::cast_text(v, ty, &crate::time::Zone::UTC),
    }
}
