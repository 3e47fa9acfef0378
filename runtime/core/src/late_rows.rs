//! Late rows, as rows of the table to which they are written.

use crate::{Field, Schema, SqlType, TypeKind};

/// The prefix of the columns that say why and where a row was late. The other columns are those of the row itself.
pub const PREFIX: &str = "late_";

/// The columns that say why and where a row was late. Watermarks are instants if the rows' times are.
pub fn columns(instants: bool) -> Schema {
    let instant = SqlType::from(TypeKind::TimestampLtz(3));
    let watermark = if instants { instant.clone() } else { SqlType::from(TypeKind::Timestamp(3)) };
    Schema::new(vec![
        Field::new("late_reason", SqlType::STRING),
        Field::new("late_operator", SqlType::STRING),
        Field::new("late_row_kind", SqlType::STRING),
        Field::new("late_watermark", watermark),
        Field::new("late_at", instant),
    ])
}
