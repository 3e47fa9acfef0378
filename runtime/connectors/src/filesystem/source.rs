//! Reads files. All subtasks of the source take splits from a shared pool. The position in each split is state.

use super::file_metadata::FileMetadata;
use super::splits::{FileSplit, KnownFile, compressed, files, head, in_order, survey};
use super::{MONITOR, PATTERN};
use crate::format::{DecodeProgress, DecoderFactory, StreamDecoder, StreamPosition};
use crate::options::TableSpec;
use crate::patterns::whole;
use regex::Regex;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::stored::{self, Reader, Stored};
use weir_core::thread::locked;
use weir_core::watermarks::SplitId;
use weir_core::{Error, Result};

/// The files to read, and how.
struct Files {
    path: PathBuf,
    monitor: Option<Duration>,
    decoder: DecoderFactory,
    /// The regular expression that a file's path has to match.
    pattern: Option<Regex>,
    /// Metadata columns of the file.
    metadata: Option<FileMetadata>,
    /// Whether rows have event times.
    timed: bool,
}

struct FileSource {
    files: Arc<Files>,
    /// A new pool in each generation, so a thread of the last one takes no splits of this one.
    pool: Mutex<Arc<Mutex<SplitPool>>>,
}

#[derive(Default)]
struct SplitPool {
    known: BTreeMap<PathBuf, KnownFile>,
    waiting: VecDeque<FileSplit>,
    /// Files that were found since the last epoch.
    fresh: Vec<PathBuf>,
    looked: Option<Instant>,
}

pub(crate) fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    if !table.partitioned_by.is_empty() {
        let e = Error::script(format!("table '{}' is partitioned, which only sinks can be as yet", table.name));
        return Err(e.at(table.place));
    }
    let (decoder, metadata) = FileMetadata::of(table)?;
    let files = Files {
        path: super::path(table)?,
        monitor: table.get(&MONITOR)?,
        decoder,
        timed: table.timed,
        pattern: table.get(&PATTERN)?.map(|p| whole(&p)).transpose()?,
        metadata,
    };
    Ok(Arc::new(FileSource { files: Arc::new(files), pool: Mutex::default() }))
}

fn file_key(path: &Path) -> Vec<u8> {
    [b"\0\0f", path.as_os_str().as_encoded_bytes()].concat()
}

fn split_key(path: &Path, start: u64) -> Vec<u8> {
    [b"\0\0s", path.as_os_str().as_encoded_bytes(), b"\0", &start.to_be_bytes()].concat()
}

/// A position in the state.
struct KeptPosition(StreamPosition);

impl Stored for KeptPosition {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "the position in a file";

    /// The offset, and whether it is within a record that is too long.
    fn write(&self, out: &mut Vec<u8>) {
        let (offset, passing) = self.0;
        stored::put(out, offset);
        stored::put(out, u64::from(passing));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (offset, passing) = (from.number()?, from.number()?);
        (passing < 2).then_some(KeptPosition((offset, passing == 1)))
    }
}

impl Files {
    /// Whether files are read in parts by several subtasks, given the number of files. A file of changes is one split, so that changes are
    /// read in order. So is each of several files with event times: otherwise all parts of the first file would be read before the second
    /// one, whose rows would be late then.
    fn are_split(&self, files: usize, parallelism: usize) -> bool {
        let side_by_side = files > 1 || self.monitor.is_some();
        parallelism > 1 && !self.decoder.changes && !(self.timed && side_by_side)
    }

    /// All files that exist now.
    fn found(&self) -> Result<Vec<PathBuf>> {
        let mut all = files(&self.path)?;
        if let Some(p) = &self.pattern {
            // As in Flink, the expression matches absolute paths.
            all.retain(|f| p.is_match(&std::path::absolute(f).as_deref().unwrap_or(f).to_string_lossy()));
        }
        Ok(all)
    }
}

impl SplitPool {
    /// Adds the splits of a new file.
    fn add(&mut self, path: PathBuf, decoder: &DecoderFactory, splits: bool) -> Result<()> {
        let found = survey(&path, decoder.dialect, splits)?;
        let ends = found.starts.iter().skip(1).map(|e| Some(*e)).chain([None]);
        for (start, end) in found.starts.iter().zip(ends) {
            self.waiting.push_back(FileSplit { path: path.clone(), start: *start, end, position: (*start, false) });
        }
        self.fresh.push(path.clone());
        self.known.insert(path, found);
        Ok(())
    }
}

impl SourceFactory for FileSource {
    fn start(&self, state: &StateHandle, parallelism: usize) -> Result<()> {
        let mut pool = SplitPool::default();
        for (k, v) in state.scan(b"\0\0f")? {
            // File names need not be UTF-8.
            let path = PathBuf::from(OsString::from_vec(k[3..].to_vec()));
            let damaged = || Error::state("the position of a file in the state is damaged").hint("start with --fresh");
            let known: KnownFile = serde_json::from_slice(&v).map_err(|_| damaged())?;
            let size = std::fs::metadata(&path).map(|m| m.len());
            let changed = match size {
                Err(e) => {
                    return Err(Error::state(format!("{} was being read and is gone: {e}", path.display()))
                        .hint("put it back, or start anew with --fresh"));
                }
                Ok(size) => size < known.size || head(&path, known.head_length)? != (known.head, known.head_length),
            };
            if changed {
                return Err(Error::state(format!("{} is not the file that was being read", path.display()))
                    .hint("put the old one back, or start anew with --fresh"));
            }
            let ends = known.starts.iter().skip(1).map(|e| Some(*e)).chain([None]);
            for (start, end) in known.starts.iter().zip(ends) {
                let at = state.get_many(&[&split_key(&path, *start)])?.remove(0);
                let KeptPosition(position) = at.map_or(Ok(KeptPosition((*start, false))), |v| stored::decode(&v))?;
                if end.is_none_or(|e| position.0 < e) {
                    pool.waiting.push_back(FileSplit { path: path.clone(), start: *start, end, position });
                }
            }
            pool.known.insert(path, known);
        }
        pool.waiting.make_contiguous().sort_by(|a, b| in_order(&a.path, &b.path).then(a.start.cmp(&b.start)));
        let found = self.files.found()?;
        let splits = self.files.are_split(found.len(), parallelism);
        for path in found {
            if !pool.known.contains_key(&path) {
                pool.add(path, &self.files.decoder, splits)?;
            }
        }
        pool.looked = Some(Instant::now());
        *locked(&self.pool) = Arc::new(Mutex::new(pool));
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let reading = StreamDecoder::new(self.files.decoder.make(), "", context.clone());
        Ok(Box::new(FileReader {
            files: self.files.clone(),
            pool: locked(&self.pool).clone(),
            reading,
            current: None,
            next: 0,
            paused: false,
            moved: vec![],
            subtask: context.subtask,
            parallelism: context.parallelism,
        }))
    }

    fn partitions(&self) -> Option<usize> {
        // One subtask reads all files of changes, one file after another.
        self.files.decoder.changes.then_some(1)
    }

    fn total_bytes(&self) -> Option<u64> {
        let all = self.files.found().ok()?;
        all.iter().map(|p| std::fs::metadata(p).ok().map(|m| m.len())).sum()
    }
}

/// How long to wait before a paused split is polled again.
const PAUSED: Duration = Duration::from_millis(100);

struct OpenSplit {
    id: SplitId,
    split: FileSplit,
    input: Box<dyn Read + Send>,
    /// How many bytes of the split were read from the file.
    read: u64,
    at_end: bool,
}

struct FileReader {
    files: Arc<Files>,
    pool: Arc<Mutex<SplitPool>>,
    reading: StreamDecoder,
    current: Option<OpenSplit>,
    /// The number of the next split that this reader takes.
    next: u32,
    /// Whether the current split is paused.
    paused: bool,
    moved: Vec<(PathBuf, u64, StreamPosition)>,
    subtask: usize,
    parallelism: usize,
}

impl FileReader {
    fn open(&mut self, split: FileSplit, out: &mut Collector) -> Result<()> {
        let fail = |e: std::io::Error| Error::data(format!("cannot read {}", split.path.display())).caused_by(e);
        let mut file = File::open(&split.path).map_err(fail)?;
        let input: Box<dyn Read + Send> = if compressed(&split.path) {
            let mut unpacked = flate2::read::MultiGzDecoder::new(file);
            // A compressed file has to be read from the beginning to get to the position.
            std::io::copy(&mut (&mut unpacked).take(split.position.0), &mut std::io::sink()).map_err(fail)?;
            Box::new(unpacked)
        } else {
            file.seek(SeekFrom::Start(split.position.0)).map_err(fail)?;
            Box::new(file)
        };
        let id = SplitId(self.next);
        (self.next, self.paused) = (self.next.wrapping_add(1), false);
        out.add_split(id, format!("{}:{}", split.path.display(), split.start));
        self.reading.restart(&split.path.display().to_string(), id, split.position);
        if let Some(metadata) = &self.files.metadata {
            self.reading.widen(metadata.of_file(&split.path)?);
        }
        self.current = Some(OpenSplit { id, read: split.position.0, split, input, at_end: false });
        Ok(())
    }

    fn look_again(&mut self) -> Result<()> {
        let Some(every) = self.files.monitor else {
            return Ok(());
        };
        let mut pool = locked(&self.pool);
        if self.subtask != 0 || pool.looked.is_some_and(|l| l.elapsed() < every) {
            return Ok(());
        }
        pool.looked = Some(Instant::now());
        let found = self.files.found()?;
        let splits = self.files.are_split(found.len(), self.parallelism);
        for path in found {
            if !pool.known.contains_key(&path) {
                pool.add(path, &self.files.decoder, splits)?;
            }
        }
        Ok(())
    }
}

impl Source for FileReader {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        let Some(open) = &mut self.current else {
            self.look_again()?;
            let others = self.files.decoder.changes && self.subtask != 0;
            let next = if others { None } else { locked(&self.pool).waiting.pop_front() };
            return match (next, self.files.monitor) {
                (Some(split), _) => self.open(split, out).map(|()| Polled::More),
                (None, Some(every)) => Ok(Polled::Wait(every.min(Duration::from_millis(500)))),
                (None, None) => Ok(Polled::End),
            };
        };
        if self.paused {
            return Ok(Polled::Wait(PAUSED));
        }
        if !open.at_end && self.reading.wants_more() {
            let left = open.split.end.map_or(u64::MAX, |e| e - open.read);
            let n = if left == 0 {
                0
            } else {
                let input = &mut open.input;
                let fill = |space: &mut [u8]| {
                    let most = space.len().min(left.min(1 << 30) as usize);
                    input.read(&mut space[..most])
                };
                let name = &open.split.path;
                self.reading
                    .fill(fill)
                    .map_err(|e| Error::data(format!("cannot read {}", name.display())).caused_by(e))?
            };
            open.read += n as u64;
            open.at_end = n == 0;
        }
        let (at_end, id) = (open.at_end, open.id);
        let progress = self.reading.decode(at_end, out)?;
        let position = (open.split.path.clone(), open.split.start, self.reading.position());
        match self.moved.last_mut() {
            Some(last) if (&last.0, last.1) == (&position.0, position.1) => last.2 = position.2,
            _ => self.moved.push(position),
        }
        if progress == DecodeProgress::End || at_end && self.reading.left() == 0 {
            self.current = None;
            out.end_split(id);
        }
        Ok(Polled::More)
    }

    fn has_splits(&self) -> bool {
        true
    }

    fn pause_splits(&mut self, splits: &[SplitId]) -> Result<()> {
        self.paused = self.current.as_ref().is_some_and(|open| splits.contains(&open.id));
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        for (path, start, position) in std::mem::take(&mut self.moved) {
            changes.set(&split_key(&path, start), &stored::encode(&KeptPosition(position)));
        }
        let mut pool = locked(&self.pool);
        for path in std::mem::take(&mut pool.fresh) {
            if let Some(known) = pool.known.get(&path) {
                let value = serde_json::to_vec(known).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
                changes.set(&file_key(&path), &value);
            }
        }
        Ok(changes)
    }
}
