//! Entries of collections and timers: those in the store, overlaid with those in memory, which are newer.

use super::{COLLECTIONS, Codec, Entry, KeyedState, PAGE, TIMERS, written_at};
use crate::Result;
use crate::state::{KeyRange, KeyRanges, Pair, Pairs};
use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;

/// Bytes of memory that an entry takes besides its key and value, estimated.
const OVERHEAD: usize = 96;

/// Up to so many entries are deleted one by one, since a range has two keys.
pub(super) const FEW: usize = 2;

/// Bytes of memory that an entry takes, estimated.
pub(super) fn entry_size(key: &[u8], value: Option<&Vec<u8>>) -> usize {
    OVERHEAD + key.len() + value.map_or(0, Vec::len)
}

impl<C: Codec> KeyedState<C> {
    /// Deletes the expired entries of collections of a key group.
    pub(super) fn sweep_entries(&mut self, group: u16) -> Result<()> {
        let [high, low] = group.to_be_bytes();
        let mut from = vec![high, low, COLLECTIONS];
        let to = [high, low, TIMERS];
        loop {
            let page: Vec<Pair> = self.entry_range(&from, Some(&to)).take(PAGE).collect::<Result<_>>()?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = [last, &[0][..]].concat();
            for (key, mut value) in page {
                match written_at(&value, 0)? {
                    0 => {
                        value[..8].copy_from_slice(&self.now.to_be_bytes());
                        self.put_entry(key, Some(value));
                    }
                    written if self.entry_over(&key, written) => self.put_entry(key, None),
                    _ => {}
                }
            }
        }
    }

    /// The entry with this key in the store.
    pub(super) fn entry(&mut self, key: &[u8]) -> Result<Option<&[u8]>> {
        self.load_entries(vec![key.to_vec()])?;
        Ok(self.entries.get(key).and_then(|s| s.value.as_deref()))
    }

    /// Loads entries into memory, by their keys in the store.
    pub(super) fn load_entries(&mut self, keys: Vec<Vec<u8>>) -> Result<()> {
        let asked = keys.len();
        let reads = |k: &Vec<u8>| self.stored && !self.entries.contains_key(k) && !self.removed.contains(k);
        let missing = keys.into_iter().filter(reads);
        let mut missing: Vec<Vec<u8>> = missing.collect();
        missing.sort_unstable();
        missing.dedup();
        self.metrics.state_reads.inc_by(missing.len() as u64);
        self.metrics.state_hits.inc_by(asked.saturating_sub(missing.len()) as u64);
        if missing.is_empty() {
            return Ok(());
        }
        self.make_room();
        self.uses += 1;
        let refs: Vec<&[u8]> = missing.iter().map(Vec::as_slice).collect();
        let found = self.state.get_many(&refs)?;
        for (key, value) in missing.into_iter().zip(found) {
            self.account.bytes += entry_size(&key, value.as_ref());
            let stored = value.is_some();
            self.entries.insert(key, Entry { value, used: self.uses, dirty: false, stored });
        }
        Ok(())
    }

    /// Sets an entry, or deletes it.
    pub(super) fn put_entry(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let is = entry_size(&key, value.as_ref());
        self.uses += 1;
        match self.entries.entry(key) {
            btree_map::Entry::Occupied(mut old) => {
                let was = entry_size(old.key(), old.get().value.as_ref());
                let (was_dirty, stored) = (old.get().dirty, old.get().stored);
                // Nothing has to be deleted that the store does not have.
                if value.is_none() && !stored {
                    self.account.note(was, 0, was_dirty, false);
                    old.remove();
                } else {
                    self.account.note(was, is, was_dirty, true);
                    *old.get_mut() = Entry { value, used: self.uses, dirty: true, stored };
                }
            }
            btree_map::Entry::Vacant(new) if value.is_some() || self.stored => {
                self.account.note(0, is, false, true);
                new.insert(Entry { value, used: self.uses, dirty: true, stored: self.stored });
            }
            btree_map::Entry::Vacant(_) => {}
        }
    }

    /// Deletes all entries of a range, those in the store as one range.
    pub(super) fn remove_range(&mut self, from: &[u8], to: &[u8]) {
        let mut stored = self.stored;
        for (key, e) in self.entries.extract_if(from.to_vec()..to.max(from).to_vec(), |_, _| true) {
            self.account.note(entry_size(&key, e.value.as_ref()), 0, e.dirty, false);
            stored |= e.stored;
        }
        if stored {
            self.removed.insert(from, to);
        }
    }

    /// A range of the store, without the ranges that this epoch has deleted.
    pub(super) fn stored_range(&self, from: &[u8], to: Option<&[u8]>) -> Stored<'_> {
        Stored { pairs: self.state.range(KeyRange { from, to }), removed: &self.removed }
    }

    /// The entries of a range in order: those in the store, overlaid with those in memory.
    pub(super) fn entry_range(&self, from: &[u8], to: Option<&[u8]>) -> Merged<'_> {
        let stored = self.stored.then(|| self.stored_range(from, to).peekable());
        let end = match to {
            // A range of a map must not end before it begins.
            Some(to) => Bound::Excluded(to.max(from)),
            None => Bound::Unbounded,
        };
        let cached = self.entries.range::<[u8], _>((Bound::Included(from), end));
        Merged { stored, cached: cached.peekable() }
    }
}

/// Iterates over a range of the store, without the ranges that this epoch has deleted.
pub(super) struct Stored<'a> {
    pairs: Pairs<'a>,
    removed: &'a KeyRanges,
}

impl Iterator for Stored<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        loop {
            let pair = self.pairs.next()?;
            match pair.as_ref().ok().and_then(|(key, _)| self.removed.end_of(key)) {
                Some(end) => self.pairs.skip_to(end),
                None => return Some(pair),
            }
        }
    }
}

/// Iterates over entries of the store, overlaid with those in memory.
pub(super) struct Merged<'a> {
    stored: Option<Peekable<Stored<'a>>>,
    cached: Peekable<btree_map::Range<'a, Vec<u8>, Entry>>,
}

impl Iterator for Merged<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        loop {
            let of_store = self.stored.as_mut().and_then(Peekable::peek);
            let (from_store, both) = match (of_store, self.cached.peek()) {
                (None, None) => return None,
                (Some(Ok((k, _))), Some((cached, _))) => (k < *cached, k == *cached),
                (of_store, _) => (of_store.is_some(), false),
            };
            if from_store || both {
                let next = self.stored.as_mut().and_then(Iterator::next);
                if from_store {
                    return next;
                }
            }
            if let Some((key, slot)) = self.cached.next()
                && let Some(value) = &slot.value
            {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
