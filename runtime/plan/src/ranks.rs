//! Turns predicates on a row number into the range of ranks of the relation that computes the number.

use crate::logical::{Plan, Ranks, Rewritten};
use std::sync::Arc;
use weir_core::Value;
use weir_expr::eval::constant;
use weir_expr::{CompareOp, Expr, Session};

/// Removes bounds of row numbers from predicates, as Flink's rules for Top-N do.
pub(crate) fn bound_ranks(plan: Plan, done: &mut Rewritten, session: &Arc<Session>) -> Plan {
    let plan = plan.map_inputs(done, &mut |input, done| bound_ranks(input, done, session));
    let Plan::Calc { input, condition: Some(condition), exprs, schema } = plan else { return plan };
    let Some(number) = number_column(&input) else {
        return Plan::Calc { input, condition: Some(condition), exprs, schema };
    };
    let (bounds, rest): (Vec<_>, Vec<_>) =
        condition.conjuncts().into_iter().map(|c| (bound(&c, number, session), c)).partition(|(b, _)| b.is_some());
    let mut first: i64 = 1;
    let mut last: Option<i64> = None;
    for (from, to) in bounds.iter().filter_map(|(b, _)| *b) {
        first = first.max(from.unwrap_or(1));
        last = to.map_or(last, |to| Some(last.map_or(to, |l| l.min(to))));
    }
    // If the range is empty, the predicates are kept and reject every row.
    let empty = last.is_some_and(|l| l < first);
    let left = if empty { bounds.into_iter().chain(rest).collect() } else { rest };
    let (first, last) = if empty { (1, Some(1)) } else { (first, last) };
    let (first, last) = (first.unsigned_abs(), last.map(i64::unsigned_abs));
    let condition = Expr::all_of(left.into_iter().map(|(_, c)| c));
    Plan::Calc { input: Box::new(with_ranks(*input, first, last)), condition, exprs, schema }
}

/// The column with the row number of the relation below, if its range is not bounded yet.
fn number_column(plan: &Plan) -> Option<usize> {
    match plan {
        Plan::Rank { number: true, ranks: Ranks { first: 1, last: None, .. }, schema, .. } => {
            schema.len().checked_sub(1)
        }
        Plan::Calc { input, exprs, .. } => {
            let number = number_column(input)?;
            exprs.iter().position(|e| matches!(e, Expr::Column { index, .. } if *index == number))
        }
        Plan::Shared(shared) => number_column(&shared.plan),
        // Above any other relation, the predicate is applied there, after the row numbers.
        _ => None,
    }
}

/// Sets the range of ranks. A shared relation is copied for this reader, since others may need another range.
fn with_ranks(plan: Plan, first: u64, last: Option<u64>) -> Plan {
    match plan {
        Plan::Rank { input, partition, order, ranks, number, schema, uids } => {
            let ranks = Ranks { first, last, ..ranks };
            Plan::Rank { input, partition, order, ranks, number, schema, uids }
        }
        Plan::Calc { input, condition, exprs, schema } => {
            Plan::Calc { input: Box::new(with_ranks(*input, first, last)), condition, exprs, schema }
        }
        Plan::Shared(shared) => with_ranks(shared.plan.clone(), first, last),
        other => other,
    }
}

/// The first and the last number that a predicate accepts, if it is a bound of the column.
fn bound(condition: &Expr, number: usize, session: &Arc<Session>) -> Option<(Option<i64>, Option<i64>)> {
    let Expr::Compare { op, left, right } = condition else { return None };
    let is_number = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == number);
    let (op, value) = match (is_number(left), is_number(right)) {
        (true, false) => (*op, right),
        (false, true) => (op.turned(), left),
        _ => return None,
    };
    let value = value.constant().then(|| constant(value, session).ok()).flatten()?;
    let Value::Int(n) = value else { return None };
    match op {
        CompareOp::Eq => Some((Some(n), Some(n))),
        CompareOp::Less => Some((None, Some(n.saturating_sub(1)))),
        CompareOp::LessEq => Some((None, Some(n))),
        CompareOp::Greater => Some((Some(n.saturating_add(1)), None)),
        CompareOp::GreaterEq => Some((Some(n), None)),
        CompareOp::NotEq | CompareOp::DistinctFrom | CompareOp::NotDistinctFrom => None,
    }
}
