//! Late rows, as rows of the table that they are written to.

use crate::{Field, Schema, SqlType, TypeKind};

/// What the names of the columns begin with that say why and where a row was late; the others are those of the row itself.
pub const PREFIX: &str = "late_";

/// The columns that say why and where a row was late. Watermarks are instants where the rows' times are.
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
