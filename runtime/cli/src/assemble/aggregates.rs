//! Aggregations: in one stage, or in two with an exchange between them.

use super::{Assembly, Output, forward, partitioned};
use std::sync::Arc;
use weir_core::Result;
use weir_core::graph::{Partitioning, Role};
use weir_expr::aggregate::Aggregate;
use weir_operators::aggregate::{AggregateFactory, Stage};
use weir_operators::chain::ChainFactory;

impl Assembly<'_> {
    /// Makes the nodes of an aggregation. `balances`: whether no row goes that did not come.
    pub(super) fn aggregate(
        &mut self,
        whole: AggregateFactory,
        below: Output,
        uid: String,
        balances: bool,
    ) -> Result<Output> {
        let parallelism = if whole.keys.is_empty() { 1 } else { self.parallelism };
        let keys = whole.keys.clone();
        // Rows that go from a group which is not there, or is no longer, can only be told apart one by one.
        let one_by_one = whole.retracts && (has_extremes(&whole) || !balances || whole.ttl_millis > 0);
        if below.parallelism == 1 && parallelism == 1 || !whole.splits() || one_by_one {
            let partitioning = if keys.is_empty() { Partitioning::Single } else { Partitioning::Hash(keys) };
            let edge = partitioned(below.node, partitioning);
            let node = self.add("aggregate", uid, parallelism, Role::Operator(Arc::new(whole)), vec![edge]);
            return Ok(Output { node, parallelism });
        }
        // A local stage before the exchange, in one chain with the operator in front of it where that has no other reader.
        let local = AggregateFactory { stage: Stage::Local, ..whole.clone() };
        let partitioning =
            if keys.is_empty() { Partitioning::Single } else { Partitioning::Hash((0..keys.len()).collect()) };
        let from = match &self.nodes[below.node].role {
            Role::Operator(calc)
                if self.nodes[below.node].name.starts_with("calc") && !self.has_several_readers(below.node) =>
            {
                let chain = ChainFactory { links: vec![calc.clone(), Arc::new(local)] };
                let node = &mut self.nodes[below.node];
                node.role = Role::Operator(Arc::new(chain));
                below.node
            }
            _ => {
                let edge = forward(below.node, whole.retracts);
                let uid = format!("{uid}/local");
                self.add("local-aggregate", uid, below.parallelism, Role::Operator(Arc::new(local)), vec![edge])
            }
        };
        let last = AggregateFactory { stage: Stage::Final, ..whole };
        let edge = partitioned(from, partitioning);
        let node = self.add("aggregate", uid, parallelism, Role::Operator(Arc::new(last)), vec![edge]);
        Ok(Output { node, parallelism })
    }
}

fn has_extremes(a: &AggregateFactory) -> bool {
    a.calls.iter().any(|c| matches!(c.function, Aggregate::Min | Aggregate::Max))
}
