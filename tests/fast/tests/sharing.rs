//! Statements that share what they read and compute give what they give alone.

use std::collections::BTreeMap;
use weir_core::Value;
use weir_fast_tests::{Job, Step, compiled, delete, insert};
use weir_plan::{Format, explain};

/// Numbers at random, repeatable from their seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const TABLES: &str = "CREATE TABLE t (k INT, v INT, w STRING, d AS v * 2) WITH ('connector' = 'datagen');
    CREATE TABLE u (k INT, v INT, w STRING) WITH ('connector' = 'datagen');
    CREATE VIEW seen AS SELECT k, v, w FROM t WHERE v > 2;
    CREATE VIEW counts AS SELECT k, COUNT(*) AS n, SUM(v) AS s, MAX(w) AS m FROM t GROUP BY k;";

/// A query of a number, a number and a text, of few shapes so that some are equal.
fn query(random: &mut Numbers, depth: usize) -> String {
    if depth > 0 && random.below(3) == 0 {
        return format!("{} UNION ALL {}", query(random, depth - 1), query(random, depth - 1));
    }
    let table = random.one(&["t", "t", "seen", "u"]);
    match random.below(6) {
        0 => format!("SELECT k, v, w FROM {table}"),
        1 => format!("SELECT v, k, UPPER(w) FROM {table} WHERE v > {}", random.below(4)),
        2 => "SELECT k, CAST(n AS INT), m FROM counts".to_string(),
        3 => "SELECT k, s, 'x' FROM counts WHERE n > 1".to_string(),
        4 => format!("SELECT MIN(v), CAST(COUNT(*) AS INT), w FROM {table} GROUP BY w"),
        _ => "SELECT d, k, w FROM t".to_string(),
    }
}

fn script(random: &mut Numbers) -> (String, usize) {
    let statements = 2 + random.below(4);
    let mut sql = TABLES.to_string();
    for n in 0..statements {
        sql += &format!("CREATE TABLE o{n} (a INT, b INT, c STRING) WITH ('connector' = 'print');\n");
    }
    for n in 0..statements {
        sql += &format!("INSERT INTO o{n} {};\n", query(random, 2));
    }
    (sql, statements)
}

fn steps(random: &mut Numbers) -> Vec<Step> {
    let mut steps = vec![];
    for n in 0..6 {
        let row = |random: &mut Numbers| {
            let w = random.one(&["x", "y", "z"]).to_string();
            insert([Value::Int(random.below(4) as i64), Value::Int(random.below(6) as i64), Value::string(w)])
        };
        steps.push(Step::Rows((0..5).map(|_| row(random)).collect()));
        steps.push(if n == 3 { Step::Outage } else { Step::Epoch });
    }
    steps
}

/// What the changes of a sink add up to.
fn net(rows: Vec<String>) -> BTreeMap<String, i64> {
    let mut net: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let (kind, row) = row.split_at(2);
        *net.entry(row.to_string()).or_default() += if kind.starts_with('+') { 1 } else { -1 };
    }
    net.retain(|_, n| *n != 0);
    net
}

#[test]
fn random_scripts_give_the_same_with_and_without() {
    let mut shared = 0;
    for seed in 1..=16u64 {
        let mut random = Numbers(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let (sql, statements) = script(&mut random);
        let (t, u) = (steps(&mut random), steps(&mut random));
        let results = |settings: &str| {
            let sql = format!("{settings}{sql}");
            let plans = compiled(&sql).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{sql}"));
            let text = explain(&plans.inserts, plans.mode, Format::Text);
            let mut job = Job::new(&sql);
            for (table, steps) in [("t", &t), ("u", &u)] {
                if text.contains(&format!("default_database.{table}  connector")) {
                    job = job.source(table, steps.clone());
                }
            }
            let ran = job.run();
            assert!(ran.result.as_ref().is_ok_and(|ended| *ended), "seed {seed}: {:?}\n{sql}", ran.result);
            let all: Vec<_> = (0..statements).map(|n| net(ran.rows(&format!("o{n}")))).collect();
            (all, text)
        };
        let (alone, separate) = results(
            "SET 'table.optimizer.reuse-sub-plan-enabled' = 'false';\nSET 'table.optimizer.reuse-source-enabled' = 'false';\n",
        );
        let (together, text) = results("");
        assert_eq!(together, alone, "seed {seed}\n{sql}\n{text}");
        let (sub_plans, _) = results("SET 'table.optimizer.reuse-source-enabled' = 'false';\n");
        assert_eq!(sub_plans, alone, "seed {seed}\n{sql}");
        shared += usize::from(text.matches("Source").count() < separate.matches("Source").count());
    }
    assert!(shared > 8, "only {shared} scripts had something to share");
}

#[test]
fn changes_reach_every_statement() {
    let values = |k: i64, v: i64| [Value::Int(k), Value::Int(v)];
    let sql = "CREATE TABLE t (k INT, v INT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b:1',
            'format' = 'debezium-json', 'scan.startup.mode' = 'earliest-offset');
        CREATE TABLE a (k INT, s INT) WITH ('connector' = 'print');
        CREATE TABLE b (k INT, n BIGINT) WITH ('connector' = 'print');
        CREATE TABLE c (k INT, s INT) WITH ('connector' = 'print');
        INSERT INTO a SELECT k, SUM(v) FROM t GROUP BY k; INSERT INTO b SELECT k, COUNT(*) FROM t GROUP BY k;
        INSERT INTO c SELECT k, SUM(v) FROM t GROUP BY k;";
    let steps = vec![
        Step::Rows(vec![insert(values(1, 2)), insert(values(1, 3)), insert(values(2, 4))]),
        Step::Epoch,
        Step::Rows(vec![delete(values(1, 2)), delete(values(2, 4))]),
        Step::Epoch,
        Step::Outage,
        Step::Rows(vec![insert(values(3, 1))]),
    ];
    let ran = Job::new(sql).source("t", steps).run();
    assert!(ran.result.as_ref().is_ok_and(|ended| *ended), "{:?}", ran.result);
    let of = |table: &str| net(ran.rows(table)).into_keys().collect::<Vec<_>>();
    assert_eq!(of("a"), ["[1, 3]", "[3, 1]"]);
    assert_eq!(of("b"), ["[1, 1]", "[3, 1]"]);
    assert_eq!(of("c"), of("a"));
}
