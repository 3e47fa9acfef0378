//! Operators that end and begin again over a store in memory.

use std::sync::Arc;
use weir_core::Batch;
use weir_core::clock::{Clock, ManualClock};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, JobIdentity, Operator, OperatorFactory, SubtaskContext};
use weir_core::memory_store::MemoryStore;
use weir_core::metrics::Metrics;
use weir_core::state::{Epoch, OperatorId, StateBackend, StateHandle, StateReader};

/// One subtask of an operator with its store.
pub struct Running {
    factory: Box<dyn OperatorFactory>,
    pub store: Arc<MemoryStore>,
    operator: Box<dyn Operator>,
    cache_bytes: usize,
    clock: Arc<ManualClock>,
    /// How far event time is, and was at the last epoch.
    time: Watermark,
    stored_time: Watermark,
}

impl Running {
    /// Starts over a store without anything.
    pub fn start(factory: Box<dyn OperatorFactory>, cache_bytes: usize) -> Running {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::new(1_000_000));
        let (time, stored_time) = (Watermark::NONE, Watermark::NONE);
        let operator = open(factory.as_ref(), &store, cache_bytes, &clock, time);
        Running { factory, store, operator, cache_bytes, clock, time, stored_time }
    }

    /// Takes a batch; gives what follows from it.
    pub fn process(&mut self, batch: Batch) -> Vec<Batch> {
        let mut out = Collector::default();
        self.operator.process(0, batch, &mut out).expect("a batch");
        out.rows().cloned().collect()
    }

    /// Lets event time come so far; gives what follows from it.
    pub fn watermark(&mut self, to: Watermark) -> Vec<Batch> {
        let mut out = Collector::default();
        self.time = self.time.max(to);
        let time = EventTime { all: self.time, inputs: vec![self.time] };
        self.operator.on_watermark(&time, &mut out).expect("a watermark");
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
        self.store.commit(epoch, &vec![], false).expect("an epoch");
        self.stored_time = self.time;
    }

    /// Begins again with what the store has, as after a crash behind the last epoch.
    pub fn restore(&mut self) {
        self.time = self.stored_time;
        self.operator = open(self.factory.as_ref(), &self.store, self.cache_bytes, &self.clock, self.time);
    }

    /// The same, with the operator as this makes it.
    pub fn restore_as(&mut self, factory: Box<dyn OperatorFactory>) {
        self.factory = factory;
        self.restore();
    }
}

fn open(
    factory: &dyn OperatorFactory,
    store: &Arc<MemoryStore>,
    cache_bytes: usize,
    clock: &Arc<ManualClock>,
    resumes_at: Watermark,
) -> Box<dyn Operator> {
    let context = SubtaskContext {
        node: "operator".to_string(),
        subtask: 0,
        parallelism: 1,
        job: JobIdentity { id: String::new(), run: String::new() },
        state: StateHandle { operator: OperatorId(1), reader: store.clone() },
        resumes_at,
        cache_bytes,
        batch_rows: 8192,
        metrics: Metrics::new().expect("metrics").subtask("operator", 0),
        clock: clock.clone(),
    };
    factory.open(context).expect("an operator")
}
