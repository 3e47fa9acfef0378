//! Binds set operations. A chain of UNIONs of any length becomes one relation; INTERSECT and EXCEPT become joins of two.

use crate::binder::joins::join;
use crate::binder::{cast_columns, distinct, not_yet};
use crate::names::Binder;
use crate::places::place;
use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier, Spanned};
use weir_core::error::Place;
use weir_core::join::{JoinKey, JoinKind};
use weir_core::{Error, Field, Result, Schema, SqlType, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::functions::{bind, cast_to, common_type};
use weir_expr::{ArithOp, Expr};
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
        while let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } = at {
            let all = match set_quantifier {
                SetQuantifier::All => true,
                SetQuantifier::Distinct | SetQuantifier::None => false,
                _ => return Err(not_yet("BY NAME").at(begin(right))),
            };
            parts.push((right.as_ref(), all));
            at = left;
        }
        if parts.is_empty()
            && let SetExpr::SetOperation { left, op, set_quantifier, right } = at
        {
            return self.compared(left, *op, *set_quantifier, right);
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

impl Binder<'_> {
    /// Binds INTERSECT or EXCEPT.
    fn compared(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
    ) -> Result<Plan> {
        let at = begin(right);
        let common = match op {
            SetOperator::Intersect => true,
            SetOperator::Except | SetOperator::Minus => false,
            SetOperator::Union => return Err(Error::internal("a UNION among other set operations").at(at)),
        };
        let name = if common { "INTERSECT" } else { "EXCEPT" };
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return Err(not_yet("BY NAME").at(at)),
        };
        let (left, right) = (self.set_expr(left)?, self.set_expr(right)?);
        let schema = common_columns(&left, &right, name, at)?;
        let (left, right) = (cast_columns(left, &schema), cast_columns(right, &schema));
        if all {
            return counted(left, right, &schema, common);
        }
        let on = (0..schema.len()).map(|c| JoinKey { left: c, right: c, nulls_equal: true }).collect();
        let kind = if common { JoinKind::Semi } else { JoinKind::Anti };
        Ok(join(kind, distinct(left), right, on, None, None, [None; 2]))
    }
}

/// The columns of a set operation: the names of the first relation, and types to which the columns of both can be cast.
fn common_columns(left: &Plan, right: &Plan, name: &str, at: Option<Place>) -> Result<Schema> {
    let (left, right) = (&left.schema().fields, &right.schema().fields);
    if left.len() != right.len() {
        return Err(Error::script(format!("{name} of {} and {} columns", left.len(), right.len())).at(at));
    }
    let mut fields = vec![];
    for (n, (l, r)) in left.iter().zip(right).enumerate() {
        let ty = common_type(&[l.ty.clone(), r.ty.clone()]).ok_or_else(|| {
            let (a, b) = (&l.ty.kind, &r.ty.kind);
            Error::script(format!("column {} of {name} has types that do not go together: {a} and {b}", n + 1)).at(at)
        })?;
        fields.push(Field::new(l.name.clone(), ty));
    }
    Ok(Schema::new(fields))
}

/// INTERSECT ALL and EXCEPT ALL: counts each row on both sides, and emits it as often as the operation says.
fn counted(left: Plan, right: Plan, schema: &Schema, common: bool) -> Result<Plan> {
    let width = schema.len();
    let number = || SqlType::BIGINT.not_null();
    let one = |n: i64| Expr::literal(Value::Int(n), number());
    let tagged = |plan: Plan, counts: [i64; 2]| {
        let mut named = plan.columns();
        named.extend([("left$".to_string(), one(counts[0])), ("right$".to_string(), one(counts[1]))]);
        Plan::calc(plan, None, named)
    };
    let mut fields = schema.fields.clone();
    fields.extend([Field::new("left$", number()), Field::new("right$", number())]);
    let wide = Schema::new(fields);
    let both = Plan::Union { inputs: vec![tagged(left, [1, 0]), tagged(right, [0, 1])], schema: wide.clone() };
    let sum = |column| {
        let (function, args) = (Aggregate::Sum, vec![column]);
        AggregateCall { function, args, distinct: false, filter: None, ty: number() }
    };
    let counts = Plan::Aggregate {
        input: Box::new(both),
        keys: (0..width).collect(),
        calls: vec![sum(width), sum(width + 1)],
        window: None,
        ttl: None,
        schema: wide,
        uids: StateUids::default(),
    };
    let (l, r) = (Expr::column(width, "left$", number()), Expr::column(width + 1, "right$", number()));
    let call =
        |name: &str, args: Vec<Expr>| bind(name, args)?.ok_or_else(|| Error::internal(format!("there is no {name}")));
    let times = if common {
        call("LEAST", vec![l, r])?
    } else {
        let (left, right) = (Box::new(l), Box::new(r));
        Expr::Arith { op: ArithOp::Subtract, left, right, ty: number() }
    };
    // One element for each time that the row occurs.
    let there = Expr::literal(Value::Bool(true), SqlType::BOOLEAN.not_null());
    let mut named = counts.columns();
    named.truncate(width);
    named.push(("times".to_string(), call("ARRAY_REPEAT", vec![there, times])?));
    let input = Box::new(Plan::calc(counts, None, named));
    let (keep, columns, schema) = ((0..width).collect(), vec![], schema.clone());
    Ok(Plan::Unnest { input, collection: width, keep, columns, left: false, schema })
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
