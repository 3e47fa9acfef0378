//! Kafka as source and sink: options, parts of records, changes, and what becomes of everything that is not as it should be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use weir_tests::servers::{Kafka, free_port};
use weir_tests::{Job, Ran, comes, repository};

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(Kafka::start)
}

/// A topic of this name with these records, each on a line, as a key and a value with `|` between them.
fn filled(topic: &str, partitions: u32, records: &str) {
    let k = kafka();
    k.topic(topic, partitions);
    produce(topic, records);
}

fn produce(topic: &str, records: &str) {
    kafka().fed_tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &[
            "--topic",
            topic,
            "--property",
            "parse.key=true",
            "--property",
            "key.separator=|",
            "--property",
            "null.marker=NULL",
        ],
        records,
    );
}

fn with(topic: &str, more: &str) -> String {
    format!(
        "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}', {more})",
        kafka().servers()
    )
}

const ALL: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

fn run(script: &str) -> Ran {
    Job::new(script).run(&["--set", "parallelism.default=1"])
}

fn sorted(ran: &Ran) -> Vec<String> {
    let mut lines: Vec<String> = ran.out.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn keys_values_and_what_lies_beside_them() {
    filled("parts", 1, "a|{\"v\": 1, \"t\": \"x\"}\nb|{\"v\": 2}\n");
    let source = format!(
        "CREATE TABLE t (k STRING, v INT, p INT METADATA FROM 'partition', `offset` BIGINT METADATA VIRTUAL,
           `topic` STRING METADATA VIRTUAL, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp') {};",
        with(
            "parts",
            &format!(
                "'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json',
             'value.fields-include' = 'EXCEPT_KEY', {ALL}"
            )
        )
    );
    let ran = run(&format!("{source} SELECT `topic`, p, `offset`, k, v, ts > TIMESTAMP '2020-01-01 00:00:00' FROM t;"))
        .succeeded();
    assert_eq!(ran.out, "+I[parts, 0, 0, a, 1, true]\n+I[parts, 0, 1, b, 2, true]\n");
    // Written back with time, headers and a key, and read again.
    kafka().topic("beside", 2);
    let both = "k STRING, v INT, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', headers MAP<STRING, BYTES> METADATA";
    let options = "'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json'";
    run(&format!(
        "CREATE TABLE o ({both}) {};
         INSERT INTO o SELECT * FROM (VALUES ('a', 7, CAST(TIMESTAMP '2021-02-03 04:05:06.789' AS TIMESTAMP_LTZ(3)),
           MAP['h', CAST('one' AS BYTES)])) AS x (k, v, ts, headers);",
        with("beside", options)
    ))
    .succeeded();
    let ran = run(&format!(
        "CREATE TABLE i ({both}) {};
         SELECT k, v, ts, CAST(headers['h'] AS STRING) FROM i;",
        with("beside", &format!("{options}, {ALL}"))
    ))
    .succeeded();
    assert_eq!(ran.out, "+I[a, 7, 2021-02-03T04:05:06.789Z, one]\n");
    // Of headers of one name the last one counts, as in a map of Java's.
    kafka().topic("headers", 1);
    kafka().fed_tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &["--topic", "headers", "--property", "parse.headers=true", "--property", "headers.delimiter=~"],
        "h:one,g:x,h:two~{\"v\": 1}\n",
    );
    let ran = run(&format!(
        "CREATE TABLE i (v INT, headers MAP<STRING, BYTES> METADATA) {};
         SELECT CAST(headers['h'] AS STRING), CAST(headers['g'] AS STRING), CARDINALITY(headers) FROM i;",
        with("headers", &format!("'format' = 'json', {ALL}"))
    ));
    assert_eq!(ran.succeeded().out, "+I[two, x, 2]\n");
}

/// Columns of key and value may have one name, and the key's may stand behind others.
#[test]
fn names_of_the_key_may_have_a_prefix() {
    kafka().topic("prefixed", 1);
    let table = format!(
        "CREATE TABLE t (v STRING, k_id INT, p INT METADATA FROM 'partition' VIRTUAL, k_part STRING, id INT) {};",
        with(
            "prefixed",
            &format!(
                "'key.format' = 'json', 'key.fields' = 'k_id;k_part', 'key.fields-prefix' = 'k_', 'value.format' = 'json',
                 'value.fields-include' = 'EXCEPT_KEY', {ALL}"
            )
        )
    );
    run(&format!("{table} INSERT INTO t VALUES ('x', 1, 'eu', 2);")).succeeded();
    let raw = format!(
        "CREATE TABLE t (k STRING, v STRING) {}; SELECT * FROM t;",
        with(
            "prefixed",
            &format!(
                "'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY', {ALL}"
            )
        )
    );
    assert_eq!(run(&raw).succeeded().out, "+I[{\"id\":1,\"part\":\"eu\"}, {\"v\":\"x\",\"id\":2}]\n");
    assert_eq!(run(&format!("{table} SELECT * FROM t;")).succeeded().out, "+I[x, 1, 0, eu, 2]\n");
    run(&format!("{table} SELECT * FROM t;").replace("'k_id;k_part'", "'k_id;id'"))
        .failed(2, &["'id' does not begin with 'k_'"]);
}

#[test]
fn reading_begins_and_ends_where_it_is_told() {
    filled("bounds", 1, "k|0\nk|1\nk|2\nk|3\n");
    let rows = |more: &str| {
        let ran = run(&format!(
            "CREATE TABLE t (v STRING) {}; SELECT v FROM t;",
            with("bounds", &format!("'format' = 'raw', {more}"))
        ));
        ran.succeeded().out.replace("+I[", "").replace("]\n", "")
    };
    assert_eq!(rows(ALL), "0123");
    assert_eq!(rows("'scan.startup.mode' = 'latest-offset', 'scan.bounded.mode' = 'latest-offset'"), "");
    let specific = "'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:1',
                    'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = 'partition:0,offset:3'";
    assert_eq!(rows(specific), "12");
    let time = "'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '1000', 'scan.bounded.mode' = 'latest-offset'";
    assert_eq!(rows(time), "0123");
    let group = "'properties.group.id' = 'bounds', 'properties.auto.offset.reset' = 'earliest', 'scan.bounded.mode' = 'latest-offset'";
    assert_eq!(rows(group), "0123");
    let none = run(&format!(
        "CREATE TABLE t (v STRING) {}; SELECT v FROM t;",
        with("bounds", "'format' = 'raw', 'properties.group.id' = 'nobody', 'scan.bounded.mode' = 'latest-offset'")
    ));
    none.failed(2, &["the group 'nobody' has no offset", "'properties.auto.offset.reset'"]);
}

/// Clocks that are wrong by decades: the broker takes no record from the future unless its topic is told to; time that a record
/// names is a value like any other, and where a job begins by it is the first record at or after it.
#[test]
fn clocks_are_wrong() {
    let table = |topic: &str, more: &str| {
        format!(
            "CREATE TABLE t (v STRING, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp') {};",
            with(topic, &format!("'format' = 'raw' {more}"))
        )
    };
    let insert = |topic: &str| {
        run(&format!(
            "{} INSERT INTO t SELECT v, CAST(ts AS TIMESTAMP_LTZ(3)) FROM (VALUES ('now', TIMESTAMP '2026-01-01 00:00:00'),
               ('past', TIMESTAMP '1970-01-01 00:00:00.001'), ('future', TIMESTAMP '2100-01-01 00:00:00')) AS x (v, ts);",
            table(topic, "")
        ))
    };
    kafka().topic("of_today", 1);
    insert("of_today").failed(3, &["of_today", "timestamp", "message.timestamp.after.max.ms"]);
    kafka().topic_with("skewed", 1, &["message.timestamp.after.max.ms=9223372036854775807"]);
    insert("skewed").succeeded();
    let read = |mode: &str| {
        let script = format!(
            "{} SELECT * FROM t;",
            table("skewed", &format!(", {mode}, 'scan.bounded.mode' = 'latest-offset'"))
        );
        run(&script).succeeded().out
    };
    let all = "+I[now, 2026-01-01T00:00:00Z]\n+I[past, 1970-01-01T00:00:00.001Z]\n+I[future, 2100-01-01T00:00:00Z]\n";
    assert_eq!(read("'scan.startup.mode' = 'earliest-offset'"), all);
    let from =
        |millis: u64| read(&format!("'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '{millis}'"));
    assert_eq!(from(1_767_225_600_000), all);
    assert_eq!(from(1_767_225_600_001), "+I[future, 2100-01-01T00:00:00Z]\n");
    assert_eq!(from(4_200_000_000_000), "");
}

#[test]
fn changes_go_in_and_out() {
    let products = |format: &str, path: &str, more: &str| {
        let path = repository("tests/data/cdc").join(path);
        format!(
            "CREATE TABLE p (id INT, name STRING, weight DOUBLE, address STRING) WITH ('connector' = 'filesystem',
               'path' = '{}', 'format' = '{format}' {more});",
            path.display()
        )
    };
    let ran = run(&format!("{} SELECT * FROM p;", products("debezium-json", "products.json", ""))).succeeded();
    let lines = sorted(&ran);
    assert!(lines.contains(&"-D[101, scooter, 3.14, null]".to_string()), "{lines:?}");
    assert!(lines.contains(&"-U[null, null, null, Shanghai]".to_string()), "{lines:?}");
    assert!(lines.contains(&"+U[105, hammer, 0.875, Beijing]".to_string()), "{lines:?}");
    let enveloped = products("debezium-json", "products-with-schema.json", ", 'debezium-json.schema-include' = 'true'");
    assert_eq!(
        run(&format!("{enveloped} SELECT * FROM p;")).succeeded().out,
        "+I[101, scooter, 3.140000104904175, null]\n"
    );
    let without = products("debezium-json", "products-with-schema.json", "");
    run(&format!("{without} SELECT * FROM p;")).failed(3, &["schema-include"]);
    // Counted, the rows that went are gone, in a stream and at once.
    for mode in ["streaming", "batch"] {
        let ran = run(&format!(
            "SET 'execution.runtime-mode' = '{mode}'; {} SELECT COUNT(*) FROM p WHERE id > 0;",
            products("debezium-json", "products.json", "")
        ));
        assert_eq!(ran.succeeded().rows().into_keys().collect::<Vec<_>>(), ["[6]"], "{mode}");
    }
    // Canal's rows, with what they were.
    let job = Job::new(
        "CREATE TABLE c (id INT, v STRING, w STRING) WITH ('connector' = 'filesystem', 'path' = 'c.json', 'format' = 'canal-json',
           'canal-json.table.include' = 'mine.*');
         SELECT * FROM c;",
    );
    job.file(
        "c.json",
        "{\"data\":[{\"id\":\"1\",\"v\":\"a\",\"w\":\"b\"},{\"id\":\"2\",\"v\":\"c\",\"w\":null}],\"old\":null,\"type\":\"INSERT\",\"table\":\"mine1\"}
{\"data\":[{\"id\":\"1\",\"v\":\"z\",\"w\":\"b\"}],\"old\":[{\"v\":\"a\"}],\"type\":\"UPDATE\",\"table\":\"mine1\"}
{\"data\":[{\"id\":\"9\",\"v\":\"z\",\"w\":\"b\"}],\"type\":\"INSERT\",\"table\":\"other\"}
{\"data\":[{\"id\":\"2\",\"v\":\"c\",\"w\":null}],\"old\":null,\"type\":\"DELETE\",\"table\":\"mine1\"}
",
    );
    let ran = job.run(&["--set", "parallelism.default=1"]).succeeded();
    assert_eq!(ran.out, "+I[1, a, b]\n+I[2, c, null]\n-U[1, a, b]\n+U[1, z, b]\n-D[2, c, null]\n");
    // Through a topic and back.
    for format in ["debezium-json", "canal-json"] {
        let topic = format!("through-{format}");
        kafka().topic(&topic, 1);
        let table = |more: &str| {
            format!(
                "CREATE TABLE o (name STRING, n BIGINT) {};",
                with(&topic, &format!("'format' = '{format}' {more}"))
            )
        };
        run(&format!(
            "{} {} INSERT INTO o SELECT name, COUNT(*) FROM p GROUP BY name;",
            products("debezium-json", "products.json", ""),
            table("")
        ))
        .succeeded();
        let ran = run(&format!("{} SELECT * FROM o WHERE name IS NOT NULL;", table(&format!(", {ALL}")))).succeeded();
        assert_eq!(ran.rows().get("[hammer, 3]"), Some(&1), "{format}: {}", ran.out);
        assert!(!ran.rows().contains_key("[scooter, 1]"), "{format}: {}", ran.out);
    }
}

#[test]
fn tables_by_key_come_and_go() {
    filled(
        "by-key",
        2,
        "{\"id\":1}|{\"id\":1,\"v\":\"a\"}\n{\"id\":2}|{\"id\":2,\"v\":\"b\"}\n{\"id\":1}|{\"id\":1,\"v\":\"c\"}\n{\"id\":2}|NULL\n{\"id\":3}|NULL\n",
    );
    let table = |more: &str| {
        format!(
            "CREATE TABLE t (id INT, v STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka',
               'topic' = 'by-key', 'properties.bootstrap.servers' = '{}', 'key.format' = 'json', 'value.format' = 'json' {more});",
            kafka().servers()
        )
    };
    let bounded = ", 'scan.bounded.mode' = 'latest-offset'";
    let ran = run(&format!("{} SELECT * FROM t;", table(bounded))).succeeded();
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), ["[1, c]"], "{}", ran.out);
    assert!(ran.out.contains("-U[1, a]") && ran.out.contains("-D[2, b]"), "{}", ran.out);
    let ran =
        run(&format!("SET 'execution.runtime-mode' = 'batch'; {} SELECT COUNT(*), MAX(v) FROM t;", table(bounded)));
    assert_eq!(ran.succeeded().out, "+I[1, c]\n");
    // A condition that keeps the new row out takes the old one back.
    kafka().topic("having", 1);
    let having = |more: &str| {
        format!(
            "CREATE TABLE h (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka',
               'topic' = 'having', 'properties.bootstrap.servers' = '{}', 'key.format' = 'raw', 'value.format' = 'json' {more});",
            kafka().servers()
        )
    };
    run(&format!(
        "SET 'table.exec.mini-batch.size' = '1'; {}
         INSERT INTO h SELECT k, COUNT(*) FROM (VALUES ('x'), ('y'), ('x'), ('z')) AS v (k) GROUP BY k HAVING COUNT(*) < 2;",
        having("")
    ))
    .succeeded();
    let ran = run(&format!("{} SELECT * FROM h;", having(bounded))).succeeded();
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), ["[y, 1]", "[z, 1]"], "{}", ran.out);
    // Rows of one key that come in several batches: nobody sees the key vanish in between.
    kafka().topic("never-gone", 1);
    let rows = (0..200).map(|n| format!("('a', {n})")).collect::<Vec<_>>().join(", ");
    for guarantee in ["at-least-once", "exactly-once"] {
        run(&format!(
            "SET 'table.exec.mini-batch.size' = '1'; SET 'table.exec.sink.upsert-materialize' = 'FORCE';
             {} INSERT INTO h SELECT k, MAX(n) FROM (VALUES {rows}) AS v (k, n) GROUP BY k;",
            having(&format!(", 'sink.delivery-guarantee' = '{guarantee}'")).replace("having", "never-gone")
        ))
        .succeeded();
    }
    let values = kafka().read("never-gone", &[]);
    assert!(values.lines().count() >= 2 && !values.lines().any(|l| l == "null"), "{values}");
    run("CREATE TABLE t (v STRING) WITH ('connector' = 'upsert-kafka', 'topic' = 'x', 'properties.bootstrap.servers' = 'x',
           'key.format' = 'raw', 'value.format' = 'raw'); SELECT * FROM t;")
    .failed(2, &["line 1, column 14", "no primary key"]);
}

#[test]
fn bad_records_are_told_left_out_or_kept() {
    filled("bad", 1, "k|1,one\nk|x,two\nk|3,three\n");
    let table = |more: &str| {
        format!("CREATE TABLE t (a INT, b STRING) {};", with("bad", &format!("'format' = 'csv', {ALL} {more}")))
    };
    let select = |more: &str| run(&format!("{} SELECT * FROM t;", table(more)));
    select("").failed(3, &["topic bad, partition 0, offset 1", "column 'a'", "x,two"]);
    assert_eq!(select(", 'on-error' = 'skip'").succeeded().out, "+I[1, one]\n+I[3, three]\n");
    assert_eq!(
        select(", 'csv.ignore-parse-errors' = 'true'").succeeded().out,
        "+I[1, one]\n+I[null, two]\n+I[3, three]\n"
    );
    // Into a topic of dead letters, the record as it came, with headers that say why and where from.
    kafka().topic("dead", 1);
    let dead = format!(
        "CREATE TABLE dead (record BYTES, headers MAP<STRING, BYTES> METADATA) {};",
        with("dead", "'format' = 'raw'")
    );
    run(&format!("{dead} {} SELECT * FROM t;", table(", 'on-error' = 'dead-letter', 'dead-letter.table' = 'dead'")))
        .succeeded();
    let ran = run(&format!(
        "CREATE TABLE dead (record STRING, headers MAP<STRING, BYTES> METADATA) {};
         SELECT record, CAST(headers['weir.origin'] AS STRING), CAST(headers['weir.reason'] AS STRING) LIKE '%column ''a''%' FROM dead;",
        with("dead", &format!("'format' = 'raw', {ALL}"))
    ));
    assert_eq!(ran.succeeded().out, "+I[x,two, topic bad, partition 0, offset 1, true]\n");
}

#[test]
fn what_cannot_be_is_told() {
    let select = |options: &str| {
        run(&format!(
            "CREATE TABLE t (v STRING) WITH ('connector' = 'kafka', 'format' = 'raw', {options}); SELECT * FROM t;"
        ))
    };
    let here = format!("'properties.bootstrap.servers' = '{}'", kafka().servers());
    let start = "'scan.startup.mode' = 'earliest-offset'";
    select(&format!("{here}, {start}")).failed(2, &["lacks the option 'topic'"]);
    select(&format!("'topic' = 't', {start}")).failed(2, &["'properties.bootstrap.servers'"]);
    select(&format!("{here}, {start}, 'topic' = 'nowhere'")).failed(2, &["there is no topic 'nowhere'", "create it"]);
    select(&format!("{here}, 'topic' = 't'")).failed(2, &["does not say where to begin", "'earliest-offset'"]);
    select(&format!("{here}, 'topic' = 't', 'scan.startup.mode' = 'earliest'"))
        .failed(2, &["'scan.startup.mode' is earliest-offset, latest-offset", "not 'earliest'"]);
    select(&format!("{here}, {start}, 'topic' = 't', 'properties.group.protocol' = 'consumer'"))
        .failed(2, &["'properties.group.protocol'", "assigns partitions itself"]);
    for code in [
        "plugin.library.paths",
        "ssl.engine.location",
        "ssl.providers",
        "sasl.kerberos.kinit.cmd",
        "ut_handle_ProduceResponse",
    ] {
        select(&format!("{here}, {start}, 'topic' = 't', 'properties.{code}' = '/tmp/x.so'"))
            .failed(2, &[code, "load code into the process or run a command"]);
    }
    select(&format!("{here}, {start}, 'topic' = 't', 'tls.verify' = 'true'"))
        .failed(2, &["over a connection without TLS", "SASL_SSL"]);
    select(&format!("{here}, {start}, 'topic' = 't', 'properties.enable.auto.commit' = 'true'"))
        .failed(2, &["offsets belong to epochs"]);
    select(&format!("{here}, {start}, 'topic' = 't', 'properties.no.such.thing' = '1'")).failed(2, &["no.such.thing"]);
    select(&format!("{here}, {start}, 'topic' = 't', 'scan.startup.mod' = '1'"))
        .failed(2, &["'scan.startup.mod'", "did you mean"]);
    let nobody = format!("'properties.bootstrap.servers' = '127.0.0.1:{}'", free_port());
    let script = format!(
        "SET 'restart-strategy.type' = 'none'; CREATE TABLE t (v STRING) WITH ('connector' = 'kafka', 'format' = 'raw',
        'topic' = 't', {start}, {nobody}); SELECT * FROM t;"
    );
    run(&script).failed(6, &["Kafka at 127.0.0.1", "check that the address is right"]);
    // Values that change cannot go into a format that only knows rows.
    let script = format!(
        "CREATE TABLE o (v STRING, n BIGINT) {};
         CREATE TABLE n (v STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
         INSERT INTO o SELECT v, COUNT(*) FROM n GROUP BY v;",
        with("t", "'format' = 'json'")
    );
    run(&script).failed(2, &["only takes rows that come"]);
}

/// Waits until an operator of a running job has taken so many rows, as its metrics say.
fn wait_for_rows(listen: &str, operator: &str, wanted: u64) {
    let begin = format!("weir_operator_rows_in_total{{operator=\"{operator}\"");
    let come = comes(|| {
        let Ok(mut stream) = TcpStream::connect(listen) else { return false };
        let mut text = String::new();
        let asked = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut text));
        let lines = text.lines().filter(|l| asked.is_ok() && l.starts_with(&begin));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>() >= wanted
    });
    assert!(come, "{wanted} rows of {operator} do not come");
}

/// Partitions that come while the job runs, a topic that is deleted and made again, offsets that are gone.
#[test]
fn topics_change_under_a_job() {
    filled("changing", 1, "k|a\nk|b\n");
    let script = format!(
        "SET 'execution.checkpointing.interval' = '100ms';
         CREATE TABLE t (v STRING) {};
         CREATE TABLE o (v STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'raw');
         INSERT INTO o SELECT v FROM t;",
        with(
            "changing",
            "'format' = 'raw', 'scan.startup.mode' = 'earliest-offset', 'scan.topic-partition-discovery.interval' = '300ms'"
        )
    );
    let job = Job::new(&script);
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = job.command(&["--listen", &listen]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
    wait_for_rows(&listen, "sink o", 2);
    kafka().tool("org.apache.kafka.tools.TopicCommand", &["--alter", "--topic", "changing", "--partitions", "3"]);
    produce("changing", "x|c\ny|d\nz|e\nw|f\nq|g\n");
    wait_for_rows(&listen, "sink o", 7);
    // SAFETY: the process is a child of this one.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert!(child.wait().expect("its end").success());
    let mut lines: Vec<String> = vec![];
    for part in job.parts("out") {
        let text = std::fs::read_to_string(part).expect("its lines");
        lines.extend(text.lines().map(str::to_string));
    }
    lines.sort();
    assert_eq!(lines.concat(), "abcdefg");
    // Made again under the same name, it is another topic.
    kafka().tool("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", "changing"]);
    let topics = || kafka().tool("org.apache.kafka.tools.TopicCommand", &["--list"]);
    assert!(comes(|| !topics().lines().any(|t| t == "changing")), "the topic is gone");
    filled("changing", 3, "k|a\nk|b\nk|c\nk|d\n");
    job.run(&[]).failed(5, &["'changing' is not the one that was being read", "--fresh"]);
}

/// The introduction's job as printed, by the example's own script, which ends when the table counts every access.
#[test]
fn the_introductions_job_runs_as_printed() {
    let ran: Ran = std::process::Command::new(repository("examples/cdn-log-kafka-mysql/run"))
        .env("WEIR", weir_tests::weir())
        .env("ROWS", "400")
        .output()
        .expect("the example's script")
        .into();
    let ran = ran.succeeded();
    assert!(ran.err.contains("the table counts 400 accesses"), "{}", ran.err);
    assert!(ran.out.contains("access_count") && ran.out.contains("美国"), "{}", ran.out);
}

/// Windows over a real log, by the example's own script, which compares the tables with what it computes from the log by itself.
#[test]
fn the_access_log_by_windows_is_as_computed_without_weir() {
    for (kill, parallelism) in [("0", "2"), ("1", "4")] {
        let ran: Ran = std::process::Command::new(repository("examples/access-log-windows/run"))
            .env("WEIR", weir_tests::weir())
            .env("WEIR_FAILPOINTS", "source-poll=sleep(20)")
            .env("KILL", kill)
            .env("PARALLELISM", parallelism)
            .output()
            .expect("the example's script")
            .into();
        let ran = ran.succeeded();
        for held in ["requests_by_minute holds", "busiest_addresses holds", "sessions holds", "late_lines holds"] {
            assert!(ran.err.contains(held), "{}", ran.err);
        }
        assert_eq!(ran.err.contains("killed the job after"), kill == "1", "{}", ran.err);
        assert!(ran.out.contains("184.66.149.103"), "{}", ran.out);
    }
}

/// Dead letters go back into the job that they are of, each once, and to nobody else.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, step by step")]
fn dead_letters_are_replayed_into_their_job() {
    filled("orders", 1, "x|{\"k\": \"a\", \"v\": 1}\nx|{\"k\": \"a\", \"v\": \"five\"}\nx|{\"k\": \"b\", \"v\": 2}\n");
    for topic in ["order-sums", "order-counts", "order-letters"] {
        kafka().topic(topic, 1);
    }
    let upsert =
        |topic: &str| with(topic, "'key.format' = 'raw', 'value.format' = 'json'").replace("'kafka'", "'upsert-kafka'");
    let script = |more: &str| {
        format!(
            "SET 'pipeline.name' = 'orders'; SET 'execution.checkpointing.interval' = '100 ms'; SET 'parallelism.default' = '2';
             CREATE TABLE letters (record BYTES, headers MAP<STRING, BYTES> METADATA) {};
             CREATE TABLE orders (k STRING, v INT, `offset` BIGINT METADATA VIRTUAL) {};
             CREATE TABLE sums (k STRING, n BIGINT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};
             CREATE TABLE counts (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};
             INSERT INTO sums SELECT k, COUNT(*), SUM(v) FROM orders GROUP BY k;
             INSERT INTO counts SELECT k, COUNT(*) FILTER (WHERE v IS NULL OR v > 0) FROM orders GROUP BY k;",
            with("order-letters", "'format' = 'raw'"),
            with(
                "orders",
                &format!(
                    "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'on-error' = 'dead-letter',
                     'dead-letter.table' = 'letters'{more}"
                )
            ),
            upsert("order-sums"),
            upsert("order-counts"),
        )
    };
    let shown = || {
        let ran = run(&format!(
            "SET 'execution.runtime-mode' = 'batch';
             CREATE TABLE sums (k STRING, n BIGINT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};
             CREATE TABLE counts (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) {};
             SELECT CONCAT_WS(' ', k, CAST(SUM(n) AS STRING), CAST(SUM(s) AS STRING)) FROM
               (SELECT k, n, s FROM sums UNION ALL SELECT CONCAT(k, '#'), n, CAST(0 AS BIGINT) FROM counts) AS x GROUP BY k;",
            upsert("order-sums").replace(")", ", 'scan.bounded.mode' = 'latest-offset')"),
            upsert("order-counts").replace(")", ", 'scan.bounded.mode' = 'latest-offset')"),
        ));
        let mut lines: Vec<String> = ran
            .succeeded()
            .out
            .lines()
            .map(|l| l.trim_start_matches("+I[").trim_end_matches(']').to_string())
            .collect();
        lines.sort();
        lines
    };
    let job = Job::new(&script(""));
    let until = |expected: &[&str]| {
        let mut child = job.command(&[]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
        let since = Instant::now();
        while shown() != expected {
            assert!(since.elapsed() < Duration::from_secs(60), "{:?}", shown());
        }
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        assert!(child.wait().is_ok_and(|s| s.success()));
    };
    let replay = || {
        let ran =
            std::process::Command::new(weir_tests::weir()).args(["dlq", "replay"]).arg(job.path("job.sql")).output();
        let ran = ran.expect("weir");
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{err}");
        assert!(err.contains("all dead letters are read"), "{err}");
        err
    };
    let letters = || {
        let all = run(&format!(
            "CREATE TABLE l (record STRING) {}; SELECT record FROM l;",
            with("order-letters", &format!("'format' = 'raw', {ALL}"))
        ));
        all.succeeded().out.lines().count()
    };
    until(&["a 1 1", "a# 1 0", "b 1 2", "b# 1 0"]);
    // Each statement reads for itself, and has a letter of its own.
    assert_eq!(letters(), 2);
    // What fails again is a letter again.
    assert!(!replay().contains("passed over"));
    assert_eq!(letters(), 4);
    // Mended, each statement takes its own letter, and the old ones are not taken twice.
    job.file("job.sql", script(", 'json.ignore-parse-errors' = 'true'"));
    let mended = ["a 2 1", "a# 2 0", "b 1 2", "b# 1 0"];
    replay();
    assert_eq!(shown(), mended);
    replay();
    assert_eq!((shown(), letters()), (mended.map(str::to_string).to_vec(), 4));
    produce("orders", "x|{\"k\": \"b\", \"v\": 3}\n");
    until(&["a 2 1", "a# 2 0", "b 2 5", "b# 2 0"]);
    // A statement that was changed is another one: what is of the old one is told.
    job.file("job.sql", script("").replace("v > 0)", "v > 1)"));
    let said = replay();
    let told = "skipped in 'letters': 2 dead letters of the statement default_catalog.default_database.counts#";
    assert!(said.contains(told), "{said}");
    assert!(!said.contains("database.sums#"), "{said}");
    let other = Job::new(&script("").replace("'orders';", "'strange';"));
    let ran =
        std::process::Command::new(weir_tests::weir()).args(["dlq", "replay"]).arg(other.path("job.sql")).output();
    assert_eq!(ran.expect("weir").status.code(), Some(5));
}
