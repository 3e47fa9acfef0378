//! GROUP BY over windows that overlap: a row is taken once, into its slice, and a window is put together of its slices when it is
//! complete. The idea is Flink's.
//!
//! The keys of groups begin with the end of their slice. The other keys decide which subtask they belong to, so that it has all slices
//! of a window. Of windows that each contain the one before, what is complete is kept put together as the first slice.

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

/// Makes aggregations over windows that overlap.
#[derive(Clone)]
pub struct SlicedAggregateFactory {
    /// The aggregation. Its first key is the end of the row's slice, and of the window in what goes out; the second one is the start.
    pub aggregate: AggregateFactory,
    /// The slices that rows are in.
    pub slices: Slices,
    /// The clock that the windows go by.
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

/// Where the keys begin behind the end and the start of the slice.
const OTHER_KEYS: usize = 2 * BORDER_BYTES;

/// Groups by the keys that are not borders of windows.
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

    /// The place of a key's group.
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

    /// Puts the group at a place of others behind what the same key has.
    fn add(&mut self, key: &[u8], others: &Groups, at: usize) -> Result<()> {
        let place = self.place(key);
        self.groups.merge_from(place, others, at)
    }

    fn clear(&mut self) {
        (0..self.keys.len()).for_each(|at| self.groups.drop_group(at));
        self.keys = Keys::default();
        self.index.clear();
    }

    /// Numbers of the groups, in the order of their keys.
    fn in_order(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.keys.len()).collect();
        all.sort_unstable_by(|a, b| self.keys.get(*a).cmp(self.keys.get(*b)));
        all
    }
}

struct SlicedAggregate {
    slices: Slices,
    groups: WindowGroups,
    /// The window at hand.
    window: Together,
    /// Groups of the store, for a moment.
    page: Groups,
}

/// A part of the groups of some slices, which is put together at once.
struct Part {
    /// The key group, where the store may have groups as well.
    group: Option<u16>,
    /// The places in memory, slice by slice.
    places: Vec<u32>,
}

impl SlicedAggregate {
    /// The groups of slices from behind one end to another one, all of a key in one part.
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

    /// Puts the groups of a part together.
    fn put_together(&mut self, part: &Part, from: i64, to: i64) -> Result<()> {
        self.window.clear();
        let groups = &self.groups.groups;
        for place in &part.places {
            // Another group may have come to the place, since others of the store were read.
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

    /// Gives out the window that was put together.
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

    /// Puts what was put together behind what the first slice of the window has.
    fn put_into_first(&mut self, start: i64, first: i64) -> Result<()> {
        let borders = [border_in_key(first), border_in_key(start)].concat();
        for numbers in self.window.in_order().chunks(PAGE) {
            let mut keys = Keys::default();
            numbers.iter().for_each(|at| keys.push(&[&borders, self.window.keys.get(*at)].concat()));
            let found = self.groups.groups.places(&keys)?;
            let window = &self.window;
            self.groups.groups.change(&found.places, |groups, touched| {
                groups.grow(found.places.iter().max().map_or(0, |most| *most as usize + 1));
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

    /// Gives out the window that ends then.
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
