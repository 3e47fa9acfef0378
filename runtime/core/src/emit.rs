//! When windows give out results beside the moment at which they are complete.

use crate::windows::length;
use std::fmt;

/// When windows give out what has changed: in front of their end, and behind it, when rows come late. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// In front of the end: how often, 0 = with each batch that changes something; none = not at all.
    pub early: Option<i64>,
    /// The same behind the end.
    pub late: Option<i64>,
    /// How long behind its end a window still takes rows.
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
