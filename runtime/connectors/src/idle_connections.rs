//! Connections that outlive the subtasks which used them. A change of parallelism makes new subtasks, whose first rows are not to
//! wait until every server has been greeted anew.

use std::sync::{Arc, Mutex};
use weir_core::graph::SubtaskContext;
use weir_core::thread::{locked, spawn};

/// The connections of a table that nobody uses at the moment.
pub(crate) struct IdleConnections<T>(Arc<Mutex<Vec<T>>>);

impl<T> Default for IdleConnections<T> {
    fn default() -> Self {
        IdleConnections(Arc::default())
    }
}

impl<T> Clone for IdleConnections<T> {
    fn clone(&self) -> Self {
        IdleConnections(self.0.clone())
    }
}

impl<T: Send + 'static> IdleConnections<T> {
    /// Keeps a connection that works, and is in the middle of nothing.
    pub fn keep(&self, connection: T) {
        locked(&self.0).push(connection);
    }

    /// One that was kept.
    pub fn take(&self) -> Option<T> {
        locked(&self.0).pop()
    }

    /// One that was kept, for a subtask that is being made. After the last one, what is left over goes: whoever takes connections
    /// otherwise, as deliveries do, loses none by that. Saying goodbye may take a while, for which nobody waits.
    pub fn take_for(&self, context: &SubtaskContext) -> Option<T> {
        let taken = self.take();
        if context.subtask + 1 >= context.parallelism {
            let rest = std::mem::take(&mut *locked(&self.0));
            if !rest.is_empty()
                && let Err(e) = spawn("weir-closing", move || drop(rest))
            {
                tracing::debug!("connections were closed at once: {e}");
            }
        }
        taken
    }
}
