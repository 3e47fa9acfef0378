//! Literals.

use sqlparser::ast::{TypedString, Value as Literal};
use weir_core::{Error, Result, SqlType, TypeKind, Value};
use weir_expr::Expr;
use weir_expr::time;

/// A text literal.
pub(super) fn text(s: &str) -> Expr {
    let n = s.chars().count() as u32;
    Expr::literal(Value::string(s.to_string()), SqlType::from(TypeKind::Char(n)).not_null())
}

/// A BOOLEAN literal.
pub(super) fn boolean(b: bool) -> Expr {
    Expr::literal(Value::Bool(b), SqlType::BOOLEAN.not_null())
}

/// A NULL without a type.
pub(super) fn null() -> Expr {
    Expr::literal(Value::Null, SqlType::from(TypeKind::Null))
}

/// A number literal.
pub(super) fn number(s: &str, negative: bool) -> Result<Expr> {
    let sign = if negative { "-" } else { "" };
    let range = || Error::script(format!("the number {sign}{s} is out of range"));
    if s.contains(['e', 'E']) {
        let d: f64 = format!("{sign}{s}").parse().map_err(|_| range())?;
        if d.is_infinite() {
            return Err(range());
        }
        // There is no negative zero, because the sign is an operator.
        return Ok(Expr::literal(Value::Double(if d == 0.0 { 0.0 } else { d }), SqlType::DOUBLE.not_null()));
    }
    let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
    if fraction.is_empty() {
        let v: i64 = format!("{sign}{whole}").parse().map_err(|_| range())?;
        let ty = if i32::try_from(v).is_ok() { SqlType::INT } else { SqlType::BIGINT };
        return Ok(Expr::literal(Value::Int(v), ty.not_null()));
    }
    let digits = format!("{whole}{fraction}");
    if digits.trim_start_matches('0').len() > 38 || fraction.len() > 38 {
        return Err(range());
    }
    let v: i128 = format!("{sign}{digits}").parse().map_err(|_| range())?;
    let scale = fraction.len() as u8;
    // Leading zeros count as digits, as far as there is room.
    let kind = TypeKind::Decimal(digits.len().min(38) as u8, scale);
    Ok(Expr::literal(Value::Decimal(v, scale), SqlType::from(kind).not_null()))
}

/// Binds a literal of the parser.
pub(super) fn literal(v: &Literal) -> Result<Expr> {
    Ok(match v {
        Literal::Number(n, true) => return Err(Error::script(format!("{n}L is no number; write {n}"))),
        Literal::Number(n, false) => number(n, false)?,
        Literal::Boolean(b) => boolean(*b),
        Literal::Null => null(),
        Literal::HexStringLiteral(h) => {
            let digits: Option<Vec<u8>> = (h.len() % 2 == 0)
                .then(|| (0..h.len() / 2).map(|i| u8::from_str_radix(h.get(2 * i..2 * i + 2)?, 16).ok()).collect())
                .flatten();
            let b =
                digits.ok_or_else(|| Error::script(format!("X'{h}' is not made of pairs of hexadecimal digits")))?;
            let ty = SqlType::from(TypeKind::Binary(b.len() as u32)).not_null();
            Expr::literal(Value::Bytes(b.into()), ty)
        }
        Literal::DoubleQuotedString(s) => {
            return Err(Error::script(format!("\"{s}\" stands in double quotes"))
                .hint("texts stand in single quotes, and names in backquotes"));
        }
        other => match other.clone().into_string() {
            Some(s) => text(&s),
            None => return Err(Error::script("this literal is not known")),
        },
    })
}

/// A DATE, TIME or TIMESTAMP literal.
pub(super) fn time_literal(ty: &str, s: &str) -> Result<Expr> {
    let digits = s.split_once('.').map_or(0, |(_, f)| f.len().min(9)) as u8;
    let wrong = |form: &str| Error::script(format!("'{s}' is no {ty}; write it as {form}"));
    let (value, kind) = match ty {
        "DATE" => {
            let d = time::parse_date(s).filter(|_| s.matches('-').count() == 2);
            (Value::Date(d.ok_or_else(|| wrong("yyyy-MM-dd"))?), TypeKind::Date)
        }
        "TIME" => {
            let t = time::parse_time(s).filter(|_| s.matches(':').count() == 2);
            (Value::Time(t.ok_or_else(|| wrong("HH:mm:ss"))?), TypeKind::Time(digits.min(3)))
        }
        _ => {
            let cut = match s.split_once('.') {
                Some((a, f)) if f.len() > 9 => format!("{a}.{}", &f[..9]),
                _ => s.to_string(),
            };
            let (s, n) = time::parse_timestamp(&cut).ok_or_else(|| wrong("yyyy-MM-dd HH:mm:ss"))?;
            (Value::Timestamp(s, n), TypeKind::Timestamp(digits))
        }
    };
    Ok(Expr::literal(value, SqlType::from(kind).not_null()))
}

/// A text after the name of its type.
pub(super) fn typed(t: &TypedString) -> Result<Expr> {
    let ty = t.data_type.to_string().to_ascii_uppercase();
    match t.value.value.clone().into_string() {
        Some(s) => time_literal(&ty, &s),
        None => Err(Error::script("a literal is a text in quotes")),
    }
}
