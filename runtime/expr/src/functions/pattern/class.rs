//! Character classes, in brackets and by name.

use super::NoPattern;
use super::reader::{Flags, PatternParser};

/// Java's `\h`, as the contents of a class.
pub(super) const HORIZONTAL: &str = r" \t\u{A0}\u{1680}\u{180E}\u{2000}-\u{200A}\u{202F}\u{205F}\u{3000}";
/// Java's `\v`, as the contents of a class.
pub(super) const VERTICAL: &str = r"\n\x0B\f\r\u{85}\u{2028}\u{2029}";

/// The contents of a class that is one letter after a backslash, and whether the class is negated.
pub(super) fn by_letter(c: char, unicode: bool) -> Option<(&'static str, bool)> {
    let inside = match (c.to_ascii_lowercase(), unicode) {
        ('d', false) => "0-9",
        ('w', false) => "0-9A-Za-z_",
        ('s', false) => r" \t\n\x0B\f\r",
        ('d', true) => r"\d",
        ('w', true) => r"\w",
        ('s', true) => r"\s",
        ('h', _) => HORIZONTAL,
        ('v', _) => VERTICAL,
        _ => return None,
    };
    Some((inside, c.is_ascii_uppercase()))
}

/// The contents of a class that `\p{…}` names.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a name")]
fn by_name(name: &str, unicode: bool) -> Result<String, NoPattern> {
    let unknown = || NoPattern::Invalid(format!("there is no class \\p{{{name}}}"));
    let property = |p: &str| Ok(format!(r"\p{{{p}}}"));
    let ascii = match name {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7F",
        "Alpha" => "A-Za-z",
        "Digit" => "0-9",
        "Alnum" => "0-9A-Za-z",
        "Punct" => r"!-/:-@\[-`{-~",
        "Graph" => "!-~",
        "Print" => r"\x20-~",
        "Blank" => r"\t\x20",
        "Cntrl" => r"\x00-\x1F\x7F",
        "XDigit" => "0-9A-Fa-f",
        "Space" => r"\x20\t\n\x0B\f\r",
        "L1" => r"\x00-\u{FF}",
        "all" => r"\x00-\u{10FFFF}",
        _ => "",
    };
    if !(ascii.is_empty() || unicode && name.len() > 3) {
        return Ok(ascii.to_string());
    }
    let general = |n: &str| {
        let known = [
            "L", "Lu", "Ll", "Lt", "Lm", "Lo", "LC", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd",
            "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Cn",
            "Co",
        ];
        known.contains(&n)
    };
    let named = match name {
        "Lower" | "javaLowerCase" => "Lowercase",
        "Upper" | "javaUpperCase" => "Uppercase",
        "Alpha" | "javaAlphabetic" => "Alphabetic",
        "Digit" | "javaDigit" => "Nd",
        "Punct" => "P",
        "Cntrl" | "javaISOControl" => "Cc",
        "Space" => "White_Space",
        "XDigit" => "Hex_Digit",
        "javaLetter" => "L",
        "javaTitleCase" => "Lt",
        "javaSpaceChar" => "Z",
        "Alnum" => return Ok(r"\p{Alphabetic}\p{Nd}".to_string()),
        "javaLetterOrDigit" => return Ok(r"\p{L}\p{Nd}".to_string()),
        "javaWhitespace" => {
            let blanks =
                r"\t\n\x0B\f\r\x1C-\x20\u{1680}\u{2000}-\u{2006}\u{2008}-\u{200A}\u{2028}\u{2029}\u{205F}\u{3000}";
            return Ok(blanks.to_string());
        }
        "Blank" => return Ok(HORIZONTAL.to_string()),
        n if general(n) => n,
        _ => "",
    };
    if !named.is_empty() {
        return property(named);
    }
    if let Some((key, value)) = name.split_once('=') {
        return match key {
            "script" | "sc" => property(&format!("Script={value}")),
            "general_category" | "gc" if general(value) => property(value),
            "block" | "blk" => Err(NoPattern::Unsupported(format!("blocks of characters (\\p{{{name}}})"))),
            _ => Err(unknown()),
        };
    }
    if name.starts_with("In") {
        return Err(NoPattern::Unsupported(format!("blocks of characters (\\p{{{name}}})")));
    }
    match name.strip_prefix("Is") {
        Some(n) if general(n) => property(n),
        Some(n) => match n.to_ascii_uppercase().as_str() {
            "LETTER" => property("L"),
            "TITLECASE" => property("Lt"),
            "PUNCTUATION" => property("P"),
            "CONTROL" => property("Cc"),
            "DIGIT" => property("Nd"),
            "ALNUM" => Ok(r"\p{Alphabetic}\p{Nd}".to_string()),
            "ASSIGNED" => Ok(r"\P{Cn}".to_string()),
            _ => property(n),
        },
        None => Err(unknown()),
    }
}

/// Parses `\p{…}` or `\pL`, of which the `p` has been read. Returns the contents of the class.
pub(super) fn property(reader: &mut PatternParser<'_>) -> Result<String, NoPattern> {
    let name = if reader.take('{') {
        let from = reader.at;
        while reader.peek().is_some_and(|c| c != '}') {
            reader.at += 1;
        }
        let name: String = reader.chars[from..reader.at].iter().collect();
        if !reader.take('}') {
            return reader.invalid("\\p{ is not closed");
        }
        name
    } else {
        match reader.next() {
            Some(c) => c.to_string(),
            None => return reader.invalid("no name behind \\p"),
        }
    };
    by_name(&name, reader.flags.unicode)
}

/// Appends a character of a class.
fn push(c: char, out: &mut String) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        *out += &format!(r"\x{:02X}", c as u32);
    }
}

/// Appends a range of a class. If only the case of ASCII letters is ignored, the other case of the letters in the range is appended as
/// well.
fn push_range(low: char, high: char, flags: Flags, out: &mut String) {
    push(low, out);
    if low != high {
        out.push('-');
        push(high, out);
    }
    if flags.ignore_case && !flags.unicode_case {
        for (first, last, shift) in [('a', 'z', -32i32), ('A', 'Z', 32)] {
            let (from, to) = (low.max(first), high.min(last));
            if from <= to {
                for c in from..=to {
                    out.push(char::from((c as i32 + shift) as u8));
                }
            }
        }
    }
}

/// Parses a class whose `[` has been read. Returns it in the syntax of the regex crate.
pub(super) fn bracketed(reader: &mut PatternParser<'_>, depth: usize) -> Result<String, NoPattern> {
    if depth > 50 {
        return Err(NoPattern::Unsupported("classes nested more than 50 deep".to_string()));
    }
    let mut out = String::from("[");
    if reader.take('^') {
        out.push('^');
    }
    let mut empty = true;
    loop {
        let Some(c) = reader.next() else {
            return reader.invalid("a '[' is not closed");
        };
        match c {
            ']' if !empty => break,
            '[' => out += &bracketed(reader, depth + 1)?,
            '&' if reader.peek() == Some('&') => {
                while reader.take('&') {}
                if reader.peek() == Some(']') {
                    continue;
                }
                if !empty {
                    out += "&&";
                }
            }
            c if reader.flags.comments && c.is_ascii_whitespace() => continue,
            '\\' if reader.peek() == Some('Q') => {
                reader.at += 1;
                for c in reader.quoted() {
                    push_range(c, c, reader.flags, &mut out);
                }
            }
            '\\' if reader.peek().is_some_and(|c| by_letter(c, false).is_some()) => {
                let letter = reader.next().unwrap_or_default();
                if let Some((inside, turned)) = by_letter(letter, reader.flags.unicode) {
                    out += &if turned { format!("[^{inside}]") } else { inside.to_string() };
                }
            }
            '\\' if matches!(reader.peek(), Some('p' | 'P')) => {
                let turned = reader.next() == Some('P');
                let inside = property(reader)?;
                out += &if turned { format!("[^{inside}]") } else { format!("[{inside}]") };
            }
            c => {
                let low = if c == '\\' { reader.escaped()? } else { c };
                let range =
                    reader.peek() == Some('-') && !matches!(reader.chars.get(reader.at + 1), None | Some(']' | '['));
                if !range {
                    push_range(low, low, reader.flags, &mut out);
                } else {
                    reader.at += 1;
                    let high = match reader.next() {
                        Some('\\') if reader.peek().is_some_and(|c| by_letter(c, false).is_some()) => {
                            return reader.invalid("a range ends in a class");
                        }
                        Some('\\') => reader.escaped()?,
                        Some(c) => c,
                        None => return reader.invalid("a '[' is not closed"),
                    };
                    if high < low {
                        return reader.invalid(&format!("the range {low}-{high} is empty"));
                    }
                    push_range(low, high, reader.flags, &mut out);
                }
            }
        }
        empty = false;
    }
    out.push(']');
    Ok(out)
}
