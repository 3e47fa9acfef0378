//! Plans Top-N: how the first rows are kept.

use super::graph::Operator;
use super::{Output, Planned, Planner, Scope, partitioned};
use crate::logical::{Ranks, StateUids, WindowTime};
use crate::settings::Mode;
use crate::times::{first_in_time, numbers_in_time, time_domain, window_among};
use crate::traits::{Derived, Monotonicity, Traits};
use weir_core::frame::Frame;
use weir_core::rank::{RankStrategy, SortKey};
use weir_core::{Error, Result, Schema};
use weir_expr::aggregate::AggregateCall;

/// The parts of a Top-N relation.
pub(super) struct TopN<'a> {
    pub partition: &'a [usize],
    pub order: &'a [SortKey],
    pub ranks: &'a Ranks,
    pub number: bool,
    pub input: &'a Schema,
    pub uids: StateUids,
}

impl Planner<'_> {
    /// Plans a Top-N.
    pub(super) fn top_n(&mut self, of: &Derived<'_>, top: &TopN<'_>, scope: &mut Scope) -> Result<Output> {
        let (below, input) = self.only_input(of, scope)?;
        let insert_only = input.traits.changelog.is_insert_only();
        if let Some((column, domain)) = numbers_in_time(of.plan, &input.traits.times).filter(|_| insert_only) {
            let operator = Operator::Over {
                partition: top.partition.to_vec(),
                time: WindowTime { column, domain, local: false },
                frame: Frame::AllRows,
                // The number of a row is that of the rows so far.
                calls: vec![AggregateCall::count_star()],
                input: top.input.clone(),
                schema: of.plan.schema().clone(),
            };
            let output = self.ranked("over", of, top, top.partition, below, operator, scope);
            return self.dropping_late(output, input, domain);
        }
        let Some(last) = top.ranks.last else {
            let operator = self.all_numbered(of, top)?;
            return Ok(self.ranked("over", of, top, top.partition, below, operator, scope));
        };
        let window = window_among(top.partition, &input.traits.times).filter(|_| insert_only);
        let first = first_in_time(of.plan, &input.traits.times).filter(|_| insert_only && window.is_none());
        if let Some((column, domain)) = first {
            let operator = Operator::FirstRow {
                partition: top.partition.to_vec(),
                time: WindowTime { column, domain, local: false },
                number: top.number,
                schema: top.input.clone(),
                ttl_millis: self.settings.ttl_millis,
            };
            let output = self.ranked("first-row", of, top, top.partition, below, operator, scope);
            return self.dropping_late(output, input, domain);
        }
        let partition: Vec<usize> = match window {
            None => top.partition.to_vec(),
            Some(w) => {
                let order = [w.end, w.start].into_iter().chain(w.others(top.partition.len()));
                order.map(|k| top.partition[k]).collect()
            }
        };
        let operator = Operator::Rank {
            partition: partition.clone(),
            window: window.map(|w| w.local),
            order: top.order.to_vec(),
            ranks: (top.ranks.first, last),
            number: top.number,
            strategy: strategy(&input.traits, top),
            last_wins: keeps_last(&input.traits, top),
            at_end: self.job.mode == Mode::Batch || window.is_some(),
            schema: top.input.clone(),
            ttl_millis: if window.is_some() { 0 } else { self.settings.ttl_millis },
            update_before: true,
        };
        let output = self.ranked("rank", of, top, &partition, below, operator, scope);
        match window {
            Some(w) => self.dropping_late(output, input, w.domain),
            None => Ok(output),
        }
    }

    /// Plans row numbers of all rows ordered by columns. Each row may change the numbers of those after it.
    fn all_numbered(&self, of: &Derived<'_>, top: &TopN<'_>) -> Result<Operator> {
        let at_end = self.job.mode == Mode::Batch;
        if top.ranks.first > 1 || !at_end && !matches!(top.order, [SortKey { descending: false, .. }]) {
            let e = "ROW_NUMBER without an upper bound goes by one column in ascending order, and has no lower bound";
            let hint = "keep the first: SELECT … FROM (SELECT …, ROW_NUMBER() OVER (…) AS n …) WHERE n <= 10";
            return Err(Error::script(e).at(top.ranks.place).hint(hint));
        }
        Ok(Operator::OverValues {
            partition: top.partition.to_vec(),
            order: top.order.to_vec(),
            frame: Frame::AllRows,
            calls: vec![AggregateCall::count_star()],
            input: top.input.clone(),
            schema: of.plan.schema().clone(),
            at_end,
            ttl_millis: self.settings.ttl_millis,
            update_before: true,
        })
    }

    /// Adds the operator of a Top-N.
    #[expect(clippy::too_many_arguments, reason = "the parts of one node")]
    fn ranked(
        &mut self,
        name: &str,
        of: &Derived<'_>,
        top: &TopN<'_>,
        partition: &[usize],
        below: Output,
        operator: Operator,
        scope: &Scope,
    ) -> Output {
        let (parallelism, partitioning) = self.exchange(partition);
        let inputs = vec![partitioned(below.node, partitioning)];
        let (name, changelog, uids) = (name.to_string(), of.traits.changelog, top.uids.clone());
        self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs })
    }
}

/// Whether it keeps the last row of each partition in time. As in Flink's deduplication, of rows with the same time the one that arrives
/// last is kept.
fn keeps_last(input: &Traits, top: &TopN<'_>) -> bool {
    let [SortKey { column, descending: true, .. }] = top.order else { return false };
    let has_time = time_domain(*column, &input.times).is_some();
    has_time && input.changelog.is_insert_only() && (top.ranks.first, top.ranks.last) == (1, Some(1))
}

fn strategy(input: &Traits, top: &TopN<'_>) -> RankStrategy {
    if input.changelog.is_insert_only() {
        return RankStrategy::Append;
    }
    let forwards = |key: &SortKey| match input.monotonicity.get(key.column) {
        Some(Monotonicity::Constant) => true,
        Some(Monotonicity::Increasing) => key.descending,
        Some(Monotonicity::Decreasing) => !key.descending,
        Some(Monotonicity::None) | None => false,
    };
    match &input.upsert_key {
        Some(key)
            if !input.changelog.delete
                && !top.order.is_empty()
                && top.partition.iter().all(|p| key.contains(p))
                && top.order.iter().all(forwards) =>
        {
            RankStrategy::Update(key.clone())
        }
        _ => RankStrategy::Retract,
    }
}
