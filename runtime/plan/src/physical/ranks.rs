//! Top-N: how the rows that come first are kept.

use super::graph::Operator;
use super::{Output, Planned, Planner, Scope, partitioned};
use crate::logical::{Kept, Ranks};
use crate::settings::Mode;
use crate::traits::{Derived, Monotonicity, Traits};
use weir_core::graph::Partitioning;
use weir_core::rank::{RankStrategy, SortKey};
use weir_core::{Error, Result, Schema};

/// A Top-N, as relations have it.
pub(super) struct TopN<'a> {
    pub partition: &'a [usize],
    pub order: &'a [SortKey],
    pub ranks: &'a Ranks,
    pub number: bool,
    pub input: &'a Schema,
    pub kept: Kept,
}

impl Planner<'_> {
    /// Plans a Top-N.
    pub(super) fn top_n(&mut self, of: &Derived<'_>, top: &TopN<'_>, scope: &mut Scope) -> Result<Output> {
        let Some(last) = top.ranks.last else {
            let e = Error::script(
                "ROW_NUMBER without an upper bound is not yet supported: every row may change the numbers of all behind it",
            );
            return Err(e
                .at(top.ranks.place)
                .hint("keep the first: SELECT … FROM (SELECT …, ROW_NUMBER() OVER (…) AS n …) WHERE n <= 10"));
        };
        let (below, input) = self.only_input(of, scope)?;
        let operator = Operator::Rank {
            partition: top.partition.to_vec(),
            order: top.order.to_vec(),
            ranks: (top.ranks.first, last),
            number: top.number,
            strategy: strategy(&input.traits, top),
            at_end: self.job.mode == Mode::Batch,
            schema: top.input.clone(),
            ttl_millis: self.settings.ttl_millis,
        };
        let (parallelism, partitioning) = match top.partition {
            [] => (1, Partitioning::Single),
            columns => (self.settings.parallelism, Partitioning::Hash(columns.to_vec())),
        };
        let inputs = vec![partitioned(below.node, partitioning)];
        let (name, changelog) = ("rank".to_string(), of.traits.changelog);
        Ok(self
            .add(&scope.statement, Planned { name, kept: top.kept.clone(), parallelism, operator, changelog, inputs }))
    }
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
