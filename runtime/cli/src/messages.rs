//! Where log lines go: to the standard error, without secrets and control characters.

use std::io::{Result, Write};
use weir_core::secrets;

/// Writes log lines, each with one call.
pub struct LogLines {
    /// Whether lines are coloured; then the log's own escapes stay, which it takes out of what it is given itself.
    pub colours: bool,
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = if self.colours { secrets::masked(&text) } else { secrets::shown(&text, true) };
        std::io::stderr().write_all(shown.as_bytes())?;
        Ok(line.len())
    }
    fn flush(&mut self) -> Result<()> {
        std::io::stderr().flush()
    }
}
