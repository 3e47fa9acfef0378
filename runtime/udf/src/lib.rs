//! User-defined functions in sandboxes: builds, caches, loads and calls them. This is the only crate that uses wasmtime.

mod binary;
mod bindings;
mod build;
mod cache;
mod calls;
mod child;
mod compile;
mod convert;
mod engine;
mod function;
mod host;
mod instances;
mod limits;
mod log;
mod nested;
mod remembered;
mod sandbox;
mod waits;

pub use binary::Binary;
pub use build::{SourceKind, build, built, template};
pub use cache::Cache;
pub use compile::{compile_apart, compile_file};
pub use engine::{engine, longest_call};
pub use function::{Loaded, WasmFunction};
pub use limits::Limits;
pub use sandbox::Component;
