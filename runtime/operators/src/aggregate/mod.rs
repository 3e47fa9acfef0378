//! GROUP BY: recently used groups in memory, all older ones in the store.
//!
//! The rows of a batch are processed in columns, one aggregate after the other. The results of the affected groups are noted before, and
//! the differences are emitted. A local aggregation in front of an exchange emits one row per key and batch: the key and the encoded
//! accumulators.

mod assign;
mod emitting;
mod functions;
mod groups;
#[cfg(test)]
mod merging;
mod out;
mod reads;
mod sessions;
mod slices;
mod window_groups;
mod windows;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, UInt32Array};
use arrow::datatypes::DataType;
use assign::Signs;
pub(crate) use assign::{assign, by_group};
pub use emitting::EmittingWindowsFactory;
pub(crate) use groups::{Groups, parts_prefix};
pub(crate) use out::read_results;
use out::{Key, RowsOut};
pub(crate) use reads::Reads;
pub use sessions::SessionAggregateFactory;
pub use slices::SlicedAggregateFactory;
use std::sync::Arc;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, owned_groups};
use weir_core::keyed::{BatchKeys, KeyedState, Touched};
use weir_core::state::{Changes, Epoch, Pair};
use weir_core::{Batch, Error, Field, Result, Schema, SqlType};
use weir_expr::aggregate::AggregateCall;
pub use windows::WindowAggregateFactory;

/// The stage of an aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reads rows, and emits results.
    Whole,
    /// Reads rows, and emits partial results for [`Stage::Final`], one per key and batch.
    Local,
    /// Reads the output of [`Stage::Local`], and emits results.
    Final,
}

/// Creates aggregations.
#[derive(Clone)]
pub struct AggregateFactory {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The columns of the rows, before any local stage.
    pub input: Schema,
    /// The columns of the output: the keys, then the results.
    pub schema: Schema,
    /// The stage of the aggregation.
    pub stage: Stage,
    /// Whether the input has retractions.
    pub retracts: bool,
    /// Whether results are only emitted at the end of the input.
    pub at_end: bool,
    /// The time to live of a key without access in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// Whether the old row of an update is emitted too.
    pub update_before: bool,
}

impl AggregateFactory {
    /// The output of [`Stage::Local`]: the keys, then the encoded accumulators.
    pub fn local_schema(&self) -> Schema {
        let mut fields: Vec<Field> = self.keys.iter().map(|k| self.input.fields[*k].clone()).collect();
        fields.push(Field::new("$partial", SqlType::BYTES));
        Schema::new(fields)
    }

    /// Creates the state without any group.
    ///
    /// # Errors
    /// An internal error for an unsupported call.
    fn groups(&self) -> Result<Groups> {
        Groups::new(&self.calls, &self.input, self.retracts)
    }

    /// The key columns in the input of this stage.
    fn key_columns(&self, batch: &Batch) -> Vec<ArrayRef> {
        match self.stage {
            Stage::Final => batch.data.columns()[..self.keys.len()].to_vec(),
            Stage::Whole | Stage::Local => self.keys.iter().map(|k| batch.data.column(*k).clone()).collect(),
        }
    }

    /// The Arrow types of the keys.
    fn key_types(&self) -> Vec<DataType> {
        self.keys.iter().map(|k| self.input.fields[*k].ty.arrow()).collect()
    }

    /// Whether results may be large. Then the results of a batch are not all held at once.
    fn has_large_results(&self) -> bool {
        let large = |ty: DataType| ty.is_nested() || matches!(ty, DataType::Utf8 | DataType::Binary);
        self.calls.iter().any(|c| large(c.ty.arrow()))
    }

    /// Whether unchanged results are emitted again, so that the state of downstream operators does not expire. This is so if there is a
    /// time to live and results may change.
    fn refreshes(&self) -> bool {
        self.ttl_millis > 0 && !self.calls.is_empty()
    }
}

impl OperatorFactory for AggregateFactory {
    fn keeps_state(&self) -> bool {
        self.stage != Stage::Local
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(AggregateOperator {
            plan: Arc::new(self.clone()),
            one_by_one: self.has_large_results(),
            groups: KeyedState::open(self.groups()?, &context, self.ttl_millis)?,
            others: self.groups()?,
            subtask: context.subtask,
            parallelism: context.parallelism,
        }))
    }
}

struct AggregateOperator {
    plan: Arc<AggregateFactory>,
    /// Whether the results of groups are emitted one after the other.
    one_by_one: bool,
    groups: KeyedState<Groups>,
    /// Groups that are not kept: those of a single batch, and those read from the store when results are emitted at the end.
    others: Groups,
    subtask: usize,
    parallelism: usize,
}

/// The number of groups whose results are emitted together at the end.
const PAGE: usize = 4096;

impl Operator for AggregateOperator {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let key_columns = self.plan.key_columns(&batch);
        let keys = Keys::encode(&key_columns, batch.rows());
        if self.plan.stage == Stage::Local {
            return self.local(&batch, &keys, &key_columns, out);
        }
        let found = self.groups.places(&keys)?;
        let mut rows_out = (!self.plan.at_end).then(|| RowsOut::new(&self.plan, Some(&key_columns)));
        let (plan, one_by_one) = (&self.plan, self.one_by_one && !self.plan.at_end);
        self.groups.change(&found.places, |groups, touched| {
            let change = Change::new(plan, &batch, &found, groups, touched)?;
            let step = if one_by_one { 1 } else { found.places.len().max(1) };
            let (rows, ends) = if one_by_one { by_group(&found) } else { (vec![], vec![]) };
            for from in (0..found.places.len()).step_by(step) {
                let to = (from + step).min(found.places.len());
                if let Some(o) = &mut rows_out {
                    o.begin();
                    (from..to).try_for_each(|n| o.before(groups, found.places[n] as usize, touched[n].there))?;
                }
                let begin = || from.checked_sub(1).map_or(0, |before| ends[before]);
                change.take(groups, from..to, one_by_one.then(|| &rows[begin()..ends[from]]))?;
                for (n, touched) in (from..to).zip(&mut touched[from..to]) {
                    let at = found.places[n] as usize;
                    if !change.settle(groups, at, touched) {
                        continue;
                    }
                    if let Some(o) = &mut rows_out {
                        let key = Key { encoded: keys.get(found.first[n] as usize), row: found.first[n] };
                        o.after(n - from, key, groups, at, out)?;
                    }
                }
            }
            Ok(())
        })?;
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
        for group in owned_groups(self.subtask, self.parallelism) {
            let mut older = self.groups.all_stored(group, &[]);
            loop {
                let page: Vec<Pair> = older.by_ref().take(PAGE).collect::<Result<_>>()?;
                if page.is_empty() {
                    break;
                }
                for (at, (k, v)) in page.iter().enumerate() {
                    self.others.read(at as u32, k, v, self.groups.store())?;
                }
                let groups = page.iter().enumerate().map(|(at, (k, _))| (k.as_slice(), at as u32));
                given += emit(&self.plan, &self.others, groups, out)?;
                self.others.clear();
            }
        }
        let mut all: Vec<(&[u8], u32)> = self.groups.all_cached().map(|(k, at, ())| (k, at)).collect();
        all.sort_unstable();
        for page in all.chunks(PAGE) {
            given += emit(&self.plan, self.groups.codec(), page.iter().copied(), out)?;
        }
        if given == 0 && self.plan.keys.is_empty() {
            // Without a key there is one group, even if it has no rows.
            self.others.grow(1);
            self.others.rows[0] = 1;
            emit(&self.plan, &self.others, std::iter::once((&[][..], 0)), out)?;
            self.others.clear();
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        match self.plan.stage {
            Stage::Local => Ok(Changes::default()),
            Stage::Whole | Stage::Final => self.groups.checkpoint(),
        }
    }

    fn preferred_rows(&self) -> usize {
        self.groups.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.groups.wants_epoch()
    }
}

impl AggregateOperator {
    fn local(&mut self, batch: &Batch, keys: &Keys, key_columns: &[ArrayRef], out: &mut Collector) -> Result<()> {
        let found = assign(keys);
        let groups = &mut self.others;
        Change::new(&self.plan, batch, &found, groups, &[])?.take(groups, 0..found.places.len(), None)?;
        let first = UInt32Array::from(found.first);
        let mut columns: Vec<ArrayRef> =
            key_columns.iter().map(|c| arrow::compute::take(c, &first, None)).collect::<Result<_, _>>()?;
        let mut bytes = BinaryBuilder::new();
        let mut one = vec![];
        for at in 0..found.places.len() {
            one.clear();
            groups.encode(at, &mut one);
            groups.reset(at);
            bytes.append_value(&one);
        }
        columns.push(Arc::new(bytes.finish()));
        out.emit(Batch::from_columns(self.plan.local_schema().arrow(), columns, found.places.len())?);
        Ok(())
    }
}

/// Emits the groups at these places.
fn emit<'a>(
    plan: &Arc<AggregateFactory>,
    groups: &Groups,
    all: impl Iterator<Item = (&'a [u8], u32)>,
    out: &mut Collector,
) -> Result<usize> {
    let mut rows_out = RowsOut::new(plan, None);
    for (key, at) in all {
        rows_out.whole(key, groups, at as usize, out)?;
    }
    rows_out.finish(out)
}

/// The effect of a batch on its groups.
struct Change<'a> {
    found: &'a BatchKeys,
    /// The place of each row's group.
    places: Vec<u32>,
    signs: Option<Signs>,
    reads: Reads,
    /// Instead of `reads`, partial results of groups in their stored form.
    partial: Option<Vec<&'a [u8]>>,
}

impl<'a> Change<'a> {
    fn new(
        plan: &AggregateFactory,
        batch: &'a Batch,
        found: &'a BatchKeys,
        groups: &mut Groups,
        touched: &[Touched],
    ) -> Result<Change<'a>> {
        groups.grow(found.room());
        let places = found.numbers.iter().map(|n| found.places[*n as usize]).collect();
        if plan.stage == Stage::Final {
            let column = batch.data.column(plan.keys.len());
            let column = column.as_binary_opt::<i32>();
            let column = column.ok_or_else(|| Error::internal("partial results are not in a column of bytes"))?;
            let partial = (0..batch.rows()).map(|row| column.value(row)).collect();
            return Ok(Change { found, places, signs: None, reads: Reads::default(), partial: Some(partial) });
        }
        let count = found.places.len();
        let signs = if plan.stage == Stage::Whole && plan.retracts && batch.kinds.is_some() {
            let there = found.places.iter().zip(touched);
            let rows = there.map(|(at, t)| if t.there { groups.rows[*at as usize] } else { 0 });
            Signs::followed(batch, &found.numbers, rows.collect())
        } else {
            Signs::plain(batch, count)
        };
        let reads = Reads::of(&plan.calls, batch.data.columns())?;
        Ok(Change { found, places, signs, reads, partial: None })
    }

    /// Applies the change to a range of groups. `only`: the rows to process, all of which must be of these groups; none: all rows.
    fn take(&self, groups: &mut Groups, numbers: std::ops::Range<usize>, only: Option<&[u32]>) -> Result<()> {
        if let Some(partial) = &self.partial {
            return match only {
                None => groups.merge(&self.places, &mut partial.clone()),
                Some(rows) => {
                    let mut states: Vec<&[u8]> = rows.iter().map(|r| partial[*r as usize]).collect();
                    let places: Vec<u32> = rows.iter().map(|r| self.places[*r as usize]).collect();
                    groups.merge(&places, &mut states)
                }
            };
        }
        if let Some(signs) = &self.signs {
            numbers.filter(|n| signs.anew[*n]).for_each(|n| groups.reset(self.found.places[n] as usize));
        }
        let signs = self.signs.as_ref().map(|s| s.of_rows.as_slice());
        self.reads.take(groups, &self.places, only, signs)
    }

    /// Finishes a group after its rows were processed. Returns whether the group exists or has existed.
    fn settle(&self, groups: &mut Groups, at: usize, touched: &mut Touched) -> bool {
        if !touched.there && groups.rows[at] <= 0 {
            // All rows that were inserted have been retracted within the batch.
            groups.drop_group(at);
            return false;
        }
        if groups.rows[at] == 0 {
            // Removes rounding errors.
            groups.reset(at);
        }
        *touched = Touched { there: true, changed: true };
        true
    }
}
