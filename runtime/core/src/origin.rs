//! Where rows came from, for errors and dead letters.

use crate::watermarks::SplitId;
use std::sync::Arc;

/// What a source knows of the records behind a batch that it gave out. It is asked only when a row fails.
pub trait Origin: Send + Sync + std::fmt::Debug {
    /// Where the record of a row stood (file and line, or topic, partition and offset), and its bytes where they are kept.
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>);
    /// The split that a row was read from; the first where a source has but one.
    fn split(&self, _row: u32) -> SplitId {
        SplitId::default()
    }
}

/// The origins of a batch's rows, which stay with them through filters and projections.
#[derive(Debug, Clone)]
pub struct Origins {
    from: Arc<dyn Origin>,
    /// The rows of what the source gave out; none while they are all there.
    rows: Option<Arc<[u32]>>,
}

impl Origins {
    /// Those of a batch as the source gives it out.
    pub fn new(from: Arc<dyn Origin>) -> Self {
        Origins { from, rows: None }
    }
    /// See [`Origin::of`].
    pub fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        self.from.of(self.row(row))
    }
    /// See [`Origin::split`].
    pub fn split(&self, row: u32) -> SplitId {
        self.from.split(self.row(row))
    }
    fn row(&self, row: u32) -> u32 {
        self.rows.as_ref().map_or(row, |r| r.get(row as usize).copied().unwrap_or(u32::MAX))
    }
    /// Those of the rows at these positions.
    pub fn take(&self, rows: impl Iterator<Item = u32>) -> Self {
        let rows = match &self.rows {
            None => rows.collect(),
            Some(r) => rows.map(|i| r.get(i as usize).copied().unwrap_or(u32::MAX)).collect(),
        };
        Origins { from: self.from.clone(), rows: Some(rows) }
    }
}
