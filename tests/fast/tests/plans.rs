//! Plans as they are explained: of the examples, and of the statements in `plans/*.sql`, each with its plan beside it.
//! `WEIR_PLANS=overwrite` takes over what is there now; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use weir_connectors::REGISTRY;
use weir_fast_tests::Stubs;
use weir_plan::Format;
use weir_sql::compile;

/// Variables of the examples' scripts.
const VARIABLES: &[&str] = &[
    "KAFKA",
    "MYSQL",
    "MYSQL_PASSWORD",
    "POSTGRES",
    "REDIS",
    "REDIS_PASSWORD",
    "CLICKHOUSE_URL",
    "CHAT_URL",
    "SERVICE_URL",
    "EVENTS_KEY",
];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What EXPLAIN says of a script, and the operators that it becomes.
fn plan(script: &Path) -> String {
    let sql = std::fs::read_to_string(script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let value = |v: &str| if v.ends_with("_URL") { "http://none:1" } else { "none:1" };
    let sql = VARIABLES.iter().fold(sql, |sql, v| sql.replace(&format!("${{{v}}}"), value(v)));
    let base = script.parent().expect("a folder");
    let settings = BTreeMap::from([("parallelism.default".to_string(), "2".to_string())]);
    let compiled =
        compile(&sql, base, settings, &Stubs, REGISTRY).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let job = weir::assemble(&compiled, base).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let mut out = weir_plan::explain(&compiled.inserts, compiled.mode, Format::Text) + "\n";
    for n in &job.graph.nodes {
        let inputs: Vec<String> =
            n.inputs.iter().map(|e| format!("{} {:?}", job.graph.nodes[e.from].name, e.partitioning)).collect();
        out += &format!("{} x{} <- {}\n", n.name, n.parallelism, inputs.join(", "));
    }
    let sinks = compiled.inserts.iter().map(|i| format!("{}\n", i.identity));
    out + "\n" + &sinks.collect::<String>()
}

fn check(script: &Path, golden: &Path) -> Result<(), String> {
    let now = plan(script);
    if std::env::var("WEIR_PLANS").is_ok_and(|v| v == "overwrite") {
        std::fs::write(golden, &now).expect("a plan written");
    }
    let before = std::fs::read_to_string(golden).map_err(|e| format!("{}: {e}", golden.display()))?;
    if before == now { Ok(()) } else { Err(format!("{}: before:\n{before}\nnow:\n{now}", script.display())) }
}

#[test]
fn versions_of_functions_are_noted_with_their_statements() {
    let sql = "CREATE FUNCTION f AS 'f' LANGUAGE PYTHON USING FILE 'udf/ip_to_province.py';
        CREATE TABLE t (a STRING) WITH ('connector' = 'datagen');
        CREATE TABLE o (a STRING) WITH ('connector' = 'print');
        INSERT INTO o /*+ OPTIONS('uid' = 'one') */ SELECT f(a) FROM t;
        INSERT INTO o /*+ OPTIONS('uid' = 'two') */ SELECT a FROM t;";
    let base = here("../../examples/cdn-log-analysis");
    let compiled = compile(sql, &base, BTreeMap::new(), &Stubs, REGISTRY).expect("a script");
    let job = weir::assemble(&compiled, &base).expect("a job");
    let noted: Vec<(&str, &str)> = job.functions.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(noted, [("one#uid/f", "version of f")]);
}

#[test]
fn plans_stay() {
    let folder = here("tests/plans");
    let mut scripts: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for file in std::fs::read_dir(&folder).expect("plans").flatten().map(|f| f.path()) {
        if file.extension().is_some_and(|e| e == "sql") {
            scripts.insert(file.clone(), file.with_extension("txt"));
        }
    }
    for example in [
        "access-log-windows/job",
        "cdn-log-analysis/job",
        "cdn-log-analysis/job-rust",
        "cdn-log-analysis/job-http",
        "cdn-log-kafka-mysql/job",
        "event-rules/job",
        "warehouse/job",
    ] {
        let golden = format!("{}.txt", example.replace('/', "-"));
        scripts.insert(here("../../examples").join(format!("{example}.sql")), folder.join(golden));
    }
    assert!(scripts.len() > 8, "{scripts:?}");
    let other: Vec<String> = scripts.iter().filter_map(|(script, golden)| check(script, golden).err()).collect();
    assert!(other.is_empty(), "{}", other.join("\n\n"));
    let kept: BTreeSet<PathBuf> = std::fs::read_dir(&folder).expect("plans").flatten().map(|f| f.path()).collect();
    let orphans: Vec<&PathBuf> = kept
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "txt") && !scripts.values().any(|g| g == *f))
        .collect();
    assert!(orphans.is_empty(), "plans of nothing: {orphans:?}");
}
