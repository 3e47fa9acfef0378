//! Event time at a source: generates the watermarks of a subtask from the rows of its splits.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_core::clock::Clock;
use weir_core::event_time::Watermark;
use weir_core::event_time_report::EventTimeReport;
use weir_core::graph::{Collector, MAIN, Output, Polled, Source, SubtaskContext};
use weir_core::state::{Changes, ENGINE, StateHandle};
use weir_core::stored::{self, Reader, Stored};
use weir_core::thread::locked;
use weir_core::watermarks::{
    AlignmentGroups, AlignmentStrategy, EmitStrategy, RowTimes, SplitId, SplitTracker, WatermarkStrategy,
};
use weir_core::{Batch, Result};

/// The prefix of the keys of splits' watermarks in the state of their source.
const PREFIX: &[u8] = b"split-watermark ";

fn key_of(split: &str) -> Vec<u8> {
    [&ENGINE[..], PREFIX, split.as_bytes()].concat()
}

/// The watermark of a split.
struct SplitTime(Watermark);

impl Stored for SplitTime {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "the watermark of a split";
    fn write(&self, out: &mut Vec<u8>) {
        stored::put_signed(out, self.0.0);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.signed().map(|time| SplitTime(Watermark(time)))
    }
}

/// A member of an alignment group, and when it last looked at the others.
struct Aligned {
    strategy: AlignmentStrategy,
    groups: Arc<AlignmentGroups>,
    operator: String,
    subtask: usize,
    asked: Option<i64>,
}

impl Aligned {
    fn report(&self, watermark: Option<Watermark>) -> Watermark {
        self.groups.report(&self.strategy, &self.operator, self.subtask, watermark)
    }
}

/// The watermarks of a source's subtask.
pub(crate) struct SourceTime {
    strategy: WatermarkStrategy,
    tracker: SplitTracker,
    clock: Arc<dyn Clock>,
    state: StateHandle,
    report: Arc<Mutex<EventTimeReport>>,
    aligned: Option<Aligned>,
    /// The splits whose watermark has advanced since the last epoch, and those that have ended.
    moved: BTreeSet<SplitId>,
    ended: Vec<Arc<str>>,
    /// The milliseconds in which rows could have come: not those in which there was back-pressure.
    active: i64,
    /// When the source was last polled.
    polled: i64,
    /// The last watermark that was emitted, and when.
    emitted: Watermark,
    emitted_at: Option<i64>,
    idle: bool,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl SourceTime {
    /// Creates them for a source that has just been opened.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn new(
        strategy: &WatermarkStrategy,
        source: &dyn Source,
        context: &SubtaskContext,
        groups: &Arc<AlignmentGroups>,
    ) -> Result<Self> {
        let aligned = strategy.alignment.clone().map(|strategy| Aligned {
            strategy,
            groups: groups.clone(),
            operator: context.node.clone(),
            subtask: context.subtask,
            asked: None,
        });
        let mut time = SourceTime {
            strategy: strategy.clone(),
            tracker: SplitTracker::default(),
            clock: context.clock.clone(),
            state: context.state.clone(),
            report: context.metrics.event_time.clone(),
            aligned,
            moved: BTreeSet::new(),
            ended: vec![],
            active: 0,
            polled: context.clock.now(),
            emitted: Watermark::NONE,
            emitted_at: None,
            idle: false,
        };
        // No member may run ahead before all have reported their watermarks.
        if let Some(aligned) = &time.aligned {
            aligned.report(Some(Watermark::NONE));
        }
        if !source.has_splits() {
            time.add(SplitId::default(), &format!("subtask {} of {}", context.subtask, context.parallelism))?;
        }
        Ok(time)
    }

    fn add(&mut self, split: SplitId, name: &str) -> Result<()> {
        let kept = self.state.get_many(&[&key_of(name)])?.remove(0);
        let kept = kept.map_or(Ok(SplitTime(Watermark::NONE)), |v| stored::decode(&v));
        let SplitTime(watermark) = kept.map_err(|e| e.context(format!("split '{name}'")))?;
        self.tracker.add(split, name, watermark, self.active);
        Ok(())
    }

    /// Polls the source for rows, and inserts watermarks. `held_up` says whether there was back-pressure since the last poll, or the source
    /// was paused for an epoch.
    pub fn poll(&mut self, source: &mut dyn Source, held_up: bool, out: &mut Collector) -> Result<Polled> {
        self.pass_time(held_up);
        let mut given = Collector::default();
        let mut polled = source.poll(&mut given)?;
        self.pass_time(false);
        for output in given.outputs {
            match output {
                Output::Rows(MAIN, batch) => self.rows(batch, out)?,
                Output::SplitAdded(split, name) => self.add(split, &name)?,
                Output::SplitEnded(split) => self.end(split),
                // Watermarks of the source itself are only used by jobs without a strategy.
                Output::Watermark(_) | Output::Idle => {}
                other => out.outputs.push(other),
            }
        }
        self.tracker.update();
        if let Some(timeout) = self.strategy.idle_timeout {
            self.tracker.find_idle(millis(timeout), self.active);
        }
        let waits = matches!(polled, Polled::Wait(_));
        self.say(waits, out);
        self.align(source, polled == Polled::End)?;
        if let Polled::Wait(time) = &mut polled {
            *time = self.next(*time);
        }
        self.show();
        Ok(polled)
    }

    fn pass_time(&mut self, held_up: bool) {
        let now = self.clock.now();
        if !held_up {
            self.active += (now - self.polled).max(0);
        }
        self.polled = now;
    }

    fn end(&mut self, split: SplitId) {
        self.moved.remove(&split);
        self.ended.extend(self.tracker.end(split));
    }

    /// Emits a batch, cut where a watermark has to be emitted between two rows. As in Flink's assigner, a watermark follows the row that
    /// advances it by more than the interval. It waits for the end of the batch if none of the rows before that is behind it.
    fn rows(&mut self, batch: Batch, out: &mut Collector) -> Result<()> {
        if self.idle && batch.rows() > 0 {
            // Operators downstream must wait for this source again before they receive the rows.
            self.idle = false;
            out.watermark(self.emitted);
        }
        let columns = batch.data.columns().to_vec();
        let times = RowTimes::new(&self.strategy, &columns)?;
        let batch = batch.first_columns(self.strategy.columns)?;
        let split_of = |row: usize| batch.origins.as_ref().map_or_else(SplitId::default, |o| o.split(row as u32));
        let lead = match self.strategy.emit {
            EmitStrategy::OnEvent => Some(0),
            EmitStrategy::OnPeriodic(every) => Some(millis(every)),
            EmitStrategy::AtEnd => None,
        };
        let (rows, mut due) = (batch.rows(), self.emitted);
        let (mut begin, mut sent) = (0, 0);
        while begin < rows {
            let split = split_of(begin);
            let end = (begin + 1..rows).find(|row| split_of(*row) != split).unwrap_or(rows);
            let mut latest = self.tracker.watermark_of(split);
            let with = self.tracker.with(split);
            for row in begin..end {
                if due > self.emitted && times.time(row).is_some_and(|time| time.saturating_sub(1) <= due.0) {
                    out.emit(batch.slice(sent..row));
                    sent = row;
                    self.emit(due, out);
                }
                if let Some(candidate) = times.candidate(row).filter(|c| *c > latest) {
                    latest = candidate;
                    let watermark = with.watermark(latest);
                    if lead.is_some_and(|lead| watermark.0 > due.0.saturating_add(lead)) {
                        due = watermark;
                    }
                }
            }
            self.tracker.advance(split, latest, self.active);
            self.moved.insert(split);
            begin = end;
        }
        out.emit(if sent == 0 { batch } else { batch.slice(sent..rows) });
        self.emit(due, out);
        Ok(())
    }

    /// Emits a watermark if event time has advanced.
    fn emit(&mut self, watermark: Watermark, out: &mut Collector) {
        if watermark > self.emitted {
            out.watermark(watermark);
            (self.emitted, self.emitted_at) = (watermark, Some(self.polled));
        }
    }

    /// Emits a watermark if it is time for one, and idleness if all splits are idle.
    fn say(&mut self, waits: bool, out: &mut Collector) {
        let is_idle = self.tracker.is_idle();
        let due = match self.strategy.emit {
            EmitStrategy::OnEvent => true,
            EmitStrategy::OnPeriodic(every) => self.emitted_at.is_none_or(|at| self.polled - at >= millis(every)),
            EmitStrategy::AtEnd => false,
        };
        if due || is_idle && waits && self.strategy.emit != EmitStrategy::AtEnd {
            self.emit(self.tracker.watermark(), out);
        }
        if is_idle && waits && !self.idle {
            self.idle = true;
            out.idle();
        } else if !is_idle && self.idle {
            self.idle = false;
            out.watermark(self.emitted);
        }
    }

    /// Tells the alignment group the watermark of this member, and the source which splits to pause.
    fn align(&mut self, source: &mut dyn Source, ended: bool) -> Result<()> {
        let Some(aligned) = &mut self.aligned else { return Ok(()) };
        if ended {
            aligned.report(None);
            return Ok(());
        }
        let every = millis(aligned.strategy.update_interval);
        if aligned.asked.is_some_and(|at| (0..every).contains(&(self.polled - at))) {
            return Ok(());
        }
        aligned.asked = Some(self.polled);
        let limit = aligned.report(self.tracker.least());
        if self.tracker.pause_ahead(limit, self.active) {
            source.pause_splits(&self.tracker.paused())?;
        }
        Ok(())
    }

    /// The longest time to wait: until a watermark is due, a split becomes idle, or the group has to be checked.
    fn next(&self, wait: Duration) -> Duration {
        let emit = match self.strategy.emit {
            EmitStrategy::OnPeriodic(every) if self.tracker.watermark() > self.emitted => {
                self.emitted_at.map(|at| at.saturating_add(millis(every)))
            }
            _ => None,
        };
        let idle = self.strategy.idle_timeout.and_then(|timeout| self.tracker.next_idle(millis(timeout)));
        let idle = idle.map(|at| (at - self.active).saturating_add(self.polled));
        let asked = self.aligned.as_ref().and_then(|a| Some(a.asked? + millis(a.strategy.update_interval)));
        let first = [emit, idle, asked].into_iter().flatten().min();
        first.map_or(wait, |at| wait.min(self.clock.until(at).max(Duration::from_millis(1))))
    }

    /// Publishes the watermarks for reports.
    fn show(&self) {
        let mut report = locked(&self.report);
        (report.output, report.idle, report.reported) = (self.emitted, self.idle, self.active);
        report.idle_timeout = self.strategy.idle_timeout.map(millis);
        report.splits.clear();
        report.splits.extend(self.tracker.splits().map(|(_, s)| s));
    }

    /// Stores the watermarks of splits, in the same epoch as their positions.
    pub fn checkpoint(&mut self, changes: &mut Changes) {
        let moved = std::mem::take(&mut self.moved);
        let splits = self.tracker.splits().filter(|(id, s)| moved.contains(id) && s.watermark > Watermark::NONE);
        for (_, status) in splits {
            changes.set(&key_of(&status.name), &stored::encode(&SplitTime(status.watermark)));
        }
        for name in self.ended.drain(..) {
            changes.remove(&[&key_of(&name)]);
        }
    }
}
