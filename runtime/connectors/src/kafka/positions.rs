//! Where a source starts and stops reading, and how far it has read.

use super::{START_MILLIS, START_MODE, START_OFFSETS, STOP_MILLIS, STOP_MODE, STOP_OFFSETS, StartMode, StopMode};
use crate::options::TableSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_core::option_spec::Opt;
use weir_core::state::{Changes, StateHandle};
use weir_core::{Error, Result};

/// How far a partition was read, as the state has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartitionProgress {
    /// The offset of the next record.
    pub next: i64,
    /// The offset at which reading stops, if the source is bounded.
    pub stop: Option<i64>,
    /// The topic's id. A topic that was deleted and created again has another one.
    pub topic_id: Option<String>,
}

/// A partition and how far it was read.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub topic: String,
    pub partition: i32,
    pub known: PartitionProgress,
    /// Whether the state does not have the partition yet.
    pub fresh: bool,
}

impl Partition {
    pub fn new(topic: &str, partition: i32, topic_id: Option<String>) -> Self {
        let known = PartitionProgress { topic_id, ..PartitionProgress::default() };
        Partition { topic: topic.to_string(), partition, known, fresh: false }
    }
    /// Whether the partition was read up to its stop offset.
    pub fn ended(&self) -> bool {
        self.known.stop.is_some_and(|s| self.known.next >= s)
    }
}

pub(super) fn key_of(topic: &str, partition: i32) -> Vec<u8> {
    [b"\0\0k", topic.as_bytes(), b"\0", &partition.to_be_bytes()].concat()
}

impl PartitionProgress {
    /// Reads all positions from a source's state.
    pub fn read(state: &StateHandle) -> Result<BTreeMap<(String, i32), PartitionProgress>> {
        let mut all = BTreeMap::new();
        for (k, v) in state.scan(b"\0\0k")? {
            let damaged =
                || Error::state("the position of a partition in the state is damaged").hint("start with --fresh");
            let (topic, partition) = k[3..].split_last_chunk::<4>().ok_or_else(damaged)?;
            let topic = String::from_utf8_lossy(topic.strip_suffix(b"\0").ok_or_else(damaged)?).into_owned();
            let known = serde_json::from_slice(&v).map_err(|_| damaged())?;
            all.insert((topic, i32::from_be_bytes(*partition)), known);
        }
        Ok(all)
    }
}

/// Writes a partition's position to the changes, under the key that [`PartitionProgress::read`] reads.
pub(super) fn note(changes: &mut Changes, p: &Partition) -> Result<()> {
    let value = serde_json::to_vec(&p.known).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
    changes.set(&key_of(&p.topic, p.partition), &value);
    Ok(())
}

/// Offsets that a table names: each for a partition of one topic, or of every topic.
type Specific = Vec<(Option<String>, i32, i64)>;

/// Where a source without state starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    Group,
    Timestamp(i64),
    Specific(Specific),
}

/// Where a source stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Never,
    Latest,
    Group,
    Timestamp(i64),
    Specific(Specific),
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific(table: &TableSpec, option: &Opt<String>) -> Result<Specific> {
    let text = table.value(option)?;
    let wrong = || {
        let key = option.key();
        let e = Error::script(format!("'{key}' is not like 'partition:0,offset:42;partition:1,offset:300': '{text}'"));
        e.at(table.place_of(option))
    };
    let mut all = vec![];
    for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let (mut topic, mut partition, mut offset) = (None, None, None);
        for field in part.split(',') {
            let (name, value) = field.split_once(':').ok_or_else(wrong)?;
            match name.trim() {
                "topic" => topic = Some(value.trim().to_string()),
                "partition" => partition = value.trim().parse().ok(),
                "offset" => offset = value.trim().parse().ok().filter(|o: &i64| *o >= 0),
                _ => return Err(wrong()),
            }
        }
        all.push((topic, partition.ok_or_else(wrong)?, offset.ok_or_else(wrong)?));
    }
    if all.is_empty() { Err(wrong()) } else { Ok(all) }
}

impl Start {
    pub fn new(table: &TableSpec, has_group: bool) -> Result<Self> {
        Ok(match table.value(&START_MODE)? {
            StartMode::Earliest => Start::Earliest,
            StartMode::Latest => Start::Latest,
            StartMode::Group if has_group => Start::Group,
            StartMode::Group => {
                let e = match table.has(&START_MODE) {
                    true => Error::script("'scan.startup.mode' = 'group-offsets' needs 'properties.group.id'"),
                    false => Error::script(format!("table '{}' does not say where to begin", table.name)),
                };
                return Err(e.at(table.place_of(&START_MODE)).hint(
                    "set 'scan.startup.mode' = 'earliest-offset' or 'latest-offset', or 'properties.group.id' to begin \
                     where that group is",
                ));
            }
            StartMode::Timestamp => Start::Timestamp(table.value(&START_MILLIS)?),
            StartMode::Specific => Start::Specific(specific(table, &START_OFFSETS)?),
        })
    }
}

impl Stop {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(match table.value(&STOP_MODE)? {
            StopMode::Never => Stop::Never,
            StopMode::Latest => Stop::Latest,
            StopMode::Group => Stop::Group,
            StopMode::Timestamp => Stop::Timestamp(table.value(&STOP_MILLIS)?),
            StopMode::Specific => Stop::Specific(specific(table, &STOP_OFFSETS)?),
        })
    }
}
