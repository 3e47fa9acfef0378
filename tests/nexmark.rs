//! Nexmark: the events are the same in each run, and the queries give what a computation in Python gives of the same events.

use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use weir_tests::{Job, Ran, comes, repository, weir};

/// The number of events, and of those in a second of event time. No two events have the same time, so every order is defined.
const EVENTS: u64 = 20_000;
const RATE: u64 = 100;

fn file(name: &str) -> String {
    let path = repository("runtime/cli/src/bench/nexmark").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The tables of events, with these options besides.
fn tables(options: &str) -> String {
    let connector = "'connector' = 'nexmark'";
    let with = format!("{connector}, 'events.num' = '{EVENTS}', 'first-event.rate' = '{RATE}' {options}");
    file("tables.sql").replacen(connector, &with, 1)
}

fn queries() -> Vec<String> {
    (0..24).map(|n| format!("q{n}")).collect()
}

/// A query that writes its result into a folder.
fn query(name: &str) -> String {
    let sink = format!("'connector' = 'filesystem', 'path' = 'results/{name}', 'format' = 'debezium-json'");
    file(&format!("{name}.sql"))
        .replace("'connector' = 'blackhole'", &sink)
        .replace("'path' = 'bids'", &format!("'path' = 'results/{name}'"))
}

/// A job of these queries, with the table that one of them looks up rows in.
fn job(queries: &[String]) -> Job {
    let all: Vec<String> = queries.iter().map(|q| query(q)).collect();
    let job = Job::new(&format!("{}\n{}", tables(""), all.join("\n")));
    job.file("side_input.csv", (0..10_000).map(|n| format!("{n},{n}\n")).collect::<String>());
    job
}

/// A folder with all events in JSON.
fn events() -> Job {
    let sink = |kind: &str| {
        let with = format!("'connector' = 'filesystem', 'path' = '{kind}', 'format' = 'json'");
        format!("CREATE TABLE {kind}_file WITH ({with}) AS SELECT * FROM {kind};\n")
    };
    let sinks: String = ["person", "auction", "bid"].map(sink).concat();
    let job = Job::new(&format!("{}\n{sinks}", tables("")));
    job.run(&["--fresh", "--set", "parallelism.default=1"]).succeeded();
    job
}

/// Compares the results of queries with those of Python.
#[track_caller]
fn compare(events: &Job, job: &Job, queries: &[String]) {
    let program = repository("tests/nexmark/expected.py");
    let mut command = Command::new("python3");
    command.arg(program).arg(events.folder.path()).arg(job.path("results")).args(queries);
    let ran: Ran = command.output().expect("python3, which compares the rows").into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for q in queries {
        let none = format!("{q}: 0 rows");
        assert!(ran.out.lines().any(|l| l.starts_with(&format!("{q}: ")) && l != none), "{}", ran.out);
    }
}

#[test]
fn each_query_gives_what_python_gives() {
    let events = events();
    for q in queries() {
        let job = job(std::slice::from_ref(&q));
        job.run(&["--fresh", "--set", "parallelism.default=1"]).succeeded();
        compare(&events, &job, &[q]);
    }
}

/// The number of the last epoch that is in a job's folder.
fn last_epoch(job: &Job) -> u64 {
    let Ok(files) = std::fs::read_dir(job.path(".weir/job/epochs")) else { return 0 };
    let number = |f: std::fs::DirEntry| f.path().file_stem()?.to_str()?.parse().ok();
    files.flatten().filter_map(number).max().unwrap_or(0)
}

/// Whether a job's last run came to its end, as the folder of its state says.
fn finished(job: &Job) -> bool {
    std::fs::read_to_string(job.path(".weir/job/job.json")).unwrap_or_default().contains("\"finished\": true")
}

#[test]
fn all_queries_at_once_survive_kills_and_other_parallelisms() {
    let (events, queries) = (events(), queries());
    let job = job(&queries);
    let settings = ["--set", "execution.checkpointing.interval=50ms", "--set", "table.exec.mini-batch.size=256"];
    let mut kills = 0;
    for parallelism in ["2", "3", "2", "1"] {
        let parallelism = format!("parallelism.default={parallelism}");
        let mut slow = job.command(&[&settings[..], &["--set", &parallelism]].concat());
        slow.env("WEIR_FAILPOINTS", "source-poll=sleep(200)").stdout(Stdio::null()).stderr(Stdio::piped());
        let before = last_epoch(&job);
        let mut child = slow.spawn().expect("weir");
        let moved = comes(|| last_epoch(&job) > before || child.try_wait().expect("its state").is_some());
        child.kill().expect("the kill");
        let ended = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(moved && matches!(ended.status.code(), None | Some(0)), "{said}");
        kills += usize::from(!ended.status.success());
        // On a slow machine an epoch may take as long as the rest of the job.
        if finished(&job) {
            break;
        }
    }
    assert!(kills > 1, "the job was killed {kills} times only");
    if !finished(&job) {
        let last = job.run(&["--set", "parallelism.default=2"]).succeeded();
        assert!(last.err.contains("goes on after its last epoch"), "{}", last.err);
    }
    compare(&events, &job, &queries);
}

/// The events as text, in any order.
fn printed(parallelism: u64, options: &str) -> BTreeSet<String> {
    let job = Job::new(&format!("{}\nSELECT * FROM events;", tables(options)));
    let ran = job.run(&["--fresh", "--set", &format!("parallelism.default={parallelism}")]).succeeded();
    ran.rows().into_keys().collect()
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let one = printed(1, "");
    assert_eq!(one.len() as u64, EVENTS);
    assert!(one == printed(3, ""), "the events depend on the parallelism");
    assert!(one != printed(1, ", 'seed' = '2'"), "the seed changes nothing");
    // 1 person and 3 auctions in 50 events.
    let of_kind = |kind: &str| one.iter().filter(|row| row.starts_with(kind)).count() as u64;
    assert_eq!([of_kind("[0,"), of_kind("[1,"), of_kind("[2,")], [EVENTS / 50, EVENTS * 3 / 50, EVENTS * 46 / 50]);
}

/// Values do not depend on what else is read.
#[test]
fn a_query_that_reads_less_reads_the_same() {
    let of = |select: &str| {
        let job = Job::new(&format!("{}\n{select};", tables("")));
        job.run(&["--fresh"]).succeeded().rows()
    };
    let part = of("SELECT channel, extra FROM bid WHERE price > 50000000");
    let whole = of("SELECT bid.channel, bid.extra FROM events WHERE bid IS NOT NULL AND bid.price > 50000000");
    assert!(part.len() > 500 && part == whole, "{} {}", part.len(), whole.len());
}

/// The tables as they are published for Flink, with all options that its generator has in SQL.
#[test]
fn published_tables_are_taken() {
    let job = Job::new(
        "CREATE TABLE datagen (
           event_type int,
           person ROW<id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR,
             `dateTime` TIMESTAMP(3), extra VARCHAR>,
           auction ROW<id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT, `dateTime` TIMESTAMP(3),
             expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
           bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
           `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime` WHEN event_type = 1 THEN auction.`dateTime`
             ELSE bid.`dateTime` END,
           WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
         ) WITH (
           'connector' = 'nexmark', 'first-event.rate' = '10000', 'next-event.rate' = '10000', 'events.num' = '1000',
           'person.proportion' = '1', 'auction.proportion' = '3', 'bid.proportion' = '46', 'keep-alive' = 'false',
           'max-emit-speed' = 'true', 'rate.limited' = 'false', 'rate.shape' = 'SQUARE', 'rate.period' = '10 min',
           'person.avg-size' = '200b', 'auction.avg-size' = '500b', 'bid.avg-size' = '100b', 'bid.hot-ratio.auctions' = '2',
           'bid.hot-ratio.bidders' = '4', 'auction.hot-ratio.sellers' = '4');
         SELECT event_type, COUNT(*) FROM datagen GROUP BY event_type;",
    );
    let ran = job.run(&["--fresh"]).succeeded();
    let rows: Vec<String> = ran.rows().into_keys().collect();
    assert_eq!(rows, ["[0, 20]", "[1, 60]", "[2, 920]"]);
}

#[test]
fn mistakes_in_a_table_are_told() {
    for (columns, options, words) in [
        ("bids ROW<price BIGINT>", "", &["'nexmark' has no column 'bids'", "did you mean 'bid'?"][..]),
        ("bid ROW<pric BIGINT>", "", &["'bid' of 'nexmark' has no field 'pric'", "did you mean 'price'?"]),
        ("bid ROW<price INT>", "", &["field 'price' of 'bid' is INT", "declare it BIGINT"]),
        ("bid BIGINT", "", &["column 'bid' is BIGINT", "auction BIGINT, bidder BIGINT"]),
        ("event_type BIGINT", "", &["column 'event_type' is BIGINT", "declare it INT"]),
        ("event_type INT", ", 'bid.proportion' = '0'", &["'bid.proportion' is a whole number, 1 to 1000000, not '0'"]),
        ("event_type INT", ", 'bid.avg-size' = '1mb'", &["'bid.avg-size' is 1048576 bytes, more than 65536"]),
    ] {
        let job = Job::new(&format!(
            "CREATE TABLE t ({columns}) WITH ('connector' = 'nexmark', 'events.num' = '1' {options}); SELECT * FROM t;"
        ));
        job.run(&["--fresh"]).failed(2, words);
    }
}

fn bench(arguments: &[&str], folder: &Path) -> Ran {
    let mut command = Command::new(weir());
    command.args(["bench", "nexmark"]).args(arguments).current_dir(folder).output().expect("weir").into()
}

#[test]
fn the_benchmark_tells_what_each_query_took() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = ["--events", "2000", "--queries", "q0,13", "--parallelism", "2"];
    let ran = bench(&[&small[..], &["--format", "json"]].concat(), folder.path()).succeeded();
    let told: Json = serde_json::from_str(&ran.out).expect("JSON");
    for (i, query) in ["q0", "q13"].iter().enumerate() {
        let of = |key: &str| told[i][key].as_f64().unwrap_or_default();
        assert_eq!((told[i]["query"].as_str(), of("events")), (Some(*query), 2000.0));
        assert!(of("seconds") > 0.0 && of("cpu_seconds") > 0.0 && of("memory_bytes") > 1e6, "{told}");
    }
    let ran = bench(&[&small[..], &["--work", "kept"]].concat(), folder.path()).succeeded();
    let rows: Vec<&str> = ran.out.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(rows, ["query", "q0", "q13"], "{}", ran.out);
    assert!(folder.path().join("kept/q0/job.sql").is_file());
    // A query that fails is told, and the others are run.
    let failing = ["--queries", "q0,q1", "--events", "100", "--set", "parallelism.default=x"];
    bench(&failing, folder.path()).failed(6, &["q0: ", "q1: ", "these queries failed: q0, q1"]);
    bench(&["--queries", "q24"], folder.path()).failed(2, &["Nexmark has no query 'q24'"]);
    let script = bench(&["--queries", "q5", "--print", "--events", "7"], folder.path()).succeeded().out;
    assert!(script.contains("'events.num' = '7'") && script.contains("nexmark_q5"), "{script}");
}

/// Files are looked up in as they are when the job starts.
#[test]
fn rows_are_looked_up_in_files() {
    let run = |table: &str, join: &str| {
        let job = Job::new(&format!(
            "CREATE VIEW o AS SELECT id, PROCTIME() AS p FROM (VALUES (1), (2), (CAST(NULL AS INT)), (4)) AS x (id);
             CREATE TABLE d (id BIGINT, name STRING {table} 'path' = 'd', 'format' = 'csv', 'csv.null-literal' = 'NULL');
             SELECT o.id, d.name FROM o {join} JOIN d FOR SYSTEM_TIME AS OF o.p AS d ON o.id = d.id;"
        ));
        job.file("d/a.csv", "1,one\n2,two\nNULL,none\n");
        job.file("d/b.csv", "2,zwei\n");
        job.run(&["--fresh", "--set", "parallelism.default=2"])
    };
    let files = ") WITH ('connector' = 'filesystem',";
    let inner = run(files, "").succeeded().rows();
    assert_eq!(inner.into_keys().collect::<Vec<_>>(), ["[1, one]", "[2, two]", "[2, zwei]"]);
    let left = run(files, "LEFT").succeeded().rows();
    let wanted = ["[1, one]", "[2, two]", "[2, zwei]", "[4, null]", "[null, null]"];
    assert_eq!(left.into_keys().collect::<Vec<_>>(), wanted);
    run(&format!("{files} 'on-error' = 'dead-letter', 'dead-letter.table' = 'x',"), "").failed(2, &["are looked up"]);
    run(&format!("{files} 'source.monitor-interval' = '1 s',"), "").failed(2, &["are read once"]);
}
