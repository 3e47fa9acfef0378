//! A running job seen and steered: how its time is accounted, what is advised, other parallelisms, its own address, its commands.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use weir_tests::http::Listening;
use weir_tests::servers::{Kafka, MariaDb};
use weir_tests::services::Redis;
use weir_tests::{Job, Ran, repository, weir};

fn weir_in(job: &Job, arguments: &[&str]) -> Ran {
    Command::new(weir()).args(arguments).current_dir(job.folder.path()).output().expect("weir").into()
}

/// Numbers without end, and what is made of them.
fn endless(rate: u64, function: &str) -> Job {
    let job = Job::new(&format!(
        "SET 'parallelism.default' = '1'; SET 'execution.checkpointing.interval' = '200ms';
         CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'fields.v.kind' = 'sequence',
           'fields.v.start' = '1', 'fields.v.end' = '100000000000');
         {}
         CREATE TABLE o (v BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO o SELECT {}(v) FROM n;",
        if function == "ABS" {
            String::new()
        } else {
            format!("CREATE FUNCTION {function} AS '{function}' LANGUAGE PYTHON USING FILE 'f.py';")
        },
        function
    ));
    job.file(
        "f.py",
        "import time\nfrom weir_udf import udf\n\n@udf\ndef slow(v: int) -> int:\n    time.sleep(0.001)\n    return v\n",
    );
    job
}

#[test]
fn all_time_is_accounted_for() {
    // A slow operator with a full queue and a source that is held back by it; an empty source; everything at its own pace.
    for (rate, function) in [(3_000, "slow"), (1, "ABS"), (20_000, "ABS")] {
        let script = endless(rate, function);
        let job = Listening::start(&script, &[], &[]);
        job.until("a row", |j| j.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]) > 0.0);
        let times = || -> (Instant, BTreeMap<String, f64>) {
            let mut all: BTreeMap<String, f64> = BTreeMap::new();
            for (k, v) in job.metrics() {
                for state in ["busy", "back_pressured", "idle"] {
                    if let Some(of) = k.strip_prefix(&format!("weir_operator_{state}_seconds_total")) {
                        *all.entry(of.to_string()).or_default() += v;
                    }
                }
            }
            (Instant::now(), all)
        };
        let (from, before) = times();
        std::thread::sleep(Duration::from_secs(4));
        let (to, after) = times();
        let passed = (to - from).as_secs_f64();
        assert!(before.len() >= 3, "{before:?}");
        for (subtask, time) in &after {
            let accounted = time - before.get(subtask).copied().unwrap_or(0.0);
            // The counters are up to half a second old on both ends; their distance is not.
            assert!(
                (accounted - passed).abs() < 0.01 * passed + 0.55,
                "{rate} {function} {subtask}: {accounted} of {passed}"
            );
        }
        let total: f64 = after.values().sum::<f64>() - before.values().sum::<f64>();
        let all = passed * after.len() as f64;
        assert!((total / all - 1.0).abs() < 0.15, "{total} of {all}");
        if function == "slow" {
            assert!(job.metric("weir_operator_back_pressured_seconds_total", &["source n"]) > 2.0);
            assert!(
                job.metric("weir_operator_useful_seconds_total", &["calc"]) > 2.0,
                "sleeping is not waiting for a core"
            );
            assert!(job.metric("weir_operator_cpu_seconds_total", &["operator=\"calc\""]) < 2.0);
        }
    }
}

/// A function that waits: the hints say so, and a job that follows them keeps up.
#[test]
fn a_job_scales_itself() {
    let job = endless(2_000, "slow");
    let running = Listening::start(
        &job,
        &[
            "--autoscale",
            "--set",
            "job.autoscaler.stabilization.interval=4s",
            "--set",
            "execution.checkpointing.interval=200ms",
        ],
        &[],
    );
    running.until("a change of parallelism", |j| j.metric("weir_job_rescales_total", &[]) > 0.0);
    let subtasks = running.metric("weir_operator_parallelism", &["operator=\"calc\""]);
    assert!((3.0..=16.0).contains(&subtasks), "{subtasks}: {}", running.said());
    assert_eq!(running.metric("weir_operator_parallelism", &["operator=\"source n\""]), 1.0);
    let done = || running.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]);
    std::thread::sleep(Duration::from_secs(3));
    let (before, since) = (done(), Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    let rate = (done() - before) / since.elapsed().as_secs_f64();
    // One subtask sleeps for a millisecond a row, and can do a thousand at most.
    assert!(rate > 1_200.0, "{rate} rows/s of 2,000: {}", running.said());
    assert!(running.said().contains("hint: calc x1 -> x"), "{}", running.said());
    running.until("the function's name", |j| {
        j.metric("weir_hint_active", &["rule=\"function\"", "operator=\"calc\""]) > 0.0
    });
    let hints = weir_in(&job, &["hints", "job.sql"]).succeeded();
    assert!(hints.out.contains("the function slow takes") && hints.out.contains("ms a row"), "{}", hints.out);
    let json: Value =
        serde_json::from_str(&weir_in(&job, &["hints", "job.sql", "--format", "json"]).succeeded().out).expect("JSON");
    assert_eq!(json[0]["operator"], "calc");
}

/// A job that counts numbers into files, with other parallelisms all the time.
fn counting(rows: u64) -> Job {
    Job::new(&format!(
        "SET 'parallelism.default' = '2'; SET 'execution.checkpointing.interval' = '50ms';
         CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '60000', 'number-of-rows' = '{rows}',
           'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '{rows}');
         CREATE TABLE plain (v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'plain', 'format' = 'csv');
         CREATE TABLE sums (k BIGINT, n BIGINT, s BIGINT) WITH ('connector' = 'filesystem', 'path' = 'sums', 'format' = 'debezium-json');
         INSERT INTO plain SELECT v FROM n WHERE MOD(v, 3) = 0;
         INSERT INTO sums SELECT MOD(v, 1000), COUNT(*), SUM(v) FROM n GROUP BY MOD(v, 1000);"
    ))
}

fn counted(job: &Job, rows: u64, said: &str) {
    let read = |folder: &str| -> Vec<String> {
        let mut all = vec![];
        for path in job.parts(folder) {
            all.extend(std::fs::read_to_string(path).expect("text").lines().map(str::to_string));
        }
        all
    };
    let mut plain: Vec<u64> = read("plain").iter().map(|l| l.parse().expect("a number")).collect();
    plain.sort_unstable();
    let wrong = plain.iter().zip((1..=rows).filter(|v| v % 3 == 0)).find(|(there, wanted)| **there != *wanted);
    assert!(wrong.is_none() && plain.len() as u64 == rows / 3, "{} rows, {wrong:?}: {said}", plain.len());
    // The sum of all changes.
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for line in read("sums") {
        let change: Value = serde_json::from_str(&line).expect("JSON");
        for (side, sign) in [("before", -1), ("after", 1)] {
            if change[side].is_object() {
                *sums.entry(change[side].to_string()).or_default() += sign;
            }
        }
    }
    sums.retain(|_, n| *n != 0);
    let wanted: BTreeMap<String, i64> = (0..1000_u64)
        .map(|k| {
            let of: Vec<u64> = (1..=rows).filter(|v| v % 1000 == k).collect();
            (format!("{{\"k\":{k},\"n\":{},\"s\":{}}}", of.len(), of.iter().sum::<u64>()), 1)
        })
        .collect();
    let wrong = sums.iter().find(|(k, n)| wanted.get(*k) != Some(n));
    assert!(wrong.is_none() && sums.len() == 1000, "{} groups, {wrong:?}: {said}", sums.len());
}

#[test]
fn parallelism_changes_and_nothing_is_lost() {
    const ROWS: u64 = 300_000;
    let job = counting(ROWS);
    let mut running = Listening::start(&job, &[], &[]);
    running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
    let mut changes = 0;
    for (aggregate, calc, source) in [(4, 1, 1), (1, 3, 4), (3, 2, 2), (7, 5, 3), (2, 2, 1)] {
        let body = format!(r#"{{"operators": {{"aggregate": {aggregate}, "calc": {calc}, "source n": {source}}}}}"#);
        let answer = running.post("/api/v1/job/scale", &body);
        if answer.status != 200 {
            // The job may have come to its end.
            break;
        }
        let told: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(told["changed"]["aggregate"]["to"], aggregate, "{}", answer.body);
        let pause = told["pause_seconds"].as_f64().expect("a time");
        assert!(pause < 5.0, "{pause} s without rows");
        changes += 1;
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(changes >= 2, "{}", running.said());
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    counted(&job, ROWS, &running.said());
}

/// A sink that is too slow for rows to pass: the change does not wait for all of them, and those that are written meanwhile are not
/// there twice.
#[test]
fn a_slow_sink_is_scaled() {
    const ROWS: u64 = 8_000;
    let job = Job::new(&format!(
        "SET 'parallelism.default' = '1'; SET 'execution.checkpointing.interval' = '50ms';
         CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{ROWS}',
           'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '{ROWS}');
         CREATE TABLE plain (v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'plain', 'format' = 'csv');
         INSERT INTO plain SELECT v FROM n;"
    ));
    let mut running = Listening::start(&job, &[], &[("WEIR_FAILPOINTS", "part-write=sleep(1)")]);
    running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
    for n in [2, 3] {
        weir_in(&job, &["scale", "job.sql", &format!("sink plain={n}")]).succeeded();
    }
    // One that says nothing keeps nobody from asking.
    let _silent = std::os::unix::net::UnixStream::connect(job.path(".weir/job/control")).expect("the socket");
    weir_in(&job, &["scale", "job.sql", "sink plain=4"]).succeeded();
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    let mut there: Vec<u64> = vec![];
    for part in job.parts("plain") {
        let text = std::fs::read_to_string(part).expect("text");
        there.extend(text.lines().map(|l| l.parse::<u64>().expect("a number")));
    }
    there.sort_unstable();
    assert!(there == (1..=ROWS).collect::<Vec<_>>(), "{} rows: {}", there.len(), running.said());
}

#[test]
fn a_rescale_is_killed_at_every_step() {
    const ROWS: u64 = 120_000;
    for step in ["rescale", "rescaled", "epoch-named", "epoch-written"] {
        let job = counting(ROWS);
        // Every epoch passes the last two: those of before the change are let pass.
        let failpoint = if step.starts_with("rescale") { format!("{step}=abort@1") } else { format!("{step}=abort@8") };
        let mut running = Listening::start(&job, &[], &[("WEIR_FAILPOINTS", &failpoint)]);
        running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
        let scaled = weir_in(&job, &["scale", "job.sql", "aggregate=5", "calc=3"]);
        assert_ne!(running.ends(), Some(0), "{step}: it was to be killed: {} {}", running.said(), scaled.err);
        // What is kept is the old number or the new one, and nothing else is lost.
        let mut again = Listening::start(&job, &[], &[]);
        again.until("work", |j| j.metric("weir_operator_parallelism", &["operator=\"aggregate\""]) > 0.0);
        let subtasks = again.metric("weir_operator_parallelism", &["operator=\"aggregate\""]);
        match step {
            "rescale" => assert_eq!(subtasks, 2.0),
            "rescaled" => assert_eq!(subtasks, 5.0),
            _ => assert!(subtasks == 2.0 || subtasks == 5.0, "{subtasks}"),
        }
        assert_eq!(again.ends(), Some(0), "{step}: {}", again.said());
        counted(&job, ROWS, &again.said());
    }
}

/// In the middle of an exactly-once job between topics: partitions move between consumers, and every update is there once.
#[test]
fn a_kafka_job_is_scaled_and_delivers_once() {
    const ROWS: u64 = 200_000;
    let kafka = Kafka::start();
    kafka.topic("numbers", 4);
    kafka.topic("sums", 3);
    let with = |topic: &str, format: &str, more: &str| {
        format!(
            "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}', 'format' = '{format}' {more})",
            kafka.servers()
        )
    };
    let fill = Job::new(&format!(
        "CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000', 'number-of-rows' = '{ROWS}',
           'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '{ROWS}');
         CREATE TABLE t (v BIGINT) {}; INSERT INTO t SELECT v FROM n;",
        with("numbers", "json", "")
    ));
    fill.run(&[]).succeeded();
    let all = ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";
    let job = Job::new(&format!(
        "SET 'parallelism.default' = '2'; SET 'execution.checkpointing.interval' = '100ms'; SET 'table.exec.mini-batch.size' = '200';
         CREATE TABLE t (v BIGINT) {};
         CREATE TABLE o (k BIGINT, n BIGINT, s BIGINT) {};
         INSERT INTO o SELECT MOD(v, 500), COUNT(*), SUM(v) FROM t GROUP BY MOD(v, 500);",
        with("numbers", "json", all),
        with("sums", "debezium-json", ", 'sink.delivery-guarantee' = 'exactly-once'")
    ));
    // A millisecond a batch, so that there is a job to be scaled.
    let mut running = Listening::start(&job, &[], &[("WEIR_FAILPOINTS", "source-poll=sleep(5)")]);
    let mut changes = 0;
    for (aggregate, source) in [(4, 1), (1, 4), (3, 2), (2, 3), (5, 4)] {
        running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
        let body = format!(r#"{{"operators": {{"aggregate": {aggregate}, "source t": {source}}}}}"#);
        if running.post("/api/v1/job/scale", &body).status != 200 {
            break;
        }
        changes += 1;
    }
    assert!(changes >= 2, "{changes}: {}", running.said());
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    // The changes of a key lie in several partitions, so they are added up, whatever their order.
    let sums = Job::new(&format!(
        "SET 'execution.runtime-mode' = 'batch';
         CREATE TABLE o (before ROW<k BIGINT, n BIGINT, s BIGINT>, after ROW<k BIGINT, n BIGINT, s BIGINT>, op STRING) {};
         CREATE VIEW c AS SELECT IF(op = 'c', 1, -1) AS sign, COALESCE(after.k, before.k) AS k,
           COALESCE(after.n, before.n) AS n, COALESCE(after.s, before.s) AS s FROM o;
         CREATE VIEW g AS SELECT k, SUM(sign) AS there, SUM(sign * n) AS n, SUM(sign * s) AS s FROM c GROUP BY k;
         SELECT SUM(there), SUM(n), SUM(s), COUNT(*) FROM g;",
        with("sums", "json", &format!("{all}, 'properties.isolation.level' = 'read_committed'"))
    ));
    let total = ROWS * (ROWS + 1) / 2;
    assert_eq!(
        sums.run(&[]).succeeded().rows().into_keys().collect::<Vec<_>>(),
        [format!("[500, {ROWS}, {total}, 500]")]
    );
}

/// What a process is connected to at a port: its own ports of these connections.
fn connections(process: i32, port: u16) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .expect("its files")
        .filter_map(|f| std::fs::read_link(f.ok()?.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_string()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("its connections");
    let fields = table.lines().skip(1).map(|l| l.split_whitespace().collect::<Vec<_>>());
    let number = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap_or_default(), 16).unwrap_or(0);
    fields.filter(|f| f[3] == "01" && number(f[2]) == port && sockets.contains(f[9])).map(|f| number(f[1])).collect()
}

/// Consumers, producers and other clients serve the next subtasks: nothing is connected to anew.
#[test]
fn connections_outlive_a_change_of_parallelism() {
    let kafka = Kafka::start();
    let redis = Redis::start();
    let maria = MariaDb::start();
    maria.sql(
        "CREATE TABLE total (k BIGINT PRIMARY KEY, n BIGINT); CREATE TABLE lately (k BIGINT PRIMARY KEY, n BIGINT)",
    );
    kafka.topic("numbers", 3);
    let of_kafka = |topic: &str, more: &str| {
        let servers = kafka.servers();
        format!(
            "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{servers}', 'format' = 'json' {more})"
        )
    };
    let of_maria = |table: &str, guarantee: &str| {
        let url = maria.url();
        format!(
            "WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = '{table}', 'username' = 'root', 'sink.delivery-guarantee' = '{guarantee}')"
        )
    };
    let feed = Job::new(&format!(
        "CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000', 'fields.v.kind' = 'sequence',
           'fields.v.start' = '1', 'fields.v.end' = '100000000');
         CREATE TABLE t (v BIGINT) {}; INSERT INTO t SELECT v FROM n;",
        of_kafka("numbers", "")
    ));
    let _feeding = Listening::start(&feed, &[], &[]);
    for topic in ["once", "least"] {
        kafka.topic(topic, 2);
    }
    let job = Job::new(&format!(
        "SET 'parallelism.default' = '2'; SET 'execution.checkpointing.interval' = '100ms';
         CREATE TABLE t (v BIGINT) {};
         CREATE TABLE once (v BIGINT) {}; CREATE TABLE least (v BIGINT) {};
         CREATE TABLE total (k BIGINT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};
         CREATE TABLE lately (k BIGINT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};
         CREATE TABLE cache (k BIGINT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'redis', 'url' = '{}', 'password' = 'secret');
         INSERT INTO once SELECT v FROM t; INSERT INTO least SELECT v FROM t;
         INSERT INTO total SELECT MOD(v, 10), COUNT(*) FROM t GROUP BY MOD(v, 10);
         INSERT INTO lately SELECT MOD(v, 10), COUNT(*) FROM t GROUP BY MOD(v, 10);
         INSERT INTO cache SELECT MOD(v, 10), COUNT(*) FROM t GROUP BY MOD(v, 10);",
        of_kafka("numbers", ", 'scan.startup.mode' = 'earliest-offset'"),
        of_kafka("once", ", 'sink.delivery-guarantee' = 'exactly-once'"),
        of_kafka("least", ""),
        of_maria("total", "exactly-once"),
        of_maria("lately", "at-least-once"),
        redis.url(),
    ));
    let running = Listening::start(&job, &[], &[]);
    let rows = |j: &Listening| {
        ["once", "least", "total", "lately", "cache"]
            .map(|s| j.metric("weir_operator_rows_in_total", &[&format!("operator=\"sink {s}\"")]) as u64)
    };
    running.until("rows everywhere", |j| rows(j).iter().all(|n| *n > 2_000));
    let ports = [kafka.servers(), redis.url(), maria.url()].map(|address| {
        let port: String =
            address.split("127.0.0.1:").nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        port.parse().expect("a port")
    });
    let there = || ports.map(|p| connections(running.id(), p));
    let before = there();
    assert!(before.iter().all(|c| !c.is_empty()), "{before:?}");
    // The sources and sinks stay as many as they are.
    for n in [3, 1, 4] {
        let body = format!(r#"{{"operators": {{"aggregate": {n}}}}}"#);
        let answer = running.post("/api/v1/job/scale", &body);
        assert_eq!(answer.status, 200, "{}: {}", answer.body, running.said());
        let at = rows(&running);
        running.until("rows everywhere again", |j| rows(j).iter().zip(at).all(|(now, then)| *now > then + 1_000));
    }
    assert_eq!(there(), before);
}

#[test]
fn script_and_settings_say_parallelisms() {
    let job = Job::new(&format!(
        "SET 'parallelism.default' = '2';
         CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1000', 'parallelism' = '3');
         CREATE FUNCTION f AS 'fails' LANGUAGE RUST USING FILE '{}' WITH ('parallelism' = '4', 'on-error' = 'null');
         CREATE TABLE o (v BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO o SELECT f(v), COUNT(*) FROM n GROUP BY f(v);",
        repository("tests/guests/evil").display()
    ));
    let subtasks = |arguments: &[&str]| -> Vec<String> {
        let ran = job.run(&[&["--fresh"], arguments].concat()).succeeded();
        let lines = ran.err.lines().filter(|l| l.contains(" busy "));
        lines
            .map(|l| l.split(" busy ").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    assert_eq!(subtasks(&[]), ["source n x3", "calc x4", "aggregate x2", "calc-2 x2", "sink o x2"]);
    job.file(
        "at.toml",
        "parallelism.default = 1\n[operator.calc]\nparallelism = 5\n[operator.\"source n\"]\nparallelism = 1\n",
    );
    let given = ["--config", "at.toml", "--set", "operator.calc.parallelism=2"];
    assert_eq!(subtasks(&given[..2])[..2], ["source n x1", "calc x5"]);
    assert_eq!(subtasks(&given)[..3], ["source n x1", "calc x2", "aggregate x1"]);
    for (text, words) in [
        ("a = ", "line 1, column 5"),
        ("parallelism = [1]", "'parallelism' must be"),
        ("paralellism.default = 1", "did you mean 'parallelism.default'?"),
        ("operator.clac.parallelism = 1", "did you mean 'calc'?"),
        ("operator.calc.parallelism = 65", "1 to 64"),
        ("operator.calc-2.parallelism = 1\noperator.aggregate.parallelism = 2", "have one parallelism"),
    ] {
        job.file("at.toml", text);
        job.run(&given[..2]).failed(2, &[words]);
    }
    job.run(&["--config", "nowhere.toml"]).failed(2, &["nowhere.toml"]);
}

#[test]
fn what_cannot_be_scaled_is_told() {
    let job = Job::new(
        "SET 'parallelism.default' = '2';
         CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
         CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO o SELECT COUNT(*) FROM n;",
    );
    let running = Listening::start(&job, &[], &[]);
    running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
    let scale = |what: &[&str]| weir_in(&job, &[&["scale", "job.sql"], what].concat());
    scale(&["agregate=3"]).failed(5, &["no operator 'agregate'"]);
    scale(&["aggregate=3"]).failed(5, &["'aggregate' cannot have 3 subtasks"]);
    scale(&["source n=65"]).failed(5, &["1 to 64"]);
    scale(&["source n"]).failed(2, &["no operator and number"]);
    scale(&["source n=3"]).succeeded();
    // Started again, it has what it was given; the script's number comes back when it is asked for.
    let stopped = weir_in(&job, &["stop", "job.sql"]).succeeded();
    assert!(stopped.err.contains("run it again"), "{}", stopped.err);
    scale(&["source n=3"]).failed(5, &["does not run", "weir list"]);
    let again = Listening::start(&job, &[], &[]);
    let subtasks = |j: &Listening| j.metric("weir_operator_parallelism", &["operator=\"source n\""]);
    again.until("three subtasks", |j| subtasks(j) == 3.0);
    scale(&["source n=script"]).succeeded();
    assert_eq!(subtasks(&again), 2.0);
    let piped = Job::new("CREATE TABLE i (v STRING) WITH ('connector' = 'stdin', 'format' = 'raw'); SELECT v FROM i;");
    let mut command = piped.command(&["--state", "state"]);
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().expect("weir");
    let since = Instant::now();
    while !piped.path("state/job/control").exists() {
        assert!(since.elapsed() < Duration::from_secs(20), "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    weir_in(&piped, &["scale", "state/job", "source i=2"]).failed(5, &["standard input cannot be scaled"]);
    child.kill().and_then(|()| child.wait()).expect("its end");
}

#[test]
fn jobs_are_found_by_name_and_watched() {
    let job = endless(1_000, "ABS");
    let script = std::fs::read_to_string(job.path("job.sql")).expect("the script");
    let name = format!("watched-{}", std::process::id());
    job.file("job.sql", format!("SET 'pipeline.name' = '{name}'; {script}"));
    let running = Listening::start(&job, &[], &[]);
    running.until("rows", |j| j.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]) > 3_000.0);
    let elsewhere = Job::new("");
    let listed = weir_in(&elsewhere, &["list"]).succeeded();
    let line = listed.out.lines().find(|l| l.starts_with(&name)).expect("its line");
    assert!(line.contains("running") && line.contains("rows/s"), "{line}");
    let all: Value =
        serde_json::from_str(&weir_in(&elsewhere, &["list", "--format", "json"]).succeeded().out).expect("JSON");
    assert!(all.as_array().is_some_and(|a| a.iter().any(|j| j["job"]["name"] == name.as_str())), "{all}");
    let top = weir_in(&elsewhere, &["top", &name]).succeeded();
    for words in ["operator", "source n", "calc", "sink o", "cores", "epoch"] {
        assert!(top.out.contains(words), "{}", top.out);
    }
    weir_in(&elsewhere, &["hints", &name]).succeeded();
    weir_in(&elsewhere, &["stop", &name]).succeeded();
    let listed = weir_in(&elsewhere, &["list"]).succeeded();
    assert!(!listed.out.contains(&name), "{}", listed.out);
    weir_in(&elsewhere, &["top", &name]).failed(5, &[&name]);
}

#[test]
fn the_address_shows_and_takes() {
    let job = endless(5_000, "ABS");
    let mut running = Listening::start(&job, &[], &[]);
    running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
    assert!(running.get("/health/live").contains("live"));
    running.until("rates", |j| {
        let v: Value = serde_json::from_str(&j.get("/api/v1/job")).expect("JSON");
        v["operators"][0]["rows_per_second"].as_f64().is_some_and(|r| r > 4_000.0)
    });
    let v: Value = serde_json::from_str(&running.get("/api/v1/job")).expect("JSON");
    assert_eq!(v["operators"][1]["inputs"][0], "source n", "{v}");
    let status =
        |method: &str, path: &str, headers: &[&str], body: &str| running.ask(method, path, headers, body).status;
    let (json, token) = ("Content-Type: application/json", running.authorization());
    let token = token.as_str();
    assert_eq!(status("GET", "/nowhere", &[], ""), 404);
    assert_eq!(status("GET", "/api/v1/job/stop", &[], ""), 405);
    assert_eq!(status("POST", "/api/v1/job/stop", &["Content-Type: text/plain", token], "{}"), 415);
    assert_eq!(status("POST", "/api/v1/job/scale", &[json, token], "{"), 400);
    assert_eq!(status("POST", "/api/v1/job/scale", &[json, token], r#"{"operators": {"x": 2}}"#), 409);
    assert_eq!(status("POST", "/api/v1/job/savepoint", &[json, token], r#"{"target": "nowhere://x"}"#), 409);
    // A page of elsewhere that was given this address for its name, whatever it says of itself.
    let elsewhere = [json, "Host: evil.example", "X-Forwarded-Host: localhost", "Forwarded: host=localhost"];
    assert_eq!(status("POST", "/api/v1/job/stop", &elsewhere, "{}"), 403);
    assert_eq!(status("GET", "/api/v1/job", &elsewhere, ""), 403);
    // Without the token nothing changes, and the body is not waited for.
    let mut waiting = TcpStream::connect(&running.address).expect("the address");
    let head = format!(
        "POST /api/v1/job/stop HTTP/1.1\r\nHost: {}\r\n{json}\r\nContent-Length: 9999999\r\n\r\n",
        running.address
    );
    waiting.write_all(head.as_bytes()).expect("the head");
    let mut begin = [0; 12];
    waiting.read_exact(&mut begin).expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 401");
    // Those who never come to the end of a request keep nobody else out, nor the job from its work.
    let idle: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(&running.address).expect("the address");
            stream.write_all(b"POST /api/v1/job/stop HTTP/1.1\r\nHost: localhost\r\n").expect("half a head");
            stream
        })
        .collect();
    running.until("answers", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
    drop(idle);
    let saved = running.post("/api/v1/job/savepoint", &format!(r#"{{"target": "{}"}}"#, job.path("saved").display()));
    assert_eq!(saved.status, 200, "{}", saved.body);
    let at =
        serde_json::from_str::<Value>(&saved.body).expect("JSON")["savepoint"].as_str().expect("a place").to_string();
    assert!(std::fs::metadata(&at).is_ok_and(|m| m.len() > 0), "{at}");
    assert_eq!(running.post("/api/v1/job/stop", "{}").status, 202);
    assert_eq!(running.ends(), Some(0), "{}", running.said());
}

#[test]
fn changes_want_the_token() {
    let job = endless(100, "ABS");
    let mut running = Listening::start(&job, &[], &[("WEIR_TOKEN", "let me in")]);
    let stop = |token: &[&str]| {
        running.ask("POST", "/api/v1/job/stop", &[&["Content-Type: application/json"], token].concat(), "{}").status
    };
    assert_eq!(stop(&[]), 401);
    assert_eq!(stop(&["Authorization: Bearer let me out"]), 401);
    assert!(!running.get("/api/v1/job").contains("let me in"));
    assert_eq!(stop(&["Authorization: Bearer let me in"]), 202);
    assert_eq!(running.ends(), Some(0));
    assert!(!running.said().contains("let me in"));
}

/// The interface does what its description says, whatever is sent to it.
#[test]
fn the_interface_is_as_described() {
    let job = endless(100, "ABS");
    let running = Listening::start(&job, &[], &[]);
    running.until("work", |j| j.ask("GET", "/health/ready", &[], "").status == 200);
    let tool = repository("target/servers/schemathesis-1/bin/python");
    let out: Ran = Command::new(&tool)
        .args(["-m", "schemathesis.cli", "run", &format!("http://{}/api/v1/openapi.json", running.address)])
        // What stops the job is left out: there is nothing to be asked afterwards.
        .args(["--exclude-path", "/api/v1/job/stop", "--max-examples", "25", "--seed", "1", "--workers", "1"])
        .args(["--checks", "all", "--header", &running.authorization()])
        .current_dir(job.folder.path())
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}: tests/servers/install gets it", tool.display()))
        .into();
    assert_eq!(out.code, Some(0), "{}\n{}", out.out.chars().take(6_000).collect::<String>(), out.err);
    assert!(running.ask("GET", "/health/ready", &[], "").status == 200, "{}", running.said());
}

/// Rows of a second each, sent to partitions by their numbers.
fn send(kafka: &Kafka, rows: &[(&str, i32, i64)]) {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let mut config = rdkafka::config::ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", kafka.servers()).create().expect("a producer");
    for (topic, partition, second) in rows {
        let value = format!("a,{second}000");
        let record = BaseRecord::<(), str>::to(topic).partition(*partition).payload(&value);
        producer.send(record).map_err(|(e, _)| e).expect("a place in the queue");
    }
    producer.flush(Duration::from_secs(60)).expect("everything is there");
}

/// Which partition or input holds event time back, by how much and why; which partitions are idle; which operator has left out rows.
#[test]
fn it_is_told_what_holds_event_time_back() {
    let kafka = Kafka::start();
    kafka.topic("clicks", 3);
    kafka.topic("orders", 1);
    let table = |name: &str, more: &str| {
        format!(
            "CREATE TABLE {name} (who STRING, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts)
               WITH ('connector' = 'kafka', 'topic' = '{name}', 'properties.bootstrap.servers' = '{}', 'format' = 'csv',
                     'scan.startup.mode' = 'earliest-offset'{more});",
            kafka.servers()
        )
    };
    let job = Job::new(&format!(
        "SET 'parallelism.default' = '2'; {} {}
         CREATE VIEW together AS SELECT who, ts FROM clicks UNION ALL SELECT who, ts FROM orders;
         CREATE TABLE o (a TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO o SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE together, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end;",
        table("clicks", ", 'scan.watermark.idle-timeout' = '10 s'"),
        table("orders", ", 'scan.watermark.idle-timeout' = '0 s'")
    ));
    let running = Listening::start(&job, &[], &[]);
    let top = || weir_in(&job, &["top", "job.sql"]).succeeded().out;
    let says = |words: &[&str]| {
        running.until(&format!("{words:?} in {}", top()), |_| {
            let said = top();
            words.iter().all(|w| said.contains(w))
        });
    };
    send(&kafka, &[("clicks", 0, 1), ("clicks", 1, 1), ("clicks", 2, 1), ("orders", 0, 61)]);
    send(&kafka, &[("clicks", 0, 61), ("clicks", 1, 61)]);
    says(&[
        "1970-01-01 00:00:01.000 UTC",
        "held back by split 'clicks-2' of 'source clicks', 60.0 s behind the furthest",
    ]);
    says(&["no row of it for ", "it is idle, and holds nothing back, after 10 s"]);
    let about = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let held = about(&running.get("/api/v1/job"))["event_time"]["held_back_by"].clone();
    assert_eq!((&held["split"], held["behind_seconds"].as_f64()), (&Value::from("clicks-2"), Some(60.0)), "{held}");
    assert!(held["quiet_seconds"].as_f64() > Some(1.0), "{held}");
    assert!(running.metric("weir_source_split_quiet_seconds", &["split=\"clicks-2\""]) > 1.0);
    // It is idle, and the windows are complete.
    says(&["idle splits of 'source clicks', which hold nothing back: 'clicks-2' (no row for 1", "00:01:01.000 UTC"]);
    let operators = about(&running.get("/api/v1/job"))["operators"].clone();
    let source =
        operators.as_array().and_then(|o| o.iter().find(|o| o["name"] == "source clicks")).expect("the source");
    assert_eq!(
        (&source["event_time"]["splits"][0]["name"], &source["event_time"]["splits"][0]["idle"]),
        (&Value::from("clicks-2"), &Value::from(true))
    );
    // The other input is the one that is behind.
    send(&kafka, &[("clicks", 0, 121), ("clicks", 1, 121), ("clicks", 2, 121)]);
    says(&["held back by split 'orders-0' of 'source orders', 60.0 s behind the furthest", "it is never idle"]);
    // A row that comes when its window is complete.
    send(&kafka, &[("clicks", 0, 5)]);
    running.until("a late row", |j| j.metric("weir_operator_late_rows_total", &[]) == 1.0);
    let shown = top();
    assert!(shown.contains("errors     late") && shown.lines().any(|l| l.ends_with("        1")), "{shown}");
    let stopped = weir_in(&job, &["stop", "job.sql"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.err);
    running.until("the summary", |j| j.said().contains(", 1 late row left out"));
}
