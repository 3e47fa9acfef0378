//! The physical graph: the operators of a job, the parallelism of each, and the exchanges between them.

use super::event_time::TimedRows;
use crate::logical::{StateUids, WindowMerge, WindowTime};
use crate::table::Table;
use crate::traits::ChangelogMode;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use weir_core::Schema;
use weir_core::constraints::Constraints;
use weir_core::emit::Emit;
use weir_core::frame::Frame;
use weir_core::graph::{DEAD_LETTERS, Edge, LATE_ROWS, Partitioning, TIMED_OUT};
use weir_core::join::{AsOf, Interval, JoinKey, JoinKind, LookupRetry};
use weir_core::rank::{RankStrategy, SortKey};
use weir_core::watermarks::WatermarkStrategy;
use weir_core::windows::Windows;
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;
use weir_expr::match_recognize::MatchRecognize;

/// The definition of an aggregation, for all of its stages.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The columns of the rows, before any local stage.
    pub input: Schema,
    /// The columns of the output: the keys, then the results.
    pub schema: Schema,
    /// Whether the input has retractions.
    pub retracts: bool,
    /// Whether results are only emitted at the end of the input.
    pub at_end: bool,
    /// The time to live of a key without a row in milliseconds; 0 = unlimited.
    pub ttl_millis: u64,
    /// The windows, if there are any. Their ends and starts are the first two keys, and each group has one result.
    pub window: Option<WindowKeys>,
    /// Whether late rows are written to a table, which requires that rows arrive one by one.
    pub late_rows: bool,
    /// Whether the old row of an update is emitted too.
    pub update_before: bool,
}

impl Aggregation {
    /// The indices of the keys that determine the subtask of a group: all but windows that are merged, since one subtask needs all of them.
    pub fn owner_keys(&self) -> std::ops::Range<usize> {
        let merges = self.window.is_some_and(|w| w.merge.is_some());
        if merges { 2..self.keys.len() } else { 0..self.keys.len() }
    }
}

/// The window of an aggregation, whose end and start are keys.
#[derive(Debug, Clone, Copy)]
pub struct WindowKeys {
    /// Whether the window is in the session's time zone.
    pub local: bool,
    /// How windows are merged from those of the rows.
    pub merge: Option<WindowMerge>,
    /// When groups emit results besides at the end of their window.
    pub emit: Option<Emit>,
}

/// The definition of a join.
#[derive(Debug, Clone)]
pub struct Join {
    /// The kind of the join.
    pub kind: JoinKind,
    /// The columns that must be equal.
    pub on: Vec<JoinKey>,
    /// The condition that pairs must satisfy besides.
    pub condition: Option<Expr>,
    /// The columns of the left input.
    pub left: Schema,
    /// The columns of the right input.
    pub right: Schema,
    /// The columns of the output.
    pub schema: Schema,
    /// For each side, whether its rows are retracted.
    pub retracts: [bool; 2],
    /// If rows of the same window are joined when it is complete: whether windows are in the session's time zone. Then the first keys are the
    /// end and the start of the window.
    pub window: Option<bool>,
    /// If rows are joined whose times are close to each other: how close.
    pub interval: Option<Interval>,
    /// If each left row is joined with the row that the right side has at a time: that time.
    pub as_of: Option<AsOf>,
    /// Whether rows that depend on the absence of a partner are only emitted at the end of the inputs.
    pub at_end: bool,
    /// The time to live of each side's rows in milliseconds; 0 = unlimited.
    pub ttl_millis: [u64; 2],
}

/// The definition of a join of several inputs by one key.
#[derive(Debug, Clone)]
pub struct MultiJoin {
    /// The columns of each input.
    pub inputs: Vec<Schema>,
    /// For each input, whether it is the right side of a LEFT JOIN.
    pub optional: Vec<bool>,
    /// The columns of each input that must be equal to those of the others.
    pub on: Vec<Vec<usize>>,
    /// For each column of the key, whether two NULLs are equal.
    pub nulls_equal: Vec<bool>,
    /// The condition besides, over the columns of all inputs.
    pub condition: Option<Expr>,
    /// The columns of all inputs.
    pub schema: Schema,
    /// For each input, whether its rows are retracted.
    pub retracts: Vec<bool>,
    /// The time to live of each input's rows in milliseconds; 0 = unlimited.
    pub ttl_millis: Vec<u64>,
}

/// An operator of the physical graph with all planning decisions. `update_before` says whether the old row of an update is emitted too.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the relations, and are explained there")]
pub enum Operator {
    /// Reads a table. `fields` has, for each column that the connector reads, the fields of its ROW that are read; none: all of it.
    Source { table: Arc<Table>, columns: Vec<usize>, fields: Vec<Option<BTreeSet<usize>>>, times: Option<TimedRows> },
    /// Reads a dead-letter table from its beginning to its current end.
    DeadLetterSource { table: Arc<Table>, columns: Vec<usize> },
    /// Decodes the dead letters of these tables, each with the statements whose letters are read from it, to rows of a table. `uid` is that
    /// of the source that it replaces.
    Replay { table: Arc<Table>, columns: Vec<usize>, letters: Vec<(String, BTreeSet<String>)>, uid: String },
    /// Emits constant rows.
    Values { rows: Vec<Vec<Expr>>, schema: Schema },
    /// Filters by a predicate, then projects to expressions.
    Calc { condition: Option<Expr>, exprs: Vec<Expr>, schema: Schema, input: Schema },
    /// Every row once per grouping set.
    Expand { sets: Vec<Vec<usize>>, keys: Vec<usize>, schema: Schema },
    /// A whole aggregation in one stage.
    Aggregate(Aggregation),
    /// The local stage, before the exchange. It emits one row per key and batch.
    LocalAggregate(Aggregation),
    /// The global stage. It merges the rows of local stages.
    GlobalAggregate(Aggregation),
    /// Every row once for each of its windows.
    Window { windows: Windows, time: WindowTime, schema: Schema },
    /// Assigns rows to sessions for each key. `input` has the columns of the input rows.
    Session { gap: i64, time: WindowTime, partition: Vec<usize>, input: Schema, schema: Schema },
    /// Every row with aggregates of the rows up to it, ordered by time. `input` has the columns of the input rows.
    Over {
        partition: Vec<usize>,
        time: WindowTime,
        frame: Frame,
        calls: Vec<AggregateCall>,
        input: Schema,
        schema: Schema,
    },
    /// OVER ordered by columns that are not a time attribute, whose results may change. With `at_end` they are emitted at the end.
    OverValues {
        partition: Vec<usize>,
        order: Vec<SortKey>,
        frame: Frame,
        calls: Vec<AggregateCall>,
        input: Schema,
        schema: Schema,
        at_end: bool,
        ttl_millis: u64,
        update_before: bool,
    },
    /// The matches of a pattern in the rows of each partition. `input` has the columns of the input rows, `timed_out` those of matches that
    /// are not complete in time, if they are written.
    Match {
        partition: Vec<usize>,
        time: WindowTime,
        order: Vec<SortKey>,
        matching: Arc<MatchRecognize>,
        input: Schema,
        schema: Schema,
        timed_out: Option<Schema>,
    },
    /// Turns upserts into a changelog.
    Normalize { keys: Vec<usize>, schema: Schema, ttl_millis: u64, update_before: bool },
    /// Keeps all rows of a sink's key. The last one is the row in the sink.
    Materialize { keys: Vec<usize>, schema: Schema, ttl_millis: u64, update_before: bool },
    /// Checks rows against the constraints of a sink's columns.
    Enforce { table: Arc<Table>, constraints: Constraints },
    /// Looks rows up in an external table.
    Lookup {
        table: Arc<Table>,
        on: Vec<(usize, usize)>,
        left: bool,
        retry: Option<LookupRetry>,
        keep: Vec<usize>,
        columns: Vec<usize>,
        schema: Schema,
    },
    /// Joins two inputs.
    Join(Join),
    /// Joins several inputs by one key.
    MultiJoin(MultiJoin),
    /// Every row with the elements of its collection.
    Unnest { collection: usize, multiset: bool, keep: Vec<usize>, columns: Vec<usize>, left: bool, schema: Schema },
    /// The rows of each partition within a range of ranks. With `number`, the rank is the last column. `schema` has the columns of the
    /// input rows. With a `window`, whose end and start are the first columns of the partition, rows are emitted when the window is
    /// complete. Its value says whether it is in the session's time zone.
    Rank {
        partition: Vec<usize>,
        order: Vec<SortKey>,
        ranks: (u64, u64),
        number: bool,
        strategy: RankStrategy,
        last_wins: bool,
        window: Option<bool>,
        at_end: bool,
        schema: Schema,
        ttl_millis: u64,
        update_before: bool,
    },
    /// The first row of each partition in time, emitted once.
    FirstRow { partition: Vec<usize>, time: WindowTime, number: bool, schema: Schema, ttl_millis: u64 },
    /// The sorted rows.
    Sort { order: Vec<SortKey>, time: Option<usize>, schema: Schema },
    /// All rows of all inputs.
    Union { schema: Schema },
    /// Writes a table. `key` are the written columns of its key, if it has one. `dead_letters` receives the rows that the external system
    /// rejects.
    Sink { table: Arc<Table>, key: Vec<usize>, changes: bool, dead_letters: Option<Arc<Table>> },
}

impl Operator {
    /// The name of the operator's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Operator::Source { .. } => "Source",
            Operator::DeadLetterSource { .. } => "DeadLetterSource",
            Operator::Replay { .. } => "Replay",
            Operator::Values { .. } => "Values",
            Operator::Calc { .. } => "Calc",
            Operator::Expand { .. } => "Expand",
            Operator::Aggregate(_) => "Aggregate",
            Operator::LocalAggregate(_) => "LocalAggregate",
            Operator::GlobalAggregate(_) => "GlobalAggregate",
            Operator::Window { .. } => "Window",
            Operator::Session { .. } => "Session",
            Operator::Over { .. } => "Over",
            Operator::OverValues { .. } => "OverValues",
            Operator::Match { .. } => "Match",
            Operator::FirstRow { .. } => "FirstRow",
            Operator::Sort { .. } => "Sort",
            Operator::Normalize { .. } => "Normalize",
            Operator::Materialize { .. } => "Materialize",
            Operator::Enforce { .. } => "Enforce",
            Operator::Lookup { .. } => "Lookup",
            Operator::Join(_) => "Join",
            Operator::MultiJoin(_) => "MultiJoin",
            Operator::Unnest { .. } => "Unnest",
            Operator::Rank { .. } => "Rank",
            Operator::Union { .. } => "Union",
            Operator::Sink { .. } => "Sink",
        }
    }

    /// The expressions that the operator evaluates.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Operator::Calc { condition, exprs, .. } => exprs.iter().chain(condition).collect(),
            Operator::Values { rows, .. } => rows.iter().flatten().collect(),
            Operator::Join(join) => join.condition.iter().collect(),
            Operator::MultiJoin(join) => join.condition.iter().collect(),
            Operator::Match { matching, .. } => matching.expressions(),
            Operator::Source { times, .. } => times.iter().flat_map(|t| t.exprs.iter().chain(&t.timed)).collect(),
            Operator::DeadLetterSource { .. }
            | Operator::Replay { .. }
            | Operator::Expand { .. }
            | Operator::Aggregate(_)
            | Operator::LocalAggregate(_)
            | Operator::GlobalAggregate(_)
            | Operator::Window { .. }
            | Operator::Session { .. }
            | Operator::Over { .. }
            | Operator::OverValues { .. }
            | Operator::FirstRow { .. }
            | Operator::Sort { .. }
            | Operator::Normalize { .. }
            | Operator::Materialize { .. }
            | Operator::Enforce { .. }
            | Operator::Lookup { .. }
            | Operator::Unnest { .. }
            | Operator::Rank { .. }
            | Operator::Union { .. }
            | Operator::Sink { .. } => vec![],
        }
    }

    /// Whether the operator may be chained with others without an exchange between them.
    pub(super) fn chains(&self) -> bool {
        match self {
            Operator::Calc { .. }
            | Operator::Expand { .. }
            | Operator::Aggregate(_)
            | Operator::LocalAggregate(_)
            | Operator::GlobalAggregate(_)
            | Operator::Window { .. }
            | Operator::Session { .. }
            | Operator::Over { .. }
            | Operator::OverValues { .. }
            | Operator::Match { .. }
            | Operator::FirstRow { .. }
            | Operator::Sort { .. }
            | Operator::Normalize { .. }
            | Operator::Materialize { .. }
            | Operator::Enforce { .. }
            | Operator::Lookup { .. }
            | Operator::Join(_)
            | Operator::MultiJoin(_)
            | Operator::Unnest { .. }
            | Operator::Replay { .. }
            | Operator::Rank { .. }
            | Operator::Union { .. } => true,
            Operator::Source { .. }
            | Operator::DeadLetterSource { .. }
            | Operator::Values { .. }
            | Operator::Sink { .. } => false,
        }
    }
}

/// The statement of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The identity of the statement's state.
    pub identity: String,
    /// Whether one of its functions sends failed records to a table, so that rows must keep their records.
    pub keeps_records: bool,
}

/// A node: one operator or a chain of operators, with a parallelism.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name for users and metrics, unique in the job.
    pub name: String,
    /// The uid of its state, and the names of the state in each statement that it serves.
    pub uids: StateUids,
    /// The statement of the node, or the first one if it serves several.
    pub statement: Arc<Statement>,
    /// The number of subtasks.
    pub parallelism: usize,
    /// The parallelism that its functions request.
    pub asked_parallelism: Option<usize>,
    /// The operators, first to last.
    pub chain: Vec<Operator>,
    /// The changelog mode of the output.
    pub changelog: ChangelogMode,
    /// The edges to its inputs.
    pub inputs: Vec<Edge>,
}

impl Node {
    /// How watermarks are generated, if the node is a source with event time.
    pub fn watermarks(&self) -> Option<&WatermarkStrategy> {
        self.chain.iter().find_map(|o| match o {
            Operator::Source { times, .. } => times.as_ref().map(|t| &t.strategy),
            _ => None,
        })
    }
}

/// The nodes of a job. Every edge points from an earlier to a later node.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// One line per node: its operators, its parallelism, its changelog mode, and its inputs.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, n) in self.nodes.iter().enumerate() {
            let chain: Vec<&str> = n.chain.iter().map(Operator::kind).collect();
            let changelog = n.changelog;
            write!(f, "{at} {}  {} x{}  {changelog}", n.name, chain.join(" -> "), n.parallelism)?;
            for e in &n.inputs {
                let port = match e.port {
                    DEAD_LETTERS => " dead letters",
                    LATE_ROWS => " late rows",
                    TIMED_OUT => " timed-out matches",
                    _ => "",
                };
                let order = if e.ordered { " ordered" } else { "" };
                write!(f, "  <- {}{port} ", e.from)?;
                match &e.partitioning {
                    Partitioning::Forward => write!(f, "forward")?,
                    Partitioning::Hash(keys) => write!(f, "hash{keys:?}")?,
                    Partitioning::Rebalance => write!(f, "rebalance")?,
                    Partitioning::Single => write!(f, "single")?,
                }
                write!(f, "{order}")?;
                if e.input > 0 {
                    write!(f, " input {}", e.input)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
