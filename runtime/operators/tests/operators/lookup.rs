//! What lookups remember, by a clock that is turned.

use crate::support::Running;
use arrow::array::{Array, ArrayRef, Int32Array};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use weir_core::graph::SubtaskContext;
use weir_core::join::LookupRetry;
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
    let (table, keys, keep) = (Arc::new(table), vec![0], vec![0]);
    let factory = LookupFactory { table, keys, keep, left: false, retry: None, found, schema: both };
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

/// A table whose rows are there from so many requests on.
#[derive(Clone)]
struct Late {
    requests: Arc<AtomicUsize>,
    from: usize,
}

impl LookupTable for Late {
    fn open(&self, _context: &SubtaskContext) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(self.clone()))
    }
    fn cache(&self) -> LookupCacheOptions {
        LookupCacheOptions { max_rows: NonZeroUsize::new(10), missing: true, ..Default::default() }
    }
}

impl Lookup for Late {
    fn find(&mut self, keys: &[ArrayRef]) -> Result<(Vec<u32>, Batch)> {
        let keys = keys[0].as_any().downcast_ref::<Int32Array>().expect("a column of INT");
        // The key 0 is always there.
        let come = self.requests.fetch_add(1, Ordering::Relaxed) + 1 >= self.from;
        let found = (0..).zip(keys.values().iter().copied()).filter(|(_, k)| come || *k == 0);
        let (of, rows): (Vec<u32>, Vec<i32>) = found.unzip();
        Ok((of, batch(&rows)))
    }
}

#[test]
fn what_is_not_there_is_looked_up_again() {
    let both = Schema::new(vec![Field::new("k", SqlType::INT), Field::new("found", SqlType::INT)]);
    let found = Schema::new(vec![Field::new("found", SqlType::INT)]);
    // Rows that come with a request, the number of attempts, and for two batches the rows and the requests.
    for (from, attempts, wanted) in [(3, 4, [(3, 3), (3, 3)]), (3, 1, [(1, 2), (3, 3)]), (9, 2, [(1, 3), (1, 6)])] {
        let requests = Arc::new(AtomicUsize::new(0));
        let factory = LookupFactory {
            table: Arc::new(Late { requests: requests.clone(), from }),
            keys: vec![0],
            keep: vec![0],
            left: false,
            retry: Some(LookupRetry { delay: Duration::from_millis(1), attempts }),
            found: found.clone(),
            schema: both.clone(),
        };
        let mut running = Running::start(Box::new(factory), 1 << 20);
        for (rows, asked) in wanted {
            let given: usize = running.process(batch(&[1, 0, 1])).iter().map(Batch::rows).sum();
            assert_eq!((given, requests.load(Ordering::Relaxed)), (rows, asked), "{from} {attempts}");
        }
    }
}
