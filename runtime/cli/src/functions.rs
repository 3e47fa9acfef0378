//! Builds and loads the functions that a script declares.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_core::metrics::Metrics;
use weir_core::{Result, SqlType};
use weir_expr::Function;
use weir_sql::{FunctionLoader, FunctionSpec, UserFunction};
use weir_udf_host::{Limits, Loaded, build, cache_folder};

/// Loads functions into the sandboxes of this process.
pub struct Loader {
    metrics: Metrics,
    base: PathBuf,
}

impl Loader {
    /// A loader whose functions count into these metrics. Assets' paths start from `base`.
    pub fn new(metrics: Metrics, base: PathBuf) -> Self {
        Loader { metrics, base }
    }
}

/// The functions of a job as `weir run` loads them.
pub fn sandboxed(metrics: &Metrics, base: &Path) -> Box<dyn FunctionLoader> {
    Box::new(Loader::new(metrics.clone(), base.to_path_buf()))
}

struct Bound(weir_udf_host::UserFunction);

impl UserFunction for Bound {
    fn bind(&self, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)> {
        self.0.bind(args)
    }
    fn signature(&self) -> String {
        self.0.signature()
    }
}

impl FunctionLoader for Loader {
    fn load(&self, spec: &FunctionSpec) -> Result<Arc<dyn UserFunction>> {
        let name = &spec.name;
        let named = |e: weir_core::Error| e.context(format!("function '{name}'"));
        let limits = Limits::from_options(&spec.options, &self.base).map_err(named)?;
        let cache = cache_folder()?;
        let component = build(&spec.file, &cache).map_err(named)?;
        // Guests run on threads with room for their stacks, the main thread's among them.
        let load = || Loaded::new(&component, name, &limits, &cache, &self.metrics);
        let loaded = std::thread::scope(|s| {
            let thread = std::thread::Builder::new().stack_size(8 << 20).spawn_scoped(s, load);
            match thread.map(|t| t.join()) {
                Ok(Ok(loaded)) => loaded,
                _ => Err(weir_core::Error::internal("the thread that loads functions failed")),
            }
        })
        .map_err(named)?;
        let on_error = &spec.on_error;
        let f = loaded.function(&spec.identifier, on_error.policy, on_error.dead_letters.clone(), &limits);
        Ok(Arc::new(Bound(f.map_err(named)?)))
    }
}
