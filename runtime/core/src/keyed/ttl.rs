//! Time to live: keys that nobody has touched for so long are forgotten, as in Flink without a word to what comes behind.
//!
//! What is in memory is looked at every epoch. The store is gone through a few key groups an epoch, all of them within half a time
//! to live where epochs are frequent enough: a key is gone after one and a half at the latest.

use crate::clock::Clock;
use crate::graph::SubtaskContext;
use crate::key::{KEY_GROUPS, owner};
use std::sync::Arc;

/// Key groups that are looked at in an epoch, or in a second of a longer one, at most.
const MOST: u64 = 8;

/// The time to live of an operator's keys, and whose turn it is to be looked at.
pub struct TimeToLive {
    millis: u64,
    /// The key groups of this subtask, the next one first.
    groups: Vec<u16>,
    next: usize,
    /// When key groups were last due.
    last: u64,
    clock: Arc<dyn Clock>,
}

impl TimeToLive {
    /// None when there is no end to it, which 0 stands for.
    pub fn new(millis: u64, context: &SubtaskContext) -> Option<TimeToLive> {
        let ours = |g: &u16| owner(*g, context.parallelism) == context.subtask;
        let groups = (0..KEY_GROUPS).filter(ours).collect();
        let clock = context.clock.clone();
        (millis > 0).then(|| TimeToLive { millis, groups, next: 0, last: clock.now() as u64, clock })
    }

    /// The time by which keys are old or not: milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.clock.now() as u64
    }

    /// Whether a key that was last touched then is to be forgotten. One that was kept without a time to live has no such time.
    pub fn over(&self, access: u64, now: u64) -> bool {
        access > 0 && now.saturating_sub(access) > self.millis
    }

    /// The key groups whose keys in the store are to be looked at now.
    pub fn due(&mut self, now: u64) -> Vec<u16> {
        let passed = now.saturating_sub(self.last);
        let count = self.groups.len() as u64;
        let due = (count * 2 * passed / self.millis).min(MOST * (1 + passed / 1000)).min(count);
        if due == 0 {
            return vec![];
        }
        self.last = now;
        let from = self.next;
        self.next = (from + due as usize) % self.groups.len();
        self.groups.iter().cycle().skip(from).take(due as usize).copied().collect()
    }
}
