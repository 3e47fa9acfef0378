//! The store: what is staged, what is durable in epoch files, and what sled holds, seen as one.

use crate::epoch_file::{self, Header};
use crate::folder::Folder;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use weir_core::error::FULL_DISK;
use weir_core::state::{Change, Epoch, OperatorId, Outbox, StateBackend, StateReader};
use weir_core::{Error, Result};

/// The fanout of sled's leaves; fixed when a store is made. Of 64, 256, 1024, 2048 and 4096, measured with a million and ten
/// million random keys, the small ones were up to twice slower and took twice the memory; from 1024 on they are alike.
const FANOUT: usize = 2048;
type Db = sled::Db<FANOUT>;

/// Changes of an epoch, by operator and key.
type Staged = HashMap<(u32, Vec<u8>), Option<Vec<u8>>, ahash::RandomState>;

struct Shared {
    /// Handles of sled's: one a thread at a time. Dropping any of them flushes, so once made they are kept for the whole
    /// life of the job; the first is there to make more.
    first: Mutex<Db>,
    spare: Mutex<Vec<Db>>,
    folder: std::path::PathBuf,
    staged: RwLock<BTreeMap<Epoch, Arc<Staged>>>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    durable: u64,
    delivered: BTreeSet<u64>,
    flushed: u64,
    /// Whether the last durable epoch was the job's last.
    finished: bool,
    failure: Option<Error>,
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&Db) -> T) -> T {
        let spare = locked(&self.spare).pop();
        let db = spare.unwrap_or_else(|| locked(&self.first).clone());
        let result = f(&db);
        locked(&self.spare).push(db);
        result
    }
}

/// A job's store. Epochs are applied to sled by a thread of its own.
pub struct Store {
    shared: Arc<Shared>,
    applier: Mutex<Option<(SyncSender<(Epoch, bool)>, JoinHandle<()>)>>,
}

fn sled_error(e: std::io::Error) -> Error {
    let error = Error::state(format!("the state store failed: {e}"));
    match e.kind() {
        std::io::ErrorKind::StorageFull => Error { kind: weir_core::error::Kind::Io, ..error }.hint(FULL_DISK),
        _ => error.hint("start with --fresh, or restore an export with `weir state import`"),
    }
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

const APPLIED: &[u8] = b"\0applied";

/// What [`APPLIED`] holds: the last epoch that sled has, and whether it was the job's last.
fn applied_value(epoch: u64, finished: bool) -> [u8; 9] {
    let mut v = [u8::from(finished); 9];
    v[..8].copy_from_slice(&epoch.to_be_bytes());
    v
}

fn full_key(operator: u32, key: &[u8]) -> Vec<u8> {
    [&[1u8][..], &operator.to_be_bytes(), key].concat()
}

impl Store {
    /// Opens a folder's store and applies the epochs that it has not.
    ///
    /// # Errors
    /// When the store is damaged or cannot be written.
    pub fn open(folder: &Folder, cache_bytes: usize) -> Result<Store> {
        let db: Db = sled::Config::new()
            .path(folder.store())
            .cache_capacity_bytes(cache_bytes.max(1 << 20))
            .flush_every_ms(None)
            .open::<FANOUT>()
            .map_err(sled_error)?;
        let (applied, mut finished) = match db.get(APPLIED).map_err(sled_error)? {
            Some(v) => match v.as_ref().split_first_chunk::<8>() {
                Some((epoch, [finished])) => (u64::from_be_bytes(*epoch), *finished != 0),
                _ => return Err(Error::state("the state store is damaged")),
            },
            None => (0, false),
        };
        let epochs = folder.epochs();
        let mut last = applied;
        for epoch in epoch_file::list(&epochs)? {
            if epoch.0 <= applied {
                continue;
            }
            let (header, entries) = epoch_file::read(&epoch_file::path(&epochs, epoch))?;
            for (operator, key, value) in entries {
                put(&db, operator, &key, value.as_deref()).map_err(sled_error)?;
            }
            (last, finished) = (header.epoch, header.finished);
        }
        db.insert(APPLIED, applied_value(last, finished)).map_err(sled_error)?;
        db.flush().map_err(sled_error)?;
        let progress = Progress { durable: last, flushed: last, finished, ..Progress::default() };
        let shared = Arc::new(Shared {
            first: Mutex::new(db),
            spare: Mutex::new(vec![]),
            folder: epochs,
            staged: RwLock::new(BTreeMap::new()),
            progress: Mutex::new(progress),
        });
        let (sender, receiver) = sync_channel(2);
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("weir-state".to_string())
            .spawn(move || apply_all(&of_thread, &receiver))
            .map_err(|e| Error::io(format!("cannot start a thread: {e}")))?;
        Ok(Store { shared, applier: Mutex::new(Some((sender, thread))) })
    }

    /// The names of all operators that have state.
    ///
    /// # Errors
    /// When the store fails.
    pub fn operators(&self) -> Result<BTreeMap<String, OperatorId>> {
        self.shared.with(|db| {
            let mut out = BTreeMap::new();
            for kv in db.scan_prefix([0u8, b'o']) {
                let (k, v) = kv.map_err(sled_error)?;
                let name = String::from_utf8_lossy(&k[2..]).into_owned();
                let id = v.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(0);
                out.insert(name, OperatorId(id));
            }
            Ok(out)
        })
    }

    /// Forgets an operator and its state.
    ///
    /// # Errors
    /// When the store fails.
    pub fn drop_operator(&self, uid: &str) -> Result<()> {
        let Some(id) = self.operators()?.get(uid).copied() else {
            return Ok(());
        };
        self.shared.with(|db| {
            let keys: Vec<_> = db.scan_prefix(full_key(id.0, &[])).keys().collect();
            for k in keys {
                db.remove(k.map_err(sled_error)?).map_err(sled_error)?;
            }
            db.remove([&[0u8, b'o'][..], uid.as_bytes()].concat()).map_err(sled_error)?;
            db.flush().map_err(sled_error)?;
            Ok(())
        })
    }
}

fn put(db: &Db, operator: u32, key: &[u8], value: Option<&[u8]>) -> std::io::Result<()> {
    let key = full_key(operator, key);
    match value {
        Some(v) => db.insert(key, v).map(|_| ()),
        None => db.remove(key).map(|_| ()),
    }
}

/// The applier's life: takes durable epochs, puts them into sled, flushes now and then.
fn apply_all(shared: &Shared, epochs: &Receiver<(Epoch, bool)>) {
    let mut since = 0u64;
    let mut bytes = 0usize;
    while let Ok((epoch, finished)) = epochs.recv() {
        let staged = shared.staged.read().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned();
        let Some(staged) = staged else { continue };
        let work = || -> std::io::Result<usize> {
            let mut sorted: Vec<_> = staged.iter().collect();
            sorted.sort_unstable_by(|a, b| a.0.cmp(b.0));
            shared.with(|db| {
                let mut bytes = 0;
                for ((operator, key), value) in sorted {
                    bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                    put(db, *operator, key, value.as_deref())?;
                }
                db.insert(APPLIED, applied_value(epoch.0, finished))?;
                Ok(bytes)
            })
        };
        // A store that was half written and then flushed by a dropped handle would be torn: better no process at all.
        let done =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| std::process::abort());
        let flush = |shared: &Shared| -> Result<()> {
            shared.with(|db| db.flush()).map_err(sled_error)?;
            locked(&shared.progress).flushed = epoch.0;
            remove_files(shared)
        };
        let result = match done {
            Ok(n) => {
                shared.staged.write().unwrap_or_else(PoisonError::into_inner).remove(&epoch);
                since += 1;
                bytes += n;
                if since >= 10 || bytes > 32 << 20 {
                    (since, bytes) = (0, 0);
                    flush(shared)
                } else {
                    Ok(())
                }
            }
            Err(e) => Err(sled_error(e)),
        };
        if let Err(e) = result {
            locked(&shared.progress).failure = Some(e);
            return;
        }
    }
    if let Err(e) = shared.with(|db| db.flush()) {
        locked(&shared.progress).failure = Some(sled_error(e));
        return;
    }
    let mut p = locked(&shared.progress);
    p.flushed = p.durable;
    drop(p);
    if let Err(e) = remove_files(shared) {
        tracing::warn!("{e}");
    }
}

/// Removes the files of epochs that sled has and every sink has.
fn remove_files(shared: &Shared) -> Result<()> {
    let mut p = locked(&shared.progress);
    let gone: Vec<u64> = p.delivered.iter().copied().filter(|e| *e <= p.flushed).collect();
    for e in gone {
        p.delivered.remove(&e);
        let path = epoch_file::path(&shared.folder, Epoch(e));
        if let Err(e) = std::fs::remove_file(&path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::io(format!("cannot remove {}: {e}", path.display())));
        }
    }
    Ok(())
}

impl StateReader for Store {
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let staged: Vec<Arc<Staged>> = {
            let s = self.shared.staged.read().unwrap_or_else(PoisonError::into_inner);
            s.values().rev().cloned().collect()
        };
        let mut probe = (operator.0, vec![]);
        self.shared.with(|db| {
            keys.iter()
                .map(|k| {
                    if !staged.is_empty() {
                        probe.1.clear();
                        probe.1.extend_from_slice(k);
                        if let Some(v) = staged.iter().find_map(|s| s.get(&probe)) {
                            return Ok(v.clone());
                        }
                    }
                    let found = db.get(full_key(operator.0, k)).map_err(sled_error)?;
                    Ok(found.map(|v| v.to_vec()))
                })
                .collect()
        })
    }

    fn scan(&self, operator: OperatorId, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut all: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        self.shared.with(|db| {
            for kv in db.scan_prefix(full_key(operator.0, prefix)) {
                let (k, v) = kv.map_err(sled_error)?;
                all.insert(k[5..].to_vec(), Some(v.to_vec()));
            }
            Ok::<_, Error>(())
        })?;
        let staged = self.shared.staged.read().unwrap_or_else(PoisonError::into_inner);
        for s in staged.values() {
            let ours = s.iter().filter(|((o, k), _)| *o == operator.0 && k.starts_with(prefix));
            all.extend(ours.map(|((_, k), v)| (k.clone(), v.clone())));
        }
        Ok(all.into_iter().filter_map(|(k, v)| Some((k, v?))).collect())
    }
}

impl StateBackend for Store {
    fn operator(&self, uid: &str) -> Result<OperatorId> {
        let key = [&[0u8, b'o'][..], uid.as_bytes()].concat();
        if let Some(v) = self.shared.with(|db| db.get(&key)).map_err(sled_error)? {
            return Ok(OperatorId(v.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(0)));
        }
        let next = self.operators()?.values().map(|i| i.0 + 1).max().unwrap_or(1);
        let insert = |db: &Db| {
            db.insert(key, next.to_be_bytes())?;
            db.flush()
        };
        self.shared.with(insert).map_err(sled_error)?;
        Ok(OperatorId(next))
    }

    fn stage(&self, operator: OperatorId, epoch: Epoch, changes: Vec<Change>) {
        let mut staged = self.shared.staged.write().unwrap_or_else(PoisonError::into_inner);
        let map = Arc::make_mut(staged.entry(epoch).or_default());
        map.reserve(changes.len());
        for c in changes {
            map.insert((operator.0, c.key), c.value);
        }
    }

    fn commit(&self, epoch: Epoch, outbox: &Outbox, finished: bool) -> Result<u64> {
        if let Some(e) = locked(&self.shared.progress).failure.clone() {
            return Err(e);
        }
        let staged = {
            let mut s = self.shared.staged.write().unwrap_or_else(PoisonError::into_inner);
            s.entry(epoch).or_default().clone()
        };
        let header = Header { epoch: epoch.0, finished, outbox: outbox.clone() };
        let entries = staged.iter().map(|((o, k), v)| (*o, k.as_slice(), v.as_deref()));
        let bytes = epoch_file::write(&self.shared.folder, &header, entries)?;
        {
            let mut p = locked(&self.shared.progress);
            (p.durable, p.finished) = (epoch.0, finished);
        }
        if let Some((sender, _)) = locked(&self.applier).as_ref() {
            // The applier ends only with this sender, or after a failure that the next commit reports.
            let _ = sender.send((epoch, finished));
        }
        Ok(bytes)
    }

    fn delivered(&self, epoch: Epoch) -> Result<()> {
        locked(&self.shared.progress).delivered.insert(epoch.0);
        remove_files(&self.shared)
    }

    fn last_epoch(&self) -> Epoch {
        Epoch(locked(&self.shared.progress).durable)
    }

    fn finished(&self) -> bool {
        locked(&self.shared.progress).finished
    }

    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>> {
        let epochs = epoch_file::list(&self.shared.folder)?;
        epochs
            .into_iter()
            .map(|e| Ok((e, epoch_file::read(&epoch_file::path(&self.shared.folder, e))?.0.outbox)))
            .collect()
    }

    fn rewind(&self) {
        let durable = locked(&self.shared.progress).durable;
        self.shared.staged.write().unwrap_or_else(PoisonError::into_inner).retain(|e, _| e.0 <= durable);
    }

    fn close(&self) -> Result<()> {
        if let Some((sender, thread)) = locked(&self.applier).take() {
            drop(sender);
            if thread.join().is_err() {
                return Err(Error::internal("the state's thread panicked"));
            }
        }
        match locked(&self.shared.progress).failure.clone() {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    fn disk_bytes(&self) -> u64 {
        let files: u64 = std::fs::read_dir(&self.shared.folder)
            .map(|d| d.filter_map(|e| e.ok()?.metadata().ok()).map(|m| m.len()).sum())
            .unwrap_or(0);
        files + self.shared.with(|db| db.size_on_disk()).unwrap_or(0)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            tracing::warn!("{e}");
        }
    }
}
