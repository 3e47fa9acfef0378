//! A fingerprint of what a statement computes, made of the bound plan before it is optimized, never of how it is written or
//! printed. Names of columns and relations, comments and wording change nothing; what decides which rows a source reads, and what
//! is done with them, changes it.
//!
//! The bytes that are hashed are those of [`weir_expr::structure`] and the tags below, both frozen. Who changes them counts up the
//! version that is part of every identity.

use crate::catalog::Table;
use crate::plan::Plan;
use std::borrow::Cow;
use std::collections::HashMap;
use weir_expr::structure::{write_call, write_expr, write_number, write_numbers, write_text, write_type};
use xxhash_rust::xxh3::xxh3_128;

/// Options that say how a table is reached, how fast, and what becomes of bad records, but not what is in it: with others the same
/// state goes on. One that ends with a dot or begins with one stands for all that begin or end so. Whatever is not listed counts.
const HOW: &[&str] = &[
    "parallelism",
    ".parallelism",
    "rows-per-second",
    "username",
    "password",
    "password.file",
    "properties.",
    "lookup.",
    "sink.",
    "scan.startup.",
    "scan.bounded.",
    "scan.topic-partition-discovery.interval",
    "scan.fetch-size",
    "scan.auto-commit",
    "connection.",
    "ssl.",
    "tls.verify",
    "source.monitor-interval",
    ".ignore-parse-errors",
    ".fail-on-missing-field",
    ".auth.",
    ".basic-auth.",
    ".bearer-auth.",
    ".request.timeout",
    ".request.max-retries",
    ".ssl.",
    ".schema-registry.properties.",
];

fn decides(option: &str) -> bool {
    !HOW.iter().any(|h| match (h.strip_prefix('.'), h.strip_suffix('.')) {
        (Some(_), Some(_)) => option.contains(h),
        (Some(_), None) => option.ends_with(h),
        (None, Some(_)) => option.starts_with(h),
        (None, None) => option == *h,
    })
}

/// Parameters of URLs that say what is read, not how it is reached.
const WHERE: &[&str] = &["currentSchema", "db"];

/// What of an option decides: of an address what it names, not who asks, nor how. One that says nothing of that stays as it is.
fn deciding<'a>(option: &str, value: &'a str) -> Cow<'a, str> {
    let address = || {
        let (scheme, rest) = value.split_once("://").filter(|_| option == "url" || option.ends_with(".url"))?;
        let rest = rest.split('#').next()?;
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let host = host.rsplit('@').next()?;
        let kept: Vec<&str> =
            parameters.split('&').filter(|p| WHERE.contains(&p.split('=').next().unwrap_or_default())).collect();
        let mark = if kept.is_empty() { "" } else { "?" };
        Some(format!("{scheme}://{host}{path}{mark}{}", kept.join("&")))
    };
    address().map_or(Cow::Borrowed(value), Cow::Owned)
}

/// What of a table's options decides what is in it, as text, with its connector; secrets are no part of that.
pub fn what_table(table: &Table) -> String {
    let options = table.options.iter().filter(|(k, _)| decides(k));
    options.map(|(k, v)| format!("'{k}' = '{}'", deciding(k, v))).collect::<Vec<_>>().join(", ")
}

/// Appends what a table is that is read from or looked up in: its columns have the names of what the connector reads.
fn write_table(table: &Table, out: &mut Vec<u8>) {
    let options: Vec<_> = table.options.iter().filter(|(k, _)| decides(k)).collect();
    write_number(options.len(), out);
    for (k, v) in options {
        write_text(k, out);
        write_text(&deciding(k, v), out);
    }
    write_number(table.physical.len(), out);
    for (f, metadata) in table.physical.fields.iter().zip(&table.metadata) {
        write_text(&f.name, out);
        write_type(&f.ty, out);
        write_text(metadata.as_deref().unwrap_or_default(), out);
    }
    write_numbers(&table.primary_key, out);
    write_numbers(&table.partitioned_by, out);
}

/// The fingerprint of a relation. `shared` has those of the shared relations so far.
fn relation(plan: &Plan, shared: &mut HashMap<usize, u128>) -> u128 {
    if let Plan::Shared(one) = plan
        && let Some(known) = shared.get(&one.id)
    {
        return *known;
    }
    let mut out = vec![];
    let exprs = |all: &[weir_expr::Expr], out: &mut Vec<u8>| {
        write_number(all.len(), out);
        all.iter().for_each(|e| write_expr(e, out));
    };
    match plan {
        Plan::Scan { table, columns, schema: _ } => {
            out.push(0);
            write_table(table, &mut out);
            write_numbers(columns, &mut out);
        }
        Plan::Values { rows, schema: _ } => {
            out.push(1);
            write_number(rows.len(), &mut out);
            rows.iter().for_each(|r| exprs(r, &mut out));
        }
        Plan::Calc { input: _, condition, exprs: all, schema: _ } => {
            out.push(2);
            exprs(condition.as_slice(), &mut out);
            exprs(all, &mut out);
        }
        Plan::Expand { input: _, sets, keys, schema: _ } => {
            out.push(3);
            write_number(sets.len(), &mut out);
            sets.iter().for_each(|s| write_numbers(s, &mut out));
            write_numbers(keys, &mut out);
        }
        Plan::Aggregate { input: _, keys, calls, schema: _ } => {
            out.push(4);
            write_numbers(keys, &mut out);
            write_number(calls.len(), &mut out);
            calls.iter().for_each(|c| write_call(c, &mut out));
        }
        Plan::Normalize { input: _, keys, schema: _ } => {
            out.push(5);
            write_numbers(keys, &mut out);
        }
        Plan::Lookup { input: _, table, on, left, keep, columns, schema: _ } => {
            out.extend_from_slice(&[6, u8::from(*left)]);
            write_table(table, &mut out);
            write_numbers(&on.iter().flat_map(|(here, there)| [*here, *there]).collect::<Vec<_>>(), &mut out);
            write_numbers(keep, &mut out);
            write_numbers(columns, &mut out);
        }
        Plan::Union { inputs: _, schema: _ } => out.push(7),
        Plan::Shared(_) => out.push(8),
    }
    let inputs = plan.inputs();
    write_number(inputs.len(), &mut out);
    for i in inputs {
        let input = relation(i, shared);
        out.extend_from_slice(&input.to_le_bytes());
    }
    if let Plan::Shared(one) = plan {
        // Two that are the same in themselves are two.
        write_number(shared.len(), &mut out);
        shared.insert(one.id, xxh3_128(&out));
    }
    xxh3_128(&out)
}

/// The fingerprint of an INSERT: of its query, and of the key by which its sink keeps rows.
pub(crate) fn statement(sink: &Table, plan: &Plan) -> u128 {
    let mut out = relation(plan, &mut HashMap::new()).to_le_bytes().to_vec();
    write_numbers(&sink.primary_key, &mut out);
    let written = sink.sink_schema();
    write_number(written.len(), &mut out);
    written.fields.iter().for_each(|f| write_type(&f.ty, &mut out));
    xxh3_128(&out)
}

#[cfg(test)]
mod tests {
    use crate::testing::compiled;

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
    fn a_mode_matters_where_aggregates_are_kept() {
        let in_batch = |query: &str| {
            identity(&format!("SET 'execution.runtime-mode' = 'BATCH';\n{SOURCE}\nINSERT INTO dst {query};"))
        };
        for (query, same) in [
            ("SELECT g, g FROM src", true),
            ("SELECT DISTINCT g, g FROM src", true),
            ("SELECT g, CAST(COUNT(*) AS STRING) FROM src GROUP BY g", false),
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
}
