//! Aggregations that merge windows: over windows that overlap, each row is taken once, into its slice; over sessions, rows are taken into
//! the session's group as they come. It is done wherever nothing else reads the windows that a row is in.

use crate::logical::{Plan, Rewritten, WindowMerge};
use crate::settings::Mode;
use crate::traits::derive;
use std::collections::BTreeSet;
use weir_core::keyed::TimeDomain;
use weir_core::windows::{Slices, Windows};
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;

/// Has aggregations merge windows wherever that gives the same results.
pub(crate) fn merge_windows(plan: Plan, done: &mut Rewritten) -> Plan {
    let mut plan = plan.map_inputs(done, &mut merge_windows);
    if let Some(found) = merge_of(&plan)
        && let Plan::Aggregate { input, window: Some(window), .. } = &mut plan
    {
        window.merge = Some(found);
        mark(input);
    }
    plan
}

/// What a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A border of the row's window, or its time.
    Window,
    /// A column of the rows that are put into windows.
    Column(usize),
    /// Something else.
    Other,
}

/// The windows that a relation's rows are in, if nothing but its reader looks at these.
struct Below<'a> {
    windows: Windows,
    domain: TimeDomain,
    partition: &'a [usize],
    content: Vec<Content>,
    /// Whether rows come as often as they were put into windows.
    once: bool,
}

/// How an aggregation can merge its windows, if it can.
fn merge_of(plan: &Plan) -> Option<WindowMerge> {
    let Plan::Aggregate { input, keys, calls, window: Some(window), .. } = plan else { return None };
    // What went out of a window early or late is kept by window.
    if window.emit.is_some() {
        return None;
    }
    let below = below(input)?;
    let others = || window.others(keys.len()).map(|n| keys[n]);
    let mut read = others().chain(calls.iter().flat_map(|c| c.args.iter().chain(&c.filter).copied()));
    if read.any(|c| below.content[c] == Content::Window) || !calls.iter().all(AggregateCall::is_unordered) {
        return None;
    }
    let traits = || derive(input, Mode::Streaming).traits.clone();
    match below.windows {
        Windows::Session { .. } => {
            // Rows of one group must be those of one session.
            let same = |c: usize, p: &usize| below.content[c] == Content::Column(*p);
            let partition = below.partition;
            let by_partition = others().all(|c| partition.iter().any(|p| same(c, p)))
                && partition.iter().all(|p| others().any(|c| same(c, p)));
            let by_time = below.domain == TimeDomain::Event && below.once;
            (by_partition && by_time && traits().changelog.is_insert_only()).then_some(WindowMerge::Sessions)
        }
        // A row that goes must be found in the slice into which it came.
        windows => Slices::of(windows).filter(|_| traits().balanced).map(WindowMerge::Slices),
    }
}

fn below(plan: &Plan) -> Option<Below<'_>> {
    match plan {
        Plan::Window { input, windows, time, partition, schema, .. } => {
            let width = input.schema().len();
            let content = |c: usize| if c < width { Content::Column(c) } else { Content::Window };
            let content = (0..schema.len()).map(content).collect();
            Some(Below { windows: *windows, domain: time.domain, partition, content, once: true })
        }
        Plan::Calc { input, condition, exprs, .. } => {
            let mut below = below(input)?;
            let reads = |e: &Expr| {
                let mut columns = BTreeSet::new();
                e.columns(&mut columns);
                columns.into_iter().any(|c| below.content[c] == Content::Window)
            };
            let content = |e: &Expr| match e {
                Expr::Column { index, .. } => Some(below.content[*index]),
                e => (!reads(e)).then_some(Content::Other),
            };
            let content = exprs.iter().map(content).collect::<Option<_>>()?;
            if condition.iter().any(reads) {
                return None;
            }
            below.content = content;
            Some(below)
        }
        Plan::Expand { input, sets, keys, .. } => {
            let mut below = below(input)?;
            for (c, content) in below.content.iter_mut().enumerate() {
                if keys.contains(&c) && sets.iter().any(|s| !s.contains(&c)) {
                    if *content == Content::Window {
                        return None;
                    }
                    *content = Content::Other;
                }
            }
            // The number of the set.
            below.content.push(Content::Other);
            below.once = false;
            Some(below)
        }
        // Behind another relation, rows stay in each of their windows.
        _ => None,
    }
}

/// Has the windows below give a row once only, with a window of its own.
fn mark(plan: &mut Plan) {
    match plan {
        Plan::Window { merged, .. } => *merged = true,
        Plan::Calc { input, .. } | Plan::Expand { input, .. } => mark(input),
        _ => {}
    }
}
