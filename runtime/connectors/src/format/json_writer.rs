//! Rows as JSON objects, for the formats that are made of them.

use super::Encoder;
use super::json::{Json, iso};
use crate::options::TableSpec;
use base64::Engine as _;
use serde_json::Value as J;
use std::sync::Arc;
use weir_core::{Batch, Error, Field, Result, SqlType, TypeKind, Value};
use weir_expr::{Session, time};

/// What becomes of a map's entry whose key is NULL, for which JSON has no name.
#[derive(Clone)]
enum NullKey {
    /// The row is refused; what to do is said by this.
    Fail(String),
    Drop,
    Literal(String),
}

impl NullKey {
    /// As a table's options say, whose names begin so.
    fn of(table: &TableSpec, prefix: &str) -> Result<Self> {
        let key = format!("{prefix}.map-null-key.mode");
        let literal = table.get(&format!("{prefix}.map-null-key.literal")).unwrap_or("null");
        match table.get(&key).unwrap_or("FAIL").to_uppercase().as_str() {
            "FAIL" => Ok(NullKey::Fail(format!(
                "set '{key}' = 'DROP' to leave such entries out, or 'LITERAL' to give them a name"
            ))),
            "DROP" => Ok(NullKey::Drop),
            "LITERAL" => Ok(NullKey::Literal(literal.to_string())),
            other => {
                Err(Error::script(format!("{key} is FAIL, DROP or LITERAL, not '{other}'")).at(table.place_of(&key)))
            }
        }
    }
}

/// Writes rows as JSON objects.
#[derive(Clone)]
pub(crate) struct JsonWriter {
    fields: Vec<Field>,
    iso: bool,
    ignore_nulls: bool,
    plain_decimals: bool,
    null_key: NullKey,
    session: Arc<Session>,
}

impl JsonWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Json::new(table)?;
        Self::with_prefix(table, "json")
    }

    /// A writer whose options begin with another format's name.
    pub fn with_prefix(table: &TableSpec, prefix: &str) -> Result<Self> {
        Ok(JsonWriter {
            fields: table.schema.fields.clone(),
            iso: iso(table, prefix)?,
            ignore_nulls: table.boolean(&format!("{prefix}.encode.ignore-null-fields"), false)?,
            plain_decimals: table.boolean(&format!("{prefix}.encode.decimal-as-plain-number"), false)?,
            null_key: NullKey::of(table, prefix)?,
            session: table.session.clone(),
        })
    }

    /// A writer for systems that take any JSON: decimals as numbers without exponents.
    pub fn plain(table: &TableSpec) -> Self {
        JsonWriter {
            fields: table.schema.fields.clone(),
            iso: false,
            ignore_nulls: false,
            plain_decimals: true,
            null_key: NullKey::Fail("leave such entries out, or give them another key".to_string()),
            session: table.session.clone(),
        }
    }

    fn json(&self, v: &Value<'_>, ty: &SqlType) -> Result<J> {
        // What is no number is written as text, as Jackson does.
        let number = |t: String| serde_json::from_str(&t).unwrap_or(J::String(t));
        let stamp = |s: i64, n: u32| {
            let t = time::timestamp_text(s, n, 9);
            let t = t.trim_end_matches('0').trim_end_matches('.').to_string();
            if self.iso { t.replacen(' ', "T", 1) } else { t }
        };
        Ok(match (v, &ty.kind) {
            (Value::Null, _) => J::Null,
            (Value::Bool(b), _) => J::Bool(*b),
            (Value::Int(i), _) => J::from(*i),
            (Value::Float(f), _) => number(weir_expr::text::float_text(*f)),
            (Value::Double(f), _) => number(weir_expr::text::double_text(*f)),
            (Value::Decimal(d, s), _) => {
                let text = weir_core::value::decimal_text(*d, *s);
                number(if self.plain_decimals { text } else { weir_expr::text::big_decimal_text(*d, *s) })
            }
            (Value::Bytes(b), _) => J::String(base64::engine::general_purpose::STANDARD.encode(b)),
            (Value::Timestamp(s, n), TypeKind::TimestampLtz(_)) => J::String(stamp(*s, *n) + "Z"),
            (Value::Timestamp(s, n), _) => J::String(stamp(*s, *n)),
            (Value::List(items), TypeKind::Array(e)) => {
                J::Array(items.iter().map(|v| self.json(v, e)).collect::<Result<_>>()?)
            }
            (Value::Map(items), TypeKind::Map(k, e)) => self.map(items, k, e)?,
            (Value::Map(items), TypeKind::Multiset(k)) => self.map(items, k, &SqlType::INT)?,
            (Value::Row(items), TypeKind::Row(fields)) => self.object(items.iter().zip(fields))?,
            _ => J::String(weir_expr::text::cast_text(v, ty, &self.session.zone)),
        })
    }

    fn map(&self, items: &[(Value<'_>, Value<'_>)], key: &SqlType, value: &SqlType) -> Result<J> {
        let mut members = serde_json::Map::new();
        for (k, v) in items {
            let name = match (k, &self.null_key) {
                (Value::Null, NullKey::Fail(hint)) => {
                    return Err(Error::data("a map has a NULL key, which JSON has no name for").hint(hint.clone()));
                }
                (Value::Null, NullKey::Drop) => continue,
                (Value::Null, NullKey::Literal(name)) => name.clone(),
                (k, _) => weir_expr::text::cast_text(k, key, &self.session.zone),
            };
            members.insert(name, self.json(v, value)?);
        }
        Ok(J::Object(members))
    }

    fn object<'a>(&self, items: impl Iterator<Item = (&'a Value<'a>, &'a Field)>) -> Result<J> {
        let kept = items.filter(|(v, _)| !(self.ignore_nulls && v.is_null()));
        let members = kept.map(|(v, f)| Ok((f.name.clone(), self.json(v, &f.ty)?))).collect::<Result<_>>()?;
        Ok(J::Object(members))
    }
}

impl Encoder for JsonWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let values: Vec<Value<'_>> = columns.iter().map(|c| Value::read(batch.data.column(*c), row)).collect();
        let object = self.object(values.iter().zip(&self.fields))?;
        serde_json::to_writer(&mut *out, &object).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
        Ok(())
    }
}
