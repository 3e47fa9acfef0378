//! Changes as Debezium writes them: `before`, `after` and `op`, with or without the envelope of a schema. A row that comes is
//! written as op c, one that goes as op d; an update is one of each, as Flink writes it.

use super::json::{Json, JsonWriter};
use super::{Decoder, Encoder, Failure, Rows, json_fields};
use crate::options::TableSpec;
use weir_core::{Batch, Field, Result, RowKind, SqlType};

const PREFIX: &str = "debezium-json";

#[derive(Clone)]
pub(crate) struct Debezium {
    rows: Json,
    envelope: bool,
    ignore_errors: bool,
    fields: Vec<Field>,
}

impl Debezium {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let fields = ["before", "after", "op", "payload"].map(|n| Field::new(n, SqlType::STRING));
        Ok(Debezium {
            rows: Json::with_prefix(table, PREFIX)?,
            envelope: table.boolean("debezium-json.schema-include", false)?,
            ignore_errors: table.boolean("debezium-json.ignore-parse-errors", false)?,
            fields: fields.to_vec(),
        })
    }

    fn change(&self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), String> {
        let mut found = vec![];
        json_fields::find(record, &self.fields, &mut found).map_err(|e| super::json::no_json(&e))?;
        let text = |i: usize, all: &[Option<&'_ serde_json::value::RawValue>]| {
            all[i].map(|r| r.get().to_string()).filter(|t| t != "null")
        };
        if self.envelope {
            let payload = text(3, &found).ok_or("there is no payload, which debezium-json.schema-include asks for")?;
            return Debezium { envelope: false, ..self.clone() }.change(payload.as_bytes(), rows);
        }
        if found[2].is_none() && found[3].is_some() {
            return Err("it has the envelope of a schema: set 'debezium-json.schema-include' = 'true'".to_string());
        }
        let (before, after) = (text(0, &found), text(1, &found));
        let mut row = |kind: RowKind, row: Option<String>| {
            let missing = format!("it has no row to go with {}", kind.mark());
            let hint = "a database must be told to log whole rows (in PostgreSQL: REPLICA IDENTITY FULL)";
            let text = row.ok_or_else(|| format!("{missing}; {hint}"))?;
            rows.kinds.push(kind as i8);
            self.rows.object_over(text.as_bytes(), None, rows)
        };
        match found[2].map(|op| op.get().trim_matches('"')) {
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
        let height = rows.height;
        let read = self.change(record, rows).map_err(Failure::from);
        rows.even(height, read, self.ignore_errors)
    }
}

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
