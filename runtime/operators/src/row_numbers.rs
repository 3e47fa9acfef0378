//! Numbers of rows that wait in the state.

use weir_core::graph::SubtaskContext;

/// Gives out numbers, none of them twice: not in a later run of the job either, whose epochs are higher.
pub(crate) struct RowNumbers(u64);

impl RowNumbers {
    /// Those of a subtask that starts now.
    pub fn new(context: &SubtaskContext) -> RowNumbers {
        RowNumbers((context.state.last_epoch().0 + 1) << 40)
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
