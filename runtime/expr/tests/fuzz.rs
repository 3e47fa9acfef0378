//! Fuzzing of the functions: every name, with arguments of all types that bind and values from the edges, for a few seconds.
//! Whatever comes in, an evaluation neither panics nor hangs, gives a column of its type and height, and takes no more than a
//! gigabyte.
//!
//! `WEIR_FUZZ_SECONDS` sets the time (10 by default).

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::metrics::peak_resident;
use weir_core::{Field, SqlType, TypeKind as T, Value, builder};
use weir_expr::{EvalContext, Expr, OnError, Session, functions};

/// Xorshift: repeatable from its seed, which a failure prints.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    fn one<'a, X>(&mut self, all: &'a [X]) -> &'a X {
        &all[self.below(all.len())]
    }
}

fn types() -> Vec<T> {
    let string = SqlType::STRING;
    let row = vec![Field::new("a", SqlType::INT), Field::new("b", string.clone())];
    vec![
        T::Varchar(u32::MAX >> 1),
        T::Char(5),
        T::Boolean,
        T::TinyInt,
        T::SmallInt,
        T::Int,
        T::BigInt,
        T::Float,
        T::Double,
        T::Decimal(38, 18),
        T::Decimal(5, 0),
        T::Date,
        T::Time(3),
        T::Timestamp(3),
        T::Timestamp(9),
        T::TimestampLtz(6),
        T::Varbinary(u32::MAX >> 1),
        T::Array(Box::new(string.clone())),
        T::Array(Box::new(SqlType::from(T::Double))),
        T::Array(Box::new(SqlType::from(T::Row(row.clone())))),
        T::Map(Box::new(string.clone()), Box::new(SqlType::INT)),
        T::Row(row),
        T::IntervalDay,
        T::IntervalMonth,
        T::Null,
    ]
}

/// Texts that have made, or could make, functions fail.
fn text(random: &mut Random) -> String {
    let texts = [
        "",
        " ",
        "a",
        "A,b,,c",
        "\u{e4}\u{1F30D}\u{200D}",
        "\0",
        "\u{1}",
        "%",
        "_%\\",
        "%99999999999d",
        "%1$s%2$s%<s",
        "%-,.20f%n",
        "%.70000f",
        "%s%x%o%e%g%a%c%b%h%tY",
        "0",
        "-0",
        "NaN",
        "1e400",
        "9223372036854775808",
        "0x1F",
        "true",
        "null",
        "{",
        "[1,{\"a\":[null,\"x\"]}]",
        "{\"a\":1e999999999,\"a\":{\"$serde_json::private::Number\":\"x\"}}",
        "\"\\ud83d\"",
        "$",
        "$..*",
        "$.a[?(@.b=~/(/)]",
        "lax $.a[-1:]['b','c']",
        "$..a.length()",
        "(a*)*b",
        "(?<=a+)b\\1",
        "[[:alpha:]&&[^a]]",
        "a{2147483647}",
        "((((((((((a{9}){9}){9}){9}){9}){9})",
        "(?i)\\bx\\b(?>y+)z++",
        "\\p{L}\\Q",
        "$1${x}\\",
        "2020-02-30 25:61:61.9999999999",
        "9999-12-31 23:59:59.999999999",
        "-292275055-05-16",
        "0000-00-00",
        "12:00:60",
        "yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSSXXX",
        "''''",
        "[yyyy",
        "GGGGGGGG",
        "+99:99",
        "Europe/Berlin",
        "America/NoWhere",
        "UTF-16",
        "utf8",
        "http://u:p@h:99999/%zz?a=%&b#c",
        "YWJj=",
        "zz",
        "YEAR",
        "EPOCH",
        "NANOSECOND",
        "day",
        "HOST",
        "2.5.4",
    ];
    match random.below(12) {
        0 => random.one(&texts).repeat(1 + random.below(3000)),
        1 => ["[", "{\"a\":", "(", "a", "\u{e4}", ".a", "'"][random.below(7)].repeat(random.below(100_000)),
        2 => (0..random.below(40)).map(|_| char::from_u32(random.next() as u32 % 0x3000).unwrap_or('x')).collect(),
        3 => texts[random.below(texts.len())].to_string() + texts[random.below(texts.len())],
        _ => (*random.one(&texts)).to_string(),
    }
}

#[expect(clippy::too_many_lines, reason = "one flat match, an arm a type")]
fn any(ty: &T, random: &mut Random) -> Value<'static> {
    if random.below(8) == 0 {
        return Value::Null;
    }
    let long = |random: &mut Random| match random.below(4) {
        0 => random.next() as i64,
        1 => i64::from(random.next() as i32),
        2 => random.below(10) as i64 - 3,
        _ => *random.one(&[
            0,
            1,
            -1,
            127,
            -128,
            255,
            32767,
            65536,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
            1_000_000_000,
        ]),
    };
    let double = |random: &mut Random| match random.below(3) {
        0 => f64::from_bits(random.next()),
        1 => random.below(1000) as f64 / 8.0 - 50.0,
        _ => *random.one(&[
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            1e-7,
            1e18,
            0.5,
            -1.5,
        ]),
    };
    let some = |ty: &SqlType, random: &mut Random| -> Vec<Value<'static>> {
        (0..random.below(5)).map(|_| any(&ty.kind, random)).collect()
    };
    match ty {
        T::Varchar(_) => Value::string(text(random)),
        T::Char(n) => {
            Value::string(format!("{:<1$}", text(random).chars().take(*n as usize).collect::<String>(), *n as usize))
        }
        T::Varbinary(_) => Value::Bytes(
            text(random)
                .into_bytes()
                .into_iter()
                .map(|b| b ^ (random.below(2) as u8 * 0x80))
                .collect::<Vec<u8>>()
                .into(),
        ),
        T::Boolean => Value::Bool(random.below(2) == 0),
        T::TinyInt => Value::Int(i64::from(long(random) as i8)),
        T::SmallInt => Value::Int(i64::from(long(random) as i16)),
        T::Int | T::IntervalMonth => Value::Int(i64::from(long(random) as i32)),
        T::BigInt | T::IntervalDay => Value::Int(long(random)),
        T::Float => Value::Float(double(random) as f32),
        T::Double => Value::Double(double(random)),
        T::Decimal(p, s) => {
            let most = 10i128.pow(u32::from(*p)) - 1;
            let other = i128::from(long(random)) % most;
            Value::Decimal(*random.one(&[0, 1, -1, most, -most, other]), *s)
        }
        T::Date => {
            let other = random.next() as i32;
            Value::Date(*random.one(&[0, -1, 18_000, i32::MAX, i32::MIN, -719_529, 2_932_896, other]))
        }
        T::Time(_) => Value::Time(random.below(86_400_000) as i32),
        T::Timestamp(9) => {
            let other = random.below(1 << 31) as i64;
            Value::Timestamp(*random.one(&[0, -1, 9_223_372_035, -9_223_372_035, other]), 999_999_999)
        }
        T::Timestamp(_) | T::TimestampLtz(_) => {
            let other = random.below(1 << 31) as i64;
            let s =
                *random.one(&[0, -1, 253_402_300_799, -62_167_219_200, 9_000_000_000_000, -9_000_000_000_000, other]);
            Value::Timestamp(s, *random.one(&[0, 1_000, 999_999_000]))
        }
        T::Array(e) => Value::List(some(e, random)),
        T::Map(k, v) => Value::Map(some(k, random).into_iter().map(|key| (key, any(&v.kind, random))).collect()),
        T::Row(fields) => Value::Row(fields.iter().map(|f| any(&f.ty.kind, random)).collect()),
        _ => Value::Null,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "the watchdog, the arguments and the calls share what they count")]
fn every_function() {
    let seconds = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let mut names: Vec<String> = functions::flink_names().into_iter().map(str::to_string).collect();
    names.extend(functions::datafusion_names());
    let types = types();
    let session = Arc::new(Session::default());
    let (began, now) = (Instant::now(), Arc::new(Mutex::new(String::new())));
    let since = Arc::new(AtomicU64::new(0));
    {
        // What hangs could not be told from within.
        let (now, since) = (now.clone(), since.clone());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let at = Duration::from_millis(since.load(Ordering::Relaxed));
                if began.elapsed().saturating_sub(at) > Duration::from_secs(60) {
                    eprintln!("a minute has gone by in {}", now.lock().map(|n| n.clone()).unwrap_or_default());
                    std::process::abort();
                }
            }
        });
    }
    let mut seed = u64::from(std::process::id()) << 20 | 1;
    let (mut calls, mut bound) = (0u64, std::collections::BTreeSet::new());
    while began.elapsed() < Duration::from_secs(seconds) || calls < 100 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) | 1;
        let mut random = Random(seed);
        let name = random.one(&names).clone();
        let rows = 1 + random.below(6);
        // Many shapes of arguments are tried until one binds.
        let found = (0..60).find_map(|_| {
            let (count, shape) = (random.below(5), random.below(4));
            let one = random.one(&types).clone();
            let kinds: Vec<T> = (0..count)
                .map(|_| match shape {
                    // Most functions take texts and numbers, or values of one type.
                    0 => types[0].clone(),
                    1 => random.one(&[types[0].clone(), T::Int]).clone(),
                    2 => one.clone(),
                    _ => random.one(&types).clone(),
                })
                .collect();
            let args: Vec<Expr> = kinds
                .iter()
                .enumerate()
                .map(|(index, kind)| match random.below(3) {
                    0 => Expr::Literal { value: any(kind, &mut random), ty: SqlType::from(kind.clone()) },
                    _ => Expr::Column { index, name: format!("c{index}"), ty: SqlType::from(kind.clone()) },
                })
                .collect();
            let call = weir_core::panics::caught(|| functions::bind(&name, args));
            let call = call.unwrap_or_else(|e| panic!("{name} cannot be bound, seed {seed}: {e}"));
            call.ok().flatten().map(|call| (kinds, call))
        });
        let Some((kinds, call)) = found else { continue };
        bound.insert(name.clone());
        let columns: Vec<ArrayRef> = kinds
            .iter()
            .map(|k| builder::column(&SqlType::from(k.clone()).arrow(), (0..rows).map(|_| any(k, &mut random))))
            .collect();
        let fields = columns
            .iter()
            .enumerate()
            .map(|(i, c)| arrow::datatypes::Field::new(format!("c{i}"), c.data_type().clone(), true));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns, &options)
                .unwrap_or_else(|e| panic!("{e}"));
        if let Ok(mut n) = now.lock() {
            *n = format!("{}, seed {seed}", call.to_string().chars().take(300).collect::<String>());
        }
        since.store(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        let mut context = EvalContext::new(session.clone());
        context.on_error = OnError::Null;
        let result = weir_expr::eval::eval(&call, &batch, &mut context);
        let shown =
            || format!("{} over {kinds:?}, seed {seed}", call.to_string().chars().take(300).collect::<String>());
        for e in &context.errors {
            assert!(!e.message.contains("mistake"), "{}: {}", shown(), e.message);
            assert!(e.message.len() < 5_000, "{}: a message of {} bytes", shown(), e.message.len());
        }
        match result {
            Ok(array) => {
                assert_eq!(array.len(), rows, "{}", shown());
                assert_eq!(*array.data_type(), call.ty().arrow(), "{}", shown());
            }
            Err(e) => assert!(context.too_large, "{}: {e}", shown()),
        }
        assert!(peak_resident() < 1 << 30, "{} took {} MiB", shown(), peak_resident() >> 20);
        calls += 1;
    }
    let missed: Vec<&String> = names.iter().filter(|n| !bound.contains(*n)).collect();
    println!("{calls} calls of {} functions, {} MiB; never bound: {missed:?}", bound.len(), peak_resident() >> 20);
}
