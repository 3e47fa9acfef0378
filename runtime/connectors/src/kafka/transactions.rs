//! Exactly-once delivery to a cluster. The messages of an epoch wait in the epoch's file, which decides. They are written in one
//! transaction, together with a commit marker: the epoch, as the committed offset of a consumer group of Weir's own. A process that starts
//! reads the marker to know which epochs were delivered.

use super::client::{Cluster, PATIENCE};
use super::producer::Producer;
use crate::fencing::{Delivered, FoundMarker, contested, owner, reconcile, replaced, strange};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use weir_core::error::io;
use weir_core::graph::{CommitMarker, JobIdentity};
use weir_core::{Error, Result, failpoint};

/// A sink's transactions.
pub(super) struct Transactions {
    cluster: Cluster,
    topic: String,
    /// The prefix of the transactional id, which is also the id of the marker's consumer group.
    group: String,
    /// The client of the current generation.
    open: Option<TransactionalClient>,
    /// When the marker was last written.
    written: Instant,
    /// The error of a renewal that failed. The next delivery returns it.
    broken: Option<Error>,
    /// Whether this process has written the marker. If another process has written it since, this one was replaced.
    owned: bool,
    /// Whether the last transaction held only the marker.
    settled: bool,
}

struct TransactionalClient {
    producer: Producer,
    mark_reader: rdkafka::consumer::BaseConsumer<super::client::ClientEvents>,
    job: JobIdentity,
    owner: String,
    /// The last epoch that was delivered to the cluster.
    there: u64,
}

impl Transactions {
    /// `sink` is the sink's name within the job, and `prefix` the table's prefix of the transactional id.
    pub fn new(cluster: Cluster, topic: String, prefix: &str, sink: &str) -> Self {
        // [`Transactions::begin`] adds the job's id.
        let group = format!("{prefix}-{sink}");
        Transactions {
            cluster,
            topic,
            group,
            open: None,
            written: Instant::now(),
            broken: None,
            owned: false,
            settled: true,
        }
    }

    /// Rewrites the marker if it has not been written for `every`. Brokers delete the offsets of an inactive group after
    /// `offsets.retention.minutes`, and a job may have nothing to write for weeks.
    pub fn renew(&mut self, every: Duration) {
        if self.written.elapsed() < every || self.broken.is_some() {
            return;
        }
        if let Err(e) = self.mark_again() {
            tracing::warn!("the mark could not be renewed: {e}");
            self.broken = Some(e);
        }
    }

    /// Returns when all readers of committed records can read what was delivered. A transaction is committed before its markers are in all
    /// partitions, but the coordinator accepts the producer's next transaction only when they are. So this commits another one.
    pub fn settle(&mut self) -> Result<()> {
        if self.settled { Ok(()) } else { self.mark_again() }
    }

    /// Writes the marker in a transaction of its own. After a failure the client is closed.
    fn mark_again(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.producer.begin().map_err(|e| self.failed(&open, open.there, &e))?;
        self.send_mark(&open, open.there)?;
        self.commit(&open, open.there)?;
        self.written = Instant::now();
        self.settled = true;
        self.open = Some(open);
        Ok(())
    }

    /// Connects: aborts what an earlier process left open, then reads which epoch the cluster has. A client that has delivered the last
    /// epoch is kept.
    pub fn begin(&mut self, job: &JobIdentity, mark: Option<CommitMarker>) -> Result<()> {
        let broken = self.broken.take().is_some();
        let there = mark.map_or(0, |m| m.epoch.0);
        if !broken && self.open.as_ref().is_some_and(|o| o.job == *job && o.there == there) {
            return Ok(());
        }
        self.open = None;
        let id = format!("{}-{}", self.group, job.id);
        let mark_reader = self.cluster.consumer(&id)?;
        let owner = owner(job);
        let others = |found: &FoundMarker| self.owned && found.as_ref().is_some_and(|(other, _)| *other != owner);
        // Initializing a producer aborts the other process's transaction, which only the newer process may do. An open transaction may be
        // this process's own.
        if self.owned && others(&self.read(&self.cluster.peeking(&id)?)?) {
            return Err(replaced(&self.what()));
        }
        let producer = Producer::new(&self.cluster, &self.topic, Some(&id))?;
        producer
            .ask(PATIENCE, |p, time| p.init_transactions(time))
            .map_err(|e| self.cluster.error("begin transactions at", &e))?;
        failpoint::pass("kafka-fenced").map_err(io("begin at", self.topic.as_ref()))?;
        let found = self.read(&mark_reader)?;
        if others(&found) {
            return Err(replaced(&self.what()));
        }
        let ours = found.as_ref().is_some_and(|(other, _)| *other == owner);
        let there = match reconcile(&self.what(), job, found, mark)? {
            Delivered::UpTo(epoch) => epoch,
            Delivered::Nothing => 0,
        };
        let open = TransactionalClient { producer, mark_reader, job: job.clone(), owner, there };
        if !ours {
            // Each run, and each process, begins by writing a marker of its own.
            open.producer.begin().map_err(|e| self.cluster.error("write the first mark at", &e))?;
            self.send_mark(&open, there).and_then(|()| self.commit(&open, there))?;
        }
        self.owned = true;
        self.open = Some(open);
        self.written = Instant::now();
        Ok(())
    }

    fn what(&self) -> String {
        format!("the topic '{}' at {}", self.topic, self.cluster.servers())
    }

    /// The owner and the epoch in the marker.
    fn read(&self, consumer: &rdkafka::consumer::BaseConsumer<super::client::ClientEvents>) -> Result<FoundMarker> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, 0);
        let found =
            consumer.committed_offsets(list, PATIENCE).map_err(|e| self.cluster.error("read the mark at", &e))?;
        let elements = found.elements();
        Ok(elements.first().and_then(|e| match e.offset() {
            Offset::Offset(n) if n >= 0 => Some((e.metadata().to_string(), n as u64)),
            _ => None,
        }))
    }

    fn send_mark(&self, open: &TransactionalClient, epoch: u64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        let failed = |e: KafkaError| self.failed(open, epoch, &e);
        list.add_partition_offset(&self.topic, 0, Offset::Offset(epoch as i64)).map_err(failed)?;
        if let Some(mut e) = list.find_partition(&self.topic, 0) {
            e.set_metadata(&open.owner);
        }
        let group = open.mark_reader.group_metadata().ok_or_else(|| Error::internal("a consumer without a group"))?;
        let sent = open.producer.ask(PATIENCE, move |p, time| p.send_offsets_to_transaction(&list, &group, time));
        sent.map_err(|e| self.failed(open, epoch, &e))
    }

    fn commit(&self, open: &TransactionalClient, epoch: u64) -> Result<()> {
        let committed = open.producer.ask(PATIENCE * 2, |p, time| p.commit_transaction(time));
        committed.map_err(|e| self.failed(open, epoch, &e))
    }

    /// The error of a failed step of a delivery. The cluster fences a producer if another process has begun since, which ends the job, or
    /// if its transaction has timed out, which is an outage. The marker tells which one it was.
    fn failed(&self, open: &TransactionalClient, epoch: u64, e: &KafkaError) -> Error {
        let fenced = [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch];
        if [e.rdkafka_error_code(), open.producer.fatal()].into_iter().flatten().any(|c| fenced.contains(&c)) {
            return match self.read(&open.mark_reader) {
                Ok(Some((owner, there))) if owner == open.owner && (there == open.there || there == epoch) => {
                    let why = format!("{} has ended a transaction that took too long", self.what());
                    Error::io(why).hint("raise 'properties.transaction.timeout.ms' if that happens often")
                }
                Ok(_) if !self.owned => contested(&self.what()),
                Ok(_) => replaced(&self.what()),
                Err(e) => e,
            };
        }
        let failed = open.producer.failed(e);
        open.producer.abort();
        failed
    }

    /// Writes an epoch's messages, unless the cluster has them already.
    pub fn deliver(&mut self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        if let Some(e) = self.broken.take() {
            return Err(e);
        }
        let mut open = self.open.take().ok_or_else(|| Error::internal("a delivery before the beginning"))?;
        if open.there < mark.epoch.0 {
            if open.there != mark.previous.0 {
                let why = format!("epoch {} should follow {}, and it has {}", mark.epoch, mark.previous, open.there);
                return Err(strange(&self.what(), &why));
            }
            let pass = |name: &'static str| failpoint::pass(name).map_err(io("write to", self.topic.as_ref()));
            pass("kafka-transaction")?;
            open.producer.begin().map_err(|e| self.failed(&open, mark.epoch.0, &e))?;
            for entry in outbox {
                if let Err(e) = open.producer.produce(entry) {
                    open.producer.abort();
                    return Err(e);
                }
            }
            pass("kafka-produced")?;
            self.send_mark(&open, mark.epoch.0)?;
            pass("kafka-marked")?;
            self.commit(&open, mark.epoch.0)?;
            pass("kafka-committed")?;
            open.there = mark.epoch.0;
            self.settled = false;
            self.written = Instant::now();
        }
        self.open = Some(open);
        Ok(())
    }
}
