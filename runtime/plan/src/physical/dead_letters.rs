//! Dead letters: their sinks, and how a replay reads them instead of the tables from which they came.

use super::graph::{Operator, Statement};
use super::{Output, Planned, Planner, Scope, partitioned, short};
use crate::logical::{Insert, Plan, StateUids};
use crate::table::Table;
use crate::traits::ChangelogMode;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::dead_letter::DEAD_LETTER;
use weir_core::descriptor::SINK_PARALLELISM;
use weir_core::graph::{DEAD_LETTERS, Edge, MAIN, Partitioning};
use weir_core::option_spec::Role;
use weir_core::{Error, Field, Result, Schema};
use weir_expr::Expr;
use weir_expr::functions::cast_to;

/// The suffix of the uids of operators that exist only in a replay.
pub const REPLAY: &str = "/replay";

impl Planner<'_> {
    /// Finds a dead-letter table by name.
    pub(super) fn dead_letter_table(&self, name: &str) -> Result<Arc<Table>> {
        self.table_named(name).ok_or_else(|| {
            Error::script(format!("there is no table '{name}' for the dead letters")).hint(
                "declare it with columns among reason STRING, origin STRING, record BYTES, `time` TIMESTAMP_LTZ(3)",
            )
        })
    }

    /// Finds a dead-letter table by name, and checks that it can be written.
    pub(super) fn dead_letter_sink(&self, name: &str) -> Result<Arc<Table>> {
        let table = self.dead_letter_table(name)?;
        table.check(self.job.registry, Role::Sink)?;
        Ok(table)
    }

    /// Reads the dead letters of a table instead of the table: both its own bad records and those on which functions failed.
    pub(super) fn replayed(
        &mut self,
        table: &Arc<Table>,
        columns: Vec<usize>,
        uid: String,
        parallelism: usize,
        changelog: ChangelogMode,
        scope: &Scope,
    ) -> Result<Output> {
        let mut from: Vec<String> = table.on_error.dead_letters.iter().cloned().collect();
        from.extend(scope.of_functions.clone());
        from.sort();
        from.dedup();
        if from.is_empty() {
            let operator = Operator::Values { rows: vec![], schema: table.physical.project(&columns) };
            let name = format!("source {}", short(&table.name));
            return Ok(self.constant(&name, StateUids::own(format!("{uid}{REPLAY}")), operator, &scope.statement));
        }
        let (mut inputs, mut letters) = (vec![], vec![]);
        for name in from {
            let (operator, statements) = self.letters(&name)?;
            let planned = Planned {
                name: format!("source {name}"),
                uids: StateUids::own(format!("{uid}/{name}{REPLAY}")),
                parallelism: 1,
                operator,
                changelog: ChangelogMode::INSERT_ONLY,
                inputs: vec![],
            };
            let node = self.add(&scope.statement, planned).node;
            inputs.push(Edge { input: inputs.len(), ..partitioned(node, Partitioning::Rebalance) });
            letters.push((name, statements));
        }
        let name = format!("replay {}", short(&table.name));
        let uids = StateUids::own(format!("{uid}{REPLAY}"));
        let operator = Operator::Replay { table: table.clone(), columns, letters, uid };
        let planned = Planned { name, uids, parallelism, operator, changelog, inputs };
        let output = self.add(&scope.statement, planned);
        if let Some(t) = &table.on_error.dead_letters {
            self.dead_letters_of.entry(t.clone()).or_default().push(output.node);
        }
        Ok(output)
    }

    /// The source of a dead-letter table, and the statements that send dead letters to it.
    fn letters(&self, name: &str) -> Result<(Operator, BTreeSet<String>)> {
        let mut table = (*self.dead_letter_table(name)?).clone();
        let replayed = table.replayed_with();
        if replayed.is_empty() {
            let e = Error::script(format!("dead letters are replayed from topics of Kafka, and '{name}' is none"));
            return Err(e.at(table.place));
        }
        table.options.extend(replayed.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())));
        table.check(self.job.registry, Role::Source)?;
        let record = table.physical.position("record").ok_or_else(|| {
            let e = Error::script(format!("the dead-letter table '{name}' has no column 'record'")).at(table.place);
            e.hint("without it the records are not uids, and cannot be replayed")
        })?;
        let statements: BTreeSet<String> = self.job.inserts.iter().flat_map(|i| senders(i, name)).collect();
        let headers = table.physical.position("headers");
        if headers.is_none() && statements.len() > 1 {
            let e = Error::script(format!("{} statements send their dead letters to '{name}'", statements.len()))
                .at(table.place);
            return Err(e.hint("declare headers MAP<STRING, BYTES> METADATA in it, which say whose each one is"));
        }
        let columns = std::iter::once(record).chain(headers).collect();
        Ok((Operator::DeadLetterSource { table: Arc::new(table), columns }, statements))
    }

    /// Plans the sinks of dead letters. The columns of dead letters are matched with the table's columns by name.
    pub(super) fn dead_letter_sinks(&mut self) -> Result<()> {
        for (name, nodes) in std::mem::take(&mut self.dead_letters_of) {
            let table = self.dead_letter_sink(&name)?;
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
            let (schema, input) = (Schema::new(fields), DEAD_LETTER.clone());
            let identity = format!("{}#dead-letters", table.name);
            let uids = StateUids::own(format!("{identity}/calc"));
            let statement = Arc::new(Statement { identity, keeps_records: false });
            let letter = |n: usize| Edge { port: DEAD_LETTERS, ..partitioned(n, Partitioning::Single) };
            let planned = Planned {
                name: "dead letters".to_string(),
                uids,
                parallelism: 1,
                operator: Operator::Calc { condition: None, exprs, schema, input },
                changelog: ChangelogMode::INSERT_ONLY,
                inputs: nodes.into_iter().map(letter).collect(),
            };
            let inputs = vec![(self.add(&statement, planned).node, MAIN)];
            let parallelism = super::own_parallelism(&table, &SINK_PARALLELISM)?.unwrap_or(1);
            self.write(&table, table.sink_key(), ChangelogMode::INSERT_ONLY, inputs, parallelism, &statement)?;
        }
        Ok(())
    }
}

/// The names that a statement's dead letters in a table may have: the statement, or the shared reader of a table.
fn senders(insert: &Insert, name: &str) -> BTreeSet<String> {
    let mut senders = BTreeSet::new();
    if records_sent_to(&insert.plan).iter().any(|t| t == name) {
        senders.insert(insert.identity.to_string());
    }
    insert.plan.each(&mut |p| {
        if let Plan::Scan { table, uids, .. } = p
            && table.on_error.dead_letters.as_deref() == Some(name)
        {
            senders.extend(uids.uid.rsplit_once('/').map(|(of, _)| of.to_string()));
        }
    });
    senders
}

/// The tables to which functions of the plan send failed records.
pub(super) fn records_sent_to(plan: &Plan) -> Vec<String> {
    let mut all = vec![];
    plan.each(&mut |p| {
        all.extend(dead_letter_tables(p.expressions().into_iter()));
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
