//! Matches of MATCH_RECOGNIZE that were not complete in time, as rows of the table to which they are written.

use crate::{Field, Schema, SqlType, TypeKind};

/// The prefix of the columns that say when a match began and ended. The other columns are those of the partition, and the measures.
pub const PREFIX: &str = "timed_out_";

/// The columns that say when and where a match ended without being complete. Times are instants if the rows' times are.
pub fn columns(instants: bool) -> Schema {
    let time = SqlType::from(if instants { TypeKind::TimestampLtz(3) } else { TypeKind::Timestamp(3) });
    Schema::new(vec![
        Field::new("timed_out_start", time.clone()),
        Field::new("timed_out_at", time),
        Field::new("timed_out_operator", SqlType::STRING),
    ])
}
