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

pub(crate) use layout::value_of;
pub(crate) use sink::sink;
pub(crate) use source::source;
