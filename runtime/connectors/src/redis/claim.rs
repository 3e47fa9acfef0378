//! Who writes a job's rows to a server: a key of Weir's there says so, as a mark does in other systems. Rows go in a transaction
//! that comes about only if nobody has changed that key since it was read.

use super::config::Connection;
use crate::fencing::{contested, may_write, owner, replaced, unwatched};
use redis::{Pipeline, RedisResult};
use weir_core::error::ErrorKind;
use weir_core::graph::JobIdentity;
use weir_core::{Error, Result};

/// How often a key that somebody else changes at the same time is read again.
const TRIES: usize = 5;

/// A key, and who it has to name.
#[derive(Clone)]
pub(super) struct RedisClaim {
    key: String,
    owner: String,
    /// What is written to, for messages.
    what: String,
}

/// What came of a transaction.
enum TransactionResult {
    Done,
    /// The key names another process.
    Other(String),
    /// The key was changed meanwhile.
    Changed,
}

impl RedisClaim {
    /// The claim of a job's sink, which has a name of its own.
    pub fn new(job: &JobIdentity, sink: &str, what: String) -> RedisClaim {
        RedisClaim { key: format!("weir:owner:{}:{sink}", job.id), owner: owner(job), what }
    }

    /// Takes the rows over; `begun` says whether the run has written there before, `again` whether this process had them. A server
    /// that lets nobody do that is written to without: then there is no claim.
    ///
    /// # Errors
    /// When another run, or another process since this one had it, has taken them.
    pub fn take(
        self,
        connection: &mut Connection,
        job: &JobIdentity,
        begun: bool,
        again: bool,
    ) -> Result<Option<RedisClaim>> {
        match self.try_take(connection, job, begun, again) {
            Ok(()) => Ok(Some(self)),
            Err(e) if matches!(e.kind, ErrorKind::Data | ErrorKind::Script) => {
                unwatched(&self.what, &e);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn try_take(&self, connection: &mut Connection, job: &JobIdentity, begun: bool, again: bool) -> Result<()> {
        // The key and the rows may be of different nodes, which no transaction spans.
        let about: String = match connection.run(&mut |c| redis::cmd("INFO").arg("cluster").query(c)) {
            Err(e) if e.is_retriable() => return Err(e),
            // Not everybody may ask.
            about => about.unwrap_or_default(),
        };
        if about.contains("cluster_enabled:1") {
            return Err(Error::data("it is part of a cluster"));
        }
        let mut all = redis::pipe();
        all.cmd("SET").arg(&self.key).arg(&self.owner);
        let mut before = None;
        for _ in 0..TRIES {
            may_write(&self.what, job, before.as_deref(), begun)?;
            if again && before.is_some() {
                return Err(replaced(&self.what));
            }
            let expected = before.clone();
            match self.transact(connection, &mut all, expected.as_deref())? {
                TransactionResult::Done => return Ok(()),
                TransactionResult::Other(found) => before = Some(found),
                TransactionResult::Changed => {}
            }
        }
        Err(contested(&self.what))
    }

    /// Sends the commands that bring rows about.
    ///
    /// # Errors
    /// When another process has taken the rows over, or the server refuses them.
    pub fn send(&self, connection: &mut Connection, commands: &mut Pipeline) -> Result<()> {
        for _ in 0..TRIES {
            match self.transact(connection, commands, None)? {
                TransactionResult::Done => return Ok(()),
                TransactionResult::Other(_) => return Err(replaced(&self.what)),
                TransactionResult::Changed => {}
            }
        }
        Err(contested(&self.what))
    }

    /// One transaction, if the key is not there, or names this process or the `expected` one.
    fn transact(
        &self,
        connection: &mut Connection,
        all: &mut Pipeline,
        expected: Option<&str>,
    ) -> Result<TransactionResult> {
        all.atomic();
        let mut read = redis::pipe();
        read.cmd("WATCH").arg(&self.key).ignore().cmd("GET").arg(&self.key);
        connection.run(&mut |c| -> RedisResult<TransactionResult> {
            let (found,): (Option<String>,) = read.query(c)?;
            if let Some(found) = found.filter(|f| *f != self.owner && Some(f.as_str()) != expected) {
                redis::cmd("UNWATCH").exec(c)?;
                return Ok(TransactionResult::Other(found));
            }
            let done: Option<()> = all.query(c)?;
            Ok(done.map_or(TransactionResult::Changed, |()| TransactionResult::Done))
        })
    }
}
