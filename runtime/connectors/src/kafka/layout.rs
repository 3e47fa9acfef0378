//! Which columns of a table are in a message's key, which in its value, and which are its metadata.

use crate::options::TableSpec;
use weir_core::{Error, Result};

/// The metadata of a message that a column may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Offset,
    Timestamp,
    TimestampType,
    LeaderEpoch,
    Headers,
}

const METADATA: &[(&str, Metadata)] = &[
    ("topic", Metadata::Topic),
    ("partition", Metadata::Partition),
    ("offset", Metadata::Offset),
    ("timestamp", Metadata::Timestamp),
    ("timestamp-type", Metadata::TimestampType),
    ("leader-epoch", Metadata::LeaderEpoch),
    ("headers", Metadata::Headers),
];

/// A table's columns.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Columns of the value, in the order of its format.
    pub value: Vec<usize>,
    /// The value's format, and what its options begin with.
    pub value_format: (String, &'static str),
    /// Columns of the key.
    pub key: Vec<usize>,
    /// The key's format.
    key_format: Option<String>,
    /// The prefix that the names of the key's columns have in the table, and not in the key.
    key_prefix: String,
    /// Metadata columns.
    pub metadata: Vec<(usize, Metadata)>,
}

/// The columns that a message's value has, its format, and what the format's options begin with.
pub(crate) fn value_of(table: &TableSpec) -> Result<(Vec<usize>, String, &'static str)> {
    let layout = Layout::new(table, false)?;
    let (format, prefix) = layout.value_format;
    Ok((layout.value, format, prefix))
}

impl Layout {
    /// From a table's options; `upsert` when the key is the primary key.
    pub fn new(table: &TableSpec, upsert: bool) -> Result<Self> {
        let mut metadata = vec![];
        for (i, key) in table.metadata.iter().enumerate() {
            let Some(key) = key else { continue };
            if key.starts_with("value.") {
                // The value's format knows it.
                continue;
            }
            let found = METADATA.iter().find(|(n, _)| n == key).ok_or_else(|| {
                Error::script(format!("there is no metadata '{key}' (column '{}')", table.schema.fields[i].name))
                    .at(table.place)
                    .hint("Kafka has topic, partition, offset, timestamp, timestamp-type, leader-epoch and headers")
            })?;
            metadata.push((i, found.1));
        }
        let of_format = |i: usize| table.metadata[i].as_deref().is_some_and(|m| m.starts_with("value."));
        let physical: Vec<usize> = (0..table.schema.len()).filter(|i| table.metadata[*i].is_none()).collect();
        let value_format = match (table.get("value.format"), table.get("format")) {
            (Some(_), Some(_)) => {
                let e = Error::script("'format' and 'value.format' are the same thing; give one");
                return Err(e.at(table.place_of("format")));
            }
            (Some(f), None) => (f.to_string(), "value."),
            (None, Some(f)) => (f.to_string(), ""),
            (None, None) => {
                return Err(Error::script(format!("table '{}' lacks the option 'format'", table.name)).at(table.place));
            }
        };
        let key_format = table.get("key.format").map(str::to_string);
        let key = match (upsert, table.get("key.fields"), &key_format) {
            (true, Some(_), _) => {
                let e = Error::script("upsert-kafka takes its key's fields from the primary key");
                return Err(e.at(table.place_of("key.fields")).hint("leave 'key.fields' out"));
            }
            (true, None, None) => {
                return Err(
                    Error::script(format!("table '{}' lacks the option 'key.format'", table.name)).at(table.place)
                );
            }
            (true, None, Some(_)) => table.key.clone(),
            (false, Some(fields), Some(_)) => {
                let position = |name: &str| {
                    physical.iter().copied().find(|i| table.schema.fields[*i].name == name).ok_or_else(|| {
                        Error::script(format!("'key.fields' names '{name}', which is no column"))
                            .at(table.place_of("key.fields"))
                    })
                };
                fields.split(';').filter(|f| !f.is_empty()).map(position).collect::<Result<_>>()?
            }
            (false, Some(_), None) => {
                let e = Error::script("'key.fields' needs 'key.format'");
                return Err(e.at(table.place_of("key.fields")));
            }
            (false, None, Some(_)) => {
                let e = Error::script("'key.format' needs 'key.fields', the columns of the key");
                return Err(e.at(table.place_of("key.format")));
            }
            (false, None, None) => vec![],
        };
        let key_prefix = table.get("key.fields-prefix").unwrap_or_default().to_string();
        let all = table.get("value.fields-include").unwrap_or("ALL") == "ALL";
        let odd = key.iter().map(|k| &table.schema.fields[*k].name).find(|n| !n.starts_with(&key_prefix));
        if let Some(name) = odd {
            let e = Error::script(format!("the key's column '{name}' does not begin with '{key_prefix}'"));
            return Err(e.at(table.place_of("key.fields-prefix")));
        }
        if !key_prefix.is_empty() && all {
            let e = Error::script("'key.fields-prefix' goes with 'value.fields-include' = 'EXCEPT_KEY'");
            return Err(e.at(table.place_of("key.fields-prefix")).hint("in the value the names would have it as well"));
        }
        let mut value: Vec<usize> = match table.get("value.fields-include").unwrap_or("ALL") {
            "ALL" => physical,
            "EXCEPT_KEY" => physical.into_iter().filter(|i| !key.contains(i)).collect(),
            other => {
                let e = Error::script(format!("'value.fields-include' is ALL or EXCEPT_KEY, not '{other}'"));
                return Err(e.at(table.place_of("value.fields-include")));
            }
        };
        value.extend((0..table.schema.len()).filter(|i| of_format(*i)));
        value.sort_unstable();
        Ok(Layout { value, value_format, key, key_format, key_prefix, metadata })
    }

    /// What is made of the key's columns, if messages have such.
    pub fn key_part<T>(&self, table: &TableSpec, make: impl FnOnce(&TableSpec) -> Result<T>) -> Result<Option<T>> {
        let Some(format) = &self.key_format else { return Ok(None) };
        table.part_without("key.", &self.key, &self.key_prefix, format, make).map(Some)
    }
}
