//! Functions in their sandboxes: built, cached, loaded, called. The one crate that knows wasmtime.

mod build;
mod cache;
mod child;
mod convert;
mod function;
mod nested;
mod sandbox;

pub use build::{Kind, build, built, template};
pub use cache::Cache;
pub use function::{Limits, Loaded, UserFunction};
pub use sandbox::{Component, Grant, engine};
