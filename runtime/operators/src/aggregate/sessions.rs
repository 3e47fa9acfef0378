//! GROUP BY over sessions: each row is aggregated into its session when it arrives, and sessions that overlap are merged. A session emits
//! its result when it is complete.
//!
//! Each row arrives with a window of its own, which extends from its time to the gap after it. All open sessions of a key are stored
//! together, each with its group. A session has one timer. If rows have extended the session by the time the timer fires, a new timer is
//! set. So a row that extends a session changes no timer.

use super::{AggregateFactory, Change, Groups, PAGE, RowsOut};
use crate::late_rows::{LateRows, of_session};
use crate::windows::{WindowClock, met_by, without};
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::sync::Arc;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::Keys;
use weir_core::keyed::{BatchKeys, Codec, KeyedState, Slab, TimeDomain, Timers, Touched};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::windows::{Window, border_in_key};
use weir_core::{Batch, Error, Result, varint};

/// Creates session aggregations.
#[derive(Clone)]
pub struct SessionAggregateFactory {
    /// The aggregation, which requires an append-only input. Its first key is the end of the row's own window, and in the output the end of
    /// the session. The second key is the start. The other keys partition the sessions.
    pub aggregate: AggregateFactory,
    /// The clock of the sessions.
    pub clock: WindowClock,
}

impl OperatorFactory for SessionAggregateFactory {
    fn keeps_state(&self) -> bool {
        true
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let plan = &self.aggregate;
        let sessions = Sessions { of_key: Slab::default(), groups: plan.groups()?, free: vec![], places: 0 };
        Ok(Box::new(SessionAggregate {
            plan: Arc::new(plan.clone()),
            clock: self.clock,
            state: KeyedState::open(sessions, &context, 0)?,
            timers: Timers::new(TimeDomain::Event, &context),
            passed: context.resumes_at,
            late: LateRows::new(&context),
        }))
    }
}

/// A session that is not yet complete.
#[derive(Debug, Clone, Copy)]
struct OpenSession {
    window: Window,
    /// The time of its timer.
    timer: i64,
    /// The place of its group.
    at: u32,
}

/// The open sessions of keys, in order, and their groups.
struct Sessions {
    of_key: Slab<Vec<OpenSession>>,
    groups: Groups,
    /// Free places of groups, and the number of all places.
    free: Vec<u32>,
    places: u32,
}

impl Sessions {
    /// Allocates a place for a group.
    fn allocate(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places += 1;
            self.groups.grow(self.places as usize);
            self.places - 1
        })
    }

    fn release(&mut self, at: u32) {
        self.groups.drop_group(at as usize);
        self.free.push(at);
    }

    /// The sessions of a key.
    fn of(&self, place: u32) -> &[OpenSession] {
        if (place as usize) < self.of_key.len() { &self.of_key[place as usize] } else { &[] }
    }
}

impl Codec for Sessions {
    type Value = ();

    /// Stored: the time of the last write, and the number of sessions. Then for each session its start, its end, its timer, and its group
    /// after the length of that.
    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        let (sessions, mut group) = (self.of(place), vec![]);
        varint::put(out, sessions.len() as u64);
        for s in sessions {
            [s.window.start, s.window.end, s.timer].into_iter().for_each(|n| varint::put_signed(out, n));
            group.clear();
            self.groups.encode(s.at as usize, &mut group);
            varint::put(out, group.len() as u64);
            out.extend_from_slice(&group);
        }
    }

    fn decode(&mut self, place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<()> {
        let damaged = || Error::state("the sessions of a key in the state are damaged");
        let mut rest = bytes.get(size_of::<u64>()..).ok_or_else(damaged)?;
        let mut sessions = vec![];
        for _ in 0..varint::take(&mut rest).ok_or_else(damaged)? {
            let mut number = || varint::take_signed(&mut rest).ok_or_else(damaged);
            let (window, timer) = (Window { start: number()?, end: number()? }, number()?);
            let length = varint::take(&mut rest).ok_or_else(damaged)?;
            let (group, others) = rest.split_at_checked(length as usize).ok_or_else(damaged)?;
            let at = self.allocate();
            self.groups.merge(&[at], &mut [group])?;
            sessions.push(OpenSession { window, timer, at });
            rest = others;
        }
        self.of_key.grow(place as usize + 1);
        self.of_key[place as usize] = sessions;
        if rest.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    fn bytes(&self, place: u32, (): &()) -> usize {
        let of = |s: &OpenSession| size_of::<OpenSession>() + self.groups.bytes(s.at, &());
        size_of::<Vec<OpenSession>>() + self.of(place).iter().map(of).sum::<usize>()
    }

    fn forget(&mut self, place: u32) {
        if (place as usize) < self.of_key.len() {
            let sessions = std::mem::take(&mut self.of_key[place as usize]);
            sessions.iter().for_each(|s| self.release(s.at));
        }
    }

    fn forget_all(&mut self) {
        self.of_key.clear();
        self.groups.clear();
        (self.free, self.places) = (vec![], 0);
    }
}

/// The effect of a batch's rows on the sessions of their keys.
#[derive(Default)]
struct Taken {
    /// The place of the group of each row that is not late.
    places: Vec<u32>,
    /// Late rows with the end of their session.
    late: Vec<(usize, i64)>,
    /// Groups to be merged: the second into the first.
    merged: Vec<(u32, u32)>,
    /// Timers to be set or removed, in order, with a row that has their key.
    timers: Vec<(i64, usize, bool)>,
}

struct SessionAggregate {
    plan: Arc<AggregateFactory>,
    clock: WindowClock,
    state: KeyedState<Sessions>,
    timers: Timers,
    passed: Watermark,
    late: LateRows,
}

impl Taken {
    /// Adds a row to the session of its key, unless the row is late.
    fn row(
        &mut self,
        row: usize,
        window: Window,
        sessions: &mut Sessions,
        place: u32,
        open: impl Fn(i64) -> Option<i64>,
    ) {
        let (met, whole) = met_by(window, &sessions.of_key[place as usize], |s| s.window);
        let Some(completes) = open(whole.end) else {
            self.late.push((row, whole.end));
            return;
        };
        if met.is_empty() {
            let at = sessions.allocate();
            let new = OpenSession { window, timer: completes, at };
            sessions.of_key[place as usize].insert(met.start, new);
            self.timers.push((completes, row, true));
            self.places.push(at);
            return;
        }
        let known = &mut sessions.of_key[place as usize];
        let others: Vec<OpenSession> = known.drain(met.start + 1..met.end).collect();
        let session = &mut known[met.start];
        session.window = whole;
        self.places.push(session.at);
        for other in others {
            self.merged.push((known[met.start].at, other.at));
            if known.iter().all(|s| s.timer != other.timer) {
                self.timers.push((other.timer, row, false));
            }
        }
    }
}

/// The windows of the rows, in milliseconds.
fn windows(ends: &ArrayRef, starts: &ArrayRef) -> Result<Vec<Window>> {
    let wrong = || Error::internal("the border of a window is not in a column of timestamps");
    let column = |c| AsArray::as_primitive_opt::<TimestampMicrosecondType>(c).ok_or_else(wrong);
    let (ends, starts) = (column(ends)?, column(starts)?);
    let pairs = starts.values().iter().zip(ends.values());
    Ok(pairs.map(|(s, e)| Window { start: s.div_euclid(1000), end: e.div_euclid(1000) }).collect())
}

impl SessionAggregate {
    /// Emits the sessions that are complete.
    fn fire(&mut self, out: &mut Collector) -> Result<()> {
        let (clock, passed) = (self.clock, self.passed.0);
        loop {
            let due = self.timers.due(&mut self.state, passed, PAGE)?;
            let mut keys = Keys::default();
            due.iter().for_each(|(_, key)| keys.push(key));
            let found = self.state.places(&keys)?;
            let (mut rows_out, mut again) = (RowsOut::new(&self.plan, None), vec![]);
            self.state.change(&found.places, |sessions, touched| {
                for (n, place) in found.places.iter().enumerate() {
                    if sessions.of(*place).is_empty() {
                        continue;
                    }
                    let row = found.first[n] as usize;
                    let mut stay = vec![];
                    for mut s in std::mem::take(&mut sessions.of_key[*place as usize]) {
                        let completes = clock.completes(s.window.end);
                        if completes <= passed {
                            let borders = [border_in_key(s.window.end), border_in_key(s.window.start)].concat();
                            let key = [&borders, keys.get(row)].concat();
                            rows_out.whole(&key, &sessions.groups, s.at as usize, out)?;
                            sessions.release(s.at);
                            continue;
                        }
                        if s.timer <= passed {
                            s.timer = completes;
                            again.push((completes, row));
                        }
                        stay.push(s);
                    }
                    touched[n] = Touched { there: !stay.is_empty(), changed: true };
                    sessions.of_key[*place as usize] = stay;
                }
                Ok(())
            })?;
            rows_out.finish(out)?;
            again.into_iter().for_each(|(moment, row)| self.timers.set(&mut self.state, moment, keys.get(row)));
            if due.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Operator for SessionAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let (end, start) = (self.plan.keys[0], self.plan.keys[1]);
        let windows = windows(batch.data.column(end), batch.data.column(start))?;
        let keys = Keys::of(&batch, &self.plan.keys[2..]);
        let found = self.state.places(&keys)?;
        let (clock, passed, plan) = (self.clock, self.passed.0, &self.plan);
        let open = |end: i64| Some(clock.completes(end)).filter(|moment| *moment > passed);
        let mut taken = Taken::default();
        self.state.change(&found.places, |sessions, touched| {
            sessions.of_key.grow(found.room());
            for (row, window) in windows.iter().enumerate() {
                let place = found.places[found.numbers[row] as usize];
                taken.row(row, *window, sessions, place, open);
            }
            let late: Vec<usize> = taken.late.iter().map(|(row, _)| *row).collect();
            let batch = without(batch.clone(), &late)?;
            let numbers = (0..taken.places.len() as u32).collect();
            let of_rows = BatchKeys { numbers, places: std::mem::take(&mut taken.places), first: vec![] };
            Change::new(plan, &batch, &of_rows, &mut sessions.groups, &[])?.take(&mut sessions.groups, 0..0, None)?;
            for (into, from) in &taken.merged {
                sessions.groups.merge_place(*into as usize, *from as usize);
                sessions.release(*from);
            }
            for (place, touched) in found.places.iter().zip(touched) {
                *touched = Touched { there: !sessions.of(*place).is_empty(), changed: true };
            }
            Ok(())
        })?;
        for (row, end) in &taken.late {
            self.late.drop_row(&batch, *row, passed, || of_session(*end), out)?;
        }
        for (moment, row, set) in taken.timers {
            match set {
                true => self.timers.set(&mut self.state, moment, keys.get(row)),
                false => self.timers.remove(&mut self.state, moment, keys.get(row)),
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        self.passed = self.passed.max(time.all);
        self.fire(out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.state.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
