//! STDDEV and VAR: count, sum and sum of squares.

use super::numbers::real;
use super::{Accumulators, Rows, Typed, stored};
use arrow::array::Array;
use weir_core::keyed::Slab;
use weir_core::{Result, Value};
use weir_expr::aggregate::Aggregate;

#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    count: i64,
    sum: f64,
    squares: f64,
}

/// What groups keep for STDDEV_POP and its kin.
pub(super) struct Moments {
    of: Typed,
    moments: Slab<Moment>,
}

impl Moments {
    pub fn new(of: Typed) -> Moments {
        Moments { of, moments: Slab::default() }
    }
}

impl Accumulators for Moments {
    fn grow(&mut self, places: usize) {
        self.moments.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let column = rows.arg(0)?;
        let (of, moments) = (&self.of, &mut self.moments);
        rows.try_each(column.nulls(), |row, at, sign| {
            let v = Value::read(column, row).as_f64().ok_or_else(|| of.unfit())?;
            let m = &mut moments[at];
            m.count += sign;
            m.sum += v * sign as f64;
            m.squares += v * v * sign as f64;
            Ok(())
        })
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states) {
            let m = &mut self.moments[*at as usize];
            m.count += stored::long(from)?;
            m.sum += stored::double(from)?;
            m.squares += stored::double(from)?;
        }
        Ok(())
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        let m = self.moments[at];
        out.extend_from_slice(&m.count.to_be_bytes());
        out.extend_from_slice(&m.sum.to_bits().to_be_bytes());
        out.extend_from_slice(&m.squares.to_bits().to_be_bytes());
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        let Moment { count: n, sum, squares } = self.moments[at];
        let (sample, root) = kind(&self.of)?;
        let divisor = if sample { n - 1 } else { n };
        if n <= 0 || divisor <= 0 {
            return Ok(Value::Null);
        }
        let variance = ((squares - sum * sum / n as f64) / divisor as f64).max(0.0);
        real(if root { variance.sqrt() } else { variance }, &self.of)
    }
    fn reset(&mut self, at: usize) {
        self.moments[at] = Moment::default();
    }
    fn clear(&mut self) {
        self.moments.clear();
    }
    fn width(&self) -> usize {
        size_of::<Moment>()
    }
}

/// Whether it is of a sample, and whether the root is taken.
pub(super) fn kind(of: &Typed) -> Result<(bool, bool)> {
    match of.call.function {
        Aggregate::VarPop => Ok((false, false)),
        Aggregate::VarSamp => Ok((true, false)),
        Aggregate::StddevPop => Ok((false, true)),
        Aggregate::StddevSamp => Ok((true, true)),
        Aggregate::CountStar
        | Aggregate::Count
        | Aggregate::Sum
        | Aggregate::Avg
        | Aggregate::Min
        | Aggregate::Max
        | Aggregate::FirstValue
        | Aggregate::LastValue
        | Aggregate::Collect
        | Aggregate::ListAgg { .. }
        | Aggregate::Percentile { .. }
        | Aggregate::ArrayAgg
        | Aggregate::JsonObjectAgg { .. }
        | Aggregate::JsonArrayAgg { .. } => Err(of.unfit()),
    }
}
