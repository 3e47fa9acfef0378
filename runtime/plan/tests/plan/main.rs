//! Plans of scripts.

mod fingerprint;
mod identity;
mod physical;
mod shared;
mod traits;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use weir_core::{Error, Result};
use weir_sql::{Compiled, FunctionLoader, FunctionSpec, UserFunction, compile};

/// No functions of anybody's.
struct NoFunctions;

impl FunctionLoader for NoFunctions {
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>> {
        Err(Error::script(format!("the tests have no function '{}'", spec.name)))
    }
}

/// A script, or what is wrong with it.
fn try_compile(script: &str) -> Result<Compiled> {
    compile(script, Path::new("."), BTreeMap::new(), &NoFunctions)
}

/// A script that there is nothing wrong with.
fn compiled(script: &str) -> Compiled {
    try_compile(script).unwrap_or_else(|e| panic!("{script}: {e}"))
}
