//! Databases with JDBC URLs: MySQL, MariaDB and PostgreSQL.

mod claim;
mod config;
mod database;
mod lookup;
mod page_reader;
mod rows;
mod scan;
mod sink;
mod source;
mod statements;

use crate::delivery::{Delivery, guarantee};
use crate::registered::Connector;
use crate::{login, lookup_cache, tls};
use std::time::Duration;
use weir_core::descriptor::{Changelog, Descriptor, PrimaryKey};
use weir_core::option_spec::{Opt, OptionSpec, Role};
use weir_core::options;

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(source::source),
    sink: Some(sink::sink),
    lookup: Some(lookup::lookup),
    ..Connector::new(&Descriptor {
        name: "jdbc",
        help: "reads, writes and looks up tables of MySQL, MariaDB and PostgreSQL",
        reads: Some(Changelog::InsertOnly),
        writes: Some(Changelog::Upsert),
        looks_up: true,
        options: &[
            OPTIONS,
            login::OPTIONS,
            tls::OPTIONS,
            OF_SOURCE,
            OF_SINK,
            lookup_cache::OPTIONS,
            OF_LOOKUP,
            lookup_cache::IDLE,
            IDLE,
        ],
        key: PrimaryKey::OfQuery,
        own_dead_letters: true,
        example: "CREATE TABLE t (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'jdbc', 'url' = 'jdbc:postgresql://db:5432/shop', 'table-name' = 't',
  'username' = 'weir', 'password' = 'not-so-secret'
)",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    URL: String = Opt::address(
        "url",
        "the JDBC URL: `jdbc:mysql://`, `jdbc:mariadb://` or `jdbc:postgresql://` with host, port and database",
    )
    .required();
    TABLE: String = Opt::text("table-name", "the table's name, with its schema if that is not the current one").required()
        .older(&["table"]);
    PATIENCE: Duration = Opt::duration(
        "connection.max-retry-timeout",
        "how long to keep trying to connect before that counts as a failure; more than 5 s has no effect",
    )
    .default("60 s").how();
}

options! {
    OF_SOURCE:
    QUERY: String = Opt::text("scan.query", "a query to read instead of the whole table").of(&[Role::Source])
        .older(&["read.query"]);
    COLUMN: String =
        Opt::text("scan.partition.column", "the column whose ranges are the splits that subtasks read in parallel").of(&[Role::Source])
        .older(&["read.partition.column"]);
    PARTS: i64 = Opt::whole("scan.partition.num", 1, i64::MAX, "the number of splits, at most 10000; each is a query").of(&[Role::Source])
        .older(&["read.partition.num"]);
    LOWER: i64 = Opt::whole(
        "scan.partition.lower-bound",
        i64::MIN,
        i64::MAX,
        "the column's lowest value; rows with a lower one, or NULL, are in the first split",
    )
    .of(&[Role::Source])
        .older(&["read.partition.lower-bound"]);
    UPPER: i64 = Opt::whole(
        "scan.partition.upper-bound",
        i64::MIN,
        i64::MAX,
        "the column's highest value; rows with a higher one are in the last split",
    )
    .of(&[Role::Source])
        .older(&["read.partition.upper-bound"]);
    FETCH: usize = Opt::whole("scan.fetch-size", 0, i64::MAX, "how many rows to fetch at a time; 0 means the default")
        .default("8192").how().of(&[Role::Source])
        .older(&["read.fetch-size"]);
}

options! {
    OF_SINK:
    DELIVERY: Delivery = guarantee(
        "exactly-once",
        "`exactly-once` writes the rows of an epoch in one transaction; `at-least-once` may write rows again after a failure",
    );
    BUFFER: usize = Opt::whole(
        "sink.buffer-flush.max-rows",
        0,
        i64::MAX,
        "how many rows to write at a time with `at-least-once`; no effect with `exactly-once` and on results that change, whose rows \
         are written once their epoch is durable",
    )
    .default("100").how().of(&[Role::Sink])
        .older(&["write.flush.max-rows"]);
    SINK_RETRIES: u32 = Opt::whole(
        "sink.max-retries",
        0,
        u32::MAX as i64,
        "how often to retry a write after an outage with `at-least-once`; with `exactly-once` the restart strategy decides",
    )
    .default("3").how().of(&[Role::Sink])
        .older(&["write.max-retries"]);
}

options! {
    OF_LOOKUP:
    RETRIES: u32 = Opt::whole("lookup.max-retries", 0, u32::MAX as i64, "how often to retry a lookup after an outage")
        .default("3").how().of(&[Role::Lookup]);
    CONNECTIONS: usize =
        Opt::whole("lookup.connections", 1, 64, "how many connections each subtask opens at most").default("4").how().of(&[Role::Lookup]);
}

/// Options that are accepted without effect.
const IDLE: &[OptionSpec] = &[
    OptionSpec::idle("sink.buffer-flush.interval", "rows are written no later than at the end of their epoch")
        .older(&["write.flush.interval"])
        .how()
        .of(&[Role::Sink]),
    OptionSpec::idle("driver", "Weir connects to the database without a JDBC driver"),
    OptionSpec::idle("scan.auto-commit", "Weir connects to the database without a JDBC driver").how(),
];
