//! Watermarks at sources: how they are generated from rows, split by split, and which splits wait for others.
//!
//! A source subtask reads splits, such as partitions of a topic or parts of files. Each split has its own watermark, and that of the
//! subtask is the lowest of those that are not idle. So a partition that lags behind makes neither rows of the others nor its own rows
//! late.

use crate::event_time::Watermark;
use crate::thread::locked;
use crate::{Error, Result, Value};
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The id of a split, which is assigned by the subtask that reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SplitId(pub u32);

/// How a source generates watermarks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkStrategy {
    /// The time column in the source's batches, a TIMESTAMP or TIMESTAMP_LTZ. Rows with a NULL do not affect watermarks.
    pub row_time: usize,
    /// How the watermark of each row is computed.
    pub candidates: Candidates,
    /// How many columns of the source's batches are passed on. The columns after them are only used for watermarks.
    pub columns: usize,
    /// When the source emits watermarks.
    pub emit: EmitStrategy,
    /// The time without rows after which a split is idle; none: never.
    pub idle_timeout: Option<Duration>,
    /// The alignment with other sources, if there is one.
    pub alignment: Option<AlignmentStrategy>,
}

/// The watermark that each row suggests. The greatest one so far is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// The value in a TIMESTAMP or TIMESTAMP_LTZ column: the watermark expression, evaluated for each row.
    Column(usize),
    /// The row's time less this bound on how much rows are out of order.
    OutOfOrderness(Duration),
}

/// When a source emits watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmitStrategy {
    /// After each row that advances event time. Rows that it does not make late may precede it in the same batch.
    OnEvent,
    /// At this interval. A watermark that advances by more than this is emitted at once, after its row.
    OnPeriodic(Duration),
    /// Only at the end of the input, so that no row is late.
    AtEnd,
}

/// How splits of a group of sources wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignmentStrategy {
    /// The name of the group, within the job.
    pub group: String,
    /// A split pauses if its watermark is ahead of the lowest one in the group by more than this.
    pub max_drift: Duration,
    /// How often the lowest watermark of the group is read.
    pub update_interval: Duration,
}

fn millis(of: Duration) -> i64 {
    i64::try_from(of.as_millis()).unwrap_or(i64::MAX)
}

/// The times in a column, in milliseconds since 1970.
enum Times<'a> {
    Micros(&'a TimestampMicrosecondArray),
    /// Timestamps with more digits than microseconds.
    Long(&'a ArrayRef),
}

impl<'a> Times<'a> {
    fn new(column: Option<&'a ArrayRef>) -> Result<Self> {
        let wrong = || Error::internal("the column of row times is none of a source's timestamps");
        let column = column.ok_or_else(wrong)?;
        match (column.as_primitive_opt::<TimestampMicrosecondType>(), column.data_type()) {
            (Some(micros), _) => Ok(Times::Micros(micros)),
            (None, DataType::FixedSizeBinary(_)) => Ok(Times::Long(column)),
            (None, _) => Err(wrong()),
        }
    }
    fn at(&self, row: usize) -> Option<i64> {
        match self {
            Times::Micros(micros) => micros.is_valid(row).then(|| micros.value(row).div_euclid(1_000)),
            Times::Long(column) => match Value::read(column, row) {
                Value::Timestamp(seconds, nanos) => {
                    Some(seconds.saturating_mul(1_000).saturating_add(i64::from(nanos / 1_000_000)))
                }
                _ => None,
            },
        }
    }
}

/// The time of a row in a timestamp column, in milliseconds since 1970; none if it is NULL.
///
/// # Errors
/// An internal error if the column does not contain timestamps.
pub fn row_time(times: &ArrayRef, row: usize) -> Result<Option<i64>> {
    Ok(Times::new(Some(times))?.at(row))
}

/// The times and watermarks of a batch's rows.
pub struct RowTimes<'a> {
    times: Times<'a>,
    candidates: Times<'a>,
    /// The bound that is subtracted from candidates, in milliseconds.
    less: i64,
}

impl<'a> RowTimes<'a> {
    /// Creates it from the columns of a batch.
    ///
    /// # Errors
    /// An internal error if the columns of the strategy are missing, or do not contain times.
    pub fn new(strategy: &WatermarkStrategy, columns: &'a [ArrayRef]) -> Result<Self> {
        let (column, less) = match strategy.candidates {
            Candidates::Column(column) => (column, 0),
            Candidates::OutOfOrderness(bound) => (strategy.row_time, millis(bound)),
        };
        let (times, candidates) = (Times::new(columns.get(strategy.row_time))?, Times::new(columns.get(column))?);
        Ok(RowTimes { times, candidates, less })
    }
    /// The time of a row, in milliseconds since 1970.
    pub fn time(&self, row: usize) -> Option<i64> {
        self.times.at(row)
    }
    /// The watermark that a row suggests.
    pub fn candidate(&self, row: usize) -> Option<Watermark> {
        self.candidates.at(row).map(|c| Watermark(c.saturating_sub(self.less)))
    }
}

/// A split that is being read.
#[derive(Debug, Clone)]
struct Split {
    name: Arc<str>,
    watermark: Watermark,
    /// When its last row arrived, by the tracker's clock.
    heard: i64,
    /// When its watermark last advanced, by the same clock.
    advanced: i64,
    idle: bool,
    paused: bool,
}

/// The status of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitStatus {
    /// Its name, which is the same in each run: topic and partition, or file and offset.
    pub name: Arc<str>,
    /// Its watermark.
    pub watermark: Watermark,
    /// Whether it does not hold the watermark back, because it has had no rows for a while.
    pub idle: bool,
    /// Whether it is not read, because it is ahead of its group.
    pub paused: bool,
    /// When its last row arrived, or it was added, in milliseconds of the clock of [`SplitTracker::advance`].
    pub heard: i64,
    /// When its watermark last advanced, or it was added, by the same clock.
    pub advanced: i64,
}

/// The splits that a source subtask reads, and their combined watermark, which is the lowest of theirs. The caller provides the current
/// time in milliseconds. It may stop this clock while nothing can be read, so that splits do not become idle.
///
/// # Examples
/// ```
/// use weir_core::event_time::Watermark;
/// use weir_core::watermarks::{SplitId, SplitTracker};
///
/// let mut splits = SplitTracker::default();
/// splits.add(SplitId(0), "orders-0", Watermark::NONE, 0);
/// splits.add(SplitId(1), "orders-1", Watermark::NONE, 0);
/// splits.advance(SplitId(0), Watermark(5_000), 10);
/// assert_eq!(splits.watermark(), Watermark::NONE);
/// splits.find_idle(1_000, 1_005);
/// assert_eq!(splits.watermark(), Watermark(5_000));
/// ```
#[derive(Debug, Default)]
pub struct SplitTracker {
    splits: BTreeMap<SplitId, Split>,
    watermark: Watermark,
}

/// The combined watermark, apart from one of the splits.
#[derive(Debug, Clone, Copy)]
pub struct WithSplit {
    /// The lowest watermark of the other splits.
    others: Watermark,
    /// The combined watermark, which never goes back.
    now: Watermark,
}

impl WithSplit {
    /// The combined watermark if that of the split is this.
    pub fn watermark(self, of_split: Watermark) -> Watermark {
        of_split.min(self.others).max(self.now)
    }
}

impl SplitTracker {
    /// Adds a split. Its watermark is restored from an earlier run, or [`Watermark::NONE`]. Time stands still until the split has caught
    /// up. After several restored splits have been added, call [`SplitTracker::update`].
    pub fn add(&mut self, id: SplitId, name: &str, watermark: Watermark, now: i64) {
        let split = Split { name: name.into(), watermark, heard: now, advanced: now, idle: false, paused: false };
        self.splits.insert(id, split);
    }
    /// Advances the combined watermark as far as the current splits allow.
    pub fn update(&mut self) {
        let now = self.least().or_else(|| self.splits.values().map(|s| s.watermark).max());
        self.watermark = self.watermark.max(now.unwrap_or(Watermark::NONE));
    }
    /// Removes a split that has ended. Returns its name, if it was there.
    pub fn end(&mut self, id: SplitId) -> Option<Arc<str>> {
        let gone = self.splits.remove(&id);
        self.update();
        gone.map(|s| s.name)
    }
    /// Records a row of a split, which becomes active. An earlier watermark than before has no effect.
    pub fn advance(&mut self, id: SplitId, to: Watermark, now: i64) {
        if let Some(split) = self.splits.get_mut(&id) {
            if to > split.watermark {
                (split.watermark, split.advanced) = (to, now);
            }
            (split.heard, split.idle) = (now, false);
            self.update();
        }
    }
    /// The watermark of a split, if it is read.
    pub fn watermark_of(&self, id: SplitId) -> Watermark {
        self.splits.get(&id).map_or(Watermark::NONE, |s| s.watermark)
    }
    /// The watermark of the other splits, while rows of this one are processed.
    pub fn with(&self, id: SplitId) -> WithSplit {
        let others = self.splits.iter().filter(|(other, s)| **other != id && !s.idle).map(|(_, s)| s.watermark);
        WithSplit { others: others.min().unwrap_or(Watermark::END), now: self.watermark }
    }
    /// Marks splits that have had no rows for this time in milliseconds as idle, except for paused ones.
    pub fn find_idle(&mut self, timeout: i64, now: i64) {
        for split in self.splits.values_mut().filter(|s| !s.paused) {
            split.idle |= now.saturating_sub(split.heard) >= timeout;
        }
        self.update();
    }
    /// When the next active split will become idle.
    pub fn next_idle(&self, timeout: i64) -> Option<i64> {
        let waiting = self.splits.values().filter(|s| !s.idle && !s.paused);
        waiting.map(|s| s.heard.saturating_add(timeout)).min()
    }
    /// Pauses the splits that are ahead of a watermark, and resumes the others. Returns whether anything has changed.
    pub fn pause_ahead(&mut self, of: Watermark, now: i64) -> bool {
        let mut changed = false;
        for split in self.splits.values_mut() {
            let paused = split.watermark > of;
            if paused != split.paused {
                changed = true;
                // No row could arrive while it was paused.
                (split.paused, split.heard) = (paused, now);
            }
        }
        changed
    }
    /// The paused splits.
    pub fn paused(&self) -> Vec<SplitId> {
        self.splits.iter().filter(|(_, s)| s.paused).map(|(id, _)| *id).collect()
    }
    /// The combined watermark: the lowest of the active splits, or the latest if all are idle. It never goes back.
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }
    /// The lowest watermark of the active splits, if there are any.
    pub fn least(&self) -> Option<Watermark> {
        self.splits.values().filter(|s| !s.idle).map(|s| s.watermark).min()
    }
    /// Whether there is no active split.
    pub fn is_idle(&self) -> bool {
        self.splits.values().all(|s| s.idle)
    }
    /// All splits.
    pub fn splits(&self) -> impl Iterator<Item = (SplitId, SplitStatus)> {
        let status = |s: &Split| SplitStatus {
            name: s.name.clone(),
            watermark: s.watermark,
            idle: s.idle,
            paused: s.paused,
            heard: s.heard,
            advanced: s.advanced,
        };
        self.splits.iter().map(move |(id, s)| (*id, status(s)))
    }
}

/// A subtask of a group, by operator and index.
type Member = (String, usize);

/// The alignment groups of a running job.
#[derive(Debug, Default)]
pub struct AlignmentGroups(Mutex<BTreeMap<String, BTreeMap<Member, Watermark>>>);

impl AlignmentGroups {
    /// Reports the watermark of a subtask to its group; none if it does not hold the others back. Returns the watermark up to which splits
    /// of the group may be read: the lowest of all subtasks, plus the drift.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use weir_core::event_time::Watermark;
    /// use weir_core::watermarks::{AlignmentGroups, AlignmentStrategy};
    ///
    /// let (max_drift, update_interval) = (Duration::from_secs(60), Duration::from_secs(1));
    /// let strategy = AlignmentStrategy { group: "g".to_string(), max_drift, update_interval };
    /// let groups = AlignmentGroups::default();
    /// groups.report(&strategy, "source a", 0, Some(Watermark(1_000)));
    /// assert_eq!(groups.report(&strategy, "source b", 0, Some(Watermark(500_000))), Watermark(61_000));
    /// ```
    pub fn report(
        &self,
        strategy: &AlignmentStrategy,
        operator: &str,
        subtask: usize,
        watermark: Option<Watermark>,
    ) -> Watermark {
        let mut groups = locked(&self.0);
        let group = groups.entry(strategy.group.clone()).or_default();
        let member = (operator.to_string(), subtask);
        match watermark {
            Some(w) => group.insert(member, w),
            None => group.remove(&member),
        };
        let least = group.values().min().map(|w| w.0.saturating_add(millis(strategy.max_drift)));
        least.map_or(Watermark::END, Watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn tracker(names: &[&str]) -> SplitTracker {
        let mut t = SplitTracker::default();
        names.iter().enumerate().for_each(|(i, n)| t.add(SplitId(i as u32), n, Watermark::NONE, 0));
        t
    }

    #[test]
    fn a_split_that_comes_back_or_is_new_holds_time_until_it_has_caught_up() {
        let mut t = tracker(&["a", "b"]);
        t.advance(SplitId(0), Watermark(100), 10);
        t.find_idle(50, 60);
        assert!(t.is_idle(), "both were quiet for so long");
        assert_eq!(t.watermark(), Watermark(100));
        t.advance(SplitId(1), Watermark(40), 70);
        t.advance(SplitId(0), Watermark(200), 70);
        assert_eq!(t.watermark(), Watermark(100), "the one that is behind holds");
        t.advance(SplitId(1), Watermark(150), 80);
        assert_eq!(t.watermark(), Watermark(150));
        t.add(SplitId(2), "c", Watermark::NONE, 80);
        t.advance(SplitId(1), Watermark(300), 81);
        assert_eq!(t.watermark(), Watermark(150), "nothing is known of the new one");
        assert_eq!(t.end(SplitId(2)).as_deref(), Some("c"));
        assert_eq!(t.watermark(), Watermark(200), "what has ended holds nobody back");
        assert_eq!(t.next_idle(50), Some(120));
    }

    #[test]
    fn what_is_paused_is_not_idle_and_goes_on_when_the_others_have_come() {
        let mut t = tracker(&["ahead", "behind"]);
        t.advance(SplitId(0), Watermark(1_000), 0);
        t.advance(SplitId(1), Watermark(100), 0);
        assert!(t.pause_ahead(Watermark(999), 0));
        assert_eq!(t.paused(), [SplitId(0)]);
        t.find_idle(50, 60);
        assert_eq!(t.watermark(), Watermark(1_000), "the other is idle, and this one is not");
        assert!(t.splits().any(|(_, s)| s.paused && !s.idle));
        assert!(!t.pause_ahead(Watermark(999), 60) && t.pause_ahead(Watermark(1_000), 60));
        t.find_idle(50, 100);
        assert!(!t.is_idle(), "its time begins anew");
        t.find_idle(50, 110);
        assert!(t.is_idle());
    }

    #[test]
    fn a_group_waits_for_its_last_and_not_for_who_has_nothing() {
        let drift = |n| AlignmentStrategy {
            group: "g".to_string(),
            max_drift: Duration::from_millis(n),
            update_interval: Duration::ZERO,
        };
        let groups = AlignmentGroups::default();
        assert_eq!(groups.report(&drift(5), "a", 0, None), Watermark::END);
        assert_eq!(groups.report(&drift(5), "a", 0, Some(Watermark::NONE)), Watermark(i64::MIN + 5));
        assert_eq!(groups.report(&drift(5), "a", 1, Some(Watermark(7))), Watermark(i64::MIN + 5));
        assert_eq!(groups.report(&drift(5), "a", 0, None), Watermark(12));
        let other = AlignmentStrategy { group: "other".to_string(), ..drift(5) };
        assert_eq!(groups.report(&other, "a", 0, Some(Watermark(90))), Watermark(95));
    }

    #[test]
    fn rows_say_how_far_time_is_and_those_without_one_say_nothing() {
        let micros = [Some(5_999), None, Some(-1), Some(3_000)];
        let columns: Vec<ArrayRef> = vec![Arc::new(TimestampMicrosecondArray::from(micros.to_vec()))];
        let strategy = WatermarkStrategy {
            row_time: 0,
            candidates: Candidates::OutOfOrderness(Duration::from_millis(2)),
            columns: 1,
            emit: EmitStrategy::OnEvent,
            idle_timeout: None,
            alignment: None,
        };
        let times = RowTimes::new(&strategy, &columns).expect("timestamps");
        assert_eq!((0..4).map(|r| times.time(r)).collect::<Vec<_>>(), [Some(5), None, Some(-1), Some(3)]);
        let candidates = [Some(Watermark(3)), None, Some(Watermark(-3)), Some(Watermark(1))];
        assert_eq!((0..4).map(|r| times.candidate(r)).collect::<Vec<_>>(), candidates);
        let wrong = WatermarkStrategy { row_time: 1, ..strategy };
        assert!(RowTimes::new(&wrong, &columns).is_err());
    }

    #[test]
    fn whatever_comes_the_watermark_is_that_of_a_plain_reading_of_the_rules() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..2_000 {
            let (mut t, mut now, mut watermark) = (SplitTracker::default(), 0, i64::MIN);
            // Of each split: its watermark, when it was heard of last, whether it is idle.
            let mut naive: BTreeMap<u32, (i64, i64, bool)> = BTreeMap::new();
            for step in 0..60 {
                let id = random.u32(0..4);
                match random.u8(0..10) {
                    0 | 1 if !naive.contains_key(&id) => {
                        let from = if random.bool() { i64::MIN } else { random.i64(0..50) };
                        t.add(SplitId(id), "s", Watermark(from), now);
                        t.update();
                        naive.insert(id, (from, now, false));
                    }
                    2 => assert_eq!(t.end(SplitId(id)).is_some(), naive.remove(&id).is_some()),
                    3 | 4 => {
                        now += random.i64(0..30);
                        t.find_idle(20, now);
                        naive.values_mut().for_each(|n| n.2 |= now - n.1 >= 20);
                    }
                    _ => {
                        let to = random.i64(step..step + 40);
                        let with = t.with(SplitId(id)).watermark(Watermark(to).max(t.watermark_of(SplitId(id))));
                        t.advance(SplitId(id), Watermark(to), now);
                        if let Some(n) = naive.get_mut(&id) {
                            *n = (n.0.max(to), now, false);
                            assert_eq!(with, t.watermark());
                        }
                    }
                }
                let least = naive.values().filter(|n| !n.2).map(|n| n.0).min();
                let latest = naive.values().map(|n| n.0).max();
                watermark = watermark.max(least.or(latest).unwrap_or(i64::MIN));
                assert_eq!((t.watermark().0, t.is_idle()), (watermark, least.is_none()));
            }
        }
    }
}
