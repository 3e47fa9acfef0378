//! Late rows: the operators that drop them, the tables that receive them, and the columns of these tables.

use super::side_tables::{SideRows, side_statement};
use super::{Output, Planner, partitioned, short};
use crate::logical::Plan;
use crate::table::Table;
use crate::traits::Derived;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::descriptor::LATE_ROWS as LATE_ROWS_TABLE;
use weir_core::graph::{Edge, LATE_ROWS, Partitioning};
use weir_core::keyed::TimeDomain;
use weir_core::late_rows::{PREFIX, columns};
use weir_core::option_spec::Role;
use weir_core::windows::Windows;
use weir_core::{Error, Field, Result, Schema};
use weir_expr::Expr;
use weir_expr::cast;
use weir_expr::functions::cast_to;

/// What their state is named by, behind the table's name.
const WHAT: &str = "late-rows";

/// The destination of late rows, and the kind of their times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LateRowsOf {
    /// The table that receives them.
    sink: String,
    /// Whether their times are instants.
    instants: bool,
}

/// The tables with `late-rows.table` whose rows a relation still contains unchanged.
fn sources<'a>(of: &Derived<'a>, found: &mut Vec<&'a Arc<Table>>) {
    match of.plan {
        Plan::Scan { table, .. } if table.options.contains_key(LATE_ROWS_TABLE.key()) => found.push(table),
        Plan::Calc { .. }
        | Plan::Expand { .. }
        | Plan::Lookup { .. }
        | Plan::Unnest { .. }
        | Plan::Union { .. }
        | Plan::Window { windows: Windows::Tumble { .. } | Windows::Hop { .. } | Windows::Cumulate { .. }, .. }
        | Plan::Window { windows: Windows::Session { .. }, merged: true, .. }
        | Plan::Shared(_) => of.inputs.iter().for_each(|i| sources(i, found)),
        // These relations emit rows of their own.
        Plan::Scan { .. }
        | Plan::Values { .. }
        | Plan::Aggregate { .. }
        | Plan::Normalize { .. }
        | Plan::Join { .. }
        | Plan::Window { windows: Windows::Session { .. }, merged: false, .. }
        | Plan::Rank { .. }
        | Plan::Over { .. }
        | Plan::Match { .. }
        | Plan::Sort { .. } => {}
    }
}

impl Planner<'_> {
    /// Records that an operator drops late rows of a relation, if it works in event time.
    pub(super) fn dropping_late(&mut self, output: Output, input: &Derived<'_>, domain: TimeDomain) -> Result<Output> {
        if domain == TimeDomain::Event
            && let Some(of) = self.late_rows_of(input)?
        {
            self.late_rows.entry(of).or_default().push(output.node);
        }
        Ok(output)
    }

    /// The destination of the late rows of a relation, if a table defines one.
    pub(super) fn late_rows_of(&self, input: &Derived<'_>) -> Result<Option<LateRowsOf>> {
        let mut tables = vec![];
        sources(input, &mut tables);
        let mut found: Option<(&Arc<Table>, LateRowsOf)> = None;
        for table in tables {
            let Some(sink) = self.late_rows_table(table)? else { continue };
            let of = LateRowsOf { sink: sink.name.clone(), instants: table.has_instants() };
            match &found {
                Some((other, known)) if *known != of => {
                    let (one, other) = (short(&table.name), short(&other.name));
                    let e = format!("rows of '{one}' and '{other}' meet, and their late rows go to different tables");
                    let at = table.places.get(LATE_ROWS_TABLE.key()).copied();
                    let hint = format!("give both tables the same '{}'", LATE_ROWS_TABLE.key());
                    return Err(Error::script(e).at(at.or(table.place)).hint(hint));
                }
                _ => found = Some((table, of)),
            }
        }
        Ok(found.map(|(_, of)| of))
    }

    /// The table for late rows of a table, if it defines one.
    fn late_rows_table(&self, table: &Table) -> Result<Option<Arc<Table>>> {
        let place = table.places.get(LATE_ROWS_TABLE.key()).copied().or(table.place);
        let Some(name) = LATE_ROWS_TABLE.given(&table.options).map_err(|e| e.at(place))? else { return Ok(None) };
        let sink = self.table_named(&name).ok_or_else(|| {
            let e = Error::script(format!("there is no table '{name}' for the late rows of '{}'", short(&table.name)));
            e.at(place).hint(format!(
                "declare it with columns of '{}' by their names, and {}",
                short(&table.name),
                why()
            ))
        })?;
        if sink.name == table.name {
            let e = Error::script(format!("the late rows of '{}' cannot go into the table itself", short(&sink.name)));
            return Err(e.at(place).hint("they would be read again, and be late again; name another table"));
        }
        if table.is_upsert() {
            let e = Error::script(format!(
                "'{}' is an upsert table, and its late rows cannot be written",
                short(&table.name)
            ));
            return Err(e.at(place).hint("what windows see of it are changes that are made of its rows, not the rows"));
        }
        sink.check(self.job.registry, Role::Sink)?;
        Ok(Some(sink))
    }

    /// The columns of each row that a source keeps in case the row is late: positions among the columns of a scan, with the types in which
    /// they are written. None if the table does not define a destination.
    pub(super) fn kept_columns(&self, table: &Table) -> Result<Option<Vec<(usize, Field)>>> {
        let Some(sink) = self.late_rows_table(table)? else { return Ok(None) };
        let (scanned, why_columns, name) = (table.scanned(), columns(table.has_instants()), short(&sink.name));
        let mut kept = vec![];
        for f in sink.sink_schema().fields {
            let (own, other) = (scanned.position(&f.name), why_columns.position(&f.name));
            let refused = |what: String, hint: String| Error::script(what).at(sink.place).hint(hint);
            match (own, other) {
                (Some(at), None) if cast::implicit(&scanned.fields[at].ty, &f.ty) => kept.push((at, f)),
                (Some(at), None) => {
                    let (is, of) = (&scanned.fields[at].ty.kind, short(&table.name));
                    let what = format!("column '{}' of the late-rows table '{name}' is {}", f.name, f.ty.kind);
                    return Err(refused(what, format!("in '{of}' it is {is}: declare it so")));
                }
                (None, Some(at)) if cast::allowed(&why_columns.fields[at].ty, &f.ty) => {}
                (None, Some(at)) => {
                    let what = format!("column '{}' of the late-rows table '{name}' cannot be {}", f.name, f.ty.kind);
                    return Err(refused(what, format!("it is {}", why_columns.fields[at].ty.kind)));
                }
                (Some(_), Some(_)) => {
                    let what =
                        format!("column '{}' of '{}' has a name that late rows need", f.name, short(&table.name));
                    return Err(refused(
                        what,
                        format!("rename it: names that begin with {PREFIX} say why a row was late"),
                    ));
                }
                (None, None) => {
                    let what = format!("the late-rows table '{name}' has a column '{}'", f.name);
                    return Err(refused(
                        what,
                        format!("it takes columns of '{}' by their names, and {}", short(&table.name), why()),
                    ));
                }
            }
        }
        Ok(Some(kept))
    }

    /// Plans the sinks of late rows. The reason, the operator and the row's own columns are matched with the table's columns by name.
    pub(super) fn late_rows_sinks(&mut self) -> Result<()> {
        let mut of_sinks: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (of, nodes) in std::mem::take(&mut self.late_rows) {
            let node = self.late_rows_calc(&of, nodes)?;
            of_sinks.entry(of.sink).or_default().push(node);
        }
        self.side_sinks(of_sinks, WHAT)
    }

    fn late_rows_calc(&mut self, of: &LateRowsOf, nodes: Vec<usize>) -> Result<usize> {
        let table = self.side_table(&of.sink)?;
        let (why, written) = (columns(of.instants), table.sink_schema());
        let own: Vec<Field> = written.fields.iter().filter(|f| why.position(&f.name).is_none()).cloned().collect();
        let input = Schema::new(why.fields.iter().chain(&own).cloned().collect());
        let mut exprs = vec![];
        for f in &written.fields {
            let at =
                input.position(&f.name).ok_or_else(|| Error::internal(format!("no late-rows column '{}'", f.name)))?;
            let column = Expr::column(at, f.name.clone(), input.fields[at].ty.clone());
            exprs.push(cast_to(column, &f.ty));
        }
        let statement = side_statement(&table, WHAT);
        let late = |n: usize| Edge { port: LATE_ROWS, ..partitioned(n, Partitioning::Single) };
        let kind = if of.instants { "calc-ltz" } else { "calc" };
        let (name, uid) = ("late rows", format!("{}/{kind}", statement.identity));
        let inputs = nodes.into_iter().map(late).collect();
        self.side_rows(&table, SideRows { name, uid, input, exprs, inputs }, &statement)
    }
}

/// The columns for the reason and the operator, for hints.
fn why() -> String {
    let of = |f: &Field| format!("{} {}", f.name, f.ty.kind);
    format!("among {}", columns(true).fields.iter().map(of).collect::<Vec<_>>().join(", "))
}
