//! Removes from messages what they must not show: values of environment variables and secret options, and control characters in data, which
//! a terminal would interpret.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::RwLock;

/// The secret values, the longest first, with their replacements.
static KEPT: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// Shorter values occur in too many words to be replaced.
const SHORTEST: usize = 5;

/// Registers a secret value and its replacement.
pub fn keep(value: &str, shown: &str) {
    let mut kept = KEPT.write().unwrap_or_else(|e| e.into_inner());
    let mut add = |value: &str| {
        if value.len() >= SHORTEST && !kept.iter().any(|(v, _)| v == value) {
            let at = kept.partition_point(|(v, _)| v.len() >= value.len());
            kept.insert(at, (value.to_string(), shown.to_string()));
        }
    };
    add(value);
    // Messages may show a value without the blanks and line breaks around it.
    add(value.trim());
}

/// Whether a name indicates that its value is a secret.
pub fn named_so(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "jaas", "user-info", "authorization", "api-key", "credential"]
        .iter()
        .any(|word| name.contains(word))
}

/// Replaces the secret values in a text.
pub fn masked(text: &str) -> Cow<'_, str> {
    let kept = KEPT.read().unwrap_or_else(|e| e.into_inner());
    kept.iter().fold(Cow::Borrowed(text), |text, (value, shown)| match text.contains(value.as_str()) {
        true => Cow::Owned(text.replace(value.as_str(), shown)),
        false => text,
    })
}

/// Escapes the control characters in a text. With `lines`, line breaks and tabs are kept.
pub fn escaped(text: &str, lines: bool) -> Cow<'_, str> {
    let stays = |c: char| !hidden(c) || lines && matches!(c, '\n' | '\t');
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if stays(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
        }
    }
    Cow::Owned(out)
}

/// Whether a character is a control character, changes the direction of text, or is invisible.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in the form in which messages may show it.
pub fn shown(text: &str, lines: bool) -> Cow<'_, str> {
    match masked(text) {
        Cow::Borrowed(t) => escaped(t, lines),
        Cow::Owned(t) => Cow::Owned(escaped(&t, lines).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_shown() {
        keep("tops-ecret", "${A}");
        keep("tops-ecret-and-more", "${B}");
        keep("ab", "${C}");
        assert_eq!(masked("a tops-ecret, b tops-ecret-and-more, ab"), "a ${A}, b ${B}, ab");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("a\x1b]0;x\x07\u{9b}b\nc\u{202e}", false), "a\\x1b]0;x\\x07\\x9bb\\nc\\u{202e}");
        assert_eq!(escaped("a\n\tb\r", true), "a\n\tb\\r");
    }
}
