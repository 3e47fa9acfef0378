//! What the coordinator decides, without actors or clocks: an event and what is so outside go in, actions come out.
//!
//! ```text
//!               it is time, asked for, or the end         all have answered            durable and delivered
//!   Between ─────────────────────────────────▶ Aligning ─────────────────▶ Committing ───────────────▶ Between
//!                                                 │                                                      │
//!                     rows take too long, while ──┘                              after the last epoch ───┤
//!                     a stop or a rescale waits                                                          ▼
//!                     └────────────────────────────────────────────────────────────────────────────▶  Over
//! ```

use crate::messages::{Barrier, SubtaskReport};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use weir_core::Result;
use weir_core::state::Epoch;

/// How long rows on their way may take to pass when the job is to stop: less than the time that Kubernetes gives.
pub(crate) const STOPPING: Duration = Duration::from_secs(20);

/// The same when a function is in a call for that long: more than calls take, so that nobody knows when it comes back.
const HANGING: Duration = Duration::from_secs(2);

/// The same when parallelisms are to change: as long as rows pass, and when none does.
const RESCALING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(400));

/// How often it is looked whether rows take too long.
const AGAIN: Duration = Duration::from_millis(20);

/// What the coordinator is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// All sources are known.
    Ready {
        sources: usize,
    },
    /// Time has gone by, or something is asked for from outside.
    Look,
    /// A subtask has handed an epoch over.
    Ack {
        node: usize,
        epoch: Epoch,
        outbox: Vec<Vec<u8>>,
    },
    Report(SubtaskReport),
}

/// What is so outside at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outside {
    pub now: Instant,
    /// The job is to stop.
    pub stop: bool,
    /// Parallelisms are to change.
    pub rescale: bool,
    /// When a sink took a row last.
    pub last_row: Instant,
    /// How long the longest of the calls that functions are in has lasted.
    pub longest_call: Duration,
}

/// What the coordinator does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask every source for a barrier.
    Start(Barrier),
    /// Have every source bring nothing more until the next barrier.
    Hold,
    /// All subtasks have passed the barrier, so long after it was asked for: make the epoch durable, and deliver it.
    Commit { barrier: Barrier, outbox: BTreeMap<usize, Vec<Vec<u8>>>, after: Duration },
    /// The epoch is durable and delivered, so long after it was begun.
    Passed { epoch: Epoch, after: Duration, bytes: u64 },
    /// The epoch on its way is given up.
    GivenUp(Reason),
    /// The generation is over: whether the job has come to its end, or what it failed with. `asked`: since when that was wanted.
    Finish { result: Result<bool>, asked: Option<Instant> },
}

/// Why an epoch is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A function does not come back, and the job is to stop.
    Hangs,
    /// Rows take too long to pass, and the job is to stop.
    Stop,
    /// Rows take too long to pass, and parallelisms are to change.
    Rescale,
}

#[derive(Debug)]
enum State {
    /// No epoch is on its way.
    Between,
    /// A barrier is.
    Aligning { barrier: Barrier, acks: usize, outbox: BTreeMap<usize, Vec<Vec<u8>>>, started: Instant },
    /// All have passed it.
    Committing { barrier: Barrier, started: Instant },
    /// Nothing follows.
    Over,
}

/// The decisions of the coordinator.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    subtasks: usize,
    interval: Duration,
    /// Whether its sources can go back to the last epoch.
    replayable: bool,
    /// Sources, once they are known, and how many of them have come to their end.
    sources: Option<usize>,
    ended: usize,
    /// The next epoch.
    next: u64,
    last_start: Instant,
    /// Whether an operator asks for an epoch.
    wanted: bool,
    /// Since when the job has been asked to stop, or to change its parallelisms.
    asked: Option<Instant>,
}

impl Machine {
    pub fn new(subtasks: usize, interval: Duration, next: u64, replayable: bool, now: Instant) -> Self {
        Machine {
            state: State::Between,
            subtasks,
            interval,
            replayable,
            sources: None,
            ended: 0,
            next,
            last_start: now,
            wanted: false,
            asked: None,
        }
    }

    /// How long until it is worth looking again: when the next epoch is due, and now and then while rows may take too long for what is
    /// asked for. Everything else is an event.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Between => Some(self.interval.saturating_sub(now.saturating_duration_since(self.last_start))),
            State::Aligning { .. } if self.asked.is_some() => Some(AGAIN),
            _ => None,
        }
    }

    /// Takes an event, and says what follows from it, in order.
    pub fn on(&mut self, event: Event, outside: &Outside, actions: &mut Vec<Action>) {
        if matches!(self.state, State::Over) {
            return;
        }
        match event {
            Event::Ready { sources } => {
                self.sources = Some(sources);
                self.last_start = outside.now;
            }
            Event::Look => {}
            Event::Ack { node, epoch, outbox } => return self.ack(node, epoch, outbox, outside, actions),
            Event::Report(SubtaskReport::SourceEnded) => self.ended += 1,
            Event::Report(SubtaskReport::WantsEpoch) => {
                self.wanted = true;
                // One epoch is on its way already: until it is durable, what an operator holds must not grow.
                if !matches!(self.state, State::Between) {
                    actions.push(Action::Hold);
                }
            }
            Event::Report(SubtaskReport::Failed(e)) => return self.finish(Err(e), actions),
            Event::Report(SubtaskReport::Committed { epoch, bytes }) => self.committed(epoch, bytes, outside, actions),
        }
        self.proceed(outside, actions);
    }

    fn finish(&mut self, result: Result<bool>, actions: &mut Vec<Action>) {
        self.state = State::Over;
        actions.push(Action::Finish { result, asked: self.asked });
    }

    fn ack(&mut self, node: usize, of: Epoch, entries: Vec<Vec<u8>>, outside: &Outside, actions: &mut Vec<Action>) {
        let State::Aligning { barrier, acks, outbox, started } = &mut self.state else { return };
        if barrier.epoch != of {
            return;
        }
        *acks += 1;
        outbox.entry(node).or_default().extend(entries);
        if *acks < self.subtasks {
            return;
        }
        let (barrier, outbox, started) = (*barrier, std::mem::take(outbox), *started);
        self.state = State::Committing { barrier, started };
        actions.push(Action::Commit { barrier, outbox, after: outside.now.saturating_duration_since(started) });
    }

    fn committed(&mut self, epoch: Epoch, bytes: u64, outside: &Outside, actions: &mut Vec<Action>) {
        let State::Committing { barrier, started } = &self.state else { return };
        let (barrier, after) = (*barrier, outside.now.saturating_duration_since(*started));
        actions.push(Action::Passed { epoch, after, bytes });
        self.state = State::Between;
        if barrier.last {
            self.finish(Ok(barrier.end), actions);
        }
    }

    /// Gives the epoch on its way up when rows take too long to pass, or begins one when it is time for it.
    fn proceed(&mut self, outside: &Outside, actions: &mut Vec<Action>) {
        let asked = outside.stop || outside.rescale;
        self.asked = if asked { self.asked.or(Some(outside.now)) } else { None };
        match (&self.state, self.sources) {
            (State::Aligning { barrier, .. }, _) => {
                if let Some(reason) = self.too_long(*barrier, outside) {
                    actions.push(Action::GivenUp(reason));
                    self.finish(Ok(false), actions);
                }
            }
            (State::Between, Some(sources)) => {
                let end = self.ended == sources;
                let since = outside.now.saturating_duration_since(self.last_start);
                if end || asked || self.wanted || since >= self.interval {
                    self.begin(Barrier { epoch: Epoch(self.next), last: end || asked, end }, outside, actions);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, barrier: Barrier, outside: &Outside, actions: &mut Vec<Action>) {
        self.wanted = false;
        self.last_start = outside.now;
        self.next += 1;
        self.state = State::Aligning { barrier, acks: 0, outbox: BTreeMap::new(), started: outside.now };
        actions.push(Action::Start(barrier));
    }

    /// Why the barrier on its way is not waited for any longer: its rows come again, after the last epoch that is durable. Under
    /// back-pressure a change of parallelism would otherwise wait for just what it is to mend.
    fn too_long(&self, barrier: Barrier, outside: &Outside) -> Option<Reason> {
        let asked = self.asked.filter(|_| self.replayable)?;
        let since = outside.now.saturating_duration_since(asked);
        let hangs = outside.stop && since >= HANGING && outside.longest_call >= HANGING;
        let silence = outside.now.saturating_duration_since(outside.last_row.max(asked));
        match outside.stop {
            // A barrier that ends the job is waited for, unless nobody knows for how long.
            _ if hangs => Some(Reason::Hangs),
            _ if barrier.end => None,
            true => (since >= STOPPING).then_some(Reason::Stop),
            false => (since >= RESCALING.0 || silence >= RESCALING.1).then_some(Reason::Rescale),
        }
    }
}
