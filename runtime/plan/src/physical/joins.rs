//! Plans joins.

use super::graph::{Join, MultiJoin, Operator};
use super::{Output, Planned, Planner, Scope, named, partitioned};
use crate::logical::Plan;
use crate::multi_joins::{Chain, chain_of};
use crate::settings::Mode;
use crate::times::{interval_of_join, window_of_join};
use crate::traits::Derived;
use weir_core::graph::Edge;
use weir_core::join::{LEFT, RIGHT};
use weir_core::{Error, Field, Result, Schema};
use weir_expr::Expr;

impl Planner<'_> {
    /// Plans a join: an operator with two inputs, which are partitioned by the columns that are compared, or with all inputs of a chain of
    /// joins by the same key.
    pub(super) fn join(&mut self, of: &Derived<'_>, scope: &mut Scope) -> Result<Output> {
        if let Some(chain) = chain_of(of) {
            return self.multi_join(of, chain, scope);
        }
        let (Plan::Join { kind, on, as_of, condition, ttl, schema, uids, .. }, [left, right]) =
            (of.plan, of.inputs.as_slice())
        else {
            return Err(Error::internal("a join without two inputs"));
        };
        let retracts = [left, right].map(|side| !side.traits.changelog.is_insert_only());
        let window = window_of_join(on, &left.traits.times, &right.traits.times)
            .filter(|_| retracts == [false, false] && as_of.is_none());
        let interval = interval_of_join(of.plan, &left.traits.times, &right.traits.times);
        let interval = interval.filter(|_| window.is_none() && retracts == [false, false]);
        let mut on = on.clone();
        if let Some((end, start, _)) = window {
            // The keys of the state begin with the end of the window.
            let first = [on[end], on[start]];
            on.retain(|k| !first.contains(k));
            on.splice(0..0, first);
        }
        let waits = kind.emits_unmatched(LEFT) || kind.emits_unmatched(RIGHT);
        let at_end = self.job.mode == Mode::Batch && waits && retracts == [false, false] && as_of.is_none();
        let join = Join {
            kind: *kind,
            on: on.clone(),
            condition: condition.clone(),
            left: left.plan.schema().clone(),
            right: right.plan.schema().clone(),
            schema: schema.clone(),
            retracts,
            at_end,
            interval,
            as_of: *as_of,
            ttl_millis: ttl.map(|ttl| if window.is_some() || interval.is_some() { 0 } else { self.settings.ttl(ttl) }),
            window: window.map(|(.., w)| w.local),
        };
        let mut inputs: Vec<Edge> = vec![];
        let mut parallelism = 1;
        for (side, input) in [(LEFT, left), (RIGHT, right)] {
            let below = self.relation(input, scope)?;
            let keys: Vec<usize> = on.iter().map(|k| k.of(side)).collect();
            let (subtasks, partitioning) = self.exchange(&keys);
            parallelism = subtasks;
            inputs.push(Edge { input: side, ..partitioned(below.node, partitioning) });
        }
        let name = match (window, interval, as_of) {
            (_, _, Some(_)) => "temporal-join",
            (Some(_), _, _) => "window-join",
            (None, Some(_), _) => "interval-join",
            (None, None, None) => "join",
        };
        let name = name.to_string();
        let (uids, changelog, operator) = (named(uids)?, of.traits.changelog, Operator::Join(join));
        let output = self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        self.functions_of(output, condition);
        if let Some((.., w)) = window {
            self.dropping_late(output, left, w.domain)?;
            self.dropping_late(output, right, w.domain)?;
        }
        Ok(output)
    }

    /// Plans a chain of joins as one operator. Its output has the columns of all inputs, of which those of the join are chosen.
    fn multi_join(&mut self, of: &Derived<'_>, chain: Chain<'_>, scope: &mut Scope) -> Result<Output> {
        let Plan::Join { condition, schema, uids, .. } = of.plan else { return Err(Error::internal("no join")) };
        let schemas: Vec<Schema> = chain.inputs.iter().map(|input| input.plan.schema().clone()).collect();
        let all = Schema::new(schemas.iter().flat_map(|s| s.fields.iter().cloned()).collect());
        let join = MultiJoin {
            inputs: schemas,
            optional: chain.optional.clone(),
            on: chain.on.clone(),
            nulls_equal: chain.nulls_equal,
            condition: chain.condition,
            schema: all.clone(),
            retracts: chain.inputs.iter().map(|input| !input.traits.changelog.is_insert_only()).collect(),
            ttl_millis: chain.ttl.iter().map(|ttl| self.settings.ttl(*ttl)).collect(),
        };
        let (mut inputs, mut parallelism): (Vec<Edge>, usize) = (vec![], 1);
        for (n, (input, on)) in chain.inputs.iter().zip(&chain.on).enumerate() {
            let below = self.relation(input, scope)?;
            let (subtasks, partitioning) = self.exchange(on);
            parallelism = subtasks;
            inputs.push(Edge { input: n, ..partitioned(below.node, partitioning) });
        }
        let (uids, changelog, operator) = (named(uids)?, of.traits.changelog, Operator::MultiJoin(join));
        let name = "multi-join".to_string();
        let output = self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        self.functions_of(output, condition);
        let column = |(at, f): (&usize, &Field)| Expr::column(*at, f.name.clone(), f.ty.clone());
        let exprs = chain.columns.iter().zip(&schema.fields).map(column).collect();
        let chosen = Operator::Calc { condition: None, exprs, schema: schema.clone(), input: all };
        self.graph.nodes[output.node].chain.push(chosen);
        Ok(output)
    }
}
