//! Redis: a table by key, written and looked up. A row is a hash whose fields are its columns, or a string.

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
    /// What the columns beside the key are in.
    enum Holds { Hash = "hash", String = "string" }
}

options! {
    OPTIONS:
    URL: String = Opt::address("url", "`redis://`, or `rediss://` for TLS").required();
    PREFIX: String = Opt::text("key-prefix", "what the keys begin with").default("");
    DELIMITER: String = Opt::text("key-delimiter", "what stands between the parts of a key").default(":");
    HOLDS: Holds = Opt::one_of(
        "value.type",
        "`hash`: the other columns are its fields; `string`: the one other column, or all others in a format. `string` with a format, `hash` without one where nothing is said",
    );
    FORMAT: String = Opt::format("format", RECORDS, "the other columns as a string in a format, such as `json`");
    TIMEOUT: Duration = Opt::some_time("timeout", "of connecting and of an answer").default("10 s");
}

options! {
    OF_SINK:
    TTL: Duration = Opt::some_time("sink.ttl", "a row that is not written for this time goes").how().of(&[Role::Sink]);
    SINK_RETRIES: u32 =
        Opt::whole("sink.max-retries", 0, u32::MAX as i64, "attempts after a lost connection").default("3").how().of(&[Role::Sink]);
    DELIVERY: Delivery = guarantee(
        "at-least-once",
        "`at-least-once`; `exactly-once` is refused, since a row that is written twice is there once",
    );
}

options! {
    OF_LOOKUP:
    RETRIES: u32 =
        Opt::whole("lookup.max-retries", 0, u32::MAX as i64, "attempts after a lost connection").default("3").how().of(&[Role::Lookup]);
}
