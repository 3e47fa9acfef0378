//! What commands write to standard output and standard error.

use std::fmt::Display;
use std::io::{self, Write, stdout};
use weir_core::error::ErrorKind;

/// Writes a line to standard error; when nobody reads that, nobody is told.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// Writes a line. Whoever reads no further, as `head` does, wants no more: the process ends then.
pub fn line(text: impl Display) {
    write(format_args!("{text}\n"));
}

/// Writes a text that has its line breaks.
pub fn text(text: impl Display) {
    write(format_args!("{text}"));
}

fn write(text: std::fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            note!("error: standard output cannot be written: {e}");
            std::process::exit(i32::from(ErrorKind::Io.exit_code()));
        }
    }
}
