//! What the tests of this crate share.

use crate::catalog::NoFunctions;
use crate::script::{Compiled, compile};
use std::collections::BTreeMap;
use std::path::Path;
use weir_core::Result;

/// A script, or what is wrong with it.
pub(crate) fn try_compile(script: &str) -> Result<Compiled> {
    compile(script, Path::new("."), BTreeMap::new(), &NoFunctions, weir_connectors::REGISTRY)
}

/// A script that there is nothing wrong with.
pub(crate) fn compiled(script: &str) -> Compiled {
    try_compile(script).unwrap_or_else(|e| panic!("{script}: {e}"))
}
