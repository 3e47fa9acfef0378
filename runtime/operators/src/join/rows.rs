//! The rows of both sides of a join, by key.
//!
//! The rows of a side are stored together with the key as long as they are few. Otherwise each has an entry of its own, so that a key with
//! many rows is neither read nor written as a whole.

use smallvec::SmallVec;
use std::ops::{Index, IndexMut};
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
    /// Whether rows that are never retracted are in the order of their columns if they have entries of their own, rather than in the order
    /// in which they came, which takes less time.
    pub sorted: bool,
}

impl Form {
    /// The key of the entry of a row that is never retracted, the `number`th of its key.
    pub fn entry_key(self, row: &[u8], number: u64) -> Vec<u8> {
        if self.sorted {
            let mut out = row.to_vec();
            varint::put(&mut out, number);
            return out;
        }
        [&number.to_be_bytes(), row].concat()
    }

    /// Where the row begins in the key of its entry.
    pub fn row_at(self) -> usize {
        if self.sorted || self.retracts { 0 } else { size_of::<u64>() }
    }
}

/// A row that was read, and its counts.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key of its entry, if it has one of its own, which ends with the row.
    pub key: Vec<u8>,
    /// Where the encoded columns begin that are not of the key.
    pub row_at: usize,
    /// How often the side has this row.
    pub times: u64,
    /// The number of its partners; 0 unless they are counted.
    pub partners: u32,
    /// Where the number of partners is, if the row is stored together with others.
    pub partners_at: usize,
}

impl Entry {
    /// The row as a stored one.
    pub fn stored(&self) -> StoredRow<'_> {
        StoredRow::of(self.row(), self.times, self.partners)
    }

    /// The encoded columns that are not of the key.
    pub fn row(&self) -> &[u8] {
        self.key.get(self.row_at..).unwrap_or_default()
    }
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

    /// Sets the number of partners at a position.
    pub fn set_partners(&mut self, partners_at: usize, partners: u32) {
        if let Some(bytes) = self.0.get_mut(partners_at..).and_then(|b| b.first_chunk_mut::<COUNT>()) {
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
    /// Each row has an entry of its own.
    Many(ManyRows),
}

/// What is known of rows that have entries of their own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ManyRows {
    /// The number of entries.
    pub count: u64,
    /// How many rows have come so far. If rows are never retracted, the number of a row is in the key of its entry, so that equal rows have
    /// different entries, and a row is added without a look-up.
    pub added: u64,
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
            SideRows::Many(many) => many.count == 0,
        }
    }

    /// When a row was last written, at the latest.
    fn last_written(&self, form: Form, now: u64) -> u64 {
        match self {
            SideRows::Few(rows) => rows.iter(form).map(|r| r.written).max().unwrap_or(0),
            SideRows::Many(_) => now,
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
            SideRows::Many(many) => {
                varint::put(out, many.count << 1 | 1);
                varint::put(out, many.added);
            }
        }
    }

    fn decode(from: &mut &[u8]) -> Option<SideRows> {
        let head = varint::take(from)?;
        if head & 1 == 1 {
            return Some(SideRows::Many(ManyRows { count: head >> 1, added: varint::take(from)? }));
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

/// The rows of a key, by the input that they came from.
#[derive(Debug, Default, Clone)]
pub(super) struct KeyRows(SmallVec<[SideRows; 2]>);

static NO_ROWS: SideRows = SideRows::Few(FewRows(vec![]));

impl KeyRows {
    /// The inputs that have had rows, and those before them.
    pub fn iter(&self) -> impl Iterator<Item = &SideRows> {
        self.0.iter()
    }

    /// Two inputs.
    pub fn both_mut(&mut self, own: usize, other: usize) -> (&mut SideRows, &mut SideRows) {
        self.reach(own.max(other));
        let [a, b] = [own.min(other), own.max(other)];
        let (before, after) = self.0.split_at_mut(b);
        let (first, second) = (&mut before[a], &mut after[0]);
        if own < other { (first, second) } else { (second, first) }
    }

    fn reach(&mut self, input: usize) {
        if self.0.len() <= input {
            self.0.resize(input + 1, SideRows::default());
        }
    }
}

impl Index<usize> for KeyRows {
    type Output = SideRows;
    fn index(&self, input: usize) -> &SideRows {
        self.0.get(input).unwrap_or(&NO_ROWS)
    }
}

impl IndexMut<usize> for KeyRows {
    fn index_mut(&mut self, input: usize) -> &mut SideRows {
        self.reach(input);
        &mut self.0[input]
    }
}

/// The rows of the inputs, by place.
pub(super) struct JoinRows {
    /// The forms of the inputs' rows.
    pub forms: Vec<Form>,
    /// The times to live of the inputs' rows in milliseconds; 0 = unlimited.
    pub ttl_millis: Vec<u64>,
    /// When the state was opened, in milliseconds since 1970.
    opened: u64,
    pub keys: Slab<KeyRows>,
}

/// The time of the last write of keys that do not expire.
const NEVER: u64 = u64::MAX;

impl JoinRows {
    /// No rows, in these forms. Rows that were written without a time to live have one from `opened` on.
    pub fn new(forms: Vec<Form>, ttl_millis: Vec<u64>, opened: u64) -> JoinRows {
        JoinRows { forms, ttl_millis, opened, keys: Slab::default() }
    }

    /// The time to live of keys in milliseconds; 0 = unlimited.
    pub fn longest(&self) -> u64 {
        self.ttl_millis.iter().copied().max().unwrap_or(0)
    }

    /// Reads an encoded value.
    ///
    /// # Errors
    /// If the store is damaged.
    pub fn read(&self, bytes: &[u8]) -> Result<KeyRows> {
        let (_, mut rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
        let timed = varint::take(&mut rest).ok_or_else(damaged)?;
        let mut inputs = KeyRows::default();
        for (n, form) in self.forms.iter().copied().enumerate() {
            let stored = Form { timed: timed >> n & 1 == 1, ..form };
            inputs[n] = match SideRows::decode(&mut rest).ok_or_else(damaged)? {
                // The time to live has been set, or removed, since this was written.
                SideRows::Few(few) if stored.timed != form.timed => {
                    let mut new = FewRows::default();
                    let rows = few.iter(stored);
                    rows.for_each(|r| put(&mut new.0, r.row, r.times, r.partners, self.opened, form));
                    SideRows::Few(new)
                }
                side => side,
            };
        }
        Ok(inputs)
    }
}

/// Stored: the time of the last write; a bit for each input whose rows have times of their own; then the rows of each input.
impl Codec for JoinRows {
    type Value = ();

    const LAYOUT: u32 = 2;

    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        let timed = self.forms.iter().rev().fold(0, |bits, form| bits << 1 | u64::from(form.timed));
        varint::put(out, timed);
        (0..self.forms.len()).for_each(|input| self.keys[place as usize][input].encode(out));
    }
    fn decode(&mut self, place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<()> {
        self.keys.grow(place as usize + 1);
        self.keys[place as usize] = self.read(bytes)?;
        Ok(())
    }
    /// A key expires with the last of its rows.
    fn written(&self, place: u32, now: u64) -> u64 {
        let longest = self.longest();
        if self.ttl_millis.iter().all(|ttl| *ttl == longest) {
            return now;
        }
        let rows = &self.keys[place as usize];
        let of_input = |(input, ttl): (usize, &u64)| match ttl {
            _ if rows[input].is_empty() => 0,
            0 => NEVER,
            ttl => rows[input].last_written(self.forms[input], now).saturating_sub(longest - ttl),
        };
        // A time of 0 would mean that it is not known.
        self.ttl_millis.iter().enumerate().map(of_input).max().unwrap_or(0).max(1)
    }
    fn bytes(&self, place: u32, (): &()) -> usize {
        let rows = &self.keys[place as usize].0;
        let spilled = if rows.spilled() { rows.capacity() * size_of::<SideRows>() } else { 0 };
        size_of::<KeyRows>() + spilled + rows.iter().map(SideRows::heap).sum::<usize>()
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

    const FORM: Form = Form { counts: true, timed: true, retracts: true, sorted: false };

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
        let mut codec = JoinRows::new(vec![FORM, FORM], vec![9, 9], 1);
        let many = ManyRows { count: 70_000, added: 80_000 };
        let mut rows = KeyRows::default();
        (rows[0], rows[1]) = (SideRows::Few(few), SideRows::Many(many));
        codec.keys.push(rows);
        let mut bytes = vec![];
        codec.encode(0, &(), 5, &mut bytes);
        let read = codec.read(&bytes).expect("what was written");
        let (SideRows::Few(left), right) = (&read[0], &read[1]) else { panic!("{read:?}") };
        assert_eq!(left.find(b"row", FORM).map(|r| (r.times, r.partners, r.written)), Some((1, 7, 9)));
        assert!(matches!(right, SideRows::Many(found) if *found == many));
        let without = Form { timed: false, ..FORM };
        let read = JoinRows::new(vec![without, without], vec![0, 0], 1).read(&bytes).expect("what was written");
        let SideRows::Few(left) = &read[0] else { panic!("{read:?}") };
        assert_eq!(left.find(b"row", without).map(|r| (r.times, r.partners)), Some((1, 7)));
        (8..bytes.len() - 1).for_each(|cut| assert!(codec.read(&bytes[..cut]).is_err(), "{cut}"));
    }
}
