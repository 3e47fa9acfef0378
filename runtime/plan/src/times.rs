//! Time attributes of columns: which columns have the times of rows, and which the windows of rows. These are Flink's time attributes and
//! window properties, derived from the sources up.

use crate::intervals::interval_of;
use crate::logical::{GroupWindow, Plan, Ranks, WindowTime};
use weir_core::join::{Interval, JoinKey, LEFT, RIGHT};
use weir_core::keyed::TimeDomain;
use weir_core::rank::SortKey;
use weir_core::windows::Windows;
use weir_expr::Expr;
use weir_expr::match_recognize::What;

/// The windows of a relation's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windowed {
    /// The kind and size of the windows.
    pub windows: Windows,
    /// Event time or processing time.
    pub domain: TimeDomain,
    /// Whether they are in the session's time zone.
    pub local: bool,
}

/// The time attribute of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeAttribute {
    /// The event time of the row, which watermarks follow.
    RowTime,
    /// The processing time of the row.
    ProcTime,
    /// The start of the row's window.
    WindowStart(Windowed),
    /// The end of the row's window.
    WindowEnd(Windowed),
    /// The last millisecond of the row's window, which is the time of the row.
    WindowTime(Windowed),
}

impl TimeAttribute {
    /// The time domain of windows, orders and joins over the column, if it has one.
    pub fn domain(self) -> Option<TimeDomain> {
        match self {
            TimeAttribute::RowTime => Some(TimeDomain::Event),
            TimeAttribute::ProcTime => Some(TimeDomain::Processing),
            TimeAttribute::WindowTime(w) => Some(w.domain),
            TimeAttribute::WindowStart(_) | TimeAttribute::WindowEnd(_) => None,
        }
    }
}

/// The time attribute of an expression over columns with these attributes.
fn of_expr(e: &Expr, below: &[Option<TimeAttribute>]) -> Option<TimeAttribute> {
    match e {
        Expr::Column { index, .. } => below.get(*index).copied().flatten(),
        Expr::Call { function, .. } if function.name() == "PROCTIME" => Some(TimeAttribute::ProcTime),
        // A cast that only changes nullability.
        Expr::Cast { expr, ty, .. } if expr.ty().kind == ty.kind => of_expr(expr, below),
        _ => None,
    }
}

/// The time domain of a column, if it has one. `times` has the attributes of all columns of the relation.
pub fn time_domain(column: usize, times: &[Option<TimeAttribute>]) -> Option<TimeDomain> {
    times.get(column).copied().flatten().and_then(TimeAttribute::domain)
}

/// The window whose start and end are among the keys of groups or partitions, if there is one. The keys are columns of a relation with
/// these attributes.
pub fn window_among(keys: &[usize], times: &[Option<TimeAttribute>]) -> Option<GroupWindow> {
    let of = |k: &usize| times.get(*k).copied().flatten();
    keys.iter().enumerate().find_map(|(start, k)| {
        let Some(TimeAttribute::WindowStart(w)) = of(k) else { return None };
        let end = keys.iter().position(|k| of(k) == Some(TimeAttribute::WindowEnd(w)))?;
        let sessions = matches!(w.windows, Windows::Session { .. });
        Some(GroupWindow { start, end, domain: w.domain, local: w.local, merge: None, sessions, emit: None })
    })
}

/// The window of a join: the keys that are the ends and the starts of the same windows of both sides, if there are any.
pub(crate) fn window_of_join(
    on: &[JoinKey],
    left: &[Option<TimeAttribute>],
    right: &[Option<TimeAttribute>],
) -> Option<(usize, usize, Windowed)> {
    let of = |k: &JoinKey| {
        let (l, r) = (left.get(k.left).copied().flatten()?, right.get(k.right).copied().flatten()?);
        (l == r).then_some(l)
    };
    on.iter().enumerate().find_map(|(start, k)| {
        let Some(TimeAttribute::WindowStart(w)) = of(k) else { return None };
        let end = on.iter().position(|k| of(k) == Some(TimeAttribute::WindowEnd(w)))?;
        Some((end, start, w))
    })
}

/// The interval of a join whose condition bounds the difference of the times of both sides.
pub(crate) fn interval_of_join(
    plan: &Plan,
    left: &[Option<TimeAttribute>],
    right: &[Option<TimeAttribute>],
) -> Option<Interval> {
    let Plan::Join { on, as_of: None, condition: Some(condition), left: of_left, .. } = plan else { return None };
    let width = of_left.schema().len();
    let of_domain = |attribute: TimeAttribute, domain: TimeDomain| {
        let is_time = |a: &Option<TimeAttribute>| *a == Some(attribute);
        let mut times: Vec<bool> = left.iter().map(is_time).collect();
        times.resize(width, false);
        times.extend(right.iter().map(is_time));
        interval_of(condition, &times, width, domain)
    };
    let event_time = of_domain(TimeAttribute::RowTime, TimeDomain::Event);
    event_time.or_else(|| of_domain(TimeAttribute::ProcTime, TimeDomain::Processing)).filter(|_| !on.is_empty())
}

/// The time attributes of a join of windows, or of times. A row that may be missing has none.
fn joined(plan: &Plan, inputs: &[&[Option<TimeAttribute>]]) -> Vec<Option<TimeAttribute>> {
    let (Plan::Join { kind, on, as_of, schema, left, .. }, [of_left, of_right]) = (plan, inputs) else { return vec![] };
    let width = left.schema().len();
    if as_of.is_some() {
        return of_left.iter().copied().chain(std::iter::repeat(None)).take(schema.len()).collect();
    }
    let windows = window_of_join(on, of_left, of_right).is_some();
    if !windows && interval_of_join(plan, of_left, of_right).is_none() {
        // Rows are joined with those of any time.
        return vec![None; schema.len()];
    }
    let stays = |a: &TimeAttribute| windows != matches!(a, TimeAttribute::RowTime) && *a != TimeAttribute::ProcTime;
    let side = |times: &[Option<TimeAttribute>], may_miss: bool| -> Vec<Option<TimeAttribute>> {
        times.iter().map(|a| a.filter(|a| stays(a) && !may_miss)).collect()
    };
    let mut all = side(of_left, kind.pads(RIGHT));
    all.resize(width, None);
    if !kind.left_only() {
        all.extend(side(of_right, kind.pads(LEFT)));
    }
    all.resize(schema.len(), None);
    all
}

/// The time column of an order, if it is by time, ascending.
fn ascending_time(order: &[SortKey], below: &[Option<TimeAttribute>]) -> Option<(usize, TimeDomain)> {
    let [SortKey { column, descending: false, .. }] = order else { return None };
    time_domain(*column, below).map(|domain| (*column, domain))
}

/// The time column by which a relation keeps the first row of each partition, if it does.
pub(crate) fn first_in_time(plan: &Plan, below: &[Option<TimeAttribute>]) -> Option<(usize, TimeDomain)> {
    let Plan::Rank { order, ranks: Ranks { first: 1, last: Some(1), .. }, .. } = plan else { return None };
    ascending_time(order, below)
}

/// The time column by which a relation numbers all rows of each partition, if it does.
pub(crate) fn numbers_in_time(plan: &Plan, below: &[Option<TimeAttribute>]) -> Option<(usize, TimeDomain)> {
    let Plan::Rank { order, ranks: Ranks { first: 1, last: None, .. }, number: true, .. } = plan else { return None };
    ascending_time(order, below)
}

/// Whether a Top-N of an append-only input emits each row once: when its window is complete, or when the watermark has passed it.
pub(crate) fn once(plan: &Plan, below: &[Option<TimeAttribute>]) -> bool {
    let Plan::Rank { partition, ranks, .. } = plan else { return false };
    ranks.last.is_some() && window_among(partition, below).is_some()
        || first_in_time(plan, below).is_some()
        || numbers_in_time(plan, below).is_some()
}

/// The time attributes of a relation's columns, given those of its inputs.
pub(crate) fn times(plan: &Plan, inputs: &[&[Option<TimeAttribute>]]) -> Vec<Option<TimeAttribute>> {
    let below = inputs.first().copied().unwrap_or_default();
    let of = |column: usize| below.get(column).copied().flatten();
    let nothing = |count: usize| vec![None; count];
    match plan {
        Plan::Scan { table, columns, .. } => {
            let row_time = table.event_time.as_ref().map(|t| t.column);
            columns.iter().map(|c| (row_time == Some(*c)).then_some(TimeAttribute::RowTime)).collect()
        }
        Plan::Values { schema, .. } => nothing(schema.len()),
        Plan::Calc { exprs, .. } => exprs.iter().map(|e| of_expr(e, below)).collect(),
        Plan::Expand { sets, keys, schema, .. } => {
            let stays = |c: &usize| !keys.contains(c) || sets.iter().all(|s| s.contains(c));
            (0..schema.len()).map(|c| of(c).filter(|_| stays(&c))).collect()
        }
        Plan::Aggregate { keys, calls, window: Some(_), .. } => {
            keys.iter().map(|k| of(*k)).chain(nothing(calls.len())).collect()
        }
        Plan::Aggregate { window: None, schema, .. } => nothing(schema.len()),
        Plan::Join { .. } => joined(plan, inputs),
        Plan::Normalize { .. } | Plan::Shared(_) => below.to_vec(),
        Plan::Lookup { keep, columns, .. } | Plan::Unnest { keep, columns, .. } => {
            keep.iter().map(|k| of(*k)).chain(nothing(columns.len())).collect()
        }
        Plan::Rank { schema, .. } | Plan::Over { schema, .. } | Plan::Sort { schema, .. } => {
            (0..schema.len()).map(of).collect()
        }
        // Rows of a match come after their time. The match has a time of its own.
        Plan::Match { matching, schema, .. } => {
            let looks =
                matching.measures.iter().map(|l| matches!(l.what, What::Time).then_some(TimeAttribute::RowTime));
            nothing(schema.len() - matching.measures.len()).into_iter().chain(looks).collect()
        }
        Plan::Window { windows, time, input, .. } => {
            let WindowTime { column, domain, local } = *time;
            let w = Windowed { windows: *windows, domain, local };
            // Rows of a session wait until it is complete, so their original time is no longer an attribute that watermarks follow.
            let waits = matches!(windows, Windows::Session { .. });
            let all = (0..input.schema().len()).map(|c| of(c).filter(|_| !waits || c != column));
            let of_window = [TimeAttribute::WindowStart(w), TimeAttribute::WindowEnd(w), TimeAttribute::WindowTime(w)];
            all.chain(of_window.map(Some)).collect()
        }
        Plan::Union { schema, .. } => {
            let same = |c: usize| of(c).filter(|a| inputs.iter().all(|i| i.get(c).copied().flatten() == Some(*a)));
            (0..schema.len()).map(same).collect()
        }
    }
}
