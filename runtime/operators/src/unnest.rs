//! Emits a row for each element of a row's array, map or multiset, for UNNEST.

use crate::change_rows::MOST_ROWS;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, UInt32Array};
use arrow::datatypes::{DataType, Int32Type};
use std::ops::Range;
use std::sync::Arc;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::maps::Maps;
use weir_core::{Batch, Error, Result, Schema};

/// Creates the operators of UNNEST.
#[derive(Clone)]
pub struct UnnestFactory {
    /// The column with the collections.
    pub collection: usize,
    /// Whether these are multisets. Then each element is emitted as often as it occurs.
    pub multiset: bool,
    /// The input's columns that are emitted.
    pub keep: Vec<usize>,
    /// The columns of the elements that are emitted. The column after the last one is the number of the element, from 1.
    pub columns: Vec<usize>,
    /// Whether a row without elements is emitted, with NULLs.
    pub left: bool,
    /// The columns of the output: the emitted columns of the input, then those of the elements.
    pub schema: Schema,
}

impl OperatorFactory for UnnestFactory {
    fn open(&self, _context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

/// The elements of a column's collections.
struct Elements<'a> {
    /// The columns of the elements. If the elements are rows, these are their fields.
    columns: Vec<ArrayRef>,
    /// The elements themselves, if they are rows. A NULL among them is not an element.
    rows: Option<&'a ArrayRef>,
    /// How often each occurs, in multisets.
    times: Option<&'a Int32Array>,
    /// The index of the first element of each collection, then the end of the last collection.
    offsets: &'a [i32],
}

impl<'a> Elements<'a> {
    fn of(column: &'a ArrayRef, multiset: bool) -> Result<Self> {
        let unfit = || Error::internal(format!("a column of {} is unnested", column.data_type()));
        if let Some(list) = column.as_list_opt::<i32>() {
            return Ok(Self::single(list.values(), None, list.value_offsets()));
        }
        let maps = Maps::of(column).ok_or_else(unfit)?;
        if multiset {
            let times = maps.values().as_primitive_opt::<Int32Type>().ok_or_else(unfit)?;
            return Ok(Self::single(maps.keys(), Some(times), maps.offsets()));
        }
        let columns = vec![maps.keys().clone(), maps.values().clone()];
        Ok(Elements { columns, rows: None, times: None, offsets: maps.offsets() })
    }

    fn single(elements: &'a ArrayRef, times: Option<&'a Int32Array>, offsets: &'a [i32]) -> Self {
        match elements.data_type() {
            DataType::Struct(_) => {
                let columns = elements.as_struct().columns().to_vec();
                Elements { columns, rows: Some(elements), times, offsets }
            }
            _ => Elements { columns: vec![elements.clone()], rows: None, times, offsets },
        }
    }

    fn in_row(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    fn times(&self, element: usize) -> i32 {
        match self.rows.is_some_and(|rows| rows.is_null(element)) {
            true => 0,
            false => self.times.map_or(1, |times| times.value(element)),
        }
    }
}

/// The rows of the next batch: the input row, the element, and the number of the element.
#[derive(Default)]
struct Unnested {
    rows: Vec<u32>,
    elements: Vec<Option<u32>>,
    numbers: Vec<Option<i32>>,
}

impl Unnested {
    fn push(&mut self, row: usize, element: Option<usize>, number: Option<i32>) {
        self.rows.push(row as u32);
        self.elements.push(element.map(|e| e as u32));
        self.numbers.push(number);
    }
}

impl Operator for UnnestFactory {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let column = batch.data.column(self.collection).clone();
        let elements = Elements::of(&column, self.multiset)?;
        let kept = Batch { data: batch.data.project(&self.keep)?, kinds: batch.kinds, origins: batch.origins };
        let mut next = Unnested::default();
        for row in 0..kept.rows() {
            let before = next.rows.len();
            let mut number = 0;
            for element in elements.in_row(row).filter(|_| column.is_valid(row)) {
                for _ in 0..elements.times(element) {
                    number += 1;
                    next.push(row, Some(element), Some(number));
                }
            }
            if self.left && next.rows.len() == before {
                next.push(row, None, None);
            }
            // A batch with this many rows gets no elements of a further input row.
            if next.rows.len() >= MOST_ROWS {
                self.emit(&kept, &elements, std::mem::take(&mut next), out)?;
            }
        }
        self.emit(&kept, &elements, next, out)
    }
}

impl UnnestFactory {
    fn emit(&self, kept: &Batch, elements: &Elements<'_>, next: Unnested, out: &mut Collector) -> Result<()> {
        let taken = kept.take(&UInt32Array::from(next.rows))?;
        let places = UInt32Array::from(next.elements);
        let numbers: ArrayRef = Arc::new(Int32Array::from(next.numbers));
        let mut columns = taken.data.columns().to_vec();
        for column in &self.columns {
            columns.push(match elements.columns.get(*column) {
                Some(of_elements) => arrow::compute::take(of_elements, &places, None)?,
                None => numbers.clone(),
            });
        }
        let result = Batch::from_columns(self.schema.arrow(), columns, taken.rows())?;
        out.emit(result.with_kinds(taken.kinds).with_origins(taken.origins));
        Ok(())
    }
}
