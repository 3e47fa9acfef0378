//! The cause of an error: an error of another library. It is kept in full for code that inspects it, and shown without secrets.

use crate::secrets;
use std::error::Error;
use std::fmt;

/// Another error, and the text of its whole chain.
pub(crate) struct Cause {
    /// The error itself. Its own text may contain secrets.
    pub original: Box<dyn Error + Send + Sync>,
    /// The chain for display.
    pub shown: Link,
}

impl Cause {
    pub fn new(original: Box<dyn Error + Send + Sync>) -> Self {
        let shown = Link::of(original.as_ref(), 0);
        Cause { original, shown }
    }
}

/// An error in a chain, by its text. Secrets and control characters are removed when it is shown.
pub(crate) struct Link {
    words: String,
    next: Option<Box<Link>>,
}

impl Link {
    /// The maximum length of a chain. A longer one is truncated.
    const LONGEST: usize = 32;

    fn of(error: &(dyn Error + 'static), depth: usize) -> Self {
        let next = error.source().filter(|_| depth < Self::LONGEST);
        Link { words: error.to_string(), next: next.map(|e| Box::new(Link::of(e, depth + 1))) }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&secrets::shown(&self.words, true))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Link {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_ref().map(|l| l.as_ref() as _)
    }
}
