//! Reads a table once, in parts by ranges of a column where that is asked for.

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
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result};
use weir_expr::Session;

/// Parts of a table at most: each is a query.
const MOST: i128 = 10_000;

/// A part of the table, and how far it was read.
#[derive(Debug, Clone)]
struct ScanPart {
    number: u32,
    range: Option<PartitionRange>,
    position: PagePosition,
}

/// Parts that no subtask has taken.
type PendingParts = Arc<Mutex<VecDeque<ScanPart>>>;

/// What subtasks that are gone were reading, by the parts' numbers: who goes on just there need not ask anew.
type PageReaders = Arc<Mutex<HashMap<u32, PageReader>>>;

struct JdbcSource {
    scan: Arc<Scan>,
    parts: Vec<ScanPart>,
    session: Arc<Session>,
    /// Others at every start, so that a thread of the last one takes none of these.
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

/// How far a part was read: its value in the state.
#[derive(Serialize, Deserialize)]
struct PartProgress {
    position: PagePosition,
    /// Whether that was its end.
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
    /// The number of the part that is read.
    current: Option<(u32, PageReader)>,
    /// How far parts were read since the last epoch.
    moved: Vec<(u32, PartProgress)>,
}

/// How long to wait for rows before something else may have its turn.
const WAIT: Duration = Duration::from_millis(50);

impl JdbcReader {
    /// Goes on with a part.
    fn begin(&self, part: ScanPart) -> Result<(u32, PageReader)> {
        let kept = locked(&self.readers).remove(&part.number).filter(|f| f.position == part.position);
        let open = || PageReader::open(self.scan.clone(), part.range, part.position);
        Ok((part.number, kept.map_or_else(open, Ok)?))
    }
}

impl Source for JdbcReader {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let (number, mut reader) = match self.current.take() {
            Some(at_hand) => at_hand,
            None => {
                let next = locked(&self.waiting).pop_front();
                match next {
                    Some(part) => self.begin(part)?,
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
        for from in (0..batch.rows()).step_by(most) {
            out.emit(Batch::append(batch.data.slice(from, most.min(batch.rows() - from))));
        }
        self.moved.push((number, PartProgress { position: reader.position.clone(), ended: page.last }));
        if !page.last {
            self.current = Some((number, reader));
        }
        Ok(Polled::More)
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
        // The next reader of the part takes it, if it continues at the same position.
        if let Some((number, reader)) = self.current.take() {
            locked(&self.readers).insert(number, reader);
        }
    }
}
