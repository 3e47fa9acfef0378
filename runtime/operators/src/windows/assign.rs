//! TUMBLE, HOP and CUMULATE: emits every row once for each of its windows.

use super::{WindowClock, in_windows};
use arrow::array::{Array, AsArray, UInt32Array};
use arrow::datatypes::TimestampMicrosecondType;
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::event_time::Watermark;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::keyed::TimeDomain;
use weir_core::watermarks::row_time;
use weir_core::windows::{Window, Windows};
use weir_core::{Batch, Result, Schema};

/// Creates the operators that assign rows to windows.
#[derive(Clone)]
pub struct WindowFactory {
    /// The windows, which are not sessions.
    pub windows: Windows,
    /// The column with the rows' times.
    pub time: usize,
    /// Whether the windows are over event time or processing time.
    pub domain: TimeDomain,
    /// The clock of the windows.
    pub clock: WindowClock,
    /// The columns of the output: those of the input, then the window's start, end and time.
    pub schema: Schema,
}

impl OperatorFactory for WindowFactory {
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Assign {
            plan: self.clone(),
            passed: Watermark::NONE,
            time_of_day: context.clock.clone(),
            context,
        }))
    }
}

struct Assign {
    plan: WindowFactory,
    context: SubtaskContext,
    time_of_day: Arc<dyn Clock>,
    /// For windows over processing time: no further row is assigned to a window that ends at this time or before.
    passed: Watermark,
}

impl Assign {
    /// The processing time for rows that arrive now. It never goes back.
    fn now(&self) -> i64 {
        self.time_of_day.now().max(self.passed.0.saturating_add(1))
    }

    /// Emits a watermark for the processing time, so that downstream windows become complete.
    fn pass(&mut self, now: i64, out: &mut Collector) {
        let passed = Watermark(now.saturating_sub(1));
        if passed > self.passed {
            self.passed = passed;
            out.watermark(passed);
        }
    }
}

impl Operator for Assign {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let (plan, clock) = (&self.plan, self.plan.clock);
        let now = (plan.domain == TimeDomain::Processing).then(|| self.now());
        let mut rows: Vec<u32> = Vec::with_capacity(batch.rows());
        let mut found: Vec<Window> = Vec::with_capacity(batch.rows());
        let (mut nulls, marks) = (0, batch.origins.as_ref().is_some_and(|o| o.keeps_rows()));
        // Which copies of rows belong to the row's last window. A row is late if the copy of its last window is.
        let mut last: Vec<bool> = vec![];
        let times = batch.data.column(plan.time);
        let micros = times.as_primitive_opt::<TimestampMicrosecondType>();
        for row in 0..batch.rows() {
            let time = match (now, micros) {
                (Some(now), _) => Some(now),
                (None, Some(m)) => m.is_valid(row).then(|| m.value(row).div_euclid(1000)),
                (None, None) => row_time(times, row)?,
            };
            let Some(time) = time else {
                nulls += 1;
                continue;
            };
            plan.windows.each(clock.shown(time), |w| {
                rows.push(row as u32);
                found.push(w);
            });
            if marks {
                let copies = rows.len() - last.len();
                last.extend((1..=copies).map(|n| n == copies));
            }
        }
        // As in Flink, a row without a time is in no window.
        self.context.metrics.skipped.inc_by(nulls);
        let whole = rows.len() == batch.rows() && nulls == 0 && rows.iter().enumerate().all(|(i, r)| i as u32 == *r);
        let batch = if whole { batch } else { batch.take(&UInt32Array::from(rows))? };
        let origins = batch.origins.clone().map(|o| if marks && !whole { o.keeping(last) } else { o });
        let batch = batch.with_origins(origins);
        out.emit(in_windows(&batch, &found, clock, &plan.schema)?);
        if let Some(now) = now {
            self.pass(now, out);
        }
        Ok(())
    }

    fn output_watermark(&self, all: Watermark) -> Watermark {
        match self.plan.domain {
            TimeDomain::Event => all,
            // After the end of the input there are no further rows.
            TimeDomain::Processing if all == Watermark::END => all,
            TimeDomain::Processing => self.passed,
        }
    }

    fn next_tick(&self) -> Option<i64> {
        if self.plan.domain == TimeDomain::Event {
            return None;
        }
        // When the next window ends.
        let mut next = None;
        self.plan.windows.each(self.plan.clock.shown(self.now()), |w| next = next.or(Some(w.end)));
        next.map(|end| self.plan.clock.moment(end))
    }

    fn on_tick(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        self.pass(now, out);
        Ok(())
    }
}
