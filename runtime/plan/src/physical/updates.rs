//! Leaves the old rows of updates out where nothing needs them. A sink that replaces the row of a key only needs the new row, and so does
//! a Top-N that keeps rows by key. The planner of Flink calls this `ONLY_UPDATE_AFTER`.

use super::graph::{Aggregation, Graph, Node, Operator};
use weir_core::graph::MAIN;
use weir_core::rank::RankStrategy;
use weir_expr::Expr;

/// Tells the operators whose updates reach only readers that replace rows by key not to emit old rows. `replacing` are the sinks that do;
/// the rows' own key is the sink's.
pub(super) fn leave_out_old_rows(graph: &mut Graph, replacing: &[usize]) {
    let ranks = graph.nodes.iter().enumerate().filter(|(_, n)| matches!(n.chain.first(), Some(o) if replaces(o)));
    let readers: Vec<usize> = ranks.map(|(at, _)| at).chain(replacing.iter().copied()).collect();
    for reader in readers {
        let sink = replacing.contains(&reader).then_some(reader);
        if let Some(nodes) = path(graph, reader) {
            for at in nodes.into_iter().chain(sink) {
                let node = &mut graph.nodes[at];
                node.changelog.update_before = false;
                if let Some(update_before) = node.chain.iter_mut().rev().find_map(update_before) {
                    *update_before = false;
                }
            }
        }
    }
}

/// Whether an operator replaces the row of a key that its input has as well.
fn replaces(operator: &Operator) -> bool {
    matches!(operator, Operator::Rank { strategy: RankStrategy::Update(_), .. })
}

/// The nodes from the one in front of a reader to the one that emits its updates, if each has no other reader and keeps both rows of an
/// update or none.
fn path(graph: &mut Graph, reader: usize) -> Option<Vec<usize>> {
    let (mut at, mut nodes) = (reader, vec![]);
    loop {
        let [input] = graph.nodes[at].inputs.as_slice() else { return None };
        let readers = graph.nodes.iter().flat_map(|n| &n.inputs).filter(|e| e.from == input.from && e.port == MAIN);
        if input.port != MAIN || readers.count() > 1 {
            return None;
        }
        at = input.from;
        nodes.push(at);
        let Node { chain, changelog, .. } = &mut graph.nodes[at];
        if !changelog.update_before {
            return None;
        }
        for operator in chain.iter_mut().rev() {
            if update_before(operator).is_some() {
                return Some(nodes);
            }
            if !passes(operator) {
                return None;
            }
        }
    }
}

/// Whether an operator passes on the new row of each update. A filter does not, and neither does a function that drops rows: the old row
/// then takes back what a reader has.
fn passes(operator: &Operator) -> bool {
    match operator {
        Operator::Calc { condition, exprs, .. } => {
            let drops = |e: &Expr| matches!(e, Expr::Call { function, .. } if function.is_user_defined());
            condition.is_none() && !exprs.iter().any(|e| e.any(&drops))
        }
        Operator::Enforce { constraints, .. } => !constraints.rules.drops_null,
        _ => false,
    }
}

/// Whether the operator emits old rows, if it updates rows.
fn update_before(operator: &mut Operator) -> Option<&mut bool> {
    match operator {
        Operator::Aggregate(Aggregation { update_before, .. })
        | Operator::GlobalAggregate(Aggregation { update_before, .. })
        | Operator::OverValues { update_before, .. }
        | Operator::Normalize { update_before, .. }
        | Operator::Materialize { update_before, .. }
        | Operator::Rank { update_before, .. } => Some(update_before),
        _ => None,
    }
}
