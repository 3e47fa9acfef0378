//! CSV with Flink's options. A scanner of our own: records go from the file's bytes straight into columns, fields that
//! nobody reads are only skipped over, which no CSV crate does.

use super::{Bad, Decoder, Encoder, Failure, LONGEST, Rows, utf8};
use crate::options::TableSpec;
use memchr::{memchr, memchr2};
use std::sync::Arc;
use weir_core::{Batch, ColumnBuilder, Error, Result, SqlType, TypeKind, Value};
use weir_expr::time;
use weir_expr::{Session, cast};

#[derive(Clone)]
pub(crate) struct Csv {
    pub delimiter: u8,
    pub quote: Option<u8>,
    escape: Option<u8>,
    comments: bool,
    ignore_errors: bool,
    null_literal: Option<String>,
    elements: String,
    /// All physical columns: the type, and the place among the columns that are read.
    fields: Vec<(SqlType, Option<usize>)>,
    names: Vec<String>,
    /// The fields of the record at hand, kept for its memory.
    found: Vec<Found>,
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
        let quotes = !table.boolean("csv.disable-quote-character", false)?;
        let quote = table.character("csv.quote-character", Some(b'"'))?;
        Ok(Csv {
            delimiter: table.character("csv.field-delimiter", Some(b','))?.unwrap_or(b','),
            quote: if quotes { quote } else { None },
            escape: table.character("csv.escape-character", None)?,
            comments: table.boolean("csv.allow-comments", false)?,
            ignore_errors: table.boolean("csv.ignore-parse-errors", false)?,
            null_literal: table.get("csv.null-literal").map(str::to_string),
            elements: table.get("csv.array-element-delimiter").unwrap_or(";").to_string(),
            fields,
            names: table.schema.fields.iter().map(|f| f.name.clone()).collect(),
            found: vec![],
        })
    }

    /// Puts a field's text into its column.
    fn put(&self, text: &[u8], ty: &SqlType, column: &mut ColumnBuilder) -> std::result::Result<(), String> {
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
        let value = parse(utf8(text)?, ty, &self.elements)?;
        column.push(&value);
        Ok(())
    }
}

/// An integer of up to 18 digits without anything around it, the usual case.
pub(super) fn short_integer(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut v = 0i64;
    for b in digits {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v * 10 + i64::from(d);
    }
    Some(sign * v)
}

/// A field's text as a value of a type, as Flink's CSV reads it.
fn parse(text: &str, ty: &SqlType, elements: &str) -> std::result::Result<Value<'static>, String> {
    let wrong = || format!("'{}' is no {}", text.chars().take(40).collect::<String>(), ty.kind);
    let t = text.trim();
    let whole = |low: i64, high: i64| {
        t.parse::<i64>().ok().filter(|v| (low..=high).contains(v)).map(Value::Int).ok_or_else(wrong)
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
        TypeKind::Decimal(p, s) => {
            let (v, from) = cast::parse_decimal(t, *s).ok_or_else(wrong)?;
            let fitted = weir_expr::arith::fits(weir_expr::arith::rescale(v, from, *s), *p);
            fitted.map_or(Value::Null, |v| Value::Decimal(v, *s))
        }
        TypeKind::Date => Value::Date(time::parse_date(t).ok_or_else(wrong)?),
        TypeKind::Time(_) => Value::Time(time::parse_time(t).ok_or_else(wrong)?),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let t = t.strip_suffix('Z').unwrap_or(t).replacen('T', " ", 1);
            let (s, n) = time::parse_timestamp(&t).ok_or_else(wrong)?;
            let unit = 10u32.pow(9 - u32::from(*p).min(9));
            Value::Timestamp(s, n / unit * unit)
        }
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => Value::Bytes(text.as_bytes().to_vec().into()),
        TypeKind::Array(_) if t.is_empty() => Value::List(vec![]),
        TypeKind::Array(e) => {
            Value::List(text.split(elements).map(|p| parse(p, e, elements)).collect::<std::result::Result<_, _>>()?)
        }
        TypeKind::Row(_) if t.is_empty() => Value::Null,
        TypeKind::Row(fields) => {
            let parts: Vec<&str> = text.split(elements).collect();
            if parts.len() != fields.len() {
                return Err(format!("a row of {} fields has {}", fields.len(), parts.len()));
            }
            let values = parts.iter().zip(fields).map(|(p, f)| parse(p, &f.ty, elements));
            Value::Row(values.collect::<std::result::Result<_, _>>()?)
        }
        _ => return Err(wrong()),
    })
}

/// A field as the scanner found it.
#[derive(Clone)]
struct Found {
    /// Its text without quotes.
    from: usize,
    to: usize,
    /// Whether quotes or escapes inside must be taken out first.
    tangled: bool,
}

/// What the scanner found at the front of some data.
enum Record {
    /// The bytes of the record with its line break.
    Whole(usize),
    /// It goes on behind the data.
    Open,
    /// A quote never closes, or something else that cannot be.
    Broken(usize, &'static str),
}

impl Csv {
    /// Finds the fields of the record at the front of the data.
    fn scan(&self, data: &[u8], at_end: bool, fields: &mut Vec<Found>) -> Record {
        fields.clear();
        let mut at = 0;
        loop {
            if let Some(q) = self.quote
                && data.get(at) == Some(&q)
            {
                let from = at + 1;
                let mut tangled = false;
                let mut i = from;
                let close = loop {
                    let next = match self.escape {
                        Some(e) => memchr2(q, e, &data[i..]),
                        None => memchr(q, &data[i..]),
                    };
                    let Some(n) = next else {
                        if at_end || data.len() > LONGEST {
                            let line = memchr(b'\n', data).map_or(data.len(), |n| n + 1);
                            return Record::Broken(line, "a quote is opened here and never closed");
                        }
                        return Record::Open;
                    };
                    let p = i + n;
                    if Some(data[p]) == self.escape && data[p] != q {
                        tangled = true;
                        i = (p + 2).min(data.len());
                        continue;
                    }
                    match data.get(p + 1) {
                        Some(c) if *c == q => {
                            tangled = true;
                            i = p + 2;
                        }
                        None if !at_end => return Record::Open,
                        _ => break p,
                    }
                };
                fields.push(Found { from, to: close, tangled });
                at = close + 1;
                match data.get(at) {
                    Some(c) if *c == self.delimiter => at += 1,
                    Some(b'\n') => return Record::Whole(at + 1),
                    Some(b'\r') if data.get(at + 1) == Some(&b'\n') => {
                        return Record::Whole(at + 2);
                    }
                    Some(b'\r') if data.len() == at + 1 && !at_end => return Record::Open,
                    None if at_end => return Record::Whole(at),
                    None => return Record::Open,
                    Some(_) => {
                        let Some(n) = memchr(b'\n', &data[at..]) else {
                            return if at_end {
                                Record::Broken(data.len(), "text follows a closing quote")
                            } else {
                                Record::Open
                            };
                        };
                        return Record::Broken(at + n + 1, "text follows a closing quote");
                    }
                }
                continue;
            }
            match memchr2(self.delimiter, b'\n', &data[at..]) {
                Some(n) if data[at + n] == self.delimiter => {
                    let tangled = self.escape.is_some_and(|e| memchr(e, &data[at..at + n]).is_some());
                    fields.push(Found { from: at, to: at + n, tangled });
                    at += n + 1;
                }
                Some(n) => {
                    let to = if n > 0 && data[at + n - 1] == b'\r' { at + n - 1 } else { at + n };
                    let tangled = self.escape.is_some_and(|e| memchr(e, &data[at..to]).is_some());
                    fields.push(Found { from: at, to, tangled });
                    return Record::Whole(at + n + 1);
                }
                None if at_end => {
                    let to = if data[at..].last() == Some(&b'\r') { data.len() - 1 } else { data.len() };
                    fields.push(Found { from: at, to, tangled: false });
                    return Record::Whole(data.len());
                }
                None if data.len() > LONGEST => {
                    return Record::Broken(data.len(), "the record is longer than 32 MB");
                }
                None => return Record::Open,
            }
        }
    }

    fn untangled(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.iter().copied().peekable();
        while let Some(b) = rest.next() {
            if Some(b) == self.escape && rest.peek().is_some() {
                out.extend(rest.next());
            } else {
                if Some(b) == self.quote && rest.peek() == Some(&b) {
                    rest.next();
                }
                out.push(b);
            }
        }
        out
    }
}

impl Decoder for Csv {
    fn record(&mut self, record: &[u8], rows: &mut Rows) -> std::result::Result<(), Failure> {
        let mut found = std::mem::take(&mut self.found);
        let read = match self.scan(record, true, &mut found) {
            Record::Open => Err("the record is not whole"),
            Record::Broken(_, why) => Err(why),
            Record::Whole(_) => Ok(()),
        };
        let read = match read {
            Ok(()) => self.row(record, &mut found, rows),
            Err(_) if self.ignore_errors => {
                rows.skipped += 1;
                Ok(())
            }
            Err(why) => Err(why.to_string()),
        };
        self.found = found;
        Ok(read?)
    }

    fn decode(&mut self, data: &[u8], at_end: bool, most: usize, rows: &mut Rows, bad: &mut Vec<Bad>) -> usize {
        let mut used = 0;
        let mut found = std::mem::take(&mut self.found);
        while rows.good() < most && used < data.len() {
            let rest = &data[used..];
            if self.comments && rest[0] == b'#' {
                match memchr(b'\n', rest) {
                    Some(n) => used += n + 1,
                    None if at_end => used = data.len(),
                    None => break,
                }
                continue;
            }
            let length = match self.scan(rest, at_end, &mut found) {
                Record::Open => break,
                Record::Broken(n, why) => {
                    if self.ignore_errors {
                        rows.skipped += 1;
                    } else {
                        bad.push(Bad { at: used, end: used + n, message: why.to_string() });
                    }
                    used += n;
                    continue;
                }
                Record::Whole(n) => n,
            };
            let height = rows.height;
            let read = self.row(rest, &mut found, rows);
            rows.close(height, used, read.is_ok());
            if let Err(message) = read {
                bad.push(Bad { at: used, end: used + length, message });
            }
            used += length;
        }
        self.found = found;
        used
    }
}

impl Csv {
    /// Puts the fields that were found in a record into the columns.
    fn row(&self, record: &[u8], found: &mut Vec<Found>, rows: &mut Rows) -> std::result::Result<(), String> {
        let want = self.fields.len();
        if found.len() == want + 1 && found[want].from == found[want].to {
            // One delimiter too many at the end of the line.
            found.pop();
        }
        if found.len() == 1 && want > 1 && found[0].from == found[0].to {
            if self.comments {
                return Ok(());
            }
            if !self.ignore_errors {
                return Err("the line is empty".to_string());
            }
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
            let put = if f.tangled { self.put(&self.untangled(text), ty, column) } else { self.put(text, ty, column) };
            if let Err(why) = put {
                column.push_null();
                if self.ignore_errors {
                    rows.nulled += 1;
                } else if failed.is_none() {
                    failed = Some(format!("column '{}': {why}", self.names[i]));
                }
            }
        }
        // A bad row's values are in the columns for now; those rows are taken out together.
        rows.height += 1;
        failed.map_or(Ok(()), Err)
    }
}

#[derive(Clone)]
pub(crate) struct CsvWriter {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    null_literal: String,
    elements: String,
    types: Vec<SqlType>,
    session: Arc<Session>,
}

impl CsvWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let read = Csv::new(table)?;
        // The reader's options are taken by the writer, too: one table may be both in its life.
        Ok(CsvWriter {
            delimiter: read.delimiter,
            quote: read.quote,
            escape: read.escape,
            null_literal: read.null_literal.unwrap_or_default(),
            elements: read.elements,
            types: table.schema.fields.iter().map(|f| f.ty.clone()).collect(),
            session: table.session.clone(),
        })
    }

    fn text(&self, v: &Value<'_>, ty: &SqlType) -> String {
        match (v, &ty.kind) {
            (Value::Bool(b), _) => b.to_string(),
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
            _ => weir_expr::text::cast_text(v, ty, &self.session.zone),
        }
    }
}

/// Digits of the second that say something.
fn shown_digits(nanos: u32, most: u8) -> u8 {
    let text = format!("{nanos:09}");
    (text.trim_end_matches('0').len() as u8).min(most)
}

impl Encoder for CsvWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        for (i, c) in columns.iter().enumerate() {
            if i > 0 {
                out.push(self.delimiter);
            }
            let v = Value::read(batch.data.column(*c), row);
            let text = self.text(&v, &self.types[i]);
            let plain = v.is_null()
                || text.bytes().all(|b| {
                    b > b' ' && b != self.delimiter && b != b'#' && Some(b) != self.quote && Some(b) != self.escape
                });
            match self.quote {
                Some(q) if !plain => {
                    out.push(q);
                    for b in text.bytes() {
                        match self.escape {
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
