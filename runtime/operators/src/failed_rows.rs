//! Rows on which an expression failed: they are counted, and dropped or sent as dead letters, as the policy of what failed says.

use arrow::array::{ArrayRef, BinaryArray, StringArray, TimestampMicrosecondArray};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::dead_letter::DEAD_LETTER;
use weir_core::graph::{Collector, SubtaskContext};
use weir_core::metrics::SubtaskMetrics;
use weir_core::{Batch, Result, Schema, Value};
use weir_expr::{Expr, OnError, RowError};

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

/// Handles the rows on which the expressions of an operator fail.
pub(crate) struct FailedRows {
    statement: String,
    node: String,
    metrics: SubtaskMetrics,
    clock: Arc<dyn Clock>,
}

impl FailedRows {
    /// Those of an operator in a statement.
    pub fn new(context: &SubtaskContext, statement: &str) -> FailedRows {
        FailedRows {
            statement: statement.to_string(),
            node: context.node.clone(),
            metrics: context.metrics.clone(),
            clock: context.clock.clone(),
        }
    }

    /// Handles errors of the evaluation of a batch's rows, which have the columns of `schema`. Returns the rows to drop.
    ///
    /// # Errors
    /// An internal error.
    pub fn handle(
        &self,
        errors: impl IntoIterator<Item = RowError>,
        (batch, schema): (&Batch, &Schema),
        out: &mut Collector,
    ) -> Result<BTreeSet<u32>> {
        let (mut dropped, mut letters) = (BTreeSet::new(), vec![]);
        for e in errors {
            match e.policy {
                OnError::Null | OnError::Fail => self.metrics.nulled.inc(),
                OnError::Skip | OnError::DeadLetter if !dropped.insert(e.row) => {}
                OnError::Skip => self.metrics.skipped.inc(),
                OnError::DeadLetter => {
                    self.metrics.dead.inc();
                    let (origin, record) = match batch.origins.as_ref().map(|o| o.of(e.row)) {
                        Some((origin, record)) => (origin, record),
                        None => (self.node.clone(), None),
                    };
                    let record = record.unwrap_or_else(|| record_of(schema, batch, e.row as usize));
                    let statement = self.statement.clone();
                    letters.push(DeadLetter { reason: e.message, origin, record, statement });
                }
            }
        }
        if !letters.is_empty() {
            out.dead_letters(dead_letters(letters, self.clock.now())?);
        }
        Ok(dropped)
    }
}

/// The names of the user-defined functions in expressions, each once.
pub(crate) fn user_functions<'a>(expressions: impl IntoIterator<Item = &'a Expr>) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for e in expressions {
        e.each_call(&mut |function| {
            if function.is_user_defined() && !out.iter().any(|n| n == function.name()) {
                out.push(function.name().to_string());
            }
        });
    }
    out
}

/// Formats a row as JSON.
fn record_of(schema: &Schema, batch: &Batch, row: usize) -> Vec<u8> {
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
