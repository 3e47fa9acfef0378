//! Top-N against a model: all rows of a partition in a vector, sorted anew each time. Random cuts into batches and epochs, with crashes in
//! between, and a cache that holds nothing.

use crate::support::Running;
use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int32Array, Int64Array};
use arrow::datatypes::{Int32Type, Int64Type};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::rank::{RankStrategy, SortKey};
use weir_core::{Batch, Field, Schema, SqlType};
use weir_operators::rank::RankFactory;

/// A row: its partition, what it is sorted by, and its number, by which it is unique.
type Row = (i32, Option<i32>, i64);

fn schema() -> Schema {
    let field = |name: &str, ty: SqlType| Field::new(name, ty);
    Schema::new(vec![
        field("p", SqlType::INT.not_null()),
        field("v", SqlType::INT),
        field("id", SqlType::BIGINT.not_null()),
    ])
}

const KINDS: [&str; 4] = ["+I", "-U", "+U", "-D"];

fn batch(rows: &[(i8, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1.0))),
        Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.1.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1.2))),
    ];
    let kinds = Int8Array::from_iter_values(rows.iter().map(|r| r.0));
    let batch = Batch::from_columns(schema().arrow(), columns, rows.len()).expect("a batch");
    batch.with_kinds(rows.iter().any(|r| r.0 != 0).then_some(kinds))
}

/// What came out so far: the rows that are there, each with its rank.
#[derive(Default)]
struct Seen(BTreeMap<(Row, i64), i64>);

impl Seen {
    fn take(&mut self, given: &[Batch]) {
        for b in given {
            let (p, v, id) = (
                b.data.column(0).as_primitive::<Int32Type>(),
                b.data.column(1).as_primitive::<Int32Type>(),
                b.data.column(2).as_primitive::<Int64Type>(),
            );
            for r in 0..b.rows() {
                let rank =
                    if b.data.num_columns() == 4 { b.data.column(3).as_primitive::<Int64Type>().value(r) } else { 0 };
                let row = (p.value(r), v.is_valid(r).then(|| v.value(r)), id.value(r));
                let n = self.0.entry((row, rank)).or_default();
                *n += if b.kind(r).mark().starts_with('+') { 1 } else { -1 };
                assert!((0..=1).contains(n), "{row:?} at {rank} is there {n} times");
            }
        }
        self.0.retain(|_, n| *n != 0);
    }
}

/// The rows of the range, sorted from nothing.
fn expected(rows: &[Row], plan: &RankFactory) -> Seen {
    let mut partitions: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|r| partitions.entry(if plan.partition.is_empty() { 0 } else { r.0 }).or_default().push(*r));
    let mut seen = Seen::default();
    for rows in partitions.values_mut() {
        if let Some(by) = plan.order.first() {
            let null = |r: &Row| r.1.is_none() != by.nulls_first;
            match by.descending {
                true => rows.sort_by_key(|r| (null(r), Reverse(r.1))),
                false => rows.sort_by_key(|r| (null(r), r.1)),
            }
        }
        let (first, last) = (plan.ranks.0 as usize, plan.ranks.1 as usize);
        for (at, row) in rows.iter().enumerate().take(last).skip(first - 1) {
            seen.0.insert((*row, if plan.number { at as i64 + 1 } else { 0 }), 1);
        }
    }
    seen
}

fn factory(random: &mut Rng, strategy: RankStrategy) -> RankFactory {
    let first = random.u64(1..=3);
    let by = SortKey { column: 1, descending: random.bool(), nulls_first: random.bool() };
    let unsorted = matches!(strategy, RankStrategy::Append) && random.u8(0..4) == 0;
    RankFactory {
        partition: if random.bool() { vec![0] } else { vec![] },
        order: if unsorted { vec![] } else { vec![by] },
        ranks: (first, first + random.u64(0..4)),
        number: random.bool(),
        strategy,
        last_wins: false,
        at_end: false,
        schema: schema(),
        ttl_millis: 0,
        update_before: true,
    }
}

/// The next changes, and the rows after them in the order in which they came.
fn changes(random: &mut Rng, plan: &RankFactory, rows: &mut Vec<Row>, next: &mut i64) -> Vec<(i8, Row)> {
    let value = |random: &mut Rng| (random.u8(0..8) > 0).then(|| random.i32(0..12));
    let mut out = vec![];
    for _ in 0..random.usize(1..12) {
        let at = if rows.is_empty() { 0 } else { random.usize(0..rows.len()) };
        match &plan.strategy {
            RankStrategy::Retract if !rows.is_empty() && random.u8(0..5) < 2 => {
                let gone = rows.remove(at);
                if random.bool() {
                    out.push((3, gone));
                } else {
                    let new = (gone.0, value(random), gone.2);
                    rows.push(new);
                    out.extend([(1, gone), (2, new)]);
                }
            }
            RankStrategy::Update(_) if !rows.is_empty() && random.bool() => {
                // It moves towards the front, or stays.
                let old = rows[at];
                let step = random.i32(0..3);
                let new = (old.0, old.1.map(|v| if plan.order[0].descending { v + step } else { v - step }), old.2);
                if new.1 != old.1 {
                    rows.remove(at);
                    rows.push(new);
                }
                out.extend([(1, old), (2, new)]);
            }
            RankStrategy::Append | RankStrategy::Update(_) | RankStrategy::Retract => {
                *next += 1;
                rows.push((random.i32(0..3), value(random), *next));
                out.push((0, rows[rows.len() - 1]));
            }
        }
    }
    out
}

fn run(seed: u64, strategy: &RankStrategy) {
    let mut random = Rng::with_seed(seed);
    let plan = factory(&mut random, strategy.clone());
    let mut o = Running::start(Box::new(plan.clone()), if random.bool() { 1 } else { 1 << 20 });
    let (mut rows, mut next, mut seen) = (vec![], 0, Seen::default());
    for _ in 0..random.usize(1..20) {
        let mut changes = changes(&mut random, &plan, &mut rows, &mut next);
        let cut = random.usize(0..=changes.len());
        let rest = changes.split_off(cut);
        for part in [changes, rest].iter().filter(|p| !p.is_empty()) {
            seen.take(&o.process(batch(part)));
        }
        assert_eq!(
            seen.0,
            expected(&rows, &plan).0,
            "seed {seed}, ranks {:?}, {:?}, {:?}",
            plan.ranks,
            plan.order,
            plan.strategy
        );
        if random.u8(0..3) == 0 {
            o.checkpoint();
            if random.bool() {
                o.restore();
            }
        }
    }
}

#[test]
fn the_first_rows_are_those_of_the_model() {
    for seed in 0..400 {
        run(seed, &RankStrategy::Append);
        run(seed, &RankStrategy::Update(vec![0, 2]));
        run(seed, &RankStrategy::Retract);
    }
}

#[test]
fn what_is_behind_the_range_is_not_loaded() {
    let plan = RankFactory {
        partition: vec![],
        order: vec![SortKey { column: 1, descending: true, nulls_first: false }],
        ranks: (1, 3),
        number: true,
        strategy: RankStrategy::Retract,
        last_wins: false,
        at_end: false,
        schema: schema(),
        ttl_millis: 0,
        update_before: true,
    };
    let mut o = Running::start(Box::new(plan), 1);
    for part in 0..20 {
        let rows: Vec<(i8, Row)> = (part * 5000..(part + 1) * 5000).map(|i| (0, (0, Some(i), i64::from(i)))).collect();
        o.process(batch(&rows));
        o.checkpoint();
    }
    o.restore();
    // The first one goes and the fourth one comes: one row is read from behind the range.
    let given = o.process(batch(&[(3, (0, Some(99_999), 99_999))]));
    let shown: Vec<(&str, i64)> = given
        .iter()
        .flat_map(|b| (0..b.rows()).map(|r| (b.kind(r).mark(), b.data.column(2).as_primitive::<Int64Type>().value(r))))
        .collect();
    let change = |at: i64| [(KINDS[1], 99_999 - at), (KINDS[2], 99_998 - at)];
    assert_eq!(shown, [change(0), change(1), change(2)].concat());
}
