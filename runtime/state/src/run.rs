//! What one subtask handed over in one epoch, with an index: found by key, put away and gone through in order.

use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::sync::{LazyLock, OnceLock};
use weir_core::state::{Changes, KeyRange, OperatorId};

/// Changes of a subtask. Where a key is there twice, the index has the later one.
pub(crate) struct Run {
    pub operator: OperatorId,
    pub changes: Changes,
    /// Made when a key is looked up first: a job whose keys are all in memory looks none up.
    index: OnceLock<HashTable<u32>>,
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

/// One for all runs, so that a key is hashed once for all of them.
static HASHER: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

/// A key that is looked up in several runs, with its hash.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    key: &'a [u8],
    hash: u64,
}

impl Wanted<'_> {
    pub fn new(key: &[u8]) -> Wanted<'_> {
        Wanted { key, hash: HASHER.hash_one(key) }
    }
}

impl Run {
    pub fn new(operator: OperatorId, changes: Changes) -> Run {
        let mut groups = ([u8::MAX; 2], [0; 2]);
        for (key, _) in changes.iter() {
            let g = group(key);
            groups = (groups.0.min(g), groups.1.max(g));
        }
        Run { operator, changes, index: OnceLock::new(), groups, ordered: OnceLock::new() }
    }

    fn index(&self) -> &HashTable<u32> {
        self.index.get_or_init(|| {
            let key = |at: u32| self.changes.get(at as usize).0;
            let mut index: HashTable<u32> = HashTable::with_capacity(self.changes.len());
            for at in 0..self.changes.len() as u32 {
                let hash = HASHER.hash_one(key(at));
                match index.find_mut(hash, |i| key(*i) == key(at)) {
                    Some(i) => *i = at,
                    None => {
                        index.insert_unique(hash, at, |i| HASHER.hash_one(key(*i)));
                    }
                }
            }
            index
        })
    }

    /// The new value of a key, if this run has one: `Some(None)` when the key goes.
    pub fn get(&self, operator: OperatorId, wanted: Wanted<'_>) -> Option<Option<&[u8]>> {
        let g = group(wanted.key);
        if self.operator != operator || g < self.groups.0 || g > self.groups.1 {
            return None;
        }
        let at = self.index().find(wanted.hash, |i| self.changes.get(*i as usize).0 == wanted.key)?;
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
        let from = all.partition_point(|at| self.look(*at).0 < range.from);
        let changes = all[from..].iter().map(|at| self.look(*at));
        changes.take_while(move |(key, _)| range.ends_behind(key))
    }

    /// A change that a range goes through, or passes by in search of its begin.
    fn look(&self, at: u32) -> Change<'_> {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        self.changes.get(at as usize)
    }

    fn ordered(&self) -> &[u32] {
        self.ordered.get_or_init(|| {
            let mut all: Vec<u32> = self.index().iter().copied().collect();
            all.sort_unstable_by_key(|at| self.changes.get(*at as usize).0);
            all
        })
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.changes.bytes()
            + 5 * self.index.get().map_or(0, HashTable::capacity)
            + 4 * self.ordered.get().map_or(0, Vec::len)
    }
}

#[cfg(test)]
thread_local! {
    /// How many changes were looked at by ranges that this thread has read.
    pub(crate) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
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
