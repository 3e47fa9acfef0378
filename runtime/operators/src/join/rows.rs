//! The rows of both sides of a join, by key.
//!
//! The rows of a side are stored together with the key as long as they are few. Otherwise each has an entry of its own, so that a key with
//! many rows is neither read nor written as a whole.

use weir_core::join::{LEFT, RIGHT};
use weir_core::keyed::{Codec, Slab};
use weir_core::state::StateHandle;
use weir_core::{Error, Result, varint};

/// The maximum size in bytes of the rows that are stored together.
const FEW_BYTES: usize = 4096;

/// What is stored with each row of a side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The number of its partners.
    pub counts: bool,
    /// The time of its last write, since it has a time to live.
    pub timed: bool,
    /// Whether rows are retracted. Then equal rows are stored once.
    pub retracts: bool,
}

impl<'a> StoredRow<'a> {
    /// A row that has an entry of its own.
    pub fn of(row: &'a [u8], times: u64, partners: u32) -> StoredRow<'a> {
        StoredRow { row, times, partners, written: 0, at: (0, 0), times_at: 0, partners_at: 0 }
    }
}

/// Bytes of a number of partners.
const COUNT: usize = 4;

/// A row of a side.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredRow<'a> {
    /// The encoded columns that are not of the key.
    pub row: &'a [u8],
    /// How often the side has this row.
    pub times: u64,
    /// The number of its partners; 0 unless they are counted.
    pub partners: u32,
    /// When it was last written; 0 without a time to live.
    pub written: u64,
    /// Where it begins and ends among the rows of the side.
    at: (usize, usize),
    /// Where the number of times is.
    times_at: usize,
    /// Where the number of partners is.
    pub partners_at: usize,
}

/// Few rows of a side, one after another: the length of the row, the row, how often it is there, and what [`Form`] says.
#[derive(Debug, Default, Clone)]
pub(super) struct FewRows(Vec<u8>);

impl FewRows {
    /// The rows, in the order in which they came.
    pub fn iter(&self, form: Form) -> impl Iterator<Item = StoredRow<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let row = take(&mut rest, self.0.len(), form);
            if row.is_none() {
                rest = &[];
            }
            row
        })
    }

    fn find(&self, row: &[u8], form: Form) -> Option<StoredRow<'_>> {
        self.iter(form).find(|r| r.row == row)
    }

    /// Adds a row.
    pub fn add(&mut self, row: &[u8], partners: u32, now: u64, form: Form) {
        if let Some(found) = form.retracts.then(|| self.find(row, form)).flatten() {
            let mut new = vec![];
            put(&mut new, row, found.times + 1, partners, now, form);
            let at = found.at;
            self.0.splice(at.0..at.1, new);
        } else {
            put(&mut self.0, row, 1, partners, now, form);
        }
    }

    /// Adds a row of another list.
    pub fn keep(&mut self, row: StoredRow<'_>, form: Form) {
        put(&mut self.0, row.row, row.times, row.partners, row.written, form);
    }

    /// Removes a row. Returns whether it was there.
    pub fn remove(&mut self, row: &[u8], form: Form) -> bool {
        let Some(found) = self.find(row, form) else { return false };
        let (at, times_at, times) = (found.at, found.times_at, found.times);
        if times > 1 {
            let (mut old, mut new) = (vec![], vec![]);
            varint::put(&mut old, times);
            varint::put(&mut new, times - 1);
            self.0.splice(times_at..times_at + old.len(), new);
        } else {
            self.0.drain(at.0..at.1);
        }
        true
    }

    /// Removes the rows that were last written before `oldest`.
    pub fn expire(&mut self, oldest: u64, form: Form) {
        let gone: Vec<(usize, usize)> = self.iter(form).filter(|r| r.written < oldest).map(|r| r.at).collect();
        gone.into_iter().rev().for_each(|(from, to)| drop(self.0.drain(from..to)));
    }

    /// Adds to the number of partners at a position, or subtracts from it. Returns what it was.
    pub fn step(&mut self, partners_at: usize, up: bool) -> u32 {
        let Some(bytes) = self.0.get_mut(partners_at..).and_then(|b| b.first_chunk_mut::<COUNT>()) else { return 0 };
        let was = u32::from_le_bytes(*bytes);
        *bytes = stepped(was, up).to_le_bytes();
        was
    }

    /// Sets the number of partners of a row.
    pub fn set_partners(&mut self, row: &[u8], partners: u32, form: Form) {
        if let Some(at) = self.find(row, form).map(|r| r.partners_at)
            && let Some(bytes) = self.0.get_mut(at..).and_then(|b| b.first_chunk_mut::<COUNT>())
        {
            *bytes = partners.to_le_bytes();
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are too many rows to be stored together.
    pub fn is_large(&self) -> bool {
        self.0.len() > FEW_BYTES
    }
}

/// A number of partners after one has come or gone.
pub(super) fn stepped(was: u32, up: bool) -> u32 {
    if up { was.saturating_add(1) } else { was.saturating_sub(1) }
}

/// Appends a row in the form of [`FewRows`].
fn put(out: &mut Vec<u8>, row: &[u8], times: u64, partners: u32, now: u64, form: Form) {
    varint::put(out, row.len() as u64);
    out.extend_from_slice(row);
    put_counts(out, times, partners, form);
    if form.timed {
        out.extend_from_slice(&now.to_le_bytes());
    }
}

fn put_counts(out: &mut Vec<u8>, times: u64, partners: u32, form: Form) {
    varint::put(out, times);
    if form.counts {
        out.extend_from_slice(&partners.to_le_bytes());
    }
}

/// Reads a row from the front of the rest of all rows, which have `length` bytes.
fn take<'a>(rest: &mut &'a [u8], length: usize, form: Form) -> Option<StoredRow<'a>> {
    let from = length - rest.len();
    let size = usize::try_from(varint::take(rest)?).ok()?;
    let (row, after) = rest.split_at_checked(size)?;
    *rest = after;
    let times_at = length - rest.len();
    let times = varint::take(rest)?;
    let partners_at = length - rest.len();
    let partners = if form.counts { u32::from_le_bytes(*take_chunk(rest)?) } else { 0 };
    let written = if form.timed { u64::from_le_bytes(*take_chunk(rest)?) } else { 0 };
    Some(StoredRow { row, times, partners, written, at: (from, length - rest.len()), times_at, partners_at })
}

fn take_chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(chunk)
}

/// The entry of a row that is not stored together with others: how often it is there, and the number of its partners.
pub(super) fn encode_entry(times: u64, partners: u32, form: Form) -> Vec<u8> {
    let mut out = vec![];
    put_counts(&mut out, times, partners, form);
    out
}

/// Reads an entry: how often the row is there, and the number of its partners.
///
/// # Errors
/// If the store is damaged.
pub(super) fn decode_entry(mut entry: &[u8], form: Form) -> Result<(u64, u32)> {
    let times = varint::take(&mut entry);
    let partners = if form.counts { take_chunk(&mut entry).map(|c| u32::from_le_bytes(*c)) } else { Some(0) };
    times.zip(partners).ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::state("a row of a join in the state is damaged")
}

/// The rows of a side of a key.
#[derive(Debug, Clone)]
pub(super) enum SideRows {
    /// All rows.
    Few(FewRows),
    /// The number of different rows, each of which has an entry of its own.
    Many(u64),
}

impl Default for SideRows {
    fn default() -> Self {
        SideRows::Few(FewRows::default())
    }
}

impl SideRows {
    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        match self {
            SideRows::Few(rows) => rows.is_empty(),
            SideRows::Many(count) => *count == 0,
        }
    }

    /// Whether each row has an entry of its own.
    pub fn is_many(&self) -> bool {
        matches!(self, SideRows::Many(_))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            SideRows::Few(rows) => {
                varint::put(out, (rows.0.len() as u64) << 1);
                out.extend_from_slice(&rows.0);
            }
            SideRows::Many(count) => varint::put(out, count << 1 | 1),
        }
    }

    fn decode(from: &mut &[u8]) -> Option<SideRows> {
        let head = varint::take(from)?;
        if head & 1 == 1 {
            return Some(SideRows::Many(head >> 1));
        }
        let (rows, rest) = from.split_at_checked(usize::try_from(head >> 1).ok()?)?;
        *from = rest;
        Some(SideRows::Few(FewRows(rows.to_vec())))
    }

    fn heap(&self) -> usize {
        match self {
            SideRows::Few(rows) => rows.0.capacity(),
            SideRows::Many(_) => 0,
        }
    }
}

/// The rows of both sides of a key.
pub(super) type KeyRows = [SideRows; 2];

/// The rows of both sides, by place.
pub(super) struct JoinRows {
    /// The forms of both sides.
    forms: [Form; 2],
    pub keys: Slab<KeyRows>,
}

impl JoinRows {
    /// No rows, in these forms.
    pub fn new(forms: [Form; 2]) -> JoinRows {
        JoinRows { forms, keys: Slab::default() }
    }

    /// Reads an encoded value.
    ///
    /// # Errors
    /// If the store is damaged.
    pub fn read(&self, bytes: &[u8]) -> Result<KeyRows> {
        let (written, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (timed, mut rest) = rest.split_first().ok_or_else(damaged)?;
        let written = u64::from_be_bytes(*written);
        let mut sides = KeyRows::default();
        for (side, form) in sides.iter_mut().zip(self.forms) {
            let stored = Form { timed: *timed == 1, ..form };
            *side = match SideRows::decode(&mut rest).ok_or_else(damaged)? {
                // The time to live has been set, or removed, since this was written.
                SideRows::Few(few) if stored.timed != form.timed => {
                    let mut new = FewRows::default();
                    let rows = few.iter(stored);
                    rows.for_each(|r| put(&mut new.0, r.row, r.times, r.partners, r.written.max(written), form));
                    SideRows::Few(new)
                }
                side => side,
            };
        }
        Ok(sides)
    }
}

/// Stored: the time of the last write; whether each row has its own, too; then the rows of the left and the right side.
impl Codec for JoinRows {
    type Value = ();

    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        out.push(u8::from(self.forms[LEFT].timed));
        self.keys[place as usize].iter().for_each(|side| side.encode(out));
    }
    fn decode(&mut self, place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<()> {
        self.keys.grow(place as usize + 1);
        self.keys[place as usize] = self.read(bytes)?;
        Ok(())
    }
    fn bytes(&self, place: u32, (): &()) -> usize {
        let sides = &self.keys[place as usize];
        size_of::<KeyRows>() + sides[LEFT].heap() + sides[RIGHT].heap()
    }
    fn is_empty(&self, place: u32, (): &()) -> bool {
        self.keys[place as usize].iter().all(SideRows::is_empty)
    }
    fn forget(&mut self, place: u32) {
        if (place as usize) < self.keys.len() {
            self.keys[place as usize] = KeyRows::default();
        }
    }
    fn forget_all(&mut self) {
        self.keys.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form { counts: true, timed: true, retracts: true };

    #[test]
    fn rows_come_and_go() {
        let mut rows = FewRows::default();
        rows.add(b"a", 0, 1, FORM);
        rows.add(b"", 2, 2, FORM);
        (0..200).for_each(|n| rows.add(b"b", n, 3, FORM));
        let all = |rows: &FewRows| rows.iter(FORM).map(|r| (r.row.to_vec(), r.times, r.partners)).collect::<Vec<_>>();
        assert_eq!(all(&rows), [(b"a".to_vec(), 1, 0), (vec![], 1, 2), (b"b".to_vec(), 200, 199)]);
        let at = rows.iter(FORM).next().expect("a row").partners_at;
        assert_eq!((rows.step(at, true), rows.step(at, false), rows.step(at, false)), (0, 1, 0));
        assert!(!rows.remove(b"c", FORM));
        (0..199).for_each(|_| assert!(rows.remove(b"b", FORM)));
        assert_eq!(all(&rows).last(), Some(&(b"b".to_vec(), 1, 199)));
        rows.expire(3, FORM);
        assert_eq!(all(&rows).len(), 1);
        assert!(rows.remove(b"b", FORM) && rows.is_empty());
    }

    #[test]
    fn sides_are_stored_and_read() {
        let mut few = FewRows::default();
        few.add(b"row", 7, 9, FORM);
        let mut codec = JoinRows::new([FORM, FORM]);
        codec.keys.push([SideRows::Few(few), SideRows::Many(70_000)]);
        let mut bytes = vec![];
        codec.encode(0, &(), 5, &mut bytes);
        let [left, right] = codec.read(&bytes).expect("what was written");
        let SideRows::Few(left) = left else { panic!("{left:?}") };
        assert_eq!(left.find(b"row", FORM).map(|r| (r.times, r.partners, r.written)), Some((1, 7, 9)));
        assert!(matches!(right, SideRows::Many(70_000)));
        let without = Form { timed: false, ..FORM };
        let [left, _] = JoinRows::new([without, without]).read(&bytes).expect("what was written");
        let SideRows::Few(left) = left else { panic!("{left:?}") };
        assert_eq!(left.find(b"row", without).map(|r| (r.times, r.partners)), Some((1, 7)));
        (8..bytes.len() - 1).for_each(|cut| assert!(codec.read(&bytes[..cut]).is_err(), "{cut}"));
    }
}
