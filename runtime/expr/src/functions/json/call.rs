//! The functions of JSON paths.

use super::{double_of, render};
use serde_json::{Number, Value as Json};

/// Whether paths have a function with this name.
pub(super) fn is_function(name: &str) -> bool {
    matches!(
        name,
        "avg"
            | "stddev"
            | "sum"
            | "min"
            | "max"
            | "concat"
            | "length"
            | "size"
            | "append"
            | "keys"
            | "first"
            | "last"
            | "index"
    )
}

fn double(v: f64) -> Json {
    crate::text::double_text(v).parse::<Number>().map_or(Json::Null, Json::Number)
}

/// Calls a function on a node with arguments.
pub(super) fn call(name: &str, given: &[Json], node: &Json) -> Option<Json> {
    let items = |j: &Json| match j {
        Json::Array(l) => l.clone(),
        j => vec![j.clone()],
    };
    match name {
        // If a path has several results, the size of each is counted.
        "length" | "size" if !given.is_empty() => {
            let inside = |j: &Json| match j {
                Json::Array(l) => l.len(),
                Json::Object(o) => o.len(),
                _ => 0,
            };
            Some(Json::from(given.iter().flat_map(items).map(|j| inside(&j)).sum::<usize>()))
        }
        "length" | "size" => Some(match node {
            Json::Array(l) => Json::from(l.len()),
            Json::Object(o) => Json::from(o.len()),
            _ => Json::Null,
        }),
        "keys" => match node {
            Json::Object(o) => Some(Json::Array(o.keys().cloned().map(Json::String).collect())),
            _ => Some(Json::Null),
        },
        "first" => node.as_array()?.first().cloned(),
        "last" => node.as_array()?.last().cloned(),
        "index" => {
            let at = double_of(given.first()?)? as i64;
            let l = node.as_array()?;
            usize::try_from(if at < 0 { l.len() as i64 + at } else { at }).ok().and_then(|i| l.get(i)).cloned()
        }
        "append" => {
            let mut l = node.as_array()?.clone();
            l.extend(given.iter().cloned());
            Some(Json::Array(l))
        }
        "concat" => {
            let mut out: String = node.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            for j in given.iter().flat_map(items) {
                match j {
                    Json::String(s) => out += &s,
                    other => out += &render(&other),
                }
            }
            Some(Json::String(out))
        }
        _ => {
            let own = node.as_array().cloned().unwrap_or_default();
            let all: Vec<f64> = own
                .iter()
                .chain(given.iter().flat_map(items).collect::<Vec<_>>().iter())
                .filter_map(double_of)
                .collect();
            if all.is_empty() {
                return None;
            }
            let (n, sum) = (all.len() as f64, all.iter().sum::<f64>());
            Some(double(match name {
                "sum" => sum,
                "avg" => sum / n,
                "min" => all.iter().copied().fold(f64::MAX, f64::min),
                "max" => all.iter().copied().fold(f64::MIN_POSITIVE, f64::max),
                _ => {
                    let squares = all.iter().map(|v| v * v).sum::<f64>();
                    (squares / n - sum * sum / n / n).sqrt()
                }
            }))
        }
    }
}
