//! What a sink's table says of its columns: NOT NULL, and the lengths of CHAR, VARCHAR, BINARY and VARBINARY.

use crate::types::UNBOUNDED;
use crate::{Error, Result, Schema, SqlType, TypeKind};

/// What is asked of rows, and what becomes of those that do not keep to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether rows with NULL where there must be none are left out, rather than ending the job.
    pub drops_null: bool,
    /// Whether fields of rows are looked at too.
    pub rows: bool,
    /// Whether elements of collections are.
    pub collections: bool,
    /// Whether values of another length are cut and filled up, or else end the job; none: they pass.
    pub fits_length: Option<bool>,
}

/// The length that a value of a type has at most, and whether it has no other.
pub fn length(ty: &SqlType) -> Option<(usize, bool)> {
    match ty.kind {
        TypeKind::Char(n) | TypeKind::Binary(n) => Some((n as usize, true)),
        TypeKind::Varchar(n) | TypeKind::Varbinary(n) if n < UNBOUNDED => Some((n as usize, false)),
        _ => None,
    }
}

/// The constraints of a table that are held against rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraints {
    /// What is asked.
    pub rules: Rules,
    /// The columns that must not be NULL.
    pub not_null: Vec<usize>,
    /// The columns with something within that must not be NULL, or has a length.
    pub nested: Vec<usize>,
    /// The columns with a length.
    pub lengths: Vec<usize>,
}

impl Constraints {
    /// Those of a table of these columns; none where it says nothing that is to be held against rows.
    ///
    /// # Errors
    /// When values within collections would have to be cut, which Flink does not do either.
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

/// The types within a type, as far as the rules look there, and whether they are of a collection.
fn within(ty: &SqlType, rules: Rules) -> (Vec<&SqlType>, bool) {
    match &ty.kind {
        TypeKind::Row(fields) if rules.rows => (fields.iter().map(|f| &f.ty).collect(), false),
        TypeKind::Array(e) | TypeKind::Multiset(e) if rules.collections => (vec![e], true),
        TypeKind::Map(k, v) if rules.collections => (vec![k, v], true),
        _ => (vec![], false),
    }
}

/// Whether something within values of a type must not be NULL, or has a length.
fn asks_within(ty: &SqlType, rules: Rules) -> bool {
    let asks =
        |t: &&SqlType| !t.nullable || rules.fits_length.is_some() && length(t).is_some() || asks_within(t, rules);
    within(ty, rules).0.iter().any(asks)
}

/// Whether there are lengths within a collection.
fn cuts_within(ty: &SqlType, rules: Rules, collection: bool) -> bool {
    let (types, here) = within(ty, rules);
    let collection = collection || here;
    types.into_iter().any(|t| collection && length(t).is_some() || cuts_within(t, rules, collection))
}
