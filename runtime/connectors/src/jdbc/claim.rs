//! Who writes a job's rows to a database: the table of marks says so.

use super::database::{Database, plain};
use super::statements::SqlDialect;
use crate::fencing::{FoundMarker, contested, may_write, owner, replaced, run_of, unwatched};
use weir_core::error::ErrorKind;
use weir_core::graph::JobIdentity;
use weir_core::{Error, Result};

/// A sink's row in the table of marks, which names who writes, and the epoch that it has where that is asked for.
#[derive(Clone)]
pub(super) struct DatabaseClaim {
    pub job: JobIdentity,
    /// The sink's name there.
    pub sink: String,
    pub owner: String,
    /// What is written to, for messages.
    pub what: String,
    dialect: SqlDialect,
}

impl DatabaseClaim {
    pub fn new(job: &JobIdentity, sink: &str, what: String, dialect: SqlDialect) -> DatabaseClaim {
        DatabaseClaim { job: job.clone(), sink: sink.to_string(), owner: owner(job), what, dialect }
    }

    /// What the table of marks says, which is made where it is missing; `again` says whether this process had the row before.
    ///
    /// # Errors
    /// When there is no such table, and none can be made; or another process has taken the row since this one had it.
    pub fn look(&self, database: &mut Database, again: bool) -> Result<FoundMarker> {
        let made = if again { Ok(()) } else { database.run(&self.dialect.create_marks()) };
        let read = database.query(&self.dialect.read_mark(), &[Some(&self.job.id), Some(&self.sink)], &[]);
        // Who may not make tables may have been given this one.
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

    /// Takes the row over from its owner, at an epoch, and so fences that one off.
    ///
    /// # Errors
    /// When somebody else does so at the same time.
    pub fn take(&self, database: &mut Database, from: &str, epoch: u64) -> Result<()> {
        let take = self.dialect.take_mark(epoch);
        match database.change(&take, &[&self.owner, &self.job.id, &self.sink, from]).map_err(plain)? {
            1 => Ok(()),
            _ => Err(contested(&self.what)),
        }
    }

    /// Makes the row anew, with no epoch.
    pub fn begin(&self, database: &mut Database) -> Result<()> {
        let begin = self.dialect.begin_mark();
        database.change(&begin, &[&self.job.id, &self.sink, &self.owner]).map(drop).map_err(plain)
    }

    /// Takes the rows over, whatever epoch they are of; `begun` says whether the run has written there before. Where no such row can
    /// be had, the table is written to without, and there is no claim.
    ///
    /// # Errors
    /// When another run, or another process since this one had it, has taken them.
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

    /// Within a transaction: nobody takes the rows over before it ends, and nobody has.
    ///
    /// # Errors
    /// When somebody has.
    pub fn hold(&self, database: &mut Database) -> Result<()> {
        let parameters = [Some(self.job.id.as_str()), Some(self.sink.as_str())];
        let rows = database.query(&self.dialect.hold_mark(), &parameters, &[]).map_err(plain)?;
        let other = rows.first().and_then(|r| r[0].as_deref()).is_some_and(|o| o != self.owner.as_bytes());
        if other { Err(replaced(&self.what)) } else { Ok(()) }
    }

    /// Within a transaction: moves the row from one epoch to another.
    ///
    /// # Errors
    /// When it is not at that epoch, or another's.
    pub fn advance(&self, database: &mut Database, from: u64, to: u64) -> Result<()> {
        let moved = self.dialect.move_mark(from, to);
        match database.change(&moved, &[&self.job.id, &self.sink, &self.owner]).map_err(plain)? {
            1 => Ok(()),
            _ => Err(replaced(&self.what)),
        }
    }
}
