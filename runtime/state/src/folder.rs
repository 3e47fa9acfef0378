//! The state folder of a job: its lock, the job's id, and whether the last run has come to its end.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use weir_core::error::io;
use weir_core::{Error, Result, failpoint, private};

/// What the folder has recorded about the job's last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the folder's layout.
    pub format: u32,
    /// The job's name.
    pub job: String,
    /// The id of the run, which is new whenever the job starts without state or from a savepoint.
    pub run: String,
    /// Whether the run has come to its end.
    pub finished: bool,
}

/// A state folder that this process has locked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// The version of the folder's layout, and of the encodings of operators' state.
pub(crate) const FORMAT: u32 = 2;

/// The file with the token that changes over HTTP need.
const TOKEN: &str = "token";

impl Folder {
    /// Opens a folder, or creates it, and locks it.
    ///
    /// # Errors
    /// If another process has locked it, it cannot be written to, or it has files that are not a job's state.
    pub fn open(path: &Path) -> Result<Folder> {
        let io = |e: std::io::Error| {
            Error::state(format!("the state folder {} cannot be used", path.display())).caused_by(e)
        };
        fs::create_dir_all(path).map_err(io)?;
        private::close_folder(path).map_err(io)?;
        let foreign = fs::read_dir(path)
            .map_err(io)?
            .filter_map(|e| e.ok().map(|e| e.file_name().to_string_lossy().into_owned()))
            .find(|n| {
                !["id", "lock", "job.json", "job.json.draft", "store", "epochs", "owner", "control", TOKEN]
                    .contains(&n.as_str())
            });
        if let Some(name) = foreign {
            return Err(Error::state(format!("{} holds '{name}', which is no state of a job", path.display()))
                .hint("give the job another name, or another folder by --state"));
        }
        let lock = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(lock).map_err(io)?;
        if let Err(e) = lock.try_lock() {
            if let TryLockError::Error(e) = e {
                return Err(io(e));
            }
            let owner = fs::read_to_string(path.join("owner")).unwrap_or_default();
            let who = if owner.is_empty() { String::new() } else { format!(" (process {owner})") };
            return Err(Error::state(format!("the state in {} is in use by another process{who}", path.display()))
                .hint("wait for it to end, or give this job another name: --set pipeline.name=…"));
        }
        fs::write(path.join("owner"), std::process::id().to_string()).map_err(io)?;
        fs::create_dir_all(path.join("epochs")).map_err(io)?;
        Ok(Folder { path: path.to_path_buf(), _lock: lock })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn epochs(&self) -> PathBuf {
        self.path.join("epochs")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// What was recorded about the last run, if there was one.
    ///
    /// # Errors
    /// If the file cannot be read, or has another layout version.
    pub fn status(&self) -> Result<Option<Status>> {
        status(&self.path)
    }

    /// Records the beginning or the end of a run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn note(&self, job: &str, run: &str, finished: bool) -> Result<()> {
        let status = Status { format: FORMAT, job: job.to_string(), run: run.to_string(), finished };
        let path = self.path.join("job.json");
        let draft = self.path.join("job.json.draft");
        let io = |e: std::io::Error| Error::io(format!("cannot write {}", path.display())).caused_by(e);
        let text = serde_json::to_vec_pretty(&status).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
        failpoint::pass("job-note").and_then(|()| fs::write(&draft, text)).map_err(io)?;
        File::open(&draft).and_then(|f| f.sync_all()).map_err(io)?;
        fs::rename(&draft, &path).map_err(io)?;
        failpoint::pass("job-noted").map_err(io)?;
        crate::epoch_file::sync_folder(&self.path)
    }

    /// The job's id in external systems. It is generated once, and kept when the job starts without state.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn job_id(&self) -> Result<String> {
        let path = self.path.join("id");
        match fs::read_to_string(&path) {
            Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_string()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(io("read", &path)(e)),
        }
        let id: String = uuid::Uuid::new_v4().simple().to_string().chars().take(16).collect();
        self.be(&id)?;
        Ok(id)
    }

    /// Takes over the id of a job. The process that had it before is fenced off.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn be(&self, id: &str) -> Result<()> {
        let path = self.path.join("id");
        fs::write(&path, id).and_then(|()| File::open(&path)?.sync_all()).map_err(io("write", &path))?;
        crate::epoch_file::sync_folder(&self.path)
    }

    /// Generates a token for changes over HTTP, and writes it into a file that only its owner can read. The file is removed when the
    /// process ends. Returns the token and the file's path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn draw_token(&self) -> Result<(String, PathBuf)> {
        let path = self.path.join(TOKEN);
        let token = uuid::Uuid::new_v4().simple().to_string();
        let _ = fs::remove_file(&path);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut f| writeln!(f, "{token}")).map_err(io("write", &path))?;
        Ok((token, path))
    }

    /// Deletes all state.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub fn clear(&self) -> Result<()> {
        let io = |e: std::io::Error| Error::state(format!("cannot clear {}", self.path.display())).caused_by(e);
        let _ = fs::remove_file(self.path.join("job.json"));
        for p in [self.store(), self.epochs()] {
            if p.exists() {
                fs::remove_dir_all(&p).map_err(io)?;
            }
        }
        fs::create_dir_all(self.epochs()).map_err(io)
    }
}

/// What a folder has recorded about a job's last run. It does not take the folder's lock.
///
/// # Errors
/// As [`Folder::status`].
pub fn status(folder: &Path) -> Result<Option<Status>> {
    let path = folder.join("job.json");
    let text = match fs::read(&path) {
        Ok(t) => t,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::state(format!("cannot read {}: {e}", path.display()))),
    };
    let status: Status = serde_json::from_slice(&text).map_err(|e| {
        Error::state(format!("{} is damaged", path.display())).caused_by(e).hint("start with --fresh to begin anew")
    })?;
    if status.format != FORMAT {
        return Err(Error::state(format!(
            "{} has the layout {}, this is for {FORMAT}",
            folder.display(),
            status.format
        ))
        .hint("go on with the version of Weir that wrote it, or start with --fresh to begin anew"));
    }
    Ok(Some(status))
}

impl Drop for Folder {
    fn drop(&mut self) {
        for name in ["owner", TOKEN] {
            let _ = fs::remove_file(self.path.join(name));
        }
    }
}
