//! Keyed state: the state that a subtask of an operator has for each of its keys. All kinds of keyed state of an operator share one
//! cache, one set of uncommitted changes and one time to live.
//!
//! The *keyed value* is the one that most rows read and change. It has a type of the operator's own and is decoded in memory
//! ([`KeyedState::update`]); an epoch that has changed it encodes it when it ends. A key may also have [`ValueState`]s, [`MapState`]s,
//! [`ListState`]s, [`Timers`] and entries of [`TimeQueue`]s. These have keys of their own in the store, and are read one by one or as
//! ordered ranges.
//!
//! Changes stay in memory until the epoch ends. If the cache is then larger than the operator's share, entries that the epoch has not
//! used are evicted; if that is not enough, all are.

mod collections;
mod entries;
mod slab;
mod small_bytes;
mod time_queue;
mod timers;
mod ttl;

pub use collections::{ListState, MapState, ValueState};
pub use slab::Slab;
pub use small_bytes::SmallBytes;
pub use time_queue::{DueValue, TimeQueue};
pub use timers::{TimeDomain, Timers};
pub use ttl::TimeToLive;

use crate::graph::SubtaskContext;
use crate::key::{Keys, key_group};
use crate::metrics::SubtaskMetrics;
use crate::state::{Changes, ENGINE, KeyRange, KeyRanges, Pair, StateHandle};
use crate::{Error, Result};
use entries::{Stored, entry_size};
use hashbrown::HashTable;
use std::collections::{BTreeMap, BTreeSet};

/// How the keyed values of an operator are encoded. An encoded value contains the time of its last write, as eight bytes.
///
/// Each value in memory has a place: the index of its slot. A codec may keep values, or parts of them, in columns that are indexed by
/// place, so that those of a whole batch are changed together ([`KeyedState::change`]). It is told when a value is evicted.
pub trait Codec {
    /// A decoded value; `()` if all of it is in columns.
    type Value;
    /// The version of the encoding. State that was written with another one is refused.
    const LAYOUT: u32 = 1;
    /// The offset of the time of the last write in an encoded value.
    const WRITTEN_AT: usize = 0;
    /// The key group of a key: that of the whole key, unless a part of it decides which subtask it belongs to.
    fn key_group(&self, key: &[u8]) -> u16 {
        key_group(key)
    }
    /// Appends the encoded form of a value that was last written at `written`, in milliseconds since 1970.
    fn encode(&self, place: u32, value: &Self::Value, written: u64, out: &mut Vec<u8>);
    /// Decodes the value of a key. Parts that are stored under keys of their own are read from the store.
    ///
    /// # Errors
    /// If the bytes are not an encoded value, since the store is damaged then; if a part cannot be read.
    fn decode(&mut self, place: u32, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<Self::Value>;
    /// The time of the last write of a value that [`KeyedState::change`] changes `now`. A later time keeps the value longer: it expires when
    /// the time to live of the state has passed since then.
    fn written(&self, _place: u32, now: u64) -> u64 {
        now
    }
    /// Bytes of memory that a value takes besides `size_of::<Self::Value>()`.
    fn bytes(&self, place: u32, value: &Self::Value) -> usize;
    /// Whether a value is equivalent to no value, so that it is deleted at the end of the epoch.
    fn is_empty(&self, _place: u32, _value: &Self::Value) -> bool {
        false
    }
    /// Adds the changes of those parts of a value that have keys of their own in the store, and may drop them from memory. If the value is
    /// deleted (`goes`), all of its parts are.
    fn parts(&mut self, _place: u32, _key: &[u8], _value: &mut Self::Value, _goes: bool, _changes: &mut Changes) {}
    /// Deletes the parts of keys of a key group that have expired without being in memory.
    ///
    /// # Errors
    /// If the store fails.
    fn forget_parts(&self, _: u16, _: &BTreeSet<Vec<u8>>, _: &StateHandle, _: &mut Changes) -> Result<()> {
        Ok(())
    }
    /// Clears the columns at a place whose value was deleted or evicted.
    fn forget(&mut self, _place: u32) {}
    /// Clears the columns at all places.
    fn forget_all(&mut self) {}
}

/// For operators that have only collections and timers.
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

/// The first byte behind the key group in keys of values, maps and lists in the store; the number of the collection is added. Encoded
/// keys of columns begin with 0 or 1.
const COLLECTIONS: u8 = 0x40;
/// The same for timers.
const TIMERS: u8 = 0x60;
/// The same for time queues.
const QUEUES: u8 = 0x62;

/// The key of the version of the encoding. Its first two bytes are no key group.
const LAYOUT_KEY: &[u8] = b"\xff\xfflayout";

/// Entries of a range that are read at once.
const PAGE: usize = 1024;

/// Changes of an epoch after which the size of the remaining ones is estimated.
const SAMPLE: usize = 1024;

/// The value of a key in memory; none if the key is known to have none.
struct Slot<V> {
    key: SmallBytes,
    value: Option<V>,
    /// When the value was last written, in milliseconds since 1970; 0 without a time to live.
    written: u64,
    /// The number of the last use.
    used: u64,
    /// Whether the value differs from that in the store.
    dirty: bool,
    /// Whether the store has the key.
    stored: bool,
}

/// An entry of a collection in memory; its value is none if the store is known to have none.
struct Entry {
    value: Option<Vec<u8>>,
    used: u64,
    /// Whether the entry differs from that in the store.
    dirty: bool,
    /// Whether the store may have the key.
    stored: bool,
}

/// The distinct keys of a batch, and the places of their values. Valid until keys are looked up again or the epoch ends.
#[derive(Debug, Default)]
pub struct BatchKeys {
    /// For each row, the index of its key among the distinct keys.
    pub numbers: Vec<u32>,
    /// For each distinct key, the place of its value.
    pub places: Vec<u32>,
    /// For each distinct key, its first row.
    pub first: Vec<u32>,
}

impl BatchKeys {
    /// The number of places that the codec's columns must have for these keys.
    pub fn room(&self) -> usize {
        self.places.iter().max().map_or(0, |most| *most as usize + 1)
    }
}

/// How a value that is kept in columns was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    /// Whether the key has a value.
    pub there: bool,
    /// Whether the value was changed, added or deleted.
    pub changed: bool,
}

/// Bytes of memory, and those of dirty values and entries among them.
#[derive(Default)]
struct Account {
    bytes: usize,
    changed: usize,
}

impl Account {
    /// Notes that the size of a slot has changed from `was` to `is` bytes.
    fn note(&mut self, was: usize, is: usize, was_dirty: bool, is_dirty: bool) {
        self.bytes = (self.bytes + is).saturating_sub(was);
        self.changed = (self.changed + if is_dirty { is } else { 0 }).saturating_sub(if was_dirty { was } else { 0 });
    }
}

/// The keyed state of a subtask.
pub struct KeyedState<C: Codec> {
    codec: C,
    state: StateHandle,
    metrics: SubtaskMetrics,
    cache_bytes: usize,
    /// The places of values by key.
    index: HashTable<u32>,
    hasher: ahash::RandomState,
    slots: Slab<Option<Slot<C::Value>>>,
    /// Places without a value.
    free: Vec<u32>,
    /// Entries of collections and timers by their keys in the store.
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Ranges of the store that this epoch deletes. Entries in memory are newer.
    removed: KeyRanges,
    account: Account,
    /// The number of the last use of a value, and of the last use before this epoch.
    uses: u64,
    uses_before: u64,
    /// Whether the store may have keys that are not in memory.
    stored: bool,
    /// How often values were evicted.
    evictions: u64,
    /// Whether the version of the encoding has to be written.
    new_layout: bool,
    ttl: Option<TimeToLive>,
    /// The times to live of collections in milliseconds, by their markers, if they have others; 0: unlimited.
    collections_ttl: BTreeMap<u8, u64>,
    /// The time of the last prefetch or checkpoint, in milliseconds since 1970; 0 without a time to live.
    now: u64,
    /// Deletions of parts of values that have expired in this epoch.
    expired: Changes,
}

/// The time of the last write in an encoded value, at an offset.
fn written_at(bytes: &[u8], at: usize) -> Result<u64> {
    let time = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    time.map(|t| u64::from_be_bytes(*t)).ok_or_else(|| Error::state("a value in the state is cut short"))
}

impl<C: Codec> KeyedState<C> {
    /// The state of a subtask. Keys expire `ttl_millis` milliseconds after their last write; 0: never.
    ///
    /// # Errors
    /// If the store fails, or its state has another version of the encoding.
    pub fn open(codec: C, context: &SubtaskContext, ttl_millis: u64) -> Result<KeyedState<C>> {
        let state = context.state.clone();
        let stored = state.last_epoch().0 > 0;
        let known = match state.get_many(&[LAYOUT_KEY])?.pop().flatten() {
            Some(bytes) => bytes.try_into().map(u32::from_be_bytes).unwrap_or_default(),
            // The first version was not written.
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
            removed: KeyRanges::default(),
            account: Account::default(),
            uses: 0,
            uses_before: 0,
            stored,
            evictions: 0,
            new_layout: C::LAYOUT > 1,
            now: ttl.as_ref().map_or(0, TimeToLive::now),
            ttl,
            collections_ttl: BTreeMap::new(),
            expired: Changes::default(),
        })
    }

    /// Gives the entries of a collection a time to live of their own, in milliseconds; 0 = unlimited. It has no effect if the state itself has
    /// none.
    pub fn expire_entries_after(&mut self, of: MapState, ttl_millis: u64) {
        self.collections_ttl.insert(of.marker(), ttl_millis);
    }

    /// The time of the last look-up of a batch's keys or checkpoint, in milliseconds since 1970; 0 without a time to live.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whether keys expire.
    pub fn forgets(&self) -> bool {
        self.ttl.is_some()
    }

    /// Whether the store may have keys that are not in memory, so that larger batches make lookups cheaper.
    pub fn reads_store(&self) -> bool {
        self.stored
    }

    /// How many rows are best processed together; 0 if that does not matter. Keys that are looked up together share the leaves of the
    /// store.
    pub fn preferred_rows(&self) -> usize {
        if self.stored { 1 << 15 } else { 0 }
    }

    /// How often values were evicted. As long as the number is the same, no value has moved from memory to the store alone.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Whether uncommitted changes take more memory than the cache may, so that an epoch should end.
    pub fn wants_epoch(&self) -> bool {
        self.account.changed + self.removed.bytes() > self.cache_bytes
    }

    fn over(&self, written: u64) -> bool {
        self.ttl.as_ref().is_some_and(|ttl| ttl.over(written, self.now))
    }

    /// Whether an entry of a collection has expired, given its key in the store.
    fn entry_over(&self, key: &[u8], written: u64) -> bool {
        match key.get(2).and_then(|marker| self.collections_ttl.get(marker)) {
            Some(millis) => self.ttl.is_some() && TimeToLive::over_after(*millis, written, self.now),
            None => self.over(written),
        }
    }

    /// Loads the values of keys into memory. Those that are missing are looked up together, in key order. Operators call this once per
    /// batch, without keys if need be, since it also reads the clock that decides which keys have expired.
    ///
    /// # Errors
    /// If the store fails or is damaged.
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

    /// Like [`KeyedState::prefetch`], for values that are changed together with [`KeyedState::change`]. Gives the places of the values of
    /// a batch's keys; a key without a value has a place as well.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn places(&mut self, keys: &Keys) -> Result<BatchKeys> {
        self.now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        self.make_room();
        let mut found = BatchKeys { numbers: Vec::with_capacity(keys.len()), ..BatchKeys::default() };
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

    /// The key of the value at a place, if there is one.
    pub fn key_at(&self, place: u32) -> Option<&[u8]> {
        let slot = (0..self.slots.len()).contains(&(place as usize)).then(|| self.slots[place as usize].as_ref())??;
        slot.value.is_some().then_some(&*slot.key)
    }

    /// The codec with its columns.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// Calls `change` to change the values at these places in the codec's columns; no place may occur twice. For each place, a
    /// [`Touched`] says whether the key has a value; `change` updates it.
    ///
    /// # Errors
    /// If `change` fails. Its changes are not undone.
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
        let mut is = Account::default();
        for (place, touched) in places.iter().zip(touched) {
            if touched.changed {
                let written = self.codec.written(*place, self.now);
                let slot = self.slot_mut(*place);
                slot.value = touched.there.then(C::Value::default);
                (slot.written, slot.dirty) = (written, true);
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

    /// The key of the value at a place, as it is in the store.
    fn stored_key(&self, place: u32) -> Vec<u8> {
        let key = &self.slot(place).key;
        [&self.codec.key_group(key).to_be_bytes()[..], key].concat()
    }

    /// Bytes of memory that a key and its value take, estimated.
    fn size(&self, place: u32, slot: &Slot<C::Value>) -> usize {
        let value = slot.value.as_ref().map_or(0, |v| self.codec.bytes(place, v));
        Self::BASE + slot.key.heap() + value
    }

    /// Bytes of a slot and, estimated, of its entry in the index.
    const BASE: usize = size_of::<Option<Slot<C::Value>>>() + 8;

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |place| *self.slot(*place).key == *key).copied()
    }

    fn place(&self, key: &[u8]) -> Option<u32> {
        self.find(self.hasher.hash_one(key), key)
    }

    /// Adds a place without a value for a key that has none.
    fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = Slot { key: SmallBytes::from(key), value: None, written: 0, used: 0, dirty: false, stored: false };
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

    /// The same, and counts a use.
    fn insert_used(&mut self, hash: u64, key: &[u8]) -> u32 {
        let place = self.insert(hash, key);
        self.uses += 1;
        self.slot_mut(place).used = self.uses;
        place
    }

    /// Loads the values of places that were added for keys that are not in memory, together and in key order.
    fn load(&mut self, asked: usize, missing: &[u32]) -> Result<()> {
        let read = if self.stored { missing } else { &[] };
        self.metrics.state_reads.inc_by(read.len() as u64);
        self.metrics.state_hits.inc_by(asked.saturating_sub(read.len()) as u64);
        if read.is_empty() {
            return Ok(());
        }
        let keys = read.iter().map(|p| (self.stored_key(*p), *p));
        let mut keys: Vec<(Vec<u8>, u32)> = keys.filter(|(key, _)| !self.removed.contains(key)).collect();
        keys.sort_unstable();
        let refs: Vec<&[u8]> = keys.iter().map(|(key, _)| key.as_slice()).collect();
        let found = self.state.get_many(&refs)?;
        for ((key, place), found) in keys.iter().zip(found) {
            let Some(bytes) = found else { continue };
            let value = self.codec.decode(*place, &key[2..], &bytes, &self.state)?;
            self.account.bytes += self.codec.bytes(*place, &value);
            let slot = self.slot_mut(*place);
            (slot.value, slot.written, slot.stored) = (Some(value), written_at(&bytes, C::WRITTEN_AT)?, true);
        }
        Ok(())
    }

    /// Deletes a value if it has expired.
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

    /// Evicts what is not dirty, if that alone takes more memory than the cache may.
    fn make_room(&mut self) {
        if self.account.bytes.saturating_sub(self.account.changed) > self.cache_bytes {
            self.keep(|s| s.dirty, |e| e.dirty);
            self.stored = true;
        }
    }

    /// Evicts the values and entries that the arguments do not select.
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

    /// Frees the memory of all values.
    fn drop_values(&mut self) {
        self.evictions += 1;
        self.index = HashTable::new();
        self.slots.clear();
        self.free = vec![];
        self.codec.forget_all();
    }

    /// The value of a key; none if it has expired.
    ///
    /// # Errors
    /// If the store fails or is damaged.
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

    /// All values in memory that have not expired, with their keys and places.
    pub fn all_cached(&self) -> impl Iterator<Item = (&[u8], u32, &C::Value)> {
        let there = self.slots.iter().enumerate().filter_map(|(place, slot)| Some((place, slot.as_ref()?)));
        let there = there.filter(|(_, s)| !self.over(s.written));
        there.filter_map(|(place, s)| Some((&*s.key, place as u32, s.value.as_ref()?)))
    }

    /// The keys of a key group, from one on, whose values are in the store but not in memory, in order, with their encoded values. The
    /// iterator ends with an error if the store fails or is damaged.
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

    /// The encoded values of a key group in the store, with their keys in the store.
    fn stored_group(&self, group: u16, from: &[u8]) -> Stored<'_> {
        let [high, low] = group.to_be_bytes();
        // Encoded keys begin with 0 or 1, or are empty.
        self.stored_range(&[&[high, low], from].concat(), Some(&[high, low, 2]))
    }

    /// Deletes the values of a key group whose keys are at least `from` and less than `to` from the store, as one range. The caller has
    /// deleted those in memory with [`KeyedState::update`] or [`KeyedState::change`].
    pub fn remove_stored(&mut self, group: u16, from: &[u8], to: &[u8]) {
        if self.stored || self.uses_before > 0 {
            let group = group.to_be_bytes();
            self.removed.insert(&[&group, from].concat(), &[&group, to].concat());
        }
    }

    /// The operator's view of the store.
    pub fn store(&self) -> &StateHandle {
        &self.state
    }

    /// Calls `change` with the value of a key, none if it has none or has expired. `change` may set, change or delete the value, and
    /// returns whether it has. Keys that were prefetched are not looked up in the store.
    ///
    /// # Errors
    /// If the store fails or is damaged, or `change` fails.
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

    /// Ends the epoch: gives its changes, and evicts what does not fit into the cache.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn checkpoint(&mut self) -> Result<Changes> {
        self.now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        let mut changes = std::mem::take(&mut self.expired);
        self.sweep(&mut changes)?;
        let removed = std::mem::take(&mut self.removed);
        let mut left = self.slots.iter().flatten().filter(|s| s.dirty).count();
        let codec = &mut self.codec;
        let mut without = 0;
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let (place, Some(slot)) = (place as u32, slot) else { continue };
            if slot.dirty {
                let group = codec.key_group(&slot.key).to_be_bytes();
                if let Some(v) = &mut slot.value {
                    let (empty, was) = (codec.is_empty(place, v), codec.bytes(place, v));
                    codec.parts(place, &slot.key, v, empty, &mut changes);
                    self.account.bytes = (self.account.bytes + codec.bytes(place, v)).saturating_sub(was);
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
                    None if slot.stored && !removed.contains(&[&group[..], &slot.key].concat()) => {
                        changes.remove(&[&group, &slot.key]);
                    }
                    None => {}
                }
                (slot.dirty, slot.stored) = (false, slot.value.is_some());
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
                None if entry.stored && !removed.contains(key) => changes.remove(&[key]),
                None => {}
            }
            (entry.dirty, entry.stored) = (false, entry.value.is_some());
        }
        removed.iter().for_each(|(from, to)| changes.remove_range(from, to));
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

    /// Evicts keys without a value. If the rest takes more memory than the cache may, evicts what this epoch has not used; if that is not
    /// enough, everything.
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

    /// Deletes what has expired: all such values in memory, and in the store and among entries those of the key groups whose turn it is.
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
            // The value in memory is newer.
            if self.place(&key[2..]).is_some() {
                continue;
            }
            match written_at(&value, C::WRITTEN_AT)? {
                // Written when the job had no time to live, which begins now.
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
