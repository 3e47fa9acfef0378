//! Candidate pairs of a batch's rows with rows of the other side, and the output that follows from them.

use super::rows::StoredRow;
use super::{JoinFactory, Side};
use crate::failed_rows::FailedRows;
use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use std::collections::BTreeSet;
use std::ops::Range;
use weir_core::graph::Collector;
use weir_core::join::{JoinKind, LEFT, RIGHT};
use weir_core::key::decode_into;
use weir_core::{Batch, ColumnBuilder, Result, RowKind};
use weir_expr::EvalContext;
use weir_expr::eval::condition;

/// Rows of the other side that have the key of a batch's row.
pub(super) struct Candidates {
    /// For each candidate, the row of the batch.
    rows: Vec<u32>,
    /// For each candidate, how often the other side has its row.
    times: Vec<u32>,
    /// For each candidate, where the number of its partners is.
    pub partners_at: Vec<usize>,
    columns: Vec<ColumnBuilder>,
}

impl Candidates {
    /// No candidates of a side.
    pub fn new(side: &Side) -> Candidates {
        let columns = side.types.iter().map(ColumnBuilder::new).collect();
        Candidates { rows: vec![], times: vec![], partners_at: vec![], columns }
    }

    /// The number of candidates.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a candidate for a row of the batch.
    ///
    /// # Errors
    /// If the store is damaged.
    pub fn push(&mut self, row: usize, key: &[u8], other: StoredRow<'_>, side: &Side) -> Result<()> {
        side.decode(key, other.row, &mut self.columns)?;
        self.rows.push(row as u32);
        self.times.push(u32::try_from(other.times).unwrap_or(u32::MAX));
        self.partners_at.push(other.partners_at);
        Ok(())
    }

    /// Decides which candidates are partners.
    ///
    /// # Errors
    /// If the condition fails, and the statement fails then.
    pub fn decide(
        self,
        batch: &Batch,
        side: usize,
        plan: &JoinFactory,
        context: &mut EvalContext,
        failed: &FailedRows,
        out: &mut Collector,
    ) -> Result<Decided> {
        let Candidates { rows, times, partners_at, columns } = self;
        let rows = UInt32Array::from(rows);
        let others: Vec<ArrayRef> = columns.into_iter().map(ColumnBuilder::finish).collect();
        let partners = match &plan.condition {
            None => None,
            Some(_) if rows.is_empty() => None,
            Some(on) => {
                let here = batch.data.columns().iter();
                let here: Vec<ArrayRef> =
                    here.map(|c| arrow::compute::take(c, &rows, None)).collect::<Result<_, _>>()?;
                let both = if side == LEFT { [here, others.clone()] } else { [others.clone(), here] }.concat();
                let pairs = Batch::from_columns(plan.pairs.arrow(), both, rows.len())?;
                let holds = condition(on, &pairs.data, context)?;
                Some(without(holds, &failed.handle(context.errors.drain(..), (&pairs, &plan.pairs), out)?))
            }
        };
        Ok(Decided { times, partners_at, others, partners })
    }
}

/// Pairs for which the condition fails are no partners, unless the failure only makes a value NULL.
pub(super) fn without(holds: BooleanArray, failed: &BTreeSet<u32>) -> BooleanArray {
    if failed.is_empty() {
        return holds;
    }
    let stays = holds.iter().enumerate().map(|(row, holds)| holds == Some(true) && !failed.contains(&(row as u32)));
    stays.map(Some).collect()
}

/// Candidates of which it is known which are partners.
pub(super) struct Decided {
    times: Vec<u32>,
    pub partners_at: Vec<usize>,
    others: Vec<ArrayRef>,
    partners: Option<BooleanArray>,
}

impl Decided {
    /// No candidates of a side.
    pub fn none(side: &Side) -> Decided {
        let others = side.types.iter().map(arrow::array::new_empty_array).collect();
        Decided { times: vec![], partners_at: vec![], others, partners: None }
    }

    /// The partners among a range of candidates.
    pub fn partners(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        range.filter(|n| self.partners.as_ref().is_none_or(|p| p.value(*n)))
    }

    /// The number of partners among a range of candidates.
    pub fn count(&self, range: Range<usize>) -> u32 {
        self.partners(range).map(|n| self.times[n]).fold(0, u32::saturating_add)
    }
}

/// The rows of the next output batch.
#[derive(Default)]
pub(super) struct Output {
    /// The row of the batch; none: NULLs.
    rows: Vec<Option<u32>>,
    /// The candidate; none: NULLs.
    candidates: Vec<Option<u32>>,
    kinds: Vec<i8>,
}

impl Output {
    fn push(&mut self, row: Option<u32>, candidate: Option<usize>, kind: RowKind, times: u32) {
        for _ in 0..times {
            self.rows.push(row);
            self.candidates.push(candidate.map(|n| n as u32));
            self.kinds.push(kind as i8);
        }
    }

    /// Adds what follows from a row of the batch and its candidates. `step` changes the number of partners of a candidate's row, and gives
    /// the former number. Returns the number of partners of the row.
    pub fn pairs(
        &mut self,
        change: RowChange<'_>,
        decided: &Decided,
        range: Range<usize>,
        mut step: impl FnMut(usize, bool) -> u32,
    ) -> u32 {
        let RowChange { row, side, kind, plan } = change;
        let (comes, other) = (kind.sign() > 0, 1 - side);
        let one = if comes { RowKind::Insert } else { RowKind::Delete };
        let one = if plan.keeps_kinds { kind } else { one };
        let undone = if comes { RowKind::Delete } else { RowKind::Insert };
        let mut partners = 0u32;
        for n in decided.partners(range) {
            let times = decided.times[n];
            partners = partners.saturating_add(times);
            // Whether this is the first partner to come, or the last one to go.
            let turns = plan.kind.counts(other) && (step(n, comes) == u32::from(!comes));
            match plan.kind {
                JoinKind::Semi | JoinKind::Anti if side == LEFT => {}
                JoinKind::Semi | JoinKind::Anti => {
                    let appears = (plan.kind == JoinKind::Semi) == comes;
                    if turns && !(plan.at_end && plan.kind == JoinKind::Anti) {
                        self.push(None, Some(n), if appears { RowKind::Insert } else { RowKind::Delete }, times);
                    }
                }
                JoinKind::Inner => self.push(Some(row), Some(n), kind, times),
                JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                    let padded = turns && plan.kind.pads(other) && !plan.at_end;
                    // The row without partner goes before pairs come, and comes after pairs have gone.
                    if padded && comes {
                        self.push(None, Some(n), undone, times);
                    }
                    self.push(Some(row), Some(n), one, times);
                    if padded && !comes {
                        self.push(None, Some(n), undone, times);
                    }
                }
            }
        }
        partners
    }

    /// Adds what follows from the number of partners of a row of the batch.
    pub fn alone(&mut self, change: RowChange<'_>, partners: u32) {
        let RowChange { row, side, kind, plan } = change;
        let emits = match plan.kind {
            JoinKind::Semi => side == LEFT && partners > 0,
            JoinKind::Anti => side == LEFT && partners == 0 && !plan.at_end,
            JoinKind::Left | JoinKind::Right | JoinKind::Full => plan.kind.pads(side) && partners == 0 && !plan.at_end,
            JoinKind::Inner => false,
        };
        let one = if kind.sign() > 0 { RowKind::Insert } else { RowKind::Delete };
        let kind = if plan.kind.left_only() || plan.keeps_kinds { kind } else { one };
        if emits {
            self.push(Some(row), None, kind, 1);
        }
    }

    /// Takes the rows out as a batch.
    ///
    /// # Errors
    /// An internal error.
    pub fn take(&mut self, batch: &Batch, side: usize, decided: &Decided, plan: &JoinFactory) -> Result<Batch> {
        let Output { rows, candidates, kinds } = std::mem::take(self);
        let count = kinds.len();
        let (rows, candidates) = (UInt32Array::from(rows), UInt32Array::from(candidates));
        let of_batch = batch.data.columns();
        let mut columns = vec![];
        for of in if plan.kind.left_only() { &[LEFT][..] } else { &[LEFT, RIGHT] } {
            let (from, indices) =
                if *of == side { (of_batch, &rows) } else { (decided.others.as_slice(), &candidates) };
            for column in from {
                columns.push(match indices.null_count() == count || column.is_empty() {
                    true => new_null_array(column.data_type(), count),
                    false => arrow::compute::take(column, indices, None)?,
                });
            }
        }
        Ok(Batch::from_columns(plan.schema.arrow(), columns, count)?.with_changes(kinds))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }
}

/// A row of a batch, and how it changes its side.
#[derive(Clone, Copy)]
pub(super) struct RowChange<'a> {
    pub row: u32,
    pub side: usize,
    pub kind: RowKind,
    pub plan: &'a JoinFactory,
}

impl Side {
    /// Appends the columns of a row, given its key and its other columns.
    ///
    /// # Errors
    /// If the store is damaged.
    pub fn decode(&self, mut key: &[u8], mut rest: &[u8], columns: &mut [ColumnBuilder]) -> Result<()> {
        for (n, column) in self.on.iter().enumerate() {
            if self.on[..n].contains(column) {
                weir_core::key::decode_value(&self.types[*column], &mut key)?;
            } else {
                decode_into(&self.types[*column], &mut key, &mut columns[*column])?;
            }
        }
        for column in &self.rest {
            decode_into(&self.types[*column], &mut rest, &mut columns[*column])?;
        }
        Ok(())
    }
}
