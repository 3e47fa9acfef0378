//! Killed while windows fire: what windows, sessions, frames and ranks give is what a plain reading of the input gives, each row
//! once, at whatever step the process ended and with whatever parallelism it went on.

use std::collections::{BTreeMap, BTreeSet};
use weir_tests::Job;

const ROWS: usize = 20_000;

/// Rows are out of order within blocks of so many.
const BLOCK: usize = 40;

/// The time between two rows.
const STEP: i64 = 100;

struct Row {
    key: i64,
    /// Milliseconds since the first row's time; no two rows have the same.
    at: i64,
    value: i64,
}

fn rows() -> Vec<Row> {
    let mut seed = 15u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut order: Vec<usize> = (0..ROWS).collect();
    for block in order.chunks_mut(BLOCK) {
        for n in (1..block.len()).rev() {
            block.swap(n, draw(n as u64 + 1) as usize);
        }
    }
    let row = |n| Row { key: draw(60) as i64, at: n as i64 * STEP, value: draw(1000) as i64 };
    order.into_iter().map(row).collect()
}

/// One statement for each kind of operator that waits for time.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "tumble",
        "SELECT ms(window_start), k, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    (
        "hop",
        "SELECT ms(window_start), k, COUNT(*), SUM(v)
         FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    (
        "session",
        "SELECT ms(window_start), k, COUNT(*), SUM(v)
         FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '6' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    (
        "frames",
        "SELECT ms(ts), k, COUNT(*) OVER w, SUM(v) OVER w FROM src
         WINDOW w AS (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW)",
    ),
    (
        "ranks",
        "SELECT ms(window_start), k, place, n FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k) AS place FROM (
             SELECT window_start, window_end, k, COUNT(*) AS n
             FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k))
         WHERE place <= 3",
    ),
    (
        "firsts",
        "SELECT ms(ts), k, part, v FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY k, part ORDER BY ts) AS n FROM (SELECT *, MOD(v, 50) AS part FROM src))
         WHERE n = 1",
    ),
    (
        "patterns",
        "SELECT ms(b), k, n, s FROM src MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts
           MEASURES A.ts AS b, COUNT(B.v) AS n, SUM(B.v) AS s, ms(A.ts) AS began AFTER MATCH SKIP PAST LAST ROW
           PATTERN (A B+ C) WITHIN INTERVAL '60' SECOND DEFINE A AS A.v > 500, B AS B.v < A.v, C AS C.v >= A.v)",
    ),
];

fn job(rows: &[Row]) -> Job {
    let mut script = String::from(
        "CREATE TABLE src (k BIGINT, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
           WITH ('connector' = 'filesystem', 'path' = 'src.csv', 'format' = 'csv', 'timed-out-matches.table' = 'stalled');
         CREATE TABLE stalled (began BIGINT, k BIGINT, n BIGINT, s BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'stalled', 'format' = 'csv');
         SET 'execution.checkpointing.interval' = '20ms';
         SET 'table.exec.mini-batch.size' = '200';
         SET 'state.cache-size' = '2mb';
         SET 'restart-strategy.type' = 'none';\n",
    );
    for (table, statement) in STATEMENTS {
        let select = statement.replace("ms(", "TIMESTAMPDIFF(SECOND, TIMESTAMP '2026-01-01 00:00:00', ");
        script += &format!(
            "CREATE TABLE {table} (a BIGINT, b BIGINT, c BIGINT, d BIGINT)
               WITH ('connector' = 'filesystem', 'path' = '{table}', 'format' = 'csv');
             INSERT INTO {table} {select};\n"
        );
    }
    let job = Job::new(&script);
    let line = |r: &Row| {
        let (minutes, millis) = (r.at / 60_000, r.at % 60_000);
        let time = format!("{:02}:{:02}:{:02}.{:03}", minutes / 60, minutes % 60, millis / 1000, millis % 1000);
        format!("{},2026-01-01 {time},{}\n", r.key, r.value)
    };
    job.file("src.csv", rows.iter().map(line).collect::<String>());
    job
}

/// Lines with how often each is there.
type Lines = BTreeMap<String, u64>;

/// A count and a sum for each key.
type Sums = BTreeMap<(i64, i64), (i64, i64)>;

fn add(sums: &mut Sums, key: (i64, i64), row: &Row) {
    let sum = sums.entry(key).or_default();
    *sum = (sum.0 + 1, sum.1 + row.value);
}

/// The matches of `A B+ C` in the rows of each key, and those that were not complete in time.
fn matches(sorted: &[&Row]) -> (Vec<String>, Vec<String>) {
    let (mut found, mut stalled) = (vec![], vec![]);
    for key in sorted.iter().map(|r| r.key).collect::<BTreeSet<i64>>() {
        let rows: Vec<&Row> = sorted.iter().filter(|r| r.key == key).copied().collect();
        let mut start = 0;
        while let Some(first) = rows.get(start) {
            start += 1;
            let of_b: Vec<i64> = rows[start..].iter().map(|r| r.value).take_while(|v| *v < first.value).collect();
            let last = rows.get(start + of_b.len()).filter(|last| last.at - first.at < 60_000);
            if first.value > 500 && last.is_none() {
                let in_time = rows[start..].iter().filter(|r| r.at - first.at < 60_000).map(|r| r.value);
                let (n, sum) = (in_time.clone().count(), in_time.sum::<i64>());
                let sum = if n == 0 { String::new() } else { sum.to_string() };
                stalled.push(format!("{},{key},{n},{sum}", first.at / 1000));
            }
            if first.value > 500 && !of_b.is_empty() && last.is_some() {
                found.push(format!("{},{key},{},{}", first.at / 1000, of_b.len(), of_b.iter().sum::<i64>()));
                start += of_b.len() + 1;
            }
        }
    }
    (found, stalled)
}

/// What the statements give, by a plain reading of the rows in the order of time.
fn wanted(rows: &[Row]) -> BTreeMap<&'static str, Lines> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|r| r.at);
    let (mut tumble, mut hop, mut session) = (Sums::new(), Sums::new(), Sums::new());
    let mut last: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut firsts: BTreeMap<(i64, i64), &Row> = BTreeMap::new();
    let mut frames = vec![];
    for (n, row) in sorted.iter().enumerate() {
        add(&mut tumble, (row.at / 10_000 * 10, row.key), row);
        let newest = row.at / 5_000 * 5;
        (0..4).for_each(|n| add(&mut hop, (newest - n * 5, row.key), row));
        let start = match last.get(&row.key) {
            Some((start, before)) if row.at - before <= 6_000 => *start,
            _ => row.at,
        };
        last.insert(row.key, (start, row.at));
        add(&mut session, (start, row.key), row);
        let near = sorted[..=n].iter().rev().take_while(|r| row.at - r.at <= 10_000);
        let frame: Vec<i64> = near.filter(|r| r.key == row.key).map(|r| r.value).collect();
        frames.push(format!("{},{},{},{}", row.at / 1000, row.key, frame.len(), frame.iter().sum::<i64>()));
        firsts.entry((row.key, row.value % 50)).or_insert(row);
    }
    let mut ranks = vec![];
    for start in tumble.keys().map(|k| k.0).collect::<BTreeSet<i64>>() {
        let mut counts: Vec<(i64, i64)> =
            tumble.range((start, 0)..(start + 1, 0)).map(|((_, key), (n, _))| (-n, *key)).collect();
        counts.sort_unstable();
        let top = counts.iter().take(3).enumerate();
        ranks.extend(top.map(|(place, (n, key))| format!("{start},{key},{},{}", place + 1, -n)));
    }
    let (patterns, stalled) = matches(&sorted);
    let printed = |((a, b), (c, d)): ((i64, i64), (i64, i64))| format!("{a},{b},{c},{d}");
    let firsts = firsts.into_iter().map(|((key, part), r)| format!("{},{key},{part},{}", r.at / 1000, r.value));
    BTreeMap::from([
        ("tumble", counted(tumble.into_iter().map(printed))),
        ("hop", counted(hop.into_iter().map(printed))),
        ("session", counted(session.into_iter().map(|((a, b), sum)| printed(((a / 1000, b), sum))))),
        ("frames", counted(frames)),
        ("ranks", counted(ranks)),
        ("firsts", counted(firsts)),
        ("patterns", counted(patterns)),
        ("stalled", counted(stalled)),
    ])
}

fn counted(lines: impl IntoIterator<Item = String>) -> Lines {
    let mut all = Lines::new();
    lines.into_iter().for_each(|line| *all.entry(line).or_default() += 1);
    all
}

fn check(job: &Job, wanted: &BTreeMap<&str, Lines>, when: &str) {
    for table in wanted.keys() {
        let texts = job.parts(table).into_iter().map(|p| std::fs::read_to_string(p).expect("a part"));
        let got = counted(texts.flat_map(|t| t.lines().map(str::to_string).collect::<Vec<_>>()));
        let only = |a: &Lines, b: &Lines| -> Vec<(String, u64)> {
            a.iter().filter(|(l, n)| b.get(*l) != Some(n)).take(5).map(|(l, n)| (l.clone(), *n)).collect()
        };
        let (missing, surplus) = (only(&wanted[table], &got), only(&got, &wanted[table]));
        assert!(missing.is_empty() && surplus.is_empty(), "{table} {when}: wanted {missing:?}, is {surplus:?}");
    }
}

/// Where the process ends, and the first time that it does.
const POINTS: &[(&str, usize)] = &[
    ("watermark-arrived", 100),
    ("watermark-handled", 100),
    ("part-write", 2000),
    ("part-note", 2),
    ("epoch-write", 2),
    ("epoch-written", 2),
    ("epoch-named", 2),
    ("part-deliver", 3),
    ("parts-delivered", 3),
    ("state-applied", 1),
    ("state-flushed", 1),
];

#[test]
fn ended_at_any_step_while_windows_fire() {
    let rows = rows();
    let wanted = wanted(&rows);
    let whole = job(&rows);
    whole.run(&[]).succeeded();
    check(&whole, &wanted, "of a run that was not ended");
    for (point, first) in POINTS {
        // How often the store is written depends on the machine's speed: a slower source gives it time, and once it always is.
        let of_store = point.starts_with("state-");
        let job = job(&rows);
        let mut ends = 0;
        for (n, parallelism) in ["2", "4", "1", "3"].into_iter().enumerate() {
            let (sleep, at) = if of_store { (25, *first) } else { (3, first + n) };
            let armed = format!("source-poll=sleep({sleep}),{point}=abort@{at}");
            let parallelism = format!("parallelism.default={parallelism}");
            let ran = job.command(&["--set", &parallelism]).env("WEIR_FAILPOINTS", armed).output().expect("weir");
            if ran.status.success() {
                break;
            }
            assert_eq!(ran.status.code(), None, "{point}: {}", String::from_utf8_lossy(&ran.stderr));
            ends += 1;
        }
        assert!(ends > if of_store { 0 } else { 1 }, "{point} was reached {ends} times");
        let status = std::fs::read_to_string(job.path(".weir/job/job.json")).unwrap_or_default();
        if !status.contains("\"finished\": true") {
            job.run(&["--set", "parallelism.default=2"]).succeeded();
        }
        check(&job, &wanted, &format!("after ends at {point}"));
    }
}
