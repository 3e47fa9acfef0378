//! LAG: the value of the row at an offset before the current one. It is only allowed in OVER, with an append-only input.

use super::{Function, Rows, Typed, stored};
use arrow::array::ArrayRef;
use std::collections::VecDeque;
use weir_core::key::{decode_value, encode_value};
use weir_core::keyed::{Slab, SmallBytes};
use weir_core::{Error, Result, Value};
use weir_expr::aggregate::Aggregate;

/// The last values of a group, encoded, the oldest first, and the default of the last row.
#[derive(Default)]
pub(super) struct Last {
    values: VecDeque<SmallBytes>,
    default: Option<SmallBytes>,
}

/// The last values of each group.
pub(super) struct Lag {
    /// How many values are kept.
    most: usize,
    of: Typed,
}

impl Lag {
    pub fn new(of: Typed) -> Result<Lag> {
        let Aggregate::Lag { offset } = of.call.function else { return Err(of.unfit()) };
        Ok(Lag { most: usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(1), of })
    }

    fn push(&self, group: &mut Last, value: SmallBytes) {
        group.values.push_back(value);
        if group.values.len() > self.most {
            group.values.pop_front();
        }
    }
}

fn encoded(column: &ArrayRef, row: usize) -> SmallBytes {
    let mut out = vec![];
    encode_value(&Value::read(column, row), column.data_type(), &mut out);
    SmallBytes::from(out.as_slice())
}

impl Function for Lag {
    type Accumulator = Last;
    const HAS_HEAP: bool = true;

    fn update(&self, groups: &mut Slab<Last>, rows: &Rows<'_>) -> Result<()> {
        let (values, default) = (rows.arg(0)?, rows.args.get(1));
        rows.try_each(None, |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal("a row goes from LAG"));
            }
            self.push(&mut groups[at], encoded(values, row));
            groups[at].default = default.map(|d| encoded(d, row));
            Ok(())
        })
    }
    fn merge(&self, into: &mut Last, from: &Last) {
        from.values.iter().for_each(|v| self.push(into, SmallBytes::from(&**v)));
        if let Some(default) = from.default.as_deref() {
            into.default = Some(SmallBytes::from(default));
        }
    }
    fn encode(&self, group: &Last, out: &mut Vec<u8>) {
        stored::put_maybe(out, group.default.as_deref());
        stored::put_long(out, group.values.len() as i64);
        group.values.iter().for_each(|v| stored::put_bytes(out, v));
    }
    fn merge_stored(&self, into: &mut Last, from: &mut &[u8]) -> Result<()> {
        if let Some(default) = stored::maybe(from)? {
            into.default = Some(SmallBytes::from(default));
        }
        for _ in 0..stored::long(from)? {
            self.push(into, SmallBytes::from(stored::bytes(from)?));
        }
        Ok(())
    }
    fn result(&self, group: &Last) -> Result<Value<'static>> {
        let (value, column) = match (group.values.len() == self.most, &group.default) {
            (true, _) => (group.values.front(), 0),
            (false, default) => (default.as_ref(), 1),
        };
        let Some(value) = value else { return Ok(Value::Null) };
        decode_value(self.of.columns.get(column).ok_or_else(|| self.of.unfit())?, &mut &value[..])
    }
    fn heap(&self, group: &Last) -> usize {
        let values = group.values.iter().map(|v| size_of::<SmallBytes>() + v.heap()).sum::<usize>();
        values + group.default.as_ref().map_or(0, SmallBytes::heap)
    }
}
