//! Replay of dead letters: their records are decoded again, in the table's format, for the statement in which they failed.

use crate::format::{DecodeError, Decoder, DecoderFactory, Refused, RowBuilder, decoder, without};
use crate::options::TableSpec;
use crate::registered::RecordFormat;
use arrow::array::{ArrayRef, new_null_array};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch};
use weir_core::thread::locked;
use weir_core::{Batch, Error, Result, Schema, Value};
use weir_operators::failed_rows::{ORIGIN, STATEMENT};

/// Counts the dead letters that a replay skips because no statement of the script takes them, by table and by the statement in
/// which they failed.
#[derive(Default)]
pub struct SkippedDeadLetters {
    /// The number for each operator that reads the table. Each of them sees every dead letter.
    counted: Mutex<BTreeMap<(String, String), BTreeMap<String, u64>>>,
}

impl SkippedDeadLetters {
    fn count(&self, table: &str, statement: String, operator: &str, n: u64) {
        let mut all = locked(&self.counted);
        *all.entry((table.to_string(), statement)).or_default().entry(operator.to_string()).or_default() += n;
    }

    /// Tables and statements, with the number of dead letters skipped for each.
    pub fn all(&self) -> Vec<(String, String, u64)> {
        let all = locked(&self.counted);
        let most = |of: &BTreeMap<String, u64>| of.values().copied().max().unwrap_or(0);
        all.iter().map(|((table, statement), of)| (table.clone(), statement.clone(), most(of))).collect()
    }
}

/// A dead-letter table, and the statements of the script that replay dead letters from it.
pub type ReplayInput = (String, BTreeSet<String>);

struct Replay {
    /// The dead-letter table of each input.
    inputs: Vec<ReplayInput>,
    skipped: Arc<SkippedDeadLetters>,
    /// Its own name.
    uid: String,
    value: DecoderFactory,
    schema: Schema,
    /// For each column that is read, which of the format's it is; none for what lies beside the record.
    from: Vec<Option<usize>>,
}

/// See [`crate::replay`]. `record` says how a record of the table is decoded.
pub(crate) fn replay(
    table: &TableSpec,
    (fields, format, prefix): RecordFormat,
    inputs: Vec<ReplayInput>,
    skipped: Arc<SkippedDeadLetters>,
) -> Result<Arc<dyn OperatorFactory>> {
    let value = decoder(table, &format, prefix, &fields)?;
    let mut read: Vec<usize> = table.columns.clone();
    read.retain(|c| fields.contains(c));
    let from: Vec<Option<usize>> = table.columns.iter().map(|c| read.iter().position(|r| r == c)).collect();
    for (c, f) in table.columns.iter().zip(&from) {
        if f.is_none() && table.metadata[*c].is_none() {
            let name = &table.schema.fields[*c].name;
            let e =
                Error::script(format!("column '{name}' of '{}' is in the key, which dead letters lack", table.name));
            return Err(e.at(table.place).hint("with 'value.fields-include' = 'ALL' the record has it as well"));
        }
    }
    Ok(Arc::new(Replay { inputs, skipped, uid: table.uid.clone(), value, schema: table.projected(), from }))
}

impl OperatorFactory for Replay {
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(ReplayOperator {
            inputs: self.inputs.clone(),
            skipped: self.skipped.clone(),
            uid: self.uid.clone(),
            unclaimed: BTreeMap::new(),
            decoder: self.value.decoder(),
            of_value: self.value.schema.clone(),
            on_error: self.value.on_error,
            statement: self.value.statement.clone(),
            schema: self.schema.clone(),
            from: self.from.clone(),
            context,
        }))
    }
}

struct ReplayOperator {
    inputs: Vec<ReplayInput>,
    skipped: Arc<SkippedDeadLetters>,
    uid: String,
    /// The dead letters skipped since the last epoch, by input and statement.
    unclaimed: BTreeMap<(usize, String), u64>,
    decoder: Box<dyn Decoder>,
    of_value: Schema,
    on_error: weir_expr::OnError,
    statement: String,
    schema: Schema,
    from: Vec<Option<usize>>,
    context: SubtaskContext,
}

/// A header of a dead letter, as text.
fn header(headers: &Value<'_>, name: &str) -> Option<String> {
    let Value::Map(items) = headers else { return None };
    let (_, v) = items.iter().find(|(k, _)| k.as_bytes() == Some(name.as_bytes()))?;
    v.as_bytes().map(|b| String::from_utf8_lossy(b).into_owned())
}

impl Operator for ReplayOperator {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let mut rows = RowBuilder::new(&self.of_value);
        let mut from_rows: Vec<u32> = vec![];
        let metrics = self.context.metrics.clone();
        let mut refused = Refused::new(self.on_error, &metrics, &self.statement);
        for row in 0..batch.rows() {
            let record = Value::read(batch.data.column(0), row);
            let headers = batch.data.columns().get(1).map_or(Value::Null, |h| Value::read(h, row));
            if let Some(of) = header(&headers, STATEMENT).filter(|s| *s != self.statement) {
                if self.inputs.get(input).is_some_and(|(_, known)| !known.contains(&of)) {
                    *self.unclaimed.entry((input, of)).or_default() += 1;
                }
                continue;
            }
            let record = record.as_bytes().unwrap_or_default();
            let height = rows.height;
            let read = self.decoder.record(record, &mut rows);
            from_rows.resize(rows.height, row as u32);
            rows.close(height, row, read.is_ok());
            match read {
                Ok(()) => {}
                Err(DecodeError::Job(e)) => return Err(e),
                Err(DecodeError::Record(why)) => {
                    refused
                        .add(why, record, || header(&headers, ORIGIN).unwrap_or_else(|| "a dead letter".to_string()))?;
                }
            }
        }
        refused.finish(&*self.context.clock, out)?;
        metrics.nulled.inc_by(rows.nulled);
        metrics.skipped.inc_by(rows.skipped);
        let (dropped, height) = (std::mem::take(&mut rows.dropped), rows.height);
        let value = rows.finish(&self.of_value)?;
        let columns: Vec<ArrayRef> = self
            .from
            .iter()
            .zip(&self.schema.fields)
            .map(|(from, f)| {
                from.map_or_else(|| new_null_array(&f.ty.arrow(), height), |i| value.data.column(i).clone())
            })
            .collect();
        let origins = batch.origins.as_ref().map(|o| o.take(from_rows.into_iter()));
        let made =
            Batch::from_columns(self.schema.arrow(), columns, height)?.with_kinds(value.kinds).with_origins(origins);
        out.emit(without(made, &dropped)?);
        Ok(())
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        for ((input, statement), n) in std::mem::take(&mut self.unclaimed) {
            if let Some((table, _)) = self.inputs.get(input) {
                self.skipped.count(table, statement, &self.uid, n);
            }
        }
        Ok(Changes::default())
    }
}
