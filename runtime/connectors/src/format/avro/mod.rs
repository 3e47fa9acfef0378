//! Avro: `avro`, records of the table's own schema; `avro-confluent`, records that name their schema in a registry;
//! `debezium-avro-confluent`, such records of changes. Messages only: Avro's container files are read by nothing here.

mod bounds;
mod registry;
mod schema;
mod values;

use super::{Decoder, Encoder, Failure, Rows};
use crate::options::TableSpec;
use apache_avro::types::Value as Avro;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use registry::Registry;
use std::sync::{Arc, OnceLock};
use values::Written;
use weir_core::{Batch, Error, Field, Result, RowKind, SqlType, Value};

/// How a record says which schema it was written with.
#[derive(Clone)]
enum By {
    /// It does not: it is the table's.
    Table(Arc<Written>),
    /// By a number, behind a zero byte.
    Registry(Arc<Registry>),
}

/// What the three formats are made of.
#[derive(Clone)]
pub(crate) struct AvroFormat {
    by: By,
    changes: bool,
    legacy: bool,
    /// The text of the schema that is written, and the subject that it is registered as.
    text: String,
    /// Whether the script gives the schema, so that it may differ from the columns'.
    given: bool,
    subject: Option<String>,
}

impl AvroFormat {
    /// From a table's options; `format` is its name.
    pub fn new(table: &TableSpec, format: &str) -> Result<Self> {
        let changes = format.starts_with("debezium");
        let legacy = table.boolean(&format!("{format}.timestamp_mapping.legacy"), true)?;
        if table.get(&format!("{format}.encoding")).is_some_and(|e| e != "binary") {
            let key = format!("{format}.encoding");
            return Err(Error::script(format!("'{key}' is binary")).at(table.place_of(&key)));
        }
        if table.connector() == "filesystem" {
            let e = Error::script(format!("the format {format} goes with messages, not with files"));
            return Err(e.at(table.place_of("format")));
        }
        let row = schema::record(schema::RECORD, &table.schema.fields, legacy).map_err(|e| e.at(table.place))?;
        let text = if changes {
            let field = |name: &str, ty: serde_json::Value| serde_json::json!({"name": name, "type": ["null", ty], "default": null});
            let again = serde_json::Value::from(schema::RECORD.to_string() + "_row");
            let mut row = row;
            row["name"] = again.clone();
            let fields = [field("before", row), field("after", again), field("op", "string".into())];
            serde_json::json!({"type": "record", "name": schema::RECORD, "fields": fields}).to_string()
        } else {
            let given = format!("{format}.schema");
            match table.get(&given) {
                Some(text) => {
                    Schema::parse_str(text).map_err(|e| {
                        Error::script(format!("'{given}' is no Avro schema")).caused_by(e).at(table.place_of(&given))
                    })?;
                    text.to_string()
                }
                None => row.to_string(),
            }
        };
        let parsed =
            Schema::parse_str(&text).map_err(|e| Error::script("no Avro schema").caused_by(e).at(table.place))?;
        let (by, subject) = if format == "avro" {
            (By::Table(Arc::new(Written::new(parsed))), None)
        } else {
            let subject = table.get(&format!("{format}.subject")).map(str::to_string);
            let of_topic = || table.options.get("topic").map(|t| format!("{t}-{}", table.side));
            (By::Registry(Arc::new(Registry::new(table, format)?)), subject.or_else(of_topic))
        };
        let given = table.options.contains_key(&format!("{format}.schema"));
        Ok(AvroFormat { by, changes, legacy, text, given, subject })
    }
}

/// Reads records.
#[derive(Clone)]
pub(crate) struct AvroReader {
    format: AvroFormat,
    fields: Vec<Field>,
    ignore_errors: bool,
}

impl AvroReader {
    pub fn new(table: &TableSpec, format: &str) -> Result<Self> {
        super::no_metadata(table, format)?;
        let ignore_errors = table.boolean(&format!("{format}.ignore-parse-errors"), false)?;
        Ok(AvroReader { format: AvroFormat::new(table, format)?, fields: table.projected().fields, ignore_errors })
    }

    fn read(&self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
        if self.format.changes && record.is_empty() {
            // So Debezium follows up a row that goes.
            return Ok(());
        }
        let (by, mut bytes) = match &self.format.by {
            By::Table(s) => (s.clone(), record),
            By::Registry(r) => {
                let Some((&[0, a, b, c, d], rest)) = record.split_first_chunk::<5>() else {
                    let why =
                        "it does not begin with a zero byte and a schema's number, as records of a schema registry do";
                    return Err(why.to_string().into());
                };
                (r.schema(u32::from_be_bytes([a, b, c, d])).map_err(Failure::Job)??, rest)
            }
        };
        let wrong = |why: String| format!("it is not as its schema says: {why}");
        if bounds::check(&by, bytes).map_err(wrong)? < bytes.len() {
            return Err("more bytes follow the record".to_string().into());
        }
        let value = from_avro_datum(&by.schema, &mut bytes, None).map_err(|e| wrong(e.to_string()))?;
        if self.format.changes {
            return Ok(self.change(&value, &by, rows)?);
        }
        rows.push(&values::row(&value, &by.schema, &by, &self.fields)?);
        Ok(())
    }

    fn change(&self, value: &Avro, by: &Written, rows: &mut Rows) -> std::result::Result<(), String> {
        let ty = SqlType::from(weir_core::TypeKind::Row(self.fields.clone()));
        let envelope = [("before", ty.clone()), ("after", ty), ("op", SqlType::STRING)].map(|(n, t)| Field::new(n, t));
        let found = values::row(value, &by.schema, by, &envelope)?;
        let [before, after, op] = found.as_slice() else { return Err("it is no change".to_string()) };
        let mut put = |kind: RowKind, row: &Value<'_>| match row {
            Value::Row(values) => {
                rows.push_kind(kind, values);
                Ok(())
            }
            _ => Err(format!("it has no row to go with {}", kind.mark())),
        };
        match op.as_str() {
            Some("c" | "r") => put(RowKind::Insert, after),
            Some("u") => {
                put(RowKind::UpdateBefore, before)?;
                put(RowKind::UpdateAfter, after)
            }
            Some("d") => put(RowKind::Delete, before),
            other => Err(format!("there is no change '{}'", other.unwrap_or("NULL"))),
        }
    }
}

impl Decoder for AvroReader {
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
        let height = rows.height;
        let read = self.read(record, rows);
        rows.ignoring(height, read, self.ignore_errors)
    }
}

/// Writes records.
#[derive(Clone)]
pub(crate) struct AvroWriter {
    format: AvroFormat,
    fields: Vec<Field>,
    schema: Arc<Schema>,
    /// The schema's number, once it is registered.
    id: Arc<OnceLock<u32>>,
}

impl AvroWriter {
    pub fn new(table: &TableSpec, format: &str) -> Result<Self> {
        let reader = AvroReader::new(table, format)?;
        let schema =
            Schema::parse_str(&reader.format.text).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
        if matches!(reader.format.by, By::Registry(_)) && reader.format.subject.is_none() {
            let e = Error::script(format!("table '{}' lacks the option '{format}.subject'", table.name));
            return Err(e.at(table.place));
        }
        let fields = table.schema.fields.clone();
        Ok(AvroWriter { format: reader.format, fields, schema: Arc::new(schema), id: Arc::default() })
    }
}

impl Encoder for AvroWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        if let (By::Registry(r), Some(subject)) = (&self.format.by, &self.format.subject) {
            let id = match self.id.get() {
                Some(id) => *id,
                None => *self.id.get_or_init({
                    let id = r.register(subject, &self.format.text)?;
                    move || id
                }),
            };
            out.push(0);
            out.extend_from_slice(&id.to_be_bytes());
        }
        let values: Vec<Value<'_>> = columns.iter().map(|c| Value::read(batch.data.column(*c), row)).collect();
        let no_fit = |why: String| Error::data(format!("a row does not fit the Avro schema: {why}"));
        let record = values::to_record(values.iter().zip(&self.fields), self.format.legacy).map_err(no_fit)?;
        let record = if self.format.changes {
            let (some, none) = (Avro::Union(1, Box::new(record)), Avro::Union(0, Box::new(Avro::Null)));
            let comes = batch.kind(row).sign() > 0;
            let (before, after) = if comes { (none, some) } else { (some, none) };
            let op = Avro::Union(1, Box::new(Avro::String(if comes { "c" } else { "d" }.to_string())));
            Avro::Record(vec![("before".to_string(), before), ("after".to_string(), after), ("op".to_string(), op)])
        } else {
            record
        };
        let record = if self.format.given { record.resolve(&self.schema) } else { Ok(record) };
        let datum = record.and_then(|r| to_avro_datum(&self.schema, r)).map_err(|e| no_fit(e.to_string()))?;
        out.extend_from_slice(&datum);
        Ok(())
    }
}
