use super::*;

/// The results of Java 17, a line for each pattern. After the pattern there is a column for each text: the matches as positions in
/// characters, each with the start of the first group in parentheses or `~`, and after the slash the number of parts into which the pattern
/// splits the text. The column is `?` if Java has a match between the two halves of a surrogate pair. For an invalid pattern, the only
/// column is INVALID.
const JAVA: &str = include_str!("java.tsv");

const TEXTS: [&str; 13] = [
    "\u{17c}\u{f3}\u{142}w1 a\u{663} x_y",
    "foo123bar456",
    "aab",
    "kimlot",
    "",
    "Stra\u{df}e \u{c9} \u{e9}",
    "a b\tc\nd\n",
    "e\r\nf\u{2028}x",
    "2020-01-02",
    "a.b$c^d[]{}",
    "\u{1F600}x\u{1F600}",
    "aaa\\-&",
    "\u{85}z\r",
];

fn matches(p: &Pattern, text: &str) -> Result<String, String> {
    let place = |byte: usize| text[..byte].chars().count();
    let mut out = String::new();
    p.each(text, p.groups().min(1), &mut |m, group| {
        out += &format!("{}-{}", place(m.0), place(m.1));
        if p.groups() > 0 {
            out += &group.map_or("~".to_string(), |g| format!("({})", place(g.0)));
        }
        out.push(',');
        Ok(())
    })?;
    Ok(format!("{out}/{}", p.split(text, None)?.len()))
}

#[test]
fn as_in_java() {
    let mut wrong = vec![];
    for line in JAVA.lines() {
        let mut fields = line.split('\t');
        let pattern = fields.next().unwrap_or_default();
        let expected: Vec<&str> = fields.collect();
        match (Pattern::new(pattern, PatternKind::Regex), expected[0] == "INVALID") {
            (Err(NoPattern::Invalid(_)), true) | (Err(NoPattern::Unsupported(_)), _) => {}
            (Ok(p), false) => {
                for (text, expected) in TEXTS.iter().zip(expected) {
                    let found = matches(&p, text);
                    if expected != "?" && found.as_deref() != Ok(expected) {
                        wrong.push(format!("{pattern} on {text:?}: {found:?}, not {expected}"));
                    }
                }
            }
            (p, _) => wrong.push(format!("{pattern}: {:?}, not {expected:?}", p.map(|_| "taken"))),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_not_supported_is_said() {
    for (pattern, words) in [
        ("\\p{InCyrillic}", "blocks"),
        ("\\X", "\\X"),
        ("(?<=a)(b{1000}){1000}", "size"),
        ("(a{1000}){1000}", "size"),
        (&"(".repeat(20_000), "nested"),
    ] {
        let said = Pattern::new(pattern, PatternKind::Regex).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(words), "{}: {said}", shown(pattern));
    }
}

#[test]
fn going_back_has_a_bound() {
    let p = Pattern::new("(a*)*b\\1c", PatternKind::Regex).unwrap_or_else(|e| panic!("{e}"));
    assert!(p.is_match(&"a".repeat(200)).is_err_and(|e| e.contains("steps")));
}

#[test]
fn like_and_similar() {
    let is = |kind, pattern: &str, text: &str| {
        Pattern::new(pattern, kind).map_err(|e| e.to_string()).and_then(|p| p.is_match(text))
    };
    assert_eq!(is(PatternKind::Like(None), "a_c%", "a.cde"), Ok(true));
    assert_eq!(is(PatternKind::Like(Some('!')), "a!_c", "abc"), Ok(false));
    assert!(is(PatternKind::Like(Some('!')), "a!c", "abc").is_err());
    assert_eq!(is(PatternKind::Similar(None), "a\\.b", "a\\.b"), Ok(true));
    assert_eq!(is(PatternKind::Similar(None), "[[:ALPHA:]]+[0-9]", "ab1"), Ok(true));
    assert_eq!(is(PatternKind::Similar(None), "a$", "a$"), Ok(true));
    assert_eq!(is(PatternKind::Similar(None), "(a|b)_%", "bx"), Ok(true));
    assert_eq!(is(PatternKind::Similar(Some('!')), "a!+", "a+"), Ok(true));
}
