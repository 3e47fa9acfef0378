//! Frames of OVER: the rows over which an aggregate is computed.

use std::fmt;

/// The rows up to the current one, in order, over which an aggregate is computed. The current row is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frame {
    /// All rows, including peers of the same time.
    AllTimes,
    /// All rows, one after the other.
    AllRows,
    /// The rows of at most this many milliseconds before, including peers of the same time.
    Times(i64),
    /// This many rows.
    Rows(u64),
}

impl Frame {
    /// Whether rows leave the frame again.
    pub fn is_bounded(self) -> bool {
        matches!(self, Frame::Times(_) | Frame::Rows(_))
    }
    /// Whether rows of the same time have the same result.
    pub fn takes_peers(self) -> bool {
        matches!(self, Frame::AllTimes | Frame::Times(_))
    }
}

/// Formats it as in SQL, without the AND CURRENT ROW that all frames have.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::AllTimes => f.write_str("RANGE UNBOUNDED PRECEDING"),
            Frame::AllRows => f.write_str("ROWS UNBOUNDED PRECEDING"),
            Frame::Times(millis) => write!(f, "RANGE {millis} ms PRECEDING"),
            Frame::Rows(rows) => write!(f, "ROWS {rows} PRECEDING"),
        }
    }
}
