//! Rows that are too late for an operator. They are counted. Rows of a table with `late-rows.table` are also emitted together with the
//! reason. A source keeps a copy of such rows as they are in its table ([`KeepRowsFactory`]), whatever later operators do to them.

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::interleave;
use std::sync::Arc;
use weir_core::event_time::Watermark;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::late_rows;
use weir_core::origin::{KeptRow, Origin, Origins};
use weir_core::watermarks::SplitId;
use weir_core::{Batch, Error, Result, RowKind, SqlType, TypeKind, Value};
use weir_expr::text::cast_text;
use weir_expr::time::Zone;

/// Creates the operators that attach a copy of each row of a table to it, in case it is late.
pub struct KeepRowsFactory {
    /// The columns of a batch to copy.
    pub columns: Vec<usize>,
    /// Whether the rows' time attribute is an instant (TIMESTAMP_LTZ).
    pub instants: bool,
}

impl OperatorFactory for KeepRowsFactory {
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(KeepRows { columns: self.columns.clone(), instants: self.instants, context }))
    }
}

struct KeepRows {
    columns: Vec<usize>,
    instants: bool,
    context: SubtaskContext,
}

impl Operator for KeepRows {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let rows = Arc::new(batch.data.project(&self.columns)?);
        let (node, origins) = (self.context.node.clone(), batch.origins.clone());
        let kept = Kept { rows, instants: self.instants, node, origins };
        out.emit(batch.with_origins(Some(Origins::new(Arc::new(kept)))));
        Ok(())
    }
}

/// The rows of a batch as they are in the source table.
#[derive(Debug)]
struct Kept {
    rows: Arc<RecordBatch>,
    instants: bool,
    node: String,
    origins: Option<Origins>,
}

impl Origin for Kept {
    fn of(&self, row: u32) -> (String, Option<Vec<u8>>) {
        self.origins.as_ref().map_or_else(|| (self.node.clone(), None), |o| o.of(row))
    }
    fn split(&self, row: u32) -> SplitId {
        self.origins.as_ref().map_or_else(SplitId::default, |o| o.split(row))
    }
    fn kept(&self, row: u32) -> Option<KeptRow> {
        let there = (row as usize) < self.rows.num_rows();
        there.then(|| KeptRow { rows: self.rows.clone(), row, instants: self.instants })
    }
    fn keeps_rows(&self) -> bool {
        true
    }
}

/// Counts the late rows of an operator, and emits them if their table has `late-rows.table`.
pub(crate) struct LateRows {
    context: SubtaskContext,
}

impl LateRows {
    /// Creates it for a subtask.
    pub fn new(context: &SubtaskContext) -> LateRows {
        LateRows { context: context.clone() }
    }

    /// Counts a row as late, and emits it if its table says so. `reason` is only called if the row is emitted.
    ///
    /// # Errors
    /// None in practice: the columns have the types of the schema.
    pub fn drop_row(
        &self,
        batch: &Batch,
        row: usize,
        watermark: i64,
        reason: impl Fn() -> String,
        out: &mut Collector,
    ) -> Result<()> {
        self.drop_rows(batch, &[row], watermark, |_| reason(), out)
    }

    /// Counts some rows as late, and emits those whose table says so. `reason` is only called for rows that are emitted.
    ///
    /// # Errors
    /// None in practice: the columns have the types of the schema.
    pub fn drop_rows(
        &self,
        batch: &Batch,
        rows: &[usize],
        watermark: i64,
        reason: impl Fn(usize) -> String,
        out: &mut Collector,
    ) -> Result<()> {
        self.context.metrics.late.inc_by(rows.len() as u64);
        let Some(origins) = batch.origins.as_ref().filter(|o| o.keeps_rows()) else { return Ok(()) };
        let (mut reasons, mut kinds, mut kept) = (vec![], vec![], vec![]);
        for row in rows {
            if let Some(k) = origins.kept(*row as u32) {
                reasons.push(reason(*row));
                kinds.push(batch.kind(*row));
                kept.push(k);
            }
        }
        if !kept.is_empty() {
            out.late_rows(self.written(reasons, kinds, &kept, watermark)?);
        }
        Ok(())
    }

    /// Late rows as they leave the operator: the reason, the operator and the time, then the row's own columns.
    fn written(&self, reasons: Vec<String>, kinds: Vec<RowKind>, kept: &[KeptRow], watermark: i64) -> Result<Batch> {
        let (first, n) = (kept.first().ok_or_else(|| Error::internal("no late rows"))?, kept.len());
        let (instants, of_rows) = (first.instants, first.rows.schema());
        let watermark = Some(watermark).filter(|w| *w < Watermark::END.0).map(|w| w.saturating_mul(1000));
        let watermark = TimestampMicrosecondArray::from(vec![watermark; n]);
        let now = TimestampMicrosecondArray::from(vec![self.context.clock.now() * 1000; n]).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(reasons)),
            Arc::new(StringArray::from(vec![self.context.node.as_str(); n])),
            Arc::new(StringArray::from_iter_values(kinds.into_iter().map(RowKind::mark))),
            if instants { Arc::new(watermark.with_timezone("UTC")) } else { Arc::new(watermark) },
            Arc::new(now),
        ];
        for at in 0..of_rows.fields().len() {
            let values: Vec<&dyn Array> = kept.iter().map(|k| k.rows.column(at).as_ref()).collect();
            let places: Vec<(usize, usize)> = kept.iter().enumerate().map(|(i, k)| (i, k.row as usize)).collect();
            columns.push(interleave(&values, &places)?);
        }
        let why = late_rows::columns(instants).arrow();
        let fields: Vec<_> = why.fields().iter().chain(of_rows.fields()).cloned().collect();
        Batch::from_columns(Arc::new(arrow::datatypes::Schema::new(fields)), columns, n)
    }
}

/// Formats a time in milliseconds for messages, without a time zone.
pub(crate) fn shown(millis: i64) -> String {
    cast_text(&Value::of_millis(millis), &SqlType::from(TypeKind::Timestamp(3)), &Zone::UTC)
}

/// The reason for a row that arrives after the watermark has passed its time.
pub(crate) const PASSED: &str = "the watermark had passed its time";

/// The reason for a row whose session had this end.
pub(crate) fn of_session(end: i64) -> String {
    format!("its session, which ended at {}, was complete", shown(end))
}

/// The reason for a row whose last window had this end.
pub(crate) fn of_window(end: i64) -> String {
    format!("its last window, which ended at {}, was complete", shown(end))
}
