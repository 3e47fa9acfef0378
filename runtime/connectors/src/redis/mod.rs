//! Redis: a table by key, written and looked up. A row is a hash whose fields are its columns, or a string.

mod claim;
mod commands;
mod config;
mod lookup;
mod sink;

pub(crate) use lookup::lookup;
pub(crate) use sink::sink;
