//! The pool of instances of a component, for one function name with its rights. Idle instances wait for the next call.

use crate::host::Rights;
use crate::remembered::ResultCache;
use crate::sandbox::{Component, Instance};
use std::sync::Mutex;
use weir_core::Result;
use weir_core::metrics::FunctionMetrics;
use weir_core::thread::locked;

/// An instance with its result cache.
pub(crate) struct PooledInstance {
    pub instance: Instance,
    pub memory: ResultCache,
}

impl PooledInstance {
    pub fn new(instance: Instance) -> Self {
        PooledInstance { instance, memory: ResultCache::default() }
    }
}

/// All instances of a function's component.
pub(crate) struct Instances {
    pub component: Component,
    pub rights: Rights,
    pub metrics: FunctionMetrics,
    idle: Mutex<Vec<PooledInstance>>,
}

impl Instances {
    pub fn new(component: Component, rights: Rights, metrics: FunctionMetrics) -> Self {
        Instances { component, rights, metrics, idle: Mutex::default() }
    }

    /// Takes an idle instance, or creates a new one.
    pub fn take(&self) -> Result<PooledInstance> {
        // The lock is released before a new instance is created.
        let idle = locked(&self.idle).pop();
        idle.map_or_else(|| Ok(PooledInstance::new(self.component.instantiate(&self.rights)?)), Ok)
    }

    /// Returns an instance to the pool.
    pub fn give(&self, worker: PooledInstance) {
        locked(&self.idle).push(worker);
    }
}
