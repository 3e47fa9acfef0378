//! Layouts: descriptions of what each operator's state contains, item by item, to be shown and compared. A statement that keeps its uid may
//! change as long as the layouts stay the same. Whoever changes the content of an operator's state must change the name of its kind here as
//! well.

use super::graph::{Aggregation, Graph, Node, Operator, WindowKeys};
use crate::fingerprint::what_table;
use crate::identity::Identity;
use crate::logical::WindowMerge;
use crate::sharing::OperatorUids;
use crate::table::Table;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use weir_core::Schema;
use weir_core::graph::MAIN;
use weir_core::rank::{RankStrategy, SortKey};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::match_recognize::MatchRecognize;

/// Formats items with their values as JSON.
fn layout(items: &[(&str, String)]) -> String {
    let items: Map<String, Json> = items.iter().map(|(k, v)| ((*k).to_string(), v.as_str().into())).collect();
    Json::Object(items).to_string()
}

/// Formats types without NOT NULL, which is not part of the state.
fn types<'a>(columns: impl IntoIterator<Item = &'a usize>, of: &Schema) -> String {
    columns.into_iter().map(|c| of.fields[*c].ty.kind.to_string()).collect::<Vec<_>>().join(", ")
}

fn all_types(of: &Schema) -> String {
    types(&(0..of.len()).collect::<Vec<_>>(), of)
}

fn of_calls(calls: &[AggregateCall], input: &Schema) -> String {
    let calls = calls.iter().map(|c| {
        let distinct = if c.distinct { "DISTINCT " } else { "" };
        let args = if c.args.is_empty() { "*".to_string() } else { types(&c.args, input) };
        let kept = match c.function {
            Aggregate::StddevPop | Aggregate::StddevSamp | Aggregate::VarPop | Aggregate::VarSamp => " by long sums",
            _ => "",
        };
        format!("{}({distinct}{args}){kept}", c.function.name())
    });
    calls.collect::<Vec<_>>().join(", ")
}

fn of_aggregate(a: &Aggregation) -> String {
    let calls = of_calls(&a.calls, &a.input);
    let rows = if a.retracts { "come and go" } else { "only come" };
    let results = if a.at_end { "at the end" } else { "as they change" };
    let kind = match a.window {
        None => "aggregate",
        Some(WindowKeys { merge: None, .. }) => "window aggregate",
        Some(WindowKeys { merge: Some(WindowMerge::Slices(_)), .. }) => "aggregate of slices",
        Some(WindowKeys { merge: Some(WindowMerge::Sessions), .. }) => "aggregate of sessions",
    };
    layout(&[
        ("kind", kind.to_string()),
        ("keys", types(&a.keys, &a.input)),
        ("aggregates", calls),
        ("rows", rows.to_string()),
        ("results", results.to_string()),
    ])
}

/// The pattern and what is read of rows, from which the states of the automaton and the columns that are kept follow.
fn of_matching(matching: &MatchRecognize) -> String {
    let columns: Vec<String> = match matching.all_rows {
        true => vec!["all".to_string()],
        false => matching.columns().iter().map(ToString::to_string).collect(),
    };
    let numbers: Vec<String> = (0..matching.variables.len()).map(|n| format!("v{n}")).collect();
    let (pattern, reach) = (matching.shown_pattern(&numbers), matching.reach());
    format!("{pattern} with columns {} and {reach} rows before", columns.join(", "))
}

/// The layout of an operator that stores rows by key.
fn of_rows(kind: &str, keys: &[usize], schema: &Schema) -> String {
    layout(&[("kind", kind.to_string()), ("keys", types(keys, schema)), ("columns", all_types(schema))])
}

fn of_order(order: &[SortKey], schema: &Schema) -> String {
    let order = order.iter().map(|k| {
        let direction = if k.descending { "descending" } else { "ascending" };
        let nulls = if k.nulls_first { "first" } else { "last" };
        format!("{} {direction}, NULLs {nulls}", schema.fields[k.column].ty.kind)
    });
    order.collect::<Vec<_>>().join("; ")
}

fn of_rank(
    kind: &str,
    partition: &[usize],
    order: &[SortKey],
    (first, last): (u64, u64),
    strategy: &RankStrategy,
    schema: &Schema,
) -> String {
    // If all rows are kept, any of them may become the first.
    let kept = match strategy {
        _ if strategy.keeps_best((first, last)) => "the first".to_string(),
        RankStrategy::Append | RankStrategy::Update(_) => format!("{first} to {last}"),
        RankStrategy::Retract => format!("all, those to {last} apart"),
    };
    layout(&[
        ("kind", kind.to_string()),
        ("partition", types(partition, schema)),
        ("order", of_order(order, schema)),
        ("rows", kept),
        ("columns", all_types(schema)),
    ])
}

/// The layout of a connector's state: the position in a table that is read, or what was written to it.
fn of_table(kind: &str, table: &Table, columns: &Schema) -> String {
    layout(&[
        ("kind", kind.to_string()),
        ("table", what_table(table)),
        ("columns", all_types(columns)),
        ("primary key", types(&table.primary_key, &table.physical)),
    ])
}

/// The layout of an operator's state with this name; none if it has no state. Connectors' state has a layout only in statements with a uid,
/// since the identity of others includes their tables.
fn of_operator(operator: &Operator, name: &str) -> Option<String> {
    let has_uid = Identity::of(name).is_some_and(|i| i.uid().is_some());
    match operator {
        Operator::Aggregate(a) | Operator::GlobalAggregate(a) => Some(of_aggregate(a)),
        Operator::Normalize { keys, schema, .. } => Some(of_rows("normalize", keys, schema)),
        Operator::Join(join) => Some(layout(&[
            ("kind", {
                let by = match (join.window, join.interval, join.as_of) {
                    (_, _, Some(_)) => "temporal ",
                    (Some(_), _, _) => "window ",
                    (None, Some(_), _) => "interval ",
                    (None, None, None) => "",
                };
                format!("{by}{} join", join.kind.name())
            }),
            ("keys", types(&join.on.iter().map(|k| k.left).collect::<Vec<_>>(), &join.left)),
            ("left columns", all_types(&join.left)),
            ("right columns", all_types(&join.right)),
        ])),
        Operator::MultiJoin(join) => Some(layout(&[
            ("kind", "multi-way join".to_string()),
            ("optional inputs", format!("{:?}", join.optional)),
            ("keys", join.inputs.iter().zip(&join.on).map(|(of, on)| types(on, of)).collect::<Vec<_>>().join("; ")),
            ("columns", join.inputs.iter().map(all_types).collect::<Vec<_>>().join("; ")),
        ])),
        Operator::Session { gap, partition, input, .. } => Some(layout(&[
            ("kind", "session".to_string()),
            ("gap", format!("{gap} ms")),
            ("partition", types(partition, input)),
            ("columns", all_types(input)),
        ])),
        Operator::Over { partition, frame, calls, input, .. } => Some(layout(&[
            ("kind", "frames".to_string()),
            ("partition", types(partition, input)),
            ("frame", frame.to_string()),
            ("aggregates", of_calls(calls, input)),
            ("columns", all_types(input)),
        ])),
        Operator::OverValues { partition, order, frame, calls, input, .. } => Some(layout(&[
            ("kind", "over values".to_string()),
            ("partition", types(partition, input)),
            ("order", of_order(order, input)),
            ("frame", frame.to_string()),
            ("aggregates", of_calls(calls, input)),
            ("columns", all_types(input)),
        ])),
        Operator::Match { partition, order, matching, input, .. } => Some(layout(&[
            ("kind", "match".to_string()),
            ("partition", types(partition, input)),
            ("order", of_order(order, input)),
            // What matches have begun, and the rows that they keep, depends on all of it.
            ("pattern", of_matching(matching)),
            ("columns", all_types(input)),
        ])),
        Operator::Materialize { keys, schema, .. } => Some(of_rows("materialize", keys, schema)),
        Operator::Rank { partition, order, ranks, strategy, schema, window, .. } => {
            let kind = if window.is_some() { "window rank" } else { "rank" };
            Some(of_rank(kind, partition, order, *ranks, strategy, schema))
        }
        Operator::FirstRow { partition, schema, .. } => Some(of_rows("first row", partition, schema)),
        Operator::Sort { order, schema, .. } => Some(layout(&[
            ("kind", "sort".to_string()),
            ("order", of_order(order, schema)),
            ("columns", all_types(schema)),
        ])),
        Operator::Source { table, .. } => has_uid.then(|| of_table("source", table, &table.physical)),
        Operator::Sink { table, .. } => {
            has_uid.then(|| of_table("sink", table, &table.physical.project(&table.written)))
        }
        Operator::Values { .. } => has_uid.then(|| layout(&[("kind", "values".to_string())])),
        Operator::DeadLetterSource { .. }
        | Operator::Replay { .. }
        | Operator::Calc { .. }
        | Operator::Expand { .. }
        | Operator::LocalAggregate(_)
        | Operator::Window { .. }
        | Operator::Enforce { .. }
        | Operator::Lookup { .. }
        | Operator::Unnest { .. }
        | Operator::Union { .. } => None,
    }
}

impl Graph {
    /// The uids of the operators, by the names that they have in the statements.
    pub fn places(&self) -> OperatorUids {
        let of_node = |n: &Node| n.uids.names.iter().map(|name| (name.clone(), n.uids.uid.clone())).collect::<Vec<_>>();
        self.nodes.iter().flat_map(of_node).collect()
    }

    /// The layouts of the operators' state, by the same names.
    pub fn layouts(&self) -> BTreeMap<String, String> {
        let mut layouts = BTreeMap::new();
        for (n, name) in self.nodes.iter().flat_map(|n| n.uids.names.iter().map(move |name| (n, name))) {
            layouts.extend(n.chain.iter().find_map(|o| of_operator(o, name)).map(|layout| (name.clone(), layout)));
        }
        layouts
    }

    /// The identities of the statements that each node serves.
    fn served(&self) -> Vec<BTreeSet<&str>> {
        let mut served = vec![BTreeSet::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if node.chain.iter().any(|o| matches!(o, Operator::Sink { .. })) {
                served[at].insert(node.statement.identity.as_str());
            }
            let all = served[at].clone();
            node.inputs.iter().filter(|e| e.port == MAIN).for_each(|e| served[e.from].extend(&all));
        }
        served
    }

    /// The versions of user-defined functions, by the identities of their statements and their names.
    pub fn function_versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        let served = self.served();
        for (at, operator) in self.nodes.iter().enumerate().flat_map(|(at, n)| n.chain.iter().map(move |o| (at, o))) {
            for e in operator.expressions() {
                e.each_call(&mut |f| {
                    let of =
                        |statement: &&str| f.version().map(|version| (format!("{statement}/{}", f.name()), version));
                    versions.extend(served[at].iter().filter_map(of));
                });
            }
        }
        versions
    }
}
