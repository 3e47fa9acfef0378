//! State as text: one line of JSON for each key, whatever the format of the store; and a summary.

use crate::folder::FORMAT;
use crate::store::{Snapshot, Store};
use backon::{BlockingRetryable, ConstantBuilder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Duration;
use weir_core::state::{Changes, ENGINE, Epoch, OperatorId, StateBackend, StateReader};
use weir_core::{Error, Result};

#[derive(Serialize, Deserialize)]
struct Head {
    weir_state: u32,
    keys: u32,
    epoch: u64,
    /// The job's identity for systems outside.
    #[serde(default)]
    job: Option<String>,
    operators: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    operator: String,
    key: String,
    value: String,
}

/// The pause between two attempts to find an epoch that was delivered.
const PAUSE: Duration = Duration::from_millis(5);

/// A snapshot of an epoch that was delivered to all sinks: outboxes are not exported, and their entries would be lost.
fn delivered(store: &Store, patience: Duration) -> Result<Snapshot<'_>> {
    let freeze = || {
        let snapshot = store.snapshot();
        if store.has_undelivered(snapshot.epoch()) {
            let hint = "run the job once more, stop it, and try again";
            return Err(Error::state("the last epoch was not delivered to every sink").hint(hint));
        }
        Ok(snapshot)
    };
    let pauses = (patience.as_millis() / PAUSE.as_millis()) as usize;
    freeze.retry(ConstantBuilder::new().with_delay(PAUSE).with_max_times(pauses)).call()
}

/// Exports the state of an epoch that was delivered to all sinks. Waits for one as long as `patience`. Gives the number of keys.
///
/// # Errors
/// If the store cannot be read, the text cannot be written, or there is no such epoch.
pub fn export(store: &Store, job: &str, patience: Duration, out: &mut dyn Write) -> Result<u64> {
    let io = |e: std::io::Error| Error::io("cannot write the export").caused_by(e);
    let json = |e: serde_json::Error| Error::internal(e.to_string()).with_source(e);
    let operators = store.operators()?;
    let snapshot = delivered(store, patience)?;
    let head = Head {
        weir_state: FORMAT,
        keys: weir_core::key::VERSION,
        epoch: snapshot.epoch().0,
        job: Some(job.to_string()),
        operators: operators.keys().cloned().collect(),
    };
    writeln!(out, "{}", serde_json::to_string(&head).map_err(json)?).map_err(io)?;
    let mut count = 0;
    for (uid, id) in operators {
        snapshot.each(id, &mut |key, value| {
            let line = Line { operator: uid.clone(), key: hex::encode(key), value: hex::encode(value) };
            count += 1;
            writeln!(out, "{}", serde_json::to_string(&line).map_err(json)?).map_err(io)
        })?;
    }
    snapshot.release()?;
    Ok(count)
}

/// Bytes of keys and values that are imported as one epoch.
const IMPORTED: usize = 16 << 20;

/// Imports an export into an empty store, as its first epochs. If this fails, the store has a part of the state and must not be used.
/// Gives the number of keys, and the job's identity.
///
/// # Errors
/// If the text is not an export of this version, or the store cannot be written.
pub fn import(store: &Store, text: &mut dyn BufRead) -> Result<(u64, Option<String>)> {
    let mut lines = text.lines().enumerate();
    let wrong = |n: usize, why: &str| Error::state(format!("line {} of the export: {why}", n + 1));
    let Some((_, Ok(first))) = lines.next() else {
        return Err(Error::state("the export is empty"));
    };
    let head: Head = serde_json::from_str(&first).map_err(|_| wrong(0, "this is no export of a state"))?;
    if head.weir_state != FORMAT || head.keys != weir_core::key::VERSION {
        return Err(wrong(0, "the export is of another version"));
    }
    let mut ids: BTreeMap<String, OperatorId> = BTreeMap::new();
    for uid in &head.operators {
        ids.insert(uid.clone(), store.operator(uid)?);
    }
    let mut epoch = Epoch(head.epoch.max(store.last_epoch().0 + 1));
    let (mut count, mut bytes) = (0, 0);
    let mut changes: BTreeMap<OperatorId, Changes> = BTreeMap::new();
    let commit = |epoch: Epoch, changes: &mut BTreeMap<OperatorId, Changes>| -> Result<()> {
        std::mem::take(changes).into_iter().for_each(|(id, c)| store.stage(id, epoch, c));
        store.commit(epoch, &vec![], false)?;
        store.delivered(epoch)
    };
    for (n, line) in lines {
        let line = line.map_err(|e| wrong(n, &e.to_string()))?;
        let l: Line = serde_json::from_str(&line).map_err(|_| wrong(n, "this is no line of an export"))?;
        let decode = |h: &str| hex::decode(h).map_err(|_| wrong(n, "keys and values are hexadecimal"));
        let id = ids.get(&l.operator).copied().ok_or_else(|| wrong(n, "the operator is not in the head"))?;
        let (key, value) = (decode(&l.key)?, decode(&l.value)?);
        bytes += key.len() + value.len();
        changes.entry(id).or_default().set(&key, &value);
        count += 1;
        if bytes > IMPORTED {
            commit(epoch, &mut changes)?;
            (epoch, bytes) = (Epoch(epoch.0 + 1), 0);
        }
    }
    commit(epoch, &mut changes)?;
    Ok((count, head.job))
}

/// Writes the number of keys and bytes of each operator, as of the last durable epoch.
///
/// # Errors
/// If the store cannot be read or the text cannot be written.
pub fn summary(store: &Store, out: &mut dyn Write) -> Result<()> {
    let io = |e: std::io::Error| Error::io("cannot write").caused_by(e);
    let snapshot = store.snapshot();
    writeln!(out, "epoch     {}", snapshot.epoch()).map_err(io)?;
    writeln!(out, "on disk   {} bytes", store.disk_bytes()).map_err(io)?;
    writeln!(out, "{:>10} {:>14}  operator", "keys", "bytes").map_err(io)?;
    // Uids that begin with # are not of operators, but of Weir's own records.
    for (uid, id) in store.operators()?.into_iter().filter(|(uid, _)| !uid.starts_with('#')) {
        let (mut keys, mut bytes) = (0u64, 0);
        snapshot.each(id, &mut |k, v| {
            // The engine's own keys do not count.
            keys += u64::from(!k.starts_with(&ENGINE));
            bytes += k.len() + v.len();
            Ok(())
        })?;
        writeln!(out, "{keys:>10} {bytes:>14}  {uid}").map_err(io)?;
    }
    snapshot.release()
}
