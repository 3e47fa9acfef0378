//! Files: as a source, read by several subtasks, watched where asked; as a sink, with exactly the rows of durable epochs.

mod claim;
mod file_metadata;
mod parts;
mod sink;
mod source;
mod splits;

pub(crate) use file_metadata::of_records;
pub(crate) use sink::sink;
pub(crate) use source::source;
#[cfg(test)]
pub(crate) use splits::record_boundaries;

use crate::options::TableSpec;
use std::path::PathBuf;
use weir_core::Result;

/// The path of a table, relative ones from the script's folder.
fn path(table: &TableSpec) -> Result<PathBuf> {
    let path = table.need("path")?;
    Ok(table.base.join(path.strip_prefix("file://").unwrap_or(path)))
}
