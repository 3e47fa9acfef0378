//! Errors that speak to the user, and the exit code each kind stands for.

use crate::cause::Cause;
use crate::secrets;
use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

/// The result of everything that can fail in Weir.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error. It decides the exit code, and whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The job's script or its options are wrong.
    Script,
    /// A record could not be read, evaluated or written, and `on-error` says that this ends the job.
    Data,
    /// A function trapped, exceeded its limits or violated the contract.
    Function,
    /// The state folder is in use, damaged, or belongs to something else.
    State,
    /// A file, a pipe or a server failed; a retry may help.
    Io,
    /// A tool that is needed to build something is missing or failed.
    Tool,
    /// A bug in Weir: an invariant does not hold.
    Internal,
}

impl ErrorKind {
    /// The exit code of the process for an error of this kind. The reference has the table.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Script => 2,
            ErrorKind::Data => 3,
            ErrorKind::Function => 4,
            ErrorKind::State => 5,
            ErrorKind::Io => 6,
            ErrorKind::Tool => 7,
            ErrorKind::Internal => 70,
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

/// An error: what is wrong, where, what to do about it, its cause, and whether a retry can help.
///
/// `Display` shows all of it, including the cause; [`std::error::Error::source`] is the chain of causes. Secrets are removed from
/// both, and from `Debug`.
///
/// # Examples
/// ```
/// use weir_core::Error;
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let e = Error::io("cannot reach the broker").caused_by(refused);
/// assert_eq!(e.to_string(), "cannot reach the broker: connection refused");
/// assert!(e.is_retriable());
/// assert!(e.find::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused));
/// ```
#[derive(Clone)]
pub struct Error {
    /// What kind of error this is.
    pub kind: ErrorKind,
    /// What was wrong, in lower case and without a full stop.
    pub message: String,
    /// Where in the script, if it was there.
    pub place: Option<Place>,
    /// What to do about it.
    pub hint: Option<String>,
    /// For a bug: the place in Weir's source code where the invariant was found broken.
    raised: Option<&'static Location<'static>>,
    /// Whether a retry is known not to help, whatever the kind.
    permanent: bool,
    cause: Option<Arc<Cause>>,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), place: None, hint: None, raised: None, permanent: false, cause: None }
    }
    /// The script is wrong.
    pub fn script(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Script, message)
    }
    /// A record is wrong.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }
    /// A function misbehaved.
    pub fn function(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Function, message)
    }
    /// The state cannot be used.
    pub fn state(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::State, message)
    }
    /// Something outside failed.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message)
    }
    /// A tool is missing or failed.
    pub fn tool(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Tool, message)
    }
    /// A bug in Weir: an invariant does not hold. The message names the caller's place in the source code.
    #[track_caller]
    pub fn internal(message: impl Into<String>) -> Self {
        Error { raised: Some(Location::caller()), ..Self::new(ErrorKind::Internal, message) }
    }
    /// Whether a retry can help: something outside failed and may work the next time.
    pub fn is_retriable(&self) -> bool {
        self.kind == ErrorKind::Io && !self.permanent
    }
    /// Marks the error as one that a retry cannot help.
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }
    /// Changes the kind.
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }
    /// Adds the cause, and appends its text to the message.
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        self.message = format!("{}: {cause}", self.message);
        self.with_source(cause)
    }
    /// Adds the cause and leaves the message as it is. If the cause is an error that a retry cannot help, so is this one.
    pub fn with_source(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = Cause::new(cause.into());
        let of = |e: &(dyn std::error::Error + 'static)| e.downcast_ref::<Error>().is_some_and(|e| e.permanent);
        self.permanent |= of(cause.original.as_ref());
        self.cause = Some(Arc::new(cause));
        self
    }
    /// The first error of a type in the chain of causes. Its own text may contain secrets.
    pub fn find<E: std::error::Error + 'static>(&self) -> Option<&E> {
        let mut next: Option<&(dyn std::error::Error + 'static)> =
            self.cause.as_ref().map(|c| c.original.as_ref() as _);
        while let Some(e) = next {
            if let Some(found) = e.downcast_ref() {
                return Some(found);
            }
            if let Some(e) = e.downcast_ref::<Error>() {
                return e.find();
            }
            next = e.source();
        }
        None
    }
    /// Adds a hint, unless there is one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }
    /// Adds the place in the script, unless there is one.
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = self.place.or(place);
        self
    }
    /// Puts words in front of the message.
    pub fn context(mut self, words: impl fmt::Display) -> Self {
        self.message = format!("{words}: {}", self.message);
        self
    }
}

/// The hint for a bug in Weir.
const MISTAKE: &str = "this is a mistake of Weir's own, please report it with the statement";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(p) = self.place {
            write!(f, "line {}, column {}: ", p.line, p.column)?;
        }
        // What records hold may not begin a line of its own; what tools and parsers said may.
        let lines = !matches!(self.kind, ErrorKind::Data | ErrorKind::Function);
        f.write_str(&secrets::shown(&self.message, lines))?;
        if let Some(l) = self.raised {
            write!(f, " ({}:{})", l.file(), l.line())?;
        }
        let mistake = (self.kind == ErrorKind::Internal).then_some(MISTAKE);
        if let Some(hint) = self.hint.as_deref().or(mistake) {
            write!(f, "\n  hint: {}", secrets::shown(hint, lines))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)?;
        match &self.cause {
            Some(cause) => write!(f, "\n  from: {:?}", cause.shown),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|c| &c.shown as _)
    }
}

impl From<arrow::error::ArrowError> for Error {
    #[track_caller]
    fn from(e: arrow::error::ArrowError) -> Self {
        Error::internal(e.to_string()).with_source(e)
    }
}

/// Turns an I/O error on a path into an [`Error`]: `map_err(io("write", &path))`.
pub fn io(what: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |e| {
        let full = e.kind() == std::io::ErrorKind::StorageFull;
        let error = Error::io(format!("cannot {what} {}", path.display())).caused_by(e);
        if full { error.hint(FULL_DISK) } else { error }
    }
}

/// What to do about a full disk.
pub const FULL_DISK: &str = "make room on the disk and run the job again; nothing is lost";

/// The name nearest to what was written, for "did you mean" hints: one that differs in at most a third of its letters, not counting the
/// words before a dot that both have.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let (a, b) = without_common_words(&wanted, &name);
        let distance = strsim::damerau_levenshtein(a, b);
        (distance <= 1 + a.len().max(b.len()) / 3).then_some(distance)
    };
    names.into_iter().filter_map(|n| Some((distance(n)?, n))).min_by_key(|(d, _)| *d).map(|(_, n)| n)
}

fn without_common_words<'a>(mut a: &'a str, mut b: &'a str) -> (&'a str, &'a str) {
    while let (Some((word, rest)), Some((other, other_rest))) = (a.split_once('.'), b.split_once('.'))
        && word == other
    {
        (a, b) = (rest, other_rest);
    }
    (a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::io;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["value.schema", "value.source.database", "table.exec.state.ttl"];
        assert_eq!(nearest("value.nope", names), None);
        assert_eq!(nearest("Value.shema", names), Some("value.schema"));
        assert_eq!(nearest("table.exec.stat.ttl", names), Some("table.exec.state.ttl"));
        assert_eq!(nearest("vaule.schema", names), Some("value.schema"));
        assert_eq!(nearest("", names), None);
    }

    fn chain(e: &Error) -> Vec<String> {
        let mut said = vec![];
        let mut next = e.source();
        while let Some(e) = next {
            said.push(e.to_string());
            next = e.source();
        }
        said
    }

    #[test]
    fn what_an_error_came_from_is_kept() {
        let inner = io::Error::new(io::ErrorKind::TimedOut, "no answer");
        let outer =
            Error::io("cannot ask").caused_by(Error::state("the store failed").caused_by(inner)).context("table 't'");
        assert_eq!(outer.to_string(), "table 't': cannot ask: the store failed: no answer");
        assert_eq!(chain(&outer), ["the store failed: no answer", "no answer"]);
        assert_eq!(outer.find::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::TimedOut));
        assert!(outer.find::<fmt::Error>().is_none());
        assert_eq!(chain(&outer.clone().at(None).hint("wait")), chain(&outer));
    }

    #[test]
    fn an_error_says_whether_trying_again_can_help() {
        assert!(Error::io("away").is_retriable());
        assert!(!Error::io("away").permanent().context("it").is_retriable());
        assert!(!Error::io("cannot ask").caused_by(Error::io("no such protocol").permanent()).is_retriable());
        assert!(!Error::data("no number").is_retriable());
        assert!(Error::state("the disk is full").of_kind(ErrorKind::Io).is_retriable());
    }

    #[test]
    fn a_mistake_of_weirs_own_names_its_place() {
        let e = Error::internal("a lost column");
        let line = line!() - 1;
        let said = format!("a lost column (runtime/core/src/error.rs:{line})\n  hint: {MISTAKE}");
        assert_eq!(e.to_string(), said.replace("runtime/core/", file!().trim_end_matches("src/error.rs")));
        let arrow = || -> Result<()> { Err(arrow::error::ArrowError::DivideByZero)? };
        let line = line!() - 1;
        let e = arrow().expect_err("an error of Arrow's");
        assert!(e.to_string().contains(&format!("error.rs:{line})")), "{e}");
        assert!(e.find::<arrow::error::ArrowError>().is_some());
    }

    #[test]
    fn secrets_are_taken_out_of_the_whole_chain() {
        secrets::keep("p4ssw0rd-of-the-chain", "${CHAIN}");
        let io = io::Error::other("p4ssw0rd-of-the-chain was refused");
        let e = Error::io("p4ssw0rd-of-the-chain").caused_by(Error::state("not p4ssw0rd-of-the-chain").caused_by(io));
        for said in chain(&e).into_iter().chain([e.to_string(), format!("{e:?}"), format!("{:?}", e.source())]) {
            assert!(said.contains("${CHAIN}") && !said.contains("p4ss"), "{said}");
        }
    }
}
