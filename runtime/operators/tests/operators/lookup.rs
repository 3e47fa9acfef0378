//! What lookups remember, by a clock that is turned.

use crate::support::Running;
use arrow::array::{Array, ArrayRef, Int32Array};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use weir_core::graph::SubtaskContext;
use weir_core::{Batch, Field, Result, Schema, SqlType};
use weir_operators::lookup::{Lookup, LookupCacheOptions, LookupFactory, LookupTable};

/// A table that has each key below 100 once, and counts the keys that it is asked for.
#[derive(Clone)]
struct Counting {
    asked: Arc<AtomicUsize>,
    cache: LookupCacheOptions,
}

fn schema() -> Schema {
    Schema::new(vec![Field::new("k", SqlType::INT)])
}

fn batch(keys: &[i32]) -> Batch {
    let column: ArrayRef = Arc::new(Int32Array::from(keys.to_vec()));
    Batch::from_columns(schema().arrow(), vec![column], keys.len()).expect("a batch")
}

impl LookupTable for Counting {
    fn open(&self, _context: &SubtaskContext) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(self.clone()))
    }
    fn cache(&self) -> LookupCacheOptions {
        self.cache.clone()
    }
}

impl Lookup for Counting {
    fn find(&mut self, keys: &[ArrayRef]) -> Result<(Vec<u32>, Batch)> {
        let keys = keys[0].as_any().downcast_ref::<Int32Array>().expect("a column of INT");
        self.asked.fetch_add(keys.len(), Ordering::Relaxed);
        let found: Vec<(u32, i32)> = (0..).zip(keys.values().iter().copied()).filter(|(_, k)| *k < 100).collect();
        let (of, rows): (Vec<u32>, Vec<i32>) = found.into_iter().unzip();
        Ok((of, batch(&rows)))
    }
}

/// A lookup of these keys after another, each after so many milliseconds: how often the table was asked, each time.
fn asked(cache: LookupCacheOptions, steps: &[(i64, i32)]) -> Vec<usize> {
    let table = Counting { asked: Arc::default(), cache };
    let count = table.asked.clone();
    let found = Schema::new(vec![Field::new("found", SqlType::INT)]);
    let both = Schema::new(vec![Field::new("k", SqlType::INT), Field::new("found", SqlType::INT)]);
    let factory =
        LookupFactory { table: Arc::new(table), keys: vec![0], keep: vec![0], left: false, found, schema: both };
    let mut running = Running::start(Box::new(factory), 1 << 20);
    let mut step = |(later, key): &(i64, i32)| {
        running.later(*later);
        let before = count.load(Ordering::Relaxed);
        let rows: usize = running.process(batch(&[*key])).iter().map(Batch::rows).sum();
        assert_eq!(rows, usize::from(*key < 100), "{key}");
        count.load(Ordering::Relaxed) - before
    };
    steps.iter().map(&mut step).collect()
}

#[test]
fn what_is_remembered_grows_old_by_the_clock() {
    let cache = LookupCacheOptions { max_rows: std::num::NonZeroUsize::new(10), ..LookupCacheOptions::default() };
    let after_write = LookupCacheOptions { after_write: Some(Duration::from_millis(100)), ..cache.clone() };
    let after_access = LookupCacheOptions { after_access: Some(Duration::from_millis(100)), ..cache.clone() };
    let steps = [(0, 1), (60, 1), (60, 1), (99, 1)];
    assert_eq!(asked(LookupCacheOptions::default(), &steps), [1, 1, 1, 1], "without a cache");
    assert_eq!(asked(cache.clone(), &steps), [1, 0, 0, 0], "for ever");
    assert_eq!(asked(after_write, &steps), [1, 0, 1, 0], "120 ms after it was read");
    assert_eq!(asked(after_access, &[(0, 1), (60, 1), (60, 1), (100, 1)]), [1, 0, 0, 1], "100 ms after it was used");
    // Keys without rows are remembered only if that is asked for.
    assert_eq!(asked(cache.clone(), &[(0, 100), (0, 100)]), [1, 1]);
    assert_eq!(asked(LookupCacheOptions { missing: true, ..cache }, &[(0, 100), (0, 100)]), [1, 0]);
}
