//! `weir list|stop|scale|hints|top`: looks at running jobs, and steers them.

use crate::arguments::{HintsArguments, JobArgument, ListArguments, OutputFormat, ScaleArguments, TopArguments};
use crate::event_time;
use crate::running::line;
use crate::{local, output, registry, state};
use backon::{BlockingRetryable, ConstantBuilder};
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;
use weir_core::{Error, Result};
use weir_engine::scale::TargetParallelism;

fn not_running(what: &str) -> Error {
    Error::state(format!("the job '{what}' does not run")).hint("weir list shows the jobs that run")
}

/// Asks a job something, which answers with JSON or nothing.
fn ask(folder: &Path, question: &str) -> Result<Value> {
    let mut text = vec![];
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    local::ask(folder, question, &mut text).ok_or_else(|| not_running(&name))??;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&text).map_err(|e| Error::state("the job's answer cannot be read").caused_by(e))
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_default()
}

fn number(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap_or(0.0)
}

fn list_of<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().map_or(&[], Vec::as_slice)
}

/// The jobs that run.
pub fn list(a: &ListArguments) -> Result<()> {
    let mut out = String::new();
    let mut all = vec![];
    for (_, folder) in registry::all() {
        let Ok(job) = ask(&folder, "job") else { continue };
        let rows: f64 = list_of(&job, "operators")
            .iter()
            .filter(|o| text(o, "role") == "source")
            .map(|o| number(o, "rows_per_second"))
            .sum();
        let _ = writeln!(
            out,
            "{:<24} {:<8} up {:<14} epoch {:<8} {:>12} rows/s  {}",
            text(&job, "name"),
            text(&job, "status"),
            HumanDuration(Duration::from_secs_f64(number(&job, "uptime_seconds"))).to_string(),
            number(&job["epoch"], "number"),
            HumanCount(rows as u64).to_string(),
            folder.display()
        );
        all.push(serde_json::json!({"job": job, "state": folder}));
    }
    match a.format {
        OutputFormat::Json => output::line(Value::Array(all)),
        OutputFormat::Text if out.is_empty() => note!("no job runs"),
        OutputFormat::Text => output::text(out),
    }
    Ok(())
}

/// Stops a job, and waits until it has left.
pub fn stop(job: &JobArgument) -> Result<()> {
    let folder = state::folder(job, true)?;
    ask(&folder, "stop")?;
    // It has left when its state can be had: the socket goes before the last of it is written.
    let waits = ConstantBuilder::new().with_delay(Duration::from_millis(50)).with_max_times(2_400);
    let left = (|| weir_state::Folder::open(&folder)).retry(waits).call();
    left.map_err(|_| Error::state("the job has not left within two minutes: what it writes to may not answer"))?;
    note!("stopped; run it again to go on from here");
    Ok(())
}

/// Changes parallelisms.
pub fn scale(a: &ScaleArguments) -> Result<()> {
    let mut wanted = TargetParallelism::new();
    for pair in &a.operators {
        let read = pair.rsplit_once('=').and_then(|(name, n)| {
            let n = if n == "script" { None } else { Some(n.trim().parse().ok()?) };
            Some((name.trim().to_string(), n))
        });
        let (name, n) = read.ok_or_else(|| {
            Error::script(format!("'{pair}' is no operator and number")).hint("write it like 'source orders=4'")
        })?;
        wanted.insert(name, n);
    }
    let question = serde_json::to_string(&wanted).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
    let answer = ask(&state::folder(&a.job, true)?, &format!("scale {question}"))?;
    let changed = answer["changed"].as_object().cloned().unwrap_or_default();
    for (name, c) in &changed {
        output::line(format_args!("{name}: {} -> {}", c["from"], c["to"]));
    }
    if changed.is_empty() {
        note!("nothing to change");
    } else {
        note!("no rows for {:.2} s", number(&answer, "pause_seconds"));
    }
    Ok(())
}

fn in_words(hints: &[Value]) -> String {
    let mut out = String::new();
    for h in hints {
        let count = |key| number(h, key) as usize;
        let line = line(text(h, "operator"), text(h, "rule"), count("current"), count("desired"), text(h, "reason"));
        let _ = writeln!(out, "{line}");
    }
    out
}

/// The hints of a running job.
pub fn hints(a: &HintsArguments) -> Result<()> {
    let job = ask(&state::folder(&a.job, true)?, "job")?;
    let hints = list_of(&job, "hints");
    match a.format {
        OutputFormat::Json => output::line(&job["hints"]),
        OutputFormat::Text if hints.is_empty() => {
            note!("nothing to change; what is said is said after ten seconds of work")
        }
        OutputFormat::Text => output::text(in_words(hints)),
    }
    Ok(())
}

/// A job's operators, as a table.
fn table(job: &Value) -> String {
    let mut out = String::new();
    let e = &job["epoch"];
    let _ = writeln!(
        out,
        "{}  {}  up {}  epoch {} ({:.1} s ago)  {} of memory, {} cores",
        text(job, "name"),
        text(job, "status"),
        HumanDuration(Duration::from_secs_f64(number(job, "uptime_seconds"))),
        number(e, "number"),
        number(e, "age_seconds"),
        HumanBytes(number(job, "memory_bytes") as u64),
        number(job, "cores"),
    );
    if let Some(why) = job["reason"].as_str() {
        let _ = writeln!(out, "{why}");
    }
    let _ = writeln!(
        out,
        "\n{:<28} {:>4} {:>12} {:>6} {:>6} {:>6} {:>6} {:>6} {:>12} {:>8} {:>8}",
        "operator", "x", "rows/s", "busy", "back", "idle", "cpu", "queue", "lag", "errors", "late"
    );
    let part = |o: &Value, key: &str| format!("{:.0} %", 100.0 * number(o, key));
    for o in list_of(job, "operators") {
        let lag = o["lag_records"].as_u64().map_or("-".to_string(), |l| HumanCount(l).to_string());
        let _ = writeln!(
            out,
            "{:<28} {:>4} {:>12} {:>6} {:>6} {:>6} {:>6} {:>6} {:>12} {:>8} {:>8}",
            text(o, "name"),
            number(o, "parallelism"),
            HumanCount(number(o, "rows_per_second") as u64).to_string(),
            part(o, "busy_ratio"),
            part(o, "back_pressured_ratio"),
            part(o, "idle_ratio"),
            part(o, "cpu_ratio"),
            part(o, "queue_ratio"),
            lag,
            number(o, "row_errors"),
            number(o, "late_rows"),
        );
    }
    if let Some(words) = event_time::in_words(&job["event_time"]) {
        let _ = writeln!(out, "\n{words}");
    }
    out += &event_time::idle_in_words(list_of(job, "operators"));
    let hints = in_words(list_of(job, "hints"));
    if !hints.is_empty() {
        let _ = write!(out, "\n{hints}");
    }
    out
}

/// A job's operators, live.
pub fn top(a: &TopArguments) -> Result<()> {
    let folder = state::folder(&a.job, true)?;
    if a.once || !std::io::stdout().is_terminal() {
        output::text(table(&ask(&folder, "job")?));
        return Ok(());
    }
    loop {
        let Ok(job) = ask(&folder, "job") else {
            note!("the job has ended");
            return Ok(());
        };
        // Home, every line with its rest cleared, then what is left below.
        let shown = table(&job).replace('\n', "\x1b[K\n");
        output::text(format_args!("\x1b[H{shown}\x1b[J"));
        std::thread::sleep(Duration::from_secs(1));
    }
}
