//! The Avro schema of a table's columns. It is the one that Flink derives, so that both systems read what the other one writes.

use serde_json::{Value as J, json};
use weir_core::{Error, Field, Result, SqlType, TypeKind};

/// The name that Flink gives a table's record.
pub(super) const RECORD: &str = "org.apache.flink.avro.generated.record";

/// The schema of a record with these fields.
///
/// # Errors
/// If Avro has no type for one of them.
pub(super) fn record(name: &str, fields: &[Field], legacy: bool) -> Result<J> {
    let all = fields.iter().map(|f| {
        let ty = of(&format!("{name}_{}", f.name), &f.ty, legacy)?;
        Ok(if f.ty.nullable {
            json!({"name": f.name, "type": ty, "default": null})
        } else {
            json!({"name": f.name, "type": ty})
        })
    });
    Ok(json!({"type": "record", "name": name, "fields": all.collect::<Result<Vec<J>>>()?}))
}

/// The schema of a type, as a union with null if the type is nullable.
pub(super) fn of(name: &str, ty: &SqlType, legacy: bool) -> Result<J> {
    let logical = |ty: &str, logical: &str| json!({"type": ty, "logicalType": logical});
    let none = || Error::script(format!("Avro has no type for {}", ty.kind));
    let plain = match &ty.kind {
        TypeKind::Null => return Ok(json!("null")),
        TypeKind::Boolean => json!("boolean"),
        TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int => json!("int"),
        TypeKind::BigInt => json!("long"),
        TypeKind::Float => json!("float"),
        TypeKind::Double => json!("double"),
        TypeKind::Char(_) | TypeKind::Varchar(_) => json!("string"),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => json!("bytes"),
        TypeKind::Decimal(p, s) => json!({"type": "bytes", "logicalType": "decimal", "precision": p, "scale": s}),
        TypeKind::Date => logical("int", "date"),
        TypeKind::Time(p) if *p <= 3 => logical("int", "time-millis"),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) if *p > 6 => {
            return Err(none().hint("Avro counts down to microseconds: TIMESTAMP(6)"));
        }
        TypeKind::Timestamp(p) => {
            let unit = if *p <= 3 { "millis" } else { "micros" };
            logical("long", &if legacy { format!("timestamp-{unit}") } else { format!("local-timestamp-{unit}") })
        }
        TypeKind::TimestampLtz(p) => logical("long", if *p <= 3 { "timestamp-millis" } else { "timestamp-micros" }),
        TypeKind::Array(e) => json!({"type": "array", "items": of(name, e, legacy)?}),
        TypeKind::Map(k, v) => {
            if !k.is_text() {
                return Err(Error::script(format!("a map in Avro has texts as keys, not {}", k.kind)));
            }
            json!({"type": "map", "values": of(name, v, legacy)?})
        }
        TypeKind::Multiset(k) if k.is_text() => json!({"type": "map", "values": "int"}),
        TypeKind::Row(fields) => record(name, fields, legacy)?,
        _ => return Err(none()),
    };
    Ok(if ty.nullable { json!(["null", plain]) } else { plain })
}
