//! What a subtask shows others of event time, for metrics and for people: how far it is, and what holds it back.

use crate::event_time::{ChannelTime, Watermark};
use crate::watermarks::SplitStatus;
use std::sync::Arc;

/// A channel of a subtask, and who sends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The operator that sends.
    pub operator: Arc<str>,
    /// Which of its subtasks.
    pub subtask: usize,
    /// What is known of the channel.
    pub time: ChannelTime,
}

/// Event time at a subtask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventTimeReport {
    /// The watermark of all inputs together; [`Watermark::NONE`] at sources.
    pub input: Watermark,
    /// The watermark that it has given out last.
    pub output: Watermark,
    /// Of a source: whether those behind do not wait for it.
    pub idle: bool,
    /// The channels that it takes rows from.
    pub senders: Vec<Sender>,
    /// Of a source, the splits that it reads.
    pub splits: Vec<SplitStatus>,
    /// Of a source, when this was reported, by the clock of its splits.
    pub reported: i64,
    /// Of a source, after how long without rows a split is idle, in milliseconds; none: never.
    pub idle_timeout: Option<i64>,
}

/// What holds time back at a subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// By what.
    pub by: Holder,
    /// How far that is; [`Watermark::NONE`] when nothing of it is known yet.
    pub watermark: Watermark,
    /// How far it is behind the one that is furthest, in milliseconds, where both are known.
    pub behind: Option<i64>,
    /// Of a split, for how many milliseconds no row of it has come.
    pub quiet: Option<i64>,
    /// Of a split, for how many milliseconds its watermark has not advanced.
    pub standing: Option<i64>,
}

/// What may hold time back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A subtask of an operator in front.
    Subtask(Arc<str>, usize),
    /// A split of a source.
    Split(Arc<str>),
}

impl EventTimeReport {
    /// Whether anything is known of event time.
    pub fn is_known(&self) -> bool {
        self.input > Watermark::NONE
            || self.output > Watermark::NONE
            || !self.splits.is_empty()
            || self.senders.iter().any(|s| s.time.watermark > Watermark::NONE)
    }
    /// The watermark that counts: in front of an operator, behind a source.
    pub fn watermark(&self) -> Watermark {
        if self.senders.is_empty() { self.output } else { self.input }
    }
    /// What holds time back: of the channels or splits that are waited for, the one that is least far.
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
    /// For how many milliseconds no row of a split has come.
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
