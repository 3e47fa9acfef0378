//! Redis: a table by key, for sinks and lookups. A row is a hash whose fields are its columns, or a string.

mod claim;
mod commands;
mod config;
mod lookup;
mod sink;

use crate::delivery::{Delivery, guarantee};
use crate::format::RECORDS;
use crate::registered::Connector;
use crate::{login, lookup_cache, tls};
use std::time::Duration;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::option_spec::{Opt, Role};
use weir_core::{choice, options};

pub(crate) const CONNECTOR: Connector = Connector {
    sink: Some(sink::sink),
    lookup: Some(lookup::lookup),
    ..Connector::new(&Descriptor {
        name: "redis",
        help: "writes rows by key, and looks rows up",
        writes: Some(Changelog::Upsert),
        looks_up: true,
        options: &[
            OPTIONS,
            login::OPTIONS,
            tls::OPTIONS,
            OF_SINK,
            lookup_cache::OPTIONS,
            OF_LOOKUP,
            lookup_cache::IDLE,
        ],
        rows_fail: false,
        example: "CREATE TABLE t (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'redis', 'url' = 'redis://host:6379/0', 'key-prefix' = 'name:'
)",
        ..Descriptor::CONNECTOR
    })
};

choice! {
    /// How the columns outside the key are stored.
    enum Holds { Hash = "hash", String = "string" }
}

options! {
    OPTIONS:
    URL: String = Opt::address("url", "the server's address: `redis://`, or `rediss://` for TLS").required();
    PREFIX: String = Opt::text("key-prefix", "the prefix of every key in Redis").default("");
    DELIMITER: String = Opt::text("key-delimiter", "the text between the columns of a key with several columns").default(":");
    HOLDS: Holds = Opt::one_of(
        "value.type",
        "how the columns outside the key are stored: as fields of a `hash`, or as a `string` that holds the only one, or all of them \
         in `format`. By default `string` if `format` is given, otherwise `hash`",
    );
    FORMAT: String =
        Opt::format("format", RECORDS, "the format of a string that holds all columns outside the key, such as `json`");
    TIMEOUT: Duration = Opt::some_time("timeout", "how long connecting may take, and how long each reply may take").default("10 s");
}

options! {
    OF_SINK:
    TTL: Duration = Opt::some_time("sink.ttl", "how long a row is kept after its last write; by default it does not expire")
        .how().of(&[Role::Sink]);
    SINK_RETRIES: u32 = Opt::whole("sink.max-retries", 0, u32::MAX as i64, "how often to retry a write after an outage")
        .default("3").how().of(&[Role::Sink]);
    DELIVERY: Delivery = guarantee(
        "at-least-once",
        "only `at-least-once` is supported; a row that is written twice is stored once, under its key",
    );
}

options! {
    OF_LOOKUP:
    RETRIES: u32 = Opt::whole("lookup.max-retries", 0, u32::MAX as i64, "how often to retry a lookup after an outage")
        .default("3").how().of(&[Role::Lookup]);
}
