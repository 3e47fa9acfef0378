//! Changes as Oracle GoldenGate writes them: `before`, `after` and `op_type`.

use super::changes::{Envelope, EnvelopeField, EnvelopeType, item, word};
use super::json_writer::{JsonWriter, SHARED};
use super::{DecodeError, Decoder, Encoder, Format, IGNORING, RowBuilder, decoders, encoders};
use crate::options::TableSpec;
use weir_core::descriptor::{Changelog, Descriptor, Metadata};
use weir_core::{Batch, Result, RowKind};

const METADATA: [EnvelopeField; 4] = [
    item("table", "table", EnvelopeType::Text),
    item("primary-keys", "primary_keys", EnvelopeType::Texts),
    item("ingestion-timestamp", "current_ts", EnvelopeType::Stamp),
    item("event-timestamp", "op_ts", EnvelopeType::Stamp),
];

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "ogg-json",
        help: "changes as Oracle GoldenGate writes them: `before`, `after` and `op_type`",
        reads: Some(Changelog::All),
        writes: Some(Changelog::All),
        options: &[SHARED, IGNORING],
        metadata: &Metadata::of(&METADATA),
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'ogg-json'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(Ogg::new(t)?)),
    encoder: |t| Ok(encoders(OggWriter::new(t)?)),
    dialect: None,
    extension: "json",
};

/// Reads GoldenGate's changes.
#[derive(Clone)]
pub(crate) struct Ogg(Envelope);

impl Ogg {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(Ogg(Envelope::new(table, &["before", "after", "op_type"], &METADATA)?))
    }

    fn change(&self, text: &str, rows: &mut RowBuilder) -> std::result::Result<(), String> {
        let mut found = vec![];
        self.0.find(text, &mut found)?;
        let (before, after) = (found[0], found[1]);
        let mut row = |kind: RowKind, row: Option<&str>| {
            let missing = || {
                let hint = "the database must log whole rows (supplemental logging of all columns)";
                format!("it has no row to go with {}; {hint}", kind.mark())
            };
            self.0.put(kind, row.ok_or_else(missing)?, None, &found, rows)
        };
        match word(found[2]).as_deref() {
            Some("I") => row(RowKind::Insert, after),
            Some("U") => {
                row(RowKind::UpdateBefore, before)?;
                row(RowKind::UpdateAfter, after)
            }
            Some("D") => row(RowKind::Delete, before),
            Some(other) => Err(format!("there is no change '{other}'")),
            None => Err("it has no 'op_type', which every change of GoldenGate's has".to_string()),
        }
    }
}

impl Decoder for Ogg {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        self.0.record(record, rows, |text, rows| self.change(text, rows))
    }
}

/// Writes changes as GoldenGate does. An update is a deletion and an insertion, as in Flink.
#[derive(Clone)]
pub(crate) struct OggWriter {
    rows: JsonWriter,
}

impl OggWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(OggWriter { rows: JsonWriter::new(table)? })
    }
}

impl Encoder for OggWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let comes = batch.kind(row).sign() > 0;
        out.extend_from_slice(if comes { b"{\"before\":null,\"after\":" } else { b"{\"before\":" });
        self.rows.encode(batch, row, columns, out)?;
        out.extend_from_slice(if comes { b",\"op_type\":\"I\"}" } else { b",\"after\":null,\"op_type\":\"D\"}" });
        Ok(())
    }
}
