//! Converts metadata of records to the types of the columns that read it.

use arrow::array::ArrayRef;
use std::sync::Arc;
use weir_core::{ColumnBuilder, Error, Field, Result, SqlType, Value};
use weir_expr::{EvalContext, Session, cast};

/// Checks that metadata can be cast to its column's type.
///
/// # Errors
/// If it cannot.
pub(crate) fn convertible(from: &SqlType, field: &Field, key: &str) -> Result<()> {
    if cast::allowed(from, &field.ty) {
        return Ok(());
    }
    let e = format!("column '{}' is {}, and the metadata '{key}' is {}", field.name, field.ty.kind, from.kind);
    Err(Error::script(e).hint(format!("declare it as {}", from.kind)))
}

/// Casts a metadata value to its column's type, and returns it as an array of one value.
///
/// # Errors
/// If the cast fails.
pub(crate) fn converted(value: &Value<'_>, from: &SqlType, to: &SqlType, session: &Arc<Session>) -> Result<ArrayRef> {
    let mut one = ColumnBuilder::new(&from.arrow());
    one.push(value);
    cast::cast(&one.finish(), from, to, false, &mut EvalContext::new(session.clone()))
}
