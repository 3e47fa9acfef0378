//! Binds queries: a syntax tree into a plan.

use crate::aggregates::{Collector, layout, over_groups, set_column};
use crate::catalog::{Spent, Table, idents, place_of};
use crate::expressions::truth;
use crate::names::{Binder, Scope, field};
use crate::places::{place, start};
use crate::plan::Plan;
use crate::words::check_name;
use sqlparser::ast::{
    Distinct, Expr as Ast, GroupByExpr, GroupByWithModifier, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Spanned, TableFactor, Values,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::Expr;
use weir_expr::functions::{cast_to, common_type};

pub(crate) fn not_yet(what: &str) -> Error {
    Error::script(format!("{what} is not yet supported"))
}

impl Binder<'_> {
    /// Binds a query.
    pub fn query(&mut self, q: &Query) -> Result<Plan> {
        self.within(|this| this.whole_query(q))
    }

    fn whole_query(&mut self, q: &Query) -> Result<Plan> {
        if let Some(order) = &q.order_by {
            let e = not_yet("ORDER BY").at(place(order.span().start));
            return Err(e.hint("a stream has no end to sort at; leave it out, or sort what the job has written"));
        }
        if q.limit_clause.is_some() || q.fetch.is_some() {
            return Err(not_yet("LIMIT").at(place(q.span().end)));
        }
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
                let spent = self.catalog.spent;
                let cost =
                    Spent { expressions: spent.expressions - before.expressions, scans: spent.scans - before.scans };
                self.ctes.push(BTreeMap::from([(cte.alias.name.value.clone(), (plan, cost))]));
            }
        }
        let plan = self.set_expr(&q.body);
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
        Ok(Plan::Values { rows, schema: Schema::new(fields) })
    }

    /// A named relation and the name that qualifies its columns.
    fn relation(&mut self, name: &ObjectName) -> Result<(Plan, String)> {
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
        let plan = if let Some(view) = self.catalog.views.get(&full).cloned() {
            self.no_hint(name, "is a view")?;
            let outer = std::mem::take(&mut self.ctes);
            let plan = self.query(&view.query);
            self.ctes = outer;
            renamed(plan.map_err(|e| e.context(format!("in view '{}'", self.catalog.short(&full))))?, &view.columns)?
        } else {
            let table = self.catalog.tables.get(&full).cloned();
            let table = table.ok_or_else(|| self.catalog.unknown(name, &full))?;
            let table = self.catalog.hinted(name, table)?;
            self.scan(table)?
        };
        Ok((plan, full))
    }

    fn cte(&self, name: &str) -> Option<&(Plan, Spent)> {
        self.ctes.iter().rev().find_map(|c| c.get(name))
    }

    /// Refuses options behind the name of what has none.
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

    /// A table's columns, the computed ones computed.
    pub fn scan(&mut self, table: Arc<Table>) -> Result<Plan> {
        self.spend(table.columns.len(), 1)?;
        let all: Vec<usize> = (0..table.physical.len()).collect();
        let mut scan = Plan::Scan { table: table.clone(), columns: all, schema: table.physical.clone() };
        if table.is_upsert() {
            let (keys, schema) = (table.primary_key.clone(), table.physical.clone());
            scan = Plan::Normalize { input: Box::new(scan), keys, schema };
        }
        if table.columns.iter().all(|(_, c)| c.is_none()) {
            return Ok(scan);
        }
        let scope = Scope { columns: table.physical.fields.iter().map(|f| (None, f.clone())).collect() };
        let mut out = vec![];
        for (f, computed) in &table.columns {
            let expr = match computed {
                Some(expr) => expr.clone(),
                None => scope.resolve(&[Ident::new(f.name.clone())])?,
            };
            out.push((f.name.clone(), expr));
        }
        Ok(Plan::calc(scan, None, out))
    }

    fn from(&mut self, s: &Select) -> Result<(Plan, Scope)> {
        let [one] = s.from.as_slice() else {
            if s.from.is_empty() {
                let plan = Plan::Values { rows: vec![vec![]], schema: Schema::new(vec![]) };
                return Ok((plan, Scope::default()));
            }
            return Err(not_yet("a join").at(place(s.from[1].span().start)));
        };
        let lookups = one.joins.iter().map(crate::lookup::parts).collect::<Result<Vec<_>>>()?;
        if let Some(at) = lookups.iter().position(Option::is_none) {
            return Err(self.join_error(one, &one.joins[at]));
        }
        let (plan, name, alias) = match &one.relation {
            TableFactor::Table { name, alias, args: None, version: None, with_hints, sample, .. } => {
                if !with_hints.is_empty() || sample.is_some() {
                    return Err(not_yet("what stands behind the table's name").at(place_of(name)));
                }
                let (plan, full) = self.relation(name)?;
                (plan, Some(full), alias)
            }
            TableFactor::Derived { subquery, alias, .. } => (self.query(subquery)?, None, alias),
            TableFactor::MatchRecognize { .. } => {
                return Err(not_yet("MATCH_RECOGNIZE").at(place(one.span().start)));
            }
            TableFactor::Table { version: Some(_), .. } => {
                return Err(not_yet("FOR SYSTEM_TIME AS OF").at(place(one.span().start)));
            }
            TableFactor::NestedJoin { .. } => return Err(not_yet("a join in parentheses").at(place(one.span().start))),
            _ => {
                return Err(not_yet("a table function, a window or UNNEST").at(place(one.span().start)));
            }
        };
        let (plan, name) = match alias {
            Some(a) => {
                let columns: Vec<Ident> = a.columns.iter().map(|c| c.name.clone()).collect();
                [&a.name].into_iter().chain(&columns).try_for_each(check_name)?;
                (renamed(plan, &columns)?, Some(a.name.value.clone()))
            }
            None => (plan, name),
        };
        let columns = plan.schema().fields.iter().map(|f| (name.clone(), f.clone())).collect();
        let left = (plan, Scope { columns });
        lookups.iter().flatten().try_fold(left, |(plan, scope), parts| self.lookup(plan, scope, parts))
    }

    /// Joins come later; what is wrong beside that is still said.
    fn join_error(&mut self, from: &sqlparser::ast::TableWithJoins, join: &sqlparser::ast::Join) -> Error {
        for factor in [&from.relation, &join.relation] {
            if let TableFactor::Table { name, .. } = factor
                && let Err(e) = self.relation(name)
            {
                return e;
            }
        }
        not_yet("JOIN").at(place(join.relation.span().start))
    }

    fn select(&mut self, s: &Select) -> Result<Plan> {
        let more = s.qualify.is_some()
            || !s.named_window.is_empty()
            || s.into.is_some()
            || !s.lateral_views.is_empty()
            || !s.connect_by.is_empty()
            || s.value_table_mode.is_some()
            || s.exclude.is_some();
        if more {
            let at = place(s.select_token.0.span.start);
            return Err(not_yet("QUALIFY, WINDOW, INTO, LATERAL VIEW, CONNECT BY or AS STRUCT in a SELECT").at(at));
        }
        let (input, scope) = self.from(s)?;
        let condition = match &s.selection {
            Some(c) => {
                let e = self.expr(c, &scope, &mut None)?;
                Some(truth(e, "WHERE").map_err(|e| e.at(place(c.span().start)))?)
            }
            None => None,
        };
        let (keys, sets) = self.group_by(s, &scope)?;
        let mut collector = Collector::default();
        if sets.len() > 1 {
            collector.sets = Some((keys.clone(), sets.clone()));
        }
        let mut items: Vec<(String, Expr, Option<weir_core::error::Place>)> = vec![];
        for item in &s.projection {
            self.item(item, &scope, &mut collector, &mut items)?;
        }
        self.spend(items.len(), 0)?;
        let having = match &s.having {
            Some(h) => {
                let e = self.expr(h, &scope, &mut Some(&mut collector))?;
                Some((truth(e, "HAVING")?, h))
            }
            None => None,
        };
        let grouped = !matches!(&s.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
        let plan = if grouped || having.is_some() || !collector.calls.is_empty() {
            self.grouped(input, condition, keys, sets, collector, items, having)?
        } else {
            Plan::calc(input, condition, items.into_iter().map(|(n, e, _)| (n, e)).collect())
        };
        match &s.distinct {
            None | Some(Distinct::All) => Ok(plan),
            Some(Distinct::Distinct) => Ok(distinct(plan)),
            Some(Distinct::On(_)) => Err(not_yet("DISTINCT ON")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one SELECT, already bound")]
    fn grouped(
        &mut self,
        input: Plan,
        condition: Option<Expr>,
        keys: Vec<Expr>,
        sets: Vec<Vec<usize>>,
        collector: Collector,
        items: Vec<(String, Expr, Option<weir_core::error::Place>)>,
        having: Option<(Expr, &Ast)>,
    ) -> Result<Plan> {
        let several = sets.len() > 1;
        let count = keys.len();
        // With several sets, a key that some set leaves out can be NULL.
        let mut typed: Vec<(Expr, SqlType)> = keys
            .iter()
            .enumerate()
            .map(|(i, k)| {
                let always = sets.iter().all(|s| s.contains(&i));
                let ty = k.ty();
                (k.clone(), ty.clone().nullable(ty.nullable || !always))
            })
            .collect();
        let (columns, calls) = layout(&keys, collector.calls, several);
        let mut plan = Plan::calc(input, condition, columns);
        let mut key_columns: Vec<usize> = (0..count).collect();
        if several {
            let mut fields = plan.schema().fields.clone();
            for (f, (_, ty)) in fields.iter_mut().zip(&typed) {
                f.ty = ty.clone();
            }
            fields.push(Field::new("$set", SqlType::INT.not_null()));
            key_columns.push(fields.len() - 1);
            typed.push((set_column(), SqlType::INT.not_null()));
            let schema = Schema::new(fields);
            plan = Plan::Expand { input: Box::new(plan), sets, keys: (0..count).collect(), schema };
        }
        let mut fields: Vec<Field> = typed.iter().map(|(k, ty)| Field::new(k.to_string(), ty.clone())).collect();
        for (i, c) in calls.iter().enumerate() {
            // Without a key there is one group, which may be empty.
            fields.push(Field::new(format!("{}${i}", c.function.name()), c.ty.clone()));
        }
        plan = Plan::Aggregate { input: Box::new(plan), keys: key_columns, calls, schema: Schema::new(fields) };
        let having = match having {
            Some((e, ast)) => Some(over_groups(e, &typed).map_err(|e| e.at(place(ast.span().start)))?),
            None => None,
        };
        let mut out = vec![];
        for (name, e, at) in items {
            out.push((name, over_groups(e, &typed).map_err(|e| e.at(at))?));
        }
        Ok(Plan::calc(plan, having, out))
    }

    /// The key's expressions, and the sets of them to group by.
    fn group_by(&mut self, s: &Select, scope: &Scope) -> Result<(Vec<Expr>, Vec<Vec<usize>>)> {
        let GroupByExpr::Expressions(list, modifiers) = &s.group_by else {
            return Err(not_yet("GROUP BY ALL"));
        };
        let mut keys: Vec<Expr> = vec![];
        // Each element of the list is a set of sets; they are multiplied.
        let mut sets: Vec<Vec<usize>> = vec![vec![]];
        for ast in list {
            let mut one = |this: &mut Self, e: &Ast| -> Result<usize> {
                let e = this.expr(e, scope, &mut None)?;
                Ok(keys.iter().position(|k| k.same(&e)).unwrap_or_else(|| {
                    keys.push(e);
                    keys.len() - 1
                }))
            };
            let mut many = |this: &mut Self, es: &[Vec<Ast>]| -> Result<Vec<Vec<usize>>> {
                es.iter().map(|g| g.iter().map(|e| one(this, e)).collect()).collect()
            };
            let choices: Vec<Vec<usize>> = match ast {
                Ast::GroupingSets(g) => many(self, g)?,
                Ast::Rollup(g) => {
                    let parts = many(self, g)?;
                    each_once((0..=parts.len()).rev().map(|n| parts[..n].concat()))
                }
                Ast::Cube(g) => {
                    let parts = many(self, g)?;
                    if parts.len() > 12 {
                        return Err(Error::script("CUBE of more than 12 columns makes too many groups"));
                    }
                    each_once((0..1usize << parts.len()).rev().map(|mask| {
                        let chosen = parts.iter().enumerate().filter(|(i, _)| mask >> (parts.len() - 1 - i) & 1 == 1);
                        chosen.flat_map(|(_, p)| p.clone()).collect()
                    }))
                }
                Ast::Tuple(es) => vec![es.iter().map(|e| one(self, e)).collect::<Result<_>>()?],
                Ast::Value(_) => {
                    // A constant groups nothing apart.
                    vec![vec![one(self, ast)?]]
                }
                e => vec![vec![one(self, e)?]],
            };
            sets = sets.iter().flat_map(|s| choices.iter().map(|c| [s.clone(), c.clone()].concat())).collect();
        }
        if modifiers.iter().any(|m| !matches!(m, GroupByWithModifier::GroupingSets(_))) {
            return Err(not_yet("WITH ROLLUP").hint("write GROUP BY ROLLUP (…)"));
        }
        for m in modifiers {
            if let GroupByWithModifier::GroupingSets(Ast::GroupingSets(g)) = m {
                let mut all = vec![];
                for set in g {
                    let mut chosen = vec![];
                    for e in set {
                        let e = self.expr(e, scope, &mut None)?;
                        chosen.push(keys.iter().position(|k| k.same(&e)).unwrap_or_else(|| {
                            keys.push(e);
                            keys.len() - 1
                        }));
                    }
                    all.push(chosen);
                }
                sets = all;
            }
        }
        Ok((keys, sets))
    }

    fn item(
        &mut self,
        item: &SelectItem,
        scope: &Scope,
        collector: &mut Collector,
        out: &mut Vec<(String, Expr, Option<weir_core::error::Place>)>,
    ) -> Result<()> {
        let at = match item {
            SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => place(start(e)),
            other => place(other.span().start),
        };
        let mut push = |name: String, e: Expr| out.push((name, e, at));
        let column = |i: usize| {
            let f = &scope.columns[i].1;
            (f.name.clone(), Expr::column(i, f.name.clone(), f.ty.clone()))
        };
        match item {
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)
                if options.opt_ilike.is_some()
                    || options.opt_exclude.is_some()
                    || options.opt_except.is_some()
                    || options.opt_replace.is_some()
                    || options.opt_rename.is_some()
                    || options.opt_alias.is_some() =>
            {
                return Err(Error::script("* stands alone").at(at).hint("name the columns"));
            }
            SelectItem::Wildcard(_) => {
                if scope.columns.is_empty() {
                    return Err(Error::script("SELECT * needs FROM").at(at));
                }
                (0..scope.columns.len()).map(column).for_each(|(n, e)| push(n, e));
            }
            SelectItem::QualifiedWildcard(kind, _) => {
                let row = match kind {
                    SelectItemQualifiedWildcardKind::ObjectName(name) => {
                        let parts = idents(name);
                        let qualifier = parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(".");
                        let of_table = scope.of_table(&qualifier);
                        if !of_table.is_empty() {
                            of_table.into_iter().map(column).for_each(|(n, e)| push(n, e));
                            return Ok(());
                        }
                        scope.resolve(&parts)?
                    }
                    SelectItemQualifiedWildcardKind::Expr(e) => self.expr(e, scope, &mut Some(collector))?,
                };
                let TypeKind::Row(fields) = row.ty().kind else {
                    return Err(Error::script(format!("{row} is neither a table nor a row")).at(at));
                };
                for f in fields {
                    push(f.name.clone(), field(row.clone(), &f.name)?);
                }
            }
            SelectItem::UnnamedExpr(ast) => {
                let name = match ast {
                    Ast::Identifier(i) => i.value.clone(),
                    Ast::CompoundIdentifier(p) => p.last().map(|i| i.value.clone()).unwrap_or_default(),
                    _ => format!("EXPR${}", out.len()),
                };
                let e = self.expr(ast, scope, &mut Some(collector))?;
                out.push((name, typed_null(e, at)?, at));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                check_name(alias)?;
                let e = self.expr(expr, scope, &mut Some(collector))?;
                out.push((alias.value.clone(), typed_null(e, at)?, at));
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(not_yet("several names for one expression").at(at));
            }
        }
        Ok(())
    }
}

/// The sets of one ROLLUP or CUBE, where those of the same columns are one: it may name a column twice.
fn each_once(sets: impl Iterator<Item = Vec<usize>>) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    sets.filter(|s| seen.insert(s.iter().copied().collect::<BTreeSet<usize>>())).collect()
}

fn typed_null(e: Expr, at: Option<weir_core::error::Place>) -> Result<Expr> {
    if e.ty().is_null() {
        return Err(Error::script("a bare NULL has no type here").hint("give it one: CAST(NULL AS STRING)").at(at));
    }
    Ok(e)
}

/// The same relation with other names for its columns.
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

/// A relation with its columns cast to a schema's types and named as there.
pub(crate) fn cast_columns(plan: Plan, schema: &Schema) -> Plan {
    let same = plan.schema().fields.iter().zip(&schema.fields).all(|(f, g)| f.ty.kind == g.ty.kind && f.name == g.name);
    if same {
        return plan;
    }
    let columns = plan.columns().into_iter().zip(&schema.fields);
    let columns = columns.map(|((_, e), f)| (f.name.clone(), cast_to(e, &f.ty))).collect();
    Plan::calc(plan, None, columns)
}

/// Each row once.
pub(crate) fn distinct(plan: Plan) -> Plan {
    let schema = plan.schema().clone();
    let keys = (0..schema.len()).collect();
    Plan::Aggregate { input: Box::new(plan), keys, calls: vec![], schema }
}
