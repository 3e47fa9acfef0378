//! How large values may be: one bound for all functions, casts and aggregates, so that no row takes the memory of the others, and one for what a
//! batch's column holds.

use weir_core::Value;

/// Bytes of one value.
pub const MOST_OF_VALUE: usize = 64 << 20;
/// Bytes of a column of a batch. Arrow counts them with 31 bits; a batch that would hold more is evaluated in parts.
pub const MOST_OF_BATCH: usize = 256 << 20;

/// Refuses a value of so many bytes; functions whose results can be much longer than their arguments ask before they begin.
///
/// # Errors
/// When it is more than a value may have.
pub fn fits(bytes: usize) -> Result<(), String> {
    if bytes > MOST_OF_VALUE {
        return Err(format!("the result would be longer than {} MiB", MOST_OF_VALUE >> 20));
    }
    Ok(())
}

/// What a value takes in its column.
pub fn of(value: &Value<'_>) -> usize {
    match value {
        Value::Text(t) => t.len(),
        Value::Bytes(b) => b.len(),
        Value::List(items) | Value::Row(items) => items.iter().map(|i| 8 + of(i)).sum(),
        Value::Map(items) => items.iter().map(|(k, v)| 16 + of(k) + of(v)).sum(),
        Value::Decimal(..) => 16,
        _ => 8,
    }
}
