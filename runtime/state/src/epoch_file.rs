//! The file of an epoch: everything that changed and everything that is to be delivered, with a checksum. Once it has its
//! name, the epoch is durable.
//!
//! `WEIREP01`, the header's length, the header as JSON, the changes (operator, key, value or none), CRC-32 of all before.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use weir_core::error::io;
use weir_core::failpoint;
use weir_core::state::{Epoch, Outbox};
use weir_core::{Error, Result};

const MAGIC: &[u8; 8] = b"WEIREP01";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub epoch: u64,
    pub finished: bool,
    pub outbox: Outbox,
}

/// An operator's key, and its new value.
pub(crate) type Entry = (u32, Vec<u8>, Option<Vec<u8>>);

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
    entries: impl Iterator<Item = (u32, &'a [u8], Option<&'a [u8]>)>,
) -> Result<u64> {
    let target = path(folder, Epoch(header.epoch));
    let draft = target.with_extension("draft");
    let started = failpoint::pass("epoch-write").and_then(|()| File::create(&draft));
    let file = started.map_err(io("write", &draft))?;
    let mut out = Summed { inner: BufWriter::with_capacity(1 << 18, file), crc: crc32fast::Hasher::new(), bytes: 0 };
    let head = serde_json::to_vec(header).map_err(|e| Error::internal(e.to_string()))?;
    let all = || -> std::io::Result<()> {
        out.put(MAGIC)?;
        out.put(&(head.len() as u32).to_be_bytes())?;
        out.put(&head)?;
        for (operator, key, value) in entries {
            out.put(&operator.to_be_bytes())?;
            out.put(&(key.len() as u32).to_be_bytes())?;
            out.put(key)?;
            let length = value.map_or(u32::MAX, |v| v.len() as u32);
            out.put(&length.to_be_bytes())?;
            out.put(value.unwrap_or_default())?;
        }
        let crc = out.crc.clone().finalize();
        out.inner.write_all(&crc.to_be_bytes())?;
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
pub(crate) fn read(path: &Path) -> Result<(Header, Vec<Entry>)> {
    let mut bytes = vec![];
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(io("read", path))?;
    let damaged = || {
        Error::state(format!("the epoch file {} is damaged", path.display()))
            .hint("start with --fresh, or restore an export with `weir state import`")
    };
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
        return Err(damaged());
    }
    let mut rest = body.strip_prefix(MAGIC).ok_or_else(damaged)?;
    fn number(rest: &mut &[u8]) -> Option<u32> {
        let (n, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(u32::from_be_bytes(*n))
    }
    fn part<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
        let (p, tail) = rest.split_at_checked(n)?;
        *rest = tail;
        Some(p)
    }
    let n = number(&mut rest).ok_or_else(damaged)? as usize;
    let header = serde_json::from_slice(part(&mut rest, n).ok_or_else(damaged)?).map_err(|_| damaged())?;
    let mut entries = vec![];
    while !rest.is_empty() {
        let mut entry = || -> Option<Entry> {
            let operator = number(&mut rest)?;
            let n = number(&mut rest)? as usize;
            let key = part(&mut rest, n)?.to_vec();
            let value = match number(&mut rest)? {
                u32::MAX => None,
                n => Some(part(&mut rest, n as usize)?.to_vec()),
            };
            Some((operator, key, value))
        };
        entries.push(entry().ok_or_else(damaged)?);
    }
    Ok((header, entries))
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
