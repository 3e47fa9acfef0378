//! Compiles components in a separate process, because even small components can be made to take gigabytes and minutes to compile, and the
//! compiler has no limits of its own.

use crate::cache::Cache;
use crate::child::{self, Bounds, Failed};
use crate::engine::engine;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use wasmtime::Engine;
use weir_core::{Error, Result};

/// The memory limit of compilation in bytes, and the additional bytes for each byte of the component.
const MEMORY: (u64, u64) = (512 << 20, 48);
/// The address space in bytes that the allocator and the stacks of threads reserve without using it.
const RESERVED: u64 = 3 << 30;
/// The limit of compilation in seconds of CPU time, and the additional seconds for each megabyte of the component.
const TIME: (u64, u64) = (60, 10);
/// The limit of elapsed time as a multiple of that, since the machine may be busy.
const SHARE: u32 = 10;

/// The program and the command that compile components.
static APART: OnceLock<(PathBuf, &'static str)> = OnceLock::new();

/// Sets the command of this program that compiles components by calling [`compile_file`]. Without it, components are compiled in this
/// process without limits.
pub fn compile_apart(command: &'static str) {
    // The path of this program, even if its file was replaced.
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() { Some(own) } else { std::env::current_exe().ok() };
    if let Some(program) = program {
        let _ = APART.set((program, command));
    }
}

/// Compiles a component from one file into another.
///
/// # Errors
/// If it cannot be compiled.
pub fn compile_file(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).map_err(weir_core::error::io("read", from))?;
    let engine = engine()?;
    let compiled = engine.precompile_component(&bytes).map_err(|e| Error::script(format!("{e:#}")).with_source(e))?;
    std::fs::write(to, compiled).map_err(weir_core::error::io("write", to))
}

/// Compiles a component. `shown` is its name in errors.
pub(crate) fn compile(engine: &Engine, bytes: &[u8], shown: &str, cache: &Cache) -> Result<Vec<u8>> {
    let wrong = |why: &str| {
        let why = why.lines().next().unwrap_or_default();
        Error::script(format!("{shown} is no component that can be compiled: {why}"))
    };
    let Some((program, command)) = APART.get() else {
        return engine.precompile_component(bytes).map_err(|e| wrong(&format!("{e:#}")).with_source(e));
    };
    let io = |e: std::io::Error| Error::tool(format!("{shown} cannot be compiled")).caused_by(e);
    let folder = tempfile::tempdir_in(cache.folder()).or_else(|_| tempfile::tempdir()).map_err(io)?;
    let (from, to) = (folder.path().join("component.wasm"), folder.path().join("component.cwasm"));
    std::fs::write(&from, bytes).map_err(io)?;
    let memory = MEMORY.0 + MEMORY.1 * bytes.len() as u64;
    let seconds = TIME.0 + TIME.1 * (bytes.len() as u64 >> 20);
    let mut child = child::command(program, folder.path());
    // Every thread of the compiler holds a function in memory, so their number is limited to match the memory limit.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    child.arg(command).arg(&from).arg(&to).env("RAYON_NUM_THREADS", threads.to_string());
    // The resident memory is checked five times a second. This limits the growth in between. The allocator reserves much more than it uses.
    let data = memory * 2 + RESERVED;
    let limits = [(libc::RLIMIT_CPU, seconds), (libc::RLIMIT_DATA, data), (libc::RLIMIT_CORE, 0)];
    // SAFETY: setrlimit is a plain system call, which may be made between fork and exec; it reads a local.
    unsafe {
        child.pre_exec(move || {
            for (what, most) in limits {
                libc::setrlimit(what, &libc::rlimit { rlim_cur: most, rlim_max: most });
            }
            Ok(())
        })
    };
    let dear = |why: &str| {
        Error::script(format!("{shown} is too dear to compile: that {why}")).hint(format!(
            "a component of this size may take {} MB and {seconds} seconds of processor time; make its functions smaller",
            memory >> 20
        ))
    };
    let bounds = Bounds { memory, time: Duration::from_secs(seconds) * SHARE };
    let ended = match child::run(&mut child, bounds) {
        Ok(ended) => ended,
        Err(Failed::Start(e)) => return Err(io(e)),
        Err(Failed::Exceeded(why)) => return Err(dear(&why)),
    };
    if ended.status.success() {
        return std::fs::read(&to).map_err(io);
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    Err(match ended.status.signal() {
        Some(libc::SIGXCPU | libc::SIGKILL) => dear(&format!("took more than {seconds} s of processor time")),
        Some(libc::SIGABRT | libc::SIGSEGV) if words.contains("memory") => {
            dear(&format!("took more than {} MB of memory", memory >> 20))
        }
        Some(signal) => Error::internal(format!("the compiler ended by signal {signal} at {shown}: {}", words.trim())),
        None => wrong(words.trim().trim_start_matches("error: ")),
    })
}
