//! The physical graph: which operators run a job, how many subtasks each has, and how rows go from one to the next.

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
use weir_core::graph::{DEAD_LETTERS, Edge, LATE_ROWS, Partitioning};
use weir_core::rank::{RankStrategy, SortKey};
use weir_core::watermarks::WatermarkStrategy;
use weir_core::windows::Windows;
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;

/// What an aggregation computes, in whatever stages.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// The rows' columns, before any local stage.
    pub input: Schema,
    /// Keys, then results.
    pub schema: Schema,
    /// Whether the input's rows can be taken back.
    pub retracts: bool,
    /// Whether results go out only at the end.
    pub at_end: bool,
    /// After how many milliseconds without a row a key is forgotten; 0 = never.
    pub ttl_millis: u64,
    /// The windows whose ends and starts are its first two keys, and whose groups have one result each.
    pub window: Option<WindowKeys>,
    /// Whether its late rows are written somewhere, for which rows come to it one by one.
    pub late_rows: bool,
}

impl Aggregation {
    /// Those of its keys that decide which subtask a group belongs to: all but windows that are merged, of which one subtask needs all.
    pub fn owner_keys(&self) -> std::ops::Range<usize> {
        let merges = self.window.is_some_and(|w| w.merge.is_some());
        if merges { 2..self.keys.len() } else { 0..self.keys.len() }
    }
}

/// The end and the start of a window as keys.
#[derive(Debug, Clone, Copy)]
pub struct WindowKeys {
    /// Whether they are of the session's time zone.
    pub local: bool,
    /// How they are made of the windows that rows come with.
    pub merge: Option<WindowMerge>,
    /// When their groups give out results beside the end of their window.
    pub emit: Option<Emit>,
}

/// An operator of the physical graph, with all that was decided about it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the relations, and are explained there")]
pub enum Operator {
    /// Reads a table.
    Source { table: Arc<Table>, columns: Vec<usize>, times: Option<TimedRows> },
    /// Reads a table of dead letters from its beginning to where it ends now.
    DeadLetterSource { table: Arc<Table>, columns: Vec<usize> },
    /// Makes rows of a table of its dead letters: those of these tables, each with the statements that take letters from it. `uid` is
    /// that of the source in whose place it stands.
    Replay { table: Arc<Table>, columns: Vec<usize>, letters: Vec<(String, BTreeSet<String>)>, uid: String },
    /// Gives constant rows.
    Values { rows: Vec<Vec<Expr>>, schema: Schema },
    /// A condition, then expressions.
    Calc { condition: Option<Expr>, exprs: Vec<Expr>, schema: Schema, input: Schema },
    /// Every row once per set of grouping columns.
    Expand { sets: Vec<Vec<usize>>, keys: Vec<usize>, schema: Schema },
    /// The whole of an aggregation.
    Aggregate(Aggregation),
    /// A row a key and batch, in front of the exchange.
    LocalAggregate(Aggregation),
    /// Puts the rows of local stages together.
    GlobalAggregate(Aggregation),
    /// Every row once for each window that it is in.
    Window { windows: Windows, time: WindowTime, schema: Schema },
    /// The same of sessions, for each key. `input` is that of the rows that come in.
    Session { gap: i64, time: WindowTime, partition: Vec<usize>, input: Schema, schema: Schema },
    /// Every row with aggregates of those up to it. `input` is that of the rows that come in.
    Over {
        partition: Vec<usize>,
        time: WindowTime,
        frame: Frame,
        calls: Vec<AggregateCall>,
        input: Schema,
        schema: Schema,
    },
    /// The same in the order of columns that are no time attribute: results may change. With `at_end` they go out at the end.
    OverValues {
        partition: Vec<usize>,
        order: Vec<SortKey>,
        frame: Frame,
        calls: Vec<AggregateCall>,
        input: Schema,
        schema: Schema,
        at_end: bool,
        ttl_millis: u64,
    },
    /// Makes changes of upserts.
    Normalize { keys: Vec<usize>, schema: Schema, ttl_millis: u64 },
    /// Keeps all rows of a sink's key, of which the last one stands in the sink.
    Materialize { keys: Vec<usize>, schema: Schema, ttl_millis: u64 },
    /// Holds rows against what a sink's table says of its columns.
    Enforce { table: Arc<Table>, constraints: Constraints },
    /// Looks rows up in a table outside.
    Lookup {
        table: Arc<Table>,
        on: Vec<(usize, usize)>,
        left: bool,
        keep: Vec<usize>,
        columns: Vec<usize>,
        schema: Schema,
    },
    /// The elements of each row's collection.
    Unnest { collection: usize, multiset: bool, keep: Vec<usize>, columns: Vec<usize>, left: bool, schema: Schema },
    /// The rows of each partition from one rank to another, with their rank as the last column where `number`. `schema` is that of the
    /// rows that come in. With a `window`, whose end and start come first in the partition, rows go out when it is complete; it says
    /// whether it is of the session's time zone.
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
    },
    /// The first row of each partition in time, once.
    FirstRow { partition: Vec<usize>, time: WindowTime, number: bool, schema: Schema, ttl_millis: u64 },
    /// The rows in an order.
    Sort { order: Vec<SortKey>, time: Option<usize>, schema: Schema },
    /// All rows of all inputs.
    Union { schema: Schema },
    /// Writes a table: by these of the written columns, where there is a key. `dead_letters` takes the rows that its system refuses.
    Sink { table: Arc<Table>, key: Vec<usize>, changes: bool, dead_letters: Option<Arc<Table>> },
}

impl Operator {
    /// Its kind.
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
            Operator::FirstRow { .. } => "FirstRow",
            Operator::Sort { .. } => "Sort",
            Operator::Normalize { .. } => "Normalize",
            Operator::Materialize { .. } => "Materialize",
            Operator::Enforce { .. } => "Enforce",
            Operator::Lookup { .. } => "Lookup",
            Operator::Unnest { .. } => "Unnest",
            Operator::Rank { .. } => "Rank",
            Operator::Union { .. } => "Union",
            Operator::Sink { .. } => "Sink",
        }
    }

    /// The expressions that it evaluates.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Operator::Calc { condition, exprs, .. } => exprs.iter().chain(condition).collect(),
            Operator::Values { rows, .. } => rows.iter().flatten().collect(),
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

    /// Whether operators without an exchange between may be run with it as one.
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
            | Operator::FirstRow { .. }
            | Operator::Sort { .. }
            | Operator::Normalize { .. }
            | Operator::Materialize { .. }
            | Operator::Enforce { .. }
            | Operator::Lookup { .. }
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

/// The statement that a node is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What its state is known by.
    pub identity: String,
    /// Whether one of its functions sends the records that it fails on to a table, so that they stay with their rows.
    pub keeps_records: bool,
}

/// A node: one operator, or several in a chain, in some subtasks.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, for people and metrics; unique in the job.
    pub name: String,
    /// What its state is known by, and the uids that it would have in each of the statements that it serves.
    pub uids: StateUids,
    /// The statement that it is part of; of several that it serves, the first.
    pub statement: Arc<Statement>,
    /// The number of subtasks.
    pub parallelism: usize,
    /// The number of subtasks that its functions ask for.
    pub asked_parallelism: Option<usize>,
    /// Its operators, first to last.
    pub chain: Vec<Operator>,
    /// The kinds of rows that come out.
    pub changelog: ChangelogMode,
    /// Where its rows come from.
    pub inputs: Vec<Edge>,
}

impl Node {
    /// How it makes watermarks, if it is a source whose rows have event time.
    pub fn watermarks(&self) -> Option<&WatermarkStrategy> {
        self.chain.iter().find_map(|o| match o {
            Operator::Source { times, .. } => times.as_ref().map(|t| &t.strategy),
            _ => None,
        })
    }
}

/// A job's nodes, in an order in which every edge points forward.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// A line a node: what it is, how many subtasks it has, what it brings, and where its rows come from.
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
