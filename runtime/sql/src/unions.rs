//! Binds UNION: a chain of queries of any length becomes one relation.

use crate::binder::{cast_columns, distinct, not_yet};
use crate::names::Binder;
use crate::places::place;
use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier, Spanned};
use weir_core::error::Place;
use weir_core::{Error, Field, Result, Schema, SqlType};
use weir_expr::functions::{cast_to, common_type};
use weir_plan::{Plan, StateUids};

/// Maximum number of queries in one relation, since each has threads of its own. All constant rows count as one.
const QUERIES: usize = 1_000;

/// The number of queries from which constant rows are combined.
const MANY: usize = 16;

impl Binder<'_> {
    /// Binds a chain of set operations.
    pub(crate) fn unions(&mut self, chain: &SetExpr) -> Result<Plan> {
        let mut parts: Vec<(&SetExpr, bool)> = vec![];
        let mut at = chain;
        while let SetExpr::SetOperation { left, op, set_quantifier, right } = at {
            if *op != SetOperator::Union {
                return Err(not_yet(&op.to_string()).at(begin(right)));
            }
            let all = match set_quantifier {
                SetQuantifier::All => true,
                SetQuantifier::Distinct | SetQuantifier::None => false,
                _ => return Err(not_yet("BY NAME").at(begin(right))),
            };
            parts.push((right.as_ref(), all));
            at = left;
        }
        parts.push((at, true));
        parts.reverse();
        let first = begin(at);
        let mut plans = vec![];
        for (part, all) in parts {
            plans.push((self.set_expr(part)?, all, begin(part)));
        }
        // A UNION removes duplicates from everything before it, so the last one does this for all.
        let last = plans.iter().rposition(|(_, all, _)| !all);
        let rest = plans.split_off(last.map_or(0, |n| n + 1));
        let plan = match last {
            None => return together(rest, "UNION ALL", first),
            Some(_) => distinct(together(plans, "UNION", first)?),
        };
        if rest.is_empty() {
            return Ok(plan);
        }
        together([(plan, true, first)].into_iter().chain(rest).collect(), "UNION ALL", first)
    }
}

/// The start of a query.
fn begin(e: &SetExpr) -> Option<Place> {
    match e {
        SetExpr::Select(s) => place(s.select_token.0.span.start),
        e => place(e.span().start),
    }
}

/// Combines all rows of all relations.
fn together(plans: Vec<(Plan, bool, Option<Place>)>, name: &str, at: Option<Place>) -> Result<Plan> {
    let first = plans.first().map_or_else(|| Schema::new(vec![]), |(p, ..)| p.schema().clone());
    let mut types: Vec<SqlType> = first.fields.iter().map(|f| f.ty.clone()).collect();
    for (p, _, part_at) in &plans[1..] {
        let schema = p.schema();
        if schema.len() != types.len() {
            let e = Error::script(format!("{name} of {} and {} columns", types.len(), schema.len()));
            return Err(e.at(*part_at));
        }
        for (i, f) in schema.fields.iter().enumerate() {
            types[i] = common_type(&[types[i].clone(), f.ty.clone()]).ok_or_else(|| {
                let (a, b) = (&types[i].kind, &f.ty.kind);
                Error::script(format!("column {} of {name} has types that do not go together: {a} and {b}", i + 1))
                    .at(*part_at)
            })?;
        }
    }
    let fields = first.fields.iter().zip(&types).map(|(f, ty)| Field::new(f.name.clone(), ty.clone()));
    let schema = Schema::new(fields.collect());
    let many = plans.len() > MANY;
    let mut inputs: Vec<Plan> = vec![];
    for (plan, ..) in plans {
        let plan = match plan {
            // A nested union becomes part of this one.
            Plan::Union { inputs: within, schema: s } if same_kinds(&s, &schema) => {
                inputs.extend(within);
                continue;
            }
            plan if many => match constant_rows(plan, &types) {
                Ok(mut rows) => {
                    match inputs.last_mut() {
                        Some(Plan::Values { rows: before, .. }) => before.append(&mut rows),
                        _ => inputs.push(Plan::Values { rows, schema: schema.clone(), uids: StateUids::default() }),
                    }
                    continue;
                }
                Err(plan) => plan,
            },
            plan => plan,
        };
        inputs.push(cast_columns(plan, &schema));
    }
    if inputs.len() > QUERIES {
        let e = Error::script(format!("{name} of {} queries is too long: {QUERIES} is the limit", inputs.len())).at(at);
        return Err(e.hint("put constant rows into VALUES; let several jobs write the same table"));
    }
    match inputs.len() {
        1 if matches!(inputs[0], Plan::Values { .. }) => inputs.pop().ok_or_else(|| Error::internal("an empty union")),
        _ => Ok(Plan::Union { inputs, schema }),
    }
}

fn same_kinds(a: &Schema, b: &Schema) -> bool {
    a.fields.iter().zip(&b.fields).all(|(x, y)| x.ty.kind == y.ty.kind)
}

/// The rows of a relation that only consists of constants, cast to types; otherwise the relation itself.
#[expect(clippy::result_large_err, reason = "the relation goes on as it came")]
fn constant_rows(plan: Plan, types: &[SqlType]) -> std::result::Result<Vec<Vec<weir_expr::Expr>>, Plan> {
    let constant = |exprs: &[weir_expr::Expr]| exprs.iter().all(weir_expr::Expr::constant);
    let rows = match plan {
        Plan::Values { rows, .. } if rows.iter().all(|r| constant(r)) => rows,
        Plan::Calc { input, condition: None, exprs, schema } => match *input {
            Plan::Values { rows, .. } if rows.len() == 1 && rows[0].is_empty() && constant(&exprs) => vec![exprs],
            input => return Err(Plan::Calc { input: Box::new(input), condition: None, exprs, schema }),
        },
        other => return Err(other),
    };
    Ok(rows.into_iter().map(|r| r.into_iter().zip(types).map(|(e, ty)| cast_to(e, ty)).collect()).collect())
}
