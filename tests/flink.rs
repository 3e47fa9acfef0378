//! What a real Flink printed for its SQL, and what Weir prints.

use std::collections::BTreeSet;
use std::process::Command;
use weir_tests::{repository, weir};

#[test]
fn jobs_give_what_flink_gives() {
    let folder = repository("tests/flink-sql");
    let listed = |name: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(folder.join(name)).expect("a list of cases");
        text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(str::to_string).collect()
    };
    let out = Command::new("python3")
        .arg(folder.join("run.py"))
        .arg("--weir")
        .arg(weir())
        .output()
        .expect("python3, which compares the rows");
    let text = String::from_utf8_lossy(&out.stdout);
    let failed: BTreeSet<String> = text
        .lines()
        .filter(|l| ["failed", "errored", "timed out"].iter().any(|k| l.starts_with(k)) && l.contains('/'))
        .filter_map(|l| l.split_whitespace().find(|w| w.contains('/')))
        .map(|w| w.trim_end_matches(':').to_string())
        .collect();
    assert!(text.contains(" passed, "), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let expected: BTreeSet<String> = listed("later.txt").union(&listed("differs.txt")).cloned().collect();
    let surprises: Vec<&String> = failed.difference(&expected).collect();
    assert!(surprises.is_empty(), "not as Flink: {surprises:?}\n{text}");
}

#[test]
fn killed_jobs_add_up_to_whole_ones() {
    let out = Command::new("python3")
        .arg(repository("tests/flink-sql/killed.py"))
        .arg("--weir")
        .arg(weir())
        .output()
        .expect("python3, which adds the changes up");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    // "N cases, N kills, N wrong": a run that never kills would prove nothing.
    let numbers: Vec<u32> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert!(numbers[0] > 100 && numbers[1] > numbers[0], "{text}");
}

/// The rows of a script without what stands around their fields, or none where it is refused.
fn answers(script: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("asked.sql"), script).expect("a script");
    let out = Command::new(weir())
        .args(["run", "asked.sql", "--set", "parallelism.default=1"])
        .current_dir(folder.path())
        .output()
        .expect("weir");
    let text = String::from_utf8_lossy(&out.stdout);
    let fields = |l: &str| Some(l[l.find("+I[")? + 3..].strip_suffix(']')?.to_string());
    out.status.success().then(|| text.lines().filter_map(fields).collect())
}

/// Which of several questions are refused when they are planned, all at once.
fn lines_with_errors(before: &str, questions: &[&str]) -> BTreeSet<usize> {
    let folder = tempfile::tempdir().expect("a folder");
    let lines: Vec<String> = questions.iter().map(|q| format!("SELECT {q} FROM t;")).collect();
    std::fs::write(folder.path().join("asked.sql"), format!("{before}{}\n", lines.join("\n"))).expect("a script");
    let out = Command::new(weir()).args(["check", "asked.sql"]).current_dir(folder.path()).output().expect("weir");
    let first = before.lines().count() + 1;
    let line =
        |l: &str| l.strip_prefix("asked.sql: line ")?.split(',').next()?.parse::<usize>().ok()?.checked_sub(first);
    String::from_utf8_lossy(&out.stderr).lines().filter_map(line).collect()
}

/// The questions of a file that have another answer than Flink 2.3 gave, which `asked/*.txt` has beside each of them.
fn other_answers(text: &str) -> Vec<String> {
    let data = repository("tests/flink-sql/data");
    let mut before = "SET 'execution.runtime-mode' = 'batch';\n".to_string();
    let (mut values, mut refused, mut others) = (vec![], vec![], vec![]);
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        if let Some(statement) = line.strip_prefix("! ") {
            before += &format!("{};\n", statement.replace("${DATA}", &data.to_string_lossy()));
            continue;
        }
        let (question, answer) = line.split_once(" => ").expect("a question and its answer");
        if answer != "refused" {
            values.push((question, answer));
        } else {
            refused.push(question);
        }
    }
    let told = lines_with_errors(&before, &refused);
    for question in refused.iter().enumerate().filter(|(at, _)| !told.contains(at)).map(|(_, q)| q) {
        if answers(&format!("{before}SELECT {question} FROM t;")).is_some() {
            others.push(format!("{question} is not refused"));
        }
    }
    for part in values.chunks(40) {
        let questions: Vec<&str> = part.iter().map(|(q, _)| *q).collect();
        let expected: Vec<&str> = part.iter().map(|(_, a)| *a).collect();
        let rows = answers(&format!("{before}SELECT {} FROM t;", questions.join(", ")));
        if rows != Some(vec![expected.join(", ")]) {
            for (question, answer) in part {
                let row = answers(&format!("{before}SELECT {question} FROM t;"));
                if row.as_deref() != Some(&[answer.to_string()]) {
                    others.push(format!("{question}: {row:?}, not {answer}"));
                }
            }
        }
    }
    others
}

#[test]
fn expressions_give_what_flink_gives() {
    let mut others = vec![];
    for file in std::fs::read_dir(repository("tests/flink-sql/asked")).expect("questions").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("a file of questions");
        others.extend(other_answers(&text));
    }
    assert!(others.is_empty(), "not as Flink:\n{}", others.join("\n"));
}
