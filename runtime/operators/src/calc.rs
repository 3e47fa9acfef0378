//! Filters each batch by a predicate, and projects it to expressions.

use crate::failed_rows::{FailedRows, user_functions};
use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::{Batch, Error, Result, Schema};
use weir_expr::eval::{condition, eval};
use weir_expr::{EvalContext, Expr, OnError, Session};

/// Creates filters with projections.
pub struct CalcFactory {
    /// The predicate that rows must satisfy.
    pub condition: Option<Expr>,
    /// The expressions of the projection.
    pub exprs: Vec<Expr>,
    /// The columns of the output.
    pub schema: Schema,
    /// The columns of the input, for dead letters.
    pub input: Schema,
    /// The session.
    pub session: Arc<Session>,
    /// The handling of rows on which built-in functions fail.
    pub on_error: OnError,
    /// The statement of this operator, for dead letters.
    pub statement: String,
}

impl OperatorFactory for CalcFactory {
    fn functions(&self) -> Vec<String> {
        user_functions(self.exprs.iter().chain(&self.condition))
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let mut eval = EvalContext::new(self.session.clone()).with_clock(context.clock.clone());
        eval.on_error = self.on_error;
        Ok(Box::new(Calc {
            condition: self.condition.clone(),
            exprs: self.exprs.clone(),
            schema: self.schema.arrow(),
            failed: FailedRows::new(&context, &self.statement),
            input: self.input.clone(),
            eval,
        }))
    }
}

struct Calc {
    condition: Option<Expr>,
    exprs: Vec<Expr>,
    schema: SchemaRef,
    input: Schema,
    failed: FailedRows,
    eval: EvalContext,
}

impl Operator for Calc {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let batch = match &self.condition {
            Some(c) => {
                let kept = condition(c, &batch.data, &mut self.eval);
                if self.too_large(&batch) {
                    return halves(&batch)?.into_iter().try_for_each(|half| self.process(0, half, out));
                }
                let keep = kept.map_err(|e| self.placed(e, &batch))?;
                self.failed.handle(self.eval.errors.drain(..), (&batch, &self.input), out)?;
                if keep.true_count() == batch.rows() { batch } else { batch.filter(&keep)? }
            }
            None => batch,
        };
        self.project(batch, out)
    }

    fn on_watermark(&mut self, time: &EventTime, _out: &mut Collector) -> Result<()> {
        self.eval.watermark = Some(time.all.0).filter(|_| time.all > Watermark::NONE);
        Ok(())
    }
}

/// Splits a batch into its first and second half.
fn halves(batch: &Batch) -> Result<[Batch; 2]> {
    let first = |wanted: bool| (0..batch.rows()).map(|r| Some((r < batch.rows() / 2) == wanted)).collect();
    Ok([batch.filter(&first(true))?, batch.filter(&first(false))?])
}

impl Calc {
    fn project(&mut self, batch: Batch, out: &mut Collector) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let columns = self.exprs.iter().map(|e| eval(e, &batch.data, &mut self.eval)).collect::<Result<Vec<_>>>();
        if self.too_large(&batch) {
            return halves(&batch)?.into_iter().try_for_each(|half| self.project(half, out));
        }
        let columns = columns.map_err(|e| self.placed(e, &batch))?;
        let result = Batch::from_columns(self.schema.clone(), columns, batch.rows())?
            .with_kinds(batch.kinds.clone())
            .with_origins(batch.origins.clone());
        let dropped = self.failed.handle(self.eval.errors.drain(..), (&batch, &self.input), out)?;
        if dropped.is_empty() {
            out.emit(result);
        } else {
            let keep: BooleanArray = (0..result.rows()).map(|r| Some(!dropped.contains(&(r as u32)))).collect();
            out.emit(result.filter(&keep)?);
        }
        Ok(())
    }

    /// Whether the evaluation stopped because its results are too large for one column, and can be repeated with fewer rows.
    fn too_large(&mut self, batch: &Batch) -> bool {
        let parted = std::mem::take(&mut self.eval.too_large) && batch.rows() > 1;
        if parted {
            self.eval.errors.clear();
        }
        parted
    }

    /// Adds the origin of the failed row to an error.
    fn placed(&self, error: Error, batch: &Batch) -> Error {
        match (self.eval.fatal, &batch.origins) {
            (Some(row), Some(origins)) => error.context(origins.of(row).0),
            _ => error,
        }
    }
}
