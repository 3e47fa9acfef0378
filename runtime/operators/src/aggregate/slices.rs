//! GROUP BY over overlapping windows: each row is aggregated once, into its slice. A window is merged from its slices when it is complete,
//! as in Flink.
//!
//! The keys of groups begin with the end of their slice. Only the other keys determine the subtask, so that it has all slices of a window.
//! For windows that contain the previous one (CUMULATE), the complete slices are kept merged in the first slice.

use super::window_groups::WindowGroups;
use super::{AggregateFactory, Groups, PAGE, RowsOut};
use crate::windows::WindowClock;
use ahash::RandomState;
use hashbrown::{HashMap, HashTable};
use std::ops::Bound::{Excluded, Included};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::Keys;
use weir_core::keyed::{Codec, Touched};
use weir_core::state::{Changes, Epoch};
use weir_core::windows::{BORDER_BYTES, Slices, border_in_key, end_in_key};
use weir_core::{Batch, Result};

/// Creates aggregations over overlapping windows.
#[derive(Clone)]
pub struct SlicedAggregateFactory {
    /// The aggregation. Its first key is the end of the row's slice, and in the output the end of the window. The second key is the start.
    pub aggregate: AggregateFactory,
    /// The slices of the windows.
    pub slices: Slices,
    /// The clock of the windows.
    pub clock: WindowClock,
}

impl OperatorFactory for SlicedAggregateFactory {
    fn keeps_state(&self) -> bool {
        true
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let plan = &self.aggregate;
        Ok(Box::new(SlicedAggregate {
            slices: self.slices,
            window: Together::new(plan.groups()?),
            page: plan.groups()?.owned_from(OTHER_KEYS),
            groups: WindowGroups::open(plan, self.clock, plan.groups()?.owned_from(OTHER_KEYS), context)?,
        }))
    }
}

/// The offset of the other keys, which follow the end and the start of the slice.
const OTHER_KEYS: usize = 2 * BORDER_BYTES;

/// Merged groups, by the keys that are not window borders.
struct Together {
    groups: Groups,
    keys: Keys,
    index: HashTable<u32>,
    hasher: RandomState,
}

impl Together {
    fn new(groups: Groups) -> Together {
        Together { groups, keys: Keys::default(), index: HashTable::new(), hasher: RandomState::new() }
    }

    /// The place of a key's group, which is created if necessary.
    fn place(&mut self, key: &[u8]) -> usize {
        let (keys, hasher) = (&mut self.keys, &self.hasher);
        let hash = hasher.hash_one(key);
        if let Some(place) = self.index.find(hash, |place| keys.get(*place as usize) == key) {
            return *place as usize;
        }
        let place = keys.len();
        keys.push(key);
        self.index.insert_unique(hash, place as u32, |place| hasher.hash_one(keys.get(*place as usize)));
        self.groups.grow(place + 1);
        place
    }

    /// Merges a group of other groups into the one with this key.
    fn add(&mut self, key: &[u8], others: &Groups, at: usize) -> Result<()> {
        let place = self.place(key);
        self.groups.merge_from(place, others, at)
    }

    fn clear(&mut self) {
        (0..self.keys.len()).for_each(|at| self.groups.drop_group(at));
        self.keys = Keys::default();
        self.index.clear();
    }

    /// The places of the groups, in the order of their keys.
    fn in_order(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.keys.len()).collect();
        all.sort_unstable_by(|a, b| self.keys.get(*a).cmp(self.keys.get(*b)));
        all
    }
}

struct SlicedAggregate {
    slices: Slices,
    groups: WindowGroups,
    /// The window that is being merged.
    window: Together,
    /// A buffer for a group of the store.
    page: Groups,
}

/// A subset of the groups of some slices that is merged at once.
struct Part {
    /// The key group; none if the store is not read.
    group: Option<u16>,
    /// The places in memory, ordered by slice.
    places: Vec<u32>,
}

impl SlicedAggregate {
    /// Partitions the groups of the slices whose ends are in `(from, to]`. All groups of a key are in one part.
    fn parts(&self, from: i64, to: i64) -> Result<Vec<Part>> {
        let stored = self.groups.groups.reads_store();
        let mut parts: Vec<Part> = vec![];
        let mut of_group: HashMap<u16, usize, RandomState> = HashMap::default();
        if stored {
            for (at, group) in self.groups.key_groups().enumerate() {
                parts.push(Part { group: Some(group), places: vec![] });
                of_group.insert(group, at);
            }
        } else {
            parts.push(Part { group: None, places: vec![] });
        }
        for end in self.groups.ends((Excluded(from), Included(to))) {
            let places = self.groups.at(end)?;
            if !stored {
                parts[0].places.extend(places);
                continue;
            }
            for place in places {
                let groups = &self.groups.groups;
                let group = groups.key_at(place).map(|key| groups.codec().key_group(key));
                if let Some(part) = group.and_then(|group| of_group.get(&group)) {
                    parts[*part].places.push(place);
                }
            }
        }
        Ok(parts)
    }

    /// Merges the groups of a part.
    fn put_together(&mut self, part: &Part, from: i64, to: i64) -> Result<()> {
        self.window.clear();
        let groups = &self.groups.groups;
        for place in &part.places {
            // The place may belong to another group by now, since groups were read from the store in between.
            if let Some(key) = groups.key_at(*place)
                && (from + 1..=to).contains(&end_in_key(key)?)
                && part.group.is_none_or(|group| groups.codec().key_group(key) == group)
            {
                self.window.add(&key[OTHER_KEYS..], groups.codec(), *place as usize)?;
            }
        }
        let Some(group) = part.group else { return Ok(()) };
        for pair in self.groups.stored(group, from, |end| end <= to) {
            let (key, value) = pair?;
            self.page.read(0, &key, &value, groups.store())?;
            self.window.add(&key[OTHER_KEYS..], &self.page, 0)?;
            self.page.drop_group(0);
        }
        Ok(())
    }

    /// Emits the merged window.
    fn give(&self, start: i64, end: i64, out: &mut Collector) -> Result<()> {
        let borders = [border_in_key(end), border_in_key(start)].concat();
        for numbers in self.window.in_order().chunks(PAGE) {
            let mut rows_out = RowsOut::new(&self.groups.plan, None);
            for at in numbers {
                let key = [&borders, self.window.keys.get(*at)].concat();
                rows_out.whole(&key, &self.window.groups, *at, out)?;
            }
            rows_out.finish(out)?;
        }
        Ok(())
    }

    /// Merges the current result into the first slice of the window.
    fn put_into_first(&mut self, start: i64, first: i64) -> Result<()> {
        let borders = [border_in_key(first), border_in_key(start)].concat();
        for numbers in self.window.in_order().chunks(PAGE) {
            let mut keys = Keys::default();
            numbers.iter().for_each(|at| keys.push(&[&borders, self.window.keys.get(*at)].concat()));
            let found = self.groups.groups.places(&keys)?;
            let window = &self.window;
            self.groups.groups.change(&found.places, |groups, touched| {
                groups.grow(found.room());
                for ((place, at), touched) in found.places.iter().zip(numbers).zip(touched) {
                    groups.merge_from(*place as usize, &window.groups, *at)?;
                    *touched = Touched { there: true, changed: true };
                }
                Ok(())
            })?;
            found.places.iter().for_each(|place| self.groups.note(first, *place));
        }
        Ok(())
    }

    /// Emits the window with this end.
    fn fire(&mut self, end: i64, out: &mut Collector) -> Result<()> {
        let start = self.slices.start(end);
        let (mut from, mut to) = (start, end);
        if self.slices.nests() {
            let first = self.slices.first_slice(start);
            if end > first {
                for part in self.parts(first, end)? {
                    self.put_together(&part, first, end)?;
                    self.put_into_first(start, first)?;
                }
                self.groups.remove(first, |slice| slice <= end, |_, _| Ok(()))?;
            }
            (from, to) = (first - 1, first);
        }
        for part in self.parts(from, to)? {
            self.put_together(&part, from, to)?;
            self.give(start, end, out)?;
        }
        let slices = self.slices;
        self.groups.remove(i64::MIN, |slice| slices.last_end(slice) <= end, |_, _| Ok(()))
    }
}

impl Operator for SlicedAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let slices = self.slices;
        self.groups.take(batch, |slice| slices.last_end(slice), out).map(drop)
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        let (clock, before, passed) = (self.groups.clock, self.groups.passed, time.all.max(self.groups.passed));
        let fired = |end: i64, by: Watermark| clock.completes(end) <= by.0;
        self.groups.passed = passed;
        let mut next = i64::MIN;
        while let Some(slice) = self.groups.first_end()? {
            let mut end = self.slices.first_end(slice.max(next));
            while fired(end, before) && end < self.slices.last_end(slice) {
                end = self.slices.first_end(end.saturating_add(1));
            }
            if !fired(end, passed) {
                break;
            }
            self.fire(end, out)?;
            next = end.saturating_add(1);
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.groups.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.groups.groups.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.groups.groups.wants_epoch()
    }
}
