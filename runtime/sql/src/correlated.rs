//! Sub-queries that name columns of the query around them. Such conditions are moved up, out of the sub-query, so that they become
//! conditions of a join.

use crate::binder::not_yet;
use crate::sub_queries::{END_OF_OUTER, OUTER, is_outer};
use std::collections::BTreeSet;
use weir_core::join::JoinKind;
use weir_core::{Error, Field, Result, Schema, SqlType, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::{CompareOp, Expr};
use weir_plan::{Plan, StateUids};

/// Whether an expression names columns of the query around.
pub(crate) fn names_outer(e: &Expr) -> bool {
    e.any(&is_outer)
}

/// Whether an expression names columns of the sub-query itself.
fn names_inner(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::Column { .. }) && !is_outer(e))
}

/// Turns a moved condition into one over other columns: `outer` for those of the query around, `inner` for those of the sub-query.
pub(crate) fn replaced(
    condition: Expr,
    outer: &mut dyn FnMut(usize, String, SqlType) -> Expr,
    inner: &mut dyn FnMut(usize, String, SqlType) -> Expr,
) -> Expr {
    condition.rewrite(&mut |e| match e {
        Expr::Column { index, name, ty } if (OUTER..END_OF_OUTER).contains(&index) => outer(index - OUTER, name, ty),
        Expr::Column { index, name, ty } => inner(index, name, ty),
        e => e,
    })
}

/// A condition over other columns of the sub-query.
pub(crate) fn moved(condition: Expr, inner: &mut dyn FnMut(usize) -> usize) -> Expr {
    condition.with_columns(&mut |c| if (OUTER..END_OF_OUTER).contains(&c) { c } else { inner(c) })
}

/// The columns of the sub-query that a condition reads.
pub(crate) fn inner_columns(conditions: &[Expr]) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    conditions.iter().for_each(|c| c.columns(&mut all));
    all.into_iter().filter(|c| *c < OUTER).collect()
}

/// Whether a relation names columns of the query around.
pub(crate) fn names_outer_columns(plan: &Plan) -> bool {
    plan.any(|p| p.expressions().into_iter().any(names_outer))
}

fn refused() -> Error {
    let e = not_yet("this use of a column of the query around a sub-query");
    e.hint("compare such columns in the WHERE of the sub-query; above an aggregation, only by =")
}

/// Moves the conditions that name columns of the query around out of a sub-query. The result has the columns of the sub-query, then those
/// that the conditions read.
///
/// # Errors
/// If such columns are used otherwise.
pub(crate) fn decorrelated(plan: Plan) -> Result<(Plan, Vec<Expr>)> {
    if !names_outer_columns(&plan) {
        return Ok((plan, vec![]));
    }
    match plan {
        Plan::Calc { input, condition, exprs, schema } => {
            let (input, mut moves) = decorrelated(*input)?;
            let (up, stay): (Vec<Expr>, Vec<Expr>) =
                condition.map(Expr::conjuncts).unwrap_or_default().into_iter().partition(names_outer);
            moves.extend(up);
            if exprs.iter().any(names_outer) {
                return Err(refused());
            }
            let of_input = input.columns();
            let mut named: Vec<(String, Expr)> = schema.fields.iter().map(|f| f.name.clone()).zip(exprs).collect();
            let moves = moves.into_iter().map(|c| {
                moved(c, &mut |column| {
                    let is = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == column);
                    named.iter().position(|(_, e)| is(e)).unwrap_or_else(|| {
                        named.push(of_input[column].clone());
                        named.len() - 1
                    })
                })
            });
            let moves = moves.collect();
            let condition = Expr::all_of(stay);
            Ok((Plan::calc(input, condition, named), moves))
        }
        Plan::Aggregate { input, keys, calls, window: None, ttl, schema, uids: _ } => {
            aggregate(*input, keys, calls, ttl, &schema)
        }
        Plan::Join { left, right, kind: JoinKind::Inner, on, as_of: None, condition, ttl, schema, uids } => {
            let widths = [left.schema().len(), right.schema().len()];
            let ((left, of_left), (right, of_right)) = (decorrelated(*left)?, decorrelated(*right)?);
            let (up, stay): (Vec<Expr>, Vec<Expr>) =
                condition.map(Expr::conjuncts).unwrap_or_default().into_iter().partition(names_outer);
            let (all_left, more) = (left.schema().len(), left.schema().len() - widths[0]);
            let place = |c: usize| if c < widths[0] { c } else { c + more };
            let stay = stay.into_iter().map(|e| moved(e, &mut |c| place(c)));
            let condition = Expr::all_of(stay);
            let mut moves: Vec<Expr> = up.into_iter().map(|e| moved(e, &mut |c| place(c))).collect();
            moves.extend(of_left);
            moves.extend(of_right.into_iter().map(|e| moved(e, &mut |c| c + all_left)));
            let fields = left.schema().fields.iter().chain(&right.schema().fields).cloned().collect();
            let (left, right) = (Box::new(left), Box::new(right));
            let join = Plan::Join {
                left,
                right,
                kind: JoinKind::Inner,
                on,
                as_of: None,
                condition,
                ttl,
                schema: Schema::new(fields),
                uids,
            };
            // The columns of the sub-query come first.
            let columns = join.columns();
            let firsts: Vec<usize> = (0..schema.len()).map(place).collect();
            let others: Vec<usize> = (0..columns.len()).filter(|c| !firsts.contains(c)).collect();
            let order: Vec<usize> = firsts.into_iter().chain(others).collect();
            let back = |c: usize| order.iter().position(|o| *o == c).unwrap_or(c);
            let moves = moves.into_iter().map(|e| moved(e, &mut |c| back(c))).collect();
            let named = order.iter().map(|c| columns[*c].clone()).collect();
            Ok((Plan::calc(join, None, named), moves))
        }
        _ => Err(refused()),
    }
}

/// Groups additionally by what is compared with the query around.
fn aggregate(
    input: Plan,
    mut keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    ttl: Option<u64>,
    schema: &Schema,
) -> Result<(Plan, Vec<Expr>)> {
    let (mut input, moves) = decorrelated(input)?;
    let count = keys.len();
    let mut named = input.columns();
    let before = named.len();
    let mut up = vec![];
    for condition in moves {
        let Expr::Compare { op: CompareOp::Eq, left, right } = condition else { return Err(refused()) };
        let (inner, outer) = match (names_inner(&left), names_inner(&right)) {
            (true, false) => (left, right),
            (false, true) => (right, left),
            _ => return Err(refused()),
        };
        if names_outer(&inner) {
            return Err(refused());
        }
        let column = match *inner {
            Expr::Column { index, .. } => index,
            computed => {
                named.push((format!("key${}", named.len()), computed));
                named.len() - 1
            }
        };
        keys.push(column);
        up.push((column, *outer));
    }
    if named.len() > before {
        input = Plan::calc(input, None, named);
    }
    let more: Vec<Field> = keys[count..].iter().map(|k| input.schema().fields[*k].clone()).collect();
    let fields = schema.fields[..count].iter().chain(&more).chain(&schema.fields[count..]).cloned().collect();
    let added = more.len();
    let window = crate::binder::windows::group_window(&input, &keys);
    let plan = Plan::Aggregate {
        input: Box::new(input),
        keys,
        calls,
        window,
        ttl,
        schema: Schema::new(fields),
        uids: StateUids::default(),
    };
    let columns = plan.columns();
    let order: Vec<usize> = (0..count).chain(count + added..columns.len()).chain(count..count + added).collect();
    let named: Vec<(String, Expr)> = order.into_iter().map(|c| columns[c].clone()).collect();
    let first = named.len() - added;
    let moves = up.into_iter().enumerate().map(|(n, (_, outer))| {
        let (name, key) = &named[first + n];
        let inner = Expr::column(first + n, name.clone(), key.ty());
        Expr::Compare { op: CompareOp::Eq, left: Box::new(inner), right: Box::new(outer) }
    });
    let moves = moves.collect();
    Ok((Plan::calc(plan, None, named), moves))
}

/// The columns of an aggregation without keys for no rows at all: counts are 0, everything else is NULL. None if the relation is something
/// else.
pub(crate) fn of_no_rows(plan: &Plan) -> Option<Vec<Expr>> {
    match plan {
        Plan::Aggregate { keys, calls, window: None, .. } if keys.is_empty() => {
            let value = |c: &AggregateCall| match c.function {
                Aggregate::CountStar | Aggregate::Count => Expr::literal(Value::Int(0), c.ty.clone()),
                _ => Expr::literal(Value::Null, c.ty.clone().nullable(true)),
            };
            Some(calls.iter().map(value).collect())
        }
        Plan::Calc { input, condition: None, exprs, .. } => {
            let below = of_no_rows(input)?;
            let put = |e: &Expr| {
                e.clone().rewrite(&mut |e| match e {
                    Expr::Column { index, .. } if index < below.len() => below[index].clone(),
                    e => e,
                })
            };
            Some(exprs.iter().map(put).collect())
        }
        _ => None,
    }
}

/// Whether a relation has one row at most.
pub(crate) fn has_one_row(plan: &Plan) -> bool {
    match plan {
        Plan::Aggregate { keys, window: None, .. } => keys.is_empty(),
        Plan::Calc { input, .. } => has_one_row(input),
        Plan::Rank { partition, ranks, .. } => partition.is_empty() && ranks.last == Some(ranks.first),
        Plan::Shared(shared) => has_one_row(&shared.plan),
        _ => false,
    }
}
