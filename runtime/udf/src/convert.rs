//! Converts columns between Arrow and guests. All lengths and offsets of guests are checked.

use crate::bindings::weir::udf::types::{Column, DataType as Wit, DecimalType};
use crate::nested;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimestampMicrosecondType,
};
use std::sync::Arc;
use weir_core::types::UNBOUNDED;
use weir_core::{ColumnBuilder, SqlType, TypeKind, Value};

/// The contract's type for a SQL type, and the SQL type that values are cast to before they cross.
pub(crate) fn crossing(ty: &SqlType) -> Option<(Wit, SqlType)> {
    let nullable = ty.nullable;
    let as_is = |w: Wit| Some((w, ty.clone()));
    let to = |w: Wit, kind: TypeKind| Some((w, SqlType { kind, nullable }));
    match ty.kind {
        TypeKind::Boolean => as_is(Wit::Boolean),
        TypeKind::TinyInt => as_is(Wit::Int8),
        TypeKind::SmallInt => as_is(Wit::Int16),
        TypeKind::Int => as_is(Wit::Int32),
        TypeKind::BigInt => as_is(Wit::Int64),
        TypeKind::Float => as_is(Wit::Float32),
        TypeKind::Double => as_is(Wit::Float64),
        TypeKind::Decimal(p, s) => as_is(Wit::Decimal(DecimalType { precision: p, scale: s })),
        TypeKind::Char(_) | TypeKind::Varchar(_) => to(Wit::Utf8, TypeKind::Varchar(UNBOUNDED)),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => to(Wit::Binary, TypeKind::Varbinary(UNBOUNDED)),
        TypeKind::Date => as_is(Wit::Date),
        TypeKind::Timestamp(p) => to(Wit::Timestamp(p.min(6)), TypeKind::Timestamp(p.min(6))),
        TypeKind::TimestampLtz(p) => to(Wit::TimestampLtz(p.min(6)), TypeKind::TimestampLtz(p.min(6))),
        TypeKind::Time(p) => as_is(Wit::Time(p)),
        TypeKind::Null => to(Wit::Utf8, TypeKind::Varchar(UNBOUNDED)),
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) => as_is(Wit::Nested),
        TypeKind::IntervalMonth | TypeKind::IntervalDay => None,
    }
}

/// The name of a parameter in a signature and its SQL type, which is none for `any`.
///
/// # Errors
/// If the text of a nested type, which follows the name, is not a type.
pub(crate) fn declared(name: &str, w: &Wit) -> Result<(String, Option<SqlType>), String> {
    match (w, name.split_once(' ')) {
        (Wit::Nested, Some((name, text))) => match text.parse::<SqlType>() {
            Ok(ty) if ty.is_nested() => Ok((name.to_string(), Some(ty))),
            Ok(ty) => Err(format!("{name}: {ty} is not nested, and has a case of its own in the contract")),
            Err(why) => Err(format!("{name}: {why}")),
        },
        (Wit::Nested, None) => Err(format!("{name}: a nested type's text follows its name")),
        _ => Ok((name.to_string(), sql_type(w))),
    }
}

/// The SQL type of a type in the contract; none for `any`, and for nested types, whose text is elsewhere.
fn sql_type(w: &Wit) -> Option<SqlType> {
    Some(SqlType::from(match w {
        Wit::Any | Wit::Nested => return None,
        Wit::Int8 => TypeKind::TinyInt,
        Wit::Int16 => TypeKind::SmallInt,
        Wit::Float32 => TypeKind::Float,
        Wit::Time(p) => TypeKind::Time((*p).min(9)),
        Wit::TimestampLtz(p) => TypeKind::TimestampLtz((*p).min(6)),
        Wit::Boolean => TypeKind::Boolean,
        Wit::Int32 => TypeKind::Int,
        Wit::Int64 => TypeKind::BigInt,
        Wit::Float64 => TypeKind::Double,
        Wit::Utf8 => TypeKind::Varchar(UNBOUNDED),
        Wit::Binary => TypeKind::Varbinary(UNBOUNDED),
        Wit::Date => TypeKind::Date,
        Wit::Timestamp(p) => TypeKind::Timestamp((*p).min(6)),
        Wit::Decimal(d) => TypeKind::Decimal(d.precision.clamp(1, 38), d.scale.min(d.precision)),
    }))
}

/// Converts an Arrow column of a SQL type for a guest.
pub(crate) fn to_guest(array: &ArrayRef, dtype: Wit, ty: &SqlType) -> Column {
    let validity = array.nulls().filter(|n| n.null_count() > 0).map(|n| n.inner().sliced().as_slice().to_vec());
    fn values<T: ArrowPrimitiveType>(a: &ArrayRef) -> Vec<u8> {
        a.as_primitive::<T>().values().inner().as_slice().to_vec()
    }
    let (offsets, data) = match dtype {
        Wit::Boolean => (vec![], array.as_boolean().values().sliced().as_slice().to_vec()),
        Wit::Int8 => (vec![], values::<Int8Type>(array)),
        Wit::Int16 => (vec![], values::<Int16Type>(array)),
        Wit::Float32 => (vec![], values::<Float32Type>(array)),
        Wit::Time(_) => (vec![], values::<Time32MillisecondType>(array)),
        Wit::Int32 => (vec![], values::<Int32Type>(array)),
        Wit::Int64 => (vec![], values::<Int64Type>(array)),
        Wit::Float64 => (vec![], values::<Float64Type>(array)),
        Wit::Date => (vec![], values::<Date32Type>(array)),
        Wit::Timestamp(_) | Wit::TimestampLtz(_) => (vec![], values::<TimestampMicrosecondType>(array)),
        Wit::Nested => {
            // The type comes first; NULL is an empty text.
            let mut text = ty.to_string();
            let mut offsets = (text.len() as u32).to_le_bytes().to_vec();
            for row in 0..array.len() {
                if !array.is_null(row) {
                    nested::write(&Value::read(array, row), ty, &mut text);
                }
                offsets.extend_from_slice(&(text.len() as u32).to_le_bytes());
            }
            (offsets, text.into_bytes())
        }
        Wit::Decimal(_) => (vec![], values::<Decimal128Type>(array)),
        Wit::Utf8 => {
            let a = array.as_string::<i32>();
            cut(a.value_offsets(), a.value_data())
        }
        Wit::Binary | Wit::Any => {
            let a = array.as_binary::<i32>();
            cut(a.value_offsets(), a.value_data())
        }
    };
    Column { dtype, validity, offsets, data }
}

fn cut(offsets: &[i32], data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let mut out = Vec::with_capacity(offsets.len() * 4);
    offsets.iter().for_each(|o| out.extend_from_slice(&(o - first).to_le_bytes()));
    (out, data[first as usize..last as usize].to_vec())
}

/// The offsets of a guest's column. There must be one more than rows, in ascending order, from 0 to at most the end of the data.
fn offsets_of(bytes: &[u8], rows: usize, data: usize) -> Result<Vec<i32>, String> {
    if bytes.len() != (rows + 1) * 4 {
        return Err(format!("the offsets have {} bytes, {rows} rows take {}", bytes.len(), (rows + 1) * 4));
    }
    let offsets: Vec<i32> = bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let rising = offsets[0] == 0 && offsets.windows(2).all(|w| w[0] <= w[1]);
    if !rising || offsets[rows] as usize > data {
        return Err("the offsets do not rise from 0 to the end of the data".to_string());
    }
    Ok(offsets)
}

/// Converts a guest's column to Arrow.
///
/// # Errors
/// A description of what is wrong with it.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a type")]
pub(crate) fn from_guest(c: Column, rows: usize, wanted: &Wit, ty: &SqlType) -> Result<ArrayRef, String> {
    if format!("{:?}", c.dtype) != format!("{wanted:?}") {
        return Err(format!("a column of {:?} came back, {wanted:?} was declared", c.dtype));
    }
    let bits = rows.div_ceil(8);
    let nulls = match c.validity {
        None => None,
        Some(v) if v.len() < bits => {
            return Err(format!("the validity has {} bytes for {rows} rows", v.len()));
        }
        Some(v) => Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(v), 0, rows))),
    };
    fn fixed<T: ArrowPrimitiveType>(
        data: Vec<u8>,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<PrimitiveArray<T>, String> {
        let width = std::mem::size_of::<T::Native>();
        if data.len() != rows * width {
            return Err(format!("the data has {} bytes, {rows} rows take {}", data.len(), rows * width));
        }
        // The guest's bytes may not be aligned as Arrow requires.
        let buffer = Buffer::from_slice_ref(&data);
        let buffer =
            if buffer.as_ptr().align_offset(width.min(16)) == 0 { buffer } else { Buffer::from(data.as_slice()) };
        Ok(PrimitiveArray::<T>::new(ScalarBuffer::new(buffer, 0, rows), nulls))
    }
    Ok(match wanted {
        Wit::Boolean => {
            if c.data.len() < bits {
                return Err(format!("the data has {} bytes for {rows} bits", c.data.len()));
            }
            Arc::new(BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(c.data), 0, rows), nulls))
        }
        Wit::Int8 => Arc::new(fixed::<Int8Type>(c.data, rows, nulls)?),
        Wit::Int16 => Arc::new(fixed::<Int16Type>(c.data, rows, nulls)?),
        Wit::Int32 => Arc::new(fixed::<Int32Type>(c.data, rows, nulls)?),
        Wit::Float32 => Arc::new(fixed::<Float32Type>(c.data, rows, nulls)?),
        Wit::Time(_) => {
            let a = fixed::<Time32MillisecondType>(c.data, rows, nulls)?;
            if a.iter().flatten().any(|v| !(0..86_400_000).contains(&v)) {
                return Err("a time is not within a day".to_string());
            }
            Arc::new(a)
        }
        Wit::Int64 => Arc::new(fixed::<Int64Type>(c.data, rows, nulls)?),
        Wit::Float64 => Arc::new(fixed::<Float64Type>(c.data, rows, nulls)?),
        Wit::Date => Arc::new(fixed::<Date32Type>(c.data, rows, nulls)?),
        Wit::Timestamp(_) | Wit::TimestampLtz(_) => {
            Arc::new(fixed::<TimestampMicrosecondType>(c.data, rows, nulls)?.with_data_type(ty.arrow()))
        }
        Wit::Nested => {
            let offsets = offsets_of(&c.offsets, rows, c.data.len())?;
            let mut builder = ColumnBuilder::new(&ty.arrow());
            for (row, ends) in offsets.windows(2).enumerate() {
                if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                    builder.push(&Value::Null);
                    continue;
                }
                let json = serde_json::from_slice(&c.data[ends[0] as usize..ends[1] as usize])
                    .map_err(|e| format!("a {} is no JSON: {e}", ty.kind))?;
                builder.push(&nested::read(json, ty)?);
            }
            builder.finish()
        }
        Wit::Decimal(d) => {
            let a = fixed::<Decimal128Type>(c.data, rows, nulls)?;
            let limit = 10u128.checked_pow(u32::from(d.precision)).unwrap_or(u128::MAX);
            if a.iter().flatten().any(|v| v.unsigned_abs() >= limit) {
                return Err(format!("a decimal has more than {} digits", d.precision));
            }
            let a = a.with_data_type(ty.arrow());
            Arc::new(a)
        }
        Wit::Utf8 | Wit::Binary | Wit::Any => {
            let offsets = offsets_of(&c.offsets, rows, c.data.len())?;
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            let data = Buffer::from_vec(c.data);
            if matches!(ty.arrow(), DataType::Utf8) {
                Arc::new(StringArray::try_new(offsets, data, nulls).map_err(|_| "a text is not UTF-8".to_string())?)
            } else {
                Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(|e| e.to_string())?)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns that no honest guest makes: a few seconds of random ones, every type with every shape. None may panic, and
    /// what is taken must be readable to its last value.
    #[test]
    fn malformed_columns_are_refused() {
        let seconds = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
        let start = std::time::Instant::now();
        let mut state = u64::from(std::process::id()) << 17 | 1;
        let mut random = move |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n.max(1) as u64) as usize
        };
        let types = [
            Wit::Boolean,
            Wit::Int32,
            Wit::Int64,
            Wit::Float64,
            Wit::Utf8,
            Wit::Binary,
            Wit::Date,
            Wit::Timestamp(3),
            Wit::Decimal(DecimalType { precision: 5, scale: 2 }),
            Wit::Int8,
            Wit::Int16,
            Wit::Float32,
            Wit::Time(0),
            Wit::TimestampLtz(3),
            Wit::Nested,
        ];
        let nested: SqlType = "ARRAY<INT>".parse().expect("a type");
        let (mut taken, mut refused) = (0u64, 0u64);
        while start.elapsed() < std::time::Duration::from_secs(seconds) {
            let (dtype, wanted) = (types[random(types.len())], types[random(types.len())]);
            let dtype = if random(4) > 0 { wanted } else { dtype };
            let rows = random(20);
            let near = |exact: usize, random: &mut dyn FnMut(usize) -> usize| match random(3) {
                0 => (exact + random(3)).saturating_sub(1),
                _ => exact,
            };
            let width = match wanted {
                Wit::Boolean => 0,
                Wit::Int8 => 1,
                Wit::Int16 => 2,
                Wit::Int32 | Wit::Float32 | Wit::Date | Wit::Time(_) => 4,
                Wit::Decimal(_) => 16,
                _ => 8,
            };
            let length = near(if width == 0 { rows.div_ceil(8) } else { rows * width }, &mut random);
            let data: Vec<u8> = (0..length).map(|_| if random(3) == 0 { random(256) as u8 } else { 0 }).collect();
            let mut at = 0i32;
            let offsets: Vec<u8> = (0..near(rows + 1, &mut random))
                .flat_map(|i| {
                    at += if i == 0 { 0 } else { random(4) as i32 - i32::from(random(9) == 0) };
                    if random(60) == 0 { i32::MAX.to_le_bytes() } else { at.to_le_bytes() }
                })
                .collect();
            let validity = (random(2) == 0).then(|| {
                let n = near(rows.div_ceil(8), &mut random);
                (0..n).map(|_| random(256) as u8).collect()
            });
            let ty = sql_type(&wanted).unwrap_or_else(|| nested.clone());
            match from_guest(Column { dtype, validity, offsets, data }, rows, &wanted, &ty) {
                Ok(column) => {
                    taken += 1;
                    assert_eq!(column.len(), rows);
                    (0..rows).for_each(|r| drop(weir_core::Value::read(&column, r)));
                }
                Err(why) => {
                    refused += 1;
                    assert!(!why.is_empty());
                }
            }
        }
        assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
    }
}
