//! What accumulators come to.

use super::accumulator::Accumulator;
use super::counted::Counted;
use arrow::datatypes::{DataType, i256};
use weir_core::key::decode_value;
use weir_core::{Schema, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::arith::{fits, rescale};
use weir_expr::functions::size;

impl Accumulator {
    /// What it comes to.
    ///
    /// # Errors
    /// When that is longer than a value may be, or is to be JSON and a map within has a NULL key.
    pub fn result(&self, call: &AggregateCall, input: &Schema) -> Result<Value<'static>, String> {
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
        Ok(match self {
            Accumulator::Count(n) => Value::Int(*n),
            Accumulator::Int(_, 0) | Accumulator::Float(_, 0) | Accumulator::Decimal(_, 0) => Value::Null,
            Accumulator::Int(s, n) => narrow(if average { s.wrapping_div(*n) } else { *s }),
            Accumulator::Float(s, n) => real(if average { s / *n as f64 } else { *s }),
            Accumulator::Decimal(s, n) => {
                let from = match ty.map(|t| t.kind) {
                    Some(TypeKind::Decimal(_, s)) => s,
                    _ => 0,
                };
                decimal(s.get(), from, average.then_some(*n), call)
            }
            Accumulator::Moments(n, s, q) => {
                let sample = matches!(call.function, Aggregate::StddevSamp | Aggregate::VarSamp);
                let divisor = if sample { n - 1 } else { *n };
                if *n <= 0 || divisor <= 0 {
                    return Ok(Value::Null);
                }
                let variance = ((q - s * s / *n as f64) / divisor as f64).max(0.0);
                let root = matches!(call.function, Aggregate::StddevPop | Aggregate::StddevSamp);
                real(if root { variance.sqrt() } else { variance })
            }
            Accumulator::Extreme { value, .. } | Accumulator::Edge { value, .. } => {
                value.as_deref().map_or(Value::Null, decode)
            }
            Accumulator::Counted(c) => counted(c, call, &decode, &real, &narrow),
            Accumulator::Listed(list) => listed(list.iter().map(Vec::as_slice), call, input, &decode)?,
            Accumulator::Ordered(list) => listed(list.values(), call, input, &decode)?,
            Accumulator::Log(_) => Value::Null,
        })
    }
}

/// A sum of decimals of a scale, or the average of so many. A sum of more than 38 digits has neither, as in Flink.
fn decimal(sum: i256, from: u8, average_of: Option<i64>, call: &AggregateCall) -> Value<'static> {
    let (TypeKind::Decimal(p, to), Some(_)) = (&call.ty.kind, fits(sum, 38)) else {
        return Value::Null;
    };
    let v = match average_of {
        // One more digit than asked for decides the rounding.
        Some(n) => rescale(rescale(sum, from, to + 1).wrapping_div(i256::from_i128(i128::from(n))), to + 1, *to),
        None => rescale(sum, from, *to),
    };
    fits(v, *p).map_or(Value::Null, |v| Value::Decimal(v, *to))
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
        _ => {
            // SUM, AVG and their kin over each value once.
            let values: Vec<Value<'static>> = there.map(|(v, _)| decode(v)).collect();
            if values.is_empty() {
                return Value::Null;
            }
            let n = values.len();
            if let Some(Value::Decimal(_, from)) = values.first() {
                let unscaled = |v: &Value<'_>| if let Value::Decimal(d, _) = v { *d } else { 0 };
                let sum = values.iter().map(unscaled).fold(i256::ZERO, |sum, d| sum.wrapping_add(i256::from_i128(d)));
                return decimal(sum, *from, (call.function == Aggregate::Avg).then_some(n as i64), call);
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

/// What values in their order come to.
fn listed<'a>(
    list: impl DoubleEndedIterator<Item = &'a [u8]>,
    call: &AggregateCall,
    input: &Schema,
    decode: &dyn Fn(&[u8]) -> Value<'static>,
) -> Result<Value<'static>, String> {
    Ok(match &call.function {
        Aggregate::ArrayAgg => {
            let items: Vec<Value<'static>> = list.map(decode).collect();
            if items.is_empty() { Value::Null } else { Value::List(items) }
        }
        Aggregate::FirstValue => list.map(decode).find(|v| !v.is_null()).unwrap_or(Value::Null),
        Aggregate::LastValue => list.rev().map(decode).find(|v| !v.is_null()).unwrap_or(Value::Null),
        Aggregate::ListAgg { separator } => {
            let parts: Vec<Value<'static>> = list.map(decode).collect();
            let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            size::fits(parts.iter().map(|p| p.len() + separator.len()).sum())?;
            if parts.is_empty() { Value::Null } else { Value::string(parts.join(separator)) }
        }
        Aggregate::JsonArrayAgg { absent_on_null } => {
            let ty = &input.fields[call.args[0]].ty;
            let items = list.map(decode).filter(|v| !(*absent_on_null && v.is_null()));
            let items = items.map(|v| weir_expr::functions::to_json(&v, ty)).collect::<Result<_, _>>()?;
            Value::string(weir_expr::functions::render_json(&serde_json::Value::Array(items)))
        }
        Aggregate::JsonObjectAgg { absent_on_null } => {
            let types: Vec<_> = call.args.iter().map(|a| input.fields[*a].ty.clone()).collect();
            let mut map = serde_json::Map::new();
            for bytes in list {
                let mut rest = bytes;
                let key = decode_value(&types[0].arrow(), &mut rest).unwrap_or(Value::Null);
                let value = decode_value(&types[1].arrow(), &mut rest).unwrap_or(Value::Null);
                if let Some(k) = key.as_str()
                    && !(*absent_on_null && value.is_null())
                {
                    map.insert(k.to_string(), weir_expr::functions::to_json(&value, &types[1])?);
                }
            }
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::string(weir_expr::functions::render_json(&serde_json::Value::Object(entries.into_iter().collect())))
        }
        _ => Value::Null,
    })
}
