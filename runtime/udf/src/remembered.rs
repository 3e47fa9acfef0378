//! Results by argument, as long as that pays.

use hashbrown::HashMap;
use weir_core::Value;

/// Bytes of results and their arguments at most; then it begins anew.
const MOST_BYTES: usize = 8 << 20;
/// What a look-up costs, about.
const LOOK_UP_NANOS: f64 = 90.0;

/// Results by argument.
#[derive(Default)]
pub(crate) struct ResultCache {
    results: HashMap<Box<[u8]>, Value<'static>, ahash::RandomState>,
    bytes: usize,
    asked: u64,
    hit: u64,
    /// What a row costs on average; 0 while it is not known.
    pub nanos_a_row: f64,
    /// Batches that go by without asking, after it did not pay.
    pause: u32,
}

impl ResultCache {
    /// Whether the next batch should ask.
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
    /// The result of arguments.
    pub fn get(&self, key: &[u8]) -> Option<&Value<'static>> {
        self.results.get(key)
    }
    /// Counts rows for which it was asked, and those of them whose results it had.
    pub fn count(&mut self, asked: usize, hit: usize) {
        self.asked += asked as u64;
        self.hit += hit as u64;
    }
    /// Keeps the result of arguments.
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
