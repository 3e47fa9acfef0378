//! Timers: keys with a time at which something has to be done for them. Within a key group they are sorted by time, so that those that
//! are due are a range.

use super::entries::FEW;
use super::{Codec, KeyedState, TIMERS};
use crate::graph::SubtaskContext;
use crate::key::{key_group, owned_groups};
use crate::sortable::{from_sortable, sortable};
use crate::state::{Pair, behind};
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The kind of time that timers are set in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// Event time, which watermarks advance.
    Event,
    /// Processing time: the system's clock.
    Processing,
}

/// The timers of a subtask's keys in one time domain. A key has at most one timer for each time. Timers do not expire.
pub struct Timers {
    marker: u8,
    /// For each key group that has timers, a lower bound of their times.
    earliest: BTreeMap<u16, i64>,
}

fn full(marker: u8, time: i64, key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], &[marker], &sortable(time), key].concat()
}

impl Timers {
    /// The timers of a subtask, including those in the store.
    pub fn new(domain: TimeDomain, context: &SubtaskContext) -> Timers {
        let marker = TIMERS + u8::from(domain == TimeDomain::Processing);
        let stored = context.state.last_epoch().0 > 0;
        let groups = owned_groups(context.subtask, context.parallelism).filter(|_| stored);
        Timers { marker, earliest: groups.map(|g| (g, i64::MIN)).collect() }
    }

    /// Sets a key's timer for a time in milliseconds.
    pub fn set<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8]) {
        self.note(key_group(key), time);
        state.put_entry(full(self.marker, time, key), Some(vec![]));
    }

    /// Deletes a key's timer for a time, if there is one.
    pub fn remove<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8]) {
        state.put_entry(full(self.marker, time, key), None);
    }

    /// A lower bound of the times of all timers; none if there are no timers.
    pub fn next(&self) -> Option<i64> {
        self.earliest.values().min().copied()
    }

    /// Gives the timers whose time is at most `up_to`, sorted by time and key, and deletes them: the first `limit` of them. If it gives
    /// that many, there may be more.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn due<C: Codec>(
        &mut self,
        state: &mut KeyedState<C>,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Vec<u8>)>> {
        let reached = self.earliest.iter().filter(|(_, t)| **t <= up_to);
        let (groups, earliest): (Vec<u16>, Vec<i64>) = reached.map(|(g, t)| (*g, *t)).unzip();
        let starts: Vec<[u8; 3]> = groups.iter().map(|g| self.start(*g)).collect();
        // The timers of each group in order, merged. Earlier ones were deleted, but may still be in memory as such.
        let queue = |start: &[u8; 3], earliest: i64| {
            state.entry_range(&[start, &sortable(earliest)[..]].concat(), behind(start).as_deref())
        };
        let mut queues: Vec<_> = starts.iter().zip(&earliest).map(|(s, t)| queue(s, *t)).collect();
        let (mut due, mut numbers, mut counts) = (vec![], vec![], vec![0; groups.len()]);
        let mut heads = BinaryHeap::new();
        for (n, queue) in queues.iter_mut().enumerate() {
            heads.extend(first(queue, n)?);
        }
        while due.len() < limit
            && heads.peek().is_some_and(|Reverse((time, ..))| *time <= up_to)
            && let Some(Reverse((time, key, n))) = heads.pop()
        {
            due.push((time, key));
            numbers.push(n);
            counts[n] += 1;
            heads.extend(first(&mut queues[n], n)?);
        }
        self.earliest.retain(|_, t| *t > up_to);
        heads.into_iter().for_each(|Reverse((time, _, n))| self.note(groups[n], time));
        // All timers of these groups up to the last one are due.
        let Some((time, key)) = due.last() else { return Ok(due) };
        let end = [&sortable(*time)[..], key, &[0]].concat();
        for (start, _) in starts.iter().zip(&counts).filter(|(_, count)| **count > FEW) {
            state.remove_range(start, &[start, &end[..]].concat());
        }
        for ((time, key), _) in due.iter().zip(numbers).filter(|(_, n)| counts[*n] <= FEW) {
            state.put_entry(full(self.marker, *time, key), None);
        }
        Ok(due)
    }

    /// The prefix of the keys of a key group's timers.
    fn start(&self, group: u16) -> [u8; 3] {
        let [high, low] = group.to_be_bytes();
        [high, low, self.marker]
    }

    fn note(&mut self, group: u16, time: i64) {
        let earliest = self.earliest.entry(group).or_insert(time);
        *earliest = time.min(*earliest);
    }
}

/// The first timer of a queue, with the number of the queue. The earliest one is the greatest.
type Head = Reverse<(i64, Vec<u8>, usize)>;

/// The next timer of a queue.
fn first(queue: &mut impl Iterator<Item = Result<Pair>>, number: usize) -> Result<Option<Head>> {
    let Some((full, _)) = queue.next().transpose()? else { return Ok(None) };
    let (time, key) = full.get(3..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(damaged)?;
    Ok(Some(Reverse((from_sortable(*time), key.to_vec(), number))))
}

fn damaged() -> Error {
    Error::state("a timer in the state is damaged")
}
