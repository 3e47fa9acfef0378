//! A cache of results by arguments, which is only used as long as it saves time.

use hashbrown::HashMap;
use weir_core::Value;

/// Maximum size of the results and their arguments in bytes. Beyond it, the cache is cleared.
const MOST_BYTES: usize = 8 << 20;
/// The approximate time of a lookup in nanoseconds.
const LOOK_UP_NANOS: f64 = 90.0;

/// The cached results by arguments.
#[derive(Default)]
pub(crate) struct ResultCache {
    results: HashMap<Box<[u8]>, Value<'static>, ahash::RandomState>,
    bytes: usize,
    asked: u64,
    hit: u64,
    /// The average time of a row in nanoseconds; 0 while it is not known.
    pub nanos_a_row: f64,
    /// The number of batches for which the cache is not used, after it did not save time.
    pause: u32,
}

impl ResultCache {
    /// Whether the next batch should use the cache.
    pub fn pays(&mut self) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        if self.asked >= 65_536 {
            let rate = self.hit as f64 / self.asked as f64;
            (self.asked, self.hit) = (0, 0);
            if self.nanos_a_row > 0.0 && rate * self.nanos_a_row < LOOK_UP_NANOS {
                self.pause = 512;
                self.results = HashMap::default();
                self.bytes = 0;
                return false;
            }
        }
        true
    }
    /// The cached result for some arguments.
    pub fn get(&self, key: &[u8]) -> Option<&Value<'static>> {
        self.results.get(key)
    }
    /// Counts the rows that were looked up, and those that were found.
    pub fn count(&mut self, asked: usize, hit: usize) {
        self.asked += asked as u64;
        self.hit += hit as u64;
    }
    /// Caches the result for some arguments.
    pub fn keep(&mut self, key: &[u8], value: Value<'static>) {
        let size = key.len() + value.as_bytes().map_or(0, <[u8]>::len) + 96;
        if self.bytes + size > MOST_BYTES {
            self.results.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        self.results.insert(key.into(), value);
    }
}
