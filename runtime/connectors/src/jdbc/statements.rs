//! The SQL statements of each kind of database.

use weir_core::Schema;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqlDialect {
    MySql,
    Postgres,
}

/// A column of the table in the database, with its type there.
#[derive(Debug, Clone)]
pub(super) struct DatabaseColumn {
    pub name: String,
    /// The database's name of the type, for casts from text.
    pub ty: String,
    pub binary: bool,
}

/// The table of commit markers, with the owner and the epoch of each sink of each job.
pub(super) const MARKS: &str = "weir_epochs";

impl SqlDialect {
    /// A quoted name. Parts that are separated by dots are quoted separately.
    pub fn quoted(self, name: &str) -> String {
        let quote = match self {
            SqlDialect::MySql => '`',
            SqlDialect::Postgres => '"',
        };
        let part = |p: &str| format!("{quote}{}{quote}", p.replace(quote, &format!("{quote}{quote}")));
        name.split('.').map(part).collect::<Vec<_>>().join(".")
    }

    fn names(self, columns: &[DatabaseColumn], of: &[usize]) -> String {
        of.iter().map(|i| self.quoted(&columns[*i].name)).collect::<Vec<_>>().join(", ")
    }

    /// A list of columns to select, as text or, for binary columns, as bytes.
    pub fn texts(self, schema: &Schema) -> String {
        let columns =
            schema.fields.iter().map(|f| if f.ty.is_bytes() { self.quoted(&f.name) } else { self.text(&f.name) });
        columns.collect::<Vec<_>>().join(", ")
    }

    /// A column as text.
    pub fn text(self, name: &str) -> String {
        match self {
            SqlDialect::MySql => format!("CAST({} AS CHAR)", self.quoted(name)),
            SqlDialect::Postgres => format!("{}::text", self.quoted(name)),
        }
    }

    /// Finds the rows with one of `rows` keys.
    pub fn find(self, table: &str, texts: &str, key: &[DatabaseColumn], rows: usize) -> String {
        let all: Vec<usize> = (0..key.len()).collect();
        let (table, names) = (self.quoted(table), self.names(key, &all));
        match self {
            SqlDialect::MySql => {
                let row = format!("({})", vec!["?"; key.len()].join(","));
                format!("SELECT {texts} FROM {table} WHERE ({names}) IN ({})", vec![row; rows].join(","))
            }
            SqlDialect::Postgres => {
                let (casts, arrays) = (self.casts(key, &all), self.arrays(key, &all));
                format!("SELECT {texts} FROM {table} WHERE ({names}) IN (SELECT {casts}{arrays})")
            }
        }
    }

    /// Writes `rows` rows: inserts them, or replaces rows with equal keys.
    ///
    /// MySQL takes a parameter for each value, row by row. PostgreSQL takes an array for each column.
    pub fn write(self, table: &str, columns: &[DatabaseColumn], key: &[usize], rows: usize) -> String {
        let all: Vec<usize> = (0..columns.len()).collect();
        let (table, names) = (self.quoted(table), self.names(columns, &all));
        match self {
            SqlDialect::MySql => {
                let row = format!("({})", vec!["?"; columns.len()].join(","));
                let mut sql = format!("INSERT INTO {table} ({names}) VALUES {}", vec![row; rows].join(","));
                if !key.is_empty() {
                    let set = columns.iter().map(|c| {
                        let name = self.quoted(&c.name);
                        format!("{name}=VALUES({name})")
                    });
                    sql += &format!(" ON DUPLICATE KEY UPDATE {}", set.collect::<Vec<_>>().join(", "));
                }
                sql
            }
            SqlDialect::Postgres => {
                let mut sql = format!("INSERT INTO {table} ({names}) SELECT {}", self.casts(columns, &all));
                sql += &self.arrays(columns, &all);
                if !key.is_empty() {
                    let rest: Vec<usize> = all.into_iter().filter(|i| !key.contains(i)).collect();
                    let set = rest.iter().map(|i| {
                        let name = self.quoted(&columns[*i].name);
                        format!("{name}=EXCLUDED.{name}")
                    });
                    let action = match rest.is_empty() {
                        true => "NOTHING".to_string(),
                        false => format!("UPDATE SET {}", set.collect::<Vec<_>>().join(", ")),
                    };
                    sql += &format!(" ON CONFLICT ({}) DO {action}", self.names(columns, key));
                }
                sql
            }
        }
    }

    /// Deletes the rows with one of `rows` keys.
    pub fn remove(self, table: &str, columns: &[DatabaseColumn], key: &[usize], rows: usize) -> String {
        let (table, names) = (self.quoted(table), self.names(columns, key));
        match self {
            SqlDialect::MySql => {
                let row = format!("({})", vec!["?"; key.len()].join(","));
                format!("DELETE FROM {table} WHERE ({names}) IN ({})", vec![row; rows].join(","))
            }
            SqlDialect::Postgres => {
                let (casts, arrays) = (self.casts(columns, key), self.arrays(columns, key));
                format!("DELETE FROM {table} WHERE ({names}) IN (SELECT {casts}{arrays})")
            }
        }
    }

    fn casts(self, columns: &[DatabaseColumn], of: &[usize]) -> String {
        let cast = of.iter().enumerate().map(|(n, i)| match columns[*i].binary {
            true => format!("u.c{n}"),
            false => format!("u.c{n}::{}", columns[*i].ty),
        });
        cast.collect::<Vec<_>>().join(", ")
    }

    fn arrays(self, columns: &[DatabaseColumn], of: &[usize]) -> String {
        let arrays = of.iter().enumerate().map(|(n, i)| {
            let ty = if columns[*i].binary { "bytea" } else { "text" };
            format!("${}::{ty}[]", n + 1)
        });
        let names = (0..of.len()).map(|n| format!("c{n}"));
        let (arrays, names) = (arrays.collect::<Vec<_>>().join(", "), names.collect::<Vec<_>>().join(", "));
        format!(" FROM unnest({arrays}) AS u({names})")
    }

    /// The columns of a table and their types, in the table's order. Types have no lengths, because a cast to a type with a length
    /// truncates silently. The parameters are the schema (NULL for the current one) and the name.
    pub fn describe(self) -> &'static str {
        match self {
            SqlDialect::MySql => {
                "SELECT CAST(column_name AS CHAR), CAST(data_type AS CHAR) FROM information_schema.columns \
                 WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position"
            }
            SqlDialect::Postgres => {
                "SELECT a.attname::text, format_type(a.atttypid, -1) FROM pg_attribute a \
                 WHERE a.attrelid = to_regclass(COALESCE(quote_ident($1) || '.', '') || quote_ident($2)) \
                 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
            }
        }
    }

    /// The unique indexes of a table: a row for each column of each index, in the index's order, and whether the index has every row of the
    /// table. It lacks rows with NULL, and rows of tables that inherit from this one. The parameters are those of [`SqlDialect::describe`].
    pub fn unique(self) -> &'static str {
        match self {
            SqlDialect::MySql => {
                "SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), CAST(IF(nullable = 'YES', '', '1') AS CHAR) \
                 FROM information_schema.statistics \
                 WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND non_unique = 0 \
                 ORDER BY index_name, seq_in_index"
            }
            SqlDialect::Postgres => {
                "SELECT i.indexrelid::regclass::text, a.attname::text, \
                 CASE WHEN a.attnotnull AND NOT (c.relkind = 'r' AND c.relhassubclass) THEN '1' ELSE '' END \
                 FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
                 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                 WHERE i.indrelid = to_regclass(COALESCE(quote_ident($1) || '.', '') || quote_ident($2)) \
                 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
                 AND k.place <= i.indnkeyatts ORDER BY 1, k.place"
            }
        }
    }

    /// Whether comparing values of a type, given as text, gives the same order as the column's index.
    pub fn orders(self, ty: &str) -> bool {
        let types: &[&str] = match self {
            SqlDialect::MySql => &["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "char", "varchar"],
            SqlDialect::Postgres => &["smallint", "integer", "bigint", "numeric", "text", "character varying", "uuid"],
        };
        types.contains(&ty)
    }

    /// The condition for rows after a given one in the order of a key, whose values are given as text, and its parameters.
    pub fn behind(self, key: &[DatabaseColumn], after: &[String]) -> (String, Vec<String>) {
        let name = |c: &DatabaseColumn| format!("weir_rows.{}", self.quoted(&c.name));
        match self {
            SqlDialect::Postgres => {
                let names = key.iter().map(name).collect::<Vec<_>>().join(", ");
                let values = key.iter().enumerate().map(|(i, c)| format!("${}::{}", i + 1, c.ty));
                (format!("({names}) > ({})", values.collect::<Vec<_>>().join(", ")), after.to_vec())
            }
            SqlDialect::MySql => {
                // Numbers are compared as literals. Compared with a text, they would be rounded.
                let number = |v: &String| v.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
                let value = |c: &DatabaseColumn, v: &String, values: &mut Vec<String>| match !c.ty.contains("char")
                    && number(v)
                {
                    true => v.clone(),
                    false => {
                        values.push(v.clone());
                        "?".to_string()
                    }
                };
                let (mut sql, mut values) = (String::new(), vec![]);
                for (i, (c, v)) in key.iter().zip(after).enumerate() {
                    let name = name(c);
                    sql += &format!("{name} > {}", value(c, v, &mut values));
                    if i + 1 < key.len() {
                        sql = format!("{sql} OR ({name} = {} AND (", value(c, v, &mut values));
                    }
                }
                let depth = key.len().saturating_sub(1);
                (format!("({sql}{})", "))".repeat(depth)), values)
            }
        }
    }

    /// Statements that begin a long read of a table: the server must not cut off a slow reader, the reader sees one snapshot, and rows
    /// without a key come in the same order while nothing changes.
    pub fn reading(self) -> &'static [&'static str] {
        match self {
            SqlDialect::MySql => {
                &["SET SESSION net_write_timeout = 86400", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"]
            }
            SqlDialect::Postgres => &["SET synchronize_seqscans = off", "SET max_parallel_workers_per_gather = 0"],
        }
    }

    fn parameter(self, n: usize) -> String {
        match self {
            SqlDialect::MySql => "?".to_string(),
            SqlDialect::Postgres => format!("${n}"),
        }
    }

    pub fn create_marks(self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {MARKS} (job VARCHAR(64) NOT NULL, sink VARCHAR(64) NOT NULL, \
             run VARCHAR(64) NOT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (job, sink))"
        )
    }

    /// Reads the owner and the epoch, by job and sink. It waits for a transaction that is moving the marker, whose response may have been
    /// lost.
    pub fn read_mark(self) -> String {
        let epoch = match self {
            SqlDialect::MySql => "CAST(epoch AS CHAR)",
            SqlDialect::Postgres => "epoch::text",
        };
        let (j, s) = (self.parameter(1), self.parameter(2));
        format!("SELECT run, {epoch} FROM {MARKS} WHERE job = {j} AND sink = {s} FOR UPDATE")
    }

    /// Locks the row and reads its owner, by job and sink, so that the owner cannot change before the transaction ends.
    pub fn hold_mark(self) -> String {
        let lock = match self {
            SqlDialect::MySql => "LOCK IN SHARE MODE",
            SqlDialect::Postgres => "FOR SHARE",
        };
        let (j, s) = (self.parameter(1), self.parameter(2));
        format!("SELECT run FROM {MARKS} WHERE job = {j} AND sink = {s} {lock}")
    }

    /// Creates or resets the marker, by job, sink and owner. The owner is in the column `run`.
    pub fn begin_mark(self) -> String {
        let (j, s, r) = (self.parameter(1), self.parameter(2), self.parameter(3));
        let on = match self {
            SqlDialect::MySql => "ON DUPLICATE KEY UPDATE run = VALUES(run), epoch = 0",
            SqlDialect::Postgres => "ON CONFLICT (job, sink) DO UPDATE SET run = EXCLUDED.run, epoch = 0",
        };
        format!("INSERT INTO {MARKS} (job, sink, run, epoch) VALUES ({j}, {s}, {r}, 0) {on}")
    }

    /// Compare-and-set of the owner. The parameters are the new owner, job, sink and the old owner; the epoch must be the given one.
    pub fn take_mark(self, epoch: u64) -> String {
        let [n, j, s, r] = [1, 2, 3, 4].map(|i| self.parameter(i));
        format!("UPDATE {MARKS} SET run = {n} WHERE job = {j} AND sink = {s} AND run = {r} AND epoch = {epoch}")
    }

    /// Compare-and-set of the epoch, by job, sink and owner.
    pub fn move_mark(self, from: u64, to: u64) -> String {
        let (j, s, r) = (self.parameter(1), self.parameter(2), self.parameter(3));
        format!("UPDATE {MARKS} SET epoch = {to} WHERE job = {j} AND sink = {s} AND run = {r} AND epoch = {from}")
    }

    /// Statements that each connection begins with.
    pub fn greeting(self) -> &'static [&'static str] {
        match self {
            SqlDialect::MySql => &[],
            SqlDialect::Postgres => &["SET TimeZone = 'UTC'"],
        }
    }

    /// Statements that a connection tries after that, so that a process which sleeps within a transaction does not block others. A server
    /// may reject them: MySQL, unlike MariaDB, has no such setting.
    pub fn wishes(self) -> &'static [&'static str] {
        match self {
            SqlDialect::MySql => &["SET SESSION idle_transaction_timeout = 30"],
            SqlDialect::Postgres => &["SET idle_in_transaction_session_timeout = 30000"],
        }
    }
}
