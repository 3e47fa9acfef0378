//! Which columns of a table are in a record's key, which in its value, and which are its metadata.

use super::{FORMAT, INCLUDED, Included, KEY_FORMAT, KEY_PREFIX, KEYS, VALUE_FORMAT};
use crate::format::{Format, of_key};
use crate::options::TableSpec;
use crate::registered::RecordFormat;
use weir_core::descriptor::Metadata as Of;
use weir_core::{Error, Result, SqlType, TypeKind};

/// Metadata of a record that a column may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageField {
    Topic,
    Partition,
    Offset,
    Timestamp,
    TimestampType,
    LeaderEpoch,
    Headers,
}

const METADATA: [(Of, MessageField); 7] = [
    (Of::read("topic", || SqlType::STRING), MessageField::Topic),
    (Of::read("partition", || SqlType::from(TypeKind::Int)), MessageField::Partition),
    (Of::read("offset", || SqlType::from(TypeKind::BigInt)), MessageField::Offset),
    (Of::written("timestamp", || SqlType::from(TypeKind::TimestampLtz(3))), MessageField::Timestamp),
    (Of::read("timestamp-type", || SqlType::STRING), MessageField::TimestampType),
    (Of::read("leader-epoch", || SqlType::from(TypeKind::Int)), MessageField::LeaderEpoch),
    (Of::written("headers", headers), MessageField::Headers),
];

fn headers() -> SqlType {
    let bytes = SqlType::from(TypeKind::Varbinary(u32::MAX));
    SqlType::from(TypeKind::Map(Box::new(SqlType::STRING), Box::new(bytes)))
}

/// The metadata of records.
pub(super) const METADATA_KEYS: [Of; 7] = Of::of(&METADATA);

/// A table's columns.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Columns of the value, in the order of its format.
    pub value: Vec<usize>,
    /// The value's format, and the prefix of the format's options.
    pub value_format: (String, &'static str),
    /// Columns of the key.
    pub key: Vec<usize>,
    /// The key's format.
    key_format: Option<String>,
    /// The prefix that the key's columns have in the table, but not in the key.
    key_prefix: String,
    /// Metadata columns.
    pub metadata: Vec<(usize, MessageField)>,
}

/// The columns of a record's value, their format, and the prefix of the format's options.
pub(super) fn value_of(table: &TableSpec) -> Result<RecordFormat> {
    let layout = Layout::new(table, false)?;
    let (format, prefix) = layout.value_format;
    Ok((layout.value, format, prefix))
}

impl Layout {
    /// Reads a table's options. With `upsert`, the key is the primary key.
    pub fn new(table: &TableSpec, upsert: bool) -> Result<Self> {
        let mut metadata = vec![];
        for (i, key) in table.metadata.iter().enumerate() {
            let Some(key) = key else { continue };
            if key.starts_with("value.") {
                // The value's format knows it.
                continue;
            }
            let found = METADATA.iter().find(|(m, _)| m.key == key);
            let found = found.ok_or_else(|| Error::internal(format!("there is no metadata '{key}'")))?;
            metadata.push((i, found.1));
        }
        let of_format = |i: usize| table.metadata[i].as_deref().is_some_and(|m| m.starts_with("value."));
        let physical: Vec<usize> = (0..table.schema.len()).filter(|i| table.metadata[*i].is_none()).collect();
        let value_format = match (table.get(&VALUE_FORMAT)?, table.get(&FORMAT)?) {
            (Some(_), Some(_)) => {
                let e = Error::script("'format' and 'value.format' are the same thing; give one");
                return Err(e.at(table.place_of(&FORMAT)));
            }
            (Some(f), None) => (f, "value."),
            (None, Some(f)) => (f, ""),
            (None, None) => {
                return Err(Error::script(format!("table '{}' lacks the option 'format'", table.name)).at(table.place));
            }
        };
        let key_format = table.get(&KEY_FORMAT)?;
        let key_fields = if upsert { None } else { table.get(&KEYS)? };
        let key = match (upsert, key_fields, &key_format) {
            (true, _, None) => {
                return Err(
                    Error::script(format!("table '{}' lacks the option 'key.format'", table.name)).at(table.place)
                );
            }
            (true, _, Some(_)) => table.key.clone(),
            (false, Some(fields), Some(_)) => {
                let position = |name: &String| {
                    physical.iter().copied().find(|i| table.schema.fields[*i].name == *name).ok_or_else(|| {
                        Error::script(format!("'key.fields' names '{name}', which is no column"))
                            .at(table.place_of(&KEYS))
                    })
                };
                fields.iter().map(position).collect::<Result<_>>()?
            }
            (false, Some(_), None) => {
                let e = Error::script("'key.fields' needs 'key.format'");
                return Err(e.at(table.place_of(&KEYS)));
            }
            (false, None, Some(_)) => {
                let e = Error::script("'key.format' needs 'key.fields', the columns of the key");
                return Err(e.at(table.place_of(&KEY_FORMAT)));
            }
            (false, None, None) => vec![],
        };
        let key_prefix = table.value(&KEY_PREFIX)?;
        let all = table.value(&INCLUDED)? == Included::All;
        let odd = key.iter().map(|k| &table.schema.fields[*k].name).find(|n| !n.starts_with(&key_prefix));
        if let Some(name) = odd {
            let e = Error::script(format!("the key's column '{name}' does not begin with '{key_prefix}'"));
            return Err(e.at(table.place_of(&KEY_PREFIX)));
        }
        if !key_prefix.is_empty() && all {
            let e = Error::script("'key.fields-prefix' goes with 'value.fields-include' = 'EXCEPT_KEY'");
            return Err(e.at(table.place_of(&KEY_PREFIX)).hint("in the value the names would have it as well"));
        }
        let mut value: Vec<usize> = physical.into_iter().filter(|i| all || !key.contains(i)).collect();
        value.extend((0..table.schema.len()).filter(|i| of_format(*i)));
        value.sort_unstable();
        Ok(Layout { value, value_format, key, key_format, key_prefix, metadata })
    }

    /// Creates something from the key's columns, such as a decoder, if records have a key.
    pub fn key_part<T>(
        &self,
        table: &TableSpec,
        make: impl FnOnce(&Format, &TableSpec) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(format) = &self.key_format else { return Ok(None) };
        of_key(table, format, &self.key, &self.key_prefix, make).map(Some)
    }
}
