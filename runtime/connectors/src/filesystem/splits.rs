//! Cuts files into splits that begin and end with records.

use memchr::{memchr, memchr2};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use weir_core::{Error, Result};

/// A file below this is one split.
const SPLIT: u64 = 8 << 20;
/// Bytes of a file's head that tell it from another.
const HEAD: usize = 4096;

/// What is known of a file, kept with the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub size: u64,
    pub head: u64,
    pub head_length: usize,
    /// Where splits begin, the first at 0.
    pub starts: Vec<u64>,
}

/// A piece of a file, to be read by one subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub path: PathBuf,
    pub start: u64,
    /// None: to the end of the file, whatever that is by then.
    pub end: Option<u64>,
    /// Where to go on: bytes from the start of the file, unpacked.
    pub offset: u64,
}

pub(crate) fn compressed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| {
        let error = Error::new(weir_core::error::Kind::Data, format!("cannot read {}: {e}", path.display()));
        match e.kind() {
            std::io::ErrorKind::NotFound => {
                error.hint("check the table's path; a relative one starts from the script's folder")
            }
            _ => error,
        }
    }
}

/// The hash of a file's first bytes.
pub(crate) fn head(path: &Path, length: usize) -> Result<(u64, usize)> {
    let mut buffer = vec![0; length];
    let mut file = File::open(path).map_err(io(path))?;
    let mut n = 0;
    while n < length {
        match file.read(&mut buffer[n..]).map_err(io(path))? {
            0 => break,
            k => n += k,
        }
    }
    Ok((xxhash_rust::xxh3::xxh3_64(&buffer[..n]), n))
}

/// Looks at a file for the first time.
pub(crate) fn survey(path: &Path, quote: Option<u8>, delimiter: u8, splits: bool) -> Result<Known> {
    let size = std::fs::metadata(path).map_err(io(path))?.len();
    let (head, head_length) = head(path, HEAD)?;
    let mut starts = vec![0];
    if splits && !compressed(path) && size > 2 * SPLIT {
        starts = boundaries(path, size, quote, delimiter).map_err(io(path))?;
    }
    Ok(Known { size, head, head_length, starts })
}

/// Where records begin, about every `SPLIT` bytes. Without a quote in the file every line break ends a record; with one,
/// the file is gone through field by field, for a line break inside quotes ends none.
fn boundaries(path: &Path, size: u64, quote: Option<u8>, delimiter: u8) -> std::io::Result<Vec<u64>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0u8; 1 << 20];
    if let Some(q) = quote {
        let mut found = false;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            if memchr(q, &buffer[..n]).is_some() {
                found = true;
                break;
            }
        }
        if found {
            file.rewind()?;
            return quoted_boundaries(&mut file, q, delimiter);
        }
    }
    let mut starts = vec![0];
    let mut at = SPLIT;
    while at < size {
        file.seek(SeekFrom::Start(at))?;
        let mut place = at;
        let next = loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break None;
            }
            if let Some(b) = memchr(b'\n', &buffer[..n]) {
                break Some(place + b as u64 + 1);
            }
            place += n as u64;
        };
        match next.filter(|n| *n < size) {
            Some(n) => {
                starts.push(n);
                at = n + SPLIT;
            }
            None => break,
        }
    }
    Ok(starts)
}

/// The same for a file with quotes: quotes count at the begin of a field, and close it.
fn quoted_boundaries(file: &mut File, quote: u8, delimiter: u8) -> std::io::Result<Vec<u64>> {
    enum At {
        FieldStart,
        Plain,
        Quoted,
        /// Behind a quote inside quotes: it closed the field, or was the first of two.
        Closing,
    }
    let (mut state, mut offset, mut last) = (At::FieldStart, 0u64, 0u64);
    let mut starts = vec![0];
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(starts);
        }
        let data = &buffer[..n];
        let mut i = 0;
        while i < n {
            match state {
                At::FieldStart if data[i] == quote => {
                    state = At::Quoted;
                    i += 1;
                }
                At::FieldStart | At::Plain => match memchr2(delimiter, b'\n', &data[i..]) {
                    Some(k) => {
                        i += k + 1;
                        state = At::FieldStart;
                        let begin = offset + i as u64;
                        if data[i - 1] == b'\n' && begin - last >= SPLIT {
                            starts.push(begin);
                            last = begin;
                        }
                    }
                    None => {
                        state = At::Plain;
                        i = n;
                    }
                },
                At::Quoted => match memchr(quote, &data[i..]) {
                    Some(k) => {
                        i += k + 1;
                        state = At::Closing;
                    }
                    None => i = n,
                },
                At::Closing if data[i] == quote => {
                    state = At::Quoted;
                    i += 1;
                }
                At::Closing => state = At::Plain,
            }
        }
        offset += n as u64;
    }
}

/// The files that a path stands for: a file, all files of a folder, or those that a pattern fits; hidden ones left out.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let text = path.to_string_lossy();
    let hidden = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(['.', '_']));
    let mut out = vec![];
    if path.is_dir() {
        let below = walkdir::WalkDir::new(path).sort_by_file_name().into_iter();
        for e in below.filter_entry(|e| e.depth() == 0 || !hidden(e.path())) {
            let e = e.map_err(|e| Error::io(format!("cannot read {}: {e}", path.display())))?;
            if e.file_type().is_file() {
                out.push(e.into_path());
            }
        }
    } else if path.exists() {
        out.push(path.to_path_buf());
    } else if text.contains(['*', '?', '[']) {
        let found = glob::glob(&text).map_err(|e| Error::script(format!("'{text}' is no pattern for files: {e}")))?;
        out.extend(found.filter_map(std::result::Result::ok).filter(|p| p.is_file() && !hidden(p)));
        if out.is_empty() {
            return Err(Error::data(format!("no file fits {text}")));
        }
    } else {
        return Err(io(path)(std::io::ErrorKind::NotFound.into()));
    }
    Ok(out)
}
