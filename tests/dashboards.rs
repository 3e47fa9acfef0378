//! Dashboards and rules against a real Prometheus that scrapes a job which runs, and does not run well: every query of every panel
//! and rule gives something, and every name is one that the code declares.

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};
use weir_core::metrics::ALL;
use weir_tests::http::{Listening, ask};
use weir_tests::servers::{Kafka, Prometheus};
use weir_tests::{Job, Ran, repository};

fn dashboards() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = std::fs::read_dir(repository("dashboards/grafana"))
        .expect("the folder")
        .map(|e| {
            let path = e.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a file");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, json)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v[key].as_array().map_or(&[], Vec::as_slice)
}

/// What the rules are: names of those that record, and all expressions.
fn rules() -> (BTreeSet<String>, Vec<(String, String)>) {
    let text = std::fs::read_to_string(repository("dashboards/prometheus/weir-rules.yml")).expect("the rules");
    let (mut recorded, mut all, mut name) = (BTreeSet::new(), vec![], String::new());
    for line in text.lines() {
        let line = line.trim().trim_start_matches("- ");
        if let Some(r) = line.strip_prefix("record: ") {
            recorded.insert(r.to_string());
            name = r.to_string();
        } else if let Some(a) = line.strip_prefix("alert: ") {
            name = a.to_string();
        } else if let Some(e) = line.strip_prefix("expr: ") {
            all.push((name.clone(), e.to_string()));
        }
    }
    assert!(all.len() >= 12, "{all:?}");
    (recorded, all)
}

/// Every query: where it stands, and what it asks.
fn queries() -> Vec<(String, String)> {
    let mut all = vec![];
    for (file, d) in dashboards() {
        for p in list(&d, "panels") {
            for t in list(p, "targets") {
                let expr = t["expr"].as_str().expect("an expression");
                all.push((format!("{file}: {}", p["title"].as_str().unwrap_or_default()), expr.to_string()));
            }
        }
    }
    all
}

#[test]
fn every_name_is_declared() {
    let (recorded, of_rules) = rules();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for d in ALL {
        match d.kind {
            "histogram" => known.extend(["_bucket", "_sum", "_count"].map(|s| format!("{}{s}", d.name))),
            _ => drop(known.insert(d.name.to_string())),
        }
    }
    let mut used = BTreeSet::new();
    for (place, expr) in queries().iter().chain(&of_rules) {
        let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        for w in words.filter(|w| w.contains("weir_")) {
            assert!(known.contains(w) || recorded.contains(w), "{place}: there is no metric '{w}'");
            used.insert(w.to_string());
        }
    }
    // And every metric is looked at somewhere.
    for d in ALL {
        assert!(used.iter().any(|u| u.starts_with(d.name)), "no panel shows {}", d.name);
    }
}

#[test]
fn panels_say_what_they_show() {
    for (file, d) in dashboards() {
        assert!(d["schemaVersion"].as_u64() >= Some(39), "{file}");
        assert_eq!(format!("{}.json", d["uid"].as_str().unwrap_or_default()), file);
        let variables: Vec<&str> =
            list(&d["templating"], "list").iter().map(|v| v["name"].as_str().unwrap_or_default()).collect();
        assert!(variables.contains(&"job") && variables.len() <= 3, "{file}: {variables:?}");
        let mut ids = BTreeSet::new();
        let mut places: Vec<(u64, u64, u64, u64)> = vec![];
        for p in list(&d, "panels") {
            let title = p["title"].as_str().unwrap_or_default();
            assert!(ids.insert(p["id"].as_u64()), "{file}: {title} has another panel's number");
            assert!(p["description"].as_str().is_some_and(|d| d.len() > 8), "{file}: {title} says nothing");
            assert!(p["fieldConfig"]["defaults"]["unit"].is_string(), "{file}: {title} has no unit");
            let number = |k: &str| p["gridPos"][k].as_u64().expect("a number");
            let (x, y, w, h) = (number("x"), number("y"), number("w"), number("h"));
            assert!(x + w <= 24, "{file}: {title} is too wide");
            let apart = |o: &(u64, u64, u64, u64)| x >= o.0 + o.2 || o.0 >= x + w || y >= o.1 + o.3 || o.1 >= y + h;
            assert!(places.iter().all(apart), "{file}: {title} lies over another panel");
            places.push((x, y, w, h));
            for t in list(p, "targets") {
                let expr = t["expr"].as_str().unwrap_or_default();
                let operator = !expr.contains("$operator") || variables.contains(&"operator");
                assert!(expr.contains("$job") && operator, "{file}: {title} is not of the chosen job: {expr}");
            }
        }
    }
}

/// The table of docs/src/reference/metrics.md is made from the declarations; `WEIR_DOCS=overwrite` writes it.
#[test]
fn the_table_of_metrics_is_up_to_date() {
    let rows: String = ALL
        .iter()
        .map(|d| {
            let labels = if d.labels.is_empty() { "–".to_string() } else { d.labels.join(", ") };
            format!("| {} | {} | {labels} | {} |\n", d.name, d.kind, d.help.replace('|', "\\|"))
        })
        .collect();
    let page = "docs/src/reference/metrics.md";
    let path = repository(page);
    let text = std::fs::read_to_string(&path).expect(page);
    let (begin, end) = ("| metric | kind | labels | what |\n|---|---|---|---|\n", "\n<!-- end of the table -->");
    let (head, rest) = text.split_once(begin).expect("the table's head");
    let (table, tail) = rest.split_once(end).expect("the table's end");
    if std::env::var("WEIR_DOCS").is_ok_and(|v| v == "overwrite") {
        std::fs::write(&path, format!("{head}{begin}{rows}{end}{tail}")).expect(page);
        return;
    }
    assert!(table == rows, "{page}: WEIR_DOCS=overwrite cargo test --test dashboards writes the table anew");
}

#[test]
fn alerts_are_as_tested() {
    for (tool, arguments) in
        [("check", vec!["rules", "weir-rules.yml"]), ("test", vec!["rules", "weir-rules-test.yml"])]
    {
        let ran: Ran = Command::new("promtool")
            .arg(tool)
            .args(arguments)
            .current_dir(repository("dashboards/prometheus"))
            .output()
            .expect("promtool: tests/servers/install gets it")
            .into();
        ran.succeeded();
    }
}

/// A job that reads a topic, calls a function that fails for some rows, counts, writes a topic, and is started again now and then.
fn job(kafka: &Kafka) -> Job {
    let with = |topic: &str, more: &str| {
        format!(
            "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}', {more})",
            kafka.servers()
        )
    };
    let job = Job::new(&format!(
        "SET 'pipeline.name' = 'unwell'; SET 'parallelism.default' = '2'; SET 'execution.checkpointing.interval' = '200ms';
         SET 'job.autoscaler.stabilization.interval' = '2s';
         CREATE TABLE bad (reason STRING, origin STRING) WITH ('connector' = 'blackhole');
         CREATE TABLE t (k INT, v INT) {};
         CREATE FUNCTION picky AS 'picky' LANGUAGE PYTHON USING FILE 'picky.py' WITH ('on-error' = 'skip');
         CREATE TABLE stands (k INT, moment AS TIMESTAMP '2024-01-01 00:00:00', WATERMARK FOR moment AS moment) {};
         CREATE TABLE windows (a TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO windows SELECT window_end, COUNT(*)
           FROM TABLE(TUMBLE(TABLE stands, DESCRIPTOR(moment), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
         CREATE TABLE o (k INT, n BIGINT, s BIGINT) {};
         INSERT INTO o SELECT k, n, s FROM (SELECT k, COUNT(*) AS n, SUM(w) AS s
           FROM (SELECT k, picky(v) AS w FROM t) GROUP BY k);",
        with(
            "unwell",
            "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'on-error' = 'dead-letter', 'dead-letter.table' = 'bad'"
        ),
        with("unwell", "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'on-error' = 'skip'"),
        with("counts", "'format' = 'debezium-json', 'sink.delivery-guarantee' = 'exactly-once'"),
    ));
    job.file(
        "picky.py",
        "from weir_udf import udf\n\n@udf\ndef picky(v: int) -> int:\n    if v % 50 == 0:\n        raise ValueError('no fifties')\n    return v\n",
    );
    job
}

#[test]
fn every_query_gives_something() {
    let kafka = Kafka::start();
    kafka.topic("unwell", 2);
    kafka.topic("counts", 2);
    let job = job(&kafka);
    let running = Listening::start(&job, &[], &[]);
    let prometheus = Prometheus::start(&running.address, &repository("dashboards/prometheus/weir-rules.yml"));
    let query = |expr: &str| -> Result<Vec<f64>, String> {
        let encoded: String = expr.bytes().map(|b| format!("%{b:02X}")).collect();
        let form = "Content-Type: application/x-www-form-urlencoded";
        let answer = ask(&prometheus.address(), "POST", "/api/v1/query", &[form], &format!("query={encoded}"));
        let v: Value = serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {}", answer.body))?;
        if v["status"] != "success" {
            return Err(v["error"].as_str().unwrap_or("?").to_string());
        }
        let values = list(&v["data"], "result").iter();
        Ok(values.filter_map(|r| r["value"][1].as_str()?.parse().ok()).collect())
    };
    // Records come all the while, one in twenty of them broken.
    let produce = |from: u32| {
        let lines: String = (from..from + 2_000)
            .map(
                |i| if i % 20 == 0 { "{broken\n".to_string() } else { format!("{{\"k\": {}, \"v\": {i}}}\n", i % 300) },
            )
            .collect();
        kafka.fed_tool("org.apache.kafka.tools.ConsoleProducer", &["--topic", "unwell"], &lines);
    };
    let asked: Vec<(String, String)> = queries()
        .into_iter()
        .map(|(place, q)| {
            (
                place,
                q.replace("$__rate_interval", "15s")
                    .replace("[5m]", "[15s]")
                    .replace("$job", "unwell")
                    .replace("$operator", ".*"),
            )
        })
        // What an alert compares, whether it holds or not.
        .chain(rules().1.into_iter().map(|(name, e)| (name, e.replace(" > ", " > bool "))))
        .collect();
    let since = Instant::now();
    let mut rounds = 0;
    loop {
        produce(rounds * 2_000);
        rounds += 1;
        let empty: Vec<String> = asked
            .iter()
            .filter_map(|(place, q)| match query(q) {
                Err(e) => panic!("{place}: {q}: {e}"),
                Ok(values) => values.iter().all(|v| v.is_nan()).then(|| format!("{place}: {q}")),
            })
            .collect();
        if empty.is_empty() && rounds > 3 {
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(300),
            "nothing comes of {}\n{}",
            empty.join("\n"),
            running.said()
        );
    }
    // It is seen that it is not well.
    for q in [
        "sum(weir_operator_row_errors_total{outcome=\"dead_letter\"}) > 50",
        "sum(weir_function_errors_total{function=\"picky\",reason=\"exception\"}) > 20",
        "weir_build_info{job_name=\"unwell\"} == 1",
        "sum(weir_source_lag_records) >= 0",
    ] {
        assert!(query(q).is_ok_and(|v| !v.is_empty()), "{q}: {}", running.said());
    }
    // What Prometheus' own checker thinks of the names.
    let mut lint = Command::new("promtool");
    lint.args(["check", "metrics"]).stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = lint.spawn().expect("promtool");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), running.get("/metrics").as_bytes())
        .expect("metrics");
    let out: Ran = child.wait_with_output().expect("its end").into();
    assert_eq!(out.code, Some(0), "{}{}", out.out, out.err);
}
