//! The encoding of keys in the store, which is frozen, order-preserving and self-delimiting; key groups; and the assignment of key groups
//! to subtasks.
//!
//! Every value is a marker (0 = NULL, 1 = value) and then: integers big-endian with the sign bit turned; floating point
//! numbers as bits, turned so that they sort; text and bytes with 0x00 written as 0x00 0xFF and ended by 0x00 0x00;
//! nested values as 0x02-marked elements ended by 0x00. `VERSION` changes whenever this does.

use crate::sortable::{from_sortable, sortable};
use crate::{Batch, ColumnBuilder, Error, Result, Value, maps};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use std::borrow::Cow;

/// The version of this encoding, which is part of every store.
pub const VERSION: u32 = 1;

/// The number of key groups, Flink's default of `pipeline.max-parallelism`.
pub const KEY_GROUPS: u16 = 128;

/// The key group of an encoded key, by a hash that is the same on every machine and in every version.
pub fn key_group(key: &[u8]) -> u16 {
    (xxhash_rust::xxh3::xxh3_64(key) % u64::from(KEY_GROUPS)) as u16
}

/// The subtask that owns a key group.
pub fn owner(group: u16, parallelism: usize) -> usize {
    usize::from(group) * parallelism / usize::from(KEY_GROUPS)
}

/// The key groups that a subtask owns, in order.
pub fn owned_groups(subtask: usize, parallelism: usize) -> impl Iterator<Item = u16> {
    (0..KEY_GROUPS).filter(move |group| owner(*group, parallelism) == subtask)
}

/// The encoded keys of a batch, one after another.
#[derive(Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// The key of a row.
    pub fn get(&self, row: usize) -> &[u8] {
        let from = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[from..self.ends[row]]
    }
    /// Appends an encoded key.
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// Encodes these columns of a batch as keys.
    pub fn of(batch: &Batch, columns: &[usize]) -> Keys {
        let columns: Vec<ArrayRef> = columns.iter().map(|c| batch.data.column(*c).clone()).collect();
        Keys::encode(&columns, batch.rows())
    }
    /// Encodes these columns as keys, row by row.
    ///
    /// # Examples
    /// ```
    /// use arrow::array::{ArrayRef, Int32Array, StringArray};
    /// use std::sync::Arc;
    /// use weir_core::key::{KEY_GROUPS, Keys, key_group, owner};
    ///
    /// let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "a", "b"]));
    /// let number: ArrayRef = Arc::new(Int32Array::from(vec![-1, 2, 1]));
    /// let keys = Keys::encode(&[text, number], 3);
    /// // Encoded keys sort as their values do.
    /// assert!(keys.get(0) < keys.get(1) && keys.get(1) < keys.get(2));
    /// // A key belongs to a group, and each group to one of the subtasks.
    /// let group = key_group(keys.get(0));
    /// assert!(group < KEY_GROUPS && owner(group, 4) < 4);
    /// ```
    pub fn encode(columns: &[ArrayRef], rows: usize) -> Keys {
        enum Fast<'a> {
            Text(&'a arrow::array::StringArray),
            Int(&'a arrow::array::Int32Array),
            Long(&'a arrow::array::Int64Array),
            Any(&'a dyn Array),
        }
        let fast: Vec<Fast> = columns
            .iter()
            .map(|c| match c.data_type() {
                DataType::Utf8 => Fast::Text(c.as_string()),
                DataType::Int32 => Fast::Int(c.as_primitive::<Int32Type>()),
                DataType::Int64 => Fast::Long(c.as_primitive::<Int64Type>()),
                _ => Fast::Any(c.as_ref()),
            })
            .collect();
        let mut keys = Keys { bytes: Vec::with_capacity(rows * 16), ends: Vec::with_capacity(rows) };
        for row in 0..rows {
            for column in &fast {
                match column {
                    Fast::Text(a) if a.is_valid(row) => encode_bytes(a.value(row).as_bytes(), &mut keys.bytes),
                    Fast::Int(a) if a.is_valid(row) => encode_i32(a.value(row), &mut keys.bytes),
                    Fast::Long(a) if a.is_valid(row) => encode_i64(a.value(row), &mut keys.bytes),
                    Fast::Any(a) => encode_value(&Value::read(*a, row), a.data_type(), &mut keys.bytes),
                    _ => keys.bytes.push(0),
                }
            }
            keys.ends.push(keys.bytes.len());
        }
        keys
    }
}

fn encode_i32(v: i32, out: &mut Vec<u8>) {
    out.push(1);
    out.extend_from_slice(&(v ^ i32::MIN).to_be_bytes());
}

fn encode_i64(v: i64, out: &mut Vec<u8>) {
    out.push(1);
    out.extend_from_slice(&sortable(v));
}

fn encode_bytes(v: &[u8], out: &mut Vec<u8>) {
    out.push(1);
    if memchr(v) {
        for b in v {
            out.push(*b);
            if *b == 0 {
                out.push(0xFF);
            }
        }
    } else {
        out.extend_from_slice(v);
    }
    out.extend_from_slice(&[0, 0]);
}

fn memchr(v: &[u8]) -> bool {
    v.contains(&0)
}

/// Appends the encoding of a value of a column type.
pub fn encode_value(value: &Value<'_>, ty: &DataType, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Bool(b) => out.extend_from_slice(&[1, u8::from(*b)]),
        Value::Int(i) => match ty {
            DataType::Int8 => out.extend_from_slice(&[1, (*i as i8 ^ i8::MIN) as u8]),
            DataType::Int16 => {
                out.push(1);
                out.extend_from_slice(&(*i as i16 ^ i16::MIN).to_be_bytes());
            }
            DataType::Int32 => encode_i32(*i as i32, out),
            _ => encode_i64(*i, out),
        },
        Value::Float(f) => {
            let bits = f.to_bits() as i32;
            encode_i32(bits ^ (((bits >> 31) as u32) >> 1) as i32, out);
        }
        Value::Double(f) => {
            let bits = f.to_bits() as i64;
            encode_i64(bits ^ (((bits >> 63) as u64) >> 1) as i64, out);
        }
        Value::Decimal(v, _) => {
            out.push(1);
            out.extend_from_slice(&(v ^ i128::MIN).to_be_bytes());
        }
        Value::Text(s) => encode_bytes(s.as_bytes(), out),
        Value::Bytes(b) => encode_bytes(b, out),
        Value::Date(d) | Value::Time(d) => encode_i32(*d, out),
        Value::Timestamp(s, n) => {
            encode_i64(*s, out);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::List(items) => {
            out.push(1);
            if let DataType::List(f) = ty {
                for v in items {
                    out.push(2);
                    encode_value(v, f.data_type(), out);
                }
            }
            out.push(0);
        }
        Value::Map(items) => {
            out.push(1);
            if let Some((of_key, of_value)) = maps::parts(ty) {
                // The order of a map's entries has no meaning, so it is normalized for equal maps to have equal encodings.
                let mut entries: Vec<Vec<u8>> = items
                    .iter()
                    .map(|(k, v)| {
                        let mut e = vec![2];
                        encode_value(k, of_key, &mut e);
                        encode_value(v, of_value, &mut e);
                        e
                    })
                    .collect();
                entries.sort();
                entries.iter().for_each(|e| out.extend_from_slice(e));
            }
            out.push(0);
        }
        Value::Row(items) => {
            out.push(1);
            if let DataType::Struct(fields) = ty {
                for (v, f) in items.iter().zip(fields) {
                    encode_value(v, f.data_type(), out);
                }
            }
        }
    }
}

/// Decodes a value of a column type from the front of `bytes`, and advances `bytes`.
///
/// # Errors
/// If the bytes are not such a value, which means that the store is corrupt.
pub fn decode_value(ty: &DataType, bytes: &mut &[u8]) -> Result<Value<'static>> {
    match take::<1>(bytes)?[0] {
        0 => return Ok(Value::Null),
        1 => {}
        _ => return Err(damaged()),
    }
    Ok(match ty {
        DataType::Boolean => Value::Bool(take::<1>(bytes)?[0] != 0),
        DataType::Int8 => Value::Int(i64::from(i8::from_be_bytes(take(bytes)?) ^ i8::MIN)),
        DataType::Int16 => Value::Int(i64::from(i16::from_be_bytes(take(bytes)?) ^ i16::MIN)),
        DataType::Int32 => Value::Int(i64::from(i32::from_be_bytes(take(bytes)?) ^ i32::MIN)),
        DataType::Int64 => Value::Int(from_sortable(take(bytes)?)),
        DataType::Float32 => {
            let v = i32::from_be_bytes(take(bytes)?) ^ i32::MIN;
            Value::Float(f32::from_bits((v ^ (((v >> 31) as u32) >> 1) as i32) as u32))
        }
        DataType::Float64 => {
            let v = from_sortable(take(bytes)?);
            Value::Double(f64::from_bits((v ^ (((v >> 63) as u64) >> 1) as i64) as u64))
        }
        DataType::Decimal128(_, s) => Value::Decimal(i128::from_be_bytes(take(bytes)?) ^ i128::MIN, s.unsigned_abs()),
        DataType::Utf8 => {
            let text = String::from_utf8(decode_bytes(bytes)?).map_err(|_| damaged())?;
            Value::Text(Cow::Owned(text))
        }
        DataType::Binary => Value::Bytes(Cow::Owned(decode_bytes(bytes)?)),
        DataType::Date32 => Value::Date(i32::from_be_bytes(take(bytes)?) ^ i32::MIN),
        DataType::Time32(_) => Value::Time(i32::from_be_bytes(take(bytes)?) ^ i32::MIN),
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::FixedSizeBinary(_) => {
            let s = from_sortable(take(bytes)?);
            Value::Timestamp(s, u32::from_be_bytes(take(bytes)?))
        }
        DataType::List(f) => {
            let mut items = vec![];
            while take::<1>(bytes)?[0] == 2 {
                items.push(decode_value(f.data_type(), bytes)?);
            }
            Value::List(items)
        }
        DataType::Map(..) => {
            let (of_key, of_value) = maps::parts(ty).ok_or_else(damaged)?;
            let mut items = vec![];
            while take::<1>(bytes)?[0] == 2 {
                items.push((decode_value(of_key, bytes)?, decode_value(of_value, bytes)?));
            }
            Value::Map(items)
        }
        DataType::Struct(fields) => {
            Value::Row(fields.iter().map(|f| decode_value(f.data_type(), bytes)).collect::<Result<_>>()?)
        }
        _ => return Err(damaged()),
    })
}

/// Decodes keys of these column types back into columns.
///
/// # Errors
/// If a key does not have these types, which means that the store is corrupt.
pub fn decode_columns<'a>(types: &[DataType], keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
    let mut builders: Vec<ColumnBuilder> = types.iter().map(ColumnBuilder::new).collect();
    for mut key in keys {
        for (ty, builder) in types.iter().zip(&mut builders) {
            decode_into(ty, &mut key, builder)?;
        }
    }
    Ok(builders.into_iter().map(ColumnBuilder::finish).collect())
}

/// Appends the encodings of a row's values in these columns.
pub fn encode_row(columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
    columns.iter().for_each(|c| encode_value(&Value::read(c, row), c.data_type(), out));
}

/// Decodes the output of [`encode_row`] for columns of these types, each value into the builder of its column.
///
/// # Errors
/// As [`decode_value`].
pub fn decode_row(types: &[DataType], mut row: &[u8], builders: &mut [ColumnBuilder]) -> Result<()> {
    types.iter().zip(builders).try_for_each(|(ty, builder)| decode_into(ty, &mut row, builder))
}

/// Decodes a value into a builder. Text without zero bytes, the most common key, is not copied in between.
///
/// # Errors
/// As [`decode_value`].
pub fn decode_into(ty: &DataType, key: &mut &[u8], builder: &mut ColumnBuilder) -> Result<()> {
    if let (ColumnBuilder::Utf8(b), Some(1)) = (&mut *builder, key.first())
        && let Some(end) = key.iter().skip(1).position(|b| *b == 0)
        && key.get(end + 2) == Some(&0)
    {
        b.append_value(std::str::from_utf8(&key[1..=end]).map_err(|_| damaged())?);
        *key = &key[end + 3..];
        return Ok(());
    }
    builder.push(&decode_value(ty, key)?);
    Ok(())
}

fn decode_bytes(bytes: &mut &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![];
    loop {
        let b = take::<1>(bytes)?[0];
        if b != 0 {
            out.push(b);
            continue;
        }
        match take::<1>(bytes)?[0] {
            0xFF => out.push(0),
            0 => return Ok(out),
            _ => return Err(damaged()),
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
    *bytes = rest;
    Ok(*head)
}

fn damaged() -> Error {
    Error::state("the state is damaged: a key or value in it does not have the expected form")
        .hint("start with --fresh, or restore an export with `weir state import`")
}
