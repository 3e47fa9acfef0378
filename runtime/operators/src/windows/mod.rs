//! Windows over time, as assigned by Flink's table functions TUMBLE, HOP, CUMULATE and SESSION.

mod assign;
mod session;

pub use assign::WindowFactory;
pub use session::SessionFactory;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use std::ops::Range;
use std::sync::Arc;
use weir_core::event_time::Watermark;
use weir_core::windows::Window;
use weir_core::{Batch, Error, Result, Schema, TypeKind};
use weir_expr::time::Zone;

/// The clock of windows. It runs in milliseconds. If the rows' times are instants, it shows the local time of the session's zone.
#[derive(Debug, Clone, Copy)]
pub struct WindowClock {
    /// The session's zone; none if the rows' times have no zone.
    pub zone: Option<Zone>,
}

impl WindowClock {
    /// Converts an instant in milliseconds to the time that this clock shows.
    pub fn shown(self, millis: i64) -> i64 {
        match self.zone {
            None => millis,
            Some(zone) => zone.to_local(millis.div_euclid(1000)).saturating_mul(1000) + millis.rem_euclid(1000),
        }
    }

    /// Converts a time that this clock shows to an instant. A time that is skipped when summer time begins becomes the first instant after
    /// the gap. Of two instants it is the later one, as in Flink.
    pub fn moment(self, shown: i64) -> i64 {
        match self.zone {
            None => shown,
            Some(zone) => zone.to_utc_late(shown.div_euclid(1000)).saturating_mul(1000) + shown.rem_euclid(1000),
        }
    }

    /// The time attribute of a window's rows: its last millisecond. If the clock shows it twice, it is the earlier instant, as in Flink,
    /// although the window is complete at the later one.
    fn time(self, end: i64) -> i64 {
        let shown = end.saturating_sub(1);
        match self.zone {
            None => shown,
            Some(zone) => zone.to_utc(shown.div_euclid(1000)).saturating_mul(1000) + shown.rem_euclid(1000),
        }
    }

    /// The watermark at which a window with this end is complete.
    pub fn completes(self, end: i64) -> i64 {
        self.moment(end.saturating_sub(1))
    }
}

/// The late rows of a batch, given the ends of their windows. `completes` converts an end to the instant at which the window is complete.
///
/// # Errors
/// An internal error if the column does not contain timestamps.
pub(crate) fn late_rows(ends: &ArrayRef, completes: impl Fn(i64) -> i64, passed: Watermark) -> Result<Vec<usize>> {
    let ends = ends.as_primitive_opt::<TimestampMicrosecondType>();
    let ends = ends.ok_or_else(|| Error::internal("the end of a window is not in a column of timestamps"))?;
    let (mut last, mut late) = (None, vec![]);
    for row in 0..ends.len() {
        let end = ends.value(row);
        let is_late = match last {
            Some((known, is_late)) if known == end => is_late,
            _ => ends.is_null(row) || completes(end.div_euclid(1000)) <= passed.0,
        };
        last = Some((end, is_late));
        if is_late {
            late.push(row);
        }
    }
    Ok(late)
}

/// The end of a row's window in milliseconds, from a column of timestamps.
pub(crate) fn end_of(ends: &ArrayRef, row: usize) -> i64 {
    ends.as_primitive_opt::<TimestampMicrosecondType>().map_or(0, |ends| ends.value(row).div_euclid(1000))
}

/// Removes some rows from a batch.
///
/// # Errors
/// None in practice: there are as many rows as the batch has.
pub(crate) fn without(batch: Batch, rows: &[usize]) -> Result<Batch> {
    if rows.is_empty() {
        return Ok(batch);
    }
    let mut keep = vec![true; batch.rows()];
    rows.iter().for_each(|row| keep[*row] = false);
    batch.filter(&BooleanArray::from(keep))
}

/// Finds the open sessions of a key, in order, that overlap or touch a window. Returns their indices, and the session into which they and
/// the window are merged.
pub(crate) fn met_by<S>(window: Window, open: &[S], of: impl Fn(&S) -> Window) -> (Range<usize>, Window) {
    let from = open.partition_point(|s| of(s).end < window.start);
    let to = open.partition_point(|s| of(s).start <= window.end).max(from);
    let whole = open[from..to]
        .iter()
        .map(of)
        .fold(window, |whole, s| Window { start: whole.start.min(s.start), end: whole.end.max(s.end) });
    (from..to, whole)
}

/// Appends the start, the end and the time of each row's window to a batch. The result has this schema.
///
/// # Errors
/// An internal error if the columns are not those of the schema.
fn in_windows(batch: &Batch, windows: &[Window], clock: WindowClock, schema: &Schema) -> Result<Batch> {
    let micros = |millis: i64| millis.saturating_mul(1000);
    let column = |of: &dyn Fn(&Window) -> i64| TimestampMicrosecondArray::from_iter_values(windows.iter().map(of));
    let start = column(&|w| micros(w.start));
    let end = column(&|w| micros(w.end));
    let last: ArrayRef = match schema.fields.last().map(|f| &f.ty.kind) {
        Some(TypeKind::TimestampLtz(_)) => Arc::new(column(&|w| micros(clock.time(w.end))).with_timezone("UTC")),
        _ => Arc::new(column(&|w| micros(w.end.saturating_sub(1)))),
    };
    let mut columns = batch.data.columns().to_vec();
    columns.extend([Arc::new(start) as ArrayRef, Arc::new(end), last]);
    let made = Batch::from_columns(schema.arrow(), columns, batch.rows())?;
    Ok(made.with_kinds(batch.kinds.clone()).with_origins(batch.origins.clone()))
}
