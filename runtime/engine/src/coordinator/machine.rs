//! The state machine of the coordinator, without actors or clocks: an event and the outside conditions go in, actions come out.
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

/// How long rows may take to drain when the job is to stop. It is less than the grace period of Kubernetes.
pub(crate) const STOPPING: Duration = Duration::from_secs(20);

/// How long it waits instead if a call of a function has lasted that long. Calls are normally shorter, so this one may never return.
const HANGING: Duration = Duration::from_secs(2);

/// How long rows may take to drain when parallelisms are to change: in total, and without any row that reaches a sink.
const RESCALING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(400));

/// How often it is checked whether rows take too long.
const AGAIN: Duration = Duration::from_millis(20);

/// An event of the coordinator.
#[derive(Debug)]
pub(crate) enum Event {
    /// All sources have registered.
    Ready {
        sources: usize,
    },
    /// Time has passed, or something was requested from outside.
    Look,
    /// A subtask has handed over an epoch.
    Ack {
        node: usize,
        epoch: Epoch,
        outbox: Vec<Vec<u8>>,
    },
    Report(SubtaskReport),
}

/// The outside conditions at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outside {
    pub now: Instant,
    /// Whether the job is to stop.
    pub stop: bool,
    /// Whether parallelisms are to change.
    pub rescale: bool,
    /// When a sink last received a row.
    pub last_row: Instant,
    /// How long the longest running call of a function has lasted.
    pub longest_call: Duration,
}

/// An action of the coordinator.
#[derive(Debug)]
pub(crate) enum Action {
    /// Ask every source to emit a barrier.
    Start(Barrier),
    /// Ask every source to emit no rows until the next barrier.
    Hold,
    /// Make the epoch durable and deliver it: all subtasks have passed the barrier. `after` is the time that this took.
    Commit { barrier: Barrier, outbox: BTreeMap<usize, Vec<Vec<u8>>>, after: Duration },
    /// Report an epoch that is durable and delivered. `after` is the time since its start.
    Passed { epoch: Epoch, after: Duration, bytes: u64 },
    /// Give up the current epoch.
    GivenUp(Reason),
    /// End the generation: with whether the job has come to its end, or with its error. `asked` is the time since when a stop or a change
    /// of parallelism was wanted.
    Finish { result: Result<bool>, asked: Option<Instant> },
}

/// Why an epoch is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The job is to stop, and a call of a function does not return.
    Hangs,
    /// The job is to stop, and rows take too long to drain.
    Stop,
    /// Parallelisms are to change, and rows take too long to drain.
    Rescale,
}

#[derive(Debug)]
enum State {
    /// No epoch is in progress.
    Between,
    /// A barrier is on its way through the job.
    Aligning { barrier: Barrier, acks: usize, outbox: BTreeMap<usize, Vec<Vec<u8>>>, started: Instant },
    /// All subtasks have passed the barrier.
    Committing { barrier: Barrier, started: Instant },
    /// The generation has ended.
    Over,
}

/// The state machine of the coordinator.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    subtasks: usize,
    interval: Duration,
    /// Whether all sources can be reset to the last epoch.
    replayable: bool,
    /// The number of sources, once it is known, and how many of them have ended.
    sources: Option<usize>,
    ended: usize,
    /// The number of the next epoch.
    next: u64,
    last_start: Instant,
    /// Whether an operator has requested an early epoch.
    wanted: bool,
    /// Since when the job is to stop, or to change its parallelisms.
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

    /// How long until the next [`Event::Look`]: when the next epoch is due, or at intervals while rows may take too long to drain. Anything
    /// else comes as an event.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Between => Some(self.interval.saturating_sub(now.saturating_duration_since(self.last_start))),
            State::Aligning { .. } if self.asked.is_some() => Some(AGAIN),
            _ => None,
        }
    }

    /// Handles an event, and appends the resulting actions in order.
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
                // An epoch is in progress already. Until it is durable, the operator must not buffer more.
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

    /// Gives up the current epoch if rows take too long to drain, or begins an epoch if one is due.
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

    /// Why the current barrier is not waited for any longer, if so. Its rows are read again after the last durable epoch. Without this, a
    /// change of parallelism would have to wait for the very back-pressure that it should relieve.
    fn too_long(&self, barrier: Barrier, outside: &Outside) -> Option<Reason> {
        let asked = self.asked.filter(|_| self.replayable)?;
        let since = outside.now.saturating_duration_since(asked);
        let hangs = outside.stop && since >= HANGING && outside.longest_call >= HANGING;
        let silence = outside.now.saturating_duration_since(outside.last_row.max(asked));
        match outside.stop {
            // The barrier at the end of a job is always waited for, unless a function hangs.
            _ if hangs => Some(Reason::Hangs),
            _ if barrier.end => None,
            true => (since >= STOPPING).then_some(Reason::Stop),
            false => (since >= RESCALING.0 || silence >= RESCALING.1).then_some(Reason::Rescale),
        }
    }
}
