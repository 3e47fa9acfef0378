//! Databases that JDBC's URLs name: MySQL, MariaDB and PostgreSQL.

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
        "`jdbc:mysql://`, `jdbc:mariadb://` or `jdbc:postgresql://`, host, port and database",
    )
    .required();
    TABLE: String = Opt::text("table-name", "with its schema, if that is not the current one").required()
        .older(&["table"]);
    PATIENCE: Duration = Opt::duration(
        "connection.max-retry-timeout",
        "how long a lost connection is tried again before the attempt counts as failed",
    )
    .default("60 s").how();
}

options! {
    OF_SOURCE:
    QUERY: String = Opt::text("scan.query", "a query in place of the table").of(&[Role::Source])
        .older(&["read.query"]);
    COLUMN: String =
        Opt::text("scan.partition.column", "by which the table is cut into parts that several subtasks read").of(&[Role::Source])
        .older(&["read.partition.column"]);
    PARTS: i64 = Opt::whole("scan.partition.num", 1, i64::MAX, "how many parts, 10000 at most; each is a query").of(&[Role::Source])
        .older(&["read.partition.num"]);
    LOWER: i64 = Opt::whole("scan.partition.lower-bound", i64::MIN, i64::MAX, "of the first part").of(&[Role::Source])
        .older(&["read.partition.lower-bound"]);
    UPPER: i64 = Opt::whole("scan.partition.upper-bound", i64::MIN, i64::MAX, "of the last part").of(&[Role::Source])
        .older(&["read.partition.upper-bound"]);
    FETCH: usize = Opt::whole("scan.fetch-size", 0, i64::MAX, "rows at a time; with 0 the default").default("8192").how().of(&[Role::Source])
        .older(&["read.fetch-size"]);
}

options! {
    OF_SINK:
    DELIVERY: Delivery = guarantee("exactly-once", "`exactly-once`, `at-least-once`");
    BUFFER: usize = Opt::whole(
        "sink.buffer-flush.max-rows",
        0,
        i64::MAX,
        "rows written at once, at least once; no effect where rows wait for their epoch, as they do exactly once and where results change",
    )
    .default("100").how().of(&[Role::Sink])
        .older(&["write.flush.max-rows"]);
    SINK_RETRIES: u32 = Opt::whole(
        "sink.max-retries",
        0,
        u32::MAX as i64,
        "attempts, at least once; exactly once, the restart strategy tries again",
    )
    .default("3").how().of(&[Role::Sink])
        .older(&["write.max-retries"]);
}

options! {
    OF_LOOKUP:
    RETRIES: u32 = Opt::whole("lookup.max-retries", 0, u32::MAX as i64, "attempts after a lost connection").default("3").how().of(&[Role::Lookup]);
    CONNECTIONS: usize = Opt::whole("lookup.connections", 1, 64, "connections of a subtask at most").default("4").how().of(&[Role::Lookup]);
}

/// What is accepted and does nothing.
const IDLE: &[OptionSpec] = &[
    OptionSpec::idle("sink.buffer-flush.interval", "rows are written at the end of their epoch at the latest")
        .older(&["write.flush.interval"])
        .how()
        .of(&[Role::Sink]),
    OptionSpec::idle("driver", "the database is spoken to without a driver of Java's"),
    OptionSpec::idle("scan.auto-commit", "the database is spoken to without a driver of Java's").how(),
];
