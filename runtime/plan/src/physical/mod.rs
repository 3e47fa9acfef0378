//! Physical planning: turns a job's statements into operators with exchanges between them. It opens no connection.

mod aggregates;
mod dead_letters;
mod event_time;
mod graph;
mod joins;
mod late_rows;
mod layouts;
mod matches;
mod over;
mod ranks;
mod settings;
mod side_tables;
mod sinks;
mod updates;

pub use dead_letters::REPLAY;
pub use event_time::TimedRows;
pub use graph::{Aggregation, Graph, Join, Node, Operator, Statement, WindowKeys};
pub use matches::matches_of_changes;

use crate::logical::{Insert, Plan, StateUids};
use crate::read_fields::{Read, read_of_scans};
use crate::settings::Mode;
use crate::table::Table;
use crate::traits::{ChangelogMode, Derived, derive};
use dead_letters::{dead_letter_tables, records_sent_to};
use event_time::check_watermarks;
use late_rows::LateRowsOf;
use over::Over;
use ranks::TopN;
use settings::{Settings, asked_parallelism, own_parallelism};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use updates::leave_out_old_rows;
use weir_core::descriptor::{Registry, SCAN_PARALLELISM};
use weir_core::graph::{Edge, MAIN, Partitioning};
use weir_core::keyed::TimeDomain;
use weir_core::option_spec::Role;
use weir_core::windows::{Slices, Windows};
use weir_core::{Error, Result, Schema, TypeKind};
use weir_expr::Expr;

/// The input of physical planning.
pub struct Job<'a> {
    /// The statements.
    pub inserts: &'a [Insert],
    /// All tables, by their full names.
    pub tables: &'a BTreeMap<String, Arc<Table>>,
    /// The settings.
    pub settings: &'a BTreeMap<String, String>,
    /// The runtime mode.
    pub mode: Mode,
    /// The default parallelism, if neither a setting nor a table defines one.
    pub parallelism: usize,
    /// Whether dead letters are read instead of tables.
    pub replay: bool,
    /// The available connectors and formats.
    pub registry: Registry,
}

/// Plans a job.
///
/// # Errors
/// If a sink does not accept the output of a statement, or a setting or an option that affects the graph is invalid.
pub fn plan(job: &Job<'_>) -> Result<Graph> {
    let mut planner = Planner {
        job,
        settings: Settings::read(job)?,
        graph: Graph::default(),
        names: HashMap::new(),
        shared: HashMap::new(),
        read: read_of_scans(job.inserts.iter().map(|i| &i.plan)),
        dead_letters_of: BTreeMap::new(),
        late_rows: BTreeMap::new(),
        timed_out: BTreeMap::new(),
        replacing: vec![],
    };
    job.inserts.iter().try_for_each(|insert| planner.statement(insert))?;
    planner.dead_letter_sinks()?;
    planner.late_rows_sinks()?;
    planner.timed_out_sinks()?;
    let Planner { mut graph, replacing, .. } = planner;
    leave_out_old_rows(&mut graph, &replacing);
    Ok(graph)
}

struct Planner<'a> {
    job: &'a Job<'a>,
    settings: Settings,
    graph: Graph,
    names: HashMap<String, usize>,
    /// The outputs of relations with several readers, by number.
    shared: HashMap<usize, Output>,
    /// What is read of the columns of each scan, by its uid.
    read: HashMap<String, Read>,
    /// Nodes with dead letters, by the table that receives them.
    dead_letters_of: BTreeMap<String, Vec<usize>>,
    /// Nodes that drop late rows, by destination.
    late_rows: BTreeMap<LateRowsOf, Vec<usize>>,
    /// Nodes with what is written of matches that are not complete in time, by the table that receives it.
    timed_out: BTreeMap<String, Vec<usize>>,
    /// The sinks that need no old rows of updates, because a row replaces the one with its key.
    replacing: Vec<usize>,
}

/// The statement that is being planned.
struct Scope {
    statement: Arc<Statement>,
    /// The tables to which its functions send failed records.
    of_functions: Vec<String>,
    /// The number of operators of each kind so far.
    numbers: BTreeMap<&'static str, usize>,
}

impl Scope {
    /// The uid of an operator. Operators are numbered per kind, so that the state of one does not depend on the number of, for instance,
    /// projections.
    fn uid(&mut self, kind: &'static str) -> String {
        let n = self.numbers.entry(kind).or_insert(0);
        *n += 1;
        format!("{}/{kind}-{n}", self.statement.identity)
    }
}

/// The output of a relation.
#[derive(Clone, Copy)]
struct Output {
    node: usize,
    parallelism: usize,
}

/// A node that is about to be added.
struct Planned {
    name: String,
    uids: StateUids,
    parallelism: usize,
    operator: Operator,
    changelog: ChangelogMode,
    inputs: Vec<Edge>,
}

impl Planner<'_> {
    fn statement(&mut self, insert: &Insert) -> Result<()> {
        let top = derive(&insert.plan, self.job.mode);
        self.check_changes(&insert.table, &top)?;
        let of_functions = records_sent_to(&insert.plan);
        let keeps_records = !of_functions.is_empty();
        let statement = Arc::new(Statement { identity: insert.identity.to_string(), keeps_records });
        if self.job.replay && keeps_records && scans(&insert.plan) > 1 {
            let e = Error::script(format!("the statement into '{}' reads several tables", short(&insert.table.name)));
            return Err(
                e.hint("its functions' dead letters do not say which of them they are of; give each a statement")
            );
        }
        let mut scope = Scope { statement, of_functions, numbers: BTreeMap::new() };
        let output = self.relation(&top, &mut scope)?;
        self.sink(insert, &top, output, &scope.statement)
    }

    fn name(&mut self, wanted: &str) -> String {
        let n = self.names.entry(wanted.to_string()).or_insert(0);
        *n += 1;
        if *n == 1 { wanted.to_string() } else { format!("{wanted}-{n}") }
    }

    fn add(&mut self, statement: &Arc<Statement>, planned: Planned) -> Output {
        let Planned { name, uids, parallelism, operator, changelog, inputs } = planned;
        let (name, statement) = (self.name(&name), statement.clone());
        let chain = vec![operator];
        let node = Node { name, uids, statement, parallelism, asked_parallelism: None, chain, changelog, inputs };
        self.graph.nodes.push(node);
        Output { node: self.graph.nodes.len() - 1, parallelism }
    }

    /// Finds a declared table by its full name, or by its name without catalog and database.
    fn table_named(&self, name: &str) -> Option<Arc<Table>> {
        self.job.tables.values().find(|t| t.name == name || short(&t.name) == name).cloned()
    }

    /// The parallelism of an operator with these keys, and the partitioning of its input.
    fn exchange(&self, keys: &[usize]) -> (usize, Partitioning) {
        match keys {
            [] => (1, Partitioning::Single),
            keys => (self.settings.parallelism, Partitioning::Hash(keys.to_vec())),
        }
    }

    /// Adds an operator whose subtasks each read the corresponding subtask of the input.
    fn forwarded(
        &mut self,
        of: &Derived<'_>,
        scope: &mut Scope,
        kind: &'static str,
        name: &str,
        operator: Operator,
    ) -> Result<Output> {
        let uids = StateUids::own(scope.uid(kind));
        let (below, input) = self.only_input(of, scope)?;
        let changelog = of.traits.changelog;
        if self.follows_window(below.node, &operator) {
            let node = &mut self.graph.nodes[below.node];
            node.chain.push(operator);
            node.changelog = changelog;
            return Ok(below);
        }
        let inputs = vec![forward(below.node, !input.traits.changelog.is_insert_only())];
        let (name, parallelism) = (name.to_string(), below.parallelism);
        Ok(self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs }))
    }

    /// Whether an operator is chained with the windows before it, because choosing columns or grouping sets costs less than sending rows.
    fn follows_window(&self, node: usize, operator: &Operator) -> bool {
        let cheap = match operator {
            Operator::Calc { .. } => operator.expressions().iter().all(|e| !e.any(&|e| matches!(e, Expr::Call { .. }))),
            operator => matches!(operator, Operator::Expand { .. }),
        };
        let windows = |o: &Operator| matches!(o, Operator::Window { .. });
        cheap && self.graph.nodes[node].chain.first().is_some_and(windows) && !self.has_several_readers(node)
    }

    /// Plans the only input of a relation.
    fn only_input<'p, 'd>(&mut self, of: &'d Derived<'p>, scope: &mut Scope) -> Result<(Output, &'d Derived<'p>)> {
        let [input] = of.inputs.as_slice() else {
            return Err(Error::internal(format!("a relation of {} inputs where one is read", of.inputs.len())));
        };
        Ok((self.relation(input, scope)?, input))
    }

    /// Plans a relation: its inputs first, then its own operators.
    #[expect(clippy::too_many_lines, reason = "one flat match, an arm a relation")]
    fn relation(&mut self, of: &Derived<'_>, scope: &mut Scope) -> Result<Output> {
        match of.plan {
            Plan::Scan { table, columns, uids, schema: _ } => self.source(of, table, columns, named(uids)?, scope),
            Plan::Values { rows, schema, uids } => {
                let operator = Operator::Values { rows: rows.clone(), schema: schema.clone() };
                Ok(self.constant("values", named(uids)?, operator, &scope.statement))
            }
            Plan::Calc { condition, exprs, schema, input } => {
                check_watermarks(exprs.iter().chain(condition), of)?;
                let operator = Operator::Calc {
                    condition: condition.clone(),
                    exprs: exprs.clone(),
                    schema: schema.clone(),
                    input: input.schema().clone(),
                };
                let output = self.forwarded(of, scope, "calc", "calc", operator)?;
                self.functions_of(output, exprs.iter().chain(condition));
                Ok(output)
            }
            Plan::Expand { sets, keys, schema, input: _ } => {
                let operator = Operator::Expand { sets: sets.clone(), keys: keys.clone(), schema: schema.clone() };
                self.forwarded(of, scope, "expand", "expand", operator)
            }
            Plan::Lookup { table, on, left, retry, keep, columns, schema, input: _ } => {
                let operator = Operator::Lookup {
                    table: table.clone(),
                    on: on.clone(),
                    left: *left,
                    retry: *retry,
                    keep: keep.clone(),
                    columns: columns.clone(),
                    schema: schema.clone(),
                };
                self.forwarded(of, scope, "lookup", &format!("lookup {}", short(&table.name)), operator)
            }
            Plan::Join { .. } => self.join(of, scope),
            Plan::Unnest { input, collection, keep, columns, left, schema } => {
                let ty = &input.schema().fields[*collection].ty;
                let operator = Operator::Unnest {
                    collection: *collection,
                    multiset: matches!(ty.kind, TypeKind::Multiset(_)),
                    keep: keep.clone(),
                    columns: columns.clone(),
                    left: *left,
                    schema: schema.clone(),
                };
                self.forwarded(of, scope, "unnest", "unnest", operator)
            }
            Plan::Normalize { keys, schema, uids, input: _ } => {
                let uids = named(uids)?;
                let (below, _) = self.only_input(of, scope)?;
                let (keys, ttl_millis) = (keys.clone(), self.settings.ttl_millis);
                let inputs = vec![partitioned(below.node, Partitioning::Hash(keys.clone()))];
                let operator = Operator::Normalize { keys, schema: schema.clone(), ttl_millis, update_before: true };
                let (changelog, parallelism) = (of.traits.changelog, self.settings.parallelism);
                let name = "changelog-normalize".to_string();
                Ok(self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs }))
            }
            Plan::Window { windows, merged, time, partition, schema, input, uids } => {
                let (Windows::Session { gap }, false) = (windows, *merged) else {
                    let slices = Slices::of(*windows).filter(|_| *merged).map(Slices::shape);
                    let (windows, schema) = (slices.unwrap_or(*windows), schema.clone());
                    let operator = Operator::Window { windows, time: *time, schema };
                    return self.forwarded(of, scope, "window", "window", operator);
                };
                let (below, derived) = self.only_input(of, scope)?;
                let operator = Operator::Session {
                    gap: *gap,
                    time: *time,
                    partition: partition.clone(),
                    input: input.schema().clone(),
                    schema: schema.clone(),
                };
                let (parallelism, partitioning) = self.exchange(partition);
                let (inputs, name) = (vec![partitioned(below.node, partitioning)], "session".to_string());
                let (uids, changelog) = (named(uids)?, of.traits.changelog);
                let planned = Planned { name, uids, parallelism, operator, changelog, inputs };
                let output = self.add(&scope.statement, planned);
                self.dropping_late(output, derived, time.domain)
            }
            Plan::Aggregate { window: Some(window), .. } => self.window_aggregate(of, window, scope),
            Plan::Aggregate { keys, calls, schema, input, window: None, ttl, uids } => {
                let uids = named(uids)?;
                let (below, derived) = self.only_input(of, scope)?;
                let whole = Aggregation {
                    keys: keys.clone(),
                    calls: calls.clone(),
                    input: input.schema().clone(),
                    schema: schema.clone(),
                    retracts: !derived.traits.changelog.is_insert_only(),
                    at_end: self.job.mode == Mode::Batch && (!calls.is_empty() || keys.is_empty()),
                    ttl_millis: self.settings.ttl(*ttl),
                    window: None,
                    late_rows: false,
                    update_before: true,
                };
                Ok(self.aggregate(whole, of, derived, below, uids, &scope.statement))
            }
            Plan::Rank { partition, order, ranks, number, input, schema: _, uids } => {
                let (number, input) = (*number, input.schema());
                let top = TopN { partition, order, ranks, number, input, uids: named(uids)? };
                self.top_n(of, &top, scope)
            }
            Plan::Over { partition, order, frame, calls, input, schema, uids } => {
                let (frame, input, uids) = (*frame, input.schema(), named(uids)?);
                self.over(of, &Over { partition, order, frame, calls, input, schema, uids }, scope)
            }
            Plan::Match { uids, .. } => self.matches(of, named(uids)?, scope),
            Plan::Sort { order, time, schema, input: _, uids } => {
                let (below, derived) = self.only_input(of, scope)?;
                if !derived.traits.changelog.is_insert_only() {
                    let e =
                        Error::script("ORDER BY takes rows that are only added, and what it reads also changes rows");
                    return Err(e.hint("with LIMIT it takes rows that change"));
                }
                let operator = Operator::Sort { order: order.clone(), time: *time, schema: schema.clone() };
                let (uids, changelog, name) = (named(uids)?, of.traits.changelog, "sort".to_string());
                let inputs = vec![partitioned(below.node, Partitioning::Single)];
                let planned = Planned { name, uids, parallelism: 1, operator, changelog, inputs };
                let output = self.add(&scope.statement, planned);
                if time.is_some() { self.dropping_late(output, derived, TimeDomain::Event) } else { Ok(output) }
            }
            Plan::Union { schema, inputs: _ } => self.union(of, schema, scope),
            Plan::Shared(shared) => {
                if let Some(output) = self.shared.get(&shared.id) {
                    return Ok(*output);
                }
                let (output, _) = self.only_input(of, scope)?;
                self.shared.insert(shared.id, output);
                Ok(output)
            }
        }
    }

    /// Whether a node has other readers besides the current one.
    fn has_several_readers(&self, node: usize) -> bool {
        self.shared.values().any(|o| o.node == node)
    }

    /// Adds a source of constant rows.
    fn constant(&mut self, name: &str, uids: StateUids, operator: Operator, statement: &Arc<Statement>) -> Output {
        let (name, changelog) = (name.to_string(), ChangelogMode::INSERT_ONLY);
        self.add(statement, Planned { name, uids, parallelism: 1, operator, changelog, inputs: vec![] })
    }

    /// Notes the parallelism that the functions in a node's expressions ask for, and the tables for their dead letters.
    fn functions_of<'e>(&mut self, of: Output, expressions: impl IntoIterator<Item = &'e Expr>) {
        let all: Vec<&Expr> = expressions.into_iter().collect();
        self.graph.nodes[of.node].asked_parallelism = asked_parallelism(all.iter().copied());
        self.letters_of(of.node, all);
    }

    /// Notes the tables for the dead letters of the functions in a node's expressions.
    fn letters_of<'e>(&mut self, node: usize, expressions: impl IntoIterator<Item = &'e Expr>) {
        for t in dead_letter_tables(expressions.into_iter()) {
            self.dead_letters_of.entry(t).or_default().push(node);
        }
    }

    /// Plans the source of a table, or a replay of its dead letters.
    fn source(
        &mut self,
        of: &Derived<'_>,
        table: &Arc<Table>,
        columns: &[usize],
        uids: StateUids,
        scope: &Scope,
    ) -> Result<Output> {
        let parallelism = own_parallelism(table, &SCAN_PARALLELISM)?.unwrap_or(self.settings.parallelism);
        let (changelog, columns) = (of.traits.changelog, columns.to_vec());
        if self.job.replay {
            if table.event_time.is_some() {
                let e = Error::script(format!("table '{}' has a WATERMARK", short(&table.name))).at(table.place);
                return Err(e.hint("its dead letters would be late now; read them with a script of their own"));
            }
            return self.replayed(table, columns, uids.uid, parallelism, changelog, scope);
        }
        let times = self.timed_rows(table, &columns)?;
        let computed: Vec<Expr> = times.iter().flat_map(|t| t.exprs.iter().chain(&t.timed)).cloned().collect();
        let fields = self.read_fields(&uids.uid, &columns, times.as_ref());
        let operator = Operator::Source { table: table.clone(), columns, fields, times };
        let name = format!("source {}", short(&table.name));
        let planned = Planned { name, uids, parallelism, operator, changelog, inputs: vec![] };
        let output = self.add(&scope.statement, planned);
        self.letters_of(output.node, &computed);
        if let Some(t) = &table.on_error.dead_letters {
            self.dead_letters_of.entry(t.clone()).or_default().push(output.node);
        }
        Ok(output)
    }

    /// The fields that are read of each column that a source's connector reads; none if all of the column is.
    fn read_fields(&self, uid: &str, columns: &[usize], times: Option<&TimedRows>) -> Vec<Option<BTreeSet<usize>>> {
        let Some(of_scan) = self.read.get(uid) else {
            return vec![None; times.map_or(columns.len(), |t| t.read.len())];
        };
        let Some(times) = times else { return (0..columns.len()).map(|c| of_scan.of(c)).collect() };
        let mut read = Read::default();
        for (column, e) in times.exprs.iter().enumerate() {
            match e {
                // Late rows are written as they are.
                Expr::Column { index, .. } if column < columns.len() && times.late_rows.is_none() => {
                    read.add_of(*index, of_scan, column);
                }
                e => read.add(e),
            }
        }
        (0..times.read.len()).map(|c| read.of(c)).collect()
    }

    /// Plans the union of several relations, with the greatest parallelism among them.
    fn union(&mut self, of: &Derived<'_>, schema: &Schema, scope: &mut Scope) -> Result<Output> {
        let uids = StateUids::own(scope.uid("union"));
        let outputs = of.inputs.iter().map(|i| self.relation(i, scope)).collect::<Result<Vec<_>>>()?;
        let parallelism = outputs.iter().map(|o| o.parallelism).max().unwrap_or(1);
        let inputs = outputs.iter().zip(&of.inputs).map(|(o, i)| {
            match (o.parallelism == parallelism, !i.traits.changelog.is_insert_only()) {
                (true, ordered) => forward(o.node, ordered),
                (false, false) => partitioned(o.node, Partitioning::Rebalance),
                // All changes of a row must take the same path.
                (false, true) => partitioned(o.node, Partitioning::Hash((0..schema.len()).collect())),
            }
        });
        let (inputs, changelog) = (inputs.collect(), of.traits.changelog);
        let (name, operator) = ("union".to_string(), Operator::Union { schema: schema.clone() });
        Ok(self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs }))
    }
}

/// The uids of a relation's state.
fn named(uids: &StateUids) -> Result<StateUids> {
    match uids.names.is_empty() {
        false => Ok(uids.clone()),
        true => {
            Err(Error::internal("a relation that is planned before its statement was put together with the others"))
        }
    }
}

/// An edge that connects corresponding subtasks.
fn forward(from: usize, ordered: bool) -> Edge {
    Edge { ordered, ..partitioned(from, Partitioning::Forward) }
}

/// An edge that distributes rows over subtasks.
fn partitioned(from: usize, partitioning: Partitioning) -> Edge {
    Edge { from, port: MAIN, input: 0, partitioning, ordered: false }
}

/// A table's name without its catalog and database.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The number of tables that a plan reads.
fn scans(plan: &Plan) -> usize {
    let mut scans = 0;
    plan.each(&mut |p| scans += usize::from(matches!(p.table(), Some((_, Role::Source)))));
    scans
}
