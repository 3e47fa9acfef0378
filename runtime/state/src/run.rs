//! The changes of a subtask in an epoch, with indexes for point reads and ordered reads.

use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{LazyLock, OnceLock};
use weir_core::state::{Changes, KeyRange, KeyRanges, OperatorId};

/// The changes of a subtask in an epoch, or of all subtasks of an operator in merged epochs.
pub(crate) struct Run {
    pub operator: OperatorId,
    pub changes: Changes,
    /// The last change of each key, by hash. Made at the first lookup: a job whose keys are all in memory looks none up.
    index: OnceLock<HashTable<u32>>,
    /// The least and the greatest key group.
    groups: ([u8; 2], [u8; 2]),
    /// Whether the changes are sorted by key, and each key occurs once, as in a merged run.
    sorted: bool,
    /// If not, the last change of each key, sorted by key. Made at the first ordered read.
    ordered: OnceLock<Vec<u32>>,
}

/// A key and its new value; none if it is deleted.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

fn group(key: &[u8]) -> [u8; 2] {
    key.first_chunk::<2>().copied().unwrap_or_default()
}

/// The same for all runs, so that a key is hashed once.
static HASHER: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

/// A key with its hash, to be looked up in several runs.
#[derive(Clone, Copy)]
pub(crate) struct HashedKey<'a> {
    key: &'a [u8],
    hash: u64,
}

impl HashedKey<'_> {
    pub fn new(key: &[u8]) -> HashedKey<'_> {
        HashedKey { key, hash: HASHER.hash_one(key) }
    }
}

impl Run {
    pub fn new(operator: OperatorId, changes: Changes) -> Run {
        let mut groups = ([u8::MAX; 2], [0; 2]);
        let mut note = |key: &[u8]| {
            let g = group(key);
            groups = (groups.0.min(g), groups.1.max(g));
        };
        let (mut sorted, mut last): (bool, Option<&[u8]>) = (true, None);
        for (key, _) in changes.iter() {
            note(key);
            sorted = sorted && last.replace(key).is_none_or(|last| last < key);
        }
        changes.removed().iter().flat_map(|(from, to)| [from, to]).for_each(note);
        Run { operator, changes, index: OnceLock::new(), groups, sorted, ordered: OnceLock::new() }
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

    /// The new value of a key, if this run changes it: `Some(None)` if it is deleted.
    pub fn get(&self, operator: OperatorId, wanted: HashedKey<'_>) -> Option<Option<&[u8]>> {
        let g = group(wanted.key);
        if self.operator != operator || g < self.groups.0 || g > self.groups.1 {
            return None;
        }
        match self.index().find(wanted.hash, |i| self.changes.get(*i as usize).0 == wanted.key) {
            Some(at) => Some(self.changes.get(*at as usize).1),
            None => self.changes.removed().contains(wanted.key).then_some(None),
        }
    }

    /// The changed keys of a range, in order, with their new values.
    fn range<'a>(&'a self, range: KeyRange<'a>) -> RunRange<'a> {
        let end = if self.sorted { self.changes.len() } else { self.ordered().len() };
        let mut changes = RunRange { run: self, next: 0, end, range };
        changes.skip_to(range.from);
        changes
    }

    /// The change of the key with this number in the order of keys.
    fn change(&self, number: usize) -> Change<'_> {
        #[cfg(test)]
        CHANGES_READ.set(CHANGES_READ.get() + 1);
        self.changes.get(if self.sorted { number } else { self.ordered()[number] as usize })
    }

    fn ordered(&self) -> &[u32] {
        self.ordered.get_or_init(|| {
            let key = |at: u32| self.changes.get(at as usize).0;
            let mut all: Vec<u32> = (0..self.changes.len() as u32).collect();
            all.sort_unstable_by(|a, b| key(*a).cmp(key(*b)).then(a.cmp(b)));
            // Of changes of one key the last one stays.
            all.dedup_by(|next, last| {
                let same = key(*next) == key(*last);
                if same {
                    *last = *next;
                }
                same
            });
            all
        })
    }

    /// Bytes of memory, estimated.
    pub fn bytes(&self) -> usize {
        self.changes.bytes()
            + 5 * self.index.get().map_or(0, HashTable::capacity)
            + 4 * self.ordered.get().map_or(0, Vec::len)
    }
}

#[cfg(test)]
thread_local! {
    /// The number of changes that ordered reads of this thread have accessed.
    pub(crate) static CHANGES_READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The changes of a run within a range, in order.
struct RunRange<'a> {
    run: &'a Run,
    next: usize,
    end: usize,
    range: KeyRange<'a>,
}

impl RunRange<'_> {
    /// Seeks to the first key that is not less than this one.
    fn skip_to(&mut self, key: &[u8]) {
        let mut behind = self.end;
        while self.next < behind {
            let middle = self.next.midpoint(behind);
            if self.run.change(middle).0 < key {
                self.next = middle + 1;
            } else {
                behind = middle;
            }
        }
    }
}

impl<'a> Iterator for RunRange<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let number = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(self.run.change(number)).filter(|(key, _)| self.range.ends_behind(key))
    }
}

/// After so many consecutive keys in deleted ranges, a read seeks to the end of the range instead of stepping over them.
pub(crate) const STEPS: usize = 256;

/// The ranges that runs delete, for those runs that delete something within the range that is read.
pub(crate) struct Removed<'a>(Vec<(usize, &'a KeyRanges)>);

impl<'a> Removed<'a> {
    pub fn new(runs: &[&'a Run], range: KeyRange<'_>) -> Removed<'a> {
        let all = runs.iter().enumerate().map(|(n, run)| (n, run.changes.removed()));
        Removed(all.filter(|(_, removed)| removed.overlaps(range)).collect())
    }

    /// If this run or a newer one deletes a range with this key, its end.
    pub fn end_of(&self, from_run: usize, key: &[u8]) -> Option<&'a [u8]> {
        self.0.iter().rev().take_while(|(n, _)| *n >= from_run).find_map(|(_, removed)| removed.end_of(key))
    }
}

/// The next change of a run: its key, the number of the run, and the value; none where the key is removed.
type Head<'a> = (Reverse<&'a [u8]>, usize, Option<&'a [u8]>);

/// Merges a range of several runs of an operator, given oldest first. Of several changes of a key, the newest counts. Keys in ranges that
/// newer runs delete are left out.
pub(crate) struct Merged<'a> {
    runs: Vec<RunRange<'a>>,
    /// The next change of each run. Of changes of the same key, the newest comes first.
    heads: BinaryHeap<Head<'a>>,
    removed: Removed<'a>,
    /// The number of consecutive keys that were left out.
    steps: usize,
}

impl<'a> Merged<'a> {
    pub fn new(runs: &[&'a Run], range: KeyRange<'a>) -> Self {
        let removed = Removed::new(runs, range);
        let runs: Vec<RunRange<'a>> = runs.iter().map(|run| run.range(range)).collect();
        let mut merged = Merged { runs, heads: BinaryHeap::new(), removed, steps: 0 };
        (0..merged.runs.len()).for_each(|n| merged.advance(n));
        merged
    }

    /// Takes the next change of a run.
    fn advance(&mut self, n: usize) {
        self.heads.extend(self.runs[n].next().map(|(key, value)| (Reverse(key), n, value)));
    }

    /// The newest change of the next key, and its run.
    fn newest(&mut self) -> Option<(Change<'a>, usize)> {
        let (Reverse(key), newest, value) = self.heads.pop()?;
        self.advance(newest);
        while let Some((_, older, _)) = self.heads.peek().filter(|(k, ..)| k.0 == key).copied() {
            self.heads.pop();
            self.advance(older);
        }
        Some(((key, value), newest))
    }

    /// Seeks in the runs up to this one to the first key that is not less than `end`.
    fn skip_to(&mut self, run: usize, end: &[u8]) {
        for (key, n, value) in std::mem::take(&mut self.heads) {
            if n <= run && key.0 < end {
                self.runs[n].skip_to(end);
                self.advance(n);
            } else {
                self.heads.push((key, n, value));
            }
        }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        loop {
            let (change, run) = self.newest()?;
            let Some(end) = self.removed.end_of(run + 1, change.0) else {
                self.steps = 0;
                return Some(change);
            };
            self.steps += 1;
            if self.steps > STEPS {
                self.skip_to(run, end);
            }
        }
    }
}
