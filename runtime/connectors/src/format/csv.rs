//! CSV with Flink's options. It has a scanner of its own, because no CSV crate skips the fields that are not read. The scanner puts the
//! others from the file's bytes straight into columns.

use super::csv_scan::{CsvDialect, Front, ScannedField, ScannedRecord, Tangled};
use super::scalars::{self, big_decimal, decimal, from_base64, short_integer};
use super::{
    BadRecord, DecodeError, Decoder, Encoder, Format, IGNORE_ERRORS, RowBuilder, TOO_LONG, decoders, encoders, times,
    utf8,
};
use crate::options::TableSpec;
use base64::Engine;
use std::sync::Arc;
use weir_core::descriptor::Descriptor;
use weir_core::option_spec::{Opt, Role};
use weir_core::{Batch, ColumnBuilder, Error, Field, Result, SqlType, TypeKind, Value, options};
use weir_expr::time;
use weir_expr::{Session, cast};

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "csv",
        help: "fields separated by a character; BYTES are in base64",
        options: &[OPTIONS, super::IGNORING],
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'filesystem', 'path' = 'rows.csv', 'format' = 'csv', 'csv.field-delimiter' = ';'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(Csv::new(t)?)),
    encoder: |t| Ok(encoders(CsvWriter::new(t)?)),
    dialect: Some(|t| Ok(Csv::new(t)?.dialect)),
    extension: "csv",
};

options! {
    OPTIONS:
    DELIMITER: u8 = Opt::character("field-delimiter", "the character that separates fields").default(",");
    QUOTE: u8 = Opt::character("quote-character", "the character that encloses fields with special characters").default("\"");
    UNQUOTED: bool = Opt::boolean("disable-quote-character", "whether no field is quoted; excludes `quote-character`").default("false");
    ESCAPE: u8 = Opt::character("escape-character", "the character that makes the next one literal; by default there is none");
    COMMENTS: bool = Opt::boolean("allow-comments", "whether to skip lines that begin with `#`").default("false").of(&[Role::Source]);
    NULL: String = Opt::text("null-literal", "the text that stands for NULL");
    ELEMENTS: String =
        Opt::text("array-element-delimiter", "the text between the elements of arrays and the fields of rows").default(";");
    SCIENTIFIC: bool = Opt::boolean(
        "write-bigdecimal-in-scientific-notation",
        "whether decimals that end in zeros are written in scientific notation",
    )
    .default("true").of(&[Role::Sink]);
}

/// Reads CSV.
#[derive(Clone)]
pub(crate) struct Csv {
    pub dialect: CsvDialect,
    ignore_errors: bool,
    null_literal: Option<String>,
    elements: String,
    /// All physical columns: the type, and the index among the columns that are read.
    fields: Vec<(SqlType, Option<usize>)>,
    names: Vec<String>,
    /// The fields of the current record. The vector is kept to reuse its memory.
    found: Vec<ScannedField>,
}

impl Csv {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let fields: Vec<(SqlType, Option<usize>)> = table
            .schema
            .fields
            .iter()
            .enumerate()
            .filter(|(i, _)| !table.partitioned_by.contains(i))
            .map(|(i, f)| (f.ty.clone(), table.columns.iter().position(|c| *c == i)))
            .collect();
        for f in &table.schema.fields {
            if matches!(f.ty.kind, TypeKind::Map(..) | TypeKind::Multiset(_)) {
                let e = Error::script(format!("the format csv has no {} (column '{}')", f.ty.kind, f.name));
                return Err(e.at(table.place));
            }
        }
        let quotes = !table.value(&UNQUOTED)?;
        if !quotes && table.has(&QUOTE) {
            let e = Error::script("'csv.quote-character' and 'csv.disable-quote-character' exclude each other");
            return Err(e.at(table.place_of(&UNQUOTED)));
        }
        let dialect = CsvDialect {
            delimiter: table.value(&DELIMITER)?,
            quote: if quotes { Some(table.value(&QUOTE)?) } else { None },
            escape: table.get(&ESCAPE)?,
            comments: table.value(&COMMENTS)?,
        };
        Ok(Csv {
            dialect,
            ignore_errors: table.value(&IGNORE_ERRORS)?,
            null_literal: table.get(&NULL)?,
            elements: table.value(&ELEMENTS)?,
            fields,
            names: table.schema.fields.iter().map(|f| f.name.clone()).collect(),
            found: vec![],
        })
    }

    /// Appends a field's text to its column.
    fn put(
        &self,
        text: &[u8],
        ty: &SqlType,
        column: &mut ColumnBuilder,
        lost: &mut u64,
    ) -> std::result::Result<(), String> {
        if let Some(n) = &self.null_literal
            && text == n.as_bytes()
        {
            column.push_null();
            return Ok(());
        }
        match column {
            ColumnBuilder::Utf8(b) => {
                b.append_value(utf8(text)?);
                return Ok(());
            }
            ColumnBuilder::Int64(b) => {
                if let Some(v) = short_integer(text) {
                    b.append_value(v);
                    return Ok(());
                }
            }
            ColumnBuilder::Int32(b) => {
                if let Some(v) = short_integer(text).and_then(|v| i32::try_from(v).ok()) {
                    b.append_value(v);
                    return Ok(());
                }
            }
            _ => {}
        }
        column.push(&self.value(utf8(text)?, ty, lost)?);
        Ok(())
    }
}

/// A date as Java's `Date.valueOf` reads it.
fn date(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let mut part = |digits: std::ops::RangeInclusive<usize>| -> Option<u32> {
        let p = parts.next().filter(|p| digits.contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))?;
        p.parse().ok()
    };
    let (year, month, day) = (part(4..=4)?, part(1..=2)?, part(1..=2)?);
    let days = time::days(year.cast_signed(), month, day)?;
    parts.next().is_none().then_some(days)
}

impl Csv {
    /// Converts a field's text to a value of a type, as Flink's CSV format does. With `ignore-parse-errors`, elements of arrays and fields
    /// of rows that cannot be parsed become NULL, and are counted in `lost`.
    fn value(&self, text: &str, ty: &SqlType, lost: &mut u64) -> std::result::Result<Value<'static>, String> {
        let wrong = || format!("'{}' is no {}", text.chars().take(40).collect::<String>(), ty.kind);
        let t = text.trim();
        let whole = |low: i64, high: i64| {
            t.parse::<i64>().ok().filter(|v| (low..=high).contains(v)).map(Value::Int).ok_or_else(wrong)
        };
        let stamp = |t: &str, digits: u8| scalars::timestamp(t, false, digits).ok_or_else(wrong);
        let mut part = |text: &str, ty: &SqlType| {
            if self.null_literal.as_deref() == Some(text) {
                return Ok(Value::Null);
            }
            match self.value(text, ty, lost) {
                Err(_) if self.ignore_errors => {
                    *lost += 1;
                    Ok(Value::Null)
                }
                read => read,
            }
        };
        Ok(match &ty.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) => Value::string(text.to_string()),
            TypeKind::Boolean => Value::Bool(t.eq_ignore_ascii_case("true")),
            TypeKind::TinyInt => whole(i64::from(i8::MIN), i64::from(i8::MAX))?,
            TypeKind::SmallInt => whole(i64::from(i16::MIN), i64::from(i16::MAX))?,
            TypeKind::Int => whole(i64::from(i32::MIN), i64::from(i32::MAX))?,
            TypeKind::BigInt => whole(i64::MIN, i64::MAX)?,
            TypeKind::Float => Value::Float(cast::parse_float(t).ok_or_else(wrong)?),
            TypeKind::Double => Value::Double(cast::parse_double(t).ok_or_else(wrong)?),
            TypeKind::Decimal(p, s) => decimal(text, *p, *s).ok_or_else(wrong)?,
            TypeKind::Date => Value::Date(date(text).ok_or_else(wrong)?),
            TypeKind::Time(_) => {
                let (s, n) = times::clock(text, true, false).ok_or_else(wrong)?;
                Value::Time((s * 1_000) as i32 + (n / 1_000_000) as i32)
            }
            TypeKind::Timestamp(p) => stamp(t, *p)?,
            TypeKind::TimestampLtz(p) => stamp(t.strip_suffix('Z').ok_or_else(wrong)?, *p)?,
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Value::Bytes(from_base64(text).ok_or_else(wrong)?.into()),
            TypeKind::Array(_) if t.is_empty() => Value::List(vec![]),
            TypeKind::Array(e) => {
                Value::List(text.split(&self.elements).map(|p| part(p, e)).collect::<std::result::Result<_, _>>()?)
            }
            TypeKind::Row(_) if t.is_empty() => Value::Null,
            TypeKind::Row(fields) => {
                let parts: Vec<&str> = text.split(&self.elements).collect();
                if parts.len() != fields.len() && !self.ignore_errors {
                    return Err(format!("a row of {} fields has {}", fields.len(), parts.len()));
                }
                let value = |(i, f): (usize, &Field)| parts.get(i).map_or(Ok(Value::Null), |p| part(p, &f.ty));
                Value::Row(fields.iter().enumerate().map(value).collect::<std::result::Result<_, _>>()?)
            }
            _ => return Err(wrong()),
        })
    }
}

impl Decoder for Csv {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        let from = match self.dialect.front(record, true) {
            Front::Record(n) => n,
            _ => return Ok(()),
        };
        let record = &record[from..];
        let mut found = std::mem::take(&mut self.found);
        let read = match self.dialect.scan(record, true, &mut found) {
            ScannedRecord::Open => Err("the record is not whole"),
            ScannedRecord::Endless => Err(TOO_LONG),
            ScannedRecord::Broken(_, why) => Err(why),
            ScannedRecord::Whole(_) => Ok(()),
        };
        let height = rows.height;
        let read = read.map_err(str::to_string).and_then(|()| self.row(record, &mut found, rows));
        self.found = found;
        rows.ignoring(height, read.map_err(DecodeError::from), self.ignore_errors)
    }

    fn decode(
        &mut self,
        data: &[u8],
        at_end: bool,
        most: usize,
        rows: &mut RowBuilder,
        bad: &mut Vec<BadRecord>,
    ) -> usize {
        let mut used = 0;
        let mut found = std::mem::take(&mut self.found);
        while rows.good() < most && used < data.len() {
            match self.dialect.front(&data[used..], at_end) {
                Front::Record(n) => used += n,
                Front::Nothing(n) => {
                    used += n;
                    continue;
                }
                Front::Open => break,
            }
            let rest = &data[used..];
            let mut wrong = |n: usize, why: &str, rows: &mut RowBuilder| {
                if self.ignore_errors {
                    rows.skipped += 1;
                } else {
                    bad.push(BadRecord { at: used, end: used + n, message: why.to_string() });
                }
            };
            let length = match self.dialect.scan(rest, at_end, &mut found) {
                ScannedRecord::Open => break,
                ScannedRecord::Broken(n, why) => {
                    wrong(n, why, rows);
                    used += n;
                    continue;
                }
                ScannedRecord::Endless => {
                    wrong(rest.len(), TOO_LONG, rows);
                    rows.endless = true;
                    used = data.len();
                    break;
                }
                ScannedRecord::Whole(n) => n,
            };
            let height = rows.height;
            let read = self.row(rest, &mut found, rows);
            rows.close(height, used, read.is_ok());
            if let Err(message) = read {
                bad.push(BadRecord { at: used, end: used + length, message });
            }
            used += length;
        }
        self.found = found;
        used
    }
}

impl Csv {
    /// Appends the fields of a record to the columns.
    fn row(
        &self,
        record: &[u8],
        found: &mut Vec<ScannedField>,
        rows: &mut RowBuilder,
    ) -> std::result::Result<(), String> {
        let want = self.fields.len();
        if found.len() == want + 1 && found[want].from == found[want].to {
            // A trailing delimiter is allowed.
            found.pop();
        }
        if found.len() == 1 && want > 1 && found[0].from == found[0].to && !self.ignore_errors {
            return Err("the line is empty".to_string());
        }
        if found.len() > want || found.len() < want && !self.ignore_errors {
            if self.ignore_errors {
                rows.skipped += 1;
                return Ok(());
            }
            return Err(format!("the record has {} fields, the table {want}", found.len()));
        }
        let mut failed = None;
        for (i, (ty, column)) in self.fields.iter().enumerate() {
            let Some(column) = column else { continue };
            let column = &mut rows.columns[*column];
            let Some(f) = found.get(i) else {
                column.push_null();
                continue;
            };
            let text = &record[f.from..f.to];
            let put = match f.tangled {
                Tangled::No => self.put(text, ty, column, &mut rows.nulled),
                tangled => self.put(&self.dialect.untangled(text, tangled), ty, column, &mut rows.nulled),
            };
            if let Err(why) = put {
                column.push_null();
                if self.ignore_errors {
                    rows.nulled += 1;
                } else if failed.is_none() {
                    failed = Some(format!("column '{}': {why}", self.names[i]));
                }
            }
        }
        // Values of bad rows are in the columns for now. All bad rows are removed together.
        rows.height += 1;
        failed.map_or(Ok(()), Err)
    }
}

/// Writes CSV.
#[derive(Clone)]
pub(crate) struct CsvWriter {
    dialect: CsvDialect,
    scientific: bool,
    null_literal: String,
    elements: String,
    types: Vec<SqlType>,
    session: Arc<Session>,
}

impl CsvWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let read = Csv::new(table)?;
        // The writer also accepts the reader's options, since the same table may be read and written.
        Ok(CsvWriter {
            dialect: read.dialect,
            scientific: table.value(&SCIENTIFIC)?,
            null_literal: read.null_literal.unwrap_or_default(),
            elements: read.elements,
            types: table.schema.fields.iter().map(|f| f.ty.clone()).collect(),
            session: table.session.clone(),
        })
    }

    fn text(&self, v: &Value<'_>, ty: &SqlType) -> String {
        match (v, &ty.kind) {
            (Value::Bool(b), _) => b.to_string(),
            (Value::Bytes(b), _) => base64::engine::general_purpose::STANDARD.encode(b),
            (Value::Timestamp(s, n), TypeKind::TimestampLtz(p)) => {
                time::timestamp_text(*s, *n, shown_digits(*n, *p)) + "Z"
            }
            (Value::Timestamp(s, n), _) => {
                time::timestamp_text(*s, *n, shown_digits(*n, ty.time_digits().unwrap_or(3)))
            }
            (Value::List(items), TypeKind::Array(e)) => {
                items.iter().map(|v| self.text(v, e)).collect::<Vec<_>>().join(&self.elements)
            }
            (Value::Row(items), TypeKind::Row(f)) => {
                let parts = items.iter().zip(f).map(|(v, f)| self.text(v, &f.ty));
                parts.collect::<Vec<_>>().join(&self.elements)
            }
            (Value::Null, _) => self.null_literal.clone(),
            (Value::Time(millis), _) => {
                let digits = shown_digits(millis.rem_euclid(1_000) as u32 * 1_000_000, 3);
                time::time_text(*millis, digits)
            }
            (Value::Decimal(d, s), _) => {
                let plain = weir_core::value::decimal_text(*d, *s);
                let short = if self.scientific { big_decimal(&plain) } else { None };
                short.unwrap_or_else(|| match plain.split_once('.') {
                    Some((whole, fraction)) => match fraction.trim_end_matches('0') {
                        "" => whole.to_string(),
                        fraction => format!("{whole}.{fraction}"),
                    },
                    None => plain,
                })
            }
            _ => weir_expr::text::cast_text(v, ty, &self.session.zone),
        }
    }
}

/// The number of fraction digits of the second that are not trailing zeros.
fn shown_digits(nanos: u32, most: u8) -> u8 {
    let text = format!("{nanos:09}");
    (text.trim_end_matches('0').len() as u8).min(most)
}

impl Encoder for CsvWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let CsvDialect { delimiter, quote, escape, .. } = self.dialect;
        let sign = |b: u8| b == delimiter || b == b'#' || Some(b) == quote || Some(b) == escape;
        for (i, c) in columns.iter().enumerate() {
            if i > 0 {
                out.push(delimiter);
            }
            let v = Value::read(batch.data.column(*c), row);
            let text = self.text(&v, &self.types[i]);
            let plain = v.is_null() || text.bytes().all(|b| b > b' ' && !sign(b));
            match quote {
                Some(q) if !plain => {
                    out.push(q);
                    for b in text.bytes() {
                        match escape {
                            Some(e) if b == q || b == e => out.push(e),
                            None if b == q => out.push(q),
                            _ => {}
                        }
                        out.push(b);
                    }
                    out.push(q);
                }
                _ => out.extend_from_slice(text.as_bytes()),
            }
        }
        Ok(())
    }
}
