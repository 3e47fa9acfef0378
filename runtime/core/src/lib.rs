//! Shared definitions: types, batches, keys, epochs, errors, metric names, and the traits through which the engine uses sources, operators,
//! sinks and state. This crate does no I/O.

pub mod batch;
pub mod builder;
mod cause;
pub mod clock;
pub mod constraints;
pub mod dead_letter;
pub mod descriptor;
pub mod emit;
pub mod error;
pub mod event_time;
pub mod event_time_report;
pub mod failpoint;
pub mod frame;
pub mod function_options;
pub mod graph;
pub mod join;
pub mod key;
mod key_ranges;
pub mod keyed;
pub mod late_rows;
pub mod maps;
pub mod memory_store;
pub mod metrics;
pub mod option_spec;
pub mod options;
pub mod origin;
pub mod panics;
pub mod private;
pub mod rank;
pub mod secrets;
pub mod sortable;
pub mod state;
pub mod stored;
pub mod thread;
mod type_text;
pub mod types;
pub mod value;
pub mod varint;
pub mod watermarks;
pub mod windows;

pub use batch::{Batch, RowKind};
pub use builder::ColumnBuilder;
pub use error::{Error, Result};
pub use types::{Field, Schema, SqlType, TypeKind};
pub use value::Value;
