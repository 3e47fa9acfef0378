//! Converts ARRAY, MAP and ROW values for guests. They are encoded as JSON whose form follows the type, as the contract (`weir-udf.wit`)
//! describes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::borrow::Cow;
use weir_core::value::decimal_text;
use weir_core::{SqlType, TypeKind, Value};
use weir_expr::text::cast_text;
use weir_expr::time::{self, Zone};

/// Writes a value as JSON.
pub(crate) fn write(value: &Value<'_>, ty: &SqlType, out: &mut String) {
    match (value, &ty.kind) {
        (Value::List(values), TypeKind::Array(of)) => listed(values.iter(), out, |v, out| write(v, of, out)),
        (Value::Row(values), TypeKind::Row(fields)) => {
            listed(values.iter().zip(fields), out, |(v, f), out| write(v, &f.ty, out));
        }
        (Value::Map(entries), kind) => listed(entries.iter(), out, |(k, v), out| {
            let (key, of) = match kind {
                TypeKind::Map(key, of) => (&**key, &**of),
                TypeKind::Multiset(key) => (&**key, &SqlType::INT),
                _ => (&SqlType::STRING, &SqlType::STRING),
            };
            out.push('[');
            write(k, key, out);
            out.push(',');
            write(v, of, out);
            out.push(']');
        }),
        (Value::Null, _) => out.push_str("null"),
        (Value::Bool(b), _) => out.push_str(if *b { "true" } else { "false" }),
        (Value::Int(n), _) => out.push_str(&n.to_string()),
        (Value::Float(_) | Value::Double(_), _) => {
            let n = value.as_f64().unwrap_or(f64::NAN);
            match serde_json::Number::from_f64(n) {
                Some(n) => out.push_str(&n.to_string()),
                None if n.is_nan() => out.push_str("\"NaN\""),
                None => out.push_str(if n > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
            }
        }
        (Value::Decimal(n, scale), _) => text(&decimal_text(*n, *scale), out),
        (Value::Text(s), _) => text(s, out),
        (Value::Bytes(b), _) => text(&STANDARD.encode(b), out),
        (Value::Timestamp(..), kind) => {
            let zoned = matches!(kind, TypeKind::TimestampLtz(_));
            let plain =
                cast_text(value, &SqlType::from(TypeKind::Timestamp(ty.time_digits().unwrap_or(6))), &Zone::UTC);
            text(&format!("{}{}", plain.replacen(' ', "T", 1), if zoned { "Z" } else { "" }), out);
        }
        (value, _) => text(&cast_text(value, ty, &Zone::UTC), out),
    }
}

fn text(s: &str, out: &mut String) {
    out.push_str(&Json::from(s).to_string());
}

fn listed<T>(all: impl Iterator<Item = T>, out: &mut String, mut write: impl FnMut(T, &mut String)) {
    out.push('[');
    for (i, v) in all.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(v, out);
    }
    out.push(']');
}

/// Reads a value from JSON.
///
/// # Errors
/// A description of what does not fit the type.
pub(crate) fn read(json: Json, ty: &SqlType) -> Result<Value<'static>, String> {
    let wrong = |json: &Json| {
        let shown: String = json.to_string().chars().take(60).collect();
        Err(format!("{shown} is no {}", ty.kind))
    };
    Ok(match (json, &ty.kind) {
        (Json::Null, _) => Value::Null,
        (Json::Array(all), TypeKind::Array(of)) => {
            Value::List(all.into_iter().map(|v| read(v, of)).collect::<Result<_, _>>()?)
        }
        (Json::Array(all), TypeKind::Row(fields)) if all.len() == fields.len() => {
            Value::Row(all.into_iter().zip(fields).map(|(v, f)| read(v, &f.ty)).collect::<Result<_, _>>()?)
        }
        (Json::Array(all), TypeKind::Map(key, of)) => {
            let pair = |v: Json| match v {
                Json::Array(mut pair) if pair.len() == 2 => {
                    let value = pair.pop().unwrap_or_default();
                    Ok((read(pair.pop().unwrap_or_default(), key)?, read(value, of)?))
                }
                other => Err(format!("{other} is no pair of a {}", ty.kind)),
            };
            Value::Map(all.into_iter().map(pair).collect::<Result<_, String>>()?)
        }
        (Json::Bool(b), TypeKind::Boolean) => Value::Bool(b),
        (Json::Number(n), kind) if ty.is_integer() => {
            let bits = match kind {
                TypeKind::TinyInt => 7,
                TypeKind::SmallInt => 15,
                TypeKind::Int => 31,
                _ => 63,
            };
            match n.as_i64().filter(|n| (n ^ (n >> 63)) >> bits == 0) {
                Some(n) => Value::Int(n),
                None => return wrong(&Json::Number(n)),
            }
        }
        (Json::Number(n), TypeKind::Float) => Value::Float(n.as_f64().unwrap_or(f64::NAN) as f32),
        (Json::Number(n), TypeKind::Double) => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
        (Json::String(s), kind) if ty.is_approximate() => {
            let n = match s.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => return wrong(&Json::String(s)),
            };
            if *kind == TypeKind::Float { Value::Float(n as f32) } else { Value::Double(n) }
        }
        (Json::String(s), TypeKind::Char(_) | TypeKind::Varchar(_)) => Value::string(s),
        (Json::String(s), TypeKind::Binary(_) | TypeKind::Varbinary(_)) => match STANDARD.decode(&s) {
            Ok(b) => Value::Bytes(Cow::Owned(b)),
            Err(_) => return wrong(&Json::String(s)),
        },
        (Json::String(s), kind) => {
            let found = match kind {
                TypeKind::Decimal(p, scale) => decimal(&s, *p, *scale),
                TypeKind::Date => time::parse_date(&s).map(Value::Date),
                TypeKind::Time(_) => time::parse_time(&s).map(Value::Time),
                TypeKind::Timestamp(_) => timestamp(&s),
                TypeKind::TimestampLtz(_) => s.strip_suffix('Z').and_then(timestamp),
                _ => None,
            };
            match found {
                Some(v) => v,
                None => return wrong(&Json::String(s)),
            }
        }
        (other, _) => return wrong(&other),
    })
}

/// Parses a time in ISO 8601 without a zone.
fn timestamp(text: &str) -> Option<Value<'static>> {
    time::parse_timestamp(&text.replacen('T', " ", 1)).map(|(s, n)| Value::Timestamp(s, n))
}

/// Parses a decimal in plain notation that fits its type exactly.
fn decimal(text: &str, precision: u8, scale: u8) -> Option<Value<'static>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > usize::from(scale) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}{}", "0".repeat(usize::from(scale) - fraction.len()));
    let value: i128 = digits.parse().ok()?;
    let limit = 10u128.checked_pow(u32::from(precision))?;
    (value.unsigned_abs() < limit).then_some(Value::Decimal(value, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        let row = "ROW<`a` ARRAY<INT>, `b` MAP<STRING, DECIMAL(5, 2)>, `c` BYTES, `d` TIMESTAMP_LTZ(3), `e` FLOAT, `f` DATE, `g` TIME(3), `h` TIMESTAMP(6), `i` DOUBLE>";
        let ty: SqlType = row.parse().expect("a type");
        let value = Value::Row(vec![
            Value::List(vec![Value::Int(1), Value::Null]),
            Value::Map(vec![(Value::text("a\"b"), Value::Decimal(-150, 2)), (Value::text(""), Value::Null)]),
            Value::Bytes(Cow::Borrowed(&[0, 255])),
            Value::Timestamp(1, 500_000_000),
            Value::Float(1.1),
            Value::Date(-1),
            Value::Time(3_723_004),
            Value::Timestamp(-62_135_596_800, 1_000),
            Value::Double(f64::NEG_INFINITY),
        ]);
        let mut text = String::new();
        write(&value, &ty, &mut text);
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(read(json, &ty), Ok(value), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (ty, json) in [
            ("TINYINT", "128"),
            ("SMALLINT", "-32769"),
            ("INT", "2147483648"),
            ("BIGINT", "9223372036854775808"),
            ("INT", "1.5"),
            ("INT", "\"1\""),
            ("STRING", "1"),
            ("BOOLEAN", "1"),
            ("DECIMAL(3, 1)", "\"100.0\""),
            ("DECIMAL(3, 1)", "\"1.25\""),
            ("DECIMAL(3, 1)", "1"),
            ("BYTES", "\"*\""),
            ("DATE", "\"2020-02-30\""),
            ("TIMESTAMP_LTZ(3)", "\"2020-01-01T00:00:00\""),
            ("DOUBLE", "\"nan\""),
            ("ARRAY<INT>", "{}"),
            ("ARRAY<INT>", "[\"x\"]"),
            ("MAP<INT, INT>", "[[1]]"),
            ("ROW<`a` INT>", "[1, 2]"),
            ("ROW<`a` INT>", "{\"a\": 1}"),
        ] {
            let json: Json = serde_json::from_str(json).expect("JSON");
            let shown = json.to_string();
            assert!(read(json, &ty.parse().expect("a type")).is_err(), "{shown} as {ty}");
        }
    }
}
