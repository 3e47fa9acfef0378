//! The results of JSON_ARRAYAGG and JSON_OBJECTAGG.

use super::Typed;
use weir_core::key::decode_value;
use weir_core::{Result, Value};
use weir_expr::functions::{render_json, to_json};

/// Builds a JSON array of the values.
pub(super) fn array<'a>(
    list: impl Iterator<Item = &'a [u8]>,
    absent_on_null: bool,
    of: &Typed,
) -> Result<Value<'static>> {
    let (ty, mut items) = (of.arg(0)?, vec![]);
    for bytes in list {
        let value = of.decode(bytes)?;
        if !(absent_on_null && value.is_null()) {
            items.push(to_json(&value, ty).map_err(|why| of.refused(why))?);
        }
    }
    Ok(Value::string(render_json(&serde_json::Value::Array(items))))
}

/// Builds a JSON object of the pairs, in the order of the keys. Among equal keys the last one wins. A pair without a key is left out.
pub(super) fn object<'a>(
    list: impl Iterator<Item = &'a [u8]>,
    absent_on_null: bool,
    of: &Typed,
) -> Result<Value<'static>> {
    let ([of_key, of_value], ty) = (of.columns.as_slice(), of.arg(1)?) else { return Err(of.unfit()) };
    let mut map = serde_json::Map::new();
    for mut bytes in list {
        let (key, value) = (decode_value(of_key, &mut bytes)?, decode_value(of_value, &mut bytes)?);
        if let Some(key) = key.as_str()
            && !(absent_on_null && value.is_null())
        {
            map.insert(key.to_string(), to_json(&value, ty).map_err(|why| of.refused(why))?);
        }
    }
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::string(render_json(&serde_json::Value::Object(entries.into_iter().collect()))))
}
