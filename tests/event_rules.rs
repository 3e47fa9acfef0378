//! The example of events and rules, over real logs: rules that are added, changed and removed while the job runs, and rules that make
//! no sense. What arrives at each action is what Python computes from the logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use weir_tests::http::Listening;
use weir_tests::servers::Kafka;
use weir_tests::services::{Call, Listener, python};
use weir_tests::topics::{committed, send};
use weir_tests::{Job, Ran, repository};

/// What a script of the example prints.
fn says(script: &str, argument: &Path) -> String {
    let script = repository("examples/event-rules").join(script);
    let ran: Ran = Command::new(python()).arg(script).arg(argument).output().expect("Python").into();
    ran.succeeded().out
}

/// The lines that must arrive at an action.
fn expected(action: &str) -> Vec<String> {
    says("expected.py", Path::new(action)).lines().map(str::to_string).collect()
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// The fields of a JSON object, with tabs between them.
fn fields(json: &str, names: &[&str]) -> String {
    let object: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"));
    let text = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    names.iter().map(|n| text(&object[n])).collect::<Vec<_>>().join("\t")
}

/// The bodies of calls, of those with one key that of the first.
fn bodies(listener: &Listener) -> Vec<String> {
    let key = |c: &Call| {
        let key =
            c.head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("idempotency-key: ").map(str::to_string));
        key.unwrap_or_else(|| panic!("no key: {}", c.head))
    };
    listener.calls().iter().map(|c| (key(c), c.body.clone())).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// The example's job on a broker and two addresses that are called, and what was sent to it.
struct Running {
    kafka: Kafka,
    chat: Listener,
    service: Listener,
    feed: tempfile::TempDir,
    job: Listening,
    sent: usize,
    _script: Job,
}

impl Running {
    fn start() -> Running {
        let feed = tempfile::tempdir().expect("a folder");
        says("feed.py", feed.path());
        let kafka = Kafka::start();
        for topic in ["access_log", "logins", "transactions", "alerts"] {
            kafka.topic(topic, 2);
        }
        for topic in ["rules", "refused_rules", "unreadable_logins"] {
            kafka.topic(topic, 1);
        }
        // A call that is not taken is made again.
        let chat = Listener::start(|call, _| if call == 3 { 503 } else { 204 });
        let service = Listener::start(|_, _| 200);
        let example = repository("examples/event-rules");
        let script = Job::new(&std::fs::read_to_string(example.join("job.sql")).expect("the script"));
        std::os::unix::fs::symlink(example.join("udf"), script.path("udf")).expect("a link");
        let key = feed.path().join("events.key");
        let environment = [
            ("KAFKA", &*kafka.servers()),
            ("CHAT_URL", &chat.url()),
            ("SERVICE_URL", &service.url()),
            ("EVENTS_KEY", key.to_str().expect("a path")),
        ];
        let job = Listening::start(&script, &["--set", "parallelism.default=2"], &environment);
        Running { kafka, chat, service, feed, job, sent: 0, _script: script }
    }

    /// Sends what a phase has for topics, and waits until the job has done all that follows from it.
    fn send(&mut self, phase: usize, topics: &[&str]) {
        for topic in topics {
            let file = self.feed.path().join(phase.to_string()).join(topic);
            let lines = std::fs::read_to_string(file).expect("the feed");
            // A record that is no JSON gives no row.
            self.sent += send(&self.kafka, topic, &lines) - lines.matches("{nonsense").count();
        }
        let read = |j: &Listening| j.metric("weir_operator_rows_out_total", &["operator=\"source "]);
        self.job.until(&format!("phase {phase} of {topics:?}"), |j| read(j) >= self.sent as f64);
        assert_eq!(read(&self.job), self.sent as f64);
        // A barrier that starts now passes each operator behind these rows.
        let epochs = self.job.metric("weir_epochs_total", &[]);
        self.job.until("two epochs", |j| j.metric("weir_epochs_total", &[]) >= epochs + 2.0);
    }
}

#[test]
fn rules_that_change_while_the_job_runs_act_as_computed() {
    let mut running = Running::start();
    for phase in 0..4 {
        // So which rules there are when events arrive is known.
        running.send(phase, &["rules"]);
        running.send(phase, &["access_log", "logins", "transactions"]);
    }
    let Running { kafka, chat, service, job, .. } = &running;
    let chats = || sorted(bodies(chat).iter().map(|b| fields(b, &["text"])));
    // A webhook writes all digits of a time.
    let block = |b: &String| fields(b, &["because", "block", "at", "events"]).replace(".000\t", "\t");
    let blocks = || sorted(bodies(service).iter().map(block));
    let (wanted_chats, wanted_blocks) = (expected("chat"), expected("service"));
    job.until("the last calls", |_| chats().len() >= wanted_chats.len() && blocks().len() >= wanted_blocks.len());
    assert_eq!(chats(), wanted_chats);
    assert_eq!(blocks(), wanted_blocks);
    assert_eq!(chat.calls().len(), wanted_chats.len() + 1, "one was refused and made again");
    let records = committed(kafka, "alerts").into_iter();
    let records = records.map(|(_, v)| fields(&v.expect("a value"), &["rule", "who", "happened", "events"]));
    assert_eq!(sorted(records), expected("record"));
    // The last word on each rule.
    let refused: BTreeMap<String, Option<String>> = committed(kafka, "refused_rules").into_iter().collect();
    let names = refused.iter().filter(|(_, v)| v.is_some()).map(|(k, _)| k.clone());
    assert_eq!(sorted(names), expected("refused"));
    assert_eq!(refused.get("no-such-kind"), Some(&None), "it was refused, and removed");
    assert_eq!(refused.get("times-are-a-word"), Some(&None), "it was refused, and mended");
    let unreadable = committed(kafka, "unreadable_logins").into_iter();
    let unreadable = unreadable.map(|(_, v)| fields(&v.expect("a value"), &["account"]));
    assert_eq!(sorted(unreadable), ["stranger-0", "stranger-1", "stranger-2"]);
    assert_eq!(job.metric("weir_operator_late_rows_total", &[]), 0.0);
    // Each kind of rule, and each action, has been seen.
    let seen = [wanted_chats, wanted_blocks, expected("record")].concat();
    for rule in ["scanner", "many-missing", "guessing", "taken-over", "whale", "leak", "anna", "times-are-a-word"] {
        assert!(seen.iter().any(|l| l.starts_with(rule)), "{rule} never acts: this shows little");
    }
}
