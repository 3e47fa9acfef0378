//! Clients of a Kafka cluster. Property names of the Java client are translated into librdkafka's, and librdkafka's errors into Weir's.

use super::PROPERTIES;
use crate::options::TableSpec;
use crate::tls::{Tls, plain};
use backon::{BlockingRetryable, ConstantBuilder};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::error::Place;
use weir_core::thread::locked;
use weir_core::{Error, Result};

/// How long the cluster may take to answer a request at the start.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Properties of the Java client that have no meaning here.
const JAVA_ONLY: &[&str] = &[
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "max.poll.records",
    "partition.assignment.strategy",
    "auto.commit.interval.ms",
    "enable.auto.commit",
    "interceptor.classes",
    "max.block.ms",
    "flink.partition-discovery.interval-millis",
    "ssl.truststore.password",
    "ssl.truststore.type",
    "client.dns.lookup",
];

/// Properties that Weir sets itself, and the reason.
const OWN: &[(&str, &str)] = &[
    ("group.protocol", "Weir assigns partitions itself, and no group may take them away"),
    ("transactional.id", "it follows from the job's identity, so that a newer process ends an older one"),
    ("enable.auto.offset.store", "offsets belong to epochs"),
    ("enable.partition.eof", "bounded reading rests on it"),
    ("group.remote.assignor", "Weir assigns partitions itself"),
];

/// Properties, or prefixes of them, that make the client load code or run a command. A script must not be able to do that by an option.
const CODE: &[&str] = &[
    "plugin.library.paths",
    "interceptors",
    "ssl.engine.",
    "ssl_engine_callback_data",
    "ssl.providers",
    "sasl.kerberos.kinit.cmd",
    "ut_",
];

/// How to reach a table's cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    properties: BTreeMap<String, String>,
    table: String,
    place: Option<Place>,
    /// `properties.group.id`, if the table has it.
    pub group: Option<String>,
    /// `properties.auto.offset.reset`, if the table has it.
    pub reset: Option<String>,
}

impl Cluster {
    pub fn new(table: &TableSpec) -> Result<Self> {
        let mut properties = BTreeMap::new();
        let (mut group, mut reset) = (None, None);
        for (key, value) in table.all_of(&PROPERTIES) {
            let at = table.place_of_key(&format!("properties.{key}"));
            if let Some((_, why)) = OWN.iter().find(|(k, _)| *k == key) {
                let e = Error::script(format!("'properties.{key}' cannot be set: {why}"));
                return Err(e.at(at).hint("leave the option out"));
            }
            if CODE.iter().any(|c| key.starts_with(c)) {
                let e = Error::script(format!(
                    "'properties.{key}' cannot be set: it would load code into the process or run a command"
                ));
                return Err(e.at(at).hint("leave the option out"));
            }
            match key.as_str() {
                "enable.auto.commit" if value == "true" => {
                    let e = Error::script("'properties.enable.auto.commit' cannot be true: offsets belong to epochs");
                    return Err(e
                        .at(at)
                        .hint("leave the option out; a group's offsets are committed for tools to see"));
                }
                "zookeeper.connect" => {
                    tracing::warn!("table '{}': zookeeper.connect is ignored, Kafka has done without", table.name);
                }
                k if JAVA_ONLY.contains(&k) => {}
                "group.id" => group = Some(value),
                "auto.offset.reset" => reset = Some(value),
                "fetch.max.wait.ms" => drop(properties.insert("fetch.wait.max.ms".to_string(), value)),
                "max.request.size" => drop(properties.insert("message.max.bytes".to_string(), value)),
                "buffer.memory" => {
                    let kb = value.parse::<u64>().unwrap_or(32 << 20) / 1024;
                    properties.insert("queue.buffering.max.kbytes".to_string(), kb.max(1).to_string());
                }
                "sasl.jaas.config" => {
                    for (name, java) in [("sasl.username", "username"), ("sasl.password", "password")] {
                        let word = value.split_once(&format!("{java}=\"")).and_then(|(_, r)| r.split_once('"'));
                        let Some((word, _)) = word else {
                            let e = Error::script(format!("'properties.sasl.jaas.config' has no {java}=\"…\""));
                            return Err(e
                                .at(at)
                                .hint("'properties.sasl.username' and 'properties.sasl.password' do as well"));
                        };
                        properties.insert(name.to_string(), word.to_string());
                    }
                }
                "ssl.truststore.location" if value.ends_with(".jks") || value.ends_with(".p12") => {
                    let e = Error::script("a Java trust store cannot be read");
                    return Err(e.at(at).hint("give the certificates as PEM: 'properties.ssl.ca.location' = 'ca.pem'"));
                }
                "ssl.truststore.location" => drop(properties.insert("ssl.ca.location".to_string(), value)),
                _ => drop(properties.insert(key, value)),
            }
        }
        let tls = Tls::new(table)?;
        if let Some(pem) = tls.authorities {
            properties.insert("ssl.ca.pem".to_string(), String::from_utf8_lossy(&pem).into_owned());
        }
        if let Some(verify) = tls.verify {
            let protocol = properties.get("security.protocol").map_or(String::new(), |p| p.to_lowercase());
            if verify && !protocol.ends_with("ssl") {
                return Err(plain(table, "'properties.security.protocol' is SSL or SASL_SSL then"));
            }
            properties.insert("enable.ssl.certificate.verification".to_string(), verify.to_string());
            let name = if verify { "https" } else { "none" };
            properties.insert("ssl.endpoint.identification.algorithm".to_string(), name.to_string());
        }
        for key in [&mut group, &mut reset] {
            *key = key.take().filter(|v| !v.is_empty());
        }
        let cluster = Cluster { properties, table: table.name.clone(), place: table.place, group, reset };
        // An unknown property is reported where the table is declared, not when the job has half started.
        cluster.config().create_native_config().map(drop).map_err(|e| cluster.error("configure", &e))?;
        Ok(cluster)
    }

    pub fn servers(&self) -> &str {
        self.properties.get("bootstrap.servers").map_or("", String::as_str)
    }

    /// A configuration with the table's properties.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning).set("client.id", "weir");
        for (k, v) in &self.properties {
            config.set(k, v);
        }
        config
    }

    /// Defaults for librdkafka, for properties that the table does not give.
    pub fn default(&self, config: &mut ClientConfig, key: &str, value: &str) {
        if !self.properties.contains_key(key) {
            config.set(key, value);
        }
    }

    fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<T> {
        config.create_with_context(context).map_err(|e| self.error("connect to", &e))
    }

    /// A consumer that can read a group's committed offsets while a transaction that may change them is open.
    pub fn peeking(&self, group: &str) -> Result<BaseConsumer<ClientEvents>> {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false").set("isolation.level", "read_uncommitted");
        self.create(&config, ClientEvents::default())
    }

    /// A consumer that reads only the partitions that it is assigned, and commits nothing by itself.
    pub fn consumer(&self, group: &str) -> Result<BaseConsumer<ClientEvents>> {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true");
        self.default(&mut config, "fetch.wait.max.ms", "100");
        // A full queue is polled again soon. With librdkafka's default of a second, a fast job would have no records half of the time.
        self.default(&mut config, "fetch.queue.backoff.ms", "10");
        self.default(&mut config, "queued.min.messages", "50000");
        self.create(&config, ClientEvents::default())
    }

    /// A producer; with a transactional id, one that writes transactions.
    pub fn producer(
        &self,
        transactional_id: Option<&str>,
        context: ClientEvents,
    ) -> Result<BaseProducer<ClientEvents>> {
        let mut config = self.config();
        config.set("delivery.report.only.error", "true");
        self.default(&mut config, "partitioner", "murmur2_random");
        self.default(&mut config, "enable.idempotence", "true");
        self.default(&mut config, "compression.type", "lz4");
        self.default(&mut config, "queue.buffering.max.messages", "500000");
        self.default(&mut config, "queue.buffering.max.kbytes", "131072");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
            self.default(&mut config, "transaction.timeout.ms", "60000");
        }
        self.create(&config, context)
    }

    /// The partitions of the named topics, or of all topics.
    pub fn partitions(
        &self,
        consumer: &BaseConsumer<ClientEvents>,
        topics: Option<&[String]>,
    ) -> Result<Vec<(String, Vec<i32>)>> {
        let mut found = vec![];
        let mut take = |m: &Metadata| -> Result<()> {
            for t in m.topics() {
                match t.error().map(Code::from) {
                    None if !t.partitions().is_empty() => {
                        found.push((t.name().to_string(), t.partitions().iter().map(|p| p.id()).collect()));
                    }
                    None | Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                        let e = format!(
                            "there is no topic '{}' at {}, which table '{}' asks for",
                            t.name(),
                            self.servers(),
                            self.table
                        );
                        return Err(Error::script(e).at(self.place).hint("create it, or correct the option 'topic'"));
                    }
                    Some(code) => {
                        return Err(
                            self.error(&format!("read the topic '{}' at", t.name()), &KafkaError::MetadataFetch(code))
                        );
                    }
                }
            }
            Ok(())
        };
        match topics {
            None => take(&self.metadata(consumer, None)?)?,
            Some(names) => {
                for name in names {
                    take(&self.metadata(consumer, Some(name))?)?;
                }
            }
        }
        Ok(found)
    }

    /// Requests metadata. A cluster that rejects the client does not answer; only the client's events tell why.
    fn metadata(&self, consumer: &BaseConsumer<ClientEvents>, topic: Option<&str>) -> Result<Metadata> {
        let what = "ask for the topics of";
        let since = Instant::now();
        // Polling delivers events. No partition is assigned, so it delivers no records.
        let events = || while consumer.poll(Duration::ZERO).is_some() {};
        // An earlier rejection may no longer apply.
        events();
        consumer.context().forget();
        let ask = || -> Result<Metadata> {
            let asked = consumer.fetch_metadata(topic, Duration::from_secs(2));
            let Err(e) = asked else { return asked.map_err(|e| self.error(what, &e)) };
            events();
            let Some((code, why)) = consumer.context().refusal() else { return Err(self.error(what, &e)) };
            let mut e = self.error(what, &code);
            e.message = format!("{}: {why}", e.message);
            Err(e)
        };
        let waits = ConstantBuilder::new().with_delay(Duration::from_millis(100)).without_max_times();
        ask.retry(waits).when(|e: &Error| e.is_retriable() && since.elapsed() < PATIENCE).call()
    }

    /// Converts an error of librdkafka: an error that the user can fix belongs to the script, and an outage may be retried.
    pub fn error(&self, what: &str, e: &KafkaError) -> Error {
        self.classified(what, e).with_source(e.clone())
    }

    fn classified(&self, what: &str, e: &KafkaError) -> Error {
        let servers = self.servers();
        let said = match e {
            KafkaError::ClientConfig(_, why, ..) => {
                let e = Error::script(format!("table '{}': {why}", self.table)).at(self.place);
                return e.hint("the properties are librdkafka's; most have the names that Java's clients use");
            }
            other => other.rdkafka_error_code().map_or_else(|| other.to_string(), |c| c.to_string()),
        };
        let message = format!("cannot {what} Kafka at {servers} (table '{}'): {said}", self.table);
        let script = |hint: &str| Error::script(message.clone()).at(self.place).hint(hint);
        match e.rdkafka_error_code() {
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                script("check the user and the password: 'properties.sasl.username', 'properties.sasl.password'")
            }
            Some(Code::SSL) => script("check 'properties.security.protocol' and the certificates"),
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed,
            ) => script("the user lacks the right; ask who runs the cluster for an ACL"),
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => script("create the topic"),
            Some(Code::InvalidTransactionTimeout) => script(
                "lower 'properties.transaction.timeout.ms', or have the brokers' transaction.max.timeout.ms raised",
            ),
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Error::data(message.clone())
                .hint("raise the topic's max.message.bytes and 'properties.max.request.size'"),
            Some(Code::InvalidTimestamp) => Error::data(message.clone()).hint(
                "the clock that the record's time is from is ahead or behind by more than the topic's \
                 message.timestamp.after.max.ms and message.timestamp.before.max.ms allow",
            ),
            Some(Code::InvalidRecord) => Error::data(message.clone())
                .hint("the topic's settings refuse it: a compacted topic takes no record without a key"),
            _ => Error::io(message.clone()).hint("check that the address is right and the cluster runs"),
        }
    }
}

/// Receives the client's events: its log, and messages that could not be delivered.
#[derive(Clone, Default)]
pub(super) struct ClientEvents {
    failed: Arc<Mutex<Option<KafkaError>>>,
    refused: Arc<Mutex<Option<(KafkaError, String)>>>,
}

impl ClientEvents {
    /// The first delivery failure since the last call.
    pub fn failure(&self) -> Option<KafkaError> {
        locked(&self.failed).take()
    }
    /// Forgets that the cluster has rejected the client.
    fn forget(&self) {
        *locked(&self.refused) = None;
    }
    /// How the cluster has rejected the client since then, if it has: because of the password, or of either side's certificate.
    pub fn refusal(&self) -> Option<(KafkaError, String)> {
        locked(&self.refused).clone()
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!("kafka: {message}");
            }
            _ => tracing::debug!("kafka: {facility}: {message}"),
        }
    }
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            return;
        }
        if matches!(error.rdkafka_error_code(), Some(Code::Authentication | Code::SSL)) {
            locked(&self.refused).get_or_insert((error.clone(), reason.to_string()));
        }
        tracing::warn!("kafka: {error}: {reason}");
    }
}

impl ConsumerContext for ClientEvents {}

impl ProducerContext for ClientEvents {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((e, _)) = result {
            locked(&self.failed).get_or_insert(e.clone());
        }
    }
}
