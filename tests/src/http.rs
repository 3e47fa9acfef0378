//! A running job's own address, as the tests ask it.

use crate::{Job, comes};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A job that runs and listens. It is killed when this is dropped.
pub struct Listening {
    child: Child,
    /// Host and port.
    pub address: String,
    said: Arc<Mutex<String>>,
    token: Arc<Mutex<Option<String>>>,
}

/// An answer: its status and its body.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks an address for something.
pub fn ask(address: &str, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    try_ask(address, method, path, headers, body).unwrap_or_else(|e| panic!("{address}{path}: {e}"))
}

fn try_ask(address: &str, method: &str, path: &str, headers: &[&str], body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    let host = headers.iter().find_map(|h| h.strip_prefix("Host: ")).unwrap_or(address);
    let headers: String = headers.iter().filter(|h| !h.starts_with("Host: ")).map(|h| format!("{h}\r\n")).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )?;
    let mut answer = vec![];
    // Who refuses a request without having read all of it cuts the connection off behind the answer.
    match stream.read_to_end(&mut answer) {
        Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset || answer.is_empty() => return Err(e),
        _ => {}
    }
    let text = String::from_utf8(answer).map_err(std::io::Error::other)?;
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let body = match head.to_lowercase().contains("transfer-encoding: chunked") {
        true => body.split("\r\n").skip(1).step_by(2).collect(),
        false => body.to_string(),
    };
    Ok(Answer { status, body })
}

impl Listening {
    /// Starts a job, and waits until its address answers.
    pub fn start(job: &Job, arguments: &[&str], environment: &[(&str, &str)]) -> Listening {
        let mut command = job.command(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("weir does not start: {e}"));
        let lines = BufReader::new(child.stderr.take().expect("its words")).lines();
        let (said, (sender, address)) = (Arc::new(Mutex::new(String::new())), std::sync::mpsc::channel());
        let (words, token) = (said.clone(), Arc::new(Mutex::new(None)));
        let drawn = token.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(a) = line.strip_prefix("metrics at http://").and_then(|a| a.strip_suffix("/metrics")) {
                    let _ = sender.send(a.to_string());
                }
                if let Some(file) = line.strip_prefix("changes at this address want the token in ") {
                    let text = std::fs::read_to_string(file).expect("the token's file");
                    *drawn.lock().unwrap_or_else(|e| e.into_inner()) = Some(text.trim().to_string());
                }
                let mut words = words.lock().unwrap_or_else(|e| e.into_inner());
                words.push_str(&line);
                words.push('\n');
            }
        });
        let address = address.recv_timeout(Duration::from_secs(120)).unwrap_or_default();
        let it = Listening { child, address, said, token };
        assert!(!it.address.is_empty(), "it does not listen: {}", it.said());
        it
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Asks for something.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let answer = try_ask(&self.address, method, path, headers, body);
        answer.unwrap_or_else(|e| panic!("{path}: {e}: {}", self.said()))
    }

    /// Reads something.
    pub fn get(&self, path: &str) -> String {
        let answer = self.ask("GET", path, &[], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// The header that changes want, with the token that the job drew.
    pub fn authorization(&self) -> String {
        let token = || self.token.lock().unwrap_or_else(|e| e.into_inner()).clone();
        assert!(comes(|| token().is_some()), "it draws no token: {}", self.said());
        format!("Authorization: Bearer {}", token().unwrap_or_default())
    }

    /// Sends JSON, with the token that the job drew.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &["Content-Type: application/json", &self.authorization()], body)
    }

    /// Its metrics: the values by name and labels, as they stand in the text.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.get("/metrics");
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        lines.filter_map(|l| l.rsplit_once(' ')).filter_map(|(k, v)| Some((k.to_string(), v.parse().ok()?))).collect()
    }

    /// The sum of a metric over all lines that hold all of these texts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let all = self.metrics();
        let of = all.iter().filter(|(k, _)| k.split('{').next() == Some(name) && labels.iter().all(|l| k.contains(l)));
        of.map(|(_, v)| v).sum()
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        assert!(comes(|| holds(self)), "{what} does not come: {}", self.said());
    }

    /// Its process.
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for its end; gives its exit code.
    pub fn ends(&mut self) -> Option<i32> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            assert!(since.elapsed() < Duration::from_secs(600), "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
