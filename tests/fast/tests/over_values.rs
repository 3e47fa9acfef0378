//! OVER in the order of a column, over rows that come and go, cut into batches and epochs at random, with outages in between, against a
//! plain reading: sort what is left, and count from the front.

use fastrand::Rng;
use std::collections::BTreeMap;
use weir_core::Value;
use weir_fast_tests::{Job, Row, Step, added_up, delete, insert};

/// A row: its key, what it is ordered by, a value.
type Plain = (u8, Option<i64>, i64);

fn values((k, o, v): Plain) -> [Value<'static>; 3] {
    let key = char::from(b'a' + k).to_string();
    [Value::string(key), o.map_or(Value::Null, Value::Int), Value::Int(v)]
}

/// Rows that come and go, and those that are left in the order in which they came.
fn changes(count: usize, random: &mut Rng) -> (Vec<Step>, Vec<Plain>) {
    let (mut steps, mut left, mut outages) = (vec![], Vec::<Plain>::new(), 0);
    let mut made = 0;
    while made < count {
        let mut rows: Vec<Row> = vec![];
        for _ in 0..random.usize(1..120) {
            made += 1;
            if !left.is_empty() && random.u8(0..3) == 0 {
                let gone = left[random.usize(0..left.len())];
                let first = left.iter().position(|row| *row == gone).expect("a row");
                rows.push(delete(values(left.remove(first))));
                continue;
            }
            // Rows that come at the end of the order, and others.
            let order = match random.u8(0..8) {
                0 => None,
                1..4 => Some(made as i64),
                _ => Some(random.i64(0..40)),
            };
            let row = (random.u8(0..2), order, random.i64(0..9));
            left.push(row);
            rows.push(insert(values(row)));
        }
        // What was never there goes without a trace.
        rows.push(delete(values((0, Some(5), 77))));
        steps.push(Step::Rows(rows));
        match random.u8(0..5) {
            0 | 1 => steps.push(Step::Epoch),
            2 if outages < 3 => {
                outages += 1;
                steps.extend([Step::Epoch, Step::Outage]);
            }
            _ => {}
        }
    }
    (steps, left)
}

/// Compares a query over `t` with what `of` makes of the sorted rows of a key, of which it is given those up to each row, and to the last
/// one that is equal to it in the order.
fn compare(select: &str, count: usize, of: impl Fn(&[Plain], usize, usize) -> String) {
    for seed in 0..12 {
        let mut random = Rng::with_seed(seed);
        let (steps, mut left) = changes(count, &mut random);
        left.sort_by_key(|(k, o, _)| (*k, *o));
        let mut expected = BTreeMap::new();
        for key in 0..2 {
            let rows: Vec<Plain> = left.iter().filter(|(k, ..)| *k == key).copied().collect();
            for (at, (k, o, v)) in rows.iter().enumerate() {
                let peers = rows.partition_point(|(_, other, _)| other <= o);
                let shown = o.map_or("null".to_string(), |o| o.to_string());
                let row = format!("[{}, {shown}, {v}, {}]", char::from(b'a' + k), of(&rows, at, peers));
                *expected.entry(row).or_insert(0) += 1;
            }
        }
        let sql = format!(
            "CREATE TABLE t (k STRING, o BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'debezium-json');
             CREATE TABLE out_ (k STRING, o BIGINT, v BIGINT, r BIGINT) WITH ('connector' = 'print');
             INSERT INTO out_ SELECT k, o, v, {select} FROM t;"
        );
        let ran = Job::new(&sql).source("t", steps).run();
        ran.result.as_ref().unwrap_or_else(|e| panic!("{select}: {e}"));
        assert!(added_up(&ran.rows("out_")) == expected, "{select}, seed {seed}");
    }
}

const BY: &str = "PARTITION BY k ORDER BY o";

fn sum(rows: &[Plain]) -> String {
    rows.iter().map(|(_, _, v)| v).sum::<i64>().to_string()
}

#[test]
fn rows_of_one_value_share_the_result_of_a_range() {
    compare(&format!("SUM(v) OVER ({BY})"), 900, |rows, _, peers| sum(&rows[..peers]));
}

#[test]
fn rows_are_counted_one_after_the_other_in_the_order_in_which_they_came() {
    compare(&format!("SUM(v) OVER ({BY} ROWS UNBOUNDED PRECEDING)"), 900, |rows, at, _| sum(&rows[..=at]));
    compare(&format!("ROW_NUMBER() OVER ({BY})"), 400, |_, at, _| (at + 1).to_string());
    compare(&format!("LAG(v, 2) OVER ({BY})"), 400, |rows, at, _| {
        at.checked_sub(2).map_or("null".to_string(), |at| rows[at].2.to_string())
    });
}

#[test]
fn ranks_are_those_of_the_standard() {
    let before = |rows: &[Plain], at: usize| rows[..at].iter().filter(|row| row.1 < rows[at].1).count();
    compare(&format!("RANK() OVER ({BY})"), 400, |rows, at, _| (before(rows, at) + 1).to_string());
    compare(&format!("DENSE_RANK() OVER ({BY})"), 400, |rows, at, _| {
        let different: std::collections::BTreeSet<_> = rows[..=at].iter().map(|row| row.1).collect();
        different.len().to_string()
    });
}

#[test]
fn results_that_do_not_change_stay() {
    // Most rows have the greatest value so far in front of them.
    compare(&format!("MAX(v) OVER ({BY})"), 900, |rows, _, peers| {
        rows[..peers].iter().map(|row| row.2).max().expect("a row").to_string()
    });
    compare(&format!("COUNT(DISTINCT v) OVER ({BY})"), 400, |rows, _, peers| {
        let different: std::collections::BTreeSet<_> = rows[..peers].iter().map(|row| row.2).collect();
        different.len().to_string()
    });
    compare(&format!("LAST_VALUE(v) OVER ({BY})"), 400, |rows, _, peers| rows[peers - 1].2.to_string());
    compare(&format!("FIRST_VALUE(v) OVER ({BY} ROWS UNBOUNDED PRECEDING)"), 400, |rows, _, _| rows[0].2.to_string());
}
