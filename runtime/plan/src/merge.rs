//! Merges adjacent projections.

use crate::logical::Plan;
use weir_core::Schema;
use weir_expr::Expr;
use weir_expr::functions::cast_to;

/// Merges a projection with the one below it, unless an expression would be evaluated twice.
pub(crate) fn merge_top(plan: Plan) -> Plan {
    let Plan::Calc { input, condition, exprs, schema } = plan else { return plan };
    match *input {
        Plan::Calc { input: below, condition: inner_condition, exprs: inner, schema: inner_schema } => {
            let mut uses = vec![0usize; inner.len()];
            for e in exprs.iter().chain(&condition) {
                count(e, &mut uses);
            }
            let cheap = |e: &Expr| matches!(e, Expr::Column { .. } | Expr::Literal { .. } | Expr::Field { .. });
            let once = inner.iter().zip(&uses).all(|(e, n)| *n <= 1 || cheap(e));
            // The upper predicate must not see rows that the lower one drops, so predicates that can fail are not merged.
            let safe = condition.is_none() || inner_condition.is_none() || condition.iter().all(Expr::total);
            let keeps_order =
                inner_condition.is_none() || condition.is_none() || exprs.iter().chain(&condition).all(Expr::total);
            // An expression that the script evaluates before a predicate may be skipped by it, but not the other way round.
            let guarded = condition.is_none() || inner.iter().all(|e| e.total() || cheap(e));
            if once && safe && keeps_order && guarded {
                let put = |e: Expr| substitute(e, &inner);
                let condition = match (inner_condition, condition.map(put)) {
                    (Some(a), Some(b)) => Some(Expr::And(Box::new(a), Box::new(b))),
                    (a, b) => a.or(b),
                };
                let exprs = exprs.into_iter().map(|e| substitute(e, &inner)).collect();
                return merge_top(Plan::Calc { input: below, condition, exprs, schema });
            }
            let input = Plan::Calc { input: below, condition: inner_condition, exprs: inner, schema: inner_schema };
            Plan::Calc { input: Box::new(input), condition, exprs, schema }
        }
        input if condition.is_none() && identity(&exprs, &input, &schema) => input,
        input => Plan::Calc { input: Box::new(input), condition, exprs, schema },
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
        // A function's result can be more precise than its type.
        Expr::Cast { expr, ty, safe: false } if matches!(*expr, Expr::Call { .. }) => cast_to(*expr, &ty),
        e => e,
    })
}
