//! Aggregations over windows that are larger than memory, with epochs and restarts anywhere, against a plain reading of the rules.

use crate::support::Running;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use weir_core::builder::column;
use weir_core::event_time::Watermark;
use weir_core::graph::OperatorFactory;
use weir_core::windows::{Slices, Window, Windows};
use weir_core::{Batch, Field, RowKind, Schema, SqlType, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_operators::aggregate::{
    AggregateFactory, SessionAggregateFactory, SlicedAggregateFactory, Stage, WindowAggregateFactory,
};
use weir_operators::windows::WindowClock;

/// The time of a row in milliseconds, its key, and its value.
type Row = (i64, i64, i64);
/// Rows, values, different values, and the greatest of them.
type Result = (i64, i64, i64, i64);

fn aggregate() -> AggregateFactory {
    let time: SqlType = TypeKind::Timestamp(3).into();
    let columns = [("e", time.clone()), ("s", time), ("k", SqlType::BIGINT), ("v", SqlType::BIGINT)];
    let input = Schema::new(columns.into_iter().map(|(n, t)| Field::new(n, t)).collect());
    let call = |function, distinct| AggregateCall {
        args: if function == Aggregate::CountStar { vec![] } else { vec![3] },
        function,
        distinct,
        filter: None,
        ty: SqlType::BIGINT,
    };
    let calls =
        [(Aggregate::CountStar, false), (Aggregate::Sum, false), (Aggregate::Count, true), (Aggregate::Max, false)];
    let mut fields = input.fields[..3].to_vec();
    fields.extend(["n", "t", "d", "m"].map(|name| Field::new(name, SqlType::BIGINT)));
    AggregateFactory {
        keys: vec![0, 1, 2],
        calls: calls.into_iter().map(|(f, d)| call(f, d)).collect(),
        input,
        schema: Schema::new(fields),
        stage: Stage::Whole,
        retracts: false,
        at_end: true,
        ttl_millis: 0,
        update_before: true,
    }
}

fn batch(rows: &[(Window, i64, i64)]) -> Batch {
    let schema = aggregate().input;
    let time = |millis: i64| Value::Timestamp(millis.div_euclid(1000), millis.rem_euclid(1000) as u32 * 1_000_000);
    let columns = (0..4).map(|c| {
        let values = rows.iter().map(|(w, k, v)| match c {
            0 => time(w.end),
            1 => time(w.start),
            2 => Value::Int(*k),
            _ => Value::Int(*v),
        });
        column(&schema.fields[c].ty.arrow(), values)
    });
    Batch::from_columns(schema.arrow(), columns.collect(), rows.len()).expect("a batch")
}

/// What came out, by window and key.
fn results(batches: &[Batch], into: &mut Vec<((i64, i64, i64), Result)>) {
    for b in batches {
        for row in 0..b.rows() {
            assert_eq!(b.kind(row), RowKind::Insert);
            let number = |c: usize| match Value::read(b.data.column(c), row) {
                Value::Int(i) => i,
                Value::Timestamp(s, n) => s * 1000 + i64::from(n / 1_000_000),
                other => panic!("{other:?}"),
            };
            into.push(((number(1), number(0), number(2)), (number(3), number(4), number(5), number(6))));
        }
    }
}

/// What a row at a time would give: rows count in each window that is not complete when they come.
#[derive(Default)]
struct Plain {
    windows: BTreeMap<(i64, i64, i64), Vec<i64>>,
    passed: Option<i64>,
}

impl Plain {
    fn row(&mut self, windows: Windows, (time, key, value): Row) {
        windows.each(time, |w| {
            if self.passed.is_none_or(|passed| w.end - 1 > passed) {
                self.windows.entry((w.start, w.end, key)).or_default().push(value);
            }
        });
    }

    fn results(&self) -> BTreeMap<(i64, i64, i64), Result> {
        let of = |v: &Vec<i64>| {
            let distinct = v.iter().collect::<BTreeSet<_>>().len() as i64;
            (v.len() as i64, v.iter().sum(), distinct, v.iter().copied().max().unwrap_or_default())
        };
        self.windows.iter().map(|(w, v)| (*w, of(v))).collect()
    }
}

/// What happens to the operator.
#[derive(Clone)]
enum Step {
    Rows(Vec<Row>),
    Watermark(i64),
}

fn steps(random: &mut Rng, keys: i64) -> Vec<Step> {
    let mut time = -200;
    let mut steps = vec![];
    for _ in 0..random.usize(10..60) {
        let rows = (0..random.usize(0..40)).map(|_| {
            time += random.i64(0..3);
            (time - random.i64(0..25), random.i64(0..keys), random.i64(0..5))
        });
        steps.push(Step::Rows(rows.collect()));
        if random.bool() {
            steps.push(Step::Watermark(time - random.i64(5..30)));
        }
    }
    steps.push(Step::Watermark(i64::MAX));
    steps
}

fn run(random: &mut Rng, windows: Windows, cache_bytes: usize) {
    let (clock, aggregate) = (WindowClock { zone: None }, aggregate());
    let slices = Slices::of(windows);
    let factory: Box<dyn OperatorFactory> = match slices {
        Some(slices) => Box::new(SlicedAggregateFactory { aggregate, slices, clock }),
        None => Box::new(WindowAggregateFactory { aggregate, clock }),
    };
    let assigned = slices.map_or(windows, Slices::shape);
    let keys = random.i64(1..60);
    let steps = steps(random, keys);
    let mut plain = Plain::default();
    for step in &steps {
        match step {
            Step::Rows(rows) => rows.iter().for_each(|row| plain.row(windows, *row)),
            Step::Watermark(to) => plain.passed = Some(plain.passed.map_or(*to, |p| p.max(*to))),
        }
    }
    let mut running = Running::start(factory, cache_bytes);
    let found = played(random, &mut running, &steps, assigned);
    same(&found, &plain.results(), &format!("{windows}, cache of {cache_bytes}"));
}

/// What comes out, with epochs and outages in between.
fn played(
    random: &mut Rng,
    running: &mut Running,
    steps: &[Step],
    assigned: Windows,
) -> Vec<((i64, i64, i64), Result)> {
    let (mut out, mut at) = (vec![], 0);
    let (mut stored_out, mut stored_at) = (0, 0);
    let mut outages = random.usize(0..4);
    while at < steps.len() {
        match &steps[at] {
            Step::Rows(rows) => {
                let mut all = vec![];
                rows.iter().for_each(|(time, k, v)| assigned.each(*time, |w| all.push((w, *k, *v))));
                results(&running.process(batch(&all)), &mut out);
            }
            Step::Watermark(to) => results(&running.watermark(Watermark(*to)), &mut out),
        }
        at += 1;
        match random.usize(0..8) {
            0 => {
                running.checkpoint();
                (stored_out, stored_at) = (out.len(), at);
            }
            1 if outages > 0 => {
                outages -= 1;
                running.restore();
                out.truncate(stored_out);
                at = stored_at;
            }
            _ => {}
        }
    }
    out
}

/// Holds what came out, in any order, against what should have.
fn same(found: &[((i64, i64, i64), Result)], expected: &BTreeMap<(i64, i64, i64), Result>, of: &str) {
    let once: BTreeMap<_, _> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "{of}: a window came twice");
    let wrong = expected.iter().find(|(w, r)| once.get(w) != Some(r));
    assert!(wrong.is_none(), "{of}: {wrong:?}, and {:?} came", wrong.map(|(w, _)| once.get(w)));
    assert_eq!(once.len(), expected.len(), "{of}: there is more than there should be");
}

/// A session's start, end and key, and the values of its rows.
type Session = ((i64, i64, i64), Vec<i64>);

/// The sessions of rows, each with its values, a row at a time.
fn sessions(steps: &[Step], gap: i64) -> BTreeMap<(i64, i64, i64), Result> {
    let (mut open, mut done): (Vec<Session>, _) = (vec![], Plain::default());
    let mut passed = i64::MIN;
    for step in steps {
        match step {
            Step::Rows(rows) => {
                for (time, key, value) in rows {
                    let meets = |(s, e, k): &(i64, i64, i64)| k == key && *s <= time + gap && time <= e;
                    let (mut whole, mut values) = ((*time, time + gap, *key), vec![*value]);
                    for (w, v) in open.iter().filter(|(w, _)| meets(w)) {
                        whole = (whole.0.min(w.0), whole.1.max(w.1), *key);
                        values.extend(v);
                    }
                    if whole.1 - 1 > passed {
                        open.retain(|(w, _)| !meets(w));
                        open.push((whole, values));
                    }
                }
            }
            Step::Watermark(to) => {
                passed = passed.max(*to);
                done.windows.extend(open.iter().filter(|(w, _)| w.1 - 1 <= passed).cloned());
                open.retain(|(w, _)| w.1 - 1 > passed);
            }
        }
    }
    done.results()
}

#[test]
fn sessions_larger_than_memory_come_once_and_whole() {
    let mut random = Rng::with_seed(12);
    for _ in 0..100 {
        let (gap, keys) = (random.i64(1..30), random.i64(1..60));
        let steps = steps(&mut random, keys);
        let factory = SessionAggregateFactory { aggregate: aggregate(), clock: WindowClock { zone: None } };
        let windows = Windows::Session { gap };
        let cache_bytes = [0, 2_000, 20_000, 1 << 20][random.usize(0..4)];
        let mut running = Running::start(Box::new(factory), cache_bytes);
        let found = played(&mut random, &mut running, &steps, windows);
        same(&found, &sessions(&steps, gap), &format!("{windows}, cache of {cache_bytes}"));
    }
}

#[test]
fn windows_larger_than_memory_come_once_and_whole() {
    let mut random = Rng::with_seed(11);
    for _ in 0..100 {
        let step = random.i64(1..12);
        let windows = match random.usize(0..3) {
            0 => Windows::Tumble { size: step, offset: 0 },
            1 => Windows::Hop { size: random.i64(1..40), slide: step, offset: random.i64(0..3) },
            _ => Windows::Cumulate { size: step * random.i64(1..6), step, offset: random.i64(-3..3) },
        };
        let Ok(windows) = windows.checked() else { continue };
        let cache_bytes = [0, 2_000, 20_000, 1 << 20][random.usize(0..4)];
        run(&mut random, windows, cache_bytes);
    }
}
