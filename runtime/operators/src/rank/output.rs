//! The rows that a batch gives out: how the first rows of its partitions have changed.

use super::RankFactory;
use super::top::Entry;
use arrow::array::Int8Array;
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use std::sync::Arc;
use weir_core::graph::Collector;
use weir_core::key::decode_into;
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Schema, Value};

/// Rows that a batch has at most, about.
const MOST_ROWS: usize = 8192;

pub(super) struct RowsOut {
    plan: Arc<RankFactory>,
    schema: Schema,
    types: Vec<DataType>,
    builders: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
}

impl RowsOut {
    pub fn new(plan: &Arc<RankFactory>) -> RowsOut {
        let schema = plan.output();
        RowsOut {
            plan: plan.clone(),
            types: plan.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            builders: builders(&schema),
            schema,
            kinds: vec![],
        }
    }

    /// Gives out how the rows of the range differ.
    ///
    /// # Errors
    /// When a row in the state is damaged.
    pub fn changed(&mut self, old: &[Entry], new: &[Entry], out: &mut Collector) -> Result<()> {
        let range = self.plan.range();
        let cut = |rows: &[Entry]| rows[range.start.min(rows.len())..range.end.min(rows.len())].to_vec();
        let (old, new) = (cut(old), cut(new));
        // Where one rank is all that there is, its row changes; without the rank, rows come and go.
        if self.plan.number || range.len() == 1 {
            self.by_rank(&old, &new, range.start)?;
        } else {
            self.by_row(&old, &new)?;
        }
        if self.kinds.len() >= MOST_ROWS { self.send(out) } else { Ok(()) }
    }

    fn by_rank(&mut self, old: &[Entry], new: &[Entry], before: usize) -> Result<()> {
        for at in 0..old.len().max(new.len()) {
            let rank = (before + at + 1) as i64;
            match (old.get(at), new.get(at)) {
                (Some(a), Some(b)) if a.row() == b.row() => {}
                (Some(a), Some(b)) => {
                    self.push(RowKind::UpdateBefore, a, rank)?;
                    self.push(RowKind::UpdateAfter, b, rank)?;
                }
                (Some(a), None) => self.push(RowKind::Delete, a, rank)?,
                (None, Some(b)) => self.push(RowKind::Insert, b, rank)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn by_row(&mut self, old: &[Entry], new: &[Entry]) -> Result<()> {
        let mut more: HashMap<&[u8], i64, ahash::RandomState> = HashMap::default();
        new.iter().for_each(|e| *more.entry(e.row()).or_default() += 1);
        old.iter().for_each(|e| *more.entry(e.row()).or_default() -= 1);
        for e in old {
            if let Some(n) = more.get_mut(e.row()).filter(|n| **n < 0) {
                *n += 1;
                self.push(RowKind::Delete, e, 0)?;
            }
        }
        for e in new {
            if let Some(n) = more.get_mut(e.row()).filter(|n| **n > 0) {
                *n -= 1;
                self.push(RowKind::Insert, e, 0)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, kind: RowKind, entry: &Entry, rank: i64) -> Result<()> {
        self.kinds.push(kind as i8);
        let mut row = entry.row();
        let (columns, number) = self.builders.split_at_mut(self.types.len());
        for (ty, b) in self.types.iter().zip(columns) {
            decode_into(ty, &mut row, b)?;
        }
        number.iter_mut().for_each(|b| b.push(&Value::Int(rank)));
        Ok(())
    }

    /// Sends what is there.
    pub fn finish(mut self, out: &mut Collector) -> Result<()> {
        self.send(out)
    }

    fn send(&mut self, out: &mut Collector) -> Result<()> {
        let kinds = std::mem::take(&mut self.kinds);
        let inserts = kinds.iter().all(|k| *k == 0);
        let filled = std::mem::replace(&mut self.builders, builders(&self.schema));
        let columns = filled.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.schema.arrow(), columns, kinds.len())?;
        out.emit(batch.with_kinds((!inserts).then(|| Int8Array::from(kinds))));
        Ok(())
    }
}

fn builders(schema: &Schema) -> Vec<ColumnBuilder> {
    schema.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect()
}
