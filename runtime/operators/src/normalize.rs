//! Makes changes of upserts: a row replaces the one before of the same key, a tombstone takes it away. What is given out is
//! what changed, with the row as it was, which the state knows. Flink calls this ChangelogNormalize.

use arrow::array::{ArrayRef, Int8Array};
use arrow::datatypes::DataType;
use std::collections::HashMap;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, decode_value, encode_value, key_group};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Schema, Value};

/// Makes normalizations.
pub struct NormalizeFactory {
    /// The key's columns.
    pub keys: Vec<usize>,
    /// The columns.
    pub schema: Schema,
}

impl OperatorFactory for NormalizeFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let stored = context.state.reader.last_epoch().0 > 0;
        Ok(Box::new(Normalize {
            keys: self.keys.clone(),
            schema: self.schema.clone(),
            types: self.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            rows: HashMap::default(),
            bytes: 0,
            changed: 0,
            stored,
            context,
        }))
    }
}

/// A key's row, packed, if it has one; and whether the store does not have it so.
struct Entry {
    row: Option<Vec<u8>>,
    dirty: bool,
}

struct Normalize {
    keys: Vec<usize>,
    schema: Schema,
    types: Vec<DataType>,
    rows: HashMap<Box<[u8]>, Entry, ahash::RandomState>,
    /// Bytes of what is in memory, and of what of it the store does not have.
    bytes: usize,
    changed: usize,
    stored: bool,
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
        for (k, row) in refs.iter().zip(self.context.state.get_many(&refs)?) {
            self.bytes += OVERHEAD + k.len() + row.as_ref().map_or(0, Vec::len);
            self.rows.insert(k[2..].into(), Entry { row, dirty: false });
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
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        let mut kinds: Vec<i8> = vec![];
        for row in 0..batch.rows() {
            let key = keys.get(row);
            let comes = batch.kind(row).sign() > 0;
            let new = comes.then(|| {
                let mut packed = vec![];
                for (c, ty) in batch.data.columns().iter().zip(&self.types) {
                    encode_value(&Value::read(c, row), ty, &mut packed);
                }
                packed
            });
            let old = self.rows.get(key).and_then(|e| e.row.clone());
            let change: &[(RowKind, &Option<Vec<u8>>)] = match (&old, &new) {
                (None, Some(_)) => &[(RowKind::Insert, &new)],
                (Some(o), Some(n)) if o != n => &[(RowKind::UpdateBefore, &old), (RowKind::UpdateAfter, &new)],
                (Some(_), None) => &[(RowKind::Delete, &old)],
                _ => continue,
            };
            for (kind, row) in change {
                kinds.push(*kind as i8);
                self.push(&mut builders, row.as_deref().unwrap_or_default())?;
            }
            let size = new.as_ref().map_or(0, Vec::len);
            self.bytes += OVERHEAD + key.len() + size;
            self.changed += OVERHEAD + key.len() + size;
            self.rows.insert(key.into(), Entry { row: new, dirty: true });
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
        for (k, e) in self.rows.iter_mut().filter(|(_, e)| e.dirty) {
            let group = key_group(k).to_be_bytes();
            match &e.row {
                Some(row) => changes.set_with(&[&group, k], |out| out.extend_from_slice(row)),
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
        Ok(changes)
    }

    fn gathers(&self) -> usize {
        if self.stored { 1 << 15 } else { 0 }
    }

    fn wants_epoch(&self) -> bool {
        self.changed > self.context.cache_bytes
    }
}
