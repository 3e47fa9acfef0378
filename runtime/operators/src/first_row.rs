//! Emits the first row of each key in time, once: Flink's deduplication that keeps the first row. In event time, the row is emitted when
//! the watermark has passed its time, because an earlier row may arrive until then.

use crate::change_rows::ChangeRows;
use crate::late_rows::{LateRows, PASSED};
use crate::rank::{push_ranked, with_rank};
use arrow::datatypes::DataType;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, encode_row};
use weir_core::keyed::{Codec, KeyedState, TimeDomain, Timers};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::watermarks::row_time;
use weir_core::{Batch, Error, Result, RowKind, Schema};

/// Creates the operators that keep first rows.
#[derive(Clone)]
pub struct FirstRowFactory {
    /// The columns of the key.
    pub partition: Vec<usize>,
    /// The column with the rows' times.
    pub time: usize,
    /// Whether the row with the earliest event time is kept, or the row that arrives first.
    pub domain: TimeDomain,
    /// Whether the row number, which is 1, is appended as the last column.
    pub number: bool,
    /// The columns of the input.
    pub schema: Schema,
    /// The time to live, in milliseconds, of a key whose row was emitted; 0 = unlimited.
    pub ttl_millis: u64,
}

impl OperatorFactory for FirstRowFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(FirstRow {
            types: self.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            state: KeyedState::open(Firsts, &context, self.ttl_millis)?,
            timers: Timers::new(TimeDomain::Event, &context),
            passed: Watermark::NONE,
            late: LateRows::new(&context),
            plan: self.clone(),
            context,
        }))
    }
}

/// The state of a key: its earliest row so far, with the time. It is none once the row has been emitted.
type First = Option<(i64, Vec<u8>)>;

struct Firsts;

impl Codec for Firsts {
    type Value = First;
    fn encode(&self, _place: u32, first: &First, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        if let Some((time, row)) = first {
            out.extend_from_slice(&time.to_be_bytes());
            out.extend_from_slice(row);
        }
    }
    fn decode(&mut self, _place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<First> {
        let damaged = || Error::state("the first row of a key in the state is damaged");
        let first = bytes.get(8..).ok_or_else(damaged)?;
        if first.is_empty() {
            return Ok(None);
        }
        let (time, row) = first.split_first_chunk::<8>().ok_or_else(damaged)?;
        Ok(Some((i64::from_be_bytes(*time), row.to_vec())))
    }
    fn bytes(&self, _place: u32, first: &First) -> usize {
        first.as_ref().map_or(0, |(_, row)| row.len())
    }
}

/// The number of keys that are processed at once.
const PAGE: usize = 4096;

struct FirstRow {
    plan: FirstRowFactory,
    types: Vec<DataType>,
    state: KeyedState<Firsts>,
    timers: Timers,
    passed: Watermark,
    late: LateRows,
    context: SubtaskContext,
}

impl FirstRow {
    fn give(&self, row: &[u8], rows: &mut ChangeRows) -> Result<()> {
        push_ranked(rows, RowKind::Insert, &self.types, row, 1)
    }

    /// Stores a row in event time, in place of a later one.
    fn wait(&mut self, key: &[u8], time: i64, row: Vec<u8>) -> Result<()> {
        let (mut waits, mut waited) = (false, None);
        self.state.update(key, |known| {
            waits = match known {
                None => true,
                Some(None) => false,
                Some(Some((earliest, _))) => time < *earliest,
            };
            if waits {
                waited = known.replace(Some((time, row))).flatten().map(|(time, _)| time);
            }
            Ok(waits)
        })?;
        if waits {
            if let Some(time) = waited {
                self.timers.remove(&mut self.state, time, key);
            }
            self.timers.set(&mut self.state, time, key);
        }
        Ok(())
    }
}

impl Operator for FirstRow {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.plan.partition);
        self.state.prefetch((0..keys.len()).map(|r| keys.get(r)))?;
        let times = batch.data.column(self.plan.time).clone();
        let mut rows = ChangeRows::new(with_rank(&self.plan.schema, self.plan.number));
        for n in 0..batch.rows() {
            let mut row = vec![];
            encode_row(batch.data.columns(), n, &mut row);
            match (self.plan.domain, row_time(&times, n)?) {
                (TimeDomain::Event, Some(time)) if time < self.passed.0 => {
                    self.late.drop_row(&batch, n, self.passed.0, || PASSED.to_string(), out)?;
                }
                (TimeDomain::Event, Some(time)) => self.wait(keys.get(n), time, row)?,
                (TimeDomain::Event, None) => self.context.metrics.skipped.inc(),
                (TimeDomain::Processing, _) => {
                    let mut is_first = false;
                    self.state.update(keys.get(n), |known| {
                        is_first = known.is_none();
                        known.get_or_insert(None);
                        Ok(is_first)
                    })?;
                    if is_first {
                        self.give(&row, &mut rows)?;
                    }
                }
            }
        }
        out.emit(rows.take()?);
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        self.passed = self.passed.max(time.all);
        // Updates the processing time of the state.
        self.state.prefetch(std::iter::empty())?;
        loop {
            let due = self.timers.due(&mut self.state, self.passed.0, PAGE)?;
            let more = due.len() == PAGE;
            let mut rows = ChangeRows::new(with_rank(&self.plan.schema, self.plan.number));
            for (_, key) in due {
                let mut first = None;
                self.state.update(&key, |known| {
                    first = known.as_mut().and_then(Option::take);
                    Ok(first.is_some())
                })?;
                if let Some((_, row)) = first {
                    self.give(&row, &mut rows)?;
                }
            }
            out.emit(rows.take()?);
            if !more {
                return Ok(());
            }
        }
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn preferred_rows(&self) -> usize {
        self.state.preferred_rows()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
