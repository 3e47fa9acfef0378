//! Functions of arrays, maps and rows.

use super::arguments;
use super::size;
use super::table::*;
use crate::equality::{Equality, Identity, equals};
use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

pub(super) const ALL: &[Definition] = &[
    def("CARDINALITY", &[Any], (1, 1), Type(int), Strict(cardinality)),
    def("ELEMENT", &[Array], (1, 1), Of(item_or_null), Strict(element)),
    def("ITEM", &[Any, Any], (2, 2), Of(item_type), Strict(item)),
    def("ARRAY", &[Any], (1, MANY), Of(array_type), Lenient(|a, _| Ok(Value::List(own(a))))),
    def("MAP", &[Any], (2, MANY), Of(map_type), Lenient(map)),
    def("ROW", &[Any], (1, MANY), Of(row_type), Lenient(|a, _| Ok(Value::Row(own(a))))),
    def("ARRAY_CONTAINS", &[Array, Any], (2, 2), Of(contains_type), Lenient(contains)),
    def("ARRAY_POSITION", &[Array, Any], (2, 2), Type(int), Lenient(position)),
    def("ARRAY_DISTINCT", &[Array], (1, 1), First, Strict(|a, _| Ok(Value::List(distinct(list(a, 0)))))),
    def(
        "ARRAY_REVERSE",
        &[Array],
        (1, 1),
        First,
        Strict(|a, _| Ok(Value::List(list(a, 0).into_iter().rev().collect()))),
    ),
    def(
        "ARRAY_CONCAT",
        &[Array],
        (1, MANY),
        Of(common),
        Strict(|a, _| Ok(Value::List((0..a.len()).flat_map(|i| list(a, i)).collect()))),
    ),
    def(
        "ARRAY_UNION",
        &[Array],
        (2, 2),
        Of(common),
        Strict(|a, _| Ok(Value::List(distinct(list(a, 0).into_iter().chain(list(a, 1)).collect())))),
    ),
    def("ARRAY_INTERSECT", &[Array], (2, 2), Of(common), Strict(|a, _| Ok(among(a, true)))),
    def("ARRAY_EXCEPT", &[Array], (2, 2), Of(common), Strict(|a, _| Ok(among(a, false)))),
    def("ARRAY_APPEND", &[Array, Any], (2, 2), Of(with_item), Lenient(|a, _| joined(a, false))),
    def("ARRAY_PREPEND", &[Array, Any], (2, 2), Of(with_item), Lenient(|a, _| joined(a, true))),
    def("ARRAY_REMOVE", &[Array, Any], (2, 2), First, Lenient(remove)),
    def("ARRAY_SLICE", &[Array, Int, Int], (2, 3), First, Strict(slice)),
    def("ARRAY_SORT", &[Array, Bool, Bool], (1, 3), Of(sorted), Strict(sort)),
    def("ARRAY_MAX", &[Array], (1, 1), Of(greatest), Strict(|a, _| Ok(extreme(a, Ordering::Greater)))),
    def("ARRAY_MIN", &[Array], (1, 1), Of(greatest), Strict(|a, _| Ok(extreme(a, Ordering::Less)))),
    def("ARRAY_JOIN", &[Array, Text, Text], (2, 3), MaybeNull(string), Lenient(join)),
    def(
        "MAP_KEYS",
        &[Map],
        (1, 1),
        Of(|a| part(a, true)),
        Strict(|a, _| Ok(Value::List(entries(a, 0).into_iter().map(|(k, _)| k).collect()))),
    ),
    def(
        "MAP_VALUES",
        &[Map],
        (1, 1),
        Of(|a| part(a, false)),
        Strict(|a, _| Ok(Value::List(entries(a, 0).into_iter().map(|(_, v)| v).collect()))),
    ),
    def(
        "MAP_ENTRIES",
        &[Map],
        (1, 1),
        Of(entries_type),
        Strict(|a, _| Ok(Value::List(entries(a, 0).into_iter().map(|(k, v)| Value::Row(vec![k, v])).collect()))),
    ),
    def(
        "MAP_FROM_ARRAYS",
        &[Array],
        (2, 2),
        Of(zipped),
        Strict(|a, _| {
            let (k, v) = (list(a, 0), list(a, 1));
            if k.len() != v.len() {
                return Err(format!("the arrays differ in length: {} keys, {} values", k.len(), v.len()));
            }
            Ok(Value::Map(k.into_iter().zip(v).collect()))
        }),
    ),
    def("MAP_FROM_ENTRIES", &[Array], (1, 1), Of(from_entries_type), Strict(from_entries)),
    def(
        "MAP_UNION",
        &[Map],
        (1, MANY),
        Of(common),
        Strict(|a, _| Ok(Value::Map((1..a.len()).fold(entries(a, 0), |all, i| united(all, entries(a, i)))))),
    ),
];

fn own(a: &[Value<'_>]) -> Vec<Value<'static>> {
    a.iter().cloned().map(Value::into_owned).collect()
}

fn list(a: &[Value<'_>], at: usize) -> Vec<Value<'static>> {
    match &a[at] {
        Value::List(l) => own(l),
        _ => vec![],
    }
}

/// The entries of a map.
type Entries = Vec<(Value<'static>, Value<'static>)>;

fn entries(a: &[Value<'_>], at: usize) -> Entries {
    match &a[at] {
        Value::Map(m) => m.iter().cloned().map(|(k, v)| (k.into_owned(), v.into_owned())).collect(),
        _ => vec![],
    }
}

/// Builds a map from pairs. A repeated key keeps its position and gets the later value.
fn put_all(pairs: impl Iterator<Item = (Value<'static>, Value<'static>)>) -> Value<'static> {
    let pairs: Entries = pairs.collect();
    let mut places: HashMap<Identity<'_>, usize> = HashMap::with_capacity(pairs.len());
    // For each entry of the map, the pairs from which its key and its value come.
    let mut from: Vec<(usize, usize)> = vec![];
    for (i, (k, _)) in pairs.iter().enumerate() {
        match places.entry(Identity(k)) {
            Entry::Occupied(at) => from[*at.get()].1 = i,
            Entry::Vacant(free) => {
                free.insert(from.len());
                from.push((i, i));
            }
        }
    }
    drop(places);
    let (mut keys, mut values): (Vec<_>, Vec<_>) = pairs.into_iter().map(|(k, v)| (Some(k), Some(v))).unzip();
    let take = |all: &mut Vec<Option<Value<'static>>>, i: usize| all[i].take().unwrap_or(Value::Null);
    Value::Map(from.into_iter().map(|(k, v)| (take(&mut keys, k), take(&mut values, v))).collect())
}

/// The entries of a map, followed by those of an older one whose keys it does not have.
fn united(old: Entries, new: Entries) -> Entries {
    let known: HashSet<Equality<'_>> = new.iter().map(|(k, _)| k).filter(|k| equals(k, k)).map(Equality).collect();
    let rest: Entries = old.into_iter().filter(|(k, _)| !known.contains(&Equality(k))).collect();
    drop(known);
    new.into_iter().chain(rest).collect()
}

/// Removes duplicates, and keeps the first occurrence of each value.
fn distinct(mut items: Vec<Value<'static>>) -> Vec<Value<'static>> {
    let mut seen = HashSet::with_capacity(items.len());
    // Values that do not equal themselves are not added to the set, where they would accumulate.
    let first: Vec<bool> = items.iter().map(|v| !equals(v, v) || seen.insert(Equality(v))).collect();
    drop(seen);
    let mut first = first.into_iter();
    items.retain(|_| first.next().unwrap_or(false));
    items
}

/// The distinct values of the first array that are in the second one, or that are not. As in Flink, equal values must also have the same
/// hash code: NaN is never found, and −0 differs from 0.
fn among(a: &[Value<'_>], wanted: bool) -> Value<'static> {
    let (Value::List(left), Value::List(right)) = (&a[0], &a[1]) else {
        return Value::Null;
    };
    let right: HashSet<Identity<'_>> = right.iter().map(Identity).collect();
    let (mut seen, mut found) = (HashSet::new(), vec![]);
    for v in left {
        let kept = match equals(v, v) {
            true => right.contains(&Identity(v)) == wanted && seen.insert(Identity(v)),
            false => !wanted,
        };
        if kept {
            found.push(v.clone().into_owned());
        }
    }
    Value::List(found)
}

fn item_of(t: &SqlType) -> SqlType {
    match &t.kind {
        T::Array(e) | T::Multiset(e) => *e.clone(),
        T::Map(_, v) => *v.clone(),
        _ => SqlType::from(T::Null),
    }
}

fn item_or_null(a: &[Expr]) -> Result<SqlType, String> {
    Ok(item_of(&a[0].ty()).nullable(true))
}

/// Rejects an array whose items have no order.
fn check_order(array: &SqlType) -> Result<(), String> {
    let item = item_of(array);
    match item.is_nested() || item.kind == T::Boolean {
        true => Err(format!("{} has no order", item.kind)),
        false => Ok(()),
    }
}

fn sorted(a: &[Expr]) -> Result<SqlType, String> {
    check_order(&a[0].ty())?;
    Ok(a[0].ty().nullable(a.iter().any(|e| e.ty().nullable)))
}

fn greatest(a: &[Expr]) -> Result<SqlType, String> {
    check_order(&a[0].ty())?;
    item_or_null(a)
}

fn item_type(a: &[Expr]) -> Result<SqlType, String> {
    match (&a[0].ty().kind, &a[1].ty()) {
        (T::Array(_), i) if i.is_integer() => item_or_null(a),
        (T::Array(_), i) => Err(format!("an array is indexed by a whole number, not {}", i.kind)),
        (T::Map(k, _), i) if super::common_type(&[*k.clone(), i.clone()]).is_some() => item_or_null(a),
        (T::Map(k, _), i) => Err(format!("the map's keys are {}, not {}", k.kind, i.kind)),
        _ => Err("only arrays and maps have elements".to_string()),
    }
}

fn array_type(a: &[Expr]) -> Result<SqlType, String> {
    let types: Vec<SqlType> = a.iter().map(Expr::ty).collect();
    let item = super::branch_type(&types).ok_or_else(|| "an array's elements must have one type".to_string())?;
    Ok(SqlType::from(T::Array(Box::new(item))).not_null())
}

fn map_type(a: &[Expr]) -> Result<SqlType, String> {
    if a.len() % 2 == 1 {
        return Err("a map takes keys and values in turn".to_string());
    }
    let every = |first: usize| {
        let types: Vec<SqlType> = a.iter().skip(first).step_by(2).map(Expr::ty).collect();
        super::common_type(&types).ok_or_else(|| "a map's keys have one type, and its values".to_string())
    };
    // The values may all be NULL, but not the keys.
    let nulls = a.iter().skip(1).step_by(2).all(|v| v.ty().is_null());
    let value = if nulls { SqlType::from(T::Null) } else { every(1)? };
    Ok(SqlType::from(T::Map(Box::new(every(0)?), Box::new(value))).not_null())
}

fn row_type(a: &[Expr]) -> Result<SqlType, String> {
    let fields = a.iter().enumerate().map(|(i, e)| weir_core::Field::new(format!("EXPR${i}"), e.ty())).collect();
    Ok(SqlType::from(T::Row(fields)).not_null())
}

fn contains_type(a: &[Expr]) -> Result<SqlType, String> {
    common_item(a)?;
    Ok(SqlType::BOOLEAN.nullable(a[0].ty().nullable))
}

fn common_item(a: &[Expr]) -> Result<SqlType, String> {
    super::common_type(&[item_of(&a[0].ty()), a[1].ty()])
        .ok_or_else(|| format!("the array holds {}, not {}", item_of(&a[0].ty()).kind, a[1].ty().kind))
}

fn with_item(a: &[Expr]) -> Result<SqlType, String> {
    Ok(SqlType::from(T::Array(Box::new(common_item(a)?))).nullable(a[0].ty().nullable))
}

fn part(a: &[Expr], key: bool) -> Result<SqlType, String> {
    let t = a[0].ty();
    match &t.kind {
        T::Map(k, v) => Ok(SqlType::from(T::Array(if key { k.clone() } else { v.clone() })).nullable(t.nullable)),
        _ => Err("takes a map".to_string()),
    }
}

fn entries_type(a: &[Expr]) -> Result<SqlType, String> {
    let t = a[0].ty();
    match &t.kind {
        T::Map(k, v) => {
            let fields = vec![weir_core::Field::new("key", *k.clone()), weir_core::Field::new("value", *v.clone())];
            Ok(SqlType::from(T::Array(Box::new(SqlType::from(T::Row(fields))))).nullable(t.nullable))
        }
        _ => Err("takes a map".to_string()),
    }
}

fn zipped(a: &[Expr]) -> Result<SqlType, String> {
    let nullable = a.iter().any(|e| e.ty().nullable);
    let kind = T::Map(Box::new(item_of(&a[0].ty())), Box::new(item_of(&a[1].ty())));
    Ok(SqlType::from(kind).nullable(nullable))
}

fn from_entries_type(a: &[Expr]) -> Result<SqlType, String> {
    match item_of(&a[0].ty()).kind {
        T::Row(f) if f.len() == 2 => Ok(SqlType::from(T::Map(Box::new(f[0].ty.clone()), Box::new(f[1].ty.clone())))),
        _ => Err("takes an array of rows with two fields".to_string()),
    }
}

fn from_entries(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let rows = list(a, 0).into_iter().filter_map(|v| match v {
        Value::Row(mut r) if r.len() == 2 => {
            let value = r.pop()?;
            Some((r.pop()?, value))
        }
        _ => None,
    });
    Ok(put_all(rows))
}

fn cardinality(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    match &a[0] {
        Value::List(l) => Ok(Value::Int(l.len() as i64)),
        Value::Map(m) => Ok(Value::Int(m.len() as i64)),
        _ => Err("takes an array, a map or a multiset".to_string()),
    }
}

fn element(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let mut items = list(a, 0);
    match items.len() {
        0 => Ok(Value::Null),
        1 => Ok(items.remove(0)),
        n => Err(format!("the array has {n} elements, not one")),
    }
}

fn item(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    Ok(match (&a[0], &a[1]) {
        (Value::List(l), Value::Int(i)) => {
            if *i == 0 {
                return Err("elements of an array are counted from 1".to_string());
            }
            usize::try_from(*i - 1).ok().and_then(|i| l.get(i)).cloned().unwrap_or(Value::Null).into_owned()
        }
        (Value::Map(m), key) => {
            let T::Map(k, _) = &c.types[0].kind else {
                return Ok(Value::Null);
            };
            let key = crate::cast::cast_value(key.clone(), &c.types[1], k, &c.session.zone)?;
            m.iter().find(|(k, _)| equals(k, &key)).map_or(Value::Null, |(_, v)| v.clone().into_owned())
        }
        _ => Value::Null,
    })
}

fn map(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let T::Map(k, v) = &c.ty.kind else {
        return Ok(Value::Null);
    };
    let mut pairs = vec![];
    for at in (0..a.len()).step_by(2) {
        let cast = |at: usize, to: &SqlType| crate::cast::cast_value(a[at].clone(), &c.types[at], to, &c.session.zone);
        pairs.push((cast(at, k)?, cast(at + 1, v)?));
    }
    Ok(put_all(pairs.into_iter()))
}

fn contains(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(match &a[0] {
        Value::List(l) => Value::Bool(l.iter().any(|v| equals(v, &a[1]))),
        _ => Value::Null,
    })
}

fn position(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(match (&a[0], &a[1]) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::List(l), v) => Value::Int(l.iter().position(|o| equals(o, v)).map_or(0, |p| p as i64 + 1)),
        _ => Value::Null,
    })
}

fn joined(a: &[Value<'_>], front: bool) -> Outcome {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let mut items = list(a, 0);
    let v = a[1].clone().into_owned();
    if front {
        items.insert(0, v)
    } else {
        items.push(v)
    }
    Ok(Value::List(items))
}

fn remove(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    Ok(Value::List(list(a, 0).into_iter().filter(|v| !equals(v, &a[1])).collect()))
}

fn slice(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let items = list(a, 0);
    let n = items.len() as i64;
    let place = |v: i64| if v < 0 { n + v + 1 } else { v };
    let from = place(arguments::int(&a[1])).max(1);
    let to = a.get(2).and_then(Value::as_i64).map_or(n, place).min(n);
    let length = to.saturating_sub(from).saturating_add(1).max(0);
    Ok(Value::List(items.into_iter().skip(from as usize - 1).take(length as usize).collect()))
}

/// Compares two values of one type. NULL comes first.
pub(super) fn order(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Int(x), Value::Int(y)) => x.cmp(y),
        (Value::Decimal(x, _), Value::Decimal(y, _)) => x.cmp(y),
        (Value::Date(x), Value::Date(y)) | (Value::Time(x), Value::Time(y)) => x.cmp(y),
        (Value::Timestamp(s, n), Value::Timestamp(t, m)) => (s, n).cmp(&(t, m)),
        (Value::List(x), Value::List(y)) | (Value::Row(x), Value::Row(y)) => {
            x.iter().zip(y).map(|(a, b)| order(a, b)).find(|o| o.is_ne()).unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (x, y) => match (x.as_f64(), y.as_f64()) {
            (Some(x), Some(y)) => x.total_cmp(&y),
            _ => x.as_bytes().cmp(&y.as_bytes()),
        },
    }
}

/// Java sorts lists with fewer items than this by binary insertion.
const SHORT: usize = 32;

/// Sorts a few floating point numbers with the algorithm of Java's sort and the comparator of Flink. That comparator treats a value as less
/// than another one unless it is greater, so it is inconsistent for equal values and NaN, and the result depends on the algorithm.
fn sort_short(mut items: Vec<Value<'static>>, ascending: bool, nulls_first: bool) -> Vec<Value<'static>> {
    let before = |x: &Value<'_>, y: &Value<'_>| match (x.is_null(), y.is_null()) {
        (true, true) => false,
        (true, false) => nulls_first,
        (false, true) => !nulls_first,
        _ => (x.as_f64().partial_cmp(&y.as_f64()) == Some(Ordering::Greater)) != ascending,
    };
    let falling = items.len() > 1 && before(&items[1], &items[0]);
    let mut run = items.len().min(2);
    while run < items.len() && before(&items[run], &items[run - 1]) == falling {
        run += 1;
    }
    if falling {
        items[..run].reverse();
    }
    for at in run..items.len() {
        let (mut low, mut high) = (0, at);
        while low < high {
            let middle = (low + high) / 2;
            match before(&items[at], &items[middle]) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        items[low..=at].rotate_right(1);
    }
    items
}

fn sort(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let ascending = a.get(1).and_then(Value::as_bool).unwrap_or(true);
    let nulls_first = a.get(2).and_then(Value::as_bool).unwrap_or(ascending);
    let all = list(a, 0);
    if all.len() < SHORT && all.iter().any(|v| matches!(v, Value::Float(_) | Value::Double(_))) {
        return Ok(Value::List(sort_short(all, ascending, nulls_first)));
    }
    let (nulls, mut items): (Vec<_>, Vec<_>) = all.into_iter().partition(Value::is_null);
    items.sort_by(|x, y| if ascending { order(x, y) } else { order(y, x) });
    Ok(Value::List(if nulls_first { [nulls, items].concat() } else { [items, nulls].concat() }))
}

/// The first value that no other one exceeds. As with Java's operators, NaN neither exceeds anything nor is exceeded.
fn extreme(a: &[Value<'_>], wanted: Ordering) -> Value<'static> {
    let items = list(a, 0).into_iter().filter(|v| !v.is_null());
    let beyond = |x: &Value<'_>, y: &Value<'_>| match (x, y) {
        (Value::Float(x), Value::Float(y)) => x.partial_cmp(y) == Some(wanted),
        (Value::Double(x), Value::Double(y)) => x.partial_cmp(y) == Some(wanted),
        (x, y) => order(x, y) == wanted,
    };
    items.reduce(|x, y| if beyond(&y, &x) { y } else { x }).unwrap_or(Value::Null)
}

fn join(a: &[Value<'_>], c: &Call<'_>) -> Outcome {
    let (Value::List(items), Some(between)) = (&a[0], a[1].as_str()) else {
        return Ok(Value::Null);
    };
    let item = item_of(&c.types[0]);
    if !item.is_text() {
        return Err("takes an array of text".to_string());
    }
    let instead = match a.get(2) {
        Some(Value::Null) => return Ok(Value::Null),
        instead => instead.and_then(Value::as_str),
    };
    let parts: Vec<&str> = items.iter().filter_map(|v| v.as_str().or(instead)).collect();
    size::fits(parts.iter().map(|p| p.len() + between.len()).sum())?;
    Ok(Value::string(parts.join(between)))
}
