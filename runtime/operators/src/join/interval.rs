//! Joins rows whose times are close to each other. A row is compared with those of the other side when it comes, and kept as long as a row
//! that it could be paired with may come. What has no partner by then is emitted with NULLs. In processing time, the time of a row is that
//! at which it comes.

use super::rows::{FewRows, SideRows};
use super::state::{MANY, PAGE};
use super::{Join, JoinFactory, Probe};
use crate::change_rows::ChangeRows;
use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::{Interval, LEFT, RIGHT};
use weir_core::key::{Keys, encode_value};
use weir_core::keyed::{TimeDomain, Timers};
use weir_core::state::{Changes, Epoch};
use weir_core::watermarks::row_time;
use weir_core::windows::end_in_key;
use weir_core::{Batch, Result, Value};

/// Creates interval joins.
pub struct IntervalJoinFactory {
    /// The join. Its inputs are append-only, and its condition implies the interval.
    pub join: JoinFactory,
    /// The interval.
    pub interval: Interval,
}

impl OperatorFactory for IntervalJoinFactory {
    fn functions(&self) -> Vec<String> {
        self.join.functions()
    }
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        // Rows without a partner are emitted when they expire.
        let plan = JoinFactory { at_end: true, ttl_millis: [0; 2], ..self.join.clone() };
        let mut join = plan.open_join(context.clone(), true)?;
        join.probe = Probe::Interval(self.interval);
        for (side, time) in join.sides.iter_mut().zip(self.interval.times) {
            // Rows are stored in the order of time.
            side.rest.retain(|column| *column != time);
            side.rest.insert(0, time);
        }
        let length = self.interval.upper.saturating_sub(self.interval.lower);
        Ok(Box::new(IntervalJoin {
            join,
            interval: self.interval,
            step: (length / 16).clamp(1, 60_000),
            timers: Timers::new(self.interval.domain, &context),
            passed: if self.interval.domain == TimeDomain::Event { context.resumes_at } else { Watermark::NONE },
            clock: context.clock,
        }))
    }
}

struct IntervalJoin {
    join: Join,
    interval: Interval,
    /// Timers are set to multiples of this number of milliseconds, so that a key has few of them.
    step: i64,
    timers: Timers,
    /// The time of which no more rows come.
    passed: Watermark,
    clock: Arc<dyn Clock>,
}

/// The number of keys that are cleared at once.
const KEYS: usize = 1024;

/// Encodes a time in milliseconds as the first bytes of the rows of this time.
pub(super) fn time_prefix(millis: i64, ty: &arrow::datatypes::DataType) -> Vec<u8> {
    let mut out = vec![];
    encode_value(&Value::of_millis(millis), ty, &mut out);
    out
}

impl Operator for IntervalJoin {
    fn process(&mut self, side: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let batch = self.join.without_nulls(side, batch, out)?;
        let batch = if self.interval.domain == TimeDomain::Processing { self.come_now(side, batch)? } else { batch };
        let keys = Keys::of(&batch, &self.join.sides[side].on);
        let found = self.join.kept.state.places(&keys)?;
        let times = batch.data.column(self.interval.times[side]);
        for row in 0..batch.rows() {
            let Some(time) = row_time(times, row)? else { continue };
            let expires = self.interval.last_partner(side, time).saturating_add(1);
            let rounded = expires.div_euclid(self.step).saturating_add(1).saturating_mul(self.step);
            self.timers.set(&mut self.join.kept.state, rounded, keys.get(row));
        }
        self.join.take(side, &batch, (&keys, &found), out)
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        // When the input has ended, no row gets a partner any more.
        if self.interval.domain == TimeDomain::Event || time.all == Watermark::END {
            self.pass(time.all, out)?;
        }
        Ok(())
    }

    fn next_tick(&self) -> Option<i64> {
        self.timers.next().filter(|_| self.interval.domain == TimeDomain::Processing).map(|t| t.saturating_add(1))
    }

    fn on_tick(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        self.pass(Watermark(now.saturating_sub(1)), out)
    }

    /// Rows are emitted until the last time of a partner has passed.
    fn output_watermark(&self, all: Watermark) -> Watermark {
        match all {
            _ if self.interval.domain == TimeDomain::Processing => all,
            Watermark::NONE | Watermark::END => all,
            Watermark(millis) => Watermark(
                millis.saturating_sub(self.interval.longest_wait()).saturating_sub(self.step).saturating_sub(1),
            ),
        }
    }

    fn checkpoint(&mut self, epoch: Epoch) -> Result<Changes> {
        self.join.checkpoint(epoch)
    }

    fn preferred_rows(&self) -> usize {
        self.join.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.join.wants_epoch()
    }
}

impl IntervalJoin {
    /// Gives rows that come now this time.
    fn come_now(&self, side: usize, batch: Batch) -> Result<Batch> {
        let now = self.clock.now().max(self.passed.0.saturating_add(1));
        let mut columns: Vec<ArrayRef> = batch.data.columns().to_vec();
        let time = &mut columns[self.interval.times[side]];
        let times = TimestampMicrosecondArray::from_value(now.saturating_mul(1_000), batch.rows());
        *time = arrow::compute::cast(&times, time.data_type())?;
        let (rows, kinds, origins) = (batch.rows(), batch.kinds.clone(), batch.origins.clone());
        Ok(Batch::from_columns(batch.data.schema(), columns, rows)?.with_kinds(kinds).with_origins(origins))
    }

    /// Removes the rows that get no partner any more.
    fn pass(&mut self, time: Watermark, out: &mut Collector) -> Result<()> {
        self.passed = self.passed.max(time);
        let mut alone = ChangeRows::new(self.join.plan.schema.clone());
        loop {
            let due = self.timers.due(&mut self.join.kept.state, self.passed.0, KEYS)?;
            let more = due.len() == KEYS;
            let mut keys: Vec<Vec<u8>> = due.into_iter().map(|(_, key)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                self.expire(&key, &mut alone, out)?;
            }
            if !more {
                break;
            }
        }
        out.emit(alone.take()?.with_kinds(None));
        Ok(())
    }

    /// The last time of the rows of a side that have expired.
    fn expired(&self, side: usize) -> i64 {
        // The inverse of `last_partner`.
        let passed = self.passed.0.saturating_sub(1);
        match side {
            LEFT => passed.saturating_add(self.interval.lower),
            _ => passed.saturating_sub(self.interval.upper),
        }
    }

    /// Removes the rows of a key that have expired.
    fn expire(&mut self, key: &[u8], alone: &mut ChangeRows, out: &mut Collector) -> Result<()> {
        let expired = [self.expired(LEFT), self.expired(RIGHT)];
        self.join.with_rows(key, |join, rows| {
            for side in [LEFT, RIGHT] {
                join.expire(key, side, &mut rows[side], expired[side], alone)?;
                alone.make_room(out)?;
            }
            Ok(())
        })
    }
}

impl Join {
    /// Removes the rows of a side of a key whose times are at most `last`, and emits those that needed a partner and had none. The first stored column
    /// is the time.
    fn expire(
        &mut self,
        key: &[u8],
        side: usize,
        rows: &mut SideRows,
        last: i64,
        alone: &mut ChangeRows,
    ) -> Result<()> {
        let (form, emits) = (self.sides[side].form, self.plan.kind.emits_unmatched(side));
        match rows {
            SideRows::Few(few) => {
                let mut left = FewRows::default();
                for stored in few.iter(form) {
                    if end_in_key(stored.row)? > last {
                        left.keep(stored, form);
                    } else if emits && stored.partners == 0 {
                        self.push_alone(key, stored.row, side, stored.times, alone)?;
                    }
                }
                *few = left;
            }
            SideRows::Many(many) => {
                let ty = &self.sides[side].types[self.sides[side].rest[0]];
                let to = time_prefix(last.saturating_add(1), ty);
                loop {
                    let page = MANY[side].take(&mut self.kept.state, key, &[], Some(&to), PAGE)?;
                    many.count = many.count.saturating_sub(page.len() as u64);
                    for (row, entry) in &page {
                        let (times, partners) = super::rows::decode_entry(entry, form)?;
                        if emits && partners == 0 {
                            self.push_alone(key, row, side, times, alone)?;
                        }
                    }
                    if page.len() < PAGE {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
