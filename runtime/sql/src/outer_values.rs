//! Sub-queries that use columns of the query around them in other ways than in conditions that can be moved up. Such a sub-query is
//! evaluated for all distinct values of these columns together, and its rows are joined to those of the query around by these values.

use crate::binder::joins::join;
use crate::binder::{distinct, not_yet};
use crate::correlated::{names_outer, names_outer_columns, replaced};
use crate::sub_queries::{OUTER, is_outer};
use weir_core::join::{JoinKey, JoinKind};
use weir_core::{Error, Field, Result, Schema};
use weir_expr::{CompareOp, Expr};
use weir_plan::{Plan, StateUids};

/// The uid of the relation that stands for the values, until the query around is known.
const VALUES: &str = "$values of the query around";

/// A sub-query that is evaluated for all values together. Behind its own columns it has those of the values.
pub(crate) struct PerValue {
    pub plan: Plan,
    /// That the values are those of the row of the query around.
    pub correlation: Vec<Expr>,
    /// The columns of the query around.
    pub columns: Vec<Expr>,
}

fn refused() -> Error {
    let e = not_yet("this use of a column of the query around a sub-query");
    e.hint("compare such columns in the WHERE of the sub-query")
}

/// Evaluates a sub-query for all values of the columns of the query around that it names.
///
/// # Errors
/// If an operator does not allow that.
pub(crate) fn per_value(plan: Plan) -> Result<PerValue> {
    let mut columns: Vec<Expr> = vec![];
    plan.each(&mut |p| p.expressions().into_iter().for_each(|e| collect(e, &mut columns)));
    let width = plan.schema().len();
    let fields: Vec<Field> =
        columns.iter().enumerate().map(|(n, c)| Field::new(format!("outer${n}"), c.ty())).collect();
    let uids = StateUids { uid: VALUES.to_string(), names: vec![] };
    let values = Plan::Values { rows: vec![], schema: Schema::new(fields.clone()), uids };
    let plan = Values { columns: &columns, values }.with(plan)?;
    let correlation = fields.iter().zip(&columns).enumerate().map(|(n, (f, outer))| Expr::Compare {
        op: CompareOp::NotDistinctFrom,
        left: Box::new(Expr::column(width + n, f.name.clone(), f.ty.clone())),
        right: Box::new(outer.clone()),
    });
    let (correlation, around) = (correlation.collect(), |e: Expr| e.with_columns(&mut |c| c - OUTER));
    Ok(PerValue { plan, correlation, columns: columns.into_iter().map(around).collect() })
}

/// The distinct values of expressions over the rows of a relation.
pub(crate) fn values_of(around: Plan, exprs: Vec<Expr>) -> Plan {
    let named = exprs.into_iter().enumerate().map(|(n, e)| (format!("outer${n}"), e)).collect();
    distinct(Plan::calc(around, None, named))
}

/// Puts the values into the sub-query.
pub(crate) fn put_values(plan: &mut Plan, values: &Plan) -> Result<()> {
    match plan {
        Plan::Values { uids, .. } if uids.uid == VALUES => *plan = values.clone(),
        // What several relations read names no column of the query around.
        Plan::Shared(_) => {}
        plan => plan.inputs_mut()?.into_iter().try_for_each(|input| put_values(input, values))?,
    }
    Ok(())
}

fn collect(e: &Expr, into: &mut Vec<Expr>) {
    if is_outer(e) && !into.iter().any(|known| known.same(e)) {
        into.push(e.clone());
    }
    e.children().into_iter().for_each(|c| collect(c, into));
}

struct Values<'a> {
    columns: &'a [Expr],
    values: Plan,
}

impl Values<'_> {
    /// An expression in which the columns of the query around are those of the values, which begin at `from`.
    fn over(&self, e: Expr, from: usize, inner: &dyn Fn(usize) -> usize) -> Expr {
        let mut of_outer = |index: usize, name: String, ty| {
            let is = |c: &Expr| matches!(c, Expr::Column { index: known, .. } if *known == OUTER + index);
            let place = self.columns.iter().position(is).unwrap_or_default();
            Expr::Column { index: from + place, name, ty }
        };
        replaced(e, &mut of_outer, &mut |index, name, ty| Expr::Column { index: inner(index), name, ty })
    }

    /// The columns of the values in a relation.
    fn named(&self, plan: &Plan, from: usize) -> Vec<(String, Expr)> {
        plan.columns().into_iter().skip(from).take(self.columns.len()).collect()
    }

    /// A relation with the values behind its own columns.
    fn with(&self, plan: Plan) -> Result<Plan> {
        if !names_outer_columns(&plan) {
            return Ok(match plan {
                Plan::Values { rows, schema, .. } if schema.is_empty() && rows.len() == 1 => self.values.clone(),
                plan => join(JoinKind::Inner, plan, self.values.clone(), vec![], None, None, [None; 2]),
            });
        }
        let more = self.columns.len();
        match plan {
            Plan::Values { rows, schema, uids: _ } => self.rows(rows, &schema),
            Plan::Calc { input, condition, exprs, schema } => {
                let from = input.schema().len();
                let input = self.with(*input)?;
                let exprs = exprs.into_iter().map(|e| self.over(e, from, &|c| c));
                let mut named: Vec<_> = schema.fields.into_iter().map(|f| f.name).zip(exprs).collect();
                named.extend(self.named(&input, from));
                let condition = condition.map(|e| self.over(e, from, &|c| c));
                Ok(Plan::calc(input, condition, named))
            }
            Plan::Aggregate { input, mut keys, calls, window: None, ttl, schema, uids } => {
                let from = input.schema().len();
                let input = self.with(*input)?;
                let count = keys.len();
                keys.extend(from..from + more);
                let window = crate::binder::windows::group_window(&input, &keys);
                let schema = inserted(schema, count, &input, from);
                let plan = Plan::Aggregate { input: Box::new(input), keys, calls, window, ttl, schema, uids };
                Ok(self.at_end(plan, count))
            }
            plan @ Plan::Join {
                as_of: None,
                kind: JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti,
                ..
            } => self.joined(plan),
            Plan::Unnest { input, collection, mut keep, columns, left, schema } => {
                let from = input.schema().len();
                let input = self.with(*input)?;
                let count = keep.len();
                keep.extend(from..from + more);
                let schema = inserted(schema, count, &input, from);
                let plan = Plan::Unnest { input: Box::new(input), collection, keep, columns, left, schema };
                Ok(self.at_end(plan, count))
            }
            Plan::Rank { input, mut partition, order, ranks, number, schema, uids } => {
                let from = input.schema().len();
                let input = self.with(*input)?;
                partition.extend(from..from + more);
                let schema = inserted(schema, from, &input, from);
                let plan = Plan::Rank { input: Box::new(input), partition, order, ranks, number, schema, uids };
                Ok(self.at_end(plan, from))
            }
            Plan::Union { inputs, schema: _ } => {
                let inputs = inputs.into_iter().map(|i| self.with(i)).collect::<Result<Vec<_>>>()?;
                let schema = inputs.first().map(|i| i.schema().clone());
                let schema = schema.ok_or_else(|| Error::internal("a UNION without inputs"))?;
                Ok(Plan::Union { inputs, schema })
            }
            Plan::Shared(shared) => self.with(shared.plan.clone()),
            Plan::Scan { .. }
            | Plan::Expand { .. }
            | Plan::Aggregate { .. }
            | Plan::Normalize { .. }
            | Plan::Lookup { .. }
            | Plan::Join { .. }
            | Plan::Window { .. }
            | Plan::Over { .. }
            | Plan::Match { .. }
            | Plan::Sort { .. } => Err(refused()),
        }
    }

    /// Constant rows with the values.
    fn rows(&self, rows: Vec<Vec<Expr>>, schema: &Schema) -> Result<Plan> {
        let with_values = |row: Vec<Expr>| {
            let exprs = row.into_iter().map(|e| self.over(e, 0, &|c| c));
            let mut named: Vec<_> = schema.fields.iter().map(|f| f.name.clone()).zip(exprs).collect();
            named.extend(self.named(&self.values, 0));
            Plan::calc(self.values.clone(), None, named)
        };
        let mut inputs: Vec<Plan> = rows.into_iter().map(with_values).collect();
        let (Some(first), true) = (inputs.first(), inputs.len() > 1) else {
            return inputs.pop().ok_or_else(|| Error::internal("VALUES without rows"));
        };
        Ok(Plan::Union { schema: first.schema().clone(), inputs })
    }

    /// A join with the values. If both sides have them, they are compared.
    fn joined(&self, plan: Plan) -> Result<Plan> {
        let Plan::Join { left, right, kind, mut on, condition, ttl, .. } = plan else { return Err(refused()) };
        let more = self.columns.len();
        let (of_left, of_right) = (left.schema().len(), right.schema().len());
        let in_right = names_outer_columns(&right);
        let in_left = !in_right || kind != JoinKind::Inner || names_outer_columns(&left);
        let left = if in_left { self.with(*left)? } else { *left };
        let right = if in_right { self.with(*right)? } else { *right };
        if in_left && in_right {
            let same = |n| JoinKey { left: of_left + n, right: of_right + n, nulls_equal: true };
            on.extend((0..more).map(same));
        }
        let shift = if in_left { more } else { 0 };
        let from = if in_left { of_left } else { of_left + of_right };
        let condition = condition.map(|e| self.over(e, from, &|c| if c < of_left { c } else { c + shift }));
        let plan = join(kind, left, right, on, None, condition, ttl);
        let all = plan.columns();
        let right = if kind.left_only() { 0 } else { of_right };
        let own = (0..of_left).chain(of_left + shift..of_left + shift + right);
        let named = own.chain(from..from + more).map(|c| all[c].clone()).collect();
        Ok(Plan::calc(plan, None, named))
    }

    /// Moves the columns of the values, which begin at `from`, behind the others.
    fn at_end(&self, plan: Plan, from: usize) -> Plan {
        let mut named = plan.columns();
        let values: Vec<_> = named.drain(from..from + self.columns.len()).collect();
        named.extend(values);
        Plan::calc(plan, None, named)
    }
}

/// A schema with the columns of the values, which an input has from `from` on, in front of the column `at`.
fn inserted(schema: Schema, at: usize, input: &Plan, from: usize) -> Schema {
    let mut fields = schema.fields;
    fields.splice(at..at, input.schema().fields[from..].iter().cloned());
    Schema::new(fields)
}

/// Whether all conditions compare a value of the sub-query with one of the query around for equality.
pub(crate) fn are_equalities(conditions: &[Expr]) -> bool {
    let equal = |c: &Expr| match c {
        Expr::Compare { op: CompareOp::Eq | CompareOp::NotDistinctFrom, left, right } => {
            names_outer(left) != names_outer(right)
        }
        _ => false,
    };
    conditions.iter().all(equal)
}
