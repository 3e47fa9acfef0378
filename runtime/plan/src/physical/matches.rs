//! Plans MATCH_RECOGNIZE.

use super::graph::Operator;
use super::{Output, Planned, Planner, Scope, partitioned};
use crate::logical::{Plan, StateUids};
use crate::traits::Derived;
use weir_core::{Error, Result};

/// The error for matches of rows that change.
pub fn matches_of_changes() -> Error {
    let e = "MATCH_RECOGNIZE takes rows that are only added, and what it reads also changes rows";
    Error::script(e).hint(
        "match the rows before they are aggregated, joined or ranked; a window aggregation emits each result once",
    )
}

impl Planner<'_> {
    /// Plans the matches of a pattern.
    pub(super) fn matches(&mut self, of: &Derived<'_>, uids: StateUids, scope: &mut Scope) -> Result<Output> {
        let Plan::Match { input, partition, time, order, matching, schema, uids: _ } = of.plan else {
            return Err(Error::internal("matches of no pattern"));
        };
        let (below, derived) = self.only_input(of, scope)?;
        if !derived.traits.changelog.is_insert_only() {
            return Err(matches_of_changes());
        }
        let operator = Operator::Match {
            partition: partition.clone(),
            time: *time,
            order: order.clone(),
            matching: matching.clone(),
            input: input.schema().clone(),
            schema: schema.clone(),
        };
        let (parallelism, partitioning) = self.exchange(partition);
        let (inputs, name) = (vec![partitioned(below.node, partitioning)], "match".to_string());
        let changelog = of.traits.changelog;
        let output = self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        self.functions_of(output, matching.expressions());
        self.dropping_late(output, derived, time.domain)
    }
}
