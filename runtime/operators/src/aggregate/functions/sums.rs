//! SUM and AVG.

use super::numbers::{decimal, real, whole};
use super::wide::Wide;
use super::{Accumulators, Rows, Typed, stored};
use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use weir_core::keyed::Slab;
use weir_core::{Result, TypeKind, Value};
use weir_expr::aggregate::Aggregate;

/// A sum and the number of its values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summed<S> {
    sum: S,
    count: i64,
}

/// How values of a type are summed.
pub(super) trait Sum: Default + Copy + Send {
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

/// What groups keep for SUM and AVG.
pub(super) struct Sums<S> {
    of: Typed,
    sums: Slab<Summed<S>>,
}

impl<S: Sum> Sums<S> {
    pub fn new(of: Typed) -> Self {
        Sums { of, sums: Slab::default() }
    }
}

impl<S: Sum> Accumulators for Sums<S> {
    fn grow(&mut self, places: usize) {
        self.sums.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        S::add(&self.of, &mut self.sums, rows)
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states) {
            let one = &mut self.sums[*at as usize];
            one.sum.merge(S::decode(from)?);
            one.count += stored::long(from)?;
        }
        Ok(())
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        let one = self.sums[at];
        one.sum.encode(out);
        out.extend_from_slice(&one.count.to_be_bytes());
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        let one = self.sums[at];
        if one.count == 0 {
            return Ok(Value::Null);
        }
        one.sum.value(&self.of, (self.of.call.function == Aggregate::Avg).then_some(one.count))
    }
    fn reset(&mut self, at: usize) {
        self.sums[at] = Summed::default();
    }
    fn clear(&mut self) {
        self.sums.clear();
    }
    fn width(&self) -> usize {
        size_of::<Summed<S>>()
    }
}

/// Adds what `sum` makes of the values of a column.
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

/// A sum of whole numbers, which wraps around.
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
        out.extend_from_slice(&self.0.to_be_bytes());
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
        out.extend_from_slice(&self.0.to_bits().to_be_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        stored::double(from).map(Real)
    }
    fn value(self, of: &Typed, average_of: Option<i64>) -> Result<Value<'static>> {
        real(average_of.map_or(self.0, |n| self.0 / n as f64), of)
    }
}

/// Unscaled decimals.
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
        out.extend_from_slice(&self.to_bytes());
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        stored::take(from).map(Wide::from_bytes)
    }
    fn value(self, of: &Typed, average_of: Option<i64>) -> Result<Value<'static>> {
        let TypeKind::Decimal(_, scale) = of.arg(0)?.kind else { return Err(of.unfit()) };
        decimal(self.get(), scale, average_of, of)
    }
}
