//! RANK and DENSE_RANK ordered by time. They are only allowed in OVER, with an append-only input in which rows of the same time arrive
//! together.

use super::{Function, Rows, Typed, stored};
use weir_core::keyed::{Slab, SmallBytes};
use weir_core::{Error, Result, Value};
use weir_expr::aggregate::Aggregate;

/// The accumulator of a group: the number of rows, and the rank and the encoded time of the last row.
#[derive(Default)]
pub(super) struct Last {
    rows: i64,
    rank: i64,
    time: Option<SmallBytes>,
}

/// The rank of the last row of each group.
pub(super) struct Ranks {
    dense: bool,
}

impl Ranks {
    pub fn new(of: &Typed) -> Result<Ranks> {
        let Aggregate::Rank { dense } = of.call.function else { return Err(of.unfit()) };
        Ok(Ranks { dense })
    }
}

impl Function for Ranks {
    type Accumulator = Last;
    const HAS_HEAP: bool = true;

    fn update(&self, groups: &mut Slab<Last>, rows: &Rows<'_>) -> Result<()> {
        let mut time = vec![];
        rows.try_each(None, |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal("a row goes from RANK"));
            }
            let group = &mut groups[at];
            group.rows += 1;
            rows.encode(row, &mut time);
            if group.time.as_deref() != Some(time.as_slice()) {
                group.rank = if self.dense { group.rank + 1 } else { group.rows };
                group.time = Some(SmallBytes::from(time.as_slice()));
            }
            Ok(())
        })
    }
    /// The rows of `from` must begin with a time that `into` does not have, as those of a later part of a partition do.
    fn merge(&self, into: &mut Last, from: &Last) {
        if from.rows > 0 {
            into.rank = if self.dense { into.rank } else { into.rows } + from.rank;
            into.rows += from.rows;
            into.time = from.time.as_deref().map(SmallBytes::from);
        }
    }
    fn encode(&self, group: &Last, out: &mut Vec<u8>) {
        stored::put_long(out, group.rows);
        stored::put_long(out, group.rank);
        stored::put_maybe(out, group.time.as_deref());
    }
    fn merge_stored(&self, into: &mut Last, from: &mut &[u8]) -> Result<()> {
        let (rows, rank) = (stored::long(from)?, stored::long(from)?);
        let time = stored::maybe(from)?.map(SmallBytes::from);
        self.merge(into, &Last { rows, rank, time });
        Ok(())
    }
    fn result(&self, group: &Last) -> Result<Value<'static>> {
        Ok(Value::Int(group.rank))
    }
    fn heap(&self, group: &Last) -> usize {
        group.time.as_ref().map_or(0, SmallBytes::heap)
    }
}
