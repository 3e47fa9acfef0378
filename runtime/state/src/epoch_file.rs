//! The file of an epoch: everything that changed and everything that is to be delivered, with a checksum. Once it has its
//! name, the epoch is durable.
//!
//! `WEIREP02`, the header's length, the header as JSON; for each subtask its operator, the length of its changes and the
//! changes as [`Changes::packed`] gives them; CRC-32 of all before. Numbers are little-endian.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use weir_core::error::io;
use weir_core::failpoint;
use weir_core::state::{Changes, Epoch, OperatorId, Outbox};
use weir_core::{Error, Result};

const MAGIC: &[u8; 8] = b"WEIREP02";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub epoch: u64,
    pub finished: bool,
    pub outbox: Outbox,
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

/// Writes an epoch's file and gives it its name.
pub(crate) fn write<'a>(
    folder: &Path,
    header: &Header,
    changes: impl Iterator<Item = (OperatorId, &'a Changes)>,
) -> Result<u64> {
    let target = path(folder, Epoch(header.epoch));
    let draft = target.with_extension("draft");
    let started = failpoint::pass("epoch-write").and_then(|()| File::create(&draft));
    let file = started.map_err(io("write", &draft))?;
    let mut out = Summed { inner: BufWriter::with_capacity(1 << 18, file), crc: crc32fast::Hasher::new(), bytes: 0 };
    let head = serde_json::to_vec(header).map_err(|e| Error::internal(e.to_string()))?;
    let all = || -> std::io::Result<()> {
        out.put(MAGIC)?;
        out.put(&(head.len() as u32).to_le_bytes())?;
        out.put(&head)?;
        for (operator, changes) in changes {
            out.put(&operator.0.to_le_bytes())?;
            out.put(&(changes.packed().len() as u64).to_le_bytes())?;
            out.put(changes.packed())?;
        }
        let crc = out.crc.clone().finalize();
        out.inner.write_all(&crc.to_le_bytes())?;
        out.inner.flush()?;
        out.inner.get_ref().sync_data()
    };
    all().map_err(io("write", &draft))?;
    failpoint::pass("epoch-written").and_then(|()| fs::rename(&draft, &target)).map_err(io("name", &target))?;
    failpoint::pass("epoch-named").map_err(io("sync", folder))?;
    sync_folder(folder)?;
    Ok(out.bytes + 4)
}

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync", folder))
}

/// Reads an epoch's file.
pub(crate) fn read(path: &Path) -> Result<(Header, Vec<(OperatorId, Changes)>)> {
    let bytes = fs::read(path).map_err(io("read", path))?;
    parse(&bytes).ok_or_else(|| {
        Error::state(format!("the epoch file {} is damaged", path.display()))
            .hint("start with --fresh, or restore an export with `weir state import`")
    })
}

fn parse(bytes: &[u8]) -> Option<(Header, Vec<(OperatorId, Changes)>)> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (n, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*n) as usize)?;
    let header = serde_json::from_slice(head).ok()?;
    let mut all = vec![];
    while !rest.is_empty() {
        let (operator, tail) = rest.split_first_chunk::<4>()?;
        let (n, tail) = tail.split_first_chunk::<8>()?;
        let (changes, tail) = tail.split_at_checked(u64::from_le_bytes(*n) as usize)?;
        all.push((OperatorId(u32::from_le_bytes(*operator)), Changes::unpack(changes.to_vec())?));
        rest = tail;
    }
    Some((header, all))
}

/// The epochs that have files, in order.
pub(crate) fn list(folder: &Path) -> Result<Vec<Epoch>> {
    let mut out = vec![];
    for e in fs::read_dir(folder).map_err(io("read", folder))? {
        let name = e.map_err(io("read", folder))?.file_name();
        let name = name.to_string_lossy();
        if let Some(n) = name.strip_suffix(".epoch").and_then(|n| n.parse().ok()) {
            out.push(Epoch(n));
        } else if name.ends_with(".draft") {
            // It never got its name, so it never was.
            let _ = fs::remove_file(folder.join(name.as_ref()));
        }
    }
    out.sort();
    Ok(out)
}
