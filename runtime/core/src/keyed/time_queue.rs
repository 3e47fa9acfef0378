//! Entries that are sorted by time within a key group, so that those that are due are a range: values that wait for their time, and, in
//! `timers.rs`, timers.

use super::entries::FEW;
use super::{Codec, KeyedState, QUEUES};
use crate::graph::SubtaskContext;
use crate::key::{key_group, owned_groups};
use crate::sortable::{from_sortable, sortable};
use crate::state::{Pair, behind};
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Entries by key group, marker, time and name. What entries of a key and a time have in common is the beginning of their names.
pub(super) struct Schedule {
    marker: u8,
    /// The length of the rest of their names.
    suffix: usize,
    /// For each key group that has entries, a lower bound of their times.
    earliest: BTreeMap<u16, i64>,
}

/// The bytes of an entry's key in front of its time.
const HEAD: usize = 3;

/// An entry that is due.
pub(super) struct Due {
    pub time: i64,
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

impl Schedule {
    /// The entries of a subtask, including those in the store.
    pub fn new(marker: u8, suffix: usize, context: &SubtaskContext) -> Schedule {
        let stored = context.state.last_epoch().0 > 0;
        let groups = owned_groups(context.subtask, context.parallelism).filter(|_| stored);
        Schedule { marker, suffix, earliest: groups.map(|g| (g, i64::MIN)).collect() }
    }

    fn full(&self, group: u16, time: i64, name: &[&[u8]]) -> Vec<u8> {
        let mut full = Vec::with_capacity(HEAD + size_of::<i64>() + name.iter().map(|part| part.len()).sum::<usize>());
        full.extend_from_slice(&self.start(group));
        full.extend_from_slice(&sortable(time));
        name.iter().for_each(|part| full.extend_from_slice(part));
        full
    }

    /// Adds an entry of a key. Its name is given in parts.
    pub fn add<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8], name: &[&[u8]], value: Vec<u8>) {
        let group = key_group(key);
        self.note(group, time);
        state.put_entry(self.full(group, time, name), Some(value));
    }

    /// Deletes an entry, if it is there.
    pub fn remove<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8], name: &[&[u8]]) {
        state.put_entry(self.full(key_group(key), time, name), None);
    }

    /// A lower bound of the times of all entries; none if there are none.
    pub fn next(&self) -> Option<i64> {
        self.earliest.values().min().copied()
    }

    /// Gives the entries whose time is at most `up_to`, sorted by time and name, and deletes them: the first `limit` of them, and all
    /// others with the time and key of the last of these. If it gives that many, there may be more.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn take<C: Codec>(&mut self, state: &mut KeyedState<C>, up_to: i64, limit: usize) -> Result<Vec<Due>> {
        let reached = self.earliest.iter().filter(|(_, t)| **t <= up_to);
        let (groups, earliest): (Vec<u16>, Vec<i64>) = reached.map(|(g, t)| (*g, *t)).unzip();
        let starts: Vec<[u8; HEAD]> = groups.iter().map(|g| self.start(*g)).collect();
        // The entries of each group in order, merged. Earlier ones were deleted, but may still be in memory as such.
        let queue = |start: &[u8; HEAD], earliest: i64| {
            state.entry_range(&[start, &sortable(earliest)[..]].concat(), behind(start).as_deref())
        };
        let mut queues: Vec<_> = starts.iter().zip(&earliest).map(|(s, t)| queue(s, *t)).collect();
        let (mut due, mut counts) = (vec![], vec![0; groups.len()]);
        let mut heads = BinaryHeap::new();
        for (n, queue) in queues.iter_mut().enumerate() {
            heads.extend(first(queue, n)?);
        }
        // What those of a time and key have in common.
        let peers = |entry: &Vec<u8>| entry.len() - self.suffix;
        while let Some(Reverse((entry, n, value))) = heads.pop() {
            let past = time_of(&entry)? > up_to;
            let last = due.last().filter(|_| due.len() >= limit);
            if past || last.is_some_and(|(l, ..): &(Vec<u8>, _, _)| l[..peers(l)] != entry[..peers(&entry)]) {
                heads.push(Reverse((entry, n, value)));
                break;
            }
            due.push((entry, n, value));
            counts[n] += 1;
            heads.extend(first(&mut queues[n], n)?);
        }
        drop(queues);
        self.earliest.retain(|_, t| *t > up_to);
        for Reverse((entry, n, _)) in heads {
            self.note(groups[n], time_of(&entry)?);
        }
        // All entries of these groups up to the last one are due.
        let Some((last, ..)) = due.last() else { return Ok(vec![]) };
        for (start, _) in starts.iter().zip(&counts).filter(|(_, count)| **count > FEW) {
            state.remove_range(start, &[start, &last[..], &[0]].concat());
        }
        let mut all = Vec::with_capacity(due.len());
        for (mut entry, n, value) in due {
            if counts[n] <= FEW {
                state.put_entry([&starts[n], &entry[..]].concat(), None);
            }
            let time = time_of(&entry)?;
            entry.drain(..size_of::<i64>());
            all.push(Due { time, name: entry, value });
        }
        Ok(all)
    }

    /// The prefix of the keys of a key group's entries.
    fn start(&self, group: u16) -> [u8; HEAD] {
        let [high, low] = group.to_be_bytes();
        [high, low, self.marker]
    }

    fn note(&mut self, group: u16, time: i64) {
        let earliest = self.earliest.entry(group).or_insert(time);
        *earliest = time.min(*earliest);
    }
}

/// The first entry of a queue, from its time on, with the number of the queue and the value. The earliest one is the greatest.
type Head = Reverse<(Vec<u8>, usize, Vec<u8>)>;

/// The next entry of a queue.
fn first(queue: &mut impl Iterator<Item = Result<Pair>>, number: usize) -> Result<Option<Head>> {
    let Some((mut full, value)) = queue.next().transpose()? else { return Ok(None) };
    full.drain(..HEAD.min(full.len()));
    Ok(Some(Reverse((full, number, value))))
}

fn time_of(entry: &[u8]) -> Result<i64> {
    entry.first_chunk::<8>().map(|time| from_sortable(*time)).ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::state("an entry in the state that waits for a time is damaged")
}

/// Values that wait for a time, of a subtask's keys. Those of one time and key have different numbers. They do not expire.
pub struct TimeQueue(Schedule);

/// A value whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueValue {
    /// Its time.
    pub time: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its number.
    pub number: u64,
    /// What waited.
    pub value: Vec<u8>,
}

impl TimeQueue {
    /// The queue with this number, including what of it is in the store. No other queue of the operator has the same number.
    pub fn new(number: u8, context: &SubtaskContext) -> TimeQueue {
        TimeQueue(Schedule::new(QUEUES + number, size_of::<u64>(), context))
    }

    /// Adds a value of a key for a time, or replaces the one with the same number.
    pub fn put<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8], number: u64, value: Vec<u8>) {
        // With the length in front, no other key lies among the entries of a key.
        let length = (key.len() as u32).to_be_bytes();
        self.0.add(state, time, key, &[&length, key, &number.to_be_bytes()], value);
    }

    /// Gives the values whose time is at most `up_to`, sorted by time, those of a time and key together and sorted by number, and deletes
    /// them: the first `limit` of them, and all others with the time and key of the last of these. If it gives that many, there may be
    /// more.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn take<C: Codec>(&mut self, state: &mut KeyedState<C>, up_to: i64, limit: usize) -> Result<Vec<DueValue>> {
        let value = |Due { time, mut name, value }: Due| {
            let number = name.last_chunk().map(|number| u64::from_be_bytes(*number)).ok_or_else(damaged)?;
            name.truncate(name.len() - size_of::<u64>());
            if name.len() < size_of::<u32>() {
                return Err(damaged());
            }
            name.drain(..size_of::<u32>());
            Ok(DueValue { time, key: name, number, value })
        };
        self.0.take(state, up_to, limit)?.into_iter().map(value).collect()
    }
}
