//! Groups in the store: a key of its own for each, and one for each counted value.

use super::{Accumulator, AggregateOperator, Group, size};
use std::collections::BTreeSet;
use weir_core::key::key_group;
use weir_core::state::Changes;
use weir_core::{Error, Result};

/// What the keys of counted values have behind their key group: no key of a group begins so.
const VALUES: u8 = 0xFE;

/// The key of a group.
pub(super) fn group_key(key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], key].concat()
}

/// The begin of the keys of a group's counted values: key group, a byte that no key begins with, the key's length, the key.
/// The number of the aggregate and the value follow.
pub(super) fn value_key(key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], &[VALUES], &(key.len() as u32).to_be_bytes(), key].concat()
}

/// The group's key in the key of a counted value.
fn of_value(key: &[u8]) -> Option<&[u8]> {
    let (length, rest) = key.get(3..)?.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

/// The keys of a group's counted values.
pub(super) fn value_keys(key: &[u8], accumulators: Box<[Accumulator]>, into: &mut Vec<Vec<u8>>) {
    for (call, a) in accumulators.into_iter().enumerate() {
        if let Accumulator::Counted(c) = a {
            let prefix = value_key(key);
            into.extend(c.into_values().map(|v| [&prefix, &[call as u8][..], &v].concat()));
        }
    }
}

fn read_i64(bytes: &mut &[u8]) -> Result<i64> {
    let (head, rest) =
        bytes.split_first_chunk::<8>().ok_or_else(|| Error::state("a group in the state is cut short"))?;
    *bytes = rest;
    Ok(i64::from_be_bytes(*head))
}

/// Where a group's form has the time of its last access.
const ACCESS: std::ops::Range<usize> = 8..16;

impl AggregateOperator {
    /// Appends a group's form for the store; counted values are not part of it.
    pub fn encode_group(g: &Group, out: &mut Vec<u8>) {
        out.extend_from_slice(&g.rows.to_be_bytes());
        out.extend_from_slice(&g.access.to_be_bytes());
        g.accumulators.iter().for_each(|a| a.encode(out));
    }

    /// The group that [`AggregateOperator::encode_group`] wrote.
    pub fn decode_group(&self, mut bytes: &[u8]) -> Result<Group> {
        let rows = read_i64(&mut bytes)?;
        let access = read_i64(&mut bytes)? as u64;
        let mut accumulators = self.fresh.clone();
        accumulators.iter_mut().try_for_each(|a| a.decode(&mut bytes))?;
        Ok(Group { rows, accumulators, changed: 0, dirty: false, access })
    }

    /// A group as the store has it, with its counted values.
    pub fn read_group(&self, key: &[u8], bytes: &[u8]) -> Result<Group> {
        let mut group = self.decode_group(bytes)?;
        if self.counts() {
            let prefix = value_key(key);
            for (k, v) in self.context.state.scan(&prefix)? {
                let damaged = || Error::state("a value of a group in the state is damaged");
                let (call, value) = k[prefix.len()..].split_first().ok_or_else(damaged)?;
                match group.accumulators.get_mut(usize::from(*call)) {
                    Some(Accumulator::Counted(c)) => c.load(value.to_vec(), read_i64(&mut &v[..])?),
                    _ => return Err(damaged()),
                }
            }
        }
        Ok(group)
    }

    /// Whether groups have counted values.
    fn counts(&self) -> bool {
        self.fresh.iter().any(|a| matches!(a, Accumulator::Counted(_)))
    }

    /// The groups of a key group in the store, with their keys.
    pub fn stored_groups(&self, group: u16) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // Keys begin with the marker of their first value, or are empty.
        let group = group.to_be_bytes();
        let mut stored = self.context.state.scan(&[group[0], group[1], 0])?;
        stored.extend(self.context.state.scan(&[group[0], group[1], 1])?);
        if let [Some(v)] = self.context.state.get_many(&[&group])?.as_slice() {
            stored.push((group.to_vec(), v.clone()));
        }
        Ok(stored)
    }

    /// Brings the keys of a batch into memory.
    pub fn load(&mut self, keys: &[&[u8]]) -> Result<()> {
        let mut missing: Vec<Vec<u8>> =
            keys.iter().filter(|k| !self.groups.contains_key(**k)).map(|k| group_key(k)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort();
        let refs: Vec<&[u8]> = missing.iter().map(Vec::as_slice).collect();
        self.context.metrics.state_reads.inc_by(refs.len() as u64);
        let found = self.context.state.get_many(&refs)?;
        for (k, v) in refs.into_iter().zip(found) {
            let Some(v) = v else { continue };
            let group = self.read_group(&k[2..], &v)?;
            self.bytes += size(k.len(), &group);
            self.groups.insert(k[2..].into(), group);
        }
        Ok(())
    }

    /// Forgets those of some keys in memory that nobody has touched for the time to live.
    pub fn expire(&mut self, keys: &[&[u8]], now: u64) {
        let Some(ttl) = &self.ttl else { return };
        for k in keys {
            if self.groups.get(*k).is_some_and(|g| ttl.over(g.access, now))
                && let Some(g) = self.groups.remove(*k)
            {
                self.bytes = self.bytes.saturating_sub(size(k.len(), &g));
                self.forgotten.push(group_key(k));
                value_keys(k, g.accumulators, &mut self.forgotten);
            }
        }
    }

    /// Forgets keys that nobody has touched for the time to live: all that are in memory, and of the store's those of a few key
    /// groups.
    pub fn sweep(&mut self, changes: &mut Changes) -> Result<()> {
        let Some(ttl) = &mut self.ttl else { return Ok(()) };
        let now = ttl.now();
        let due = if self.stored { ttl.due(now) } else { vec![] };
        for group in due {
            self.sweep_stored(group, now, changes)?;
        }
        let Some(ttl) = &self.ttl else { return Ok(()) };
        for (k, g) in self.groups.extract_if(|_, g| ttl.over(g.access, now)) {
            self.bytes = self.bytes.saturating_sub(size(k.len(), &g));
            self.forgotten.push(group_key(&k));
            value_keys(&k, g.accumulators, &mut self.forgotten);
        }
        Ok(())
    }

    fn sweep_stored(&self, group: u16, now: u64, changes: &mut Changes) -> Result<()> {
        let Some(ttl) = &self.ttl else { return Ok(()) };
        let mut gone: BTreeSet<Vec<u8>> = BTreeSet::new();
        for (k, mut v) in self.stored_groups(group)? {
            // What is in memory is newer.
            if self.groups.contains_key(&k[2..]) {
                continue;
            }
            let cut = || Error::state("a group in the state is cut short");
            let access = read_i64(&mut v.get(ACCESS).ok_or_else(cut)?)? as u64;
            if access == 0 {
                // Kept before there was a time to live, which begins now.
                v[ACCESS].copy_from_slice(&now.to_be_bytes());
                changes.set(&k, &v);
            } else if ttl.over(access, now) {
                changes.remove(&[&k]);
                gone.insert(k[2..].to_vec());
            }
        }
        if !gone.is_empty() && self.counts() {
            let group = group.to_be_bytes();
            for (k, _) in self.context.state.scan(&[group[0], group[1], VALUES])? {
                if of_value(&k).is_some_and(|key| gone.contains(key)) {
                    changes.remove(&[&k]);
                }
            }
        }
        Ok(())
    }
}
