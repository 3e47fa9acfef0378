//! Functions of numbers.

use super::Body::Columns;
use super::arguments;
use super::table::*;
use crate::EvalContext;
use crate::arith::{fits, power_of_ten, rescale};
use crate::random::JavaRandom;
use arrow::array::{ArrayRef, Float64Array, Int32Array};
use arrow::datatypes::i256;
use std::sync::Arc;
use weir_core::Result;
use weir_core::value::decimal_to_f64;

macro_rules! real {
    ($name:literal, $f:expr) => {
        def(
            $name,
            &[Double],
            (1, 1),
            Type(double),
            Strict(|a, _| {
                let f: fn(f64) -> f64 = $f;
                Ok(Value::Double(f(float(a, 0))))
            }),
        )
    };
}

pub(super) const ALL: &[Definition] = &[
    real!("SQRT", f64::sqrt),
    real!("EXP", f64::exp),
    real!("LOG10", f64::log10),
    real!("LOG2", f64::log2),
    real!("SIN", f64::sin),
    real!("COS", f64::cos),
    real!("TAN", f64::tan),
    real!("COT", |x| 1.0 / x.tan()),
    real!("ASIN", f64::asin),
    real!("ACOS", f64::acos),
    real!("ATAN", f64::atan),
    real!("SINH", f64::sinh),
    real!("COSH", f64::cosh),
    real!("TANH", f64::tanh),
    real!("DEGREES", |x| x * (180.0 / std::f64::consts::PI)),
    real!("RADIANS", |x| x / 180.0 * std::f64::consts::PI),
    real!("LN", f64::ln),
    def("LOG", &[Double], (1, 2), Type(double), Strict(log)),
    def("POWER", &[Double], (2, 2), Type(double), Strict(|a, _| Ok(Value::Double(float(a, 0).powf(float(a, 1)))))),
    def("ATAN2", &[Double], (2, 2), Type(double), Strict(|a, _| Ok(Value::Double(float(a, 0).atan2(float(a, 1)))))),
    def("PI", &[], (0, 0), NotNull(double), Lenient(|_, _| Ok(Value::Double(std::f64::consts::PI)))),
    def("E", &[], (0, 0), NotNull(double), Lenient(|_, _| Ok(Value::Double(std::f64::consts::E)))),
    def("ABS", &[Number], (1, 1), First, Strict(abs)),
    def("SIGN", &[Number], (1, 1), First, Strict(sign)),
    def("FLOOR", &[Number], (1, 1), Of(whole), Strict(|a, c| round_to(a, c, -1))),
    def("CEIL", &[Number], (1, 1), Of(whole), Strict(|a, c| round_to(a, c, 1))),
    def("CEILING", &[Number], (1, 1), Of(whole), Strict(|a, c| round_to(a, c, 1))),
    def("ROUND", &[Number, Int], (1, 2), Of(rounded), Strict(round)),
    def("TRUNCATE", &[Number, Int], (1, 2), Of(rounded), Strict(truncate)),
    Definition { deterministic: false, ..def("RAND", &[Int], (0, 1), NotNull(double), Columns(rand)) },
    Definition { deterministic: false, ..def("RAND_INTEGER", &[Int], (1, 2), Type(int), Columns(rand_integer)) },
];

/// The seed of a row, if the call has one. NULL is 0.
fn seed(args: &[ArrayRef], row: usize) -> Option<i32> {
    args.first().map(|seeds| Value::read(seeds, row).as_i64().unwrap_or(0) as i32)
}

fn rand(args: &[ArrayRef], rows: usize, call: &Call<'_>, context: &mut EvalContext) -> Result<ArrayRef> {
    let site = call.types.as_ptr() as usize;
    let numbers = (0..rows).map(|row| match seed(args, row) {
        Some(seed) => context.random.of(site, seed, JavaRandom::double),
        None => random(),
    });
    Ok(Arc::new(numbers.collect::<Float64Array>()))
}

fn rand_integer(args: &[ArrayRef], rows: usize, call: &Call<'_>, context: &mut EvalContext) -> Result<ArrayRef> {
    let site = call.types.as_ptr() as usize;
    let numbers = (0..rows).map(|row| {
        let bound =
            args.last().and_then(|bounds| Value::read(bounds, row).as_i64())?.clamp(1, i64::from(i32::MAX)) as i32;
        Some(match seed(&args[..args.len() - 1], row) {
            Some(seed) => context.random.of(site, seed, |random| random.below(bound)),
            None => (random() * f64::from(bound)) as i32,
        })
    });
    Ok(Arc::new(numbers.collect::<Int32Array>()))
}

fn random() -> f64 {
    // The first 53 bits of a version 4 UUID make a double. They are random, except for the 4 bits of the version.
    (uuid::Uuid::new_v4().as_u128() >> 75) as f64 / (1u64 << 53) as f64
}

fn float(a: &[Value<'_>], i: usize) -> f64 {
    arguments::double(&a[i])
}

fn log(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(Value::Double(if a.len() == 1 { float(a, 0).ln() } else { float(a, 1).ln() / float(a, 0).ln() }))
}

fn abs(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    Ok(match &a[0] {
        Value::Int(v) => match c.ty.kind {
            T::TinyInt => Value::Int(i64::from((*v as i8).wrapping_abs())),
            T::SmallInt => Value::Int(i64::from((*v as i16).wrapping_abs())),
            T::Int => Value::Int(i64::from((*v as i32).wrapping_abs())),
            _ => Value::Int(v.wrapping_abs()),
        },
        Value::Float(v) => Value::Float(v.abs()),
        Value::Double(v) => Value::Double(v.abs()),
        Value::Decimal(v, s) => Value::Decimal(v.abs(), *s),
        _ => Value::Null,
    })
}

fn sign(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    fn of(v: f64) -> f64 {
        if v == 0.0 || v.is_nan() { v } else { v.signum() }
    }
    Ok(match &a[0] {
        Value::Int(v) => Value::Int(v.signum()),
        Value::Float(v) => Value::Float(of(f64::from(*v)) as f32),
        Value::Double(v) => Value::Double(of(*v)),
        Value::Decimal(v, s) => Value::Decimal(v.signum() * 10i128.pow(u32::from(*s)), *s),
        _ => Value::Null,
    })
}

fn whole(a: &[Expr]) -> Result<SqlType, String> {
    let ty = a[0].ty();
    Ok(match ty.kind {
        T::Decimal(p, _) => SqlType::from(T::Decimal(p, 0)).nullable(ty.nullable),
        _ => ty,
    })
}

fn round_to(a: &[Value<'_>], _: &Call<'_>, direction: i128) -> Outcome {
    let of = |v: f64| if direction < 0 { v.floor() } else { v.ceil() };
    Ok(match &a[0] {
        Value::Int(v) => Value::Int(*v),
        Value::Float(v) => Value::Float(of(f64::from(*v)) as f32),
        Value::Double(v) => Value::Double(of(*v)),
        Value::Decimal(v, s) => {
            let unit = 10i128.pow(u32::from(*s));
            let down = v.div_euclid(unit);
            Value::Decimal(if direction > 0 && v.rem_euclid(unit) != 0 { down + 1 } else { down }, 0)
        }
        _ => Value::Null,
    })
}

/// The result type of ROUND and TRUNCATE. As in Flink, a DECIMAL whose scale is greater than the requested one gets the requested scale,
/// and one more digit before the point.
fn rounded(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = a.iter().any(|e| e.ty().nullable);
    let wanted = match a.get(1) {
        None => Some(0),
        Some(Expr::Literal { value: Value::Int(n), .. }) => Some(*n),
        Some(_) => None,
    };
    let ty = a[0].ty().nullable(nullable);
    Ok(match (&ty.kind, wanted) {
        (T::Decimal(p, s), Some(n)) if n < i64::from(*s) => {
            let n = n.max(0) as u8;
            SqlType::from(T::Decimal((p - s + n + 1).min(38), n)).nullable(nullable)
        }
        _ => ty,
    })
}

fn digits(a: &[Value<'_>]) -> i64 {
    a.get(1).map_or(0, arguments::int)
}

fn round(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    to_digits(a, c, true)
}

fn truncate(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    to_digits(a, c, false)
}

fn to_digits(a: &[Value<'_>], c: &Call<'_>, half_up: bool) -> Outcome {
    let n = digits(a);
    let cut = |v: i128, scale: u8| -> (i256, u8) {
        let v = i256::from_i128(v);
        let keep = n.clamp(-38, i64::from(scale));
        let drop = (i64::from(scale) - keep) as u8;
        let unit = power_of_ten(drop);
        let quotient = if half_up { rescale(v, drop, 0) } else { v.wrapping_div(unit) };
        if keep >= 0 { (quotient, keep as u8) } else { (quotient.wrapping_mul(power_of_ten((-keep) as u8)), 0) }
    };
    let double = |v: f64| -> f64 {
        if !v.is_finite() {
            return v;
        }
        match crate::cast::parse_decimal(&crate::text::double_text(v), 40) {
            Some((d, s)) if d.to_i128().is_some() => {
                let (d, s) = cut(d.to_i128().unwrap_or(0), s);
                d.to_i128().map_or(v, |d| decimal_to_f64(d, s))
            }
            _ => v,
        }
    };
    Ok(match &a[0] {
        Value::Int(v) => Value::Int(cut(i128::from(*v), 0).0.to_i128().unwrap_or(0) as i64),
        Value::Float(v) => Value::Float(double(f64::from(*v)) as f32),
        Value::Double(v) => Value::Double(double(*v)),
        Value::Decimal(v, s) => {
            let (d, scale) = cut(*v, *s);
            match c.ty.kind {
                T::Decimal(p, to) => fits(rescale(d, scale, to), p).map_or(Value::Null, |d| Value::Decimal(d, to)),
                _ => Value::Null,
            }
        }
        _ => Value::Null,
    })
}
