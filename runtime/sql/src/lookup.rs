//! Binds lookup joins: `JOIN dim FOR SYSTEM_TIME AS OF o.proctime AS d ON o.id = d.id`.

use crate::catalog::{Table, place_of};
use crate::expressions::truth;
use crate::names::{Binder, Scope};
use crate::plan::Plan;
use crate::statement::place;
use sqlparser::ast::{Join, JoinConstraint, JoinOperator, ObjectName, Spanned, TableAlias, TableFactor, TableVersion};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::{Error, Field, Result, Schema, TypeKind, Value};
use weir_expr::functions::cast_to;
use weir_expr::{CompareOp, Expr};

/// The parts of a lookup join.
pub(crate) struct Parts<'a> {
    name: &'a ObjectName,
    alias: Option<&'a TableAlias>,
    time: &'a sqlparser::ast::Expr,
    on: &'a sqlparser::ast::Expr,
    left: bool,
}

/// Takes a join apart, if it is one with a table as of a time.
///
/// # Errors
/// When it is one, of a kind that there is not.
pub(crate) fn parts(join: &Join) -> Result<Option<Parts<'_>>> {
    let TableFactor::Table { name, alias, version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } = &join.relation
    else {
        return Ok(None);
    };
    let at = place(join.relation.span().start);
    let (constraint, left) = match &join.join_operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => (c, false),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (c, true),
        _ => {
            let e = Error::script("FOR SYSTEM_TIME AS OF goes with JOIN and LEFT JOIN").at(at);
            return Err(e.hint("what is looked up follows the rows on the left; turn the join around"));
        }
    };
    let JoinConstraint::On(on) = constraint else {
        return Err(Error::script("a lookup join needs ON with the columns to look up by").at(at));
    };
    Ok(Some(Parts { name, alias: alias.as_ref(), time, on, left }))
}

fn conjuncts(e: Expr, out: &mut Vec<Expr>) {
    match e {
        Expr::And(a, b) => {
            conjuncts(*a, out);
            conjuncts(*b, out);
        }
        e => out.push(e),
    }
}

/// The column that an expression is, maybe cast for a comparison.
fn column(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, .. } => column(expr),
        _ => None,
    }
}

impl Binder<'_> {
    /// Binds a lookup join onto what is to its left.
    pub(crate) fn lookup(&mut self, input: Plan, scope: Scope, parts: &Parts<'_>) -> Result<(Plan, Scope)> {
        let at = place_of(parts.name);
        let time = self.expr(parts.time, &scope, &mut None)?;
        if !matches!(time.ty().kind, TypeKind::TimestampLtz(_)) {
            let e = Error::script(format!("{time} is {}, and no processing time", time.ty().kind));
            let e = e.at(place(parts.time.span().start));
            return Err(e.hint("declare a column `proctime AS PROCTIME()` in the table on the left, and name it here"));
        }
        let table: Arc<Table> = self.catalog.table(parts.name)?.clone();
        if table.columns.iter().any(|(_, computed)| computed.is_some()) {
            let e = Error::script(format!("'{}' has computed columns, and cannot be looked up in as yet", parts.name));
            return Err(e.at(at));
        }
        let qualifier = parts.alias.map_or_else(|| table.name.clone(), |a| a.name.value.clone());
        let width = input.schema().len();
        let mut both = scope.clone();
        for f in &table.physical.fields {
            let ty = f.ty.clone().nullable(f.ty.nullable || parts.left);
            both.columns.push((Some(qualifier.clone()), Field::new(f.name.clone(), ty)));
        }
        let condition = truth(self.expr(parts.on, &both, &mut None)?, "ON")?;
        let mut all = vec![];
        conjuncts(condition, &mut all);
        let of = |e: &Expr| {
            let mut used = BTreeSet::new();
            e.columns(&mut used);
            used
        };
        // Equalities of a column there with something here are looked up by; the rest is checked afterwards.
        let (mut on, mut rest): (Vec<(Expr, usize)>, Vec<Expr>) = (vec![], vec![]);
        for e in all {
            let equal = match &e {
                Expr::Compare { op: CompareOp::Eq, left, right } => {
                    [(left, right), (right, left)].into_iter().find_map(|(there, here)| {
                        let column = column(there).filter(|c| *c >= width)? - width;
                        of(here).iter().all(|c| *c < width).then(|| (here.as_ref().clone(), column))
                    })
                }
                _ => None,
            };
            match equal {
                Some((here, there)) if !on.iter().any(|(_, c)| *c == there) => {
                    // What does not fit the column there equals nothing in it.
                    let ty = table.physical.fields[there].ty.clone().nullable(true);
                    let here = match cast_to(here, &ty) {
                        Expr::Cast { expr, ty, .. } => Expr::Cast { expr, ty, safe: true },
                        e => e,
                    };
                    on.push((here, there));
                }
                _ => rest.push(e),
            }
        }
        let on_at = place(parts.on.span().start);
        if on.is_empty() {
            let e = Error::script(format!("ON has no equality with a column of '{}'", parts.name)).at(on_at);
            return Err(e.hint("a lookup join asks the table by the values of its columns"));
        }
        // At most one row is found by a whole key: a condition that it fails leaves the row on the left alone.
        let one = !table.primary_key.is_empty() && table.primary_key.iter().all(|k| on.iter().any(|(_, c)| c == k));
        if parts.left && !rest.is_empty() && !one {
            let e = Error::script(
                "a LEFT lookup join takes more than equalities in ON only with the table's whole primary key",
            );
            return Err(e
                .at(on_at)
                .hint("declare the key of the table that is looked up, and compare all of its columns"));
        }
        let mut named = input.columns();
        let keys: Vec<(usize, usize)> = on.iter().enumerate().map(|(i, (_, there))| (width + i, *there)).collect();
        named.extend(on.into_iter().enumerate().map(|(i, (e, _))| (format!("key${i}"), e)));
        let input = Plan::calc(input, None, named);
        let schema = Schema::new(both.columns.iter().map(|(_, f)| f.clone()).collect());
        let columns = (0..table.physical.len()).collect();
        let (keep, left) = ((0..width).collect(), parts.left);
        let mut plan = Plan::Lookup { input: Box::new(input), table, on: keys, left, keep, columns, schema };
        let rest = rest.into_iter().reduce(|a, b| Expr::And(Box::new(a), Box::new(b)));
        if let Some(rest) = rest {
            let mut columns = plan.columns();
            let condition = if parts.left {
                for (_, e) in columns.iter_mut().skip(width) {
                    let ty = e.ty();
                    let otherwise = Box::new(Expr::literal(Value::Null, ty.clone()));
                    let kept = std::mem::replace(e, Expr::literal(Value::Null, ty.clone()));
                    *e = Expr::Case { branches: vec![(rest.clone(), kept)], otherwise, ty };
                }
                None
            } else {
                Some(rest)
            };
            plan = Plan::calc(plan, condition, columns);
        }
        Ok((plan, both))
    }
}
