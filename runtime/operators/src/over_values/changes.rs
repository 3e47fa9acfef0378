//! The output rows of a batch.

use crate::change_rows::ChangeRows;
use arrow::datatypes::DataType;
use weir_core::graph::Collector;
use weir_core::key::decode_row;
use weir_core::{Result, RowKind, Schema, Value};

/// Deleted, updated and inserted rows. Deletions are emitted first: a row that has moved is deleted at one place and inserted at another
/// one, and downstream operators that store rows by key must see it in this order.
pub(super) struct Changes {
    gone: ChangeRows,
    updated: ChangeRows,
    come: ChangeRows,
    /// Whether the old row of an update is emitted too.
    update_before: bool,
}

/// An encoded row with the types of its columns.
pub(super) struct Packed<'a> {
    pub types: &'a [DataType],
    pub row: &'a [u8],
}

fn push(rows: &mut ChangeRows, kind: RowKind, packed: &Packed<'_>, results: &[Value<'_>]) -> Result<()> {
    let (columns, of_results) = rows.row(kind).split_at_mut(packed.types.len());
    of_results.iter_mut().zip(results).for_each(|(builder, value)| builder.push(value));
    decode_row(packed.types, packed.row, columns)
}

impl Changes {
    /// Starts without rows, with these columns.
    pub fn new(schema: &Schema, update_before: bool) -> Changes {
        let rows = || ChangeRows::new(schema.clone());
        Changes { gone: rows(), updated: rows(), come: rows(), update_before }
    }

    /// Adds an inserted row with its results.
    ///
    /// # Errors
    /// If a row in the state is corrupt. The same holds for the methods below.
    pub fn come(&mut self, row: &Packed<'_>, results: &[Value<'_>]) -> Result<()> {
        push(&mut self.come, RowKind::Insert, row, results)
    }

    /// Adds a deleted row with its former results.
    pub fn gone(&mut self, row: &Packed<'_>, results: &[Value<'_>]) -> Result<()> {
        push(&mut self.gone, RowKind::Delete, row, results)
    }

    /// Adds a row whose results have changed.
    pub fn updated(&mut self, row: &Packed<'_>, old: &[Value<'_>], new: &[Value<'_>]) -> Result<()> {
        if self.update_before {
            push(&mut self.updated, RowKind::UpdateBefore, row, old)?;
        }
        push(&mut self.updated, RowKind::UpdateAfter, row, new)
    }

    /// Emits the updates if there are many.
    pub fn make_room(&mut self, out: &mut Collector) -> Result<()> {
        self.updated.make_room(out)
    }

    /// Emits all remaining rows.
    pub fn finish(mut self, out: &mut Collector) -> Result<()> {
        for rows in [&mut self.gone, &mut self.updated, &mut self.come] {
            if rows.len() > 0 {
                out.emit(rows.take()?);
            }
        }
        Ok(())
    }
}
