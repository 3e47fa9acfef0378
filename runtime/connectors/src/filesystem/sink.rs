//! Writes files. Rows go into a hidden file. At a barrier its length is written to the state, so that rows which no durable epoch covers
//! can be truncated. A finished part gets its final name once its epoch is durable.
//!
//! A process that takes a job over does not change the files of the previous process, which may still be running. It copies the rows of
//! durable epochs.

use super::claim::FolderClaim;
use super::parts::{PartFile, PartFiles, sub_folder};
use super::{DEFAULT_NAME, FILE_SIZE, FORMAT, ROLLOVER};
use crate::format::{Encoder, EncoderFactory, encoder};
use crate::options::TableSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use weir_core::error::io;
use weir_core::graph::{CommitMarker, JobIdentity, Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema, failpoint, private};

struct Files {
    folder: PathBuf,
    make: Arc<EncoderFactory>,
    extension: &'static str,
    /// The columns that are written. Those of PARTITIONED BY are not.
    columns: Vec<usize>,
    schema: Schema,
    partitioned_by: Vec<usize>,
    /// The text for NULL or an empty value in the names of folders.
    default: String,
    largest: u64,
    longest: Duration,
    uid: String,
    begun: OnceLock<Begun>,
    /// Whether this process has not yet taken over what an earlier one left.
    first: AtomicBool,
    /// An epoch, and those of its parts that this process has named. The whole epoch is delivered again if another sink's delivery fails.
    named: Mutex<(Epoch, BTreeSet<PathBuf>)>,
}

/// What this process found when it began.
struct Begun {
    claim: FolderClaim,
    /// The prefix of the job's hidden files for this sink. Other jobs may write to the same folder.
    all: String,
    /// The prefix of the hidden files of this process.
    prefix: String,
    /// The last epoch with a delivery of this sink.
    epoch: Epoch,
}

pub(crate) fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    let columns: Vec<usize> = (0..table.schema.len()).filter(|c| !table.partitioned_by.contains(c)).collect();
    let (make, extension) = encoder(table, &table.value(&FORMAT)?, "", &columns)?;
    Ok(Arc::new(Files {
        folder: super::path(table)?,
        make: Arc::new(make),
        columns,
        extension,
        schema: table.schema.clone(),
        partitioned_by: table.partitioned_by.clone(),
        default: table.value(&DEFAULT_NAME)?,
        largest: table.value(&FILE_SIZE)?,
        longest: table.value(&ROLLOVER)?,
        uid: table.uid.clone(),
        begun: OnceLock::new(),
        first: AtomicBool::new(true),
        named: Mutex::new((Epoch(0), BTreeSet::new())),
    }))
}

/// A finished part: its hidden name, and its final name.
#[derive(Serialize, Deserialize)]
struct Finished {
    from: PathBuf,
    to: PathBuf,
}

fn key(path: &Path) -> Vec<u8> {
    [b"\0\0p", path.as_os_str().as_encoded_bytes()].concat()
}

impl Finished {
    /// Gives the part its final name, unless it has it. A part that was named before may be `gone`, because a reader has moved it since.
    fn deliver(&self, gone: bool) -> Result<()> {
        failpoint::pass("part-deliver").map_err(io("name", &self.to))?;
        match fs::rename(&self.from, &self.to) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.to.exists() => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && gone => {
                tracing::warn!("{} is not there any more", self.to.display());
                Ok(())
            }
            other => other.map_err(io("name", &self.to)),
        }
    }
}

/// The state's entry for an unfinished part.
#[derive(Serialize, Deserialize)]
struct Noted {
    length: u64,
    to: PathBuf,
}

impl Files {
    fn begun(&self) -> Result<&Begun> {
        self.begun.get().ok_or_else(|| Error::internal("a sink of files before its beginning"))
    }
}

impl SinkFactory for Files {
    fn begin(&self, job: &JobIdentity, mark: Option<CommitMarker>) -> Result<()> {
        if let Some(b) = self.begun.get() {
            return b.claim.held(|| Ok(()));
        }
        let own = xxhash_rust::xxh3::xxh3_64(format!("{} {}", self.uid, job.id).as_bytes());
        private::make_folder_for_all(&self.folder).map_err(io("make", &self.folder))?;
        let claim = FolderClaim::take(&self.folder, own, job, mark.is_some())?;
        let all = format!(".part-{own:016x}-");
        let prefix = format!("{all}{}-", claim.process());
        let epoch = mark.map_or(Epoch(0), |m| m.epoch);
        self.begun.get_or_init(|| Begun { claim, all, prefix, epoch });
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        private::make_folder_for_all(&self.folder).map_err(io("make", &self.folder))?;
        Ok(Box::new(FileWriter {
            folder: self.folder.clone(),
            encoder: (self.make)(),
            extension: self.extension,
            columns: self.columns.clone(),
            schema: self.schema.clone(),
            partitioned_by: self.partitioned_by.clone(),
            default: self.default.clone(),
            largest: self.largest,
            longest: self.longest,
            prefix: self.begun()?.prefix.clone(),
            claim: self.begun()?.claim.clone(),
            epoch: context.state.last_epoch().0,
            context,
            parts: PartFiles::default(),
            finished: vec![],
            count: 0,
            row: vec![],
        }))
    }

    fn deliver(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        self.begun()?.claim.held(|| self.name(mark, outbox))
    }

    fn recover(&self, state: &StateHandle) -> Result<Changes> {
        self.begun()?.claim.held(|| self.take_over(state))
    }
}

impl Files {
    /// Gives the parts of an epoch their final names.
    fn name(&self, mark: CommitMarker, outbox: &[Vec<u8>]) -> Result<()> {
        let earlier = mark.epoch <= self.begun()?.epoch;
        let mut named = locked(&self.named);
        if named.0 != mark.epoch {
            *named = (mark.epoch, BTreeSet::new());
        }
        let mut folders = BTreeSet::new();
        for entry in outbox {
            let f: Finished = serde_json::from_slice(entry).map_err(|_| Error::state("an outbox is damaged"))?;
            f.deliver(earlier || named.1.contains(&f.to))?;
            folders.extend(f.to.parent().map(Path::to_path_buf));
            named.1.insert(f.to);
        }
        // The epoch's file has the names and is removed after this, so the renames must be durable by then.
        for f in folders {
            match File::open(&f).and_then(|f| f.sync_all()) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                synced => synced.map_err(io("sync", &f))?,
            }
        }
        failpoint::pass("parts-delivered").map_err(io("name parts in", &self.folder))
    }

    /// The rows of durable epochs in hidden files become parts. Rows after them are dropped.
    fn take_over(&self, state: &StateHandle) -> Result<Changes> {
        let mut changes = Changes::default();
        let first = self.first.swap(false, Ordering::Relaxed);
        for (k, v) in state.scan(b"\0\0p")? {
            let from = PathBuf::from(String::from_utf8_lossy(&k[3..]).into_owned());
            let noted: Noted =
                serde_json::from_slice(&v).map_err(|_| Error::state("the state of a file is damaged"))?;
            if from.exists() {
                self.cut(&from, &noted)?;
            } else {
                Finished { from, to: noted.to }.deliver(first)?;
            }
            changes.remove(&[&k]);
        }
        let prefix = &self.begun()?.all;
        if self.folder.is_dir() {
            for e in walkdir::WalkDir::new(&self.folder).into_iter().filter_map(std::result::Result::ok) {
                if e.file_type().is_file() && e.file_name().to_string_lossy().starts_with(prefix) {
                    fs::remove_file(e.path()).map_err(io("remove", e.path()))?;
                }
            }
        }
        Ok(changes)
    }
}

impl Files {
    /// Makes a part of the first bytes of a hidden file. A file of another process is copied, since that process may still be writing to
    /// it.
    fn cut(&self, from: &Path, noted: &Noted) -> Result<()> {
        let begun = self.begun()?;
        let there = fs::metadata(from).map_err(io("look at", from))?.len();
        if there < noted.length {
            let e = format!("{} has {there} bytes, and the state says {}", from.display(), noted.length);
            return Err(Error::state(e).hint("rows are lost that were written; --fresh starts anew"));
        }
        let name = from.file_name().unwrap_or_default().to_string_lossy();
        let own = if name.starts_with(&begun.prefix) {
            let file = OpenOptions::new().write(true).open(from).map_err(io("open", from))?;
            file.set_len(noted.length).map_err(io("cut", from))?;
            file.sync_all().map_err(io("sync", from))?;
            from.to_path_buf()
        } else {
            let own = from.with_file_name(format!("{}of-{}", begun.prefix, name.trim_start_matches('.')));
            let mut rows = File::open(from).map_err(io("open", from))?.take(noted.length);
            let mut file = File::create(&own).map_err(io("write", &own))?;
            let copied = std::io::copy(&mut rows, &mut file).map_err(io("copy", from))?;
            if copied != noted.length {
                return Err(Error::io(format!("{} became shorter while it was copied", from.display())));
            }
            file.sync_all().map_err(io("sync", &own))?;
            own
        };
        Finished { from: own, to: noted.to.clone() }.deliver(false)?;
        if from.exists() {
            fs::remove_file(from).map_err(io("remove", from))?;
        }
        Ok(())
    }
}

struct FileWriter {
    folder: PathBuf,
    encoder: Box<dyn Encoder>,
    extension: &'static str,
    columns: Vec<usize>,
    schema: Schema,
    partitioned_by: Vec<usize>,
    /// The text for NULL or an empty value in the names of folders.
    default: String,
    largest: u64,
    longest: Duration,
    prefix: String,
    claim: FolderClaim,
    epoch: u64,
    context: SubtaskContext,
    parts: PartFiles,
    /// Parts that were finished in this epoch, and whether the state has an entry for each.
    finished: Vec<(Finished, bool)>,
    count: u64,
    row: Vec<u8>,
}

impl FileWriter {
    fn part(&mut self, folder: &Path) -> Result<&mut PartFile> {
        let count = &mut self.count;
        let (subtask, epoch, run) = (self.context.subtask, self.epoch + 1, &self.context.job.run);
        let (prefix, extension) = (&self.prefix, self.extension);
        self.parts.of(folder, || {
            let name = format!("{subtask}-{epoch}-{count}");
            *count += 1;
            (folder.join(format!("{prefix}{name}")), folder.join(format!("part-{run}-{name}.{extension}")))
        })
    }

    fn finish(&mut self, folder: &Path) -> Result<()> {
        if let Some(p) = self.parts.take(folder)? {
            self.finished.push((Finished { from: p.hidden, to: p.to }, p.noted));
        }
        Ok(())
    }

    /// Writes rows that belong to one folder.
    fn rows(&mut self, batch: &Batch, rows: impl Iterator<Item = usize>, folder: &Path) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        let mut row_bytes = std::mem::take(&mut self.row);
        for row in rows {
            row_bytes.clear();
            self.encoder.encode(batch, row, &columns, &mut row_bytes)?;
            row_bytes.push(b'\n');
            let largest = self.largest;
            let part = self.part(folder)?;
            failpoint::pass("part-write").and_then(|()| part.push(&row_bytes)).map_err(io("write", &part.hidden))?;
            if part.length >= largest {
                self.finish(folder)?;
            }
        }
        (self.columns, self.row) = (columns, row_bytes);
        Ok(())
    }
}

impl Sink for FileWriter {
    fn write(&mut self, batch: Batch) -> Result<()> {
        if self.partitioned_by.is_empty() {
            let folder = self.folder.clone();
            self.rows(&batch, 0..batch.rows(), &folder)?;
        } else {
            // One folder after another, so each file is opened only once per batch.
            let mut folders: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
            let (fields, by) = (&self.schema.fields, &self.partitioned_by);
            for row in 0..batch.rows() {
                let folder = sub_folder(&self.folder, fields, by, &self.default, &batch, row);
                folders.entry(folder).or_default().push(row);
            }
            for (folder, rows) in folders {
                self.rows(&batch, rows.into_iter(), &folder)?;
            }
            for folder in self.parts.surplus() {
                self.finish(&folder)?;
            }
        }
        self.context.metrics.bytes_out.inc_by(batch.bytes() as u64);
        Ok(())
    }

    fn checkpoint(&mut self, epoch: Epoch, last: bool) -> Result<SinkCheckpoint> {
        self.claim.held(|| Ok(()))?;
        self.epoch = epoch.0;
        let old = self.parts.folders(|p| last || p.since.elapsed() >= self.longest);
        for folder in old {
            self.finish(&folder)?;
        }
        let mut out = SinkCheckpoint::default();
        for (f, noted) in std::mem::take(&mut self.finished) {
            if noted {
                out.changes.remove(&[&key(&f.from)]);
            }
            out.outbox.push(serde_json::to_vec(&f).map_err(|e| Error::internal(e.to_string()).with_source(e))?);
        }
        failpoint::pass("part-note").map_err(io("sync parts in", &self.folder))?;
        self.parts.sync(|p| {
            p.noted = true;
            let noted = Noted { length: p.length, to: p.to.clone() };
            let value = serde_json::to_vec(&noted).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
            out.changes.set(&key(&p.hidden), &value);
            Ok(())
        })?;
        Ok(out)
    }
}
