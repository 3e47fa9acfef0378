//! Kafka in, Kafka and databases out, killed at any moment: nothing is lost, nothing is there twice. Read by Kafka's own
//! consumer and the databases' own clients. `WEIR_ROUNDS` sets how often each job is killed.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use weir_tests::http::Listening;
use weir_tests::servers::{Kafka, MariaDb, Postgres};
use weir_tests::services::Redis;
use weir_tests::{Job, comes, weir};

/// Rows of the topic; `WEIR_ROWS` sets more, for jobs that live through more kills.
fn rows() -> usize {
    std::env::var("WEIR_ROWS").ok().and_then(|r| r.parse().ok()).unwrap_or(800_000)
}

fn rounds() -> usize {
    std::env::var("WEIR_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(10)
}

/// Rows and bytes of each address.
type Sums = BTreeMap<String, (u64, u64)>;

/// The broker of all tests here, with the topic `log` in it, and what the topic's records add up to.
fn broker() -> &'static (Kafka, Sums) {
    static BROKER: OnceLock<(Kafka, Sums)> = OnceLock::new();
    BROKER.get_or_init(|| {
        let kafka = Kafka::start();
        kafka.topic("log", 4);
        let fill = Job::new(&format!(
            "CREATE TABLE file (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING)
               WITH ('connector' = 'filesystem', 'path' = 'log.csv', 'format' = 'csv');
             CREATE TABLE log (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING)
               WITH ('connector' = 'kafka', 'topic' = 'log', 'properties.bootstrap.servers' = '{}', 'format' = 'csv');
             INSERT INTO log SELECT * FROM file;",
            kafka.servers()
        ));
        let made = std::process::Command::new(weir())
            .args(["generate", "--broken", "0", "--rows", &rows().to_string(), "-o"])
            .arg(fill.path("log.csv"))
            .status();
        assert!(made.is_ok_and(|s| s.success()), "weir generate");
        fill.run(&[]).succeeded();
        let mut sums: Sums = BTreeMap::new();
        for line in std::fs::read_to_string(fill.path("log.csv")).expect("the log").lines() {
            let f: Vec<&str> = line.split(',').collect();
            let s = sums.entry(f[4].to_string()).or_default();
            *s = (s.0 + 1, s.1 + f[3].parse::<u64>().expect("a size"));
        }
        (kafka, sums)
    })
}

/// The source of all jobs here. `bounded` ends where the topic ends now.
fn source(kafka: &Kafka, bounded: bool) -> String {
    format!(
        "SET 'execution.checkpointing.interval' = '200ms';
         SET 'table.exec.mini-batch.size' = '500';
         CREATE TABLE log (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING)
           WITH ('connector' = 'kafka', 'topic' = 'log', 'properties.bootstrap.servers' = '{}', 'format' = 'csv',
                 'scan.startup.mode' = 'earliest-offset', {}
                 'properties.group.id' = 'tools');",
        kafka.servers(),
        if bounded { "'scan.bounded.mode' = 'latest-offset'," } else { "" }
    )
}

/// Moments that differ from run to run.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        Moments(u64::from(std::process::id()) | 1)
    }
    fn next(&mut self, low: u64, high: u64) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(low + (self.0 >> 33) % (high - low))
    }
}

fn start(job: &Job, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(job.path("log.txt")).expect("a log");
    let mut command = job.command(arguments);
    command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("weir")
}

/// Kills the job over and over, then lets it come to its end. Until then it reads slowly, so that it lives through the kills.
fn killed(job: &Job) -> usize {
    let mut moments = Moments::new();
    let mut kills = 0;
    for _ in 0..rounds() {
        let mut child = start(job, &[], &[("WEIR_FAILPOINTS", "source-poll=sleep(100)")]);
        // At a moment that nobody has chosen: that is what is tested.
        std::thread::sleep(moments.next(250, 1000));
        if child.try_wait().expect("its state").is_none() {
            kills += 1;
        }
        let _ = child.kill();
        let _ = child.wait();
        let status = std::fs::read_to_string(job.path(".weir/job/job.json")).unwrap_or_default();
        if status.contains("\"finished\": true") {
            println!("killed {kills} times");
            return kills;
        }
    }
    job.run(&[]).succeeded();
    println!("killed {kills} times");
    kills
}

/// The records of a topic that are committed, in the order of each partition: key and value.
fn committed(kafka: &Kafka, topic: &str) -> Vec<(String, String)> {
    let keyed = ["--property", "print.key=true", "--property", "key.separator=|"];
    let out = kafka.read(topic, &[&["--isolation-level", "read_committed"][..], &keyed].concat());
    let pairs = out.lines().filter_map(|l| l.split_once('|'));
    pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn kafka_to_kafka_under_kills() {
    let (kafka, sums) = broker();
    kafka.topic("rows", 3);
    kafka.topic("sums", 3);
    let job = Job::new(&format!(
        "{}
         CREATE TABLE big (uuid STRING, response_size BIGINT) WITH ('connector' = 'kafka', 'topic' = 'rows',
           'properties.bootstrap.servers' = '{servers}', 'key.format' = 'raw', 'key.fields' = 'uuid', 'format' = 'json',
           'sink.delivery-guarantee' = 'exactly-once');
         CREATE TABLE sums (uri STRING, n BIGINT, s BIGINT, PRIMARY KEY (uri) NOT ENFORCED) WITH (
           'connector' = 'upsert-kafka', 'topic' = 'sums', 'properties.bootstrap.servers' = '{servers}',
           'key.format' = 'raw', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
         INSERT INTO big SELECT uuid, response_size FROM log WHERE response_size >= 900000;
         INSERT INTO sums SELECT uri, COUNT(*), SUM(response_size) FROM log GROUP BY uri;",
        source(kafka, true),
        servers = kafka.servers(),
    ));
    let kills = killed(&job);
    assert!(kills > 0, "no kill hit the job: {}", std::fs::read_to_string(job.path("log.txt")).unwrap_or_default());
    let mut last: Sums = BTreeMap::new();
    for (key, value) in committed(kafka, "sums") {
        let v: serde_json::Value = serde_json::from_str(&value).expect("JSON");
        let now = (v["n"].as_u64().expect("n"), v["s"].as_u64().expect("s"));
        let before = last.insert(key.clone(), now).unwrap_or_default();
        assert!(before.0 < now.0, "{key}: an update is there twice, or out of order: {before:?}, {now:?}");
    }
    assert_eq!(&last, sums, "after {kills} kills");
    let rows = committed(kafka, "rows");
    let keys: std::collections::BTreeSet<&String> = rows.iter().map(|(k, _)| k).collect();
    assert_eq!(keys.len(), rows.len(), "rows are there twice");
    let wanted = Job::new(&format!(
        "{} SET 'execution.runtime-mode' = 'batch'; SELECT COUNT(*) FROM log WHERE response_size >= 900000;",
        source(kafka, true)
    ));
    assert_eq!(wanted.run(&[]).succeeded().out, format!("+I[{}]\n", rows.len()));
}

/// Every committed count of a key in a topic is greater than the one before it, and the last one is right.
fn each_once(kafka: &Kafka, topic: &str, sums: &Sums) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (key, value) in committed(kafka, topic) {
        let v: serde_json::Value = serde_json::from_str(&value).expect("JSON");
        let now = v["n"].as_u64().expect("n");
        let before = last.insert(key.clone(), now).unwrap_or_default();
        assert!(before < now, "{key}: an update is there twice: {before}, {now}");
    }
    assert_eq!(last, sums.iter().map(|(k, v)| (k.clone(), v.0)).collect());
}

fn into_database(kafka: &Kafka, url: &str, user: &str) -> Job {
    Job::new(&format!(
        "{}
         CREATE TABLE sums (uri STRING, n BIGINT, s BIGINT, PRIMARY KEY (uri) NOT ENFORCED)
           WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'sums', 'username' = '{user}');
         CREATE TABLE big (uuid STRING, response_size BIGINT)
           WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'big', 'username' = '{user}');
         INSERT INTO sums SELECT uri, COUNT(*), SUM(response_size) FROM log GROUP BY uri;
         INSERT INTO big SELECT uuid, response_size FROM log WHERE response_size >= 900000;",
        source(kafka, true)
    ))
}

fn table(rows: &str) -> Sums {
    let lines = rows.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    lines.map(|f| (f[0].to_string(), (f[1].parse().expect("n"), f[2].parse().expect("s")))).collect()
}

const TABLES: &str = "CREATE TABLE sums (uri VARCHAR(200) PRIMARY KEY, n BIGINT, s BIGINT);
                      CREATE TABLE big (uuid VARCHAR(64), response_size BIGINT);";

/// Kills the job into a database, which says `yes` for true, and asks the database what came of it.
fn into_database_under_kills(url: &str, user: &str, yes: &str, sql: impl Fn(&str) -> String) {
    let (kafka, sums) = broker();
    sql(TABLES);
    let kills = killed(&into_database(kafka, url, user));
    assert!(kills > 0, "no kill hit the job");
    assert_eq!(&table(&sql("SELECT uri, n, s FROM sums")), sums, "after {kills} kills");
    let counts = sql("SELECT COUNT(*) = COUNT(DISTINCT uuid), COUNT(*) > 1000 FROM big");
    assert_eq!(counts, format!("{yes}\t{yes}\n"), "rows without a key are there once");
}

#[test]
fn kafka_to_mariadb_under_kills() {
    let db = MariaDb::start();
    into_database_under_kills(&db.url(), "root", "1", |sql| db.sql(sql));
}

#[test]
fn kafka_to_postgres_under_kills() {
    let db = Postgres::start();
    into_database_under_kills(&db.url(), "postgres", "t", |sql| db.sql(sql));
}

/// Groups of groups come and go within an epoch. Killed over and over, no key stays behind in what is written at least once.
#[test]
fn keys_that_went_are_gone_at_least_once() {
    let (kafka, sums) = broker();
    let (db, redis) = (MariaDb::start(), Redis::start());
    db.sql("CREATE TABLE counts (n BIGINT PRIMARY KEY, uris BIGINT)");
    kafka.topic("counts", 2);
    let job = Job::new(&format!(
        "{}
         CREATE VIEW counted AS SELECT n, COUNT(*) AS uris FROM (SELECT uri, COUNT(*) AS n FROM log GROUP BY uri) GROUP BY n;
         CREATE TABLE into_topic (n BIGINT, uris BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH (
           'connector' = 'upsert-kafka', 'topic' = 'counts', 'properties.bootstrap.servers' = '{}',
           'key.format' = 'csv', 'value.format' = 'json', 'sink.delivery-guarantee' = 'at-least-once');
         CREATE TABLE into_table (n BIGINT, uris BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = '{}',
           'table-name' = 'counts', 'username' = 'root', 'sink.delivery-guarantee' = 'at-least-once');
         CREATE TABLE into_redis (n BIGINT, uris BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'redis', 'url' = '{}',
           'password' = 'secret', 'value.type' = 'string');
         INSERT INTO into_topic SELECT * FROM counted;
         INSERT INTO into_table SELECT * FROM counted;
         INSERT INTO into_redis SELECT * FROM counted;",
        source(kafka, true),
        kafka.servers(),
        db.url(),
        redis.url()
    ));
    for step in ["kafka-produced", "database-written", "redis-write"] {
        let mut child = start(&job, &[], &[("WEIR_FAILPOINTS", &format!("{step}=abort@2"))]);
        assert!(!child.wait().expect("its end").success(), "{step} was never reached");
    }
    let kills = killed(&job);
    let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
    sums.values().for_each(|(n, _)| *wanted.entry(*n).or_default() += 1);
    let number = |t: &str| t.trim().parse::<u64>().unwrap_or_else(|_| panic!("'{t}' is no number"));
    let rows = db.sql("SELECT n, uris FROM counts");
    let rows = rows.lines().filter_map(|l| l.split_once('\t')).map(|(n, u)| (number(n), number(u)));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), wanted, "the table after {kills} kills");
    let keys = redis.says(&["KEYS", "*"]);
    // Beside the rows lies a key that says which run writes.
    let rows =
        keys.lines().filter(|k| !k.starts_with("weir:owner:")).map(|k| (number(k), number(&redis.says(&["GET", k]))));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), wanted, "Redis after {kills} kills");
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, value) in committed(kafka, "counts") {
        let n = number(&key);
        match value.as_str() {
            "null" => drop(rows.remove(&n)),
            v => {
                let v: serde_json::Value = serde_json::from_str(v).expect("JSON");
                rows.insert(n, v["uris"].as_u64().expect("a number"));
            }
        }
    }
    assert_eq!(rows, wanted, "the topic after {kills} kills");
}

/// Every step of the protocol: the process ends right there, and another one goes on.
#[test]
fn killed_at_every_step() {
    let (kafka, sums) = broker();
    let db = MariaDb::start();
    db.sql(TABLES);
    kafka.topic("steps", 2);
    let job = Job::new(&format!(
        "{}
         CREATE TABLE into_topic (uri STRING, n BIGINT, s BIGINT, PRIMARY KEY (uri) NOT ENFORCED) WITH (
           'connector' = 'upsert-kafka', 'topic' = 'steps', 'properties.bootstrap.servers' = '{}',
           'key.format' = 'raw', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
         CREATE TABLE sums (uri STRING, n BIGINT, s BIGINT, PRIMARY KEY (uri) NOT ENFORCED)
           WITH ('connector' = 'jdbc', 'url' = '{}', 'table-name' = 'sums', 'username' = 'root');
         INSERT INTO into_topic SELECT uri, COUNT(*), SUM(response_size) FROM log GROUP BY uri;
         INSERT INTO sums SELECT uri, COUNT(*), SUM(response_size) FROM log GROUP BY uri;",
        source(kafka, true),
        kafka.servers(),
        db.url()
    ));
    let steps = [
        "kafka-fenced",
        "kafka-transaction",
        "kafka-produced",
        "kafka-marked",
        "kafka-committed",
        "database-transaction",
        "database-written",
        "database-committed",
    ];
    for step in steps {
        let mut child = start(&job, &[], &[("WEIR_FAILPOINTS", &format!("{step}=abort@1"))]);
        let ended = child.wait().expect("its end");
        assert!(
            !ended.success(),
            "{step} was never reached: {}",
            std::fs::read_to_string(job.path("log.txt")).unwrap_or_default()
        );
    }
    job.run(&[]).succeeded();
    assert_eq!(&table(&db.sql("SELECT uri, n, s FROM sums")), sums);
    each_once(kafka, "steps", sums);
}

/// A process is stopped in the middle of a transaction; another one takes over with a copy of the state; the first is woken.
#[test]
fn a_process_that_was_replaced_writes_nothing() {
    let (kafka, sums) = broker();
    kafka.topic("taken", 1);
    let script = format!(
        "{}
         CREATE TABLE taken (uri STRING, n BIGINT, PRIMARY KEY (uri) NOT ENFORCED) WITH (
           'connector' = 'upsert-kafka', 'topic' = 'taken', 'properties.bootstrap.servers' = '{}',
           'properties.transaction.timeout.ms' = '15000',
           'key.format' = 'raw', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
         INSERT INTO taken SELECT uri, COUNT(*) FROM log GROUP BY uri;",
        source(kafka, true),
        kafka.servers()
    );
    let (first, second) = (Job::new(&script), Job::new(&script));
    let mut child = start(&first, &[], &[("WEIR_FAILPOINTS", "kafka-marked=sleep(8000)@2")]);
    let pid = child.id() as i32;
    // Waits until the transaction is open: the second one, which sleeps before its commit.
    let epoch = |job: &Job| std::fs::read_dir(job.path(".weir/job/epochs")).map_or(0, Iterator::count);
    assert!(comes(|| epoch(&first) >= 2), "the second epoch has not come");
    let transactions = || kafka.tool("org.apache.kafka.tools.TransactionsCommand", &["list"]);
    assert!(comes(|| transactions().contains("Ongoing")), "no transaction is open: {}", transactions());
    // SAFETY: the process is a child of this one.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    let copied = std::process::Command::new("cp").arg("-a").arg(first.path(".weir")).arg(second.path(".weir")).status();
    assert!(copied.is_ok_and(|s| s.success()), "the state is copied");
    second.run(&[]).succeeded();
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    let ended = child.wait().expect("its end");
    let said = std::fs::read_to_string(first.path("log.txt")).unwrap_or_default();
    assert_eq!(ended.code(), Some(5), "{said}");
    assert!(said.contains("another process has taken this job over"), "{said}");
    each_once(kafka, "taken", sums);
}

/// A process sleeps, another one takes over with a copy of its state, and has nothing to write. The first one wakes: from the mark it
/// learns that the job is not its own any more, before it has written anything.
fn who_was_replaced_takes_nothing_back(kafka: &Kafka, topic: &str, sink: &str, there: impl Fn() -> Vec<String>) {
    kafka.topic(topic, 1);
    let servers = kafka.servers();
    let source = format!(
        "CREATE TABLE n (v BIGINT) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json',
           'properties.bootstrap.servers' = '{servers}', 'scan.startup.mode' = 'earliest-offset');"
    );
    let feed = |from: u64, to: u64| {
        let rows = to - from + 1;
        let job = Job::new(&format!(
            "{source} CREATE TABLE s (v BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}',
               'fields.v.kind' = 'sequence', 'fields.v.start' = '{from}', 'fields.v.end' = '{to}');
             INSERT INTO n SELECT v FROM s;"
        ));
        job.run(&[]).succeeded();
    };
    let script =
        format!("{source} {sink} SET 'execution.checkpointing.interval' = '200ms'; INSERT INTO o SELECT v FROM n;");
    let (first, second) = (Job::new(&script), Job::new(&script));
    let ready = |j: &Listening| j.ask("GET", "/health/ready", &[], "").status == 200;
    let taken = |j: &Listening| j.metric("weir_operator_rows_in_total", &["operator=\"sink o\""]);
    feed(1, 1000);
    let mut sleeper = Listening::start(&first, &[], &[]);
    sleeper.until("work", ready);
    sleeper.until("rows", |j| taken(j) == 1000.0);
    assert!(comes(|| there().len() == 1000), "{}", sleeper.said());
    // SAFETY: the processes are children of this one, here and below.
    unsafe { libc::kill(sleeper.id(), libc::SIGSTOP) };
    let copied = std::process::Command::new("cp").arg("-a").arg(first.path(".weir")).arg(second.path(".weir")).status();
    assert!(copied.is_ok_and(|s| s.success()), "the state is copied");
    let mut newer = Listening::start(&second, &[], &[]);
    newer.until("work", ready);
    unsafe { libc::kill(sleeper.id(), libc::SIGCONT) };
    feed(1001, 2000);
    assert_eq!(sleeper.ends(), Some(5), "{}", sleeper.said());
    assert!(sleeper.said().contains("another process has taken this job over"), "{}", sleeper.said());
    // At least once, the first thousand may come again.
    newer.until("rows", |j| taken(j) >= 1000.0);
    assert!(comes(|| there().len() >= 2000), "{}", newer.said());
    unsafe { libc::kill(newer.id(), libc::SIGTERM) };
    assert_eq!(newer.ends(), Some(0), "{}", newer.said());
    let mut rows: Vec<u64> = there().iter().map(|v| v.trim().parse().expect("a number")).collect();
    rows.sort_unstable();
    assert!(rows == (1..=2000).collect::<Vec<_>>(), "{} rows: {}", rows.len(), newer.said());
}

#[test]
fn a_topic_is_not_taken_back() {
    let (kafka, _) = broker();
    kafka.topic("kept", 1);
    let servers = kafka.servers();
    let sink = format!(
        "CREATE TABLE o (v BIGINT) WITH ('connector' = 'kafka', 'topic' = 'kept', 'properties.bootstrap.servers' = '{servers}',
           'key.format' = 'raw', 'key.fields' = 'v', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');"
    );
    let there = || {
        let rows = committed(kafka, "kept").into_iter();
        rows.map(|(_, v)| v.chars().filter(char::is_ascii_digit).collect()).collect()
    };
    who_was_replaced_takes_nothing_back(kafka, "kept-in", &sink, there);
}

#[test]
fn a_table_is_not_taken_back() {
    let (kafka, _) = broker();
    let db = MariaDb::start();
    db.sql("CREATE TABLE kept (v BIGINT);");
    let sink = format!(
        "CREATE TABLE o (v BIGINT) WITH ('connector' = 'jdbc', 'url' = '{}', 'table-name' = 'kept', 'username' = 'root');",
        db.url()
    );
    let there = || db.sql("SELECT v FROM kept").lines().map(str::to_string).collect();
    who_was_replaced_takes_nothing_back(kafka, "kept-in-db", &sink, there);
}

/// At least once, too, where the database has a mark: the rows are by key, so that those of an epoch that is repeated do not count.
#[test]
fn rows_at_least_once_are_not_taken_back() {
    let (kafka, _) = broker();
    let db = Postgres::start();
    db.sql("CREATE TABLE kept (v BIGINT PRIMARY KEY);");
    let sink = format!(
        "CREATE TABLE o (v BIGINT, PRIMARY KEY (v) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = '{}', 'table-name' = 'kept',
           'username' = 'postgres', 'sink.delivery-guarantee' = 'at-least-once', 'sink.buffer-flush.max-rows' = '1');",
        db.url()
    );
    let there = || db.sql("SELECT v FROM kept").lines().map(str::to_string).collect();
    who_was_replaced_takes_nothing_back(kafka, "kept-by-key", &sink, there);
}

#[test]
fn rows_in_redis_are_not_taken_back() {
    let (kafka, _) = broker();
    let redis = Redis::start();
    let sink = format!(
        "CREATE TABLE o (v BIGINT, PRIMARY KEY (v) NOT ENFORCED) WITH ('connector' = 'redis', 'url' = '{}', 'password' = 'secret',
           'key-prefix' = 'kept:');",
        redis.url()
    );
    let there = || {
        let keys = redis.says(&["KEYS", "kept:*"]);
        keys.lines().filter_map(|k| k.strip_prefix("kept:")).map(str::to_string).collect()
    };
    who_was_replaced_takes_nothing_back(kafka, "kept-in-redis", &sink, there);
}

/// The cluster ends a transaction that takes too long; its rows are written again, and nobody else is blamed.
#[test]
fn a_transaction_that_takes_too_long_is_written_again() {
    let (kafka, sums) = broker();
    kafka.topic("late", 1);
    let job = Job::new(&format!(
        "{}
         CREATE TABLE late (uri STRING, n BIGINT, PRIMARY KEY (uri) NOT ENFORCED) WITH (
           'connector' = 'upsert-kafka', 'topic' = 'late', 'properties.bootstrap.servers' = '{}',
           'properties.transaction.timeout.ms' = '2000',
           'key.format' = 'raw', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
         INSERT INTO late SELECT uri, COUNT(*) FROM log GROUP BY uri;",
        source(kafka, true),
        kafka.servers()
    ));
    let mut command = job.command(&[]);
    let ran: weir_tests::Ran =
        command.env("WEIR_FAILPOINTS", "kafka-marked=sleep(12000)@2").output().expect("weir").into();
    let ran = ran.succeeded();
    assert!(ran.err.contains("a transaction that took too long"), "{}", ran.err);
    each_once(kafka, "late", sums);
}

/// The broker is killed and comes back, twice, while the job goes on; the job waits for it and loses nothing.
#[test]
fn a_broker_that_goes_away_is_waited_for() {
    let mut kafka = Kafka::start();
    kafka.topic("in", 2);
    kafka.topic("out", 2);
    let servers = kafka.servers();
    let table = |name: &str, more: &str| {
        format!(
            "CREATE TABLE {name}_t (n BIGINT) WITH ('connector' = 'kafka', 'topic' = '{name}',
               'properties.bootstrap.servers' = '{servers}', 'format' = 'raw' {more});"
        )
    };
    let fill = |first: usize, last: usize| {
        let script = format!(
            "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{}', 'rows-per-second' = '1000000',
               'fields.n.kind' = 'sequence', 'fields.n.start' = '{first}', 'fields.n.end' = '{last}');
             {} INSERT INTO in_t SELECT n FROM n;",
            last - first + 1,
            table("in", "")
        );
        Job::new(&script).run(&[]).succeeded();
    };
    // It reads on for ever, slowly, and gets rows before each outage: one that has read all would not notice.
    let job = Job::new(&format!(
        "SET 'execution.checkpointing.interval' = '100ms'; SET 'table.exec.mini-batch.size' = '100'; {} {}
         INSERT INTO out_t SELECT n FROM in_t;",
        table("in", ", 'scan.startup.mode' = 'earliest-offset'"),
        table("out", ", 'sink.delivery-guarantee' = 'exactly-once'"),
    ));
    let mut running = Listening::start(&job, &[], &[("WEIR_FAILPOINTS", "source-poll=sleep(10)")]);
    let taken = |j: &Listening| j.metric("weir_operator_rows_in_total", &["operator=\"sink out_t\""]);
    for half in 0..2 {
        let before = taken(&running);
        fill(half * 100_000 + 1, (half + 1) * 100_000);
        running.until("rows", |j| taken(j) > before);
        kafka.restart(Duration::from_secs(3));
    }
    let read = Job::new(&format!(
        "SET 'execution.runtime-mode' = 'batch'; {} SELECT COUNT(*), COUNT(DISTINCT n), MIN(n), MAX(n) FROM out_t;",
        table("out", ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'")
    ));
    running.until("all rows", |_| read.run(&[]).succeeded().out.starts_with("+I[200000, "));
    // SAFETY: the process is a child of this one.
    unsafe { libc::kill(running.id(), libc::SIGTERM) };
    assert_eq!(running.ends(), Some(0), "{}", running.said());
    assert_eq!(read.run(&[]).succeeded().out, "+I[200000, 200000, 1, 200000]\n", "{}", running.said());
}

/// A savepoint of a running job starts it elsewhere, with another parallelism, as a timeline of its own; the old one is over.
#[test]
fn a_savepoint_goes_on_elsewhere() {
    let (kafka, sums) = broker();
    let db = MariaDb::start();
    db.sql(TABLES);
    kafka.topic("saved", 2);
    let script = format!(
        "{}
         CREATE TABLE into_topic (uri STRING, n BIGINT, s BIGINT, PRIMARY KEY (uri) NOT ENFORCED) WITH (
           'connector' = 'upsert-kafka', 'topic' = 'saved', 'properties.bootstrap.servers' = '{}',
           'key.format' = 'raw', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
         CREATE TABLE sums (uri STRING, n BIGINT, s BIGINT, PRIMARY KEY (uri) NOT ENFORCED)
           WITH ('connector' = 'jdbc', 'url' = '{}', 'table-name' = 'sums', 'username' = 'root');
         INSERT INTO into_topic SELECT uri, COUNT(*), SUM(response_size) FROM log GROUP BY uri;
         INSERT INTO sums SELECT uri, COUNT(*), SUM(response_size) FROM log GROUP BY uri;",
        source(kafka, true),
        kafka.servers(),
        db.url()
    );
    let (first, second) = (Job::new(&script), Job::new(&script));
    let mut child = start(&first, &["--set", "parallelism.default=2"], &[]);
    let there = || db.sql("SELECT COUNT(*) FROM sums").trim().parse::<u64>().unwrap_or(0);
    assert!(comes(|| there() > 0), "no row has come");
    let saved =
        std::process::Command::new(weir()).arg("savepoint").arg(first.path("job.sql")).arg(first.path("kept")).output();
    let saved: weir_tests::Ran = saved.expect("weir savepoint").into();
    let file = saved.succeeded().out.trim().to_string();
    child.kill().expect("it runs");
    let _ = child.wait();
    second.run(&["--from", &file, "--set", "parallelism.default=3"]).succeeded();
    assert_eq!(&table(&db.sql("SELECT uri, n, s FROM sums")), sums);
    // Within the new timeline every update follows the one before; the last of each key is right.
    let mut last: Sums = BTreeMap::new();
    for (key, value) in committed(kafka, "saved") {
        let v: serde_json::Value = serde_json::from_str(&value).expect("JSON");
        last.insert(key, (v["n"].as_u64().expect("n"), v["s"].as_u64().expect("s")));
    }
    assert_eq!(&last, sums);
    first.run(&[]).failed(5, &["not of one history", "another run of this job"]);
    second.run(&["--from", "nowhere"]).failed(2, &["cannot read nowhere"]);
}
