//! What settings, tables' options and functions say of the graph.

use super::Job;
use crate::table::Table;
use crate::traits::Mode;
use weir_core::constraints::Rules;
use weir_core::{Error, Result, options};
use weir_expr::Expr;

/// When rows of one key of a sink are kept in front of it: `table.exec.sink.upsert-materialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpsertMaterialize {
    /// Never.
    None,
    /// Where keys of the query may share one of the sink's.
    Auto,
    /// In front of every sink that replaces by key.
    Force,
}

/// The settings that decide about the graph.
pub(super) struct Settings {
    /// The number of subtasks where nothing else is said.
    pub parallelism: usize,
    /// After how many milliseconds without a row a key is forgotten; 0 = never.
    pub ttl_millis: u64,
    /// What becomes of rows that do not keep to what a sink's table says of its columns.
    pub rules: Rules,
    /// When rows of one key are kept in front of a sink.
    pub upsert_materialize: UpsertMaterialize,
}

impl Settings {
    pub(super) fn read(job: &Job<'_>) -> Result<Settings> {
        let s = job.settings;
        let parallelism =
            s.get("parallelism.default").map_or(Ok(job.parallelism), |v| options::number("parallelism.default", v))?;
        let ttl = s.get("table.exec.state.ttl").map(|v| options::duration("table.exec.state.ttl", v)).transpose()?;
        let sink = |key: &str| s.get(&format!("table.exec.sink.{key}")).map_or("", String::as_str);
        let nested = sink("nested-constraint-enforcer");
        Ok(Settings {
            parallelism,
            // A batch is over before anything grows old.
            ttl_millis: ttl.filter(|_| job.mode == Mode::Streaming).map_or(0, |d| d.as_millis() as u64),
            rules: Rules {
                drops_null: sink("not-null-enforcer") == "drop",
                rows: matches!(nested, "rows" | "rows_and_collections"),
                collections: nested == "rows_and_collections",
                fits_length: match sink("type-length-enforcer") {
                    "trim_pad" => Some(true),
                    "error" => Some(false),
                    _ => None,
                },
            },
            upsert_materialize: match sink("upsert-materialize") {
                "none" => UpsertMaterialize::None,
                "force" => UpsertMaterialize::Force,
                _ => UpsertMaterialize::Auto,
            },
        })
    }
}

fn check_parallelism(key: &str, n: usize) -> Result<()> {
    if (1..=64).contains(&n) {
        return Ok(());
    }
    Err(Error::script(format!("'{key}' is 1 to 64, not {n}")))
}

/// What a table says of its subtasks: `parallelism`, or Flink's option for its role.
pub(super) fn own_parallelism(table: &Table, role: &str) -> Result<Option<usize>> {
    for key in ["parallelism", role] {
        if let Some(v) = table.options.get(key) {
            let n = options::number(key, v)?;
            check_parallelism(key, n).map_err(|e| e.at(table.places.get(key).copied().or(table.place)))?;
            return Ok(Some(n));
        }
    }
    Ok(None)
}

/// The greatest parallelism that a function of expressions asks for.
pub(super) fn asked_parallelism<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Result<Option<usize>> {
    let mut most = None;
    for e in exprs {
        e.each_call(&mut |function| most = most.max(function.parallelism()));
    }
    most.map_or(Ok(()), |n| check_parallelism("parallelism", n))?;
    Ok(most)
}
