//! A table as its connector sees it, and its options, of which none may be left over.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use weir_core::error::{Place, nearest};
use weir_core::{Error, Result, Schema, options};
use weir_expr::{OnError, Session};
use weir_operators::lookup::Cache;

/// A table as its connector sees it.
pub struct TableSpec {
    /// Its name, for errors.
    pub name: String,
    /// All its physical columns.
    pub schema: Schema,
    /// The columns that are read, in order; for a sink all.
    pub columns: Vec<usize>,
    /// For each column, what of a record beside its fields it stands for, if it is such a one.
    pub metadata: Vec<Option<String>>,
    /// The primary key's columns, or what a result without one is unique by.
    pub key: Vec<usize>,
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
    /// The table that takes what a sink's system refuses.
    pub dead_letters: Option<Box<TableSpec>>,
    /// Whether a sink is given rows that replace or take back what it was given before.
    pub changes: bool,
    /// Whether what was read to a given end before is read on to the end of now.
    pub again: bool,
    /// Which side of a message its columns are, of one that has two: `key` or `value`.
    pub side: &'static str,
    /// A name of its own among the job's tables, the same in every run.
    pub uid: String,
    used: RefCell<BTreeSet<String>>,
    /// Options that were said to do nothing.
    idle: RefCell<BTreeSet<String>>,
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
        let metadata = vec![None; schema.len()];
        let used = RefCell::new(
            ["connector", "parallelism", "scan.parallelism", "sink.parallelism"]
                .iter()
                .map(|s| (*s).to_string())
                .collect(),
        );
        TableSpec {
            name,
            schema,
            columns,
            metadata,
            key: vec![],
            partitioned_by,
            options,
            places,
            place,
            base,
            on_error,
            keeps_records: false,
            dead_letters: None,
            changes: false,
            again: false,
            side: "value",
            session,
            uid,
            used,
            idle: RefCell::default(),
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
    /// The statement that reads or writes it, of which its own name is part.
    pub(crate) fn statement(&self) -> &str {
        self.uid.rsplit_once('/').map_or(&self.uid, |(statement, _)| statement)
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
    /// Options of Flink's that do nothing for this table, which is said of those that it sets, and why.
    pub(crate) fn idle(&self, keys: &[&str], why: &str) {
        let set = keys.iter().filter(|k| self.get(k).is_some());
        for key in set.filter(|k| self.idle.borrow_mut().insert((**k).to_string())) {
            tracing::info!("'{key}' of table '{}' means nothing here: {why}", self.name);
        }
    }
    /// The options that begin so, by the rest of their names.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let found = self.options.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?, v)));
        let all: Vec<_> = found.map(|(k, v)| (k.to_string(), v.clone())).collect();
        for (k, _) in &all {
            self.get(&format!("{prefix}{k}"));
        }
        all
    }
    /// A table of some of the columns as a format of its own sees it, whose options begin with `prefix`: those of
    /// `key.format` with `key.`. `make` takes it; the options that it asked for count as used.
    pub(crate) fn part<T>(
        &self,
        prefix: &str,
        fields: &[usize],
        format: &str,
        make: impl FnOnce(&TableSpec) -> Result<T>,
    ) -> Result<T> {
        self.part_without(prefix, fields, "", format, make)
    }
    /// The same, with the columns' names without what they begin with.
    pub(crate) fn part_without<T>(
        &self,
        prefix: &str,
        fields: &[usize],
        begin: &str,
        format: &str,
        make: impl FnOnce(&TableSpec) -> Result<T>,
    ) -> Result<T> {
        let mut options = self.options.clone();
        let mut places = self.places.clone();
        if !prefix.is_empty() {
            for (k, v) in &self.options {
                if let Some(rest) = k.strip_prefix(prefix) {
                    options.insert(rest.to_string(), v.clone());
                    places.extend(self.places.get(k).map(|p| (rest.to_string(), *p)));
                }
            }
        }
        options.insert("format".to_string(), format.to_string());
        let columns = self.columns.iter().filter_map(|c| fields.iter().position(|f| f == c)).collect();
        let mut part = TableSpec::new(
            self.name.clone(),
            self.schema.project(fields),
            columns,
            vec![],
            options,
            places,
            self.place,
            self.base.clone(),
            self.on_error,
            self.session.clone(),
            self.uid.clone(),
        );
        // What the value's format knows beside a row begins so in a message.
        let of_format = |m: &String| m.strip_prefix("value.").unwrap_or(m).to_string();
        part.metadata = fields.iter().map(|f| self.metadata[*f].as_ref().map(of_format)).collect();
        for f in &mut part.schema.fields {
            f.name = f.name.strip_prefix(begin).unwrap_or(&f.name).to_string();
        }
        part.keeps_records = self.keeps_records;
        if prefix == "key." {
            part.side = "key";
        }
        part.key = self.key.iter().filter_map(|k| fields.iter().position(|f| f == k)).collect();
        let made = make(&part)?;
        for k in part.used.borrow().iter() {
            self.get(k);
            self.get(&format!("{prefix}{k}"));
        }
        Ok(made)
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
    /// A time that is longer than nothing.
    pub(crate) fn some_time(&self, key: &str) -> Result<Option<Duration>> {
        match self.duration(key)? {
            Some(d) if d.is_zero() => {
                Err(Error::script(format!("option '{key}' is longer than nothing")).at(self.place_of(key)))
            }
            d => Ok(d),
        }
    }
    pub(crate) fn character(&self, key: &str, default: Option<u8>) -> Result<Option<u8>> {
        let Some(v) = self.get(key) else {
            return Ok(default);
        };
        let code = v.strip_prefix("\\u").filter(|d| d.len() == 4).and_then(|d| u8::from_str_radix(d, 16).ok());
        let code = code.map(|c| char::from(c).to_string());
        let v = match v {
            "\\t" => "\t",
            "\\\\" => "\\",
            v => code.as_deref().unwrap_or(v),
        };
        match v.as_bytes() {
            [b] if b.is_ascii() => Ok(Some(*b)),
            _ => {
                let e = Error::script(format!("option '{key}' is one ASCII character, not '{v}'"));
                Err(e.at(self.place_of(key)))
            }
        }
    }
    /// A secret: the option itself, or the first line of the file that `KEY.file` names. An empty one is none.
    pub(crate) fn secret(&self, key: &str) -> Result<Option<String>> {
        Ok(self.given_secret(key)?.filter(|s| !s.is_empty()))
    }
    fn given_secret(&self, key: &str) -> Result<Option<String>> {
        let by_file = format!("{key}.file");
        match (self.get(key), self.get(&by_file)) {
            (Some(_), Some(_)) => {
                Err(Error::script(format!("'{key}' and '{by_file}' exclude each other")).at(self.place_of(&by_file)))
            }
            (Some(p), None) => Ok(Some(p.to_string())),
            (None, Some(file)) => {
                let path = self.base.join(file);
                let text = std::fs::read_to_string(&path).map_err(|e| {
                    Error::script(format!("cannot read '{by_file}' {}", path.display()))
                        .caused_by(e)
                        .at(self.place_of(&by_file))
                })?;
                Ok(Some(text.lines().next().unwrap_or_default().to_string()))
            }
            (None, None) => Ok(None),
        }
    }
    /// How a lookup remembers what it found, with Flink's options of today and of before 1.16.
    pub(crate) fn lookup_cache(&self) -> Result<Cache> {
        let old_rows = self.number::<usize>("lookup.cache.max-rows")?;
        let old_ttl = self.duration("lookup.cache.ttl")?;
        let rows = self.number::<usize>("lookup.partial-cache.max-rows")?.or(old_rows).and_then(NonZeroUsize::new);
        let after_write = self.duration("lookup.partial-cache.expire-after-write")?.or(old_ttl);
        let after_access = self.duration("lookup.partial-cache.expire-after-access")?;
        let old_missing = self.boolean("lookup.cache.caching-missing-key", true)?;
        let missing = self.boolean("lookup.partial-cache.caching-missing-key", old_missing)?;
        let max_rows = match self.get("lookup.cache") {
            None => rows,
            Some("NONE") => None,
            Some("PARTIAL") => rows.or(NonZeroUsize::new(10_000)),
            Some(other) => {
                let e = Error::script(format!("'lookup.cache' is NONE or PARTIAL, not '{other}'"));
                return Err(e.at(self.place_of("lookup.cache")));
            }
        };
        if max_rows.is_none() {
            let of_cache = [
                "lookup.cache.ttl",
                "lookup.cache.caching-missing-key",
                "lookup.partial-cache.expire-after-write",
                "lookup.partial-cache.expire-after-access",
                "lookup.partial-cache.caching-missing-key",
            ];
            self.idle(&of_cache, "nothing is remembered without 'lookup.cache' = 'PARTIAL'");
        }
        self.idle(&["lookup.async"], "the keys of a batch are asked for together in any case");
        Ok(Cache { max_rows, after_write, after_access, missing })
    }
    /// Whether `sink.delivery-guarantee` asks for exactly once.
    pub(crate) fn exactly_once(&self, default: bool) -> Result<bool> {
        let key = "sink.delivery-guarantee";
        match self.get(key) {
            None => Ok(default),
            Some("exactly-once") => Ok(true),
            Some("at-least-once" | "none") => Ok(false),
            Some(other) => {
                let e = Error::script(format!("there is no delivery guarantee '{other}'")).at(self.place_of(key));
                Err(e.hint("there are exactly-once, at-least-once and none"))
            }
        }
    }
    /// A name for what systems outside keep of this table, the same in every run.
    pub(crate) fn outside_name(&self) -> String {
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(self.uid.as_bytes()))
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
