//! A Bloom filter of the keys in sled, so that looking up a key that was never written does not touch the disk.
//!
//! The filter's size is derived from the cache's. With more keys it has more false positives, but never a false negative. It is rebuilt
//! when a store is opened, and lets every key through until all keys have been added.
//!
//! The existing crates (fastbloom, bloomfilter) write to all of their memory at the start, and spread the bits of each key over it. A job
//! with few keys would pay for the memory of many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_core::state::OperatorId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Number of bits that a key sets.
const BITS: u64 = 3;

pub(crate) struct Filter {
    words: Box<[AtomicU64]>,
    complete: AtomicBool,
}

impl Filter {
    /// A filter of this size. It is complete from the start if the store is empty.
    pub fn new(bytes: usize, empty: bool) -> Filter {
        // Zeroed memory is not touched before a bit is set in it, so a job with few keys pays for few pages.
        let zeros = Box::into_raw(vec![0u64; (bytes / 8).max(1)].into_boxed_slice());
        // SAFETY: an atomic has the size and alignment of its integer, and nothing else refers to this memory.
        let words = unsafe { Box::from_raw(zeros as *mut [AtomicU64]) };
        Filter { words, complete: AtomicBool::new(empty) }
    }

    fn places(&self, operator: OperatorId, key: &[u8]) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let hash = xxh3_64_with_seed(key, u64::from(operator.0));
        let (step, words) = ((hash >> 32) | 1, self.words.len() as u64);
        (0..BITS).map(move |i| {
            let h = hash.wrapping_add(i.wrapping_mul(step));
            let at = ((u128::from(h.wrapping_mul(0x9E37_79B9_7F4A_7C15)) * u128::from(words)) >> 64) as usize;
            (&self.words[at], 1 << (h & 63))
        })
    }

    /// Adds a key.
    pub fn add(&self, operator: OperatorId, key: &[u8]) {
        self.places(operator, key).for_each(|(w, bit)| {
            w.fetch_or(bit, Ordering::Relaxed);
        });
    }

    /// Whether the key may be in the store.
    pub fn lets_through(&self, operator: OperatorId, key: &[u8]) -> bool {
        !self.complete.load(Ordering::Acquire)
            || self.places(operator, key).all(|(w, bit)| w.load(Ordering::Relaxed) & bit != 0)
    }

    /// Marks the filter as complete: all keys of the store have been added.
    pub fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_passes_and_little_else() {
        let f = Filter::new(64 << 10, false);
        let key = |i: u32| i.to_be_bytes();
        assert!(f.lets_through(OperatorId(1), &key(1)), "nothing is known yet");
        (0..50_000).for_each(|i| f.add(OperatorId(1), &key(i)));
        f.complete();
        assert!((0..50_000).all(|i| f.lets_through(OperatorId(1), &key(i))));
        let wrong = (50_000..100_000).filter(|i| f.lets_through(OperatorId(1), &key(*i))).count();
        assert!(wrong < 3_000, "{wrong} of 50,000");
        assert!((0..1000).filter(|i| f.lets_through(OperatorId(2), &key(*i))).count() < 100);
    }
}
