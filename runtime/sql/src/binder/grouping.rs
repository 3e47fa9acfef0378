//! Binds GROUP BY: the keys, the grouping sets, and the aggregation.

use super::not_yet;
use super::windows::{group_window, older};
use crate::aggregates::{Collector, layout, over_groups, set_column};
use crate::names::{Binder, Scope};
use crate::older_window::OlderWindow;
use crate::over::Item;
use crate::places::place;
use crate::sub_queries::has_sub_query;
use sqlparser::ast::{Expr as Ast, GroupByExpr, GroupByWithModifier, Select, Spanned};
use std::collections::BTreeSet;
use weir_core::{Error, Field, Result, Schema, SqlType};
use weir_expr::Expr;
use weir_plan::{Plan, StateUids};

impl Binder<'_> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one SELECT, already bound")]
    pub(super) fn grouped(
        &mut self,
        (input, condition): (Plan, Option<Expr>),
        keys: Vec<Expr>,
        sets: Vec<Vec<usize>>,
        ttl: Option<u64>,
        collector: Collector,
        items: Vec<Item>,
        having: Option<(Expr, &Ast)>,
    ) -> Result<Plan> {
        let several = sets.len() > 1;
        let count = keys.len();
        // With several sets, a key that is missing in one of them can be NULL.
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
        let mut plan = if columns.iter().any(|(_, e)| has_sub_query(e)) {
            let (names, exprs): (Vec<String>, Vec<Expr>) = columns.into_iter().unzip();
            let all = input.columns();
            let input = if condition.is_some() { Plan::calc(input, condition, all) } else { input };
            let (input, exprs) = self.attach(input, exprs, &Ok)?;
            Plan::calc(input, None, names.into_iter().zip(exprs).collect())
        } else {
            Plan::calc(input, condition, columns)
        };
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
            // Without a key there is a single group, which may be empty.
            fields.push(Field::new(format!("{}${i}", c.function.name()), c.ty.clone()));
        }
        let window = group_window(&plan, &key_columns);
        plan = Plan::Aggregate {
            input: Box::new(plan),
            keys: key_columns,
            calls,
            window,
            ttl,
            schema: Schema::new(fields),
            uids: StateUids::default(),
        };
        let having = match having {
            Some((e, ast)) => Some(over_groups(e, &typed).map_err(|e| e.at(place(ast.span().start)))?),
            None => None,
        };
        let mut out = vec![];
        for (name, e, at) in items {
            out.push((name, over_groups(e, &typed).map_err(|e| e.at(at))?));
        }
        if !out.iter().map(|(_, e)| e).chain(&having).any(has_sub_query) {
            return Ok(Plan::calc(plan, having, out));
        }
        let (names, mut exprs): (Vec<String>, Vec<Expr>) = out.into_iter().unzip();
        let filters = having.is_some();
        exprs.extend(having);
        let (plan, mut exprs) = self.attach(plan, exprs, &|e| over_groups(e, &typed))?;
        let having = if filters { exprs.pop() } else { None };
        Ok(Plan::calc(plan, having, names.into_iter().zip(exprs).collect()))
    }

    /// Binds the keys and the grouping sets.
    pub(super) fn group_by(&mut self, s: &Select, scope: &Scope) -> Result<(Vec<Expr>, Vec<Vec<usize>>)> {
        let GroupByExpr::Expressions(list, modifiers) = &s.group_by else {
            return Err(not_yet("GROUP BY ALL"));
        };
        let mut keys: Vec<Expr> = vec![];
        // Each element of the list gives several sets, and the result is their product.
        let mut sets: Vec<Vec<usize>> = vec![vec![]];
        for ast in list {
            let mut one =
                |this: &mut Self, e: &Ast| -> Result<usize> { Ok(among(&mut keys, this.expr(e, scope, &mut None)?)) };
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
                    // A constant does not divide rows into groups.
                    vec![vec![one(self, ast)?]]
                }
                e if older(e).is_some() => {
                    let window = self.older_window.as_ref().map(OlderWindow::keys);
                    let window = window.ok_or_else(|| Error::internal("a window that was not put under the query"))?;
                    vec![window.into_iter().map(|e| among(&mut keys, e)).collect()]
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
                        chosen.push(among(&mut keys, self.expr(e, scope, &mut None)?));
                    }
                    all.push(chosen);
                }
                sets = all;
            }
        }
        Ok((keys, sets))
    }
}

/// The index of a key, which is added if it is new.
fn among(keys: &mut Vec<Expr>, key: Expr) -> usize {
    keys.iter().position(|k| k.same(&key)).unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    })
}

/// The sets of a ROLLUP or CUBE without duplicates, which occur if it names a column twice.
fn each_once(sets: impl Iterator<Item = Vec<usize>>) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    sets.filter(|s| seen.insert(s.iter().copied().collect::<BTreeSet<usize>>())).collect()
}
