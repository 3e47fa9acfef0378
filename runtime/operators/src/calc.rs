//! Filters each batch by a predicate, and projects it to expressions.

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::dead_letter::DEAD_LETTER;
use weir_core::event_time::{EventTime, Watermark};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::{Batch, Error, Result, Schema, Value};
use weir_expr::eval::{condition, eval};
use weir_expr::{EvalContext, Expr, OnError, RowError, Session};

/// A record that failed.
pub struct DeadLetter {
    /// The error.
    pub reason: String,
    /// The place that the record was read from.
    pub origin: String,
    /// The original bytes of the record.
    pub record: Vec<u8>,
    /// The statement in which it failed. Each statement of a job reads separately.
    pub statement: String,
}

/// The header of a dead letter with the name of its statement.
pub const STATEMENT: &str = "weir.statement";
/// The header of a dead letter with the original place of its record.
pub const ORIGIN: &str = "weir.origin";

/// Converts dead letters to a batch. `now` is the time of the failure in milliseconds since 1970.
///
/// # Errors
/// None in practice: the columns have the types of the schema.
pub fn dead_letters(letters: Vec<DeadLetter>, now: i64) -> Result<Batch> {
    let n = letters.len();
    let headers = letters.iter().map(|l| {
        let named =
            |name: &str, value: &str| (Value::string(name.to_string()), Value::Bytes(value.as_bytes().to_vec().into()));
        Value::Map(vec![named("weir.reason", &l.reason), named(ORIGIN, &l.origin), named(STATEMENT, &l.statement)])
    });
    let headers = weir_core::builder::column(&DEAD_LETTER.fields[4].ty.arrow(), headers);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(letters.iter().map(|l| Some(l.reason.as_str())).collect::<StringArray>()),
        Arc::new(letters.iter().map(|l| Some(l.origin.as_str())).collect::<StringArray>()),
        Arc::new(letters.iter().map(|l| Some(l.record.as_slice())).collect::<BinaryArray>()),
        Arc::new(TimestampMicrosecondArray::from(vec![now * 1_000; n]).with_timezone("UTC")),
        headers,
    ];
    Batch::from_columns(DEAD_LETTER.arrow(), columns, n)
}

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
        let mut out: Vec<String> = vec![];
        for e in self.exprs.iter().chain(&self.condition) {
            e.each_call(&mut |function| {
                if function.is_user_defined() && !out.iter().any(|n| n == function.name()) {
                    out.push(function.name().to_string());
                }
            });
        }
        out
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let mut eval = EvalContext::new(self.session.clone()).with_clock(context.clock.clone());
        eval.on_error = self.on_error;
        Ok(Box::new(Calc {
            condition: self.condition.clone(),
            exprs: self.exprs.clone(),
            schema: self.schema.arrow(),
            input: self.input.clone(),
            eval,
            statement: self.statement.clone(),
            context,
        }))
    }
}

struct Calc {
    condition: Option<Expr>,
    exprs: Vec<Expr>,
    schema: SchemaRef,
    input: Schema,
    eval: EvalContext,
    statement: String,
    context: SubtaskContext,
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
                self.failed(&batch, out)?;
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
        let dropped = self.failed(&batch, out)?;
        if dropped.is_empty() {
            out.emit(result);
        } else {
            let keep: BooleanArray = (0..result.rows()).map(|r| Some(!dropped.contains_key(&(r as u32)))).collect();
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

    /// Handles the rows that failed: counts them and sends dead letters. Returns the rows to drop.
    fn failed(&mut self, batch: &Batch, out: &mut Collector) -> Result<BTreeMap<u32, ()>> {
        let mut dropped = BTreeMap::new();
        let errors: Vec<RowError> = std::mem::take(&mut self.eval.errors);
        let mut letters = vec![];
        for e in errors {
            match e.policy {
                OnError::Null | OnError::Fail => self.context.metrics.nulled.inc(),
                OnError::Skip => {
                    if dropped.insert(e.row, ()).is_none() {
                        self.context.metrics.skipped.inc();
                    }
                }
                OnError::DeadLetter => {
                    if dropped.insert(e.row, ()).is_none() {
                        self.context.metrics.dead.inc();
                        let (origin, record) = match batch.origins.as_ref().map(|o| o.of(e.row)) {
                            Some((origin, record)) => (origin, record),
                            None => (self.context.node.clone(), None),
                        };
                        let record = record.unwrap_or_else(|| record_of(&self.input, batch, e.row as usize));
                        let statement = self.statement.clone();
                        letters.push(DeadLetter { reason: e.message, origin, record, statement });
                    }
                }
            }
        }
        if !letters.is_empty() {
            out.dead_letters(dead_letters(letters, self.context.clock.now())?);
        }
        Ok(dropped)
    }

    /// Adds the origin of the failed row to an error.
    fn placed(&self, error: Error, batch: &Batch) -> Error {
        match (self.eval.fatal, &batch.origins) {
            (Some(row), Some(origins)) => error.context(origins.of(row).0),
            _ => error,
        }
    }
}

/// Formats a row as JSON.
pub(crate) fn record_of(schema: &Schema, batch: &Batch, row: usize) -> Vec<u8> {
    let fields = schema.fields.iter().zip(batch.data.columns());
    let map: serde_json::Map<String, serde_json::Value> = fields
        .map(|(f, c)| {
            let v = match Value::read(c, row) {
                Value::Null => serde_json::Value::Null,
                Value::Int(i) => i.into(),
                Value::Bool(b) => b.into(),
                v => weir_expr::text::cast_text(&v, &f.ty, &weir_expr::time::Zone::UTC).into(),
            };
            (f.name.clone(), v)
        })
        .collect();
    serde_json::Value::Object(map).to_string().into_bytes()
}
