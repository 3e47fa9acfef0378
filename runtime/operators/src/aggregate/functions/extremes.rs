//! MIN and MAX, where rows only come.

use super::{Accumulators, Heap, Rows, Typed, stored};
use arrow::array::Array;
use weir_core::keyed::{Slab, SmallBytes};
use weir_core::{Error, Result, Value};
use weir_expr::aggregate::Aggregate;

/// The least or greatest value of each group, encoded: in that form values sort as they are.
pub(super) struct Extremes {
    greatest: bool,
    of: Typed,
    values: Slab<Option<SmallBytes>>,
}

impl Extremes {
    pub fn new(of: Typed) -> Extremes {
        Extremes { greatest: of.call.function == Aggregate::Max, of, values: Slab::default() }
    }

    fn take(&mut self, at: usize, value: &[u8]) {
        let old = &mut self.values[at];
        if old.as_deref().is_none_or(|old| if self.greatest { value > old } else { value < old }) {
            *old = Some(SmallBytes::from(value));
        }
    }
}

impl Accumulators for Extremes {
    fn grow(&mut self, places: usize) {
        self.values.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let nulls = rows.arg(0)?.logical_nulls();
        let mut value = vec![];
        rows.try_each(nulls.as_ref(), |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal("a row goes from a MIN or MAX of rows that only come"));
            }
            rows.encode(row, &mut value);
            self.take(at, &value);
            Ok(())
        })
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states) {
            if let Some(value) = stored::maybe(from)? {
                self.take(*at as usize, value);
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

impl Heap for Extremes {
    fn bytes(&self, at: usize) -> usize {
        self.values[at].as_ref().map_or(0, SmallBytes::heap)
    }
}
