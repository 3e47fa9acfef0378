//! The cache of built and compiled functions, which is only accessible to its owner. Every file has a checksum under a key in the same
//! folder, so that files that are corrupt or come from others are rejected and created again.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use weir_core::{Error, Result, private};

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
}

/// A file of the cache that was verified and cannot be replaced any more.
pub(crate) struct CacheEntry {
    file: File,
}

impl CacheEntry {
    /// A path to this open file, even if another file has taken its name.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

const KEY: &str = "key";
/// The suffix of checksum files.
const SUM: &str = ".sum";

impl Cache {
    /// The user's cache: `WEIR_CACHE`, or `weir` in the user's cache folder.
    ///
    /// # Errors
    /// If the user has no such folder.
    pub fn of_user() -> Result<Cache> {
        let variable = |n| std::env::var_os(n).filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = variable("WEIR_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|x| x.join("weir")))
            .or_else(|| variable("HOME").map(|h| h.join(".cache/weir")));
        match folder {
            Some(f) => Cache::open(&f),
            None => Err(Error::tool("there is no folder for built functions").hint("name one by WEIR_CACHE")),
        }
    }

    /// Opens a folder as a cache, and creates it if it is missing. A folder that is not writable is only read.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(folder: &Path) -> Result<Cache> {
        let fail = |e: io::Error| {
            Error::tool(format!("cannot use {} for built functions", folder.display()))
                .caused_by(e)
                .hint("name another folder by WEIR_CACHE")
        };
        std::fs::create_dir_all(folder).map_err(fail)?;
        // A cache in an image belongs to root and is read-only. Other owners could have put anything into it.
        let found = std::fs::metadata(folder).map_err(fail)?;
        // SAFETY: asks for a number and cannot fail.
        let own = unsafe { libc::geteuid() };
        if found.uid() == own {
            private::close_folder(folder).map_err(fail)?;
        } else if found.uid() != 0 || found.mode() & 0o022 != 0 {
            return Err(Error::tool(format!(
                "{} is another user's folder, so nothing is taken from it",
                folder.display()
            ))
            .hint("name another folder by WEIR_CACHE"));
        }
        let key = match read_key(folder).map_err(fail)? {
            Some(key) => key,
            None => draw_key(folder).map_err(fail)?,
        };
        Ok(Cache { folder: folder.to_path_buf(), key })
    }

    /// The path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder within the cache, which is created if it is missing.
    pub(crate) fn place(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(name);
        let mut maker = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(maker.recursive(true), 0o700).create(&folder)?;
        Ok(folder)
    }

    /// The checksum of a file under the cache's key and the file's name, so that one file cannot replace another.
    pub(crate) fn sum(&self, name: &str, mut bytes: impl Read) -> io::Result<[u8; 32]> {
        let mut sum = Hmac::<Sha256>::new_from_slice(&self.key).map_err(io::Error::other)?;
        sum.update(name.as_bytes());
        sum.update(&[0]);
        let mut buffer = vec![0; 1 << 18];
        loop {
            match bytes.read(&mut buffer)? {
                0 => return Ok(sum.finalize().into_bytes().into()),
                n => sum.update(&buffer[..n]),
            }
        }
    }

    /// Verifies the checksum of a file.
    fn is_own(&self, name: &str, bytes: impl Read) -> bool {
        let told = std::fs::read(self.folder.join(format!("{name}{SUM}"))).unwrap_or_default();
        let own = self.sum(name, bytes).is_ok_and(|sum| sum[..] == told[..]);
        if !own {
            tracing::warn!("{} is damaged or unknown, and is made again", self.folder.join(name).display());
        }
        own
    }

    /// Opens a file; none if it is missing, corrupt, or has no valid checksum.
    pub(crate) fn get(&self, name: &str) -> Option<CacheEntry> {
        let file = File::open(self.folder.join(name)).ok()?;
        self.is_own(name, &file).then_some(CacheEntry { file })
    }

    /// Reads a file; none in the same cases.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.folder.join(name)).ok()?;
        self.is_own(name, &bytes[..]).then_some(bytes)
    }

    /// Writes a file atomically and durably. `write` fills it.
    pub(crate) fn put(&self, name: &str, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let path = self.folder.join(name);
        let above = path.parent().unwrap_or(&self.folder);
        self.place(&above.strip_prefix(&self.folder).unwrap_or(Path::new("")).to_string_lossy())?;
        let draft = tempfile::NamedTempFile::new_in(above)?;
        write(draft.path())?;
        let sum = self.sum(name, File::open(draft.path())?)?;
        let mut told = tempfile::NamedTempFile::new_in(above)?;
        told.write_all(&sum)?;
        told.as_file().sync_all()?;
        File::open(draft.path())?.sync_all()?;
        // The checksum comes first. Until the file follows, its content counts as corrupt.
        told.persist(self.folder.join(format!("{name}{SUM}"))).map_err(|e| e.error)?;
        draft.persist(&path).map_err(|e| e.error)?;
        File::open(above)?.sync_all()
    }
}

fn read_key(folder: &Path) -> io::Result<Option<[u8; 32]>> {
    match std::fs::read(folder.join(KEY)) {
        Ok(key) => Ok(key.try_into().ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Generates a key. If several processes do so at the same time, all of them use the same one.
fn draw_key(folder: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(&key)?;
    draft.as_file().sync_all()?;
    let path = folder.join(KEY);
    if std::fs::metadata(&path).is_ok_and(|m| m.len() != 32) {
        std::fs::remove_file(&path)?;
    }
    match draft.persist_noclobber(&path) {
        Ok(_) => Ok(key),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(folder)?.ok_or_else(|| io::Error::other("its key is damaged"))
        }
        Err(e) => Err(e.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn text(cache: &Cache, name: &str) -> Option<String> {
        cache.get(name).map(|k| std::fs::read_to_string(k.path()).expect("its text"))
    }

    #[test]
    fn only_what_was_put_there_comes_out() {
        let at = tempfile::tempdir().expect("a folder");
        let folder = at.path().join("cache");
        let cache = Cache::open(&folder).expect("a cache");
        let put = |name: &str, text: &str| cache.put(name, |p| std::fs::write(p, text)).expect("room");
        put("compiled/a", "one");
        put("compiled/b", "two");
        assert_eq!(text(&Cache::open(&folder).expect("again"), "compiled/a").as_deref(), Some("one"));
        assert!(text(&cache, "compiled/c").is_none());
        for (path, mode) in [("", 0o700), ("compiled", 0o700), ("key", 0o600), ("compiled/a", 0o600)] {
            let rights = std::fs::metadata(folder.join(path)).expect("it").permissions().mode();
            assert_eq!(rights & 0o777, mode, "{path}");
        }
        // Damaged, cut off, and put in another's place with its sum.
        std::fs::write(folder.join("compiled/a"), "onf").expect("room");
        assert!(text(&cache, "compiled/a").is_none());
        std::fs::write(folder.join("compiled/a"), "on").expect("room");
        assert!(text(&cache, "compiled/a").is_none());
        for end in ["", SUM] {
            std::fs::copy(folder.join(format!("compiled/b{end}")), folder.join(format!("compiled/a{end}")))
                .expect("room");
        }
        assert!(text(&cache, "compiled/a").is_none());
        put("compiled/a", "one");
        assert_eq!(text(&cache, "compiled/a").as_deref(), Some("one"));
        // A file under another key is somebody else's.
        std::fs::write(folder.join(KEY), [7; 32]).expect("room");
        assert!(text(&Cache::open(&folder).expect("again"), "compiled/a").is_none());
    }
}
