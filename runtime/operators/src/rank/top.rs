//! The state of a partition.

use std::sync::Arc;
use weir_core::key::decode_value;
use weir_core::keyed::Codec;
use weir_core::state::StateHandle;
use weir_core::{Error, Field, Result};

/// Bytes of the number in an entry.
const NUMBER: usize = 8;

/// A row with its place in the order: the sort key, then the number of its arrival, then the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    bytes: Arc<[u8]>,
    /// The number of bytes of the place.
    place: usize,
}

impl Entry {
    pub fn new(sort: &[u8], number: u64, row: &[u8]) -> Entry {
        Entry { bytes: [sort, &number.to_be_bytes(), row].concat().into(), place: sort.len() + NUMBER }
    }
    pub fn at(place: &[u8], row: &[u8]) -> Entry {
        Entry { bytes: [place, row].concat().into(), place: place.len() }
    }
    /// The place in the order. It is unique within the partition.
    pub fn place(&self) -> &[u8] {
        &self.bytes[..self.place]
    }
    pub fn sort(&self) -> &[u8] {
        &self.bytes[..self.place - NUMBER]
    }
    pub fn number(&self) -> u64 {
        let number = self.bytes[self.place - NUMBER..].first_chunk::<NUMBER>();
        u64::from_be_bytes(number.copied().unwrap_or_default())
    }
    pub fn row(&self) -> &[u8] {
        &self.bytes[self.place..]
    }
}

/// The first rows of a partition, in order.
#[derive(Debug, Default)]
pub(super) struct Top {
    pub rows: Vec<Entry>,
    /// The number of the next row that arrives.
    pub next: u64,
    /// The number of rows behind these.
    pub behind: u64,
}

impl Top {
    /// Whether the state is as if there were none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.behind == 0
    }

    /// Decodes the output of [`TopCodec`].
    pub fn decode(bytes: &[u8]) -> Result<Top> {
        let cut = || Error::state("a partition in the state is cut short");
        fn number<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
            let (head, rest) = from.split_first_chunk::<N>()?;
            *from = rest;
            Some(*head)
        }
        let mut from = bytes;
        let mut long = || number(&mut from).map(u64::from_be_bytes).ok_or_else(cut);
        let (_, next, behind) = (long()?, long()?, long()?);
        let mut top = Top { rows: vec![], next, behind };
        while !from.is_empty() {
            let mut length = || number(&mut from).map(|n| u32::from_be_bytes(n) as usize).ok_or_else(cut);
            let (place, length) = (length()?, length()?);
            let (entry, rest) =
                from.split_at_checked(length).filter(|_| (NUMBER..=length).contains(&place)).ok_or_else(cut)?;
            top.rows.push(Entry { bytes: entry.into(), place });
            from = rest;
        }
        Ok(top)
    }
}

/// Stored: the time of the last write, the number of the next row, the number of rows behind, then for each entry the length of its place,
/// its length, and its bytes.
pub(super) struct TopCodec;

impl Codec for TopCodec {
    type Value = Top;
    fn encode(&self, _place: u32, top: &Top, written: u64, out: &mut Vec<u8>) {
        [written, top.next, top.behind].into_iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
        for e in &top.rows {
            [e.place, e.bytes.len()].into_iter().for_each(|n| out.extend_from_slice(&(n as u32).to_be_bytes()));
            out.extend_from_slice(&e.bytes);
        }
    }
    fn decode(&mut self, _place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<Top> {
        Top::decode(bytes)
    }
    fn bytes(&self, _place: u32, top: &Top) -> usize {
        top.rows.iter().map(|e| e.bytes.len() + 48).sum()
    }
    fn is_empty(&self, _place: u32, top: &Top) -> bool {
        top.is_empty()
    }
}

/// Whether two encoded rows are equal in some columns.
pub(super) fn same_in(columns: &[usize], fields: &[Field], a: &[u8], b: &[u8]) -> bool {
    let (mut rest_a, mut rest_b) = (a, b);
    let last = columns.iter().max().map_or(0, |c| c + 1);
    for (at, field) in fields.iter().enumerate().take(last) {
        let ty = field.ty.arrow();
        let (before_a, before_b) = (rest_a, rest_b);
        if decode_value(&ty, &mut rest_a).is_err() || decode_value(&ty, &mut rest_b).is_err() {
            return false;
        }
        let (a, b) = (&before_a[..before_a.len() - rest_a.len()], &before_b[..before_b.len() - rest_b.len()]);
        if columns.contains(&at) && a != b {
            return false;
        }
    }
    true
}
