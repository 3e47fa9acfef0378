//! Settings, table options and requests of functions that affect the graph.

use super::Job;
use crate::settings::{
    LENGTH, Length, MATERIALIZE, Materialize, Mode, NESTED, NOT_NULL, Nested, NotNull, PARALLELISM, TTL,
};
use crate::table::Table;
use weir_core::constraints::Rules;
use weir_core::option_spec::Opt;
use weir_core::{Result, descriptor};
use weir_expr::Expr;

/// The settings that affect the graph.
pub(super) struct Settings {
    /// The default parallelism.
    pub parallelism: usize,
    /// The time to live of a key without a row in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// Whether state expires: it does not in batch mode.
    expires: bool,
    /// The handling of rows that violate constraints of a sink's columns.
    pub rules: Rules,
    /// When all rows of a key are kept before a sink.
    pub materialize: Materialize,
}

impl Settings {
    /// The time to live of an operator's keys in milliseconds, given that of a hint.
    pub(super) fn ttl(&self, hint: Option<u64>) -> u64 {
        if self.expires { hint.unwrap_or(self.ttl_millis) } else { 0 }
    }

    pub(super) fn read(job: &Job<'_>) -> Result<Settings> {
        let s = job.settings;
        let nested = NESTED.value(s)?;
        let (ttl, expires) = (TTL.value(s)?, job.mode == Mode::Streaming);
        Ok(Settings {
            parallelism: PARALLELISM.given(s)?.unwrap_or(job.parallelism),
            ttl_millis: if expires { ttl.as_millis() as u64 } else { 0 },
            expires,
            rules: Rules {
                drops_null: NOT_NULL.value(s)? == NotNull::Drop,
                rows: nested != Nested::Ignore,
                collections: nested == Nested::Collections,
                fits_length: match LENGTH.value(s)? {
                    Length::TrimPad => Some(true),
                    Length::Error => Some(false),
                    Length::Ignore => None,
                },
            },
            materialize: MATERIALIZE.value(s)?,
        })
    }
}

/// The parallelism that a table defines: `parallelism`, or Flink's option for its role.
pub(super) fn own_parallelism(table: &Table, role: &Opt<usize>) -> Result<Option<usize>> {
    for option in [&descriptor::PARALLELISM, role] {
        let place = table.places.get(option.key()).copied().or(table.place);
        if let Some(n) = option.given(&table.options).map_err(|e| e.at(place))? {
            return Ok(Some(n));
        }
    }
    Ok(None)
}

/// The greatest parallelism that a function in these expressions requests.
pub(super) fn asked_parallelism<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Option<usize> {
    let mut most = None;
    for e in exprs {
        e.each_call(&mut |function| most = most.max(function.parallelism()));
    }
    most
}
