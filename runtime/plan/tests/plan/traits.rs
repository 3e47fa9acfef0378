//! What is derived of relations.

use crate::compiled;
use weir_plan::{Mode, Monotonicity, derive};

#[test]
fn a_key_comes_through_what_keeps_its_values_apart() {
    let key = |query: &str| {
        let script = format!(
            "CREATE TABLE src (k BIGINT, p DECIMAL(10, 2), v INT) WITH ('connector' = 'datagen');
             CREATE VIEW counts AS SELECT k, p, COUNT(*) AS n FROM src GROUP BY k, p;
             {query};"
        );
        derive(&compiled(&script).inserts[0].plan, Mode::Streaming).traits.upsert_key.clone()
    };
    assert_eq!(key("SELECT n, p, k FROM counts"), Some(vec![2, 1]));
    assert_eq!(key("SELECT CAST(k AS STRING), CAST(p AS DECIMAL(12, 3)), n FROM counts"), Some(vec![0, 1]));
    assert_eq!(key("SELECT CAST(CAST(k AS DECIMAL(19, 0)) AS STRING), p FROM counts"), Some(vec![0, 1]));
    for lossy in [
        "SELECT CAST(k AS INT), p, n FROM counts",
        "SELECT k, CAST(p AS DECIMAL(10, 1)), n FROM counts",
        "SELECT CAST(k AS DOUBLE), p, n FROM counts",
        "SELECT CAST(CAST(k AS INT) AS BIGINT), p, n FROM counts",
        "SELECT CAST(k AS VARCHAR(3)), p, n FROM counts",
        "SELECT k / 2, p, n FROM counts",
        "SELECT k, n FROM counts",
    ] {
        assert_eq!(key(lossy), None, "{lossy}");
    }
}

const TABLES: &str = "CREATE TABLE src (k BIGINT, v INT, p AS PROCTIME()) WITH ('connector' = 'datagen');
    CREATE TABLE cdc (k BIGINT, v INT) WITH ('connector' = 'kafka', 'topic' = 't',
        'properties.bootstrap.servers' = 'b:1', 'format' = 'debezium-json');
    CREATE TABLE ups (k BIGINT, v INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'u',
        'properties.bootstrap.servers' = 'b:1', 'key.format' = 'json', 'value.format' = 'json');
    CREATE TABLE dim (k BIGINT, w INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://x/y',
        'table-name' = 'd');";

/// What is derived of a query's result.
fn of(query: &str, mode: Mode) -> weir_plan::Traits {
    derive(&compiled(&format!("{TABLES} {query};")).inserts[0].plan, mode).traits.clone()
}

/// What Flink's planner infers (FlinkChangelogModeInferenceProgram): what each operator gives, by what it is given.
#[test]
fn changelog_modes_are_those_of_flink() {
    for (query, streaming, batch) in [
        ("SELECT k, v FROM src WHERE v > 1", "[I]", "[I]"),
        ("VALUES (1), (2)", "[I]", "[I]"),
        ("SELECT k, COUNT(*) FROM src GROUP BY k", "[I,UB,UA]", "[I]"),
        ("SELECT COUNT(*) FROM src", "[I,UB,UA]", "[I]"),
        ("SELECT k, COUNT(*) FROM cdc GROUP BY k", "[I,UB,UA,D]", "[I]"),
        ("SELECT n, COUNT(*) FROM (SELECT k, COUNT(*) AS n FROM src GROUP BY k) GROUP BY n", "[I,UB,UA,D]", "[I]"),
        ("SELECT k, v, COUNT(*) FROM src GROUP BY ROLLUP (k, v)", "[I,UB,UA]", "[I]"),
        ("SELECT DISTINCT k FROM src", "[I]", "[I]"),
        (
            "SELECT * FROM src MATCH_RECOGNIZE (PARTITION BY k ORDER BY p MEASURES A.v AS v PATTERN (A B) DEFINE B AS B.v > A.v)",
            "[I]",
            "[I]",
        ),
        ("SELECT DISTINCT k FROM cdc", "[I,D]", "[I,D]"),
        ("SELECT * FROM cdc", "[I,UB,UA,D]", "[I,UB,UA,D]"),
        ("SELECT * FROM ups", "[I,UB,UA,D]", "[I,UB,UA,D]"),
        ("SELECT k FROM src UNION ALL SELECT k FROM src", "[I]", "[I]"),
        ("SELECT k FROM src UNION ALL SELECT k FROM cdc", "[I,UB,UA,D]", "[I,UB,UA,D]"),
        ("SELECT k FROM src UNION ALL SELECT COUNT(*) FROM src", "[I,UB,UA]", "[I]"),
        ("SELECT s.k, w FROM src AS s JOIN dim FOR SYSTEM_TIME AS OF s.p AS d ON s.k = d.k", "[I]", "[I]"),
        ("SELECT k, x FROM src, UNNEST(ARRAY[v]) AS t (x)", "[I]", "[I]"),
        ("SELECT k, x FROM cdc, UNNEST(ARRAY[v]) AS t (x)", "[I,UB,UA,D]", "[I,UB,UA,D]"),
        (
            "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM src) WHERE n < 3",
            "[I,UB,UA,D]",
            "[I]",
        ),
        (
            "SELECT k, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM src) WHERE n < 3",
            "[I,UB,UA]",
            "[I]",
        ),
        (
            "SELECT k, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM cdc) WHERE n < 3",
            "[I,UB,UA,D]",
            "[I]",
        ),
        ("SELECT k, v FROM src ORDER BY v DESC LIMIT 3", "[I,UB,UA,D]", "[I]"),
    ] {
        assert_eq!(of(query, Mode::Streaming).changelog.to_string(), streaming, "{query}");
        assert_eq!(of(query, Mode::Batch).changelog.to_string(), batch, "{query}");
    }
}

#[test]
fn what_is_taken_back_may_never_have_come() {
    for (query, balanced) in [
        ("SELECT k FROM src", true),
        ("SELECT k FROM cdc", false),
        ("SELECT k FROM ups", true),
        ("SELECT k, COUNT(*) FROM cdc GROUP BY k", true),
        ("SELECT k FROM src UNION ALL SELECT k FROM cdc", false),
        ("WITH c AS (SELECT k, v FROM cdc) SELECT k FROM c UNION ALL SELECT v FROM c", false),
        ("SELECT s.k, w FROM src AS s JOIN dim FOR SYSTEM_TIME AS OF s.p AS d ON s.k = d.k", true),
        (
            "SELECT n, w FROM (SELECT k, COUNT(*) AS n, MAX(p) AS p FROM src GROUP BY k) AS s
             JOIN dim FOR SYSTEM_TIME AS OF s.p AS d ON s.n = d.k",
            false,
        ),
    ] {
        assert_eq!(of(query, Mode::Streaming).balanced, balanced, "{query}");
    }
}

/// As Flink's FlinkRelMdModifiedMonotonicity says of the same queries.
#[test]
fn counts_rise_and_minima_fall() {
    use Monotonicity::{Constant, Decreasing, Increasing, None};
    for (query, wanted) in [
        ("SELECT k, v FROM src", vec![Constant, Constant]),
        (
            "SELECT k, COUNT(*), COUNT(v), MAX(v), MIN(v), SUM(v) FROM src GROUP BY k",
            vec![Constant, Increasing, Increasing, Increasing, Decreasing, None],
        ),
        (
            "SELECT n, k, 1, n + 1 FROM (SELECT k, COUNT(*) AS n FROM src GROUP BY k)",
            vec![Increasing, Constant, Constant, None],
        ),
        ("SELECT n, MAX(k) FROM (SELECT k, COUNT(*) AS n FROM src GROUP BY k) GROUP BY n", vec![None, None]),
        ("SELECT k, COUNT(*) FROM cdc GROUP BY k", vec![None, None]),
        ("SELECT k, COUNT(*) FROM src GROUP BY k UNION ALL SELECT k, COUNT(*) FROM src GROUP BY k", vec![None, None]),
    ] {
        assert_eq!(of(query, Mode::Streaming).monotonicity, wanted, "{query}");
    }
    assert_eq!(of("SELECT k, SUM(v) FROM src GROUP BY k", Mode::Batch).monotonicity, vec![Constant, Constant]);
}

#[test]
fn ranks_make_keys() {
    let key = |query: &str| of(query, Mode::Streaming).upsert_key;
    let counts = "(SELECT k, v, COUNT(*) AS c FROM src GROUP BY k, v)";
    let numbered = |by: &str| format!("(SELECT *, ROW_NUMBER() OVER ({by}) AS n FROM {counts})");
    // With its rank, a row is unique by that; the first one of each partition by the partition; others as they were before.
    let of_each = numbered("PARTITION BY k ORDER BY c DESC");
    assert_eq!(key(&format!("SELECT k, v, c, n FROM {of_each} WHERE n <= 3")), Some(vec![0, 3]));
    assert_eq!(key(&format!("SELECT v, k, c FROM {of_each} WHERE n = 1")), Some(vec![1]));
    assert_eq!(key(&format!("SELECT v, k, c FROM {of_each} WHERE n <= 3")), Some(vec![1, 0]));
    assert_eq!(key(&format!("SELECT c, n FROM {} WHERE n <= 3", numbered("ORDER BY c DESC"))), Some(vec![1]));
    assert_eq!(key("SELECT k, v FROM src ORDER BY v LIMIT 3"), None);
}
