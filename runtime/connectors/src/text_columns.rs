//! Values that external systems return as text.

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use std::borrow::Cow;
use std::sync::Arc;
use weir_core::{Batch, Error, Result, Schema, SqlType, TypeKind};
use weir_expr::{EvalContext, Session, cast};

/// A value: text, or the bytes of a binary column.
pub(crate) type Cell = Option<Vec<u8>>;

/// Converts rows of texts to a batch with the columns' types. `what` names their table for messages.
///
/// # Errors
/// If a text is not a valid value of its column's type.
pub(crate) fn batch(rows: &[Vec<Cell>], schema: &Schema, what: &str, session: &Arc<Session>) -> Result<Batch> {
    let mut columns: Vec<ArrayRef> = vec![];
    let mut context = EvalContext::new(session.clone());
    for (i, f) in schema.fields.iter().enumerate() {
        let cells = rows.iter().map(|r| r[i].as_deref());
        if f.ty.is_bytes() {
            columns.push(Arc::new(cells.collect::<BinaryArray>()));
            continue;
        }
        let boolean = f.ty.kind == TypeKind::Boolean;
        let text = cells.map(|c| {
            c.map(|c| match (boolean, c) {
                (true, b"1") => "true".into(),
                (true, b"0") => "false".into(),
                // As in a cast of bytes, invalid UTF-8 is shown as such.
                _ => String::from_utf8_lossy(c),
            })
        });
        let text: ArrayRef =
            Arc::new(text.collect::<Vec<Option<Cow<'_, str>>>>().iter().map(Option::as_deref).collect::<StringArray>());
        let made = cast::cast(&text, &SqlType::STRING, &f.ty, false, &mut context);
        let named = |e: Error| e.context(format!("column '{}' of {what}", f.name));
        columns.push(made.map_err(named)?);
    }
    Batch::from_columns(schema.arrow(), columns, rows.len())
}
