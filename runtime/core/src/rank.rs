//! Top-Ns: what rows are sorted by, and how much of a partition is kept.

/// A column that rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// The column.
    pub column: usize,
    /// Whether the greatest value comes first.
    pub descending: bool,
    /// Whether NULLs come before all values.
    pub nulls_first: bool,
}

/// How much of a partition a Top-N keeps, as Flink chooses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RankStrategy {
    /// Rows only come: those that are in the range.
    Append,
    /// Rows that are equal in these columns replace each other, and only ever move towards the front: those that are in the range.
    Update(Vec<usize>),
    /// Any row may go: all of them.
    Retract,
}
