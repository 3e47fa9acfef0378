//! Event time in the command itself, over files, whatever is killed: late rows and their table; early and late results of windows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;
use weir_tests::Job;

const ROWS: usize = 300_000;

/// The size of a window in milliseconds.
const WINDOW: i64 = 10_000;

/// A row: its key, its time in milliseconds, its value.
type Row = (u64, i64, usize);

/// Rows whose times go on by and by; every tenth or so is up to a minute behind.
fn rows() -> Vec<Row> {
    let mut seed: u64 = 7;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let row = |n: usize| {
        let back = if random(10) == 0 { random(60_000) } else { random(2_000) };
        (random(5), 1_700_000_000_000 + n as i64 * 10 - back as i64, n)
    };
    (0..ROWS).map(row).collect()
}

fn job() -> Job {
    let job = Job::new(
        "CREATE TABLE visits (
           who STRING, ms BIGINT, n BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
         ) WITH ('connector' = 'filesystem', 'path' = 'visits.csv', 'format' = 'csv',
                 'scan.watermark.emit.strategy' = 'on-event', 'late-rows.table' = 'late');
         CREATE TABLE late (n BIGINT, who STRING, late_operator STRING, late_row_kind STRING)
           WITH ('connector' = 'filesystem', 'path' = 'late', 'format' = 'csv');
         CREATE TABLE counts (who STRING, ends BIGINT, visits BIGINT, s BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'counts', 'format' = 'csv');
         SET 'execution.checkpointing.interval' = '20ms';
         SET 'table.exec.mini-batch.size' = '500';
         INSERT INTO counts
         SELECT who, UNIX_TIMESTAMP(CAST(window_end AS STRING)), COUNT(*), SUM(n)
         FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY who, window_start, window_end;",
    );
    visits(&job);
    job
}

/// Writes the rows into a file of the job's folder.
fn visits(job: &Job) {
    let mut text = String::new();
    rows().iter().for_each(|(who, ms, n)| _ = writeln!(text, "u{who},{ms},{n}"));
    job.file("visits.csv", text);
}

/// The lines of a folder's files, in order.
fn lines(job: &Job, folder: &str) -> Vec<String> {
    let texts = job.parts(folder).into_iter().map(|p| std::fs::read_to_string(p).expect("a part"));
    let mut lines: Vec<String> = texts.flat_map(|t| t.lines().map(str::to_string).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

/// What goes into windows and what is late, by a plain reading of the rules.
fn wanted() -> (Vec<String>, Vec<String>) {
    let (mut counts, mut late) = (BTreeMap::<(u64, i64), (usize, usize)>::new(), vec![]);
    let mut watermark = i64::MIN;
    for (who, ms, n) in rows() {
        let end = ms.div_euclid(WINDOW) * WINDOW + WINDOW;
        if end - 1 <= watermark {
            late.push(format!("{n},u{who},aggregate,+I"));
        } else {
            let group = counts.entry((who, end)).or_default();
            *group = (group.0 + 1, group.1 + n);
        }
        watermark = watermark.max(ms - 2_000);
    }
    let line =
        |((who, end), (count, sum)): (&(u64, i64), &(usize, usize))| format!("u{who},{},{count},{sum}", end / 1000);
    let mut counts: Vec<String> = counts.iter().map(line).collect();
    counts.sort();
    late.sort();
    (counts, late)
}

/// Whether the job's last run came to its end, as the folder of its state says.
fn finished(job: &Job) -> bool {
    let status = std::fs::read_to_string(job.path(".weir/job/job.json")).unwrap_or_default();
    status.contains("\"finished\": true")
}

/// Runs a job to its end, and kills it on its way as often as it gets so far.
fn kill_often(job: &Job) {
    let mut kills = 0;
    for round in 0..12 {
        let mut command = job.command(&["--set", "parallelism.default=1"]);
        // So that there is something to kill.
        command.env("WEIR_FAILPOINTS", "source-poll=sleep(5)");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
        std::thread::sleep(Duration::from_millis(150 + 40 * round));
        child.kill().expect("the kill");
        child.wait().expect("its end");
        // The next run would be another one.
        if finished(job) {
            break;
        }
        kills += 1;
    }
    assert!(kills > 2, "the job ended after {kills} kills");
    if !finished(job) {
        job.run(&["--set", "parallelism.default=1"]).succeeded();
    }
}

#[test]
fn late_rows_are_written_once_however_often_the_job_is_killed() {
    let job = job();
    kill_often(&job);
    let (counts, late) = wanted();
    assert!(late.len() > 10_000, "{} rows were late: this shows little", late.len());
    assert!(lines(&job, "late") == late, "late rows differ");
    assert!(lines(&job, "counts") == counts, "counts differ");
}

#[test]
fn with_several_subtasks_each_row_is_counted_or_late() {
    let job = job();
    job.run(&["--set", "parallelism.default=4"]).succeeded();
    let number =
        |line: &String, at: usize| line.split(',').nth(at).and_then(|n| n.parse::<usize>().ok()).expect("a number");
    let counted: usize = lines(&job, "counts").iter().map(|line| number(line, 3)).sum();
    let late: usize = lines(&job, "late").iter().map(|line| number(line, 0)).sum();
    assert_eq!(counted + late, ROWS * (ROWS - 1) / 2);
}

/// What changes in files of Debezium's form add up to.
fn added_up(job: &Job, folder: &str) -> Vec<String> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines(job, folder) {
        let change: serde_json::Value = serde_json::from_str(&line).expect("a change");
        for (side, sign) in [("before", -1), ("after", 1)] {
            if !change[side].is_null() {
                *rows.entry(change[side].to_string()).or_default() += sign;
            }
        }
    }
    assert!(rows.values().all(|n| (0..=1).contains(n)), "rows are there several times, or less than not at all");
    rows.into_iter().filter(|(_, n)| *n == 1).map(|(row, _)| row).collect()
}

#[test]
fn early_and_late_results_add_up_however_often_the_job_is_killed() {
    let job = Job::new(
        "CREATE TABLE visits (
           who STRING, ms BIGINT, n BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
         ) WITH ('connector' = 'filesystem', 'path' = 'visits.csv', 'format' = 'csv',
                 'scan.watermark.emit.strategy' = 'on-event');
         CREATE TABLE counts (ends BIGINT, part BIGINT, s BIGINT, visits BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'counts', 'format' = 'debezium-json');
         SET 'execution.checkpointing.interval' = '20ms';
         SET 'table.exec.mini-batch.size' = '500';
         -- Groups that wait for late rows do not fit.
         SET 'state.cache-size' = '2mb';
         SET 'table.exec.emit.early-fire.enabled' = 'true';
         SET 'table.exec.emit.early-fire.delay' = '50 ms';
         SET 'table.exec.emit.late-fire.enabled' = 'true';
         SET 'table.exec.emit.late-fire.delay' = '100 ms';
         SET 'table.exec.emit.allow-lateness' = '30 s';
         INSERT INTO counts
         SELECT UNIX_TIMESTAMP(CAST(window_end AS STRING)), part, SUM(n), COUNT(*)
         FROM (SELECT *, MOD(n, 500) AS part FROM TABLE(TUMBLE(TABLE visits, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
         GROUP BY part, window_start, window_end;",
    );
    visits(&job);
    kill_often(&job);
    let (mut groups, mut watermark, mut late) = (BTreeMap::<(i64, usize), (usize, usize)>::new(), i64::MIN, 0);
    for (_, ms, n) in rows() {
        let end = ms.div_euclid(WINDOW) * WINDOW + WINDOW;
        if end - 1 + 30_000 <= watermark {
            late += 1;
        } else {
            let group = groups.entry((end / 1000, n % 500)).or_default();
            *group = (group.0 + n, group.1 + 1);
        }
        watermark = watermark.max(ms - 2_000);
    }
    let row = |((ends, part), (s, visits)): (&(i64, usize), &(usize, usize))| {
        serde_json::json!({"ends": ends, "part": part, "s": s, "visits": visits}).to_string()
    };
    let mut wanted: Vec<String> = groups.iter().map(row).collect();
    wanted.sort();
    assert!(late > 1_000, "{late} rows were late: this shows little");
    assert!(added_up(&job, "counts") == wanted, "results differ");
    let updates = lines(&job, "counts").iter().filter(|l| l.contains("\"op\":\"d\"")).count();
    assert!(updates > 1_000, "{updates} results were taken back: this shows little");
}

/// The rows of both files have the same times. If one file was read before the other, all rows of the second one would be late.
#[test]
fn large_files_with_event_times_are_read_side_by_side() {
    let job = Job::new(
        "CREATE TABLE t (ms BIGINT, filler STRING, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
           WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'csv');
         SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTE))
         GROUP BY window_start, window_end;",
    );
    let filler = "x".repeat(200);
    for file in ["t/1.csv", "t/2.csv"] {
        let mut text = String::new();
        (0..180_000).for_each(|n| _ = writeln!(text, "{},{filler}", 1_700_000_000_000i64 + n * 10));
        job.file(file, text);
    }
    let ran = job.run(&["--set", "parallelism.default=2"]).succeeded();
    let counted: u64 =
        ran.rows().keys().filter_map(|row| row.rsplit(", ").next()?.trim_end_matches(']').parse::<u64>().ok()).sum();
    assert_eq!(counted, 360_000, "{}", ran.err);
}
