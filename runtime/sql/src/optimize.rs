//! Makes plans cheaper without changing what they mean: neighbouring projections merged, columns that nobody reads left
//! out down to the sources, constants computed once.

use crate::plan::Plan;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::Schema;
use weir_expr::Expr;
use weir_expr::functions::cast_to;
use weir_expr::{Session, eval::constant};

/// Optimizes a plan.
pub(crate) fn optimize(plan: Plan, session: &Arc<Session>) -> Plan {
    let plan = merge(plan);
    let all: BTreeSet<usize> = (0..plan.schema().len()).collect();
    let (plan, kept) = prune(plan, &all);
    // The top keeps every column, so their places have not moved.
    debug_assert!(kept.iter().enumerate().all(|(i, k)| i == *k));
    fold(merge(plan), session)
}

/// Merges a projection into the one below, unless that would evaluate something twice.
fn merge(plan: Plan) -> Plan {
    match plan {
        Plan::Calc { input, condition, exprs, schema } => {
            let input = merge(*input);
            match input {
                Plan::Calc { input: below, condition: inner_condition, exprs: inner, schema: inner_schema } => {
                    let mut uses = vec![0usize; inner.len()];
                    for e in exprs.iter().chain(&condition) {
                        count(e, &mut uses);
                    }
                    let cheap = |e: &Expr| matches!(e, Expr::Column { .. } | Expr::Literal { .. } | Expr::Field { .. });
                    let once = inner.iter().zip(&uses).all(|(e, n)| *n <= 1 || cheap(e));
                    // A condition above must not see rows that the one below drops, so what can fail stays apart.
                    let safe = condition.is_none() || inner_condition.is_none() || condition.iter().all(Expr::total);
                    let keeps_order = inner_condition.is_none()
                        || condition.is_none()
                        || exprs.iter().chain(&condition).all(Expr::total);
                    // What is evaluated before a condition in the script may be skipped by it, not the other way round.
                    let guarded = condition.is_none() || inner.iter().all(|e| e.total() || cheap(e));
                    if once && safe && keeps_order && guarded {
                        let put = |e: Expr| substitute(e, &inner);
                        let condition = match (inner_condition, condition.map(put)) {
                            (Some(a), Some(b)) => Some(Expr::And(Box::new(a), Box::new(b))),
                            (a, b) => a.or(b),
                        };
                        let exprs = exprs.into_iter().map(|e| substitute(e, &inner)).collect();
                        return merge(Plan::Calc { input: below, condition, exprs, schema });
                    }
                    let input =
                        Plan::Calc { input: below, condition: inner_condition, exprs: inner, schema: inner_schema };
                    Plan::Calc { input: Box::new(input), condition, exprs, schema }
                }
                input if condition.is_none() && identity(&exprs, &input, &schema) => input,
                input => Plan::Calc { input: Box::new(input), condition, exprs, schema },
            }
        }
        Plan::Expand { input, sets, keys, schema } => {
            Plan::Expand { input: Box::new(merge(*input)), sets, keys, schema }
        }
        Plan::Aggregate { input, keys, calls, schema } => {
            Plan::Aggregate { input: Box::new(merge(*input)), keys, calls, schema }
        }
        Plan::Normalize { input, keys, schema } => Plan::Normalize { input: Box::new(merge(*input)), keys, schema },
        Plan::Lookup { input, table, on, left, keep, columns, schema } => {
            Plan::Lookup { input: Box::new(merge(*input)), table, on, left, keep, columns, schema }
        }
        Plan::Union { inputs, schema } => Plan::Union { inputs: inputs.into_iter().map(merge).collect(), schema },
        other => other,
    }
}

fn identity(exprs: &[Expr], input: &Plan, schema: &Schema) -> bool {
    exprs.len() == input.schema().len()
        && exprs.iter().enumerate().all(|(i, e)| matches!(e, Expr::Column { index, .. } if *index == i))
        && schema.fields == input.schema().fields
}

fn count(e: &Expr, uses: &mut [usize]) {
    if let Expr::Column { index, .. } = e {
        uses[*index] += 1;
    }
    e.children().into_iter().for_each(|c| count(c, uses));
}

fn substitute(e: Expr, inner: &[Expr]) -> Expr {
    e.rewrite(&mut |e| match e {
        Expr::Column { index, .. } => inner[index].clone(),
        // What a function gives can be more exact than its type says.
        Expr::Cast { expr, ty, safe: false } if matches!(*expr, Expr::Call { .. }) => cast_to(*expr, &ty),
        e => e,
    })
}

/// Leaves out columns that nobody reads. Gives the new plan and which of the old columns it has, in order.
fn prune(plan: Plan, wanted: &BTreeSet<usize>) -> (Plan, Vec<usize>) {
    match plan {
        Plan::Scan { table, columns, schema } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let columns = keep.iter().map(|k| columns[*k]).collect();
            (Plan::Scan { table, columns, schema: schema.project(&keep) }, keep)
        }
        Plan::Values { rows, schema } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let rows = rows.into_iter().map(|r| keep.iter().map(|k| r[*k].clone()).collect()).collect();
            (Plan::Values { rows, schema: schema.project(&keep) }, keep)
        }
        Plan::Calc { input, condition, exprs, schema } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let exprs: Vec<Expr> = keep.iter().map(|k| exprs[*k].clone()).collect();
            let mut used = BTreeSet::new();
            exprs.iter().chain(&condition).for_each(|e| e.columns(&mut used));
            let (input, have) = prune(*input, &used);
            let exprs = exprs.into_iter().map(|e| moved(e, &have)).collect();
            let condition = condition.map(|c| moved(c, &have));
            (Plan::Calc { input: Box::new(input), condition, exprs, schema: schema.project(&keep) }, keep)
        }
        Plan::Aggregate { input, keys, mut calls, schema } => {
            // Keys stay whatever is read: they make the groups. Aggregates that nobody reads go.
            let count = keys.len();
            let keep_calls: Vec<usize> = (0..calls.len()).filter(|i| wanted.contains(&(count + i))).collect();
            // A grouping without results would be a DISTINCT, which is another thing: keep one.
            let keep_calls = if keep_calls.is_empty() && !calls.is_empty() { vec![0] } else { keep_calls };
            calls = keep_calls.iter().map(|i| calls[*i].clone()).collect();
            let mut used: BTreeSet<usize> = keys.iter().copied().collect();
            for c in &calls {
                used.extend(c.args.iter().chain(&c.filter));
            }
            let (input, have) = prune(*input, &used);
            let at = |old: usize| have.iter().position(|h| *h == old).unwrap_or(old);
            for c in &mut calls {
                c.args.iter_mut().for_each(|a| *a = at(*a));
                c.filter = c.filter.map(at);
            }
            let keys: Vec<usize> = keys.into_iter().map(at).collect();
            let kept: Vec<usize> = (0..count).chain(keep_calls.into_iter().map(|i| count + i)).collect();
            let schema = schema.project(&kept);
            let plan = Plan::Aggregate { input: Box::new(input), keys, calls, schema };
            select(plan, kept, wanted)
        }
        Plan::Lookup { input, table, on, left, keep, columns, schema } => {
            let width = keep.len();
            let kept: Vec<usize> = wanted.iter().copied().collect();
            let (here, there): (Vec<usize>, Vec<usize>) = kept.iter().copied().partition(|k| *k < width);
            let used: BTreeSet<usize> = here.iter().map(|k| keep[*k]).chain(on.iter().map(|o| o.0)).collect();
            let (input, have) = prune(*input, &used);
            let at = |old: usize| have.iter().position(|h| *h == old).unwrap_or(old);
            let plan = Plan::Lookup {
                input: Box::new(input),
                table,
                on: on.into_iter().map(|(h, t)| (at(h), t)).collect(),
                left,
                keep: here.iter().map(|k| at(keep[*k])).collect(),
                columns: there.iter().map(|k| columns[k - width]).collect(),
                schema: schema.project(&kept),
            };
            (plan, kept)
        }
        Plan::Normalize { input, keys, schema } => {
            // Its key stays whatever is read.
            let mut used = wanted.clone();
            used.extend(&keys);
            let (input, have) = prune(*input, &used);
            let at = |old: &usize| have.iter().position(|h| h == old).unwrap_or(*old);
            let keys = keys.iter().map(at).collect();
            let schema = schema.project(&have);
            select(Plan::Normalize { input: Box::new(input), keys, schema }, have, wanted)
        }
        Plan::Expand { input, sets, keys, schema } => {
            let all: BTreeSet<usize> = (0..input.schema().len()).collect();
            let (input, _) = prune(*input, &all);
            let kept: Vec<usize> = (0..schema.len()).collect();
            select(Plan::Expand { input: Box::new(input), sets, keys, schema }, kept, wanted)
        }
        Plan::Union { inputs, schema } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let schema = schema.project(&keep);
            let inputs = inputs
                .into_iter()
                .map(|i| {
                    let (plan, have) = prune(i, wanted);
                    select(plan, have, wanted).0
                })
                .collect();
            (Plan::Union { inputs, schema }, keep)
        }
    }
}

/// Brings a plan that has more columns than wanted down to those.
fn select(plan: Plan, have: Vec<usize>, wanted: &BTreeSet<usize>) -> (Plan, Vec<usize>) {
    let keep: Vec<usize> = wanted.iter().copied().collect();
    if have == keep {
        return (plan, have);
    }
    let columns = plan.columns();
    let chosen = keep.iter().filter_map(|k| have.iter().position(|h| h == k)).map(|i| columns[i].clone()).collect();
    (Plan::calc(plan, None, chosen), keep)
}

fn moved(e: Expr, have: &[usize]) -> Expr {
    e.rewrite(&mut |e| match e {
        Expr::Column { index, name, ty } => {
            let index = have.iter().position(|h| *h == index).unwrap_or(index);
            Expr::Column { index, name, ty }
        }
        e => e,
    })
}

/// Computes constants once. What fails then is left to fail for the rows that need it.
fn fold(plan: Plan, session: &Arc<Session>) -> Plan {
    let f = |e: Expr| {
        e.rewrite(&mut |e| match &e {
            Expr::Column { .. } | Expr::Literal { .. } => e,
            _ if !e.constant() => e,
            _ if e.ty().is_nested() => e,
            _ => match constant(&e, session) {
                Ok(value) => Expr::Literal { value, ty: e.ty() },
                Err(_) => e,
            },
        })
    };
    match plan {
        Plan::Calc { input, condition, exprs, schema } => Plan::Calc {
            input: Box::new(fold(*input, session)),
            condition: condition.map(f),
            exprs: exprs.into_iter().map(f).collect(),
            schema,
        },
        Plan::Expand { input, sets, keys, schema } => {
            Plan::Expand { input: Box::new(fold(*input, session)), sets, keys, schema }
        }
        Plan::Aggregate { input, keys, calls, schema } => {
            Plan::Aggregate { input: Box::new(fold(*input, session)), keys, calls, schema }
        }
        Plan::Lookup { input, table, on, left, keep, columns, schema } => {
            Plan::Lookup { input: Box::new(fold(*input, session)), table, on, left, keep, columns, schema }
        }
        Plan::Normalize { input, keys, schema } => {
            Plan::Normalize { input: Box::new(fold(*input, session)), keys, schema }
        }
        Plan::Union { inputs, schema } => {
            Plan::Union { inputs: inputs.into_iter().map(|i| fold(i, session)).collect(), schema }
        }
        other => other,
    }
}
