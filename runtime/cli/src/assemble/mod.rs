//! From physical graphs to jobs that run: the one folder that names every component. What runs is decided in `weir-plan`.

mod connectors;
mod operators;

use connectors::Specs;
use operators::Factories;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use weir_connectors::{REGISTRY, SkippedDeadLetters};
use weir_core::graph::{JobGraph, Node, SourceFactory};
use weir_core::{Result, Schema};
use weir_engine::scale::{TargetParallelism, check, resized};
use weir_expr::OnError;
use weir_plan::OperatorUids;
pub use weir_plan::physical::REPLAY;
use weir_plan::physical::{Graph, Job, plan};
use weir_plan::settings::{self, Failing};
use weir_sql::Compiled;

/// A job, ready to be run.
pub struct Assembled {
    /// Its nodes.
    pub graph: JobGraph,
    /// The dead letters that a replay leaves alone.
    pub skipped_dead_letters: Arc<SkippedDeadLetters>,
    /// The uids of its operators, by the names that each has in its statements.
    pub places: OperatorUids,
    /// What the state of its operators is made of, by the same names.
    pub layouts: BTreeMap<String, String>,
    /// The versions of users' functions, by their statements' identities and their names.
    pub functions: BTreeMap<String, String>,
}

/// Makes a job of a compiled script.
pub fn assemble(compiled: &Compiled, base: &Path) -> Result<Assembled> {
    build(compiled, base, false, &|_, _, _| None)
}

/// What reads in the place of a table's connector, if anything does: by the uid of the source, the places of the table's columns that
/// are read, and these columns.
pub type ReadBy<'a> = &'a dyn Fn(&str, &[usize], &Schema) -> Option<Arc<dyn SourceFactory>>;

/// Makes a job of a compiled script whose rows come from elsewhere than its tables' connectors, as in tests.
///
/// # Errors
/// What is wrong with the script.
pub fn assemble_reading(compiled: &Compiled, base: &Path, sources: ReadBy<'_>) -> Result<Assembled> {
    build(compiled, base, false, sources)
}

/// Makes the same job, which reads its dead letters in the place of its tables.
pub fn assemble_replay(compiled: &Compiled, base: &Path) -> Result<Assembled> {
    build(compiled, base, true, &|_, _, _| None)
}

fn build(compiled: &Compiled, base: &Path, replay: bool, sources: ReadBy<'_>) -> Result<Assembled> {
    let of_job = &compiled.settings;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let planned = plan(&Job {
        inserts: &compiled.inserts,
        tables: &compiled.tables,
        settings: of_job,
        mode: compiled.mode,
        parallelism: cores.min(64),
        replay,
        registry: REGISTRY,
    })?;
    let skipped_dead_letters = Arc::default();
    let factories = Factories {
        specs: Specs { base, session: &compiled.session },
        sources,
        on_error: match settings::ON_ERROR.value(of_job)? {
            Failing::Fail => OnError::Fail,
            Failing::Skip => OnError::Skip,
            Failing::Null => OnError::Null,
        },
        skipped_dead_letters: &skipped_dead_letters,
    };
    let graph = sized(&planned, factories.graph(&planned)?, of_job)?;
    let (places, layouts, functions) = (planned.places(), planned.layouts(), planned.function_versions());
    Ok(Assembled { graph, skipped_dead_letters, places, layouts, functions })
}

impl Factories<'_> {
    /// A node that can be run for each that was planned.
    fn graph(&self, planned: &Graph) -> Result<JobGraph> {
        let node = |n: &weir_plan::physical::Node| {
            Ok(Node {
                name: n.name.clone(),
                uid: n.uids.uid.clone(),
                parallelism: n.parallelism,
                role: self.role(n)?,
                inputs: n.inputs.clone(),
                watermarks: n.watermarks().cloned(),
            })
        };
        Ok(JobGraph { name: String::new(), nodes: planned.nodes.iter().map(node).collect::<Result<_>>()? })
    }
}

/// The graph with the parallelisms that functions ask for, and those that the settings have of operators by name, which win.
fn sized(planned: &Graph, graph: JobGraph, of_job: &BTreeMap<String, String>) -> Result<JobGraph> {
    let asked = planned.nodes.iter().filter_map(|n| Some((n.name.clone(), Some(n.asked_parallelism?))));
    let mut wanted: TargetParallelism = asked.collect();
    for (key, value) in of_job {
        if let Some(name) = settings::operator_setting(key) {
            wanted.insert(name.to_string(), Some(settings::OPERATOR.read(key, value)?));
        }
    }
    let sizes = check(&graph, &wanted)?.into_iter().filter_map(|(name, n)| Some((name, n?))).collect();
    Ok(resized(&graph, &sizes))
}
