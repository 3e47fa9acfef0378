//! Lookup joins, as in Flink: looks up the rows of an external table by keys of the input rows. All keys of a batch that are not in the
//! cache are requested together.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::datatypes::DataType;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use weir_core::clock::Clock;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::LookupRetry;
use weir_core::key::{Keys, decode_row, encode_row};
use weir_core::{Batch, ColumnBuilder, Result, Schema};

/// Looks up rows of an external table.
pub trait Lookup: Send {
    /// Looks up the rows of these keys, which are columns of equal length without NULLs. Returns the rows, and for each row the number of
    /// its key.
    ///
    /// # Errors
    /// If the table cannot be queried.
    fn find(&mut self, keys: &[ArrayRef]) -> Result<(Vec<u32>, Batch)>;
}

/// An external table for lookups.
pub trait LookupTable: Send + Sync {
    /// Opens a subtask's access to the table.
    ///
    /// # Errors
    /// When the table cannot be reached.
    fn open(&self, context: &SubtaskContext) -> Result<Box<dyn Lookup>>;
    /// The options of the cache.
    fn cache(&self) -> LookupCacheOptions;
}

/// The options of the cache, as in Flink.
#[derive(Debug, Clone, Default)]
pub struct LookupCacheOptions {
    /// The maximum number of keys; none: no cache.
    pub max_rows: Option<NonZeroUsize>,
    /// The time to live after an entry was read from the table.
    pub after_write: Option<Duration>,
    /// The time to live after an entry was last used.
    pub after_access: Option<Duration>,
    /// Whether keys without rows are cached too.
    pub missing: bool,
}

/// Creates lookup joins.
pub struct LookupFactory {
    /// The table.
    pub table: Arc<dyn LookupTable>,
    /// The input's columns with the keys.
    pub keys: Vec<usize>,
    /// The input's columns that are emitted.
    pub keep: Vec<usize>,
    /// Whether rows without a match are emitted, with NULLs.
    pub left: bool,
    /// How often keys without rows are looked up again. The subtask waits for it.
    pub retry: Option<LookupRetry>,
    /// The columns of the table.
    pub found: Schema,
    /// The columns of the output: those of the input that are emitted, then those of the table.
    pub schema: Schema,
}

impl OperatorFactory for LookupFactory {
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let cache = self.table.cache();
        Ok(Box::new(LookupOperator {
            lookup: self.table.open(&context)?,
            remembered: cache.max_rows.map(|n| LruCache::with_hasher(n, Default::default())),
            cache,
            keys: self.keys.clone(),
            keep: self.keep.clone(),
            left: self.left,
            retry: self.retry,
            types: self.found.fields.iter().map(|f| f.ty.arrow()).collect(),
            schema: self.schema.clone(),
            clock: context.clock,
        }))
    }
}

/// The encoded rows of a key.
type Rows = Arc<Vec<Vec<u8>>>;

struct CachedRows {
    rows: Rows,
    /// When they were read, and when they were last used, in milliseconds since 1970.
    written: i64,
    used: i64,
}

struct LookupOperator {
    lookup: Box<dyn Lookup>,
    cache: LookupCacheOptions,
    remembered: Option<LruCache<Box<[u8]>, CachedRows, ahash::RandomState>>,
    keys: Vec<usize>,
    keep: Vec<usize>,
    left: bool,
    retry: Option<LookupRetry>,
    types: Vec<DataType>,
    schema: Schema,
    clock: Arc<dyn Clock>,
}

impl LookupOperator {
    fn known(&mut self, key: &[u8], now: i64) -> Option<Rows> {
        let entry = self.remembered.as_mut()?.get_mut(key)?;
        // If the clock was set back, the entry does not expire.
        let over = |since: i64, after: Option<Duration>| {
            after.is_some_and(|a| u128::from(now.saturating_sub(since).max(0).unsigned_abs()) >= a.as_millis())
        };
        if over(entry.written, self.cache.after_write) || over(entry.used, self.cache.after_access) {
            self.remembered.as_mut()?.pop(key);
            return None;
        }
        entry.used = now;
        Some(entry.rows.clone())
    }

    /// Looks up the keys of some rows. Returns the encoded rows of each.
    fn find(&mut self, columns: &[ArrayRef], rows: &[u32]) -> Result<Vec<Vec<Vec<u8>>>> {
        let picked = UInt32Array::from(rows.to_vec());
        let keys: Vec<ArrayRef> =
            columns.iter().map(|c| arrow::compute::take(c, &picked, None)).collect::<Result<_, _>>()?;
        let (of, found) = self.lookup.find(&keys)?;
        let mut lists: Vec<Vec<Vec<u8>>> = vec![vec![]; rows.len()];
        for (row, key) in of.iter().enumerate() {
            let mut packed = vec![];
            encode_row(found.data.columns(), row, &mut packed);
            lists[*key as usize].push(packed);
        }
        Ok(lists)
    }
}

impl Operator for LookupOperator {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let columns: Vec<ArrayRef> = self.keys.iter().map(|k| batch.data.column(*k).clone()).collect();
        let keys = Keys::encode(&columns, batch.rows());
        let now = self.clock.now();
        let mut known: std::collections::HashMap<&[u8], Option<Rows>, ahash::RandomState> = Default::default();
        let mut missing: Vec<u32> = vec![];
        for row in 0..batch.rows() {
            let key = keys.get(row);
            // NULL equals nothing.
            if known.contains_key(key) || columns.iter().any(|c| c.is_null(row)) {
                continue;
            }
            // Where a key without rows is looked up again, that there were none says little.
            let rows = self.known(key, now).filter(|rows| self.retry.is_none() || !rows.is_empty());
            if rows.is_none() {
                missing.push(row as u32);
            }
            known.insert(key, rows);
        }
        let mut attempts = self.retry.map_or(0, |r| r.attempts);
        while !missing.is_empty() {
            let lists = self.find(&columns, &missing)?;
            let again = attempts > 0;
            let mut without = vec![];
            for (row, list) in missing.into_iter().zip(lists) {
                let (key, rows) = (keys.get(row as usize), Arc::new(list));
                if rows.is_empty() && again {
                    without.push(row);
                    continue;
                }
                if let Some(r) = self.remembered.as_mut().filter(|_| self.cache.missing || !rows.is_empty()) {
                    r.put(key.into(), CachedRows { rows: rows.clone(), written: now, used: now });
                }
                known.insert(key, Some(rows));
            }
            missing = without;
            if let Some(retry) = self.retry.filter(|_| !missing.is_empty()) {
                attempts -= 1;
                std::thread::sleep(retry.delay);
            }
        }
        let mut left: Vec<u32> = vec![];
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        for row in 0..batch.rows() {
            match known.get(keys.get(row)).and_then(Option::as_ref).filter(|r| !r.is_empty()) {
                Some(rows) if columns.iter().all(|c| c.is_valid(row)) => {
                    for packed in rows.iter() {
                        decode_row(&self.types, packed, &mut builders)?;
                        left.push(row as u32);
                    }
                }
                _ if self.left => {
                    builders.iter_mut().for_each(ColumnBuilder::push_null);
                    left.push(row as u32);
                }
                _ => {}
            }
        }
        let taken = batch.take(&UInt32Array::from(left))?;
        let mut all: Vec<ArrayRef> = self.keep.iter().map(|k| taken.data.column(*k).clone()).collect();
        all.extend(builders.into_iter().map(ColumnBuilder::finish));
        let result = Batch::from_columns(self.schema.arrow(), all, taken.rows())?;
        out.emit(result.with_kinds(taken.kinds).with_origins(taken.origins));
        Ok(())
    }
}
