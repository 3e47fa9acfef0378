//! Calls of aggregates: where they may stand, and what of their arguments is settled while they are bound.

use super::calls::{arguments, no_argument};
use super::conditions::truth;
use super::illegal_null;
use super::literals::boolean;
use crate::aggregates::{Collected, Collector};
use crate::names::{Binder, Scope};
use sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
};
use weir_core::{Error, Result, SqlType, Value};
use weir_expr::Expr;
use weir_expr::aggregate::Aggregate;
use weir_expr::functions::cast_to;

/// The fractions of PERCENTILE, as bits, and whether there may be several of them.
fn percentile(wanted: Expr) -> Result<(Vec<u64>, bool)> {
    let wanted = Some(wanted).filter(Expr::constant);
    // No session matters to numbers.
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

impl Binder<'_> {
    /// Notes a call of an aggregate in the collector, and gives the column that its result will be.
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        function: &mut Aggregate,
        f: &Function,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Expr> {
        match agg {
            None => {
                return Err(Error::script(format!("the aggregate {name} cannot stand here"))
                    .hint("aggregates go into SELECT and HAVING; filter groups by HAVING, not WHERE"));
            }
            Some(c) if c.inside => {
                return Err(Error::script(format!("aggregates cannot be nested: {name} inside an aggregate"))
                    .hint("compute the inner one in a sub-query"));
            }
            Some(_) => {}
        }
        let (duplicates, clauses) = match &f.args {
            FunctionArguments::List(l) => (l.duplicate_treatment, l.clauses.as_slice()),
            _ => (None, &[][..]),
        };
        if clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_))) || !f.within_group.is_empty() {
            return Err(Error::script(format!("ORDER BY inside {name} is not yet supported")));
        }
        let mut bound = vec![];
        let mut inside = Collector { inside: true, ..Collector::default() };
        for a in arguments(f) {
            match a {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if *function == Aggregate::Count => {
                    *function = Aggregate::CountStar;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => {
                    bound.push(self.expr(e, scope, &mut Some(&mut inside))?);
                }
                other => return Err(no_argument(name, other)),
            }
        }
        let filter = match &f.filter {
            Some(c) => Some(truth(self.expr(c, scope, &mut Some(&mut inside))?, "FILTER")?),
            None => None,
        };
        let bound = self.settle(function, bound)?;
        if bound.iter().any(|b| b.ty().is_null()) {
            return Err(illegal_null());
        }
        let types: Vec<SqlType> = bound.iter().map(Expr::ty).collect();
        let mut ty = function.result_type(&types)?;
        if filter.is_some() && !matches!(function, Aggregate::Count | Aggregate::CountStar) {
            ty.nullable = true;
        }
        // Equal values change nothing for these.
        let distinct = duplicates == Some(DuplicateTreatment::Distinct)
            && !matches!(function, Aggregate::Min | Aggregate::Max | Aggregate::CountStar);
        let call = Collected { function: function.clone(), args: bound, distinct, filter, ty };
        match agg {
            Some(c) => Ok(c.add(call)),
            None => Err(Error::internal("an aggregate without a collector")),
        }
    }

    /// Takes out of an aggregate's arguments what belongs to the aggregate itself.
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
            Aggregate::JsonObjectAgg { absent_on_null } | Aggregate::JsonArrayAgg { absent_on_null } => {
                *absent_on_null = constant(&bound.remove(0)).as_deref() == Some("ABSENT");
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
            // COUNT of several columns counts the rows in which none is NULL.
            Aggregate::Count if bound.len() > 1 => {
                let row = bound.iter().map(|b| Expr::Not(Box::new(Expr::IsNull(Box::new(b.clone())))));
                let known = row.reduce(|a, b| Expr::And(Box::new(a), Box::new(b))).unwrap_or_else(|| boolean(true));
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
