//! Changes as Maxwell writes them: `data` is the row after the change, `old` has the previous values of changed fields, and `type` is the
//! kind of change.

use super::changes::{Envelope, EnvelopeField, EnvelopeType, item, word};
use super::json_writer::{JsonWriter, SHARED};
use super::{DecodeError, Decoder, Encoder, Format, IGNORING, RowBuilder, decoders, encoders};
use crate::options::TableSpec;
use weir_core::descriptor::{Changelog, Descriptor, Metadata};
use weir_core::{Batch, Result, RowKind};

const METADATA: [EnvelopeField; 4] = [
    item("database", "database", EnvelopeType::Text),
    item("table", "table", EnvelopeType::Text),
    item("primary-key-columns", "primary_key_columns", EnvelopeType::Texts),
    item("ingestion-timestamp", "ts", EnvelopeType::Seconds),
];

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "maxwell-json",
        help: "changes as Maxwell writes them: `data`, `old` and `type`",
        reads: Some(Changelog::All),
        writes: Some(Changelog::All),
        options: &[SHARED, IGNORING],
        metadata: &Metadata::of(&METADATA),
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'maxwell-json'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(Maxwell::new(t)?)),
    encoder: |t| Ok(encoders(MaxwellWriter::new(t)?)),
    dialect: None,
    extension: "json",
};

/// Reads Maxwell's changes.
#[derive(Clone)]
pub(crate) struct Maxwell(Envelope);

impl Maxwell {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(Maxwell(Envelope::new(table, &["data", "old", "type"], &METADATA)?))
    }

    fn change(&self, text: &str, rows: &mut RowBuilder) -> std::result::Result<(), String> {
        let mut found = vec![];
        self.0.find(text, &mut found)?;
        let (data, old) = (found[0], found[1]);
        let mut row = |kind: RowKind, was: Option<&str>| {
            let data = data.ok_or_else(|| format!("it has no row ('data') to go with {}", kind.mark()))?;
            self.0.put(kind, data, was, &found, rows)
        };
        match word(found[2]).as_deref() {
            Some("insert") => row(RowKind::Insert, None),
            Some("delete") => row(RowKind::Delete, None),
            Some("update") => {
                let was = old.ok_or("an update says nothing of the row as it was ('old')")?;
                row(RowKind::UpdateBefore, Some(was))?;
                row(RowKind::UpdateAfter, None)
            }
            None => Err("it has no 'type', which every change of Maxwell's has".to_string()),
            Some(other) => Err(format!("there is no change '{other}'")),
        }
    }
}

impl Decoder for Maxwell {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        self.0.record(record, rows, |text, rows| self.change(text, rows))
    }
}

/// Writes changes as Maxwell does. An update is a deletion and an insertion, as in Flink.
#[derive(Clone)]
pub(crate) struct MaxwellWriter {
    rows: JsonWriter,
}

impl MaxwellWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(MaxwellWriter { rows: JsonWriter::new(table)? })
    }
}

impl Encoder for MaxwellWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"{\"data\":");
        self.rows.encode(batch, row, columns, out)?;
        let comes = batch.kind(row).sign() > 0;
        out.extend_from_slice(if comes { b",\"type\":\"insert\"}" } else { b",\"type\":\"delete\"}" });
        Ok(())
    }
}
