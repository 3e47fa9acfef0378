//! Converts columns between the forms of Weir and of DataFusion's functions. These have timestamps of nanoseconds in 64 bits, and maps
//! without NULL keys.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, TimestampNanosecondArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit, TimestampNanosecondType};
use std::sync::Arc;
use weir_core::maps::{self, Maps};
use weir_core::{Error, Result, SqlType, TypeKind, Value, builder};

/// The Arrow type in which DataFusion's functions take values of a SQL type.
pub(super) fn data_type(ty: &SqlType) -> DataType {
    match &ty.kind {
        TypeKind::Timestamp(7..) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        TypeKind::TimestampLtz(7..) => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        TypeKind::Array(e) => DataType::List(item(e)),
        TypeKind::Map(k, v) => DataType::Map(entries(k, v), false),
        TypeKind::Multiset(e) => DataType::Map(entries(e, &SqlType::INT), false),
        TypeKind::Row(all) => DataType::Struct(fields(all)),
        _ => ty.arrow(),
    }
}

fn item(of: &SqlType) -> FieldRef {
    Arc::new(Field::new("item", data_type(of), true))
}

fn fields(all: &[weir_core::Field]) -> Fields {
    all.iter().map(|f| Field::new(&f.name, data_type(&f.ty), true)).collect()
}

fn pair(key: &SqlType, value: &SqlType) -> Fields {
    Fields::from(vec![Field::new("keys", data_type(key), false), Field::new("values", data_type(value), true)])
}

fn entries(key: &SqlType, value: &SqlType) -> FieldRef {
    Arc::new(Field::new("entries", DataType::Struct(pair(key, value)), false))
}

/// Whether columns of a type have another form in DataFusion's functions.
fn differs(ty: &SqlType) -> bool {
    match &ty.kind {
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => *p > 6,
        TypeKind::Map(..) | TypeKind::Multiset(_) => true,
        TypeKind::Array(e) => differs(e),
        TypeKind::Row(fields) => fields.iter().any(|f| differs(&f.ty)),
        _ => false,
    }
}

/// The types of the keys and values of a map or multiset.
fn of_map(kind: &TypeKind) -> Option<(&SqlType, &SqlType)> {
    match kind {
        TypeKind::Map(k, v) => Some((k, v)),
        TypeKind::Multiset(e) => Some((e, &SqlType::INT)),
        _ => None,
    }
}

/// The offsets of a list column, moved so that they begin at 0, and the range of items that they refer to. The items of rows before a slice
/// are left out.
fn from_first(offsets: &OffsetBuffer<i32>) -> (OffsetBuffer<i32>, std::ops::Range<usize>) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let ends: ScalarBuffer<i32> = offsets.iter().map(|end| end - first).collect();
    (OffsetBuffer::new(ends), first as usize..last as usize)
}

/// Converts a column to the form of DataFusion's functions.
///
/// # Errors
/// If a timestamp is out of their range, or a map has a NULL key.
pub(super) fn hand_over(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    if !differs(ty) {
        return Ok(array.clone());
    }
    let part = |array: &ArrayRef, range: &std::ops::Range<usize>, ty: &SqlType| {
        hand_over(&array.slice(range.start, range.len()), ty)
    };
    Ok(match &ty.kind {
        TypeKind::Array(e) => {
            let list = array.as_list::<i32>();
            let (offsets, there) = from_first(list.offsets());
            Arc::new(ListArray::try_new(item(e), offsets, part(list.values(), &there, e)?, list.nulls().cloned())?)
        }
        TypeKind::Row(all) => {
            let columns = array.as_struct().columns().iter().zip(all).map(|(c, f)| hand_over(c, &f.ty));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields(all), columns, array.nulls().cloned())?)
        }
        kind => match (of_map(kind), Maps::of(array)) {
            (Some((k, v)), Some(all)) => {
                let (offsets, there) = from_first(all.offsets());
                let (keys, values) = (part(all.keys(), &there, k)?, part(all.values(), &there, v)?);
                if keys.null_count() > 0 {
                    return Err(Error::data("this function takes no map with a NULL key"));
                }
                let both = StructArray::try_new(pair(k, v), vec![keys, values], None)?;
                Arc::new(MapArray::try_new(entries(k, v), offsets, both, array.nulls().cloned(), false)?)
            }
            _ => nanoseconds(array, ty)?,
        },
    })
}

fn nanoseconds(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let nanos = (0..array.len()).map(|row| match Value::read(array, row) {
        Value::Timestamp(s, n) => {
            let v = s.checked_mul(1_000_000_000).and_then(|v| v.checked_add(i64::from(n)));
            v.map(Some).ok_or_else(|| Error::data("this function takes times from 1677 to 2262 only"))
        }
        _ => Ok(None),
    });
    let nanos = nanos.collect::<Result<TimestampNanosecondArray>>()?;
    let zone = matches!(ty.kind, TypeKind::TimestampLtz(_)).then(|| "UTC".into());
    Ok(Arc::new(nanos.with_timezone_opt::<Arc<str>>(zone)))
}

/// Converts a result of DataFusion's functions to a column of a type.
///
/// # Errors
/// If the result cannot be cast to the type.
pub(super) fn take_back(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let array = arrow::compute::cast(array, &data_type(ty))?;
    if differs(ty) { ours(&array, ty) } else { Ok(array) }
}

/// Converts a column from the form of DataFusion's functions.
fn ours(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    if !differs(ty) {
        return Ok(array.clone());
    }
    Ok(match (&ty.kind, ty.arrow()) {
        (TypeKind::Array(e), DataType::List(field)) => {
            let list = array.as_list::<i32>();
            let items = ours(list.values(), e)?;
            Arc::new(ListArray::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?)
        }
        (TypeKind::Row(all), DataType::Struct(fields)) => {
            let columns = array.as_struct().columns().iter().zip(all).map(|(c, f)| ours(c, &f.ty));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields, columns, array.nulls().cloned())?)
        }
        (kind, DataType::Map(entries, _)) => {
            let map = array.as_map();
            let (k, v) = of_map(kind).ok_or_else(|| Error::internal("a map of another type"))?;
            let (keys, values) = (ours(map.keys(), k)?, ours(map.values(), v)?);
            maps::column(entries, map.offsets().clone(), keys, values, map.nulls().cloned())
        }
        (_, arrow) => {
            let nanos = array.as_primitive::<TimestampNanosecondType>();
            builder::column(
                &arrow,
                nanos.iter().map(|v| match v {
                    Some(v) => Value::Timestamp(v.div_euclid(1_000_000_000), v.rem_euclid(1_000_000_000) as u32),
                    None => Value::Null,
                }),
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_as_they_went() {
        let ty: SqlType = "ARRAY<ROW<`m` MAP<STRING, TIMESTAMP(9)>, `t` TIMESTAMP_LTZ(9)>>".parse().expect("a type");
        let row = |key: Value<'static>| {
            Value::Row(vec![Value::Map(vec![(key, Value::Timestamp(1, 2))]), Value::Timestamp(-1, 999_999_999)])
        };
        let all = vec![
            Value::List(vec![row(Value::Null)]),
            Value::Null,
            Value::List(vec![row(Value::text("a")), Value::Null, row(Value::text("b"))]),
        ];
        let array = builder::column(&ty.arrow(), all.clone());
        let message = hand_over(&array, &ty).expect_err("a NULL key").message;
        assert!(message.contains("NULL key"), "{message}");
        // The slice leaves out the row with the NULL key, which is still in the buffers.
        let there = hand_over(&array.slice(1, 2), &ty).expect("a column");
        assert_eq!(there.data_type(), &data_type(&ty));
        let back = take_back(&there, &ty).expect("a column");
        assert_eq!((0..2).map(|row| Value::read(&back, row)).collect::<Vec<_>>(), all[1..]);
    }
}
