//! Writes rows by key. A row that is written twice is there once, so that nothing has to wait for an epoch.

use super::config::{Config, Connection, Shape, text};
use crate::format::{Encoder, EncoderFactory, encoder};
use crate::options::TableSpec;
use std::sync::Arc;
use std::time::Duration;
use weir_core::graph::{JobIdentity, Mark, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::Epoch;
use weir_core::{Batch, Error, Result, Schema, Value};

/// Commands of a round trip at most.
const MOST: usize = 2_000;

struct RedisSink {
    config: Config,
    schema: Schema,
    ttl: Option<Duration>,
    format: Option<Arc<EncoderFactory>>,
}

pub(crate) fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let config = Config::new(table, &table.key, "sink.max-retries")?;
    if table.exactly_once(false)? {
        let e =
            Error::script("a row that is written to Redis twice is there once; there is no transaction to wait for");
        return Err(e.at(table.place_of("sink.delivery-guarantee")).hint("leave 'sink.delivery-guarantee' out"));
    }
    let format = match (config.shape, table.get("format")) {
        (Shape::Formatted, Some(f)) => Some(Arc::new(table.part("", &config.rest, f, encoder)?.0)),
        _ => None,
    };
    table.lookup_cache()?;
    table.get("lookup.max-retries");
    let ttl = table.duration("sink.ttl")?;
    Ok(Arc::new(RedisSink { config, schema: table.schema.clone(), ttl, format }))
}

impl SinkFactory for RedisSink {
    fn begin(&self, _job: &JobIdentity, _mark: Option<Mark>) -> Result<()> {
        Connection::new(&self.config).map(drop)
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        let connection = Connection::new(&self.config)?;
        self.config.kept.served(&context);
        Ok(Box::new(Writer {
            connection,
            config: self.config.clone(),
            schema: self.schema.clone(),
            ttl: self.ttl,
            format: self.format.as_ref().map(|f| f()),
            context,
        }))
    }
}

struct Writer {
    connection: Connection,
    config: Config,
    schema: Schema,
    ttl: Option<Duration>,
    format: Option<Box<dyn Encoder>>,
    context: SubtaskContext,
}

impl Writer {
    /// The commands that bring one row about.
    fn row(&mut self, batch: &Batch, row: usize, all: &mut redis::Pipeline) -> Result<usize> {
        let value = |c: &usize| Value::read(batch.data.column(*c), row);
        let name = self.config.name(self.config.key.iter().map(|k| (value(k), &self.schema.fields[*k].ty)));
        let mut bytes = name.len();
        if batch.kind(row).sign() < 0 {
            all.cmd("DEL").arg(name);
            return Ok(bytes);
        }
        let texts: Vec<(&str, Option<Vec<u8>>)> = match self.config.shape {
            Shape::Formatted => vec![],
            _ => {
                let of =
                    |c: &usize| (self.schema.fields[*c].name.as_str(), text(&value(c), &self.schema.fields[*c].ty));
                self.config.rest.iter().map(of).collect()
            }
        };
        bytes += texts.iter().map(|(_, t)| t.as_ref().map_or(0, Vec::len)).sum::<usize>();
        match (self.config.shape, &mut self.format) {
            (Shape::Hash, _) => {
                let (there, gone): (Vec<_>, Vec<_>) = texts.into_iter().partition(|(_, t)| t.is_some());
                if !gone.is_empty() {
                    all.cmd("HDEL").arg(&name).arg(gone.into_iter().map(|(n, _)| n).collect::<Vec<_>>());
                }
                if !there.is_empty() {
                    all.cmd("HSET").arg(&name);
                    for (n, t) in there {
                        all.arg(n).arg(t);
                    }
                }
            }
            (Shape::Text, _) => match texts.into_iter().next().and_then(|(_, t)| t) {
                Some(t) => _ = all.cmd("SET").arg(&name).arg(t),
                None => _ = all.cmd("DEL").arg(&name),
            },
            (Shape::Formatted, Some(f)) => {
                let mut out = vec![];
                f.encode(batch, row, &self.config.rest, &mut out)?;
                bytes += out.len();
                all.cmd("SET").arg(&name).arg(out);
            }
            (Shape::Formatted, None) => return Err(Error::internal("a format that was not made")),
        }
        if let Some(ttl) = self.ttl {
            all.cmd("PEXPIRE").arg(&name).arg(ttl.as_millis() as u64);
        }
        Ok(bytes)
    }
}

impl Sink for Writer {
    fn write(&mut self, batch: Batch) -> Result<()> {
        for from in (0..batch.rows()).step_by(MOST) {
            let mut all = redis::pipe();
            let mut bytes = 0;
            for row in from..(from + MOST).min(batch.rows()) {
                bytes += self.row(&batch, row, &mut all)?;
            }
            self.connection.run(&mut |c| all.exec(c))?;
            self.context.metrics.bytes_out.inc_by(bytes as u64);
        }
        Ok(())
    }
    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        Ok(SinkCheckpoint::default())
    }
}
