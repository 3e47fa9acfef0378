//! Sources whose rows follow from their numbers, so that a job that is restarted generates the same rows, whatever its parallelism.

mod blocks;

use blocks::{Assignments, BLOCK};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::clock::Clock;
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::watermarks::SplitId;
use weir_core::{Batch, Result};

/// A hash of a seed and two other numbers (the finaliser of SplitMix64), from which the values of a row are drawn.
pub(crate) fn mix(seed: u64, row: u64, column: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(row.wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add(column.wrapping_mul(0x94D0_49BB_1331_11EB));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A random number as a number from 0 to 1, without 1.
pub(crate) fn unit(n: u64) -> f64 {
    (n >> 11) as f64 / (1u64 << 53) as f64
}

/// Generates rows by their numbers.
pub(crate) trait Rows: Send + Sync {
    /// The rows with these numbers. `now` is the processing time in milliseconds since 1970.
    ///
    /// # Errors
    /// An internal error.
    fn rows(&self, numbers: Range<u64>, now: i64) -> Result<Batch>;
}

/// Creates the subtasks of such a source.
pub(crate) struct NumberedSource {
    rows: Arc<dyn Rows>,
    count: Option<u64>,
    per_second: Option<f64>,
    stays: bool,
    /// What earlier generations have generated.
    done: Mutex<Assignments>,
}

impl NumberedSource {
    /// A source of the first `count` rows, or of rows without end, at most so many per second. With `stays`, it does not end after
    /// the last row.
    pub(crate) fn new(rows: Arc<dyn Rows>, count: Option<u64>, per_second: Option<f64>, stays: bool) -> Self {
        NumberedSource { rows, count, per_second, stays, done: Mutex::default() }
    }
}

impl SourceFactory for NumberedSource {
    fn rate(&self) -> Option<f64> {
        self.per_second
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
            rows: self.rows.clone(),
            count: self.count,
            per_second: self.per_second.map(|n| n / context.parallelism as f64),
            stays: self.stays,
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

/// How long a subtask that has nothing to do waits before it is polled again.
const PAUSED: Duration = Duration::from_millis(100);

struct Generator {
    rows: Arc<dyn Rows>,
    count: Option<u64>,
    per_second: Option<f64>,
    stays: bool,
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
    /// How many rows the rate allows to have been emitted by now.
    fn allowed(&self) -> u64 {
        let most = |per_second: f64| ((self.started.elapsed().as_secs_f64() * per_second) as u64).saturating_add(1);
        self.per_second.map_or(u64::MAX, most)
    }

    /// How long until the rate allows another row, but not so long that stopping the job is delayed.
    fn pause(&self) -> Duration {
        let due = self.per_second.map_or(0.0, |n| self.given as f64 / n - self.started.elapsed().as_secs_f64());
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
        let end = ((self.next + 1) * BLOCK).min(self.count.unwrap_or(u64::MAX));
        if first >= end {
            return Ok(if self.stays { Polled::Wait(PAUSED) } else { Polled::End });
        }
        let allowed = self.allowed();
        let count = (end - first).min(allowed.saturating_sub(self.given)).min(self.at_once);
        if count == 0 {
            return Ok(Polled::Wait(self.pause()));
        }
        out.emit(self.rows.rows(first..first + count, self.clock.now())?);
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
