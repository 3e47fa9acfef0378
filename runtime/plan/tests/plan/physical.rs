//! Golden plans: which operators a job's statements become, without an engine.

use crate::try_compile;
use weir_connectors::REGISTRY;
use weir_plan::physical::{Graph, Job, Operator, plan};

const TABLES: &str = "
    CREATE TABLE src (k BIGINT, v INT, w STRING, p AS PROCTIME()) WITH ('connector' = 'datagen');
    CREATE TABLE narrow (k BIGINT, v INT) WITH ('connector' = 'datagen', 'scan.parallelism' = '1');
    CREATE TABLE plain (k BIGINT, v INT) WITH ('connector' = 'datagen');
    CREATE TABLE cdc (k BIGINT, v INT) WITH ('connector' = 'kafka', 'topic' = 't',
        'properties.bootstrap.servers' = 'b:1', 'format' = 'debezium-json');
    CREATE TABLE ups (k BIGINT, v INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'u',
        'properties.bootstrap.servers' = 'b:1', 'key.format' = 'json', 'value.format' = 'json');
    CREATE TABLE dim (k BIGINT, d INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://x/y',
        'table-name' = 'd');
    CREATE TABLE letters (reason STRING, record BYTES) WITH ('connector' = 'kafka', 'topic' = 'l',
        'properties.bootstrap.servers' = 'b:1', 'format' = 'json');
    CREATE TABLE failing (k BIGINT, v INT) WITH ('connector' = 'kafka', 'topic' = 'f',
        'properties.bootstrap.servers' = 'b:1', 'format' = 'json',
        'on-error' = 'dead-letter', 'dead-letter.table' = 'letters');
    CREATE TABLE o (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
    CREATE TABLE strict (k BIGINT NOT NULL, n BIGINT) WITH ('connector' = 'blackhole');
    CREATE TABLE whole (k BIGINT NOT NULL, n BIGINT) WITH ('connector' = 'datagen');
    CREATE TABLE file (k BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'csv');
    CREATE TABLE db (k BIGINT, n BIGINT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://x/y', 'table-name' = 'b');
    CREATE TABLE keyed (k BIGINT, n BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'jdbc',
        'url' = 'jdbc:mysql://x/y', 'table-name' = 'c', 'sink.parallelism' = '2');";

/// The physical graph of a script in four subtasks, or what is wrong with it.
pub(crate) fn graph(script: &str, replay: bool) -> Result<Graph, String> {
    let c = try_compile(&format!("{TABLES} {script};")).map_err(|e| e.to_string())?;
    let planned = plan(&Job {
        inserts: &c.inserts,
        tables: &c.tables,
        settings: &c.settings,
        mode: c.mode,
        parallelism: 4,
        replay,
        registry: REGISTRY,
    });
    planned.map_err(|e| e.to_string())
}

/// The same as text.
pub(crate) fn physical(script: &str, replay: bool) -> Result<String, String> {
    graph(script, replay).map(|g| g.to_string())
}

#[track_caller]
pub(crate) fn golden(script: &str, wanted: &str) {
    let wanted: Vec<&str> = wanted.trim().lines().map(str::trim).collect();
    let found = physical(script, false).unwrap_or_else(|e| panic!("{script}: {e}"));
    assert_eq!(found.lines().collect::<Vec<_>>(), wanted, "{script}\n{found}");
}

#[test]
fn aggregations_have_a_local_stage_where_partial_results_merge() {
    // In one chain with the projection in front.
    golden(
        "INSERT INTO o SELECT k + 1, COUNT(*) FROM src GROUP BY k + 1",
        "0 source src  Source x4  [I]
         1 calc  Calc -> LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UA]  <- 1 hash[0]
         3 calc-2  Calc x4  [I,UA]  <- 2 forward ordered
         4 sink o  Sink x4  [I,UA]  <- 3 forward ordered",
    );
    // By itself behind anything else; without keys there is one group.
    golden(
        "INSERT INTO o (n) SELECT COUNT(*) FROM src",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x1  [I,UA]  <- 1 single
         3 calc  Calc x1  [I,UA]  <- 2 forward ordered
         4 sink o  Sink x1  [I,UA]  <- 3 forward ordered",
    );
    // What cannot be merged, changes whose beginning may be missing, and extremes over changes are computed in one stage.
    for (query, changelog) in [
        ("SELECT k, COUNT(DISTINCT v) FROM src GROUP BY k", "[I,UA]"),
        ("SELECT k, COUNT(v) FROM cdc GROUP BY k", "[I,UA,D]"),
        ("SELECT k, CAST(MAX(v) AS BIGINT) FROM ups GROUP BY k", "[I,UA,D]"),
    ] {
        let found = physical(&format!("INSERT INTO o {query}"), false).unwrap_or_else(|e| panic!("{query}: {e}"));
        assert!(
            found.contains(&format!("aggregate  Aggregate x4  {changelog}")) && !found.contains("Local"),
            "{found}"
        );
    }
    // Changes that are all there can be.
    golden(
        "INSERT INTO o SELECT k, COUNT(v) FROM ups GROUP BY k",
        "0 source ups  Source x4  [I,UA,D]
         1 changelog-normalize  Normalize x4  [I,UB,UA,D]  <- 0 hash[0]
         2 local-aggregate  LocalAggregate x4  [I,UB,UA,D]  <- 1 forward ordered
         3 aggregate  GlobalAggregate x4  [I,UA,D]  <- 2 hash[0]
         4 calc  Calc x4  [I,UA,D]  <- 3 forward ordered
         5 sink o  Sink x4  [I,UA,D]  <- 4 forward ordered",
    );
    let forgets = "SET 'table.exec.state.ttl' = '1 h'; INSERT INTO o SELECT k, COUNT(v) FROM ups GROUP BY k";
    assert!(!physical(forgets, false).expect("a plan").contains("Local"));
}

#[test]
fn in_batch_mode_results_do_not_change() {
    golden(
        "SET 'execution.runtime-mode' = 'batch'; INSERT INTO file SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I]  <- 1 hash[0]
         3 calc  Calc x4  [I]  <- 2 forward
         4 sink file  Sink x4  [I]  <- 3 forward",
    );
    let streaming = physical("INSERT INTO file SELECT k, COUNT(*) FROM src GROUP BY k", false);
    assert!(streaming.expect_err("refused").contains("only takes rows that come"));
}

#[test]
fn unions_take_changes_of_a_row_one_way() {
    golden(
        "INSERT INTO o SELECT k, k FROM src UNION ALL SELECT k, CAST(v AS BIGINT) FROM narrow",
        "0 source src  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 source narrow  Source x1  [I]
         3 calc-2  Calc x1  [I]  <- 2 forward
         4 union  Union x4  [I]  <- 1 forward  <- 3 rebalance
         5 calc-3  Calc x4  [I]  <- 4 forward
         6 sink o  Sink x4  [I]  <- 5 forward",
    );
    let changes = physical(
        "INSERT INTO o SELECT k, k FROM src UNION ALL SELECT k, n FROM (SELECT COUNT(*) AS k, COUNT(*) AS n FROM src)",
        false,
    );
    let changes = changes.expect("a plan");
    assert!(
        changes.contains("union  Union x4  [I,UB,UA]  <- 1 forward  <- ") && changes.contains(" hash[0, 1]"),
        "{changes}"
    );
}

#[test]
fn a_relation_with_several_readers_is_planned_once() {
    // Nothing is put into the chain of what has another reader.
    golden(
        "INSERT INTO o WITH c AS (SELECT k + 1 AS k, v FROM plain) SELECT k, COUNT(*) FROM c GROUP BY k
         UNION ALL SELECT k, CAST(v AS BIGINT) FROM c",
        "0 source plain  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 calc-2  Calc -> LocalAggregate x4  [I]  <- 1 forward
         3 aggregate  GlobalAggregate x4  [I,UB,UA]  <- 2 hash[0]
         4 calc-3  Calc x4  [I,UB,UA]  <- 3 forward ordered
         5 calc-4  Calc x4  [I]  <- 1 forward
         6 union  Union x4  [I,UB,UA]  <- 4 forward ordered  <- 5 forward
         7 calc-5  Calc x4  [I,UB,UA]  <- 6 forward ordered
         8 sink o  Sink x4  [I,UB,UA]  <- 7 forward ordered",
    );
}

#[test]
fn what_a_sink_asks_for_stands_in_front_of_it() {
    golden(
        "INSERT INTO strict SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UA]  <- 1 hash[0]
         3 calc  Calc -> Enforce x4  [I,UA]  <- 2 forward ordered
         4 sink strict  Sink x4  [I,UA]  <- 3 forward ordered",
    );
    // A source is in no chain.
    golden(
        "INSERT INTO strict SELECT * FROM whole",
        "0 source whole  Source x4  [I]
         1 constraints  Enforce x4  [I]  <- 0 forward
         2 sink strict  Sink x4  [I]  <- 1 forward",
    );
    // Rows of several keys of the query may share one of the sink's.
    golden(
        "INSERT INTO keyed SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UB,UA]  <- 1 hash[0]
         3 calc  Calc -> Enforce x4  [I,UB,UA]  <- 2 forward ordered
         4 sink-materialize  Materialize x2  [I,UA]  <- 3 hash[1]
         5 sink keyed  Sink x2  [I,UA]  <- 4 forward ordered",
    );
    golden(
        "SET 'table.exec.sink.upsert-materialize' = 'none'; INSERT INTO keyed SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UB,UA]  <- 1 hash[0]
         3 calc  Calc -> Enforce x4  [I,UB,UA]  <- 2 forward ordered
         4 sink keyed  Sink x2  [I,UB,UA]  <- 3 hash[1] ordered",
    );
}

#[test]
fn a_database_takes_the_querys_key() {
    golden(
        "INSERT INTO db SELECT k, COUNT(*) FROM src GROUP BY k",
        "0 source src  Source x4  [I]
         1 local-aggregate  LocalAggregate x4  [I]  <- 0 forward
         2 aggregate  GlobalAggregate x4  [I,UA]  <- 1 hash[0]
         3 calc  Calc x4  [I,UA]  <- 2 forward ordered
         4 sink db  Sink x4  [I,UA]  <- 3 forward ordered",
    );
    for mode in ["streaming", "batch"] {
        let keyless = format!("SET 'execution.runtime-mode' = '{mode}'; INSERT INTO db (n) SELECT COUNT(*) FROM src");
        let e = physical(&keyless, false).expect_err("refused");
        assert!(e.contains("has no primary key, and this query's results change without one"), "{e}");
    }
}

#[test]
fn lookups_take_rows_as_they_come() {
    golden(
        "INSERT INTO o SELECT s.k, CAST(d AS BIGINT) FROM src AS s JOIN dim FOR SYSTEM_TIME AS OF s.p AS d ON s.k = d.k",
        "0 source src  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 lookup dim  Lookup x4  [I]  <- 1 forward
         3 calc-2  Calc x4  [I]  <- 2 forward
         4 sink o  Sink x4  [I]  <- 3 forward",
    );
}

#[test]
fn collections_are_unnested_where_their_rows_are() {
    golden(
        "INSERT INTO o SELECT k, CAST(x AS BIGINT) FROM src LEFT JOIN UNNEST(ARRAY[v, 1]) AS t (x) ON TRUE",
        "0 source src  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 unnest  Unnest x4  [I]  <- 1 forward
         3 calc-2  Calc x4  [I]  <- 2 forward
         4 sink o  Sink x4  [I]  <- 3 forward",
    );
}

#[test]
fn dead_letters_have_a_sink_and_are_replayed() {
    let script = "INSERT INTO o SELECT k, CAST(v AS BIGINT) FROM failing; INSERT INTO o SELECT k, k FROM narrow";
    golden(
        script,
        "0 source failing  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 sink o  Sink x4  [I]  <- 1 forward
         3 source narrow  Source x1  [I]
         4 calc-2  Calc x1  [I]  <- 3 forward
         5 sink o-2  Sink x1  [I]  <- 4 forward
         6 dead letters  Calc x1  [I]  <- 0 dead letters single
         7 sink letters  Sink x1  [I]  <- 6 forward",
    );
    let replay = physical(script, true).expect("a plan");
    assert!(
        replay.starts_with(
            "0 source letters  DeadLetterSource x1  [I]\n1 replay failing  Replay x4  [I]  <- 0 rebalance\n"
        ) && replay.contains("3 sink o  Sink x4")
            && replay.contains("4 source narrow  Values x1"),
        "{replay}"
    );
}

#[test]
fn parallelism_is_bounded() {
    let e = physical("INSERT INTO o SELECT k, k FROM narrow /*+ OPTIONS('scan.parallelism' = '65') */", false);
    assert!(e.expect_err("refused").contains("option 'scan.parallelism' is a whole number, 1 to 64, not '65'"));
}

/// How the rows of a Top-N are kept, and which, as its operator shows it.
fn ranks(query: &str) -> Result<String, String> {
    let graph = graph(query, false)?;
    let shown = graph.nodes.iter().flat_map(|n| &n.chain).filter_map(|o| match o {
        Operator::Rank { ranks, number, strategy, .. } => Some(format!("{ranks:?} {number} {strategy:?}")),
        _ => None,
    });
    Ok(shown.collect::<Vec<_>>().join("; "))
}

#[test]
fn a_top_n_keeps_what_it_has_to() {
    golden(
        "INSERT INTO o SELECT k, n FROM (SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS n FROM src) WHERE n <= 3",
        "0 source src  Source x4  [I]
         1 calc  Calc x4  [I]  <- 0 forward
         2 rank  Rank x4  [I,UA]  <- 1 hash[0]
         3 calc-2  Calc x4  [I,UA]  <- 2 forward ordered
         4 sink o  Sink x4  [I,UA]  <- 3 forward ordered",
    );
    let numbered = |over: &str, of: &str, n: &str| {
        ranks(&format!("SELECT * FROM (SELECT *, ROW_NUMBER() OVER ({over}) AS n FROM {of}) WHERE {n}"))
            .expect("a plan")
    };
    let counts = "(SELECT k, v, COUNT(*) AS c, SUM(v) AS s FROM plain GROUP BY k, v)";
    assert_eq!(numbered("PARTITION BY k ORDER BY v", "plain", "n <= 3"), "(1, 3) true Append");
    // A count only ever rises: with the greatest first, who is out of range comes back by itself.
    assert_eq!(numbered("PARTITION BY k ORDER BY c DESC", counts, "n <= 3"), "(1, 3) true Update([0, 1])");
    assert_eq!(numbered("ORDER BY c DESC, v", counts, "n <= 3"), "(1, 3) true Update([0, 1])");
    assert_eq!(numbered("PARTITION BY k ORDER BY c", counts, "n <= 3"), "(1, 3) true Retract");
    assert_eq!(numbered("PARTITION BY k ORDER BY s DESC", counts, "n <= 3"), "(1, 3) true Retract");
    assert_eq!(numbered("PARTITION BY s ORDER BY c DESC", counts, "n <= 3"), "(1, 3) true Retract");
    assert_eq!(numbered("PARTITION BY k ORDER BY v", "cdc", "n <= 3"), "(1, 3) true Retract");
    assert_eq!(ranks("SELECT k FROM plain ORDER BY v LIMIT 5 OFFSET 2"), Ok("(3, 7) false Append".to_string()));
    assert_eq!(ranks("SELECT k FROM plain LIMIT 5"), Ok("(1, 5) false Append".to_string()));
}

#[test]
fn conditions_become_the_range_of_a_top_n() {
    let of = |n: &str| {
        let numbered = "SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM plain";
        ranks(&format!("SELECT k, v FROM ({numbered}) WHERE {n}"))
    };
    for (n, wanted) in [
        ("n = 1", "(1, 1) false Append"),
        ("n < 4 AND v > 7", "(1, 3) false Append"),
        ("3 >= n AND n > 1", "(2, 3) false Append"),
        ("n BETWEEN 2 AND 1 + 3", "(2, 4) false Append"),
        ("n <= 5 AND n <> 2", "(1, 5) true Append"),
        ("n <= 3 AND n <= 2", "(1, 2) false Append"),
        // None: the condition stays.
        ("n < 1", "(1, 1) true Append"),
    ] {
        assert_eq!(of(n), Ok(wanted.to_string()), "{n}");
    }
    for unbounded in ["n > 2", "n <> 2", "n = v", "TRUE", "n < 3 OR v = 1"] {
        let numbered = "SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS n FROM plain";
        let e = ranks(&format!("SELECT k, n FROM ({numbered}) WHERE {unbounded}")).expect_err("a refusal");
        assert!(
            e.contains("ROW_NUMBER without an upper bound goes by one column in ascending order")
                && e.contains("WHERE n <= 10"),
            "{unbounded}: {e}"
        );
    }
    // Numbers that nobody reads need none.
    assert_eq!(ranks("SELECT k FROM (SELECT k, ROW_NUMBER() OVER (ORDER BY v) AS n FROM plain)"), Ok(String::new()));
    // Readers of a view have ranges of their own; two numbers have two orders.
    let view = "CREATE VIEW numbered AS SELECT k, v, ROW_NUMBER() OVER (ORDER BY v) AS n FROM plain;";
    let both = "SELECT k FROM numbered WHERE n <= 2 UNION ALL SELECT k FROM numbered WHERE n = 7";
    assert_eq!(ranks(&format!("{view} {both}")), Ok("(1, 2) false Append; (7, 7) false Append".to_string()));
}

/// Whether rows of a table without a time fail; what else is computed of its rows is what a scan of them gives.
fn checks_times(options: &str) -> bool {
    let script = format!(
        "CREATE TABLE timed (k BIGINT, ts TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED, WATERMARK FOR ts AS ts) WITH ({options});
         INSERT INTO o SELECT k, k FROM timed"
    );
    let graph = graph(&script, false).expect("a graph");
    let source = graph.nodes[0].chain.first().expect("a source");
    let Operator::Source { times: Some(times), columns, .. } = source else { panic!("{source:?}") };
    assert_eq!((times.strategy.columns, times.strategy.row_time), (columns.len(), 1), "{times:?}");
    times.timed.iter().any(|e| e.to_string().contains("$ROW_TIME"))
}

#[test]
fn only_rows_that_must_have_a_time_are_checked_for_it() {
    assert!(checks_times("'connector' = 'datagen'"));
    // A deleted row of an upsert table may have nothing but its key.
    assert!(!checks_times(
        "'connector' = 'upsert-kafka', 'topic' = 'u', 'properties.bootstrap.servers' = 'b:1',
         'key.format' = 'json', 'value.format' = 'json'"
    ));
}

/// The fields that are read of each column of the table `r`; none if all of the column is read.
fn fields_read(statements: &str) -> Vec<Option<Vec<usize>>> {
    let graph = graph(
        &format!(
            "CREATE TABLE r (a ROW<x INT, y INT, t TIMESTAMP(3)>, b INT) WITH ('connector' = 'datagen');
             CREATE TABLE timed (a ROW<x INT, y INT, t TIMESTAMP(3)>, b INT, t AS a.t, WATERMARK FOR t AS t)
               WITH ('connector' = 'datagen');
             CREATE TABLE late (a ROW<x INT, y INT, t TIMESTAMP(3)>, t TIMESTAMP(3)) WITH ('connector' = 'blackhole');
             {statements}"
        ),
        false,
    );
    let graph = graph.expect("a graph");
    let Some(Operator::Source { fields, .. }) = graph.nodes[0].chain.first() else { panic!("no source") };
    fields.iter().map(|f| f.as_ref().map(|f| f.iter().copied().collect())).collect()
}

#[test]
fn only_the_fields_of_a_row_that_are_read_are_asked_for() {
    let one = "INSERT INTO o SELECT CAST(a.x AS BIGINT), CAST(b AS BIGINT) FROM r WHERE a.y > 1;";
    assert_eq!(fields_read(one), [Some(vec![0, 1]), None]);
    let second = "INSERT INTO o SELECT EXTRACT(YEAR FROM a.t), 1 FROM r;";
    assert_eq!(fields_read(&format!("{one}{second}")), [Some(vec![0, 1, 2]), None], "of both readers");
    let whole = "INSERT INTO o SELECT CAST(b AS BIGINT), 1 FROM r WHERE a IS NOT NULL;";
    assert_eq!(fields_read(&format!("{one}{whole}")), [None, None]);
    assert_eq!(fields_read("INSERT INTO late SELECT * FROM (SELECT a, a.t FROM r);"), [None]);
    // What the watermarks need is read as well.
    let timed = "INSERT INTO o SELECT CAST(a.x AS BIGINT), 1 FROM timed";
    assert_eq!(fields_read(timed), [Some(vec![0, 2])]);
}
