//! Everything that needs no server, in one process, in well under a minute:
//! `cargo test --release --workspace --test fast`.

mod aggregates;
mod answers;
mod emitting;
mod event_time;
mod jobs;
mod joins;
mod late_rows;
mod match_recognize;
mod over_values;
mod plans;
mod queries;
mod sharing;
mod timed_joins;
