//! Checks that merged groups equal a single group that received all of their rows: for all aggregates and all ways to merge, with random
//! rows and cuts.
//!
//! `WEIR_MODELS` sets the number of runs of each aggregate (20 by default), and `WEIR_SEED` the seed of the first one.

use super::functions::Rows;
use super::groups::Groups;
use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray};
use fastrand::Rng;
use std::sync::Arc;
use weir_core::keyed::Codec;
use weir_core::memory_store::MemoryStore;
use weir_core::state::{Changes, Epoch, StateBackend, StateHandle};
use weir_core::{Field, Schema, SqlType, TypeKind, Value};
use weir_expr::aggregate::{Aggregate, AggregateCall};

const NUMBER: usize = 0;
const DOUBLE: usize = 1;
const DECIMAL: usize = 2;
const TEXT: usize = 3;
const TIMES: usize = 4;
const CONDITION: usize = 5;

fn input() -> Schema {
    let types = [
        SqlType::BIGINT,
        SqlType::DOUBLE,
        TypeKind::Decimal(10, 2).into(),
        SqlType::STRING,
        TypeKind::Int.into(),
        TypeKind::Boolean.into(),
    ];
    Schema::new(types.into_iter().map(|ty| Field::new("c", ty)).collect())
}

/// All aggregates with the columns that they read. The match in `follows` has no wildcard, as a reminder to add new ones here.
fn aggregates() -> Vec<(Aggregate, Vec<usize>)> {
    use Aggregate::*;
    let median = |several| Percentile { fractions: vec![0.5f64.to_bits(), 0.9f64.to_bits()], several };
    let mut all = vec![
        (CountStar, vec![]),
        (Percentile { fractions: vec![0.5f64.to_bits()], several: false }, vec![DOUBLE]),
        (median(true), vec![NUMBER, TIMES]),
        (ListAgg { separator: "/".to_string() }, vec![TEXT]),
    ];
    for function in [Sum, Avg, StddevPop, StddevSamp, VarPop, VarSamp] {
        all.extend([NUMBER, DOUBLE, DECIMAL].map(|column| (function.clone(), vec![column])));
    }
    for function in [Count, Min, Max, FirstValue, LastValue, Collect, ArrayAgg] {
        all.extend([NUMBER, DECIMAL, TEXT].map(|column| (function.clone(), vec![column])));
    }
    for absent_on_null in [false, true] {
        all.push((JsonObjectAgg { absent_on_null }, vec![TEXT, NUMBER]));
        all.push((JsonArrayAgg { absent_on_null }, vec![TEXT]));
    }
    all
}

/// Whether the order of rows matters, so that a retraction of one of several equal rows removes a particular one.
fn follows(function: &Aggregate) -> bool {
    use Aggregate::*;
    match function {
        CountStar | Count | Sum | Avg | Min | Max | StddevPop | StddevSamp | VarPop | VarSamp | Collect => false,
        Percentile { .. } => false,
        FirstValue | LastValue | ListAgg { .. } | ArrayAgg | JsonObjectAgg { .. } | JsonArrayAgg { .. } => true,
        // These are only allowed in OVER, which merges no slices.
        Lag { .. } | Rank { .. } => true,
    }
}

/// A row, from which all columns are derived.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    value: i64,
    is_null: bool,
    counts: Option<bool>,
}

/// Rows with 1 for an insertion and −1 for a retraction.
type Slice = Vec<(Row, i64)>;

/// Random rows of a slice. `own`: a number for values that only this slice has. Other values are only retracted if `all_go`.
fn slice(rng: &mut Rng, own: i64, retracts: bool, all_go: bool) -> (Slice, Vec<Row>) {
    let (mut rows, mut left) = (vec![], Vec::<Row>::new());
    for _ in 0..rng.usize(0..12) {
        let going: Vec<usize> = (0..left.len()).filter(|at| all_go || left[*at].value >= 100).collect();
        if retracts && !going.is_empty() && rng.u8(0..3) == 0 {
            rows.push((left.remove(going[rng.usize(0..going.len())]), -1));
            continue;
        }
        let value = if rng.bool() { rng.i64(-3..4) } else { own * 100 + rng.i64(0..3) };
        let is_null = value < 100 && rng.u8(0..6) == 0;
        let row = Row { value, is_null, counts: [Some(true), Some(false), None][rng.usize(0..3)] };
        left.push(row);
        rows.push((row, 1));
    }
    (rows, left)
}

fn columns(rows: &[(Row, i64)]) -> Vec<ArrayRef> {
    let values = || rows.iter().map(|(row, _)| (!row.is_null).then_some(row.value));
    let text = |v: i64| if v % 2 == 0 { format!("a longer text than is kept in place: {v}") } else { format!("t{v}") };
    let decimals = Decimal128Array::from_iter(values().map(|v| v.map(i128::from)));
    vec![
        Arc::new(Int64Array::from_iter(values())),
        Arc::new(Float64Array::from_iter(values().map(|v| v.map(|v| v as f64 / 2.0)))),
        Arc::new(decimals.with_precision_and_scale(10, 2).expect("decimals")),
        Arc::new(StringArray::from_iter(values().map(|v| v.map(text)))),
        Arc::new(Int32Array::from_iter(values().map(|v| v.map(|v| (v % 4) as i32)))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(row, _)| row.counts))),
    ]
}

struct Case {
    call: AggregateCall,
    retracts: bool,
}

impl Case {
    fn groups(&self) -> Groups {
        let mut groups = Groups::new(std::slice::from_ref(&self.call), &input(), self.retracts).expect("groups");
        groups.grow(20);
        groups
    }

    fn take(&self, groups: &mut Groups, at: u32, slice: &[(Row, i64)]) {
        let columns = columns(slice);
        let args: Vec<ArrayRef> = self.call.args.iter().map(|c| columns[*c].clone()).collect();
        let signs: Vec<i64> = slice.iter().map(|(_, sign)| *sign).collect();
        let (places, signs) = (vec![at; slice.len()], self.retracts.then_some(signs.as_slice()));
        let filter = self.call.filter.map(|c| columns[c].as_any().downcast_ref().expect("a condition"));
        Rows { args: &[], places: &places, only: None, signs, filter: None }.count(&mut groups.rows);
        let rows = Rows { args: &args, places: &places, only: None, signs, filter };
        groups.aggregates[0].update(&rows).expect("rows");
    }

    /// Writes a group to a store, and reads it from there into place 0 of new groups.
    fn by_a_store(&self, groups: &mut Groups, at: u32) -> Groups {
        let (key, mut changes, mut bytes) = (b"the key", Changes::default(), vec![]);
        groups.parts(at, key, &mut (), false, &mut changes);
        Codec::encode(groups, at, &(), 7, &mut bytes);
        let store: Arc<dyn StateBackend> = Arc::new(MemoryStore::default());
        let operator = store.operator("operator").expect("a number");
        store.stage(operator, Epoch(1), changes);
        let mut read = self.groups();
        read.read(0, key, &bytes, &StateHandle { operator, reader: store.clone() }).expect("a group");
        read
    }
}

/// The number of rows and the result of a group.
fn told(groups: &Groups, at: usize) -> (i64, Value<'static>) {
    (groups.rows[at], groups.aggregates[0].result(at).expect("a result"))
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} is no number: {v}")))
}

fn run(case: &Case, rng: &mut Rng) {
    let all_go = case.call.distinct || !follows(&case.call.function);
    let slices: Vec<(Slice, Vec<Row>)> =
        (1..=rng.i64(0..5)).map(|own| slice(rng, own, case.retracts, all_go)).collect();
    let rows: Slice = slices.iter().flat_map(|(rows, _)| rows.iter().copied()).collect();
    let what = format!("{:?}, retracts: {}, {slices:?}", case.call, case.retracts);
    let (mut once, mut groups) = (case.groups(), case.groups());
    case.take(&mut once, 0, &rows);
    let count = slices.len();
    for (at, (rows, _)) in slices.iter().enumerate() {
        case.take(&mut groups, at as u32, rows);
    }
    let of_slices: Vec<_> = (0..count).map(|at| told(&groups, at)).collect();

    // Merges from place to place, from other groups, from bytes, and from a store.
    let ([place, bytes, stored], from_place, mut others) = ([10, 11, 12], 13, case.groups());
    (0..count).for_each(|at| groups.merge_place(from_place, at));
    let encoded: Vec<Vec<u8>> = (0..count)
        .map(|at| {
            let mut out = vec![];
            groups.encode(at, &mut out);
            out
        })
        .collect();
    let mut states: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
    others.merge(&vec![bytes as u32; count], &mut states).expect("groups in bytes");
    for at in 0..count {
        others.merge_from(place, &groups, at).expect("groups of the same call");
        let read = case.by_a_store(&mut groups, at as u32);
        others.merge_from(stored, &read, 0).expect("groups of a store");
    }
    others.merge_from(from_place, &groups, from_place).expect("a merged group");
    assert_eq!((0..count).map(|at| told(&groups, at)).collect::<Vec<_>>(), of_slices, "slices stay: {what}");

    // The merged groups are complete: they read the same from a store, and further rows have the same effect.
    let wanted = told(&once, 0);
    for at in [place, bytes, stored, from_place] {
        assert_eq!(told(&others, at), wanted, "{at}: {what}");
        let read = case.by_a_store(&mut others, at as u32);
        assert_eq!(told(&read, 0), wanted, "{at}, read again: {what}");
    }
    let left: Vec<Row> = slices.iter().flat_map(|(_, left)| left.iter().copied()).collect();
    let mut more: Slice = left.iter().filter(|_| case.retracts && rng.bool()).map(|row| (*row, -1)).collect();
    more.extend(slice(rng, 9, case.retracts, all_go).0);
    case.take(&mut once, 0, &more);
    for at in [place, bytes, stored, from_place] {
        case.take(&mut others, at as u32, &more);
        assert_eq!(told(&others, at), told(&once, 0), "{at}, then {more:?}: {what}");
    }
}

#[test]
fn merged_slices_are_all_rows_at_once() {
    let (runs, seed) = (setting("WEIR_MODELS", 20), setting("WEIR_SEED", 1));
    for (function, args) in aggregates() {
        let types: Vec<SqlType> = args.iter().map(|a| input().fields[*a].ty.clone()).collect();
        let ty = function.result_type(&types).expect("a type");
        for bits in 0..8 {
            let (distinct, retracts, filtered) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
            let filter = filtered.then_some(CONDITION);
            let call =
                AggregateCall { function: function.clone(), args: args.clone(), distinct, filter, ty: ty.clone() };
            let case = Case { call, retracts };
            (seed..seed + runs).for_each(|seed| run(&case, &mut Rng::with_seed(seed)));
        }
    }
}

#[test]
fn groups_of_another_call_are_refused() {
    let groups = |function: Aggregate, column: usize| {
        let ty = function.result_type(&[input().fields[column].ty.clone()]).expect("a type");
        let call = AggregateCall { function, args: vec![column], distinct: false, filter: None, ty };
        Case { call, retracts: false }.groups()
    };
    let mut sums = groups(Aggregate::Sum, NUMBER);
    for other in [groups(Aggregate::Sum, DOUBLE), groups(Aggregate::Count, NUMBER), groups(Aggregate::Min, TEXT)] {
        let error = sums.merge_from(0, &other, 0).expect_err("another call");
        assert_eq!(error.kind, weir_core::error::ErrorKind::Internal, "{error}");
    }
    assert!(sums.merge_from(0, &groups(Aggregate::Avg, NUMBER), 0).is_ok(), "the same accumulators");
}
