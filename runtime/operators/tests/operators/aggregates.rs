//! All aggregates over rows and changes, cut into batches and epochs at random places, with restarts, with and without a local
//! stage, against what aggregates.py makes of them: at every place the sum of all changes given out is the result.
//! `WEIR_ROUNDS=5000` takes so many cases.

use crate::support::Running;
use arrow::array::{Array, Int8Array};
use std::collections::BTreeMap;
use std::process::Command;
use weir_core::builder::column;
use weir_core::value::decimal_text;
use weir_core::{Batch, Field, RowKind, Schema, SqlType, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_operators::aggregate::{AggregateFactory, Stage};

type Json = serde_json::Value;

fn schema() -> Schema {
    let text = SqlType::STRING;
    let fields = [
        ("k", SqlType::INT),
        ("i", SqlType::BIGINT),
        ("n", SqlType::INT),
        ("m", TypeKind::Decimal(38, 0).into()),
        ("d", TypeKind::Decimal(10, 4).into()),
        ("x", SqlType::DOUBLE),
        ("s", text),
        ("w", SqlType::BOOLEAN),
        ("t", SqlType::INT.not_null()),
    ];
    Schema::new(fields.into_iter().map(|(n, t)| Field::new(n, t)).collect())
}

fn function(name: &str) -> Aggregate {
    let percentile = |fractions: &[f64], several| Aggregate::Percentile {
        fractions: fractions.iter().map(|f| f.to_bits()).collect(),
        several,
    };
    match name {
        "COUNT_STAR" => Aggregate::CountStar,
        "LISTAGG" => Aggregate::ListAgg { separator: ";".to_string() },
        "PERCENTILE" => percentile(&[0.3], false),
        "PERCENTILES" => percentile(&[0.0, 0.5, 0.9], true),
        name => Aggregate::by_name(name).unwrap_or_else(|| panic!("no aggregate {name}")),
    }
}

/// A value of a case as one of a column.
fn value(json: &Json, ty: &SqlType) -> Value<'static> {
    match (json, &ty.kind) {
        (Json::Null, _) => Value::Null,
        (Json::Bool(b), _) => Value::Bool(*b),
        (Json::String(s), TypeKind::Decimal(_, scale)) => {
            let (v, s) = weir_expr::cast::parse_decimal(s, *scale).unwrap_or_else(|| panic!("{s} is no decimal"));
            let v = weir_expr::arith::fits(weir_expr::arith::rescale(v, s, *scale), 38);
            Value::Decimal(v.expect("38 digits"), *scale)
        }
        (Json::String(s), _) => Value::string(s.clone()),
        (n, TypeKind::Double) => Value::Double(n.as_f64().expect("a number")),
        (n, _) => Value::Int(n.as_i64().expect("an integer")),
    }
}

/// What is computed in another order differs in the last digits.
fn rounded(d: f64) -> String {
    format!("{:.9e}", if d.abs() < 1e-9 { 0.0 } else { d })
}

/// A value of a result as aggregates.py writes it.
fn json(value: &Value<'_>, function: Option<&Aggregate>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(i) => Json::from(*i),
        Value::Double(d) => Json::from(rounded(*d)),
        Value::Decimal(v, s) => Json::from(decimal_text(*v, *s)),
        Value::Text(t) => match function {
            Some(Aggregate::JsonArrayAgg { .. } | Aggregate::JsonObjectAgg { .. }) => {
                serde_json::from_str(t).expect("JSON")
            }
            _ => Json::from(t.to_string()),
        },
        Value::List(items) => items.iter().map(|v| json(v, None)).collect(),
        Value::Map(entries) => {
            let mut pairs: Vec<(Json, Json)> = entries.iter().map(|(k, v)| (json(k, None), json(v, None))).collect();
            pairs.sort_by_key(|p| (p.0.as_i64(), p.0.as_str().map(str::to_string)));
            pairs.into_iter().map(|(k, v)| Json::from(vec![k, v])).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The same spelling of numbers for what aggregates.py wrote.
fn spelled(json: &Json) -> Json {
    match json {
        Json::Number(n) if n.is_f64() => Json::from(rounded(n.as_f64().unwrap_or(0.0))),
        Json::Array(items) => items.iter().map(spelled).collect(),
        other => other.clone(),
    }
}

/// Numbers that are the same for the same case.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

struct Case {
    kind: String,
    factory: AggregateFactory,
    changes: Vec<(RowKind, Vec<Value<'static>>)>,
    expected: BTreeMap<usize, BTreeMap<String, i64>>,
}

fn case(line: &str) -> Case {
    let json: Json = serde_json::from_str(line).expect("a case");
    let input = schema();
    let kind = json["kind"].as_str().expect("a kind").to_string();
    let keys: Vec<usize> = if json["keyed"] == true { vec![0] } else { vec![] };
    let call = |c: &Json| {
        let function = function(c[0].as_str().expect("a name"));
        let args: Vec<usize> =
            c[1].as_array().expect("columns").iter().map(|a| a.as_u64().unwrap_or(0) as usize).collect();
        let types: Vec<SqlType> = args.iter().map(|a| input.fields[*a].ty.clone()).collect();
        let ty = function.result_type(&types).expect("a type");
        AggregateCall { function, args, distinct: c[2] == true, filter: (c[3] == true).then_some(7), ty }
    };
    let calls: Vec<AggregateCall> = json["calls"].as_array().expect("calls").iter().map(call).collect();
    let mut fields: Vec<Field> = keys.iter().map(|k| input.fields[*k].clone()).collect();
    fields.extend(calls.iter().enumerate().map(|(i, c)| Field::new(format!("r{i}"), c.ty.clone().nullable(true))));
    let change = |c: &Json| {
        let kind = match c[0].as_str() {
            Some("+I") => RowKind::Insert,
            Some("-U") => RowKind::UpdateBefore,
            Some("+U") => RowKind::UpdateAfter,
            _ => RowKind::Delete,
        };
        (kind, input.fields.iter().enumerate().map(|(i, f)| value(&c[i + 1], &f.ty)).collect())
    };
    let expected = |e: &Json| {
        let mut rows = BTreeMap::new();
        for row in e[1].as_array().expect("rows") {
            *rows.entry(spelled(row).to_string()).or_insert(0) += 1;
        }
        (e[0].as_u64().unwrap_or(0) as usize, rows)
    };
    Case {
        changes: json["changes"].as_array().expect("changes").iter().map(change).collect(),
        expected: json["expected"].as_array().expect("results").iter().map(expected).collect(),
        factory: AggregateFactory {
            keys,
            calls,
            schema: Schema::new(fields),
            retracts: matches!(kind.as_str(), "sums" | "changes" | "middle"),
            input,
            stage: Stage::Whole,
            at_end: false,
            ttl_millis: 0,
            update_before: true,
        },
        kind,
    }
}

fn batch(schema: &Schema, changes: &[(RowKind, Vec<Value<'static>>)]) -> Batch {
    let columns = schema
        .fields
        .iter()
        .enumerate()
        .map(|(i, f)| column(&f.ty.arrow(), changes.iter().map(|(_, row)| row[i].clone())));
    let kinds: Vec<i8> = changes.iter().map(|(k, _)| *k as i8).collect();
    let batch = Batch::from_columns(schema.arrow(), columns.collect(), changes.len()).expect("a batch");
    batch.with_kinds(kinds.iter().any(|k| *k != 0).then(|| Int8Array::from(kinds)))
}

/// Adds what was given out to the result; no row goes that is not there.
fn add(result: &mut BTreeMap<String, i64>, factory: &AggregateFactory, given: &[Batch]) {
    for b in given {
        for row in 0..b.rows() {
            let of = |i: usize| i.checked_sub(factory.keys.len()).map(|c| &factory.calls[c].function);
            let columns = b.data.columns().iter().enumerate();
            let text =
                columns.map(|(i, c)| json(&Value::read(c as &dyn Array, row), of(i))).collect::<Json>().to_string();
            let count = result.entry(text.clone()).or_insert(0);
            *count += b.kind(row).sign();
            assert!(*count >= 0, "{text} goes and is not there");
            if *count == 0 {
                result.remove(&text);
            }
        }
    }
}

/// Runs a case with other cuts each time.
fn check(case: &Case, seed: u64, local: bool) {
    let mut dice = Dice(seed * 2 + 1);
    let stage = |stage| Box::new(AggregateFactory { stage, ..case.factory.clone() });
    let cache = if dice.below(2) == 0 { 1 } else { 1 << 20 };
    // Rows that only come are dealt out to two local stages, changes of a row take one way.
    let mut locals: Vec<Running> = match (local, case.factory.retracts) {
        (false, _) => vec![],
        (true, true) => vec![Running::start(stage(Stage::Local), cache)],
        (true, false) => vec![Running::start(stage(Stage::Local), cache), Running::start(stage(Stage::Local), cache)],
    };
    let mut last = Running::start(stage(if local { Stage::Final } else { Stage::Whole }), cache);
    let most = [1, 3, 100][dice.below(3)];
    let (mut result, mut at) = (BTreeMap::new(), 0);
    loop {
        if let Some(expected) = case.expected.get(&at) {
            let calls: Vec<_> =
                case.factory.calls.iter().map(|c| (c.function.name(), &c.args, c.distinct, c.filter)).collect();
            assert_eq!(&result, expected, "{} {calls:?} after {at} of {:?}", case.kind, case.changes);
        }
        if at == case.changes.len() {
            return;
        }
        let next = case.expected.range(at + 1..).next().map_or(case.changes.len(), |(n, _)| *n);
        let to = next.min(at + 1 + dice.below(most));
        let rows = batch(&case.factory.input, &case.changes[at..to]);
        at = to;
        let given = match locals.len() {
            0 => last.process(rows),
            n => locals[dice.below(n)].process(rows).into_iter().flat_map(|b| last.process(b)).collect(),
        };
        add(&mut result, &case.factory, &given);
        match dice.below(4) {
            0 => last.checkpoint(),
            1 => {
                last.checkpoint();
                last.restore();
            }
            _ => {}
        }
    }
}

#[test]
fn aggregates_are_what_another_program_makes_of_them() {
    let count: usize = std::env::var("WEIR_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(240);
    let made = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operators/aggregates.py"))
        .args(["0", &count.to_string()])
        .output()
        .expect("python3");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut cases = 0;
    for (n, line) in String::from_utf8(made.stdout).expect("text").lines().enumerate() {
        let case = case(line);
        for round in 0..6 {
            let seed = (n * 100 + round) as u64 + 1;
            check(&case, seed, round % 2 == 1 && matches!(case.kind.as_str(), "sums" | "extremes"));
        }
        cases += 1;
    }
    assert_eq!(cases, count);
}
