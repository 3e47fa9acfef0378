//! Looks rows up by key: the keys of a batch in one round trip.

use super::config::{Connection, RedisConfig, RowEncoding};
use super::{FORMAT, RETRIES};
use crate::format::{DecodeError, Decoder, DecoderFactory, RowBuilder, decoder};
use crate::lookup_cache::cache;
use crate::options::TableSpec;
use crate::text_columns::{Cell, batch};
use arrow::array::ArrayRef;
use std::collections::HashMap;
use std::sync::Arc;
use weir_core::graph::SubtaskContext;
use weir_core::{Batch, Error, Result, Schema, Value};
use weir_expr::Session;
use weir_operators::lookup::{Lookup, LookupCacheOptions, LookupTable};

/// Maximum number of keys of a round trip.
const MOST: usize = 1_000;

struct RedisLookupTable {
    config: RedisConfig,
    schema: Schema,
    /// The columns that are read.
    columns: Vec<usize>,
    /// For each column of the key, in the key's order, the index of the lookup's column.
    order: Vec<usize>,
    format: Option<DecoderFactory>,
    cache: LookupCacheOptions,
    session: Arc<Session>,
}

pub(crate) fn lookup(table: &TableSpec, keys: &[usize]) -> Result<Arc<dyn LookupTable>> {
    let named: Vec<&str> = table.key.iter().map(|k| table.schema.fields[*k].name.as_str()).collect();
    let same = table.key.len() == keys.len() && table.key.iter().all(|k| keys.contains(k));
    if !table.key.is_empty() && !same {
        let e = Error::script(format!("rows of '{}' lie in Redis by ({})", table.name, named.join(", ")));
        return Err(e.at(table.place).hint("ON must compare just these columns, each with one value"));
    }
    let config = RedisConfig::new(table, keys, &RETRIES)?;
    let format = match (config.shape, table.get(&FORMAT)?) {
        (RowEncoding::Formatted, Some(f)) => Some(decoder(table, &f, "", &config.rest)?),
        _ => None,
    };
    let order = config.key.iter().filter_map(|k| keys.iter().position(|a| a == k)).collect();
    Ok(Arc::new(RedisLookupTable {
        schema: table.schema.clone(),
        columns: table.columns.clone(),
        order,
        format,
        cache: cache(table)?,
        session: table.session.clone(),
        config,
    }))
}

impl LookupTable for RedisLookupTable {
    fn open(&self, context: &SubtaskContext) -> Result<Box<dyn Lookup>> {
        let connection = Connection::of_subtask(&self.config, context)?;
        Ok(Box::new(RedisLookup {
            connection,
            config: self.config.clone(),
            schema: self.schema.clone(),
            columns: self.columns.clone(),
            order: self.order.clone(),
            format: self.format.as_ref().map(|f| (f.decoder(), f.schema.clone())),
            session: self.session.clone(),
        }))
    }
    fn cache(&self) -> LookupCacheOptions {
        self.cache.clone()
    }
}

/// A hash's fields.
type Hash = HashMap<Vec<u8>, Vec<u8>>;

struct RedisLookup {
    connection: Connection,
    config: RedisConfig,
    schema: Schema,
    columns: Vec<usize>,
    order: Vec<usize>,
    format: Option<(Box<dyn Decoder>, Schema)>,
    session: Arc<Session>,
}

impl RedisLookup {
    /// The rows of the keys that exist, each as the texts of its columns.
    fn hashes(&mut self, names: &[Vec<u8>]) -> Result<Vec<Option<Hash>>> {
        let mut all = redis::pipe();
        for n in names {
            all.cmd("HGETALL").arg(n);
        }
        let found: Vec<Hash> = self.connection.run(&mut |c| all.query(c))?;
        Ok(found.into_iter().map(|h| (!h.is_empty()).then_some(h)).collect())
    }

    fn strings(&mut self, names: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut all = redis::cmd("MGET");
        all.arg(names);
        self.connection.run(&mut |c| all.query(c))
    }
}

impl Lookup for RedisLookup {
    fn find(&mut self, keys: &[ArrayRef]) -> Result<(Vec<u32>, Batch)> {
        let rows = keys.first().map_or(0, |k| k.len());
        let key = |row: usize| {
            let of = move |i: &usize| Value::read(&keys[*i], row);
            self.order.iter().map(of).zip(self.config.key.iter().map(|k| &self.schema.fields[*k].ty))
        };
        let names: Vec<Vec<u8>> = (0..rows).map(|r| self.config.name(key(r))).collect();
        let key_text = |row: usize, column: usize| -> Option<Cell> {
            let at = self.config.key.iter().position(|k| *k == column)?;
            Some(super::config::text(&Value::read(&keys[self.order[at]], row), &self.schema.fields[column].ty))
        };
        // The key's columns have the texts that were asked for.
        let by_key: Vec<Vec<Option<Cell>>> =
            (0..rows).map(|r| self.columns.iter().map(|c| key_text(r, *c)).collect()).collect();
        let schema = self.schema.project(&self.columns);
        let mut of = vec![];
        let mut texts: Vec<Vec<Cell>> = vec![];
        let mut values = RowBuilder::new(self.format.as_ref().map_or(&Schema::new(vec![]), |(_, s)| s));
        for from in (0..rows).step_by(MOST) {
            let to = (from + MOST).min(rows);
            match self.config.shape {
                RowEncoding::Hash => {
                    for (i, found) in self.hashes(&names[from..to])?.into_iter().enumerate() {
                        let Some(mut found) = found else { continue };
                        of.push((from + i) as u32);
                        let cells = self.columns.iter().zip(&by_key[from + i]).map(|(c, k)| match k {
                            Some(k) => k.clone(),
                            None => found.remove(self.schema.fields[*c].name.as_bytes()),
                        });
                        texts.push(cells.collect());
                    }
                }
                RowEncoding::Text | RowEncoding::Formatted => {
                    for (i, found) in self.strings(&names[from..to])?.into_iter().enumerate() {
                        let Some(found) = found else { continue };
                        if let Some((decoder, _)) = &mut self.format {
                            let height = values.height;
                            let name = String::from_utf8_lossy(&names[from + i]).into_owned();
                            match decoder.record(&found, &mut values) {
                                Ok(()) if values.height == height + 1 => {}
                                Ok(()) => continue,
                                Err(DecodeError::Job(e)) => return Err(e),
                                Err(DecodeError::Record(why)) => {
                                    return Err(Error::data(format!("'{name}' in {}: {why}", self.config.address())));
                                }
                            }
                        }
                        of.push((from + i) as u32);
                        let cells = by_key[from + i].iter().map(|k| k.clone().unwrap_or_else(|| Some(found.clone())));
                        texts.push(cells.collect());
                    }
                }
            }
        }
        let Some((_, of_format)) = &self.format else {
            return Ok((of, batch(&texts, &schema, &format!("the rows in {}", self.config.address()), &self.session)?));
        };
        let read = values.finish(of_format)?;
        let of_keys: Vec<usize> =
            (0..self.columns.len()).filter(|c| self.config.key.contains(&self.columns[*c])).collect();
        let key_texts: Vec<Vec<Cell>> = texts.iter().map(|t| of_keys.iter().map(|c| t[*c].clone()).collect()).collect();
        let key_batch = batch(&key_texts, &schema.project(&of_keys), "the key", &self.session)?;
        let (mut next_key, mut next_value) = (0..of_keys.len(), 0..of_format.len());
        let columns = (0..self.columns.len()).filter_map(|c| {
            let from_key = of_keys.contains(&c);
            let (batch, next) = if from_key { (&key_batch, &mut next_key) } else { (&read, &mut next_value) };
            next.next().map(|i| batch.data.column(i).clone())
        });
        let columns: Vec<ArrayRef> = columns.collect();
        let rows = of.len();
        Ok((of, Batch::from_columns(schema.arrow(), columns, rows)?))
    }
}
