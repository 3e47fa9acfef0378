//! Formats values as text, as CAST and as Flink's print sink do.

use crate::java_map;
use crate::time::{self, Zone};
use weir_core::{SqlType, TypeKind, Value, value::decimal_text};

/// Removes what Java's `trim` removes at both ends of a text: all characters up to U+0020.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Formats a whole number of at least 10⁷ as Java 17 does; none for other numbers. Digits that the mantissa of `significant` bits cannot
/// hold are dropped. So the text is not always the shortest one.
fn whole_digits(v: f64, significant: i32) -> Option<String> {
    let a = v.abs();
    if a < 1e7 || v.fract() != 0.0 || a >= 9.0e18 {
        return None;
    }
    let n = a as u64;
    let excess = 63 - n.leading_zeros() as i32 - significant - 1;
    // The number of decimal digits that so many excess bits make up: ⌊excess · log₁₀ 2⌋. A single bit makes up none.
    let drop = if excess > 1 { (f64::from(excess) * std::f64::consts::LOG10_2) as u32 } else { 0 };
    let unit = 10u64.pow(drop);
    let kept = if drop > 0 { n / unit + u64::from(n % unit >= unit / 2) } else { n };
    let digits = kept.to_string();
    let exponent = digits.len() as u32 - 1 + drop;
    let rest = digits[1..].trim_end_matches('0');
    let rest = if rest.is_empty() { "0" } else { rest };
    Some(format!("{}{}.{rest}E{exponent}", if v < 0.0 { "-" } else { "" }, &digits[..1]))
}

/// Formats a double as Java's `Double.toString` does.
pub fn double_text(v: f64) -> String {
    if !v.is_finite() {
        return special(v.is_nan(), v < 0.0);
    }
    // Java shows at least two digits, even if one would be enough.
    if v.abs().to_bits() == 1 {
        return if v < 0.0 { "-4.9E-324" } else { "4.9E-324" }.to_string();
    }
    if let Some(t) = whole_digits(v, 53) {
        return t;
    }
    java(ryu::Buffer::new().format_finite(v), v == 0.0 || (1e-3..1e7).contains(&v.abs()))
}

/// Formats a float as Java's `Float.toString` does.
pub fn float_text(v: f32) -> String {
    if !v.is_finite() {
        return special(v.is_nan(), v < 0.0);
    }
    if v.abs().to_bits() == 1 {
        return if v < 0.0 { "-1.4E-45" } else { "1.4E-45" }.to_string();
    }
    if let Some(t) = whole_digits(f64::from(v), 24) {
        return t;
    }
    java(ryu::Buffer::new().format_finite(v), v == 0.0 || (1e-3..1e7).contains(&v.abs()))
}

fn special(nan: bool, negative: bool) -> String {
    match (nan, negative) {
        (true, _) => "NaN",
        (_, true) => "-Infinity",
        _ => "Infinity",
    }
    .to_string()
}

/// Converts the text of a number as ryu formats it to Java's form: without an exponent if `plain`, otherwise as `d.ddEn`.
fn java(shortest: &str, plain: bool) -> String {
    let (sign, rest) = shortest.strip_prefix('-').map_or(("", shortest), |r| ("-", r));
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let Ok(exponent) = exponent.parse::<i32>() else { panic!("no digits as ryu writes them: {shortest}") };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        return format!("{sign}0.0");
    }
    let leading = (all.len() - all.trim_start_matches('0').len()) as i32;
    // The value is 0.digits × 10^point.
    let point = whole.len() as i32 + exponent - leading;
    if plain {
        let (whole, fraction) = if point <= 0 {
            ("0".to_string(), format!("{}{digits}", "0".repeat(-point as usize)))
        } else if digits.len() as i32 <= point {
            (format!("{digits}{}", "0".repeat(point as usize - digits.len())), "0".to_string())
        } else {
            (digits[..point as usize].to_string(), digits[point as usize..].to_string())
        };
        return format!("{sign}{whole}.{fraction}");
    }
    let fraction = if digits.len() > 1 { &digits[1..] } else { "0" };
    format!("{sign}{}.{fraction}E{}", &digits[..1], point - 1)
}

/// Formats a decimal as Java's `BigDecimal.toString` does: very small numbers have an exponent. `v` is the unscaled value.
pub fn big_decimal_text(v: i128, scale: u8) -> String {
    let digits = v.unsigned_abs().to_string();
    let exponent = digits.len() as i32 - 1 - i32::from(scale);
    if scale == 0 || exponent >= -6 {
        return decimal_text(v, scale);
    }
    let sign = if v < 0 { "-" } else { "" };
    let point = if digits.len() > 1 { "." } else { "" };
    format!("{sign}{}{point}{}E{exponent}", &digits[..1], &digits[1..])
}

/// Keeps only the last four digits of a year beyond 9999, as Flink's CAST does.
fn four_digits(text: String) -> String {
    match text.strip_prefix('+').and_then(|t| Some((t, t.find('-')?))) {
        Some((t, end)) => t[end.saturating_sub(4)..].to_string(),
        None => text,
    }
}

/// Formats a value as CAST(… AS STRING) does. A TIMESTAMP_LTZ is shown in the time zone `zone`.
///
/// # Panics
/// If the value is not of the type. That is a bug, which the evaluation catches and reports with its place.
#[track_caller]
pub fn cast_text(value: &Value<'_>, ty: &SqlType, zone: &Zone) -> String {
    let inner = |v: &Value<'_>, t: &SqlType| {
        if v.is_null() { "NULL".to_string() } else { cast_text(v, t, zone) }
    };
    match (value, &ty.kind) {
        (Value::Null, _) => "NULL".to_string(),
        (Value::Bool(b), _) => if *b { "TRUE" } else { "FALSE" }.to_string(),
        (Value::Int(n), TypeKind::IntervalMonth) => {
            format!("{}{}-{:02}", if *n < 0 { '-' } else { '+' }, n.abs() / 12, n.abs() % 12)
        }
        (Value::Int(n), TypeKind::IntervalDay) => {
            let a = n.unsigned_abs();
            let (d, ms) = (a / 86_400_000, (a % 86_400_000) as i32);
            format!("{}{d} {}", if *n < 0 { '-' } else { '+' }, time::time_text(ms, 3))
        }
        (Value::Int(n), _) => n.to_string(),
        (Value::Float(f), _) => float_text(*f),
        (Value::Double(d), _) => double_text(*d),
        (Value::Decimal(v, s), _) => decimal_text(*v, *s),
        (Value::Text(s), _) => s.to_string(),
        (Value::Bytes(b), _) => String::from_utf8_lossy(b).into_owned(),
        (Value::Date(d), _) => four_digits(time::date_text(*d)),
        (Value::Time(t), TypeKind::Time(p)) => time::cast_time_text(*t, *p),
        (Value::Timestamp(s, n), TypeKind::TimestampLtz(p)) => {
            four_digits(time::timestamp_text(zone.to_local(*s), *n, *p))
        }
        (Value::Timestamp(s, n), TypeKind::Timestamp(p)) => four_digits(time::timestamp_text(*s, *n, *p)),
        (Value::List(items), TypeKind::Array(e)) => {
            format!("[{}]", items.iter().map(|v| inner(v, e)).collect::<Vec<_>>().join(", "))
        }
        (Value::Map(items), TypeKind::Map(k, v)) => {
            let entries: Vec<String> = items.iter().map(|(a, b)| format!("{}={}", inner(a, k), inner(b, v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        (Value::Map(items), TypeKind::Multiset(e)) => {
            let entries: Vec<String> =
                items.iter().map(|(a, n)| format!("{}={}", inner(a, e), inner(n, &SqlType::INT))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        (Value::Row(items), TypeKind::Row(fields)) => {
            let fields: Vec<String> = items.iter().zip(fields).map(|(v, f)| inner(v, &f.ty)).collect();
            format!("({})", fields.join(", "))
        }
        _ => panic!("a value that is no {ty} is written as one: {value:?}"),
    }
}

/// Appends a value as Flink's print sink formats it.
///
/// # Panics
/// If the value is not of the type, as in [`cast_text`].
pub fn print(value: &Value<'_>, ty: &SqlType, out: &mut String) {
    use std::fmt::Write;
    // Writing to a String cannot fail.
    let _ = match (value, &ty.kind) {
        (Value::Null, _) => write!(out, "null"),
        (Value::Bool(b), _) => write!(out, "{b}"),
        // Java prints a period of zero months as zero days.
        (Value::Int(0), TypeKind::IntervalMonth) => write!(out, "P0D"),
        (Value::Int(n), TypeKind::IntervalMonth) => write!(out, "P{n}M"),
        (Value::Int(n), TypeKind::IntervalDay) => write!(out, "{}", iso_duration(*n)),
        (Value::Int(n), _) => write!(out, "{n}"),
        (Value::Decimal(v, s), _) => write!(out, "{}", big_decimal_text(*v, *s)),
        (Value::Text(s), _) => write!(out, "{s}"),
        (Value::Bytes(b), _) => {
            let bytes: Vec<String> = b.iter().map(|b| (*b as i8).to_string()).collect();
            write!(out, "[{}]", bytes.join(", "))
        }
        (Value::Date(d), _) => write!(out, "{}", time::date_text(*d)),
        (Value::Time(t), _) => {
            write!(out, "{}", time::iso_time(i64::from(*t) / 1000, (*t % 1000) as u32 * 1_000_000))
        }
        (Value::Timestamp(s, n), TypeKind::TimestampLtz(_)) => {
            write!(out, "{}", time::iso_instant(*s, *n))
        }
        (Value::Timestamp(s, n), _) => write!(out, "{}", time::iso_timestamp(*s, *n)),
        (Value::List(items), TypeKind::Array(e)) => {
            out.push('[');
            for (i, v) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                print(v, e, out);
            }
            write!(out, "]")
        }
        (Value::Map(items), TypeKind::Map(k, v)) => return print_map(items, k, v, out),
        (Value::Map(items), TypeKind::Multiset(e)) => return print_map(items, e, &SqlType::INT, out),
        (Value::Row(items), TypeKind::Row(fields)) => {
            out.push_str("+I[");
            for (i, (v, f)) in items.iter().zip(fields).enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                print(v, &f.ty, out);
            }
            write!(out, "]")
        }
        _ => write!(out, "{}", cast_text(value, ty, &Zone::UTC)),
    };
}

fn print_map(entries: &[(Value<'_>, Value<'_>)], key: &SqlType, value: &SqlType, out: &mut String) {
    out.push('{');
    for (i, (k, v)) in java_map::ordered(entries, key, java_map::CAPACITY).into_iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        print(k, key, out);
        out.push('=');
        print(v, value, out);
    }
    out.push('}');
}

/// Formats milliseconds as Java's `Duration` does.
fn iso_duration(millis: i64) -> String {
    if millis == 0 {
        return "PT0S".to_string();
    }
    let (h, m) = (millis / 3_600_000, millis / 60_000 % 60);
    let ms = millis % 60_000;
    let mut out = "PT".to_string();
    if h != 0 {
        out += &format!("{h}H");
    }
    if m != 0 {
        out += &format!("{m}M");
    }
    if ms != 0 {
        let (s, f) = (ms / 1000, (ms % 1000).abs());
        let sign = if ms < 0 && s == 0 { "-" } else { "" };
        let fraction = if f == 0 { String::new() } else { format!(".{f:03}").trim_end_matches('0').to_string() };
        out += &format!("{sign}{s}{fraction}S");
    }
    out
}
