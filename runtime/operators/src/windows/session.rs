//! SESSION: rows of a key are in one session as long as the time between consecutive rows does not exceed the gap. Rows wait until their
//! session is complete, and are emitted with its start and end.

use super::{WindowClock, in_windows, met_by};
use crate::change_rows::{ChangeRows, MOST_ROWS};
use crate::late_rows::{LateRows, of_session};
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, decode_row, encode_row};
use weir_core::keyed::{Codec, KeyedState, MapState, TimeDomain, Timers};
use weir_core::sortable::sortable;
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::watermarks::row_time;
use weir_core::windows::Window;
use weir_core::{Batch, Error, Result, RowKind, Schema};

/// Creates the operators that assign rows to sessions.
#[derive(Clone)]
pub struct SessionFactory {
    /// The gap that ends a session, in milliseconds.
    pub gap: i64,
    /// The columns of the key.
    pub partition: Vec<usize>,
    /// The column with the rows' times.
    pub time: usize,
    /// Whether sessions are over event time or processing time.
    pub domain: TimeDomain,
    /// The clock of the sessions.
    pub clock: WindowClock,
    /// The input's columns.
    pub input: Schema,
    /// The columns of the output: those of the input, then the session's start, end and time.
    pub schema: Schema,
}

impl OperatorFactory for SessionFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Session {
            types: self.input.fields.iter().map(|f| f.ty.arrow()).collect(),
            plan: self.clone(),
            state: KeyedState::open(Sessions, &context, 0)?,
            timers: Timers::new(TimeDomain::Event, &context),
            time_of_day: context.clock.clone(),
            passed: Watermark::NONE,
            late: LateRows::new(&context),
            context,
        }))
    }
}

/// The open sessions of a key, in order, and the number of its rows so far. The latter follows the time in a row's key, and makes it
/// unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Open {
    sessions: Vec<Window>,
    rows: u64,
}

struct Sessions;

impl Codec for Sessions {
    type Value = Open;
    fn encode(&self, _place: u32, open: &Open, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        out.extend_from_slice(&open.rows.to_be_bytes());
        for s in &open.sessions {
            out.extend_from_slice(&s.start.to_be_bytes());
            out.extend_from_slice(&s.end.to_be_bytes());
        }
    }
    fn decode(&mut self, _place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<Open> {
        let damaged = || Error::state("the sessions of a key in the state are damaged");
        let (numbers, rest) = bytes.as_chunks::<8>();
        let [_written, rows, borders @ ..] = numbers else { return Err(damaged()) };
        let (pairs, odd) = borders.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() {
            return Err(damaged());
        }
        let sessions = pairs.iter().map(|[a, b]| Window { start: i64::from_be_bytes(*a), end: i64::from_be_bytes(*b) });
        Ok(Open { sessions: sessions.collect(), rows: u64::from_be_bytes(*rows) })
    }
    fn bytes(&self, _place: u32, open: &Open) -> usize {
        open.sessions.len() * size_of::<Window>()
    }
    fn is_empty(&self, _place: u32, open: &Open) -> bool {
        open.sessions.is_empty()
    }
}

/// The rows of each key, by time and number.
const ROWS: MapState = MapState::new(0);

/// The number of sessions that are processed at once.
const PAGE: usize = 1024;

struct Session {
    plan: SessionFactory,
    types: Vec<DataType>,
    state: KeyedState<Sessions>,
    timers: Timers,
    context: SubtaskContext,
    time_of_day: Arc<dyn Clock>,
    /// The watermark up to which sessions are complete.
    passed: Watermark,
    late: LateRows,
}

impl Session {
    /// Adds a row to its session. If that session is already complete, the row is late, and its end is returned.
    fn take(&mut self, key: &[u8], time: i64, row: &[u8]) -> Result<Option<i64>> {
        let (clock, gap, passed) = (self.plan.clock, self.plan.gap, self.passed.0);
        let mut window = Window { start: time, end: time.saturating_add(gap) };
        let (mut entry, mut gone) = (None, vec![]);
        self.state.update(key, |open| {
            let known = open.as_ref().map_or(&[][..], |o| &o.sessions);
            let (met, whole) = met_by(window, known, |s| *s);
            window = whole;
            if clock.completes(window.end) <= passed {
                return Ok(false);
            }
            let open = open.get_or_insert_default();
            gone.extend(open.sessions.splice(met, [window]));
            entry = Some(open.rows);
            open.rows += 1;
            Ok(true)
        })?;
        let Some(number) = entry else { return Ok(Some(window.end)) };
        ROWS.put(&mut self.state, key, &[sortable(time), number.to_be_bytes()].concat(), row);
        if gone != [window] {
            for s in gone {
                self.timers.remove(&mut self.state, clock.completes(s.end), key);
            }
            self.timers.set(&mut self.state, clock.completes(window.end), key);
        }
        Ok(None)
    }

    /// Emits the sessions that are complete.
    fn fire(&mut self, out: &mut Collector) -> Result<()> {
        let clock = self.plan.clock;
        loop {
            let due = self.timers.due(&mut self.state, self.passed.0, PAGE)?;
            let more = due.len() == PAGE;
            let (mut rows, mut windows) = (ChangeRows::new(self.plan.input.clone()), vec![]);
            for (moment, key) in due {
                let mut complete = vec![];
                self.state.update(&key, |open| {
                    let Some(open) = open else { return Ok(false) };
                    let is_due = |s: &Window| clock.completes(s.end) <= moment;
                    complete.extend(open.sessions.iter().filter(|s| is_due(s)).copied());
                    open.sessions.retain(|s| !is_due(s));
                    Ok(true)
                })?;
                for window in complete {
                    let (start, end) = (sortable(window.start), sortable(window.end));
                    for (_, value) in ROWS.take(&mut self.state, &key, &start, Some(&end), usize::MAX)? {
                        let (kind, row) =
                            value.split_first().ok_or_else(|| Error::state("a row in the state is cut short"))?;
                        decode_row(&self.types, row, rows.row(RowKind::from_code(*kind as i8)))?;
                        windows.push(window);
                    }
                }
                if rows.len() >= MOST_ROWS {
                    self.give(&mut rows, &mut windows, out)?;
                }
            }
            self.give(&mut rows, &mut windows, out)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn give(&self, rows: &mut ChangeRows, windows: &mut Vec<Window>, out: &mut Collector) -> Result<()> {
        out.emit(in_windows(&rows.take()?, &std::mem::take(windows), self.plan.clock, &self.plan.schema)?);
        Ok(())
    }

    /// Advances the processing time.
    fn pass(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        let passed = Watermark(now.saturating_sub(1));
        if passed > self.passed {
            self.passed = passed;
            self.fire(out)?;
            out.watermark(passed);
        }
        Ok(())
    }
}

impl Operator for Session {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let now = match self.plan.domain {
            TimeDomain::Event => None,
            TimeDomain::Processing => {
                let now = self.time_of_day.now().max(self.passed.0.saturating_add(1));
                self.pass(now, out)?;
                Some(now)
            }
        };
        let keys = Keys::of(&batch, &self.plan.partition);
        self.state.prefetch((0..keys.len()).map(|r| keys.get(r)))?;
        let times = batch.data.column(self.plan.time).clone();
        let mut row = vec![];
        for n in 0..batch.rows() {
            let time = match now {
                Some(now) => Some(now),
                None => row_time(&times, n)?,
            };
            let Some(time) = time else {
                // As in Flink, a row without a time is in no session.
                self.context.metrics.skipped.inc();
                continue;
            };
            row.clear();
            row.push(batch.kind(n) as u8);
            encode_row(batch.data.columns(), n, &mut row);
            if let Some(end) = self.take(keys.get(n), self.plan.clock.shown(time), &row)? {
                self.late.drop_row(&batch, n, self.passed.0, || of_session(end), out)?;
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        if self.plan.domain == TimeDomain::Event || time.all == Watermark::END {
            self.passed = self.passed.max(time.all);
            self.fire(out)?;
        }
        Ok(())
    }

    fn output_watermark(&self, all: Watermark) -> Watermark {
        if self.plan.domain == TimeDomain::Event || all == Watermark::END { all } else { self.passed }
    }

    fn next_tick(&self) -> Option<i64> {
        (self.plan.domain == TimeDomain::Processing).then(|| self.timers.next().map(|t| t.saturating_add(1))).flatten()
    }

    fn on_tick(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        self.pass(now, out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
