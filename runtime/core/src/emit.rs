//! When windows emit results besides at their end.

use crate::windows::length;
use std::fmt;

/// When windows emit changed results: before their end, and after it if late rows arrive. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// The interval before the end. 0: with each batch that changes a result; none: not at all.
    pub early: Option<i64>,
    /// The interval after the end, with the same meaning.
    pub late: Option<i64>,
    /// How long after its end a window accepts rows.
    pub lateness: i64,
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every = |delay: i64| if delay == 0 { "at once".to_string() } else { format!("every {}", length(delay)) };
        let early = self.early.map(|delay| format!("early {}", every(delay)));
        let late = self.late.map(|delay| format!("late {} for {}", every(delay), length(self.lateness)));
        let all: Vec<String> = early.into_iter().chain(late).collect();
        f.write_str(&all.join(", "))
    }
}
