//! FIRST_VALUE and LAST_VALUE, where rows only come.

use super::{Accumulators, Heap, Rows, Typed, stored};
use arrow::array::Array;
use weir_core::keyed::{Slab, SmallBytes};
use weir_core::{Error, Result, Value};
use weir_expr::aggregate::Aggregate;

/// The first or the last value of each group, encoded.
pub(super) struct Edges {
    last: bool,
    of: Typed,
    values: Slab<Option<SmallBytes>>,
}

impl Edges {
    pub fn new(of: Typed) -> Edges {
        Edges { last: of.call.function == Aggregate::LastValue, of, values: Slab::default() }
    }
}

impl Accumulators for Edges {
    fn grow(&mut self, places: usize) {
        self.values.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let nulls = rows.arg(0)?.logical_nulls();
        let mut value = vec![];
        rows.try_each(nulls.as_ref(), |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal("a row goes from a FIRST_VALUE or LAST_VALUE of rows that only come"));
            }
            if self.last || self.values[at].is_none() {
                rows.encode(row, &mut value);
                self.values[at] = Some(SmallBytes::from(value.as_slice()));
            }
            Ok(())
        })
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states) {
            let old = &mut self.values[*at as usize];
            if let Some(value) = stored::maybe(from)?
                && (self.last || old.is_none())
            {
                *old = Some(SmallBytes::from(value));
            }
        }
        Ok(())
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        stored::put_maybe(out, self.values[at].as_deref());
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        self.values[at].as_deref().map_or(Ok(Value::Null), |v| self.of.decode(v))
    }
    fn reset(&mut self, at: usize) {
        self.values[at] = None;
    }
    fn clear(&mut self) {
        self.values.clear();
    }
    fn width(&self) -> usize {
        size_of::<Option<SmallBytes>>()
    }
    fn heap(&self) -> Option<&dyn Heap> {
        Some(self)
    }
}

impl Heap for Edges {
    fn bytes(&self, at: usize) -> usize {
        self.values[at].as_ref().map_or(0, SmallBytes::heap)
    }
}
