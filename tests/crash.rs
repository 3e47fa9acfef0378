//! Killed at any moment, any number of times: the files hold the rows of a run that was never killed, each once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;
use weir_tests::{Job, weir};

const ROWS: u64 = 400_000;

fn job() -> Job {
    let job = Job::new(
        "CREATE TABLE src (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING)
           WITH ('connector' = 'filesystem', 'path' = 'log.csv', 'format' = 'csv');
         CREATE TABLE small (client_ip STRING, response_size BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'small', 'format' = 'csv',
                 'sink.rolling-policy.file-size' = '256kb');
         CREATE TABLE sums (uri STRING, n BIGINT, s BIGINT)
           WITH ('connector' = 'filesystem', 'path' = 'sums', 'format' = 'csv');
         SET 'execution.runtime-mode' = 'batch';
         SET 'execution.checkpointing.interval' = '20ms';
         CREATE VIEW hits AS SELECT uri, COUNT(*) AS n, SUM(response_size) AS s FROM src GROUP BY uri;
         -- Both read a relation twice, which is computed once: rows reach the sink by two ways.
         INSERT INTO small SELECT client_ip, response_size FROM src WHERE response_size < 100000
           UNION ALL SELECT client_ip, response_size FROM src WHERE response_size BETWEEN 100000 AND 499999;
         INSERT INTO sums SELECT uri, n, s FROM hits WHERE n > 1000 UNION ALL SELECT uri, n, s FROM hits WHERE n <= 1000;",
    );
    let made = std::process::Command::new(weir())
        .args(["generate", "--broken", "0", "--rows", &ROWS.to_string(), "-o"])
        .arg(job.path("log.csv"))
        .status()
        .expect("weir generate");
    assert!(made.success());
    job
}

/// The lines of all finished parts of a folder, with how often each is there; hidden files must be gone.
fn lines(job: &Job, folder: &str) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for e in std::fs::read_dir(job.path(folder)).expect("the sink's folder") {
        let path = e.expect("a file").path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(".weir-") {
            continue;
        }
        assert!(name.starts_with("part-"), "{name} is left over");
        for line in std::fs::read_to_string(&path).expect("a part").lines() {
            *out.entry(line.to_string()).or_default() += 1;
        }
    }
    out
}

/// The same from the input, without Weir.
fn wanted(job: &Job) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut small, mut sums): (BTreeMap<String, u64>, BTreeMap<String, (u64, u64)>) = Default::default();
    for line in std::fs::read_to_string(job.path("log.csv")).expect("the input").lines() {
        let f: Vec<&str> = line.split(',').collect();
        let size: u64 = f[3].parse().expect("a size");
        if size < 500_000 {
            *small.entry(format!("{},{size}", f[1])).or_default() += 1;
        }
        let s = sums.entry(f[4].to_string()).or_default();
        *s = (s.0 + 1, s.1 + size);
    }
    (small, sums.into_iter().map(|(k, (n, s))| (format!("{k},{n},{s}"), 1)).collect())
}

/// Whether the job's last run came to its end, as the folder of its state says.
fn finished(job: &Job) -> bool {
    let status = std::fs::read_to_string(job.path(".weir/job/job.json")).unwrap_or_default();
    status.contains("\"finished\": true")
}

#[test]
fn kills_lose_and_double_nothing() {
    let job = job();
    // Moments that differ from run to run, and are printed when the test fails.
    let mut seed = u64::from(std::process::id()) | 1;
    let mut moments = vec![];
    let mut kills = 0;
    for _ in 0..40 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = Duration::from_millis(10 + (seed >> 33) % 150);
        moments.push(after);
        let mut child = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
        std::thread::sleep(after);
        match child.try_wait().expect("its state") {
            Some(status) => {
                assert!(status.success(), "{moments:?}");
                break;
            }
            None => {
                child.kill().expect("the kill");
                child.wait().expect("its end");
                kills += 1;
                // Killed after it had noted its end: the next run would be another one.
                if finished(&job) {
                    break;
                }
            }
        }
    }
    assert!(kills > 0, "the job ended before the first kill, {moments:?}");
    if !finished(&job) {
        // A kill in the very beginning leaves nothing to go on from.
        let known = job.path(".weir/job/job.json").is_file();
        let last = job.run(&[]).succeeded();
        assert!(!known || last.err.contains("goes on after its last epoch"), "{}", last.err);
    }
    let (small, sums) = wanted(&job);
    assert_eq!(lines(&job, "sums"), sums, "killed at {moments:?}");
    assert!(lines(&job, "small") == small, "rows differ; killed at {moments:?}");
}

/// Waits until a job has said where its state is: that is its own then, and it listens to signals.
fn begun(child: &mut Child) -> BufReader<ChildStderr> {
    let mut said = BufReader::new(child.stderr.take().expect("its standard error"));
    said.read_line(&mut String::new()).expect("its first line");
    said
}

#[test]
fn a_stopped_job_goes_on_and_a_finished_one_starts_anew() {
    let job = job();
    let mut slow = job.command(&[]);
    slow.env("WEIR_FAILPOINTS", "source-poll=sleep(20)").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = slow.spawn().expect("weir");
    let _said = begun(&mut child);
    // SAFETY: the process is this test's own child and has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert!(child.wait().expect("its end").success());
    let second = job.run(&[]).succeeded();
    let (small, sums) = wanted(&job);
    assert!(second.err.contains("goes on after its last epoch"), "{}", second.err);
    assert_eq!(lines(&job, "sums"), sums);
    assert!(lines(&job, "small") == small);
    let third = job.run(&[]).succeeded();
    assert!(third.err.contains("starts anew, for its last run came to its end"), "{}", third.err);
}

#[test]
fn state_in_use_by_another_process_is_refused() {
    let job = Job::new(
        "CREATE TABLE src (k BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
         CREATE TABLE snk (k BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO snk SELECT k FROM src;",
    );
    let mut first = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("weir");
    let _said = begun(&mut first);
    let second = job.run(&[]);
    first.kill().expect("the kill");
    first.wait().expect("its end");
    second.failed(5, &["in use by another process", &first.id().to_string()]);
}

/// Every point before or after a durable step.
const POINTS: &[&str] = &[
    "job-note",
    "job-noted",
    "part-write",
    "part-note",
    "epoch-write",
    "epoch-written",
    "epoch-named",
    "part-deliver",
    "parts-delivered",
    "state-reopen",
    "state-applied",
    "state-flushed",
];

/// A job with little in its cache, so that the store is closed and opened again meanwhile.
fn small_job() -> Job {
    Job::new(
        "CREATE TABLE src (k BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '120000',
           'rows-per-second' = '100000000', 'fields.k.min' = '0', 'fields.k.max' = '79999',
           'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '120000');
         CREATE TABLE big (k BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'big', 'format' = 'csv',
           'sink.rolling-policy.file-size' = '32kb');
         CREATE TABLE sums (k BIGINT, n BIGINT, s BIGINT) WITH ('connector' = 'filesystem', 'path' = 'sums', 'format' = 'csv');
         SET 'execution.runtime-mode' = 'batch';
         SET 'execution.checkpointing.interval' = '30ms';
         SET 'state.cache-size' = '2mb';
         SET 'restart-strategy.type' = 'none';
         INSERT INTO big SELECT k, v FROM src WHERE v > 60000;
         INSERT INTO sums SELECT k, COUNT(*), SUM(v) FROM src GROUP BY k;",
    )
}

fn both(job: &Job) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    (lines(job, "big"), lines(job, "sums"))
}

#[test]
fn ended_at_any_durable_step_and_run_again_gives_the_same_rows() {
    let whole = small_job();
    whole.run(&[]).succeeded();
    let whole = both(&whole);
    assert!(whole.1.len() > 40_000 && whole.0.len() == 60_000);
    for point in POINTS {
        let job = small_job();
        let mut ends = 0;
        // How often the store is written depends on the machine's speed: a slower source gives it time.
        let sleep = if point.starts_with("state-") { 8 } else { 2 };
        for at in 1..4 {
            let armed = format!("source-poll=sleep({sleep}),{point}=abort@{at}");
            let ran = job.command(&[]).env("WEIR_FAILPOINTS", armed).output().expect("weir");
            if ran.status.success() {
                break;
            }
            assert_eq!(ran.status.code(), None, "{point}: {}", String::from_utf8_lossy(&ran.stderr));
            ends += 1;
            if finished(&job) {
                break;
            }
        }
        assert!(ends > 0, "{point} was never reached");
        if !finished(&job) {
            job.run(&[]).succeeded();
        }
        assert!(both(&job) == whole, "rows differ after ends at {point}");
    }
}

#[test]
fn a_full_disk_at_any_step_is_told_and_nothing_is_lost() {
    let whole = small_job();
    whole.run(&[]).succeeded();
    let whole = both(&whole);
    for point in POINTS.iter().filter(|p| !p.starts_with("job-")) {
        let job = small_job();
        // How often the store is written depends on the machine's speed, but once it always is.
        let at = if point.starts_with("state-") { 1 } else { 2 };
        let ran = job.command(&[]).env("WEIR_FAILPOINTS", format!("source-poll=sleep(2),{point}=full@{at}")).output();
        let ran: weir_tests::Ran = ran.expect("weir").into();
        ran.failed(6, &["make room on the disk and run the job again"]);
        job.run(&[]).succeeded();
        assert!(both(&job) == whole, "rows differ after a full disk at {point}");
    }
}

#[test]
fn a_disk_that_is_really_full_is_told_too() {
    // A file system of three megabytes in a mount namespace of its own; the job needs more.
    let job = Job::new(
        "CREATE TABLE src (k BIGINT, v STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '200000',
           'rows-per-second' = '100000000', 'fields.v.length' = '40');
         CREATE TABLE dst (k BIGINT, v STRING) WITH ('connector' = 'filesystem', 'path' = 'small/out', 'format' = 'csv');
         SET 'restart-strategy.type' = 'none';
         INSERT INTO dst SELECT k, v FROM src;",
    );
    std::fs::create_dir(job.path("small")).expect("a folder");
    let script = "mount -t tmpfs -o size=3m none small && exec \"$0\" run job.sql --state small/state";
    let run = |flags: &str| {
        let mut c = std::process::Command::new("unshare");
        c.current_dir(job.folder.path()).arg(flags).args(["sh", "-c", script]).arg(weir());
        weir_tests::Ran::from(c.output().expect("unshare, of util-linux"))
    };
    let mut ran = run("-Urm");
    if ran.err.contains("unshare") {
        ran = run("-m");
    }
    ran.failed(6, &["No space left on device", "make room on the disk"]);
}

#[test]
fn damaged_state_is_told_and_left_alone() {
    let job = small_job();
    // An epoch that is durable, and in no store yet.
    let ended = job.command(&[]).env("WEIR_FAILPOINTS", "source-poll=sleep(2),epoch-named=abort@1").output();
    assert_eq!(ended.expect("weir").status.code(), None);
    let epoch = job.path(".weir/job/epochs/00000000000000000001.epoch");
    let whole = std::fs::read(&epoch).expect("an epoch's file");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    for bytes in [damaged.as_slice(), &whole[..whole.len() / 2], b""] {
        std::fs::write(&epoch, bytes).expect("the damage");
        job.run(&[]).failed(5, &["epoch file", "is damaged", "--fresh"]);
    }
    // Mended by hand, it goes on; nothing was thrown away meanwhile.
    std::fs::write(&epoch, whole).expect("the repair");
    job.run(&[]).succeeded();
    assert_eq!(lines(&job, "big").len(), 60_000);
    let stored = small_job();
    let ended = stored.command(&[]).env("WEIR_FAILPOINTS", "source-poll=sleep(2),epoch-named=abort@1").output();
    assert_eq!(ended.expect("weir").status.code(), None);
    for file in std::fs::read_dir(stored.path(".weir/job/store")).expect("the store") {
        let path = file.expect("a file").path();
        if path.is_file() {
            std::fs::write(path, [7; 500]).expect("the damage");
        }
    }
    stored.run(&[]).failed(5, &["the state store failed", "--fresh"]);
    stored.run(&["--fresh"]).succeeded();
}

/// A job of rows that come over a second or two, which fails once and goes on.
fn slow_job() -> Job {
    Job::new(
        "CREATE TABLE src (v BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '40000', 'rows-per-second' = '20000',
           'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '40000');
         CREATE TABLE big (v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'big', 'format' = 'csv');
         SET 'parallelism.default' = '1';
         SET 'execution.checkpointing.interval' = '20ms';
         SET 'restart-strategy.type' = 'fixed-delay';
         SET 'restart-strategy.fixed-delay.delay' = '1ms';
         INSERT INTO big SELECT v FROM src;",
    )
}

/// Files that somebody has taken away before the job was run again are no hindrance; and a job that ended can be saved.
#[test]
fn files_that_were_taken_are_told() {
    let job = job();
    let killed = job.command(&[]).env("WEIR_FAILPOINTS", "parts-delivered=abort").output().expect("weir");
    assert!(!killed.status.success());
    let part = std::fs::read_dir(job.path("small")).expect("the folder").filter_map(Result::ok).map(|f| f.path());
    let named = |p: &std::path::PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("part-"));
    let part = part.into_iter().find(named).expect("a part that has its name");
    let taken = std::fs::read_to_string(&part).expect("its rows");
    std::fs::remove_file(&part).expect("to take it");
    let again = job.run(&[]).succeeded();
    assert!(again.err.contains("is not there any more"), "{}", again.err);
    let (mut small, sums) = wanted(&job);
    for line in taken.lines() {
        *small.get_mut(line).expect("a row of the input") -= 1;
    }
    small.retain(|_, n| *n > 0);
    assert_eq!(lines(&job, "sums"), sums);
    assert!(lines(&job, "small") == small);
    let mut c = std::process::Command::new(weir());
    let saved: weir_tests::Ran =
        c.arg("savepoint").args([job.path(".weir/job"), job.path("kept")]).output().expect("weir").into();
    saved.succeeded();
}

#[test]
fn jobs_that_write_to_one_folder_leave_each_other_alone() {
    let job = slow_job();
    let state = job.path("other").display().to_string();
    let mut first = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("weir");
    let mut said = begun(&mut first);
    job.run(&["--state", &state]).succeeded();
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("what else it said");
    assert!(first.wait().expect("its end").success(), "{rest}");
    let wanted: BTreeMap<String, u64> = (1..=40_000).map(|v| (v.to_string(), 2)).collect();
    assert!(lines(&job, "big") == wanted, "rows differ");
}

#[test]
fn an_epoch_is_finished_before_a_failed_job_starts_again() {
    for poll in [5, 20, 40] {
        let job = slow_job();
        // Nearly all the time some epoch has its content and not yet its name: so it is when the source fails.
        let points = format!("epoch-written=sleep(250),source-poll=full@{poll}");
        let ran: weir_tests::Ran = job.command(&[]).env("WEIR_FAILPOINTS", points).output().expect("weir").into();
        let ran = ran.succeeded();
        assert_eq!(ran.err.matches("starts again").count(), 1, "{}", ran.err);
        let wanted: BTreeMap<String, u64> = (1..=40_000).map(|v| (v.to_string(), 1)).collect();
        assert!(lines(&job, "big") == wanted, "rows differ after a failure at poll {poll}");
    }
}

#[test]
fn a_savepoint_leaves_the_epoch_alone_that_is_being_written() {
    let job = slow_job();
    let mut c = job.command(&[]);
    c.env("WEIR_FAILPOINTS", "epoch-written=sleep(100)").stdout(Stdio::null()).stderr(Stdio::piped());
    let running = c.spawn().expect("weir");
    let mut saved = 0;
    while !finished(&job) {
        let state = job.path(".weir/job");
        let ran = std::process::Command::new(weir()).arg("savepoint").args([state, job.path("kept")]).output();
        saved += usize::from(ran.expect("weir savepoint").status.success());
    }
    let ran: weir_tests::Ran = running.wait_with_output().expect("weir").into();
    let ran = ran.succeeded();
    assert!(saved > 0, "no savepoint was made while the job ran");
    assert!(!ran.err.contains("starts again"), "{}", ran.err);
}

/// A savepoint is gone on with elsewhere while the old run is still at work: it learns that it was replaced, and what it had written
/// and not named yet is in parts of the new one, whole.
#[test]
fn who_is_replaced_while_at_work_publishes_nothing_more() {
    const ALL: u64 = 150_000;
    let out = tempfile::tempdir().expect("a folder");
    let script = format!(
        "SET 'parallelism.default' = '2'; SET 'execution.checkpointing.interval' = '50ms';
         CREATE TABLE n (v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '30000', 'number-of-rows' = '{ALL}',
           'fields.v.kind' = 'sequence', 'fields.v.start' = '1', 'fields.v.end' = '{ALL}');
         CREATE TABLE o (v BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv',
           'sink.rolling-policy.file-size' = '128kb');
         INSERT INTO o SELECT v FROM n;",
        out.path().display()
    );
    let (first, second) = (Job::new(&script), Job::new(&script));
    let named = || -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(out.path()).expect("the folder").map(|f| f.expect("a file").path());
        all.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("part-"))).collect()
    };
    let log = std::fs::File::create(first.path("log.txt")).expect("a log");
    let mut old = first.command(&[]).stdout(std::process::Stdio::null()).stderr(log).spawn().expect("weir");
    let said = || std::fs::read_to_string(first.path("log.txt")).unwrap_or_default();
    assert!(weir_tests::comes(|| !named().is_empty()), "{}", said());
    let saved =
        std::process::Command::new(weir()).arg("savepoint").arg(first.path("job.sql")).arg(first.path("kept")).output();
    let saved: weir_tests::Ran = saved.expect("weir savepoint").into();
    let file = saved.succeeded().out.trim().to_string();
    second.run(&["--from", &file]).succeeded();
    assert_eq!(old.wait().expect("its end").code(), Some(5), "{}", said());
    assert!(said().contains("another process has taken this job over"), "{}", said());
    // The old state is over as well.
    first.run(&[]).failed(5, &["not of one history", "another run of this job"]);
    let mut there: BTreeMap<u64, u64> = BTreeMap::new();
    for part in named() {
        for line in std::fs::read_to_string(&part).expect("text").lines() {
            let n = line.parse().unwrap_or_else(|_| panic!("{}: {line:?}", part.display()));
            *there.entry(n).or_default() += 1;
        }
    }
    assert!(there.keys().copied().eq(1..=ALL), "{} of {ALL} rows", there.len());
    // Twice is only what the old run named behind the savepoint.
    assert!(there.values().all(|n| *n <= 2), "a row is there more than twice");
}
