//! Rows on their way from records into a batch.

use super::DecodeError;
use arrow::array::{BooleanArray, Int8Array};
use weir_core::{Batch, ColumnBuilder, RowKind, Schema, Value};

/// Rows under construction.
#[derive(Debug)]
pub struct RowBuilder {
    /// The columns, each `height` high between two records.
    pub columns: Vec<ColumnBuilder>,
    /// The kind of each row; empty as long as a format only knows rows that come.
    pub kinds: Vec<i8>,
    /// Rows in the columns.
    pub height: usize,
    /// Where the record of each row begins, in bytes from the start of what was handed over.
    pub starts: Vec<u32>,
    /// Rows of the columns that belong to bad records, to be taken out.
    pub dropped: Vec<u32>,
    /// Fields that could not be read and became NULL, as the format was told to.
    pub nulled: u64,
    /// Records that were left out, as the format was told to.
    pub skipped: u64,
    /// Whether the last record is too long and goes on behind what was handed over, up to the line's end.
    pub endless: bool,
    /// What kept the records behind these from being read, and is none of theirs.
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
    /// The rows that stay.
    pub fn good(&self) -> usize {
        self.height - self.dropped.len()
    }
    /// Appends a row.
    pub fn push(&mut self, values: &[Value<'_>]) {
        values.iter().zip(&mut self.columns).for_each(|(v, c)| c.push(v));
        self.height += 1;
    }
    /// Appends a row of a kind, in a format that knows kinds.
    pub fn push_kind(&mut self, kind: RowKind, values: &[Value<'_>]) {
        self.kinds.push(kind as i8);
        self.push(values);
    }
    /// Ends a record of a format that knows kinds: as many kinds as rows, and the rest as [`RowBuilder::ignoring`].
    ///
    /// # Errors
    /// What the record failed with, unless that is to be ignored.
    pub fn even(&mut self, height: usize, read: Result<(), DecodeError>, ignore: bool) -> Result<(), DecodeError> {
        self.kinds.resize(self.height, RowKind::Insert as i8);
        self.ignoring(height, read, ignore)
    }
    /// Ends a record that began at `height`: if it failed and that is to be ignored, it counts as skipped and has no rows.
    ///
    /// # Errors
    /// What the record failed with, unless that is to be ignored.
    pub fn ignoring(&mut self, height: usize, read: Result<(), DecodeError>, ignore: bool) -> Result<(), DecodeError> {
        if matches!(read, Err(DecodeError::Record(_))) && ignore {
            self.dropped.extend(height as u32..self.height as u32);
            self.skipped += 1;
            return Ok(());
        }
        read
    }
    /// Notes that what a record has appended since `height` began at `start`; drops it when the record was bad after all.
    pub fn close(&mut self, height: usize, start: usize, good: bool) {
        self.starts.resize(self.height, start as u32);
        if !good {
            self.dropped.extend(height as u32..self.height as u32);
        }
    }
    /// The rows that stay, as a batch. Their places among all are those of `starts`.
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

/// Takes rows out of a batch.
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
