//! Functions over windows of rows, and ORDER BY with LIMIT.

use super::not_yet;
use crate::aggregates::Collector;
use crate::catalog::idents;
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use crate::row_numbers::{Item, Key, RowNumber, column_of, placeholder};
use sqlparser::ast::{
    Expr as Ast, Function, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, SetExpr, Spanned,
    Value as Constant, WindowType,
};
use weir_core::error::Place;
use weir_core::rank::SortKey;
use weir_core::{Error, Field, Result, SqlType};
use weir_expr::Expr;
use weir_plan::{Kept, Plan, Ranks};

/// Whether a key descends, and whether NULLs come first: they are less than all values, unless it is said.
fn directions(options: &OrderByOptions) -> (bool, bool) {
    let descending = options.asc == Some(false);
    (descending, options.nulls_first.unwrap_or(!descending))
}

fn sortable(ty: &SqlType, at: Option<Place>) -> Result<()> {
    if ty.is_nested() {
        return Err(Error::script(format!("ORDER BY does not take {}", ty.kind)).at(at));
    }
    Ok(())
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
        sortable(&e.ty(), place(start(&o.expr)))?;
        Ok((e, descending, nulls_first))
    }

    /// The body of a query, with its ORDER BY and LIMIT.
    pub(super) fn ordered(&mut self, q: &Query) -> Result<Plan> {
        let Some((skip, count)) = limit(q)? else {
            return match &q.order_by {
                None => self.set_expr(&q.body),
                Some(order) => {
                    let e = not_yet("ORDER BY without LIMIT").at(place(order.span().start));
                    Err(e.hint("a stream has no end to sort at: add LIMIT, or sort what the job has written"))
                }
            };
        };
        let keys = match &q.order_by {
            None => &[][..],
            Some(OrderBy { kind: OrderByKind::Expressions(keys), interpolate: None }) => keys,
            Some(order) => return Err(not_yet("ORDER BY ALL or INTERPOLATE").at(place(order.span().start))),
        };
        if let Some(fill) = keys.iter().find(|k| k.with_fill.is_some()) {
            return Err(not_yet("WITH FILL").at(place(start(&fill.expr))));
        }
        let by: Vec<&Ast> = keys.iter().map(|k| &k.expr).collect();
        let Sorted { plan, by, visible } = match &*q.body {
            SetExpr::Select(s) => self.select_sorted(s, &by)?,
            body => {
                let plan = self.set_expr(body)?;
                self.sorted(plan, &by)?
            }
        };
        let mut order = vec![];
        for (key, column) in keys.iter().zip(by) {
            sortable(&plan.schema().fields[column].ty, place(start(&key.expr)))?;
            let (descending, nulls_first) = directions(&key.options);
            order.push(SortKey { column, descending, nulls_first });
        }
        let schema = plan.schema().clone();
        let first = skip.saturating_add(1);
        let plan = match count {
            0 => Plan::Values { rows: vec![], schema, kept: Kept::default() },
            _ => {
                let ranks = Ranks { first, last: Some(skip.saturating_add(count)), place: place(q.span().start) };
                Plan::Rank {
                    input: Box::new(plan),
                    partition: vec![],
                    order,
                    ranks,
                    number: false,
                    schema,
                    kept: Kept::default(),
                }
            }
        };
        let columns = plan.columns();
        if visible == columns.len() {
            return Ok(plan);
        }
        Ok(Plan::calc(plan, None, columns.into_iter().take(visible).collect()))
    }

    /// A relation with columns for the keys of an ORDER BY behind its own, where they are none of these.
    fn sorted(&mut self, plan: Plan, by: &[&Ast]) -> Result<Sorted> {
        let mut columns = plan.columns();
        let visible = columns.len();
        let scope = outputs(&columns);
        let mut places = vec![];
        for ast in by {
            places.push(match output_column(ast, &columns[..visible])? {
                Some(at) => at,
                None => column_of(self.expr(ast, &scope, &mut None)?, &mut columns),
            });
        }
        let plan = if columns.len() == visible { plan } else { Plan::calc(plan, None, columns) };
        Ok(Sorted { plan, by: places, visible })
    }

    /// Binds the keys of an ORDER BY of a SELECT: by name or number they are items of it, else expressions over what it reads, or over its
    /// items. What is no item is added to them.
    pub(super) fn sort_items(
        &mut self,
        by: &[&Ast],
        scope: &Scope,
        collector: &mut Collector,
        items: &mut Vec<Item>,
    ) -> Result<Vec<usize>> {
        let visible = items.len();
        let mut places = vec![];
        for ast in by {
            let columns: Vec<(String, Expr)> =
                items[..visible].iter().map(|(n, e, _)| (n.clone(), e.clone())).collect();
            if let Some(at) = output_column(ast, &columns)? {
                places.push(at);
                continue;
            }
            let e = match self.expr(ast, scope, &mut Some(collector)) {
                Ok(e) => e,
                Err(wrong) => {
                    let over_items = self.expr(ast, &outputs(&columns), &mut None).map_err(|_| wrong)?;
                    over_items.rewrite(&mut |e| match e {
                        Expr::Column { index, .. } => columns[index].1.clone(),
                        e => e,
                    })
                }
            };
            let known = items.iter().position(|(_, known, _)| known.same(&e));
            places.push(known.unwrap_or_else(|| {
                items.push((format!("${}", items.len()), e, place(start(ast))));
                items.len() - 1
            }));
        }
        Ok(places)
    }
}

/// A relation with the columns that it is sorted by, of which those behind the visible ones are only for that.
pub(super) struct Sorted {
    pub plan: Plan,
    pub by: Vec<usize>,
    pub visible: usize,
}

/// Columns as what an expression can name.
fn outputs(columns: &[(String, Expr)]) -> Scope {
    Scope { columns: columns.iter().map(|(n, e)| (None, Field::new(n.clone(), e.ty()))).collect() }
}

/// The column that a key of ORDER BY names, or has the number of.
fn output_column(key: &Ast, columns: &[(String, Expr)]) -> Result<Option<usize>> {
    if let Ast::Identifier(name) = key {
        return Ok(columns.iter().position(|(n, _)| *n == name.value));
    }
    let Some(n) = number(key) else { return Ok(None) };
    let at = n.checked_sub(1).and_then(|n| usize::try_from(n).ok()).filter(|at| *at < columns.len());
    let missing = || Error::script(format!("ORDER BY {n}: the query has {} columns", columns.len()));
    at.map(Some).ok_or_else(|| missing().at(place(start(key))))
}

/// How many rows a query leaves out, and how many it gives behind those; none where it gives all.
fn limit(q: &Query) -> Result<Option<(u64, u64)>> {
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

fn number(e: &Ast) -> Option<u64> {
    match e {
        Ast::Value(v) => match &v.value {
            Constant::Number(n, _) => n.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn number_of_rows(e: &Ast, what: &str) -> Result<u64> {
    number(e).ok_or_else(|| Error::script(format!("{what} takes a number of rows")).at(place(start(e))))
}
