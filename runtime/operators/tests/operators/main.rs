//! Operators over a store in memory.

mod aggregates;
mod lookup;
mod rank;
mod support;
mod time_to_live;
mod unnest;
mod windows;
