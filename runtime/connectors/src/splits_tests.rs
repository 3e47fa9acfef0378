//! Sources say which split each row is of, and leave those alone that are to be paused, without losing a row.

use crate::options::TableSpec;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::clock::SystemClock;
use weir_core::event_time::Watermark;
use weir_core::graph::{Collector, JobIdentity, Output, Polled, Source, SubtaskContext};
use weir_core::memory_store::MemoryStore;
use weir_core::metrics::Metrics;
use weir_core::state::{Changes, Epoch, StateBackend, StateHandle};
use weir_core::types::{Field, SqlType, TypeKind};
use weir_core::watermarks::SplitId;
use weir_core::{Schema, Value};
use weir_expr::{OnError, Session};

/// The only subtask of a table's source, and what it has given.
struct Reading {
    source: Box<dyn Source>,
    /// The names of splits that were added and have not ended.
    open: BTreeMap<SplitId, String>,
    ended: BTreeSet<String>,
    /// For each split, by its name, the numbers of its rows in order.
    rows: BTreeMap<String, Vec<i64>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Reading {
    fn start(options: &[(&str, &str)], base: &Path, state: BTreeMap<Vec<u8>, Vec<u8>>) -> Reading {
        let options: BTreeMap<String, String> =
            options.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        let schema = Schema::new(vec![Field::new("n", SqlType::from(TypeKind::BigInt))]);
        let table = TableSpec::new(
            crate::REGISTRY.known(&options).expect("a connector").connector,
            "t".to_string(),
            schema,
            vec![0],
            vec![],
            options,
            BTreeMap::new(),
            None,
            base.to_path_buf(),
            OnError::Fail,
            Arc::new(Session::default()),
            "t".to_string(),
        );
        let factory = crate::source(&table).expect("a source");
        let store = MemoryStore::default();
        let operator = store.operator("t").expect("a number");
        let mut kept = Changes::default();
        state.iter().for_each(|(k, v)| kept.set(k, v));
        store.stage(operator, Epoch(1), kept);
        let handle = StateHandle { operator, reader: Arc::new(store) };
        factory.start(&handle, 1).expect("a start");
        let context = SubtaskContext {
            node: "source t".to_string(),
            subtask: 0,
            parallelism: 1,
            job: JobIdentity { id: String::new(), run: String::new() },
            state: handle,
            resumes_at: Watermark::NONE,
            cache_bytes: 0,
            batch_rows: 10,
            metrics: Metrics::new().expect("metrics").subtask("source t", 0),
            clock: Arc::new(SystemClock),
        };
        let source = factory.open(context).expect("a subtask");
        Reading { source, open: BTreeMap::new(), ended: BTreeSet::new(), rows: BTreeMap::new(), state }
    }

    fn poll(&mut self) -> Polled {
        let mut out = Collector::default();
        let polled = self.source.poll(&mut out).expect("rows");
        for output in out.outputs {
            match output {
                Output::SplitAdded(id, name) => assert!(self.open.insert(id, name).is_none()),
                Output::SplitEnded(id) => assert!(self.ended.insert(self.open.remove(&id).expect("an open split"))),
                Output::Rows(_, batch) => {
                    for row in 0..batch.rows() {
                        let split = batch.origins.as_ref().map_or_else(SplitId::default, |o| o.split(row as u32));
                        let name = self.open.get(&split).expect("a row of an open split").clone();
                        let Value::Int(n) = Value::read(batch.data.column(0), row) else { panic!("no number") };
                        self.rows.entry(name).or_default().push(n);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        polled
    }

    /// Polls until so much is there, or for so long.
    fn until(&mut self, time: Duration, enough: impl Fn(&Self) -> bool) -> bool {
        let since = Instant::now();
        while !enough(self) {
            if since.elapsed() > time {
                return false;
            }
            if let Polled::Wait(time) = self.poll() {
                std::thread::sleep(time.min(Duration::from_millis(5)));
            }
        }
        true
    }

    fn pause(&mut self, names: &[&str]) {
        let paused: Vec<SplitId> =
            self.open.iter().filter(|(_, name)| names.contains(&name.as_str())).map(|(id, _)| *id).collect();
        assert_eq!(paused.len(), names.len());
        self.source.pause_splits(&paused).expect("a pause");
    }

    fn of(&self, split: &str) -> &[i64] {
        self.rows.get(split).map_or(&[], Vec::as_slice)
    }

    /// The state behind an epoch.
    fn checkpoint(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let changes = self.source.checkpoint(Epoch(1)).expect("an epoch");
        for (k, v) in changes.iter() {
            match v {
                Some(v) => drop(self.state.insert(k.to_vec(), v.to_vec())),
                None => drop(self.state.remove(k)),
            }
        }
        self.state.clone()
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_part_of_a_file_is_a_split_and_waits_when_it_is_told_to() {
    let folder = std::env::temp_dir().join(format!("weir-splits-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for file in 0..2 {
        let lines: String = (0..100).map(|n| format!("{}\n", file * 100 + n)).collect();
        std::fs::write(folder.join(format!("{file}.csv")), lines).expect("a file");
    }
    let options = [("connector", "filesystem"), ("path", "."), ("format", "csv")];
    let mut reading = Reading::start(&options, &folder, BTreeMap::new());
    assert!(reading.source.has_splits());
    assert!(reading.until(LONG, |r| r.rows.values().any(|rows| rows.len() >= 20)));
    let name = reading.open.values().next().expect("a split").clone();
    assert!(name.ends_with("0.csv:0"), "{name}");
    reading.pause(&[&name]);
    let before = reading.of(&name).len();
    assert!((0..3).all(|_| matches!(reading.poll(), Polled::Wait(_))));
    assert_eq!(reading.of(&name).len(), before);
    let state = reading.checkpoint();
    reading.pause(&[]);
    assert!(reading.until(LONG, |r| r.ended.len() == 2));
    assert_eq!(reading.of(&name), (0..100).collect::<Vec<_>>());
    let mut again = Reading::start(&options, &folder, state);
    assert!(again.until(LONG, |r| r.ended.len() == 2));
    assert!(again.ended.contains(&name), "its name is the same: {:?}", again.ended);
    assert_eq!(again.of(&name), (before as i64..100).collect::<Vec<_>>());
    std::fs::remove_dir_all(&folder).expect("a folder of its own");
}

#[test]
fn made_rows_wait() {
    let options = [("connector", "datagen"), ("number-of-rows", "50"), ("rows-per-second", "1000000")];
    let mut reading = Reading::start(&options, Path::new("."), BTreeMap::new());
    // All that a subtask reads is one split, which the engine gives its name.
    assert!(!reading.source.has_splits());
    reading.open.insert(SplitId::default(), "all".to_string());
    assert!(reading.until(LONG, |r| !r.of("all").is_empty()));
    reading.pause(&["all"]);
    let before = reading.of("all").len();
    assert!((0..3).all(|_| matches!(reading.poll(), Polled::Wait(_))));
    assert_eq!(reading.of("all").len(), before);
    reading.pause(&[]);
    assert!(reading.until(LONG, |r| r.of("all").len() == 50));
}

#[test]
fn a_partition_that_is_paused_goes_on_where_it_was() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("numbers", 3, 1).expect("a topic");
    let servers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
    let produce = |partition: i32, numbers: std::ops::Range<i64>| {
        for n in numbers {
            let record = format!("{{\"n\": {n}}}");
            let record = BaseRecord::<(), _>::to("numbers").partition(partition).payload(&record);
            producer.send(record).expect("room");
        }
        producer.flush(LONG).expect("a topic that takes records");
    };
    (0..3).for_each(|p| produce(p, 0..100));
    let options = [
        ("connector", "kafka"),
        ("topic", "numbers"),
        ("properties.bootstrap.servers", servers.as_str()),
        ("format", "json"),
        ("scan.startup.mode", "earliest-offset"),
    ];
    let mut reading = Reading::start(&options, Path::new("."), BTreeMap::new());
    assert!(reading.until(LONG, |r| r.rows.values().map(Vec::len).sum::<usize>() >= 20));
    let names: BTreeSet<&str> = reading.open.values().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["numbers-0", "numbers-1", "numbers-2"]));
    reading.pause(&["numbers-1"]);
    assert!(reading.until(LONG, |r| r.of("numbers-0").len() == 100 && r.of("numbers-2").len() == 100));
    let before = reading.of("numbers-1").len();
    produce(1, 100..150);
    produce(0, 100..110);
    assert!(reading.until(LONG, |r| r.of("numbers-0").len() == 110));
    assert!(!reading.until(Duration::from_millis(500), |r| r.of("numbers-1").len() > before), "it is paused");
    reading.pause(&["numbers-0"]);
    assert!(reading.until(LONG, |r| r.of("numbers-1").len() == 150));
    produce(0, 110..120);
    assert!(!reading.until(Duration::from_millis(500), |r| r.of("numbers-0").len() > 110), "it is paused");
    reading.pause(&[]);
    assert!(reading.until(LONG, |r| r.of("numbers-0").len() == 120));
    for (split, numbers) in [("numbers-0", 120), ("numbers-1", 150), ("numbers-2", 100)] {
        assert_eq!(reading.of(split), (0..numbers).collect::<Vec<_>>(), "{split}");
    }
}
