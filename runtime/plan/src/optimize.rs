//! Optimizes plans without changing their results: merges adjacent projections, removes unused columns down to the sources, and evaluates
//! constants once.

use crate::joins::{prepare_joins, read_versions};
use crate::logical::{Plan, Ranks, Rewritten, Shared, StateUids, WindowTime};
use crate::merge::merge_top;
use crate::ranks::bound_ranks;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use weir_core::join::{AsOf, JoinKey};
use weir_core::rank::SortKey;
use weir_core::{Error, Result, Schema};
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;
use weir_expr::match_recognize::MatchRecognize;
use weir_expr::{Session, eval::constant};

/// Optimizes a plan.
///
/// # Errors
/// An internal error.
pub fn optimize(plan: Plan, session: &Arc<Session>) -> Result<Plan> {
    let plan = prepare_joins(merge(plan, &mut Rewritten::default()), &mut Rewritten::default());
    let plan = bound_ranks(plan, &mut Rewritten::default(), session);
    let plan = read_versions(prune_all(plan)?, &mut Rewritten::default());
    Ok(fold(merge(plan, &mut Rewritten::default()), &mut Rewritten::default(), session))
}

/// Merges projections with those below them.
fn merge(plan: Plan, done: &mut Rewritten) -> Plan {
    merge_top(plan.map_inputs(done, &mut merge))
}

/// The columns of shared relations that are read, by the relations' numbers, and the pruned relations.
#[derive(Default)]
struct Readers {
    wanted: HashMap<usize, BTreeSet<usize>>,
    done: HashMap<usize, (Arc<Shared>, Vec<usize>)>,
    /// Whether a reader needs columns that were not known when the relation was pruned.
    late: bool,
}

/// Removes unused columns.
fn prune_all(plan: Plan) -> Result<Plan> {
    let all: BTreeSet<usize> = (0..plan.schema().len()).collect();
    let mut readers = Readers::default();
    loop {
        let (pruned, kept) = prune(plan.clone(), &all, &mut readers)?;
        // The top relation keeps every column, so their positions must not have changed.
        if kept.iter().enumerate().any(|(i, k)| i != *k) {
            return Err(Error::internal(format!("the columns of a result have come out of order: {kept:?}")));
        }
        if !readers.late {
            return Ok(pruned);
        }
        // Prunes again with the columns of all readers. This set only grows.
        readers.late = false;
        readers.done.clear();
    }
}

/// Removes unused columns. Returns the new plan, and which of the old columns it has, in order.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a relation")]
fn prune(plan: Plan, wanted: &BTreeSet<usize>, readers: &mut Readers) -> Result<(Plan, Vec<usize>)> {
    Ok(match plan {
        Plan::Scan { table, columns, schema, uids } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let columns = keep.iter().map(|k| columns[*k]).collect();
            (Plan::Scan { table, columns, schema: schema.project(&keep), uids }, keep)
        }
        Plan::Values { rows, schema, uids } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let rows = rows.into_iter().map(|r| keep.iter().map(|k| r[*k].clone()).collect()).collect();
            (Plan::Values { rows, schema: schema.project(&keep), uids }, keep)
        }
        Plan::Calc { input, condition, exprs, schema } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let exprs: Vec<Expr> = keep.iter().map(|k| exprs[*k].clone()).collect();
            let mut used = BTreeSet::new();
            exprs.iter().chain(&condition).for_each(|e| e.columns(&mut used));
            let (input, have) = prune(*input, &used, readers)?;
            let exprs = exprs.into_iter().map(|e| moved(e, &have)).collect::<Result<_>>()?;
            let condition = condition.map(|c| moved(c, &have)).transpose()?;
            (Plan::Calc { input: Box::new(input), condition, exprs, schema: schema.project(&keep) }, keep)
        }
        Plan::Aggregate { input, keys, calls, window, ttl, schema, uids } => {
            let (input, keys, calls, schema, have) = prune_aggregate(*input, keys, calls, schema, wanted, readers)?;
            select(Plan::Aggregate { input: Box::new(input), keys, calls, window, ttl, schema, uids }, have, wanted)?
        }
        Plan::Window { input, windows, merged, time, partition, schema, uids } => {
            let width = input.schema().len();
            let mut used: BTreeSet<usize> = wanted.iter().copied().filter(|w| *w < width).collect();
            used.extend(&partition);
            used.insert(time.column);
            let (input, have) = prune(*input, &used, readers)?;
            let (partition, column) = (places(&partition, &have)?, place(time.column, &have)?);
            let left: Vec<usize> = have.into_iter().chain(width..schema.len()).collect();
            let (time, schema) = (WindowTime { column, ..time }, schema.project(&left));
            let input = Box::new(input);
            select(Plan::Window { input, windows, merged, time, partition, schema, uids }, left, wanted)?
        }
        Plan::Lookup { input, table, on, left, retry, keep, columns, schema } => {
            let width = keep.len();
            let kept: Vec<usize> = wanted.iter().copied().collect();
            let (here, there): (Vec<usize>, Vec<usize>) = kept.iter().copied().partition(|k| *k < width);
            let used: BTreeSet<usize> = here.iter().map(|k| keep[*k]).chain(on.iter().map(|o| o.0)).collect();
            let (input, have) = prune(*input, &used, readers)?;
            let here: Vec<usize> = here.iter().map(|k| keep[*k]).collect();
            let on = on.into_iter().map(|(here, there)| Ok((place(here, &have)?, there))).collect::<Result<_>>()?;
            let plan = Plan::Lookup {
                input: Box::new(input),
                table,
                on,
                left,
                retry,
                keep: places(&here, &have)?,
                columns: there.iter().map(|k| columns[k - width]).collect(),
                schema: schema.project(&kept),
            };
            (plan, kept)
        }
        Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids } => {
            let width = left.schema().len();
            let mut used: [BTreeSet<usize>; 2] = Default::default();
            let mut read = wanted.clone();
            condition.iter().for_each(|c| c.columns(&mut read));
            read.extend(on.iter().flat_map(|k| [k.left, width + k.right]));
            if let Some(AsOf::EventTime { left, right }) = as_of {
                read.extend([left, width + right]);
            }
            read.into_iter().for_each(|c| {
                used[usize::from(c >= width)].insert(if c < width { c } else { c - width });
            });
            let (left, of_left) = prune(*left, &used[0], readers)?;
            let (right, of_right) = prune(*right, &used[1], readers)?;
            let have: Vec<usize> = of_left.iter().copied().chain(of_right.iter().map(|c| width + c)).collect();
            let on = on
                .into_iter()
                .map(|k| Ok(JoinKey { left: place(k.left, &of_left)?, right: place(k.right, &of_right)?, ..k }));
            let on = on.collect::<Result<_>>()?;
            let as_of = match as_of {
                Some(AsOf::EventTime { left, right }) => {
                    Some(AsOf::EventTime { left: place(left, &of_left)?, right: place(right, &of_right)? })
                }
                as_of => as_of,
            };
            let condition = condition.map(|c| moved(c, &have)).transpose()?;
            let out = if kind.left_only() { of_left } else { have };
            let (left, right, schema) = (Box::new(left), Box::new(right), schema.project(&out));
            select(Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids }, out, wanted)?
        }
        Plan::Unnest { input, collection, keep, columns, left, schema } => {
            let width = keep.len();
            let kept: Vec<usize> = wanted.iter().copied().collect();
            let (here, there): (Vec<usize>, Vec<usize>) = kept.iter().copied().partition(|k| *k < width);
            let here: Vec<usize> = here.iter().map(|k| keep[*k]).collect();
            let used = here.iter().copied().chain([collection]).collect();
            let (input, have) = prune(*input, &used, readers)?;
            let plan = Plan::Unnest {
                input: Box::new(input),
                collection: place(collection, &have)?,
                keep: places(&here, &have)?,
                columns: there.iter().map(|k| columns[k - width]).collect(),
                left,
                schema: schema.project(&kept),
            };
            (plan, kept)
        }
        Plan::Normalize { input, keys, schema, uids } => {
            // The key is always kept.
            let mut used = wanted.clone();
            used.extend(&keys);
            let (input, have) = prune(*input, &used, readers)?;
            let keys = places(&keys, &have)?;
            let schema = schema.project(&have);
            select(Plan::Normalize { input: Box::new(input), keys, schema, uids }, have, wanted)?
        }
        Plan::Expand { input, sets, keys, schema } => {
            let all: BTreeSet<usize> = (0..input.schema().len()).collect();
            let (input, _) = prune(*input, &all, readers)?;
            let kept: Vec<usize> = (0..schema.len()).collect();
            select(Plan::Expand { input: Box::new(input), sets, keys, schema }, kept, wanted)?
        }
        Plan::Rank { input, partition, order, ranks, number, schema, uids } => {
            let width = input.schema().len();
            let number = number && wanted.contains(&width);
            let mut used: BTreeSet<usize> = wanted.iter().copied().filter(|w| *w < width).collect();
            if !number && matches!(ranks, Ranks { first: 1, last: None, .. }) {
                // Row numbers of all rows that are not read.
                return prune(*input, &used, readers);
            }
            used.extend(partition.iter().chain(order.iter().map(|k| &k.column)));
            let (input, have) = prune(*input, &used, readers)?;
            let partition = places(&partition, &have)?;
            let order = order.into_iter().map(|k| Ok(SortKey { column: place(k.column, &have)?, ..k }));
            let order = order.collect::<Result<_>>()?;
            let left: Vec<usize> = have.into_iter().chain(number.then_some(width)).collect();
            let schema = schema.project(&left);
            let plan = Plan::Rank { input: Box::new(input), partition, order, ranks, number, schema, uids };
            select(plan, left, wanted)?
        }
        Plan::Over { input, partition, order, frame, calls, schema, uids } => {
            let width = input.schema().len();
            let numbers: Vec<usize> = (0..calls.len()).filter(|n| wanted.contains(&(width + n))).collect();
            let mut used: BTreeSet<usize> = wanted.iter().copied().filter(|w| *w < width).collect();
            if numbers.is_empty() {
                return prune(*input, &used, readers);
            }
            let calls: Vec<AggregateCall> = numbers.iter().map(|n| calls[*n].clone()).collect();
            used.extend(partition.iter().copied().chain(order.columns()));
            used.extend(calls.iter().flat_map(AggregateCall::columns));
            let (input, have) = prune(*input, &used, readers)?;
            let moved = |call: AggregateCall| call.moved(|c| place(c, &have));
            let calls = calls.into_iter().map(moved).collect::<Result<_>>()?;
            let (partition, order) = (places(&partition, &have)?, order.moved(|c| place(c, &have))?);
            let left: Vec<usize> = have.into_iter().chain(numbers.into_iter().map(|n| width + n)).collect();
            let schema = schema.project(&left);
            let plan = Plan::Over { input: Box::new(input), partition, order, frame, calls, schema, uids };
            select(plan, left, wanted)?
        }
        Plan::Match { input, partition, time, order, matching, schema, uids } => {
            prune_match((*input, partition, time, order, matching), schema, uids, wanted, readers)?
        }
        Plan::Sort { input, order, time, schema, uids } => {
            let used = wanted.iter().copied().chain(order.iter().map(|k| k.column)).chain(time).collect();
            let (input, have) = prune(*input, &used, readers)?;
            let order = order.into_iter().map(|k| Ok(SortKey { column: place(k.column, &have)?, ..k }));
            let order = order.collect::<Result<_>>()?;
            let time = time.map(|t| place(t, &have)).transpose()?;
            let schema = schema.project(&have);
            select(Plan::Sort { input: Box::new(input), order, time, schema, uids }, have, wanted)?
        }
        Plan::Union { inputs, schema } => {
            let keep: Vec<usize> = wanted.iter().copied().collect();
            let schema = schema.project(&keep);
            let inputs = inputs
                .into_iter()
                .map(|i| {
                    let (plan, have) = prune(i, wanted, readers)?;
                    Ok(select(plan, have, wanted)?.0)
                })
                .collect::<Result<_>>()?;
            (Plan::Union { inputs, schema }, keep)
        }
        Plan::Shared(shared) => prune_shared(shared, wanted, readers)?,
    })
}

/// The parts of an aggregation, and which of its old columns it still has.
type Aggregation = (Plan, Vec<usize>, Vec<AggregateCall>, Schema, Vec<usize>);

/// Removes unused aggregates.
fn prune_aggregate(
    input: Plan,
    keys: Vec<usize>,
    mut calls: Vec<AggregateCall>,
    schema: Schema,
    wanted: &BTreeSet<usize>,
    readers: &mut Readers,
) -> Result<Aggregation> {
    // Keys are always kept, since they define the groups. Unused aggregates are removed.
    let count = keys.len();
    let keep_calls: Vec<usize> = (0..calls.len()).filter(|i| wanted.contains(&(count + i))).collect();
    // An aggregation without aggregates would be a DISTINCT with another changelog, so one is kept.
    let keep_calls = if keep_calls.is_empty() && !calls.is_empty() { vec![0] } else { keep_calls };
    calls = keep_calls.iter().map(|i| calls[*i].clone()).collect();
    let mut used: BTreeSet<usize> = keys.iter().copied().collect();
    used.extend(calls.iter().flat_map(AggregateCall::columns));
    let (input, have) = prune(input, &used, readers)?;
    calls = calls.into_iter().map(|call| call.moved(|c| place(c, &have))).collect::<Result<_>>()?;
    let keys = places(&keys, &have)?;
    let kept: Vec<usize> = (0..count).chain(keep_calls.into_iter().map(|i| count + i)).collect();
    let schema = schema.project(&kept);
    Ok((input, keys, calls, schema, kept))
}

/// The parts of a relation of matches: its input, its partition, its time, its order and its pattern.
type Matches = (Plan, Vec<usize>, WindowTime, Vec<SortKey>, Arc<MatchRecognize>);

/// Removes what is read of matches and not used, and unused columns of the input.
fn prune_match(
    (input, partition, time, order, matching): Matches,
    schema: Schema,
    uids: StateUids,
    wanted: &BTreeSet<usize>,
    readers: &mut Readers,
) -> Result<(Plan, Vec<usize>)> {
    let mut matching = Arc::unwrap_or_clone(matching);
    let width = schema.len() - matching.measures.len();
    // What is written of matches that are not complete in time is read of all.
    let (own, mut of_timed_out) = (partition.len(), BTreeSet::new());
    matching.timed_out.iter().flat_map(|t| &t.measures).for_each(|(_, e)| e.columns(&mut of_timed_out));
    let used = |n: &usize| wanted.contains(&(width + n)) || of_timed_out.contains(&(own + n));
    let numbers: Vec<usize> = (0..matching.measures.len()).filter(used).collect();
    let written: Vec<usize> = (0..own).chain(numbers.iter().map(|n| own + n)).collect();
    for (_, e) in matching.timed_out.iter_mut().flat_map(|t| &mut t.measures) {
        *e = moved(e.clone(), &written)?;
    }
    matching.measures = numbers.iter().map(|n| matching.measures[*n].clone()).collect();
    let mut used = matching.columns();
    used.extend(partition.iter().chain(order.iter().map(|k| &k.column)).chain([&time.column]));
    if matching.all_rows {
        used.extend(wanted.iter().filter(|w| **w < width));
    }
    let (input, have) = prune(input, &used, readers)?;
    let matching = matching.moved(&|c| place(c, &have))?;
    let (partition, column) = (places(&partition, &have)?, place(time.column, &have)?);
    let order = order.into_iter().map(|k| Ok(SortKey { column: place(k.column, &have)?, ..k }));
    let order = order.collect::<Result<_>>()?;
    let rows = if matching.all_rows { have } else { (0..width).collect() };
    let left: Vec<usize> = rows.into_iter().chain(numbers.into_iter().map(|n| width + n)).collect();
    let (time, schema, matching) = (WindowTime { column, ..time }, schema.project(&left), Arc::new(matching));
    select(Plan::Match { input: Box::new(input), partition, time, order, matching, schema, uids }, left, wanted)
}

/// Removes columns of a shared relation that none of its readers uses.
fn prune_shared(shared: Arc<Shared>, wanted: &BTreeSet<usize>, readers: &mut Readers) -> Result<(Plan, Vec<usize>)> {
    let of_all = readers.wanted.entry(shared.id).or_default();
    of_all.extend(wanted);
    let of_all = of_all.clone();
    if let Some((new, have)) = readers.done.get(&shared.id) {
        if wanted.iter().all(|w| have.contains(w)) {
            return select(Plan::Shared(new.clone()), have.clone(), wanted);
        }
        // The result of this round is discarded, so any relation with these columns will do.
        readers.late = true;
        let have = (0..shared.plan.schema().len()).collect();
        return select(Plan::Shared(shared), have, wanted);
    }
    let (plan, have) = prune(shared.plan.clone(), &of_all, readers)?;
    let new = Arc::new(Shared { id: shared.id, plan });
    readers.done.insert(shared.id, (new.clone(), have.clone()));
    select(Plan::Shared(new), have, wanted)
}

/// Projects a plan to the wanted columns if it has more.
pub(crate) fn select(plan: Plan, have: Vec<usize>, wanted: &BTreeSet<usize>) -> Result<(Plan, Vec<usize>)> {
    let keep: Vec<usize> = wanted.iter().copied().collect();
    if have == keep {
        return Ok((plan, have));
    }
    let columns = plan.columns();
    let chosen = places(&keep, &have)?.into_iter().map(|i| columns[i].clone()).collect();
    Ok((Plan::calc(plan, None, chosen), keep))
}

/// The position of a column among the remaining ones.
fn place(column: usize, have: &[usize]) -> Result<usize> {
    let at = have.iter().position(|h| *h == column);
    at.ok_or_else(|| Error::internal(format!("column {column} is read, and was left out of {have:?}")))
}

fn places(columns: &[usize], have: &[usize]) -> Result<Vec<usize>> {
    columns.iter().map(|c| place(*c, have)).collect()
}

/// Adapts an expression to the remaining columns.
pub(crate) fn moved(e: Expr, have: &[usize]) -> Result<Expr> {
    let mut lost = None;
    let e = e.rewrite(&mut |e| match e {
        Expr::Column { index, name, ty } => match place(index, have) {
            Ok(index) => Expr::Column { index, name, ty },
            Err(e) => {
                lost = Some(e);
                Expr::Column { index, name, ty }
            }
        },
        e => e,
    });
    lost.map_or(Ok(e), Err)
}

/// Evaluates constants once. An expression that fails is kept, so that only the rows that need it fail.
fn fold(plan: Plan, done: &mut Rewritten, session: &Arc<Session>) -> Plan {
    let plan = plan.map_inputs(done, &mut |input, done| fold(input, done, session));
    let f = |e: Expr| {
        e.rewrite(&mut |e| match &e {
            Expr::Column { .. } | Expr::Literal { .. } => e,
            _ if !e.constant() => e,
            _ if e.ty().is_nested() => e,
            _ => match constant(&e, session) {
                Ok(value) => Expr::Literal { value, ty: e.ty() },
                Err(_) => e,
            },
        })
    };
    match plan {
        Plan::Calc { input, condition, exprs, schema } => {
            Plan::Calc { input, condition: condition.map(f), exprs: exprs.into_iter().map(f).collect(), schema }
        }
        Plan::Join { left, right, kind, on, as_of, condition, ttl, schema, uids } => {
            Plan::Join { left, right, kind, on, as_of, condition: condition.map(f), ttl, schema, uids }
        }
        // Aggregates and keys are columns, and constant rows are evaluated only once anyway.
        other @ (Plan::Scan { .. }
        | Plan::Values { .. }
        | Plan::Expand { .. }
        | Plan::Aggregate { .. }
        | Plan::Normalize { .. }
        | Plan::Lookup { .. }
        | Plan::Unnest { .. }
        | Plan::Rank { .. }
        | Plan::Window { .. }
        | Plan::Over { .. }
        | Plan::Match { .. }
        | Plan::Sort { .. }
        | Plan::Union { .. }
        | Plan::Shared(_)) => other,
    }
}
