//! Event time at sources: the expressions over the rows that a connector reads, and the generation of watermarks from them.

use super::Planner;
use crate::optimize::moved;
use crate::settings::{AUTO_WATERMARK_INTERVAL, IDLE_TIMEOUT, Mode};
use crate::table::{EventTime, Table};
use crate::times::time_domain;
use crate::traits::Derived;
use std::collections::BTreeSet;
use std::time::Duration;
use weir_core::descriptor::{
    ALIGNMENT_DRIFT, ALIGNMENT_GROUP, ALIGNMENT_INTERVAL, Emit, WATERMARK_EMIT, WATERMARK_IDLE_TIMEOUT,
};
use weir_core::keyed::TimeDomain;
use weir_core::option_spec::{FromParsed, Opt};
use weir_core::watermarks::{AlignmentStrategy, Candidates, EmitStrategy, WatermarkStrategy};
use weir_core::{Error, Result, Schema, TypeKind, Value};
use weir_expr::Expr;
use weir_expr::functions::{cast_to, checked_row_time};

/// The expressions over the rows of a source that compute their times and watermarks.
#[derive(Debug, Clone)]
pub struct TimedRows {
    /// The physical columns that are read.
    pub read: Vec<usize>,
    /// The expressions over these: first the columns of the scan, then those that only the watermarks and late rows need.
    pub exprs: Vec<Expr>,
    /// The columns of `exprs`.
    pub schema: Schema,
    /// The expressions over `exprs`: the columns of the scan, then the input of the watermarks.
    pub timed: Vec<Expr>,
    /// The columns of `timed`.
    pub timed_schema: Schema,
    /// How late rows are written, if they are: the columns of `exprs` to write, and whether the rows' times are instants.
    pub late_rows: Option<(Vec<usize>, bool)>,
    /// How watermarks are generated.
    pub strategy: WatermarkStrategy,
}

/// The value of an option of a table, if it is given.
fn given<T: FromParsed>(option: &Opt<T>, table: &Table) -> Result<Option<T>> {
    let place = table.places.get(option.key()).copied().or(table.place);
    option.given(&table.options).map_err(|e| e.at(place))
}

/// The constant delay of watermarks behind the rows' times, if the watermark expression has that form.
fn lag(time: &EventTime) -> Option<Duration> {
    let is_time = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index == time.column);
    match &time.watermark {
        e if is_time(e) => Some(Duration::ZERO),
        Expr::Call { function, args, .. } if function.name() == "TIME - INTERVAL" => match args.as_slice() {
            [of, Expr::Literal { value: Value::Int(millis), ty }]
                if is_time(of) && ty.kind == TypeKind::IntervalDay =>
            {
                u64::try_from(*millis).ok().map(Duration::from_millis)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Checks that CURRENT_WATERMARK is only called with columns that are event time attributes of the input.
///
/// # Errors
/// If it is called with something else.
pub(super) fn check_watermarks<'e>(exprs: impl Iterator<Item = &'e Expr>, of: &Derived<'_>) -> Result<()> {
    let times = of.inputs.first().map_or(&[][..], |i| i.traits.times.as_slice());
    let follows = |e: &Expr| match e {
        Expr::Column { index, .. } => time_domain(*index, times) == Some(TimeDomain::Event),
        _ => false,
    };
    fn asked<'e>(e: &'e Expr, out: &mut Vec<&'e Expr>) {
        match e {
            Expr::Call { function, args, .. } if function.name() == "CURRENT_WATERMARK" => out.extend(args.first()),
            e => e.children().into_iter().for_each(|c| asked(c, out)),
        }
    }
    let mut all = vec![];
    exprs.for_each(|e| asked(e, &mut all));
    let Some(arg) = all.into_iter().find(|arg| !follows(arg)) else { return Ok(()) };
    let ty = arg.ty();
    let e = format!("CURRENT_WATERMARK takes a time attribute, and '{arg}' is {} without a watermark", ty.kind);
    Err(Error::script(e).hint("name a column that its table declares a WATERMARK FOR"))
}

impl Planner<'_> {
    /// The expressions for a scan of these columns of a table, if the table has event time.
    pub(super) fn timed_rows(&self, table: &Table, columns: &[usize]) -> Result<Option<TimedRows>> {
        let Some(time) = &table.event_time else { return Ok(None) };
        let scanned = table.scanned();
        let lag = lag(time);
        let mut first = columns.to_vec();
        let mut wanted = BTreeSet::from([time.column]);
        if lag.is_none() {
            time.watermark.columns(&mut wanted);
        }
        first.extend(wanted.into_iter().filter(|c| !columns.contains(c)));
        let uids = self.kept_columns(table)?;
        let mut read = BTreeSet::new();
        for column in first.iter().chain(uids.iter().flatten().map(|(column, _)| column)) {
            match &time.computed {
                Some((_, e)) if *column == time.column => e.columns(&mut read),
                _ => _ = read.insert(*column),
            }
        }
        let read: Vec<usize> = read.into_iter().collect();
        let over = |e: &Expr, columns: &[usize]| moved(e.clone(), columns);
        let column = |c: &usize| Expr::column(*c, scanned.fields[*c].name.clone(), scanned.fields[*c].ty.clone());
        let expr = |c: &usize| match &time.computed {
            Some((_, e)) if *c == time.column => over(e, &read),
            _ => over(&column(c), &read),
        };
        let mut exprs = first.iter().map(expr).collect::<Result<Vec<_>>>()?;
        let mut fields = scanned.project(&first).fields;
        let mut late_rows = vec![];
        for (column, field) in uids.iter().flatten() {
            let known = first.iter().position(|c| c == column && scanned.fields[*c].ty.kind == field.ty.kind);
            late_rows.push(known.unwrap_or(exprs.len()));
            if known.is_none() {
                exprs.push(cast_to(expr(column)?, &field.ty));
                fields.push(field.clone());
            }
        }
        let late_rows = uids.is_some().then(|| (late_rows, table.has_instants()));
        // A deleted row of an upsert table may contain only its key.
        let may_be_null = table.is_upsert();
        let checked = |c: &usize| {
            let e = over(&column(c), &first)?;
            let is_time = *c == time.column && !may_be_null;
            let name = || table.name.rsplit('.').next().unwrap_or(&table.name);
            Ok(if is_time { checked_row_time(e, table.on_error.policy, name()) } else { e })
        };
        let mut timed = columns.iter().map(checked).collect::<Result<Vec<_>>>()?;
        let mut timed_schema = scanned.project(columns).fields;
        let row_time = match columns.iter().position(|c| *c == time.column) {
            Some(at) => at,
            None => {
                timed.push(checked(&time.column)?);
                timed_schema.push(scanned.fields[time.column].clone());
                columns.len()
            }
        };
        let candidates = match lag {
            Some(lag) => Candidates::OutOfOrderness(lag),
            None => {
                timed.push(over(&time.watermark, &first)?);
                timed_schema.push(weir_core::Field::new("$watermark", time.watermark.ty()));
                Candidates::Column(timed.len() - 1)
            }
        };
        let strategy = self.strategy(table, row_time, candidates, columns.len())?;
        let (schema, timed_schema) = (Schema::new(fields), Schema::new(timed_schema));
        Ok(Some(TimedRows { read, exprs, schema, timed, timed_schema, late_rows, strategy }))
    }

    fn strategy(
        &self,
        table: &Table,
        row_time: usize,
        candidates: Candidates,
        columns: usize,
    ) -> Result<WatermarkStrategy> {
        let settings = self.job.settings;
        let emit = match given(&WATERMARK_EMIT, table)?.unwrap_or(Emit::OnPeriodic) {
            // All rows are there before anything is complete.
            _ if self.job.mode == Mode::Batch => EmitStrategy::AtEnd,
            Emit::OnEvent => EmitStrategy::OnEvent,
            Emit::OnPeriodic => EmitStrategy::OnPeriodic(AUTO_WATERMARK_INTERVAL.value(settings)?),
        };
        let idle = match given(&WATERMARK_IDLE_TIMEOUT, table)? {
            Some(of_table) => of_table,
            None => IDLE_TIMEOUT.value(settings)?,
        };
        let (group, drift) = (given(&ALIGNMENT_GROUP, table)?, given(&ALIGNMENT_DRIFT, table)?);
        let alignment = match (group, drift) {
            (None, None) => None,
            (Some(group), Some(max_drift)) => {
                let update_interval = ALIGNMENT_INTERVAL.value(&table.options)?;
                Some(AlignmentStrategy { group, max_drift, update_interval })
            }
            (Some(_), None) | (None, Some(_)) => {
                let (group, drift) = (ALIGNMENT_GROUP.key(), ALIGNMENT_DRIFT.key());
                let e = Error::script(format!("'{group}' and '{drift}' go together")).at(table.place);
                return Err(e.hint("the group says whom to wait for, the drift how far ahead a split may be"));
            }
        };
        let idle_timeout = (!idle.is_zero()).then_some(idle);
        Ok(WatermarkStrategy { row_time, candidates, columns, emit, idle_timeout, alignment })
    }
}
