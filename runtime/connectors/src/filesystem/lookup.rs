//! Looks rows up in files, which are read as a whole when the job starts. For small tables without a primary key, as Flink's older
//! connector of files had it.

use super::MONITOR;
use crate::options::TableSpec;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use weir_core::descriptor::OnError;
use weir_core::graph::{Collector, Polled, SourceFactory, SubtaskContext};
use weir_core::key::Keys;
use weir_core::memory_store::MemoryStore;
use weir_core::state::StateHandle;
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema};
use weir_operators::lookup::{Lookup, LookupCacheOptions, LookupTable};

struct FileLookupTable {
    /// Reads the table: the columns that are wanted, then those of the key.
    source: Arc<dyn SourceFactory>,
    columns: usize,
    schema: Schema,
    /// The rows, which all subtasks share.
    rows: Mutex<Option<Arc<RowsByKey>>>,
}

/// The rows of the table, by key.
struct RowsByKey {
    rows: Batch,
    places: HashMap<Box<[u8]>, Vec<u32>, ahash::RandomState>,
}

pub(super) fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    if table.on_error == OnError::DeadLetter {
        let e = Error::script(format!("rows of '{}' are looked up, and have no dead-letter table", table.name));
        return Err(e.at(table.place).hint("'on-error' may be 'fail' or 'skip'"));
    }
    if table.has(&MONITOR) {
        let e = Error::script(format!("the files of '{}' are read once, for rows are looked up in them", table.name));
        let hint = "leave 'source.monitor-interval' out, or declare the PRIMARY KEY, and rows are joined with its last versions";
        return Err(e.at(table.place_of(&MONITOR)).hint(hint));
    }
    let mut read = table.clone();
    read.columns.extend(keys);
    let source = super::source::source(&read)?;
    if source.partitions().is_some() {
        let e = Error::script(format!("rows of '{}' are changes, in which none can be looked up", table.name));
        return Err(e.at(table.place).hint("declare its PRIMARY KEY, and rows are joined with its last versions"));
    }
    let (columns, schema) = (table.columns.len(), read.projected());
    Ok(Arc::new(FileLookupTable { source, columns, schema, rows: Mutex::default() }))
}

impl FileLookupTable {
    /// Reads all rows.
    fn read(&self, context: &SubtaskContext) -> Result<RowsByKey> {
        let reader = Arc::new(MemoryStore::default());
        let state = StateHandle { operator: context.state.operator, reader };
        self.source.start(&state, 1)?;
        let mut source = self.source.open(SubtaskContext { subtask: 0, parallelism: 1, state, ..context.clone() })?;
        let mut out = Collector::default();
        let mut batches = vec![];
        loop {
            let polled = source.poll(&mut out)?;
            batches.extend(out.rows().filter(|b| b.rows() > 0).cloned());
            out.outputs.clear();
            // Files that are read once never make wait.
            if polled == Polled::End {
                break;
            }
        }
        let rows = match batches.is_empty() {
            true => Batch::append(RecordBatch::new_empty(self.schema.arrow())),
            false => Batch::concat(&batches)?,
        };
        let key_columns = &rows.data.columns()[self.columns..];
        let keys = Keys::encode(key_columns, rows.rows());
        let mut places: HashMap<Box<[u8]>, Vec<u32>, ahash::RandomState> = HashMap::default();
        for row in (0..rows.rows()).filter(|r| key_columns.iter().all(|k| k.is_valid(*r))) {
            places.entry(keys.get(row).into()).or_default().push(row as u32);
        }
        let rows = rows.first_columns(self.columns)?;
        Ok(RowsByKey { rows, places })
    }
}

impl LookupTable for FileLookupTable {
    fn open(&self, context: &SubtaskContext) -> Result<Box<dyn Lookup>> {
        // The first subtask reads, and the others wait for it.
        let mut rows = locked(&self.rows);
        let read = match &*rows {
            Some(read) => read.clone(),
            None => rows.insert(Arc::new(self.read(context)?)).clone(),
        };
        Ok(Box::new(FileLookup { rows: read }))
    }
    fn cache(&self) -> LookupCacheOptions {
        LookupCacheOptions::default()
    }
}

struct FileLookup {
    rows: Arc<RowsByKey>,
}

impl Lookup for FileLookup {
    fn find(&mut self, keys: &[ArrayRef]) -> Result<(Vec<u32>, Batch)> {
        let count = keys.first().map_or(0, |k| k.len());
        let asked = Keys::encode(keys, count);
        let (mut of, mut found) = (vec![], vec![]);
        for key in 0..count {
            for row in self.rows.places.get(asked.get(key)).into_iter().flatten() {
                of.push(key as u32);
                found.push(*row);
            }
        }
        let rows = self.rows.rows.take(&UInt32Array::from(found))?;
        Ok((of, rows))
    }
}
