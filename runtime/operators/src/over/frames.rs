//! The frames of keys: the aggregates of a key and, where frames are bounded, the rows that they are of.
//!
//! A frame of few rows is in the store whole, with the aggregates. The rows of a larger one have keys of their own there. In memory are
//! its oldest rows, which it loses next, and those that the store does not have yet; what is between them is read when it becomes the
//! oldest.

use crate::aggregate::Groups;
use std::collections::VecDeque;
use weir_core::frame::Frame;
use weir_core::key::key_group;
use weir_core::keyed::{Codec, Slab, SmallBytes};
use weir_core::sortable::{from_sortable, sortable};
use weir_core::state::{Changes, KeyRange, StateHandle, behind};
use weir_core::{Error, Result, varint};

/// What the keys of rows have behind their key group: no key of a group begins so, and none of a collection or of a part of a group.
const ROWS: u8 = 0xFD;

/// The most rows of a key that stay in memory when an epoch ends, and that are read at once.
const PAGE: usize = 256;

/// The most rows of a frame that is stored whole, and the most bytes in memory of one.
const FEW: (usize, usize) = (16, 2048);

/// A row of a frame: what the aggregates read of it, encoded.
pub(super) struct FrameRow {
    pub time: i64,
    /// Tells rows of a time apart; those that come later have higher ones.
    pub number: u64,
    pub row: SmallBytes,
}

impl FrameRow {
    /// What its key in the store ends with.
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
    /// Whether a timer is set that looks whether the frame has lost all rows.
    pub has_timer: bool,
    /// The number of rows.
    count: u64,
    /// Rows in memory, the oldest first.
    rows: VecDeque<FrameRow>,
    /// How many of these the store has. They are the first ones.
    stored: usize,
    /// Whether the store has further rows, which lie behind those.
    more: bool,
    /// The rows that were lost since the last epoch although the store has them: how many, and the first and the last.
    lost: Option<(usize, [u8; 16], [u8; 16])>,
    /// Bytes of the rows in memory.
    bytes: usize,
}

impl KeyFrame {
    /// The number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds the newest row.
    pub fn push(&mut self, row: FrameRow) {
        self.count += 1;
        self.bytes += row.bytes();
        self.rows.push_back(row);
    }

    /// Takes out what the frame loses before a row of a time comes, the oldest row first.
    ///
    /// # Errors
    /// If the store fails or is damaged, or `lost` fails.
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

    /// Whether the store may have rows under keys of their own.
    fn has_own_keys(&self) -> bool {
        self.stored > 0 || self.more || self.lost.is_some()
    }

    /// Whether all rows are in memory, and few.
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

    /// Reads that many rows from the front of bytes.
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

    /// Forgets all rows.
    pub fn clear(&mut self) {
        let stored = self.has_own_keys();
        *self = KeyFrame { lost: stored.then_some((usize::MAX, [0; 16], [0xFF; 16])), ..KeyFrame::default() };
    }

    /// Reads the oldest rows that are not in memory.
    fn load(&mut self, prefix: &[u8], store: &StateHandle) -> Result<()> {
        // What was lost since the last epoch is still in the store.
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

    /// Makes room for so many places at least.
    pub fn grow(&mut self, places: usize) {
        self.groups.grow(places);
        self.keys.grow(places);
    }
}

/// The begin of the keys of a frame's rows in the store: key group, marker, the key's length, the key.
fn prefix(key: &[u8]) -> Vec<u8> {
    let mut begin = key_group(key).to_be_bytes().to_vec();
    begin.push(ROWS);
    varint::put(&mut begin, key.len() as u64);
    begin.extend_from_slice(key);
    begin
}

impl Codec for Frames {
    type Value = ();
    const LAYOUT: u32 = 3;

    /// The time of the last write, whether there is a timer, whether the rows follow, the number of rows, perhaps the rows, the time of the
    /// last row with a result, the group.
    fn encode(&self, place: u32, (): &(), written: u64, out: &mut Vec<u8>) {
        let key = &self.keys[place as usize];
        out.extend_from_slice(&written.to_be_bytes());
        let whole = !key.has_own_keys();
        out.push(u8::from(key.has_timer) | u8::from(whole) << 1);
        varint::put(out, key.count);
        if whole {
            key.encode_rows(out);
        }
        // A group begins with a time.
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
        // What lies behind rows that are not in memory, or is too much, is read again when it is the oldest.
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
