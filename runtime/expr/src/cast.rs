//! CAST and TRY_CAST as in Flink: which casts exist, which can fail, and their results.

mod numbers;

use crate::arith::{fits, rescale};
use crate::context::EvalContext;
use crate::functions::size;
use crate::text;
use crate::time::{self, Zone};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, i256};
use std::sync::Arc;
use weir_core::types::UNBOUNDED;
use weir_core::{ColumnBuilder, Result, SqlType, TypeKind, Value};

use numbers::{BLANK, SHORT, short_decimal};
pub use numbers::{parse_bool, parse_decimal, parse_double, parse_float, parse_integer};

/// Whether the cast exists.
pub fn allowed(from: &SqlType, to: &SqlType) -> bool {
    use TypeKind as T;
    match (&from.kind, &to.kind) {
        (T::Null, _) => true,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => allowed(a, b),
        (T::Map(a, b), T::Map(c, d)) => allowed(a, c) && allowed(b, d),
        (T::Row(a), T::Row(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| allowed(&a.ty, &b.ty)),
        (_, T::Char(_) | T::Varchar(_)) => true,
        (T::Char(_) | T::Varchar(_), t) => {
            !matches!(t, T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_) | T::IntervalDay | T::IntervalMonth)
        }
        (T::Binary(_) | T::Varbinary(_), T::Binary(_) | T::Varbinary(_)) => true,
        (T::Boolean, t) => *t == T::Boolean || to.is_numeric(),
        (_, T::Boolean) => from.is_numeric(),
        (T::Date, T::Date | T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Time(_), T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Timestamp(_) | T::TimestampLtz(_), T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::IntervalDay, T::IntervalDay) | (T::IntervalMonth, T::IntervalMonth) => true,
        (_, T::IntervalDay | T::IntervalMonth) => from.is_integer(),
        _ => from.is_numeric() && to.is_numeric(),
    }
}

/// Whether a value may be written to a column of another type without an explicit cast.
pub fn implicit(from: &SqlType, to: &SqlType) -> bool {
    use TypeKind as T;
    match (&from.kind, &to.kind) {
        (T::Null, _) => true,
        (a, b) if a == b => true,
        (T::Char(_) | T::Varchar(_), T::Char(_) | T::Varchar(_)) => true,
        (T::Binary(_) | T::Varbinary(_), T::Binary(_) | T::Varbinary(_)) => true,
        (T::Decimal(p, s), T::TinyInt | T::SmallInt | T::Int | T::BigInt) => {
            *s == 0 && to.as_decimal().is_some_and(|(q, _)| p < &q)
        }
        (T::Decimal(..), T::Decimal(..)) => true,
        (T::TinyInt, T::SmallInt | T::Int | T::BigInt)
        | (T::SmallInt, T::Int | T::BigInt)
        | (T::Int, T::BigInt)
        | (T::Float, T::Double) => true,
        (_, T::Decimal(..)) => from.is_integer(),
        (_, T::Float | T::Double) => from.is_integer() || from.is_decimal(),
        (T::Date, T::Timestamp(_) | T::TimestampLtz(_)) | (T::Timestamp(_), T::Date | T::Time(_)) => true,
        (T::Time(_), T::Time(_)) => true,
        (T::Timestamp(_) | T::TimestampLtz(_), T::Timestamp(_) | T::TimestampLtz(_)) => true,
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => implicit(a, b),
        (T::Map(a, b), T::Map(c, d)) => implicit(a, c) && implicit(b, d),
        (T::Row(a), T::Row(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| implicit(&a.ty, &b.ty)),
        _ => false,
    }
}

/// Whether a cast can fail on a value instead of returning NULL.
pub fn can_fail(from: &SqlType, to: &SqlType) -> bool {
    match (&from.kind, &to.kind) {
        (TypeKind::Array(a), TypeKind::Array(b)) => can_fail(a, b),
        (TypeKind::Map(a, b), TypeKind::Map(c, d)) => can_fail(a, c) || can_fail(b, d),
        (TypeKind::Row(a), TypeKind::Row(b)) => a.iter().zip(b).any(|(a, b)| can_fail(&a.ty, &b.ty)),
        _ => {
            from.is_text() && !to.is_text() && !to.is_bytes()
                // NaN and infinities cannot be decimals.
                || from.is_approximate() && to.is_decimal()
        }
    }
}

/// Casts a column.
///
/// # Errors
/// If a value cannot be cast, the cast is not `safe`, and the policy of the context is to fail; or if the result is too large for a column.
pub fn cast(array: &ArrayRef, from: &SqlType, to: &SqlType, safe: bool, context: &mut EvalContext) -> Result<ArrayRef> {
    if from.kind == to.kind {
        return Ok(array.clone());
    }
    if let Some(fast) = fast(array, from, to) {
        return Ok(fast);
    }
    let zone = context.session.zone;
    let mut out = ColumnBuilder::new(&to.arrow());
    let mut total = 0;
    for row in 0..array.len() {
        let value = cast_value(Value::read(array, row), from, to, &zone);
        total += value.as_ref().map_or(0, size::of);
        match value {
            Ok(_) if total > size::MOST_OF_BATCH => return Err(context.too_large()),
            Ok(v) => out.push(&v),
            Err(message) => {
                if !safe {
                    context.fail(row, message)?;
                }
                out.push_null();
            }
        }
    }
    Ok(out.finish())
}

fn fast(array: &ArrayRef, from: &SqlType, to: &SqlType) -> Option<ArrayRef> {
    macro_rules! numbers {
        ($t:ty) => {{
            let a = array.as_primitive::<$t>();
            macro_rules! to {
                ($u:ty) => {
                    Arc::new(a.unary::<_, $u>(|v| v as <$u as ArrowPrimitiveType>::Native)) as ArrayRef
                };
            }
            match to.kind {
                TypeKind::TinyInt => to!(Int8Type),
                TypeKind::SmallInt => to!(Int16Type),
                TypeKind::Int => to!(Int32Type),
                TypeKind::BigInt => to!(Int64Type),
                TypeKind::Float => to!(Float32Type),
                TypeKind::Double => to!(Float64Type),
                _ => return None,
            }
        }};
    }
    Some(match (&from.kind, &to.kind) {
        (TypeKind::Char(_) | TypeKind::Varchar(_), TypeKind::Varchar(UNBOUNDED)) => array.clone(),
        (TypeKind::Char(n) | TypeKind::Varchar(n), TypeKind::Varchar(m)) if n <= m => array.clone(),
        (TypeKind::Binary(_) | TypeKind::Varbinary(_), TypeKind::Varbinary(UNBOUNDED)) => array.clone(),
        (TypeKind::Binary(n) | TypeKind::Varbinary(n), TypeKind::Varbinary(m)) if n <= m => array.clone(),
        (TypeKind::Null, _) => arrow::array::new_null_array(&to.arrow(), array.len()),
        (TypeKind::TinyInt, _) => numbers!(Int8Type),
        (TypeKind::SmallInt, _) => numbers!(Int16Type),
        (TypeKind::Int, _) => numbers!(Int32Type),
        (TypeKind::BigInt, _) => numbers!(Int64Type),
        (TypeKind::Float, TypeKind::Double) => numbers!(Float32Type),
        (TypeKind::Double, TypeKind::Float) => numbers!(Float64Type),
        (TypeKind::Timestamp(a), TypeKind::Timestamp(b)) | (TypeKind::TimestampLtz(a), TypeKind::TimestampLtz(b))
            if a <= b && (*a > 6) == (*b > 6) =>
        {
            retyped(array, to.arrow())?
        }
        _ => return None,
    })
}

/// The same values with another Arrow type. None if Arrow rejects that; the values are then cast one by one.
fn retyped(array: &ArrayRef, ty: DataType) -> Option<ArrayRef> {
    array.to_data().into_builder().data_type(ty).build().ok().map(arrow::array::make_array)
}

/// Casts one value.
///
/// # Examples
/// ```
/// use weir_core::{SqlType, Value};
/// use weir_expr::cast::cast_value;
/// use weir_expr::time::Zone;
///
/// let cast = |text: &'static str| cast_value(Value::Text(text.into()), &SqlType::STRING, &SqlType::INT, &Zone::UTC);
/// assert_eq!(cast(" 42 "), Ok(Value::Int(42)));
/// assert!(cast("forty-two").is_err());
/// ```
///
/// # Errors
/// A message for the user, if the value cannot be cast.
///
/// # Panics
/// If there is no such cast (see [`allowed`]), or the value is not of the type `from`.
pub fn cast_value(
    value: Value<'_>,
    from: &SqlType,
    to: &SqlType,
    zone: &Zone,
) -> std::result::Result<Value<'static>, String> {
    use TypeKind as T;
    let value = match value {
        Value::Null => return Ok(Value::Null),
        v => v,
    };
    if from.kind == to.kind {
        return Ok(value.into_owned());
    }
    Ok(match &to.kind {
        T::Char(n) | T::Varchar(n) => {
            let text = match value {
                Value::Text(s) => s.into_owned(),
                v => text::cast_text(&v, from, zone),
            };
            Value::string(fit_text(text, *n, matches!(to.kind, T::Char(_)))?)
        }
        T::Binary(n) | T::Varbinary(n) => {
            let mut bytes = value.as_bytes().unwrap_or_else(|| other(&value, to)).to_vec();
            bytes.truncate(*n as usize);
            if matches!(to.kind, T::Binary(_)) {
                size::fits(*n as usize)?;
                bytes.resize(*n as usize, 0);
            }
            Value::Bytes(bytes.into())
        }
        T::Boolean => Value::Bool(match &value {
            Value::Text(s) => parse_bool(s).ok_or_else(|| no_form(s, to))?,
            Value::Int(i) => *i != 0,
            Value::Decimal(v, _) => *v != 0,
            v => v.as_f64().unwrap_or_else(|| other(v, to)) != 0.0,
        }),
        T::TinyInt | T::SmallInt | T::Int | T::BigInt => to_integer(&value, to)?,
        T::IntervalDay | T::IntervalMonth => Value::Int(value.as_i64().unwrap_or_else(|| other(&value, to))),
        T::Float | T::Double => to_approximate(&value, to)?,
        T::Decimal(p, s) => to_decimal(&value, *p, *s, to)?,
        T::Date | T::Time(_) | T::Timestamp(_) | T::TimestampLtz(_) => to_time(&value, from, to, zone)?,
        T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_) => to_nested(value, from, to, zone)?,
        T::Null => Value::Null,
    })
}

/// Casts to FLOAT or DOUBLE.
fn to_approximate(value: &Value<'_>, to: &SqlType) -> std::result::Result<Value<'static>, String> {
    use TypeKind as T;
    let d = match value {
        Value::Text(s) => parse_double(s).ok_or_else(|| no_form(s, to))?,
        Value::Bool(b) => f64::from(u8::from(*b)),
        v => v.as_f64().unwrap_or_else(|| other(v, to)),
    };
    Ok(match (&to.kind, value) {
        (T::Float, Value::Text(s)) => Value::Float(parse_float(s).ok_or_else(|| no_form(s, to))?),
        (T::Float, Value::Decimal(v, s)) => {
            // Rounds from the decimal digits. A conversion through a double would round twice.
            let digits = weir_core::value::decimal_text(*v, *s);
            Value::Float(digits.parse().map_err(|_| no_form(&digits, to))?)
        }
        (T::Float, _) => Value::Float(d as f32),
        _ => Value::Double(d),
    })
}

/// Casts to DECIMAL. The result is NULL if it does not fit.
fn to_decimal(value: &Value<'_>, p: u8, s: u8, to: &SqlType) -> std::result::Result<Value<'static>, String> {
    let parts = match value {
        Value::Int(i) => Some((i256::from_i128(i128::from(*i)), 0)),
        Value::Bool(b) => Some((i256::from_i128(i128::from(*b)), 0)),
        Value::Decimal(v, s) => Some((i256::from_i128(*v), *s)),
        Value::Float(f) if !f.is_finite() => return Err(no_form(&text::float_text(*f), to)),
        Value::Double(d) if !d.is_finite() => return Err(no_form(&text::double_text(*d), to)),
        // A FLOAT has the digits of the DOUBLE to which it is converted, as in Flink.
        Value::Float(f) => parse_decimal(&text::double_text(f64::from(*f)), s),
        Value::Double(d) => parse_decimal(&text::double_text(*d), s),
        Value::Text(t) if p <= SHORT && t.len() <= usize::from(SHORT) => {
            return Ok(match short_decimal(t.as_bytes(), p, s).ok_or_else(|| no_form(t, to))? {
                Some(v) => Value::Decimal(v, s),
                None => Value::Null,
            });
        }
        Value::Text(t) => {
            let number = t.trim_matches(BLANK);
            let digits = number.bytes().any(|b| b.is_ascii_digit());
            Some(parse_decimal(number, s).filter(|_| digits).ok_or_else(|| no_form(t, to))?)
        }
        v => other(v, to),
    };
    Ok(match parts.and_then(|(v, scale)| fits(rescale(v, scale, s), p)) {
        Some(v) => Value::Decimal(v, s),
        None => Value::Null,
    })
}

/// Casts to a date, a time or a timestamp.
fn to_time(
    value: &Value<'_>,
    from: &SqlType,
    to: &SqlType,
    zone: &Zone,
) -> std::result::Result<Value<'static>, String> {
    use TypeKind as T;
    Ok(match &to.kind {
        T::Date => Value::Date(match value {
            Value::Text(s) => time::parse_date(s).ok_or_else(|| no_form(s, to))?,
            Value::Timestamp(s, _) if matches!(from.kind, T::TimestampLtz(_)) => {
                zone.to_local(*s).div_euclid(86_400) as i32
            }
            Value::Timestamp(s, n) => time::calendar_day(*s, *n) as i32,
            v => other(v, to),
        }),
        T::Time(p) => Value::Time(match value {
            Value::Text(s) => cut_millis(time::cast_time(s).ok_or_else(|| no_form(s, to))?, *p),
            Value::Time(t) => cut_millis(*t, *p),
            Value::Timestamp(s, n) => {
                cut_millis(local(*s, from, zone).rem_euclid(86_400) as i32 * 1000 + (*n / 1_000_000) as i32, *p)
            }
            v => other(v, to),
        }),
        T::Timestamp(p) | T::TimestampLtz(p) => {
            let ltz = matches!(to.kind, T::TimestampLtz(_));
            let from_ltz = matches!(from.kind, T::TimestampLtz(_));
            let (s, n) = match value {
                Value::Text(t) => time::cast_timestamp(t).ok_or_else(|| no_form(t, to))?,
                Value::Date(d) => (i64::from(*d) * 86_400, 0),
                Value::Time(t) => (i64::from(*t) / 1000, (*t % 1000) as u32 * 1_000_000),
                Value::Timestamp(s, n) => (*s, *n),
                v => other(v, to),
            };
            let s = match (from_ltz, ltz) {
                (true, false) => zone.to_local(s),
                (false, true) => zone.to_utc(s),
                _ => s,
            };
            let unit = 10u32.pow(9 - u32::from(*p).min(9));
            Value::Timestamp(s, n / unit * unit)
        }
        _ => other(value, to),
    })
}

/// Casts nested values element by element.
fn to_nested(
    value: Value<'_>,
    from: &SqlType,
    to: &SqlType,
    zone: &Zone,
) -> std::result::Result<Value<'static>, String> {
    use TypeKind as T;
    Ok(match &to.kind {
        T::Array(e) => match (value, &from.kind) {
            (Value::List(items), T::Array(f)) => {
                Value::List(items.into_iter().map(|v| cast_value(v, f, e, zone)).collect::<Result<_, _>>()?)
            }
            (value, _) => other(&value, to),
        },
        T::Map(k, v) => match (value, &from.kind) {
            (Value::Map(items), T::Map(fk, fv)) => Value::Map(
                items
                    .into_iter()
                    .map(|(a, b)| Ok((cast_value(a, fk, k, zone)?, cast_value(b, fv, v, zone)?)))
                    .collect::<Result<_, String>>()?,
            ),
            (value, _) => other(&value, to),
        },
        T::Multiset(e) => match (value, &from.kind) {
            (Value::Map(items), T::Multiset(f)) => Value::Map(
                items
                    .into_iter()
                    .map(|(a, n)| Ok((cast_value(a, f, e, zone)?, n.into_owned())))
                    .collect::<Result<_, String>>()?,
            ),
            (value, _) => other(&value, to),
        },
        T::Row(fields) => match (value, &from.kind) {
            (Value::Row(items), T::Row(ff)) => Value::Row(
                items
                    .into_iter()
                    .zip(ff.iter().zip(fields))
                    .map(|(v, (f, t))| cast_value(v, &f.ty, &t.ty, zone))
                    .collect::<Result<_, _>>()?,
            ),
            (value, _) => other(&value, to),
        },
        _ => other(&value, to),
    })
}

fn no_form(text: &str, to: &SqlType) -> String {
    let shown: String = text.chars().take(60).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    format!("cannot cast '{shown}{dots}' to {}; TRY_CAST gives NULL instead", to.kind)
}

fn local(seconds: i64, from: &SqlType, zone: &Zone) -> i64 {
    if matches!(from.kind, TypeKind::TimestampLtz(_)) { zone.to_local(seconds) } else { seconds }
}

fn cut_millis(millis: i32, digits: u8) -> i32 {
    let unit = 10i32.pow(3 - u32::from(digits.min(3)));
    millis / unit * unit
}

/// Truncates text to a length in characters. CHAR is padded with blanks as well.
///
/// # Errors
/// If the result would be longer than a value may be.
fn fit_text(mut text: String, length: u32, fill: bool) -> std::result::Result<String, String> {
    if length == UNBOUNDED {
        return Ok(text);
    }
    let length = length as usize;
    let count = if text.is_ascii() { text.len() } else { text.chars().count() };
    if count > length {
        let at = text.char_indices().nth(length).map_or(text.len(), |(i, _)| i);
        text.truncate(at);
    } else if fill {
        size::fits(length - count + text.len())?;
        text.extend(std::iter::repeat_n(' ', length - count));
    }
    Ok(text)
}

/// Panics for a cast that the binder should have rejected. The evaluation catches the panic and reports it as an internal error.
#[track_caller]
fn other(value: &Value<'_>, to: &SqlType) -> ! {
    panic!("a value that has no cast to {to} is cast: {value:?}")
}

fn to_integer(value: &Value<'_>, to: &SqlType) -> std::result::Result<Value<'static>, String> {
    let narrow = |v: i64| match to.kind {
        TypeKind::TinyInt => i64::from(v as i8),
        TypeKind::SmallInt => i64::from(v as i16),
        TypeKind::Int => i64::from(v as i32),
        _ => v,
    };
    Ok(Value::Int(match value {
        Value::Bool(b) => i64::from(*b),
        Value::Int(v) => narrow(*v),
        Value::Decimal(v, s) => narrow((v / 10i128.pow(u32::from(*s))) as i64),
        Value::Text(s) => {
            let v = parse_integer(s).ok_or_else(|| no_form(s, to))?;
            if narrow(v) != v {
                return Err(no_form(s, to));
            }
            v
        }
        // As in Java: a cast to INT or BIGINT saturates, and the narrowing after it wraps around.
        v => {
            let d = v.as_f64().unwrap_or_else(|| other(v, to));
            if to.kind == TypeKind::BigInt { d as i64 } else { narrow(i64::from(d as i32)) }
        }
    }))
}
