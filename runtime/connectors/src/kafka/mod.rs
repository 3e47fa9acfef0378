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
        read_while_written: true,
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
        help: "reads and writes a topic as a table by key: a record replaces the previous one of its key, and a tombstone deletes it",
        reads: Some(Changelog::Upsert),
        writes: Some(Changelog::Upsert),
        options: &[TOPICS, RECORD, SOURCE, SINK, crate::tls::OPTIONS, CLIENT, KNOWN],
        metadata: &layout::METADATA_KEYS,
        read_while_written: true,
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
    /// Which columns the value of a record has.
    enum Included { All = "ALL", ExceptKey = "EXCEPT_KEY" }
}

choice! {
    /// Where a source without state starts reading.
    enum StartMode {
        Earliest = "earliest-offset",
        Latest = "latest-offset",
        Group = "group-offsets",
        Timestamp = "timestamp",
        Specific = "specific-offsets",
    }
}

choice! {
    /// Where a source stops reading.
    enum StopMode {
        Never = "unbounded",
        Latest = "latest-offset",
        Group = "group-offsets",
        Timestamp = "timestamp",
        Specific = "specific-offsets",
    }
}

choice! {
    /// How the partition of a record is chosen.
    enum Partitioner {
        /// By the key's hash, as the Java client does. Without a key, librdkafka chooses.
        Default = "default",
        /// Each subtask writes to one partition.
        Fixed = "fixed",
        RoundRobin = "round-robin",
    }
}

const SOURCES: &[Role] = &[Role::Source];
const SINKS: &[Role] = &[Role::Sink];

options! {
    TOPICS:
    TOPIC: Vec<String> = Opt::list("topic", "the topic; a source may read several, separated by `;`");
    TOPIC_PATTERN: String = Opt::checked(
        "topic-pattern",
        "a regular expression",
        pattern,
        "a regular expression: the source reads all topics whose whole name matches it; excludes `topic`",
    )
    .of(SOURCES);
}

options! {
    RECORD:
    FORMAT: String = Opt::format("format", RECORDS, "the format of the records' values");
    VALUE_FORMAT: String = Opt::format(
        "value.format",
        FormatOf { prefix: "value.", value: true, lines: false },
        "the same as `format`; the format's options may begin with `value.` then",
    );
    KEY_FORMAT: String = Opt::format(
        "key.format",
        FormatOf { prefix: "key.", value: false, lines: false },
        "the format of the records' keys, whose options may begin with `key.`; needs `key.fields` in `kafka`",
    );
    KEY_PREFIX: String = Opt::text(
        "key.fields-prefix",
        "a prefix that the key's columns have in the table but not in the record; needs `value.fields-include` to be `EXCEPT_KEY`",
    )
    .default("");
    INCLUDED: Included =
        Opt::one_of("value.fields-include", "`ALL` includes the key's columns in the value, `EXCEPT_KEY` does not").default("ALL");
}

options! {
    KEY_FIELDS:
    KEYS: Vec<String> = Opt::list("key.fields", "the columns of the record's key, separated by `;`; needs `key.format`");
}

options! {
    START:
    START_MODE: StartMode = Opt::one_of(
        "scan.startup.mode",
        "where a source without state starts reading; `group-offsets` needs `properties.group.id`",
    )
    .default("group-offsets").how().of(SOURCES)
        .older(&["startup-mode"]);
    START_MILLIS: i64 = Opt::whole(
        "scan.startup.timestamp-millis",
        i64::MIN,
        i64::MAX,
        "the timestamp to start at with `timestamp`, in milliseconds since 1970",
    )
    .how().of(SOURCES)
        .older(&["startup-timestamp-millis"]);
    START_OFFSETS: String = Opt::text(
        "scan.startup.specific-offsets",
        "the offsets to start at with `specific-offsets`: `partition:0,offset:42;partition:1,offset:7`, each optionally with `topic:a,` \
         in front; other partitions start at their earliest offset",
    )
    .how().of(SOURCES)
        .older(&["specific-offsets"]);
}

options! {
    SOURCE:
    STOP_MODE: StopMode = Opt::one_of("scan.bounded.mode", "where a source stops reading and ends; `unbounded` sources never do")
        .default("unbounded").how().of(SOURCES);
    STOP_MILLIS: i64 = Opt::whole(
        "scan.bounded.timestamp-millis",
        i64::MIN,
        i64::MAX,
        "the timestamp to stop at with `timestamp`, in milliseconds since 1970",
    )
    .how().of(SOURCES);
    STOP_OFFSETS: String = Opt::text(
        "scan.bounded.specific-offsets",
        "the offsets to stop at with `specific-offsets`, as in `scan.startup.specific-offsets`; other partitions stop at the offset \
         that was their latest at the start",
    )
    .how().of(SOURCES);
    DISCOVERY: Duration = Opt::duration(
        "scan.topic-partition-discovery.interval",
        "how often to look for new partitions; never with `0`, or if the source is bounded",
    )
    .default("5 min").how().of(SOURCES);
}

options! {
    SINK:
    DELIVERY: Delivery = guarantee(
        "at-least-once",
        "`exactly-once` writes the records of an epoch in one transaction; `at-least-once` may write records again after a failure",
    );
    ID_PREFIX: String = Opt::text(
        "sink.transactional-id-prefix",
        "the prefix of the sink's transactional id, and of the consumer group that holds its commit marker",
    )
    .default("weir").how().of(SINKS);
    RENEWAL: Duration = Opt::duration(
        "sink.mark-renewal.interval",
        "how often the commit marker is rewritten while there is nothing to write; it must be shorter than the brokers' \
         `offsets.retention.minutes`, after which they delete the marker",
    )
    .default("1 d").how().of(SINKS);
    PARTITIONER: Partitioner = Opt::one_of(
        "sink.partitioner",
        "`default` hashes the key with murmur2 as the Java client does, `fixed` writes all records of a subtask to one partition, \
         `round-robin` takes turns and needs records without a key",
    )
    .default("default").how().of(SINKS)
        .older(&["sink-partitioner"]);
}

options! {
    CLIENT:
    PROPERTIES: String =
        Opt::text("properties.*", "properties of librdkafka, the client; some names of Java's client work too").how().shown(Shown::Hidden);
}

/// A property of the client whose value is no secret.
const fn property(key: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec::new(key, Type::Text, help).how()
}

/// Properties of the client with help texts of their own. [`PROPERTIES`] reads all properties.
const KNOWN: &[OptionSpec] = &[
    property("properties.bootstrap.servers", "the brokers to connect to first, as `host:port` separated by commas")
        .required(),
    property(
        "properties.group.id",
        "the consumer group whose offsets `group-offsets` reads, and to which the source commits its own",
    ),
    property(
        "properties.auto.offset.reset",
        "`earliest` or `latest`: where to continue when the next offset no longer exists, or the group has none; otherwise the job ends",
    ),
    property(
        "properties.security.protocol",
        "how to connect to the brokers: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`",
    ),
    property("properties.sasl.mechanism", "the SASL mechanism, such as `PLAIN` or `SCRAM-SHA-512`"),
];
