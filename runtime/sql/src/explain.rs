//! Plans for people: as an indented tree, as JSON, as a Mermaid chart.

use crate::plan::{Insert, Plan};
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An indented tree.
    Text,
    /// JSON.
    Json,
    /// A chart for Mermaid.
    Mermaid,
}

/// A relation's name and details.
fn describe(plan: &Plan) -> (&'static str, Vec<(&'static str, String)>) {
    let names = |columns: &[usize], of: &Plan| {
        columns.iter().map(|c| of.schema().fields[*c].name.clone()).collect::<Vec<_>>().join(", ")
    };
    match plan {
        Plan::Scan { table, schema, .. } => {
            let columns = schema.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(", ");
            let connector = table.options.get("connector").cloned().unwrap_or_default();
            ("Source", vec![("table", table.name.clone()), ("connector", connector), ("columns", columns)])
        }
        Plan::Values { rows, .. } => ("Values", vec![("rows", rows.len().to_string())]),
        Plan::Calc { condition, exprs, schema, .. } => {
            let select = exprs
                .iter()
                .zip(&schema.fields)
                .map(|(e, f)| {
                    let e = e.to_string();
                    if e == f.name { e } else { format!("{e} AS {}", f.name) }
                })
                .collect::<Vec<_>>()
                .join(", ");
            let mut details = vec![("select", select)];
            if let Some(c) = condition {
                details.push(("where", c.to_string()));
            }
            let remembered: Vec<String> = functions(plan);
            if !remembered.is_empty() {
                details.push(("functions", remembered.join(", ")));
            }
            ("Calc", details)
        }
        Plan::Expand { input, sets, .. } => {
            let sets = sets.iter().map(|s| format!("({})", names(s, input))).collect::<Vec<_>>().join(", ");
            ("Expand", vec![("sets", sets)])
        }
        Plan::Aggregate { input, keys, calls, .. } if calls.is_empty() => {
            ("Distinct", vec![("by", names(keys, input))])
        }
        Plan::Aggregate { input, keys, calls, .. } => {
            let calls = calls
                .iter()
                .map(|c| {
                    let args = if c.args.is_empty() { "*".to_string() } else { names(&c.args, input) };
                    let distinct = if c.distinct { "DISTINCT " } else { "" };
                    let filter = c
                        .filter
                        .map_or(String::new(), |f| format!(" FILTER (WHERE {})", input.schema().fields[f].name));
                    format!("{}({distinct}{args}){filter}", c.function.name())
                })
                .collect::<Vec<_>>()
                .join(", ");
            ("Aggregate", vec![("by", names(keys, input)), ("compute", calls)])
        }
        Plan::Normalize { input, keys, .. } => ("ChangelogNormalize", vec![("key", names(keys, input))]),
        Plan::Lookup { input, table, on, left, .. } => {
            let pairs = on.iter().map(|(here, there)| {
                format!("{} = {}", input.schema().fields[*here].name, table.physical.fields[*there].name)
            });
            let name = if *left { "LookupJoin (left)" } else { "LookupJoin" };
            (name, vec![("table", table.name.clone()), ("on", pairs.collect::<Vec<_>>().join(" AND "))])
        }
        Plan::Union { .. } => ("Union", vec![]),
    }
}

fn functions(plan: &Plan) -> Vec<String> {
    let mut out = vec![];
    if let Plan::Calc { condition, exprs, .. } = plan {
        for e in exprs.iter().chain(condition) {
            e.each_call(&mut |function| {
                let remembered = if function.deterministic() { "results remembered" } else { "called for every row" };
                let text = format!("{} in its sandbox, {remembered}", function.name());
                if function.is_user_defined() && !out.contains(&text) {
                    out.push(text);
                }
            });
        }
    }
    out
}

fn changes(plan: &Plan) -> &'static str {
    if plan.appends() { "append-only" } else { "changes" }
}

/// Shows what INSERTs do.
pub fn explain(inserts: &[Insert], format: Format) -> String {
    match format {
        Format::Text => {
            let mut out = String::new();
            for i in inserts {
                let _ = writeln!(out, "Sink  table: {}  [{}]", i.table.name, changes(&i.plan));
                tree(&i.plan, 1, &mut out);
            }
            out
        }
        Format::Json => {
            let jobs: Vec<Json> = inserts
                .iter()
                .map(|i| json!({"operator": "Sink", "table": i.table.name, "identity": i.identity.to_string(), "inputs": [node(&i.plan)]}))
                .collect();
            let text = serde_json::to_string_pretty(&json!({ "statements": jobs })).unwrap_or_default();
            text + "\n"
        }
        Format::Mermaid => {
            let mut out = "flowchart TD\n".to_string();
            let mut next = 0;
            for i in inserts {
                let id = next;
                next += 1;
                let _ = writeln!(out, "  n{id}[\"Sink<br/>{}\"]", escape(&i.table.name));
                chart(&i.plan, id, &mut next, &mut out);
            }
            out
        }
    }
}

fn tree(plan: &Plan, depth: usize, out: &mut String) {
    let (name, details) = describe(plan);
    let details: Vec<String> = details.into_iter().map(|(k, v)| format!("{k}: {v}")).collect();
    let _ = writeln!(out, "{}{name}  {}  [{}]", "  ".repeat(depth), details.join("  "), changes(plan));
    plan.inputs().into_iter().for_each(|i| tree(i, depth + 1, out));
}

fn node(plan: &Plan) -> Json {
    let (name, details) = describe(plan);
    let mut out = json!({"operator": name, "changelog": changes(plan)});
    if let Json::Object(map) = &mut out {
        for (k, v) in details {
            map.insert(k.to_string(), v.into());
        }
        let columns: Vec<Json> =
            plan.schema().fields.iter().map(|f| json!({"name": f.name, "type": f.ty.to_string()})).collect();
        map.insert("schema".to_string(), columns.into());
        let inputs: Vec<Json> = plan.inputs().into_iter().map(node).collect();
        if !inputs.is_empty() {
            map.insert("inputs".to_string(), inputs.into());
        }
    }
    out
}

fn escape(s: &str) -> String {
    s.replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}

fn chart(plan: &Plan, parent: usize, next: &mut usize, out: &mut String) {
    let id = *next;
    *next += 1;
    let (name, details) = describe(plan);
    let details: Vec<String> = details.into_iter().map(|(k, v)| format!("{k}: {}", escape(&v))).collect();
    let _ = writeln!(out, "  n{id}[\"{name}<br/>{}\"]", details.join("<br/>"));
    let _ = writeln!(out, "  n{id} --> n{parent}");
    plan.inputs().into_iter().for_each(|i| chart(i, id, next, out));
}
