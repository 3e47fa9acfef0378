//! Calls of a guest for the rows of a batch. Batches are split so that no call takes long or needs much memory, and rows that fail are
//! separated from the others.
//!
//! A call that traps is repeated for each half of its rows, until the responsible row is found. For a call that times out, this would take
//! the time-out once per halving. So its rows are processed in small groups with a short time limit, which follows from the time of the
//! rows before them. A group that exceeds it is split again. Only a single row gets the whole time-out, and fails if it exceeds it. One
//! such row is found within three time-outs, each further one within two more.

use crate::bindings::weir::udf::types::DataType as Wit;
use crate::convert::{from_guest, to_guest};
use crate::instances::{Instances, PooledInstance};
use crate::log::cut;
use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::{Error, Result, SqlType, Value};
use weir_expr::{EvalContext, OnError};

/// The number of rows of a batch that may bring the guest down before the job fails.
const POISON: usize = 16;
/// Maximum number of rows in a call.
const MOST: usize = 8192;
/// The number of rows in the first call of an instance, when the cost of a row is not known yet.
const FIRST: usize = 32;
/// Maximum number of rows in a group, and the number of parts into which a group that took too long is split.
const GROUP: (usize, usize) = (1024, 4);
/// The time limit of a group, as a multiple of the time that former rows took.
const PATIENCE: f64 = 20.0;
/// The minimum time limit of a group, because shorter times cannot be measured well.
const SHORTEST: Duration = Duration::from_millis(50);
/// The target time of a call, and the maximum as a fraction of the time-out (1/4).
const CALL: (Duration, u32) = (Duration::from_secs(1), 4);

/// The function to be called.
pub(crate) struct Callee {
    pub instances: Arc<Instances>,
    /// The index of the function in its component.
    pub index: u32,
    /// The type of each argument in the contract and in SQL.
    pub crossings: Vec<(Wit, SqlType)>,
    /// The type of the results in the contract.
    pub gives: Wit,
    /// The handling of rows on which the function fails.
    pub on_error: OnError,
}

/// The calls for one batch.
pub(crate) struct Calls<'a> {
    callee: &'a Callee,
    worker: &'a mut PooledInstance,
    args: &'a [ArrayRef],
    ty: &'a SqlType,
    context: &'a mut EvalContext,
    /// The rows of the batch for which a given row stands.
    rows_of: &'a dyn Fn(usize) -> Vec<usize>,
    parts: Vec<ArrayRef>,
    failed: Vec<usize>,
    /// The number of rows that brought the guest down.
    poison: usize,
    /// The time that rows have taken since a call timed out.
    seen: Option<Seen>,
}

/// The rows that were completed while a slow row is searched for, and their time.
#[derive(Default)]
struct Seen {
    rows: usize,
    time: Duration,
}

impl Seen {
    fn a_row(&self) -> f64 {
        self.time.as_secs_f64() / self.rows.max(1) as f64
    }
    /// The time limit for this many rows.
    fn allowance(&self, rows: usize, timeout: Duration) -> Duration {
        if self.rows == 0 && rows == 1 {
            return timeout;
        }
        let most = (timeout / 8).max(SHORTEST);
        let expected = PATIENCE * self.a_row() * rows as f64;
        if self.rows == 0 || expected >= most.as_secs_f64() {
            return most.min(timeout);
        }
        Duration::from_secs_f64(expected).max(SHORTEST).min(timeout)
    }
    /// The size of the next group, after one with this many rows.
    fn group(&self, last: usize, timeout: Duration) -> usize {
        let fit = timeout.as_secs_f64() / 16.0 / self.a_row().max(1e-9);
        (last * 2).min(GROUP.0).min(fit as usize).max(1)
    }
}

/// A call without results.
struct Failed {
    error: Error,
    late: bool,
}

impl<'a> Calls<'a> {
    pub fn new(
        callee: &'a Callee,
        worker: &'a mut PooledInstance,
        args: &'a [ArrayRef],
        ty: &'a SqlType,
        context: &'a mut EvalContext,
        rows_of: &'a dyn Fn(usize) -> Vec<usize>,
    ) -> Self {
        Calls { callee, worker, args, ty, context, rows_of, parts: vec![], failed: vec![], poison: 0, seen: None }
    }

    /// Computes the results of all rows, and returns the failed rows as well.
    pub fn all(mut self, rows: usize) -> Result<(ArrayRef, Vec<usize>)> {
        let fit = self.fit(rows);
        let mut from = 0;
        while from < rows {
            let count = self.pace().min(fit).min(rows - from);
            match self.seen.is_some() {
                true => self.search(from, count)?,
                false => self.range(from, count)?,
            }
            from += count;
        }
        if let Some(seen) = self.seen.take_if(|s| s.rows > 0) {
            self.worker.memory.nanos_a_row = seen.a_row() * 1e9;
        }
        if self.parts.len() == 1 {
            return Ok((self.parts.remove(0), self.failed));
        }
        let parts: Vec<&dyn Array> = self.parts.iter().map(|p| p.as_ref()).collect();
        Ok((arrow::compute::concat(&parts)?, self.failed))
    }

    fn timeout(&self) -> Duration {
        self.callee.instances.rights.timeout
    }

    /// The number of rows whose arguments take a small part of the guest's memory.
    fn fit(&self, rows: usize) -> usize {
        let bytes: usize = self.args.iter().map(|a| a.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let part = self.callee.instances.rights.memory / 16;
        (rows as f64 * part as f64 / bytes.max(1) as f64).clamp(1.0, MOST as f64) as usize
    }

    /// The number of rows that take a small part of the time-out, judging by the time so far.
    fn pace(&self) -> usize {
        let nanos = self.worker.memory.nanos_a_row;
        if nanos == 0.0 {
            return FIRST;
        }
        let wanted = CALL.0.min(self.timeout() / CALL.1);
        (wanted.as_nanos() as f64 / nanos).clamp(1.0, MOST as f64) as usize
    }

    /// Processes rows that have not caused a failure.
    fn range(&mut self, from: usize, count: usize) -> Result<()> {
        let Some(failed) = self.attempt(from, count, self.timeout())? else { return Ok(()) };
        if count == 1 {
            return self.guilty(from, failed.error);
        }
        if failed.late {
            return self.search(from, count);
        }
        let half = count / 2;
        self.range(from, half)?;
        match self.seen.is_some() {
            true => self.search(from + half, count - half),
            false => self.range(from + half, count - half),
        }
    }

    /// Processes rows of which one may take too long.
    fn search(&mut self, from: usize, count: usize) -> Result<()> {
        let (mut at, end) = (from, from + count);
        let mut group = 1;
        while at < end {
            let rows = group.min(end - at);
            self.call_in_parts(at, rows)?;
            at += rows;
            let timeout = self.timeout();
            group = self.seen.get_or_insert_default().group(group, timeout);
        }
        Ok(())
    }

    fn call_in_parts(&mut self, from: usize, count: usize) -> Result<()> {
        let timeout = self.timeout();
        let within = self.seen.get_or_insert_default().allowance(count, timeout);
        let began = Instant::now();
        let Some(mut failed) = self.attempt(from, count, within)? else {
            let seen = self.seen.get_or_insert_default();
            seen.rows += count;
            seen.time += began.elapsed();
            return Ok(());
        };
        if count > 1 {
            let part = count.div_ceil(GROUP.1);
            for at in (from..from + count).step_by(part) {
                self.call_in_parts(at, part.min(from + count - at))?;
            }
            return Ok(());
        }
        if failed.late && within < timeout {
            match self.attempt(from, 1, timeout)? {
                Some(f) => failed = f,
                None => return Ok(()),
            }
        }
        self.guilty(from, failed.error)
    }

    /// Calls the guest for some rows within a time limit. Returns none if it gave results.
    fn attempt(&mut self, from: usize, count: usize, within: Duration) -> Result<Option<Failed>> {
        let Callee { instances, index, crossings, gives, on_error } = self.callee;
        let columns: Vec<_> =
            self.args.iter().zip(crossings).map(|(a, (w, ty))| to_guest(&a.slice(from, count), *w, ty)).collect();
        let started = Instant::now();
        let alone = count == 1 && within == instances.rights.timeout;
        let answer = self.worker.instance.eval(*index, count as u32, &columns, within, alone);
        let spent = started.elapsed();
        instances.metrics.calls.inc();
        instances.metrics.rows.inc_by(count as u64);
        instances.metrics.time.observe(spent.as_secs_f64());
        let memory = self.worker.instance.memory() as i64;
        if memory > instances.metrics.memory.get() {
            instances.metrics.memory.set(memory);
        }
        if self.seen.is_none() && matches!(answer, Ok(Ok(_))) {
            let nanos = spent.as_nanos() as f64 / count as f64;
            let m = &mut self.worker.memory;
            m.nanos_a_row = if m.nanos_a_row == 0.0 { nanos } else { m.nanos_a_row * 0.8 + nanos * 0.2 };
        }
        let name = &instances.rights.name;
        let failed = |error| Ok(Some(Failed { error, late: false }));
        let output = match answer {
            Ok(Ok(output)) => output,
            Ok(Err(why)) => {
                return failed(Error::function(format!("{name}: {}{}", cut(&why), self.worker.instance.refusals())));
            }
            Err(trapped) => {
                // The guest cannot be used any more, so a new one replaces it.
                self.worker.instance = instances.component.instantiate(&instances.rights)?;
                return Ok(Some(Failed { error: trapped.error, late: trapped.late }));
            }
        };
        let refusals = self.worker.instance.refusals();
        let errors = output.errors;
        let checked = match errors.iter().find(|e| e.row as usize >= count) {
            Some(e) => Err(format!("it reports a failure of row {} of {count}", e.row)),
            None => from_guest(output.values, count, gives, self.ty),
        };
        let array = match checked {
            Ok(array) => array,
            Err(why) => return failed(Error::function(format!("{name}: it broke the contract: {why}"))),
        };
        if errors.is_empty() {
            self.parts.push(array);
            return Ok(None);
        }
        let mut bad = vec![false; count];
        for e in errors {
            let row = e.row as usize;
            // Only the first error of a row counts.
            if std::mem::replace(&mut bad[row], true) {
                continue;
            }
            instances.metrics.errors.inc();
            self.failed.push(from + row);
            let text = format!("{name}: {}{refusals}", cut(&e.message));
            for r in (self.rows_of)(from + row) {
                let failed = self.context.fail_by(*on_error, r, text.clone());
                failed.map_err(|x| self.callee.with_arguments(x, self.args, from + row))?;
            }
        }
        let mask: BooleanArray = bad.into_iter().map(Some).collect();
        self.parts.push(arrow::compute::nullif(&array, &mask)?);
        Ok(None)
    }

    /// Handles a row that brings the guest down by itself.
    fn guilty(&mut self, row: usize, error: Error) -> Result<()> {
        let on_error = self.callee.on_error;
        self.callee.instances.metrics.traps.inc();
        self.failed.push(row);
        self.poison += 1;
        if self.poison > POISON {
            return Err(error.context(format!("more than {POISON} rows of a batch failed")));
        }
        if on_error == OnError::Fail {
            self.context.fatal = (self.rows_of)(row).first().map(|r| self.context.row(*r));
            return Err(self.callee.with_arguments(error, self.args, row));
        }
        for r in (self.rows_of)(row) {
            self.context.fail_by(on_error, r, error.message.clone())?;
        }
        self.parts.push(new_null_array(&self.ty.arrow(), 1));
        Ok(())
    }
}

impl Callee {
    /// Adds to an error the arguments that led to it.
    fn with_arguments(&self, e: Error, args: &[ArrayRef], row: usize) -> Error {
        let shown: Vec<String> = args
            .iter()
            .zip(&self.crossings)
            .map(|(a, (_, ty))| {
                let text = weir_expr::text::cast_text(
                    &Value::read(a, row.min(a.len().saturating_sub(1))),
                    ty,
                    &weir_expr::time::Zone::UTC,
                );
                text.chars().take(60).collect()
            })
            .collect();
        let mut e = e;
        e.message = format!("{}, called with ({})", e.message, shown.join(", "));
        e.hint(
            "set 'on-error' = 'skip', 'null' or 'dead-letter' in CREATE FUNCTION … WITH (…) to go on without such rows",
        )
    }
}
