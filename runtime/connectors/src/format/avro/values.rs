//! Conversion of Avro values to SQL values, and back.

use apache_avro::Decimal;
use apache_avro::schema::{Name, Schema};
use apache_avro::types::Value as Avro;
use arrow::datatypes::i256;
use std::collections::HashMap;
use weir_core::{Error, Field, SqlType, TypeKind, Value};
use weir_expr::arith::{fits, rescale};

const DAY: i64 = 86_400_000;

fn wrong(v: &Avro, ty: &SqlType) -> String {
    let shown: String = format!("{v:?}").chars().take(60).collect();
    format!("{shown} is no {}", ty.kind)
}

/// Converts a number of units to seconds and nanoseconds.
fn stamp(n: i64, units: i64, digits: u8) -> Value<'static> {
    let nanos = (n.rem_euclid(units) * (1_000_000_000 / units)) as u32;
    let unit = 10u32.pow(9 - u32::from(digits).min(9));
    Value::Timestamp(n.div_euclid(units), nanos / unit * unit)
}

/// The schema that records were written with, and the named types in it.
pub(super) struct Written {
    pub schema: Schema,
    names: HashMap<Name, Schema>,
}

impl Written {
    pub fn new(schema: Schema) -> Self {
        let mut names = HashMap::new();
        name_records(&schema, &mut names);
        Written { schema, names }
    }

    /// The type that a name in the schema refers to.
    pub fn named(&self, name: &Name) -> Option<&Schema> {
        self.names.get(name)
    }

    /// A type in the schema, with a reference resolved.
    fn part<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        match schema {
            Schema::Ref { name } => self.names.get(name).unwrap_or(schema),
            s => s,
        }
    }
}

fn name_records(schema: &Schema, names: &mut HashMap<Name, Schema>) {
    match schema {
        Schema::Record(r) => {
            names.insert(r.name.clone(), schema.clone());
            r.fields.iter().for_each(|f| name_records(&f.schema, names));
        }
        Schema::Enum(e) => drop(names.insert(e.name.clone(), schema.clone())),
        Schema::Fixed(f) => drop(names.insert(f.name.clone(), schema.clone())),
        Schema::Decimal(d) => name_records(&d.inner, names),
        Schema::Array(a) => name_records(&a.items, names),
        Schema::Map(m) => name_records(&m.types, names),
        Schema::Union(u) => u.variants().iter().for_each(|v| name_records(v, names)),
        _ => {}
    }
}

/// Converts a value to a type. Wider or narrower numbers, and texts, are accepted if they fit.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a type")]
pub(super) fn from_avro(v: &Avro, by: &Schema, all: &Written, ty: &SqlType) -> Result<Value<'static>, String> {
    let wrong = || wrong(v, ty);
    let by = all.part(by);
    let whole = |i: i64| match ty.kind {
        TypeKind::TinyInt => i8::try_from(i).is_ok(),
        TypeKind::SmallInt => i16::try_from(i).is_ok(),
        TypeKind::Int => i32::try_from(i).is_ok(),
        _ => true,
    };
    Ok(match (&ty.kind, v) {
        (_, Avro::Null) if ty.nullable => Value::Null,
        (_, Avro::Null) => return Err(format!("NULL for {} NOT NULL", ty.kind)),
        (_, Avro::Union(i, inner)) => match by {
            Schema::Union(u) => {
                from_avro(inner, u.variants().get(*i as usize).ok_or("an unknown part of a union")?, all, ty)?
            }
            _ => return Err(wrong()),
        },
        (TypeKind::Boolean, Avro::Boolean(b)) => Value::Bool(*b),
        (TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt, Avro::Int(_) | Avro::Long(_)) => {
            let i = long(v).ok_or_else(wrong)?;
            if !whole(i) {
                return Err(wrong());
            }
            Value::Int(i)
        }
        // Timestamps that a table reads as plain numbers.
        (TypeKind::Int, Avro::Date(d)) => Value::Int(i64::from(*d)),
        (TypeKind::Int, Avro::TimeMillis(t)) => Value::Int(i64::from(*t)),
        (
            TypeKind::BigInt,
            Avro::TimestampMillis(t)
            | Avro::TimestampMicros(t)
            | Avro::TimestampNanos(t)
            | Avro::LocalTimestampMillis(t)
            | Avro::LocalTimestampMicros(t)
            | Avro::LocalTimestampNanos(t)
            | Avro::TimeMicros(t),
        ) => Value::Int(*t),
        (TypeKind::Float, Avro::Float(f)) => Value::Float(*f),
        (TypeKind::Float, Avro::Int(i)) => Value::Float(*i as f32),
        (TypeKind::Double, Avro::Double(d)) => Value::Double(*d),
        (TypeKind::Double, Avro::Float(f)) => Value::Double(f64::from(*f)),
        (TypeKind::Double, Avro::Int(_) | Avro::Long(_)) => Value::Double(long(v).ok_or_else(wrong)? as f64),
        (TypeKind::Decimal(p, s), Avro::Decimal(d)) => {
            let Schema::Decimal(written) = by else { return Err(wrong()) };
            let number = big(d).ok_or_else(wrong)?;
            Value::Decimal(decimal(number, written.scale as u8, *p, *s).ok_or_else(wrong)?, *s)
        }
        (TypeKind::Decimal(p, s), Avro::Int(_) | Avro::Long(_)) => {
            let number = i128::from(long(v).ok_or_else(wrong)?);
            Value::Decimal(decimal(number, 0, *p, *s).ok_or_else(wrong)?, *s)
        }
        (TypeKind::Char(_) | TypeKind::Varchar(_), Avro::String(s) | Avro::Enum(_, s)) => Value::string(s.clone()),
        (TypeKind::Char(_) | TypeKind::Varchar(_), Avro::Uuid(u)) => Value::string(u.to_string()),
        (TypeKind::Binary(_) | TypeKind::Varbinary(_), Avro::Bytes(b) | Avro::Fixed(_, b)) => {
            Value::Bytes(b.clone().into())
        }
        (TypeKind::Date, Avro::Date(d) | Avro::Int(d)) => Value::Date(*d),
        (TypeKind::Time(_), Avro::TimeMillis(t) | Avro::Int(t)) if (0..DAY).contains(&i64::from(*t)) => Value::Time(*t),
        (TypeKind::Time(_), Avro::TimeMicros(t)) if (0..DAY * 1_000).contains(t) => Value::Time((t / 1_000) as i32),
        (TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p), t) => match t {
            Avro::TimestampMillis(t) | Avro::LocalTimestampMillis(t) | Avro::Long(t) => stamp(*t, 1_000, *p),
            Avro::TimestampMicros(t) | Avro::LocalTimestampMicros(t) => stamp(*t, 1_000_000, *p),
            Avro::TimestampNanos(t) | Avro::LocalTimestampNanos(t) => stamp(*t, 1_000_000_000, *p),
            _ => return Err(wrong()),
        },
        (TypeKind::Array(e), Avro::Array(items)) => {
            let Schema::Array(by) = by else { return Err(wrong()) };
            Value::List(items.iter().map(|v| from_avro(v, &by.items, all, e)).collect::<Result<_, _>>()?)
        }
        (TypeKind::Map(_, e), Avro::Map(items)) => {
            let Schema::Map(by) = by else { return Err(wrong()) };
            let value = |(k, v): (&String, &Avro)| Ok((Value::string(k.clone()), from_avro(v, &by.types, all, e)?));
            Value::Map(items.iter().map(value).collect::<Result<_, String>>()?)
        }
        (TypeKind::Multiset(_), Avro::Map(items)) => Value::Map(
            items
                .iter()
                .map(|(k, v)| Ok((Value::string(k.clone()), Value::Int(long(v).ok_or_else(wrong)?))))
                .collect::<Result<_, String>>()?,
        ),
        (TypeKind::Row(fields), Avro::Record(_)) => Value::Row(row(v, by, all, fields)?),
        _ => return Err(wrong()),
    })
}

/// The fields of a record by their names. A field that the record does not have is NULL.
pub(super) fn row(record: &Avro, by: &Schema, all: &Written, fields: &[Field]) -> Result<Vec<Value<'static>>, String> {
    let (Avro::Record(there), Schema::Record(by)) = (record, all.part(by)) else {
        return Err("it is no record".to_string());
    };
    let value = |f: &Field| match there.iter().zip(&by.fields).find(|((n, _), _)| *n == f.name) {
        Some(((_, v), by)) => from_avro(v, &by.schema, all, &f.ty).map_err(|why| format!("field '{}': {why}", f.name)),
        None if f.ty.nullable => Ok(Value::Null),
        None => Err(format!("the field '{}' is missing", f.name)),
    };
    fields.iter().map(value).collect()
}

/// Converts an unscaled decimal to another scale; none if it does not fit.
fn decimal(number: i128, from: u8, precision: u8, scale: u8) -> Option<i128> {
    fits(rescale(i256::from_i128(number), from, scale), precision)
}

fn long(v: &Avro) -> Option<i64> {
    match v {
        Avro::Int(i) => Some(i64::from(*i)),
        Avro::Long(i) => Some(*i),
        Avro::Union(_, inner) => long(inner),
        _ => None,
    }
}

/// The unscaled number of a decimal.
fn big(d: &Decimal) -> Option<i128> {
    let bytes = <Vec<u8>>::try_from(d).ok()?;
    if bytes.len() > 16 {
        return None;
    }
    let mut all = [if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xFF } else { 0 }; 16];
    all[16 - bytes.len()..].copy_from_slice(&bytes);
    Some(i128::from_be_bytes(all))
}

/// The error of a row that the schema cannot represent.
pub(super) fn no_fit(why: impl std::fmt::Display) -> Error {
    Error::data(format!("a row does not fit the Avro schema: {why}"))
}

/// Converts a value to the schema that [`super::schema::of`] derives from its type.
///
/// # Errors
/// If a map has a NULL key. It is an internal error if the value is not of the type.
pub(super) fn to_avro(v: &Value<'_>, ty: &SqlType, legacy: bool) -> weir_core::Result<Avro> {
    let mistaken = || Error::internal(format!("a value that is no {} is written as one: {v:?}", ty.kind));
    let int = |i: i64| i32::try_from(i).map_err(|_| mistaken());
    let plain = match (v, &ty.kind) {
        (Value::Null, TypeKind::Null) => return Ok(Avro::Null),
        (Value::Null, _) => return Ok(if ty.nullable { Avro::Union(0, Box::new(Avro::Null)) } else { Avro::Null }),
        (Value::Bool(b), _) => Avro::Boolean(*b),
        (Value::Int(i), TypeKind::BigInt) => Avro::Long(*i),
        (Value::Int(i), _) => Avro::Int(int(*i)?),
        (Value::Float(f), _) => Avro::Float(*f),
        (Value::Double(d), _) => Avro::Double(*d),
        (Value::Decimal(d, _), _) => Avro::Decimal(Decimal::from(d.to_be_bytes())),
        (Value::Text(t), _) => Avro::String(t.to_string()),
        (Value::Bytes(b), _) => Avro::Bytes(b.to_vec()),
        (Value::Date(d), _) => Avro::Date(*d),
        (Value::Time(t), _) => Avro::TimeMillis(*t),
        (Value::Timestamp(s, n), TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p)) => {
            let local = matches!(ty.kind, TypeKind::Timestamp(_)) && !legacy;
            let millis = s * 1_000 + i64::from(n / 1_000_000);
            let micros = s * 1_000_000 + i64::from(n / 1_000);
            match (*p <= 3, local) {
                (true, false) => Avro::TimestampMillis(millis),
                (true, true) => Avro::LocalTimestampMillis(millis),
                (false, false) => Avro::TimestampMicros(micros),
                (false, true) => Avro::LocalTimestampMicros(micros),
            }
        }
        (Value::List(items), TypeKind::Array(e)) => {
            Avro::Array(items.iter().map(|v| to_avro(v, e, legacy)).collect::<Result<_, _>>()?)
        }
        (Value::Map(items), TypeKind::Map(_, e)) => {
            let entry = |(k, v): &(Value<'_>, Value<'_>)| Ok((key(k)?, to_avro(v, e, legacy)?));
            Avro::Map(items.iter().map(entry).collect::<weir_core::Result<_>>()?)
        }
        (Value::Map(items), TypeKind::Multiset(_)) => {
            let entry = |(k, count): &(Value<'_>, Value<'_>)| {
                let count = count.as_i64().ok_or_else(mistaken)?;
                Ok((key(k)?, Avro::Int(int(count)?)))
            };
            Avro::Map(items.iter().map(entry).collect::<weir_core::Result<_>>()?)
        }
        (Value::Row(items), TypeKind::Row(fields)) => to_record(items.iter().zip(fields), legacy)?,
        _ => return Err(mistaken()),
    };
    Ok(if ty.nullable { Avro::Union(1, Box::new(plain)) } else { plain })
}

fn key(v: &Value<'_>) -> weir_core::Result<String> {
    v.as_str().map(str::to_string).ok_or_else(|| no_fit("a map has a NULL key, which Avro's have not"))
}

/// Converts values and their fields to a record.
///
/// # Errors
/// As [`to_avro`].
pub(super) fn to_record<'a>(
    items: impl Iterator<Item = (&'a Value<'a>, &'a Field)>,
    legacy: bool,
) -> weir_core::Result<Avro> {
    let fields = items.map(|(v, f)| Ok((f.name.clone(), to_avro(v, &f.ty, legacy)?)));
    Ok(Avro::Record(fields.collect::<weir_core::Result<_>>()?))
}
