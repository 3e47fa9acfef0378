//! Weir between topics of a real broker on the same machine, against a plain loop over rdkafka that reads and writes a message
//! a call; the log by province over Kafka; the time from a record's arrival to its result.
//! `cargo bench -p weir-tests --bench kafka`; ROWS=2000000 by default. With `WEIR_BEFORE=/path/to/weir` the jobs run in that binary and
//! in this one, in turn, `PAIRS=7` times each, and the ratios of their times are told.

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_tests::servers::Kafka;
use weir_tests::{Job, Ran, repository};

const COLUMNS: &str = "uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING";

fn table(kafka: &Kafka, name: &str, topic: &str, columns: &str, more: &str) -> String {
    format!(
        "CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}',
           'properties.bootstrap.servers' = '{}', 'format' = 'csv' {more});",
        kafka.servers()
    )
}

const BOUNDED: &str = ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

fn rate(what: &str, rows: u64, time: Duration) -> f64 {
    let rate = rows as f64 / time.as_secs_f64();
    println!("{what:<58} {rate:>10.0} rows/s");
    rate
}

/// Runs a job and gives the time that it says it took.
fn timed(job: &Job) -> Duration {
    timed_in(&weir_tests::weir(), "this", job)
}

/// The same in one of several binaries, each with a state of its own.
fn timed_in(binary: &Path, state: &str, job: &Job) -> Duration {
    let mut c = Command::new(binary);
    c.current_dir(job.folder.path()).args(["run", "job.sql", "--fresh", "--state", state]).stdin(Stdio::null());
    let ran = Ran::from(c.output().unwrap_or_else(|e| panic!("{}: {e}", binary.display()))).succeeded();
    let done = ran.err.lines().find(|l| l.starts_with("done")).unwrap_or_default().to_string();
    let seconds = |word: &str| {
        let (number, unit) = word.strip_suffix("ms").map(|n| (n, 1e-3)).or(word.strip_suffix('s').map(|n| (n, 1.0)))?;
        number.parse::<f64>().ok().map(|n| n * unit)
    };
    Duration::from_secs_f64(done.split(", ").find_map(seconds).unwrap_or_else(|| panic!("no time in: {done}")))
}

/// A message a call, read and written.
fn copied(kafka: &Kafka, from: &str, to: &str, rows: u64) -> Duration {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.servers())
        .set("group.id", "copy")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    (0..4).for_each(|p| list.add_partition_offset(from, p, Offset::Beginning).expect("a partition"));
    consumer.assign(&list).expect("the partitions");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.servers())
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .create()
        .expect("a producer");
    let (start, mut seen) = (Instant::now(), 0);
    while seen < rows {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let mut record = BaseRecord::<(), [u8]>::to(to).payload(message.payload().unwrap_or_default());
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = back;
        }
        seen += 1;
        if seen % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("everything is there");
    start.elapsed()
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// Sends 10,000 records a second for a while through a job with short epochs, and measures until each is read again.
fn latency(kafka: &Kafka, guarantee: &str) {
    let (from, to) = (format!("sent-{guarantee}"), format!("got-{guarantee}"));
    kafka.topic(&from, 2);
    kafka.topic(&to, 2);
    let job = Job::new(&format!(
        "SET 'execution.checkpointing.interval' = '100ms'; {} {} INSERT INTO got SELECT * FROM sent WHERE at > 0;",
        table(kafka, "sent", &from, "at BIGINT", ", 'scan.startup.mode' = 'earliest-offset'"),
        table(
            kafka,
            "got",
            &to,
            "at BIGINT",
            &format!(", 'sink.delivery-guarantee' = '{guarantee}', 'properties.linger.ms' = '1'")
        ),
    ));
    let mut child = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.servers())
        .set("group.id", "latency")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    (0..2).for_each(|p| list.add_partition_offset(&to, p, Offset::Beginning).expect("a partition"));
    consumer.assign(&list).expect("the partitions");
    std::thread::sleep(Duration::from_secs(4));
    let servers = kafka.servers();
    let sender = std::thread::spawn(move || {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", servers).set("linger.ms", "1").create().expect("a producer");
        for _ in 0..1_000 {
            let next = Instant::now() + Duration::from_millis(10);
            for _ in 0..100 {
                let _ = producer.send(BaseRecord::<(), [u8]>::to(&from).payload(micros().to_string().as_bytes()));
            }
            producer.poll(Duration::ZERO);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let _ = producer.flush(Duration::from_secs(10));
    });
    let mut times = vec![];
    let since = Instant::now();
    while times.len() < 100_000 && since.elapsed() < Duration::from_secs(30) {
        if let Some(Ok(m)) = consumer.poll(Duration::from_millis(50)) {
            let sent =
                std::str::from_utf8(m.payload().unwrap_or_default()).ok().and_then(|t| t.trim().parse::<u64>().ok());
            times.extend(sent.map(|s| micros().saturating_sub(s)));
        }
    }
    let _ = sender.join();
    // SAFETY: the process is a child of this one.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let _ = child.wait();
    // The first second finds caches cold.
    let mut times = times.split_off(times.len().min(10_000));
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(f64::NAN, |t| *t as f64 / 1000.0);
    println!(
        "{:<58} {:>7.1} ms median, {:>7.1} ms p99 ({} records)",
        format!("latency, {guarantee}, epochs of 100 ms"),
        at(0.5),
        at(0.99),
        times.len()
    );
}

/// Runs jobs in an older binary and in this one, in turn.
fn pairs(before: &Path, jobs: &[(String, Job)], rows: u64) {
    let pairs = number("PAIRS", 7) as usize;
    let now = weir_tests::weir();
    for (what, job) in jobs {
        // The first round compiles functions and fills what the broker and the system remember.
        let mut took = [vec![], vec![]];
        for round in 0..=pairs {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let time = if which == 0 { timed_in(before, "before", job) } else { timed_in(&now, "now", job) };
                if round > 0 {
                    took[which].push(time.as_secs_f64());
                }
            }
        }
        let ratio = median(took[0].iter().zip(&took[1]).map(|(before, now)| before / now));
        let [before, now] = took.map(|took| rows as f64 / median(took));
        println!(
            "{what:<58} {before:>10.0} rows/s before, {now:>10.0} now, {ratio:.3} times as fast (median of {pairs} pairs)"
        );
    }
}

fn median(of: impl IntoIterator<Item = f64>) -> f64 {
    let mut of: Vec<f64> = of.into_iter().collect();
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|r| r.parse().ok()).unwrap_or(default)
}

/// The log by province, with the function in a language.
fn by_province(source: &str, language: &str, file: &str, more: &str) -> Job {
    let example = repository("examples/cdn-log-analysis/udf");
    let job = Job::new(&format!(
        "{source}
         CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE {language} USING FILE '{}' {more};
         CREATE TABLE statistic (province STRING, n BIGINT, `bytes` BIGINT, speed DOUBLE) WITH ('connector' = 'blackhole');
         INSERT INTO statistic
         SELECT province, COUNT(uuid), SUM(response_size), SUM(response_size) * 1.0 / SUM(request_time)
         FROM (SELECT uuid, ip_to_province(client_ip) AS province, response_size, request_time FROM log)
         GROUP BY province;",
        example.join(file).display()
    ));
    std::fs::copy(example.join("regions.csv.gz"), job.path("regions.csv.gz")).expect("the table of ranges");
    job
}

fn main() {
    let rows = number("ROWS", 2_000_000);
    let kafka = Kafka::start();
    for t in ["log", "copy", "at-least-once", "exactly-once"] {
        kafka.topic(t, 4);
    }
    let fill = Job::new(&format!(
        "CREATE TABLE file ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = 'log.csv', 'format' = 'csv'); {}
         INSERT INTO log SELECT * FROM file;",
        table(&kafka, "log", "log", COLUMNS, "")
    ));
    let made = std::process::Command::new(weir_tests::weir())
        .args(["generate", "--broken", "0", "--rows", &rows.to_string(), "-o"])
        .arg(fill.path("log.csv"))
        .status();
    assert!(made.is_ok_and(|s| s.success()), "weir generate");
    fill.run(&[]).succeeded();
    let source = table(&kafka, "log", "log", COLUMNS, BOUNDED);
    let filtered = |guarantee: &str| {
        let sink = table(&kafka, "o", guarantee, COLUMNS, &format!(", 'sink.delivery-guarantee' = '{guarantee}'"));
        let job = Job::new(&format!("{source} {sink} INSERT INTO o SELECT * FROM log WHERE response_size >= 0;"));
        (format!("Weir, filter, {guarantee}"), job)
    };
    let province = |language: &str, file: &str, more: &str| {
        let job = by_province(&source, language, file, more);
        (format!("Weir, the log by province, function in {language}"), job)
    };
    let filters = ["at-least-once", "exactly-once"].map(filtered);
    let provinces = [
        province("RUST", "ip_to_province", "WITH ('assets' = 'regions.csv.gz')"),
        province("PYTHON", "ip_to_province.py", ""),
    ];
    if let Some(before) = std::env::var_os("WEIR_BEFORE").map(PathBuf::from) {
        let all: Vec<(String, Job)> = filters.into_iter().chain(provinces).collect();
        return pairs(&before, &all, rows);
    }
    let loop_rate = rate("a loop over rdkafka, a message a call", rows, copied(&kafka, "log", "copy", rows));
    for (what, job) in &filters {
        let here = rate(what, rows, timed(job));
        println!("{:<58} {:>10.2}", "  against the loop", here / loop_rate);
    }
    for (what, job) in &provinces {
        rate(what, rows, timed(job));
    }
    latency(&kafka, "at-least-once");
    latency(&kafka, "exactly-once");
}
