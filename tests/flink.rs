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
    let mended: Vec<&String> = expected.difference(&failed).collect();
    assert!(mended.is_empty(), "as Flink by now, and still listed: {mended:?}");
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
