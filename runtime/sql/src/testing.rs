//! What the tests of this crate share.

use crate::catalog::{FunctionLoader, FunctionSpec, UserFunction};
use crate::script::{Compiled, compile};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use weir_core::{Error, Result};

/// No functions of anybody's.
pub(crate) struct NoFunctions;

impl FunctionLoader for NoFunctions {
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>> {
        Err(Error::script(format!("the tests have no function '{}'", spec.name)))
    }
}

/// A script, or what is wrong with it.
pub(crate) fn try_compile(script: &str) -> Result<Compiled> {
    compile(script, Path::new("."), BTreeMap::new(), &NoFunctions, weir_connectors::REGISTRY)
}

/// A script that there is nothing wrong with.
pub(crate) fn compiled(script: &str) -> Compiled {
    try_compile(script).unwrap_or_else(|e| panic!("{script}: {e}"))
}
