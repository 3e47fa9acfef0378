//! Dead letters as rows.

use crate::{Field, Schema, SqlType, TypeKind};
use std::sync::LazyLock;

/// The columns of dead letters.
pub static DEAD_LETTER: LazyLock<Schema> = LazyLock::new(|| {
    Schema::new(vec![
        Field::new("reason", SqlType::STRING),
        Field::new("origin", SqlType::STRING),
        Field::new("record", SqlType::BYTES),
        Field::new("time", SqlType::from(TypeKind::TimestampLtz(3))),
        Field::new("headers", SqlType::from(TypeKind::Map(Box::new(SqlType::STRING), Box::new(SqlType::BYTES)))),
    ])
});
