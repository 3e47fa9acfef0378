//! Single values of columns, for code that works row by row: nested data, rare functions, text formats.

use arrow::array::{
    Array, AsArray, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
};
use std::borrow::Cow;

use crate::maps::Maps;
use crate::sortable::from_sortable;
use crate::types::NANOS;

/// A value of any SQL type. Text and bytes may borrow from the column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// NULL
    Null,
    /// BOOLEAN
    Bool(bool),
    /// TINYINT to BIGINT, and intervals
    Int(i64),
    /// FLOAT
    Float(f32),
    /// DOUBLE
    Double(f64),
    /// DECIMAL: unscaled value and scale
    Decimal(i128, u8),
    /// CHAR and VARCHAR
    Text(Cow<'a, str>),
    /// BINARY and VARBINARY
    Bytes(Cow<'a, [u8]>),
    /// DATE, days since 1970-01-01
    Date(i32),
    /// TIME, milliseconds of the day
    Time(i32),
    /// TIMESTAMP and TIMESTAMP_LTZ: seconds since 1970-01-01T00:00 and nanoseconds of the second
    Timestamp(i64, u32),
    /// ARRAY
    List(Vec<Value<'a>>),
    /// MAP and MULTISET
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// ROW
    Row(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// Creates a borrowed text.
    pub fn text(s: &'a str) -> Self {
        Value::Text(Cow::Borrowed(s))
    }
    /// Creates an owned text.
    pub fn string(s: String) -> Value<'static> {
        Value::Text(Cow::Owned(s))
    }
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
    /// The text, if it is a text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }
    /// The bytes, if it is a text or bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(s) => Some(s.as_bytes()),
            Value::Bytes(b) => Some(b),
            _ => None,
        }
    }
    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(i) => Some(*i),
            _ => None,
        }
    }
    /// The number as a double, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Float(f) => Some(f64::from(*f)),
            Value::Double(d) => Some(*d),
            Value::Decimal(v, s) => Some(decimal_to_f64(*v, *s)),
            _ => None,
        }
    }
    /// The truth value, if it is a BOOLEAN.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }
    /// The same value without borrowed parts.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(b) => Value::Bool(b),
            Value::Int(i) => Value::Int(i),
            Value::Float(f) => Value::Float(f),
            Value::Double(d) => Value::Double(d),
            Value::Decimal(v, s) => Value::Decimal(v, s),
            Value::Text(s) => Value::Text(Cow::Owned(s.into_owned())),
            Value::Bytes(b) => Value::Bytes(Cow::Owned(b.into_owned())),
            Value::Date(d) => Value::Date(d),
            Value::Time(t) => Value::Time(t),
            Value::Timestamp(s, n) => Value::Timestamp(s, n),
            Value::List(l) => Value::List(l.into_iter().map(Value::into_owned).collect()),
            Value::Map(m) => Value::Map(m.into_iter().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()),
            Value::Row(r) => Value::Row(r.into_iter().map(Value::into_owned).collect()),
        }
    }
    /// A timestamp, in milliseconds since 1970.
    pub fn of_millis(millis: i64) -> Value<'static> {
        Value::Timestamp(millis.div_euclid(1000), (millis.rem_euclid(1000) * 1_000_000) as u32)
    }
    /// Reads the value of a row in a column. Arrow types without a SQL type read as NULL.
    pub fn read(array: &'a dyn Array, row: usize) -> Value<'a> {
        if array.is_null(row) {
            return Value::Null;
        }
        macro_rules! int {
            ($t:ty) => {
                array.as_any().downcast_ref::<$t>().map_or(Value::Null, |a| Value::Int(i64::from(a.value(row))))
            };
        }
        match array.data_type() {
            DataType::Boolean => {
                array.as_any().downcast_ref::<BooleanArray>().map_or(Value::Null, |a| Value::Bool(a.value(row)))
            }
            DataType::Int8 => int!(Int8Array),
            DataType::Int16 => int!(Int16Array),
            DataType::Int32 => int!(Int32Array),
            DataType::Int64 => int!(Int64Array),
            DataType::Float32 => {
                array.as_any().downcast_ref::<Float32Array>().map_or(Value::Null, |a| Value::Float(a.value(row)))
            }
            DataType::Float64 => {
                array.as_any().downcast_ref::<Float64Array>().map_or(Value::Null, |a| Value::Double(a.value(row)))
            }
            DataType::Decimal128(_, s) => Value::Decimal(array.as_primitive::<Decimal128Type>().value(row), *s as u8),
            DataType::Utf8 => Value::text(array.as_string::<i32>().value(row)),
            DataType::Binary => Value::Bytes(Cow::Borrowed(array.as_binary::<i32>().value(row))),
            DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
            DataType::Time32(TimeUnit::Millisecond) => {
                Value::Time(array.as_primitive::<Time32MillisecondType>().value(row))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let v = array.as_primitive::<TimestampMicrosecondType>().value(row);
                Value::Timestamp(v.div_euclid(1_000_000), v.rem_euclid(1_000_000) as u32 * 1_000)
            }
            DataType::FixedSizeBinary(NANOS) => {
                match array.as_fixed_size_binary().value(row).split_first_chunk::<8>() {
                    Some((s, [a, b, c, d])) => {
                        Value::Timestamp(from_sortable(*s), u32::from_be_bytes([*a, *b, *c, *d]))
                    }
                    _ => Value::Null,
                }
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let (from, to) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                Value::List((from..to).map(|i| Value::read(list.values(), i)).collect())
            }
            DataType::Map(..) => match Maps::of(array) {
                Some(maps) => {
                    let entry = |i| (Value::read(maps.keys(), i), Value::read(maps.values(), i));
                    Value::Map(maps.entries(row).map(entry).collect())
                }
                None => Value::Null,
            },
            DataType::Struct(_) => {
                Value::Row(array.as_struct().columns().iter().map(|c| Value::read(c, row)).collect())
            }
            DataType::Dictionary(_, _) => match array.as_any_dictionary_opt() {
                Some(d) => match d.keys().as_any().downcast_ref::<arrow::array::PrimitiveArray<Int32Type>>() {
                    Some(keys) => Value::read(d.values(), keys.value(row) as usize),
                    None => Value::Null,
                },
                None => Value::Null,
            },
            _ => Value::Null,
        }
    }
}

/// Converts a decimal to the nearest double.
pub fn decimal_to_f64(value: i128, scale: u8) -> f64 {
    if scale == 0 {
        return value as f64;
    }
    if value.unsigned_abs() < (1 << 53) && scale <= 22 {
        return value as f64 / 10f64.powi(i32::from(scale));
    }
    decimal_text(value, scale).parse().unwrap_or(f64::NAN)
}

/// Formats a decimal in plain notation, with all digits of its scale.
pub fn decimal_text(value: i128, scale: u8) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = if digits.len() <= scale { format!("{digits:0>width$}", width = scale + 1) } else { digits };
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}
