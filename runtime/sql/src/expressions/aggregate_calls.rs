//! Binds calls of aggregates: where they are allowed, and which arguments are part of the aggregate itself.

use super::calls::{arguments, no_argument};
use super::conditions::truth;
use super::illegal_null;
use super::literals::boolean;
use crate::aggregates::{Collected, Collector};
use crate::forms::{Aggregated, OnNull};
use crate::names::{Binder, Scope};
use sqlparser::ast::{
    DuplicateTreatment, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
};
use weir_core::{Error, Result, SqlType, Value};
use weir_expr::Expr;
use weir_expr::aggregate::Aggregate;
use weir_expr::functions::cast_to;

/// The fractions of PERCENTILE, as bits, and whether they were given as a list.
fn percentile(wanted: Expr) -> Result<(Vec<u64>, bool)> {
    let wanted = Some(wanted).filter(Expr::constant);
    // Numbers do not depend on the session.
    let wanted = wanted.map(|e| weir_expr::eval::constant(&e, &Default::default())).transpose()?;
    let (list, several) = match wanted.unwrap_or(Value::Null) {
        Value::List(list) => (list, true),
        one => (vec![one], false),
    };
    let fractions: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
    if fractions.len() != list.len() || !fractions.iter().all(|f| (0.0..=1.0).contains(f)) {
        return Err(Error::script("PERCENTILE's fraction is a constant from 0 to 1, or an array of such"));
    }
    Ok((fractions.into_iter().map(f64::to_bits).collect(), several))
}

/// Checks that an aggregate is allowed here.
fn may_stand(name: &str, agg: &Option<&mut Collector>) -> Result<()> {
    match agg {
        None => Err(Error::script(format!("the aggregate {name} cannot stand here"))
            .hint("aggregates go into SELECT and HAVING; filter groups by HAVING, not WHERE")),
        Some(c) if c.inside => Err(Error::script(format!("aggregates cannot be nested: {name} inside an aggregate"))
            .hint("compute the inner one in a sub-query")),
        Some(_) => Ok(()),
    }
}

/// Adds a call to the collector, and returns the column of its result.
fn noted(call: Collected, agg: &mut Option<&mut Collector>) -> Result<Expr> {
    match agg {
        Some(c) => Ok(c.add(call)),
        None => Err(Error::internal("an aggregate without a collector")),
    }
}

/// Determines the result type of a call.
fn collect(function: Aggregate, args: Vec<Expr>, filter: Option<Expr>, distinct: bool) -> Result<Collected> {
    if args.iter().any(|b| b.ty().is_null()) {
        return Err(illegal_null());
    }
    let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
    let mut ty = function.result_type(&types)?;
    if filter.is_some() && !matches!(function, Aggregate::Count | Aggregate::CountStar) {
        ty.nullable = true;
    }
    // Duplicates do not affect these functions.
    let distinct = distinct && !matches!(function, Aggregate::Min | Aggregate::Max | Aggregate::CountStar);
    Ok(Collected { function, args, distinct, filter, ty })
}

impl Binder<'_> {
    /// Binds a call of an aggregate, adds it to the collector, and returns the column of its result.
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        function: &mut Aggregate,
        f: &Function,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        may_stand(name, agg)?;
        // An aggregate cannot be nested in another one.
        let mut inside = Collector { inside: true, ..Collector::default() };
        let call = self.collected(name, function, f, scope, &mut Some(&mut inside))?;
        noted(call, agg)
    }

    /// Binds an aggregate with its arguments. `inside` is the collector for the arguments.
    pub(crate) fn collected(
        &mut self,
        name: &str,
        function: &mut Aggregate,
        f: &Function,
        scope: &Scope,
        inside: &mut Option<&mut Collector>,
    ) -> Result<Collected> {
        let (duplicates, clauses) = match &f.args {
            FunctionArguments::List(l) => (l.duplicate_treatment, l.clauses.as_slice()),
            _ => (None, &[][..]),
        };
        if clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_))) || !f.within_group.is_empty() {
            return Err(Error::script(format!("ORDER BY inside {name} is not yet supported")));
        }
        let mut bound = vec![];
        for a in arguments(f) {
            match a {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if *function == Aggregate::Count => {
                    *function = Aggregate::CountStar;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => {
                    bound.push(self.expr(e, scope, inside)?);
                }
                other => return Err(no_argument(name, other)),
            }
        }
        let bound = self.settle(function, bound)?;
        let filter = self.filter(f.filter.as_deref(), scope)?;
        let distinct = duplicates == Some(DuplicateTreatment::Distinct);
        collect(function.clone(), bound, filter, distinct)
    }

    /// Does the same for JSON_OBJECTAGG and JSON_ARRAYAGG.
    pub(super) fn json_aggregate(
        &mut self,
        of: &Aggregated,
        on_null: OnNull,
        filter: Option<&Ast>,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        let absent_on_null = on_null == OnNull::Absent;
        let (function, args) = match of {
            Aggregated::Object { key, value } => (Aggregate::JsonObjectAgg { absent_on_null }, vec![key, value]),
            Aggregated::Array { item } => (Aggregate::JsonArrayAgg { absent_on_null }, vec![item]),
        };
        may_stand(function.name(), agg)?;
        let mut inside = Collector { inside: true, ..Collector::default() };
        let bound = args.into_iter().map(|e| self.expr(e, scope, &mut Some(&mut inside))).collect::<Result<_>>()?;
        let filter = self.filter(filter, scope)?;
        noted(collect(function, bound, filter, false)?, agg)
    }

    /// Binds the condition of a FILTER.
    fn filter(&mut self, condition: Option<&Ast>, scope: &Scope) -> Result<Option<Expr>> {
        let mut inside = Collector { inside: true, ..Collector::default() };
        let condition = condition.map(|c| self.expr(c, scope, &mut Some(&mut inside))).transpose()?;
        condition.map(|c| truth(c, "FILTER")).transpose()
    }

    /// Moves those arguments that are parameters of the aggregate into the aggregate itself.
    fn settle(&mut self, function: &mut Aggregate, mut bound: Vec<Expr>) -> Result<Vec<Expr>> {
        let constant = |e: &Expr| match e {
            Expr::Literal { value: Value::Text(s), .. } => Some(s.to_string()),
            _ => None,
        };
        match function {
            Aggregate::ListAgg { separator } if bound.len() == 2 => {
                *separator = constant(&bound.remove(1))
                    .ok_or_else(|| Error::script("LISTAGG's separator is a constant text"))?;
            }
            Aggregate::Lag { offset } => {
                if bound.len() > 1 {
                    let n = bound.remove(1);
                    *offset = match &n {
                        Expr::Literal { value: Value::Int(n), .. } if *n >= 0 => n.unsigned_abs(),
                        _ => return Err(Error::script(format!("LAG goes back by a constant number of rows, not {n}"))),
                    };
                }
                if bound.len() == 2 {
                    let ty = bound[0].ty();
                    let default = bound.remove(1);
                    bound.push(cast_to(default, &ty.nullable(true)));
                }
            }
            Aggregate::Percentile { fractions, several } if (2..=3).contains(&bound.len()) => {
                (*fractions, *several) = percentile(bound.remove(1))?;
                let value = bound.remove(0);
                bound.insert(0, if value.ty().is_numeric() { cast_to(value, &SqlType::DOUBLE) } else { value });
            }
            Aggregate::Percentile { .. } => {
                return Err(Error::script(format!("PERCENTILE takes 2 or 3 arguments, not {}", bound.len()))
                    .hint("a value, a fraction or an array of them, and how often the value counts"));
            }
            // COUNT of several columns counts the rows in which none of them is NULL.
            Aggregate::Count if bound.len() > 1 => {
                let row = bound.iter().map(|b| Expr::Not(Box::new(Expr::IsNull(Box::new(b.clone())))));
                let known = Expr::all_of(row).unwrap_or_else(|| boolean(true));
                let row = self.call("ROW", bound)?;
                let ty = row.ty().nullable(true);
                let none = Expr::literal(Value::Null, ty.clone());
                bound = vec![Expr::Case { branches: vec![(known, row)], otherwise: Box::new(none), ty }];
            }
            _ => {}
        }
        Ok(bound)
    }
}
