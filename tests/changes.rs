//! The sum of all changes is what a batch evaluation gives, for random rows, batch boundaries and epochs.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use weir_tests::Job;

/// Every query is a list of columns and what it is taken from.
const QUERIES: &[&str] = &[
    "SELECT k, COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v), AVG(v) FROM t GROUP BY k",
    "SELECT n, COUNT(*), MIN(k), MAX(s) FROM (SELECT k, COUNT(*) AS n, SUM(v) AS s FROM t GROUP BY k) GROUP BY n",
    "SELECT COUNT(DISTINCT v), SUM(DISTINCT v), COUNT(DISTINCT n) FILTER (WHERE v > 0) FROM t",
    "SELECT m, COUNT(DISTINCT k), SUM(DISTINCT m) FROM (SELECT k, MAX(v) AS m FROM t GROUP BY k) GROUP BY m",
    "SELECT k, n, COUNT(*), SUM(v) FROM t GROUP BY ROLLUP (k, n)",
    "SELECT DISTINCT c FROM (SELECT k, COUNT(*) AS c FROM t WHERE v IS NOT NULL GROUP BY k)",
    "SELECT k, s FROM (SELECT k, SUM(v) AS s FROM t GROUP BY k HAVING SUM(v) > 3) UNION SELECT k, v FROM t WHERE v < 0",
    "SELECT g, MIN(c), MAX(c) FROM (SELECT k, MOD(COUNT(*), 3) AS g, COUNT(DISTINCT v) AS c FROM t GROUP BY k) GROUP BY g",
    "SELECT c, COLLECT(k) FROM (SELECT k, COUNT(*) AS c FROM t GROUP BY k) GROUP BY c",
    "SELECT COUNT(DISTINCT c), PERCENTILE(c, 0.5), PERCENTILE(s, ARRAY[0.1, 0.9], c) FROM (SELECT k, COUNT(*) AS c, SUM(v) AS s FROM t GROUP BY k)",
];

type Rows = Vec<(Option<u8>, Option<i8>, String)>;

fn rows() -> impl Strategy<Value = Rows> {
    let key = proptest::option::weighted(0.9, 0u8..6);
    let value = proptest::option::weighted(0.9, -4i8..8);
    proptest::collection::vec((key, value, "[a-c]{0,2}"), 0..60)
}

fn sum(rows: &Rows, query: &str, arguments: &[&str]) -> BTreeMap<String, i64> {
    let job = Job::new(&format!(
        "CREATE TABLE t (k INT, v BIGINT, n STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv',
           'format' = 'csv', 'csv.null-literal' = 'null');\n{query};"
    ));
    let field = |v: Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
    let line = |(k, v, n): &(Option<u8>, Option<i8>, String)| {
        format!("{},{},{n}\n", field(k.map(i64::from)), field(v.map(i64::from)))
    };
    job.file("in.csv", rows.iter().map(line).collect::<String>());
    job.run(arguments).succeeded().rows()
}

#[test]
fn changes_add_up_to_the_batch_result() {
    let mut runner = TestRunner::new(Config { cases: 60, max_shrink_iters: 40, ..Config::default() });
    let input = (rows(), 0..QUERIES.len(), 1usize..9, 1usize..4);
    let property = |(rows, query, at_once, parallelism): (Rows, usize, usize, usize)| {
        // Over no rows at all a batch gives one row where nothing is grouped; a stream gives none, as in Flink.
        prop_assume!(!rows.is_empty());
        let query = QUERIES[query];
        let at_once = format!("table.exec.mini-batch.size={at_once}");
        let parallelism = format!("parallelism.default={parallelism}");
        let quick = ["--set", &at_once, "--set", &parallelism, "--set", "execution.checkpointing.interval=1ms"];
        let streamed = sum(&rows, query, &quick);
        let batch = sum(&rows, query, &["--set", "execution.runtime-mode=batch", "--set", "parallelism.default=1"]);
        prop_assert_eq!(streamed, batch, "{}", query);
        Ok(())
    };
    if let Err(e) = runner.run(&input, property) {
        panic!("{e}");
    }
}

#[test]
fn changes_on_the_real_log_add_up_too() {
    let script = |mode: &str| {
        format!(
            "CREATE TABLE log (line STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'raw');
             SET 'execution.runtime-mode' = '{mode}';
             SELECT n, COUNT(*), MIN(ip), MAX(`bytes`)
             FROM (SELECT ip, COUNT(*) AS n, SUM(CAST(CHAR_LENGTH(line) AS BIGINT)) AS `bytes`
                   FROM (SELECT line, SPLIT_INDEX(line, ' ', 0) AS ip FROM log) GROUP BY ip)
             GROUP BY n;",
            weir_tests::repository("tests/data/access.log.gz").display()
        )
    };
    let streamed = Job::new(&script("streaming")).run(&["--set", "table.exec.mini-batch.size=500"]).succeeded().rows();
    let batch = Job::new(&script("batch")).run(&[]).succeeded().rows();
    assert!(batch.len() > 20, "{} groups", batch.len());
    assert_eq!(streamed, batch);
}

#[test]
fn a_group_that_is_forgotten_takes_its_values_with_it() {
    // A row at a time, farther apart than the time to live; what is kept is also dropped from memory by the small cache.
    let job = Job::new(
        "SET 'table.exec.state.ttl' = '20ms';
         SET 'execution.checkpointing.interval' = '5ms';
         SELECT k, COUNT(DISTINCT v), SUM(DISTINCT v) FROM (VALUES ('a', 1), ('a', 2), ('a', 2), ('a', 4)) AS t (k, v)
         GROUP BY k;",
    );
    let slow = |arguments: &[&str]| {
        let mut c = job.command(arguments);
        c.env("WEIR_FAILPOINTS", "source-poll=sleep(80)");
        weir_tests::Ran::from(c.output().expect("weir")).succeeded()
    };
    let small = ["--set", "parallelism.default=1", "--set", "table.exec.mini-batch.size=1"];
    let forgotten = slow(&[&small[..], &["--fresh", "--set", "state.cache-size=1b"]].concat());
    assert_eq!(forgotten.out, "+I[a, 1, 1]\n+I[a, 1, 2]\n+I[a, 1, 2]\n+I[a, 1, 4]\n");
    let kept = slow(&[&small[..], &["--fresh", "--set", "table.exec.state.ttl=1h"]].concat());
    assert_eq!(kept.rows().into_keys().collect::<Vec<_>>(), ["[a, 3, 7]"]);
}
