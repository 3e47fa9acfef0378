//! The queries that read a table: one for the whole table, or one for each range of the partition column.

use super::config::JdbcConfig;
use super::statements::DatabaseColumn;
use weir_core::Schema;

/// A range of the partition column: its lower bound and its exclusive upper bound, if it has them.
pub(super) type PartitionRange = (Option<i64>, Option<i64>);

/// The table or query to read.
pub(super) struct Scan {
    pub config: JdbcConfig,
    pub schema: Schema,
    /// The query to read instead of the table.
    pub query: Option<String>,
    /// The column whose ranges are the splits.
    pub partition: Option<String>,
    /// How many rows to fetch at a time.
    pub fetch: usize,
}

impl Scan {
    /// The table or query, for messages.
    pub fn what(&self) -> String {
        let query = if self.query.is_some() { "the query on " } else { "table " };
        format!("{query}{}", self.config.what())
    }

    /// The query for the rows of a range after the values `after` of a key, in the key's order, and the query's parameters.
    pub fn select(
        &self,
        range: Option<PartitionRange>,
        key: &[DatabaseColumn],
        after: &[String],
    ) -> (String, Vec<String>) {
        let dialect = self.config.dialect;
        let mut columns: Vec<String> = vec![dialect.texts(&self.schema)];
        columns.extend(key.iter().map(|k| dialect.text(&k.name)));
        columns.retain(|c| !c.is_empty());
        let columns = if columns.is_empty() { "NULL".to_string() } else { columns.join(", ") };
        let rows = match &self.query {
            Some(q) => format!("({q}) weir_rows"),
            None => format!("{} weir_rows", dialect.quoted(&self.config.table)),
        };
        let mut conditions = vec![];
        let mut parameters = vec![];
        if let (Some(column), Some((low, high))) = (&self.partition, range) {
            let column = dialect.quoted(column);
            conditions.extend(low.map(|l| format!("{column} >= {l}")));
            conditions.extend(high.map(|h| format!("{column} < {h}")));
            if low.is_none() && high.is_some() {
                // Rows with NULL are in the first range.
                conditions = vec![format!("({} OR {column} IS NULL)", conditions.join(" AND "))];
            }
        }
        if !after.is_empty() {
            let (behind, values) = dialect.behind(key, after);
            conditions.push(behind);
            parameters = values;
        }
        let mut sql = format!("SELECT {columns} FROM {rows}");
        if !conditions.is_empty() {
            sql += &format!(" WHERE {}", conditions.join(" AND "));
        }
        if !key.is_empty() {
            // By the table's column. Its text has the same name in the result.
            let order = key.iter().map(|c| format!("weir_rows.{}", dialect.quoted(&c.name)));
            sql += &format!(" ORDER BY {}", order.collect::<Vec<_>>().join(", "));
        }
        (sql, parameters)
    }
}

/// Divides the values between two bounds into ranges of about the same size. The first range has no lower bound and the last one no upper
/// bound, so each row is in exactly one.
pub(super) fn ranges(count: i64, low: i64, high: i64) -> Vec<PartitionRange> {
    let (low, high) = (i128::from(low), i128::from(high));
    let values = high - low + 1;
    let count = i128::from(count).min(values);
    let bounds: Vec<i64> = (1..count).filter_map(|i| i64::try_from(low + i * values / count).ok()).collect();
    let begins = std::iter::once(None).chain(bounds.iter().copied().map(Some));
    let ends = bounds.iter().copied().map(Some).chain(std::iter::once(None));
    begins.zip(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_range() {
        assert_eq!(ranges(1, 5, 5), [(None, None)]);
        assert_eq!(ranges(3, 0, 8), [(None, Some(3)), (Some(3), Some(6)), (Some(6), None)]);
        assert_eq!(ranges(i64::MAX, 1, 3), [(None, Some(2)), (Some(2), Some(3)), (Some(3), None)]);
        assert_eq!(ranges(2, i64::MIN, i64::MAX), [(None, Some(0)), (Some(0), None)]);
        let many = ranges(10_000, i64::MIN, i64::MAX);
        assert_eq!(many.len(), 10_000);
        assert!(many.windows(2).all(|w| w[0].1 == w[1].0 && w[0].0 < w[0].1));
    }
}
