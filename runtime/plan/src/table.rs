//! Tables, as plans read and write them.

use std::collections::BTreeMap;
use weir_core::descriptor::{CONNECTOR, Changelog, Described, Given, OnError, PrimaryKey, Registry, WATERMARKS};
use weir_core::error::Place;
use weir_core::option_spec::{OptionSpec, Role};
use weir_core::{Error, Field, Result, Schema, TypeKind};
use weir_expr::Expr;

/// A declared table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its full name.
    pub name: String,
    /// The columns that a connector reads: the physical columns and the metadata columns.
    pub physical: Schema,
    /// For each of these columns, the metadata key if it is a metadata column.
    pub metadata: Vec<Option<String>>,
    /// The indices of the columns that a connector writes: all but virtual metadata columns.
    pub written: Vec<usize>,
    /// All columns in order. A computed column has its expression over the physical ones.
    pub columns: Vec<(Field, Option<Expr>)>,
    /// The physical columns of the primary key.
    pub primary_key: Vec<usize>,
    /// The partition columns, whose values are the names of folders.
    pub partitioned_by: Vec<usize>,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// The position of each option in the script.
    pub places: BTreeMap<String, Place>,
    /// The position of the declaration in the script.
    pub place: Option<Place>,
    /// The handling of records that cannot be read or written.
    pub on_error: ErrorPolicy,
    /// The descriptors of its connector and formats.
    pub described: Described,
    /// The event time of the rows, if WATERMARK is declared.
    pub event_time: Option<EventTime>,
}

/// The WATERMARK of a table.
#[derive(Debug, Clone)]
pub struct EventTime {
    /// The column with the rows' times, among the columns of a scan ([`Table::scanned`]).
    pub column: usize,
    /// If the column is computed, its expression over the physical columns.
    pub computed: Option<(Field, Expr)>,
    /// The watermark expression over the columns of a scan.
    pub watermark: Expr,
    /// The position of `SOURCE_WATERMARK()` in the script, if the source emits watermarks of its own.
    pub of_source: Option<Option<Place>>,
}

impl Table {
    /// The columns of a scan: the physical ones, followed by the time column if it is computed.
    pub fn scanned(&self) -> Schema {
        let computed = self.event_time.iter().filter_map(|t| t.computed.as_ref());
        Schema::new(self.physical.fields.iter().chain(computed.map(|(f, _)| f)).cloned().collect())
    }
    /// Whether the rows' times are instants.
    pub fn has_instants(&self) -> bool {
        let time = self.event_time.as_ref().and_then(|t| self.scanned().fields.into_iter().nth(t.column));
        time.is_some_and(|f| matches!(f.ty.kind, TypeKind::TimestampLtz(_)))
    }
    /// The columns that a connector writes.
    pub fn sink_schema(&self) -> Schema {
        self.physical.project(&self.written)
    }
    /// The columns of the primary key among the columns that a connector writes.
    pub fn sink_key(&self) -> Vec<usize> {
        self.primary_key.iter().filter_map(|k| self.written.iter().position(|w| w == k)).collect()
    }
    /// Whether reading the table gives a changelog, not only insertions.
    pub fn brings_changes(&self) -> bool {
        self.described.reads().is_some_and(|c| c != Changelog::InsertOnly)
    }
    /// Whether a row that is read replaces the previous one with the same key.
    pub fn is_upsert(&self) -> bool {
        self.described.reads() == Some(Changelog::Upsert)
    }
    /// Whether the sink accepts updates and deletions.
    pub fn takes_changes(&self) -> bool {
        self.described.writes().is_some_and(|c| c != Changelog::InsertOnly)
    }
    /// Whether the sink replaces and deletes rows by the table's key alone, so that no two rows may have the same key.
    pub fn upserts(&self) -> bool {
        self.described.writes() == Some(Changelog::Upsert)
    }
    /// Whether the sink uses the key of a query whose results change, if the table has no key.
    pub fn takes_key_of_query(&self) -> bool {
        self.described.connector.key == PrimaryKey::OfQuery
    }
    /// Whether a job may read the table that it writes.
    pub fn read_while_written(&self) -> bool {
        self.described.connector.read_while_written
    }
    /// Whether rows that the sink cannot write are sent to a table of the same external system.
    pub fn own_dead_letters(&self) -> bool {
        self.described.connector.own_dead_letters
    }
    /// The options for reading the table as a dead-letter table, from its beginning to its current end; empty if that is not possible.
    pub fn replayed_with(&self) -> &'static [(&'static str, &'static str)] {
        self.described.connector.replayed_with
    }
    /// The name of its connector.
    pub fn connector(&self) -> &str {
        self.options.get(CONNECTOR.key()).map_or("", String::as_str)
    }
    /// The specification of an option of its connector or formats.
    pub fn option(&self, key: &str) -> Option<&'static OptionSpec> {
        self.described.option(key)
    }

    /// The parts of its declaration that descriptors check.
    pub fn given(&self) -> Given<'_> {
        let name = self.name.rsplit('.').next().unwrap_or(&self.name);
        Given { name, options: &self.options, places: &self.places, place: self.place }
    }

    /// Checks the options and the metadata columns for a role.
    ///
    /// # Errors
    /// If the connector does not support the role, an option is unknown or invalid, or a metadata key does not exist.
    pub fn check(&self, registry: Registry, role: Role) -> Result<()> {
        let given = self.given();
        let described = &self.described;
        described.check(registry, &given, role)?;
        let without_time = || WATERMARKS.iter().find(|o| role == Role::Source && self.options.contains_key(o.key));
        if let (None, Some(option)) = (&self.event_time, without_time()) {
            let e = Error::script(format!("table '{}' has '{}', and no WATERMARK", given.name, option.key));
            return Err(e.at(self.places.get(option.key).copied().or(self.place)));
        }
        if let (Role::Source, Some(time)) = (role, &self.event_time)
            && let Some(place) = time.of_source
        {
            let what = format!(
                "table '{}' takes watermarks of its source, and connector '{}' has none of its own",
                given.name,
                self.connector()
            );
            let column = &self.scanned().fields[time.column].name;
            let hint = format!("say how late rows may come: WATERMARK FOR {column} AS {column} - INTERVAL '5' SECOND");
            return Err(Error::script(what).at(place.or(self.place)).hint(hint));
        }
        for (i, key) in self.metadata.iter().enumerate() {
            let Some(key) = key else { continue };
            let column = &self.physical.fields[i].name;
            let found = described.metadata(key).map_err(|mut e| {
                e.message += &format!(" (column '{column}')");
                e.at(self.place)
            })?;
            if role == Role::Sink && self.written.contains(&i) && !found.writable {
                let e = Error::script(format!("column '{column}' is metadata that can only be read")).at(self.place);
                return Err(e.hint("declare it VIRTUAL, and it is left out of what is written"));
            }
        }
        Ok(())
    }
}

/// The handling of rows that fail, and their destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// How they are handled.
    pub policy: OnError,
    /// The table for dead letters.
    pub dead_letters: Option<String>,
}
