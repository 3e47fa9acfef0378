//! A table as its connector sees it. Options can only be read by the constants that describe them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use weir_core::descriptor::{CONNECTOR, Descriptor, OnError};
use weir_core::error::Place;
use weir_core::option_spec::{FromParsed, Opt};
use weir_core::{Error, Result, Schema};
use weir_expr::Session;

/// A table as its connector sees it.
#[derive(Clone)]
pub struct TableSpec {
    /// Its name, for errors.
    pub name: String,
    /// All its physical columns.
    pub schema: Schema,
    /// The columns that are read, in order; for a sink, all.
    pub columns: Vec<usize>,
    /// Of each of these, the fields of its ROW that are read, by their numbers; none: all of the column. A source may leave the
    /// others NULL. Empty if that is not known.
    pub fields: Vec<Option<BTreeSet<usize>>>,
    /// For each column, the key of the metadata that it stands for, if it is a metadata column.
    pub metadata: Vec<Option<String>>,
    /// The columns of the primary key or, for a result without one, those that identify a row.
    pub key: Vec<usize>,
    /// The columns of PARTITIONED BY, which folders are named by.
    pub partitioned_by: Vec<usize>,
    /// Its options.
    options: BTreeMap<String, String>,
    /// Where each option is in the script.
    places: BTreeMap<String, Place>,
    /// Where the table is declared in the script.
    pub place: Option<Place>,
    /// The folder against which relative paths are resolved.
    pub base: PathBuf,
    /// What happens to records that cannot be read.
    pub on_error: OnError,
    /// Whether rows keep the bytes of their records, because a function may write them to a dead-letter table.
    pub keeps_records: bool,
    /// Whether the rows of a source have event times, so that the order in which it reads them matters.
    pub timed: bool,
    /// The session.
    pub session: Arc<Session>,
    /// The dead-letter table for rows that the sink's system rejects.
    pub dead_letters: Option<Box<TableSpec>>,
    /// Whether a sink receives updates and deletions besides insertions.
    pub changes: bool,
    /// Whether a bounded source that was read to its end continues to the present end.
    pub again: bool,
    /// The subject under which a schema registry has the records' schema, unless an option gives another one.
    pub subject: Option<String>,
    /// A name that is unique among the job's tables, and the same in every run.
    pub uid: String,
    /// The connector or format whose options are read.
    described: &'static Descriptor,
    /// The prefixes that the options' names may have; the first one with a value counts.
    scopes: Vec<String>,
    /// The options with a column in their names that were read.
    used: RefCell<BTreeSet<String>>,
}

impl TableSpec {
    /// A table of a connector.
    #[expect(clippy::too_many_arguments, reason = "a record's fields, each given once by the job's assembly")]
    pub fn new(
        described: &'static Descriptor,
        name: String,
        schema: Schema,
        columns: Vec<usize>,
        partitioned_by: Vec<usize>,
        options: BTreeMap<String, String>,
        places: BTreeMap<String, Place>,
        place: Option<Place>,
        base: PathBuf,
        on_error: OnError,
        session: Arc<Session>,
        uid: String,
    ) -> Self {
        let metadata = vec![None; schema.len()];
        TableSpec {
            name,
            schema,
            columns,
            fields: vec![],
            metadata,
            key: vec![],
            partitioned_by,
            options,
            places,
            place,
            base,
            on_error,
            keeps_records: false,
            timed: false,
            dead_letters: None,
            changes: false,
            again: false,
            subject: None,
            session,
            uid,
            described,
            scopes: vec![String::new()],
            used: RefCell::default(),
        }
    }

    /// Its connector.
    pub(crate) fn connector(&self) -> &str {
        self.options.get(CONNECTOR.key()).map_or("", String::as_str)
    }
    /// The full name of an option, with its prefix.
    pub(crate) fn key_of<T>(&self, option: &Opt<T>) -> String {
        self.key_at(option, "")
    }
    /// The full name of an option of a column, or of a value nested in one.
    pub(crate) fn key_at<T>(&self, option: &Opt<T>, column: &str) -> String {
        let key = option.key().replacen('#', column, 1);
        let names = || self.scopes.iter().map(|s| format!("{s}{key}"));
        names().find(|k| self.options.contains_key(k)).or_else(|| names().next_back()).unwrap_or_default()
    }
    /// Where an option is in the script, or else the table.
    pub(crate) fn place_of<T>(&self, option: &Opt<T>) -> Option<Place> {
        self.place_of_key(&self.key_of(option))
    }
    /// Where the option of this name is in the script, or else the table.
    pub(crate) fn place_of_key(&self, key: &str) -> Option<Place> {
        self.places.get(key).copied().or(self.place)
    }
    /// The statement that reads or writes the table. The table's uid begins with it.
    pub(crate) fn statement(&self) -> &str {
        self.uid.rsplit_once('/').map_or(&self.uid, |(statement, _)| statement)
    }
    /// The schema of the columns that are read.
    pub fn projected(&self) -> Schema {
        self.schema.project(&self.columns)
    }
    /// Whether a field of a ROW is read. `place` is the place of the ROW among the columns that are read.
    pub(crate) fn reads_field(&self, place: usize, field: usize) -> bool {
        self.fields.get(place).and_then(Option::as_ref).is_none_or(|fields| fields.contains(&field))
    }
    /// The value of an option, if it is given.
    pub(crate) fn get<T: FromParsed>(&self, option: &Opt<T>) -> Result<Option<T>> {
        self.get_at(option, "")
    }
    /// The value of an option of a column, or of a value nested in one, if it is given.
    pub(crate) fn get_at<T: FromParsed>(&self, option: &Opt<T>, column: &str) -> Result<Option<T>> {
        if !self.described.options().any(|o| o.key == option.key()) {
            let e = format!("'{}' reads the option '{}', which is not described", self.described.name, option.key());
            return Err(Error::internal(e));
        }
        let key = self.key_at(option, column);
        let value =
            self.options.get(&key).map(|text| option.read(&key, text).map_err(|e| e.at(self.place_of_key(&key))));
        if option.spec().is_pattern() {
            self.used.borrow_mut().insert(key.clone());
        }
        value.transpose()
    }
    /// The value of an option: as given, or its default.
    pub(crate) fn value<T: FromParsed>(&self, option: &Opt<T>) -> Result<T> {
        self.value_at(option, "")
    }
    /// The value of an option of a column, or of a value nested in one: as given, or its default.
    pub(crate) fn value_at<T: FromParsed>(&self, option: &Opt<T>, column: &str) -> Result<T> {
        match (self.get_at(option, column)?, option.spec().default) {
            (Some(value), _) => Ok(value),
            (None, Some(text)) => option.read(option.key(), text),
            (None, None) => {
                let e = format!("table '{}' lacks the option '{}'", self.name, self.key_at(option, column));
                Err(Error::script(e).at(self.place))
            }
        }
    }
    /// Whether an option is given.
    pub(crate) fn has<T>(&self, option: &Opt<T>) -> bool {
        self.options.contains_key(&self.key_of(option))
    }
    /// Logs why options that are given have no effect on this table.
    pub(crate) fn idle(&self, keys: &[&str], why: &str) {
        for key in keys.iter().filter(|k| self.options.contains_key(**k)) {
            tracing::info!("'{key}' of table '{}' means nothing here: {why}", self.name);
        }
    }
    /// The options that a name with `*` stands for, by the rest of their names.
    pub(crate) fn all_of(&self, option: &Opt<String>) -> Vec<(String, String)> {
        let prefix = option.key().trim_end_matches('*');
        let found = self.options.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?, v)));
        let all: Vec<_> = found.map(|(k, v)| (k.to_string(), v.clone())).collect();
        self.used.borrow_mut().extend(all.iter().map(|(k, _)| format!("{prefix}{k}")));
        all
    }
    /// Some columns of the table as a format sees them. The format's options begin with its name, optionally after `prefix`.
    pub(crate) fn part(&self, described: &'static Descriptor, prefix: &str, fields: &[usize]) -> TableSpec {
        let columns = self.columns.iter().filter_map(|c| fields.iter().position(|f| f == c)).collect();
        let own = format!("{}.", described.name);
        let scopes = if prefix.is_empty() { vec![own] } else { vec![format!("{prefix}{own}"), own] };
        // Metadata of the value's format begins with `value.` in a message.
        let of_format = |m: &String| m.strip_prefix("value.").unwrap_or(m).to_string();
        TableSpec {
            metadata: fields.iter().map(|f| self.metadata[*f].as_ref().map(of_format)).collect(),
            keeps_records: self.keeps_records,
            timed: self.timed,
            key: self.key.iter().filter_map(|k| fields.iter().position(|f| f == k)).collect(),
            subject: self.subject.clone(),
            scopes,
            ..TableSpec::new(
                described,
                self.name.clone(),
                self.schema.project(fields),
                columns,
                vec![],
                self.options.clone(),
                self.places.clone(),
                self.place,
                self.base.clone(),
                self.on_error,
                self.session.clone(),
                self.uid.clone(),
            )
        }
    }
    /// The same table with a default subject for the schema registry.
    pub(crate) fn registered(&self, subject: String) -> Self {
        TableSpec { subject: Some(subject), ..self.clone() }
    }
    /// The same table without a prefix of its columns' names.
    pub(crate) fn renamed(mut self, begin: &str) -> Self {
        for f in &mut self.schema.fields {
            f.name = f.name.strip_prefix(begin).unwrap_or(&f.name).to_string();
        }
        self
    }
    /// A name for what external systems store about this table; it is the same in every run.
    pub(crate) fn outside_name(&self) -> String {
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(self.uid.as_bytes()))
    }
    /// Fails if an option names a column that does not exist, and logs which options have no effect.
    pub(crate) fn finish(&self) -> Result<()> {
        for key in self.options.keys() {
            let Some(option) = self.described.option(key) else { continue };
            if let Some(why) = option.idle {
                self.idle(&[key], why);
            }
            if option.is_pattern() && !self.used.borrow().contains(key) {
                let e = format!("the connector '{}' of table '{}' has no option '{key}'", self.connector(), self.name);
                let e = Error::script(e).at(self.place_of_key(key));
                return Err(e.hint(format!("'{}' stands for a column, and what is inside of one", option.key)));
            }
        }
        Ok(())
    }
}
