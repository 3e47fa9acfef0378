//! The origin of records in a stream of bytes, for errors and dead letters.

use super::CHUNK;
use std::io::Read;
use std::sync::{Arc, Mutex};
use weir_core::origin::Origin;
use weir_core::thread::locked;
use weir_core::watermarks::SplitId;

/// Counts the lines of a stream up to an offset, only when an origin is needed. It reads the file again, and continues from where it was
/// last asked.
#[derive(Clone)]
pub(crate) struct LineCounter {
    name: Arc<str>,
    counted: Arc<Mutex<Option<CountedLines>>>,
}

struct CountedLines {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: u64,
    lines: u64,
}

impl LineCounter {
    pub fn new(name: &str) -> Self {
        LineCounter { name: name.into(), counted: Arc::default() }
    }

    /// The stream's name and the line of an offset, or the offset itself if the lines cannot be counted.
    pub fn place(&self, offset: u64) -> String {
        let mut counted = locked(&self.counted);
        match self.count(&mut counted, offset) {
            Some(line) => format!("{}, line {line}", self.name),
            None => format!("{}, byte {offset}", self.name),
        }
    }

    fn count(&self, counted: &mut Option<CountedLines>, offset: u64) -> Option<u64> {
        if counted.as_ref().is_none_or(|c| c.at > offset) {
            let file = std::fs::File::open(self.name.as_ref()).ok()?;
            let input: Box<dyn Read + Send> = if self.name.ends_with(".gz") {
                Box::new(flate2::read::MultiGzDecoder::new(file))
            } else {
                Box::new(file)
            };
            *counted = Some(CountedLines { input, buffer: vec![0; CHUNK], at: 0, lines: 0 });
        }
        let c = counted.as_mut()?;
        while c.at < offset {
            let most = (offset - c.at).min(CHUNK as u64) as usize;
            let n = c.input.read(&mut c.buffer[..most]).ok().filter(|n| *n > 0)?;
            c.lines += memchr::memchr_iter(b'\n', &c.buffer[..n]).count() as u64;
            c.at += n as u64;
        }
        Some(c.lines + 1)
    }
}

/// The origins of a batch's records in a stream.
pub(crate) struct StreamOrigin {
    pub lines: LineCounter,
    /// The offset of the batch's bytes in the stream.
    pub offset: u64,
    /// The offset of each row's record within them.
    pub starts: Vec<u32>,
    /// The batch's bytes, if dead letters may need them.
    pub bytes: Option<Vec<u8>>,
    /// The split of all records.
    pub split: SplitId,
}

impl std::fmt::Debug for StreamOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} records of {}", self.starts.len(), self.lines.name)
    }
}

impl Origin for StreamOrigin {
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        let Some(start) = self.starts.get(row as usize) else {
            return (self.lines.name.to_string(), None);
        };
        let record = self.bytes.as_ref().map(|b| {
            // Several rows may come from the same record, which ends where the next one begins.
            let next = self.starts[row as usize..].iter().find(|s| *s > start);
            let end = next.map_or(b.len(), |n| *n as usize);
            b.get(*start as usize..end).unwrap_or_default().trim_ascii_end().to_vec()
        });
        (self.lines.place(self.offset + u64::from(*start)), record)
    }
    fn split(&self, _row: u32) -> SplitId {
        self.split
    }
}
