//! What connectors, formats and settings say of themselves: the book's tables are made of it, their examples are right, what is wrong
//! in an option is told.

use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_tests::{Job, Ran, repository, weir};

fn run(arguments: &[&str], folder: &Path) -> Ran {
    Command::new(weir()).args(arguments).current_dir(folder).output().expect("weir").into()
}

fn described(arguments: &[&str]) -> String {
    run(&[&["describe"], arguments].concat(), &repository(".")).succeeded().out
}

fn pages(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages(&path, all);
        } else if path.extension().is_some_and(|e| e == "md") {
            all.push(path);
        }
    }
}

/// The tables of the book are what `weir describe` says; `WEIR_DOCS=overwrite` writes them.
#[test]
fn the_tables_of_the_book_are_up_to_date() {
    let (begin, end) = ("\n<!-- weir describe ", "<!-- end of weir describe -->");
    let overwrite = std::env::var("WEIR_DOCS").is_ok_and(|v| v == "overwrite");
    let mut all = vec![];
    pages(&repository("docs/src"), &mut all);
    let mut shown = vec![];
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a page");
        let mut now = String::new();
        let mut rest = text.as_str();
        while let Some((head, tail)) = rest.split_once(begin) {
            let (name, tail) = tail.split_once(" -->\n").expect("a marker's end");
            let (_, tail) = tail.split_once(end).expect("the end of a table");
            now += &format!("{head}{begin}{name} -->\n\n{}\n{end}", described(&[name, "--format", "markdown"]));
            shown.push(name.to_string());
            rest = tail;
        }
        now += rest;
        if overwrite {
            std::fs::write(&path, now).expect("a page");
        } else {
            let how = "WEIR_DOCS=overwrite cargo test --test descriptors writes the tables anew";
            assert!(text == now, "{}: {how}", path.display());
        }
    }
    let all: Vec<String> = descriptors().iter().map(|d| name(d).to_string()).collect();
    let without: Vec<&String> = all.iter().filter(|n| *n != "blackhole" && !shown.contains(n)).collect();
    assert!(without.is_empty(), "the book does not show the options of {without:?}");
}

fn descriptors() -> Vec<Json> {
    let list: Json = serde_json::from_str(&described(&["--format", "json"])).expect("JSON");
    list.as_array().expect("a list").clone()
}

fn name(d: &Json) -> &str {
    d["name"].as_str().expect("a name")
}

#[test]
fn examples_are_right() {
    let all = descriptors();
    assert!(all.len() > 20, "{all:?}");
    for d in all {
        let example = d["example"].as_str().expect("an example");
        assert!(example.contains(name(&d)), "{example}");
        let roles: Vec<&str> = d["roles"].as_array().expect("roles").iter().filter_map(Json::as_str).collect();
        assert!(!roles.is_empty());
        for role in roles {
            let uses = match role {
                "source" => {
                    "CREATE TABLE o WITH ('connector' = 'blackhole') LIKE t (EXCLUDING OPTIONS); INSERT INTO o SELECT * FROM t;"
                }
                "sink" => {
                    "CREATE TABLE g WITH ('connector' = 'datagen') LIKE t (EXCLUDING OPTIONS EXCLUDING CONSTRAINTS);
                     INSERT INTO t SELECT * FROM g;"
                }
                _ => {
                    "CREATE TABLE g (k BIGINT, p AS PROCTIME()) WITH ('connector' = 'datagen');
                     SELECT g.k, t.name FROM g JOIN t FOR SYSTEM_TIME AS OF g.p AS t ON g.k = t.id;"
                }
            };
            // A subject is where a schema goes that is written.
            let job = Job::new(&format!("{example};\n{uses}"));
            job.file("person.proto", "syntax = \"proto3\";\nmessage Person { int64 id = 1; string name = 2; }\n");
            let ran = run(&["check", "job.sql"], job.folder.path());
            assert!(ran.code == Some(0), "{} as a {role}: {}", name(&d), ran.err);
        }
    }
}

/// What is said of a job that cannot be.
fn refused(script: &str, words: &[&str]) {
    let job = Job::new(script);
    run(&["check", "job.sql"], job.folder.path()).failed(2, words);
}

fn table(options: &str) -> String {
    format!("CREATE TABLE t (a INT) WITH ({options});\nSELECT * FROM t;")
}

#[test]
fn what_is_wrong_in_an_option_is_told_with_its_place() {
    for (options, words) in [
        (
            "'connector' = 'filesystm', 'path' = 'x'",
            &["line 1, column 30", "no connector 'filesystm'", "mean 'filesystem'"][..],
        ),
        (
            "'connector' = 'print'",
            &["the connector 'print' of table 't' is no source", "as a source there are: filesystem, datagen"],
        ),
        ("'connector' = 'datagen', 'rows-per-secnd' = '1'", &["no option 'rows-per-secnd'", "mean 'rows-per-second'"]),
        (
            "'connector' = 'datagen', 'rows-per-second' = 'fast'",
            &["line 1, column 55", "'rows-per-second' is a number", "not 'fast'"],
        ),
        ("'connector' = 'datagen', 'rows-per-second' = '0'", &["'rows-per-second' is a number"]),
        ("'connector' = 'datagen', 'fields.b.min' = '1'", &["no option 'fields.b.min'"]),
        (
            "'connector' = 'datagen', 'fields.a.kind' = 'sequenced'",
            &["'fields.a.kind' is random or sequence", "mean 'sequence'"],
        ),
        ("'connector' = 'datagen', 'fields.a.null-rate' = '2'", &["'fields.a.null-rate' is a number, 0 to 1, not '2'"]),
        ("'connector' = 'datagen', 'parallelism' = '65'", &["'parallelism' is a whole number, 1 to 64, not '65'"]),
        ("'connector' = 'filesystem', 'format' = 'csv'", &["lacks the option 'path'"]),
        ("'connector' = 'filesystem', 'path' = 'x', 'format' = 'cvs'", &["no format 'cvs'", "mean 'csv'"]),
        ("'connector' = 'filesystem', 'path' = 'x', 'format' = 'avro'", &["avro goes with messages, not with files"]),
        (
            "'connector' = 'filesystem', 'path' = 'x', 'format' = 'csv', 'csv.quote-character' = '--'",
            &["'csv.quote-character' is one ASCII character"],
        ),
        (
            "'connector' = 'filesystem', 'path' = 'x', 'format' = 'csv', 'json.ignore-parse-errors' = 'true'",
            &["no option 'json.ignore-parse-errors'"],
        ),
        (
            "'connector' = 'filesystem', 'path' = 'x', 'format' = 'csv', 'source.monitor-interval' = 'often'",
            &["'source.monitor-interval' is a duration such as '10 s'", "not 'often'"],
        ),
        (
            "'connector' = 'filesystem', 'path' = 'x', 'format' = 'csv', 'source.path.regex-pattern' = '('",
            &["'source.path.regex-pattern'", "no regular expression"],
        ),
    ] {
        refused(&table(options), words);
    }
    // What is only of another role is not looked at, as the table may be of both.
    let job = Job::new(&table(
        "'connector' = 'filesystem', 'path' = 'x', 'format' = 'json', 'sink.rolling-policy.file-size' = 'big'",
    ));
    run(&["check", "job.sql"], job.folder.path()).succeeded();
}

#[test]
fn options_of_functions_and_inserts_are_checked() {
    for (options, words) in [
        ("'memroy' = '1gb'", &["line 1, column 66", "the function 'f' has no option 'memroy'", "mean 'memory'"][..]),
        ("'timeout' = 'long'", &["'timeout' is a duration", "not 'long'"]),
        ("'parallelism' = '65'", &["'parallelism' is a whole number, 1 to 64, not '65'"]),
        ("'network' = 'example.com'", &["'network'", "host:port, not 'example.com'"]),
        ("'on-error' = 'skipp'", &["mean 'skip'"]),
    ] {
        // It is not called.
        let job = Job::new(&format!(
            "CREATE FUNCTION f AS 'f' LANGUAGE PYTHON USING FILE 'f.py' WITH ({options});\nSELECT 1;"
        ));
        job.file("f.py", "");
        run(&["check", "job.sql"], job.folder.path()).failed(2, words);
    }
    let insert = |option: &str| {
        format!(
            "CREATE TABLE o (a INT) WITH ('connector' = 'blackhole');
             INSERT INTO o /*+ OPTIONS('{option}' = 'x y') */ SELECT 1;"
        )
    };
    refused(&insert("uid"), &["'uid'", "'x y' is no uid"]);
    refused(&insert("uidd"), &["an INSERT has no option 'uidd'", "mean 'uid'"]);
    refused(&insert("colour"), &["the connector 'blackhole' of table 'o' has no option 'colour'"]);
}

#[test]
fn metadata_is_what_is_described() {
    let with = |column: &str, options: &str| format!("CREATE TABLE t (a INT, {column}) WITH ({options});");
    let files = "'connector' = 'filesystem', 'path' = 'x', 'format' = 'json'";
    let read = "SELECT * FROM t;";
    refused(
        &format!("{}{read}", with("p STRING METADATA FROM 'file.pth'", files)),
        &["no metadata 'file.pth' (column 'p')", "mean 'file.path'"],
    );
    refused(
        &format!("{}INSERT INTO t SELECT 1, 'x';", with("p STRING METADATA FROM 'file.path'", files)),
        &["column 'p' is metadata that can only be read", "VIRTUAL"],
    );
    refused(
        &format!("{}{read}", with("p STRING METADATA", "'connector' = 'datagen'")),
        &["no metadata 'p'", "tables of 'datagen' have none"],
    );
}

/// What brings changes is planned as such: a MAX over it takes values back.
#[test]
fn changes_are_those_of_the_format() {
    for d in descriptors() {
        let (name, reads) = (name(&d), d["reads"].as_str().unwrap_or_default());
        if d["roles"].as_array().is_none_or(|r| !r.contains(&"source".into()))
            || reads == "as its format"
            || name == "raw"
        {
            continue;
        }
        let job = Job::new(&format!(
            "{};\nCREATE TABLE o WITH ('connector' = 'blackhole') LIKE t (EXCLUDING OPTIONS); INSERT INTO o SELECT * FROM t;",
            d["example"].as_str().expect("an example")
        ));
        job.file("person.proto", "syntax = \"proto3\";\nmessage Person { int64 id = 1; string name = 2; }\n");
        let plan = run(&["explain", "job.sql"], job.folder.path()).succeeded().out;
        let wanted = if reads == "insert-only" { "[append-only]" } else { "[changes]" };
        assert!(plan.lines().next().is_some_and(|l| l.ends_with(wanted)), "{name}: {plan}");
    }
}

#[test]
fn settings_are_checked() {
    for (setting, words) in [
        ("'state.cash-size' = '1mb'", &["no setting 'state.cash-size'", "mean 'state.cache-size'"][..]),
        ("'table.exec.state.tll' = '1 h'", &["mean 'table.exec.state.ttl'"]),
        ("'execution.runtime-mod' = 'batch'", &["mean 'execution.runtime-mode'"]),
        ("'pipeline.nam' = 'x'", &["mean 'pipeline.name'"]),
        ("'parallelism.default' = '0'", &["'parallelism.default' is a whole number, 1 to 64, not '0'"]),
        (
            "'restart-strategy.type' = 'fixed'",
            &["'restart-strategy.type' is none, fixed-delay, failure-rate or exponential-delay"],
        ),
    ] {
        refused(&format!("SET {setting}; SELECT 1;"), words);
    }
}

#[test]
fn there_is_a_description_by_name() {
    let here = repository(".");
    for words in ["kafka", "csv", "settings", "tables", "inserts", "functions", "commands", "connectors", "formats"]
        .map(|w| vec![w])
        .into_iter()
        .chain([vec![]])
    {
        assert!(described(&words).lines().count() > 1, "{words:?}");
    }
    let text = described(&["jdbc"]);
    for words in [
        "scan.fetch-size",
        "default '8192'",
        "rows are looked up",
        "'connector' = 'jdbc'",
        "accepted, and has no effect",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    run(&["describe", "kafak"], &here).failed(2, &["no connector or format 'kafak'", "did you mean 'kafka'?"]);
    let secrets: Vec<String> = descriptors()
        .iter()
        .flat_map(|d| d["options"].as_array().expect("options").clone())
        .filter(|o| o["secret"] == true)
        .map(|o| o["name"].as_str().expect("a name").to_string())
        .collect();
    for secret in ["password", "bearer-auth.token", "avro-confluent.basic-auth.user-info"] {
        assert!(secrets.iter().any(|s| s == secret), "{secret}: {secrets:?}");
    }
}
