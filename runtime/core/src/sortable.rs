//! Encodes numbers as bytes that sort in the same order, for the keys of ordered entries.

/// Encodes a number as bytes that sort in the order of the numbers.
pub fn sortable(v: i64) -> [u8; 8] {
    (v ^ i64::MIN).to_be_bytes()
}

/// Decodes such a number.
pub fn from_sortable(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}
