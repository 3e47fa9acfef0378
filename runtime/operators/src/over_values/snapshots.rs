//! Snapshots of the aggregates at some places of a partition.

use weir_core::keyed::Codec;
use weir_core::state::StateHandle;
use weir_core::{Error, Result, varint};

/// Minimum number of rows between two snapshots.
const SPACING: u64 = 256;
/// Approximate maximum number of snapshots of a partition.
const MOST: u64 = 128;

/// The aggregates up to and including the row at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The place of the row.
    pub place: Vec<u8>,
    /// The approximate number of rows since the previous snapshot. Rows between them may have been inserted and deleted meanwhile.
    pub rows: u64,
    /// The aggregates in the encoding of a group.
    pub aggregates: Vec<u8>,
}

/// The snapshots of a partition, in the order of their places. The last one is at the last row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshots(Vec<Snapshot>);

impl Snapshots {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The last snapshot.
    pub fn last(&self) -> Option<&Snapshot> {
        self.0.last()
    }
    /// The desired number of rows between two snapshots.
    pub fn spacing(&self) -> u64 {
        let rows: u64 = self.0.iter().map(|s| s.rows).sum();
        SPACING.max(rows / MOST)
    }
    /// Splits off the snapshots from a place on.
    pub fn part(mut self, place: &[u8]) -> (Snapshots, Vec<Snapshot>) {
        let at = self.0.partition_point(|s| s.place.as_slice() < place);
        let rest = self.0.split_off(at);
        (self, rest)
    }
    /// Appends a snapshot. It replaces the last one if that is too close to the one before it.
    pub fn push(&mut self, mut new: Snapshot, spacing: u64) {
        if let Some(last) = self.0.pop_if(|last| last.rows + new.rows <= spacing) {
            new.rows += last.rows;
        }
        self.0.push(new);
    }
    /// Appends other snapshots unchanged.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Snapshot>) {
        self.0.extend(others);
    }
}

/// Stored: the time of the last write, then for each snapshot the number of rows, and the place and the aggregates after their lengths.
pub(super) struct SnapshotsCodec;

fn cut() -> Error {
    Error::state("a snapshot of aggregates in the state is cut short")
}

fn bytes(from: &mut &[u8]) -> Result<Vec<u8>> {
    let length = varint::take(from).ok_or_else(cut)?;
    let (bytes, rest) = from.split_at_checked(length as usize).ok_or_else(cut)?;
    *from = rest;
    Ok(bytes.to_vec())
}

impl Codec for SnapshotsCodec {
    type Value = Snapshots;
    fn encode(&self, _place: u32, value: &Snapshots, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        for s in &value.0 {
            varint::put(out, s.rows);
            for part in [&s.place, &s.aggregates] {
                varint::put(out, part.len() as u64);
                out.extend_from_slice(part);
            }
        }
    }
    fn decode(&mut self, _place: u32, _key: &[u8], stored: &[u8], _store: &StateHandle) -> Result<Snapshots> {
        let mut from = stored.get(size_of::<u64>()..).ok_or_else(cut)?;
        let mut all = Snapshots::default();
        while !from.is_empty() {
            let rows = varint::take(&mut from).ok_or_else(cut)?;
            let (place, aggregates) = (bytes(&mut from)?, bytes(&mut from)?);
            all.0.push(Snapshot { place, rows, aggregates });
        }
        Ok(all)
    }
    fn bytes(&self, _place: u32, value: &Snapshots) -> usize {
        value.0.iter().map(|s| size_of::<Snapshot>() + s.place.len() + s.aggregates.len()).sum()
    }
}
