//! Windows, OVER and deduplication over rows out of order, cut into batches and epochs at random, with outages in between, against a
//! plain reading of the rules: a row at a time, with the watermark of all rows before it.

use fastrand::Rng;
use std::collections::BTreeMap;
use weir_core::Value;
use weir_fast_tests::{Job, Ran, Step, insert};

/// A row: its key, its time in seconds, its value.
pub(super) type Row = (u8, i64, i64);

/// How far rows may be out of order, in seconds.
const BOUND: i64 = 3;

fn table(name: &str, options: &str) -> String {
    format!(
        "CREATE TABLE {name} (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '{BOUND}' SECOND) WITH (
           'connector' = 'datagen', 'scan.watermark.emit.strategy' = 'on-event'{options});"
    )
}

pub(super) fn key(k: u8) -> String {
    char::from(b'a' + k).to_string()
}

/// Rows whose times go on by and by, some of them far behind.
pub(super) fn rows(random: &mut Rng) -> Vec<Row> {
    let mut now = random.i64(-30..30);
    (0..random.usize(1..60))
        .map(|_| {
            now += random.i64(0..4);
            let back = if random.u8(0..4) == 0 { random.i64(0..25) } else { random.i64(0..=BOUND) };
            (random.u8(0..3), now - back, random.i64(1..100))
        })
        .collect()
}

/// The rows in batches, with epochs and outages among them.
fn steps(rows: &[Row], random: &mut Rng) -> Vec<Step> {
    // A job is given up after the fourth outage.
    let (mut steps, mut at, mut outages) = (vec![], 0, 0);
    while at < rows.len() {
        let to = (at + random.usize(1..12)).min(rows.len());
        let row = |(k, s, v): &Row| insert([Value::string(key(*k)), Value::Timestamp(*s, 0), Value::Int(*v)]);
        steps.push(Step::Rows(rows[at..to].iter().map(row).collect()));
        at = to;
        match random.u8(0..6) {
            0 | 1 => steps.push(Step::Epoch),
            2 if outages < 3 => {
                outages += 1;
                steps.extend([Step::Epoch, Step::Outage]);
            }
            _ => {}
        }
    }
    steps
}

/// Calls `each` with each row and the watermark in front of it.
fn in_turn(rows: &[Row], mut each: impl FnMut(&Row, i64)) {
    let mut watermark = i64::MIN;
    for row in rows {
        each(row, watermark);
        watermark = watermark.max((row.1 - BOUND) * 1000);
    }
}

pub(super) fn shown(seconds: i64) -> String {
    let t = chrono::DateTime::from_timestamp(seconds, 0).expect("a time").naive_utc();
    t.format(if seconds % 60 == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" }).to_string()
}

/// Runs a script over the rows, whose table has further options.
pub(super) fn ran(options: &str, script: &str, rows: &[Row], random: &mut Rng) -> Ran {
    let ran = Job::new(&format!("{} {script}", table("t", options))).source("t", steps(rows, random)).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{script}: {e}\n{rows:?}"));
    ran
}

/// What a query gives, in any order.
pub(super) fn given(query: &str, columns: &str, rows: &[Row], random: &mut Rng) -> Vec<String> {
    let ran = ran(
        "",
        &format!("CREATE TABLE o ({columns}) WITH ('connector' = 'print'); INSERT INTO o {query};"),
        rows,
        random,
    );
    let mut given = ran.rows("o");
    given.sort();
    given
}

/// Counts and sums by key and window.
type Groups = BTreeMap<(u8, i64, i64), (i64, i64)>;

fn lines(groups: &Groups) -> Vec<String> {
    let line = |((k, start, end), (n, sum)): (&(u8, i64, i64), &(i64, i64))| {
        format!("+I[{}, {}, {}, {n}, {sum}]", key(*k), shown(*start), shown(*end))
    };
    let mut lines: Vec<String> = groups.iter().map(line).collect();
    lines.sort();
    lines
}

fn windowed(function: &str, of: impl Fn(i64) -> Vec<(i64, i64)>) {
    let mut late = 0;
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut groups = Groups::new();
        in_turn(&rows, |(k, s, v), watermark| {
            for (start, end) in of(*s) {
                if end * 1000 - 1 <= watermark {
                    late += 1;
                    continue;
                }
                let group = groups.entry((*k, start, end)).or_default();
                *group = (group.0 + 1, group.1 + v);
            }
        });
        let query = format!(
            "SELECT k, window_start, window_end, COUNT(*), SUM(v) FROM TABLE({function}) GROUP BY k, window_start, window_end"
        );
        let columns = "k STRING, a TIMESTAMP(3), b TIMESTAMP(3), n BIGINT, s BIGINT";
        assert_eq!(given(&query, columns, &rows, &mut random), lines(&groups), "seed {seed}: {rows:?}");
    }
    assert!(late > 30, "{late} rows were late: this shows little");
}

#[test]
fn tumbling_windows_have_each_row_that_is_not_late_once() {
    windowed("TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)", |s| {
        let start = s.div_euclid(10) * 10;
        vec![(start, start + 10)]
    });
}

#[test]
fn a_row_is_in_those_hopping_windows_that_are_not_complete() {
    windowed("HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)", |s| {
        let last = s.div_euclid(5) * 5;
        [last - 10, last - 5, last].map(|start| (start, start + 15)).to_vec()
    });
}

#[test]
fn cumulating_windows_grow_by_steps() {
    windowed(
        "CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND, INTERVAL '5' SECOND)",
        |s| {
            let start = (s - 5).div_euclid(20) * 20 + 5;
            let ends = (1..=4).map(|n| start + 5 * n);
            ends.filter(|end| s < *end).map(|end| (start, end)).collect()
        },
    );
}

/// A session: its start, its end, how many rows it has, and their sum.
type Session = (i64, i64, i64, i64);

#[test]
fn sessions_go_on_as_long_as_rows_come_in_time() {
    const GAP: i64 = 6;
    for seed in 0..100 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        // The open sessions of each key, and those that are complete.
        let mut open: BTreeMap<u8, Vec<Session>> = BTreeMap::new();
        let mut all: Vec<(u8, Session)> = vec![];
        in_turn(&rows, |(k, s, v), watermark| {
            for (k, sessions) in &mut open {
                let complete = |x: &Session| x.1 * 1000 - 1 <= watermark;
                all.extend(sessions.iter().filter(|x| complete(x)).map(|x| (*k, *x)));
                sessions.retain(|x| !complete(x));
            }
            let sessions = open.entry(*k).or_default();
            let (joined, apart): (Vec<Session>, Vec<Session>) =
                sessions.iter().partition(|x| x.0 <= s + GAP && *s <= x.1);
            let merged =
                joined.iter().fold((*s, s + GAP, 1, *v), |a, x| (a.0.min(x.0), a.1.max(x.1), a.2 + x.2, a.3 + x.3));
            if merged.1 * 1000 - 1 > watermark {
                *sessions = apart;
                sessions.push(merged);
            }
        });
        all.extend(open.iter().flat_map(|(k, sessions)| sessions.iter().map(|x| (*k, *x))));
        let line =
            |(k, (a, b, n, sum)): &(u8, Session)| format!("+I[{}, {}, {}, {n}, {sum}]", key(*k), shown(*a), shown(*b));
        let mut expected: Vec<String> = all.iter().map(line).collect();
        expected.sort();
        let query = format!(
            "SELECT k, window_start, window_end, COUNT(*), SUM(v)
             FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '{GAP}' SECOND)) GROUP BY k, window_start, window_end"
        );
        let columns = "k STRING, a TIMESTAMP(3), b TIMESTAMP(3), n BIGINT, s BIGINT";
        assert_eq!(given(&query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
}

/// The rows of each key that are not late, in the order of time, those of one time as they came.
pub(super) fn in_order(rows: &[Row]) -> BTreeMap<u8, Vec<Row>> {
    let mut of_keys: BTreeMap<u8, Vec<Row>> = BTreeMap::new();
    in_turn(rows, |row, watermark| {
        if row.1 * 1000 > watermark {
            of_keys.entry(row.0).or_default().push(*row);
        }
    });
    of_keys.values_mut().for_each(|rows| rows.sort_by_key(|r| r.1));
    of_keys
}

#[test]
fn over_takes_rows_in_the_order_of_time() {
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            for (n, (_, s, v)) in rows.iter().enumerate() {
                let peers = rows.iter().filter(|r| r.1 <= *s);
                let (count, sum) = peers.fold((0, 0), |(n, sum), r| (n + 1, sum + r.2));
                let one_by_one: i64 = rows[..=n].iter().map(|r| r.2).sum();
                let rank = rows.iter().filter(|r| r.1 < *s).count() + 1;
                expected.push(format!("+I[{}, {}, {v}, {count}, {sum}, {one_by_one}, {rank}]", key(k), shown(*s)));
            }
        }
        expected.sort();
        let query = "SELECT k, ts, v, COUNT(*) OVER w, SUM(v) OVER w,
            SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), RANK() OVER w
            FROM t WINDOW w AS (PARTITION BY k ORDER BY ts)";
        let columns = "k STRING, ts TIMESTAMP(3), v BIGINT, n BIGINT, s BIGINT, r BIGINT, p BIGINT";
        assert_eq!(given(query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
}

/// Compares sums and least values over frames of so many seconds, and of so many rows, with those of a plain reading.
fn bounded(rows: &[Row], seconds: i64, count: usize, random: &mut Rng) {
    // Only what is in time: late rows of bounded frames are another matter.
    let mut in_time = vec![];
    in_turn(rows, |row, watermark| {
        if row.1 * 1000 > watermark {
            in_time.push(*row);
        }
    });
    let (mut range, mut by_rows) = (vec![], vec![]);
    for (k, rows) in in_order(&in_time) {
        for (n, (_, s, v)) in rows.iter().enumerate() {
            let near: Vec<i64> = rows.iter().filter(|r| r.1 <= *s && r.1 >= s - seconds).map(|r| r.2).collect();
            let last: Vec<i64> = rows[n.saturating_sub(count)..=n].iter().map(|r| r.2).collect();
            for (frame, out) in [(near, &mut range), (last, &mut by_rows)] {
                let (sum, least) = (frame.iter().sum::<i64>(), frame.iter().min().expect("the row itself"));
                out.push(format!("+I[{}, {}, {v}, {sum}, {least}]", key(k), shown(*s)));
            }
        }
    }
    range.sort();
    by_rows.sort();
    let columns = "k STRING, ts TIMESTAMP(3), v BIGINT, s BIGINT, m BIGINT";
    let frames = [
        (format!("RANGE BETWEEN INTERVAL '{seconds}' SECOND(4) PRECEDING"), range),
        (format!("ROWS BETWEEN {count} PRECEDING"), by_rows),
    ];
    for (frame, expected) in frames {
        let query = format!(
            "SELECT k, ts, v, SUM(v) OVER w, MIN(v) OVER w FROM t
             WINDOW w AS (PARTITION BY k ORDER BY ts {frame} AND CURRENT ROW)"
        );
        assert_eq!(given(&query, columns, &in_time, random), expected, "{frame}: {in_time:?}");
    }
}

#[test]
fn bounded_frames_lose_what_is_behind_them() {
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        bounded(&rows, 4, 2, &mut random);
    }
}

#[test]
fn frames_of_more_rows_than_stay_in_memory_lose_what_is_behind_them() {
    for seed in 0..4 {
        let mut random = Rng::with_seed(seed);
        let mut now = 0;
        let row = |n: i64| {
            now += random.i64(0..3);
            (u8::from(n % 50 == 0), now - random.i64(0..=BOUND), random.i64(1..100))
        };
        let rows: Vec<Row> = (0..2000).map(row).collect();
        bounded(&rows, random.i64(300..700), random.usize(200..600), &mut random);
    }
}

#[test]
fn the_first_row_of_a_key_in_time_comes_once() {
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        // Of each key the earliest row so far, until the watermark has passed it.
        let mut first: BTreeMap<u8, Row> = BTreeMap::new();
        in_turn(&rows, |row, watermark| {
            let out = first.get(&row.0).is_some_and(|f| f.1 * 1000 <= watermark);
            if out || row.1 * 1000 < watermark {
                return;
            }
            let earliest = first.entry(row.0).or_insert(*row);
            if row.1 < earliest.1 {
                *earliest = *row;
            }
        });
        let line = |(k, s, v): &Row| format!("+I[{}, {}, {v}]", key(*k), shown(*s));
        let expected: Vec<String> = first.values().map(line).collect();
        let query =
            "SELECT k, ts, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM t) WHERE n = 1";
        let columns = "k STRING, ts TIMESTAMP(3), v BIGINT";
        assert_eq!(given(query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
}

#[test]
fn the_first_rows_of_a_window_come_once_when_it_is_complete() {
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut windows: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        in_turn(&rows, |row, watermark| {
            let start = row.1.div_euclid(10) * 10;
            if (start + 10) * 1000 - 1 > watermark {
                windows.entry(start).or_default().push(*row);
            }
        });
        let mut expected = vec![];
        for (start, mut rows) in windows {
            rows.sort_by_key(|(k, s, v)| (-v, *k, *s));
            let top = rows.iter().take(2).enumerate();
            expected.extend(top.map(|(n, (k, _, v))| format!("+I[{}, {}, {v}, {}]", shown(start), key(*k), n + 1)));
        }
        expected.sort();
        let query = "SELECT window_start, k, v, n FROM (
              SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, k, ts) AS n
              FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE n <= 2";
        let columns = "w TIMESTAMP(3), k STRING, v BIGINT, n BIGINT";
        assert_eq!(given(query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
}
