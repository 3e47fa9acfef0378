//! The owner of the files that a job writes into a folder. A hidden file there names it, as a commit marker does in other systems.

use crate::fencing::{may_write, owner, replaced};
use backon::{BlockingRetryable, ConstantBuilder};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_core::error::io;
use weir_core::graph::JobIdentity;
use weir_core::{Result, private};

/// How long to wait for a process that has locked the file. That process may be suspended, and never resume.
const PATIENCE: Duration = Duration::from_secs(5);

/// A folder, and its owner.
#[derive(Debug, Clone)]
pub(super) struct FolderClaim {
    path: PathBuf,
    folder: PathBuf,
    owner: String,
}

impl FolderClaim {
    /// Takes a folder over for a job's sink. `begun` says whether the run has written there before.
    ///
    /// # Errors
    /// If another run has taken the folder over since.
    pub fn take(folder: &Path, sink: u64, job: &JobIdentity, begun: bool) -> Result<FolderClaim> {
        let path = folder.join(format!(".weir-{sink:016x}"));
        let claim = FolderClaim { path, folder: folder.to_path_buf(), owner: owner(job) };
        let (mut file, found) = claim.open()?;
        may_write(&claim.what(), job, found.as_deref(), begun)?;
        let written =
            file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(claim.owner.as_bytes()));
        written.and_then(|()| file.sync_all()).map_err(io("write", &claim.path))?;
        Ok(claim)
    }

    /// The owner's process.
    pub fn process(&self) -> &str {
        self.owner.rsplit(' ').next().unwrap_or_default()
    }

    /// Does something that only the folder's owner may do, while no other process can take the folder over.
    ///
    /// # Errors
    /// If another process owns the folder, or `f` fails.
    pub fn held<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let (mut file, found) = self.open()?;
        match found {
            Some(other) if other != self.owner => return Err(replaced(&self.what())),
            Some(_) => {}
            // The folder was cleared.
            None => file.write_all(self.owner.as_bytes()).map_err(io("write", &self.path))?,
        }
        f()
    }

    fn what(&self) -> String {
        format!("the folder {}", self.folder.display())
    }

    /// The locked file, and the owner that it names.
    fn open(&self) -> Result<(File, Option<String>)> {
        private::make_folder_for_all(&self.folder).map_err(io("make", &self.folder))?;
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.path);
        let mut file = file.map_err(io("open", &self.path))?;
        let since = Instant::now();
        let waits = ConstantBuilder::new().with_delay(Duration::from_millis(5)).without_max_times();
        let held = |e: &TryLockError| matches!(e, TryLockError::WouldBlock);
        // File systems without locks are used without one.
        let locked = (|| file.try_lock()).retry(waits).when(|e| held(e) && since.elapsed() < PATIENCE).call();
        if locked.is_err_and(|e| held(&e)) {
            tracing::warn!("{} is locked by another process", self.path.display());
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io("read", &self.path))?;
        let text = text.trim().to_string();
        Ok((file, Some(text).filter(|t| !t.is_empty())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = std::env::temp_dir().join(format!("weir-claim-{}", std::process::id()));
        let job = |run: &str| JobIdentity { id: "j".to_string(), run: run.to_string() };
        let first = FolderClaim::take(&folder, 1, &job("a"), false).expect("no owner yet");
        assert!(first.held(|| Ok(1)).is_ok_and(|n| n == 1));
        let again = FolderClaim::take(&folder, 1, &job("a"), true).expect("its own");
        assert!(again.held(|| Ok(())).is_ok());
        let newer = FolderClaim::take(&folder, 1, &job("b"), false).expect("a new run");
        assert!(FolderClaim::take(&folder, 2, &job("a"), true).is_ok(), "another sink's");
        let e = first.held(|| Ok(())).expect_err("it was taken");
        assert_eq!((e.kind, e.message.contains("another process")), (weir_core::error::ErrorKind::State, true));
        assert!(FolderClaim::take(&folder, 1, &job("a"), true).is_err(), "an older run");
        std::fs::remove_dir_all(&folder).expect("it is there");
        assert!(newer.held(|| Ok(())).is_ok(), "the folder was cleared");
        std::fs::remove_dir_all(&folder).expect("it is there again");
    }
}
