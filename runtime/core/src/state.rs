//! The interface of the state store: what operators read of it, and how the engine changes it epoch by epoch.

pub use crate::key_ranges::{KeyRange, KeyRanges, behind};
use crate::{Result, varint};
use std::sync::Arc;

/// The number of an operator in the catalogue of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorId(pub u32);

/// The number of an epoch, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Epoch(pub u64);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The prefix of the engine's own keys in the state of an operator: a key group that no key of an operator is in.
pub const ENGINE: [u8; 2] = [0xFF, 0xFF];

/// The changes that a subtask makes to its keys in an epoch: new values, deletions of keys, and deletions of ranges of keys. A key
/// begins with two bytes of key group.
///
/// Deletions of ranges come first, whatever the order in which changes are noted: they delete what earlier epochs have written. Of
/// several changes of one key the last one counts.
///
/// # Examples
/// ```
/// use weir_core::memory_store::MemoryStore;
/// use weir_core::state::{Changes, Epoch, KeyRange, StateBackend, StateReader};
///
/// let store = MemoryStore::default();
/// let counts = store.operator("counts")?;
/// let mut changes = Changes::default();
/// changes.set(b"a", b"1");
/// changes.set(b"b", b"1");
/// store.stage(counts, Epoch(1), changes);
/// let mut changes = Changes::default();
/// changes.set(b"a", b"2");
/// changes.remove_range(b"a", b"z");
/// store.stage(counts, Epoch(2), changes);
/// assert_eq!(store.get_many(counts, &[b"a", b"b"])?, [Some(b"2".to_vec()), None]);
/// # Ok::<(), weir_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Changes of single keys, one behind another.
    bytes: Vec<u8>,
    starts: Vec<Start>,
    removed: KeyRanges,
}

/// The offset of a change. There may be millions of changes, so it has five bytes, which are enough for a terabyte.
type Start = [u8; 5];

fn start(at: usize) -> Start {
    let [_, _, _, rest @ ..] = (at as u64).to_be_bytes();
    rest
}

fn place([a, b, c, d, e]: Start) -> usize {
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) as usize
}

/// Marks a deleted key in the place of the length of its value; lengths are stored plus one.
const GONE: u64 = 0;

/// A key and its new value; none if it is deleted.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// The first of packed changes, and the bytes of the others.
fn split(mut bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let length = varint::take(&mut bytes)?;
    let (key, mut rest) = bytes.split_at_checked(length as usize)?;
    match varint::take(&mut rest)? {
        GONE => Some(((key, None), rest)),
        n => rest.split_at_checked((n - 1) as usize).map(|(value, rest)| ((key, Some(value)), rest)),
    }
}

impl Changes {
    /// Sets a key, given in parts, to the bytes that `value` appends.
    pub fn set_with(&mut self, key: &[&[u8]], value: impl FnOnce(&mut Vec<u8>)) {
        self.begin(key);
        let at = self.bytes.len();
        // Most lengths fit one byte.
        self.bytes.push(0);
        value(&mut self.bytes);
        let length = (self.bytes.len() - at) as u64;
        if length < 0x80 {
            self.bytes[at] = length as u8;
        } else {
            let mut long = vec![];
            varint::put(&mut long, length);
            self.bytes.splice(at..=at, long);
        }
    }
    /// Sets a key.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        self.begin(&[key]);
        varint::put(&mut self.bytes, value.len() as u64 + 1);
        self.bytes.extend_from_slice(value);
    }
    /// Deletes a key, given in parts.
    pub fn remove(&mut self, key: &[&[u8]]) {
        self.begin(key);
        varint::put(&mut self.bytes, GONE);
    }
    /// Deletes the keys that are at least `from` and less than `to`, as far as earlier epochs have written them. The range is within the
    /// key groups of the subtask.
    pub fn remove_range(&mut self, from: &[u8], to: &[u8]) {
        self.removed.insert(from, to);
    }
    /// The ranges of keys that are deleted.
    pub fn removed(&self) -> &KeyRanges {
        &self.removed
    }
    fn begin(&mut self, key: &[&[u8]]) {
        self.starts.push(start(self.bytes.len()));
        varint::put(&mut self.bytes, key.iter().map(|k| k.len() as u64).sum());
        key.iter().for_each(|k| self.bytes.extend_from_slice(k));
    }
    /// Reserves memory for `more` changes of the average size so far.
    pub fn reserve(&mut self, more: usize) {
        self.bytes.reserve((self.bytes.len() / self.len().max(1) + 4) * more);
        self.starts.reserve(more);
    }
    /// The number of changes of single keys.
    pub fn len(&self) -> usize {
        self.starts.len()
    }
    /// Whether there are no changes, neither of keys nor of ranges.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.removed.is_empty()
    }
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + size_of::<Start>() * self.starts.len() + self.removed.bytes()
    }
    /// The key of a change and its new value, none if it is deleted; an empty key behind the last change.
    pub fn get(&self, at: usize) -> (&[u8], Option<&[u8]>) {
        let start = self.starts.get(at).map_or(self.bytes.len(), |at| place(*at));
        split(&self.bytes[start..]).map_or((&[], None), |(entry, _)| entry)
    }
    /// The changes of single keys, in the order in which they were noted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        (0..self.len()).map(|i| self.get(i))
    }
    /// The changes of single keys as they are in files: length and bytes of the key, then 0 for a deleted key, or one more than the length
    /// of the value, and its bytes. Numbers are [`varint`]s.
    pub fn packed(&self) -> &[u8] {
        &self.bytes
    }
    /// Changes of the form that [`Changes::packed`] gives, and of ranges; none if it is not one.
    pub fn unpack(bytes: Vec<u8>, removed: KeyRanges) -> Option<Changes> {
        let (mut starts, mut rest) = (vec![], bytes.as_slice());
        while !rest.is_empty() {
            starts.push(start(bytes.len() - rest.len()));
            rest = split(rest)?.1;
        }
        Some(Changes { bytes, starts, removed })
    }
    /// Appends later changes of the same epoch.
    pub fn extend(&mut self, other: &Changes) {
        if self.iter().any(|(key, _)| other.removed.contains(key)) {
            let mut left = Changes { removed: std::mem::take(&mut self.removed), ..Changes::default() };
            for (key, value) in self.iter().filter(|(key, _)| !other.removed.contains(key)) {
                match value {
                    Some(value) => left.set(key, value),
                    None => left.remove(&[key]),
                }
            }
            *self = left;
        }
        self.removed.extend(&other.removed);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.starts.extend(other.starts.iter().map(|s| start(place(*s) + at)));
    }
}

/// Reads state as of the last changes that were staged. Shared by all subtasks.
pub trait StateReader: Send + Sync {
    /// The values of keys, in the order of the keys. Sorted keys are read fastest.
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;
    /// The first `limit` keys of a range in order, with their values; fewer only if the range has no more.
    fn range(&self, operator: OperatorId, range: KeyRange<'_>, limit: usize) -> Result<Vec<Pair>>;
    /// The last durable epoch; 0 before the first.
    fn last_epoch(&self) -> Epoch;
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Keys of a range that are read at once: first few, since many readers need no more, then many.
const PAGES: (usize, usize) = (64, 1024);

/// Iterates over a range of keys, which it reads page by page.
pub struct Pairs<'a> {
    state: &'a StateHandle,
    /// The first key that was not read yet; none after the last page.
    next: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    page: std::vec::IntoIter<Pair>,
    /// The number of keys that are read next.
    limit: usize,
}

impl Pairs<'_> {
    /// Seeks to the first key that is not less than this one.
    pub fn skip_to(&mut self, key: &[u8]) {
        let less = self.page.as_slice().partition_point(|(k, _)| k.as_slice() < key);
        if let Some(last) = less.checked_sub(1) {
            self.page.nth(last);
        }
        if let Some(next) = self.next.as_mut().filter(|next| self.page.as_slice().is_empty() && next.as_slice() < key) {
            *next = key.to_vec();
        }
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        if let Some(pair) = self.page.next() {
            return Some(Ok(pair));
        }
        let from = self.next.take()?;
        let range = KeyRange { from: &from, to: self.to.as_deref() };
        let limit = std::mem::replace(&mut self.limit, PAGES.1);
        let page = match self.state.reader.range(self.state.operator, range, limit) {
            Ok(page) => page,
            Err(e) => return Some(Err(e)),
        };
        if page.len() == limit
            && let Some((last, _)) = page.last()
        {
            self.next = Some([last, &[0][..]].concat());
        }
        self.page = page.into_iter();
        self.page.next().map(Ok)
    }
}

/// An operator's view of its state in the store. It can only read: changes are handed to the engine at the end of an epoch.
#[derive(Clone)]
pub struct StateHandle {
    /// The operator.
    pub operator: OperatorId,
    /// The store.
    pub reader: Arc<dyn StateReader>,
}

impl StateHandle {
    /// See [`StateReader::last_epoch`].
    pub fn last_epoch(&self) -> Epoch {
        self.reader.last_epoch()
    }
    /// See [`StateReader::get_many`].
    ///
    /// # Errors
    /// If the store fails.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.reader.get_many(self.operator, keys)
    }
    /// The keys of a range in order, with their values. The iterator ends with an error if the store fails.
    pub fn range(&self, range: KeyRange<'_>) -> Pairs<'_> {
        let (next, to) = (Some(range.from.to_vec()), range.to.map(<[u8]>::to_vec));
        Pairs { state: self, next, to, page: vec![].into_iter(), limit: PAGES.0 }
    }
    /// All keys with a prefix in order, with their values.
    ///
    /// # Errors
    /// If the store fails.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>> {
        self.range(KeyRange { from: prefix, to: behind(prefix).as_deref() }).collect()
    }
}

/// What sinks have to deliver of an epoch: for each sink, its uid and its entries.
pub type Outbox = Vec<(String, Vec<Vec<u8>>)>;

/// The store of a job, as the engine uses it: it stages the changes of subtasks, and makes epochs durable.
pub trait StateBackend: StateReader {
    /// The number of the operator with this uid, which gets one if it has none.
    fn operator(&self, uid: &str) -> Result<OperatorId>;
    /// Stages the changes of a subtask in an epoch. Reads see them at once.
    fn stage(&self, operator: OperatorId, epoch: Epoch, changes: Changes);
    /// Makes an epoch durable: the changes that were staged for it, and its outbox. `finished` says that all input has ended. Gives the
    /// number of bytes that were written.
    fn commit(&self, epoch: Epoch, outbox: &Outbox, finished: bool) -> Result<u64>;
    /// Notes that the outbox of an epoch was delivered to all sinks.
    fn delivered(&self, epoch: Epoch) -> Result<()>;
    /// Whether the last durable epoch was the last one of the job, so that only its outbox may be left to deliver.
    fn finished(&self) -> bool;
    /// The outboxes of durable epochs that were not delivered, oldest first.
    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>>;
    /// Discards the changes of epochs that did not become durable.
    fn discard_staged(&self);
    /// Closes the store.
    fn close(&self) -> Result<()>;
    /// The number of bytes on disk.
    fn disk_bytes(&self) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_from_their_packed_form() {
        let values: Vec<Vec<u8>> = [0, 1, 126, 127, 128, 20_000].iter().map(|n| vec![*n as u8; *n]).collect();
        let (mut changes, mut wanted) = (Changes::default(), vec![]);
        for (n, value) in values.iter().enumerate() {
            let key = vec![n as u8; 1 + 100 * n];
            changes.set(&key, value);
            changes.set_with(&[&key, b"2"], |out| out.extend_from_slice(value));
            changes.remove(&[&key[..1], b"gone"]);
            wanted.push((key.clone(), Some(value.clone())));
            wanted.push(([&key[..], b"2"].concat(), Some(value.clone())));
            wanted.push(([&key[..1], b"gone"].concat(), None));
        }
        let told = |c: &Changes| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
            c.iter().map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))).collect()
        };
        assert_eq!(told(&changes), wanted);
        changes.remove_range(b"a", b"b");
        let again = Changes::unpack(changes.packed().to_vec(), changes.removed().clone()).expect("changes");
        assert_eq!((told(&again), again.bytes()), (wanted.clone(), changes.bytes()));
        let mut both = again;
        both.extend(&changes);
        assert_eq!(told(&both), [&wanted[..], &wanted].concat());
        assert_eq!(both.get(both.len()), (&[][..], None));
        // Cut anywhere, what is left of the last change is none.
        let whole: Vec<usize> = (0..changes.len()).map(|at| place(changes.starts[at])).collect();
        for n in (0..changes.packed().len()).filter(|n| !whole.contains(n)) {
            assert!(Changes::unpack(changes.packed()[..n].to_vec(), KeyRanges::default()).is_none(), "{n} bytes");
        }
    }

    #[test]
    fn later_changes_delete_earlier_ones_of_their_ranges() {
        let mut changes = Changes::default();
        [b"a", b"c", b"e"].iter().for_each(|key| changes.set(*key, b"1"));
        let mut later = Changes::default();
        later.remove_range(b"b", b"d");
        assert!(!later.is_empty());
        later.set(b"b", b"2");
        changes.extend(&later);
        let keys: Vec<&[u8]> = changes.iter().map(|(key, _)| key).collect();
        assert_eq!((keys, changes.removed()), (vec![&b"a"[..], b"e", b"b"], later.removed()));
    }
}
