//! Top-N: sort keys, and how much of a partition is kept.

/// A column of a sort order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub column: usize,
    /// Whether the order is descending.
    pub descending: bool,
    /// Whether NULLs come before all values.
    pub nulls_first: bool,
}

/// How much of a partition a Top-N keeps. The choice is the same as in Flink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RankStrategy {
    /// The input is append-only: the rows of the range are kept.
    Append,
    /// Rows that are equal in these columns replace each other, and only move towards the front: the rows of the range are kept.
    Update(Vec<usize>),
    /// Any row may be retracted: all rows are kept.
    Retract,
}

impl RankStrategy {
    /// Whether the best row of a partition is all that is kept, for a range of ranks.
    pub fn keeps_best(&self, ranks: (u64, u64)) -> bool {
        *self == RankStrategy::Append && ranks == (1, 1)
    }
}
