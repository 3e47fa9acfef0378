//! Runs a tool in a separate process, with an explicit environment and with limits of time and memory that include everything the tool
//! starts. A tool that exceeds its limits is killed.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The limits of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The resident memory of all its processes in bytes.
    pub memory: u64,
    /// The time from its start to its end.
    pub time: Duration,
}

/// A tool that has ended by itself.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Why a tool did not end by itself.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It could not be started.
    Start(std::io::Error),
    /// It exceeded a limit, which the text names.
    Exceeded(String),
}

/// The number of bytes of each output that are kept. The rest is discarded.
const KEPT: u64 = 4 << 20;
/// The environment variables that a tool needs to find its own parts. None of them contains secrets of the job.
const NEEDED: [&str; 8] =
    ["PATH", "HOME", "TMPDIR", "LANG", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTUP_AUTO_INSTALL"];
/// The environment variables that a tool needs to reach its registry: proxies and certificates.
const FETCHING: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Creates a command in a folder, whose environment only contains what it needs to find its own parts.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    let given = NEEDED.iter().filter_map(|n| std::env::var_os(n).map(|v| (*n, v)));
    command.envs(given);
    command
}

/// Allows a command to reach registries. This is for tools that download code of others without running it.
pub(crate) fn fetches(command: &mut Command, settings: &str) {
    let wanted = |name: &str| {
        FETCHING.contains(&name.to_uppercase().as_str()) || name.starts_with(settings) || name == "REQUESTS_CA_BUNDLE"
    };
    command.envs(std::env::vars_os().filter(|(n, _)| n.to_str().is_some_and(wanted)));
}

/// Runs a command until it ends or exceeds a limit.
pub(crate) fn run(command: &mut Command, bounds: Bounds) -> Result<Ended, Failed> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: prctl is a plain system call, which may be made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            // The tool must not outlive the thread that waits for it.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        })
    };
    let mut child = command.spawn().map_err(Failed::Start)?;
    let (out, err) = (reading(child.stdout.take()), reading(child.stderr.take()));
    let began = Instant::now();
    let mut looked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(Failed::Start)? {
            break status;
        }
        if began.elapsed() > bounds.time {
            return Err(killed(&mut child, format!("took longer than {:?}", bounds.time)));
        }
        if looked.elapsed() > Duration::from_millis(200) {
            looked = Instant::now();
            if resident(child.id()) > bounds.memory {
                return Err(killed(&mut child, format!("took more than {} MB of memory", bounds.memory >> 20)));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    // Kills processes that the tool has left behind, since nothing else would end their pipes.
    kill(child.id());
    let read = |handle: std::thread::JoinHandle<Vec<u8>>| handle.join().unwrap_or_default();
    Ok(Ended { status, stdout: read(out), stderr: read(err) })
}

fn reading(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = vec![];
        if let Some(mut from) = from {
            let _ = from.by_ref().take(KEPT).read_to_end(&mut kept);
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        kept
    })
}

fn killed(child: &mut Child, why: String) -> Failed {
    kill(child.id());
    let _ = child.kill();
    let _ = child.wait();
    Failed::Exceeded(why)
}

/// Kills all processes of a tool's group.
fn kill(group: u32) {
    // SAFETY: sends a signal to the group that this process made.
    unsafe { libc::kill(-(group as i32), libc::SIGKILL) };
}

/// The resident memory of a tool's group and all its descendants in bytes.
fn resident(root: u32) -> u64 {
    // SAFETY: asks for a number and cannot fail.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as u64;
    let Ok(all) = std::fs::read_dir("/proc") else { return 0 };
    let processes: Vec<(u32, u32, u32, PathBuf)> = all
        .filter_map(|e| {
            let path = e.ok()?.path();
            let id: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            // The name in parentheses may contain anything. The state, the parent and the group follow its last parenthesis.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
            let parent = fields.next()?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            Some((id, parent, group, path))
        })
        .collect();
    let mut own: Vec<u32> = processes.iter().filter(|p| p.2 == root || p.0 == root).map(|p| p.0).collect();
    let mut at = 0;
    while at < own.len() {
        let of: Vec<u32> = processes.iter().filter(|p| p.1 == own[at] && !own.contains(&p.0)).map(|p| p.0).collect();
        own.extend(of);
        at += 1;
    }
    let pages = |path: &Path| -> Option<u64> {
        std::fs::read_to_string(path.join("statm")).ok()?.split_whitespace().nth(1)?.parse().ok()
    };
    processes.iter().filter(|p| own.contains(&p.0)).filter_map(|p| pages(&p.3)).sum::<u64>() * page
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds { memory: 1 << 30, time: Duration::from_secs(60) };

    fn sh(script: &str, bounds: Bounds) -> Result<Ended, Failed> {
        run(command("sh", Path::new("/")).args(["-c", script]), bounds)
    }

    #[test]
    fn the_environment_holds_what_is_named() {
        let ended = sh("env", WIDE).expect("an end");
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        let own = ["PWD", "SHLVL", "_", "OLDPWD"];
        for line in text.lines() {
            let name = line.split('=').next().unwrap_or_default();
            assert!(NEEDED.contains(&name) || own.contains(&name), "{line}");
        }
        assert!(ended.status.success() && text.contains("PATH="), "{text}");
    }

    #[test]
    fn what_exceeds_its_bounds_is_killed() {
        let short = Bounds { time: Duration::from_millis(300), ..WIDE };
        let began = Instant::now();
        assert!(matches!(sh("sleep 60 & sleep 60", short), Err(Failed::Exceeded(_))));
        // A process that is left behind blocks nothing.
        assert!(sh("sleep 60 & echo done", WIDE).is_ok_and(|e| e.stdout == b"done\n"));
        let small = Bounds { memory: 200 << 20, ..WIDE };
        let hungry = "python3 -I -c 'x = b\"1\" * (400 << 20); import time; time.sleep(60)'";
        assert!(matches!(sh(&format!("({hungry})"), small), Err(Failed::Exceeded(_))));
        assert!(began.elapsed() < Duration::from_secs(50));
    }
}
