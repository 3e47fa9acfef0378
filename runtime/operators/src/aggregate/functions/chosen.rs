//! MIN, MAX, FIRST_VALUE and LAST_VALUE over an append-only input: one value of each group.

use super::{Function, Rows, Typed, stored};
use arrow::array::Array;
use weir_core::keyed::{Slab, SmallBytes};
use weir_core::{Error, Result, Value};

/// Which value a group keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Least,
    Greatest,
    First,
    Last,
}

/// Keeps one value of each group in encoded form, in which values sort correctly.
pub(super) struct Chosen {
    which: Which,
    of: Typed,
}

impl Chosen {
    pub fn new(which: Which, of: Typed) -> Chosen {
        Chosen { which, of }
    }

    fn take(&self, group: &mut Option<SmallBytes>, value: &[u8]) {
        let better = group.as_deref().is_none_or(|old| match self.which {
            Which::Least => value < old,
            Which::Greatest => value > old,
            Which::First => false,
            Which::Last => true,
        });
        if better {
            *group = Some(SmallBytes::from(value));
        }
    }
}

impl Function for Chosen {
    type Accumulator = Option<SmallBytes>;
    const HAS_HEAP: bool = true;

    fn update(&self, groups: &mut Slab<Option<SmallBytes>>, rows: &Rows<'_>) -> Result<()> {
        let nulls = rows.arg(0)?.logical_nulls();
        let mut value = vec![];
        rows.try_each(nulls.as_ref(), |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal(format!("a row goes from the {:?} of rows that only come", self.which)));
            }
            let group = &mut groups[at];
            if self.which != Which::First || group.is_none() {
                rows.encode(row, &mut value);
                self.take(group, &value);
            }
            Ok(())
        })
    }
    fn merge(&self, into: &mut Option<SmallBytes>, from: &Option<SmallBytes>) {
        if let Some(value) = from {
            self.take(into, value);
        }
    }
    fn encode(&self, group: &Option<SmallBytes>, out: &mut Vec<u8>) {
        stored::put_maybe(out, group.as_deref());
    }
    fn merge_stored(&self, into: &mut Option<SmallBytes>, from: &mut &[u8]) -> Result<()> {
        if let Some(value) = stored::maybe(from)? {
            self.take(into, value);
        }
        Ok(())
    }
    fn result(&self, group: &Option<SmallBytes>) -> Result<Value<'static>> {
        group.as_deref().map_or(Ok(Value::Null), |v| self.of.decode(v))
    }
    fn heap(&self, group: &Option<SmallBytes>) -> usize {
        group.as_ref().map_or(0, SmallBytes::heap)
    }
}
