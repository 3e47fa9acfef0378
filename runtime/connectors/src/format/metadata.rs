//! What is beside a record's fields, as a column of any type that it can be cast to.

use arrow::array::ArrayRef;
use std::sync::Arc;
use weir_core::{ColumnBuilder, Error, Field, Result, SqlType, Value};
use weir_expr::{EvalContext, Session, cast};

/// Whether a column's type is one that a metadata's type can be cast to.
///
/// # Errors
/// When it is not.
pub(crate) fn convertible(from: &SqlType, field: &Field, key: &str) -> Result<()> {
    if cast::allowed(from, &field.ty) {
        return Ok(());
    }
    let e = format!("column '{}' is {}, and the metadata '{key}' is {}", field.name, field.ty.kind, from.kind);
    Err(Error::script(e).hint(format!("declare it as {}", from.kind)))
}

/// A value of a metadata's type as a column's, in an array of its own.
///
/// # Errors
/// When the cast fails.
pub(crate) fn converted(value: &Value<'_>, from: &SqlType, to: &SqlType, session: &Arc<Session>) -> Result<ArrayRef> {
    let mut one = ColumnBuilder::new(&from.arrow());
    one.push(value);
    cast::cast(&one.finish(), from, to, false, &mut EvalContext::new(session.clone()))
}
