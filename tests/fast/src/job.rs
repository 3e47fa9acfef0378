//! A job of a test: its script, what its sources do, and what came of it.

use crate::sink::{Collecting, Delivered};
use crate::source::{Scripted, Step};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir::{Assembled, assemble};
use weir_connectors::REGISTRY;
use weir_core::clock::ManualClock;
use weir_core::graph::{JobIdentity, Role};
use weir_core::memory_store::MemoryStore;
use weir_core::metrics::Metrics;
use weir_core::state::{Epoch, StateBackend};
use weir_core::thread::locked;
use weir_core::{Error, Result, Schema};
use weir_engine::{Control, JobMetadata, Options, RestartStrategy, run};
use weir_plan::Plan;
use weir_sql::{Compiled, NoFunctions, compile};

/// A script, compiled, with one subtask an operator.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn compiled(sql: &str) -> Result<Compiled> {
    let settings = BTreeMap::from([("parallelism.default".to_string(), "1".to_string())]);
    compile(sql, Path::new("."), settings, &NoFunctions, REGISTRY)
}

/// A job that is to be run.
pub struct Job {
    sql: String,
    sources: BTreeMap<String, Vec<Step>>,
}

/// What came of a job.
pub struct Ran {
    /// Whether it came to its end, rather than being stopped; or what ended it.
    pub result: Result<bool>,
    sinks: BTreeMap<String, Delivered>,
}

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
        Job { sql: sql.to_string(), sources: BTreeMap::new() }
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
        let compiled = compiled(&self.sql)?;
        let mut job = assemble(&compiled, Path::new("."))?;
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        self.follow(&compiled, &mut job, &clock)?;
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

    /// Each reader of a table follows its script by itself.
    fn follow(&self, compiled: &Compiled, job: &mut Assembled, clock: &Arc<ManualClock>) -> Result<()> {
        for (table, steps) in &self.sources {
            let lost = || Error::script(format!("the job does not read '{table}'"));
            let readers = readers(compiled, table);
            if readers.is_empty() {
                return Err(lost());
            }
            // What happens once does so for all of them.
            let done = Arc::default();
            for (uid, (schema, columns)) in readers {
                let node = job.graph.nodes.iter_mut().find(|n| n.uid == uid).ok_or_else(lost)?;
                let (steps, clock, done) = (steps.clone(), clock.clone(), Arc::clone(&done));
                node.role = Role::Source(Arc::new(Scripted { steps, schema, columns, clock, done }));
            }
        }
        Ok(())
    }
}

/// The readers that a table has in a job, by their uids: the columns that each reads, and their places in the table.
fn readers(compiled: &Compiled, wanted: &str) -> BTreeMap<String, (Schema, Vec<usize>)> {
    let mut found = BTreeMap::new();
    for insert in &compiled.inserts {
        insert.plan.each(&mut |p| {
            if let Plan::Scan { table, schema, columns, kept } = p
                && table.name.ends_with(&format!(".{wanted}"))
            {
                found.insert(kept.uid.clone(), (schema.clone(), columns.clone()));
            }
        });
    }
    found
}

fn collect(compiled: &Compiled, job: &mut Assembled, sinks: &mut BTreeMap<String, Delivered>) {
    for insert in &compiled.inserts {
        let short = insert.table.name.rsplit('.').next().unwrap_or(&insert.table.name).to_string();
        let delivered: Delivered =
            sinks.entry(short.clone()).or_insert_with(|| Arc::new((vec![], Epoch(0)).into())).clone();
        let schema = insert.table.sink_schema();
        for node in job.graph.nodes.iter_mut().filter(|n| n.name == format!("sink {short}")) {
            node.role = Role::Sink(Arc::new(Collecting { schema: schema.clone(), delivered: delivered.clone() }));
        }
    }
}
