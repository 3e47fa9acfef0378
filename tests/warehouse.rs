//! The example of a warehouse between real servers, killed in the middle: all layers and results are what SQLite computes of the same
//! orders, each row once.

use std::path::Path;
use std::process::Command;
use weir_tests::http::Listening;
use weir_tests::servers::{Kafka, MariaDb, Postgres};
use weir_tests::services::{ClickHouse, Redis};
use weir_tests::topics::{committed, send};
use weir_tests::{Job, Ran, comes, repository};

const INPUTS: [&str; 6] = ["orders", "payments", "order_lines", "behaviour", "prices", "rates"];

/// What a script of the example prints.
fn says(script: &str, argument: &Path) -> String {
    let script = repository("examples/warehouse").join(script);
    let ran: Ran = Command::new("python3").arg(script).arg(argument).output().expect("Python").into();
    ran.succeeded().out
}

fn file(name: &str) -> String {
    std::fs::read_to_string(repository("examples/warehouse").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

struct Servers {
    kafka: Kafka,
    mariadb: MariaDb,
    postgres: Postgres,
    redis: Redis,
    clickhouse: ClickHouse,
}

impl Servers {
    /// Starts them, and fills the dimensions from the feed.
    fn start(feed: &Path) -> Servers {
        let kafka = Kafka::start();
        for topic in ["orders", "payments", "order_lines", "behaviour", "order_details", "article_days"] {
            kafka.topic(topic, 2);
        }
        kafka.topic("prices", 1);
        kafka.topic("rates", 1);
        let (mariadb, postgres) = (MariaDb::start(), Postgres::start());
        let (redis, clickhouse) = (Redis::start(), ClickHouse::start());
        let articles = std::fs::read_to_string(feed.join("articles.sql")).expect("the articles");
        mariadb.sql(&format!("CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop; {articles}"));
        postgres.sql(&file("tables.sql"));
        file("clickhouse.sql").split(';').filter(|s| !s.trim().is_empty()).for_each(|s| _ = clickhouse.sql(s));
        redis.pipe(&std::fs::read_to_string(feed.join("customers.redis")).expect("the customers"));
        Servers { kafka, mariadb, postgres, redis, clickhouse }
    }

    fn job(&self, job: &Job, more: &[&str]) -> Listening {
        let address = |url: String, before: &str, after: &str| url.replace(before, "").replace(after, "");
        let environment = [
            ("KAFKA", self.kafka.servers()),
            ("MYSQL", address(self.mariadb.url(), "jdbc:mysql://", "/weir")),
            ("POSTGRES", address(self.postgres.url(), "jdbc:postgresql://", "/postgres")),
            ("REDIS", address(self.redis.url(), "redis://", "/0")),
            ("REDIS_PASSWORD", "secret".to_string()),
            ("CLICKHOUSE_URL", self.clickhouse.url()),
        ];
        let environment: Vec<(&str, &str)> = environment.iter().map(|(k, v)| (*k, v.as_str())).collect();
        Listening::start(job, &[&["--set", "parallelism.default=2"], more].concat(), &environment)
    }

    fn send(&self, feed: &Path, half: &str) {
        for topic in INPUTS {
            let lines = std::fs::read_to_string(feed.join(half).join(topic)).expect("the feed");
            send(&self.kafka, topic, &lines);
        }
    }

    /// What a table holds, in order, amounts in millionths.
    fn held(&self, table: &str) -> String {
        match table {
            "order_details" => self.clickhouse.sql(
                "SELECT order_id, line, customer, region, article, category, quantity, toInt64(amount * 1000000),
                   formatDateTime(ordered, '%F %T') FROM order_details WHERE article != 'check' ORDER BY order_id, line",
            ),
            "category_hours" => self.clickhouse.sql(
                "SELECT formatDateTime(hour, '%F %T'), category, orders, quantity, toInt64(amount * 1000000)
                 FROM category_hours ORDER BY hour, category",
            ),
            "top_articles" => self.postgres.sql(
                "SELECT day, place, article, quantity, (amount * 1000000)::bigint FROM top_articles ORDER BY day, place",
            ),
            "campaigns" => self.postgres.sql("SELECT * FROM campaigns ORDER BY campaign COLLATE \"C\""),
            _ => self.postgres.sql(
                "SELECT region, orders, cancelled, (amount * 1000000)::bigint, (paid * 1000000)::bigint FROM regions
                 ORDER BY region COLLATE \"C\"",
            ),
        }
    }

    /// The number of lines in the detail layer.
    fn details(&self) -> usize {
        self.clickhouse.sql("SELECT count() FROM order_details").trim().parse().expect("a number")
    }
}

#[test]
fn all_layers_are_right_and_each_row_is_there_once_although_the_job_was_killed() {
    let feed = tempfile::tempdir().expect("a folder");
    says("feed.py", feed.path());
    let servers = Servers::start(feed.path());
    let job = Job::new(&file("job.sql"));
    let running = servers.job(&job, &[]);
    servers.send(feed.path(), "0");
    running.until("some details", |_| servers.details() > 1000);
    // The second half comes in while the process ends, and while the next one begins.
    let (at_kill, running) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| servers.send(feed.path(), "1"));
        drop(running);
        let at_kill = servers.details();
        let running = servers.job(&job, &[]);
        sending.join().expect("sent");
        (at_kill, running)
    });
    // Once more, at a moment that nobody has chosen.
    running.until("more details", |_| servers.details() > at_kill);
    drop(running);
    let running = servers.job(&job, &[]);
    for table in ["order_details", "category_hours", "top_articles", "campaigns", "regions"] {
        let wanted = says("expected.py", Path::new(table));
        // Results change until the last record is there.
        let right = comes(|| servers.held(table) == wanted);
        assert!(right, "{table}: {}\nwanted: {wanted}\n{}", servers.held(table), running.said());
    }
    let lines = says("expected.py", Path::new("order_details")).lines().count();
    assert!(at_kill < lines, "everything was there before the kill: this shows little");
    // Once, in the topic between the layers as well.
    let details = committed(&servers.kafka, "order_details").into_iter();
    let mut details: Vec<String> = details.filter_map(|(_, v)| v).filter(|v| !v.contains("\"check\"")).collect();
    assert_eq!(details.len(), lines);
    details.sort();
    details.dedup();
    assert_eq!(details.len(), lines, "records that are there twice");
    assert_eq!(running.metric("weir_operator_late_rows_total", &[]), 0.0);
}
