//! Applies durable epochs to sled, several at a time, in key order.
//!
//! A key that has changed in several of the epochs is written once. sled keeps all leaves in memory that were written, so it is closed
//! and opened again when they have become too many. This may happen in the middle, since applying is idempotent: the files of the epochs
//! stay until all of them are flushed.

use crate::filter::Filter;
use crate::run::{Change, Run};
use crate::sled_store::{self, Applied, FANOUT, Handles, put, set_place, sled_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_core::key::KEY_GROUPS;
use weir_core::state::{Changes, KeyRanges, OperatorId};
use weir_core::{Result, failpoint};

/// Changes after which the size of the remaining ones is estimated.
const SAMPLE: usize = 1024;

/// The place of a change: its run, and its index there.
type Place = (u32, u32);

/// The bytes of a key that follow the prefix that all keys share, as a number: most comparisons need no more.
fn begin(key: &[u8], common: usize) -> u64 {
    let mut b = [0; 8];
    let rest = key.get(common..).unwrap_or_default();
    let n = rest.len().min(8);
    b[..n].copy_from_slice(&rest[..n]);
    u64::from_be_bytes(b)
}

/// The length of the prefix that two keys share.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The ranges that runs of one operator delete, by the number of their run.
fn removed_by(runs: &[&Run]) -> Vec<(u32, KeyRanges)> {
    let all = runs.iter().zip(0u32..).map(|(run, r)| (r, run.changes.removed().clone()));
    all.filter(|(_, removed)| !removed.is_empty()).collect()
}

/// All ranges that runs of one operator delete.
fn removed(runs: &[&Run]) -> KeyRanges {
    let mut all = KeyRanges::default();
    runs.iter().for_each(|run| all.extend(run.changes.removed()));
    all
}

/// The changes of single keys of an operator in key order, one key group after the other; of several changes of a key, the last one. They
/// apply after all ranges of the runs were deleted: changes that the range of a newer run deletes are left out, and so are deletions
/// of keys in a range.
fn in_order<'a>(runs: &'a [&'a Run]) -> impl Iterator<Item = Change<'a>> {
    // A key without a key group, which should not exist, comes first. The engine's keys come last.
    let group =
        |key: &[u8]| key.first_chunk::<2>().map_or(0, |g| usize::from(u16::from_be_bytes(*g).min(KEY_GROUPS)) + 1);
    let changes =
        || runs.iter().zip(0u32..).flat_map(|(run, r)| run.changes.iter().zip(0u32..).map(move |(c, i)| (c.0, r, i)));
    let mut ends = vec![0usize; usize::from(KEY_GROUPS) + 2];
    changes().for_each(|(key, ..)| ends[group(key)] += 1);
    let mut at = 0;
    for end in &mut ends {
        (at, *end) = (at + *end, at);
    }
    let mut places: Vec<Place> = vec![(0, 0); at];
    for (key, r, i) in changes() {
        let next = &mut ends[group(key)];
        places[*next] = (r, i);
        *next += 1;
    }
    let (mut from, all, by_run) = (0, removed(runs), removed_by(runs));
    ends.into_iter().flat_map(move |to| {
        let mut of_group = sorted(runs, &places[from..to]);
        from = to;
        of_group.retain(|(run, (key, value))| {
            let is_newer = || !by_run.iter().any(|(r, removed)| r > run && removed.contains(key));
            !all.contains(key) || value.is_some() && is_newer()
        });
        of_group.into_iter().map(|(_, change)| change)
    })
}

/// Merges the runs of some epochs, given oldest first, into one for each operator.
pub(crate) fn merged(runs: &[Arc<Run>]) -> Vec<Run> {
    let merge = |operator| {
        let ours: Vec<&Run> = runs.iter().filter(|r| r.operator == operator).map(Arc::as_ref).collect();
        let most: usize = ours.iter().map(|r| r.changes.len()).sum();
        let mut changes = Changes::default();
        removed(&ours).iter().for_each(|(from, to)| changes.remove_range(from, to));
        for (key, value) in in_order(&ours) {
            match value {
                Some(value) => changes.set(key, value),
                None => changes.remove(&[key]),
            }
            // Reserved pages that are never used take no memory, while growing takes that of the old and the new allocation.
            if changes.len() == SAMPLE {
                changes.reserve(most - SAMPLE);
            }
        }
        Run::new(operator, changes)
    };
    operators(runs).into_iter().map(merge).collect()
}

/// The distinct operators of runs.
fn operators(runs: &[Arc<Run>]) -> Vec<OperatorId> {
    let mut operators: Vec<_> = runs.iter().map(|r| r.operator).collect();
    operators.sort_unstable();
    operators.dedup();
    operators
}

/// The last change of each key of a key group, in key order, with its run. The changes are given oldest first.
fn sorted<'a>(runs: &[&'a Run], places: &[Place]) -> Vec<(u32, Change<'a>)> {
    let change = |(r, i): Place| runs[r as usize].changes.get(i as usize);
    let Some((first, rest)) = places.split_first() else { return vec![] };
    let first = change(*first).0;
    let same = rest.iter().map(|p| common(first, change(*p).0)).min().unwrap_or(0);
    let mut all: Vec<(u64, Place)> = places.iter().map(|p| (begin(change(*p).0, same), *p)).collect();
    all.sort_unstable_by(|a, b| {
        let by_key = a.0.cmp(&b.0).then_with(|| change(a.1).0.cmp(change(b.1).0));
        by_key.then(a.1.cmp(&b.1))
    });
    let last = |i: &usize| {
        let (of, place) = all[*i];
        all.get(i + 1).is_none_or(|next| next.0 != of || change(next.1).0 != change(place).0)
    };
    (0..all.len()).filter(last).map(|i| (all[i].1.0, change(all[i].1))).collect()
}

/// The number of keys of a leaf, on average.
const IN_A_LEAF: u64 = (FANOUT as u64) * 2 / 3;

/// Estimates the memory of the leaves that were written, which sled does not tell.
struct LeafEstimate {
    /// Bytes of leaves per written key, on average.
    each: u64,
    /// Bytes of a leaf.
    leaf: u64,
    /// Bytes of all leaves.
    all: u64,
    budget: u64,
}

impl LeafEstimate {
    fn new(keys: u64, changes: u64, bytes: u64, budget: u64) -> LeafEstimate {
        let changes = changes.max(1);
        // A leaf has room for its most keys and values, of two words each, and an allocation for each that it has.
        let leaf = FANOUT as u64 * 32 + IN_A_LEAF * (bytes / changes + 16);
        let leaves = keys.max(changes) / IN_A_LEAF + 1;
        LeafEstimate { each: (leaves.min(changes) * leaf / changes).max(1), leaf, all: leaves * leaf, budget }
    }
    /// Bytes of the leaves of a page of keys that are deleted, which are next to each other.
    fn of_page(&self, keys: u64) -> u64 {
        (keys / IN_A_LEAF + 1) * self.leaf
    }
    /// Whether so many bytes of leaves were written that the store must be reopened.
    fn too_much(&self, held: u64) -> bool {
        held.min(self.all) > self.budget
    }
}

/// Applies the runs of some epochs, given oldest first, stores the number of the last of them, and flushes. Gives false if it has stopped
/// before that because `leave` was set; the epochs are then applied when the store is opened again.
pub(crate) fn apply(
    sled: &Handles,
    filter: &Filter,
    runs: &[Arc<Run>],
    place: &mut Applied,
    budget: usize,
    leave: &AtomicBool,
) -> Result<bool> {
    let changes: usize = runs.iter().map(|r| r.changes.len()).sum();
    let bytes: usize = runs.iter().map(|r| r.changes.packed().len()).sum();
    let held = LeafEstimate::new(place.keys, changes as u64, bytes as u64, budget as u64);
    sled.begin_writing();
    let mut writer = Writer { sled, filter, place, held, leave, buffer: vec![] };
    for operator in operators(runs) {
        let ours: Vec<&Run> = runs.iter().filter(|r| r.operator == operator).map(Arc::as_ref).collect();
        if !writer.remove(operator, &removed(&ours))? || !writer.write(operator, in_order(&ours))? {
            return Ok(false);
        }
    }
    failpoint::pass("state-applied").map_err(sled_error)?;
    sled.with(|db| set_place(db, place).map_err(sled_error))?;
    sled.flush()?;
    failpoint::pass("state-flushed").map_err(sled_error)?;
    Ok(true)
}

/// Writes to sled. Its methods give false if they have stopped because `leave` was set.
struct Writer<'a> {
    sled: &'a Handles,
    filter: &'a Filter,
    place: &'a mut Applied,
    held: LeafEstimate,
    leave: &'a AtomicBool,
    buffer: Vec<u8>,
}

/// Keys that are written between two checks of the memory of leaves.
const PAGE: usize = 1000;

/// Keys of ranges that are read before they are deleted.
const READ: usize = 1 << 17;

impl Writer<'_> {
    /// Whether to go on. Reopens the store if necessary.
    fn goes_on(&mut self) -> Result<bool> {
        if self.leave.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if self.held.too_much(self.place.held) {
            failpoint::pass("state-reopen").map_err(sled_error)?;
            self.sled.reopen()?;
            self.place.held = 0;
        }
        Ok(true)
    }

    /// Deletes the keys of ranges. Many are read before the first one is deleted, since sled flushes whenever an iterator is dropped.
    fn remove(&mut self, operator: OperatorId, ranges: &KeyRanges) -> Result<bool> {
        let mut from = vec![];
        loop {
            let keys = self.sled.with(|db| sled_store::keys_in(db, operator, ranges, &from, READ))?;
            for page in keys.chunks(PAGE) {
                if !self.goes_on()? {
                    return Ok(false);
                }
                self.sled.with(|db| page.iter().try_for_each(|k| db.remove(k).map(drop)).map_err(sled_error))?;
                self.place.keys = self.place.keys.saturating_sub(page.len() as u64);
                self.place.held += self.held.of_page(page.len() as u64);
            }
            match keys.last() {
                Some(last) if keys.len() == READ => from = [&last[5..], &[0]].concat(),
                _ => return Ok(true),
            }
        }
    }

    /// Writes changes of single keys.
    fn write<'k>(&mut self, operator: OperatorId, changes: impl Iterator<Item = Change<'k>>) -> Result<bool> {
        let mut changes = changes.peekable();
        while changes.peek().is_some() {
            if !self.goes_on()? {
                return Ok(false);
            }
            self.sled.with(|db| {
                for (key, value) in changes.by_ref().take(PAGE) {
                    if value.is_some() {
                        self.filter.add(operator, key);
                    } else if !self.filter.lets_through(operator, key) {
                        // sled has never had the key.
                        continue;
                    }
                    self.place.held += self.held.each;
                    match (put(db, operator, key, value, &mut self.buffer).map_err(sled_error)?, value.is_some()) {
                        (false, true) => self.place.keys += 1,
                        (true, false) => self.place.keys = self.place.keys.saturating_sub(1),
                        _ => {}
                    }
                }
                Ok(())
            })?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::HashedKey;

    #[test]
    fn the_last_change_of_a_key_counts() {
        let run = |pairs: &[(&str, Option<&str>)]| {
            let mut c = Changes::default();
            for (k, v) in pairs {
                match v {
                    Some(v) => c.set(k.as_bytes(), v.as_bytes()),
                    None => c.remove(&[k.as_bytes()]),
                }
            }
            Run::new(OperatorId(1), c)
        };
        let a = run(&[("long key, b", Some("1")), ("long key, a", Some("1")), ("xx", Some("1"))]);
        let b = run(&[("xx", None), ("long key, b", Some("2")), ("long key, b", Some("3"))]);
        let runs = [&a, &b];
        let found: Vec<_> = in_order(&runs).collect();
        let one = merged(&runs.map(|r| Arc::new(Run::new(r.operator, r.changes.clone()))));
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].changes.iter().collect::<Vec<_>>(), found);
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let found: Vec<_> = found.into_iter().map(|(k, v)| (text(k), v.map(text))).collect();
        let wanted = [("long key, a", Some("1")), ("long key, b", Some("3")), ("xx", None)];
        let wanted: Vec<_> = wanted.into_iter().map(|(k, v)| (k.to_string(), v.map(str::to_string))).collect();
        assert_eq!(found, wanted);
        let got = |operator, key: &'static str| b.get(OperatorId(operator), HashedKey::new(key.as_bytes()));
        assert_eq!(got(1, "long key, b"), Some(Some(&b"3"[..])));
        assert_eq!(got(1, "xx"), Some(None));
        assert_eq!(got(2, "xx"), None);
    }

    #[test]
    fn more_is_held_the_wider_the_changes_spread() {
        let after = |keys, budget| {
            let held = LeafEstimate::new(keys, 500_000, 30_000_000, budget);
            (0..500).map(|n| n * 1000).find(|n| held.too_much(held.each * n))
        };
        assert!(after(100_000_000, 16 << 20) < after(10_000_000, 16 << 20));
        assert!(after(10_000_000, 16 << 20) < after(10_000_000, 64 << 20));
        assert_eq!(after(500_000, 128 << 20), None, "all of it may be held");
    }
}
