//! The options with which a job is run.

use crate::job_metadata::JobMetadata;
use crate::restart::RestartStrategy;
use std::sync::Arc;
use std::time::Duration;
use weir_core::clock::Clock;
use weir_core::graph::JobIdentity;

/// The options with which a job is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time from the start of one epoch to that of the next.
    pub epoch_interval: Duration,
    /// What happens if the job fails.
    pub restart: RestartStrategy,
    /// Bytes for the caches of decoded state of all subtasks together.
    pub cache_bytes: usize,
    /// The most rows in a batch of a source.
    pub batch_rows: usize,
    /// The job's identity in external systems.
    pub job: JobIdentity,
    /// The clock of processing time.
    pub clock: Arc<dyn Clock>,
    /// Records that later runs are compared with.
    pub records: JobMetadata,
}
