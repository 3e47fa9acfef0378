//! Ranges of keys: one of them, and sets such as the ranges that an epoch deletes.

use crate::varint;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The keys from one on, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// The first key.
    pub from: &'a [u8],
    /// The first key behind the range; none if the range has no end.
    pub to: Option<&'a [u8]>,
}

impl KeyRange<'_> {
    /// Whether a key is before the end of the range.
    pub fn ends_behind(&self, key: &[u8]) -> bool {
        self.to.is_none_or(|to| key < to)
    }
}

/// The first key behind all those that start with `prefix`; none if there is no such key.
///
/// # Examples
/// ```
/// use weir_core::state::behind;
///
/// assert_eq!(behind(b"ab"), Some(b"ac".to_vec()));
/// assert_eq!(behind(&[1, 255]), Some(vec![2]));
/// assert_eq!(behind(&[255]), None);
/// ```
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|b| *b < u8::MAX)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

/// A set of keys, as ranges in order. Ranges that overlap or touch are joined.
///
/// # Examples
/// ```
/// use weir_core::state::KeyRanges;
///
/// let mut ranges = KeyRanges::default();
/// ranges.insert(b"a", b"c");
/// ranges.insert(b"x", b"z");
/// ranges.insert(b"b", b"d");
/// assert_eq!(ranges.iter().collect::<Vec<_>>(), [(&b"a"[..], &b"d"[..]), (b"x", b"z")]);
/// assert_eq!(ranges.end_of(b"cc"), Some(&b"d"[..]));
/// assert!(!ranges.contains(b"d"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRanges {
    /// The end of each range, by its first key.
    ends: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

/// Bytes of memory that a range takes besides its keys, about.
const OVERHEAD: usize = 64;

fn size(from: &[u8], to: &[u8]) -> usize {
    OVERHEAD + from.len() + to.len()
}

impl KeyRanges {
    /// Adds the keys from `from` on that are less than `to`.
    pub fn insert(&mut self, from: &[u8], to: &[u8]) {
        if from >= to {
            return;
        }
        let (mut from, mut to) = (from.to_vec(), to.to_vec());
        let until = |to: &[u8]| (Bound::Unbounded, Bound::Included(to.to_vec()));
        while let Some((start, _)) = self.ends.range(until(&to)).next_back().filter(|(_, end)| **end >= from) {
            let start = start.clone();
            let end = self.ends.remove(&start).unwrap_or_default();
            self.bytes = self.bytes.saturating_sub(size(&start, &end));
            (from, to) = (from.min(start), to.max(end));
        }
        self.bytes += size(&from, &to);
        self.ends.insert(from, to);
    }

    /// Adds all keys of another set.
    pub fn extend(&mut self, other: &KeyRanges) {
        other.iter().for_each(|(from, to)| self.insert(from, to));
    }

    /// The end of the range that a key is in: the first key behind it.
    pub fn end_of(&self, key: &[u8]) -> Option<&[u8]> {
        let (_, end) = self.ends.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        (key < end.as_slice()).then_some(end)
    }

    /// Whether a key is in the set.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.end_of(key).is_some()
    }

    /// The first range that has keys from this one on: its first key, and the first key behind it.
    pub fn next_from(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let before = self.ends.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        let after = || self.ends.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next();
        let (from, to) = before.filter(|(_, end)| key < end.as_slice()).or_else(after)?;
        Some((from, to))
    }

    /// Whether a range has keys of the set.
    pub fn overlaps(&self, range: KeyRange<'_>) -> bool {
        if !range.ends_behind(range.from) {
            return false;
        }
        let before = range.to.map_or(Bound::Unbounded, Bound::Excluded);
        let last = self.ends.range::<[u8], _>((Bound::Unbounded, before)).next_back();
        last.is_some_and(|(_, end)| end.as_slice() > range.from)
    }

    /// The ranges in order: the first key of each, and the first key behind it.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ends.iter().map(|(from, to)| (from.as_slice(), to.as_slice()))
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the set has no keys.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The form in files. For each range: length and bytes of its first key, the number of bytes that its end has in common with that,
    /// length and bytes of what follows in the end. Numbers are [`varint`]s.
    pub fn packed(&self) -> Vec<u8> {
        let mut out = vec![];
        for (from, to) in self.iter() {
            let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            varint::put(&mut out, from.len() as u64);
            out.extend_from_slice(from);
            varint::put(&mut out, common as u64);
            varint::put(&mut out, (to.len() - common) as u64);
            out.extend_from_slice(&to[common..]);
        }
        out
    }

    /// The set of a form that [`KeyRanges::packed`] gives; none if it is not one.
    pub fn unpack(mut bytes: &[u8]) -> Option<KeyRanges> {
        fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
            let length = varint::take(bytes)?;
            let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            *bytes = rest;
            Some(taken)
        }
        let mut ranges = KeyRanges::default();
        while !bytes.is_empty() {
            let from = take(&mut bytes)?;
            let common = from.get(..usize::try_from(varint::take(&mut bytes)?).ok()?)?;
            ranges.insert(from, &[common, take(&mut bytes)?].concat());
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_of_ranges_is_a_set_of_keys() {
        let random = &mut fastrand::Rng::with_seed(1);
        // Keys of one byte, and the first key behind each of them.
        let key = |n: u8| if n.is_multiple_of(2) { vec![n / 2] } else { vec![n / 2, 0] };
        for _ in 0..500 {
            let (mut ranges, mut keys) = (KeyRanges::default(), BTreeSet::new());
            for _ in 0..random.usize(0..12) {
                let (from, to) = (random.u8(0..80), random.u8(0..80));
                ranges.insert(&key(from), &key(to));
                keys.extend(from..to);
            }
            let all: Vec<_> = ranges.iter().collect();
            assert!(all.windows(2).all(|two| two[0].1 < two[1].0), "{all:?}");
            assert_eq!(ranges.bytes(), all.iter().map(|(from, to)| size(from, to)).sum::<usize>());
            for n in 0..80 {
                assert_eq!(ranges.contains(&key(n)), keys.contains(&n), "{n}");
                let end = (n..).find(|n| !keys.contains(n)).filter(|end| *end > n);
                assert_eq!(ranges.end_of(&key(n)), end.map(key).as_deref());
                let next = ranges.next_from(&key(n)).map(|(_, to)| to.to_vec());
                let first = (n..80).find(|n| keys.contains(n));
                assert_eq!(next, first.and_then(|n| (n..).find(|n| !keys.contains(n))).map(key));
                let to = random.u8(n..=80);
                let (from, end) = (key(n), (to < 80).then(|| key(to)));
                let range = KeyRange { from: &from, to: end.as_deref() };
                assert_eq!(ranges.overlaps(range), (n..to).any(|n| keys.contains(&n)), "{range:?}");
            }
            let packed = ranges.packed();
            assert_eq!(KeyRanges::unpack(&packed), Some(ranges));
            assert!(packed.is_empty() || KeyRanges::unpack(&packed[..packed.len() - 1]).is_none());
        }
    }
}
