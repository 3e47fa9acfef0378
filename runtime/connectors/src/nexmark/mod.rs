//! The events of Nexmark, a benchmark of queries over the auctions of a site (Tucker, Tufte, Papadimos, Maier, "NEXMark: a benchmark for
//! queries over data streams", 2002). Columns, options, proportions and distributions are those of the connector `nexmark` that the
//! benchmark's queries for Flink are published with. Unlike there, each event follows from the seed and its number alone, so all runs
//! have the same events, whatever their parallelism.

mod columns;
mod site;

use crate::numbered::NumberedSource;
use crate::options::TableSpec;
use crate::registered::Connector;
use columns::Events;
use site::{Site, Sizes};
use std::sync::Arc;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::SourceFactory;
use weir_core::option_spec::{Opt, OptionSpec};
use weir_core::{Error, Result, options};

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(source),
    ..Connector::new(&Descriptor {
        name: "nexmark",
        help: "generates the events of the Nexmark benchmark: people, auctions and bids",
        reads: Some(Changelog::InsertOnly),
        options: &[OPTIONS, IDLE],
        rows_fail: false,
        example: "CREATE TABLE t (
  event_type INT, person ROW<id BIGINT, name STRING>, bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3)>
) WITH ('connector' = 'nexmark', 'events.num' = '100')",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    EVENTS: u64 = Opt::whole("events.num", 0, i64::MAX, "how many events to generate; 0 means events without end").default("0");
    RATE: u64 = Opt::whole(
        "first-event.rate",
        1,
        i64::MAX,
        "events per second of event time. Rows are emitted as fast as possible, unless the rate is limited",
    )
    .default("10000");
    LIMITED: bool =
        Opt::boolean("rate.limited", "whether to emit no more events per second than `first-event.rate`").default("false").how();
    AT_ONCE: bool = Opt::boolean("max-emit-speed", "`false` limits the rate as `rate.limited` does").default("true").how();
    KEEP_ALIVE: bool =
        Opt::boolean("keep-alive", "whether the source stays open after its last event, instead of ending").default("false").how();
    PEOPLE: u64 = Opt::whole("person.proportion", 1, MOST, "people in each round of events").default("1");
    AUCTIONS: u64 = Opt::whole("auction.proportion", 1, MOST, "auctions in each round of events").default("3");
    BIDS: u64 = Opt::whole("bid.proportion", 1, MOST, "bids in each round of events").default("46");
    HOT_AUCTIONS: u64 = Opt::whole(
        "bid.hot-ratio.auctions",
        1,
        i64::MAX,
        "1 in so many bids is in any auction that is open; the others are in a hot one, of which there is one in 100",
    )
    .default("2");
    HOT_BIDDERS: u64 = Opt::whole(
        "bid.hot-ratio.bidders",
        1,
        i64::MAX,
        "1 in so many bids is of anybody who is active; the others are of a hot bidder, who is one in 100",
    )
    .default("4");
    HOT_SELLERS: u64 = Opt::whole(
        "auction.hot-ratio.sellers",
        1,
        i64::MAX,
        "1 in so many auctions is of anybody who is active; the others are of a hot seller, who is one in 100",
    )
    .default("4");
    PERSON_SIZE: u64 = Opt::size("person.avg-size", "the size of a person on average, at most 64 kB").default("200b");
    AUCTION_SIZE: u64 = Opt::size("auction.avg-size", "the size of an auction on average, at most 64 kB").default("500b");
    BID_SIZE: u64 = Opt::size("bid.avg-size", "the size of a bid on average, at most 64 kB").default("100b");
    BASE_TIME: i64 = Opt::whole(
        "base-time",
        0,
        MOST_MILLIS,
        "the event time of the first event, in milliseconds since 1970; by default 2015-07-15 00:00:00",
    )
    .default("1436918400000");
    SEED: u64 = Opt::whole("seed", 0, i64::MAX, "the seed of random values; the same seed gives the same events").default("1");
}

/// The greatest proportion of a kind of event.
const MOST: i64 = 1_000_000;
/// The latest base time: the year 10000.
const MOST_MILLIS: i64 = 253_402_300_800_000;
/// The greatest size of an event, so that the texts of a batch fit Arrow's offsets.
const MOST_BYTES: u64 = 64 << 10;

const ONE_RATE: &str = "the rate stays that of the first event, as it does in Flink";

const IDLE: &[OptionSpec] = &[
    OptionSpec::idle("next-event.rate", ONE_RATE).how(),
    OptionSpec::idle("rate.shape", ONE_RATE).how(),
    OptionSpec::idle("rate.period", ONE_RATE).how(),
];

fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let size = |option: &Opt<u64>| {
        let bytes = table.value(option)?;
        if bytes > MOST_BYTES {
            let e = Error::script(format!("'{}' is {bytes} bytes, more than {MOST_BYTES}", option.key()));
            return Err(e.at(table.place_of(option)));
        }
        Ok(bytes as usize)
    };
    let rate = table.value(&RATE)?;
    let site = Site {
        seed: table.value(&SEED)?,
        people: table.value(&PEOPLE)?,
        auctions: table.value(&AUCTIONS)?,
        bids: table.value(&BIDS)?,
        hot_auctions: table.value(&HOT_AUCTIONS)?,
        hot_bidders: table.value(&HOT_BIDDERS)?,
        hot_sellers: table.value(&HOT_SELLERS)?,
        sizes: Sizes { person: size(&PERSON_SIZE)?, auction: size(&AUCTION_SIZE)?, bid: size(&BID_SIZE)? },
        base_time: table.value(&BASE_TIME)?,
        rate,
        channels: std::sync::OnceLock::new(),
    };
    let events = Events::new(site, table)?;
    let limited = table.value(&LIMITED)? || !table.value(&AT_ONCE)?;
    let count = Some(table.value(&EVENTS)?).filter(|n| *n > 0);
    let per_second = limited.then_some(rate as f64);
    Ok(Arc::new(NumberedSource::new(Arc::new(events), count, per_second, table.value(&KEEP_ALIVE)?)))
}
