//! Binds FROM: tables, views and queries by name, and lookups joined to them.

use super::{not_yet, renamed};
use crate::catalog::{Spent, View, idents, place_of};
use crate::lookup;
use crate::match_clauses::reads_item_before;
use crate::names::{Binder, Scope};
use crate::places::place;
use crate::unnest;
use crate::words::check_name;
use sqlparser::ast::{
    Expr as Ast, FunctionArguments, Ident, Join, ObjectName, Select, Spanned, TableAlias, TableFactor,
};
use std::sync::Arc;
use weir_core::join::JoinKind;
use weir_core::{Error, Result, Schema};
use weir_plan::Table;
use weir_plan::{Plan, Shared, StateUids};

/// A relation that is joined to the rows on the left.
enum Step<'a> {
    AsOf(lookup::Parts<'a>),
    Unnest(unnest::Parts<'a>),
}

/// The parts of a join, if it is one of those.
fn step(join: &Join) -> Result<Option<Step<'_>>> {
    match unnest::joined(join)? {
        Some(parts) => Ok(Some(Step::Unnest(parts))),
        None => Ok(lookup::parts(join)?.map(Step::AsOf)),
    }
}

/// A single row without columns.
fn no_columns() -> Plan {
    Plan::Values { rows: vec![vec![]], schema: Schema::new(vec![]), uids: StateUids::default() }
}

impl Binder<'_> {
    /// Binds a relation by name. Returns it with the qualifier of its columns.
    pub(super) fn relation(&mut self, name: &ObjectName) -> Result<(Plan, String)> {
        let parts = idents(name);
        parts.iter().try_for_each(check_name)?;
        if let [one] = parts.as_slice()
            && let Some(Spent { expressions, scans }) = self.cte(&one.value).map(|(_, cost)| *cost)
        {
            self.no_hint(name, "is a query of WITH")?;
            self.spend(expressions, scans).map_err(|e| e.at(place_of(name)))?;
            let plan = self.cte(&one.value).map(|(plan, _)| plan.clone());
            return Ok((plan.ok_or_else(|| Error::internal("a lost query"))?, one.value.clone()));
        }
        let full = self.catalog.full(name)?;
        if let Some(view) = self.catalog.views.get(&full).cloned() {
            self.no_hint(name, "is a view")?;
            let plan = self.read_once(&full, name, |this| {
                let (outer, around) = (std::mem::take(&mut this.ctes), this.outer.take());
                let plan = this.view(&view);
                (this.ctes, this.outer) = (outer, around);
                plan.map_err(|e| e.context(format!("in view '{}'", this.catalog.short(&full))))
            })?;
            return Ok((plan, full));
        }
        let declared = self.catalog.tables.get(&full).cloned();
        let declared = declared.ok_or_else(|| self.catalog.unknown(name, &full))?;
        let table = self.catalog.hinted(name, declared.clone())?;
        // With options in a hint, it is a different table.
        let rows = match Arc::ptr_eq(&table, &declared) {
            true => self.read_once(&full, name, |this| this.rows(&table))?,
            false => self.rows(&table)?,
        };
        Ok((self.computed(rows, &table)?, full))
    }

    /// The rows of a view. Names in its query are resolved in the database in which the view was declared.
    pub(crate) fn view(&mut self, view: &View) -> Result<Plan> {
        let outer = self.catalog.names_in.replace(view.names_in.clone());
        let plan = self.query(&view.query);
        self.catalog.names_in = outer;
        renamed(plan?, &view.columns)
    }

    /// Binds a table or view when it is named for the first time.
    fn read_once(
        &mut self,
        full: &str,
        name: &ObjectName,
        bind: impl FnOnce(&mut Self) -> Result<Plan>,
    ) -> Result<Plan> {
        if let Some((plan, cost)) = self.read.get(full).cloned() {
            self.spend(cost.expressions, cost.scans).map_err(|e| e.at(place_of(name)))?;
            return Ok(plan);
        }
        let before = self.catalog.spent;
        let plan = bind(self)?;
        let plan = self.shared(plan);
        if matches!(plan, Plan::Shared(_)) {
            self.read.insert(full.to_string(), (plan.clone(), self.catalog.spent.since(before)));
        }
        Ok(plan)
    }

    /// Shares a relation that may be named again, so that it is computed once, unless each reader would see different rows.
    pub(super) fn shared(&mut self, plan: Plan) -> Plan {
        if matches!(plan, Plan::Shared(_)) || !plan.deterministic() {
            return plan;
        }
        self.catalog.numbered += 1;
        Plan::Shared(Arc::new(Shared { id: self.catalog.numbered, plan }))
    }

    fn cte(&self, name: &str) -> Option<&(Plan, Spent)> {
        self.ctes.iter().rev().find_map(|c| c.get(name))
    }

    /// Rejects a hint after a name that does not accept options.
    fn no_hint(&mut self, name: &ObjectName, why: &str) -> Result<()> {
        let shown = idents(name).iter().map(|i| i.value.clone()).collect::<Vec<_>>().join(".");
        match self.catalog.hint(name) {
            None => Ok(()),
            Some(hint) => {
                let e = Error::script(format!("'{shown}' {why}, and takes no options")).at(hint.place);
                Err(e.hint("give them to the tables that it reads"))
            }
        }
    }

    /// Reads a table, including its computed columns.
    pub(crate) fn scan(&mut self, table: &Arc<Table>) -> Result<Plan> {
        let rows = self.rows(table)?;
        self.computed(rows, table)
    }

    /// Reads the rows of a table's connector. Upserts are turned into a changelog.
    fn rows(&mut self, table: &Arc<Table>) -> Result<Plan> {
        self.spend(table.columns.len(), 1)?;
        let schema = table.scanned();
        let columns = (0..schema.len()).collect();
        let scan = Plan::Scan { table: table.clone(), columns, schema: schema.clone(), uids: StateUids::default() };
        if !table.is_upsert() {
            return Ok(scan);
        }
        let keys = table.primary_key.clone();
        Ok(Plan::Normalize { input: Box::new(scan), keys, schema, uids: StateUids::default() })
    }

    /// The declared columns of a table, over the rows that were read. Computed columns are evaluated.
    fn computed(&mut self, rows: Plan, table: &Table) -> Result<Plan> {
        if table.columns.iter().all(|(_, c)| c.is_none()) {
            return Ok(rows);
        }
        self.spend(table.columns.len(), 0)?;
        let scope = Scope::new(table.scanned().fields.into_iter().map(|f| (None, f)).collect());
        let row_time = table.event_time.as_ref().and_then(|t| t.computed.as_ref());
        let mut out = vec![];
        for (f, computed) in &table.columns {
            let expr = match computed {
                Some(expr) if row_time.is_none_or(|(time, _)| time.name != f.name) => expr.clone(),
                _ => scope.resolve(&[Ident::new(f.name.clone())])?,
            };
            out.push((f.name.clone(), expr));
        }
        Ok(Plan::calc(rows, None, out))
    }

    /// Binds FROM. Returns the relation, and the columns that expressions can name.
    pub(super) fn from(&mut self, s: &Select) -> Result<(Plan, Scope)> {
        let mut bound: Option<(Plan, Scope)> = None;
        let mut items = s.from.iter().peekable();
        while let Some(item) = items.next() {
            let around = |before: Option<(Plan, Scope)>| before.unwrap_or_else(|| (no_columns(), Scope::default()));
            let (mut first, before) = match (unnest::parts(&item.relation)?, &item.relation, bound.take()) {
                (Some(parts), _, before) => {
                    let (plan, scope) = around(before);
                    (self.unnest(plan, scope, &parts)?, None)
                }
                (None, TableFactor::Derived { lateral: true, subquery, alias, .. }, before) => {
                    (self.lateral(around(before), (subquery, alias.as_ref()), JoinKind::Inner)?, None)
                }
                (None, relation, before) => (self.factor(relation)?, before),
            };
            let mut joins = &item.joins;
            if let Some(matched) = items.next_if(|next| joins.is_empty() && reads_item_before(&next.relation)) {
                first = self.match_recognize(first.0, &first.1, &matched.relation)?;
                joins = &matched.joins;
            }
            let joined = self.joined(first, joins)?;
            bound = Some(match before {
                None => joined,
                Some(left) => self.cross(left, joined)?,
            });
        }
        Ok(bound.unwrap_or_else(|| (no_columns(), Scope::default())))
    }

    /// Joins further relations to one.
    fn joined(&mut self, first: (Plan, Scope), joins: &[Join]) -> Result<(Plan, Scope)> {
        joins.iter().try_fold(first, |(plan, scope), join| match step(join)? {
            Some(Step::AsOf(parts)) => self.as_of(plan, scope, &parts),
            Some(Step::Unnest(parts)) => self.unnest(plan, scope, &parts),
            None => match &join.relation {
                TableFactor::Derived { lateral: true, subquery, alias, .. } => {
                    self.lateral_join((plan, scope), (subquery, alias.as_ref()), join)
                }
                relation => {
                    let right = self.factor(relation)?;
                    self.join((plan, scope), right, join)
                }
            },
        })
    }

    /// Binds a relation of FROM.
    fn factor(&mut self, factor: &TableFactor) -> Result<(Plan, Scope)> {
        let at = || place(factor.span().start);
        let (plan, name, alias) = match factor {
            TableFactor::Table { name, alias, args: None, version: None, with_hints, sample, .. } => {
                if !with_hints.is_empty() || sample.is_some() {
                    return Err(not_yet("what stands behind the table's name").at(place_of(name)));
                }
                let (plan, full) = self.relation(name)?;
                (plan, Some(full), alias)
            }
            TableFactor::Derived { subquery, alias, .. } => (self.query(subquery)?, None, alias),
            TableFactor::MatchRecognize { table, .. } => {
                let (input, scope) = self.factor(table)?;
                return self.match_recognize(input, &scope, factor);
            }
            TableFactor::Table { version: Some(_), .. } => return Err(not_yet("FOR SYSTEM_TIME AS OF").at(at())),
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let first = self.factor(&table_with_joins.relation)?;
                return self.joined(first, &table_with_joins.joins);
            }
            TableFactor::NestedJoin { alias: Some(_), .. } => {
                let e = Error::script("a join in parentheses takes no name").at(at());
                return Err(e.hint("name the relations in it, or write (SELECT … FROM … JOIN …) AS name"));
            }
            TableFactor::Table { name, alias, args: Some(args), version: None, .. } => {
                (self.table_function(name, &args.args)?, None, alias)
            }
            TableFactor::TableFunction { expr: Ast::Function(f), alias } => {
                let FunctionArguments::List(list) = &f.args else {
                    return Err(not_yet("a query as the argument of a table function").at(at()));
                };
                (self.table_function(&f.name, &list.args)?, None, alias)
            }
            _ => return Err(not_yet("a table function").at(at())),
        };
        let (plan, name) = match alias {
            Some(a) => (aliased(plan, a)?, Some(a.name.value.clone())),
            None => (plan, name),
        };
        let columns = plan.schema().fields.iter().map(|f| (name.clone(), f.clone())).collect();
        Ok((plan, Scope::new(columns)))
    }
}

/// A relation with the column names of an alias.
pub(super) fn aliased(plan: Plan, alias: &TableAlias) -> Result<Plan> {
    let columns: Vec<Ident> = alias.columns.iter().map(|c| c.name.clone()).collect();
    [&alias.name].into_iter().chain(&columns).try_for_each(check_name)?;
    renamed(plan, &columns)
}
