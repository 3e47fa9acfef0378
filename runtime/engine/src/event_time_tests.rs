//! Tests jobs with event time: scripted sources, operators that record which rows are late, and a clock that the scripts set. Late rows are
//! compared with a simple model of the rules that handles one row at a time, even if the job is stopped, fails and is restarted in between.

use crate::{Control, JobMetadata, Options, RestartStrategy, run};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_core::clock::{Clock, ManualClock};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::event_time_report::Holder;
use weir_core::graph::{
    Collector, Edge, JobGraph, JobIdentity, MAIN, Node, Operator, OperatorFactory, Partitioning, Polled, Role, Sink,
    SinkCheckpoint, SinkFactory, Source, SourceFactory, SubtaskContext,
};
use weir_core::memory_store::MemoryStore;
use weir_core::metrics::Metrics;
use weir_core::origin::{Origin, Origins};
use weir_core::state::{Changes, Epoch, StateBackend, StateHandle};
use weir_core::thread::locked;
use weir_core::watermarks::{AlignmentStrategy, Candidates, EmitStrategy, SplitId, WatermarkStrategy};
use weir_core::{Batch, Error, Result};

/// The reaction of a scripted source to a poll.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Add(u32),
    End(u32),
    /// A batch: the split and the time of each row, in milliseconds.
    Rows(Vec<(u32, i64)>),
    /// The clock advances by this many milliseconds.
    Turn(i64),
    /// There are no rows for a while.
    Quiet,
    /// The job is stopped, and started again.
    Stop,
    /// The source fails, once.
    Fail,
}

/// A source that follows a script. Its position is the next step.
struct Script {
    steps: Vec<Step>,
    clock: Arc<ManualClock>,
    control: Mutex<Arc<Control>>,
    /// The steps at which it has failed.
    failed: Arc<Mutex<BTreeSet<usize>>>,
}

impl SourceFactory for Script {
    fn start(&self, _: &StateHandle, _: usize) -> Result<()> {
        Ok(())
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let at = context.state.get_many(&[b"\0\0at"])?.remove(0);
        let at = at.map_or(0, |v| u64::from_be_bytes(v.try_into().expect("eight bytes")) as usize);
        Ok(Box::new(Scripted {
            steps: self.steps.clone(),
            clock: self.clock.clone(),
            control: locked(&self.control).clone(),
            failed: self.failed.clone(),
            at,
            began: false,
            stopped: false,
        }))
    }
}

struct Scripted {
    steps: Vec<Step>,
    clock: Arc<ManualClock>,
    control: Arc<Control>,
    failed: Arc<Mutex<BTreeSet<usize>>>,
    at: usize,
    began: bool,
    stopped: bool,
}

/// The splits that are open at a step.
fn open_at(steps: &[Step], at: usize) -> BTreeSet<u32> {
    let mut open = BTreeSet::new();
    for step in &steps[..at] {
        match step {
            Step::Add(s) => open.insert(*s),
            Step::End(s) => open.remove(s),
            _ => false,
        };
    }
    open
}

/// The splits of a batch's rows.
#[derive(Debug)]
struct Splits(Vec<u32>);

impl Origin for Splits {
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        (format!("row {row}"), None)
    }
    fn split(&self, row: u32) -> SplitId {
        SplitId(self.0[row as usize])
    }
}

/// A batch of numbered rows with their times.
fn batch(first: i64, rows: &[(u32, i64)]) -> Batch {
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..rows.len() as i64).map(|n| first + n))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, t)| t * 1_000))),
    ];
    let splits = Splits(rows.iter().map(|(s, _)| *s).collect());
    let batch = Batch::from_columns(Arc::new(Schema::new(fields)), columns, rows.len()).expect("a batch");
    batch.with_origins(Some(Origins::new(Arc::new(splits))))
}

/// The number of the first row of a step.
fn first_row(at: usize) -> i64 {
    at as i64 * 1_000
}

impl Source for Scripted {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        if !self.began {
            self.began = true;
            open_at(&self.steps, self.at).into_iter().for_each(|s| out.add_split(SplitId(s), format!("split-{s}")));
        }
        if self.stopped {
            return Ok(Polled::Wait(Duration::from_millis(1)));
        }
        let Some(step) = self.steps.get(self.at) else { return Ok(Polled::End) };
        let now = self.at;
        self.at += 1;
        match step {
            Step::Add(s) => out.add_split(SplitId(*s), format!("split-{s}")),
            Step::End(s) => out.end_split(SplitId(*s)),
            Step::Rows(rows) => out.emit(batch(first_row(now), rows)),
            Step::Turn(by) => self.clock.turn_to(self.clock.now() + by),
            Step::Quiet => return Ok(Polled::Wait(Duration::from_millis(1))),
            Step::Stop => {
                self.stopped = true;
                self.control.stop();
                return Ok(Polled::Wait(Duration::from_millis(1)));
            }
            Step::Fail if locked(&self.failed).insert(now) => return Err(Error::io("as the script has it")),
            Step::Fail => {}
        }
        Ok(Polled::More)
    }
    fn checkpoint(&mut self, _: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        changes.set(b"\0\0at", &(self.at as u64).to_be_bytes());
        Ok(changes)
    }
    fn has_splits(&self) -> bool {
        true
    }
}

/// What an operator has seen: for each row, whether it was late, and all rows and watermarks in order.
#[derive(Default)]
struct Seen {
    late: Mutex<BTreeMap<i64, bool>>,
    order: Mutex<Vec<String>>,
}

/// An operator with state, so that its watermark is part of the epoch.
struct Noting(Arc<Seen>);

impl OperatorFactory for Noting {
    fn open(&self, _: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Notes { seen: self.0.clone(), watermark: Watermark::NONE }))
    }
    fn keeps_state(&self) -> bool {
        true
    }
}

struct Notes {
    seen: Arc<Seen>,
    watermark: Watermark,
}

impl Operator for Notes {
    fn process(&mut self, _: usize, batch: Batch, _: &mut Collector) -> Result<()> {
        let ids = batch.data.column(0).as_primitive::<Int64Type>();
        let times = batch.data.column(1).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.rows() {
            let time = times.value(row) / 1_000;
            locked(&self.seen.late).insert(ids.value(row), time <= self.watermark.0);
            locked(&self.seen.order).push(format!("row {time}"));
        }
        assert_eq!(ids.null_count(), 0);
        Ok(())
    }
    fn on_watermark(&mut self, time: &EventTime, _: &mut Collector) -> Result<()> {
        assert!(time.all >= self.watermark, "time goes back");
        self.watermark = time.all;
        locked(&self.seen.order).push(format!("watermark {}", time.all.0));
        Ok(())
    }
}

struct Nowhere;

impl SinkFactory for Nowhere {
    fn open(&self, _: SubtaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Nowhere))
    }
}

impl Sink for Nowhere {
    fn write(&mut self, _: Batch) -> Result<()> {
        Ok(())
    }
    fn checkpoint(&mut self, _: Epoch, _: bool) -> Result<SinkCheckpoint> {
        Ok(SinkCheckpoint::default())
    }
}

fn node(name: &str, parallelism: usize, role: Role, from: &[usize]) -> Node {
    let edge = |from: &usize| Edge {
        from: *from,
        port: MAIN,
        input: 0,
        partitioning: Partitioning::Hash(vec![0]),
        ordered: false,
    };
    let inputs = from.iter().map(edge).collect();
    Node { name: name.to_string(), uid: name.to_string(), parallelism, role, inputs, watermarks: None }
}

/// A job of sources, the recording operator, and a sink.
fn graph(sources: Vec<(Arc<dyn SourceFactory>, WatermarkStrategy)>, seen: &Arc<Seen>, parallelism: usize) -> JobGraph {
    let mut nodes: Vec<Node> = vec![];
    for (n, (source, strategy)) in sources.into_iter().enumerate() {
        let node = node(&format!("source {n}"), 1, Role::Source(source), &[]);
        nodes.push(Node { watermarks: Some(strategy), ..node });
    }
    let from: Vec<usize> = (0..nodes.len()).collect();
    nodes.push(node("notes", parallelism, Role::Operator(Arc::new(Noting(seen.clone()))), &from));
    nodes.push(node("sink", 1, Role::Sink(Arc::new(Nowhere)), &[from.len()]));
    JobGraph { name: "job".to_string(), nodes }
}

fn options(clock: &Arc<ManualClock>) -> Options {
    Options {
        epoch_interval: Duration::from_secs(3_600),
        restart: RestartStrategy::FixedDelay { attempts: 100, delay: Duration::from_millis(1) },
        cache_bytes: 1 << 20,
        batch_rows: 1_000,
        job: JobIdentity { id: "job".to_string(), run: "run".to_string() },
        clock: clock.clone(),
        records: JobMetadata::new(),
    }
}

fn strategy(emit: EmitStrategy, bound: u64, idle_timeout: Option<u64>) -> WatermarkStrategy {
    WatermarkStrategy {
        row_time: 1,
        candidates: Candidates::OutOfOrderness(Duration::from_millis(bound)),
        columns: 2,
        emit,
        idle_timeout: idle_timeout.map(Duration::from_millis),
        alignment: None,
    }
}

/// Runs a script to its end. Each stop begins another run, with another parallelism.
fn play(steps: &[Step], strategy: &WatermarkStrategy, metrics: &Metrics) -> Arc<Seen> {
    let clock = Arc::new(ManualClock::new(0));
    let (seen, backend) = (Arc::new(Seen::default()), Arc::new(MemoryStore::default()) as Arc<dyn StateBackend>);
    let script = Arc::new(Script {
        steps: steps.to_vec(),
        clock: clock.clone(),
        control: Mutex::default(),
        failed: Arc::default(),
    });
    for parallelism in [1, 2, 1, 3, 2].into_iter().cycle() {
        let control = Arc::new(Control::default());
        *locked(&script.control) = control.clone();
        let source = script.clone() as Arc<dyn SourceFactory>;
        let graph = graph(vec![(source, strategy.clone())], &seen, parallelism);
        let ended = run(&graph, &backend, &options(&clock), metrics, &control);
        if ended.unwrap_or_else(|e| panic!("{e}\n{steps:?}")) {
            break;
        }
    }
    seen
}

/// The model of the rules, which handles one row at a time.
#[derive(Clone, Default)]
struct Plain {
    /// For each split: its watermark, when its last row arrived, and whether it is idle.
    splits: BTreeMap<u32, (i64, i64, bool)>,
    watermark: Option<i64>,
    at: usize,
}

impl Plain {
    fn time_goes_on(&mut self) {
        let least = self.splits.values().filter(|s| !s.2).map(|s| s.0).min();
        let now = least.or_else(|| self.splits.values().map(|s| s.0).max());
        self.watermark = self.watermark.max(now.filter(|n| *n > i64::MIN));
    }
}

/// For each row, whether it is late if a watermark follows each row.
fn plainly_late(steps: &[Step], bound: i64, timeout: i64) -> BTreeMap<i64, bool> {
    let (mut plain, mut kept, mut late) = (Plain::default(), Plain::default(), BTreeMap::new());
    let (mut now, mut failed) = (0, BTreeSet::new());
    while let Some(step) = steps.get(plain.at) {
        let at = plain.at;
        plain.at += 1;
        match step {
            Step::Add(s) => {
                plain.splits.insert(*s, (i64::MIN, now, false));
            }
            Step::End(s) => {
                plain.splits.remove(s);
            }
            Step::Rows(rows) => {
                for (n, (split, time)) in rows.iter().enumerate() {
                    late.insert(first_row(at) + n as i64, plain.watermark.is_some_and(|w| *time <= w));
                    let of = plain.splits.get_mut(split).expect("a split that is read");
                    *of = (of.0.max(time - bound), now, false);
                    plain.time_goes_on();
                }
            }
            Step::Turn(by) => now += by,
            Step::Quiet | Step::Stop => {}
            Step::Fail if !failed.insert(at) => {}
            Step::Fail => plain = kept.clone(),
        }
        if plain.at > at {
            plain.splits.values_mut().for_each(|s| s.2 |= now - s.1 >= timeout);
            plain.time_goes_on();
        }
        if *step == Step::Stop {
            kept = plain.clone();
        }
        if *step == Step::Stop || plain.at <= at {
            // After a restart, all splits count as just active.
            plain.splits.values_mut().for_each(|s| (s.1, s.2) = (now, false));
        }
    }
    late
}

/// Random steps: the times of each split advance, and go back far enough to make some rows late.
fn steps(random: &mut Rng) -> Vec<Step> {
    let (mut all, mut open, mut next): (Vec<Step>, BTreeMap<u32, i64>, u32) = (vec![], BTreeMap::new(), 0);
    for _ in 0..random.usize(10..60) {
        let splits: Vec<u32> = open.keys().copied().collect();
        all.push(match random.u8(0..20) {
            0 | 1 if splits.len() < 3 => {
                open.insert(next, random.i64(0..200));
                next += 1;
                Step::Add(next - 1)
            }
            2 if !splits.is_empty() => {
                let gone = splits[random.usize(0..splits.len())];
                open.remove(&gone);
                Step::End(gone)
            }
            3 | 4 => Step::Turn(random.i64(1..40)),
            5 => Step::Quiet,
            6 => Step::Stop,
            7 => Step::Fail,
            _ if splits.is_empty() => Step::Quiet,
            _ => {
                let mut row = || {
                    let split = splits[random.usize(0..splits.len())];
                    let at = open.get_mut(&split).expect("an open split");
                    *at += random.i64(0..20);
                    (split, (*at - random.i64(0..25)).max(0))
                };
                Step::Rows((0..8).map(|_| row()).collect())
            }
        });
    }
    all
}

#[test]
fn what_is_late_is_so_whatever_is_stopped_and_fails_in_between() {
    let (mut rows_late, mut rows) = (0, 0);
    for seed in 0..40 {
        let mut random = Rng::with_seed(seed);
        let (steps, bound) = (steps(&mut random), random.u64(0..8));
        let seen = play(&steps, &strategy(EmitStrategy::OnEvent, bound, Some(50)), &Metrics::new().expect("metrics"));
        let plain = plainly_late(&steps, bound as i64, 50);
        assert_eq!(*locked(&seen.late), plain, "seed {seed}: {steps:?}");
        rows += plain.len();
        rows_late += plain.values().filter(|late| **late).count();
    }
    assert!(rows_late * 20 > rows && rows_late * 3 < rows * 2, "{rows_late} of {rows}: the scripts show little");
}

#[test]
fn watermarks_go_out_from_time_to_time_and_at_once_when_all_are_idle() {
    let steps = [
        Step::Add(0),
        Step::Rows(vec![(0, 10)]),
        Step::Rows(vec![(0, 20)]),
        Step::Turn(100),
        Step::Rows(vec![(0, 30)]),
        Step::Turn(100),
        Step::Rows(vec![(0, 5)]),
        Step::Rows(vec![(0, 40)]),
        Step::Turn(150),
        Step::Turn(150),
        Step::Quiet,
        Step::Rows(vec![(0, 35)]),
    ];
    let every = EmitStrategy::OnPeriodic(Duration::from_millis(200));
    let metrics = Metrics::new().expect("metrics");
    let seen = play(&steps, &strategy(every, 1, Some(250)), &metrics);
    let order: Vec<String> = locked(&seen.order).clone();
    let first = ["row 10", "watermark 9", "row 20", "row 30", "watermark 29", "row 5", "row 40", "watermark 39"];
    assert_eq!(order[..first.len()], first);
    // The row that ends the idleness makes the operators downstream wait for it again, and is late itself.
    assert_eq!(order[order.len() - 2..], ["row 35".to_string(), format!("watermark {}", i64::MAX)]);
}

#[test]
fn what_holds_time_back_is_told() {
    let steps = [
        Step::Add(0),
        Step::Add(1),
        Step::Add(2),
        Step::Rows(vec![(0, 5_000), (1, 2_000), (2, 9_000)]),
        Step::Turn(30),
        Step::Rows(vec![(1, 2_500), (2, 9_500)]),
        Step::Turn(30),
    ];
    let metrics = Metrics::new().expect("metrics");
    play(&steps, &strategy(EmitStrategy::OnEvent, 0, Some(50)), &metrics);
    let report = metrics.event_times().remove(&("source 0".to_string(), 0)).expect("a report");
    let held = report.held_back().expect("a split");
    assert_eq!((held.by, held.behind), (Holder::Split("split-1".into()), Some(7_000)));
    assert!(report.splits.iter().any(|s| s.name.as_ref() == "split-0" && s.idle));
    let text = metrics.text();
    for line in [
        "weir_source_split_watermark_timestamp_seconds{operator=\"source 0\",split=\"split-1\"} 2.5",
        "weir_source_idle_splits{operator=\"source 0\",subtask=\"0\"} 1",
        "weir_operator_watermark_held_back_seconds{operator=\"source 0\",subtask=\"0\"} 7",
        "weir_operator_output_watermark_timestamp_seconds{operator=\"source 0\",subtask=\"0\"} 2.5",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("weir_operator_watermark_lag_seconds{operator=\"source 0\",subtask=\"0\"}"), "{text}");
}

/// A source that counts up from 0, emits a row every `every` polls, and obeys requests to pause.
struct Counting {
    name: &'static str,
    every: u32,
    given: Arc<Mutex<Vec<(&'static str, i64)>>>,
}

impl SourceFactory for Counting {
    fn start(&self, _: &StateHandle, _: usize) -> Result<()> {
        Ok(())
    }
    fn open(&self, _: SubtaskContext) -> Result<Box<dyn Source>> {
        let given = self.given.clone();
        Ok(Box::new(Counted { name: self.name, every: self.every, asked: 0, given, next: 0, paused: false }))
    }
}

struct Counted {
    name: &'static str,
    every: u32,
    asked: u32,
    given: Arc<Mutex<Vec<(&'static str, i64)>>>,
    next: i64,
    paused: bool,
}

impl Source for Counted {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        self.asked += 1;
        if self.paused || !self.asked.is_multiple_of(self.every) {
            return Ok(Polled::Wait(Duration::from_micros(100)));
        }
        if self.next == 100 {
            return Ok(Polled::End);
        }
        locked(&self.given).push((self.name, self.next));
        out.emit(batch(self.next, &[(0, self.next)]));
        self.next += 1;
        Ok(Polled::More)
    }
    fn checkpoint(&mut self, _: Epoch) -> Result<Changes> {
        Ok(Changes::default())
    }
    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        self.paused = splits.contains(&SplitId::default());
        Ok(())
    }
}

#[test]
fn a_source_that_is_ahead_of_its_group_waits() {
    let given = Arc::new(Mutex::default());
    let source = |name, every| Arc::new(Counting { name, every, given: Arc::clone(&given) }) as Arc<dyn SourceFactory>;
    let alignment = AlignmentStrategy {
        group: "g".to_string(),
        max_drift: Duration::from_millis(10),
        update_interval: Duration::ZERO,
    };
    let strategy = WatermarkStrategy { alignment: Some(alignment), ..strategy(EmitStrategy::OnEvent, 0, None) };
    let (seen, clock) = (Arc::new(Seen::default()), Arc::new(ManualClock::new(0)));
    let sources = vec![(source("fast", 1), strategy.clone()), (source("slow", 30), strategy)];
    let backend = Arc::new(MemoryStore::default()) as Arc<dyn StateBackend>;
    let (metrics, control) = (Metrics::new().expect("metrics"), Arc::new(Control::default()));
    assert!(run(&graph(sources, &seen, 1), &backend, &options(&clock), &metrics, &control).expect("a job"));
    let (mut slow, mut most) = (-1, 0);
    let given: Vec<(&str, i64)> = locked(&given).clone();
    for (name, time) in &given {
        if *name == "slow" {
            slow = *time;
        } else if slow < 99 {
            // The row that gets ahead is emitted before the source can be told to pause.
            assert!(*time <= slow.max(0) + 11, "{time} while the other is at {slow}");
            most = most.max(time - slow);
        }
    }
    assert!(most >= 10, "it waits too early: {most}");
    assert_eq!(given.len(), 200, "all rows come");
}
