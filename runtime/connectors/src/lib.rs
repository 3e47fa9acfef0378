//! Connectors: where rows come from and go to; one a folder, which says what it is by a descriptor. All are listed here, formats in
//! [`format`].

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
const CONNECTORS: [Connector; 11] = [
    filesystem::CONNECTOR,
    datagen::CONNECTOR,
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

/// What all connectors and formats say of themselves.
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

/// The connector of a table, which was looked for when its script was compiled.
fn connector(table: &TableSpec) -> Result<&'static Connector> {
    const ALL: &[Connector] = &CONNECTORS;
    let found = ALL.iter().find(|c| c.descriptor.name == table.connector());
    found.ok_or_else(|| Error::internal(format!("there is no connector '{}'", table.connector())))
}

/// What is said of a connector that makes no such thing.
fn none(table: &TableSpec, what: &str) -> Error {
    Error::internal(format!("the connector '{}' makes no {what}", table.connector()))
}

/// Refuses a word on rows that fail where the connector lets none fail alone.
fn no_policy(table: &TableSpec, connector: &Connector) -> Result<()> {
    if table.on_error == OnError::Fail || connector.descriptor.rows_fail {
        return Ok(());
    }
    let e = Error::script(format!("no row of '{}' ({}) fails alone", table.name, table.connector()));
    Err(e.at(table.place_of(&ON_ERROR)).hint("leave 'on-error' out"))
}

/// Makes a table's source.
///
/// # Errors
/// When an option is wrong.
pub fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let connector = connector(table)?;
    no_policy(table, connector)?;
    let made = connector.source.ok_or_else(|| none(table, "source"))?(table)?;
    table.finish().map(|()| made)
}

/// Makes a table's sink.
///
/// # Errors
/// When an option is wrong.
pub fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let connector = connector(table)?;
    no_policy(table, connector)?;
    let made = connector.sink.ok_or_else(|| none(table, "sink"))?(table)?;
    table.finish().map(|()| made)
}

/// Makes a table's lookups by these of its columns.
///
/// # Errors
/// When an option is wrong.
pub fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    let connector = connector(table)?;
    no_policy(table, connector)?;
    let made = connector.lookup.ok_or_else(|| none(table, "lookup"))?(table, keys)?;
    table.finish().map(|()| made)
}

/// Makes the operator that turns dead letters, as rows of `record` and maybe `headers`, into rows of the table. Letters of other
/// statements are left to those, where the headers say whose they are; what no statement takes is counted in `skipped`.
///
/// # Errors
/// When the records alone do not make the table's rows, or the table's format is wrong.
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

/// A gzipped file's contents.
pub fn unpacked(file: std::fs::File) -> Box<dyn std::io::Read> {
    Box::new(flate2::read::MultiGzDecoder::new(file))
}

/// A file that packs what is written into it.
pub fn packed(file: std::fs::File) -> Box<dyn std::io::Write> {
    Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()))
}
