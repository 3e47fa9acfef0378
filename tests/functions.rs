//! Functions in their sandboxes: what they may not do, what becomes of the row, and that the others are intact.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use weir_tests::{Job, Ran, repository};

/// Calls a function of a guest for 1 to 20.
fn call(file: &str, language: &str, function: &str, options: &str) -> Ran {
    let path = repository("tests/guests").join(file);
    Job::new(&format!(
        "CREATE FUNCTION f AS '{function}' LANGUAGE {language} USING FILE '{}'
           WITH ('timeout' = '1s', 'memory' = '128mb'{options});
         CREATE TABLE n (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '20', 'rows-per-second' = '100000',
           'fields.a.kind' = 'sequence', 'fields.a.start' = '1', 'fields.a.end' = '20');
         SELECT a, f(a) FROM n;",
        path.display()
    ))
    .run(&["--set", "parallelism.default=1"])
}

/// The bad row ends the job with these words, or is NULL where that was asked for; the others are right.
fn misbehaves(file: &str, language: &str, function: &str, code: i32, words: &[&str]) {
    call(file, language, function, "").failed(code, &[words, &["called with (13)"]].concat());
    let rows = call(file, language, function, ", 'on-error' = 'null'").succeeded().rows();
    let wanted: Vec<String> =
        (1..=20).map(|n| if n == 13 { "[13, null]".to_string() } else { format!("[{n}, {n}]") }).collect();
    let mut got: Vec<String> = rows.into_keys().collect();
    got.sort_by_key(|r| r[1..].split(',').next().and_then(|n| n.parse::<i64>().ok()));
    assert_eq!(got, wanted, "{function}");
    let kept = call(file, language, function, ", 'on-error' = 'skip'").succeeded();
    assert_eq!(kept.rows().len(), 19, "{function}");
}

#[test]
fn guests_in_rust_are_held() {
    let evil = |f: &str, code: i32, words: &[&str]| misbehaves("evil", "RUST", f, code, words);
    evil("loops", 4, &["f: it used more than 1s of processor time", "'timeout'"]);
    evil("eats", 4, &["f: it wanted more than 128 MB of memory", "'memory'"]);
    evil("overflows", 4, &["stack"]);
    evil("panics", 4, &["f: it panicked", "thirteen"]);
    evil("exits", 4, &["f: it called exit("]);
    evil("sleeps", 4, &["f: it waited longer than 3s"]);
    evil("prints", 4, &["f: it used more than 1s of processor time"]);
    evil("fails", 3, &["f: not this one"]);
    evil("connects", 4, &["f: it panicked", "connecting to 127.0.0.1:9 is not granted"]);
}

#[test]
fn guests_in_python_are_held() {
    let evil = |f: &str, code: i32, words: &[&str]| misbehaves("evil.py", "PYTHON", f, code, words);
    evil("py_loops", 4, &["f: it used more than 1s of processor time"]);
    evil("py_raises", 3, &["ValueError: not this one", "evil.py"]);
    evil("py_reads", 3, &["FileNotFoundError"]);
    evil("py_sleeps", 4, &["f: it waited longer than 3s"]);
}

/// A record that a function fails on is told with file and line, and kept as it stood in the file, behind filters too.
#[test]
fn a_row_that_a_function_fails_on_is_found_in_its_file() {
    let run = |on_error: &str| {
        let job = Job::new(&format!(
            "CREATE TABLE dead (reason STRING, origin STRING, record STRING)
               WITH ('connector' = 'filesystem', 'path' = 'dead', 'format' = 'json');
             CREATE FUNCTION f AS 'fails' LANGUAGE RUST USING FILE '{}' {on_error};
             CREATE TABLE n (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
             SELECT f(a + 1) FROM (SELECT a, b FROM n WHERE b <> 'no') WHERE f(a) > 0;",
            repository("tests/guests/evil").display()
        ));
        job.file("in.csv", "1,yes\n2,no\n3,\"two\nlines\"\n13,this one\n12,and this\n5,yes\n");
        let ran = job.run(&["--set", "parallelism.default=1"]);
        (job, ran)
    };
    run("").1.failed(3, &["in.csv, line 5: f: not this one", "called with (13)"]);
    let (job, ran) = run("WITH ('on-error' = 'dead-letter', 'dead-letter.table' = 'dead')");
    assert_eq!(ran.succeeded().rows().into_keys().collect::<Vec<_>>(), ["[2]", "[4]", "[6]"]);
    let part = job.parts("dead").into_iter().next().expect("a part");
    let letters = std::fs::read_to_string(part).expect("letters");
    assert_eq!(letters.lines().count(), 2, "{letters}");
    for words in ["in.csv, line 5\",\"record\":\"13,this one\"", "in.csv, line 6\",\"record\":\"12,and this\""] {
        assert!(letters.contains(words), "'{words}' is not in {letters}");
    }
}

#[test]
fn guests_see_no_files_and_no_environment() {
    for (file, language, reads, spies) in [("evil", "RUST", "reads", "spies"), ("evil.py", "PYTHON", "", "py_spies")] {
        let given = |f: &str| call(file, language, f, "").succeeded().rows();
        if !reads.is_empty() {
            assert!(given(reads).contains_key("[13, -1]"), "{reads}");
        }
        assert!(given(spies).contains_key("[13, -1]"), "{spies}");
    }
}

#[test]
fn pyflink_functions_run_unchanged() {
    let path = repository("tests/guests/flink_functions.py");
    let path = path.display();
    let ran = Job::new(&format!(
        "CREATE TEMPORARY SYSTEM FUNCTION greet AS 'flink_functions.greet' LANGUAGE PYTHON USING FILE '{path}';
         CREATE FUNCTION IF NOT EXISTS add2 AS 'flink_functions.add' LANGUAGE PYTHON USING FILE '{path}';
         CREATE FUNCTION h AS 'hash_text' LANGUAGE PYTHON USING FILE '{path}';
         SELECT greet(b), add2(a, 40), h(b) FROM (VALUES (CAST(2 AS BIGINT), 'weir')) AS t (a, b);"
    ))
    .run(&[])
    .succeeded();
    let hash = "weir".chars().fold(0u64, |v, c| (v * 31 + u64::from(c)) % 1_000_003);
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), [format!("[hello weir, 42, {hash}]")]);
}

/// Every type goes in and comes out as it is; a function of a file is found by each of its variables.
#[test]
fn types_of_flink_cross_the_boundary() {
    let path = repository("tests/guests/flink_functions.py");
    let function = |name: &str| {
        format!("CREATE FUNCTION {name} AS 'flink_functions.{name}' LANGUAGE PYTHON USING FILE '{}';", path.display())
    };
    let ran = Job::new(&format!(
        "{}{}{}{}
         SELECT h.`zone`, h.hours, s.a, s.b, s.c, s.d, s.e, s.f, whole(CAST(3.7 AS DOUBLE)), also_whole(CAST(-3.7 AS DOUBLE))
         FROM (SELECT hours(TO_TIMESTAMP_LTZ(0, 3), ARRAY['Asia/Shanghai', 'America/New_York']) AS h,
           same(CAST(-128 AS TINYINT), CAST(300 AS SMALLINT), CAST(1.1 AS FLOAT), TIME '01:02:03.004', CAST(1.25 AS DECIMAL(4, 2)),
             MAP['a', DATE '2020-02-29', 'b', CAST(NULL AS DATE)]) AS s) AS t;",
        function("hours"),
        function("same"),
        function("whole"),
        function("also_whole")
    ))
    .run(&[])
    .succeeded();
    assert!(ran.err.matches("building the function").count() <= 1, "{}", ran.err);
    let row = "[Asia/Shanghai, [8, 19], -128, 300, 1.1, 01:02:03.004, 1.25, {a=2020-02-29, b=null}, 3, -3]";
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), [row]);
}

/// Looking at a script runs nothing of what it names; a build that is asked for sees nothing of the environment.
#[test]
fn builds_happen_when_they_are_asked_for() {
    let job = Job::new(
        "CREATE FUNCTION f AS 'f' LANGUAGE RUST USING FILE 'crate';
         CREATE FUNCTION g AS 'g' LANGUAGE PYTHON USING FILE 'py/g.py';
         SELECT f(1);
         SELECT g('x');",
    );
    let marker = |name: &str| job.path(name).display().to_string();
    job.file(
        "crate/Cargo.toml",
        "[package]\nname = \"f\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nweir-udf = \"0.1\"\n[workspace]\n",
    );
    job.file("crate/src/lib.rs", "#[weir_udf::udf]\nfn f(n: i32) -> i32 {\n    n\n}\nweir_udf::export!(f);\n");
    let writes =
        "fn main() {\n    let all: Vec<String> = std::env::vars().map(|(k, v)| format!(\"{k}={v}\")).collect();\n";
    job.file(
        "crate/build.rs",
        format!("{writes}    std::fs::write({:?}, all.join(\"\\n\")).unwrap();\n}}\n", marker("built")),
    );
    // A module beside the function that has the name of one of Python's own; it may be imported in the sandbox only.
    let native =
        format!("import os\nopen({:?}, 'w').write('here')\nraise ImportError('not this one')\n", marker("native"));
    for name in ["ast", "sys", "pip", "componentize_py"] {
        job.file(&format!("py/{name}.py"), &native);
        job.file(&format!("{name}.py"), &native);
    }
    job.file("py/g.py", "from weir_udf import udf\n@udf\ndef g(s: str) -> str:\n    return s + '!'\n");
    let weir = |arguments: &[&str]| -> Ran {
        let mut command = Command::new(weir_tests::weir());
        command.args(arguments).current_dir(job.path("py")).stdin(Stdio::null()).env("WEIR_TEST_SECRET", "hunter2");
        command.env("WEIR_CACHE", job.path("cache")).output().expect("weir").into()
    };
    weir(&["check", "../job.sql"]).failed(2, &["crate is not built yet", "g.py is not built yet", "--build"]);
    weir(&["explain", "../job.sql"]).failed(7, &["is not built yet", "--build"]);
    assert!(!job.path("built").exists() && !job.path("native").exists());
    let looked = weir(&["explain", "--build", "../job.sql"]);
    assert!(!job.path("native").exists(), "{}", looked.err);
    let seen = std::fs::read_to_string(job.path("built")).unwrap_or_else(|e| panic!("{e}: {}", looked.err));
    assert!(seen.contains("PATH=") && !seen.contains("hunter2") && !seen.contains("WEIR"), "{seen}");
}

#[test]
fn a_new_function_brings_a_job_and_cases_that_pass() {
    let job = Job::new("");
    let weir = |arguments: &[&str]| -> Ran {
        let mut command = Command::new(weir_tests::weir());
        command.args(arguments).current_dir(job.folder.path()).stdin(Stdio::null()).output().expect("weir").into()
    };
    for (language, name, file) in [("rust", "shout", "shout"), ("python", "cry", "cry.py")] {
        weir(&["udf", "new", "--language", language, name]).succeeded();
        let ran = weir(&["run", &format!("{name}.sql")]).succeeded();
        assert!(ran.out.contains("+I[WEIR]"), "{}", ran.out);
        let cases = format!("{name}.jsonl");
        let passed = weir(&["udf", "test", file, "--cases", &cases]).succeeded();
        assert_eq!(passed.out, "1 passed\n");
        job.file(&cases, "{\"args\": [\"a\"], \"result\": \"A\"}\n\n{\"args\": [null], \"result\": \"b\"}\n");
        let failed = weir(&["udf", "test", file, "--cases", &cases]).failed(3, &["1 of 2 cases failed"]);
        assert_eq!(failed.out, format!("{cases}, line 3: null instead of b\n"));
        job.file(&cases, "{\"args\": [\"a\"], \"wanted\": \"A\"}\n");
        weir(&["udf", "test", file, "--cases", &cases])
            .failed(2, &["line 1: unknown field `wanted`", "a case is a line"]);
    }
    // A target that is missing is said before anything is compiled.
    job.file("bin/rustc", "#!/bin/sh\necho \"$PWD/sysroot\"\n");
    job.file("shout/sysroot/lib/rustlib/x", "");
    let mut command = Command::new("chmod");
    assert!(command.args(["+x", "bin/rustc"]).current_dir(job.folder.path()).status().expect("chmod").success());
    let path = format!("{}:{}", job.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(weir_tests::weir());
    command.args(["udf", "build", "shout"]).current_dir(job.folder.path()).env("PATH", path);
    let missed: Ran = command.env("WEIR_CACHE", job.path("cache")).output().expect("weir").into();
    missed.failed(7, &["target wasm32-wasip2 is needed", "rustup target add wasm32-wasip2"]);
}

const ASKS: &str = "
import json
import urllib.request

from weir_udf import udf


@udf
def province(ip: str) -> str:
    with urllib.request.urlopen('http://127.0.0.1:PORT/?ip=' + ip) as answer:
        return json.loads(answer.read().decode('gbk'))['pro']
";

#[test]
fn the_network_is_granted_by_address() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for socket in server.incoming() {
            let Ok(mut s) = socket else { return };
            let mut request = [0; 1024];
            let _ = s.read(&mut request);
            // 浙江省 in GBK, as the service of the report answers.
            let body = [&b"{\"pro\": \""[..], &[0xD5, 0xE3, 0xBD, 0xAD, 0xCA, 0xA1], b"\"}"].concat();
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = s.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    let run = |options: &str| {
        let job = Job::new(&format!(
            "CREATE FUNCTION province AS 'province' LANGUAGE PYTHON USING FILE 'asks.py' {options};
             SELECT province('1.2.3.4');"
        ));
        job.file("asks.py", ASKS.replace("PORT", &port.to_string()));
        job.run(&[])
    };
    let granted = run(&format!("WITH ('network' = '127.0.0.1:{port}')")).succeeded();
    assert_eq!(granted.rows().into_keys().collect::<Vec<_>>(), ["[浙江省]"]);
    run("").failed(3, &["127.0.0.1 is not granted", "'network'"]);
    run("WITH ('network' = '127.0.0.1:1')").failed(3, &["is not granted"]);
}

#[test]
fn what_is_no_function_is_told() {
    let load = |name: &str, contents: &[u8]| {
        let job = Job::new(&format!("CREATE FUNCTION f AS 'f' USING FILE '{name}'; SELECT f(1);"));
        job.file(name, contents);
        job.run(&[])
    };
    load("f.wasm", b"not wasm").failed(2, &["no WebAssembly"]);
    load("f.wasm", b"\0asm\x01\0\0\0").failed(2, &["not a component"]);
    load("f.wasm", b"\0asm\x0d\0\x01\0").failed(2, &["does not export weir:udf/functions@1.0.0"]);
    load("f.py", b"def f(:\n  pass\n").failed(2, &["f.py", "SyntaxError"]);
    load("f.py", b"import not_there_at_all\nfrom weir_udf import udf\n@udf\ndef f(n: int) -> int:\n    return n\n")
        .failed(2, &["not_there_at_all"]);
    load("f.txt", b"x").failed(2, &["is no function"]);
    Job::new("CREATE FUNCTION f AS 'f' LANGUAGE PYTHON USING FILE 'gone.py'; SELECT f(1);")
        .run(&[])
        .failed(2, &["gone.py"]);
    let job = Job::new("CREATE FUNCTION f AS 'g' LANGUAGE PYTHON USING FILE 'f.py'; SELECT f(1);");
    job.file("f.py", "from weir_udf import udf\n@udf\ndef good(n: int) -> int:\n    return n\n");
    job.run(&[]).failed(2, &["no function 'g'", "good"]);
}

#[test]
fn guarded_calls_fail_for_their_own_rows_only() {
    // The function is called for some rows of a batch, fails on one of those, and the argument comes again.
    let path = repository("tests/guests/evil");
    let ran = Job::new(&format!(
        "CREATE FUNCTION f AS 'fails' LANGUAGE RUST USING FILE '{}' WITH ('on-error' = 'null');
         CREATE TABLE n (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '9000', 'rows-per-second' = '1000000',
           'fields.a.kind' = 'sequence', 'fields.a.start' = '1', 'fields.a.end' = '9000');
         SET 'execution.runtime-mode' = 'batch';
         SELECT COUNT(*), COUNT(r), SUM(r) FROM
           (SELECT CASE WHEN MOD(a, 2) = 0 THEN -1 ELSE f(MOD(a, 20)) END AS r FROM n);",
        path.display()
    ))
    .run(&["--set", "parallelism.default=1"])
    .succeeded();
    // Odd remainders of 20 come 450 times each; 13 gives NULL.
    let sum = -4500 + 450 * (1 + 3 + 5 + 7 + 9 + 11 + 15 + 17 + 19);
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), [format!("[9000, 8550, {sum}]")]);
}

/// The examples in the documentation of the Rust SDK compile and run.
#[test]
fn examples_of_the_sdk_compile() {
    // A copy: what Cargo writes beside the manifest must not get into the binary, which holds the SDK's folder.
    let folder = tempfile::tempdir().expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(repository("udf-sdk")).arg(folder.path()).status();
    assert!(copied.is_ok_and(|s| s.success()), "the SDK is copied");
    let tested = Command::new("cargo")
        .args(["test", "--doc"])
        .current_dir(folder.path().join("udf-sdk/rust"))
        .env("CARGO_TARGET_DIR", repository("target/sdk"))
        .stdin(Stdio::null())
        .output();
    let ran: Ran = tested.expect("cargo").into();
    let ran = ran.succeeded();
    assert!(!ran.out.contains("0 passed"), "no example was run: {}", ran.out);
}
