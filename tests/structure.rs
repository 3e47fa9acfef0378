//! Arrows between the modules of a crate run one way, as cargo has it between crates: no two files name each other, neither
//! straight nor by way of others.
//!
//! A file has an arrow to another one when it names something of it: in a `use`, or by a path in its code. Names that a module
//! only hands on are followed to the file that they come from; what a path only goes through is not named by it.
//!
//! A module and those within it are one house, and its own file is both the ground that they stand on and the door through which
//! others come in: it may define what they all build on (a trait, an error) and choose among them. So arrows from a module to those
//! within it do not count, those from them to it do. Code for tests alone does not count.

use std::collections::{BTreeMap, BTreeSet};
use weir_tests::repository;

/// What source code is made of, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Within,
    Sign(char),
}

/// The tokens of a file, without comments, lifetimes and literals.
fn tokens(text: &str) -> Vec<Token> {
    let c: Vec<char> = text.chars().collect();
    let at = |i: usize| c.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut all, mut i) = (vec![], 0);
    while i < c.len() {
        match c[i] {
            '/' if at(i + 1) == '/' => i = (i..c.len()).find(|i| c[*i] == '\n').unwrap_or(c.len()),
            '/' if at(i + 1) == '*' => {
                let mut open = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (open, i) = (open + 1, i + 2),
                        ('*', '/') => (open, i) = (open - 1, i + 2),
                        _ => i += 1,
                    }
                    if open == 0 || i >= c.len() {
                        break;
                    }
                }
            }
            '"' => {
                i += 1;
                while i < c.len() && c[i] != '"' {
                    i += 1 + usize::from(c[i] == '\\');
                }
                i += 1;
            }
            '\'' if at(i + 1) == '\\' => i = (i + 3..c.len()).find(|i| c[*i] == '\'').unwrap_or(c.len()) + 1,
            '\'' if at(i + 2) == '\'' => i += 3,
            '\'' => i = (i + 1..c.len()).find(|i| !word(c[*i])).unwrap_or(c.len()),
            ':' if at(i + 1) == ':' => {
                all.push(Token::Within);
                i += 2;
            }
            first if word(first) => {
                let end = (i..c.len()).find(|i| !word(c[*i])).unwrap_or(c.len());
                let text: String = c[i..end].iter().collect();
                let hashes = (end..c.len()).take_while(|i| c[*i] == '#').count();
                if matches!(text.as_str(), "r" | "br" | "cr") && at(end + hashes) == '"' {
                    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let from = end + hashes + 1;
                    i = (from..c.len()).find(|i| c[*i..].starts_with(&close)).unwrap_or(c.len()) + close.len();
                } else {
                    all.push(Token::Word(text));
                    i = end;
                }
            }
            blank if blank.is_whitespace() => i += 1,
            sign => {
                all.push(Token::Sign(sign));
                i += 1;
            }
        }
    }
    all
}

/// A module: in a file of its own, or within its parent's.
#[derive(Debug, Default)]
struct Module {
    file: String,
    /// Names that it defines.
    defined: BTreeSet<String>,
    /// Names that it imports, with the paths that they stand for.
    imported: BTreeMap<String, Vec<String>>,
    /// Modules all of whose names it imports.
    globs: Vec<Vec<String>>,
    /// The paths that it names.
    named: Vec<Vec<String>>,
}

/// A module's place: the names from the crate's root down.
type Place = Vec<String>;

/// All modules of a crate.
#[derive(Default)]
struct Modules(BTreeMap<Place, Module>);

/// Where reading a file has come to.
struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }
    fn word(&self, ahead: usize) -> Option<&str> {
        match self.peek(ahead) {
            Some(Token::Word(w)) => Some(w),
            _ => None,
        }
    }
    fn sign(&self, ahead: usize) -> Option<char> {
        match self.peek(ahead) {
            Some(Token::Sign(c)) => Some(*c),
            _ => None,
        }
    }
    fn stands(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, w)| match self.peek(i) {
            Some(Token::Word(there)) => there == w,
            Some(Token::Sign(there)) => w.chars().eq([*there]),
            _ => false,
        })
    }

    /// Goes behind the bracket that closes the one that stands here.
    fn skip_brackets(&mut self) {
        let mut open = 0;
        while let Some(t) = self.peek(0) {
            match t {
                Token::Sign('(' | '[' | '{') => open += 1,
                Token::Sign(')' | ']' | '}') => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return;
            }
        }
    }

    /// Goes behind an item, its attributes first.
    fn skip_item(&mut self) {
        while self.sign(0) == Some('#') {
            self.at += 1;
            self.skip_brackets();
        }
        let import = (0..4).any(|i| self.word(i) == Some("use"));
        while let Some(t) = self.peek(0) {
            match t {
                Token::Sign(';' | ',') => return self.at += 1,
                Token::Sign('{') if !import => return self.skip_brackets(),
                Token::Sign('(' | '[' | '{') => self.skip_brackets(),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a path and, in a `use`, all that branches off it; gives each with the name that it gets.
    fn import(&mut self, before: &[String], all: &mut Vec<(Vec<String>, String)>) {
        let mut path = before.to_vec();
        loop {
            match self.peek(0).cloned() {
                Some(Token::Word(w)) => {
                    self.at += 1;
                    // In braces `self` is what stands before them.
                    if w != "self" || path.is_empty() {
                        path.push(w);
                    }
                }
                Some(Token::Within) => self.at += 1,
                Some(Token::Sign('{')) => {
                    self.at += 1;
                    while self.sign(0).is_some_and(|c| c != '}') || self.sign(0).is_none() && self.peek(0).is_some() {
                        self.import(&path, all);
                        self.at += usize::from(self.sign(0) == Some(','));
                    }
                    self.at += 1;
                    return;
                }
                Some(Token::Sign('*')) => {
                    self.at += 1;
                    return all.push((path, "*".to_string()));
                }
                _ => break,
            }
            if self.word(0) == Some("as") {
                let name = self.word(1).unwrap_or("_").to_string();
                self.at += 2;
                return all.push((path, name));
            }
        }
        let name = path.last().cloned().unwrap_or_default();
        all.push((path, name));
    }
}

impl Modules {
    /// Reads a module's file and those of the modules within it. `read` gives a file's text by its path below the crate's `src`.
    fn load(&mut self, place: &Place, file: &str, read: &dyn Fn(&str) -> Option<String>) {
        let text = read(file).unwrap_or_else(|| panic!("no file {file} for the module {}", place.join("::")));
        let tokens = tokens(&text);
        let mut reader = Reader { tokens: &tokens, at: 0 };
        // The modules that are open, each with the number of braces around what stands in it.
        let mut open: Vec<(Place, usize)> = vec![(place.clone(), 0)];
        let mut braces = 0;
        self.0.insert(place.clone(), Module { file: file.to_string(), ..Module::default() });
        while let (Some(token), Some((here, depth))) = (reader.peek(0), open.last()) {
            let depth = *depth;
            match token {
                Token::Sign('#') if reader.stands(&["#", "[", "cfg", "(", "test", ")", "]"]) => reader.skip_item(),
                Token::Sign('{') => (braces, reader.at) = (braces + 1, reader.at + 1),
                Token::Sign('}') => {
                    (braces, reader.at) = (braces - 1, reader.at + 1);
                    if braces < depth {
                        open.pop();
                    }
                }
                Token::Word(w) if w == "mod" && reader.word(1).is_some() => {
                    let inner = child(here, reader.word(1).unwrap_or_default());
                    if reader.sign(2) == Some('{') {
                        let file = self.0[here].file.clone();
                        self.0.insert(inner.clone(), Module { file, ..Module::default() });
                        braces += 1;
                        open.push((inner, braces));
                    } else {
                        let files = [format!("{}.rs", inner.join("/")), format!("{}/mod.rs", inner.join("/"))];
                        let file = files.iter().find(|f| read(f).is_some());
                        self.load(&inner, file.unwrap_or(&files[0]), read);
                    }
                    reader.at += 3;
                }
                Token::Word(w) if w == "use" => {
                    reader.at += 1;
                    let mut all = vec![];
                    reader.import(&[], &mut all);
                    let Some(module) = self.0.get_mut(here) else { continue };
                    for (path, name) in all {
                        if name == "*" {
                            module.globs.push(path.clone());
                            module.named.push(path.into_iter().chain(["*".to_string()]).collect());
                        } else {
                            module.imported.insert(name, path.clone());
                            module.named.push(path);
                        }
                    }
                }
                Token::Word(w) => {
                    let Some(module) = self.0.get_mut(here) else { break };
                    let macros = reader.stands(&["macro_rules", "!"]);
                    let defines = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
                    if braces == depth && (macros || defines.contains(&w.as_str())) {
                        module.defined.extend(reader.word(if macros { 2 } else { 1 }).map(str::to_string));
                    }
                    let mut path = vec![w.clone()];
                    reader.at += 1;
                    while reader.peek(0) == Some(&Token::Within)
                        && let Some(next) = reader.word(1)
                    {
                        path.push(next.to_string());
                        reader.at += 2;
                    }
                    if path.len() > 1 {
                        module.named.push(path);
                    }
                }
                _ => reader.at += 1,
            }
        }
    }

    /// What a path leads to from a module on: a module, and what of it is named, if not only the module itself. Nothing where it leads
    /// out of the crate. At most so many imports are followed, for they may lead in a circle.
    fn resolve(&self, from: &Place, path: &[String], steps: usize) -> Option<(Place, Option<String>)> {
        let (first, rest) = path.split_first()?;
        let mut place = from.clone();
        match first.as_str() {
            "crate" => place.clear(),
            "self" => {}
            "super" => drop(place.pop()),
            _ if self.has(from, first) => return self.within(from, path, steps),
            _ => return None,
        }
        match rest.first().map(String::as_str) {
            Some("super") => self.resolve(&place, rest, steps),
            _ => self.within(&place, rest, steps),
        }
    }

    /// Whether a module has a name, of its own or because it imports it.
    fn has(&self, place: &Place, name: &str) -> bool {
        self.0.contains_key(&child(place, name))
            || self.0.get(place).is_some_and(|m| m.defined.contains(name) || m.imported.contains_key(name))
    }

    /// What a path leads to that begins with a name of a module.
    fn within(&self, place: &Place, path: &[String], steps: usize) -> Option<(Place, Option<String>)> {
        let Some((name, rest)) = path.split_first() else {
            return Some((place.clone(), None));
        };
        let module = self.0.get(place)?;
        let inner = child(place, name);
        if self.0.contains_key(&inner) {
            return self.within(&inner, rest, steps);
        }
        let itself = Some((place.clone(), Some(name.clone())));
        if module.defined.contains(name) || steps == 0 {
            return itself;
        }
        if let Some(target) = module.imported.get(name) {
            let whole: Vec<String> = target.iter().chain(rest).cloned().collect();
            return self.resolve(place, &whole, steps - 1).or(itself);
        }
        let globbed = module.globs.iter().filter_map(|g| self.resolve(place, g, steps - 1));
        let mut having = globbed.filter(|(there, _)| there != place && self.has(there, name));
        having.next().and_then(|(there, _)| self.within(&there, path, steps - 1)).or(itself)
    }

    /// The arrows between files, with the names that they stand for.
    fn arrows(&self) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> {
        let mut all: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        for (place, module) in &self.0 {
            for path in &module.named {
                let Some((target, Some(name))) = self.resolve(place, path, 8) else { continue };
                let (file, own) = (&self.0[&target].file, &module.file);
                // The module whose file this is.
                let root = (0..=place.len()).map(|n| &place[..n]).find(|p| self.0[*p].file == *own);
                if file != own && !root.is_some_and(|r| target.starts_with(r)) {
                    all.entry(own).or_default().entry(file).or_default().insert(name);
                }
            }
        }
        all
    }

    /// The circles, each with the arrows that close it.
    fn circles(&self) -> Vec<Vec<String>> {
        let arrows = self.arrows();
        let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for from in arrows.keys() {
            let (mut seen, mut next) = (BTreeSet::new(), vec![*from]);
            while let Some(file) = next.pop() {
                let to = arrows.get(file).into_iter().flat_map(BTreeMap::keys);
                next.extend(to.filter(|f| seen.insert(**f)));
            }
            reached.insert(from, seen);
        }
        let mutual = |a: &str, b: &str| reached.get(a).is_some_and(|r| r.contains(b));
        let mut circles: Vec<BTreeSet<&str>> = vec![];
        for file in arrows.keys().filter(|f| mutual(f, f)) {
            if !circles.iter().any(|c| c.contains(file)) {
                circles.push(arrows.keys().filter(|o| mutual(file, o) && mutual(o, file)).copied().collect());
            }
        }
        let told = |circle: BTreeSet<&str>| {
            let of = |from: &str| {
                let to = arrows[from].iter().filter(|(to, _)| circle.contains(*to));
                let line = |(to, names): (&&str, &BTreeSet<String>)| {
                    format!("{from} -> {to}: {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
                };
                to.map(line).collect::<Vec<_>>()
            };
            circle.iter().flat_map(|f| of(f)).collect()
        };
        circles.into_iter().map(told).collect()
    }
}

fn child(place: &Place, name: &str) -> Place {
    place.iter().cloned().chain([name.to_string()]).collect()
}

#[test]
fn arrows_between_modules_run_one_way() {
    let mut circles = vec![];
    let crates = std::fs::read_dir(repository("runtime")).expect("the crates");
    let mut crates: Vec<_> = crates.map(|c| c.expect("a crate").path().join("src")).collect();
    crates.sort();
    for src in &crates {
        let mut modules = Modules::default();
        modules.load(&vec![], "lib.rs", &|file| std::fs::read_to_string(src.join(file)).ok());
        let named = |c: Vec<String>| format!("{}:\n  {}", src.display(), c.join("\n  "));
        circles.extend(modules.circles().into_iter().map(named));
    }
    assert!(crates.len() > 5, "{crates:?}");
    assert!(
        circles.is_empty(),
        "{} circles of modules. Give what both sides name a file of its own.\n{}",
        circles.len(),
        circles.join("\n")
    );
}

/// The circles of a crate of these files.
fn of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let mut modules = Modules::default();
    let text = |file: &str| files.iter().find(|(name, _)| *name == file).map(|(_, text)| text.to_string());
    modules.load(&vec![], "lib.rs", &text);
    modules.circles()
}

#[test]
fn circles_are_found() {
    let two = ["a.rs -> b.rs: B", "b.rs -> a.rs: A"];
    for (a, b) in [
        ("use crate::b::B; struct A;", "use super::a::A; struct B;"),
        ("struct A; fn f() -> super::b::B { loop {} }", "use crate::a; struct B(a::A);"),
        ("use crate::B; struct A;", "use crate::{Other, a::{self as x, A as Y}}; struct B;"),
        (
            "use super::b::{B, C}; struct A; use x::C;",
            "mod inner { fn f(_: super::super::a::A) {} } struct B; use x::C;",
        ),
        // What others hand on is of the file that it comes from.
        ("use crate::door::B; struct A;", "use crate::door::A; struct B;"),
    ] {
        let door = "pub use crate::a::*; pub use crate::b::B;";
        let found =
            of(&[("lib.rs", "mod a; mod b; mod door; pub use b::B;"), ("a.rs", a), ("b.rs", b), ("door.rs", door)]);
        let lines: Vec<String> = found.concat().iter().map(|l| l.replace(", C", "")).collect();
        assert_eq!(lines, two, "{a} | {b}");
    }
    let three = of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::f; pub fn f() {}"),
        ("b.rs", "use crate::c::f; pub fn f() {}"),
        ("c/mod.rs", "use crate::a::f; pub fn f() {}"),
        ("d.rs", "use crate::a::f; pub fn f() {}"),
    ]);
    assert_eq!(three, [["a.rs -> b.rs: f", "b.rs -> c/mod.rs: f", "c/mod.rs -> a.rs: f"]]);
}

#[test]
fn what_is_no_circle_is_none() {
    for (lib, a, b) in [
        // A module chooses among those within it, which stand on it.
        ("mod a; mod b; fn f() { a::f(); b::f(); } trait T {}", "use super::T; fn f() {}", "use crate::T; fn f() {}"),
        (
            "mod a; mod b;",
            "use super::b::B; struct A;",
            "#[cfg(test)]\nmod tests { use super::super::a::A; }\nstruct B;",
        ),
        (
            "mod a; mod b;",
            "use super::b::B; struct A;",
            "// crate::a::A\n/* crate::a::A /* */ */ struct B(&'static str);",
        ),
        (
            "mod a; mod b;",
            "use super::b::B; struct A;",
            "const B: &str = r#\" \" crate::a::A\"#; const C: char = '\"';",
        ),
        (
            "mod a; mod b;",
            "use super::b::B; struct A;",
            "#[cfg(test)] use super::a::A; struct B; const A: char = '\\'';",
        ),
        // Another crate's modules may have the same names.
        ("mod a; mod b;", "use super::b::B; struct A;", "use other::a::A; struct B; fn f() { std::a::A }"),
    ] {
        assert!(of(&[("lib.rs", lib), ("a.rs", a), ("b.rs", b)]).is_empty(), "{a} | {b}");
    }
}
