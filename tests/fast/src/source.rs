//! A source that follows a script. How far it is is state, so that it goes on there after a failure.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_core::builder::column;
use weir_core::clock::{Clock, ManualClock};
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, RowKind, Schema, Value};

/// A row with its kind of change.
pub type Row = (RowKind, Vec<Value<'static>>);

/// A row that comes.
pub fn insert(values: impl IntoIterator<Item = Value<'static>>) -> Row {
    (RowKind::Insert, values.into_iter().collect())
}

/// A row that goes.
pub fn delete(values: impl IntoIterator<Item = Value<'static>>) -> Row {
    (RowKind::Delete, values.into_iter().collect())
}

/// A row that takes the place of another with its key.
pub fn update(values: impl IntoIterator<Item = Value<'static>>) -> Row {
    (RowKind::UpdateAfter, values.into_iter().collect())
}

/// What a source does next.
#[derive(Clone)]
pub enum Step {
    /// Gives out rows, as one batch.
    Rows(Vec<Row>),
    /// Gives out nothing more until an epoch was taken.
    Epoch,
    /// Fails as if something outside were away, the first time that it comes here.
    Outage,
    /// Turns the clock on by so many milliseconds, the first time that it comes here, once all rows before it have been processed.
    Later(i64),
}

/// Makes the one subtask that follows a script.
pub(crate) struct Scripted {
    pub steps: Vec<Step>,
    /// The columns that are read, and their places in the rows of the script.
    pub schema: Schema,
    pub columns: Vec<usize>,
    pub clock: Arc<ManualClock>,
    /// Steps that are done only once.
    pub done: Arc<Mutex<BTreeSet<usize>>>,
}

/// Where the state has the next step.
const NEXT: &[u8] = &[0, 0, b'n'];

impl SourceFactory for Scripted {
    fn start(&self, _state: &StateHandle, _parallelism: usize) -> Result<()> {
        Ok(())
    }
    fn partitions(&self) -> Option<usize> {
        Some(1)
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let next = context.state.get_many(&[NEXT])?.pop().flatten();
        let next = next.map_or(Ok(0), |v| v.as_slice().try_into().map(u64::from_be_bytes));
        let next = next.map_err(|_| Error::state("the place in the script is damaged"))? as usize;
        let steps = if context.subtask == 0 { self.steps.clone() } else { vec![] };
        let (schema, columns) = (self.schema.clone(), self.columns.clone());
        let (clock, done) = (self.clock.clone(), self.done.clone());
        let first = context.subtask == 0;
        Ok(Box::new(Following {
            steps,
            schema,
            columns,
            clock,
            done,
            next,
            first,
            epochs: 0,
            waits_for: None,
            settled: None,
        }))
    }
}

struct Following {
    steps: Vec<Step>,
    schema: Schema,
    columns: Vec<usize>,
    clock: Arc<ManualClock>,
    done: Arc<Mutex<BTreeSet<usize>>>,
    next: usize,
    /// Whether it is the subtask that follows the script.
    first: bool,
    epochs: u64,
    /// The number of epochs that have to be taken before it goes on.
    waits_for: Option<u64>,
    /// The step before which all rows have been processed.
    settled: Option<usize>,
}

impl Following {
    fn batch(&self, rows: &[Row]) -> Result<Batch> {
        let fields = self.schema.fields.iter().zip(&self.columns);
        let columns = fields.map(|(f, i)| column(&f.ty.arrow(), rows.iter().map(|(_, r)| r[*i].clone()))).collect();
        let batch = Batch::from_columns(self.schema.arrow(), columns, rows.len())?;
        let changes = rows.iter().any(|(kind, _)| *kind != RowKind::Insert);
        Ok(batch.with_kinds(changes.then(|| rows.iter().map(|(kind, _)| Some(*kind as i8)).collect())))
    }
}

impl Source for Following {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        if self.waits_for.is_some_and(|n| self.epochs < n) {
            return Ok(Polled::Wait(Duration::from_millis(1)));
        }
        self.waits_for = None;
        let at = self.next;
        let Some(step) = self.steps.get(at) else { return Ok(Polled::End) };
        // The second epoch begins when the first one is complete.
        if matches!(step, Step::Later(_)) && self.settled != Some(at) {
            self.settled = Some(at);
            self.waits_for = Some(self.epochs + 2);
            return Ok(Polled::More);
        }
        self.next += 1;
        match step {
            Step::Rows(rows) => out.emit(self.batch(rows)?),
            Step::Epoch => self.waits_for = Some(self.epochs + 1),
            Step::Outage if locked(&self.done).insert(at) => return Err(Error::io("the script says: away")),
            Step::Later(millis) if locked(&self.done).insert(at) => {
                self.clock.turn_to(self.clock.now() + millis);
            }
            Step::Outage | Step::Later(_) => {}
        }
        Ok(Polled::More)
    }
    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.epochs += 1;
        let mut changes = Changes::default();
        if self.first {
            changes.set(NEXT, &(self.next as u64).to_be_bytes());
        }
        Ok(changes)
    }
}
