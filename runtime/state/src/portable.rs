//! State as text: a line of JSON a key, which outlives every format of the store; and a summary for people.

use crate::folder::FORMAT;
use crate::store::{Frozen, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};
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

/// The store at an epoch that every sink has: what waits to be delivered is no state, and would be lost.
fn delivered(store: &Store, patience: Duration) -> Result<Frozen<'_>> {
    let since = Instant::now();
    loop {
        let frozen = store.freeze();
        if !store.owes(frozen.epoch()) {
            return Ok(frozen);
        }
        drop(frozen);
        if since.elapsed() >= patience {
            return Err(Error::state("the last epoch was not delivered to every sink")
                .hint("run the job once more, stop it, and try again"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes all state, of an epoch that every sink has; waits that long for one. Gives the number of keys.
///
/// # Errors
/// When the store cannot be read, the text not be written, or there is no such epoch.
pub fn export(store: &Store, job: &str, patience: Duration, out: &mut dyn Write) -> Result<u64> {
    let io = |e: std::io::Error| Error::io("cannot write the export").caused_by(e);
    let json = |e: serde_json::Error| Error::internal(e.to_string()).with_source(e);
    let operators = store.operators()?;
    let frozen = delivered(store, patience)?;
    let head = Head {
        weir_state: FORMAT,
        keys: weir_core::key::VERSION,
        epoch: frozen.epoch().0,
        job: Some(job.to_string()),
        operators: operators.keys().cloned().collect(),
    };
    writeln!(out, "{}", serde_json::to_string(&head).map_err(json)?).map_err(io)?;
    let mut count = 0;
    for (uid, id) in operators {
        frozen.each(id, &mut |key, value| {
            let line = Line { operator: uid.clone(), key: hex::encode(key), value: hex::encode(value) };
            count += 1;
            writeln!(out, "{}", serde_json::to_string(&line).map_err(json)?).map_err(io)
        })?;
    }
    Ok(count)
}

/// Reads an export into an empty store as its first epoch. Gives the number of keys, and the job's identity.
///
/// # Errors
/// When the text is no export, or the store cannot be written.
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
    let epoch = Epoch(head.epoch.max(store.last_epoch().0 + 1));
    let mut count = 0;
    let mut changes: BTreeMap<OperatorId, Changes> = BTreeMap::new();
    for (n, line) in lines {
        let line = line.map_err(|e| wrong(n, &e.to_string()))?;
        let l: Line = serde_json::from_str(&line).map_err(|_| wrong(n, "this is no line of an export"))?;
        let bytes = |h: &str| hex::decode(h).map_err(|_| wrong(n, "keys and values are hexadecimal"));
        let id = ids.get(&l.operator).copied().ok_or_else(|| wrong(n, "the operator is not in the head"))?;
        changes.entry(id).or_default().set(&bytes(&l.key)?, &bytes(&l.value)?);
        count += 1;
    }
    changes.into_iter().for_each(|(id, c)| store.stage(id, epoch, c));
    store.commit(epoch, &vec![], false)?;
    store.delivered(epoch)?;
    Ok((count, head.job))
}

/// Writes what a store holds, operator by operator, as of its last epoch.
///
/// # Errors
/// When the store cannot be read or the text not be written.
pub fn summary(store: &Store, out: &mut dyn Write) -> Result<()> {
    let io = |e: std::io::Error| Error::io("cannot write").caused_by(e);
    let frozen = store.freeze();
    writeln!(out, "epoch     {}", frozen.epoch()).map_err(io)?;
    writeln!(out, "on disk   {} bytes", store.disk_bytes()).map_err(io)?;
    writeln!(out, "{:>10} {:>14}  operator", "keys", "bytes").map_err(io)?;
    // Names that begin with # are of Weir's own things, not of operators.
    for (uid, id) in store.operators()?.into_iter().filter(|(uid, _)| !uid.starts_with('#')) {
        let (mut keys, mut bytes) = (0u64, 0);
        frozen.each(id, &mut |k, v| {
            // What the engine notes of an operator is none of its keys.
            keys += u64::from(!k.starts_with(&ENGINE));
            bytes += k.len() + v.len();
            Ok(())
        })?;
        writeln!(out, "{keys:>10} {bytes:>14}  {uid}").map_err(io)?;
    }
    Ok(())
}
