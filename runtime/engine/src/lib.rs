//! Runs a job: one actor per subtask with a worker thread, credits on every channel, and epochs by barriers.
//!
//! ```text
//!            StartEpoch                      Barrier             Barrier
//! coordinator ─────────▶ source subtask ──4 batches──▶ operator ──4 batches──▶ sink
//!      ▲                      │ Ack                       │ Ack                  │ Ack, outbox
//!      └──────────────────────┴───────────────────────────┴──────────────────────┘
//! ```
//!
//! An actor does no work itself. It passes one task at a time to its thread, and sends the output as far as the receivers have room.

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
