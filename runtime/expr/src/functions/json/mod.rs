//! SQL's JSON functions as in Flink, over JSON text.
//!
//! The binder passes clauses as further arguments: JSON_VALUE(text, path, NULL of the return type, behaviour on empty, its default,
//! behaviour on error, its default) and so on.

mod call;
mod filter;
mod find;
mod path;
#[cfg(test)]
mod tests;
mod tree;

use super::arguments;
use super::table::*;
use crate::json;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use tree::Path;

pub(super) const ALL: &[Definition] = &[
    def("JSON_EXISTS", &[Text], (2, 3), MaybeNull(boolean), Strict(exists)),
    def("JSON_VALUE", &[Text, Text, Any, Text, Any, Text, Any], (2, 7), Of(returned), Lenient(value)),
    def("JSON_QUERY", &[Text, Text, Text, Text, Text, Any], (2, 6), Of(queried), Lenient(query)),
    def("JSON_OBJECT", &[Text, Any], (0, MANY), NotNull(string), Lenient(object)),
    def("JSON_ARRAY", &[Text, Any], (0, MANY), NotNull(string), Lenient(array)),
    def("JSON_STRING", &[Any], (1, 1), Type(string), Strict(|a, c| text(to_json(&a[0], &c.types[0])?))),
    def("JSON", &[Text], (1, 1), MaybeNull(string), Strict(|a, _| Ok(Value::string(s(a, 0).to_string())))),
    def("JSON_QUOTE", &[Text], (1, 1), Type(string), Strict(quote)),
    def("JSON_UNQUOTE", &[Text], (1, 1), MaybeNull(string), Strict(unquote)),
    def("JSON_LENGTH", &[Text], (1, 2), MaybeNull(int), Strict(length_of)),
    def("IS JSON", &[Text], (2, 2), NotNull(boolean), Lenient(is_json)),
];

#[track_caller]
fn s<'a>(a: &'a [Value<'_>], at: usize) -> &'a str {
    a.get(at).map_or("", arguments::text)
}

fn text(j: Json) -> Outcome {
    Ok(Value::string(render(&j)))
}

/// Formats JSON as text. Numbers have the form of Java's BigDecimal.
pub fn render(j: &Json) -> String {
    let mut out = String::new();
    render_into(j, &mut out);
    out
}

fn render_into(j: &Json, out: &mut String) {
    match j {
        Json::Number(n) => *out += &number_text(&n.to_string()),
        Json::String(t) => quoted(t, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                render_into(item, out);
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                quoted(key, out);
                out.push(':');
                render_into(item, out);
            }
            out.push('}');
        }
        Json::Bool(b) => *out += if *b { "true" } else { "false" },
        Json::Null => *out += "null",
    }
}

/// The double that is nearest to a number.
fn double_of(j: &Json) -> Option<f64> {
    match j {
        Json::Number(n) => n.to_string().parse().ok(),
        _ => None,
    }
}

/// Quotes a text as Jackson does.
fn quoted(t: &str, out: &mut String) {
    out.push('"');
    for c in t.chars() {
        match c {
            '"' => *out += "\\\"",
            '\\' => *out += "\\\\",
            '\u{8}' => *out += "\\b",
            '\u{c}' => *out += "\\f",
            '\n' => *out += "\\n",
            '\r' => *out += "\\r",
            '\t' => *out += "\\t",
            c if c < ' ' => *out += &format!("\\u{:04X}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Formats a JSON number as Java's BigInteger and BigDecimal do.
fn number_text(n: &str) -> String {
    let (mantissa, exponent) = n.split_once(['e', 'E']).unwrap_or((n, "0"));
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i32>() else {
        return n.to_string();
    };
    let scale = fraction.len() as i64 - i64::from(exponent);
    let all = format!("{whole}{fraction}");
    let unscaled = match all.trim_start_matches('0') {
        "" => "0",
        other => other,
    };
    let sign = if unscaled == "0" { "" } else { sign };
    let adjusted = unscaled.len() as i64 - 1 - scale;
    if scale >= 0 && adjusted >= -6 {
        let scale = scale as usize;
        let padded = format!("{unscaled:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let point = if scale > 0 { "." } else { "" };
        return format!("{sign}{whole}{point}{fraction}");
    }
    let (first, rest) = unscaled.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}E{adjusted:+}")
}

enum PathResult {
    /// The result of the path. It is null if a lax path does not lead anywhere.
    At { lax: bool, json: Json },
    /// The text is not JSON, the path is invalid, or a strict path does not lead anywhere.
    Wrong(String),
}

/// Splits off the mode of a path. Without a mode it is strict.
fn mode(path: &str) -> (bool, &str) {
    let trimmed = path.trim_start();
    for (word, lax) in [("lax", true), ("strict", false)] {
        if trimmed.get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word)) {
            let rest = &trimmed[word.len()..];
            if rest.starts_with(char::is_whitespace) && !rest.trim_start().is_empty() {
                return (lax, rest.trim_start());
            }
        }
    }
    (false, path)
}

/// Whether a path is lax, and the compiled path or its error. Paths are cached, since they are nearly always constants.
type Compiled = (bool, Result<Path, String>);

fn compiled(path: &str) -> Rc<Compiled> {
    thread_local! {
        static KEPT: RefCell<HashMap<String, Rc<Compiled>>> = RefCell::new(HashMap::new());
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(p) = kept.get(path) {
            return p.clone();
        }
        if kept.len() > 64 {
            kept.clear();
        }
        let (lax, spec) = mode(path);
        let entry = Rc::new((lax, Path::parse(spec)));
        kept.insert(path.to_string(), entry.clone());
        entry
    })
}

fn find(text: &str, path: &str) -> PathResult {
    let compiled = compiled(path);
    let (lax, parsed) = (compiled.0, &compiled.1);
    let document = match json::first(text) {
        Ok((Json::Null, _)) => return PathResult::Wrong("the text is null".to_string()),
        Ok((document, _)) => document,
        Err(_) if lax => return PathResult::At { lax, json: Json::Null },
        Err(e) => return PathResult::Wrong(format!("the text is not JSON: {e}")),
    };
    match parsed {
        Err(why) => PathResult::Wrong(format!("'{path}' is not a JSON path: {why}")),
        Ok(parsed) => match find::find(parsed, &document, &document, lax) {
            Ok(json) => PathResult::At { lax, json },
            Err(find::Nowhere) => PathResult::Wrong(format!("the path '{path}' leads nowhere")),
        },
    }
}

fn exists(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    match find(s(a, 0), s(a, 1)) {
        PathResult::At { json, .. } => Ok(Value::Bool(!json.is_null())),
        PathResult::Wrong(why) => match s(a, 2) {
            "TRUE" => Ok(Value::Bool(true)),
            "UNKNOWN" => Ok(Value::Null),
            "ERROR" => Err(why),
            _ => Ok(Value::Bool(false)),
        },
    }
}

fn returned(a: &[Expr]) -> Result<SqlType, String> {
    let ty = a.get(2).map_or(SqlType::STRING, Expr::ty).nullable(true);
    match ty.kind {
        T::Varchar(_) | T::Boolean | T::Int | T::Double => Ok(ty),
        kind => Err(format!(
            "JSON_VALUE returns STRING, BOOLEAN, INTEGER or DOUBLE, not {kind}; CAST what it gives as STRING"
        )),
    }
}

/// JSON_VALUE(text, path, NULL of the return type, behaviour on empty, its default, behaviour on error, its default). The result of the
/// path and the defaults must already have the return type. As in Flink, ON ERROR does not apply to that.
fn value(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    if a[0].is_null() || a[1].is_null() {
        return Ok(Value::Null);
    }
    let default = |kind: usize, why: &str| match s(a, kind) {
        "DEFAULT" => default_value(&a[kind + 1], &c.types[kind + 1], c),
        "ERROR" => Err(why.to_string()),
        _ => Ok(Value::Null),
    };
    let (lax, json) = match find(s(a, 0), s(a, 1)) {
        PathResult::At { lax, json } => (lax, json),
        PathResult::Wrong(why) => return default(5, &why),
    };
    match (&c.ty.kind, &json) {
        (_, Json::Null | Json::Array(_) | Json::Object(_)) => {
            default(if lax { 3 } else { 5 }, &format!("the path '{}' leads to no single value", s(a, 1)))
        }
        (T::Varchar(_), Json::String(t)) => Ok(Value::string(t.clone())),
        (T::Varchar(_), json) => text(json.clone()),
        (T::Boolean, Json::Bool(b)) => Ok(Value::Bool(*b)),
        (kind, Json::Number(n)) => {
            let raw = n.to_string();
            let fits = match kind {
                T::Int => raw.parse::<i32>().ok().map(|n| Value::Int(n.into())),
                T::Double if raw.contains(['.', 'e', 'E']) => raw.parse().ok().map(Value::Double),
                _ => None,
            };
            fits.ok_or_else(|| misfit(&raw, kind))
        }
        (kind, json) => Err(misfit(&render(json), kind)),
    }
}

/// Converts a default of JSON_VALUE to the return type.
fn default_value(v: &Value<'_>, ty: &SqlType, c: &Call<'_>) -> Outcome {
    match (&c.ty.kind, &ty.kind, v) {
        (_, _, Value::Null) => Ok(Value::Null),
        (T::Varchar(_), _, Value::Bool(b)) => Ok(Value::string(b.to_string())),
        (T::Varchar(_), ..) => Ok(Value::string(crate::text::cast_text(v, ty, &c.session.zone))),
        (T::Boolean, T::Boolean, _) | (T::Int, T::Int, _) => Ok(v.clone().into_owned()),
        (kind, ..) => Err(format!("the default {} is no {kind}", crate::text::cast_text(v, ty, &c.session.zone))),
    }
}

fn misfit(found: &str, kind: &T) -> String {
    let shown: String = found.chars().take(60).collect();
    let rule = match kind {
        T::Int => "a number without a point that 32 bits hold",
        T::Double => "a number with a point or an exponent",
        _ => "true or false",
    };
    format!("{shown} is not {rule}, which RETURNING {kind} asks for; CAST what RETURNING STRING gives instead")
}

/// The return type of JSON_QUERY: text, or an array of texts.
fn queried(a: &[Expr]) -> Result<SqlType, String> {
    let ty = a.get(5).map_or(SqlType::STRING, Expr::ty).nullable(true);
    match &ty.kind {
        T::Array(item) if item.is_text() => {
            for (at, on) in [(3, "EMPTY"), (4, "ERROR")] {
                if matches!(a.get(at), Some(Expr::Literal { value: Value::Text(t), .. }) if t == "EMPTY OBJECT") {
                    return Err(format!("EMPTY OBJECT ON {on} is no array"));
                }
            }
        }
        _ if ty.is_text() => {}
        kind => return Err(format!("JSON_QUERY returns STRING or ARRAY<STRING>, not {kind}")),
    }
    Ok(ty)
}

/// JSON_QUERY(text, path, wrapper, behaviour on empty, behaviour on error, NULL of the return type)
fn query(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    if a[0].is_null() || a[1].is_null() {
        return Ok(Value::Null);
    }
    let list = matches!(c.ty.kind, T::Array(_));
    let otherwise = |at: usize, why: &str| match s(a, at) {
        "EMPTY ARRAY" if list => Ok(Value::List(vec![])),
        "EMPTY ARRAY" => Ok(Value::text("[]")),
        "EMPTY OBJECT" => Ok(Value::text("{}")),
        "ERROR" => Err(why.to_string()),
        _ => Ok(Value::Null),
    };
    let (lax, json) = match find(s(a, 0), s(a, 1)) {
        PathResult::At { lax, json } => (lax, json),
        PathResult::Wrong(why) => return otherwise(4, &why),
    };
    let json = match (s(a, 2), json) {
        (_, Json::Null) => Json::Null,
        ("WITH", json) => Json::Array(vec![json]),
        ("CONDITIONAL", json) if !json.is_array() => Json::Array(vec![json]),
        (_, json) => json,
    };
    let why = |what: &str| format!("the path '{}' leads to no {what}", s(a, 1));
    match json {
        Json::Array(items) if list => {
            let text = |j: Json| match j {
                Json::Null => Value::Null,
                Json::String(t) => Value::string(t),
                other => Value::string(render(&other)),
            };
            Ok(Value::List(items.into_iter().map(text).collect()))
        }
        json @ (Json::Array(_) | Json::Object(_)) if !list => text(json),
        Json::Object(_) => otherwise(4, &why("array")),
        _ => otherwise(if lax { 3 } else { 4 }, &why("array and no object")),
    }
}

/// Converts any value to JSON.
///
/// # Errors
/// If a map has a NULL key.
pub fn to_json(v: &Value<'_>, ty: &SqlType) -> Result<Json, String> {
    let number = |t: String| serde_json::from_str(&t).unwrap_or(Json::Null);
    Ok(match (v, &ty.kind) {
        (Value::Null, _) => Json::Null,
        (Value::Bool(b), _) => Json::Bool(*b),
        (Value::Int(i), _) => Json::from(*i),
        // Values that are not JSON numbers are written as by Jackson.
        (Value::Float(f), _) if !f.is_finite() => Json::String(crate::text::float_text(*f)),
        (Value::Double(d), _) if !d.is_finite() => Json::String(crate::text::double_text(*d)),
        // As in Flink, a FLOAT becomes a DOUBLE.
        (Value::Float(_) | Value::Double(_), _) => {
            let d = if let Value::Float(f) = v { f64::from(*f) } else { v.as_f64().unwrap_or(f64::NAN) };
            number(crate::text::double_text(d).replace('E', "E+").replace("E+-", "E-"))
        }
        (Value::Decimal(v, s), _) => number(weir_core::value::decimal_text(*v, *s)),
        (Value::Bytes(b), _) => {
            use base64::Engine;
            Json::String(base64::engine::general_purpose::STANDARD.encode(b))
        }
        (Value::Timestamp(s, n), T::TimestampLtz(_)) => Json::String(crate::time::iso_offset_time(*s, *n)),
        (Value::Timestamp(s, n), _) => {
            Json::String(crate::time::iso_offset_time(*s, *n).trim_end_matches('Z').to_string())
        }
        (Value::List(items), T::Array(e)) => {
            Json::Array(items.iter().map(|v| to_json(v, e)).collect::<Result<_, _>>()?)
        }
        (Value::Map(items), T::Map(k, e)) => {
            let member = |(key, v): &(Value<'_>, Value<'_>)| match key {
                Value::Null => Err("a map has a NULL key, which JSON has no name for".to_string()),
                key => Ok((crate::text::cast_text(key, k, &crate::time::Zone::UTC), to_json(v, e)?)),
            };
            Json::Object(sorted(items.iter().map(member))?)
        }
        (Value::Row(items), T::Row(fields)) => {
            let member = |(v, f): (&Value<'_>, &weir_core::Field)| Ok((f.name.clone(), to_json(v, &f.ty)?));
            Json::Object(sorted(items.iter().zip(fields).map(member))?)
        }
        (v, _) => Json::String(crate::text::cast_text(v, ty, &crate::time::Zone::UTC)),
    })
}

/// Members in the order of their names, as Flink writes maps and rows.
fn sorted(
    members: impl Iterator<Item = Result<(String, Json), String>>,
) -> Result<serde_json::Map<String, Json>, String> {
    let sorted: std::collections::BTreeMap<String, Json> = members.collect::<Result<_, _>>()?;
    Ok(sorted.into_iter().collect())
}

/// Parses the handling of NULLs, and the numbers of the arguments that are already JSON: `NULL 2 4`, as the binder writes it.
fn nested<'a>(a: &'a [Value<'_>]) -> (&'a str, Vec<usize>) {
    let mut words = s(a, 0).split(' ');
    (words.next().unwrap_or_default(), words.filter_map(|w| w.parse().ok()).collect())
}

fn element(v: &Value<'_>, ty: &SqlType, is_json: bool) -> Result<Json, String> {
    match v.as_str() {
        Some(text) if is_json => json::parse(text).map_err(|e| format!("the text of JSON(…) is not JSON: {e}")),
        _ => to_json(v, ty),
    }
}

/// JSON_OBJECT('NULL' or 'ABSENT', key, value, …)
fn object(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (on_null, json) = nested(a);
    let mut entries = std::collections::BTreeMap::new();
    for at in (1..a.len().saturating_sub(1)).step_by(2) {
        let Some(key) = a[at].as_str() else {
            return Err("a key of JSON_OBJECT is NULL".to_string());
        };
        if !(on_null == "ABSENT" && a[at + 1].is_null()) {
            entries.insert(key.to_string(), element(&a[at + 1], &c.types[at + 1], json.contains(&(at + 1)))?);
        }
    }
    text(Json::Object(entries.into_iter().collect()))
}

/// JSON_ARRAY('NULL' or 'ABSENT', value, …)
fn array(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (on_null, json) = nested(a);
    let items = a.iter().zip(c.types).enumerate().skip(1).filter(|(_, (v, _))| on_null == "NULL" || !v.is_null());
    text(Json::Array(items.map(|(at, (v, t))| element(v, t, json.contains(&at))).collect::<Result<_, _>>()?))
}

fn quote(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let mut out = String::from("\"");
    for ch in s(a, 0).chars() {
        match ch {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '/' => out += "\\/",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if c.is_ascii() => out.push(c),
            c => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|u| out += &format!("\\u{u:04x}"));
            }
        }
    }
    Ok(Value::string(out + "\""))
}

/// Removes quotes and escapes. A text that is not a single quoted text is unchanged. Inner quotes need no escape, as in Flink.
fn unquote(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let t = s(a, 0);
    let inner = t.strip_prefix('"').and_then(|t| t.strip_suffix('"')).filter(|_| json::first(t).is_ok());
    let Some(inner) = inner else {
        return Ok(Value::string(t.to_string()));
    };
    let mut quoted = String::with_capacity(t.len() + 2);
    let mut escaped = false;
    for c in inner.chars() {
        if c == '"' && !escaped {
            quoted.push('\\');
        }
        escaped = c == '\\' && !escaped;
        quoted.push(c);
    }
    Ok(Value::string(match json::parse(&format!("\"{quoted}\"")) {
        Ok(Json::String(inner)) => inner,
        _ => t.to_string(),
    }))
}

fn length_of(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(match find(s(a, 0), if a.len() > 1 { s(a, 1) } else { "$" }) {
        PathResult::At { json: Json::Array(items), .. } => Value::Int(items.len() as i64),
        PathResult::At { json: Json::Object(items), .. } => Value::Int(items.len() as i64),
        PathResult::At { json: Json::Null, .. } | PathResult::Wrong(_) => Value::Null,
        PathResult::At { .. } => Value::Int(1),
    })
}

fn is_json(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(t) = a[0].as_str() else {
        return Ok(Value::Bool(false));
    };
    Ok(Value::Bool(match (json::first(t), s(a, 1)) {
        (Err(_), _) => false,
        (Ok((j, _)), "OBJECT") => j.is_object(),
        (Ok((j, _)), "ARRAY") => j.is_array(),
        (Ok((j, _)), "SCALAR") => !j.is_array() && !j.is_object(),
        _ => true,
    }))
}
