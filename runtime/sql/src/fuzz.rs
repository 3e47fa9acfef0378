//! Fuzzes the compilation of scripts for a few seconds: mutated scripts of the project, random sequences of their words, and deeply nested
//! constructs. Every script is either compiled or rejected, without a panic, a stack overflow, a hang, or more than a gigabyte of memory,
//! and the amount that is bound is limited. `WEIR_FUZZ_SECONDS` sets the time (3 by default).

use crate::catalog::NoFunctions;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A Xorshift generator. A failure prints its seed, so that it can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Compiles a script and shows its plan, on a stack as small as the main thread's.
fn compile(sql: String) {
    let work = move || {
        let (compiled, errors) =
            crate::diagnose(&sql, Path::new("/nonexistent"), BTreeMap::new(), &NoFunctions, weir_connectors::REGISTRY);
        errors.iter().for_each(|e| assert!(!e.to_string().is_empty()));
        if let Some(c) = compiled {
            weir_plan::explain(&c.inserts, c.mode, weir_plan::Format::Json);
        }
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

fn scripts() -> Vec<String> {
    fn below(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                p if p.is_dir() => below(&p, out),
                p if p.extension().is_some_and(|e| e == "sql") => out.push(p),
                _ => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![];
    ["tests/flink-sql", "tests/faults", "examples"].iter().for_each(|f| below(&root.join(f), &mut files));
    files.sort();
    let short = |t: &String| t.len() < 20_000;
    files.into_iter().filter_map(|f| std::fs::read_to_string(f).ok()).filter(short).collect()
}

fn words(scripts: &[String]) -> Vec<String> {
    let mut out: Vec<String> = scripts
        .iter()
        .flat_map(|s| s.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_'))
        .flat_map(|w| match w.char_indices().last() {
            Some((at, c)) if !c.is_alphanumeric() => vec![w[..at].to_string(), c.to_string()],
            _ => vec![w.to_string()],
        })
        .filter(|w| !w.trim().is_empty() && w.len() < 30)
        .collect();
    out.extend(
        ["/*+", "*/", "$", "${", "''", "||", "<>", "IS NOT", "UNION ALL", "INTERVAL", "CASE WHEN", "(", ")"]
            .map(String::from),
    );
    out.sort();
    out.dedup();
    out
}

/// Nested constructs: the opening part, the innermost part, and the closing part.
const NESTS: &[(&str, &str, &str)] = &[
    ("(", "1", ")"),
    ("((SELECT ", "1", "))"),
    ("SELECT * FROM (", "SELECT 1 AS x", ")"),
    ("SELECT * FROM (", "t", ")"),
    ("NOT ", "TRUE", ""),
    ("NOT (", "TRUE", ")"),
    ("- ", "1", ""),
    ("ABS(", "1", ")"),
    ("COALESCE(", "1", ", 1)"),
    ("NULLIF(", "1", ", 2)"),
    ("CASE WHEN ", "TRUE", " THEN TRUE ELSE FALSE END"),
    ("CASE ", "1", " WHEN 1 THEN 1 WHEN 2 THEN 2 END"),
    ("CAST(", "1", " AS INT)"),
    ("CAST(NULL AS ", "INT", ")"),
    ("ARRAY<", "INT", ">"),
    ("ROW<a ", "INT", ">"),
    ("ARRAY[", "1", "]"),
    ("MAP['a', ", "1", "]"),
    ("ROW(", "1", ")"),
    ("INTERVAL ", "'1'", " DAY"),
    ("EXTRACT(YEAR FROM ", "DATE '2020-01-01'", ")"),
    ("EXISTS (SELECT ", "1", ")"),
    ("JSON_OBJECT('a' VALUE ", "1", ")"),
    ("1 IN (", "1", ")"),
    ("1 BETWEEN ", "1", " AND 2"),
    ("1 + (", "1", ")"),
    ("WITH a AS (", "SELECT 1", ") SELECT * FROM a"),
    ("/*", "", "*/"),
    ("`", "a", "`"),
    ("SELECT ", "1", " UNION "),
];

fn nest(random: &mut Random) -> String {
    let deep = [3, 20, 150, 250, 3_000][random.below(5)];
    let mut open = String::new();
    let mut close = vec![];
    let mixed = random.below(2) == 0;
    let one = *random.of(NESTS);
    let mut middle = one.1;
    for _ in 0..deep {
        let (a, m, b) = if mixed { *random.of(NESTS) } else { one };
        open += a;
        middle = m;
        close.push(b);
    }
    close.reverse();
    let close = if random.below(8) == 0 { String::new() } else { close.concat() };
    let (before, after) =
        *random.of(&[("SELECT ", ""), ("", ""), ("CREATE TABLE t (a ", ") WITH ('connector' = 'print')")]);
    format!("{before}{open}{middle}{close}{after};")
}

/// A random chain of the same element.
fn chain(random: &mut Random) -> String {
    let operators = [
        "+",
        "-",
        "*",
        "||",
        "OR",
        "AND",
        "=",
        "<",
        ",",
        "IS NULL OR",
        "UNION ALL SELECT",
        "UNION SELECT",
        "AS a,",
        ".",
        "[1]",
        "BETWEEN 1 AND",
        "IN (1) AND",
    ];
    let operands = ["1", "'a'", "x", "TRUE", "DATE '2020-01-01'", "NULL", "t.x"];
    let (operator, operand) = (*random.of(&operators), *random.of(&operands));
    let n = [10, 100, 600, 4_000][random.below(4)];
    format!("CREATE VIEW t AS SELECT 1 AS x; SELECT {} FROM t;", vec![operand; n].join(&format!(" {operator} ")))
}

fn mutated(scripts: &[String], words: &[String], random: &mut Random) -> String {
    let script = random.of(scripts);
    // Combines the statements of two scripts, so that they use the same names.
    let mut parts: Vec<String> = vec![];
    let mut of = script.as_str();
    for _ in 0..2 {
        for w in of.split_inclusive([' ', '\n', '(', ')', ',']) {
            match random.below(40) {
                0 => {}
                1 => parts.push(format!("{w} {} ", random.of(words))),
                2 => parts.push(random.of(words).clone()),
                3 => parts.extend([w.to_string(), w.to_string()]),
                4 if !parts.is_empty() => {
                    let at = random.below(parts.len());
                    let again = parts[at].clone();
                    parts.push(again);
                }
                _ => parts.push(w.to_string()),
            }
        }
        if random.below(3) > 0 {
            break;
        }
        of = random.of(scripts).as_str();
    }
    parts.concat()
}

fn soup(words: &[String], random: &mut Random) -> String {
    let starts = ["SELECT", "CREATE TABLE t", "INSERT INTO t", "WITH a AS (", "ALTER TABLE t", "SHOW", "SET", ""];
    let mut out = random.of(&starts).to_string();
    for _ in 0..random.below(60) {
        out.push(' ');
        out += random.of(words).as_str();
    }
    out
}

#[test]
fn scripts_are_compiled_or_refused() {
    let seconds = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let scripts = scripts();
    assert!(!scripts.is_empty(), "the project's scripts are not there");
    let words = words(&scripts);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seed = 1;
    while Instant::now() < until {
        let mut random = Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
        let sql = match random.below(8) {
            0 | 1 => nest(&mut random),
            2 => chain(&mut random),
            3 => soup(&words, &mut random),
            _ => mutated(&scripts, &words, &mut random),
        };
        let started = Instant::now();
        let shown: String = sql.chars().take(2_000).collect();
        let kept = KeptOnPanic(seed, shown);
        compile(sql);
        // Much more than any script takes, even on a busy machine, so something grows without bound.
        assert!(started.elapsed() < Duration::from_secs(60), "it takes too long");
        let peak = weir_core::metrics::peak_resident();
        assert!(peak < 1 << 30, "it takes {} MiB", peak >> 20);
        std::mem::forget(kept);
        seed += 1;
    }
}

/// Prints the script when a test fails.
struct KeptOnPanic(u64, String);

impl Drop for KeptOnPanic {
    fn drop(&mut self) {
        eprintln!("seed {}: {}", self.0, self.1);
    }
}
