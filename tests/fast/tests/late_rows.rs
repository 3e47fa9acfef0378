//! Late rows in the table that `late-rows.table` names: from each kind of operator that leaves some out, each once, and none that was
//! in time for one of its windows.

use fastrand::Rng;
use weir_core::Value;
use weir_fast_tests::{Job, Ran, Step, compiled, insert};

/// A row: its key, its time in seconds, its value.
type Row = (&'static str, i64, i64);

fn table(name: &str, options: &str) -> String {
    format!(
        "CREATE TABLE {name} (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts) WITH (
           'connector' = 'datagen', 'scan.watermark.emit.strategy' = 'on-event'{options});"
    )
}

const LATE: &str = "CREATE TABLE late (v BIGINT, late_reason STRING) WITH ('connector' = 'print');";

fn batch(rows: &[Row]) -> Step {
    let row = |(k, s, v): &Row| insert([Value::string(k.to_string()), Value::Timestamp(*s, 0), Value::Int(*v)]);
    Step::Rows(rows.iter().map(row).collect())
}

fn run(columns: &str, query: &str, parallelism: usize, steps: Vec<Step>) -> Ran {
    let sql = format!(
        "{} {LATE} CREATE TABLE o ({columns}) WITH ('connector' = 'print'); INSERT INTO o {query};",
        table("t", ", 'late-rows.table' = 'late'")
    );
    let ran = Job::new(&sql).parallelism(parallelism).source("t", steps).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{query}: {e}"));
    ran
}

/// The late rows of a query over some rows, of which those in front of it decide what is late.
fn late(columns: &str, query: &str, rows: &[Row]) -> Vec<String> {
    run(columns, query, 1, rows.iter().map(|row| batch(&[*row])).collect()).rows("late")
}

const ROWS: &[Row] = &[("a", 1, 1), ("a", 25, 2), ("b", 3, 4), ("a", 26, 8), ("a", 12, 16), ("b", 24, 32)];

#[test]
fn rows_of_complete_windows_are_written_once_with_the_reason() {
    let ended = |row: i64, end: &str| {
        format!("+I[{row}, its last window, which ended at 1970-01-01 00:00:{end}.000, was complete]")
    };
    let counts = "k STRING, n BIGINT";
    let grouped =
        |windows: &str| format!("SELECT k, COUNT(*) FROM TABLE({windows}) GROUP BY k, window_start, window_end");
    let tumble = "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)";
    assert_eq!(late(counts, &grouped(tumble), ROWS), [ended(4, "10"), ended(16, "20")]);
    // The row of 00:00:12 is in time for the window up to 00:00:30.
    let hop = "HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)";
    assert_eq!(late(counts, &grouped(hop), ROWS), [ended(4, "20")]);
    let cumulate = "CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)";
    assert_eq!(late(counts, &grouped(cumulate), ROWS), [ended(4, "20"), ended(16, "20")]);
    let sets =
        format!("SELECT k, COUNT(*) FROM TABLE({tumble}) GROUP BY window_start, window_end, GROUPING SETS ((k), ())");
    assert_eq!(late(counts, &sets, ROWS), [ended(4, "10"), ended(16, "20")]);
    let top = |windows: &str| {
        format!(
            "SELECT k, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v) AS n
             FROM TABLE({windows})) WHERE n <= 2"
        )
    };
    assert_eq!(late("k STRING, v BIGINT", &top(tumble), ROWS), [ended(4, "10"), ended(16, "20")]);
    assert_eq!(late("k STRING, v BIGINT", &top(hop), ROWS), [ended(4, "20")]);
    let older = "SELECT k, COUNT(*) FROM t GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND)";
    assert_eq!(late(counts, older, ROWS), [ended(4, "10"), ended(16, "20")]);
}

#[test]
fn every_other_operator_that_leaves_late_rows_out_writes_them() {
    let session = "SELECT k, COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' SECOND))
                   GROUP BY k, window_start, window_end";
    let ended = |end: &str| format!("its session, which ended at 1970-01-01 00:00:{end}.000, was complete");
    assert_eq!(
        late("k STRING, n BIGINT", session, ROWS),
        [format!("+I[4, {}]", ended("08")), format!("+I[16, {}]", ended("17"))]
    );
    let passed = "the watermark had passed its time";
    let all = [format!("+I[4, {passed}]"), format!("+I[16, {passed}]"), format!("+I[32, {passed}]")];
    let over = "SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts) FROM t";
    assert_eq!(late("k STRING, n BIGINT", over, ROWS), all);
    let first =
        "SELECT k, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM t) WHERE n = 1";
    assert_eq!(late("k STRING, v BIGINT", first, ROWS), all);
    let last = |at: &str| format!("rows of its key up to 1970-01-01 00:00:{at}.000 had their results");
    let bounded = "SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t";
    assert_eq!(late("k STRING, n BIGINT", bounded, ROWS), [format!("+I[16, {}]", last("26"))]);
    let out = |at: &str| format!("rows up to 1970-01-01 00:00:{at}.000 had gone out");
    assert_eq!(
        late("k STRING, v BIGINT", "SELECT k, v FROM t ORDER BY ts", ROWS),
        [format!("+I[4, {}]", out("25")), format!("+I[16, {}]", out("26")), format!("+I[32, {}]", out("26"))]
    );
}

#[test]
fn a_late_row_is_whole_and_says_where_and_when_it_was_late() {
    let sql = "CREATE TABLE t (k STRING, ms BIGINT, v BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts) WITH (
                 'connector' = 'datagen', 'scan.watermark.emit.strategy' = 'on-event', 'late-rows.table' = 'late');
               CREATE TABLE late (late_at TIMESTAMP_LTZ(3), late_watermark TIMESTAMP_LTZ(3), k STRING, ts TIMESTAMP_LTZ(3),
                 v DECIMAL(20, 1), late_operator STRING, late_row_kind STRING) WITH ('connector' = 'print');
               CREATE TABLE o (n BIGINT) WITH ('connector' = 'print');
               INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND))
                 WHERE k <> 'z' GROUP BY window_start, window_end;";
    let row = |k: &str, ms: i64, v: i64| {
        Step::Rows(vec![insert([Value::string(k.to_string()), Value::Int(ms), Value::Int(v)])])
    };
    let steps = vec![row("a", 0, 1), row("a", 5500, 2), row("z", 10, 3), row("b", 20, 4), row("b", 5510, 5)];
    let ran = Job::new(sql).source("t", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    assert_eq!(
        ran.rows("late"),
        ["+I[2023-11-14T22:13:20Z, 1970-01-01T00:00:05.500Z, b, 1970-01-01T00:00:00.020Z, 4.0, aggregate, +I]"]
    );
    assert_eq!(ran.rows("o"), ["+I[1]", "+I[2]"]);
}

/// Random rows in random batches with outages, and several subtasks: each row is counted or written, never both.
#[test]
fn each_row_is_in_a_window_or_among_the_late_ones() {
    let mut all_late = 0;
    for seed in 0..40 {
        let mut random = Rng::with_seed(seed);
        let (mut now, mut steps, mut sum, mut outages) = (0, vec![], 0, 0);
        for n in 0..random.usize(2..12) {
            let rows: Vec<Row> = (0..random.usize(1..12))
                .map(|_| {
                    now += random.i64(0..5);
                    (["a", "b", "c", "d"][random.usize(0..4)], now - random.i64(0..30), random.i64(1..1000))
                })
                .collect();
            sum += rows.iter().map(|r| r.2).sum::<i64>();
            steps.push(batch(&rows));
            if n % 3 == 0 && outages < 3 {
                outages += 1;
                steps.extend([Step::Epoch, Step::Outage]);
            }
        }
        let query = "SELECT SUM(v) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end";
        let ran = run("s BIGINT", query, if seed % 2 == 0 { 1 } else { 4 }, steps);
        let first = |line: &String| line[3..].split([',', ']']).next().and_then(|n| n.parse::<i64>().ok());
        let of = |rows: Vec<String>| rows.iter().map(|r| first(r).expect("a number")).sum::<i64>();
        let (counted, late) = (of(ran.rows("o")), of(ran.rows("late")));
        assert_eq!(counted + late, sum, "seed {seed}");
        all_late += late;
    }
    assert!(all_late > 10_000, "{all_late}: this shows little");
}

fn refused(sql: &str) -> String {
    let e = compiled(sql).and_then(|c| weir::assemble(&c, std::path::Path::new(".")).map(drop));
    let e = e.expect_err("it is refused");
    e.to_string().replace("\n  hint: ", " (")
}

#[test]
fn what_is_wrong_with_a_table_of_late_rows_is_said() {
    let job = |declared: &str| {
        format!(
            "{} {declared} CREATE TABLE o (k STRING) WITH ('connector' = 'print'); INSERT INTO o SELECT k FROM t;",
            table("t", ", 'late-rows.table' = 'late'")
        )
    };
    let print = |columns: &str| job(&format!("CREATE TABLE late ({columns}) WITH ('connector' = 'print');"));
    assert!(refused(&job("")).contains("there is no table 'late' for the late rows of 't'"), "{}", refused(&job("")));
    let says = |sql: &str, words: &str| assert!(refused(sql).contains(words), "{}", refused(sql));
    says(&print("w STRING"), "has a column 'w' (it takes columns of 't' by their names, and among late_reason");
    says(&print("v STRING"), "column 'v' of the late-rows table 'late' is STRING (in 't' it is BIGINT");
    says(&print("late_at BOOLEAN"), "cannot be BOOLEAN");
    let itself = job("").replace("'late-rows.table' = 'late'", "'late-rows.table' = 't'");
    assert!(refused(&itself).contains("cannot go into the table itself"));
    let no_sink = job("CREATE TABLE late (v BIGINT) WITH ('connector' = 'datagen');");
    assert!(refused(&no_sink).contains("late"), "{}", refused(&no_sink));
    let two = format!(
        "{} {} {LATE} CREATE TABLE later (v BIGINT) WITH ('connector' = 'print'); CREATE TABLE o (n BIGINT) WITH ('connector' = 'print');
         CREATE VIEW u AS SELECT * FROM t UNION ALL SELECT * FROM s;
         INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE u, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;",
        table("t", ", 'late-rows.table' = 'late'"),
        table("s", ", 'late-rows.table' = 'later'"),
    );
    assert!(refused(&two).contains("meet, and their late rows go to different tables"), "{}", refused(&two));
}
