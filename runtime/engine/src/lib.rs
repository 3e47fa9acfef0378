//! Runs a job: an actor a subtask, a worker thread behind each, credits on every edge, epochs by barriers.
//!
//! ```text
//!            StartEpoch                      Barrier             Barrier
//! coordinator ─────────▶ source subtask ──4 batches──▶ operator ──4 batches──▶ sink
//!      ▲                      │ Ack                       │ Ack                  │ Ack, outbox
//!      └──────────────────────┴───────────────────────────┴──────────────────────┘
//! ```
//!
//! An actor never works itself: it hands one piece of work at a time to its thread, and sends on what comes back as far
//! as the receivers have room.

mod control;
mod coordinator;
mod deliver;
#[cfg(test)]
mod event_time_tests;
mod gate;
mod generation;
mod job;
mod job_metadata;
mod messages;
mod options;
mod pause;
mod restart;
mod routing;
pub mod scale;
mod sizes;
mod source_time;
mod stored_watermarks;
mod subtask;
mod worker;

pub use control::Control;
pub use job::run;
pub use job_metadata::{JobMetadata, read_metadata};
pub use options::Options;
pub use restart::RestartStrategy;
