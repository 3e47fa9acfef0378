//! Collections: further values, maps and lists of a key. The key of an entry in the store consists of the key group, the number of the
//! collection, the length of the key, the key, and the entry's own key. An entry's value follows the time of its last write.

use super::entries::FEW;
use super::{COLLECTIONS, Codec, KeyedState, TIMERS, written_at};
use crate::Result;
use crate::key::key_group;
use crate::state::{Pair, behind};

/// The byte that marks the keys of a collection in the store; each collection of an operator has one of its own.
const fn marker(number: u8) -> u8 {
    assert!(number < TIMERS - COLLECTIONS, "an operator has at most 32 collections");
    COLLECTIONS + number
}

fn prefix(marker: u8, key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], &[marker], &(key.len() as u32).to_be_bytes(), key].concat()
}

fn full(marker: u8, key: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut full = prefix(marker, key);
    full.extend_from_slice(entry);
    full
}

impl<C: Codec> KeyedState<C> {
    /// The value in an entry, given its key in the store; none if it has expired.
    fn timed<'a>(&self, key: &[u8], entry: &'a [u8]) -> Result<Option<&'a [u8]>> {
        let written = written_at(entry, 0)?;
        Ok((!self.entry_over(key, written)).then_some(&entry[8..]))
    }

    fn get_timed(&mut self, full: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(full)?.map(<[u8]>::to_vec) else { return Ok(None) };
        Ok(self.timed(full, &entry)?.map(<[u8]>::to_vec))
    }

    fn put_timed(&mut self, full: Vec<u8>, value: &[u8]) {
        let entry = [&self.now.to_be_bytes()[..], value].concat();
        self.put_entry(full, Some(entry));
    }

    fn clear(&mut self, prefix: &[u8]) {
        self.remove_range(prefix, &end_of(prefix));
    }

    /// Removes the first entries of a range. Each that has not expired is passed to `wants`, which returns whether to go on.
    fn take_entries(&mut self, from: &[u8], to: &[u8], mut wants: impl FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let (mut few, mut last) = (vec![], None);
        for pair in self.entry_range(from, Some(to)) {
            let (key, entry) = pair?;
            let more = self.timed(&key, &entry)?.is_none_or(|value| wants(&key, value));
            if few.len() <= FEW {
                few.push(key.clone());
            }
            if !more {
                last = Some(key);
                break;
            }
        }
        if few.len() <= FEW {
            few.into_iter().for_each(|key| self.put_entry(key, None));
        } else {
            let behind_last = last.map(|key| [&key[..], &[0]].concat());
            self.remove_range(from, behind_last.as_deref().unwrap_or(to));
        }
        Ok(())
    }
}

/// The first key behind all keys with a prefix that begins with a key group.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    behind(prefix).unwrap_or_else(|| panic!("there is no key group {:?}", prefix.first_chunk::<2>()))
}

/// A further value of each key, as bytes.
#[derive(Debug, Clone, Copy)]
pub struct ValueState(u8);

impl ValueState {
    /// The collection with this number, which is below 32. No other collection of the operator has the same.
    ///
    /// # Panics
    /// If the number is 32 or more.
    pub const fn new(number: u8) -> ValueState {
        ValueState(marker(number))
    }
    /// The value of a key; none if it has expired.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn get<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        state.get_timed(&prefix(self.0, key))
    }
    /// Sets the value of a key.
    pub fn put<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], value: &[u8]) {
        state.put_timed(prefix(self.0, key), value);
    }
    /// Deletes the value of a key.
    pub fn remove<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) {
        state.put_entry(prefix(self.0, key), None);
    }
}

/// An ordered map of each key, from bytes to bytes. Entries expire one by one.
///
/// # Examples
/// ```
/// # use std::sync::Arc;
/// # use weir_core::{clock::SystemClock, graph::{JobIdentity, SubtaskContext}, memory_store::MemoryStore, metrics::Metrics};
/// # use weir_core::state::{StateBackend, StateHandle};
/// use weir_core::keyed::{KeyedState, MapState, TimeDomain, Timers};
/// # let store = Arc::new(MemoryStore::default());
/// # let context = SubtaskContext {
/// #     node: "example".to_string(), subtask: 0, parallelism: 1,
/// #     job: JobIdentity { id: String::new(), run: String::new() },
/// #     state: StateHandle { operator: store.operator("example")?, reader: store.clone() },
/// #     resumes_at: weir_core::event_time::Watermark::NONE, cache_bytes: 1 << 20, batch_rows: 8192,
/// #     metrics: Metrics::new()?.subtask("example", 0), clock: Arc::new(SystemClock),
/// # };
///
/// // Each key has its own entries.
/// const PRICES: MapState = MapState::new(0);
/// let mut state: KeyedState<()> = KeyedState::open((), &context, 0)?;
/// let mut timers = Timers::new(TimeDomain::Event, &context);
///
/// PRICES.put(&mut state, b"shop", b"pear", b"3");
/// PRICES.put(&mut state, b"shop", b"apple", b"2");
/// PRICES.put(&mut state, b"market", b"fig", b"9");
/// let of_shop: Vec<_> = PRICES.range(&state, b"shop", b"", None).collect::<weir_core::Result<_>>()?;
/// assert_eq!(of_shop, [(b"apple".to_vec(), b"2".to_vec()), (b"pear".to_vec(), b"3".to_vec())]);
///
/// timers.set(&mut state, 1000, b"shop");
/// assert_eq!(timers.due(&mut state, 999, 10)?, []);
/// assert_eq!(timers.due(&mut state, 1000, 10)?, [(1000, b"shop".to_vec())]);
/// # Ok::<(), weir_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MapState(u8);

impl MapState {
    /// The collection with this number, which is below 32. No other collection of the operator has the same.
    ///
    /// # Panics
    /// If the number is 32 or more.
    pub const fn new(number: u8) -> MapState {
        MapState(marker(number))
    }
    pub(super) fn marker(self) -> u8 {
        self.0
    }
    /// Loads entries into memory, given by their key and their own key. They are looked up together.
    ///
    /// # Errors
    /// If the store fails.
    pub fn prefetch<'k, C: Codec>(
        self,
        state: &mut KeyedState<C>,
        entries: impl Iterator<Item = (&'k [u8], &'k [u8])>,
    ) -> Result<()> {
        state.load_entries(entries.map(|(key, entry)| full(self.0, key, entry)).collect())
    }
    /// The value of an entry of a key; none if it has expired.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn get<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], entry: &[u8]) -> Result<Option<Vec<u8>>> {
        state.get_timed(&full(self.0, key, entry))
    }
    /// Sets an entry of a key.
    pub fn put<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], entry: &[u8], value: &[u8]) {
        state.put_timed(full(self.0, key, entry), value);
    }
    /// Deletes an entry of a key.
    pub fn remove<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], entry: &[u8]) {
        state.put_entry(full(self.0, key, entry), None);
    }
    /// The entries of a key that are at least `from` and less than `to`, in order, with their values; without `to`, up to the last. The
    /// iterator ends with an error if the store fails or is damaged.
    pub fn range<'a, C: Codec>(
        self,
        state: &'a KeyedState<C>,
        key: &[u8],
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<Pair>> + use<'a, C> {
        let begin = prefix(self.0, key);
        let to = to.map_or_else(|| end_of(&begin), |to| full(self.0, key, to));
        let skip = begin.len();
        let entries = state.entry_range(&full(self.0, key, from), Some(&to));
        entries.filter_map(move |pair| {
            let value = pair.and_then(|(k, v)| Ok(state.timed(&k, &v)?.map(|v| (k[skip..].to_vec(), v.to_vec()))));
            value.transpose()
        })
    }
    /// Reads the first entries of a range as [`MapState::range`] does, and deletes them: `limit` of them, which is at least 1, or all that
    /// there are.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn take<C: Codec>(
        self,
        state: &mut KeyedState<C>,
        key: &[u8],
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>> {
        let begin = prefix(self.0, key);
        let to = to.map_or_else(|| end_of(&begin), |to| full(self.0, key, to));
        let mut taken = vec![];
        state.take_entries(&full(self.0, key, from), &to, |entry, value| {
            taken.push((entry[begin.len()..].to_vec(), value.to_vec()));
            taken.len() < limit
        })?;
        Ok(taken)
    }
    /// Deletes the entries of a key that are at least `from` and less than `to`, without reading them.
    pub fn remove_range<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], from: &[u8], to: &[u8]) {
        state.remove_range(&full(self.0, key, from), &full(self.0, key, to));
    }
    /// Deletes all entries of a key, without reading them.
    pub fn clear<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) {
        state.clear(&prefix(self.0, key));
    }
}

/// A list of each key. The entry with an empty key has the number of the next element; elements expire one by one.
#[derive(Debug, Clone, Copy)]
pub struct ListState(u8);

impl ListState {
    /// The collection with this number, which is below 32. No other collection of the operator has the same.
    ///
    /// # Panics
    /// If the number is 32 or more.
    pub const fn new(number: u8) -> ListState {
        ListState(marker(number))
    }
    /// Appends an element.
    ///
    /// # Errors
    /// If the store fails or is damaged.
    pub fn push<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], value: &[u8]) -> Result<()> {
        let head = prefix(self.0, key);
        let next = state.get_timed(&head)?;
        // If this entry has expired, so have all elements: it is written last.
        let next = next.map_or(Ok(0), |bytes| written_at(&bytes, 0))?;
        state.put_timed(full(self.0, key, &next.to_be_bytes()), value);
        state.put_timed(head, &(next + 1).to_be_bytes());
        Ok(())
    }
    /// The elements of a key in order, each with a number by which it can be deleted. The iterator ends with an error if the store fails or
    /// is damaged.
    pub fn iter<'a, C: Codec>(
        self,
        state: &'a KeyedState<C>,
        key: &[u8],
    ) -> impl Iterator<Item = Result<(u64, Vec<u8>)>> + use<'a, C> {
        // The entry with the next number is in front of all elements.
        let elements = MapState(self.0).range(state, key, &[0], None);
        elements.map(|pair| pair.and_then(|(k, v)| Ok((written_at(&k, 0)?, v))))
    }
    /// Deletes an element of a key.
    pub fn remove<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], number: u64) {
        state.put_entry(full(self.0, key, &number.to_be_bytes()), None);
    }
    /// Deletes all elements of a key, without reading them.
    pub fn clear<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) {
        state.clear(&prefix(self.0, key));
    }
}
