//! The actor that keeps a generation together: starts epochs, collects acks, has them made durable, ends the job.

use crate::control::{Control, Shared};
use crate::messages::{Ack, Barrier, Hold, News, StartEpoch};
use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient, System};
use crossbeam_channel::Sender;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_core::state::{Epoch, Outbox};

/// How long rows on their way may take to pass when the job is to stop: less than the time that Kubernetes gives.
const STOPPING: Duration = Duration::from_secs(20);

/// The same when a function is in a call for that long: more than calls take, so that nobody knows when it comes back.
const HANGING: Duration = Duration::from_secs(2);

/// The same when parallelisms are to change: as long as rows pass, and when none does.
const RESCALING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(400));

/// An epoch on its way.
struct Running {
    barrier: Barrier,
    acks: usize,
    outbox: BTreeMap<usize, Vec<Vec<u8>>>,
    started: Instant,
    committing: bool,
}

/// Tells the coordinator who its sources are.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Sources(pub Vec<(Recipient<StartEpoch>, Recipient<Hold>)>);

pub(crate) struct Coordinator {
    pub shared: Arc<Shared>,
    pub control: Arc<Control>,
    /// The thread that makes epochs durable and delivers them.
    pub committer: Sender<(Epoch, Outbox, bool)>,
    pub sources: Vec<(Recipient<StartEpoch>, Recipient<Hold>)>,
    pub subtasks: usize,
    pub interval: Duration,
    ended: usize,
    next: u64,
    current: Option<Box<Running>>,
    last_start: Instant,
    wanted: bool,
    /// Since when the job has been asked to stop, or to change its parallelisms.
    asked: Option<Instant>,
    /// Whether its sources can go back to the last epoch.
    rewinds: bool,
}

impl Coordinator {
    pub fn new(
        shared: Arc<Shared>,
        control: Arc<Control>,
        committer: Sender<(Epoch, Outbox, bool)>,
        subtasks: usize,
        interval: Duration,
        next: u64,
        rewinds: bool,
    ) -> Self {
        Coordinator {
            shared,
            control,
            committer,
            sources: vec![],
            subtasks,
            interval,
            ended: 0,
            next,
            current: None,
            last_start: Instant::now(),
            wanted: false,
            asked: None,
            rewinds,
        }
    }

    /// Gives the epoch on its way up when rows take too long to pass: they come again, after the last epoch that is durable.
    /// Under back-pressure a change of parallelism would otherwise wait for just what it is to mend.
    fn give_up(&mut self) -> bool {
        let stop = self.control.stop.load(Ordering::Relaxed);
        if !stop && !self.control.asked() {
            self.asked = None;
            return false;
        }
        let since = *self.asked.get_or_insert_with(Instant::now);
        let hangs = stop && since.elapsed() >= HANGING && self.control.longest_call() >= HANGING;
        let over = match stop {
            true => since.elapsed() >= STOPPING || hangs,
            false => since.elapsed() >= RESCALING.0 || self.control.pause.silence(since) >= RESCALING.1,
        };
        let on_its_way = self.current.as_ref().is_some_and(|r| !r.committing && (hangs || !r.barrier.end));
        if !on_its_way || !self.rewinds || !over {
            return false;
        }
        if hangs {
            tracing::warn!("a function does not come back: its rows come again when the job is run again");
        } else if stop {
            tracing::warn!("rows take longer than {STOPPING:?} to pass: they come again when the job is run again");
        }
        self.finish(Ok(false));
        true
    }

    /// Starts an epoch when it is time for one and none is on its way.
    fn tick(&mut self) {
        if self.give_up() {
            return;
        }
        if self.current.is_some() || self.sources.is_empty() {
            return;
        }
        let end = self.ended == self.sources.len();
        let stop = self.control.stop.load(Ordering::Relaxed) || self.control.asked();
        if !(end || stop || self.wanted || self.last_start.elapsed() >= self.interval) {
            return;
        }
        self.wanted = false;
        self.last_start = Instant::now();
        let barrier = Barrier { epoch: Epoch(self.next), last: end || stop, end };
        self.next += 1;
        self.current = Some(Box::new(Running {
            barrier,
            acks: 0,
            outbox: BTreeMap::new(),
            started: Instant::now(),
            committing: false,
        }));
        self.sources.iter().for_each(|(s, _)| s.do_send(StartEpoch(barrier)));
    }

    fn finish(&mut self, result: weir_core::Result<bool>) {
        self.control.pause.ended(self.asked);
        self.shared.finish(result);
        System::current().stop();
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        // Often enough for what is asked from outside, and when the next epoch is due: a job that has nothing to do should do nothing.
        let every = (self.interval / 10).clamp(Duration::from_millis(1), Duration::from_millis(100));
        ctx.run_interval(every, move |a, ctx| {
            a.tick();
            let due = a.interval.saturating_sub(a.last_start.elapsed());
            if a.current.is_none() && due < every {
                ctx.run_later(due, |a, _| a.tick());
            }
        });
    }
}

impl Handler<Sources> for Coordinator {
    type Result = ();
    fn handle(&mut self, s: Sources, _: &mut Self::Context) {
        self.sources = s.0;
        self.last_start = Instant::now();
        self.tick();
    }
}

impl Handler<Ack> for Coordinator {
    type Result = ();
    fn handle(&mut self, a: Ack, _: &mut Self::Context) {
        let Some(r) = self.current.as_mut().filter(|r| r.barrier.epoch == a.epoch) else {
            return;
        };
        r.acks += 1;
        r.outbox.entry(a.node).or_default().extend(a.outbox);
        if r.acks < self.subtasks || r.committing {
            return;
        }
        r.committing = true;
        let passed = r.started.elapsed();
        self.shared.metrics.align.observe(passed.as_secs_f64());
        if r.barrier.last {
            tracing::debug!("the last barrier has passed after {passed:.1?}");
        }
        let outbox: Outbox = std::mem::take(&mut r.outbox)
            .into_iter()
            .filter(|(_, e)| !e.is_empty())
            .map(|(node, e)| (self.shared.uid(node), e))
            .collect();
        // The committer ends only with this sender, or after it has said why.
        let _ = self.committer.send((r.barrier.epoch, outbox, r.barrier.end));
    }
}

impl Handler<News> for Coordinator {
    type Result = ();
    fn handle(&mut self, news: News, _: &mut Self::Context) {
        match news {
            News::SourceEnded => self.ended += 1,
            News::WantsEpoch => {
                self.wanted = true;
                // One epoch is on its way already: until it is durable, what an operator holds must not grow.
                if self.current.is_some() {
                    self.sources.iter().for_each(|(_, h)| h.do_send(Hold));
                }
            }
            News::Failed(e) => return self.finish(Err(e)),
            News::Committed { epoch, bytes } => {
                let Some(r) = self.current.take() else { return };
                let m = &self.shared.metrics;
                m.epochs.inc();
                m.epoch_bytes.inc_by(bytes);
                m.epoch_number.set(epoch.0 as i64);
                m.delivered();
                self.control.pause.epoch();
                m.epoch_duration.observe(r.started.elapsed().as_secs_f64());
                if r.barrier.last {
                    tracing::debug!("the last epoch is delivered after {:.1?}, {bytes} bytes", r.started.elapsed());
                    return self.finish(Ok(r.barrier.end));
                }
            }
        }
        self.tick();
    }
}
