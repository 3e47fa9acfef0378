//! Numbers for rows that wait in the state.

use weir_core::graph::SubtaskContext;

/// Generates unique numbers. They are unique across restarts as well, because they begin with the number of the last epoch.
pub(crate) struct RowNumbers(u64);

impl RowNumbers {
    /// Creates the generator of a subtask that starts.
    pub fn new(context: &SubtaskContext) -> RowNumbers {
        RowNumbers((context.state.last_epoch().0 + 1) << 40)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
