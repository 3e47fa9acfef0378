//! Reads the characters of a pattern one by one, and parses its escapes.

use super::NoPattern;

/// The flags that `(?…)` sets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub ignore_case: bool,
    pub unicode_case: bool,
    pub unicode: bool,
    pub comments: bool,
    pub multi_line: bool,
    pub dot_all: bool,
    pub unix_lines: bool,
}

/// The characters of a pattern, the position of the next one, and the flags that apply there.
pub(super) struct PatternParser<'a> {
    pub chars: &'a [char],
    pub at: usize,
    pub flags: Flags,
}

impl PatternParser<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }
    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }
    pub(super) fn take(&mut self, sign: char) -> bool {
        let there = self.peek() == Some(sign);
        self.at += usize::from(there);
        there
    }
    pub(super) fn invalid<T>(&self, why: &str) -> Result<T, NoPattern> {
        Err(NoPattern::Invalid(format!("{why}, at character {}", self.at)))
    }
    /// Reads the text between `\Q` and `\E`. The `\Q` has been read.
    pub(super) fn quoted(&mut self) -> Vec<char> {
        let from = self.at;
        while self.at < self.chars.len() && !(self.chars[self.at] == '\\' && self.chars.get(self.at + 1) == Some(&'E'))
        {
            self.at += 1;
        }
        let inner = self.chars[from..self.at].to_vec();
        self.at = (self.at + 2).min(self.chars.len());
        inner
    }
    fn number(&mut self, radix: u32, least: usize, most: usize) -> Result<u32, NoPattern> {
        let (from, mut n) = (self.at, 0u32);
        while let Some(d) = self.peek().and_then(|c| c.to_digit(radix))
            && self.at - from < most
        {
            n = n.saturating_mul(radix).saturating_add(d);
            self.at += 1;
        }
        if self.at - from < least { self.invalid("an escape without its digits") } else { Ok(n) }
    }
    /// Parses an escape whose backslash has been read. Returns the character that it stands for.
    pub(super) fn escaped(&mut self) -> Result<char, NoPattern> {
        let Some(c) = self.next() else {
            return self.invalid("nothing behind '\\'");
        };
        let code = match c {
            't' => 9,
            'n' => 10,
            'r' => 13,
            'f' => 12,
            'a' => 7,
            'e' => 27,
            'c' => match self.next() {
                Some(c) => c as u32 ^ 64,
                None => return self.invalid("nothing behind \\c"),
            },
            '0' => {
                let most = if self.peek().is_some_and(|c| c <= '3') { 3 } else { 2 };
                self.number(8, 1, most)?
            }
            'x' if self.take('{') => {
                let n = self.number(16, 1, 8)?;
                if !self.take('}') {
                    return self.invalid("\\x{ is not closed");
                }
                n
            }
            'x' => self.number(16, 2, 2)?,
            'u' => {
                let n = self.number(16, 4, 4)?;
                let pair = (0xD800..0xDC00).contains(&n) && self.chars[self.at..].starts_with(&['\\', 'u']);
                if pair {
                    self.at += 2;
                    let low = self.number(16, 4, 4)?;
                    0x10000 + ((n - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    n
                }
            }
            c if c.is_ascii_alphanumeric() => return self.invalid(&format!("there is no escape '\\{c}'")),
            c => c as u32,
        };
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None if (0xD800..0xE000).contains(&code) => {
                Err(NoPattern::Unsupported("half a surrogate pair in a pattern".to_string()))
            }
            None => self.invalid("no character has that number"),
        }
    }
}
