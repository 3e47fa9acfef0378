//! Groups of windows, or of slices of windows: what has come into them, and which of them end when.
//!
//! The keys of groups begin with the end of their window or slice, so that those of the store that end first are the front of each key
//! group. Of those in memory the places are noted by their ends.

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
    /// How long behind its end a window takes rows, in milliseconds.
    pub lateness: i64,
    /// How far event time is.
    pub passed: Watermark,
    /// The places of groups in memory, by their ends. A place may have gone to another group meanwhile.
    noted: BTreeMap<i64, HashSet<u32, RandomState>>,
    /// The first end of a group that only the store has, if there is one, and how often memory had let go of groups when that was found.
    first_stored: Option<(u64, Option<i64>)>,
    late: LateRows,
    context: SubtaskContext,
}

impl WindowGroups {
    /// The groups of a subtask.
    ///
    /// # Errors
    /// When the store fails, or has the operator's state in another layout.
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

    /// Takes a batch in, without the rows that are late: those whose last window, which has this end, is complete already. Gives the keys
    /// of the others, and where their groups are, if there are others.
    ///
    /// # Errors
    /// When the state fails.
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
        // A group that came back from the store has a place that is not noted.
        let (plan, all) = (&self.plan, self.groups.reads_store());
        let mut new = vec![];
        self.groups.change(&found.places, |groups, touched| {
            let change = Change::new(plan, &batch, &found, groups, touched)?;
            // A group without rows has gone out, or is new.
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

    /// Notes that the group at a place ends then.
    pub fn note(&mut self, end: i64, place: u32) {
        self.noted.entry(end).or_default().insert(place);
    }

    /// The places of the groups in memory that end then.
    ///
    /// # Errors
    /// When the key of one is damaged.
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

    /// The ends of groups in memory that are in a range; there may be none any more that end then.
    pub fn ends(&self, range: impl std::ops::RangeBounds<i64>) -> impl Iterator<Item = i64> {
        self.noted.range(range).map(|(end, _)| *end)
    }

    /// The first end of a group, if there is one; the group may not be there any more.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn first_end(&mut self) -> Result<Option<i64>> {
        let in_memory = self.noted.keys().next().copied();
        let stored = if self.groups.reads_store() { self.find_stored()? } else { None };
        Ok(in_memory.into_iter().chain(stored).min())
    }

    /// The first end of a group that only the store has.
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

    /// The key groups that are the subtask's.
    pub fn key_groups(&self) -> impl Iterator<Item = u16> + use<> {
        owned_groups(self.context.subtask, self.context.parallelism)
    }

    /// The groups of a key group that only the store has and that end behind a moment, as long as `goes_on` says of their ends.
    pub fn stored(&self, group: u16, from: i64, goes_on: impl Fn(i64) -> bool) -> impl Iterator<Item = Result<Pair>> {
        let pairs = self.groups.all_stored(group, &border_in_key(from.saturating_add(1)));
        let goes_on = move |pair: &Result<Pair>| {
            // What cannot be read is an error of the next step.
            pair.as_ref().ok().and_then(|(key, _)| end_in_key(key).ok()).is_none_or(&goes_on)
        };
        pairs.take_while(move |pair| goes_on(pair))
    }

    /// Takes groups away that end behind a moment, in memory and in the store, as long as `goes` says so of their ends. `each` sees those
    /// at some places before they go.
    ///
    /// # Errors
    /// When the store fails or is damaged, or `each` does.
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
        // For few groups, a deletion of each is less than a range in every key group.
        if removed > 2 * usize::from(KEY_GROUPS) {
            let (begin, end) = (border_in_key(from.saturating_add(1)), border_in_key(last.saturating_add(1)));
            self.key_groups().for_each(|group| self.groups.remove_stored(group, &begin, &end));
        }
        Ok(())
    }

    /// Forgets the groups in memory that end then; they are still there.
    pub fn forget_end(&mut self, end: i64) {
        self.noted.remove(&end);
    }

    /// Takes the groups at these places away.
    ///
    /// # Errors
    /// When the state fails.
    pub fn reset(&mut self, places: &[u32]) -> Result<()> {
        // It may have been the first.
        self.first_stored = None;
        self.groups.change(places, |groups, touched| {
            for (place, touched) in places.iter().zip(touched) {
                groups.reset(*place as usize);
                *touched = Touched { there: true, changed: true };
            }
            Ok(())
        })
    }

    /// The changes since the last epoch.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn checkpoint(&mut self) -> Result<Changes> {
        // What was in memory only is in the store then.
        self.first_stored = None;
        self.groups.checkpoint()
    }
}

/// Gives out the groups at some places.
///
/// # Errors
/// When a result is larger than a value may be.
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
