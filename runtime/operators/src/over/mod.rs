//! OVER: for each row an aggregate of the rows up to it, in the order of time. A row waits until the watermark has passed its time;
//! rows of one time are taken together. What a bounded frame has lost is taken out of the aggregates again, which stay as they are
//! otherwise.

mod page;

use crate::aggregate::Groups;
use crate::late_rows::{LateRows, PASSED, shown};
use crate::row_numbers::RowNumbers;
use page::{Entry, Page};
use std::fmt;
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::event_time::EventTime;
use weir_core::frame::Frame;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, encode_row};
use weir_core::keyed::{KeyedState, MapState, TimeDomain, Timers, ValueState};
use weir_core::sortable::{from_sortable, sortable};
use weir_core::state::{Changes, Epoch};
use weir_core::watermarks::row_time;
use weir_core::{Batch, Error, Result, Schema};
use weir_expr::aggregate::AggregateCall;

/// Makes such aggregations.
#[derive(Clone)]
pub struct OverFactory {
    /// The columns of the key.
    pub partition: Vec<usize>,
    /// The column with the rows' times.
    pub time: usize,
    /// Whether rows are ordered by that, or as they come.
    pub domain: TimeDomain,
    /// The frame.
    pub frame: Frame,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The input's columns.
    pub input: Schema,
    /// These, then the results.
    pub schema: Schema,
}

impl OperatorFactory for OverFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let groups = Groups::new(&self.calls, &self.input, self.frame.is_bounded())?;
        Ok(Box::new(Over {
            plan: Arc::new(self.clone()),
            state: KeyedState::open(groups, &context, 0)?,
            timers: Timers::new(TimeDomain::Event, &context),
            numbers: RowNumbers::new(&context),
            passed: i64::MIN,
            clock: context.clock.clone(),
            late: LateRows::new(&context),
            context,
        }))
    }
}

/// The rows that wait for the watermark, by time and number.
const WAITING: MapState = MapState::new(0);
/// The rows of a bounded frame, by time and number.
const FRAME: MapState = MapState::new(1);
/// Of a bounded frame, the time of the last row that has its result, and the moment of the timer that looks whether the frame is empty.
const LAST: ValueState = ValueState::new(2);

/// Times of keys that are gone through at once.
const PAGE: usize = 1024;

/// Why a row comes too late.
enum Late {
    /// The watermark has passed its time.
    BehindWatermark,
    /// Rows of its key up to a time have their results.
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

/// The time in the key of an entry.
fn time_of(entry: &[u8]) -> Result<i64> {
    let time = entry.first_chunk::<8>().ok_or_else(|| Error::state("the time of a row in the state is damaged"))?;
    Ok(from_sortable(*time))
}

struct Over {
    plan: Arc<OverFactory>,
    state: KeyedState<Groups>,
    timers: Timers,
    numbers: RowNumbers,
    /// The watermark.
    passed: i64,
    clock: Arc<dyn Clock>,
    late: LateRows,
    context: SubtaskContext,
}

impl Over {
    fn entry(&mut self, time: i64) -> Vec<u8> {
        [sortable(time), self.numbers.next().to_be_bytes()].concat()
    }

    /// Why a row comes too late, if it does. As in Flink, that of an unbounded frame does behind the watermark, that of a bounded one
    /// behind rows of its key that have their results.
    fn lateness(&mut self, key: &[u8], time: i64) -> Result<Option<Late>> {
        // Only what is behind the watermark has its result.
        if time > self.passed || !self.plan.frame.is_bounded() {
            return Ok((time <= self.passed).then_some(Late::BehindWatermark));
        }
        Ok(self.last(key)?.map(|(last, _)| last).filter(|last| time <= *last).map(Late::BehindResults))
    }

    /// What a key has in [`LAST`].
    fn last(&mut self, key: &[u8]) -> Result<Option<(i64, i64)>> {
        let Some(bytes) = LAST.get(&mut self.state, key)? else { return Ok(None) };
        let (numbers, rest) = bytes.as_chunks::<8>();
        match (numbers, rest) {
            ([last, timer], []) => Ok(Some((i64::from_be_bytes(*last), i64::from_be_bytes(*timer)))),
            // An earlier version kept no timer: one is set with the next row.
            ([last], []) => Ok(Some((i64::from_be_bytes(*last), i64::MIN))),
            _ => Err(Error::state("the time of a key's last row in the state is damaged")),
        }
    }

    /// Notes the time of a key's last row, if it is another one, and sees to a timer for its frame.
    fn note_last(&mut self, key: &[u8], last: Option<i64>) -> Result<()> {
        let known = self.last(key)?;
        let (Some(last), mut timer) = (last.or(known.map(|k| k.0)), known.map_or(i64::MIN, |k| k.1)) else {
            return Ok(());
        };
        if let (Frame::Times(range), true, TimeDomain::Event) =
            (self.plan.frame, timer <= self.passed, self.plan.domain)
        {
            // When the frame has lost its last row the key is forgotten. Rows that come until then set no other timer.
            timer = last.saturating_add(range).saturating_add(1);
            self.timers.set(&mut self.state, timer, key);
        }
        if known != Some((last, timer)) {
            LAST.put(&mut self.state, key, &[last.to_be_bytes(), timer.to_be_bytes()].concat());
        }
        Ok(())
    }

    /// Gives the rows that are due their results.
    fn fire(&mut self, out: &mut Collector) -> Result<()> {
        loop {
            let due = self.timers.due(&mut self.state, self.passed, PAGE)?;
            let more = due.len() == PAGE;
            let mut page = Page::new(&self.plan);
            for (time, key) in due {
                let (from, to) = (sortable(time), sortable(time.saturating_add(1)));
                let rows = WAITING.take(&mut self.state, &key, &from, Some(&to), usize::MAX)?;
                let rows = rows.into_iter().map(|(entry, row)| Entry { time, entry, row }).collect();
                page.add(key, time, rows);
            }
            self.give(page, out)?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Gives the rows of a page their results.
    fn give(&mut self, mut page: Page, out: &mut Collector) -> Result<()> {
        if self.plan.frame.is_bounded() {
            for key in &mut page.keys {
                // Not more of the frame than what it may lose.
                let (last, mut left) = (key.last(), key.rows());
                for pair in FRAME.range(&self.state, &key.key, &[], None) {
                    let (entry, row) = pair?;
                    let time = time_of(&entry)?;
                    let stays = match self.plan.frame {
                        Frame::Times(range) => time >= last.saturating_sub(range),
                        Frame::Rows(_) | Frame::AllRows | Frame::AllTimes => left == 0,
                    };
                    if stays {
                        break;
                    }
                    left = left.saturating_sub(1);
                    key.frame.push_back(Entry { time, entry, row });
                }
            }
        }
        // Their frames lose nothing yet, since rows have come behind their timer was set.
        let untouched = page.keys.extract_if(.., |key| key.frame.is_empty() && key.rows() == 0).map(|key| key.key);
        let untouched: Vec<Vec<u8>> = untouched.collect();
        let results = page.results(&mut self.state)?;
        for key in results.frames {
            match key.lost.as_slice() {
                // They are the oldest of the frame.
                [_, _, .., last] => FRAME.remove_range(&mut self.state, &key.key, &[], &[last, &[0][..]].concat()),
                few => few.iter().for_each(|entry| FRAME.remove(&mut self.state, &key.key, entry)),
            }
            for (entry, row) in &key.new {
                FRAME.put(&mut self.state, &key.key, entry, row);
            }
            if key.emptied {
                LAST.remove(&mut self.state, &key.key);
                continue;
            }
            self.note_last(&key.key, key.last)?;
        }
        for key in untouched {
            self.note_last(&key, None)?;
        }
        if let Some(batch) = results.batch {
            out.emit(batch);
        }
        Ok(())
    }
}

impl Operator for Over {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.plan.partition);
        self.state.prefetch(std::iter::empty())?;
        let now = (self.plan.domain == TimeDomain::Processing).then(|| self.clock.now().max(self.passed));
        let mut page = Page::new(&self.plan);
        let times = batch.data.column(self.plan.time).clone();
        for n in 0..batch.rows() {
            let mut row = vec![];
            encode_row(batch.data.columns(), n, &mut row);
            if let Some(now) = now {
                self.passed = now;
                let entry = self.entry(now);
                page.add(keys.get(n).to_vec(), now, vec![Entry { time: now, entry, row }]);
                continue;
            }
            let Some(time) = row_time(&times, n)? else {
                self.context.metrics.skipped.inc();
                continue;
            };
            if let Some(late) = self.lateness(keys.get(n), time)? {
                self.late.drop_row(&batch, n, self.passed, || late.to_string(), out)?;
                continue;
            }
            let entry = self.entry(time);
            WAITING.put(&mut self.state, keys.get(n), &entry, &row);
            self.timers.set(&mut self.state, time, keys.get(n));
        }
        if now.is_some() { self.give(page, out) } else { Ok(()) }
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
