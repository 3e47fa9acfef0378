//! Parses JSON text as Jackson does.
//!
//! The parser of serde_json misinterprets an object whose only key is its marker for numbers, rejects unpaired surrogates, and stops at a
//! depth of 128. Input from outside must not depend on that.

use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// Maximum depth of nested arrays and objects, as in Jackson.
const MOST_DEEP: usize = 1000;

/// The error for text that is not JSON: a description, and the position in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoJson {
    /// A description of what is wrong.
    pub message: &'static str,
    /// The position in the text, in bytes from 0.
    pub at: usize,
}

impl std::fmt::Display for NoJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.message, self.at + 1)
    }
}

type Read<T> = Result<T, NoJson>;

/// Parses the first value of a text. Returns it with the rest of the text. Blanks before the value are ignored.
///
/// # Errors
/// If the text does not begin with JSON.
pub fn first(text: &str) -> Result<(Value, &str), NoJson> {
    let mut reader = JsonParser { text, at: 0 };
    reader.blanks();
    let value = reader.value(0)?;
    Ok((value, &text[reader.at..]))
}

/// Parses a text that consists of one value.
///
/// # Errors
/// If the text is not JSON, or something follows the value.
pub fn parse(text: &str) -> Result<Value, NoJson> {
    let (value, rest) = first(text)?;
    match rest.find(|c| !blank(c)) {
        None => Ok(value),
        Some(at) => Err(NoJson { message: "something follows the value", at: text.len() - rest.len() + at }),
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

struct JsonParser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonParser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    fn wrong<T>(&self, message: &'static str) -> Read<T> {
        Err(NoJson { message, at: self.at })
    }
    fn blanks(&mut self) {
        while self.peek().is_some_and(|b| blank(char::from(b))) {
            self.at += 1;
        }
    }
    /// Consumes a character and the blanks around it, if it comes next.
    fn take(&mut self, sign: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(sign);
        if there {
            self.at += 1;
            self.blanks();
        }
        there
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        if depth > MOST_DEEP {
            return self.wrong("arrays and objects are nested more than 1000 deep");
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => self.wrong("no value"),
            None => self.wrong("the text ends"),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Read<Value> {
        let rest = &self.text[self.at..];
        let ends =
            !rest[word.len().min(rest.len())..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if rest.starts_with(word) && ends {
            self.at += word.len();
            return Ok(value);
        }
        self.wrong("no value")
    }

    fn array(&mut self, depth: usize) -> Read<Value> {
        self.at += 1;
        self.blanks();
        let mut items = vec![];
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.take(b',') {
                break;
            }
        }
        self.end(b']', "no ',' or ']'")?;
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Read<Value> {
        self.at += 1;
        self.blanks();
        let mut fields = Map::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.wrong("no name in quotes");
            }
            let name = self.string()?.into_owned();
            if !self.take(b':') {
                return self.wrong("no ':'");
            }
            let value = self.value(depth + 1)?;
            fields.insert(name, value);
            if !self.take(b',') {
                break;
            }
        }
        self.end(b'}', "no ',' or '}'")?;
        Ok(Value::Object(fields))
    }

    fn end(&mut self, sign: u8, message: &'static str) -> Read<()> {
        if self.peek() != Some(sign) {
            return self.wrong(message);
        }
        self.at += 1;
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Read<Value> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        if self.digits() == 0 {
            return self.wrong("no digit");
        }
        if self.at - whole > 1 && self.text.as_bytes()[whole] == b'0' {
            self.at = whole;
            return self.wrong("a number with leading zeros");
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.wrong("no digit");
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.wrong("no digit");
            }
        }
        if self.text[self.at..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') {
            return self.wrong("something follows the number");
        }
        let number = self.text[from..self.at].parse::<Number>();
        number.map(Value::Number).or_else(|_| self.wrong("no number"))
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        self.at += 1;
        let from = self.at;
        let bytes = self.text.as_bytes();
        let plain = |at: usize| bytes[at..].iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20);
        let Some(length) = plain(self.at) else {
            return self.wrong("the quotes are not closed");
        };
        self.at += length;
        if bytes[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[from..self.at - 1]));
        }
        let mut out = self.text[from..self.at].to_string();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return self.wrong("a control character in quotes"),
                None => return self.wrong("the quotes are not closed"),
            }
            let Some(length) = plain(self.at) else {
                return self.wrong("the quotes are not closed");
            };
            out += &self.text[self.at..self.at + length];
            self.at += length;
        }
    }

    fn escape(&mut self) -> Read<char> {
        let sign = self.text.as_bytes().get(self.at + 1).copied();
        let c = match sign {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unit_pair(),
            _ => return self.wrong("an escape that there is not"),
        };
        self.at += 2;
        Ok(c)
    }

    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(at..at + 6)?;
        if !digits.starts_with(b"\\u") {
            return None;
        }
        digits[2..].iter().try_fold(0, |n, d| Some(n * 16 + char::from(*d).to_digit(16)?))
    }

    /// Parses a numeric escape, or two that form one character. An unpaired surrogate becomes the replacement character.
    fn unit_pair(&mut self) -> Read<char> {
        let Some(first) = self.unit(self.at) else {
            return self.wrong("an escape without four digits");
        };
        self.at += 6;
        if !(0xD800..0xDC00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        match self.unit(self.at) {
            Some(second @ 0xDC00..=0xDFFF) => {
                self.at += 6;
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            _ => Ok(char::REPLACEMENT_CHARACTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            "null",
            "[]",
            "{}",
            "[1, -0, 1.50, 1e3, 1E+7, -2.5e-3]",
            "{\"a\": [true, false, {\"b\": \"\\u00e4\\n\\/\"}]}",
            "\"\\ud83c\\udf0d\"",
            "{\"a\": 1, \"b\": 2, \"a\": 3}",
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), serde_json::from_str(text).map_err(|e| e.to_string()));
        }
        for text in [
            "",
            "nul",
            "[1,]",
            "{a:1}",
            "{\"a\"}",
            "01",
            "1.",
            ".5",
            "+1",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "[",
            "\"\t\"",
        ] {
            assert!(parse(text).is_err() && serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_what_serde_json_does_not() {
        assert_eq!(parse("\"x \\ud83d\"").map(|v| v.to_string()), Ok("\"x \u{FFFD}\"".to_string()));
        let marker = "{\"$serde_json::private::Number\":\"5\"}";
        assert!(parse(marker).is_ok_and(|v| v.is_object() && format!("{v}") == marker));
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&deep(1000)).is_ok() && parse(&deep(1002)).is_err() && parse(&deep(1_000_000)).is_err());
        assert_eq!(first("1 x").map(|(v, rest)| (v.to_string(), rest)), Ok(("1".to_string(), " x")));
    }
}
