//! JSON in text: SQL's JSON functions as Flink has them.
//!
//! The parser hands the clauses over as further arguments: JSON_VALUE(text, path, NULL of the returned type, behaviour on
//! empty, its default, behaviour on error, its default) and so on.

use super::table::*;
use serde_json::Value as Json;
use serde_json_path::JsonPath;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

pub(super) const ALL: &[Definition] = &[
    def("JSON_EXISTS", &[Text], (2, 3), MaybeNull(boolean), Strict(exists)),
    def("JSON_VALUE", &[Text, Text, Any, Text, Any, Text, Any], (2, 7), Of(returned), Lenient(value)),
    def("JSON_QUERY", &[Text], (2, 5), MaybeNull(string), Strict(query)),
    def("JSON_OBJECT", &[Text, Any], (0, MANY), NotNull(string), Lenient(object)),
    def("JSON_ARRAY", &[Text, Any], (0, MANY), NotNull(string), Lenient(array)),
    def("JSON_STRING", &[Any], (1, 1), Type(string), Strict(|a, c| text(to_json(&a[0], &c.types[0])))),
    def("JSON", &[Text], (1, 1), MaybeNull(string), Strict(|a, _| Ok(Value::string(s(a, 0).to_string())))),
    def("JSON_QUOTE", &[Text], (1, 1), Type(string), Strict(quote)),
    def("JSON_UNQUOTE", &[Text], (1, 1), MaybeNull(string), Strict(unquote)),
    def("JSON_LENGTH", &[Text], (1, 2), MaybeNull(int), Strict(length_of)),
    def("IS JSON", &[Text], (2, 2), NotNull(boolean), Lenient(is_json)),
];

fn s<'a>(a: &'a [Value<'_>], at: usize) -> &'a str {
    a.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn text(j: Json) -> Outcome {
    Ok(Value::string(render(&j)))
}

/// JSON as text, exponents in capitals as Jackson writes them.
pub fn render(j: &Json) -> String {
    match j {
        Json::Number(n) => n.to_string().replace('e', "E"),
        Json::Array(items) => format!("[{}]", items.iter().map(render).collect::<Vec<_>>().join(",")),
        Json::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(k, v)| format!("{}:{}", Json::String(k.clone()), render(v))).collect();
            format!("{{{}}}", entries.join(","))
        }
        other => other.to_string(),
    }
}

/// Whether a path is lax, whether it can lead to many nodes, the path, and its begin.
type Compiled = (bool, bool, JsonPath, Option<JsonPath>);

enum Found {
    Error,
    Empty,
    One(Json),
    Many(Vec<Json>),
}

/// Finds a path in a text. Without a mode a path is strict, as in Flink: what is missing is an error.
fn find(json: &str, path: &str) -> Result<Found, String> {
    thread_local! {
        static KEPT: RefCell<HashMap<String, Rc<Compiled>>> = RefCell::new(HashMap::new());
    }
    let compiled = KEPT.with_borrow_mut(|kept| {
        if let Some(p) = kept.get(path) {
            return Ok(p.clone());
        }
        let trimmed = path.trim();
        let (lax, spec) = match trimmed.split_once(char::is_whitespace) {
            Some(("lax", rest)) => (true, rest.trim()),
            Some(("strict", rest)) => (false, rest.trim()),
            _ => (false, trimmed),
        };
        let parsed = JsonPath::parse(spec).map_err(|e| format!("'{spec}' is not a JSON path: {e}"))?;
        let many = ["*", "..", "?", ":", ","].iter().any(|m| spec.contains(m));
        // A path to many nodes still fails where its begin, up to the first choice, leads nowhere.
        let begin = spec.find(['*', '?']).map_or("", |at| spec[..at].trim_end_matches(['[', '.']));
        let begin = JsonPath::parse(if begin.is_empty() { "$" } else { begin }).ok();
        let entry = Rc::new((lax, many, parsed, begin));
        kept.insert(path.to_string(), entry.clone());
        Ok::<_, String>(entry)
    })?;
    let (lax, many, path) = (compiled.0, compiled.1, &compiled.2);
    let Ok(document) = serde_json::from_str::<Json>(json) else {
        return Ok(Found::Error);
    };
    let nodes: Vec<Json> = path.query(&document).all().into_iter().cloned().collect();
    let begins = || compiled.3.as_ref().is_none_or(|b| !b.query(&document).all().is_empty());
    Ok(match (many, nodes) {
        (true, nodes) if nodes.is_empty() && !begins() => {
            if lax {
                Found::Empty
            } else {
                Found::Error
            }
        }
        (true, nodes) => Found::Many(nodes),
        (false, nodes) => match nodes.into_iter().next() {
            Some(Json::Null) => Found::Empty,
            Some(n) => Found::One(n),
            None if lax => Found::Empty,
            None => Found::Error,
        },
    })
}

fn exists(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(match find(s(a, 0), s(a, 1))? {
        Found::One(_) => Value::Bool(true),
        Found::Many(n) => Value::Bool(!n.is_empty()),
        Found::Empty => Value::Bool(false),
        Found::Error => match s(a, 2) {
            "TRUE" => Value::Bool(true),
            "UNKNOWN" => Value::Null,
            "ERROR" => return Err("the text is not JSON, or the path is not in it".to_string()),
            _ => Value::Bool(false),
        },
    })
}

fn returned(a: &[Expr]) -> Result<SqlType, String> {
    Ok(a.get(2).map_or(SqlType::STRING, Expr::ty).nullable(true))
}

fn value(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    if a[0].is_null() || a[1].is_null() {
        return Ok(Value::Null);
    }
    let found = find(s(a, 0), s(a, 1))?;
    let default = |kind: usize, what: &str| match s(a, kind) {
        "DEFAULT" => crate::cast::cast_value(a[kind + 1].clone(), &c.types[kind + 1], c.ty, &c.session.zone),
        "ERROR" => Err(format!("the path {what}")),
        _ => Ok(Value::Null),
    };
    let failed = || default(5, "is not there, or is no single value");
    match found {
        Found::Empty => default(3, "leads to nothing"),
        Found::One(j) => {
            let raw = match &j {
                Json::String(s) => s.clone(),
                Json::Object(_) | Json::Array(_) => return failed(),
                other => other.to_string(),
            };
            match (&c.ty.kind, &j) {
                (T::Boolean, Json::Bool(b)) => Ok(Value::Bool(*b)),
                (T::Boolean, _) => failed(),
                (T::Int | T::BigInt | T::Double, Json::String(_) | Json::Bool(_)) => failed(),
                (T::Int | T::BigInt, Json::Number(_)) if raw.contains(['.', 'e', 'E']) => failed(),
                _ => crate::cast::cast_value(Value::text(&raw), &SqlType::STRING, c.ty, &c.session.zone)
                    .or_else(|_| failed()),
            }
        }
        Found::Error | Found::Many(_) => failed(),
    }
}

/// JSON_QUERY(text, path, wrapper, behaviour on empty, behaviour on error)
fn query(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let otherwise = |at: usize| match s(a, at) {
        "EMPTY ARRAY" => Ok(Value::text("[]")),
        "EMPTY OBJECT" => Ok(Value::text("{}")),
        "ERROR" => Err("the path leads to nothing that JSON_QUERY gives".to_string()),
        _ => Ok(Value::Null),
    };
    let nested = |j: &Json| j.is_array() || j.is_object();
    match (find(s(a, 0), s(a, 1))?, s(a, 2)) {
        (Found::Empty, _) => otherwise(3),
        (Found::Error, _) => otherwise(4),
        (Found::One(j), "WITH") => text(Json::Array(vec![j])),
        (Found::One(j), "CONDITIONAL") if !nested(&j) => text(Json::Array(vec![j])),
        (Found::One(j), _) if nested(&j) => text(j),
        (Found::One(_), _) => otherwise(4),
        // What a path with several ends finds is one array already, and is wrapped all the same.
        (Found::Many(n), "WITH") => text(Json::Array(vec![Json::Array(n)])),
        (Found::Many(n), _) => text(Json::Array(n)),
    }
}

/// JSON of any value.
pub fn to_json(v: &Value<'_>, ty: &SqlType) -> Json {
    let number = |t: String| serde_json::from_str(&t).unwrap_or(Json::Null);
    match (v, &ty.kind) {
        (Value::Null, _) => Json::Null,
        (Value::Bool(b), _) => Json::Bool(*b),
        (Value::Int(i), _) => Json::from(*i),
        (Value::Float(f), _) => number(crate::text::float_text(*f).replace('E', "E+").replace("E+-", "E-")),
        (Value::Double(d), _) => number(crate::text::double_text(*d).replace('E', "E+").replace("E+-", "E-")),
        (Value::Decimal(v, s), _) => number(weir_core::value::decimal_text(*v, *s)),
        (Value::Bytes(b), _) => {
            use base64::Engine;
            Json::String(base64::engine::general_purpose::STANDARD.encode(b))
        }
        (Value::Timestamp(s, n), T::TimestampLtz(_)) => Json::String(crate::time::iso_instant(*s, *n)),
        (Value::Timestamp(s, n), _) => Json::String(crate::time::iso_timestamp(*s, *n)),
        (Value::List(items), T::Array(e)) => Json::Array(items.iter().map(|v| to_json(v, e)).collect()),
        (Value::Map(items), T::Map(k, e)) => {
            let key = |v: &Value<'_>| crate::text::cast_text(v, k, &crate::time::Zone::UTC);
            Json::Object(items.iter().map(|(k, v)| (key(k), to_json(v, e))).collect())
        }
        (Value::Row(items), T::Row(fields)) => {
            Json::Object(items.iter().zip(fields).map(|(v, f)| (f.name.clone(), to_json(v, &f.ty))).collect())
        }
        (v, _) => Json::String(crate::text::cast_text(v, ty, &crate::time::Zone::UTC)),
    }
}

/// A nested JSON_OBJECT or JSON_ARRAY is JSON already; the parser marks it by a `\u{1}` before its text.
fn element(v: &Value<'_>, ty: &SqlType) -> Json {
    match v.as_str().and_then(|t| t.strip_prefix('\u{1}')) {
        Some(json) => serde_json::from_str(json).unwrap_or(Json::Null),
        None => to_json(v, ty),
    }
}

/// JSON_OBJECT('NULL' or 'ABSENT', key, value, …)
fn object(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let absent = s(a, 0) == "ABSENT";
    let mut entries: Vec<(String, Json)> = vec![];
    for at in (1..a.len().saturating_sub(1)).step_by(2) {
        let Some(key) = a[at].as_str() else {
            return Err("a key of JSON_OBJECT is NULL".to_string());
        };
        if !(absent && a[at + 1].is_null()) {
            entries.retain(|(k, _)| k != key);
            entries.push((key.to_string(), element(&a[at + 1], &c.types[at + 1])));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    text(Json::Object(entries.into_iter().collect()))
}

/// JSON_ARRAY('NULL' or 'ABSENT', value, …)
fn array(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let absent = s(a, 0) != "NULL";
    let items = a.iter().zip(c.types).skip(1).filter(|(v, _)| !(absent && v.is_null()));
    text(Json::Array(items.map(|(v, t)| element(v, t)).collect()))
}

fn quote(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let mut out = String::from("\"");
    for ch in s(a, 0).chars() {
        match ch {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if c.is_ascii() && !c.is_ascii_control() => out.push(c),
            c => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|u| out += &format!("\\u{u:04x}"));
            }
        }
    }
    Ok(Value::string(out + "\""))
}

fn unquote(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let t = s(a, 0);
    Ok(Value::string(match serde_json::from_str::<Json>(t) {
        Ok(Json::String(inner)) if t.starts_with('"') => inner,
        _ => t.to_string(),
    }))
}

fn length_of(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let found = if a.len() > 1 { find(s(a, 0), s(a, 1))? } else { find(s(a, 0), "$")? };
    Ok(match found {
        Found::One(Json::Array(items)) => Value::Int(items.len() as i64),
        Found::One(Json::Object(items)) => Value::Int(items.len() as i64),
        Found::One(_) => Value::Int(1),
        _ => Value::Null,
    })
}

fn is_json(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let Some(t) = a[0].as_str() else {
        return Ok(Value::Bool(false));
    };
    Ok(Value::Bool(match (serde_json::from_str::<Json>(t), s(a, 1)) {
        (Err(_), _) => false,
        (Ok(j), "OBJECT") => j.is_object(),
        (Ok(j), "ARRAY") => j.is_array(),
        (Ok(j), "SCALAR") => !j.is_array() && !j.is_object(),
        _ => true,
    }))
}
