//! What one subtask handed over in one epoch, with an index: found by key, put away and gone through in order.

use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::sync::OnceLock;
use weir_core::state::{Changes, KeyRange, OperatorId};

/// Changes of a subtask. Where a key is there twice, the index has the later one.
pub(crate) struct Run {
    pub operator: OperatorId,
    pub changes: Changes,
    index: HashTable<u32>,
    hasher: ahash::RandomState,
    /// The least and the greatest key group.
    groups: ([u8; 2], [u8; 2]),
    /// The changes that the index has, by their keys: made when a range is read first.
    ordered: OnceLock<Vec<u32>>,
}

/// A key and its new value; none when it goes.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

fn group(key: &[u8]) -> [u8; 2] {
    key.first_chunk::<2>().copied().unwrap_or_default()
}

impl Run {
    pub fn new(operator: OperatorId, changes: Changes) -> Run {
        let hasher = ahash::RandomState::new();
        let mut index: HashTable<u32> = HashTable::with_capacity(changes.len());
        let mut groups = ([u8::MAX; 2], [0; 2]);
        for (at, (key, _)) in changes.iter().enumerate() {
            let g = group(key);
            groups = (groups.0.min(g), groups.1.max(g));
            let hash = hasher.hash_one(key);
            let again = |i: &u32| hasher.hash_one(changes.get(*i as usize).0);
            match index.find_mut(hash, |i| changes.get(*i as usize).0 == key) {
                Some(i) => *i = at as u32,
                None => {
                    index.insert_unique(hash, at as u32, again);
                }
            }
        }
        Run { operator, changes, index, hasher, groups, ordered: OnceLock::new() }
    }

    /// The new value of a key, if this run has one: `Some(None)` when the key goes.
    pub fn get(&self, operator: OperatorId, key: &[u8]) -> Option<Option<&[u8]>> {
        let g = group(key);
        if self.operator != operator || g < self.groups.0 || g > self.groups.1 {
            return None;
        }
        let at = self.index.find(self.hasher.hash_one(key), |i| self.changes.get(*i as usize).0 == key)?;
        Some(self.changes.get(*at as usize).1)
    }

    /// The keys of a range, in order, with their new values.
    pub fn range<'a>(
        &'a self,
        operator: OperatorId,
        range: KeyRange<'a>,
    ) -> impl Iterator<Item = Change<'a>> + use<'a> {
        // Another operator's need not be put in order: there may be millions.
        let all: &[u32] = if self.operator == operator { self.ordered() } else { &[] };
        let from = all.partition_point(|at| self.changes.get(*at as usize).0 < range.from);
        let changes = all[from..].iter().map(|at| self.changes.get(*at as usize));
        changes.take_while(move |(key, _)| range.ends_behind(key))
    }

    fn ordered(&self) -> &[u32] {
        self.ordered.get_or_init(|| {
            let mut all: Vec<u32> = self.index.iter().copied().collect();
            all.sort_unstable_by_key(|at| self.changes.get(*at as usize).0);
            all
        })
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.changes.bytes() + 5 * self.index.capacity() + 4 * self.ordered.get().map_or(0, Vec::len)
    }
}

/// Goes through a range of several runs, oldest first, as if they were one: of a key that several have, the newest counts.
pub(crate) struct Merged<'a, I: Iterator<Item = Change<'a>>> {
    runs: Vec<Peekable<I>>,
    /// The next key of each run, the newest of equal ones in front.
    heads: BinaryHeap<(Reverse<&'a [u8]>, usize)>,
}

impl<'a, I: Iterator<Item = Change<'a>>> Merged<'a, I> {
    pub fn new(runs: impl Iterator<Item = I>) -> Self {
        let mut runs: Vec<Peekable<I>> = runs.map(Iterator::peekable).collect();
        let heads = runs.iter_mut().enumerate().filter_map(|(i, r)| Some((Reverse(r.peek()?.0), i))).collect();
        Merged { runs, heads }
    }
}

impl<'a, I: Iterator<Item = Change<'a>>> Iterator for Merged<'a, I> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let mut newest: Option<Change<'a>> = None;
        while let Some((Reverse(key), run)) = self.heads.peek().copied() {
            if newest.is_some_and(|(k, _)| k != key) {
                break;
            }
            self.heads.pop();
            let change = self.runs[run].next();
            newest = newest.or(change);
            self.heads.extend(self.runs[run].peek().map(|(k, _)| (Reverse(*k), run)));
        }
        newest
    }
}
