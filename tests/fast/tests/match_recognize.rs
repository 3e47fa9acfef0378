//! MATCH_RECOGNIZE over rows out of order, cut into batches and epochs at random, with outages in between, against a plain reading: from
//! each row on, as far as rows fit.

use crate::event_time::{Row, given, in_order, key, rows, shown};
use fastrand::Rng;

/// What becomes of a candidate: a row that a match may begin with.
enum Decided {
    /// The row of the index completes it.
    Complete(usize),
    /// It is none, which is certain at this time in seconds.
    Not(i64),
    /// Nothing decides it.
    Never,
}

/// `A B+ C`, where A is greater than 50, B less than A, and C is not.
fn candidate(rows: &[Row], start: usize, within: Option<i64>) -> Decided {
    let (_, begin, first) = rows[start];
    if first <= 50 {
        return Decided::Not(begin);
    }
    let over = |s: i64| within.is_some_and(|w| s - begin >= w);
    for (n, (_, s, v)) in rows.iter().enumerate().skip(start + 1) {
        if over(*s) {
            break;
        }
        match (*v < first, n > start + 1) {
            (true, _) => {}
            (false, true) => return Decided::Complete(n),
            (false, false) => return Decided::Not(*s),
        }
    }
    within.map_or(Decided::Never, |w| Decided::Not(begin + w))
}

fn line(k: u8, rows: &[Row], start: usize, end: usize, time: i64) -> String {
    let of_b: Vec<i64> = rows[start + 1..end].iter().map(|r| r.2).collect();
    let (sum, last) = (of_b.iter().sum::<i64>(), of_b.last().expect("a row of B"));
    let (a, c, n) = (rows[start].2, rows[end].2, of_b.len());
    format!("+I[{}, {a}, {n}, {sum}, {last}, {c}, {}, {}]", key(k), shown(rows[end].1), shown(time))
}

const COLUMNS: &str = "k STRING, a BIGINT, n BIGINT, s BIGINT, l BIGINT, c BIGINT, e TIMESTAMP(3), t TIMESTAMP(3)";

fn query(clauses: &str, within: &str) -> String {
    format!(
        "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
           MEASURES A.v AS a, COUNT(B.v) AS n, SUM(B.v) AS s, LAST(B.v) AS l, C.v AS c, C.ts AS e, MATCH_ROWTIME() AS t
           {clauses} PATTERN (A B+ C) {within} DEFINE A AS A.v > 50, B AS B.v < A.v, C AS C.v >= A.v) AS m"
    )
}

#[test]
fn a_match_goes_on_behind_the_one_before_it() {
    let mut found = 0;
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            let mut start = 0;
            while start < rows.len() {
                match candidate(&rows, start, None) {
                    Decided::Complete(end) => {
                        expected.push(line(k, &rows, start, end, rows[end].1));
                        start = end + 1;
                    }
                    Decided::Not(_) => start += 1,
                    // It holds back all that begin behind it.
                    Decided::Never => break,
                }
            }
        }
        found += expected.len();
        expected.sort();
        let query = query("AFTER MATCH SKIP PAST LAST ROW", "");
        assert_eq!(given(&query, COLUMNS, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
    assert!(found > 60, "{found} matches: this shows little");
}

#[test]
fn a_match_waits_until_those_that_began_before_it_are_decided() {
    let mut waited = 0;
    for seed in 0..250 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let within = random.i64(4..12);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            let mut decided = i64::MIN;
            for start in 0..rows.len() {
                match candidate(&rows, start, Some(within)) {
                    Decided::Complete(end) => {
                        decided = decided.max(rows[end].1);
                        waited += usize::from(decided > rows[end].1);
                        expected.push(line(k, &rows, start, end, decided));
                    }
                    Decided::Not(time) if rows[start].2 > 50 => decided = decided.max(time),
                    Decided::Not(_) | Decided::Never => {}
                }
            }
        }
        expected.sort();
        let query = query("", &format!("WITHIN INTERVAL '{within}' SECOND"));
        assert_eq!(given(&query, COLUMNS, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
    assert!(waited > 5, "{waited} matches waited: this shows little");
}

#[test]
fn all_rows_of_a_match_have_what_was_so_far() {
    for seed in 0..30 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            let (mut start, mut number) = (0, 0);
            // A row above 50, or two that are not.
            while start < rows.len() {
                let length = match (rows[start].2 > 50, rows.get(start + 1).map(|r| r.2 <= 50)) {
                    (true, _) => 1,
                    (false, Some(true)) => 2,
                    (false, _) => 0,
                };
                number += u64::from(length > 0);
                for n in start..start + length {
                    let (sum, name) =
                        (rows[start..=n].iter().map(|r| r.2).sum::<i64>(), if length == 1 { "A" } else { "B" });
                    expected.push(format!(
                        "+I[{}, {}, {name}, {number}, {sum}, {}]",
                        key(k),
                        shown(rows[n].1),
                        rows[n].2
                    ));
                }
                start += length.max(1);
            }
        }
        expected.sort();
        let query = "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
            MEASURES CLASSIFIER() AS c, MATCH_NUMBER() AS n, SUM(v) AS s ALL ROWS PER MATCH
            AFTER MATCH SKIP PAST LAST ROW PATTERN (A | B{2}) DEFINE A AS A.v > 50, B AS B.v <= 50)";
        let columns = "k STRING, ts TIMESTAMP(3), c STRING, n BIGINT, s BIGINT, v BIGINT";
        assert_eq!(given(query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
}
