//! COUNT.

use super::{Function, Rows, stored};
use arrow::array::Array;
use weir_core::keyed::Slab;
use weir_core::{Result, Value};

/// The number of rows, or of rows whose argument is not NULL.
pub(super) struct Count {
    of_rows: bool,
}

impl Count {
    /// `of_rows`: whether it is COUNT(*).
    pub fn new(of_rows: bool) -> Count {
        Count { of_rows }
    }
}

impl Function for Count {
    type Accumulator = i64;

    fn update(&self, counts: &mut Slab<i64>, rows: &Rows<'_>) -> Result<()> {
        let nulls = if self.of_rows { None } else { rows.arg(0)?.logical_nulls() };
        rows.each(nulls.as_ref(), |_, at, sign| counts[at] += sign);
        Ok(())
    }
    fn merge(&self, into: &mut i64, from: &i64) {
        *into += from;
    }
    fn encode(&self, count: &i64, out: &mut Vec<u8>) {
        stored::put_long(out, *count);
    }
    fn merge_stored(&self, into: &mut i64, from: &mut &[u8]) -> Result<()> {
        *into += stored::long(from)?;
        Ok(())
    }
    fn result(&self, count: &i64) -> Result<Value<'static>> {
        Ok(Value::Int(*count))
    }
}
