//! Sources that end without ending the job: when all have given what they have, the job is stopped as by a signal, and its state
//! stays open.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_core::Result;
use weir_core::graph::{Collector, JobGraph, Polled, Role, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::watermarks::SplitId;
use weir_engine::Control;

/// The subtasks, by node and number, that have given what they have.
type Done = Arc<Mutex<BTreeSet<(usize, usize)>>>;

struct Ending {
    inner: Arc<dyn SourceFactory>,
    node: usize,
    done: Done,
    subtasks: usize,
    control: Arc<Control>,
}

/// Makes the job stop when its sources come to their ends.
pub fn stop_at_end(graph: &mut JobGraph, control: &Arc<Control>) {
    let sources = || graph.nodes.iter().filter(|n| matches!(n.role, Role::Source(_)));
    let subtasks = sources().map(|n| n.parallelism).sum();
    let done = Done::default();
    for (node, n) in graph.nodes.iter_mut().enumerate() {
        if let Role::Source(inner) = &n.role {
            let (inner, done, control) = (inner.clone(), done.clone(), control.clone());
            n.role = Role::Source(Arc::new(Ending { inner, node, done, subtasks, control }));
        }
    }
}

impl SourceFactory for Ending {
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()> {
        // After a failure they read again.
        locked(&self.done).retain(|(node, _)| *node != self.node);
        self.inner.start(state, parallelism)
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let place = (self.node, context.subtask);
        let (done, subtasks, control) = (self.done.clone(), self.subtasks, self.control.clone());
        Ok(Box::new(BoundedSource { inner: self.inner.open(context)?, place, done, subtasks, control }))
    }
    fn partitions(&self) -> Option<usize> {
        self.inner.partitions()
    }
    fn rate(&self) -> Option<f64> {
        self.inner.rate()
    }
    fn replayable(&self) -> bool {
        self.inner.replayable()
    }
    fn total_bytes(&self) -> Option<u64> {
        self.inner.total_bytes()
    }
}

struct BoundedSource {
    inner: Box<dyn Source>,
    place: (usize, usize),
    done: Done,
    subtasks: usize,
    control: Arc<Control>,
}

impl Source for BoundedSource {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let polled = self.inner.poll(out)?;
        if polled != Polled::End {
            return Ok(polled);
        }
        let mut done = locked(&self.done);
        done.insert(self.place);
        if done.len() >= self.subtasks {
            self.control.stop();
        }
        Ok(Polled::Wait(Duration::from_millis(50)))
    }
    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        self.inner.checkpoint(epoch)
    }
    fn has_splits(&self) -> bool {
        self.inner.has_splits()
    }
    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        self.inner.pause_splits(splits)
    }
}
