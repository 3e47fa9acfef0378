//! The representation of maps in columns. SQL maps may have a NULL key, Arrow maps may not, so each key is in a struct of one field that is
//! never NULL itself. Only this module builds and reads such columns. Everything else uses [`Value::Map`](crate::Value::Map).

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use std::ops::Range;
use std::sync::Arc;

/// The Arrow type of a map.
pub fn data_type(key: DataType, value: DataType) -> DataType {
    let key = DataType::Struct(Fields::from(vec![Field::new("key", key, true)]));
    let entries = Fields::from(vec![Field::new("keys", key, false), Field::new("values", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// The types of a map's keys and values, if the type is a map.
pub fn parts(ty: &DataType) -> Option<(&DataType, &DataType)> {
    match ty {
        DataType::Map(entries, _) => of_entries(entries),
        _ => None,
    }
}

fn of_entries(entries: &Field) -> Option<(&DataType, &DataType)> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let [keys, values] = &fields[..] else { return None };
    match keys.data_type() {
        DataType::Struct(key) if key.len() == 1 => Some((key[0].data_type(), values.data_type())),
        _ => None,
    }
}

/// Builds a column of maps. `entries` is the field of the type's entries.
///
/// # Panics
/// If the parts do not have the types of `entries`, or have different lengths.
pub fn column(
    entries: FieldRef,
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let fields = |ty: &DataType| match ty {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    };
    let of_entries = fields(entries.data_type());
    let of_key = of_entries.first().map(|keys| fields(keys.data_type())).unwrap_or_default();
    let keys = Arc::new(StructArray::new(of_key, vec![keys], None));
    let all = StructArray::new(of_entries, vec![keys, values], None);
    Arc::new(MapArray::new(entries, offsets, all, nulls, false))
}

/// A column of maps, for reading.
#[derive(Debug, Clone, Copy)]
pub struct Maps<'a> {
    array: &'a MapArray,
    keys: &'a ArrayRef,
}

impl<'a> Maps<'a> {
    /// The maps of a column, if it contains maps.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        let array = array.as_map_opt()?;
        let keys = array.keys().as_struct_opt().filter(|keys| keys.num_columns() == 1)?.column(0);
        Some(Maps { array, keys })
    }
    /// The keys of all maps, which may be NULL.
    pub fn keys(&self) -> &'a ArrayRef {
        self.keys
    }
    /// The values of all maps.
    pub fn values(&self) -> &'a ArrayRef {
        self.array.values()
    }
    /// The range of a row's entries among the keys and values.
    pub fn entries(&self, row: usize) -> Range<usize> {
        let offsets = self.array.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }
    /// The ends of the rows' entries.
    pub fn offsets(&self) -> &'a OffsetBuffer<i32> {
        self.array.offsets()
    }
}

#[cfg(test)]
mod tests {
    use crate::{SqlType, Value, builder, key};
    use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
    use arrow::compute;

    fn maps() -> (SqlType, Vec<Value<'static>>) {
        let ty: SqlType = "MAP<STRING, MAP<INT, ROW<`a` INT>>>".parse().expect("a type");
        let row = |v: Value<'static>| Value::Row(vec![v]);
        let inner = Value::Map(vec![(Value::Int(1), row(Value::Null)), (Value::Null, row(Value::Int(2)))]);
        let all = vec![
            Value::Map(vec![(Value::text("a"), inner.clone()), (Value::Null, Value::Null)]),
            Value::Null,
            Value::Map(vec![]),
            Value::Map(vec![(Value::Null, inner)]),
        ];
        (ty, all)
    }

    fn read(array: &ArrayRef) -> Vec<Value<'static>> {
        (0..array.len()).map(|row| Value::read(array, row).into_owned()).collect()
    }

    #[test]
    fn null_keys_go_through_columns() {
        let (ty, all) = maps();
        let array = builder::column(&ty.arrow(), all.clone());
        assert_eq!(read(&array), all);
        let last = array.slice(3, 1);
        assert_eq!(read(&last), all[3..]);
        let keep = BooleanArray::from(vec![true, false, false, true]);
        let kept = compute::filter(&array, &keep).expect("a column");
        assert_eq!(read(&kept), [all[0].clone(), all[3].clone()]);
        let taken = compute::take(&array, &UInt32Array::from(vec![Some(3), None, Some(1)]), None).expect("a column");
        assert_eq!(read(&taken), [all[3].clone(), Value::Null, Value::Null]);
        let two = compute::concat(&[&last, &array]).expect("a column");
        assert_eq!(read(&two), [&all[3..], &all[..]].concat());
        let mixed = compute::interleave(&[&last, &array], &[(1, 0), (0, 0)]).expect("a column");
        assert_eq!(read(&mixed), [all[0].clone(), all[3].clone()]);
        let nothing = arrow::array::new_null_array(&ty.arrow(), 2);
        assert_eq!(read(&nothing), [Value::Null, Value::Null]);
    }

    #[test]
    fn null_keys_go_through_the_state() {
        let (ty, all) = maps();
        for v in all {
            let mut bytes = vec![];
            key::encode_value(&v, &ty.arrow(), &mut bytes);
            assert_eq!(key::decode_value(&ty.arrow(), &mut &bytes[..]).expect("a value"), sorted(v));
        }
    }

    /// The state has the entries of a map in the order of their bytes, NULL first.
    fn sorted(v: Value<'static>) -> Value<'static> {
        match v {
            Value::Map(mut entries) => {
                entries.sort_by_key(|(k, _)| !k.is_null());
                Value::Map(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
            }
            v => v,
        }
    }

    #[test]
    fn maps_of_older_state_are_read() {
        // Written when a column's keys were no structs: a map of 'a' to 1 and 'b' to NULL.
        let bytes = [1, 2, 1, b'a', 0, 0, 1, 0x80, 0, 0, 1, 2, 1, b'b', 0, 0, 0, 0];
        let ty: SqlType = "MAP<STRING, INT>".parse().expect("a type");
        let found = key::decode_value(&ty.arrow(), &mut &bytes[..]).expect("a value");
        let wanted = Value::Map(vec![(Value::text("a"), Value::Int(1)), (Value::text("b"), Value::Null)]);
        assert_eq!(found, wanted);
        let mut again = vec![];
        key::encode_value(&found, &ty.arrow(), &mut again);
        assert_eq!(again, bytes);
    }
}
