//! What an error came from: another library's error, kept whole for whoever decides by it, and told without secrets.

use crate::secrets;
use std::error::Error;
use std::fmt;

/// Another error, and the words of its whole chain.
pub(crate) struct Cause {
    /// The error itself; its own words may hold secrets.
    pub original: Box<dyn Error + Send + Sync>,
    /// The chain as it may be shown.
    pub shown: Link,
}

impl Cause {
    pub fn new(original: Box<dyn Error + Send + Sync>) -> Self {
        let shown = Link::of(original.as_ref(), 0);
        Cause { original, shown }
    }
}

/// An error of a chain, by its words; secrets and control characters are taken out when it is shown.
pub(crate) struct Link {
    words: String,
    next: Option<Box<Link>>,
}

impl Link {
    /// Chains are short; one that is not is cut.
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
