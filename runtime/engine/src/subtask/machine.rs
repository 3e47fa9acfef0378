//! What a subtask decides, without actors, threads or clocks: an event goes in, actions come out. The actor around it delivers
//! messages and keeps time, so that every order of events can be tried in a test.
//!
//! ```text
//!            a batch, all barriers, a poll            done
//!   Free ────────────────────────────────▶ Working ─────────▶ Free
//!                                             │
//!                        the last barrier ────┼──▶ Ending     what is pending is sent, nothing is begun
//!                        an error ────────────┴──▶ Failed     nothing happens any more
//! ```
//!
//! A source has a supply as well:
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
//! Watermarks are combined over the channels of each input, and over the inputs; the operator is told when one of these has come
//! further, and when an input has ended. A channel that is idle holds nobody back.
//!
//! Barriers are aligned as in Chandy and Lamport's snapshots, in the form that Flink made known: a channel whose barrier has come is
//! not read until all have theirs. Room is given by credits: a batch needs one of its target's, whatever else travels needs none, and
//! nothing new is begun as long as something cannot be sent.

use crate::messages::{Barrier, Element, SubtaskReport, WorkResult};
use std::collections::VecDeque;
use std::time::Duration;
use weir_core::event_time::{EventTime, WatermarkProgress};
use weir_core::graph::Polled;
use weir_core::state::Epoch;
use weir_core::{Batch, Error, Result};

/// Batches that may be on their way on one channel.
pub(crate) const WINDOW: usize = 4;

/// How long a piece of work should take at most: a batch that would take longer is taken in parts, so that barriers, counters and
/// what steers the job do not wait for it.
const PIECE: Duration = Duration::from_millis(200);

/// Rows a second, as long as nothing is known: a first piece of some hundred rows will tell.
const FIRST_PACE: f64 = 1_280.0;

/// What the machine does with a batch: it counts its rows and cuts it.
pub(crate) trait RowBatch: Sized {
    /// The number of rows.
    fn rows(&self) -> usize;
    /// The first rows, and the others.
    ///
    /// # Errors
    /// When it cannot be cut.
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
    /// Ask the source for rows. `held_up`: since it was asked last, a target had no room, or the source was held.
    Poll { held_up: bool },
    /// Take rows of an input.
    Process(usize, Vec<B>),
    /// Take note that event time has come further.
    Advance(EventTime),
    /// Take note that nothing will come on an input, and whether it is the last.
    InputEnded { input: usize, last: bool },
    /// Take note that a time of day has come.
    Tick,
    /// Hand the epoch over.
    Checkpoint(Barrier),
}

/// What happens to a subtask.
#[derive(Debug)]
pub(crate) enum Event<B> {
    /// All is connected.
    Started,
    /// Something came on a channel.
    Arrived { channel: usize, item: Element<B> },
    /// A target has room for one more batch.
    Credited { target: usize },
    /// The coordinator asks a source for a barrier.
    EpochAsked(Barrier),
    /// The coordinator asks a source to bring nothing more until the next barrier.
    Held,
    /// The time that a source asked for is over.
    Waited,
    /// The time of day has come that the operator asked for.
    Ticked(i64),
    /// The thread has done its piece of work.
    Done(Done<B>),
}

/// What came of a piece of work.
#[derive(Debug)]
pub(crate) struct Done<B> {
    pub outcome: WorkResult,
    /// What goes to which target.
    pub outputs: Vec<(usize, Element<B>)>,
    /// How long it took.
    pub took: Duration,
    /// The rows that the operator would rather take at once.
    pub preferred_rows: usize,
    /// Whether changes in memory ask for an epoch before its time.
    pub wants_epoch: bool,
    /// The time of day at which the operator is to be called next.
    pub tick: Option<i64>,
}

/// What a subtask does.
#[derive(Debug)]
pub(crate) enum Action<B> {
    /// Send to a target.
    Send { target: usize, item: Element<B> },
    /// Give room back to a channel's sender.
    Credit { channel: usize },
    /// Have the thread do something.
    Work(Work<B>),
    /// Tell the coordinator.
    Tell(SubtaskReport),
    /// Tell the coordinator that the epoch has passed here.
    Ack { epoch: Epoch, outbox: Vec<Vec<u8>> },
    /// Say when so much time is over.
    WakeAfter(Duration),
    /// Say when it is so late, in milliseconds since 1970.
    TickAt(i64),
    /// There is nothing left to do.
    Stop,
}

/// What the time of a subtask is booked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Busy,
    BackPressured,
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    /// The thread has a piece of work of so many rows.
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
    /// Which input of the operator it feeds.
    input: usize,
    /// The barrier that has come on it, while others are waited for.
    barrier: Option<Barrier>,
}

/// What follows from an item that is no batch.
#[derive(Debug)]
enum Due<B> {
    Work(Work<B>),
    /// Say to all targets that nothing follows for a while.
    Idle,
}

/// The decisions of one subtask.
#[derive(Debug)]
pub(crate) struct Machine<B> {
    phase: Phase,
    /// Of sources only.
    supply: Option<Supply>,
    /// The barrier that a source was asked for.
    asked: Option<Barrier>,
    /// Whether a source could not be asked for rows for a while, though it may have had some.
    held_up: bool,
    channels: Vec<Channel>,
    /// Event time, and what the operator knows of it.
    progress: WatermarkProgress,
    told: EventTime,
    idle: bool,
    /// What is to be done before the next item.
    due: VecDeque<Due<B>>,
    /// The time of day that was asked for.
    tick: Option<i64>,
    /// What has arrived and was not begun.
    queue: VecDeque<(usize, Element<B>)>,
    /// The batches that each target has room for.
    credits: Vec<usize>,
    /// What is to be sent, in order.
    pending: VecDeque<(usize, Element<B>)>,
    preferred_rows: usize,
    /// Whether the coordinator was asked for an epoch that has not come yet.
    epoch_wanted: bool,
    /// Rows a second of the last pieces of work.
    pace: f64,
}

impl<B: RowBatch> Machine<B> {
    /// The machine of a source with so many targets.
    pub fn source(targets: usize) -> Self {
        Machine { supply: Some(Supply::Flowing), ..Self::new(vec![], targets) }
    }

    /// The machine of an operator or a sink; `inputs` has for each channel the input that it feeds.
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

    /// Begins with the event time that an earlier generation's operator had come to, before anything arrives.
    pub fn resume(&mut self, at: &EventTime) {
        self.progress.resume(at);
        self.time_changes();
    }

    /// What is known of event time.
    pub fn progress(&self) -> &WatermarkProgress {
        &self.progress
    }

    /// What its time is booked as at the moment.
    pub fn activity(&self) -> Activity {
        match self.phase {
            Phase::Working(_) => Activity::Busy,
            _ if !self.pending.is_empty() => Activity::BackPressured,
            _ => Activity::Idle,
        }
    }

    /// Batches and barriers that have arrived and were not begun.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Batches that can be queued.
    pub fn queue_room(&self) -> usize {
        self.channels.len() * WINDOW
    }

    /// The room that a target has.
    #[cfg(test)]
    pub fn credits(&self, target: usize) -> usize {
        self.credits[target]
    }

    /// The batches of a channel that have arrived and for which no room was given back.
    #[cfg(test)]
    pub fn queued_batches(&self, of: usize) -> usize {
        self.queue.iter().filter(|(channel, item)| *channel == of && matches!(item, Element::Batch(_))).count()
    }

    /// Takes an event, and says what follows from it, in order.
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
            // One that was asked for before an earlier one is asked for again.
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
            // What was slow once may have been a cold start, so a faster piece counts at once.
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

    /// Sends what there is room for, and begins the next piece of work, if there is one and room for what comes of it.
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

    /// Sends what there is room for. Order is kept for each target.
    fn send(&mut self, actions: &mut Vec<Action<B>>) {
        if self.pending.is_empty() {
            return;
        }
        let mut blocked = vec![false; self.credits.len()];
        // Once through all: what is blocked comes behind what was not looked at yet, in its order.
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

    /// The first in the queue whose channel does not wait for other channels' barriers.
    fn first_open(&self) -> Option<usize> {
        self.queue.iter().position(|(channel, _)| self.channels[*channel].barrier.is_none())
    }

    /// What an operator or a sink does next.
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

    /// The next piece of work in the queue; none when there is none, or something is due before it.
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

    /// Has the operator told of event time if that has come further, and those behind if nothing follows for a while.
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

    /// A batch and what waits behind it on the same input, up to the next barrier and as much as the operator wants.
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

/// Puts an item behind those that wait. Of two watermarks of one channel without anything between them, the later one is enough.
fn put<B>(waiting: &mut VecDeque<(usize, Element<B>)>, channel: usize, item: Element<B>) {
    if let Element::Watermark(new) = item
        && let Some((_, Element::Watermark(old))) = waiting.iter_mut().rev().find(|(c, _)| *c == channel)
    {
        *old = new;
        return;
    }
    waiting.push_back((channel, item));
}
