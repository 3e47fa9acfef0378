//! Batches of rows, append-only or with the kind of change of each row.

use crate::Result;
use crate::origin::Origins;
use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use std::ops::Range;

/// The kind of change of a row, numbered as in Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum RowKind {
    /// +I
    Insert = 0,
    /// -U, the former row of an update
    UpdateBefore = 1,
    /// +U, the new row of an update
    UpdateAfter = 2,
    /// -D
    Delete = 3,
}

impl RowKind {
    /// The kind with this number. Unknown numbers are inserts.
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => RowKind::UpdateBefore,
            2 => RowKind::UpdateAfter,
            3 => RowKind::Delete,
            _ => RowKind::Insert,
        }
    }
    /// +1 for an insertion, −1 for a retraction.
    pub fn sign(self) -> i64 {
        match self {
            RowKind::Insert | RowKind::UpdateAfter => 1,
            RowKind::UpdateBefore | RowKind::Delete => -1,
        }
    }
    /// Flink's short form of the kind.
    pub fn mark(self) -> &'static str {
        match self {
            RowKind::Insert => "+I",
            RowKind::UpdateBefore => "-U",
            RowKind::UpdateAfter => "+U",
            RowKind::Delete => "-D",
        }
    }
}

/// Rows in columns, with the kinds of change unless all rows are inserts.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The columns.
    pub data: RecordBatch,
    /// The kind of each row, by number; none: all are inserts.
    pub kinds: Option<Int8Array>,
    /// The origins of the rows, as long as each row still corresponds to a record.
    pub origins: Option<Origins>,
}

impl Batch {
    /// Creates a batch of inserts.
    pub fn append(data: RecordBatch) -> Self {
        Batch { data, kinds: None, origins: None }
    }
    /// A batch of inserts from its columns; `rows` counts where there are no columns.
    ///
    /// # Errors
    /// When the columns do not fit the schema: a mistake of Weir's own.
    ///
    /// # Examples
    /// ```
    /// use arrow::array::{ArrayRef, Int8Array, Int32Array};
    /// use std::sync::Arc;
    /// use weir_core::{Batch, Field, RowKind, Schema, SqlType};
    ///
    /// let schema = Schema::new(vec![Field::new("n", SqlType::INT)]);
    /// let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    /// let batch = Batch::from_columns(schema.arrow(), vec![column], 2)?;
    /// assert_eq!(batch.kind(1), RowKind::Insert);
    /// let batch = batch.with_kinds(Some(Int8Array::from(vec![RowKind::UpdateBefore as i8, RowKind::UpdateAfter as i8])));
    /// assert_eq!((batch.kind(0).sign(), batch.kind(1).sign()), (-1, 1));
    /// # Ok::<(), weir_core::Error>(())
    /// ```
    pub fn from_columns(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<Self> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Batch::append(RecordBatch::try_new_with_options(schema, columns, &options)?))
    }
    /// Sets the kinds of the rows.
    pub fn with_kinds(mut self, kinds: Option<Int8Array>) -> Self {
        self.kinds = kinds;
        self
    }
    /// Sets the kinds of the rows by their numbers ([`RowKind`]).
    pub fn with_changes(self, kinds: Vec<i8>) -> Self {
        let inserts = kinds.iter().all(|k| *k == RowKind::Insert as i8);
        self.with_kinds((!inserts).then(|| Int8Array::from(kinds)))
    }
    /// Sets the origins of the rows.
    pub fn with_origins(mut self, origins: Option<Origins>) -> Self {
        self.origins = origins;
        self
    }
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.data.num_rows()
    }
    /// The size of the rows' values in bytes, for metrics and limits. For a slice, only its own values count.
    pub fn bytes(&self) -> usize {
        self.data.columns().iter().map(sliced_bytes).sum::<usize>() + self.kinds.as_ref().map_or(0, |k| k.len())
    }
    /// The kind of a row.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |k| RowKind::from_code(k.value(row)))
    }
    /// Keeps this many columns, from the first one on.
    ///
    /// # Errors
    /// An internal error if there are not as many columns.
    pub fn first_columns(self, count: usize) -> Result<Self> {
        if count == self.data.num_columns() {
            return Ok(self);
        }
        let data = self.data.project(&(0..count).collect::<Vec<_>>())?;
        Ok(Batch { data, ..self })
    }
    /// Keeps the rows for which `keep` is true.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let data = arrow::compute::filter_record_batch(&self.data, keep)?;
        let kinds = match &self.kinds {
            Some(k) => Some(as_kinds(arrow::compute::filter(k, keep)?)),
            None => None,
        };
        let kept = || (0..keep.len()).filter(|r| keep.is_valid(*r) && keep.value(*r)).map(|r| r as u32);
        Ok(Batch { data, kinds, origins: self.origins.as_ref().map(|o| o.take(kept())) })
    }
    /// Concatenates batches with the same schema. Origins are only kept for rows of a table whose late rows are written.
    pub fn concat(batches: &[Batch]) -> Result<Self> {
        let first = match batches {
            [] => return Err(crate::Error::internal("no batches to put together")),
            [only] => return Ok(only.clone()),
            [first, ..] => first,
        };
        let data = arrow::compute::concat_batches(&first.data.schema(), batches.iter().map(|b| &b.data))?;
        let kinds = batches.iter().any(|b| b.kinds.is_some()).then(|| {
            let all = batches.iter().flat_map(|b| (0..b.rows()).map(|r| b.kinds.as_ref().map_or(0, |k| k.value(r))));
            all.collect::<Int8Array>()
        });
        let origins = Origins::joined(batches.iter().map(|b| (b.origins.clone(), b.rows())));
        Ok(Batch { data, kinds, origins })
    }
    /// The rows of a range, without a copy. Panics, as Arrow does, if the range exceeds the batch.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let kinds = self.kinds.as_ref().map(|k| k.slice(rows.start, rows.len()));
        let origins = self.origins.as_ref().map(|o| o.take(rows.start as u32..rows.end as u32));
        Batch { data: self.data.slice(rows.start, rows.len()), kinds, origins }
    }
    /// The rows at these positions.
    pub fn take(&self, rows: &UInt32Array) -> Result<Self> {
        let columns: Vec<ArrayRef> =
            self.data.columns().iter().map(|c| arrow::compute::take(c, rows, None)).collect::<Result<_, _>>()?;
        let kinds = match &self.kinds {
            Some(k) => Some(as_kinds(arrow::compute::take(k, rows, None)?)),
            None => None,
        };
        let origins = self.origins.as_ref().map(|o| o.take(rows.values().iter().copied()));
        Ok(Batch::from_columns(self.data.schema(), columns, rows.len())?.with_kinds(kinds).with_origins(origins))
    }
}

fn as_kinds(array: ArrayRef) -> Int8Array {
    array.as_any().downcast_ref::<Int8Array>().cloned().unwrap_or_else(|| Int8Array::from(vec![0; array.len()]))
}

fn sliced_bytes(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}
