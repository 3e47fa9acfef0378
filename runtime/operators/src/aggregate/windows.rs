//! GROUP BY over windows: each group gives one result, when its window is complete.
//!
//! The keys of groups begin with their window's end, so that those of the store whose windows are complete are the front of each key
//! group. Of those in memory the places are noted by the moment at which they are complete.

use super::{AggregateFactory, Change, Groups, PAGE, RowsOut, Stage};
use crate::windows::{WindowClock, late_rows, without};
use ahash::RandomState;
use arrow::array::AsArray;
use hashbrown::HashSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{KEY_GROUPS, Keys, owner};
use weir_core::keyed::{KeyedState, Touched};
use weir_core::state::{Changes, Epoch};
use weir_core::windows::end_in_key;
use weir_core::{Batch, Result};

/// Makes aggregations over windows.
#[derive(Clone)]
pub struct WindowAggregateFactory {
    /// The aggregation. Its first key is the window's end, its second one the start.
    pub aggregate: AggregateFactory,
    /// The clock that the windows go by.
    pub clock: WindowClock,
}

impl OperatorFactory for WindowAggregateFactory {
    fn keeps_state(&self) -> bool {
        true
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let plan = &self.aggregate;
        let groups = Groups::new(&plan.calls, &plan.input, plan.retracts)?;
        Ok(Box::new(WindowAggregate {
            plan: Arc::new(plan.clone()),
            clock: self.clock,
            groups: KeyedState::open(groups, &context, 0)?,
            open: BTreeMap::new(),
            stored: None,
            passed: Watermark::NONE,
            context,
        }))
    }
}

struct WindowAggregate {
    plan: Arc<AggregateFactory>,
    clock: WindowClock,
    groups: KeyedState<Groups>,
    /// The places of groups in memory, by the moment at which they are complete. A place may have gone to another group meanwhile.
    open: BTreeMap<i64, HashSet<u32, RandomState>>,
    /// The first moment at which a group is complete that only the store has, as far as it is known.
    stored: Option<Option<i64>>,
    passed: Watermark,
    context: SubtaskContext,
}

impl WindowAggregate {
    /// Leaves out the rows of windows that are complete already.
    fn in_time(&self, batch: Batch) -> Result<Batch> {
        let column = if self.plan.stage == Stage::Final { 0 } else { self.plan.keys[0] };
        let late = late_rows(batch.data.column(column), self.clock, self.passed)?;
        for row in &late {
            let rows = match self.plan.stage {
                Stage::Final => {
                    Groups::rows_in(batch.data.column(self.plan.keys.len()).as_binary::<i32>().value(*row))?
                }
                Stage::Whole | Stage::Local => 1,
            };
            self.context.metrics.late.inc_by(rows.unsigned_abs());
        }
        without(batch, &late)
    }

    /// Gives out the groups at these places, and forgets them.
    fn give(&mut self, mut due: Vec<u32>, out: &mut Collector) -> Result<()> {
        due.sort_unstable_by(|a, b| self.groups.key_at(*a).cmp(&self.groups.key_at(*b)));
        for page in due.chunks(PAGE) {
            let mut rows_out = RowsOut::new(&self.plan, None);
            for place in page {
                if let Some(key) = self.groups.key_at(*place) {
                    rows_out.whole(key, self.groups.codec(), *place as usize, out)?;
                }
            }
            rows_out.finish(out)?;
            self.groups.change(page, |groups, touched| {
                for (place, touched) in page.iter().zip(touched) {
                    groups.reset(*place as usize);
                    *touched = Touched { there: true, changed: true };
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Gives out the groups whose windows are complete.
    fn fire(&mut self, out: &mut Collector) -> Result<()> {
        while let Some(first) = self.open.first_entry().filter(|e| *e.key() <= self.passed.0) {
            let (moment, places) = first.remove_entry();
            let mut due = vec![];
            for place in places {
                if let Some(key) = self.groups.key_at(place)
                    && self.clock.completes(end_in_key(key)?) == moment
                {
                    due.push(place);
                }
            }
            self.give(due, out)?;
        }
        if self.groups.reads_store() { self.fire_stored(out) } else { Ok(()) }
    }

    /// The same of groups that only the store has.
    fn fire_stored(&mut self, out: &mut Collector) -> Result<()> {
        let first = match self.stored {
            Some(known) => known,
            None => {
                let mut first: Option<i64> = None;
                for group in self.key_groups() {
                    if let Some(pair) = self.groups.all_stored(group).next() {
                        let moment = self.clock.completes(end_in_key(&pair?.0)?);
                        first = Some(first.map_or(moment, |f| f.min(moment)));
                    }
                }
                first
            }
        };
        self.stored = Some(first);
        if first.is_none_or(|first| first > self.passed.0) {
            return Ok(());
        }
        for group in self.key_groups() {
            loop {
                let mut keys = Keys::default();
                for pair in self.groups.all_stored(group) {
                    let (key, _) = pair?;
                    if keys.len() == PAGE || self.clock.completes(end_in_key(&key)?) > self.passed.0 {
                        break;
                    }
                    keys.push(&key);
                }
                if keys.is_empty() {
                    break;
                }
                let found = self.groups.places(&keys)?;
                self.give(found.places, out)?;
            }
        }
        self.stored = None;
        Ok(())
    }

    fn key_groups(&self) -> impl Iterator<Item = u16> + use<> {
        let (parallelism, subtask) = (self.context.parallelism, self.context.subtask);
        (0..KEY_GROUPS).filter(move |g| owner(*g, parallelism) == subtask)
    }
}

impl Operator for WindowAggregate {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Collector) -> Result<()> {
        let batch = self.in_time(batch)?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let key_columns = self.plan.key_columns(&batch);
        let keys = Keys::encode(&key_columns, batch.rows());
        let found = self.groups.places(&keys)?;
        // A group that came back from the store has a place that is not noted.
        let (plan, all) = (&self.plan, self.groups.reads_store());
        let mut new = vec![];
        self.groups.change(&found.places, |groups, touched| {
            let change = Change::new(plan, &batch, &found, groups, touched)?;
            change.take(groups, 0..found.places.len(), None)?;
            for (n, touched) in touched.iter_mut().enumerate() {
                let (at, was_there) = (found.places[n], touched.there);
                if change.settle(groups, at as usize, touched) && (all || !was_there) {
                    new.push((found.first[n], at));
                }
            }
            Ok(())
        })?;
        for (row, place) in new {
            let moment = self.clock.completes(end_in_key(keys.get(row as usize))?);
            self.open.entry(moment).or_default().insert(place);
        }
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        self.passed = self.passed.max(time.all);
        self.fire(out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        // Groups may go from memory with the epoch.
        self.stored = None;
        self.groups.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        if self.groups.reads_store() { 1 << 15 } else { 0 }
    }

    fn wants_epoch(&self) -> bool {
        self.groups.wants_epoch()
    }
}
