//! Translates patterns of LIKE and SIMILAR TO to Java's regular expressions.

use super::NoPattern;

/// The characters with a meaning in Java's regular expressions.
const SPECIAL: &str = "[]()|^-+*?{}$\\.";

/// Appends a character without a meaning.
fn plain(c: char, out: &mut String) {
    if SPECIAL.contains(c) {
        out.push('\\');
    }
    out.push(c);
}

pub(super) fn like(pattern: &str, escape: Option<char>) -> Result<String, NoPattern> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => match chars.next() {
                Some(n) if n == '_' || n == '%' || Some(n) == escape => plain(n, &mut out),
                _ => return wrong_escape(pattern, c),
            },
            '_' => out.push('.'),
            '%' => out += "(?s:.*)",
            c => plain(c, &mut out),
        }
    }
    Ok(out)
}

fn wrong_escape<T>(pattern: &str, escape: char) -> Result<T, NoPattern> {
    Err(NoPattern::Invalid(format!("in '{pattern}' nothing stands behind '{escape}' that it could make plain")))
}

/// Character classes of SIMILAR TO, and Java's classes.
const CLASSES: [(&str, &str); 7] = [
    ("[:ALPHA:]", "\\p{Alpha}"),
    ("[:UPPER:]", "\\p{Upper}"),
    ("[:LOWER:]", "\\p{Lower}"),
    ("[:DIGIT:]", "\\d"),
    ("[:SPACE:]", " "),
    ("[:WHITESPACE:]", "\\s"),
    ("[:ALNUM:]", "\\p{Alnum}"),
];

/// The characters with a meaning in patterns of SIMILAR TO.
const OF_SIMILAR: &str = "_%[]()|^-+*?{}";

pub(super) fn similar(pattern: &str, escape: Option<char>) -> Result<String, NoPattern> {
    if let Some(e) = escape.filter(|e| OF_SIMILAR.contains(*e)) {
        // If the escape character has a meaning of its own, each occurrence must precede a character with a meaning. That includes
        // occurrences that are escaped themselves.
        let stands = |(at, _)| pattern[at + e.len_utf8()..].starts_with(|n| OF_SIMILAR.contains(n));
        if !pattern.match_indices(e).all(stands) {
            return wrong_escape(pattern, e);
        }
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            c if Some(c) == escape => {
                let Some(n) = rest.chars().next() else {
                    return wrong_escape(pattern, c);
                };
                rest = &rest[n.len_utf8()..];
                if !(OF_SIMILAR.contains(n) || Some(n) == escape) {
                    return wrong_escape(pattern, c);
                }
                plain(n, &mut out);
            }
            '[' if class => {
                let name = CLASSES
                    .iter()
                    .find(|(name, _)| rest.get(..name.len() - 1).is_some_and(|r| r.eq_ignore_ascii_case(&name[1..])));
                let Some((name, java)) = name else {
                    return Err(NoPattern::Invalid(format!("in '{pattern}' a '[' stands inside of brackets")));
                };
                out += java;
                rest = &rest[name.len() - 1..];
            }
            '[' => {
                class = true;
                out.push('[');
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            ']' => return Err(NoPattern::Invalid(format!("in '{pattern}' a ']' stands without its '['"))),
            '\\' => out += "\\\\",
            c if class => out.push(c),
            '_' => out.push('.'),
            '%' => out += "(?s:.*)",
            '$' => out += "\\$",
            c => out.push(c),
        }
    }
    Ok(out)
}
