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
mod job;
mod messages;
mod pause;
mod routing;
pub mod scale;
mod subtask;
mod worker;

pub use control::Control;
pub use job::{Options, RestartStrategy, run};
