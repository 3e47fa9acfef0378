//! Builds a column of any SQL type value by value.

use crate::maps;
use crate::sortable::sortable;
use crate::types::NANOS;
use crate::value::Value;
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, NullArray, StringBuilder,
    StructArray, Time32MillisecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use std::sync::Arc;

/// A column under construction.
///
/// # Examples
/// ```
/// use arrow::array::{Array, AsArray};
/// use arrow::datatypes::{DataType, Int64Type};
/// use weir_core::{ColumnBuilder, Value};
///
/// let mut column = ColumnBuilder::new(&DataType::Int64);
/// column.push(&Value::Int(7));
/// column.push(&Value::Null);
/// let column = column.finish();
/// assert_eq!((column.as_primitive::<Int64Type>().value(0), column.is_null(1)), (7, true));
/// ```
#[derive(Debug)]
#[expect(missing_docs, reason = "one variant a type, named after it")]
pub enum ColumnBuilder {
    Null(usize),
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time32MillisecondBuilder),
    Micros(TimestampMicrosecondBuilder),
    Nanos(FixedSizeBinaryBuilder),
    List { field: FieldRef, child: Box<ColumnBuilder>, offsets: Vec<i32>, valid: Vec<bool> },
    Map { field: FieldRef, key: Box<ColumnBuilder>, value: Box<ColumnBuilder>, offsets: Vec<i32>, valid: Vec<bool> },
    Struct { fields: Fields, children: Vec<ColumnBuilder>, valid: Vec<bool> },
}

impl ColumnBuilder {
    /// Creates a builder for an Arrow type that represents a SQL type. Other types build a column of NULLs.
    pub fn new(ty: &DataType) -> Self {
        match ty {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Self::Int8(Int8Builder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float32 => Self::Float32(Float32Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Decimal128(_, s) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(ty.clone()), s.unsigned_abs())
            }
            DataType::Utf8 => Self::Utf8(StringBuilder::new()),
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time32(_) => Self::Time(Time32MillisecondBuilder::new()),
            DataType::FixedSizeBinary(NANOS) => Self::Nanos(FixedSizeBinaryBuilder::new(NANOS)),
            DataType::Timestamp(_, tz) => Self::Micros(
                TimestampMicrosecondBuilder::new()
                    .with_data_type(DataType::Timestamp(TimeUnit::Microsecond, tz.clone())),
            ),
            DataType::List(field) => Self::List {
                field: field.clone(),
                child: Box::new(Self::new(field.data_type())),
                offsets: vec![0],
                valid: vec![],
            },
            DataType::Map(field, _) => {
                let Some((key, value)) = maps::parts(ty) else { return Self::Null(0) };
                let (key, value) = (Box::new(Self::new(key)), Box::new(Self::new(value)));
                Self::Map { field: field.clone(), key, value, offsets: vec![0], valid: vec![] }
            }
            DataType::Struct(fields) => Self::Struct {
                fields: fields.clone(),
                children: fields.iter().map(|f| Self::new(f.data_type())).collect(),
                valid: vec![],
            },
            _ => Self::Null(0),
        }
    }

    /// Appends NULL.
    pub fn push_null(&mut self) {
        match self {
            Self::Null(n) => *n += 1,
            Self::Boolean(b) => b.append_null(),
            Self::Int8(b) => b.append_null(),
            Self::Int16(b) => b.append_null(),
            Self::Int32(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::Float32(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Decimal(b, _) => b.append_null(),
            Self::Utf8(b) => b.append_null(),
            Self::Binary(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Micros(b) => b.append_null(),
            Self::Nanos(b) => b.append_null(),
            Self::List { offsets, valid, .. } | Self::Map { offsets, valid, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
                valid.push(false);
            }
            Self::Struct { children, valid, .. } => {
                children.iter_mut().for_each(Self::push_null);
                valid.push(false);
            }
        }
    }

    /// Appends a value. A value that does not fit the column's type becomes NULL, but the binder rejects such expressions.
    pub fn push(&mut self, value: &Value<'_>) {
        match (&mut *self, value) {
            (Self::Boolean(b), Value::Bool(v)) => b.append_value(*v),
            (Self::Int8(b), Value::Int(v)) => b.append_value(*v as i8),
            (Self::Int16(b), Value::Int(v)) => b.append_value(*v as i16),
            (Self::Int32(b), Value::Int(v)) => b.append_value(*v as i32),
            (Self::Int64(b), Value::Int(v)) => b.append_value(*v),
            (Self::Float32(b), Value::Float(v)) => b.append_value(*v),
            (Self::Float32(b), Value::Double(v)) => b.append_value(*v as f32),
            (Self::Float64(b), Value::Double(v)) => b.append_value(*v),
            (Self::Float64(b), Value::Float(v)) => b.append_value(f64::from(*v)),
            (Self::Float64(b), Value::Int(v)) => b.append_value(*v as f64),
            (Self::Decimal(b, scale), Value::Decimal(v, s)) if s == scale => b.append_value(*v),
            (Self::Utf8(b), Value::Text(v)) => b.append_value(v),
            (Self::Binary(b), Value::Bytes(v)) => b.append_value(v),
            (Self::Binary(b), Value::Text(v)) => b.append_value(v.as_bytes()),
            (Self::Date(b), Value::Date(v)) => b.append_value(*v),
            (Self::Time(b), Value::Time(v)) => b.append_value(*v),
            (Self::Micros(b), Value::Timestamp(s, n)) => {
                b.append_option(s.checked_mul(1_000_000).and_then(|v| v.checked_add(i64::from(*n / 1_000))));
            }
            (Self::Nanos(b), Value::Timestamp(s, n)) => {
                let mut bytes = [0; NANOS as usize];
                bytes[..8].copy_from_slice(&sortable(*s));
                bytes[8..].copy_from_slice(&n.to_be_bytes());
                // The range of 64 bits of microseconds, which is the same for all timestamps.
                if s.checked_mul(1_000_000).is_none() || b.append_value(bytes).is_err() {
                    b.append_null();
                }
            }
            (Self::List { child, offsets, valid, .. }, Value::List(items)) => {
                items.iter().for_each(|v| child.push(v));
                offsets.push(offsets.last().copied().unwrap_or(0) + items.len() as i32);
                valid.push(true);
            }
            (Self::Map { key, value, offsets, valid, .. }, Value::Map(items)) => {
                for (k, v) in items {
                    key.push(k);
                    value.push(v);
                }
                offsets.push(offsets.last().copied().unwrap_or(0) + items.len() as i32);
                valid.push(true);
            }
            (Self::Struct { children, valid, .. }, Value::Row(items)) => {
                for (i, c) in children.iter_mut().enumerate() {
                    c.push(items.get(i).unwrap_or(&Value::Null));
                }
                valid.push(true);
            }
            _ => self.push_null(),
        }
    }

    /// Finishes the column. It consumes the builder, since only those of flat types are empty afterwards.
    pub fn finish(self) -> ArrayRef {
        fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
            if valid.iter().all(|v| *v) { None } else { Some(NullBuffer::from(valid)) }
        }
        match self {
            Self::Null(n) => Arc::new(NullArray::new(n)),
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Int8(mut b) => Arc::new(b.finish()),
            Self::Int16(mut b) => Arc::new(b.finish()),
            Self::Int32(mut b) => Arc::new(b.finish()),
            Self::Int64(mut b) => Arc::new(b.finish()),
            Self::Float32(mut b) => Arc::new(b.finish()),
            Self::Float64(mut b) => Arc::new(b.finish()),
            Self::Decimal(mut b, _) => Arc::new(b.finish()),
            Self::Utf8(mut b) => Arc::new(b.finish()),
            Self::Binary(mut b) => Arc::new(b.finish()),
            Self::Date(mut b) => Arc::new(b.finish()),
            Self::Time(mut b) => Arc::new(b.finish()),
            Self::Micros(mut b) => Arc::new(b.finish()),
            Self::Nanos(mut b) => Arc::new(b.finish()),
            Self::List { field, child, offsets, valid } => Arc::new(ListArray::new(
                field,
                OffsetBuffer::new(ScalarBuffer::from(offsets)),
                child.finish(),
                nulls(valid),
            )),
            Self::Map { field, key, value, offsets, valid } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                maps::column(field, offsets, key.finish(), value.finish(), nulls(valid))
            }
            Self::Struct { fields, children, valid } => {
                let rows = valid.len();
                let children: Vec<ArrayRef> = children.into_iter().map(Self::finish).collect();
                if children.is_empty() {
                    return Arc::new(StructArray::new_empty_fields(rows, nulls(valid)));
                }
                Arc::new(StructArray::new(fields, children, nulls(valid)))
            }
        }
    }
}

/// Builds a column from values of one type.
pub fn column<'a>(ty: &DataType, values: impl IntoIterator<Item = Value<'a>>) -> ArrayRef {
    let mut builder = ColumnBuilder::new(ty);
    for v in values {
        builder.push(&v);
    }
    builder.finish()
}
