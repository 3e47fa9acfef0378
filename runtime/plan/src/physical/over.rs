//! Plans OVER: the order in which rows are aggregated, and its requirements.

use super::graph::Operator;
use super::{Output, Planned, Planner, Scope, partitioned};
use crate::logical::{RowOrder, StateUids};
use crate::settings::Mode;
use crate::traits::Derived;
use weir_core::frame::Frame;
use weir_core::{Error, Result, Schema};
use weir_expr::aggregate::AggregateCall;

/// The parts of an OVER relation.
pub(super) struct Over<'a> {
    pub partition: &'a [usize],
    pub order: &'a RowOrder,
    pub frame: Frame,
    pub calls: &'a [AggregateCall],
    pub input: &'a Schema,
    pub schema: &'a Schema,
    pub uids: StateUids,
}

impl Planner<'_> {
    /// Plans OVER.
    pub(super) fn over(&mut self, of: &Derived<'_>, over: &Over<'_>, scope: &mut Scope) -> Result<Output> {
        let (below, derived) = self.only_input(of, scope)?;
        let (partition, calls) = (over.partition.to_vec(), over.calls.to_vec());
        let (frame, input, schema) = (over.frame, over.input.clone(), over.schema.clone());
        let operator = match over.order {
            RowOrder::Time(time) if !derived.traits.changelog.is_insert_only() => {
                let column = &over.input.fields[time.column].name;
                let e = format!(
                    "OVER in the order of time, '{column}', takes rows that are only added, and what it reads also changes rows"
                );
                return Err(Error::script(e).hint(
                    "order by a column that is no time attribute, number the rows with ROW_NUMBER and a bound, or aggregate by GROUP BY",
                ));
            }
            RowOrder::Time(time) => Operator::Over { partition, time: *time, frame, calls, input, schema },
            RowOrder::Values(order) => Operator::OverValues {
                partition,
                order: order.clone(),
                frame,
                calls,
                input,
                schema,
                at_end: self.job.mode == Mode::Batch,
                ttl_millis: self.settings.ttl_millis,
                update_before: true,
            },
        };
        let (parallelism, partitioning) = self.exchange(over.partition);
        let (inputs, name) = (vec![partitioned(below.node, partitioning)], "over".to_string());
        let (uids, changelog) = (over.uids.clone(), of.traits.changelog);
        let output = self.add(&scope.statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        match over.order {
            RowOrder::Time(time) => self.dropping_late(output, derived, time.domain),
            RowOrder::Values(_) => Ok(output),
        }
    }
}
