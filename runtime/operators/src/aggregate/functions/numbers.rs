//! Conversion of numbers to values of a call's result type.

use super::Typed;
use arrow::datatypes::i256;
use weir_core::{Result, TypeKind, Value};
use weir_expr::arith::{fits, rescale};

/// Converts a whole number. Smaller types get its lowest bits, as in Java.
pub(super) fn whole(v: i64, of: &Typed) -> Result<Value<'static>> {
    Ok(Value::Int(match of.call.ty.kind {
        TypeKind::TinyInt => i64::from(v as i8),
        TypeKind::SmallInt => i64::from(v as i16),
        TypeKind::Int => i64::from(v as i32),
        TypeKind::BigInt => v,
        _ => return Err(of.unfit()),
    }))
}

/// Converts a floating point number. The result is truncated for integer types, and NULL if it does not fit a decimal type.
pub(super) fn real(v: f64, of: &Typed) -> Result<Value<'static>> {
    Ok(match of.call.ty.kind {
        TypeKind::Float => Value::Float(v as f32),
        TypeKind::Double => Value::Double(v),
        TypeKind::Decimal(p, s) => {
            let parsed = weir_expr::cast::parse_decimal(&weir_expr::text::double_text(v), s);
            match parsed.and_then(|(v, from)| fits(rescale(v, from, s), p)) {
                Some(v) => Value::Decimal(v, s),
                None => Value::Null,
            }
        }
        _ => return whole(v as i64, of),
    })
}

/// Converts a sum of decimals with scale `from`, or computes the average of that many values. A sum of more than 38 digits gives NULL, as
/// in Flink.
pub(super) fn decimal(sum: i256, from: u8, average_of: Option<i64>, of: &Typed) -> Result<Value<'static>> {
    let TypeKind::Decimal(p, to) = of.call.ty.kind else { return Err(of.unfit()) };
    if fits(sum, 38).is_none() {
        return Ok(Value::Null);
    }
    let v = match average_of {
        // One digit more than the result has decides the rounding.
        Some(n) => rescale(rescale(sum, from, to + 1).wrapping_div(i256::from_i128(i128::from(n))), to + 1, to),
        None => rescale(sum, from, to),
    };
    Ok(fits(v, p).map_or(Value::Null, |v| Value::Decimal(v, to)))
}
