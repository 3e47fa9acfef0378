//! What happens to records that cannot be read.

use weir_core::clock::Clock;
use weir_core::graph::Collector;
use weir_core::metrics::SubtaskMetrics;
use weir_core::{Error, Result};
use weir_expr::OnError;
use weir_operators::failed_rows::{DeadLetter, dead_letters};

/// Handles the records of a batch that cannot be read, as the table's `on-error` says.
pub(crate) struct Refused<'a> {
    on_error: OnError,
    metrics: &'a SubtaskMetrics,
    statement: &'a str,
    letters: Vec<DeadLetter>,
}

impl<'a> Refused<'a> {
    pub fn new(on_error: OnError, metrics: &'a SubtaskMetrics, statement: &'a str) -> Self {
        Refused { on_error, metrics, statement, letters: vec![] }
    }

    /// Adds a bad record. `origin` is called only if its result is shown.
    ///
    /// # Errors
    /// If the table says that such a record ends the job.
    pub fn add(&mut self, why: String, record: &[u8], origin: impl FnOnce() -> String) -> Result<()> {
        match self.on_error {
            OnError::Skip | OnError::Null => self.metrics.skipped.inc(),
            OnError::DeadLetter => {
                self.metrics.dead.inc();
                let (record, statement) = (record.to_vec(), self.statement.to_string());
                self.letters.push(DeadLetter { reason: why, origin: origin(), record, statement });
            }
            OnError::Fail => {
                let shown = String::from_utf8_lossy(&record[..record.len().min(120)]);
                return Err(Error::data(format!("{}: {why}: {}", origin(), shown.trim_end())).hint(
                    "set 'on-error' = 'skip' or 'dead-letter' on the table, or the format's ignore-parse-errors",
                ));
            }
        }
        Ok(())
    }

    /// Emits the dead letters, with the clock's time.
    ///
    /// # Errors
    /// None in practice.
    pub fn finish(self, clock: &dyn Clock, out: &mut Collector) -> Result<()> {
        if !self.letters.is_empty() {
            out.dead_letters(dead_letters(self.letters, clock.now())?);
        }
        Ok(())
    }
}
