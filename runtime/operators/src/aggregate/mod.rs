//! GROUP BY: groups in memory, everything older in the store.
//!
//! A batch touches each of its keys once in the store; the first touch notes what the group gave before, and at the end
//! of the batch the difference goes out. A local aggregation in front of an exchange gives one row a key and batch: the
//! key, and the accumulators in the form that the store keeps.

mod accumulator;
mod counted;

use accumulator::{Accumulator, Input};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int8Array};
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use std::sync::Arc;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{self, Keys, decode_into, key_group};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, ColumnBuilder, Error, Field, Result, Schema, SqlType, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};

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

    /// Whether partial results of different subtasks can be put together in any order.
    pub fn splits(&self) -> bool {
        self.calls.iter().all(|c| {
            !c.distinct
                && matches!(
                    c.function,
                    Aggregate::CountStar
                        | Aggregate::Count
                        | Aggregate::Sum
                        | Aggregate::Avg
                        | Aggregate::Min
                        | Aggregate::Max
                        | Aggregate::StddevPop
                        | Aggregate::StddevSamp
                        | Aggregate::VarPop
                        | Aggregate::VarSamp
                )
        })
    }
}

impl OperatorFactory for AggregateFactory {
    fn keeps_state(&self) -> bool {
        self.stage != Stage::Local
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let stored = self.stage != Stage::Local && context.state.reader.last_epoch().0 > 0;
        let key_types = self.keys.iter().map(|k| self.input.fields[*k].ty.arrow()).collect();
        Ok(Box::new(AggregateOperator {
            plan: Arc::new(self.clone()),
            key_types,
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
    access: u64,
}

struct AggregateOperator {
    plan: Arc<AggregateFactory>,
    key_types: Arc<[DataType]>,
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

fn now_millis() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl AggregateOperator {
    fn new_accumulators(&self) -> Box<[Accumulator]> {
        let retracts = self.plan.retracts;
        self.plan.calls.iter().map(|c| Accumulator::new(c, &self.plan.input, retracts)).collect()
    }

    fn decode_group(&self, mut bytes: &[u8]) -> Result<(i64, Box<[Accumulator]>, u64)> {
        let rows = read_i64(&mut bytes)?;
        let access = read_i64(&mut bytes)? as u64;
        let mut accumulators = self.new_accumulators();
        accumulators.iter_mut().try_for_each(|a| a.decode(&mut bytes))?;
        Ok((rows, accumulators, access))
    }

    /// Reads a group's counted values from the store; none where no aggregate has such.
    fn load_values(&self, key: &[u8], accumulators: &mut [Accumulator]) -> Result<()> {
        if !accumulators.iter().any(|a| matches!(a, Accumulator::Counted(_))) {
            return Ok(());
        }
        let prefix = value_key(key);
        for (k, v) in self.context.state.scan(&prefix)? {
            let damaged = || Error::state("a value of a group in the state is damaged");
            let (call, value) = k[prefix.len()..].split_first().ok_or_else(damaged)?;
            match accumulators.get_mut(usize::from(*call)) {
                Some(Accumulator::Counted(c)) => c.load(value.to_vec(), read_i64(&mut &v[..])?),
                _ => return Err(damaged()),
            }
        }
        Ok(())
    }

    /// A group of the store's is too old: its values must not come back with the next rows of its key.
    fn forget_values(&mut self, key: &[u8], accumulators: Box<[Accumulator]>) {
        for (call, a) in accumulators.into_iter().enumerate() {
            if let Accumulator::Counted(c) = a {
                let prefix = value_key(key);
                self.forgotten.extend(c.into_values().map(|v| [&prefix, &[call as u8][..], &v].concat()));
            }
        }
    }

    fn encode_group(g: &Group, out: &mut Vec<u8>) {
        out.extend_from_slice(&g.rows.to_be_bytes());
        out.extend_from_slice(&g.access.to_be_bytes());
        g.accumulators.iter().for_each(|a| a.encode(out));
    }

    /// Brings the keys of a batch into memory.
    fn load(&mut self, keys: &[&[u8]], now: u64) -> Result<()> {
        let mut missing: Vec<Vec<u8>> = keys
            .iter()
            .filter(|k| !self.groups.contains_key(**k))
            .map(|k| [&key_group(k).to_be_bytes()[..], k].concat())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort();
        let refs: Vec<&[u8]> = missing.iter().map(Vec::as_slice).collect();
        self.context.metrics.state_reads.inc_by(refs.len() as u64);
        let found = self.context.state.get_many(&refs)?;
        for (k, v) in refs.into_iter().zip(found) {
            let Some(v) = v else { continue };
            let (rows, mut accumulators, access) = self.decode_group(&v)?;
            self.load_values(&k[2..], &mut accumulators)?;
            if self.plan.ttl_millis > 0 && now.saturating_sub(access) > self.plan.ttl_millis {
                self.forget_values(&k[2..], accumulators);
                continue;
            }
            let group = Group { rows, accumulators, changed: 0, dirty: false, access };
            self.bytes += size(k.len(), &group);
            self.groups.insert(k[2..].into(), group);
        }
        Ok(())
    }

    /// Looks the groups of some keys up for nothing but to have them in the processor's cache: their memory is waited for at the same time
    /// then, not one after the other.
    fn touch(&self, keys: &[&[u8]]) {
        let groups = keys.iter().filter_map(|k| self.groups.get(*k));
        std::hint::black_box(groups.map(|g| g.accumulators.first().map_or(0, Accumulator::bytes)).sum::<usize>());
    }
}

/// How many groups are looked up together.
const AHEAD: usize = 32;

/// The rows that a batch gives out.
struct RowsOut {
    plan: Arc<AggregateFactory>,
    key_types: Arc<[DataType]>,
    builders: Vec<ColumnBuilder>,
    kinds: Vec<i8>,
    /// Whether the group at hand had a result, and which, before the batch; its result now.
    was_there: bool,
    old: Vec<Value<'static>>,
    new: Vec<Value<'static>>,
}

impl RowsOut {
    fn new(of: &AggregateOperator) -> RowsOut {
        RowsOut {
            plan: of.plan.clone(),
            key_types: of.key_types.clone(),
            builders: of.plan.schema.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect(),
            kinds: vec![],
            was_there: false,
            old: vec![],
            new: vec![],
        }
    }

    /// Notes what a group gives before it changes.
    fn before(&mut self, g: &Group) {
        self.was_there = g.rows > 0;
        results(&self.plan, g, &mut self.old);
    }

    /// Gives out how a group changed since [`RowsOut::before`], which was not told of a new one.
    fn after(&mut self, key: &[u8], g: &Group) -> Result<()> {
        results(&self.plan, g, &mut self.new);
        match (std::mem::take(&mut self.was_there), g.rows > 0) {
            (false, true) => self.push(0, key, false),
            (true, false) => self.push(3, key, true),
            (true, true) if self.old != self.new => {
                self.push(1, key, true)?;
                self.push(2, key, false)
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, kind: i8, mut key: &[u8], old: bool) -> Result<()> {
        self.kinds.push(kind);
        let (keys, results) = self.builders.split_at_mut(self.key_types.len());
        for (ty, b) in self.key_types.iter().zip(keys) {
            decode_into(ty, &mut key, b)?;
        }
        let values = if old { &self.old } else { &self.new };
        values.iter().zip(results).for_each(|(v, b)| b.push(v));
        Ok(())
    }

    fn finish(self, out: &mut Collector) -> Result<()> {
        let (rows, inserts) = (self.kinds.len(), self.kinds.iter().all(|k| *k == 0));
        let columns = self.builders.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.plan.schema.arrow(), columns, rows)?;
        out.emit(batch.with_kinds((!inserts).then(|| Int8Array::from(self.kinds))));
        Ok(())
    }
}

fn results(plan: &AggregateFactory, g: &Group, into: &mut Vec<Value<'static>>) {
    into.clear();
    if g.rows > 0 {
        into.extend(g.accumulators.iter().zip(&plan.calls).map(|(a, c)| a.result(c, &plan.input)));
    }
}

/// The begin of the keys of a group's counted values: key group, a byte that no key begins with, the key's length, the key.
/// The number of the aggregate and the value follow.
fn value_key(key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], &[0xFE], &(key.len() as u32).to_be_bytes(), key].concat()
}

fn size(key: usize, g: &Group) -> usize {
    112 + key + g.accumulators.iter().map(Accumulator::bytes).sum::<usize>()
}

fn read_i64(bytes: &mut &[u8]) -> Result<i64> {
    let (head, rest) =
        bytes.split_first_chunk::<8>().ok_or_else(|| Error::state("a group in the state is cut short"))?;
    *bytes = rest;
    Ok(i64::from_be_bytes(*head))
}

/// Which group of a batch each row belongs to.
struct Assignment<'a> {
    groups: Vec<u32>,
    keys: Vec<&'a [u8]>,
}

fn assign(keys: &Keys) -> Assignment<'_> {
    let mut places: HashMap<&[u8], u32, ahash::RandomState> = HashMap::default();
    let mut found = Assignment { groups: Vec::with_capacity(keys.len()), keys: vec![] };
    let mut last: Option<(&[u8], u32)> = None;
    for row in 0..keys.len() {
        let k = keys.get(row);
        let at = match last {
            Some((l, at)) if l == k => at,
            _ => *places.entry(k).or_insert_with(|| {
                found.keys.push(k);
                found.keys.len() as u32 - 1
            }),
        };
        last = Some((k, at));
        found.groups.push(at);
    }
    found
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
        let now = if self.plan.ttl_millis > 0 { now_millis() } else { 0 };
        let reads = self.context.metrics.state_reads.get();
        if self.stored {
            self.load(&assigned.keys, now)?;
        }
        let missed = self.context.metrics.state_reads.get() - reads;
        self.context.metrics.state_hits.inc_by((assigned.keys.len() as u64).saturating_sub(missed));
        // Accumulators of the batch, then merged into the groups: the map is asked once a key.
        let partial = self.accumulate(&batch, &assigned)?;
        let mut rows_out = (!self.plan.at_end).then(|| RowsOut::new(self));
        for (at, (k, (rows, accumulators))) in assigned.keys.iter().copied().zip(partial).enumerate() {
            if at % AHEAD == 0 {
                self.touch(&assigned.keys[at..assigned.keys.len().min(at + AHEAD)]);
            }
            let expired = self.plan.ttl_millis > 0
                && self.groups.get(k).is_some_and(|g| now.saturating_sub(g.access) > self.plan.ttl_millis);
            if expired && let Some(g) = self.groups.remove(k) {
                self.bytes = self.bytes.saturating_sub(size(k.len(), &g));
                self.forget_values(k, g.accumulators);
            }
            let epoch = self.epoch;
            match self.groups.get_mut(k) {
                Some(g) => {
                    rows_out.iter_mut().for_each(|o| o.before(g));
                    let was: usize = g.accumulators.iter().map(Accumulator::bytes).sum();
                    g.rows += rows;
                    g.accumulators.iter_mut().zip(accumulators).for_each(|(a, b)| a.merge(b));
                    let is: usize = g.accumulators.iter().map(Accumulator::bytes).sum();
                    self.bytes = (self.bytes + is).saturating_sub(was);
                    if !g.dirty {
                        self.dirty_bytes += 112 + k.len() + is;
                    }
                    (g.dirty, g.changed, g.access) = (true, epoch, now);
                    rows_out.iter_mut().try_for_each(|o| o.after(k, g))?;
                }
                None => {
                    let g = Group { rows, accumulators, changed: epoch, dirty: true, access: now };
                    let n = size(k.len(), &g);
                    self.bytes += n;
                    self.dirty_bytes += n;
                    rows_out.iter_mut().try_for_each(|o| o.after(k, &g))?;
                    self.groups.insert(k.into(), g);
                }
            }
        }
        self.context.metrics.state_keys.set(self.groups.len() as i64);
        self.context.metrics.state_bytes.set(self.bytes as i64);
        rows_out.map_or(Ok(()), |o| o.finish(out))
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if !self.plan.at_end || self.plan.stage == Stage::Local {
            return Ok(());
        }
        let parallelism = self.context.parallelism;
        for group in 0..key::KEY_GROUPS {
            if self.stored && key::owner(group, parallelism) == self.context.subtask {
                // Keys begin with the marker of their first value, or are empty; counted values begin otherwise.
                let group = group.to_be_bytes();
                let mut stored = self.context.state.scan(&[group[0], group[1], 0])?;
                stored.extend(self.context.state.scan(&[group[0], group[1], 1])?);
                if let [Some(v)] = self.context.state.get_many(&[&group])?.as_slice() {
                    stored.push((group.to_vec(), v.clone()));
                }
                for chunk in stored.chunks(4096) {
                    let mut older: Vec<(&[u8], Group)> = vec![];
                    for (k, v) in chunk.iter().filter(|(k, _)| !self.groups.contains_key(&k[2..])) {
                        let (rows, mut accumulators, access) = self.decode_group(v)?;
                        self.load_values(&k[2..], &mut accumulators)?;
                        older.push((&k[2..], Group { rows, accumulators, changed: 0, dirty: false, access }));
                    }
                    self.emit_rows(older.iter().map(|(k, g)| (*k, g)), out)?;
                }
            }
        }
        let groups = std::mem::take(&mut self.groups);
        let mut all: Vec<(&[u8], &Group)> = groups.iter().map(|(k, g)| (k.as_ref(), g)).collect();
        all.sort_by_key(|(k, _)| *k);
        for chunk in all.chunks(4096) {
            self.emit_rows(chunk.iter().copied(), out)?;
        }
        self.groups = groups;
        Ok(())
    }

    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        if self.plan.stage == Stage::Local {
            return Ok(Changes::default());
        }
        self.epoch = epoch.0;
        let mut changes = Changes::default();
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

    fn gathers(&self) -> usize {
        // Keys that are looked up together share the leaves of the store.
        if self.stored { 1 << 15 } else { 0 }
    }

    fn wants_epoch(&self) -> bool {
        self.dirty_bytes > self.context.cache_bytes
    }
}

impl AggregateOperator {
    fn accumulate(&self, batch: &Batch, assigned: &Assignment<'_>) -> Result<Vec<(i64, Box<[Accumulator]>)>> {
        let count = assigned.keys.len();
        if self.plan.stage == Stage::Final {
            let mut out: Vec<(i64, Box<[Accumulator]>)> = (0..count).map(|_| (0, Box::default())).collect();
            let bytes = batch.data.column(self.plan.keys.len());
            let bytes = bytes.as_binary::<i32>();
            for (row, at) in assigned.groups.iter().enumerate() {
                let (rows, accumulators, _) = self.decode_group(bytes.value(row))?;
                let slot = &mut out[*at as usize];
                slot.0 += rows;
                if slot.1.is_empty() {
                    slot.1 = accumulators;
                } else {
                    slot.1.iter_mut().zip(accumulators).for_each(|(a, b)| a.merge(b));
                }
            }
            return Ok(out);
        }
        let mut out: Vec<(i64, Box<[Accumulator]>)> = (0..count).map(|_| (0, self.new_accumulators())).collect();
        let signs: Option<Vec<i64>> =
            batch.kinds.as_ref().map(|_| (0..batch.rows()).map(|r| batch.kind(r).sign()).collect());
        match &signs {
            Some(s) => assigned.groups.iter().zip(s).for_each(|(g, s)| out[*g as usize].0 += s),
            None => assigned.groups.iter().for_each(|g| out[*g as usize].0 += 1),
        }
        for (i, call) in self.plan.calls.iter().enumerate() {
            let filter: Option<&BooleanArray> = call.filter.map(|f| batch.data.column(f).as_boolean());
            let args: Vec<&ArrayRef> = call.args.iter().map(|a| batch.data.column(*a)).collect();
            let input = Input::new(call, &args);
            for (row, group) in assigned.groups.iter().enumerate() {
                if filter.is_some_and(|f| f.is_null(row) || !f.value(row)) {
                    continue;
                }
                let sign = signs.as_ref().map_or(1, |s| s[row]);
                out[*group as usize].1[i].add(&input, row, sign);
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
        let partial = self.accumulate(batch, assigned)?;
        let mut first: Vec<u32> = vec![u32::MAX; assigned.keys.len()];
        for (row, g) in assigned.groups.iter().enumerate().rev() {
            first[*g as usize] = row as u32;
        }
        let rows = arrow::array::UInt32Array::from(first);
        let mut columns: Vec<ArrayRef> =
            key_columns.iter().map(|c| arrow::compute::take(c, &rows, None)).collect::<Result<_, _>>()?;
        let mut bytes = BinaryBuilder::new();
        let mut one = vec![];
        for (rows, accumulators) in partial {
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

    fn emit_rows<'a>(&self, groups: impl Iterator<Item = (&'a [u8], &'a Group)>, out: &mut Collector) -> Result<()> {
        let mut rows_out = RowsOut::new(self);
        for (k, g) in groups {
            rows_out.after(k, g)?;
        }
        rows_out.finish(out)
    }
}
