//! Changes as Canal writes them: `data` is a list of rows as they are now, `old` of what they were where that differs, `type`
//! what happened to them.

use super::json::{Json, JsonWriter, no_json};
use super::{Decoder, Encoder, Failure, Rows, json_fields};
use crate::options::TableSpec;
use regex::Regex;
use serde_json::value::RawValue;
use weir_core::{Batch, Error, Field, Result, RowKind, SqlType};

const PREFIX: &str = "canal-json";

#[derive(Clone)]
pub(crate) struct Canal {
    rows: Json,
    ignore_errors: bool,
    database: Option<Regex>,
    table: Option<Regex>,
    fields: Vec<Field>,
}

impl Canal {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let pattern = |key: &str| -> Result<Option<Regex>> {
            let Some(text) = table.get(key) else { return Ok(None) };
            let regex = Regex::new(&format!("^(?:{text})$"));
            regex
                .map(Some)
                .map_err(|e| Error::script(format!("'{key}' is no regular expression: {e}")).at(table.place_of(key)))
        };
        let fields = ["data", "old", "type", "database", "table"].map(|n| Field::new(n, SqlType::STRING));
        Ok(Canal {
            rows: Json::with_prefix(table, PREFIX)?,
            ignore_errors: table.boolean("canal-json.ignore-parse-errors", false)?,
            database: pattern("canal-json.database.include")?,
            table: pattern("canal-json.table.include")?,
            fields: fields.to_vec(),
        })
    }

    fn change(&self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), String> {
        let mut found = vec![];
        json_fields::find(record, &self.fields, &mut found).map_err(|e| no_json(&e))?;
        let plain = |i: usize| found[i].map_or("", |r| r.get().trim_matches('"'));
        let other = |pattern: &Option<Regex>, i: usize| pattern.as_ref().is_some_and(|p| !p.is_match(plain(i)));
        if other(&self.database, 3) || other(&self.table, 4) {
            return Ok(());
        }
        let list = |i: usize| -> std::result::Result<Vec<&RawValue>, String> {
            match found[i].map(RawValue::get) {
                None | Some("null") => Ok(vec![]),
                Some(text) => serde_json::from_str(text).map_err(|e| no_json(&e)),
            }
        };
        let (data, old) = (list(0)?, list(1)?);
        let mut row = |kind: RowKind, text: &RawValue, was: Option<&RawValue>| {
            rows.kinds.push(kind as i8);
            self.rows.object_over(text.get().as_bytes(), was.map(|w| w.get().as_bytes()), rows)
        };
        match plain(2) {
            "INSERT" => data.into_iter().try_for_each(|d| row(RowKind::Insert, d, None)),
            "DELETE" => data.into_iter().try_for_each(|d| row(RowKind::Delete, d, None)),
            "UPDATE" => {
                for (i, d) in data.into_iter().enumerate() {
                    let was = old.get(i).copied().ok_or("an UPDATE says nothing of the row as it was ('old')")?;
                    row(RowKind::UpdateBefore, d, Some(was))?;
                    row(RowKind::UpdateAfter, d, None)?;
                }
                Ok(())
            }
            // Changes of tables, not of rows.
            "CREATE" | "ALTER" | "TRUNCATE" | "QUERY" | "RENAME" | "ERASE" | "CINDEX" | "DINDEX" => Ok(()),
            "" => Err("it has no 'type', which every change of Canal's has".to_string()),
            other => Err(format!("there is no change '{other}'")),
        }
    }
}

impl Decoder for Canal {
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
        let height = rows.height;
        let read = self.change(record, rows).map_err(Failure::from);
        rows.even(height, read, self.ignore_errors)
    }
}

#[derive(Clone)]
pub(crate) struct CanalWriter {
    rows: JsonWriter,
}

impl CanalWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Canal::new(table)?;
        Ok(CanalWriter { rows: JsonWriter::with_prefix(table, PREFIX)? })
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
