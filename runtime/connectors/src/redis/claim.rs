//! The owner of the rows that a sink writes to a server. A key of Weir's names it, as a commit marker does in other systems. Rows are
//! written in transactions that fail if the key was changed since it was read.

use super::config::Connection;
use crate::fencing::{contested, may_write, owner, replaced, unwatched};
use redis::{Pipeline, RedisResult};
use weir_core::error::ErrorKind;
use weir_core::graph::JobIdentity;
use weir_core::{Error, Result};

/// How often the key is read again if another process changes it at the same time.
const TRIES: usize = 5;

/// The key, and the owner that it has to name.
#[derive(Clone)]
pub(super) struct RedisClaim {
    key: String,
    owner: String,
    /// What is written to, for messages.
    what: String,
}

/// The result of a transaction.
enum TransactionResult {
    Done,
    /// The key names another process.
    Other(String),
    /// The key was changed in the meantime.
    Changed,
}

impl RedisClaim {
    /// The claim of a job's sink; `sink` is the sink's name.
    pub fn new(job: &JobIdentity, sink: &str, what: String) -> RedisClaim {
        RedisClaim { key: format!("weir:owner:{}:{sink}", job.id), owner: owner(job), what }
    }

    /// Takes the rows over. `begun` says whether the run has written there before, `again` whether this process has owned them. If the
    /// server does not allow such a key, the sink writes without one, and there is no claim.
    ///
    /// # Errors
    /// If another run, or another process since this one owned them, has taken the rows over.
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
        // The key and the rows may be on different nodes of a cluster, which a transaction cannot span.
        let about: String = match connection.run(&mut |c| redis::cmd("INFO").arg("cluster").query(c)) {
            Err(e) if e.is_retriable() => return Err(e),
            // The user may lack the right to run INFO.
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

    /// Sends the commands that write rows.
    ///
    /// # Errors
    /// If another process has taken the rows over, or the server rejects the commands.
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

    /// One transaction, which succeeds if the key is missing, or names this process or the `expected` one.
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
