//! Emits every row once per grouping set, for GROUPING SETS, ROLLUP and CUBE.

use arrow::array::{Array, ArrayRef, Int32Array, new_null_array};
use std::sync::Arc;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::{Batch, Result, Schema};

/// Creates expansions.
#[derive(Clone)]
pub struct ExpandFactory {
    /// The key columns that each set keeps.
    pub sets: Vec<Vec<usize>>,
    /// All key columns.
    pub keys: Vec<usize>,
    /// The columns of the output: the input's columns, then the number of the set.
    pub schema: Schema,
}

impl OperatorFactory for ExpandFactory {
    fn open(&self, _context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for ExpandFactory {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        for (number, set) in self.sets.iter().enumerate() {
            let mut columns: Vec<ArrayRef> = batch
                .data
                .columns()
                .iter()
                .enumerate()
                .map(|(i, c)| match self.keys.contains(&i) && !set.contains(&i) {
                    true => new_null_array(c.data_type(), c.len()),
                    false => c.clone(),
                })
                .collect();
            columns.push(Arc::new(Int32Array::from(vec![number as i32; batch.rows()])));
            // Only the first copy keeps its origin, so that a row is reported as late only once.
            let origins = batch.origins.clone().filter(|_| number == 0);
            let made = Batch::from_columns(self.schema.arrow(), columns, batch.rows())?;
            out.emit(made.with_kinds(batch.kinds.clone()).with_origins(origins));
        }
        Ok(())
    }
}
