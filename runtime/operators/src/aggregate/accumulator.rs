//! What a group keeps for one aggregate. Every accumulator takes rows that come and rows that go, can be merged with
//! another, and has a form for the store.

use super::counted::Counted;
use super::ordered::Ordered;
use super::wide::Wide;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use weir_core::key::encode_value;
use weir_core::{Error, Result, Schema, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};

/// The columns that an aggregate reads.
pub(super) enum Input<'a> {
    Rows,
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Any(Vec<&'a ArrayRef>),
}

impl<'a> Input<'a> {
    pub fn new(call: &AggregateCall, args: &[&'a ArrayRef]) -> Self {
        let numeric = !call.distinct && matches!(call.function, Aggregate::Sum | Aggregate::Avg | Aggregate::Count);
        match args {
            [] => Input::Rows,
            [a] if numeric => match a.data_type() {
                DataType::Int32 => Input::Int(a.as_primitive::<Int32Type>()),
                DataType::Int64 => Input::Long(a.as_primitive::<Int64Type>()),
                DataType::Float64 => Input::Double(a.as_primitive::<Float64Type>()),
                DataType::Decimal128(..) => Input::Decimal(a.as_primitive::<Decimal128Type>()),
                _ => Input::Any(args.to_vec()),
            },
            _ => Input::Any(args.to_vec()),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Input::Rows => false,
            Input::Int(a) => a.is_null(row),
            Input::Long(a) => a.is_null(row),
            Input::Double(a) => a.is_null(row),
            Input::Decimal(a) => a.is_null(row),
            Input::Any(a) => a[0].is_null(row),
        }
    }

    fn value(&self, row: usize, at: usize) -> Value<'_> {
        match self {
            Input::Rows => Value::Null,
            Input::Int(a) => Value::Int(i64::from(a.value(row))),
            Input::Long(a) => Value::Int(a.value(row)),
            Input::Double(a) => Value::Double(a.value(row)),
            Input::Decimal(a) => Value::read(*a, row),
            Input::Any(a) => Value::read(a[at], row),
        }
    }

    fn encoded(&self, row: usize) -> Vec<u8> {
        let mut out = vec![];
        if let Input::Any(columns) = self {
            columns.iter().for_each(|c| encode_value(&Value::read(c, row), c.data_type(), &mut out));
        }
        out
    }
}

/// An accumulator.
#[derive(Debug, Clone)]
pub(super) enum Accumulator {
    Count(i64),
    /// Sum and count of whole numbers; the sum wraps around.
    Int(i64, i64),
    /// Sum and count of floating point numbers.
    Float(f64, i64),
    /// Sum and count of unscaled decimals.
    Decimal(Wide, i64),
    /// Count, sum and sum of squares.
    Moments(i64, f64, f64),
    /// The least or greatest value, where rows only come.
    Extreme {
        greatest: bool,
        value: Option<Vec<u8>>,
    },
    /// Values in order with how often they are there; in the store each has a key of its own.
    Counted(Box<Counted>),
    /// Values in the order they came, where rows only come.
    Listed(Vec<Vec<u8>>),
    /// Values in the order they came, of which some go again, or each of which counts once.
    Ordered(Box<Ordered>),
    /// What a batch does to such a list, to be done to the group's own: which of equal values goes is seen only there.
    Log(Vec<(Vec<u8>, i64)>),
    /// The first value, where rows only come; or the last.
    Edge {
        last: bool,
        value: Option<Vec<u8>>,
    },
}

impl Accumulator {
    pub fn new(call: &AggregateCall, input: &Schema, retracts: bool) -> Self {
        if call.distinct {
            use Aggregate::{ArrayAgg, FirstValue, JsonArrayAgg, JsonObjectAgg, LastValue, ListAgg};
            return match call.function {
                FirstValue if !retracts => Accumulator::Edge { last: false, value: None },
                ListAgg { .. } | ArrayAgg | JsonArrayAgg { .. } | JsonObjectAgg { .. } | FirstValue | LastValue => {
                    Accumulator::Ordered(Box::new(Ordered::new(true)))
                }
                _ => Accumulator::Counted(Box::default()),
            };
        }
        let kind = || call.args.first().map(|a| input.fields[*a].ty.kind.clone());
        match call.function {
            Aggregate::CountStar | Aggregate::Count => Accumulator::Count(0),
            Aggregate::Sum | Aggregate::Avg => match kind() {
                Some(TypeKind::Float | TypeKind::Double) => Accumulator::Float(0.0, 0),
                Some(TypeKind::Decimal(..)) => Accumulator::Decimal(Wide::default(), 0),
                _ => Accumulator::Int(0, 0),
            },
            Aggregate::StddevPop | Aggregate::StddevSamp | Aggregate::VarPop | Aggregate::VarSamp => {
                Accumulator::Moments(0, 0.0, 0.0)
            }
            Aggregate::Min | Aggregate::Max if retracts => Accumulator::Counted(Box::default()),
            Aggregate::Min => Accumulator::Extreme { greatest: false, value: None },
            Aggregate::Max => Accumulator::Extreme { greatest: true, value: None },
            Aggregate::FirstValue if !retracts => Accumulator::Edge { last: false, value: None },
            Aggregate::LastValue if !retracts => Accumulator::Edge { last: true, value: None },
            Aggregate::Collect | Aggregate::Percentile { .. } => Accumulator::Counted(Box::default()),
            _ if retracts => Accumulator::Ordered(Box::new(Ordered::new(false))),
            _ => Accumulator::Listed(vec![]),
        }
    }

    /// One for the rows of a batch, to be merged into such a one.
    pub fn of_batch(&self) -> Accumulator {
        match self {
            Accumulator::Ordered(_) => Accumulator::Log(vec![]),
            other => other.clone(),
        }
    }

    /// Forgets all rows: becomes `fresh`, which has none.
    pub fn reset(&mut self, fresh: &Accumulator) {
        match self {
            Accumulator::Counted(c) => c.clear(),
            other => other.clone_from(fresh),
        }
    }

    /// Takes a row in, or out when the sign is negative.
    pub fn add(&mut self, input: &Input<'_>, row: usize, sign: i64) {
        let keeps_null = matches!(self, Accumulator::Listed(_) | Accumulator::Ordered(_) | Accumulator::Log(_));
        if !keeps_null && input.is_null(row) {
            return;
        }
        match self {
            Accumulator::Count(n) => *n += sign,
            Accumulator::Int(sum, n) => {
                let v = match input {
                    Input::Int(a) => i64::from(a.value(row)),
                    Input::Long(a) => a.value(row),
                    other => other.value(row, 0).as_i64().unwrap_or(0),
                };
                *sum = sum.wrapping_add(v.wrapping_mul(sign));
                *n += sign;
            }
            Accumulator::Float(sum, n) => {
                let v = match input {
                    Input::Double(a) => a.value(row),
                    other => other.value(row, 0).as_f64().unwrap_or(0.0),
                };
                *sum += v * sign as f64;
                *n += sign;
            }
            Accumulator::Decimal(sum, n) => {
                if let Input::Decimal(a) = input {
                    sum.add(a.value(row).wrapping_mul(i128::from(sign)));
                }
                *n += sign;
            }
            Accumulator::Moments(n, sum, squares) => {
                let v = input.value(row, 0).as_f64().unwrap_or(0.0);
                *n += sign;
                *sum += v * sign as f64;
                *squares += v * v * sign as f64;
            }
            Accumulator::Extreme { greatest, value } => {
                let v = input.encoded(row);
                if value.as_ref().is_none_or(|old| if *greatest { v > *old } else { v < *old }) {
                    *value = Some(v);
                }
            }
            Accumulator::Counted(c) => match input {
                // A value and how often it counts.
                Input::Any(columns) if columns.len() == 2 => {
                    let times = Value::read(columns[1], row).as_i64().unwrap_or(0).max(0);
                    let mut value = vec![];
                    encode_value(&input.value(row, 0), columns[0].data_type(), &mut value);
                    c.add(value, sign * times);
                }
                _ => c.add(input.encoded(row), sign),
            },
            Accumulator::Listed(list) => list.push(input.encoded(row)),
            Accumulator::Ordered(list) => list.add(&input.encoded(row), sign),
            Accumulator::Log(log) => log.push((input.encoded(row), sign)),
            Accumulator::Edge { last, value } => {
                if *last || value.is_none() {
                    *value = Some(input.encoded(row));
                }
            }
        }
    }

    /// Puts another one's rows behind its own.
    ///
    /// # Errors
    /// An internal one when the other is of another kind.
    pub fn merge(&mut self, other: Accumulator) -> Result<()> {
        match (self, other) {
            (Accumulator::Count(a), Accumulator::Count(b)) => *a += b,
            (Accumulator::Int(a, n), Accumulator::Int(b, m)) => {
                *a = a.wrapping_add(b);
                *n += m;
            }
            (Accumulator::Float(a, n), Accumulator::Float(b, m)) => {
                *a += b;
                *n += m;
            }
            (Accumulator::Decimal(a, n), Accumulator::Decimal(b, m)) => {
                a.merge(b);
                *n += m;
            }
            (Accumulator::Moments(n, s, q), Accumulator::Moments(m, t, r)) => {
                *n += m;
                *s += t;
                *q += r;
            }
            (Accumulator::Extreme { greatest, value }, Accumulator::Extreme { value: Some(v), .. })
                if value.as_ref().is_none_or(|old| if *greatest { v > *old } else { v < *old }) =>
            {
                *value = Some(v);
            }
            (Accumulator::Counted(a), Accumulator::Counted(b)) => a.merge(*b),
            (Accumulator::Listed(a), Accumulator::Listed(b)) => a.extend(b),
            (Accumulator::Ordered(a), Accumulator::Log(b)) => b.iter().for_each(|(v, sign)| a.add(v, *sign)),
            (Accumulator::Edge { last, value }, Accumulator::Edge { value: Some(v), .. })
                if (*last || value.is_none()) =>
            {
                *value = Some(v);
            }
            // The other has nothing, or nothing better.
            (Accumulator::Extreme { .. }, Accumulator::Extreme { .. })
            | (Accumulator::Edge { .. }, Accumulator::Edge { .. }) => {}
            (one, other) => return Err(Error::internal(format!("{other:?} does not go with {one:?}"))),
        }
        Ok(())
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let heap = match self {
            Accumulator::Extreme { value: Some(v), .. } | Accumulator::Edge { value: Some(v), .. } => v.len(),
            Accumulator::Counted(c) => c.bytes(),
            Accumulator::Listed(l) => l.iter().map(|v| v.len() + 24).sum(),
            Accumulator::Ordered(l) => l.bytes(),
            Accumulator::Log(l) => l.iter().map(|(v, _)| v.len() + 32).sum(),
            _ => 0,
        };
        heap + size_of::<Accumulator>()
    }

    /// Appends its form for the store; counted values are not part of it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let bytes = |out: &mut Vec<u8>, v: &[u8]| {
            out.extend_from_slice(&(v.len() as u32).to_be_bytes());
            out.extend_from_slice(v);
        };
        match self {
            Accumulator::Count(n) => out.extend_from_slice(&n.to_be_bytes()),
            Accumulator::Int(s, n) => {
                out.extend_from_slice(&s.to_be_bytes());
                out.extend_from_slice(&n.to_be_bytes());
            }
            Accumulator::Float(s, n) => {
                out.extend_from_slice(&s.to_bits().to_be_bytes());
                out.extend_from_slice(&n.to_be_bytes());
            }
            Accumulator::Decimal(s, n) => {
                out.extend_from_slice(&s.to_bytes());
                out.extend_from_slice(&n.to_be_bytes());
            }
            Accumulator::Moments(n, s, q) => {
                out.extend_from_slice(&n.to_be_bytes());
                out.extend_from_slice(&s.to_bits().to_be_bytes());
                out.extend_from_slice(&q.to_bits().to_be_bytes());
            }
            Accumulator::Extreme { value, .. } | Accumulator::Edge { value, .. } => match value {
                Some(v) => {
                    out.push(1);
                    bytes(out, v);
                }
                None => out.push(0),
            },
            Accumulator::Counted(_) | Accumulator::Log(_) => {}
            Accumulator::Ordered(list) => {
                out.extend_from_slice(&(list.entries().count() as u32).to_be_bytes());
                for (v, n) in list.entries() {
                    bytes(out, v);
                    out.extend_from_slice(&n.to_be_bytes());
                }
            }
            Accumulator::Listed(list) => {
                out.extend_from_slice(&(list.len() as u32).to_be_bytes());
                list.iter().for_each(|v| bytes(out, v));
            }
        }
    }

    /// Reads itself from the front of what [`Accumulator::encode`] wrote.
    pub fn decode(&mut self, from: &mut &[u8]) -> Result<()> {
        fn take<'a>(from: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
            let (head, rest) =
                from.split_at_checked(n).ok_or_else(|| Error::state("a group in the state is cut short"))?;
            *from = rest;
            Ok(head)
        }
        fn fixed<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
            Ok(take(from, N)?.try_into().unwrap_or([0; N]))
        }
        fn long(from: &mut &[u8]) -> Result<i64> {
            Ok(i64::from_be_bytes(fixed(from)?))
        }
        fn float(from: &mut &[u8]) -> Result<f64> {
            Ok(f64::from_bits(u64::from_be_bytes(fixed(from)?)))
        }
        fn bytes(from: &mut &[u8]) -> Result<Vec<u8>> {
            let n = u32::from_be_bytes(fixed(from)?) as usize;
            Ok(take(from, n)?.to_vec())
        }
        match self {
            Accumulator::Count(n) => *n = long(from)?,
            Accumulator::Int(s, n) => (*s, *n) = (long(from)?, long(from)?),
            Accumulator::Float(s, n) => (*s, *n) = (float(from)?, long(from)?),
            Accumulator::Decimal(s, n) => (*s, *n) = (Wide::from_bytes(fixed(from)?), long(from)?),
            Accumulator::Moments(n, s, q) => (*n, *s, *q) = (long(from)?, float(from)?, float(from)?),
            Accumulator::Extreme { value, .. } | Accumulator::Edge { value, .. } => {
                *value = if take(from, 1)?[0] == 1 { Some(bytes(from)?) } else { None };
            }
            Accumulator::Counted(_) | Accumulator::Log(_) => {}
            Accumulator::Ordered(list) => {
                for _ in 0..u32::from_be_bytes(fixed(from)?) {
                    list.load(&bytes(from)?, long(from)?);
                }
            }
            Accumulator::Listed(list) => {
                for _ in 0..u32::from_be_bytes(fixed(from)?) {
                    list.push(bytes(from)?);
                }
            }
        }
        Ok(())
    }
}
