//! The bound plan: relational operators over typed columns. It is a tree, except that relations that are named several times are shared.

use crate::identity::Identity;
use crate::table::Table;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_core::emit::Emit;
use weir_core::error::Place;
use weir_core::frame::Frame;
use weir_core::join::{AsOf, JoinKey, JoinKind, LookupRetry};
use weir_core::keyed::TimeDomain;
use weir_core::option_spec::Role;
use weir_core::rank::SortKey;
use weir_core::windows::{Slices, Windows};
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind};
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;
use weir_expr::match_recognize::MatchRecognize;

/// A relation.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are what relational algebra calls them")]
pub enum Plan {
    /// Reads columns of a table through its connector.
    Scan { table: Arc<Table>, columns: Vec<usize>, schema: Schema, uids: StateUids },
    /// Constant rows.
    Values { rows: Vec<Vec<Expr>>, schema: Schema, uids: StateUids },
    /// Filters by a predicate, then projects to expressions.
    Calc { input: Box<Plan>, condition: Option<Expr>, exprs: Vec<Expr>, schema: Schema },
    /// Every row once per grouping set. Other grouping columns are NULL, and the last column is the number of the set.
    Expand { input: Box<Plan>, sets: Vec<Vec<usize>>, keys: Vec<usize>, schema: Schema },
    /// Groups by key columns. The output is the keys, then the aggregates. With a window among the keys, each group has one result.
    Aggregate {
        input: Box<Plan>,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
        window: Option<GroupWindow>,
        /// The time to live of the state in milliseconds, if it is not that of the job; 0 = unlimited.
        ttl: Option<u64>,
        schema: Schema,
        uids: StateUids,
    },
    /// Every row once for each of its windows, with the window's start, end and time as the last columns. Sessions are computed within each
    /// `partition`. If an aggregation merges the windows (`merged`), each row is emitted once, with its own window.
    Window {
        input: Box<Plan>,
        windows: Windows,
        merged: bool,
        time: WindowTime,
        partition: Vec<usize>,
        schema: Schema,
        uids: StateUids,
    },
    /// Turns upserts into a changelog: a row replaces the previous one of the same key.
    Normalize { input: Box<Plan>, keys: Vec<usize>, schema: Schema, uids: StateUids },
    /// Joins each row with the rows of an external table that have the same keys: pairs of a column of the input and one of the table.
    Lookup {
        input: Box<Plan>,
        table: Arc<Table>,
        on: Vec<(usize, usize)>,
        left: bool,
        retry: Option<LookupRetry>,
        keep: Vec<usize>,
        columns: Vec<usize>,
        schema: Schema,
    },
    /// Joins the rows of two relations that are equal in the columns `on` and satisfy a condition over the columns of both. The output has
    /// the columns of the left side, then, unless the join only filters the left side, those of the right side. With `as_of`, each left row is
    /// joined once, with the row that the right side has at a time.
    Join {
        left: Box<Plan>,
        right: Box<Plan>,
        kind: JoinKind,
        on: Vec<JoinKey>,
        as_of: Option<AsOf>,
        condition: Option<Expr>,
        /// The time to live of each side's rows in milliseconds, if it is not that of the job; 0 = unlimited.
        ttl: [Option<u64>; 2],
        schema: Schema,
        uids: StateUids,
    },
    /// Joins each row with the elements of its array, map or multiset `collection`: the columns `keep` of the row, then `columns` of the
    /// element, where the column after the last one is the number of the element. With `left`, a row without elements is kept, with NULLs.
    Unnest { input: Box<Plan>, collection: usize, keep: Vec<usize>, columns: Vec<usize>, left: bool, schema: Schema },
    /// The rows of each partition whose rank in an order is within a range. With `number`, the rank is the last column.
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
    /// The matches of a pattern in the rows of each partition, in the order of time and, for rows of one time, of further columns. The
    /// output is the columns of the partition, or those of the input if all rows are emitted, then what is read of the matches.
    Match {
        input: Box<Plan>,
        partition: Vec<usize>,
        time: WindowTime,
        order: Vec<SortKey>,
        matching: Arc<MatchRecognize>,
        schema: Schema,
        uids: StateUids,
    },
    /// The sorted rows. A stream is sorted by event time, in the column `time`, up to the watermark.
    Sort { input: Box<Plan>, order: Vec<SortKey>, time: Option<usize>, schema: Schema, uids: StateUids },
    /// All rows of all inputs.
    Union { inputs: Vec<Plan>, schema: Schema },
    /// A relation that several others read. It is computed once.
    Shared(Arc<Shared>),
}

/// The time attribute of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowTime {
    /// The column with the rows' times. It is ignored for processing time.
    pub column: usize,
    /// Event time or processing time.
    pub domain: TimeDomain,
    /// Whether times are instants, so that windows follow the session's time zone.
    pub local: bool,
}

/// The order of the rows in OVER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOrder {
    /// By time: each row has its result once.
    Time(WindowTime),
    /// By columns: a row may be inserted before others, whose results then change.
    Values(Vec<SortKey>),
}

impl RowOrder {
    /// The columns of the order.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            RowOrder::Time(time) => vec![time.column],
            RowOrder::Values(keys) => keys.iter().map(|k| k.column).collect(),
        }
    }

    /// The same order over columns that have moved.
    ///
    /// # Errors
    /// If `place` fails for a column.
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

/// The window of a windowed aggregation, whose groups have one result each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupWindow {
    /// The index of the key that is the window's start.
    pub start: usize,
    /// The index of the key that is the window's end.
    pub end: usize,
    /// Event time or processing time.
    pub domain: TimeDomain,
    /// Whether start and end are in the session's time zone.
    pub local: bool,
    /// How windows are merged from those of the rows; none if each row arrives once for each of its windows.
    pub merge: Option<WindowMerge>,
    /// Whether the windows are sessions.
    pub sessions: bool,
    /// When groups emit results besides at the end of their window; none if each result is emitted once.
    pub emit: Option<Emit>,
}

impl GroupWindow {
    /// The indices of the other keys, out of this number of keys.
    pub fn others(self, keys: usize) -> impl Iterator<Item = usize> + Clone {
        (0..keys).filter(move |k| *k != self.start && *k != self.end)
    }
}

/// How windows are merged from those of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowMerge {
    /// Each row has its slice, and windows consist of slices.
    Slices(Slices),
    /// Each row has its own session, and overlapping sessions are merged.
    Sessions,
}

/// A range of ranks, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// The first rank.
    pub first: u64,
    /// The last rank; none if the range has no upper bound. Not every such relation can be computed.
    pub last: Option<u64>,
    /// The position in the script, for errors.
    pub place: Option<Place>,
}

/// The uids of an operator's state. They are empty until the statements of the script are combined into a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateUids {
    /// The uid of the operator.
    pub uid: String,
    /// The names of the state in the statements that the operator serves, in order. Each is what the uid would be in that statement alone.
    pub names: Vec<String>,
}

impl StateUids {
    /// The uid of an operator that serves one statement.
    pub fn own(uid: String) -> StateUids {
        StateUids { names: vec![uid.clone()], uid }
    }
}

/// A relation with several readers.
#[derive(Debug)]
pub struct Shared {
    /// Its number, unique in the script.
    pub id: usize,
    /// The relation.
    pub plan: Plan,
}

/// The rewritten shared relations, by number.
#[derive(Default)]
pub(crate) struct Rewritten(HashMap<usize, Arc<Shared>>);

impl Plan {
    /// The columns of the output.
    pub fn schema(&self) -> &Schema {
        match self {
            Plan::Scan { schema, .. }
            | Plan::Values { schema, .. }
            | Plan::Calc { schema, .. }
            | Plan::Expand { schema, .. }
            | Plan::Aggregate { schema, .. }
            | Plan::Normalize { schema, .. }
            | Plan::Lookup { schema, .. }
            | Plan::Join { schema, .. }
            | Plan::Unnest { schema, .. }
            | Plan::Rank { schema, .. }
            | Plan::Window { schema, .. }
            | Plan::Over { schema, .. }
            | Plan::Match { schema, .. }
            | Plan::Sort { schema, .. }
            | Plan::Union { schema, .. } => schema,
            Plan::Shared(shared) => shared.plan.schema(),
        }
    }
    /// The inputs.
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
            | Plan::Match { input, .. }
            | Plan::Sort { input, .. } => vec![input],
            Plan::Join { left, right, .. } => vec![left, right],
            Plan::Union { inputs, .. } => inputs.iter().collect(),
            Plan::Shared(shared) => vec![&shared.plan],
        }
    }
    /// The inputs, for replacement.
    ///
    /// # Errors
    /// An internal error for a shared relation, which has other readers as well.
    pub fn inputs_mut(&mut self) -> Result<Vec<&mut Plan>> {
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
            | Plan::Match { input, .. }
            | Plan::Sort { input, .. } => vec![input],
            Plan::Join { left, right, .. } => vec![left, right],
            Plan::Union { inputs, .. } => inputs.iter_mut().collect(),
            Plan::Shared(_) => return Err(Error::internal("the input of a shared relation is replaced")),
        })
    }
    /// The uids of the operator's state, if it keeps any.
    pub(crate) fn uids_mut(&mut self) -> Option<&mut StateUids> {
        match self {
            Plan::Scan { uids, .. }
            | Plan::Values { uids, .. }
            | Plan::Aggregate { uids, .. }
            | Plan::Join { uids, .. }
            | Plan::Normalize { uids, .. }
            | Plan::Rank { uids, .. }
            | Plan::Over { uids, .. }
            | Plan::Match { uids, .. }
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
    /// A relation without rows and columns. It temporarily replaces an input that was moved out.
    pub(crate) fn nothing() -> Plan {
        Plan::Values { rows: vec![], schema: Schema::new(vec![]), uids: StateUids::default() }
    }
    /// Visits this relation and all below it once each, a relation before its inputs.
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
    /// Whether `is` holds for this relation or one below it.
    pub fn any(&self, is: impl Fn(&Plan) -> bool) -> bool {
        let mut found = false;
        self.each(&mut |p| found |= is(p));
        found
    }
    /// Rewrites the inputs of the relation. Shared relations are rewritten once.
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
            Plan::Aggregate { input, keys, calls, window, ttl, schema, uids } => {
                Plan::Aggregate { input: boxed(input, done), keys, calls, window, ttl, schema, uids }
            }
            Plan::Window { input, windows, merged, time, partition, schema, uids } => {
                Plan::Window { input: boxed(input, done), windows, merged, time, partition, schema, uids }
            }
            Plan::Normalize { input, keys, schema, uids } => {
                Plan::Normalize { input: boxed(input, done), keys, schema, uids }
            }
            Plan::Lookup { input, table, on, left, retry, keep, columns, schema } => {
                Plan::Lookup { input: boxed(input, done), table, on, left, retry, keep, columns, schema }
            }
            Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids } => {
                let (left, right) = (boxed(left, done), boxed(right, done));
                Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids }
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
            Plan::Match { input, partition, time, order, matching, schema, uids } => {
                Plan::Match { input: boxed(input, done), partition, time, order, matching, schema, uids }
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
    /// The external table that the relation accesses, and its role.
    pub fn table(&self) -> Option<(&Arc<Table>, Role)> {
        match self {
            Plan::Scan { table, .. } => Some((table, Role::Source)),
            Plan::Lookup { table, .. } => Some((table, Role::Lookup)),
            Plan::Values { .. }
            | Plan::Join { .. }
            | Plan::Unnest { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Aggregate { .. }
            | Plan::Normalize { .. }
            | Plan::Rank { .. }
            | Plan::Window { .. }
            | Plan::Over { .. }
            | Plan::Match { .. }
            | Plan::Sort { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => None,
        }
    }
    /// The input and the columns of it by which the relation groups rows.
    fn grouping(&self) -> Option<(&Plan, &[usize])> {
        match self {
            Plan::Aggregate { input, keys, .. } => Some((input, keys)),
            Plan::Scan { .. }
            | Plan::Values { .. }
            | Plan::Calc { .. }
            | Plan::Expand { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Join { .. }
            | Plan::Unnest { .. }
            | Plan::Rank { .. }
            | Plan::Window { .. }
            | Plan::Over { .. }
            | Plan::Match { .. }
            | Plan::Sort { .. }
            | Plan::Union { .. }
            | Plan::Shared(_) => None,
        }
    }
    /// The expressions that the relation evaluates itself.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Plan::Calc { condition, exprs, .. } => exprs.iter().chain(condition).collect(),
            Plan::Join { condition, .. } => condition.iter().collect(),
            Plan::Values { rows, .. } => rows.iter().flatten().collect(),
            Plan::Match { matching, .. } => {
                let timed_out = matching.timed_out.iter().flat_map(|t| t.measures.iter().map(|(_, e)| e));
                matching.expressions().into_iter().chain(timed_out).collect()
            }
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
    /// Whether there are aggregates, ranks or outer joins. Their state differs between results at the end and continuous results.
    pub fn aggregates(&self) -> bool {
        self.any(|p| match p {
            Plan::Aggregate { calls, .. } => !calls.is_empty(),
            Plan::Rank { .. } | Plan::Over { .. } | Plan::Sort { .. } => true,
            Plan::Join { kind, .. } => *kind != JoinKind::Inner,
            // Matches are emitted when they are found, in both modes.
            Plan::Match { .. } => false,
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
    /// Whether one of the functions sends failed records to a dead-letter table.
    pub fn sends_records(&self) -> bool {
        let mut sends = false;
        self.each(&mut |p| {
            for e in p.expressions() {
                e.each_call(&mut |f| sends |= f.dead_letters().is_some());
            }
        });
        sends
    }
    /// Whether the output depends only on the rows of the tables, and not on the time of execution.
    pub fn deterministic(&self) -> bool {
        !self.any(|p| !p.expressions().into_iter().all(Expr::deterministic))
    }
    /// A column by which rows are grouped and whose type contains a map.
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
    /// Creates a projection of a relation.
    pub fn calc(input: Plan, condition: Option<Expr>, named: Vec<(String, Expr)>) -> Plan {
        let schema = Schema::new(named.iter().map(|(n, e)| Field::new(n.clone(), e.ty())).collect());
        let exprs = named.into_iter().map(|(_, e)| e).collect();
        Plan::Calc { input: Box::new(input), condition, exprs, schema }
    }
    /// The columns as expressions over the relation.
    pub fn columns(&self) -> Vec<(String, Expr)> {
        let fields = self.schema().fields.iter().enumerate();
        fields.map(|(i, f)| (f.name.clone(), Expr::column(i, f.name.clone(), f.ty.clone()))).collect()
    }
}

/// Whether a type contains maps.
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

/// An INSERT of a relation into a table.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table.
    pub table: Arc<Table>,
    /// The relation, with the columns that are written.
    pub plan: Plan,
    /// The identity of the statement's state.
    pub identity: Identity,
    /// The fingerprint of the bound plan before optimization.
    pub fingerprint: u128,
}
