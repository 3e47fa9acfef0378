//! Small inputs that once failed, with what is right: tests/faults/README.md.

use std::process::Command;
use weir_tests::{repository, weir};

#[test]
fn what_failed_once_is_right() {
    let out = Command::new("python3")
        .arg(repository("tests/faults/run.py"))
        .arg("--weir")
        .arg(weir())
        .output()
        .expect("python3, which compares the rows");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    // "N passed, M failed": a run without cases would prove nothing.
    let passed: u32 = text.rsplit_once(" passed").and_then(|(n, _)| n.lines().last()?.trim().parse().ok()).unwrap_or(0);
    assert!(passed > 100, "{text}");
}
