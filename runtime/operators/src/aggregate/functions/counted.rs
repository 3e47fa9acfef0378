//! An ordered multiset of values: the accumulator of DISTINCT, COLLECT, and of MIN and MAX over changelogs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Approximate memory of an entry in addition to the value's bytes.
const OVERHEAD: usize = 64;

/// A multiset of encoded values.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    counts: BTreeMap<Vec<u8>, i64>,
    /// The number of values with a positive count. A value that is retracted before it was inserted has a negative one.
    there: usize,
    bytes: usize,
    /// Values whose count changed since the last epoch. Some occur twice.
    touched: Vec<Vec<u8>>,
}

impl Counted {
    /// Changes the count of a value by this number, which may be negative.
    pub fn add(&mut self, value: Vec<u8>, by: i64) {
        let (was, is) = self.change(value.clone(), by);
        self.there = self.there + usize::from(is > 0) - usize::from(was > 0);
        self.touched.push(value);
    }

    fn change(&mut self, value: Vec<u8>, by: i64) -> (i64, i64) {
        let bytes = value.len() + OVERHEAD;
        match self.counts.entry(value) {
            Entry::Vacant(_) if by == 0 => (0, 0),
            Entry::Vacant(e) => {
                e.insert(by);
                self.bytes += bytes;
                (0, by)
            }
            Entry::Occupied(mut e) => {
                let was = *e.get();
                let is = was + by;
                if is == 0 {
                    e.remove();
                    self.bytes -= bytes;
                } else {
                    *e.get_mut() = is;
                }
                (was, is)
            }
        }
    }

    /// Adds an entry that was read from the store.
    pub fn load(&mut self, value: Vec<u8>, count: i64) {
        let (was, is) = self.change(value, count);
        self.there = self.there + usize::from(is > 0) - usize::from(was > 0);
    }

    /// The number of distinct values with a positive count.
    pub fn len(&self) -> usize {
        self.there
    }

    /// The values with a positive count, in order, with their counts.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        self.counts.iter().map(|(v, n)| (v.as_slice(), *n)).filter(|(_, n)| *n > 0)
    }

    /// All values with their counts, in order, including those with a negative count.
    pub fn counts(&self) -> impl Iterator<Item = (&[u8], i64)> + Clone {
        self.counts.iter().map(|(v, n)| (v.as_slice(), *n))
    }

    /// Takes the values whose count changed since the last call, each once, with their count. The count 0 means that the value is gone.
    pub fn take_touched(&mut self) -> Vec<(Vec<u8>, i64)> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let count = |v: Vec<u8>| {
            let n = self.counts.get(&v).copied().unwrap_or(0);
            (v, n)
        };
        touched.into_iter().map(count).collect()
    }

    /// Removes all values. This counts as a change of each of them.
    pub fn clear(&mut self) {
        self.touched.extend(std::mem::take(&mut self.counts).into_keys());
        (self.there, self.bytes) = (0, 0);
    }

    /// The approximate memory in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_what_comes_and_goes() {
        let v = |s: &str| s.as_bytes().to_vec();
        let mut c = Counted::default();
        c.add(v("b"), 1);
        c.add(v("a"), 2);
        c.add(v("x"), -1);
        assert_eq!((c.len(), c.values().next()), (2, Some((&b"a"[..], 2))));
        c.add(v("a"), -2);
        assert_eq!((c.len(), c.values().next_back()), (1, Some((&b"b"[..], 1))));
        assert_eq!(c.take_touched(), [(v("a"), 0), (v("b"), 1), (v("x"), -1)]);
        assert!(c.take_touched().is_empty());
        c.add(v("x"), 1);
        c.add(v("b"), -1);
        assert_eq!((c.len(), c.bytes()), (0, 0));
        c.add(v("y"), 1);
        c.take_touched();
        c.add(v("z"), 1);
        c.clear();
        assert_eq!((c.len(), c.bytes()), (0, 0));
        assert_eq!(c.take_touched(), [(v("y"), 0), (v("z"), 0)]);
        let mut again = Counted::default();
        again.load(v("b"), 3);
        assert!(again.take_touched().is_empty() && again.len() == 1);
    }
}
