//! A connection to a database: statements with texts and bytes as parameters, and the meaning of errors.

use super::config::JdbcConfig;
use super::rows::{Cell, RowChange};
use super::statements::{DatabaseColumn, SqlDialect};
use backon::{BlockingRetryable, ConstantBuilder};
use futures_util::{Stream, TryStreamExt};
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Executor};
use std::sync::Once;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use weir_core::{Error, Result};

/// Maximum number of rows of a statement.
const MOST: usize = 1_000;

/// Maximum number of parameters of a statement. Both protocols count them in 16 bits.
const PARAMETERS: usize = 60_000;

/// How long the response to a statement may take. On a connection that was cut on the way, it would never come.
const ANSWER: Duration = Duration::from_secs(600);

enum Connected {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

/// A connection, with the async runtime that it uses.
pub(super) struct Database {
    connection: Connected,
    runtime: Runtime,
    config: JdbcConfig,
}

/// A unique index.
pub(super) struct Index {
    /// Its columns, in its order.
    pub columns: Vec<String>,
    /// Whether the index identifies every row of the table. An index does not contain rows with NULLs.
    pub total: bool,
}

/// The error of a statement.
pub(super) enum StatementError {
    /// Rows caused it: a constraint, a type, a length.
    Rows(String),
    /// Everything else.
    Other(Error),
}

impl From<Error> for StatementError {
    fn from(e: Error) -> Self {
        StatementError::Other(e)
    }
}

/// Classes of SQLSTATE of outages, which a retry may resolve.
const OUTAGES: [&str; 8] = ["08", "25", "40", "53", "55", "57", "58", "70"];

/// Classes of SQLSTATE of errors that rows cause: invalid data, constraints, checks of views, limits of index entries, triggers.
const ROWS: [&str; 7] = ["01", "22", "23", "44", "45", "54", "P0"];

/// MySQL's errors about limits on a user's connections, which have the class of syntax errors.
const MYSQL_OUTAGES: [u16; 2] = [1203, 1226];

/// MySQL's errors without a class of their own that rows cause: no default, wrong value, truncation, no partition, a check.
const MYSQL_ROWS: [u16; 10] = [1364, 1366, 1265, 1411, 1525, 1526, 1748, 3819, 3988, 4025];

/// MySQL's errors that the table causes: views that cannot be written to, a missing definer, a generated column.
const MYSQL_TABLE: [u16; 6] = [1288, 1356, 1449, 1471, 1906, 3105];

/// Classifies an error of the driver by its SQLSTATE.
fn failure(config: &JdbcConfig, what: &str, e: sqlx::Error) -> StatementError {
    match classified(config, what, &e) {
        StatementError::Other(error) => StatementError::Other(error.with_source(e)),
        rows => rows,
    }
}

fn classified(config: &JdbcConfig, what: &str, e: &sqlx::Error) -> StatementError {
    let message = format!("cannot {what} {}: {e}", config.address());
    let script = |hint: &str| StatementError::Other(Error::script(message.clone()).at(config.place).hint(hint));
    if let sqlx::Error::Database(d) = e {
        let code = d.code().unwrap_or_default().into_owned();
        // MySQL's own error number; 0 for other databases.
        let number = d.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
        return match code.as_str() {
            "28000" | "28P01" => script("check 'username' and 'password'"),
            "3D000" => script("check the database's name in 'url'"),
            "42S02" | "42P01" => script("create the table, or correct 'table-name'"),
            "42000" if d.message().contains("denied") => script("the user lacks the right"),
            "42000" if d.message().contains("Unknown database") => script("check the database's name in 'url'"),
            "42501" => script("the user lacks the right"),
            _ if MYSQL_OUTAGES.contains(&number) => StatementError::Other(outage(message)),
            // Deadlocks, serialization failures, a read-only replica, a full disk, too many connections, a shutdown: a retry may succeed.
            c if OUTAGES.iter().any(|p| c.starts_with(p)) => StatementError::Other(outage(message)),
            c if ROWS.iter().any(|p| c.starts_with(p)) => StatementError::Rows(d.message().to_string()),
            // MySQL's class for everything else.
            "HY000" if MYSQL_ROWS.contains(&number) => StatementError::Rows(d.message().to_string()),
            "HY000" if !MYSQL_TABLE.contains(&number) => StatementError::Other(outage(message)),
            _ => script("the statement is Weir's own; the table may not be what the script says"),
        };
    }
    match crate::tls::refused(&message) {
        Some(hint) => script(hint),
        None => StatementError::Other(outage(message)),
    }
}

fn outage(message: String) -> Error {
    Error::io(message).hint("check that the address is right and the database runs")
}

fn text(cell: &Cell) -> Option<String> {
    cell.as_ref().map(|c| String::from_utf8_lossy(c).into_owned())
}

/// The schema, if there is one, and the name of a table.
fn parts(table: &str) -> (Option<&str>, &str) {
    table.rsplit_once('.').map_or((None, table), |(schema, name)| (Some(schema), name))
}

/// A row's columns.
fn cells<R: sqlx::Row>(row: &R, binary: &[bool]) -> Result<Vec<Cell>, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    Option<String>: for<'r> sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Vec<u8>>: for<'r> sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    (0..row.len())
        .map(|i| match binary.get(i) {
            Some(true) => row.try_get::<Option<Vec<u8>>, _>(i),
            _ => row.try_get::<Option<String>, _>(i).map(|t| t.map(String::into_bytes)),
        })
        .collect()
}

/// Passes rows on until `take` returns false.
async fn each<R: sqlx::Row>(
    mut rows: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    binary: &[bool],
    take: &mut dyn FnMut(Vec<Cell>) -> bool,
) -> Result<(), sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    Option<String>: for<'r> sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Vec<u8>>: for<'r> sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    while let Some(row) = rows.try_next().await? {
        if !take(cells(&row, binary)?) {
            break;
        }
    }
    Ok(())
}

/// Waits for the response to a statement. A connection that has not responded in time is unusable afterwards.
fn answer<T>(
    runtime: &Runtime,
    patience: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer in {} s", patience.as_secs()));
    runtime.block_on(async {
        tokio::time::timeout(patience, statement).await.unwrap_or_else(|_| Err(sqlx::Error::Io(late())))
    })
}

impl Database {
    /// Connects, and retries for as long as the table allows while no server answers.
    pub fn connect(config: &JdbcConfig) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::io("cannot start a runtime").caused_by(e))?;
        let connect = || -> Result<Connected> {
            let connected = runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(20), async {
                    Ok::<_, sqlx::Error>(match config.dialect {
                        SqlDialect::MySql => Connected::MySql(config.mysql().connect().await?),
                        SqlDialect::Postgres => Connected::Postgres(config.postgres().connect().await?),
                    })
                })
                .await
                .unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut))
            });
            connected.map_err(|e| match failure(config, "connect to", e) {
                StatementError::Other(e) => e,
                StatementError::Rows(why) => outage(why),
            })
        };
        let (since, patience) = (Instant::now(), config.patience.min(Duration::from_secs(5)));
        let waits = ConstantBuilder::new().with_delay(Duration::from_millis(500)).without_max_times();
        let connection =
            connect.retry(waits).when(|e: &Error| e.is_retriable() && since.elapsed() < patience).call()?;
        let mut db = Database { connection, runtime, config: config.clone() };
        db.begin_session()?;
        Ok(db)
    }

    /// Sets the session up. Warns once if the server's identity is not verified.
    fn begin_session(&mut self) -> Result<()> {
        static SAID: Once = Once::new();
        if self.config.open_to_others() {
            SAID.call_once(|| {
                tracing::warn!(
                    "nothing proves that {} is the server that is meant: 'tls.verify' = 'true' asks for that",
                    self.config.address()
                );
            });
        }
        for statement in self.config.dialect.greeting() {
            self.run(statement).map_err(plain)?;
        }
        for statement in self.config.dialect.wishes() {
            if let Err(f) = self.run(statement) {
                tracing::debug!("{} refuses {statement}: {}", self.config.address(), plain(f));
            }
        }
        Ok(())
    }

    fn failed(&self, e: sqlx::Error) -> StatementError {
        failure(&self.config, "write to", e)
    }

    /// Runs a statement without parameters.
    pub fn run(&mut self, sql: &str) -> Result<(), StatementError> {
        let done = match &mut self.connection {
            Connected::MySql(c) => answer(&self.runtime, ANSWER, c.execute(sqlx::raw_sql(sql))).map(drop),
            Connected::Postgres(c) => answer(&self.runtime, ANSWER, c.execute(sqlx::raw_sql(sql))).map(drop),
        };
        done.map_err(|e| self.failed(e))
    }

    /// Runs a statement with texts as parameters, and returns the number of rows that it changed.
    pub fn change(&mut self, sql: &str, parameters: &[&str]) -> Result<u64, StatementError> {
        let done = match &mut self.connection {
            Connected::MySql(c) => {
                let q = parameters.iter().fold(sqlx::query(sql), |q, p| q.bind(*p));
                answer(&self.runtime, ANSWER, q.execute(c)).map(|r| r.rows_affected())
            }
            Connected::Postgres(c) => {
                let q = parameters.iter().fold(sqlx::query(sql), |q, p| q.bind(*p));
                answer(&self.runtime, ANSWER, q.execute(c)).map(|r| r.rows_affected())
            }
        };
        done.map_err(|e| self.failed(e))
    }

    /// The rows with these keys, which are given as a column of texts for each key column, by a statement of [`SqlDialect::find`].
    pub fn find(
        &mut self,
        sql: &str,
        keys: &[Vec<Option<String>>],
        binary: &[bool],
    ) -> Result<Vec<Vec<Cell>>, StatementError> {
        match self.config.dialect {
            SqlDialect::MySql => {
                let rows = keys.first().map_or(0, Vec::len);
                let all = (0..rows).flat_map(|r| keys.iter().map(move |k| k[r].as_deref()));
                self.query(sql, &all.collect::<Vec<_>>(), binary)
            }
            SqlDialect::Postgres => {
                let Connected::Postgres(c) = &mut self.connection else {
                    return Err(StatementError::Other(Error::internal("a connection of another kind")));
                };
                let q = keys.iter().fold(sqlx::query(sql), |q, k| q.bind(k));
                let rows = answer(&self.runtime, ANSWER, q.fetch_all(c));
                let found = rows.and_then(|rows| rows.iter().map(|r| cells(r, binary)).collect());
                found.map_err(|e: sqlx::Error| failure(&self.config, "read from", e))
            }
        }
    }

    /// The rows of a query whose columns are texts, or bytes where `binary` says so.
    pub fn query(
        &mut self,
        sql: &str,
        parameters: &[Option<&str>],
        binary: &[bool],
    ) -> Result<Vec<Vec<Cell>>, StatementError> {
        let found = match &mut self.connection {
            Connected::MySql(c) => {
                let q = parameters.iter().fold(sqlx::query(sql), |q, p| q.bind(*p));
                let rows = answer(&self.runtime, ANSWER, q.fetch_all(c));
                rows.and_then(|rows| rows.iter().map(|r| cells(r, binary)).collect())
            }
            Connected::Postgres(c) => {
                let q = parameters.iter().fold(sqlx::query(sql), |q, p| q.bind(*p));
                let rows = answer(&self.runtime, ANSWER, q.fetch_all(c));
                rows.and_then(|rows| rows.iter().map(|r| cells(r, binary)).collect())
            }
        };
        found.map_err(|e: sqlx::Error| failure(&self.config, "read from", e))
    }

    /// The table's columns.
    pub fn columns(&mut self) -> Result<Vec<DatabaseColumn>> {
        self.columns_of(&self.config.table.clone())
    }

    /// The columns of a table of the database.
    pub fn columns_of(&mut self, table: &str) -> Result<Vec<DatabaseColumn>> {
        let (schema, name) = parts(table);
        let found = self.query(self.config.dialect.describe(), &[schema, Some(name)], &[]);
        let found = found.map_err(plain)?;
        let columns = found.iter().map(|r| {
            let ty = text(&r[1]).unwrap_or_default();
            let binary =
                ["bytea", "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob"].contains(&ty.as_str());
            DatabaseColumn { name: text(&r[0]).unwrap_or_default(), ty, binary }
        });
        let columns: Vec<DatabaseColumn> = columns.collect();
        if columns.is_empty() {
            let e = Error::script(format!("there is no table '{table}' in {}", self.config.address()));
            return Err(e.at(self.config.place).hint("create it, or correct 'table-name'"));
        }
        Ok(columns)
    }

    /// Runs a query with texts as parameters, and passes its rows on as they come, until `take` returns false. The connection is unusable
    /// afterwards if that happens before the last row.
    pub fn stream(
        &mut self,
        sql: &str,
        parameters: &[String],
        binary: &[bool],
        take: &mut dyn FnMut(Vec<Cell>) -> bool,
    ) -> Result<(), StatementError> {
        let done = match &mut self.connection {
            Connected::MySql(c) => {
                let q = parameters.iter().fold(sqlx::query(sql), |q, p| q.bind(p.as_str()));
                self.runtime.block_on(each(q.fetch(c), binary, take))
            }
            Connected::Postgres(c) => {
                let q = parameters.iter().fold(sqlx::query(sql), |q, p| q.bind(p.as_str()));
                self.runtime.block_on(each(q.fetch(c), binary, take))
            }
        };
        done.map_err(|e| failure(&self.config, "read from", e))
    }

    /// The unique indexes.
    pub fn indexes(&mut self) -> Result<Vec<Index>> {
        let table = self.config.table.clone();
        let (schema, name) = parts(&table);
        let found = self.query(self.config.dialect.unique(), &[schema, Some(name)], &[]);
        let mut all: std::collections::BTreeMap<String, Index> = Default::default();
        for r in found.map_err(plain)? {
            let index = all.entry(text(&r[0]).unwrap_or_default()).or_insert(Index { columns: vec![], total: true });
            index.columns.push(text(&r[1]).unwrap_or_default());
            index.total &= text(&r[2]).is_some_and(|t| !t.is_empty());
        }
        Ok(all.into_values().collect())
    }

    /// Writes and deletes rows, all with different keys, in as few statements as the database allows.
    pub fn apply(
        &mut self,
        table: &str,
        columns: &[DatabaseColumn],
        key: &[usize],
        rows: &[RowChange],
    ) -> Result<(), StatementError> {
        let all: Vec<usize> = (0..columns.len()).collect();
        let (gone, stays): (Vec<&RowChange>, Vec<&RowChange>) = rows.iter().partition(|r| r.gone);
        let most = |width: usize| (PARAMETERS / width.max(1)).min(MOST);
        for chunk in gone.chunks(most(key.len())) {
            let sql = self.config.dialect.remove(table, columns, key, chunk.len());
            self.rows(&sql, columns, key, chunk)?;
        }
        for chunk in stays.chunks(most(columns.len())) {
            let sql = self.config.dialect.write(table, columns, key, chunk.len());
            self.rows(&sql, columns, &all, chunk)?;
        }
        Ok(())
    }

    fn rows(
        &mut self,
        sql: &str,
        columns: &[DatabaseColumn],
        of: &[usize],
        rows: &[&RowChange],
    ) -> Result<(), StatementError> {
        let done = match &mut self.connection {
            Connected::MySql(c) => {
                let mut q = sqlx::query(sql).persistent(rows.len() == MOST || rows.len() == 1);
                for r in rows {
                    for i in of {
                        q = match columns[*i].binary {
                            true => q.bind(r.cells[*i].as_deref()),
                            false => q.bind(text(&r.cells[*i])),
                        };
                    }
                }
                answer(&self.runtime, ANSWER, q.execute(c)).map(drop)
            }
            Connected::Postgres(c) => {
                let mut q = sqlx::query(sql);
                for i in of {
                    q = match columns[*i].binary {
                        true => q.bind(rows.iter().map(|r| r.cells[*i].clone()).collect::<Vec<_>>()),
                        false => q.bind(rows.iter().map(|r| text(&r.cells[*i])).collect::<Vec<_>>()),
                    };
                }
                answer(&self.runtime, ANSWER, q.execute(c)).map(drop)
            }
        };
        done.map_err(|e| self.failed(e))
    }
}

/// The error of a statement that cannot fail because of rows.
pub(super) fn plain(f: StatementError) -> Error {
    match f {
        StatementError::Rows(why) => Error::data(why),
        StatementError::Other(e) => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let wait = Duration::from_millis(1);
        let e = answer(&runtime, wait, std::future::pending::<Result<(), sqlx::Error>>()).expect_err("no answer comes");
        assert!(matches!(e, sqlx::Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut));
        assert_eq!(answer(&runtime, wait, std::future::ready(Ok(7))).expect("it is there"), 7);
    }
}
