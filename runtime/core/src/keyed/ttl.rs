//! Time to live: keys expire some time after their last write. As in Flink, operators downstream are not told.
//!
//! Memory is swept in every epoch. The store is swept a few key groups at a time, so that all of them are swept within half the time to
//! live if epochs are frequent enough. So a key is deleted at the latest one and a half times the time to live after its last write.

use crate::clock::Clock;
use crate::graph::SubtaskContext;
use crate::key::owned_groups;
use std::sync::Arc;

/// The most key groups that are swept in an epoch, or per second of a longer one.
const MOST: u64 = 8;

/// The time to live of an operator's keys, and which key groups are swept next.
pub struct TimeToLive {
    millis: u64,
    /// The key groups of this subtask.
    groups: Vec<u16>,
    next: usize,
    /// When key groups were last swept.
    last: u64,
    clock: Arc<dyn Clock>,
}

impl TimeToLive {
    /// A time to live in milliseconds; none for 0, which means that keys do not expire.
    pub fn new(millis: u64, context: &SubtaskContext) -> Option<TimeToLive> {
        let groups = owned_groups(context.subtask, context.parallelism).collect();
        let clock = context.clock.clone();
        (millis > 0).then(|| TimeToLive { millis, groups, next: 0, last: clock.now() as u64, clock })
    }

    /// The current time in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.clock.now() as u64
    }

    /// Whether a key that was last written at `access` has expired. The time is 0 if the key was written without a time to live.
    pub fn over(&self, access: u64, now: u64) -> bool {
        Self::over_after(self.millis, access, now)
    }

    /// Whether an entry with a time to live of its own has expired; 0 = unlimited.
    pub(super) fn over_after(millis: u64, access: u64, now: u64) -> bool {
        access > 0 && millis > 0 && now.saturating_sub(access) > millis
    }

    /// The key groups that have to be swept now.
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
