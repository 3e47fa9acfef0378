//! STDDEV and VAR, computed from the count, the sum and the sum of squares. The sums have twice the precision of a DOUBLE, since their
//! difference loses up to half of the digits if values are large and close together. A running mean (Welford's algorithm) would not lose
//! them, but it cannot retract a row before its insertion.

use super::numbers::real;
use super::{Function, Rows, Typed, stored};
use arrow::array::Array;
use weir_core::keyed::Slab;
use weir_core::{Result, Value};
use weir_expr::aggregate::Aggregate;

/// A number with twice the precision of a DOUBLE, represented as an unevaluated sum. The second summand is the rounding error of the first
/// (T. J. Dekker, "A floating-point technique for extending the available precision", 1971).
#[derive(Debug, Clone, Copy, Default)]
struct Long(f64, f64);

impl Long {
    /// The sum of two numbers.
    fn sum(a: f64, b: f64) -> Long {
        let sum = a + b;
        let of_b = sum - a;
        Long(sum, (a - (sum - of_b)) + (b - of_b))
    }
    /// The product of two numbers.
    fn product(a: f64, b: f64) -> Long {
        let product = a * b;
        Long(product, a.mul_add(b, -product))
    }
    fn plus(self, other: Long) -> Long {
        let Long(sum, rest) = Long::sum(self.0, other.0);
        let rest = rest + (self.1 + other.1);
        // If the sum is not finite, there is no rounding error.
        if rest.is_nan() { Long(sum, 0.0) } else { Long::sum(sum, rest) }
    }
    fn times(self, other: Long) -> Long {
        let Long(product, rest) = Long::product(self.0, other.0);
        Long(product, 0.0).plus(Long(rest + (self.0 * other.1 + self.1 * other.0), 0.0))
    }
    fn negative(self) -> Long {
        Long(-self.0, -self.1)
    }
    fn encode(self, out: &mut Vec<u8>) {
        stored::put_double(out, self.0);
        stored::put_double(out, self.1);
    }
    fn decode(from: &mut &[u8]) -> Result<Long> {
        Ok(Long(stored::double(from)?, stored::double(from)?))
    }
}

/// The accumulator of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    count: i64,
    sum: Long,
    squares: Long,
}

/// STDDEV_POP, STDDEV_SAMP, VAR_POP and VAR_SAMP.
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
            let signed = v * sign as f64;
            m.sum = m.sum.plus(Long(signed, 0.0));
            m.squares = m.squares.plus(Long::product(signed, v));
            Ok(())
        })
    }
    fn merge(&self, into: &mut Moment, from: &Moment) {
        into.count += from.count;
        into.sum = into.sum.plus(from.sum);
        into.squares = into.squares.plus(from.squares);
    }
    fn encode(&self, m: &Moment, out: &mut Vec<u8>) {
        stored::put_long(out, m.count);
        m.sum.encode(out);
        m.squares.encode(out);
    }
    fn merge_stored(&self, into: &mut Moment, from: &mut &[u8]) -> Result<()> {
        let (count, sum, squares) = (stored::long(from)?, Long::decode(from)?, Long::decode(from)?);
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
        // n Σv² - (Σv)², which needs no division and so has no rounding error from one.
        let Long(difference, _) = squares.times(Long(n as f64, 0.0)).plus(sum.times(sum).negative());
        let variance = difference / n as f64 / divisor as f64;
        let variance = if variance < 0.0 { 0.0 } else { variance };
        real(if root { variance.sqrt() } else { variance }, &self.of)
    }
}

/// Whether the function is of a sample, and whether it takes the square root.
pub(super) fn kind(of: &Typed) -> Result<(bool, bool)> {
    match of.call.function {
        Aggregate::VarPop => Ok((false, false)),
        Aggregate::VarSamp => Ok((true, false)),
        Aggregate::StddevPop => Ok((false, true)),
        Aggregate::StddevSamp => Ok((true, true)),
        // Functions for which `accumulators` never chooses this implementation.
        _ => Err(of.unfit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_that_are_near_each_other_keep_their_digits() {
        let mut m = Moment::default();
        for v in [1e9, 1e9 + 0.25, 1e9 + 0.5] {
            m.count += 1;
            m.sum = m.sum.plus(Long(v, 0.0));
            m.squares = m.squares.plus(Long::product(v, v));
        }
        let Long(difference, _) = m.squares.times(Long(3.0, 0.0)).plus(m.sum.times(m.sum).negative());
        assert_eq!(difference / 9.0, 0.125 / 3.0);
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        assert_eq!(Long(f64::INFINITY, 0.0).plus(Long(1.0, 0.0)).0, f64::INFINITY);
        assert!(Long(f64::INFINITY, 0.0).plus(Long(f64::NEG_INFINITY, 0.0)).0.is_nan());
    }
}
