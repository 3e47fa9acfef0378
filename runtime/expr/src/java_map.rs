//! The iteration order of Java's `HashMap`, in which Flink's print sink shows maps.

use crate::time;
use chrono::{Datelike, NaiveDate, Timelike};
use std::collections::HashMap;
use weir_core::{SqlType, TypeKind, Value};

/// The default initial capacity of Java's `HashMap`.
pub(crate) const CAPACITY: usize = 16;

/// Sorts the entries of a map in Java's order. If several entries have the same key, the last value is used. Keys whose hash codes do not
/// depend on their values, such as arrays, keep their order. `capacity` is the initial capacity of the map.
pub(crate) fn ordered<'a>(
    entries: &'a [(Value<'a>, Value<'a>)],
    key: &SqlType,
    capacity: usize,
) -> Vec<(&'a Value<'a>, &'a Value<'a>)> {
    let Some(hashes) = entries.iter().map(|(k, _)| hash(k, key)).collect::<Option<Vec<i32>>>() else {
        return entries.iter().map(|(k, v)| (k, v)).collect();
    };
    let mut places: HashMap<i32, Vec<usize>> = HashMap::with_capacity(entries.len());
    let mut all: Vec<(u32, &Value<'_>, &Value<'_>)> = Vec::with_capacity(entries.len());
    for ((k, v), h) in entries.iter().zip(hashes) {
        let there = places.entry(h).or_default();
        match there.iter().find(|at| all[**at].1 == k || both_nan(all[**at].1, k)) {
            Some(at) => all[*at].2 = v,
            None => {
                there.push(all.len());
                let h = h as u32;
                all.push((h ^ (h >> 16), k, v));
            }
        }
    }
    // The table is doubled when it is more than three quarters full.
    let mut size = capacity.next_power_of_two();
    while all.len() > size * 3 / 4 {
        size *= 2;
    }
    all.sort_by_key(|(h, ..)| *h as usize & (size - 1));
    all.into_iter().map(|(_, k, v)| (k, v)).collect()
}

fn both_nan(a: &Value<'_>, b: &Value<'_>) -> bool {
    a.as_f64().is_some_and(f64::is_nan) && b.as_f64().is_some_and(f64::is_nan)
}

fn long(v: i64) -> i32 {
    (v ^ ((v as u64) >> 32) as i64) as i32
}

fn day(d: NaiveDate) -> i32 {
    let year = d.year();
    (year & !0x7FF) ^ (year << 11).wrapping_add((d.month() << 6) as i32).wrapping_add(d.day() as i32)
}

/// The hash code of a value in Java's class for its type, if it only depends on the value.
fn hash(value: &Value<'_>, ty: &SqlType) -> Option<i32> {
    Some(match (value, &ty.kind) {
        (Value::Null, _) => 0,
        (Value::Bool(b), _) => {
            if *b {
                1231
            } else {
                1237
            }
        }
        (Value::Int(_), TypeKind::IntervalMonth | TypeKind::IntervalDay) => return None,
        (Value::Int(i), TypeKind::BigInt) => long(*i),
        (Value::Int(i), _) => *i as i32,
        (Value::Float(f), _) => {
            if f.is_nan() {
                0x7FC0_0000
            } else {
                f.to_bits() as i32
            }
        }
        (Value::Double(d), _) => long(if d.is_nan() { 0x7FF8_0000_0000_0000 } else { d.to_bits() as i64 }),
        (Value::Decimal(v, scale), _) => {
            // The hash code of a `BigInteger` is computed from its digits in base 2³², the highest one first.
            let (mut digits, mut rest) = (vec![], v.unsigned_abs());
            while rest > 0 {
                digits.push(rest as u32);
                rest >>= 32;
            }
            let all = digits.iter().rev().fold(0i32, |h, d| h.wrapping_mul(31).wrapping_add(*d as i32));
            let all = if *v < 0 { all.wrapping_neg() } else { all };
            all.wrapping_mul(31).wrapping_add(i32::from(*scale))
        }
        (Value::Text(s), _) => s.encode_utf16().fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c))),
        (Value::Date(d), _) => day(time::date(*d)?),
        (Value::Time(t), _) => long(i64::from(*t) * 1_000_000),
        (Value::Timestamp(s, n), TypeKind::TimestampLtz(_)) => long(*s).wrapping_add((*n as i32).wrapping_mul(51)),
        (Value::Timestamp(s, n), _) => {
            let t = time::date_time(*s, *n)?;
            let nanos = i64::from(t.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(t.nanosecond());
            day(t.date()) ^ long(nanos)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    /// The type of the keys, the keys as text, and what Flink printed. The value of each entry is the position of its key.
    #[test]
    fn entries_come_as_flink_prints_them() {
        let cases: &[(&str, &[&str], &str)] = &[
            (
                "STRING",
                &["zebra", "apple", "Mango", "kiwi", "NULL", "ä€", ""],
                "{zebra=1, null=5, =7, apple=2, kiwi=4, Mango=3, ä€=6}",
            ),
            (
                "STRING",
                &["k01", "k02", "k03", "k04", "k05", "k06", "k07", "k08", "k09", "k10", "k11", "k12", "k13", "k14"],
                "{k11=11, k10=10, k02=2, k13=13, k01=1, k12=12, k04=4, k03=3, k14=14, k06=6, k05=5, k08=8, k07=7, k09=9}",
            ),
            ("BIGINT", &["100", "5000000000", "-7000000000", "17"], "{17=4, 100=1, 5000000000=2, -7000000000=3}"),
            ("DOUBLE", &["1.5", "-2.25", "NaN", "0.0", "-0.0"], "{0.0=4, -0.0=5, -2.25=2, 1.5=1, NaN=3}"),
            ("FLOAT", &["1.5", "-2.25", "NaN", "0.0", "-0.0"], "{1.5=1, -2.25=2, NaN=3, 0.0=4, -0.0=5}"),
            (
                "DECIMAL(38, 2)",
                &["12345678901234567890.12", "-99999999999999999999.25", "3"],
                "{12345678901234567890.12=1, 3.00=3, -99999999999999999999.25=2}",
            ),
            (
                "DATE",
                &["2024-01-02", "1969-12-31", "2024-02-02", "0001-01-01"],
                "{0001-01-01=4, 1969-12-31=2, 2024-01-02=1, 2024-02-02=3}",
            ),
            ("TIME(0)", &["10:11:12", "00:00:00", "23:59:59"], "{00:00=2, 23:59:59=3, 10:11:12=1}"),
            (
                "TIMESTAMP(3)",
                &["2024-01-02 03:04:05.678", "1969-12-31 23:59:59", "2024-02-02 00:00:00"],
                "{2024-01-02T03:04:05.678=1, 1969-12-31T23:59:59=2, 2024-02-02T00:00=3}",
            ),
            (
                "TIMESTAMP_LTZ(3)",
                &["2024-01-02 03:04:05.678", "1969-12-31 23:59:59", "2024-02-02 00:00:00"],
                "{2024-01-02T03:04:05.678Z=1, 1969-12-31T23:59:59Z=2, 2024-02-02T00:00:00Z=3}",
            ),
            ("BOOLEAN", &["true", "false"], "{false=2, true=1}"),
            ("STRING", &["a", "a", "NULL", "NULL"], "{null=4, a=2}"),
            ("DOUBLE", &["NaN", "NaN", "-0.0", "0.0"], "{-0.0=3, 0.0=4, NaN=2}"),
        ];
        for (ty, keys, wanted) in cases {
            let key: SqlType = ty.parse().expect("a type");
            let value = |text: &str| match text {
                "NULL" => Value::Null,
                text => crate::cast::cast_value(Value::text(text), &SqlType::STRING, &key, &time::Zone::UTC)
                    .expect("a value"),
            };
            let entries = keys.iter().zip(1..).map(|(k, n)| (value(k), Value::Int(n))).collect();
            let ty = SqlType::from(TypeKind::Map(Box::new(key.clone()), Box::new(SqlType::INT)));
            let mut out = String::new();
            text::print(&Value::Map(entries), &ty, &mut out);
            assert_eq!(out, *wanted);
        }
    }
}
