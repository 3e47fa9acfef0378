//! The frames of keys: the aggregates of each key and, if frames are bounded, their rows.
//!
//! A frame of few rows is stored whole, together with the aggregates. The rows of a larger frame have separate keys in the store. In memory
//! are its oldest rows, which leave the frame next, and the rows that are not stored yet. The rows between them are read when they become
//! the oldest.

use crate::aggregate::{Groups, parts_prefix};
use std::collections::VecDeque;
use weir_core::frame::Frame;
use weir_core::key::key_group;
use weir_core::keyed::{Codec, Slab, SmallBytes};
use weir_core::sortable::{from_sortable, sortable};
use weir_core::state::{Changes, KeyRange, StateHandle, behind};
use weir_core::{Error, Result, varint};

/// The byte after the key group in the keys of rows. No key of a group, of a collection or of a part of a group begins with it.
const ROWS: u8 = 0xFD;

/// The maximum number of a key's rows that stay in memory after an epoch, and that are read at once.
const PAGE: usize = 256;

/// The maximum number of rows of a frame that is stored whole, and their maximum size in memory in bytes.
const FEW: (usize, usize) = (16, 2048);

/// A row of a frame: the encoded arguments of the aggregates.
pub(super) struct FrameRow {
    pub time: i64,
    /// Distinguishes rows of the same time. Later rows have higher numbers.
    pub number: u64,
    pub row: SmallBytes,
}

impl FrameRow {
    /// The last bytes of the row's key in the store.
    fn suffix(&self) -> [u8; 16] {
        let mut suffix = [0; 16];
        suffix[..8].copy_from_slice(&sortable(self.time));
        suffix[8..].copy_from_slice(&self.number.to_be_bytes());
        suffix
    }
    fn bytes(&self) -> usize {
        size_of::<FrameRow>() + self.row.heap()
    }
}

/// The frame of a key.
#[derive(Default)]
pub(super) struct KeyFrame {
    /// The time of the last row that has its result.
    pub last: i64,
    /// Whether there is a timer that checks if the frame has become empty.
    pub has_timer: bool,
    /// The number of rows.
    count: u64,
    /// Rows in memory, the oldest first.
    rows: VecDeque<FrameRow>,
    /// How many of the rows in memory are in the store as well. They are the first ones.
    stored: usize,
    /// Whether the store has further rows after those.
    more: bool,
    /// The stored rows that have left the frame since the last epoch: their number, and the suffixes of the first and the last.
    lost: Option<(usize, [u8; 16], [u8; 16])>,
    /// Bytes of the rows in memory.
    bytes: usize,
}

impl KeyFrame {
    /// The number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time at which a frame of this length in time has lost its last row.
    pub fn emptied_at(&self, range: i64) -> i64 {
        self.last.saturating_add(range).saturating_add(1)
    }

    /// Adds the newest row.
    pub fn push(&mut self, row: FrameRow) {
        self.count += 1;
        self.bytes += row.bytes();
        self.rows.push_back(row);
    }

    /// Removes the rows that leave the frame before a row of this time is added, the oldest first, and calls `lost` with each.
    ///
    /// # Errors
    /// If the store fails or is corrupt, or if `lost` fails.
    pub fn lose(
        &mut self,
        frame: Frame,
        time: i64,
        key: &[u8],
        store: &StateHandle,
        mut lost: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        loop {
            let all_stay = match frame {
                Frame::Times(_) => self.count == 0,
                Frame::Rows(most) => self.count <= most,
                Frame::AllTimes | Frame::AllRows => true,
            };
            if all_stay {
                return Ok(());
            }
            if self.stored == 0 && self.more {
                self.load(&prefix(key), store)?;
            }
            let goes = |row: &mut FrameRow| match frame {
                Frame::Times(range) => row.time < time.saturating_sub(range),
                _ => true,
            };
            let Some(row) = self.rows.pop_front_if(goes) else { return Ok(()) };
            self.count -= 1;
            self.bytes -= row.bytes();
            if self.stored > 0 {
                self.stored -= 1;
                let suffix = row.suffix();
                let (n, first) = self.lost.map_or((0, suffix), |(n, first, _)| (n, first));
                self.lost = Some((n + 1, first, suffix));
            }
            lost(&row.row)?;
        }
    }

    /// Whether the store may have rows of the frame under separate keys.
    fn has_own_keys(&self) -> bool {
        self.stored > 0 || self.more || self.lost.is_some()
    }

    /// Whether all rows are in memory, and the frame is small enough to be stored whole.
    fn is_small(&self) -> bool {
        !self.more && self.rows.len() <= FEW.0 && self.bytes <= FEW.1
    }

    /// Appends all rows.
    fn encode_rows(&self, out: &mut Vec<u8>) {
        for row in &self.rows {
            varint::put_signed(out, row.time);
            varint::put(out, row.number);
            varint::put(out, row.row.len() as u64);
            out.extend_from_slice(&row.row);
        }
    }

    /// Reads this many rows from the front of some bytes.
    fn decode_rows(&mut self, count: u64, from: &mut &[u8]) -> Option<()> {
        for _ in 0..count {
            let (time, number) = (varint::take_signed(from)?, varint::take(from)?);
            let length = usize::try_from(varint::take(from)?).ok()?;
            let (row, rest) = from.split_at_checked(length)?;
            *from = rest;
            self.push(FrameRow { time, number, row: SmallBytes::from(row) });
        }
        Some(())
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        let stored = self.has_own_keys();
        *self = KeyFrame { lost: stored.then_some((usize::MAX, [0; 16], [0xFF; 16])), ..KeyFrame::default() };
    }

    /// Reads the oldest rows that are not in memory.
    fn load(&mut self, prefix: &[u8], store: &StateHandle) -> Result<()> {
        // Rows that have left the frame since the last epoch are still in the store.
        let from = self.lost.map_or_else(|| prefix.to_vec(), |(_, _, last)| [prefix, &last, &[0]].concat());
        let mut found = store.range(KeyRange { from: &from, to: behind(prefix).as_deref() }).take(PAGE + 1);
        let mut read = vec![];
        for pair in found.by_ref().take(PAGE) {
            let (key, row) = pair?;
            let (time, number) = key[prefix.len()..].split_first_chunk::<8>().ok_or_else(damaged)?;
            let number = number.try_into().map_err(|_| damaged())?;
            let row = FrameRow {
                time: from_sortable(*time),
                number: u64::from_be_bytes(number),
                row: SmallBytes::from(row.as_slice()),
            };
            self.bytes += row.bytes();
            read.push(row);
        }
        self.stored = read.len();
        read.into_iter().rev().for_each(|row| self.rows.push_front(row));
        self.more = found.next().transpose()?.is_some();
        Ok(())
    }
}

fn damaged() -> Error {
    Error::state("a row of a frame in the state is damaged")
}

/// The frames of keys, and their aggregates, by place.
pub(super) struct Frames {
    pub groups: Groups,
    pub keys: Slab<KeyFrame>,
}

impl Frames {
    pub fn new(groups: Groups) -> Frames {
        Frames { groups, keys: Slab::default() }
    }

    /// Makes room for at least this many places.
    pub fn grow(&mut self, places: usize) {
        self.groups.grow(places);
        self.keys.grow(places);
    }
}

/// The prefix of the keys of a frame's rows in the store.
fn prefix(key: &[u8]) -> Vec<u8> {
    parts_prefix(key_group(key), ROWS, key)
}

impl Codec for Frames {
    type Value = ();
    const LAYOUT: u32 = 3;

    /// Stored: the time of the last write; whether there is a timer, and whether the rows are included; the number of rows; the rows, if
    /// included; the time of the last row with a result; the group.
    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        let key = &self.keys[place as usize];
        out.extend_from_slice(&written.to_be_bytes());
        let whole = !key.has_own_keys();
        out.push(u8::from(key.has_timer) | u8::from(whole) << 1);
        varint::put(out, key.count);
        if whole {
            key.encode_rows(out);
        }
        // The encoding of a group begins with a time.
        Codec::encode(&self.groups, place, &(), key.last.cast_unsigned(), out);
    }

    fn decode(&mut self, place: u32, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<()> {
        let (flags, mut rest) = bytes.get(8..).and_then(<[u8]>::split_first).ok_or_else(damaged)?;
        let count = varint::take(&mut rest).ok_or_else(damaged)?;
        let mut frame = KeyFrame { has_timer: flags & 1 == 1, ..KeyFrame::default() };
        if flags & 2 == 2 {
            frame.decode_rows(count, &mut rest).ok_or_else(damaged)?;
        } else {
            (frame.count, frame.more) = (count, true);
        }
        frame.last = rest.first_chunk().map(|last| i64::from_be_bytes(*last)).ok_or_else(damaged)?;
        self.grow(place as usize + 1);
        self.keys[place as usize] = frame;
        self.groups.read(place, key, rest, store)
    }

    fn bytes(&self, place: u32, (): &()) -> usize {
        size_of::<KeyFrame>() + self.keys[place as usize].bytes + self.groups.bytes(place, &())
    }

    fn is_empty(&self, place: u32, (): &()) -> bool {
        self.groups.is_empty(place, &())
    }

    fn parts(&mut self, place: u32, key: &[u8], (): &mut (), goes: bool, changes: &mut Changes) {
        self.groups.parts(place, key, &mut (), goes, changes);
        let prefix = prefix(key);
        let frame = &mut self.keys[place as usize];
        let own_keys = frame.has_own_keys();
        if goes || frame.is_small() {
            if own_keys {
                changes.remove_range(&prefix, &behind(&prefix).unwrap_or_default());
                (frame.stored, frame.more, frame.lost) = (0, false, None);
            }
            return;
        }
        match frame.lost.take() {
            None => {}
            Some((1, first, _)) => changes.remove(&[&prefix, &first]),
            Some((2, first, last)) => {
                changes.remove(&[&prefix, &first]);
                changes.remove(&[&prefix, &last]);
            }
            Some((_, first, last)) => {
                changes.remove_range(&[&prefix, &first[..]].concat(), &[&prefix, &last[..], &[0]].concat());
            }
        }
        for row in frame.rows.range(frame.stored..) {
            changes.set_with(&[&prefix, &row.suffix()], |out| out.extend_from_slice(&row.row));
        }
        // Rows after those in memory, or more than a page, are read again when they become the oldest.
        let stay = if frame.more { frame.stored } else { PAGE.min(frame.rows.len()) };
        frame.more |= stay < frame.rows.len();
        frame.bytes -= frame.rows.drain(stay..).map(|row| row.bytes()).sum::<usize>();
        frame.stored = stay;
    }

    fn forget(&mut self, place: u32) {
        self.groups.forget(place);
        if (place as usize) < self.keys.len() {
            self.keys[place as usize] = KeyFrame::default();
        }
    }

    fn forget_all(&mut self) {
        self.groups.forget_all();
        self.keys.clear();
    }
}
