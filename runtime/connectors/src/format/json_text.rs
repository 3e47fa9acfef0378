//! Scans JSON text: where values begin and end, and what strings contain. Nothing is built. Values stay slices of the record until they are
//! converted to a column's type. Strings may contain control characters, as Flink configures Jackson to allow.

use std::borrow::Cow;
use std::fmt;

/// Maximum depth of nested arrays and objects, which is Jackson's limit.
const DEEPEST: usize = 1000;

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    /// The byte offset of the error.
    at: usize,
    why: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is not JSON (at column {}): {}", self.at + 1, self.why)
    }
}

/// Scans a JSON text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    fn broken<T>(&self, why: &'static str) -> Result<T, Broken> {
        Err(Broken { at: self.at, why })
    }

    fn expected<T>(&self, why: &'static str) -> Result<T, Broken> {
        self.broken(if self.at >= self.text.len() { "the text ends in the middle" } else { why })
    }

    /// The next byte that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b) = bytes.get(self.at) {
            if !matches!(b, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*b);
            }
            self.at += 1;
        }
        None
    }

    /// Skips a byte, if it is the next one.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Scans the next value, and returns its text.
    ///
    /// # Errors
    /// If there is no valid value.
    pub fn value(&mut self) -> Result<&'a str, Broken> {
        let first = self.peek();
        let from = self.at;
        match first {
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(&self.text[from..self.at])
    }

    /// Scans the next key and its colon, and returns the key as it is written between its quotes.
    ///
    /// # Errors
    /// If there is no valid key.
    pub fn key(&mut self) -> Result<&'a str, Broken> {
        if self.peek() != Some(b'"') {
            return self.expected("a key in quotes is expected");
        }
        let from = self.at + 1;
        self.string()?;
        let key = &self.text[from..self.at - 1];
        if !self.take(b':') {
            return self.expected("a colon is expected");
        }
        Ok(key)
    }

    /// Scans the next object, and calls `each` with the key (as it is written) and the value's text of each member.
    ///
    /// # Errors
    /// If it is not a valid object.
    pub fn members(&mut self, mut each: impl FnMut(&'a str, &'a str)) -> Result<(), Broken> {
        if !self.take(b'{') {
            return self.expected("an object is expected");
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            each(key, self.value()?);
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("a comma or the object's end is expected");
            }
        }
    }

    /// Scans the next array, and calls `each` with the text of each item.
    ///
    /// # Errors
    /// If it is not a valid array.
    pub fn items(&mut self, mut each: impl FnMut(&'a str)) -> Result<(), Broken> {
        if !self.take(b'[') {
            return self.expected("an array is expected");
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self.value()?);
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("a comma or the array's end is expected");
            }
        }
    }

    /// Skips an array or object, without recursion, since a record may be deeply nested.
    fn nested(&mut self) -> Result<(), Broken> {
        // One bit for each open level: whether it is an object.
        let mut objects = [0u64; DEEPEST.div_ceil(64)];
        let mut depth = 0;
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    if depth == DEEPEST {
                        return self.broken("it is nested deeper than 1000 levels");
                    }
                    self.at += 1;
                    let (word, bit) = (depth / 64, 1u64 << (depth % 64));
                    depth += 1;
                    if open == b'{' {
                        objects[word] |= bit;
                        if !self.take(b'}') {
                            self.key()?;
                            continue;
                        }
                    } else {
                        objects[word] &= !bit;
                        if !self.take(b']') {
                            continue;
                        }
                    }
                    depth -= 1;
                }
                _ => self.scalar()?,
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects[(depth - 1) / 64] & (1 << ((depth - 1) % 64)) != 0;
                if self.take(if object { b'}' } else { b']' }) {
                    depth -= 1;
                } else if self.take(b',') {
                    if object {
                        self.key()?;
                    }
                    break;
                } else {
                    return self.expected(if object {
                        "a comma or the object's end is expected"
                    } else {
                        "a comma or the array's end is expected"
                    });
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<(), Broken> {
        match self.text.as_bytes().get(self.at) {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.expected("a value is expected"),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Broken> {
        let bytes = self.text.as_bytes();
        let end = self.at + word.len();
        let longer = bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        if bytes.get(self.at..end) != Some(word.as_bytes()) || longer {
            return self.expected("a value is expected");
        }
        self.at = end;
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let bytes = self.text.as_bytes();
        let from = self.at;
        while bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<(), Broken> {
        let bytes = self.text.as_bytes();
        self.at += usize::from(bytes[self.at] == b'-');
        let zero = bytes.get(self.at) == Some(&b'0');
        match self.digits() {
            0 => return self.expected("a digit is expected"),
            n if zero && n > 1 => return self.broken("a number does not begin with a zero"),
            _ => {}
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.expected("a digit is expected");
            }
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return self.expected("a digit is expected");
            }
        }
        match bytes.get(self.at) {
            Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_') => {
                self.broken("a number ends here")
            }
            _ => Ok(()),
        }
    }

    /// Skips a string, whose opening quote comes next.
    fn string(&mut self) -> Result<(), Broken> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            self.at += special(&bytes[self.at..]);
            match bytes.get(self.at) {
                None => return self.broken("a string is opened and never closed"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => {
                    match bytes.get(self.at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                        Some(b'u') if hex(&bytes[self.at + 2..]).is_some() => self.at += 6,
                        _ => return self.broken("there is no such escape"),
                    };
                }
            }
        }
    }
}

/// The distance to the next quote or backslash, or to the end.
fn special(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // The lowest byte with its high bit set is the first one that was zero.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(bytes.len() - at)
}

/// The value of four hexadecimal digits.
fn hex(bytes: &[u8]) -> Option<u16> {
    let four = bytes.first_chunk::<4>()?;
    four.iter().try_fold(0u16, |all, b| Some(all << 4 | (*b as char).to_digit(16)? as u16))
}

/// The content of a string, from the text between its quotes, which a [`Scanner`] has validated. An unpaired surrogate becomes a question
/// mark, as when Java encodes it.
pub(super) fn said(inner: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else {
        return Cow::Borrowed(inner);
    };
    let mut out = String::with_capacity(inner.len());
    let (mut rest, mut next) = (inner, first);
    loop {
        out.push_str(&rest[..next]);
        let escaped = rest.as_bytes().get(next + 1).copied().unwrap_or(b'\\');
        let mut length = 2;
        match escaped {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let Some(code) = hex(&rest.as_bytes()[next + 2..]) else {
                    panic!("an escape without four digits, which no scanner passes over")
                };
                length = 6;
                let behind = &rest.as_bytes()[(next + 6).min(rest.len())..];
                let low = behind.strip_prefix(b"\\u").and_then(hex);
                match (char::from_u32(u32::from(code)), low) {
                    (Some(c), _) => out.push(c),
                    (None, Some(low)) if code < 0xDC00 && (0xDC00..0xE000).contains(&low) => {
                        length = 12;
                        let both = 0x10000 + ((u32::from(code) - 0xD800) << 10) + (u32::from(low) - 0xDC00);
                        out.extend(char::from_u32(both));
                    }
                    _ => out.push('?'),
                }
            }
            other => out.push(other as char),
        }
        rest = &rest[(next + length).min(rest.len())..];
        match memchr::memchr(b'\\', rest.as_bytes()) {
            Some(n) => next = n,
            None => break,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The kind and content of a value.
#[derive(Debug)]
pub(super) enum JsonToken<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Cow<'a, str>),
    Array,
    Object,
}

/// The kind and content of a value's text, which a [`Scanner`] has returned.
pub(super) fn what(text: &str) -> JsonToken<'_> {
    match text.as_bytes().first() {
        Some(b'"') => JsonToken::String(said(text.get(1..text.len() - 1).unwrap_or_default())),
        Some(b'{') => JsonToken::Object,
        Some(b'[') => JsonToken::Array,
        Some(b't') => JsonToken::Bool(true),
        Some(b'f') => JsonToken::Bool(false),
        Some(b'n') | None => JsonToken::Null,
        _ => JsonToken::Number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("NaN", 0),
            ("+1", 0),
            (".5", 0),
            ("1.", 2),
            ("01", 2),
            ("-", 1),
            ("{", 1),
            (r#"{"a" 1}"#, 5),
            (r#"{"a":1,}"#, 7),
            ("[1 2]", 3),
            (r#""\q""#, 1),
            (r#""\u12""#, 1),
            ("\"x", 2),
            ("nul", 0),
            ("truex", 0),
            ("{a:1}", 1),
            ("1x", 1),
            ("[1,]", 3),
            (r#"{"a":}"#, 5),
        ] {
            let e = Scanner::new(text).value().expect_err(text);
            assert_eq!(e.at, at, "{text}: {e}");
        }
        let deep = "[".repeat(1001) + &"]".repeat(1001);
        assert!(Scanner::new(&deep).value().is_err());
        assert!(Scanner::new(&deep[1..2001]).value().is_ok());
    }

    #[test]
    fn strings_say_what_their_escapes_mean() {
        for (text, want) in [
            ("plain", "plain"),
            (r"x \ud83d", "x ?"),
            (r"\udc00 y", "? y"),
            (r"\ud83d\ud83d", "??"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d\u0041", "?A"),
            (r"a\tb\\\/", "a\tb\\/"),
            (r"\u0000", "\0"),
            ("é\\u00e9", "éé"),
        ] {
            assert_eq!(said(text), want, "{text}");
        }
    }

    #[test]
    fn the_next_special_byte_is_found_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..=length {
                let mut bytes = vec![b'!'; length];
                if at < length {
                    bytes[at] = if at % 2 == 0 { b'"' } else { b'\\' };
                }
                assert_eq!(special(&bytes), at);
            }
        }
    }
}
