//! Reads the rows of one query page by page. It is one statement, and so one snapshot of the database, on a thread of its own. The thread
//! pauses while its pages are not taken.
//!
//! If the table has a unique key, rows come in its order, and a restarted job continues after the last key. Otherwise a restarted job reads
//! the rows again and skips those that it has already read, which must be the same ones.

use super::database::{Database, plain};
use super::rows::Cell;
use super::scan::{PartitionRange, Scan};
use super::statements::DatabaseColumn;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use weir_core::thread::spawn;
use weir_core::{Error, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Maximum size of a page in bytes; the last row may exceed it.
const PAGE: usize = 8 << 20;

/// How far a part was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PagePosition {
    /// How many rows were read.
    pub given: u64,
    /// A running hash of these rows, if no key orders them.
    hash: u64,
    /// The columns of the key that orders them, and the last row's values of it.
    names: Vec<String>,
    after: Vec<String>,
}

impl PagePosition {
    fn count(&mut self, row: &[Cell]) {
        self.given += 1;
        for cell in row {
            // NULL and an empty value have different lengths.
            let length = cell.as_ref().map_or(u64::MAX, |c| c.len() as u64);
            self.hash = xxh3_64_with_seed(cell.as_deref().unwrap_or_default(), self.hash ^ length);
        }
    }

    /// Moves the position behind a page.
    fn advance(&mut self, page: &Page) {
        if page.key.is_empty() {
            page.rows.iter().for_each(|r| self.count(r));
        } else if let Some(last) = page.rows.last() {
            self.given += page.rows.len() as u64;
            let text = |c: &Cell| String::from_utf8_lossy(c.as_deref().unwrap_or_default()).into_owned();
            self.after = last[last.len() - page.key.len()..].iter().map(text).collect();
            self.names = page.key.to_vec();
        }
    }
}

/// Some rows. The values of the key follow the columns that were asked for.
pub(super) struct Page {
    pub rows: Vec<Vec<Cell>>,
    key: Arc<[String]>,
    /// Whether it is the last page.
    pub last: bool,
}

/// A query that is being read.
pub(super) struct PageReader {
    pages: Receiver<Result<Page>>,
    /// The position behind the pages that were taken.
    pub position: PagePosition,
}

impl PageReader {
    /// Starts to read after a position.
    ///
    /// # Errors
    /// If a thread cannot be started. All other errors come with the pages.
    pub fn open(scan: Arc<Scan>, range: Option<PartitionRange>, position: PagePosition) -> Result<PageReader> {
        let (sender, pages) = sync_channel(1);
        let from = position.clone();
        let read = move || {
            if let Err(e) = read(&scan, range, from, &sender) {
                let _ = sender.send(Err(e));
            }
        };
        spawn("weir-jdbc", read)?;
        Ok(PageReader { pages, position })
    }

    /// A reader of the given rows, without a database.
    #[cfg(test)]
    pub fn of(pages: Vec<Vec<Vec<Cell>>>) -> PageReader {
        let (sender, receiver) = sync_channel(pages.len());
        let count = pages.len();
        for (i, rows) in pages.into_iter().enumerate() {
            sender.send(Ok(Page { rows, key: Arc::default(), last: i + 1 == count })).expect("room");
        }
        PageReader { pages: receiver, position: PagePosition::default() }
    }

    /// The next page, or none if it is not there in time.
    ///
    /// # Errors
    /// If the database fails, or the rows are not those that were read before.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Page>> {
        match self.pages.recv_timeout(patience) {
            Ok(page) => {
                let page = page?;
                self.position.advance(&page);
                Ok(Some(page))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Error::internal("the thread that reads a table has ended")),
        }
    }
}

/// The key that orders the rows: of the unique keys whose order is known here, one with the fewest columns.
fn key(scan: &Scan, database: &mut Database, from: &PagePosition) -> Result<Vec<DatabaseColumn>> {
    if scan.query.is_some() || from.given > 0 && from.names.is_empty() {
        return Ok(vec![]);
    }
    let there = database.columns()?;
    let dialect = scan.config.dialect;
    let columns = |names: &[String]| -> Option<Vec<DatabaseColumn>> {
        let of = |n: &String| there.iter().find(|c| c.name == *n && dialect.orders(&c.ty)).cloned();
        names.iter().map(of).collect()
    };
    let total = database.indexes()?.into_iter().filter(|i| i.total).map(|i| i.columns);
    let mut known: Vec<Vec<DatabaseColumn>> = total.filter_map(|names| columns(&names)).collect();
    if !from.names.is_empty() {
        known.retain(|k| k.iter().map(|c| &c.name).eq(&from.names));
        if known.is_empty() {
            let e = Error::state(format!(
                "table {} was read in the order of ({}), which is no key of it any more",
                scan.config.what(),
                from.names.join(", ")
            ));
            return Err(e.hint("bring its unique index back, or start anew with --fresh"));
        }
    }
    Ok(known.into_iter().min_by_key(Vec::len).unwrap_or_default())
}

/// Reads the rows after a position and sends them page by page, until the receiver is gone.
fn read(scan: &Scan, range: Option<PartitionRange>, from: PagePosition, to: &SyncSender<Result<Page>>) -> Result<()> {
    let mut database = Database::connect(&scan.config)?;
    for setting in scan.config.dialect.reading() {
        database.run(setting).map_err(plain)?;
    }
    let key = key(scan, &mut database, &from)?;
    let (sql, parameters) = scan.select(range, &key, &from.after);
    let key: Arc<[String]> = key.into_iter().map(|c| c.name).collect();
    let binary: Vec<bool> = scan.schema.fields.iter().map(|f| f.ty.is_bytes()).collect();
    let differs = || {
        let e = Error::state(format!(
            "{} has no unique key, and its rows are not the {} that the job has read before: it cannot go on there",
            scan.what(),
            from.given
        ));
        e.hint("read a table with a primary key in one piece, without 'scan.query'; or start anew with --fresh")
    };
    let mut passed = PagePosition::default();
    let (mut rows, mut bytes, mut wrong) = (vec![], 0, false);
    let page = |rows: Vec<Vec<Cell>>, last: bool| Ok(Page { rows, key: key.clone(), last });
    let mut take = |row: Vec<Cell>| {
        if key.is_empty() && passed.given < from.given {
            passed.count(&row);
            wrong = passed.given == from.given && passed.hash != from.hash;
            return !wrong;
        }
        bytes += row.iter().flatten().map(Vec::len).sum::<usize>();
        rows.push(row);
        if rows.len() < scan.fetch && bytes < PAGE {
            return true;
        }
        bytes = 0;
        to.send(page(std::mem::take(&mut rows), false)).is_ok()
    };
    database.stream(&sql, &parameters, &binary, &mut take).map_err(plain)?;
    if wrong || key.is_empty() && passed.given < from.given {
        return Err(differs());
    }
    // The receiver is gone.
    let _ = to.send(page(rows, true));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::statements::SqlDialect;
    use super::*;

    #[test]
    fn positions_tell_rows_apart() {
        let of = |rows: &[&[Option<&str>]]| {
            let cell = |c: &Option<&str>| c.map(|c| c.as_bytes().to_vec());
            let rows = rows.iter().map(|r| r.iter().map(cell).collect()).collect();
            let mut p = PagePosition::default();
            p.advance(&Page { rows, key: Arc::default(), last: false });
            p
        };
        let all = [
            of(&[]),
            of(&[&[None]]),
            of(&[&[Some("")]]),
            of(&[&[Some("a")], &[Some("b")]]),
            of(&[&[Some("b")], &[Some("a")]]),
            of(&[&[Some("ab"), Some("c")]]),
            of(&[&[Some("a"), Some("bc")]]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b), "{i}");
        }
        let mut keyed = PagePosition::default();
        let row = |k: &str| vec![Some(b"v".to_vec()), Some(k.as_bytes().to_vec())];
        keyed.advance(&Page {
            rows: vec![row("1"), row("18446744073709551615")],
            key: Arc::from(["id".to_string()]),
            last: false,
        });
        assert_eq!((keyed.given, &keyed.after[..]), (2, &["18446744073709551615".to_string()][..]));
    }

    #[test]
    fn what_is_behind_a_key_is_asked_for_exactly() {
        let column =
            |name: &str, ty: &str| DatabaseColumn { name: name.to_string(), ty: ty.to_string(), binary: false };
        let key = [column("a", "bigint"), column("b", "varchar")];
        let after = ["18446744073709551615".to_string(), "x'y".to_string()];
        let (sql, values) = SqlDialect::MySql.behind(&key, &after);
        let a = "weir_rows.`a`";
        assert_eq!(
            sql,
            format!("({a} > 18446744073709551615 OR ({a} = 18446744073709551615 AND (weir_rows.`b` > ?)))")
        );
        assert_eq!(values, ["x'y"]);
        let key = [column("a", "bigint"), column("b", "text")];
        let (sql, values) = SqlDialect::Postgres.behind(&key, &after);
        assert_eq!(sql, "(weir_rows.\"a\", weir_rows.\"b\") > ($1::bigint, $2::text)");
        assert_eq!(values, after);
    }
}
