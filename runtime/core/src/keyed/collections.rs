//! What a key may keep beside its value: values, maps and lists with a number, whose entries have keys of their own in the store: key
//! group, number, the key's length, the key, the entry. An entry's value is behind the time of its last write.

use super::{COLLECTIONS, Codec, KeyedState, PAGE, TIMERS, written_at};
use crate::Result;
use crate::key::key_group;
use crate::state::{Pair, behind};

/// The byte for a number; each collection of an operator has one of its own.
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
    /// The value in an entry; none after its time to live.
    fn timed<'a>(&self, entry: &'a [u8]) -> Result<Option<&'a [u8]>> {
        let written = written_at(entry, 0)?;
        Ok((!self.over(written)).then_some(&entry[8..]))
    }

    fn get_timed(&mut self, full: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(full)?.map(<[u8]>::to_vec) else { return Ok(None) };
        Ok(self.timed(&entry)?.map(<[u8]>::to_vec))
    }

    fn put_timed(&mut self, full: Vec<u8>, value: &[u8]) {
        let entry = [&self.now.to_be_bytes()[..], value].concat();
        self.put_entry(full, Some(entry));
    }

    /// Takes away all entries that begin so, a page at a time.
    fn clear(&mut self, prefix: &[u8]) -> Result<()> {
        let to = behind(prefix);
        let mut from = prefix.to_vec();
        loop {
            let page = self.entry_range(&from, to.as_deref()).take(PAGE).map(|pair| pair.map(|(k, _)| k));
            let page: Vec<Vec<u8>> = page.collect::<Result<_>>()?;
            let Some(last) = page.last() else { return Ok(()) };
            from = [last, &[0][..]].concat();
            page.into_iter().for_each(|key| self.put_entry(key, None));
        }
    }
}

/// One more value of each key.
#[derive(Debug, Clone, Copy)]
pub struct ValueState(u8);

impl ValueState {
    /// The collection of a number below 32, which no other one of the operator has.
    ///
    /// # Panics
    /// When the number is larger.
    pub const fn new(number: u8) -> ValueState {
        ValueState(marker(number))
    }
    /// The value of a key.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn get<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        state.get_timed(&prefix(self.0, key))
    }
    /// Gives a key a value.
    pub fn put<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], value: &[u8]) {
        state.put_timed(prefix(self.0, key), value);
    }
    /// Takes the value of a key away.
    pub fn remove<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) {
        state.put_entry(prefix(self.0, key), None);
    }
}

/// An ordered map of each key.
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
/// // What an operator has, of which each key has its own entries.
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
    /// The collection of a number below 32, which no other one of the operator has.
    ///
    /// # Panics
    /// When the number is larger.
    pub const fn new(number: u8) -> MapState {
        MapState(marker(number))
    }
    /// Brings entries of some keys into memory, looked up together.
    ///
    /// # Errors
    /// When the store fails.
    pub fn prefetch<'k, C: Codec>(
        self,
        state: &mut KeyedState<C>,
        entries: impl Iterator<Item = (&'k [u8], &'k [u8])>,
    ) -> Result<()> {
        state.load_entries(entries.map(|(key, entry)| full(self.0, key, entry)).collect())
    }
    /// An entry of a key.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn get<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], entry: &[u8]) -> Result<Option<Vec<u8>>> {
        state.get_timed(&full(self.0, key, entry))
    }
    /// Gives an entry of a key a value.
    pub fn put<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], entry: &[u8], value: &[u8]) {
        state.put_timed(full(self.0, key, entry), value);
    }
    /// Takes an entry of a key away.
    pub fn remove<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], entry: &[u8]) {
        state.put_entry(full(self.0, key, entry), None);
    }
    /// The entries of a key from one on, up to another or to the last, in order, with their values. Errors are those of the store.
    pub fn range<'a, C: Codec>(
        self,
        state: &'a KeyedState<C>,
        key: &[u8],
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<Pair>> + use<'a, C> {
        let begin = prefix(self.0, key);
        let to = to.map_or_else(|| behind(&begin), |to| Some(full(self.0, key, to)));
        let skip = begin.len();
        let entries = state.entry_range(&full(self.0, key, from), to.as_deref());
        entries.filter_map(move |pair| {
            let value = pair.and_then(|(k, v)| Ok(state.timed(&v)?.map(|v| (k[skip..].to_vec(), v.to_vec()))));
            value.transpose()
        })
    }
    /// Takes all entries of a key away.
    ///
    /// # Errors
    /// When the store fails.
    pub fn clear<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) -> Result<()> {
        state.clear(&prefix(self.0, key))
    }
}

/// A list of each key, which grows at its end. The entry without a name has the number of the next element.
#[derive(Debug, Clone, Copy)]
pub struct ListState(u8);

impl ListState {
    /// The collection of a number below 32, which no other one of the operator has.
    ///
    /// # Panics
    /// When the number is larger.
    pub const fn new(number: u8) -> ListState {
        ListState(marker(number))
    }
    /// Puts an element behind the others of a key.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn push<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], value: &[u8]) -> Result<()> {
        let head = prefix(self.0, key);
        let next = state.get_timed(&head)?;
        // With the last write of the list all elements have come to their time to live.
        let next = next.map_or(Ok(0), |bytes| written_at(&bytes, 0))?;
        state.put_timed(full(self.0, key, &next.to_be_bytes()), value);
        state.put_timed(head, &(next + 1).to_be_bytes());
        Ok(())
    }
    /// The elements of a key in their order, each with a number by which it can be removed. Errors are those of the store.
    pub fn iter<'a, C: Codec>(
        self,
        state: &'a KeyedState<C>,
        key: &[u8],
    ) -> impl Iterator<Item = Result<(u64, Vec<u8>)>> + use<'a, C> {
        // The head is in front of all numbers.
        let elements = MapState(self.0).range(state, key, &[0], None);
        elements.map(|pair| pair.and_then(|(k, v)| Ok((written_at(&k, 0)?, v))))
    }
    /// Takes an element of a key away.
    pub fn remove<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8], number: u64) {
        state.put_entry(full(self.0, key, &number.to_be_bytes()), None);
    }
    /// Takes all elements of a key away.
    ///
    /// # Errors
    /// When the store fails.
    pub fn clear<C: Codec>(self, state: &mut KeyedState<C>, key: &[u8]) -> Result<()> {
        state.clear(&prefix(self.0, key))
    }
}
