//! What a generation shares: its result, its names, and what others ask of it.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use weir_core::Result;
use weir_core::metrics::JobMetrics;

/// What others may ask of a running job.
#[derive(Debug, Default)]
pub struct Control {
    /// Finish the epoch and leave.
    pub stop: AtomicBool,
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
        self.result.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
    }
    pub fn uid(&self, node: usize) -> String {
        self.uids[node].clone()
    }
}
