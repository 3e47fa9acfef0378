//! Flink's dialect: scripts into statements, statements into bound plans.

mod aggregates;
mod alter;
mod between_times;
mod binder;
mod budget;
mod catalog;
mod ddl;
mod declare;
mod dialect;
mod explain;
mod expressions;
mod fingerprint;
#[cfg(test)]
mod fuzz;
mod hints;
mod identity;
mod insert;
mod like;
mod lookup;
mod names;
mod optimize;
mod places;
mod plan;
mod script;
mod settings;
mod shared;
mod show;
mod statement;
mod syntax;
#[cfg(test)]
mod testing;
mod tokens;
mod types;
mod unions;
mod variables;
mod words;

pub use catalog::{Catalog, ErrorPolicy, FunctionLoader, FunctionSpec, Language, Table, UserFunction};
pub use explain::{Format, explain};
pub use fingerprint::what_table;
pub use identity::{Identity, why_lost};
pub use plan::{Insert, Plan, Shared};
pub use script::{Compiled, compile, diagnose};
pub use settings::operator_setting;
