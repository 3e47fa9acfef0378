//! Joins: their kinds, and the columns that are compared.

use crate::keyed::TimeDomain;
use std::time::Duration;

/// The kind of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// Pairs of rows.
    Inner,
    /// Pairs of rows, and left rows without a partner, with NULLs.
    Left,
    /// Pairs of rows, and right rows without a partner, with NULLs.
    Right,
    /// Pairs of rows, and rows of both sides without a partner, with NULLs.
    Full,
    /// Left rows that have a partner, each once.
    Semi,
    /// Left rows that have no partner.
    Anti,
}

/// The maximum number of inputs of a join.
pub const MOST_INPUTS: usize = 16;

/// The left input of a join.
pub const LEFT: usize = 0;
/// The right input of a join.
pub const RIGHT: usize = 1;

impl JoinKind {
    /// Whether rows of a side are emitted with NULLs if they have no partner.
    pub fn pads(self, side: usize) -> bool {
        match self {
            JoinKind::Left => side == LEFT,
            JoinKind::Right => side == RIGHT,
            JoinKind::Full => true,
            JoinKind::Inner | JoinKind::Semi | JoinKind::Anti => false,
        }
    }

    /// Whether rows of a side are emitted, with NULLs or alone, if they have no partner.
    pub fn emits_unmatched(self, side: usize) -> bool {
        self.pads(side) || self == JoinKind::Anti && side == LEFT
    }

    /// Whether the output only has the columns of the left side.
    pub fn left_only(self) -> bool {
        matches!(self, JoinKind::Semi | JoinKind::Anti)
    }

    /// Whether the output depends on the number of partners that each row of a side has.
    pub fn counts(self, side: usize) -> bool {
        self.pads(side) || self.left_only() && side == LEFT
    }

    /// The name, as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "INNER",
            JoinKind::Left => "LEFT",
            JoinKind::Right => "RIGHT",
            JoinKind::Full => "FULL",
            JoinKind::Semi => "SEMI",
            JoinKind::Anti => "ANTI",
        }
    }
}

/// A column of each side whose values must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JoinKey {
    /// The column of the left side.
    pub left: usize,
    /// The column of the right side.
    pub right: usize,
    /// Whether two NULLs are equal, as with IS NOT DISTINCT FROM. Otherwise a NULL equals nothing.
    pub nulls_equal: bool,
}

impl JoinKey {
    /// The column of a side.
    pub fn of(self, side: usize) -> usize {
        if side == LEFT { self.left } else { self.right }
    }
}

/// The bounds of the difference between the times of the rows that an interval join pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The time column of each side.
    pub times: [usize; 2],
    /// The least difference of the left time less the right time, in milliseconds.
    pub lower: i64,
    /// The greatest difference.
    pub upper: i64,
    /// Event time, or the time at which rows arrive.
    pub domain: TimeDomain,
}

impl Interval {
    /// The last time of the other side, in milliseconds, that a row of a side with this time can be paired with.
    pub fn last_partner(&self, side: usize, time: i64) -> i64 {
        if side == LEFT { time.saturating_sub(self.lower) } else { time.saturating_add(self.upper) }
    }

    /// The first such time.
    pub fn first_partner(&self, side: usize, time: i64) -> i64 {
        if side == LEFT { time.saturating_sub(self.upper) } else { time.saturating_add(self.lower) }
    }

    /// How long a row may wait for a partner, at most, in milliseconds.
    pub fn longest_wait(&self) -> i64 {
        self.upper.max(self.lower.saturating_neg()).max(0)
    }
}

/// How often a lookup that finds no row is repeated, as in Flink's hint LOOKUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupRetry {
    /// The time between two attempts.
    pub delay: Duration,
    /// The maximum number of attempts after the first one.
    pub attempts: u32,
}

/// The time as of which rows of the right side are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// The event time of the left row, which is in this column. The times of the right side's versions are in the other column.
    EventTime {
        /// The time column of the left side.
        left: usize,
        /// The time column of the right side.
        right: usize,
    },
    /// The time at which the left row arrives.
    ProcessingTime,
}
