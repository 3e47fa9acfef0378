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
    old: Vec<Value<'static>>,
    new: Vec<Value<'static>>,
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
            old: vec![],
            new: vec![],
        }
    }

    /// Notes what a group gives before it changes.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn before(&mut self, g: &Group) -> Result<()> {
        self.was_there = g.rows > 0;
        results(&self.plan, g, &mut self.old)
    }

    /// Gives out how a group changed since [`RowsOut::before`], which was not told of a new one. Rows go on before they are more
    /// than a batch can hold.
    ///
    /// # Errors
    /// When a result is larger than a value may be.
    pub fn after(&mut self, key: &[u8], g: &Group, out: &mut Collector) -> Result<()> {
        results(&self.plan, g, &mut self.new)?;
        let more: usize = self.old.iter().chain(&self.new).map(size::of).sum();
        if self.bytes + more > size::MOST_OF_BATCH {
            self.send(out)?;
        }
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
        self.bytes += values.iter().map(size::of).sum::<usize>();
        values.iter().zip(results).for_each(|(v, b)| b.push(v));
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

fn results(plan: &AggregateFactory, g: &Group, into: &mut Vec<Value<'static>>) -> Result<()> {
    into.clear();
    if g.rows > 0 {
        for (a, c) in g.accumulators.iter().zip(&plan.calls) {
            let value = a.result(c, &plan.input).and_then(|v| size::fits(size::of(&v)).map(|()| v));
            into.push(value.map_err(|why| {
                let e = Error::data(format!("{}: {why}", c.function.name()));
                e.hint("a group that is as large as that belongs into more than one: group by more, or filter")
            })?);
        }
    }
    Ok(())
}
