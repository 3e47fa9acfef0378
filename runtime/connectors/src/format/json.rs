//! JSON, a value a line, with Flink's options.

use super::csv::short_integer;
use super::{Decoder, Encoder, Failure, Rows, json_fields};
use crate::options::TableSpec;
use base64::Engine;
use serde_json::Value as J;
use serde_json::value::RawValue;
use std::sync::Arc;
use weir_core::{Batch, ColumnBuilder, Error, Field, Result, SqlType, TypeKind, Value};
use weir_expr::{Session, cast, time};

#[derive(Clone)]
pub(crate) struct Json {
    fields: Vec<Field>,
    ignore_errors: bool,
    fail_on_missing: bool,
    iso: bool,
}

fn iso(table: &TableSpec, prefix: &str) -> Result<bool> {
    let key = format!("{prefix}.timestamp-format.standard");
    match table.get(&key).unwrap_or("SQL") {
        "SQL" => Ok(false),
        "ISO-8601" => Ok(true),
        other => Err(Error::script(format!("{key} is SQL or ISO-8601, not '{other}'")).at(table.place_of(&key))),
    }
}

impl Json {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Self::with_prefix(table, "json")
    }

    /// A reader whose options begin with another format's name.
    pub fn with_prefix(table: &TableSpec, prefix: &str) -> Result<Self> {
        let json = Json {
            fields: table.projected().fields,
            ignore_errors: table.boolean(&format!("{prefix}.ignore-parse-errors"), false)?,
            fail_on_missing: table.boolean(&format!("{prefix}.fail-on-missing-field"), false)?,
            iso: iso(table, prefix)?,
        };
        if json.ignore_errors && json.fail_on_missing {
            return Err(Error::script("json.fail-on-missing-field and json.ignore-parse-errors exclude each other")
                .at(table.place));
        }
        // Options of the writer, which a table that is read may have as well.
        for k in [
            "map-null-key.mode",
            "map-null-key.literal",
            "encode.decimal-as-plain-number",
            "encode.ignore-null-fields",
            "decode.json-parser.enabled",
        ] {
            table.get(&format!("{prefix}.{k}"));
        }
        Ok(json)
    }

    fn value(&self, j: &J, ty: &SqlType) -> std::result::Result<Value<'static>, String> {
        let shown = || j.to_string().chars().take(40).collect::<String>();
        let wrong = || format!("{} is no {}", shown(), ty.kind);
        let text = || match j {
            J::String(s) => s.trim().to_string(),
            other => other.to_string(),
        };
        let whole = |low: i64, high: i64, small: bool| {
            let t = text();
            let v = match (j, t.parse::<i64>()) {
                (_, Ok(v)) => Some(v),
                // A number with a fraction is cut, as Jackson does for the wide types.
                (J::Number(_), Err(_)) if !small => t.parse::<f64>().ok().map(|d| d as i64),
                _ => None,
            };
            v.filter(|v| (low..=high).contains(v)).map(Value::Int).ok_or_else(wrong)
        };
        Ok(match (&ty.kind, j) {
            (_, J::Null) => Value::Null,
            (TypeKind::Char(_) | TypeKind::Varchar(_), J::String(s)) => Value::string(s.clone()),
            (TypeKind::Char(_) | TypeKind::Varchar(_), other) => Value::string(other.to_string()),
            (TypeKind::Boolean, J::Bool(b)) => Value::Bool(*b),
            (TypeKind::Boolean, _) => Value::Bool(text().eq_ignore_ascii_case("true")),
            (TypeKind::TinyInt, _) => whole(i64::from(i8::MIN), i64::from(i8::MAX), true)?,
            (TypeKind::SmallInt, _) => whole(i64::from(i16::MIN), i64::from(i16::MAX), true)?,
            (TypeKind::Int, _) => whole(i64::from(i32::MIN), i64::from(i32::MAX), false)?,
            (TypeKind::BigInt, _) => whole(i64::MIN, i64::MAX, false)?,
            (TypeKind::Float, _) => Value::Float(cast::parse_float(&text()).ok_or_else(wrong)?),
            (TypeKind::Double, _) => Value::Double(cast::parse_double(&text()).ok_or_else(wrong)?),
            (TypeKind::Decimal(p, s), _) => {
                let (v, from) = cast::parse_decimal(&text(), *s).ok_or_else(wrong)?;
                let fitted = weir_expr::arith::fits(weir_expr::arith::rescale(v, from, *s), *p);
                fitted.map_or(Value::Null, |v| Value::Decimal(v, *s))
            }
            (TypeKind::Date, _) => Value::Date(time::parse_date(&text()).ok_or_else(wrong)?),
            (TypeKind::Time(_), _) => {
                let t = text();
                Value::Time(time::parse_time(t.strip_suffix('Z').unwrap_or(&t)).ok_or_else(wrong)?)
            }
            (TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p), _) => {
                let t = text();
                let ltz = matches!(ty.kind, TypeKind::TimestampLtz(_));
                let body = match (ltz, t.strip_suffix('Z')) {
                    (true, Some(b)) => b,
                    (true, None) => return Err(wrong()),
                    (false, _) => t.as_str(),
                };
                let body = if self.iso { body.replacen('T', " ", 1) } else { body.to_string() };
                let (s, n) = time::parse_timestamp(&body).ok_or_else(wrong)?;
                let unit = 10u32.pow(9 - u32::from(*p).min(9));
                Value::Timestamp(s, n / unit * unit)
            }
            (TypeKind::Binary(_) | TypeKind::Varbinary(_), J::String(s)) => {
                Value::Bytes(base64::engine::general_purpose::STANDARD.decode(s).map_err(|_| wrong())?.into())
            }
            (TypeKind::Array(e), J::Array(items)) => {
                Value::List(items.iter().map(|v| self.value(v, e)).collect::<std::result::Result<_, _>>()?)
            }
            (TypeKind::Map(k, v), J::Object(map)) => Value::Map(
                map.iter()
                    .map(|(key, value)| Ok((self.value(&J::String(key.clone()), k)?, self.value(value, v)?)))
                    .collect::<std::result::Result<_, String>>()?,
            ),
            (TypeKind::Multiset(e), J::Object(map)) => Value::Map(
                map.iter()
                    .map(|(key, n)| Ok((self.value(&J::String(key.clone()), e)?, Value::Int(n.as_i64().unwrap_or(1)))))
                    .collect::<std::result::Result<_, String>>()?,
            ),
            (TypeKind::Row(fields), J::Object(map)) => {
                Value::Row(fields.iter().map(|f| self.field(map, f)).collect::<std::result::Result<_, _>>()?)
            }
            _ => return Err(wrong()),
        })
    }

    fn field(&self, map: &serde_json::Map<String, J>, f: &Field) -> std::result::Result<Value<'static>, String> {
        match map.get(&f.name) {
            Some(j) => match self.value(j, &f.ty) {
                Ok(v) => Ok(v),
                Err(_) if self.ignore_errors => Ok(Value::Null),
                Err(why) => Err(format!("field '{}': {why}", f.name)),
            },
            None if self.fail_on_missing => Err(format!("the field '{}' is missing", f.name)),
            None => Ok(Value::Null),
        }
    }

    fn rows(&self, line: &[u8]) -> std::result::Result<Vec<Vec<Value<'static>>>, String> {
        // What follows the first value of a line is left unread, as Jackson does.
        let mut values = serde_json::Deserializer::from_slice(line).into_iter::<J>();
        let first = match values.next() {
            None => return Ok(vec![]),
            Some(v) => v.map_err(|e| no_json(&e))?,
        };
        let row = |j: &J| match j {
            J::Object(map) => {
                self.fields.iter().map(|f| self.field(map, f)).collect::<std::result::Result<Vec<_>, _>>()
            }
            J::Null => Err("null is no row".to_string()),
            _ => Err("a record is a JSON object".to_string()),
        };
        match &first {
            J::Array(items) => items.iter().map(row).collect(),
            other => Ok(vec![row(other)?]),
        }
    }
}

/// What is wrong with a text that is not JSON.
pub(super) fn no_json(e: &serde_json::Error) -> String {
    format!("this is not JSON (at column {}): {}", e.column(), reason(e))
}

impl Json {
    /// Puts an object's text into the columns, with the fields of another one in the place of those that it has as well.
    pub(super) fn object_over(
        &self,
        text: &[u8],
        over: Option<&[u8]>,
        rows: &mut Rows,
    ) -> std::result::Result<(), String> {
        let (mut found, mut first) = (vec![], vec![]);
        json_fields::find(text, &self.fields, &mut found).map_err(|e| no_json(&e))?;
        if let Some(over) = over {
            json_fields::find(over, &self.fields, &mut first).map_err(|e| no_json(&e))?;
            found.iter_mut().zip(first).for_each(|(f, o)| *f = o.or(*f));
        }
        self.object(&found, rows)
    }

    /// Puts the fields of an object into the columns.
    fn object(&self, found: &[Option<&RawValue>], rows: &mut Rows) -> std::result::Result<(), String> {
        let mut wrong = None;
        for ((raw, field), column) in found.iter().zip(&self.fields).zip(&mut rows.columns) {
            let put = match raw {
                Some(raw) => self.put(raw.get(), &field.ty, column),
                None if self.fail_on_missing => Err(format!("the field '{}' is missing", field.name)),
                None => {
                    column.push_null();
                    Ok(())
                }
            };
            if let Err(why) = put {
                column.push_null();
                if self.ignore_errors {
                    rows.nulled += 1;
                } else if wrong.is_none() {
                    wrong = Some(format!("field '{}': {why}", field.name));
                }
            }
        }
        rows.height += 1;
        wrong.map_or(Ok(()), Err)
    }

    /// Puts a value's text into its column: the usual ones straight, the others by way of a value.
    fn put(&self, text: &str, ty: &SqlType, column: &mut ColumnBuilder) -> std::result::Result<(), String> {
        let string = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).filter(|t| !t.contains('\\'));
        match (&mut *column, string) {
            (ColumnBuilder::Utf8(b), Some(s)) if ty.is_text() => {
                b.append_value(s);
                return Ok(());
            }
            (ColumnBuilder::Int64(b), None) => {
                if let Some(v) = short_integer(text.as_bytes()) {
                    b.append_value(v);
                    return Ok(());
                }
            }
            (ColumnBuilder::Int32(b), None) => {
                if let Some(v) = short_integer(text.as_bytes()).and_then(|v| i32::try_from(v).ok()) {
                    b.append_value(v);
                    return Ok(());
                }
            }
            (ColumnBuilder::Float64(b), None) if text.as_bytes()[0] != b'n' => {
                if let Some(v) = cast::parse_double(text) {
                    b.append_value(v);
                    return Ok(());
                }
            }
            _ => {}
        }
        if text == "null" {
            column.push_null();
            return Ok(());
        }
        let json: J = serde_json::from_str(text).map_err(|e| reason(&e))?;
        column.push(&self.value(&json, ty)?);
        Ok(())
    }
}

fn reason(e: &serde_json::Error) -> String {
    let t = e.to_string();
    t.split(" at line").next().unwrap_or(&t).to_string()
}

impl Decoder for Json {
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
        if record.trim_ascii_start().first() == Some(&b'{') {
            let mut found = Vec::with_capacity(self.fields.len());
            return match json_fields::find(record, &self.fields, &mut found) {
                Ok(()) => Ok(self.object(&found, rows)?),
                Err(_) if self.ignore_errors => {
                    rows.skipped += 1;
                    Ok(())
                }
                Err(e) => Err(no_json(&e).into()),
            };
        }
        match self.rows(record) {
            Ok(found) => found.iter().for_each(|r| rows.push(r)),
            Err(_) if self.ignore_errors => rows.skipped += 1,
            Err(message) => return Err(message.into()),
        }
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct JsonWriter {
    fields: Vec<Field>,
    iso: bool,
    ignore_nulls: bool,
    plain_decimals: bool,
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
            session: table.session.clone(),
        }
    }

    fn json(&self, v: &Value<'_>, ty: &SqlType) -> J {
        let number = |t: String| serde_json::from_str(&t).unwrap_or(J::Null);
        let stamp = |s: i64, n: u32| {
            let t = time::timestamp_text(s, n, 9);
            let t = t.trim_end_matches('0').trim_end_matches('.').to_string();
            if self.iso { t.replacen(' ', "T", 1) } else { t }
        };
        match (v, &ty.kind) {
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
            (Value::List(items), TypeKind::Array(e)) => J::Array(items.iter().map(|v| self.json(v, e)).collect()),
            (Value::Map(items), TypeKind::Map(k, e)) => {
                let key = |v: &Value<'_>| weir_expr::text::cast_text(v, k, &self.session.zone);
                J::Object(items.iter().map(|(a, b)| (key(a), self.json(b, e))).collect())
            }
            (Value::Map(items), TypeKind::Multiset(k)) => {
                let key = |v: &Value<'_>| weir_expr::text::cast_text(v, k, &self.session.zone);
                J::Object(items.iter().map(|(a, b)| (key(a), J::from(b.as_i64().unwrap_or(0)))).collect())
            }
            (Value::Row(items), TypeKind::Row(fields)) => self.object(items.iter().zip(fields)),
            _ => J::String(weir_expr::text::cast_text(v, ty, &self.session.zone)),
        }
    }

    fn object<'a>(&self, items: impl Iterator<Item = (&'a Value<'a>, &'a Field)>) -> J {
        let kept = items.filter(|(v, _)| !(self.ignore_nulls && v.is_null()));
        J::Object(kept.map(|(v, f)| (f.name.clone(), self.json(v, &f.ty))).collect())
    }
}

impl Encoder for JsonWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let values: Vec<Value<'_>> = columns.iter().map(|c| Value::read(batch.data.column(*c), row)).collect();
        let object = self.object(values.iter().zip(&self.fields));
        serde_json::to_writer(&mut *out, &object).map_err(|e| Error::internal(e.to_string()))?;
        Ok(())
    }
}
