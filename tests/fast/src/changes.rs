//! What changes add up to.

use std::collections::BTreeMap;

/// The rows that a changelog adds up to. Each row is there as often as its number says.
///
/// # Panics
/// If it takes back a row that is not there.
pub fn added_up(changes: &[String]) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    for line in changes {
        let (kind, row) = line.split_at(2);
        let count = rows.entry(row.to_string()).or_insert(0);
        *count += if matches!(kind, "+I" | "+U") { 1 } else { -1 };
        assert!(*count >= 0, "{line} takes back what is not there");
    }
    rows.retain(|_, count| *count > 0);
    rows
}
