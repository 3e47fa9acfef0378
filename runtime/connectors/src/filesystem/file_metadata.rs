//! Metadata columns that belong to a file rather than to its records.

use super::FORMAT;
use crate::format::metadata::{converted, convertible};
use crate::format::{DecoderFactory, Widen, decoder};
use crate::options::TableSpec;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use weir_core::descriptor::Metadata;
use weir_core::{Error, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::Session;

/// The prefix of a file's metadata keys.
const PREFIX: &str = "file.";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Path,
    Name,
    Size,
    Modified,
}

const METADATA: [(Metadata, Of); 4] = [
    (Metadata::read("file.path", || SqlType::STRING), Of::Path),
    (Metadata::read("file.name", || SqlType::STRING), Of::Name),
    (Metadata::read("file.size", || SqlType::from(TypeKind::BigInt)), Of::Size),
    (Metadata::read("file.modification-time", || SqlType::from(TypeKind::TimestampLtz(3))), Of::Modified),
];

/// The metadata of files.
pub(super) const KEYS: [Metadata; 4] = Metadata::of(&METADATA);

impl Of {
    fn value(self, path: &Path) -> Result<Value<'static>> {
        let metadata = || {
            std::fs::metadata(path).map_err(|e| Error::data(format!("cannot look at {}", path.display())).caused_by(e))
        };
        Ok(match self {
            Of::Path => Value::string(std::path::absolute(path).as_deref().unwrap_or(path).display().to_string()),
            Of::Name => Value::string(path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            Of::Size => Value::Int(metadata()?.len().cast_signed()),
            Of::Modified => {
                let modified = metadata()?.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
                let millis = modified.map_or(0, |d| d.as_millis() as i64);
                Value::Timestamp(millis.div_euclid(1_000), millis.rem_euclid(1_000) as u32 * 1_000_000)
            }
        })
    }
}

/// The columns that are read: each belongs to the record, by its index among the record's columns, or to the file.
pub(super) struct FileMetadata {
    columns: Vec<std::result::Result<usize, (Of, SqlType, SqlType)>>,
    schema: Schema,
    session: Arc<Session>,
}

/// The columns of a table that come from records, including metadata of the format.
pub(super) fn of_records(table: &TableSpec) -> Vec<usize> {
    let file = |c: usize| table.metadata[c].as_deref().is_some_and(|m| m.starts_with(PREFIX));
    (0..table.schema.len()).filter(|c| !file(*c)).collect()
}

impl FileMetadata {
    /// The decoder of a table's records, and the metadata of files if the table has any.
    pub fn of(table: &TableSpec) -> Result<(DecoderFactory, Option<Self>)> {
        let fields = of_records(table);
        let decoder = decoder(table, &table.value(&FORMAT)?, "", &fields)?;
        if fields.len() == table.schema.len() {
            return Ok((decoder, None));
        }
        let mut columns = vec![];
        for c in &table.columns {
            let place = table.columns.iter().filter(|c| fields.contains(c)).position(|r| r == c);
            if let Some(place) = place {
                columns.push(Ok(place));
                continue;
            }
            let (field, key) = (&table.schema.fields[*c], table.metadata[*c].as_deref().unwrap_or_default());
            let Some((m, of)) = METADATA.iter().find(|(m, _)| m.key == key) else {
                return Err(Error::internal(format!("there is no metadata '{key}'")));
            };
            let from = (m.ty)();
            convertible(&from, field, key).map_err(|e| e.at(table.place))?;
            columns.push(Err((*of, from, field.ty.clone())));
        }
        Ok((decoder, Some(FileMetadata { columns, schema: table.projected(), session: table.session.clone() })))
    }

    /// How columns of a file's metadata are added to the rows of its records.
    pub fn of_file(&self, path: &Path) -> Result<Widen> {
        let column = |c: &std::result::Result<usize, (Of, SqlType, SqlType)>| {
            Ok(match c {
                Ok(place) => Ok(*place),
                Err((of, from, to)) => Err(converted(&of.value(path)?, from, to, &self.session)?),
            })
        };
        let columns = self.columns.iter().map(column).collect::<Result<_>>()?;
        Ok(Widen { schema: self.schema.arrow(), columns })
    }
}
