//! Filters of JSON paths: `?(@.price < 10 && @.category == 'fiction')`.

use super::double_of;
use super::tree::{FilterOperator, Operand, Path, PathFilter};
use crate::functions::pattern::{Pattern, PatternKind};
use crate::json;
use serde_json::Value as Json;
use std::cmp::Ordering;

/// Maximum depth of nested parentheses.
const MOST_DEEP: usize = 100;

/// Parses a path.
type ReadPath<'a> = dyn Fn(&str) -> Result<Path, String> + 'a;

/// The result of a path; none if it does not lead anywhere.
type Resolve<'a> = dyn Fn(&Path) -> Option<Json> + 'a;

impl FilterOperator {
    fn named(name: &str) -> Option<FilterOperator> {
        Some(match name.to_ascii_uppercase().as_str() {
            "==" | "=" | "===" => FilterOperator::Equal,
            "!=" | "!==" | "<>" => FilterOperator::NotEqual,
            "<" => FilterOperator::Less,
            "<=" => FilterOperator::LessOrEqual,
            ">" => FilterOperator::Greater,
            ">=" => FilterOperator::GreaterOrEqual,
            "=~" => FilterOperator::Matches,
            "IN" => FilterOperator::In,
            "NIN" => FilterOperator::NotIn,
            "CONTAINS" => FilterOperator::Contains,
            "SIZE" => FilterOperator::Size,
            "EMPTY" => FilterOperator::Empty,
            "SUBSETOF" => FilterOperator::SubsetOf,
            "ANYOF" => FilterOperator::AnyOf,
            "NONEOF" => FilterOperator::NoneOf,
            "ALL" => FilterOperator::All,
            _ => return None,
        })
    }
}

impl PathFilter {
    /// Parses the filter whose opening parenthesis is at the position `open`. Returns it with the position after the closing one. `paths`
    /// parses the paths in the filter.
    pub(super) fn parse(chars: &[char], open: usize, paths: &ReadPath<'_>) -> Result<(PathFilter, usize), String> {
        let mut reader = FilterParser { chars, at: open, paths };
        let filter = reader.operand(0)?;
        Ok((filter, reader.at))
    }

    /// Whether a node passes the filter. `value` evaluates paths on the node.
    pub(super) fn holds(&self, value: &Resolve<'_>) -> bool {
        match self {
            PathFilter::And(a, b) => a.holds(value) && b.holds(value),
            PathFilter::Or(a, b) => a.holds(value) || b.holds(value),
            PathFilter::Not(f) => !f.holds(value),
            PathFilter::Exists(path) => value(path).is_some(),
            PathFilter::Relation(left, operator, right) => relation(left, *operator, right, value),
        }
    }
}

fn relation(left: &Operand, operator: FilterOperator, right: &Operand, found: &Resolve<'_>) -> bool {
    let value = |o: &Operand| match o {
        Operand::Path(p) => found(p),
        Operand::Json(j) => Some(j.clone()),
        Operand::Pattern(_) => None,
    };
    if operator == FilterOperator::Matches {
        let (pattern, text) = match (left, right) {
            (Operand::Pattern(p), o) | (o, Operand::Pattern(p)) => (p, value(o)),
            _ => return false,
        };
        let text = match &text {
            Some(Json::String(s)) => s.clone(),
            Some(Json::Number(n)) => n.to_string(),
            Some(Json::Bool(b)) => b.to_string(),
            _ => return false,
        };
        return pattern.is_match(&text).unwrap_or(false);
    }
    let (left, right) = (value(left), value(right));
    let among = |item: &Json, list: &Json| list.as_array().is_some_and(|l| l.iter().any(|i| equal(i, item)));
    match (operator, &left, &right) {
        (FilterOperator::Equal, None, None) => true,
        (FilterOperator::Equal, Some(a), Some(b)) => equal(a, b),
        (FilterOperator::NotEqual, Some(a), Some(b)) => !equal(a, b),
        (FilterOperator::NotEqual, a, b) => a.is_some() != b.is_some(),
        (FilterOperator::NotIn, Some(a), Some(b)) => !among(a, b),
        (_, None, _) | (_, _, None) => false,
        (FilterOperator::Less, Some(a), Some(b)) => order(a, b) == Some(Ordering::Less),
        (FilterOperator::LessOrEqual, Some(a), Some(b)) => order(a, b).is_some_and(Ordering::is_le),
        (FilterOperator::Greater, Some(a), Some(b)) => order(a, b) == Some(Ordering::Greater),
        (FilterOperator::GreaterOrEqual, Some(a), Some(b)) => order(a, b).is_some_and(Ordering::is_ge),
        (FilterOperator::In, Some(a), Some(b)) => among(a, b),
        (FilterOperator::Contains, Some(Json::String(a)), Some(Json::String(b))) => a.contains(b.as_str()),
        (FilterOperator::Contains, Some(a), Some(b)) => among(b, a),
        (FilterOperator::Size, Some(a), Some(b)) => {
            let size = match a {
                Json::String(s) => s.encode_utf16().count(),
                Json::Array(l) => l.len(),
                _ => return false,
            };
            double_of(b) == Some(size as f64)
        }
        (FilterOperator::Empty, Some(a), Some(b)) => {
            let empty = match a {
                Json::String(s) => s.is_empty(),
                Json::Array(l) => l.is_empty(),
                Json::Object(o) => o.is_empty(),
                _ => return false,
            };
            b.as_bool() == Some(empty)
        }
        (FilterOperator::SubsetOf, Some(Json::Array(a)), Some(b)) => a.iter().all(|i| among(i, b)),
        (FilterOperator::AnyOf, Some(Json::Array(a)), Some(b)) => a.iter().any(|i| among(i, b)),
        (FilterOperator::NoneOf, Some(Json::Array(a)), Some(b)) => !a.iter().any(|i| among(i, b)),
        (FilterOperator::All, Some(a), Some(Json::Array(b))) => b.iter().all(|i| among(i, a)),
        _ => false,
    }
}

fn equal(a: &Json, b: &Json) -> bool {
    match (double_of(a), double_of(b)) {
        (Some(x), Some(y)) => x == y,
        _ => a == b,
    }
}

fn order(a: &Json, b: &Json) -> Option<Ordering> {
    match (a, b) {
        (Json::String(a), Json::String(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
        _ => double_of(a)?.partial_cmp(&double_of(b)?),
    }
}

struct FilterParser<'a> {
    chars: &'a [char],
    at: usize,
    paths: &'a ReadPath<'a>,
}

impl FilterParser<'_> {
    fn wrong<T>(&self, why: &str) -> Result<T, String> {
        Err(format!("{why} in the filter at character {}", self.at + 1))
    }
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at) == Some(&' ') {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }
    fn take(&mut self, word: &str) -> bool {
        self.peek();
        let there = word.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        if there {
            self.at += word.len();
        }
        there
    }

    fn any(&mut self, depth: usize) -> Result<PathFilter, String> {
        let mut left = self.every(depth)?;
        while self.take("||") {
            left = PathFilter::Or(Box::new(left), Box::new(self.every(depth)?));
        }
        Ok(left)
    }

    fn every(&mut self, depth: usize) -> Result<PathFilter, String> {
        let mut left = self.operand(depth)?;
        while self.take("&&") {
            left = PathFilter::And(Box::new(left), Box::new(self.operand(depth)?));
        }
        Ok(left)
    }

    fn operand(&mut self, depth: usize) -> Result<PathFilter, String> {
        if depth > MOST_DEEP {
            return self.wrong("too many parentheses");
        }
        match self.peek() {
            Some('!') => {
                self.at += 1;
                Ok(PathFilter::Not(Box::new(self.operand(depth + 1)?)))
            }
            Some('(') => {
                self.at += 1;
                let inner = self.any(depth + 1)?;
                if !self.take(")") {
                    return self.wrong("no ')'");
                }
                Ok(inner)
            }
            _ => self.relation(),
        }
    }

    fn relation(&mut self) -> Result<PathFilter, String> {
        let left = self.value()?;
        if matches!(self.peek(), Some(')' | '&' | '|') | None) {
            return match left {
                Operand::Path(p) => Ok(PathFilter::Exists(p)),
                _ => self.wrong("no operator"),
            };
        }
        let from = self.at;
        let signs = |c: &char| matches!(c, '<' | '>' | '=' | '~' | '!');
        let sign = self.chars.get(from).is_some_and(signs);
        let length = self.chars[from..].iter().take_while(|c| if sign { signs(c) } else { c.is_alphabetic() }).count();
        let name: String = self.chars[from..from + length].iter().collect();
        let Some(operator) = FilterOperator::named(&name) else {
            return self.wrong("no operator that there is");
        };
        self.at += length;
        Ok(PathFilter::Relation(left, operator, self.value()?))
    }

    /// Takes the text up to a position, and advances to it.
    fn until(&mut self, end: usize) -> String {
        let text = self.chars[self.at..end].iter().collect();
        self.at = end;
        text
    }

    fn closing_quote(&self, from: usize) -> Option<usize> {
        let mut escaped = false;
        (from + 1..self.chars.len()).find(|i| {
            let c = self.chars[*i];
            let found = c == self.chars[from] && !escaped;
            escaped = c == '\\' && !escaped;
            found
        })
    }

    /// The position after the bracket that closes the one at `from`. Quoted texts are skipped.
    fn closing(&self, from: usize) -> Option<usize> {
        let (mut open, mut at) = (0, from);
        while at < self.chars.len() {
            match self.chars[at] {
                '\'' | '"' => at = self.closing_quote(at)?,
                '[' | '{' | '(' => open += 1,
                ']' | '}' | ')' => open -= 1,
                _ => {}
            }
            at += 1;
            if open == 0 {
                return Some(at);
            }
        }
        None
    }

    fn value(&mut self) -> Result<Operand, String> {
        let Some(first) = self.peek() else {
            return self.wrong("no value");
        };
        let from = self.at;
        let open = "a bracket or quote that is not closed";
        Ok(match first {
            '$' | '@' => {
                let mut end = from + 1;
                while let Some(c) = self.chars.get(end) {
                    match c {
                        '[' | '(' => match self.closing(end) {
                            Some(close) => end = close,
                            None => return self.wrong(open),
                        },
                        ' ' | ')' | '<' | '>' | '=' | '~' | '!' | '&' | '|' | ',' => break,
                        _ => end += 1,
                    }
                }
                Operand::Path((self.paths)(&self.until(end))?)
            }
            '\'' | '"' => {
                let Some(end) = self.closing_quote(from) else {
                    return self.wrong(open);
                };
                let text = self.until(end + 1);
                let inner = &text[1..text.len() - 1];
                // Escapes are those of JSON, except that a single quote only needs one here.
                let quoted =
                    format!("\"{}\"", inner.replace("\\'", "'").replace('"', "\\\"").replace("\\\\\"", "\\\""));
                Operand::Json(json::parse(&quoted).unwrap_or_else(|_| Json::String(inner.to_string())))
            }
            '/' => {
                let Some(end) = self.closing_quote(from) else {
                    return self.wrong(open);
                };
                let text = self.until(end + 1);
                let flags: String = self.chars[self.at..].iter().take_while(|c| c.is_alphabetic()).collect();
                self.at += flags.len();
                let inner = &text[1..text.len() - 1];
                let flags = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
                let pattern = Pattern::new(&format!("{flags}{inner}"), PatternKind::Whole);
                Operand::Pattern(pattern.map_err(|e| format!("/{inner}/: {e}"))?)
            }
            '[' | '{' => {
                let Some(end) = self.closing(from) else {
                    return self.wrong(open);
                };
                let text = self.until(end);
                let read = json::parse(&text).or_else(|e| json::parse(&text.replace('\'', "\"")).map_err(|_| e));
                Operand::Json(read.map_err(|e| format!("{text} is no JSON: {e}"))?)
            }
            _ => {
                let length =
                    self.chars[from..].iter().take_while(|c| c.is_alphanumeric() || "+-.".contains(**c)).count();
                let text = self.until(from + length);
                Operand::Json(json::parse(&text).map_err(|_| format!("'{text}' is no value for a filter"))?)
            }
        })
    }
}
