//! What the JSON change formats share: an envelope whose fields hold rows, with metadata next to them.

use super::json::JsonDecoder;
use super::json_text::{JsonToken, what};
use super::metadata::{converted, convertible};
use super::{DecodeError, IGNORE_ERRORS, RowBuilder, json_fields, utf8};
use crate::options::TableSpec;
use std::sync::Arc;
use weir_core::descriptor::Metadata;
use weir_core::{Error, Field, Result, RowKind, SqlType, TypeKind, Value};
use weir_expr::Session;

/// How a field of an envelope is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EnvelopeType {
    /// As text. Other values become their JSON text.
    Text,
    /// As milliseconds since 1970.
    Millis,
    /// As seconds since 1970.
    Seconds,
    /// As the text of a timestamp.
    Stamp,
    /// As a list of texts.
    Texts,
    /// As a map of texts.
    TextMap,
    /// As a map of whole numbers.
    NumberMap,
    /// As one entry of a map of texts.
    Property(&'static str),
    /// As one entry of a map of texts, which has milliseconds since 1970.
    PropertyMillis(&'static str),
}

/// A metadata key, the envelope's field that it is in, and how that field is read.
pub(super) type EnvelopeField = (Metadata, (&'static str, EnvelopeType));

/// The metadata `key` in `field`, which is read as `ty`.
pub(super) const fn item(key: &'static str, field: &'static str, shape: EnvelopeType) -> EnvelopeField {
    let ty: fn() -> SqlType = match shape {
        EnvelopeType::Text | EnvelopeType::Property(_) => || SqlType::STRING,
        EnvelopeType::Millis | EnvelopeType::Seconds | EnvelopeType::PropertyMillis(_) => {
            || SqlType::from(TypeKind::TimestampLtz(3))
        }
        EnvelopeType::Stamp => || SqlType::from(TypeKind::TimestampLtz(6)),
        EnvelopeType::Texts => || SqlType::from(TypeKind::Array(Box::new(SqlType::STRING))),
        EnvelopeType::TextMap => text_map,
        EnvelopeType::NumberMap => {
            || SqlType::from(TypeKind::Map(Box::new(SqlType::STRING), Box::new(SqlType::from(TypeKind::Int))))
        }
    };
    (Metadata::read(key, ty), (field, shape))
}

fn text_map() -> SqlType {
    SqlType::from(TypeKind::Map(Box::new(SqlType::STRING), Box::new(SqlType::STRING)))
}

impl EnvelopeType {
    /// The type that the field is read as.
    fn read_as((metadata, (_, shape)): &EnvelopeField) -> SqlType {
        match shape {
            EnvelopeType::Millis | EnvelopeType::Seconds => SqlType::from(TypeKind::BigInt),
            EnvelopeType::Stamp => SqlType::from(TypeKind::Timestamp(6)),
            EnvelopeType::Property(_) | EnvelopeType::PropertyMillis(_) => text_map(),
            EnvelopeType::Text | EnvelopeType::Texts | EnvelopeType::TextMap | EnvelopeType::NumberMap => {
                (metadata.ty)()
            }
        }
    }

    /// Converts the field's value to the metadata's value.
    fn value(self, read: Value<'static>) -> std::result::Result<Value<'static>, String> {
        let stamp =
            |millis: i64| Value::Timestamp(millis.div_euclid(1_000), millis.rem_euclid(1_000) as u32 * 1_000_000);
        Ok(match (self, read) {
            (EnvelopeType::Millis, Value::Int(millis)) => stamp(millis),
            (EnvelopeType::Seconds, Value::Int(seconds)) => Value::Timestamp(seconds, 0),
            (EnvelopeType::Property(name) | EnvelopeType::PropertyMillis(name), Value::Map(all)) => {
                let found = all.into_iter().find(|(k, _)| k.as_str() == Some(name)).map(|(_, v)| v);
                match (self, found) {
                    (_, None | Some(Value::Null)) => Value::Null,
                    (EnvelopeType::Property(_), Some(v)) => v,
                    (_, Some(v)) => {
                        let text = v.as_str().unwrap_or_default();
                        stamp(text.parse().map_err(|_| format!("'{text}' is no number of milliseconds"))?)
                    }
                }
            }
            (_, read) => read,
        })
    }
}

/// A metadata column.
#[derive(Debug, Clone)]
struct MetadataColumn {
    column: usize,
    /// The index of the field among the envelope's fields.
    field: usize,
    item: EnvelopeField,
    to: SqlType,
}

/// The envelope of a change format.
#[derive(Clone)]
pub(super) struct Envelope {
    rows: JsonDecoder,
    pub ignore_errors: bool,
    fields: Vec<Field>,
    beside: Vec<MetadataColumn>,
    session: Arc<Session>,
}

impl Envelope {
    /// The envelope of a format, with the fields that it always reads, and its metadata.
    pub fn new(table: &TableSpec, own: &[&'static str], metadata: &[EnvelopeField]) -> Result<Self> {
        let mut names = own.to_vec();
        let mut beside = vec![];
        // All declared metadata columns are checked, including those that are not read.
        for (declared, key) in table.schema.fields.iter().zip(&table.metadata) {
            let Some(key) = key else { continue };
            let Some((m, _)) = metadata.iter().find(|(m, _)| m.key == key) else {
                return Err(Error::internal(format!("there is no metadata '{key}'")));
            };
            convertible(&(m.ty)(), declared, key).map_err(|e| e.at(table.place))?;
        }
        for (column, c) in table.columns.iter().enumerate() {
            let (declared, key) = (&table.schema.fields[*c], &table.metadata[*c]);
            let Some(item) = metadata.iter().find(|(m, _)| Some(m.key) == key.as_deref()) else { continue };
            let (_, (field, _)) = item;
            let field = names.iter().position(|n| n == field).unwrap_or_else(|| {
                names.push(field);
                names.len() - 1
            });
            beside.push(MetadataColumn { column, field, item: *item, to: declared.ty.clone() });
        }
        Ok(Envelope {
            rows: JsonDecoder::shared(table)?.of_trees(),
            ignore_errors: table.value(&IGNORE_ERRORS)?,
            fields: names.into_iter().map(|n| Field::new(n, SqlType::STRING)).collect(),
            beside,
            session: table.session.clone(),
        })
    }

    /// The index of a field of the envelope.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// Finds the texts of the envelope's fields, with those that are always read first. A null counts as missing.
    pub fn find<'a>(&self, text: &'a str, found: &mut Vec<Option<&'a str>>) -> std::result::Result<(), String> {
        json_fields::find(text, &self.fields, found).map_err(|e| e.to_string())?;
        found.iter_mut().for_each(|f| *f = f.filter(|t| *t != "null"));
        Ok(())
    }

    /// Appends a row and its metadata. Fields of `over` replace those of the row.
    pub fn put(
        &self,
        kind: RowKind,
        row: &str,
        over: Option<&str>,
        found: &[Option<&str>],
        rows: &mut RowBuilder,
    ) -> std::result::Result<(), String> {
        rows.kinds.push(kind as i8);
        let height = rows.height;
        let mut read = self.rows.object_over(row, over, rows);
        if rows.height == height {
            return read;
        }
        for b in &self.beside {
            let value = match self.metadata(b, found[b.field], &mut rows.nulled) {
                Ok(v) => v,
                Err(why) => {
                    if self.ignore_errors {
                        rows.nulled += 1;
                    } else if read.is_ok() {
                        read = Err(format!("metadata '{}': {why}", b.item.0.key));
                    }
                    Value::Null
                }
            };
            rows.columns[b.column].push(&value);
        }
        read
    }

    fn metadata(
        &self,
        b: &MetadataColumn,
        text: Option<&str>,
        lost: &mut u64,
    ) -> std::result::Result<Value<'static>, String> {
        let (_, (_, shape)) = b.item;
        let Some(text) = text else { return Ok(Value::Null) };
        let value = shape.value(self.rows.value(text, &EnvelopeType::read_as(&b.item), lost)?)?;
        let from = (b.item.0.ty)();
        if from.kind == b.to.kind {
            return Ok(value);
        }
        let cast = converted(&value, &from, &b.to, &self.session).map_err(|e| e.to_string())?;
        Ok(Value::read(&cast, 0).into_owned())
    }

    /// Reads a record, whose text `change` turns into rows. An empty record has no rows: Debezium sends one after a deletion.
    pub fn record(
        &self,
        record: &[u8],
        rows: &mut RowBuilder,
        change: impl FnOnce(&str, &mut RowBuilder) -> std::result::Result<(), String>,
    ) -> std::result::Result<(), DecodeError> {
        if record.trim_ascii().is_empty() {
            return Ok(());
        }
        let height = rows.height;
        let read = utf8(record).and_then(|text| change(text.strip_prefix('\u{FEFF}').unwrap_or(text), rows));
        rows.even(height, read.map_err(DecodeError::from), self.ignore_errors)
    }
}

/// The content of a JSON text, if it is a string.
pub(super) fn word(text: Option<&str>) -> Option<String> {
    match what(text?) {
        JsonToken::String(s) => Some(s.into_owned()),
        _ => None,
    }
}
