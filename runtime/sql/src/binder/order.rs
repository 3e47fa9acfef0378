//! Binds functions with OVER, and ORDER BY with LIMIT.

use super::{not_yet, unknown_window};
use crate::aggregates::{Collected, Collector};
use crate::catalog::idents;
use crate::expressions::{arguments, truth};
use crate::names::{Binder, Scope};
use crate::over::{Item, Key, OverCall, OverFunction, column_of, placeholder};
use crate::places::{place, start};
use sqlparser::ast::{
    Expr as Ast, Function, Ident, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query, SetExpr,
    Spanned, Value as Constant, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use weir_core::error::Place;
use weir_core::frame::Frame;
use weir_core::keyed::TimeDomain;
use weir_core::rank::SortKey;
use weir_core::{Error, Field, Result, SqlType, TypeKind, Value};
use weir_expr::Expr;
use weir_expr::aggregate::Aggregate;
use weir_plan::settings::mode;
use weir_plan::{Mode, Plan, Ranks, StateUids, derive, time_domain};

/// Whether a sort key is descending, and whether NULLs come first. By default they are less than all values.
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
    /// Collects a function with OVER, and returns its column.
    pub(crate) fn over(&mut self, f: &Function, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Expr> {
        let name = idents(&f.name).last().map(|i| i.value.to_ascii_uppercase()).unwrap_or_default();
        let at = place(f.span().start);
        let named = |name: &Ident| {
            let known = self.named_windows.iter().find(|(n, _)| *n == name.value).map(|(_, spec)| spec.clone());
            known.ok_or_else(|| unknown_window(name))
        };
        let spec = match &f.over {
            Some(WindowType::WindowSpec(spec)) => match &spec.window_name {
                None => spec.clone(),
                Some(name) => refined(named(name)?, spec, name)?,
            },
            Some(WindowType::NamedWindow(name)) => named(name)?,
            None => return Err(Error::internal("a function over no window")),
        };
        let aggregate = match name.as_str() {
            "LAG" => Some(Aggregate::Lag { offset: 1 }),
            "RANK" => Some(Aggregate::Rank { dense: false }),
            "DENSE_RANK" => Some(Aggregate::Rank { dense: true }),
            _ => Aggregate::by_name(&name),
        };
        if name != "ROW_NUMBER" && aggregate.is_none() {
            let e = not_yet(&format!("{name} over a window of rows")).at(at);
            return Err(e);
        }
        let ranks = matches!(name.as_str(), "ROW_NUMBER" | "LAG" | "RANK" | "DENSE_RANK");
        if ranks && spec.window_frame.is_some() {
            return Err(Error::script(format!("{name} takes no frame")).at(at));
        }
        if spec.order_by.is_empty() && (ranks || mode(&self.catalog.settings)? == Mode::Streaming) {
            let e = Error::script(format!("{name} needs an order")).at(at);
            return Err(e.hint("OVER (PARTITION BY … ORDER BY …)"));
        }
        if self.over.is_none() || agg.as_ref().is_some_and(|c| c.inside) {
            let what = if aggregate.is_some() { "a function over a window of rows" } else { "a row number" };
            let e = Error::script(format!("{what} stands in the list of a SELECT"));
            return Err(e.at(at).hint(
                "a query around it can use it: SELECT … FROM (SELECT …, ROW_NUMBER() OVER (…) AS n …) WHERE n <= 10",
            ));
        }
        // A function with OVER cannot be nested in another one.
        let collected = self.over.take();
        let new = self.over_call(f, aggregate, &spec, scope, agg);
        let all = self.over.insert(collected.unwrap_or_default());
        let new = new?;
        let ty = new.ty();
        let number = match all.iter().position(|known| known.same(&new)) {
            Some(at) => at,
            None => {
                all.push(new);
                all.len() - 1
            }
        };
        Ok(placeholder(number, ty))
    }

    /// Binds a function with OVER.
    fn over_call(
        &mut self,
        f: &Function,
        aggregate: Option<Aggregate>,
        spec: &WindowSpec,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<OverCall> {
        let place = place(f.span().start);
        let partition = spec.partition_by.iter().map(|e| self.expr(e, scope, agg)).collect::<Result<Vec<_>>>()?;
        let order = spec.order_by.iter().map(|o| self.sort_key(o, scope, agg)).collect::<Result<Vec<_>>>()?;
        let function = match aggregate {
            None => OverFunction::RowNumber,
            Some(function @ Aggregate::Rank { .. }) => {
                if !arguments(f).is_empty() {
                    return Err(Error::script(format!("{} takes no arguments", function.name())).at(place));
                }
                let args: Vec<Expr> = order.iter().map(|(e, ..)| e.clone()).collect();
                let ty = SqlType::BIGINT.not_null();
                let call = Collected { function, args, distinct: false, filter: None, ty };
                OverFunction::Aggregate(Box::new(call), Frame::AllTimes)
            }
            Some(mut function) => {
                let frame = self.frame(spec.window_frame.as_ref(), place)?;
                let name = function.name().to_string();
                OverFunction::Aggregate(Box::new(self.collected(&name, &mut function, f, scope, agg)?), frame)
            }
        };
        Ok(OverCall { function, partition, order, place })
    }

    /// Binds the frame of a window.
    fn frame(&mut self, frame: Option<&WindowFrame>, at: Option<Place>) -> Result<Frame> {
        let Some(frame) = frame else { return Ok(Frame::AllTimes) };
        match &frame.end_bound {
            None | Some(WindowFrameBound::CurrentRow) => {}
            Some(_) => {
                let e = Error::script("a frame of OVER ends with the current row").at(at);
                return Err(e.hint("BETWEEN … PRECEDING AND CURRENT ROW: rows that are still to come are not known"));
            }
        }
        let rows = match frame.units {
            WindowFrameUnits::Rows => true,
            WindowFrameUnits::Range => false,
            WindowFrameUnits::Groups => return Err(not_yet("GROUPS in a frame").at(at)),
        };
        Ok(match (&frame.start_bound, rows) {
            (WindowFrameBound::Preceding(None), true) => Frame::AllRows,
            (WindowFrameBound::Preceding(None), false) => Frame::AllTimes,
            (WindowFrameBound::CurrentRow, true) => Frame::Rows(0),
            (WindowFrameBound::CurrentRow, false) => Frame::Times(0),
            (WindowFrameBound::Preceding(Some(n)), true) => {
                let rows = number(n).ok_or_else(|| {
                    Error::script(format!("ROWS … PRECEDING takes a number of rows, not {n}")).at(place(start(n)))
                })?;
                Frame::Rows(rows)
            }
            (WindowFrameBound::Preceding(Some(n)), false) => match self.expr(n, &Scope::default(), &mut None)? {
                Expr::Literal { value: Value::Int(millis), ty } if ty.kind == TypeKind::IntervalDay && millis >= 0 => {
                    Frame::Times(millis)
                }
                _ => {
                    let e = Error::script("RANGE … PRECEDING takes a constant interval").at(place(start(n)));
                    return Err(e.hint("RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW"));
                }
            },
            (WindowFrameBound::Following(_), _) => {
                return Err(Error::script("a frame of OVER begins with the current row or before it").at(at));
            }
        })
    }

    /// Binds the predicate of QUALIFY, which can refer to the items of SELECT by name.
    pub(super) fn qualify(
        &mut self,
        condition: &Ast,
        scope: &Scope,
        collector: &mut Collector,
        items: &[Item],
    ) -> Result<Expr> {
        let columns: Vec<(String, Expr)> = items.iter().map(|(n, e, _)| (n.clone(), e.clone())).collect();
        let bound = match self.expr(condition, scope, &mut Some(collector)) {
            Ok(e) => e,
            Err(wrong) => {
                let over_items = self.expr(condition, &outputs(&columns), &mut None).map_err(|_| wrong)?;
                over_items.rewrite(&mut |e| match e {
                    Expr::Column { index, .. } if index < columns.len() => columns[index].1.clone(),
                    e => e,
                })
            }
        };
        truth(bound, "QUALIFY").map_err(|e| e.at(place(start(condition))))
    }

    pub(super) fn sort_key(&mut self, o: &OrderByExpr, scope: &Scope, agg: &mut Option<&mut Collector>) -> Result<Key> {
        if o.with_fill.is_some() {
            return Err(not_yet("WITH FILL").at(place(start(&o.expr))));
        }
        let (descending, nulls_first) = directions(&o.options);
        let e = self.expr(&o.expr, scope, agg)?;
        sortable(&e.ty(), place(start(&o.expr)))?;
        Ok((e, descending, nulls_first))
    }

    /// Binds the body of a query with its ORDER BY and LIMIT.
    pub(super) fn ordered(&mut self, q: &Query) -> Result<Plan> {
        let limit = limit(q)?;
        if limit.is_none() && q.order_by.is_none() {
            return self.set_expr(&q.body);
        }
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
        let plan = match limit {
            None => self.whole_order(plan, order, q)?,
            Some((_, 0)) => Plan::Values { rows: vec![], schema, uids: StateUids::default() },
            Some((skip, count)) => {
                let first = skip.saturating_add(1);
                let ranks = Ranks { first, last: Some(skip.saturating_add(count)), place: place(q.span().start) };
                Plan::Rank {
                    input: Box::new(plan),
                    partition: vec![],
                    order,
                    ranks,
                    number: false,
                    schema,
                    uids: StateUids::default(),
                }
            }
        };
        let columns = plan.columns();
        if visible == columns.len() {
            return Ok(plan);
        }
        Ok(Plan::calc(plan, None, columns.into_iter().take(visible).collect()))
    }

    /// Binds ORDER BY without a limit: for a stream only by time, in batch mode by any columns.
    fn whole_order(&mut self, input: Plan, order: Vec<SortKey>, q: &Query) -> Result<Plan> {
        let batch = mode(&self.catalog.settings)? == Mode::Batch;
        let time = match order.first() {
            _ if batch => None,
            Some(SortKey { column, descending: false, .. }) => {
                let derived = derive(&input, Mode::Streaming);
                let domain = time_domain(*column, &derived.traits.times);
                Some(*column).filter(|_| domain == Some(TimeDomain::Event))
            }
            Some(_) | None => None,
        };
        if time.is_none() && !batch {
            let at = q.order_by.as_ref().and_then(|o| place(o.span().start));
            let e = Error::script("ORDER BY without LIMIT is not supported on a stream, but by event time, ascending")
                .at(at);
            return Err(e.hint(
                "a stream has no end to sort at: add LIMIT, run the script in batch mode, or sort what the job has written",
            ));
        }
        let (schema, uids) = (input.schema().clone(), StateUids::default());
        Ok(Plan::Sort { input: Box::new(input), order, time, schema, uids })
    }

    /// Appends columns for the keys of an ORDER BY to a relation, if they are not columns of it.
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

    /// Binds the keys of a SELECT's ORDER BY. A name or number refers to an item. Other keys are expressions over the input or over the
    /// items. Keys that are not items are added to the items.
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

/// Combines a named window with the further clauses of a function.
fn refined(named: WindowSpec, more: &WindowSpec, name: &Ident) -> Result<WindowSpec> {
    let both = !more.partition_by.is_empty()
        || !more.order_by.is_empty() && !named.order_by.is_empty()
        || more.window_frame.is_some() && named.window_frame.is_some();
    if both {
        let e = Error::script(format!("the window '{}' has that itself", name.value)).at(place(name.span.start));
        return Err(e.hint("a window with a name takes an order or a frame that it has not"));
    }
    let order_by = if more.order_by.is_empty() { named.order_by } else { more.order_by.clone() };
    let window_frame = more.window_frame.clone().or(named.window_frame);
    Ok(WindowSpec { order_by, window_frame, ..named })
}

/// A relation with its sort columns. The columns after the visible ones are only for sorting.
pub(super) struct Sorted {
    pub plan: Plan,
    pub by: Vec<usize>,
    pub visible: usize,
}

/// The columns as a scope for expressions.
fn outputs(columns: &[(String, Expr)]) -> Scope {
    Scope::new(columns.iter().map(|(n, e)| (None, Field::new(n.clone(), e.ty()))).collect())
}

/// The column to which a key of ORDER BY refers by name or number.
fn output_column(key: &Ast, columns: &[(String, Expr)]) -> Result<Option<usize>> {
    if let Ast::Identifier(name) = key {
        return Ok(columns.iter().position(|(n, _)| *n == name.value));
    }
    let Some(n) = number(key) else { return Ok(None) };
    let at = n.checked_sub(1).and_then(|n| usize::try_from(n).ok()).filter(|at| *at < columns.len());
    let missing = || Error::script(format!("ORDER BY {n}: the query has {} columns", columns.len()));
    at.map(Some).ok_or_else(|| missing().at(place(start(key))))
}

/// The number of rows to skip and to return; none if there is no limit.
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
