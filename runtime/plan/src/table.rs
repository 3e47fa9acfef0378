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
    /// Its connector and its formats.
    pub described: Described,
    /// When its rows have happened, where WATERMARK says so.
    pub event_time: Option<EventTime>,
}

/// What WATERMARK says of a table.
#[derive(Debug, Clone)]
pub struct EventTime {
    /// The column with the rows' times, among those that a scan gives ([`Table::scanned`]).
    pub column: usize,
    /// The expression over the physical columns that it is computed by, if it is.
    pub computed: Option<(Field, Expr)>,
    /// What each row says of the time up to which all rows have come: an expression over the columns that a scan gives.
    pub watermark: Expr,
    /// Where it is said that the source has watermarks of its own, if it is: `SOURCE_WATERMARK()`.
    pub of_source: Option<Option<Place>>,
}

impl Table {
    /// The columns that a scan gives: the physical ones, and behind them the rows' times where these are computed.
    pub fn scanned(&self) -> Schema {
        let computed = self.event_time.iter().filter_map(|t| t.computed.as_ref());
        Schema::new(self.physical.fields.iter().chain(computed.map(|(f, _)| f)).cloned().collect())
    }
    /// Whether the times of its rows are instants.
    pub fn has_instants(&self) -> bool {
        let time = self.event_time.as_ref().and_then(|t| self.scanned().fields.into_iter().nth(t.column));
        time.is_some_and(|f| matches!(f.ty.kind, TypeKind::TimestampLtz(_)))
    }
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
        self.described.reads().is_some_and(|c| c != Changelog::InsertOnly)
    }
    /// Whether a row that it reads replaces the one before with the same key.
    pub fn is_upsert(&self) -> bool {
        self.described.reads() == Some(Changelog::Upsert)
    }
    /// Whether its sink takes rows that change or go.
    pub fn takes_changes(&self) -> bool {
        self.described.writes().is_some_and(|c| c != Changelog::InsertOnly)
    }
    /// Whether its sink replaces and removes rows by the table's key alone, so that no two rows may share one.
    pub fn upserts(&self) -> bool {
        self.described.writes() == Some(Changelog::Upsert)
    }
    /// Whether its sink takes the key of a query whose results change, if it has none of its own.
    pub fn takes_key_of_query(&self) -> bool {
        self.described.connector.key == PrimaryKey::OfQuery
    }
    /// Whether rows that its sink cannot write go to a table of the same system.
    pub fn own_dead_letters(&self) -> bool {
        self.described.connector.own_dead_letters
    }
    /// The options by which it is read as a table of dead letters, from its beginning to its end of now; none if it cannot be.
    pub fn replayed_with(&self) -> &'static [(&'static str, &'static str)] {
        self.described.connector.replayed_with
    }
    /// The name of its connector.
    pub fn connector(&self) -> &str {
        self.options.get(CONNECTOR.key()).map_or("", String::as_str)
    }
    /// What is known of an option of its connector's or formats'.
    pub fn option(&self, key: &str) -> Option<&'static OptionSpec> {
        self.described.option(key)
    }

    /// Its declaration, as far as its descriptors are about it.
    pub fn given(&self) -> Given<'_> {
        let name = self.name.rsplit('.').next().unwrap_or(&self.name);
        Given { name, options: &self.options, places: &self.places, place: self.place }
    }

    /// Checks its options and its metadata for what it is to be.
    ///
    /// # Errors
    /// When its connector cannot be that, an option is not known or wrong, or a column stands for what there is not.
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

/// What becomes of rows that fail, and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// What becomes of them.
    pub policy: OnError,
    /// The table for dead letters.
    pub dead_letters: Option<String>,
}
