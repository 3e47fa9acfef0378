//! What all subtasks of a source share: the cluster, and the assignment of partitions to subtasks.

use super::client::{ClientEvents, Cluster, PATIENCE};
use super::layout::Layout;
use super::positions::{Partition, Start, Stop};
use crate::format::DecoderFactory;
use crate::idle_connections::IdleConnections;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use weir_core::thread::locked;
use weir_core::{Error, Result};
use weir_expr::OnError;

/// Which topics a table reads.
pub(super) enum Topics {
    Named(Vec<String>),
    Like(Regex),
}

/// What all subtasks of a source share.
pub(super) struct SourceContext {
    pub cluster: Cluster,
    pub layout: Layout,
    pub value: DecoderFactory,
    pub key: Option<DecoderFactory>,
    pub on_error: OnError,
    pub keeps_records: bool,
    pub columns: Vec<usize>,
    pub schema: weir_core::Schema,
    pub group: String,
    pub upsert: bool,
    pub topics: Topics,
    pub start: Start,
    pub stop: Stop,
    /// Whether partitions that were read to their stop offsets are read on to the present end offsets.
    pub again: bool,
    /// How often to look for new partitions.
    pub discovery: Option<Duration>,
    /// The partitions that are assigned to each subtask, and that it has not taken over yet.
    pub assignments: Mutex<BTreeMap<usize, Vec<Partition>>>,
    /// The number of partitions that were found.
    pub count: AtomicUsize,
    /// The consumer that requests metadata.
    pub admin: Mutex<Option<Arc<BaseConsumer<ClientEvents>>>>,
    /// Idle consumers of subtasks that have ended, without assigned partitions.
    pub consumers: IdleConnections<Arc<BaseConsumer<ClientEvents>>>,
    /// Counts the starts of the source. A partition discovery belongs to one of them, and ends with it.
    pub generation: AtomicU64,
}

/// The offsets of partitions in a response of the cluster.
fn offsets(found: &TopicPartitionList, partitions: &[Partition]) -> Vec<Option<i64>> {
    let offset = |p: &Partition| match found.find_partition(&p.topic, p.partition).map(|e| e.offset()) {
        Some(Offset::Offset(n)) if n >= 0 => Some(n),
        _ => None,
    };
    partitions.iter().map(offset).collect()
}

impl SourceContext {
    pub fn assignments(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<Partition>>> {
        locked(&self.assignments)
    }

    /// The consumer that requests metadata.
    pub fn admin(&self) -> Result<Arc<BaseConsumer<ClientEvents>>> {
        let mut slot = locked(&self.admin);
        let admin = slot.take().map_or_else(|| self.cluster.consumer(&self.group).map(Arc::new), Ok)?;
        *slot = Some(admin.clone());
        Ok(admin)
    }

    pub fn found(&self, consumer: &BaseConsumer<ClientEvents>) -> Result<Vec<(String, Vec<i32>)>> {
        match &self.topics {
            Topics::Named(names) => self.cluster.partitions(consumer, Some(names)),
            Topics::Like(pattern) => {
                let all = self.cluster.partitions(consumer, None)?;
                Ok(all.into_iter().filter(|(t, _)| !t.starts_with("__") && pattern.is_match(t)).collect())
            }
        }
    }

    /// Whether new partitions may still be found.
    pub fn may_grow(&self) -> bool {
        self.stop == Stop::Never
    }

    /// The subtask that reads a partition. Consecutive partitions go to consecutive subtasks, and the first one depends on the topic's
    /// name.
    fn subtask(topic: &str, partition: i32, parallelism: usize) -> usize {
        let first = xxhash_rust::xxh3::xxh3_64(topic.as_bytes()) as usize % parallelism;
        (first + partition as usize) % parallelism
    }

    /// Assigns new partitions to subtasks, unless the source has been started again since.
    pub fn assign(&self, fresh: Vec<Partition>, parallelism: usize, generation: u64) {
        let mut assignments = self.assignments();
        if self.generation.load(Ordering::Relaxed) != generation {
            return;
        }
        for p in fresh {
            assignments.entry(Self::subtask(&p.topic, p.partition, parallelism)).or_default().push(p);
        }
    }

    fn fail(&self, what: &str, e: &rdkafka::error::KafkaError) -> Error {
        self.cluster.error(what, e)
    }

    /// Sets the start offsets of new partitions, and their stop offsets if the source is bounded.
    pub fn begin(&self, consumer: &BaseConsumer<ClientEvents>, fresh: &mut [Partition], start: &Start) -> Result<()> {
        let marks: Vec<(i64, i64)> = fresh
            .iter()
            .map(|p| {
                let marks = consumer.fetch_watermarks(&p.topic, p.partition, PATIENCE);
                marks.map_err(|e| self.fail("ask for the offsets of", &e))
            })
            .collect::<Result<_>>()?;
        let list = |offset: Offset| -> Result<TopicPartitionList> {
            let mut list = TopicPartitionList::new();
            for p in fresh.iter() {
                let added = list.add_partition_offset(&p.topic, p.partition, offset);
                added.map_err(|e| self.fail("ask for the offsets of", &e))?;
            }
            Ok(list)
        };
        let at_time = |millis: i64| -> Result<Vec<Option<i64>>> {
            let found = consumer.offsets_for_times(list(Offset::Offset(millis))?, PATIENCE);
            let found = found.map_err(|e| self.fail("ask for the offsets of", &e))?;
            Ok(offsets(&found, fresh))
        };
        let committed = |group: &str| -> Result<Vec<Option<i64>>> {
            let own = self.cluster.consumer(group)?;
            let found = own.committed_offsets(list(Offset::Invalid)?, PATIENCE);
            let found = found.map_err(|e| self.fail("ask for the group's offsets at", &e))?;
            Ok(offsets(&found, fresh))
        };
        let specific = |list: &[(Option<String>, i32, i64)], p: &Partition| {
            let mine =
                |(t, n, _): &&(Option<String>, i32, i64)| *n == p.partition && t.as_ref().is_none_or(|t| *t == p.topic);
            list.iter().find(mine).map(|(_, _, o)| *o)
        };
        let starts: Vec<i64> = match start {
            Start::Earliest => marks.iter().map(|m| m.0).collect(),
            Start::Latest => marks.iter().map(|m| m.1).collect(),
            Start::Timestamp(t) => at_time(*t)?.into_iter().zip(&marks).map(|(o, m)| o.unwrap_or(m.1)).collect(),
            Start::Specific(all) => fresh.iter().zip(&marks).map(|(p, m)| specific(all, p).unwrap_or(m.0)).collect(),
            Start::Group => {
                let mut starts = vec![];
                for ((found, p), m) in committed(&self.group)?.into_iter().zip(fresh.iter()).zip(&marks) {
                    starts.push(match (found, self.cluster.reset.as_deref()) {
                        (Some(o), _) => o,
                        (None, Some("earliest")) => m.0,
                        (None, Some("latest")) => m.1,
                        (None, _) => {
                            let e = Error::script(format!(
                                "the group '{}' has no offset for partition {} of '{}'",
                                self.group, p.partition, p.topic
                            ));
                            return Err(e.hint(
                                "set 'scan.startup.mode' = 'earliest-offset' (or another), or \
                                 'properties.auto.offset.reset' = 'earliest'",
                            ));
                        }
                    });
                }
                starts
            }
        };
        let stops: Vec<Option<i64>> = match &self.stop {
            Stop::Never => vec![None; fresh.len()],
            Stop::Latest => marks.iter().map(|m| Some(m.1)).collect(),
            Stop::Timestamp(t) => at_time(*t)?.into_iter().zip(&marks).map(|(o, m)| Some(o.unwrap_or(m.1))).collect(),
            Stop::Specific(all) => {
                fresh.iter().zip(&marks).map(|(p, m)| Some(specific(all, p).unwrap_or(m.1))).collect()
            }
            Stop::Group => {
                committed(&self.group)?.into_iter().zip(&marks).map(|(o, m)| Some(o.unwrap_or(m.1))).collect()
            }
        };
        for (p, (next, stop)) in fresh.iter_mut().zip(starts.into_iter().zip(stops)) {
            (p.known.next, p.known.stop, p.fresh) = (next, stop, true);
        }
        Ok(())
    }
}
