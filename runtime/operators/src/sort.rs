//! ORDER BY without a limit: streams are sorted by event time up to the watermark, batch inputs at the end by any columns. The rows wait in
//! an ordered map that need not fit into memory.

use crate::change_rows::ChangeRows;
use crate::late_rows::{LateRows, shown};
use crate::rank::put_sort_key;
use crate::row_numbers::RowNumbers;
use arrow::datatypes::DataType;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{decode_row, encode_row};
use weir_core::keyed::{KeyedState, MapState, ValueState};
use weir_core::rank::SortKey;
use weir_core::sortable::{from_sortable, sortable};
use weir_core::state::{Changes, Epoch};
use weir_core::watermarks::row_time;
use weir_core::{Batch, Error, Result, RowKind, Schema};

/// Creates sorts.
#[derive(Clone)]
pub struct SortFactory {
    /// The order.
    pub order: Vec<SortKey>,
    /// The column of the time attribute, if rows are emitted as the watermark advances; none: all are emitted at the end.
    pub time: Option<usize>,
    /// The columns.
    pub schema: Schema,
}

impl OperatorFactory for SortFactory {
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Sort {
            types: self.schema.fields.iter().map(|f| f.ty.arrow()).collect(),
            state: KeyedState::open((), &context, 0)?,
            numbers: RowNumbers::new(&context),
            passed: Watermark::NONE,
            last: None,
            late: LateRows::new(&context),
            plan: self.clone(),
            context,
        }))
    }
}

/// The rows. The key of an entry is the row's time if there is a time column, its sort key, and its number.
const ROWS: MapState = MapState::new(0);

/// The time of the last row that was emitted as the watermark advanced.
const LAST: ValueState = ValueState::new(1);

/// The number of rows that are emitted together.
const PAGE: usize = 8192;

struct Sort {
    plan: SortFactory,
    types: Vec<DataType>,
    state: KeyedState<()>,
    numbers: RowNumbers,
    passed: Watermark,
    /// The time of the last emitted row, if it has been read or written.
    last: Option<i64>,
    late: LateRows,
    context: SubtaskContext,
}

impl Sort {
    /// The time of the last emitted row. A row that arrives later with an earlier time is late, as in Flink.
    fn last(&mut self) -> Result<i64> {
        if let Some(last) = self.last {
            return Ok(last);
        }
        let damaged = || Error::state("the time of the last sorted row in the state is damaged");
        let stored = LAST.get(&mut self.state, &[])?;
        let stored = stored.map(|bytes| bytes.try_into().map(i64::from_be_bytes).map_err(|_| damaged()));
        let last = stored.transpose()?.unwrap_or(i64::MIN);
        self.last = Some(last);
        Ok(last)
    }

    /// Emits the rows before an entry, or all.
    fn give(&mut self, up_to: Option<&[u8]>, out: &mut Collector) -> Result<()> {
        loop {
            let mut rows = ChangeRows::new(self.plan.schema.clone());
            let page = ROWS.take(&mut self.state, &[], &[], up_to, PAGE)?;
            for (_, row) in &page {
                decode_row(&self.types, row, rows.row(RowKind::Insert))?;
            }
            out.emit(rows.take()?);
            if let Some((_, (entry, _))) = self.plan.time.zip(page.last()) {
                let time = entry.first_chunk::<8>().map_or(i64::MIN, |b| from_sortable(*b));
                self.last = Some(time);
                LAST.put(&mut self.state, &[], &time.to_be_bytes());
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Operator for Sort {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        self.state.prefetch(std::iter::empty())?;
        for n in 0..batch.rows() {
            let mut entry = vec![];
            if let Some(time) = self.plan.time {
                let Some(time) = row_time(batch.data.column(time), n)? else {
                    self.context.metrics.skipped.inc();
                    continue;
                };
                let last = self.last()?;
                if time <= last {
                    let reason = || format!("rows up to {} had gone out", shown(last));
                    self.late.drop_row(&batch, n, self.passed.0, reason, out)?;
                    continue;
                }
                entry.extend_from_slice(&sortable(time));
            }
            put_sort_key(&self.plan.order, &batch, n, &mut entry);
            entry.extend_from_slice(&self.numbers.next().to_be_bytes());
            let mut row = vec![];
            encode_row(batch.data.columns(), n, &mut row);
            ROWS.put(&mut self.state, &[], &entry, &row);
        }
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        if self.plan.time.is_none() {
            return Ok(());
        }
        self.passed = self.passed.max(time.all);
        let up_to = self.passed.0.checked_add(1).map(sortable);
        self.give(up_to.as_ref().map(<[u8; 8]>::as_slice), out)
    }

    fn results_at_end(&self) -> bool {
        self.plan.time.is_none()
    }

    fn end(&mut self, out: &mut Collector) -> Result<()> {
        if self.plan.time.is_none() { self.give(None, out) } else { Ok(()) }
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
