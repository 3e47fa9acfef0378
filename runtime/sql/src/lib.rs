//! Flink's dialect: scripts into statements, statements into bound plans.

mod aggregates;
mod between_times;
mod binder;
mod catalog;
mod dialect;
mod explain;
mod expressions;
mod lookup;
mod names;
mod optimize;
mod plan;
mod script;
mod statement;
mod types;

pub use catalog::{Catalog, ErrorPolicy, FunctionLoader, FunctionSpec, Language, Table, UserFunction};
pub use explain::{Format, explain};
pub use plan::{Insert, Plan};
pub use script::{Compiled, compile, diagnose, operator_setting};
