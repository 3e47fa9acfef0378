//! Constant rows as a source.

use std::sync::Arc;
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::stored::{self, Reader, Stored};
use weir_core::{Batch, Field, Result, Schema, builder};
use weir_expr::eval::constant;
use weir_expr::{Expr, Session};

/// Creates the source of VALUES. Its first subtask emits all rows.
pub struct ValuesFactory {
    /// The rows.
    pub rows: Vec<Vec<Expr>>,
    /// The columns of the rows.
    pub schema: Schema,
    /// The session.
    pub session: Arc<Session>,
}

/// The state key of the number of rows that were emitted.
const GIVEN: &[u8] = &[0, 0, b'g'];

/// The number of rows that were emitted.
struct Given(u64);

impl Stored for Given {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "how many rows of VALUES were given";
    fn write(&self, out: &mut Vec<u8>) {
        stored::put(out, self.0);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.number().map(Given)
    }
}

impl SourceFactory for ValuesFactory {
    fn start(&self, _state: &StateHandle, _parallelism: usize) -> Result<()> {
        Ok(())
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let given = context.state.get_many(&[GIVEN])?.pop().flatten();
        let Given(given) = given.map_or(Ok(Given(0)), |v| stored::decode(&v))?;
        let given = given as usize;
        let mine = context.subtask == 0 && given < self.rows.len();
        let rows = if mine { &self.rows[..] } else { &[] };
        let rows = rows
            .iter()
            .map(|r| r.iter().map(|e| constant(e, &self.session)).collect::<Result<Vec<_>>>())
            .collect::<Result<Vec<_>>>()?;
        let column = |(i, f): (usize, &Field)| builder::column(&f.ty.arrow(), rows.iter().map(|r| r[i].clone()));
        let columns = self.schema.fields.iter().enumerate().map(column).collect();
        let batch = Batch::from_columns(self.schema.arrow(), columns, rows.len())?;
        Ok(Box::new(Values { batch, given, moved: false, at_once: context.batch_rows }))
    }
}

struct Values {
    batch: Batch,
    given: usize,
    moved: bool,
    at_once: usize,
}

impl Source for Values {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let rows = self.at_once.min(self.batch.rows().saturating_sub(self.given));
        if rows > 0 {
            out.emit(Batch::append(self.batch.data.slice(self.given, rows)));
            (self.given, self.moved) = (self.given + rows, true);
        }
        Ok(if self.given < self.batch.rows() { Polled::More } else { Polled::End })
    }
    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        if std::mem::take(&mut self.moved) {
            changes.set(GIVEN, &stored::encode(&Given(self.given as u64)));
        }
        Ok(changes)
    }
}
