//! Reports on the event time of a subtask, for metrics and users: its watermarks, and what holds them back.

use crate::event_time::{ChannelTime, Watermark};
use crate::watermarks::SplitStatus;
use std::sync::Arc;

/// A channel of a subtask, and its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The operator of the sender.
    pub operator: Arc<str>,
    /// The index of the sending subtask.
    pub subtask: usize,
    /// The state of the channel.
    pub time: ChannelTime,
}

/// The event time at a subtask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventTimeReport {
    /// The watermark of all inputs together; [`Watermark::NONE`] at sources.
    pub input: Watermark,
    /// The last emitted watermark.
    pub output: Watermark,
    /// Whether a source is idle, so that downstream operators do not wait for it.
    pub idle: bool,
    /// The input channels.
    pub senders: Vec<Sender>,
    /// The splits that a source reads.
    pub splits: Vec<SplitStatus>,
    /// When a source reported this, by the clock of its splits.
    pub reported: i64,
    /// The time without rows, in milliseconds, after which a split of a source is idle; none: never.
    pub idle_timeout: Option<i64>,
}

/// What holds event time back at a subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// The channel or split that holds it back.
    pub by: Holder,
    /// Its watermark; [`Watermark::NONE`] if it has none yet.
    pub watermark: Watermark,
    /// How far it is behind the most advanced one, in milliseconds, if both are known.
    pub behind: Option<i64>,
    /// For a split, the milliseconds since its last row.
    pub quiet: Option<i64>,
    /// For a split, the milliseconds since its watermark last advanced.
    pub standing: Option<i64>,
}

/// Something that may hold event time back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A subtask of an upstream operator.
    Subtask(Arc<str>, usize),
    /// A split of a source.
    Split(Arc<str>),
}

impl EventTimeReport {
    /// Whether anything about event time is known.
    pub fn is_known(&self) -> bool {
        self.input > Watermark::NONE
            || self.output > Watermark::NONE
            || !self.splits.is_empty()
            || self.senders.iter().any(|s| s.time.watermark > Watermark::NONE)
    }
    /// The relevant watermark: that of the input of an operator, or of the output of a source.
    pub fn watermark(&self) -> Watermark {
        if self.senders.is_empty() { self.output } else { self.input }
    }
    /// What holds event time back: the active channel or split with the lowest watermark.
    pub fn held_back(&self) -> Option<HeldBack> {
        let senders = self.senders.iter().filter(|s| !s.time.idle && !s.time.ended);
        let senders = senders.map(|s| (Holder::Subtask(s.operator.clone(), s.subtask), s.time.watermark, None));
        let splits = self.splits.iter().filter(|s| !s.idle);
        let splits = splits.map(|s| (Holder::Split(s.name.clone()), s.watermark, Some(s)));
        let (by, watermark, split) = senders.chain(splits).min_by_key(|(_, w, _)| *w)?;
        let all = self.senders.iter().filter(|s| !s.time.ended).map(|s| s.time.watermark);
        let furthest = all.chain(self.splits.iter().map(|s| s.watermark)).max()?;
        let behind = (watermark > Watermark::NONE).then(|| furthest.0.saturating_sub(watermark.0));
        let quiet = split.map(|s| self.quiet(s));
        let standing = split.map(|s| self.reported.saturating_sub(s.advanced));
        Some(HeldBack { by, watermark, behind, quiet, standing })
    }
    /// The milliseconds since the last row of a split.
    pub fn quiet(&self, split: &SplitStatus) -> i64 {
        self.reported.saturating_sub(split.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_least_far_of_those_that_are_waited_for_holds_time_back() {
        let split = |name: &str, watermark, idle| SplitStatus {
            name: name.into(),
            watermark: Watermark(watermark),
            idle,
            paused: false,
            heard: 400,
            advanced: 300,
        };
        let mut r = EventTimeReport::default();
        assert!(!r.is_known() && r.held_back().is_none());
        r.reported = 1_000;
        r.splits = vec![split("a", 9_000, false), split("b", 2_000, true), split("c", 5_000, false)];
        let held = r.held_back().expect("a split");
        assert_eq!((held.by, held.behind), (Holder::Split("c".into()), Some(4_000)));
        assert_eq!((held.quiet, held.standing), (Some(600), Some(700)));
        r.splits.push(split("d", i64::MIN, false));
        let held = r.held_back().expect("a split");
        assert_eq!((held.by, held.behind), (Holder::Split("d".into()), None));
        let time = ChannelTime { watermark: Watermark(7), idle: false, ended: false };
        let sender = |operator: &str, time| Sender { operator: operator.into(), subtask: 1, time };
        let ended = ChannelTime { watermark: Watermark(3), ended: true, ..time };
        let r = EventTimeReport { senders: vec![sender("x", ended), sender("y", time)], ..EventTimeReport::default() };
        assert_eq!(r.held_back().map(|h| (h.by, h.behind)), Some((Holder::Subtask("y".into(), 1), Some(0))));
        assert!(r.is_known());
    }
}
