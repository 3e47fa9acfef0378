//! Makes changes of upserts: a row replaces the one before of the same key, a tombstone takes it away. What is given out is
//! what changed, with the row as it was, which the state knows. Flink calls this ChangelogNormalize.
//!
//! In front of a sink that replaces by a key of its own, rows of several keys of the query may have one key there. Then all of
//! them are kept, the last one stands for the key, and the one before comes back when it goes: Flink's SinkUpsertMaterializer.

use crate::ttl::TimeToLive;
use arrow::array::{ArrayRef, Int8Array};
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, decode_value, encode_value, key_group};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, ColumnBuilder, Error, Result, RowKind, Schema, Value};

/// Makes normalizations.
pub struct NormalizeFactory {
    /// The key's columns.
    pub keys: Vec<usize>,
    /// The columns.
    pub schema: Schema,
    /// Whether all rows of a key are kept until each is taken back, and not only the last.
    pub materializes: bool,
    /// After how many milliseconds without a row a key is forgotten; 0 = never.
    pub ttl_millis: u64,
}

impl OperatorFactory for NormalizeFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let stored = context.state.last_epoch().0 > 0;
        Ok(Box::new(Normalize {
            keys: self.keys.clone(),
            schema: self.schema.clone(),
            materializes: self.materializes,
            types: self.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            rows: HashMap::default(),
            bytes: 0,
            changed: 0,
            stored,
            ttl: TimeToLive::new(self.ttl_millis, &context),
            context,
        }))
    }
}

/// What is kept of a key: its row, packed, or all of them, each before its length; whether the store does not have it so; when its last
/// row came, 0 where that does not matter.
struct Entry {
    kept: Option<Vec<u8>>,
    dirty: bool,
    access: u64,
}

/// An entry as the store has it: the time, then what is kept.
fn stored(value: &[u8]) -> Result<(u64, &[u8])> {
    let cut = || Error::state("a row in the state is cut short");
    let (access, kept) = value.split_first_chunk::<8>().ok_or_else(cut)?;
    Ok((u64::from_be_bytes(*access), kept))
}

/// Bytes of a row's length behind it.
const LENGTH: usize = 4;

/// The last of several rows.
fn last(rows: &[u8]) -> Option<&[u8]> {
    let (rest, length) = rows.split_last_chunk::<LENGTH>()?;
    rest.get(rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?..)
}

/// Several rows with one more.
fn with(rows: Option<&[u8]>, row: &[u8]) -> Vec<u8> {
    [rows.unwrap_or_default(), row, &(row.len() as u32).to_le_bytes()].concat()
}

/// Several rows without one, the last of those that are equal; nothing changes where there is none.
fn without(rows: &[u8], row: &[u8]) -> Vec<u8> {
    let mut end = rows.len();
    while let Some(at) = last(&rows[..end]) {
        let start = end - LENGTH - at.len();
        if at == row {
            return [&rows[..start], &rows[end..]].concat();
        }
        end = start;
    }
    rows.to_vec()
}

struct Normalize {
    keys: Vec<usize>,
    schema: Schema,
    materializes: bool,
    types: Vec<DataType>,
    rows: HashMap<Box<[u8]>, Entry, ahash::RandomState>,
    /// Bytes of what is in memory, and of what of it the store does not have.
    bytes: usize,
    changed: usize,
    stored: bool,
    ttl: Option<TimeToLive>,
    context: SubtaskContext,
}

/// What an entry takes beside its key and row.
const OVERHEAD: usize = 96;

impl Normalize {
    fn load(&mut self, keys: &Keys) -> Result<()> {
        let mut missing: Vec<Vec<u8>> = (0..keys.len())
            .map(|r| keys.get(r))
            .filter(|k| !self.rows.contains_key(*k))
            .map(|k| [&key_group(k).to_be_bytes()[..], k].concat())
            .collect();
        missing.sort();
        missing.dedup();
        let refs: Vec<&[u8]> = missing.iter().map(Vec::as_slice).collect();
        self.context.metrics.state_reads.inc_by(refs.len() as u64);
        self.context.metrics.state_hits.inc_by(keys.len().saturating_sub(refs.len()) as u64);
        for (k, value) in refs.iter().zip(self.context.state.get_many(&refs)?) {
            self.bytes += OVERHEAD + k.len() + value.as_ref().map_or(0, Vec::len);
            let (access, kept) = match &value {
                Some(v) => stored(v).map(|(access, kept)| (access, Some(kept.to_vec())))?,
                None => (0, None),
            };
            self.rows.insert(k[2..].into(), Entry { kept, dirty: false, access });
        }
        Ok(())
    }

    /// Forgets those of some keys that no row has come for within the time to live.
    fn expire(&mut self, keys: &Keys, now: u64) {
        let Some(ttl) = &self.ttl else { return };
        for key in (0..keys.len()).map(|r| keys.get(r)) {
            if let Some(e) = self.rows.get_mut(key).filter(|e| e.kept.is_some() && ttl.over(e.access, now)) {
                (e.kept, e.dirty) = (None, true);
            }
        }
    }

    /// Forgets keys that no row has come for within the time to live: all that are in memory, and of the store's those of a few
    /// key groups.
    fn sweep(&mut self, changes: &mut Changes) -> Result<()> {
        let Some(ttl) = &mut self.ttl else { return Ok(()) };
        let now = ttl.now();
        let due = if self.stored { ttl.due(now) } else { vec![] };
        for group in due {
            for (k, v) in self.context.state.scan(&group.to_be_bytes())? {
                // What is in memory is newer.
                if self.rows.contains_key(&k[2..]) {
                    continue;
                }
                match stored(&v)? {
                    // Kept before there was a time to live, which begins now.
                    (0, kept) => changes.set(&k, &[&now.to_be_bytes(), kept].concat()),
                    (access, _) if ttl.over(access, now) => changes.remove(&[&k]),
                    _ => {}
                }
            }
        }
        for (k, e) in self.rows.extract_if(|_, e| e.kept.is_some() && ttl.over(e.access, now)) {
            self.bytes = self.bytes.saturating_sub(OVERHEAD + k.len() + e.kept.map_or(0, |kept| kept.len()));
            changes.remove(&[&key_group(&k).to_be_bytes(), &k]);
        }
        Ok(())
    }

    /// What is kept after a row came or went.
    fn next(&self, old: Option<&[u8]>, comes: bool, row: Vec<u8>) -> Option<Vec<u8>> {
        match (self.materializes, comes) {
            (false, true) => Some(row),
            (false, false) => None,
            (true, true) => Some(with(old, &row)),
            (true, false) => old.map(|o| without(o, &row)).filter(|r| !r.is_empty()),
        }
    }

    /// The row that stands for a key.
    fn stands<'a>(&self, kept: &'a Option<Vec<u8>>) -> Option<&'a [u8]> {
        let kept = kept.as_deref()?;
        if self.materializes { last(kept) } else { Some(kept) }
    }

    fn change(&self, kinds: &mut Vec<i8>, builders: &mut [ColumnBuilder], rows: &[(RowKind, &[u8])]) -> Result<()> {
        for (kind, row) in rows {
            kinds.push(*kind as i8);
            self.push(builders, row)?;
        }
        Ok(())
    }

    fn push(&self, builders: &mut [ColumnBuilder], mut row: &[u8]) -> Result<()> {
        for (ty, b) in self.types.iter().zip(builders) {
            b.push(&decode_value(ty, &mut row)?);
        }
        Ok(())
    }
}

impl Operator for Normalize {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let columns: Vec<ArrayRef> = self.keys.iter().map(|k| batch.data.column(*k).clone()).collect();
        let keys = Keys::encode(&columns, batch.rows());
        if self.stored {
            self.load(&keys)?;
        }
        let now = self.ttl.as_ref().map_or(0, TimeToLive::now);
        self.expire(&keys, now);
        // Behind a sink's table or an aggregate there may be others that forget: they hear of rows that stay the same as well.
        let refreshes = self.ttl.is_some();
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        let mut kinds: Vec<i8> = vec![];
        for row in 0..batch.rows() {
            let key = keys.get(row);
            let comes = batch.kind(row).sign() > 0;
            let mut packed = vec![];
            if comes || self.materializes {
                for (c, ty) in batch.data.columns().iter().zip(&self.types) {
                    encode_value(&Value::read(c, row), ty, &mut packed);
                }
            }
            let old = self.rows.get_mut(key).and_then(|e| e.kept.take());
            let new = self.next(old.as_deref(), comes, packed);
            match (self.stands(&old), self.stands(&new)) {
                (None, Some(new)) => self.change(&mut kinds, &mut builders, &[(RowKind::Insert, new)])?,
                (Some(old), Some(new)) if old != new || refreshes && comes => {
                    self.change(
                        &mut kinds,
                        &mut builders,
                        &[(RowKind::UpdateBefore, old), (RowKind::UpdateAfter, new)],
                    )?;
                }
                (Some(old), None) => self.change(&mut kinds, &mut builders, &[(RowKind::Delete, old)])?,
                _ => {}
            }
            let same = old == new && !(refreshes && comes);
            if !same {
                let size = new.as_ref().map_or(0, Vec::len);
                self.bytes += OVERHEAD + key.len() + size;
                self.changed += OVERHEAD + key.len() + size;
            }
            match self.rows.get_mut(key) {
                Some(e) => {
                    (e.kept, e.dirty) = (new, e.dirty || !same);
                    e.access = if same { e.access } else { now };
                }
                None if same => {}
                None => drop(self.rows.insert(key.into(), Entry { kept: new, dirty: true, access: now })),
            }
        }
        let count = kinds.len();
        let inserts = kinds.iter().all(|k| *k == 0);
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.schema.arrow(), columns, count)?;
        out.emit(batch.with_kinds((!inserts).then(|| Int8Array::from(kinds))));
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        self.sweep(&mut changes)?;
        for (k, e) in self.rows.iter_mut().filter(|(_, e)| e.dirty) {
            let group = key_group(k).to_be_bytes();
            match &e.kept {
                Some(kept) => changes.set_with(&[&group, k], |out| {
                    out.extend_from_slice(&e.access.to_be_bytes());
                    out.extend_from_slice(kept);
                }),
                None => changes.remove(&[&group, k]),
            }
            e.dirty = false;
        }
        self.changed = 0;
        // What has gone is known by the store; the rest is let go of together when there is too much.
        if self.bytes > self.context.cache_bytes {
            self.rows = HashMap::default();
            (self.bytes, self.stored) = (0, true);
        }
        self.context.metrics.state_writes.inc_by(changes.len() as u64);
        self.context.metrics.state_keys.set(self.rows.len() as i64);
        self.context.metrics.state_bytes.set(self.bytes as i64);
        Ok(changes)
    }

    fn preferred_rows(&self) -> usize {
        if self.stored { 1 << 15 } else { 0 }
    }

    fn wants_epoch(&self) -> bool {
        self.changed > self.context.cache_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_key_come_and_go() {
        let rows = with(Some(&with(Some(&with(None, b"a")), b"")), b"bb");
        assert_eq!(last(&rows), Some(&b"bb"[..]));
        assert_eq!(without(&rows, b"c"), rows);
        let rows = without(&rows, b"bb");
        assert_eq!(last(&rows), Some(&b""[..]));
        let rows = without(&rows, b"a");
        assert_eq!(rows, with(None, b""));
        assert_eq!(last(&without(&rows, b"")), None);
        assert_eq!(last(b"xx\xff\0\0\0"), None);
    }
}
