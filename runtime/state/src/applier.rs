//! Puts durable epochs into sled, several at a time, in the order of their keys.
//!
//! Keys that changed in several of the epochs are written once. sled holds what was written in memory, whole leaves of it,
//! so it is closed and opened again whenever that has become too much, also in the middle: applying is repeatable, for the
//! epochs' files stay until all of them are flushed.

use crate::filter::Filter;
use crate::run::Run;
use crate::sled_store::{Applied, FANOUT, Handles, put, set_place, sled_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_core::key::KEY_GROUPS;
use weir_core::state::{Changes, OperatorId};
use weir_core::{Result, failpoint};

/// Changes after which the size of the others is guessed.
const SAMPLE: usize = 1024;

/// A change's place: its run, and its number there.
type Place = (u32, u32);

/// What a key has behind the bytes that all have in common, as a number, by which most are told apart.
fn begin(key: &[u8], common: usize) -> u64 {
    let mut b = [0; 8];
    let rest = key.get(common..).unwrap_or_default();
    let n = rest.len().min(8);
    b[..n].copy_from_slice(&rest[..n]);
    u64::from_be_bytes(b)
}

/// How many bytes two keys have in common at their begin.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The changes of one operator in the order of their keys, a key group at a time; of a key that changed several times, the last
/// change only.
fn in_order<'a>(runs: &'a [&'a Run]) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
    // Keys have a group; one without, which there is none of, goes in front. What the engine keeps is behind all groups.
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
    let mut from = 0;
    ends.into_iter().flat_map(move |to| {
        let of_group = sorted(runs, &places[from..to]);
        from = to;
        of_group
    })
}

/// The runs of some epochs, oldest first, as one for each operator: what is left of their changes.
pub(crate) fn merged(runs: &[Arc<Run>]) -> Vec<Run> {
    let merge = |operator| {
        let ours: Vec<&Run> = runs.iter().filter(|r| r.operator == operator).map(Arc::as_ref).collect();
        let most: usize = ours.iter().map(|r| r.changes.len()).sum();
        let mut changes = Changes::default();
        for (key, value) in in_order(&ours) {
            match value {
                Some(value) => changes.set(key, value),
                None => changes.remove(&[key]),
            }
            // Room that is not used in the end takes no memory; to grow by and by takes that of both.
            if changes.len() == SAMPLE {
                changes.reserve(most - SAMPLE);
            }
        }
        Run::new(operator, changes)
    };
    operators(runs).into_iter().map(merge).collect()
}

/// The operators of some runs, each once.
fn operators(runs: &[Arc<Run>]) -> Vec<OperatorId> {
    let mut operators: Vec<_> = runs.iter().map(|r| r.operator).collect();
    operators.sort_unstable();
    operators.dedup();
    operators
}

/// What [`in_order`] gives of one key group, whose changes are given in the order in which they came.
fn sorted<'a>(runs: &[&'a Run], places: &[Place]) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
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
    (0..all.len()).filter(last).map(|i| change(all[i].1)).collect()
}

/// How much sled holds of what was written: an estimate, for it does not tell.
struct Held {
    /// Bytes that a written key adds on the average.
    each: u64,
    /// Bytes when all leaves are held.
    all: u64,
    budget: u64,
}

impl Held {
    fn new(keys: u64, changes: u64, bytes: u64, budget: u64) -> Held {
        const IN_A_LEAF: u64 = (FANOUT as u64) * 2 / 3;
        let changes = changes.max(1);
        // A leaf has room for all its keys and values, each a pointer of two words to an allocation of its own.
        let leaf = FANOUT as u64 * 32 + IN_A_LEAF * (bytes / changes + 16);
        let leaves = keys.max(changes) / IN_A_LEAF + 1;
        Held { each: (leaves.min(changes) * leaf / changes).max(1), all: leaves * leaf, budget }
    }
    /// Whether so much was written since the store was opened that it must be closed.
    fn too_much(&self, written: u64) -> bool {
        (self.each * written).min(self.all) > self.budget
    }
}

/// Applies the runs of some epochs, oldest first, and notes the last of them. Ends with a flush. Gives whether it came so far: told
/// to leave, it stops in the middle, and the epochs are applied when the store is opened again.
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
    let held = Held::new(place.keys, changes as u64, bytes as u64, budget as u64);
    let mut buffer = vec![];
    for operator in operators(runs) {
        let ours: Vec<&Run> = runs.iter().filter(|r| r.operator == operator).map(Arc::as_ref).collect();
        let mut changes = in_order(&ours).peekable();
        while changes.peek().is_some() {
            if leave.load(Ordering::Relaxed) {
                return Ok(false);
            }
            if held.too_much(place.written) {
                failpoint::pass("state-reopen").map_err(sled_error)?;
                sled.reopen()?;
                place.written = 0;
            }
            sled.with(|db| {
                for (key, value) in changes.by_ref().take(1000) {
                    place.written += 1;
                    if value.is_some() {
                        filter.add(operator, key);
                    }
                    match (put(db, operator, key, value, &mut buffer).map_err(sled_error)?, value.is_some()) {
                        (false, true) => place.keys += 1,
                        (true, false) => place.keys = place.keys.saturating_sub(1),
                        _ => {}
                    }
                }
                Ok(())
            })?;
        }
    }
    failpoint::pass("state-applied").map_err(sled_error)?;
    sled.with(|db| set_place(db, place).and_then(|()| db.flush()).map_err(sled_error))?;
    failpoint::pass("state-flushed").map_err(sled_error)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Wanted;

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
        let got = |operator, key: &'static str| b.get(OperatorId(operator), Wanted::new(key.as_bytes()));
        assert_eq!(got(1, "long key, b"), Some(Some(&b"3"[..])));
        assert_eq!(got(1, "xx"), Some(None));
        assert_eq!(got(2, "xx"), None);
    }

    #[test]
    fn more_is_held_the_wider_the_changes_spread() {
        let after = |keys, budget| {
            let held = Held::new(keys, 500_000, 30_000_000, budget);
            (0..500).map(|n| n * 1000).find(|n| held.too_much(*n))
        };
        assert!(after(100_000_000, 16 << 20) < after(10_000_000, 16 << 20));
        assert!(after(10_000_000, 16 << 20) < after(10_000_000, 64 << 20));
        assert_eq!(after(500_000, 128 << 20), None, "all of it may be held");
    }
}
