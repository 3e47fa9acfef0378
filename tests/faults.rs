//! Small inputs that once failed, with what is right: tests/faults/README.md.

use std::collections::BTreeSet;
use std::process::Command;
use weir_tests::{repository, weir};

#[test]
fn what_failed_once_is_right() {
    let folder = repository("tests/faults");
    let out = Command::new("python3").arg(folder.join("run.py")).arg("--weir").arg(weir()).output();
    let out = out.expect("python3, which compares the rows");
    let text = String::from_utf8_lossy(&out.stdout);
    let name = |l: &str| l.strip_prefix("FAIL ")?.split(':').next().map(str::to_string);
    let failed: BTreeSet<String> = text.lines().filter_map(name).collect();
    let open = std::fs::read_to_string(folder.join("open.txt")).expect("the list of open cases");
    let open: BTreeSet<String> =
        open.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(str::to_string).collect();
    assert_eq!(failed, open, "{text}{}", String::from_utf8_lossy(&out.stderr));
    // "N passed, M failed": a run without cases would prove nothing.
    let passed: usize =
        text.rsplit_once(" passed").and_then(|(n, _)| n.lines().last()?.trim().parse().ok()).unwrap_or(0);
    assert!(passed > 150 && text.contains(&format!("{} failed", failed.len())), "{text}");
}
