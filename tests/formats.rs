//! Formats of messages, beside other people's readers and writers of them: Avro with a schema registry, Protocol Buffers.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use weir_tests::servers::{Kafka, free_port};
use weir_tests::services::{Registry, python, python_says};
use weir_tests::{Job, Ran};

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(Kafka::start)
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::start)
}

fn produce(topic: &str, values: &[Vec<u8>]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka().servers()).create().expect("a producer");
    for v in values {
        producer.send(BaseRecord::<(), Vec<u8>>::to(topic).payload(v)).map_err(|(e, _)| e).expect("room");
    }
    producer.flush(Duration::from_secs(20)).expect("delivered");
}

fn values(topic: &str, count: usize) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka().servers())
        .set("group.id", "test")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("assigned");
    let since = Instant::now();
    let mut all = vec![];
    while all.len() < count {
        assert!(since.elapsed() < Duration::from_secs(30), "{} of {count} records", all.len());
        if let Some(Ok(m)) = consumer.poll(Duration::from_millis(200)) {
            all.push(m.payload().unwrap_or_default().to_vec());
        }
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<Vec<u8>> {
    let pair = |line: &str, i: usize| u8::from_str_radix(&line[i..i + 2], 16).expect("hexadecimal");
    text.lines().map(|l| (0..l.len()).step_by(2).map(|i| pair(l, i)).collect()).collect()
}

fn with(topic: &str, more: &str) -> String {
    format!(
        "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}', {more},
           'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset')",
        kafka().servers()
    )
}

fn run(script: &str) -> Ran {
    Job::new(script).run(&["--set", "parallelism.default=1", "--set", "restart-strategy.type=none"])
}

const COLUMNS: &str = "id BIGINT, n INT, f DOUBLE, b BOOLEAN, s STRING, y BYTES, d DECIMAL(10, 2), dt DATE, tm TIME(3),
    ts TIMESTAMP(3), us TIMESTAMP(6), l TIMESTAMP_LTZ(3), a ARRAY<STRING>, m MAP<STRING, INT>, r ROW<x INT, y STRING>";

const ROWS: &str = "(1, 10, 0.1, TRUE, 'ä \n', x'000A', -12.34, DATE '2026-01-02', TIME '03:04:05.678',
      TIMESTAMP '2026-01-02 03:04:05.678', TIMESTAMP '1969-12-31 23:59:59.999999',
      CAST(TIMESTAMP '2026-01-02 03:04:05.678' AS TIMESTAMP_LTZ(3)), ARRAY['p', 'q'], MAP['k', 1], ROW(7, 'z'))";

const SHOWN: &str = "+I[1, 10, 0.1, true, ä \n, [0, 10], -12.34, 2026-01-02, 03:04:05.678, 2026-01-02T03:04:05.678, 1969-12-31T23:59:59.999999, 2026-01-02T03:04:05.678Z, [p, q], {k=1}, +I[7, z]]\n";

#[test]
fn avro_is_what_others_read_and_write() {
    kafka().topic("avro", 1);
    let url = registry().url();
    let format = format!("'format' = 'avro-confluent', 'avro-confluent.url' = '{url}'");
    let table = format!("CREATE TABLE t ({COLUMNS}) {};", with("avro", &format));
    let nulls = "(2, CAST(NULL AS INT), CAST(NULL AS DOUBLE), CAST(NULL AS BOOLEAN), CAST(NULL AS STRING),
      CAST(NULL AS BYTES), CAST(NULL AS DECIMAL(10, 2)), CAST(NULL AS DATE), CAST(NULL AS TIME(3)), CAST(NULL AS TIMESTAMP(3)),
      CAST(NULL AS TIMESTAMP(6)), CAST(NULL AS TIMESTAMP_LTZ(3)), CAST(NULL AS ARRAY<STRING>), CAST(NULL AS MAP<STRING, INT>),
      CAST(NULL AS ROW<x INT, y STRING>))";
    run(&format!("{table} INSERT INTO t VALUES {ROWS}, {nulls};")).succeeded();
    let ran = run(&format!("{table} SELECT * FROM t;")).succeeded();
    assert_eq!(
        ran.out,
        SHOWN.to_string()
            + "+I[2, null, null, null, null, null, null, null, null, null, null, null, null, null, null]\n"
    );
    // The bytes, read by a reader that is not ours, with the schema that the registry has.
    let bytes = values("avro", 2);
    assert_eq!(bytes[0][0], 0);
    let read = python_says(
        "import sys, json, io, fastavro
latest = json.loads(sys.argv[1]); schema = fastavro.parse_schema(json.loads(latest['schema']))
for h in sys.argv[2:]:
    b = bytes.fromhex(h); assert int.from_bytes(b[1:5], 'big') == latest['id'], (b, latest)
    print(fastavro.schemaless_reader(io.BytesIO(b[5:]), schema))",
        &[&registry().latest("avro-value"), &hex(&bytes[0]), &hex(&bytes[1])],
    );
    for words in [
        "'id': 1, 'n': 10, 'f': 0.1, 'b': True, 's': 'ä \\n', 'y': b'\\x00\\n', 'd': Decimal('-12.34')",
        "datetime.date(2026, 1, 2)",
        "datetime.time(3, 4, 5, 678000)",
        "datetime.datetime(1969, 12, 31, 23, 59, 59, 999999",
        "'a': ['p', 'q'], 'm': {'k': 1}, 'r': {'x': 7, 'y': 'z'}",
        "'id': 2, 'n': None",
    ] {
        assert!(read.contains(words), "{words} is not in {read}");
    }
}

#[test]
fn avro_schemas_may_change_and_may_be_missing() {
    kafka().topic("evolved", 1);
    kafka().topic("letters", 1);
    let r = registry();
    let record = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let old = record(
        r#"{"name":"id","type":"int"},{"name":"gone","type":{"type":"array","items":"string"}},{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":8,"scale":3}}"#,
    );
    let new = record(
        r#"{"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B"]}},{"name":"id","type":"long"},{"name":"when","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}"#,
    );
    let (first, second) = (r.register("evolved-1", &old), r.register("evolved-2", &new));
    let bytes = python_says(
        "import sys, json, io, fastavro, decimal, datetime
def show(id, schema, row):
    out = io.BytesIO(); fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema)), row)
    print((b'\\0' + int(id).to_bytes(4, 'big') + out.getvalue()).hex())
show(sys.argv[1], sys.argv[2], {'id': 7, 'gone': ['x'], 'price': decimal.Decimal('1.250')})
show(sys.argv[3], sys.argv[4], {'kind': 'B', 'id': 1 << 40, 'when': datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)})
show(999999, sys.argv[2], {'id': 8, 'gone': [], 'price': decimal.Decimal('0')})
print('7b7d')
print((b'\\0' + int(sys.argv[1]).to_bytes(4, 'big') + b'\\x08').hex())",
        &[&first.to_string(), &old, &second.to_string(), &new],
    );
    produce("evolved", &unhex(&bytes));
    let table = |url: &str, more: &str| {
        format!(
            "CREATE TABLE letters (reason STRING, origin STRING) WITH ('connector' = 'filesystem', 'path' = 'letters', 'format' = 'csv');
             CREATE TABLE t (id BIGINT, kind STRING, price DECIMAL(6, 2), `when` TIMESTAMP_LTZ(3)) {};",
            with("evolved", &format!("'format' = 'avro-confluent', 'avro-confluent.url' = '{url}'{more}"))
        )
    };
    let dead = ", 'on-error' = 'dead-letter', 'dead-letter.table' = 'letters'";
    let job = Job::new(&format!("{} SELECT id, kind, price, `when` FROM t;", table(&r.url(), dead)));
    let ran = job.run(&["--set", "parallelism.default=1"]).succeeded();
    assert_eq!(ran.out, "+I[7, null, 1.25, null]\n+I[1099511627776, B, null, 2026-01-02T00:00:00Z]\n");
    let files = job.parts("letters").into_iter();
    let letters: String = files.map(|f| std::fs::read_to_string(f).expect("a file")).collect();
    for words in
        ["no schema 999999", "does not begin with a zero byte", "not as its schema says", "offset 2", "offset 4"]
    {
        assert!(letters.contains(words), "{words} is not in {letters}");
    }
    assert_eq!(letters.lines().count(), 3);
    // A registry that is away is no fault of the records.
    let away = format!("http://127.0.0.1:{}", free_port());
    let more = format!("{dead}, 'avro-confluent.request.max-retries' = '0'");
    run(&format!("{} SELECT id FROM t;", table(&away, &more)))
        .failed(6, &["the schema registry at 127.0.0.1", "does not answer"]);
}

#[test]
fn changes_go_through_avro() {
    kafka().topic("changes", 1);
    let format =
        format!("'format' = 'debezium-avro-confluent', 'debezium-avro-confluent.url' = '{}'", registry().url());
    let table = format!("CREATE TABLE t (k STRING, n BIGINT) {};", with("changes", &format));
    run(&format!(
        "{table} SET 'table.exec.mini-batch.size' = '1';
         INSERT INTO t SELECT k, SUM(v) FROM (VALUES ('a', 1), ('b', 5), ('a', 2)) AS x (k, v) GROUP BY k;"
    ))
    .succeeded();
    let ran = run(&format!("{table} SELECT SUM(n), COUNT(*) FROM t;")).succeeded();
    assert!(ran.out.ends_with("[8, 2]\n"), "{}", ran.out);
}

#[test]
fn what_changes_have_beside_them_comes_with_a_prefix() {
    kafka().topic("beside", 1);
    let insert = r#"{"before":null,"after":{"id":1},"op":"c","ts_ms":1700000001000,"source":{"db":"d1","table":"t1"}}"#;
    produce("beside", &[insert.as_bytes().to_vec(), vec![], insert.replace(":1}", ":2}").into_bytes()]);
    let table =
        |columns: &str| format!("CREATE TABLE t ({columns}) {};", with("beside", "'value.format' = 'debezium-json'"));
    let columns = "db STRING METADATA FROM 'value.source.database' VIRTUAL, id INT, `partition` INT METADATA VIRTUAL,
        ts TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL";
    let ran = run(&format!("{} SELECT db, ts, id, `partition` FROM t;", table(columns))).succeeded();
    assert_eq!(ran.out, "+I[d1, 2023-11-14T22:13:21Z, 1, 0]\n+I[d1, 2023-11-14T22:13:21Z, 2, 0]\n");
    run(&format!("{} SELECT id FROM t;", table("id INT, x STRING METADATA FROM 'value.nope' VIRTUAL")))
        .failed(2, &["there is no metadata 'value.nope'", "source.database"]);
}

#[test]
fn plain_avro_and_protobuf_are_what_others_read_and_write() {
    kafka().topic("plain", 1);
    let table = format!("CREATE TABLE t ({COLUMNS}) {};", with("plain", "'format' = 'avro'"));
    run(&format!("{table} INSERT INTO t VALUES {ROWS};")).succeeded();
    assert_eq!(run(&format!("{table} SELECT * FROM t;")).succeeded().out, SHOWN);
    kafka().topic("protobuf", 1);
    let proto = r#"syntax = "proto3";
package shop;
message Order {
  enum Kind { NEW = 0; PAID = 1; }
  message Item { string name = 1; uint32 count = 2; }
  int64 id = 1;
  optional double price = 2;
  Kind kind = 3;
  repeated Item items = 4;
  map<string, int32> tags = 5;
  bytes raw = 6;
  Item main = 7;
}
"#;
    let columns =
        "id BIGINT, price DOUBLE, kind STRING, items ARRAY<ROW<name STRING, `count` BIGINT>>, tags MAP<STRING, INT>,
                   `raw` BYTES, main ROW<name STRING, `count` BIGINT>";
    let format = |more: &str| {
        format!(
            "'format' = 'protobuf', 'protobuf.descriptor-file' = 'shop.proto', 'protobuf.message-class-name' = 'shop.Order'{more}"
        )
    };
    let script = |columns: &str, more: &str, rest: &str| {
        let job = Job::new(&format!("CREATE TABLE t ({columns}) {}; {rest}", with("protobuf", &format(more))));
        job.file("shop.proto", proto);
        job
    };
    let arguments = ["--set", "parallelism.default=1", "--set", "restart-strategy.type=none"];
    script(columns, "", "INSERT INTO t VALUES (10, 1.5, 'PAID', ARRAY[ROW('a', 4294967295)], MAP['x', -1], x'0A', ROW('m', 1)),
        (0, CAST(NULL AS DOUBLE), 'NEW', CAST(NULL AS ARRAY<ROW<name STRING, `count` BIGINT>>), CAST(NULL AS MAP<STRING, INT>),
         x'', CAST(NULL AS ROW<name STRING, `count` BIGINT>));")
    .run(&arguments)
    .succeeded();
    let bytes = values("protobuf", 2);
    let work = tempfile::tempdir().expect("a folder");
    std::fs::write(work.path().join("shop.proto"), proto).expect("a file");
    let compiled = std::process::Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--descriptor_set_out=shop.desc", "shop.proto"])
        .current_dir(work.path())
        .status();
    assert!(compiled.is_ok_and(|s| s.success()));
    let read = python_says(
        "import sys; sys.path.insert(0, sys.argv[1]); import shop_pb2
a, b = (shop_pb2.Order.FromString(bytes.fromhex(h)) for h in sys.argv[2:])
assert (a.id, a.price, a.kind, a.items[0].count, a.tags['x'], a.raw, a.main.name) == (10, 1.5, 1, 4294967295, -1, b'\\n', 'm'), a
assert not b.HasField('price') and not b.HasField('main') and len(b.items) == 0, b
print(shop_pb2.Order(id=5, price=0, items=[shop_pb2.Order.Item(name='q')]).SerializeToString().hex())
print('ff')",
        &[&work.path().display().to_string(), &hex(&bytes[0]), &hex(&bytes[1])],
    );
    produce("protobuf", &unhex(&read));
    let job = script(columns, ", 'on-error' = 'skip'", "SELECT * FROM t;");
    assert_eq!(
        job.run(&arguments).succeeded().out,
        "+I[10, 1.5, PAID, [+I[a, 4294967295]], {x=-1}, [10], +I[m, 1]]\n\
         +I[0, null, NEW, [], {}, [], null]\n+I[5, 0.0, NEW, [+I[q, 0]], {}, [], null]\n"
    );
    script("id STRING", "", "SELECT * FROM t;").run(&arguments).failed(2, &["the field 'id' is int64 and no STRING"]);
    script("idd BIGINT", "", "SELECT * FROM t;").run(&arguments).failed(2, &["no field 'idd'"]);
    script("id BIGINT", "", "SELECT * FROM t;").run(&arguments).failed(3, &["offset 3", "it is no shop.Order"]);
    // A set of descriptors says the same as the file it was made of.
    let job = Job::new(&format!(
        "CREATE TABLE t (id BIGINT) {}; SELECT COUNT(*) FROM t;",
        with("protobuf", &format(", 'protobuf.ignore-parse-errors' = 'true'").replace("shop.proto", "shop.desc"))
    ));
    job.file("shop.desc", std::fs::read(work.path().join("shop.desc")).expect("a file"));
    let ran = job.run(&arguments).succeeded();
    assert!(ran.out.ends_with("[3]\n"), "{}", ran.out);
}
