//! Aggregations that merge windows. For overlapping windows, each row is aggregated once, into its slice. For sessions, rows are aggregated
//! into the session's group when they arrive. This is done wherever nothing else reads the windows of the rows.

use crate::logical::{Plan, Rewritten, WindowMerge};
use crate::settings::Mode;
use crate::traits::derive;
use std::collections::BTreeSet;
use weir_core::keyed::TimeDomain;
use weir_core::windows::{Slices, Windows};
use weir_expr::Expr;
use weir_expr::aggregate::AggregateCall;

/// Makes aggregations merge windows wherever this does not change the results.
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

/// The content of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A border or the time of the row's window.
    Window,
    /// A column of the rows before they were assigned to windows.
    Column(usize),
    /// Something else.
    Other,
}

/// The windows of a relation's rows, if no other relation uses them.
struct Below<'a> {
    windows: Windows,
    domain: TimeDomain,
    partition: &'a [usize],
    content: Vec<Content>,
    /// Whether each row arrives as often as it was assigned to windows.
    once: bool,
}

/// How an aggregation can merge its windows, if it can.
fn merge_of(plan: &Plan) -> Option<WindowMerge> {
    let Plan::Aggregate { input, keys, calls, window: Some(window), .. } = plan else { return None };
    // The last early or late result is kept for each window, so windows are not merged.
    if window.emit.is_some() {
        return None;
    }
    let below = below(input)?;
    let others = || window.others(keys.len()).map(|n| keys[n]);
    let mut read = others().chain(calls.iter().flat_map(AggregateCall::columns));
    if read.any(|c| below.content[c] == Content::Window) || !calls.iter().all(AggregateCall::is_unordered) {
        return None;
    }
    let traits = || derive(input, Mode::Streaming).traits.clone();
    match below.windows {
        Windows::Session { .. } => {
            // The rows of a group must be exactly those of one session.
            let same = |c: usize, p: &usize| below.content[c] == Content::Column(*p);
            let partition = below.partition;
            let by_partition = others().all(|c| partition.iter().any(|p| same(c, p)))
                && partition.iter().all(|p| others().any(|c| same(c, p)));
            let by_time = below.domain == TimeDomain::Event && below.once;
            (by_partition && by_time && traits().changelog.is_insert_only()).then_some(WindowMerge::Sessions)
        }
        // A retraction must find its row in the slice into which it was inserted.
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
            // The number of the grouping set.
            below.content.push(Content::Other);
            below.once = false;
            Some(below)
        }
        // After any other relation, rows stay in each of their windows.
        _ => None,
    }
}

/// Makes the windows below emit each row only once, with its own window.
fn mark(plan: &mut Plan) {
    match plan {
        Plan::Window { merged, .. } => *merged = true,
        Plan::Calc { input, .. } | Plan::Expand { input, .. } => mark(input),
        _ => {}
    }
}
