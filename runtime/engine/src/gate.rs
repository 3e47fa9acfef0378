//! Work that must not go on behind a generation that is over.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use weir_core::thread::locked;

/// Lets work in as long as it is open, and tells when the last of it has left.
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

/// Work that the gate has let in.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    pub fn open() -> Self {
        Gate { state: Mutex::new(GateState { open: true, inside: 0 }), left: Condvar::new() }
    }

    /// Lets work in; none once the gate is closed.
    pub fn enter(&self) -> Option<Inside<'_>> {
        let mut state = locked(&self.state);
        state.inside += usize::from(state.open);
        state.open.then(|| Inside(self))
    }

    /// Lets nothing in any more, and waits until all has left, or for so long. Gives whether all has.
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
