//! Functions in their sandboxes: built, cached, loaded, called. The one crate that knows wasmtime.

mod bindings;
mod build;
mod cache;
mod calls;
mod child;
mod compile;
mod convert;
mod function;
mod host;
mod log;
mod nested;
mod sandbox;
mod waits;

pub use build::{Kind, build, built, template};
pub use cache::Cache;
pub use compile::{compile_apart, compile_file};
pub use function::{Limits, Loaded, UserFunction};
pub use host::Grant;
pub use sandbox::{Component, engine, longest_call};
