//! Binds sub-queries in expressions: scalar ones, IN and EXISTS. They are collected while expressions are bound, and then joined to the
//! relation whose rows the expressions read.

use super::from::aliased;
use super::joins::{join, parts};
use super::{distinct, not_yet};
use crate::aggregates::Collector;
use crate::correlated::{decorrelated, has_one_row, inner_columns, moved, of_no_rows, replaced};
use crate::names::{Binder, Scope};
use crate::outer_values::{PerValue, are_equalities, per_value, put_values, values_of};
use crate::places::{place, start};
use crate::sub_queries::{Kind, SubQuery, number, outer, placeholder};
use crate::unnest::is_true;
use sqlparser::ast::{BinaryOperator, Expr as Ast, Join, JoinConstraint, Query, Spanned, TableAlias};
use std::collections::{BTreeMap, BTreeSet};
use weir_core::error::Place;
use weir_core::join::JoinKind;
use weir_core::{Error, Field, Result, Schema, SqlType, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::functions::bind;
use weir_expr::{CompareOp, Expr};
use weir_plan::{Plan, StateUids};

fn not(e: Expr) -> Expr {
    Expr::Not(Box::new(e))
}

fn is_null(e: Expr) -> Expr {
    Expr::IsNull(Box::new(e))
}

fn truth(value: bool) -> Expr {
    Expr::literal(Value::Bool(value), SqlType::BOOLEAN.not_null())
}

/// Turns an expression over the query around into one over the relation to which sub-queries are joined.
type ToOuter<'a> = &'a dyn Fn(Expr) -> Result<Expr>;

impl Binder<'_> {
    /// Binds a sub-query in an expression, and returns the expression that stands for it.
    pub(crate) fn sub_query(&mut self, ast: &Ast, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let at = place(start(ast));
        let mut values = |expr: &Ast| match expr {
            Ast::Tuple(items) => items.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>(),
            one => Ok(vec![self.expr(one, scope, agg)?]),
        };
        let (kind, query, negated) = match ast {
            Ast::Subquery(q) => (Kind::Scalar, q, false),
            Ast::Exists { subquery, negated } => (Kind::Exists, subquery, *negated),
            Ast::InSubquery { expr, subquery, negated } => {
                (Kind::Any(values(expr)?, BinaryOperator::Eq), subquery, *negated)
            }
            Ast::AnyOp { left, compare_op, right, .. } => match right.as_ref() {
                Ast::Subquery(q) => (Kind::Any(values(left)?, compare_op.clone()), q, false),
                _ => return Err(not_yet("ANY and SOME of something else than a sub-query").at(at)),
            },
            // A comparison holds for all rows if the opposite holds for none.
            Ast::AllOp { left, compare_op, right } => match (right.as_ref(), opposite(compare_op)) {
                (Ast::Subquery(q), Some(op)) => (Kind::Any(values(left)?, op), q, true),
                _ => return Err(not_yet("ALL of something else than a comparison with a sub-query").at(at)),
            },
            _ => return Err(Error::internal("no sub-query")),
        };
        if self.sub_queries.is_none() {
            return Err(not_yet("a sub-query here").at(at));
        }
        let plan = self.within_scope(query, scope)?;
        let visible = plan.schema().len();
        let wanted = match &kind {
            Kind::Exists => visible,
            Kind::Scalar => 1,
            Kind::Any(values, _) => values.len(),
        };
        if visible != wanted {
            let e = Error::script(format!("this sub-query has {visible} columns where {wanted} can be used")).at(at);
            return Err(e.hint("select as many columns as it is compared with"));
        }
        let ty = match kind {
            Kind::Scalar => plan.schema().fields[0].ty.clone().nullable(true),
            Kind::Exists => SqlType::BOOLEAN.not_null(),
            Kind::Any(..) => SqlType::BOOLEAN,
        };
        let of_no_rows = of_no_rows(&plan);
        if matches!(kind, Kind::Exists) && of_no_rows.is_some() {
            // An aggregation without keys always has a row.
            return Ok(truth(!negated));
        }
        let of_no_rows = of_no_rows.and_then(|all| all.into_iter().next());
        let single_of_many = matches!(kind, Kind::Scalar) && !has_one_row(&plan);
        let moved = decorrelated(plan.clone());
        let sub = match moved.ok().filter(|(_, conditions)| !single_of_many || are_equalities(conditions)) {
            Some((moved, correlation)) => {
                // Before a relation has rows, what an aggregation of it is, is not known.
                let of_no_rows = of_no_rows.filter(|_| !correlation.is_empty());
                SubQuery { kind, plan: moved, correlation, values: vec![], whole: plan, of_no_rows, place: at }
            }
            None => {
                let PerValue { plan: of_values, correlation, columns: values } =
                    per_value(plan.clone()).map_err(|e| e.at(at))?;
                SubQuery { kind, plan: of_values, correlation, values, whole: plan, of_no_rows, place: at }
            }
        };
        let sub = if single_of_many { single(sub)? } else { sub };
        let all = self.sub_queries.get_or_insert_default();
        all.push(Some(sub));
        let e = placeholder(all.len() - 1, ty);
        Ok(if negated { not(e) } else { e })
    }

    /// Binds a query that may name columns of the query around it.
    pub(super) fn within_scope(&mut self, query: &Query, scope: &Scope) -> Result<Plan> {
        let around = self.outer.replace(scope.clone());
        let plan = self.query(query);
        self.outer = around;
        plan
    }

    /// Applies a condition with sub-queries to a relation. Returns what is left of the condition.
    pub(super) fn filter_by(&mut self, mut plan: Plan, condition: Expr) -> Result<(Plan, Option<Expr>)> {
        let mut rest = vec![];
        for e in condition.conjuncts() {
            let (inner, anti) = match &e {
                Expr::Not(inner) => (inner.as_ref(), true),
                e => (e, false),
            };
            match number(inner).map(|n| self.is_scalar(n)) {
                Some(false) => {
                    let sub = self.taken(inner)?;
                    plan = self.semi(plan, sub, anti)?;
                }
                _ => rest.push(e),
            }
        }
        let (plan, rest) = self.attach(plan, rest, &Ok)?;
        Ok((plan, Expr::all_of(rest)))
    }

    fn is_scalar(&self, number: usize) -> bool {
        let all = self.sub_queries.iter().flatten();
        all.skip(number).take(1).flatten().any(|s| matches!(s.kind, Kind::Scalar))
    }

    fn taken(&mut self, placeholder: &Expr) -> Result<SubQuery> {
        let sub = number(placeholder).and_then(|n| self.sub_queries.as_mut()?.get_mut(n)?.take());
        sub.ok_or_else(|| Error::internal("a lost sub-query"))
    }

    /// Keeps the rows for which a sub-query has (or has no) rows.
    fn semi(&mut self, plan: Plan, sub: SubQuery, anti: bool) -> Result<Plan> {
        let (plan, sub) = self.with_values(plan, sub, &Ok)?;
        let width = plan.schema().len();
        let mut conditions = joined(&sub.correlation, width, &Ok)?;
        let mut right = sub.plan;
        if let Kind::Any(values, op) = sub.kind {
            for (n, value) in values.into_iter().enumerate() {
                let f = &right.schema().fields[n];
                let there = Expr::column(width + n, f.name.clone(), f.ty.clone());
                let nullable = value.ty().nullable || f.ty.nullable;
                let equal = self.binary(value, &op, there).map_err(|e| e.at(sub.place))?;
                // NOT IN is not true where a comparison is unknown.
                conditions.push(if anti && nullable {
                    Expr::Compare { op: CompareOp::DistinctFrom, left: Box::new(equal), right: Box::new(truth(false)) }
                } else {
                    equal
                });
            }
        }
        if conditions.is_empty() {
            right = any_row(right);
        }
        let kind = if anti { JoinKind::Anti } else { JoinKind::Semi };
        Ok(join(kind, plan, right, vec![], None, Expr::all_of(conditions), [None; 2]))
    }

    /// Joins the sub-queries of expressions to a relation, and replaces them by columns. The relation's own columns stay the first ones.
    pub(super) fn attach(
        &mut self,
        mut plan: Plan,
        exprs: Vec<Expr>,
        to_outer: ToOuter<'_>,
    ) -> Result<(Plan, Vec<Expr>)> {
        let mut numbers = BTreeSet::new();
        for e in &exprs {
            collect(e, &mut numbers);
        }
        let mut values: BTreeMap<usize, Expr> = BTreeMap::new();
        for n in numbers {
            let sub = self.taken(&placeholder(n, SqlType::BOOLEAN))?;
            let (joined, value) = self.attach_one(plan, sub, to_outer)?;
            plan = joined;
            values.insert(n, value);
        }
        let put = |e: Expr| e.rewrite(&mut |e| number(&e).and_then(|n| values.get(&n).cloned()).unwrap_or(e));
        Ok((plan, exprs.into_iter().map(put).collect()))
    }

    /// Puts the values of the rows of a relation into a sub-query that is evaluated for all of them together.
    fn with_values(&mut self, plan: Plan, mut sub: SubQuery, to_outer: ToOuter<'_>) -> Result<(Plan, SubQuery)> {
        if sub.values.is_empty() {
            return Ok((plan, sub));
        }
        let plan = self.read_twice(plan).map_err(|e| e.at(sub.place))?;
        let exprs = std::mem::take(&mut sub.values).into_iter().map(to_outer).collect::<Result<_>>()?;
        put_values(&mut sub.plan, &values_of(plan.clone(), exprs))?;
        Ok((plan, sub))
    }

    /// Shares a relation that has two readers. One whose rows differ for each reader is there twice, and counts twice.
    fn read_twice(&mut self, plan: Plan) -> Result<Plan> {
        let plan = self.shared(plan);
        if !matches!(plan, Plan::Shared(_)) {
            let (mut expressions, mut scans) = (0, 0);
            plan.each(&mut |p| {
                expressions += p.schema().len();
                scans += usize::from(p.table().is_some());
            });
            self.spend(expressions, scans)?;
        }
        Ok(plan)
    }

    fn attach_one(&mut self, plan: Plan, mut sub: SubQuery, to_outer: ToOuter<'_>) -> Result<(Plan, Expr)> {
        // A row may satisfy other conditions with several values of the columns that they read.
        if !matches!(sub.kind, Kind::Scalar) && !are_equalities(&sub.correlation) {
            let PerValue { plan, correlation, columns } = per_value(sub.whole.clone()).map_err(|e| e.at(sub.place))?;
            sub = SubQuery { plan, correlation, values: columns, ..sub };
        }
        let (plan, sub) = self.with_values(plan, sub, to_outer)?;
        let width = plan.schema().len();
        match sub.kind {
            Kind::Scalar => {
                let conditions = joined(&sub.correlation, width, to_outer)?;
                let ty = sub.plan.schema().fields[0].ty.clone().nullable(true);
                let (right, there) = marked(sub.plan);
                let plan = join(JoinKind::Left, plan, right, vec![], None, Expr::all_of(conditions), [None; 2]);
                let value = Expr::column(width, "value", ty.clone());
                let value = match sub.of_no_rows {
                    Some(otherwise) if !matches!(&otherwise, Expr::Literal { value: Value::Null, .. }) => {
                        let missing = is_null(Expr::column(width + there, "there", SqlType::BOOLEAN));
                        Expr::Case { branches: vec![(missing, otherwise)], otherwise: Box::new(value), ty }
                    }
                    _ => value,
                };
                Ok((plan, value))
            }
            Kind::Exists => self.found(plan, sub.plan, sub.correlation, to_outer),
            Kind::Any(_, op) if op != BinaryOperator::Eq => {
                let e = not_yet("a comparison with ANY or ALL outside of the conditions of WHERE, HAVING and ON");
                Err(e.at(sub.place))
            }
            Kind::Any(values, _) => {
                let values = values.into_iter().map(to_outer).collect::<Result<Vec<_>>>()?;
                self.among(plan, (sub.plan, sub.correlation, sub.place), values, to_outer)
            }
        }
    }

    /// Adds whether a sub-query has rows.
    fn found(
        &mut self,
        plan: Plan,
        right: Plan,
        correlation: Vec<Expr>,
        to_outer: ToOuter<'_>,
    ) -> Result<(Plan, Expr)> {
        let width = plan.schema().len();
        let (right, correlation) =
            if correlation.is_empty() { (any_row(right), vec![]) } else { each_key(right, correlation) };
        let conditions = joined(&correlation, width, to_outer)?;
        let (right, there) = marked(right);
        let plan = join(JoinKind::Left, plan, right, vec![], None, Expr::all_of(conditions), [None; 2]);
        Ok((plan, not(is_null(Expr::column(width + there, "there", SqlType::BOOLEAN)))))
    }

    /// Adds whether values are among the rows of a sub-query: unknown if a comparison is unknown and none is true.
    fn among(
        &mut self,
        plan: Plan,
        (right, correlation, at): (Plan, Vec<Expr>, Option<Place>),
        values: Vec<Expr>,
        to_outer: ToOuter<'_>,
    ) -> Result<(Plan, Expr)> {
        let [value] = values.as_slice() else {
            return Err(not_yet("IN with several columns outside of the conditions of WHERE").at(at));
        };
        let field = right.schema().fields[0].clone();
        let nullable = value.ty().nullable || field.ty.nullable;
        // The relation around has the value as a column, so that it can be compared like an outer column.
        let width = plan.schema().len();
        let mut named = plan.columns();
        named.push(("value".to_string(), value.clone()));
        let plan = Plan::calc(plan, None, named);
        let here = Expr::column(width, "value", value.ty());
        let there = Expr::column(0, field.name.clone(), field.ty.clone());
        let equal = self.binary(outer(here.clone()), &BinaryOperator::Eq, there);
        let all: Vec<Expr> = correlation.iter().cloned().chain([equal.map_err(|e| e.at(at))?]).collect();
        let to_plan = |e: Expr| match &e {
            Expr::Column { index, .. } if *index == width => Ok(e),
            _ => to_outer(e),
        };
        let (plan, is_there) = self.found(plan, right.clone(), all, &to_plan)?;
        if !nullable {
            return Ok((plan, is_there));
        }
        let there = Expr::column(0, field.name, field.ty);
        let nulls = Plan::calc(right.clone(), Some(is_null(there)), right.columns());
        let (plan, any) = self.found(plan, right, correlation.clone(), &to_plan)?;
        let (plan, has_null) = self.found(plan, nulls, correlation, &to_plan)?;
        let unknown = Expr::Or(Box::new(has_null), Box::new(Expr::And(Box::new(is_null(here)), Box::new(any))));
        let ty = SqlType::BOOLEAN;
        let null = Expr::literal(Value::Null, ty.clone());
        let branches = vec![(is_there, truth(true)), (unknown, null)];
        Ok((plan, Expr::Case { branches, otherwise: Box::new(truth(false)), ty }))
    }

    /// Binds a sub-query of FROM that may name columns of the relations before it, and joins it to them.
    pub(super) fn lateral(
        &mut self,
        (left, scope): (Plan, Scope),
        (query, alias): (&Query, Option<&TableAlias>),
        kind: JoinKind,
    ) -> Result<(Plan, Scope)> {
        let at = place(query.span().start);
        let mut plan = self.within_scope(query, &scope)?;
        if let Some(alias) = alias {
            plan = aliased(plan, alias)?;
        }
        let visible = plan.schema().len();
        let (left, right, correlation) = match decorrelated(plan.clone()) {
            Ok((right, correlation)) => (left, right, correlation),
            Err(_) => {
                let PerValue { plan: mut right, correlation, columns } = per_value(plan).map_err(|e| e.at(at))?;
                let left = self.read_twice(left).map_err(|e| e.at(at))?;
                put_values(&mut right, &values_of(left.clone(), columns))?;
                (left, right, correlation)
            }
        };
        let width = left.schema().len();
        let conditions = joined(&correlation, width, &Ok)?;
        let plan = join(kind, left, right, vec![], None, Expr::all_of(conditions), [None; 2]);
        let columns = plan.columns().into_iter().take(width + visible).collect();
        let plan = Plan::calc(plan, None, columns);
        let name = alias.map(|a| a.name.value.clone());
        let mut scope = scope;
        scope.columns.extend(plan.schema().fields[width..].iter().map(|f| (name.clone(), f.clone())));
        Ok((plan, scope))
    }

    /// Joins a sub-query of FROM to the relations before it.
    pub(super) fn lateral_join(
        &mut self,
        left: (Plan, Scope),
        right: (&Query, Option<&TableAlias>),
        ast: &Join,
    ) -> Result<(Plan, Scope)> {
        let at = place(ast.relation.span().start);
        let (kind, constraint) = parts(ast)?;
        if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
            return Err(Error::script("LATERAL goes with CROSS JOIN, JOIN and LEFT JOIN").at(at));
        }
        let on = match constraint {
            JoinConstraint::None => None,
            JoinConstraint::On(on) => Some(on),
            JoinConstraint::Using(_) | JoinConstraint::Natural => {
                return Err(Error::script("LATERAL takes a condition behind ON").at(at).hint("write ON TRUE"));
            }
        };
        let on = on.filter(|on| !is_true(on));
        if let (Some(on), JoinKind::Left) = (on, kind) {
            return Err(not_yet("LEFT JOIN LATERAL with a condition other than TRUE").at(place(start(on))));
        }
        let (plan, scope) = self.lateral(left, right, kind)?;
        let Some(on) = on else { return Ok((plan, scope)) };
        let condition = crate::expressions::truth(self.expr(on, &scope, &mut None)?, "ON")?;
        let columns = plan.columns();
        Ok((Plan::calc(plan, Some(condition), columns), scope))
    }

    /// The error for a sub-query that has not been used.
    pub(super) fn check_used(&self) -> Result<()> {
        match self.sub_queries.iter().flatten().flatten().next() {
            None => Ok(()),
            Some(sub) => {
                let e = not_yet("a sub-query here").at(sub.place);
                Err(e.hint("it can be in WHERE, in HAVING, in ON of an inner join, and in the list of a SELECT"))
            }
        }
    }
}

/// The comparison that holds where another one does not.
fn opposite(op: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match op {
        BinaryOperator::Eq => BinaryOperator::NotEq,
        BinaryOperator::NotEq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::GtEq,
        BinaryOperator::LtEq => BinaryOperator::Gt,
        BinaryOperator::Gt => BinaryOperator::LtEq,
        BinaryOperator::GtEq => BinaryOperator::Lt,
        _ => return None,
    })
}

fn collect(e: &Expr, into: &mut BTreeSet<usize>) {
    into.extend(number(e));
    e.children().into_iter().for_each(|c| collect(c, into));
}

/// Conditions that were moved out of a sub-query, over the columns of a relation and, behind them, those of the sub-query.
fn joined(conditions: &[Expr], width: usize, to_outer: ToOuter<'_>) -> Result<Vec<Expr>> {
    let mut failed = None;
    let conditions = conditions.iter().cloned().map(|c| {
        let mut of_outer = |index, name, ty| {
            let column = Expr::Column { index, name, ty };
            to_outer(column.clone()).unwrap_or_else(|e| {
                failed = Some(e);
                column
            })
        };
        let mut inner = |index: usize, name, ty| Expr::Column { index: width + index, name, ty };
        replaced(c, &mut of_outer, &mut inner)
    });
    let conditions = conditions.collect();
    failed.map_or(Ok(conditions), Err)
}

/// Adds a column to a relation that is TRUE in every row. Returns its index.
fn marked(plan: Plan) -> (Plan, usize) {
    let mut named = plan.columns();
    let at = named.len();
    named.push(("there".to_string(), truth(true)));
    (Plan::calc(plan, None, named), at)
}

/// One row without columns if a relation has rows, else none.
fn any_row(plan: Plan) -> Plan {
    let schema = Schema::new(vec![Field::new("count", SqlType::BIGINT.not_null())]);
    let (input, uids) = (Box::new(Plan::calc(plan, None, vec![])), StateUids::default());
    let counted = Plan::Aggregate {
        input,
        keys: vec![],
        calls: vec![AggregateCall::count_star()],
        window: None,
        ttl: None,
        schema,
        uids,
    };
    let many = Expr::Compare {
        op: CompareOp::Greater,
        left: Box::new(Expr::column(0, "count", SqlType::BIGINT.not_null())),
        right: Box::new(Expr::literal(Value::Int(0), SqlType::BIGINT.not_null())),
    };
    Plan::calc(counted, Some(many), vec![("there".to_string(), truth(true))])
}

/// The different values of the columns that conditions read, and the conditions over them.
fn each_key(plan: Plan, conditions: Vec<Expr>) -> (Plan, Vec<Expr>) {
    let read: Vec<usize> = inner_columns(&conditions).into_iter().collect();
    let columns = plan.columns();
    let named = read.iter().map(|c| columns[*c].clone()).collect();
    let keys = distinct(Plan::calc(plan, None, named));
    let mut place = |index: usize| read.iter().position(|c| *c == index).unwrap_or(index);
    let conditions = conditions.into_iter().map(|c| moved(c, &mut place)).collect();
    (keys, conditions)
}

/// The only value of a sub-query, for each value of the columns that its conditions read. Several are an error.
fn single(sub: SubQuery) -> Result<SubQuery> {
    let read: Vec<usize> = inner_columns(&sub.correlation).into_iter().collect();
    let columns = sub.plan.columns();
    let value = columns[0].1.ty().nullable(true);
    let named = read.iter().map(|c| columns[*c].clone()).chain([columns[0].clone()]).collect();
    let input = Plan::calc(sub.plan, None, named);
    let keys: Vec<usize> = (0..read.len()).collect();
    let first = AggregateCall {
        function: Aggregate::FirstValue,
        args: vec![read.len()],
        distinct: false,
        filter: None,
        ty: value.clone(),
    };
    let mut fields: Vec<Field> = input.schema().fields[..read.len()].to_vec();
    fields.extend([Field::new("count", SqlType::BIGINT.not_null()), Field::new("value", value.clone())]);
    let plan = Plan::Aggregate {
        input: Box::new(input),
        keys,
        calls: vec![AggregateCall::count_star(), first],
        window: None,
        ttl: None,
        schema: Schema::new(fields),
        uids: StateUids::default(),
    };
    let mut columns = plan.columns();
    let (value, count) = (columns.pop(), columns.pop());
    let (Some((_, value)), Some((_, count))) = (value, count) else {
        return Err(Error::internal("a lost value"));
    };
    let checked =
        bind("SINGLE VALUE", vec![count, value])?.ok_or_else(|| Error::internal("there is no SINGLE VALUE"))?;
    let named: Vec<(String, Expr)> = [("value".to_string(), checked)].into_iter().chain(columns).collect();
    let mut place = |index: usize| 1 + read.iter().position(|c| *c == index).unwrap_or(index);
    let correlation = sub.correlation.into_iter().map(|c| moved(c, &mut place)).collect();
    Ok(SubQuery { plan: Plan::calc(plan, None, named), correlation, ..sub })
}
