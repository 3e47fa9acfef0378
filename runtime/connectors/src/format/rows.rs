//! Rows that are being decoded, before they become a batch.

use super::DecodeError;
use arrow::array::{BooleanArray, Int8Array};
use weir_core::{Batch, ColumnBuilder, RowKind, Schema, Value};

/// Rows under construction.
#[derive(Debug)]
pub struct RowBuilder {
    /// The columns. Between two records, each has `height` values.
    pub columns: Vec<ColumnBuilder>,
    /// The kind of each row; empty if the format only has insertions.
    pub kinds: Vec<i8>,
    /// The number of rows.
    pub height: usize,
    /// The offset of each row's record in the data that was passed in.
    pub starts: Vec<u32>,
    /// Rows of bad records, which are to be removed.
    pub dropped: Vec<u32>,
    /// Number of fields that could not be read and became NULL, because an option says so.
    pub nulled: u64,
    /// Number of records that were skipped, because an option says so.
    pub skipped: u64,
    /// Whether the last record is too long, and continues after the data up to the end of its line.
    pub endless: bool,
    /// An error that stopped decoding, and that no record is to blame for.
    pub failed: Option<weir_core::Error>,
}

impl RowBuilder {
    /// No rows of a schema.
    pub fn new(schema: &Schema) -> Self {
        RowBuilder {
            columns: schema.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect(),
            kinds: vec![],
            height: 0,
            starts: vec![],
            dropped: vec![],
            nulled: 0,
            skipped: 0,
            endless: false,
            failed: None,
        }
    }
    /// The number of rows that will not be removed.
    pub fn good(&self) -> usize {
        self.height - self.dropped.len()
    }
    /// Appends a row.
    pub fn push(&mut self, values: &[Value<'_>]) {
        values.iter().zip(&mut self.columns).for_each(|(v, c)| c.push(v));
        self.height += 1;
    }
    /// Appends a row with its kind, for a format that has kinds.
    pub fn push_kind(&mut self, kind: RowKind, values: &[Value<'_>]) {
        self.kinds.push(kind as i8);
        self.push(values);
    }
    /// Ends a record of a format that has kinds: completes the kinds, and continues as [`RowBuilder::ignoring`].
    ///
    /// # Errors
    /// The record's error, unless it is to be ignored.
    pub fn even(&mut self, height: usize, read: Result<(), DecodeError>, ignore: bool) -> Result<(), DecodeError> {
        self.kinds.resize(self.height, RowKind::Insert as i8);
        self.ignoring(height, read, ignore)
    }
    /// Ends a record whose rows begin at `height`. If it has failed and errors are ignored, it counts as skipped, and its rows are removed.
    ///
    /// # Errors
    /// The record's error, unless it is to be ignored.
    pub fn ignoring(&mut self, height: usize, read: Result<(), DecodeError>, ignore: bool) -> Result<(), DecodeError> {
        if matches!(read, Err(DecodeError::Record(_))) && ignore {
            self.dropped.extend(height as u32..self.height as u32);
            self.skipped += 1;
            return Ok(());
        }
        read
    }
    /// Sets the offset of the rows that a record has appended since `height`. If the record is bad, its rows will be removed.
    pub fn close(&mut self, height: usize, start: usize, good: bool) {
        self.starts.resize(self.height, start as u32);
        if !good {
            self.dropped.extend(height as u32..self.height as u32);
        }
    }
    /// The rows as a batch. Those of bad records are still among them, and `starts` has all offsets.
    ///
    /// # Errors
    /// None in practice: the columns are of the schema's types.
    pub fn finish(self, schema: &Schema) -> weir_core::Result<Batch> {
        let columns = self.columns.into_iter().map(ColumnBuilder::finish).collect();
        let kinds = (!self.kinds.is_empty()).then(|| Int8Array::from(self.kinds));
        let batch = Batch::from_columns(schema.arrow(), columns, self.height)?.with_kinds(kinds);
        Ok(batch)
    }
}

/// Removes rows from a batch.
///
/// # Errors
/// None in practice.
pub(crate) fn without(batch: Batch, dropped: &[u32]) -> weir_core::Result<Batch> {
    if dropped.is_empty() {
        return Ok(batch);
    }
    let mut keep = vec![true; batch.rows()];
    dropped.iter().for_each(|r| keep[*r as usize] = false);
    batch.filter(&BooleanArray::from(keep))
}
