//! Joins over rows that come and go on both sides, cut into batches and epochs at random, with outages in between, against two nested
//! loops over the rows that are left.

use fastrand::Rng;
use std::collections::BTreeMap;
use weir_core::Value;
use weir_fast_tests::{Job, Row, Step, added_up, delete, insert};

/// A row: its key, a value.
type Plain = (Option<i64>, i64);

fn values((k, v): Plain) -> [Value<'static>; 2] {
    [k.map_or(Value::Null, Value::Int), Value::Int(v)]
}

/// Rows that come and go (or only come), and those that are left.
fn changes(count: usize, keys: i64, (retracts, ghosts): (bool, bool), random: &mut Rng) -> (Vec<Step>, Vec<Plain>) {
    let (mut steps, mut left, mut outages, mut made) = (vec![], Vec::<Plain>::new(), 0, 0);
    while made < count {
        let mut rows: Vec<Row> = vec![];
        for _ in 0..random.usize(1..120) {
            made += 1;
            if retracts && !left.is_empty() && random.u8(0..3) == 0 {
                rows.push(delete(values(left.swap_remove(random.usize(0..left.len())))));
                continue;
            }
            let key = (random.u8(0..10) > 0).then(|| random.i64(0..keys));
            // Equal rows occur, too.
            let row = (key, random.i64(0..40));
            left.push(row);
            rows.push(insert(values(row)));
        }
        if retracts && ghosts {
            // What was never there goes without a trace.
            rows.push(delete(values((Some(0), 77))));
        }
        steps.push(Step::Rows(rows));
        match random.u8(0..5) {
            0 | 1 => steps.push(Step::Epoch),
            2 if outages < 1 => {
                outages += 1;
                steps.extend([Step::Epoch, Step::Outage]);
            }
            _ => {}
        }
    }
    (steps, left)
}

/// What a query gives for the rows of both sides.
type Oracle = dyn Fn(&[Plain], &[Plain]) -> Vec<String>;

pub(crate) fn shown(value: Option<i64>) -> String {
    value.map_or("null".to_string(), |v| v.to_string())
}

fn pair(left: Option<Plain>, right: Option<Plain>) -> String {
    let key = |row: Option<Plain>| shown(row.and_then(|row| row.0));
    let value = |row: Option<Plain>| shown(row.map(|row| row.1));
    format!("[{}, {}, {}, {}]", key(left), value(left), key(right), value(right))
}

/// Compares a query over `a` and `b` with an oracle.
fn compare(query: &str, of: (i64, bool, &str), oracle: &Oracle) {
    compare_many(query, [700, 500], of, oracle);
}

/// The same, with at least this number of changes on each side.
fn compare_many(query: &str, counts: [usize; 2], (keys, retracts, settings): (i64, bool, &str), oracle: &Oracle) {
    for seed in 0..3 {
        let mut random = Rng::with_seed(seed);
        // Where columns are left out, a row that was never there may equal one that is.
        let ghosts = query.contains("b.k, b.v FROM");
        let (on_left, left) = changes(counts[0], keys, (retracts, ghosts), &mut random);
        let (on_right, right) = changes(counts[1], keys, (retracts, ghosts), &mut random);
        let mut expected = BTreeMap::new();
        oracle(&left, &right).into_iter().for_each(|row| *expected.entry(row).or_insert(0) += 1);
        let format = if retracts { "debezium-json" } else { "json" };
        let columns =
            if query.contains("b.k") { "ak BIGINT, av BIGINT, bk BIGINT, bv BIGINT" } else { "ak BIGINT, av BIGINT" };
        let sql = format!(
            "{settings}
             CREATE TABLE a (k BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = '{format}');
             CREATE TABLE b (k BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'y', 'format' = '{format}');
             CREATE TABLE out_ ({columns}) WITH ('connector' = 'print');
             INSERT INTO out_ {query};"
        );
        let parallelism = if seed % 2 == 0 { 1 } else { 3 };
        let job = Job::new(&sql).parallelism(parallelism).source("a", on_left).source("b", on_right);
        let ran = job.run();
        ran.result.as_ref().unwrap_or_else(|e| panic!("{query}: {e}"));
        let rows = ran.rows("out_");
        if settings.contains("batch") {
            assert!(rows.iter().all(|row| row.starts_with("+I")), "{query} changes rows in batch mode");
        }
        let found = added_up(&rows);
        let differs = |(row, n): (&String, &i64)| (expected.get(row) != Some(n)).then(|| format!("{row} x{n}"));
        let differs: Vec<String> = found.iter().filter_map(differs).take(20).collect();
        assert!(found == expected, "{query}, seed {seed}, {settings}, retracts {retracts}, found {differs:?}");
    }
}

/// An outer or inner join by two nested loops. `pair` shows a row of the result.
pub(crate) fn nested<R: Copy>(
    (left, right): (&[R], &[R]),
    pads: [bool; 2],
    matches: &dyn Fn(R, R) -> bool,
    pair: fn(Option<R>, Option<R>) -> String,
) -> Vec<String> {
    let mut all = vec![];
    for l in left {
        let partners: Vec<_> = right.iter().filter(|r| matches(*l, **r)).collect();
        all.extend(partners.iter().map(|r| pair(Some(*l), Some(**r))));
        if partners.is_empty() && pads[0] {
            all.push(pair(Some(*l), None));
        }
    }
    for r in right.iter().filter(|_| pads[1]) {
        if !left.iter().any(|l| matches(*l, *r)) {
            all.push(pair(None, Some(*r)));
        }
    }
    all
}

/// The kinds of joins, and which sides are padded.
pub(crate) const KINDS: [(&str, [bool; 2]); 4] = [
    ("JOIN", [false, false]),
    ("LEFT JOIN", [true, false]),
    ("RIGHT JOIN", [false, true]),
    ("FULL JOIN", [true, true]),
];

fn equal(l: Plain, r: Plain) -> bool {
    l.0.is_some() && l.0 == r.0
}

const STREAM: &str = "";
const BATCH: &str = "SET 'execution.runtime-mode' = 'batch';";

/// All kinds of joins with a condition, over rows that come and go, and over rows that only come, in both modes.
fn all_kinds(keys: i64, on: &str, matches: fn(Plain, Plain) -> bool) {
    all_kinds_of([700, 500], keys, on, matches);
}

/// The same, with at least this number of changes on each side.
fn all_kinds_of(counts: [usize; 2], keys: i64, on: &str, matches: fn(Plain, Plain) -> bool) {
    for (retracts, settings) in [(true, STREAM), (false, STREAM), (false, BATCH)] {
        for (kind, pads) in KINDS {
            let query = format!("SELECT a.k, a.v, b.k, b.v FROM a {kind} b ON {on}");
            compare_many(&query, counts, (keys, retracts, settings), &move |l, r| nested((l, r), pads, &matches, pair));
        }
        for (not, wanted) in [("", true), ("NOT ", false)] {
            let query = format!(
                "SELECT a.k, a.v FROM a WHERE {not}EXISTS (SELECT 1 FROM b AS c WHERE {})",
                on.replace("b.", "c.")
            );
            compare_many(&query, counts, (keys, retracts, settings), &move |l, r| {
                let has = |l: &&Plain| r.iter().any(|r| matches(**l, *r)) == wanted;
                l.iter().filter(has).map(|l| format!("[{}, {}]", shown(l.0), l.1)).collect()
            });
        }
    }
}

#[test]
fn joins_by_a_key() {
    all_kinds(200, "a.k = b.k", equal);
}

#[test]
fn nulls_are_equal_where_nothing_is_distinct() {
    all_kinds(300, "a.k IS NOT DISTINCT FROM b.k", |l, r| l.0 == r.0);
}

#[test]
fn joins_by_a_key_with_a_condition() {
    all_kinds(50, "a.k = b.k AND a.v > b.v", |l, r| equal(l, r) && l.1 > r.1);
}

#[test]
fn keys_with_many_rows() {
    all_kinds(2, "b.k = a.k AND a.v + b.v > 60", |l, r| equal(l, r) && l.1 + r.1 > 60);
}

#[test]
fn hot_keys_on_one_side_or_both() {
    for counts in [[1_000, 40], [40, 1_000], [500, 400]] {
        all_kinds_of(counts, 2, "a.k = b.k AND a.v - b.v = 35", |l, r| equal(l, r) && l.1 - r.1 == 35);
    }
}

#[test]
fn several_inputs_are_joined_at_once() {
    let three = |counts: [usize; 2], keys: i64, least: i64, third: usize| {
        for (retracts, settings) in [(true, STREAM), (false, STREAM), (false, BATCH)] {
            let query = format!(
                "SELECT a.k, a.v, b.k, b.v FROM a JOIN b ON a.k = b.k JOIN {} AS c ON c.k = b.k AND c.v + b.v > {least}",
                ["a", "b"][third]
            );
            compare_many(&query, counts, (keys, retracts, settings), &move |l, r| {
                let thirds =
                    |k: i64, v: i64| [l, r][third].iter().filter(|c| c.0 == Some(k) && c.1 + v > least).count();
                let pairs = l.iter().flat_map(|a| r.iter().filter(|b| equal(*a, **b)).map(|b| (*a, *b)));
                let all = pairs.flat_map(|(a, b)| {
                    let times = b.0.map_or(0, |k| thirds(k, b.1));
                    std::iter::repeat_n(pair(Some(a), Some(b)), times)
                });
                all.collect()
            });
        }
    };
    three([700, 500], 200, 40, 0);
    // Keys with many rows of one input.
    three([1_200, 4], 3, 70, 1);
    three([4, 1_200], 3, 30, 0);
}

#[test]
fn inputs_that_are_joined_at_once_may_be_optional() {
    // A left join, then another one by the same key, which is of the left side.
    let optional = |counts: [usize; 2], keys: i64| {
        for (retracts, settings) in [(true, STREAM), (false, STREAM), (false, BATCH)] {
            let query = "SELECT a.k, a.v, b.k, b.v AS bv FROM a LEFT JOIN b ON a.k = b.k LEFT JOIN b AS c ON a.k = c.k";
            compare_many(query, counts, (keys, retracts, settings), &|l, r| {
                let all = l.iter().flat_map(|a| {
                    let partners: Vec<&Plain> = r.iter().filter(|b| equal(*a, **b)).collect();
                    let shown: Vec<String> = match partners.is_empty() {
                        true => vec![pair(Some(*a), None)],
                        false => partners.iter().map(|b| pair(Some(*a), Some(**b))).collect(),
                    };
                    let times = partners.len().max(1);
                    shown.into_iter().flat_map(move |row| std::iter::repeat_n(row, times)).collect::<Vec<_>>()
                });
                all.collect()
            });
        }
    };
    optional([300, 200], 40);
    optional([60, 60], 3);
    optional([4, 300], 20);
    // An inner join in front of an optional input, and one behind it with a condition over its columns.
    for retracts in [true, false] {
        let query = "SELECT a.k, a.v, b.k, b.v AS bv FROM a JOIN a AS d ON d.k = a.k LEFT JOIN b ON a.k = b.k
                     JOIN a AS c ON c.k = a.k AND (b.v IS NULL OR b.v > 30)";
        compare_many(query, [150, 60], (30, retracts, STREAM), &|l, r| {
            let all = l.iter().filter(|a| a.0.is_some()).flat_map(|a| {
                let partners: Vec<&Plain> = r.iter().filter(|b| equal(*a, **b)).collect();
                let shown: Vec<String> = match partners.is_empty() {
                    true => vec![pair(Some(*a), None)],
                    false => partners.iter().filter(|b| b.1 > 30).map(|b| pair(Some(*a), Some(**b))).collect(),
                };
                let times = l.iter().filter(|d| equal(*a, **d)).count().pow(2);
                shown.into_iter().flat_map(move |row| std::iter::repeat_n(row, times)).collect::<Vec<_>>()
            });
            all.collect()
        });
    }
}

/// Pairs of rows of a relation with itself, by an item of which 300 rows came a day before the last one.
fn pairs_a_day_later(hint: &str, settings: &str) -> usize {
    let sql = format!(
        "{settings}
         CREATE TABLE orders (item STRING, n INT) WITH ('connector' = 'datagen');
         CREATE TABLE pairs (l INT, r INT) WITH ('connector' = 'print');
         INSERT INTO pairs SELECT {hint} l.n, r.n FROM orders AS l JOIN orders AS r ON l.item = r.item;"
    );
    let order = |n| insert([Value::string("a long enough name of an item".to_string()), Value::Int(n)]);
    let steps = vec![
        Step::Rows((0..300).map(order).collect()),
        Step::Later(24 * 3_600_000),
        Step::Epoch,
        Step::Rows(vec![order(300)]),
    ];
    let ran = Job::new(&sql).source("orders", steps).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{hint}: {e}"));
    ran.rows("pairs").len()
}

#[test]
fn each_side_has_its_time_to_live() {
    let (all, old, hour) = (301 * 301, 300 * 300, "SET 'table.exec.state.ttl' = '1 h';");
    assert_eq!(pairs_a_day_later("", ""), all);
    assert_eq!(pairs_a_day_later("", hour), old + 1);
    assert_eq!(pairs_a_day_later("/*+ STATE_TTL('l' = '1 h') */", ""), old + 301);
    assert_eq!(pairs_a_day_later("/*+ STATE_TTL('l' = '1 h', 'r' = '2 h') */", ""), old + 1);
    assert_eq!(pairs_a_day_later("/*+ STATE_TTL('r' = '0') */", hour), old + 301);
    assert_eq!(pairs_a_day_later("/*+ STATE_TTL('l' = '1 h', 'l' = '2 d', 'r' = '2 d') */", hour), all);
}

#[test]
fn joins_without_a_key() {
    all_kinds(60, "a.v = 7 AND b.v > 30 AND a.v + b.v <> 39", |l, r| l.1 == 7 && r.1 > 30 && l.1 + r.1 != 39);
}

#[test]
fn in_and_not_in_know_of_nulls() {
    let has_null = |r: &[Plain]| r.iter().any(|r| r.0.is_none());
    for retracts in [true, false] {
        compare("SELECT a.k, a.v FROM a WHERE k IN (SELECT k FROM b WHERE v > 20)", (90, retracts, STREAM), &|l, r| {
            let has = |l: &&Plain| r.iter().any(|r| r.1 > 20 && equal(**l, *r));
            l.iter().filter(has).map(|l| format!("[{}, {}]", shown(l.0), l.1)).collect()
        });
        compare(
            "SELECT a.k, a.v FROM a WHERE k NOT IN (SELECT k FROM b WHERE k < 20)",
            (90, retracts, STREAM),
            &|l, r| {
                let stays = |l: &&Plain| match l.0 {
                    None => !r.iter().any(|r| r.0.is_some_and(|k| k < 20)),
                    Some(_) => !r.iter().any(|r| r.0.is_some_and(|k| k < 20) && equal(**l, *r)),
                };
                l.iter().filter(stays).map(|l| format!("[{}, {}]", shown(l.0), l.1)).collect()
            },
        );
        compare("SELECT a.k, a.v FROM a WHERE k NOT IN (SELECT k FROM b)", (90, retracts, STREAM), &move |l, r| {
            let stays = |l: &&Plain| r.is_empty() || !has_null(r) && l.0.is_some() && !r.iter().any(|r| equal(**l, *r));
            l.iter().filter(stays).map(|l| format!("[{}, {}]", shown(l.0), l.1)).collect()
        });
        compare("SELECT a.k, a.v FROM a WHERE k IN (SELECT k FROM b) OR v = 3", (90, retracts, STREAM), &|l, r| {
            let stays = |l: &&Plain| l.1 == 3 || r.iter().any(|r| equal(**l, *r));
            l.iter().filter(stays).map(|l| format!("[{}, {}]", shown(l.0), l.1)).collect()
        });
    }
}

#[test]
fn scalar_sub_queries_follow_their_rows() {
    for retracts in [true, false] {
        compare("SELECT k, (SELECT COUNT(*) FROM b WHERE b.v = a.v) FROM a", (60, retracts, STREAM), &|l, r| {
            l.iter().map(|l| format!("[{}, {}]", shown(l.0), r.iter().filter(|r| r.1 == l.1).count())).collect()
        });
        compare("SELECT k, v FROM a WHERE v > (SELECT AVG(v) FROM b)", (60, retracts, STREAM), &|l, r| {
            let average = r.iter().map(|r| r.1).sum::<i64>() / (r.len() as i64).max(1);
            l.iter().filter(|l| l.1 > average).map(|l| format!("[{}, {}]", shown(l.0), l.1)).collect()
        });
    }
}

/// How often a set operation gives a row that is on both sides so often.
type Times = fn(usize, usize) -> usize;

#[test]
fn set_operations_count() {
    let counts = |rows: &[Plain]| {
        let mut counts: BTreeMap<Plain, usize> = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(*row).or_insert(0) += 1);
        counts
    };
    let operations: [(&str, Times); 4] = [
        ("INTERSECT", |l, r| l.min(r).min(1)),
        ("INTERSECT ALL", |l, r| l.min(r)),
        ("EXCEPT", |l, r| usize::from(l > 0 && r == 0)),
        ("EXCEPT ALL", |l, r| l.saturating_sub(r)),
    ];
    for retracts in [true, false] {
        for (name, times) in operations {
            let query = format!("SELECT k, v FROM a {name} SELECT k, v FROM b");
            compare(&query, (5, retracts, STREAM), &move |l, r| {
                let there = counts(r);
                let all = counts(l).into_iter();
                let all = all.flat_map(|(row, n)| {
                    let text = format!("[{}, {}]", shown(row.0), row.1);
                    std::iter::repeat_n(text, times(n, there.get(&row).copied().unwrap_or(0)))
                });
                all.collect()
            });
        }
    }
}
