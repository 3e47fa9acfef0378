//! Connections that outlive the subtasks that used them. After a change of parallelism, the first rows of the new subtasks do not have to
//! wait for new connections.

use std::sync::{Arc, Mutex};
use weir_core::graph::SubtaskContext;
use weir_core::thread::{locked, spawn};

/// The idle connections of a table.
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
    /// Keeps a connection that works and has nothing in progress.
    pub fn keep(&self, connection: T) {
        locked(&self.0).push(connection);
    }

    /// An idle connection, if there is one.
    pub fn take(&self) -> Option<T> {
        locked(&self.0).pop()
    }

    /// An idle connection for a subtask that is being opened. When the last subtask has taken its own, the remaining ones are closed on
    /// another thread, because closing may take a while. Users that call `take` instead, such as deliveries, are not affected.
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
