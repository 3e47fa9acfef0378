//! Writes rows to a table: in one transaction for each epoch, together with the commit marker, or at once.

use super::claim::DatabaseClaim;
use super::config::JdbcConfig;
use super::database::{Database, StatementError, plain};
use super::rows::{RowChange, folded, of_batch, pack, unpack};
use super::statements::DatabaseColumn;
use super::{BUFFER, DELIVERY, SINK_RETRIES};
use crate::delivery::Delivery;
use crate::fencing::{Delivered, reconcile};
use crate::idle_connections::IdleConnections;
use crate::options::TableSpec;
use crate::retry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use weir_core::clock::{Clock, SystemClock};
use weir_core::dead_letter::DEAD_LETTER;
use weir_core::error::{ErrorKind, io};
use weir_core::graph::{CommitMarker, JobIdentity, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::metrics::SubtaskMetrics;
use weir_core::state::Epoch;
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema, failpoint};
use weir_expr::OnError;
use weir_operators::failed_rows::{DeadLetter, dead_letters};

/// Bytes of an epoch that a subtask buffers before it asks for the epoch to end early.
const WAITING: usize = 64 << 20;

struct SinkTable {
    config: JdbcConfig,
    schema: Schema,
    key: Vec<usize>,
    on_error: OnError,
    dead_letters: Option<DeadLetterTable>,
    /// How many rows are written at a time, if they do not wait for their epoch.
    buffer: usize,
    retries: u32,
    metrics: Mutex<Option<SubtaskMetrics>>,
}

struct JdbcSink {
    target: Arc<SinkTable>,
    /// The sink's name in the table of commit markers.
    name: String,
    exactly_once: bool,
    /// Whether rows wait until their epoch is durable: with exactly-once, and if the query's results change. A repeated epoch may emit
    /// other intermediate changes, and a row that is not among them would never be retracted.
    waits: bool,
    open: Mutex<Option<SinkConnection>>,
    columns: Mutex<Vec<DatabaseColumn>>,
    /// Idle connections of subtasks that write at once.
    kept: IdleConnections<Database>,
    /// Whether this process has owned the marker. If another process owns it now, this one was replaced.
    owned: AtomicBool,
    /// The marker of an at-least-once sink, if there is one. It names the owner.
    claim: Mutex<Option<DatabaseClaim>>,
}

struct SinkConnection {
    database: Database,
    claim: DatabaseClaim,
    there: u64,
}

pub(crate) fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let config = JdbcConfig::new(table)?;
    super::rows::check(table, &table.schema)?;
    let exactly_once = table.value(&DELIVERY)? == Delivery::ExactlyOnce;
    let dead_letters = table.dead_letters.as_deref().map(|t| DeadLetterTable::new(t, table, &config)).transpose()?;
    let waits = exactly_once || table.changes;
    let (buffer, retries) = (table.value(&BUFFER)?, table.value(&SINK_RETRIES)?);
    if waits {
        table.idle(&[BUFFER.key()], "its rows are written an epoch at a time");
    }
    if exactly_once {
        table.idle(&[SINK_RETRIES.key()], "the restart strategy says how often an epoch is tried");
    }
    let target = Arc::new(SinkTable {
        schema: table.schema.clone(),
        key: table.key.clone(),
        on_error: table.on_error,
        dead_letters,
        buffer,
        retries,
        config,
        metrics: Mutex::default(),
    });
    Ok(Arc::new(JdbcSink {
        target,
        waits,
        name: table.outside_name(),
        exactly_once,
        open: Mutex::default(),
        columns: Mutex::default(),
        kept: IdleConnections::default(),
        owned: AtomicBool::new(false),
        claim: Mutex::default(),
    }))
}

/// The table's columns in the database, in the order in which the script declares them.
fn columns_of(config: &JdbcConfig, schema: &Schema, database: &mut Database) -> Result<Vec<DatabaseColumn>> {
    let there = database.columns_of(&config.table)?;
    let columns = schema.fields.iter().map(|f| {
        let same = there.iter().find(|c| c.name == f.name);
        same.or_else(|| there.iter().find(|c| c.name.eq_ignore_ascii_case(&f.name))).cloned().ok_or_else(|| {
            let known = there.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            Error::script(format!("there is no column '{}' in table {}", f.name, config.what()))
                .at(config.place)
                .hint(format!("there are: {known}"))
        })
    });
    let mut columns = columns.collect::<Result<Vec<DatabaseColumn>>>()?;
    for (c, f) in columns.iter_mut().zip(&schema.fields) {
        // Only binary columns take bytes. A text column takes bytes as text.
        c.binary = c.binary && f.ty.is_bytes();
    }
    Ok(columns)
}

/// The dead-letter table for rows that the database rejects. It is in the same database and written in the same transaction.
struct DeadLetterTable {
    config: JdbcConfig,
    schema: Schema,
    /// For each of its columns, the index of that column in a dead letter.
    places: Vec<usize>,
    columns: Mutex<Vec<DatabaseColumn>>,
    statement: String,
}

impl DeadLetterTable {
    fn new(table: &TableSpec, of: &TableSpec, beside: &JdbcConfig) -> Result<Self> {
        let wrong = |message: String| Error::script(message).at(table.place);
        if table.connector() != of.connector() {
            let e = wrong(format!("rows that the database of '{}' refuses cannot go to '{}'", of.name, table.name));
            return Err(
                e.hint("their table is in the same database, by the same connector, where one transaction takes both")
            );
        }
        let config = JdbcConfig::new(table)?;
        if config.address() != beside.address() {
            let e =
                wrong(format!("'{}' is not in the database of '{}', which sends it dead letters", table.name, of.name));
            return Err(e.hint(format!("one transaction takes both; it belongs into {}", beside.address())));
        }
        let places = table.schema.fields.iter().map(|f| {
            DEAD_LETTER.position(&f.name).filter(|p| !DEAD_LETTER.fields[*p].ty.is_nested()).ok_or_else(|| {
                wrong(format!("the dead-letter table '{}' has a column '{}'", table.name, f.name))
                    .hint("here it takes columns among reason, origin, record and `time`")
            })
        });
        let places = places.collect::<Result<_>>()?;
        table.finish()?;
        let statement = of.statement().to_string();
        Ok(DeadLetterTable { config, schema: table.schema.clone(), places, columns: Mutex::default(), statement })
    }

    fn write(&self, database: &mut Database, why: String, row: &RowChange, of: &SinkTable) -> Result<()> {
        let letter = DeadLetter {
            reason: why,
            origin: format!("table {}", of.config.what()),
            record: row.json(&of.schema).into_bytes(),
            statement: self.statement.clone(),
        };
        let rows = of_batch(&dead_letters(vec![letter], SystemClock.now())?, &DEAD_LETTER, self.config.dialect);
        let letter =
            |r: RowChange| RowChange { gone: false, cells: self.places.iter().map(|p| r.cells[*p].clone()).collect() };
        let rows: Vec<RowChange> = rows.into_iter().map(letter).collect();
        database.apply(&self.config.table, &locked(&self.columns), &[], &rows).map_err(|f| match f {
            StatementError::Rows(why) => {
                Error::data(format!("table {} refuses a dead letter: {why}", self.config.what())).at(self.config.place)
            }
            StatementError::Other(e) => e,
        })
    }
}

impl SinkTable {
    /// The columns of the table in the database, which must have the table's key, and those of the dead-letter table.
    fn columns(&self, database: &mut Database) -> Result<Vec<DatabaseColumn>> {
        let columns = columns_of(&self.config, &self.schema, database)?;
        if let Some(dead_letters) = &self.dead_letters {
            *locked(&dead_letters.columns) = columns_of(&dead_letters.config, &dead_letters.schema, database)?;
        }
        if !self.key.is_empty() {
            let mut key: Vec<&str> = self.key.iter().map(|k| columns[*k].name.as_str()).collect();
            key.sort_unstable();
            let indexes = database.indexes()?;
            let fits = indexes.iter().any(|i| {
                let mut i: Vec<&str> = i.columns.iter().map(String::as_str).collect();
                i.sort_unstable();
                i == key
            });
            if !fits {
                let list = key.iter().map(|k| self.config.dialect.quoted(k)).collect::<Vec<_>>().join(", ");
                let table = self.config.dialect.quoted(&self.config.table);
                let e = Error::script(format!(
                    "table {} has no unique index on ({}), by which its rows are to be replaced",
                    self.config.what(),
                    key.join(", ")
                ));
                return Err(e.at(self.config.place).hint(format!("ALTER TABLE {table} ADD PRIMARY KEY ({list})")));
            }
        }
        Ok(columns)
    }

    /// Writes rows within a transaction. Rows that the database rejects are found by halving the batch.
    fn write(&self, database: &mut Database, columns: &[DatabaseColumn], rows: &[RowChange]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        database.run("SAVEPOINT weir").map_err(plain)?;
        let why = match database.apply(&self.config.table, columns, &self.key, rows) {
            Ok(()) => return Ok(()),
            Err(StatementError::Other(e)) => return Err(e),
            Err(StatementError::Rows(why)) => why,
        };
        database.run("ROLLBACK TO SAVEPOINT weir").map_err(plain)?;
        if let [row] = rows {
            let shown = row.cells.iter().map(|c| {
                let text = c.as_ref().map_or("NULL".into(), |c| String::from_utf8_lossy(c));
                text.chars().take(60).collect::<String>()
            });
            let shown = shown.collect::<Vec<_>>().join(", ");
            let message =
                format!("table '{}' of {} refuses ({shown}): {why}", self.config.table, self.config.address());
            if self.on_error == OnError::Fail {
                return Err(Error::data(message).hint("mend the table, or set 'on-error' = 'skip' on the sink's table"));
            }
            if let Some(dead_letters) = &self.dead_letters {
                dead_letters.write(database, why, row, self)?;
                locked(&self.metrics).iter().for_each(|m| m.dead.inc());
                return Ok(());
            }
            tracing::warn!("left out: {message}");
            locked(&self.metrics).iter().for_each(|m| m.skipped.inc());
            return Ok(());
        }
        let (a, b) = rows.split_at(rows.len() / 2);
        self.write(database, columns, a)?;
        self.write(database, columns, b)
    }
}

impl JdbcSink {
    fn what(&self) -> String {
        format!("the table '{}' of {}", self.target.config.table, self.target.config.address())
    }

    /// The connection of a subtask that writes at least once.
    fn at_once(&self, kept: Option<Database>) -> Result<AtOnce> {
        let database = kept.map_or_else(|| Database::connect(&self.target.config), Ok)?;
        let (columns, claim) = (locked(&self.columns).clone(), locked(&self.claim).clone());
        Ok(AtOnce { database, columns, claim, rows: vec![] })
    }
}

impl SinkFactory for JdbcSink {
    fn begin(&self, job: &JobIdentity, mark: Option<CommitMarker>) -> Result<()> {
        // A connection that has delivered the last epoch is kept.
        let there = mark.map_or(0, |m| m.epoch.0);
        if locked(&self.open).as_ref().is_some_and(|o| o.claim.job == *job && o.there == there) {
            return Ok(());
        }
        *locked(&self.open) = None;
        let config = &self.target.config;
        let mut database = self.kept.take().map_or_else(|| Database::connect(config), Ok)?;
        *locked(&self.columns) = self.target.columns(&mut database)?;
        let claim = DatabaseClaim::new(job, &self.name, self.what(), config.dialect);
        let owned = self.owned.load(Ordering::Relaxed);
        if !self.exactly_once {
            let claim = claim.take_rows(&mut database, mark.is_some(), owned)?;
            self.owned.store(claim.is_some(), Ordering::Relaxed);
            *locked(&self.claim) = claim;
            self.kept.keep(database);
            return Ok(());
        }
        let without = |mut e: Error| {
            e.hint = e.hint.map(|h| format!("{h}; or set 'sink.delivery-guarantee' = 'at-least-once'"));
            e
        };
        let found =
            claim.look(&mut database, owned).map_err(|e| if e.kind == ErrorKind::Script { without(e) } else { e })?;
        let other = found.as_ref().map(|(other, _)| other.clone()).filter(|other| *other != claim.owner);
        let there = match (reconcile(&self.what(), job, found, mark)?, other) {
            (Delivered::UpTo(epoch), None) => epoch,
            (Delivered::UpTo(epoch), Some(other)) => {
                claim.take(&mut database, &other, epoch)?;
                epoch
            }
            (Delivered::Nothing, _) => {
                claim.begin(&mut database)?;
                0
            }
        };
        self.owned.store(true, Ordering::Relaxed);
        *locked(&self.open) = Some(SinkConnection { database, claim, there });
        Ok(())
    }

    fn deliver(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        if !self.exactly_once {
            // The whole outbox is written again if this is interrupted.
            let mut a = self.at_once(self.kept.take())?;
            a.rows = outbox.iter().flat_map(|entry| unpack(entry, a.columns.len())).collect();
            a.flush(&self.target)?;
            self.kept.keep(a.database);
            return Ok(());
        }
        // A failure drops the connection, so the next generation opens a new one.
        let open = locked(&self.open).take();
        let mut open = open.ok_or_else(|| Error::internal("a delivery before the beginning"))?;
        if open.there < mark.epoch.0 {
            let pass =
                |name: &'static str| failpoint::pass(name).map_err(io("write to", self.target.config.table.as_ref()));
            let db = &mut open.database;
            pass("database-transaction")?;
            db.run("BEGIN").map_err(plain)?;
            open.claim.advance(db, mark.previous.0, mark.epoch.0)?;
            let columns = locked(&self.columns).clone();
            for entry in outbox {
                let rows = folded(unpack(entry, columns.len()), &self.target.key);
                self.target.write(db, &columns, &rows)?;
            }
            pass("database-written")?;
            db.run("COMMIT").map_err(plain)?;
            pass("database-committed")?;
            open.there = mark.epoch.0;
        }
        *locked(&self.open) = Some(open);
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        *locked(&self.target.metrics) = Some(context.metrics.clone());
        let at_once = if self.waits { None } else { Some(self.at_once(self.kept.take_for(&context))?) };
        Ok(Box::new(JdbcWriter { target: self.target.clone(), at_once, kept: self.kept.clone(), waiting: vec![] }))
    }
}

/// A connection, and the rows that are not written yet.
struct AtOnce {
    database: Database,
    columns: Vec<DatabaseColumn>,
    claim: Option<DatabaseClaim>,
    rows: Vec<RowChange>,
}

struct JdbcWriter {
    target: Arc<SinkTable>,
    at_once: Option<AtOnce>,
    kept: IdleConnections<Database>,
    waiting: Vec<u8>,
}

impl AtOnce {
    fn flush(&mut self, target: &SinkTable) -> Result<()> {
        let rows = folded(std::mem::take(&mut self.rows), &target.key);
        if rows.is_empty() {
            return Ok(());
        }
        let mut broken = false;
        retry::asked(target.retries, || {
            if broken {
                locked(&target.metrics).iter().for_each(|m| m.retries.inc());
                self.database = Database::connect(&target.config)?;
            }
            let written = self.transaction(target, &rows);
            broken = written.is_err();
            written
        })
    }

    /// Writes rows in a transaction of their own.
    fn transaction(&mut self, target: &SinkTable, rows: &[RowChange]) -> Result<()> {
        self.database.run("BEGIN").map_err(plain)?;
        if let Some(claim) = &self.claim {
            claim.hold(&mut self.database)?;
        }
        target.write(&mut self.database, &self.columns, rows)?;
        failpoint::pass("database-written").map_err(io("write to", target.config.table.as_ref()))?;
        self.database.run("COMMIT").map_err(plain)
    }
}

impl Sink for JdbcWriter {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let target = &self.target;
        let rows = of_batch(&batch, &target.schema, target.config.dialect);
        match &mut self.at_once {
            None => pack(&folded(rows, &target.key), &mut self.waiting),
            Some(a) => {
                a.rows.extend(rows);
                if a.rows.len() >= target.buffer.max(1) {
                    a.flush(target)?;
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch, last: bool) -> Result<SinkCheckpoint> {
        let mut outbox = vec![];
        match &mut self.at_once {
            Some(a) => a.flush(&self.target)?,
            None if !self.waiting.is_empty() => outbox.push(std::mem::take(&mut self.waiting)),
            None => {}
        }
        if last && let Some(a) = self.at_once.take() {
            self.kept.keep(a.database);
        }
        Ok(SinkCheckpoint { outbox, ..SinkCheckpoint::default() })
    }

    fn wants_epoch(&self) -> bool {
        self.waiting.len() >= WAITING
    }
}
