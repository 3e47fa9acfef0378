//! Chains of joins by one key, which are computed by one operator. It keeps the rows of the inputs alone, where joins of two inputs each
//! would keep the results of the joins below them as well.
//!
//! This is cheaper as long as the lower joins have no condition besides their equalities: then a join above needs all of their rows.

use crate::logical::Plan;
use crate::times::{interval_of_join, window_of_join};
use crate::traits::Derived;
use std::rc::Rc;
use weir_core::join::{JoinKey, JoinKind, MOST_INPUTS};
use weir_expr::Expr;

/// A chain of inner and left joins.
pub(crate) struct Chain<'a> {
    /// The inputs; at least three.
    pub inputs: Vec<Rc<Derived<'a>>>,
    /// For each input, whether it is the right side of a LEFT JOIN.
    pub optional: Vec<bool>,
    /// The key columns of each input.
    pub on: Vec<Vec<usize>>,
    /// For each column of the key, whether two NULLs are equal.
    pub nulls_equal: Vec<bool>,
    /// For each input, the time to live that a hint gives to its rows, in milliseconds.
    pub ttl: Vec<Option<u64>>,
    /// The condition besides, over the columns of all inputs.
    pub condition: Option<Expr>,
    /// For each column of the join, the column among those of all inputs.
    pub columns: Vec<usize>,
}

/// The chain that ends with a join, if it has more than two inputs.
pub(crate) fn chain_of<'a>(of: &Derived<'a>) -> Option<Chain<'a>> {
    let part = part(of)?;
    let Part { inputs, optional, on, ends: _, keys: _, nulls_equal, ttl, condition, columns } = part;
    // In batch mode, rows without a partner are emitted at the end.
    let at_end = optional.contains(&true) && of.traits.changelog.is_insert_only();
    (inputs.len() >= 3 && !at_end).then_some(Chain { inputs, optional, on, nulls_equal, ttl, condition, columns })
}

/// A part of a chain: its inputs, and what is known of their columns.
struct Part<'a> {
    inputs: Vec<Rc<Derived<'a>>>,
    optional: Vec<bool>,
    /// The key columns of each input.
    on: Vec<Vec<usize>>,
    /// For each input, where its columns end among those of all inputs.
    ends: Vec<usize>,
    /// For each column of the key, the columns that are equal in each row. Those of an optional input may be NULL instead.
    keys: Vec<Vec<usize>>,
    nulls_equal: Vec<bool>,
    ttl: Vec<Option<u64>>,
    condition: Option<Expr>,
    columns: Vec<usize>,
}

impl<'a> Part<'a> {
    /// A single input.
    fn single(of: &Rc<Derived<'a>>, ttl: Option<u64>) -> Part<'a> {
        let width = of.plan.schema().len();
        Part {
            inputs: vec![of.clone()],
            optional: vec![false],
            on: vec![],
            ends: vec![width],
            keys: vec![],
            nulls_equal: vec![],
            ttl: vec![ttl],
            condition: None,
            columns: (0..width).collect(),
        }
    }

    /// For each column of the key, the one of `on` that compares it.
    fn compared(&self, on: &[JoinKey]) -> Option<Vec<JoinKey>> {
        let compares = |(equal, nulls): (&Vec<usize>, &bool)| {
            on.iter().copied().find(|k| equal.contains(&self.columns[k.left]) && k.nulls_equal == *nulls)
        };
        let found: Vec<JoinKey> = self.keys.iter().zip(&self.nulls_equal).map(compares).collect::<Option<_>>()?;
        (found.len() == on.len() && on.iter().all(|k| found.contains(k))).then_some(found)
    }
}

/// A join as a part of a chain, if its rows are not joined by their times.
fn part<'a>(of: &Derived<'a>) -> Option<Part<'a>> {
    let (Plan::Join { kind, on, as_of: None, condition, ttl, .. }, [left, right]) = (of.plan, of.inputs.as_slice())
    else {
        return None;
    };
    let optional = match kind {
        JoinKind::Inner => false,
        // The condition decides which rows are partners.
        JoinKind::Left if condition.is_none() => true,
        JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::Semi | JoinKind::Anti => return None,
    };
    let times = [&left.traits.times, &right.traits.times];
    let timed =
        window_of_join(on, times[0], times[1]).is_some() || interval_of_join(of.plan, times[0], times[1]).is_some();
    if on.is_empty() || timed {
        return None;
    }
    let lower = lower(left).filter(|p| p.condition.is_none() && ttl[0].is_none() && p.inputs.len() < MOST_INPUTS);
    let (mut all, on) = match lower.and_then(|p| p.compared(on).map(|on| (p, on))) {
        Some((part, on)) => (part, on),
        None => (Part::single(left, ttl[0]), on.clone()),
    };
    let width = all.ends.last().copied().unwrap_or(0);
    all.nulls_equal = on.iter().map(|k| k.nulls_equal).collect();
    all.keys.resize(on.len(), vec![]);
    if all.on.is_empty() {
        all.on.push(on.iter().map(|k| k.left).collect());
    }
    for (equal, k) in all.keys.iter_mut().zip(&on) {
        if equal.is_empty() {
            equal.push(all.columns[k.left]);
        }
        if !optional {
            equal.push(width + k.right);
        }
    }
    all.on.push(on.iter().map(|k| k.right).collect());
    all.inputs.push(right.clone());
    all.optional.push(optional);
    all.ends.push(width + right.plan.schema().len());
    all.ttl.push(ttl[1]);
    all.columns.extend((0..right.plan.schema().len()).map(|c| width + c));
    let columns = all.columns.clone();
    all.condition = condition.clone().map(|e| e.with_columns(&mut |c| columns[c]));
    Some(all)
}

/// The part below a join: a join, or columns of one.
fn lower<'a>(of: &Derived<'a>) -> Option<Part<'a>> {
    match (of.plan, of.inputs.as_slice()) {
        (Plan::Calc { condition: None, exprs, .. }, [join]) => {
            let mut part = part(join)?;
            let column =
                |e: &Expr| if let Expr::Column { index, .. } = e { part.columns.get(*index).copied() } else { None };
            part.columns = exprs.iter().map(column).collect::<Option<_>>()?;
            Some(part)
        }
        _ => part(of),
    }
}
