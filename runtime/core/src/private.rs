//! Access rights of files that the process creates. State, savepoints, caches and sockets are only accessible to their owner, whatever the
//! umask. Output for others, such as a table's files, gets the rights of the umask.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

/// The umask that the process was started with.
static ASKED: OnceLock<u32> = OnceLock::new();

/// Makes everything that the process creates from now on accessible to its owner only: folders 0700, files and sockets 0600.
pub fn by_default() {
    // SAFETY: swaps a number of the process, and cannot fail.
    let asked = unsafe { libc::umask(0o077) };
    ASKED.get_or_init(|| asked);
}

/// Makes an existing folder accessible to its owner only, unless it is so already.
///
/// # Errors
/// If its rights cannot be read, or it belongs to another user.
pub fn close_folder(path: &Path) -> io::Result<()> {
    let rights = std::fs::metadata(path)?.permissions();
    if rights.mode() & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Sets the rights of a new file or folder to those of the user's umask.
///
/// # Errors
/// If it does not exist any more.
pub fn give_out(path: &Path) -> io::Result<()> {
    let Some(asked) = ASKED.get() else { return Ok(()) };
    let all = if std::fs::metadata(path)?.is_dir() { 0o777 } else { 0o666 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(all & !asked))
}

/// Creates a folder and its missing parents with the rights of the user's umask.
///
/// # Errors
/// If one of them cannot be created.
pub fn make_folder_for_all(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    std::fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(give_out)
}
