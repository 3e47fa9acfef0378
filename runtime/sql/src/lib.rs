//! Flink's dialect: scripts into statements, statements into bound plans.

mod aggregates;
mod between_times;
mod binder;
mod catalog;
mod dialect;
mod explain;
mod expressions;
mod fingerprint;
mod lookup;
mod names;
mod optimize;
mod plan;
mod script;
mod settings;
mod statement;
#[cfg(test)]
mod testing;
mod types;

pub use catalog::{Catalog, ErrorPolicy, FunctionLoader, FunctionSpec, Language, Table, UserFunction};
pub use explain::{Format, explain};
pub use fingerprint::Identity;
pub use plan::{Insert, Plan};
pub use script::{Compiled, compile, diagnose};
pub use settings::operator_setting;
