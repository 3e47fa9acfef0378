//! Plans MATCH_RECOGNIZE, and the tables that receive partial matches which are not complete in time.

use super::graph::Operator;
use super::side_tables::SideRows;
use super::{Output, Planned, Planner, Scope, partitioned, short};
use crate::logical::{Plan, StateUids};
use crate::table::Table;
use crate::traits::Derived;
use std::sync::Arc;
use weir_core::graph::{Edge, Partitioning, TIMED_OUT};
use weir_core::option_spec::Role;
use weir_core::timed_out::{PREFIX, columns};
use weir_core::{Error, Field, Result, Schema};
use weir_expr::functions::cast_to;
use weir_expr::match_recognize::{MatchRecognize, TimedOut};
use weir_expr::{Expr, cast};

/// The error for matches of rows that change.
pub fn matches_of_changes() -> Error {
    let e = "MATCH_RECOGNIZE takes rows that are only added, and what it reads also changes rows";
    Error::script(e).hint(
        "match the rows before they are aggregated, joined or ranked; a window aggregation emits each result once",
    )
}

impl Planner<'_> {
    /// Plans the matches of a pattern.
    pub(super) fn matches(&mut self, of: &Derived<'_>, uids: StateUids, scope: &mut Scope) -> Result<Output> {
        let Plan::Match { input, partition, time, order, matching, schema, uids: _ } = of.plan else {
            return Err(Error::internal("matches of no pattern"));
        };
        let (below, derived) = self.only_input(of, scope)?;
        if !derived.traits.changelog.is_insert_only() {
            return Err(matches_of_changes());
        }
        let timed_out = matching.timed_out.as_ref().map(|to| {
            let rows = rows_timed_out(input.schema(), partition, matching, time.local);
            (to, rows, format!("{}/timed-out", uids.uid))
        });
        let operator = Operator::Match {
            partition: partition.clone(),
            time: *time,
            order: order.clone(),
            matching: matching.clone(),
            input: input.schema().clone(),
            schema: schema.clone(),
            timed_out: timed_out.as_ref().map(|(_, rows, _)| rows.clone()),
        };
        let (parallelism, partitioning) = self.exchange(partition);
        let (inputs, name) = (vec![partitioned(below.node, partitioning)], "match".to_string());
        let changelog = of.traits.changelog;
        let output = self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        self.functions_of(output, matching.expressions());
        if let Some((to, rows, uid)) = timed_out {
            let (table, exprs) = self.timed_out_table(to, &rows, partition.len())?;
            let (name, measures) = ("timed-out matches", exprs.clone());
            let inputs = vec![Edge { port: TIMED_OUT, ..partitioned(output.node, Partitioning::Single) }];
            let node = self.side_rows(&table, SideRows { name, uid, input: rows, exprs, inputs }, &scope.statement)?;
            self.letters_of(node, &measures);
            self.timed_out.entry(table.name.clone()).or_default().push(node);
        }
        self.dropping_late(output, derived, time.domain)
    }

    /// Plans the sinks of matches that are not complete in time.
    pub(super) fn timed_out_sinks(&mut self) -> Result<()> {
        let of = std::mem::take(&mut self.timed_out);
        self.side_sinks(of, "timed-out-matches")
    }

    /// The table for the matches that are not complete in time, and its columns over those of the operator.
    fn timed_out_table(&self, to: &TimedOut, rows: &Schema, keys: usize) -> Result<(Arc<Table>, Vec<Expr>)> {
        let TimedOut { table, place, measures } = to;
        let about = rows.len() - columns(false).len();
        let column = |at: usize| Expr::column(at, rows.fields[at].name.clone(), rows.fields[at].ty.clone());
        let own = (0..keys).map(|at| (rows.fields[at].name.clone(), column(at))).chain(measures.iter().cloned());
        let own: Vec<(String, Expr)> = own.collect();
        let takes = || {
            let names = own.iter().map(|(name, _)| name.as_str());
            let about = rows.fields[about..].iter().map(|f| f.name.as_str());
            names.chain(about).collect::<Vec<_>>().join(", ")
        };
        let Some(sink) = self.table_named(table) else {
            let e = Error::script(format!("there is no table '{table}' for the matches that are not complete in time"));
            return Err(e.at(*place).hint(format!("declare it with columns among {}", takes())));
        };
        sink.check(self.job.registry, Role::Sink)?;
        let name = short(&sink.name);
        let refused = |what: String, hint: String| Err(Error::script(what).at(sink.place).hint(hint));
        let mut exprs = vec![];
        for f in sink.sink_schema().fields {
            let measure = own.iter().find(|(name, _)| *name == f.name).map(|(_, e)| e.clone());
            let of_match = (about..rows.len()).find(|at| rows.fields[*at].name == f.name);
            let (e, fits) = match (measure, of_match) {
                (Some(e), None) => (e.clone(), cast::implicit(&e.ty(), &f.ty)),
                (None, Some(at)) => (column(at), cast::allowed(&rows.fields[at].ty, &f.ty)),
                (Some(_), Some(_)) => {
                    let what = format!("'{}' is a name that timed-out matches need", f.name);
                    return refused(what, format!("rename it: names that begin with {PREFIX} say when a match ended"));
                }
                (None, None) => {
                    let what = format!("the table '{name}' for timed-out matches has a column '{}'", f.name);
                    return refused(what, format!("it takes columns among {}", takes()));
                }
            };
            if !fits {
                let what = format!("column '{}' of '{name}', for timed-out matches, is {}", f.name, f.ty.kind);
                return refused(what, format!("declare it as {}", e.ty().kind));
            }
            exprs.push(cast_to(e, &f.ty));
        }
        Ok((sink, exprs))
    }
}

/// The columns of matches that are not complete in time: the partition, what is read of the matches, and when each of them ended.
fn rows_timed_out(input: &Schema, partition: &[usize], matching: &MatchRecognize, instants: bool) -> Schema {
    let looks = matching.measures.iter().enumerate().map(|(n, l)| Field::new(format!("${n}"), l.ty.clone()));
    let fields = input.project(partition).fields.into_iter().chain(looks);
    Schema::new(fields.chain(columns(instants).fields).collect())
}
