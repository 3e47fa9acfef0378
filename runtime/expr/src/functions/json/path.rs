//! Parses JSON paths in the grammar of the Jayway library, which Flink uses.

use super::call::is_function;
use super::tree::{Argument, Path, PathFilter, PathStep};
use crate::json;

/// Maximum number of steps in a path. No document is deeper.
const MOST_STEPS: usize = 1000;

impl Path {
    /// Parses a path. One that begins with neither `$` nor `@` begins at the document.
    pub(super) fn parse(text: &str) -> Result<Path, String> {
        Self::nested(text, 0)
    }

    fn nested(text: &str, depth: usize) -> Result<Path, String> {
        if depth > 8 {
            return Err("paths within paths are nested too deep".to_string());
        }
        let text = text.trim_end_matches(' ');
        if text.is_empty() {
            return Err("it is empty".to_string());
        }
        let text = if text.starts_with(['$', '@']) { text.to_string() } else { format!("$.{text}") };
        if text.ends_with('.') {
            return Err("it ends with '.'".to_string());
        }
        let chars: Vec<char> = text.chars().collect();
        let mut reader = PathParser { chars: &chars, at: 1, depth, steps: vec![] };
        if chars.len() > 1 && !['.', '['].contains(&chars[1]) {
            return reader.wrong("no '.' or '['");
        }
        while reader.at < chars.len() {
            reader.step()?;
            if reader.steps.len() > MOST_STEPS {
                return Err(format!("it has more than {MOST_STEPS} steps"));
            }
        }
        let steps = reader.steps;
        let mut path = Path { root: chars[0] == '$', steps };
        path.turn_round();
        Ok(path)
    }

    /// Moves a function after `..` to the outside, so that it applies to all results: `$..a.length()` is `$.length($..a)`.
    fn turn_round(&mut self) {
        let scans = self.steps.iter().any(|s| matches!(s, PathStep::Scan));
        if !scans || !matches!(self.steps.last(), Some(PathStep::Call(..))) || self.steps.len() < 2 {
            return;
        }
        if let Some(PathStep::Call(name, arguments)) = self.steps.pop() {
            let inner = Path { root: self.root, steps: std::mem::take(&mut self.steps) };
            let arguments = arguments.into_iter().chain([Argument::Path(inner)]).collect();
            self.steps.push(PathStep::Call(name, arguments));
        }
    }
}

struct PathParser<'a> {
    chars: &'a [char],
    at: usize,
    depth: usize,
    steps: Vec<PathStep>,
}

impl PathParser<'_> {
    fn wrong<T>(&self, why: &str) -> Result<T, String> {
        Err(format!("{why} at character {}", self.at + 1))
    }
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }
    /// The next character that is not a blank, with its position.
    fn next_from(&self, at: usize) -> Option<(usize, char)> {
        (at..self.chars.len()).find(|i| self.chars[*i] != ' ').map(|i| (i, self.chars[i]))
    }
    fn text(&self, from: usize, to: usize) -> String {
        self.chars[from..to].iter().collect()
    }

    fn step(&mut self) -> Result<(), String> {
        if self.peek() == Some('.') {
            self.at += 1;
            if self.peek() == Some('.') {
                self.steps.push(PathStep::Scan);
                self.at += 1;
            }
            if self.peek() == Some('.') {
                return self.wrong("a '.' too many");
            }
        }
        match self.peek() {
            Some('[') => self.bracket(),
            Some('*') => {
                self.at += 1;
                self.steps.push(PathStep::All);
                Ok(())
            }
            Some(' ') | None => self.wrong("no name"),
            Some(_) => self.name(),
        }
    }

    /// `.name` or `.name(…)`
    fn name(&mut self) -> Result<(), String> {
        let from = self.at;
        let end = (from..self.chars.len()).find(|i| matches!(self.chars[*i], ' ' | '.' | '[' | '('));
        let end = end.unwrap_or(self.chars.len());
        let name = self.text(from, end);
        self.at = end;
        match self.peek() {
            Some(' ') => self.wrong("a blank, which a name may hold only as ['a name'],"),
            Some('(') => {
                let mut open = 0;
                let close = (end..self.chars.len()).find(|i| {
                    open += match self.chars[*i] {
                        '(' => 1,
                        ')' => -1,
                        _ => 0,
                    };
                    open == 0
                });
                let Some(close) = close else {
                    return self.wrong("a '(' that is not closed");
                };
                let arguments = self.arguments(end + 1, close)?;
                if !is_function(&name) {
                    return Err(format!("there is no function {name}()"));
                }
                self.at = close + 1;
                self.steps.push(PathStep::Call(name, arguments));
                Ok(())
            }
            _ => {
                self.steps.push(PathStep::Names(vec![name]));
                Ok(())
            }
        }
    }

    fn arguments(&self, from: usize, to: usize) -> Result<Vec<Argument>, String> {
        let (mut parts, mut begin, mut open, mut quoted) = (vec![], from, 0, false);
        for i in from..to {
            match self.chars[i] {
                '"' if i == from || self.chars[i - 1] != '\\' => quoted = !quoted,
                '(' | '[' | '{' if !quoted => open += 1,
                ')' | ']' | '}' if !quoted => open -= 1,
                ',' if !quoted && open == 0 => {
                    parts.push(self.text(begin, i));
                    begin = i + 1;
                }
                _ => {}
            }
        }
        parts.push(self.text(begin, to));
        let parts = parts.iter().map(|p| p.trim()).filter(|p| !p.is_empty());
        parts
            .map(|p| {
                if p.starts_with(['$', '@']) {
                    return Path::nested(p, self.depth + 1).map(Argument::Path);
                }
                json::parse(p).map(Argument::Json).map_err(|e| format!("the argument {p} is no JSON: {e}"))
            })
            .collect()
    }

    fn bracket(&mut self) -> Result<(), String> {
        match self.next_from(self.at + 1) {
            Some((at, quote @ ('\'' | '"'))) => self.quoted(at, quote),
            Some((_, c)) if c.is_ascii_digit() || c == '-' || c == ':' => self.numbers(),
            Some((at, '*')) => match self.next_from(at + 1) {
                Some((close, ']')) => {
                    self.at = close + 1;
                    self.steps.push(PathStep::All);
                    Ok(())
                }
                _ => self.wrong("no ']' behind the '*'"),
            },
            Some((at, '?')) => self.filter(at),
            _ => self.wrong("neither a name in quotes, nor a number, '*' or '?'"),
        }
    }

    /// `['one', 'two']`
    fn quoted(&mut self, mut at: usize, quote: char) -> Result<(), String> {
        let mut names = vec![];
        loop {
            let mut name = String::new();
            at += 1;
            loop {
                match self.chars.get(at) {
                    None => return self.wrong("quotes that are not closed"),
                    Some(c) if *c == quote => break,
                    Some('\\') => {
                        name.push(self.escape(&mut at)?);
                    }
                    Some(c) => {
                        name.push(*c);
                        at += 1;
                    }
                }
            }
            names.push(name);
            match self.next_from(at + 1) {
                Some((close, ']')) => {
                    self.at = close + 1;
                    self.steps.push(PathStep::Names(names));
                    return Ok(());
                }
                Some((comma, ',')) => match self.next_from(comma + 1) {
                    Some((next, q)) if q == quote => at = next,
                    _ => return self.wrong("no name behind ','"),
                },
                _ => return self.wrong("no ',' or ']' behind a name"),
            }
        }
    }

    fn escape(&self, at: &mut usize) -> Result<char, String> {
        let c = self.chars.get(*at + 1).copied();
        *at += 2;
        Ok(match c {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('u') => {
                let digits: String = self.chars.iter().skip(*at).take(4).collect();
                *at += 4;
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                char::from_u32(code.ok_or("an escape without four digits")?).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(c) => c,
            None => return self.wrong("quotes that are not closed"),
        })
    }

    /// `[0]`, `[0, 1]`, `[from:to]`
    fn numbers(&mut self) -> Result<(), String> {
        let Some(close) = (self.at..self.chars.len()).find(|i| self.chars[*i] == ']') else {
            return self.wrong("a '[' that is not closed");
        };
        let inner = self.text(self.at + 1, close);
        let number = |t: &str| t.trim().parse::<i32>().map(i64::from).map_err(|_| format!("'{inner}' is no index"));
        let step = if inner.contains(':') {
            let parts: Vec<&str> = inner.split(':').collect();
            let part = |i: usize| match parts.get(i).map(|p| p.trim()) {
                None | Some("") => Ok(None),
                Some(p) => number(p).map(Some),
            };
            let (from, to) = (part(0)?, part(1)?);
            if from.is_none() && to.is_none() {
                return Err(format!("'{inner}' is no range"));
            }
            PathStep::Slice(from, to)
        } else {
            PathStep::Indices(inner.split(',').map(number).collect::<Result<_, _>>()?)
        };
        self.at = close + 1;
        self.steps.push(step);
        Ok(())
    }

    /// `[?(…)]`
    fn filter(&mut self, question: usize) -> Result<(), String> {
        let Some((open, '(')) = self.next_from(question + 1) else {
            return self.wrong("no '(' behind '?'");
        };
        let (filter, end) = PathFilter::parse(self.chars, open, &|text| Path::nested(text, self.depth + 1))?;
        match self.next_from(end) {
            Some((close, ']')) => {
                self.at = close + 1;
                self.steps.push(PathStep::Filter(filter));
                Ok(())
            }
            _ => self.wrong("no ']' behind a filter"),
        }
    }
}
