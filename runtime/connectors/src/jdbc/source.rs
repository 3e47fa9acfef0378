//! Reads a table once. With a partition column, each range of it is a part, and each part is a split.

use super::config::JdbcConfig;
use super::page_reader::{PagePosition, PageReader};
use super::scan::{PartitionRange, Scan, ranges};
use super::{COLUMN, FETCH, LOWER, PARTS, QUERY, UPPER};
use crate::options::TableSpec;
use crate::text_columns::batch;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::origin::{Origin, Origins};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::watermarks::SplitId;
use weir_core::{Batch, Error, Result};
use weir_expr::Session;

/// Maximum number of parts. Each is a query.
const MOST: i128 = 10_000;

/// A part of the table, and how far it was read.
#[derive(Debug, Clone)]
struct ScanPart {
    number: u32,
    range: Option<PartitionRange>,
    position: PagePosition,
}

/// Parts that no subtask has taken yet.
type PendingParts = Arc<Mutex<VecDeque<ScanPart>>>;

/// Readers of subtasks that have ended, by the numbers of their parts. A subtask that continues at the same position takes the reader over,
/// without a new query.
type PageReaders = Arc<Mutex<HashMap<u32, PageReader>>>;

struct JdbcSource {
    scan: Arc<Scan>,
    parts: Vec<ScanPart>,
    session: Arc<Session>,
    /// A new queue in each generation, so a thread of the last one takes no parts of this one.
    waiting: Mutex<PendingParts>,
    readers: PageReaders,
}

pub(crate) fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let config = JdbcConfig::new(table)?;
    let schema = table.projected();
    super::rows::check(table, &schema)?;
    let partition = table.get(&COLUMN)?;
    let (count, low, high) = (table.get(&PARTS)?, table.get(&LOWER)?, table.get(&UPPER)?);
    let part = |(i, range)| ScanPart { number: i as u32, range, position: PagePosition::default() };
    let parts = match (&partition, count, low, high) {
        (None, None, None, None) => vec![part((0, None))],
        (Some(_), Some(n), Some(low), Some(high)) if low <= high => {
            if i128::from(n).min(i128::from(high) - i128::from(low) + 1) > MOST {
                let e = Error::script(format!("'{}' is at most {MOST}, not {n}: each is a query", PARTS.key()));
                return Err(e.at(table.place_of(&PARTS)));
            }
            ranges(n, low, high).into_iter().map(Some).enumerate().map(part).collect()
        }
        _ => {
            let e = Error::script(
                "'scan.partition.column', '.num', '.lower-bound' and '.upper-bound' go together, the bounds in order",
            );
            return Err(e.at(table.place));
        }
    };
    let query = table.get(&QUERY)?;
    let fetch = match table.value(&FETCH)? {
        0 => FETCH.read(FETCH.key(), FETCH.spec().default.unwrap_or_default())?,
        n => n,
    };
    let scan = Arc::new(Scan { config, schema, query, partition, fetch });
    let session = table.session.clone();
    Ok(Arc::new(JdbcSource { scan, parts, session, waiting: Mutex::default(), readers: Arc::default() }))
}

/// How far a part was read, as the state has it.
#[derive(Serialize, Deserialize)]
struct PartProgress {
    position: PagePosition,
    /// Whether the part was read to its end.
    ended: bool,
}

fn key_of(part: u32) -> Vec<u8> {
    [b"\0\0j", &part.to_be_bytes()[..]].concat()
}

impl SourceFactory for JdbcSource {
    fn start(&self, state: &StateHandle, _parallelism: usize) -> Result<()> {
        let mut waiting = VecDeque::new();
        for part in &self.parts {
            let Some(known) = state.get_many(&[&key_of(part.number)])?.remove(0) else {
                waiting.push_back(part.clone());
                continue;
            };
            let known: PartProgress = serde_json::from_slice(&known).map_err(|_| {
                let e = format!(
                    "the position in {} that the state has is damaged, or of an earlier version",
                    self.scan.what()
                );
                Error::state(e).hint("start with --fresh")
            })?;
            if !known.ended {
                waiting.push_back(ScanPart { position: known.position, ..part.clone() });
            }
        }
        *locked(&self.waiting) = Arc::new(Mutex::new(waiting));
        Ok(())
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(JdbcReader {
            scan: self.scan.clone(),
            session: self.session.clone(),
            waiting: locked(&self.waiting).clone(),
            readers: self.readers.clone(),
            context,
            current: None,
            paused: false,
            moved: vec![],
        }))
    }
}

struct JdbcReader {
    scan: Arc<Scan>,
    session: Arc<Session>,
    waiting: PendingParts,
    readers: PageReaders,
    context: SubtaskContext,
    /// The part that is being read, by its number.
    current: Option<(u32, PageReader)>,
    /// Whether that part is paused.
    paused: bool,
    /// The progress of parts since the last epoch.
    moved: Vec<(u32, PartProgress)>,
}

/// How long a poll waits for rows, so that the engine gets control again.
const WAIT: Duration = Duration::from_millis(50);

/// How long to wait before a paused part is polled again.
const PAUSED: Duration = Duration::from_millis(100);

/// The origin of a part's rows.
#[derive(Debug)]
struct PartOrigin {
    part: SplitId,
    /// The table and the part, for messages.
    place: String,
}

impl Origin for PartOrigin {
    fn of(&self, _row: u32) -> (String, Option<Vec<u8>>) {
        (self.place.clone(), None)
    }
    fn split(&self, _row: u32) -> SplitId {
        self.part
    }
}

impl JdbcReader {
    /// The description of a part, for messages.
    fn part_of(&self, what: &str, part: u32) -> String {
        match self.scan.partition {
            Some(_) => format!("{what}, part {part}"),
            None => what.to_string(),
        }
    }

    /// Starts, or continues, to read a part.
    fn begin(&mut self, part: ScanPart, out: &mut Collector) -> Result<(u32, PageReader)> {
        self.paused = false;
        out.add_split(SplitId(part.number), self.part_of(&self.scan.config.table, part.number));
        let kept = locked(&self.readers).remove(&part.number).filter(|f| f.position == part.position);
        let open = || PageReader::open(self.scan.clone(), part.range, part.position);
        Ok((part.number, kept.map_or_else(open, Ok)?))
    }
}

impl Source for JdbcReader {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        if self.paused && self.current.is_some() {
            return Ok(Polled::Wait(PAUSED));
        }
        let (number, mut reader) = match self.current.take() {
            Some(at_hand) => at_hand,
            None => {
                let next = locked(&self.waiting).pop_front();
                match next {
                    Some(part) => self.begin(part, out)?,
                    None => return Ok(Polled::End),
                }
            }
        };
        let Some(page) = reader.next(WAIT)? else {
            self.current = Some((number, reader));
            return Ok(Polled::Wait(Duration::from_millis(1)));
        };
        let bytes: usize = page.rows.iter().flatten().flatten().map(Vec::len).sum();
        self.context.metrics.bytes_in.inc_by(bytes as u64);
        let batch = batch(&page.rows, &self.scan.schema, &self.scan.config.what(), &self.session)?;
        let most = self.context.batch_rows;
        let place = self.part_of(&self.scan.what(), number);
        let origins = Origins::new(Arc::new(PartOrigin { part: SplitId(number), place }));
        for from in (0..batch.rows()).step_by(most) {
            let rows = batch.data.slice(from, most.min(batch.rows() - from));
            out.emit(Batch::append(rows).with_origins(Some(origins.clone())));
        }
        self.moved.push((number, PartProgress { position: reader.position.clone(), ended: page.last }));
        if page.last {
            out.end_split(SplitId(number));
        } else {
            self.current = Some((number, reader));
        }
        Ok(Polled::More)
    }

    fn has_splits(&self) -> bool {
        true
    }

    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        self.paused = self.current.as_ref().is_some_and(|(number, _)| splits.contains(&SplitId(*number)));
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        for (part, known) in self.moved.drain(..) {
            let value = serde_json::to_vec(&known).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
            changes.set(&key_of(part), &value);
        }
        Ok(changes)
    }
}

impl Drop for JdbcReader {
    fn drop(&mut self) {
        // The next reader of the part takes it over, if it continues at the same position.
        if let Some((number, reader)) = self.current.take() {
            locked(&self.readers).insert(number, reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use weir_core::clock::SystemClock;
    use weir_core::event_time::Watermark;
    use weir_core::graph::{JobIdentity, Output};
    use weir_core::memory_store::MemoryStore;
    use weir_core::metrics::Metrics;
    use weir_core::state::StateBackend;
    use weir_core::{Field, Schema, SqlType, Value};
    use weir_expr::OnError;

    fn table() -> TableSpec {
        let options = [
            ("connector", "jdbc"),
            ("url", "jdbc:mysql://localhost:1/shop"),
            ("table-name", "orders"),
            ("scan.partition.column", "n"),
            ("scan.partition.num", "2"),
            ("scan.partition.lower-bound", "0"),
            ("scan.partition.upper-bound", "9"),
        ];
        TableSpec::new(
            crate::REGISTRY.connector("jdbc").expect("a connector"),
            "t".to_string(),
            Schema::new(vec![Field::new("n", SqlType::BIGINT)]),
            vec![0],
            vec![],
            options.map(|(k, v)| (k.to_string(), v.to_string())).into(),
            BTreeMap::new(),
            None,
            PathBuf::new(),
            OnError::Fail,
            Arc::new(Session::default()),
            "t".to_string(),
        )
    }

    /// Pages of a row each.
    fn pages(rows: std::ops::Range<i64>) -> PageReader {
        PageReader::of(rows.map(|n| vec![vec![Some(n.to_string().into_bytes())]]).collect())
    }

    #[test]
    fn a_part_is_a_split_and_waits_when_it_is_told_to() {
        let scan = source(&table()).expect("a source");
        let store = MemoryStore::default();
        let state = StateHandle { operator: store.operator("t").expect("a number"), reader: Arc::new(store) };
        scan.start(&state, 1).expect("a start");
        let context = SubtaskContext {
            node: "source t".to_string(),
            subtask: 0,
            parallelism: 1,
            job: JobIdentity { id: String::new(), run: String::new() },
            state,
            resumes_at: Watermark::NONE,
            cache_bytes: 0,
            batch_rows: 10,
            metrics: Metrics::new().expect("metrics").subtask("source t", 0),
            clock: Arc::new(SystemClock),
        };
        let readers = Arc::new(Mutex::new(HashMap::from([(0, pages(0..5)), (1, pages(5..9))])));
        let part = |number| ScanPart { number, range: Some((None, None)), position: PagePosition::default() };
        let mut reader = JdbcReader {
            scan: Arc::new(Scan {
                config: JdbcConfig::new(&table()).expect("a configuration"),
                schema: table().projected(),
                query: None,
                partition: Some("n".to_string()),
                fetch: 1,
            }),
            session: Arc::new(Session::default()),
            waiting: Arc::new(Mutex::new(VecDeque::from([part(0), part(1)]))),
            readers,
            context,
            current: None,
            paused: false,
            moved: vec![],
        };
        assert!(reader.has_splits());
        let mut told: Vec<String> = vec![];
        let mut poll = |reader: &mut JdbcReader| {
            let mut out = Collector::default();
            let polled = reader.poll(&mut out).expect("rows");
            for output in out.outputs {
                told.push(match output {
                    Output::SplitAdded(SplitId(id), name) => format!("{id} is {name}"),
                    Output::SplitEnded(SplitId(id)) => format!("{id} ends"),
                    Output::Rows(_, batch) => {
                        let origins = batch.origins.as_ref().expect("origins");
                        let Value::Int(n) = Value::read(batch.data.column(0), 0) else { panic!("no number") };
                        format!("{n} of {}", origins.split(0).0)
                    }
                    other => panic!("{other:?}"),
                });
            }
            (polled, told.len())
        };
        poll(&mut reader);
        reader.pause_splits(&[SplitId(0)]).expect("a pause");
        let before = poll(&mut reader).1;
        assert!((0..3).all(|_| matches!(poll(&mut reader), (Polled::Wait(_), n) if n == before)));
        // A split of another subtask.
        reader.pause_splits(&[SplitId(1)]).expect("a pause");
        while !matches!(poll(&mut reader).0, Polled::End) {}
        let names = [0, 1].map(|n| format!("{n} is orders, part {n}"));
        let rows = |of: u32, rows: std::ops::Range<i64>| rows.map(move |n| format!("{n} of {of}"));
        let wanted: Vec<String> = [names[0].clone()]
            .into_iter()
            .chain(rows(0, 0..5))
            .chain(["0 ends".to_string(), names[1].clone()])
            .chain(rows(1, 5..9))
            .chain(["1 ends".to_string()])
            .collect();
        assert_eq!(told, wanted);
    }
}
