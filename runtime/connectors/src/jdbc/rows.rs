//! Rows in the form that databases take: each value is text or bytes, which the database converts to its column's type.

use super::statements::SqlDialect;
use crate::options::TableSpec;
pub(super) use crate::text_columns::Cell;
use weir_core::{Batch, Error, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::time::{self, Zone};

/// A row, and whether it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowChange {
    pub gone: bool,
    pub cells: Vec<Cell>,
}

impl RowChange {
    /// The row as JSON, for people. Numbers and booleans are such if their text is valid JSON.
    pub fn json(&self, schema: &Schema) -> String {
        let cells = self.cells.iter().zip(&schema.fields).map(|(cell, f)| {
            let text = cell.as_ref().map(|c| String::from_utf8_lossy(c).into_owned());
            let plain = f.ty.is_numeric() || matches!(f.ty.kind, TypeKind::Boolean);
            let value = match text {
                None => serde_json::Value::Null,
                Some(t) if plain => serde_json::from_str(&t).unwrap_or(serde_json::Value::String(t)),
                Some(t) => serde_json::Value::String(t),
            };
            (f.name.clone(), value)
        });
        serde_json::Value::Object(cells.collect()).to_string()
    }
}

/// Rejects columns whose types the databases do not have.
pub(super) fn check(table: &TableSpec, schema: &Schema) -> Result<()> {
    let nested = |t: &TypeKind| {
        matches!(t, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) | TypeKind::Null)
    };
    match schema.fields.iter().find(|f| nested(&f.ty.kind)) {
        None => Ok(()),
        Some(f) => {
            let (name, kind) = (&f.name, &f.ty.kind);
            let e =
                Error::script(format!("column '{name}' of table '{}' is {kind}, which no database has", table.name));
            Err(e.at(table.place).hint("take its parts, or JSON text: JSON_STRING(…)"))
        }
    }
}

pub(super) fn cell(value: &Value<'_>, ty: &SqlType, dialect: SqlDialect) -> Cell {
    Some(match (value, &ty.kind, dialect) {
        (Value::Null, ..) => return None,
        (Value::Bytes(b), ..) => b.to_vec(),
        (Value::Bool(b), _, SqlDialect::MySql) => vec![if *b { b'1' } else { b'0' }],
        (Value::Timestamp(..), TypeKind::TimestampLtz(_), SqlDialect::Postgres) => {
            let mut text = plain(value, ty).into_bytes();
            text.extend_from_slice(b"+00");
            text
        }
        _ => plain(value, ty).into_bytes(),
    })
}

/// A value as text. CAST would truncate years after 9999.
fn plain(value: &Value<'_>, ty: &SqlType) -> String {
    let digits = ty.time_digits().unwrap_or(3);
    match value {
        Value::Date(d) => time::date_text(*d).trim_start_matches('+').to_string(),
        Value::Timestamp(s, n) => time::timestamp_text(*s, *n, digits).trim_start_matches('+').to_string(),
        v => weir_expr::text::cast_text(v, ty, &Zone::UTC),
    }
}

/// The rows of a batch. An update's old row counts as a deletion: the new row follows, unless a filter drops it.
pub(super) fn of_batch(batch: &Batch, schema: &Schema, dialect: SqlDialect) -> Vec<RowChange> {
    (0..batch.rows())
        .map(|row| {
            let cells = batch.data.columns().iter().zip(&schema.fields);
            RowChange {
                gone: batch.kind(row).sign() < 0,
                cells: cells.map(|(c, f)| cell(&Value::read(c, row), &f.ty, dialect)).collect(),
            }
        })
        .collect()
}

/// Packs rows: for each, whether it is deleted, and for each column the length, `u32::MAX` for NULL, and the bytes. Numbers are
/// little-endian.
pub(super) fn pack(rows: &[RowChange], out: &mut Vec<u8>) {
    for r in rows {
        out.push(u8::from(r.gone));
        for c in &r.cells {
            out.extend_from_slice(&c.as_ref().map_or(u32::MAX, |c| c.len() as u32).to_le_bytes());
            out.extend_from_slice(c.as_deref().unwrap_or_default());
        }
    }
}

/// Unpacks rows with `columns` columns that [`pack`] has packed. It stops early at invalid bytes.
pub(super) fn unpack(mut bytes: &[u8], columns: usize) -> Vec<RowChange> {
    let mut next = move || -> Option<RowChange> {
        let (gone, mut rest) = bytes.split_first()?;
        let mut cells = Vec::with_capacity(columns);
        for _ in 0..columns {
            let (length, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            cells.push(match u32::from_le_bytes(*length) {
                u32::MAX => None,
                n => {
                    let (cell, after) = rest.split_at_checked(n as usize)?;
                    rest = after;
                    Some(cell.to_vec())
                }
            });
        }
        bytes = rest;
        Some(RowChange { gone: *gone != 0, cells })
    };
    std::iter::from_fn(&mut next).collect()
}

/// The last row of each key, in the order in which the keys first occurred; without a key, all rows.
pub(super) fn folded(rows: Vec<RowChange>, key: &[usize]) -> Vec<RowChange> {
    if key.is_empty() {
        return rows;
    }
    let mut places = std::collections::HashMap::new();
    let mut out: Vec<RowChange> = Vec::with_capacity(rows.len());
    for r in rows {
        let k: Vec<Cell> = key.iter().map(|i| r.cells[*i].clone()).collect();
        match places.entry(k) {
            std::collections::hash_map::Entry::Occupied(at) => out[*at.get()] = r,
            std::collections::hash_map::Entry::Vacant(v) => {
                v.insert(out.len());
                out.push(r);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_packed_and_folded() {
        let row = |gone, k: &str, v: Option<&str>| RowChange { gone, cells: vec![Some(k.into()), v.map(Into::into)] };
        let rows = vec![
            row(false, "a", Some("1")),
            row(false, "b", None),
            row(true, "a", Some("")),
            row(false, "b", Some("2")),
        ];
        let mut packed = vec![];
        pack(&rows, &mut packed);
        assert_eq!(unpack(&packed, 2), rows);
        assert_eq!(unpack(&packed[..packed.len() - 1], 2), rows[..3]);
        assert_eq!(folded(rows.clone(), &[0]), [row(true, "a", Some("")), row(false, "b", Some("2"))]);
        assert_eq!(folded(rows.clone(), &[]), rows);
    }
}
