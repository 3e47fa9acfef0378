//! Redis, ClickHouse, webhooks, and savepoints in an object store: what goes there, and what becomes of everything that is not
//! as it should be.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use weir_tests::servers::{MariaDb, Postgres};
use weir_tests::services::{ClickHouse, Listener, Redis, S3};
use weir_tests::{Job, Ran, comes};

fn redis() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(Redis::start)
}

fn clickhouse() -> &'static ClickHouse {
    static SERVER: OnceLock<ClickHouse> = OnceLock::new();
    SERVER.get_or_init(ClickHouse::start)
}

const ONCE: &[&str] = &["--set", "parallelism.default=1", "--set", "restart-strategy.type=none"];

fn run(script: &str) -> Ran {
    Job::new(script).run(ONCE)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn in_redis(more: &str) -> String {
    format!("WITH ('connector' = 'redis', 'url' = '{}', 'password' = 'secret', {more})", redis().url())
}

#[test]
fn rows_lie_in_redis_as_hashes() {
    let dim = format!(
        "CREATE TABLE dim (region STRING, id INT, name STRING, rate DOUBLE, since TIMESTAMP(3), PRIMARY KEY (id, region) NOT ENFORCED) {};",
        in_redis("'key-prefix' = 'dim:', 'sink.ttl' = '1 h'")
    );
    run(&format!(
        "{dim} INSERT INTO dim VALUES ('eu', 1, 'ä', 0.5, TIMESTAMP '2026-01-02 03:04:05.678'),
           ('us', 1, CAST(NULL AS STRING), 2.0, CAST(NULL AS TIMESTAMP(3))), ('eu', 1, 'ö', CAST(NULL AS DOUBLE),
           TIMESTAMP '2026-01-02 03:04:05.678');"
    ))
    .succeeded();
    // The primary key's order names the rows, and what is NULL later is gone.
    assert_eq!(sorted(&redis().says(&["KEYS", "dim:*"])), ["dim:1:eu", "dim:1:us"]);
    assert_eq!(redis().says(&["HGET", "dim:1:eu", "name"]), "ö\n");
    assert_eq!(redis().says(&["HEXISTS", "dim:1:eu", "rate"]), "0\n");
    let ttl: u32 = redis().says(&["TTL", "dim:1:eu"]).trim().parse().expect("a number");
    assert!((3_000..=3_600).contains(&ttl), "{ttl}");
    let ran = run(&format!(
        "{dim} CREATE VIEW o AS SELECT id, region, PROCTIME() AS p FROM (VALUES (1, 'eu'), (1, 'us'), (2, 'eu')) AS x (id, region);
         SELECT o.id, o.region, d.name, d.rate, d.since FROM o LEFT JOIN dim FOR SYSTEM_TIME AS OF o.p AS d
         ON d.region = o.region AND d.id = o.id;"
    ))
    .succeeded();
    assert_eq!(
        sorted(&ran.out),
        ["+I[1, eu, ö, null, 2026-01-02T03:04:05.678]", "+I[1, us, null, 2.0, null]", "+I[2, eu, null, null, null]"]
    );
    // Keys of several parts are told apart; rows that have nothing else, or NULL there, are there.
    for (p, table, more) in [("k", "a STRING, b STRING", ""), ("l", "a STRING, b STRING, n INT", ", CAST(NULL AS INT)")]
    {
        let keys = format!(
            "CREATE TABLE keys ({table}, PRIMARY KEY (a, b) NOT ENFORCED) {};",
            in_redis(&format!("'key-prefix' = '{p}:'"))
        );
        run(&format!("{keys} INSERT INTO keys VALUES ('a:b', 'c' {more}), ('a', 'b:c' {more}), ('\\', ':' {more});"))
            .succeeded();
        let names = ["\\\\:\\:", "a:b\\:c", "a\\:b:c"].map(|n| format!("{p}:{n}"));
        assert_eq!(sorted(&redis().says(&["KEYS", &format!("{p}:*")])), names);
        let ran = run(&format!(
            "{keys} CREATE VIEW o AS SELECT a, b, PROCTIME() AS p
               FROM (VALUES ('a:b', 'c'), ('a', 'b:c'), ('\\', ':'), ('\\:', ''), ('a', 'b')) AS x (a, b);
             SELECT d.a, d.b FROM o JOIN keys FOR SYSTEM_TIME AS OF o.p AS d ON d.a = o.a AND d.b = o.b;"
        ))
        .succeeded();
        assert_eq!(sorted(&ran.out), ["+I[\\, :]", "+I[a, b:c]", "+I[a:b, c]"]);
    }
    let glued = "CREATE TABLE k (a STRING, b STRING, PRIMARY KEY (a, b) NOT ENFORCED)";
    run(&format!("{glued} {}; INSERT INTO k VALUES ('a', 'b');", in_redis("'key-delimiter' = ''")))
        .failed(2, &["'key-delimiter'", "apart"]);
    run(&format!("{glued} {}; INSERT INTO k VALUES ('a', 'b');", in_redis("'tls.verify' = 'true'")))
        .failed(2, &["over a connection without TLS", "rediss://"]);
    // Only the whole key finds a row.
    let ran = run(&format!(
        "{dim} CREATE VIEW o AS SELECT id, PROCTIME() AS p FROM (VALUES (1)) AS x (id);
         SELECT d.name FROM o JOIN dim FOR SYSTEM_TIME AS OF o.p AS d ON d.id = o.id;"
    ));
    ran.failed(2, &["lie in Redis by (id, region)"]);
}

#[test]
fn rows_lie_in_redis_as_strings_and_follow_changes() {
    let plain = format!(
        "CREATE TABLE t (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};",
        in_redis("'key-prefix' = 'n:', 'value.type' = 'string'")
    );
    let job = Job::new(&format!(
        "CREATE TABLE c (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'c.json', 'format' = 'debezium-json');
         {plain} INSERT INTO t SELECT k, SUM(v) FROM c GROUP BY k;"
    ));
    job.file(
        "c.json",
        r#"{"before":null,"after":{"k":"a","v":1},"op":"c"}
{"before":null,"after":{"k":"a","v":2},"op":"c"}
{"before":null,"after":{"k":"b","v":9},"op":"c"}
{"before":{"k":"b","v":9},"after":null,"op":"d"}
"#,
    );
    job.run(ONCE).succeeded();
    assert_eq!(redis().says(&["GET", "n:a"]), "3\n");
    assert_eq!(redis().says(&["EXISTS", "n:b"]), "0\n");
    let json = format!(
        "CREATE TABLE j (k STRING, a INT, b ARRAY<STRING>, PRIMARY KEY (k) NOT ENFORCED) {};",
        in_redis("'key-prefix' = 'j:', 'format' = 'json'")
    );
    run(&format!("{json} INSERT INTO j VALUES ('x', 1, ARRAY['p', 'q']);")).succeeded();
    assert_eq!(redis().says(&["GET", "j:x"]), "{\"a\":1,\"b\":[\"p\",\"q\"]}\n");
    let lookup = "CREATE VIEW o AS SELECT k, PROCTIME() AS p FROM (VALUES ('x'), ('y')) AS x (k);
         SELECT o.k, d.b, d.k, d.a FROM o JOIN j FOR SYSTEM_TIME AS OF o.p AS d ON d.k = o.k;";
    assert_eq!(run(&format!("{json} {lookup}")).succeeded().out, "+I[x, [p, q], x, 1]\n");
    redis().says(&["SET", "j:y", "nonsense"]);
    run(&format!("{json} {lookup}")).failed(3, &["'j:y'", "not JSON"]);
    redis().says(&["DEL", "j:y"]);
    let ran = run(&format!("{plain} INSERT INTO t VALUES ('z', 1);").replace("'secret'", "'wrong'"));
    ran.failed(2, &["check 'username' and 'password'"]);
    redis().says(&["SET", "h:q", "text"]);
    let hash = format!(
        "CREATE TABLE t (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};",
        in_redis("'key-prefix' = 'h:'")
    );
    run(&format!("{hash} INSERT INTO t VALUES ('q', 1);")).failed(3, &["WRONGTYPE", "key-prefix"]);
    let nowhere = hash
        .replace(&redis().url(), "redis://127.0.0.1:1/0")
        .replace("'password'", "'sink.max-retries' = '0', 'password'");
    let ttl = hash.replace("'password'", "'sink.ttl' = '0 s', 'password'");
    run(&format!("{ttl} INSERT INTO t VALUES ('q', 1);")).failed(2, &["'sink.ttl'", "longer than nothing"]);
    let skipping = hash.replace("'password'", "'on-error' = 'skip', 'password'");
    run(&format!("{skipping} INSERT INTO t VALUES ('q', 1);")).failed(2, &["no row of", "leave 'on-error' out"]);
    // What is no UTF-8 is not nothing.
    redis().says(&["EVAL", "return redis.call('SET', KEYS[1], 'a\\255b')", "1", "u:x"]);
    let ran = run(&format!(
        "CREATE TABLE t (k STRING, v STRING, PRIMARY KEY (k) NOT ENFORCED) {};
         CREATE VIEW o AS SELECT k, PROCTIME() AS p FROM (VALUES ('x')) AS x (k);
         SELECT d.v FROM o JOIN t FOR SYSTEM_TIME AS OF o.p AS d ON d.k = o.k;",
        in_redis("'key-prefix' = 'u:', 'value.type' = 'string'")
    ));
    assert_eq!(ran.succeeded().out, "+I[a\u{FFFD}b]\n");
    run(&format!("{nowhere} INSERT INTO t VALUES ('q', 1);"))
        .failed(6, &["redis://127.0.0.1:1/0", "check that the address"]);
}

fn in_clickhouse(table: &str, more: &str) -> String {
    format!("WITH ('connector' = 'clickhouse', 'url' = '{}', 'table-name' = '{table}'{more})", clickhouse().url())
}

#[test]
fn rows_go_to_clickhouse() {
    let c = clickhouse();
    c.sql(
        "CREATE TABLE default.types (id Int64, s Nullable(String), d Decimal(20, 4), ts DateTime64(3, 'UTC'),
           l DateTime64(3, 'UTC'), a Array(Int32), b Bool) ENGINE = MergeTree ORDER BY id",
    );
    let table = format!(
        "CREATE TABLE t (id BIGINT, s STRING, d DECIMAL(20, 4), ts TIMESTAMP(3), l TIMESTAMP_LTZ(3), a ARRAY<INT>, b BOOLEAN) {};",
        in_clickhouse("types", "")
    );
    c.refuse_once();
    run(&format!(
        "{table} INSERT INTO t VALUES
           (9007199254740993, 'it''s ä \"', 1234567890123456.7891, TIMESTAMP '2026-01-02 03:04:05.678',
            CAST(TIMESTAMP '2026-01-02 03:04:05.678' AS TIMESTAMP_LTZ(3)), ARRAY[1, 2], TRUE),
           (2, CAST(NULL AS STRING), -0.0001, TIMESTAMP '1999-01-01 00:00:00', CAST(TIMESTAMP '1999-01-01 00:00:00' AS TIMESTAMP_LTZ(3)),
            ARRAY[3], FALSE);"
    ))
    .succeeded();
    assert_eq!(
        c.sql("SELECT * FROM default.types ORDER BY id FORMAT TSVRaw"),
        "2\t\\N\t-0.0001\t1999-01-01 00:00:00.000\t1999-01-01 00:00:00.000\t[3]\tfalse\n\
         9007199254740993\tit's ä \"\t1234567890123456.7891\t2026-01-02 03:04:05.678\t2026-01-02 03:04:05.678\t[1,2]\ttrue\n"
    );
    run(&format!(
        "{} INSERT INTO t VALUES (1);",
        "CREATE TABLE t (idd BIGINT) ".to_string() + &in_clickhouse("types", "") + ";"
    ))
    .failed(2, &["no column 'idd'", "did you mean 'id'"]);
    run(&format!(
        "{} INSERT INTO t VALUES (1);",
        "CREATE TABLE t (id BIGINT) ".to_string() + &in_clickhouse("typs", "") + ";"
    ))
    .failed(2, &["no table 'typs'"]);
    run(&format!(
        "CREATE TABLE t (id BIGINT) {}; INSERT INTO t VALUES (1);",
        in_clickhouse("types", ", 'sink.delivery-guarantee' = 'exactly-once'")
    ))
    .failed(2, &["does not leave out blocks", "non_replicated_deduplication_window"]);
}

#[test]
fn changes_go_to_clickhouse_with_a_sign() {
    let c = clickhouse();
    c.sql("CREATE TABLE default.sums (k String, n Int64, sign Int8) ENGINE = CollapsingMergeTree(sign) ORDER BY k");
    let job = |more: &str| {
        format!(
            "CREATE TABLE t (k STRING, n BIGINT) {};
             INSERT INTO t SELECT k, SUM(v) FROM (VALUES ('a', 1), ('b', 5), ('a', 2), ('a', 3)) AS x (k, v) GROUP BY k;",
            in_clickhouse("sums", more)
        )
    };
    run(&job(", 'sink.sign-column' = 'sign'")).succeeded();
    assert_eq!(
        c.sql("SELECT k, sum(n * sign), sum(sign) FROM default.sums GROUP BY k ORDER BY k FORMAT TSVRaw"),
        "a\t6\t1\nb\t5\t1\n"
    );
}

/// Rows that are equal are as many as they are, also in tables that leave out blocks; so are signs of changes after a kill.
#[test]
fn clickhouse_has_every_row_at_least_once() {
    let c = clickhouse();
    let window = "SETTINGS non_replicated_deduplication_window = 1000";
    c.sql(&format!("CREATE TABLE default.equal (id Int64) ENGINE = MergeTree ORDER BY id {window}"));
    let table = format!("CREATE TABLE t (id BIGINT) {};", in_clickhouse("equal", ", 'sink.batch-size' = '1'"));
    run(&format!("{table} INSERT INTO t VALUES (1), (1), (2), (1);")).succeeded();
    assert_eq!(c.sql("SELECT id, count() FROM default.equal GROUP BY id ORDER BY id FORMAT TSVRaw"), "1\t3\n2\t1\n");
    // Blocks of changes wait for their epoch, and are the same when they come again.
    c.sql(&format!(
        "CREATE TABLE default.signs (k Int64, n Int64, sign Int8) ENGINE = CollapsingMergeTree(sign) ORDER BY k {window}"
    ));
    let job = Job::new(&format!(
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '100000', 'fields.id.kind' = 'sequence',
           'fields.id.start' = '1', 'fields.id.end' = '100000');
         CREATE TABLE t (k BIGINT, n BIGINT) {};
         INSERT INTO t SELECT MOD(id, 3), COUNT(*) FROM n GROUP BY MOD(id, 3);",
        in_clickhouse("signs", ", 'sink.sign-column' = 'sign'")
    ));
    let arguments = ["--set", "parallelism.default=1", "--set", "execution.checkpointing.interval=50 ms"];
    for point in ["clickhouse-inserted=abort", "clickhouse-inserted=abort@2"] {
        let points = format!("source-poll=sleep(5),{point}");
        let ran = job.command(&arguments).env("WEIR_FAILPOINTS", points).output().expect("weir");
        assert!(!ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    job.run(&arguments).succeeded();
    assert_eq!(
        c.sql("SELECT k, sum(n * sign), sum(sign) FROM default.signs GROUP BY k ORDER BY k FORMAT TSVRaw"),
        "0\t33333\t1\n1\t33334\t1\n2\t33333\t1\n"
    );
}

/// Killed between an insert and the note of it, a job inserts the same block again, which is left out.
#[test]
fn clickhouse_has_every_row_once() {
    let c = clickhouse();
    c.sql(
        "CREATE TABLE default.once (id Int64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000",
    );
    let job = Job::new(&format!(
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '200000', 'fields.id.kind' = 'sequence',
           'fields.id.start' = '1', 'fields.id.end' = '200000');
         CREATE TABLE t (id BIGINT) {};
         INSERT INTO t SELECT id FROM n;",
        in_clickhouse("once", ", 'sink.delivery-guarantee' = 'exactly-once', 'sink.batch-size' = '5000'")
    ));
    let arguments = ["--set", "parallelism.default=1", "--set", "execution.checkpointing.interval=50 ms"];
    for point in ["clickhouse-insert=abort@3", "clickhouse-inserted=abort", "clickhouse-inserted=abort@2"] {
        let points = format!("source-poll=sleep(5),{point}");
        let ran = job.command(&arguments).env("WEIR_FAILPOINTS", points).output().expect("weir");
        assert!(!ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    job.run(&arguments).succeeded();
    assert_eq!(
        c.sql("SELECT count(), uniqExact(id), sum(id) FROM default.once FORMAT TSVRaw"),
        "200000\t200000\t20000100000\n"
    );
}

#[test]
fn webhooks_are_called_for_each_row() {
    let hook = Listener::start(|n, _| if n == 1 { 503 } else { 200 });
    let table = format!(
        "CREATE TABLE alerts (name STRING, amount DECIMAL(10, 2), parts ARRAY<INT>) WITH ('connector' = 'webhook', 'url' = '{}',
           'headers.X-Team' = 'ops', 'body.template' = '{{\"text\": {{{{ name }}}}, \"a\": {{{{ amount }}}}, \"p\": {{{{ parts }}}}, \"op\": \"{{{{ op }}}}\"}}');",
        hook.url()
    )
    .replace("\"{{ op }}\"", "{{ op }}");
    run(&format!("{table} INSERT INTO alerts VALUES ('a \"quoted\"\n line', 1.50, ARRAY[1, 2]), (CAST(NULL AS STRING), 2, ARRAY[3]);"))
        .succeeded();
    let calls = hook.calls();
    let bodies: Vec<&str> = calls.iter().map(|c| c.body.as_str()).collect();
    let first = r#"{"text": "a \"quoted\"\n line", "a": "1.50", "p": [1,2], "op": "+I"}"#;
    let second = r#"{"text": null, "a": "2.00", "p": [3], "op": "+I"}"#;
    assert_eq!(bodies, [first, second, second]);
    let key = |i: usize| {
        let head = calls[i].head.to_ascii_lowercase();
        head.lines().find(|l| l.starts_with("idempotency-key")).map(str::to_string).expect("a key")
    };
    assert!(calls[0].head.to_ascii_lowercase().contains("x-team: ops"), "{}", calls[0].head);
    assert!(calls[0].head.to_ascii_lowercase().contains("content-type: application/json"));
    // The repeated call says that it is one.
    assert!(key(0) != key(1) && key(1) == key(2));
    let wrong = table.replace("{{ name }}", "{{ nam }}");
    run(&format!("{wrong} INSERT INTO alerts VALUES ('a', 1, ARRAY[1]);"))
        .failed(2, &["names 'nam'", "did you mean 'name'"]);
}

#[test]
fn a_webhook_that_refuses_ends_the_job_or_is_passed_over() {
    let hook = Listener::start(|_, call| if call.body.contains('2') { 400 } else { 200 });
    let job = |more: &str| {
        format!(
            "CREATE TABLE t (id INT) WITH ('connector' = 'webhook', 'url' = '{}'{more}); INSERT INTO t VALUES (1), (2), (3);",
            hook.url()
        )
    };
    let ran = run(&job("")).failed(3, &["refuses a call: HTTP 400: said"]);
    assert!(!ran.err.contains("s3cr3t"), "the address is a secret: {}", ran.err);
    assert_eq!(hook.calls().len(), 2);
    run(&job(", 'on-error' = 'skip'")).succeeded();
    let bodies: Vec<String> = hook.calls().iter().skip(2).map(|c| c.body.clone()).collect();
    assert_eq!(bodies, ["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
}

/// A counting job of numbers from a slow source.
fn counting(settings: &str, sink: &str) -> Job {
    Job::new(&format!(
        "{settings}
         CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '60000', 'fields.id.kind' = 'sequence',
           'fields.id.start' = '1', 'fields.id.end' = '60000');
         CREATE TABLE sums (k BIGINT, n BIGINT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED) {sink};
         INSERT INTO sums SELECT MOD(id, 10), COUNT(*), SUM(id) FROM n GROUP BY MOD(id, 10);"
    ))
}

/// What it comes to, by key.
fn counted() -> String {
    (0..10u64)
        .map(|k| format!("6000 {} ", (0..6000u64).map(|i| i * 10 + if k == 0 { 10 } else { k }).sum::<u64>()))
        .collect()
}

fn sums(prefix: &str) -> String {
    (0..10).map(|k| redis().says(&["HMGET", &format!("{prefix}{k}"), "n", "s"]).replace('\n', " ")).collect()
}

/// A run that began from a savepoint of another has its results to itself: the older one, which is still at work, ends.
#[test]
fn an_older_run_writes_nothing_beside_a_newer_one() {
    let (mariadb, postgres) = (MariaDb::start(), Postgres::start());
    let made = "CREATE TABLE sums (k BIGINT PRIMARY KEY, n BIGINT, s BIGINT);";
    mariadb.sql(made);
    postgres.sql(made);
    let in_database = |url: String, user: &str| {
        format!(
            "WITH ('connector' = 'jdbc', 'url' = '{url}', 'username' = '{user}', 'table-name' = 'sums',
               'sink.delivery-guarantee' = 'at-least-once')"
        )
    };
    let lines = |text: String| text.replace(['\t', '|', '\n'], " ");
    let rows = "SELECT n, s FROM sums ORDER BY k";
    let all: [(String, Box<dyn Fn() -> String + '_>); 3] = [
        (in_redis("'key-prefix' = 'beside:'"), Box::new(|| sums("beside:"))),
        (in_database(mariadb.url(), "root"), Box::new(|| lines(mariadb.sql(rows)))),
        (in_database(postgres.url(), "postgres"), Box::new(|| lines(postgres.sql(rows)))),
    ];
    let settings = "SET 'execution.checkpointing.interval' = '100 ms'; SET 'pipeline.name' = 'counting';
                    SET 'parallelism.default' = '1'; SET 'table.exec.mini-batch.size' = '50';";
    for (sink, there) in all {
        let (older, newer) = (counting(settings, &sink), counting(settings, &sink));
        let mut c = older.command(&[]);
        c.env("WEIR_FAILPOINTS", "source-poll=sleep(20)").stdout(Stdio::null()).stderr(Stdio::piped());
        let child = c.spawn().expect("weir");
        assert!(comes(|| there().contains(|c: char| c.is_ascii_digit())), "nothing came: {sink}");
        let saved = Command::new(weir_tests::weir())
            .arg("savepoint")
            .arg(older.path(".weir/counting"))
            .arg(older.path("kept"))
            .output();
        let saved = Ran::from(saved.expect("weir")).succeeded().out.trim().to_string();
        newer.run(&["--from", &saved]).succeeded();
        let ended = Ran::from(child.wait_with_output().expect("its end"));
        ended.failed(5, &["another process has taken this job over", "sums"]);
        assert_eq!(there(), counted(), "{sink}");
        older.run(&[]).failed(5, &["another run of this job has written to it since"]);
        assert_eq!(there(), counted(), "{sink}");
    }
}

#[test]
fn a_job_goes_on_elsewhere_from_a_savepoint_in_an_object_store() {
    let s3 = S3::start();
    let settings = "SET 'state.savepoints.dir' = 's3://weir/jobs'; SET 'state.savepoints.interval' = '1 s';
                    SET 'state.savepoints.num-retained' = '2'; SET 'execution.checkpointing.interval' = '100 ms';
                    SET 'pipeline.name' = 'counting'; SET 'table.exec.mini-batch.size' = '50';";
    let in_redis = in_redis("'key-prefix' = 'sums:'");
    let lost = counting(settings, &in_redis);
    let slow = "source-poll=sleep(10)";
    let mut c = lost.command(&["--set", "parallelism.default=1"]);
    let mut child = c
        .env("WEIR_FAILPOINTS", slow)
        .envs(s3.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("weir");
    let count = || s3.list().matches("<Key>jobs/counting-auto-").count();
    let since = Instant::now();
    let mut most = 0;
    while since.elapsed() < Duration::from_secs(5) || most < 2 {
        assert!(since.elapsed() < Duration::from_secs(60), "no savepoints: {}", s3.list());
        most = most.max(count());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Two are kept, and a third one while it is settled which go.
    assert!(most <= 3, "{most}");
    // By hand as well, of a job that runs.
    let saved = Command::new(weir_tests::weir())
        .args(["savepoint"])
        .arg(lost.path(".weir/counting"))
        .arg("s3://weir/jobs")
        .envs(s3.environment())
        .output()
        .expect("weir");
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    let to = String::from_utf8_lossy(&saved.stdout).trim().to_string();
    assert!(to.starts_with("s3://weir/jobs/counting-"), "{to}");
    let _ = child.kill();
    let _ = child.wait();
    drop(lost);
    // Another machine: another folder, with the bucket alone; and the newest is taken where none is named.
    for from in ["s3://weir/jobs", to.as_str()] {
        let elsewhere = counting(&settings.replace("SET 'state.savepoints.interval' = '1 s';", ""), &in_redis);
        let mut c = elsewhere.command(&["--from", from, "--set", "parallelism.default=2"]);
        let ran = c.envs(s3.environment()).stdin(Stdio::null()).output().expect("weir");
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{err}");
        assert!(err.contains("starts from s3://weir/jobs/counting-"), "{err}");
        assert_eq!(sums("sums:"), counted());
    }
    let nothing = counting("SET 'pipeline.name' = 'other';", &in_redis);
    let mut c = nothing.command(&["--from", "s3://weir/jobs"]);
    let ran = c.envs(s3.environment()).stdin(Stdio::null()).output().expect("weir");
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("no savepoint of the job 'other' in s3://weir/jobs"));
}
