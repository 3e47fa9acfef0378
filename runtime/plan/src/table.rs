//! Tables, as plans read and write them.

use std::collections::BTreeMap;
use weir_core::error::Place;
use weir_core::{Field, Schema};
use weir_expr::{Expr, OnError};

/// A declared table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its full name.
    pub name: String,
    /// The columns that a connector reads: the physical ones and metadata.
    pub physical: Schema,
    /// For each of them, what of a record beside its fields it stands for, if it is metadata.
    pub metadata: Vec<Option<String>>,
    /// Those of them that a connector writes: all but virtual metadata.
    pub written: Vec<usize>,
    /// All its columns in order: a computed one with its expression over the physical ones.
    pub columns: Vec<(Field, Option<Expr>)>,
    /// The primary key's physical columns.
    pub primary_key: Vec<usize>,
    /// The columns that its folders are named by.
    pub partitioned_by: Vec<usize>,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Where each option stands.
    pub places: BTreeMap<String, Place>,
    /// Where it was declared.
    pub place: Option<Place>,
    /// What becomes of records that cannot be read or written.
    pub on_error: ErrorPolicy,
}

impl Table {
    /// The columns that a connector writes.
    pub fn sink_schema(&self) -> Schema {
        self.physical.project(&self.written)
    }
    /// The primary key's columns among those that a connector writes.
    pub fn sink_key(&self) -> Vec<usize> {
        self.primary_key.iter().filter_map(|k| self.written.iter().position(|w| w == k)).collect()
    }
    /// Whether what it reads are changes, not only rows that come.
    pub fn brings_changes(&self) -> bool {
        self.is_upsert() || weir_core::options::CHANGE_FORMATS.contains(&self.format())
    }
    /// The format of its records, or of their values.
    pub fn format(&self) -> &str {
        self.options.get("value.format").or_else(|| self.options.get("format")).map_or("", String::as_str)
    }
    /// Whether a row that it reads replaces the one before with the same key.
    pub fn is_upsert(&self) -> bool {
        self.options.get("connector").is_some_and(|c| c == "upsert-kafka")
    }
}

/// What becomes of rows that fail, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// What becomes of them.
    pub policy: OnError,
    /// The table for dead letters.
    pub dead_letters: Option<String>,
}
