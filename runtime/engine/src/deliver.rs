//! Commits and delivers epochs: in a thread of its own while the job runs, and at the start those that are left over. An epoch with
//! entries for a sink also stores a marker in the state of the sink, which is compared with the mark in the external system.

use crate::coordinator::Coordinator;
use crate::messages::SubtaskReport;
use actix::Addr;
use crossbeam_channel::RecvTimeoutError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::graph::{CommitMarker, JobGraph, Role};
use weir_core::metrics::Metrics;
use weir_core::state::{Changes, Epoch, OperatorId, Outbox, StateBackend, StateHandle};
use weir_core::stored::{self, Reader, Stored};
use weir_core::thread::{guarded, spawn};
use weir_core::{Error, Result};

/// The key of a sink's mark in its state.
const MARK: &[u8] = b"\0\0!mark";

/// The stored mark of a sink, and the run that has stored it.
struct Mark {
    marker: CommitMarker,
    run: Vec<u8>,
}

impl Stored for Mark {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "the mark of a sink";
    fn write(&self, out: &mut Vec<u8>) {
        stored::put(out, self.marker.epoch.0);
        stored::put(out, self.marker.previous.0);
        out.extend_from_slice(&self.run);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let marker = CommitMarker { epoch: Epoch(from.number()?), previous: Epoch(from.number()?) };
        Some(Mark { marker, run: from.rest().to_vec() })
    }
}

/// The marks of all sinks that this run has stored. Marks of another run, from whose state this one was started, do not count.
pub(crate) fn marks(
    graph: &JobGraph,
    handles: &[StateHandle],
    run: &str,
) -> Result<BTreeMap<OperatorId, CommitMarker>> {
    let mut marks = BTreeMap::new();
    for (node, state) in graph.nodes.iter().zip(handles) {
        if let (Role::Sink(_), Some(v)) = (&node.role, state.get_many(&[MARK])?.remove(0)) {
            let mark: Mark = stored::decode(&v).map_err(|e| e.context(&node.name))?;
            if mark.run == run.as_bytes() {
                marks.insert(state.operator, mark.marker);
            }
        }
    }
    Ok(marks)
}

/// Stages the mark of every sink that has entries in an epoch. The first epoch marks all sinks, so that a run that begins later can be told
/// from this one.
fn mark(
    sinks: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    marks: &mut BTreeMap<OperatorId, CommitMarker>,
    run: &str,
    epoch: Epoch,
    outbox: &Outbox,
) -> Result<()> {
    for node in &sinks.nodes {
        let operator = backend.operator(&node.uid)?;
        let given = outbox.iter().any(|(uid, _)| *uid == node.uid);
        let mark = match (given, marks.get(&operator)) {
            (true, last) => CommitMarker { epoch, previous: last.map_or(Epoch(0), |m| m.epoch) },
            (false, None) => CommitMarker { epoch: Epoch(0), previous: Epoch(0) },
            (false, Some(_)) => continue,
        };
        marks.insert(operator, mark);
        let mut changes = Changes::default();
        changes.set(MARK, &stored::encode(&Mark { marker: mark, run: run.as_bytes().to_vec() }));
        backend.stage(operator, epoch, changes);
    }
    Ok(())
}

/// Delivers the outboxes that the last process has left. A sink whose mark is at a later epoch has everything up to it.
pub(crate) fn deliver_left_over(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    marks: &BTreeMap<OperatorId, CommitMarker>,
    metrics: &Metrics,
) -> Result<()> {
    for (epoch, outbox) in backend.undelivered()? {
        deliver(graph, backend, &outbox, metrics, |o| match marks.get(&o) {
            Some(m) if m.epoch > epoch => None,
            Some(m) if m.epoch == epoch => Some(*m),
            _ => Some(CommitMarker { epoch, previous: Epoch(0) }),
        })?;
        backend.delivered(epoch)?;
    }
    Ok(())
}

/// Delivers the outbox of an epoch to the sinks of the graph; `mark` gives none for a sink to which it was delivered.
fn deliver(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    outbox: &Outbox,
    metrics: &Metrics,
    mark: impl Fn(OperatorId) -> Option<CommitMarker>,
) -> Result<()> {
    for (uid, entries) in outbox {
        for node in graph.nodes.iter().filter(|n| n.uid == *uid) {
            if let Role::Sink(s) = &node.role {
                let Some(mark) = mark(backend.operator(uid)?) else { continue };
                let named = |e: Error| e.context(&node.name);
                let begun = Instant::now();
                s.deliver(mark, entries).map_err(named)?;
                metrics.sink_delivery(&node.name).observe(begun.elapsed().as_secs_f64());
            }
        }
    }
    Ok(())
}

/// Waits until readers can see what was delivered.
pub(crate) fn ended(graph: &JobGraph) {
    for node in &graph.nodes {
        if let Role::Sink(s) = &node.role
            && let Err(e) = s.ended()
        {
            tracing::warn!("{}: all is delivered, but others may not see the last of it yet: {e}", node.name);
        }
    }
}

/// The thread that commits and delivers epochs.
pub(crate) struct Committing {
    /// Disconnected when the thread ends.
    over: crossbeam_channel::Receiver<()>,
}

impl Committing {
    /// Waits for the end of the thread, for at most this time. Gives whether it has ended.
    pub fn has_ended_within(&self, time: Duration) -> bool {
        matches!(self.over.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
    }
}

/// Starts the thread that commits and delivers epochs. It ends with the coordinator.
pub(crate) fn commit_thread(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    coordinator: &Addr<Coordinator>,
    epochs: crossbeam_channel::Receiver<(Epoch, Outbox, bool)>,
    mut marks: BTreeMap<OperatorId, CommitMarker>,
    run: String,
    metrics: Metrics,
) -> Result<Committing> {
    let job = metrics.job();
    let mut sinks = graph.clone();
    sinks.nodes.retain(|n| matches!(n.role, Role::Sink(_)));
    let (backend, coordinator) = (backend.clone(), coordinator.clone());
    let (alive, over) = crossbeam_channel::bounded::<()>(0);
    let work = move || {
        let _alive = alive;
        while let Ok((epoch, outbox, end)) = epochs.recv() {
            let durable = || {
                mark(&sinks, &backend, &mut marks, &run, epoch, &outbox)?;
                let begun = Instant::now();
                let bytes = backend.commit(epoch, &outbox, end)?;
                job.write.observe(begun.elapsed().as_secs_f64());
                let known = |o| Some(marks.get(&o).copied().unwrap_or(CommitMarker { epoch, previous: Epoch(0) }));
                let begun = Instant::now();
                deliver(&sinks, &backend, &outbox, &metrics, known)?;
                backend.delivered(epoch)?;
                if end {
                    ended(&sinks);
                }
                job.deliver.observe(begun.elapsed().as_secs_f64());
                Ok(bytes)
            };
            match guarded("the thread that commits epochs", durable) {
                Ok(bytes) => coordinator.do_send(SubtaskReport::Committed { epoch, bytes }),
                Err(e) => {
                    coordinator.do_send(SubtaskReport::Failed(e));
                    return;
                }
            }
        }
    };
    spawn("weir-commit", work)?;
    Ok(Committing { over })
}
