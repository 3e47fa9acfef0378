//! Asking a running job: a socket in the folder of its state, by which the commands reach whoever holds the lock.
//!
//! One line asks; the answer's last line is `ok`, or `error` and what was wrong. An answer without it was cut off.

use crate::running::RunningJob;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use weir_core::error::io;
use weir_core::{Error, Result};
use weir_engine::scale::TargetParallelism;
use weir_state::Store;

const SOCKET: &str = "control";

/// How long to wait for an epoch that every sink has.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the one who asks may take for the question, and to read on in the answer.
const ASKING: Duration = Duration::from_secs(10);
/// See [`ASKING`].
const READING: Duration = Duration::from_secs(600);

/// A short path to the socket: the kernel takes no more than 107 bytes, and folders may lie deep.
fn short(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

/// The socket of a running job; it goes when this is dropped.
pub struct Answering {
    path: PathBuf,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers from now on, on a thread of its own.
pub fn answer(folder: &Path, store: &Arc<Store>, job: &str, running: &Arc<RunningJob>) -> Result<Answering> {
    let path = folder.join(SOCKET);
    // Left over from a process that was killed: the lock is ours, so nobody listens there.
    let _ = std::fs::remove_file(&path);
    let at = File::open(folder).map_err(io("open", folder))?;
    let listener = UnixListener::bind(short(&at)).map_err(io("listen on", &path))?;
    let (store, job, running) = (Arc::downgrade(store), job.to_string(), Arc::downgrade(running));
    let serve = move || {
        for stream in listener.incoming() {
            let (Some(store), Some(running)) = (store.upgrade(), running.upgrade()) else { return };
            let Ok(stream) = stream else {
                // No file handles are left: whoever asks waits until there are.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            let job = job.clone();
            // One that says nothing, or reads nothing, keeps nobody else waiting.
            let replying = weir_core::thread::spawn("weir-reply", move || {
                if let Err(e) = reply(&stream, &store, &job, &running) {
                    tracing::debug!("a question was not answered: {e}");
                }
            });
            if let Err(e) = replying {
                tracing::debug!("a question was not answered: {e}");
            }
        }
    };
    weir_core::thread::spawn("weir-control", serve)?;
    Ok(Answering { path })
}

fn reply(stream: &UnixStream, store: &Store, job: &str, running: &RunningJob) -> std::io::Result<()> {
    stream.set_read_timeout(Some(ASKING))?;
    stream.set_write_timeout(Some(READING))?;
    let mut question = String::new();
    BufReader::new(stream.take(64 << 10)).read_line(&mut question)?;
    let mut out = BufWriter::new(stream);
    let answer = |out: &mut dyn Write| -> Result<()> {
        let question = question.trim();
        let (word, rest) = question.split_once(' ').unwrap_or((question, ""));
        let told = |v: serde_json::Value, out: &mut dyn Write| {
            writeln!(out, "{v}").map_err(|e| Error::io("cannot answer").caused_by(e))
        };
        match word {
            "show" => weir_state::summary(store, out),
            "export" => weir_state::export(store, job, PATIENCE, out).map(|_| ()),
            "job" => told(running.describe(), out),
            "stop" => {
                running.stop();
                Ok(())
            }
            "scale" => {
                let wanted: TargetParallelism =
                    serde_json::from_str(rest).map_err(|e| Error::script(e.to_string()).with_source(e))?;
                told(running.scale(&wanted)?, out)
            }
            other => Err(Error::script(format!("nothing is known about '{other}'"))),
        }
    };
    match answer(&mut out) {
        Ok(()) => writeln!(out, "ok")?,
        Err(e) => writeln!(out, "error {}", e.to_string().replace('\n', " "))?,
    }
    out.flush()
}

/// Asks the process that runs the job of this state, if there is one, and copies its answer.
pub fn ask(folder: &Path, question: &str, out: &mut dyn Write) -> Option<Result<()>> {
    let at = File::open(folder).ok()?;
    let mut stream = UnixStream::connect(short(&at)).ok()?;
    let mut copy = || -> std::io::Result<Result<()>> {
        writeln!(stream, "{question}")?;
        for line in BufReader::new(&stream).lines() {
            let line = line?;
            if line == "ok" {
                return Ok(Ok(()));
            }
            if let Some(why) = line.strip_prefix("error ") {
                return Ok(Err(Error::state(why.to_string())));
            }
            writeln!(out, "{line}")?;
        }
        Ok(Err(Error::state("the running job ended before it had answered").hint("it may just have ended: try again")))
    };
    Some(copy().unwrap_or_else(|e| Err(Error::io("the running job could not be asked").caused_by(e))))
}
