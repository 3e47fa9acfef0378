//! What a group keeps for one aggregate. Every accumulator takes rows that come and rows that go, can be merged with
//! another, and has a form for the store.

use super::counted::Counted;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use weir_core::key::{decode_value, encode_value};
use weir_core::{Error, Result, Schema, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::arith::{fits, rescale};

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

/// A sum of 128 bits in two words: as one number it would widen every accumulator by half.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wide(u64, i64);

impl Wide {
    fn new(v: i128) -> Wide {
        Wide(v as u64, (v >> 64) as i64)
    }
    fn get(self) -> i128 {
        i128::from(self.1) << 64 | i128::from(self.0)
    }
    fn add(&mut self, v: i128) {
        *self = Wide::new(self.get().wrapping_add(v));
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
    /// Values in the order they came.
    Listed(Vec<Vec<u8>>),
    /// Values in the order in which they first came, each with how often it is there.
    Unique(Vec<(Vec<u8>, i64)>),
    /// The first value, where rows only come; or the last.
    Edge {
        last: bool,
        value: Option<Vec<u8>>,
    },
}

impl Accumulator {
    pub fn new(call: &AggregateCall, input: &Schema, retracts: bool) -> Self {
        if call.distinct {
            use Aggregate::{ArrayAgg, JsonArrayAgg, ListAgg};
            if matches!(call.function, ListAgg { .. } | ArrayAgg | JsonArrayAgg { .. }) {
                return Accumulator::Unique(vec![]);
            }
            return Accumulator::Counted(Box::default());
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
            _ => Accumulator::Listed(vec![]),
        }
    }

    /// Takes a row in, or out when the sign is negative.
    pub fn add(&mut self, input: &Input<'_>, row: usize, sign: i64) {
        let keeps_null = matches!(self, Accumulator::Listed(_) | Accumulator::Unique(_));
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
            Accumulator::Listed(list) => {
                let v = input.encoded(row);
                if sign > 0 {
                    list.push(v);
                } else if let Some(at) = list.iter().position(|o| *o == v) {
                    list.remove(at);
                }
            }
            Accumulator::Unique(list) => unique(list, input.encoded(row), sign),
            Accumulator::Edge { last, value } => {
                if *last || value.is_none() {
                    *value = Some(input.encoded(row));
                }
            }
        }
    }

    /// Puts another one's rows behind its own.
    pub fn merge(&mut self, other: Accumulator) {
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
                a.add(b.get());
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
            (Accumulator::Unique(a), Accumulator::Unique(b)) => b.into_iter().for_each(|(v, n)| unique(a, v, n)),
            (Accumulator::Edge { last, value }, Accumulator::Edge { value: Some(v), .. })
                if (*last || value.is_none()) =>
            {
                *value = Some(v);
            }
            _ => {}
        }
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let heap = match self {
            Accumulator::Extreme { value: Some(v), .. } | Accumulator::Edge { value: Some(v), .. } => v.len(),
            Accumulator::Counted(c) => c.bytes(),
            Accumulator::Listed(l) => l.iter().map(|v| v.len() + 24).sum(),
            Accumulator::Unique(l) => l.iter().map(|(v, _)| v.len() + 32).sum(),
            _ => 0,
        };
        heap + size_of::<Accumulator>()
    }

    /// What it comes to.
    pub fn result(&self, call: &AggregateCall, input: &Schema) -> Value<'static> {
        let ty = call.args.first().map(|a| input.fields[*a].ty.clone());
        let arrow = ty.as_ref().map(|t| t.arrow()).unwrap_or(DataType::Null);
        let decode = |bytes: &[u8]| decode_value(&arrow, &mut &bytes[..]).unwrap_or(Value::Null);
        let narrow = |v: i64| {
            Value::Int(match call.ty.kind {
                TypeKind::TinyInt => i64::from(v as i8),
                TypeKind::SmallInt => i64::from(v as i16),
                TypeKind::Int => i64::from(v as i32),
                _ => v,
            })
        };
        let real = |v: f64| match call.ty.kind {
            TypeKind::Float => Value::Float(v as f32),
            TypeKind::Double => Value::Double(v),
            TypeKind::Decimal(p, s) => {
                let parsed = weir_expr::cast::parse_decimal(&weir_expr::text::double_text(v), s);
                match parsed.and_then(|(v, from)| fits(rescale(v, from, s), p)) {
                    Some(v) => Value::Decimal(v, s),
                    None => Value::Null,
                }
            }
            _ => narrow(v as i64),
        };
        let average = call.function == Aggregate::Avg;
        match self {
            Accumulator::Count(n) => Value::Int(*n),
            Accumulator::Int(_, 0) | Accumulator::Float(_, 0) | Accumulator::Decimal(_, 0) => Value::Null,
            Accumulator::Int(s, n) => narrow(if average { s / n } else { *s }),
            Accumulator::Float(s, n) => real(if average { s / *n as f64 } else { *s }),
            Accumulator::Decimal(s, n) => {
                let from = match ty.map(|t| t.kind) {
                    Some(TypeKind::Decimal(_, s)) => s,
                    _ => 0,
                };
                let TypeKind::Decimal(p, to) = call.ty.kind else {
                    return Value::Null;
                };
                let sum = arrow::datatypes::i256::from_i128(s.get());
                let v = if average {
                    // One more digit than asked for decides the rounding.
                    let up = rescale(sum, from, to + 1);
                    rescale(up.wrapping_div(arrow::datatypes::i256::from_i128(i128::from(*n))), to + 1, to)
                } else {
                    rescale(sum, from, to)
                };
                fits(v, p).map_or(Value::Null, |v| Value::Decimal(v, to))
            }
            Accumulator::Moments(n, s, q) => {
                let sample = matches!(call.function, Aggregate::StddevSamp | Aggregate::VarSamp);
                let divisor = if sample { n - 1 } else { *n };
                if *n <= 0 || divisor <= 0 {
                    return Value::Null;
                }
                let variance = ((q - s * s / *n as f64) / divisor as f64).max(0.0);
                let root = matches!(call.function, Aggregate::StddevPop | Aggregate::StddevSamp);
                real(if root { variance.sqrt() } else { variance })
            }
            Accumulator::Extreme { value, .. } | Accumulator::Edge { value, .. } => {
                value.as_deref().map_or(Value::Null, decode)
            }
            Accumulator::Counted(c) => counted(c, call, &decode, &real, &narrow),
            Accumulator::Listed(list) => listed(list, call, input, &decode),
            Accumulator::Unique(list) => {
                let there: Vec<Vec<u8>> = list.iter().filter(|(_, n)| *n > 0).map(|(v, _)| v.clone()).collect();
                listed(&there, call, input, &decode)
            }
        }
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
                out.extend_from_slice(&s.get().to_be_bytes());
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
            Accumulator::Counted(_) => {}
            Accumulator::Unique(list) => {
                out.extend_from_slice(&(list.len() as u32).to_be_bytes());
                for (v, n) in list {
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
            Accumulator::Decimal(s, n) => (*s, *n) = (Wide::new(i128::from_be_bytes(fixed(from)?)), long(from)?),
            Accumulator::Moments(n, s, q) => (*n, *s, *q) = (long(from)?, float(from)?, float(from)?),
            Accumulator::Extreme { value, .. } | Accumulator::Edge { value, .. } => {
                *value = if take(from, 1)?[0] == 1 { Some(bytes(from)?) } else { None };
            }
            Accumulator::Counted(_) => {}
            Accumulator::Unique(list) => {
                for _ in 0..u32::from_be_bytes(fixed(from)?) {
                    list.push((bytes(from)?, long(from)?));
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

/// Takes a value into such a list, or out.
fn unique(list: &mut Vec<(Vec<u8>, i64)>, value: Vec<u8>, by: i64) {
    match list.iter().position(|(v, _)| *v == value) {
        Some(at) if list[at].1 + by == 0 => drop(list.remove(at)),
        Some(at) => list[at].1 += by,
        None => list.push((value, by)),
    }
}

/// The value at a fraction of values in order, each counted so often; between two of them in proportion.
fn percentile(values: &[(f64, i64)], fraction: f64) -> Option<f64> {
    let total: i64 = values.iter().map(|(_, n)| n).sum();
    let place = fraction * (total - 1) as f64;
    let at = |place: f64| {
        let mut passed = 0;
        values.iter().find(|(_, n)| {
            passed += n;
            passed as f64 > place
        })
    };
    let (low, high) = (at(place.floor())?.0, at(place.ceil())?.0);
    let part = place - place.floor();
    Some((1.0 - part) * low + part * high)
}

/// What counted values come to.
fn counted(
    values: &Counted,
    call: &AggregateCall,
    decode: &dyn Fn(&[u8]) -> Value<'static>,
    real: &dyn Fn(f64) -> Value<'static>,
    narrow: &dyn Fn(i64) -> Value<'static>,
) -> Value<'static> {
    let mut there = values.values();
    match &call.function {
        Aggregate::Count => Value::Int(values.len() as i64),
        Aggregate::Min => there.next().map_or(Value::Null, |(v, _)| decode(v)),
        Aggregate::Max => there.next_back().map_or(Value::Null, |(v, _)| decode(v)),
        Aggregate::Collect if call.distinct => Value::Map(there.map(|(v, _)| (decode(v), Value::Int(1))).collect()),
        Aggregate::Collect => Value::Map(there.map(|(v, n)| (decode(v), Value::Int(n))).collect()),
        Aggregate::Percentile { fractions, several } => {
            let values: Vec<(f64, i64)> =
                there.filter_map(|(v, n)| Some((decode(v).as_f64()?, if call.distinct { 1 } else { n }))).collect();
            let found = |f: &u64| percentile(&values, f64::from_bits(*f)).map_or(Value::Null, Value::Double);
            match fractions.as_slice() {
                _ if values.is_empty() => Value::Null,
                [one] if !several => found(one),
                all => Value::List(all.iter().map(found).collect()),
            }
        }
        Aggregate::FirstValue => there.next().map_or(Value::Null, |(v, _)| decode(v)),
        Aggregate::LastValue => there.next_back().map_or(Value::Null, |(v, _)| decode(v)),
        _ => {
            // SUM, AVG and their kin over each value once.
            let values: Vec<Value<'static>> = there.map(|(v, _)| decode(v)).collect();
            if values.is_empty() {
                return Value::Null;
            }
            let n = values.len();
            if let Some(Value::Decimal(_, from)) = values.first() {
                let sum: i128 = values.iter().map(|v| if let Value::Decimal(d, _) = v { *d } else { 0 }).sum();
                let TypeKind::Decimal(p, to) = call.ty.kind else {
                    return Value::Null;
                };
                let n = if call.function == Aggregate::Avg { n as i128 } else { 1 };
                let up = rescale(arrow::datatypes::i256::from_i128(sum), *from, to + 1);
                let v = rescale(up.wrapping_div(arrow::datatypes::i256::from_i128(n)), to + 1, to);
                return fits(v, p).map_or(Value::Null, |v| Value::Decimal(v, to));
            }
            let ints: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
            match (&call.function, ints) {
                (Aggregate::Sum, Some(i)) => narrow(i.into_iter().fold(0i64, i64::wrapping_add)),
                (Aggregate::Avg, Some(i)) => narrow(i.into_iter().fold(0i64, i64::wrapping_add) / n as i64),
                (function, _) => {
                    let d: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
                    let sum: f64 = d.iter().sum();
                    let mean = sum / n as f64;
                    let squares: f64 = d.iter().map(|v| (v - mean) * (v - mean)).sum();
                    match function {
                        Aggregate::Sum => real(sum),
                        Aggregate::Avg => real(mean),
                        Aggregate::VarPop => real(squares / n as f64),
                        Aggregate::StddevPop => real((squares / n as f64).sqrt()),
                        _ if n < 2 => Value::Null,
                        Aggregate::VarSamp => real(squares / (n - 1) as f64),
                        _ => real((squares / (n - 1) as f64).sqrt()),
                    }
                }
            }
        }
    }
}

fn listed(
    list: &[Vec<u8>],
    call: &AggregateCall,
    input: &Schema,
    decode: &dyn Fn(&[u8]) -> Value<'static>,
) -> Value<'static> {
    match &call.function {
        Aggregate::ArrayAgg if list.is_empty() => Value::Null,
        Aggregate::ArrayAgg => Value::List(list.iter().map(|v| decode(v)).collect()),
        Aggregate::FirstValue => list.iter().map(|v| decode(v)).find(|v| !v.is_null()).unwrap_or(Value::Null),
        Aggregate::LastValue => list.iter().rev().map(|v| decode(v)).find(|v| !v.is_null()).unwrap_or(Value::Null),
        Aggregate::ListAgg { separator } => {
            let parts: Vec<Value<'static>> = list.iter().map(|v| decode(v)).collect();
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            if parts.is_empty() { Value::Null } else { Value::string(parts.join(separator)) }
        }
        Aggregate::JsonArrayAgg { absent_on_null } => {
            let ty = &input.fields[call.args[0]].ty;
            let items = list.iter().map(|v| decode(v)).filter(|v| !(*absent_on_null && v.is_null()));
            let items = items.map(|v| weir_expr::functions::to_json(&v, ty)).collect();
            Value::string(weir_expr::functions::render_json(&serde_json::Value::Array(items)))
        }
        Aggregate::JsonObjectAgg { absent_on_null } => {
            let types: Vec<_> = call.args.iter().map(|a| input.fields[*a].ty.clone()).collect();
            let mut map = serde_json::Map::new();
            for bytes in list {
                let mut rest = bytes.as_slice();
                let key = decode_value(&types[0].arrow(), &mut rest).unwrap_or(Value::Null);
                let value = decode_value(&types[1].arrow(), &mut rest).unwrap_or(Value::Null);
                if let Some(k) = key.as_str()
                    && !(*absent_on_null && value.is_null())
                {
                    map.insert(k.to_string(), weir_expr::functions::to_json(&value, &types[1]));
                }
            }
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::string(weir_expr::functions::render_json(&serde_json::Value::Object(entries.into_iter().collect())))
        }
        _ => Value::Null,
    }
}
