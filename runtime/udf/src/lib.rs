//! Functions in their sandboxes: built, cached, loaded, called. The one crate that knows wasmtime.

mod build;
mod convert;
mod function;
mod sandbox;

pub use build::{Kind, build, cache_folder, template};
pub use function::{Limits, Loaded, UserFunction};
pub use sandbox::{Component, Grant, engine};
