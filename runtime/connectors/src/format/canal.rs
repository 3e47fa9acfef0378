//! Changes as Canal writes them: `data` is a list of rows after the change, `old` has the previous values of changed fields, and `type` is
//! the kind of change.

use super::changes::{Envelope, EnvelopeField, EnvelopeType, item, word};
use super::json_text::Scanner;
use super::json_writer::{JsonWriter, SHARED};
use super::{DecodeError, Decoder, Encoder, Format, IGNORING, RowBuilder, decoders, encoders};
use crate::options::TableSpec;
use crate::patterns::{pattern, whole};
use regex::Regex;
use weir_core::descriptor::{Changelog, Descriptor, Metadata};
use weir_core::option_spec::{Opt, Role};
use weir_core::{Batch, Result, RowKind, options};

const METADATA: [EnvelopeField; 6] = [
    item("database", "database", EnvelopeType::Text),
    item("table", "table", EnvelopeType::Text),
    item("sql-type", "sqlType", EnvelopeType::NumberMap),
    item("pk-names", "pkNames", EnvelopeType::Texts),
    item("ingestion-timestamp", "ts", EnvelopeType::Millis),
    item("event-timestamp", "es", EnvelopeType::Millis),
];

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "canal-json",
        help: "changes as Canal writes them: `data`, `old` and `type`",
        reads: Some(Changelog::All),
        writes: Some(Changelog::All),
        options: &[OPTIONS, SHARED, IGNORING],
        metadata: &Metadata::of(&METADATA),
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'canal-json'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(Canal::new(t)?)),
    encoder: |t| Ok(encoders(CanalWriter::new(t)?)),
    dialect: None,
    extension: "json",
};

options! {
    OPTIONS:
    DATABASE: String =
        Opt::checked("database.include", "a regular expression", pattern, "the databases whose changes are read: the whole name must match")
            .of(&[Role::Source]);
    TABLE: String =
        Opt::checked("table.include", "a regular expression", pattern, "the tables whose changes are read: the whole name must match")
            .of(&[Role::Source]);
}

/// Reads Canal's changes.
#[derive(Clone)]
pub(crate) struct Canal {
    envelope: Envelope,
    database: Option<Regex>,
    table: Option<Regex>,
}

impl Canal {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let pattern = |o: &Opt<String>| table.get(o)?.map(|text| whole(&text)).transpose();
        Ok(Canal {
            envelope: Envelope::new(table, &["data", "old", "type", "database", "table"], &METADATA)?,
            database: pattern(&DATABASE)?,
            table: pattern(&TABLE)?,
        })
    }

    fn change(&self, text: &str, rows: &mut RowBuilder) -> std::result::Result<(), String> {
        let mut found = vec![];
        self.envelope.find(text, &mut found)?;
        let other = |pattern: &Option<Regex>, i: usize| {
            pattern.as_ref().is_some_and(|p| !p.is_match(&word(found[i]).unwrap_or_default()))
        };
        if other(&self.database, 3) || other(&self.table, 4) {
            return Ok(());
        }
        let list = |i: usize| -> std::result::Result<Vec<&str>, String> {
            let mut all = vec![];
            if let Some(text) = found[i] {
                Scanner::new(text).items(|v| all.push(v)).map_err(|e| e.to_string())?;
            }
            Ok(all)
        };
        let (data, old) = (list(0)?, list(1)?);
        let mut row = |kind: RowKind, text: &str, was: Option<&str>| self.envelope.put(kind, text, was, &found, rows);
        let kind = word(found[2]);
        if found[0].is_none() && matches!(kind.as_deref(), Some("INSERT" | "DELETE" | "UPDATE")) {
            return Err("it has no rows ('data') to go with its 'type'".to_string());
        }
        match kind.as_deref() {
            Some("INSERT") => data.into_iter().try_for_each(|d| row(RowKind::Insert, d, None)),
            Some("DELETE") => data.into_iter().try_for_each(|d| row(RowKind::Delete, d, None)),
            Some("UPDATE") => {
                for (i, d) in data.into_iter().enumerate() {
                    let was = old.get(i).copied().ok_or("an UPDATE says nothing of the row as it was ('old')")?;
                    row(RowKind::UpdateBefore, d, Some(was))?;
                    row(RowKind::UpdateAfter, d, None)?;
                }
                Ok(())
            }
            // Changes of a table's schema have no rows.
            Some("CREATE" | "ALTER" | "TRUNCATE" | "QUERY" | "RENAME" | "ERASE" | "CINDEX" | "DINDEX") => Ok(()),
            None => Err("it has no 'type', which every change of Canal's has".to_string()),
            Some(other) => Err(format!("there is no change '{other}'")),
        }
    }
}

impl Decoder for Canal {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        self.envelope.record(record, rows, |text, rows| self.change(text, rows))
    }
}

/// Writes changes as Canal does.
#[derive(Clone)]
pub(crate) struct CanalWriter {
    rows: JsonWriter,
}

impl CanalWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(CanalWriter { rows: JsonWriter::new(table)? })
    }
}

impl Encoder for CanalWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"{\"data\":[");
        self.rows.encode(batch, row, columns, out)?;
        let comes = batch.kind(row).sign() > 0;
        out.extend_from_slice(if comes { b"],\"type\":\"INSERT\"}" } else { b"],\"type\":\"DELETE\"}" });
        Ok(())
    }
}
