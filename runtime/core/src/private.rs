//! Who may read what the process writes. State, savepoints, caches and sockets are their owner's alone, whatever the umask; what is
//! written for others, such as a table's files, is given out with the rights that the umask asks for.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

/// The umask that the process was started with.
static ASKED: OnceLock<u32> = OnceLock::new();

/// From now on everything that the process makes is its owner's alone: folders 0700, files and sockets 0600.
pub fn by_default() {
    // SAFETY: swaps a number of the process, and cannot fail.
    let asked = unsafe { libc::umask(0o077) };
    ASKED.get_or_init(|| asked);
}

/// Makes a folder that is there its owner's alone; one that is so already is left as it is.
///
/// # Errors
/// When it cannot be looked at, or is somebody else's.
pub fn close_folder(path: &Path) -> io::Result<()> {
    let rights = std::fs::metadata(path)?.permissions();
    if rights.mode() & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Gives out a file or folder that was just made: its rights become those that the user's umask asks for.
///
/// # Errors
/// When it is not there any more.
pub fn give_out(path: &Path) -> io::Result<()> {
    let Some(asked) = ASKED.get() else { return Ok(()) };
    let all = if std::fs::metadata(path)?.is_dir() { 0o777 } else { 0o666 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(all & !asked))
}

/// Makes a folder, and those above it that are missing, for others too.
///
/// # Errors
/// When one of them cannot be made.
pub fn make_folder_for_all(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    std::fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(give_out)
}
