//! What one subtask handed over in one epoch, with an index: found by key, put away in order.

use hashbrown::HashTable;
use weir_core::state::{Changes, OperatorId};

/// Changes of a subtask. Where a key is there twice, the index has the later one.
pub(crate) struct Run {
    pub operator: OperatorId,
    pub changes: Changes,
    index: HashTable<u32>,
    hasher: ahash::RandomState,
    /// The least and the greatest key group.
    groups: ([u8; 2], [u8; 2]),
}

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
        Run { operator, changes, index, hasher, groups }
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

    /// The keys of an operator that start with `prefix`, in no order, with their new values.
    pub fn scan<'a>(
        &'a self,
        operator: OperatorId,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let ours = self.operator == operator;
        // Another operator's need not be gone through: there may be millions.
        let all = if ours { self.changes.len() } else { 0 };
        self.changes.iter().take(all).filter(move |(k, _)| k.starts_with(prefix))
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.changes.bytes() + 5 * self.index.capacity()
    }
}
