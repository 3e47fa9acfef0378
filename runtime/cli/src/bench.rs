//! `weir bench nexmark`: runs the queries of the Nexmark benchmark, each in a process of its own, and says what each took.

use crate::arguments::{BenchCommand, NexmarkArguments, OutputFormat};
use crate::output::{line, text};
use indicatif::HumanCount;
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir_core::error::{io, nearest};
use weir_core::{Error, Result};

/// The table of events and its views.
const TABLES: &str = include_str!("bench/nexmark/tables.sql");

macro_rules! queries {
    ($($name:literal)+) => { &[$(($name, include_str!(concat!("bench/nexmark/", $name, ".sql")))),+] };
}

/// The queries, by name.
const QUERIES: &[(&str, &str)] = queries! {
    "q0" "q1" "q2" "q3" "q4" "q5" "q6" "q7" "q8" "q9" "q10" "q11" "q12" "q13" "q14" "q15" "q16" "q17" "q18" "q19" "q20" "q21" "q22" "q23"
};

/// The number of rows in the table that q13 looks up rows in.
const SIDE_INPUT_ROWS: u64 = 10_000;

/// Does what was asked.
pub fn run(command: &BenchCommand) -> Result<()> {
    let BenchCommand::Nexmark(a) = command;
    let queries = chosen(&a.queries)?;
    if a.print {
        queries.iter().for_each(|(_, query)| text(script(a, query)));
        return Ok(());
    }
    let folder = match &a.work {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("weir-bench-{}", std::process::id())),
    };
    let ran = run_all(a, &queries, &folder);
    if a.work.is_none() {
        // A folder that stays behind does no harm.
        let _ = std::fs::remove_dir_all(&folder);
    }
    ran
}

/// The queries with these names, or all.
fn chosen(names: &[String]) -> Result<Vec<(&'static str, &'static str)>> {
    let find = |name: &String| {
        let wanted = name.trim().to_lowercase();
        let found = QUERIES.iter().find(|(known, _)| *known == wanted || known.strip_prefix('q') == Some(&wanted));
        found.copied().ok_or_else(|| {
            let e = Error::script(format!("Nexmark has no query '{name}'"));
            let hint =
                nearest(&wanted, QUERIES.iter().map(|(known, _)| *known)).map(|n| format!("did you mean '{n}'?"));
            e.hint(hint.unwrap_or_else(|| "the queries are q0 to q23".to_string()))
        })
    };
    if names.is_empty() { Ok(QUERIES.to_vec()) } else { names.iter().map(find).collect() }
}

/// The script of a query.
fn script(a: &NexmarkArguments, query: &str) -> String {
    let connector = "'connector' = 'nexmark'";
    let options = format!("{connector}, 'events.num' = '{}', 'first-event.rate' = '{}'", a.events, a.rate);
    format!("{}\n{query}", TABLES.replacen(connector, &options, 1))
}

/// What a query took.
struct Took {
    time: Duration,
    cpu: Duration,
    /// In bytes.
    memory: u64,
    /// On disk, in bytes.
    state: u64,
}

fn run_all(a: &NexmarkArguments, queries: &[(&str, &str)], folder: &Path) -> Result<()> {
    let mut results = vec![];
    let mut failed = vec![];
    if a.format == OutputFormat::Text {
        line(format_args!(
            "{:<6} {:>12} {:>9} {:>9} {:>10} {:>10}",
            "query", "events/s", "time", "cpu", "memory", "state"
        ));
    }
    for (name, query) in queries {
        let result = run_query(a, query, &folder.join(name));
        match (&result, a.format) {
            (Ok(took), OutputFormat::Text) => line(row(name, a.events, took)),
            (Ok(took), OutputFormat::Json) => results.push(json!({
                "query": name,
                "events": a.events,
                "seconds": took.time.as_secs_f64(),
                "cpu_seconds": took.cpu.as_secs_f64(),
                "memory_bytes": took.memory,
                "state_bytes": took.state,
            })),
            (Err(e), _) => {
                note!("{name}: {e}");
                failed.push(*name);
            }
        }
    }
    if a.format == OutputFormat::Json {
        line(serde_json::to_string_pretty(&results).unwrap_or_default());
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::io(format!("these queries failed: {}", failed.join(", ")))) }
}

/// A row of the table.
fn row(name: &str, events: u64, took: &Took) -> String {
    let per_second = HumanCount((events as f64 / took.time.as_secs_f64().max(0.001)) as u64).to_string();
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    format!(
        "{name:<6} {per_second:>12} {:>7.2} s {:>7.2} s {:>10} {:>10}",
        took.time.as_secs_f64(),
        took.cpu.as_secs_f64(),
        megabytes(took.memory),
        megabytes(took.state)
    )
}

/// Runs a query in a folder of its own.
fn run_query(a: &NexmarkArguments, query: &str, folder: &Path) -> Result<Took> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(io("write", &path))
    };
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(io("clear", folder))?;
    }
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    write("job.sql", script(a, query))?;
    if query.contains("side_input.csv") {
        write("side_input.csv", (0..SIDE_INPUT_ROWS).map(|n| format!("{n},{n}\n")).collect())?;
    }
    let (state, said) = (folder.join("state"), folder.join("messages"));
    let messages = File::create(&said).map_err(io("write", &said))?;
    let program = std::env::current_exe().map_err(|e| Error::io("the program's own file is not known").caused_by(e))?;
    let mut command = Command::new(program);
    command.args(["run", "--fresh", "--state"]).arg(&state).arg(folder.join("job.sql"));
    command.args(["--set", &format!("parallelism.default={}", a.parallelism)]);
    command.args(a.set.iter().flat_map(|setting| ["--set", setting]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
    let began = Instant::now();
    let child = command.spawn().map_err(|e| Error::io("the query's process cannot be started").caused_by(e))?;
    let (code, cpu, memory) = wait(child)?;
    let time = began.elapsed();
    if code != Some(0) {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        let why = said.lines().skip_while(|l| !l.contains("error")).collect::<Vec<_>>().join("\n");
        let how = code.map_or_else(|| "was killed".to_string(), |code| format!("ended with exit code {code}"));
        return Err(Error::io(format!("its process {how}: {why}")));
    }
    Ok(Took { time, cpu, memory, state: bytes_on_disk(&state) })
}

/// Waits for a process. Returns its exit code if it was not killed, its CPU time, and its peak memory in bytes.
fn wait(child: Child) -> Result<(Option<i32>, Duration, u64)> {
    let pid = child.id().cast_signed();
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to memory of this function, and the process is a child that nobody else waits for.
    while unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) } < 0 {
        let e = std::io::Error::last_os_error();
        if e.kind() != std::io::ErrorKind::Interrupted {
            return Err(Error::io("the query's process cannot be waited for").caused_by(e));
        }
    }
    // SAFETY: it was zeroed, which is a value of all of its numbers, and then written.
    let usage = unsafe { usage.assume_init() };
    let time = |t: libc::timeval| Duration::new(t.tv_sec.unsigned_abs(), t.tv_usec.unsigned_abs() as u32 * 1_000);
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    Ok((code, time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss.unsigned_abs() << 10))
}

/// What the files below a folder take on disk.
fn bytes_on_disk(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(m) if m.is_dir() => bytes_on_disk(&entry.path()),
        Ok(m) => m.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_chosen_by_name_or_number() {
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|a| (*a).to_string()).collect();
            chosen(&asked)
                .map(|found| found.iter().map(|(name, _)| *name).collect::<Vec<_>>())
                .map_err(|e| e.to_string())
        };
        assert_eq!(names(&["q5", "0", "Q23"]), Ok(vec!["q5", "q0", "q23"]));
        assert_eq!(names(&[]).map(|all| all.len()), Ok(24));
        assert!(names(&["q24"]).is_err_and(|e| e.contains("no query 'q24'")));
        assert!(QUERIES.iter().all(|(name, query)| query.contains(&format!("nexmark_{name}"))));
    }
}
