//! What functions write into the log: as one line each, a bounded number of them a second, so that nothing that a guest says can
//! pass for another's line, fill a disk or move a terminal's cursor.

use bytes::Bytes;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use weir_core::thread::locked;

/// Lines that a function may write in a second, all its instances together.
const LINES_A_SECOND: u32 = 100;
/// Characters of one line, or of an error's text.
const LINE: usize = 2000;
/// Bytes of a line that has not ended yet; what is longer becomes several lines.
const OPEN_LINE: usize = 8 << 10;

/// The first characters of what a guest says; the others are not looked at.
pub(crate) fn cut(text: &str) -> &str {
    match text.char_indices().nth(LINE) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The first characters of what a guest says, with whatever is not to be seen written out: on one line, and without effect on a
/// terminal.
pub(crate) fn one_line(text: &str) -> String {
    let text = cut(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Line separators and what turns the direction of writing are no control characters by name.
        let hidden = matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c == '\t' || !(c.is_control() || hidden) {
            out.push(c);
        } else {
            let _ = write!(out, "{}", c.escape_default());
        }
    }
    out
}

/// How grave a line is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of a function, which its instances share.
pub(crate) struct Log {
    name: String,
    second: Instant,
    written: u32,
    left_out: u64,
    /// Whether it was said in this second that lines were left out.
    told: bool,
}

impl Log {
    pub fn new(name: &str) -> Arc<Mutex<Log>> {
        let name = name.to_string();
        Arc::new(Mutex::new(Log { name, second: Instant::now(), written: 0, left_out: 0, told: false }))
    }

    /// Writes a line, if there is room for one in this second.
    pub fn line(&mut self, level: Level, text: &str) {
        self.next_second();
        if self.written >= LINES_A_SECOND {
            self.left_out += 1;
            return;
        }
        self.written += 1;
        let (name, text) = (&self.name, one_line(text));
        match level {
            Level::Debug => tracing::debug!("{name}: {text}"),
            Level::Info => tracing::info!("{name}: {text}"),
            Level::Warn => tracing::warn!("{name}: {text}"),
            Level::Error => tracing::error!("{name}: {text}"),
        }
    }

    fn next_second(&mut self) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            self.tell();
            (self.second, self.written, self.told) = (Instant::now(), 0, false);
        }
    }

    /// A call has ended: says how many lines were left out, at most once a second.
    pub fn call_ended(&mut self) {
        self.next_second();
        if !self.told {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let lines = match std::mem::take(&mut self.left_out) {
            0 => return,
            1 => "a line was".to_string(),
            n => format!("{n} lines were"),
        };
        self.told = true;
        tracing::warn!("{}: {lines} left out: a function writes at most {LINES_A_SECOND} lines a second", self.name);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Standard output and error of one instance: lines for the log. Never closed.
#[derive(Clone)]
pub(crate) struct Printed(Arc<Mutex<Lines>>);

struct Lines {
    log: Arc<Mutex<Log>>,
    open: Vec<u8>,
    last: String,
}

impl Printed {
    pub fn new(log: Arc<Mutex<Log>>) -> Self {
        Printed(Arc::new(Mutex::new(Lines { log, open: vec![], last: String::new() })))
    }

    /// The last words that were printed; empty if there were none.
    pub fn last_words(&self) -> String {
        let mut lines = locked(&self.0);
        if !lines.open.is_empty() {
            lines.end();
        }
        lines.last.clone()
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        // Piece by piece, so that no more than two of them are ever kept.
        bytes.chunks(OPEN_LINE).for_each(|piece| self.push_piece(piece));
    }

    fn push_piece(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            self.open.extend_from_slice(&bytes[..at]);
            self.end();
            bytes = &bytes[at + 1..];
        }
        self.open.extend_from_slice(bytes);
        if self.open.len() > OPEN_LINE {
            self.end();
        }
    }

    fn end(&mut self) {
        let open = std::mem::take(&mut self.open);
        let text = String::from_utf8_lossy(&open);
        if text.trim().is_empty() {
            return;
        }
        locked(&self.log).line(Level::Info, &text);
        if !text.starts_with("note:") {
            self.last = one_line(&text);
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        StdoutStream::async_stream(&wasmtime_wasi::p2::pipe::SinkOutputStream)
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        locked(&self.0).push(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_one_line() {
        assert_eq!(
            one_line("a\nb\r\u{1b}[31m\u{9b}\u{2028}\u{202e}ü\t浙"),
            "a\\nb\\r\\u{1b}[31m\\u{9b}\\u{2028}\\u{202e}ü\t浙"
        );
        assert_eq!(one_line(&"浙".repeat(1 << 20)).chars().count(), LINE);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn lines_are_counted() {
        let log = Log::new("f");
        let printed = Printed::new(log.clone());
        for n in 0..250 {
            locked(&printed.0).push(format!("line {n}\nand").as_bytes());
        }
        let counts = || {
            let log = locked(&log);
            (log.written, log.left_out)
        };
        assert_eq!(counts(), (100, 150));
        assert_eq!(printed.last_words(), "and");
        locked(&log).second = Instant::now() - Duration::from_secs(2);
        locked(&log).line(Level::Warn, "another second");
        assert_eq!(counts(), (1, 0));
        // A line without end is written in pieces, and nothing of it is kept.
        for _ in 0..100 {
            locked(&printed.0).push(&[b'x'; 1 << 10]);
        }
        assert!(locked(&printed.0).open.len() <= OPEN_LINE);
    }
}
