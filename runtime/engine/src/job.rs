//! Runs a job as a sequence of generations of subtasks, until it ends, is stopped, or fails for good.

use crate::control::Control;
use crate::generation::generation;
use crate::job_metadata;
use crate::options::Options;
use crate::restart::Failures;
use crate::scale;
use crate::sizes::{SIZES, resize, sizes_of};
use std::sync::Arc;
use std::time::Instant;
use weir_core::Result;
use weir_core::graph::JobGraph;
use weir_core::metrics::Metrics;
use weir_core::state::{StateBackend, StateHandle};

/// Runs a job. Gives true if it has ended, and false if it was stopped.
///
/// # Errors
/// The failure after which the job is not restarted.
pub fn run(
    graph: &JobGraph,
    backend: &Arc<dyn StateBackend>,
    options: &Options,
    metrics: &Metrics,
    control: &Arc<Control>,
) -> Result<bool> {
    // Creates the counter before the first restart, so that this one is visible as an increase.
    metrics.restarts("io");
    let mut failures = Failures::default();
    let started = Instant::now();
    let sizes = StateHandle { operator: backend.operator(SIZES)?, reader: backend.clone() };
    let mut wanted = sizes_of(&sizes)?;
    control.pause.show(metrics.job().pause);
    let base = graph;
    loop {
        let graph = &scale::resized(base, &scale::kept(base, &wanted));
        let begun = Instant::now();
        job_metadata::stage(backend, &options.records)?;
        let result = generation(graph, backend, options, metrics, control);
        let ended = Instant::now();
        tracing::debug!("a generation of {:.1?} has ended", begun.elapsed());
        let stops = || control.stops();
        let error = match result {
            Ok(ended) if ended || stops() => return Ok(ended),
            // The request is only taken now, so that one that arrived during the last epoch is not lost. If it was withdrawn in the
            // meantime, the job continues unchanged.
            Ok(_) => {
                // An epoch that was given up may have left staged changes.
                backend.discard_staged();
                match resize(base, backend, &sizes, &mut wanted, control.take().unwrap_or_default()) {
                    Ok(()) => {
                        tracing::debug!("parallelisms kept after {:.1?}", ended.elapsed());
                        metrics.job().rescales.inc();
                        continue;
                    }
                    Err(e) => e,
                }
            }
            Err(e) => e,
        };
        control.failed(&error);
        // Only failures of external systems may go away.
        if !error.is_retriable() || !scale::replayable(graph) || stops() {
            return Err(error);
        }
        backend.discard_staged();
        let delay = failures.wait(&options.restart, &error, begun.elapsed(), Instant::now())?;
        metrics.restarts("io").inc();
        tracing::warn!("the job failed after {:.1?}, and starts again in {delay:.1?}: {error}", started.elapsed());
        if control.stops_within(delay) {
            return Err(error);
        }
    }
}
