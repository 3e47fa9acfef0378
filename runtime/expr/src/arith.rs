//! Arithmetic as in Flink. Integers wrap around on overflow. Division of integers truncates, division of decimals rounds half up. A decimal
//! that overflows becomes NULL. Division of exact numbers by zero fails.

use crate::context::EvalContext;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Builder, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::arity;
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, i256};
use std::sync::Arc;
use weir_core::{Error, Result, SqlType, TypeKind};

/// An arithmetic operator: + − × ÷ %
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after what they do")]
pub enum ArithOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

const ZERO: &str = "division by zero";

/// Computes `left op right`. Integers and floating point numbers must have the result's type, decimals may have any scale.
///
/// # Errors
/// If an exact number is divided by zero, and the policy of the context is to fail.
pub fn arith(
    op: ArithOp,
    (left, lt): (&ArrayRef, &SqlType),
    (right, rt): (&ArrayRef, &SqlType),
    ty: &SqlType,
    context: &mut EvalContext,
) -> Result<ArrayRef> {
    macro_rules! integer {
        ($t:ty) => {{
            let (l, r) = (left.as_primitive::<$t>(), right.as_primitive::<$t>());
            Ok(match op {
                ArithOp::Add => Arc::new(arity::binary::<_, _, _, $t>(l, r, |a, b| a.wrapping_add(b))?) as ArrayRef,
                ArithOp::Subtract => Arc::new(arity::binary::<_, _, _, $t>(l, r, |a, b| a.wrapping_sub(b))?),
                ArithOp::Multiply => Arc::new(arity::binary::<_, _, _, $t>(l, r, |a, b| a.wrapping_mul(b))?),
                ArithOp::Divide | ArithOp::Modulo => {
                    let nulls = without_zeros(left, right, |i| r.value(i) == 0, context)?;
                    let l = l.values().iter().zip(r.values()).map(|(a, b)| match (op, b) {
                        (_, 0) => 0,
                        (ArithOp::Divide, _) => a.wrapping_div(*b),
                        _ => a.wrapping_rem(*b),
                    });
                    Arc::new(PrimitiveArray::<$t>::new(l.collect(), nulls))
                }
            })
        }};
    }
    macro_rules! float {
        ($t:ty) => {{
            let (l, r) = (left.as_primitive::<$t>(), right.as_primitive::<$t>());
            let f: fn(<$t as ArrowPrimitiveType>::Native, <$t as ArrowPrimitiveType>::Native) -> _ = match op {
                ArithOp::Add => |a, b| a + b,
                ArithOp::Subtract => |a, b| a - b,
                ArithOp::Multiply => |a, b| a * b,
                ArithOp::Divide => |a, b| a / b,
                ArithOp::Modulo => |a, b| a % b,
            };
            Ok(Arc::new(arity::binary::<_, _, _, $t>(l, r, f)?) as ArrayRef)
        }};
    }
    match ty.kind {
        TypeKind::TinyInt => integer!(Int8Type),
        TypeKind::SmallInt => integer!(Int16Type),
        TypeKind::Int | TypeKind::IntervalMonth => integer!(Int32Type),
        TypeKind::BigInt | TypeKind::IntervalDay => integer!(Int64Type),
        TypeKind::Float => float!(Float32Type),
        TypeKind::Double => float!(Float64Type),
        TypeKind::Decimal(p, s) => decimal(op, (left, lt), (right, rt), p, s, context),
        _ => Err(Error::internal(format!("no arithmetic on {ty}"))),
    }
}

/// The validity of the result of a division. Rows with a zero divisor fail. If the policy keeps them, they are NULL.
fn without_zeros(
    left: &ArrayRef,
    right: &ArrayRef,
    zero: impl Fn(usize) -> bool,
    context: &mut EvalContext,
) -> Result<Option<NullBuffer>> {
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let mut bad = vec![];
    for i in 0..right.len() {
        if zero(i) && nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            context.fail(i, ZERO)?;
            bad.push(i);
        }
    }
    if bad.is_empty() {
        return Ok(nulls);
    }
    let mut valid: Vec<bool> = (0..right.len()).map(|i| nulls.as_ref().is_none_or(|n| n.is_valid(i))).collect();
    bad.into_iter().for_each(|i| valid[i] = false);
    Ok(Some(NullBuffer::from(valid)))
}

/// Returns the unscaled value of a row.
type Unscaled = Box<dyn Fn(usize) -> i128>;

/// Reads an exact number as an unscaled value and scale.
fn exact(array: &ArrayRef, ty: &SqlType) -> Result<(Unscaled, u8)> {
    macro_rules! read {
        ($t:ty, $s:expr) => {{
            let a = array.as_primitive::<$t>().clone();
            (Box::new(move |i| i128::from(a.value(i))) as Box<dyn Fn(usize) -> i128>, $s)
        }};
    }
    Ok(match ty.kind {
        TypeKind::TinyInt => read!(Int8Type, 0),
        TypeKind::SmallInt => read!(Int16Type, 0),
        TypeKind::Int => read!(Int32Type, 0),
        TypeKind::BigInt => read!(Int64Type, 0),
        TypeKind::Decimal(_, s) => read!(Decimal128Type, s),
        _ => return Err(Error::internal(format!("{ty} is not an exact number"))),
    })
}

/// 10 to the power of `n`. It wraps around if `n` is greater than 76.
pub fn power_of_ten(n: u8) -> i256 {
    let mut v = i256::from_i128(10i128.pow(u32::from(n.min(38))));
    for _ in 38..n {
        v = v.wrapping_mul(i256::from_i128(10));
    }
    v
}

/// Converts an unscaled value from one scale to another, rounding half away from zero.
pub fn rescale(value: i256, from: u8, to: u8) -> i256 {
    if to >= from {
        return value.wrapping_mul(power_of_ten(to - from));
    }
    divide_half_up(value, power_of_ten(from - to))
}

fn divide_half_up(value: i256, by: i256) -> i256 {
    let quotient = value.wrapping_div(by);
    let rest = value.wrapping_rem(by).wrapping_abs();
    if rest.wrapping_add(rest) >= by.wrapping_abs() {
        let away = if value.is_negative() == by.is_negative() { i256::ONE } else { i256::MINUS_ONE };
        quotient.wrapping_add(away)
    } else {
        quotient
    }
}

/// The value, if it has at most `precision` digits; otherwise none.
pub fn fits(value: i256, precision: u8) -> Option<i128> {
    (value.wrapping_abs() < power_of_ten(precision)).then(|| value.to_i128()).flatten()
}

fn decimal(
    op: ArithOp,
    (left, lt): (&ArrayRef, &SqlType),
    (right, rt): (&ArrayRef, &SqlType),
    precision: u8,
    scale: u8,
    context: &mut EvalContext,
) -> Result<ArrayRef> {
    let ((l, ls), (r, rs)) = (exact(left, lt)?, exact(right, rt)?);
    let mut out = Decimal128Builder::with_capacity(left.len()).with_precision_and_scale(precision, scale as i8)?;
    for i in 0..left.len() {
        if left.is_null(i) || right.is_null(i) {
            out.append_null();
            continue;
        }
        let (a, b) = (i256::from_i128(l(i)), i256::from_i128(r(i)));
        let common = ls.max(rs);
        let value = match op {
            ArithOp::Add => rescale(rescale(a, ls, common).wrapping_add(rescale(b, rs, common)), common, scale),
            ArithOp::Subtract => rescale(rescale(a, ls, common).wrapping_sub(rescale(b, rs, common)), common, scale),
            ArithOp::Multiply => rescale(a.wrapping_mul(b), ls + rs, scale),
            ArithOp::Divide | ArithOp::Modulo if b == i256::ZERO => {
                context.fail(i, ZERO)?;
                out.append_null();
                continue;
            }
            ArithOp::Divide => {
                // The quotient at the result's scale: a·10^(scale + rs − ls) ÷ b.
                let up = i32::from(scale) + i32::from(rs) - i32::from(ls);
                if up >= 0 {
                    divide_half_up(a.wrapping_mul(power_of_ten(up as u8)), b)
                } else {
                    divide_half_up(a, b.wrapping_mul(power_of_ten((-up) as u8)))
                }
            }
            ArithOp::Modulo => rescale(rescale(a, ls, common).wrapping_rem(rescale(b, rs, common)), common, scale),
        };
        out.append_option(fits(value, precision));
    }
    Ok(Arc::new(out.finish()))
}

/// The type of a decimal result, limited to 38 digits as in Flink: digits before the point take precedence, but at least six after it are
/// kept.
pub fn adjusted(precision: u16, scale: u16) -> TypeKind {
    if precision <= 38 {
        return TypeKind::Decimal(precision as u8, scale as u8);
    }
    let whole = precision - scale;
    let scale = 38u16.saturating_sub(whole).max(scale.min(6));
    TypeKind::Decimal(38, scale as u8)
}

/// The type of arithmetic between two exact numbers of which at least one is a DECIMAL.
pub fn decimal_type(op: ArithOp, (p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> TypeKind {
    let (p1, s1, p2, s2) = (u16::from(p1), u16::from(s1), u16::from(p2), u16::from(s2));
    match op {
        ArithOp::Add | ArithOp::Subtract => {
            let scale = s1.max(s2);
            adjusted((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        ArithOp::Multiply => adjusted(p1 + p2 + 1, s1 + s2),
        ArithOp::Divide => {
            let scale = (s1 + p2 + 1).max(6);
            adjusted(p1 - s1 + s2 + scale, scale)
        }
        ArithOp::Modulo => adjusted((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
    }
}
