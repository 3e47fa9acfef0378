//! Window Top-N: the rows of each partition are emitted once, when their window is complete.

use super::output::RowsOut;
use super::top::Top;
use super::{Rank, RankFactory};
use crate::late_rows::{LateRows, of_window};
use crate::windows::{WindowClock, end_of, late_rows, without};
use std::sync::Arc;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::Keys;
use weir_core::keyed::{KeyedState, TimeDomain, Timers};
use weir_core::state::{Changes, Epoch};
use weir_core::windows::end_in_key;
use weir_core::{Batch, Result};

/// Creates window Top-N operators.
pub struct WindowRankFactory {
    /// The Top-N, which only emits rows at the end. The first column of its partition is the end of the window.
    pub rank: RankFactory,
    /// The clock of the windows.
    pub clock: WindowClock,
}

impl OperatorFactory for WindowRankFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowRank {
            rank: Rank::open(&self.rank, &context)?,
            clock: self.clock,
            timers: Timers::new(TimeDomain::Event, &context),
            passed: Watermark::NONE,
            late: LateRows::new(&context),
        }))
    }
}

/// The number of partitions that are processed at once.
const PAGE: usize = 1024;

struct WindowRank {
    rank: Rank,
    clock: WindowClock,
    timers: Timers,
    passed: Watermark,
    late: LateRows,
}

impl WindowRank {
    /// Sets a timer for each partition that is new in this batch.
    fn note(&mut self, keys: &Keys) -> Result<()> {
        let partitions: &mut KeyedState<_> = &mut self.rank.partitions;
        let mut last: &[u8] = &[];
        for row in 0..keys.len() {
            let key = keys.get(row);
            if key != last && partitions.get(key)?.is_none_or(Top::is_empty) {
                self.timers.set(partitions, self.clock.completes(end_in_key(key)?), key);
            }
            last = key;
        }
        Ok(())
    }
}

impl Operator for WindowRank {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let ends = batch.data.column(self.rank.plan.partition[0]);
        let late = late_rows(ends, |end| self.clock.completes(end), self.passed)?;
        self.late.drop_rows(&batch, &late, self.passed.0, |row| of_window(end_of(ends, row)), out)?;
        let batch = without(batch, &late)?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let keys = Keys::of(&batch, &self.rank.plan.partition);
        self.note(&keys)?;
        self.rank.take(&keys, &batch, out)
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        self.passed = self.passed.max(time.all);
        loop {
            let due = self.timers.due(&mut self.rank.partitions, self.passed.0, PAGE)?;
            let more = due.len() == PAGE;
            let mut rows_out = RowsOut::new(&Arc::clone(&self.rank.plan));
            for (_, key) in due {
                let mut complete = None;
                self.rank.partitions.update(&key, |top| {
                    complete = top.take();
                    Ok(complete.is_some())
                })?;
                rows_out.changed(&[], &complete.unwrap_or_default().rows, out)?;
            }
            rows_out.finish(out)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        self.rank.checkpoint(epoch)
    }

    fn preferred_rows(&self) -> usize {
        self.rank.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.rank.wants_epoch()
    }
}
