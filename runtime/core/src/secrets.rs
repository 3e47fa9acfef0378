//! What messages must not show: values that came from the environment or are secret options, and control characters
//! of data, which a terminal would obey.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::RwLock;

/// The values, the longest first, and what stands in their places.
static KEPT: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// Shorter values stand in too many words to be taken out of them.
const SHORTEST: usize = 5;

/// Notes a value that is not to be shown, and what is shown in its place.
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

/// Whether a name says that what it is of is not to be shown.
pub fn named_so(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "jaas", "user-info", "authorization", "api-key", "credential"]
        .iter()
        .any(|word| name.contains(word))
}

/// The text without the values that are not to be shown.
pub fn masked(text: &str) -> Cow<'_, str> {
    let kept = KEPT.read().unwrap_or_else(|e| e.into_inner());
    kept.iter().fold(Cow::Borrowed(text), |text, (value, shown)| match text.contains(value.as_str()) {
        true => Cow::Owned(text.replace(value.as_str(), shown)),
        false => text,
    })
}

/// The text with control characters as escapes; line breaks and tabs stay where `lines` says so.
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

/// Control characters, and those that turn the direction of a text round or cannot be seen.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text as a message may show it.
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
