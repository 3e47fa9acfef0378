//! Joins two inputs whose rows may come and go, and emits the changes of the result.
//!
//! The rows of both sides are kept by key. A batch of one side is compared with the rows of the other one: first all candidates are
//! collected, then the condition is evaluated for all of them together, and then the rows are added to their side and the output is emitted
//! in the order of the batch.

mod interval;
mod pairs;
mod rows;
mod temporal;
mod windows;

use crate::change_rows::{ChangeRows, MOST_ROWS};
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
pub use interval::IntervalJoinFactory;
use interval::time_prefix;
use pairs::{Candidates, Decided, Output, RowChange};
use rows::{FewRows, Form, JoinRows, KeyRows, SideRows, StoredRow, decode_entry, encode_entry, stepped};
use std::sync::Arc;
pub use temporal::TemporalJoinFactory;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::{Interval, JoinKey, JoinKind, LEFT, RIGHT};
use weir_core::key::{Keys, encode_row, owned_groups};
use weir_core::keyed::{BatchKeys, KeyedState, MapState, Touched};
use weir_core::state::{Changes, Epoch, Pair};
use weir_core::watermarks::row_time;
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
    /// The time to live of a row in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// The session.
    pub session: Arc<Session>,
    /// The handling of pairs for which the condition fails.
    pub on_error: OnError,
}

/// The rows of keys with many rows, one map for each side.
const MANY: [MapState; 2] = [MapState::new(0), MapState::new(1)];

/// The maximum number of rows of a key in a batch that are processed together with those of other keys.
const FEW_ROWS: usize = 256;

/// The number of rows that are read at once.
const PAGE: usize = 4096;

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
    fn new(plan: &JoinFactory, side: usize) -> Side {
        let schema = if side == LEFT { &plan.left } else { &plan.right };
        let on: Vec<usize> = plan.on.iter().map(|k| k.of(side)).collect();
        Side {
            types: schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            rest: (0..schema.len()).filter(|c| !on.contains(c)).collect(),
            on,
            form: Form { counts: plan.kind.counts(side), timed: plan.ttl_millis > 0, retracts: plan.retracts[side] },
        }
    }
}

impl OperatorFactory for JoinFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.open_join(context)?))
    }
}

impl JoinFactory {
    fn open_join(&self, context: SubtaskContext) -> Result<Join> {
        self.check()?;
        let mut eval = EvalContext::new(self.session.clone()).with_clock(context.clock.clone());
        eval.on_error = self.on_error;
        let sides = [Side::new(self, LEFT), Side::new(self, RIGHT)];
        let rows = JoinRows::new([sides[LEFT].form, sides[RIGHT].form]);
        Ok(Join {
            sides,
            plan: self.clone(),
            state: KeyedState::open(rows, &context, self.ttl_millis)?,
            eval,
            context,
            probe: Probe::Key,
        })
    }
}

/// The operator.
struct Join {
    plan: JoinFactory,
    sides: [Side; 2],
    state: KeyedState<JoinRows>,
    eval: EvalContext,
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

/// A stored row, how often it is there, and the number of its partners.
type Entry = (Vec<u8>, u64, u32);

/// A batch of one side, with the encoded rows.
struct Incoming<'a> {
    batch: &'a Batch,
    side: usize,
    keys: &'a Keys,
    found: &'a BatchKeys,
    rest: Vec<ArrayRef>,
    /// The time of day, and the time of the oldest row that has not expired; 0 without a time to live.
    now: u64,
    oldest: u64,
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
        let found = self.state.places(&keys)?;
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
            let mut older = self.state.all_stored(group, &[]);
            loop {
                let page: Vec<Pair> = older.by_ref().take(PAGE).collect::<Result<_>>()?;
                if page.is_empty() {
                    break;
                }
                for (key, bytes) in page {
                    self.without_partner(&key, &self.state.codec().read(&bytes)?, &mut rows, out)?;
                }
            }
        }
        let mut cached: Vec<(&[u8], u32)> = self.state.all_cached().map(|(key, place, ())| (key, place)).collect();
        cached.sort_unstable();
        for (key, place) in cached {
            self.without_partner(key, &self.state.codec().keys[place as usize], &mut rows, out)?;
        }
        out.emit(rows.take()?.with_kinds(None));
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.state.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
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
        let now = if self.plan.ttl_millis > 0 { self.context.clock.now().max(0).cast_unsigned() } else { 0 };
        let incoming = Incoming {
            batch,
            side,
            keys,
            found,
            rest: self.sides[side].rest.iter().map(|c| batch.data.column(*c).clone()).collect(),
            now,
            oldest: now.saturating_sub(self.plan.ttl_millis),
        };
        let (mut few, mut many) = (vec![], vec![]);
        let mut counts = vec![0; found.places.len()];
        found.numbers.iter().for_each(|n| counts[*n as usize] += 1);
        self.state.change(&found.places, |kept, _| {
            kept.keys.grow(found.room());
            for (row, number) in found.numbers.iter().enumerate() {
                let large = kept.keys[incoming.place(row)].iter().any(SideRows::is_many);
                if large || counts[*number as usize] > FEW_ROWS { &mut many } else { &mut few }.push(row);
            }
            Ok(())
        })?;
        self.few(&incoming, &few, out)?;
        self.spill(&incoming, &few)?;
        // Reading entries may evict keys, so the places of the batch's keys are not used any more.
        many.into_iter().try_for_each(|row| self.many(&incoming, row, out))
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

    /// Processes rows whose keys have few rows on both sides.
    fn few(&mut self, incoming: &Incoming<'_>, rows: &[usize], out: &mut Collector) -> Result<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            rest = self.few_once(incoming, rest, out)?;
        }
        Ok(())
    }

    /// Processes the first rows, as many as make an output batch. Returns the others.
    fn few_once<'r>(&mut self, incoming: &Incoming<'_>, rows: &'r [usize], out: &mut Collector) -> Result<&'r [usize]> {
        let (side, other) = (incoming.side, 1 - incoming.side);
        let mut candidates = Candidates::new(&self.sides[other]);
        let mut ends = vec![];
        let kept = self.state.codec();
        for row in rows {
            if let SideRows::Few(others) = &kept.keys[incoming.place(*row)][other]
                && self.may_match(incoming, *row)
            {
                let alive = others.iter(self.sides[other].form).filter(|r| r.written >= incoming.oldest);
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
        let decided = candidates.decide(incoming.batch, side, &self.plan, &mut self.eval, &self.context.metrics)?;
        let mut output = Output::default();
        let (plan, form) = (&self.plan, self.sides[side].form);
        self.state.change(&incoming.found.places, |kept, touched| {
            let (mut begin, mut bytes) = (0, vec![]);
            for (row, end) in now.iter().zip(&ends) {
                let range = std::mem::replace(&mut begin, *end)..*end;
                let kind = incoming.batch.kind(*row);
                incoming.encode(*row, &mut bytes);
                let key_rows = &mut kept.keys[incoming.place(*row)];
                let SideRows::Few(own) = &mut key_rows[side] else { continue };
                if incoming.oldest > 0 {
                    own.expire(incoming.oldest, form);
                }
                let comes = kind.sign() > 0;
                if comes {
                    own.add(&bytes, decided.count(range.clone()), incoming.now, form);
                } else if !own.remove(&bytes, form) {
                    // The insertion was not seen.
                    continue;
                }
                let touched = &mut touched[incoming.found.numbers[*row] as usize];
                *touched = Touched { there: true, changed: true };
                let change = RowChange { row: *row as u32, side, kind, plan };
                let SideRows::Few(others) = &mut key_rows[other] else { continue };
                let step = |n: usize, up| others.step(decided.partners_at[n], up);
                let partners = output.pairs(change, &decided, range, step);
                output.alone(change, partners);
            }
            Ok(())
        })?;
        self.emit(&mut output, incoming.batch, side, &decided, out)?;
        Ok(later)
    }

    /// Gives the rows of keys that have become too many entries of their own.
    fn spill(&mut self, incoming: &Incoming<'_>, rows: &[usize]) -> Result<()> {
        let side = incoming.side;
        let large = |rows: &SideRows| matches!(rows, SideRows::Few(few) if few.is_large());
        for row in rows {
            let (key, place) = (incoming.keys.get(*row), incoming.place(*row));
            if !large(&self.state.codec().keys[place][side]) {
                continue;
            }
            let few = self.state.change(&[place as u32], |kept, _| Ok(std::mem::take(&mut kept.keys[place][side])))?;
            let SideRows::Few(few) = few else { continue };
            let count = self.separate(key, side, &few, incoming.oldest)?;
            self.state.change(&[place as u32], |kept, _| {
                kept.keys[place][side] = SideRows::Many(count);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Stores rows as entries of their own. Returns their number.
    fn separate(&mut self, key: &[u8], side: usize, few: &FewRows, oldest: u64) -> Result<u64> {
        let mut count = SideRows::Many(0);
        for stored in few.iter(self.sides[side].form).filter(|r| r.written >= oldest) {
            self.add_row(key, stored.row, side, &mut count, (stored.times, stored.partners), oldest)?;
        }
        Ok(if let SideRows::Many(count) = count { count } else { 0 })
    }

    /// Processes a row whose key has many rows on one side, or in the batch.
    fn many(&mut self, incoming: &Incoming<'_>, row: usize, out: &mut Collector) -> Result<()> {
        self.with_rows(incoming.keys.get(row), |this, key_rows| this.one_of_many(incoming, row, key_rows, out))
    }

    /// Calls `change` with the rows of a key, which it may change.
    fn with_rows(&mut self, key: &[u8], change: impl FnOnce(&mut Self, &mut KeyRows) -> Result<()>) -> Result<()> {
        let mut one = Keys::default();
        one.push(key);
        let places = self.state.places(&one)?.places;
        let at = places[0] as usize;
        let mut key_rows = self.state.change(&places, |kept, touched| {
            // A changed key is not evicted.
            touched[0] = Touched { there: true, changed: true };
            kept.keys.grow(at + 1);
            Ok(std::mem::take(&mut kept.keys[at]))
        })?;
        let result = change(self, &mut key_rows);
        self.state.change(&places, |kept, _| {
            kept.keys[at] = key_rows;
            Ok(())
        })?;
        result
    }

    fn one_of_many(
        &mut self,
        incoming: &Incoming<'_>,
        row: usize,
        key_rows: &mut KeyRows,
        out: &mut Collector,
    ) -> Result<()> {
        let (side, other, key) = (incoming.side, 1 - incoming.side, incoming.keys.get(row));
        let kind = incoming.batch.kind(row);
        let mut bytes = vec![];
        incoming.encode(row, &mut bytes);
        if kind.sign() < 0 && !self.remove_row(key, &bytes, side, &mut key_rows[side])? {
            // The insertion was not seen.
            return Ok(());
        }
        let mut partners = 0u32;
        let (mut from, to) = self.range(incoming, row)?;
        loop {
            let page = if self.may_match(incoming, row) {
                let range = (from.as_slice(), to.as_deref());
                self.page(key, other, &key_rows[other], range, incoming.oldest)?
            } else {
                vec![]
            };
            let more = page.len() == PAGE && key_rows[other].is_many();
            let mut candidates = Candidates::new(&self.sides[other]);
            for (row_bytes, times, count) in &page {
                let stored = StoredRow::of(row_bytes, *times, *count);
                candidates.push(row, key, stored, &self.sides[other])?;
            }
            let decided = candidates.decide(incoming.batch, side, &self.plan, &mut self.eval, &self.context.metrics)?;
            let mut output = Output::default();
            let change = RowChange { row: row as u32, side, kind, plan: &self.plan };
            let mut stepped_rows = vec![];
            let found = output.pairs(change, &decided, 0..page.len(), |n, up| {
                stepped_rows.push((n, stepped(page[n].2, up)));
                page[n].2
            });
            partners = partners.saturating_add(found);
            if !more {
                output.alone(change, partners);
            }
            self.emit(&mut output, incoming.batch, side, &decided, out)?;
            for (n, count) in stepped_rows {
                self.set_partners(key, other, &mut key_rows[other], &page[n], count);
            }
            if !more {
                break;
            }
            from = page.last().map_or(from, |(row, ..)| [row.as_slice(), &[0]].concat());
        }
        if kind.sign() > 0 {
            self.add_row(key, &bytes, side, &mut key_rows[side], (1, partners), incoming.now)?;
        }
        Ok(())
    }

    /// The range of stored rows of the other side that a row of a batch is compared with.
    fn range(&self, incoming: &Incoming<'_>, row: usize) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let Probe::Interval(interval) = self.probe else { return Ok((vec![], None)) };
        let (side, other) = (incoming.side, 1 - incoming.side);
        let Some(time) = row_time(incoming.batch.data.column(interval.times[side]), row)? else {
            return Ok((vec![], None));
        };
        let ty = &self.sides[other].types[interval.times[other]];
        let to = interval.last_partner(side, time).saturating_add(1);
        Ok((time_prefix(interval.first_partner(side, time), ty), Some(time_prefix(to, ty))))
    }

    /// Rows of a side of a key, with how often they are there and the numbers of their partners. If there are many, at most [`PAGE`] of a
    /// range.
    fn page(
        &self,
        key: &[u8],
        side: usize,
        rows: &SideRows,
        (from, to): (&[u8], Option<&[u8]>),
        oldest: u64,
    ) -> Result<Vec<Entry>> {
        let form = self.sides[side].form;
        match rows {
            SideRows::Few(few) => {
                let alive = few.iter(form).filter(|r| r.written >= oldest);
                Ok(alive.map(|r| (r.row.to_vec(), r.times, r.partners)).collect())
            }
            SideRows::Many(_) => {
                let range = MANY[side].range(&self.state, key, from, to);
                let entries = range.take(PAGE).map(|pair| {
                    let (row, entry) = pair?;
                    let (times, partners) = decode_entry(&entry, form)?;
                    Ok((row, times, partners))
                });
                entries.collect()
            }
        }
    }

    fn set_partners(&mut self, key: &[u8], side: usize, rows: &mut SideRows, (row, times, _): &Entry, partners: u32) {
        let form = self.sides[side].form;
        match rows {
            SideRows::Few(few) => few.set_partners(row, partners, form),
            SideRows::Many(_) => MANY[side].put(&mut self.state, key, row, &encode_entry(*times, partners, form)),
        }
    }

    fn add_row(
        &mut self,
        key: &[u8],
        row: &[u8],
        side: usize,
        rows: &mut SideRows,
        (times, partners): (u64, u32),
        now: u64,
    ) -> Result<()> {
        let form = self.sides[side].form;
        match rows {
            SideRows::Few(few) => {
                few.add(row, partners, now, form);
                if few.is_large() {
                    let few = std::mem::take(few);
                    *rows = SideRows::Many(self.separate(key, side, &few, now.saturating_sub(self.plan.ttl_millis))?);
                }
            }
            SideRows::Many(count) => {
                let entry = MANY[side].get(&mut self.state, key, row)?;
                let before = entry.map(|e| decode_entry(&e, form)).transpose()?.map_or(0, |(times, _)| times);
                *count += u64::from(before == 0);
                MANY[side].put(&mut self.state, key, row, &encode_entry(before + times, partners, form));
            }
        }
        Ok(())
    }

    /// Returns whether the row was there.
    fn remove_row(&mut self, key: &[u8], row: &[u8], side: usize, rows: &mut SideRows) -> Result<bool> {
        let form = self.sides[side].form;
        match rows {
            SideRows::Few(few) => Ok(few.remove(row, form)),
            SideRows::Many(count) => {
                let Some(entry) = MANY[side].get(&mut self.state, key, row)? else { return Ok(false) };
                let (times, partners) = decode_entry(&entry, form)?;
                if times > 1 {
                    MANY[side].put(&mut self.state, key, row, &encode_entry(times - 1, partners, form));
                } else {
                    MANY[side].remove(&mut self.state, key, row);
                    *count = count.saturating_sub(1);
                }
                Ok(true)
            }
        }
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
                    for pair in MANY[side].range(&self.state, key, &[], None) {
                        let (row, entry) = pair?;
                        if let (times, 0) = decode_entry(&entry, form)? {
                            self.push_alone(key, &row, side, times, rows)?;
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
