//! Reads topics. Weir deals partitions out to its subtasks itself; how far each was read is state, and part of an epoch.

use super::client::{Cluster, PATIENCE};
use super::layout::Layout;
use super::native::topic_ids;
use super::positions::{Known, Partition, Start, Stop, key_of};
use super::reader::Reader;
use crate::format::{DecoderFactory, decoder};
use crate::options::TableSpec;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_core::graph::{Source, SourceFactory, SubtaskContext};
use weir_core::state::StateHandle;
use weir_core::thread::spawn;
use weir_core::{Error, Result};
use weir_expr::OnError;

/// The options that only the source has.
pub(super) const OPTIONS: &[&str] = &[
    "topic-pattern",
    "scan.startup.mode",
    "scan.startup.specific-offsets",
    "scan.startup.timestamp-millis",
    "scan.bounded.mode",
    "scan.bounded.specific-offsets",
    "scan.bounded.timestamp-millis",
    "scan.topic-partition-discovery.interval",
];

/// Which topics a table reads.
enum Topics {
    Named(Vec<String>),
    Like(Regex),
}

/// What all subtasks of a source share.
pub(super) struct Shared {
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
    topics: Topics,
    start: Start,
    stop: Stop,
    /// How often to look for new partitions.
    discovery: Option<Duration>,
    /// What each subtask is to read from now on, and has not taken yet.
    dealt: Mutex<BTreeMap<usize, Vec<Partition>>>,
    /// Counts how often the source was started: who looks for partitions does so for one start.
    generation: AtomicU64,
}

struct KafkaSource(Arc<Shared>);

pub(crate) fn source(table: &TableSpec, upsert: bool) -> Result<Arc<dyn SourceFactory>> {
    let cluster = Cluster::new(table)?;
    let topics = match (table.get("topic"), table.get("topic-pattern")) {
        (Some(_), Some(_)) => {
            let e = Error::script("'topic' and 'topic-pattern' exclude each other");
            return Err(e.at(table.place_of("topic-pattern")));
        }
        (Some(t), None) => {
            Topics::Named(t.split(';').map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect())
        }
        (None, Some(p)) => {
            let pattern = Regex::new(&format!("^(?:{p})$")).map_err(|e| {
                Error::script(format!("'topic-pattern' is no regular expression: {e}"))
                    .at(table.place_of("topic-pattern"))
            })?;
            Topics::Like(pattern)
        }
        (None, None) => {
            let e = Error::script(format!("table '{}' lacks the option 'topic'", table.name));
            return Err(e.at(table.place).hint("or 'topic-pattern', a regular expression"));
        }
    };
    let layout = Layout::new(table, upsert)?;
    let (format, prefix) = &layout.value_format;
    let value = table.part(prefix, &layout.value, format, decoder)?;
    let key = match &layout.key_format {
        Some(f) => Some(table.part("key.", &layout.key, f, decoder)?),
        None => None,
    };
    let start = if upsert { Start::Earliest } else { Start::new(table, cluster.group.is_some())? };
    let stop = Stop::new(table)?;
    let discovery = table.duration("scan.topic-partition-discovery.interval")?.unwrap_or(Duration::from_secs(300));
    // Options of the sink, which a table that is read may have as well.
    for k in ["sink.partitioner", "sink.delivery-guarantee", "sink.transactional-id-prefix"] {
        table.get(k);
    }
    let group = cluster.group.clone();
    let group = group.unwrap_or_else(|| format!("weir-{:016x}", xxhash_rust::xxh3::xxh3_64(table.uid.as_bytes())));
    Ok(Arc::new(KafkaSource(Arc::new(Shared {
        cluster,
        layout,
        value,
        key,
        on_error: table.on_error,
        keeps_records: table.keeps_records,
        columns: table.columns.clone(),
        schema: table.projected(),
        group,
        upsert,
        topics,
        start,
        discovery: (!discovery.is_zero() && stop == Stop::Never).then_some(discovery),
        stop,
        dealt: Mutex::default(),
        generation: AtomicU64::new(0),
    }))))
}

impl Shared {
    pub fn dealt(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Vec<Partition>>> {
        self.dealt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, consumer: &BaseConsumer<super::client::Context>) -> Result<Vec<(String, Vec<i32>)>> {
        match &self.topics {
            Topics::Named(names) => self.cluster.partitions(consumer, Some(names)),
            Topics::Like(pattern) => {
                let all = self.cluster.partitions(consumer, None)?;
                Ok(all.into_iter().filter(|(t, _)| !t.starts_with("__") && pattern.is_match(t)).collect())
            }
        }
    }

    /// Whether partitions may come that are not there yet.
    pub fn may_grow(&self) -> bool {
        self.stop == Stop::Never
    }

    /// Which subtask reads a partition: neighbours go to neighbours, and topics begin at different ones.
    fn subtask(topic: &str, partition: i32, parallelism: usize) -> usize {
        let first = xxhash_rust::xxh3::xxh3_64(topic.as_bytes()) as usize % parallelism;
        (first + partition as usize) % parallelism
    }

    /// Deals partitions out that nobody reads so far.
    fn deal(&self, fresh: Vec<Partition>, parallelism: usize) {
        let mut dealt = self.dealt();
        for p in fresh {
            dealt.entry(Self::subtask(&p.topic, p.partition, parallelism)).or_default().push(p);
        }
    }

    fn fail(&self, what: &str, e: &rdkafka::error::KafkaError) -> Error {
        self.cluster.error(what, e)
    }

    /// Where partitions begin that were never read before, and where those end that have an end.
    fn begin(
        &self,
        consumer: &BaseConsumer<super::client::Context>,
        fresh: &mut [Partition],
        start: &Start,
    ) -> Result<()> {
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
            let offset = |p: &Partition| match found.find_partition(&p.topic, p.partition).map(|e| e.offset()) {
                Some(Offset::Offset(n)) if n >= 0 => Some(n),
                _ => None,
            };
            Ok(fresh.iter().map(offset).collect())
        };
        let committed = |group: &str| -> Result<Vec<Option<i64>>> {
            let own = self.cluster.consumer(group)?;
            let found = own.committed_offsets(list(Offset::Invalid)?, PATIENCE);
            let found = found.map_err(|e| self.fail("ask for the group's offsets at", &e))?;
            let offset = |p: &Partition| match found.find_partition(&p.topic, p.partition).map(|e| e.offset()) {
                Some(Offset::Offset(n)) if n >= 0 => Some(n),
                _ => None,
            };
            Ok(fresh.iter().map(offset).collect())
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

impl SourceFactory for KafkaSource {
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()> {
        let shared = &self.0;
        shared.dealt().clear();
        let consumer = shared.cluster.consumer(&shared.group)?;
        let found = shared.found(&consumer)?;
        if found.is_empty() {
            let e = Error::script(format!("no topic at {} is of the pattern", shared.cluster.servers()));
            return Err(e.hint("correct 'topic-pattern', or create a topic"));
        }
        let known = Known::read(state)?;
        let names: Vec<String> = found.iter().map(|(t, _)| t.clone()).collect();
        let ids: BTreeMap<String, String> = topic_ids(consumer.client(), &names, PATIENCE).into_iter().collect();
        let (mut old, mut new) = (vec![], vec![]);
        for (topic, partitions) in &found {
            let id = ids.get(topic).cloned();
            for partition in partitions {
                let key = (topic.clone(), *partition);
                let mut p = Partition::new(topic, *partition, id.clone());
                match known.get(&key) {
                    Some(k) => {
                        if let (Some(was), Some(is)) = (&k.topic_id, &id)
                            && was != is
                        {
                            return Err(Error::state(format!(
                                "the topic '{topic}' is not the one that was being read: it was deleted and made again"
                            ))
                            .hint("start anew with --fresh to read the new one"));
                        }
                        p.known = Known { topic_id: id.clone().or_else(|| k.topic_id.clone()), ..k.clone() };
                        old.push(p);
                    }
                    None => new.push(p),
                }
            }
        }
        for (topic, partition) in known.keys() {
            if !found.iter().any(|(t, p)| t == topic && p.contains(partition)) {
                return Err(Error::state(format!(
                    "partition {partition} of '{topic}' was being read and is not there any more"
                ))
                .hint("bring the topic back, or start anew with --fresh"));
            }
        }
        // A partition that came while the job did not run is read from its begin: none of its records was seen.
        let start = if known.is_empty() { &shared.start } else { &Start::Earliest };
        shared.begin(&consumer, &mut new, start)?;
        let mut seen: Vec<(String, i32)> = old.iter().chain(&new).map(|p| (p.topic.clone(), p.partition)).collect();
        shared.deal(old.into_iter().chain(new).collect(), parallelism);
        if let Some(every) = shared.discovery {
            let weak = Arc::downgrade(shared);
            let generation = shared.generation.fetch_add(1, Ordering::Relaxed) + 1;
            spawn("weir-discovery", move || {
                let mut looked = Instant::now();
                loop {
                    std::thread::sleep(Duration::from_millis(200).min(every));
                    let Some(shared) = weak.upgrade() else { return };
                    if shared.generation.load(Ordering::Relaxed) != generation {
                        return;
                    }
                    if looked.elapsed() < every {
                        continue;
                    }
                    looked = Instant::now();
                    let Ok(found) = shared.found(&consumer) else { continue };
                    let mut fresh: Vec<Partition> = vec![];
                    for (topic, partitions) in found {
                        for p in partitions {
                            if !seen.iter().any(|(t, n)| *t == topic && *n == p) {
                                fresh.push(Partition::new(&topic, p, None));
                            }
                        }
                    }
                    if !fresh.is_empty() && shared.begin(&consumer, &mut fresh, &Start::Earliest).is_ok() {
                        for p in &fresh {
                            tracing::info!(
                                "partition {} of '{}' is new, and is read from its begin",
                                p.partition,
                                p.topic
                            );
                            seen.push((p.topic.clone(), p.partition));
                        }
                        shared.deal(fresh, parallelism);
                    }
                }
            })?;
        }
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(Reader::new(self.0.clone(), context)?))
    }
}

/// The changes of positions, under the keys that [`Known::read`] reads.
pub(super) fn note(changes: &mut weir_core::state::Changes, p: &Partition) -> Result<()> {
    let value = serde_json::to_vec(&p.known).map_err(|e| Error::internal(e.to_string()))?;
    changes.set(&key_of(&p.topic, p.partition), &value);
    Ok(())
}
