//! Writes rows to a topic: at once, or in one transaction for each epoch.

use super::client::{ClientEvents, Cluster};
use super::layout::{Layout, MessageField};
use super::producer::Producer;
use super::records::{PackedMessage, PackedMessages};
use super::transactions::Transactions;
use super::{DELIVERY, ID_PREFIX, PARTITIONER, Partitioner, RENEWAL, TOPIC};
use crate::delivery::Delivery;
use crate::format::{Encoder, EncoderFactory, encoder, encoder_of, has_changes};
use crate::idle_connections::IdleConnections;
use crate::options::TableSpec;
use rdkafka::consumer::BaseConsumer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use weir_core::error::io;
use weir_core::graph::{CommitMarker, JobIdentity, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::Epoch;
use weir_core::thread::{locked, spawn};
use weir_core::{Batch, Error, Result, RowKind, Value, failpoint};

/// Bytes of an epoch that a subtask buffers before it asks for the epoch to end early.
const WAITING: usize = 64 << 20;

/// Bytes that are packed before they are sent, if messages do not wait for their epoch.
const AT_ONCE: usize = 1 << 20;

struct KafkaSink {
    cluster: Cluster,
    topic: String,
    layout: Layout,
    value: EncoderFactory,
    key: Option<EncoderFactory>,
    partitioner: Partitioner,
    upsert: bool,
    /// Whether the format has the kind of each row, so that it can write deletions.
    changes: bool,
    /// Whether messages wait until their epoch is durable: with exactly-once, and if the query's results change. A repeated epoch may emit
    /// other intermediate changes, and a row that is not among them would never be retracted.
    waits: bool,
    /// With exactly-once.
    transactions: Option<Arc<Mutex<Transactions>>>,
    /// How often the commit marker is rewritten if nothing else is written.
    renewal: Duration,
    renewing: Once,
    partitions: Mutex<i32>,
    /// The consumer that requests metadata.
    admin: Mutex<Option<BaseConsumer<ClientEvents>>>,
    /// Producers that write messages at once, without waiting for the epoch.
    producers: IdleConnections<Producer>,
}

/// A table's sink. With `upsert`, it is that of `upsert-kafka`.
pub(super) fn sink(table: &TableSpec, upsert: bool) -> Result<Arc<dyn SinkFactory>> {
    let cluster = Cluster::new(table)?;
    let topics = table.value(&TOPIC)?;
    let [topic] = topics.as_slice() else {
        let e = Error::script(format!("a sink writes to one topic, not to '{}'", topics.join(";")));
        return Err(e.at(table.place_of(&TOPIC)));
    };
    let topic = topic.clone();
    let layout = Layout::new(table, upsert)?;
    let (format, prefix) = &layout.value_format;
    let value = encoder(&table.registered(format!("{topic}-value")), format, prefix, &layout.value)?.0;
    let key = layout.key_part(&table.registered(format!("{topic}-key")), encoder_of)?.map(|(make, _)| make);
    let partitioner = table.value(&PARTITIONER)?;
    if partitioner == Partitioner::RoundRobin && !layout.key.is_empty() {
        let e = Error::script("'sink.partitioner' = 'round-robin' goes with messages without a key");
        return Err(e.at(table.place_of(&PARTITIONER)));
    }
    let prefix = table.value(&ID_PREFIX)?;
    let exactly_once = table.value(&DELIVERY)? == Delivery::ExactlyOnce;
    let transactions =
        exactly_once.then(|| Transactions::new(cluster.clone(), topic.clone(), &prefix, &table.outside_name()));
    let transactions = transactions.map(|t| Arc::new(Mutex::new(t)));
    // Each renewal is a transaction.
    let renewal = table.value(&RENEWAL)?.max(Duration::from_millis(100));
    let changes = has_changes(format)?;
    Ok(Arc::new(KafkaSink {
        cluster,
        topic,
        layout,
        value,
        key,
        partitioner,
        upsert,
        changes,
        waits: transactions.is_some() || table.changes,
        transactions,
        renewal,
        renewing: Once::new(),
        partitions: Mutex::new(0),
        admin: Mutex::default(),
        producers: IdleConnections::default(),
    }))
}

impl SinkFactory for KafkaSink {
    fn begin(&self, job: &JobIdentity, mark: Option<CommitMarker>) -> Result<()> {
        // Requests the topic's metadata first, so a wrong address or name is reported at once.
        let admin = locked(&self.admin).take().map_or_else(|| self.cluster.consumer("weir"), Ok)?;
        let found = self.cluster.partitions(&admin, Some(std::slice::from_ref(&self.topic)))?;
        *locked(&self.admin) = Some(admin);
        *locked(&self.partitions) = found.first().map_or(1, |(_, p)| p.len() as i32);
        let Some(transactions) = &self.transactions else { return Ok(()) };
        locked(transactions).begin(job, mark)?;
        self.renewing.call_once(|| {
            let (weak, every) = (Arc::downgrade(transactions), self.renewal);
            let renew = move || {
                while let Some(t) = weak.upgrade() {
                    locked(&t).renew(every);
                    drop(t);
                    std::thread::sleep(every.min(Duration::from_secs(1)));
                }
            };
            if let Err(e) = spawn("weir-renewal", renew) {
                tracing::warn!("the mark of the topic '{}' is not renewed: {e}", self.topic);
            }
        });
        Ok(())
    }
    fn deliver(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        if let Some(t) = &self.transactions {
            return locked(t).deliver(mark, outbox);
        }
        // At least once: the whole outbox is sent again if this is interrupted.
        let mut producer = self.producer(self.producers.take())?;
        let pass = |name: &'static str| failpoint::pass(name).map_err(io("write to", self.topic.as_ref()));
        for entry in outbox {
            producer.produce(entry)?;
            pass("kafka-produced")?;
        }
        producer.flush()?;
        self.producers.keep(producer);
        Ok(())
    }
    fn ended(&self) -> Result<()> {
        self.transactions.as_ref().map_or(Ok(()), |t| locked(t).settle())
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        let producer = if self.waits { None } else { Some(self.producer(self.producers.take_for(&context))?) };
        let partitions = (*locked(&self.partitions)).max(1);
        Ok(Box::new(KafkaWriter {
            layout: self.layout.clone(),
            value: (self.value)(),
            key: self.key.as_ref().map(|k| k()),
            partition: match self.partitioner {
                Partitioner::Default => None,
                Partitioner::Fixed | Partitioner::RoundRobin => Some(context.subtask as i32 % partitions),
            },
            turns: (self.partitioner == Partitioner::RoundRobin).then_some(partitions),
            upsert: self.upsert,
            changes: self.changes,
            producer,
            producers: self.producers.clone(),
            records: PackedMessages::default(),
            going: BTreeMap::new(),
            going_bytes: 0,
            text: (vec![], vec![], vec![]),
            context,
        }))
    }
}

impl KafkaSink {
    /// A producer without transactions: an idle one, or a new one.
    fn producer(&self, kept: Option<Producer>) -> Result<Producer> {
        kept.map_or_else(|| Producer::new(&self.cluster, &self.topic, None), Ok)
    }
}

struct KafkaWriter {
    layout: Layout,
    value: Box<dyn Encoder>,
    key: Option<Box<dyn Encoder>>,
    partition: Option<i32>,
    /// The number of partitions that messages go to in turn.
    turns: Option<i32>,
    upsert: bool,
    changes: bool,
    /// Sends messages at once. Without it, they wait for their epoch.
    producer: Option<Producer>,
    producers: IdleConnections<Producer>,
    records: PackedMessages,
    /// The keys that were deleted in this epoch and not written again, with the metadata of their tombstones. Tombstones are written at the
    /// end of the epoch, so no reader sees a key vanish whose next row follows.
    going: BTreeMap<Vec<u8>, WrittenMetadata>,
    going_bytes: usize,
    /// Buffers for a row's value and key, and for the key of the next row.
    text: (Vec<u8>, Vec<u8>, Vec<u8>),
    context: SubtaskContext,
}

fn encode(e: &mut dyn Encoder, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    e.encode(batch, row, columns, out)
}

/// A header's name and value.
type OwnHeader = (Vec<u8>, Vec<u8>);

/// The timestamp and the headers that a row's metadata columns give its message.
type WrittenMetadata = (Option<i64>, Vec<OwnHeader>);

fn metadata_of(layout: &Layout, batch: &Batch, row: usize) -> WrittenMetadata {
    let (mut time, mut headers) = (None, vec![]);
    for (column, metadata) in &layout.metadata {
        match (metadata, Value::read(batch.data.column(*column), row)) {
            (MessageField::Timestamp, Value::Timestamp(s, n)) => time = Some(s * 1_000 + i64::from(n / 1_000_000)),
            (MessageField::Headers, Value::Map(items)) => {
                // As in Flink, headers without a name or a value are left out.
                let both = |(k, v): &(Value<'_>, Value<'_>)| Some((k.as_bytes()?.to_vec(), v.as_bytes()?.to_vec()));
                headers.extend(items.iter().filter_map(both));
            }
            _ => {}
        }
    }
    (time, headers)
}

fn borrowed(headers: &[OwnHeader]) -> Vec<(&[u8], Option<&[u8]>)> {
    headers.iter().map(|(k, v)| (k.as_slice(), Some(v.as_slice()))).collect()
}

impl Sink for KafkaWriter {
    fn write(&mut self, batch: Batch) -> Result<()> {
        for row in 0..batch.rows() {
            let kind = batch.kind(row);
            let (value, key, next) = &mut self.text;
            if let Some(k) = &mut self.key {
                encode(&mut **k, &batch, row, &self.layout.key, key)?;
                // A row that the next one replaces needs no tombstone, but it does if the new row is filtered out.
                if self.upsert && kind == RowKind::UpdateBefore && row + 1 < batch.rows() {
                    encode(&mut **k, &batch, row + 1, &self.layout.key, next)?;
                    if batch.kind(row + 1) == RowKind::UpdateAfter && key == next {
                        continue;
                    }
                }
            }
            if self.upsert && kind.sign() < 0 {
                self.going_bytes += key.len() + 64;
                self.going.insert(key.clone(), metadata_of(&self.layout, &batch, row));
                continue;
            }
            if !self.going.is_empty() {
                self.going.remove(key.as_slice());
            }
            encode(&mut *self.value, &batch, row, &self.layout.value, value)?;
            if !self.upsert && !self.changes && kind != RowKind::Insert {
                return Err(Error::internal(format!(
                    "a row of kind {} for a topic that only takes inserts",
                    kind.mark()
                )));
            }
            if let (Some(n), Some(p)) = (self.turns, &mut self.partition) {
                *p = (*p + 1) % n;
            }
            let (time, headers) = metadata_of(&self.layout, &batch, row);
            self.records.push(&PackedMessage {
                partition: self.partition,
                time,
                key: self.key.is_some().then_some(key.as_slice()),
                value: Some(value.as_slice()),
                headers: borrowed(&headers),
            });
            if self.records.bytes().len() >= AT_ONCE {
                self.hand_over()?;
            }
        }
        self.hand_over()
    }

    fn checkpoint(&mut self, _epoch: Epoch, last: bool) -> Result<SinkCheckpoint> {
        for (key, (time, headers)) in std::mem::take(&mut self.going) {
            let (partition, headers) = (self.partition, borrowed(&headers));
            self.records.push(&PackedMessage { partition, time, key: Some(&key), value: None, headers });
        }
        self.going_bytes = 0;
        self.hand_over()?;
        let mut outbox = vec![];
        match &self.producer {
            Some(p) => p.flush()?,
            None if self.records.len() > 0 => outbox.push(self.records.take()),
            None => {}
        }
        if last && let Some(p) = self.producer.take() {
            self.producers.keep(p);
        }
        Ok(SinkCheckpoint { outbox, ..SinkCheckpoint::default() })
    }

    fn wants_epoch(&self) -> bool {
        self.records.bytes().len() + self.going_bytes >= WAITING
    }
}

impl KafkaWriter {
    fn hand_over(&mut self) -> Result<()> {
        if let Some(p) = &mut self.producer {
            p.produce(self.records.bytes())?;
            self.context.metrics.bytes_out.inc_by(self.records.bytes().len() as u64);
            self.records.clear();
        }
        Ok(())
    }
}
