//! Early and late results of windows: row by row what Flink gives, by a turned clock what the delays say, and at random, with outages,
//! what a plain reading of the rules comes to.

use fastrand::Rng;
use std::collections::BTreeMap;
use weir_core::Value;
use weir_fast_tests::{Job, Step, compiled, delete, insert};

/// A row: its key, its time in seconds, its value.
type Row = (&'static str, i64, i64);

const EARLY: &str =
    "SET 'table.exec.emit.early-fire.enabled' = 'true'; SET 'table.exec.emit.early-fire.delay' = '0 s';";
const LATE: &str = "SET 'table.exec.emit.late-fire.enabled' = 'true'; SET 'table.exec.emit.late-fire.delay' = '0 s';
                    SET 'table.exec.emit.allow-lateness' = '15 s';";

fn table(options: &str) -> String {
    format!(
        "CREATE TABLE t (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts) WITH (
           'connector' = 'datagen', 'scan.watermark.emit.strategy' = 'on-event'{options});
         CREATE TABLE late (v BIGINT) WITH ('connector' = 'print');"
    )
}

fn values(row: &Row) -> [Value<'static>; 3] {
    [Value::string(row.0.to_string()), Value::Timestamp(row.1, 0), Value::Int(row.2)]
}

fn batch(rows: &[Row]) -> Step {
    Step::Rows(rows.iter().map(|row| insert(values(row))).collect())
}

/// What a query gives, in order.
fn given(settings: &str, query: &str, columns: &str, parallelism: usize, steps: Vec<Step>) -> Vec<String> {
    let sql = format!(
        "{settings} {} CREATE TABLE o ({columns}) WITH ('connector' = 'print'); INSERT INTO o {query};",
        table("")
    );
    let ran = Job::new(&sql).parallelism(parallelism).source("t", steps).run();
    ran.result.as_ref().unwrap_or_else(|e| panic!("{query}: {e}"));
    ran.rows("o")
}

const COUNTS: &str = "k STRING, a TIMESTAMP(3), n BIGINT, s BIGINT";
const OLDER: &str = "SELECT k, TUMBLE_START(ts, INTERVAL '10' SECOND), COUNT(*), SUM(v) FROM t GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND)";
const NEWER: &str =
    "SELECT k, window_start, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
                     GROUP BY k, window_start, window_end";

/// A row a batch.
fn one_by_one(settings: &str, query: &str) -> Vec<String> {
    let rows: &[Row] = &[
        ("a", 1, 1),
        ("a", 2, 2),
        ("b", 3, 4),
        ("a", 12, 8),
        ("a", 4, 16),
        ("b", 5, 32),
        ("a", 14, 64),
        ("a", 31, 128),
        ("a", 6, 256),
        ("a", 13, 512),
    ];
    given(settings, query, COUNTS, 1, rows.iter().map(|row| batch(&[*row])).collect())
}

/// Lines of one window each: the kind, the key, the second at which the window begins, the count and the sum.
fn lines(all: &[(&str, &str, u8, i64, i64)]) -> Vec<String> {
    let start = |s: u8| if s == 0 { "1970-01-01T00:00".to_string() } else { format!("1970-01-01T00:00:{s}") };
    all.iter().map(|(kind, k, s, n, sum)| format!("{kind}[{k}, {}, {n}, {sum}]", start(*s))).collect()
}

#[test]
fn each_row_gives_what_it_gives_in_flink() {
    let early = lines(&[
        ("+I", "a", 0, 1, 1),
        ("-U", "a", 0, 1, 1),
        ("+U", "a", 0, 2, 3),
        ("+I", "b", 0, 1, 4),
        ("+I", "a", 10, 1, 8),
        ("-U", "a", 10, 1, 8),
        ("+U", "a", 10, 2, 72),
        ("+I", "a", 30, 1, 128),
    ]);
    assert_eq!(one_by_one(EARLY, OLDER), early);
    assert_eq!(one_by_one(EARLY, NEWER), early);
    let late = lines(&[
        ("+I", "a", 0, 2, 3),
        ("+I", "b", 0, 1, 4),
        ("-U", "a", 0, 2, 3),
        ("+U", "a", 0, 3, 19),
        ("-U", "b", 0, 1, 4),
        ("+U", "b", 0, 2, 36),
        ("+I", "a", 10, 2, 72),
        ("-U", "a", 10, 2, 72),
        ("+U", "a", 10, 3, 584),
        ("+I", "a", 30, 1, 128),
    ]);
    assert_eq!(one_by_one(LATE, OLDER), late);
    assert_eq!(one_by_one(LATE, NEWER), late);
    let by_ttl = LATE.replace("table.exec.emit.allow-lateness", "table.exec.state.ttl");
    assert_eq!(one_by_one(&by_ttl, OLDER), late);
    let both = lines(&[
        ("+I", "a", 0, 1, 1),
        ("-U", "a", 0, 1, 1),
        ("+U", "a", 0, 2, 3),
        ("+I", "b", 0, 1, 4),
        ("+I", "a", 10, 1, 8),
        ("-U", "a", 0, 2, 3),
        ("+U", "a", 0, 3, 19),
        ("-U", "b", 0, 1, 4),
        ("+U", "b", 0, 2, 36),
        ("-U", "a", 10, 1, 8),
        ("+U", "a", 10, 2, 72),
        ("+I", "a", 30, 1, 128),
        ("-U", "a", 10, 2, 72),
        ("+U", "a", 10, 3, 584),
    ]);
    assert_eq!(one_by_one(&format!("{EARLY} {LATE}"), NEWER), both);
    let alone = "SET 'table.exec.emit.allow-lateness' = '15 s';";
    let once = lines(&[("+I", "a", 0, 2, 3), ("+I", "b", 0, 1, 4), ("+I", "a", 10, 2, 72), ("+I", "a", 30, 1, 128)]);
    assert_eq!(one_by_one(alone, OLDER), once);
}

#[test]
fn a_group_that_loses_its_last_row_is_taken_back() {
    let sql = |settings: &str| {
        format!(
            "{settings} CREATE TABLE t (k STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts) WITH (
               'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b:1', 'format' = 'debezium-json', 'scan.startup.mode' = 'earliest-offset',
               'scan.watermark.emit.strategy' = 'on-event');
             CREATE TABLE o ({COUNTS}) WITH ('connector' = 'print'); INSERT INTO o {OLDER};"
        )
    };
    let come = |row: Row| Step::Rows(vec![insert(values(&row))]);
    let go = |row: Row| Step::Rows(vec![delete(values(&row))]);
    let steps = vec![
        come(("a", 1, 1)),
        come(("b", 2, 2)),
        go(("a", 1, 1)),
        come(("a", 3, 5)),
        come(("c", 20, 7)),
        go(("b", 2, 2)),
        come(("c", 40, 7)),
    ];
    let ran = Job::new(&sql(&format!("{EARLY} {}", LATE.replace("15 s", "1 min")))).source("t", steps).run();
    ran.result.as_ref().expect("an end");
    let wanted = lines(&[
        ("+I", "a", 0, 1, 1),
        ("+I", "b", 0, 1, 2),
        ("-D", "a", 0, 1, 1),
        ("+I", "a", 0, 1, 5),
        ("+I", "c", 20, 1, 7),
        ("-D", "b", 0, 1, 2),
        ("+I", "c", 40, 1, 7),
    ]);
    assert_eq!(ran.rows("o"), wanted);
}

/// The clock is turned when all rows have come, and has been looked at when others come.
fn turn(millis: i64) -> [Step; 3] {
    [Step::Later(millis), Step::Epoch, Step::Epoch]
}

#[test]
fn results_go_out_as_often_as_the_delays_say() {
    let settings = "SET 'table.exec.emit.early-fire.enabled' = 'true'; SET 'table.exec.emit.early-fire.delay' = '10 s';
                    SET 'table.exec.emit.late-fire.enabled' = 'true'; SET 'table.exec.emit.late-fire.delay' = '1 min';
                    SET 'table.exec.emit.allow-lateness' = '1 h';";
    let mut steps = vec![batch(&[("a", 1, 1)]), batch(&[("a", 2, 2)])];
    steps.extend(turn(10_000));
    steps.extend([batch(&[("a", 3, 4)]), Step::Outage]);
    steps.extend(turn(9_000));
    steps.push(batch(&[("a", 4, 8), ("b", 4, 16)]));
    steps.extend(turn(1_000));
    // Nothing has changed in this time.
    steps.extend(turn(60_000));
    steps.push(batch(&[("b", 10, 32), ("a", 5, 64)]));
    steps.extend(turn(10_000));
    steps.push(batch(&[("a", 6, 128)]));
    steps.extend(turn(60_000));
    let wanted = lines(&[
        ("+I", "a", 0, 2, 3),
        ("-U", "a", 0, 2, 3),
        ("+U", "a", 0, 4, 15),
        ("+I", "b", 0, 1, 16),
        ("+I", "b", 10, 1, 32),
        ("-U", "a", 0, 4, 15),
        ("+U", "a", 0, 6, 207),
    ]);
    assert_eq!(given(settings, NEWER, COUNTS, 1, steps), wanted);
}

#[test]
fn a_late_result_that_is_not_due_goes_out_before_its_window_goes() {
    let settings = "SET 'table.exec.emit.late-fire.enabled' = 'true'; SET 'table.exec.emit.late-fire.delay' = '10 s';
                    SET 'table.exec.emit.allow-lateness' = '20 s';";
    // With the last row, the watermark of the one before it does not come together with the end of the input.
    let rows = [("a", 1, 1), ("b", 12, 2), ("a", 2, 4), ("b", 40, 8), ("b", 41, 16)];
    let steps = rows.iter().map(|row| batch(&[*row])).collect();
    let wanted = lines(&[
        ("+I", "a", 0, 1, 1),
        ("-U", "a", 0, 1, 1),
        ("+U", "a", 0, 2, 5),
        ("+I", "b", 10, 1, 2),
        ("+I", "b", 40, 2, 24),
    ]);
    let mut given = given(settings, NEWER, COUNTS, 1, steps);
    // The windows that become complete with a watermark may come in front of those that go.
    given[1..4].sort_by_key(|line| line.contains('b'));
    assert_eq!(given, wanted);
}

#[test]
fn windows_of_the_time_of_day_give_early_results() {
    let query = "SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE p, DESCRIPTOR(pt), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end";
    let sql = format!(
        "SET 'table.exec.emit.early-fire.enabled' = 'true'; SET 'table.exec.emit.early-fire.delay' = '10 s';
         CREATE TABLE p (k STRING, pt AS PROCTIME()) WITH ('connector' = 'datagen');
         CREATE TABLE o (k STRING, n BIGINT) WITH ('connector' = 'print'); INSERT INTO o {query};"
    );
    let row = || Step::Rows(vec![insert([Value::string("a".to_string())])]);
    // The clock begins at twenty seconds of a minute.
    let mut steps = vec![row(), row()];
    steps.extend(turn(10_000));
    steps.push(row());
    steps.extend(turn(30_000));
    steps.push(row());
    let ran = Job::new(&sql).source("p", steps).run();
    ran.result.as_ref().expect("an end");
    assert_eq!(ran.rows("o"), ["+I[a, 2]", "-U[a, 2]", "+U[a, 3]", "+I[a, 1]"]);
}

/// What changes add up to. A row that is taken back must be there.
fn added_up(changes: &[String]) -> Vec<String> {
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for line in changes {
        let (kind, row) = line.split_at(2);
        let count = rows.entry(row).or_default();
        *count += if kind == "+I" || kind == "+U" { 1 } else { -1 };
        assert!(*count >= 0, "{line} takes back what is not there: {changes:#?}");
    }
    rows.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row.to_string(), n as usize)).collect()
}

fn random_steps(random: &mut Rng) -> (Vec<Row>, Vec<Step>) {
    let (mut now, mut all, mut steps, mut outages) = (random.i64(-30..30), vec![], vec![], 0);
    for _ in 0..random.usize(1..14) {
        let rows: Vec<Row> = (0..random.usize(1..8))
            .map(|_| {
                now += random.i64(0..4);
                (["a", "b", "c"][random.usize(0..3)], now - random.i64(0..40), random.i64(1..100))
            })
            .collect();
        steps.push(batch(&rows));
        all.extend(rows);
        match random.u8(0..6) {
            0 => steps.push(Step::Epoch),
            1 => steps.push(Step::Later(random.i64(0..20_000))),
            2 if outages < 3 => {
                outages += 1;
                steps.extend([Step::Epoch, Step::Outage]);
            }
            _ => {}
        }
    }
    (all, steps)
}

fn random_settings(random: &mut Rng) -> (String, i64) {
    let mut settings = String::new();
    let mut fires = |what: &str, delay: i64| {
        settings += &format!(
            "SET 'table.exec.emit.{what}-fire.enabled' = 'true'; SET 'table.exec.emit.{what}-fire.delay' = '{delay} s';"
        );
    };
    let which = random.u8(1..4);
    if which & 1 > 0 {
        fires("early", if random.bool() { 0 } else { random.i64(1..10) });
    }
    let mut lateness = 0;
    if which & 2 > 0 {
        let delay = if random.bool() { 0 } else { random.i64(1..10) };
        fires("late", delay);
        lateness = random.i64(10..30);
        settings += &format!("SET 'table.exec.emit.allow-lateness' = '{lateness} s';");
    }
    (settings, lateness)
}

#[test]
fn changes_add_up_to_the_rows_that_were_not_too_late() {
    type Shape = fn(i64) -> Vec<(i64, i64)>;
    let shapes: [(&str, Shape); 3] = [
        ("TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)", |s| {
            vec![(s.div_euclid(10) * 10, s.div_euclid(10) * 10 + 10)]
        }),
        ("HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)", |s| {
            [-10, -5, 0].map(|n| s.div_euclid(5) * 5 + n).map(|start| (start, start + 15)).to_vec()
        }),
        ("CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND)", |s| {
            let start = s.div_euclid(15) * 15;
            [5, 10, 15].map(|n| (start, start + n)).into_iter().filter(|(_, end)| s < *end).collect()
        }),
    ];
    let (mut changed, mut late) = (0, 0);
    for seed in 0..100 {
        let mut random = Rng::with_seed(seed);
        let (rows, steps) = random_steps(&mut random);
        let (settings, lateness) = random_settings(&mut random);
        let (function, of) = shapes[random.usize(0..3)];
        let mut groups: BTreeMap<(&str, i64, i64), (i64, i64)> = BTreeMap::new();
        let mut watermark = i64::MIN;
        for (k, s, v) in &rows {
            for (start, end) in of(*s) {
                if (end + lateness) * 1000 - 1 <= watermark {
                    late += 1;
                    continue;
                }
                let group = groups.entry((k, start, end)).or_default();
                *group = (group.0 + 1, group.1 + v);
            }
            watermark = watermark.max(s * 1000);
        }
        let query = format!(
            "SELECT k, UNIX_TIMESTAMP(CAST(window_start AS STRING)), UNIX_TIMESTAMP(CAST(window_end AS STRING)), COUNT(*), SUM(v)
             FROM TABLE({function}) GROUP BY k, window_start, window_end"
        );
        let given = given(&settings, &query, "k STRING, a BIGINT, b BIGINT, n BIGINT, s BIGINT", 1, steps);
        changed += given.iter().filter(|line| line.starts_with("-U")).count();
        let mut wanted: Vec<String> =
            groups.iter().map(|((k, start, end), (n, sum))| format!("[{k}, {start}, {end}, {n}, {sum}]")).collect();
        wanted.sort();
        assert_eq!(added_up(&given), wanted, "seed {seed} of {function}, {settings}: {rows:?}");
    }
    assert!(changed > 300 && late > 300, "{changed} changes, {late} late rows: this shows little");
}

#[test]
fn with_several_subtasks_each_row_is_in_its_window_or_among_the_late_ones() {
    for seed in 0..40 {
        let mut random = Rng::with_seed(1_000 + seed);
        let (rows, steps) = random_steps(&mut random);
        let (settings, _) = random_settings(&mut random);
        let sql = format!(
            "{settings} {} CREATE TABLE o (s BIGINT) WITH ('connector' = 'print');
             INSERT INTO o SELECT SUM(s) FROM (
               SELECT k, SUM(v) AS s FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
               GROUP BY k, window_start, window_end
             ) GROUP BY k;",
            table(", 'late-rows.table' = 'late'")
        );
        let ran = Job::new(&sql).parallelism(4).source("t", steps).run();
        ran.result.as_ref().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let sum = |rows: &[String]| {
            rows.iter()
                .map(|r| r.trim_start_matches("+I").trim_matches(['[', ']']).parse::<i64>().expect("a sum"))
                .sum::<i64>()
        };
        assert_eq!(
            sum(&added_up(&ran.rows("o"))) + sum(&ran.rows("late")),
            rows.iter().map(|r| r.2).sum::<i64>(),
            "seed {seed}"
        );
    }
}

fn refused(settings: &str, query: &str) -> String {
    let sql = format!(
        "{settings} {} CREATE TABLE o ({COUNTS}) WITH ('connector' = 'print'); INSERT INTO o {query};",
        table("")
    );
    let e = compiled(&sql).map(drop).expect_err("it is refused");
    e.to_string()
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let enabled = |what: &str| format!("SET 'table.exec.emit.{what}-fire.enabled' = 'true';");
    assert!(refused(&enabled("early"), OLDER).contains("'table.exec.emit.early-fire.delay' is not"));
    assert!(refused(&enabled("late"), OLDER).contains("'table.exec.emit.late-fire.delay' is not"));
    let no_lateness =
        "SET 'table.exec.emit.late-fire.enabled' = 'true'; SET 'table.exec.emit.late-fire.delay' = '0 s';";
    assert!(refused(no_lateness, OLDER).contains("SET 'table.exec.emit.allow-lateness'"));
    let long = LATE.replace("'0 s'", "'16 s'");
    assert!(refused(&long, OLDER).contains("is longer than 'table.exec.emit.allow-lateness'"));
    let sessions = "SELECT k, SESSION_START(ts, INTERVAL '10' SECOND), COUNT(*), SUM(v) FROM t GROUP BY k, SESSION(ts, INTERVAL '10' SECOND)";
    assert!(refused(EARLY, sessions).contains("sessions give no early or late results"));
    // In batch mode each result goes out once, at the end.
    let batch = format!("SET 'execution.runtime-mode' = 'batch'; {EARLY}");
    assert_eq!(one_by_one(&batch, OLDER).len(), 4);
}
