//! The bound plan: relational operators over typed columns. It is a tree but for what is named more than once, which is shared.

use crate::identity::Identity;
use crate::table::Table;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_core::emit::Emit;
use weir_core::error::Place;
use weir_core::frame::Frame;
use weir_core::keyed::TimeDomain;
use weir_core::option_spec::Role;
use weir_core::rank::SortKey;
use weir_core::windows::{Slices, Windows};
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind};
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;

/// A relation.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are what relational algebra calls them")]
pub enum Plan {
    /// The columns that a table's connector reads, or some of them.
    Scan { table: Arc<Table>, columns: Vec<usize>, schema: Schema, uids: StateUids },
    /// Constant rows.
    Values { rows: Vec<Vec<Expr>>, schema: Schema, uids: StateUids },
    /// A condition, then expressions.
    Calc { input: Box<Plan>, condition: Option<Expr>, exprs: Vec<Expr>, schema: Schema },
    /// Every row once per set of grouping columns, the others NULL, and the set's number as the last column.
    Expand { input: Box<Plan>, sets: Vec<Vec<usize>>, keys: Vec<usize>, schema: Schema },
    /// Groups by key columns; gives the keys, then the aggregates. With a window among the keys, once for each group of it.
    Aggregate {
        input: Box<Plan>,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        window: Option<GroupWindow>,
        schema: Schema,
        uids: StateUids,
    },
    /// Every row once for each window that it is in, with the window's start, end and time as the last columns. Sessions are
    /// those of each `partition`. Where they are `merged` by an aggregation, a row comes once, with the window that is its own.
    Window {
        input: Box<Plan>,
        windows: Windows,
        merged: bool,
        time: WindowTime,
        partition: Vec<usize>,
        schema: Schema,
        uids: StateUids,
    },
    /// Changes of upserts: a row replaces the one before of the same key.
    Normalize { input: Box<Plan>, keys: Vec<usize>, schema: Schema, uids: StateUids },
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
    /// For each row the elements of its array, map or multiset `collection`: the columns `keep` of the row, then `columns` of the
    /// element, of which the one behind the last is its number. With `left`, a row without elements stays, with NULLs.
    Unnest { input: Box<Plan>, collection: usize, keep: Vec<usize>, columns: Vec<usize>, left: bool, schema: Schema },
    /// The rows of each partition whose rank in an order is in a range; with their rank as the last column where `number`.
    Rank {
        input: Box<Plan>,
        partition: Vec<usize>,
        order: Vec<SortKey>,
        ranks: Ranks,
        number: bool,
        schema: Schema,
        uids: StateUids,
    },
    /// Every row with aggregates of the rows of its partition up to it, in an order, as the last columns.
    Over {
        input: Box<Plan>,
        partition: Vec<usize>,
        order: RowOrder,
        frame: Frame,
        calls: Vec<AggregateCall>,
        schema: Schema,
        uids: StateUids,
    },
    /// The rows in an order: of a stream in that of event time, by the column `time`, as far as it has come.
    Sort { input: Box<Plan>, order: Vec<SortKey>, time: Option<usize>, schema: Schema, uids: StateUids },
    /// All rows of all inputs.
    Union { inputs: Vec<Plan>, schema: Schema },
    /// A relation that several others read, and that is computed once.
    Shared(Arc<Shared>),
}

/// What windows go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowTime {
    /// The column with the rows' times; it is not looked at where windows go by the time of day.
    pub column: usize,
    /// Event time or the time of day.
    pub domain: TimeDomain,
    /// Whether times are instants, and windows those of the session's time zone.
    pub local: bool,
}

/// The order in which OVER takes rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOrder {
    /// That of time: each row has its result once.
    Time(WindowTime),
    /// That of columns: a row may come in front of others, whose results change with it.
    Values(Vec<SortKey>),
}

impl RowOrder {
    /// The columns that decide it.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            RowOrder::Time(time) => vec![time.column],
            RowOrder::Values(keys) => keys.iter().map(|k| k.column).collect(),
        }
    }

    /// The same order by columns that are elsewhere.
    ///
    /// # Errors
    /// When `place` does not find one.
    pub(crate) fn moved(self, place: impl Fn(usize) -> Result<usize>) -> Result<RowOrder> {
        Ok(match self {
            RowOrder::Time(time) => RowOrder::Time(WindowTime { column: place(time.column)?, ..time }),
            RowOrder::Values(keys) => {
                let moved = keys.into_iter().map(|k| Ok(SortKey { column: place(k.column)?, ..k }));
                RowOrder::Values(moved.collect::<Result<_>>()?)
            }
        })
    }
}

/// The window by which an aggregation groups, and whose groups have one result each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupWindow {
    /// Which of the keys is the window's start.
    pub start: usize,
    /// Which is its end.
    pub end: usize,
    /// Event time or the time of day.
    pub domain: TimeDomain,
    /// Whether start and end are those of the session's time zone.
    pub local: bool,
    /// How windows are made of those that rows come with; none where rows come once for each window that they are in.
    pub merge: Option<WindowMerge>,
    /// Whether they are sessions.
    pub sessions: bool,
    /// When groups give out results beside the end of their window; none where each gives out its result once.
    pub emit: Option<Emit>,
}

impl GroupWindow {
    /// The other ones of so many keys.
    pub fn others(self, keys: usize) -> impl Iterator<Item = usize> + Clone {
        (0..keys).filter(move |k| *k != self.start && *k != self.end)
    }
}

/// How windows are made of those that each row comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowMerge {
    /// Rows come with their slice, and windows consist of slices.
    Slices(Slices),
    /// Rows come with a session of their own, and sessions that meet are one.
    Sessions,
}

/// A range of ranks, which are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// The first.
    pub first: u64,
    /// The last; none where nothing bounds them, and such a relation cannot be computed.
    pub last: Option<u64>,
    /// Where the script asks for them.
    pub place: Option<Place>,
}

/// What the state of a relation's operator is called. A relation has none before the statements of its script are put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateUids {
    /// The uid of the operator.
    pub uid: String,
    /// The uids that it has in the statements that it serves, in order, each as if it were of that statement alone.
    pub names: Vec<String>,
}

impl StateUids {
    /// Of an operator of one statement.
    pub fn own(uid: String) -> StateUids {
        StateUids { names: vec![uid.clone()], uid }
    }
}

/// A relation with several readers.
#[derive(Debug)]
pub struct Shared {
    /// Its number, of no other in the script.
    pub id: usize,
    /// The relation.
    pub plan: Plan,
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
            | Plan::Unnest { schema, .. }
            | Plan::Rank { schema, .. }
            | Plan::Window { schema, .. }
            | Plan::Over { schema, .. }
            | Plan::Sort { schema, .. }
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
            | Plan::Lookup { input, .. }
            | Plan::Unnest { input, .. }
            | Plan::Rank { input, .. }
            | Plan::Window { input, .. }
            | Plan::Over { input, .. }
            | Plan::Sort { input, .. } => vec![input],
            Plan::Union { inputs, .. } => inputs.iter().collect(),
            Plan::Shared(shared) => vec![&shared.plan],
        }
    }
    /// The relations below, to be replaced.
    ///
    /// # Errors
    /// When this is a shared one, which others read as well: a mistake of Weir's own.
    pub(crate) fn inputs_mut(&mut self) -> Result<Vec<&mut Plan>> {
        Ok(match self {
            Plan::Scan { .. } | Plan::Values { .. } => vec![],
            Plan::Calc { input, .. }
            | Plan::Expand { input, .. }
            | Plan::Aggregate { input, .. }
            | Plan::Normalize { input, .. }
            | Plan::Lookup { input, .. }
            | Plan::Unnest { input, .. }
            | Plan::Rank { input, .. }
            | Plan::Window { input, .. }
            | Plan::Over { input, .. }
            | Plan::Sort { input, .. } => vec![input],
            Plan::Union { inputs, .. } => inputs.iter_mut().collect(),
            Plan::Shared(_) => return Err(Error::internal("the input of a shared relation is replaced")),
        })
    }
    /// What its state is called, if its operator keeps any.
    pub(crate) fn uids_mut(&mut self) -> Option<&mut StateUids> {
        match self {
            Plan::Scan { uids, .. }
            | Plan::Values { uids, .. }
            | Plan::Aggregate { uids, .. }
            | Plan::Normalize { uids, .. }
            | Plan::Rank { uids, .. }
            | Plan::Over { uids, .. }
            | Plan::Sort { uids, .. }
            | Plan::Window { windows: Windows::Session { .. }, merged: false, uids, .. } => Some(uids),
            Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Lookup { .. }
            | Plan::Unnest { .. }
            | Plan::Window { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => None,
        }
    }
    /// No rows of no columns: what stands where an input was taken away.
    pub(crate) fn nothing() -> Plan {
        Plan::Values { rows: vec![], schema: Schema::new(vec![]), uids: StateUids::default() }
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
            Plan::Aggregate { input, keys, calls, window, schema, uids } => {
                Plan::Aggregate { input: boxed(input, done), keys, calls, window, schema, uids }
            }
            Plan::Window { input, windows, merged, time, partition, schema, uids } => {
                Plan::Window { input: boxed(input, done), windows, merged, time, partition, schema, uids }
            }
            Plan::Normalize { input, keys, schema, uids } => {
                Plan::Normalize { input: boxed(input, done), keys, schema, uids }
            }
            Plan::Lookup { input, table, on, left, keep, columns, schema } => {
                Plan::Lookup { input: boxed(input, done), table, on, left, keep, columns, schema }
            }
            Plan::Unnest { input, collection, keep, columns, left, schema } => {
                Plan::Unnest { input: boxed(input, done), collection, keep, columns, left, schema }
            }
            Plan::Rank { input, partition, order, ranks, number, schema, uids } => {
                Plan::Rank { input: boxed(input, done), partition, order, ranks, number, schema, uids }
            }
            Plan::Over { input, partition, order, frame, calls, schema, uids } => {
                Plan::Over { input: boxed(input, done), partition, order, frame, calls, schema, uids }
            }
            Plan::Sort { input, order, time, schema, uids } => {
                Plan::Sort { input: boxed(input, done), order, time, schema, uids }
            }
            Plan::Union { inputs, schema } => {
                Plan::Union { inputs: inputs.into_iter().map(|i| rewrite(i, done)).collect(), schema }
            }
            Plan::Shared(shared) => {
                if let Some(known) = done.0.get(&shared.id) {
                    return Plan::Shared(known.clone());
                }
                let plan = rewrite(shared.plan.clone(), done);
                let new = Arc::new(Shared { id: shared.id, plan });
                done.0.insert(shared.id, new.clone());
                Plan::Shared(new)
            }
        }
    }
    /// The table outside that it asks, and what that is to it.
    pub fn table(&self) -> Option<(&Arc<Table>, Role)> {
        match self {
            Plan::Scan { table, .. } => Some((table, Role::Source)),
            Plan::Lookup { table, .. } => Some((table, Role::Lookup)),
            Plan::Values { .. }
            | Plan::Unnest { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Aggregate { .. }
            | Plan::Normalize { .. }
            | Plan::Rank { .. }
            | Plan::Window { .. }
            | Plan::Over { .. }
            | Plan::Sort { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => None,
        }
    }
    /// The columns of a relation below by which it groups rows.
    fn grouping(&self) -> Option<(&Plan, &[usize])> {
        match self {
            Plan::Aggregate { input, keys, .. } => Some((input, keys)),
            Plan::Scan { .. }
            | Plan::Values { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Unnest { .. }
            | Plan::Rank { .. }
            | Plan::Window { .. }
            | Plan::Over { .. }
            | Plan::Sort { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => None,
        }
    }
    /// The expressions that it computes itself.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Plan::Calc { condition, exprs, .. } => exprs.iter().chain(condition).collect(),
            Plan::Values { rows, .. } => rows.iter().flatten().collect(),
            Plan::Scan { .. }
            | Plan::Expand { .. }
            | Plan::Aggregate { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Unnest { .. }
            | Plan::Rank { .. }
            | Plan::Window { .. }
            | Plan::Over { .. }
            | Plan::Sort { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => vec![],
        }
    }
    /// Whether aggregates or ranks are computed, which keep other things for a result at the end than for one after each row.
    pub fn aggregates(&self) -> bool {
        self.any(|p| match p {
            Plan::Aggregate { calls, .. } => !calls.is_empty(),
            Plan::Rank { .. } | Plan::Over { .. } | Plan::Sort { .. } => true,
            Plan::Scan { .. }
            | Plan::Values { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Unnest { .. }
            | Plan::Window { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => false,
        })
    }
    /// Whether one of its functions sends the records that it fails on to a table.
    pub fn sends_records(&self) -> bool {
        let mut sends = false;
        self.each(&mut |p| {
            for e in p.expressions() {
                e.each_call(&mut |f| sends |= f.dead_letters().is_some());
            }
        });
        sends
    }
    /// Whether equal rows of its tables always make equal rows, at whatever time.
    pub fn deterministic(&self) -> bool {
        !self.any(|p| !p.expressions().into_iter().all(Expr::deterministic))
    }
    /// A column with maps in it by which rows are grouped.
    pub fn grouped_map(&self) -> Option<&Field> {
        let mut found = None;
        self.each(&mut |p| {
            if let Some((input, keys)) = p.grouping() {
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
        TypeKind::Null
        | TypeKind::Boolean
        | TypeKind::TinyInt
        | TypeKind::SmallInt
        | TypeKind::Int
        | TypeKind::BigInt
        | TypeKind::Float
        | TypeKind::Double
        | TypeKind::Decimal(..)
        | TypeKind::Char(_)
        | TypeKind::Varchar(_)
        | TypeKind::Binary(_)
        | TypeKind::Varbinary(_)
        | TypeKind::Date
        | TypeKind::Time(_)
        | TypeKind::Timestamp(_)
        | TypeKind::TimestampLtz(_)
        | TypeKind::IntervalMonth
        | TypeKind::IntervalDay => false,
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
