//! Regular expressions in options, which are of whole texts, as in Flink.

use regex::Regex;
use weir_core::{Error, Result};

/// Checks one.
///
/// # Errors
/// When it is none.
pub(crate) fn pattern(text: &str) -> Result<()> {
    whole(text).map(drop)
}

/// A regular expression of whole texts.
///
/// # Errors
/// When it is none.
pub(crate) fn whole(text: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{text})$"))
        .map_err(|e| Error::script(format!("'{text}' is no regular expression")).caused_by(e))
}
