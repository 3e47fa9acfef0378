//! Access to sled: opening it, the catalogue of operators, state, and the last epoch that was applied.
//!
//! Keys: `0x00 o UID` is an operator in the catalogue, `0x00 applied` the last epoch, `0x01 OPERATOR KEY` state.

use crate::run::STEPS;
use std::collections::BTreeMap;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use weir_core::error::{ErrorKind, FULL_DISK};
use weir_core::state::{KeyRange, KeyRanges, OperatorId};
use weir_core::thread::locked;
use weir_core::{Error, Result};

/// The most keys of a leaf of sled; fixed when a store is created. A read that misses the cache decodes a whole leaf: with random keys,
/// 2048 reads eight times slower than 256. With 128, writing a million keys takes a fifth longer.
pub(crate) const FANOUT: usize = 256;
pub(crate) type Db = sled::Db<FANOUT>;

const PLACE: &[u8] = b"\0applied";

/// What was applied to sled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The last epoch.
    pub epoch: u64,
    /// Whether that was the last epoch of the job.
    pub finished: bool,
    /// The number of keys, estimated.
    pub keys: u64,
    /// Bytes of leaves that were written since the store was opened, estimated; not stored.
    pub held: u64,
}

pub(crate) fn sled_error(e: io::Error) -> Error {
    // sled puts the place in its source in front of its message.
    let text = e.to_string();
    let words = text.rsplit_once(" -> ").map_or(text.as_str(), |(_, words)| words);
    let error = Error::state(format!("the state store failed: {words}"));
    let error = match e.kind() {
        io::ErrorKind::StorageFull => error.of_kind(ErrorKind::Io).hint(FULL_DISK),
        // Files may be closed by the next attempt. sled drops the system's error number, but not the message.
        _ if words.contains("Too many open files") => {
            error.of_kind(ErrorKind::Io).hint("raise the limit of open files (ulimit -n)")
        }
        _ => error.hint("start with --fresh, or restore an export with `weir state import`"),
    };
    error.with_source(e)
}

/// Handles of sled, each for one thread at a time. Dropping a handle flushes, so they are kept; the first one is cloned for more.
struct Pool {
    first: Mutex<Db>,
    spare: Mutex<Vec<Db>>,
    /// Iterators that were used while the applier was writing.
    ended: Mutex<Vec<sled::Iter<FANOUT>>>,
}

/// The most iterators that are kept until the applier has flushed.
const ENDED: usize = 256;

/// The store on disk.
pub(crate) struct Handles {
    path: PathBuf,
    cache_bytes: usize,
    pool: RwLock<Option<Pool>>,
    /// Whether the applier has written something that it has not flushed.
    writing: AtomicBool,
}

/// A handle that is in use.
pub(crate) struct Lent<'a> {
    db: Db,
    pool: &'a Pool,
    writing: &'a AtomicBool,
}

impl Deref for Lent<'_> {
    type Target = Db;
    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Lent<'_> {
    /// All keys from this one on, with their values.
    pub fn scan(&self, key: &[u8]) -> Scan<'_> {
        Scan { entries: Some(self.db.range(key..)), lent: self }
    }
}

/// Iterates over keys. Dropping an iterator of sled flushes as well, so that a reader would write what the applier has changed so far, and
/// wait for the disk. So an iterator is kept until the applier has flushed.
pub(crate) struct Scan<'a> {
    entries: Option<sled::Iter<FANOUT>>,
    lent: &'a Lent<'a>,
}

impl Iterator for Scan<'_> {
    type Item = Result<Entry>;
    fn next(&mut self) -> Option<Result<Entry>> {
        self.entries.as_mut()?.next().map(|kv| kv.map_err(sled_error))
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        if !self.lent.writing.load(Ordering::Relaxed) {
            return;
        }
        let mut ended = locked(&self.lent.pool.ended);
        ended.extend(self.entries.take());
        let full = if ended.len() > ENDED { std::mem::take(&mut *ended) } else { vec![] };
        drop(ended);
        drop(full);
    }
}

impl Handles {
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Handles> {
        let handles =
            Handles { path: path.to_path_buf(), cache_bytes, pool: RwLock::new(None), writing: AtomicBool::new(false) };
        handles.reopen()?;
        Ok(handles)
    }

    /// Calls `f` with a handle.
    pub fn with<T>(&self, f: impl FnOnce(&Lent<'_>) -> Result<T>) -> Result<T> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        let pool = pool.as_ref().ok_or_else(|| Error::state("the state store could not be opened again"))?;
        let spare = locked(&pool.spare).pop();
        let db = spare.unwrap_or_else(|| locked(&pool.first).clone());
        let lent = Lent { db, pool, writing: &self.writing };
        let result = f(&lent);
        locked(&pool.spare).push(lent.db);
        result
    }

    /// To be called before something is written, which [`Handles::flush`] then makes durable.
    pub fn begin_writing(&self) {
        self.writing.store(true, Ordering::Relaxed);
    }

    /// Makes durable what was written, and drops the iterators that were kept.
    pub fn flush(&self) -> Result<()> {
        let ended = self.with(|db| {
            db.flush().map_err(sled_error)?;
            self.writing.store(false, Ordering::Relaxed);
            Ok(std::mem::take(&mut *locked(&db.pool.ended)))
        })?;
        drop(ended);
        Ok(())
    }

    /// Closes the store and opens it again. The alpha never evicts a leaf that was written since the store was opened, so this is what
    /// bounds memory.
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
        *pool = Some(Pool { first: Mutex::new(opened), spare: Mutex::new(vec![]), ended: Mutex::new(vec![]) });
        Ok(())
    }
}

/// Repairs the list of leaves if a process was killed while it opened the store.
///
/// sled lists its leaves in a snapshot and the logs that follow it. Opening the store writes a newer snapshot, then deletes the logs that
/// it contains, and the old snapshot. If the process is killed in between, both snapshots exist and no log is newer. The alpha then
/// writes the newer one again, mistakes it for the old one, and deletes it. What is left is the older snapshot, which lacks epochs
/// whose files are gone. So the older snapshot and the logs of the newer one are deleted here, and an empty log is added so that the
/// next snapshot has another number.
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

pub(crate) fn place(db: &Lent<'_>) -> Result<Applied> {
    let Some(v) = db.get(PLACE).map_err(sled_error)? else {
        return Ok(Applied::default());
    };
    let number = |at: usize| v.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
    match (number(0), number(8), v.get(16)) {
        (Some(epoch), Some(keys), Some(finished)) => Ok(Applied { epoch, keys, finished: *finished != 0, held: 0 }),
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

/// The operator and the key of a key in sled; none if it is not state.
pub(crate) fn state_key(full: &[u8]) -> Option<(OperatorId, &[u8])> {
    let (operator, key) = full.strip_prefix(&[1])?.split_first_chunk::<4>()?;
    Some((OperatorId(u32::from_be_bytes(*operator)), key))
}

/// Sets a key, or deletes it. Gives whether it existed.
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

/// A key in sled and its value.
type Entry = (sled::InlineArray, sled::InlineArray);

/// The keys from one on, as long as `wanted` returns true. The alpha's ranges with an end, such as `scan_prefix`, read all leaves to the
/// end of the store before they end, so this is a range without an end.
fn keys_from(db: &Lent<'_>, from: Vec<u8>, wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = Result<Entry>> {
    db.scan(&from).take_while(move |kv| kv.as_ref().map_or(true, |(k, _)| wanted(k)))
}

/// The keys with a prefix, with their values.
fn prefixed(db: &Lent<'_>, prefix: &[u8]) -> impl Iterator<Item = Result<Entry>> {
    keys_from(db, prefix.to_vec(), move |k| k.starts_with(prefix))
}

/// The keys of a range of an operator as they are in sled, with their values.
pub(crate) fn range(db: &Lent<'_>, operator: OperatorId, range: KeyRange<'_>) -> impl Iterator<Item = Result<Entry>> {
    let ours = full_key(operator, &[], &mut vec![]).to_vec();
    let from = full_key(operator, range.from, &mut vec![]).to_vec();
    keys_from(db, from, move |k| k.starts_with(&ours) && range.ends_behind(&k[5..]))
}

/// The first `most` keys of an operator, as they are in sled, that are at least `from` and in one of these ranges.
pub(crate) fn keys_in(
    db: &Lent<'_>,
    operator: OperatorId,
    ranges: &KeyRanges,
    from: &[u8],
    most: usize,
) -> Result<Vec<sled::InlineArray>> {
    let mut keys = vec![];
    let mut next = ranges.next_from(from).map(|(start, _)| start.max(from));
    while let Some(from) = next.take() {
        let mut steps = 0;
        for kv in range(db, operator, KeyRange { from, to: None }) {
            let (key, _) = kv?;
            match ranges.next_from(&key[5..]) {
                None => break,
                Some((start, _)) if *start <= key[5..] => {
                    steps = 0;
                    keys.push(key);
                    if keys.len() == most {
                        return Ok(keys);
                    }
                }
                Some((start, _)) => {
                    steps += 1;
                    // Few keys between two ranges are stepped over.
                    if steps > STEPS {
                        next = Some(start);
                        break;
                    }
                }
            }
        }
    }
    Ok(keys)
}

fn catalogue_key(uid: &str) -> Vec<u8> {
    [&[0u8, b'o'][..], uid.as_bytes()].concat()
}

/// The number of an operator, from its bytes in the catalogue.
fn number(bytes: &[u8]) -> Result<OperatorId> {
    let number = bytes.try_into().map(|b| OperatorId(u32::from_be_bytes(b)));
    number.map_err(|_| Error::state("the state store's list of operators is damaged").hint("start with --fresh"))
}

pub(crate) fn operators(db: &Lent<'_>) -> Result<BTreeMap<String, OperatorId>> {
    let mut out = BTreeMap::new();
    for kv in prefixed(db, &[0u8, b'o']) {
        let (k, v) = kv?;
        let name = String::from_utf8_lossy(&k[2..]).into_owned();
        out.insert(name, number(&v)?);
    }
    Ok(out)
}

/// The number of an operator, which gets one if it has none.
pub(crate) fn operator(db: &Lent<'_>, uid: &str) -> Result<OperatorId> {
    let key = catalogue_key(uid);
    if let Some(v) = db.get(&key).map_err(sled_error)? {
        return number(&v);
    }
    let next = operators(db)?.values().map(|i| i.0 + 1).max().unwrap_or(1);
    db.insert(key, next.to_be_bytes()).and_then(|_| db.flush()).map_err(sled_error)?;
    Ok(OperatorId(next))
}

/// Deletes the first `most` keys of an operator, and the operator if it has no others. Gives whether it may have others.
pub(crate) fn drop_keys(db: &Lent<'_>, uid: &str, most: usize) -> Result<bool> {
    let Some(id) = operators(db)?.get(uid).copied() else {
        return Ok(false);
    };
    let all = range(db, id, KeyRange { from: &[], to: None });
    let keys: Vec<_> = all.take(most).collect::<Result<_>>()?;
    let has_more = keys.len() == most;
    for (key, _) in keys {
        db.remove(key).map_err(sled_error)?;
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
