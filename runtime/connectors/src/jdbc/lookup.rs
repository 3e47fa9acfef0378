//! Looks rows up by key: the keys of a batch in a few statements, which run concurrently.

use super::config::JdbcConfig;
use super::database::{Database, plain};
use super::rows::{Cell, cell};
use super::statements::DatabaseColumn;
use super::{CONNECTIONS, RETRIES};
use crate::idle_connections::IdleConnections;
use crate::lookup_cache::cache;
use crate::options::TableSpec;
use crate::retry;
use crate::text_columns::batch;
use arrow::array::ArrayRef;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_core::graph::SubtaskContext;
use weir_core::key::Keys;
use weir_core::{Batch, Error, Result, Schema, Value};
use weir_expr::Session;
use weir_operators::lookup::{Lookup, LookupCacheOptions, LookupTable};

/// Maximum number of keys of a statement, and the minimum if several statements run concurrently.
const MOST: usize = 1_000;
const LEAST: usize = 100;

#[derive(Clone)]
struct JdbcLookupTable {
    config: JdbcConfig,
    /// The columns that are read, then those of the key.
    schema: Schema,
    keys: usize,
    cache: LookupCacheOptions,
    retries: u32,
    /// Maximum number of connections of a subtask.
    connections: usize,
    session: Arc<Session>,
    kept: IdleConnections<LookupConnection>,
}

pub(crate) fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    let config = JdbcConfig::new(table)?;
    let columns: Vec<usize> = table.columns.iter().chain(keys).copied().collect();
    let schema = table.schema.project(&columns);
    super::rows::check(table, &schema)?;
    if let Some(f) = keys.iter().map(|k| &table.schema.fields[*k]).find(|f| f.ty.is_bytes()) {
        let e = Error::script(format!("rows of '{}' cannot be looked up by bytes (column '{}')", table.name, f.name));
        return Err(e.at(table.place));
    }
    let cache = cache(table)?;
    let (retries, connections) = (table.value(&RETRIES)?, table.value(&CONNECTIONS)?);
    Ok(Arc::new(JdbcLookupTable {
        config,
        schema,
        keys: keys.len(),
        cache,
        retries,
        connections,
        session: table.session.clone(),
        kept: IdleConnections::default(),
    }))
}

impl LookupTable for JdbcLookupTable {
    fn open(&self, context: &SubtaskContext) -> Result<Box<dyn Lookup>> {
        let open = vec![self.kept.take_for(context).map_or_else(|| self.connect(), Ok)?];
        Ok(Box::new(JdbcLookup { table: self.clone(), open }))
    }
    fn cache(&self) -> LookupCacheOptions {
        self.cache.clone()
    }
}

impl JdbcLookupTable {
    fn connected(&self) -> Result<LookupConnection> {
        self.kept.take().map_or_else(|| self.connect(), Ok)
    }

    fn connect(&self) -> Result<LookupConnection> {
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
        let key = key.collect::<Result<Vec<DatabaseColumn>>>()?;
        Ok(LookupConnection { database, key })
    }
}

/// A connection, and the key's columns in the database.
struct LookupConnection {
    database: Database,
    key: Vec<DatabaseColumn>,
}

impl LookupConnection {
    /// The rows of some keys.
    fn ask(&mut self, table: &JdbcLookupTable, columns: &str, keys: &[Vec<Option<String>>]) -> Result<Vec<Vec<Cell>>> {
        let rows = keys.first().map_or(0, Vec::len);
        let binary: Vec<bool> = table.schema.fields.iter().map(|f| f.ty.is_bytes()).collect();
        let sql = table.config.dialect.find(&table.config.table, columns, &self.key, rows);
        let mut broken = false;
        retry::asked(table.retries, || {
            if broken {
                *self = table.connect()?;
                broken = false;
            }
            let found = self.database.find(&sql, keys, &binary).map_err(plain);
            broken = found.is_err();
            found
        })
    }
}

struct JdbcLookup {
    table: JdbcLookupTable,
    open: Vec<LookupConnection>,
}

impl Drop for JdbcLookup {
    fn drop(&mut self) {
        self.open.drain(..).for_each(|o| self.table.kept.keep(o));
    }
}

impl JdbcLookup {
    /// The rows of all keys. The keys are divided among as many connections as useful and allowed.
    fn ask(&mut self, columns: &str, keys: &[Vec<Option<String>>]) -> Result<Vec<Vec<Cell>>> {
        let rows = keys.first().map_or(0, Vec::len);
        let size = rows.div_ceil(self.table.connections).clamp(LEAST, MOST);
        let starts: Vec<usize> = (0..rows).step_by(size).collect();
        while self.open.len() < starts.len().min(self.table.connections) {
            self.open.push(self.table.connected()?);
        }
        let table = &self.table;
        let part = |open: &mut LookupConnection, from: usize| {
            let to = (from + size).min(rows);
            let keys: Vec<Vec<Option<String>>> = keys.iter().map(|k| k[from..to].to_vec()).collect();
            open.ask(table, columns, &keys)
        };
        if let ([first, ..], [from]) = (&mut self.open[..], &starts[..]) {
            return part(first, *from);
        }
        let next = AtomicUsize::new(0);
        let all = || std::iter::from_fn(|| starts.get(next.fetch_add(1, Ordering::Relaxed)).copied());
        let (part, all) = (&part, &all);
        std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .open
                .iter_mut()
                .map(|open| scope.spawn(move || all().map(|from| part(open, from)).collect::<Result<Vec<_>>>()))
                .collect();
            let mut found = vec![];
            for a in asked {
                let parts = a.join().map_err(|_| Error::internal("a thread that looked rows up panicked"))??;
                found.extend(parts.into_iter().flatten());
            }
            Ok(found)
        })
    }
}

impl Lookup for JdbcLookup {
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
        let columns = dialect.texts(&t.schema);
        let found = self.ask(&columns, &texts);
        if found.is_err() {
            self.open.clear();
        }
        let found = found?;
        let t = &self.table;
        let all = batch(&found, &t.schema, &t.config.what(), &t.session)?;
        let (data, key_columns) = all.data.columns().split_at(width);
        let asked = Keys::encode(keys, rows);
        let places: HashMap<&[u8], u32> = (0..rows).map(|r| (asked.get(r), r as u32)).collect();
        let given = Keys::encode(key_columns, all.rows());
        // The database's collation may find rows whose key is not equal to the one asked for.
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
