//! Numbers in bytes that sort as the numbers do, for the keys of ordered entries.

/// A number in bytes that sort as the numbers do.
pub fn sortable(v: i64) -> [u8; 8] {
    (v ^ i64::MIN).to_be_bytes()
}

/// The number that these bytes stand for.
pub fn from_sortable(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}
