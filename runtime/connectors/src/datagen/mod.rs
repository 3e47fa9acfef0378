//! Generated rows. Each value is a function of the seed, the row's number and the column, so a job that is restarted generates the same
//! rows.

mod blocks;
mod column;

use crate::options::TableSpec;
use crate::registered::Connector;
use blocks::{Assignments, BLOCK};
use column::GeneratedColumn;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::clock::Clock;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::option_spec::Opt;
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::watermarks::SplitId;
use weir_core::{Batch, ColumnBuilder, Result, Schema, options};

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(source),
    ..Connector::new(&Descriptor {
        name: "datagen",
        help: "generates rows",
        reads: Some(Changelog::InsertOnly),
        options: &[OPTIONS, column::OPTIONS],
        rows_fail: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'datagen', 'number-of-rows' = '5', 'fields.id.min' = '1', 'fields.name.length' = '8'
)",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    ROWS: u64 = Opt::whole(
        "number-of-rows",
        0,
        i64::MAX,
        "how many rows to generate before the source ends; by default it never ends, unless a sequence does",
    );
    PER_SECOND: f64 =
        Opt::number("rows-per-second", f64::MIN_POSITIVE, f64::MAX, "the rate of all subtasks together").default("10000").how();
    SEED: u64 = Opt::whole("seed", 0, i64::MAX, "the seed of random values; the same seed gives the same rows").default("1");
}

struct Datagen {
    /// The columns that are read, with their numbers among all columns.
    columns: Vec<(u64, GeneratedColumn)>,
    schema: Schema,
    rows: Option<u64>,
    per_second: f64,
    seed: u64,
    /// What earlier generations have generated.
    done: Arc<Mutex<Assignments>>,
}

fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let mut rows: Option<u64> = table.get(&ROWS)?;
    let mut all = vec![];
    for (index, f) in table.schema.fields.iter().enumerate() {
        let (column, length) = GeneratedColumn::new(table, &f.name, &f.ty)?;
        // The source ends when its shortest sequence ends.
        rows = length.map(|l| rows.map_or(l, |r| r.min(l))).or(rows);
        all.push((index as u64, column));
    }
    let per_second = table.value(&PER_SECOND)?;
    Ok(Arc::new(Datagen {
        columns: table.columns.iter().map(|c| all[*c].clone()).collect(),
        schema: table.projected(),
        rows,
        per_second,
        seed: table.value(&SEED)?,
        done: Arc::default(),
    }))
}

impl SourceFactory for Datagen {
    fn rate(&self) -> Option<f64> {
        Some(self.per_second)
    }
    fn start(&self, state: &StateHandle, _parallelism: usize) -> Result<()> {
        *locked(&self.done) = Assignments::read(&state.scan(blocks::PREFIX)?)?;
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let done = locked(&self.done).clone();
        let (assignment, next, within) = done.position_of(context.parallelism, context.subtask);
        let obsolete = if context.subtask == 0 { done.obsolete() } else { vec![] };
        Ok(Box::new(Generator {
            columns: self.columns.clone(),
            schema: self.schema.clone(),
            rows: self.rows,
            per_second: self.per_second / context.parallelism as f64,
            seed: self.seed,
            done,
            obsolete,
            assignment,
            next,
            step: context.parallelism as u64,
            subtask: context.subtask,
            within,
            started: Instant::now(),
            given: 0,
            clock: context.clock.clone(),
            moved: false,
            at_once: context.batch_rows as u64,
            paused: false,
        }))
    }
}

/// How long a subtask with a paused split waits before it is polled again.
const PAUSED: Duration = Duration::from_millis(100);

struct Generator {
    columns: Vec<(u64, GeneratedColumn)>,
    schema: Schema,
    rows: Option<u64>,
    per_second: f64,
    seed: u64,
    done: Assignments,
    /// Keys in the state that are obsolete.
    obsolete: Vec<Vec<u8>>,
    assignment: u32,
    next: u64,
    step: u64,
    subtask: usize,
    within: u64,
    started: Instant,
    given: u64,
    clock: Arc<dyn Clock>,
    moved: bool,
    at_once: u64,
    /// Whether the split is paused.
    paused: bool,
}

impl Generator {
    /// How long until the rate allows another row, but not so long that stopping the job is delayed.
    fn pause(&self) -> Duration {
        let due = self.given as f64 / self.per_second - self.started.elapsed().as_secs_f64();
        Duration::try_from_secs_f64(due.clamp(0.005, 0.2)).unwrap_or(Duration::from_millis(200))
    }
}

impl Source for Generator {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        if self.paused {
            return Ok(Polled::Wait(PAUSED));
        }
        // Skips blocks that earlier parallelisms have generated, completely or in part.
        if self.within == 0 {
            while self.done.made(self.next) >= BLOCK {
                self.next += self.step;
            }
            self.within = self.done.made(self.next);
        }
        let first = self.next * BLOCK + self.within;
        let end = ((self.next + 1) * BLOCK).min(self.rows.unwrap_or(u64::MAX));
        if first >= end {
            return Ok(Polled::End);
        }
        let allowed = (self.started.elapsed().as_secs_f64() * self.per_second) as u64 + 1;
        let count = (end - first).min(allowed.saturating_sub(self.given)).min(self.at_once);
        if count == 0 {
            return Ok(Polled::Wait(self.pause()));
        }
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|(_, c)| ColumnBuilder::new(&c.ty.arrow())).collect();
        let now = self.clock.now();
        for row in first..first + count {
            self.columns.iter().zip(&mut builders).for_each(|((i, c), b)| b.push(&c.value(self.seed, row, *i, now)));
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        out.emit(Batch::from_columns(self.schema.arrow(), columns, count as usize)?);
        self.given += count;
        self.within += count;
        self.moved = true;
        if self.within == BLOCK {
            (self.within, self.next) = (0, self.next + self.step);
        }
        // The rate is used up, so the next rows are sent together.
        Ok(if self.given >= allowed { Polled::Wait(self.pause()) } else { Polled::More })
    }

    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        self.paused = !splits.is_empty();
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        std::mem::take(&mut self.obsolete).iter().for_each(|k| changes.remove(&[k]));
        if std::mem::take(&mut self.moved) {
            changes
                .set(&blocks::key(self.assignment, self.subtask), &blocks::position(self.step, self.next, self.within));
        }
        Ok(changes)
    }
}
