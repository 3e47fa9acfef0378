//! Plans aggregations: in one stage, or in two stages with an exchange between them.

use super::graph::{Aggregation, Operator, Statement, WindowKeys};
use super::{Output, Planned, Planner, Scope, forward, named, partitioned};
use crate::logical::{GroupWindow, Plan, StateUids, WindowMerge};
use crate::traits::Derived;
use std::sync::Arc;
use weir_core::keyed::TimeDomain;
use weir_core::{Error, Field, Result};
use weir_expr::Expr;
use weir_expr::aggregate::{Aggregate, AggregateCall};

impl Planner<'_> {
    /// Plans an aggregation over windows. The operator has the ends of the windows as first keys and the starts as second keys. A
    /// projection after it restores the order of the columns.
    pub(super) fn window_aggregate(
        &mut self,
        of: &Derived<'_>,
        window: &GroupWindow,
        scope: &mut Scope,
    ) -> Result<Output> {
        let Plan::Aggregate { keys, calls, schema, input, uids, .. } = of.plan else {
            return Err(Error::internal("no aggregation"));
        };
        let (below, derived) = self.only_input(of, scope)?;
        let order: Vec<usize> = [window.end, window.start].into_iter().chain(window.others(keys.len())).collect();
        let columns: Vec<usize> = order.iter().copied().chain(keys.len()..schema.len()).collect();
        let grouped = schema.project(&columns);
        let whole = Aggregation {
            keys: order.iter().map(|k| keys[*k]).collect(),
            calls: calls.clone(),
            input: input.schema().clone(),
            schema: grouped.clone(),
            retracts: !derived.traits.changelog.is_insert_only(),
            at_end: window.emit.is_none(),
            ttl_millis: 0,
            window: Some(WindowKeys { local: window.local, merge: window.merge, emit: window.emit }),
            late_rows: window.domain == TimeDomain::Event && self.late_rows_of(derived)?.is_some(),
            update_before: true,
        };
        let output = self.aggregate(whole, of, derived, below, named(uids)?, &scope.statement);
        self.dropping_late(output, derived, window.domain)?;
        let place = |c: usize| columns.iter().position(|k| *k == c).unwrap_or(c);
        let column = |(at, f): (usize, &Field)| Expr::column(place(at), f.name.clone(), f.ty.clone());
        let exprs = schema.fields.iter().enumerate().map(column).collect();
        let ordered = Operator::Calc { condition: None, exprs, schema: schema.clone(), input: grouped };
        self.graph.nodes[output.node].chain.push(ordered);
        Ok(output)
    }

    /// Plans an aggregation over `input`, whose rows are the output `below`.
    pub(super) fn aggregate(
        &mut self,
        whole: Aggregation,
        of: &Derived<'_>,
        input: &Derived<'_>,
        below: Output,
        uids: StateUids,
        statement: &Arc<Statement>,
    ) -> Output {
        let owner_keys = whole.owner_keys();
        let (parallelism, partitioning) = self.exchange(&whole.keys[owner_keys.clone()]);
        let (name, changelog) = ("aggregate".to_string(), of.traits.changelog);
        if below.parallelism == 1 && parallelism == 1 || !in_two_stages(&whole, input.traits.balanced) {
            let inputs = vec![partitioned(below.node, partitioning)];
            let operator = Operator::Aggregate(whole);
            return self.add(statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        }
        // The local stage is chained with projections and windows before it, if these have no other reader.
        let in_front =
            |o: &Operator| matches!(o, Operator::Calc { .. } | Operator::Window { .. } | Operator::Expand { .. });
        let in_chain = self.graph.nodes[below.node].chain.iter().all(in_front) && !self.has_several_readers(below.node);
        let local = Operator::LocalAggregate(whole.clone());
        let from = if in_chain {
            let node = &mut self.graph.nodes[below.node];
            node.chain.push(local);
            below.node
        } else {
            let planned = Planned {
                name: "local-aggregate".to_string(),
                uids: StateUids::own(format!("{}/local", uids.uid)),
                parallelism: below.parallelism,
                operator: local,
                changelog: input.traits.changelog,
                inputs: vec![forward(below.node, whole.retracts)],
            };
            self.add(statement, planned).node
        };
        // The keys are the first columns in the output of the local stage.
        let (_, partitioning) = self.exchange(&owner_keys.collect::<Vec<_>>());
        let inputs = vec![partitioned(from, partitioning)];
        let operator = Operator::GlobalAggregate(whole);
        self.add(statement, Planned { name, uids, parallelism, operator, changelog, inputs })
    }
}

/// Whether there are partial results before the exchange. `balanced`: whether every retraction follows its insertion.
fn in_two_stages(whole: &Aggregation, balanced: bool) -> bool {
    let extremes = || whole.calls.iter().any(|c| matches!(c.function, Aggregate::Min | Aggregate::Max));
    // Retractions for a group that does not exist, or no longer exists, can only be recognized row by row. Each row of a session has its
    // own window, so there is little to combine.
    let sessions = whole.window.is_some_and(|w| w.merge == Some(WindowMerge::Sessions));
    let one_by_one = whole.retracts && (extremes() || !balanced || whole.ttl_millis > 0);
    whole.calls.iter().all(AggregateCall::merges) && !one_by_one && !sessions && !whole.late_rows
}
