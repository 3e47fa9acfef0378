//! Functions over windows of rows, and ORDER BY with LIMIT.

use super::not_yet;
use crate::aggregates::Collector;
use crate::catalog::idents;
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use crate::row_numbers::{Key, RowNumber, column_of, placeholder};
use sqlparser::ast::{
    Expr as Ast, Function, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, Spanned,
    Value as Constant, WindowType,
};
use weir_core::error::Place;
use weir_core::{Error, Result};
use weir_expr::Expr;
use weir_plan::{Plan, Ranks, SortKey};

/// Whether a key descends, and whether NULLs come first: they are less than all values, unless it is said.
fn directions(options: &OrderByOptions) -> (bool, bool) {
    let descending = options.asc == Some(false);
    (descending, options.nulls_first.unwrap_or(!descending))
}

fn sortable(e: Expr, at: Option<Place>) -> Result<Expr> {
    if e.ty().is_nested() {
        return Err(Error::script(format!("ORDER BY does not take {}", e.ty().kind)).at(at));
    }
    Ok(e)
}

impl Binder<'_> {
    /// Notes a function over a window of rows.
    pub(crate) fn over(&mut self, f: &Function, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let name = idents(&f.name).last().map(|i| i.value.to_ascii_uppercase()).unwrap_or_default();
        let at = place(f.span().start);
        let spec = match &f.over {
            Some(WindowType::WindowSpec(spec)) if spec.window_name.is_none() => spec,
            _ => return Err(not_yet("a named window").at(at)),
        };
        if name != "ROW_NUMBER" {
            let e = not_yet(&format!("{name} over a window of rows")).at(at);
            return Err(match name.as_str() {
                "RANK" | "DENSE_RANK" => e.hint("ROW_NUMBER gives each row a number of its own"),
                _ => e,
            });
        }
        if spec.window_frame.is_some() {
            return Err(Error::script("ROW_NUMBER takes no frame").at(at));
        }
        if spec.order_by.is_empty() {
            return Err(Error::script("ROW_NUMBER needs an order").at(at).hint("OVER (PARTITION BY … ORDER BY …)"));
        }
        if self.row_numbers.is_none() || agg.as_ref().is_some_and(|c| c.inside) {
            let e = Error::script("a row number stands in the list of a SELECT");
            return Err(e.at(at).hint(
                "a query around it can use it: SELECT … FROM (SELECT …, ROW_NUMBER() OVER (…) AS n …) WHERE n <= 10",
            ));
        }
        // No number of a number.
        let collected = self.row_numbers.take();
        let partition = spec.partition_by.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>();
        let order = spec.order_by.iter().map(|o| self.sort_key(o, scope, agg)).collect::<Result<Vec<_>>>();
        let all = self.row_numbers.insert(collected.unwrap_or_default());
        let new = RowNumber { partition: partition?, order: order?, place: at };
        let number = match all.iter().position(|known| known.same(&new)) {
            Some(at) => at,
            None => {
                all.push(new);
                all.len() - 1
            }
        };
        Ok(placeholder(number))
    }

    fn sort_key(&mut self, o: &OrderByExpr, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Key> {
        if o.with_fill.is_some() {
            return Err(not_yet("WITH FILL").at(place(start(&o.expr))));
        }
        let (descending, nulls_first) = directions(&o.options);
        let e = self.expr(&o.expr, scope, agg)?;
        Ok((sortable(e, place(start(&o.expr)))?, descending, nulls_first))
    }

    /// ORDER BY and LIMIT behind a query.
    pub(crate) fn ordered(&mut self, q: &Query, plan: Plan) -> Result<Plan> {
        let limit = self.limit(q)?;
        let Some((skip, count)) = limit else {
            return match &q.order_by {
                None => Ok(plan),
                Some(order) => {
                    let e = not_yet("ORDER BY without LIMIT").at(place(order.span().start));
                    Err(e.hint("a stream has no end to sort at: add LIMIT, or sort what the job has written"))
                }
            };
        };
        let schema = plan.schema().clone();
        let order = match &q.order_by {
            None => vec![],
            Some(order) => self.order_by(order, &plan)?,
        };
        if count == 0 {
            return Ok(Plan::Values { rows: vec![], schema });
        }
        let ranks = Ranks {
            first: skip.saturating_add(1),
            last: Some(skip.saturating_add(count)),
            place: place(q.span().start),
        };
        let (plan, order) = with_columns(plan, order);
        let inner = plan.schema().clone();
        let plan = Plan::Rank { input: Box::new(plan), partition: vec![], order, ranks, number: false, schema: inner };
        if plan.schema().len() == schema.len() {
            return Ok(plan);
        }
        let columns = plan.columns().into_iter().take(schema.len()).collect();
        Ok(Plan::calc(plan, None, columns))
    }

    /// The keys of an ORDER BY: columns of the query by their names or numbers, or expressions over these.
    fn order_by(&mut self, order: &OrderBy, plan: &Plan) -> Result<Vec<Key>> {
        let OrderByKind::Expressions(list) = &order.kind else {
            return Err(not_yet("ORDER BY ALL").at(place(order.span().start)));
        };
        let columns = plan.columns();
        let scope = Scope { columns: plan.schema().fields.iter().map(|f| (None, f.clone())).collect() };
        let mut keys = vec![];
        for o in list {
            let at = place(start(&o.expr));
            if let Some(n) = ordinal(&o.expr) {
                let column = n.checked_sub(1).and_then(|n| columns.get(n));
                let missing = || Error::script(format!("ORDER BY {n}: the query has {} columns", columns.len())).at(at);
                let (descending, nulls_first) = directions(&o.options);
                keys.push((sortable(column.ok_or_else(missing)?.1.clone(), at)?, descending, nulls_first));
                continue;
            }
            keys.push(self.sort_key(o, &scope, &mut None)?);
        }
        Ok(keys)
    }

    /// How many rows a query leaves out, and how many it gives behind those; none where it gives all.
    fn limit(&mut self, q: &Query) -> Result<Option<(u64, u64)>> {
        let (mut skip, mut count) = (None, None);
        match &q.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if let Some(by) = limit_by.first() {
                    return Err(not_yet("LIMIT BY").at(place(start(by))));
                }
                (skip, count) = (offset.as_ref().map(|o| &o.value), limit.as_ref());
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => (skip, count) = (Some(offset), Some(limit)),
        }
        let one = Ast::value(Constant::Number("1".to_string(), false));
        if let Some(fetch) = &q.fetch {
            if fetch.with_ties || fetch.percent {
                return Err(not_yet("FETCH with PERCENT or WITH TIES").at(place(q.span().end)));
            }
            count = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        let skipped = skip.map_or(Ok(0), |e| number_of_rows(e, "OFFSET"))?;
        match (count, skip) {
            (Some(count), _) => Ok(Some((skipped, number_of_rows(count, "LIMIT")?))),
            (None, None) => Ok(None),
            (None, Some(e)) => Err(not_yet("OFFSET without LIMIT").at(place(start(e)))),
        }
    }
}

fn ordinal(e: &Ast) -> Option<usize> {
    match e {
        Ast::Value(v) => match &v.value {
            Constant::Number(n, _) => n.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn number_of_rows(e: &Ast, what: &str) -> Result<u64> {
    let wrong = || Error::script(format!("{what} takes a number of rows, not {e}")).at(place(start(e)));
    ordinal(e).and_then(|n| u64::try_from(n).ok()).ok_or_else(wrong)
}

/// A relation with columns for the keys of an order behind its own, where they are none of these.
fn with_columns(plan: Plan, order: Vec<Key>) -> (Plan, Vec<SortKey>) {
    let mut columns = plan.columns();
    let width = columns.len();
    let keys = order.into_iter().map(|(e, descending, nulls_first)| {
        let column = column_of(e, &mut columns);
        SortKey { column, descending, nulls_first }
    });
    let keys: Vec<SortKey> = keys.collect();
    let plan = if columns.len() == width { plan } else { Plan::calc(plan, None, columns) };
    (plan, keys)
}
