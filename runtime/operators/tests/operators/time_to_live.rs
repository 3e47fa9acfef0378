//! Keys that nobody touches are forgotten, in memory and in the store.

use crate::support::Running;
use arrow::array::{ArrayRef, Int8Array, Int32Array, StringArray};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::graph::OperatorFactory;
use weir_core::{Batch, Field, Schema, SqlType};
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_operators::aggregate::{AggregateFactory, Stage};
use weir_operators::normalize::NormalizeFactory;

fn schema() -> Schema {
    Schema::new(vec![Field::new("k", SqlType::INT.not_null()), Field::new("v", SqlType::STRING)])
}

fn rows(keys: std::ops::Range<i32>, value: &str, kind: i8) -> Batch {
    let n = keys.len();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from_iter_values(keys)), Arc::new(StringArray::from(vec![value; n]))];
    let batch = Batch::from_columns(schema().arrow(), columns, n).expect("a batch");
    batch.with_kinds((kind != 0).then(|| Int8Array::from(vec![kind; n])))
}

/// COUNT(*) and, on request, COUNT(DISTINCT v) by k.
fn counts(ttl_millis: u64, distinct: bool) -> AggregateFactory {
    let mut calls = vec![(Aggregate::CountStar, vec![], false), (Aggregate::Count, vec![1], true)];
    calls.truncate(1 + usize::from(distinct));
    let calls: Vec<AggregateCall> = calls
        .into_iter()
        .map(|(function, args, distinct)| AggregateCall {
            function,
            args,
            distinct,
            filter: None,
            ty: SqlType::BIGINT.not_null(),
        })
        .collect();
    let mut fields = vec![schema().fields[0].clone()];
    fields.extend(calls.iter().map(|c| Field::new("n", c.ty.clone())));
    AggregateFactory {
        keys: vec![0],
        calls,
        input: schema(),
        schema: Schema::new(fields),
        stage: Stage::Whole,
        retracts: false,
        at_end: false,
        ttl_millis,
        update_before: true,
    }
}

fn normalize(ttl_millis: u64, materializes: bool) -> NormalizeFactory {
    NormalizeFactory { keys: vec![0], schema: schema(), materializes, ttl_millis, update_before: true }
}

/// The kinds of all changes.
fn kinds(given: &[Batch]) -> Vec<&'static str> {
    let all: BTreeSet<&str> = given.iter().flat_map(|b| (0..b.rows()).map(|r| b.kind(r).mark())).collect();
    all.into_iter().collect()
}

/// Epochs until every key group of the store has been looked at, each after a pause that is longer than the time to live.
fn pass_over(o: &mut Running) {
    for _ in 0..20 {
        o.later(3);
        o.checkpoint();
    }
}

fn forgets(make: impl Fn(u64) -> Box<dyn OperatorFactory>, name: &str) {
    let hour = 3_600_000;
    for cache_bytes in [1, 1 << 20] {
        let mut o = Running::start(make(hour), cache_bytes);
        o.process(rows(0..500, "a", 0));
        o.process(rows(0..500, "b", 0));
        o.checkpoint();
        let all = o.store.keys();
        assert!(all >= 500, "{name}");
        pass_over(&mut o);
        assert_eq!(o.store.keys(), all, "{name}: an hour has not passed");
        assert_eq!(kinds(&o.process(rows(0..500, "b", 0))), ["+U", "-U"], "{name}: what is behind must hear of it");
        o.checkpoint();
        o.restore_as(make(1));
        pass_over(&mut o);
        assert_eq!(o.store.keys(), 0, "{name}");
        assert_eq!(kinds(&o.process(rows(0..500, "b", 0))), ["+I"], "{name}");
        // In memory only, when the cache is large.
        o.later(3);
        o.checkpoint();
        pass_over(&mut o);
        assert_eq!(o.store.keys(), 0, "{name}");
        o.process(rows(0..500, "b", 0));
        o.later(3);
        assert_eq!(kinds(&o.process(rows(0..500, "b", 0))), ["+I"], "{name}: it was too old");
    }
}

#[test]
fn keys_that_nobody_touches_are_forgotten() {
    forgets(|ttl| Box::new(counts(ttl, false)), "counts");
    forgets(|ttl| Box::new(counts(ttl, true)), "counted values");
    forgets(|ttl| Box::new(normalize(ttl, false)), "normalized");
    forgets(|ttl| Box::new(normalize(ttl, true)), "materialized");
}

#[test]
fn what_was_kept_without_a_time_to_live_gets_one() {
    let makes: [fn(u64) -> Box<dyn OperatorFactory>; 2] =
        [|ttl| Box::new(counts(ttl, true)), |ttl| Box::new(normalize(ttl, true))];
    for make in makes {
        let mut o = Running::start(make(0), 1);
        o.process(rows(0..500, "a", 0));
        o.checkpoint();
        let all = o.store.keys();
        o.restore_as(make(3_600_000));
        pass_over(&mut o);
        assert_eq!(o.store.keys(), all);
        o.restore_as(make(1));
        pass_over(&mut o);
        // Twice: the first pass gives those that have no time yet one.
        pass_over(&mut o);
        assert_eq!(o.store.keys(), 0);
    }
}

#[test]
fn changes_of_keys_that_are_not_there_do_nothing() {
    for ttl in [0, 3_600_000] {
        for materializes in [false, true] {
            let mut o = Running::start(Box::new(normalize(ttl, materializes)), 1);
            assert!(o.process(rows(0..3, "a", 3)).is_empty());
            o.checkpoint();
            assert_eq!(o.store.keys(), 0);
            assert_eq!(kinds(&o.process(rows(0..3, "a", 2))), ["+I"]);
            assert_eq!(kinds(&o.process(rows(0..3, "a", 1))), ["-D"]);
        }
    }
}
