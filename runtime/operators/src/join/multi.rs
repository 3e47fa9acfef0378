//! Joins several inputs by one key at once. Only the rows of the inputs are kept, and not the results of joining some of them.
//!
//! A row is combined with all rows of the other inputs that have its key. An optional input without such a row gives NULLs, as the right
//! side of a LEFT JOIN does: its first row of a key takes back the rows with NULLs, and its last one brings them again. The idea is that of
//! Flink's multi-way join (FLIP-516).

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
use weir_core::{Batch, ColumnBuilder, Error, Result, RowKind, Schema};
use weir_expr::eval::condition;
use weir_expr::{EvalContext, Expr, OnError, Session};

/// An input of a [`MultiJoinFactory`].
pub struct JoinInput {
    /// Its columns.
    pub schema: Schema,
    /// The columns that must be equal to those of the other inputs.
    pub on: Vec<usize>,
    /// Whether the other inputs' rows are also joined if it has no row of their key. The first input is not optional.
    pub optional: bool,
    /// Whether its rows are retracted.
    pub retracts: bool,
    /// The time to live of its rows in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
}

/// Creates joins of several inputs.
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
            optional: self.inputs.iter().map(|i| i.optional).collect(),
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
    optional: Vec<bool>,
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
    kind: RowKind,
    /// Whether NULLs stand for the row.
    missing: bool,
}

/// Rows of a batch, combined with rows of the other inputs.
#[derive(Default)]
struct Combined {
    rows: Vec<Option<u32>>,
    kinds: Vec<i8>,
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
        let outer = self.optional.contains(&true);
        let needs_others = self.others(input).any(|n| !self.optional[n]) || self.optional[input];
        for row in 0..batch.rows() {
            let (key, kind) = (keys.get(row), batch.kind(row));
            // A row with NULLs is no update of one without, nor the other way round.
            let kind = match (outer, kind.sign() > 0) {
                (true, true) => RowKind::Insert,
                (true, false) => RowKind::Delete,
                (false, _) => kind,
            };
            let incoming = Incoming { batch: &batch, input, row, key, kind, missing: false };
            if never.iter().any(|c| c.is_null(row)) {
                // It has no partners.
                if !needs_others {
                    let alone: Vec<_> = self.others(input).map(|n| (n, None)).collect();
                    self.push(incoming, &alone, &mut combined, out)?;
                }
                continue;
            }
            encoded.clear();
            encode_row(&rest, row, &mut encoded);
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
        Combined { columns: self.inputs.iter().map(columns).collect(), ..Combined::default() }
    }

    /// The inputs besides one.
    fn others(&self, input: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.inputs.len()).filter(move |n| *n != input)
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
        let Incoming { input, key, kind, .. } = incoming;
        let comes = kind.sign() > 0;
        if !comes && !self.kept.remove_row(key, encoded, input, &mut rows[input])? {
            // The insertion was not seen.
            return Ok(());
        }
        let others: Vec<usize> = self.others(input).collect();
        if others.iter().all(|n| self.optional[*n] || !rows[*n].is_empty()) {
            let only_one = self.optional[input] && rows[input].is_empty();
            let missing = |kind| Incoming { kind, missing: true, ..incoming };
            if only_one && comes {
                self.combine(missing(RowKind::Delete), rows, &others, &mut vec![], combined, out)?;
            }
            self.combine(incoming, rows, &others, &mut vec![], combined, out)?;
            if only_one && !comes {
                self.combine(missing(RowKind::Insert), rows, &others, &mut vec![], combined, out)?;
            }
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
        chosen: &mut Vec<(usize, Option<Entry>)>,
        combined: &mut Combined,
        out: &mut Collector,
    ) -> Result<()> {
        let Some((first, rest)) = others.split_first() else {
            return self.push(incoming, chosen, combined, out);
        };
        if rows[*first].is_empty() {
            chosen.push((*first, None));
            self.combine(incoming, rows, rest, chosen, combined, out)?;
            chosen.pop();
            return Ok(());
        }
        let mut from = vec![];
        loop {
            let page = self.kept.page(incoming.key, *first, &rows[*first], (&from, None))?;
            let more = page.len() == PAGE && rows[*first].is_many();
            from = page.last().map_or(from, |last| [last.key.as_slice(), &[0]].concat());
            for entry in page {
                chosen.push((*first, Some(entry)));
                self.combine(incoming, rows, rest, chosen, combined, out)?;
                chosen.pop();
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Adds a row with the chosen rows of all other inputs, as often as these are there. Where none is chosen there are NULLs.
    fn push(
        &mut self,
        incoming: Incoming<'_>,
        chosen: &[(usize, Option<Entry>)],
        combined: &mut Combined,
        out: &mut Collector,
    ) -> Result<()> {
        let there = chosen.iter().filter_map(|(_, entry)| entry.as_ref());
        let times = there.fold(1u64, |times, entry| times.saturating_mul(entry.times));
        for _ in 0..times {
            for (n, entry) in chosen {
                match entry {
                    Some(entry) => self.inputs[*n].decode(incoming.key, entry.row(), &mut combined.columns[*n])?,
                    None => combined.columns[*n].iter_mut().for_each(ColumnBuilder::push_null),
                }
            }
            combined.rows.push((!incoming.missing).then_some(incoming.row as u32));
            combined.kinds.push(incoming.kind as i8);
            if combined.rows.len() >= MOST_ROWS {
                let full = std::mem::replace(combined, self.nothing());
                self.emit(incoming.batch, incoming.input, full, out)?;
            }
        }
        Ok(())
    }

    /// Emits the rows that satisfy the condition.
    fn emit(&mut self, batch: &Batch, input: usize, combined: Combined, out: &mut Collector) -> Result<()> {
        let Combined { rows, kinds, columns } = combined;
        if rows.is_empty() {
            return Ok(());
        }
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
