//! Relations that several others read.

use crate::compiled;
use weir_plan::{Format, Plan, explain};

const TABLES: &str = "CREATE TABLE t (k INT, v INT, w STRING, d AS k + 1) WITH ('connector' = 'datagen');
        CREATE VIEW seen AS SELECT k, v, w FROM t WHERE v > 0;
        CREATE TABLE o (k INT, n BIGINT) WITH ('connector' = 'blackhole');";

fn shown(query: &str) -> String {
    let c = compiled(&format!("{TABLES} INSERT INTO o {query};"));
    explain(&c.inserts, c.mode, Format::Text)
}

/// How many relations of a plan are read by several.
fn shared(query: &str) -> usize {
    let mut n = 0;
    compiled(&format!("{TABLES} INSERT INTO o {query};")).inserts[0]
        .plan
        .each(&mut |p| n += usize::from(matches!(p, Plan::Shared(_))));
    n
}

#[test]
fn what_is_named_twice_is_computed_once() {
    assert_eq!(
        shown(
            "WITH c AS (SELECT k, COUNT(*) AS n, MAX(w) AS w, MIN(v) AS v FROM seen GROUP BY k)
                 SELECT k, n FROM c WHERE v > 5 UNION ALL SELECT v, n FROM c"
        ),
        "Sink  table: default_catalog.default_database.o  [changes]
  Union    [changes]
    Calc  select: k, n  where: (v > 5)  [changes]
      Calc  select: k, $agg0 AS n, $agg2 AS v  reuse_id: 1  [changes]
        Aggregate  by: k  compute: COUNT(*), MIN(v)  [changes]
          Calc  select: k, v  where: (v > 0)  [append-only]
            Source  table: default_catalog.default_database.t  connector: datagen  columns: k, v  [append-only]
    Calc  select: v AS k, n  [changes]
      Reused  reference_id: 1  [changes]
"
    );
}

#[test]
fn what_has_one_reader_or_differs_for_each_is_not_shared() {
    for (query, wanted) in [
        ("WITH c AS (SELECT * FROM seen) SELECT k, 1 FROM c", 0),
        ("SELECT k, v FROM t UNION ALL SELECT v, k FROM t", 1),
        ("SELECT k, v FROM seen UNION ALL SELECT v, k FROM seen", 1),
        ("SELECT k, v FROM seen UNION ALL SELECT v, k FROM seen UNION ALL SELECT d, v FROM t", 2),
        // Each draws numbers of its own, from rows that are read once.
        ("WITH c AS (SELECT k, RAND_INTEGER(5) AS n FROM t) SELECT k, n FROM c UNION ALL SELECT n, k FROM c", 1),
        ("SELECT k, v FROM t /*+ OPTIONS('number-of-rows' = '1') */ UNION ALL SELECT v, k FROM t", 0),
        ("SELECT k, v FROM t UNION ALL SELECT x.v, x.k FROM (SELECT * FROM t) AS x", 1),
    ] {
        assert_eq!(shared(query), wanted, "{query}");
    }
}

#[test]
fn every_reader_has_its_columns() {
    // The last reader is the only one of w, and is seen when the others' columns were settled.
    let text = shown(
        "WITH a AS (SELECT k, v, w, CAST(d AS BIGINT) AS d FROM t), b AS (SELECT * FROM a WHERE v > 1)
             SELECT k, d FROM b UNION ALL SELECT v, d FROM a UNION ALL SELECT CHAR_LENGTH(w), d FROM b",
    );
    assert!(text.contains("Calc  select: k, v, w, CAST((k + 1) AS BIGINT) AS d  reuse_id: 2"), "{text}");
    assert!(text.contains("columns: k, v, w  [append-only]"), "{text}");
    assert_eq!(text.matches("Source").count(), 1, "{text}");
}

#[test]
fn state_of_what_is_shared_is_of_a_statement_of_its_own() {
    let of = |query: &str| compiled(&format!("{TABLES} INSERT INTO o {query};")).inserts[0].identity.to_string();
    let all = [
        "WITH c AS (SELECT k, COUNT(*) AS n FROM t GROUP BY k) SELECT * FROM c UNION ALL SELECT * FROM c",
        "WITH c AS (SELECT k, COUNT(*) AS n FROM t GROUP BY k), d AS (SELECT k, COUNT(*) AS n FROM t GROUP BY k)
             SELECT * FROM c UNION ALL SELECT * FROM d",
        "WITH c AS (SELECT k, COUNT(*) AS n FROM t GROUP BY k), d AS (SELECT k, COUNT(*) AS n FROM t GROUP BY k)
             SELECT * FROM c UNION ALL SELECT * FROM d UNION ALL SELECT * FROM c UNION ALL SELECT * FROM d",
        "WITH c AS (SELECT k, COUNT(*) AS n FROM t GROUP BY k)
             SELECT * FROM c UNION ALL SELECT * FROM c UNION ALL SELECT * FROM c UNION ALL SELECT * FROM c",
    ]
    .map(of);
    let different: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
}

/// The second reader wants what the first one did not, and so does the third: the relation is pruned once more for all of them.
#[test]
fn readers_may_want_what_those_before_did_not() {
    let text = shown("SELECT k, 1 FROM seen UNION ALL SELECT v, 2 FROM seen UNION ALL SELECT v, 3 FROM seen");
    assert!(text.contains("select: k, v  where: (v > 0)  reuse_id: 1"), "{text}");
    assert_eq!(text.matches("Reused  reference_id: 1").count(), 2, "{text}");
}
