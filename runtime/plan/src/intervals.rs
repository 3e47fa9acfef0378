//! Interval joins: joins whose condition bounds the difference between the times of both sides.

use weir_core::join::Interval;
use weir_core::keyed::TimeDomain;
use weir_core::{TypeKind, Value};
use weir_expr::{CompareOp, Expr};

/// The column and the constant of an expression `column + constant` in milliseconds, over a column that has the time of rows.
fn shifted(e: &Expr, times: &[bool]) -> Option<(usize, i64)> {
    match e {
        Expr::Column { index, .. } => times.get(*index).copied().unwrap_or(false).then_some((*index, 0)),
        Expr::Cast { expr, ty, .. } if expr.ty().kind == ty.kind => shifted(expr, times),
        Expr::Call { function, args, .. } => {
            let sign = match function.name() {
                "TIME + INTERVAL" => 1,
                "TIME - INTERVAL" => -1,
                _ => return None,
            };
            let [of, Expr::Literal { value: Value::Int(millis), ty }] = args.as_slice() else { return None };
            let (column, shift) = shifted(of, times).filter(|_| ty.kind == TypeKind::IntervalDay)?;
            Some((column, shift.checked_add(millis.checked_mul(sign)?)?))
        }
        _ => None,
    }
}

/// The bounds of the difference of times that a condition implies. `times` says which columns of both sides are times of the domain;
/// `width` is the number of columns of the left side.
pub(crate) fn interval_of(condition: &Expr, times: &[bool], width: usize, domain: TimeDomain) -> Option<Interval> {
    let mut columns: Option<(usize, usize)> = None;
    let (mut lower, mut upper) = (None::<i64>, None::<i64>);
    for e in condition.clone().conjuncts() {
        let Expr::Compare { op, left, right } = &e else { continue };
        let (Some(a), Some(b)) = (shifted(left, times), shifted(right, times)) else { continue };
        let (op, a, b) = match (a.0 < width, b.0 < width) {
            (true, false) => (*op, a, b),
            (false, true) => (op.turned(), b, a),
            _ => continue,
        };
        if columns.is_some_and(|known| known != (a.0, b.0)) {
            continue;
        }
        // left + a.1 op right + b.1
        let difference = b.1.checked_sub(a.1)?;
        let (from, to) = match op {
            CompareOp::Eq => (Some(difference), Some(difference)),
            CompareOp::GreaterEq => (Some(difference), None),
            CompareOp::Greater => (Some(difference.checked_add(1)?), None),
            CompareOp::LessEq => (None, Some(difference)),
            CompareOp::Less => (None, Some(difference.checked_sub(1)?)),
            CompareOp::NotEq | CompareOp::DistinctFrom | CompareOp::NotDistinctFrom => continue,
        };
        columns = Some((a.0, b.0));
        lower = [lower, from].into_iter().flatten().max();
        upper = [upper, to].into_iter().flatten().min();
    }
    let ((left, right), lower, upper) = (columns?, lower?, upper?);
    Some(Interval { times: [left, right - width], lower, upper, domain })
}
