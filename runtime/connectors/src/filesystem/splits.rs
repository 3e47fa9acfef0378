//! Divides files into splits that begin and end at the boundaries of records.

use crate::format::csv_scan::{CsvDialect, Scratch};
use crate::format::{LONGEST, StreamPosition};
use memchr::memchr;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use weir_core::{Error, Result};

/// The size of a split, approximately. A file of up to twice this size is one split.
const SPLIT: u64 = 8 << 20;
/// How many bytes at the beginning of a file identify it.
const HEAD: usize = 4096;

/// What the state has about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownFile {
    pub size: u64,
    pub head: u64,
    pub head_length: usize,
    /// The offsets at which splits begin; the first is 0.
    pub starts: Vec<u64>,
}

/// A split: a range of a file that one subtask reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSplit {
    pub path: PathBuf,
    pub start: u64,
    /// The exclusive end. None means the end of the file when it is reached.
    pub end: Option<u64>,
    /// Where to continue, as an offset in the decompressed file.
    pub position: StreamPosition,
}

pub(crate) fn compressed(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let error = Error::data(format!("cannot read {}", path.display())).caused_by(e);
        match missing {
            true => error.hint("check the table's path; a relative one starts from the script's folder"),
            false => error,
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

/// Inspects a new file.
pub(crate) fn survey(path: &Path, dialect: Option<CsvDialect>, splits: bool) -> Result<KnownFile> {
    let size = std::fs::metadata(path).map_err(io(path))?.len();
    let (head, head_length) = head(path, HEAD)?;
    let mut starts = vec![0];
    if splits && !compressed(path) && size > 2 * SPLIT {
        starts = boundaries(path, size, dialect).map_err(io(path))?;
    }
    Ok(KnownFile { size, head, head_length, starts })
}

/// The offsets of records to split at, about every `SPLIT` bytes. If no character of the file allows a record to span lines, each line
/// break ends a record. Otherwise the file is scanned record by record.
fn boundaries(path: &Path, size: u64, dialect: Option<CsvDialect>) -> std::io::Result<Vec<u64>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0u8; 1 << 20];
    if let Some(dialect) = dialect {
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            if dialect.may_span(&buffer[..n]) {
                file.rewind()?;
                return record_boundaries(&mut file, size, dialect, SPLIT);
            }
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

/// The same, with the scanner that reads the records later, so both agree on boundaries. `every` is the distance in bytes.
pub(crate) fn record_boundaries(
    file: &mut impl Read,
    size: u64,
    dialect: CsvDialect,
    every: u64,
) -> std::io::Result<Vec<u64>> {
    const CHUNK: usize = 1 << 20;
    let (mut starts, mut last, mut offset) = (vec![0], 0, 0);
    let (mut buffer, mut from) = (vec![], 0);
    let mut scratch = Scratch::default();
    // Whether the rest of a line that is too long is being skipped.
    let mut passing = false;
    loop {
        buffer.drain(..from);
        let before = buffer.len();
        buffer.resize(before + CHUNK, 0);
        let n = file.read(&mut buffer[before..])?;
        buffer.truncate(before + n);
        from = if offset == 0 && buffer.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        offset += from as u64;
        while from < buffer.len() {
            let data = &buffer[from..];
            let used =
                if passing { memchr(b'\n', data).map(|n| n + 1) } else { dialect.pass(data, n == 0, &mut scratch) };
            let Some(used) = used else {
                passing |= data.len() > LONGEST;
                if passing {
                    offset += data.len() as u64;
                    from = buffer.len();
                }
                break;
            };
            passing = false;
            from += used;
            offset += used as u64;
            if offset - last >= every && offset < size {
                starts.push(offset);
                last = offset;
            }
        }
        if n == 0 {
            return Ok(starts);
        }
    }
}

/// The order of names in which numbers are compared as numbers: `part-2` comes before `part-10`.
pub(crate) fn in_order(a: &Path, b: &Path) -> Ordering {
    let (a, b) = (a.as_os_str().as_encoded_bytes(), b.as_os_str().as_encoded_bytes());
    let (mut i, mut j) = (0, 0);
    let digits = |of: &[u8], from: usize| of[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    while i < a.len() && j < b.len() {
        let (n, m) = (digits(a, i), digits(b, j));
        let order = if n > 0 && m > 0 {
            let number = |of: &[u8]| -> Vec<u8> { of.iter().copied().skip_while(|b| *b == b'0').collect() };
            let (x, y) = (number(&a[i..i + n]), number(&b[j..j + m]));
            (i, j) = (i + n, j + m);
            x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
        } else {
            (i, j) = (i + 1, j + 1);
            a[i - 1].cmp(&b[j - 1])
        };
        if order.is_ne() {
            return order;
        }
    }
    (a.len() - i).cmp(&(b.len() - j)).then_with(|| a.cmp(b))
}

/// The files that a path stands for: a file, all files of a folder, or those that match a glob pattern. Hidden files are left out.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let text = path.to_string_lossy();
    let hidden = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(['.', '_']));
    let mut out = vec![];
    if path.is_dir() {
        let below = walkdir::WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter();
        for e in below.filter_entry(|e| e.depth() == 0 || !hidden(e.path())) {
            let e = e.map_err(|e| Error::io(format!("cannot read {}", path.display())).caused_by(e))?;
            if e.file_type().is_file() {
                out.push(e.into_path());
            }
        }
    } else if path.exists() {
        out.push(path.to_path_buf());
    } else if text.contains(['*', '?', '[']) {
        let found =
            glob::glob(&text).map_err(|e| Error::script(format!("'{text}' is no pattern for files")).caused_by(e))?;
        for p in found {
            let p = p.map_err(|e| Error::io(format!("cannot read {}: {}", e.path().display(), e.error())))?;
            if p.is_file() && !hidden(&p) {
                out.push(p);
            }
        }
        if out.is_empty() {
            return Err(Error::data(format!("no file fits {text}")));
        }
    } else {
        return Err(io(path)(std::io::ErrorKind::NotFound.into()));
    }
    out.sort_by(|a, b| in_order(a, b));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: CsvDialect = CsvDialect { delimiter: b',', quote: Some(b'"'), escape: Some(b'\\'), comments: true };

    /// Checks that splits of a file with so many copies of a record begin where records do.
    fn check(record: &str, count: usize) {
        let text = record.repeat(count);
        let starts = record_boundaries(&mut text.as_bytes(), text.len() as u64, DIALECT, SPLIT).expect("read");
        assert!(starts.len() > 1, "{} splits", starts.len());
        for s in starts {
            assert_eq!(s as usize % record.len(), 0, "a split begins at {s}");
        }
    }

    #[test]
    fn splits_begin_where_records_do() {
        for record in [
            "1,\"x\n,y\",z\n",
            "1,\"x\"\"\n\",z\n",
            "1,\"x\\\"\n\",z\n",
            "1,x\\\"y,\\\nz\n",
            "a\"b,\"\\\\\" \t,\"\n\"\r\n",
        ] {
            check(record, (18 << 20) / record.len());
        }
    }

    #[test]
    fn a_line_without_end_moves_no_split_into_its_middle() {
        let long = format!("{}\n", "x".repeat(LONGEST + (9 << 20)));
        let text = format!("1,\"\n\"\n{long}2,\"\n\"\n");
        let starts = record_boundaries(&mut text.as_bytes(), text.len() as u64, DIALECT, SPLIT).expect("read");
        assert_eq!(starts, [0, 8 + long.len() as u64 - 2]);
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["p-10", "p-2", "p-1/x", "p-1", "p-02", "q", "p-"].map(Path::new);
        names.sort_by(|a, b| in_order(a, b));
        assert_eq!(names, ["p-", "p-1", "p-1/x", "p-02", "p-2", "p-10", "q"].map(Path::new));
    }
}
