//! Errors that speak to the user, and the exit code each kind stands for.

use crate::secrets;
use std::fmt;
use std::path::Path;

/// The result of everything that can fail in Weir.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; decides the exit code and whether a restart can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The job's script or its options are wrong.
    Script,
    /// A record could not be read, evaluated or written, and the policy says that this ends the job.
    Data,
    /// A function trapped, broke its limits or the contract.
    Function,
    /// The state folder is in use, damaged, or belongs to something else.
    State,
    /// A file, a pipe or a server failed; trying again may help.
    Io,
    /// A tool that is needed to build something is missing or failed.
    Tool,
    /// A mistake of Weir's own.
    Internal,
}

impl Kind {
    /// The process's exit code for an error of this kind; the table stands in the documentation.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Script => 2,
            Kind::Data => 3,
            Kind::Function => 4,
            Kind::State => 5,
            Kind::Io => 6,
            Kind::Tool => 7,
            Kind::Internal => 70,
        }
    }
}

/// A place in a script: line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

/// An error: what was wrong, where, and what to do about it.
#[derive(Debug, Clone)]
pub struct Error {
    /// What kind of error this is.
    pub kind: Kind,
    /// What was wrong, in lower case and without a full stop.
    pub message: String,
    /// Where in the script, if it was there.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), place: None, hint: None }
    }
    /// The script is wrong.
    pub fn script(message: impl Into<String>) -> Self {
        Self::new(Kind::Script, message)
    }
    /// A record is wrong.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data, message)
    }
    /// A function misbehaved.
    pub fn function(message: impl Into<String>) -> Self {
        Self::new(Kind::Function, message)
    }
    /// The state cannot be used.
    pub fn state(message: impl Into<String>) -> Self {
        Self::new(Kind::State, message)
    }
    /// Something outside failed.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(Kind::Io, message)
    }
    /// A tool is missing or failed.
    pub fn tool(message: impl Into<String>) -> Self {
        Self::new(Kind::Tool, message)
    }
    /// A mistake of Weir's own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
    /// Whether something outside was away, so that trying again may help.
    pub fn is_outage(&self) -> bool {
        self.kind == Kind::Io
    }
    /// The same error with a hint, unless it has one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }
    /// The same error with its place, unless it has one.
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = self.place.or(place);
        self
    }
    /// The same error with words before its message.
    pub fn context(mut self, words: impl fmt::Display) -> Self {
        self.message = format!("{words}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(p) = self.place {
            write!(f, "line {}, column {}: ", p.line, p.column)?;
        }
        // What records hold may not begin a line of its own; what tools and parsers said may.
        let lines = !matches!(self.kind, Kind::Data | Kind::Function);
        f.write_str(&secrets::shown(&self.message, lines))?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {}", secrets::shown(hint, lines))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        Error::internal(e.to_string())
    }
}

/// Makes an error of a failed step on a path: `map_err(io("write", &path))`.
pub fn io(what: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| {
        let error = Error::io(format!("cannot {what} {}: {e}", path.display()));
        match e.kind() {
            std::io::ErrorKind::StorageFull => error.hint(FULL_DISK),
            _ => error,
        }
    }
}

/// What to do about a full disk.
pub const FULL_DISK: &str = "make room on the disk and run the job again; nothing is lost";

/// The name nearest to what was written, for "did you mean" hints; distance at most a third of its length.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    names
        .into_iter()
        .map(|n| (distance(&wanted, &n.to_lowercase()), n))
        .filter(|(d, n)| *d <= 1 + n.len().max(wanted.len()) / 3)
        .min_by_key(|(d, _)| *d)
        .map(|(_, n)| n)
}

fn distance(a: &str, b: &str) -> usize {
    strsim::damerau_levenshtein(a, b)
}
