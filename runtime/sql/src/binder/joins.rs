//! Binds joins of two relations: their kind, and the condition or the columns that are compared.

use super::not_yet;
use crate::expressions::truth;
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use crate::sub_queries::has_sub_query;
use sqlparser::ast::{BinaryOperator, Ident, Join, JoinConstraint, JoinOperator, Spanned};
use std::collections::BTreeSet;
use weir_core::join::{AsOf, JoinKey, JoinKind, LEFT, RIGHT};
use weir_core::{Error, Field, Result, Schema};
use weir_expr::Expr;
use weir_expr::functions::{bind, cast_to, common_type};
use weir_plan::{Plan, StateUids, keyed_join};

/// A relation, and the columns that expressions can name.
type Bound = (Plan, Scope);

/// The kind of a join, and what it requires of pairs.
pub(super) fn parts(join: &Join) -> Result<(JoinKind, &JoinConstraint)> {
    Ok(match &join.join_operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
        JoinOperator::FullOuter(c) => (JoinKind::Full, c),
        _ => {
            let e = not_yet("this kind of join").at(place(join.relation.span().start));
            return Err(
                e.hint("write [INNER | LEFT | RIGHT | FULL] JOIN … ON …, or WHERE EXISTS (…) and WHERE … IN (…)")
            );
        }
    })
}

/// Joins two relations. `condition` reads the columns of the left one, then those of the right one. `ttl` has the times to live of both
/// sides' rows that a hint gives.
pub(crate) fn join(
    kind: JoinKind,
    left: Plan,
    right: Plan,
    on: Vec<JoinKey>,
    as_of: Option<AsOf>,
    condition: Option<Expr>,
    ttl: [Option<u64>; 2],
) -> Plan {
    let side = |plan: &Plan, padded: bool| {
        let fields = plan.schema().fields.iter();
        fields.map(|f| Field::new(f.name.clone(), f.ty.clone().nullable(f.ty.nullable || padded))).collect::<Vec<_>>()
    };
    // A row of one side is padded where rows of the other side have no partner.
    let mut fields = side(&left, kind.pads(RIGHT));
    if !kind.left_only() {
        fields.extend(side(&right, kind.pads(LEFT)));
    }
    let (left, right, uids) = (Box::new(left), Box::new(right), StateUids::default());
    keyed_join(Plan::Join { left, right, kind, on, as_of, condition, ttl, schema: Schema::new(fields), uids })
}

/// The columns of both sides of a join. Merged columns of the right side have moved.
fn both(left: &Scope, right: &Scope) -> Scope {
    let width = left.columns.len();
    let columns = left.columns.iter().chain(&right.columns).cloned().collect();
    let merged = left.merged.iter().copied().chain(right.merged.iter().map(|c| width + c)).collect();
    Scope { columns, merged }
}

/// The columns of a joined relation, with the types that they have there.
fn typed(scope: Scope, plan: &Plan) -> Scope {
    let columns = scope.columns.into_iter().zip(&plan.schema().fields);
    Scope { columns: columns.map(|((q, _), f)| (q, f.clone())).collect(), merged: scope.merged }
}

impl Binder<'_> {
    /// Binds a join of two relations.
    pub(super) fn join(&mut self, left: Bound, right: Bound, ast: &Join) -> Result<Bound> {
        let at = place(ast.relation.span().start);
        self.spend(left.1.columns.len() + right.1.columns.len(), 0).map_err(|e| e.at(at))?;
        let (kind, constraint) = parts(ast)?;
        let crosses = matches!(ast.join_operator, JoinOperator::CrossJoin(_));
        match constraint {
            JoinConstraint::On(_) | JoinConstraint::Using(_) if crosses => {
                let e = Error::script("CROSS JOIN takes no condition").at(at);
                Err(e.hint("write JOIN … ON …"))
            }
            JoinConstraint::None if !crosses => {
                let e = Error::script("this join has no condition").at(at);
                Err(e.hint("write ON with the columns that are equal, or CROSS JOIN for all pairs"))
            }
            JoinConstraint::None => self.cross(left, right),
            JoinConstraint::On(on) => {
                let scope = both(&left.1, &right.1);
                let ttl = self.ttl_of_sides(&left.1, &right.1);
                let condition = self.expr(on, &scope, &mut None)?;
                let condition = truth(condition, "ON").map_err(|e| e.at(place(start(on))))?;
                if !has_sub_query(&condition) {
                    let plan = join(kind, left.0, right.0, vec![], None, Some(condition), ttl);
                    let scope = typed(scope, &plan);
                    return Ok((plan, scope));
                }
                if kind != JoinKind::Inner {
                    return Err(not_yet("a sub-query in ON of an outer join").at(place(start(on))));
                }
                let (later, now): (Vec<Expr>, Vec<Expr>) = condition.conjuncts().into_iter().partition(has_sub_query);
                let plan = join(kind, left.0, right.0, vec![], None, Expr::all_of(now), ttl);
                let columns = plan.columns();
                let later = Expr::all_of(later).ok_or_else(|| Error::internal("a lost condition"))?;
                let (plan, rest) = self.filter_by(plan, later)?;
                Ok((Plan::calc(plan, rest, columns), scope))
            }
            JoinConstraint::Using(names) => {
                let names = names.iter().map(|name| match crate::catalog::idents(name).as_slice() {
                    [one] => Ok(one.clone()),
                    _ => Err(Error::script("USING takes names of columns").at(at)),
                });
                self.merging(kind, left, right, &names.collect::<Result<Vec<_>>>()?)
            }
            JoinConstraint::Natural => {
                let of = |scope: &Scope| scope.all().map(|i| scope.columns[i].1.name.clone()).collect::<Vec<_>>();
                let there: BTreeSet<String> = of(&right.1).into_iter().collect();
                let names = of(&left.1).into_iter().filter(|name| there.contains(name)).map(Ident::new);
                self.merging(kind, left, right, &names.collect::<Vec<_>>())
            }
        }
    }

    /// The times to live that a STATE_TTL hint gives to the rows of two relations.
    fn ttl_of_sides(&mut self, left: &Scope, right: &Scope) -> [Option<u64>; 2] {
        [left, right].map(|scope| self.state_ttl.take(scope.relations()))
    }

    /// All pairs of rows of two relations.
    pub(super) fn cross(&mut self, left: Bound, right: Bound) -> Result<Bound> {
        let scope = both(&left.1, &right.1);
        let ttl = self.ttl_of_sides(&left.1, &right.1);
        Ok((join(JoinKind::Inner, left.0, right.0, vec![], None, None, ttl), scope))
    }

    /// Joins two relations by columns of the same names, which become one column each. These come first.
    fn merging(&mut self, kind: JoinKind, left: Bound, right: Bound, names: &[Ident]) -> Result<Bound> {
        let width = left.1.columns.len();
        let ttl = self.ttl_of_sides(&left.1, &right.1);
        let mut pairs: Vec<(usize, usize, &Ident)> = vec![];
        for name in names {
            let at = place(name.span.start);
            let of = |scope: &Scope, side: &str| -> Result<usize> {
                let found = scope.find(None, &name.value).map_err(|e| e.at(at))?;
                found.ok_or_else(|| {
                    Error::script(format!("the {side} side of the join has no column '{}'", name.value)).at(at)
                })
            };
            pairs.push((of(&left.1, "left")?, of(&right.1, "right")?, name));
        }
        let column = |scope: &Scope, n: usize, shift: usize| {
            let field = &scope.columns[n].1;
            Expr::column(shift + n, field.name.clone(), field.ty.clone())
        };
        let mut equalities = vec![];
        for (l, r, name) in &pairs {
            let (here, there) = (column(&left.1, *l, 0), column(&right.1, *r, width));
            let equal = self.binary(here, &BinaryOperator::Eq, there);
            equalities.push(equal.map_err(|e| e.at(place(name.span.start)))?);
        }
        let scope = both(&left.1, &right.1);
        let plan = join(kind, left.0, right.0, vec![], None, Expr::all_of(equalities), ttl);
        let scope = typed(scope, &plan);
        let mut named = vec![];
        for (l, r, name) in &pairs {
            let (here, there) = (column(&scope, *l, 0), column(&scope, width + r, 0));
            let merged = match kind {
                JoinKind::Right => there,
                JoinKind::Full => {
                    let common = common_type(&[here.ty(), there.ty()]).unwrap_or_else(|| here.ty());
                    let args = vec![cast_to(here, &common), cast_to(there, &common)];
                    bind("COALESCE", args)?.ok_or_else(|| Error::internal("there is no COALESCE"))?
                }
                JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti => here,
            };
            named.push((name.value.clone(), merged));
        }
        let first = named.len();
        let mut columns: Vec<(Option<String>, Field)> =
            named.iter().map(|(n, e)| (None, Field::new(n.clone(), e.ty()))).collect();
        columns.extend(scope.columns);
        let merged = scope.merged.iter().copied().chain(pairs.iter().flat_map(|(l, r, _)| [*l, width + *r]));
        let merged = merged.map(|c| first + c).collect();
        named.extend(plan.columns());
        Ok((Plan::calc(plan, None, named), Scope { columns, merged }))
    }
}
