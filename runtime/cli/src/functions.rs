//! Builds and loads the functions that a script declares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use weir_core::metrics::Metrics;
use weir_core::thread::locked;
use weir_core::{Error, Result, SqlType};
use weir_expr::Function;
use weir_sql::{FunctionLoader, FunctionSpec, UserFunction};
use weir_udf_host::{Cache, Component, Limits, Loaded, build, built};

/// Loads functions into the sandboxes of this process.
pub struct Loader {
    metrics: Metrics,
    base: PathBuf,
    builds: bool,
    /// Components by the files that they are built from: nine functions of a file are built and compiled once.
    components: Mutex<BTreeMap<PathBuf, Component>>,
}

impl Loader {
    /// A loader whose functions count into these metrics. Assets' paths start from `base`. Unless it `builds`, functions are taken that
    /// were built before, and nothing of what they are built from is run.
    pub fn new(metrics: Metrics, base: PathBuf, builds: bool) -> Self {
        Loader { metrics, base, builds, components: Mutex::default() }
    }

    fn component(&self, file: &Path) -> Result<Component> {
        if let Some(known) = locked(&self.components).get(file) {
            return Ok(known.clone());
        }
        let cache = Cache::of_user()?;
        let binary = match self.builds {
            true => build(file, &cache)?,
            false => built(file, &cache)?.ok_or_else(|| {
                Error::tool(format!("{} is not built yet, so nothing that calls it can be checked", file.display()))
                    .hint("--build builds it, as weir run does; that runs what its author wrote for the build")
            })?,
        };
        let component = Component::load(&binary, &cache)?;
        locked(&self.components).insert(file.to_path_buf(), component.clone());
        Ok(component)
    }
}

/// The functions of a job as `weir run` loads them: built, where they were not yet.
pub fn sandboxed(metrics: &Metrics, base: &Path) -> Box<dyn FunctionLoader> {
    Box::new(Loader::new(metrics.clone(), base.to_path_buf(), true))
}

struct Bound(weir_udf_host::WasmFunction);

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
        let component = self.component(&spec.file).map_err(named)?;
        // Guests run on threads with room for their stacks, the main thread's among them.
        let load = || Loaded::new(&component, name, &limits, &self.metrics);
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
