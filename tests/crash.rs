//! Killed at any moment, any number of times: the files hold the rows of a run that was never killed, each once.

use std::collections::BTreeMap;
use std::process::Stdio;
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
         INSERT INTO small SELECT client_ip, response_size FROM src WHERE response_size < 500000;
         INSERT INTO sums SELECT uri, COUNT(*), SUM(response_size) FROM src GROUP BY uri;",
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
                // Killed after it had noted its end: the next run would be another one.
                if finished(&job) {
                    break;
                }
            }
        }
    }
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

#[test]
fn a_stopped_job_goes_on_and_a_finished_one_starts_anew() {
    let job = job();
    let mut child = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("weir");
    std::thread::sleep(Duration::from_millis(120));
    // SAFETY: the process is this test's own child and has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert!(child.wait().expect("its end").success());
    let second = job.run(&[]).succeeded();
    let (small, sums) = wanted(&job);
    if second.err.contains("goes on after its last epoch") {
        assert_eq!(lines(&job, "sums"), sums);
        assert!(lines(&job, "small") == small);
    }
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
    let mut first = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
    std::thread::sleep(Duration::from_millis(500));
    let second = job.run(&[]);
    first.kill().expect("the kill");
    first.wait().expect("its end");
    second.failed(5, &["in use by another process", &first.id().to_string()]);
}
