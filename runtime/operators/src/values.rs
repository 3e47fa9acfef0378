//! Constant rows as a source.

use std::sync::Arc;
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::{Batch, Result, Schema, value};
use weir_expr::eval::constant;
use weir_expr::{Expr, Session};

/// Makes the source of VALUES; its first subtask gives all rows.
pub struct ValuesFactory {
    /// The rows.
    pub rows: Vec<Vec<Expr>>,
    /// Their columns.
    pub schema: Schema,
    /// The session.
    pub session: Arc<Session>,
}

const DONE: &[u8] = &[0, 0, b'd'];

impl SourceFactory for ValuesFactory {
    fn start(&self, _state: &StateHandle, _parallelism: usize) -> Result<()> {
        Ok(())
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let done = context.subtask != 0 || context.state.get_many(&[DONE])?[0].is_some();
        let mut batch = None;
        if !done {
            let rows = self
                .rows
                .iter()
                .map(|r| r.iter().map(|e| constant(e, &self.session)).collect::<Result<Vec<_>>>())
                .collect::<Result<Vec<_>>>()?;
            let columns = self
                .schema
                .fields
                .iter()
                .enumerate()
                .map(|(i, f)| value::column(&f.ty.arrow(), rows.iter().map(|r| r[i].clone())));
            batch = Some(Batch::from_columns(self.schema.arrow(), columns.collect(), rows.len())?);
        }
        Ok(Box::new(Values { batch, given: false }))
    }
}

struct Values {
    batch: Option<Batch>,
    given: bool,
}

impl Source for Values {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        if let Some(b) = self.batch.take() {
            out.emit(b);
            self.given = true;
        }
        Ok(Polled::End)
    }
    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        if std::mem::take(&mut self.given) {
            changes.set(DONE, &[1]);
        }
        Ok(changes)
    }
}
