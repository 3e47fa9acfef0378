//! Connectors: sources, sinks and lookups. Each is in a folder of its own and describes itself by a descriptor. All are listed here,
//! formats in [`format`].

mod blackhole;
mod clickhouse;
mod datagen;
mod delivery;
mod fencing;
mod filesystem;
mod format;
mod http;
mod idle_connections;
mod jdbc;
mod kafka;
mod login;
mod lookup_cache;
mod nexmark;
mod numbered;
mod options;
mod patterns;
mod print;
mod redis;
mod registered;
mod replay;
mod retry;
#[cfg(test)]
mod splits_tests;
mod stdin;
mod text_columns;
mod tls;
mod webhook;

pub use format::{BadRecord, DecodeProgress, Decoder};
pub use options::TableSpec;
pub use replay::{ReplayInput, SkippedDeadLetters};

use format::FORMATS;
use registered::Connector;
use std::sync::Arc;
use weir_core::descriptor::{Descriptor, ON_ERROR, OnError, Registry};
use weir_core::graph::{OperatorFactory, SinkFactory, SourceFactory};
use weir_core::{Error, Result};
use weir_operators::lookup::LookupTable;

/// All connectors.
const CONNECTORS: [Connector; 12] = [
    filesystem::CONNECTOR,
    datagen::CONNECTOR,
    nexmark::CONNECTOR,
    stdin::CONNECTOR,
    print::CONNECTOR,
    blackhole::CONNECTOR,
    kafka::CONNECTOR,
    kafka::UPSERT,
    jdbc::CONNECTOR,
    redis::CONNECTOR,
    clickhouse::CONNECTOR,
    webhook::CONNECTOR,
];

/// The descriptors of all connectors and formats.
pub const REGISTRY: Registry = {
    const OF_CONNECTORS: [&Descriptor; CONNECTORS.len()] = {
        let mut all = [CONNECTORS[0].descriptor; CONNECTORS.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = CONNECTORS[i].descriptor;
            i += 1;
        }
        all
    };
    const OF_FORMATS: [&Descriptor; FORMATS.len()] = {
        let mut all = [FORMATS[0].descriptor; FORMATS.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = FORMATS[i].descriptor;
            i += 1;
        }
        all
    };
    Registry { connectors: &OF_CONNECTORS, formats: &OF_FORMATS }
};

/// The connector of a table. It exists, since the compiler of the script has checked that.
fn connector(table: &TableSpec) -> Result<&'static Connector> {
    const ALL: &[Connector] = &CONNECTORS;
    let found = ALL.iter().find(|c| c.descriptor.name == table.connector());
    found.ok_or_else(|| Error::internal(format!("there is no connector '{}'", table.connector())))
}

/// The error if a connector has no source, sink or lookup. The compiler of the script has checked that it has.
fn none(table: &TableSpec, what: &str) -> Error {
    Error::internal(format!("the connector '{}' makes no {what}", table.connector()))
}

/// Rejects `on-error` for a connector whose rows cannot fail individually.
fn no_policy(table: &TableSpec, connector: &Connector) -> Result<()> {
    if table.on_error == OnError::Fail || connector.descriptor.rows_fail {
        return Ok(());
    }
    let e = Error::script(format!("no row of '{}' ({}) fails alone", table.name, table.connector()));
    Err(e.at(table.place_of(&ON_ERROR)).hint("leave 'on-error' out"))
}

/// Creates a table's source.
///
/// # Errors
/// If an option is invalid.
pub fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let connector = connector(table)?;
    no_policy(table, connector)?;
    let made = connector.source.ok_or_else(|| none(table, "source"))?(table)?;
    table.finish().map(|()| made)
}

/// Creates a table's sink.
///
/// # Errors
/// If an option is invalid.
pub fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let connector = connector(table)?;
    no_policy(table, connector)?;
    let made = connector.sink.ok_or_else(|| none(table, "sink"))?(table)?;
    table.finish().map(|()| made)
}

/// Creates a table's lookups by the columns `keys`.
///
/// # Errors
/// If an option is invalid.
pub fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    let connector = connector(table)?;
    no_policy(table, connector)?;
    let made = connector.lookup.ok_or_else(|| none(table, "lookup"))?(table, keys)?;
    table.finish().map(|()| made)
}

/// Creates the operator that turns dead letters, which are rows of `record` and optionally `headers`, into rows of the table. Dead letters
/// whose headers name another statement are left to that statement. Those that no statement of the script takes are counted in `skipped`.
///
/// # Errors
/// If the table's rows need more than the record, or the format's options are invalid.
pub fn replay(
    table: &TableSpec,
    inputs: Vec<ReplayInput>,
    skipped: Arc<SkippedDeadLetters>,
) -> Result<Arc<dyn OperatorFactory>> {
    let Some(record) = connector(table)?.record else {
        let e =
            format!("dead letters of '{}' ({}) hold no records, and cannot be replayed", table.name, table.connector());
        return Err(Error::script(e).at(table.place));
    };
    replay::replay(table, record(table)?, inputs, skipped)
}

/// A reader of a gzipped file's contents.
pub fn unpacked(file: std::fs::File) -> Box<dyn std::io::Read> {
    Box::new(flate2::read::MultiGzDecoder::new(file))
}

/// A writer that compresses what is written to a file.
pub fn packed(file: std::fs::File) -> Box<dyn std::io::Write> {
    Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()))
}
