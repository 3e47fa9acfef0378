//! Functions of text.

use super::arguments;
use super::printf::printf;
use super::size;
use super::table::*;
use std::collections::HashMap;

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
    def("REPLACE", &[Text], (3, 3), Type(string), Strict(replace)),
    def("TRANSLATE", &[Text], (3, 3), MaybeNull(string), Lenient(translate)),
    def("TRANSLATE3", &[Text], (3, 3), MaybeNull(string), Lenient(translate)),
    def("OVERLAY", &[Text, Text, Int, Int], (3, 4), Of(sum_of_two), Strict(overlay)),
    def("POSITION", &[Text, Text, Int], (2, 3), Type(int), Strict(locate)),
    def("LOCATE", &[Text, Text, Int], (2, 3), Type(int), Strict(locate)),
    def("INSTR", &[Text, Text, Int, Int], (2, 4), Type(int), Strict(instr)),
    def("CONCAT", &[Text], (1, MANY), Type(string), Strict(concat)),
    def("||", &[Text], (2, 2), Of(sum), Strict(concat)),
    def("CONCAT_WS", &[Text], (1, MANY), Type(string), Lenient(concat_ws)),
    def("SPLIT_INDEX", &[Text, Any, Int], (3, 3), MaybeNull(string), Strict(split_index)),
    def("SPLIT", &[Text], (2, 2), Type(strings), Strict(split)),
    def("ASCII", &[Text], (1, 1), Type(int), Strict(ascii)),
    def("CHR", &[Long], (1, 1), MaybeNull(string), Strict(chr)),
    def("ENCODE", &[Text], (2, 2), Type(bytes), Strict(encode)),
    def("DECODE", &[TextOrBytes, Text], (2, 2), Type(string), Strict(decode)),
    def("STARTSWITH", &[TextOrBytes], (2, 2), Type(boolean), Strict(|a, _| bool_of(raw(a, 0).starts_with(raw(a, 1))))),
    def("ENDSWITH", &[TextOrBytes], (2, 2), Type(boolean), Strict(|a, _| bool_of(raw(a, 0).ends_with(raw(a, 1))))),
    def("ELT", &[Int, TextOrBytes], (2, MANY), Of(elt_type), Lenient(elt)),
    def("PRINTF", &[Text, Any], (1, MANY), MaybeNull(string), Lenient(printf)),
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

#[track_caller]
fn s<'a>(a: &'a [Value<'_>], at: usize) -> &'a str {
    arguments::text(&a[at])
}

#[track_caller]
fn raw<'a>(a: &'a [Value<'_>], at: usize) -> &'a [u8] {
    arguments::bytes(&a[at])
}

#[track_caller]
fn i(a: &[Value<'_>], at: usize) -> i64 {
    arguments::int(&a[at])
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
    // Flink only changes ASCII letters. Any character that is not an ASCII letter or digit ends a word.
    let mut inside = false;
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        out.push(if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
        inside = c.is_ascii_alphanumeric();
    }
    out
}

/// Converts UTF-16 units to text. As in Java, an unpaired surrogate becomes a question mark.
fn of_units(units: &[u16]) -> String {
    char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or('?')).collect()
}

fn repeat(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let n = i(a, 1).max(0) as usize;
    size::fits(s(a, 0).len().saturating_mul(n))?;
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
        // As in Flink, the result is empty if the start is before the text.
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
    size::fits(n as usize)?;
    // As in Java, lengths are counted in UTF-16 units.
    let units: Vec<u16> = t.encode_utf16().take(n as usize).collect();
    let missing = n as usize - units.len();
    let fill: Vec<u16> = fill.encode_utf16().collect();
    let filling: Vec<u16> = fill.iter().copied().cycle().take(missing).collect();
    let all = if left { [filling, units] } else { [units, filling] }.concat();
    text(of_units(&all))
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

fn replace(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, from, to) = (s(a, 0), s(a, 1), s(a, 2));
    if to.len() > from.len() {
        let longer = t.matches(from).count().saturating_mul(to.len() - from.len());
        size::fits(t.len().saturating_add(longer))?;
    }
    text(t.replace(from, to))
}

fn translate(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    if a[0].is_null() || a[1].is_null() {
        return Ok(a[0].clone().into_owned());
    }
    let to: Vec<char> = s(a, 2).chars().collect();
    let mut map: HashMap<char, Option<char>> = HashMap::new();
    for (at, c) in s(a, 1).chars().enumerate() {
        map.entry(c).or_insert(to.get(at).copied());
    }
    text(s(a, 0).chars().filter_map(|c| map.get(&c).copied().unwrap_or(Some(c))).collect())
}

fn overlay(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, with, from) = (s(a, 0), s(a, 1), i(a, 2));
    // As in Java, positions are counted in UTF-16 units.
    let (units, put): (Vec<u16>, Vec<u16>) = (t.encode_utf16().collect(), with.encode_utf16().collect());
    let Some(before) = usize::try_from(from - 1).ok().filter(|b| *b < units.len()) else {
        return text(t.to_string());
    };
    let n = a.get(3).and_then(Value::as_i64).unwrap_or(put.len() as i64);
    if from + n > i64::from(i32::MAX) {
        return Err(format!("the {n} characters from {from} on end beyond what 32 bits count"));
    }
    // As in Flink, everything after the replacement is removed if the length is 0 or negative.
    let behind = if n > 0 { units.get(before + n as usize..).unwrap_or_default() } else { &[] };
    text(of_units(&[&units[..before], &put, behind].concat()))
}

fn char_position(t: &str, byte: usize) -> i64 {
    chars(&t[..byte]) as i64 + 1
}

fn locate(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (needle, t) = (s(a, 0), s(a, 1));
    if needle.is_empty() {
        return Ok(Value::Int(1));
    }
    // As in Flink, the subtraction wraps around: the smallest INT becomes the greatest one.
    let from = (a.get(2).and_then(Value::as_i64).unwrap_or(1) as i32).wrapping_sub(1).max(0);
    let start = t.char_indices().nth(from as usize).map_or(t.len(), |(b, _)| b);
    Ok(Value::Int(t[start..].find(needle).map_or(0, |b| char_position(t, start + b))))
}

/// INSTR(text, searched, from, nth). Occurrences may overlap. A negative position counts from the end, and the search goes backwards from
/// it.
fn instr(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, needle) = (s(a, 0), s(a, 1));
    let from = a.get(2).and_then(Value::as_i64).unwrap_or(1);
    let nth = a.get(3).and_then(Value::as_i64).unwrap_or(1);
    if nth < 1 {
        return Err(format!("occurrences are counted from 1, not {nth}"));
    }
    let backwards = from < 0;
    if from == 0 || needle.is_empty() {
        let end = if backwards { chars(t) as i64 + 1 } else { 1 };
        return Ok(Value::Int(if from == 0 { 0 } else { end }));
    }
    let mut left = nth;
    let mut found = None;
    if backwards {
        // The position in bytes of the last character at which an occurrence may begin.
        let Some((last, _)) = t.char_indices().rev().nth(from.unsigned_abs() as usize - 1) else {
            return Ok(Value::Int(0));
        };
        let (text, wanted) = (t.bytes().rev(), needle.bytes().rev().collect::<Vec<u8>>());
        occurrences(text, &wanted, |end| {
            let begin = t.len() - end;
            left -= i64::from(begin <= last);
            found = (left == 0).then_some(begin);
            found.is_some()
        });
    } else {
        let skipped = t.char_indices().nth(from as usize - 1).map_or(t.len(), |(b, _)| b);
        if nth == 1 {
            found = t[skipped..].find(needle).map(|b| skipped + b);
        } else {
            occurrences(t[skipped..].bytes(), needle.as_bytes(), |end| {
                left -= 1;
                found = (left == 0).then_some(skipped + end - needle.len());
                found.is_some()
            });
        }
    }
    Ok(Value::Int(found.map_or(0, |b| char_position(t, b))))
}

/// Calls `stop` with the end of each occurrence in bytes, until it returns true. The time is linear in the length of the text (algorithm of
/// Knuth, Morris and Pratt).
fn occurrences(text: impl Iterator<Item = u8>, wanted: &[u8], mut stop: impl FnMut(usize) -> bool) {
    // For each prefix of `wanted`, the length of its longest proper prefix that is also a suffix of it.
    let mut shorter = vec![0u32; wanted.len()];
    let mut matched = 0;
    for i in 1..wanted.len() {
        while matched > 0 && wanted[matched] != wanted[i] {
            matched = shorter[matched - 1] as usize;
        }
        matched += usize::from(wanted[matched] == wanted[i]);
        shorter[i] = matched as u32;
    }
    matched = 0;
    for (i, b) in text.enumerate() {
        while matched > 0 && (matched == wanted.len() || wanted[matched] != b) {
            matched = shorter[matched - 1] as usize;
        }
        matched += usize::from(wanted[matched] == b);
        if matched == wanted.len() && stop(i + 1) {
            return;
        }
    }
}

fn concat(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    size::fits(a.iter().filter_map(Value::as_str).map(str::len).sum())?;
    text(a.iter().filter_map(Value::as_str).collect())
}

fn concat_ws(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(between) = a[0].as_str() else {
        return Ok(Value::Null);
    };
    let parts: Vec<&str> = a[1..].iter().filter_map(Value::as_str).collect();
    size::fits(parts.iter().map(|p| p.len() + between.len()).sum())?;
    text(parts.join(between))
}

fn split_index(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let one;
    let by = match &a[1] {
        Value::Int(c) => {
            let Some(c) = u8::try_from(*c).ok().filter(|c| *c > 0) else {
                return Ok(Value::Null);
            };
            one = char::from(c).to_string();
            one.as_str()
        }
        v => v.as_str().ok_or("the separator is text or a character's number")?,
    };
    let at = i(a, 2);
    if at < 0 || s(a, 0).is_empty() {
        return Ok(Value::Null);
    }
    // If the separator is empty, the text is split at whitespace.
    let part = match by {
        "" => s(a, 0).split(blank).nth(at as usize),
        by => s(a, 0).split(by).nth(at as usize),
    };
    Ok(part.map_or(Value::Null, |p| Value::string(p.to_string())))
}

/// Whether a character is whitespace in Java.
fn blank(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\u{a0}' | '\u{85}' | '\u{2007}' | '\u{202f}')
        || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn split(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, by) = (s(a, 0), s(a, 1));
    let own = |p: &str| Value::string(p.to_string());
    Ok(Value::List(match (t.is_empty(), by.is_empty()) {
        (true, _) => vec![],
        (_, true) => t.encode_utf16().map(|unit| Value::string(of_units(&[unit]))).collect(),
        _ => t.split(by).map(own).collect(),
    }))
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

fn elt_type(a: &[Expr]) -> Result<SqlType, String> {
    common(&a[1..]).map(|t| t.nullable(true))
}

fn elt(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let at = i(a, 0);
    Ok(if at < 1 { Value::Null } else { a.get(at as usize).cloned().unwrap_or(Value::Null).into_owned() })
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
