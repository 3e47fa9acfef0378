//! Values in the order of arrival, some of which are retracted: the accumulator of LISTAGG, ARRAY_AGG, FIRST_VALUE and similar functions
//! over changelogs and with DISTINCT.

use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Approximate memory of an entry in addition to the value's bytes.
const OVERHEAD: usize = 128;

/// A list of encoded values. A retraction removes the first equal value, and is ignored if there is none. With DISTINCT, a value is listed
/// where it first arrived, until it has been retracted as often as it was inserted.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    distinct: bool,
    /// The values by their position.
    rows: BTreeMap<u64, Arc<[u8]>>,
    values: HashMap<Arc<[u8]>, Occurrences, ahash::RandomState>,
    next: u64,
    bytes: usize,
}

/// How often a value occurs, and at which positions. With DISTINCT the count may be negative.
#[derive(Debug, Clone, Default)]
struct Occurrences {
    count: i64,
    at: VecDeque<u64>,
}

impl Ordered {
    pub fn new(distinct: bool) -> Ordered {
        Ordered { distinct, rows: BTreeMap::new(), values: HashMap::default(), next: 0, bytes: 0 }
    }

    /// Adds a value, or retracts it if the sign is negative.
    pub fn add(&mut self, value: &[u8], sign: i64) {
        if sign > 0 {
            self.come(value, 1);
        } else {
            self.go(value);
        }
    }

    fn come(&mut self, value: &[u8], times: i64) {
        let value: Arc<[u8]> = match self.values.get_key_value(value) {
            Some((known, _)) => known.clone(),
            None => {
                self.bytes += value.len() + OVERHEAD;
                value.into()
            }
        };
        let places = self.values.entry(value.clone()).or_default();
        places.count += times;
        if places.count > 0 && (!self.distinct || places.at.is_empty()) {
            places.at.push_back(self.next);
            self.rows.insert(self.next, value);
            self.next += 1;
            self.bytes += OVERHEAD;
        } else if places.count == 0 {
            self.forget(&value);
        }
    }

    fn go(&mut self, value: &[u8]) {
        match self.values.get_mut(value) {
            Some(places) => {
                places.count -= 1;
                if (!self.distinct || places.count == 0)
                    && let Some(at) = places.at.pop_front()
                {
                    self.rows.remove(&at);
                    self.bytes -= OVERHEAD;
                }
                if places.count == 0 {
                    self.forget(value);
                }
            }
            // As in Flink, DISTINCT counts a retraction that precedes its insertion, and a list ignores it.
            None if self.distinct => {
                self.bytes += value.len() + OVERHEAD;
                self.values.insert(value.into(), Occurrences { count: -1, at: VecDeque::new() });
            }
            None => {}
        }
    }

    fn forget(&mut self, value: &[u8]) {
        if self.values.remove(value).is_some() {
            self.bytes -= value.len() + OVERHEAD;
        }
    }

    /// The values of the list, in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.rows.values().map(AsRef::as_ref)
    }

    /// The approximate memory in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Each value with its count, for the store: first the values of the list in their order, then those with a negative count.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], i64)> + Clone {
        let count = |v: &[u8]| if self.distinct { self.values.get(v).map_or(0, |p| p.count) } else { 1 };
        let there = self.rows.values().map(move |v| (v.as_ref(), count(v)));
        there.chain(self.values.iter().filter(|(_, p)| p.count < 0).map(|(v, p)| (v.as_ref(), p.count)))
    }

    /// Adds an entry that was read from the store.
    pub fn load(&mut self, value: &[u8], count: i64) {
        if count > 0 {
            self.come(value, count);
        }
        (count..0).for_each(|_| self.go(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(distinct: bool, changes: &[(&str, i64)]) -> (String, Ordered) {
        let mut list = Ordered::new(distinct);
        changes.iter().for_each(|(v, sign)| list.add(v.as_bytes(), *sign));
        let mut again = Ordered::new(distinct);
        list.entries().for_each(|(v, n)| again.load(v, n));
        let text =
            |l: &Ordered| l.values().map(|v| String::from_utf8_lossy(v).into_owned()).collect::<Vec<_>>().join(",");
        assert_eq!(text(&list), text(&again));
        assert_eq!(list.bytes(), again.bytes());
        (text(&list), again)
    }

    #[test]
    fn the_first_of_equal_values_goes() {
        let (text, mut list) = after(false, &[("a", 1), ("b", 1), ("a", 1), ("a", -1), ("x", -1), ("x", 1)]);
        assert_eq!(text, "b,a,x");
        ["b", "a", "x"].iter().for_each(|v| list.add(v.as_bytes(), -1));
        assert_eq!((list.values().count(), list.bytes()), (0, 0));
    }

    #[test]
    fn a_value_that_counts_once_keeps_its_place() {
        assert_eq!(after(true, &[("b", 1), ("a", 1), ("b", 1), ("b", -1)]).0, "b,a");
        assert_eq!(after(true, &[("b", 1), ("a", 1), ("b", -1), ("c", 1), ("b", 1)]).0, "a,c,b");
        let (text, mut list) = after(true, &[("x", -1), ("x", -1), ("a", 1), ("x", 1)]);
        assert_eq!(text, "a", "x went once more than it came");
        list.add(b"x", 1);
        assert_eq!(list.values().count(), 1);
        list.add(b"x", 1);
        list.add(b"a", -1);
        list.add(b"x", -1);
        assert_eq!((list.values().count(), list.bytes()), (0, 0));
    }
}
