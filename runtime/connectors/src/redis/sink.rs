//! Writes rows by key, so a row that is written twice is stored once. If the query's results change, rows wait until their epoch is
//! durable. A repeated epoch may emit other intermediate changes, and a key that is not among them would never be deleted.

use super::claim::RedisClaim;
use super::commands::{Command, pack, unpack};
use super::config::{Connection, RedisConfig, RowEncoding, text};
use super::{DELIVERY, FORMAT, SINK_RETRIES, TTL};
use crate::delivery::Delivery;
use crate::format::{Encoder, EncoderFactory, encoder};
use crate::options::TableSpec;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_core::error::io;
use weir_core::graph::{CommitMarker, JobIdentity, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::Epoch;
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema, Value, failpoint};

/// Maximum number of rows of a round trip.
const MOST: usize = 2_000;

/// Bytes of an epoch that a subtask buffers before it asks for the epoch to end early.
const WAITING: usize = 64 << 20;

struct RedisSink {
    config: RedisConfig,
    schema: Schema,
    ttl: Option<Duration>,
    format: Option<Arc<EncoderFactory>>,
    /// Whether rows wait until their epoch is durable.
    waits: bool,
    /// The sink's name in keys of Weir's own, and the table for messages.
    name: String,
    what: String,
    claim: Mutex<Option<RedisClaim>>,
    /// Whether this process has owned the rows. If another process owns them now, this one was replaced.
    owned: AtomicBool,
}

pub(crate) fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let config = RedisConfig::new(table, &table.key, &SINK_RETRIES)?;
    if table.value(&DELIVERY)? == Delivery::ExactlyOnce {
        let e =
            Error::script("a row that is written to Redis twice is there once; there is no transaction to wait for");
        return Err(e.at(table.place_of(&DELIVERY)).hint("leave 'sink.delivery-guarantee' out"));
    }
    let format = match (config.shape, table.get(&FORMAT)?) {
        (RowEncoding::Formatted, Some(f)) => Some(Arc::new(encoder(table, &f, "", &config.rest)?.0)),
        _ => None,
    };
    let ttl = table.get(&TTL)?;
    if ttl.is_some_and(|t| t.as_millis() == 0) {
        let e = Error::script("'sink.ttl' is a millisecond at least: a row would go as it comes");
        return Err(e.at(table.place_of(&TTL)).hint("leave it out for rows that stay"));
    }
    let what = format!("the rows of '{}' in {}", table.name, config.address());
    Ok(Arc::new(RedisSink {
        config,
        schema: table.schema.clone(),
        ttl,
        format,
        waits: table.changes,
        name: table.outside_name(),
        what,
        claim: Mutex::default(),
        owned: AtomicBool::new(false),
    }))
}

impl SinkFactory for RedisSink {
    fn begin(&self, job: &JobIdentity, mark: Option<CommitMarker>) -> Result<()> {
        let mut connection = Connection::new(&self.config)?;
        let claim = RedisClaim::new(job, &self.name, self.what.clone());
        let claim = claim.take(&mut connection, job, mark.is_some(), self.owned.load(Ordering::Relaxed))?;
        self.owned.store(claim.is_some(), Ordering::Relaxed);
        *locked(&self.claim) = claim;
        Ok(())
    }

    fn deliver(&self, _mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        let mut connection = Connection::new(&self.config)?;
        let claim = locked(&self.claim).clone();
        for entry in outbox {
            for rows in unpack(entry).chunks(MOST) {
                failpoint::pass("redis-write").map_err(io("write to", self.config.address().as_ref()))?;
                send(&mut connection, claim.as_ref(), rows)?;
            }
        }
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        let connection = if self.waits { None } else { Some(Connection::of_subtask(&self.config, &context)?) };
        Ok(Box::new(RedisWriter {
            connection,
            claim: locked(&self.claim).clone(),
            config: self.config.clone(),
            schema: self.schema.clone(),
            ttl: self.ttl,
            format: self.format.as_ref().map(|f| f()),
            waiting: PendingRows::default(),
            context,
        }))
    }
}

fn send(connection: &mut Connection, claim: Option<&RedisClaim>, rows: &[Vec<Command>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut all = redis::pipe();
    for command in rows.iter().flatten() {
        let mut cmd = redis::Cmd::new();
        command.iter().for_each(|word| _ = cmd.arg(word));
        all.add_command(cmd);
    }
    match claim {
        Some(claim) => claim.send(connection, &mut all),
        None => connection.run(&mut |c| all.exec(c)),
    }
}

/// The last row of each key of an epoch.
#[derive(Default)]
struct PendingRows {
    rows: Vec<Vec<Command>>,
    /// The index of each key's row.
    places: HashMap<Vec<u8>, usize>,
    bytes: usize,
}

impl PendingRows {
    fn push(&mut self, name: Vec<u8>, bytes: usize, row: Vec<Command>) {
        self.bytes += bytes;
        let at = *self.places.entry(name).or_insert(self.rows.len());
        match self.rows.get_mut(at) {
            Some(r) => *r = row,
            None => self.rows.push(row),
        }
    }
}

struct RedisWriter {
    /// The connection if rows are written at once. Without it, they wait for their epoch.
    connection: Option<Connection>,
    claim: Option<RedisClaim>,
    config: RedisConfig,
    schema: Schema,
    ttl: Option<Duration>,
    format: Option<Box<dyn Encoder>>,
    waiting: PendingRows,
    context: SubtaskContext,
}

fn command(words: &[&[u8]]) -> Command {
    words.iter().map(|w| w.to_vec()).collect()
}

impl RedisWriter {
    /// The name of a row's key in Redis, and the commands that write the row.
    fn row(&mut self, batch: &Batch, row: usize) -> Result<(Vec<u8>, Vec<Command>)> {
        let value = |c: &usize| Value::read(batch.data.column(*c), row);
        let name = self.config.name(self.config.key.iter().map(|k| (value(k), &self.schema.fields[*k].ty)));
        if batch.kind(row).sign() < 0 {
            let gone = vec![command(&[b"DEL", &name])];
            return Ok((name, gone));
        }
        let field = |c: &usize| {
            let f = &self.schema.fields[*c];
            (f.name.as_bytes(), text(&value(c), &f.ty))
        };
        let mut all = vec![];
        match (self.config.shape, &mut self.format) {
            (RowEncoding::Hash, _) => {
                let (mut there, gone): (Vec<_>, Vec<_>) =
                    self.config.rest.iter().map(field).partition(|(_, t)| t.is_some());
                if there.is_empty() {
                    // Redis has no empty hashes, so the fields of the key are written.
                    there = self.config.key.iter().map(field).collect();
                }
                if !gone.is_empty() {
                    let mut words = command(&[b"HDEL", &name]);
                    words.extend(gone.into_iter().map(|(n, _)| n.to_vec()));
                    all.push(words);
                }
                let mut words = command(&[b"HSET", &name]);
                there.into_iter().for_each(|(n, t)| words.extend([n.to_vec(), t.unwrap_or_default()]));
                all.push(words);
            }
            (RowEncoding::Text, _) => match self.config.rest.iter().map(field).next().and_then(|(_, t)| t) {
                Some(t) => all.push(command(&[b"SET", &name, &t])),
                None => all.push(command(&[b"DEL", &name])),
            },
            (RowEncoding::Formatted, Some(f)) => {
                let mut out = vec![];
                f.encode(batch, row, &self.config.rest, &mut out)?;
                all.push(command(&[b"SET", &name, &out]));
            }
            (RowEncoding::Formatted, None) => return Err(Error::internal("a format that was not made")),
        }
        if let Some(ttl) = self.ttl {
            all.push(command(&[b"PEXPIRE", &name, ttl.as_millis().to_string().as_bytes()]));
        }
        Ok((name, all))
    }
}

impl Sink for RedisWriter {
    fn write(&mut self, batch: Batch) -> Result<()> {
        for from in (0..batch.rows()).step_by(MOST) {
            let (mut rows, mut written) = (vec![], 0);
            for row in from..(from + MOST).min(batch.rows()) {
                let (name, commands) = self.row(&batch, row)?;
                let bytes = commands.iter().flatten().map(Vec::len).sum::<usize>();
                written += bytes;
                match self.connection {
                    Some(_) => rows.push(commands),
                    None => self.waiting.push(name, bytes, commands),
                }
            }
            if let Some(connection) = &mut self.connection {
                send(connection, self.claim.as_ref(), &rows)?;
            }
            self.context.metrics.bytes_out.inc_by(written as u64);
        }
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.rows.is_empty() {
            return Ok(SinkCheckpoint::default());
        }
        let mut entry = Vec::with_capacity(waiting.bytes);
        waiting.rows.iter().for_each(|r| pack(r, &mut entry));
        Ok(SinkCheckpoint { outbox: vec![entry], ..SinkCheckpoint::default() })
    }

    fn wants_epoch(&self) -> bool {
        self.waiting.bytes >= WAITING
    }
}
