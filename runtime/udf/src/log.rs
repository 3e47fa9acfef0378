//! Log output of functions. Each message becomes one line, and the number of lines per second is limited. So a guest can neither forge
//! lines of others, nor fill a disk, nor control a terminal.

use bytes::Bytes;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use weir_core::thread::locked;

/// Maximum number of lines per second of all instances of a function.
const LINES_A_SECOND: u32 = 100;
/// Maximum number of characters in a line, or in the text of an error.
const LINE: usize = 2000;
/// Maximum number of bytes of an incomplete line. Longer lines are split.
const OPEN_LINE: usize = 8 << 10;

/// Truncates a guest's text.
pub(crate) fn cut(text: &str) -> &str {
    match text.char_indices().nth(LINE) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Truncates a guest's text and escapes invisible characters, so that it is a single line without effect on a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let text = cut(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Line separators and characters that change the writing direction are not control characters by category.
        let hidden = matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c == '\t' || !(c.is_control() || hidden) {
            out.push(c);
        } else {
            let _ = write!(out, "{}", c.escape_default());
        }
    }
    out
}

/// The severity of a line.
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
    /// Whether dropped lines have been reported in this second.
    told: bool,
}

impl Log {
    pub fn new(name: &str) -> Arc<Mutex<Log>> {
        let name = name.to_string();
        Arc::new(Mutex::new(Log { name, second: Instant::now(), written: 0, left_out: 0, told: false }))
    }

    /// Writes a line, unless the limit of this second is reached.
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

    /// Ends a call, and reports the number of dropped lines at most once a second.
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

/// Standard output and error of an instance, which are written to the log line by line. They are never closed.
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

    /// The last printed text; empty if there was none.
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
        // Long output is split, so that no more than two parts are buffered.
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
