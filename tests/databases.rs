//! Databases as sink and source: every type there and back, keys, rows that they refuse, and everything that is not as it
//! should be.

use std::sync::OnceLock;
use weir_tests::servers::{MariaDb, Postgres, free_port};
use weir_tests::{Job, Ran};

fn mariadb() -> &'static MariaDb {
    static DB: OnceLock<MariaDb> = OnceLock::new();
    DB.get_or_init(MariaDb::start)
}

fn postgres() -> &'static Postgres {
    static DB: OnceLock<Postgres> = OnceLock::new();
    DB.get_or_init(Postgres::start)
}

/// Both databases: the URL with the user, and what runs statements.
type Both = [(&'static str, String, fn(&str) -> String); 2];

fn both() -> Both {
    [
        ("MariaDB", format!("'url' = '{}', 'username' = 'root'", mariadb().url()), |sql| mariadb().sql(sql)),
        ("PostgreSQL", format!("'url' = '{}', 'username' = 'postgres'", postgres().url()), |sql| postgres().sql(sql)),
    ]
}

fn run(script: &str) -> Ran {
    Job::new(script).run(&["--set", "parallelism.default=1", "--set", "restart-strategy.type=none"])
}

#[test]
fn every_type_goes_there_and_back() {
    let columns =
        "id INT, b BOOLEAN, l BIGINT, f DOUBLE, d DECIMAL(20, 4), s STRING, y BYTES, dt DATE, tm TIME, ts TIMESTAMP(3),
                   PRIMARY KEY (id) NOT ENFORCED";
    for (name, url, sql) in both() {
        let (blob, double) = if name == "MariaDB" { ("BLOB", "DOUBLE") } else { ("BYTEA", "DOUBLE PRECISION") };
        let stamp = if name == "MariaDB" { "DATETIME(3)" } else { "TIMESTAMP(3)" };
        sql(&format!(
            "CREATE TABLE types (id INT PRIMARY KEY, b BOOLEAN, l BIGINT, f {double}, d DECIMAL(20, 4), s VARCHAR(100), y {blob},
               dt DATE, tm TIME, ts {stamp})"
        ));
        let table = format!("CREATE TABLE t ({columns}) WITH ('connector' = 'jdbc', {url}, 'table-name' = 'types');");
        run(&format!(
            "{table} INSERT INTO t VALUES
               (1, TRUE, -9223372036854775808, 1.5E300, 1234567890123456.7891, 'it''s ä 🌍 \\ \"', x'00FF27', DATE '2026-11-21',
                TIME '23:59:58', TIMESTAMP '1999-12-31 23:59:59.999'),
               (2, FALSE, 0, -0.1, -0.0001, '', x'', DATE '0001-01-01', TIME '00:00:00', TIMESTAMP '2026-01-01 00:00:00.001'),
               (3, CAST(NULL AS BOOLEAN), CAST(NULL AS BIGINT), CAST(NULL AS DOUBLE), CAST(NULL AS DECIMAL(20, 4)),
                CAST(NULL AS STRING), CAST(NULL AS BYTES), CAST(NULL AS DATE), CAST(NULL AS TIME), CAST(NULL AS TIMESTAMP(3)));"
        ))
        .succeeded();
        let ran = run(&format!("{table} SELECT * FROM t;")).succeeded();
        let mut lines: Vec<&str> = ran.out.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "+I[1, true, -9223372036854775808, 1.5E300, 1234567890123456.7891, it's ä 🌍 \\ \", [0, -1, 39], 2026-11-21, 23:59:58, 1999-12-31T23:59:59.999]",
                "+I[2, false, 0, -0.1, -0.0001, , [], 0001-01-01, 00:00, 2026-01-01T00:00:00.001]",
                "+I[3, null, null, null, null, null, null, null, null, null]",
            ],
            "{name}"
        );
    }
}

#[test]
fn rows_are_replaced_and_removed_by_key() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE counts (k VARCHAR(10) PRIMARY KEY, n BIGINT)");
        sql("INSERT INTO counts VALUES ('x', 99), ('kept', 1)");
        for guarantee in ["exactly-once", "at-least-once"] {
            // A group that comes and goes: HAVING takes its row back.
            let ran = run(&format!(
                "SET 'table.exec.mini-batch.size' = '1';
                 CREATE TABLE c (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'jdbc', {url},
                   'table-name' = 'counts', 'sink.delivery-guarantee' = '{guarantee}');
                 INSERT INTO c SELECT k, COUNT(*) FROM (VALUES ('x'), ('y'), ('x'), ('z')) AS v (k) GROUP BY k HAVING COUNT(*) < 2;"
            ));
            ran.succeeded();
            assert_eq!(sql("SELECT k, n FROM counts ORDER BY k"), "kept\t1\ny\t1\nz\t1\n", "{name}, {guarantee}");
        }
        // The query's own key, where none is declared; and none at all, where nothing changes.
        run(&format!(
            "CREATE TABLE c (k STRING, n BIGINT) WITH ('connector' = 'jdbc', {url}, 'table-name' = 'counts');
             INSERT INTO c SELECT k, COUNT(*) FROM (VALUES ('y'), ('y')) AS v (k) GROUP BY k;"
        ))
        .succeeded();
        assert_eq!(sql("SELECT n FROM counts WHERE k = 'y'"), "2\n", "{name}");
    }
}

#[test]
fn a_table_is_read_in_parts() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE many (id INT PRIMARY KEY, v INT)");
        let fill = format!(
            "CREATE TABLE n (id INT, v INT) WITH ('connector' = 'datagen', 'number-of-rows' = '30000', 'rows-per-second' = '1000000',
               'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '30000',
               'fields.v.min' = '7', 'fields.v.max' = '7');
             CREATE TABLE m (id INT, v INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'jdbc', {url}, 'table-name' = 'many');
             INSERT INTO m SELECT * FROM n;"
        );
        run(&fill).succeeded();
        for parts in [
            "",
            ", 'scan.partition.column' = 'id', 'scan.partition.num' = '5', 'scan.partition.lower-bound' = '100',
                       'scan.partition.upper-bound' = '20000'",
            ", 'scan.partition.column' = 'id', 'scan.partition.num' = '9223372036854775807',
               'scan.partition.lower-bound' = '-5', 'scan.partition.upper-bound' = '5'",
        ] {
            let ran = Job::new(&format!(
                "CREATE TABLE m (id INT, v INT) WITH ('connector' = 'jdbc', {url}, 'table-name' = 'many' {parts});
                 SET 'execution.runtime-mode' = 'batch'; SELECT COUNT(*), COUNT(DISTINCT id), SUM(v) FROM m;"
            ))
            .run(&["--set", "parallelism.default=3"]);
            let ran = ran.succeeded();
            assert_eq!(ran.rows().into_keys().collect::<Vec<_>>(), ["[30000, 30000, 210000]"], "{name} {parts}");
        }
        // Rows without a value in the key's column come too, once.
        sql("CREATE TABLE some_null (id INT UNIQUE, v INT)");
        sql("INSERT INTO some_null VALUES (NULL, 1), (3, 2), (NULL, 3), (1, 4), (-5, 5), (2, 6)");
        let ran = run(&format!(
            "CREATE TABLE s (v INT) WITH ('connector' = 'jdbc', {url}, 'table-name' = 'some_null', 'scan.fetch-size' = '2');
             SET 'execution.runtime-mode' = 'batch'; SELECT COUNT(*), COUNT(DISTINCT v), SUM(v) FROM s;"
        ));
        assert_eq!(ran.succeeded().out, "+I[6, 6, 21]\n", "{name}");
    }
}

/// Reads a table into files, slowly and a few rows at a time.
fn into_files(url: &str, columns: &str, options: &str) -> Job {
    Job::new(&format!(
        "SET 'parallelism.default' = '1'; SET 'execution.checkpointing.interval' = '50ms';
         CREATE TABLE t ({columns}) WITH ('connector' = 'jdbc', {url}, 'scan.fetch-size' = '20' {options});
         CREATE TABLE out_t ({columns}) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
         INSERT INTO out_t SELECT * FROM t;"
    ))
}

fn slowly(job: &Job) -> std::process::Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(job.path("log.txt")).expect("a log");
    let mut command = job.command(&[]);
    command.env("WEIR_FAILPOINTS", "source-poll=sleep(20)").stdout(std::process::Stdio::null()).stderr(log);
    command.spawn().expect("weir")
}

/// Kills a job once it has noted rows in a durable epoch.
fn killed_in_the_middle(job: &Job) {
    let before = hidden_bytes(job);
    let mut child = slowly(job);
    assert!(weir_tests::comes(|| hidden_bytes(job) > before), "{:?}", std::fs::read_to_string(job.path("log.txt")));
    // Behind what an epoch has noted there is more.
    let noted = hidden_bytes(job);
    assert!(weir_tests::comes(|| hidden_bytes(job) > noted), "{:?}", std::fs::read_to_string(job.path("log.txt")));
    assert!(child.try_wait().expect("its state").is_none(), "it is through");
    let _ = child.kill();
    let _ = child.wait();
}

fn hidden_bytes(job: &Job) -> u64 {
    let Ok(files) = std::fs::read_dir(job.path("out")) else { return 0 };
    files
        .flatten()
        .filter(|f| !f.file_name().to_string_lossy().starts_with(".weir"))
        .map(|f| f.metadata().map_or(0, |m| m.len()))
        .sum()
}

fn lines(job: &Job) -> Vec<String> {
    let mut all = vec![];
    for part in job.parts("out") {
        all.extend(std::fs::read_to_string(part).expect("text").lines().map(str::to_string));
    }
    all.sort();
    all
}

/// Killed in the middle, and run again: every row is there once, by whatever key, and without one.
#[test]
fn a_table_is_read_on_after_a_kill() {
    for (name, url, sql) in both() {
        let series = |row: &str| match name {
            "MariaDB" => format!("SELECT {row} FROM (SELECT seq AS i FROM seq_1_to_4000) s"),
            _ => format!("SELECT {row} FROM generate_series(1, 4000) AS s (i)"),
        };
        let text = if name == "MariaDB" { "CAST(i * 7919 % 4001 AS CHAR)" } else { "(i * 7919 % 4001)::text" };
        sql("CREATE TABLE by_text (k VARCHAR(20) PRIMARY KEY, v INT)");
        sql(&format!("INSERT INTO by_text {}", series(&format!("{text}, i"))));
        sql("CREATE TABLE by_two (a INT NOT NULL, b BIGINT NOT NULL, v INT, PRIMARY KEY (a, b))");
        sql(&format!("INSERT INTO by_two {}", series("i % 7, i, i")));
        sql("CREATE TABLE by_none (k INT, v INT)");
        sql(&format!("INSERT INTO by_none {}", series("i % 3, i")));
        let before = "k STRING, v INT";
        let parts = "'scan.partition.column' = 'a', 'scan.partition.num' = '3', 'scan.partition.lower-bound' = '0',
                     'scan.partition.upper-bound' = '6'";
        let cases = [
            (before, "'table-name' = 'by_text'".to_string()),
            ("a INT, b BIGINT, v INT", "'table-name' = 'by_two'".to_string()),
            ("a INT, b BIGINT, v INT", format!("'table-name' = 'by_two', {parts}")),
            ("k INT, v INT", "'table-name' = 'by_none'".to_string()),
            (
                "k INT, v INT",
                "'table-name' = 'by_none', 'scan.query' = 'SELECT k, v FROM by_none WHERE v > 0'".to_string(),
            ),
        ];
        for (columns, options) in cases {
            let job = into_files(&url, columns, &format!(", {options}"));
            killed_in_the_middle(&job);
            killed_in_the_middle(&job);
            job.run(&[]).succeeded();
            let mut there: Vec<u32> = lines(&job).iter().filter_map(|l| l.rsplit(',').next()?.parse().ok()).collect();
            there.sort_unstable();
            assert!(there == (1..=4000).collect::<Vec<_>>(), "{name} {options}: {} rows", there.len());
        }
        // Without a key, other rows are not taken for the same.
        let job = into_files(&url, "k INT, v INT", ", 'table-name' = 'by_none'");
        killed_in_the_middle(&job);
        sql("DELETE FROM by_none WHERE v = 2");
        job.run(&[]).failed(5, &["has no unique key", "--fresh"]);
    }
}

/// Rows come and go while a table is read: those that nobody touches come, each once.
#[test]
fn rows_that_nobody_touches_come_once() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE busy (k INT, v INT)");
        sql("CREATE TABLE busy_keyed (k INT PRIMARY KEY, v INT)");
        let series = match name {
            "MariaDB" => "SELECT seq, seq % 2 FROM seq_1_to_4000",
            _ => "SELECT i, i % 2 FROM generate_series(1, 4000) AS s (i)",
        };
        for table in ["busy", "busy_keyed"] {
            sql(&format!("INSERT INTO {table} {series}"));
            let job = into_files(&url, "k INT, v INT", &format!(", 'table-name' = '{table}'"));
            let mut child = slowly(&job);
            for from in (0..4000).step_by(400) {
                sql(&format!("DELETE FROM {table} WHERE v = 0 AND k > {from} AND k <= {from} + 400"));
                sql(&format!("INSERT INTO {table} VALUES (-{from} - 1, 0)"));
            }
            assert!(child.wait().expect("its end").success(), "{name} {table}");
            let all = lines(&job);
            let untouched: Vec<&String> = all.iter().filter(|l| l.ends_with(",1")).collect();
            let mut once = untouched.clone();
            once.dedup();
            assert_eq!((untouched.len(), once.len()), (2000, 2000), "{name} {table}");
        }
    }
}

#[test]
fn keys_are_larger_than_any_number_of_a_script() {
    let db = mariadb();
    db.sql("CREATE TABLE wide (id BIGINT UNSIGNED PRIMARY KEY, v INT)");
    db.sql(
        "INSERT INTO wide VALUES (0, 1), (9223372036854775807, 2), (9223372036854775808, 3), (18446744073709551615, 4)",
    );
    let (url, wide) = (db.url(), "'table-name' = 'wide', 'scan.fetch-size' = '1'");
    let options = format!("'connector' = 'jdbc', 'url' = '{url}', 'username' = 'root', 'password' = '', {wide}");
    let ran = run(&format!("CREATE TABLE w (id DECIMAL(20, 0), v INT) WITH ({options}); SELECT id, v FROM w;"));
    let mut lines: Vec<String> = ran.succeeded().out.lines().map(str::to_string).collect();
    lines.sort();
    let wanted =
        ["+I[0, 1]", "+I[18446744073709551615, 4]", "+I[9223372036854775807, 2]", "+I[9223372036854775808, 3]"];
    assert_eq!(lines, wanted);
    let parts = |more: &str| {
        let parts = "'scan.partition.column' = 'id', 'scan.partition.num'";
        run(&format!("CREATE TABLE w (v INT) WITH ({options}, {parts} = {more}); SELECT v FROM w;"))
    };
    let whole =
        "'scan.partition.lower-bound' = '-9223372036854775808', 'scan.partition.upper-bound' = '9223372036854775807'";
    assert_eq!(parts(&format!("'7', {whole}")).succeeded().out.lines().count(), 4);
    parts(&format!("'9223372036854775807', {whole}")).failed(2, &["'scan.partition.num' is at most 10000"]);
}

#[test]
fn what_a_database_refuses() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE narrow (id INT PRIMARY KEY, v VARCHAR(3) NOT NULL)");
        let insert = |more: &str| {
            run(&format!(
                "CREATE TABLE t (id INT, v STRING, PRIMARY KEY (id) NOT ENFORCED)
                   WITH ('connector' = 'jdbc', {url}, 'table-name' = 'narrow' {more});
                 INSERT INTO t VALUES (1, 'ok'), (2, 'too long'), (3, CAST(NULL AS STRING)), (4, 'abc');"
            ))
        };
        insert("").failed(3, &["table 'narrow'", "refuses (2, too long)", "'on-error' = 'skip'"]);
        assert_eq!(sql("SELECT COUNT(*) FROM narrow"), "0\n", "{name}: an epoch is written whole or not at all");
        let ran = insert(", 'on-error' = 'skip'").succeeded();
        assert!(ran.err.contains("2 bad rows"), "{}", ran.err);
        assert_eq!(sql("SELECT id, v FROM narrow ORDER BY id"), "1\tok\n4\tabc\n", "{name}");
    }
}

#[test]
fn what_is_not_as_it_should_be() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE plain (id INT, v INT)");
        let insert = |columns: &str, options: &str| {
            run(&format!(
                "CREATE TABLE t ({columns}) WITH ('connector' = 'jdbc', {options}); INSERT INTO t VALUES (1, 2);"
            ))
        };
        let two = "id INT, v INT";
        insert(two, &format!("{url}, 'table-name' = 'nowhere'")).failed(2, &["no table 'nowhere'", "line 1"]);
        insert("id INT, w INT", &format!("{url}, 'table-name' = 'plain'"))
            .failed(2, &["no column 'w'", "there are: id, v"]);
        insert("id INT, v INT, PRIMARY KEY (id) NOT ENFORCED", &format!("{url}, 'table-name' = 'plain'"))
            .failed(2, &["no unique index on (id)", "ADD PRIMARY KEY"]);
        insert("id INT, v ARRAY<INT>", &format!("{url}, 'table-name' = 'plain'")).failed(2, &["ARRAY"]);
        insert(two, &format!("{url}, 'table-name' = 'plain', 'table-nam' = 'x'"))
            .failed(2, &["'table-nam'", "did you mean"]);
        let wrong = url.replace("/weir'", "/nothing'").replace("/postgres'", "/nothing'");
        insert(two, &format!("{wrong}, 'table-name' = 'plain'")).failed(2, &["nothing"]);
        let scheme = if name == "MariaDB" { "mysql" } else { "postgresql" };
        let nobody =
            format!("'url' = 'jdbc:{scheme}://127.0.0.1:{}/x', 'username' = 'u', 'password' = 'hidden'", free_port());
        let ran = insert(two, &format!("{nobody}, 'table-name' = 'plain'"))
            .failed(6, &["cannot connect to", "check that the address"]);
        assert!(!ran.err.contains("hidden"), "the password is shown: {}", ran.err);
    }
    mariadb().sql("CREATE USER somebody@'%' IDENTIFIED BY 'right'");
    let url = mariadb().url();
    run(&format!(
        "CREATE TABLE t (id INT) WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'plain', 'username' = 'somebody',
           'password' = 'wrong'); INSERT INTO t VALUES (1);"
    ))
    .failed(2, &["cannot connect to", "check 'username' and 'password'"]);
    // Who may read only is told so, with what the marks need.
    mariadb().sql("CREATE USER looker@localhost; GRANT SELECT ON weir.plain TO looker@localhost");
    let looker = |more: &str| {
        run(&format!(
            "CREATE TABLE t (id INT, v INT) WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'plain', 'username' = 'looker' {more});
             INSERT INTO t VALUES (1, 2);"
        ))
    };
    looker("").failed(2, &["denied", "weir_epochs"]);
    looker(", 'sink.delivery-guarantee' = 'at-least-once'").failed(2, &["denied", "the user lacks the right"]);
    run("CREATE TABLE t (id INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:oracle://x/y', 'table-name' = 't'); SELECT * FROM t;")
        .failed(2, &["there is no database 'oracle'"]);
}

/// Who may make no table of marks writes at least once without, which is said; who was given one needs no more.
#[test]
fn marks_are_made_or_given_or_done_without() {
    let db = Postgres::start();
    db.sql(
        "CREATE TABLE plain (id INT, v INT); CREATE ROLE guest LOGIN; GRANT SELECT, INSERT ON plain TO guest;
         REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
    );
    let writes = |user: &str, more: &str| {
        run(&format!(
            "CREATE TABLE t (id INT, v INT) WITH ('connector' = 'jdbc', 'url' = '{}', 'table-name' = 'plain', 'username' = '{user}' {more});
             INSERT INTO t VALUES (1, 2), (3, 4), (5, 6);",
            db.url()
        ))
    };
    let (once, without) =
        ("'sink.delivery-guarantee' = 'at-least-once'", "nothing will tell whether another run writes to");
    writes("guest", "").failed(2, &["denied", "the right to create the table weir_epochs", "'at-least-once'"]);
    let options = ", 'sink.buffer-flush.max-rows' = '2', 'sink.buffer-flush.interval' = '1 s'";
    let ran = writes("guest", &format!(", {once} {options}")).succeeded();
    assert!(ran.err.contains(without), "{}", ran.err);
    assert!(ran.err.contains("'sink.buffer-flush.interval' of table"), "{}", ran.err);
    assert!(!ran.err.contains("'sink.buffer-flush.max-rows' of table"), "{}", ran.err);
    let ran = writes("postgres", options).succeeded();
    assert!(ran.err.contains("'sink.buffer-flush.max-rows' of table"), "{}", ran.err);
    db.sql("GRANT SELECT, INSERT, UPDATE ON weir_epochs TO guest");
    writes("guest", "").succeeded();
    assert!(!writes("guest", &format!(", {once}")).succeeded().err.contains(without));
    assert_eq!(db.sql("SELECT count(*) FROM plain").trim(), "12");
}

/// What a URL says beside the place acts, or is refused or told.
#[test]
fn what_a_url_says() {
    let db = postgres();
    db.sql("CREATE SCHEMA drawer; CREATE TABLE drawer.kept (id INT); INSERT INTO drawer.kept VALUES (7);");
    db.sql("CREATE DATABASE \"größe\"");
    let of = |url: String, user: &str, table: &str| {
        run(&format!(
            "CREATE TABLE t (id INT) WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = '{table}' {user}); SELECT * FROM t;"
        ))
    };
    let user = ", 'username' = 'postgres'";
    let ran = of(format!("{}?currentSchema=drawer&ApplicationName=x", db.url()), user, "kept").succeeded();
    assert_eq!(ran.out, "+I[7]\n");
    assert!(ran.err.contains("'ApplicationName' in 'url' of table"), "{}", ran.err);
    of(db.url(), user, "kept").failed(2, &["there is no table 'kept'"]);
    // Without a user it is the system's, whom that server does not know.
    let named = db.url().replace("//", "//postgres@");
    assert_eq!(of(named, "", "drawer.kept").succeeded().out, "+I[7]\n");
    let (place, _) = db.url().rsplit_once('/').map(|(a, b)| (a.to_string(), b.to_string())).expect("a database");
    of(format!("{place}/größe"), user, "kept").failed(2, &["there is no table 'kept'"]);
    of(format!("{}?sslmode=verify-ful", db.url()), user, "kept").failed(2, &["no mode of TLS 'verify-ful'", "'url'"]);
    of(format!("{}?ssl=true", db.url()), user, "kept").failed(6, &["TLS"]);
    of(format!("{}?useSSL=perhaps", mariadb().url()), user, "kept").failed(2, &["'useSSL' is true or false"]);
}

#[test]
fn rows_are_looked_up_by_key() {
    for (name, url, sql) in both() {
        sql(
            "CREATE TABLE products (id BIGINT, kind VARCHAR(10), title VARCHAR(50), price DECIMAL(10, 2), PRIMARY KEY (id, kind))",
        );
        sql(
            "INSERT INTO products VALUES (1, 'a', 'one', 1.50), (1, 'b', 'another one', 2.50), (2, 'a', 'two', NULL), (3, 'A', 'three', 3)",
        );
        let job = |join: &str, more: &str, select: &str| {
            let job = Job::new(&format!(
                "CREATE TABLE o (n INT, id INT, kind STRING, proctime AS PROCTIME()) WITH ('connector' = 'filesystem',
                   'path' = 'in.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
                 CREATE TABLE p (id BIGINT, kind STRING, title STRING, price DECIMAL(10, 2),
                   PRIMARY KEY (id, kind) NOT ENFORCED)
                   WITH ('connector' = 'jdbc', {url}, 'table-name' = 'products' {more});
                 SELECT {select} FROM o {join};"
            ));
            job.file("in.csv", "1,1,a\n2,2,a\n3,9,a\n4,NULL,a\n5,1,b\n6,1,a\n7,3,a\n");
            job.run(&["--set", "parallelism.default=1"])
        };
        let on = "ON o.id = d.id AND o.kind = d.kind";
        let as_of = "p FOR SYSTEM_TIME AS OF o.proctime AS d";
        for cache in ["", ", 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '2'"] {
            let ran = job(&format!("JOIN {as_of} {on}"), cache, "n, title, price").succeeded();
            assert_eq!(
                ran.out, "+I[1, one, 1.50]\n+I[2, two, null]\n+I[5, another one, 2.50]\n+I[6, one, 1.50]\n",
                "{name} {cache}"
            );
            let ran = job(&format!("LEFT JOIN {as_of} {on}"), cache, "n, d.title").succeeded();
            let titles = ["one", "two", "null", "null", "another one", "one", "null"];
            let wanted: String = titles.iter().enumerate().map(|(i, t)| format!("+I[{}, {t}]\n", i + 1)).collect();
            assert_eq!(ran.out, wanted, "{name} {cache}");
        }
        // Several rows of a key, a constant to look up by, and what is left to be checked.
        let ran = job(&format!("JOIN {as_of} ON o.id = d.id"), "", "n, d.kind").succeeded();
        assert_eq!(ran.rows().len(), 8, "{name}: {}", ran.out);
        let ran =
            job(&format!("JOIN {as_of} ON o.id = d.id AND d.kind = 'b' AND d.price > n"), "", "n, title").succeeded();
        assert_eq!(ran.out, "+I[1, another one]\n", "{name}");
        // A condition beside a whole key leaves the row on the left alone; beside a part of one it is not decided.
        let ran = job(&format!("LEFT JOIN {as_of} {on} AND d.price > 2 AND n < 6"), "", "n, title, d.id").succeeded();
        let titles =
            ["null, null", "null, null", "null, null", "null, null", "another one, 1", "null, null", "null, null"];
        let wanted: String = titles.iter().enumerate().map(|(i, t)| format!("+I[{}, {t}]\n", i + 1)).collect();
        assert_eq!(ran.out, wanted, "{name}");
        job(&format!("LEFT JOIN {as_of} ON o.id = d.id AND d.price > 2"), "", "n").failed(2, &["whole primary key"]);
        job(&format!("JOIN {as_of} ON d.price > 1"), "", "n")
            .failed(2, &["ON has no equality by which 'p' could be asked"]);
        job("JOIN p FOR SYSTEM_TIME AS OF o.n AS d ON o.id = d.id", "", "n")
            .failed(2, &["no processing time", "PROCTIME()"]);
        job("JOIN o FOR SYSTEM_TIME AS OF o.proctime AS d ON o.id = d.id", "", "o.n")
            .failed(2, &["'o' has computed columns"]);
    }
}

#[test]
fn refused_rows_go_to_a_table_beside() {
    for (name, url, sql) in both() {
        let (bytes, stamp) = if name == "MariaDB" { ("BLOB", "DATETIME(3)") } else { ("BYTEA", "TIMESTAMPTZ") };
        sql("CREATE TABLE short (id INT PRIMARY KEY, v VARCHAR(3) NOT NULL)");
        sql(&format!(
            "CREATE TABLE refused (reason TEXT NOT NULL, origin TEXT, record {bytes}, time {stamp} NOT NULL)"
        ));
        let job = |letters: &str, more: &str| {
            run(&format!(
                "CREATE TABLE t (id INT, v STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'jdbc', {url},
                   'table-name' = 'short', 'on-error' = 'dead-letter', 'dead-letter.table' = 'letters' {more});
                 CREATE TABLE letters (reason STRING, origin STRING, record BYTES, `time` TIMESTAMP_LTZ(3)) WITH ({letters});
                 INSERT INTO t VALUES (1, 'ok'), (2, 'too long'), (3, CAST(NULL AS STRING)), (4, 'abc');"
            ))
        };
        for guarantee in ["exactly-once", "at-least-once"] {
            sql("DELETE FROM short");
            sql("DELETE FROM refused");
            let beside = format!("'connector' = 'jdbc', {url}, 'table-name' = 'refused'");
            let ran = job(&beside, &format!(", 'sink.delivery-guarantee' = '{guarantee}'")).succeeded();
            assert!(ran.err.contains("2 bad rows"), "{}", ran.err);
            assert_eq!(sql("SELECT id, v FROM short ORDER BY id"), "1\tok\n4\tabc\n", "{name}, {guarantee}");
            let text = if name == "MariaDB" { "record" } else { "convert_from(record, 'UTF8')" };
            let letters = sql(&format!("SELECT {text} FROM refused WHERE origin LIKE '%short%' ORDER BY 1"));
            assert_eq!(letters, "{\"id\":2,\"v\":\"too long\"}\n{\"id\":3,\"v\":null}\n", "{name}, {guarantee}");
        }
        job("'connector' = 'print'", "").failed(2, &["'t' refuses cannot go to 'letters'", "same database"]);
    }
    let other = job_between(&both()[0].1, &both()[1].1);
    other.failed(2, &["'letters' is not in the database of 't'"]);
}

fn job_between(url: &str, letters: &str) -> Ran {
    run(&format!(
        "CREATE TABLE t (id INT) WITH ('connector' = 'jdbc', {url}, 'table-name' = 'short', 'on-error' = 'dead-letter',
           'dead-letter.table' = 'letters');
         CREATE TABLE letters (reason STRING) WITH ('connector' = 'jdbc', {letters}, 'table-name' = 'refused');
         INSERT INTO t VALUES (1);"
    ))
}

/// Rows of several groups have one key in the sink: what one group takes back leaves the other's row there.
#[test]
fn groups_share_a_key_of_the_sink() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE tops (id INT PRIMARY KEY, k VARCHAR(10))");
        let job = |more: &str| {
            sql("DELETE FROM tops");
            run(&format!(
                "SET 'table.exec.mini-batch.size' = '1'; {more}
                 CREATE TABLE t (id INT, k STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'jdbc', {url},
                   'table-name' = 'tops');
                 INSERT INTO t SELECT MAX(n), k FROM (VALUES ('a', 1), ('b', 1), ('a', 2), ('c', 2), ('c', 3)) AS v (k, n) GROUP BY k;"
            ))
            .succeeded();
            sql("SELECT id, k FROM tops ORDER BY id")
        };
        assert_eq!(job(""), "1\tb\n2\ta\n3\tc\n", "{name}");
        let torn = job("SET 'table.exec.sink.upsert-materialize' = 'NONE';");
        assert_eq!(torn, "3\tc\n", "{name}: without it c takes a's row away, and a b's");
        // Many groups, subtasks and restarts' worth of epochs: every value that is some group's greatest has a row.
        sql("DELETE FROM tops");
        Job::new(&format!(
            "SET 'table.exec.mini-batch.size' = '50'; SET 'execution.checkpointing.interval' = '20ms';
             CREATE TABLE n (n INT) WITH ('connector' = 'datagen', 'number-of-rows' = '20000', 'rows-per-second' = '20000',
               'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '20000');
             CREATE TABLE t (id INT, k STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'jdbc', {url},
               'table-name' = 'tops');
             INSERT INTO t SELECT MAX(MOD(n * 7, 100) + n / 1000), CAST(MOD(n, 300) AS STRING) FROM n GROUP BY MOD(n, 300);"
        ))
        .run(&["--set", "parallelism.default=3"])
        .succeeded();
        let mut greatest = std::collections::BTreeMap::new();
        for n in 1..=20_000 {
            let g = greatest.entry(n % 300).or_insert(0);
            *g = (n * 7 % 100 + n / 1_000).max(*g);
        }
        let mut wanted: Vec<i32> = greatest.into_values().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let there: Vec<i32> = sql("SELECT id FROM tops ORDER BY id").lines().filter_map(|l| l.parse().ok()).collect();
        assert_eq!(there, wanted, "{name}");
    }
}

/// More keys than a statement takes: several are asked for beside each other.
#[test]
fn many_rows_are_looked_up_at_once() {
    for (name, url, sql) in both() {
        sql("CREATE TABLE halves (id INT PRIMARY KEY, h INT)");
        let n = "CREATE TABLE n (n INT, p AS PROCTIME()) WITH ('connector' = 'datagen', 'number-of-rows' = '40000',
                   'rows-per-second' = '1000000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '40000');";
        let halves = |more: &str| {
            format!(
                "{n} CREATE TABLE h (id INT, h INT, PRIMARY KEY (id) NOT ENFORCED)
                   WITH ('connector' = 'jdbc', {url}, 'table-name' = 'halves' {more});"
            )
        };
        run(&format!("{} INSERT INTO h SELECT n, n / 2 FROM n WHERE n <= 30000;", halves(""))).succeeded();
        for connections in ["1", "4"] {
            let ran = run(&format!(
                "SET 'execution.runtime-mode' = 'batch'; {}
                 SELECT COUNT(*), COUNT(h), SUM(CASE WHEN h.h = n / 2 THEN 1 ELSE 0 END)
                 FROM n LEFT JOIN h FOR SYSTEM_TIME AS OF n.p ON n.n = h.id;",
                halves(&format!(", 'lookup.connections' = '{connections}'"))
            ));
            assert_eq!(ran.succeeded().out, "+I[40000, 30000, 30000]\n", "{name}, {connections}");
        }
    }
}
