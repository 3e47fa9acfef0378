//! Avro: `avro`, records of the table's own schema; `avro-confluent`, records with the id of their schema in a schema registry;
//! `debezium-avro-confluent`, changes in such records. Only messages are supported, not Avro's container files.

mod bounds;
mod registry;
mod schema;
mod values;

use super::{DecodeError, Decoder, Encoder, Format, IGNORE_ERRORS, RowBuilder, decoders, encoders};
use crate::options::TableSpec;
use apache_avro::types::Value as Avro;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use registry::SchemaRegistry;
use std::sync::{Arc, OnceLock};
use values::Written;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::option_spec::Opt;
use weir_core::{Batch, Error, Field, Result, RowKind, SqlType, Value, choice, options};

/// Which of the three formats records are in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AvroVariant {
    Plain,
    Registered,
    Changes,
}

choice! {
    enum Encoding { Binary = "binary" }
}

options! {
    OPTIONS:
    LEGACY: bool = Opt::boolean(
        "timestamp_mapping.legacy",
        "whether to map timestamps as older versions of Flink do, which give TIMESTAMP and TIMESTAMP_LTZ the same Avro type",
    )
    .default("true");
    ENCODING: Encoding = Opt::one_of("encoding", "the encoding of records; only `binary` is supported").default("binary");
}

options! {
    OF_ROWS:
    SCHEMA: String = Opt::text("schema", "the Avro schema of the records; by default it is derived from the columns");
}

options! {
    REGISTERED:
    SUBJECT: String = Opt::text(
        "subject",
        "the subject under which a sink registers its schema; by default `TOPIC-value`, or `TOPIC-key` for the key's schema",
    );
}

pub(super) const PLAIN: Format = Format {
    descriptor: &Descriptor {
        name: "avro",
        help: "messages with the schema that Flink derives from the columns",
        options: &[OF_ROWS, OPTIONS, super::IGNORING],
        lines: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'avro'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(AvroReader::new(t, AvroVariant::Plain)?)),
    encoder: |t| Ok(encoders(AvroWriter::new(t, AvroVariant::Plain)?)),
    dialect: None,
    extension: "avro",
};

pub(super) const CONFLUENT: Format = Format {
    descriptor: &Descriptor {
        name: "avro-confluent",
        help: "messages with the id of their schema in a schema registry that has Confluent's interface",
        options: &[
            registry::OPTIONS,
            registry::IDLE,
            REGISTERED,
            OF_ROWS,
            OPTIONS,
            super::IGNORING,
            crate::http::OPTIONS,
        ],
        lines: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'avro-confluent', 'avro-confluent.url' = 'http://registry:8081'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(AvroReader::new(t, AvroVariant::Registered)?)),
    encoder: |t| Ok(encoders(AvroWriter::new(t, AvroVariant::Registered)?)),
    dialect: None,
    extension: "avro",
};

pub(super) const DEBEZIUM: Format = Format {
    descriptor: &Descriptor {
        name: "debezium-avro-confluent",
        help: "Debezium's changes, in messages with the id of their schema in a schema registry",
        reads: Some(Changelog::All),
        writes: Some(Changelog::All),
        options: &[registry::OPTIONS, registry::IDLE, REGISTERED, OPTIONS, super::IGNORING, crate::http::OPTIONS],
        lines: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'debezium-avro-confluent',
  'debezium-avro-confluent.url' = 'http://registry:8081'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(AvroReader::new(t, AvroVariant::Changes)?)),
    encoder: |t| Ok(encoders(AvroWriter::new(t, AvroVariant::Changes)?)),
    dialect: None,
    extension: "avro",
};

/// How a record refers to the schema that it was written with.
#[derive(Clone)]
enum By {
    /// Not at all: it is the table's schema.
    Table(Arc<Written>),
    /// By a schema id, after a zero byte.
    Registry(Arc<SchemaRegistry>),
}

/// What the three formats share.
#[derive(Clone)]
pub(crate) struct AvroFormat {
    by: By,
    changes: bool,
    legacy: bool,
    /// The schema that is written, and the subject under which it is registered.
    text: String,
    /// Whether the script gives the schema, so that it may differ from the one derived from the columns.
    given: bool,
    subject: Option<String>,
}

impl AvroFormat {
    /// Reads a table's options.
    fn new(table: &TableSpec, kind: AvroVariant) -> Result<Self> {
        let changes = kind == AvroVariant::Changes;
        let legacy = table.value(&LEGACY)?;
        let Encoding::Binary = table.value(&ENCODING)?;
        let row = schema::record(schema::RECORD, &table.schema.fields, legacy).map_err(|e| e.at(table.place))?;
        let text = if changes {
            let field = |name: &str, ty: serde_json::Value| serde_json::json!({"name": name, "type": ["null", ty], "default": null});
            let again = serde_json::Value::from(schema::RECORD.to_string() + "_row");
            let mut row = row;
            row["name"] = again.clone();
            let fields = [field("before", row), field("after", again), field("op", "string".into())];
            serde_json::json!({"type": "record", "name": schema::RECORD, "fields": fields}).to_string()
        } else {
            let given = table.get(&SCHEMA)?;
            if let Some(text) = &given {
                Schema::parse_str(text).map_err(|e| {
                    let wrong = Error::script(format!("'{}' is no Avro schema", table.key_of(&SCHEMA)));
                    wrong.caused_by(e).at(table.place_of(&SCHEMA))
                })?;
            }
            given.unwrap_or_else(|| row.to_string())
        };
        let parsed =
            Schema::parse_str(&text).map_err(|e| Error::script("no Avro schema").caused_by(e).at(table.place))?;
        let (by, subject) = match kind {
            AvroVariant::Plain => (By::Table(Arc::new(Written::new(parsed))), None),
            AvroVariant::Registered | AvroVariant::Changes => {
                let subject = table.get(&SUBJECT)?.or_else(|| table.subject.clone());
                (By::Registry(Arc::new(SchemaRegistry::new(table)?)), subject)
            }
        };
        let given = !changes && table.has(&SCHEMA);
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
    fn new(table: &TableSpec, kind: AvroVariant) -> Result<Self> {
        let ignore_errors = table.value(&IGNORE_ERRORS)?;
        Ok(AvroReader { format: AvroFormat::new(table, kind)?, fields: table.projected().fields, ignore_errors })
    }

    fn read(&self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        if self.format.changes && record.is_empty() {
            // Debezium sends an empty record after a deletion.
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
                (r.schema(u32::from_be_bytes([a, b, c, d])).map_err(DecodeError::Job)??, rest)
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

    fn change(&self, value: &Avro, by: &Written, rows: &mut RowBuilder) -> std::result::Result<(), String> {
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
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
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
    /// The schema's id, once it is registered.
    id: Arc<OnceLock<u32>>,
}

impl AvroWriter {
    fn new(table: &TableSpec, kind: AvroVariant) -> Result<Self> {
        let format = AvroFormat::new(table, kind)?;
        let schema = Schema::parse_str(&format.text).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
        if matches!(format.by, By::Registry(_)) && format.subject.is_none() {
            let e = Error::script(format!("table '{}' lacks the option '{}'", table.name, table.key_of(&SUBJECT)));
            return Err(e.at(table.place));
        }
        let fields = table.schema.fields.clone();
        Ok(AvroWriter { format, fields, schema: Arc::new(schema), id: Arc::default() })
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
        let record = values::to_record(values.iter().zip(&self.fields), self.format.legacy)?;
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
        let datum = record.and_then(|r| to_avro_datum(&self.schema, r)).map_err(values::no_fit)?;
        out.extend_from_slice(&datum);
        Ok(())
    }
}
