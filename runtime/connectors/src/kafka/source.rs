//! Reads topics. Weir assigns partitions to its subtasks itself. Offsets are state, and part of each epoch.

use super::client::{ClientEvents, Cluster, PATIENCE};
use super::layout::Layout;
use super::native::topic_ids;
use super::positions::{Partition, PartitionProgress, Start, Stop};
use super::reader::PartitionReader;
use super::shared::{SourceContext, Topics};
use super::{DISCOVERY, TOPIC, TOPIC_PATTERN};
use crate::format::{decoder, decoder_of};
use crate::idle_connections::IdleConnections;
use crate::options::TableSpec;
use crate::patterns::whole;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::graph::{Source, SourceFactory, SubtaskContext};
use weir_core::state::StateHandle;
use weir_core::thread::{locked, spawn};
use weir_core::{Error, Result};

struct KafkaSource(Arc<SourceContext>);

/// A table's source. It starts where its options say, or at `start` for `upsert-kafka`.
pub(super) fn source(table: &TableSpec, start: Option<Start>) -> Result<Arc<dyn SourceFactory>> {
    let upsert = start.is_some();
    let cluster = Cluster::new(table)?;
    let topics = match (table.get(&TOPIC)?, table.get(&TOPIC_PATTERN)?) {
        (Some(_), Some(_)) => {
            let e = Error::script("'topic' and 'topic-pattern' exclude each other");
            return Err(e.at(table.place_of(&TOPIC_PATTERN)));
        }
        (Some(topics), None) => Topics::Named(topics),
        (None, Some(p)) => Topics::Like(whole(&p)?),
        (None, None) => {
            let e = Error::script(format!("table '{}' lacks the option 'topic'", table.name));
            return Err(e.at(table.place).hint("or 'topic-pattern', a regular expression"));
        }
    };
    let layout = Layout::new(table, upsert)?;
    let (format, prefix) = &layout.value_format;
    let value = decoder(table, format, prefix, &layout.value)?;
    let key = layout.key_part(table, decoder_of)?;
    let start = start.map_or_else(|| Start::new(table, cluster.group.is_some()), Ok)?;
    let stop = Stop::new(table)?;
    let discovery = table.value(&DISCOVERY)?;
    let group = cluster.group.clone();
    let group = group.unwrap_or_else(|| format!("weir-{}", table.outside_name()));
    Ok(Arc::new(KafkaSource(Arc::new(SourceContext {
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
        again: table.again,
        assignments: Mutex::default(),
        count: AtomicUsize::new(0),
        admin: Mutex::default(),
        consumers: IdleConnections::default(),
        generation: AtomicU64::new(0),
    }))))
}

impl SourceFactory for KafkaSource {
    fn partitions(&self) -> Option<usize> {
        Some(self.0.count.load(Ordering::Relaxed)).filter(|n| *n > 0)
    }
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()> {
        let started = self.begin(state, parallelism);
        if started.is_err() {
            // Cached metadata of a cluster that fails may soon be outdated.
            *locked(&self.0.admin) = None;
        }
        started
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(PartitionReader::new(self.0.clone(), context)?))
    }
}

impl KafkaSource {
    /// Finds the partitions, and assigns them to subtasks with their positions.
    fn begin(&self, state: &StateHandle, parallelism: usize) -> Result<()> {
        let shared = &self.0;
        let generation = {
            // Under the lock, so that no discovery of an earlier generation assigns partitions from here on.
            let mut assignments = shared.assignments();
            assignments.clear();
            shared.generation.fetch_add(1, Ordering::Relaxed) + 1
        };
        let consumer = shared.admin()?;
        let found = shared.found(&consumer)?;
        if found.is_empty() {
            let e = Error::script(format!("no topic at {} is of the pattern", shared.cluster.servers()));
            return Err(e.hint("correct 'topic-pattern', or create a topic"));
        }
        shared.count.store(found.iter().map(|(_, p)| p.len()).sum(), Ordering::Relaxed);
        let known = PartitionProgress::read(state)?;
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
                        p.known =
                            PartitionProgress { topic_id: id.clone().or_else(|| k.topic_id.clone()), ..k.clone() };
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
        if shared.again {
            let ended = |p: &Partition| p.known.stop.is_some_and(|s| p.known.next >= s);
            let (mut on, rest): (Vec<Partition>, Vec<Partition>) = old.into_iter().partition(ended);
            let read: Vec<i64> = on.iter().map(|p| p.known.next).collect();
            shared.begin(&consumer, &mut on, &Start::Earliest)?;
            on.iter_mut().zip(read).for_each(|(p, next)| p.known.next = next);
            old = rest.into_iter().chain(on).collect();
        }
        // A partition that was created while the job did not run is read from its earliest offset, since none of its records was read.
        let start = if known.is_empty() { &shared.start } else { &Start::Earliest };
        shared.begin(&consumer, &mut new, start)?;
        let seen = old.iter().chain(&new).map(|p| (p.topic.clone(), p.partition)).collect();
        shared.assign(old.into_iter().chain(new).collect(), parallelism, generation);
        match shared.discovery {
            Some(every) => discover(shared, consumer, every, seen, (parallelism, generation)),
            None => Ok(()),
        }
    }
}

/// Looks for new partitions at an interval, as long as the source is of this generation.
fn discover(
    shared: &Arc<SourceContext>,
    consumer: Arc<BaseConsumer<ClientEvents>>,
    every: Duration,
    mut seen: Vec<(String, i32)>,
    (parallelism, generation): (usize, u64),
) -> Result<()> {
    let weak = Arc::downgrade(shared);
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
                    tracing::info!("partition {} of '{}' is new, and is read from its begin", p.partition, p.topic);
                    seen.push((p.topic.clone(), p.partition));
                }
                shared.assign(fresh, parallelism, generation);
            }
        }
    })?;
    Ok(())
}
