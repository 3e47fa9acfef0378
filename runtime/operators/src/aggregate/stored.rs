//! Groups as values of keyed state. A group's counted values have keys of their own, one for each.

use super::Accumulator;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::key::key_group;
use weir_core::keyed::Codec;
use weir_core::state::{Changes, KeyRange, StateHandle, behind};
use weir_core::{Error, Result};

/// What the keys of counted values have behind their key group: no key of a group begins so, and none of a collection.
const VALUES: u8 = 0xFE;

/// What is kept of a key.
pub(super) struct Group {
    /// The rows that are there.
    pub rows: i64,
    pub accumulators: Box<[Accumulator]>,
}

/// How groups are stored: the number of rows, the time of the last one, the accumulators.
pub(super) struct Groups {
    /// The accumulators of a group without rows.
    pub fresh: Arc<[Accumulator]>,
}

impl Groups {
    /// A group that has no rows yet.
    pub fn fresh(&self) -> Group {
        Group { rows: 0, accumulators: self.fresh.iter().cloned().collect() }
    }

    /// A group of a stored form, without its counted values.
    pub fn decode_group(&self, mut bytes: &[u8]) -> Result<Group> {
        let rows = read_i64(&mut bytes)?;
        let _written = read_i64(&mut bytes)?;
        let mut group = Group { rows, ..self.fresh() };
        group.accumulators.iter_mut().try_for_each(|a| a.decode(&mut bytes))?;
        Ok(group)
    }

    /// Whether groups have counted values.
    fn counts(&self) -> bool {
        self.fresh.iter().any(|a| matches!(a, Accumulator::Counted(_)))
    }
}

/// The begin of the keys of a group's counted values: key group, a byte that no key begins with, the key's length, the key.
/// The number of the aggregate and the value follow.
fn value_key(key: &[u8]) -> Vec<u8> {
    [&key_group(key).to_be_bytes()[..], &[VALUES], &(key.len() as u32).to_be_bytes(), key].concat()
}

/// The group's key in the key of a counted value.
fn of_value(key: &[u8]) -> Option<&[u8]> {
    let (length, rest) = key.get(3..)?.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

fn read_i64(bytes: &mut &[u8]) -> Result<i64> {
    let (head, rest) =
        bytes.split_first_chunk::<8>().ok_or_else(|| Error::state("a group in the state is cut short"))?;
    *bytes = rest;
    Ok(i64::from_be_bytes(*head))
}

impl Codec for Groups {
    type Value = Group;
    const WRITTEN_AT: usize = 8;

    fn encode(&self, g: &Group, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&g.rows.to_be_bytes());
        out.extend_from_slice(&written.to_be_bytes());
        g.accumulators.iter().for_each(|a| a.encode(out));
    }

    fn decode(&self, key: &[u8], bytes: &[u8], store: &StateHandle) -> Result<Group> {
        let mut group = self.decode_group(bytes)?;
        if self.counts() {
            let prefix = value_key(key);
            for pair in store.range(KeyRange { from: &prefix, to: behind(&prefix).as_deref() }) {
                let (k, v) = pair?;
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

    fn bytes(&self, g: &Group) -> usize {
        g.accumulators.iter().map(Accumulator::bytes).sum()
    }

    fn is_empty(&self, g: &Group) -> bool {
        g.rows <= 0
    }

    fn parts(&self, key: &[u8], g: &mut Group, goes: bool, changes: &mut Changes) {
        if !self.counts() {
            return;
        }
        let prefix = value_key(key);
        for (call, a) in g.accumulators.iter_mut().enumerate() {
            let Accumulator::Counted(c) = a else { continue };
            if goes {
                c.clear();
            }
            for (value, count) in c.take_touched() {
                let parts: [&[u8]; 3] = [&prefix, &[call as u8], &value];
                if count == 0 {
                    changes.remove(&parts);
                } else {
                    changes.set_with(&parts, |out| out.extend_from_slice(&count.to_be_bytes()));
                }
            }
        }
    }

    fn forget_parts(
        &self,
        group: u16,
        keys: &BTreeSet<Vec<u8>>,
        store: &StateHandle,
        changes: &mut Changes,
    ) -> Result<()> {
        if !self.counts() {
            return Ok(());
        }
        let [high, low] = group.to_be_bytes();
        for pair in store.range(KeyRange { from: &[high, low, VALUES], to: Some(&[high, low, VALUES + 1]) }) {
            let (k, _) = pair?;
            if of_value(&k).is_some_and(|key| keys.contains(key)) {
                changes.remove(&[&k]);
            }
        }
        Ok(())
    }
}
