//! Joins two inputs whose rows may come and go, and emits the changes of the result.
//!
//! The rows of both sides are kept by key. A batch of one side is compared with the rows of the other one: first all candidates are
//! collected, then the condition is evaluated for all of them together, and then the rows are added to their side and the output is emitted
//! in the order of the batch.

mod interval;
mod many;
mod multi;
mod pairs;
mod rows;
mod state;
mod temporal;
mod windows;

use crate::change_rows::{ChangeRows, MOST_ROWS};
use crate::failed_rows::{FailedRows, user_functions};
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
pub use interval::IntervalJoinFactory;
use interval::time_prefix;
pub use multi::{JoinInput, MultiJoinFactory};
use pairs::{Candidates, Decided, Output, RowChange};
use rows::{Form, KeyRows, SideRows, decode_entry};
use state::{JoinState, MANY, PAGE};
use std::sync::Arc;
pub use temporal::TemporalJoinFactory;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::{Interval, JoinKey, JoinKind, LEFT, RIGHT};
use weir_core::key::{Keys, encode_row, owned_groups};
use weir_core::keyed::{BatchKeys, Touched};
use weir_core::state::{Changes, Epoch, Pair};
use weir_core::{Batch, Error, Result, RowKind, Schema};
use weir_expr::{EvalContext, Expr, OnError, Session};
pub use windows::WindowJoinFactory;

/// Creates joins.
#[derive(Clone)]
pub struct JoinFactory {
    /// The kind of the join.
    pub kind: JoinKind,
    /// The columns that must be equal.
    pub on: Vec<JoinKey>,
    /// The condition that pairs must satisfy besides, over the columns of the left side, then those of the right side.
    pub condition: Option<Expr>,
    /// The columns of the left input.
    pub left: Schema,
    /// The columns of the right input.
    pub right: Schema,
    /// The columns of a pair.
    pub pairs: Schema,
    /// The columns of the output.
    pub schema: Schema,
    /// For each side, whether its rows are retracted.
    pub retracts: [bool; 2],
    /// Whether each left row is emitted once, with its kind.
    pub keeps_kinds: bool,
    /// Whether rows that depend on the absence of a partner are only emitted at the end of the inputs, whose rows only come.
    pub at_end: bool,
    /// The time to live of each side's rows in milliseconds; 0 = unlimited.
    pub ttl_millis: [u64; 2],
    /// The session.
    pub session: Arc<Session>,
    /// The handling of pairs for which the condition fails.
    pub on_error: OnError,
    /// The statement of this operator, for dead letters.
    pub statement: String,
}

/// The maximum number of rows of a key in a batch that are processed together with those of other keys.
const FEW_ROWS: usize = 256;

/// The description of an input.
struct Side {
    types: Vec<DataType>,
    /// The key columns.
    on: Vec<usize>,
    /// The other columns.
    rest: Vec<usize>,
    form: Form,
}

impl Side {
    fn new(schema: &Schema, on: Vec<usize>, form: Form) -> Side {
        Side {
            types: schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            rest: (0..schema.len()).filter(|c| !on.contains(c)).collect(),
            on,
            form,
        }
    }

    fn of_join(plan: &JoinFactory, side: usize, sorted: bool) -> Side {
        let schema = if side == LEFT { &plan.left } else { &plan.right };
        let on = plan.on.iter().map(|k| k.of(side)).collect();
        let (counts, timed, retracts) = (plan.kind.counts(side), plan.ttl_millis[side] > 0, plan.retracts[side]);
        Side::new(schema, on, Form { counts, timed, retracts, sorted })
    }
}

impl OperatorFactory for JoinFactory {
    fn functions(&self) -> Vec<String> {
        user_functions(&self.condition)
    }
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.open_join(context, false)?))
    }
}

impl JoinFactory {
    /// `sorted`: whether rows of keys with many rows that are never retracted are kept in the order of their columns.
    fn open_join(&self, context: SubtaskContext, sorted: bool) -> Result<Join> {
        self.check()?;
        let mut eval = EvalContext::new(self.session.clone()).with_clock(context.clock.clone());
        eval.on_error = self.on_error;
        let sides = [LEFT, RIGHT].map(|side| Side::of_join(self, side, sorted));
        let forms = sides.iter().map(|side| side.form).collect();
        let kept = JoinState::open(forms, self.ttl_millis.to_vec(), &context)?;
        let failed = FailedRows::new(&context, &self.statement);
        Ok(Join { sides, plan: self.clone(), kept, eval, failed, context, probe: Probe::Key })
    }
}

/// The operator.
struct Join {
    plan: JoinFactory,
    sides: [Side; 2],
    kept: JoinState,
    eval: EvalContext,
    failed: FailedRows,
    context: SubtaskContext,
    probe: Probe,
}

/// The rows of the other side that a row is compared with when it comes.
#[derive(Clone, Copy)]
enum Probe {
    /// None.
    None,
    /// Those with the same key.
    Key,
    /// Those with the same key whose time is in an interval. The first stored column is the time.
    Interval(Interval),
}

/// A batch of one side, with the encoded rows.
struct Incoming<'a> {
    batch: &'a Batch,
    side: usize,
    keys: &'a Keys,
    found: &'a BatchKeys,
    rest: Vec<ArrayRef>,
    /// The time of day; 0 without a time to live.
    now: u64,
    /// For each side, when the oldest row that has not expired was written; 0 without a time to live.
    oldest: [u64; 2],
}

impl Incoming<'_> {
    fn place(&self, row: usize) -> usize {
        self.found.places[self.found.numbers[row] as usize] as usize
    }
    fn encode(&self, row: usize, into: &mut Vec<u8>) {
        into.clear();
        encode_row(&self.rest, row, into);
    }
}

impl Operator for Join {
    fn process(&mut self, side: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let batch = self.without_nulls(side, batch, out)?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let keys = Keys::of(&batch, &self.sides[side].on);
        let found = self.kept.state.places(&keys)?;
        self.take(side, &batch, (&keys, &found), out)
    }

    fn results_at_end(&self) -> bool {
        self.plan.at_end
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if !self.plan.at_end {
            return Ok(());
        }
        let mut rows = ChangeRows::new(self.plan.schema.clone());
        for group in owned_groups(self.context.subtask, self.context.parallelism) {
            let mut older = self.kept.state.all_stored(group, &[]);
            loop {
                let page: Vec<Pair> = older.by_ref().take(PAGE).collect::<Result<_>>()?;
                if page.is_empty() {
                    break;
                }
                for (key, bytes) in page {
                    self.without_partner(&key, &self.kept.state.codec().read(&bytes)?, &mut rows, out)?;
                }
            }
        }
        let mut cached: Vec<(&[u8], u32)> = self.kept.state.all_cached().map(|(key, place, ())| (key, place)).collect();
        cached.sort_unstable();
        for (key, place) in cached {
            self.without_partner(key, &self.kept.state.codec().keys[place as usize], &mut rows, out)?;
        }
        out.emit(rows.take()?.with_kinds(None));
        Ok(())
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

impl Join {
    /// Compares the rows of a batch with the other side, adds them to their side, and emits what follows. None of them has a NULL that equals
    /// nothing, unless such rows wait until the end. `found` are the places of their keys.
    fn take(
        &mut self,
        side: usize,
        batch: &Batch,
        (keys, found): (&Keys, &BatchKeys),
        out: &mut Collector,
    ) -> Result<()> {
        let incoming = Incoming {
            batch,
            side,
            keys,
            found,
            rest: self.sides[side].rest.iter().map(|c| batch.data.column(*c).clone()).collect(),
            now: self.kept.state.now(),
            oldest: [LEFT, RIGHT].map(|side| self.kept.oldest(side)),
        };
        let (mut few, mut many) = (vec![], vec![]);
        let mut counts = vec![0; found.places.len()];
        found.numbers.iter().for_each(|n| counts[*n as usize] += 1);
        let retracts = self.sides[side].form.retracts;
        self.kept.state.change(&found.places, |kept, _| {
            kept.keys.grow(found.room());
            for (row, number) in found.numbers.iter().enumerate() {
                let key_rows = &kept.keys[incoming.place(row)];
                // Rows that are never retracted are added without being compared with those that are there.
                let large = retracts && (key_rows[side].is_many() || counts[*number as usize] > FEW_ROWS);
                if large || key_rows[1 - side].is_many() { &mut many } else { &mut few }.push(row);
            }
            Ok(())
        })?;
        let added = self.few(&incoming, &few, out)?;
        self.spill(&incoming, &few)?;
        // Reading entries may evict keys, so the places of the batch's keys are not used any more.
        self.add_entries(&incoming, added)?;
        self.many(&incoming, &many, out)
    }

    /// Calls `change` with the rows of a key, which it may change.
    fn with_rows<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Self, &mut KeyRows) -> Result<R>) -> Result<R> {
        let (place, mut rows) = self.kept.take(key)?;
        let result = change(self, &mut rows);
        self.kept.put_back(place, rows)?;
        result
    }

    /// Removes the rows whose key has a NULL, which equals nothing. They have no partner, and need not be kept.
    fn without_nulls(&mut self, side: usize, batch: Batch, out: &mut Collector) -> Result<Batch> {
        let columns = self.plan.on.iter().filter(|k| !k.nulls_equal).map(|k| batch.data.column(k.of(side)));
        let columns: Vec<&ArrayRef> = columns.filter(|c| c.null_count() > 0).collect();
        if columns.is_empty() {
            return Ok(batch);
        }
        let whole = |row: usize| columns.iter().all(|c| c.is_valid(row));
        let keeps: BooleanArray = (0..batch.rows()).map(|row| Some(whole(row))).collect();
        let mut output = Output::default();
        if !self.plan.at_end {
            for row in (0..batch.rows()).filter(|row| !keeps.value(*row)) {
                let change = RowChange { row: row as u32, side, kind: batch.kind(row), plan: &self.plan };
                output.alone(change, 0);
            }
            self.emit(&mut output, &batch, side, &Decided::none(&self.sides[1 - side]), out)?;
        } else if self.plan.kind.emits_unmatched(side) {
            // They are kept until the end with the others.
            return Ok(batch);
        }
        batch.filter(&keeps)
    }

    fn emit(
        &self,
        output: &mut Output,
        batch: &Batch,
        side: usize,
        decided: &Decided,
        out: &mut Collector,
    ) -> Result<()> {
        if output.len() > 0 {
            out.emit(output.take(batch, side, decided, &self.plan)?);
        }
        Ok(())
    }

    /// Whether a row of a batch is compared with the other side.
    fn may_match(&self, incoming: &Incoming<'_>, row: usize) -> bool {
        if matches!(self.probe, Probe::None) {
            return false;
        }
        let null = |k: &JoinKey| !k.nulls_equal && incoming.batch.data.column(k.of(incoming.side)).is_null(row);
        !self.plan.at_end || !self.plan.on.iter().any(null)
    }

    /// Processes rows whose keys have few rows on the other side. Returns those that need an entry of their own, with the numbers of their
    /// partners.
    fn few(&mut self, incoming: &Incoming<'_>, rows: &[usize], out: &mut Collector) -> Result<Vec<(usize, u32)>> {
        let (mut rest, mut added) = (rows, vec![]);
        while !rest.is_empty() {
            rest = self.few_once(incoming, rest, &mut added, out)?;
        }
        Ok(added)
    }

    /// Processes the first rows, as many as make an output batch. Returns the others.
    fn few_once<'r>(
        &mut self,
        incoming: &Incoming<'_>,
        rows: &'r [usize],
        added: &mut Vec<(usize, u32)>,
        out: &mut Collector,
    ) -> Result<&'r [usize]> {
        let (side, other) = (incoming.side, 1 - incoming.side);
        let mut candidates = Candidates::new(&self.sides[other]);
        let mut ends = vec![];
        let kept = self.kept.state.codec();
        for row in rows {
            if let SideRows::Few(others) = &kept.keys[incoming.place(*row)][other]
                && self.may_match(incoming, *row)
            {
                let alive = others.iter(self.sides[other].form).filter(|r| r.written >= incoming.oldest[other]);
                for stored in alive {
                    candidates.push(*row, incoming.keys.get(*row), stored, &self.sides[other])?;
                }
            }
            ends.push(candidates.len());
            if candidates.len() >= MOST_ROWS {
                break;
            }
        }
        let (now, later) = rows.split_at(ends.len());
        let decided = candidates.decide(incoming.batch, side, &self.plan, &mut self.eval, &self.failed, out)?;
        let mut output = Output::default();
        let (plan, form) = (&self.plan, self.sides[side].form);
        self.kept.state.change(&incoming.found.places, |kept, touched| {
            let (mut begin, mut bytes) = (0, vec![]);
            for (row, end) in now.iter().zip(&ends) {
                let range = std::mem::replace(&mut begin, *end)..*end;
                let kind = incoming.batch.kind(*row);
                let key_rows = &mut kept.keys[incoming.place(*row)];
                let (own, others) = key_rows.both_mut(side, other);
                match own {
                    SideRows::Few(own) => {
                        incoming.encode(*row, &mut bytes);
                        if incoming.oldest[side] > 0 {
                            own.expire(incoming.oldest[side], form);
                        }
                        if kind.sign() > 0 {
                            own.add(&bytes, decided.count(range.clone()), incoming.now, form);
                        } else if !own.remove(&bytes, form) {
                            // The insertion was not seen.
                            continue;
                        }
                    }
                    SideRows::Many(_) => added.push((*row, decided.count(range.clone()))),
                }
                let touched = &mut touched[incoming.found.numbers[*row] as usize];
                *touched = Touched { there: true, changed: true };
                let change = RowChange { row: *row as u32, side, kind, plan };
                let SideRows::Few(others) = others else { continue };
                let step = |n: usize, up| others.step(decided.partners_at[n], up);
                let partners = output.pairs(change, &decided, range, step);
                output.alone(change, partners);
            }
            Ok(())
        })?;
        self.emit(&mut output, incoming.batch, side, &decided, out)?;
        Ok(later)
    }

    /// Emits the rows of a key that have no partner at the end.
    fn without_partner(
        &self,
        key: &[u8],
        key_rows: &KeyRows,
        rows: &mut ChangeRows,
        out: &mut Collector,
    ) -> Result<()> {
        for side in [LEFT, RIGHT] {
            if !self.plan.kind.emits_unmatched(side) {
                continue;
            }
            let form = self.sides[side].form;
            match &key_rows[side] {
                SideRows::Few(few) => {
                    for stored in few.iter(form).filter(|r| r.partners == 0) {
                        self.push_alone(key, stored.row, side, stored.times, rows)?;
                    }
                }
                SideRows::Many(_) => {
                    for pair in MANY[side].range(&self.kept.state, key, &[], None) {
                        let (row, entry) = pair?;
                        if let (times, 0) = decode_entry(&entry, form)? {
                            self.push_alone(key, row.get(form.row_at()..).unwrap_or_default(), side, times, rows)?;
                        }
                        rows.make_room(out)?;
                    }
                }
            }
            rows.make_room(out)?;
        }
        Ok(())
    }

    fn push_alone(&self, key: &[u8], row: &[u8], side: usize, times: u64, rows: &mut ChangeRows) -> Result<()> {
        let width = self.plan.left.len();
        for _ in 0..times {
            let builders = rows.row(RowKind::Insert);
            let (left, right) = builders.split_at_mut(width);
            let (own, others) = if side == LEFT { (left, right) } else { (right, left) };
            self.sides[side].decode(key, row, own)?;
            others.iter_mut().for_each(weir_core::ColumnBuilder::push_null);
        }
        Ok(())
    }
}

impl JoinFactory {
    /// Checks that the columns of both sides that are compared have the same types.
    ///
    /// # Errors
    /// An internal error.
    fn check(&self) -> Result<()> {
        for key in &self.on {
            let (left, right) = (&self.left.fields[key.left].ty, &self.right.fields[key.right].ty);
            if left.arrow() != right.arrow() {
                return Err(Error::internal(format!("a join compares {left} with {right}")));
            }
        }
        Ok(())
    }
}
