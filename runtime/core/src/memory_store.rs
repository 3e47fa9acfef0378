//! A store in memory, for tests: durable keys in an ordered map, and the changes of epochs that are not durable yet.

use crate::Result;
use crate::state::{Changes, ENGINE, Epoch, KeyRange, KeyRanges, OperatorId, Outbox, Pair, StateBackend, StateReader};
use crate::thread::locked;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

type Keys = BTreeMap<(OperatorId, Vec<u8>), Vec<u8>>;

#[derive(Default)]
struct Durable {
    operators: BTreeMap<String, OperatorId>,
    keys: Keys,
    epoch: Epoch,
    finished: bool,
    undelivered: BTreeMap<Epoch, Outbox>,
}

/// New values by key; none for a deleted key.
type Values = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

type Staged = BTreeMap<Epoch, Vec<(OperatorId, Changes)>>;

/// A store in memory. What is durable is shared by all stores that were reopened from it.
///
/// # Examples
/// ```
/// use weir_core::memory_store::MemoryStore;
/// use weir_core::state::{Changes, Epoch, StateBackend, StateReader};
///
/// let store = MemoryStore::default();
/// let counts = store.operator("counts")?;
/// let mut changes = Changes::default();
/// changes.set(b"key", b"1");
/// store.stage(counts, Epoch(1), changes);
/// assert_eq!(store.get_many(counts, &[b"key"])?, [Some(b"1".to_vec())]);
/// assert_eq!(store.reopened().get_many(counts, &[b"key"])?, [None], "it was not durable");
/// # Ok::<(), weir_core::Error>(())
/// ```
#[derive(Default)]
pub struct MemoryStore {
    durable: Arc<Mutex<Durable>>,
    staged: Mutex<Staged>,
}

fn apply(keys: &mut Keys, operator: OperatorId, changes: &Changes) {
    for (from, to) in changes.removed().iter() {
        keys.extract_if((operator, from.to_vec())..(operator, to.to_vec()), |_, _| true).for_each(drop);
    }
    for (key, value) in changes.iter() {
        let key = (operator, key.to_vec());
        match value {
            Some(v) => drop(keys.insert(key, v.to_vec())),
            None => drop(keys.remove(&key)),
        }
    }
}

impl MemoryStore {
    /// The store as it is opened after the process was killed: with what is durable.
    pub fn reopened(&self) -> MemoryStore {
        MemoryStore { durable: self.durable.clone(), staged: Mutex::default() }
    }

    /// The number of keys of all operators, including staged ones, without the engine's own keys.
    pub fn keys(&self) -> usize {
        let mut keys = locked(&self.durable).keys.clone();
        locked(&self.staged).values().flatten().for_each(|(o, c)| apply(&mut keys, *o, c));
        keys.keys().filter(|(_, key)| !key.starts_with(&ENGINE)).count()
    }

    /// The staged changes of an operator within a range, and the ranges that it deletes.
    fn staged(&self, operator: OperatorId, range: KeyRange<'_>) -> (Values, KeyRanges) {
        let (mut values, mut removed) = (Values::new(), KeyRanges::default());
        for (_, changes) in locked(&self.staged).values().flatten().filter(|(o, _)| *o == operator) {
            removed.extend(changes.removed());
            values.retain(|key, _| !changes.removed().contains(key));
            let within = changes.iter().filter(|(k, _)| *k >= range.from && range.ends_behind(k));
            values.extend(within.map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))));
        }
        (values, removed)
    }
}

impl StateReader for MemoryStore {
    fn get_many(&self, operator: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let (staged, removed) = self.staged(operator, KeyRange { from: &[], to: None });
        let durable = locked(&self.durable);
        let found = |k: &&[u8]| match staged.get(*k) {
            Some(staged) => staged.clone(),
            None if removed.contains(k) => None,
            None => durable.keys.get(&(operator, k.to_vec())).cloned(),
        };
        Ok(keys.iter().map(found).collect())
    }

    fn range(&self, operator: OperatorId, range: KeyRange<'_>, limit: usize) -> Result<Vec<Pair>> {
        let (staged, removed) = self.staged(operator, range);
        let mut staged = staged.into_iter().peekable();
        let durable = locked(&self.durable);
        let from = (Bound::Included((operator, range.from.to_vec())), Bound::Unbounded);
        let ours = durable.keys.range(from).take_while(|((o, k), _)| *o == operator && range.ends_behind(k));
        let mut pairs = vec![];
        for ((_, k), v) in ours.filter(|((_, k), _)| !removed.contains(k)) {
            while let Some((new, value)) = staged.next_if(|(new, _)| new < k) {
                pairs.extend(value.map(|v| (new, v)));
            }
            let value = staged.next_if(|(new, _)| new == k).map_or_else(|| Some(v.clone()), |(_, v)| v);
            pairs.extend(value.map(|v| (k.clone(), v)));
            if pairs.len() >= limit {
                break;
            }
        }
        pairs.extend(staged.filter_map(|(k, v)| Some((k, v?))).take(limit.saturating_sub(pairs.len())));
        pairs.truncate(limit);
        Ok(pairs)
    }

    fn last_epoch(&self) -> Epoch {
        locked(&self.durable).epoch
    }
}

impl StateBackend for MemoryStore {
    fn operator(&self, uid: &str) -> Result<OperatorId> {
        let operators = &mut locked(&self.durable).operators;
        let next = OperatorId(operators.len() as u32 + 1);
        Ok(*operators.entry(uid.to_string()).or_insert(next))
    }

    fn stage(&self, operator: OperatorId, epoch: Epoch, changes: Changes) {
        locked(&self.staged).entry(epoch).or_default().push((operator, changes));
    }

    fn commit(&self, epoch: Epoch, outbox: &Outbox, finished: bool) -> Result<u64> {
        let mut staged = locked(&self.staged);
        let mut durable = locked(&self.durable);
        let changes = staged.remove(&epoch).unwrap_or_default();
        changes.iter().for_each(|(o, c)| apply(&mut durable.keys, *o, c));
        (durable.epoch, durable.finished) = (epoch, finished);
        durable.undelivered.insert(epoch, outbox.clone());
        Ok(changes.iter().map(|(_, c)| (c.packed().len() + c.removed().packed().len()) as u64).sum())
    }

    fn delivered(&self, epoch: Epoch) -> Result<()> {
        locked(&self.durable).undelivered.remove(&epoch);
        Ok(())
    }

    fn finished(&self) -> bool {
        locked(&self.durable).finished
    }

    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>> {
        Ok(locked(&self.durable).undelivered.iter().map(|(e, o)| (*e, o.clone())).collect())
    }

    fn discard_staged(&self) {
        let durable = self.last_epoch();
        locked(&self.staged).retain(|e, _| *e <= durable);
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
