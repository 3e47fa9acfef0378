//! What a person at a terminal gets: rows on standard output, words on standard error, codes that mean something.

use std::io::Write;
use std::process::{Command, Stdio};
use weir_tests::http::Listening;
use weir_tests::{Job, Ran, comes, weir};

fn weir_with(arguments: &[&str]) -> Ran {
    Command::new(weir()).args(arguments).stdin(Stdio::null()).output().expect("weir").into()
}

#[test]
fn standard_output_has_rows_only() {
    let ran = Job::new("SELECT a, UPPER(b) FROM (VALUES (1, 'x'), (2, 'y')) AS t (a, b);").run(&[]).succeeded();
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), ["[1, X]", "[2, Y]"]);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    assert!(ran.err.contains("rows/s"), "{}", ran.err);
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let job = |s: &str| Job::new(s).run(&[]);
    job("SELECT x FROM (VALUES (1)) AS t (abc);").failed(2, &["line 1, column 8", "no column 'x'", "abc"]);
    job("SELECT UPPERCASE('a');").failed(2, &["no function 'UPPERCASE'", "did you mean UPPER"]);
    job("SELECT 1 +;").failed(2, &["line 1, column"]);
    job("CREATE TABLE t (a INT) WITH ('connector' = 'filesistem', 'path' = 'x', 'format' = 'csv'); SELECT * FROM t;")
        .failed(2, &["'filesistem'", "did you mean 'filesystem'"]);
    job("CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'cvs'); SELECT * FROM t;")
        .failed(2, &["no format 'cvs'", "did you mean 'csv'"]);
    job("CREATE TABLE t (a INT)\n WITH ('connector' = 'filesystem', 'paht' = 'x', 'format' = 'csv'); SELECT * FROM t;")
        .failed(2, &["'path'"]);
    job("CREATE TABLE t (a INT) WITH ('connector' = 'print', 'x' = 'y');\nINSERT INTO t VALUES (1);")
        .failed(2, &["no option 'x'"]);
    job("CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'gone.csv', 'format' = 'csv'); SELECT * FROM t;")
        .failed(3, &["gone.csv"]);
    job("SELECT 1 / 0;").failed(3, &["division by zero"]);
    job("SELECT * FROM a JOIN b ON a.x = b.x;").failed(2, &["no table or view 'a'"]);
    job("CREATE TABLE a (x INT) WITH ('connector' = 'datagen'); SELECT DISTINCT ON (x) x FROM a;")
        .failed(2, &["not yet"]);
    job("CREATE TABLE f (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'csv');
         INSERT INTO f SELECT COUNT(*) FROM (VALUES (1)) AS t (a);")
    .failed(2, &["only takes rows that come", "'batch'"]);
    job("SET 'parallelism.default' = '65'; SELECT 1;").failed(2, &["1 to 64"]);
    job("SET 'pipeline.name' = '${WEIR_TEST_NOT_SET}';").failed(2, &["WEIR_TEST_NOT_SET"]);
}

/// State is its owner's alone whatever the umask; a table's files follow the umask.
#[test]
fn state_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let job = Job::new(
        "CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/deep', 'format' = 'csv');
         SET 'execution.runtime-mode' = 'batch';
         INSERT INTO o SELECT COUNT(*) FROM (VALUES (1), (2)) AS t (a);",
    );
    let weir = weir();
    let run = format!("umask 0000; {0} run job.sql && {0} savepoint job.sql saved", weir.display());
    let ran: Ran = Command::new("sh").args(["-c", &run]).current_dir(job.folder.path()).output().expect("sh").into();
    ran.succeeded();
    let rights = |path: &std::path::Path| std::fs::metadata(path).expect("its rights").permissions().mode() & 0o777;
    fn all(folder: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
        for e in std::fs::read_dir(folder).expect("a folder").flatten() {
            out.push(e.path());
            if e.path().is_dir() {
                all(&e.path(), out);
            }
        }
    }
    for (folder, of_file, of_folder) in [(".weir/job", 0o600, 0o700), ("saved", 0o600, 0o700), ("out", 0o666, 0o777)] {
        let mut found = vec![job.path(folder)];
        all(&job.path(folder), &mut found);
        assert!(found.len() > 1, "{folder} is empty");
        for path in found {
            // Whose a folder is stands in a file of Weir's own.
            let own = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".weir-"));
            let wanted = if path.is_dir() {
                of_folder
            } else if own {
                0o600
            } else {
                of_file
            };
            assert_eq!(rights(&path), wanted, "{}", path.display());
        }
    }
}

/// Where the system gives no more file handles, that is said; nothing panics.
#[test]
fn a_full_table_of_file_handles_is_told() {
    let job = Job::new("SELECT COUNT(*) FROM (VALUES (1), (2)) AS t (a);");
    let mut ended = 0;
    for most in [16, 64, 90, 94, 98, 102, 106, 110] {
        let run = format!(
            "ulimit -n {most}; exec {} run job.sql --fresh --listen 127.0.0.1:0 --set parallelism.default=2 --set restart-strategy.type=none",
            weir().display()
        );
        let ran: Ran =
            Command::new("sh").args(["-c", &run]).current_dir(job.folder.path()).output().expect("sh").into();
        if ran.code != Some(0) {
            ended += 1;
            ran.failed(6, &["Too many open files", "ulimit -n"]);
        }
    }
    assert!(ended > 2, "{ended} runs had too few");
}

#[test]
fn check_says_everything_at_once() {
    let job = Job::new("SELECT nope;\nSELECT 1 FROM;\nSELECT also_nope;");
    let ran: Ran =
        Command::new(weir()).args(["check", "job.sql"]).current_dir(job.folder.path()).output().expect("weir").into();
    ran.failed(2, &["line 1, column 8", "line 2, column", "line 3, column 8", "3 errors"]);
}

#[test]
fn bad_records_follow_the_policy() {
    let csv = "1,one\nx,two\n3,\"three\n4,four\n5,five,surplus\n\u{FEFF}6,six\r\n7,seven";
    let table = |more: &str| {
        format!(
            "CREATE TABLE dead (reason STRING, origin STRING, record STRING)
               WITH ('connector' = 'filesystem', 'path' = 'dead', 'format' = 'json');
             CREATE TABLE t (a INT, b STRING)
               WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv' {more});
             SELECT a, b FROM t;"
        )
    };
    let run = |more: &str| {
        let job = Job::new(&table(more));
        job.file("in.csv", csv);
        let ran = job.run(&[]);
        (job, ran)
    };
    run("").1.failed(3, &["in.csv, line 2", "column 'a'", "x,two"]);
    let good = ["[1, one]", "[4, four]", "[7, seven]"];
    let rows = run(", 'on-error' = 'skip'").1.succeeded().rows();
    assert_eq!(rows.into_keys().collect::<Vec<_>>(), good);
    let (job, ran) = run(", 'on-error' = 'dead-letter', 'dead-letter.table' = 'dead'");
    assert_eq!(ran.succeeded().rows().into_keys().collect::<Vec<_>>(), good);
    let part = job.parts("dead").into_iter().next().expect("a part");
    let letters = std::fs::read_to_string(part).expect("letters");
    assert_eq!(letters.lines().count(), 4, "{letters}");
    for words in ["in.csv, line 2", "in.csv, line 3", "never closed", "in.csv, line 5", "surplus"] {
        assert!(letters.contains(words), "'{words}' is not in {letters}");
    }
}

#[test]
fn odd_files_are_read() {
    let rows = |bytes: &[u8]| {
        let job = Job::new(
            "CREATE TABLE t (a STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
             SELECT * FROM t;",
        );
        job.file("in.csv", bytes);
        job.run(&["--set", "parallelism.default=1"])
    };
    assert!(rows(b"").succeeded().rows().is_empty());
    assert_eq!(rows(b"\xEF\xBB\xBFa,b\r\nc,d").succeeded().out, "+I[a, b]\n+I[c, d]\n");
    assert_eq!(rows(b"\"a\nb\",\"say \"\"hi\"\"\"\n").succeeded().out, "+I[a\nb, say \"hi\"]\n");
    rows(b"a,\xFF\n").failed(3, &["in.csv, line 1", "UTF-8"]);
    let mut long = b"a,".to_vec();
    long.resize(50 << 20, b'x');
    long.extend_from_slice(b"\nc,d\n");
    rows(&long).failed(3, &["longer than 32 MB"]);
}

#[test]
fn files_are_found_by_any_name_and_through_links() {
    use std::os::unix::ffi::OsStrExt;
    let job = Job::new(
        "CREATE TABLE t (a STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'csv',
           'source.monitor-interval' = '50 ms');
         CREATE TABLE o (a STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv',
           'sink.rolling-policy.rollover-interval' = '0 s');
         SET 'execution.checkpointing.interval' = '50 ms'; INSERT INTO o SELECT a FROM t;",
    );
    job.file("elsewhere/linked.csv", "linked\n");
    job.file("in/plain.csv", "plain\n");
    let odd = std::ffi::OsStr::from_bytes(b"caf\xE9.csv");
    std::fs::write(job.path("in").join(odd), "odd\n").expect("a file of any name");
    std::os::unix::fs::symlink(job.path("elsewhere/linked.csv"), job.path("in/link.csv")).expect("a link");
    let lines = || {
        let mut all: Vec<String> = if job.path("out").is_dir() { job.parts("out") } else { vec![] }
            .iter()
            .flat_map(|p| {
                std::fs::read_to_string(p).unwrap_or_default().lines().map(str::to_string).collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all
    };
    // Stopped, it knows which files it had.
    for expected in [vec!["linked", "odd", "plain"], vec!["linked", "more", "odd", "plain"]] {
        let mut child = job.command(&[]).stderr(Stdio::piped()).spawn().expect("weir");
        let came = weir_tests::comes(|| lines() == expected || child.try_wait().is_ok_and(|c| c.is_some()));
        // SAFETY: a signal to our own child.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        let ran = Ran::from(child.wait_with_output().expect("its end"));
        assert!(came && lines() == expected, "{:?}: {}", lines(), ran.err);
        ran.succeeded();
        job.file("in/more.csv", "more\n");
    }
    job.file(
        "job.sql",
        std::fs::read_to_string(job.path("job.sql")).expect("the script").replace("'50 ms')", "'0 s')"),
    );
    job.run(&["--fresh"]).failed(2, &["'source.monitor-interval'", "longer than nothing"]);
}

#[test]
fn a_file_read_by_several_gives_the_rows_of_one() {
    // Quoted line breaks all over, in a file of several splits.
    let mut text = String::new();
    for i in 0..900_000u64 {
        if i % 3 == 0 {
            text += &format!("{i},\"first\nsecond, {i}\nthird \"\"{}\"\"\"\n", i * 7);
        } else {
            text += &format!("{i},plain {}\n", i * 13);
        }
    }
    let job = Job::new(
        "CREATE TABLE t (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
         SET 'execution.runtime-mode' = 'batch';
         SELECT COUNT(*), SUM(a), SUM(CHAR_LENGTH(b)), COUNT(DISTINCT a) FROM t;",
    );
    job.file("in.csv", &text);
    assert!(text.len() > 17 << 20);
    let one = job.run(&["--set", "parallelism.default=1"]).succeeded();
    let seven = job.run(&["--set", "parallelism.default=7"]).succeeded();
    assert_eq!(one.rows(), seven.rows());
    assert!(one.out.starts_with("+I[900000, 404999550000, "), "{}", one.out);
}

#[test]
fn standard_input_and_a_closed_pipe() {
    let job = Job::new(
        "CREATE TABLE t (line STRING) WITH ('connector' = 'stdin', 'format' = 'raw');
         SELECT CHAR_LENGTH(line) FROM t;",
    );
    let mut child =
        job.command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("weir");
    child.stdin.take().expect("its input").write_all("abc\nüü\n".as_bytes()).expect("written");
    let out = child.wait_with_output().expect("its end");
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 2);
    let endless = Job::new(
        "CREATE TABLE t (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000');
         SELECT a FROM t;",
    );
    let out = Command::new("sh")
        .arg("-c")
        .arg(format!("'{}' run job.sql 2>/dev/null | head -3", weir().display()))
        .current_dir(endless.folder.path())
        .output()
        .expect("sh");
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 3);
}

#[test]
fn metrics_are_served() {
    let job = Job::new(
        "CREATE TABLE t (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
         CREATE TABLE s (n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO s SELECT COUNT(*) FROM t;",
    );
    let running = Listening::start(&job, &[], &[]);
    let mut text = String::new();
    let names =
        ["weir_operator_rows_in_total{", "weir_operator_busy_seconds_total{", "weir_epochs_total{job_name=\"job\"} "];
    let all = comes(|| {
        text = running.get("/metrics");
        names.iter().all(|n| text.contains(n))
    });
    assert!(all, "{names:?} are not all in {text}");
}

#[test]
fn state_can_be_shown_exported_imported_and_dropped() {
    let job = Job::new(
        "CREATE TABLE t (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '5000', 'rows-per-second' = '100000',
           'fields.a.min' = '1', 'fields.a.max' = '9');
         SELECT a, COUNT(*) FROM t GROUP BY a;",
    );
    job.run(&[]).succeeded();
    let state = |a: &[&str]| -> Ran {
        Command::new(weir()).arg("state").args(a).current_dir(job.folder.path()).output().expect("weir").into()
    };
    let shown = state(&["show", "job.sql"]).succeeded();
    assert!(shown.out.contains("aggregate"), "{}", shown.out);
    assert!(shown.out.lines().any(|l| l.trim_start().starts_with("9 ") && l.contains("aggregate")), "{}", shown.out);
    state(&["export", "job.sql", "-o", "export.jsonl"]).succeeded();
    state(&["drop", "job.sql"]).succeeded();
    state(&["show", "job.sql"]).failed(5, &["no state"]);
    state(&["import", "job.sql", "export.jsonl"]).succeeded();
    let again = state(&["show", "job.sql"]).succeeded();
    assert!(again.out.lines().any(|l| l.trim_start().starts_with("9 ") && l.contains("aggregate")), "{}", again.out);
}

#[test]
fn help_version_and_completions() {
    assert!(weir_with(&["--help"]).succeeded().out.contains("Exit codes"));
    assert!(weir_with(&["version"]).succeeded().out.starts_with("weir "));
    assert!(weir_with(&["completions", "bash"]).succeeded().out.contains("_weir"));
    weir_with(&["run"]).failed(2, &["Usage"]);
}

#[test]
fn a_running_job_is_asked_for_its_state() {
    let job = Job::new(
        "CREATE TABLE t (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20000',
           'fields.a.min' = '1', 'fields.a.max' = '9');
         CREATE TABLE o (a BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
         SET 'execution.checkpointing.interval' = '20ms';
         INSERT INTO o SELECT a, COUNT(*) FROM t GROUP BY a;",
    );
    let mut running = job.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("weir");
    let state = |a: &[&str]| -> Ran {
        Command::new(weir()).arg("state").args(a).current_dir(job.folder.path()).output().expect("weir").into()
    };
    let has_groups = |r: &Ran| r.out.lines().any(|l| l.trim_start().starts_with("9 ") && l.contains("aggregate"));
    let mut shown = state(&["show", "job.sql"]);
    for _ in 0..100 {
        if has_groups(&shown) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        shown = state(&["show", "job.sql"]);
    }
    let exported = state(&["export", "job.sql", "-o", "export.jsonl"]);
    let dropped = state(&["drop", "job.sql"]);
    running.kill().expect("the kill");
    running.wait().expect("its end");
    assert!(has_groups(&shown) && shown.out.contains("(running)"), "{}{}", shown.out, shown.err);
    assert!(exported.succeeded().err.contains("keys exported"));
    dropped.failed(5, &["in use by another process"]);
    // What was exported is whole: it can be read in again, and has the nine groups of one epoch.
    state(&["drop", "job.sql"]).succeeded();
    state(&["import", "job.sql", "export.jsonl"]).succeeded();
    assert!(has_groups(&state(&["show", "job.sql"]).succeeded()));
}

/// A job over two files that is cut short after some rows, and what a later run of another script says.
fn edited(before: &str, after: &str, arguments: &[&str]) -> Ran {
    const TABLES: &str =
        "CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'a.csv', 'format' = 'csv');
        CREATE TABLE o (k STRING, n BIGINT) WITH ('connector' = 'print');
        SET 'table.exec.mini-batch.size' = '1';
        SET 'execution.checkpointing.interval' = '10ms';";
    let job = Job::new(&format!("{TABLES}\n{before}"));
    job.file("a.csv", (0..30).map(|i| format!("{},1\n", if i % 3 == 0 { "x" } else { "y" })).collect::<String>());
    job.file("b.csv", "x,100\n");
    let mut first = job.command(&["--set", "parallelism.default=2"]);
    first.env("WEIR_FAILPOINTS", "source-poll=sleep(20),epoch-named=abort@4");
    let ran: Ran = first.output().expect("weir").into();
    assert_ne!(ran.code, Some(0), "{}", ran.out);
    let edited =
        format!("{TABLES}\n{before}").replacen("a.csv", if after.contains("b.csv") { "b.csv" } else { "a.csv" }, 1);
    job.file("job.sql", edited.replacen(before, after, 1));
    job.run(arguments)
}

#[test]
fn commands_end_quietly_when_nobody_reads_on() {
    let job = Job::new("SHOW FUNCTIONS; SELECT 1;");
    for command in ["explain", "run"] {
        let script = format!("\"$0\" {command} job.sql | true");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(weir()).current_dir(job.folder.path());
        let ran = weir_tests::Ran::from(shell.output().expect("a shell")).succeeded();
        assert!(!ran.err.contains("panicked") && !ran.err.contains("error"), "{command}: {}", ran.err);
    }
}

#[test]
fn state_belongs_to_what_is_computed_and_read() {
    const SUM: &str = "INSERT INTO o SELECT k, SUM(v) FROM t GROUP BY k;";
    // Other names, comments and parallelisms: the job goes on, also where a stage without state is gone.
    let same = "INSERT INTO o /* the same */ SELECT a.k AS key, SUM(a.v) AS total FROM t AS a GROUP BY a.k;";
    for (after, parallelism) in [(SUM, "2"), (same, "1"), (SUM, "3")] {
        let ran = edited(SUM, after, &["--set", &format!("parallelism.default={parallelism}")]).succeeded();
        assert!(ran.err.contains("goes on after its last epoch"), "{}", ran.err);
        for total in ["U[x, 10]", "U[y, 20]"] {
            assert!(ran.out.contains(total), "{total} is not in {}", ran.out);
        }
    }
    // Another file, another mode, another separator: what was kept is of something else.
    let elsewhere = "INSERT INTO o SELECT k, SUM(v) FROM t GROUP BY k; -- now of b.csv";
    edited(SUM, elsewhere, &[]).failed(5, &["has changed", "--allow-state-drop"]);
    let ran = edited(SUM, elsewhere, &["--allow-state-drop"]).succeeded();
    assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), ["[x, 100]"], "{}", ran.out);
    let streaming = ["--set", "execution.runtime-mode=streaming"];
    let batch = format!("SET 'execution.runtime-mode' = 'BATCH'; {SUM}");
    edited(&batch, &batch, &streaming).failed(5, &["batch mode", "streaming mode", "--allow-state-drop"]);
    edited(SUM, &batch, &[]).failed(5, &["batch mode", "streaming mode"]);
    let list = |separator: &str| {
        format!("INSERT INTO o SELECT MAX(l), 1 FROM (SELECT LISTAGG(k, '{separator}') AS l FROM t GROUP BY v);")
    };
    edited(&list(","), &list(";"), &[]).failed(5, &["has changed", "--allow-state-drop"]);
}

#[test]
fn a_uid_keeps_state_over_changes_that_can_be_read() {
    let of = |query: &str| format!("INSERT INTO o /*+ OPTIONS('uid' = 'per-k') */ {query};");
    let sum = of("SELECT k, SUM(v) FROM t GROUP BY k");
    let other = of("SELECT u.k, SUM(u.v + 0) AS n FROM t AS u WHERE u.v < 50 GROUP BY u.k");
    let ran = edited(&sum, &other, &["--set", "parallelism.default=2"]).succeeded();
    assert!(ran.err.contains("goes on after its last epoch"), "{}", ran.err);
    for total in ["U[x, 10]", "U[y, 20]"] {
        assert!(ran.out.contains(total), "{total} is not in {}", ran.out);
    }
    // What would be misread is refused, and says what differs.
    let count = of("SELECT k, COUNT(v) FROM t GROUP BY k");
    for (after, words) in [
        (count.clone(), "aggregates was SUM(INT), and is COUNT(INT)"),
        (of("SELECT CAST(v AS STRING), SUM(v) FROM t GROUP BY v"), "keys was STRING, and is INT"),
        (of("SELECT MAX(k), n FROM (SELECT k, SUM(v) AS n FROM t GROUP BY k) GROUP BY n"), "'per-k#uid/aggregate-1'"),
        (format!("{sum} -- now of b.csv"), "'path' = 'a.csv'"),
        (format!("SET 'execution.runtime-mode' = 'BATCH'; {sum}"), "results was as they change, and is at the end"),
    ] {
        edited(&sum, &after, &[]).failed(5, &["'per-k#uid/", words, "--allow-state-drop"]);
    }
    let ran = edited(&sum, &count, &["--allow-state-drop"]).succeeded();
    assert!(ran.out.contains("+I[x, 1]") && ran.out.contains("+U[x, 10]"), "{}", ran.out);
    // Without its uid it is another statement.
    edited(&sum, "INSERT INTO o SELECT k, SUM(v) FROM t GROUP BY k;", &[]).failed(5, &["'per-k'", "would be lost"]);
}

#[test]
fn settings_act_or_are_refused() {
    let set = |key: &str, value: &str| Job::new(&format!("SET '{key}' = '{value}';\nSELECT 1;")).run(&[]);
    set("table.exec.stat.ttl", "1 h").failed(2, &["line 1", "no setting", "did you mean 'table.exec.state.ttl'"]);
    set("table.exec.state.ttl", "soon").failed(2, &["line 1", "duration", "soon"]);
    set("execution.runtime-mode", "fast").failed(2, &["streaming or batch"]);
    set("table.exec.sink.not-null-enforcer", "IGNORE").failed(2, &["error or drop"]);
    let ran = set("table.optimizer.distinct-agg.split.enabled", "true").succeeded();
    assert!(ran.err.contains("table.optimizer.distinct-agg.split.enabled"), "{}", ran.err);
    Job::new("SELECT 1;").run(&["--set", "pipeline.nam=x"]).failed(2, &["did you mean 'pipeline.name'"]);
    Job::new("SET 'restart-strategy' = 'off'; SELECT 1;").run(&[]).succeeded();
    Job::new("RESET 'pipeline.nam'; SELECT 1;").run(&[]).failed(2, &["did you mean 'pipeline.name'"]);
}

#[test]
fn rows_that_may_share_a_key_at_the_sink_are_kept() {
    let operators = |select: &str, more: &str| {
        let job = Job::new(&format!(
            "{more}
             CREATE TABLE src (k BIGINT, s VARCHAR(9)) WITH ('connector' = 'datagen');
             CREATE TABLE dst (k INT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
               WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://localhost:1/none', 'table-name' = 'dst');
             CREATE TABLE texts (s VARCHAR(9), n BIGINT, PRIMARY KEY (s) NOT ENFORCED)
               WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://localhost:1/none', 'table-name' = 'texts');
             {select};"
        ));
        let explained = Command::new(weir()).args(["explain", "job.sql"]).current_dir(job.folder.path()).output();
        Ran::from(explained.expect("weir")).succeeded().out
    };
    let materializes = |select: &str, more: &str| operators(select, more).contains("sink-materialize");
    let lossy = "INSERT INTO dst SELECT CAST(k AS INT), n FROM (SELECT k, COUNT(*) AS n FROM src GROUP BY k)";
    assert!(materializes(lossy, ""));
    assert!(!materializes("INSERT INTO dst SELECT CAST(k AS INT), COUNT(*) FROM src GROUP BY CAST(k AS INT)", ""));
    let wider = "INSERT INTO dst SELECT k, n FROM (SELECT CAST(k AS SMALLINT) AS k, COUNT(*) AS n FROM src GROUP BY CAST(k AS SMALLINT))";
    assert!(!materializes(wider, ""));
    let texts = "INSERT INTO texts SELECT s, COUNT(*) FROM src GROUP BY s";
    assert!(!materializes(texts, ""));
    // What is cut on its way into the sink may be equal then.
    assert!(materializes(texts, "SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';"));
}

/// One of four statements that read the same table, by the table that it writes into.
fn statement(name: &str) -> &'static str {
    match name {
        "a" => "INSERT INTO a SELECT k, v FROM t;",
        "b" => "INSERT INTO b SELECT k, v FROM t WHERE v > 0;",
        "sums" => "INSERT INTO sums SELECT k, SUM(v) FROM t GROUP BY k;",
        "same" => "INSERT INTO same SELECT k, SUM(v) FROM t GROUP BY k;",
        other => panic!("no statement {other}"),
    }
}

/// Runs a job of changing statements, each time with other settings, over 60 rows: all runs but the last are killed after some epochs.
fn runs_of(steps: &[(&str, &str)], arguments: &[&str]) -> (Job, Ran) {
    let tables =
        "CREATE TABLE t (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
        CREATE TABLE a (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'csv');
        CREATE TABLE b (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'csv');
        CREATE TABLE sums (k STRING, n BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'sums');
        CREATE TABLE same (k STRING, n BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'same');
        SET 'table.exec.mini-batch.size' = '1';
        SET 'execution.checkpointing.interval' = '10ms';
        SET 'parallelism.default' = '2';";
    let job = Job::new("");
    job.file("in.csv", (0..60).map(|i| format!("{},1\n", if i % 3 == 0 { "x" } else { "y" })).collect::<String>());
    let mut last = None;
    for (n, (names, settings)) in steps.iter().enumerate() {
        let all: Vec<&str> = names.split(' ').map(statement).collect();
        job.file("job.sql", format!("{tables}\n{settings}\n{}", all.join("\n")));
        if n + 1 == steps.len() {
            last = Some(job.run(arguments));
            break;
        }
        let mut command = job.command(&[]);
        command.env("WEIR_FAILPOINTS", "source-poll=sleep(20),epoch-named=abort@4");
        let ran: Ran = command.output().expect("weir").into();
        assert_eq!(ran.code, None, "it was to be killed: {}", ran.err);
    }
    (job, last.expect("a run"))
}

/// How many rows are in the files of a table.
fn rows_in(job: &Job, folder: &str) -> usize {
    let read = |p: std::path::PathBuf| std::fs::read_to_string(p).expect("a part").lines().count();
    job.parts(folder).into_iter().map(read).sum()
}

#[test]
fn statements_that_come_and_go_leave_the_others_where_they_are() {
    let off = "SET 'table.optimizer.reuse-sub-plan-enabled' = 'false';";
    for steps in [
        // One reader for both, over a restart, in whatever order.
        &[("a b", ""), ("b a", ""), ("a b", "")][..],
        // One that comes reads all from the beginning, and the others go on.
        &[("a", ""), ("a b", ""), ("b a", "")],
        &[("a sums", ""), ("a sums b same", ""), ("same b sums a", "")],
        // Switched off and on again.
        &[("a b sums same", ""), ("a b sums same", off), ("a b sums same", "")],
        &[("a b sums same", off), ("a b sums same", ""), ("a b sums same", off)],
    ] {
        let (job, ran) = runs_of(steps, &[]);
        let ran = ran.succeeded();
        let names: Vec<&str> = steps[steps.len() - 1].0.split(' ').collect();
        for name in names {
            if name.len() == 1 {
                assert_eq!(rows_in(&job, name), 60, "{name} of {steps:?}\n{}", ran.err);
                continue;
            }
            let of_it = |line: &&str| line.split([':', '>']).next() == Some(name);
            let last = |key: &str| ran.out.lines().filter(of_it).rfind(|l| l.contains(key)).map(str::to_string);
            for (key, total) in [("+U[x, ", "+U[x, 20]"), ("+U[y, ", "+U[y, 40]")] {
                let last = last(key).unwrap_or_default();
                assert!(last.ends_with(total), "{last} is the last of {name} in {steps:?}: {}", ran.err);
            }
        }
    }
}

#[test]
fn who_comes_later_has_a_reader_of_its_own_and_is_told() {
    let (job, ran) = runs_of(&[("a", ""), ("a b", "")], &[]);
    let ran = ran.succeeded();
    assert!(ran.err.contains("'t' has several readers"), "{}", ran.err);
    assert_eq!((rows_in(&job, "a"), rows_in(&job, "b")), (60, 60));
    let (_, ran) = runs_of(&[("a b", ""), ("b a", "")], &[]);
    assert!(!ran.succeeded().err.contains("several readers"));
}

#[test]
fn what_is_shared_stays_with_those_that_are_left() {
    let (job, ran) = runs_of(&[("a b sums same", ""), ("b same", "")], &["--allow-state-drop"]);
    let ran = ran.succeeded();
    assert!(ran.err.contains("no longer used"), "{}", ran.err);
    assert_eq!(rows_in(&job, "b"), 60);
    assert!(ran.out.contains("+U[y, 40]") && !ran.out.contains("+U[y, 41]"), "{}", ran.out);
    // It is not let go of without a word.
    let (_, ran) = runs_of(&[("a b", ""), ("b", "")], &[]);
    ran.failed(5, &["wrote into a has changed or is gone", "--allow-state-drop"]);
}
