//! Aggregates in a SELECT. They are collected while its expressions are bound, and replaced by columns.

use crate::sub_queries::is_sub_query;
use weir_core::{Error, Result, SqlType, Value};
use weir_expr::Expr;
use weir_expr::aggregate::{Aggregate, AggregateCall};

/// Columns from this index on are placeholders for collected aggregates.
pub(crate) const PLACEHOLDER: usize = 1 << 30;

/// An aggregate over expressions of the input.
pub(crate) struct Collected {
    pub function: Aggregate,
    pub args: Vec<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub ty: SqlType,
}

impl Collected {
    /// Whether both have the same result.
    pub fn same(&self, other: &Collected) -> bool {
        let (ours, theirs) = (self.args.iter().chain(&self.filter), other.args.iter().chain(&other.filter));
        self.function == other.function
            && self.distinct == other.distinct
            && self.args.len() == other.args.len()
            && self.filter.is_some() == other.filter.is_some()
            && ours.zip(theirs).all(|(a, b)| a.same(b))
    }
}

/// The aggregates of a SELECT.
#[derive(Default)]
pub(crate) struct Collector {
    pub calls: Vec<Collected>,
    /// Whether the arguments of an aggregate are currently being bound.
    pub inside: bool,
    /// The expressions of the grouping key, and the grouping sets, if there are several.
    pub sets: Option<(Vec<Expr>, Vec<Vec<usize>>)>,
}

/// The column with the number of a row's grouping set.
pub(crate) fn set_column() -> Expr {
    Expr::column(1 << 29, "$set", SqlType::INT.not_null())
}

impl Collector {
    /// GROUPING and GROUPING_ID: one bit for each argument, which is 1 if the row is not grouped by it.
    pub fn grouping(&mut self, args: &[Expr]) -> Result<Expr> {
        let ty = SqlType::BIGINT.not_null();
        let Some((keys, sets)) = &self.sets else {
            return Ok(Expr::literal(Value::Int(0), ty));
        };
        let mut places = vec![];
        for a in args {
            let at = keys.iter().position(|k| k.same(a));
            places.push(at.ok_or_else(|| Error::script(format!("GROUPING of {a}, which is not grouped by")))?);
        }
        let bits = |set: &[usize]| places.iter().fold(0, |n, p| n * 2 + i64::from(!set.contains(p)));
        let branches = sets.iter().enumerate().map(|(i, set)| {
            let number = Expr::literal(Value::Int(i as i64), SqlType::INT.not_null());
            let when =
                Expr::Compare { op: weir_expr::CompareOp::Eq, left: Box::new(set_column()), right: Box::new(number) };
            (when, Expr::literal(Value::Int(bits(set)), ty.clone()))
        });
        let otherwise = Box::new(Expr::literal(Value::Int(0), ty.clone()));
        Ok(Expr::Case { branches: branches.collect(), otherwise, ty: ty.clone() })
    }

    /// Adds an aggregate, and returns its column. Equal aggregates are computed once.
    pub fn add(&mut self, call: Collected) -> Expr {
        let ty = call.ty.clone();
        let at = match self.calls.iter().position(|c| c.same(&call)) {
            Some(at) => at,
            None => {
                self.calls.push(call);
                self.calls.len() - 1
            }
        };
        Expr::column(PLACEHOLDER + at, format!("$agg{at}"), ty)
    }
}

/// Rewrites an expression over the input into one over keys and aggregates.
pub(crate) fn over_groups(expr: Expr, keys: &[(Expr, SqlType)]) -> Result<Expr> {
    if let Expr::Column { index, name, ty } = &expr
        && *index >= PLACEHOLDER
    {
        return Ok(Expr::column(keys.len() + index - PLACEHOLDER, name.clone(), ty.clone()));
    }
    if is_sub_query(&expr) {
        return Ok(expr);
    }
    if let Some(at) = keys.iter().position(|(k, _)| k.same(&expr)) {
        return Ok(Expr::column(at, expr.to_string(), keys[at].1.clone()));
    }
    if let Expr::Column { name, .. } = &expr {
        return Err(Error::script(format!("'{name}' is neither grouped by nor inside an aggregate"))
            .hint(format!("add it to GROUP BY, or wrap it: MAX({name}), COUNT({name}), …")));
    }
    let r = |e: Box<Expr>| over_groups(*e, keys).map(Box::new);
    Ok(match expr {
        Expr::Column { .. } | Expr::Literal { .. } => expr,
        Expr::Cast { expr, ty, safe } => Expr::Cast { expr: r(expr)?, ty, safe },
        Expr::Not(e) => Expr::Not(r(e)?),
        Expr::IsNull(e) => Expr::IsNull(r(e)?),
        Expr::Field { expr, index, name, ty } => Expr::Field { expr: r(expr)?, index, name, ty },
        Expr::Arith { op, left, right, ty } => Expr::Arith { op, left: r(left)?, right: r(right)?, ty },
        Expr::Compare { op, left, right } => Expr::Compare { op, left: r(left)?, right: r(right)? },
        Expr::And(a, b) => Expr::And(r(a)?, r(b)?),
        Expr::Or(a, b) => Expr::Or(r(a)?, r(b)?),
        Expr::Case { branches, otherwise, ty } => Expr::Case {
            branches: branches
                .into_iter()
                .map(|(c, v)| Ok((over_groups(c, keys)?, over_groups(v, keys)?)))
                .collect::<Result<_>>()?,
            otherwise: r(otherwise)?,
            ty,
        },
        Expr::Call { function, args, ty } => {
            Expr::Call { function, args: args.into_iter().map(|a| over_groups(a, keys)).collect::<Result<_>>()?, ty }
        }
    })
}

/// Lays out the input of an aggregation: first the keys, then the arguments of the aggregates. Equal expressions occur once. If some
/// grouping sets `leave_out` keys, which are then NULL, aggregates read separate columns.
pub(crate) fn layout(
    keys: &[Expr],
    calls: Vec<Collected>,
    leave_out: bool,
) -> (Vec<(String, Expr)>, Vec<AggregateCall>) {
    let mut columns: Vec<(String, Expr)> = keys.iter().map(|k| (k.to_string(), k.clone())).collect();
    let first = if leave_out { keys.len() } else { 0 };
    let mut place = |e: Expr| {
        let known = columns.iter().skip(first).position(|(_, c)| c.same(&e)).map(|at| first + at);
        known.unwrap_or_else(|| {
            columns.push((e.to_string(), e));
            columns.len() - 1
        })
    };
    let calls = calls
        .into_iter()
        .map(|c| AggregateCall {
            function: c.function,
            args: c.args.into_iter().map(&mut place).collect(),
            distinct: c.distinct,
            filter: c.filter.map(&mut place),
            ty: c.ty,
        })
        .collect();
    (columns, calls)
}
