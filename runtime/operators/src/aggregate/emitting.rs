//! Windows that emit results before they are complete, and again when late rows arrive. The last emitted result of a group is kept in state
//! until the window is removed, so that only changes are emitted. The final result is always emitted.

use super::window_groups::WindowGroups;
use super::{AggregateFactory, Groups, PAGE, read_results};
use crate::change_rows::ChangeRows;
use crate::windows::WindowClock;
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::emit::Emit;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, decode_row, encode_value};
use weir_core::keyed::{BatchKeys, KeyedState, MapState, TimeDomain, Timers};
use weir_core::state::{Changes, Epoch};
use weir_core::windows::end_in_key;
use weir_core::{Batch, Result, RowKind, Value};
use weir_expr::functions::size;

/// Creates window aggregations that emit early or late results.
#[derive(Clone)]
pub struct EmittingWindowsFactory {
    /// The aggregation. Its first key is the window's end, its second one the start.
    pub aggregate: AggregateFactory,
    /// When results are emitted besides at the end of their window.
    pub emit: Emit,
    /// The clock of the windows.
    pub clock: WindowClock,
}

impl OperatorFactory for EmittingWindowsFactory {
    fn keeps_state(&self) -> bool {
        true
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let plan = &self.aggregate;
        let (timers, time_of_day) = (Timers::new(TimeDomain::Processing, &context), context.clock.clone());
        let mut windows = WindowGroups::open(plan, self.clock, plan.groups()?, context)?;
        windows.lateness = self.emit.lateness;
        Ok(Box::new(EmittingWindows { windows, emit: self.emit, timers, time_of_day, stored: None }))
    }
}

/// Maximum deviation, in milliseconds, between the order of window ends and the order in which windows are complete. It occurs where clocks
/// change.
const CLOCK_CHANGE: i64 = 3 * 3_600_000;

/// The last emitted result of each group, encoded as a row.
const GIVEN: MapState = MapState::new(0);

struct EmittingWindows {
    windows: WindowGroups,
    emit: Emit,
    /// When groups emit their changes. Groups with the same time fire together.
    timers: Timers,
    time_of_day: Arc<dyn Clock>,
    /// The earliest completion time among the windows that exist only in the store and are not yet complete, and the number of evictions
    /// from memory when it was determined.
    stored: Option<(u64, Option<i64>)>,
}

impl EmittingWindows {
    /// Emits the changes of the groups of the given keys.
    fn give(&mut self, keys: &[Vec<u8>], out: &mut Collector) -> Result<()> {
        for page in keys.chunks(PAGE) {
            let page = listed(page);
            let found = self.windows.groups.places(&page)?;
            for (place, row) in found.places.iter().zip(&found.first) {
                // A group that was read back from the store has a place that is not noted yet.
                if self.windows.groups.key_at(*place).is_some() {
                    self.windows.note(end_in_key(page.get(*row as usize))?, *place);
                }
            }
            changed(&self.windows.plan, &mut self.windows.groups, &page, &found, false, out)?;
        }
        Ok(())
    }

    /// Emits the changes of the groups of the given keys, and removes these groups.
    fn give_last(&mut self, keys: &[Vec<u8>], out: &mut Collector) -> Result<()> {
        for page in keys.chunks(PAGE) {
            let page = listed(page);
            let found = self.windows.groups.places(&page)?;
            changed(&self.windows.plan, &mut self.windows.groups, &page, &found, true, out)?;
            // Reading the last emitted results may have evicted groups from memory, so the places are looked up again.
            let found = self.windows.groups.places(&page)?;
            self.windows.reset(&found.places)?;
        }
        Ok(())
    }

    /// The keys of the groups in memory with this window end.
    fn keys_at(&self, end: i64) -> Result<Vec<Vec<u8>>> {
        let places = self.windows.at(end)?;
        let mut keys: Vec<Vec<u8>> =
            places.iter().filter_map(|place| self.windows.groups.key_at(*place)).map(<[u8]>::to_vec).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Emits the changes of the groups whose timers are due.
    fn tick(&mut self, up_to: i64, out: &mut Collector) -> Result<()> {
        loop {
            let due = self.timers.due(&mut self.windows.groups, up_to, PAGE)?;
            let more = due.len() == PAGE;
            let keys: Vec<Vec<u8>> = due.into_iter().map(|(_, key)| key).collect();
            self.give(&keys, out)?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Removes the groups whose windows no longer accept rows.
    fn remove(&mut self, out: &mut Collector) -> Result<()> {
        let (clock, passed, lateness) = (self.windows.clock, self.windows.passed.0, self.emit.lateness);
        let goes = |end: i64| clock.completes(end).saturating_add(lateness) <= passed;
        if self.windows.first_end()?.is_none_or(|first| !goes(first)) {
            return Ok(());
        }
        let ends: Vec<i64> = self.windows.ends(..).take_while(|end| goes(*end)).collect();
        for end in ends {
            let keys = self.keys_at(end)?;
            self.windows.forget_end(end);
            self.give_last(&keys, out)?;
        }
        if !self.windows.groups.reads_store() {
            return Ok(());
        }
        for group in self.windows.key_groups() {
            loop {
                let page = self.windows.stored(group, i64::MIN, goes).take(PAGE);
                let keys: Vec<Vec<u8>> = page.map(|pair| pair.map(|(key, _)| key)).collect::<Result<_>>()?;
                if keys.is_empty() {
                    break;
                }
                self.give_last(&keys, out)?;
            }
        }
        Ok(())
    }

    /// Emits the groups whose windows have become complete since the watermark `before`, and keeps them for late rows.
    fn complete(&mut self, before: Watermark, out: &mut Collector) -> Result<()> {
        let (clock, passed) = (self.windows.clock, self.windows.passed);
        let is_new = |end: &i64| (before.0 < clock.completes(*end)) && clock.completes(*end) <= passed.0;
        let ends: Vec<i64> = self.windows.ends(..).filter(is_new).collect();
        for end in ends {
            let keys = self.keys_at(end)?;
            self.give(&keys, out)?;
        }
        if self.windows.groups.reads_store() { self.complete_stored(before, out) } else { Ok(()) }
    }

    /// Does the same for groups that are only in the store.
    fn complete_stored(&mut self, before: Watermark, out: &mut Collector) -> Result<()> {
        let (clock, passed) = (self.windows.clock, self.windows.passed);
        let evictions = self.windows.groups.evictions();
        if let Some((known_at, next)) = self.stored
            && known_at == evictions
            && next.is_none_or(|next| next > passed.0)
        {
            return Ok(());
        }
        let first = match before {
            Watermark::NONE => i64::MIN,
            before => clock.shown(before.0).saturating_sub(CLOCK_CHANGE),
        };
        let mut next: Option<i64> = None;
        for group in self.windows.key_groups() {
            let mut from = first;
            loop {
                let (mut keys, mut last): (Vec<Vec<u8>>, _) = (vec![], None);
                for pair in self.windows.stored(group, from, |_| true) {
                    let (key, _) = pair?;
                    let end = end_in_key(&key)?;
                    let moment = clock.completes(end);
                    if moment > passed.0 {
                        next = Some(next.map_or(moment, |next| next.min(moment)));
                        break;
                    }
                    if keys.len() >= PAGE && last.is_some_and(|last| last < end) {
                        break;
                    }
                    if moment > before.0 {
                        keys.push(key);
                        last = Some(end);
                    }
                }
                let Some(last) = last else { break };
                from = last;
                self.give(&keys, out)?;
            }
        }
        self.stored = Some((self.windows.groups.evictions(), next));
        Ok(())
    }
}

impl Operator for EmittingWindows {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let Some((keys, found)) = self.windows.take(batch, |end| end, out)? else { return Ok(()) };
        let (clock, passed, now) = (self.windows.clock, self.windows.passed.0, self.time_of_day.now());
        let mut at_once = vec![];
        for row in &found.first {
            let key = keys.get(*row as usize);
            let is_complete = clock.completes(end_in_key(key)?) <= passed;
            match if is_complete { self.emit.late } else { self.emit.early } {
                Some(0) => at_once.push(key.to_vec()),
                // All groups fire at the same points in time, so a group has at most one timer for each of the two delays.
                Some(delay) => {
                    let next = now.div_euclid(delay).saturating_add(1).saturating_mul(delay);
                    self.timers.set(&mut self.windows.groups, next, key);
                }
                None => {}
            }
        }
        self.give(&at_once, out)
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        let before = self.windows.passed;
        self.windows.passed = before.max(time.all);
        if self.emit.lateness > 0 {
            self.complete(before, out)?;
        }
        self.remove(out)?;
        // The input has ended: fires all remaining timers.
        if time.all == Watermark::END { self.tick(i64::MAX, out) } else { Ok(()) }
    }

    fn next_tick(&self) -> Option<i64> {
        self.timers.next()
    }

    fn on_tick(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        self.tick(now, out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.windows.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.windows.groups.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.windows.groups.wants_epoch()
    }
}

/// Emits how groups have changed since they were last emitted. `last`: their windows are being removed, and their last results with them.
fn changed(
    plan: &AggregateFactory,
    groups: &mut KeyedState<Groups>,
    keys: &Keys,
    found: &BatchKeys,
    last: bool,
    out: &mut Collector,
) -> Result<()> {
    let types: Vec<DataType> = plan.calls.iter().map(|c| c.ty.arrow()).collect();
    // Reading the last emitted results may evict groups from memory, so the current results are computed first.
    let results = found.places.iter().map(|place| result(plan, groups, *place, &types));
    let results: Vec<Option<Vec<u8>>> = results.collect::<Result<_>>()?;
    let keys: Vec<&[u8]> = found.first.iter().map(|row| keys.get(*row as usize)).collect();
    GIVEN.prefetch(groups, keys.iter().map(|key| (*key, &[][..])))?;
    let mut rows = Rows::new(plan, &types);
    for (key, new) in keys.into_iter().zip(results) {
        let old = GIVEN.get(groups, key, &[])?;
        match (&old, &new) {
            (Some(old), Some(new)) if old != new => {
                if plan.update_before {
                    rows.push(RowKind::UpdateBefore, key, old, out)?;
                }
                rows.push(RowKind::UpdateAfter, key, new, out)?;
            }
            (None, Some(new)) => rows.push(RowKind::Insert, key, new, out)?,
            (Some(old), None) => rows.push(RowKind::Delete, key, old, out)?,
            (Some(_), Some(_)) | (None, None) => {}
        }
        match new.filter(|_| !last) {
            Some(new) if old.as_ref() != Some(&new) => GIVEN.put(groups, key, &[], &new),
            None if old.is_some() => GIVEN.remove(groups, key, &[]),
            Some(_) | None => {}
        }
    }
    rows.send(out)
}

/// The results of the group at a place as an encoded row, or none if the group has no rows or does not exist.
fn result(
    plan: &AggregateFactory,
    groups: &KeyedState<Groups>,
    place: u32,
    types: &[DataType],
) -> Result<Option<Vec<u8>>> {
    if groups.key_at(place).is_none() || groups.codec().rows[place as usize] <= 0 {
        return Ok(None);
    }
    let (mut values, mut row): (Vec<Value<'static>>, _) = (vec![], vec![]);
    read_results(&plan.calls, groups.codec(), place as usize, &mut values)?;
    values.iter().zip(types).for_each(|(value, ty)| encode_value(value, ty, &mut row));
    Ok(Some(row))
}

/// Packs keys into one buffer.
fn listed(keys: &[Vec<u8>]) -> Keys {
    let mut listed = Keys::default();
    keys.iter().for_each(|key| listed.push(key));
    listed
}

/// Rows to emit. Keys and results are both encoded.
struct Rows<'a> {
    keys: Vec<DataType>,
    results: &'a [DataType],
    rows: ChangeRows,
    bytes: usize,
}

impl<'a> Rows<'a> {
    fn new(plan: &'a AggregateFactory, results: &'a [DataType]) -> Rows<'a> {
        Rows { keys: plan.key_types(), results, rows: ChangeRows::new(plan.schema.clone()), bytes: 0 }
    }

    /// Appends a row. The rows before it are emitted first if a batch cannot hold all.
    fn push(&mut self, kind: RowKind, key: &[u8], result: &[u8], out: &mut Collector) -> Result<()> {
        if self.bytes + key.len() + result.len() > size::MOST_OF_BATCH {
            self.send(out)?;
        }
        self.bytes += key.len() + result.len();
        let (keys, results) = self.rows.row(kind).split_at_mut(self.keys.len());
        decode_row(&self.keys, key, keys)?;
        decode_row(self.results, result, results)?;
        Ok(())
    }

    fn send(&mut self, out: &mut Collector) -> Result<()> {
        out.emit(self.rows.take()?);
        self.bytes = 0;
        Ok(())
    }
}
