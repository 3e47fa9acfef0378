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
use assign::Signs;
pub(crate) use assign::{Assignment, assign};
use out::RowsOut;
use std::sync::Arc;
use stored::{Group, Groups};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{self, Keys};
use weir_core::keyed::{Codec, KeyedState};
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
        let key_types = self.keys.iter().map(|k| self.input.fields[*k].ty.arrow()).collect();
        let fresh: Arc<[Accumulator]> =
            self.calls.iter().map(|c| Accumulator::new(c, &self.input, self.retracts)).collect();
        let of_batch: Box<[Accumulator]> = fresh.iter().map(Accumulator::of_batch).collect();
        Ok(Box::new(AggregateOperator {
            plan: Arc::new(self.clone()),
            key_types,
            logs: of_batch.iter().any(|a| matches!(a, Accumulator::Log(_))),
            of_batch,
            groups: KeyedState::open(Groups { fresh: fresh.clone() }, &context, self.ttl_millis)?,
            codec: Groups { fresh },
            subtask: context.subtask,
            parallelism: context.parallelism,
        }))
    }
}

/// What a batch does to a group.
struct Part {
    /// How many rows more it has, or less.
    rows: i64,
    /// Whether all that it had is gone.
    anew: bool,
    accumulators: Box<[Accumulator]>,
}

impl Group {
    /// Takes in what a batch does.
    fn take(&mut self, part: Part, codec: &Groups) -> Result<()> {
        if part.anew {
            self.reset(codec);
        }
        self.rows += part.rows;
        self.accumulators.iter_mut().zip(part.accumulators).try_for_each(|(a, b)| a.merge(b))?;
        if self.rows == 0 {
            // What is left are errors of rounding.
            self.reset(codec);
        }
        Ok(())
    }

    fn reset(&mut self, codec: &Groups) {
        self.rows = 0;
        self.accumulators.iter_mut().zip(codec.fresh.iter()).for_each(|(a, fresh)| a.reset(fresh));
    }
}

struct AggregateOperator {
    plan: Arc<AggregateFactory>,
    key_types: Arc<[DataType]>,
    /// The accumulators for the rows of a batch; whether any of these is a log.
    of_batch: Box<[Accumulator]>,
    logs: bool,
    groups: KeyedState<Groups>,
    codec: Groups,
    subtask: usize,
    parallelism: usize,
}

/// How many groups are looked up together.
const AHEAD: usize = 32;

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
        self.groups.prefetch(assigned.keys.iter().copied())?;
        // Accumulators of the batch, then merged into the groups: the map is asked once a key.
        let parts = self.accumulate(&batch, &assigned)?;
        let mut rows_out = (!self.plan.at_end).then(|| RowsOut::new(self));
        for (at, (k, part)) in assigned.keys.iter().copied().zip(parts).enumerate() {
            if at % AHEAD == 0 {
                self.groups.warm(&assigned.keys[at..assigned.keys.len().min(at + AHEAD)]);
            }
            let (codec, logs) = (&self.codec, self.logs);
            self.groups.update(k, |group| {
                match group {
                    Some(g) => {
                        rows_out.iter_mut().try_for_each(|o| o.before(g))?;
                        g.take(part, codec)?;
                    }
                    // Nothing came that did not go again.
                    None if part.rows <= 0 => return Ok(false),
                    None if logs => group.insert(codec.fresh()).take(part, codec)?,
                    None => *group = Some(Group { rows: part.rows, accumulators: part.accumulators }),
                }
                if let Some(g) = group {
                    rows_out.iter_mut().try_for_each(|o| o.after(k, g, out))?;
                }
                Ok(true)
            })?;
        }
        rows_out.map_or(Ok(()), |o| o.finish(out).map(drop))
    }

    fn results_at_end(&self) -> bool {
        self.plan.at_end && self.plan.stage != Stage::Local
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if !self.results_at_end() {
            return Ok(());
        }
        let mut given = 0;
        for group in (0..key::KEY_GROUPS).filter(|g| key::owner(*g, self.parallelism) == self.subtask) {
            let mut older = self.groups.all_stored(group);
            loop {
                let page: Vec<(Vec<u8>, Group)> = older.by_ref().take(4096).collect::<Result<_>>()?;
                if page.is_empty() {
                    break;
                }
                given += self.emit_rows(page.iter().map(|(k, g)| (k.as_slice(), g)), out)?;
            }
        }
        let mut all: Vec<(&[u8], &Group)> = self.groups.all_cached().collect();
        all.sort_by_key(|(k, _)| *k);
        for chunk in all.chunks(4096) {
            given += self.emit_rows(chunk.iter().copied(), out)?;
        }
        if given == 0 && self.plan.keys.is_empty() {
            // Without a key there is one group, whatever it has.
            let empty = Group { rows: 1, ..self.codec.fresh() };
            self.emit_rows(std::iter::once((&[][..], &empty)), out)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        match self.plan.stage {
            Stage::Local => Ok(Changes::default()),
            Stage::Whole | Stage::Final => self.groups.checkpoint(epoch),
        }
    }

    fn preferred_rows(&self) -> usize {
        // Keys that are looked up together share the leaves of the store.
        if self.groups.reads_store() { 1 << 15 } else { 0 }
    }

    fn wants_epoch(&self) -> bool {
        self.groups.wants_epoch()
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
            let rows = |k: &&[u8]| self.groups.cached(k).map_or(0, |g| g.rows);
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
            let partial = self.codec.decode_group(bytes.value(row))?;
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
            self.codec.encode(&Group { rows, accumulators }, 0, &mut one);
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
