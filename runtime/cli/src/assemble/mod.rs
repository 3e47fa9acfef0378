//! From plans to a job: the one folder that names every component.

mod aggregates;
mod dead_letters;
mod layouts;
mod sinks;

pub use dead_letters::REPLAY;
use dead_letters::{dead_letter_tables, records_sent_to};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use weir_connectors::{PassedOver, TableSpec};
use weir_core::graph::{Edge, JobGraph, MAIN, Node, OperatorFactory, Partitioning, Role};
use weir_core::options;
use weir_core::{Error, Result, Schema};
use weir_engine::scale::{Wanted, check, resized};
use weir_expr::{Expr, OnError};
use weir_operators::aggregate::{AggregateFactory, Stage};
use weir_operators::calc::CalcFactory;
use weir_operators::enforce::Rules;
use weir_operators::expand::ExpandFactory;
use weir_operators::lookup::LookupFactory;
use weir_operators::normalize::NormalizeFactory;
use weir_operators::values::ValuesFactory;
use weir_sql::{Compiled, Plan, Table};

/// A job, ready to be run.
pub struct Assembled {
    /// Its nodes.
    pub graph: JobGraph,
    /// The dead letters that a replay leaves alone.
    pub passed_over: Arc<PassedOver>,
    /// What the state of its operators is made of, by their uids.
    pub layouts: BTreeMap<String, String>,
    /// The versions of users' functions, by their statements' identities and their names.
    pub functions: BTreeMap<String, String>,
}

struct Assembly<'a> {
    compiled: &'a Compiled,
    base: &'a Path,
    parallelism: usize,
    batch: bool,
    ttl_millis: u64,
    on_error: OnError,
    /// What becomes of rows that do not keep to what a sink's table says of its columns.
    rules: Rules,
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
    /// Where relations that have several readers come out, by their numbers.
    shared: HashMap<usize, Output>,
    /// Nodes whose dead letters go to a table.
    dead_letters_of: BTreeMap<String, Vec<usize>>,
    /// Whether a function of the present statement sends records to a table.
    keeps_records: bool,
    /// Whether dead letters are read in the place of tables.
    replays: bool,
    passed_over: Arc<PassedOver>,
    /// The tables that functions of the present statement send records to.
    of_functions: Vec<String>,
    /// Parallelisms of operators by name, as the functions that they call ask for.
    of_calls: BTreeMap<String, usize>,
    /// The statement at hand.
    statement: String,
    /// Whether it has a uid of its author's.
    has_uid: bool,
    layouts: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
}

/// How many operators of each kind a statement has so far.
type Numbers = BTreeMap<&'static str, usize>;

/// Where a relation's rows come out.
#[derive(Clone, Copy)]
struct Output {
    node: usize,
    parallelism: usize,
}

fn on_error(value: &str) -> Result<OnError> {
    Ok(match value {
        "fail" => OnError::Fail,
        "skip" => OnError::Skip,
        "null" => OnError::Null,
        _ => {
            return Err(Error::script(format!("'sql.on-error' is fail, skip or null, not '{value}'")));
        }
    })
}

/// Makes a job of a compiled script.
pub fn assemble(compiled: &Compiled, base: &Path) -> Result<Assembled> {
    build(compiled, base, false)
}

/// Makes the same job, which reads its dead letters in the place of its tables.
pub fn assemble_replay(compiled: &Compiled, base: &Path) -> Result<Assembled> {
    build(compiled, base, true)
}

fn build(compiled: &Compiled, base: &Path, replays: bool) -> Result<Assembled> {
    let s = &compiled.settings;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parallelism =
        s.get("parallelism.default").map_or(Ok(cores.min(64)), |v| options::number("parallelism.default", v))?;
    let ttl = s.get("table.exec.state.ttl").map(|v| options::duration("table.exec.state.ttl", v)).transpose()?;
    let mut a = Assembly {
        compiled,
        base,
        parallelism,
        batch: compiled.batch,
        // A batch is over before anything grows old.
        ttl_millis: ttl.filter(|_| !compiled.batch).map_or(0, |d| d.as_millis() as u64),
        on_error: s.get("sql.on-error").map_or(Ok(OnError::Fail), |v| on_error(v))?,
        rules: rules(s),
        nodes: vec![],
        names: HashMap::new(),
        shared: HashMap::new(),
        dead_letters_of: BTreeMap::new(),
        keeps_records: false,
        replays,
        passed_over: Arc::default(),
        of_functions: vec![],
        of_calls: BTreeMap::new(),
        statement: String::new(),
        has_uid: false,
        layouts: BTreeMap::new(),
        functions: BTreeMap::new(),
    };
    for insert in &compiled.inserts {
        a.check_changes(&insert.table, &insert.plan)?;
        a.of_functions = records_sent_to(&insert.plan);
        a.keeps_records = !a.of_functions.is_empty();
        let identity = insert.identity.to_string();
        a.statement = identity.clone();
        a.has_uid = insert.identity.uid().is_some();
        a.note_functions(&insert.plan);
        if replays && a.keeps_records && scans(&insert.plan) > 1 {
            let e = Error::script(format!("the statement into '{}' reads several tables", short(&insert.table.name)));
            return Err(
                e.hint("its functions' dead letters do not say which of them they are of; give each a statement")
            );
        }
        let output = a.relation(&insert.plan, &identity, &mut Numbers::new())?;
        a.sink(&insert.table, &identity, vec![(output.node, MAIN)], output.parallelism, Some(&insert.plan))?;
    }
    a.has_uid = false;
    a.dead_letters()?;
    let graph = JobGraph { name: String::new(), nodes: a.nodes };
    let graph = sized(graph, a.of_calls, s)?;
    Ok(Assembled { graph, passed_over: a.passed_over, layouts: a.layouts, functions: a.functions })
}

fn rules(settings: &BTreeMap<String, String>) -> Rules {
    let value = |key: &str| settings.get(&format!("table.exec.sink.{key}")).map_or("", String::as_str);
    let nested = value("nested-constraint-enforcer");
    Rules {
        drops_null: value("not-null-enforcer") == "drop",
        rows: matches!(nested, "rows" | "rows_and_collections"),
        collections: nested == "rows_and_collections",
        fits_length: match value("type-length-enforcer") {
            "trim_pad" => Some(true),
            "error" => Some(false),
            _ => None,
        },
    }
}

/// The graph with the parallelisms that functions ask for, and those that the settings have of operators by name, which win.
fn sized(graph: JobGraph, of_calls: BTreeMap<String, usize>, settings: &BTreeMap<String, String>) -> Result<JobGraph> {
    let mut wanted: Wanted = of_calls.into_iter().map(|(name, n)| (name, Some(n))).collect();
    for (key, value) in settings {
        if let Some(name) = weir_sql::operator_setting(key) {
            wanted.insert(name.to_string(), Some(options::number(key, value)?));
        }
    }
    let sizes = check(&graph, &wanted)?.into_iter().filter_map(|(name, n)| Some((name, n?))).collect();
    Ok(resized(&graph, &sizes))
}

fn check_parallelism(key: &str, n: usize) -> Result<()> {
    if (1..=64).contains(&n) {
        return Ok(());
    }
    Err(Error::script(format!("'{key}' is 1 to 64, not {n}")))
}

impl Assembly<'_> {
    /// Whether a relation brings changes, which must stay in order.
    fn changes(&self, plan: &Plan) -> bool {
        !if self.batch { plan.appends_in_batch() } else { plan.appends() }
    }

    fn name(&mut self, wanted: &str) -> String {
        let n = self.names.entry(wanted.to_string()).or_insert(0);
        *n += 1;
        if *n == 1 { wanted.to_string() } else { format!("{wanted}-{n}") }
    }

    fn add(&mut self, name: &str, uid: String, parallelism: usize, role: Role, inputs: Vec<Edge>) -> usize {
        let name = self.name(name);
        self.nodes.push(Node { name, uid, parallelism, role, inputs });
        self.nodes.len() - 1
    }

    /// A table as its connector sees it: of its columns those in `of`, of which `columns` are read or written.
    fn spec(&self, table: &Table, of: &[usize], columns: Vec<usize>, uid: &str) -> TableSpec {
        let places = |all: &[usize]| all.iter().filter_map(|k| of.iter().position(|o| o == k)).collect::<Vec<_>>();
        let mut spec = TableSpec::new(
            table.name.rsplit('.').next().unwrap_or(&table.name).to_string(),
            table.physical.project(of),
            columns,
            places(&table.partitioned_by),
            table.options.clone(),
            table.places.clone(),
            table.place,
            self.base.to_path_buf(),
            table.on_error.policy,
            self.compiled.session.clone(),
            uid.to_string(),
        );
        spec.metadata = of.iter().map(|i| table.metadata[*i].clone()).collect();
        spec.key = places(&table.primary_key);
        spec.keeps_records = self.keeps_records;
        spec
    }

    /// What a table says of its subtasks: `parallelism`, or Flink's option for its role.
    fn own_parallelism(table: &Table, role: &str) -> Result<Option<usize>> {
        for key in ["parallelism", role] {
            if let Some(v) = table.options.get(key) {
                let n = options::number(key, v)?;
                check_parallelism(key, n).map_err(|e| e.at(table.places.get(key).copied().or(table.place)))?;
                return Ok(Some(n));
            }
        }
        Ok(None)
    }

    fn calc(
        &self,
        condition: Option<Expr>,
        exprs: &[Expr],
        schema: &Schema,
        input: &Schema,
    ) -> Arc<dyn OperatorFactory> {
        Arc::new(CalcFactory {
            condition,
            exprs: exprs.to_vec(),
            schema: schema.clone(),
            input: input.clone(),
            session: self.compiled.session.clone(),
            on_error: self.on_error,
            statement: self.statement.clone(),
        })
    }

    /// Makes the nodes of a relation. `numbers` counts the operators of a statement, each kind for itself, so that the state of one
    /// does not hang on how many projections there are beside it.
    fn relation(&mut self, plan: &Plan, identity: &str, numbers: &mut Numbers) -> Result<Output> {
        let mut uid = |what: &'static str| {
            let n = numbers.entry(what).or_insert(0);
            *n += 1;
            format!("{identity}/{what}-{n}")
        };
        match plan {
            Plan::Scan { table, columns, .. } => {
                let uid = uid("source");
                self.note_table("source", &uid, table, &table.physical);
                self.source(table, columns, uid)
            }
            Plan::Values { rows, schema } => {
                let factory = ValuesFactory {
                    rows: rows.clone(),
                    schema: schema.clone(),
                    session: self.compiled.session.clone(),
                };
                let uid = uid("values");
                self.note_values(&uid);
                let node = self.add("values", uid, 1, Role::Source(Arc::new(factory)), vec![]);
                Ok(Output { node, parallelism: 1 })
            }
            Plan::Calc { input, condition, exprs, schema } => {
                let uid = uid("calc");
                let below = self.relation(input, identity, numbers)?;
                let factory = self.calc(condition.clone(), exprs, schema, input.schema());
                let edge = forward(below.node, self.changes(input));
                let node = self.add("calc", uid, below.parallelism, Role::Operator(factory), vec![edge]);
                let (name, asked) = (self.nodes[node].name.clone(), asked_parallelism(exprs.iter().chain(condition))?);
                self.of_calls.extend(asked.map(|n| (name, n)));
                for t in dead_letter_tables(exprs.iter().chain(condition)) {
                    self.dead_letters_of.entry(t).or_default().push(node);
                }
                Ok(Output { node, parallelism: below.parallelism })
            }
            Plan::Expand { input, sets, keys, schema } => {
                let uid = uid("expand");
                let below = self.relation(input, identity, numbers)?;
                let factory = ExpandFactory { sets: sets.clone(), keys: keys.clone(), schema: schema.clone() };
                let edge = forward(below.node, self.changes(input));
                let node = self.add("expand", uid, below.parallelism, Role::Operator(Arc::new(factory)), vec![edge]);
                Ok(Output { node, parallelism: below.parallelism })
            }
            Plan::Lookup { input, table, on, left, keep, columns, schema } => {
                let uid = uid("lookup");
                let below = self.relation(input, identity, numbers)?;
                let factory = self.look_up((table, columns), on, *left, keep, schema, &uid)?;
                let edge = forward(below.node, self.changes(input));
                let name = format!("lookup {}", short(&table.name));
                let node = self.add(&name, uid, below.parallelism, Role::Operator(Arc::new(factory)), vec![edge]);
                Ok(Output { node, parallelism: below.parallelism })
            }
            Plan::Normalize { input, keys, schema } => {
                let uid = uid("normalize");
                let below = self.relation(input, identity, numbers)?;
                let factory = NormalizeFactory {
                    keys: keys.clone(),
                    schema: schema.clone(),
                    materializes: false,
                    ttl_millis: self.ttl_millis,
                };
                let edge = partitioned(below.node, Partitioning::Hash(keys.clone()));
                let role = Role::Operator(Arc::new(factory));
                self.note_rows("normalize", &uid, keys, schema);
                let node = self.add("changelog-normalize", uid, self.parallelism, role, vec![edge]);
                Ok(Output { node, parallelism: self.parallelism })
            }
            Plan::Aggregate { input, keys, calls, schema } => {
                let uid = uid("aggregate");
                let below = self.relation(input, identity, numbers)?;
                let whole = AggregateFactory {
                    keys: keys.clone(),
                    calls: calls.clone(),
                    input: input.schema().clone(),
                    schema: schema.clone(),
                    stage: Stage::Whole,
                    retracts: self.changes(input),
                    at_end: self.batch && (!calls.is_empty() || keys.is_empty()),
                    ttl_millis: self.ttl_millis,
                };
                self.note_aggregate(&uid, &whole);
                self.aggregate(whole, below, uid, input.balances())
            }
            Plan::Union { inputs, schema } => {
                let uid = uid("union");
                self.union(inputs, schema, uid, identity, numbers)
            }
            Plan::Shared(shared) => {
                if let Some(output) = self.shared.get(&shared.id) {
                    return Ok(*output);
                }
                let output = self.relation(&shared.plan, identity, numbers)?;
                self.shared.insert(shared.id, output);
                Ok(output)
            }
        }
    }

    /// Whether a node has more readers than the one at hand.
    fn has_several_readers(&self, node: usize) -> bool {
        self.shared.values().any(|o| o.node == node)
    }

    /// Reads a table, or its dead letters in its place.
    fn source(&mut self, table: &Table, columns: &[usize], uid: String) -> Result<Output> {
        let parallelism = Self::own_parallelism(table, "scan.parallelism")?.unwrap_or(self.parallelism);
        let all: Vec<usize> = (0..table.physical.len()).collect();
        if self.replays {
            return self.replay(table, &self.spec(table, &all, columns.to_vec(), &uid), &uid, parallelism);
        }
        let source = weir_connectors::source(&self.spec(table, &all, columns.to_vec(), &uid))?;
        let name = format!("source {}", short(&table.name));
        let node = self.add(&name, uid, parallelism, Role::Source(source), vec![]);
        if let Some(t) = &table.on_error.dead_letters {
            self.dead_letters_of.entry(t.clone()).or_default().push(node);
        }
        Ok(Output { node, parallelism })
    }

    /// All rows of several relations, as many subtasks as the one of most has.
    fn union(
        &mut self,
        inputs: &[Plan],
        schema: &Schema,
        uid: String,
        identity: &str,
        numbers: &mut Numbers,
    ) -> Result<Output> {
        let mut edges = vec![];
        let mut parallelism = 1;
        let mut outputs = vec![];
        for i in inputs {
            let o = self.relation(i, identity, numbers)?;
            parallelism = parallelism.max(o.parallelism);
            outputs.push(o);
        }
        for (o, i) in outputs.iter().zip(inputs) {
            edges.push(match (o.parallelism == parallelism, self.changes(i)) {
                (true, ordered) => forward(o.node, ordered),
                (false, false) => partitioned(o.node, Partitioning::Rebalance),
                // All changes of a row take one way.
                (false, true) => partitioned(o.node, Partitioning::Hash((0..schema.len()).collect())),
            });
        }
        let columns: Vec<Expr> =
            schema.fields.iter().enumerate().map(|(i, f)| Expr::column(i, f.name.clone(), f.ty.clone())).collect();
        let factory = self.calc(None, &columns, schema, schema);
        let node = self.add("union", uid, parallelism, Role::Operator(factory), edges);
        Ok(Output { node, parallelism })
    }

    /// Looks rows up in a table outside: `on` pairs a column here and one there.
    fn look_up(
        &self,
        (table, columns): (&Table, &[usize]),
        on: &[(usize, usize)],
        left: bool,
        keep: &[usize],
        schema: &Schema,
        uid: &str,
    ) -> Result<LookupFactory> {
        let all: Vec<usize> = (0..table.physical.len()).collect();
        let spec = self.spec(table, &all, columns.to_vec(), uid);
        let keys: Vec<usize> = on.iter().map(|(_, there)| *there).collect();
        Ok(LookupFactory {
            table: weir_connectors::lookup(&spec, &keys)?,
            keys: on.iter().map(|(here, _)| *here).collect(),
            keep: keep.to_vec(),
            left,
            found: table.physical.project(columns),
            schema: schema.clone(),
        })
    }
}

/// An edge from subtask to subtask.
fn forward(from: usize, ordered: bool) -> Edge {
    Edge { ordered, ..partitioned(from, Partitioning::Forward) }
}

/// An edge that deals rows out.
fn partitioned(from: usize, partitioning: Partitioning) -> Edge {
    Edge { from, port: MAIN, input: 0, partitioning, ordered: false }
}

fn short(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_string()
}

/// How many tables a plan reads.
fn scans(plan: &Plan) -> usize {
    let mut scans = 0;
    plan.each(&mut |p| scans += usize::from(matches!(p, Plan::Scan { .. })));
    scans
}

/// The greatest parallelism that a function of expressions asks for.
fn asked_parallelism<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Result<Option<usize>> {
    let mut most = None;
    for e in exprs {
        e.each_call(&mut |function| most = most.max(function.parallelism()));
    }
    most.map_or(Ok(()), |n| check_parallelism("parallelism", n))?;
    Ok(most)
}
