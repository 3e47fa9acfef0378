//! A table as its connector sees it, and its options, of which none may be left over.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use weir_core::error::{Place, nearest};
use weir_core::{Error, Result, Schema, options};
use weir_expr::{OnError, Session};

/// A table as its connector sees it.
pub struct TableSpec {
    /// Its name, for errors.
    pub name: String,
    /// All its physical columns.
    pub schema: Schema,
    /// The columns that are read, in order; for a sink all.
    pub columns: Vec<usize>,
    /// The columns that its folders are named by.
    pub partitioned_by: Vec<usize>,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Where each option stands.
    pub places: BTreeMap<String, Place>,
    /// Where the table was declared.
    pub place: Option<Place>,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// What becomes of records that cannot be read.
    pub on_error: OnError,
    /// Whether the records' bytes are to stay with their rows: a function may send them to a table of dead letters.
    pub keeps_records: bool,
    /// The session.
    pub session: Arc<Session>,
    /// A name of its own among the job's tables, the same in every run.
    pub uid: String,
    used: RefCell<BTreeSet<String>>,
}

impl TableSpec {
    /// A table.
    #[expect(clippy::too_many_arguments, reason = "a record's fields, each given once by the job's assembly")]
    pub fn new(
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
        let used = RefCell::new(["connector", "parallelism"].iter().map(|s| (*s).to_string()).collect());
        TableSpec {
            name,
            schema,
            columns,
            partitioned_by,
            options,
            places,
            place,
            base,
            on_error,
            keeps_records: false,
            session,
            uid,
            used,
        }
    }

    /// The connector's name.
    pub fn connector(&self) -> &str {
        self.options.get("connector").map_or("", String::as_str)
    }
    /// Where an option stands, or the table.
    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.places.get(key).copied().or(self.place)
    }
    /// The columns that are read.
    pub fn projected(&self) -> Schema {
        self.schema.project(&self.columns)
    }
    /// An option's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.used.borrow_mut().insert(key.to_string());
        self.options.get(key).map(String::as_str)
    }
    /// An option that must be there.
    pub(crate) fn need(&self, key: &str) -> Result<&str> {
        self.get(key)
            .ok_or_else(|| Error::script(format!("table '{}' lacks the option '{key}'", self.name)).at(self.place))
    }
    pub(crate) fn boolean(&self, key: &str, default: bool) -> Result<bool> {
        self.get(key).map_or(Ok(default), |v| options::boolean(key, v).map_err(|e| e.at(self.place_of(key))))
    }
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.get(key).map(|v| options::number(key, v).map_err(|e| e.at(self.place_of(key)))).transpose()
    }
    pub(crate) fn bytes(&self, key: &str, default: u64) -> Result<u64> {
        self.get(key).map_or(Ok(default), |v| options::bytes(key, v).map_err(|e| e.at(self.place_of(key))))
    }
    pub(crate) fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.get(key).map(|v| options::duration(key, v).map_err(|e| e.at(self.place_of(key)))).transpose()
    }
    pub(crate) fn character(&self, key: &str, default: Option<u8>) -> Result<Option<u8>> {
        let Some(v) = self.get(key) else {
            return Ok(default);
        };
        let v = match v {
            "\\t" => "\t",
            v => v,
        };
        match v.as_bytes() {
            [] => Ok(None),
            [b] if b.is_ascii() => Ok(Some(*b)),
            _ => {
                let e = Error::script(format!("option '{key}' is one ASCII character, not '{v}'"));
                Err(e.at(self.place_of(key)))
            }
        }
    }
    /// Fails for options that nobody asked for.
    pub(crate) fn all_used(&self) -> Result<()> {
        let used = self.used.borrow();
        for key in self.options.keys() {
            if !used.contains(key) {
                let e = Error::script(format!(
                    "the connector '{}' of table '{}' has no option '{key}'",
                    self.connector(),
                    self.name
                ))
                .at(self.place_of(key));
                return Err(match nearest(key, used.iter().map(String::as_str)) {
                    Some(n) => e.hint(format!("did you mean '{n}'?")),
                    None => e.hint(format!("it has: {}", used.iter().cloned().collect::<Vec<_>>().join(", "))),
                });
            }
        }
        Ok(())
    }
}
