//! SUM and AVG.

use super::numbers::{decimal, real, whole};
use super::wide::{self, Wide};
use super::{Function, Rows, Typed, stored};
use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use std::marker::PhantomData;
use weir_core::keyed::Slab;
use weir_core::{Error, Result, TypeKind, Value};
use weir_expr::aggregate::Aggregate;

/// A sum and the number of its values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summed<S> {
    sum: S,
    count: i64,
}

/// How values of a type are summed.
pub(super) trait Sum: Default + Copy + Send + 'static {
    /// Adds the rows of a column.
    fn add(of: &Typed, sums: &mut Slab<Summed<Self>>, rows: &Rows<'_>) -> Result<()>;
    /// Adds another sum.
    fn merge(&mut self, other: Self);
    /// Appends its stored form.
    fn encode(self, out: &mut Vec<u8>);
    /// Reads its stored form.
    fn decode(from: &mut &[u8]) -> Result<Self>;
    /// The sum, or the average of so many, as a value of the call's type.
    fn value(self, of: &Typed, average_of: Option<i64>) -> Result<Value<'static>>;
}

/// SUM and AVG.
pub(super) struct Sums<S> {
    of: Typed,
    sums: PhantomData<fn(S)>,
}

impl<S: Sum> Sums<S> {
    pub fn new(of: Typed) -> Self {
        Sums { of, sums: PhantomData }
    }
}

impl<S: Sum> Function for Sums<S> {
    type Accumulator = Summed<S>;

    fn update(&self, sums: &mut Slab<Summed<S>>, rows: &Rows<'_>) -> Result<()> {
        S::add(&self.of, sums, rows)
    }
    fn merge(&self, into: &mut Summed<S>, from: &Summed<S>) {
        into.sum.merge(from.sum);
        into.count += from.count;
    }
    fn encode(&self, one: &Summed<S>, out: &mut Vec<u8>) {
        one.sum.encode(out);
        stored::put_long(out, one.count);
    }
    fn merge_stored(&self, into: &mut Summed<S>, from: &mut &[u8]) -> Result<()> {
        let (sum, count) = (S::decode(from)?, stored::long(from)?);
        self.merge(into, &Summed { sum, count });
        Ok(())
    }
    fn result(&self, one: &Summed<S>) -> Result<Value<'static>> {
        if one.count == 0 {
            return Ok(Value::Null);
        }
        one.sum.value(&self.of, (self.of.call.function == Aggregate::Avg).then_some(one.count))
    }
}

/// Adds the values of a column to the sums of their groups with `sum`.
fn each<T: ArrowPrimitiveType, S>(
    sums: &mut Slab<Summed<S>>,
    rows: &Rows<'_>,
    sum: impl Fn(&mut S, T::Native, i64),
) -> Result<()> {
    let column = rows.arg(0)?.as_primitive::<T>();
    rows.each(column.nulls(), |row, at, sign| {
        let one = &mut sums[at];
        sum(&mut one.sum, column.value(row), sign);
        one.count += sign;
    });
    Ok(())
}

/// A sum of whole numbers. It wraps around on overflow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Whole(i64);

impl Whole {
    fn signed(&mut self, v: i64, sign: i64) {
        self.0 = self.0.wrapping_add(v.wrapping_mul(sign));
    }
}

impl Sum for Whole {
    fn add(of: &Typed, sums: &mut Slab<Summed<Self>>, rows: &Rows<'_>) -> Result<()> {
        match rows.arg(0)?.data_type() {
            DataType::Int8 => each::<Int8Type, _>(sums, rows, |s, v, sign| s.signed(i64::from(v), sign)),
            DataType::Int16 => each::<Int16Type, _>(sums, rows, |s, v, sign| s.signed(i64::from(v), sign)),
            DataType::Int32 => each::<Int32Type, _>(sums, rows, |s, v, sign| s.signed(i64::from(v), sign)),
            DataType::Int64 => each::<Int64Type, _>(sums, rows, |s, v, sign| s.signed(v, sign)),
            _ => Err(of.unfit()),
        }
    }
    fn merge(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
    fn encode(self, out: &mut Vec<u8>) {
        stored::put_long(out, self.0);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        stored::long(from).map(Whole)
    }
    fn value(self, of: &Typed, average_of: Option<i64>) -> Result<Value<'static>> {
        whole(average_of.map_or(self.0, |n| self.0.wrapping_div(n)), of)
    }
}

/// A sum of floating point numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Real(f64);

impl Sum for Real {
    fn add(of: &Typed, sums: &mut Slab<Summed<Self>>, rows: &Rows<'_>) -> Result<()> {
        match rows.arg(0)?.data_type() {
            DataType::Float32 => each::<Float32Type, _>(sums, rows, |s, v, sign| s.0 += f64::from(v) * sign as f64),
            DataType::Float64 => each::<Float64Type, _>(sums, rows, |s, v, sign| s.0 += v * sign as f64),
            _ => Err(of.unfit()),
        }
    }
    fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }
    fn encode(self, out: &mut Vec<u8>) {
        stored::put_double(out, self.0);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        stored::double(from).map(Real)
    }
    fn value(self, of: &Typed, average_of: Option<i64>) -> Result<Value<'static>> {
        real(average_of.map_or(self.0, |n| self.0 / n as f64), of)
    }
}

/// Sums of unscaled decimals.
impl Sum for Wide {
    fn add(of: &Typed, sums: &mut Slab<Summed<Self>>, rows: &Rows<'_>) -> Result<()> {
        match rows.arg(0)?.data_type() {
            DataType::Decimal128(..) => {
                each::<Decimal128Type, _>(sums, rows, |s, v, sign| s.add(v.wrapping_mul(i128::from(sign))))
            }
            _ => Err(of.unfit()),
        }
    }
    fn merge(&mut self, other: Self) {
        Wide::merge(self, other);
    }
    fn encode(self, out: &mut Vec<u8>) {
        let bytes = self.to_bytes();
        stored::put_bytes(out, &bytes[wide::insignificant(&bytes)..]);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        Wide::from_significant(stored::bytes(from)?).ok_or_else(|| Error::state("a sum in the state is damaged"))
    }
    fn value(self, of: &Typed, average_of: Option<i64>) -> Result<Value<'static>> {
        let TypeKind::Decimal(_, scale) = of.arg(0)?.kind else { return Err(of.unfit()) };
        decimal(self.get(), scale, average_of, of)
    }
}
