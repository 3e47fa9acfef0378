//! All metrics. Each is declared once, with name, help and labels. Times are in seconds and sizes in bytes, as is usual in Prometheus.
//!
//! Label values are names in the plan, partitions of topics, and other splits, but never values of rows. All metrics have the label
//! `job_name`.

pub use prometheus::IntGauge;
use prometheus::proto::LabelPair;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock};
use crate::event_time::Watermark;
use crate::event_time_report::EventTimeReport;
use crate::thread::locked;
use crate::watermarks::SplitStatus;

/// A declared metric.
#[derive(Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The kind: counter, gauge or histogram.
    pub kind: &'static str,
    /// The labels besides `job_name`.
    pub labels: &'static [&'static str],
}

/// A family of metrics that is created from its declaration.
trait Family: Sized {
    const KIND: &'static str;
    fn make(d: &Declared, registry: &Registry) -> prometheus::Result<Self>;
}

macro_rules! family {
    ($($t:ident $kind:literal),*) => {$(
        impl Family for $t {
            const KIND: &'static str = $kind;
            fn make(d: &Declared, registry: &Registry) -> prometheus::Result<Self> {
                let v = $t::new(Opts::new(d.name, d.help), d.labels)?;
                registry.register(Box::new(v.clone()))?;
                Ok(v)
            }
        }
    )*};
}

family!(IntCounterVec "counter", CounterVec "counter", IntGaugeVec "gauge", GaugeVec "gauge");

impl Family for HistogramVec {
    const KIND: &'static str = "histogram";
    fn make(d: &Declared, registry: &Registry) -> prometheus::Result<Self> {
        // From a tenth of a millisecond to two minutes, by factors of four.
        let buckets = prometheus::exponential_buckets(0.0001, 4.0, 11)?;
        let v = HistogramVec::new(HistogramOpts::new(d.name, d.help).buckets(buckets), d.labels)?;
        registry.register(Box::new(v.clone()))?;
        Ok(v)
    }
}

macro_rules! declare {
    ($($field:ident: $kind:ident = $name:literal, $help:literal, [$($label:literal),*];)*) => {
        /// All metrics, in the order of the documentation.
        pub const ALL: &[Declared] = &[$(
            Declared { name: $name, help: $help, kind: <$kind as Family>::KIND, labels: &[$($label),*] }
        ),*];

        struct Families {
            $($field: $kind),*
        }

        impl Families {
            fn new(registry: &Registry) -> prometheus::Result<Self> {
                let mut declared = ALL.iter();
                let mut next = || declared.next().ok_or(prometheus::Error::Msg("a family without a declaration".into()));
                Ok(Families { $($field: Family::make(next()?, registry)?),* })
            }
        }
    };
}

declare! {
    rows_in: IntCounterVec = "weir_operator_rows_in_total", "Rows that an operator's subtask took in.", ["operator", "subtask"];
    rows_out: IntCounterVec = "weir_operator_rows_out_total", "Rows that an operator's subtask gave out; of a sink, rows written.", ["operator", "subtask"];
    bytes_in: IntCounterVec = "weir_operator_in_bytes_total", "Bytes of the rows taken in; of a source, bytes read.", ["operator", "subtask"];
    bytes_out: IntCounterVec = "weir_operator_out_bytes_total", "Bytes of the rows given out.", ["operator", "subtask"];
    busy: CounterVec = "weir_operator_busy_seconds_total", "Time spent working. Busy, back-pressured and idle are all of a subtask's time.", ["operator", "subtask"];
    back_pressured: CounterVec = "weir_operator_back_pressured_seconds_total", "Time spent waiting for room downstream.", ["operator", "subtask"];
    idle: CounterVec = "weir_operator_idle_seconds_total", "Time spent waiting for input.", ["operator", "subtask"];
    useful: CounterVec = "weir_operator_useful_seconds_total", "Busy time without what the subtask's thread waited for a core.", ["operator", "subtask"];
    cpu: CounterVec = "weir_operator_cpu_seconds_total", "Processor time used.", ["operator", "subtask"];
    queue: IntGaugeVec = "weir_operator_input_queue_batches", "Batches that wait at the input.", ["operator", "subtask"];
    queue_room: IntGaugeVec = "weir_operator_input_queue_limit_batches", "Batches that can wait at the input at most.", ["operator", "subtask"];
    parallelism: IntGaugeVec = "weir_operator_parallelism", "The operator's subtasks.", ["operator"];
    errors: IntCounterVec = "weir_operator_row_errors_total", "Rows that failed to parse, evaluate or be written, by what became of them.", ["operator", "subtask", "outcome"];
    late: IntCounterVec = "weir_operator_late_rows_total", "Rows that came behind the watermark when all that they belong to was complete, and were left out.", ["operator", "subtask"];
    state_keys: IntGaugeVec = "weir_state_cached_keys", "Keys held decoded in memory.", ["operator", "subtask"];
    state_bytes: IntGaugeVec = "weir_state_cached_bytes", "Memory that they take.", ["operator", "subtask"];
    state_hits: IntCounterVec = "weir_state_cache_hits_total", "Keys of batches that were in memory.", ["operator", "subtask"];
    state_reads: IntCounterVec = "weir_state_reads_total", "Keys looked up in the store because they were not in memory.", ["operator", "subtask"];
    state_writes: IntCounterVec = "weir_state_writes_total", "Keys handed over to epochs.", ["operator", "subtask"];
    function_calls: IntCounterVec = "weir_function_calls_total", "Calls into a function's sandbox, a batch each.", ["function"];
    function_rows: IntCounterVec = "weir_function_rows_total", "Rows that a function evaluated in its sandbox.", ["function"];
    function_remembered: IntCounterVec = "weir_function_remembered_rows_total", "Rows answered from remembered results or from an equal row of the batch.", ["function"];
    function_errors: IntCounterVec = "weir_function_errors_total", "Rows that a function failed on, by reason.", ["function", "reason"];
    function_time: HistogramVec = "weir_function_call_duration_seconds", "Time of calls into a function's sandbox.", ["function"];
    function_memory: IntGaugeVec = "weir_function_memory_bytes", "Memory of the largest instance of a function.", ["function"];
    function_load: GaugeVec = "weir_function_load_seconds", "What it took to load the function: to compile it, where no compiled one was at hand.", ["function"];
    source_lag: IntGaugeVec = "weir_source_lag_records", "Records of a partition that are there and were not read yet.", ["operator", "topic", "partition"];
    source_delay: GaugeVec = "weir_source_lag_seconds", "The age of the last record read of a partition when it was read; 0 where all are read.", ["operator", "topic", "partition"];
    watermark_in: GaugeVec = "weir_operator_input_watermark_timestamp_seconds", "The watermark of all inputs of an operator's subtask together, in seconds since 1970; none before the first one.", ["operator", "subtask"];
    watermark_out: GaugeVec = "weir_operator_output_watermark_timestamp_seconds", "The watermark that an operator's subtask has given out last, in seconds since 1970.", ["operator", "subtask"];
    watermark_lag: GaugeVec = "weir_operator_watermark_lag_seconds", "How far the watermark of a subtask is behind the time of day: that of its inputs, of a source the one that it gives out.", ["operator", "subtask"];
    held_back: GaugeVec = "weir_operator_watermark_held_back_seconds", "By how much what is least far holds time back at a subtask: how far it is behind what is furthest. Which that is, weir top says.", ["operator", "subtask"];
    split_watermark: GaugeVec = "weir_source_split_watermark_timestamp_seconds", "The watermark of a split of a source (a partition, a part of a file), in seconds since 1970; the 20 of each source that are least far.", ["operator", "split"];
    quiet_splits: GaugeVec = "weir_source_split_quiet_seconds", "For how long no row of a split of a source has come; the 20 of each source that are quiet the longest.", ["operator", "split"];
    idle_splits: IntGaugeVec = "weir_source_idle_splits", "Splits of a source's subtask that hold time back no longer, for nothing has come of them for a while.", ["operator", "subtask"];
    paused_splits: IntGaugeVec = "weir_source_paused_splits", "Splits of a source's subtask that are not read, for they are ahead of their watermark alignment group.", ["operator", "subtask"];
    sink_time: HistogramVec = "weir_sink_delivery_duration_seconds", "Time in which a sink took over an epoch: the transaction, the renaming of files, the calls.", ["operator"];
    retries: IntCounterVec = "weir_operator_retries_total", "Requests to systems outside that were made again.", ["operator"];
    epoch_duration: HistogramVec = "weir_epoch_duration_seconds", "From the start of an epoch's barrier to its delivery.", [];
    epoch_phase: HistogramVec = "weir_epoch_phase_duration_seconds", "The same by phase: align (all subtasks have passed the barrier), write (its file is durable), deliver (all sinks have it).", ["phase"];
    epoch_bytes: IntCounterVec = "weir_epoch_bytes_total", "Bytes of epoch files written.", [];
    epochs: IntCounterVec = "weir_epochs_total", "Durable epochs.", [];
    epoch_number: IntGaugeVec = "weir_epoch_number", "The last durable epoch.", [];
    epoch_age: GaugeVec = "weir_epoch_age_seconds", "Time since the last epoch was delivered, or since the job began.", [];
    state_disk: IntGaugeVec = "weir_state_disk_bytes", "Size of the state folder.", [];
    restarts: IntCounterVec = "weir_job_restarts_total", "Restarts of the job, by kind of failure.", ["reason"];
    rescales: IntCounterVec = "weir_job_rescales_total", "Changes of parallelism while the job ran.", [];
    pause: GaugeVec = "weir_job_last_pause_seconds", "How long rows paused at the last restart or rescale: from the last row that a sink took to the first one, or to the new subtasks' start where no rows came.", [];
    uptime: GaugeVec = "weir_job_uptime_seconds", "Seconds since the process started the job.", [];
    memory: IntGaugeVec = "weir_process_resident_memory_bytes", "Resident memory of the process.", [];
    cores: GaugeVec = "weir_process_cores", "Cores that the process may use.", [];
    build: IntGaugeVec = "weir_build_info", "1, with the version as a label.", ["version"];
    desired: IntGaugeVec = "weir_hint_desired_parallelism", "The parallelism that the hints advise for an operator; its present one where they advise none.", ["operator"];
    hints: IntGaugeVec = "weir_hint_active", "1 for a hint that holds now, by rule.", ["operator", "rule"];
}

type Scrape = Box<dyn Fn() + Send + Sync>;

/// The metrics of a process, in one registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
    about: Arc<About>,
}

struct About {
    started: Instant,
    /// When the last epoch was delivered.
    epoch_at: Mutex<Instant>,
    job: OnceLock<String>,
    scrape: Mutex<Option<Scrape>>,
    /// The greatest parallelism that each operator has had.
    most: Mutex<BTreeMap<String, usize>>,
    /// The event time of each operator and subtask.
    event_time: Mutex<EventTimeReports>,
}

/// The reports of subtasks on event time, by operator and subtask.
type EventTimeReports = BTreeMap<(String, usize), Arc<Mutex<EventTimeReport>>>;

/// Maximum number of a source's splits whose watermarks are metrics.
const SPLITS: usize = 20;

/// The metrics of a subtask.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its declaration above")]
pub struct SubtaskMetrics {
    pub rows_in: IntCounter,
    pub rows_out: IntCounter,
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
    pub busy: Counter,
    pub back_pressured: Counter,
    pub idle: Counter,
    pub useful: Counter,
    pub cpu: Counter,
    pub queue: IntGauge,
    pub queue_room: IntGauge,
    pub state_keys: IntGauge,
    pub state_bytes: IntGauge,
    pub state_hits: IntCounter,
    pub state_reads: IntCounter,
    pub state_writes: IntCounter,
    pub skipped: IntCounter,
    pub nulled: IntCounter,
    pub dead: IntCounter,
    pub late: IntCounter,
    pub retries: IntCounter,
    /// The event time report, from which metrics are derived when they are scraped.
    pub event_time: Arc<Mutex<EventTimeReport>>,
    lag: IntGaugeVec,
    delay: GaugeVec,
    operator: String,
}

/// The lag of a partition, in records and in time.
#[derive(Clone)]
pub struct Lag {
    /// The number of records that have not been read yet.
    pub records: IntGauge,
    /// The age of the last record when it was read.
    pub seconds: Gauge,
}

impl SubtaskMetrics {
    /// The lag of a partition that this subtask reads.
    pub fn source_lag(&self, topic: &str, partition: i32) -> Lag {
        let partition = partition.to_string();
        let labels = [self.operator.as_str(), topic, &partition];
        Lag { records: self.lag.with_label_values(&labels), seconds: self.delay.with_label_values(&labels) }
    }
}

/// The metrics of a function.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its declaration above")]
pub struct FunctionMetrics {
    pub calls: IntCounter,
    pub rows: IntCounter,
    pub remembered: IntCounter,
    pub time: Histogram,
    pub errors: IntCounter,
    pub traps: IntCounter,
    pub memory: IntGauge,
    pub load: Gauge,
}

/// The metrics of a job.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its declaration above")]
pub struct JobMetrics {
    pub epoch_duration: Histogram,
    pub align: Histogram,
    pub write: Histogram,
    pub deliver: Histogram,
    pub epoch_bytes: IntCounter,
    pub epochs: IntCounter,
    pub epoch_number: IntGauge,
    pub state_disk: IntGauge,
    pub rescales: IntCounter,
    pub pause: Gauge,
    pub uptime: Gauge,
    about: Arc<About>,
}

impl JobMetrics {
    /// Records the delivery of an epoch.
    pub fn delivered(&self) {
        *locked(&self.about.epoch_at) = Instant::now();
    }
}

impl Metrics {
    /// Creates a registry with all declared families.
    ///
    /// # Errors
    /// An internal error if a declaration is not a valid metric.
    pub fn new() -> crate::Result<Self> {
        let registry = Registry::new();
        let families = Families::new(&registry).map_err(|e| crate::Error::internal(e.to_string()).with_source(e))?;
        families.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let now = Instant::now();
        let about = About {
            started: now,
            epoch_at: Mutex::new(now),
            job: OnceLock::new(),
            scrape: Mutex::default(),
            most: Mutex::default(),
            event_time: Mutex::default(),
        };
        Ok(Metrics { registry, families: Arc::new(families), about: Arc::new(about) })
    }

    /// Sets the name of the job, unless it has been set before.
    pub fn name(&self, job: &str) {
        self.about.job.get_or_init(|| job.to_string());
    }

    /// Sets a function to be called before each scrape. It sets gauges that are too expensive to update all the time.
    pub fn before_scrape(&self, scrape: Scrape) {
        *locked(&self.about.scrape) = Some(scrape);
    }

    /// The metrics of a subtask. Repeated calls return the same ones.
    pub fn subtask(&self, operator: &str, subtask: usize) -> SubtaskMetrics {
        let number = subtask;
        let subtask = subtask.to_string();
        let l: &[&str] = &[operator, &subtask];
        let f = &self.families;
        let errors = |outcome| f.errors.with_label_values(&[operator, &subtask, outcome]);
        SubtaskMetrics {
            rows_in: f.rows_in.with_label_values(l),
            rows_out: f.rows_out.with_label_values(l),
            bytes_in: f.bytes_in.with_label_values(l),
            bytes_out: f.bytes_out.with_label_values(l),
            busy: f.busy.with_label_values(l),
            back_pressured: f.back_pressured.with_label_values(l),
            idle: f.idle.with_label_values(l),
            useful: f.useful.with_label_values(l),
            cpu: f.cpu.with_label_values(l),
            queue: f.queue.with_label_values(l),
            queue_room: f.queue_room.with_label_values(l),
            state_keys: f.state_keys.with_label_values(l),
            state_bytes: f.state_bytes.with_label_values(l),
            state_hits: f.state_hits.with_label_values(l),
            state_reads: f.state_reads.with_label_values(l),
            state_writes: f.state_writes.with_label_values(l),
            skipped: errors("skipped"),
            nulled: errors("null"),
            dead: errors("dead_letter"),
            late: f.late.with_label_values(l),
            retries: f.retries.with_label_values(&[operator]),
            event_time: locked(&self.about.event_time).entry((operator.to_string(), number)).or_default().clone(),
            lag: f.source_lag.clone(),
            delay: f.source_delay.clone(),
            operator: operator.to_string(),
        }
    }

    /// Records the parallelism of an operator. Gauges of its former subtasks are reset.
    pub fn parallelism(&self, operator: &str, subtasks: usize) {
        let f = &self.families;
        let before = f.parallelism.with_label_values(&[operator]);
        for gone in subtasks..usize::try_from(before.get()).unwrap_or(0) {
            let l: &[&str] = &[operator, &gone.to_string()];
            for gauge in [&f.queue, &f.queue_room, &f.state_keys, &f.state_bytes] {
                gauge.with_label_values(l).set(0);
            }
            if let Some(report) = locked(&self.about.event_time).get(&(operator.to_string(), gone)) {
                *locked(report) = EventTimeReport::default();
            }
        }
        before.set(subtasks as i64);
        let mut most = locked(&self.about.most);
        let n = most.entry(operator.to_string()).or_default();
        *n = subtasks.max(*n);
    }

    /// The reports on event time that contain anything, by operator and subtask.
    pub fn event_times(&self) -> BTreeMap<(String, usize), EventTimeReport> {
        let all = locked(&self.about.event_time);
        let reports = all.iter().map(|(of, report)| (of.clone(), locked(report).clone()));
        reports.filter(|(_, report)| report.is_known()).collect()
    }

    /// The metrics of all subtasks that an operator has or has had.
    pub fn subtasks(&self, operator: &str) -> Vec<SubtaskMetrics> {
        let most = locked(&self.about.most).get(operator).copied().unwrap_or(0);
        (0..most).map(|i| self.subtask(operator, i)).collect()
    }

    /// The durations of a sink's deliveries.
    pub fn sink_delivery(&self, operator: &str) -> Histogram {
        self.families.sink_time.with_label_values(&[operator])
    }

    /// The total lag of an operator's partitions in records, if it reads any.
    pub fn lag(&self, operator: &str) -> Option<u64> {
        use prometheus::core::Collector;
        let families = self.families.source_lag.collect();
        let all = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        let own = all.filter(|m| m.get_label().iter().any(|l| l.name() == "operator" && l.value() == operator));
        own.map(|m| m.get_gauge().get_value().max(0.0) as u64).reduce(|a, b| a + b)
    }

    /// The metrics of a function.
    pub fn function(&self, function: &str) -> FunctionMetrics {
        let f = &self.families;
        FunctionMetrics {
            calls: f.function_calls.with_label_values(&[function]),
            rows: f.function_rows.with_label_values(&[function]),
            remembered: f.function_remembered.with_label_values(&[function]),
            time: f.function_time.with_label_values(&[function]),
            errors: f.function_errors.with_label_values(&[function, "exception"]),
            traps: f.function_errors.with_label_values(&[function, "trap"]),
            memory: f.function_memory.with_label_values(&[function]),
            load: f.function_load.with_label_values(&[function]),
        }
    }

    /// The metrics of the job.
    pub fn job(&self) -> JobMetrics {
        let f = &self.families;
        let none: &[&str] = &[];
        let phase = |p| f.epoch_phase.with_label_values(&[p]);
        JobMetrics {
            epoch_duration: f.epoch_duration.with_label_values(none),
            align: phase("align"),
            write: phase("write"),
            deliver: phase("deliver"),
            epoch_bytes: f.epoch_bytes.with_label_values(none),
            epochs: f.epochs.with_label_values(none),
            epoch_number: f.epoch_number.with_label_values(none),
            state_disk: f.state_disk.with_label_values(none),
            rescales: f.rescales.with_label_values(none),
            pause: f.pause.with_label_values(none),
            uptime: f.uptime.with_label_values(none),
            about: self.about.clone(),
        }
    }

    /// Publishes a hint: the advised parallelism, and which of the known rules apply.
    pub fn hint(&self, operator: &str, desired: usize, holds: &[&str], rules: &[&str]) {
        self.families.desired.with_label_values(&[operator]).set(desired as i64);
        for rule in rules {
            let gauge = self.families.hints.with_label_values(&[operator, rule]);
            gauge.set(i64::from(holds.contains(rule)));
        }
    }

    /// The counter of restarts for a kind of failure.
    pub fn restarts(&self, reason: &str) -> IntCounter {
        self.families.restarts.with_label_values(&[reason])
    }

    /// The time since the last epoch was delivered, or since the job began.
    pub fn epoch_age(&self) -> Duration {
        locked(&self.about.epoch_at).elapsed()
    }

    /// Sets the gauges of event time from scratch, so that obsolete ones disappear.
    fn show_event_time(&self) {
        let f = &self.families;
        for gauge in
            [&f.watermark_in, &f.watermark_out, &f.watermark_lag, &f.held_back, &f.split_watermark, &f.quiet_splits]
        {
            gauge.reset();
        }
        f.idle_splits.reset();
        f.paused_splits.reset();
        let now = SystemClock.now();
        let mut splits: BTreeMap<String, Vec<(SplitStatus, i64)>> = BTreeMap::new();
        for ((operator, subtask), report) in locked(&self.about.event_time).iter() {
            let report = locked(report).clone();
            if !report.is_known() {
                continue;
            }
            let subtask = subtask.to_string();
            let l: &[&str] = &[operator, &subtask];
            let show = |gauge: &GaugeVec, labels: &[&str], at: Watermark| {
                if at > Watermark::NONE && at < Watermark::END {
                    gauge.with_label_values(labels).set(at.0 as f64 / 1_000.0);
                }
            };
            show(&f.watermark_in, l, report.input);
            show(&f.watermark_out, l, report.output);
            let at = report.watermark();
            if at > Watermark::NONE && at < Watermark::END {
                f.watermark_lag.with_label_values(l).set(now.saturating_sub(at.0) as f64 / 1_000.0);
            }
            if let Some(behind) = report.held_back().and_then(|h| h.behind) {
                f.held_back.with_label_values(l).set(behind as f64 / 1_000.0);
            }
            if !report.splits.is_empty() {
                let count = |of: fn(&SplitStatus) -> bool| report.splits.iter().filter(|s| of(s)).count() as i64;
                f.idle_splits.with_label_values(l).set(count(|s| s.idle));
                f.paused_splits.with_label_values(l).set(count(|s| s.paused));
            }
            let quiet = report.splits.iter().map(|s| (s.clone(), report.quiet(s)));
            splits.entry(operator.clone()).or_default().extend(quiet);
        }
        for (operator, mut splits) in splits {
            splits.sort_by_key(|(s, _)| s.watermark);
            for (s, _) in splits.iter().filter(|(s, _)| s.watermark > Watermark::NONE).take(SPLITS) {
                f.split_watermark.with_label_values(&[&operator, s.name.as_ref()]).set(s.watermark.0 as f64 / 1_000.0);
            }
            splits.sort_by_key(|(_, quiet)| Reverse(*quiet));
            for (s, quiet) in splits.iter().take(SPLITS) {
                f.quiet_splits.with_label_values(&[&operator, s.name.as_ref()]).set(*quiet as f64 / 1_000.0);
            }
        }
    }

    /// Formats all metrics in the text format of Prometheus.
    pub fn text(&self) -> String {
        // One scrape at a time, because some gauges are set from scratch.
        let scrape = locked(&self.about.scrape);
        if let Some(scrape) = &*scrape {
            scrape();
        }
        let (f, none): (_, &[&str]) = (&self.families, &[]);
        f.uptime.with_label_values(none).set(self.about.started.elapsed().as_secs_f64());
        f.epoch_age.with_label_values(none).set(self.epoch_age().as_secs_f64());
        f.memory.with_label_values(none).set(resident() as i64);
        f.cores.with_label_values(none).set(crate::clock::cores());
        self.show_event_time();
        let mut all = self.registry.gather();
        if let Some(job) = self.about.job.get() {
            for m in all.iter_mut().flat_map(|f| f.mut_metric().iter_mut()) {
                let mut label = LabelPair::default();
                label.set_name("job_name".to_string());
                label.set_value(job.clone());
                let mut labels = m.take_label();
                labels.push(label);
                m.set_label(labels);
            }
        }
        let mut out = vec![];
        // Writing to memory fails only for a malformed family, and those are declared above.
        let _ = TextEncoder::new().encode(&all, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// The resident memory of the process in bytes, or 0 if the kernel does not provide it.
pub fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|s| s.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: asks for a constant.
    pages * u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// The peak resident memory of the process in bytes, or 0 if the kernel does not provide it.
pub fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.unwrap_or(0_u64) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told() {
        assert!(resident() > 0 && peak_resident() > 0);
    }

    #[test]
    fn names_follow_prometheus() {
        for d in ALL {
            assert!(d.name.starts_with("weir_") && d.help.ends_with('.'), "{d:?}");
            assert_eq!(d.kind == "counter", d.name.ends_with("_total"), "{d:?}");
            for unit in ["milli", "micro", "nano", "kilo", "percent", "minutes"] {
                assert!(!d.name.contains(unit), "{} is not in a base unit", d.name);
            }
        }
    }

    #[test]
    fn every_metric_names_its_job() {
        let m = Metrics::new().expect("declarations that are right");
        m.name("a \"job\"");
        m.subtask("source t", 0).busy.inc_by(0.5);
        let text = m.text();
        let line =
            "weir_operator_busy_seconds_total{operator=\"source t\",subtask=\"0\",job_name=\"a \\\"job\\\"\"} 0.5";
        assert!(text.contains(line), "{text}");
        assert!(text.lines().filter(|l| !l.starts_with('#')).all(|l| l.contains("job_name=")), "{text}");
    }
}
