//! Looks rows up by key: the keys of a batch in one statement.

use super::config::Config;
use super::database::{Database, plain};
use super::rows::cell;
use super::statements::Column;
use crate::options::TableSpec;
use crate::texts::batch;
use arrow::array::ArrayRef;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use weir_core::error::Kind;
use weir_core::key::Keys;
use weir_core::{Batch, Error, Result, Schema, Value};
use weir_expr::Session;
use weir_operators::lookup::{Cache, Lookup, LookupTable};

/// Keys of a statement at most.
const MOST: usize = 1_000;

#[derive(Clone)]
struct Table {
    config: Config,
    /// The columns that are read, then those of the key.
    schema: Schema,
    keys: usize,
    cache: Cache,
    retries: u32,
    session: Arc<Session>,
}

pub(crate) fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    let config = Config::new(table)?;
    let columns: Vec<usize> = table.columns.iter().chain(keys).copied().collect();
    let schema = table.schema.project(&columns);
    super::rows::check(table, &schema)?;
    if let Some(f) = keys.iter().map(|k| &table.schema.fields[*k]).find(|f| f.ty.is_bytes()) {
        let e = Error::script(format!("rows of '{}' cannot be looked up by bytes (column '{}')", table.name, f.name));
        return Err(e.at(table.place));
    }
    let cache = table.lookup_cache()?;
    let retries = table.number::<u32>("lookup.max-retries")?.unwrap_or(3);
    for k in super::source::OPTIONS.iter().chain(&[
        "sink.buffer-flush.max-rows",
        "sink.buffer-flush.interval",
        "sink.max-retries",
        "sink.delivery-guarantee",
    ]) {
        table.get(k);
    }
    Ok(Arc::new(Table { config, schema, keys: keys.len(), cache, retries, session: table.session.clone() }))
}

impl LookupTable for Table {
    fn open(&self) -> Result<Box<dyn Lookup>> {
        let (database, key) = self.connect()?;
        Ok(Box::new(Reader { table: self.clone(), database, key }))
    }
    fn cache(&self) -> Cache {
        self.cache.clone()
    }
}

impl Table {
    /// A connection, and the key's columns as the database has them.
    fn connect(&self) -> Result<(Database, Vec<Column>)> {
        let mut database = Database::connect(&self.config)?;
        let there = database.columns()?;
        let key = self.schema.fields[self.schema.len() - self.keys..].iter().map(|f| {
            let found = there.iter().find(|c| c.name.eq_ignore_ascii_case(&f.name)).cloned();
            found.ok_or_else(|| {
                let known = there.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
                Error::script(format!("there is no column '{}' in table '{}'", f.name, self.config.table))
                    .at(self.config.place)
                    .hint(format!("there are: {known}"))
            })
        });
        let key = key.collect::<Result<Vec<Column>>>()?;
        Ok((database, key))
    }
}

struct Reader {
    table: Table,
    database: Database,
    key: Vec<Column>,
}

impl Lookup for Reader {
    fn find(&mut self, keys: &[ArrayRef]) -> Result<(Vec<u32>, Batch)> {
        let t = &self.table;
        let width = t.schema.len() - t.keys;
        let fields = &t.schema.fields[width..];
        let dialect = t.config.dialect;
        let texts: Vec<Vec<Option<String>>> = keys
            .iter()
            .zip(fields)
            .map(|(column, f)| {
                let text = |row| cell(&Value::read(column, row), &f.ty, dialect);
                (0..column.len()).map(|r| text(r).map(|t| String::from_utf8_lossy(&t).into_owned())).collect()
            })
            .collect();
        let rows = keys.first().map_or(0, |k| k.len());
        let binary: Vec<bool> = t.schema.fields.iter().map(|f| f.ty.is_bytes()).collect();
        let columns = dialect.texts(&t.schema);
        let mut found = vec![];
        for from in (0..rows).step_by(MOST) {
            let to = (from + MOST).min(rows);
            let part: Vec<Vec<Option<String>>> = texts.iter().map(|k| k[from..to].to_vec()).collect();
            let sql = dialect.find(&self.table.config.table, &columns, &self.key, to - from);
            let mut tries = 0;
            found.extend(loop {
                match self.database.find(&sql, &part, &binary).map_err(plain) {
                    Ok(rows) => break rows,
                    Err(e) if e.kind == Kind::Io && tries < self.table.retries => {
                        tries += 1;
                        tracing::warn!("try {tries} of {}: {e}", self.table.retries);
                        std::thread::sleep(Duration::from_secs(u64::from(tries)));
                        (self.database, self.key) = self.table.connect()?;
                    }
                    Err(e) => return Err(e),
                }
            });
        }
        let t = &self.table;
        let all = batch(&found, &t.schema, &t.config.what(), &t.session)?;
        let (data, key_columns) = all.data.columns().split_at(width);
        let asked = Keys::encode(keys, rows);
        let places: HashMap<&[u8], u32> = (0..rows).map(|r| (asked.get(r), r as u32)).collect();
        let given = Keys::encode(key_columns, all.rows());
        // What a collation finds beside what was asked for is not equal.
        let mut of = vec![];
        let keep: arrow::array::BooleanArray = (0..all.rows())
            .map(|r| {
                let place = places.get(given.get(r)).copied();
                of.extend(place);
                Some(place.is_some())
            })
            .collect();
        let read = Schema::new(t.schema.fields[..width].to_vec());
        let rows = Batch::from_columns(read.arrow(), data.to_vec(), all.rows())?.filter(&keep)?;
        Ok((of, rows))
    }
}
