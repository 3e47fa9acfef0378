//! How a job is run.

use crate::job_metadata::JobMetadata;
use crate::restart::RestartStrategy;
use std::sync::Arc;
use std::time::Duration;
use weir_core::clock::Clock;
use weir_core::graph::JobIdentity;

/// How a job is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// From the start of one epoch to that of the next.
    pub epoch_interval: Duration,
    /// When it fails.
    pub restart: RestartStrategy,
    /// Bytes of decoded state in all subtasks together.
    pub cache_bytes: usize,
    /// Rows that a batch of a source has at most.
    pub batch_rows: usize,
    /// The job, as systems outside know it.
    pub job: JobIdentity,
    /// The time of day by which operators work.
    pub clock: Arc<dyn Clock>,
    /// What later runs compare themselves with.
    pub records: JobMetadata,
}
