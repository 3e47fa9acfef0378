//! Binds queries: turns a syntax tree into a plan.

mod from;
mod grouping;
mod items;
pub(crate) mod joins;
mod match_recognize;
mod order;
mod subqueries;
mod temporal;
pub(crate) mod windows;

use crate::aggregates::Collector;
use crate::expressions::truth;
use crate::names::{Binder, Scope};
use crate::over::{Item, Numbered};
use crate::places::place;
use crate::sub_queries::has_sub_query;
use crate::words::check_name;
use order::Sorted;
use sqlparser::ast::{
    Distinct, Expr as Ast, Function, GroupByExpr, Ident, NamedWindowDefinition, NamedWindowExpr, ObjectName, Query,
    Select, SetExpr, Spanned, Values, WindowSpec,
};
use std::collections::BTreeMap;
use weir_core::{Error, Field, Result, Schema, SqlType, Value};
use weir_expr::Expr;
use weir_expr::functions::{cast_to, common_type};
use weir_plan::{Plan, StateUids};

/// The error for a feature of Flink that Weir does not support.
pub(crate) fn not_yet(what: &str) -> Error {
    Error::script(format!("{what} is not yet supported"))
}

impl Binder<'_> {
    /// Binds a query.
    pub fn query(&mut self, q: &Query) -> Result<Plan> {
        self.within(|this| this.whole_query(q))
    }

    fn whole_query(&mut self, q: &Query) -> Result<Plan> {
        if !q.locks.is_empty() || q.for_clause.is_some() || q.settings.is_some() || q.format_clause.is_some() {
            return Err(not_yet("what stands behind the query").at(place(q.span().end)));
        }
        let scopes = self.ctes.len();
        if let Some(with) = &q.with {
            if with.recursive {
                return Err(not_yet("WITH RECURSIVE").at(place(with.with_token.0.span.start)));
            }
            for cte in &with.cte_tables {
                let names: Vec<Ident> = cte.alias.columns.iter().map(|c| c.name.clone()).collect();
                [&cte.alias.name].into_iter().chain(&names).try_for_each(check_name)?;
                let before = self.catalog.spent;
                let plan = self.query(&cte.query)?;
                let plan = renamed(plan, &names)?;
                let plan = self.shared(plan);
                let cost = self.catalog.spent.since(before);
                self.ctes.push(BTreeMap::from([(cte.alias.name.value.clone(), (plan, cost))]));
            }
        }
        let plan = self.ordered(q);
        self.ctes.truncate(scopes);
        plan
    }

    pub(crate) fn set_expr(&mut self, body: &SetExpr) -> Result<Plan> {
        match body {
            SetExpr::Select(s) => self.select(s),
            SetExpr::Query(q) => self.query(q),
            SetExpr::Values(v) => self.values(v),
            SetExpr::SetOperation { .. } => self.unions(body),
            SetExpr::Table(t) => {
                let name = ObjectName::from(vec![Ident::new(t.table_name.clone().unwrap_or_default())]);
                self.relation(&name).map(|(plan, _)| plan)
            }
            other => Err(Error::script("this is no query").at(place(other.span().start))),
        }
    }

    fn values(&mut self, v: &Values) -> Result<Plan> {
        let mut rows: Vec<Vec<Expr>> = vec![];
        for row in &v.rows {
            let row: Vec<Expr> =
                row.content.iter().map(|e| self.expr(e, &Scope::default(), &mut None)).collect::<Result<_>>()?;
            if rows.first().is_some_and(|f| f.len() != row.len()) {
                return Err(Error::script("the rows of VALUES differ in length"));
            }
            rows.push(row);
        }
        let width = rows.first().map_or(0, Vec::len);
        let mut fields = vec![];
        for c in 0..width {
            let types: Vec<SqlType> = rows.iter().map(|r| r[c].ty()).collect();
            let ty = common_type(&types).ok_or_else(|| {
                Error::script(format!("column {} of VALUES has types that do not go together", c + 1))
            })?;
            rows.iter_mut().for_each(|r| {
                let e = std::mem::replace(&mut r[c], Expr::literal(Value::Null, ty.clone()));
                r[c] = cast_to(e, &ty);
            });
            fields.push(Field::new(format!("EXPR${c}"), ty));
        }
        Ok(Plan::Values { rows, schema: Schema::new(fields), uids: StateUids::default() })
    }

    fn select(&mut self, s: &Select) -> Result<Plan> {
        self.select_sorted(s, &[]).map(|sorted| sorted.plan)
    }

    /// Applies the part of a condition that has sub-queries. Returns the relation, and what is left of the condition.
    fn filtered(&mut self, input: Plan, condition: Option<Expr>) -> Result<(Plan, Option<Expr>)> {
        let Some(condition) = condition.clone().filter(has_sub_query) else { return Ok((input, condition)) };
        let columns = input.columns();
        let (plan, rest) = self.filter_by(input, condition)?;
        match plan.schema().len() > columns.len() {
            true => Ok((Plan::calc(plan, rest, columns), None)),
            false => Ok((plan, rest)),
        }
    }

    /// Projects the filtered rows of a SELECT to its items.
    fn projected(&mut self, input: Plan, condition: Option<Expr>, items: Vec<Item>) -> Result<Plan> {
        let (names, exprs): (Vec<String>, Vec<Expr>) = items.into_iter().map(|(n, e, _)| (n, e)).unzip();
        if !exprs.iter().any(has_sub_query) {
            return Ok(Plan::calc(input, condition, names.into_iter().zip(exprs).collect()));
        }
        let columns = input.columns();
        let input = if condition.is_some() { Plan::calc(input, condition, columns) } else { input };
        let (plan, exprs) = self.attach(input, exprs, &Ok)?;
        Ok(Plan::calc(plan, None, names.into_iter().zip(exprs).collect()))
    }

    /// Assigns the filtered rows of a SELECT to the window of the older form in its GROUP BY, if there is one.
    fn in_older_window(
        &mut self,
        s: &Select,
        input: Plan,
        condition: Option<Expr>,
        mut scope: Scope,
    ) -> Result<(Plan, Option<Expr>, Scope)> {
        let call = match windows_of(s).as_slice() {
            [] => return Ok((input, condition, scope)),
            [call] => *call,
            [_, second, ..] => {
                return Err(Error::script("GROUP BY takes one window").at(place(second.span().start)));
            }
        };
        let columns = input.columns();
        let input = if condition.is_some() { Plan::calc(input, condition, columns) } else { input };
        let others: Vec<&Ast> = grouped_by(s).filter(|e| windows::older(e).is_none()).collect();
        let plan = self.older_window(call, &others, input, &scope)?;
        let more = plan.schema().fields[scope.columns.len()..].iter().map(|f| (None, f.clone()));
        scope.columns.extend(more);
        Ok((plan, None, scope))
    }

    /// Binds a SELECT, with columns for the keys of its ORDER BY.
    fn select_sorted(&mut self, s: &Select, by: &[&Ast]) -> Result<Sorted> {
        let more = s.into.is_some()
            || !s.lateral_views.is_empty()
            || !s.connect_by.is_empty()
            || s.value_table_mode.is_some()
            || s.exclude.is_some();
        if more {
            let at = place(s.select_token.0.span.start);
            return Err(not_yet("INTO, LATERAL VIEW, CONNECT BY or AS STRUCT in a SELECT").at(at));
        }
        let around = self.sub_queries.replace(vec![]);
        let at = place(s.select_token.0.span.start);
        let (ttl, lookups) = (self.catalog.state_ttl(at)?, self.catalog.lookup_hints(at)?);
        let ttl_around = std::mem::replace(&mut self.state_ttl, ttl);
        let lookups_around = std::mem::replace(&mut self.lookup_hints, lookups);
        let sorted = self.select_in_scope(s, by);
        let ttl = std::mem::replace(&mut self.state_ttl, ttl_around);
        let lookups = std::mem::replace(&mut self.lookup_hints, lookups_around);
        let sorted = sorted.and_then(|sorted| {
            self.check_used()?;
            self.catalog.idle_hints.extend(ttl.idle()?);
            self.catalog.idle_hints.extend(lookups.idle()?);
            Ok(sorted)
        });
        self.sub_queries = around;
        sorted
    }

    fn select_in_scope(&mut self, s: &Select, by: &[&Ast]) -> Result<Sorted> {
        let (input, scope) = self.from(s)?;
        self.state_ttl.check_names(scope.relations());
        let condition = match &s.selection {
            Some(c) => {
                let e = self.expr(c, &scope, &mut None)?;
                Some(truth(e, "WHERE").map_err(|e| e.at(place(c.span().start)))?)
            }
            None => None,
        };
        let (input, condition) = self.filtered(input, condition)?;
        let outer_window = self.older_window.take();
        let (input, condition, scope) = self.in_older_window(s, input, condition, scope)?;
        let (keys, sets) = self.group_by(s, &scope)?;
        let mut collector = Collector::default();
        if sets.len() > 1 {
            collector.sets = Some((keys.clone(), sets.clone()));
        }
        let mut items: Vec<Item> = vec![];
        let outer = self.over.replace(vec![]);
        let outer_windows = std::mem::replace(&mut self.named_windows, named_windows(s)?);
        for item in &s.projection {
            self.item(item, &scope, &mut collector, &mut items)?;
        }
        let visible = items.len();
        let by = self.sort_items(by, &scope, &mut collector, &mut items)?;
        let qualified = match &s.qualify {
            Some(q) => {
                let e = self.qualify(q, &scope, &mut collector, &items[..visible])?;
                items.push(("$qualify".to_string(), e, place(q.span().start)));
                true
            }
            None => false,
        };
        if s.distinct.is_some() && items.len() > visible + usize::from(qualified) {
            let e = Error::script("ORDER BY takes columns of the SELECT where that is DISTINCT");
            return Err(e.at(items[visible].2));
        }
        let over = std::mem::replace(&mut self.over, outer).unwrap_or_default();
        self.named_windows = outer_windows;
        let mut numbered = (!over.is_empty()).then(|| Numbered::new(std::mem::take(&mut items), over));
        if let Some(n) = &mut numbered {
            items = std::mem::take(&mut n.below);
        }
        self.spend(items.len(), 0)?;
        let having = match &s.having {
            Some(h) => {
                let e = self.expr(h, &scope, &mut Some(&mut collector))?;
                Some((truth(e, "HAVING")?, h))
            }
            None => None,
        };
        self.older_window = outer_window;
        let plan = if is_grouped(s) || having.is_some() || !collector.calls.is_empty() {
            let ttl = self.state_ttl.take(scope.relations());
            self.grouped((input, condition), keys, sets, ttl, collector, items, having)?
        } else {
            self.projected(input, condition, items)?
        };
        let plan = match numbered {
            Some(n) => n.over(plan, weir_plan::settings::mode(&self.catalog.settings)?)?,
            None => plan,
        };
        let plan = if qualified { qualified_rows(plan) } else { plan };
        let plan = match &s.distinct {
            None | Some(Distinct::All) => plan,
            Some(Distinct::Distinct) => distinct(plan),
            Some(Distinct::On(_)) => return Err(not_yet("DISTINCT ON")),
        };
        Ok(Sorted { plan, by, visible })
    }
}

/// Whether a SELECT has GROUP BY.
fn is_grouped(s: &Select) -> bool {
    !matches!(&s.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty())
}

/// Renames the columns of a relation.
pub(crate) fn renamed(plan: Plan, names: &[Ident]) -> Result<Plan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let mut columns = plan.columns();
    if columns.len() != names.len() {
        let at = place(names[0].span.start);
        return Err(Error::script(format!("{} names for {} columns", names.len(), columns.len())).at(at));
    }
    columns.iter_mut().zip(names).for_each(|(c, n)| c.0 = n.value.clone());
    Ok(Plan::calc(plan, None, columns))
}

/// Casts the columns of a relation to the types of a schema, and renames them.
pub(crate) fn cast_columns(plan: Plan, schema: &Schema) -> Plan {
    let same = plan.schema().fields.iter().zip(&schema.fields).all(|(f, g)| f.ty.kind == g.ty.kind && f.name == g.name);
    if same {
        return plan;
    }
    let columns = plan.columns().into_iter().zip(&schema.fields);
    let columns = columns.map(|((_, e), f)| (f.name.clone(), cast_to(e, &f.ty))).collect();
    Plan::calc(plan, None, columns)
}

/// Removes duplicate rows.
pub(crate) fn distinct(plan: Plan) -> Plan {
    let schema = plan.schema().clone();
    let keys: Vec<usize> = (0..schema.len()).collect();
    let window = windows::group_window(&plan, &keys);
    Plan::Aggregate {
        input: Box::new(plan),
        keys,
        calls: vec![],
        window,
        ttl: None,
        schema,
        uids: StateUids::default(),
    }
}

/// Filters rows by the last column, the predicate of QUALIFY, and removes that column.
fn qualified_rows(plan: Plan) -> Plan {
    let mut columns = plan.columns();
    let condition = columns.pop().map(|(_, e)| e);
    Plan::calc(plan, condition, columns)
}

/// The named windows of a SELECT.
fn named_windows(s: &Select) -> Result<Vec<(String, WindowSpec)>> {
    let mut named: Vec<(String, WindowSpec)> = vec![];
    for NamedWindowDefinition(name, of) in &s.named_window {
        let spec = match of {
            NamedWindowExpr::WindowSpec(spec) => spec.clone(),
            NamedWindowExpr::NamedWindow(other) => {
                let known = named.iter().find(|(n, _)| *n == other.value).map(|(_, spec)| spec.clone());
                known.ok_or_else(|| unknown_window(other))?
            }
        };
        named.push((name.value.clone(), spec));
    }
    Ok(named)
}

/// The error for a window name that does not exist.
fn unknown_window(name: &Ident) -> Error {
    Error::script(format!("there is no window '{}'", name.value)).at(place(name.span.start))
}

/// The expressions of GROUP BY outside of grouping sets.
fn grouped_by(s: &Select) -> impl Iterator<Item = &Ast> {
    let list = match &s.group_by {
        GroupByExpr::Expressions(list, _) => list.as_slice(),
        GroupByExpr::All(_) => &[],
    };
    list.iter()
}

/// The windows of the older form in the GROUP BY of a SELECT.
fn windows_of(s: &Select) -> Vec<&Function> {
    grouped_by(s).filter_map(windows::older).collect()
}
