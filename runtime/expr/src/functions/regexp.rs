//! LIKE, SIMILAR TO and regular expressions. An invalid pattern that is a constant is an error when the statement is bound. For an invalid
//! pattern from the data, the result is Flink's: NULL, false or an error.

use super::arguments;
use super::pattern::{self, Pattern, PatternKind};
use super::size;
use super::table::*;
use crate::java_map;
use std::rc::Rc;

pub(super) const ALL: &[Definition] = &[
    def("LIKE", &[Text], (2, 3), Of(|a| checked(a, &like_kind)), Strict(like)),
    def("SIMILAR TO", &[Text], (2, 3), Of(|a| checked(a, &similar_kind)), Strict(similar)),
    def("REGEXP", &[Text], (2, 2), Of(|a| checked(a, &regex_kind)), Strict(regexp)),
    def("REGEXP_EXTRACT", &[Text, Text, Int], (2, 3), Of(|a| or_null(a, string())), Strict(extract)),
    def("REGEXP_EXTRACT_ALL", &[Text, Text, Int], (2, 3), Of(|a| or_null(a, strings())), Strict(extract_all)),
    def("REGEXP_REPLACE", &[Text], (3, 3), Of(replaced), Strict(replace)),
    def("REGEXP_COUNT", &[Text], (2, 2), Of(|a| or_null(a, T::Int)), Strict(count)),
    def("REGEXP_INSTR", &[Text], (2, 2), Of(|a| or_null(a, T::Int)), Strict(instr)),
    def("REGEXP_SUBSTR", &[Text], (2, 2), Of(|a| or_null(a, string())), Strict(extract)),
    def("STR_TO_MAP", &[Text], (1, 3), Of(map_type), Strict(str_to_map)),
];

fn strings() -> T {
    T::Array(Box::new(SqlType::STRING))
}

#[track_caller]
fn s<'a>(a: &'a [Value<'_>], at: usize) -> &'a str {
    arguments::text(&a[at])
}

fn own(t: &str) -> Value<'static> {
    Value::string(t.to_string())
}

fn constant(e: &Expr) -> Option<&str> {
    match e {
        Expr::Literal { value, .. } => value.as_str(),
        _ => None,
    }
}

fn check(pattern: Option<&str>, kind: PatternKind) -> Result<(), String> {
    match pattern {
        Some(p) => match pattern::kept(p, kind) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("the pattern '{}' is not right: {e}", pattern::shown(p))),
        },
        None => Ok(()),
    }
}

fn checked(a: &[Expr], kind: &dyn Fn(Option<&str>) -> Result<PatternKind, String>) -> Result<SqlType, String> {
    let escape = a.get(2).map(|e| constant(e).ok_or("the escape is a constant")).transpose()?;
    check(constant(&a[1]), kind(escape)?)?;
    Ok(SqlType::BOOLEAN.nullable(a.iter().any(|e| e.ty().nullable)))
}

fn or_null(a: &[Expr], kind: T) -> Result<SqlType, String> {
    check(constant(&a[1]), PatternKind::Regex)?;
    Ok(SqlType::from(kind))
}

fn replaced(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = constant(&a[1]).is_none() || a.iter().any(|e| e.ty().nullable);
    or_null(a, string()).map(|t| t.nullable(nullable))
}

fn map_type(a: &[Expr]) -> Result<SqlType, String> {
    for e in &a[1..] {
        check(constant(e), PatternKind::Regex)?;
    }
    Ok(SqlType::from(T::Map(Box::new(SqlType::STRING), Box::new(SqlType::STRING))))
}

fn escape_of(escape: Option<&str>) -> Result<Option<char>, String> {
    let Some(e) = escape else {
        return Ok(None);
    };
    let mut chars = e.chars();
    match (chars.next(), chars.next()) {
        // As in Java, a character beyond U+FFFF counts as two.
        (Some(c), None) if c.len_utf16() == 1 => Ok(Some(c)),
        _ => Err(format!("the escape is one character, not '{e}'")),
    }
}

fn like_kind(escape: Option<&str>) -> Result<PatternKind, String> {
    escape_of(escape).map(PatternKind::Like)
}

fn similar_kind(escape: Option<&str>) -> Result<PatternKind, String> {
    escape_of(escape).map(PatternKind::Similar)
}

fn regex_kind(_: Option<&str>) -> Result<PatternKind, String> {
    Ok(PatternKind::Regex)
}

fn like(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let (t, p) = (s(a, 0), s(a, 1));
    if a.len() == 2 && !p.contains('_') {
        // The usual patterns need no regular expression.
        let inner = p.strip_prefix('%').unwrap_or(p);
        let inner = inner.strip_suffix('%').unwrap_or(inner);
        if !inner.contains('%') {
            return Ok(Value::Bool(match (p.starts_with('%'), p.ends_with('%')) {
                (true, true) if p.len() > 1 => t.contains(inner),
                (true, true) => true,
                (true, false) => t.ends_with(inner),
                (false, true) => t.starts_with(inner),
                (false, false) => t == p,
            }));
        }
    }
    matches(t, p, like_kind(a.get(2).and_then(Value::as_str))?)
}

fn similar(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    matches(s(a, 0), s(a, 1), similar_kind(a.get(2).and_then(Value::as_str))?)
}

fn matches(text: &str, pattern: &str, kind: PatternKind) -> Outcome {
    let p = pattern::kept(pattern, kind).map_err(|e| format!("'{}': {e}", pattern::shown(pattern)))?;
    Ok(Value::Bool(p.is_match(text)?))
}

fn regex(a: &[Value<'_>]) -> Result<Option<Rc<Pattern>>, String> {
    pattern::known(s(a, 1), PatternKind::Regex)
}

fn regexp(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(Value::Bool(match regex(a)? {
        Some(p) if !s(a, 1).is_empty() => p.is_match(s(a, 0))?,
        _ => false,
    }))
}

/// The requested group, if the pattern has it.
fn group(a: &[Value<'_>], p: &Pattern, default: i64) -> Option<usize> {
    let group = a.get(2).and_then(Value::as_i64).unwrap_or(default);
    usize::try_from(group).ok().filter(|g| *g <= p.groups())
}

fn extract(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(p) = regex(a)? else {
        return Ok(Value::Null);
    };
    let Some(group) = group(a, &p, 0) else {
        return Ok(Value::Null);
    };
    let found = p.group_at(s(a, 0), 0, group)?.and_then(|(_, group)| group);
    Ok(found.map_or(Value::Null, |(from, to)| own(&s(a, 0)[from..to])))
}

fn extract_all(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(p) = regex(a)? else {
        return Ok(Value::Null);
    };
    let Some(group) = group(a, &p, 1) else {
        return Ok(Value::Null);
    };
    let (mut all, mut bytes) = (vec![], 0);
    p.each(s(a, 0), group, &mut |_, group| {
        let v = group.map_or(Value::Null, |(from, to)| own(&s(a, 0)[from..to]));
        bytes += 8 + size::of(&v);
        all.push(v);
        size::fits(bytes)
    })?;
    Ok(Value::List(all))
}

/// REGEXP_REPLACE. As in Flink, the replacement is literal: `$1` is two characters.
fn replace(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(p) = regex(a)? else {
        return Ok(Value::Null);
    };
    let t = s(a, 0);
    let mut out = String::with_capacity(t.len());
    let mut last = 0;
    p.each(t, 0, &mut |(from, to), _| {
        out += &t[last..from];
        out += s(a, 2);
        last = to;
        if from == to && within_pair(&p, t, from)? {
            out += "?";
            out += s(a, 2);
            out += "?";
            last += t[from..].chars().next().map_or(0, char::len_utf8);
        }
        size::fits(out.len())
    })?;
    out += &t[last..];
    Ok(Value::string(out))
}

/// Whether the pattern also has an empty match between the two halves of the character at this position. In Java, a character beyond U+FFFF
/// is a surrogate pair. A match within it splits it, and its halves become question marks.
fn within_pair(p: &Pattern, t: &str, at: usize) -> Result<bool, String> {
    let mut rest = t[at..].chars();
    if rest.next().is_none_or(|c| c.len_utf16() == 1) {
        return Ok(false);
    }
    // Two private-use characters take the place of the two halves.
    let mut around: String = t[..at].chars().next_back().into_iter().collect();
    around.push('\u{E000}');
    let middle = around.len();
    around.push('\u{E001}');
    around.extend(rest.next());
    Ok(p.find_at(&around, middle)? == Some((middle, middle)))
}

fn count(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(p) = regex(a)? else {
        return Ok(Value::Null);
    };
    let mut n = 0;
    p.each(s(a, 0), 0, &mut |_, _| {
        n += 1;
        Ok(())
    })?;
    Ok(Value::Int(n))
}

fn instr(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(p) = regex(a)? else {
        return Ok(Value::Null);
    };
    let found = p.find_at(s(a, 0), 0)?;
    Ok(Value::Int(found.map_or(0, |(from, _)| s(a, 0)[..from].chars().count() as i64 + 1)))
}

fn str_to_map(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let compiled = |at: usize, default: &str| {
        let p = a.get(at).map_or(default, |_| s(a, at));
        pattern::kept(p, PatternKind::Regex).map_err(|e| format!("'{}': {e}", pattern::shown(p)))
    };
    let (pairs, between) = (compiled(1, ",")?, compiled(2, "=")?);
    if s(a, 0).is_empty() {
        return Ok(Value::Map(vec![]));
    }
    let (mut entries, mut bytes) = (vec![], 0);
    for part in pairs.split(s(a, 0), None)? {
        let kv = between.split(part, Some(2))?;
        let (key, value) = (kv.first().copied().unwrap_or_default(), kv.get(1).copied());
        bytes += 16 + key.len() + value.map_or(0, str::len);
        size::fits(bytes)?;
        entries.push((Value::text(key), value.map_or(Value::Null, Value::text)));
    }
    // The entries have the order of Java's `HashMap`, which Flink creates with their number as its capacity.
    let ordered = java_map::ordered(&entries, &SqlType::STRING, entries.len());
    let owned = ordered.into_iter().map(|(k, v)| (k.clone().into_owned(), v.clone().into_owned()));
    Ok(Value::Map(owned.collect()))
}
