//! GROUP BY over windows: each group emits one result, when its window is complete.

use super::AggregateFactory;
use super::window_groups::{WindowGroups, give};
use crate::windows::WindowClock;
use weir_core::event_time::EventTime;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch};
use weir_core::{Batch, Result};

/// Creates window aggregations.
#[derive(Clone)]
pub struct WindowAggregateFactory {
    /// The aggregation. Its first key is the window's end, its second one the start.
    pub aggregate: AggregateFactory,
    /// The clock of the windows.
    pub clock: WindowClock,
}

impl OperatorFactory for WindowAggregateFactory {
    fn keeps_state(&self) -> bool {
        true
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let plan = &self.aggregate;
        Ok(Box::new(WindowAggregate { windows: WindowGroups::open(plan, self.clock, plan.groups()?, context)? }))
    }
}

struct WindowAggregate {
    windows: WindowGroups,
}

impl Operator for WindowAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        self.windows.take(batch, |end| end, out).map(drop)
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        let windows = &mut self.windows;
        windows.passed = windows.passed.max(time.all);
        let (plan, clock, passed) = (windows.plan.clone(), windows.clock, windows.passed.0);
        let complete = |end: i64| clock.completes(end) <= passed;
        if windows.first_end()?.is_none_or(|first| !complete(first)) {
            return Ok(());
        }
        windows.remove(i64::MIN, complete, |groups, places| give(&plan, groups, places, out))
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.windows.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.windows.groups.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.windows.groups.wants_epoch()
    }
}
