//! Connectors: where rows come from and go to; one a folder, registered here.

mod blackhole;
mod clickhouse;
mod datagen;
mod fencing;
mod filesystem;
mod format;
mod http;
mod idle_connections;
mod jdbc;
mod kafka;
mod options;
mod print;
mod redis;
mod replay;
mod retry;
#[cfg(test)]
mod splits_tests;
mod stdin;
mod text_columns;
mod tls;
mod webhook;

pub use format::{Bad, Decoder, Progress};
pub use options::TableSpec;
pub use replay::{PassedOver, replay};

use std::sync::Arc;
use weir_core::error::nearest;
use weir_core::graph::{SinkFactory, SourceFactory};
use weir_core::{Error, Result};
use weir_expr::OnError;
use weir_operators::lookup::LookupTable;

const SOURCES: &[&str] = &["filesystem", "datagen", "stdin", "kafka", "upsert-kafka", "jdbc"];
const SINKS: &[&str] =
    &["filesystem", "print", "blackhole", "kafka", "upsert-kafka", "jdbc", "redis", "clickhouse", "webhook"];

fn unknown(table: &TableSpec, wanted: &str, known: &[&str], what: &str) -> Error {
    let elsewhere = SOURCES.iter().chain(SINKS).any(|n| *n == wanted);
    let e = if elsewhere {
        Error::script(format!("the connector '{wanted}' of table '{}' is no {what}", table.name))
    } else {
        Error::script(format!("there is no connector '{wanted}', which table '{}' asks for", table.name))
    };
    let e = e.at(table.place_of("connector"));
    match nearest(wanted, known.iter().copied()) {
        Some(n) if !elsewhere => e.hint(format!("did you mean '{n}'?")),
        _ => e.hint(format!("as a {what} there are: {}", known.join(", "))),
    }
}

/// Makes a table's source.
///
/// # Errors
/// When the connector or an option is unknown or wrong.
pub fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let made: Result<Arc<dyn SourceFactory>> = match table.connector() {
        "filesystem" => filesystem::source(table),
        "datagen" => datagen::source(table),
        "stdin" => stdin::source(table),
        "kafka" => kafka::source(table, false),
        "upsert-kafka" => kafka::source(table, true),
        "jdbc" => jdbc::source(table),
        other => return Err(unknown(table, other, SOURCES, "source")),
    };
    no_metadata(table).and(no_policy(table)).and(made).and_then(|m| table.all_used().map(|()| m))
}

/// Refuses metadata where the connector has none.
fn no_metadata(table: &TableSpec) -> Result<()> {
    let column = table.metadata.iter().position(Option::is_some);
    match column {
        Some(c) if !table.connector().ends_with("kafka") && table.connector() != "filesystem" => {
            let e = Error::script(format!(
                "column '{}' is metadata, and the connector '{}' has none",
                table.schema.fields[c].name,
                table.connector()
            ));
            Err(e.at(table.place).hint("records of Kafka and files have some"))
        }
        _ => Ok(()),
    }
}

/// Refuses a word on rows that fail where none can, or where the connector lets none fail alone.
fn no_policy(table: &TableSpec) -> Result<()> {
    let without = ["redis", "datagen", "print", "blackhole"];
    if table.on_error == OnError::Fail || !without.contains(&table.connector()) {
        return Ok(());
    }
    let e = Error::script(format!("no row of '{}' ({}) fails alone", table.name, table.connector()));
    Err(e.at(table.place_of("on-error")).hint("leave 'on-error' out"))
}

/// Makes a table's sink.
///
/// # Errors
/// When the connector or an option is unknown or wrong.
pub fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let made: Result<Arc<dyn SinkFactory>> = match table.connector() {
        "filesystem" => filesystem::sink(table),
        "print" => print::sink(table),
        "kafka" => kafka::sink(table, false),
        "upsert-kafka" => kafka::sink(table, true),
        "jdbc" => jdbc::sink(table),
        "redis" => redis::sink(table),
        "clickhouse" => clickhouse::sink(table),
        "webhook" => webhook::sink(table),
        "blackhole" => Ok(Arc::new(blackhole::Blackhole)),
        other => return Err(unknown(table, other, SINKS, "sink")),
    };
    no_metadata(table).and(no_policy(table)).and(made).and_then(|m| table.all_used().map(|()| m))
}

/// Makes a table's lookups by these of its columns.
///
/// # Errors
/// When the connector has none, or an option is unknown or wrong.
pub fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    let made: Result<Arc<dyn LookupTable>> = match table.connector() {
        "jdbc" => jdbc::lookup(table, keys),
        "redis" => redis::lookup(table, keys),
        other => {
            let e = Error::script(format!("rows of '{}' ({other}) cannot be looked up by key", table.name));
            return Err(e
                .at(table.place_of("connector"))
                .hint("FOR SYSTEM_TIME AS OF goes with tables of databases (jdbc, redis)"));
        }
    };
    no_policy(table).and(made).and_then(|m| table.all_used().map(|()| m))
}

/// Whether a table's sink takes rows that change or go, by its connector and format.
pub fn takes_changes(connector: &str, format: &str) -> bool {
    !matches!(connector, "filesystem" | "kafka") || format::takes_changes(format)
}

/// Whether a connector's sink replaces and removes rows by its table's key alone, so that no two rows may share one.
pub fn upserts(connector: &str) -> bool {
    matches!(connector, "jdbc" | "redis" | "upsert-kafka")
}

/// A gzipped file's contents.
pub fn unpacked(file: std::fs::File) -> Box<dyn std::io::Read> {
    Box::new(flate2::read::MultiGzDecoder::new(file))
}

/// A file that packs what is written into it.
pub fn packed(file: std::fs::File) -> Box<dyn std::io::Write> {
    Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()))
}
