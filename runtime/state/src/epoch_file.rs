//! The file of an epoch: all changes of state, and all outboxes to deliver, with a checksum. The epoch is durable once the file has its
//! final name.
//!
//! The layout is `WEIREP05`, the header's length, and the header as JSON; the entries of the outboxes, whose owners and lengths are in the
//! header; for each subtask its operator, the length of its range deletions and these as in [`KeyRanges::packed`], the length of its
//! changes of single keys and these as in [`Changes::packed`]; and the CRC-32 of everything before. Numbers are little-endian. Files that
//! begin with `WEIREP04` have no range deletions, and no lengths of them. They can be read as well.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use weir_core::error::io;
use weir_core::failpoint;
use weir_core::state::{Changes, Epoch, KeyRanges, OperatorId, Outbox};
use weir_core::{Error, Result};

const MAGIC: &[u8; 8] = b"WEIREP05";
/// The beginning of files that were written before there were range deletions.
const WITHOUT_RANGES: &[u8; 8] = b"WEIREP04";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    finished: bool,
    /// The owners of outboxes, with the lengths of their entries.
    outbox: Vec<(String, Vec<usize>)>,
}

/// The content of an epoch's file.
#[derive(Debug)]
pub(crate) struct Content {
    pub finished: bool,
    pub outbox: Outbox,
    pub changes: Vec<(OperatorId, Changes)>,
}

pub(crate) fn path(folder: &Path, epoch: Epoch) -> PathBuf {
    folder.join(format!("{:020}.epoch", epoch.0))
}

struct Summed<W> {
    inner: W,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, b: &[u8]) -> std::io::Result<()> {
        self.crc.update(b);
        self.bytes += b.len() as u64;
        self.inner.write_all(b)
    }
}

/// Writes an epoch's file, syncs it, and renames it to its final name. Returns its size in bytes.
pub(crate) fn write<'a>(
    folder: &Path,
    epoch: Epoch,
    finished: bool,
    outbox: &Outbox,
    changes: impl Iterator<Item = (OperatorId, &'a Changes)>,
) -> Result<u64> {
    let target = path(folder, epoch);
    let draft = target.with_extension("draft");
    let started = failpoint::pass("epoch-write").and_then(|()| File::create(&draft));
    let file = started.map_err(io("write", &draft))?;
    let mut out = Summed { inner: BufWriter::with_capacity(1 << 18, file), crc: crc32fast::Hasher::new(), bytes: 0 };
    let lengths = outbox.iter().map(|(owner, entries)| (owner.clone(), entries.iter().map(Vec::len).collect()));
    let header = Header { finished, outbox: lengths.collect() };
    let head = serde_json::to_vec(&header).map_err(|e| Error::internal(e.to_string()).with_source(e))?;
    let all = || -> std::io::Result<()> {
        out.put(MAGIC)?;
        out.put(&(head.len() as u32).to_le_bytes())?;
        out.put(&head)?;
        for entry in outbox.iter().flat_map(|(_, entries)| entries) {
            out.put(entry)?;
        }
        for (operator, changes) in changes {
            out.put(&operator.0.to_le_bytes())?;
            for part in [&changes.removed().packed(), changes.packed()] {
                out.put(&(part.len() as u64).to_le_bytes())?;
                out.put(part)?;
            }
        }
        let crc = out.crc.clone().finalize();
        out.inner.write_all(&crc.to_le_bytes())?;
        out.inner.flush()?;
        out.inner.get_ref().sync_data()
    };
    all().map_err(io("write", &draft))?;
    failpoint::pass("epoch-written").and_then(|()| fs::rename(&draft, &target)).map_err(io("name", &target))?;
    let synced = failpoint::pass("epoch-named").map_err(io("sync", folder)).and_then(|()| sync_folder(folder));
    synced.inspect_err(|_| {
        // The job goes back to the previous epoch, so this file must not be found in the next run.
        let _ = fs::remove_file(&target);
    })?;
    Ok(out.bytes + 4)
}

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync", folder))
}

/// Reads and validates an epoch's file.
pub(crate) fn read(path: &Path) -> Result<Content> {
    let bytes = fs::read(path).map_err(io("read", path))?;
    if bytes.starts_with(&MAGIC[..6]) && !bytes.starts_with(MAGIC) && !bytes.starts_with(WITHOUT_RANGES) {
        let wrong = format!("the epoch file {} has a form that this version of Weir does not read", path.display());
        return Err(Error::state(wrong).hint("run the version that wrote it, or start with --fresh"));
    }
    parse(&bytes).ok_or_else(|| {
        Error::state(format!("the epoch file {} is damaged", path.display()))
            .hint("start with --fresh, or restore an export with `weir state import`")
    })
}

fn parse(bytes: &[u8]) -> Option<Content> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let has_ranges = body.starts_with(MAGIC);
    let (n, rest) = body.strip_prefix(if has_ranges { MAGIC } else { WITHOUT_RANGES })?.split_first_chunk::<4>()?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*n) as usize)?;
    let header: Header = serde_json::from_slice(head).ok()?;
    let mut outbox = Outbox::new();
    for (owner, lengths) in header.outbox {
        let mut entries = vec![];
        for n in lengths {
            let (entry, tail) = rest.split_at_checked(n)?;
            entries.push(entry.to_vec());
            rest = tail;
        }
        outbox.push((owner, entries));
    }
    let mut changes = vec![];
    while !rest.is_empty() {
        let (operator, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        let removed = if has_ranges { KeyRanges::unpack(part(&mut rest)?)? } else { KeyRanges::default() };
        let packed = part(&mut rest)?.to_vec();
        changes.push((OperatorId(u32::from_le_bytes(*operator)), Changes::unpack(packed, removed)?));
    }
    Some(Content { finished: header.finished, outbox, changes })
}

/// Takes a part with its length in front.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (n, rest) = bytes.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_at_checked(u64::from_le_bytes(*n) as usize)?;
    *bytes = rest;
    Some(part)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let name = |e: std::io::Result<fs::DirEntry>| Ok(e?.file_name().to_string_lossy().into_owned());
    fs::read_dir(folder).and_then(|all| all.map(name).collect()).map_err(io("read", folder))
}

/// The epochs that have a file, in order.
pub(crate) fn list(folder: &Path) -> Result<Vec<Epoch>> {
    let epoch = |name: &String| name.strip_suffix(".epoch").and_then(|n| n.parse().ok()).map(Epoch);
    let mut out: Vec<Epoch> = names(folder)?.iter().filter_map(epoch).collect();
    out.sort();
    Ok(out)
}

/// Removes the files of epochs that never became durable. It must not be called while a new one is being written.
pub(crate) fn remove_drafts(folder: &Path) -> Result<()> {
    for name in names(folder)?.iter().filter(|n| n.ends_with(".draft")) {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(io("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut changes = Changes::default();
        changes.set(b"key", b"value");
        changes.remove_range(b"prefix, a", b"prefix, b");
        let outbox: Outbox =
            vec![("a".into(), vec![b"one".to_vec(), vec![], vec![0, 255]]), ("b".into(), vec![vec![7; 100_000]])];
        let all = [(OperatorId(3), &changes), (OperatorId(9), &changes)];
        let written = write(folder.path(), Epoch(5), true, &outbox, all.into_iter()).expect("a file");
        let path = path(folder.path(), Epoch(5));
        assert_eq!(std::fs::metadata(&path).expect("the file").len(), written);
        assert!(written < 100_500, "{written} bytes: entries lie there as they are");
        let content = read(&path).expect("the content");
        assert_eq!((content.finished, content.outbox), (true, outbox));
        let read_back: Vec<_> = content.changes.iter().map(|(o, c)| (*o, c.packed(), c.removed())).collect();
        assert_eq!(read_back, all.map(|(o, c)| (o, c.packed(), c.removed())));
        assert_eq!(list(folder.path()).expect("a list"), [Epoch(5)]);
        let mut bytes = std::fs::read(&path).expect("the file");
        bytes[60] ^= 1;
        std::fs::write(&path, &bytes).expect("the file");
        assert!(read(&path).expect_err("damage").message.contains("damaged"));
        bytes[..8].copy_from_slice(b"WEIREP03");
        std::fs::write(&path, &bytes).expect("the file");
        assert!(read(&path).expect_err("an older form").message.contains("has a form"));
    }

    #[test]
    fn a_file_without_ranges_is_read() {
        let mut changes = Changes::default();
        changes.set(b"key", b"value");
        let head = serde_json::to_vec(&Header { finished: false, outbox: vec![] }).expect("a header");
        let mut bytes = [&WITHOUT_RANGES[..], &(head.len() as u32).to_le_bytes(), &head].concat();
        bytes.extend([&3_u32.to_le_bytes()[..], &(changes.packed().len() as u64).to_le_bytes()].concat());
        bytes.extend_from_slice(changes.packed());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let folder = tempfile::tempdir().expect("a folder");
        let path = path(folder.path(), Epoch(1));
        std::fs::write(&path, bytes).expect("a file");
        let read = read(&path).expect("its content").changes;
        let [(OperatorId(3), read)] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((read.packed(), read.removed().is_empty()), (changes.packed(), true));
    }
}
