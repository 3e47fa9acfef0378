//! `weir state`: looks into the state of jobs that do not run.

use crate::arguments::{Job, State, StateCommand};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;
use weir_core::state::{StateBackend, StateReader};
use weir_core::{Error, Result};
use weir_state::{Folder, Store};

/// The folder of a job that is named by its script, its folder, or its name.
fn folder(job: &Job, must_exist: bool) -> Result<PathBuf> {
    let p = &job.job;
    let name = || p.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = p.parent().map(|d| d.join(".weir").join(name())).unwrap_or_default();
    let here = PathBuf::from(".weir").join(name());
    let candidates = [p.clone(), beside.clone(), here];
    match candidates.iter().find(|c| c.join("job.json").is_file()) {
        Some(c) => Ok(c.clone()),
        None if !must_exist => Ok(beside),
        None => Err(Error::state(format!("there is no state of a job '{}'", p.display()))
            .hint("name the job's script, the folder of its state, or its name in ./.weir")),
    }
}

/// Does what was asked.
pub fn run(a: &State) -> Result<()> {
    match &a.command {
        StateCommand::Show { job } => show(job),
        StateCommand::Export { job, output } => {
            let folder = Folder::open(&folder(job, true)?)?;
            let store = Store::open(&folder, 16 << 20)?;
            let mut out: Box<dyn Write> = match output {
                Some(p) => Box::new(BufWriter::new(
                    File::create(p).map_err(|e| Error::io(format!("cannot write {}: {e}", p.display())))?,
                )),
                None => Box::new(BufWriter::new(std::io::stdout())),
            };
            let n = weir_state::export(&store, &mut out)?;
            out.flush().map_err(|e| Error::io(e.to_string()))?;
            eprintln!("{n} keys exported");
            store.close()
        }
        StateCommand::Import { job, file } => {
            let path = folder(job, false)?;
            let folder = Folder::open(&path)?;
            if folder.status()?.is_some_and(|s| !s.finished) {
                return Err(Error::state(format!("{} holds the state of a job that has not ended", path.display()))
                    .hint("drop it first: weir state drop"));
            }
            let text = File::open(file).map_err(|e| Error::io(format!("cannot read {}: {e}", file.display())))?;
            folder.clear()?;
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let run: String = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
            let store = Store::open(&folder, 16 << 20)?;
            let n = weir_state::import(&store, &mut BufReader::new(text))?;
            store.close()?;
            folder.note(&name, &run, false)?;
            eprintln!("{n} keys imported; the job '{name}' goes on from there");
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
            eprintln!("dropped");
            Ok(())
        }
    }
}

fn show(job: &Job) -> Result<()> {
    let folder = Folder::open(&folder(job, true)?)?;
    let status = folder.status()?;
    let store = Store::open(&folder, 16 << 20)?;
    if let Some(s) = status {
        println!("job       {}", s.job);
        println!("run       {} ({})", s.run, if s.finished { "came to its end" } else { "goes on when it is run" });
    }
    println!("epoch     {}", store.last_epoch());
    println!("on disk   {} bytes", store.disk_bytes());
    println!("{:>10} {:>14}  operator", "keys", "bytes");
    for (uid, id) in store.operators()? {
        let entries = store.scan(id, &[])?;
        let bytes: usize = entries.iter().map(|(k, v)| k.len() + v.len()).sum();
        println!("{:>10} {bytes:>14}  {uid}", entries.len());
    }
    store.close()
}
