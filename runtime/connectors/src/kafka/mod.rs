//! Kafka: topics as streams of records (`kafka`) and as tables by key (`upsert-kafka`).

mod client;
mod layout;
mod native;
mod positions;
mod producer;
mod reader;
mod records;
mod shared;
mod sink;
mod source;
mod transactions;

use crate::delivery::{Delivery, guarantee};
use crate::format::RECORDS;
use crate::patterns::pattern;
use crate::registered::Connector;
use std::time::Duration;
use weir_core::descriptor::{Changelog, Descriptor, PrimaryKey};
use weir_core::option_spec::{FormatOf, Opt, OptionSpec, Role, Shown, Type};
use weir_core::{Error, choice, options};

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(|t| source::source(t, None)),
    sink: Some(|t| sink::sink(t, false)),
    record: Some(layout::value_of),
    ..Connector::new(&Descriptor {
        name: "kafka",
        help: "reads and writes topics as streams of records",
        reads: Some(Changelog::OfFormat),
        writes: Some(Changelog::OfFormat),
        options: &[TOPICS, RECORD, KEY_FIELDS, START, SOURCE, SINK, crate::tls::OPTIONS, CLIENT, KNOWN],
        metadata: &layout::METADATA_KEYS,
        replayed_with: &[(START_MODE.key(), "earliest-offset"), (STOP_MODE.key(), "latest-offset")],
        metadata_of_format: Some("value."),
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH (
  'connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json'
)",
        ..Descriptor::CONNECTOR
    })
};

pub(crate) const UPSERT: Connector = Connector {
    source: Some(|t| source::source(t, Some(positions::Start::Earliest))),
    sink: Some(|t| sink::sink(t, true)),
    record: Some(|t| {
        let e = Error::script(format!("dead letters of '{}' lack the key, and cannot be replayed", t.name));
        Err(e.at(t.place))
    }),
    ..Connector::new(&Descriptor {
        name: "upsert-kafka",
        help: "reads and writes a topic as a table by key: a record replaces the one before with its key, one without a value removes it",
        reads: Some(Changelog::Upsert),
        writes: Some(Changelog::Upsert),
        options: &[TOPICS, RECORD, SOURCE, SINK, crate::tls::OPTIONS, CLIENT, KNOWN],
        metadata: &layout::METADATA_KEYS,
        metadata_of_format: Some("value."),
        key: PrimaryKey::Required,
        example: "CREATE TABLE t (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092',
  'key.format' = 'json', 'value.format' = 'json'
)",
        ..Descriptor::CONNECTOR
    })
};

choice! {
    /// Which columns a message's value has.
    enum Included { All = "ALL", ExceptKey = "EXCEPT_KEY" }
}

choice! {
    /// Where a table begins.
    enum StartMode {
        Earliest = "earliest-offset",
        Latest = "latest-offset",
        Group = "group-offsets",
        Timestamp = "timestamp",
        Specific = "specific-offsets",
    }
}

choice! {
    /// Where it ends.
    enum StopMode {
        Never = "unbounded",
        Latest = "latest-offset",
        Group = "group-offsets",
        Timestamp = "timestamp",
        Specific = "specific-offsets",
    }
}

choice! {
    /// Which partition a message goes to.
    enum Partitioner {
        /// By the key's hash, as Java's clients do; without a key as librdkafka likes.
        Default = "default",
        /// A subtask, a partition.
        Fixed = "fixed",
        RoundRobin = "round-robin",
    }
}

const SOURCES: &[Role] = &[Role::Source];
const SINKS: &[Role] = &[Role::Sink];

options! {
    TOPICS:
    TOPIC: Vec<String> = Opt::list("topic", "the topic; of a source also several with `;` between them");
    TOPIC_PATTERN: String = Opt::checked(
        "topic-pattern",
        "a regular expression",
        pattern,
        "all topics whose whole name is of a regular expression, in place of `topic`",
    )
    .of(SOURCES);
}

options! {
    RECORD:
    FORMAT: String = Opt::format("format", RECORDS, "the format of the records' values");
    VALUE_FORMAT: String = Opt::format(
        "value.format",
        FormatOf { prefix: "value.", value: true, lines: false },
        "the same, with options that may begin with `value.`",
    );
    KEY_FORMAT: String = Opt::format(
        "key.format",
        FormatOf { prefix: "key.", value: false, lines: false },
        "the format of the keys, with options that may begin with `key.`",
    );
    KEY_PREFIX: String = Opt::text(
        "key.fields-prefix",
        "what the names of the key's columns begin with in the table but not in the record; with `EXCEPT_KEY`",
    )
    .default("");
    INCLUDED: Included =
        Opt::one_of("value.fields-include", "whether the key's columns are in the value, too: `ALL`, `EXCEPT_KEY`").default("ALL");
}

options! {
    KEY_FIELDS:
    KEYS: Vec<String> = Opt::list("key.fields", "the columns of the key, with `;` between them; with `key.format`");
}

options! {
    START:
    START_MODE: StartMode = Opt::one_of("scan.startup.mode", "where a source begins that is new").default("group-offsets").how().of(SOURCES)
        .older(&["startup-mode"]);
    START_MILLIS: i64 = Opt::whole("scan.startup.timestamp-millis", i64::MIN, i64::MAX, "where it begins, with `timestamp`").how().of(SOURCES)
        .older(&["startup-timestamp-millis"]);
    START_OFFSETS: String = Opt::text(
        "scan.startup.specific-offsets",
        "where it begins, with `specific-offsets`: `partition:0,offset:42;partition:1,offset:7`, maybe with `topic:a,` in front",
    )
    .how().of(SOURCES)
        .older(&["specific-offsets"]);
}

options! {
    SOURCE:
    STOP_MODE: StopMode = Opt::one_of("scan.bounded.mode", "where a source ends").default("unbounded").how().of(SOURCES);
    STOP_MILLIS: i64 = Opt::whole("scan.bounded.timestamp-millis", i64::MIN, i64::MAX, "where it ends, with `timestamp`").how().of(SOURCES);
    STOP_OFFSETS: String =
        Opt::text("scan.bounded.specific-offsets", "where it ends, with `specific-offsets`").how().of(SOURCES);
    DISCOVERY: Duration = Opt::duration(
        "scan.topic-partition-discovery.interval",
        "how often to look for new partitions; with `0` never",
    )
    .default("5 min").how().of(SOURCES);
}

options! {
    SINK:
    DELIVERY: Delivery = guarantee("at-least-once", "`at-least-once`, `exactly-once`");
    ID_PREFIX: String = Opt::text(
        "sink.transactional-id-prefix",
        "what the names of transactions, and of the mark, begin with",
    )
    .default("weir").how().of(SINKS);
    RENEWAL: Duration = Opt::duration(
        "sink.mark-renewal.interval",
        "how often the mark is written again while a job has nothing to write; clusters forget silent groups after \
         `offsets.retention.minutes`",
    )
    .default("1 d").how().of(SINKS);
    PARTITIONER: Partitioner = Opt::one_of(
        "sink.partitioner",
        "`default` (Java's murmur2 of the key), `fixed` (a partition for each subtask), `round-robin` (without a key)",
    )
    .default("default").how().of(SINKS)
        .older(&["sink-partitioner"]);
}

options! {
    CLIENT:
    PROPERTIES: String = Opt::text("properties.*", "properties of the client: librdkafka's").how().shown(Shown::Hidden);
}

/// A property of the client that anybody may see.
const fn property(key: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::new(key, Type::Text, help).how()
}

/// Properties of the client of which more is known; [`PROPERTIES`] reads them all.
const KNOWN: &[OptionSpec] = &[
    property("properties.bootstrap.servers", "the brokers to begin with").required(),
    property("properties.group.id", "the consumer group whose offsets are committed"),
    property(
        "properties.auto.offset.reset",
        "where to go on when what was to be read is gone, or a group has no offset",
    ),
    property("properties.security.protocol", "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`"),
    property("properties.sasl.mechanism", "such as `PLAIN` or `SCRAM-SHA-512`"),
];
