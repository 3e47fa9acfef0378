//! Flink's dialect: parses scripts into statements, and binds statements to plans.

mod aggregates;
mod alter;
mod between_times;
mod binder;
mod budget;
mod catalog;
mod correlated;
mod ddl;
mod declare;
mod dialect;
mod event_time;
mod expressions;
mod forms;
#[cfg(test)]
mod fuzz;
mod hints;
mod insert;
mod like;
mod lookup;
mod lookup_hint;
mod match_clauses;
mod match_looks;
mod names;
mod older_window;
mod outer_values;
mod over;
mod places;
mod script;
mod show;
mod state_ttl;
mod statement;
mod sub_queries;
mod syntax;
#[cfg(test)]
mod testing;
mod tokens;
mod types;
mod unions;
mod unnest;
mod variables;
mod words;

pub use catalog::{Catalog, FunctionLoader, FunctionSpec, Language, NoFunctions, UserFunction};
pub use script::{Compiled, compile, diagnose};
pub use words::reserved;
