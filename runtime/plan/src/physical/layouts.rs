//! What the state of an operator is made of, item by item, for people and for comparing: a statement that keeps its uid may change
//! as long as this stays. Whoever changes how an operator keeps such things changes its kind's name with it.

use super::graph::{Aggregation, Graph, Node, Operator, RankStrategy};
use crate::fingerprint::what_table;
use crate::logical::SortKey;
use crate::table::Table;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use weir_core::Schema;

/// Items with their values, as JSON.
fn layout(items: &[(&str, String)]) -> String {
    let items: Map<String, Json> = items.iter().map(|(k, v)| ((*k).to_string(), v.as_str().into())).collect();
    Json::Object(items).to_string()
}

/// Types without NOT NULL, which is not kept.
fn types<'a>(columns: impl IntoIterator<Item = &'a usize>, of: &Schema) -> String {
    columns.into_iter().map(|c| of.fields[*c].ty.kind.to_string()).collect::<Vec<_>>().join(", ")
}

fn all_types(of: &Schema) -> String {
    types(&(0..of.len()).collect::<Vec<_>>(), of)
}

fn of_aggregate(a: &Aggregation) -> String {
    let calls = a.calls.iter().map(|c| {
        let distinct = if c.distinct { "DISTINCT " } else { "" };
        let args = if c.args.is_empty() { "*".to_string() } else { types(&c.args, &a.input) };
        format!("{}({distinct}{args})", c.function.name())
    });
    let calls = calls.collect::<Vec<_>>().join(", ");
    let rows = if a.retracts { "come and go" } else { "only come" };
    let results = if a.at_end { "at the end" } else { "as they change" };
    layout(&[
        ("kind", "aggregate".to_string()),
        ("keys", types(&a.keys, &a.input)),
        ("aggregates", calls),
        ("rows", rows.to_string()),
        ("results", results.to_string()),
    ])
}

/// Of an operator that keeps rows by key.
fn of_rows(kind: &str, keys: &[usize], schema: &Schema) -> String {
    layout(&[("kind", kind.to_string()), ("keys", types(keys, schema)), ("columns", all_types(schema))])
}

fn of_rank(
    partition: &[usize],
    order: &[SortKey],
    (first, last): (u64, u64),
    strategy: &RankStrategy,
    schema: &Schema,
) -> String {
    let order = order.iter().map(|k| {
        let direction = if k.descending { "descending" } else { "ascending" };
        let nulls = if k.nulls_first { "first" } else { "last" };
        format!("{} {direction}, NULLs {nulls}", schema.fields[k.column].ty.kind)
    });
    // With all rows kept, any of them may come first.
    let kept = match strategy {
        RankStrategy::Append | RankStrategy::Update(_) => format!("{first} to {last}"),
        RankStrategy::Retract => format!("all, those to {last} apart"),
    };
    layout(&[
        ("kind", "rank".to_string()),
        ("partition", types(partition, schema)),
        ("order", order.collect::<Vec<_>>().join("; ")),
        ("rows", kept),
        ("columns", all_types(schema)),
    ])
}

/// How far a table is read, or what was written to it.
fn of_table(kind: &str, table: &Table, columns: &Schema) -> String {
    layout(&[
        ("kind", kind.to_string()),
        ("table", what_table(table)),
        ("columns", all_types(columns)),
        ("primary key", types(&table.primary_key, &table.physical)),
    ])
}

/// What an operator keeps; none if it keeps nothing. What connectors keep is guarded in statements that have a uid; others are known
/// by their tables.
fn of_operator(operator: &Operator, node: &Node) -> Option<String> {
    let has_uid = node.statement.has_uid;
    match operator {
        Operator::Aggregate(a) | Operator::GlobalAggregate(a) => Some(of_aggregate(a)),
        Operator::Normalize { keys, schema, .. } => Some(of_rows("normalize", keys, schema)),
        Operator::Materialize { keys, schema, .. } => Some(of_rows("materialize", keys, schema)),
        Operator::Rank { partition, order, ranks, strategy, schema, .. } => {
            Some(of_rank(partition, order, *ranks, strategy, schema))
        }
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
        | Operator::Enforce { .. }
        | Operator::Lookup { .. }
        | Operator::Union { .. } => None,
    }
}

impl Graph {
    /// What the state of its operators is made of, by their uids.
    pub fn layouts(&self) -> BTreeMap<String, String> {
        let of_node = |n: &Node| n.chain.iter().find_map(|o| of_operator(o, n)).map(|layout| (n.uid.clone(), layout));
        self.nodes.iter().filter_map(of_node).collect()
    }

    /// The versions of users' functions, by their statements' identities and their names.
    pub fn function_versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for (node, operator) in self.nodes.iter().flat_map(|n| n.chain.iter().map(move |o| (n, o))) {
            for e in operator.expressions() {
                e.each_call(&mut |f| {
                    let of = || format!("{}/{}", node.statement.identity, f.name());
                    versions.extend(f.version().map(|version| (of(), version)));
                });
            }
        }
        versions
    }
}
