//! The owner of the rows that a sink writes to a database. The table of commit markers names it.

use super::database::{Database, plain};
use super::statements::SqlDialect;
use crate::fencing::{FoundMarker, contested, may_write, owner, replaced, run_of, unwatched};
use weir_core::error::ErrorKind;
use weir_core::graph::JobIdentity;
use weir_core::{Error, Result};

/// A sink's row in the table of commit markers. It names the owner and, with exactly-once, the last epoch that was delivered.
#[derive(Clone)]
pub(super) struct DatabaseClaim {
    pub job: JobIdentity,
    /// The sink's name in that table.
    pub sink: String,
    pub owner: String,
    /// The table that is written to, for messages.
    pub what: String,
    dialect: SqlDialect,
}

impl DatabaseClaim {
    pub fn new(job: &JobIdentity, sink: &str, what: String, dialect: SqlDialect) -> DatabaseClaim {
        DatabaseClaim { job: job.clone(), sink: sink.to_string(), owner: owner(job), what, dialect }
    }

    /// Reads the marker, and creates the table of markers if it is missing. `again` says whether this process has owned the row before.
    ///
    /// # Errors
    /// If there is no such table and the user may not create it, or another process has taken the row over since.
    pub fn look(&self, database: &mut Database, again: bool) -> Result<FoundMarker> {
        let made = if again { Ok(()) } else { database.run(&self.dialect.create_marks()) };
        let read = database.query(&self.dialect.read_mark(), &[Some(&self.job.id), Some(&self.sink)], &[]);
        // A user who may not create tables may still have rights on an existing one.
        let rows = match (read, made) {
            (Ok(rows), _) => rows,
            (Err(_), Err(f)) | (Err(f), Ok(())) => {
                let mut e = plain(f);
                if e.kind == ErrorKind::Script {
                    let needed = "the user needs the right to create the table weir_epochs, or to read and change it where it is there";
                    e.hint = Some(needed.to_string());
                }
                return Err(e);
            }
        };
        let text = |c: &super::rows::Cell| String::from_utf8_lossy(c.as_deref().unwrap_or_default()).into_owned();
        let found = rows.first().map(|r| {
            let epoch = text(&r[1]).parse().map_err(|_| {
                Error::state(format!(
                    "the table weir_epochs says '{}' of {}, which is no epoch",
                    text(&r[1]),
                    self.what
                ))
            })?;
            Ok::<_, Error>((text(&r[0]), epoch))
        });
        let found = found.transpose()?;
        match &found {
            Some((other, _)) if again && *other != self.owner => Err(replaced(&self.what)),
            _ => Ok(found),
        }
    }

    /// Takes the row over from its owner, if it still is at this epoch. The owner is fenced off.
    ///
    /// # Errors
    /// If another process does so at the same time.
    pub fn take(&self, database: &mut Database, from: &str, epoch: u64) -> Result<()> {
        let take = self.dialect.take_mark(epoch);
        match database.change(&take, &[&self.owner, &self.job.id, &self.sink, from]).map_err(plain)? {
            1 => Ok(()),
            _ => Err(contested(&self.what)),
        }
    }

    /// Creates the row, or resets it, with epoch 0.
    pub fn begin(&self, database: &mut Database) -> Result<()> {
        let begin = self.dialect.begin_mark();
        database.change(&begin, &[&self.job.id, &self.sink, &self.owner]).map(drop).map_err(plain)
    }

    /// Takes the rows over, whatever epoch the marker has. `begun` says whether the run has written there before. If the user may not
    /// create a marker, the sink writes without one, and there is no claim.
    ///
    /// # Errors
    /// If another run, or another process since this one owned them, has taken the rows over.
    pub fn take_rows(self, database: &mut Database, begun: bool, again: bool) -> Result<Option<DatabaseClaim>> {
        let found = match self.look(database, again) {
            Err(e) if e.kind == ErrorKind::Script => {
                unwatched(&self.what, &e);
                return Ok(None);
            }
            found => found?,
        };
        may_write(&self.what, &self.job, found.as_ref().map(|(other, _)| other.as_str()), begun)?;
        match found {
            Some((other, _)) if other == self.owner => {}
            Some((other, epoch)) if run_of(&other) == self.job.run => {
                self.take(database, &other, epoch)?;
            }
            _ => self.begin(database)?,
        }
        Ok(Some(self))
    }

    /// Locks the marker within a transaction, so no other process can take the rows over before the transaction ends.
    ///
    /// # Errors
    /// If another process has taken them over.
    pub fn hold(&self, database: &mut Database) -> Result<()> {
        let parameters = [Some(self.job.id.as_str()), Some(self.sink.as_str())];
        let rows = database.query(&self.dialect.hold_mark(), &parameters, &[]).map_err(plain)?;
        let other = rows.first().and_then(|r| r[0].as_deref()).is_some_and(|o| o != self.owner.as_bytes());
        if other { Err(replaced(&self.what)) } else { Ok(()) }
    }

    /// Moves the marker from one epoch to another within a transaction.
    ///
    /// # Errors
    /// If the marker is at another epoch, or belongs to another owner.
    pub fn advance(&self, database: &mut Database, from: u64, to: u64) -> Result<()> {
        let moved = self.dialect.move_mark(from, to);
        match database.change(&moved, &[&self.job.id, &self.sink, &self.owner]).map_err(plain)? {
            1 => Ok(()),
            _ => Err(replaced(&self.what)),
        }
    }
}
