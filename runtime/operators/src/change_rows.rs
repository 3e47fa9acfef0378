//! Rows with kinds, in the making: what an operator gives out that keeps rows and says how they have changed.

use weir_core::graph::Collector;
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Schema};

/// Rows that a batch has at most, about.
pub(crate) const MOST_ROWS: usize = 8192;

/// Changes that become a batch.
pub(crate) struct ChangeRows {
    schema: Schema,
    builders: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
}

impl ChangeRows {
    /// None, of these columns.
    pub fn new(schema: Schema) -> ChangeRows {
        ChangeRows { builders: builders(&schema), kinds: vec![], schema }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// One more row of a kind. Its values are for the caller to push into the builders.
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
    /// When the builders were not all given one value for each row: a mistake of Weir's own.
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
