//! What the sandbox costs: the job of the log by province with its function in Wasm, and with the same function compiled
//! into the process, in turn. `cargo bench -p weir-tests --bench native`; ROWS=8000000 by default.

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::metrics::Metrics;
use weir_core::{Error, Result, SqlType};
use weir_expr::{EvalContext, Function};
use weir_sql::{FunctionLoader, FunctionSpec, UserFunction};

const RANGES: u32 = 1_000;
const PROVINCES: u32 = 31;

/// The function of `examples/cdn-log-analysis/udf/ip_to_province`, line for line, over Arrow's columns.
struct Native {
    first: Vec<u32>,
    blocks: Vec<u32>,
    shift: u32,
    region: Vec<String>,
}

impl Native {
    fn new() -> Self {
        let first: Vec<u32> = (0..RANGES).map(start).collect();
        let shift = 31 - RANGES.ilog2();
        let blocks =
            (0..=1u64 << (32 - shift)).map(|b| first.partition_point(|f| u64::from(*f) < b << shift) as u32).collect();
        Native { first, blocks, shift, region: (0..RANGES).map(province).collect() }
    }
    fn province(&self, ip: &str) -> Option<&str> {
        let a = address(ip)?;
        let block = (a >> self.shift) as usize;
        let (from, to) = (self.blocks[block] as usize, self.blocks[block + 1] as usize);
        let at = from + self.first[from..to].partition_point(|f| *f <= a);
        Some(&self.region[at.checked_sub(1)?])
    }
}

fn start(range: u32) -> u32 {
    range * (u32::MAX / RANGES)
}

fn province(range: u32) -> String {
    format!("province-{:02}", range.wrapping_mul(2_654_435_761) % PROVINCES)
}

fn address(text: &str) -> Option<u32> {
    let (bytes, mut at, mut address) = (text.as_bytes(), 0, 0);
    let digit = |at: usize| bytes.get(at).map(|b| u32::from(b.wrapping_sub(b'0'))).filter(|d| *d < 10);
    for part in 0..4 {
        if part > 0 {
            if *bytes.get(at)? != b'.' {
                return None;
            }
            at += 1;
        }
        let mut number = digit(at)?;
        at += 1;
        for _ in 0..2 {
            if let Some(d) = digit(at) {
                number = number * 10 + d;
                at += 1;
            }
        }
        if number > 255 {
            return None;
        }
        address = address << 8 | number;
    }
    (at == bytes.len()).then_some(address)
}

impl Function for Native {
    fn name(&self) -> &str {
        "ip_to_province"
    }
    fn eval(&self, args: &[ArrayRef], rows: usize, _: &SqlType, _: &mut EvalContext) -> Result<ArrayRef> {
        let ips = args[0].as_any().downcast_ref::<StringArray>().ok_or_else(|| Error::internal("no strings"))?;
        let mut out = StringBuilder::with_capacity(rows, rows * 12);
        for ip in ips {
            out.append_option(ip.and_then(|ip| self.province(ip)));
        }
        Ok(Arc::new(out.finish()))
    }
    fn is_user_defined(&self) -> bool {
        true
    }
}

#[derive(Clone)]
struct Bound(Arc<Native>);

impl UserFunction for Bound {
    fn bind(&self, _: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)> {
        Ok((vec![SqlType::STRING], SqlType::STRING, self.0.clone()))
    }
    fn signature(&self) -> String {
        "ip_to_province(STRING) -> STRING".to_string()
    }
}

impl FunctionLoader for Bound {
    fn load(&self, _: &FunctionSpec) -> Result<Arc<dyn UserFunction>> {
        Ok(Arc::new(self.clone()))
    }
}

fn native(_: &Metrics, _: &Path) -> Box<dyn FunctionLoader> {
    Box::new(Bound(Arc::new(Native::new())))
}

const ROUNDS: usize = 15;

fn timed(f: impl FnOnce() -> Result<()>) -> Duration {
    let start = Instant::now();
    f().unwrap_or_else(|e| panic!("{e}"));
    start.elapsed()
}

fn main() {
    let rows: u64 = std::env::var("ROWS").ok().and_then(|r| r.parse().ok()).unwrap_or(8_000_000);
    let work = tempfile::tempdir().expect("a temporary folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (log, table) = (work.path().join("log.csv"), work.path().join("regions.csv"));
    let made = std::process::Command::new(root.join("target/release/weir"))
        .args(["generate", "--broken", "0", "--rows", &rows.to_string(), "-o"])
        .arg(&log)
        .status();
    assert!(made.is_ok_and(|s| s.success()), "target/release/weir makes the input: cargo build --release");
    let mut regions = String::new();
    for r in 0..RANGES {
        let last = if r + 1 < RANGES { start(r + 1) - 1 } else { u32::MAX };
        writeln!(regions, "{},{last},{}", start(r), province(r)).expect("a String takes it");
    }
    std::fs::write(&table, regions).expect("the table of ranges");
    let job = format!(
        "CREATE TABLE access_log (uuid STRING, client_ip STRING, request_time BIGINT, response_size BIGINT, uri STRING)
           WITH ('connector' = 'filesystem', 'path' = '{log}', 'format' = 'csv');
         CREATE FUNCTION ip_to_province AS 'ip_to_province' LANGUAGE RUST
           USING FILE '{root}/examples/cdn-log-analysis/udf/ip_to_province' WITH ('assets' = '{table}');
         CREATE TABLE statistic (province STRING, n BIGINT, `bytes` BIGINT, speed DOUBLE) WITH ('connector' = 'blackhole');
         INSERT INTO statistic
         SELECT province, COUNT(uuid), SUM(response_size), SUM(response_size) * 1.0 / SUM(request_time)
         FROM (SELECT uuid, ip_to_province(client_ip) AS province, response_size, request_time FROM access_log)
         GROUP BY province;",
        log = log.display(),
        root = root.display(),
        table = table.display(),
    );
    let script = work.path().join("job.sql");
    std::fs::write(&script, job).expect("the job");
    let state = work.path().join("state");
    // In turn, so that what else the machine does meets both alike. The first round loads files and compiles.
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let pair = [
            timed(|| weir::run_with(&script, &state, &weir::sandboxed)),
            timed(|| weir::run_with(&script, &state, &native)),
        ];
        if round > 0 {
            took[0].push(pair[0]);
            took[1].push(pair[1]);
        }
    }
    let ratio = median(took[0].iter().zip(&took[1]).map(|(wasm, native)| native.as_secs_f64() / wasm.as_secs_f64()));
    let [wasm, native] = took.map(|took| rows as f64 / median(took.iter().map(Duration::as_secs_f64)));
    println!("in Wasm  {wasm:>10.0} rows/s");
    println!("native   {native:>10.0} rows/s");
    println!("ratio    {ratio:>10.2}, the medians of {ROUNDS} rounds");
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut of: Vec<f64> = of.collect();
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
