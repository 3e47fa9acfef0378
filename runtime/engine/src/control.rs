//! What the actors of a generation share, and requests to a running job.

use crate::pause::Pause;
use crate::scale::TargetParallelism;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use weir_core::graph::JobGraph;
use weir_core::metrics::JobMetrics;
use weir_core::thread::locked;
use weir_core::{Error, Result};

/// How long to wait for the first rows after a change of parallelism.
const FIRST_ROWS: Duration = Duration::from_secs(2);

/// Requests to a running job, and its status.
#[derive(Debug, Default)]
pub struct Control {
    /// Gives for how long the longest running call of a function has been running; none if the job has no functions.
    pub calls: OnceLock<fn() -> Duration>,
    state: Mutex<ControlState>,
    /// Notified when the state has changed.
    changed: Condvar,
    /// Tells the current generation that there is a request.
    asks: Mutex<Option<Asks>>,
    pub(crate) pause: Pause,
}

#[derive(Debug, Default)]
struct ControlState {
    /// Whether the job is to finish its epoch and stop.
    stop: bool,
    /// Changed parallelisms, to be used from the next epoch on.
    wanted: Option<TargetParallelism>,
    /// Whether subtasks are running.
    running: bool,
    /// Counts generations of subtasks.
    generation: u64,
    parallelism: BTreeMap<String, usize>,
    failure: Option<(SystemTime, String)>,
}

struct Asks(Box<dyn Fn() + Send>);

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asks")
    }
}

impl Control {
    /// Asks the job to finish its epoch and stop. Gives false if it was asked before.
    pub fn stop(&self) -> bool {
        let before = self.change(|s| std::mem::replace(&mut s.stop, true));
        self.ask();
        !before
    }
    /// Whether the job was asked to stop.
    pub fn stops(&self) -> bool {
        locked(&self.state).stop
    }
    /// Waits until the job is asked to stop, for at most this time. Gives whether it was.
    pub(crate) fn stops_within(&self, time: Duration) -> bool {
        self.wait(time, |s| s.stop).stop
    }
    /// For how long the longest running call of a function has been running.
    pub(crate) fn longest_call(&self) -> Duration {
        self.calls.get().map_or(Duration::ZERO, |longest| longest())
    }
    /// Whether subtasks are running: neither before the first have started, nor between two generations.
    pub fn running(&self) -> bool {
        locked(&self.state).running
    }
    /// The current parallelism of every operator, by name.
    pub fn parallelism(&self) -> BTreeMap<String, usize> {
        locked(&self.state).parallelism.clone()
    }
    /// The last failure of the job, and when it happened.
    pub fn last_failure(&self) -> Option<(SystemTime, String)> {
        locked(&self.state).failure.clone()
    }
    /// Changes the parallelisms of operators at the end of an epoch. Waits until the new subtasks are running, and until rows have come
    /// through them if there are any.
    ///
    /// # Errors
    /// If the job cannot have these parallelisms, is stopping or changing others, or does not make the change in time.
    pub fn rescale(
        &self,
        graph: &JobGraph,
        wanted: &TargetParallelism,
        patience: Duration,
    ) -> Result<BTreeMap<String, usize>> {
        if !crate::scale::replayable(graph) {
            return Err(Error::script("a job that reads standard input cannot be scaled while it runs"));
        }
        let wanted = crate::scale::check(graph, wanted)?;
        let before = self.change(|s| {
            let free = s.wanted.is_none();
            s.wanted.get_or_insert_with(|| wanted.clone());
            free.then_some(s.generation)
        });
        let Some(before) = before else {
            return Err(Error::state("another change of parallelism is on its way").hint("try again in a moment"));
        };
        self.ask();
        let done = |s: &ControlState| s.wanted.is_none() && s.generation > before && s.running;
        let mut state = self.wait(patience, |s| s.stop || done(s));
        if !done(&state) {
            state.wanted = None;
            return Err(Error::state(match state.stop {
                true => "the job stops",
                false => "the job did not come to the end of an epoch: it waits for something outside",
            }));
        }
        let has = &state.parallelism;
        if wanted.iter().any(|(name, n)| n.is_some() && has.get(name) != n.as_ref()) {
            return Err(Error::state("the job failed before its parallelism was changed").hint("try again"));
        }
        drop(state);
        self.pause.wait(FIRST_ROWS);
        Ok(self.parallelism())
    }
    pub(crate) fn asked(&self) -> bool {
        locked(&self.state).wanted.is_some()
    }
    pub(crate) fn take(&self) -> Option<TargetParallelism> {
        self.change(|s| s.wanted.take())
    }
    /// Sets whom to tell about requests.
    pub(crate) fn tell(&self, asks: impl Fn() + Send + 'static) {
        *locked(&self.asks) = Some(Asks(Box::new(asks)));
    }
    /// The subtasks of a generation are running.
    pub(crate) fn begun(&self, graph: &JobGraph) {
        self.pause.begun(Instant::now());
        self.change(|s| {
            s.parallelism = graph.nodes.iter().map(|n| (n.name.clone(), n.parallelism)).collect();
            s.running = true;
            s.generation += 1;
        });
    }
    /// A generation has ended.
    pub(crate) fn ended(&self) {
        *locked(&self.asks) = None;
        self.change(|s| s.running = false);
    }
    pub(crate) fn failed(&self, e: &Error) {
        self.change(|s| s.failure = Some((SystemTime::now(), e.to_string())));
    }

    fn ask(&self) {
        if let Some(Asks(ask)) = &*locked(&self.asks) {
            ask();
        }
    }
    /// Changes the state, and notifies those who wait for a change.
    fn change<T>(&self, change: impl FnOnce(&mut ControlState) -> T) -> T {
        let given = change(&mut locked(&self.state));
        self.changed.notify_all();
        given
    }
    fn wait(&self, time: Duration, until: impl Fn(&ControlState) -> bool) -> MutexGuard<'_, ControlState> {
        let waited = self.changed.wait_timeout_while(locked(&self.state), time, |s| !until(s));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the actors of a generation share.
pub(crate) struct GenerationContext {
    pub result: Mutex<Option<Result<bool>>>,
    pub uids: Vec<String>,
    pub metrics: JobMetrics,
}

impl GenerationContext {
    /// The first result counts.
    pub fn finish(&self, result: Result<bool>) {
        locked(&self.result).get_or_insert(result);
    }
    pub fn uid(&self, node: usize) -> String {
        self.uids[node].clone()
    }
}
