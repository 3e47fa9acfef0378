//! Binds UNNEST: `CROSS JOIN UNNEST(t.tags) AS u (tag)`, the same after a comma, and LEFT JOIN … ON TRUE.

use crate::binder::not_yet;
use crate::catalog::idents;
use crate::expressions::truth;
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use crate::words::check_name;
use sqlparser::ast::{
    Expr as Ast, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, Spanned, TableAlias, TableFactor,
    Value as Literal,
};
use weir_core::error::Place;
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind};
use weir_expr::Expr;
use weir_plan::Plan;

/// The parts of an UNNEST.
pub(crate) struct Parts<'a> {
    collection: &'a Ast,
    alias: Option<&'a TableAlias>,
    ordinality: bool,
    left: bool,
    on: Option<&'a Ast>,
}

/// The parts of a relation in FROM, if it is an UNNEST.
///
/// # Errors
/// If it is an UNNEST that does not have exactly one argument.
pub(crate) fn parts(factor: &TableFactor) -> Result<Option<Parts<'_>>> {
    let TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } = factor else { return Ok(None) };
    match idents(name).as_slice() {
        [one] if one.quote_style.is_none() && one.value.eq_ignore_ascii_case("UNNEST") => {}
        _ => return Ok(None),
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(collection))] = args.args.as_slice() else {
        let e = Error::script("UNNEST takes one argument: an ARRAY, a MAP or a MULTISET");
        return Err(e.at(place(factor.span().start)));
    };
    Ok(Some(Parts { collection, alias: alias.as_ref(), ordinality: *with_ordinality, left: false, on: None }))
}

/// The parts of a join, if it is a join with an UNNEST.
///
/// # Errors
/// If it is such a join, but of an unsupported kind.
pub(crate) fn joined(join: &Join) -> Result<Option<Parts<'_>>> {
    let Some(parts) = parts(&join.relation)? else { return Ok(None) };
    let at = place(join.relation.span().start);
    let (constraint, left) = match &join.join_operator {
        JoinOperator::CrossJoin(c) | JoinOperator::Join(c) | JoinOperator::Inner(c) => (c, false),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (c, true),
        _ => {
            let e = Error::script("UNNEST goes with CROSS JOIN, JOIN and LEFT JOIN").at(at);
            return Err(e.hint("its elements are those of the rows on the left"));
        }
    };
    let on = match (constraint, &join.join_operator) {
        (JoinConstraint::None, JoinOperator::CrossJoin(_)) => None,
        (JoinConstraint::On(on), _) => Some(on),
        _ => return Err(Error::script("a join with UNNEST needs a condition").at(at).hint("write ON TRUE")),
    };
    if let Some(on) = on.filter(|on| left && !is_true(on)) {
        return Err(not_yet("LEFT JOIN UNNEST with a condition other than TRUE").at(place(start(on))));
    }
    Ok(Some(Parts { left, on: on.filter(|on| !is_true(on)), ..parts }))
}

pub(crate) fn is_true(e: &Ast) -> bool {
    matches!(e, Ast::Value(v) if v.value == Literal::Boolean(true))
}

/// The columns of an element.
fn columns_of(collection: &Expr, at: Option<Place>) -> Result<Vec<Field>> {
    match collection.ty().kind {
        TypeKind::Array(item) | TypeKind::Multiset(item) => Ok(match item.kind {
            TypeKind::Row(fields) => fields,
            _ => vec![Field::new("EXPR$0", *item)],
        }),
        TypeKind::Map(key, value) => Ok(vec![Field::new("KEY", *key), Field::new("VALUE", *value)]),
        other => Err(Error::script(format!("UNNEST takes an ARRAY, a MAP or a MULTISET, not {other}")).at(at)),
    }
}

/// Names the columns by the alias. Without a list of names, a single column has the name of the relation.
fn name_columns(mut fields: Vec<Field>, elements: usize, alias: &TableAlias) -> Result<Vec<Field>> {
    [&alias.name].into_iter().chain(alias.columns.iter().map(|c| &c.name)).try_for_each(check_name)?;
    match alias.columns.as_slice() {
        [] if elements == 1 && fields[0].name == "EXPR$0" => fields[0].name.clone_from(&alias.name.value),
        [] => {}
        names if names.len() == fields.len() => {
            fields.iter_mut().zip(names).for_each(|(f, n)| f.name.clone_from(&n.name.value));
        }
        names => {
            let e = Error::script(format!("{} names for {} columns", names.len(), fields.len()));
            return Err(e.at(place(names[0].name.span.start)));
        }
    }
    Ok(fields)
}

impl Binder<'_> {
    /// Binds an UNNEST to the relation on its left.
    pub(crate) fn unnest(&mut self, input: Plan, scope: Scope, parts: &Parts<'_>) -> Result<(Plan, Scope)> {
        let at = place(start(parts.collection));
        let collection = self.expr(parts.collection, &scope, &mut None)?;
        let mut fields = columns_of(&collection, at)?;
        let elements = fields.len();
        if parts.ordinality {
            fields.push(Field::new("ORDINALITY", SqlType::INT.not_null()));
        }
        if parts.left {
            fields.iter_mut().for_each(|f| f.ty = f.ty.clone().nullable(true));
        }
        if let Some(alias) = parts.alias {
            fields = name_columns(fields, elements, alias)?;
        }
        self.spend(fields.len(), 0)?;
        let width = input.schema().len();
        let (input, column) = match collection {
            Expr::Column { index, .. } if index < width => (input, index),
            computed => {
                let mut named = input.columns();
                named.push(("collection$".to_string(), computed));
                (Plan::calc(input, None, named), width)
            }
        };
        let mut both = scope;
        let qualifier = parts.alias.map(|a| a.name.value.clone());
        both.columns.extend(fields.into_iter().map(|f| (qualifier.clone(), f)));
        let schema = Schema::new(both.columns.iter().map(|(_, f)| f.clone()).collect());
        let mut plan = Plan::Unnest {
            input: Box::new(input),
            collection: column,
            keep: (0..width).collect(),
            columns: (0..schema.len() - width).collect(),
            left: parts.left,
            schema,
        };
        if let Some(on) = parts.on {
            let condition = truth(self.expr(on, &both, &mut None)?, "ON")?;
            let columns = plan.columns();
            plan = Plan::calc(plan, Some(condition), columns);
        }
        Ok((plan, both))
    }
}
