//! Smaller real services that tests talk to: Redis, ClickHouse's engine, a schema registry, a store that speaks S3, and an HTTP
//! address that notes who calls. Each ends with the process that started it.

use crate::repository;
use crate::servers::{Server, answers, free_port, logged, run, spawn};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

fn started(make: impl FnOnce(&tempfile::TempDir, u16) -> Command) -> Server {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let mut command = make(&folder, port);
    let log = folder.path().join("log");
    logged(&mut command, &log);
    let mut child = spawn(command);
    answers(port, &mut child, &log);
    Server { child, folder, port }
}

/// Python with what `tests/servers/install` puts beside it.
pub fn python() -> PathBuf {
    let python = repository("target/servers/python-1");
    assert!(python.join(".whole").is_file(), "Python's packages are not there: run tests/servers/install");
    python.join("bin/python")
}

/// Runs a script of Python; gives what it prints.
pub fn python_says(script: &str, arguments: &[&str]) -> String {
    run(Command::new(python()).args(["-c", script]).args(arguments))
}

/// A Redis server with the password `secret`.
pub struct Redis(Server);

impl Redis {
    /// Starts one.
    pub fn start() -> Redis {
        Redis(started(|folder, port| {
            let mut c = Command::new("redis-server");
            c.args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--requirepass",
                "secret",
                "--dir",
            ]);
            c.arg(folder.path());
            c
        }))
    }

    /// What the command-line client prints for a command.
    pub fn says(&self, command: &[&str]) -> String {
        let port = self.0.port.to_string();
        run(Command::new("redis-cli").args(["-p", &port, "-a", "secret", "--no-auth-warning"]).args(command))
    }

    /// Runs commands, one a line.
    pub fn pipe(&self, commands: &str) {
        let file = self.0.folder.path().join("commands");
        std::fs::write(&file, commands).expect("the commands");
        let port = self.0.port.to_string();
        let mut client = Command::new("redis-cli");
        client
            .args(["-p", &port, "-a", "secret", "--no-auth-warning"])
            .stdin(std::fs::File::open(file).expect("the commands"));
        let out = client.output().expect("redis-cli");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && !text.contains("ERR"), "{text}");
    }

    /// The URL, without the password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.0.port)
    }
}

/// ClickHouse's engine behind its HTTP interface.
pub struct ClickHouse(Server);

impl ClickHouse {
    /// Starts one.
    pub fn start() -> ClickHouse {
        ClickHouse(started(|folder, port| {
            let mut c = Command::new(python());
            c.arg(repository("tests/servers/clickhouse")).arg(port.to_string()).arg(folder.path().join("data"));
            c
        }))
    }

    /// What a query gives, tabs between the columns.
    pub fn sql(&self, sql: &str) -> String {
        run(Command::new("curl").args(["-sS", "--fail-with-body", &self.url(), "--data-binary", sql]))
    }

    /// Makes it refuse the next request, as one that has too much to do.
    pub fn refuse_once(&self) {
        std::fs::write(self.0.folder.path().join("data.refuse"), "").expect("a mark");
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.0.port)
    }
}

/// A schema registry with Confluent's interface.
pub struct Registry(Server);

impl Registry {
    /// Starts one.
    pub fn start() -> Registry {
        let folder = repository("target/servers/registry-2.6.13");
        assert!(folder.join(".whole").is_file(), "the schema registry is not there: run tests/servers/install");
        Registry(started(|_, port| {
            let mut c = Command::new("java");
            c.arg("-Xmx256m").arg(format!("-Dquarkus.http.port={port}")).arg("-Dquarkus.http.host=127.0.0.1");
            c.arg("-jar").arg(folder.join("apicurio-registry-app-2.6.13.Final-runner.jar"));
            c
        }))
    }

    /// The URL of its interface.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.0.port)
    }

    /// Registers a schema; gives its number.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        let body = format!("{{\"schema\": {}}}", json_text(schema));
        let answer = run(Command::new("curl")
            .args(["-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-d", &body])
            .arg(format!("{}/subjects/{subject}/versions", self.url())));
        let digits: String = answer.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number in {answer}"))
    }

    /// The newest schema of a subject, as the registry's answer.
    pub fn latest(&self, subject: &str) -> String {
        run(Command::new("curl").args(["-sS", &format!("{}/subjects/{subject}/versions/latest", self.url())]))
    }
}

fn json_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A store that speaks S3, with the bucket `weir`.
pub struct S3(Server);

impl S3 {
    /// Starts one.
    pub fn start() -> S3 {
        let s3 = S3(started(|_, port| {
            let mut c = Command::new(python());
            c.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
            c
        }));
        run(Command::new("curl").args(["-sS", "--fail-with-body", "-X", "PUT", &format!("{}/weir", s3.url())]));
        s3
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// What a command needs to know of it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", self.url()),
            ("AWS_ALLOW_HTTP", "true".to_string()),
            ("AWS_ACCESS_KEY_ID", "key".to_string()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_string()),
            ("AWS_REGION", "us-east-1".to_string()),
        ]
    }

    /// The keys of its bucket, as XML.
    pub fn list(&self) -> String {
        run(Command::new("curl").args(["-sS", &format!("{}/weir?list-type=2", self.url())]))
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The first line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
}

/// An HTTP address that notes who calls, and answers as it is told.
pub struct Listener {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Listener {
    /// Listens; `answer` gives the status for the call of this number, from 0.
    pub fn start(answer: impl Fn(usize, &Call) -> u16 + Send + 'static) -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("its address").port();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let noted = calls.clone();
        std::thread::spawn(move || {
            for mut stream in socket.incoming().flatten() {
                let mut reader = BufReader::new(&stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|n| n > 0) {}
                let length =
                    head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = reader.read_exact(&mut body);
                let call = Call { head, body: String::from_utf8_lossy(&body).into_owned() };
                let mut calls = noted.lock().unwrap_or_else(PoisonError::into_inner);
                let status = answer(calls.len(), &call);
                calls.push(call);
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsaid");
            }
        });
        Listener { port, calls }
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook/s3cr3t", self.port)
    }

    /// What came so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
