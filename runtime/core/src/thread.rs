//! Threads with names, whose refusal by the system is an error that a user can read; locks that outlive a panic.

use crate::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Locks, whatever became of whoever had the lock before: what locks guard here is whole between any two statements.
pub fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread.
///
/// # Errors
/// When the system has no room for one more.
pub fn spawn<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    started(Builder::new().name(name.to_string()).spawn(f))
}

/// The same with a stack of so many bytes.
///
/// # Errors
/// When the system has no room for one more.
pub fn spawn_with_stack<T: Send + 'static>(
    name: &str,
    stack: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    started(Builder::new().name(name.to_string()).stack_size(stack).spawn(f))
}

fn started<T>(handle: std::io::Result<JoinHandle<T>>) -> Result<JoinHandle<T>> {
    handle
        .map_err(|e| Error::io(format!("cannot start a thread: {e}")).hint("raise the limit of processes (ulimit -u)"))
}
