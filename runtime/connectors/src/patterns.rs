//! Regular expressions in options. As in Flink, they match whole texts.

use regex::Regex;
use weir_core::{Error, Result};

/// Checks a regular expression.
///
/// # Errors
/// If it is invalid.
pub(crate) fn pattern(text: &str) -> Result<()> {
    whole(text).map(drop)
}

/// A regular expression that matches whole texts only.
///
/// # Errors
/// If it is invalid.
pub(crate) fn whole(text: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{text})$"))
        .map_err(|e| Error::script(format!("'{text}' is no regular expression")).caused_by(e))
}
