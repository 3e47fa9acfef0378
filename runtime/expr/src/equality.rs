//! Equality of values of one type, within collections. Flink has two kinds: operators compare floating point numbers by value, while items
//! of arrays and keys of maps are compared by their bytes.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use weir_core::Value;

/// Whether `=` holds for two values. NULLs within rows are equal. NaN equals nothing, and −0 equals 0, except within arrays.
pub(crate) fn equals(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::List(_), Value::List(_)) => identical(a, b),
        (Value::Row(x), Value::Row(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| equals(a, b)),
        (Value::Map(x), Value::Map(y)) => maps(x, y),
        (a, b) => a == b,
    }
}

/// Maps are equal regardless of the order of their entries. A NULL among the values equals nothing, and there −0 differs from 0.
fn maps(x: &[(Value<'_>, Value<'_>)], y: &[(Value<'_>, Value<'_>)]) -> bool {
    if x.len() != y.len() {
        return false;
    }
    let right: HashMap<Identity<'_>, &Value<'_>> = y.iter().map(|(k, v)| (Identity(k), v)).collect();
    let number = |v: &Value<'_>| matches!(v, Value::Float(_) | Value::Double(_));
    let same = |v: &Value<'_>, w: &Value<'_>| !v.is_null() && equals(v, w) && (!number(v) || identical(v, w));
    x.iter().all(|(k, v)| right.get(&Identity(k)).is_some_and(|w| same(v, w)))
}

/// Whether two values are identical: NULL equals NULL, NaN equals NaN, and −0 differs from 0.
pub(crate) fn identical(a: &Value<'_>, b: &Value<'_>) -> bool {
    let all = |x: &[Value<'_>], y: &[Value<'_>]| x.len() == y.len() && x.iter().zip(y).all(|(a, b)| identical(a, b));
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        (Value::List(x), Value::List(y)) | (Value::Row(x), Value::Row(y)) => all(x, y),
        (Value::Map(x), Value::Map(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|((k, v), (l, w))| identical(k, l) && identical(v, w))
        }
        (a, b) => a == b,
    }
}

/// A value with [`identical`] as its equality.
pub(crate) struct Identity<'a>(pub &'a Value<'a>);

impl PartialEq for Identity<'_> {
    fn eq(&self, other: &Self) -> bool {
        identical(self.0, other.0)
    }
}

impl Eq for Identity<'_> {}

impl Hash for Identity<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.0, state);
    }
}

/// A value with [`equals`] as its equality. A value that does not equal itself is never found.
pub(crate) struct Equality<'a>(pub &'a Value<'a>);

impl PartialEq for Equality<'_> {
    fn eq(&self, other: &Self) -> bool {
        equals(self.0, other.0)
    }
}

impl Eq for Equality<'_> {}

impl Hash for Equality<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.0, state);
    }
}

/// A hash that is the same for values that are equal by [`equals`] or by [`identical`].
fn hash<H: Hasher>(v: &Value<'_>, state: &mut H) {
    let double = |d: f64| if d.is_nan() { f64::NAN.to_bits() } else { (d + 0.0).to_bits() };
    std::mem::discriminant(v).hash(state);
    match v {
        Value::Null => {}
        Value::Bool(b) => b.hash(state),
        Value::Int(i) => i.hash(state),
        Value::Float(f) => double(f64::from(*f)).hash(state),
        Value::Double(d) => double(*d).hash(state),
        Value::Decimal(d, s) => (d, s).hash(state),
        Value::Text(t) => t.hash(state),
        Value::Bytes(b) => b.hash(state),
        Value::Date(d) | Value::Time(d) => d.hash(state),
        Value::Timestamp(s, n) => (s, n).hash(state),
        Value::List(items) | Value::Row(items) => items.iter().for_each(|i| hash(i, state)),
        // For `equals`, the order of a map's entries does not matter.
        Value::Map(entries) => {
            let each = entries.iter().map(|(k, v)| {
                let mut one = std::hash::DefaultHasher::new();
                hash(k, &mut one);
                hash(v, &mut one);
                one.finish()
            });
            each.fold(0u64, u64::wrapping_add).hash(state);
        }
    }
}
