//! Keyed state: what an operator keeps of each key, over one cache with one bound, one set of changes and one time to live.
//!
//! The value that is touched with every row has a type of the operator's own, and stays decoded in memory ([`KeyedState::update`]); it
//! is encoded when an epoch ends that has changed it. Beside it a key may have any number of [`ValueState`]s, [`MapState`]s and
//! [`ListState`]s, and [`Timers`], whose entries have keys of their own in the store and are read one by one, or in order.
//!
//! What is written stays in memory until the epoch is handed over. Then the cache lets go of what the epoch did not touch if it has
//! outgrown the operator's share, and of everything if that is not enough.

mod collections;
mod entries;
mod timers;
mod ttl;

pub use collections::{ListState, MapState, ValueState};
pub use timers::{TimeDomain, Timers};
pub use ttl::TimeToLive;

use crate::graph::SubtaskContext;
use crate::key::key_group;
use crate::metrics::SubtaskMetrics;
use crate::state::{Changes, Epoch, KeyRange, Pairs, StateHandle};
use crate::{Error, Result};
use entries::entry_size;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// How the values of an operator's keys are stored. A stored value has the time of its last write in it, as eight bytes.
pub trait Codec {
    /// A value, as it is in memory.
    type Value;
    /// The number of the stored form: a store that was written in another one is refused.
    const LAYOUT: u32 = 1;
    /// Where a stored value has its time.
    const WRITTEN_AT: usize = 0;
    /// Appends the stored form of a value that was last written then.
    fn encode(&self, value: &Self::Value, written: u64, out: &mut Vec<u8>);
    /// The value of a key's stored form; its parts are read from the store.
    ///
    /// # Errors
    /// When it is no such form: the store is damaged. When a part cannot be read.
    fn decode(&self, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<Self::Value>;
    /// Bytes that a value takes in memory beside its own size.
    fn bytes(&self, value: &Self::Value) -> usize;
    /// Whether a value says no more than none would, and goes at the end of the epoch.
    fn is_empty(&self, _value: &Self::Value) -> bool {
        false
    }
    /// Adds the changes of parts of a value that have keys of their own in the store; of all of them when the value goes.
    fn parts(&self, _key: &[u8], _value: &mut Self::Value, _goes: bool, _changes: &mut Changes) {}
    /// Takes the parts of some keys of a key group away that go without having been in memory.
    ///
    /// # Errors
    /// When the store fails.
    fn forget_parts(&self, _: u16, _: &BTreeSet<Vec<u8>>, _: &StateHandle, _: &mut Changes) -> Result<()> {
        Ok(())
    }
}

/// Of operators that keep nothing but collections and timers.
impl Codec for () {
    type Value = ();
    fn encode(&self, (): &(), written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
    }
    fn decode(&self, _: &[u8], _: &[u8], _: &StateHandle) -> Result<()> {
        Ok(())
    }
    fn bytes(&self, (): &()) -> usize {
        0
    }
}

/// Bytes that a value takes in memory beside its own and its key's, about.
const OVERHEAD: usize = 96;

/// The first byte of a key of its own, behind the key group, of values, maps and lists; their number is added. Encoded keys of
/// columns begin with 0 or 1.
const COLLECTIONS: u8 = 0x40;
/// The same, of timers.
const TIMERS: u8 = 0x60;

/// The key of the layout's number: no key group is so large.
const LAYOUT_KEY: &[u8] = b"\xff\xfflayout";

/// Entries that are looked at together where a range of them is gone through.
const PAGE: usize = 1024;

/// A value in memory: none when it is known that there is none.
struct Slot<V> {
    value: Option<V>,
    /// When it was last written; 0 without a time to live.
    written: u64,
    /// The epoch of the last use.
    used: u64,
    /// Whether the store does not have it so.
    dirty: bool,
}

/// Bytes in memory, and those of them that the store does not have.
#[derive(Default)]
struct Account {
    bytes: usize,
    changed: usize,
}

impl Account {
    /// Notes that a slot took so many bytes and takes so many now.
    fn note(&mut self, was: usize, is: usize, was_dirty: bool, is_dirty: bool) {
        self.bytes = (self.bytes + is).saturating_sub(was);
        self.changed = (self.changed + if is_dirty { is } else { 0 }).saturating_sub(if was_dirty { was } else { 0 });
    }
}

/// What an operator's subtask keeps of its keys.
pub struct KeyedState<C: Codec> {
    codec: C,
    state: StateHandle,
    metrics: SubtaskMetrics,
    cache_bytes: usize,
    values: HashMap<Box<[u8]>, Slot<C::Value>, ahash::RandomState>,
    /// Entries of collections and timers, by their keys in the store.
    entries: BTreeMap<Vec<u8>, Slot<Vec<u8>>>,
    account: Account,
    epoch: u64,
    /// Whether the store may know what memory does not.
    stored: bool,
    /// Whether the number of the layout is to be written.
    new_layout: bool,
    ttl: Option<TimeToLive>,
    /// The time of day at the last prefetch or the end of the epoch behind it; 0 without a time to live.
    now: u64,
    /// Parts of values that came to their time to live in this epoch.
    expired: Changes,
}

fn value_key(key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], key].concat()
}

/// The time in a stored value, and where it is.
fn written_at(bytes: &[u8], at: usize) -> Result<u64> {
    let time = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    time.map(|t| u64::from_be_bytes(*t)).ok_or_else(|| Error::state("a value in the state is cut short"))
}

impl<C: Codec> KeyedState<C> {
    /// A subtask's state; keys that are not written for `ttl_millis` milliseconds are forgotten, 0 = never.
    ///
    /// # Errors
    /// When the store fails, or has the operator's state in another layout.
    pub fn open(codec: C, context: &SubtaskContext, ttl_millis: u64) -> Result<KeyedState<C>> {
        let state = context.state.clone();
        let stored = state.last_epoch().0 > 0;
        let known = match state.get_many(&[LAYOUT_KEY])?.pop().flatten() {
            Some(bytes) => bytes.try_into().map(u32::from_be_bytes).unwrap_or_default(),
            // Layouts that came later are marked.
            None if C::LAYOUT > 1
                && stored
                && state.range(KeyRange { from: &[], to: None }).next().transpose()?.is_some() =>
            {
                1
            }
            None => C::LAYOUT,
        };
        if known != C::LAYOUT {
            let (node, ours) = (&context.node, C::LAYOUT);
            let wrong = format!("the state of {node} has layout {known}, and this version of Weir reads layout {ours}");
            return Err(Error::state(wrong).hint("run the version that wrote it, or start with --fresh"));
        }
        let ttl = TimeToLive::new(ttl_millis, context);
        Ok(KeyedState {
            codec,
            state,
            metrics: context.metrics.clone(),
            cache_bytes: context.cache_bytes,
            values: HashMap::default(),
            entries: BTreeMap::new(),
            account: Account::default(),
            epoch: 0,
            stored,
            new_layout: C::LAYOUT > 1,
            now: ttl.as_ref().map_or(0, TimeToLive::now),
            ttl,
            expired: Changes::default(),
        })
    }

    /// Whether keys are forgotten after a time.
    pub fn forgets(&self) -> bool {
        self.ttl.is_some()
    }

    /// Whether the store may have keys that are not in memory, so that those of a batch are better looked up together.
    pub fn reads_store(&self) -> bool {
        self.stored
    }

    /// Whether changes in memory are more than the cache should hold: an epoch hands them over.
    pub fn wants_epoch(&self) -> bool {
        self.account.changed > self.cache_bytes
    }

    fn over(&self, written: u64) -> bool {
        self.ttl.as_ref().is_some_and(|ttl| ttl.over(written, self.now))
    }

    /// Brings the values of some keys into memory: those that are missing are looked up together, in the order of the store. Called
    /// once a batch, if with no keys: from then on it is the time of day that it is now.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn prefetch<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Result<()> {
        self.now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        self.load(keys)
    }

    fn load<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Result<()> {
        let (mut asked, mut missing) = (0, vec![]);
        for key in keys {
            asked += 1;
            if self.stored && !self.values.contains_key(key) {
                missing.push(value_key(key));
            }
        }
        if !self.will_read(asked, &mut missing) {
            return Ok(());
        }
        let refs: Vec<&[u8]> = missing.iter().map(Vec::as_slice).collect();
        for (key, found) in refs.iter().zip(self.state.get_many(&refs)?) {
            let key = &key[2..];
            let value = found.as_deref().map(|v| self.codec.decode(key, v, &self.state)).transpose()?;
            let written = found.map_or(Ok(0), |v| written_at(&v, C::WRITTEN_AT))?;
            self.account.bytes += OVERHEAD + key.len() + value.as_ref().map_or(0, |v| self.codec.bytes(v));
            self.values.insert(key.into(), Slot { value, written, used: self.epoch, dirty: false });
        }
        Ok(())
    }

    /// Before keys that are not in memory are looked up: brings them into the order of the store, each once, and makes room.
    /// Whether there are any.
    fn will_read(&mut self, asked: usize, missing: &mut Vec<Vec<u8>>) -> bool {
        missing.sort_unstable();
        missing.dedup();
        self.metrics.state_reads.inc_by(missing.len() as u64);
        self.metrics.state_hits.inc_by(asked.saturating_sub(missing.len()) as u64);
        if missing.is_empty() {
            return false;
        }
        self.make_room();
        true
    }

    /// Lets go of what the store has too, when that alone is more than the cache should hold.
    fn make_room(&mut self) {
        if self.account.bytes.saturating_sub(self.account.changed) > self.cache_bytes {
            self.values.retain(|_, s| s.dirty);
            self.entries.retain(|_, s| s.dirty);
            self.recount();
            self.stored = true;
        }
    }

    fn recount(&mut self) {
        let entries: usize = self.entries.iter().map(|(k, s)| entry_size(k, s.value.as_ref())).sum();
        let bytes = |v: &Option<C::Value>| v.as_ref().map_or(0, |v| self.codec.bytes(v));
        let values: usize = self.values.iter().map(|(k, s)| OVERHEAD + k.len() + bytes(&s.value)).sum();
        self.account.bytes = entries + values;
    }

    /// The value of a key; none after its time to live.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&C::Value>> {
        if self.stored && !self.values.contains_key(key) {
            self.load(std::iter::once(key))?;
        }
        Ok(self.cached(key))
    }

    /// The value of a key that was prefetched; none after its time to live.
    pub fn cached(&self, key: &[u8]) -> Option<&C::Value> {
        let slot = self.values.get(key).filter(|s| !self.over(s.written));
        slot.and_then(|s| s.value.as_ref())
    }

    /// All values in memory, with their keys.
    pub fn all_cached(&self) -> impl Iterator<Item = (&[u8], &C::Value)> {
        let there = self.values.iter().filter(|(_, s)| !self.over(s.written));
        there.filter_map(|(k, s)| Some((k.as_ref(), s.value.as_ref()?)))
    }

    /// The values of a key group that the store has and memory has not, with their keys, in the order of these. Errors are those of
    /// the store.
    pub fn all_stored(&self, group: u16) -> impl Iterator<Item = Result<(Vec<u8>, C::Value)>> {
        let pairs = self.stored.then(|| self.stored_group(group)).into_iter().flatten();
        pairs.filter_map(|pair| match pair {
            Ok((k, _)) if self.values.contains_key(&k[2..]) => None,
            Ok((k, v)) => match written_at(&v, C::WRITTEN_AT) {
                Ok(written) if self.over(written) => None,
                Ok(_) => Some(self.codec.decode(&k[2..], &v, &self.state).map(|v| (k[2..].to_vec(), v))),
                Err(e) => Some(Err(e)),
            },
            Err(e) => Some(Err(e)),
        })
    }

    /// The stored values of a key group, with their keys in the store.
    fn stored_group(&self, group: u16) -> Pairs<'_> {
        let [high, low] = group.to_be_bytes();
        // Encoded keys begin with 0 or 1, or are empty.
        self.state.range(KeyRange { from: &[high, low], to: Some(&[high, low, 2]) })
    }

    /// Looks keys up for nothing but to have their values in the processor's cache: their memory is waited for at the same time then,
    /// not one after the other.
    pub fn warm(&self, keys: &[&[u8]]) {
        let values = keys.iter().filter_map(|k| self.values.get(*k)?.value.as_ref());
        std::hint::black_box(values.map(|v| self.codec.bytes(v)).sum::<usize>());
    }

    /// Gives `change` the value of a key to change, or to take away; it says whether it has. What has come to its time to live is not
    /// there any more. Keys that were prefetched need no look at the store.
    ///
    /// # Errors
    /// When the store fails or is damaged, or `change` fails.
    pub fn update(&mut self, key: &[u8], change: impl FnOnce(&mut Option<C::Value>) -> Result<bool>) -> Result<()> {
        let (now, used) = (self.now, self.epoch);
        let base = OVERHEAD + key.len();
        let size = |v: &Option<C::Value>| base + v.as_ref().map_or(0, |v| self.codec.bytes(v));
        if let Some(slot) = self.values.get_mut(key) {
            let (was, was_dirty) = (size(&slot.value), slot.dirty);
            if self.ttl.as_ref().is_some_and(|ttl| ttl.over(slot.written, now))
                && let Some(mut value) = slot.value.take()
            {
                self.codec.parts(key, &mut value, true, &mut self.expired);
                slot.dirty = true;
            }
            if change(&mut slot.value)? {
                (slot.written, slot.dirty) = (now, true);
            }
            slot.used = used;
            self.account.note(was, size(&slot.value), was_dirty, slot.dirty);
            return Ok(());
        }
        if self.stored {
            self.load(std::iter::once(key))?;
            return self.update(key, change);
        }
        let mut value = None;
        if change(&mut value)? {
            self.account.note(0, size(&value), false, true);
            self.values.insert(key.into(), Slot { value, written: now, used, dirty: true });
        }
        Ok(())
    }

    /// The changes since the last epoch, which this ends.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        self.epoch = epoch.0;
        self.now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        let mut changes = std::mem::take(&mut self.expired);
        self.sweep(&mut changes)?;
        for (key, slot) in self.values.iter_mut().filter(|(_, s)| s.dirty) {
            let group = key_group(key).to_be_bytes();
            if let Some(v) = &mut slot.value {
                let empty = self.codec.is_empty(v);
                self.codec.parts(key, v, empty, &mut changes);
                if empty {
                    slot.value = None;
                }
            }
            match &slot.value {
                Some(v) => changes.set_with(&[&group, key], |out| self.codec.encode(v, slot.written, out)),
                None => changes.remove(&[&group, key]),
            }
            slot.dirty = false;
        }
        for (key, slot) in self.entries.iter_mut().filter(|(_, s)| s.dirty) {
            match &slot.value {
                Some(v) => changes.set(key, v),
                None => changes.remove(&[key]),
            }
            slot.dirty = false;
        }
        self.account.changed = 0;
        self.evict();
        if self.new_layout && !changes.is_empty() {
            changes.set(LAYOUT_KEY, &C::LAYOUT.to_be_bytes());
            self.new_layout = false;
        }
        self.metrics.state_writes.inc_by(changes.len() as u64);
        self.metrics.state_keys.set((self.values.len() + self.entries.len()) as i64);
        self.metrics.state_bytes.set(self.account.bytes as i64);
        Ok(changes)
    }

    /// Lets go of keys without a value, which the store knows; and, when memory is more than the cache should hold, of what this
    /// epoch did not touch; if that is not enough, of everything.
    fn evict(&mut self) {
        let (full, epoch) = (self.account.bytes > self.cache_bytes, self.epoch);
        let (values, entries) = (self.values.len(), self.entries.len());
        self.values.retain(|_, s| s.value.is_some() && (!full || s.used + 1 >= epoch));
        self.entries.retain(|_, s| s.value.is_some() && (!full || s.used + 1 >= epoch));
        if (values, entries) != (self.values.len(), self.entries.len()) {
            self.recount();
        }
        if full && self.account.bytes > self.cache_bytes / 2 {
            self.values = HashMap::default();
            self.entries = BTreeMap::new();
            self.account = Account::default();
        }
        self.stored |= full;
    }

    /// Forgets what was not written within the time to live: of memory all values, of the store and of entries those of a few key
    /// groups.
    fn sweep(&mut self, changes: &mut Changes) -> Result<()> {
        let now = self.now;
        let Some(ttl) = &mut self.ttl else { return Ok(()) };
        for group in ttl.due(now) {
            if self.stored {
                self.sweep_stored(group, changes)?;
            }
            self.sweep_entries(group)?;
        }
        let Some(ttl) = &self.ttl else { return Ok(()) };
        for (key, slot) in self.values.extract_if(|_, s| s.value.is_some() && ttl.over(s.written, now)) {
            let Some(mut value) = slot.value else { continue };
            self.account.note(OVERHEAD + key.len() + self.codec.bytes(&value), 0, slot.dirty, false);
            self.codec.parts(&key, &mut value, true, changes);
            changes.remove(&[&key_group(&key).to_be_bytes(), &key]);
        }
        Ok(())
    }

    fn sweep_stored(&self, group: u16, changes: &mut Changes) -> Result<()> {
        let mut gone = BTreeSet::new();
        for pair in self.stored_group(group) {
            let (key, mut value) = pair?;
            // What is in memory is newer.
            if self.values.contains_key(&key[2..]) {
                continue;
            }
            match written_at(&value, C::WRITTEN_AT)? {
                // Kept before there was a time to live, which begins now.
                0 => {
                    value[C::WRITTEN_AT..C::WRITTEN_AT + 8].copy_from_slice(&self.now.to_be_bytes());
                    changes.set(&key, &value);
                }
                written if self.over(written) => {
                    changes.remove(&[&key]);
                    gone.insert(key[2..].to_vec());
                }
                _ => {}
            }
        }
        if gone.is_empty() { Ok(()) } else { self.codec.forget_parts(group, &gone, &self.state, changes) }
    }
}
