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
mod slab;
mod small_bytes;
mod timers;
mod ttl;

pub use collections::{ListState, MapState, ValueState};
pub use slab::Slab;
pub use small_bytes::SmallBytes;
pub use timers::{TimeDomain, Timers};
pub use ttl::TimeToLive;

use crate::graph::SubtaskContext;
use crate::key::{Keys, key_group};
use crate::metrics::SubtaskMetrics;
use crate::state::{Changes, ENGINE, KeyRange, Pair, Pairs, StateHandle};
use crate::{Error, Result};
use entries::entry_size;
use hashbrown::HashTable;
use std::collections::{BTreeMap, BTreeSet};

/// How the values of an operator's keys are stored. A stored value has the time of its last write in it, as eight bytes.
///
/// Each value in memory has a place, a number that no other one has meanwhile. A codec may keep values, or parts of them, in columns
/// of its own by these numbers, where a whole batch's are changed together ([`KeyedState::change`]); it is told when a value goes
/// from memory.
pub trait Codec {
    /// A value, as it is in memory; `()` where all of it is in columns.
    type Value;
    /// The number of the stored form: a store that was written in another one is refused.
    const LAYOUT: u32 = 1;
    /// Where a stored value has its time.
    const WRITTEN_AT: usize = 0;
    /// The key group of a key: that of the whole key, unless a part of it decides which subtask it belongs to.
    fn key_group(&self, key: &[u8]) -> u16 {
        key_group(key)
    }
    /// Appends the stored form of a value that was last written then.
    fn encode(&self, place: u32, value: &Self::Value, written: u64, out: &mut Vec<u8>);
    /// The value of a key's stored form; its parts are read from the store.
    ///
    /// # Errors
    /// When it is no such form: the store is damaged. When a part cannot be read.
    fn decode(&mut self, place: u32, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<Self::Value>;
    /// Bytes that a value takes in memory beside its own size.
    fn bytes(&self, place: u32, value: &Self::Value) -> usize;
    /// Whether a value says no more than none would, and goes at the end of the epoch.
    fn is_empty(&self, _place: u32, _value: &Self::Value) -> bool {
        false
    }
    /// Adds the changes of parts of a value that have keys of their own in the store; of all of them when the value goes.
    fn parts(&mut self, _place: u32, _key: &[u8], _value: &mut Self::Value, _goes: bool, _changes: &mut Changes) {}
    /// Takes the parts of some keys of a key group away that go without having been in memory.
    ///
    /// # Errors
    /// When the store fails.
    fn forget_parts(&self, _: u16, _: &BTreeSet<Vec<u8>>, _: &StateHandle, _: &mut Changes) -> Result<()> {
        Ok(())
    }
    /// Empties the columns at a place, whose value is in memory no more.
    fn forget(&mut self, _place: u32) {}
    /// The same at all places.
    fn forget_all(&mut self) {}
}

/// Of operators that keep nothing but collections and timers.
impl Codec for () {
    type Value = ();
    fn encode(&self, _: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
    }
    fn decode(&mut self, _: u32, _: &[u8], _: &[u8], _: &StateHandle) -> Result<()> {
        Ok(())
    }
    fn bytes(&self, _: u32, (): &()) -> usize {
        0
    }
}

/// The first byte of a key of its own, behind the key group, of values, maps and lists; their number is added. Encoded keys of
/// columns begin with 0 or 1.
const COLLECTIONS: u8 = 0x40;
/// The same, of timers.
const TIMERS: u8 = 0x60;

/// The key of the layout's number: no key group is so large.
const LAYOUT_KEY: &[u8] = b"\xff\xfflayout";

/// Entries that are looked at together where a range of them is gone through.
const PAGE: usize = 1024;

/// Changes of an epoch after which the size of the others is guessed.
const SAMPLE: usize = 1024;

/// A key's value in memory: none when it is known that there is none.
struct Slot<V> {
    key: SmallBytes,
    value: Option<V>,
    /// When it was last written; 0 without a time to live.
    written: u64,
    /// The number of the last use.
    used: u64,
    /// Whether the store does not have it so.
    dirty: bool,
}

/// An entry of a collection in memory: no value when it is known that there is none.
struct Entry {
    value: Option<Vec<u8>>,
    used: u64,
    dirty: bool,
    /// Whether the store may have it: if not, nothing is left of it when it goes.
    in_store: bool,
}

/// Which key each row of a batch has, and where the values of these keys are: good until keys are read again or the epoch ends.
#[derive(Debug, Default)]
pub struct Places {
    /// The number of each row's key among those of the batch.
    pub numbers: Vec<u32>,
    /// The place of each key's value.
    pub places: Vec<u32>,
    /// The first row of each key.
    pub first: Vec<u32>,
}

/// What becomes of a value that is kept in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    /// Whether the key has a value.
    pub there: bool,
    /// Whether that was changed.
    pub changed: bool,
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
    /// The places of values, by their keys.
    index: HashTable<u32>,
    hasher: ahash::RandomState,
    slots: Slab<Option<Slot<C::Value>>>,
    /// Places without a slot.
    free: Vec<u32>,
    /// Entries of collections and timers, by their keys in the store.
    entries: BTreeMap<Vec<u8>, Entry>,
    account: Account,
    /// The number of the last use of a value, and of the last one before the epoch.
    uses: u64,
    uses_before: u64,
    /// Whether the store may know what memory does not.
    stored: bool,
    /// How often memory has let go of values.
    evictions: u64,
    /// Whether the number of the layout is to be written.
    new_layout: bool,
    ttl: Option<TimeToLive>,
    /// The time of day at the last prefetch or the end of the epoch behind it; 0 without a time to live.
    now: u64,
    /// Parts of values that came to their time to live in this epoch.
    expired: Changes,
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
                && state.range(KeyRange { from: &[], to: Some(&ENGINE) }).next().transpose()?.is_some() =>
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
            index: HashTable::new(),
            hasher: ahash::RandomState::new(),
            slots: Slab::default(),
            free: vec![],
            entries: BTreeMap::new(),
            account: Account::default(),
            uses: 0,
            uses_before: 0,
            stored,
            evictions: 0,
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

    /// How often memory has let go of values: what is known of those that only the store has is good as long as this is the same.
    pub fn evictions(&self) -> u64 {
        self.evictions
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
        if !self.stored {
            self.metrics.state_hits.inc_by(keys.count() as u64);
            return Ok(());
        }
        self.make_room();
        let (mut asked, mut missing) = (0, vec![]);
        for key in keys {
            asked += 1;
            let hash = self.hasher.hash_one(key);
            if self.find(hash, key).is_none() {
                missing.push(self.insert_used(hash, key));
            }
        }
        self.load(asked, &missing)
    }

    /// In the place of [`KeyedState::prefetch`], for values that are changed together: where the values of a batch's keys are. A key
    /// without one has a place as well.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn places(&mut self, keys: &Keys) -> Result<Places> {
        self.now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        self.make_room();
        let mut found = Places { numbers: Vec::with_capacity(keys.len()), ..Places::default() };
        let (first_use, mut missing) = (self.uses + 1, vec![]);
        for row in 0..keys.len() {
            let key = keys.get(row);
            if row > 0 && keys.get(row - 1) == key {
                found.numbers.push(found.numbers[row - 1]);
                continue;
            }
            let hash = self.hasher.hash_one(key);
            let place = self.find(hash, key).unwrap_or_else(|| {
                let place = self.insert(hash, key);
                missing.push(place);
                place
            });
            let used = &mut self.slot_mut(place).used;
            if *used < first_use {
                *used = first_use + found.places.len() as u64;
                found.places.push(place);
                found.first.push(row as u32);
            }
            found.numbers.push((*used - first_use) as u32);
        }
        self.uses = first_use + found.places.len() as u64;
        self.load(found.places.len(), &missing)?;
        if self.ttl.is_some() {
            found.places.iter().for_each(|place| self.expire(*place));
        }
        Ok(found)
    }

    /// The key of the value at a place, if one is there.
    pub fn key_at(&self, place: u32) -> Option<&[u8]> {
        let slot = (0..self.slots.len()).contains(&(place as usize)).then(|| self.slots[place as usize].as_ref())??;
        slot.value.is_some().then_some(&*slot.key)
    }

    /// The codec, with the columns in which it keeps values.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// Lets `change` change the values of some keys in the codec's columns, each at most once among `places`. It is given for each key
    /// whether it has a value, and says there whether it has one now and has changed.
    ///
    /// # Errors
    /// When `change` fails: then the state is no longer what it was.
    pub fn change<R>(&mut self, places: &[u32], change: impl FnOnce(&mut C, &mut [Touched]) -> Result<R>) -> Result<R>
    where
        C::Value: Default,
    {
        let (mut touched, mut was) = (Vec::with_capacity(places.len()), Account::default());
        for place in places {
            let slot = self.slot(*place);
            let size = self.size(*place, slot);
            was.note(0, size, false, slot.dirty);
            touched.push(Touched { there: slot.value.is_some(), changed: false });
        }
        let result = change(&mut self.codec, &mut touched)?;
        let (mut is, now) = (Account::default(), self.now);
        for (place, touched) in places.iter().zip(touched) {
            let slot = self.slot_mut(*place);
            if touched.changed {
                slot.value = touched.there.then(C::Value::default);
                (slot.written, slot.dirty) = (now, true);
            }
            let slot = self.slot(*place);
            is.note(0, self.size(*place, slot), false, slot.dirty);
        }
        self.account.bytes = (self.account.bytes + is.bytes).saturating_sub(was.bytes);
        self.account.changed = (self.account.changed + is.changed).saturating_sub(was.changed);
        Ok(result)
    }

    fn slot(&self, place: u32) -> &Slot<C::Value> {
        self.slots[place as usize].as_ref().unwrap_or_else(|| panic!("place {place} of keyed state has no slot"))
    }

    fn slot_mut(&mut self, place: u32) -> &mut Slot<C::Value> {
        self.slots[place as usize].as_mut().unwrap_or_else(|| panic!("place {place} of keyed state has no slot"))
    }

    /// The key in the store of the value at a place.
    fn stored_key(&self, place: u32) -> Vec<u8> {
        let key = &self.slot(place).key;
        [&self.codec.key_group(key).to_be_bytes()[..], key].concat()
    }

    /// Bytes that a key and its value take in memory, about.
    fn size(&self, place: u32, slot: &Slot<C::Value>) -> usize {
        let value = slot.value.as_ref().map_or(0, |v| self.codec.bytes(place, v));
        Self::BASE + slot.key.heap() + value
    }

    /// Bytes of a slot, and about those of its place in the index.
    const BASE: usize = size_of::<Option<Slot<C::Value>>>() + 8;

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |place| *self.slot(*place).key == *key).copied()
    }

    fn place(&self, key: &[u8]) -> Option<u32> {
        self.find(self.hasher.hash_one(key), key)
    }

    /// Makes a place for a key that has none; there is no value.
    fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = Slot { key: SmallBytes::from(key), value: None, written: 0, used: 0, dirty: false };
        self.account.bytes += Self::BASE + slot.key.heap();
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = Some(slot);
                place
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() as u32 - 1
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let again = |place: &u32| slots[*place as usize].as_ref().map_or(0, |s| hasher.hash_one(&*s.key));
        self.index.insert_unique(hash, place, again);
        place
    }

    /// The same, which counts as a use.
    fn insert_used(&mut self, hash: u64, key: &[u8]) -> u32 {
        let place = self.insert(hash, key);
        self.uses += 1;
        self.slot_mut(place).used = self.uses;
        place
    }

    /// Reads the values of places that were made for keys that are not in memory, together and in the order of the store.
    fn load(&mut self, asked: usize, missing: &[u32]) -> Result<()> {
        let read = if self.stored { missing } else { &[] };
        self.metrics.state_reads.inc_by(read.len() as u64);
        self.metrics.state_hits.inc_by(asked.saturating_sub(read.len()) as u64);
        if read.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<(Vec<u8>, u32)> = read.iter().map(|p| (self.stored_key(*p), *p)).collect();
        keys.sort_unstable();
        let refs: Vec<&[u8]> = keys.iter().map(|(key, _)| key.as_slice()).collect();
        let found = self.state.get_many(&refs)?;
        for ((key, place), found) in keys.iter().zip(found) {
            let Some(bytes) = found else { continue };
            let value = self.codec.decode(*place, &key[2..], &bytes, &self.state)?;
            self.account.bytes += self.codec.bytes(*place, &value);
            let slot = self.slot_mut(*place);
            (slot.value, slot.written) = (Some(value), written_at(&bytes, C::WRITTEN_AT)?);
        }
        Ok(())
    }

    /// Takes away a value that has come to its time to live.
    fn expire(&mut self, place: u32) {
        let slot = self.slot(place);
        if slot.value.is_none() || !self.over(slot.written) {
            return;
        }
        let (was, was_dirty) = (self.size(place, slot), slot.dirty);
        if let Some(slot) = self.slots[place as usize].as_mut()
            && let Some(mut value) = slot.value.take()
        {
            self.codec.parts(place, &slot.key, &mut value, true, &mut self.expired);
            self.codec.forget(place);
            slot.dirty = true;
            let is = Self::BASE + slot.key.heap();
            self.account.note(was, is, was_dirty, true);
        }
    }

    /// Lets go of what the store has too, when that alone is more than the cache should hold.
    fn make_room(&mut self) {
        if self.account.bytes.saturating_sub(self.account.changed) > self.cache_bytes {
            self.keep(|s| s.dirty, |e| e.dirty);
            self.stored = true;
        }
    }

    /// Lets go of the values and entries that are not wanted.
    fn keep(&mut self, values: impl Fn(&Slot<C::Value>) -> bool, entries: impl Fn(&Entry) -> bool) {
        self.evictions += 1;
        let (account, codec) = (&mut self.account, &mut self.codec);
        let (slots, free) = (&mut self.slots, &mut self.free);
        self.index.retain(|place| {
            let slot = &mut slots[*place as usize];
            let Some(s) = slot.take_if(|s| !values(s)) else { return true };
            let value = s.value.as_ref().map_or(0, |v| codec.bytes(*place, v));
            account.note(Self::BASE + s.key.heap() + value, 0, s.dirty, false);
            codec.forget(*place);
            free.push(*place);
            false
        });
        if self.index.is_empty() {
            self.drop_values();
        }
        let account = &mut self.account;
        self.entries.retain(|key, e| {
            let stays = entries(e);
            if !stays {
                account.note(entry_size(key, e.value.as_ref()), 0, e.dirty, false);
            }
            stays
        });
    }

    /// Gives back the memory of all values.
    fn drop_values(&mut self) {
        self.evictions += 1;
        self.index = HashTable::new();
        self.slots.clear();
        self.free = vec![];
        self.codec.forget_all();
    }

    /// The value of a key; none after its time to live.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<&C::Value>> {
        let hash = self.hasher.hash_one(key);
        let place = match self.find(hash, key) {
            Some(place) => place,
            None if self.stored => {
                self.make_room();
                let place = self.insert_used(hash, key);
                self.load(1, &[place])?;
                place
            }
            None => return Ok(None),
        };
        let slot = self.slot(place);
        Ok(slot.value.as_ref().filter(|_| !self.over(slot.written)))
    }

    /// All values in memory, with their keys and places.
    pub fn all_cached(&self) -> impl Iterator<Item = (&[u8], u32, &C::Value)> {
        let there = self.slots.iter().enumerate().filter_map(|(place, slot)| Some((place, slot.as_ref()?)));
        let there = there.filter(|(_, s)| !self.over(s.written));
        there.filter_map(|(place, s)| Some((&*s.key, place as u32, s.value.as_ref()?)))
    }

    /// The stored forms of a key group's values that the store has and memory has not, with their keys, in the order of these, from a key
    /// on. Errors are those of the store.
    pub fn all_stored(&self, group: u16, from: &[u8]) -> impl Iterator<Item = Result<Pair>> + use<'_, C> {
        let pairs = self.stored.then(|| self.stored_group(group, from)).into_iter().flatten();
        pairs.filter_map(|pair| match pair {
            Ok((k, _)) if self.place(&k[2..]).is_some() => None,
            Ok((k, v)) => match written_at(&v, C::WRITTEN_AT) {
                Ok(written) if self.over(written) => None,
                Ok(_) => Some(Ok((k[2..].to_vec(), v))),
                Err(e) => Some(Err(e)),
            },
            Err(e) => Some(Err(e)),
        })
    }

    /// The stored values of a key group, with their keys in the store.
    fn stored_group(&self, group: u16, from: &[u8]) -> Pairs<'_> {
        let [high, low] = group.to_be_bytes();
        // Encoded keys begin with 0 or 1, or are empty.
        self.state.range(KeyRange { from: &[&[high, low], from].concat(), to: Some(&[high, low, 2]) })
    }

    /// What reads the operator's part of the store.
    pub fn store(&self) -> &StateHandle {
        &self.state
    }

    /// Gives `change` the value of a key to change, or to take away; it says whether it has. What has come to its time to live is not
    /// there any more. Keys that were prefetched need no look at the store.
    ///
    /// # Errors
    /// When the store fails or is damaged, or `change` fails.
    pub fn update(&mut self, key: &[u8], change: impl FnOnce(&mut Option<C::Value>) -> Result<bool>) -> Result<()> {
        let (now, hash) = (self.now, self.hasher.hash_one(key));
        let place = match self.find(hash, key) {
            Some(place) => place,
            None => {
                self.make_room();
                let place = self.insert_used(hash, key);
                if self.stored {
                    self.load(1, &[place])?;
                }
                place
            }
        };
        self.expire(place);
        self.uses += 1;
        let uses = self.uses;
        let slot = self.slot(place);
        let (was, was_dirty) = (self.size(place, slot), slot.dirty);
        let slot = self.slot_mut(place);
        if change(&mut slot.value)? {
            (slot.written, slot.dirty) = (now, true);
        }
        slot.used = uses;
        let slot = self.slot(place);
        let (is, is_dirty) = (self.size(place, slot), slot.dirty);
        self.account.note(was, is, was_dirty, is_dirty);
        Ok(())
    }

    /// The changes since the last epoch, which this ends.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn checkpoint(&mut self) -> Result<Changes> {
        self.now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        let mut changes = std::mem::take(&mut self.expired);
        self.sweep(&mut changes)?;
        let mut left = self.slots.iter().flatten().filter(|s| s.dirty).count();
        let codec = &mut self.codec;
        let mut without = 0;
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let (place, Some(slot)) = (place as u32, slot) else { continue };
            if slot.dirty {
                let group = codec.key_group(&slot.key).to_be_bytes();
                if let Some(v) = &mut slot.value {
                    let empty = codec.is_empty(place, v);
                    codec.parts(place, &slot.key, v, empty, &mut changes);
                    if empty {
                        self.account.bytes = self.account.bytes.saturating_sub(codec.bytes(place, v));
                        codec.forget(place);
                        slot.value = None;
                    }
                }
                match &slot.value {
                    Some(v) => {
                        changes.set_with(&[&group, &slot.key], |out| codec.encode(place, v, slot.written, out));
                    }
                    None => changes.remove(&[&group, &slot.key]),
                }
                slot.dirty = false;
                left -= 1;
                if changes.len() == SAMPLE {
                    changes.reserve(left);
                }
            }
            without += usize::from(slot.value.is_none());
        }
        for (key, entry) in self.entries.iter_mut().filter(|(_, e)| e.dirty) {
            match &entry.value {
                Some(v) => changes.set(key, v),
                None => changes.remove(&[key]),
            }
            (entry.dirty, entry.in_store) = (false, entry.value.is_some());
        }
        self.account.changed = 0;
        self.evict(without);
        self.uses_before = self.uses;
        if self.new_layout && !changes.is_empty() {
            changes.set(LAYOUT_KEY, &C::LAYOUT.to_be_bytes());
            self.new_layout = false;
        }
        self.metrics.state_writes.inc_by(changes.len() as u64);
        self.metrics.state_keys.set((self.index.len() + self.entries.len()) as i64);
        self.metrics.state_bytes.set(self.account.bytes as i64);
        Ok(changes)
    }

    /// Lets go of keys without a value, which the store knows; and, when memory is more than the cache should hold, of what this
    /// epoch did not touch; if that is not enough, of everything.
    fn evict(&mut self, without: usize) {
        let (full, before) = (self.account.bytes > self.cache_bytes, self.uses_before);
        if full || without > 0 || self.entries.values().any(|e| e.value.is_none()) {
            let stays = |there: bool, used: u64| there && (!full || used > before);
            self.keep(|s| stays(s.value.is_some(), s.used), |e| stays(e.value.is_some(), e.used));
        }
        if full && self.account.bytes > self.cache_bytes / 2 {
            self.drop_values();
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
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let (place, Some(slot)) = (place as u32, slot) else { continue };
            if let Some(value) = slot.value.take_if(|_| ttl.over(slot.written, now)).as_mut() {
                let is = Self::BASE + slot.key.heap();
                self.account.note(is + self.codec.bytes(place, value), is, slot.dirty, true);
                self.codec.parts(place, &slot.key, value, true, changes);
                self.codec.forget(place);
                slot.dirty = true;
            }
        }
        Ok(())
    }

    fn sweep_stored(&self, group: u16, changes: &mut Changes) -> Result<()> {
        let mut gone = BTreeSet::new();
        for pair in self.stored_group(group, &[]) {
            let (key, mut value) = pair?;
            // What is in memory is newer.
            if self.place(&key[2..]).is_some() {
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
