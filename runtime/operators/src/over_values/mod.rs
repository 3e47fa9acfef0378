//! OVER ordered by columns that are not a time attribute: for each row, an aggregate of the rows up to it. Rows may be inserted anywhere in
//! the order, and may be retracted, so results that were emitted change.
//!
//! The rows of a partition are in an ordered map. At regular intervals there is a *snapshot* of the aggregates up to a row, and there is
//! always one at the last row. The changes of a batch are first applied to the map. Then the partition is read from the last snapshot
//! before the first change, with two sets of aggregates: one of the rows before the batch, one of the rows after it. Reading stops when
//! both are equal or the rows end. Only rows with a changed result are emitted. Aggregates only add rows, in order, and never retract any,
//! so a result does not depend on the order of arrival.

mod changes;
mod snapshots;
mod walk;

use crate::aggregate::{Groups, assign, by_group};
use crate::rank::put_sort_key;
use crate::row_numbers::RowNumbers;
use changes::Changes;
use snapshots::{Snapshots, SnapshotsCodec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use walk::Walk;
use weir_core::frame::Frame;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, encode_row, owned_groups};
use weir_core::keyed::{KeyedState, MapState};
use weir_core::rank::SortKey;
use weir_core::state::{self, Epoch, behind};
use weir_core::{Batch, Result, Schema};
use weir_expr::aggregate::AggregateCall;

/// Creates OVER aggregations that are ordered by values.
#[derive(Clone)]
pub struct OverValuesFactory {
    /// The columns of the partition; none: there is a single partition.
    pub partition: Vec<usize>,
    /// The order; none: all rows are peers.
    pub order: Vec<SortKey>,
    /// The frame, which is unbounded.
    pub frame: Frame,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The input's columns.
    pub input: Schema,
    /// The columns of the output: those of the input, then the results.
    pub schema: Schema,
    /// Whether rows are only emitted at the end of the input.
    pub at_end: bool,
    /// The time to live of a row in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// Whether the old row of an update is emitted too.
    pub update_before: bool,
}

impl OperatorFactory for OverValuesFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(OverValues {
            state: KeyedState::open(SnapshotsCodec, &context, self.ttl_millis)?,
            groups: Groups::new(&self.calls, &self.input, false)?,
            numbers: RowNumbers::new(&context),
            subtask: context.subtask,
            parallelism: context.parallelism,
            plan: Arc::new(self.clone()),
        }))
    }
}

/// The rows of a partition. The key of an entry is the row's sort key and its number.
const ROWS: MapState = MapState::new(0);

/// The changes of a batch to a partition: the places of inserted rows, and of deleted rows together with the row.
type Changed = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

struct OverValues {
    plan: Arc<OverValuesFactory>,
    state: KeyedState<SnapshotsCodec>,
    /// The aggregates of the current partition before and after the batch.
    groups: Groups,
    numbers: RowNumbers,
    subtask: usize,
    parallelism: usize,
}

impl OverValues {
    /// Applies the changes of a batch to the rows of a partition. A retraction of an unknown row is ignored, as in Flink.
    fn apply(&mut self, key: &[u8], batch: &Batch, rows: &[u32]) -> Result<Changed> {
        let mut changed = Changed::new();
        for row in rows {
            let row = *row as usize;
            let (mut sort, mut packed) = (vec![], vec![]);
            put_sort_key(&self.plan.order, batch, row, &mut sort);
            encode_row(batch.data.columns(), row, &mut packed);
            if batch.kind(row).sign() > 0 {
                let place = [&sort[..], &self.numbers.next().to_be_bytes()].concat();
                ROWS.put(&mut self.state, key, &place, &packed);
                changed.insert(place, None);
                continue;
            }
            let to = behind(&sort);
            let mut equal = ROWS.range(&self.state, key, &sort, to.as_deref());
            let found = equal.find(|pair| pair.as_ref().map_or(true, |(_, row)| *row == packed)).transpose()?;
            drop(equal);
            let Some((place, row)) = found else { continue };
            ROWS.remove(&mut self.state, key, &place);
            // A row that was inserted in the same batch has not been emitted.
            if changed.remove(&place).is_none() {
                changed.insert(place, Some(row));
            }
        }
        Ok(changed)
    }

    /// Emits how the results of a partition have changed, and updates its snapshots.
    fn emit(&mut self, key: &[u8], changed: Changed, emitted: &mut Changes, out: &mut Collector) -> Result<()> {
        let (plan, groups) = (self.plan.clone(), &mut self.groups);
        let snapshots = self.state.get(key)?.cloned().unwrap_or_default();
        let mut walk = Walk::new(&plan, groups, snapshots, changed)?;
        for pair in ROWS.range(&self.state, key, &walk.from(), None) {
            let (place, row) = pair?;
            if walk.next(place, row, emitted, out)? {
                break;
            }
        }
        let snapshots = walk.finish(emitted, out)?;
        self.state.update(key, |known| {
            *known = (!snapshots.is_empty()).then_some(snapshots);
            Ok(true)
        })
    }

    /// Records the existence of a partition whose rows are emitted at the end.
    fn note(&mut self, key: &[u8]) -> Result<()> {
        self.state.update(key, |known| {
            let new = known.is_none();
            *known = Some(Snapshots::default());
            Ok(new)
        })
    }

    /// The keys of all partitions, in order.
    fn all_partitions(&self) -> Result<BTreeSet<Vec<u8>>> {
        let mut keys: BTreeSet<Vec<u8>> = self.state.all_cached().map(|(key, ..)| key.to_vec()).collect();
        for group in owned_groups(self.subtask, self.parallelism) {
            for pair in self.state.all_stored(group, &[]) {
                keys.insert(pair?.0);
            }
        }
        Ok(keys)
    }
}

impl Operator for OverValues {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.plan.partition);
        let found = assign(&keys);
        let (rows, ends) = by_group(&found);
        let partitions = || found.first.iter().map(|row| keys.get(*row as usize));
        self.state.prefetch(partitions())?;
        let mut emitted = Changes::new(&self.plan.schema, self.plan.update_before);
        let mut from = 0;
        for (key, end) in partitions().zip(ends) {
            let changed = self.apply(key, &batch, &rows[from..end])?;
            from = end;
            if self.plan.at_end {
                self.note(key)?;
            } else if !changed.is_empty() {
                self.emit(key, changed, &mut emitted, out)?;
            }
        }
        emitted.finish(out)
    }

    fn results_at_end(&self) -> bool {
        self.plan.at_end
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if !self.plan.at_end {
            return Ok(());
        }
        let mut emitted = Changes::new(&self.plan.schema, self.plan.update_before);
        for key in self.all_partitions()? {
            let mut walk = Walk::of_all(&self.plan, &mut self.groups);
            for pair in ROWS.range(&self.state, &key, &[], None) {
                let (place, row) = pair?;
                walk.next(place, row, &mut emitted, out)?;
            }
            walk.finish(&mut emitted, out)?;
        }
        emitted.finish(out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<state::Changes> {
        self.state.checkpoint()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
