//! Text.

use super::table::*;
use regex::Regex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

pub(super) const ALL: &[Definition] = &[
    def("CHAR_LENGTH", &[Text], (1, 1), Type(int), Strict(|a, _| int_of(chars(s(a, 0))))),
    def("CHARACTER_LENGTH", &[Text], (1, 1), Type(int), Strict(|a, _| int_of(chars(s(a, 0))))),
    def("UPPER", &[Text], (1, 1), First, Strict(|a, _| text(s(a, 0).to_uppercase()))),
    def("LOWER", &[Text], (1, 1), First, Strict(|a, _| text(s(a, 0).to_lowercase()))),
    def("INITCAP", &[Text], (1, 1), First, Strict(|a, _| text(initcap(s(a, 0))))),
    def("REVERSE", &[Text], (1, 1), MaybeNull(string), Strict(|a, _| text(s(a, 0).chars().rev().collect()))),
    def("REPEAT", &[Text, Int], (2, 2), Type(string), Strict(repeat)),
    def("SUBSTRING", &[Text, Int, Int], (2, 3), Of(as_long_or_null), Strict(substring)),
    def("SUBSTR", &[Text, Int, Int], (2, 3), Of(as_long_or_null), Strict(substring)),
    def("LEFT", &[Text, Int], (2, 2), Of(as_long_or_null), Strict(|a, _| text(first(s(a, 0), i(a, 1))))),
    def("RIGHT", &[Text, Int], (2, 2), Of(as_long_or_null), Strict(right)),
    def("LPAD", &[Text, Int, Text], (3, 3), MaybeNull(string), Strict(|a, _| pad(a, true))),
    def("RPAD", &[Text, Int, Text], (3, 3), MaybeNull(string), Strict(|a, _| pad(a, false))),
    def("TRIM", &[Text, Text], (1, 2), Of(as_long), Strict(|a, _| text(trimmed(a, true, true)))),
    def("BTRIM", &[Text, Text], (1, 2), Type(string), Strict(|a, _| text(trimmed(a, true, true)))),
    def("LTRIM", &[Text, Text], (1, 2), Of(as_long), Strict(|a, _| text(trimmed(a, true, false)))),
    def("RTRIM", &[Text, Text], (1, 2), Of(as_long), Strict(|a, _| text(trimmed(a, false, true)))),
    def("REPLACE", &[Text], (3, 3), Type(string), Strict(|a, _| text(s(a, 0).replace(s(a, 1), s(a, 2))))),
    def("TRANSLATE", &[Text], (3, 3), Type(string), Strict(translate)),
    def("TRANSLATE3", &[Text], (3, 3), Type(string), Strict(translate)),
    def("OVERLAY", &[Text, Text, Int, Int], (3, 4), Of(sum_of_two), Strict(overlay)),
    def("POSITION", &[Text, Text, Int], (2, 3), Type(int), Strict(locate)),
    def("LOCATE", &[Text, Text, Int], (2, 3), Type(int), Strict(locate)),
    def("INSTR", &[Text, Text, Int, Int], (2, 4), Type(int), Strict(instr)),
    def("CONCAT", &[Text], (1, MANY), Type(string), Strict(concat)),
    def("||", &[Text], (2, 2), Of(sum), Strict(concat)),
    def("CONCAT_WS", &[Text], (1, MANY), Type(string), Lenient(concat_ws)),
    def("SPLIT_INDEX", &[Text, Any, Int], (3, 3), MaybeNull(string), Strict(split_index)),
    def("SPLIT", &[Text], (2, 2), Type(strings), Strict(split)),
    def("STR_TO_MAP", &[Text], (1, 3), MaybeNull(string_map), Strict(str_to_map)),
    def("ASCII", &[Text], (1, 1), Type(int), Strict(ascii)),
    def("CHR", &[Long], (1, 1), MaybeNull(string), Strict(chr)),
    def("ENCODE", &[Text], (2, 2), Type(bytes), Strict(encode)),
    def("DECODE", &[TextOrBytes, Text], (2, 2), Type(string), Strict(decode)),
    def("STARTSWITH", &[TextOrBytes], (2, 2), Type(boolean), Strict(|a, _| bool_of(raw(a, 0).starts_with(raw(a, 1))))),
    def("ENDSWITH", &[TextOrBytes], (2, 2), Type(boolean), Strict(|a, _| bool_of(raw(a, 0).ends_with(raw(a, 1))))),
    def("LIKE", &[Text], (2, 3), Type(boolean), Strict(like)),
    def("SIMILAR TO", &[Text], (2, 3), Type(boolean), Strict(similar)),
    def("REGEXP", &[Text], (2, 2), Type(boolean), Strict(regexp)),
    def("REGEXP_EXTRACT", &[Text, Text, Int], (2, 3), MaybeNull(string), Strict(regexp_extract)),
    def("REGEXP_EXTRACT_ALL", &[Text, Text, Int], (2, 3), MaybeNull(strings), Strict(regexp_extract_all)),
    def("REGEXP_REPLACE", &[Text], (3, 3), Type(string), Strict(regexp_replace)),
    def("REGEXP_COUNT", &[Text], (2, 2), MaybeNull(int), Strict(regexp_count)),
    def("REGEXP_INSTR", &[Text], (2, 2), MaybeNull(int), Strict(regexp_instr)),
    def("REGEXP_SUBSTR", &[Text], (2, 2), MaybeNull(string), Strict(regexp_substr)),
    def("ELT", &[Int, TextOrBytes], (2, MANY), Of(elt_type), Lenient(elt)),
    def("PRINTF", &[Text, Any], (1, MANY), MaybeNull(string), Lenient(printf)),
    def("URL_ENCODE", &[Text], (1, 1), MaybeNull(string), Strict(url_encode)),
    def("URL_DECODE", &[Text], (1, 1), MaybeNull(string), Strict(url_decode)),
    def("PARSE_URL", &[Text], (2, 3), MaybeNull(string), Strict(parse_url)),
    def("IS_ALPHA", &[Any], (1, 1), NotNull(boolean), Lenient(|a, _| is_made_of(a, char::is_alphabetic, false))),
    def("IS_DIGIT", &[Any], (1, 1), NotNull(boolean), Lenient(|a, _| is_made_of(a, char::is_numeric, true))),
    def("IS_DECIMAL", &[Any], (1, 1), NotNull(boolean), Lenient(is_decimal)),
    def("INET_ATON", &[Text], (1, 1), MaybeNull(long), Strict(inet_aton)),
    def("INET_NTOA", &[Long], (1, 1), MaybeNull(string), Strict(inet_ntoa)),
    Definition {
        deterministic: false,
        ..def("UUID", &[], (0, 0), NotNull(|| T::Char(36)), Lenient(|_, _| text(uuid::Uuid::new_v4().to_string())))
    },
];

fn strings() -> T {
    T::Array(Box::new(SqlType::STRING))
}

fn string_map() -> T {
    T::Map(Box::new(SqlType::STRING), Box::new(SqlType::STRING))
}

fn sum(a: &[Expr]) -> Result<SqlType, String> {
    let types: Vec<SqlType> = a.iter().map(Expr::ty).collect();
    let n = types.iter().map(|t| u64::from(length(t))).sum::<u64>().min(u64::from(weir_core::types::UNBOUNDED)) as u32;
    let fixed = types.iter().all(|t| matches!(t.kind, T::Char(_)));
    let kind = if fixed { T::Char(n) } else { T::Varchar(n) };
    Ok(SqlType::from(kind).nullable(types.iter().any(|t| t.nullable)))
}

fn sum_of_two(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = a.iter().any(|e| e.ty().nullable);
    let t = sum(&a[..2])?;
    Ok(SqlType::from(T::Varchar(length(&t))).nullable(nullable))
}

fn s<'a>(a: &'a [Value<'_>], at: usize) -> &'a str {
    a[at].as_str().unwrap_or_default()
}

fn raw<'a>(a: &'a [Value<'_>], at: usize) -> &'a [u8] {
    a[at].as_bytes().unwrap_or_default()
}

fn i(a: &[Value<'_>], at: usize) -> i64 {
    a[at].as_i64().unwrap_or(0)
}

fn text(s: String) -> Outcome {
    Ok(Value::string(s))
}

fn int_of(n: usize) -> Outcome {
    Ok(Value::Int(n as i64))
}

fn bool_of(b: bool) -> Outcome {
    Ok(Value::Bool(b))
}

fn chars(s: &str) -> usize {
    if s.is_ascii() { s.len() } else { s.chars().count() }
}

fn initcap(s: &str) -> String {
    // Flink looks at ASCII letters and digits only to find where words begin.
    let mut inside = false;
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_ascii_alphanumeric();
    }
    out
}

fn repeat(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let n = i(a, 1).max(0) as usize;
    if s(a, 0).len().saturating_mul(n) > 1 << 28 {
        return Err("the result would be longer than 256 MB".to_string());
    }
    text(s(a, 0).repeat(n))
}

fn substring(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, from) = (s(a, 0), i(a, 1));
    let len = chars(t) as i64;
    let count = a.get(2).and_then(Value::as_i64).unwrap_or(len.max(0) + 1);
    if count < 0 {
        return Ok(Value::Null);
    }
    let start = match from {
        0 => 0,
        f if f > 0 => f - 1,
        f => len + f,
    };
    let end = start.saturating_add(count);
    if start < 0 && end <= 0 || start >= len {
        return text(String::new());
    }
    if start < 0 {
        // Flink gives nothing when the begin lies before the text.
        return text(String::new());
    }
    if t.is_ascii() {
        return text(t[start as usize..end.min(len) as usize].to_string());
    }
    text(t.chars().skip(start as usize).take(count as usize).collect())
}

fn first(t: &str, n: i64) -> String {
    t.chars().take(n.max(0) as usize).collect()
}

fn right(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let skip = chars(s(a, 0)).saturating_sub(i(a, 1).max(0) as usize);
    text(s(a, 0).chars().skip(skip).collect())
}

fn pad(a: &[Value<'_>], left: bool) -> Outcome {
    let (t, n, fill) = (s(a, 0), i(a, 1), s(a, 2));
    if n < 0 || fill.is_empty() {
        return Ok(Value::Null);
    }
    if n > 1 << 26 {
        return Err("the result would be longer than 64 million characters".to_string());
    }
    // Lengths count UTF-16 units here, as in Java.
    let units: Vec<u16> = t.encode_utf16().take(n as usize).collect();
    let missing = n as usize - units.len();
    let fill: Vec<u16> = fill.encode_utf16().collect();
    let filling: Vec<u16> = fill.iter().copied().cycle().take(missing).collect();
    let all = if left { [filling, units] } else { [units, filling] }.concat();
    text(String::from_utf16_lossy(&all))
}

fn trimmed(a: &[Value<'_>], left: bool, right: bool) -> String {
    let set: Vec<char> = if a.len() > 1 { s(a, 1).chars().collect() } else { vec![' '] };
    let mut t = s(a, 0);
    if left {
        t = t.trim_start_matches(|c| set.contains(&c));
    }
    if right {
        t = t.trim_end_matches(|c| set.contains(&c));
    }
    t.to_string()
}

fn translate(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let to: Vec<char> = s(a, 2).chars().collect();
    let mut map: HashMap<char, Option<char>> = HashMap::new();
    for (at, c) in s(a, 1).chars().enumerate() {
        map.entry(c).or_insert(to.get(at).copied());
    }
    text(s(a, 0).chars().filter_map(|c| map.get(&c).copied().unwrap_or(Some(c))).collect())
}

fn overlay(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, with, from) = (s(a, 0), s(a, 1), i(a, 2));
    let len = chars(t) as i64;
    if from <= 0 || from > len {
        return text(t.to_string());
    }
    let n = a.get(3).and_then(Value::as_i64).unwrap_or(chars(with) as i64);
    let head = first(t, from - 1);
    // A length of nothing or less cuts everything behind, as Flink does.
    let tail: String =
        if n <= 0 && a.len() > 3 { String::new() } else { t.chars().skip((from - 1 + n) as usize).collect() };
    text(head + with + &tail)
}

fn char_position(t: &str, byte: usize) -> i64 {
    chars(&t[..byte]) as i64 + 1
}

fn locate(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (needle, t) = (s(a, 0), s(a, 1));
    if needle.is_empty() {
        return Ok(Value::Int(1));
    }
    let from = a.get(2).and_then(Value::as_i64).unwrap_or(1).max(1) - 1;
    let start = t.char_indices().nth(from as usize).map_or(t.len(), |(b, _)| b);
    Ok(Value::Int(t[start..].find(needle).map_or(0, |b| char_position(t, start + b))))
}

fn instr(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    if a.len() == 2 {
        return locate(&[a[1].clone(), a[0].clone()], c);
    }
    let (t, needle, from) = (s(a, 0), s(a, 1), i(a, 2));
    let nth = a.get(3).and_then(Value::as_i64).unwrap_or(1).max(1) as usize;
    if from == 0 || needle.is_empty() {
        return Ok(Value::Int(0));
    }
    let starts: Vec<i64> =
        t.char_indices().filter(|(b, _)| t[*b..].starts_with(needle)).map(|(b, _)| char_position(t, b)).collect();
    let found = if from > 0 {
        starts.iter().filter(|p| **p >= from).nth(nth - 1).copied()
    } else {
        let last = chars(t) as i64 + 1 + from;
        starts.iter().rev().filter(|p| **p <= last).nth(nth - 1).copied()
    };
    Ok(Value::Int(found.unwrap_or(0)))
}

fn concat(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    text(a.iter().filter_map(Value::as_str).collect())
}

fn concat_ws(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(between) = a[0].as_str() else {
        return Ok(Value::Null);
    };
    text(a[1..].iter().filter_map(Value::as_str).collect::<Vec<_>>().join(between))
}

fn split_index(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let one;
    let by = match &a[1] {
        Value::Int(c) => {
            one = char::from_u32(*c as u32).unwrap_or_default().to_string();
            one.as_str()
        }
        v => v.as_str().ok_or("the separator is text or a character's number")?,
    };
    let at = i(a, 2);
    if at < 0 || by.is_empty() || s(a, 0).is_empty() {
        return Ok(Value::Null);
    }
    Ok(s(a, 0).split(by).nth(at as usize).map_or(Value::Null, |p| Value::string(p.to_string())))
}

fn split(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, by) = (s(a, 0), s(a, 1));
    let own = |p: &str| Value::string(p.to_string());
    Ok(Value::List(match (t.is_empty(), by.is_empty()) {
        (true, _) => vec![own("")],
        (_, true) => t.chars().map(|c| Value::string(c.to_string())).collect(),
        _ => t.split(by).map(own).collect(),
    }))
}

fn str_to_map(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let pairs = a.get(1).map_or(",", |_| s(a, 1));
    let between = a.get(2).map_or("=", |_| s(a, 2));
    let mut map: Vec<(Value<'static>, Value<'static>)> = vec![];
    if s(a, 0).is_empty() {
        return Ok(Value::Map(map));
    }
    let (Some(pairs), Some(between)) = (pattern(pairs), pattern(between)) else {
        return Ok(Value::Null);
    };
    for part in pairs.split(s(a, 0)) {
        let mut kv = between.splitn(part, 2);
        let key = Value::string(kv.next().unwrap_or_default().to_string());
        let value = kv.next().map_or(Value::Null, |v| Value::string(v.to_string()));
        map.retain(|(k, _)| *k != key);
        map.push((key, value));
    }
    Ok(Value::Map(map))
}

fn ascii(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(Value::Int(s(a, 0).bytes().next().map_or(0, |b| i64::from(b as i8))))
}

fn chr(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let n = i(a, 0);
    text(if n < 0 { String::new() } else { char::from((n & 0xFF) as u8).to_string() })
}

fn charset(name: &str) -> Result<&'static str, String> {
    Ok(match name.to_ascii_uppercase().replace('_', "-").as_str() {
        "UTF-8" | "UTF8" => "UTF-8",
        "US-ASCII" | "ASCII" => "US-ASCII",
        "ISO-8859-1" | "LATIN1" => "ISO-8859-1",
        "UTF-16" => "UTF-16",
        "UTF-16BE" => "UTF-16BE",
        "UTF-16LE" => "UTF-16LE",
        _ => {
            return Err(format!("there is no character set '{name}'; it is UTF-8, US-ASCII, ISO-8859-1 or UTF-16"));
        }
    })
}

fn encode(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let t = s(a, 0);
    let narrow = |most: u32| t.chars().map(|c| if (c as u32) <= most { c as u8 } else { b'?' }).collect();
    let out: Vec<u8> = match charset(s(a, 1))? {
        "UTF-8" => t.as_bytes().to_vec(),
        "US-ASCII" => narrow(0x7F),
        "ISO-8859-1" => narrow(0xFF),
        "UTF-16LE" => t.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "UTF-16BE" => t.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => [0xFE, 0xFF].into_iter().chain(t.encode_utf16().flat_map(u16::to_be_bytes)).collect(),
    };
    Ok(Value::Bytes(out.into()))
}

fn decode(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let b = raw(a, 0);
    let wide = |b: &[u8], f: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = b.chunks_exact(2).map(|c| f([c[0], c[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    text(match charset(s(a, 1))? {
        "UTF-8" => String::from_utf8_lossy(b).into_owned(),
        "US-ASCII" => b.iter().map(|c| if c.is_ascii() { char::from(*c) } else { '\u{FFFD}' }).collect(),
        "ISO-8859-1" => b.iter().map(|c| char::from(*c)).collect(),
        "UTF-16LE" => wide(b, u16::from_le_bytes),
        "UTF-16BE" => wide(b, u16::from_be_bytes),
        _ => match b {
            [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
            [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
            _ => wide(b, u16::from_be_bytes),
        },
    })
}

/// A compiled pattern; the last few are kept, for patterns are nearly always constants.
fn pattern(p: &str) -> Option<Rc<Regex>> {
    thread_local! {
        static KEPT: RefCell<HashMap<String, Option<Rc<Regex>>>> = RefCell::new(HashMap::new());
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(r) = kept.get(p) {
            return r.clone();
        }
        if kept.len() > 64 {
            kept.clear();
        }
        let compiled = Regex::new(p).ok().map(Rc::new);
        kept.insert(p.to_string(), compiled.clone());
        compiled
    })
}

/// A LIKE or SIMILAR TO pattern as a regular expression; `similar` keeps the latter's own operators.
fn like_pattern(p: &str, escape: Option<char>, similar: bool) -> Result<String, String> {
    let mut out = String::from(if similar { "^(?:" } else { "(?s)^(?:" });
    let mut chars = p.chars().enumerate();
    let mut in_class = false;
    while let Some((at, c)) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                Some((_, n)) if n == '_' || n == '%' || Some(n) == escape || similar => {
                    out += &regex::escape(&n.to_string());
                }
                _ => return Err(format!("invalid escape sequence in '{p}' at {at}")),
            }
            continue;
        }
        match c {
            '%' if !in_class => out += "(?s:.*)",
            '_' if !in_class => out.push('.'),
            c if similar => {
                in_class = c == '[' || in_class && c != ']';
                out.push(c);
            }
            c => out += &regex::escape(&c.to_string()),
        }
    }
    Ok(out + ")$")
}

fn escape_of(a: &[Value<'_>]) -> Result<Option<char>, String> {
    match a.get(2).and_then(Value::as_str) {
        None => Ok(None),
        Some(e) => {
            let mut c = e.chars();
            match (c.next(), c.next()) {
                (Some(c), None) => Ok(Some(c)),
                _ => Err(format!("invalid escape character '{e}'; it is one character")),
            }
        }
    }
}

fn like(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, p) = (s(a, 0), s(a, 1));
    if a.len() == 2 && !p.contains('_') {
        // The usual shapes need no regular expression.
        let inner = p.strip_prefix('%').unwrap_or(p);
        let inner = inner.strip_suffix('%').unwrap_or(inner);
        if !inner.contains('%') {
            return bool_of(match (p.starts_with('%'), p.ends_with('%')) {
                (true, true) if p.len() > 1 => t.contains(inner),
                (true, true) => true,
                (true, false) => t.ends_with(inner),
                (false, true) => t.starts_with(inner),
                (false, false) => t == p,
            });
        }
    }
    // An underscore does not stand for a line break there.
    let r = pattern(&like_pattern(p, escape_of(a)?, false)?.replace("(?s)^", "^")).ok_or("the pattern is not valid")?;
    bool_of(r.is_match(t))
}

fn similar(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let r = pattern(&like_pattern(s(a, 1), escape_of(a)?, true)?).ok_or("the pattern is not valid")?;
    bool_of(r.is_match(s(a, 0)))
}

fn regexp(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    bool_of(!s(a, 1).is_empty() && pattern(s(a, 1)).is_some_and(|r| r.is_match(s(a, 0))))
}

fn regexp_extract(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let group = a.get(2).and_then(Value::as_i64).unwrap_or(0);
    let Some(r) = pattern(s(a, 1)) else {
        return Ok(Value::Null);
    };
    let found = usize::try_from(group).ok().and_then(|g| r.captures(s(a, 0))?.get(g));
    Ok(found.map_or(Value::Null, |m| Value::string(m.as_str().to_string())))
}

fn regexp_extract_all(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let group = a.get(2).and_then(Value::as_i64).unwrap_or(1);
    let Some(r) = pattern(s(a, 1)) else {
        return Ok(Value::Null);
    };
    let Some(group) = usize::try_from(group).ok().filter(|g| *g < r.captures_len()) else {
        return Ok(Value::Null);
    };
    let all = r.captures_iter(s(a, 0));
    let all = all.map(|c| c.get(group).map_or(Value::Null, |m| Value::string(m.as_str().to_string())));
    Ok(Value::List(all.collect()))
}

fn regexp_replace(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    // The replacement is taken as it stands, as Flink's does: `$1` is two characters.
    let Some(r) = pattern(s(a, 1)) else {
        return Ok(Value::Null);
    };
    let t = s(a, 0);
    let mut out = String::with_capacity(t.len());
    let mut last = 0;
    for m in java_matches(&r, t) {
        out += &t[last..m.0];
        out += s(a, 2);
        last = m.1;
    }
    out += &t[last..];
    text(out)
}

/// Matches as Java finds them: an empty one may follow a match at its very end.
fn java_matches(r: &Regex, t: &str) -> Vec<(usize, usize)> {
    let mut found = vec![];
    let mut at = 0;
    while at <= t.len() {
        let Some(m) = r.find_at(t, at) else { break };
        found.push((m.start(), m.end()));
        at =
            if m.end() > m.start() { m.end() } else { m.end() + t[m.end()..].chars().next().map_or(1, char::len_utf8) };
    }
    found
}

fn regexp_count(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    pattern(s(a, 1)).map_or(Ok(Value::Null), |r| int_of(java_matches(&r, s(a, 0)).len()))
}

fn regexp_instr(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(r) = pattern(s(a, 1)) else {
        return Ok(Value::Null);
    };
    Ok(Value::Int(r.find(s(a, 0)).map_or(0, |m| char_position(s(a, 0), m.start()))))
}

fn regexp_substr(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(r) = pattern(s(a, 1)) else {
        return Ok(Value::Null);
    };
    Ok(r.find(s(a, 0)).map_or(Value::Null, |m| Value::string(m.as_str().to_string())))
}

fn elt_type(a: &[Expr]) -> Result<SqlType, String> {
    common(&a[1..]).map(|t| t.nullable(true))
}

fn elt(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let at = a[0].as_i64().unwrap_or(0);
    Ok(if at < 1 { Value::Null } else { a.get(at as usize).cloned().unwrap_or(Value::Null).into_owned() })
}

/// Java's `String.format` for the conversions that SQL uses; what does not fit gives NULL.
fn printf(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let Some(format) = a[0].as_str() else {
        return Ok(Value::Null);
    };
    let mut args = a[1..].iter().zip(&c.types[1..]);
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    while let Some(ch) = rest.next() {
        if ch != '%' {
            out.push(ch);
            continue;
        }
        let mut spec = String::new();
        while rest.peek().is_some_and(|c| !c.is_alphabetic() && *c != '%') {
            spec.extend(rest.next());
        }
        let Some(conversion) = rest.next() else {
            return Ok(Value::Null);
        };
        if conversion == '%' || conversion == 'n' {
            out.push(if conversion == '%' { '%' } else { '\n' });
            continue;
        }
        let Some((value, ty)) = args.next() else {
            return Ok(Value::Null);
        };
        let flags: String = spec.chars().take_while(|c| "-+ 0,#(".contains(*c)).collect();
        let (width, precision) = spec[flags.len()..].split_once('.').unwrap_or((&spec[flags.len()..], ""));
        let (width, precision): (usize, Option<usize>) = (width.parse().unwrap_or(0), precision.parse().ok());
        let body = match (conversion, value) {
            ('s' | 'S', v) => {
                let t = if v.is_null() { "null".to_string() } else { plain_text(v, ty) };
                precision.map_or(t.clone(), |p| t.chars().take(p).collect())
            }
            ('b', v) => (!v.is_null() && v.as_bool() != Some(false)).to_string(),
            (_, Value::Null) => "null".to_string(),
            ('d', Value::Int(n)) => n.to_string(),
            ('x', Value::Int(n)) => format!("{:x}", narrowed(*n, ty)),
            ('X', Value::Int(n)) => format!("{:X}", narrowed(*n, ty)),
            ('o', Value::Int(n)) => format!("{:o}", narrowed(*n, ty)),
            ('f', Value::Double(d)) => format!("{d:.*}", precision.unwrap_or(6)),
            ('f', Value::Float(d)) => format!("{d:.*}", precision.unwrap_or(6)),
            ('e', Value::Double(d)) => exponent(*d, precision.unwrap_or(6)),
            _ => return Ok(Value::Null),
        };
        let body =
            if flags.contains('+') && value.as_f64().is_some_and(|v| v >= 0.0) { format!("+{body}") } else { body };
        let missing = width.saturating_sub(chars(&body));
        if flags.contains('-') {
            out += &body;
            out.extend(std::iter::repeat_n(' ', missing));
        } else if flags.contains('0') {
            let digits = body.trim_start_matches(['-', '+']);
            out += &body[..body.len() - digits.len()];
            out.extend(std::iter::repeat_n('0', missing));
            out += digits;
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out += &body;
        }
    }
    text(out)
}

fn plain_text(v: &Value<'_>, ty: &SqlType) -> String {
    match v {
        Value::Bool(b) => b.to_string(),
        Value::Date(d) => d.to_string(),
        v => crate::text::cast_text(v, ty, &crate::time::Zone::UTC),
    }
}

fn narrowed(n: i64, ty: &SqlType) -> u64 {
    match ty.kind {
        T::BigInt => n as u64,
        _ => u64::from(n as u32),
    }
}

fn exponent(d: f64, precision: usize) -> String {
    let t = format!("{d:.precision$e}");
    let (m, e) = t.split_once('e').unwrap_or((&t, "0"));
    let e: i32 = e.parse().unwrap_or(0);
    format!("{m}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
}

fn url_encode(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let mut out = String::new();
    for b in s(a, 0).bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(b)),
            b' ' => out.push('+'),
            _ => out += &format!("%{b:02X}"),
        }
    }
    text(out)
}

fn url_decode(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let mut out = vec![];
    let mut rest = s(a, 0).bytes();
    while let Some(b) = rest.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'x'), rest.next().unwrap_or(b'x')];
                match hex::decode(digits) {
                    Ok(b) => b[0],
                    Err(_) => return Ok(Value::Null),
                }
            }
            b => b,
        });
    }
    text(String::from_utf8_lossy(&out).into_owned())
}

fn parse_url(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let some = |t: Option<&str>| Ok(t.map_or(Value::Null, |t| Value::string(t.to_string())));
    let Some((scheme, rest)) = s(a, 0).split_once("://") else {
        return Ok(Value::Null);
    };
    if !["http", "https", "ftp", "file", "jar"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Ok(Value::Null);
    }
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(r, f)| (r, Some(f)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(r, q)| (r, Some(q)));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    let host = host.split(':').next().unwrap_or(host);
    if let Some(key) = a.get(2).and_then(Value::as_str) {
        if s(a, 1) != "QUERY" {
            return Ok(Value::Null);
        }
        let found = query.and_then(|q| q.split('&').find_map(|p| p.strip_prefix(key)?.strip_prefix('=')));
        return some(found);
    }
    match s(a, 1) {
        "PROTOCOL" => some(Some(scheme)),
        "HOST" => some(Some(host)),
        "PATH" => some(Some(path)),
        "QUERY" => some(query),
        "REF" => some(fragment),
        "AUTHORITY" => some(Some(authority)),
        "USERINFO" => some(user),
        "FILE" => text(query.map_or(path.to_string(), |q| format!("{path}?{q}"))),
        _ => Ok(Value::Null),
    }
}

fn is_made_of(a: &[Value<'_>], f: fn(char) -> bool, numbers: bool) -> Outcome {
    bool_of(match &a[0] {
        Value::Text(t) => !t.is_empty() && t.chars().all(f),
        Value::Int(n) => numbers && *n >= 0,
        _ => false,
    })
}

fn is_decimal(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    bool_of(match &a[0] {
        Value::Text(t) => crate::cast::parse_double(t).is_some(),
        v => v.as_f64().is_some(),
    })
}

fn inet_aton(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let parts: Vec<Option<u64>> = s(a, 0).split('.').map(|p| p.parse().ok()).collect();
    let n = parts.len();
    let mut out = 0u64;
    for (at, p) in parts.into_iter().enumerate() {
        let last = at + 1 == n;
        let most = if last { 1u64 << (8 * (5 - n.min(4))) } else { 256 };
        match p {
            Some(v) if v < most && n <= 4 => out = if last { out << (8 * (5 - n)) | v } else { out << 8 | v },
            _ => return Ok(Value::Null),
        }
    }
    Ok(Value::Int(out as i64))
}

fn inet_ntoa(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    match u32::try_from(i(a, 0)) {
        Ok(v) => text(std::net::Ipv4Addr::from(v).to_string()),
        Err(_) => Ok(Value::Null),
    }
}
