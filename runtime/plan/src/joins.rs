//! Prepares joins: predicates are evaluated before a join where that gives the same rows, and equalities become keys.

use crate::logical::{Plan, Ranks, Rewritten};
use crate::merge::merge_top;
use std::collections::BTreeSet;
use weir_core::join::{JoinKey, JoinKind, LEFT, RIGHT};
use weir_core::rank::SortKey;
use weir_core::{Schema, Value};
use weir_expr::functions::{cast_to, common_type};
use weir_expr::injective::injective;
use weir_expr::{CompareOp, Expr};

/// Prepares all joins of a plan.
pub(crate) fn prepare_joins(plan: Plan, done: &mut Rewritten) -> Plan {
    prepared(merge_top(plan)).map_inputs(done, &mut prepare_joins)
}

/// Moves the predicates of a join, or of a projection over one.
fn prepared(plan: Plan) -> Plan {
    match plan {
        Plan::Calc { input, condition: Some(condition), exprs, schema } if matches!(*input, Plan::Join { .. }) => {
            let (join, condition) = above(*input, condition);
            Plan::Calc { input: Box::new(with_keys(join, true)), condition, exprs, schema }
        }
        join @ Plan::Join { .. } => with_keys(join, true),
        plan => plan,
    }
}

/// The sides whose columns an expression reads, given the numbers of columns of both. While a query is bound, an expression may also read
/// columns of the query around it; it belongs to neither side then.
fn sides(e: &Expr, widths: [usize; 2]) -> [bool; 2] {
    let mut columns = BTreeSet::new();
    e.columns(&mut columns);
    let all = widths[LEFT] + widths[RIGHT];
    let around = columns.iter().any(|c| *c >= all);
    [around || columns.iter().any(|c| *c < widths[LEFT]), around || columns.iter().any(|c| *c >= widths[LEFT])]
}

fn is_true(e: &Expr) -> bool {
    matches!(e, Expr::Literal { value: Value::Bool(true), .. })
}

/// Filters a relation.
fn filtered(plan: Box<Plan>, conjuncts: Vec<Expr>) -> Box<Plan> {
    match Expr::all_of(conjuncts) {
        None => plan,
        condition => {
            let columns = plan.columns();
            Box::new(Plan::calc(*plan, condition, columns))
        }
    }
}

/// An expression over both sides that only reads the right one, as one over the right side alone.
fn of_right(e: Expr, width: usize) -> Expr {
    e.with_columns(&mut |c| c.saturating_sub(width))
}

/// An expression over the right side alone, as one over both sides.
fn shifted(e: Expr, width: usize) -> Expr {
    e.with_columns(&mut |c| c + width)
}

/// Moves what can be moved of a predicate over a join into the join or below it. Returns the rest.
fn above(join: Plan, condition: Expr) -> (Plan, Option<Expr>) {
    let Plan::Join { left, right, kind, on, as_of, condition: own, ttl, schema, uids } = join else {
        return (join, Some(condition));
    };
    let widths = [left.schema().len(), right.schema().len()];
    let width = widths[LEFT];
    let (mut to_left, mut to_right, mut to_join, mut rest) = (vec![], vec![], vec![], vec![]);
    for e in condition.conjuncts() {
        let stays = !e.deterministic();
        match (sides(&e, widths), kind) {
            _ if stays => rest.push(e),
            ([true, false], JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti) => to_left.push(e),
            ([false, true], JoinKind::Inner | JoinKind::Right) => to_right.push(of_right(e, width)),
            ([true, true], JoinKind::Inner) => to_join.push(e),
            _ => rest.push(e),
        }
    }
    // Which version is joined must not depend on predicates.
    if as_of.is_some() {
        rest.extend(to_right.drain(..).map(|e| shifted(e, width)));
        rest.append(&mut to_join);
    }
    let condition = Expr::all_of(own.into_iter().chain(to_join));
    let (left, right) = (filtered(left, to_left), filtered(right, to_right));
    (Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids }, Expr::all_of(rest))
}

/// An equality between both sides that can be a key, as expressions over each side, and whether NULL equals NULL.
fn equality(e: &Expr, widths: [usize; 2]) -> Option<(Expr, Expr, bool)> {
    let (left, right, nulls_equal) = match e {
        Expr::Compare { op: CompareOp::Eq, left, right } => (left, right, false),
        Expr::Compare { op: CompareOp::NotDistinctFrom, left, right } => (left, right, true),
        _ => return None,
    };
    let (left, right) = match (sides(left, widths), sides(right, widths)) {
        ([true, false], [false, true]) => (left, right),
        ([false, true], [true, false]) => (right, left),
        _ => return None,
    };
    let (here, there) = ((**left).clone(), of_right((**right).clone(), widths[LEFT]));
    if !here.deterministic() || !there.deterministic() {
        return None;
    }
    let types = [here.ty(), there.ty()];
    if types[0].arrow() == types[1].arrow() {
        return Some((here, there, nulls_equal));
    }
    let common = common_type(&types)?;
    types
        .iter()
        .all(|ty| injective(ty, &common))
        .then(|| (cast_to(here, &common), cast_to(there, &common), nulls_equal))
}

/// The column of an expression over a side, which is added to the side unless it is one of its columns.
fn key_column(e: Expr, more: &mut Vec<Expr>, width: usize) -> usize {
    if let Expr::Column { index, .. } = e {
        return index;
    }
    let known = more.iter().position(|known| known.same(&e));
    width
        + known.unwrap_or_else(|| {
            more.push(e);
            more.len() - 1
        })
}

/// Appends computed columns to a relation.
fn with_columns(plan: Box<Plan>, more: Vec<Expr>) -> Box<Plan> {
    if more.is_empty() {
        return plan;
    }
    let mut columns = plan.columns();
    columns.extend(more.into_iter().enumerate().map(|(n, e)| (format!("key${n}"), e)));
    Box::new(Plan::calc(*plan, None, columns))
}

/// Joins two relations. Equalities of the condition become keys.
pub fn keyed(join: Plan) -> Plan {
    with_keys(join, false)
}

/// Turns equalities of a join's condition into keys. With `moves`, what depends on one side only is evaluated below the join.
fn with_keys(join: Plan, moves: bool) -> Plan {
    let Plan::Join { left, right, kind, mut on, as_of, condition: Some(condition), ttl, schema, uids } = join else {
        return join;
    };
    let widths = [left.schema().len(), right.schema().len()];
    let width = widths[LEFT];
    let (mut to_left, mut to_right, mut rest) = (vec![], vec![], vec![]);
    let (mut more_left, mut more_right) = (vec![], vec![]);
    for e in condition.conjuncts() {
        if is_true(&e) {
            continue;
        }
        if let Some((here, there, nulls_equal)) = equality(&e, widths) {
            let left = key_column(here, &mut more_left, widths[LEFT]);
            let right = key_column(there, &mut more_right, widths[RIGHT]);
            let key = JoinKey { left, right, nulls_equal };
            if !on.contains(&key) {
                on.push(key);
            }
            continue;
        }
        let moves = moves && as_of.is_none() && e.deterministic();
        match (sides(&e, widths), kind) {
            ([true, false], JoinKind::Inner | JoinKind::Right | JoinKind::Semi) if moves => to_left.push(e),
            ([false, true], JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti) if moves => {
                to_right.push(of_right(e, width));
            }
            _ => rest.push(e),
        }
    }
    let (added, all) = (more_left.len(), widths[LEFT] + widths[RIGHT]);
    let place = |c: usize| if (width..all).contains(&c) { c + added } else { c };
    let rest = rest.into_iter().map(|e| e.with_columns(&mut { place }));
    let condition = Expr::all_of(rest);
    let same = more_left.is_empty() && more_right.is_empty();
    let left = with_columns(filtered(left, to_left), more_left);
    let right = with_columns(filtered(right, to_right), more_right);
    if same {
        return Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids };
    }
    let mut fields = left.schema().fields.clone();
    if !kind.left_only() {
        fields.extend(right.schema().fields.iter().cloned());
    }
    // A side whose rows may be missing has the types of the output.
    let output = |n: usize| if n < width { n } else { n + added };
    schema.fields.iter().enumerate().for_each(|(n, f)| fields[output(n)] = f.clone());
    let wide = Schema::new(fields);
    let join = Plan::Join { left, right, kind, on, as_of, condition, ttl, schema: wide, uids };
    let columns = join.columns();
    let chosen = (0..schema.len()).map(|n| columns[output(n)].clone()).collect();
    Plan::calc(join, None, chosen)
}

/// Lets joins as of a time read every version of a view that keeps the last row of each key, not only the last one of a batch.
pub(crate) fn read_versions(plan: Plan, done: &mut Rewritten) -> Plan {
    let plan = match plan {
        Plan::Join { left, right, kind, on, as_of: Some(as_of), condition, ttl, schema, uids } => {
            let right = Box::new(every_version(*right));
            Plan::Join { left, right, kind, on, as_of: Some(as_of), condition, ttl, schema, uids }
        }
        plan => plan,
    };
    plan.map_inputs(done, &mut read_versions)
}

/// Whether a relation keeps the last row of each key in time, and nothing else is done with these rows but choosing columns.
fn keeps_last(plan: &Plan) -> bool {
    match plan {
        Plan::Rank { order, ranks: Ranks { first: 1, last: Some(1), .. }, number: false, .. } => {
            matches!(order.as_slice(), [SortKey { descending: true, .. }])
        }
        Plan::Calc { input, condition: None, .. } => keeps_last(input),
        Plan::Shared(shared) => keeps_last(&shared.plan),
        _ => false,
    }
}

/// The rows of which a relation keeps the last one of each key, or the relation itself.
fn every_version(plan: Plan) -> Plan {
    if !keeps_last(&plan) {
        return plan;
    }
    match plan {
        Plan::Rank { input, .. } => *input,
        Plan::Calc { input, condition, exprs, schema } => {
            Plan::Calc { input: Box::new(every_version(*input)), condition, exprs, schema }
        }
        Plan::Shared(shared) => every_version(shared.plan.clone()),
        plan => plan,
    }
}
