//! Constraints of a sink's columns: NOT NULL, and the lengths of CHAR, VARCHAR, BINARY and VARBINARY.

use crate::types::UNBOUNDED;
use crate::{Error, Result, Schema, SqlType, TypeKind};

/// Which constraints are enforced, and what happens to rows that violate them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether rows with a NULL in a NOT NULL column are dropped. Otherwise they end the job.
    pub drops_null: bool,
    /// Whether constraints of fields of rows are enforced too.
    pub rows: bool,
    /// Whether constraints of elements of collections are enforced too.
    pub collections: bool,
    /// Whether values of another length are trimmed or padded. Otherwise they end the job. None: lengths are not enforced.
    pub fits_length: Option<bool>,
}

/// The maximum length of values of a type, and whether they must have exactly this length.
pub fn length(ty: &SqlType) -> Option<(usize, bool)> {
    match ty.kind {
        TypeKind::Char(n) | TypeKind::Binary(n) => Some((n as usize, true)),
        TypeKind::Varchar(n) | TypeKind::Varbinary(n) if n < UNBOUNDED => Some((n as usize, false)),
        _ => None,
    }
}

/// The enforced constraints of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraints {
    /// The rules of enforcement.
    pub rules: Rules,
    /// The NOT NULL columns.
    pub not_null: Vec<usize>,
    /// The columns with nested values that are NOT NULL or have a length.
    pub nested: Vec<usize>,
    /// The columns with a length.
    pub lengths: Vec<usize>,
}

impl Constraints {
    /// The constraints of a table with these columns; none if there is nothing to enforce.
    ///
    /// # Errors
    /// If values within collections would have to be trimmed, which Flink does not support either.
    pub fn of(table: &str, schema: &Schema, rules: Rules) -> Result<Option<Constraints>> {
        let those = |f: &dyn Fn(&SqlType) -> bool| -> Vec<usize> {
            schema.fields.iter().enumerate().filter(|(_, c)| f(&c.ty)).map(|(i, _)| i).collect()
        };
        let not_null = those(&|t| !t.nullable);
        let nested = those(&|t| asks_within(t, rules));
        let lengths = those(&|t| rules.fits_length.is_some() && length(t).is_some());
        if let Some(c) =
            schema.fields.iter().find(|f| rules.fits_length == Some(true) && cuts_within(&f.ty, rules, false))
        {
            let e = Error::script(format!("column '{}' of table '{table}' has lengths within a collection", c.name));
            return Err(e.hint(
                "'table.exec.sink.type-length-enforcer' = 'TRIM_PAD' does not go with ROWS_AND_COLLECTIONS there",
            ));
        }
        let idle = not_null.is_empty() && nested.is_empty() && lengths.is_empty();
        Ok((!idle).then_some(Constraints { rules, not_null, nested, lengths }))
    }
}

/// The types nested in a type for which the rules apply, and whether they are elements of a collection.
fn within(ty: &SqlType, rules: Rules) -> (Vec<&SqlType>, bool) {
    match &ty.kind {
        TypeKind::Row(fields) if rules.rows => (fields.iter().map(|f| &f.ty).collect(), false),
        TypeKind::Array(e) | TypeKind::Multiset(e) if rules.collections => (vec![e], true),
        TypeKind::Map(k, v) if rules.collections => (vec![k, v], true),
        _ => (vec![], false),
    }
}

/// Whether nested values of a type are NOT NULL or have a length.
fn asks_within(ty: &SqlType, rules: Rules) -> bool {
    let asks =
        |t: &&SqlType| !t.nullable || rules.fits_length.is_some() && length(t).is_some() || asks_within(t, rules);
    within(ty, rules).0.iter().any(asks)
}

/// Whether there are types with a length within a collection.
fn cuts_within(ty: &SqlType, rules: Rules, collection: bool) -> bool {
    let (types, here) = within(ty, rules);
    let collection = collection || here;
    types.into_iter().any(|t| collection && length(t).is_some() || cuts_within(t, rules, collection))
}
