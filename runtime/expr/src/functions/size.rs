//! Limits for the size of values: one for all functions, casts and aggregates, so that no row takes the memory of the others, and one for a
//! column of a batch.

use weir_core::Value;

/// Maximum size of a value in bytes.
pub const MOST_OF_VALUE: usize = 64 << 20;
/// Maximum size of a column of a batch in bytes. Arrow has 31 bits for it. A larger batch is evaluated in parts.
pub const MOST_OF_BATCH: usize = 256 << 20;

/// Checks the size of a value. Functions whose results can be much longer than their arguments check it before they begin.
///
/// # Errors
/// If the value would be too large.
pub fn fits(bytes: usize) -> Result<(), String> {
    if bytes > MOST_OF_VALUE {
        return Err(format!("the result would be longer than {} MiB", MOST_OF_VALUE >> 20));
    }
    Ok(())
}

/// The size of a value in its column, in bytes.
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
