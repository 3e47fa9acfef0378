//! The bound plan: relational operators over typed columns. It is a tree but for what is named more than once, which is shared.

use crate::identity::Identity;
use crate::table::Table;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_core::{Field, Schema, SqlType, TypeKind};
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;
use weir_expr::injective::injective;

/// A relation.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are what relational algebra calls them")]
pub enum Plan {
    /// The columns that a table's connector reads, or some of them.
    Scan { table: Arc<Table>, columns: Vec<usize>, schema: Schema },
    /// Constant rows.
    Values { rows: Vec<Vec<Expr>>, schema: Schema },
    /// A condition, then expressions.
    Calc { input: Box<Plan>, condition: Option<Expr>, exprs: Vec<Expr>, schema: Schema },
    /// Every row once per set of grouping columns, the others NULL, and the set's number as the last column.
    Expand { input: Box<Plan>, sets: Vec<Vec<usize>>, keys: Vec<usize>, schema: Schema },
    /// Groups by key columns; gives the keys, then the aggregates.
    Aggregate { input: Box<Plan>, keys: Vec<usize>, calls: Vec<AggregateCall>, schema: Schema },
    /// Changes of upserts: a row replaces the one before of the same key.
    Normalize { input: Box<Plan>, keys: Vec<usize>, schema: Schema },
    /// For each row those of a table outside that have its keys: pairs of a column here and one there.
    Lookup {
        input: Box<Plan>,
        table: Arc<Table>,
        on: Vec<(usize, usize)>,
        left: bool,
        keep: Vec<usize>,
        columns: Vec<usize>,
        schema: Schema,
    },
    /// All rows of all inputs.
    Union { inputs: Vec<Plan>, schema: Schema },
    /// A relation that several others read, and that is computed once.
    Shared(Arc<Shared>),
}

/// A relation with several readers. What is asked of plans again and again is answered once, for plans that name one another twice
/// have far more paths than relations.
#[derive(Debug)]
pub struct Shared {
    /// Its number, of no other in the statement.
    pub id: usize,
    /// The relation.
    pub plan: Plan,
    appends: bool,
    appends_in_batch: bool,
    balances: bool,
    unique_key: Option<Vec<usize>>,
}

impl Shared {
    /// A relation under a number.
    pub fn new(id: usize, plan: Plan) -> Shared {
        Shared {
            id,
            appends: plan.appends(),
            appends_in_batch: plan.appends_in_batch(),
            balances: plan.balances(),
            unique_key: plan.unique_key(),
            plan,
        }
    }
}

/// What a rewrite has made of shared relations, by their numbers.
#[derive(Default)]
pub(crate) struct Rewritten(HashMap<usize, Arc<Shared>>);

impl Plan {
    /// Its columns.
    pub fn schema(&self) -> &Schema {
        match self {
            Plan::Scan { schema, .. }
            | Plan::Values { schema, .. }
            | Plan::Calc { schema, .. }
            | Plan::Expand { schema, .. }
            | Plan::Aggregate { schema, .. }
            | Plan::Normalize { schema, .. }
            | Plan::Lookup { schema, .. }
            | Plan::Union { schema, .. } => schema,
            Plan::Shared(shared) => shared.plan.schema(),
        }
    }
    /// The relations below.
    pub fn inputs(&self) -> Vec<&Plan> {
        match self {
            Plan::Scan { .. } | Plan::Values { .. } => vec![],
            Plan::Calc { input, .. }
            | Plan::Expand { input, .. }
            | Plan::Aggregate { input, .. }
            | Plan::Normalize { input, .. }
            | Plan::Lookup { input, .. } => vec![input],
            Plan::Union { inputs, .. } => inputs.iter().collect(),
            Plan::Shared(shared) => vec![&shared.plan],
        }
    }
    /// Visits this relation and all below, each once: a relation before its inputs.
    pub fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a Plan)) {
        fn walk<'a>(plan: &'a Plan, seen: &mut HashSet<usize>, visit: &mut dyn FnMut(&'a Plan)) {
            if let Plan::Shared(shared) = plan
                && !seen.insert(shared.id)
            {
                return;
            }
            visit(plan);
            plan.inputs().into_iter().for_each(|i| walk(i, seen, visit));
        }
        walk(self, &mut HashSet::new(), visit);
    }
    /// Whether this relation or one below is such.
    pub fn any(&self, is: impl Fn(&Plan) -> bool) -> bool {
        let mut found = false;
        self.each(&mut |p| found |= is(p));
        found
    }
    /// The same relation over rewritten inputs; a shared one is rewritten once.
    pub(crate) fn map_inputs(
        self,
        done: &mut Rewritten,
        rewrite: &mut dyn FnMut(Plan, &mut Rewritten) -> Plan,
    ) -> Plan {
        let mut boxed = |input: Box<Plan>, done: &mut Rewritten| Box::new(rewrite(*input, done));
        match self {
            plan @ (Plan::Scan { .. } | Plan::Values { .. }) => plan,
            Plan::Calc { input, condition, exprs, schema } => {
                Plan::Calc { input: boxed(input, done), condition, exprs, schema }
            }
            Plan::Expand { input, sets, keys, schema } => {
                Plan::Expand { input: boxed(input, done), sets, keys, schema }
            }
            Plan::Aggregate { input, keys, calls, schema } => {
                Plan::Aggregate { input: boxed(input, done), keys, calls, schema }
            }
            Plan::Normalize { input, keys, schema } => Plan::Normalize { input: boxed(input, done), keys, schema },
            Plan::Lookup { input, table, on, left, keep, columns, schema } => {
                Plan::Lookup { input: boxed(input, done), table, on, left, keep, columns, schema }
            }
            Plan::Union { inputs, schema } => {
                Plan::Union { inputs: inputs.into_iter().map(|i| rewrite(i, done)).collect(), schema }
            }
            Plan::Shared(shared) => {
                if let Some(known) = done.0.get(&shared.id) {
                    return Plan::Shared(known.clone());
                }
                let plan = rewrite(shared.plan.clone(), done);
                let new = Arc::new(Shared::new(shared.id, plan));
                done.0.insert(shared.id, new.clone());
                Plan::Shared(new)
            }
        }
    }
    /// Whether rows only ever come. DISTINCT over rows that only come does too, for it has no result that changes.
    pub fn appends(&self) -> bool {
        let inputs = || self.inputs().into_iter().all(Plan::appends);
        match self {
            Plan::Scan { table, .. } => !table.brings_changes(),
            Plan::Aggregate { calls, keys, .. } => calls.is_empty() && !keys.is_empty() && inputs(),
            Plan::Shared(shared) => shared.appends,
            Plan::Values { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Union { .. } => inputs(),
        }
    }
    /// The same when aggregates give their results once, at the end: only what the sources themselves bring changes.
    pub fn appends_in_batch(&self) -> bool {
        match self {
            Plan::Scan { table, .. } => !table.brings_changes(),
            Plan::Aggregate { calls, keys, .. } if !calls.is_empty() || keys.is_empty() => true,
            Plan::Shared(shared) => shared.appends_in_batch,
            _ => self.inputs().into_iter().all(Plan::appends_in_batch),
        }
    }
    /// Whether every row that goes is one that came before. A table's changes may begin in the middle, and a look-up may find
    /// something else the second time.
    pub fn balances(&self) -> bool {
        match self {
            Plan::Aggregate { .. } | Plan::Normalize { .. } => true,
            Plan::Scan { table, .. } => !table.brings_changes(),
            Plan::Lookup { input, .. } => input.appends(),
            Plan::Shared(shared) => shared.balances,
            _ => self.inputs().into_iter().all(Plan::balances),
        }
    }
    /// Whether aggregates are computed, which keep other things for a result at the end than for one after each row.
    pub fn aggregates(&self) -> bool {
        self.any(|p| matches!(p, Plan::Aggregate { calls, .. } if !calls.is_empty()))
    }
    /// Whether equal rows of its tables always make equal rows, at whatever time.
    pub fn deterministic(&self) -> bool {
        !self.any(|p| match p {
            Plan::Calc { condition, exprs, .. } => !exprs.iter().chain(condition).all(Expr::deterministic),
            Plan::Values { rows, .. } => !rows.iter().flatten().all(Expr::deterministic),
            _ => false,
        })
    }
    /// A column with maps in it by which rows are grouped.
    pub fn grouped_map(&self) -> Option<&Field> {
        let mut found = None;
        self.each(&mut |p| {
            if let Plan::Aggregate { input, keys, .. } = p {
                let mut fields = keys.iter().filter_map(|k| input.schema().fields.get(*k));
                found = found.or_else(|| fields.find(|f| has_map(&f.ty)));
            }
        });
        found
    }
    /// A projection on top of a relation.
    pub fn calc(input: Plan, condition: Option<Expr>, named: Vec<(String, Expr)>) -> Plan {
        let schema = Schema::new(named.iter().map(|(n, e)| Field::new(n.clone(), e.ty())).collect());
        let exprs = named.into_iter().map(|(_, e)| e).collect();
        Plan::Calc { input: Box::new(input), condition, exprs, schema }
    }
    /// Its columns as expressions over it.
    pub fn columns(&self) -> Vec<(String, Expr)> {
        let fields = self.schema().fields.iter().enumerate();
        fields.map(|(i, f)| (f.name.clone(), Expr::column(i, f.name.clone(), f.ty.clone()))).collect()
    }
}

/// Whether there are maps in values of a type.
fn has_map(ty: &SqlType) -> bool {
    match &ty.kind {
        TypeKind::Map(..) | TypeKind::Multiset(_) => true,
        TypeKind::Array(item) => has_map(item),
        TypeKind::Row(fields) => fields.iter().any(|f| has_map(&f.ty)),
        _ => false,
    }
}

/// An INSERT: a relation into a table.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table.
    pub table: Arc<Table>,
    /// What goes into it, in the columns that are written.
    pub plan: Plan,
    /// What the statement's state is known by.
    pub identity: Identity,
    /// The fingerprint of the plan as bound, before it was optimized.
    pub fingerprint: u128,
}

/// The column that an expression has a value of its own for each value of.
fn told_apart(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, ty, .. } if injective(&expr.ty(), ty) => told_apart(expr),
        _ => None,
    }
}

impl Plan {
    /// The columns that a changing result is unique by, as far as they come through: a group's key.
    pub fn unique_key(&self) -> Option<Vec<usize>> {
        match self {
            Plan::Aggregate { keys, .. } => (!keys.is_empty()).then(|| (0..keys.len()).collect()),
            Plan::Normalize { keys, .. } => Some(keys.clone()),
            Plan::Calc { input, exprs, .. } => {
                let at = |k: &usize| exprs.iter().position(|e| told_apart(e) == Some(*k));
                input.unique_key()?.iter().map(at).collect()
            }
            // One row at most for each that comes.
            Plan::Lookup { input, table, on, keep, .. }
                if !table.primary_key.is_empty()
                    && table.primary_key.iter().all(|k| on.iter().any(|(_, there)| there == k)) =>
            {
                input.unique_key()?.iter().map(|k| keep.iter().position(|c| c == k)).collect()
            }
            Plan::Scan { table, columns, .. } if !table.primary_key.is_empty() => {
                table.primary_key.iter().map(|k| columns.iter().position(|c| c == k)).collect()
            }
            Plan::Shared(shared) => shared.unique_key.clone(),
            _ => None,
        }
    }
}
