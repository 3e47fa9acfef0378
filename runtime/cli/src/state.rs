//! `weir state`: looks into the state of jobs; one that runs is asked for it.

use crate::arguments::{JobArgument, SavepointArguments, StateArguments, StateCommand};
use crate::local;
use crate::output::line;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_core::error::io;
use weir_core::state::StateBackend;
use weir_core::{Error, Result};
use weir_state::{Archive, Folder, Status, Store};

/// The folder of a job that is named by its script, its folder, or its name.
pub fn folder(job: &JobArgument, must_exist: bool) -> Result<PathBuf> {
    let p = &job.job;
    let name = || p.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = p.parent().map(|d| d.join(".weir").join(name())).unwrap_or_default();
    let here = PathBuf::from(".weir").join(name());
    let candidates = [p.clone(), beside.clone(), here];
    match candidates.iter().find(|c| c.join("job.json").is_file()) {
        Some(c) => Ok(c.clone()),
        None if !must_exist => Ok(beside),
        // By its name alone, wherever it runs on this machine; what looks like a file's name is no other job's.
        None if p.components().count() == 1
            && p.extension().is_none()
            && let Some(found) = crate::registry::find(&name()) =>
        {
            Ok(found)
        }
        None => Err(Error::state(format!("there is no state of a job '{}'", p.display()))
            .hint("name the folder of its state, the name that it has in ./.weir, or its script where that sets no 'pipeline.name'")),
    }
}

/// Does what was asked.
pub fn run(a: &StateArguments) -> Result<()> {
    match &a.command {
        StateCommand::Show { job } => show(job),
        StateCommand::Export { job, output } => {
            let path = folder(job, true)?;
            let mut out: Box<dyn Write> = match output {
                Some(p) => Box::new(BufWriter::new(File::create(p).map_err(io("write", p))?)),
                None => Box::new(BufWriter::new(std::io::stdout())),
            };
            let n = export(&path, &mut out)?;
            note!("{n} keys exported");
            Ok(())
        }
        StateCommand::Import { job, file } => {
            let path = folder(job, false)?;
            let folder = Folder::open(&path)?;
            if folder.status()?.is_some_and(|s| !s.finished) {
                return Err(Error::state(format!("{} holds the state of a job that has not ended", path.display()))
                    .hint("drop it first: weir state drop"));
            }
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let text =
                File::open(file).map_err(|e| Error::script(format!("cannot read {}", file.display())).caused_by(e))?;
            let (n, _) = import(&folder, &name, &mut BufReader::new(text))?;
            note!("{n} keys imported; the job '{name}' goes on from there");
            Ok(())
        }
        StateCommand::Drop { job, operator } => {
            let folder = Folder::open(&folder(job, true)?)?;
            match operator {
                None => folder.clear()?,
                Some(uid) => {
                    let store = Store::open(&folder, 16 << 20)?;
                    if !store.operators()?.contains_key(uid) {
                        return Err(Error::state(format!("there is no operator '{uid}' in the state"))
                            .hint("weir state show lists them"));
                    }
                    store.drop_operator(uid)?;
                    store.close()?;
                }
            }
            note!("dropped");
            Ok(())
        }
    }
}

/// Writes a job's state, of the process that runs it, or of its folder. Gives the number of keys.
fn export(path: &Path, out: &mut dyn Write) -> Result<usize> {
    let mut counted = LineCount { inner: out, lines: 0 };
    if let Some(answer) = local::ask(path, "export", &mut counted) {
        answer?;
    } else {
        let folder = Folder::open(path)?;
        let store = Store::open(&folder, 16 << 20)?;
        if folder.status()?.is_some_and(|s| s.finished) {
            // That is noted when all is delivered; the last epochs may lie in their files nonetheless.
            store.undelivered()?.iter().try_for_each(|(epoch, _)| store.delivered(*epoch))?;
        }
        weir_state::export(&store, &folder.job_id()?, Duration::ZERO, &mut counted)?;
        store.close()?;
    }
    counted.flush().map_err(|e| Error::io("cannot write the export").caused_by(e))?;
    // The first line is the head.
    Ok(counted.lines.saturating_sub(1))
}

/// A name for a new run.
pub fn new_run() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}

/// Fills a job's folder from an export, as a new run, which fences off the job that the export is of.
/// Gives the number of keys and the run.
pub fn import(folder: &Folder, name: &str, text: &mut dyn BufRead) -> Result<(u64, String)> {
    folder.clear()?;
    let run = new_run();
    let store = Store::open(folder, 16 << 20)?;
    let (n, job) = weir_state::import(&store, text)?;
    store.close()?;
    if let Some(id) = job {
        folder.be(&id)?;
    }
    folder.note(name, &run, false)?;
    Ok((n, run))
}

/// Writes a savepoint, there only when it is whole.
pub fn savepoint(a: &SavepointArguments) -> Result<()> {
    let path = folder(&a.job, true)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (to, n) = Archive::open(&a.target)?.put(&name, false, |out| export(&path, out))?;
    line(&to);
    note!("{n} keys; start from it with: weir run SCRIPT --from {to}");
    Ok(())
}

/// Counts the lines that pass.
struct LineCount<'a> {
    inner: &'a mut dyn Write,
    lines: usize,
}

impl Write for LineCount<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.lines += bytes[..n].iter().filter(|b| **b == b'\n').count();
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn show(job: &JobArgument) -> Result<()> {
    let path = folder(job, true)?;
    let mut out = std::io::stdout().lock();
    let mut head = |status: Option<Status>, running: bool| {
        let Some(s) = status else { return Ok(()) };
        let how = match (running, s.finished) {
            (true, _) => "running",
            (_, true) => "came to its end",
            _ => "goes on when it is run",
        };
        writeln!(out, "job       {}\nrun       {} ({how})", s.job, s.run)
    };
    let io = |e: std::io::Error| Error::io("cannot write to standard output").caused_by(e);
    let mut answer = vec![];
    if let Some(answered) = local::ask(&path, "show", &mut answer) {
        answered?;
        head(weir_state::status(&path)?, true).map_err(io)?;
        return out.write_all(&answer).map_err(io);
    }
    let folder = Folder::open(&path)?;
    head(folder.status()?, false).map_err(io)?;
    let store = Store::open(&folder, 16 << 20)?;
    weir_state::summary(&store, &mut out)?;
    store.close()
}
