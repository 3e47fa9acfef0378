//! Changes as Debezium writes them: `before`, `after` and `op`, with or without an envelope that has a schema. An insertion is written with
//! op c, a deletion with op d, and an update as one of each, as Flink does.

use super::changes::{Envelope, EnvelopeField, EnvelopeType, item, word};
use super::json_writer::{JsonWriter, SHARED};
use super::{DecodeError, Decoder, Encoder, Format, IGNORING, RowBuilder, decoders, encoders};
use crate::options::TableSpec;
use weir_core::descriptor::{Changelog, Descriptor, Metadata};
use weir_core::option_spec::{Opt, Role};
use weir_core::{Batch, Result, RowKind, options};

const METADATA: [EnvelopeField; 7] = [
    item("schema", "schema", EnvelopeType::Text),
    item("ingestion-timestamp", "ts_ms", EnvelopeType::Millis),
    item("source.timestamp", "source", EnvelopeType::PropertyMillis("ts_ms")),
    item("source.database", "source", EnvelopeType::Property("db")),
    item("source.schema", "source", EnvelopeType::Property("schema")),
    item("source.table", "source", EnvelopeType::Property("table")),
    item("source.properties", "source", EnvelopeType::TextMap),
];

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "debezium-json",
        help: "changes as Debezium writes them: `before`, `after` and `op`",
        reads: Some(Changelog::All),
        writes: Some(Changelog::All),
        options: &[OPTIONS, SHARED, IGNORING],
        metadata: &Metadata::of(&METADATA),
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'debezium-json'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(Debezium::new(t)?)),
    encoder: |t| Ok(encoders(DebeziumWriter::new(t)?)),
    dialect: None,
    extension: "json",
};

options! {
    OPTIONS:
    SCHEMA_INCLUDE: bool = Opt::boolean("schema-include", "whether records have an envelope with `schema` and `payload`")
        .default("false").of(&[Role::Source]);
}

/// Reads Debezium's changes.
#[derive(Clone)]
pub(crate) struct Debezium {
    envelope: Envelope,
    /// Whether the change is the `payload` of an envelope that also has a `schema`.
    with_schema: bool,
    /// The place of the schema among the envelope's fields, if a column reads it.
    schema: Option<usize>,
}

impl Debezium {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let envelope = Envelope::new(table, &["before", "after", "op", "payload"], &METADATA)?;
        let schema = envelope.place("schema");
        Ok(Debezium { envelope, with_schema: table.value(&SCHEMA_INCLUDE)?, schema })
    }

    fn change(&self, text: &str, rows: &mut RowBuilder) -> std::result::Result<(), String> {
        let mut found = vec![];
        self.envelope.find(text, &mut found)?;
        if self.with_schema {
            let payload = found[3].ok_or("there is no payload, which debezium-json.schema-include asks for")?;
            let schema = self.schema.and_then(|at| found[at]);
            self.envelope.find(payload, &mut found)?;
            // The schema is next to the payload, not within it.
            if let Some(at) = self.schema {
                found[at] = schema;
            }
        } else if found[2].is_none() && found[3].is_some() {
            return Err("it has the envelope of a schema: set 'debezium-json.schema-include' = 'true'".to_string());
        } else if let Some(at) = self.schema {
            found[at] = None;
        }
        let (before, after) = (found[0], found[1]);
        let mut row = |kind: RowKind, row: Option<&str>| {
            let missing = || {
                let hint = "a database must be told to log whole rows (in PostgreSQL: REPLICA IDENTITY FULL)";
                format!("it has no row to go with {}; {hint}", kind.mark())
            };
            self.envelope.put(kind, row.ok_or_else(missing)?, None, &found, rows)
        };
        match word(found[2]).as_deref() {
            Some("c" | "r") => row(RowKind::Insert, after),
            Some("u") => {
                row(RowKind::UpdateBefore, before)?;
                row(RowKind::UpdateAfter, after)
            }
            Some("d") => row(RowKind::Delete, before),
            Some(other) => Err(format!("there is no change '{other}'")),
            None => Err("it has no 'op', which every change of Debezium's has".to_string()),
        }
    }
}

impl Decoder for Debezium {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        self.envelope.record(record, rows, |text, rows| self.change(text, rows))
    }
}

/// Writes changes as Debezium does.
#[derive(Clone)]
pub(crate) struct DebeziumWriter {
    rows: JsonWriter,
}

impl DebeziumWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(DebeziumWriter { rows: JsonWriter::new(table)? })
    }
}

impl Encoder for DebeziumWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let comes = batch.kind(row).sign() > 0;
        out.extend_from_slice(if comes { b"{\"before\":null,\"after\":" } else { b"{\"before\":" });
        self.rows.encode(batch, row, columns, out)?;
        out.extend_from_slice(if comes { b",\"op\":\"c\"}" } else { b",\"after\":null,\"op\":\"d\"}" });
        Ok(())
    }
}
