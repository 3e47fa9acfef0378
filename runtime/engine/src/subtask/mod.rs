//! The actor of a subtask: a shell around its [machine](machine). It carries out the machine's actions, keeps time, and has a thread.

#[cfg(test)]
mod interleavings;
pub(crate) mod machine;

use crate::coordinator::Coordinator;
use crate::messages::{Ack, Connect, Credit, Data, Hold, StartEpoch, SubtaskReport};
use crate::worker::{Report, Task, Worker};
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Recipient};
use crossbeam_channel::Sender;
use machine::{Action, Activity, Event, Machine, Work};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::clock::Clock;
use weir_core::event_time::ChannelTime;
use weir_core::event_time_report;
use weir_core::metrics::SubtaskMetrics;
use weir_core::thread::{locked, spawn_with_stack};
use weir_core::{Batch, Error};

/// The stack size of a thread that runs functions. Wasm takes at most a megabyte of it.
const STACK: usize = 8 << 20;

/// A channel to a downstream subtask.
pub(crate) struct Target {
    pub recipient: Recipient<Data>,
    pub connect: Recipient<Connect>,
    pub channel: usize,
}

/// A channel from an upstream subtask.
pub(crate) struct Input {
    /// The input of the operator that it belongs to.
    pub input: usize,
    /// The operator that sends on it.
    pub operator: Arc<str>,
    pub subtask: usize,
}

pub(crate) struct Subtask {
    pub node: usize,
    name: String,
    coordinator: Addr<Coordinator>,
    metrics: SubtaskMetrics,
    clock: Arc<dyn Clock>,
    machine: Machine<Batch>,
    /// The worker, until its thread is started.
    worker: Option<Worker>,
    work: Option<Sender<Work<Batch>>>,
    /// For each channel, the upstream subtask, and the number of this target there.
    senders: Vec<Option<(Recipient<Credit>, usize)>>,
    targets: Vec<Target>,
    /// The upstream subtask of each channel.
    inputs: Vec<Input>,
    /// The watermarks that were last published.
    shown: Vec<ChannelTime>,
    /// The metric that time counts towards, and since when it was not counted.
    activity: Activity,
    since: Instant,
    /// When the current piece of work began.
    began: Instant,
}

impl Subtask {
    pub fn new(
        node: usize,
        name: String,
        coordinator: Addr<Coordinator>,
        mut worker: Worker,
        inputs: Vec<Input>,
        targets: Vec<Target>,
    ) -> Self {
        let senders = inputs.iter().map(|_| None).collect();
        let mut machine = match worker.task {
            Task::Source(_) => Machine::source(targets.len()),
            Task::Operator(_) | Task::Sink(_) => Machine::new(inputs.iter().map(|i| i.input).collect(), targets.len()),
        };
        if let Some(time) = worker.resumes.take() {
            machine.resume(&time);
        }
        Subtask {
            node,
            name,
            coordinator,
            metrics: worker.metrics.clone(),
            clock: worker.clock.clone(),
            activity: machine.activity(),
            machine,
            worker: Some(worker),
            work: None,
            senders,
            targets,
            inputs,
            shown: vec![],
            since: Instant::now(),
            began: Instant::now(),
        }
    }

    /// Adds the time since the last call to the metric of the current activity.
    fn account(&mut self) {
        let now = Instant::now();
        let elapsed = now.duration_since(self.since).as_secs_f64();
        self.since = now;
        match self.activity {
            Activity::Busy => self.metrics.busy.inc_by(elapsed),
            Activity::BackPressured => self.metrics.back_pressured.inc_by(elapsed),
            Activity::Idle => self.metrics.idle.inc_by(elapsed),
        }
        self.activity = self.machine.activity();
    }

    /// Passes an event to the machine, and carries out its actions.
    fn on(&mut self, event: Event<Batch>, ctx: &mut Context<Self>) {
        // Each piece of work is accounted for separately, so a scrape between two of them sees current values.
        let done = matches!(event, Event::Done(_));
        let mut actions = vec![];
        self.machine.on(event, &mut actions);
        for action in actions {
            self.act(action, ctx);
        }
        if done || self.activity != self.machine.activity() {
            self.account();
        }
        self.metrics.queue.set(self.machine.queued() as i64);
    }

    /// Publishes the watermarks of all channels, and that of the operator, for reports.
    fn show_event_time(&mut self) {
        let now: Vec<ChannelTime> = self.machine.progress().channels().collect();
        if now == self.shown {
            return;
        }
        let senders = self.inputs.iter().zip(&now);
        let senders = senders.map(|(i, time)| event_time_report::Sender {
            operator: i.operator.clone(),
            subtask: i.subtask,
            time: *time,
        });
        let mut report = locked(&self.metrics.event_time);
        report.input = self.machine.progress().event_time().all;
        report.senders = senders.collect();
        drop(report);
        self.shown = now;
    }

    fn act(&mut self, action: Action<Batch>, ctx: &mut Context<Self>) {
        match action {
            Action::Send { target, item } => {
                let t = &self.targets[target];
                t.recipient.do_send(Data { channel: t.channel, item });
            }
            Action::Credit { channel } => {
                if let Some((sender, target)) = &self.senders[channel] {
                    sender.do_send(Credit { target: *target });
                }
            }
            Action::Work(work) => {
                self.began = Instant::now();
                if let Some(w) = &self.work
                    && w.send(work).is_err()
                {
                    self.fails(Error::internal(format!("the thread of '{}' is gone", self.name)));
                }
            }
            Action::Tell(SubtaskReport::Failed(e)) => self.fails(e.context(format!("operator '{}'", self.name))),
            Action::Tell(report) => self.coordinator.do_send(report),
            Action::Ack { epoch, outbox } => self.coordinator.do_send(Ack { node: self.node, epoch, outbox }),
            Action::WakeAfter(time) => {
                ctx.run_later(time, |subtask, ctx| subtask.on(Event::Waited, ctx));
            }
            Action::TickAt(time) => self.tick_at(time, ctx),
            Action::Stop => ctx.stop(),
        }
    }

    /// Sends [`Event::Ticked`] when the clock has reached this time.
    fn tick_at(&self, time: i64, ctx: &mut Context<Self>) {
        let clock = self.clock.clone();
        ctx.run_later(clock.until(time), move |subtask, ctx| {
            if clock.now() < time {
                subtask.tick_at(time, ctx);
            } else {
                subtask.on(Event::Ticked(time), ctx);
            }
        });
    }

    fn fails(&self, e: Error) {
        self.coordinator.do_send(SubtaskReport::Failed(e));
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
        let report: Recipient<Report> = ctx.address().recipient();
        if let Some(worker) = self.worker.take() {
            let name: String = self.name.chars().take(15).collect();
            if let Err(e) = spawn_with_stack(&name, STACK, move || worker.run(&receiver, &report)) {
                self.fails(e);
            }
        }
        self.work = Some(sender);
        self.metrics.queue_room.set(self.machine.queue_room() as i64);
        self.since = Instant::now();
        // Keeps metrics current during a long piece of work.
        ctx.run_interval(Duration::from_millis(500), |a, _| {
            a.account();
            a.show_event_time();
        });
        self.on(Event::Started, ctx);
    }
}

impl Handler<Connect> for Subtask {
    type Result = ();
    fn handle(&mut self, c: Connect, _: &mut Self::Context) {
        self.senders[c.channel] = Some((c.sender, c.target));
    }
}

impl Handler<Data> for Subtask {
    type Result = ();
    fn handle(&mut self, d: Data, ctx: &mut Self::Context) {
        self.on(Event::Arrived { channel: d.channel, item: d.item }, ctx);
    }
}

impl Handler<Credit> for Subtask {
    type Result = ();
    fn handle(&mut self, c: Credit, ctx: &mut Self::Context) {
        self.on(Event::Credited { target: c.target }, ctx);
    }
}

impl Handler<StartEpoch> for Subtask {
    type Result = ();
    fn handle(&mut self, s: StartEpoch, ctx: &mut Self::Context) {
        self.on(Event::EpochAsked(s.0), ctx);
    }
}

impl Handler<Hold> for Subtask {
    type Result = ();
    fn handle(&mut self, _: Hold, ctx: &mut Self::Context) {
        self.on(Event::Held, ctx);
    }
}

impl Handler<Report> for Subtask {
    type Result = ();
    fn handle(&mut self, r: Report, ctx: &mut Self::Context) {
        self.metrics.cpu.inc_by(r.cpu.as_secs_f64());
        self.metrics.useful.inc_by(r.useful.as_secs_f64());
        self.on(Event::Done(r.done), ctx);
    }
}
