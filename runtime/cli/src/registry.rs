//! The jobs that run on this machine, for those who look for them by name: a file each, in a folder of the user's own, with the
//! path of the job's state. Nothing rests on it: a file whose job does not answer is left out.

use std::path::{Path, PathBuf};

/// The user's folder: in the runtime directory, or in the temporary one.
fn folder() -> Option<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    // SAFETY: asks for a number and cannot fail.
    let user = unsafe { libc::getuid() };
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_dir()) {
        Some(p) => p.join("weir"),
        None => std::env::temp_dir().join(format!("weir-{user}")),
    };
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    // Somebody else's folder of that name says nothing of one's own jobs.
    std::fs::symlink_metadata(&folder).ok().filter(|m| m.is_dir() && m.uid() == user).map(|_| folder)
}

/// An entry, which goes when this is dropped.
pub struct RegisteredJob(Option<PathBuf>);

impl Drop for RegisteredJob {
    fn drop(&mut self) {
        if let Some(p) = &self.0 {
            let _ = std::fs::remove_file(p);
        }
    }
}

/// Enters a job.
pub fn enter(name: &str, state: &Path) -> RegisteredJob {
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let file = folder().map(|f| f.join(format!("{name}.{}", std::process::id())));
    let written = file.filter(|f| std::fs::write(f, state.as_os_str().as_encoded_bytes()).is_ok());
    RegisteredJob(written)
}

/// Names and folders of the jobs that were entered, of which some may have been killed since.
pub fn all() -> Vec<(String, PathBuf)> {
    let Some(entries) = folder().and_then(|f| std::fs::read_dir(f).ok()) else { return vec![] };
    let mut all: Vec<(String, PathBuf)> = entries
        .filter_map(|e| {
            let path = e.ok()?.path();
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let pid: i32 = path.extension()?.to_string_lossy().parse().ok()?;
            let state = PathBuf::from(std::fs::read_to_string(&path).ok()?);
            if !Path::new(&format!("/proc/{pid}")).exists() {
                let _ = std::fs::remove_file(&path);
                return None;
            }
            Some((name, state))
        })
        .collect();
    all.sort();
    all
}

/// The state of the job of this name, if there is just one.
pub fn find(name: &str) -> Option<PathBuf> {
    let mut of_name = all().into_iter().filter(|(n, _)| n == name).map(|(_, p)| p);
    of_name.next().filter(|_| of_name.next().is_none())
}
