//! The words of the house: types, batches of changes, keys, epochs, errors, metric names, and the traits by which the
//! engine sees sources, operators, sinks and state. No I/O happens here.

pub mod batch;
pub mod builder;
mod cause;
pub mod clock;
pub mod error;
pub mod event_time;
pub mod failpoint;
pub mod graph;
pub mod key;
pub mod maps;
pub mod metrics;
pub mod options;
pub mod origin;
pub mod panics;
pub mod private;
pub mod secrets;
pub mod state;
pub mod thread;
mod type_text;
pub mod types;
pub mod value;

pub use batch::{Batch, RowKind};
pub use builder::ColumnBuilder;
pub use error::{Error, Result};
pub use types::{Field, Schema, SqlType, TypeKind};
pub use value::Value;
