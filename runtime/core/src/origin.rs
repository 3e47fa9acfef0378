//! Origins of rows, for errors, dead letters and late rows.

use crate::watermarks::SplitId;
use arrow::array::RecordBatch;
use std::sync::Arc;

/// The origins of the rows of a batch that a source emitted. It is only queried for rows that fail or are late.
pub trait Origin: Send + Sync + std::fmt::Debug {
    /// The position of a row's record (file and line, or topic, partition and offset), and its bytes if they are kept.
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>);
    /// The split from which a row was read; the first one if the source has only one.
    fn split(&self, _row: u32) -> SplitId {
        SplitId::default()
    }
    /// The row as it is in its table, if the table has a destination for late rows.
    fn kept(&self, _row: u32) -> Option<KeptRow> {
        None
    }
    /// Whether [`Origin::kept`] may return a row.
    fn keeps_rows(&self) -> bool {
        false
    }
}

/// A row of a table, with the columns that are written if it is late.
#[derive(Debug, Clone)]
pub struct KeptRow {
    /// The rows of the table.
    pub rows: Arc<RecordBatch>,
    /// The index of the row.
    pub row: u32,
    /// Whether the times of the table's rows are instants.
    pub instants: bool,
}

/// The origins of a batch's rows. They are kept through filters, projections and exchanges.
#[derive(Debug, Clone)]
pub struct Origins {
    from: Arc<dyn Origin>,
    /// The indices of the rows in the source's batch; none if the batch has all of them.
    rows: Option<Arc<[u32]>>,
}

impl Origins {
    /// Creates the origins of a batch that a source emits.
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
    /// See [`Origin::kept`].
    pub fn kept(&self, row: u32) -> Option<KeptRow> {
        self.from.kept(self.row(row))
    }
    /// See [`Origin::keeps_rows`].
    pub fn keeps_rows(&self) -> bool {
        self.from.keeps_rows()
    }
    fn row(&self, row: u32) -> u32 {
        self.rows.as_ref().map_or(row, |r| r.get(row as usize).copied().unwrap_or(u32::MAX))
    }
    /// The origins of the rows at these positions.
    pub fn take(&self, rows: impl Iterator<Item = u32>) -> Self {
        let rows = match &self.rows {
            None => rows.collect(),
            Some(r) => rows.map(|i| r.get(i as usize).copied().unwrap_or(u32::MAX)).collect(),
        };
        Origins { from: self.from.clone(), rows: Some(rows) }
    }
    /// Keeps only some rows as rows of their table. If a row was multiplied, only one copy is kept.
    pub fn keeping(self, known: Vec<bool>) -> Self {
        if !self.keeps_rows() {
            return self;
        }
        Origins::new(Arc::new(Partly { of: self, known }))
    }
    /// Joins the origins of batches, each with its number of rows. None if no row is kept as a row of its table.
    pub fn joined(parts: impl Iterator<Item = (Option<Origins>, usize)> + Clone) -> Option<Self> {
        if !parts.clone().any(|(o, _)| o.is_some_and(|o| o.keeps_rows())) {
            return None;
        }
        let mut begin = 0;
        let parts = parts.map(|(origins, rows)| {
            begin += rows as u32;
            (begin - rows as u32, origins)
        });
        Some(Origins::new(Arc::new(Joined { parts: parts.collect() })))
    }
}

/// Rows of which only some are kept as rows of their table.
#[derive(Debug)]
struct Partly {
    of: Origins,
    known: Vec<bool>,
}

impl Origin for Partly {
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        self.of.of(row)
    }
    fn split(&self, row: u32) -> SplitId {
        self.of.split(row)
    }
    fn kept(&self, row: u32) -> Option<KeptRow> {
        self.known.get(row as usize).filter(|known| **known).and_then(|_| self.of.kept(row))
    }
    fn keeps_rows(&self) -> bool {
        true
    }
}

/// The origins of joined batches, each with the number of its first row.
#[derive(Debug)]
struct Joined {
    parts: Vec<(u32, Option<Origins>)>,
}

impl Joined {
    /// The batch of a row, and the index of the row in it.
    fn part(&self, row: u32) -> Option<(&Origins, u32)> {
        let at = self.parts.partition_point(|(begin, _)| *begin <= row).checked_sub(1)?;
        let (begin, origins) = &self.parts[at];
        Some((origins.as_ref()?, row - begin))
    }
}

impl Origin for Joined {
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        self.part(row).map_or_else(|| ("a row without a record".to_string(), None), |(of, row)| of.of(row))
    }
    fn split(&self, row: u32) -> SplitId {
        self.part(row).map_or_else(SplitId::default, |(of, row)| of.split(row))
    }
    fn kept(&self, row: u32) -> Option<KeptRow> {
        self.part(row).and_then(|(of, row)| of.kept(row))
    }
    fn keeps_rows(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    /// Rows that are kept under their numbers.
    #[derive(Debug)]
    struct Numbered(Arc<RecordBatch>);

    impl Numbered {
        fn rows(count: i32) -> Origins {
            let column = Arc::new(Int32Array::from_iter_values(0..count)) as arrow::array::ArrayRef;
            let rows = RecordBatch::try_from_iter([("n", column)]).expect("a batch");
            Origins::new(Arc::new(Numbered(Arc::new(rows))))
        }
    }

    impl Origin for Numbered {
        fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
            (format!("record {row}"), None)
        }
        fn kept(&self, row: u32) -> Option<KeptRow> {
            Some(KeptRow { rows: self.0.clone(), row, instants: false })
        }
        fn keeps_rows(&self) -> bool {
            true
        }
    }

    fn kept(origins: &Origins, rows: u32) -> Vec<Option<u32>> {
        (0..rows).map(|r| origins.kept(r).map(|k| k.row)).collect()
    }

    #[test]
    fn rows_are_known_through_selections_copies_and_joined_batches() {
        let copies = Numbered::rows(3).take([0, 0, 2].into_iter()).keeping(vec![false, true, true]);
        assert_eq!(kept(&copies, 3), [None, Some(0), Some(2)]);
        assert_eq!(kept(&copies.take([2, 0].into_iter()), 2), [Some(2), None]);
        let parts = [(Some(copies), 3), (None, 2), (Some(Numbered::rows(2)), 2)];
        let all = Origins::joined(parts.into_iter()).expect("origins");
        assert_eq!(kept(&all, 7), [None, Some(0), Some(2), None, None, Some(0), Some(1)]);
        assert_eq!((all.of(2).0, all.of(6).0), ("record 2".to_string(), "record 1".to_string()));
        assert!(Origins::joined([(None, 4)].into_iter()).is_none());
    }
}
