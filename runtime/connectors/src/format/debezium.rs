//! Changes as Debezium writes them: `before`, `after` and `op`, with or without the envelope of a schema. A row that comes is
//! written as op c, one that goes as op d; an update is one of each, as Flink writes it.

use super::changes::{Envelope, Item, Shape, word};
use super::json_writer::JsonWriter;
use super::{Decoder, Encoder, Failure, Rows};
use crate::options::TableSpec;
use weir_core::{Batch, Result, RowKind};

const PREFIX: &str = "debezium-json";

const METADATA: &[Item] = &[
    ("schema", "schema", Shape::Text),
    ("ingestion-timestamp", "ts_ms", Shape::Millis),
    ("source.timestamp", "source", Shape::PropertyMillis("ts_ms")),
    ("source.database", "source", Shape::Property("db")),
    ("source.schema", "source", Shape::Property("schema")),
    ("source.table", "source", Shape::Property("table")),
    ("source.properties", "source", Shape::TextMap),
];

/// Reads Debezium's changes.
#[derive(Clone)]
pub(crate) struct Debezium {
    envelope: Envelope,
    /// Whether the change is the payload beside a schema.
    with_schema: bool,
    /// The place of the schema among the envelope's fields, if somebody reads it.
    schema: Option<usize>,
}

impl Debezium {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let envelope = Envelope::new(table, PREFIX, &["before", "after", "op", "payload"], METADATA)?;
        let schema = envelope.place("schema");
        Ok(Debezium { envelope, with_schema: table.boolean("debezium-json.schema-include", false)?, schema })
    }

    fn change(&self, text: &str, rows: &mut Rows) -> std::result::Result<(), String> {
        let mut found = vec![];
        self.envelope.find(text, &mut found)?;
        if self.with_schema {
            let payload = found[3].ok_or("there is no payload, which debezium-json.schema-include asks for")?;
            let schema = self.schema.and_then(|at| found[at]);
            self.envelope.find(payload, &mut found)?;
            // The schema is beside the payload, not in it.
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
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
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
        Debezium::new(table)?;
        Ok(DebeziumWriter { rows: JsonWriter::with_prefix(table, PREFIX)? })
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
