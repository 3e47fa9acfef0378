//! What a statement's state is known by.

use crate::compiled;

const SOURCE: &str =
    "CREATE TABLE src (g STRING, d INT, p DECIMAL(10, 2), t TIMESTAMP(3)) WITH ('connector' = 'filesystem',
    'path' = 'in.csv', 'format' = 'csv');
    CREATE TABLE dst (g STRING, v STRING) WITH ('connector' = 'print');";

/// What the state of a script's last statement is known by.
fn identity(script: &str) -> String {
    compiled(script).inserts.pop().map_or_else(|| panic!("no INSERT"), |i| i.identity.to_string())
}

fn of(query: &str) -> String {
    identity(&format!("{SOURCE}\nINSERT INTO dst {query};"))
}

fn query(expr: &str) -> String {
    of(&format!("SELECT g, CAST({expr} AS STRING) FROM src GROUP BY g"))
}

/// The state of users' jobs is known by these: they change only with the version.
#[test]
fn fingerprints_stay() {
    let golden = [
        ("SELECT g, CAST(d AS STRING) FROM src WHERE d > 1 AND NOT (p IS NULL)", "de93f9770d03eb1f"),
        ("SELECT g, CAST(SUM(p) AS STRING) FROM src GROUP BY g", "a1ce24bb7fd12925"),
        ("SELECT DISTINCT UPPER(g), CASE WHEN d % 2 = 0 THEN 'x' ELSE g || 'y' END FROM src", "d036688ed5d2ee5c"),
    ];
    let named = |hash: &str| format!("default_catalog.default_database.dst#v1-{hash}#0");
    let now: Vec<(String, &str)> = golden.iter().map(|(q, _)| (of(q), *q)).collect();
    let then: Vec<(String, &str)> = golden.iter().map(|(q, hash)| (named(hash), *q)).collect();
    assert_eq!(now, then);
}

#[test]
fn names_and_wording_do_not_matter() {
    let plain = of("SELECT g, CAST(SUM(d) AS STRING) FROM src WHERE d > 1 GROUP BY g");
    for same in [
        "SELECT x.g, CAST(SUM(x.d) AS STRING) AS total FROM src AS x WHERE x.d > 1 GROUP BY x.g",
        "select  g /* a comment */, cast(sum(d) as string) from src where (d > 1) group by g",
    ] {
        assert_eq!(of(same), plain, "{same}");
    }
    let renamed = SOURCE.replace("src", "orders");
    let of_renamed = identity(&format!(
        "{renamed}\nINSERT INTO dst SELECT g, CAST(SUM(d) AS STRING) FROM orders WHERE d > 1 GROUP BY g;"
    ));
    assert_eq!(of_renamed, plain);
}

#[test]
fn what_decides_matters() {
    let mut all = vec![
        query("SUM(d)"),
        query("SUM(p)"),
        query("SUM(DISTINCT d)"),
        query("SUM(d) FILTER (WHERE d > 1)"),
        query("SUM(d) FILTER (WHERE d > 2)"),
        query("COUNT(d)"),
        query("COUNT(*)"),
        query("LISTAGG(g)"),
        query("LISTAGG(g, ';')"),
        query("PERCENTILE(d, 0.5)"),
        query("PERCENTILE(d, 0.9)"),
        query("MAX(d + 1)"),
        query("MAX(d + 1.0)"),
        of("SELECT g, CAST(SUM(d) AS STRING) FROM src WHERE d > 1 GROUP BY g"),
        of("SELECT g, CAST(SUM(d) AS STRING) FROM src WHERE d > 1 GROUP BY g, p"),
        of("VALUES ('a', 'b')"),
        of("VALUES ('a', 'c')"),
        of("VALUES ('a', 'b'), ('a', 'b')"),
        of("SELECT g, CAST(COUNT(*) FILTER (WHERE d IS NOT NULL) AS STRING) FROM src GROUP BY g"),
    ];
    let plain = all[0].clone();
    let with = |from: &str, to: &str| {
        let script = format!("{SOURCE}\nINSERT INTO dst SELECT g, CAST(SUM(d) AS STRING) FROM src GROUP BY g;");
        assert!(script.contains(from), "{from}");
        identity(&script.replacen(from, to, 1))
    };
    for (from, to) in [
        ("'path' = 'in.csv'", "'path' = 'other.csv'"),
        ("'format' = 'csv'", "'format' = 'json'"),
        ("'format' = 'csv'", "'format' = 'csv', 'csv.field-delimiter' = ';'"),
        ("d INT", "e INT, d INT"),
        ("d INT", "d BIGINT"),
        (
            "'connector' = 'print'",
            "'connector' = 'print'); SET 'execution.runtime-mode' = 'batch'; CREATE TABLE x (a INT) WITH ('connector' = 'print'",
        ),
        (
            "'connector' = 'print'",
            "'connector' = 'print'); SET 'table.local-time-zone' = 'Asia/Tokyo'; CREATE TABLE x (a INT) WITH ('connector' = 'print'",
        ),
        ("v STRING)", "v STRING, PRIMARY KEY (g) NOT ENFORCED)"),
        ("(g STRING, v STRING)", "(g STRING, v VARCHAR(20))"),
    ] {
        all.push(with(from, to));
    }
    let different: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:#?}");
    // How a table is reached, and how fast, decides nothing.
    for (from, to) in [
        ("'path'", "'csv.ignore-parse-errors' = 'true', 'path'"),
        ("'path'", "'scan.parallelism' = '3', 'on-error' = 'skip', 'path'"),
        ("'connector' = 'print'", "'connector' = 'print', 'print-identifier' = 'x'"),
        (
            "'connector' = 'print'",
            "'connector' = 'print'); SET 'table.local-time-zone' = 'UTC'; CREATE TABLE x (a INT) WITH ('connector' = 'print'",
        ),
    ] {
        assert_eq!(with(from, to), plain, "{to}");
    }
}

#[test]
fn an_address_is_what_it_names() {
    let at = |url: &str| {
        identity(&format!(
            "CREATE TABLE t (g STRING) WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 't');
             CREATE TABLE dst (g STRING) WITH ('connector' = 'print');
             INSERT INTO dst SELECT DISTINCT g FROM t;"
        ))
    };
    let plain = at("jdbc:postgresql://127.0.0.1:5432/postgres");
    // As it was before who asks was left out.
    assert_eq!(plain, "default_catalog.default_database.dst#v1-4638f92583b26034#0");
    for same in [
        "jdbc:postgresql://127.0.0.1:5432/postgres?",
        "jdbc:postgresql://127.0.0.1:5432/postgres?user=a&password=p%40ss",
        "jdbc:postgresql://127.0.0.1:5432/postgres?sslmode=verify-full#x",
        "jdbc:postgresql://a:p@127.0.0.1:5432/postgres",
        "jdbc:postgresql://a:p@ss@127.0.0.1:5432/postgres?reWriteBatchedInserts=true",
    ] {
        assert_eq!(at(same), plain, "{same}");
    }
    let schema = at("jdbc:postgresql://127.0.0.1:5432/postgres?currentSchema=old");
    assert_eq!(at("jdbc:postgresql://127.0.0.1:5432/postgres?user=a&currentSchema=old&ssl=true"), schema);
    let others = [
        "jdbc:postgresql://other:5432/postgres",
        "jdbc:postgresql://127.0.0.1:5433/postgres",
        "jdbc:postgresql://127.0.0.1:5432/shop",
        "jdbc:mysql://127.0.0.1:5432/postgres",
        "jdbc:postgresql://127.0.0.1:5432/postgres?currentSchema=new",
    ];
    let all: std::collections::BTreeSet<String> = others.into_iter().map(at).chain([plain, schema]).collect();
    assert_eq!(all.len(), 7);
}

#[test]
fn columns_of_one_name_are_two() {
    let sum = |column: &str| {
        identity(&format!(
            "CREATE TABLE a (k INT, price INT, p AS PROCTIME()) WITH ('connector' = 'datagen');
             CREATE TABLE b (k INT, price INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:mysql://x/y', 'table-name' = 'b');
             CREATE TABLE o (k INT, price INT) WITH ('connector' = 'print');
             INSERT INTO o SELECT g.k, SUM({column}) FROM a AS g JOIN b FOR SYSTEM_TIME AS OF g.p AS d ON g.k = d.k GROUP BY g.k;"
        ))
    };
    assert_ne!(sum("g.price"), sum("d.price"));
}

#[test]
fn constants_of_a_long_in_are_apart() {
    let of_bytes = |last: &str| {
        let constants: Vec<String> = (0..20).map(|n| format!("X'{n:02}'")).collect();
        query(&format!("COUNT(*) FILTER (WHERE CAST(g AS BYTES) IN ({}, X'{last}'))", constants.join(", ")))
    };
    assert_ne!(of_bytes("80"), of_bytes("81"));
    assert_eq!(of_bytes("80"), of_bytes("80"));
}

#[test]
fn ranks_are_told_apart() {
    let top = |over: &str, n: &str| {
        of(&format!("SELECT g, g FROM (SELECT *, ROW_NUMBER() OVER ({over}) AS n FROM src) WHERE {n}"))
    };
    let all = [
        top("PARTITION BY g ORDER BY d", "n < 3"),
        top("PARTITION BY g ORDER BY d", "n < 4"),
        top("PARTITION BY g ORDER BY d DESC", "n < 3"),
        top("PARTITION BY g ORDER BY d NULLS LAST", "n < 3"),
        top("PARTITION BY g ORDER BY d, p", "n < 3"),
        top("PARTITION BY d ORDER BY d", "n < 3"),
        of("SELECT g, g FROM src ORDER BY d LIMIT 2"),
        of("SELECT g, g FROM src ORDER BY d LIMIT 2 OFFSET 1"),
    ];
    let different: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
    assert_eq!(top("PARTITION BY g ORDER BY d", "n < 3"), top("PARTITION BY g ORDER BY d ASC NULLS FIRST", "n < 3"));
}

#[test]
fn a_mode_matters_where_aggregates_are_kept() {
    let in_batch =
        |query: &str| identity(&format!("SET 'execution.runtime-mode' = 'BATCH';\n{SOURCE}\nINSERT INTO dst {query};"));
    for (query, same) in [
        ("SELECT g, g FROM src", true),
        ("SELECT DISTINCT g, g FROM src", true),
        ("SELECT g, CAST(COUNT(*) AS STRING) FROM src GROUP BY g", false),
        ("SELECT g, g FROM src ORDER BY d LIMIT 3", false),
    ] {
        assert_eq!(of(query) == in_batch(query), same, "{query}");
    }
}

#[test]
fn equal_statements_are_counted_and_others_not() {
    let insert = |q: &str| format!("INSERT INTO dst {q};");
    let (a, b) = (insert("SELECT g, g FROM src"), insert("SELECT g, 'x' FROM src"));
    let ids = |inserts: &[&String]| -> Vec<String> {
        let script = format!("{SOURCE}\n{}", inserts.iter().map(|s| s.as_str()).collect::<String>());
        compiled(&script).inserts.iter().map(|i| i.identity.to_string()).collect()
    };
    let (first, second) = (ids(&[&a, &b, &a]), ids(&[&b, &a, &a]));
    assert!(first[0].ends_with("#0") && first[1].ends_with("#0") && first[2].ends_with("#1"), "{first:?}");
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>(), second.iter().collect());
}
