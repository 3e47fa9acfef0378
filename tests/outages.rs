//! What comes and goes around a job: brokers, networks, databases, locks, connections, marks. The job waits, and its results are
//! those of a quiet day.

use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use weir_tests::http::Listening;
use weir_tests::proxy::Proxy;
use weir_tests::servers::{Kafka, KafkaCluster, MariaDb, Postgres, free_port};
use weir_tests::{Job, Ran, comes};

const ROWS: usize = 150_000;
const ALL: &str = ", 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

/// How long networks are cut; `WEIR_CUT_SECONDS` sets more.
fn cut() -> Duration {
    Duration::from_secs(std::env::var("WEIR_CUT_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(6))
}

fn table(servers: &str, name: &str, more: &str) -> String {
    format!(
        "CREATE TABLE {name}_t (n BIGINT) WITH ('connector' = 'kafka', 'topic' = '{name}',
           'properties.bootstrap.servers' = '{servers}', 'format' = 'raw' {more});"
    )
}

/// Whole numbers of a range.
fn numbers(range: RangeInclusive<usize>) -> String {
    let (first, last) = (range.start(), range.end());
    format!(
        "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{}', 'rows-per-second' = '1000000',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '{first}', 'fields.n.end' = '{last}');",
        last - first + 1
    )
}

fn fill(servers: &str, range: RangeInclusive<usize>) {
    let script = format!("{} {} INSERT INTO in_t SELECT n FROM n;", numbers(range), table(servers, "in", ""));
    Job::new(&script).run(&[]).succeeded();
}

/// A job that copies a topic: to its present end, or for ever.
fn copy(servers: &str, from: &str) -> Job {
    Job::new(&format!(
        "SET 'execution.checkpointing.interval' = '100ms'; SET 'table.exec.mini-batch.size' = '100'; {} {}
         INSERT INTO out_t SELECT n FROM in_t;",
        table(servers, "in", from),
        table(servers, "out", ", 'sink.delivery-guarantee' = 'exactly-once'"),
    ))
}

/// Starts a job that listens, so that what it counts can be waited for.
fn start(job: &Job) -> Listening {
    Listening::start(job, &[], &[])
}

/// The same with sources that are slowed down, so that it lives through what comes.
fn start_slowly(job: &Job) -> Listening {
    Listening::start(job, &[], &[("WEIR_FAILPOINTS", "source-poll=sleep(20)")])
}

/// Waits until a job has made two more epochs durable, of which the first has been delivered: it is at work.
fn works(job: &Listening) {
    let epochs = |j: &Listening| j.metric("weir_epochs_total", &[]);
    let before = epochs(job);
    job.until("two epochs", |j| epochs(j) >= before + 2.0);
}

fn stop(job: &Listening) {
    // SAFETY: a signal to our own child.
    unsafe { libc::kill(job.id(), libc::SIGTERM) };
}

fn ends(mut job: Listening) -> String {
    assert_eq!(job.ends(), Some(0), "{}", job.said());
    job.said()
}

/// What the copy has: its rows, how many different ones, the least and the greatest.
fn counted(servers: &str) -> String {
    let read = Job::new(&format!(
        "SET 'execution.runtime-mode' = 'batch'; {} SELECT COUNT(*), COUNT(DISTINCT n), MIN(n), MAX(n) FROM out_t;",
        table(servers, "out", ALL)
    ));
    read.run(&[]).succeeded().out
}

fn copied(servers: &str, said: &str) {
    assert_eq!(counted(servers), format!("+I[{ROWS}, {ROWS}, 1, {ROWS}]\n"), "{said}");
}

#[test]
fn a_cluster_loses_brokers_one_after_another() {
    let mut cluster = KafkaCluster::start();
    cluster.topic("in", 3);
    cluster.topic("out", 3);
    let servers = cluster.servers();
    // The job reads on for ever, and gets rows before each broker goes: one that has read all would not notice.
    let job = copy(&servers, ", 'scan.startup.mode' = 'earliest-offset'");
    let running = start_slowly(&job);
    let taken = |j: &Listening| j.metric("weir_operator_rows_in_total", &["operator=\"sink out_t\""]);
    for n in 0..3 {
        let before = taken(&running);
        fill(&servers, n * ROWS / 3 + 1..=(n + 1) * ROWS / 3);
        running.until("rows", |j| taken(j) > before);
        cluster.broker(n).restart(Duration::from_secs(2));
    }
    running.until("all rows", |_| counted(&servers).starts_with(&format!("+I[{ROWS}, ")));
    stop(&running);
    copied(&servers, &ends(running));
}

#[test]
fn a_network_is_cut_and_comes_back() {
    let port = free_port();
    let proxy = Proxy::to(port);
    let kafka = Kafka::with(port, |_, _| format!("advertised.listeners=PLAINTEXT://127.0.0.1:{}\n", proxy.port));
    let servers = format!("127.0.0.1:{}", proxy.port);
    kafka.topic("in", 2);
    kafka.topic("out", 2);
    fill(&servers, 1..=ROWS);
    let job = copy(&servers, ALL);
    let running = start_slowly(&job);
    works(&running);
    proxy.cut(cut());
    copied(&servers, &ends(running));
}

/// A job that sums into a database, slowly enough to live through something.
fn sums(url: &str, user: &str) -> Job {
    Job::new(&format!(
        "SET 'execution.checkpointing.interval' = '100ms'; SET 'table.exec.mini-batch.size' = '100'; {}
         CREATE TABLE sums (k BIGINT, n BIGINT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED)
           WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'sums', 'username' = '{user}');
         CREATE TABLE rows_t (n BIGINT) WITH ('connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'rows_t', 'username' = '{user}');
         INSERT INTO sums SELECT MOD(n, 100), COUNT(*), SUM(n) FROM n GROUP BY MOD(n, 100);
         INSERT INTO rows_t SELECT n FROM n WHERE MOD(n, 10) = 0;",
        numbers(1..=ROWS).replace("'1000000'", "'15000'")
    ))
}

const TABLES: &str = "CREATE TABLE sums (k BIGINT PRIMARY KEY, n BIGINT, s BIGINT); CREATE TABLE rows_t (n BIGINT);";

fn summed(sql: impl Fn(&str) -> String, said: &str) {
    let total = ROWS * (ROWS + 1) / 2;
    assert_eq!(sql("SELECT COUNT(*), SUM(n), SUM(s) FROM sums"), format!("100\t{ROWS}\t{total}\n"), "{said}");
    let tenth = ROWS / 10;
    assert_eq!(sql("SELECT COUNT(*), COUNT(DISTINCT n) FROM rows_t"), format!("{tenth}\t{tenth}\n"), "{said}");
}

#[test]
fn databases_go_away_and_come_back() {
    let mut maria = MariaDb::start();
    let mut postgres = Postgres::start();
    maria.sql(TABLES);
    postgres.sql(TABLES);
    let jobs = [sums(&maria.url(), "root"), sums(&postgres.url(), "postgres")];
    let running: Vec<Listening> = jobs.iter().map(start).collect();
    for _ in 0..2 {
        running.iter().for_each(works);
        maria.restart(Duration::from_secs(1));
        postgres = postgres.restart(Duration::from_secs(1));
    }
    let said: Vec<String> = running.into_iter().map(ends).collect();
    summed(|s| maria.sql(s), &said[0]);
    summed(|s| postgres.sql(s), &said[1]);
}

/// Rows that others have locked, and a server that takes no more connections, are waited for as well.
#[test]
fn locks_and_connections_are_waited_for() {
    let maria = MariaDb::start();
    maria.sql(TABLES);
    maria.sql(
        "CREATE USER few@localhost; GRANT ALL ON weir.* TO few@localhost; SET GLOBAL innodb_lock_wait_timeout = 1;
         SET GLOBAL max_connections = 10; INSERT INTO sums VALUES (1, 0, 0);",
    );
    let url = maria.url();
    let port = url.rsplit(':').next().and_then(|r| r.split('/').next()).expect("a port").to_string();
    let client = |user: &str, sql: &str| {
        let mut c = Command::new("mariadb");
        c.args(["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", user, "weir", "-e", sql]);
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a client")
    };
    // A row of the job's is held for longer than the server waits for locks.
    let mut holder = client("root", "BEGIN; SELECT * FROM sums WHERE k = 1 FOR UPDATE; SELECT SLEEP(20);");
    let sleepers = || {
        let listed = maria.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'");
        listed.trim().parse::<usize>().expect("a number")
    };
    assert!(comes(|| sleepers() == 1), "the row is locked");
    // As many as the server takes: one at least finds no room, and the last place is root's.
    let mut crowd: Vec<Child> = (0..10).map(|_| client("few", "SELECT SLEEP(15)")).collect();
    let refused = |crowd: &mut [Child]| crowd.iter_mut().filter_map(|c| c.try_wait().expect("its state")).count();
    // To ask the server would need a place, too. One is refused only once all are taken.
    assert!(comes(|| refused(&mut crowd) > 0), "the server is full");
    let job = sums(&url, "few");
    let said_it = ends(start(&job));
    crowd.iter_mut().chain([&mut holder]).for_each(|c| drop(c.wait()));
    assert!(said_it.contains("Too many connections") && said_it.contains("Lock wait timeout"), "{said_it}");
    summed(|s| maria.sql(s), &said_it);
}

/// Another transaction and the job's wait for each other, and the job's is the one that the database ends: it is written again.
#[test]
fn deadlocks_are_tried_again() {
    let maria = MariaDb::start();
    let postgres = Postgres::start();
    let jobs = [sums(&maria.url(), "root"), sums(&postgres.url(), "postgres")];
    for sql in [TABLES, "CREATE TABLE ballast (n BIGINT);", "INSERT INTO sums VALUES (1, 0, 0);"] {
        maria.sql(sql);
        postgres.sql(sql);
    }
    let running: Vec<Listening> = jobs.iter().map(start).collect();
    let first = "SELECT n FROM sums WHERE k = 1";
    assert!(comes(|| maria.sql(first) != "0\n" && postgres.sql(first) != "0\n"), "the jobs have written");
    // InnoDB ends the transaction that has changed less; PostgreSQL the one that looks first, a second after it began to wait.
    maria.sql(
        "BEGIN; INSERT INTO ballast SELECT seq FROM seq_1_to_20000; SELECT COUNT(*) FROM sums WHERE k = 1 FOR UPDATE;
         SELECT SLEEP(1); SELECT COUNT(*) FROM weir_epochs FOR UPDATE; COMMIT;",
    );
    postgres.sql(
        "BEGIN; SET LOCAL deadlock_timeout = '60s'; SELECT n FROM sums WHERE k = 1 FOR UPDATE;
         DO $$ BEGIN LOOP EXIT WHEN EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted); PERFORM pg_sleep(0.02); END LOOP; END $$;
         SELECT sink FROM weir_epochs FOR UPDATE; COMMIT;",
    );
    let said: Vec<String> = running.into_iter().map(ends).collect();
    for words in &said {
        assert!(words.to_lowercase().contains("deadlock"), "{words}");
    }
    summed(|s| maria.sql(s), &said[0]);
    summed(|s| postgres.sql(s), &said[1]);
}

const ONCE: [&str; 4] = ["--set", "parallelism.default=1", "--set", "restart-strategy.type=none"];

fn run(script: &str) -> Ran {
    Job::new(script).run(&ONCE)
}

/// A broker that wants TLS and a password, and topics that take small messages only.
#[test]
fn brokers_want_passwords_and_small_messages() {
    let secure = free_port();
    let kafka = Kafka::with(free_port(), |folder, port| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"])
            .current_dir(folder)
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|s| s.success()), "openssl makes a certificate");
        let part = |name: &str| std::fs::read_to_string(folder.join(name)).expect("made");
        std::fs::write(folder.join("both.pem"), part("key.pem") + &part("ca.pem")).expect("a file");
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{secure}\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\nsasl.enabled.mechanisms=PLAIN\nlistener.name.secure.ssl.keystore.type=PEM\n\
             listener.name.secure.ssl.keystore.location={}\n\
             listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_weir=\"right\";\n",
            folder.join("both.pem").display(),
            controller = free_port(),
        )
    });
    kafka.topic("t", 1);
    let servers = format!("127.0.0.1:{secure}");
    let acl =
        ["--add", "--allow-principal", "User:weir", "--operation", "All", "--force", "--group", "*", "--topic", "t"];
    kafka.tool("org.apache.kafka.tools.AclCommand", &acl);
    kafka.topic("forbidden", 1);
    let ca = kafka.folder().join("ca.pem");
    let with = |password: &str, ca: &str| {
        table(
            &servers,
            "t",
            &format!(
                ", 'properties.security.protocol' = 'SASL_SSL', 'properties.sasl.mechanism' = 'PLAIN',
                 'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"weir\" password=\"{password}\";'
                 {ca}{ALL}"
            ),
        )
    };
    let trusted = format!(", 'properties.ssl.ca.location' = '{}'", ca.display());
    run(&format!("{} INSERT INTO t_t VALUES (7), (8);", with("right", &trusted).replace(ALL, ""))).succeeded();
    assert_eq!(run(&format!("{} SELECT n FROM t_t;", with("right", &trusted))).succeeded().out, "+I[7]\n+I[8]\n");
    let ran = run(&format!("{} SELECT n FROM t_t;", with("wr0ng", &trusted))).failed(2, &["uthentication"]);
    assert!(!ran.err.contains("wr0ng"), "the password is shown: {}", ran.err);
    for guarantee in ["", ", 'sink.delivery-guarantee' = 'exactly-once'"] {
        let forbidden = with("right", &trusted).replace("'t'", "'forbidden'").replace(ALL, guarantee);
        run(&format!("{forbidden} INSERT INTO t_t VALUES (1);")).failed(2, &["the user lacks the right"]);
    }
    let ran = run(&format!("{} SELECT n FROM t_t;", with("right", "")));
    assert!(ran.code == Some(2) || ran.code == Some(6), "{:?} {}", ran.code, ran.err);
    assert!(ran.err.contains("certificate"), "{}", ran.err);
    kafka.tool(
        "org.apache.kafka.tools.TopicCommand",
        &[
            "--create",
            "--topic",
            "small",
            "--partitions",
            "1",
            "--replication-factor",
            "1",
            "--config",
            "max.message.bytes=1000",
        ],
    );
    let small = |more: &str| table(&kafka.servers(), "small", more).replace("n BIGINT", "n STRING");
    // The refusal may come before the commit begins or during it.
    for (guarantee, points) in
        [("at-least-once", ""), ("exactly-once", ""), ("exactly-once", "kafka-produced=sleep(1500)")]
    {
        let more = format!(", 'sink.delivery-guarantee' = '{guarantee}', 'properties.compression.type' = 'none'");
        let job = Job::new(&format!("{} INSERT INTO small_t VALUES (REPEAT('x', 5000));", small(&more)));
        let ran: Ran = job.command(&ONCE).env("WEIR_FAILPOINTS", points).output().expect("weir").into();
        ran.failed(3, &["small", "too large"]);
    }
    assert_eq!(run(&format!("{} SELECT n FROM small_t;", small(ALL))).succeeded().out, "");
}

/// The mark of a job that has nothing to write is written again and again, for clusters forget silent groups.
#[test]
fn a_silent_job_keeps_its_mark() {
    let kafka = Kafka::start();
    kafka.topic("in", 1);
    kafka.topic("out", 1);
    let servers = kafka.servers();
    let job = Job::new(&format!(
        "SET 'execution.checkpointing.interval' = '100ms'; {} {} INSERT INTO out_t SELECT n FROM in_t;",
        table(&servers, "in", ", 'scan.startup.mode' = 'earliest-offset'"),
        table(&servers, "out", ", 'sink.delivery-guarantee' = 'exactly-once', 'sink.mark-renewal.interval' = '500 ms'"),
    ));
    let running = start(&job);
    // The silence is what is tested: five seconds of it, in which the mark is renewed each half second.
    std::thread::sleep(Duration::from_secs(5));
    stop(&running);
    ends(running);
    let formatter = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
    let offsets = kafka.read("__consumer_offsets", &["--formatter", formatter]);
    let marks = offsets.matches("\"topic\":\"out\"").count();
    assert!((2..=12).contains(&marks), "{marks} marks: {offsets}");
    // And the job goes on from it.
    Job::new(&format!("{} INSERT INTO in_t VALUES (5);", table(&servers, "in", ""))).run(&[]).succeeded();
    let running = start(&job);
    let read = || run(&format!("{} SELECT n FROM out_t;", table(&servers, "out", ALL))).succeeded().out;
    running.until("the row", |_| read() == "+I[5]\n");
    stop(&running);
    ends(running);
}
