//! Timers: keys that are to be called at a time, in the order of time within each key group, so that what is due is read as a range.

use super::{Codec, KeyedState, TIMERS};
use crate::graph::SubtaskContext;
use crate::key::{KEY_GROUPS, key_group, owner};
use crate::sortable::{from_sortable, sortable};
use crate::state::behind;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// By which time timers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// That of the rows, as watermarks tell it.
    Event,
    /// The time of day.
    Processing,
}

/// The timers of a subtask's keys in one domain of time. A key has one timer for each time at most. They have no time to live.
pub struct Timers {
    marker: u8,
    /// By key group, a time before which no timer is due; groups without a timer are not there.
    earliest: BTreeMap<u16, i64>,
}

fn full(marker: u8, time: i64, key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], &[marker], &sortable(time), key].concat()
}

impl Timers {
    /// The timers of a subtask, with those that the store has.
    pub fn new(domain: TimeDomain, context: &SubtaskContext) -> Timers {
        let marker = TIMERS + u8::from(domain == TimeDomain::Processing);
        let ours = |g: &u16| context.state.last_epoch().0 > 0 && owner(*g, context.parallelism) == context.subtask;
        Timers { marker, earliest: (0..KEY_GROUPS).filter(ours).map(|g| (g, i64::MIN)).collect() }
    }

    /// Sets a key's timer for a time in milliseconds.
    pub fn set<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8]) {
        self.note(key_group(key), time);
        state.put_entry(full(self.marker, time, key), Some(vec![]));
    }

    /// Takes a key's timer for a time back, if there is one.
    pub fn remove<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8]) {
        state.put_entry(full(self.marker, time, key), None);
    }

    /// A time before which no timer is due; none without timers.
    pub fn next(&self) -> Option<i64> {
        self.earliest.values().min().copied()
    }

    /// Takes the timers up to a time, itself included: at most so many, in the order of their times, those of a time by their
    /// keys. Where it gives that many, there may be more.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn due<C: Codec>(
        &mut self,
        state: &mut KeyedState<C>,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Vec<u8>)>> {
        let groups: Vec<(u16, i64)> =
            self.earliest.iter().filter(|(_, t)| **t <= up_to).map(|(g, t)| (*g, *t)).collect();
        let mut due = vec![];
        for (group, earliest) in groups {
            self.earliest.remove(&group);
            let [high, low] = group.to_be_bytes();
            let begin = [high, low, self.marker];
            // Those before it are gone, but may still be in memory as such. One more than can be taken tells when the next one is due.
            let from = [&begin[..], &sortable(earliest)].concat();
            for pair in state.entry_range(&from, behind(&begin).as_deref()).take(limit + 1) {
                let (key, _) = pair?;
                let (time, key) = key[begin.len()..].split_first_chunk::<8>().ok_or_else(damaged)?;
                let time = from_sortable(*time);
                if time > up_to {
                    self.note(group, time);
                    break;
                }
                due.push((time, key.to_vec()));
            }
        }
        due.sort_unstable();
        due.drain(limit.min(due.len())..).for_each(|(time, key)| self.note(key_group(&key), time));
        due.iter().for_each(|(time, key)| state.put_entry(full(self.marker, *time, key), None));
        Ok(due)
    }

    fn note(&mut self, group: u16, time: i64) {
        let earliest = self.earliest.entry(group).or_insert(time);
        *earliest = time.min(*earliest);
    }
}

fn damaged() -> Error {
    Error::state("a timer in the state is damaged")
}
