//! What statements of one script have in common.

use crate::compiled;
use crate::physical::{golden, graph, physical};
use std::collections::BTreeMap;
use weir_plan::physical::Operator;
use weir_plan::{Format, OperatorUids, explain, share};

fn shown(script: &str, format: Format) -> String {
    let c = compiled(script);
    explain(&c.inserts, c.mode, format)
}

/// How many readers of tables a script has.
#[track_caller]
fn sources(script: &str) -> usize {
    let graph = graph(script, false).unwrap_or_else(|e| panic!("{script}: {e}"));
    graph.nodes.iter().flat_map(|n| &n.chain).filter(|o| matches!(o, Operator::Source { .. })).count()
}

#[test]
fn a_table_has_one_reader() {
    golden(
        "INSERT INTO o SELECT k, k FROM src WHERE v > 1; INSERT INTO o SELECT k, CAST(v AS BIGINT) FROM src WHERE v < 5",
        "0 source src  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 sink o  Sink x4  [I]  <- 1 forward
         3 calc-2  Calc x4  [I]  <- 0 forward
         4 sink o-2  Sink x4  [I]  <- 3 forward",
    );
}

#[test]
fn its_reader_reads_the_columns_of_all() {
    golden(
        "INSERT INTO o SELECT k, k FROM src; INSERT INTO o SELECT CHAR_LENGTH(w), COUNT(*) FROM src GROUP BY w",
        "0 source src  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 sink o  Sink x4  [I]  <- 1 forward
         3 calc-2  Calc -> LocalAggregate x4  [I]  <- 0 forward
         4 aggregate  GlobalAggregate x4  [I,UA]  <- 3 hash[0]
         5 calc-3  Calc x4  [I,UA]  <- 4 forward ordered
         6 sink o-2  Sink x4  [I,UA]  <- 5 forward ordered",
    );
    let script = "CREATE TABLE t (a INT, b INT, c INT, d INT) WITH ('connector' = 'datagen');
        CREATE TABLE o (x INT) WITH ('connector' = 'blackhole');
        INSERT INTO o SELECT d FROM t WHERE a > 1; INSERT INTO o SELECT b FROM t; INSERT INTO o SELECT d FROM t WHERE a > 1;";
    assert_eq!(
        shown(script, Format::Text),
        "Sink  table: default_catalog.default_database.o  [append-only]
  Calc  select: d AS x  where: (a > 1)  reuse_id: 1  [append-only]
    Source  table: default_catalog.default_database.t  connector: datagen  columns: a, b, d  reuse_id: 2  [append-only]
Sink  table: default_catalog.default_database.o  [append-only]
  Calc  select: b AS x  [append-only]
    Reused  reference_id: 2  [append-only]
Sink  table: default_catalog.default_database.o  [append-only]
  Reused  reference_id: 1  [append-only]
"
    );
}

#[test]
fn what_is_equal_is_computed_once() {
    golden(
        "INSERT INTO o SELECT k, COUNT(*) FROM src GROUP BY k; INSERT INTO db SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UB,UA]  <- 1 hash[0]
         3 calc  Calc x4  [I,UB,UA]  <- 2 forward ordered
         4 sink o  Sink x4  [I,UB,UA]  <- 3 forward ordered
         5 sink db  Sink x4  [I,UB,UA]  <- 3 forward ordered",
    );
    // Within one statement, too.
    golden(
        "INSERT INTO o SELECT k, COUNT(*) FROM src GROUP BY k UNION ALL SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UB,UA]  <- 1 hash[0]
         3 calc  Calc x4  [I,UB,UA]  <- 2 forward ordered
         4 union  Union x4  [I,UB,UA]  <- 3 forward ordered  <- 3 forward ordered
         5 calc-2  Calc x4  [I,UB,UA]  <- 4 forward ordered
         6 sink o  Sink x4  [I,UB,UA]  <- 5 forward ordered",
    );
}

#[test]
fn what_differs_is_not_shared() {
    for (script, readers) in [
        ("INSERT INTO o SELECT k, k FROM src; INSERT INTO o SELECT k, 1 FROM src", 1),
        ("INSERT INTO o SELECT k, n FROM whole; INSERT INTO o SELECT k, v FROM src", 2),
        // Options of a hint.
        (
            "INSERT INTO o SELECT k, k FROM src /*+ OPTIONS('rows-per-second' = '5') */; INSERT INTO o SELECT k, 1 FROM src",
            2,
        ),
        (
            "INSERT INTO o SELECT k, k FROM src /*+ OPTIONS('rows-per-second' = '5') */;
             INSERT INTO o SELECT k, 1 FROM src /*+ OPTIONS('rows-per-second' = '5') */",
            1,
        ),
        // What becomes of bad records and how many read decides nothing about the state, but a reader cannot do both.
        (
            "INSERT INTO o SELECT k, v FROM failing /*+ OPTIONS('on-error' = 'skip') */; INSERT INTO o SELECT k, v FROM failing",
            2,
        ),
        (
            "INSERT INTO o SELECT k, v FROM src /*+ OPTIONS('scan.parallelism' = '2') */; INSERT INTO o SELECT k, v FROM src",
            2,
        ),
    ] {
        assert_eq!(sources(script), readers, "{script}");
    }
}

#[test]
fn what_is_not_deterministic_is_computed_for_each() {
    let random = "SELECT k, COUNT(*) FROM (SELECT k, RAND_INTEGER(5) AS r FROM src) GROUP BY k, r";
    let graph = physical(&format!("INSERT INTO o {random}; INSERT INTO o {random}"), false).expect("a plan");
    assert_eq!((graph.matches("GlobalAggregate").count(), graph.matches("  Source x").count()), (2, 1), "{graph}");
}

/// A replay of dead letters feeds the statement that they failed in.
#[test]
fn tables_with_dead_letters_have_a_reader_for_each_statement() {
    let script = "INSERT INTO o SELECT k, CAST(v AS BIGINT) FROM failing; INSERT INTO o SELECT k, k FROM failing";
    assert_eq!(sources(script), 2);
}

#[test]
fn settings_switch_it_off() {
    let two =
        "INSERT INTO o SELECT k, COUNT(*) FROM src GROUP BY k; INSERT INTO o SELECT k, COUNT(*) FROM src GROUP BY k;
        INSERT INTO o SELECT k, v FROM src";
    let counted = |settings: &[&str]| {
        let set: String =
            settings.iter().map(|s| format!("SET 'table.optimizer.reuse-{s}-enabled' = 'false'; ")).collect();
        let graph = physical(&format!("{set}{two}"), false).expect("a plan");
        (graph.matches("  Source x").count(), graph.matches("GlobalAggregate").count())
    };
    assert_eq!(counted(&[]), (1, 1));
    // A table is then read for each relation that is computed.
    assert_eq!(counted(&["source"]), (2, 1));
    assert_eq!(counted(&["sub-plan"]), (3, 2));
    assert_eq!(counted(&["source", "sub-plan"]), (3, 2));
    // What a statement names several times is one relation whatever is set.
    let named = "INSERT INTO o SELECT k, v FROM src UNION ALL SELECT v, k FROM src";
    for off in ["source", "sub-plan"] {
        assert_eq!(sources(&format!("SET 'table.optimizer.reuse-{off}-enabled' = 'false'; {named}")), 1, "{off}");
    }
}

#[test]
fn explain_shows_it_once() {
    let script = "CREATE TABLE t (k INT, v INT) WITH ('connector' = 'datagen');
        CREATE TABLE a (k INT, n BIGINT) WITH ('connector' = 'blackhole');
        CREATE TABLE b (k INT, n BIGINT) WITH ('connector' = 'print');
        INSERT INTO a SELECT k, COUNT(*) FROM t GROUP BY k; INSERT INTO b SELECT k, COUNT(*) FROM t GROUP BY k;";
    assert_eq!(
        shown(script, Format::Text),
        "Sink  table: default_catalog.default_database.a  [changes]
  Calc  select: k, $agg0 AS n  reuse_id: 1  [changes]
    Aggregate  by: k  compute: COUNT(*)  [changes]
      Source  table: default_catalog.default_database.t  connector: datagen  columns: k  [append-only]
Sink  table: default_catalog.default_database.b  [changes]
  Reused  reference_id: 1  [changes]
"
    );
    let json: serde_json::Value = serde_json::from_str(&shown(script, Format::Json)).expect("JSON");
    let second = &json["statements"][1]["inputs"][0];
    assert_eq!((&second["operator"], &second["reference_id"]), (&"Reused".into(), &1.into()), "{json}");
    let chart = shown(script, Format::Mermaid);
    assert_eq!((chart.matches("Source<br/>").count(), chart.matches("Sink<br/>").count()), (1, 2), "{chart}");
}

const THREE: &str = "CREATE TABLE t (k INT, v INT) WITH ('connector' = 'datagen');
    CREATE TABLE a (k INT, n BIGINT) WITH ('connector' = 'blackhole');
    CREATE TABLE b (k INT, n BIGINT) WITH ('connector' = 'blackhole');
    CREATE TABLE c (k INT, n BIGINT) WITH ('connector' = 'blackhole');";
const A: &str = "INSERT INTO a SELECT k, COUNT(*) FROM t GROUP BY k;";
const B: &str = "INSERT INTO b SELECT k, COUNT(*) FROM t GROUP BY k;";
const C: &str = "INSERT INTO c SELECT k, COUNT(*) FROM t GROUP BY k;";

/// The uids of a script's operators by the names that they have in the statements, when state is at these places; and which are copied.
fn placed(
    statements: &[&str],
    settings: &str,
    places: &OperatorUids,
) -> (OperatorUids, Vec<(String, String)>, Vec<String>) {
    let c = compiled(&format!("{settings} {THREE} {}", statements.concat()));
    let together = share(&c.statements, &c.settings, places).expect("one job");
    (together.places, together.copies, together.apart)
}

/// How many different operators serve each statement together with the others, as groups of sinks: `ab c`.
fn groups(places: &OperatorUids) -> String {
    let mut by_uid: BTreeMap<&String, String> = BTreeMap::new();
    for (name, uid) in places.iter().filter(|(name, _)| name.ends_with("source-1")) {
        let table = name.split('#').next().and_then(|t| t.rsplit('.').next()).expect("a table");
        by_uid.entry(uid).or_default().push_str(table);
    }
    let mut all: Vec<String> = by_uid.into_values().collect();
    all.sort();
    all.join(" ")
}

#[test]
fn state_stays_with_those_that_it_is_of() {
    let none = OperatorUids::new();
    let (one, ..) = placed(&[A], "", &none);
    assert!(one.iter().all(|(name, uid)| name == uid), "alone a statement is known as ever: {one:?}");
    let (two, ..) = placed(&[A, B], "", &none);
    assert_eq!(groups(&two), "ab");
    assert_eq!(placed(&[B, A], "", &none).0, two, "the order does not matter");
    assert_eq!(placed(&[B, A], "", &two), (two.clone(), vec![], vec![]));
    // Who comes later begins alone, and what is there stays as it is.
    let (three, copies, apart) = placed(&[A, B, C], "", &two);
    assert_eq!((groups(&three).as_str(), copies.len(), apart.len()), ("ab c", 0, 1));
    assert!(two.iter().all(|(name, uid)| three[name] == *uid));
    let (later, copies, _) = placed(&[C, A, B], "", &three);
    assert_eq!((&later, copies.len()), (&three, 0));
    let (more, ..) = placed(&[A, B, C], "", &one);
    assert_eq!(groups(&more), "a bc");
    // Who is left goes on where it was.
    let (left, copies, apart) = placed(&[B], "", &two);
    assert!(left.iter().all(|(name, uid)| two[name] == *uid) && copies.is_empty() && apart.is_empty());
    // And who comes back is new, and not with those who have gone on.
    let (back, ..) = placed(&[A, B], "", &left);
    assert_eq!(groups(&back), "a b");
    assert_eq!(back.values().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn who_no_longer_shares_goes_on_with_a_copy() {
    let (two, ..) = placed(&[A, B], "", &OperatorUids::new());
    let off = "SET 'table.optimizer.reuse-sub-plan-enabled' = 'false';";
    let (apart, copies, _) = placed(&[A, B], off, &two);
    assert!(apart.iter().all(|(name, uid)| name == uid), "{apart:?}");
    let wanted: std::collections::BTreeSet<(String, String)> =
        two.iter().map(|(name, uid)| (uid.clone(), name.clone())).collect();
    assert_eq!(copies.iter().cloned().collect::<std::collections::BTreeSet<_>>(), wanted);
    // What has come apart stays so, for nobody can say that the two are at one place again.
    let (again, copies, told) = placed(&[A, B], "", &apart);
    assert_eq!((again, copies.len(), told.len()), (apart, 0, 1));
    // With one of the two there is nobody to copy for.
    assert_eq!(placed(&[B], off, &two).1, vec![]);
}

#[test]
fn a_statement_with_a_uid_takes_its_state_along() {
    let given = |condition: &str| {
        format!("INSERT INTO a /*+ OPTIONS('uid' = 'one') */ SELECT k, COUNT(*) FROM t {condition} GROUP BY k;")
    };
    let (two, ..) = placed(&[&given(""), B], "", &OperatorUids::new());
    assert_eq!(two["one#uid/aggregate-1"], two[&format!("{}/aggregate-1", identity(B))]);
    // Changed, it reads on with the other, and counts on from what they counted together.
    let (changed, copies, apart) = placed(&[&given("WHERE v > 1"), B], "", &two);
    assert_eq!(changed["one#uid/source-1"], two["one#uid/source-1"]);
    let shared = &two["one#uid/aggregate-1"];
    let wanted = |name: &str| (shared.clone(), name.to_string());
    let other = format!("{}/aggregate-1", identity(B));
    assert_eq!(
        copies.into_iter().collect::<std::collections::BTreeSet<_>>(),
        [wanted("one#uid/aggregate-1"), wanted(&other)].into()
    );
    assert_eq!(apart, Vec::<String>::new());
}

/// What a statement's state is known by.
fn identity(statement: &str) -> String {
    compiled(&format!("{THREE} {statement}")).statements[0].identity.to_string()
}

#[test]
fn a_top_n_is_shared_with_its_range() {
    let both = |a: u32, b: u32| {
        let top = |into: &str, n: u32| {
            format!(
                "INSERT INTO {into} SELECT k, n FROM (SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM src) WHERE n <= {n}"
            )
        };
        let graph = physical(&format!("{}; {}", top("o", a), top("db", b)), false).unwrap_or_else(|e| panic!("{e}"));
        graph.matches("  Rank x").count()
    };
    assert_eq!((both(3, 3), both(3, 5)), (1, 2));
}
