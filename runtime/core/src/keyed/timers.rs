//! Timers: keys with a time at which something has to be done for them.

use super::time_queue::Schedule;
use super::{Codec, KeyedState, TIMERS};
use crate::Result;
use crate::graph::SubtaskContext;

/// The kind of time that timers are set in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// Event time, which watermarks advance.
    Event,
    /// Processing time: the system's clock.
    Processing,
}

/// The timers of a subtask's keys in one time domain. A key has at most one timer for each time. Timers do not expire.
pub struct Timers(Schedule);

impl Timers {
    /// The timers of a subtask, including those in the store.
    pub fn new(domain: TimeDomain, context: &SubtaskContext) -> Timers {
        let marker = TIMERS + u8::from(domain == TimeDomain::Processing);
        Timers(Schedule::new(marker, 0, context))
    }

    /// Sets a key's timer for a time in milliseconds.
    pub fn set<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8]) {
        self.0.add(state, time, key, &[key], vec![]);
    }

    /// Deletes a key's timer for a time, if there is one.
    pub fn remove<C: Codec>(&mut self, state: &mut KeyedState<C>, time: i64, key: &[u8]) {
        self.0.remove(state, time, key, &[key]);
    }

    /// A lower bound of the times of all timers; none if there are no timers.
    pub fn next(&self) -> Option<i64> {
        self.0.next()
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
        Ok(self.0.take(state, up_to, limit)?.into_iter().map(|due| (due.time, due.name)).collect())
    }
}
