//! Helpers for the tests of this crate.

use crate::catalog::NoFunctions;
use crate::script::{Compiled, compile};
use std::collections::BTreeMap;
use std::path::Path;
use weir_core::Result;

/// Compiles a script, or returns its error.
pub(crate) fn try_compile(script: &str) -> Result<Compiled> {
    compile(script, Path::new("."), BTreeMap::new(), &NoFunctions, weir_connectors::REGISTRY)
}

/// Compiles a valid script.
pub(crate) fn compiled(script: &str) -> Compiled {
    try_compile(script).unwrap_or_else(|e| panic!("{script}: {e}"))
}
