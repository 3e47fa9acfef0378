//! UNNEST of random collections against a walk over their values, with slices, kinds and batches of any size.

use crate::support::Running;
use arrow::array::Int8Array;
use fastrand::Rng;
use weir_core::builder::column;
use weir_core::{Batch, Field, Schema, SqlType, Value};
use weir_operators::unnest::UnnestFactory;

type Row = Vec<Value<'static>>;

/// A collection of a type, or NULL.
fn collection(ty: &str, rng: &mut Rng) -> Value<'static> {
    let null = |v: Value<'static>, rng: &mut Rng| if rng.u8(0..4) == 0 { Value::Null } else { v };
    let text = |rng: &mut Rng| null(Value::string(format!("t{}", rng.u8(0..5))), rng);
    let most = if rng.u8(0..20) == 0 { 6 } else { 5 };
    let count = [0, 0, 1, 2, 5, 3000][rng.usize(0..most)];
    let made = match ty {
        "ARRAY<STRING>" => Value::List((0..count).map(|_| text(rng)).collect()),
        "ARRAY<ROW<`a` INT, `b` STRING>>" => {
            let row = |rng: &mut Rng| Value::Row(vec![null(Value::Int(rng.i64(0..9)), rng), text(rng)]);
            Value::List((0..count).map(|_| null(row(rng), rng)).collect())
        }
        "MAP<STRING, INT>" => {
            Value::Map((0..count).map(|n| (Value::string(format!("k{n}")), Value::Int(n as i64))).collect())
        }
        "MULTISET<STRING>" => {
            let entry = |n: usize, rng: &mut Rng| (Value::string(format!("m{n}")), Value::Int(rng.i64(1..4)));
            Value::Map((0..count).map(|n| entry(n, rng)).collect())
        }
        other => panic!("{other}"),
    };
    null(made, rng)
}

/// The columns of each element, with its number.
fn elements(ty: &str, collection: &Value<'static>) -> Vec<Row> {
    let all: Vec<Row> = match collection {
        Value::Null => vec![],
        Value::List(items) if ty.contains("ROW") => {
            items.iter().filter_map(|i| if let Value::Row(fields) = i { Some(fields.clone()) } else { None }).collect()
        }
        Value::List(items) => items.iter().map(|i| vec![i.clone()]).collect(),
        Value::Map(entries) if ty.starts_with("MULTISET") => {
            let times = |n: &Value<'_>| n.as_i64().expect("a count") as usize;
            entries.iter().flat_map(|(v, n)| vec![vec![v.clone()]; times(n)]).collect()
        }
        Value::Map(entries) => entries.iter().map(|(k, v)| vec![k.clone(), v.clone()]).collect(),
        other => panic!("{other:?}"),
    };
    let numbered = |(n, mut row): (usize, Row)| {
        row.push(Value::Int(n as i64 + 1));
        row
    };
    all.into_iter().enumerate().map(numbered).collect()
}

#[test]
fn each_element_is_a_row() {
    let mut rng = Rng::with_seed(7);
    for round in 0..400 {
        let (ty, found) = [
            ("ARRAY<STRING>", &["STRING"][..]),
            ("ARRAY<ROW<`a` INT, `b` STRING>>", &["INT", "STRING"]),
            ("MAP<STRING, INT>", &["STRING", "INT"]),
            ("MULTISET<STRING>", &["STRING"]),
        ][round % 4];
        let kind: SqlType = ty.parse().expect("a type");
        let left = rng.bool();
        // Some of the columns of the elements, in any order; the last is the number.
        let mut columns: Vec<usize> = (0..=found.len()).filter(|_| rng.bool()).collect();
        rng.shuffle(&mut columns);
        let fields = columns.iter().map(|c| found.get(*c).copied().unwrap_or("INT"));
        let fields: Vec<Field> = fields.map(|t| Field::new("c", t.parse().expect("a type"))).collect();
        let schema = Schema::new([vec![Field::new("id", SqlType::BIGINT)], fields].concat());
        let rows: Vec<(i64, Value<'static>)> = (0..rng.i64(0..30)).map(|id| (id, collection(ty, &mut rng))).collect();
        let kinds: Vec<i8> = rows.iter().map(|_| rng.i8(0..4)).collect();
        let from = rng.usize(0..=rows.len());

        let mut wanted: Vec<(i8, Row)> = vec![];
        for ((id, collection), kind) in rows.iter().zip(&kinds).skip(from) {
            let mut all = elements(ty, collection);
            if left && all.is_empty() {
                all.push(vec![Value::Null; found.len() + 1]);
            }
            wanted.extend(all.into_iter().map(|element| {
                let chosen = columns.iter().map(|c| element[*c].clone());
                (*kind, [Value::Int(*id)].into_iter().chain(chosen).collect())
            }));
        }

        let input = Schema::new(vec![Field::new("id", SqlType::BIGINT), Field::new("all", kind.clone())]);
        let data = vec![
            column(&SqlType::BIGINT.arrow(), rows.iter().map(|(id, _)| Value::Int(*id))),
            column(&kind.arrow(), rows.iter().map(|(_, c)| c.clone())),
        ];
        let batch = Batch::from_columns(input.arrow(), data, rows.len()).expect("a batch");
        let batch = batch.with_kinds(Some(Int8Array::from(kinds))).slice(from..rows.len());
        let multiset = ty.starts_with("MULTISET");
        let factory = UnnestFactory { collection: 1, multiset, keep: vec![0], columns, left, schema };
        let got: Vec<(i8, Row)> = Running::start(Box::new(factory), 1 << 20)
            .process(batch)
            .iter()
            .flat_map(|b| {
                let row = |r| b.data.columns().iter().map(|c| Value::read(c, r).into_owned()).collect();
                (0..b.rows()).map(|r| (b.kind(r) as i8, row(r))).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(got, wanted, "{round}: {ty}, left: {left}");
    }
}
