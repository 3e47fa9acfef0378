//! COALESCE, GREATEST and LEAST, and the only value of a sub-query.

use super::table::*;
use std::cmp::Ordering;

pub(super) const ALL: &[Definition] = &[
    def(
        "COALESCE",
        &[Any],
        (1, MANY),
        Of(first_known),
        Lenient(|a, _| Ok(a.iter().find(|v| !v.is_null()).cloned().map_or(Value::Null, Value::into_owned))),
    ),
    def("GREATEST", &[Any], (1, MANY), Of(common), Strict(|a, _| Ok(extreme(a, Ordering::Greater)))),
    def("LEAST", &[Any], (1, MANY), Of(common), Strict(|a, _| Ok(extreme(a, Ordering::Less)))),
    // The number of rows of a scalar sub-query, and the value of the first one.
    def("SINGLE VALUE", &[Long, Any], (2, 2), Of(|a| Ok(a[1].ty().nullable(true))), Lenient(single)),
];

fn single(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    match a {
        [Value::Int(2..), _] => Err("a scalar sub-query has more than one row".to_string()),
        [_, value] => Ok(value.clone().into_owned()),
        _ => Ok(Value::Null),
    }
}

fn first_known(a: &[Expr]) -> Result<SqlType, String> {
    common(a).map(|t| t.nullable(a.iter().all(|e| e.ty().nullable)))
}

fn extreme(a: &[Value<'_>], wanted: Ordering) -> Value<'static> {
    let all = a.iter().cloned().map(Value::into_owned);
    all.reduce(|x, y| if super::collection::order(&y, &x) == wanted { y } else { x }).unwrap_or(Value::Null)
}
