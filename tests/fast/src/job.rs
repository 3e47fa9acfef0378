//! A job of a test: its script, what its sources do, and what came of it.

use crate::sink::{Collecting, Delivered};
use crate::source::{Scripted, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir::{Assembled, assemble_reading};
use weir_connectors::REGISTRY;
use weir_core::clock::ManualClock;
use weir_core::graph::{JobIdentity, Role, SourceFactory};
use weir_core::memory_store::MemoryStore;
use weir_core::metrics::Metrics;
use weir_core::state::{Epoch, StateBackend};
use weir_core::thread::locked;
use weir_core::{Error, Result};
use weir_engine::{Control, JobMetadata, Options, RestartStrategy, run};
use weir_plan::Plan;
use weir_sql::{Compiled, NoFunctions, compile};

/// A script, compiled, with one subtask an operator.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn compiled(sql: &str) -> Result<Compiled> {
    compiled_in(sql, 1)
}

fn compiled_in(sql: &str, parallelism: usize) -> Result<Compiled> {
    let settings = BTreeMap::from([("parallelism.default".to_string(), parallelism.to_string())]);
    compile(sql, Path::new("."), settings, &NoFunctions, REGISTRY)
}

/// A job that is to be run.
pub struct Job {
    sql: String,
    parallelism: usize,
    sources: BTreeMap<String, Vec<Step>>,
}

/// What came of a job.
pub struct Ran {
    /// Whether it came to its end, rather than being stopped; or what ended it.
    pub result: Result<bool>,
    sinks: BTreeMap<String, Delivered>,
}

/// The script of a table's readers, and the numbers of those that have begun it.
type Script = (Vec<Step>, Arc<Mutex<BTreeSet<usize>>>);

impl Ran {
    /// The rows that a table was given, in order, as the print connector writes them.
    pub fn rows(&self, table: &str) -> Vec<String> {
        let sink = self.sinks.get(table).unwrap_or_else(|| panic!("nothing is written into {table}"));
        locked(sink).0.clone()
    }
}

impl Job {
    /// A job of this script. Its sinks collect; sources that no script is given for are their connectors' own.
    pub fn new(sql: &str) -> Job {
        Job { sql: sql.to_string(), parallelism: 1, sources: BTreeMap::new() }
    }

    /// Gives each operator so many subtasks. The script of a source is followed by the first of its own.
    pub fn parallelism(mut self, parallelism: usize) -> Job {
        self.parallelism = parallelism;
        self
    }

    /// Lets the source of a table follow a script.
    pub fn source(mut self, table: &str, steps: Vec<Step>) -> Job {
        self.sources.insert(table.to_string(), steps);
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        let mut sinks = BTreeMap::new();
        let result = self.run_into(&mut sinks);
        Ran { result, sinks }
    }

    fn run_into(&self, sinks: &mut BTreeMap<String, Delivered>) -> Result<bool> {
        let compiled = compiled_in(&self.sql, self.parallelism)?;
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let mut job = self.assembled(&compiled, &clock)?;
        collect(&compiled, &mut job, sinks);
        let backend: Arc<dyn StateBackend> = Arc::new(MemoryStore::default());
        let options = Options {
            epoch_interval: Duration::from_millis(5),
            restart: RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_millis(1) },
            cache_bytes: 16 << 20,
            batch_rows: 8192,
            job: JobIdentity { id: "test".to_string(), run: "test".to_string() },
            clock,
            records: JobMetadata::new(),
        };
        let ran = run(&job.graph, &backend, &options, &Metrics::new()?, &Arc::new(Control::default()));
        backend.close()?;
        ran
    }

    /// Makes the job, in which each reader of a table follows its script by itself.
    fn assembled(&self, compiled: &Compiled, clock: &Arc<ManualClock>) -> Result<Assembled> {
        let mut scripts: BTreeMap<String, Script> = BTreeMap::new();
        for (table, steps) in &self.sources {
            let readers = readers(compiled, table);
            if readers.is_empty() {
                return Err(Error::script(format!("the job does not read '{table}'")));
            }
            // What happens once does so for all of them.
            let done = Arc::default();
            scripts.extend(readers.into_iter().map(|uid| (uid, (steps.clone(), Arc::clone(&done)))));
        }
        assemble_reading(compiled, Path::new("."), &|uid, columns, schema| {
            let (steps, done) = scripts.get(uid)?.clone();
            let (schema, columns, clock) = (schema.clone(), columns.to_vec(), clock.clone());
            Some(Arc::new(Scripted { steps, schema, columns, clock, done }) as Arc<dyn SourceFactory>)
        })
    }
}

/// The uids of the readers that a table has in a job.
fn readers(compiled: &Compiled, wanted: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for insert in &compiled.inserts {
        insert.plan.each(&mut |p| {
            if let Plan::Scan { table, uids, .. } = p
                && table.name.ends_with(&format!(".{wanted}"))
            {
                found.insert(uids.uid.clone());
            }
        });
    }
    found
}

fn collect(compiled: &Compiled, job: &mut Assembled, sinks: &mut BTreeMap<String, Delivered>) {
    // Late rows go into tables that no statement names, and what a SELECT gives into one that is not declared.
    for table in compiled.tables.values().chain(compiled.inserts.iter().map(|i| &i.table)) {
        let short = table.name.rsplit('.').next().unwrap_or(&table.name).to_string();
        let delivered: Delivered =
            sinks.entry(short.clone()).or_insert_with(|| Arc::new((vec![], Epoch(0)).into())).clone();
        let schema = table.sink_schema();
        for node in job.graph.nodes.iter_mut().filter(|n| n.name == format!("sink {short}")) {
            node.role = Role::Sink(Arc::new(Collecting { schema: schema.clone(), delivered: delivered.clone() }));
        }
    }
}
