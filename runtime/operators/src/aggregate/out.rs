//! The rows that a batch gives out: how its groups changed.

use super::{AggregateFactory, AggregateOperator, Group};
use arrow::array::Int8Array;
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_core::graph::Collector;
use weir_core::key::decode_into;
use weir_core::{Batch, ColumnBuilder, Error, Result, RowKind, Value};
use weir_expr::functions::size;

pub(super) struct RowsOut {
    plan: Arc<AggregateFactory>,
    key_types: Arc<[DataType]>,
    builders: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
    /// Bytes of the results in `builders`, and the rows that went out before these.
    bytes: usize,
    sent: usize,
    /// Whether the group at hand had a result, and which, before the batch; its result now.
    was_there: bool,
    old: Results,
    new: Results,
}

impl RowsOut {
    pub fn new(of: &AggregateOperator) -> RowsOut {
        RowsOut {
            plan: of.plan.clone(),
            key_types: of.key_types.clone(),
            builders: builders(&of.plan),
            kinds: vec![],
            bytes: 0,
            sent: 0,
            was_there: false,
            old: Results::default(),
            new: Results::default(),
        }
    }

    /// Notes what a group gives before it changes.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn before(&mut self, g: &Group) -> Result<()> {
        self.was_there = g.rows > 0;
        self.old.read(&self.plan, g)
    }

    /// Gives out how a group changed since [`RowsOut::before`], which was not told of a new one. Rows go on before they are more
    /// than a batch can hold.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn after(&mut self, key: &[u8], g: &Group, out: &mut Collector) -> Result<()> {
        self.new.read(&self.plan, g)?;
        if self.bytes + self.old.bytes + self.new.bytes > size::MOST_OF_BATCH {
            self.send(out)?;
        }
        match (std::mem::take(&mut self.was_there), g.rows > 0) {
            (false, true) => self.push(RowKind::Insert, key),
            (true, false) => self.push(RowKind::Delete, key),
            (true, true) if self.old.values != self.new.values || self.plan.refreshes() => {
                self.push(RowKind::UpdateBefore, key)?;
                self.push(RowKind::UpdateAfter, key)
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, kind: RowKind, mut key: &[u8]) -> Result<()> {
        self.kinds.push(kind as i8);
        let (keys, results) = self.builders.split_at_mut(self.key_types.len());
        for (ty, b) in self.key_types.iter().zip(keys) {
            decode_into(ty, &mut key, b)?;
        }
        let given = if kind.sign() < 0 { &self.old } else { &self.new };
        self.bytes += given.bytes;
        given.values.iter().zip(results).for_each(|(v, b)| b.push(v));
        Ok(())
    }

    /// Sends the rows on; gives how many there were in all.
    pub fn finish(mut self, out: &mut Collector) -> Result<usize> {
        self.send(out)?;
        Ok(self.sent)
    }

    fn send(&mut self, out: &mut Collector) -> Result<()> {
        let kinds = std::mem::take(&mut self.kinds);
        let (rows, inserts) = (kinds.len(), kinds.iter().all(|k| *k == 0));
        let filled = std::mem::replace(&mut self.builders, builders(&self.plan));
        let columns = filled.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.plan.schema.arrow(), columns, rows)?;
        out.emit(batch.with_kinds((!inserts).then(|| Int8Array::from(kinds))));
        self.bytes = 0;
        self.sent += rows;
        Ok(())
    }
}

fn builders(plan: &AggregateFactory) -> Vec<ColumnBuilder> {
    plan.schema.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect()
}

/// What a group gives.
#[derive(Default)]
struct Results {
    values: Vec<Value<'static>>,
    /// What they take in their columns.
    bytes: usize,
}

impl Results {
    /// Takes the results of a group in the place of those before; a group without rows has none.
    fn read(&mut self, plan: &AggregateFactory, g: &Group) -> Result<()> {
        self.values.clear();
        self.bytes = 0;
        if g.rows > 0 {
            for (a, c) in g.accumulators.iter().zip(&plan.calls) {
                let refused = |why: String| {
                    let e = Error::data(format!("{}: {why}", c.function.name()));
                    e.hint("a group that is as large as that belongs into more than one: group by more, or filter")
                };
                let value = a.result(c, &plan.input).map_err(refused)?;
                let bytes = size::of(&value);
                size::fits(bytes).map_err(refused)?;
                self.bytes += bytes;
                self.values.push(value);
            }
        }
        Ok(())
    }
}
