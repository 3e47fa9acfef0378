//! STDDEV and VAR: count, sum and sum of squares.

use super::numbers::real;
use super::{Function, Rows, Typed, stored};
use arrow::array::Array;
use weir_core::keyed::Slab;
use weir_core::{Result, Value};
use weir_expr::aggregate::Aggregate;

/// Of a group's values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    count: i64,
    sum: f64,
    squares: f64,
}

/// STDDEV_POP and its kin.
pub(super) struct Moments {
    of: Typed,
}

impl Moments {
    pub fn new(of: Typed) -> Moments {
        Moments { of }
    }
}

impl Function for Moments {
    type Accumulator = Moment;

    fn update(&self, moments: &mut Slab<Moment>, rows: &Rows<'_>) -> Result<()> {
        let column = rows.arg(0)?;
        rows.try_each(column.nulls(), |row, at, sign| {
            let v = Value::read(column, row).as_f64().ok_or_else(|| self.of.unfit())?;
            let m = &mut moments[at];
            m.count += sign;
            m.sum += v * sign as f64;
            m.squares += v * v * sign as f64;
            Ok(())
        })
    }
    fn merge(&self, into: &mut Moment, from: &Moment) {
        into.count += from.count;
        into.sum += from.sum;
        into.squares += from.squares;
    }
    fn encode(&self, m: &Moment, out: &mut Vec<u8>) {
        stored::put_long(out, m.count);
        stored::put_double(out, m.sum);
        stored::put_double(out, m.squares);
    }
    fn merge_stored(&self, into: &mut Moment, from: &mut &[u8]) -> Result<()> {
        let (count, sum, squares) = (stored::long(from)?, stored::double(from)?, stored::double(from)?);
        self.merge(into, &Moment { count, sum, squares });
        Ok(())
    }
    fn result(&self, group: &Moment) -> Result<Value<'static>> {
        let Moment { count: n, sum, squares } = *group;
        let (sample, root) = kind(&self.of)?;
        let divisor = if sample { n - 1 } else { n };
        if n <= 0 || divisor <= 0 {
            return Ok(Value::Null);
        }
        let variance = ((squares - sum * sum / n as f64) / divisor as f64).max(0.0);
        real(if root { variance.sqrt() } else { variance }, &self.of)
    }
}

/// Whether it is of a sample, and whether the root is taken.
pub(super) fn kind(of: &Typed) -> Result<(bool, bool)> {
    match of.call.function {
        Aggregate::VarPop => Ok((false, false)),
        Aggregate::VarSamp => Ok((true, false)),
        Aggregate::StddevPop => Ok((false, true)),
        Aggregate::StddevSamp => Ok((true, true)),
        // Those of other families, for which `accumulators` never chooses this one.
        _ => Err(of.unfit()),
    }
}
