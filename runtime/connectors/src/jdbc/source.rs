//! Reads a table once, in parts by ranges of a column where that is asked for.

use super::config::Config;
use super::database::{Database, plain};
use super::statements::{Column, Dialect};
use crate::options::TableSpec;
use crate::texts::batch;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema};
use weir_expr::Session;

/// A part of the table: a range of the partition column, and how far it was read: how many rows were given, and the key of the
/// last of them, where whole numbers are the key.
#[derive(Debug, Clone)]
struct Part {
    number: u32,
    range: Option<(Option<i64>, Option<i64>)>,
    given: u64,
    after: Option<i64>,
}

struct Shared {
    config: Config,
    schema: Schema,
    query: Option<String>,
    partition: Option<String>,
    parts: Vec<Part>,
    fetch: u64,
    session: Arc<Session>,
}

/// Parts that no subtask has taken.
type Waiting = Arc<Mutex<VecDeque<Part>>>;

struct JdbcSource {
    shared: Arc<Shared>,
    /// Others at every start, so that a thread of the last one takes none of these.
    waiting: Mutex<Waiting>,
}

pub(crate) fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let config = Config::new(table)?;
    let schema = table.projected();
    super::rows::check(table, &schema)?;
    let partition = table.get("scan.partition.column").map(str::to_string);
    let number = |key: &str| -> Result<Option<i64>> { table.number::<i64>(key) };
    let (count, low, high) =
        (number("scan.partition.num")?, number("scan.partition.lower-bound")?, number("scan.partition.upper-bound")?);
    let parts = match (&partition, count, low, high) {
        (None, None, None, None) => vec![Part { number: 0, range: None, given: 0, after: None }],
        (Some(_), Some(n), Some(low), Some(high)) if n > 0 && low <= high => {
            // Every row is in one part: the first and the last one are open to their sides.
            let step = ((high - low) / n).max(1);
            let bounds: Vec<i64> = (1..n).map(|i| low + i * step).collect();
            let begins = std::iter::once(None).chain(bounds.iter().copied().map(Some));
            let ends = bounds.iter().copied().map(Some).chain(std::iter::once(None));
            let ranges = begins.zip(ends).enumerate();
            ranges.map(|(i, r)| Part { number: i as u32, range: Some(r), given: 0, after: None }).collect()
        }
        _ => {
            let e = Error::script(
                "'scan.partition.column', '.num', '.lower-bound' and '.upper-bound' go together, the bounds in order",
            );
            return Err(e.at(table.place));
        }
    };
    let query = table.get("scan.query").map(str::to_string);
    let fetch = table.number::<u64>("scan.fetch-size")?.filter(|n| *n > 0).unwrap_or(8_192);
    let session = table.session.clone();
    let shared = Arc::new(Shared { config, schema, query, partition, parts, fetch, session });
    Ok(Arc::new(JdbcSource { shared, waiting: Mutex::default() }))
}

/// How far a part was read, from its value in the state.
fn place(value: &[u8]) -> (u64, Option<i64>) {
    let number = |at: usize| value.get(at..at + 8).and_then(|b| b.try_into().ok());
    (number(0).map_or(0, u64::from_be_bytes), number(8).map(i64::from_be_bytes))
}

fn key_of(part: u32) -> Vec<u8> {
    [b"\0\0j", &part.to_be_bytes()[..]].concat()
}

impl SourceFactory for JdbcSource {
    fn start(&self, state: &StateHandle, _parallelism: usize) -> Result<()> {
        let shared = &self.shared;
        let mut waiting = VecDeque::new();
        for part in &shared.parts {
            let given = state.get_many(&[&key_of(part.number)])?.remove(0);
            let (given, after) = given.map_or((0, None), |v| place(&v));
            // The highest number stands for a part that was read to its end.
            if given != u64::MAX {
                waiting.push_back(Part { given, after, ..part.clone() });
            }
        }
        *locked(&self.waiting) = Arc::new(Mutex::new(waiting));
        Ok(())
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(Reader {
            shared: self.shared.clone(),
            waiting: locked(&self.waiting).clone(),
            context,
            database: None,
            current: None,
            order: vec![],
            key: None,
            moved: vec![],
        }))
    }
}

struct Reader {
    shared: Arc<Shared>,
    waiting: Waiting,
    context: SubtaskContext,
    database: Option<Database>,
    current: Option<Part>,
    /// What rows are ordered by, so that reading can go on where it was.
    order: Vec<String>,
    /// The column of whole numbers that is the key, if it is such a one: reading goes on behind its last value.
    key: Option<String>,
    moved: Vec<(u32, u64, Option<i64>)>,
}

impl Reader {
    fn select(&self, part: &Part) -> String {
        let s = &self.shared;
        let dialect = s.config.dialect;
        let columns = dialect.texts(&s.schema);
        let key = self.key.as_ref().map(|k| dialect.text(k));
        let columns: Vec<String> = [Some(columns).filter(|c| !c.is_empty()), key].into_iter().flatten().collect();
        let columns = if columns.is_empty() { "NULL".to_string() } else { columns.join(", ") };
        let from = match &s.query {
            Some(q) => format!("({q}) weir_rows"),
            None => format!("{} weir_rows", dialect.quoted(&s.config.table)),
        };
        let mut conditions = vec![];
        if let (Some(column), Some((low, high))) = (&s.partition, part.range) {
            let column = dialect.quoted(column);
            conditions.extend(low.map(|l| format!("{column} >= {l}")));
            conditions.extend(high.map(|h| format!("{column} < {h}")));
            if low.is_none() && high.is_some() {
                // Rows without a value are in the first part.
                conditions = vec![format!("({} OR {column} IS NULL)", conditions.join(" AND "))];
            }
        }
        let behind = self.key.as_ref().zip(part.after);
        conditions.extend(behind.iter().map(|(key, after)| format!("{} > {after}", dialect.quoted(key))));
        let mut sql = format!("SELECT {columns} FROM {from}");
        if !conditions.is_empty() {
            sql += &format!(" WHERE {}", conditions.join(" AND "));
        }
        if !self.order.is_empty() {
            // By the table's column, not by its text, which goes by the same name. Rows without a key come first, as MySQL has
            // them: reading behind a key leaves none of them out.
            let nulls = if dialect == Dialect::Postgres { " NULLS FIRST" } else { "" };
            let order =
                self.order.iter().map(|c| format!("weir_rows.{}{nulls}", dialect.quoted(c))).collect::<Vec<_>>();
            sql += &format!(" ORDER BY {}", order.join(", "));
        }
        match behind {
            Some(_) => format!("{sql} LIMIT {}", s.fetch),
            None => format!("{sql} LIMIT {} OFFSET {}", s.fetch, part.given),
        }
    }
}

impl Source for Reader {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let Some(mut part) = self.current.take().or_else(|| locked(&self.waiting).pop_front()) else {
            if let Some(d) = self.database.take() {
                d.close();
            }
            return Ok(Polled::End);
        };
        if self.database.is_none() {
            let mut database = Database::connect(&self.shared.config)?;
            if self.shared.query.is_none() {
                let columns = database.columns()?;
                self.order = database.unique()?.into_iter().min_by_key(Vec::len).unwrap_or_default();
                if let [key] = self.order.as_slice() {
                    let whole = ["smallint", "int", "integer", "mediumint", "bigint"];
                    let is_whole = |c: &&Column| c.name == *key && whole.contains(&c.ty.as_str());
                    self.key = columns.iter().find(is_whole).map(|c| c.name.clone());
                }
            }
            self.database = Some(database);
        }
        let sql = self.select(&part);
        let binary: Vec<bool> = self.shared.schema.fields.iter().map(|f| f.ty.is_bytes()).collect();
        let rows = match &mut self.database {
            Some(d) => d.query(&sql, &[], &binary).map_err(plain)?,
            None => vec![],
        };
        let whole = (rows.len() as u64) < self.shared.fetch;
        let bytes: usize = rows.iter().flatten().flatten().map(Vec::len).sum();
        self.context.metrics.bytes_in.inc_by(bytes as u64);
        let batch = batch(&rows, &self.shared.schema, &self.shared.config.what(), &self.shared.session)?;
        let most = self.context.batch_rows;
        for from in (0..batch.rows()).step_by(most) {
            out.emit(Batch::append(batch.data.slice(from, most.min(batch.rows() - from))));
        }
        part.given += rows.len() as u64;
        if self.key.is_some() {
            let last = rows.last().and_then(|r| r.last()).and_then(|c| c.as_deref());
            part.after = last.and_then(|c| std::str::from_utf8(c).ok()?.parse().ok()).or(part.after);
        }
        self.moved.push((part.number, if whole { u64::MAX } else { part.given }, part.after));
        if !whole {
            self.current = Some(part);
        }
        Ok(Polled::More)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        for (part, given, after) in self.moved.drain(..) {
            let after = after.map(i64::to_be_bytes);
            changes.set(&key_of(part), &[&given.to_be_bytes()[..], after.as_ref().map_or(&[], |a| &a[..])].concat());
        }
        Ok(changes)
    }
}
