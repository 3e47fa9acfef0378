//! What a Flink 2.3 printed for single expressions (`tests/flink-sql/asked`), and what they are here.

use std::path::{Path, PathBuf};
use weir_fast_tests::{Job, compiled};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The rows of a script's last SELECT without what stands around their fields, or why there are none.
fn rows(before: &str, questions: &[&str]) -> Result<Vec<String>, String> {
    let ran = Job::new(&format!("{before}SELECT {} FROM t;", questions.join(", "))).run();
    let fields = |r: &String| r.strip_prefix("+I[").and_then(|r| r.strip_suffix(']')).map_or(r.clone(), str::to_string);
    ran.result.as_ref().map_err(|e| e.to_string())?;
    Ok(ran.rows("select_0").iter().map(fields).collect())
}

/// The questions that have another answer than the one beside them.
fn other_answers(before: &str, asked: &[(&str, &str)]) -> Vec<String> {
    let (refused, values): (Vec<_>, Vec<_>) = asked.iter().copied().partition(|(_, answer)| *answer == "refused");
    let taken = |question: &str| {
        compiled(&format!("{before}SELECT {question} FROM t;")).is_ok() && rows(before, &[question]).is_ok()
    };
    let not_refused = refused.into_iter().filter(|(question, _)| taken(question));
    let mut others: Vec<String> = not_refused.map(|(question, _)| format!("{question} is not refused")).collect();
    for part in values.chunks(40) {
        let questions: Vec<&str> = part.iter().map(|(q, _)| *q).collect();
        let expected: Vec<&str> = part.iter().map(|(_, a)| *a).collect();
        if rows(before, &questions) != Ok(vec![expected.join(", ")]) {
            for (question, answer) in part {
                let row = rows(before, &[question]);
                if row.as_deref() != Ok(&[(*answer).to_string()]) {
                    others.push(format!("{question}: {row:?}, not {answer}"));
                }
            }
        }
    }
    others
}

/// Asks the questions of a file, of which there are at least so many. A line that begins with `!` is a statement in front of all
/// questions behind it.
fn ask(file: &str, least: usize) {
    let data = repository("tests/flink-sql/data");
    let text = std::fs::read_to_string(repository("tests/flink-sql/asked").join(file)).expect("a file of questions");
    let mut before = "SET 'execution.runtime-mode' = 'batch';\n".to_string();
    let (mut asked, mut others, mut count) = (vec![], vec![], 0);
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let Some(statement) = line.strip_prefix("! ") else {
            asked.push(line.split_once(" => ").expect("a question and its answer"));
            count += 1;
            continue;
        };
        others.extend(other_answers(&before, &std::mem::take(&mut asked)));
        before += &format!("{};\n", statement.replace("${DATA}", &data.to_string_lossy()));
    }
    others.extend(other_answers(&before, &asked));
    assert!(others.is_empty(), "not as Flink:\n{}", others.join("\n"));
    assert!(count >= least, "{count} questions");
}

#[test]
fn clauses_in_parentheses_and_names_in_quotes() {
    let row = |question: &str| {
        let ran = Job::new(&format!("SELECT {question};")).run();
        ran.result.as_ref().map(|_| ran.rows("select_0").join(";")).map_err(ToString::to_string)
    };
    // Parentheses mean nothing: what is JSON stays JSON.
    let nested = Ok("+I[{\"a\":{\"b\":1}}]".to_string());
    assert_eq!(row("JSON_OBJECT('a' VALUE JSON_OBJECT('b' VALUE 1))"), nested);
    assert_eq!(row("JSON_OBJECT('a' VALUE ((JSON_OBJECT('b' VALUE 1))))"), nested);
    // What has a syntax of its own is no function in quotes.
    for quoted in
        ["`TIMESTAMP_LTZ LITERAL`()", "`TIMESTAMP_LTZ LITERAL`(UPPER('x'))", "`JSON_OBJECT`('a', 1)", "`IS JSON`('x')"]
    {
        let e = compiled(&format!("SELECT {quoted};")).err().unwrap_or_else(|| panic!("{quoted} is taken"));
        assert!(e.to_string().contains("in quotes"), "{quoted}: {e}");
    }
}

macro_rules! files {
    ($($name:ident: $least:literal),*) => {
        $(#[test]
        fn $name() {
            ask(concat!(stringify!($name), ".txt"), $least);
        })*

        #[test]
        fn every_file_is_asked() {
            let here = [$(concat!(stringify!($name), ".txt")),*];
            for file in std::fs::read_dir(repository("tests/flink-sql/asked")).expect("questions").flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                assert!(here.contains(&name.as_str()), "{name} is not asked");
            }
        }
    };
}

files!(collections: 100, comparisons: 100, decimals: 1000, not_a_number: 10, texts_cast: 10, times: 10, types_in_common: 10, zones: 800);
