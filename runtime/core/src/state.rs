//! What operators see of the state store: their own keys, as they were at the last epoch that was handed over.

use crate::{Result, varint};
use std::sync::Arc;

/// The number of an operator in the store's catalogue.
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

/// What begins the keys that the engine keeps in an operator's state: a key group that no key of an operator is in.
pub const ENGINE: [u8; 2] = [0xFF, 0xFF];

/// Changes of keys within an epoch, one behind another in one piece of memory: for each key its new value, or none when
/// it goes. A key begins with two bytes of key group. Where a key is there twice, the later one counts.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    starts: Vec<Start>,
}

/// Where a change begins: there may be millions, so it has five bytes, enough for a terabyte.
type Start = [u8; 5];

fn start(at: usize) -> Start {
    let [_, _, _, rest @ ..] = (at as u64).to_be_bytes();
    rest
}

fn place([a, b, c, d, e]: Start) -> usize {
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e]) as usize
}

/// What stands for the length of a value where a key goes; lengths are one more.
const GONE: u64 = 0;

/// A key and its new value, if it has one.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// The change at the front of packed ones, and what follows it.
fn split(mut bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let length = varint::take(&mut bytes)?;
    let (key, mut rest) = bytes.split_at_checked(length as usize)?;
    match varint::take(&mut rest)? {
        GONE => Some(((key, None), rest)),
        n => rest.split_at_checked((n - 1) as usize).map(|(value, rest)| ((key, Some(value)), rest)),
    }
}

impl Changes {
    /// Notes that a key, given in parts, has a new value, which `value` appends.
    pub fn set_with(&mut self, key: &[&[u8]], value: impl FnOnce(&mut Vec<u8>)) {
        self.begin(key);
        let at = self.bytes.len();
        // Room for a short length, which most have.
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
    /// Notes that a key has a new value.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        self.begin(&[key]);
        varint::put(&mut self.bytes, value.len() as u64 + 1);
        self.bytes.extend_from_slice(value);
    }
    /// Notes that a key, given in parts, goes.
    pub fn remove(&mut self, key: &[&[u8]]) {
        self.begin(key);
        varint::put(&mut self.bytes, GONE);
    }
    fn begin(&mut self, key: &[&[u8]]) {
        self.starts.push(start(self.bytes.len()));
        varint::put(&mut self.bytes, key.iter().map(|k| k.len() as u64).sum());
        key.iter().for_each(|k| self.bytes.extend_from_slice(k));
    }
    /// Makes room for so many more changes of the size of those that are there: what grows by and by is copied again and again.
    pub fn reserve(&mut self, more: usize) {
        self.bytes.reserve((self.bytes.len() / self.len().max(1) + 4) * more);
        self.starts.reserve(more);
    }
    /// The number of changes.
    pub fn len(&self) -> usize {
        self.starts.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + size_of::<Start>() * self.starts.len()
    }
    /// The key of a change and its new value; an empty key behind the last change.
    pub fn get(&self, at: usize) -> (&[u8], Option<&[u8]>) {
        let start = self.starts.get(at).map_or(self.bytes.len(), |at| place(*at));
        split(&self.bytes[start..]).map_or((&[], None), |(entry, _)| entry)
    }
    /// All of them, in the order in which they were noted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        (0..self.len()).map(|i| self.get(i))
    }
    /// Their form in files: length and bytes of the key, then 0 for a key that goes, or one more than the length of the value, and its
    /// bytes. Numbers are [`varint`]s.
    pub fn packed(&self) -> &[u8] {
        &self.bytes
    }
    /// Changes of the form that [`Changes::packed`] gives; none when it is not one.
    pub fn unpack(bytes: Vec<u8>) -> Option<Changes> {
        let (mut starts, mut rest) = (vec![], bytes.as_slice());
        while !rest.is_empty() {
            starts.push(start(bytes.len() - rest.len()));
            rest = split(rest)?.1;
        }
        Some(Changes { bytes, starts })
    }
    /// Puts another's changes behind its own.
    pub fn extend(&mut self, other: &Changes) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.starts.extend(other.starts.iter().map(|s| start(place(*s) + at)));
    }
}

/// Reads of committed and handed-over state, shared by all subtasks.
pub trait StateReader: Send + Sync {
    /// The values of these keys, in their order. Sorted keys read fastest.
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;
    /// The first `limit` keys of a range, in order, with their values; fewer only where the range has no more.
    fn range(&self, operator: OperatorId, range: KeyRange<'_>, limit: usize) -> Result<Vec<Pair>>;
    /// The last durable epoch; 0 before the first.
    fn last_epoch(&self) -> Epoch;
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Keys from one on, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// The first key.
    pub from: &'a [u8],
    /// The first key behind the range; none when there is no end.
    pub to: Option<&'a [u8]>,
}

impl KeyRange<'_> {
    /// Whether a key is before the end of the range.
    pub fn ends_behind(&self, key: &[u8]) -> bool {
        self.to.is_none_or(|to| key < to)
    }
}

/// The first key behind all those that start with `prefix`; none when there is no such key.
///
/// # Examples
/// ```
/// use weir_core::state::behind;
///
/// assert_eq!(behind(b"ab"), Some(b"ac".to_vec()));
/// assert_eq!(behind(&[1, 255]), Some(vec![2]));
/// assert_eq!(behind(&[255]), None);
/// ```
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|b| *b < u8::MAX)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

/// Keys that are read at once when a range is gone through.
const PAGE: usize = 1024;

/// Goes through a range of keys, a page at a time.
pub struct Pairs<'a> {
    state: &'a StateHandle,
    /// The first key that was not read yet; none behind the last.
    next: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    page: std::vec::IntoIter<Pair>,
}

impl Iterator for Pairs<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        if let Some(pair) = self.page.next() {
            return Some(Ok(pair));
        }
        let from = self.next.take()?;
        let range = KeyRange { from: &from, to: self.to.as_deref() };
        let page = match self.state.reader.range(self.state.operator, range, PAGE) {
            Ok(page) => page,
            Err(e) => return Some(Err(e)),
        };
        if page.len() == PAGE
            && let Some((last, _)) = page.last()
        {
            self.next = Some([last, &[0][..]].concat());
        }
        self.page = page.into_iter();
        self.page.next().map(Ok)
    }
}

/// One operator's view of the store, which it can only read: changes go out with its epochs.
#[derive(Clone)]
pub struct StateHandle {
    /// Whose state.
    pub operator: OperatorId,
    /// Where it lies.
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
    /// When the store fails.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.reader.get_many(self.operator, keys)
    }
    /// The keys of a range with their values, in order. Errors are those of the store.
    pub fn range(&self, range: KeyRange<'_>) -> Pairs<'_> {
        let (next, to) = (Some(range.from.to_vec()), range.to.map(<[u8]>::to_vec));
        Pairs { state: self, next, to, page: vec![].into_iter() }
    }
    /// All keys that start with `prefix`, in order, with their values.
    ///
    /// # Errors
    /// When the store fails.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>> {
        self.range(KeyRange { from: prefix, to: behind(prefix).as_deref() }).collect()
    }
}

/// What a sink handed over in an epoch: the sink's state name and its entries.
pub type Outbox = Vec<(String, Vec<Vec<u8>>)>;

/// The store behind a job: takes changes in, makes epochs durable, gives state back.
pub trait StateBackend: StateReader {
    /// The number of an operator by the name of its state; drawn when first asked.
    fn operator(&self, uid: &str) -> Result<OperatorId>;
    /// Takes over a subtask's changes of an epoch; reads see them at once.
    fn stage(&self, operator: OperatorId, epoch: Epoch, changes: Changes);
    /// Makes an epoch durable: everything staged for it, and the outbox; `finished` when all input has come to its end.
    /// Gives the bytes written.
    fn commit(&self, epoch: Epoch, outbox: &Outbox, finished: bool) -> Result<u64>;
    /// Says that an epoch's outbox was delivered, so that the epoch need not be kept for it.
    fn delivered(&self, epoch: Epoch) -> Result<()>;
    /// Whether the last durable epoch was the job's last: nothing is left to do but what it delivers.
    fn finished(&self) -> bool;
    /// Outboxes of durable epochs that were not delivered, oldest first.
    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>>;
    /// Forgets what was staged for epochs that never became durable.
    fn discard_staged(&self);
    /// Everything durable is in its final place, and the handles are closed.
    fn close(&self) -> Result<()>;
    /// Bytes on disk.
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
        let again = Changes::unpack(changes.packed().to_vec()).expect("changes");
        assert_eq!((told(&again), again.bytes()), (wanted.clone(), changes.bytes()));
        let mut both = again;
        both.extend(&changes);
        assert_eq!(told(&both), [&wanted[..], &wanted].concat());
        assert_eq!(both.get(both.len()), (&[][..], None));
        // Cut anywhere, what is left of the last change is none.
        let whole: Vec<usize> = (0..changes.len()).map(|at| place(changes.starts[at])).collect();
        for n in (0..changes.packed().len()).filter(|n| !whole.contains(n)) {
            assert!(Changes::unpack(changes.packed()[..n].to_vec()).is_none(), "{n} bytes");
        }
    }
}
