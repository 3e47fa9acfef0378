//! The log analysis by province: the repository's example as it stands, and the same over a real log.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;
use weir_tests::{Job, Ran, repository, weir};

fn unpacked(path: &str) -> String {
    let file = std::fs::File::open(repository(path)).expect("a file of the repository");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    text
}

/// The table of ranges, looked up the plain way.
struct Ranges(Vec<(u32, String)>);

impl Ranges {
    fn load() -> Ranges {
        let text = unpacked("examples/cdn-log-analysis/udf/regions.csv.gz");
        let parse = |l: &str| {
            let mut p = l.splitn(3, ',');
            Some((p.next()?.parse().ok()?, p.nth(1)?.to_string()))
        };
        Ranges(text.lines().filter_map(parse).collect())
    }
    fn of(&self, ip: &str) -> String {
        let a = u32::from(ip.parse::<std::net::Ipv4Addr>().expect("an address"));
        self.0[self.0.partition_point(|(f, _)| *f <= a) - 1].1.clone()
    }
}

fn example(script: &str, state: &std::path::Path) -> Ran {
    let script = repository("examples/cdn-log-analysis").join(script);
    Command::new(weir()).arg("run").arg(script).arg("--state").arg(state).output().expect("weir").into()
}

#[test]
fn the_example_gives_the_same_in_rust_and_python_and_as_counted_here() {
    let state = tempfile::tempdir().expect("a folder");
    let rust = example("job-rust.sql", state.path()).succeeded().rows();
    let python = example("job.sql", state.path()).succeeded().rows();
    assert_eq!(rust, python);
    let ranges = Ranges::load();
    let mut wanted: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for line in unpacked("examples/cdn-log-analysis/data/access_log.csv.gz").lines() {
        let f: Vec<&str> = line.split(',').collect();
        if f.len() > 5 {
            // A surplus column drops the row, as Flink does under ignore-parse-errors.
            continue;
        }
        let number = |i: usize| f.get(i).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let w = wanted.entry(ranges.of(f[1])).or_default();
        *w = (w.0 + 1, w.1 + number(3), w.2 + number(2));
    }
    assert_eq!(rust.len(), wanted.len());
    for (province, (count, bytes, _)) in wanted {
        let start = format!("[{province}, {count}, {bytes}, ");
        assert!(rust.keys().any(|r| r.starts_with(&start)), "{start} is not there");
    }
}

#[test]
fn a_real_log_taken_apart_in_sql() {
    let job = Job::new(&format!(
        "CREATE TABLE access (line STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'raw');
         CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE RUST USING FILE '{}' WITH ('assets' = '{}');
         CREATE VIEW hits AS
           SELECT SPLIT_INDEX(line, ' ', 0) AS ip, REGEXP_EXTRACT(line, '\" ([0-9]+) ([0-9-]+)', 2) AS size FROM access;
         CREATE TABLE dst (province STRING, hits BIGINT, `bytes` BIGINT, visitors BIGINT) WITH ('connector' = 'print');
         INSERT INTO dst
         SELECT p, COUNT(*), SUM(TRY_CAST(size AS BIGINT)), COUNT(DISTINCT ip)
         FROM (SELECT ip, size, ip_to_province(ip) AS p FROM hits) GROUP BY p;",
        repository("tests/data/access.log.gz").display(),
        repository("examples/cdn-log-analysis/udf/ip_to_province").display(),
        repository("examples/cdn-log-analysis/udf/regions.csv.gz").display(),
    ));
    let ranges = Ranges::load();
    let mut wanted: BTreeMap<String, (u64, u64, std::collections::BTreeSet<String>)> = BTreeMap::new();
    for line in unpacked("tests/data/access.log.gz").lines() {
        let ip = line.split(' ').next().expect("an address");
        let size =
            line.split("\" ").nth(1).and_then(|r| r.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(0u64);
        let w = wanted.entry(ranges.of(ip)).or_default();
        w.0 += 1;
        w.1 += size;
        w.2.insert(ip.to_string());
    }
    let wanted: Vec<String> = wanted
        .into_iter()
        .map(|(p, (n, b, v))| {
            format!("[{p}, {n}, {}, {}]", if b == 0 { "null".to_string() } else { b.to_string() }, v.len())
        })
        .collect();
    // Streaming prints every change; they add up to the same at any parallelism and for any epochs.
    for arguments in [&["--set", "parallelism.default=1"][..], &["--set", "parallelism.default=5"][..]] {
        let got: Vec<String> = job.run(arguments).succeeded().rows().into_keys().collect();
        let mut sorted = wanted.clone();
        sorted.sort();
        assert_eq!(got, sorted);
    }
}

#[test]
fn the_example_that_asks_a_service_gets_its_provinces_there() {
    let mut service = Command::new("python3")
        .arg(repository("examples/cdn-log-analysis/geo_service.py"))
        .arg("0")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3");
    let mut address = String::new();
    let mut said = std::io::BufReader::new(service.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut said, &mut address).expect("its address");
    let state = tempfile::tempdir().expect("a folder");
    let run = |service: &str| -> Ran {
        // The example's script, beside its own data and functions, with this service's address.
        for folder in ["data", "udf"] {
            let example = repository("examples/cdn-log-analysis").join(folder);
            std::os::unix::fs::symlink(example, state.path().join(folder)).expect("a link");
        }
        let script = std::fs::read_to_string(repository("examples/cdn-log-analysis/job-http.sql")).expect("the script");
        std::fs::write(state.path().join("job.sql"), script.replace("127.0.0.1:8099", service)).expect("a script");
        let mut c = Command::new(weir());
        c.arg("run").arg(state.path().join("job.sql")).arg("--state").arg(state.path().join("state"));
        c.output().expect("weir").into()
    };
    let ran = run(address.trim());
    service.kill().expect("the kill");
    service.wait().expect("its end");
    let rows = ran.succeeded().rows();
    let ranges = Ranges::load();
    let mut wanted: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in unpacked("examples/cdn-log-analysis/data/access_log.csv.gz").lines() {
        let f: Vec<&str> = line.split(',').collect();
        let size = f.get(3).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        if f.len() <= 5 && size > 995_000 {
            let w = wanted.entry(ranges.of(f[1])).or_default();
            *w = (w.0 + 1, w.1 + size);
        }
    }
    assert!(wanted.len() > 10, "{wanted:?}");
    let wanted: BTreeMap<String, i64> = wanted.iter().map(|(p, (n, s))| (format!("[{p}, {n}, {s}]"), 1)).collect();
    assert_eq!(rows, wanted);
}
