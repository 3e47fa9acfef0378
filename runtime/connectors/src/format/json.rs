//! JSON, with Flink's options. Each record is an object, or an array of objects.

use super::json_text::{JsonToken, Scanner, said, what};
use super::json_tree::{Fractions, compact, number};
use super::json_writer::{JsonWriter, SHARED, iso};
use super::scalars::{decimal, from_base64, short_integer, timestamp};
use super::{DecodeError, Decoder, Format, IGNORE_ERRORS, RowBuilder, decoders, encoders, json_fields, times, utf8};
use crate::options::TableSpec;
use weir_core::descriptor::Descriptor;
use weir_core::option_spec::{Opt, Role};
use weir_core::{ColumnBuilder, Error, Field, Result, SqlType, TypeKind, Value, options};
use weir_expr::cast;
use weir_expr::text::trimmed;

/// Reads JSON.
#[derive(Clone)]
pub(crate) struct JsonDecoder {
    fields: Vec<Field>,
    /// The index of each field among the columns that are read.
    columns: Vec<usize>,
    ignore_errors: bool,
    fail_on_missing: bool,
    iso: bool,
    /// How numbers in STRING columns are written: as in the record, or in this form.
    numbers: Option<Fractions>,
    /// How numbers inside arrays and objects in STRING columns are written.
    fractions: Fractions,
}

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "json",
        help: "one JSON object per record",
        options: &[OPTIONS, SHARED, super::IGNORING],
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'rows.json', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(JsonDecoder::new(t)?)),
    encoder: |t| Ok(encoders(JsonWriter::new(t)?)),
    dialect: None,
    extension: "json",
};

options! {
    OPTIONS:
    FAIL_ON_MISSING: bool = Opt::boolean(
        "fail-on-missing-field",
        "whether a record without one of the fields fails; otherwise the field is NULL. Excludes `ignore-parse-errors`",
    )
    .default("false").how().of(&[Role::Source]);
    STREAMS: bool = Opt::boolean(
        "decode.json-parser.enabled",
        "whether numbers in STRING columns stay as they are in the record; `false` normalizes fractions and exponents",
    )
    .default("true").of(&[Role::Source]);
}

fn has_decimals(ty: &SqlType) -> bool {
    match &ty.kind {
        TypeKind::Decimal(..) => true,
        TypeKind::Array(e) | TypeKind::Multiset(e) => has_decimals(e),
        TypeKind::Map(k, v) => has_decimals(k) || has_decimals(v),
        TypeKind::Row(fields) => fields.iter().any(|f| has_decimals(&f.ty)),
        _ => false,
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

impl JsonDecoder {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let json = Self::shared(table)?;
        let missing = table.value(&FAIL_ON_MISSING)?;
        if json.ignore_errors && missing {
            let e = Error::script("json.fail-on-missing-field and json.ignore-parse-errors exclude each other");
            return Err(e.at(table.place_of(&FAIL_ON_MISSING)));
        }
        let streams = table.value(&STREAMS)?;
        Ok(JsonDecoder { fail_on_missing: missing, numbers: (!streams).then_some(json.fractions), ..json })
    }

    /// A decoder with the options that all JSON formats have.
    pub fn shared(table: &TableSpec) -> Result<Self> {
        let read = table.columns.iter().enumerate().filter(|(_, c)| table.metadata[**c].is_none());
        let (columns, fields): (Vec<usize>, Vec<Field>) =
            read.map(|(i, c)| (i, table.schema.fields[*c].clone())).unzip();
        let decimals = table.schema.fields.iter().any(|f| has_decimals(&f.ty));
        Ok(JsonDecoder {
            fields,
            columns,
            ignore_errors: table.value(&IGNORE_ERRORS)?,
            fail_on_missing: false,
            iso: iso(table)?,
            numbers: None,
            fractions: if decimals { Fractions::Decimals } else { Fractions::Doubles },
        })
    }

    /// The same decoder, but numbers in STRING columns are written as Jackson's trees do. Flink's change formats work that way.
    pub fn of_trees(self) -> Self {
        JsonDecoder { numbers: Some(self.fractions), ..self }
    }

    fn text(&self, text: &str) -> std::result::Result<Value<'static>, String> {
        Ok(match what(text) {
            JsonToken::Null => Value::Null,
            JsonToken::String(s) => Value::string(s.into_owned()),
            JsonToken::Number(n) => match self.numbers {
                None => Value::string(n.to_string()),
                Some(form) => {
                    let mut out = String::new();
                    number(n, form, &mut out);
                    Value::string(out.trim_matches('"').to_string())
                }
            },
            JsonToken::Bool(b) => Value::string(b.to_string()),
            JsonToken::Array | JsonToken::Object => {
                let mut out = String::with_capacity(text.len());
                compact(text, self.fractions, &mut out).map_err(|e| e.to_string())?;
                Value::string(out)
            }
        })
    }

    /// Converts the text of a JSON value to a value of a type. With `ignore-parse-errors`, elements of arrays and fields of rows that
    /// cannot be parsed become NULL, and are counted in `lost`.
    pub(super) fn value(
        &self,
        text: &str,
        ty: &SqlType,
        lost: &mut u64,
    ) -> std::result::Result<Value<'static>, String> {
        let json = match (&ty.kind, what(text)) {
            (_, JsonToken::Null) => return Ok(Value::Null),
            (TypeKind::Char(_) | TypeKind::Varchar(_), _) => return self.text(text),
            (_, json) => json,
        };
        let wrong = || format!("{} is no {}", shown(text), ty.kind);
        let said = match &json {
            JsonToken::String(s) => s.as_ref(),
            _ => text,
        };
        let parsed = |low: i64, high: i64| {
            let v = trimmed(said).parse::<i64>().ok().filter(|v| (low..=high).contains(v));
            v.map(Value::Int).ok_or_else(wrong)
        };
        let whole = |low: i64, high: i64| match &json {
            // A number with a fraction is truncated, as Jackson does for the wide types.
            JsonToken::Number(n) if n.contains(['.', 'e', 'E']) => {
                let d = n.parse::<f64>().map_err(|_| wrong())?;
                let fits = d >= low as f64 && d <= high as f64;
                fits.then_some(Value::Int(d as i64)).ok_or_else(wrong)
            }
            _ => parsed(low, high),
        };
        // Part of a nested value that is invalid by itself.
        let mut part = |text: &str, ty: &SqlType| match self.value(text, ty, lost) {
            Err(_) if self.ignore_errors => {
                *lost += 1;
                Ok(Value::Null)
            }
            read => read,
        };
        Ok(match (&ty.kind, &json) {
            (TypeKind::Boolean, JsonToken::Bool(b)) => Value::Bool(*b),
            (TypeKind::Boolean, _) => Value::Bool(trimmed(said).eq_ignore_ascii_case("true")),
            (TypeKind::TinyInt, _) => parsed(i64::from(i8::MIN), i64::from(i8::MAX))?,
            (TypeKind::SmallInt, _) => parsed(i64::from(i16::MIN), i64::from(i16::MAX))?,
            (TypeKind::Int, _) => whole(i64::from(i32::MIN), i64::from(i32::MAX))?,
            (TypeKind::BigInt, _) => whole(i64::MIN, i64::MAX)?,
            (TypeKind::Float, _) => Value::Float(cast::parse_float(trimmed(said)).ok_or_else(wrong)?),
            (TypeKind::Double, _) => Value::Double(cast::parse_double(trimmed(said)).ok_or_else(wrong)?),
            (TypeKind::Decimal(p, s), _) => decimal(trimmed(said), *p, *s).ok_or_else(wrong)?,
            (TypeKind::Date, _) => Value::Date(times::date(said, false).ok_or_else(wrong)?),
            (TypeKind::Time(_), _) => Value::Time(times::millis(said).ok_or_else(wrong)?),
            (TypeKind::Timestamp(p), _) => timestamp(said, self.iso, *p).ok_or_else(wrong)?,
            (TypeKind::TimestampLtz(p), _) => {
                said.strip_suffix('Z').and_then(|t| timestamp(t, self.iso, *p)).ok_or_else(wrong)?
            }
            (TypeKind::Binary(_) | TypeKind::Varbinary(_), JsonToken::String(s)) => {
                Value::Bytes(from_base64(s).ok_or_else(wrong)?.into())
            }
            (TypeKind::Array(e), JsonToken::Array) => Value::List(all_items(text, |v| part(v, e))?),
            (TypeKind::Map(k, v), JsonToken::Object) => {
                Value::Map(all_members(text, |key, value| Ok((part(key, k)?, part(value, v)?)))?)
            }
            (TypeKind::Multiset(e), JsonToken::Object) => {
                let count = SqlType::from(TypeKind::Int);
                Value::Map(all_members(text, |key, n| Ok((part(key, e)?, part(n, &count)?)))?)
            }
            (TypeKind::Row(fields), JsonToken::Object) => {
                let mut found = Vec::with_capacity(fields.len());
                json_fields::find(text, fields, &mut found).map_err(|e| e.to_string())?;
                let field = |(text, f): (&Option<&str>, &Field)| match text {
                    Some(text) => part(text, &f.ty).map_err(|why| format!("field '{}': {why}", f.name)),
                    None if self.fail_on_missing => Err(format!("the field '{}' is missing", f.name)),
                    None => Ok(Value::Null),
                };
                Value::Row(found.iter().zip(fields).map(field).collect::<std::result::Result<_, _>>()?)
            }
            _ => return Err(wrong()),
        })
    }
}

/// Calls `item` with the items of an array, and collects the results.
fn all_items<'a, T>(
    text: &'a str,
    mut item: impl FnMut(&'a str) -> std::result::Result<T, String>,
) -> std::result::Result<Vec<T>, String> {
    let (mut all, mut wrong) = (vec![], None);
    let read = Scanner::new(text).items(|v| match item(v) {
        Ok(v) => all.push(v),
        Err(why) => drop(wrong.get_or_insert(why)),
    });
    read.map_err(|e| e.to_string())?;
    wrong.map_or(Ok(all), Err)
}

/// Calls `member` with the members of an object, whose keys keep their quotes. Of members with the same key, the last one counts.
fn all_members(
    text: &str,
    mut member: impl FnMut(&str, &str) -> std::result::Result<(Value<'static>, Value<'static>), String>,
) -> std::result::Result<Vec<(Value<'static>, Value<'static>)>, String> {
    let mut all: Vec<(&str, &str)> = vec![];
    let mut places = std::collections::HashMap::new();
    let read = Scanner::new(text).members(|key, value| {
        let at = *places.entry(said(key)).or_insert(all.len());
        match all.get_mut(at) {
            Some(there) => there.1 = value,
            None => all.push((key, value)),
        }
    });
    read.map_err(|e| e.to_string())?;
    all.into_iter().map(|(key, value)| member(&format!("\"{key}\""), value)).collect()
}

impl JsonDecoder {
    /// Appends an object's fields to the columns. Fields of `over` replace the object's own.
    pub(super) fn object_over(
        &self,
        text: &str,
        over: Option<&str>,
        rows: &mut RowBuilder,
    ) -> std::result::Result<(), String> {
        let (mut found, mut first) = (vec![], vec![]);
        json_fields::find(text, &self.fields, &mut found).map_err(|e| e.to_string())?;
        if let Some(over) = over {
            json_fields::find(over, &self.fields, &mut first).map_err(|e| e.to_string())?;
            found.iter_mut().zip(first).for_each(|(f, o)| *f = o.or(*f));
        }
        self.object(&found, rows)
    }

    /// Appends the fields of an object to the columns.
    fn object(&self, found: &[Option<&str>], rows: &mut RowBuilder) -> std::result::Result<(), String> {
        let mut wrong = None;
        for ((text, field), column) in found.iter().zip(&self.fields).zip(&self.columns) {
            let column = &mut rows.columns[*column];
            let put = match text {
                Some(text) => self.put(text, &field.ty, column, &mut rows.nulled),
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

    /// Appends a value's text to its column. Common types are appended directly, others are converted to a value first.
    fn put(
        &self,
        text: &str,
        ty: &SqlType,
        column: &mut ColumnBuilder,
        lost: &mut u64,
    ) -> std::result::Result<(), String> {
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
        column.push(&self.value(text, ty, lost)?);
        Ok(())
    }

    /// Decodes a record, which is an object or an array of objects. As with Jackson, anything after it is ignored.
    fn read(&self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), String> {
        let text = utf8(record)?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let mut found = Vec::with_capacity(self.fields.len());
        let no_row = || "a record is a JSON object, or an array of them".to_string();
        match Scanner::new(text).peek() {
            None => Ok(()),
            Some(b'{') => {
                json_fields::find(text, &self.fields, &mut found).map_err(|e| e.to_string())?;
                self.object(&found, rows)
            }
            Some(b'[') => all_items(text, |item| match what(item) {
                JsonToken::Object => {
                    json_fields::find(item, &self.fields, &mut found).map_err(|e| e.to_string())?;
                    self.object(&found, rows)
                }
                _ => Err(no_row()),
            })
            .map(drop),
            Some(_) => {
                Scanner::new(text).value().map_err(|e| e.to_string())?;
                Err(no_row())
            }
        }
    }
}

impl Decoder for JsonDecoder {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        let height = rows.height;
        let read = self.read(record, rows).map_err(DecodeError::from);
        rows.ignoring(height, read, self.ignore_errors)
    }
}
