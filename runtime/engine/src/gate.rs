//! Keeps threads of a generation that has ended from taking effect.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use weir_core::thread::locked;

/// Counts pieces of work. Once the gate is closed, none can begin.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    left: Condvar,
}

#[derive(Debug)]
struct GateState {
    open: bool,
    inside: usize,
}

/// A piece of work that has begun; it ends when this is dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    pub fn open() -> Self {
        Gate { state: Mutex::new(GateState { open: true, inside: 0 }), left: Condvar::new() }
    }

    /// Begins a piece of work; none once the gate is closed.
    pub fn enter(&self) -> Option<Inside<'_>> {
        let mut state = locked(&self.state);
        state.inside += usize::from(state.open);
        state.open.then(|| Inside(self))
    }

    /// Closes the gate, and waits for the work that has begun, for at most `patience`. Gives whether all of it has ended.
    pub fn close(&self, patience: Duration) -> bool {
        let mut state = locked(&self.state);
        state.open = false;
        let waited = self.left.wait_timeout_while(state, patience, |s| s.inside > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.inside == 0
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        locked(&self.0.state).inside -= 1;
        self.0.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_waited_for_and_nothing_comes_in_meanwhile() {
        let gate = Gate::open();
        let inside = gate.enter().expect("an open gate");
        assert!(!gate.close(Duration::from_millis(1)));
        assert!(gate.enter().is_none());
        std::thread::scope(|s| {
            let closing = s.spawn(|| gate.close(Duration::from_secs(60)));
            drop(inside);
            assert!(closing.join().expect("no panic"));
        });
    }
}
