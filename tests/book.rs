//! The book (`docs/`): its links lead somewhere, its jobs run, and what its reference names is there.
//!
//! The info string of a code block says what becomes of it; docs/src/contributing/inner-loop.md has the list. A page is a folder:
//! blocks with `file=NAME` are written into it, and its jobs run there in their order. With `WEIR_BOOK_BUILDS` set, functions are
//! built and called as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use weir_tests::{Job, Ran, repository, weir};

/// Languages that a block may have.
const LANGUAGES: &[&str] = &["sql", "sh", "console", "text", "csv", "json", "toml", "rust", "python", "dockerfile"];

/// What else an info string may say, beside `file=NAME`.
const WORDS: &[&str] = &["fragment", "check", "explain", "builds", "output", "contract"];

/// The SDK's manifest, for crates of which a page shows the source only.
const MANIFEST: &str = "[package]\nname = \"NAME\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
                        [dependencies]\nweir-udf = \"0.1\"\n\n[workspace]\n";

/// A code block.
struct Block {
    /// The line that it begins at.
    line: usize,
    language: String,
    words: Vec<String>,
    text: String,
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }
    fn file(&self) -> Option<&str> {
        self.words.iter().find_map(|w| w.strip_prefix("file="))
    }
}

/// A page: its text without code, and its code.
struct Page {
    /// Its path in the repository.
    path: PathBuf,
    lines: Vec<String>,
    blocks: Vec<Block>,
}

impl Page {
    fn read(path: &Path) -> Page {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut lines, mut blocks) = (vec![], vec![]);
        let mut open: Option<(Block, usize)> = None;
        for (i, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let fence = line.trim_start().strip_prefix("```");
            open = match (open, fence) {
                (None, Some(info)) => {
                    let mut words = info.trim().split(',').map(str::to_string);
                    let language = words.next().unwrap_or_default();
                    Some((Block { line: i + 1, language, words: words.collect(), text: String::new() }, indent))
                }
                (None, None) => {
                    lines.push(line.to_string());
                    None
                }
                (Some((block, _)), Some(_)) => {
                    blocks.push(block);
                    None
                }
                (Some((mut block, by)), None) => {
                    block.text += &line[by.min(indent)..];
                    block.text.push('\n');
                    Some((block, by))
                }
            };
        }
        assert!(open.is_none(), "{}: a code block is not closed", path.display());
        Page { path: path.to_path_buf(), lines, blocks }
    }

    /// A place in it, for messages.
    fn at(&self, block: &Block) -> String {
        format!("{}:{}", self.path.display(), block.line)
    }

    /// What its links name.
    fn links(&self) -> Vec<String> {
        let mut all = vec![];
        for line in &self.lines {
            // Without what is code.
            let line: String = line.split('`').step_by(2).collect();
            let ends = line.split("](").skip(1).filter_map(|l| l.split_once(')'));
            all.extend(ends.map(|(target, _)| target.to_string()));
        }
        all
    }

    /// The names that its headings can be reached by.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let headings = self.lines.iter().filter(|l| l.starts_with('#'));
        headings
            .map(|h| {
                let title = h.trim_start_matches('#').trim().to_lowercase();
                let sign = |c: char| match c {
                    c if c.is_whitespace() => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                };
                let slug: String = title.chars().filter_map(sign).collect();
                let before = seen.entry(slug.clone()).or_insert(0);
                *before += 1;
                if *before == 1 { slug } else { format!("{slug}-{}", *before - 1) }
            })
            .collect()
    }

    /// What stands as code in the first cell of its tables' rows.
    fn named(&self) -> Vec<String> {
        let rows = self.lines.iter().filter_map(|l| l.strip_prefix("| `"));
        let cells = rows.filter_map(|r| r.split(" | ").next());
        cells
            .flat_map(|c| c.split('`').step_by(2).map(str::to_string).collect::<Vec<_>>())
            .filter(|n| plain(n))
            .collect()
    }

    /// All that stands as code in its text.
    fn code(&self) -> Vec<String> {
        let of = |l: &String| l.split('`').skip(1).step_by(2).map(str::to_string).collect::<Vec<_>>();
        self.lines.iter().flat_map(of).collect()
    }
}

/// Whether a name stands for itself, not for several.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c))
}

/// All pages, in the order of their names.
fn pages() -> Vec<Page> {
    let mut folders = vec![repository("docs/src")];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the book") {
            let path = entry.expect("a page").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    files.iter().map(|f| Page::read(f)).collect()
}

fn page(name: &str) -> Page {
    Page::read(&repository("docs/src").join(name))
}

/// A path without `..` in its middle.
fn straight(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

#[test]
fn links_lead_somewhere() {
    let book = straight(&repository("docs/src"));
    let mut all = pages();
    all.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|n| Page::read(&repository(n))));
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> = all.iter().map(|p| (straight(&p.path), p.anchors())).collect();
    let mut wrong = vec![];
    for p in &all {
        let from = straight(&p.path);
        for link in p.links().into_iter().filter(|l| !l.contains("://") && !l.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => from.clone(),
                file => straight(&from.parent().unwrap_or(Path::new("")).join(file)),
            };
            let leaves = from.starts_with(&book) && !target.starts_with(&book);
            let there = anchor.is_empty() || anchors.get(&target).is_some_and(|a| a.contains(anchor));
            if !target.exists() || leaves || !there {
                wrong.push(format!("{}: {link}", from.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere, or out of the book:\n{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let book = straight(&repository("docs/src"));
    let listed: Vec<PathBuf> = page("SUMMARY.md").links().iter().map(|l| straight(&book.join(l))).collect();
    let once: BTreeSet<&PathBuf> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "a page is in the summary twice");
    let there: Vec<PathBuf> =
        pages().iter().map(|p| straight(&p.path)).filter(|p| !p.ends_with("SUMMARY.md")).collect();
    let missing: Vec<&PathBuf> = there.iter().filter(|p| !once.contains(p)).collect();
    assert!(missing.is_empty(), "not in SUMMARY.md: {missing:?}");
}

#[test]
fn blocks_say_what_they_are() {
    for p in pages() {
        for b in &p.blocks {
            assert!(LANGUAGES.contains(&b.language.as_str()), "{}: no language '{}'", p.at(b), b.language);
            let odd = b.words.iter().find(|w| !WORDS.contains(&w.as_str()) && !w.starts_with("file="));
            assert!(odd.is_none(), "{}: what is {odd:?}?", p.at(b));
            let code = matches!(b.language.as_str(), "rust" | "python");
            assert!(!code || b.file().is_some() || b.is("fragment"), "{}: a function without a file", p.at(b));
        }
    }
}

/// Runs Weir in a job's folder, for two minutes at most (builds: half an hour), with all variables that the script names.
fn weir_in(job: &Job, arguments: &[&str], script: &str, builds: bool) -> Ran {
    let mut command = Command::new("timeout");
    command.arg(if builds { "1800" } else { "120" }).arg(weir()).args(arguments);
    command.current_dir(job.folder.path()).stdin(Stdio::null());
    for name in script.split("${").skip(1).filter_map(|v| v.split('}').next()) {
        command.env(name, if name.ends_with("URL") { "https://example.com/hook" } else { "value" });
    }
    command.output().unwrap_or_else(|e| panic!("timeout does not start: {e}")).into()
}

/// A row as printed, without the subtask's number.
fn row(line: &str) -> String {
    let numeric = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit());
    match line.split_once("> ") {
        Some((head, row)) if numeric(head) => row.to_string(),
        Some((head, row)) => match head.rsplit_once(':').filter(|(_, n)| numeric(n)) {
            Some((name, _)) => format!("{name}> {row}"),
            None => line.to_string(),
        },
        None => line.to_string(),
    }
}

fn rows(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text.lines().map(row).collect();
    all.sort();
    all
}

/// Puts a page's files into a folder.
fn folder(p: &Page) -> Job {
    let job = Job::new("");
    for b in &p.blocks {
        if let Some(file) = b.file() {
            job.file(file, &b.text);
            if let Some(name) = file.strip_suffix("/src/lib.rs").filter(|_| !b.is("contract")) {
                job.file(&format!("{name}/Cargo.toml"), MANIFEST.replace("NAME", name));
            }
        }
    }
    // A page's own manifest goes before the common one.
    for b in p.blocks.iter().filter(|b| b.language == "toml") {
        if let Some(file) = b.file() {
            job.file(file, &b.text);
        }
    }
    job
}

#[test]
fn jobs_of_the_book_run() {
    let builds = std::env::var("WEIR_BOOK_BUILDS").is_ok();
    let (mut ran, mut wrong) = (0, vec![]);
    for p in pages() {
        let job = folder(&p);
        for (i, b) in p.blocks.iter().enumerate().filter(|(_, b)| b.language == "sql") {
            if b.is("fragment") || b.is("builds") && !builds {
                continue;
            }
            let script = format!("job-{i}.sql");
            job.file(&script, &b.text);
            let command = ["check", "explain"].into_iter().find(|c| b.is(c)).unwrap_or("run");
            let r = weir_in(&job, &[command, &script], &b.text, b.is("builds"));
            ran += 1;
            if r.code != Some(0) {
                wrong.push(format!("{}: weir {command} ended with {:?}: {}", p.at(b), r.code, r.err));
                continue;
            }
            let output = p.blocks.get(i + 1).filter(|o| o.is("output"));
            if let Some(o) = output.filter(|o| rows(&o.text) != rows(&r.out)) {
                wrong.push(format!("{}: the output is\n{}", p.at(o), r.out));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 25, "only {ran} jobs were found");
}

#[test]
#[ignore = "builds every function of the book, which takes minutes: cargo test --release --test book -- --ignored"]
fn functions_of_the_book_build() {
    for p in pages() {
        let job = folder(&p);
        for b in &p.blocks {
            let Some(file) = b.file().filter(|_| !b.is("contract")) else { continue };
            let path = match b.language.as_str() {
                "python" => file,
                "rust" => file.split('/').next().unwrap_or(file),
                _ => continue,
            };
            let built = weir_in(&job, &["udf", "build", path, "-o", "built.wasm"], "", true);
            assert_eq!(built.code, Some(0), "{}: {}", p.at(b), built.err);
        }
    }
}

fn checked(job: &Job, script: &str) -> Ran {
    job.file("job.sql", script);
    weir_in(job, &["check", "job.sql"], "", false)
}

#[test]
fn settings_and_options_of_functions_are_there() {
    let job = Job::new("SELECT 1;");
    let named: Vec<String> = page("reference/settings.md").named().into_iter().filter(|n| n.contains('.')).collect();
    assert!(named.len() > 30, "{named:?}");
    let unknown = |key: &str| {
        let ran = weir_in(&job, &["check", "job.sql", "--set", &format!("{key}=1")], "", false);
        ran.err.contains("there is no setting")
    };
    assert!(unknown("no-such.setting-at.all"), "an unknown setting is not told");
    let wrong: Vec<&String> = named.iter().filter(|n| unknown(n)).collect();
    assert!(wrong.is_empty(), "settings that there are not: {wrong:?}");

    job.file("f.py", "");
    let of_functions = page("reference/user-functions.md").named();
    assert!(of_functions.len() > 6, "{of_functions:?}");
    let unknown = |key: &str| {
        let function = format!("CREATE FUNCTION f AS 'f' LANGUAGE PYTHON USING FILE 'f.py' WITH ('{key}' = '1');");
        checked(&job, &function).err.contains("has no option")
    };
    assert!(unknown("no-such-option"), "an unknown option is not told");
    let wrong: Vec<&String> = of_functions.iter().filter(|n| unknown(n)).collect();
    assert!(wrong.is_empty(), "options that there are not: {wrong:?}");
}

#[test]
fn exit_codes_are_there() {
    let job = Job::new("");
    let help = |words: &[&str]| {
        let ran = weir_in(&job, &[words, &["--help"]].concat(), "", false).succeeded();
        ran.out
    };
    let listed = help(&[]);
    let codes = listed.split_once("Exit codes:").map_or("", |(_, c)| c);
    let exits = page("reference/exit-codes.md").lines.join("\n");
    for line in codes.lines().map(str::trim).filter(|l| l.starts_with(|c: char| c.is_ascii_digit())) {
        let (code, meaning) = line.split_once(' ').unwrap_or((line, ""));
        let cells = format!("| {code} | {} |", meaning.trim());
        assert!(exits.contains(&cells), "the page of exit codes lacks: {cells}");
    }
}

#[test]
fn functions_are_all_named() {
    let ran = Job::new("SHOW FUNCTIONS;").run(&[]).succeeded();
    let there: BTreeSet<&str> = ran.out.lines().collect();
    // An aggregate, what is bound without a definition, and what has one.
    assert!(["SUM", "CURRENT_DATABASE", "CHAR_LENGTH"].iter().all(|n| there.contains(n)), "{there:?}");
    let name = |n: &str| n.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let text = page("reference/functions.md");
    let code = text.code();
    let documented: BTreeSet<&str> = code.iter().map(String::as_str).collect();
    let missing: Vec<&&str> = there.iter().filter(|n| name(n) && !documented.contains(**n)).collect();
    assert!(there.len() > 150 && missing.is_empty(), "not in the reference: {missing:?}");
    // Lines of nothing but names are the list.
    let list =
        text.lines.iter().skip_while(|l| !l.starts_with("## Scalar")).take_while(|l| !l.starts_with("and the forms"));
    let listed: Vec<String> =
        list.flat_map(|l| l.split('`').skip(1).step_by(2).map(str::to_string).collect::<Vec<_>>()).collect();
    let gone: Vec<&String> = listed.iter().filter(|n| !there.contains(n.as_str())).collect();
    assert!(listed.len() > 150 && gone.is_empty(), "there are no such functions: {gone:?}");
}

/// mdBook makes pages of it: none is missing from the summary's folder, and each becomes HTML.
#[test]
fn mdbook_builds_it() {
    let to = tempfile::tempdir().expect("a temporary folder");
    let mut book = mdbook_driver::MDBook::load(repository("docs")).unwrap_or_else(|e| panic!("docs/book.toml: {e:#}"));
    book.config.build.build_dir = to.path().to_path_buf();
    book.build().unwrap_or_else(|e| panic!("the book is not built: {e:#}"));
    let mut pages = 0;
    for item in book.iter() {
        let mdbook_driver::book::BookItem::Chapter(chapter) = item else { continue };
        let source = chapter.path.as_ref().unwrap_or_else(|| panic!("'{}' of the summary has no page", chapter.name));
        let page = to.path().join(source).with_extension("html");
        let html = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        assert!(html.contains("<main>"), "{} has no text", page.display());
        pages += 1;
    }
    assert!(pages > 20, "the book has {pages} pages");
}
