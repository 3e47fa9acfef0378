//! The state machine of a subtask, without actors, threads or clocks: an event goes in, actions come out. The actor around it delivers
//! messages and keeps time, so tests can try every order of events.
//!
//! ```text
//!            a batch, all barriers, a poll            done
//!   Free ────────────────────────────────▶ Working ─────────▶ Free
//!                                             │
//!                        the last barrier ────┼──▶ Ending     what is pending is sent, nothing is begun
//!                        an error ────────────┴──▶ Failed     nothing happens any more
//! ```
//!
//! A source also has a supply of rows:
//!
//! ```text
//!            nothing to read for a while      time is over
//!   Flowing ─────────────────────────▶ Waiting ─────────▶ Flowing
//!      │  hold                            │ hold
//!      └───────────────▶ Held ◀───────────┘        Held ── an epoch is asked for ──▶ Flowing
//!
//!   Flowing ── end of input ──▶ Exhausted          it still answers epochs
//! ```
//!
//! Watermarks are combined over the channels of each input, and over the inputs. The operator is notified when one of these watermarks has
//! advanced, and when an input has ended. An idle channel does not hold the watermark back.
//!
//! Barriers are aligned as in Chandy and Lamport's snapshots, in the form that Flink made known: after the barrier on a channel, the
//! channel is not read until the barrier has arrived on all channels. Back-pressure works by credits: a batch needs a credit of its target,
//! any other element needs none. No new work begins as long as something cannot be sent.

use crate::messages::{Barrier, Element, SubtaskReport, WorkResult};
use std::collections::VecDeque;
use std::time::Duration;
use weir_core::event_time::{EventTime, WatermarkProgress};
use weir_core::graph::Polled;
use weir_core::state::Epoch;
use weir_core::{Batch, Error, Result};

/// How many batches of one channel may be in flight.
pub(crate) const WINDOW: usize = 4;

/// How long a piece of work should take at most. A batch that would take longer is processed in parts, so that barriers, metrics and
/// changes of parallelism do not have to wait for it.
const PIECE: Duration = Duration::from_millis(200);

/// Rows per second until the first measurement, so that a first piece has some hundred rows.
const FIRST_PACE: f64 = 1_280.0;

/// What the machine needs of a batch: its number of rows, and a way to cut it.
pub(crate) trait RowBatch: Sized {
    /// The number of rows.
    fn rows(&self) -> usize;
    /// Cuts the batch in two before row `at`.
    ///
    /// # Errors
    /// If it cannot be cut.
    fn cut(self, at: usize) -> Result<(Self, Self)>;
}

impl RowBatch for Batch {
    fn rows(&self) -> usize {
        Batch::rows(self)
    }
    fn cut(self, at: usize) -> Result<(Self, Self)> {
        Ok((self.slice(0..at), self.slice(at..self.rows())))
    }
}

/// A piece of work for the subtask's thread.
#[derive(Debug)]
pub(crate) enum Work<B> {
    /// Poll the source for rows. `held_up` says whether a target had no room, or the source was held, since the last poll.
    Poll { held_up: bool },
    /// Process rows of an input.
    Process(usize, Vec<B>),
    /// Notify the operator that event time has advanced.
    Advance(EventTime),
    /// Notify the operator that an input has ended, and whether it was the last one.
    InputEnded { input: usize, last: bool },
    /// Notify the operator that the time of its timer has come.
    Tick,
    /// Take the checkpoint at a barrier: hand over the changes of the epoch.
    Checkpoint(Barrier),
}

/// An event of a subtask.
#[derive(Debug)]
pub(crate) enum Event<B> {
    /// All channels are connected.
    Started,
    /// An element has arrived on a channel.
    Arrived { channel: usize, item: Element<B> },
    /// A target has returned a credit, so there is room for one more batch.
    Credited { target: usize },
    /// The coordinator asks a source to emit a barrier.
    EpochAsked(Barrier),
    /// The coordinator asks a source to emit no rows until the next barrier.
    Held,
    /// The time that a source wanted to wait is over.
    Waited,
    /// The time of the operator's timer has come.
    Ticked(i64),
    /// The thread has finished its piece of work.
    Done(Done<B>),
}

/// The result of a piece of work.
#[derive(Debug)]
pub(crate) struct Done<B> {
    pub outcome: WorkResult,
    /// The elements to send, with their targets.
    pub outputs: Vec<(usize, Element<B>)>,
    /// How long the work took.
    pub took: Duration,
    /// How many rows the operator prefers to process at once.
    pub preferred_rows: usize,
    /// Whether the operator's changes in memory require an early epoch.
    pub wants_epoch: bool,
    /// The processing time at which the operator is to be called next.
    pub tick: Option<i64>,
}

/// An action of a subtask.
#[derive(Debug)]
pub(crate) enum Action<B> {
    /// Send an element to a target.
    Send { target: usize, item: Element<B> },
    /// Return a credit to the sender of a channel.
    Credit { channel: usize },
    /// Have the thread do a piece of work.
    Work(Work<B>),
    /// Report to the coordinator.
    Tell(SubtaskReport),
    /// Acknowledge the epoch to the coordinator, with the outbox of a sink.
    Ack { epoch: Epoch, outbox: Vec<Vec<u8>> },
    /// Send [`Event::Waited`] after this time.
    WakeAfter(Duration),
    /// Send [`Event::Ticked`] at this time, in milliseconds since 1970.
    TickAt(i64),
    /// Stop the actor.
    Stop,
}

/// The metric that the time of a subtask counts towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Busy,
    BackPressured,
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    /// The thread has a piece of work with this many rows.
    Working(usize),
    Ending,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    Flowing,
    Waiting,
    Held,
    Exhausted,
}

#[derive(Debug)]
struct Channel {
    /// The input of the operator that the channel feeds.
    input: usize,
    /// The barrier that has arrived on it, while other channels are waited for.
    barrier: Option<Barrier>,
}

/// What an element other than a batch leads to.
#[derive(Debug)]
enum Due<B> {
    Work(Work<B>),
    /// Tell all targets that this subtask is idle.
    Idle,
}

/// The state machine of one subtask.
#[derive(Debug)]
pub(crate) struct Machine<B> {
    phase: Phase,
    /// Only sources have a supply.
    supply: Option<Supply>,
    /// The barrier that a source has been asked for.
    asked: Option<Barrier>,
    /// Whether a source could not be polled for a while, although it may have had rows.
    held_up: bool,
    channels: Vec<Channel>,
    /// The watermarks of all channels, and the event time that the operator was last notified of.
    progress: WatermarkProgress,
    told: EventTime,
    idle: bool,
    /// What is to be done before the next element of the queue.
    due: VecDeque<Due<B>>,
    /// The time of the operator's next timer.
    tick: Option<i64>,
    /// Elements that have arrived and are not processed yet.
    queue: VecDeque<(usize, Element<B>)>,
    /// For each target, how many batches it has room for.
    credits: Vec<usize>,
    /// Elements to send, in order.
    pending: VecDeque<(usize, Element<B>)>,
    preferred_rows: usize,
    /// Whether an early epoch was requested, and has not passed yet.
    epoch_wanted: bool,
    /// Rows per second of recent pieces of work.
    pace: f64,
}

impl<B: RowBatch> Machine<B> {
    /// The machine of a source with this number of targets.
    pub fn source(targets: usize) -> Self {
        Machine { supply: Some(Supply::Flowing), ..Self::new(vec![], targets) }
    }

    /// The machine of an operator or a sink. `inputs` has the input that each channel feeds.
    pub fn new(inputs: Vec<usize>, targets: usize) -> Self {
        let progress = WatermarkProgress::new(&inputs);
        Machine {
            phase: Phase::Free,
            supply: None,
            asked: None,
            held_up: false,
            told: progress.event_time(),
            progress,
            idle: false,
            due: VecDeque::new(),
            tick: None,
            channels: inputs.into_iter().map(|input| Channel { input, barrier: None }).collect(),
            queue: VecDeque::new(),
            credits: vec![WINDOW; targets],
            pending: VecDeque::new(),
            preferred_rows: 0,
            epoch_wanted: false,
            pace: FIRST_PACE,
        }
    }

    /// Continues with the event time that the operator had in an earlier generation. It must be called before anything arrives.
    pub fn resume(&mut self, at: &EventTime) {
        self.progress.resume(at);
        self.time_changes();
    }

    /// The watermarks of all channels.
    pub fn progress(&self) -> &WatermarkProgress {
        &self.progress
    }

    /// The metric that time counts towards at the moment.
    pub fn activity(&self) -> Activity {
        match self.phase {
            Phase::Working(_) => Activity::Busy,
            _ if !self.pending.is_empty() => Activity::BackPressured,
            _ => Activity::Idle,
        }
    }

    /// Number of elements that have arrived and are not processed yet.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many batches can be queued.
    pub fn queue_room(&self) -> usize {
        self.channels.len() * WINDOW
    }

    /// The credits for a target.
    #[cfg(test)]
    pub fn credits(&self, target: usize) -> usize {
        self.credits[target]
    }

    /// Number of queued batches of a channel, whose credits were not returned yet.
    #[cfg(test)]
    pub fn queued_batches(&self, of: usize) -> usize {
        self.queue.iter().filter(|(channel, item)| *channel == of && matches!(item, Element::Batch(_))).count()
    }

    /// Handles an event, and appends the resulting actions in order.
    pub fn on(&mut self, event: Event<B>, actions: &mut Vec<Action<B>>) {
        if self.phase == Phase::Failed {
            return;
        }
        match event {
            Event::Started => {}
            Event::Arrived { channel, item } => put(&mut self.queue, channel, item),
            Event::Credited { target } => self.credits[target] += 1,
            Event::EpochAsked(barrier) => {
                self.asked = Some(barrier);
                self.supply_changes(Supply::Held, Supply::Flowing);
            }
            Event::Held => {
                self.supply_changes(Supply::Flowing, Supply::Held);
                self.supply_changes(Supply::Waiting, Supply::Held);
                self.held_up = true;
                return;
            }
            Event::Waited => self.supply_changes(Supply::Waiting, Supply::Flowing),
            // A timer that an earlier one has replaced. It is set again.
            Event::Ticked(time) if self.tick != Some(time) => return,
            Event::Ticked(_) => {
                self.tick = None;
                self.due.push_back(Due::Work(Work::Tick));
            }
            Event::Done(done) => self.done(done, actions),
        }
        self.proceed(actions);
    }

    fn supply_changes(&mut self, from: Supply, to: Supply) {
        if self.supply == Some(from) {
            self.supply = Some(to);
        }
    }

    fn done(&mut self, done: Done<B>, actions: &mut Vec<Action<B>>) {
        if let (Phase::Working(rows), WorkResult::Processed) = (self.phase, &done.outcome) {
            let now = rows as f64 / done.took.as_secs_f64().max(1e-6);
            // A slow piece may have been a cold start, so a faster one counts in full.
            self.pace = if now < self.pace { (self.pace + now) / 2.0 } else { now };
        }
        self.phase = Phase::Free;
        self.preferred_rows = done.preferred_rows;
        done.outputs.into_iter().for_each(|(target, item)| put(&mut self.pending, target, item));
        if let Some(time) = done.tick
            && self.tick.is_none_or(|t| time < t)
        {
            self.tick = Some(time);
            actions.push(Action::TickAt(time));
        }
        if done.wants_epoch && !self.epoch_wanted {
            self.epoch_wanted = true;
            actions.push(Action::Tell(SubtaskReport::WantsEpoch));
        }
        match done.outcome {
            WorkResult::Processed | WorkResult::Notified | WorkResult::Polled(Polled::More) => {}
            WorkResult::Polled(Polled::Wait(time)) => {
                self.supply_changes(Supply::Flowing, Supply::Waiting);
                actions.push(Action::WakeAfter(time));
            }
            WorkResult::Polled(Polled::End) => {
                self.supply = Some(Supply::Exhausted);
                actions.push(Action::Tell(SubtaskReport::SourceEnded));
            }
            WorkResult::Checkpointed { barrier, outbox } => {
                self.epoch_wanted = false;
                self.pending.extend((0..self.credits.len()).map(|target| (target, Element::Barrier(barrier))));
                actions.push(Action::Ack { epoch: barrier.epoch, outbox });
                if barrier.last {
                    self.phase = Phase::Ending;
                }
            }
            WorkResult::Failed(e) => self.fail(e, actions),
        }
    }

    fn fail(&mut self, e: weir_core::Error, actions: &mut Vec<Action<B>>) {
        self.phase = Phase::Failed;
        actions.extend([Action::Tell(SubtaskReport::Failed(e)), Action::Stop]);
    }

    /// Sends what there is room for. Then begins the next piece of work, if there is one and everything was sent.
    fn proceed(&mut self, actions: &mut Vec<Action<B>>) {
        if !matches!(self.phase, Phase::Free | Phase::Ending) {
            return;
        }
        self.send(actions);
        if !self.pending.is_empty() || self.phase == Phase::Ending {
            self.held_up = true;
            return;
        }
        let work = match self.supply {
            None => self.next_work(actions),
            Some(supply) => match self.asked.take() {
                Some(barrier) => Ok(Some(Work::Checkpoint(barrier))),
                None if supply == Supply::Flowing => {
                    Ok(Some(Work::Poll { held_up: std::mem::take(&mut self.held_up) }))
                }
                None => Ok(None),
            },
        };
        match work {
            Ok(None) => {}
            Ok(Some(work)) => {
                let rows = match &work {
                    Work::Process(_, batches) => batches.iter().map(B::rows).sum(),
                    _ => 0,
                };
                self.phase = Phase::Working(rows);
                actions.push(Action::Work(work));
            }
            Err(e) => self.fail(e, actions),
        }
    }

    /// Sends the elements for which there is room. The order for each target is kept.
    fn send(&mut self, actions: &mut Vec<Action<B>>) {
        if self.pending.is_empty() {
            return;
        }
        let mut blocked = vec![false; self.credits.len()];
        // One pass over the queue: blocked elements go to its end, so they keep their order.
        for _ in 0..self.pending.len() {
            let Some((target, item)) = self.pending.pop_front() else { break };
            let needed = usize::from(matches!(item, Element::Batch(_)));
            blocked[target] |= self.credits[target] < needed;
            if blocked[target] {
                self.pending.push_back((target, item));
            } else {
                self.credits[target] -= needed;
                actions.push(Action::Send { target, item });
            }
        }
    }

    /// The first element in the queue whose channel is not blocked by barrier alignment.
    fn first_open(&self) -> Option<usize> {
        self.queue.iter().position(|(channel, _)| self.channels[*channel].barrier.is_none())
    }

    /// The next piece of work of an operator or sink.
    fn next_work(&mut self, actions: &mut Vec<Action<B>>) -> Result<Option<Work<B>>> {
        loop {
            match self.due.pop_front() {
                Some(Due::Work(work)) => return Ok(Some(work)),
                Some(Due::Idle) => {
                    self.pending.extend((0..self.credits.len()).map(|target| (target, Element::Idle)));
                    self.send(actions);
                }
                None => {}
            }
            if !self.pending.is_empty() {
                return Ok(None);
            }
            if self.due.is_empty() {
                let work = self.next_item(actions)?;
                if work.is_some() || self.due.is_empty() {
                    return Ok(work);
                }
            }
        }
    }

    /// The next piece of work from the queue. There is none if the queue has none, or if something else is due before it.
    fn next_item(&mut self, actions: &mut Vec<Action<B>>) -> Result<Option<Work<B>>> {
        while self.due.is_empty()
            && let Some(at) = self.first_open()
        {
            match self.queue.remove(at) {
                Some((channel, Element::Batch(batch))) => {
                    let input = self.channels[channel].input;
                    let most = (self.pace * PIECE.as_secs_f64()).clamp(1.0, f64::from(u32::MAX)) as usize;
                    let batches = if batch.rows() / 2 > most {
                        let (first, rest) = batch.cut(most)?;
                        self.queue.insert(at, (channel, Element::Batch(rest)));
                        vec![first]
                    } else {
                        actions.push(Action::Credit { channel });
                        self.take_batches(input, batch, actions)
                    };
                    return Ok(Some(Work::Process(input, batches)));
                }
                Some((channel, Element::Watermark(watermark))) => {
                    self.progress.advance(channel, watermark);
                    self.time_changes();
                }
                Some((channel, Element::Idle)) => {
                    self.progress.set_idle(channel);
                    self.time_changes();
                }
                Some((channel, Element::End)) => {
                    let input = self.progress.end(channel);
                    self.time_changes();
                    let last = self.progress.all_ended();
                    self.due.extend(input.map(|input| Due::Work(Work::InputEnded { input, last })));
                }
                Some((channel, Element::Barrier(barrier))) => {
                    self.channels[channel].barrier = Some(barrier);
                    let of_other = |c: &Channel| c.barrier.is_some_and(|b| b.epoch != barrier.epoch);
                    if self.channels.iter().any(of_other) {
                        return Err(Error::internal(format!(
                            "barriers of different epochs meet at {:?}",
                            barrier.epoch
                        )));
                    }
                    if self.channels.iter().all(|c| c.barrier.is_some()) {
                        self.channels.iter_mut().for_each(|c| c.barrier = None);
                        return Ok(Some(Work::Checkpoint(barrier)));
                    }
                }
                None => break,
            }
        }
        Ok(None)
    }

    /// Has the operator notified if event time has advanced, and the targets if this subtask becomes idle.
    fn time_changes(&mut self) {
        let (now, idle) = (self.progress.event_time(), self.progress.is_idle());
        let resumes = self.idle && !idle;
        if now != self.told || resumes {
            self.told = now.clone();
            self.due.push_back(Due::Work(Work::Advance(now)));
        }
        if idle && !self.idle {
            self.due.push_back(Due::Idle);
        }
        self.idle = idle;
    }

    /// A batch and those that follow on the same input, up to the next barrier, and up to the rows that the operator prefers.
    fn take_batches(&mut self, input: usize, first: B, actions: &mut Vec<Action<B>>) -> Vec<B> {
        let mut rows = first.rows();
        let mut batches = vec![first];
        while rows < self.preferred_rows
            && let Some(at) = self.first_open()
            && let (channel, Element::Batch(_)) = self.queue[at]
            && self.channels[channel].input == input
            && let Some((_, Element::Batch(batch))) = self.queue.remove(at)
        {
            actions.push(Action::Credit { channel });
            rows += batch.rows();
            batches.push(batch);
        }
        batches
    }
}

/// Appends an element. If the channel's last element is a watermark too, the new one replaces it.
fn put<B>(waiting: &mut VecDeque<(usize, Element<B>)>, channel: usize, item: Element<B>) {
    if let Element::Watermark(new) = item
        && let Some((_, Element::Watermark(old))) = waiting.iter_mut().rev().find(|(c, _)| *c == channel)
    {
        *old = new;
        return;
    }
    waiting.push_back((channel, item));
}
