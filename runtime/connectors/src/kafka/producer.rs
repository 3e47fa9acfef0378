//! A producer that sends many messages with one call.

use super::client::{ClientEvents, Cluster};
use super::native::{Plain, Topic};
use super::records::{PackedMessage, unpack};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_core::thread::within;
use weir_core::{Error, Result};

/// How many messages one call sends.
const BATCH: usize = 10_000;

/// How long the producer's queue may be full before that counts as an outage.
const REFUSED: Duration = Duration::from_secs(60);

/// How long after a transaction's failure the delivery report of the failed message may come.
const REPORT: Duration = Duration::from_secs(1);

/// How long a call may exceed its time-out before it is abandoned. librdkafka 2.12 almost always keeps to the time-out. After all brokers
/// of a cluster had been restarted, though, `rd_kafka_send_offsets_to_transaction` never returned.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait for a failed transaction to be aborted. The next producer aborts it anyway.
const ABORTING: Duration = Duration::from_secs(5);

/// A producer for one topic.
pub(super) struct Producer {
    // The topic is dropped before its producer.
    topic: Topic,
    inner: Arc<BaseProducer<ClientEvents>>,
    /// Whether a call has not returned. The client is not used any more then.
    hangs: AtomicBool,
    context: ClientEvents,
    cluster: Cluster,
    name: String,
}

impl Producer {
    pub fn new(cluster: &Cluster, topic: &str, transactional_id: Option<&str>) -> Result<Self> {
        let context = ClientEvents::default();
        let inner = cluster.producer(transactional_id, context.clone())?;
        let handle = Topic::of(inner.client(), topic)
            .ok_or_else(|| Error::script(format!("'{topic}' cannot be the name of a topic")))?;
        let (inner, hangs) = (Arc::new(inner), AtomicBool::new(false));
        Ok(Producer { topic: handle, inner, hangs, context, cluster: cluster.clone(), name: topic.to_string() })
    }

    /// The code of the fatal error of the client, if it has one.
    pub fn fatal(&self) -> Option<Code> {
        self.inner.client().fatal_error().map(|(code, _)| code)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// If the client is in a state that does not allow it.
    pub fn begin(&self) -> KafkaResult<()> {
        self.inner.begin_transaction()
    }

    /// Runs a call that sends a request to the cluster, with a time-out.
    ///
    /// # Errors
    /// The client's error, or a time-out if the call does not return.
    pub fn ask(
        &self,
        time: Duration,
        f: impl FnOnce(&BaseProducer<ClientEvents>, Duration) -> KafkaResult<()> + Send + 'static,
    ) -> KafkaResult<()> {
        if self.hangs.load(Ordering::Relaxed) {
            return Err(KafkaError::Global(Code::OperationTimedOut));
        }
        let inner = self.inner.clone();
        within("weir-kafka", time + GRACE, move || f(&inner, time))
            .unwrap_or_else(|e| {
                tracing::warn!("{e}");
                Some(Err(KafkaError::Global(Code::CriticalSystemResource)))
            })
            .unwrap_or_else(|| {
                tracing::warn!("the client of the topic '{}' does not come back: it is given up", self.name);
                self.hangs.store(true, Ordering::Relaxed);
                Err(KafkaError::Global(Code::OperationTimedOut))
            })
    }

    /// Aborts a failed transaction, if possible.
    pub fn abort(&self) {
        if let Err(e) = self.ask(ABORTING, |p, time| p.abort_transaction(time)) {
            tracing::debug!("the transaction was not aborted: {e}");
        }
    }

    /// The error of a failed call. A message that could not be delivered fails its transaction, and every call after that only reports an
    /// invalid state. The cause is then in the message's delivery report, which polling delivers.
    pub fn failed(&self, e: &KafkaError) -> Error {
        let mut cause = None;
        if e.rdkafka_error_code() == Some(Code::State) {
            let since = Instant::now();
            while cause.is_none() && since.elapsed() < REPORT {
                self.inner.poll(Duration::from_millis(10));
                cause = self.context.failure();
            }
        }
        self.cluster.error(&format!("write to the topic '{}' of", self.name), cause.as_ref().unwrap_or(e))
    }

    /// Hands packed messages to the client, which sends them in the background.
    pub fn produce(&mut self, packed: &[u8]) -> Result<()> {
        let mut plain = Vec::with_capacity(BATCH);
        for r in unpack(packed) {
            if r.time.is_some() || !r.headers.is_empty() {
                self.flush_plain(&mut plain)?;
                self.one(&r)?;
                continue;
            }
            plain.push(Plain { partition: r.partition.unwrap_or(-1), key: r.key, value: r.value });
            if plain.len() == BATCH {
                self.flush_plain(&mut plain)?;
            }
        }
        self.flush_plain(&mut plain)?;
        self.inner.poll(Duration::ZERO);
        self.check()
    }

    fn flush_plain(&mut self, messages: &mut Vec<Plain<'_>>) -> Result<()> {
        let since = Instant::now();
        while !messages.is_empty() {
            let refused = self.topic.produce(messages);
            let mut again = vec![];
            for (i, code) in refused {
                if code != Code::QueueFull {
                    return Err(self.failed(&KafkaError::MessageProduction(code)));
                }
                again.push(i);
            }
            let mut at = 0;
            let mut next = again.iter().peekable();
            messages.retain(|_| {
                at += 1;
                next.next_if(|i| **i == at - 1).is_some()
            });
            if !messages.is_empty() {
                self.wait(since, &KafkaError::MessageProduction(Code::QueueFull))?;
            }
        }
        Ok(())
    }

    /// Waits until the queue has room again.
    fn wait(&self, since: Instant, e: &KafkaError) -> Result<()> {
        self.inner.poll(Duration::from_millis(10));
        self.check()?;
        if since.elapsed() > REFUSED { Err(self.failed(e)) } else { Ok(()) }
    }

    fn one(&self, r: &PackedMessage<'_>) -> Result<()> {
        let since = Instant::now();
        loop {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.name);
            record.key = r.key;
            record.payload = r.value;
            record.partition = r.partition;
            record.timestamp = r.time;
            if !r.headers.is_empty() {
                let mut headers = OwnedHeaders::new_with_capacity(r.headers.len());
                for (key, value) in &r.headers {
                    let key = &String::from_utf8_lossy(key);
                    headers = headers.insert(Header { key, value: *value });
                }
                record.headers = Some(headers);
            }
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((e, _)) if e.rdkafka_error_code() == Some(Code::QueueFull) => self.wait(since, &e)?,
                Err((e, _)) => return Err(self.failed(&e)),
            }
        }
    }

    /// Waits until the cluster has acknowledged all messages.
    pub fn flush(&self) -> Result<()> {
        let since = Instant::now();
        while self.inner.in_flight_count() > 0 {
            let e = KafkaError::Flush(Code::MessageTimedOut);
            self.wait(since, &e)?;
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        match self.context.failure() {
            Some(e) => Err(self.failed(&e)),
            None => Ok(()),
        }
    }
}
