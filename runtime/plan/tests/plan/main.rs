//! Plans of scripts.

mod fingerprint;
mod identity;
mod physical;
mod shared;
mod sharing;
mod traits;

use std::collections::BTreeMap;
use std::path::Path;
use weir_connectors::REGISTRY;
use weir_core::Result;
use weir_sql::{Compiled, NoFunctions, compile};

/// A script, or what is wrong with it.
fn try_compile(script: &str) -> Result<Compiled> {
    compile(script, Path::new("."), BTreeMap::new(), &NoFunctions, REGISTRY)
}

/// A script that there is nothing wrong with.
fn compiled(script: &str) -> Compiled {
    try_compile(script).unwrap_or_else(|e| panic!("{script}: {e}"))
}
