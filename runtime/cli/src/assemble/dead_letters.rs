//! Dead letters: where they go, and how a replay reads them in the place of the tables that they are of.

use super::{Assembly, Output, partitioned, short};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_connectors::TableSpec;
use weir_core::graph::{DEAD_LETTERS, Edge, MAIN, Partitioning, Role};
use weir_core::{Error, Field, Result, Schema};
use weir_expr::Expr;
use weir_expr::functions::cast_to;
use weir_operators::calc::DEAD_LETTER;
use weir_operators::values::ValuesFactory;
use weir_plan::{Plan, Table};

/// What the names of operators end with that only a replay has.
pub const REPLAY: &str = "/replay";

impl Assembly<'_> {
    /// The table that takes dead letters, by its name.
    pub(super) fn dead_letter_table(&self, name: &str) -> Result<Arc<Table>> {
        let known = self.compiled.tables.values().find(|t| t.name == name || short(&t.name) == name);
        known.cloned().ok_or_else(|| {
            Error::script(format!("there is no table '{name}' for the dead letters")).hint(
                "declare it with columns among reason STRING, origin STRING, record BYTES, `time` TIMESTAMP_LTZ(3)",
            )
        })
    }

    /// Reads a table's dead letters in its place: those of its own records, and those that functions failed on.
    pub(super) fn replay(&mut self, table: &Table, spec: &TableSpec, uid: &str, parallelism: usize) -> Result<Output> {
        let mut from: Vec<String> = table.on_error.dead_letters.iter().cloned().collect();
        from.extend(self.of_functions.clone());
        from.sort();
        from.dedup();
        if from.is_empty() {
            let nothing =
                ValuesFactory { rows: vec![], schema: spec.projected(), session: self.compiled.session.clone() };
            let name = format!("source {}", short(&table.name));
            let node = self.add(&name, format!("{uid}{REPLAY}"), 1, Role::Source(Arc::new(nothing)), vec![]);
            return Ok(Output { node, parallelism: 1 });
        }
        let (mut edges, mut known) = (vec![], vec![]);
        for name in from {
            let mut letters = (*self.dead_letter_table(&name)?).clone();
            if letters.options.get("connector").map(String::as_str) != Some("kafka") {
                let e = Error::script(format!("dead letters are replayed from topics of Kafka, and '{name}' is none"));
                return Err(e.at(letters.place));
            }
            letters.options.insert("scan.startup.mode".to_string(), "earliest-offset".to_string());
            letters.options.insert("scan.bounded.mode".to_string(), "latest-offset".to_string());
            let column = |wanted: &str| letters.physical.position(wanted);
            let record = column("record").ok_or_else(|| {
                let e =
                    Error::script(format!("the dead-letter table '{name}' has no column 'record'")).at(letters.place);
                e.hint("without it the records are not kept, and cannot be replayed")
            })?;
            let statements = self.compiled.inserts.iter().filter(|i| sends_to(&i.plan, &name));
            let statements: BTreeSet<String> = statements.map(|i| i.identity.to_string()).collect();
            let headers = column("headers");
            if headers.is_none() && statements.len() > 1 {
                let e = Error::script(format!("{} statements send their dead letters to '{name}'", statements.len()))
                    .at(letters.place);
                return Err(e.hint("declare headers MAP<STRING, BYTES> METADATA in it, which say whose each one is"));
            }
            let columns: Vec<usize> = std::iter::once(record).chain(headers).collect();
            let all: Vec<usize> = (0..letters.physical.len()).collect();
            let uid = format!("{uid}/{name}{REPLAY}");
            let mut read = self.spec(&letters, &all, columns, &uid);
            read.keeps_records = self.keeps_records;
            read.again = true;
            let source = weir_connectors::source(&read)?;
            let node = self.add(&format!("source {name}"), uid, 1, Role::Source(source), vec![]);
            edges.push(Edge { input: edges.len(), ..partitioned(node, Partitioning::Rebalance) });
            known.push((name, statements));
        }
        let again = weir_connectors::replay(spec, known, self.passed_over.clone())?;
        let name = format!("replay {}", short(&table.name));
        let node = self.add(&name, format!("{uid}{REPLAY}"), parallelism, Role::Operator(again), edges);
        if let Some(t) = &table.on_error.dead_letters {
            self.dead_letters_of.entry(t.clone()).or_default().push(node);
        }
        Ok(Output { node, parallelism })
    }

    /// Makes the sinks of dead letters: the letter's columns put into the table's by their names.
    pub(super) fn dead_letters(&mut self) -> Result<()> {
        for (name, nodes) in std::mem::take(&mut self.dead_letters_of) {
            let table = self.dead_letter_table(&name)?;
            let mut exprs = vec![];
            for f in &table.sink_schema().fields {
                let at = DEAD_LETTER.position(&f.name).ok_or_else(|| {
                    Error::script(format!("the dead-letter table '{name}' has a column '{}'", f.name))
                        .at(table.place)
                        .hint("it takes columns among reason, origin, record, `time` and headers")
                })?;
                let column = Expr::column(at, f.name.clone(), DEAD_LETTER.fields[at].ty.clone());
                if !weir_expr::cast::allowed(&column.ty(), &f.ty) {
                    return Err(
                        Error::script(format!("column '{}' of '{name}' cannot be {}", f.name, f.ty)).at(table.place)
                    );
                }
                exprs.push(cast_to(column, &f.ty));
            }
            let fields = table.sink_schema().fields.iter().map(|f| Field::new(f.name.clone(), f.ty.clone())).collect();
            let factory = self.calc(None, &exprs, &Schema::new(fields), &DEAD_LETTER);
            let edges =
                nodes.iter().map(|n| Edge { port: DEAD_LETTERS, ..partitioned(*n, Partitioning::Single) }).collect();
            let identity = format!("{}#dead-letters", table.name);
            let node = self.add("dead letters", format!("{identity}/calc"), 1, Role::Operator(factory), edges);
            self.sink(&table, &identity, vec![(node, MAIN)], 1, None)?;
        }
        Ok(())
    }
}

/// Whether a plan's tables or functions send dead letters to a table.
fn sends_to(plan: &Plan, name: &str) -> bool {
    let own = |p: &Plan| matches!(p, Plan::Scan { table, .. } if table.on_error.dead_letters.as_deref() == Some(name));
    plan.any(own) || records_sent_to(plan).iter().any(|t| t == name)
}

/// The tables that functions of the plan send the records to that they fail on.
pub(super) fn records_sent_to(plan: &Plan) -> Vec<String> {
    let mut all = vec![];
    plan.each(&mut |p| {
        if let Plan::Calc { exprs, condition, .. } = p {
            all.extend(dead_letter_tables(exprs.iter().chain(condition)));
        }
    });
    all.sort();
    all.dedup();
    all
}

/// The dead-letter tables of the functions that expressions call.
pub(super) fn dead_letter_tables<'a>(exprs: impl Iterator<Item = &'a Expr>) -> Vec<String> {
    let mut out = vec![];
    for e in exprs {
        e.each_call(&mut |function| out.extend(function.dead_letters().filter(|t| !out.contains(t))));
    }
    out
}
