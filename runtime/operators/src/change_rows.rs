//! Collects the output rows, with their kinds, of operators that emit changelogs.

use weir_core::graph::Collector;
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Schema};

/// Approximate maximum number of rows in a batch.
pub(crate) const MOST_ROWS: usize = 8192;

/// Changes that are collected for a batch.
pub(crate) struct ChangeRows {
    schema: Schema,
    builders: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
}

impl ChangeRows {
    /// Starts without rows, with these columns.
    pub fn new(schema: Schema) -> ChangeRows {
        ChangeRows { builders: builders(&schema), kinds: vec![], schema }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Starts a row of this kind. The caller must push its values to the returned builders.
    pub fn row(&mut self, kind: RowKind) -> &mut [ColumnBuilder] {
        self.kinds.push(kind as i8);
        &mut self.builders
    }

    /// Emits the rows if they are as many as a batch should have.
    ///
    /// # Errors
    /// Those of [`ChangeRows::take`].
    pub fn make_room(&mut self, out: &mut Collector) -> Result<()> {
        if self.len() >= MOST_ROWS {
            out.emit(self.take()?);
        }
        Ok(())
    }

    /// Takes all rows out.
    ///
    /// # Errors
    /// An internal error if the builders did not receive exactly one value for each row.
    pub fn take(&mut self) -> Result<Batch> {
        let kinds = std::mem::take(&mut self.kinds);
        let filled = std::mem::replace(&mut self.builders, builders(&self.schema));
        let columns = filled.into_iter().map(ColumnBuilder::finish).collect();
        Ok(Batch::from_columns(self.schema.arrow(), columns, kinds.len())?.with_changes(kinds))
    }
}

fn builders(schema: &Schema) -> Vec<ColumnBuilder> {
    schema.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect()
}
