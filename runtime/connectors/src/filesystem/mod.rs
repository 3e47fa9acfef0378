//! Files: as a source, read by several subtasks, watched where asked; as a sink, with exactly the rows of durable epochs.

mod claim;
mod file_metadata;
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
    record: Some(|t| Ok((file_metadata::of_records(t), t.value(&FORMAT)?, ""))),
    ..Connector::new(&Descriptor {
        name: "filesystem",
        help: "reads files, and writes them into a folder",
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
        "a file, a folder, or for a source a pattern with `*`. Links are followed, `.gz` is unpacked. A relative path starts from \
         the script's folder",
    )
    .required();
    FORMAT: String = Opt::format("format", FILES, "the format of the records").required();
    MONITOR: Duration = Opt::some_time("source.monitor-interval", "how often to look for new files; without it the source ends")
        .how().of(&[Role::Source]);
    PATTERN: String = Opt::checked(
        "source.path.regex-pattern",
        "a regular expression",
        pattern,
        "a regular expression of whole paths; other files are left out",
    )
    .of(&[Role::Source]);
    FILE_SIZE: u64 =
        Opt::size("sink.rolling-policy.file-size", "a file of this size is finished").default("128mb").how().of(&[Role::Sink]);
    ROLLOVER: Duration = Opt::duration("sink.rolling-policy.rollover-interval", "a file of this age is finished")
        .default("30 min").how().of(&[Role::Sink]);
    DEFAULT_NAME: String = Opt::text(
        "partition.default-name",
        "what stands for NULL or an empty value in the name of a folder",
    )
    .default("__DEFAULT_PARTITION__").of(&[Role::Sink]);
}

const IDLE: &[OptionSpec] =
    &[OptionSpec::idle("sink.rolling-policy.check-interval", "every epoch looks whether a part is old enough")
        .how()
        .of(&[Role::Sink])];

/// The path of a table, relative ones from the script's folder.
fn path(table: &TableSpec) -> Result<PathBuf> {
    let path = table.value(&PATH)?;
    Ok(table.base.join(path.strip_prefix("file://").unwrap_or(&path)))
}
