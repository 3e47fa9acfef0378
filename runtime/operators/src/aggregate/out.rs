//! The rows that a batch gives out: how its groups changed.

use super::{AggregateFactory, AggregateOperator, Group};
use arrow::array::Int8Array;
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_core::graph::Collector;
use weir_core::key::decode_into;
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Value};

pub(super) struct RowsOut {
    plan: Arc<AggregateFactory>,
    key_types: Arc<[DataType]>,
    builders: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
    /// Whether the group at hand had a result, and which, before the batch; its result now.
    was_there: bool,
    old: Vec<Value<'static>>,
    new: Vec<Value<'static>>,
}

impl RowsOut {
    pub fn new(of: &AggregateOperator) -> RowsOut {
        RowsOut {
            plan: of.plan.clone(),
            key_types: of.key_types.clone(),
            builders: of.plan.schema.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect(),
            kinds: vec![],
            was_there: false,
            old: vec![],
            new: vec![],
        }
    }

    /// Notes what a group gives before it changes.
    pub fn before(&mut self, g: &Group) {
        self.was_there = g.rows > 0;
        results(&self.plan, g, &mut self.old);
    }

    /// Gives out how a group changed since [`RowsOut::before`], which was not told of a new one.
    pub fn after(&mut self, key: &[u8], g: &Group) -> Result<()> {
        results(&self.plan, g, &mut self.new);
        match (std::mem::take(&mut self.was_there), g.rows > 0) {
            (false, true) => self.push(RowKind::Insert, key),
            (true, false) => self.push(RowKind::Delete, key),
            (true, true) if self.old != self.new || self.plan.refreshes() => {
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
        let values = if kind.sign() < 0 { &self.old } else { &self.new };
        values.iter().zip(results).for_each(|(v, b)| b.push(v));
        Ok(())
    }

    /// Sends the rows on; gives how many there are.
    pub fn finish(self, out: &mut Collector) -> Result<usize> {
        let (rows, inserts) = (self.kinds.len(), self.kinds.iter().all(|k| *k == 0));
        let columns = self.builders.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.plan.schema.arrow(), columns, rows)?;
        out.emit(batch.with_kinds((!inserts).then(|| Int8Array::from(self.kinds))));
        Ok(rows)
    }
}

fn results(plan: &AggregateFactory, g: &Group, into: &mut Vec<Value<'static>>) {
    into.clear();
    if g.rows > 0 {
        into.extend(g.accumulators.iter().zip(&plan.calls).map(|(a, c)| a.result(c, &plan.input)));
    }
}
