//! Small jobs from SQL to rows, with epochs, outages and time that goes by.

use weir_core::Value;
use weir_core::error::ErrorKind;
use weir_fast_tests::{Job, Row, Step, delete, insert, update};

const SUMS: &str = "CREATE TABLE orders (item STRING, n INT) WITH ('connector' = 'datagen');
    CREATE TABLE sums (item STRING, n INT) WITH ('connector' = 'print');
    INSERT INTO sums SELECT item, SUM(n) FROM orders GROUP BY item;";

fn values(item: &str, n: i64) -> [Value<'static>; 2] {
    [Value::string(item.to_string()), Value::Int(n)]
}

fn order(item: &str, n: i64) -> Row {
    insert(values(item, n))
}

#[test]
fn sums_go_on_over_epochs() {
    let steps = vec![
        Step::Rows(vec![order("a", 1), order("b", 5)]),
        Step::Epoch,
        Step::Rows(vec![order("a", 2)]),
        Step::Epoch,
        Step::Rows(vec![order("a", 4), order("b", -5)]),
    ];
    let ran = Job::new(SUMS).source("orders", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    let of = |item: &str| -> Vec<String> {
        let rows = ran.rows("sums").into_iter();
        rows.filter(|r| r[3..].starts_with(item)).collect()
    };
    assert_eq!(of("a"), ["+I[a, 1]", "-U[a, 1]", "+U[a, 3]", "-U[a, 3]", "+U[a, 7]"]);
    assert_eq!(of("b"), ["+I[b, 5]", "-U[b, 5]", "+U[b, 0]"]);
}

/// A sink that replaces rows by key gets no old rows, unless one of them takes something back.
#[test]
fn old_rows_of_updates_go_to_readers_that_need_them() {
    let steps = [[order("a", 1), order("b", 7)], [order("a", 2), order("b", 8)]].map(|rows| Step::Rows(rows.to_vec()));
    let [first, second] = steps;
    let steps = vec![first, Step::Epoch, Step::Epoch, second];
    let of_a = |columns: &str, connector: &str, query: &str| {
        let sql = format!(
            "CREATE TABLE orders (item STRING, n INT, p AS PROCTIME()) WITH ('connector' = 'datagen');
             CREATE TABLE o ({columns}) WITH ('connector' = '{connector}'); INSERT INTO o {query}"
        );
        let ran = Job::new(&sql).source("orders", steps.clone()).run();
        assert!(ran.result.as_ref().expect("an end"));
        ran.rows("o").into_iter().filter(|r| r[3..].starts_with('a')).collect::<Vec<_>>()
    };
    const PLAIN: &str = "item STRING, n INT";
    let keyed = |key: &str| format!("{PLAIN}, PRIMARY KEY ({key}) NOT ENFORCED");
    const SUM: &str = "SELECT item, SUM(n) FROM orders GROUP BY item";
    let last = |rank: &str| {
        format!(
            "SELECT item, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY {rank}) AS r FROM orders) WHERE r = 1"
        )
    };
    let new_rows = ["+I[a, 1]", "+U[a, 3]"];
    assert_eq!(of_a(PLAIN, "blackhole", SUM), new_rows);
    assert_eq!(of_a(&keyed("item"), "blackhole", SUM), new_rows);
    assert_eq!(
        of_a(&keyed("item"), "blackhole", &format!("SELECT item, n + 1 FROM ({SUM}) AS t (item, n)")),
        ["+I[a, 2]", "+U[a, 4]"]
    );
    assert_eq!(of_a(PLAIN, "blackhole", &last("p DESC")), ["+I[a, 1]", "+U[a, 2]"]);
    assert_eq!(of_a(PLAIN, "blackhole", &last("n DESC")), ["+I[a, 1]", "+U[a, 2]"]);
    // The sink is told what is no longer there.
    let both_rows = ["+I[a, 1]", "-U[a, 1]", "+U[a, 3]"];
    assert_eq!(of_a(PLAIN, "print", SUM), both_rows);
    assert_eq!(of_a(PLAIN, "blackhole", &format!("{SUM} HAVING SUM(n) < 3")), both_rows[..2]);
    assert_eq!(of_a(&keyed("item, n"), "blackhole", SUM), both_rows);
    assert_eq!(of_a(&keyed("n"), "blackhole", SUM), ["+I[a, 1]", "-D[a, 1]", "+I[a, 3]"]);
}

#[test]
fn nothing_is_lost_or_twice_after_outages() {
    let steps = vec![
        Step::Rows(vec![order("a", 1)]),
        // What comes between an epoch and an outage is read again.
        Step::Epoch,
        Step::Rows(vec![order("a", 2)]),
        Step::Outage,
        Step::Rows(vec![order("a", 4)]),
        Step::Epoch,
        Step::Outage,
        Step::Rows(vec![order("a", 8)]),
    ];
    let ran = Job::new(SUMS).source("orders", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    let rows = ran.rows("sums");
    assert_eq!((rows.first(), rows.last()), (Some(&"+I[a, 1]".to_string()), Some(&"+U[a, 15]".to_string())));
    for pair in rows[1..].chunks(2) {
        assert!(pair[0].starts_with("-U[") && pair[1].starts_with("+U["), "{rows:?}");
    }
    let sum = |mark: &str| -> i64 {
        let number = |r: &String| r.strip_suffix(']')?.rsplit(' ').next()?.parse::<i64>().ok();
        rows.iter().filter(|r| r.starts_with(mark)).map(|r| number(r).expect("a number")).sum()
    };
    assert_eq!(sum("+") - sum("-"), 15);
}

#[test]
fn what_outages_are_is_asked_of_the_error() {
    // The fourth one is more than the strategy allows.
    let steps = (0..4).map(|_| Step::Outage).collect();
    let ran = Job::new(SUMS).source("orders", steps).run();
    let e = ran.result.expect_err("a failure");
    assert!(e.kind == ErrorKind::Io && e.to_string().contains("given up after 4 failures"), "{e}");
    // Whose row is wrong is not helped by another try.
    let sql = SUMS.replace("SUM(n)", "SUM(CAST(item AS INT))");
    let ran = Job::new(&sql).source("orders", vec![Step::Rows(vec![order("a", 1)])]).run();
    let e = ran.result.expect_err("a failure");
    assert!(e.kind == ErrorKind::Data && !e.is_retriable() && !e.to_string().contains("given up"), "{e}");
}

#[test]
fn changes_become_results() {
    let sql = "CREATE TABLE orders (item STRING, n INT) WITH ('connector' = 'filesystem', 'path' = 'none', 'format' = 'debezium-json');
        CREATE TABLE counts (n INT, items BIGINT) WITH ('connector' = 'print');
        INSERT INTO counts SELECT n, COUNT(*) FROM orders GROUP BY n;";
    let steps = vec![
        Step::Rows(vec![order("a", 1), order("b", 1)]),
        Step::Epoch,
        Step::Rows(vec![delete(values("a", 1)), order("a", 2)]),
        Step::Epoch,
        Step::Rows(vec![delete(values("b", 1))]),
    ];
    let ran = Job::new(sql).source("orders", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    let of_one: Vec<String> = ran.rows("counts").into_iter().filter(|r| r[3..].starts_with("1,")).collect();
    assert_eq!(of_one.last().map(String::as_str), Some("-D[1, 1]"), "{of_one:?}");
    assert!(ran.rows("counts").contains(&"+I[2, 1]".to_string()));
}

#[test]
fn upserts_become_changes() {
    let sql = "CREATE TABLE prices (item STRING, n INT, PRIMARY KEY (item) NOT ENFORCED)
          WITH ('connector' = 'upsert-kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'none:1', 'key.format' = 'json',
                'value.format' = 'json');
        CREATE TABLE doubled (item STRING, n INT) WITH ('connector' = 'print');
        INSERT INTO doubled SELECT item, n * 2 FROM prices;";
    let steps = vec![
        Step::Rows(vec![update(values("a", 1))]),
        Step::Epoch,
        Step::Rows(vec![update(values("a", 3)), delete([Value::string("a".to_string()), Value::Null])]),
    ];
    let ran = Job::new(sql).source("prices", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    assert_eq!(ran.rows("doubled"), ["+I[a, 2]", "-U[a, 2]", "+U[a, 6]", "-D[a, 6]"]);
}

#[test]
fn groups_are_forgotten_when_their_time_is_over() {
    let sql = format!("SET 'table.exec.state.ttl' = '1 h';\n{SUMS}");
    let day = 24 * 3_600_000;
    let steps = vec![Step::Rows(vec![order("a", 1)]), Step::Later(day), Step::Rows(vec![order("a", 2)])];
    let ran = Job::new(&sql).source("orders", steps.clone()).run();
    assert!(ran.result.as_ref().expect("an end"));
    assert_eq!(ran.rows("sums"), ["+I[a, 1]", "+I[a, 2]"]);
    // A hint is for one aggregation.
    let hinted = SUMS.replace("SELECT", "SELECT /*+ STATE_TTL('orders' = '1 h') */");
    let ran = Job::new(&hinted).source("orders", steps.clone()).run();
    assert_eq!(ran.rows("sums"), ["+I[a, 1]", "+I[a, 2]"]);
    let ran = Job::new(&sql.replace("SELECT", "SELECT /*+ STATE_TTL('orders' = '0 s') */"));
    assert_eq!(ran.source("orders", steps.clone()).run().rows("sums"), ["+I[a, 1]", "-U[a, 1]", "+U[a, 3]"]);
    // Without a time to live nothing is forgotten.
    let ran = Job::new(SUMS).source("orders", steps).run();
    assert_eq!(ran.rows("sums"), ["+I[a, 1]", "-U[a, 1]", "+U[a, 3]"]);
}

#[test]
fn results_of_batches_come_at_the_end() {
    let sql = format!("SET 'execution.runtime-mode' = 'batch';\n{SUMS}");
    let steps = vec![Step::Rows(vec![order("a", 1)]), Step::Epoch, Step::Rows(vec![order("a", 2)])];
    let ran = Job::new(&sql).source("orders", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    assert_eq!(ran.rows("sums"), ["+I[a, 3]"]);
}

#[test]
fn times_of_day_are_those_of_the_jobs_clock() {
    let sql = "CREATE TABLE orders (item STRING, n INT) WITH ('connector' = 'datagen');
        CREATE TABLE seen (item STRING, seconds BIGINT) WITH ('connector' = 'print');
        INSERT INTO seen SELECT item, UNIX_TIMESTAMP() FROM orders;";
    let hour = 3_600_000;
    let (a, b) = (Step::Rows(vec![order("a", 1)]), Step::Rows(vec![order("b", 1)]));
    let steps = vec![a, Step::Later(hour), b];
    let ran = Job::new(sql).source("orders", steps).run();
    assert!(ran.result.as_ref().expect("an end"));
    assert_eq!(ran.rows("seen"), ["+I[a, 1700000000]", "+I[b, 1700003600]"]);
}
