//! Every metric, declared once: name, help, labels.

pub use prometheus::IntGauge;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::sync::Arc;

/// A declared metric.
#[derive(Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

macro_rules! declare {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $help:literal, [$($label:literal),*];)*) => {
        $($(#[$doc])* #[doc = $help] pub const $id: Declared =
            Declared { name: $name, help: $help, labels: &[$($label),*] };)*
        /// All metrics, for the documentation and the tests.
        pub const ALL: &[&Declared] = &[$(&$id),*];
    };
}

declare! {
    ROWS_IN = "weir_operator_rows_in_total", "Rows that an operator's subtask took in.", ["operator", "subtask"];
    ROWS_OUT = "weir_operator_rows_out_total", "Rows that an operator's subtask gave out.", ["operator", "subtask"];
    BYTES_IN = "weir_operator_in_bytes_total", "Bytes of the rows taken in; for a source, bytes read.", ["operator", "subtask"];
    BYTES_OUT = "weir_operator_out_bytes_total", "Bytes of the rows given out.", ["operator", "subtask"];
    BUSY = "weir_operator_busy_microseconds_total", "Time spent working.", ["operator", "subtask"];
    BACK_PRESSURED = "weir_operator_back_pressured_microseconds_total", "Time spent waiting for room downstream.", ["operator", "subtask"];
    IDLE = "weir_operator_idle_microseconds_total", "Time spent waiting for input.", ["operator", "subtask"];
    CPU = "weir_operator_cpu_microseconds_total", "Processor time used.", ["operator", "subtask"];
    QUEUE = "weir_operator_input_queue_batches", "Batches that wait at the input.", ["operator", "subtask"];
    ERRORS = "weir_operator_row_errors_total", "Rows that failed to parse, evaluate or be written, by what became of them.", ["operator", "subtask", "outcome"];
    SOURCE_LAG = "weir_source_lag_records", "Records of a partition that are there and were not read yet.", ["operator", "topic", "partition"];
    STATE_KEYS = "weir_state_cached_keys", "Keys held decoded in memory.", ["operator", "subtask"];
    STATE_READS = "weir_state_reads_total", "Keys looked up in the store because they were not in memory.", ["operator", "subtask"];
    STATE_WRITES = "weir_state_writes_total", "Keys handed over to epochs.", ["operator", "subtask"];
    FUNCTION_CALLS = "weir_function_calls_total", "Calls into a function's sandbox, a batch each.", ["function"];
    FUNCTION_ROWS = "weir_function_rows_total", "Rows that a function evaluated in its sandbox.", ["function"];
    FUNCTION_REMEMBERED = "weir_function_remembered_rows_total", "Rows answered from remembered results or from an equal row of the batch.", ["function"];
    FUNCTION_ERRORS = "weir_function_errors_total", "Rows that a function failed on, by reason.", ["function", "reason"];
    FUNCTION_TIME = "weir_function_microseconds_total", "Time spent inside a function's sandbox.", ["function"];
    EPOCH_DURATION = "weir_epoch_duration_seconds", "From the start of an epoch's barrier to its file being durable.", [];
    EPOCH_BYTES = "weir_epoch_bytes_total", "Bytes of epoch files written.", [];
    EPOCHS = "weir_epochs_total", "Durable epochs.", [];
    EPOCH_NUMBER = "weir_epoch_number", "The last durable epoch.", [];
    STATE_DISK = "weir_state_disk_bytes", "Size of the state folder.", [];
    RESTARTS = "weir_job_restarts_total", "Restarts of the job, by kind of failure.", ["reason"];
    UPTIME = "weir_job_uptime_seconds", "Seconds since the process started the job.", [];
}

/// The metrics of a process, in one registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
}

struct Families {
    rows_in: IntCounterVec,
    rows_out: IntCounterVec,
    bytes_in: IntCounterVec,
    bytes_out: IntCounterVec,
    busy: IntCounterVec,
    back_pressured: IntCounterVec,
    idle: IntCounterVec,
    cpu: IntCounterVec,
    queue: IntGaugeVec,
    errors: IntCounterVec,
    source_lag: IntGaugeVec,
    state_keys: IntGaugeVec,
    state_reads: IntCounterVec,
    state_writes: IntCounterVec,
    function_calls: IntCounterVec,
    function_rows: IntCounterVec,
    function_remembered: IntCounterVec,
    function_errors: IntCounterVec,
    function_time: IntCounterVec,
    epoch_duration: HistogramVec,
    epoch_bytes: IntCounterVec,
    epochs: IntCounterVec,
    epoch_number: IntGaugeVec,
    state_disk: IntGaugeVec,
    restarts: IntCounterVec,
    uptime: prometheus::GaugeVec,
}

/// The counters of one subtask.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its declaration above")]
pub struct SubtaskMetrics {
    pub rows_in: IntCounter,
    pub rows_out: IntCounter,
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
    pub busy: IntCounter,
    pub back_pressured: IntCounter,
    pub idle: IntCounter,
    pub cpu: IntCounter,
    pub queue: IntGauge,
    pub state_keys: IntGauge,
    pub state_reads: IntCounter,
    pub state_writes: IntCounter,
    pub skipped: IntCounter,
    pub nulled: IntCounter,
    pub dead: IntCounter,
    lag: IntGaugeVec,
    operator: String,
}

impl SubtaskMetrics {
    /// The lag of a partition that this subtask reads.
    pub fn source_lag(&self, topic: &str, partition: i32) -> IntGauge {
        self.lag.with_label_values(&[self.operator.as_str(), topic, &partition.to_string()])
    }
}

/// The counters of one function.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its declaration above")]
pub struct FunctionMetrics {
    pub calls: IntCounter,
    pub rows: IntCounter,
    pub remembered: IntCounter,
    pub time: IntCounter,
    pub errors: IntCounter,
    pub traps: IntCounter,
}

/// The counters of a job.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its declaration above")]
pub struct JobMetrics {
    pub epoch_duration: Histogram,
    pub epoch_bytes: IntCounter,
    pub epochs: IntCounter,
    pub epoch_number: IntGauge,
    pub state_disk: IntGauge,
    pub uptime: Gauge,
}

impl Metrics {
    /// A registry with every declared family.
    ///
    /// # Errors
    /// When a declaration is not a valid metric: a mistake of Weir's own.
    pub fn new() -> crate::Result<Self> {
        let registry = Registry::new();
        let fail = |e: prometheus::Error| crate::Error::internal(e.to_string());
        macro_rules! family {
            ($t:ident, $d:expr) => {{
                let v = $t::new(Opts::new($d.name, $d.help), $d.labels).map_err(fail)?;
                registry.register(Box::new(v.clone())).map_err(fail)?;
                v
            }};
        }
        use prometheus::GaugeVec;
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 16).map_err(fail)?;
        let opts = HistogramOpts::new(EPOCH_DURATION.name, EPOCH_DURATION.help).buckets(buckets);
        let epoch_duration = HistogramVec::new(opts, EPOCH_DURATION.labels).map_err(fail)?;
        registry.register(Box::new(epoch_duration.clone())).map_err(fail)?;
        let families = Families {
            rows_in: family!(IntCounterVec, ROWS_IN),
            rows_out: family!(IntCounterVec, ROWS_OUT),
            bytes_in: family!(IntCounterVec, BYTES_IN),
            bytes_out: family!(IntCounterVec, BYTES_OUT),
            busy: family!(IntCounterVec, BUSY),
            back_pressured: family!(IntCounterVec, BACK_PRESSURED),
            idle: family!(IntCounterVec, IDLE),
            cpu: family!(IntCounterVec, CPU),
            queue: family!(IntGaugeVec, QUEUE),
            errors: family!(IntCounterVec, ERRORS),
            source_lag: family!(IntGaugeVec, SOURCE_LAG),
            state_keys: family!(IntGaugeVec, STATE_KEYS),
            state_reads: family!(IntCounterVec, STATE_READS),
            state_writes: family!(IntCounterVec, STATE_WRITES),
            function_calls: family!(IntCounterVec, FUNCTION_CALLS),
            function_rows: family!(IntCounterVec, FUNCTION_ROWS),
            function_remembered: family!(IntCounterVec, FUNCTION_REMEMBERED),
            function_errors: family!(IntCounterVec, FUNCTION_ERRORS),
            function_time: family!(IntCounterVec, FUNCTION_TIME),
            epoch_duration,
            epoch_bytes: family!(IntCounterVec, EPOCH_BYTES),
            epochs: family!(IntCounterVec, EPOCHS),
            epoch_number: family!(IntGaugeVec, EPOCH_NUMBER),
            state_disk: family!(IntGaugeVec, STATE_DISK),
            restarts: family!(IntCounterVec, RESTARTS),
            uptime: family!(GaugeVec, UPTIME),
        };
        Ok(Metrics { registry, families: Arc::new(families) })
    }

    /// The counters of a subtask; asking again gives the same ones.
    pub fn subtask(&self, operator: &str, subtask: usize) -> SubtaskMetrics {
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
            cpu: f.cpu.with_label_values(l),
            queue: f.queue.with_label_values(l),
            state_keys: f.state_keys.with_label_values(l),
            state_reads: f.state_reads.with_label_values(l),
            state_writes: f.state_writes.with_label_values(l),
            skipped: errors("skipped"),
            nulled: errors("null"),
            dead: errors("dead_letter"),
            lag: f.source_lag.clone(),
            operator: operator.to_string(),
        }
    }

    /// The counters of a function.
    pub fn function(&self, function: &str) -> FunctionMetrics {
        let f = &self.families;
        FunctionMetrics {
            calls: f.function_calls.with_label_values(&[function]),
            rows: f.function_rows.with_label_values(&[function]),
            remembered: f.function_remembered.with_label_values(&[function]),
            time: f.function_time.with_label_values(&[function]),
            errors: f.function_errors.with_label_values(&[function, "exception"]),
            traps: f.function_errors.with_label_values(&[function, "trap"]),
        }
    }

    /// The counters of the job.
    pub fn job(&self) -> JobMetrics {
        let f = &self.families;
        JobMetrics {
            epoch_duration: f.epoch_duration.with_label_values::<&str>(&[]),
            epoch_bytes: f.epoch_bytes.with_label_values::<&str>(&[]),
            epochs: f.epochs.with_label_values::<&str>(&[]),
            epoch_number: f.epoch_number.with_label_values::<&str>(&[]),
            state_disk: f.state_disk.with_label_values::<&str>(&[]),
            uptime: f.uptime.with_label_values::<&str>(&[]),
        }
    }

    /// The restarts counter for a kind of failure.
    pub fn restarts(&self, reason: &str) -> IntCounter {
        self.families.restarts.with_label_values(&[reason])
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut out = vec![];
        // Writing to memory fails only for a malformed family, and those are declared above.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}
