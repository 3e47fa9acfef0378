//! The output rows of a batch: how the first rows of its partitions have changed.

use super::top::Entry;
use super::{RankFactory, with_rank};
use crate::change_rows::ChangeRows;
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use std::sync::Arc;
use weir_core::graph::Collector;
use weir_core::key::decode_row;
use weir_core::{Result, RowKind, Value};

pub(super) struct RowsOut {
    plan: Arc<RankFactory>,
    types: Vec<DataType>,
    rows: ChangeRows,
}

impl RowsOut {
    pub fn new(plan: &Arc<RankFactory>) -> RowsOut {
        RowsOut {
            plan: plan.clone(),
            types: plan.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            rows: ChangeRows::new(with_rank(&plan.schema, plan.number)),
        }
    }

    /// Adds how the rows of the range differ.
    ///
    /// # Errors
    /// If a row in the state is corrupt.
    pub fn changed(&mut self, old: &[Entry], new: &[Entry], out: &mut Collector) -> Result<()> {
        let range = self.plan.range();
        let cut = |rows: &[Entry]| range.start.min(rows.len())..range.end.min(rows.len());
        let (old, new) = (&old[cut(old)], &new[cut(new)]);
        // For a single rank, its row is updated. Otherwise, without the rank column, rows are inserted and deleted.
        if self.plan.number || range.len() == 1 {
            self.by_rank(old, new, range.start)?;
        } else {
            self.by_row(old, new)?;
        }
        self.rows.make_room(out)
    }

    fn by_rank(&mut self, old: &[Entry], new: &[Entry], before: usize) -> Result<()> {
        for at in 0..old.len().max(new.len()) {
            let rank = (before + at + 1) as i64;
            match (old.get(at), new.get(at)) {
                (Some(a), Some(b)) if a.row() == b.row() => {}
                (Some(a), Some(b)) => {
                    if self.plan.update_before {
                        self.push(RowKind::UpdateBefore, a, rank)?;
                    }
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
        push_ranked(&mut self.rows, kind, &self.types, entry.row(), rank)
    }

    /// Emits the remaining rows.
    pub fn finish(mut self, out: &mut Collector) -> Result<()> {
        out.emit(self.rows.take()?);
        Ok(())
    }
}

/// Adds an encoded row of these types, and its rank if there is a column for it.
///
/// # Errors
/// If the row is corrupt.
pub(crate) fn push_ranked(
    rows: &mut ChangeRows,
    kind: RowKind,
    types: &[DataType],
    row: &[u8],
    rank: i64,
) -> Result<()> {
    let (columns, number) = rows.row(kind).split_at_mut(types.len());
    number.iter_mut().for_each(|b| b.push(&Value::Int(rank)));
    decode_row(types, row, columns)
}
