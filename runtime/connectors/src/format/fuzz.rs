//! Fuzzing of the readers: mutated samples, for a few seconds each. Whatever comes in, a reader neither panics nor stands
//! still, it goes through all bytes, and the rows do not depend on where the bytes are cut into pieces.
//!
//! `WEIR_FUZZ_SECONDS` sets the time (3 by default). No tool that needs another compiler: the samples hold what is special
//! in each format, and mutation mixes it.

use super::{Bad, DecoderFactory, Rows, decoder};
use crate::options::TableSpec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::{Field, Schema, SqlType, TypeKind};
use weir_expr::{OnError, Session};

/// Xorshift: repeatable from its seed, which a failure prints.
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

fn mutate(samples: &[&str], special: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = vec![];
    for _ in 0..=random.below(4) {
        out.extend_from_slice(samples[random.below(samples.len())].as_bytes());
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
        let mut read = Rows::new(&factory.schema);
        let mut bad: Vec<Bad> = vec![];
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

fn fuzz(format: &str, options: &[(&str, &str)], columns: &[(&str, TypeKind)], samples: &[&str], special: &[u8]) {
    let mut all = BTreeMap::from([("format".to_string(), format.to_string())]);
    all.extend(options.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())));
    let schema = Schema::new(columns.iter().map(|(n, k)| Field::new(*n, SqlType::from(k.clone()))).collect());
    let every = (0..schema.len()).collect();
    let session = Arc::new(Session::default());
    let table = TableSpec::new(
        "t".to_string(),
        schema,
        every,
        vec![],
        all,
        BTreeMap::new(),
        None,
        ".".into(),
        OnError::Skip,
        session,
        "t".to_string(),
    );
    let factory = decoder(&table).unwrap_or_else(|e| panic!("{e}"));
    let seconds = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let (start, mut runs) = (Instant::now(), 0u64);
    let mut seed = u64::from(std::process::id()) << 20 | 1;
    while start.elapsed() < Duration::from_secs(seconds) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) | 1;
        let mut random = Random(seed);
        let data = mutate(samples, special, &mut random);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let whole = read(&factory, &data, || 1 << 20);
            let pieces = read(&factory, &data, || random.below(7));
            assert_eq!(whole, pieces, "rows depend on where the bytes are cut");
        }));
        assert!(outcome.is_ok(), "{format} {options:?}, seed {seed}: {:?}", String::from_utf8_lossy(&data));
        runs += 1;
    }
    assert!(runs > 100, "only {runs} runs in {seconds} seconds");
}

const COLUMNS: &[(&str, TypeKind)] = &[
    ("a", TypeKind::BigInt),
    ("b", TypeKind::Varchar(u32::MAX)),
    ("c", TypeKind::Decimal(10, 2)),
    ("d", TypeKind::Timestamp(3)),
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
    let special = b"{}[]\":,\\\n\r0e-+.\0\xFF";
    fuzz("debezium-json", &[], COLUMNS, &debezium, special);
    fuzz("debezium-json", &[("debezium-json.ignore-parse-errors", "true")], COLUMNS, &debezium, special);
    fuzz("canal-json", &[], COLUMNS, &canal, special);
    fuzz("canal-json", &[("canal-json.ignore-parse-errors", "true")], COLUMNS, &canal, special);
}

#[test]
fn raw() {
    let samples = ["a line\n", "\r\n", "\n", "\u{e4}\u{f6}\u{fc}\n", "no end"];
    fuzz("raw", &[], &[("line", TypeKind::Varchar(u32::MAX))], &samples, b"\n\r\0\xFF\xC3 ");
}
