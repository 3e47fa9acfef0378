//! Threads with names, and with user-friendly errors if the system refuses to start one; locks that survive panics.

use crate::error::ErrorKind;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Locks a mutex even if it is poisoned. The data behind mutexes is consistent between any two statements here.
pub fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls a function whose result another thread waits for. After a panic, the data that the function uses must not be used any more.
///
/// # Errors
/// The errors of `f`. A panic becomes an internal error with `who` in its message.
pub fn guarded<T>(who: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
        Err(Error::new(ErrorKind::Internal, format!("{who} panicked: {}", text.unwrap_or_default())))
    })
}

/// Starts a thread.
///
/// # Errors
/// If the system cannot start another thread.
pub fn spawn<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    started(Builder::new().name(name.to_string()).spawn(f))
}

/// Starts a thread with a stack of this many bytes.
///
/// # Errors
/// If the system cannot start another thread.
pub fn spawn_with_stack<T: Send + 'static>(
    name: &str,
    stack: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    started(Builder::new().name(name.to_string()).stack_size(stack).spawn(f))
}

/// Calls a library function that may never return, on a separate thread. Returns none if it takes longer than `time`. The thread is then
/// abandoned together with everything that `f` owns.
///
/// # Errors
/// If the system cannot start another thread. If `f` panics, an internal error.
pub fn within<T: Send + 'static>(
    name: &str,
    time: Duration,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>> {
    let (answer, answered) = channel();
    // A late answer has no receiver.
    let _ = spawn(name, move || answer.send(f()).is_ok())?;
    match answered.recv_timeout(time) {
        Ok(answer) => Ok(Some(answer)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(Error::internal(format!("the thread '{name}' panicked"))),
    }
}

fn started<T>(handle: std::io::Result<JoinHandle<T>>) -> Result<JoinHandle<T>> {
    handle.map_err(|e| Error::io("cannot start a thread").caused_by(e).hint("raise the limit of processes (ulimit -u)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_comes_back_is_not_waited_for() {
        let (keep, wait) = channel::<()>();
        assert_eq!(within("test", Duration::from_millis(20), move || wait.recv().is_ok()).expect("a thread"), None);
        drop(keep);
        assert_eq!(within("test", Duration::from_secs(60), || 7).expect("a thread"), Some(7));
        assert!(within("test", Duration::from_secs(60), || -> u8 { panic!("a mistake") }).is_err());
    }
}
