//! Rows as JSON objects, for JSON and the change formats that contain such objects.

use super::Encoder;
use crate::options::TableSpec;
use base64::Engine as _;
use serde_json::Value as J;
use std::sync::Arc;
use weir_core::option_spec::{Opt, Role};
use weir_core::{Batch, Error, Field, Result, SqlType, TypeKind, Value, choice, options};
use weir_expr::{Session, time};

/// How a map entry with a NULL key is written, which JSON cannot express.
#[derive(Clone)]
enum NullKey {
    /// The row fails, with this hint.
    Fail(String),
    Drop,
    Literal(String),
}

choice! {
    /// The form of timestamps.
    enum Times { Sql = "SQL", Iso = "ISO-8601" }
}

choice! {
    enum NullKeyMode { Fail = "FAIL", Drop = "DROP", Literal = "LITERAL" }
}

options! {
    /// The options that all JSON formats have.
    pub(super) SHARED:
    TIMES: Times = Opt::one_of("timestamp-format.standard", "the form of timestamps: `SQL` has a space before the time, `ISO-8601` a `T`")
        .default("SQL");
    PLAIN_DECIMALS: bool =
        Opt::boolean("encode.decimal-as-plain-number", "whether to write decimals as `0.00000001` rather than `1E-8`")
            .default("false").of(&[Role::Sink]);
    IGNORE_NULLS: bool =
        Opt::boolean("encode.ignore-null-fields", "whether to leave out fields that are NULL").default("false").of(&[Role::Sink]);
    NULL_KEY: NullKeyMode = Opt::one_of(
        "map-null-key.mode",
        "how to write a map entry with a NULL key: `FAIL` fails the row, `DROP` leaves the entry out, `LITERAL` writes a text as the key",
    )
    .default("FAIL").of(&[Role::Sink]);
    NULL_KEY_NAME: String =
        Opt::text("map-null-key.literal", "the text to write for a NULL key with `LITERAL`").default("null").of(&[Role::Sink]);
}

/// Whether timestamps have the form of ISO 8601.
pub(super) fn iso(table: &TableSpec) -> Result<bool> {
    Ok(table.value(&TIMES)? == Times::Iso)
}

impl NullKey {
    /// Reads a table's options.
    fn of(table: &TableSpec) -> Result<Self> {
        let key = table.key_of(&NULL_KEY);
        Ok(match table.value(&NULL_KEY)? {
            NullKeyMode::Fail => NullKey::Fail(format!(
                "set '{key}' = 'DROP' to leave such entries out, or 'LITERAL' to give them a name"
            )),
            NullKeyMode::Drop => NullKey::Drop,
            NullKeyMode::Literal => NullKey::Literal(table.value(&NULL_KEY_NAME)?),
        })
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
    /// An encoder with a table's options.
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(JsonWriter {
            fields: table.schema.fields.clone(),
            iso: iso(table)?,
            ignore_nulls: table.value(&IGNORE_NULLS)?,
            plain_decimals: table.value(&PLAIN_DECIMALS)?,
            null_key: NullKey::of(table)?,
            session: table.session.clone(),
        })
    }

    /// An encoder for systems that accept any JSON. It writes decimals as numbers without exponents.
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
        // Values that are not numbers are written as text, as Jackson does.
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
