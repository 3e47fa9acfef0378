//! Joins each left row once, with the row that the right side has at a time: the event time of the left row, or the time at which it
//! arrives.

use super::pairs::{Candidates, Output, RowChange};
use super::rows::StoredRow;
use super::state::{MANY, PAGE};
use super::{Join, JoinFactory, time_prefix};
use crate::change_rows::MOST_ROWS;
use arrow::array::{Array, ArrayRef};
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::join::{AsOf, LEFT, RIGHT};
use weir_core::key::{Keys, encode_row, encode_value};
use weir_core::keyed::{TimeDomain, Timers};
use weir_core::state::{Changes, Epoch, Pair};
use weir_core::windows::end_in_key;
use weir_core::{Batch, ColumnBuilder, Error, Result, RowKind, Value, varint};

/// Creates temporal joins.
pub struct TemporalJoinFactory {
    /// The join. It is an inner or a left one.
    pub join: JoinFactory,
    /// The time.
    pub as_of: AsOf,
}

impl OperatorFactory for TemporalJoinFactory {
    fn functions(&self) -> Vec<String> {
        self.join.functions()
    }
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let mut join = self.join.open_join(context.clone(), true)?;
        if let AsOf::EventTime { left, right } = self.as_of {
            for (side, time) in join.sides.iter_mut().zip([left, right]) {
                // Rows are stored in the order of time.
                side.rest.retain(|column| *column != time);
                side.rest.insert(0, time);
            }
        }
        let timers = Timers::new(TimeDomain::Event, &context);
        Ok(Box::new(TemporalJoin { join, as_of: self.as_of, timers, passed: context.resumes_at }))
    }
}

/// Left rows wait in the map of the left side: the row and its kind, with how often it is there. Versions of a key are in the map of the
/// right side: by time, each with the row, if there is one. As of processing time there is one version.
struct TemporalJoin {
    join: Join,
    as_of: AsOf,
    timers: Timers,
    passed: Watermark,
}

/// The number of keys that are processed at once.
const KEYS: usize = 1024;

fn damaged() -> Error {
    Error::state("a row of a temporal join in the state is damaged")
}

/// Rows of the left side with the versions that they are joined with.
struct Matched {
    columns: Vec<ColumnBuilder>,
    kinds: Vec<RowKind>,
    candidates: Candidates,
    ends: Vec<usize>,
}

impl Operator for TemporalJoin {
    fn process(&mut self, side: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.join.sides[side].on);
        let rest: Vec<ArrayRef> = self.join.sides[side].rest.iter().map(|c| batch.data.column(*c).clone()).collect();
        // Reads the clock by which keys expire.
        self.join.kept.state.prefetch(std::iter::empty())?;
        match (self.as_of, side) {
            (AsOf::ProcessingTime, LEFT) => self.join_now(&batch, &keys, out),
            (AsOf::ProcessingTime, _) => {
                self.replace(&batch, &keys, &rest);
                Ok(())
            }
            (AsOf::EventTime { .. }, LEFT) => self.wait(&batch, &keys, &rest),
            (AsOf::EventTime { .. }, _) => self.add_versions(&batch, &keys, &rest),
        }
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        if self.as_of == AsOf::ProcessingTime {
            self.passed = self.passed.max(time.inputs[LEFT]);
            return Ok(());
        }
        self.passed = self.passed.max(time.all);
        let mut matched = self.nothing();
        loop {
            let due = self.timers.due(&mut self.join.kept.state, self.passed.0, KEYS)?;
            let more = due.len() == KEYS;
            let mut keys: Vec<Vec<u8>> = due.into_iter().map(|(_, key)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                self.due(&key, &mut matched, out)?;
            }
            if !more {
                break;
            }
        }
        self.emit(matched, out)
    }

    /// As of processing time, that of the left side: no row waits for the right side, which may have no event time at all.
    fn output_watermark(&self, all: Watermark) -> Watermark {
        if self.as_of == AsOf::ProcessingTime { self.passed } else { all }
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

impl TemporalJoin {
    /// Whether a row of a side can have a partner: none of the columns that are compared is NULL.
    fn may_match(&self, batch: &Batch, side: usize, row: usize) -> bool {
        self.join.plan.on.iter().all(|k| k.nulls_equal || batch.data.column(k.of(side)).is_valid(row))
    }

    /// The rows of a batch of the right side that are versions.
    fn versions(&self, batch: &Batch) -> Vec<usize> {
        let is_version = |row: &usize| batch.kind(*row) != RowKind::UpdateBefore && self.may_match(batch, RIGHT, *row);
        (0..batch.rows()).filter(is_version).collect()
    }

    /// Replaces the current versions of keys.
    fn replace(&mut self, batch: &Batch, keys: &Keys, rest: &[ArrayRef]) {
        for row in self.versions(batch) {
            if batch.kind(row).sign() > 0 {
                let mut version = vec![];
                encode_row(rest, row, &mut version);
                MANY[RIGHT].put(&mut self.join.kept.state, keys.get(row), &[], &version);
            } else {
                MANY[RIGHT].remove(&mut self.join.kept.state, keys.get(row), &[]);
            }
        }
    }

    /// Joins rows with the current version of their key.
    fn join_now(&mut self, batch: &Batch, keys: &Keys, out: &mut Collector) -> Result<()> {
        MANY[RIGHT].prefetch(&mut self.join.kept.state, (0..keys.len()).map(|row| (keys.get(row), &[][..])))?;
        let mut candidates = Candidates::new(&self.join.sides[RIGHT]);
        let mut ends = vec![];
        for row in 0..batch.rows() {
            if self.may_match(batch, LEFT, row)
                && let Some(version) = MANY[RIGHT].get(&mut self.join.kept.state, keys.get(row), &[])?
            {
                candidates.push(row, keys.get(row), StoredRow::of(&version, 1, 0), &self.join.sides[RIGHT])?;
            }
            ends.push(candidates.len());
        }
        self.joined(batch, candidates, &ends, out)
    }

    /// Stores rows of the left side until the watermark has passed their times.
    fn wait(&mut self, batch: &Batch, keys: &Keys, rest: &[ArrayRef]) -> Result<()> {
        let mut entry = vec![];
        for row in 0..batch.rows() {
            entry.clear();
            encode_row(rest, row, &mut entry);
            let (key, time) = (keys.get(row), end_in_key(&entry)?);
            entry.push(batch.kind(row) as u8);
            let times = MANY[LEFT].get(&mut self.join.kept.state, key, &entry)?;
            let times = times.map_or(Some(0), |t| varint::take(&mut t.as_slice())).ok_or_else(damaged)?;
            let mut value = vec![];
            varint::put(&mut value, times + 1);
            MANY[LEFT].put(&mut self.join.kept.state, key, &entry, &value);
            self.timers.set(&mut self.join.kept.state, time, key);
        }
        Ok(())
    }

    /// Stores versions of the right side.
    fn add_versions(&mut self, batch: &Batch, keys: &Keys, rest: &[ArrayRef]) -> Result<()> {
        let Some(times) = rest.first() else { return Err(Error::internal("versions without a time")) };
        let (mut version, mut time) = (vec![], vec![]);
        for row in self.versions(batch) {
            version.clear();
            version.push(u8::from(batch.kind(row).sign() > 0));
            encode_row(rest, row, &mut version);
            time.clear();
            encode_value(&Value::read(times, row), times.data_type(), &mut time);
            let key = keys.get(row);
            MANY[RIGHT].put(&mut self.join.kept.state, key, &time, &version);
            // Older versions are removed then.
            self.timers.set(&mut self.join.kept.state, end_in_key(&time)?, key);
        }
        Ok(())
    }

    fn nothing(&self) -> Matched {
        let columns = self.join.sides[LEFT].types.iter().map(ColumnBuilder::new).collect();
        let candidates = Candidates::new(&self.join.sides[RIGHT]);
        Matched { columns, kinds: vec![], candidates, ends: vec![] }
    }

    /// Joins the rows of a key whose times the watermark has passed, and removes the versions that nothing needs any more.
    fn due(&mut self, key: &[u8], matched: &mut Matched, out: &mut Collector) -> Result<()> {
        let AsOf::EventTime { left, right } = self.as_of else { return Ok(()) };
        let next = self.passed.0.saturating_add(1);
        let end = time_prefix(next, &self.join.sides[RIGHT].types[right]);
        let versions = MANY[RIGHT].range(&self.join.kept.state, key, &[], Some(&end)).collect::<Result<Vec<Pair>>>()?;
        let end = time_prefix(next, &self.join.sides[LEFT].types[left]);
        loop {
            let rows = MANY[LEFT].take(&mut self.join.kept.state, key, &[], Some(&end), PAGE)?;
            let more = rows.len() == PAGE;
            for (row, times) in rows {
                let times = varint::take(&mut times.as_slice()).ok_or_else(damaged)?;
                let (kind, row) = row.split_last().ok_or_else(damaged)?;
                let version = version_at(&versions, end_in_key(row)?);
                for _ in 0..times {
                    self.join.sides[LEFT].decode(key, row, &mut matched.columns)?;
                    if let Some(version) = version {
                        let (n, side) = (matched.kinds.len(), &self.join.sides[RIGHT]);
                        matched.candidates.push(n, key, StoredRow::of(version, 1, 0), side)?;
                    }
                    matched.kinds.push(RowKind::from_code(*kind as i8));
                    matched.ends.push(matched.candidates.len());
                }
                if matched.kinds.len() >= MOST_ROWS {
                    let full = std::mem::replace(matched, self.nothing());
                    self.emit(full, out)?;
                }
            }
            if !more {
                break;
            }
        }
        if let Some((last, version)) = versions.last() {
            // Of a deleted key, no version stays.
            let deleted = version.first() != Some(&1);
            let end = if deleted { [last.as_slice(), &[0]].concat() } else { last.clone() };
            if versions.len() > 1 || deleted {
                MANY[RIGHT].remove_range(&mut self.join.kept.state, key, &[], &end);
            }
        }
        Ok(())
    }

    fn emit(&mut self, matched: Matched, out: &mut Collector) -> Result<()> {
        let Matched { columns, kinds, candidates, ends } = matched;
        if kinds.is_empty() {
            return Ok(());
        }
        let columns = columns.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.join.plan.left.arrow(), columns, kinds.len())?;
        let batch = batch.with_changes(kinds.iter().map(|kind| *kind as i8).collect());
        self.joined(&batch, candidates, &ends, out)
    }

    /// Emits rows of the left side with their candidates, which end at `ends`.
    fn joined(&mut self, batch: &Batch, candidates: Candidates, ends: &[usize], out: &mut Collector) -> Result<()> {
        let decided = candidates.decide(batch, LEFT, &self.join.plan, &mut self.join.eval, &self.join.failed, out)?;
        let (mut output, mut from) = (Output::default(), 0);
        for (row, end) in ends.iter().enumerate() {
            let change = RowChange { row: row as u32, side: LEFT, kind: batch.kind(row), plan: &self.join.plan };
            let partners = output.pairs(change, &decided, from..*end, |_, _| 0);
            output.alone(change, partners);
            from = *end;
        }
        self.join.emit(&mut output, batch, LEFT, &decided, out)
    }
}

/// The row of the latest version at a time, if there is one.
fn version_at(versions: &[Pair], time: i64) -> Option<&[u8]> {
    let after = versions.partition_point(|(of, _)| end_in_key(of).is_ok_and(|of| of <= time));
    match versions.get(after.checked_sub(1)?)?.1.split_first() {
        Some((1, row)) => Some(row),
        _ => None,
    }
}
