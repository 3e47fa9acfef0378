//! The store: what is staged, what is durable in epoch files, and what sled holds, seen as one.

use crate::applier;
use crate::epoch_file;
use crate::filter::Filter;
use crate::folder::Folder;
use crate::run::{Merged, Run, Wanted};
use crate::sled_store::{self as own, Applied, Handles, sled_error};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use weir_core::state::{Changes, Epoch, KeyRange, OperatorId, Outbox, Pair, StateBackend, StateReader};
use weir_core::thread::{locked, spawn};
use weir_core::{Error, Result};

/// Epochs that wait to be applied together at most: each keeps its file until then.
const EPOCHS: usize = 64;

/// Bytes of epochs' files that wait to be applied together at most, in batches.
const FILES: usize = 2;

/// Keys that are copied or dropped at a time.
const PAGE: usize = 65_536;

/// Bytes of the filter of keys at most: good for some fifteen million keys, and of use up to a hundred million.
const FILTER: usize = 16 << 20;

struct Shared {
    sled: Handles,
    filter: Filter,
    folder: std::path::PathBuf,
    staged: RwLock<BTreeMap<Epoch, Vec<Arc<Run>>>>,
    progress: Mutex<Progress>,
    closing: AtomicBool,
    /// Whether what is durable need not get into sled any more.
    leaving: AtomicBool,
    /// How many hold the applier.
    held: AtomicUsize,
    /// Held while epochs are applied, and by whoever must see all of the store at one epoch.
    applying: Mutex<()>,
    /// Told when epochs were applied, or never will be.
    applied: Condvar,
    /// Bytes of durable changes that wait until they are applied together, and that sled may hold between flushes.
    batch_bytes: usize,
}

#[derive(Default)]
struct Progress {
    durable: u64,
    /// Durable epochs that some sink may not have, and whether they hold something for one.
    undelivered: BTreeMap<u64, bool>,
    /// Epochs that every sink has, and whose files are there.
    delivered: BTreeSet<u64>,
    flushed: u64,
    /// Whether the last durable epoch was the job's last.
    finished: bool,
    /// Bytes of durable changes that sled does not have.
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

/// What the applier is told of a durable epoch.
struct Durable {
    epoch: Epoch,
    finished: bool,
    bytes: usize,
}

/// A job's store. Epochs are applied to sled by a thread of its own.
pub struct Store {
    shared: Arc<Shared>,
    applier: Mutex<Option<(Sender<Durable>, JoinHandle<()>)>>,
    /// Fills the filter with the keys that were there; ends early when told to.
    filling: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens a folder's store and applies the epochs that it has not. What is staged is durable with its epoch.
    ///
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
    /// `cache_bytes` bounds each of: what sled keeps decoded,
    /// what waits to be applied, what is written between two flushes.
    ///
    /// # Errors
    /// When the store is damaged or cannot be written.
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

    /// The names of all operators that have state.
    ///
    /// # Errors
    /// When the store fails.
    pub fn operators(&self) -> Result<BTreeMap<String, OperatorId>> {
        self.shared.sled.with(own::operators)
    }

    /// Whether anything would be lost with an operator: state, or rows that were not delivered.
    ///
    /// # Errors
    /// When the store fails.
    pub fn keeps(&self, uid: &str, operator: OperatorId) -> Result<bool> {
        let waiting = |outbox: &Outbox| outbox.iter().any(|(of, entries)| of == uid && !entries.is_empty());
        if self.undelivered()?.iter().any(|(_, outbox)| waiting(outbox)) {
            return Ok(true);
        }
        Ok(!self.range(operator, KeyRange { from: &[], to: None }, 1)?.is_empty())
    }

    /// Gives an operator a copy of another's state in the place of what it has. Before a job begins: what is staged is not copied. Ended
    /// in the middle, it has to be done again.
    ///
    /// # Errors
    /// When the store fails.
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

    /// Forgets an operator and its state. Ended in the middle, it has to be done again: the operator is there until all of its state is gone.
    ///
    /// # Errors
    /// When the store fails.
    pub fn drop_operator(&self, uid: &str) -> Result<()> {
        while self.shared.sled.with(|db| own::drop_keys(db, uid, PAGE))? {
            // sled holds what was written until it is opened anew.
            self.shared.sled.reopen()?;
        }
        Ok(())
    }
}

/// Notes all keys of sled in the filter. Keys that come meanwhile are noted by whoever brings them.
fn fill(shared: &Shared) -> Result<()> {
    let mut from = vec![1u8];
    while !shared.closing.load(Ordering::Relaxed) {
        let next = shared.sled.with(|db| {
            let mut last = None;
            for kv in db.range(from.clone()..).take(4096) {
                let (k, _) = kv.map_err(sled_error)?;
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

/// Puts epochs that wait to be applied together before they are many: keys that change in each of them then take memory once.
struct Tidy {
    /// Bytes that wait when this was last done, and how many more make it due.
    last: usize,
    more: usize,
    /// The least and the most of them. In between it is as much as is there already: then each change is written twice at most on the
    /// average.
    bounds: (usize, usize),
}

impl Tidy {
    fn new(batch_bytes: usize) -> Tidy {
        let bounds = (batch_bytes / 16, batch_bytes / 4);
        Tidy { last: 0, more: bounds.0, bounds }
    }

    fn is_due(&self, bytes: usize) -> bool {
        bytes > self.last + self.more
    }

    /// Makes one epoch of all `taken`, the last of them. Gives the bytes that they have now.
    fn merged(&mut self, shared: &Shared, taken: &[Epoch], bytes: usize) -> usize {
        let Some(last) = taken.last() else { return bytes };
        let runs = shared.runs_of(taken);
        let merged: Vec<Arc<Run>> = applier::merged(&runs).into_iter().map(Arc::new).collect();
        let left: usize = merged.iter().map(|r| r.bytes()).sum();
        self.more = if left <= bytes / 4 * 3 {
            left.clamp(self.bounds.0, self.bounds.1)
        } else if self.more < self.bounds.1 {
            // Of more epochs, more keys come again.
            self.bounds.1
        } else {
            // Keys that do not come again are not worth the trouble any more.
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

/// The applier's life: gathers durable epochs until they are worth a pass over the store, and puts them there together.
fn apply_all(shared: &Shared, mut place: Applied, epochs: &Receiver<Durable>) -> Result<()> {
    let mut open = true;
    while open {
        let (mut taken, mut bytes, mut on_disk) = (vec![], 0, 0);
        let mut tidy = Tidy::new(shared.batch_bytes);
        while taken.len() < EPOCHS && bytes < shared.batch_bytes && on_disk < FILES * shared.batch_bytes {
            let Ok(next) = epochs.recv() else {
                open = false;
                break;
            };
            bytes += next.bytes;
            on_disk += next.bytes;
            (place.epoch, place.finished) = (next.epoch.0, next.finished);
            taken.push(next.epoch);
            if taken.len() > 1 && tidy.is_due(bytes) {
                bytes = tidy.merged(shared, &taken, bytes);
            }
        }
        if taken.is_empty() || shared.leaving.load(Ordering::Relaxed) {
            break;
        }
        let runs = shared.runs_of(&taken);
        let applying = locked(&shared.applying);
        let (batch, leaving) = (shared.batch_bytes, &shared.leaving);
        let work = || applier::apply(&shared.sled, &shared.filter, &runs, &mut place, batch, leaving);
        // A store that was half written and then flushed by a dropped handle would be torn: better no process at all.
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
            return Err(Error::io(format!("cannot remove {}", path.display())).caused_by(e));
        }
    }
    Ok(())
}

/// The store at its last durable epoch, while the job goes on. Nothing is applied as long as this lives.
pub struct Frozen<'a> {
    shared: &'a Shared,
    epoch: Epoch,
    runs: Vec<Arc<Run>>,
    _applying: MutexGuard<'a, ()>,
}

/// Nothing is applied as long as this lives, and commits do not wait for that.
pub struct Held<'a> {
    shared: &'a Shared,
    _applying: MutexGuard<'a, ()>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes keys with their values.
type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// The same, as long as it wants more.
type Search<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'a;

impl Frozen<'_> {
    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// Calls `each` with every key of an operator, in order, and its value. In memory are only the changes that the store does
    /// not have yet.
    ///
    /// # Errors
    /// When the store fails, or `each` does.
    pub fn each(&self, operator: OperatorId, each: &mut Visitor<'_>) -> Result<()> {
        let all = KeyRange { from: &[], to: None };
        self.shared.visit(&self.runs, operator, all, &mut |k, v| each(k, v).map(|()| true))
    }
}

impl Shared {
    /// Visits the keys of a range with their values, in order, as long as `visit` wants more: those of sled, and of these runs, which
    /// are newer.
    fn visit(
        &self,
        runs: &[Arc<Run>],
        operator: OperatorId,
        range: KeyRange<'_>,
        visit: &mut Search<'_>,
    ) -> Result<()> {
        let mut changed = Merged::new(runs.iter().map(|r| r.range(operator, range))).peekable();
        let mut tell = |key: &[u8], value: Option<&[u8]>| value.map_or(Ok(true), |v| visit(key, v));
        let goes_on = self.sled.with(|db| {
            for kv in own::range(db, operator, range) {
                let (k, v) = kv?;
                let key = &k[5..];
                while let Some((k, v)) = changed.next_if(|(k, _)| *k < key) {
                    if !tell(k, v)? {
                        return Ok(false);
                    }
                }
                let (k, v) = changed.next_if(|(k, _)| *k == key).unwrap_or((key, Some(&v)));
                if !tell(k, v)? {
                    return Ok(false);
                }
            }
            Ok(true)
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
}

impl Store {
    /// Waits for what is being applied, and holds it there, so that reads for the next while wait for nothing: for a change of
    /// parallelism. What is committed meanwhile stays in memory.
    pub fn hold(&self) -> Held<'_> {
        let applying = locked(&self.shared.applying);
        {
            // Under the lock of those who look and then wait to be told.
            let _progress = locked(&self.shared.progress);
            self.shared.held.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.applied.notify_all();
        Held { shared: &self.shared, _applying: applying }
    }

    /// Whether epochs up to this one hold something that a sink may not have.
    pub fn owes(&self, up_to: Epoch) -> bool {
        locked(&self.shared.progress).undelivered.range(..=up_to.0).any(|(_, holds)| *holds)
    }

    /// Holds the applier, to look at one epoch as a whole.
    pub fn freeze(&self) -> Frozen<'_> {
        let applying = locked(&self.shared.applying);
        // In this order, so that no epochs are put together in between under the number of one that is durable only then.
        let staged = self.shared.staged.read().unwrap_or_else(PoisonError::into_inner);
        let durable = Epoch(locked(&self.shared.progress).durable);
        let runs = staged.range(..=durable).flat_map(|(_, r)| r.clone()).collect();
        Frozen { shared: &self.shared, epoch: durable, runs, _applying: applying }
    }
}

impl StateReader for Store {
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let runs: Vec<Arc<Run>> = self.shared.runs().into_iter().filter(|r| r.operator == operator).collect();
        let mut buffer = vec![];
        self.shared.sled.with(|db| {
            keys.iter()
                .map(|k| {
                    let wanted = Wanted::new(k);
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
        // What is staged is taken first: an epoch that is applied meanwhile is then seen twice rather than not at all.
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
            // More than one pass of the applier does not wait: that keeps memory flat when it is slower than the job. Nothing comes
            // after the last epoch.
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
            // The applier ends only with this sender, or after a failure that the next commit reports.
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
        // A job that came to its end is looked at at most: its last epochs may stay in their files, and it ends seconds earlier.
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
    use crate::run::LOOKED_AT;
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
            let (mut tidy, mut taken, mut bytes) = (Tidy::new(BATCH), vec![], 0);
            let mut put_together = |tidy: &mut Tidy, epochs: u64| {
                for _ in 0..epochs {
                    let epoch = taken.len() as u64 + 1;
                    let changes = changes(if again { 0 } else { 1000 * epoch as u32 }, 1, &[]);
                    bytes += changes.bytes();
                    taken.push(Epoch(epoch));
                    store.stage(operator, Epoch(epoch), changes);
                }
                assert!(tidy.is_due(bytes));
                let before = std::mem::take(&mut bytes);
                bytes = tidy.merged(&store.shared, &taken, before);
                (before, bytes)
            };
            let (before, left) = put_together(&mut tidy, 2);
            if again {
                assert_eq!((left, staged(&store)), (before / 2, vec![(2, 1000)]));
                assert_eq!((tidy.is_due(left + left), tidy.is_due(left + left + 1)), (false, true));
                continue;
            }
            assert_eq!((left, staged(&store)), (before, vec![(2, 2000)]));
            assert_eq!((tidy.is_due(left + BATCH / 4), tidy.is_due(left + BATCH / 4 + 1)), (false, true));
            let (before, left) = put_together(&mut tidy, 3);
            assert_eq!((left, staged(&store)), (before, vec![(5, 5000)]));
            assert!(!tidy.is_due(100 * BATCH), "nothing comes again");
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
            let before = LOOKED_AT.get();
            assert_eq!(state.scan(&key(n)).expect("rows of a key").len(), 60);
            most = most.max(LOOKED_AT.get() - before);
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
