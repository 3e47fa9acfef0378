//! The actor that keeps a generation together: a shell around its [machine](machine), which starts epochs, has them made durable,
//! and ends the generation.

pub(crate) mod machine;

use crate::control::{Control, Shared};
use crate::messages::{Ack, Barrier, Hold, News, StartEpoch};
use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient, System};
use crossbeam_channel::Sender;
use machine::{Action, Event, Machine, Outside, Reason, STOPPING};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_core::state::{Epoch, Outbox};

/// Tells the coordinator who its sources are.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Sources(pub Vec<(Recipient<StartEpoch>, Recipient<Hold>)>);

pub(crate) struct Coordinator {
    shared: Arc<Shared>,
    control: Arc<Control>,
    /// The thread that makes epochs durable and delivers them.
    committer: Sender<(Epoch, Outbox, bool)>,
    sources: Vec<(Recipient<StartEpoch>, Recipient<Hold>)>,
    /// How often to look at what is asked from outside.
    every: Duration,
    machine: Machine,
}

impl Coordinator {
    pub fn new(
        shared: Arc<Shared>,
        control: Arc<Control>,
        committer: Sender<(Epoch, Outbox, bool)>,
        machine: Machine,
        interval: Duration,
    ) -> Self {
        // Often enough for what is asked from outside. A job that has nothing to do should do nothing.
        let every = (interval / 10).clamp(Duration::from_millis(1), Duration::from_millis(100));
        Coordinator { shared, control, committer, sources: vec![], every, machine }
    }

    fn on(&mut self, event: Event) {
        let now = Instant::now();
        let stop = self.control.stop.load(Ordering::Relaxed);
        let outside = Outside {
            now,
            stop,
            rescale: self.control.asked(),
            last_row: self.control.pause.last_row(),
            longest_call: if stop { self.control.longest_call() } else { Duration::ZERO },
        };
        let mut actions = vec![];
        self.machine.on(event, &outside, &mut actions);
        actions.into_iter().for_each(|a| self.act(a));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(barrier) => self.sources.iter().for_each(|(s, _)| s.do_send(StartEpoch(barrier))),
            Action::Hold => self.sources.iter().for_each(|(_, h)| h.do_send(Hold)),
            Action::Commit { barrier: Barrier { epoch, last, end }, outbox, after } => {
                self.shared.metrics.align.observe(after.as_secs_f64());
                if last {
                    tracing::debug!("the last barrier has passed after {after:.1?}");
                }
                let outbox: Outbox = outbox
                    .into_iter()
                    .filter(|(_, e)| !e.is_empty())
                    .map(|(node, e)| (self.shared.uid(node), e))
                    .collect();
                // The committer ends only with this sender, or after it has said why.
                let _ = self.committer.send((epoch, outbox, end));
            }
            Action::Passed { epoch, after, bytes } => {
                let m = &self.shared.metrics;
                m.epochs.inc();
                m.epoch_bytes.inc_by(bytes);
                m.epoch_number.set(epoch.0 as i64);
                m.delivered();
                self.control.pause.epoch();
                m.epoch_duration.observe(after.as_secs_f64());
            }
            Action::GivenUp(Reason::Hangs) => {
                tracing::warn!("a function does not come back: its rows come again when the job is run again");
            }
            Action::GivenUp(Reason::Stop) => {
                tracing::warn!("rows take longer than {STOPPING:?} to pass: they come again when the job is run again");
            }
            Action::GivenUp(Reason::Rescale) => tracing::debug!("the epoch on its way is given up"),
            Action::Finish { result, asked } => {
                self.control.pause.ended(asked);
                self.shared.finish(result);
                System::current().stop();
            }
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.every, |a, ctx| {
            a.on(Event::Look);
            // Exactly when the next epoch is due.
            if let Some(due) = a.machine.due(Instant::now()).filter(|due| *due < a.every) {
                ctx.run_later(due, |a, _| a.on(Event::Look));
            }
        });
    }
}

impl Handler<Sources> for Coordinator {
    type Result = ();
    fn handle(&mut self, s: Sources, _: &mut Self::Context) {
        self.sources = s.0;
        self.on(Event::Ready { sources: self.sources.len() });
    }
}

impl Handler<Ack> for Coordinator {
    type Result = ();
    fn handle(&mut self, a: Ack, _: &mut Self::Context) {
        self.on(Event::Ack { node: a.node, epoch: a.epoch, outbox: a.outbox });
    }
}

impl Handler<News> for Coordinator {
    type Result = ();
    fn handle(&mut self, news: News, _: &mut Self::Context) {
        self.on(Event::News(news));
    }
}
