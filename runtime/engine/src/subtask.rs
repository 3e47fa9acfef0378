//! The actor of a subtask: aligns barriers, keeps within its credits, accounts its time.

use crate::coordinator::Coordinator;
use crate::messages::{Ack, Barrier, Connect, Credit, Data, Done, Hold, Item, News, Outcome, StartEpoch};
use crate::worker::{Task, Work, Worker};
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Recipient};
use arrow::array::UInt32Array;
use crossbeam_channel::Sender;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use weir_core::graph::Polled;
use weir_core::metrics::SubtaskMetrics;
use weir_core::thread::spawn_with_stack;
use weir_core::{Batch, Error};

/// Batches that may be on their way on one channel.
const WINDOW: usize = 4;

/// How long a piece of work should take at most: a batch that would take longer is taken in parts, so that barriers, counters and
/// what steers the job do not wait for it.
const PIECE: Duration = Duration::from_millis(200);

/// The stack of a thread that runs functions: Wasm takes a megabyte of it at most.
const STACK: usize = 8 << 20;

/// Where a subtask sends.
pub(crate) struct Target {
    pub recipient: Recipient<Data>,
    pub connect: Recipient<Connect>,
    pub channel: usize,
    pub credits: usize,
}

impl Target {
    pub fn new(recipient: Recipient<Data>, connect: Recipient<Connect>, channel: usize) -> Self {
        Target { recipient, connect, channel, credits: WINDOW }
    }
}

struct Channel {
    /// Which input of the operator it belongs to.
    input: usize,
    sender: Option<(Recipient<Credit>, usize)>,
    barrier: Option<Barrier>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    BackPressured,
    Idle,
}

pub(crate) struct Subtask {
    pub node: usize,
    name: String,
    coordinator: Addr<Coordinator>,
    metrics: SubtaskMetrics,
    worker: Option<Worker>,
    work: Option<Sender<Work>>,
    is_source: bool,
    channels: Vec<Channel>,
    queue: VecDeque<(usize, Item)>,
    targets: Vec<Target>,
    pending: VecDeque<(usize, Item)>,
    running: bool,
    asked: Option<Barrier>,
    waiting: bool,
    held: bool,
    gathers: usize,
    ended: bool,
    finished: bool,
    state: State,
    since: Instant,
    wanted: bool,
    /// The rows of the piece of work at hand, and when it was begun.
    at_hand: (usize, Instant),
    /// Rows a second of the last pieces.
    pace: f64,
}

impl Subtask {
    /// `inputs`: for each channel, the operator's input that it belongs to.
    pub fn new(
        node: usize,
        name: String,
        coordinator: Addr<Coordinator>,
        worker: Worker,
        inputs: Vec<usize>,
        targets: Vec<Target>,
    ) -> Self {
        Subtask {
            node,
            name,
            coordinator,
            metrics: worker.metrics.clone(),
            is_source: matches!(worker.task, Task::Source(_)),
            worker: Some(worker),
            work: None,
            channels: inputs.into_iter().map(|input| Channel { input, sender: None, barrier: None }).collect(),
            queue: VecDeque::new(),
            targets,
            pending: VecDeque::new(),
            running: false,
            asked: None,
            waiting: false,
            held: false,
            gathers: 0,
            ended: false,
            finished: false,
            state: State::Idle,
            since: Instant::now(),
            wanted: false,
            at_hand: (0, Instant::now()),
            // Nothing is known: a first piece of some hundred rows will tell.
            pace: 1_280.0,
        }
    }

    /// Books the time since the last change of state. A worker's own time is booked when it is done.
    fn account(&mut self) {
        let elapsed = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        match self.state {
            State::Busy => self.metrics.busy.inc_by(elapsed),
            State::BackPressured => self.metrics.back_pressured.inc_by(elapsed),
            State::Idle => self.metrics.idle.inc_by(elapsed),
        }
        self.state = match () {
            () if self.running => State::Busy,
            () if !self.pending.is_empty() => State::BackPressured,
            () => State::Idle,
        };
        self.metrics.queue.set(self.queue.len() as i64);
    }

    fn start_work(&mut self, work: Work) {
        self.running = true;
        if let Some(w) = &self.work
            && w.send(work).is_err()
        {
            self.coordinator.do_send(News::Failed(Error::internal(format!("the thread of '{}' is gone", self.name))));
        }
    }

    /// Sends what there is room for. Order is kept for each target.
    fn flush(&mut self) {
        let mut blocked = vec![false; self.targets.len()];
        let mut left = VecDeque::new();
        while let Some((target, item)) = self.pending.pop_front() {
            let t = &mut self.targets[target];
            let counts = matches!(item, Item::Batch(_));
            if blocked[target] || counts && t.credits == 0 {
                blocked[target] = true;
                left.push_back((target, item));
                continue;
            }
            if counts {
                t.credits -= 1;
            }
            t.recipient.do_send(Data { channel: t.channel, item });
        }
        self.pending = left;
    }

    /// Gives room back to a channel's sender.
    fn credit(&self, channel: usize) {
        if let Some((sender, target)) = &self.channels[channel].sender {
            sender.do_send(Credit { target: *target });
        }
    }

    /// Starts the next piece of work, if there is one and room for what comes of it.
    fn next(&mut self) {
        if self.running || self.finished {
            return;
        }
        self.flush();
        if self.pending.is_empty() {
            if self.is_source {
                if let Some(b) = self.asked.take() {
                    self.start_work(Work::Checkpoint(b));
                } else if !self.ended && !self.waiting && !self.held {
                    self.start_work(Work::Poll);
                }
            } else {
                self.next_item();
            }
        }
        self.account();
    }

    /// A batch and what waits behind it on the same input, up to the next barrier and as much as the operator wants.
    fn gather(&mut self, input: usize, first: Batch) -> Vec<Batch> {
        let mut rows = first.rows();
        let mut batches = vec![first];
        while rows < self.gathers {
            let open = |(c, _): &(usize, Item)| self.channels[*c].barrier.is_none();
            let Some(at) = self.queue.iter().position(open) else { break };
            let (channel, Item::Batch(_)) = self.queue[at] else { break };
            if self.channels[channel].input != input {
                break;
            }
            if let Some((_, Item::Batch(b))) = self.queue.remove(at) {
                self.credit(channel);
                rows += b.rows();
                batches.push(b);
            }
        }
        batches
    }

    fn next_item(&mut self) {
        while let Some(at) = self.queue.iter().position(|(c, _)| self.channels[*c].barrier.is_none()) {
            let Some((channel, item)) = self.queue.remove(at) else {
                return;
            };
            match item {
                Item::Batch(b) => {
                    let input = self.channels[channel].input;
                    let most = (self.pace * PIECE.as_secs_f64()).clamp(1.0, f64::from(u32::MAX)) as u32;
                    let rows = b.rows() as u32;
                    let batches = if rows / 2 > most {
                        let part = |from, to| b.take(&UInt32Array::from_iter_values(from..to));
                        match (part(0, most), part(most, rows)) {
                            (Ok(first), Ok(rest)) => {
                                self.queue.insert(at, (channel, Item::Batch(rest)));
                                vec![first]
                            }
                            (Err(e), _) | (_, Err(e)) => return self.coordinator.do_send(News::Failed(e)),
                        }
                    } else {
                        self.credit(channel);
                        self.gather(input, b)
                    };
                    self.at_hand = (batches.iter().map(Batch::rows).sum(), Instant::now());
                    return self.start_work(Work::Process(input, batches));
                }
                Item::Barrier(b) => {
                    self.channels[channel].barrier = Some(b);
                    if self.channels.iter().all(|c| c.barrier.is_some()) {
                        self.channels.iter_mut().for_each(|c| c.barrier = None);
                        return self.start_work(Work::Checkpoint(b));
                    }
                }
            }
        }
    }
}

impl Actor for Subtask {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        let me: Recipient<Credit> = ctx.address().recipient();
        for (i, t) in self.targets.iter().enumerate() {
            t.connect.do_send(Connect { channel: t.channel, sender: me.clone(), target: i });
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let done: Recipient<Done> = ctx.address().recipient();
        if let Some(worker) = self.worker.take() {
            let name: String = self.name.chars().take(15).collect();
            if let Err(e) = spawn_with_stack(&name, STACK, move || worker.run(&receiver, &done)) {
                self.coordinator.do_send(News::Failed(e));
            }
        }
        self.work = Some(sender);
        self.metrics.queue_room.set((self.channels.len() * WINDOW) as i64);
        self.since = Instant::now();
        // So that the times are right for whoever looks while a long piece of work goes on.
        ctx.run_interval(Duration::from_millis(500), |a, _| a.account());
        self.next();
    }
}

impl Handler<Connect> for Subtask {
    type Result = ();
    fn handle(&mut self, c: Connect, _: &mut Self::Context) {
        self.channels[c.channel].sender = Some((c.sender, c.target));
    }
}

impl Handler<Data> for Subtask {
    type Result = ();
    fn handle(&mut self, d: Data, _: &mut Self::Context) {
        self.queue.push_back((d.channel, d.item));
        self.next();
    }
}

impl Handler<Credit> for Subtask {
    type Result = ();
    fn handle(&mut self, c: Credit, _: &mut Self::Context) {
        self.targets[c.target].credits += 1;
        self.next();
    }
}

impl Handler<StartEpoch> for Subtask {
    type Result = ();
    fn handle(&mut self, s: StartEpoch, _: &mut Self::Context) {
        self.asked = Some(s.0);
        self.held = false;
        self.next();
    }
}

impl Handler<Hold> for Subtask {
    type Result = ();
    fn handle(&mut self, _: Hold, _: &mut Self::Context) {
        self.held = true;
    }
}

impl Handler<Done> for Subtask {
    type Result = ();
    fn handle(&mut self, d: Done, ctx: &mut Self::Context) {
        self.running = false;
        if let Outcome::Processed = d.outcome {
            let (rows, began) = self.at_hand;
            let now = rows as f64 / began.elapsed().as_secs_f64().max(1e-6);
            // What was slow once may have been a cold start, so a faster piece counts at once.
            self.pace = if now < self.pace { (self.pace + now) / 2.0 } else { now };
        }
        self.gathers = d.gathers;
        self.account();
        self.metrics.cpu.inc_by(d.cpu.as_secs_f64());
        self.metrics.useful.inc_by(d.useful.as_secs_f64());
        self.pending.extend(d.outputs.into_iter().map(|(t, b)| (t, Item::Batch(b))));
        if d.wants_epoch && !self.wanted {
            self.wanted = true;
            self.coordinator.do_send(News::WantsEpoch);
        }
        match d.outcome {
            Outcome::Processed | Outcome::Polled(Polled::More) => {}
            Outcome::Polled(Polled::Wait(time)) => {
                self.waiting = true;
                ctx.run_later(time, |a, _| {
                    a.waiting = false;
                    a.next();
                });
            }
            Outcome::Polled(Polled::End) => {
                self.ended = true;
                self.coordinator.do_send(News::SourceEnded);
            }
            Outcome::Checkpointed { barrier, outbox } => {
                self.wanted = false;
                (0..self.targets.len()).for_each(|t| self.pending.push_back((t, Item::Barrier(barrier))));
                self.coordinator.do_send(Ack { node: self.node, epoch: barrier.epoch, outbox });
                if barrier.last {
                    // All that is left is to send the barrier on; the credits for it need no asking.
                    self.ended = true;
                }
            }
            Outcome::Failed(e) => {
                self.finished = true;
                self.coordinator.do_send(News::Failed(e.context(format!("operator '{}'", self.name))));
                ctx.stop();
                return;
            }
        }
        self.next();
    }
}
