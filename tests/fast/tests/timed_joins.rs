//! Window, interval and temporal joins over rows out of order, cut into batches and epochs at random, with outages in between, against
//! nested loops over all rows.

use crate::joins::{KINDS, nested, shown};
use fastrand::Rng;
use std::collections::BTreeMap;
use weir_core::Value;
use weir_fast_tests::{Job, Row, Step, insert, update};

/// A row: its key, its time in seconds, a value.
type Plain = (Option<i64>, i64, i64);

/// How far rows are out of order, in seconds. Watermarks wait as long, so that no row is late.
const DISORDER: i64 = 15;

fn values((k, t, v): Plain) -> [Value<'static>; 3] {
    [k.map_or(Value::Null, Value::Int), Value::Int(t * 1000), Value::Int(v)]
}

fn rows(count: i64, keys: i64, random: &mut Rng, row_of: fn([Value<'static>; 3]) -> Row) -> (Vec<Step>, Vec<Plain>) {
    let (mut steps, mut all, mut outages) = (vec![], vec![], 0);
    let mut made = 0;
    while made < count {
        let mut batch: Vec<Row> = vec![];
        for _ in 0..random.i64(1..50) {
            made += 1;
            let key = (random.u8(0..12) > 0).then(|| random.i64(0..keys));
            // Values tell rows of equal times apart.
            let row = (key, 1000 + made - random.i64(0..DISORDER), made);
            all.push(row);
            batch.push(row_of(values(row)));
        }
        steps.push(Step::Rows(batch));
        match random.u8(0..5) {
            0 | 1 => steps.push(Step::Epoch),
            2 if outages < 1 => {
                outages += 1;
                steps.extend([Step::Epoch, Step::Outage]);
            }
            _ => {}
        }
    }
    (steps, all)
}

fn pair(left: Option<Plain>, right: Option<Plain>) -> String {
    format!("+I[{}, {}]", shown(left.map(|l| l.2)), shown(right.map(|r| r.2)))
}

type Oracle = dyn Fn(&[Plain], &[Plain]) -> Vec<String>;

fn table(name: &str, more: &str, format: &str) -> String {
    format!(
        "CREATE TABLE {name} (k BIGINT, ms BIGINT, v BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3),
           WATERMARK FOR ts AS ts - INTERVAL '{DISORDER}' SECOND{more})
         WITH ('connector' = 'filesystem', 'path' = 'x', {format});"
    )
}

const JSON: &str = "'format' = 'json'";

/// The right side: more of its declaration, its format, and how its rows come.
type Right<'a> = (&'a str, &'a str, fn([Value<'static>; 3]) -> Row);

fn compare(query: &str, keys: i64, right: Right<'_>, oracle: &Oracle) {
    compare_with("", query, keys, right, oracle);
}

fn compare_with(view: &str, query: &str, keys: i64, right: Right<'_>, oracle: &Oracle) {
    for seed in 0..4 {
        let mut random = Rng::with_seed(seed);
        let (on_left, of_left) = rows(400, keys, &mut random, plain);
        let (on_right, of_right) = rows(400, keys, &mut random, right.2);
        let mut expected = BTreeMap::new();
        oracle(&of_left, &of_right).into_iter().for_each(|row| *expected.entry(row).or_insert(0) += 1);
        let sql = format!(
            "{} {} {view} CREATE TABLE out_ (a BIGINT, b BIGINT) WITH ('connector' = 'print'); INSERT INTO out_ {query};",
            table("a", "", JSON),
            table("b", right.0, right.1),
        );
        let parallelism = if seed % 2 == 0 { 1 } else { 3 };
        let ran = Job::new(&sql).parallelism(parallelism).source("a", on_left).source("b", on_right).run();
        ran.result.as_ref().unwrap_or_else(|e| panic!("{query}: {e}"));
        let mut given = BTreeMap::new();
        ran.rows("out_").into_iter().for_each(|row| *given.entry(row).or_insert(0) += 1);
        assert!(given == expected, "{query}, seed {seed}: {} and {} rows", given.len(), expected.len());
    }
}

fn plain(v: [Value<'static>; 3]) -> Row {
    insert(v)
}

#[test]
fn rows_of_the_same_window_are_joined() {
    let window = |name: &str| format!("TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(ts), INTERVAL '10' SECOND))");
    // With two keys a window has some rows of each, with one key many.
    for (keys, more, filter) in [(2, "", 0), (1, " AND a.v + b.v > 500", 500)] {
        for (kind, pads) in KINDS {
            let query = format!(
                "SELECT a.v, b.v FROM {} AS a {kind} {} AS b
                 ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end{more}",
                window("a"),
                window("b")
            );
            compare(&query, keys, ("", JSON, plain), &move |l, r| {
                nested(
                    (l, r),
                    pads,
                    &|l: Plain, r: Plain| {
                        l.0.is_some() && l.0 == r.0 && l.1 / 10 == r.1 / 10 && (filter == 0 || l.2 + r.2 > filter)
                    },
                    pair,
                )
            });
        }
    }
    let query = format!(
        "SELECT a.v, a.k FROM {} AS a WHERE (a.k, a.window_start, a.window_end) IN (SELECT k, window_start, window_end FROM {})",
        window("a"),
        window("b")
    );
    compare(&query, 30, ("", JSON, plain), &|l, r| {
        let has = |l: &&Plain| r.iter().any(|r| l.0.is_some() && l.0 == r.0 && l.1 / 10 == r.1 / 10);
        l.iter().filter(has).map(|l| format!("+I[{}, {}]", l.2, shown(l.0))).collect()
    });
}

#[test]
fn rows_whose_times_are_close_are_joined() {
    for (keys, more, filter) in [(20, "", 0), (1, " AND a.v > b.v", 1)] {
        for (kind, pads) in KINDS {
            let query = format!(
                "SELECT a.v, b.v FROM a {kind} b
                 ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '7' SECOND AND b.ts + INTERVAL '3' SECOND{more}"
            );
            compare(&query, keys, ("", JSON, plain), &move |l, r| {
                nested(
                    (l, r),
                    pads,
                    &|l: Plain, r: Plain| {
                        l.0.is_some() && l.0 == r.0 && (r.1 - 7..=r.1 + 3).contains(&l.1) && (filter == 0 || l.2 > r.2)
                    },
                    pair,
                )
            });
        }
    }
}

/// The version of a key at a time: the last one, of equal times the one that came last.
#[test]
fn rows_that_arrive_close_to_each_other_are_joined() {
    let row = |v: i64| Step::Rows(vec![insert([Value::string("a".to_string()), Value::Int(v)])]);
    let sql = "CREATE TABLE t (k STRING, v BIGINT, p AS PROCTIME()) WITH ('connector' = 'datagen');
        CREATE TABLE o (l BIGINT, r BIGINT) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json',
          'properties.bootstrap.servers' = 'b:1');
        INSERT INTO o SELECT l.v, r.v FROM t AS l LEFT JOIN t AS r
          ON l.k = r.k AND r.v > l.v AND r.p BETWEEN l.p AND l.p + INTERVAL '5' SECOND;";
    let mut steps = vec![row(1), Step::Later(5_000), row(2), Step::Later(5_001), row(3)];
    // The clock has been looked at when others come.
    steps.extend([Step::Later(60_000), Step::Epoch, Step::Epoch, row(4), row(5)]);
    let ran = Job::new(sql).source("t", steps).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
    // Who has no partner is emitted when none can come any more, or at the end. The sink takes rows that are only added.
    let rows = ran.rows("o");
    assert_eq!(rows[..3], ["+I[1, 2]", "+I[2, null]", "+I[3, null]"]);
    let mut at_end = rows[3..].to_vec();
    at_end.sort();
    assert_eq!(at_end, ["+I[4, 5]", "+I[5, null]"]);
}

fn version(right: &[Plain], key: Option<i64>, time: i64) -> Option<Plain> {
    right.iter().filter(|r| key.is_some() && r.0 == key && r.1 <= time).max_by_key(|r| (r.1, r.2)).copied()
}

#[test]
fn rows_are_joined_as_of_their_time() {
    for (kind, pads) in [("JOIN", false), ("LEFT JOIN", true)] {
        let oracle = move |l: &[Plain], r: &[Plain]| {
            let joined = l.iter().map(|l| (l, version(r, l.0, l.1))).filter(|(_, r)| pads || r.is_some());
            joined.map(|(l, r)| pair(Some(*l), r)).collect()
        };
        let query = format!("SELECT a.v, b.v FROM a {kind} b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k");
        let key = ", PRIMARY KEY (k) NOT ENFORCED";
        compare(&query, 12, (key, "'format' = 'debezium-json'", |v| update(v)), &oracle);
        // A view that keeps the last row of each key has the same versions.
        let view = "SELECT k, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS n FROM b) WHERE n = 1";
        let query = format!("SELECT a.v, c.v FROM a {kind} c FOR SYSTEM_TIME AS OF a.ts ON a.k = c.k");
        compare_with(&format!("CREATE VIEW c AS {view};"), &query, 12, ("", JSON, plain), &oracle);
    }
}

#[test]
fn the_event_time_of_rows_that_are_joined_as_they_arrive_is_that_of_the_left_side() {
    let sql = "CREATE TABLE a (k BIGINT, ms BIGINT, p AS PROCTIME(), ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts)
           WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'json', 'scan.watermark.emit.strategy' = 'on-event');
         CREATE TABLE b (k BIGINT, v BIGINT, PRIMARY KEY (k) NOT ENFORCED)
           WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'debezium-json');
         CREATE VIEW joined AS SELECT a.ts FROM a LEFT JOIN b FOR SYSTEM_TIME AS OF a.p ON a.k = b.k;
         CREATE TABLE out_ (n BIGINT) WITH ('connector' = 'print');
         INSERT INTO out_ SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE joined, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end;";
    let at = |seconds: i64| Step::Rows(vec![insert([Value::Int(1), Value::Int(seconds * 1000)])]);
    // The last row is late: its window is complete. The right side, which has no watermark, is still there then.
    let left = vec![at(1), Step::Epoch, at(25), Step::Epoch, at(2)];
    let right = (0..20).map(|_| Step::Epoch).collect();
    for parallelism in [1, 3] {
        let ran =
            Job::new(sql).parallelism(parallelism).source("a", left.clone()).source("b", Vec::clone(&right)).run();
        ran.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(ran.rows("out_"), ["+I[1]", "+I[1]"]);
    }
}
