//! Fuzzing of the decoders with mutated samples, for a short time each. Whatever the input is, a decoder must not panic, hang or use a
//! gigabyte of memory. It must consume all bytes, and the rows must not depend on how the bytes are divided into pieces, or files into
//! splits.
//!
//! `WEIR_FUZZ_SECONDS` sets the time (1 by default). No fuzzing tool is used, since those need another compiler. The samples contain what
//! is special in each format, and mutation combines it.

use super::{BadRecord, DecoderFactory, RowBuilder};
use crate::filesystem::record_boundaries;
use crate::options::TableSpec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::{Field, Schema, SqlType, TypeKind};
use weir_expr::{OnError, Session};

/// A Xorshift generator. A failure prints its seed, with which it can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn mutate<S: AsRef<[u8]>>(samples: &[S], most: usize, special: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = vec![];
    for _ in 0..=random.below(most) {
        out.extend_from_slice(samples[random.below(samples.len())].as_ref());
    }
    for _ in 0..random.below(8) {
        let at = random.below(out.len() + 1);
        match random.below(5) {
            0 => out.insert(at, special[random.below(special.len())]),
            1 => out.insert(at, random.next() as u8),
            2 if at < out.len() => drop(out.remove(at)),
            3 if at < out.len() => out[at] = special[random.below(special.len())],
            _ => {
                let (from, to) = (random.below(out.len()).min(at), at);
                let piece = out[from..to].to_vec();
                out.splice(at..at, piece);
            }
        }
    }
    out
}

/// All rows as text and all bad records, read in pieces of the given sizes.
fn read(factory: &DecoderFactory, data: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<String>, usize) {
    let mut decoder = factory.make();
    let (mut from, mut to, mut rows, mut bad_records) = (0, 0, vec![], 0);
    loop {
        let at_end = to == data.len();
        let mut read = RowBuilder::new(&factory.schema);
        let mut bad: Vec<BadRecord> = vec![];
        let used = decoder.decoder.decode(&data[from..to], at_end, 1 + piece(), &mut read, &mut bad);
        assert!(used <= to - from, "more was used than was there");
        assert!(bad.iter().all(|b| b.at <= b.end && b.at <= to - from), "a bad record outside of the data");
        assert_eq!(read.starts.len(), read.height, "every row has its place");
        bad_records += bad.len() + read.skipped as usize;
        let (dropped, kinds) = (std::mem::take(&mut read.dropped), read.kinds.clone());
        let batch = read.finish(&factory.schema).unwrap_or_else(|e| panic!("columns of different height: {e}"));
        for row in (0..batch.rows()).filter(|r| !dropped.contains(&(*r as u32))) {
            let columns = batch.data.columns();
            let values: Vec<_> = columns.iter().map(|c| format!("{:?}", weir_core::Value::read(c, row))).collect();
            rows.push(format!("{:?}{}", kinds.get(row), values.join(",")));
        }
        from += used;
        if at_end && from == to {
            return (rows, bad_records);
        }
        assert!(!(at_end && used == 0), "it stands still with {} bytes left", to - from);
        if used == 0 {
            to = (to + 1 + piece()).min(data.len());
        }
    }
}

fn factory(format: &str, options: &[(&str, &str)], columns: &[(&str, TypeKind, Option<&str>)]) -> DecoderFactory {
    let mut all = BTreeMap::from([("format".to_string(), format.to_string())]);
    all.extend(options.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())));
    let schema = Schema::new(columns.iter().map(|(n, k, _)| Field::new(*n, SqlType::from(k.clone()))).collect());
    let every: Vec<usize> = (0..schema.len()).collect();
    let session = Arc::new(Session::default());
    let mut table = TableSpec::new(
        super::format(format).expect("a format").descriptor,
        "t".to_string(),
        schema,
        every.clone(),
        vec![],
        all,
        BTreeMap::new(),
        None,
        ".".into(),
        OnError::Skip,
        session,
        "t".to_string(),
    );
    table.metadata = columns.iter().map(|(_, _, m)| m.map(str::to_string)).collect();
    let format = super::format(format).expect("a format");
    super::decoder_of(format, &table.part(format.descriptor, "", &every)).unwrap_or_else(|e| panic!("{e}"))
}

/// Checks mutated samples until the time is up.
fn run(what: &str, mut sample: impl FnMut(&mut Random) -> Vec<u8>, check: impl Fn(&[u8], &mut Random)) {
    let seconds = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let (start, mut runs) = (Instant::now(), 0u64);
    let mut seed = u64::from(std::process::id()) << 20 | 1;
    while start.elapsed() < Duration::from_secs(seconds) || runs < 100 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) | 1;
        let mut random = Random(seed);
        let data = sample(&mut random);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&data, &mut random)));
        assert!(outcome.is_ok(), "{what}, seed {seed}: {:?}", String::from_utf8_lossy(&data));
        let peak = weir_core::metrics::peak_resident();
        assert!(peak < 1 << 30, "{what}, seed {seed}: {} MiB for {} bytes", peak >> 20, data.len());
        runs += 1;
    }
}

/// Fuzzes a format whose records are parts of a stream.
fn fuzz(
    format: &str,
    options: &[(&str, &str)],
    columns: &[(&str, TypeKind, Option<&str>)],
    samples: &[&str],
    special: &[u8],
) {
    let factory = factory(format, options, columns);
    run(
        &format!("{format} {options:?}"),
        |random| mutate(samples, 4, special, random),
        |data, random| {
            let whole = read(&factory, data, || 1 << 20);
            let pieces = read(&factory, data, || random.below(7));
            assert_eq!(whole, pieces, "rows depend on where the bytes are cut");
            let Some(dialect) = factory.dialect else { return };
            if data.starts_with(b"\xEF\xBB\xBF") {
                // The byte order mark is skipped before a decoder sees the data.
                return;
            }
            let mut starts = record_boundaries(&mut &data[..], data.len() as u64, dialect, 1).expect("read");
            starts.push(data.len() as u64);
            let (mut rows, mut bad) = (vec![], 0);
            for split in starts.windows(2) {
                let (more, worse) = read(&factory, &data[split[0] as usize..split[1] as usize], || 1 << 20);
                rows.extend(more);
                bad += worse;
            }
            assert_eq!(whole, (rows, bad), "rows depend on where the file is split: {starts:?}");
        },
    );
}

/// Fuzzes a format whose records stand alone.
fn fuzz_records(
    format: &str,
    options: &[(&str, &str)],
    columns: &[(&str, TypeKind, Option<&str>)],
    samples: &[Vec<u8>],
) {
    let factory = factory(format, options, columns);
    run(
        &format!("{format} {options:?}"),
        |random| mutate(samples, 1, b"\0\x01\x02\x04\x08\x7F\x80\xFF\x12\x1A", random),
        |data, _| {
            let mut rows = RowBuilder::new(&factory.schema);
            let read = factory.decoder().record(data, &mut rows);
            assert!(!matches!(read, Err(super::DecodeError::Job(_))), "a record ends the job");
            rows.close(0, 0, read.is_ok());
            let good = rows.good();
            rows.kinds.truncate(rows.height);
            let dropped = std::mem::take(&mut rows.dropped);
            let batch = rows.finish(&factory.schema).unwrap_or_else(|e| panic!("columns of different height: {e}"));
            assert_eq!(super::without(batch, &dropped).expect("a batch").rows(), good);
        },
    );
}

const TEXT: TypeKind = TypeKind::Varchar(u32::MAX);

const COLUMNS: &[(&str, TypeKind, Option<&str>)] = &[
    ("a", TypeKind::BigInt, None),
    ("b", TEXT, None),
    ("c", TypeKind::Decimal(10, 2), None),
    ("d", TypeKind::Timestamp(3), None),
];

const CSV: &[&str] = &[
    "1,one,2.50,2026-01-02 03:04:05.678\n",
    "-9223372036854775808,\"two \"\"quoted\"\"\",0.01,2026-01-02 03:04:05\r\n",
    "3,\"three\nlines\n,\",99999999.99,1969-12-31 23:59:59.999\n",
    "# a comment\n",
    ",,,\n",
    "4,\u{e4}\u{1F30D},1e3,2026-13-45 99:99:99\n",
    "5,\"never closed,1.0,2026-01-01 00:00:00\n",
    "6,surplus,1.0,2026-01-01 00:00:00,more\n",
    "7,a\\,b\\\"\\\nc,1.0,2026-01-01 00:00:00\n",
    "8,\"a\\\"b\" \t,1.0,2026-01-01 00:00:00\n",
    "  # \"indented\n",
];

#[test]
fn csv() {
    fuzz("csv", &[], COLUMNS, CSV, b",\"\n\r\\;#\0\xFF\xC3 ");
}

#[test]
fn csv_with_options() {
    let options = [("csv.ignore-parse-errors", "true"), ("csv.escape-character", "\\"), ("csv.allow-comments", "true")];
    fuzz("csv", &options, COLUMNS, CSV, b",\"\n\r\\;#\0\xFF\xC3 ");
}

#[test]
fn csv_nested() {
    let list = TypeKind::Array(Box::new(SqlType::from(TypeKind::Int)));
    let row = TypeKind::Row(vec![Field::new("x", SqlType::from(TypeKind::Date)), Field::new("y", SqlType::STRING)]);
    let columns = [("a", list, None), ("b", row, None), ("c", TypeKind::Varbinary(u32::MAX), None)];
    let samples = ["1;2;3,2026-01-02;x,AP8=\n", ";,;,\n", "\"1;x\",\"2026-1-2;\"\"\",A\n"];
    fuzz("csv", &[("csv.null-literal", "N")], &columns, &samples, b",;\"\n\rN1-= ");
}

#[test]
fn json() {
    let samples = [
        "{\"a\": 1, \"b\": \"one\", \"c\": 2.5, \"d\": \"2026-01-02 03:04:05.678\"}\n",
        "{\"b\": {\"x\": [1, null, true]}, \"a\": \"7\", \"c\": \"1e300\", \"d\": null}\r\n",
        "[{\"a\": 1}, {\"a\": 2}]\n",
        "null\n",
        "{\"a\": 1.5, \"b\": \"\\u00e4\\ud83c\\udf0d\\n\"} trailing\n",
        "\n",
    ];
    fuzz("json", &[], COLUMNS, &samples, b"{}[]\":,\\\n\r0e-+.\0\xFF");
    fuzz("json", &[("json.ignore-parse-errors", "true")], COLUMNS, &samples, b"{}[]\":,\\\n\r0e-+.\0\xFF");
}

#[test]
fn json_nested() {
    let list = TypeKind::Array(Box::new(SqlType::from(TypeKind::Float)));
    let row = TypeKind::Row(vec![Field::new("x", SqlType::from(TypeKind::Int)), Field::new("y", SqlType::STRING)]);
    let map = TypeKind::Map(Box::new(SqlType::STRING), Box::new(SqlType::from(row.clone())));
    let columns = [
        ("a", list, None),
        ("b", map, None),
        ("c", row, None),
        ("d", TypeKind::Time(3), None),
        ("e", TypeKind::Varbinary(u32::MAX), None),
    ];
    let samples = [
        "{\"a\": [1, 2.5, null], \"b\": {\"k\": {\"x\": 1, \"y\": {\"z\": [1e3]}}}, \"c\": {\"x\": 2}, \"d\": \"01:02:03.4\"}\n",
        "{\"e\": \"AP8=\", \"c\": {\"y\": \"\\ud83d\", \"y\": [{\"q\": 1, \"q\": 2}]}, \"b\": {}}\n",
    ];
    fuzz("json", &[], &columns, &samples, b"{}[]\":,\\\n\r0e-+.\0\xFF");
    fuzz("json", &[("json.ignore-parse-errors", "true")], &columns, &samples, b"{}[]\":,\\\n\r0e-+.\0\xFF");
}

#[test]
fn changes() {
    let debezium = [
        "{\"before\": null, \"after\": {\"a\": 1, \"b\": \"x\"}, \"op\": \"c\"}\n",
        "{\"before\": {\"a\": 1}, \"after\": {\"a\": 2, \"c\": \"1.5\"}, \"op\": \"u\"}\n",
        "{\"before\": {\"a\": \"x\"}, \"after\": null, \"op\": \"d\"}\n",
        "{\"schema\": {}, \"payload\": {\"after\": {\"a\": 3}, \"op\": \"r\"}}\n",
    ];
    let canal = [
        "{\"data\": [{\"a\": \"1\", \"b\": \"x\"}, {\"a\": 2}], \"old\": null, \"type\": \"INSERT\"}\n",
        "{\"data\": [{\"a\": \"1\", \"b\": \"y\"}], \"old\": [{\"b\": \"x\"}], \"type\": \"UPDATE\"}\n",
        "{\"data\": [{\"a\": \"zz\"}], \"type\": \"DELETE\", \"table\": \"t\"}\n",
        "{\"data\": null, \"type\": \"ALTER\"}\n",
    ];
    let maxwell = [
        "{\"database\": \"d\", \"table\": \"t\", \"type\": \"insert\", \"ts\": 1, \"data\": {\"a\": 1, \"b\": \"x\"}}\n",
        "{\"type\": \"update\", \"data\": {\"a\": 1, \"b\": \"y\"}, \"old\": {\"b\": null}, \"table\": 5}\n",
        "{\"type\": \"delete\", \"data\": {\"a\": \"zz\"}}\n",
        "\n",
    ];
    let ogg = [
        "{\"op_type\": \"I\", \"table\": \"T\", \"op_ts\": \"2020-05-13 15:40:06.000000\", \"after\": {\"a\": 1}}\n",
        "{\"op_type\": \"U\", \"before\": {\"a\": 1}, \"after\": {\"a\": 2}, \"primary_keys\": [\"a\"]}\n",
        "{\"op_type\": \"D\", \"before\": {\"a\": \"x\"}, \"after\": null}\n",
    ];
    let special = b"{}[]\":,\\\n\r0e-+.\0\xFF";
    let with = |more: &[(&'static str, TypeKind, Option<&'static str>)]| [COLUMNS, more].concat();
    let ts = TypeKind::TimestampLtz(3);
    for (format, samples, columns) in [
        (
            "maxwell-json",
            &maxwell[..],
            with(&[("t", TEXT, Some("table")), ("i", ts.clone(), Some("ingestion-timestamp"))]),
        ),
        (
            "ogg-json",
            &ogg[..],
            with(&[("t", TEXT, Some("table")), ("e", TypeKind::TimestampLtz(6), Some("event-timestamp"))]),
        ),
        (
            "debezium-json",
            &debezium[..],
            with(&[("t", TEXT, Some("source.table")), ("s", ts, Some("source.timestamp"))]),
        ),
        ("canal-json", &canal[..], with(&[("t", TEXT, Some("table")), ("e", TEXT, Some("event-timestamp"))])),
    ] {
        fuzz(format, &[], &columns, samples, special);
        fuzz(format, &[(&format!("{format}.ignore-parse-errors"), "true")], &columns, samples, special);
    }
    fuzz("debezium-json", &[], COLUMNS, &debezium, special);
    fuzz("debezium-json", &[("debezium-json.ignore-parse-errors", "true")], COLUMNS, &debezium, special);
    fuzz("canal-json", &[], COLUMNS, &canal, special);
    fuzz("canal-json", &[("canal-json.ignore-parse-errors", "true")], COLUMNS, &canal, special);
}

#[test]
fn raw() {
    let samples = ["a line\n", "\r\n", "\n", "\u{e4}\u{f6}\u{fc}\n", "no end"];
    fuzz("raw", &[], &[("line", TEXT, None)], &samples, b"\n\r\0\xFF\xC3 ");
}

#[test]
fn avro() {
    let schema = r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"},
        {"name": "b", "type": ["null", "string"]}, {"name": "next", "type": ["null", "r"]},
        {"name": "list", "type": {"type": "array", "items": ["null", "int"]}}]}"#;
    let list = TypeKind::Array(Box::new(SqlType::from(TypeKind::Int)));
    let next = TypeKind::Row(vec![Field::new("a", SqlType::from(TypeKind::BigInt))]);
    let columns = [("a", TypeKind::BigInt, None), ("b", TEXT, None), ("next", next, None), ("list", list, None)];
    let samples = [
        vec![2, 2, 4, b'x', b'y', 0, 4, 2, 2, 0, 0],
        vec![4, 0, 2, 6, 0, 0, 0, 1, 2, 0, 0, 2, 2, 8, 0],
        vec![2, 0, 2, 2, 0, 2, 2, 0, 2],
    ];
    fuzz_records("avro", &[("avro.schema", schema)], &columns, &samples);
    fuzz_records("avro", &[("avro.schema", schema), ("avro.ignore-parse-errors", "true")], &columns, &samples);
}

#[test]
fn protobuf() {
    let file = std::env::temp_dir().join(format!("weir-fuzz-{}.proto", std::process::id()));
    let text =
        "syntax = \"proto3\"; message R { int64 a = 1; string b = 2; R next = 3; repeated int32 list = 4; E e = 5; }
        enum E { ZERO = 0; ONE = 1; }";
    std::fs::write(&file, text).expect("a file");
    let list = TypeKind::Array(Box::new(SqlType::from(TypeKind::Int)));
    let next = TypeKind::Row(vec![Field::new("a", SqlType::from(TypeKind::BigInt))]);
    let columns = [
        ("a", TypeKind::BigInt, None),
        ("b", TEXT, None),
        ("next", next, None),
        ("list", list, None),
        ("e", TEXT, None),
    ];
    let samples = [
        vec![8, 1, 0x12, 1, b'x', 0x22, 3, 1, 2, 3, 0x28, 1],
        vec![0x1A, 4, 8, 5, 0x1A, 0, 0x28, 7],
        vec![0x20, 1, 0x20, 2],
    ];
    let path = file.display().to_string();
    let options = [("protobuf.descriptor-file", path.as_str()), ("protobuf.message-class-name", "R")];
    fuzz_records("protobuf", &options, &columns, &samples);
    let factory = factory("protobuf", &options, &columns);
    let read = |bytes: &[u8]| factory.decoder().record(bytes, &mut RowBuilder::new(&factory.schema));
    assert!(read(&[0x28, 1]).is_ok());
    assert!(matches!(read(&[0x28, 7]), Err(super::DecodeError::Record(_))), "an unknown value of an enum");
    // Ten thousand nested messages.
    let mut deep = vec![];
    for _ in 0..10_000 {
        let mut length = vec![];
        prost_reflect::prost::encoding::encode_varint(deep.len() as u64, &mut length);
        deep = [&[0x1A][..], &length, &deep].concat();
    }
    assert!(matches!(read(&deep), Err(super::DecodeError::Record(_))), "a message that is nested too deep");
    drop(std::fs::remove_file(&file));
}
