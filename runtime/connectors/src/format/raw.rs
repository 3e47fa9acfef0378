//! The raw format: each line, or record, is the value of the only column.

use super::{DecodeError, Decoder, Encoder, Format, RowBuilder, decoders, encoders, utf8};
use crate::options::TableSpec;
use weir_core::descriptor::Descriptor;
use weir_core::option_spec::Opt;
use weir_core::{Batch, Error, Result, SqlType, TypeKind, Value, choice, options};

fn only_column(table: &TableSpec) -> Result<SqlType> {
    match table.schema.fields.as_slice() {
        [f] => Ok(f.ty.clone()),
        f => {
            let e = Error::script(format!("the format raw takes one column, table '{}' has {}", table.name, f.len()));
            Err(e.at(table.place))
        }
    }
}

choice! {
    enum Charset { Utf8 = "UTF-8" }
}

choice! {
    enum Endianness { Big = "big-endian", Little = "little-endian" }
}

options! {
    OPTIONS:
    CHARSET: Charset = Opt::one_of("charset", "the encoding of text").default("UTF-8");
    ENDIANNESS: Endianness = Opt::one_of("endianness", "the byte order of numbers").default("big-endian");
}

pub(super) const FORMAT: Format = Format {
    descriptor: &Descriptor {
        name: "raw",
        help: "one column, whose value is a line of a file or a whole record",
        options: &[OPTIONS],
        example: "CREATE TABLE t (line STRING) WITH (
  'connector' = 'filesystem', 'path' = 'lines.txt', 'format' = 'raw'
)",
        ..Descriptor::FORMAT
    },
    decoder: |t| Ok(decoders(Raw::new(t)?)),
    encoder: |t| Ok(encoders(RawWriter::new(t)?)),
    dialect: None,
    extension: "txt",
};

fn check(table: &TableSpec, ty: &SqlType) -> Result<bool> {
    let Charset::Utf8 = table.value(&CHARSET)?;
    let little = table.value(&ENDIANNESS)? == Endianness::Little;
    if ty.is_text() || ty.is_bytes() || ty.is_integer() || ty.is_approximate() || ty.kind == TypeKind::Boolean {
        return Ok(little);
    }
    Err(Error::script(format!("the format raw has no {}", ty.kind)).at(table.place))
}

#[derive(Clone)]
pub(crate) struct Raw {
    ty: SqlType,
    projected: bool,
    little: bool,
}

impl Raw {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let ty = only_column(table)?;
        let little = check(table, &ty)?;
        Ok(Raw { ty, projected: !table.columns.is_empty(), little })
    }

    fn value<'a>(&self, line: &'a [u8]) -> std::result::Result<Value<'a>, String> {
        let fixed = |n: usize| -> std::result::Result<[u8; 8], String> {
            if line.len() != n {
                return Err(format!("{} has {n} bytes, the line has {}", self.ty.kind, line.len()));
            }
            let mut b = [0; 8];
            b[8 - n..].copy_from_slice(line);
            if self.little {
                b[8 - n..].reverse();
            }
            Ok(b)
        };
        Ok(match self.ty.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) => Value::text(utf8(line)?),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Value::Bytes(line.into()),
            TypeKind::Boolean => Value::Bool(fixed(1)?[7] != 0),
            TypeKind::TinyInt => Value::Int(i64::from(fixed(1)?[7] as i8)),
            TypeKind::SmallInt => Value::Int(i64::from(i64::from_be_bytes(fixed(2)?) as i16)),
            TypeKind::Int => Value::Int(i64::from(i64::from_be_bytes(fixed(4)?) as i32)),
            TypeKind::BigInt => Value::Int(i64::from_be_bytes(fixed(8)?)),
            TypeKind::Float => Value::Float(f32::from_bits(u64::from_be_bytes(fixed(4)?) as u32)),
            _ => Value::Double(f64::from_bits(u64::from_be_bytes(fixed(8)?))),
        })
    }
}

impl Decoder for Raw {
    fn record(&mut self, record: &[u8], rows: &mut RowBuilder) -> std::result::Result<(), DecodeError> {
        let value = self.value(record)?;
        rows.push(if self.projected { std::slice::from_ref(&value) } else { &[] });
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct RawWriter {
    ty: SqlType,
    little: bool,
}

impl RawWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let ty = only_column(table)?;
        let little = check(table, &ty)?;
        Ok(RawWriter { ty, little })
    }
}

impl Encoder for RawWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let value = Value::read(batch.data.column(columns[0]), row);
        let from = out.len();
        match (&value, &self.ty.kind) {
            (Value::Null, _) => {}
            (Value::Bool(b), _) => out.push(u8::from(*b)),
            (Value::Int(i), TypeKind::TinyInt) => out.push(*i as u8),
            (Value::Int(i), TypeKind::SmallInt) => out.extend_from_slice(&(*i as i16).to_be_bytes()),
            (Value::Int(i), TypeKind::Int) => out.extend_from_slice(&(*i as i32).to_be_bytes()),
            (Value::Int(i), _) => out.extend_from_slice(&i.to_be_bytes()),
            (Value::Float(f), _) => out.extend_from_slice(&f.to_bits().to_be_bytes()),
            (Value::Double(f), _) => out.extend_from_slice(&f.to_bits().to_be_bytes()),
            (v, _) => {
                let bytes = v.as_bytes();
                out.extend_from_slice(bytes.ok_or_else(|| Error::internal(format!("{v:?} is no {}", self.ty.kind)))?);
            }
        }
        if self.little && self.ty.is_numeric() {
            out[from..].reverse();
        }
        Ok(())
    }
}
