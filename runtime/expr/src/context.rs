//! The context of an evaluation: its inputs besides columns, and the collection of failed rows.

use crate::random::Seeded;
use crate::time::Zone;
use std::sync::Arc;
use weir_core::clock::{Clock, SystemClock};
use weir_core::descriptor::OnError;
use weir_core::error::ErrorKind;
use weir_core::{Error, Result};

/// Settings of the session that all expressions depend on.
#[derive(Debug, Clone)]
pub struct Session {
    /// The time zone of the option `table.local-time-zone`.
    pub zone: Zone,
}

impl Default for Session {
    fn default() -> Self {
        Session { zone: Zone::UTC }
    }
}

/// A row that an expression failed on.
#[derive(Debug, Clone)]
pub struct RowError {
    /// The row's index in the batch.
    pub row: u32,
    /// What happens to the row.
    pub policy: OnError,
    /// A message for the user.
    pub message: String,
}

/// The context of an evaluation: what it depends on beside its columns, and where it collects rows that failed. One context
/// belongs to one subtask.
pub struct EvalContext {
    /// The session.
    pub session: Arc<Session>,
    /// The processing-time clock, which CURRENT_TIMESTAMP, NOW and similar functions read.
    pub clock: Arc<dyn Clock>,
    /// What happens to rows on which built-in functions and casts fail.
    pub on_error: OnError,
    /// The rows that failed, in no order. A row may occur twice.
    pub errors: Vec<RowError>,
    /// The row that ended the evaluation, if it was a single one.
    pub fatal: Option<u32>,
    /// The watermark in front of the operator, in milliseconds since 1970; none before the first one.
    pub watermark: Option<i64>,
    /// Whether the evaluation ended because a column would be too large for Arrow. The batch may be evaluated in parts.
    pub too_large: bool,
    rows: Option<Arc<Vec<u32>>>,
    /// The random numbers of calls with a seed.
    pub(crate) random: Seeded,
}

impl EvalContext {
    /// A context in which a failing row ends the job, with the system's clock.
    pub fn new(session: Arc<Session>) -> Self {
        let clock = Arc::new(SystemClock);
        EvalContext {
            session,
            clock,
            on_error: OnError::Fail,
            errors: vec![],
            fatal: None,
            watermark: None,
            too_large: false,
            rows: None,
            random: Seeded::default(),
        }
    }
    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        EvalContext { clock, ..self }
    }
    /// Translates a row of the present selection into a row of the whole batch.
    pub fn row(&self, row: usize) -> u32 {
        self.rows.as_ref().map_or(row as u32, |r| r[row])
    }
    /// Handles a row on which a built-in function failed: ends the job, or records the row, whose result is then NULL.
    ///
    /// # Errors
    /// If the policy is to fail.
    pub fn fail(&mut self, row: usize, message: impl Into<String>) -> Result<()> {
        self.fail_by(self.on_error, row, message)
    }
    /// Does the same with a given policy.
    ///
    /// # Errors
    /// If the policy is to fail.
    pub fn fail_by(&mut self, policy: OnError, row: usize, message: impl Into<String>) -> Result<()> {
        let message = shortened(message.into());
        if policy == OnError::Fail {
            self.fatal = Some(self.row(row));
            return Err(Error::data(message));
        }
        self.errors.push(RowError { row: self.row(row), policy, message });
        Ok(())
    }
    /// The error that ends an evaluation whose result is too large for one column.
    pub(crate) fn too_large(&mut self) -> Error {
        self.too_large = true;
        Error::data("the values of a batch take more than a column can hold")
    }
    /// Handles a panic of an expression on a row as a failure of the row.
    ///
    /// # Errors
    /// If the policy is to fail.
    pub(crate) fn mistake(&mut self, row: usize, message: String) -> Result<()> {
        self.fail(row, message.clone()).map_err(|_| {
            // The message contains the place of the panic.
            Error::new(ErrorKind::Internal, message)
                .hint("this is a mistake of Weir's own, please report it; on-error can skip such rows")
        })
    }
    /// Evaluates something that may panic. After a panic, the context is as before, and the message of the panic is returned.
    pub(crate) fn caught<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> Result<T, String> {
        let (errors, rows) = (self.errors.len(), self.rows.clone());
        weir_core::panics::caught(|| f(self)).inspect_err(|_| {
            self.errors.truncate(errors);
            self.rows = rows;
        })
    }
    /// Evaluates something for a selection of the current rows. Rows that fail meanwhile are recorded with their index in the whole batch.
    pub(crate) fn narrowed<T>(&mut self, selection: &[u32], f: impl FnOnce(&mut Self) -> T) -> T {
        let rows = Arc::new(selection.iter().map(|r| self.row(*r as usize)).collect());
        let outer = self.rows.replace(rows);
        let result = f(self);
        self.rows = outer;
        result
    }
}

/// Truncates a message, because values in it may be very long.
fn shortened(message: String) -> String {
    const MOST: usize = 1000;
    match message.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    }
}
