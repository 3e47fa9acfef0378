//! Reads a partition in order, with its rows before and after the batch.

use super::changes::{Changes, Packed};
use super::snapshots::{Snapshot, Snapshots};
use super::{Changed, OverValuesFactory};
use crate::aggregate::{Groups, Reads, read_results};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use std::ops::Range;
use std::sync::Arc;
use weir_core::graph::Collector;
use weir_core::key::decode_row;
use weir_core::{ColumnBuilder, Result, Value};

/// Approximate number of rows that are processed together. Peers are always processed together if they share a result.
const PAGE: usize = 1024;
/// The group of the rows before the batch.
const WAS: usize = 0;
/// The group of the rows after the batch.
const IS: usize = 1;
/// Bytes of the row number at the end of a place.
const NUMBER: usize = 8;

/// A row of the partition.
struct Item {
    place: Vec<u8>,
    row: Vec<u8>,
    /// Whether the row existed before the batch.
    was: bool,
    /// Whether the row exists after the batch.
    is: bool,
}

pub(super) struct Walk<'a> {
    plan: &'a Arc<OverValuesFactory>,
    types: Vec<DataType>,
    groups: &'a mut Groups,
    /// Whether no row has been emitted yet.
    all_new: bool,
    /// The changes that have not been reached yet.
    changed: Changed,
    /// The first place at which results may differ.
    since: Vec<u8>,
    /// The place of the last change.
    until: Vec<u8>,
    /// The snapshots up to the current place, and the former ones after it that may still be valid.
    snapshots: Snapshots,
    rest: Vec<Snapshot>,
    spacing: u64,
    /// The number of rows since the last snapshot, and the place of the last row.
    rows: u64,
    last: Vec<u8>,
    /// How many times both groups could have been compared. They are compared at powers of two.
    chances: u64,
    /// Whether both groups are equal, so that all further results are unchanged.
    done: bool,
    page: Vec<Item>,
}

/// The sort key of a place.
fn sort_of(place: &[u8]) -> &[u8] {
    &place[..place.len().saturating_sub(NUMBER)]
}

impl<'a> Walk<'a> {
    /// Starts to read a partition none of whose rows has been emitted.
    pub fn of_all(plan: &'a Arc<OverValuesFactory>, groups: &'a mut Groups) -> Walk<'a> {
        groups.clear();
        groups.grow(2);
        Walk {
            types: plan.input.fields.iter().map(|f| f.ty.arrow()).collect(),
            plan,
            groups,
            all_new: true,
            changed: Changed::new(),
            since: vec![],
            until: vec![],
            snapshots: Snapshots::default(),
            rest: vec![],
            spacing: u64::MAX,
            rows: 0,
            last: vec![],
            chances: 0,
            done: false,
            page: vec![],
        }
    }

    /// Starts to read the rows whose results the changes may affect.
    ///
    /// # Errors
    /// If a snapshot is corrupt.
    pub fn new(
        plan: &'a Arc<OverValuesFactory>,
        groups: &'a mut Groups,
        snapshots: Snapshots,
        changed: Changed,
    ) -> Result<Walk<'a>> {
        let of = |place: &Vec<u8>| if plan.frame.takes_peers() { sort_of(place).to_vec() } else { place.clone() };
        let since = changed.first_key_value().map(|(place, _)| of(place)).unwrap_or_default();
        let until = changed.last_key_value().map(|(place, _)| place.clone()).unwrap_or_default();
        let spacing = snapshots.spacing();
        let (snapshots, rest) = snapshots.part(&since);
        let all = Walk::of_all(plan, groups);
        let walk = Walk { all_new: false, changed, since, until, snapshots, rest, spacing, ..all };
        if let Some(Snapshot { aggregates, .. }) = walk.snapshots.last() {
            walk.groups.merge(&[WAS as u32, IS as u32], &mut [&aggregates[..], &aggregates[..]])?;
        }
        Ok(walk)
    }

    /// The place from which on the caller must pass the rows to [`Walk::next`].
    pub fn from(&self) -> Vec<u8> {
        self.snapshots.last().map_or(vec![], |s| [&s.place[..], &[0]].concat())
    }

    /// Processes the next row of the partition after the batch. Returns whether no further row is needed.
    ///
    /// # Errors
    /// If the state is corrupt, or an aggregate fails.
    pub fn next(&mut self, place: Vec<u8>, row: Vec<u8>, emitted: &mut Changes, out: &mut Collector) -> Result<bool> {
        while let Some(gone) = self.changed.first_entry().filter(|e| *e.key() < place) {
            let (place, row) = gone.remove_entry();
            self.went(place, row, emitted, out)?;
        }
        let came = self.changed.remove(&place).is_some();
        self.push(Item { place, row, was: !came && !self.all_new, is: true }, emitted, out)?;
        Ok(self.done)
    }

    /// Processes a deleted row. For an inserted row there is nothing to do: it is among the partition's rows, unless it has already
    /// expired.
    fn went(&mut self, place: Vec<u8>, row: Option<Vec<u8>>, emitted: &mut Changes, out: &mut Collector) -> Result<()> {
        let gone = row.map(|row| Item { place, row, was: true, is: false });
        gone.map_or(Ok(()), |item| self.push(item, emitted, out))
    }

    fn push(&mut self, item: Item, emitted: &mut Changes, out: &mut Collector) -> Result<()> {
        // After the last change the partition is rarely read to its end, so pages are small there.
        let most = if item.place > self.until && !self.all_new { PAGE / 16 } else { PAGE };
        let peers = |last: &Item| self.plan.frame.takes_peers() && sort_of(&last.place) == sort_of(&item.place);
        if self.page.len() >= most && !self.page.last().is_some_and(peers) {
            self.take_page(emitted, out)?;
        }
        if !self.done {
            self.page.push(item);
        }
        Ok(())
    }

    /// Processes the remaining rows, and returns the snapshots of the partition.
    ///
    /// # Errors
    /// As [`Walk::next`].
    pub fn finish(mut self, emitted: &mut Changes, out: &mut Collector) -> Result<Snapshots> {
        while let Some((place, row)) = self.changed.pop_first().filter(|_| !self.done) {
            self.went(place, row, emitted, out)?;
        }
        self.take_page(emitted, out)?;
        if self.done {
            self.snapshots.extend(self.rest);
        } else if self.rows > 0 {
            self.snapshot();
        }
        Ok(self.snapshots)
    }

    fn take_page(&mut self, emitted: &mut Changes, out: &mut Collector) -> Result<()> {
        let page = std::mem::take(&mut self.page);
        let reads = self.reads(&page)?;
        let places = [WAS, IS].map(|group| vec![group as u32; page.len()]);
        let mut rest = 0..page.len();
        while !rest.is_empty() && !self.done {
            let first = &page[rest.start];
            let equal = |n: &usize| sort_of(&page[*n].place) == sort_of(&first.place);
            let length = if self.plan.frame.takes_peers() { rest.clone().take_while(equal).count() } else { 1 };
            let step = rest.start..rest.start + length;
            self.take(step.clone(), &page, &places, &reads)?;
            self.step(&page[step], emitted)?;
            emitted.make_room(out)?;
            rest.start += length;
        }
        Ok(())
    }

    /// The arguments of the aggregates for a page.
    fn reads(&self, page: &[Item]) -> Result<Reads> {
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        page.iter().try_for_each(|item| decode_row(&self.types, &item.row, &mut builders))?;
        let columns: Vec<ArrayRef> = builders.into_iter().map(ColumnBuilder::finish).collect();
        Reads::of(&self.plan.calls, &columns)
    }

    /// Adds the rows of a step to the groups to which they belong.
    fn take(&mut self, step: Range<usize>, page: &[Item], places: &[Vec<u32>; 2], reads: &Reads) -> Result<()> {
        for (group, there) in [(WAS, (|i| i.was) as fn(&Item) -> bool), (IS, |i| i.is)] {
            let taken: Vec<u32> = step.clone().filter(|n| there(&page[*n])).map(|n| n as u32).collect();
            if taken.is_empty() {
                continue;
            }
            reads.take(self.groups, &places[group], Some(&taken), None)?;
        }
        Ok(())
    }

    /// Emits how the results of a processed step differ, and updates the position of the walk.
    fn step(&mut self, items: &[Item], emitted: &mut Changes) -> Result<()> {
        let Some(last) = items.last() else { return Ok(()) };
        if last.place >= self.since {
            self.compare(items, emitted)?;
        }
        let left = items.iter().rev().find(|i| i.is);
        if let Some(left) = left {
            self.rows += items.iter().filter(|i| i.is).count() as u64;
            self.last.clone_from(&left.place);
            if self.rows >= self.spacing {
                self.snapshot();
            }
        }
        if last.place >= self.until && !self.all_new {
            self.chances += 1;
            self.done = self.chances.is_power_of_two() && self.groups.keep_the_same(WAS, IS);
        }
        if self.done {
            self.rest.retain(|s| s.place > last.place);
        }
        Ok(())
    }

    fn compare(&self, items: &[Item], emitted: &mut Changes) -> Result<()> {
        let (mut old, mut new): (Vec<Value<'static>>, Vec<Value<'static>>) = (vec![], vec![]);
        for (group, there, results) in
            [(WAS, items.iter().any(|i| i.was), &mut old), (IS, items.iter().any(|i| i.is), &mut new)]
        {
            if there {
                read_results(&self.plan.calls, self.groups, group, results)?;
            }
        }
        let differs = old != new;
        for Item { row, was, is, .. } in items {
            let packed = Packed { types: &self.types, row };
            match (was, is) {
                (true, true) if differs => emitted.updated(&packed, &old, &new)?,
                (false, true) => emitted.come(&packed, &new)?,
                (true, false) => emitted.gone(&packed, &old)?,
                (true, true) | (false, false) => {}
            }
        }
        Ok(())
    }

    /// Takes a snapshot at the last row.
    fn snapshot(&mut self) {
        let (mut aggregates, rows) = (vec![], std::mem::take(&mut self.rows));
        self.groups.encode(IS, &mut aggregates);
        self.snapshots.push(Snapshot { place: self.last.clone(), rows, aggregates }, self.spacing);
    }
}
