//! GROUP BY: groups in memory, everything older in the store.
//!
//! A batch touches each of its keys once in the store; the first touch notes what the group gave before, and at the end
//! of the batch the difference goes out. A local aggregation in front of an exchange gives one row a key and batch: the
//! key, and the accumulators in the form that the store keeps.

mod accumulator;
mod assign;
mod counted;
mod ordered;
mod out;
mod result;
mod stored;
mod wide;

use accumulator::{Accumulator, Input};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray};
use arrow::datatypes::DataType;
use assign::{Assignment, Signs, assign};
use hashbrown::HashMap;
use out::RowsOut;
use std::sync::Arc;
use stored::{value_key, value_keys};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{self, Keys, key_group};
use weir_core::keyed::TimeToLive;
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, Field, Result, Schema, SqlType};
use weir_expr::aggregate::AggregateCall;

/// How an aggregation takes part in a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Rows in, results out.
    Whole,
    /// Rows in, a row a key and batch out, for [`Stage::Final`].
    Local,
    /// What [`Stage::Local`] gave in, results out.
    Final,
}

/// Makes aggregations.
#[derive(Clone)]
pub struct AggregateFactory {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The rows' columns, before any local stage.
    pub input: Schema,
    /// Keys, then results.
    pub schema: Schema,
    /// Which part of it this is.
    pub stage: Stage,
    /// Whether the input's rows can go again.
    pub retracts: bool,
    /// Whether results go out only at the end.
    pub at_end: bool,
    /// After how many milliseconds without access a key is forgotten; 0 = never.
    pub ttl_millis: u64,
}

impl AggregateFactory {
    /// What [`Stage::Local`] gives out: the keys, then the accumulators.
    pub fn local_schema(&self) -> Schema {
        let mut fields: Vec<Field> = self.keys.iter().map(|k| self.input.fields[*k].clone()).collect();
        fields.push(Field::new("$partial", SqlType::BYTES));
        Schema::new(fields)
    }

    /// Whether results go out although they are what they were, so that operators behind do not forget their keys: where keys are
    /// forgotten, and results may change.
    fn refreshes(&self) -> bool {
        self.ttl_millis > 0 && !self.calls.is_empty()
    }
}

impl OperatorFactory for AggregateFactory {
    fn keeps_state(&self) -> bool {
        self.stage != Stage::Local
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let stored = self.stage != Stage::Local && context.state.last_epoch().0 > 0;
        let key_types = self.keys.iter().map(|k| self.input.fields[*k].ty.arrow()).collect();
        let fresh: Box<[Accumulator]> =
            self.calls.iter().map(|c| Accumulator::new(c, &self.input, self.retracts)).collect();
        let of_batch: Box<[Accumulator]> = fresh.iter().map(Accumulator::of_batch).collect();
        Ok(Box::new(AggregateOperator {
            plan: Arc::new(self.clone()),
            key_types,
            logs: of_batch.iter().any(|a| matches!(a, Accumulator::Log(_))),
            fresh,
            of_batch,
            ttl: TimeToLive::new(self.ttl_millis, &context),
            context,
            groups: HashMap::default(),
            bytes: 0,
            dirty_bytes: 0,
            epoch: 0,
            forgotten: vec![],
            stored,
        }))
    }
}

struct Group {
    rows: i64,
    accumulators: Box<[Accumulator]>,
    /// The epoch of the last change; changes of older epochs were handed over.
    changed: u64,
    dirty: bool,
    /// When it was last touched; 0 where that does not matter.
    access: u64,
}

/// What a batch does to a group.
struct Part {
    /// How many rows more it has, or less.
    rows: i64,
    /// Whether all that it had is gone.
    anew: bool,
    accumulators: Box<[Accumulator]>,
}

struct AggregateOperator {
    plan: Arc<AggregateFactory>,
    key_types: Arc<[DataType]>,
    /// The accumulators of a group without rows, and those for the rows of a batch; whether any of these is a log.
    fresh: Box<[Accumulator]>,
    of_batch: Box<[Accumulator]>,
    logs: bool,
    ttl: Option<TimeToLive>,
    context: SubtaskContext,
    groups: HashMap<Box<[u8]>, Group, ahash::RandomState>,
    bytes: usize,
    dirty_bytes: usize,
    epoch: u64,
    /// Keys of counted values that are to go with the next epoch.
    forgotten: Vec<Vec<u8>>,
    /// Whether the store may know keys that memory does not.
    stored: bool,
}

impl AggregateOperator {
    /// Looks the groups of some keys up for nothing but to have them in the processor's cache: their memory is waited for at the same time
    /// then, not one after the other.
    fn touch(&self, keys: &[&[u8]]) {
        let groups = keys.iter().filter_map(|k| self.groups.get(*k));
        std::hint::black_box(groups.map(|g| g.accumulators.first().map_or(0, Accumulator::bytes)).sum::<usize>());
    }
}

/// How many groups are looked up together.
const AHEAD: usize = 32;

fn size(key: usize, g: &Group) -> usize {
    112 + key + g.accumulators.iter().map(Accumulator::bytes).sum::<usize>()
}

impl Operator for AggregateOperator {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let key_columns: Vec<ArrayRef> = match self.plan.stage {
            Stage::Final => batch.data.columns()[..self.plan.keys.len()].to_vec(),
            _ => self.plan.keys.iter().map(|k| batch.data.column(*k).clone()).collect(),
        };
        let keys = Keys::encode(&key_columns, batch.rows());
        let assigned = assign(&keys);
        if self.plan.stage == Stage::Local {
            return self.local(&batch, &assigned, &key_columns, out);
        }
        let now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        let reads = self.context.metrics.state_reads.get();
        if self.stored {
            self.load(&assigned.keys)?;
        }
        self.expire(&assigned.keys, now);
        let missed = self.context.metrics.state_reads.get() - reads;
        self.context.metrics.state_hits.inc_by((assigned.keys.len() as u64).saturating_sub(missed));
        // Accumulators of the batch, then merged into the groups: the map is asked once a key.
        let parts = self.accumulate(&batch, &assigned)?;
        let mut rows_out = (!self.plan.at_end).then(|| RowsOut::new(self));
        for (at, (k, mut part)) in assigned.keys.iter().copied().zip(parts).enumerate() {
            if at % AHEAD == 0 {
                self.touch(&assigned.keys[at..assigned.keys.len().min(at + AHEAD)]);
            }
            let epoch = self.epoch;
            match self.groups.get_mut(k) {
                Some(g) => {
                    rows_out.iter_mut().try_for_each(|o| o.before(g))?;
                    let was: usize = g.accumulators.iter().map(Accumulator::bytes).sum();
                    if part.anew {
                        g.rows = 0;
                        let gone = std::mem::replace(&mut g.accumulators, self.fresh.clone());
                        value_keys(k, gone, &mut self.forgotten);
                    }
                    g.rows += part.rows;
                    g.accumulators.iter_mut().zip(part.accumulators).try_for_each(|(a, b)| a.merge(b))?;
                    if g.rows == 0 {
                        // What is left are errors of rounding.
                        g.accumulators = self.fresh.clone();
                    }
                    let is: usize = g.accumulators.iter().map(Accumulator::bytes).sum();
                    self.bytes = (self.bytes + is).saturating_sub(was);
                    if !g.dirty {
                        self.dirty_bytes += 112 + k.len() + is;
                    }
                    (g.dirty, g.changed, g.access) = (true, epoch, now);
                    rows_out.iter_mut().try_for_each(|o| o.after(k, g, out))?;
                }
                // Nothing came that did not go again.
                None if part.rows <= 0 => {}
                None => {
                    if self.logs {
                        let mut accumulators = self.fresh.clone();
                        accumulators.iter_mut().zip(part.accumulators).try_for_each(|(a, b)| a.merge(b))?;
                        part.accumulators = accumulators;
                    }
                    let (rows, accumulators) = (part.rows, part.accumulators);
                    let g = Group { rows, accumulators, changed: epoch, dirty: true, access: now };
                    let n = size(k.len(), &g);
                    self.bytes += n;
                    self.dirty_bytes += n;
                    rows_out.iter_mut().try_for_each(|o| o.after(k, &g, out))?;
                    self.groups.insert(k.into(), g);
                }
            }
        }
        self.context.metrics.state_keys.set(self.groups.len() as i64);
        self.context.metrics.state_bytes.set(self.bytes as i64);
        rows_out.map_or(Ok(()), |o| o.finish(out).map(drop))
    }

    fn results_at_end(&self) -> bool {
        self.plan.at_end && self.plan.stage != Stage::Local
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if !self.results_at_end() {
            return Ok(());
        }
        let parallelism = self.context.parallelism;
        let mut given = 0;
        for group in 0..key::KEY_GROUPS {
            if self.stored && key::owner(group, parallelism) == self.context.subtask {
                for chunk in self.stored_groups(group)?.chunks(4096) {
                    let mut older: Vec<(&[u8], Group)> = vec![];
                    for (k, v) in chunk.iter().filter(|(k, _)| !self.groups.contains_key(&k[2..])) {
                        older.push((&k[2..], self.read_group(&k[2..], v)?));
                    }
                    given += self.emit_rows(older.iter().map(|(k, g)| (*k, g)), out)?;
                }
            }
        }
        let groups = std::mem::take(&mut self.groups);
        let mut all: Vec<(&[u8], &Group)> = groups.iter().map(|(k, g)| (k.as_ref(), g)).collect();
        all.sort_by_key(|(k, _)| *k);
        for chunk in all.chunks(4096) {
            given += self.emit_rows(chunk.iter().copied(), out)?;
        }
        if given == 0 && self.plan.keys.is_empty() {
            // Without a key there is one group, whatever it has.
            let empty = Group { rows: 1, accumulators: self.fresh.clone(), changed: 0, dirty: false, access: 0 };
            self.emit_rows(std::iter::once((&[][..], &empty)), out)?;
        }
        drop(all);
        self.groups = groups;
        Ok(())
    }

    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        if self.plan.stage == Stage::Local {
            return Ok(Changes::default());
        }
        self.epoch = epoch.0;
        let mut changes = Changes::default();
        self.sweep(&mut changes)?;
        self.forgotten.drain(..).for_each(|k| changes.remove(&[&k]));
        for (k, g) in &mut self.groups {
            if !g.dirty {
                continue;
            }
            g.dirty = false;
            for (call, a) in g.accumulators.iter_mut().enumerate() {
                let Accumulator::Counted(c) = a else { continue };
                let prefix = value_key(k);
                for (value, count) in c.take_touched() {
                    let parts: [&[u8]; 3] = [&prefix, &[call as u8], &value];
                    if count == 0 || g.rows <= 0 {
                        changes.remove(&parts);
                    } else {
                        changes.set_with(&parts, |out| out.extend_from_slice(&count.to_be_bytes()));
                    }
                }
            }
            let key = [&key_group(k).to_be_bytes()[..], k];
            if g.rows > 0 {
                changes.set_with(&key, |out| Self::encode_group(g, out));
            } else {
                changes.remove(&key);
            }
        }
        self.dirty_bytes = 0;
        let before = self.groups.len();
        self.groups.retain(|_, g| g.rows > 0);
        if self.bytes > self.context.cache_bytes {
            // What this epoch did not touch goes first; if that is not enough, everything: the store has it all.
            let last = self.epoch;
            self.groups.retain(|_, g| g.changed + 1 >= last);
            self.bytes = self.groups.iter().map(|(k, g)| size(k.len(), g)).sum();
            if self.bytes > self.context.cache_bytes / 2 {
                self.groups = HashMap::default();
                self.bytes = 0;
            }
            self.stored = true;
        } else if before != self.groups.len() {
            self.bytes = self.groups.iter().map(|(k, g)| size(k.len(), g)).sum();
        }
        self.context.metrics.state_writes.inc_by(changes.len() as u64);
        self.context.metrics.state_keys.set(self.groups.len() as i64);
        self.context.metrics.state_bytes.set(self.bytes as i64);
        Ok(changes)
    }

    fn preferred_rows(&self) -> usize {
        // Keys that are looked up together share the leaves of the store.
        if self.stored { 1 << 15 } else { 0 }
    }

    fn wants_epoch(&self) -> bool {
        self.dirty_bytes > self.context.cache_bytes
    }
}

impl AggregateOperator {
    fn accumulate(&self, batch: &Batch, assigned: &Assignment<'_>) -> Result<Vec<Part>> {
        if self.plan.stage == Stage::Final {
            return self.put_together(batch, assigned);
        }
        let count = assigned.keys.len();
        let part = || Part { rows: 0, anew: false, accumulators: self.of_batch.clone() };
        let mut out: Vec<Part> = (0..count).map(|_| part()).collect();
        let signs = if self.plan.stage == Stage::Whole && self.plan.retracts && batch.kinds.is_some() {
            let rows = |k: &&[u8]| self.groups.get(*k).map_or(0, |g| g.rows);
            Signs::followed(batch, assigned, assigned.keys.iter().map(rows).collect())
        } else {
            Signs::plain(batch, count)
        };
        match &signs {
            Some(s) => {
                assigned.groups.iter().zip(&s.of_rows).for_each(|(g, s)| out[*g as usize].rows += s);
                out.iter_mut().zip(&s.anew).for_each(|(part, anew)| part.anew = *anew);
            }
            None => assigned.groups.iter().for_each(|g| out[*g as usize].rows += 1),
        }
        for (i, call) in self.plan.calls.iter().enumerate() {
            let filter: Option<&BooleanArray> = call.filter.map(|f| batch.data.column(f).as_boolean());
            let args: Vec<&ArrayRef> = call.args.iter().map(|a| batch.data.column(*a)).collect();
            let input = Input::new(call, &args);
            for (row, group) in assigned.groups.iter().enumerate() {
                if filter.is_some_and(|f| f.is_null(row) || !f.value(row)) {
                    continue;
                }
                let sign = signs.as_ref().map_or(1, |s| s.of_rows[row]);
                if sign != 0 {
                    out[*group as usize].accumulators[i].add(&input, row, sign);
                }
            }
        }
        Ok(out)
    }

    /// The partial results of a batch, each group's together.
    fn put_together(&self, batch: &Batch, assigned: &Assignment<'_>) -> Result<Vec<Part>> {
        let none = || Part { rows: 0, anew: false, accumulators: Box::default() };
        let mut out: Vec<Part> = assigned.keys.iter().map(|_| none()).collect();
        let bytes = batch.data.column(self.plan.keys.len());
        let bytes = bytes.as_binary::<i32>();
        for (row, at) in assigned.groups.iter().enumerate() {
            let partial = self.decode_group(bytes.value(row))?;
            let part = &mut out[*at as usize];
            part.rows += partial.rows;
            if part.accumulators.is_empty() {
                part.accumulators = partial.accumulators;
            } else {
                part.accumulators.iter_mut().zip(partial.accumulators).try_for_each(|(a, b)| a.merge(b))?;
            }
        }
        Ok(out)
    }

    fn local(
        &mut self,
        batch: &Batch,
        assigned: &Assignment<'_>,
        key_columns: &[ArrayRef],
        out: &mut Collector,
    ) -> Result<()> {
        let mut first: Vec<u32> = vec![u32::MAX; assigned.keys.len()];
        for (row, g) in assigned.groups.iter().enumerate().rev() {
            first[*g as usize] = row as u32;
        }
        let rows = arrow::array::UInt32Array::from(first);
        let mut columns: Vec<ArrayRef> =
            key_columns.iter().map(|c| arrow::compute::take(c, &rows, None)).collect::<Result<_, _>>()?;
        let mut bytes = BinaryBuilder::new();
        let mut one = vec![];
        for Part { rows, accumulators, .. } in self.accumulate(batch, assigned)? {
            one.clear();
            let g = Group { rows, accumulators, changed: 0, dirty: false, access: 0 };
            Self::encode_group(&g, &mut one);
            bytes.append_value(&one);
        }
        columns.push(Arc::new(bytes.finish()));
        let n = assigned.keys.len();
        out.emit(Batch::from_columns(self.plan.local_schema().arrow(), columns, n)?);
        Ok(())
    }

    fn emit_rows<'a>(&self, groups: impl Iterator<Item = (&'a [u8], &'a Group)>, out: &mut Collector) -> Result<usize> {
        let mut rows_out = RowsOut::new(self);
        for (k, g) in groups {
            rows_out.after(k, g, out)?;
        }
        rows_out.finish(out)
    }
}
