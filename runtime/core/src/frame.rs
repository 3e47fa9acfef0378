//! Frames of OVER: which rows an aggregate is of.

use std::fmt;

/// The rows before the one at hand, in the order of time, that an aggregate is of; it is itself one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frame {
    /// All, with those of the same time.
    AllTimes,
    /// All, one after the other.
    AllRows,
    /// Those of at most so many milliseconds before, with those of the same time.
    Times(i64),
    /// So many.
    Rows(u64),
}

impl Frame {
    /// Whether rows are lost again.
    pub fn is_bounded(self) -> bool {
        matches!(self, Frame::Times(_) | Frame::Rows(_))
    }
    /// Whether rows of one time have one result.
    pub fn takes_peers(self) -> bool {
        matches!(self, Frame::AllTimes | Frame::Times(_))
    }
}

/// As SQL writes it, without what all have: AND CURRENT ROW.
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
