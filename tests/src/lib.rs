//! What the end-to-end tests share: the built `weir`, folders of their own, rows as printed.

pub mod http;
pub mod proxy;
pub mod servers;
pub mod services;
pub mod topics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The built command. `tests/run` builds it before the tests.
pub fn weir() -> PathBuf {
    let mut path = std::env::current_exe().unwrap_or_default();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("weir");
    assert!(path.is_file(), "{} is not built: run tests/run", path.display());
    path
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    // Asked at run time: a target folder that several checkouts share would otherwise lead into another one.
    let tests = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_string());
    Path::new(&tests).join("..").join(path)
}

/// Waits up to 90 seconds for something to hold, and says whether it does.
pub fn comes(mut holds: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while !holds() {
        if since.elapsed() > Duration::from_secs(90) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// A folder with a script in it.
pub struct Job {
    /// The folder.
    pub folder: tempfile::TempDir,
}

/// What a run came to.
pub struct Ran {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(o: Output) -> Self {
        Ran {
            code: o.status.code(),
            out: String::from_utf8_lossy(&o.stdout).into_owned(),
            err: String::from_utf8_lossy(&o.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Fails the test unless the run succeeded.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }
    /// Fails the test unless the run failed with a code and said all these words, without a panic.
    pub fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "stderr: {}", self.err);
        assert!(!self.err.lines().any(|l| l.starts_with("thread '")), "it panicked: {}", self.err);
        for w in words {
            assert!(self.err.contains(w), "'{w}' is not in: {}", self.err);
        }
        self
    }
    /// The rows that the printed changes add up to, with how often each is there.
    pub fn rows(&self) -> BTreeMap<String, i64> {
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        for line in self.out.lines() {
            let line = line.split_once("> ").map_or(line, |(_, l)| l);
            let Some((kind, row)) = line.split_at_checked(2) else { continue };
            match kind {
                "+I" | "+U" => *rows.entry(row.to_string()).or_default() += 1,
                "-U" | "-D" => *rows.entry(row.to_string()).or_default() -= 1,
                _ => {}
            }
        }
        rows.retain(|_, n| *n != 0);
        rows
    }
}

impl Job {
    /// A job of this script.
    pub fn new(script: &str) -> Job {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let job = Job { folder };
        job.file("job.sql", script);
        job
    }
    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    /// The files in one of its folders, without the hidden ones.
    pub fn parts(&self, folder: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path(folder)).expect("the folder").map(|f| f.expect("a file"));
        let shown = files.filter(|f| !f.file_name().to_string_lossy().starts_with('.')).map(|f| f.path());
        shown.filter(|p| p.is_file()).collect()
    }
    /// Writes a file beside the script.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(name);
        let written =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, contents));
        written.unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }
    /// The command that runs it, with further arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut c = Command::new(weir());
        c.current_dir(self.folder.path()).args(["run", "job.sql"]).args(arguments).stdin(Stdio::null());
        c
    }
    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let out = self.command(arguments).output().unwrap_or_else(|e| panic!("weir does not start: {e}"));
        out.into()
    }
}
