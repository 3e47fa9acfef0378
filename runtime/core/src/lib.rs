//! The words of the house: types, batches of changes, keys, epochs, errors, metric names, and the traits by which the
//! engine sees sources, operators, sinks and state. No I/O happens here.

pub mod batch;
pub mod builder;
pub mod error;
pub mod graph;
pub mod key;
pub mod metrics;
pub mod options;
pub mod state;
pub mod value;
pub mod types;

pub use builder::ColumnBuilder;
pub use value::Value;
pub use batch::{Batch, RowKind};
pub use error::{Error, Result};
pub use types::{Field, Schema, SqlType, TypeKind};
