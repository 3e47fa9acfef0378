//! Joins several inputs by one key at once. Only the rows of the inputs are kept, and not the results of joining some of them.
//!
//! A row is combined with all rows of the other inputs that have its key. The idea is that of Flink's multi-way join (FLIP-516).

use super::Side;
use super::pairs::without;
use super::rows::{Entry, Form, KeyRows};
use super::state::{JoinState, PAGE};
use crate::change_rows::MOST_ROWS;
use crate::failed_rows::{FailedRows, user_functions};
use arrow::array::{Array, ArrayRef, UInt32Array};
use std::sync::Arc;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::MOST_INPUTS;
use weir_core::key::{Keys, encode_row};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, ColumnBuilder, Error, Result, Schema};
use weir_expr::eval::condition;
use weir_expr::{EvalContext, Expr, OnError, Session};

/// An input of a [`MultiJoinFactory`].
pub struct JoinInput {
    /// Its columns.
    pub schema: Schema,
    /// The columns that must be equal to those of the other inputs.
    pub on: Vec<usize>,
    /// Whether its rows are retracted.
    pub retracts: bool,
    /// The time to live of its rows in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
}

/// Creates inner joins of several inputs.
pub struct MultiJoinFactory {
    /// The inputs; at most 16.
    pub inputs: Vec<JoinInput>,
    /// For each column of the key, whether two NULLs are equal. Otherwise a NULL equals nothing.
    pub nulls_equal: Vec<bool>,
    /// The condition that the rows must satisfy besides, over the columns of all inputs.
    pub condition: Option<Expr>,
    /// The columns of all inputs.
    pub schema: Schema,
    /// The session.
    pub session: Arc<Session>,
    /// The handling of rows for which the condition fails.
    pub on_error: OnError,
    /// The statement of this operator, for dead letters.
    pub statement: String,
}

impl OperatorFactory for MultiJoinFactory {
    fn functions(&self) -> Vec<String> {
        user_functions(&self.condition)
    }
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        if self.inputs.len() > MOST_INPUTS {
            return Err(Error::internal(format!("a join of {} inputs", self.inputs.len())));
        }
        let mut eval = EvalContext::new(self.session.clone()).with_clock(context.clock.clone());
        eval.on_error = self.on_error;
        let form = |input: &JoinInput| {
            let (timed, retracts) = (input.ttl_millis > 0, input.retracts);
            Form { counts: false, timed, retracts, sorted: false }
        };
        let forms = self.inputs.iter().map(form).collect();
        let ttl = self.inputs.iter().map(|input| input.ttl_millis).collect();
        Ok(Box::new(MultiJoin {
            inputs: self.inputs.iter().map(|i| Side::new(&i.schema, i.on.clone(), form(i))).collect(),
            nulls_equal: self.nulls_equal.clone(),
            condition: self.condition.clone(),
            schema: self.schema.clone(),
            kept: JoinState::open(forms, ttl, &context)?,
            eval,
            failed: FailedRows::new(&context, &self.statement),
        }))
    }
}

struct MultiJoin {
    inputs: Vec<Side>,
    nulls_equal: Vec<bool>,
    condition: Option<Expr>,
    schema: Schema,
    kept: JoinState,
    eval: EvalContext,
    failed: FailedRows,
}

/// A row of a batch.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    batch: &'a Batch,
    input: usize,
    row: usize,
    key: &'a [u8],
}

/// Rows of a batch, combined with rows of the other inputs.
struct Combined {
    rows: Vec<u32>,
    /// The columns of each input; those of the batch's input are empty.
    columns: Vec<Vec<ColumnBuilder>>,
}

impl Operator for MultiJoin {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let side = &self.inputs[input];
        let nulls = side.on.iter().zip(&self.nulls_equal).filter(|(_, equal)| !**equal);
        let never: Vec<ArrayRef> = nulls.map(|(column, _)| batch.data.column(*column).clone()).collect();
        let keys = Keys::of(&batch, &side.on);
        let rest: Vec<ArrayRef> = side.rest.iter().map(|c| batch.data.column(*c).clone()).collect();
        // Loads the rows of all keys together.
        self.kept.state.places(&keys)?;
        let (mut combined, mut encoded) = (self.nothing(), vec![]);
        for row in (0..batch.rows()).filter(|row| never.iter().all(|c| c.is_valid(*row))) {
            let key = keys.get(row);
            encoded.clear();
            encode_row(&rest, row, &mut encoded);
            let incoming = Incoming { batch: &batch, input, row, key };
            let (place, mut rows) = self.kept.take(key)?;
            let result = self.take_row(incoming, &encoded, &mut rows, &mut combined, out);
            self.kept.put_back(place, rows)?;
            result?;
        }
        self.emit(&batch, input, combined, out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.kept.state.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.kept.state.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.kept.state.wants_epoch()
    }
}

impl MultiJoin {
    fn nothing(&self) -> Combined {
        let columns = |side: &Side| side.types.iter().map(ColumnBuilder::new).collect();
        Combined { rows: vec![], columns: self.inputs.iter().map(columns).collect() }
    }

    /// Combines a row with those of the other inputs, and adds it to its own, or removes it.
    fn take_row(
        &mut self,
        incoming: Incoming<'_>,
        encoded: &[u8],
        rows: &mut KeyRows,
        combined: &mut Combined,
        out: &mut Collector,
    ) -> Result<()> {
        let Incoming { batch, input, row, key } = incoming;
        let comes = batch.kind(row).sign() > 0;
        if !comes && !self.kept.remove_row(key, encoded, input, &mut rows[input])? {
            // The insertion was not seen.
            return Ok(());
        }
        let others: Vec<usize> = (0..self.inputs.len()).filter(|n| *n != input).collect();
        if others.iter().all(|n| !rows[*n].is_empty()) {
            self.combine(incoming, rows, &others, &mut vec![], combined, out)?;
        }
        if comes {
            self.kept.add_row(key, encoded, input, &mut rows[input], (1, 0))?;
        }
        Ok(())
    }

    /// Combines a row and chosen rows of some inputs with those of the others.
    fn combine(
        &mut self,
        incoming: Incoming<'_>,
        rows: &KeyRows,
        others: &[usize],
        chosen: &mut Vec<(usize, Entry)>,
        combined: &mut Combined,
        out: &mut Collector,
    ) -> Result<()> {
        let Some((first, rest)) = others.split_first() else {
            return self.push(incoming, chosen, combined, out);
        };
        let mut from = vec![];
        loop {
            let page = self.kept.page(incoming.key, *first, &rows[*first], (&from, None))?;
            let more = page.len() == PAGE && rows[*first].is_many();
            from = page.last().map_or(from, |last| [last.key.as_slice(), &[0]].concat());
            for entry in page {
                chosen.push((*first, entry));
                self.combine(incoming, rows, rest, chosen, combined, out)?;
                chosen.pop();
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Adds a row with the chosen rows of all other inputs, as often as these are there.
    fn push(
        &mut self,
        incoming: Incoming<'_>,
        chosen: &[(usize, Entry)],
        combined: &mut Combined,
        out: &mut Collector,
    ) -> Result<()> {
        let times = chosen.iter().fold(1u64, |times, (_, entry)| times.saturating_mul(entry.times));
        for _ in 0..times {
            for (n, entry) in chosen {
                self.inputs[*n].decode(incoming.key, entry.row(), &mut combined.columns[*n])?;
            }
            combined.rows.push(incoming.row as u32);
            if combined.rows.len() >= MOST_ROWS {
                let full = std::mem::replace(combined, self.nothing());
                self.emit(incoming.batch, incoming.input, full, out)?;
            }
        }
        Ok(())
    }

    /// Emits the rows that satisfy the condition.
    fn emit(&mut self, batch: &Batch, input: usize, combined: Combined, out: &mut Collector) -> Result<()> {
        let Combined { rows, columns } = combined;
        if rows.is_empty() {
            return Ok(());
        }
        let kinds = rows.iter().map(|row| batch.kind(*row as usize) as i8).collect();
        let (count, rows) = (rows.len(), UInt32Array::from(rows));
        let mut all: Vec<ArrayRef> = vec![];
        for (n, builders) in columns.into_iter().enumerate() {
            if n == input {
                for column in batch.data.columns() {
                    all.push(arrow::compute::take(column, &rows, None)?);
                }
            } else {
                all.extend(builders.into_iter().map(ColumnBuilder::finish));
            }
        }
        let mut found = Batch::from_columns(self.schema.arrow(), all, count)?.with_changes(kinds);
        if let Some(on) = &self.condition {
            let holds = condition(on, &found.data, &mut self.eval)?;
            let failed = self.failed.handle(self.eval.errors.drain(..), (&found, &self.schema), out)?;
            found = found.filter(&without(holds, &failed))?;
        }
        if found.rows() > 0 {
            out.emit(found);
        }
        Ok(())
    }
}
