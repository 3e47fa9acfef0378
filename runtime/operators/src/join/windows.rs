//! Joins rows of the same window. They are kept until the watermark has passed the end of the window, and are joined then.

use super::pairs::{Candidates, Decided, Output, RowChange};
use super::rows::{Entry, JoinRows, KeyRows};
use super::state::{MANY, PAGE};
use super::{Join, JoinFactory, Probe};
use crate::change_rows::{ChangeRows, MOST_ROWS};
use crate::late_rows::{LateRows, of_window};
use crate::windows::{WindowClock, end_of, late_rows, without};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::{LEFT, RIGHT};
use weir_core::key::{Keys, decode_value};
use weir_core::keyed::{TimeDomain, Timers, Touched};
use weir_core::state::{Changes, Epoch};
use weir_core::windows::end_in_key;
use weir_core::{Batch, ColumnBuilder, Result, RowKind, Schema, Value};

/// Creates window joins.
pub struct WindowJoinFactory {
    /// The join. Its first key is the end of the window, its second one the start. Its inputs are append-only.
    pub join: JoinFactory,
    /// The clock of the windows.
    pub clock: WindowClock,
}

impl OperatorFactory for WindowJoinFactory {
    fn functions(&self) -> Vec<String> {
        self.join.functions()
    }
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        // Rows are only kept when they come; nothing follows from them before their window is complete.
        let keeping = JoinFactory { at_end: true, ttl_millis: [0; 2], ..self.join.clone() };
        Ok(Box::new(WindowJoin {
            join: Join { probe: Probe::None, ..keeping.open_join(context.clone(), false)? },
            plan: JoinFactory { at_end: false, ..self.join.clone() },
            clock: self.clock,
            timers: Timers::new(TimeDomain::Event, &context),
            passed: Watermark::NONE,
            late: LateRows::new(&context),
        }))
    }
}

struct WindowJoin {
    join: Join,
    /// The join of the rows of a complete window.
    plan: JoinFactory,
    clock: WindowClock,
    timers: Timers,
    passed: Watermark,
    late: LateRows,
}

/// The number of keys whose windows are joined at once.
const KEYS: usize = 1024;

impl Operator for WindowJoin {
    fn process(&mut self, side: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let ends = batch.data.column(self.plan.on[0].of(side));
        let late = late_rows(ends, |end| self.clock.completes(end), self.passed)?;
        self.late.drop_rows(&batch, &late, self.passed.0, |row| of_window(end_of(ends, row)), out)?;
        let batch = self.join.without_nulls(side, without(batch, &late)?, out)?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let keys = Keys::of(&batch, &self.join.sides[side].on);
        let found = self.join.kept.state.places(&keys)?;
        let mut new = vec![];
        self.join.kept.state.change(&found.places, |_, touched| {
            new.extend(touched.iter().zip(&found.first).filter(|(t, _)| !t.there).map(|(_, row)| *row as usize));
            Ok(())
        })?;
        for row in new {
            let key = keys.get(row);
            self.timers.set(&mut self.join.kept.state, self.clock.completes(end_in_key(key)?), key);
        }
        self.join.take(side, &batch, (&keys, &found), out)
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        self.passed = self.passed.max(time.all);
        loop {
            let due = self.timers.due(&mut self.join.kept.state, self.passed.0, KEYS)?;
            let more = due.len() == KEYS;
            for (_, key) in due {
                self.complete(&key, out)?;
            }
            if !more {
                return Ok(());
            }
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

impl WindowJoin {
    /// Joins the rows of a key whose window is complete, and removes them.
    fn complete(&mut self, key: &[u8], out: &mut Collector) -> Result<()> {
        let mut one = Keys::default();
        one.push(key);
        let places = self.join.kept.state.places(&one)?.places;
        let rows = self.join.kept.state.change(&places, |kept: &mut JoinRows, touched| {
            touched[0] = Touched { there: false, changed: true };
            let place = places[0] as usize;
            kept.keys.grow(place + 1);
            Ok(std::mem::take(&mut kept.keys[place]))
        })?;
        self.pairs(key, &rows, out)?;
        for side in [LEFT, RIGHT] {
            if rows[side].is_many() {
                MANY[side].clear(&mut self.join.kept.state, key);
            }
        }
        Ok(())
    }

    /// Whether rows with this key can have partners: none of the columns that are compared is NULL.
    fn may_match(&self, mut key: &[u8]) -> Result<bool> {
        let types = &self.join.sides[LEFT];
        for (k, column) in self.plan.on.iter().zip(&types.on) {
            if matches!(decode_value(&types.types[*column], &mut key)?, Value::Null) && !k.nulls_equal {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pairs(&mut self, key: &[u8], rows: &KeyRows, out: &mut Collector) -> Result<()> {
        let matches = self.may_match(key)?;
        // The numbers of partners of the right rows so far, where they matter.
        let mut of_right: Vec<u32> = vec![];
        self.pages(key, rows, LEFT, |this, left| {
            let batch = this.batch(key, &left)?;
            let mut of_left = vec![0u32; batch.rows()];
            let mut first = 0;
            this.pages(key, rows, RIGHT, |this, right| {
                if of_right.len() < first + right.len() {
                    of_right.resize(first + right.len(), 0);
                }
                if matches {
                    this.page(key, &batch, &right, (&mut of_left, &mut of_right[first..]), out)?;
                }
                first += right.len();
                Ok(())
            })?;
            let mut output = Output::default();
            for (row, partners) in of_left.iter().enumerate() {
                output.alone(this.left_row(row), *partners);
            }
            this.join.emit(&mut output, &batch, LEFT, &Decided::none(&this.join.sides[RIGHT]), out)
        })?;
        if self.plan.kind.pads(RIGHT) {
            let mut alone = ChangeRows::new(self.plan.schema.clone());
            let mut first = 0;
            self.pages(key, rows, RIGHT, |this, right| {
                for (n, entry) in right.iter().enumerate() {
                    if of_right.get(first + n).is_none_or(|partners| *partners == 0) {
                        this.join.push_alone(key, entry.row(), RIGHT, entry.times, &mut alone)?;
                        alone.make_room(out)?;
                    }
                }
                first += right.len();
                Ok(())
            })?;
            out.emit(alone.take()?.with_kinds(None));
        }
        Ok(())
    }

    fn left_row(&self, row: usize) -> RowChange<'_> {
        RowChange { row: row as u32, side: LEFT, kind: RowKind::Insert, plan: &self.plan }
    }

    /// Joins rows of the left side, as a batch, with rows of the right side.
    fn page(
        &mut self,
        key: &[u8],
        batch: &Batch,
        right: &[Entry],
        (of_left, of_right): (&mut [u32], &mut [u32]),
        out: &mut Collector,
    ) -> Result<()> {
        // The pairs of left and right rows are numbered row by row.
        let (mut next, all) = (0, batch.rows() * right.len());
        while next < all {
            let begin = next;
            let mut candidates = Candidates::new(&self.join.sides[RIGHT]);
            let mut ends = vec![];
            while next < all && candidates.len() < MOST_ROWS {
                let (row, at) = (next / right.len(), next % right.len());
                candidates.push(row, key, right[at].stored(), &self.join.sides[RIGHT])?;
                next += 1;
                if next % right.len() == 0 {
                    ends.push((row, candidates.len()));
                }
            }
            if next % right.len() != 0 {
                ends.push((next / right.len(), candidates.len()));
            }
            let decided = candidates.decide(batch, LEFT, &self.plan, &mut self.join.eval, &self.join.failed, out)?;
            let (mut output, mut from) = (Output::default(), 0);
            for (row, end) in ends {
                // Nothing is emitted for right rows here, so their former number of partners does not matter.
                let partners = output.pairs(self.left_row(row), &decided, from..end, |n, _| {
                    let at = (begin + n) % right.len();
                    of_right[at] = of_right[at].saturating_add(1);
                    u32::MAX
                });
                of_left[row] = of_left[row].saturating_add(partners);
                from = end;
            }
            self.join.emit(&mut output, batch, LEFT, &decided, out)?;
        }
        Ok(())
    }

    /// The rows of the left side as a batch, each as often as it is there.
    fn batch(&self, key: &[u8], rows: &[Entry]) -> Result<Batch> {
        let side = &self.join.sides[LEFT];
        let mut columns: Vec<ColumnBuilder> = side.types.iter().map(ColumnBuilder::new).collect();
        let mut count = 0;
        for entry in rows {
            for _ in 0..entry.times {
                side.decode(key, entry.row(), &mut columns)?;
                count += 1;
            }
        }
        let schema: &Schema = &self.plan.left;
        Batch::from_columns(schema.arrow(), columns.into_iter().map(ColumnBuilder::finish).collect(), count)
    }

    /// Reads the rows of a side of a key page by page.
    fn pages(
        &mut self,
        key: &[u8],
        rows: &KeyRows,
        side: usize,
        mut each: impl FnMut(&mut Self, Vec<Entry>) -> Result<()>,
    ) -> Result<()> {
        let mut from = vec![];
        loop {
            let page = self.join.kept.page(key, side, &rows[side], (&from, None))?;
            let more = page.len() == PAGE && rows[side].is_many();
            from = page.last().map_or(from, |last| [last.key.as_slice(), &[0]].concat());
            if !page.is_empty() {
                each(self, page)?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}
