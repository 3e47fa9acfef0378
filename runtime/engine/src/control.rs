//! What a generation shares: its result, its names, and what others ask of it.

use crate::pause::Pause;
use crate::scale::Wanted;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use weir_core::graph::JobGraph;
use weir_core::metrics::JobMetrics;
use weir_core::thread::locked;
use weir_core::{Error, Result};

/// How long to wait for the first rows after a change.
const FIRST_ROWS: Duration = Duration::from_secs(2);

/// What others may ask of a running job, and may know of it.
#[derive(Debug, Default)]
pub struct Control {
    /// Finish the epoch and leave.
    pub stop: AtomicBool,
    /// Tells how long the longest of the calls that functions are in has lasted; without functions there is none.
    pub calls: OnceLock<fn() -> Duration>,
    /// Other parallelisms, which the next epoch makes room for.
    wanted: Mutex<Option<Wanted>>,
    /// Whether subtasks are at work.
    running: AtomicBool,
    /// Counts generations of subtasks.
    generation: AtomicU64,
    parallelism: Mutex<BTreeMap<String, usize>>,
    failure: Mutex<Option<(SystemTime, String)>>,
    pub(crate) pause: Pause,
}

impl Control {
    /// How long the longest of the calls that functions are in has lasted.
    pub(crate) fn longest_call(&self) -> Duration {
        self.calls.get().map_or(Duration::ZERO, |longest| longest())
    }
    /// Whether subtasks are at work: not before the first have begun, nor between two generations.
    pub fn running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }
    /// The parallelism of every operator, as it is now.
    pub fn parallelism(&self) -> BTreeMap<String, usize> {
        locked(&self.parallelism).clone()
    }
    /// What the job failed with last, and when.
    pub fn last_failure(&self) -> Option<(SystemTime, String)> {
        locked(&self.failure).clone()
    }
    /// Gives operators other parallelisms, at the end of an epoch, and waits until their subtasks are at work and rows have come
    /// through, as far as there are any.
    ///
    /// # Errors
    /// When the job cannot have them so, has other things to do, or does not come to it in time.
    pub fn rescale(&self, graph: &JobGraph, wanted: &Wanted, patience: Duration) -> Result<BTreeMap<String, usize>> {
        if !crate::scale::rewinds(graph) {
            return Err(Error::script("a job that reads standard input cannot be scaled while it runs"));
        }
        let wanted = crate::scale::check(graph, wanted)?;
        let before = self.generation.load(Ordering::Acquire);
        {
            let mut slot = locked(&self.wanted);
            if slot.is_some() {
                return Err(Error::state("another change of parallelism is on its way").hint("try again in a moment"));
            }
            *slot = Some(wanted.clone());
        }
        let since = Instant::now();
        while self.asked() || self.generation.load(Ordering::Acquire) == before || !self.running() {
            let stops = self.stop.load(Ordering::Relaxed);
            if stops || since.elapsed() > patience {
                *locked(&self.wanted) = None;
                return Err(Error::state(match stops {
                    true => "the job stops",
                    false => "the job did not come to the end of an epoch: it waits for something outside",
                }));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let has = self.parallelism();
        if wanted.iter().any(|(name, n)| n.is_some() && has.get(name) != n.as_ref()) {
            return Err(Error::state("the job failed before its parallelism was changed").hint("try again"));
        }
        let since = Instant::now();
        while self.pause.open() && since.elapsed() < FIRST_ROWS {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(self.parallelism())
    }
    pub(crate) fn asked(&self) -> bool {
        locked(&self.wanted).is_some()
    }
    pub(crate) fn take(&self) -> Option<Wanted> {
        locked(&self.wanted).take()
    }
    /// A generation's subtasks are at work.
    pub(crate) fn begun(&self, graph: &JobGraph) {
        *locked(&self.parallelism) = graph.nodes.iter().map(|n| (n.name.clone(), n.parallelism)).collect();
        self.pause.begun();
        self.running.store(true, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
    /// A generation has ended.
    pub(crate) fn ended(&self) {
        self.running.store(false, Ordering::Release);
    }
    pub(crate) fn failed(&self, e: &Error) {
        *locked(&self.failure) = Some((SystemTime::now(), e.to_string()));
    }
}

/// What the actors of a generation share.
pub(crate) struct Shared {
    pub result: Mutex<Option<Result<bool>>>,
    pub uids: Vec<String>,
    pub metrics: JobMetrics,
}

impl Shared {
    /// The first result counts.
    pub fn finish(&self, result: Result<bool>) {
        locked(&self.result).get_or_insert(result);
    }
    pub fn uid(&self, node: usize) -> String {
        self.uids[node].clone()
    }
}
