//! A subtask of the source: it turns batches of messages into batches of rows.

use super::client::ClientEvents;
use super::layout::MessageField;
use super::native::{Message, Queue, TimestampType, cached_end};
use super::positions::{Partition, note};
use super::shared::SourceContext;
use crate::format::{DecodeError, Decoder, Refused, RowBuilder, without};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use weir_core::graph::{Collector, Polled, Source, SubtaskContext};
use weir_core::metrics::Lag;
use weir_core::origin::{Origin, Origins};
use weir_core::state::{Changes, Epoch};
use weir_core::watermarks::SplitId;
use weir_core::{Batch, Error, Result, RowKind, Schema, Value};

/// How long to wait when the queue is empty. It is short, so that a steady stream is not delayed.
const WAIT: Duration = Duration::from_millis(2);
/// How often in a row the queue has to be empty for a longer wait, and how long that is.
const IDLE: (u32, Duration) = (100, Duration::from_millis(20));

/// Where each row of the output comes from.
#[derive(Clone, Copy)]
enum From {
    Value(usize),
    Key(usize),
    Metadata(usize),
}

pub(super) struct PartitionReader {
    // The queue is dropped before its consumer.
    queue: Queue,
    consumer: Arc<BaseConsumer<ClientEvents>>,
    shared: Arc<SourceContext>,
    /// The generation of the source that this reader belongs to.
    generation: u64,
    context: SubtaskContext,
    value: Box<dyn Decoder>,
    key: Option<Box<dyn Decoder>>,
    metadata: Vec<MessageField>,
    metadata_schema: Schema,
    from: Vec<From>,
    partitions: Vec<Partition>,
    /// The topic of each partition, as batches refer to it.
    topics: Arc<[String]>,
    /// The index of a partition, by the topic's number and the partition's.
    places: HashMap<(usize, i32), usize>,
    /// Partitions whose position has changed since the last epoch.
    moved: Vec<bool>,
    /// Which partitions are open splits: announced, and not ended yet.
    open: Vec<bool>,
    /// Paused partitions, which are not assigned to the consumer.
    paused: BTreeSet<usize>,
    lag: Vec<Lag>,
    /// How often in a row the queue was empty.
    empty: u32,
    /// Whether the consumer has failed.
    failed: bool,
    /// The positions of the last epoch, which is durable when the next one is handed over.
    durable: Vec<(String, i32, i64)>,
}

impl PartitionReader {
    pub fn new(shared: Arc<SourceContext>, context: SubtaskContext) -> Result<Self> {
        let kept = shared.consumers.take_for(&context);
        let consumer = kept.map_or_else(|| shared.cluster.consumer(&shared.group).map(Arc::new), Ok)?;
        let layout = &shared.layout;
        let (value, key) = (shared.value.decoder(), shared.key.as_ref().map(|k| k.decoder()));
        let projected = |all: &[usize]| -> Vec<usize> {
            // A format returns the columns that are read, in the order in which they are read.
            shared.columns.iter().copied().filter(|c| all.contains(c)).collect()
        };
        let (of_value, of_key) = (projected(&layout.value), projected(&layout.key));
        let mut metadata = vec![];
        let mut fields = vec![];
        let from = shared
            .columns
            .iter()
            .zip(&shared.schema.fields)
            .map(|(c, field)| {
                // A column of both the key and the value is read from the key, because a tombstone has nothing else.
                if let Some(at) = of_key.iter().position(|k| k == c) {
                    return Ok(From::Key(at));
                }
                if let Some(at) = of_value.iter().position(|v| v == c) {
                    return Ok(From::Value(at));
                }
                let found = layout.metadata.iter().find(|(m, _)| m == c);
                let (_, m) = found.ok_or_else(|| Error::internal("a column of no part of a message"))?;
                metadata.push(*m);
                fields.push(field.clone());
                Ok(From::Metadata(metadata.len() - 1))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(PartitionReader {
            queue: Queue::of(consumer.client()),
            consumer,
            value,
            key,
            metadata,
            metadata_schema: Schema::new(fields),
            from,
            partitions: vec![],
            topics: Arc::default(),
            places: HashMap::new(),
            moved: vec![],
            open: vec![],
            paused: BTreeSet::new(),
            lag: vec![],
            empty: 0,
            failed: false,
            durable: vec![],
            generation: shared.generation.load(Ordering::Relaxed),
            shared,
            context,
        })
    }

    fn error(&self, what: &str, e: &KafkaError) -> Error {
        self.shared.cluster.error(what, e)
    }

    /// Takes over the partitions that were assigned to this subtask.
    fn assign(&mut self, out: &mut Collector) -> Result<()> {
        let mut assignments = self.shared.assignments();
        if self.shared.generation.load(Ordering::Relaxed) != self.generation {
            // The source was started again, and these assignments are for the readers of the new generation.
            return Ok(());
        }
        let Some(fresh) = assignments.remove(&self.context.subtask) else {
            return Ok(());
        };
        drop(assignments);
        let mut list = TopicPartitionList::new();
        for p in fresh {
            if !p.ended() {
                let added = list.add_partition_offset(&p.topic, p.partition, Offset::Offset(p.known.next));
                added.map_err(|e| self.error("read from", &e))?;
                out.add_split(SplitId(self.partitions.len() as u32), format!("{}-{}", p.topic, p.partition));
            }
            self.open.push(!p.ended());
            self.lag.push(self.context.metrics.source_lag(&p.topic, p.partition));
            self.moved.push(p.fresh);
            self.partitions.push(p);
        }
        self.topics = self.partitions.iter().map(|p| p.topic.clone()).collect();
        if list.count() > 0 {
            self.consumer.incremental_assign(&list).map_err(|e| self.error("read from", &e))?;
        }
        Ok(())
    }

    fn place(&mut self, m: &Message) -> Option<usize> {
        let number = (m.topic_number(), m.partition());
        if let Some(at) = self.places.get(&number) {
            return Some(*at);
        }
        let topic = m.topic();
        let at = self.partitions.iter().position(|p| p.topic == topic && p.partition == number.1)?;
        self.places.insert(number, at);
        Some(at)
    }

    /// Handles an event that comes in place of a message.
    fn event(&mut self, m: &Message, code: Code) -> Result<()> {
        let at = self.place(m);
        match code {
            Code::PartitionEOF => {
                if let Some(p) = at {
                    // Between the last record and the end offset there are only transaction markers.
                    let known = &mut self.partitions[p].known;
                    if known.stop.is_some() && m.offset() > known.next {
                        known.next = m.offset();
                        self.moved[p] = true;
                    }
                    self.lag[p].records.set(0);
                    self.lag[p].seconds.set(0.0);
                }
                Ok(())
            }
            Code::AutoOffsetReset | Code::OffsetOutOfRange => self.out_of_range(m, at),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                Err(Error::state(format!("the topic '{}' was deleted while it was read", m.topic()))
                    .hint("bring it back, or start anew with --fresh"))
            }
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::SaslAuthenticationFailed => {
                Err(self.error("read from", &KafkaError::MessageConsumption(code)))
            }
            // librdkafka retries after all other errors.
            _ => {
                tracing::warn!("kafka: {code}: {}", m.error_text());
                Ok(())
            }
        }
    }

    /// Handles a next offset that does not exist: the records are gone, or not there yet.
    fn out_of_range(&mut self, m: &Message, at: Option<usize>) -> Result<()> {
        let (topic, partition) = (m.topic(), m.partition());
        let wanted = at.map_or(-1, |p| self.partitions[p].known.next);
        let (low, high) = self
            .consumer
            .fetch_watermarks(&topic, partition, Duration::from_secs(10))
            .map_err(|e| self.error("ask for the offsets of", &e))?;
        let to = match self.shared.cluster.reset.as_deref() {
            Some("earliest") => low,
            Some("latest") => high,
            _ => {
                let e = Error::state(format!(
                    "record {wanted} of '{topic}', partition {partition}, comes next and is not there: there are {low} to {high}"
                ));
                return Err(e.hint(
                    "the cluster has dropped it, or the topic was cut; 'properties.auto.offset.reset' = 'earliest' goes on \
                     with the oldest one that is there, --fresh starts anew",
                ));
            }
        };
        tracing::warn!(
            "record {wanted} of '{topic}', partition {partition}, is not there; reading goes on at {to}, as asked"
        );
        if let Some(p) = at {
            self.partitions[p].known.next = to;
            self.moved[p] = true;
        }
        self.consumer
            .seek(&topic, partition, Offset::Offset(to), Duration::from_secs(10))
            .map_err(|e| self.error("read from", &e))
    }

    /// Adds a message's rows. Returns the error if the message cannot be read.
    fn take(
        &mut self,
        m: &Message,
        at: usize,
        value: &mut RowBuilder,
        key: &mut RowBuilder,
        metadata: &mut RowBuilder,
    ) -> Option<String> {
        let height = value.height;
        let read = match m.value() {
            Some(bytes) => self.value.record(bytes, value),
            // A tombstone: no row, or a deletion in an upsert table.
            None if self.shared.upsert => {
                let nulls = vec![Value::Null; value.columns.len()];
                value.push_kind(RowKind::Delete, &nulls);
                Ok(())
            }
            None => Ok(()),
        };
        if self.shared.upsert && m.value().is_some() {
            value.kinds.resize(value.height, RowKind::UpdateAfter as i8);
        }
        let mut wrong = match read {
            Ok(()) => None,
            Err(DecodeError::Record(why)) => Some(why),
            Err(DecodeError::Job(e)) => {
                value.failed = Some(e);
                return None;
            }
        };
        for _ in height..value.height {
            if let Some(k) = &mut self.key {
                let before = key.height;
                if wrong.is_none() {
                    match k.record(m.key().unwrap_or_default(), key) {
                        Ok(()) => {}
                        Err(DecodeError::Record(why)) => wrong = Some(format!("its key: {why}")),
                        Err(DecodeError::Job(e)) => value.failed = Some(e),
                    }
                }
                if key.height == before {
                    let nulls = vec![Value::Null; key.columns.len()];
                    key.push(&nulls);
                }
            }
            if !self.metadata.is_empty() {
                let row: Vec<Value<'_>> = self.metadata.iter().map(|kind| metadata_value(m, *kind)).collect();
                metadata.push(&row);
            }
        }
        value.close(height, at, wrong.is_none());
        wrong
    }

    fn rows(&mut self, messages: &[(usize, &Message)], out: &mut Collector) -> Result<()> {
        let mut value = RowBuilder::new(&self.shared.value.schema);
        let none = Schema::new(vec![]);
        let mut key = RowBuilder::new(self.shared.key.as_ref().map_or(&none, |k| &k.schema));
        let mut metadata = RowBuilder::new(&self.metadata_schema);
        let (metrics, statement) = (self.context.metrics.clone(), self.shared.value.statement.clone());
        let mut refused = Refused::new(self.shared.on_error, &metrics, &statement);
        for (i, (_, m)) in messages.iter().enumerate() {
            if let Some(why) = self.take(m, i, &mut value, &mut key, &mut metadata) {
                let origin = || place_of(&m.topic(), m.partition(), m.offset());
                refused.add(why, m.value().unwrap_or_default(), origin)?;
            }
            if let Some(e) = value.failed.take() {
                return Err(e);
            }
        }
        refused.finish(&*self.context.clock, out)?;
        metrics.nulled.inc_by(value.nulled + key.nulled);
        metrics.skipped.inc_by(value.skipped + key.skipped);
        let (starts, dropped) = (std::mem::take(&mut value.starts), std::mem::take(&mut value.dropped));
        let height = value.height;
        let value = value.finish(&self.shared.value.schema)?;
        let key = key.columns.into_iter().map(weir_core::ColumnBuilder::finish).collect::<Vec<_>>();
        let metadata = metadata.columns.into_iter().map(weir_core::ColumnBuilder::finish).collect::<Vec<_>>();
        let columns = self.from.iter().map(|f| match f {
            From::Value(i) => value.data.column(*i).clone(),
            From::Key(i) => key[*i].clone(),
            From::Metadata(i) => metadata[*i].clone(),
        });
        let origins = Messages {
            topics: self.topics.clone(),
            messages: messages.iter().map(|(p, m)| (*p as u32, m.partition(), m.offset())).collect(),
            values: self
                .shared
                .keeps_records
                .then(|| messages.iter().map(|(_, m)| m.value().unwrap_or_default().to_vec()).collect()),
            starts,
        };
        let batch = Batch::from_columns(self.shared.schema.arrow(), columns.collect(), height)?
            .with_kinds(value.kinds)
            .with_origins(Some(Origins::new(Arc::new(origins))));
        out.emit(without(batch, &dropped)?);
        Ok(())
    }
}

/// The value of a metadata column.
fn metadata_value(m: &Message, kind: MessageField) -> Value<'static> {
    match kind {
        MessageField::Topic => Value::string(m.topic()),
        MessageField::Partition => Value::Int(i64::from(m.partition())),
        MessageField::Offset => Value::Int(m.offset()),
        MessageField::Timestamp => match m.timestamp() {
            (_, TimestampType::None) => Value::Null,
            (t, _) => Value::Timestamp(t.div_euclid(1_000), t.rem_euclid(1_000) as u32 * 1_000_000),
        },
        MessageField::TimestampType => Value::string(
            match m.timestamp().1 {
                TimestampType::None => "NoTimestampType",
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            }
            .to_string(),
        ),
        MessageField::LeaderEpoch => m.leader_epoch().map_or(Value::Null, |e| Value::Int(i64::from(e))),
        MessageField::Headers => {
            // If several headers have the same name, the last one counts.
            let mut places: HashMap<String, usize> = HashMap::new();
            let mut map: Vec<(Value<'static>, Value<'static>)> = vec![];
            for (name, value) in m.headers() {
                let value = value.map_or(Value::Null, |v| Value::Bytes(v.into()));
                match places.get(&name) {
                    Some(at) => map[*at].1 = value,
                    None => {
                        places.insert(name.clone(), map.len());
                        map.push((Value::string(name), value));
                    }
                }
            }
            Value::Map(map)
        }
    }
}

fn place_of(topic: &str, partition: i32, offset: i64) -> String {
    format!("topic {topic}, partition {partition}, offset {offset}")
}

/// The messages that a batch was read from.
struct Messages {
    topics: Arc<[String]>,
    /// The index of the partition's topic, the partition and the offset of each message.
    messages: Vec<(u32, i32, i64)>,
    values: Option<Vec<Vec<u8>>>,
    /// The message of each row.
    starts: Vec<u32>,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} messages", self.messages.len())
    }
}

impl Origin for Messages {
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        let Some((message, (topic, partition, offset))) =
            self.starts.get(row as usize).and_then(|m| Some((*m as usize, self.messages.get(*m as usize)?)))
        else {
            return ("a topic".to_string(), None);
        };
        let value = self.values.as_ref().and_then(|v| v.get(message).cloned());
        (place_of(self.topics.get(*topic as usize).map_or("", String::as_str), *partition, *offset), value)
    }
    fn split(&self, row: u32) -> SplitId {
        let message = self.starts.get(row as usize).and_then(|m| self.messages.get(*m as usize));
        SplitId(message.map_or(u32::MAX, |(place, ..)| *place))
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        // The next reader of these partitions fetches again what was fetched but not read.
        if !self.failed && self.consumer.unassign().is_ok() {
            self.shared.consumers.keep(self.consumer.clone());
        }
    }
}

impl PartitionReader {
    fn read(&mut self, out: &mut Collector) -> Result<Polled> {
        self.assign(out)?;
        if self.partitions.iter().all(Partition::ended) {
            let more = self.shared.may_grow();
            return Ok(if more { Polled::Wait(Duration::from_millis(50)) } else { Polled::End });
        }
        // Messages that are there are processed at once, and meanwhile more arrive. The engine does the waiting, and counts it as idle
        // time.
        let messages = self.queue.take(self.context.batch_rows, Duration::ZERO);
        if messages.is_empty() {
            self.empty = self.empty.saturating_add(1);
            return Ok(Polled::Wait(if self.empty > IDLE.0 { IDLE.1 } else { WAIT }));
        }
        self.empty = 0;
        let mut good: Vec<(usize, &Message)> = Vec::with_capacity(messages.len());
        let mut bytes = 0;
        for m in &messages {
            if let Some(code) = m.error() {
                self.event(m, code)?;
                continue;
            }
            let Some(at) = self.place(m) else { continue };
            let known = &mut self.partitions[at].known;
            if m.offset() < known.next {
                continue;
            }
            if known.stop.is_some_and(|s| m.offset() >= s) {
                known.next = known.next.max(known.stop.unwrap_or(0));
            } else {
                known.next = m.offset() + 1;
                bytes += m.value().map_or(0, <[u8]>::len) + m.key().map_or(0, <[u8]>::len);
                good.push((at, m));
            }
            self.moved[at] = true;
        }
        self.context.metrics.bytes_in.inc_by(bytes as u64);
        for (i, (at, m)) in good.iter().enumerate() {
            let last = good.get(i + 1).is_none_or(|(next, _)| next != at);
            if last && let (t, TimestampType::CreateTime | TimestampType::LogAppendTime) = m.timestamp() {
                self.lag[*at].seconds.set(self.context.clock.now().saturating_sub(t).max(0) as f64 / 1_000.0);
            }
        }
        if !good.is_empty() {
            self.rows(&good, out)?;
        }
        for (at, open) in self.open.iter_mut().enumerate() {
            if *open && self.partitions[at].ended() {
                *open = false;
                out.end_split(SplitId(at as u32));
            }
        }
        Ok(Polled::More)
    }

    /// Pauses exactly these partitions. A paused partition is not assigned to the consumer. A resumed one is assigned from its current
    /// position, and the client fetches again what it had fetched of it.
    fn pause_only(&mut self, paused: BTreeSet<usize>) -> Result<()> {
        let (mut gone, mut back) = (TopicPartitionList::new(), TopicPartitionList::new());
        for at in paused.symmetric_difference(&self.paused) {
            let Some(p) = self.partitions.get(*at).filter(|p| !p.ended()) else { continue };
            let list = if paused.contains(at) { &mut gone } else { &mut back };
            let added = list.add_partition_offset(&p.topic, p.partition, Offset::Offset(p.known.next));
            added.map_err(|e| self.error("read from", &e))?;
        }
        if gone.count() > 0 {
            self.consumer.incremental_unassign(&gone).map_err(|e| self.error("pause", &e))?;
        }
        if back.count() > 0 {
            self.consumer.incremental_assign(&back).map_err(|e| self.error("read from", &e))?;
        }
        self.paused = paused;
        Ok(())
    }
}

impl Source for PartitionReader {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let polled = self.read(out);
        self.failed |= polled.is_err();
        polled
    }

    fn has_splits(&self) -> bool {
        true
    }

    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        let paused = self.pause_only(splits.iter().map(|s| s.0 as usize).collect());
        self.failed |= paused.is_err();
        paused
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        if self.shared.cluster.group.is_some() && !self.durable.is_empty() {
            // Commits the durable offsets to the consumer group, for monitoring tools. Recovery does not use them.
            let mut list = TopicPartitionList::new();
            for (t, p, o) in self.durable.drain(..) {
                let _ = list.add_partition_offset(&t, p, Offset::Offset(o));
            }
            if let Err(e) = self.consumer.commit(&list, CommitMode::Async) {
                tracing::debug!("kafka: offsets are not committed: {e}");
            }
        }
        for (i, p) in self.partitions.iter().enumerate() {
            if std::mem::take(&mut self.moved[i]) {
                note(&mut changes, p)?;
                self.durable.push((p.topic.clone(), p.partition, p.known.next));
            }
            if let Some(end) = cached_end(self.consumer.client(), &p.topic, p.partition) {
                self.lag[i].records.set((end - p.known.next).max(0));
                if end <= p.known.next {
                    self.lag[i].seconds.set(0.0);
                }
            }
        }
        Ok(changes)
    }
}
