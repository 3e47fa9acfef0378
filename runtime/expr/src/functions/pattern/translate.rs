//! Parses Java's syntax of regular expressions.

use super::NoPattern;
use super::class::{self, VERTICAL, bracketed, by_letter};
use super::reader::{Flags, PatternParser};
use super::tree::{Anchor, Greed, PatternNode};

/// A group that is still open, or the whole pattern.
struct Frame {
    kind: GroupKind,
    /// The flags that apply again after the group.
    flags: Flags,
    branches: Vec<PatternNode>,
    branch: Vec<PatternNode>,
}

enum GroupKind {
    Plain,
    Group(usize),
    Atomic,
    Look { behind: bool, negative: bool },
}

impl Frame {
    fn new(kind: GroupKind, flags: Flags) -> Frame {
        Frame { kind, flags, branches: vec![], branch: vec![] }
    }
    fn close(mut self) -> PatternNode {
        let last = PatternNode::Sequence(self.branch);
        let node = if self.branches.is_empty() {
            last
        } else {
            self.branches.push(last);
            PatternNode::Choice(self.branches)
        };
        match self.kind {
            GroupKind::Plain => node,
            GroupKind::Group(n) => PatternNode::Group(n, Box::new(node)),
            GroupKind::Atomic => PatternNode::Atomic(Box::new(node)),
            GroupKind::Look { behind, negative } => PatternNode::Look { node: Box::new(node), behind, negative },
        }
    }
}

struct Translator<'a> {
    reader: PatternParser<'a>,
    /// The number of capturing groups in the whole pattern.
    total: usize,
    /// The number of capturing groups that have begun.
    groups: usize,
    /// The names of groups, and their numbers.
    names: Vec<(String, usize)>,
    /// The whole pattern, then each open group.
    open: Vec<Frame>,
}

/// Parses a pattern. Returns its tree and the number of capturing groups. If `whole`, it must match the text as a whole.
pub(super) fn translate(source: &str, whole: bool) -> Result<(PatternNode, usize), NoPattern> {
    let chars: Vec<char> = source.chars().collect();
    let mut t = Translator {
        reader: PatternParser { chars: &chars, at: 0, flags: Flags::default() },
        total: count(&chars),
        groups: 0,
        names: vec![],
        open: vec![Frame::new(GroupKind::Plain, Flags::default())],
    };
    t.all()?;
    let node = t.open.pop().map_or(PatternNode::Sequence(vec![]), Frame::close);
    let place = |p| PatternNode::At(p, false);
    let node =
        if whole { PatternNode::Sequence(vec![place(Anchor::TextBegin), node, place(Anchor::TextEnd)]) } else { node };
    Ok((node, t.groups))
}

/// The number of capturing groups of a pattern.
fn count(chars: &[char]) -> usize {
    let (mut n, mut at, mut class) = (0, 0, 0);
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 1,
            '[' => class += 1,
            ']' if class > 0 => class -= 1,
            '(' if class == 0 => {
                let named = chars[at..].starts_with(&['(', '?', '<']) && !matches!(chars.get(at + 3), Some('=' | '!'));
                n += usize::from(chars.get(at + 1) != Some(&'?') || named);
            }
            _ => {}
        }
        at += 1;
    }
    n
}

impl Translator<'_> {
    fn push(&mut self, node: PatternNode) {
        if let Some(frame) = self.open.last_mut() {
            frame.branch.push(node);
        }
    }
    fn one(&mut self, text: impl Into<String>) {
        self.push(PatternNode::One(text.into()));
    }

    fn all(&mut self) -> Result<(), NoPattern> {
        // Whether a quantifier may follow.
        let mut atom = false;
        while let Some(c) = self.reader.next() {
            let flags = self.reader.flags;
            if flags.comments && (c.is_ascii_whitespace() || c == '#') {
                while c == '#' && self.reader.peek().is_some_and(|c| c != '\n') {
                    self.reader.at += 1;
                }
                continue;
            }
            let before = self.open.last().map_or(0, |f| f.branch.len());
            let place = |p| PatternNode::At(p, flags.unix_lines);
            match c {
                // Java accepts a count without anything to repeat before it, and ignores it.
                '{' if !atom && self.reader.peek().is_some_and(|c| c.is_ascii_digit()) => {
                    self.count()?;
                    let _ = self.reader.take('?') || self.reader.take('+');
                    continue;
                }
                '*' | '+' | '?' | '{' => {
                    if !atom {
                        let c = if c == '{' { "a repetition '{'".to_string() } else { format!("'{c}'") };
                        return self.reader.invalid(&format!("{c} behind nothing that can be repeated"));
                    }
                    self.quantifier(c)?;
                    atom = false;
                    continue;
                }
                '|' => {
                    if let Some(frame) = self.open.last_mut() {
                        frame.branches.push(PatternNode::Sequence(std::mem::take(&mut frame.branch)));
                    }
                    atom = false;
                    continue;
                }
                '(' => {
                    self.group()?;
                    atom = false;
                    continue;
                }
                ')' => {
                    if self.open.len() < 2 {
                        return self.reader.invalid("a ')' without its '('");
                    }
                    if let Some(frame) = self.open.pop() {
                        self.reader.flags = frame.flags;
                        self.push(frame.close());
                    }
                    atom = true;
                    continue;
                }
                '[' => {
                    let class = bracketed(&mut self.reader, 0)?;
                    self.class(&class);
                }
                '.' if flags.dot_all => self.one("(?s:.)"),
                '.' if flags.unix_lines => self.one(r"[^\n]"),
                '.' => self.one(r"[^\n\r\u{85}\u{2028}\u{2029}]"),
                '^' if flags.multi_line => self.push(place(Anchor::LineBegin)),
                '^' => self.push(place(Anchor::TextBegin)),
                '$' if flags.multi_line => self.push(place(Anchor::LineEnd)),
                '$' => self.push(place(Anchor::LastLineEnd)),
                '\\' => self.escape()?,
                c => self.literal(c),
            }
            atom = self.open.last().map_or(0, |f| f.branch.len()) > before;
        }
        if self.open.len() == 1 { Ok(()) } else { self.reader.invalid("a '(' is not closed") }
    }

    fn literal(&mut self, c: char) {
        let flags = self.reader.flags;
        let escaped = regex::escape(&c.to_string());
        if flags.ignore_case && flags.unicode_case {
            self.one(format!("(?i:{escaped})"));
        } else if flags.ignore_case && c.is_ascii_alphabetic() {
            self.one(format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()));
        } else {
            self.one(escaped);
        }
    }

    fn class(&mut self, class: &str) {
        let flags = self.reader.flags;
        if flags.ignore_case && flags.unicode_case {
            self.one(format!("(?i:{class})"));
        } else {
            self.one(class);
        }
    }

    /// Parses the rest of a quantifier that begins with `c`, and applies it to the last node.
    fn quantifier(&mut self, c: char) -> Result<(), NoPattern> {
        let (least, most) = match c {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            _ => self.count()?,
        };
        let Some(node) = self.open.last_mut().and_then(|f| f.branch.pop()) else {
            return self.reader.invalid("a repetition of nothing");
        };
        let greed = if self.reader.take('?') { Greed::Least } else { Greed::Most };
        let possessive = greed == Greed::Most && self.reader.take('+');
        let repeat = PatternNode::Repeat { node: Box::new(node), least, most, greed };
        self.push(if possessive { PatternNode::Atomic(Box::new(repeat)) } else { repeat });
        Ok(())
    }

    /// Parses `n}`, `n,}` or `n,m}`. Returns the minimum and maximum count.
    fn count(&mut self) -> Result<(u32, Option<u32>), NoPattern> {
        fn number(r: &mut PatternParser<'_>) -> Result<Option<u32>, NoPattern> {
            let from = r.at;
            while r.peek().is_some_and(|c| c.is_ascii_digit()) {
                r.at += 1;
            }
            let digits: String = r.chars[from..r.at].iter().collect();
            match digits.parse::<u32>() {
                _ if digits.is_empty() => Ok(None),
                Ok(n) if n <= i32::MAX as u32 => Ok(Some(n)),
                _ => r.invalid("a repetition that often is not possible"),
            }
        }
        let Some(least) = number(&mut self.reader)? else {
            return self.reader.invalid("a repetition without a number");
        };
        let most = if self.reader.take(',') { number(&mut self.reader)? } else { Some(least) };
        if !self.reader.take('}') {
            return self.reader.invalid("a repetition is not closed");
        }
        if most.is_some_and(|m| m < least) {
            return self.reader.invalid("a repetition at most less often than at least");
        }
        Ok((least, most))
    }

    /// Parses the start of a group whose `(` has been read.
    fn group(&mut self) -> Result<(), NoPattern> {
        if self.open.len() > 200 {
            return Err(NoPattern::Unsupported("groups nested more than 200 deep".to_string()));
        }
        let flags = self.reader.flags;
        let kind = if self.reader.take('?') {
            match self.reader.next() {
                Some(':') => GroupKind::Plain,
                Some('>') => GroupKind::Atomic,
                Some(c @ ('=' | '!')) => GroupKind::Look { behind: false, negative: c == '!' },
                Some('<') => match self.reader.peek() {
                    Some(c @ ('=' | '!')) => {
                        self.reader.at += 1;
                        GroupKind::Look { behind: true, negative: c == '!' }
                    }
                    _ => {
                        let name = self.name()?;
                        if self.names.iter().any(|(n, _)| *n == name) {
                            return self.reader.invalid(&format!("two groups are called {name}"));
                        }
                        self.groups += 1;
                        self.names.push((name, self.groups));
                        GroupKind::Group(self.groups)
                    }
                },
                _ => {
                    self.reader.at -= 1;
                    if self.switches()? {
                        GroupKind::Plain
                    } else {
                        return Ok(());
                    }
                }
            }
        } else {
            self.groups += 1;
            GroupKind::Group(self.groups)
        };
        self.open.push(Frame::new(kind, flags));
        Ok(())
    }

    /// Parses flags up to a `:`, which begins a group, or up to a `)`. Returns whether it was a `:`.
    fn switches(&mut self) -> Result<bool, NoPattern> {
        let mut on = true;
        loop {
            let f = &mut self.reader.flags;
            match self.reader.chars.get(self.reader.at) {
                Some('-') if on => on = false,
                Some('i') => f.ignore_case = on,
                Some('m') => f.multi_line = on,
                Some('s') => f.dot_all = on,
                Some('u') => f.unicode_case = on,
                Some('x') => f.comments = on,
                Some('d') => f.unix_lines = on,
                Some('U') => (f.unicode, f.unicode_case) = (on, on),
                Some(c @ (':' | ')')) => {
                    self.reader.at += 1;
                    return Ok(*c == ':');
                }
                _ => return self.reader.invalid("no such kind of group"),
            }
            self.reader.at += 1;
        }
    }

    fn name(&mut self) -> Result<String, NoPattern> {
        let from = self.reader.at;
        while self.reader.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.reader.at += 1;
        }
        let name: String = self.reader.chars[from..self.reader.at].iter().collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !self.reader.take('>') {
            return self.reader.invalid("a group's name is letters and digits in <>");
        }
        Ok(name)
    }

    /// Parses what follows a backslash.
    fn escape(&mut self) -> Result<(), NoPattern> {
        let flags = self.reader.flags;
        let Some(c) = self.reader.next() else {
            return self.reader.invalid("nothing behind '\\'");
        };
        if let Some((inside, turned)) = by_letter(c, flags.unicode) {
            self.one(format!("[{}{inside}]", if turned { "^" } else { "" }));
            return Ok(());
        }
        let place = |p| PatternNode::At(p, flags.unix_lines);
        match c {
            'Q' => {
                for c in self.reader.quoted() {
                    self.literal(c);
                }
            }
            'E' => return self.reader.invalid("there is no escape '\\E'"),
            'b' => self.push(place(Anchor::WordBoundary)),
            'B' => self.push(place(Anchor::NoWordBoundary)),
            'A' => self.push(place(Anchor::TextBegin)),
            'z' => self.push(place(Anchor::TextEnd)),
            'Z' => self.push(place(Anchor::LastLineEnd)),
            'G' => self.push(place(Anchor::SearchBegin)),
            'R' => {
                let both = PatternNode::Sequence(vec![
                    PatternNode::One(r"\r".to_string()),
                    PatternNode::One(r"\n".to_string()),
                ]);
                self.push(PatternNode::Choice(vec![both, PatternNode::One(format!("[{VERTICAL}]"))]));
            }
            'X' | 'N' => return Err(NoPattern::Unsupported(format!("\\{c}"))),
            'p' | 'P' => {
                let inside = class::property(&mut self.reader)?;
                self.class(&format!("[{}{inside}]", if c == 'P' { "^" } else { "" }));
            }
            'k' => {
                if !self.reader.take('<') {
                    return self.reader.invalid("\\k is followed by a group's name in <>");
                }
                let name = self.name()?;
                let Some(group) = self.names.iter().find(|(n, _)| *n == name).map(|(_, group)| *group) else {
                    return self.reader.invalid(&format!("no group before is called {name}"));
                };
                self.push(PatternNode::Reference(group, flags.ignore_case.then_some(flags.unicode_case)));
            }
            '1'..='9' => {
                let mut n = c as usize - '0' as usize;
                while let Some(d) = self.reader.peek().and_then(|c| c.to_digit(10))
                    && n * 10 + d as usize <= self.groups
                {
                    n = n * 10 + d as usize;
                    self.reader.at += 1;
                }
                if n > self.total {
                    // Java accepts a reference to a group that does not exist. It never matches.
                    self.one("[a&&b]");
                } else {
                    self.push(PatternNode::Reference(n, flags.ignore_case.then_some(flags.unicode_case)));
                }
            }
            _ => {
                self.reader.at -= 1;
                let c = self.reader.escaped()?;
                self.literal(c);
            }
        }
        Ok(())
    }
}
