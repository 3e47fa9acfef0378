//! OVER ordered by a time attribute: for each row, an aggregate of the rows up to it. A row waits until the watermark has passed its time,
//! and rows of the same time are processed together. Rows that leave a bounded frame are retracted from its aggregates, which are not
//! recomputed.

mod frames;
mod page;

use crate::aggregate::Groups;
use crate::late_rows::{LateRows, PASSED, shown};
use crate::row_numbers::RowNumbers;
use arrow::datatypes::DataType;
use frames::Frames;
use page::{Arguments, Page};
use std::fmt;
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::event_time::EventTime;
use weir_core::frame::Frame;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, encode_row};
use weir_core::keyed::{KeyedState, TimeDomain, TimeQueue, Timers};
use weir_core::state::{Changes, Epoch};
use weir_core::watermarks::row_time;
use weir_core::{Batch, Result, Schema};
use weir_expr::aggregate::AggregateCall;

/// Creates OVER aggregations that are ordered by time.
#[derive(Clone)]
pub struct OverFactory {
    /// The columns of the key.
    pub partition: Vec<usize>,
    /// The column with the rows' times.
    pub time: usize,
    /// Whether rows are ordered by event time, or in the order of arrival.
    pub domain: TimeDomain,
    /// The frame.
    pub frame: Frame,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The input's columns.
    pub input: Schema,
    /// The columns of the output: those of the input, then the results.
    pub schema: Schema,
}

impl OverFactory {
    /// How long after its last row a key is removed, if the frame is bounded in time. As in Flink, that is half as long again as the frame, so
    /// that rows behind the watermark find those of their frame.
    fn forgets_after(&self) -> Option<i64> {
        match (self.frame, self.domain) {
            (Frame::Times(range), TimeDomain::Event) => Some(range.saturating_add(range / 2)),
            _ => None,
        }
    }
}

impl OperatorFactory for OverFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let groups = Groups::new(&self.calls, &self.input, self.frame.is_bounded())?;
        Ok(Box::new(Over {
            arguments: Arguments::new(self)?,
            types: self.input.fields.iter().map(|f| f.ty.arrow()).collect(),
            plan: self.clone(),
            state: KeyedState::open(Frames::new(groups), &context, 0)?,
            waiting: TimeQueue::new(0, &context),
            timers: Timers::new(TimeDomain::Event, &context),
            numbers: RowNumbers::new(&context),
            passed: i64::MIN,
            clock: context.clock.clone(),
            late: LateRows::new(&context),
            context,
        }))
    }
}

/// The number of rows or timers that are processed at once.
const PAGE: usize = 8192;

/// Why a row is late.
enum Late {
    /// The watermark has passed its time.
    BehindWatermark,
    /// Rows of its key up to this time have already been emitted.
    BehindResults(i64),
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Late::BehindWatermark => f.write_str(PASSED),
            Late::BehindResults(last) => write!(f, "rows of its key up to {} had their results", shown(*last)),
        }
    }
}

struct Over {
    plan: OverFactory,
    arguments: Arguments,
    types: Vec<DataType>,
    state: KeyedState<Frames>,
    /// The rows that wait for the watermark.
    waiting: TimeQueue,
    /// The timers that check whether a frame is empty.
    timers: Timers,
    numbers: RowNumbers,
    /// The watermark.
    passed: i64,
    clock: Arc<dyn Clock>,
    late: LateRows,
    context: SubtaskContext,
}

impl Over {
    /// Why a row is late, if it is. As in Flink, with an unbounded frame a row is late behind the watermark. With a bounded frame it is
    /// late behind rows of its key that have already been emitted.
    fn lateness(&mut self, key: &[u8], time: i64) -> Result<Option<Late>> {
        // Rows after the watermark have not been emitted yet.
        if time > self.passed || !self.plan.frame.is_bounded() {
            return Ok((time <= self.passed).then_some(Late::BehindWatermark));
        }
        let mut keys = Keys::default();
        keys.push(key);
        let place = self.state.places(&keys)?.places[0];
        let frames = self.state.codec();
        let known = self.state.key_at(place).is_some() && frames.keys[place as usize].count() > 0;
        let last = known.then(|| frames.keys[place as usize].last);
        Ok(last.filter(|last| time <= *last).map(Late::BehindResults))
    }

    /// Emits the rows that are due with their results.
    fn fire(&mut self, out: &mut Collector) -> Result<()> {
        loop {
            let due = self.waiting.take(&mut self.state, self.passed, PAGE)?;
            if !due.is_empty() {
                self.give(&Page::of(&due, &self.types)?, out)?;
            }
            if due.len() < PAGE {
                break;
            }
        }
        self.plan.forgets_after().map_or(Ok(()), |range| self.forget(range))
    }

    /// Emits the rows of a page with their results.
    fn give(&mut self, page: &Page, out: &mut Collector) -> Result<()> {
        let results = page::results(&self.plan, &self.arguments, page, &mut self.state)?;
        self.set_timers(&results.timers, &page.keys);
        out.emit(results.batch);
        Ok(())
    }

    /// Sets timers, each for a time and the key with a number.
    fn set_timers(&mut self, timers: &[(i64, u32)], keys: &Keys) {
        for (time, number) in timers {
            self.timers.set(&mut self.state, *time, keys.get(*number as usize));
        }
    }

    /// Removes keys whose frames are empty.
    fn forget(&mut self, range: i64) -> Result<()> {
        loop {
            let due = self.timers.due(&mut self.state, self.passed, PAGE)?;
            let mut keys = Keys::default();
            due.iter().for_each(|(_, key)| keys.push(key));
            let found = self.state.places(&keys)?;
            let (mut later, passed) = (vec![], self.passed);
            self.state.change(&found.places, |frames, touched| {
                for ((place, first), touched) in found.places.iter().zip(&found.first).zip(touched) {
                    if !touched.there {
                        continue;
                    }
                    touched.changed = true;
                    let at = *place as usize;
                    let end = frames.keys[at].emptied_at(range);
                    if end > passed {
                        later.push((end, *first));
                    } else {
                        frames.keys[at].clear();
                        frames.groups.reset(at);
                    }
                }
                Ok(())
            })?;
            self.set_timers(&later, &keys);
            if due.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Operator for Over {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.plan.partition);
        self.state.prefetch(std::iter::empty())?;
        if self.plan.domain == TimeDomain::Processing {
            if batch.rows() == 0 {
                return Ok(());
            }
            self.passed = self.clock.now().max(self.passed);
            let numbers = (0..batch.rows()).map(|_| self.numbers.next()).collect();
            let (columns, times) = (batch.data.columns().to_vec(), vec![self.passed; batch.rows()]);
            return self.give(&Page { columns, keys, times, numbers }, out);
        }
        let times = batch.data.column(self.plan.time).clone();
        for n in 0..batch.rows() {
            let Some(time) = row_time(&times, n)? else {
                self.context.metrics.skipped.inc();
                continue;
            };
            if let Some(late) = self.lateness(keys.get(n), time)? {
                self.late.drop_row(&batch, n, self.passed, || late.to_string(), out)?;
                continue;
            }
            let mut row = vec![];
            encode_row(batch.data.columns(), n, &mut row);
            self.waiting.put(&mut self.state, time, keys.get(n), self.numbers.next(), row);
        }
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        if self.plan.domain == TimeDomain::Processing {
            return Ok(());
        }
        self.passed = self.passed.max(time.all.0);
        self.state.prefetch(std::iter::empty())?;
        self.fire(out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
