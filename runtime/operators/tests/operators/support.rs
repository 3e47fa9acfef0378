//! A store in memory, and operators that end and begin again over it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use weir_core::clock::{Clock, ManualClock};
use weir_core::graph::{Collector, JobIdentity, Operator, OperatorFactory, SubtaskContext};
use weir_core::metrics::Metrics;
use weir_core::state::{Changes, Epoch, KeyRange, OperatorId, Outbox, Pair, StateBackend, StateHandle, StateReader};
use weir_core::{Batch, Result};

type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is staged is there at once.
#[derive(Default)]
pub struct Memory {
    inner: Mutex<(Kept, u64)>,
}

impl Memory {
    fn with<T>(&self, f: impl FnOnce(&mut Kept, &mut u64) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (keys, epoch) = &mut *inner;
        f(keys, epoch)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.with(|keys, _| keys.len())
    }
}

impl StateReader for Memory {
    fn get_many(&self, _: OperatorId, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.with(|all, _| keys.iter().map(|k| all.get(*k).cloned()).collect()))
    }
    fn range(&self, _: OperatorId, range: KeyRange<'_>, limit: usize) -> Result<Vec<Pair>> {
        let from = (Bound::Included(range.from), Bound::Unbounded);
        Ok(self.with(|all, _| {
            let found = all.range::<[u8], _>(from).take_while(|(k, _)| range.ends_behind(k)).take(limit);
            found.map(|(k, v)| (k.clone(), v.clone())).collect()
        }))
    }
}

impl StateBackend for Memory {
    fn operator(&self, _: &str) -> Result<OperatorId> {
        Ok(OperatorId(1))
    }
    fn stage(&self, _: OperatorId, epoch: Epoch, changes: Changes) {
        self.with(|all, last| {
            *last = epoch.0;
            for (k, v) in changes.iter() {
                match v {
                    Some(v) => drop(all.insert(k.to_vec(), v.to_vec())),
                    None => drop(all.remove(k)),
                }
            }
        });
    }
    fn commit(&self, _: Epoch, _: &Outbox, _: bool) -> Result<u64> {
        Ok(0)
    }
    fn delivered(&self, _: Epoch) -> Result<()> {
        Ok(())
    }
    fn last_epoch(&self) -> Epoch {
        Epoch(self.with(|_, last| *last))
    }
    fn finished(&self) -> bool {
        false
    }
    fn undelivered(&self) -> Result<Vec<(Epoch, Outbox)>> {
        Ok(vec![])
    }
    fn discard_staged(&self) {}
    fn close(&self) -> Result<()> {
        Ok(())
    }
    fn disk_bytes(&self) -> u64 {
        0
    }
}

/// One subtask of an operator with its store.
pub struct Running {
    factory: Box<dyn OperatorFactory>,
    pub store: Arc<Memory>,
    operator: Box<dyn Operator>,
    cache_bytes: usize,
    clock: Arc<ManualClock>,
}

impl Running {
    /// Starts over a store without anything.
    pub fn start(factory: Box<dyn OperatorFactory>, cache_bytes: usize) -> Running {
        let store = Arc::new(Memory::default());
        let clock = Arc::new(ManualClock::new(1_000_000));
        let operator = open(factory.as_ref(), &store, cache_bytes, &clock);
        Running { factory, store, operator, cache_bytes, clock }
    }

    /// Takes a batch; gives what follows from it.
    pub fn process(&mut self, batch: Batch) -> Vec<Batch> {
        let mut out = Collector::default();
        self.operator.process(0, batch, &mut out).expect("a batch");
        out.rows().cloned().collect()
    }

    /// Lets so many milliseconds go by.
    pub fn later(&self, millis: i64) {
        self.clock.turn_to(self.clock.now() + millis);
    }

    /// Ends an epoch.
    pub fn checkpoint(&mut self) {
        let epoch = Epoch(self.store.last_epoch().0 + 1);
        let changes = self.operator.checkpoint(epoch).expect("an epoch");
        self.store.stage(OperatorId(1), epoch, changes);
    }

    /// Begins again with what the store has, as after a crash behind the last epoch.
    pub fn restore(&mut self) {
        self.operator = open(self.factory.as_ref(), &self.store, self.cache_bytes, &self.clock);
    }

    /// The same, with the operator as this makes it.
    pub fn restore_as(&mut self, factory: Box<dyn OperatorFactory>) {
        self.factory = factory;
        self.restore();
    }
}

fn open(
    factory: &dyn OperatorFactory,
    store: &Arc<Memory>,
    cache_bytes: usize,
    clock: &Arc<ManualClock>,
) -> Box<dyn Operator> {
    let context = SubtaskContext {
        node: "operator".to_string(),
        subtask: 0,
        parallelism: 1,
        job: JobIdentity { id: String::new(), run: String::new() },
        state: StateHandle { operator: OperatorId(1), reader: store.clone() },
        cache_bytes,
        batch_rows: 8192,
        metrics: Metrics::new().expect("metrics").subtask("operator", 0),
        clock: clock.clone(),
    };
    factory.open(context).expect("an operator")
}
