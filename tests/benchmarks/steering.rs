//! What being looked at and steered costs: `cargo bench -p weir-tests --bench steering` (build first). Prints the figures of
//! docs/src/why/performance.md: rates with and without a scrape every second, answers of the interface at full rate, the pause of
//! a change of parallelism with much state, and what a job takes that has nothing to do. `KEYS` sets the keys of the state.

use std::time::{Duration, Instant};
use weir_tests::Job;
use weir_tests::http::Listening;
use weir_tests::servers::Kafka;

const NUMBERS: &str =
    "CREATE TABLE n (k BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000',
  'fields.k.min' = '0', 'fields.k.max' = '99999', 'fields.v.min' = '0', 'fields.v.max' = '100');
CREATE TABLE o (k BIGINT, n BIGINT, s BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT k, COUNT(*), SUM(v) FROM n GROUP BY k;";

/// The processor time of a job so far, in seconds.
fn used(job: &Listening) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", job.id())).expect("its process");
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap_or(0.0) + fields[12].parse::<f64>().unwrap_or(0.0);
    ticks / 100.0
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Rows a second of some seconds, with a scrape each second or without.
fn rate(job: &Listening, scraped: bool) -> f64 {
    let rows = || job.metric("weir_operator_rows_out_total", &["operator=\"source n\""]);
    let (before, since) = (rows(), Instant::now());
    for _ in 0..4 {
        std::thread::sleep(Duration::from_secs(1));
        if scraped {
            job.get("/metrics");
        }
    }
    (rows() - before) / since.elapsed().as_secs_f64()
}

fn looked_at() {
    let script = Job::new(NUMBERS);
    let job = Listening::start(&script, &[], &[]);
    std::thread::sleep(Duration::from_secs(3));
    let pairs: Vec<(f64, f64)> = (0..9).map(|_| (rate(&job, true), rate(&job, false))).collect();
    let ratio = median(pairs.iter().map(|(with, without)| with / without).collect());
    let plain = median(pairs.iter().map(|(_, without)| *without).collect());
    println!(
        "scraped every second     {:>8.3} of {plain:.0} rows/s without, the median of {} pairs",
        ratio,
        pairs.len()
    );
    for path in ["/api/v1/job", "/metrics", "/health/ready"] {
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                let since = Instant::now();
                job.get(path);
                std::thread::sleep(Duration::from_millis(5));
                since.elapsed().as_secs_f64() * 1e3 - 5.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{path:<24} {:>8.1} ms, 99th percentile {:.1} ms, while the job runs at full rate",
            times[100], times[197]
        );
    }
}

fn scaled() {
    let keys: u64 = std::env::var("KEYS").ok().and_then(|k| k.parse().ok()).unwrap_or(12_000_000);
    let script = Job::new(&format!(
        "SET 'state.cache-size' = '1gb';
         CREATE TABLE n (k BIGINT, v STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '${{RATE}}', 'fields.k.kind' = 'sequence',
           'fields.k.start' = '1', 'fields.k.end' = '{keys}000', 'fields.v.length' = '100');
         CREATE TABLE o (k BIGINT, v STRING) WITH ('connector' = 'blackhole');
         INSERT INTO o SELECT MOD(k, {keys}), MAX(v) FROM n GROUP BY MOD(k, {keys});"
    ));
    let mut job = Listening::start(&script, &[], &[("RATE", "1000000000")]);
    let since = Instant::now();
    while job.metric("weir_operator_rows_out_total", &["operator=\"source n\""]) < keys as f64 {
        assert!(since.elapsed() < Duration::from_secs(900), "{}", job.said());
        std::thread::sleep(Duration::from_secs(1));
    }
    let bytes = job.metric("weir_state_disk_bytes", &[]);
    println!(
        "{}, with {keys} keys ({:.2} GB on disk) at full rate, which the store cannot follow",
        paused(&job),
        bytes / 1e9
    );
    job.post("/api/v1/job/stop", "{}");
    assert_eq!(job.ends(), Some(0), "{}", job.said());
    let job = Listening::start(&script, &[], &[("RATE", "50000")]);
    job.until("rows", |j| j.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]) > 100_000.0);
    println!("{}, with the same keys at 50,000 rows/s", paused(&job));
}

/// The pauses of some changes of parallelism, from the last row that a sink took to the first.
fn paused(job: &Listening) -> String {
    let mut pauses = vec![];
    for n in [3, 1, 4, 2, 3] {
        let answer = job.post("/api/v1/job/scale", &format!(r#"{{"operators": {{"aggregate": {n}}}}}"#));
        assert_eq!(answer.status, 200, "{}", answer.body);
        pauses.push(job.metric("weir_job_last_pause_seconds", &[]));
        std::thread::sleep(Duration::from_secs(3));
    }
    let most = pauses.iter().copied().fold(0.0, f64::max);
    format!("change of parallelism    {:>8.3} s from row to row, {most:.3} s at most", median(pauses))
}

fn scaled_between_topics() {
    let kafka = Kafka::start();
    ["numbers", "sums"].iter().for_each(|t| kafka.topic(t, 4));
    let table = |name: &str, topic: &str, columns: &str, more: &str| {
        let servers = kafka.servers();
        format!(
            "CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}',
               'properties.bootstrap.servers' = '{servers}', {more});"
        )
    };
    let feed = Job::new(&format!(
        "CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20000', 'fields.v.kind' = 'sequence',
           'fields.v.start' = '1', 'fields.v.end' = '1000000000');
         {} INSERT INTO t SELECT v FROM n;",
        table("t", "numbers", "v BIGINT", "'format' = 'json'")
    ));
    let _feeding = Listening::start(&feed, &[], &[]);
    let job = Job::new(&format!(
        "{} {} INSERT INTO o SELECT MOD(v, 1000), COUNT(*) FROM t GROUP BY MOD(v, 1000);",
        table("t", "numbers", "v BIGINT", "'format' = 'json', 'scan.startup.mode' = 'earliest-offset'"),
        table(
            "o",
            "sums",
            "k BIGINT, n BIGINT",
            "'format' = 'debezium-json', 'sink.delivery-guarantee' = 'exactly-once'"
        )
    ));
    let job = Listening::start(&job, &[], &[]);
    job.until("rows", |j| j.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]) > 100_000.0);
    println!("{}, from topic to topic exactly once", paused(&job));
}

/// What a job takes to which nothing comes any more.
fn idle(what: &str, job: &Listening) {
    std::thread::sleep(Duration::from_secs(5));
    let (before, since) = (used(job), Instant::now());
    std::thread::sleep(Duration::from_secs(15));
    let part = (used(job) - before) / since.elapsed().as_secs_f64();
    let memory = job.metric("weir_process_resident_memory_bytes", &[]) / 1e6;
    println!("nothing to do{what:<20} {:>6.1} % of a core, {memory:.0} MB resident", 100.0 * part);
}

fn idle_jobs() {
    let script = |function: &str, of: &str| {
        let job = Job::new(&format!(
            "{function}
             CREATE TABLE n (v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv', 'source.monitor-interval' = '1s');
             CREATE TABLE o (v BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
             INSERT INTO o SELECT {of}, COUNT(*) FROM n GROUP BY {of};"
        ));
        job.file("in/a.csv", "1\n2\n");
        job.file("twice.py", "from weir_udf import udf\n\n\n@udf\ndef twice(v: int) -> int:\n    return 2 * v\n");
        job
    };
    let plain = script("", "v");
    let job = Listening::start(&plain, &[], &[]);
    idle("", &job);
    let before = used(&job);
    (0..1_000).for_each(|_| drop(job.get("/metrics")));
    println!("a scrape                 {:>8.2} ms of a core", used(&job) - before);
    drop(job);
    let python = script("CREATE FUNCTION twice AS 'twice' LANGUAGE PYTHON USING FILE 'twice.py';", "twice(v)");
    let job = Listening::start(&python, &[], &[]);
    job.until("rows", |j| j.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]) >= 2.0);
    idle(", Python", &job);
    drop(job);
    let kafka = Kafka::start();
    let with = |topic: &str, more: &str| {
        kafka.topic(topic, 4);
        let servers = kafka.servers();
        format!(
            "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{servers}', 'format' = 'csv' {more})"
        )
    };
    let between = Job::new(&format!(
        "CREATE TABLE n (v BIGINT) {}; CREATE TABLE o (v BIGINT) {}; INSERT INTO o SELECT v FROM n WHERE v > 0;",
        with("in", ", 'scan.startup.mode' = 'earliest-offset'"),
        with("out", ", 'sink.delivery-guarantee' = 'exactly-once'")
    ));
    idle(", from topic to topic", &Listening::start(&between, &[], &[]));
}

fn main() {
    idle_jobs();
    looked_at();
    scaled_between_topics();
    scaled();
}
