//! Files. Several subtasks read a source, which can watch a folder for new files. The files of a sink have exactly the rows of durable
//! epochs.

mod claim;
mod file_metadata;
mod lookup;
mod parts;
mod sink;
mod source;
mod splits;

#[cfg(test)]
pub(crate) use splits::record_boundaries;

use crate::format::FILES;
use crate::options::TableSpec;
use crate::patterns::pattern;
use crate::registered::Connector;
use std::path::PathBuf;
use std::time::Duration;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::option_spec::{Opt, OptionSpec, Role};
use weir_core::{Result, options};

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(source::source),
    sink: Some(sink::sink),
    lookup: Some(lookup::lookup),
    record: Some(|t| Ok((file_metadata::of_records(t), t.value(&FORMAT)?, ""))),
    ..Connector::new(&Descriptor {
        name: "filesystem",
        help: "reads files, and writes them into a folder",
        looks_up: true,
        versions_by_key: true,
        reads: Some(Changelog::OfFormat),
        writes: Some(Changelog::OfFormat),
        options: &[OPTIONS, IDLE],
        metadata: &file_metadata::KEYS,
        metadata_of_format: Some(""),
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'rows.csv', 'format' = 'csv'
)",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    PATH: String = Opt::text(
        "path",
        "a folder; for a source also a file, or a glob pattern with `*`. Links are followed, and `.gz` files are decompressed. A \
         relative path starts from the script's folder",
    )
    .required();
    FORMAT: String = Opt::format("format", FILES, "the format of the records").required();
    MONITOR: Duration = Opt::some_time(
        "source.monitor-interval",
        "how often to look for new files; without it the source ends once it has read the files that were there at the start",
    )
    .how().of(&[Role::Source]);
    PATTERN: String = Opt::checked(
        "source.path.regex-pattern",
        "a regular expression",
        pattern,
        "a regular expression: only files whose whole path matches it are read",
    )
    .of(&[Role::Source, Role::Lookup]);
    FILE_SIZE: u64 =
        Opt::size("sink.rolling-policy.file-size", "a file that reaches this size is finished").default("128mb").how().of(&[Role::Sink]);
    ROLLOVER: Duration =
        Opt::duration("sink.rolling-policy.rollover-interval", "a file of this age is finished at the end of the epoch")
        .default("30 min").how().of(&[Role::Sink]);
    DEFAULT_NAME: String = Opt::text(
        "partition.default-name",
        "the value in a partition folder's name that stands for NULL or an empty text",
    )
    .default("__DEFAULT_PARTITION__").of(&[Role::Sink]);
}

const IDLE: &[OptionSpec] =
    &[OptionSpec::idle("sink.rolling-policy.check-interval", "the age of files is checked in every epoch")
        .how()
        .of(&[Role::Sink])];

/// The path of a table. A relative path starts from the script's folder.
fn path(table: &TableSpec) -> Result<PathBuf> {
    let path = table.value(&PATH)?;
    Ok(table.base.join(path.strip_prefix("file://").unwrap_or(&path)))
}
