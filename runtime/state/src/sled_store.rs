//! What of the store is sled's own: opening, the catalogue of operators, keys and values, and how far it is.
//!
//! Keys: `0x00 o NAME` the catalogue, `0x00 applied` how far it is, `0x01 OPERATOR KEY` state.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use weir_core::error::{ErrorKind, FULL_DISK};
use weir_core::state::{KeyRange, OperatorId};
use weir_core::thread::locked;
use weir_core::{Error, Result};

/// The fanout of sled's leaves; fixed when a store is made. Measured with random keys: a read that misses the cache decodes a
/// whole leaf, so 2048 reads eight times slower than 256; with 128 writing a million keys slows down by a fifth.
pub(crate) const FANOUT: usize = 256;
pub(crate) type Db = sled::Db<FANOUT>;

const PLACE: &[u8] = b"\0applied";

/// How far sled is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The last epoch that it has.
    pub epoch: u64,
    /// Whether that was the job's last.
    pub finished: bool,
    /// The number of keys, about.
    pub keys: u64,
    /// Keys that were written since the store was opened; not kept.
    pub written: u64,
}

pub(crate) fn sled_error(e: io::Error) -> Error {
    // sled puts the place in its source before its words.
    let text = e.to_string();
    let words = text.rsplit_once(" -> ").map_or(text.as_str(), |(_, words)| words);
    let error = Error::state(format!("the state store failed: {words}"));
    let error = match e.kind() {
        io::ErrorKind::StorageFull => error.of_kind(ErrorKind::Io).hint(FULL_DISK),
        // Handles may be free again the next time. sled drops the system's number of the error, not its words.
        _ if words.contains("Too many open files") => {
            error.of_kind(ErrorKind::Io).hint("raise the limit of open files (ulimit -n)")
        }
        _ => error.hint("start with --fresh, or restore an export with `weir state import`"),
    };
    error.with_source(e)
}

/// Handles of sled's: one a thread at a time. Dropping any of them flushes, so once made they are kept; the first is there
/// to make more.
struct Pool {
    first: Mutex<Db>,
    spare: Mutex<Vec<Db>>,
}

/// The store on disk.
pub(crate) struct Handles {
    path: PathBuf,
    cache_bytes: usize,
    pool: RwLock<Option<Pool>>,
}

impl Handles {
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Handles> {
        let handles = Handles { path: path.to_path_buf(), cache_bytes, pool: RwLock::new(None) };
        handles.reopen()?;
        Ok(handles)
    }

    /// Lends a handle.
    pub fn with<T>(&self, f: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        let pool = pool.as_ref().ok_or_else(|| Error::state("the state store could not be opened again"))?;
        let spare = locked(&pool.spare).pop();
        let db = spare.unwrap_or_else(|| locked(&pool.first).clone());
        let result = f(&db);
        locked(&pool.spare).push(db);
        result
    }

    /// Closes the store and opens it again. The alpha never lets go of a leaf that was written since the store was opened
    /// (its own list of things to do says so), so this is what bounds memory.
    pub fn reopen(&self) -> Result<()> {
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        *pool = None;
        mend(&self.path).map_err(sled_error)?;
        let opened = sled::Config::new()
            .path(&self.path)
            .cache_capacity_bytes(self.cache_bytes.max(1 << 20))
            .zstd_compression_level(1)
            .flush_every_ms(None)
            .open::<FANOUT>()
            .map_err(sled_error)?;
        *pool = Some(Pool { first: Mutex::new(opened), spare: Mutex::new(vec![]) });
        Ok(())
    }
}

/// Mends what a process that was killed while it opened the store has left, before sled sees it.
///
/// sled lists its leaves in a snapshot and the logs that follow it. Opening writes a newer snapshot, then removes the logs that are in
/// it and the old snapshot. Ended between these, both snapshots are there and no log is newer: then the alpha writes the newer one
/// again and takes that for the old one, which it removes. The store is then as the other snapshot has it, epochs back, whose files
/// are gone. So the older snapshot and the logs of the newer one go here, and an empty log makes the next snapshot another one.
fn mend(store: &Path) -> io::Result<()> {
    let folder = store.join("metadata");
    let listed = match std::fs::read_dir(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let (mut snapshots, mut logs) = (vec![], vec![]);
    for e in listed {
        let path = e?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = |prefix: &str| u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok();
        if let Some(n) = number("snapshot_") {
            snapshots.push((n, path));
        } else if let Some(n) = number("log_") {
            logs.push((n, path));
        }
    }
    let Some(newest) = snapshots.iter().map(|(n, _)| *n).max() else { return Ok(()) };
    for (_, path) in logs.iter().filter(|(n, _)| *n <= newest).chain(snapshots.iter().filter(|(n, _)| *n < newest)) {
        std::fs::remove_file(path)?;
    }
    if !logs.iter().any(|(n, _)| *n > newest) {
        std::fs::File::create(folder.join(format!("log_{:016x}", newest + 1)))?.sync_all()?;
    }
    std::fs::File::open(&folder)?.sync_all()
}

pub(crate) fn place(db: &Db) -> Result<Applied> {
    let Some(v) = db.get(PLACE).map_err(sled_error)? else {
        return Ok(Applied::default());
    };
    let number = |at: usize| v.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
    match (number(0), number(8), v.get(16)) {
        (Some(epoch), Some(keys), Some(finished)) => Ok(Applied { epoch, keys, finished: *finished != 0, written: 0 }),
        _ => Err(Error::state("the state store is damaged").hint("start with --fresh")),
    }
}

pub(crate) fn set_place(db: &Db, p: &Applied) -> io::Result<()> {
    let value = [&p.epoch.to_be_bytes()[..], &p.keys.to_be_bytes(), &[u8::from(p.finished)]].concat();
    db.insert(PLACE, value).map(|_| ())
}

pub(crate) fn full_key<'a>(operator: OperatorId, key: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    buffer.clear();
    buffer.push(1);
    buffer.extend_from_slice(&operator.0.to_be_bytes());
    buffer.extend_from_slice(key);
    buffer
}

/// The operator and the key of a key of sled's, if it is one of state.
pub(crate) fn state_key(full: &[u8]) -> Option<(OperatorId, &[u8])> {
    let (operator, key) = full.strip_prefix(&[1])?.split_first_chunk::<4>()?;
    Some((OperatorId(u32::from_be_bytes(*operator)), key))
}

/// Writes a key or removes it. Gives whether it was there.
pub(crate) fn put(
    db: &Db,
    operator: OperatorId,
    key: &[u8],
    value: Option<&[u8]>,
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    let key = full_key(operator, key, buffer);
    match value {
        Some(v) => db.insert(key, v).map(|old| old.is_some()),
        None => db.remove(key).map(|old| old.is_some()),
    }
}

/// A key of sled's and its value.
type Entry = (sled::InlineArray, sled::InlineArray);

/// The keys from one on, as long as they are wanted. sled's own `scan_prefix` of the alpha goes through all leaves behind the last such
/// key, to the end of the store, before it ends; a range without an end is left at the first other key.
fn keys_from(db: &Db, from: Vec<u8>, wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = Result<Entry>> {
    let all = db.range(from..).map(|kv| kv.map_err(sled_error));
    all.take_while(move |kv| kv.as_ref().map_or(true, |(k, _)| wanted(k)))
}

/// The keys that begin so, with their values.
fn prefixed(db: &Db, prefix: &[u8]) -> impl Iterator<Item = Result<Entry>> {
    keys_from(db, prefix.to_vec(), move |k| k.starts_with(prefix))
}

/// The keys of a range of an operator's, in sled's form, with their values.
pub(crate) fn range(db: &Db, operator: OperatorId, range: KeyRange<'_>) -> impl Iterator<Item = Result<Entry>> {
    let ours = full_key(operator, &[], &mut vec![]).to_vec();
    let from = full_key(operator, range.from, &mut vec![]).to_vec();
    keys_from(db, from, move |k| k.starts_with(&ours) && range.ends_behind(&k[5..]))
}

fn catalogue_key(uid: &str) -> Vec<u8> {
    [&[0u8, b'o'][..], uid.as_bytes()].concat()
}

/// An operator's number as the catalogue has it.
fn number(bytes: &[u8]) -> Result<OperatorId> {
    let number = bytes.try_into().map(|b| OperatorId(u32::from_be_bytes(b)));
    number.map_err(|_| Error::state("the state store's list of operators is damaged").hint("start with --fresh"))
}

pub(crate) fn operators(db: &Db) -> Result<BTreeMap<String, OperatorId>> {
    let mut out = BTreeMap::new();
    for kv in prefixed(db, &[0u8, b'o']) {
        let (k, v) = kv?;
        let name = String::from_utf8_lossy(&k[2..]).into_owned();
        out.insert(name, number(&v)?);
    }
    Ok(out)
}

/// An operator's number, drawn when first asked for.
pub(crate) fn operator(db: &Db, uid: &str) -> Result<OperatorId> {
    let key = catalogue_key(uid);
    if let Some(v) = db.get(&key).map_err(sled_error)? {
        return number(&v);
    }
    let next = operators(db)?.values().map(|i| i.0 + 1).max().unwrap_or(1);
    db.insert(key, next.to_be_bytes()).and_then(|_| db.flush()).map_err(sled_error)?;
    Ok(OperatorId(next))
}

/// Removes so many keys of an operator, and the operator itself when it has no more than that. Gives whether it has.
pub(crate) fn drop_keys(db: &Db, uid: &str, most: usize) -> Result<bool> {
    let Some(id) = operators(db)?.get(uid).copied() else {
        return Ok(false);
    };
    let mut buffer = vec![];
    let keys: Vec<_> = prefixed(db, full_key(id, &[], &mut buffer)).take(most).collect::<Result<_>>()?;
    let has_more = keys.len() == most;
    for (k, _) in keys {
        db.remove(k).map_err(sled_error)?;
    }
    if !has_more {
        db.remove(catalogue_key(uid)).map_err(sled_error)?;
    }
    db.flush().map_err(sled_error)?;
    Ok(has_more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_an_opening_that_was_cut_short_leaves_is_mended() {
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = folder.path().join("metadata");
        let mended = |files: &[&str]| {
            let _ = fs::remove_dir_all(&metadata);
            fs::create_dir(&metadata).expect("a folder");
            files.iter().for_each(|f| fs::write(metadata.join(f), f).expect("a file"));
            mend(folder.path()).expect("a mended store");
            let left = fs::read_dir(&metadata).expect("the folder").map(|e| e.expect("a file").file_name());
            let mut left: Vec<String> = left.map(|n| n.to_string_lossy().into_owned()).collect();
            left.sort();
            left
        };
        let (old, new) = ("snapshot_0000000000000010", "snapshot_0000000000000011");
        // Nothing was removed yet; the log; all but the next log.
        for files in [&[old, "log_0000000000000011", new][..], &[old, new], &[new]] {
            assert_eq!(mended(files), ["log_0000000000000012", new]);
            assert_eq!(fs::read(metadata.join("log_0000000000000012")).expect("the log"), b"");
        }
        // A whole store, and one whose snapshot is behind its logs, are left as they are.
        for files in [&["log_0000000000000012", new][..], &["log_0000000000000012", "log_0000000000000013", new], &[]] {
            assert_eq!(mended(files), files);
        }
        fs::remove_dir(&metadata).expect("an empty folder");
        mend(folder.path()).expect("a store that is not there yet");
    }

    #[test]
    fn sled_takes_a_mended_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store");
        let open = || Handles::open(&store, 1 << 20).expect("the store");
        open().with(|db| db.insert(b"key", "value").and_then(|_| db.flush()).map_err(sled_error)).expect("a write");
        let metadata = store.join("metadata");
        for _ in 0..3 {
            let value = open().with(|db| db.get(b"key").map_err(sled_error)).expect("a read");
            assert_eq!(value.as_deref(), Some(&b"value"[..]));
            // As an opening leaves it that was ended before it began a log.
            for e in fs::read_dir(&metadata).expect("the folder") {
                let path = e.expect("a file").path();
                if path.to_string_lossy().contains("log_") && fs::metadata(&path).expect("a file").len() == 0 {
                    fs::remove_file(path).expect("the log");
                }
            }
        }
    }
}
