//! Shows plans as an indented tree, as JSON, or as a Mermaid chart.

use crate::logical::{Insert, Plan, RowOrder, WindowTime};
use crate::multi_joins::{Chain, chain_of};
use crate::settings::Mode;
use crate::traits::{Derived, derive};
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;
use weir_core::descriptor::LATE_ROWS;
use weir_core::join::{AsOf, JoinKind, LookupRetry};
use weir_core::keyed::TimeDomain;
use weir_core::rank::SortKey;
use weir_core::windows::Slices;
use weir_expr::aggregate::AggregateCall;
use weir_expr::match_recognize::{MOST_OF_ENDLESS, MatchRecognize, Skip};

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An indented tree.
    Text,
    /// JSON.
    Json,
    /// A Mermaid chart.
    Mermaid,
}

/// What is shown of a relation, each with its name.
type Details = Vec<(&'static str, String)>;

/// The name and the details of a relation.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a relation")]
fn describe(plan: &Plan) -> (&'static str, Details) {
    let names = |columns: &[usize], of: &Plan| {
        columns.iter().map(|c| of.schema().fields[*c].name.clone()).collect::<Vec<_>>().join(", ")
    };
    match plan {
        Plan::Scan { table, schema, .. } => {
            let columns = schema.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(", ");
            let connector = table.connector().to_string();
            let mut details = vec![("table", table.name.clone()), ("connector", connector), ("columns", columns)];
            if let Some(time) = &table.event_time {
                let column = &table.scanned().fields[time.column].name;
                details.push(("watermark", format!("{column} AS {}", time.watermark)));
            }
            if let Some(late) = table.options.get(LATE_ROWS.key()) {
                details.push(("late rows", late.clone()));
            }
            ("Source", details)
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
        Plan::Aggregate { input, keys, calls, window, ttl, .. } => {
            let calls = shown_calls(calls, input);
            let mut details = vec![("by", names(keys, input)), ("compute", calls)];
            details.extend(ttl.map(|ttl| ("time to live", shown_ttl(ttl))));
            if let Some(w) = window {
                let results = w.emit.map_or("once for each group".to_string(), |emit| emit.to_string());
                details.push(("window", format!("{}, {results}", domain_of(w.domain))));
            }
            (if window.is_some() { "WindowAggregate" } else { "Aggregate" }, details)
        }
        Plan::Window { input, windows, merged, time, partition, .. } => {
            let mut details = vec![("windows", windows.to_string())];
            match Slices::of(*windows) {
                Some(slices) if *merged => details.push(("slices", slices.shape().to_string())),
                None if *merged => details.push(("merged", "by the aggregation".to_string())),
                _ => {}
            }
            match time.domain {
                TimeDomain::Event => details.push(("time", names(&[time.column], input))),
                TimeDomain::Processing => details.push(("time", domain_of(time.domain).to_string())),
            }
            if !partition.is_empty() {
                details.push(("by", names(partition, input)));
            }
            ("Window", details)
        }
        Plan::Normalize { input, keys, .. } => ("ChangelogNormalize", vec![("key", names(keys, input))]),
        Plan::Lookup { input, table, on, left, retry, .. } => {
            let pairs = on.iter().map(|(here, there)| {
                format!("{} = {}", input.schema().fields[*here].name, table.physical.fields[*there].name)
            });
            let name = if *left { "LookupJoin (left)" } else { "LookupJoin" };
            let mut details = vec![("table", table.name.clone()), ("on", pairs.collect::<Vec<_>>().join(" AND "))];
            let shown =
                |r: &LookupRetry| ("retry", format!("{} times, every {:?}, if no row is found", r.attempts, r.delay));
            details.extend(retry.as_ref().map(shown));
            (name, details)
        }
        Plan::Join { left, right, kind, on, as_of, condition, ttl, .. } => {
            let pairs = on.iter().map(|k| {
                let (l, r) = (&left.schema().fields[k.left].name, &right.schema().fields[k.right].name);
                let equals = if k.nulls_equal { "IS NOT DISTINCT FROM" } else { "=" };
                format!("{l} {equals} {r}")
            });
            let mut details = vec![("type", kind.name().to_string())];
            details.push(("on", pairs.collect::<Vec<_>>().join(" AND ")));
            details.retain(|(_, what)| !what.is_empty());
            details.extend(condition.as_ref().map(|c| ("where", c.to_string())));
            for (ttl, name) in ttl.iter().zip(["time to live of the left rows", "time to live of the right rows"]) {
                details.extend(ttl.map(|ttl| (name, shown_ttl(ttl))));
            }
            match as_of {
                None => return ("Join", details),
                Some(AsOf::EventTime { left: time, .. }) => details.push(("as of", names(&[*time], left))),
                Some(AsOf::ProcessingTime) => details.push(("as of", domain_of(TimeDomain::Processing).to_string())),
            }
            ("TemporalJoin", details)
        }
        Plan::Unnest { input, collection, left, .. } => {
            (if *left { "Unnest (left)" } else { "Unnest" }, vec![("collection", names(&[*collection], input))])
        }
        Plan::Rank { input, partition, order, ranks, number, .. } => {
            let order = shown_order(order, input);
            let last = ranks.last.map_or("…".to_string(), |n| n.to_string());
            let mut details = vec![("by", names(partition, input)), ("order", order)];
            details.retain(|(_, what)| !what.is_empty());
            details.push(("ranks", format!("{} to {last}", ranks.first)));
            if *number {
                details.push(("number", plan.schema().fields[plan.schema().len() - 1].name.clone()));
            }
            (if order_only(plan) { "SortLimit" } else { "Rank" }, details)
        }
        Plan::Over { input, partition, order, frame, calls, .. } => {
            let order = match order {
                RowOrder::Time(WindowTime { domain: TimeDomain::Event, column, .. }) => names(&[*column], input),
                RowOrder::Time(time) => domain_of(time.domain).to_string(),
                RowOrder::Values(keys) => shown_order(keys, input),
            };
            let mut details = vec![("by", names(partition, input)), ("order", order)];
            details.retain(|(_, what)| !what.is_empty());
            details.extend([("frame", frame.to_string()), ("compute", shown_calls(calls, input))]);
            ("Over", details)
        }
        Plan::Match { input, partition, time, order, matching, .. } => {
            let by_time = match time.domain {
                TimeDomain::Event => names(&[time.column], input),
                TimeDomain::Processing => domain_of(time.domain).to_string(),
            };
            let order = [by_time, shown_order(order, input)].into_iter().filter(|o| !o.is_empty());
            let mut details = vec![("by", names(partition, input)), ("order", order.collect::<Vec<_>>().join(", "))];
            details.retain(|(_, what)| !what.is_empty());
            details.extend(shown_matching(matching));
            ("Match", details)
        }
        Plan::Sort { input, order, .. } => ("Sort", vec![("order", shown_order(order, input))]),
        Plan::Union { .. } => ("Union", vec![]),
        Plan::Shared(shared) => describe(&shared.plan),
    }
}

/// A pattern, the conditions of its variables, and how matching goes on.
fn shown_matching(matching: &MatchRecognize) -> Details {
    let names = &matching.variables;
    let of = |variables: &[usize]| variables.iter().map(|v| names[*v].clone()).collect::<Vec<_>>().join(", ");
    let define = names.iter().zip(&matching.define);
    let define = define.filter_map(|(name, c)| Some(format!("{name} AS {}", c.as_ref()?.expr)));
    let skip = match &matching.skip {
        Skip::PastLastRow => "past last row".to_string(),
        Skip::ToNextRow => "to next row".to_string(),
        Skip::ToFirst(variables) => format!("to first {}", of(variables)),
        Skip::ToLast(variables) => format!("to last {}", of(variables)),
    };
    let mut details = vec![("pattern", matching.shown_pattern(names))];
    details.extend(matching.within.map(|millis| ("within", format!("{millis} ms"))));
    if matching.is_endless() {
        let endless = matching.pattern.endless().into_iter().map(|p| p.shown(names)).collect::<Vec<_>>().join(", ");
        details.push(("endless", format!("{endless}, up to {} MiB in a partition", MOST_OF_ENDLESS >> 20)));
    }
    details.push(("define", define.collect::<Vec<_>>().join(", ")));
    details.push(("rows", if matching.all_rows { "all" } else { "one" }.to_string()));
    details.push(("skip", skip));
    details.extend(matching.timed_out.as_ref().map(|t| ("timed out", t.table.clone())));
    details.retain(|(_, what)| !what.is_empty());
    details
}

/// Formats a time to live.
fn shown_ttl(millis: u64) -> String {
    if millis == 0 { "unlimited".to_string() } else { format!("{millis} ms") }
}

/// Formats a sort order over a relation's columns.
fn shown_order(order: &[SortKey], input: &Plan) -> String {
    let shown = order.iter().map(|k| {
        let nulls = match (k.descending, k.nulls_first) {
            (true, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
            (true, false) | (false, true) => "",
        };
        let direction = if k.descending { "DESC" } else { "ASC" };
        format!("{} {direction}{nulls}", input.schema().fields[k.column].name)
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Formats aggregate calls over a relation's columns.
fn shown_calls(calls: &[AggregateCall], input: &Plan) -> String {
    let name = |c: &usize| input.schema().fields[*c].name.clone();
    let shown = calls.iter().map(|c| {
        let args = c.args.iter().map(name).collect::<Vec<_>>().join(", ");
        let args = if args.is_empty() { "*".to_string() } else { args };
        let distinct = if c.distinct { "DISTINCT " } else { "" };
        let filter = c.filter.as_ref().map_or(String::new(), |f| format!(" FILTER (WHERE {})", name(f)));
        format!("{}({distinct}{args}){filter}", c.function.name())
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn domain_of(domain: TimeDomain) -> &'static str {
    match domain {
        TimeDomain::Event => "event time",
        TimeDomain::Processing => "processing time",
    }
}

/// Whether a relation comes from ORDER BY and LIMIT, so that it has no partition and no row number.
fn order_only(plan: &Plan) -> bool {
    matches!(plan, Plan::Rank { partition, number: false, .. } if partition.is_empty())
}

/// The ids of shared relations, in the order in which they are shown.
#[derive(Default)]
struct Shown(Vec<usize>);

/// How a relation is shown.
enum Occurrence {
    /// Without a number.
    Own,
    /// In full, with the number of the shared relation.
    First(usize),
    /// Only as the number of a shared relation that was shown before.
    Again(usize),
}

impl Shown {
    fn place(&mut self, plan: &Plan) -> Occurrence {
        let Plan::Shared(shared) = plan else { return Occurrence::Own };
        match self.0.iter().position(|id| *id == shared.id) {
            Some(at) => Occurrence::Again(at + 1),
            None => {
                self.0.push(shared.id);
                Occurrence::First(self.0.len())
            }
        }
    }
}

/// The name, the details and the inputs of a relation to be shown. A shared relation is shown as the relation itself, a chain of joins as
/// one join.
fn shown_relation<'p>(of: &Derived<'p>) -> (&'static str, Details, Vec<Rc<Derived<'p>>>) {
    if let (Plan::Shared(_), [shared]) = (of.plan, of.inputs.as_slice()) {
        return shown_relation(shared);
    }
    match chain_of(of) {
        Some(chain) => ("MultiJoin", shown_chain(&chain), chain.inputs),
        None => {
            let (name, details) = describe(of.plan);
            (name, details, of.inputs.clone())
        }
    }
}

/// The equalities of a chain of joins, and what holds besides.
fn shown_chain(chain: &Chain<'_>) -> Details {
    let column =
        |(input, on): (&Rc<Derived<'_>>, &Vec<usize>), n: usize| input.plan.schema().fields[on[n]].name.clone();
    let equal = chain.nulls_equal.iter().enumerate().map(|(n, nulls_equal)| {
        let columns: Vec<String> = chain.inputs.iter().zip(&chain.on).map(|of| column(of, n)).collect();
        columns.join(if *nulls_equal { " IS NOT DISTINCT FROM " } else { " = " })
    });
    let kind = if chain.optional.contains(&true) { JoinKind::Left } else { JoinKind::Inner };
    let mut details = vec![("type", kind.name().to_string())];
    let optional = chain.optional.iter().enumerate().filter(|(_, optional)| **optional);
    let optional: Vec<String> = optional.map(|(n, _)| (n + 1).to_string()).collect();
    if !optional.is_empty() {
        details.push(("optional inputs", optional.join(", ")));
    }
    details.push(("on", equal.collect::<Vec<_>>().join(" AND ")));
    details.extend(chain.condition.as_ref().map(|c| ("where", c.to_string())));
    let ttl = chain.ttl.iter().enumerate();
    let ttl: Vec<String> = ttl.filter_map(|(n, ttl)| Some(format!("input {} {}", n + 1, shown_ttl((*ttl)?)))).collect();
    if !ttl.is_empty() {
        details.push(("time to live", ttl.join(", ")));
    }
    details.push(("intermediate results", "none".to_string()));
    details
}

/// The user-defined functions that a relation calls.
fn functions(plan: &Plan) -> Vec<String> {
    let mut out = vec![];
    for e in plan.expressions() {
        e.each_call(&mut |function| {
            let remembered = if function.deterministic() { "results remembered" } else { "called for every row" };
            let text = format!("{} in its sandbox, {remembered}", function.name());
            if function.is_user_defined() && !out.contains(&text) {
                out.push(text);
            }
        });
    }
    out
}

fn changes(of: &Derived<'_>) -> &'static str {
    if of.traits.changelog.is_insert_only() { "append-only" } else { "changes" }
}

/// Explains INSERTs. The mode decides whether results may change.
pub fn explain(inserts: &[Insert], mode: Mode, format: Format) -> String {
    let mut shown = Shown::default();
    match format {
        Format::Text => {
            let mut out = String::new();
            for i in inserts {
                let top = derive(&i.plan, mode);
                let uid = i.identity.uid().map_or(String::new(), |uid| format!("  uid: {uid}"));
                let _ = writeln!(out, "Sink  table: {}{uid}  [{}]", i.table.name, changes(&top));
                tree(&top, 1, &mut shown, &mut out);
            }
            out
        }
        Format::Json => {
            let jobs: Vec<Json> = inserts
                .iter()
                .map(|i| {
                    let (table, identity) = (&i.table.name, i.identity.to_string());
                    let inputs = [node(&derive(&i.plan, mode), &mut shown)];
                    match i.identity.uid() {
                        Some(uid) => {
                            json!({"operator": "Sink", "table": table, "uid": uid, "identity": identity, "inputs": inputs})
                        }
                        None => json!({"operator": "Sink", "table": table, "identity": identity, "inputs": inputs}),
                    }
                })
                .collect();
            let text = serde_json::to_string_pretty(&json!({ "statements": jobs })).unwrap_or_default();
            text + "\n"
        }
        Format::Mermaid => {
            let mut chart = Chart { out: "flowchart TD\n".to_string(), next: 0, shared: HashMap::new() };
            for i in inserts {
                let uid = i.identity.uid().map_or(String::new(), |uid| format!("<br/>uid: {uid}"));
                let id = chart.node(&format!("Sink<br/>{}{uid}", escape(&i.table.name)));
                chart.input(&derive(&i.plan, mode), id);
            }
            chart.out
        }
    }
}

fn tree(of: &Derived<'_>, depth: usize, shown: &mut Shown, out: &mut String) {
    let _ = write!(out, "{}", "  ".repeat(depth));
    let reused = match shown.place(of.plan) {
        Occurrence::Own => String::new(),
        Occurrence::First(n) => format!("  reuse_id: {n}"),
        Occurrence::Again(n) => {
            let _ = writeln!(out, "Reused  reference_id: {n}  [{}]", changes(of));
            return;
        }
    };
    let (name, details, inputs) = shown_relation(of);
    let details: Vec<String> = details.into_iter().map(|(k, v)| format!("{k}: {v}")).collect();
    let _ = writeln!(out, "{name}  {}{reused}  [{}]", details.join("  "), changes(of));
    inputs.iter().for_each(|i| tree(i, depth + 1, shown, out));
}

fn node(of: &Derived<'_>, shown: &mut Shown) -> Json {
    let place = shown.place(of.plan);
    if let Occurrence::Again(n) = place {
        return json!({"operator": "Reused", "changelog": changes(of), "reference_id": n});
    }
    let (name, details, inputs) = shown_relation(of);
    let mut out = json!({"operator": name, "changelog": changes(of)});
    if let Json::Object(map) = &mut out {
        if let Occurrence::First(n) = place {
            map.insert("reuse_id".to_string(), n.into());
        }
        for (k, v) in details {
            map.insert(k.to_string(), v.into());
        }
        let columns: Vec<Json> =
            of.plan.schema().fields.iter().map(|f| json!({"name": f.name, "type": f.ty.to_string()})).collect();
        map.insert("schema".to_string(), columns.into());
        let inputs: Vec<Json> = inputs.iter().map(|i| node(i, shown)).collect();
        if !inputs.is_empty() {
            map.insert("inputs".to_string(), inputs.into());
        }
    }
    out
}

fn escape(s: &str) -> String {
    s.replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}

/// A chart under construction.
struct Chart {
    out: String,
    next: usize,
    /// The nodes of shared relations, by id.
    shared: HashMap<usize, usize>,
}

impl Chart {
    fn node(&mut self, label: &str) -> usize {
        let id = self.next;
        self.next += 1;
        let _ = writeln!(self.out, "  n{id}[\"{label}\"]");
        id
    }

    /// Adds the node of a relation, and the arrow to its reader.
    fn input(&mut self, of: &Derived<'_>, reader: usize) {
        if let Plan::Shared(shared) = of.plan
            && let Some(id) = self.shared.get(&shared.id)
        {
            let _ = writeln!(self.out, "  n{id} --> n{reader}");
            return;
        }
        let (name, details, inputs) = shown_relation(of);
        let details: Vec<String> = details.into_iter().map(|(k, v)| format!("{k}: {}", escape(&v))).collect();
        let id = self.node(&format!("{name}<br/>{}", details.join("<br/>")));
        let _ = writeln!(self.out, "  n{id} --> n{reader}");
        if let Plan::Shared(shared) = of.plan {
            self.shared.insert(shared.id, id);
        }
        inputs.iter().for_each(|i| self.input(i, id));
    }
}
