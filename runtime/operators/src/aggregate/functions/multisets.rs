//! COLLECT, PERCENTILE, aggregates with DISTINCT, and MIN and MAX over changelogs. The accumulator is a multiset, and each of its values
//! has a separate key in the store.

use super::counted::Counted;
use super::moments;
use super::numbers::{decimal, real, whole};
use super::{Column, Function, Parts, Rows, Typed, stored};
use arrow::array::Array;
use arrow::datatypes::i256;
use weir_core::key::encode_value;
use weir_core::keyed::Slab;
use weir_core::{Result, Value};
use weir_expr::aggregate::Aggregate;

/// Keeps an ordered multiset of values for each group.
pub(super) struct Multisets {
    of: Typed,
}

impl Multisets {
    pub fn new(of: Typed) -> Multisets {
        Multisets { of }
    }
}

impl Function for Multisets {
    type Accumulator = Counted;
    const HAS_HEAP: bool = true;

    fn update(&self, sets: &mut Slab<Counted>, rows: &Rows<'_>) -> Result<()> {
        let column = rows.arg(0)?;
        let nulls = column.logical_nulls();
        let times = rows.args.get(1);
        rows.try_each(nulls.as_ref(), |row, at, sign| {
            // The frequency of the value is the last argument.
            let times = match times.map(|t| Value::read(t, row)) {
                None => 1,
                Some(Value::Null) => 0,
                Some(times) => times.as_i64().ok_or_else(|| self.of.unfit())?.max(0),
            };
            let mut value = vec![];
            encode_value(&Value::read(column, row), column.data_type(), &mut value);
            sets[at].add(value, sign * times);
            Ok(())
        })
    }
    fn merge(&self, into: &mut Counted, from: &Counted) {
        from.counts().for_each(|(value, count)| into.add(value.to_vec(), count));
    }
    fn encode(&self, set: &Counted, out: &mut Vec<u8>) {
        stored::put_counts(out, set.counts());
    }
    fn merge_stored(&self, into: &mut Counted, from: &mut &[u8]) -> Result<()> {
        stored::counts(from, |value, count| into.add(value.to_vec(), count))
    }
    fn result(&self, set: &Counted) -> Result<Value<'static>> {
        result(set, &self.of)
    }
    fn heap(&self, set: &Counted) -> usize {
        set.bytes()
    }
    fn reset(&self, set: &mut Counted) {
        set.clear();
    }
    fn parts(column: &mut Column<Self>) -> Option<&mut dyn Parts> {
        Some(column)
    }
}

impl Parts for Column<Multisets> {
    fn load(&mut self, at: usize, value: &[u8], count: i64) {
        self.groups[at].load(value.to_vec(), count);
    }
    fn take_changed(&mut self, at: usize, goes: bool) -> Vec<(Vec<u8>, i64)> {
        if goes {
            self.groups[at].clear();
        }
        self.groups[at].take_touched()
    }
    fn forget(&mut self, at: usize) {
        self.groups[at] = Counted::default();
    }
}

/// The result for a multiset.
fn result(set: &Counted, of: &Typed) -> Result<Value<'static>> {
    let mut there = set.values();
    let distinct = of.call.distinct;
    match &of.call.function {
        Aggregate::Count => Ok(Value::Int(set.len() as i64)),
        Aggregate::Min => there.next().map_or(Ok(Value::Null), |(v, _)| of.decode(v)),
        Aggregate::Max => there.next_back().map_or(Ok(Value::Null), |(v, _)| of.decode(v)),
        Aggregate::Collect => {
            let entries = there.map(|(v, n)| Ok((of.decode(v)?, Value::Int(if distinct { 1 } else { n }))));
            entries.collect::<Result<_>>().map(Value::Map)
        }
        Aggregate::Percentile { fractions, several } => {
            let number = |(v, n)| Ok((double(&of.decode(v)?, of)?, if distinct { 1 } else { n }));
            let values: Vec<(f64, i64)> = there.map(number).collect::<Result<_>>()?;
            let found = |f: &u64| percentile(&values, f64::from_bits(*f)).map_or(Value::Null, Value::Double);
            Ok(match fractions.as_slice() {
                _ if values.is_empty() => Value::Null,
                [one] if !several => found(one),
                all => Value::List(all.iter().map(found).collect()),
            })
        }
        Aggregate::Sum => summed(there.map(|(v, _)| of.decode(v)), false, of),
        Aggregate::Avg => summed(there.map(|(v, _)| of.decode(v)), true, of),
        Aggregate::StddevPop | Aggregate::StddevSamp | Aggregate::VarPop | Aggregate::VarSamp => {
            deviation(there.map(|(v, _)| double(&of.decode(v)?, of)), of)
        }
        // Functions for which `accumulators` never chooses this implementation.
        _ => Err(of.unfit()),
    }
}

fn double(v: &Value<'_>, of: &Typed) -> Result<f64> {
    v.as_f64().ok_or_else(|| of.unfit())
}

/// The percentile of ordered values with their counts, interpolated linearly between two neighbours.
fn percentile(values: &[(f64, i64)], fraction: f64) -> Option<f64> {
    let total: i64 = values.iter().map(|(_, n)| n).sum();
    let place = fraction * (total - 1) as f64;
    let at = |place: f64| {
        let mut passed = 0;
        values.iter().find(|(_, n)| {
            passed += n;
            passed as f64 > place
        })
    };
    let (low, high) = (at(place.floor())?.0, at(place.ceil())?.0);
    let part = place - place.floor();
    Some((1.0 - part) * low + part * high)
}

/// SUM or AVG of distinct values.
fn summed(values: impl Iterator<Item = Result<Value<'static>>>, average: bool, of: &Typed) -> Result<Value<'static>> {
    let (mut n, mut ints, mut unscaled, mut doubles, mut last) = (0i64, 0i64, i256::ZERO, 0f64, Value::Null);
    for value in values {
        let value = value?;
        match value {
            Value::Int(v) => ints = ints.wrapping_add(v),
            Value::Decimal(v, _) => unscaled = unscaled.wrapping_add(i256::from_i128(v)),
            _ => doubles += double(&value, of)?,
        }
        n += 1;
        last = value;
    }
    match last {
        Value::Null => Ok(Value::Null),
        Value::Int(_) => whole(if average { ints / n } else { ints }, of),
        Value::Decimal(_, scale) => decimal(unscaled, scale, average.then_some(n), of),
        _ => real(if average { doubles / n as f64 } else { doubles }, of),
    }
}

/// STDDEV_POP, STDDEV_SAMP, VAR_POP or VAR_SAMP of distinct values.
fn deviation(values: impl Iterator<Item = Result<f64>>, of: &Typed) -> Result<Value<'static>> {
    let values: Vec<f64> = values.collect::<Result<_>>()?;
    let n = values.len();
    let (sample, root) = moments::kind(of)?;
    if n == 0 || sample && n < 2 {
        return Ok(Value::Null);
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let variance = squares / if sample { n - 1 } else { n } as f64;
    real(if root { variance.sqrt() } else { variance }, of)
}
