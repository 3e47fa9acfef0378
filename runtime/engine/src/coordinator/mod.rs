//! The actor that coordinates a generation: a shell around its [machine](machine). It starts epochs, has them made durable, and ends the
//! generation.

pub(crate) mod machine;

use crate::control::{Control, GenerationContext};
use crate::messages::{Ack, Barrier, Hold, StartEpoch, SubtaskReport};
use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle, System};
use crossbeam_channel::Sender;
use machine::{Action, Event, Machine, Outside, Reason, STOPPING};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::state::{Epoch, Outbox};

/// Tells the coordinator the addresses of all sources.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Sources(pub Vec<(Recipient<StartEpoch>, Recipient<Hold>)>);

pub(crate) struct Coordinator {
    shared: Arc<GenerationContext>,
    control: Arc<Control>,
    /// The thread that makes epochs durable and delivers them.
    committer: Sender<(Epoch, Outbox, bool)>,
    sources: Vec<(Recipient<StartEpoch>, Recipient<Hold>)>,
    machine: Machine,
    /// When the next [`Look`] is due, and its timer.
    looks: Option<(Instant, SpawnHandle)>,
}

/// Time has passed, or something was requested from outside.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Coordinator {
    pub fn new(
        shared: Arc<GenerationContext>,
        control: Arc<Control>,
        committer: Sender<(Epoch, Outbox, bool)>,
        machine: Machine,
    ) -> Self {
        Coordinator { shared, control, committer, sources: vec![], machine, looks: None }
    }

    fn on(&mut self, event: Event, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let stop = self.control.stops();
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
        self.look_again(now, ctx);
    }

    /// Sets the timer for the next [`Look`], not earlier than due, so that an idle job does nothing.
    fn look_again(&mut self, now: Instant, ctx: &mut Context<Self>) {
        let due = self.machine.due(now);
        let at = due.map(|due| now + due);
        match (&self.looks, at) {
            (Some((set, _)), Some(at)) if *set <= at && *set > now => return,
            (Some((_, timer)), _) => drop(ctx.cancel_future(*timer)),
            (None, _) => {}
        }
        self.looks = due.map(|due| {
            let timer = ctx.run_later(due, |a, ctx| {
                a.looks = None;
                a.on(Event::Look, ctx);
            });
            (now + due, timer)
        });
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
                // The committer only ends after this sender is dropped, or after it has reported an error.
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
                self.control.pause.ended(asked, Instant::now());
                self.shared.finish(result);
                System::current().stop();
            }
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        let me = ctx.address();
        self.control.tell(move || me.do_send(Look));
        self.on(Event::Look, ctx);
    }
}

impl Handler<Look> for Coordinator {
    type Result = ();
    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.on(Event::Look, ctx);
    }
}

impl Handler<Sources> for Coordinator {
    type Result = ();
    fn handle(&mut self, s: Sources, ctx: &mut Self::Context) {
        self.sources = s.0;
        self.on(Event::Ready { sources: self.sources.len() }, ctx);
    }
}

impl Handler<Ack> for Coordinator {
    type Result = ();
    fn handle(&mut self, a: Ack, ctx: &mut Self::Context) {
        self.on(Event::Ack { node: a.node, epoch: a.epoch, outbox: a.outbox }, ctx);
    }
}

impl Handler<SubtaskReport> for Coordinator {
    type Result = ();
    fn handle(&mut self, report: SubtaskReport, ctx: &mut Self::Context) {
        self.on(Event::Report(report), ctx);
    }
}
