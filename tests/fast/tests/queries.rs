//! What a Flink 2.3 made of whole queries (`tests/flink-sql/queries`), and what they are here.
//!
//! A file has statements, each behind `!`, and queries, each behind `?`, with the rows that their changes add up to, or with a word of the
//! message with which Weir refuses what Flink refuses as well. A statement is in front of all queries behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use weir_fast_tests::Job;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/flink-sql").join(path)
}

/// The rows that the changes of a query add up to, sorted; or why there are none.
fn rows(before: &str, query: &str) -> Result<Vec<String>, String> {
    let ran = Job::new(&format!("{before}{query};")).run();
    ran.result.as_ref().map_err(|e| e.to_string())?;
    let mut counts = BTreeMap::<String, i64>::new();
    for change in ran.rows("select_0") {
        let (kind, row) = change.split_at(2);
        *counts.entry(row.to_string()).or_default() += if matches!(kind, "+I" | "+U") { 1 } else { -1 };
    }
    if let Some((row, _)) = counts.iter().find(|(_, n)| **n < 0) {
        return Err(format!("{row} is taken back and was never there"));
    }
    Ok(counts.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row, n.unsigned_abs() as usize)).collect())
}

/// The queries of a file that have other rows, and how many queries it has.
fn other_rows(text: &str) -> (usize, Vec<String>) {
    let data = folder("data");
    let (mut before, mut others, mut asked) = (String::new(), vec![], 0);
    let mut lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).peekable();
    while let Some(line) = lines.next() {
        if let Some(statement) = line.strip_prefix("! ") {
            before += &format!("{};\n", statement.replace("${DATA}", &data.to_string_lossy()));
            continue;
        }
        let query = line.strip_prefix("? ").expect("a query");
        asked += 1;
        if let Some(word) = lines.peek().and_then(|l| l.strip_prefix("refused: ")) {
            match rows(&before, query) {
                Err(message) if message.contains(word) => {}
                other => others.push(format!("{query}\n  is not refused for {word}: {other:?}")),
            }
            lines.next();
            continue;
        }
        let mut expected = vec![];
        while let Some(row) = lines.next_if(|l| l.starts_with('[')) {
            expected.push(row.to_string());
        }
        expected.sort();
        let given = rows(&before, query);
        if given.as_ref() != Ok(&expected) {
            others.push(format!("{query}\n  gives {given:?}\n  not   {expected:?}"));
        }
    }
    (asked, others)
}

macro_rules! files {
    ($($name:ident: $least:literal),*) => {
        $(#[test]
        fn $name() {
            let file = folder("queries").join(concat!(stringify!($name), ".txt"));
            let (asked, others) = other_rows(&std::fs::read_to_string(file).expect("a file of queries"));
            assert!(others.is_empty(), "not as Flink:\n{}", others.join("\n"));
            assert!(asked >= $least, "{asked} queries");
        })*

        #[test]
        fn every_file_is_read() {
            let here = [$(concat!(stringify!($name), ".txt")),*];
            for file in std::fs::read_dir(folder("queries")).expect("queries").flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                assert!(here.contains(&name.as_str()), "{name} is not read");
            }
        }
    };
}

files!(decimals: 17, over_values: 25, ranks: 120, window_zones: 65, windows: 80);
