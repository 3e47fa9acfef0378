//! Reads values of the rows of matches, for conditions and for measures: many matches together, a column for each value.

use super::matches::Run;
use super::partition::Partition;
use crate::aggregate::{Groups, Reads, read_results};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::{Batch, ColumnBuilder, Error, Field, Result, Schema, Value};
use weir_expr::aggregate::AggregateCall;
use weir_expr::eval::eval;
use weir_expr::match_recognize::{Look, RowsOf, What};
use weir_expr::{EvalContext, Expr, RowError};

/// Rows of a match, or of what may become one.
pub(super) struct Source<'a> {
    pub partition: &'a Partition,
    /// The number of the first row.
    pub start: u64,
    /// The variables of the rows.
    pub runs: &'a [Run],
    /// The variables of all rows of the match, if `runs` are only those up to one of them.
    pub whole: &'a [Run],
    /// The number of the row behind the last one of the match. No row from it on is read but the current one.
    pub end: u64,
    /// The current row, which is the last one and not among those of the partition yet.
    pub current: Option<(usize, &'a [Value<'a>])>,
    /// The time of the match.
    pub time: i64,
    /// The number of the match.
    pub number: u64,
}

/// A row of a source: one that is kept, or the current one.
type RowAt<'a> = &'a [Value<'a>];

impl<'a> Source<'a> {
    fn kept(&self, number: u64) -> Option<RowAt<'a>> {
        let at = number.checked_sub(self.partition.first)?;
        self.partition.rows.get(at as usize).map(|row| &**row)
    }

    /// The row with a number, if it is not behind those of the match.
    fn at(&self, number: u64) -> Option<RowAt<'a>> {
        match self.current {
            Some((_, row)) if number == self.partition.next => Some(row),
            _ => self.kept(number).filter(|_| number < self.end),
        }
    }

    /// What is read: all rows of the match, or those up to the current one.
    fn runs(&self, whole: bool) -> &'a [Run] {
        if whole { self.whole } else { self.runs }
    }

    /// The number of a row of some variables, counted from the first or back from the last, after an offset.
    fn number(&self, RowAsked { of, whole, first, offset, .. }: &RowAsked) -> Option<u64> {
        let (runs, first, mut offset) = (self.runs(*whole), *first, *offset);
        let current = self.current.filter(|(v, _)| of.has(*v)).map(|_| self.partition.next);
        if !first && current.is_some() {
            if offset == 0 {
                return current;
            }
            offset -= 1;
        }
        let length: u64 = runs.iter().map(|r| u64::from(r.rows)).sum();
        let (mut begin, mut end) = (self.start, self.start + length);
        let mut look = |run: &Run| {
            let rows = u64::from(run.rows);
            let (from, to) = if first { (begin, begin + rows) } else { (end - rows, end) };
            (begin, end) = if first { (to, end) } else { (begin, from) };
            if !of.has(run.variable as usize) {
                return None;
            }
            if (offset as u64) < rows {
                return Some(if first { from + offset as u64 } else { to - 1 - offset as u64 });
            }
            offset -= run.rows as usize;
            None
        };
        let found = if first { runs.iter().find_map(&mut look) } else { runs.iter().rev().find_map(&mut look) };
        found.or_else(|| current.filter(|_| first && offset == 0))
    }

    /// The value of a column of a row.
    fn value(&self, asked: &RowAsked) -> Option<&'a Value<'a>> {
        let number = self.number(asked).and_then(|n| n.checked_add_signed(asked.shift))?;
        self.at(number).map(|row| &row[asked.column])
    }

    /// Calls `each` with the rows of some variables, in order.
    fn rows(&self, of: &RowsOf, whole: bool, mut each: impl FnMut(RowAt<'a>)) {
        let mut at = self.start;
        for run in self.runs(whole) {
            let next = at + u64::from(run.rows);
            if of.has(run.variable as usize) {
                (at..next).filter_map(|n| self.kept(n)).for_each(&mut each);
            }
            at = next;
        }
        self.current.filter(|(v, _)| of.has(*v)).into_iter().for_each(|(_, row)| each(row));
    }

    /// The last row's variable.
    fn last(&self) -> Option<usize> {
        self.current.map(|(v, _)| v).or_else(|| self.runs.last().map(|r| r.variable as usize))
    }
}

/// A column of a row that is read, with a column that is kept of rows. See [`What::Row`].
struct RowAsked {
    of: RowsOf,
    whole: bool,
    first: bool,
    offset: usize,
    shift: i64,
    column: usize,
}

/// A value that is read.
enum Read {
    Row(RowAsked),
    Aggregate(Box<OfRows>),
    Time,
    Classifier,
    Number,
}

/// An aggregate of rows.
struct OfRows {
    of: RowsOf,
    /// Whether it is one of the whole match.
    whole: bool,
    /// The columns that the arguments read, among those that are kept.
    columns: Vec<usize>,
    /// The arguments over these columns.
    args: Vec<Expr>,
    schema: SchemaRef,
    types: Vec<DataType>,
    call: AggregateCall,
    arguments: Schema,
}

/// Values that are read together.
pub(super) struct Looks {
    reads: Vec<Read>,
    types: Vec<DataType>,
    variables: Vec<String>,
}

/// The values, and the sources on which an expression failed.
pub(super) struct Found {
    pub columns: Vec<ArrayRef>,
    pub failed: Vec<(usize, RowError)>,
}

impl Looks {
    /// Values of rows of which these columns of the input are kept.
    ///
    /// # Errors
    /// An internal error if a column that is read is not kept.
    pub fn new(looks: &[Look], kept: &[usize], input: &Schema, variables: &[String]) -> Result<Looks> {
        let place = |column: usize| {
            let at = kept.binary_search(&column);
            at.map_err(|_| Error::internal(format!("column {column} is read, and not kept")))
        };
        let reads = looks.iter().map(|l| {
            Ok(match &l.what {
                What::Row { of, first, offset, shift, column } => {
                    let (of, column) = (of.clone(), place(*column)?);
                    Read::Row(RowAsked { of, whole: l.whole, first: *first, offset: *offset, shift: *shift, column })
                }
                What::Aggregate { of, args, call } => {
                    let mut read = BTreeSet::new();
                    args.iter().for_each(|e| e.columns(&mut read));
                    let read: Vec<usize> = read.into_iter().collect();
                    let schema = input.project(&read);
                    let moved = |e: &Expr| {
                        e.clone().rewrite(&mut |e| match e {
                            Expr::Column { index, name, ty } => {
                                let index = read.binary_search(&index).unwrap_or(index);
                                Expr::Column { index, name, ty }
                            }
                            e => e,
                        })
                    };
                    let arguments = args.iter().enumerate().map(|(n, e)| Field::new(format!("${n}"), e.ty()));
                    Read::Aggregate(Box::new(OfRows {
                        of: of.clone(),
                        whole: l.whole,
                        args: args.iter().map(moved).collect(),
                        types: schema.fields.iter().map(|f| f.ty.arrow()).collect(),
                        schema: schema.arrow(),
                        columns: read.into_iter().map(place).collect::<Result<_>>()?,
                        call: call.clone(),
                        arguments: Schema::new(arguments.collect()),
                    }))
                }
                What::Time => Read::Time,
                What::Classifier => Read::Classifier,
                What::Number => Read::Number,
            })
        });
        let types = looks.iter().map(|l| l.ty.arrow()).collect();
        Ok(Looks { reads: reads.collect::<Result<_>>()?, types, variables: variables.to_vec() })
    }

    /// Whether all values are those of rows.
    pub fn are_of_rows(&self) -> bool {
        self.reads.iter().all(|r| matches!(r, Read::Row(_)))
    }

    /// The values of a source that are those of rows.
    pub fn values<'a>(&self, source: &Source<'a>) -> Vec<&'a Value<'a>> {
        let value = |read: &Read| match read {
            Read::Row(asked) => source.value(asked),
            Read::Aggregate(_) | Read::Time | Read::Classifier | Read::Number => None,
        };
        self.reads.iter().map(|read| value(read).unwrap_or(&Value::Null)).collect()
    }

    /// Reads the values of each source.
    ///
    /// # Errors
    /// If an expression or an aggregate fails in a way that ends the job.
    pub fn read(&self, sources: &[Source<'_>], context: &mut EvalContext) -> Result<Found> {
        let mut found = Found { columns: Vec::with_capacity(self.reads.len()), failed: vec![] };
        for (read, ty) in self.reads.iter().zip(&self.types) {
            let mut builder = ColumnBuilder::new(ty);
            match read {
                Read::Row(asked) => {
                    for s in sources {
                        match s.value(asked) {
                            Some(value) => builder.push(value),
                            None => builder.push_null(),
                        }
                    }
                }
                Read::Aggregate(aggregate) => aggregate.results(sources, context, &mut builder, &mut found.failed)?,
                Read::Time => sources.iter().for_each(|s| builder.push(&Value::of_millis(s.time))),
                Read::Classifier => {
                    for s in sources {
                        let name = s.last().and_then(|v| self.variables.get(v));
                        builder.push(&name.map_or(Value::Null, |n| Value::text(n)));
                    }
                }
                Read::Number => sources.iter().for_each(|s| builder.push(&Value::Int(s.number as i64))),
            }
            found.columns.push(builder.finish());
        }
        Ok(found)
    }
}

impl OfRows {
    /// Appends the aggregate of each source.
    fn results(
        &self,
        sources: &[Source<'_>],
        context: &mut EvalContext,
        out: &mut ColumnBuilder,
        failed: &mut Vec<(usize, RowError)>,
    ) -> Result<()> {
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        let mut places: Vec<u32> = vec![];
        for (place, s) in sources.iter().enumerate() {
            s.rows(&self.of, self.whole, |row| {
                self.columns.iter().zip(&mut builders).for_each(|(column, builder)| builder.push(&row[*column]));
                places.push(place as u32);
            });
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        let rows: RecordBatch = Batch::from_columns(Arc::clone(&self.schema), columns, places.len())?.data;
        let arguments = self.args.iter().map(|e| eval(e, &rows, context)).collect::<Result<Vec<_>>>()?;
        failed.extend(context.errors.drain(..).map(|e| (places[e.row as usize] as usize, e)));
        let calls = std::slice::from_ref(&self.call);
        let mut groups = Groups::new(calls, &self.arguments, false)?;
        groups.grow(sources.len());
        Reads::of(calls, &arguments)?.take(&mut groups, &places, None, None)?;
        let mut values = vec![];
        for at in 0..sources.len() {
            values.clear();
            read_results(calls, &groups, at, &mut values)?;
            values.iter().for_each(|v| out.push(v));
        }
        Ok(())
    }
}
