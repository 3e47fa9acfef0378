//! The store of a job: sled, overlaid with the changes of epochs that it does not have yet.

use crate::applier;
use crate::epoch_file;
use crate::filter::Filter;
use crate::folder::Folder;
use crate::run::{HashedKey, Merged, Removed, Run, STEPS};
use crate::sled_store::{self as own, Applied, Handles, sled_error};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use weir_core::state::{Changes, Epoch, KeyRange, OperatorId, Outbox, Pair, StateBackend, StateReader};
use weir_core::thread::{locked, spawn};
use weir_core::{Error, Result};

/// The most epochs that are applied together. Each keeps its file until then.
const EPOCHS: usize = 64;

/// The most bytes of epoch files that are applied together, in multiples of `batch_bytes`.
const FILES: usize = 2;

/// If a snapshot has visited more bytes of keys and values than this, their leaves are freed.
const VISITED: usize = 4 << 20;

/// Keys that are copied or deleted at a time.
const PAGE: usize = 65_536;

/// The most bytes of the Bloom filter: good for some fifteen million keys, and of use up to a hundred million.
const FILTER: usize = 16 << 20;

struct Shared {
    sled: Handles,
    filter: Filter,
    folder: std::path::PathBuf,
    staged: RwLock<BTreeMap<Epoch, Vec<Arc<Run>>>>,
    progress: Mutex<Progress>,
    closing: AtomicBool,
    /// Whether durable epochs may stay in their files, without being applied.
    leaving: AtomicBool,
    /// How many pause the applier.
    held: AtomicUsize,
    /// Locked while epochs are applied, and while a snapshot exists.
    applying: Mutex<()>,
    /// Notified when epochs were applied, or the applier has ended.
    applied: Condvar,
    /// The bytes of durable changes that are applied together, and those that sled may have written between two flushes.
    batch_bytes: usize,
}

#[derive(Default)]
struct Progress {
    durable: u64,
    /// Durable epochs that were not delivered to all sinks, and whether their outboxes have entries.
    undelivered: BTreeMap<u64, bool>,
    /// Epochs that were delivered to all sinks, and still have files.
    delivered: BTreeSet<u64>,
    flushed: u64,
    /// Whether the last durable epoch was the job's last.
    finished: bool,
    /// Bytes of durable changes that were not applied.
    waiting: usize,
    failure: Option<Error>,
}

impl Shared {
    fn runs(&self) -> Vec<Arc<Run>> {
        let staged = self.staged.read().unwrap_or_else(PoisonError::into_inner);
        staged.values().flatten().cloned().collect()
    }

    /// The runs of some epochs, in their order.
    fn runs_of(&self, epochs: &[Epoch]) -> Vec<Arc<Run>> {
        let staged = self.staged.read().unwrap_or_else(PoisonError::into_inner);
        epochs.iter().filter_map(|e| staged.get(e)).flatten().cloned().collect()
    }
}

/// A durable epoch, for the applier.
struct Durable {
    epoch: Epoch,
    finished: bool,
    bytes: usize,
}

/// The store of a job. A thread of its own applies epochs to sled.
pub struct Store {
    shared: Arc<Shared>,
    applier: Mutex<Option<(Sender<Durable>, JoinHandle<()>)>>,
    /// Adds the keys of sled to the filter; ends early when the store is closed.
    filling: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in a folder, and applies the durable epochs that sled does not have.
    ///
    /// # Examples
    /// ```
    /// use weir_core::state::{Changes, Epoch, StateBackend, StateReader};
    /// use weir_state::{Folder, Store};
    ///
    /// let place = tempfile::tempdir().expect("a folder");
    /// let folder = Folder::open(&place.path().join("job"))?;
    /// let store = Store::open(&folder, 8 << 20)?;
    /// let counts = store.operator("counts")?;
    /// let mut changes = Changes::default();
    /// changes.set(b"key", b"1");
    /// store.stage(counts, Epoch(1), changes);
    /// store.commit(Epoch(1), &vec![], false)?;
    /// store.close()?;
    /// drop(store);
    ///
    /// let store = Store::open(&folder, 8 << 20)?;
    /// assert_eq!(store.last_epoch(), Epoch(1));
    /// assert_eq!(store.get_many(store.operator("counts")?, &[b"key"])?, [Some(b"1".to_vec())]);
    /// # Ok::<(), weir_core::Error>(())
    /// ```
    ///
    /// `cache_bytes` limits each of these: the leaves that sled has decoded, the changes that wait to be applied, and the leaves that are
    /// written between two flushes.
    ///
    /// # Errors
    /// If the store is damaged or cannot be written.
    pub fn open(folder: &Folder, cache_bytes: usize) -> Result<Store> {
        let sled = Handles::open(&folder.store(), cache_bytes)?;
        let mut place = sled.with(own::place)?;
        let filter = Filter::new(cache_bytes.min(FILTER), place == Applied::default());
        let epochs = folder.epochs();
        let batch_bytes = cache_bytes.clamp(1 << 20, 256 << 20);
        epoch_file::remove_drafts(&epochs)?;
        let mut undelivered = BTreeMap::new();
        for epoch in epoch_file::list(&epochs)? {
            let content = epoch_file::read(&epoch_file::path(&epochs, epoch))?;
            undelivered.insert(epoch.0, !content.outbox.is_empty());
            if epoch.0 <= place.epoch {
                continue;
            }
            let runs: Vec<Arc<Run>> = content.changes.into_iter().map(|(o, c)| Arc::new(Run::new(o, c))).collect();
            (place.epoch, place.finished) = (epoch.0, content.finished);
            applier::apply(&sled, &filter, &runs, &mut place, batch_bytes, &AtomicBool::new(false))?;
        }
        let progress = Progress {
            durable: place.epoch,
            undelivered,
            flushed: place.epoch,
            finished: place.finished,
            ..Progress::default()
        };
        let shared = Arc::new(Shared {
            sled,
            filter,
            folder: epochs,
            staged: RwLock::new(BTreeMap::new()),
            progress: Mutex::new(progress),
            closing: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            applying: Mutex::new(()),
            applied: Condvar::new(),
            batch_bytes,
        });
        let (sender, receiver) = channel();
        let of_thread = shared.clone();
        let thread = spawn("weir-state", move || {
            if let Err(e) = apply_all(&of_thread, place, &receiver) {
                locked(&of_thread.progress).failure = Some(e);
            }
            of_thread.applied.notify_all();
        })?;
        let of_thread = shared.clone();
        let filling = (place != Applied::default()).then(|| {
            spawn("weir-filter", move || {
                if let Err(e) = fill(&of_thread) {
                    tracing::debug!("without a filter of keys: {e}");
                }
            })
        });
        let filling = filling.transpose()?;
        Ok(Store { shared, applier: Mutex::new(Some((sender, thread))), filling: Mutex::new(filling) })
    }

    /// The operators that have state, by uid.
    ///
    /// # Errors
    /// If the store fails.
    pub fn operators(&self) -> Result<BTreeMap<String, OperatorId>> {
        self.shared.sled.with(own::operators)
    }

    /// Whether an operator has state, or rows that were not delivered.
    ///
    /// # Errors
    /// If the store fails.
    pub fn keeps(&self, uid: &str, operator: OperatorId) -> Result<bool> {
        let waiting = |outbox: &Outbox| outbox.iter().any(|(of, entries)| of == uid && !entries.is_empty());
        if self.undelivered()?.iter().any(|(_, outbox)| waiting(outbox)) {
            return Ok(true);
        }
        Ok(!self.range(operator, KeyRange { from: &[], to: None }, 1)?.is_empty())
    }

    /// Replaces the state of operator `to` by a copy of that of `from`. Only for a store without staged changes. A copy that was
    /// interrupted has to be made again.
    ///
    /// # Errors
    /// If the store fails.
    pub fn copy_operator(&self, from: &str, to: &str) -> Result<()> {
        self.drop_operator(to)?;
        let (source, target) = (self.operator(from)?, self.operator(to)?);
        let (mut next, mut buffer) = (vec![], vec![]);
        loop {
            let page = self.range(source, KeyRange { from: &next, to: None }, PAGE)?;
            self.shared.sled.with(|db| {
                for (key, value) in &page {
                    self.shared.filter.add(target, key);
                    own::put(db, target, key, Some(value), &mut buffer).map_err(sled_error)?;
                }
                db.flush().map(|_| ()).map_err(sled_error)
            })?;
            match page.last() {
                // sled holds what was written until it is opened anew.
                Some((last, _)) if page.len() == PAGE => {
                    next = [last.as_slice(), &[0]].concat();
                    self.shared.sled.reopen()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Deletes an operator and its state. If this is interrupted it has to be done again: the operator is deleted last.
    ///
    /// # Errors
    /// If the store fails.
    pub fn drop_operator(&self, uid: &str) -> Result<()> {
        while self.shared.sled.with(|db| own::drop_keys(db, uid, PAGE))? {
            // sled holds what was written until it is opened anew.
            self.shared.sled.reopen()?;
        }
        Ok(())
    }
}

/// Adds all keys of sled to the filter. The applier adds those that it writes meanwhile.
fn fill(shared: &Shared) -> Result<()> {
    let mut from = vec![1u8];
    while !shared.closing.load(Ordering::Relaxed) {
        let next = shared.sled.with(|db| {
            let mut last = None;
            for kv in db.scan(&from).take(4096) {
                let (k, _) = kv?;
                if let Some((operator, key)) = own::state_key(&k) {
                    shared.filter.add(operator, key);
                }
                last = Some(k);
            }
            Ok(last)
        })?;
        match next {
            Some(last) => from = [last.as_ref(), &[0]].concat(),
            None => {
                shared.filter.complete();
                break;
            }
        }
    }
    Ok(())
}

/// Merges epochs that wait to be applied, so that a key that changes in each of them takes memory once.
struct EpochMerger {
    /// The bytes that waited after the last merge, and how many more make the next one due.
    last: usize,
    more: usize,
    /// The limits of `more`. Between them it is as large as what waits, so that a change is copied at most twice on average.
    bounds: (usize, usize),
}

impl EpochMerger {
    fn new(batch_bytes: usize) -> EpochMerger {
        let bounds = (batch_bytes / 16, batch_bytes / 4);
        EpochMerger { last: 0, more: bounds.0, bounds }
    }

    fn is_due(&self, bytes: usize) -> bool {
        bytes > self.last + self.more
    }

    /// Merges the epochs `taken` into the last of them. Gives the bytes that wait now.
    fn merge(&mut self, shared: &Shared, taken: &[Epoch], bytes: usize) -> usize {
        let Some(last) = taken.last() else { return bytes };
        let runs = shared.runs_of(taken);
        let merged: Vec<Arc<Run>> = applier::merged(&runs).into_iter().map(Arc::new).collect();
        let left: usize = merged.iter().map(|r| r.bytes()).sum();
        self.more = if left <= bytes / 4 * 3 {
            left.clamp(self.bounds.0, self.bounds.1)
        } else if self.more < self.bounds.1 {
            // More epochs have more keys in common.
            self.bounds.1
        } else {
            // Too few keys change again.
            usize::MAX / 2
        };
        self.last = left;
        {
            let mut staged = shared.staged.write().unwrap_or_else(PoisonError::into_inner);
            taken.iter().for_each(|e| drop(staged.remove(e)));
            staged.insert(*last, merged);
        }
        let mut p = locked(&shared.progress);
        p.waiting = (p.waiting + left).saturating_sub(bytes);
        drop(p);
        shared.applied.notify_all();
        left
    }
}

/// The applier's thread: collects durable epochs until they are worth a pass over sled, and applies them together.
fn apply_all(shared: &Shared, mut place: Applied, epochs: &Receiver<Durable>) -> Result<()> {
    let mut open = true;
    // Half of what may wait, so that the job can go on during a pass.
    let pass_bytes = shared.batch_bytes / 2;
    while open {
        let (mut taken, mut bytes, mut on_disk) = (vec![], 0, 0);
        let mut merger = EpochMerger::new(pass_bytes);
        while taken.len() < EPOCHS && bytes < pass_bytes && on_disk < FILES * shared.batch_bytes {
            let Ok(next) = epochs.recv() else {
                open = false;
                break;
            };
            bytes += next.bytes;
            on_disk += next.bytes;
            (place.epoch, place.finished) = (next.epoch.0, next.finished);
            taken.push(next.epoch);
            if taken.len() > 1 && merger.is_due(bytes) {
                bytes = merger.merge(shared, &taken, bytes);
            }
        }
        if taken.is_empty() || shared.leaving.load(Ordering::Relaxed) {
            break;
        }
        let runs = shared.runs_of(&taken);
        let applying = locked(&shared.applying);
        let (batch, leaving) = (shared.batch_bytes, &shared.leaving);
        let work = || applier::apply(&shared.sled, &shared.filter, &runs, &mut place, batch, leaving);
        // After a panic, a dropped handle would flush what is half written: the process must not go on.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if !done.unwrap_or_else(|_| std::process::abort())? {
            break;
        }
        {
            let mut staged = shared.staged.write().unwrap_or_else(PoisonError::into_inner);
            taken.iter().for_each(|e| drop(staged.remove(e)));
        }
        drop(applying);
        {
            let mut p = locked(&shared.progress);
            p.flushed = place.epoch;
            p.waiting = p.waiting.saturating_sub(bytes);
        }
        shared.applied.notify_all();
        remove_files(shared)?;
    }
    Ok(())
}

/// Deletes the files of epochs that were applied and delivered.
fn remove_files(shared: &Shared) -> Result<()> {
    let mut p = locked(&shared.progress);
    let gone: Vec<u64> = p.delivered.iter().copied().filter(|e| *e <= p.flushed).collect();
    for e in gone {
        p.delivered.remove(&e);
        let path = epoch_file::path(&shared.folder, Epoch(e));
        if let Err(e) = std::fs::remove_file(&path)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::io(format!("cannot remove {}", path.display())).caused_by(e));
        }
    }
    Ok(())
}

/// A snapshot of the store at its last durable epoch. The job goes on, but no epoch is applied as long as the snapshot exists.
pub struct Snapshot<'a> {
    shared: &'a Shared,
    epoch: Epoch,
    runs: Vec<Arc<Run>>,
    /// The bytes of keys and values that were visited.
    visited: Cell<usize>,
    _applying: MutexGuard<'a, ()>,
}

/// As long as this exists no epoch is applied, and commits do not wait for the applier.
pub struct ApplierPause<'a> {
    shared: &'a Shared,
    _applying: MutexGuard<'a, ()>,
}

impl Drop for ApplierPause<'_> {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Is called with a key and its value.
type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Is called with a key and its value, and returns whether to go on.
type Search<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'a;

impl Snapshot<'_> {
    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// Calls `each` with every key of an operator, in order, and its value. They are read as `each` is called.
    ///
    /// # Errors
    /// If the store or `each` fails.
    pub fn each(&self, operator: OperatorId, each: &mut Visitor<'_>) -> Result<()> {
        let all = KeyRange { from: &[], to: None };
        self.shared.visit(&self.runs, operator, all, &mut |k, v| {
            self.visited.set(self.visited.get() + k.len() + v.len());
            each(k, v).map(|()| true)
        })
    }
    /// Ends the snapshot, and frees the leaves that it has read if they are many. Otherwise sled would cache them until it needs their
    /// room, which it never does in a job whose keys are all in memory.
    ///
    /// # Errors
    /// If the store fails.
    pub fn release(self) -> Result<()> {
        if self.visited.get() > VISITED { self.shared.sled.reopen() } else { Ok(()) }
    }
}

impl Shared {
    /// Visits the keys of a range with their values in order, until `visit` returns false: those in sled, overlaid with these runs.
    fn visit(
        &self,
        runs: &[Arc<Run>],
        operator: OperatorId,
        range: KeyRange<'_>,
        visit: &mut Search<'_>,
    ) -> Result<()> {
        let runs: Vec<&Run> = runs.iter().map(Arc::as_ref).filter(|r| r.operator == operator).collect();
        let mut changed = Merged::new(&runs, range).peekable();
        let mut tell = |key: &[u8], value: Option<&[u8]>| value.map_or(Ok(true), |v| visit(key, v));
        let goes_on = self.visit_sled(operator, range, &Removed::new(&runs, range), &mut |key, value| {
            while let Some((k, v)) = changed.next_if(|(k, _)| *k < key) {
                if !tell(k, v)? {
                    return Ok(false);
                }
            }
            let (k, v) = changed.next_if(|(k, _)| *k == key).unwrap_or((key, Some(value)));
            tell(k, v)
        })?;
        if goes_on {
            for (k, v) in changed {
                if !tell(k, v)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Visits the keys of a range in sled, but for those in ranges that runs delete, until `visit` returns false. Gives its last answer.
    fn visit_sled(
        &self,
        operator: OperatorId,
        range: KeyRange<'_>,
        removed: &Removed<'_>,
        visit: &mut Search<'_>,
    ) -> Result<bool> {
        self.sled.with(|db| {
            let mut next = Some(range.from);
            while let Some(from) = next.take() {
                let mut steps = 0;
                for kv in own::range(db, operator, KeyRange { from, to: range.to }) {
                    let (k, v) = kv?;
                    let key = &k[5..];
                    if let Some(end) = removed.end_of(0, key) {
                        steps += 1;
                        if steps > STEPS {
                            next = Some(end);
                            break;
                        }
                    } else {
                        steps = 0;
                        if !visit(key, &v)? {
                            return Ok(false);
                        }
                    }
                }
            }
            Ok(true)
        })
    }
}

impl Store {
    /// Waits for the epochs that are being applied, and pauses the applier, so that reads need not wait for it: for a change of
    /// parallelism. What is committed meanwhile stays in memory.
    pub fn hold(&self) -> ApplierPause<'_> {
        let applying = locked(&self.shared.applying);
        {
            // Under the lock of commits that wait, so that none of them misses the notification.
            let _progress = locked(&self.shared.progress);
            self.shared.held.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.applied.notify_all();
        ApplierPause { shared: &self.shared, _applying: applying }
    }

    /// Whether epochs up to this one have outbox entries that were not delivered.
    pub fn has_undelivered(&self, up_to: Epoch) -> bool {
        locked(&self.shared.progress).undelivered.range(..=up_to.0).any(|(_, holds)| *holds)
    }

    /// A snapshot of the last durable epoch.
    pub fn snapshot(&self) -> Snapshot<'_> {
        let applying = locked(&self.shared.applying);
        // In this order: no epochs must be merged in between under the number of one that becomes durable only then.
        let staged = self.shared.staged.read().unwrap_or_else(PoisonError::into_inner);
        let durable = Epoch(locked(&self.shared.progress).durable);
        let runs = staged.range(..=durable).flat_map(|(_, r)| r.clone()).collect();
        Snapshot { shared: &self.shared, epoch: durable, runs, visited: Cell::new(0), _applying: applying }
    }
}

impl StateReader for Store {
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let runs: Vec<Arc<Run>> = self.shared.runs().into_iter().filter(|r| r.operator == operator).collect();
        let mut buffer = vec![];
        self.shared.sled.with(|db| {
            keys.iter()
                .map(|k| {
                    let wanted = HashedKey::new(k);
                    if let Some(v) = runs.iter().rev().find_map(|r| r.get(operator, wanted)) {
                        return Ok(v.map(<[u8]>::to_vec));
                    }
                    if !self.shared.filter.lets_through(operator, k) {
                        return Ok(None);
                    }
                    let found = db.get(own::full_key(operator, k, &mut buffer)).map_err(sled_error)?;
                    Ok(found.map(|v| v.to_vec()))
                })
                .collect()
        })
    }

    fn range(&self, operator: OperatorId, range: KeyRange<'_>, limit: usize) -> Result<Vec<Pair>> {
        // Staged changes are taken first: an epoch that is applied meanwhile is then seen twice rather than not at all.
        let runs: Vec<Arc<Run>> = self.shared.runs().into_iter().filter(|r| r.operator == operator).collect();
        let mut pairs: Vec<Pair> = vec![];
        self.shared.visit(&runs, operator, range, &mut |k, v| {
            pairs.push((k.to_vec(), v.to_vec()));
            Ok(pairs.len() < limit)
        })?;
        Ok(pairs)
    }

    fn last_epoch(&self) -> Epoch {
        Epoch(locked(&self.shared.progress).durable)
    }
}

impl StateBackend for Store {
    fn operator(&self, uid: &str) -> Result<OperatorId> {
        self.shared.sled.with(|db| own::operator(db, uid))
    }

    fn stage(&self, operator: OperatorId, epoch: Epoch, changes: Changes) {
        let run = (!changes.is_empty()).then(|| Arc::new(Run::new(operator, changes)));
        let mut staged = self.shared.staged.write().unwrap_or_else(PoisonError::into_inner);
        staged.entry(epoch).or_default().extend(run);
    }

    fn commit(&self, epoch: Epoch, outbox: &Outbox, finished: bool) -> Result<u64> {
        let runs = {
            let mut s = self.shared.staged.write().unwrap_or_else(PoisonError::into_inner);
            s.entry(epoch).or_default().clone()
        };
        let bytes = runs.iter().map(|r| r.bytes()).sum();
        {
            // No more waits than the applier takes in two passes: this bounds memory if the applier is slower than the job. Nothing
            // follows the last epoch.
            let mut p = locked(&self.shared.progress);
            let held = || self.shared.held.load(Ordering::Relaxed) > 0;
            while p.failure.is_none() && p.waiting > self.shared.batch_bytes && !held() && !finished {
                p = self.shared.applied.wait(p).unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(e) = p.failure.clone() {
                return Err(e);
            }
        }
        let changes = runs.iter().map(|r| (r.operator, &r.changes));
        let written = epoch_file::write(&self.shared.folder, epoch, finished, outbox, changes)?;
        {
            let mut p = locked(&self.shared.progress);
            (p.durable, p.finished) = (epoch.0, finished);
            p.undelivered.insert(epoch.0, !outbox.is_empty());
            p.waiting += bytes;
        }
        if let Some((sender, _)) = locked(&self.applier).as_ref() {
            // The applier ends only when this sender is dropped, or after a failure, which the next commit reports.
            let _ = sender.send(Durable { epoch, finished, bytes });
        }
        Ok(written)
    }

    fn delivered(&self, epoch: Epoch) -> Result<()> {
        {
            let mut p = locked(&self.shared.progress);
            p.undelivered.remove(&epoch.0);
            p.delivered.insert(epoch.0);
        }
        remove_files(&self.shared)
    }

    fn finished(&self) -> bool {
        locked(&self.shared.progress).finished
    }

    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>> {
        let undelivered = locked(&self.shared.progress).undelivered.clone();
        let outbox = |(epoch, holds): (u64, bool)| {
            let epoch = Epoch(epoch);
            let read = || epoch_file::read(&epoch_file::path(&self.shared.folder, epoch));
            Ok((epoch, if holds { read()?.outbox } else { Outbox::new() }))
        };
        undelivered.into_iter().map(outbox).collect()
    }

    fn discard_staged(&self) {
        let durable = locked(&self.shared.progress).durable;
        self.shared.staged.write().unwrap_or_else(PoisonError::into_inner).retain(|e, _| e.0 <= durable);
    }

    fn close(&self) -> Result<()> {
        self.shared.closing.store(true, Ordering::Relaxed);
        // The last epochs of a finished job may stay in their files, so that it ends seconds earlier.
        self.shared.leaving.store(self.finished(), Ordering::Relaxed);
        if let Some(thread) = locked(&self.filling).take()
            && thread.join().is_err()
        {
            return Err(Error::internal("the thread that goes through the keys panicked"));
        }
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
        files + self.shared.sled.with(|db| db.size_on_disk().map_err(sled_error)).unwrap_or(0)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            tracing::warn!("{e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::CHANGES_READ;
    use weir_core::state::StateHandle;

    const BATCH: usize = 1 << 20;

    fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&Folder::open(folder.path()).expect("a folder"), BATCH).expect("a store")
    }

    fn key(n: u32) -> Vec<u8> {
        [&[0, 1], &n.to_be_bytes()[..]].concat()
    }

    /// About a tenth of a batch: keys from one on with a value, but for those that go. The greater the value, the more bytes.
    fn changes(from: u32, value: u8, gone: &[u32]) -> Changes {
        let mut changes = Changes::default();
        for n in from..from + 1000 {
            if gone.contains(&n) {
                changes.remove(&[&key(n)]);
            } else {
                changes.set(&key(n), &vec![value; 90 + 3 * usize::from(value)]);
            }
        }
        changes
    }

    fn commit(store: &Store, operator: OperatorId, epoch: u64, changes: Changes) {
        store.stage(operator, Epoch(epoch), changes);
        store.commit(Epoch(epoch), &vec![], false).expect("an epoch");
        store.delivered(Epoch(epoch)).expect("a delivery");
    }

    /// The epochs that are in memory, and how many changes each has.
    fn staged(store: &Store) -> Vec<(u64, usize)> {
        let staged = store.shared.staged.read().expect("what is staged");
        staged.iter().map(|(e, runs)| (e.0, runs.iter().map(|r| r.changes.len()).sum())).collect()
    }

    fn values(store: &Store, operator: OperatorId, keys: &[u32]) -> Vec<Option<u8>> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|n| key(*n)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        store.get_many(operator, &keys).expect("values").into_iter().map(|v| v.map(|v| v[0])).collect()
    }

    #[test]
    fn epochs_that_wait_become_one_and_lose_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder);
        let operator = store.operator("counts").expect("an operator");
        commit(&store, operator, 1, changes(0, 1, &[]));
        drop(store);
        let store = open(&folder);
        assert_eq!(staged(&store), [], "sled has the first epoch");
        let files = || epoch_file::list(&store.shared.folder).expect("files").len();
        for epoch in 2..=4 {
            // A key that goes and comes again, one that goes, another one that sled does not have and that goes.
            let mut all = changes(0, epoch as u8, &[[5, 6], [5, 7], [6, 7]][epoch as usize - 2]);
            match epoch {
                2 => all.set(&key(5000), b"new"),
                3 => all.remove(&[&key(5000)]),
                _ => {}
            }
            commit(&store, operator, epoch, all);
        }
        // A later one, which is not durable.
        store.stage(operator, Epoch(5), changes(0, 5, &[]));
        let p = locked(&store.shared.progress);
        let limit = std::time::Duration::from_secs(60);
        let (p, waited) =
            store.shared.applied.wait_timeout_while(p, limit, |p| p.waiting > BATCH / 7).expect("what waits");
        assert!(!waited.timed_out(), "{} bytes wait", p.waiting);
        let left = p.waiting;
        drop(p);
        assert_eq!(staged(&store), [(4, 1001), (5, 1000)]);
        assert_eq!(left, store.shared.runs_of(&[Epoch(4)]).iter().map(|r| r.bytes()).sum::<usize>());
        assert_eq!(files(), 3, "they stay until sled has what is in them");
        assert_eq!(values(&store, operator, &[4, 5, 6]), [Some(5); 3]);
        store.discard_staged();
        let wanted = [Some(4), Some(4), None, None, None];
        assert_eq!(values(&store, operator, &[4, 5, 6, 7, 5000]), wanted);
        drop(store);
        let store = open(&folder);
        assert_eq!((values(&store, operator, &[4, 5, 6, 7, 5000]), store.last_epoch()), (wanted.to_vec(), Epoch(4)));
    }

    #[test]
    fn epochs_are_put_together_again_only_where_keys_come_again() {
        let folder = tempfile::tempdir().expect("a folder");
        for again in [true, false] {
            let store = open(&folder);
            let operator = store.operator("counts").expect("an operator");
            let (mut merger, mut taken, mut bytes) = (EpochMerger::new(BATCH), vec![], 0);
            let mut put_together = |merger: &mut EpochMerger, epochs: u64| {
                for _ in 0..epochs {
                    let epoch = taken.len() as u64 + 1;
                    let changes = changes(if again { 0 } else { 1000 * epoch as u32 }, 1, &[]);
                    bytes += changes.bytes();
                    taken.push(Epoch(epoch));
                    store.stage(operator, Epoch(epoch), changes);
                }
                assert!(merger.is_due(bytes));
                let before = std::mem::take(&mut bytes);
                bytes = merger.merge(&store.shared, &taken, before);
                (before, bytes)
            };
            let (before, left) = put_together(&mut merger, 2);
            if again {
                assert_eq!((left, staged(&store)), (before / 2, vec![(2, 1000)]));
                assert_eq!((merger.is_due(left + left), merger.is_due(left + left + 1)), (false, true));
                continue;
            }
            assert_eq!((left, staged(&store)), (before, vec![(2, 2000)]));
            assert_eq!((merger.is_due(left + BATCH / 4), merger.is_due(left + BATCH / 4 + 1)), (false, true));
            let (before, left) = put_together(&mut merger, 3);
            assert_eq!((left, staged(&store)), (before, vec![(5, 5000)]));
            assert!(!merger.is_due(100 * BATCH), "nothing comes again");
        }
    }

    /// How many changes are looked at to read 60 keys by their prefix, beside so many others in each of 60 staged epochs.
    fn looked_at(keys: u32) -> usize {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Store::open(&Folder::open(folder.path()).expect("a folder"), 64 << 20).expect("a store"));
        let operator = store.operator("join").expect("a number");
        for epoch in 1..=60 {
            let mut changes = Changes::default();
            for n in 0..keys {
                changes.set(&[&key(n)[..], &[epoch as u8]].concat(), b"row");
            }
            store.stage(operator, Epoch(epoch), changes);
        }
        let state = StateHandle { operator, reader: store };
        let mut most = 0;
        for n in (0..keys).step_by((keys as usize / 50).max(1)) {
            let before = CHANGES_READ.get();
            assert_eq!(state.scan(&key(n)).expect("rows of a key").len(), 60);
            most = most.max(CHANGES_READ.get() - before);
        }
        most
    }

    #[test]
    fn a_prefix_read_does_not_walk_over_all_that_is_staged() {
        for keys in [64, 1024, 16_384_u32] {
            // The search of each epoch, the key, and the one behind it.
            let most = 60 * (keys.ilog2() as usize + 1 + 2);
            let found = looked_at(keys);
            assert!((120..=most).contains(&found), "{found} changes of {keys} keys, at most {most}");
        }
    }
}
