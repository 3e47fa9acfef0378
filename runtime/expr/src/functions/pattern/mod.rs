//! Java's regular expressions with two engines: one whose time is linear in the length of the text, and a backtracking one with limited
//! steps for look-around, back references, possessive quantifiers and atomic groups.

mod back;
mod class;
mod like;
mod reader;
mod translate;
mod tree;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use tree::PatternNode;

/// Maximum memory of a compiled pattern in bytes.
const MOST_BYTES: usize = 4 << 20;
/// The number of compiled patterns in the cache.
const KEPT: usize = 16;

/// Why a text is not a usable pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoPattern {
    /// Java rejects it as well.
    Invalid(String),
    /// Java accepts it.
    Unsupported(String),
}

impl std::fmt::Display for NoPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoPattern::Invalid(why) => f.write_str(why),
            NoPattern::Unsupported(why) => write!(f, "not supported: {why}"),
        }
    }
}

#[derive(Debug)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(back::Program),
}

impl Engine {
    fn new(node: &PatternNode, groups: usize, lines: bool) -> Result<Engine, NoPattern> {
        if node.needs_steps_back() || lines {
            return back::Program::new(node, groups).map(Engine::Backtracking);
        }
        let mut text = String::new();
        node.linear(&mut text);
        let built = regex::RegexBuilder::new(&text).size_limit(MOST_BYTES).build();
        built.map(Engine::Linear).map_err(|e| {
            let e = e.to_string();
            let last = e.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
            NoPattern::Unsupported(last.trim().trim_start_matches("error: ").to_string())
        })
    }
}

/// The kind of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PatternKind {
    /// A regular expression that is searched for in the text.
    Regex,
    /// A regular expression that the whole text must match.
    Whole,
    /// A LIKE pattern, with its escape character.
    Like(Option<char>),
    /// A SIMILAR TO pattern, with its escape character.
    Similar(Option<char>),
}

/// The start and end of a match or group, in bytes.
pub(crate) type Span = (usize, usize);

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// For texts of one line, where anchors only match at the start and end of the text.
    one_line: Engine,
    /// For other texts, if line breaks affect the anchors of the pattern.
    lines: Option<(PatternNode, OnceLock<Result<Engine, NoPattern>>)>,
    source: String,
    kind: PatternKind,
    groups: usize,
}

impl Pattern {
    /// Compiles a pattern.
    pub(crate) fn new(source: &str, kind: PatternKind) -> Result<Pattern, NoPattern> {
        let java = match kind {
            PatternKind::Regex | PatternKind::Whole => source.to_string(),
            PatternKind::Like(escape) => like::like(source, escape)?,
            PatternKind::Similar(escape) => like::similar(source, escape)?,
        };
        let (node, groups) = translate::translate(&java, kind != PatternKind::Regex)?;
        let one_line = Engine::new(&node, groups, false)?;
        let lines = node.knows_lines().then(|| (node, OnceLock::new()));
        Ok(Pattern { one_line, lines, source: source.to_string(), kind, groups })
    }
    /// The number of groups, without the whole match.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    fn engine(&self, text: &str) -> Result<&Engine, String> {
        let Some((node, lines)) = &self.lines else {
            return Ok(&self.one_line);
        };
        // Java's `(?m)^` does not match at the end, so not in an empty text either.
        if !text.is_empty() && !text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
            return Ok(&self.one_line);
        }
        lines.get_or_init(|| Engine::new(node, self.groups, true)).as_ref().map_err(ToString::to_string)
    }

    /// Whether the pattern matches somewhere in the text.
    ///
    /// # Errors
    /// If the search takes too many steps.
    pub(crate) fn is_match(&self, text: &str) -> Result<bool, String> {
        match self.engine(text)? {
            Engine::Linear(r) => Ok(r.is_match(text)),
            Engine::Backtracking(p) => Ok(p.find(text, 0)?.is_some()),
        }
    }
    /// The first match that begins at or after a position.
    ///
    /// # Errors
    /// If the search takes too many steps.
    pub(crate) fn find_at(&self, text: &str, at: usize) -> Result<Option<Span>, String> {
        match self.engine(text)? {
            Engine::Linear(r) => Ok(r.find_at(text, at).map(|m| (m.start(), m.end()))),
            Engine::Backtracking(p) => Ok(p.find(text, at)?.and_then(|groups| groups[0])),
        }
    }
    /// Does the same for one of the groups. Returns the span of the whole match, and that of the group if it took part.
    ///
    /// # Errors
    /// If the search takes too many steps.
    pub(crate) fn group_at(&self, text: &str, at: usize, group: usize) -> Result<Option<(Span, Option<Span>)>, String> {
        if group == 0 {
            return Ok(self.find_at(text, at)?.map(|m| (m, Some(m))));
        }
        match self.engine(text)? {
            Engine::Linear(r) => Ok(r.captures_at(text, at).and_then(|c| {
                let whole = c.get(0)?;
                Some(((whole.start(), whole.end()), c.get(group).map(|m| (m.start(), m.end()))))
            })),
            Engine::Backtracking(p) => Ok(p.find(text, at)?.and_then(|groups| Some((groups[0]?, groups[group])))),
        }
    }
    /// Calls a function with all matches as Java finds them, and with one of their groups. An empty match at the end of the previous one
    /// counts.
    ///
    /// # Errors
    /// If the search takes too many steps, or the function fails.
    pub(crate) fn each(
        &self,
        text: &str,
        group: usize,
        f: &mut dyn FnMut(Span, Option<Span>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut at = 0;
        while at <= text.len() {
            let Some((whole, group)) = self.group_at(text, at, group)? else {
                break;
            };
            f(whole, group)?;
            at = if whole.1 > whole.0 {
                whole.1
            } else {
                whole.1 + text[whole.1..].chars().next().map_or(1, char::len_utf8)
            };
        }
        Ok(())
    }
    /// Splits a text as Java does: into at most `limit` parts, or without a limit, without trailing empty parts.
    ///
    /// # Errors
    /// If the search takes too many steps.
    pub(crate) fn split<'t>(&self, text: &'t str, limit: Option<usize>) -> Result<Vec<&'t str>, String> {
        let (mut parts, mut from, mut at) = (vec![], 0, 0);
        while at <= text.len() && limit.is_none_or(|l| parts.len() + 1 < l) {
            let Some(m) = self.find_at(text, at)? else { break };
            let empty = m.0 == m.1;
            if !(empty && m.0 == 0) {
                parts.push(&text[from..m.0]);
                from = m.1;
            }
            at = if empty { m.1 + text[m.1..].chars().next().map_or(1, char::len_utf8) } else { m.1 };
        }
        let matched = !parts.is_empty();
        parts.push(&text[from..]);
        while matched && limit.is_none() && parts.last().is_some_and(|p| p.is_empty()) {
            parts.pop();
        }
        Ok(parts)
    }
}

/// A compiled pattern, or its error.
type Compiled = Result<Rc<Pattern>, (String, PatternKind, NoPattern)>;

/// Compiles a pattern. The last few are cached, since patterns are nearly always constants.
pub(super) fn kept(source: &str, kind: PatternKind) -> Result<Rc<Pattern>, NoPattern> {
    thread_local! {
        static ALL: RefCell<Vec<Compiled>> = const { RefCell::new(vec![]) };
    }
    ALL.with_borrow_mut(|all| {
        let found = all.iter().position(|p| match p {
            Ok(p) => p.kind == kind && p.source == source,
            Err((s, k, _)) => *k == kind && s == source,
        });
        match found {
            Some(0) => {}
            Some(at) => all.swap(0, at),
            None => {
                all.truncate(KEPT - 1);
                all.insert(0, Pattern::new(source, kind).map(Rc::new).map_err(|e| (source.to_string(), kind, e)));
            }
        }
        all[0].as_ref().map(Rc::clone).map_err(|e| e.2.clone())
    })
}

/// Compiles a pattern that is a function's argument. None for a pattern that Java rejects as well.
///
/// # Errors
/// If Java accepts the pattern, but it cannot be evaluated here.
pub(super) fn known(source: &str, kind: PatternKind) -> Result<Option<Rc<Pattern>>, String> {
    match kept(source, kind) {
        Ok(p) => Ok(Some(p)),
        Err(NoPattern::Invalid(_)) => Ok(None),
        Err(e) => Err(format!("the pattern '{}' is {e}", shown(source))),
    }
}

/// A pattern in the form in which messages show it.
pub(super) fn shown(source: &str) -> String {
    let mut out: String = source.chars().take(100).collect();
    if out.len() < source.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests;
