//! Aggregations over rows that come and go, against what SQLite makes of the rows that are left.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use weir_core::Value;
use weir_fast_tests::{Job, Row, Step, delete, insert};

/// Queries that both understand, over t (g STRING, n INT, s STRING).
const QUERIES: &[(&str, usize)] = &[
    ("SELECT g, COUNT(*), COUNT(n), SUM(n), MIN(n), MAX(n) FROM t GROUP BY g", 6),
    ("SELECT g, n, COUNT(*) FROM t GROUP BY g, n", 3),
    ("SELECT COUNT(*), COUNT(s), MIN(s), MAX(s) FROM t", 4),
    ("SELECT g, COUNT(DISTINCT n), SUM(DISTINCT n), COUNT(DISTINCT s) FROM t GROUP BY g", 4),
    ("SELECT g, SUM(n) FILTER (WHERE s = 'x'), COUNT(*) FILTER (WHERE n > 0) FROM t GROUP BY g", 3),
    ("SELECT g, SUM(n) FROM t WHERE s IS NOT NULL GROUP BY g HAVING COUNT(*) > 2", 2),
    ("SELECT s, MAX(c) FROM (SELECT s, g, COUNT(*) AS c FROM t GROUP BY s, g) GROUP BY s", 2),
    ("SELECT DISTINCT g, s FROM t", 2),
    ("SELECT c, COUNT(*) FROM (SELECT n, COUNT(*) AS c FROM t GROUP BY n) GROUP BY c", 2),
    ("SELECT g, SUM(CASE WHEN n < 0 THEN -n ELSE n END) FROM t GROUP BY g", 2),
    ("SELECT g, COUNT(*) FROM (SELECT g, n FROM t WHERE n > 0 UNION ALL SELECT s, n FROM t WHERE n < 3) GROUP BY g", 2),
];

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

type Plain = (Option<&'static str>, Option<i64>, Option<&'static str>);

fn values((g, n, s): Plain) -> [Value<'static>; 3] {
    let text = |t: Option<&'static str>| t.map_or(Value::Null, |t| Value::string(t.to_string()));
    [text(g), n.map_or(Value::Null, Value::Int), text(s)]
}

/// Rows that come and go, in batches with epochs between them, and what is left.
fn changes(seed: u64) -> (Vec<Step>, Vec<Plain>) {
    let mut random = Numbers(seed);
    let (mut steps, mut left) = (vec![], Vec::<Plain>::new());
    for _ in 0..6 {
        let mut rows: Vec<Row> = vec![];
        for _ in 0..20 {
            if !left.is_empty() && random.below(3) == 0 {
                let at = random.below(left.len() as u64) as usize;
                rows.push(delete(values(left.swap_remove(at))));
                continue;
            }
            let g = [Some("a"), Some("b"), Some("c"), None][random.below(4) as usize];
            let n = (random.below(5) > 0).then(|| random.below(7) as i64 - 3);
            let s = [Some("x"), Some("y"), Some("ä"), None][random.below(4) as usize];
            left.push((g, n, s));
            rows.push(insert(values((g, n, s))));
        }
        steps.extend([Step::Rows(rows), Step::Epoch]);
    }
    (steps, left)
}

/// What SQLite says to a query over rows, a text a row.
fn of_sqlite(rows: &[Plain], query: &str) -> Vec<String> {
    const PROGRAM: &str = "import json, sqlite3, sys
rows, query = json.load(sys.stdin)
db = sqlite3.connect(':memory:')
db.execute('CREATE TABLE t (g TEXT, n INT, s TEXT)')
db.executemany('INSERT INTO t VALUES (?, ?, ?)', rows)
for row in db.execute(query):
    print(', '.join('null' if v is None else str(v) for v in row))";
    let mut python = Command::new("python3")
        .args(["-I", "-X", "utf8", "-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3, which has SQLite");
    let asked = serde_json::json!([rows, query]).to_string();
    std::io::Write::write_all(&mut python.stdin.take().expect("its input"), asked.as_bytes()).expect("a question");
    let answer = python.wait_with_output().expect("an answer");
    assert!(answer.status.success(), "SQLite refuses {query}");
    let mut rows: Vec<String> = String::from_utf8_lossy(&answer.stdout).lines().map(str::to_string).collect();
    rows.sort();
    rows
}

/// What is left of rows that come and go.
fn added_up(changes: &[String]) -> Vec<String> {
    let mut all: BTreeMap<&str, i64> = BTreeMap::new();
    for change in changes {
        let row = change[3..].trim_end_matches(']');
        *all.entry(row).or_default() += if change.starts_with('+') { 1 } else { -1 };
    }
    assert!(all.values().all(|n| *n >= 0), "a row goes that did not come: {changes:?}");
    all.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row.to_string(), n as usize)).collect()
}

#[test]
fn aggregates_come_to_what_sqlite_says() {
    for (at, (query, columns)) in QUERIES.iter().enumerate() {
        let (steps, left) = changes(at as u64 + 1);
        let columns: Vec<String> = (0..*columns).map(|c| format!("CAST(c{c} AS STRING)")).collect();
        let names: Vec<String> = (0..columns.len()).map(|c| format!("c{c}")).collect();
        let typed: Vec<String> = names.iter().map(|n| format!("{n} STRING")).collect();
        let sql = format!(
            "CREATE TABLE t (g STRING, n INT, s STRING) WITH ('connector' = 'filesystem', 'path' = 'none', 'format' = 'debezium-json');
             CREATE TABLE o ({}) WITH ('connector' = 'print');
             INSERT INTO o SELECT {} FROM ({query}) AS q ({});",
            typed.join(", "),
            columns.join(", "),
            names.join(", ")
        );
        let ran = Job::new(&sql).source("t", steps).run();
        assert!(ran.result.as_ref().unwrap_or_else(|e| panic!("{query}: {e}")));
        assert_eq!(added_up(&ran.rows("o")), of_sqlite(&left, query), "{query}");
    }
}
