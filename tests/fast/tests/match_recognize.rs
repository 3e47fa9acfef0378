//! MATCH_RECOGNIZE over rows out of order, cut into batches and epochs at random, with outages in between, against a plain reading: from
//! each row on, as far as rows fit.

use crate::event_time::{Row, given, in_order, key, ran, rows, shown};
use fastrand::Rng;
use weir_core::Value;
use weir_fast_tests::{Job, Step, compiled, insert};

/// What becomes of a candidate: a row that a match may begin with.
enum Decided {
    /// The row of the index completes it.
    Complete(usize),
    /// It is none, which is certain at this time in seconds.
    Not(i64),
    /// It has the rows in front of the index, and ends at this time in seconds.
    TimedOut(usize, i64),
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
    let mut end = start + 1;
    for (n, (_, s, v)) in rows.iter().enumerate().skip(start + 1) {
        if over(*s) {
            break;
        }
        end = n + 1;
        match (*v < first, n > start + 1) {
            (true, _) => {}
            (false, true) => return Decided::Complete(n),
            (false, false) => return Decided::Not(*s),
        }
    }
    within.map_or(Decided::Never, |w| Decided::TimedOut(end, begin + w))
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
                    Decided::Not(_) | Decided::TimedOut(..) => start += 1,
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
    for seed in 0..150 {
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
                    Decided::Not(time) | Decided::TimedOut(_, time) if rows[start].2 > 50 => {
                        decided = decided.max(time)
                    }
                    Decided::Not(_) | Decided::TimedOut(..) | Decided::Never => {}
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

const TIMED_OUT: &str = ", 'timed-out-matches.table' = 'stalled'";

/// What is written of a candidate that is not complete in time.
fn stalled(k: u8, rows: &[Row], start: usize, end: usize, time: i64) -> String {
    let of_b: Vec<i64> = rows[start + 1..end].iter().map(|r| r.2).collect();
    let or_null = |n: Option<i64>| n.map_or("null".to_string(), |n| n.to_string());
    let (sum, last) = (or_null((!of_b.is_empty()).then(|| of_b.iter().sum())), or_null(of_b.last().copied()));
    let (name, next) = (if of_b.is_empty() { "A" } else { "B" }, or_null(of_b.first().copied()));
    let (a, n, began, at) = (rows[start].2, of_b.len(), shown(rows[start].1), shown(time));
    format!("+I[{at}, {began}, {a}, {n}, {sum}, {last}, null, {name}, {next}, {at}, {}]", key(k))
}

/// Rows out of order, in random batches with epochs and outages among them: each candidate whose time passes is written once.
#[test]
fn matches_that_are_not_complete_in_time_go_to_a_table() {
    let (mut found, mut complete) = (0, 0);
    for seed in 0..200 {
        let mut random = Rng::with_seed(seed);
        let (rows, within, past_last) = (rows(&mut random), random.i64(3..12), seed % 2 == 0);
        let (mut expected, mut first) = (vec![], vec![]);
        for (k, rows) in in_order(&rows) {
            let mut start = 0;
            while start < rows.len() {
                let mut next = start + 1;
                match candidate(&rows, start, Some(within)) {
                    Decided::Complete(end) => {
                        first.push(format!("+I[{}, {}]", key(k), rows[start].2));
                        next = if past_last { end + 1 } else { next };
                    }
                    Decided::TimedOut(end, time) => expected.push(stalled(k, &rows, start, end, time)),
                    Decided::Not(_) | Decided::Never => {}
                }
                start = next;
            }
        }
        (found, complete) = (found + expected.len(), complete + first.len());
        let skip = if past_last { "AFTER MATCH SKIP PAST LAST ROW" } else { "" };
        let script = format!(
            "CREATE TABLE stalled (timed_out_at TIMESTAMP(3), timed_out_start TIMESTAMP(3), a BIGINT, n BIGINT, s DECIMAL(20, 0), l BIGINT,
               c BIGINT, w STRING, x BIGINT, t TIMESTAMP(3), k STRING) WITH ('connector' = 'print');
             CREATE TABLE o (k STRING, a BIGINT) WITH ('connector' = 'print');
             INSERT INTO o SELECT k, a FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
               MEASURES A.v AS a, COUNT(B.v) AS n, SUM(B.v) AS s, LAST(B.v) AS l, C.v AS c, CLASSIFIER() AS w, NEXT(A.v) AS x,
                 MATCH_ROWTIME() AS t, C.v + 1 AS not_written
               {skip} PATTERN (A B+ C) WITHIN INTERVAL '{within}' SECOND
               DEFINE A AS A.v > 50, B AS B.v < A.v, C AS C.v >= A.v);"
        );
        let ran = ran(TIMED_OUT, &script, &rows, &mut random);
        for (table, mut expected) in [("stalled", expected), ("o", first)] {
            let mut given = ran.rows(table);
            given.sort();
            expected.sort();
            assert_eq!(given, expected, "{table}, seed {seed}: {rows:?}");
        }
    }
    assert!(found > 1000 && complete > 100, "{found} and {complete}: this shows little");
}

/// What Flink's CEP library gives for the same rows, of which those that time out go to its `TimedOutPartialMatchHandler` (`cep/Ask.java`).
#[test]
fn matches_and_those_that_time_out_are_those_of_flinks_library() {
    let rows: Vec<_> = include_str!("cep/rows.csv").lines().map(|l| l.split(',').collect::<Vec<_>>()).collect();
    let row = |l: &Vec<&str>| {
        let number = |n: usize| l[n].parse::<i64>().expect("a number");
        insert([Value::string(l[0].to_string()), Value::Timestamp(number(1), 0), Value::Int(number(2))])
    };
    let steps: Vec<Step> = rows.chunks(50).map(|part| Step::Rows(part.iter().map(row).collect())).collect();
    for (skip, of_flink) in
        [("", include_str!("cep/next.txt")), ("AFTER MATCH SKIP PAST LAST ROW", include_str!("cep/past.txt"))]
    {
        let row = |v: &str| {
            format!(
                "CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', {v}.ts) AS STRING) || ':' || CAST({v}.v AS STRING)"
            )
        };
        let (a, b, c) = (row("A"), row("B"), row("C"));
        let columns = "k STRING, a STRING, b STRING, c STRING";
        let sql = format!(
            "CREATE TABLE t (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH (
               'connector' = 'datagen', 'scan.watermark.emit.strategy' = 'on-event'{TIMED_OUT});
             CREATE TABLE stalled ({columns}, at_seconds INT) WITH ('connector' = 'print');
             CREATE TABLE o ({columns}) WITH ('connector' = 'print');
             INSERT INTO o SELECT k, a, b, c FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
               MEASURES {a} AS a, LISTAGG({b}, ' ') AS b, {c} AS c,
                 TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', MATCH_ROWTIME()) AS at_seconds
               {skip} PATTERN (A B+ C) WITHIN INTERVAL '8' SECOND DEFINE A AS A.v > 50, B AS B.v < A.v, C AS C.v >= A.v);"
        );
        let ran = Job::new(&sql).parallelism(2).source("t", steps.clone()).run();
        ran.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
        let mut given = vec![];
        for (table, what) in [("o", "match"), ("stalled", "timeout")] {
            for line in ran.rows(table) {
                let parts: Vec<&str> = line[3..line.len() - 1].split(", ").collect();
                let of = |n: usize| if parts[n] == "null" { String::new() } else { format!(" {}", parts[n]) };
                let at = parts.get(4).map_or(String::new(), |at| format!(";at {at}"));
                given.push(format!("{what};{};A{};B{};C{}{at}", parts[0], of(1), of(2), of(3)));
            }
        }
        given.sort();
        assert_eq!(given, of_flink.lines().collect::<Vec<_>>(), "{skip}");
    }
}

/// A pattern with alternatives has several candidates with the same first row.
#[test]
fn candidates_with_the_same_rows_are_written_once() {
    let row = |k: &str, s: i64, v: i64| insert([Value::string(k.to_string()), Value::Timestamp(s, 0), Value::Int(v)]);
    let sql = |pattern: &str, rows: &str| {
        format!(
            "CREATE TABLE t (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts) WITH (
               'connector' = 'datagen', 'scan.watermark.emit.strategy' = 'on-event'{TIMED_OUT});
             CREATE TABLE stalled (n BIGINT, w STRING, timed_out_operator STRING) WITH ('connector' = 'print');
             CREATE TABLE o (c BIGINT) WITH ('connector' = 'print');
             INSERT INTO o SELECT COUNT(*) FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES COUNT(*) AS n, CLASSIFIER() AS w
               {rows} PATTERN ({pattern}) WITHIN INTERVAL '10' SECOND DEFINE Z AS Z.v < 0)"
        )
    };
    let steps = vec![Step::Rows(vec![row("a", 1, 1), row("b", 2, 2)])];
    for rows in ["", "ALL ROWS PER MATCH"] {
        for (pattern, expected) in [
            // Two states have the same row of A.
            ("(A B C | A C) Z", vec!["+I[1, A, match]", "+I[2, B, match]", "+I[2, C, match]"]),
            (
                "(A | B) (C | D){1,2}? Z",
                vec![
                    "+I[1, A, match]",
                    "+I[1, B, match]",
                    "+I[2, C, match]",
                    "+I[2, C, match]",
                    "+I[2, D, match]",
                    "+I[2, D, match]",
                ],
            ),
        ] {
            let ran = Job::new(&sql(pattern, rows)).source("t", steps.clone()).run();
            ran.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
            let mut given = ran.rows("stalled");
            given.sort();
            assert_eq!(given, expected, "{pattern} {rows}");
        }
    }
}

#[test]
fn processing_time_ends_matches_as_well() {
    let row = |k: &str, v: i64| Step::Rows(vec![insert([Value::string(k.to_string()), Value::Int(v)])]);
    let sql = "CREATE TABLE t (k STRING, v BIGINT, p AS PROCTIME()) WITH (
                 'connector' = 'datagen', 'timed-out-matches.table' = 'stalled');
               CREATE TABLE stalled (k STRING, a BIGINT, c BIGINT, timed_out_start TIMESTAMP_LTZ(3), timed_out_at TIMESTAMP_LTZ(3))
                 WITH ('connector' = 'print');
               CREATE TABLE o (k STRING, a BIGINT, c BIGINT) WITH ('connector' = 'print');
               INSERT INTO o SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY p MEASURES A.v AS a, C.v AS c
                 AFTER MATCH SKIP PAST LAST ROW PATTERN (A C) WITHIN INTERVAL '10' SECOND DEFINE A AS A.v < 10)";
    let steps =
        vec![row("a", 1), row("b", 2), Step::Later(9_999), row("a", 11), Step::Later(1), row("b", 12), row("c", 3)];
    let ran = Job::new(sql).source("t", steps).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ran.rows("o"), ["+I[a, 1, 11]"]);
    assert_eq!(ran.rows("stalled"), ["+I[b, 2, null, 2023-11-14T22:13:20Z, 2023-11-14T22:13:30Z]"]);
}

#[test]
fn final_is_of_the_whole_match_and_excluded_rows_are_left_out() {
    let mut found = 0;
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            let mut start = 0;
            while let Some(decided) = (start < rows.len()).then(|| candidate(&rows, start, None)) {
                let Decided::Complete(end) = decided else {
                    if matches!(decided, Decided::Never) {
                        break;
                    }
                    start += 1;
                    continue;
                };
                let (whole, last) = (end - start - 1, rows[end].2);
                for (n, so_far, first) in [(start, 0, "null".to_string()), (end, whole, last.to_string())] {
                    let (ts, v, next) = (shown(rows[n].1), rows[n].2, rows[start + 1].2);
                    let line = format!("{ts}, {last}, {v}, {whole}, {so_far}, {first}, {last}, {next}, {next}, {v}");
                    expected.push(format!("+I[{}, {line}]", key(k)));
                }
                start = end + 1;
            }
        }
        found += expected.len();
        expected.sort();
        let query = "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
            MEASURES FINAL LAST(v) AS f, RUNNING LAST(v) AS r, FINAL COUNT(B.v) AS whole, RUNNING COUNT(B.v) AS so_far,
              FIRST(C.v) AS c, FINAL FIRST(C.v) AS d, NEXT(A.v) AS x, FINAL FIRST(B.v) AS y
            ALL ROWS PER MATCH AFTER MATCH SKIP PAST LAST ROW
            PATTERN (A {- B+ -} C) DEFINE A AS A.v > 50, B AS B.v < A.v, C AS C.v >= A.v)";
        let columns = "k STRING, ts TIMESTAMP(3), f BIGINT, r BIGINT, w BIGINT, n BIGINT, c BIGINT, d BIGINT, x BIGINT, y BIGINT, v BIGINT";
        assert_eq!(given(query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
    assert!(found > 60, "{found} rows: this shows little");
}

#[test]
fn rows_behind_others_are_read_within_the_match() {
    let mut found = 0;
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            for (n, three) in rows.windows(3).enumerate() {
                let (a, b, c) = (three[0].2, three[1].2, three[2].2);
                if a > 30 && c > b {
                    let before = n.checked_sub(1).map_or("null".to_string(), |n| rows[n].2.to_string());
                    expected.push(format!("+I[{}, {b}, {c}, {before}, {b}]", key(k)));
                }
            }
        }
        found += expected.len();
        expected.sort();
        let query = "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
            MEASURES NEXT(A.v) AS b, NEXT(FIRST(A.v), 2) AS c, PREV(FIRST(v)) AS d, PREV(LAST(v)) AS e
            PATTERN (A B C) DEFINE A AS A.v > 30, C AS C.v > NEXT(A.v))";
        let columns = "k STRING, b BIGINT, c BIGINT, d BIGINT, e BIGINT";
        assert_eq!(given(query, columns, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
    assert!(found > 60, "{found} matches: this shows little");
}

#[test]
fn a_match_may_have_to_begin_with_the_first_row_of_its_partition() {
    let (mut found, mut not) = (0, 0);
    for seed in 0..130 {
        let mut random = Rng::with_seed(seed);
        let rows = rows(&mut random);
        let mut expected = vec![];
        for (k, rows) in in_order(&rows) {
            match candidate(&rows, 0, None) {
                Decided::Complete(end) => expected.push(line(k, &rows, 0, end, rows[end].1)),
                Decided::Not(_) | Decided::TimedOut(..) | Decided::Never => not += 1,
            }
        }
        found += expected.len();
        expected.sort();
        let query = query("", "").replace("(A B+ C)", "(^ A B+ C)");
        assert_eq!(given(&query, COLUMNS, &rows, &mut random), expected, "seed {seed}: {rows:?}");
    }
    assert!(found > 20 && not > 20, "{found} and {not}: this shows little");
}

#[test]
fn matches_that_nothing_ends_are_bounded() {
    let sql = |within: &str| {
        format!(
            "CREATE TABLE t (ts TIMESTAMP(3), s STRING, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
             CREATE TABLE o (s STRING) WITH ('connector' = 'print');
             INSERT INTO o SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES LAST(A.s) AS s
               PATTERN (A+ B) {within} DEFINE A AS CHAR_LENGTH(A.s) > 0, B AS CHAR_LENGTH(B.s) = 0)"
        )
    };
    let row = |n: i64| insert([Value::Timestamp(n, 0), Value::string("x".repeat(1 << 20))]);
    let run = |within: &str| {
        let steps = (0..70).map(|n| Step::Rows(vec![row(n)])).collect();
        Job::new(&sql(within)).source("t", steps).run().result
    };
    let e = run("").expect_err("it is too large").to_string();
    assert!(e.contains("more than 64 MiB of rows in one partition") && e.contains("WITHIN"), "{e}");
    assert!(run("WITHIN INTERVAL '5' SECOND").expect("an end"));
}

fn refused(options: &str, declared: &str, within: &str) -> String {
    let sql = format!(
        "CREATE TABLE t (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen'{options});
         {declared} CREATE TABLE o (k STRING, a BIGINT, timed_out_at BIGINT) WITH ('connector' = 'print');
         INSERT INTO o SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES A.v AS a, B.v AS timed_out_at
           PATTERN (A B) {within} DEFINE B AS B.v > A.v);"
    );
    let e = compiled(&sql).and_then(|c| weir::assemble(&c, std::path::Path::new(".")).map(drop));
    e.expect_err("it is refused").to_string().replace("\n  hint: ", " (")
}

#[test]
fn what_is_wrong_with_a_table_of_timed_out_matches_is_said() {
    let within = "WITHIN INTERVAL '1' SECOND";
    let says = |found: String, words: &str| assert!(found.contains(words), "{found}");
    says(refused(TIMED_OUT, "", within), "there is no table 'stalled'");
    says(refused(TIMED_OUT, "", within), "k, a, timed_out_at, timed_out_start");
    says(refused(TIMED_OUT, "", ""), "the PATTERN has no WITHIN");
    let print = |columns: &str| format!("CREATE TABLE stalled ({columns}) WITH ('connector' = 'print');");
    says(refused(TIMED_OUT, &print("v BIGINT"), within), "has a column 'v' (it takes columns among k, a,");
    says(refused(TIMED_OUT, &print("a BOOLEAN"), within), "column 'a' of 'stalled', for timed-out matches, is BOOLEAN");
    says(refused(TIMED_OUT, &print("timed_out_start BOOLEAN"), within), "is BOOLEAN (declare it as TIMESTAMP(3)");
    says(
        refused(TIMED_OUT, &print("timed_out_at BIGINT"), within),
        "'timed_out_at' is a name that timed-out matches need",
    );
    let source = "CREATE TABLE stalled (a BIGINT) WITH ('connector' = 'datagen');";
    says(refused(TIMED_OUT, source, within), "stalled");
}

#[test]
fn each_pattern_may_have_a_table_of_its_own() {
    let sql =
        "CREATE TABLE t (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
         CREATE TABLE x (a BIGINT) WITH ('connector' = 'print'); CREATE TABLE y (a BIGINT) WITH ('connector' = 'print');
         CREATE TABLE o (a BIGINT) WITH ('connector' = 'print');
         INSERT INTO o SELECT * FROM t /*+ OPTIONS('timed-out-matches.table' = 'x') */ MATCH_RECOGNIZE (
           ORDER BY ts MEASURES A.v AS a PATTERN (A B) WITHIN INTERVAL '5' SECOND DEFINE B AS B.v > 5);
         INSERT INTO o SELECT * FROM t /*+ OPTIONS('timed-out-matches.table' = 'y') */ MATCH_RECOGNIZE (
           ORDER BY ts MEASURES A.v AS a PATTERN (A B) WITHIN INTERVAL '5' SECOND DEFINE B AS B.v > 6);";
    let row = |s: i64, v: i64| insert([Value::string("a".to_string()), Value::Timestamp(s, 0), Value::Int(v)]);
    let steps = vec![Step::Rows(vec![row(1, 1), row(2, 6), row(9, 2)])];
    let ran = Job::new(sql).source("t", steps).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{e}"));
    let sorted = |table: &str| {
        let mut rows = ran.rows(table);
        rows.sort();
        rows
    };
    assert_eq!((sorted("x"), sorted("o")), (vec!["+I[2]".to_string(), "+I[6]".into()], vec!["+I[1]".to_string()]));
    assert_eq!(sorted("y"), ["+I[2]", "+I[6]"]);
    // The table is read once for both.
    let graph = weir::assemble(&compiled(sql).expect("a script"), std::path::Path::new(".")).expect("a job").graph;
    assert_eq!(graph.nodes.iter().filter(|n| n.name.starts_with("source")).count(), 1);
}
