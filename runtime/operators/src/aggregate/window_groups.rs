//! The groups of windows, or of slices of windows: their accumulators, and which of them end when.
//!
//! The keys of groups begin with the end of their window or slice, so that in the store the groups that end first come first within each
//! key group. For groups in memory, there is an index of their places by end.

use super::{AggregateFactory, Change, Groups, PAGE, RowsOut, Stage};
use crate::late_rows::{LateRows, of_window};
use crate::windows::{WindowClock, end_of, late_rows, without};
use ahash::RandomState;
use arrow::array::AsArray;
use hashbrown::HashSet;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use weir_core::event_time::Watermark;
use weir_core::graph::{Collector, SubtaskContext};
use weir_core::key::{KEY_GROUPS, Keys, owned_groups};
use weir_core::keyed::{BatchKeys, KeyedState, Touched};
use weir_core::state::{Changes, Pair};
use weir_core::windows::{border_in_key, end_in_key};
use weir_core::{Batch, Result};

pub(super) struct WindowGroups {
    pub plan: Arc<AggregateFactory>,
    pub clock: WindowClock,
    pub groups: KeyedState<Groups>,
    /// The allowed lateness in milliseconds: how long after its end a window accepts rows.
    pub lateness: i64,
    /// The current watermark.
    pub passed: Watermark,
    /// The places of groups in memory, by window end. A place may belong to another group by now.
    noted: BTreeMap<i64, HashSet<u32, RandomState>>,
    /// The earliest end of a group that is only in the store, if there is one, and the number of evictions from memory when it was
    /// determined.
    first_stored: Option<(u64, Option<i64>)>,
    late: LateRows,
    context: SubtaskContext,
}

impl WindowGroups {
    /// Opens the groups of a subtask.
    ///
    /// # Errors
    /// If the store fails, or has the operator's state in another layout.
    pub fn open(
        plan: &AggregateFactory,
        clock: WindowClock,
        groups: Groups,
        context: SubtaskContext,
    ) -> Result<WindowGroups> {
        Ok(WindowGroups {
            plan: Arc::new(plan.clone()),
            clock,
            groups: KeyedState::open(groups, &context, 0)?,
            lateness: 0,
            passed: context.resumes_at,
            noted: BTreeMap::new(),
            first_stored: None,
            late: LateRows::new(&context),
            context,
        })
    }

    /// Processes a batch without its late rows. A row is late if its last window, whose end `last_end` computes, is complete. Returns the
    /// keys of the other rows and the places of their groups, or none if all rows are late.
    ///
    /// # Errors
    /// If the state fails.
    pub fn take(
        &mut self,
        batch: Batch,
        last_end: impl Fn(i64) -> i64,
        out: &mut Collector,
    ) -> Result<Option<(Keys, BatchKeys)>> {
        let batch = self.in_time(batch, last_end, out)?;
        if batch.rows() == 0 {
            return Ok(None);
        }
        let key_columns = self.plan.key_columns(&batch);
        let keys = Keys::encode(&key_columns, batch.rows());
        let found = self.groups.places(&keys)?;
        // A group that was read back from the store has a place that is not in the index.
        let (plan, all) = (&self.plan, self.groups.reads_store());
        let mut new = vec![];
        self.groups.change(&found.places, |groups, touched| {
            let change = Change::new(plan, &batch, &found, groups, touched)?;
            // A group without rows has been emitted, or is new.
            let begins: Vec<bool> = found.places.iter().map(|at| groups.rows[*at as usize] == 0).collect();
            change.take(groups, 0..found.places.len(), None)?;
            for (n, touched) in touched.iter_mut().enumerate() {
                let at = found.places[n];
                if change.settle(groups, at as usize, touched) && (all || begins[n]) {
                    new.push((found.first[n], at));
                }
            }
            Ok(())
        })?;
        for (row, place) in new {
            self.note(end_in_key(keys.get(row as usize))?, place);
        }
        Ok(Some((keys, found)))
    }

    fn in_time(&self, batch: Batch, last_end: impl Fn(i64) -> i64, out: &mut Collector) -> Result<Batch> {
        let column = if self.plan.stage == Stage::Final { 0 } else { self.plan.keys[0] };
        let ends = batch.data.column(column);
        let goes = |end| self.clock.completes(last_end(end)).saturating_add(self.lateness);
        let late = late_rows(ends, goes, self.passed)?;
        match self.plan.stage {
            Stage::Final => {
                let partial = batch.data.column(self.plan.keys.len()).as_binary::<i32>();
                for row in &late {
                    self.context.metrics.late.inc_by(Groups::rows_in(partial.value(*row))?.unsigned_abs());
                }
            }
            Stage::Whole | Stage::Local => {
                let reason = |row| of_window(last_end(end_of(ends, row)));
                self.late.drop_rows(&batch, &late, self.passed.0, reason, out)?;
            }
        }
        without(batch, &late)
    }

    /// Adds the place of a group to the index.
    pub fn note(&mut self, end: i64, place: u32) {
        self.noted.entry(end).or_default().insert(place);
    }

    /// The places of the groups in memory with this end.
    ///
    /// # Errors
    /// If the key of one is corrupt.
    pub fn at(&self, end: i64) -> Result<Vec<u32>> {
        let mut places = vec![];
        for place in self.noted.get(&end).into_iter().flatten() {
            if let Some(key) = self.groups.key_at(*place)
                && end_in_key(key)? == end
            {
                places.push(*place);
            }
        }
        Ok(places)
    }

    /// The ends of groups in memory within a range. Some may be outdated, without any group.
    pub fn ends(&self, range: impl std::ops::RangeBounds<i64>) -> impl Iterator<Item = i64> {
        self.noted.range(range).map(|(end, _)| *end)
    }

    /// The earliest end of a group, if there is one. It may be outdated.
    ///
    /// # Errors
    /// If the store fails or is corrupt.
    pub fn first_end(&mut self) -> Result<Option<i64>> {
        let in_memory = self.noted.keys().next().copied();
        let stored = if self.groups.reads_store() { self.find_stored()? } else { None };
        Ok(in_memory.into_iter().chain(stored).min())
    }

    /// Determines the earliest end of a group that is only in the store.
    fn find_stored(&mut self) -> Result<Option<i64>> {
        let evictions = self.groups.evictions();
        if let Some((known_at, first)) = self.first_stored
            && known_at == evictions
        {
            return Ok(first);
        }
        let mut first: Option<i64> = None;
        for group in self.key_groups() {
            if let Some(pair) = self.groups.all_stored(group, &[]).next() {
                let end = end_in_key(&pair?.0)?;
                first = Some(first.map_or(end, |f| f.min(end)));
            }
        }
        self.first_stored = Some((evictions, first));
        Ok(first)
    }

    /// The key groups of the subtask.
    pub fn key_groups(&self) -> impl Iterator<Item = u16> + use<> {
        owned_groups(self.context.subtask, self.context.parallelism)
    }

    /// The groups of a key group that are only in the store and end after `from`, for as long as `goes_on` holds for their ends.
    pub fn stored(&self, group: u16, from: i64, goes_on: impl Fn(i64) -> bool) -> impl Iterator<Item = Result<Pair>> {
        let pairs = self.groups.all_stored(group, &border_in_key(from.saturating_add(1)));
        let goes_on = move |pair: &Result<Pair>| {
            // An entry that cannot be read is passed on, and the caller reports the error.
            pair.as_ref().ok().and_then(|(key, _)| end_in_key(key).ok()).is_none_or(&goes_on)
        };
        pairs.take_while(move |pair| goes_on(pair))
    }

    /// Removes the groups that end after `from`, in memory and in the store, for as long as `goes` holds for their ends. `each` is called
    /// with some places at a time before their groups are removed.
    ///
    /// # Errors
    /// If the store fails or is corrupt, or if `each` fails.
    pub fn remove(
        &mut self,
        from: i64,
        goes: impl Fn(i64) -> bool,
        mut each: impl FnMut(&KeyedState<Groups>, &[u32]) -> Result<()>,
    ) -> Result<()> {
        let (mut removed, mut last) = (0, from);
        let next = |noted: &BTreeMap<i64, _>| noted.range((Excluded(from), Unbounded)).next().map(|(end, _)| *end);
        while let Some(end) = next(&self.noted).filter(|end| goes(*end)) {
            let mut places = self.at(end)?;
            self.noted.remove(&end);
            (removed, last) = (removed + places.len(), last.max(end));
            places.sort_unstable_by(|a, b| self.groups.key_at(*a).cmp(&self.groups.key_at(*b)));
            for page in places.chunks(PAGE) {
                each(&self.groups, page)?;
                self.reset(page)?;
            }
        }
        let of_store = if self.groups.reads_store() { self.key_groups().collect() } else { vec![] };
        for group in of_store {
            loop {
                let mut keys = Keys::default();
                for pair in self.stored(group, from, &goes).take(PAGE) {
                    let (key, _) = pair?;
                    last = last.max(end_in_key(&key)?);
                    keys.push(&key);
                }
                if keys.is_empty() {
                    break;
                }
                let found = self.groups.places(&keys)?;
                each(&self.groups, &found.places)?;
                self.reset(&found.places)?;
                removed += keys.len();
            }
        }
        // For few groups, individual deletions are cheaper than a range deletion in every key group.
        if removed > 2 * usize::from(KEY_GROUPS) {
            let (begin, end) = (border_in_key(from.saturating_add(1)), border_in_key(last.saturating_add(1)));
            self.key_groups().for_each(|group| self.groups.remove_stored(group, &begin, &end));
        }
        Ok(())
    }

    /// Removes an end from the index. Its groups stay.
    pub fn forget_end(&mut self, end: i64) {
        self.noted.remove(&end);
    }

    /// Removes the groups at these places.
    ///
    /// # Errors
    /// If the state fails.
    pub fn reset(&mut self, places: &[u32]) -> Result<()> {
        // One of them may have been the earliest.
        self.first_stored = None;
        self.groups.change(places, |groups, touched| {
            for (place, touched) in places.iter().zip(touched) {
                groups.reset(*place as usize);
                *touched = Touched { there: true, changed: true };
            }
            Ok(())
        })
    }

    /// The changes of the state since the last epoch.
    ///
    /// # Errors
    /// If the store fails or is corrupt.
    pub fn checkpoint(&mut self) -> Result<Changes> {
        // Groups that were only in memory are in the store afterwards.
        self.first_stored = None;
        self.groups.checkpoint()
    }
}

/// Emits the groups at these places.
///
/// # Errors
/// If a result is larger than a value may be.
pub(super) fn give(
    plan: &Arc<AggregateFactory>,
    groups: &KeyedState<Groups>,
    places: &[u32],
    out: &mut Collector,
) -> Result<()> {
    let mut rows_out = RowsOut::new(plan, None);
    for place in places {
        if let Some(key) = groups.key_at(*place) {
            rows_out.whole(key, groups.codec(), *place as usize, out)?;
        }
    }
    rows_out.finish(out).map(drop)
}
