//! COUNT.

use super::{Accumulators, Rows, stored};
use arrow::array::Array;
use weir_core::keyed::Slab;
use weir_core::{Result, Value};

/// How many rows there are, or rows without NULL.
pub(super) struct Count {
    of_rows: bool,
    counts: Slab<i64>,
}

impl Count {
    /// `of_rows`: COUNT(*).
    pub fn new(of_rows: bool) -> Count {
        Count { of_rows, counts: Slab::default() }
    }
}

impl Accumulators for Count {
    fn grow(&mut self, places: usize) {
        self.counts.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let nulls = if self.of_rows { None } else { rows.arg(0)?.logical_nulls() };
        rows.each(nulls.as_ref(), |_, at, sign| self.counts[at] += sign);
        Ok(())
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states) {
            self.counts[*at as usize] += stored::long(from)?;
        }
        Ok(())
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[at].to_be_bytes());
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        Ok(Value::Int(self.counts[at]))
    }
    fn reset(&mut self, at: usize) {
        self.counts[at] = 0;
    }
    fn clear(&mut self) {
        self.counts.clear();
    }
    fn width(&self) -> usize {
        size_of::<i64>()
    }
}
