//! Changes as Canal writes them: `data` is a list of rows as they are now, `old` of what they were where that differs, `type`
//! what happened to them.

use super::changes::{Envelope, Item, Shape, word};
use super::json_text::Scanner;
use super::json_writer::JsonWriter;
use super::{Decoder, Encoder, Failure, Rows};
use crate::options::TableSpec;
use regex::Regex;
use weir_core::{Batch, Error, Result, RowKind};

const PREFIX: &str = "canal-json";

const METADATA: &[Item] = &[
    ("database", "database", Shape::Text),
    ("table", "table", Shape::Text),
    ("sql-type", "sqlType", Shape::NumberMap),
    ("pk-names", "pkNames", Shape::Texts),
    ("ingestion-timestamp", "ts", Shape::Millis),
    ("event-timestamp", "es", Shape::Millis),
];

/// Reads Canal's changes.
#[derive(Clone)]
pub(crate) struct Canal {
    envelope: Envelope,
    database: Option<Regex>,
    table: Option<Regex>,
}

impl Canal {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let pattern = |key: &str| -> Result<Option<Regex>> {
            let Some(text) = table.get(key) else { return Ok(None) };
            let regex = Regex::new(&format!("^(?:{text})$"));
            regex.map(Some).map_err(|e| {
                Error::script(format!("'{key}' is no regular expression")).caused_by(e).at(table.place_of(key))
            })
        };
        Ok(Canal {
            envelope: Envelope::new(table, PREFIX, &["data", "old", "type", "database", "table"], METADATA)?,
            database: pattern("canal-json.database.include")?,
            table: pattern("canal-json.table.include")?,
        })
    }

    fn change(&self, text: &str, rows: &mut Rows) -> std::result::Result<(), String> {
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
            // Changes of tables, not of rows.
            Some("CREATE" | "ALTER" | "TRUNCATE" | "QUERY" | "RENAME" | "ERASE" | "CINDEX" | "DINDEX") => Ok(()),
            None => Err("it has no 'type', which every change of Canal's has".to_string()),
            Some(other) => Err(format!("there is no change '{other}'")),
        }
    }
}

impl Decoder for Canal {
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
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
