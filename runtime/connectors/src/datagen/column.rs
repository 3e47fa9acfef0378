//! Generators of a column's values. Each value is a function of a random number that is drawn for it.

use crate::numbered::{mix, unit};
use crate::options::TableSpec;
use std::time::Duration;
use weir_core::option_spec::{FromParsed, Opt};
use weir_core::{Error, Result, SqlType, TypeKind, Value, choice, options};

/// Default number of elements of an array, map or multiset.
const ITEMS: usize = 3;

choice! {
    enum Made { AtRandom = "random", InSequence = "sequence" }
}

options! {
    /// The options of a column, or of a value nested in one.
    pub(super) OPTIONS:
    KIND: Made = Opt::one_of("fields.#.kind", "`random` values, or a `sequence` of numbers").default("random");
    START: i64 = Opt::whole("fields.#.start", i64::MIN, i64::MAX, "the first number of a sequence");
    END: i64 = Opt::whole(
        "fields.#.end",
        i64::MIN,
        i64::MAX,
        "the last number of a sequence, after which the source ends. Several subtasks generate different blocks of it at the same time",
    );
    MIN: String = Opt::text(
        "fields.#.min",
        "the lowest random number; by default the type's lowest for whole numbers, and 0 for others",
    );
    MAX: String = Opt::text(
        "fields.#.max",
        "the highest random number; by default the type's highest for whole numbers, 100 for DECIMAL (or less, if the type holds less), \
         and 1 for FLOAT and DOUBLE",
    );
    LENGTH: usize = Opt::whole(
        "fields.#.length",
        0,
        i64::MAX,
        "the length of texts and bytes, by default 100 or the type's maximum if that is less (CHAR and BINARY have their type's); for \
         ARRAY, MAP and MULTISET the number of elements, by default 3",
    );
    VARIES: bool = Opt::boolean("fields.#.var-len", "whether the length varies, from 1 to `length`").default("false");
    NULL_RATE: f64 = Opt::number("fields.#.null-rate", 0.0, 1.0, "the fraction of values that are NULL").default("0");
    PAST: Duration = Opt::duration("fields.#.max-past", "how far timestamps lie in the past at most").default("0");
}

#[derive(Clone)]
enum ValueGenerator {
    Sequence { start: i64, end: i64 },
    Range { min: f64, max: f64 },
    Whole { min: i64, max: i64 },
    Length { length: usize, varies: bool },
    Past { millis: i64 },
    List { items: usize, element: Box<GeneratedColumn> },
    Map { items: usize, key: Box<GeneratedColumn>, value: Box<GeneratedColumn> },
    Row(Vec<GeneratedColumn>),
    Any,
}

/// A column, or a value nested in one.
#[derive(Clone)]
pub(super) struct GeneratedColumn {
    pub ty: SqlType,
    kind: ValueGenerator,
    null_rate: f64,
}

/// The options of a column, or of a value nested in one, by its name.
struct Options<'a> {
    table: &'a TableSpec,
    column: String,
}

impl Options<'_> {
    fn get<T: FromParsed>(&self, option: &Opt<T>) -> Result<Option<T>> {
        self.table.get_at(option, &self.column)
    }

    fn value<T: FromParsed>(&self, option: &Opt<T>) -> Result<T> {
        self.table.value_at(option, &self.column)
    }

    /// A limit of random values, as a number of the column's type.
    fn limit<T: std::str::FromStr>(&self, option: &Opt<String>) -> Result<Option<T>> {
        let number = |t: String| t.trim().parse().map_err(|_| self.wrong(option, &format!("is a number, not '{t}'")));
        self.get(option)?.map(number).transpose()
    }

    fn wrong<T>(&self, option: &Opt<T>, why: &str) -> Error {
        let key = self.table.key_at(option, &self.column);
        Error::script(format!("option '{key}' {why}")).at(self.table.place_of_key(&key))
    }

    /// A range of whole numbers: the type's, or a smaller one that the script sets.
    fn whole(&self, low: i64, high: i64) -> Result<ValueGenerator> {
        let limit = |o: &Opt<String>, default: i64| -> Result<i64> {
            let n = self.limit(o)?.unwrap_or(default);
            if (low..=high).contains(&n) { Ok(n) } else { Err(self.wrong(o, &format!("is {low} to {high}, not {n}"))) }
        };
        let (min, max) = (limit(&MIN, low)?, limit(&MAX, high)?);
        if min > max {
            Err(self.wrong(&MIN, &format!("is {min}, more than the most ({max})")))
        } else {
            Ok(ValueGenerator::Whole { min, max })
        }
    }

    fn range(&self, default: f64) -> Result<ValueGenerator> {
        let (min, max) = (self.limit(&MIN)?.unwrap_or(0.0), self.limit(&MAX)?.unwrap_or(default));
        if min > max || !f64::is_finite(max - min) {
            return Err(self.wrong(&MIN, &format!("and its 'max' make no range: {min} to {max}")));
        }
        Ok(ValueGenerator::Range { min, max })
    }

    /// The length of texts or bytes. A CHAR or BINARY has the length of its type.
    fn length(&self, ty: &SqlType) -> Result<ValueGenerator> {
        let varies = self.value(&VARIES)?;
        let given = self.get(&LENGTH)?;
        let length = match ty.kind {
            TypeKind::Char(n) | TypeKind::Binary(n) => {
                if varies {
                    return Err(
                        self.wrong(&VARIES, &format!("goes with types whose length varies, not with {}", ty.kind))
                    );
                }
                if let Some(l) = given.filter(|l| *l != n as usize) {
                    return Err(self.wrong(&LENGTH, &format!("is {l}, and {} has its own", ty.kind)));
                }
                n as usize
            }
            TypeKind::Varchar(n) | TypeKind::Varbinary(n) => {
                if let Some(l) = given.filter(|l| *l > n as usize) {
                    return Err(self.wrong(&LENGTH, &format!("is {l}, which {} does not hold", ty.kind)));
                }
                given.unwrap_or(100.min(n as usize))
            }
            _ => given.unwrap_or(100),
        };
        Ok(ValueGenerator::Length { length, varies })
    }

    fn inner(&self, name: &str, ty: &SqlType) -> Result<Box<GeneratedColumn>> {
        let inner = Options { table: self.table, column: format!("{}.{name}", self.column) };
        Ok(Box::new(inner.column(ty)?))
    }

    fn items(&self) -> Result<usize> {
        Ok(self.get(&LENGTH)?.unwrap_or(ITEMS))
    }

    fn column(&self, ty: &SqlType) -> Result<GeneratedColumn> {
        let kind = match &ty.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
                self.length(ty)?
            }
            TypeKind::TinyInt => self.whole(i64::from(i8::MIN), i64::from(i8::MAX))?,
            TypeKind::SmallInt => self.whole(i64::from(i16::MIN), i64::from(i16::MAX))?,
            TypeKind::Int => self.whole(i64::from(i32::MIN), i64::from(i32::MAX))?,
            TypeKind::BigInt => self.whole(i64::MIN, i64::MAX)?,
            TypeKind::Decimal(p, s) => self.range((10f64.powi(i32::from(*p) - i32::from(*s))).min(100.0))?,
            _ if ty.is_numeric() => self.range(1.0)?,
            _ if ty.is_timestamp() => ValueGenerator::Past { millis: self.value(&PAST)?.as_millis() as i64 },
            TypeKind::Array(e) => ValueGenerator::List { items: self.items()?, element: self.inner("element", e)? },
            TypeKind::Multiset(e) => {
                let once = GeneratedColumn {
                    ty: SqlType::from(TypeKind::Int),
                    kind: ValueGenerator::Whole { min: 1, max: 1 },
                    null_rate: 0.0,
                };
                ValueGenerator::Map { items: self.items()?, key: self.inner("element", e)?, value: Box::new(once) }
            }
            TypeKind::Map(k, v) => {
                ValueGenerator::Map { items: self.items()?, key: self.inner("key", k)?, value: self.inner("value", v)? }
            }
            TypeKind::Row(fields) => {
                let field = |f: &weir_core::Field| self.inner(&f.name, &f.ty).map(|c| *c);
                ValueGenerator::Row(fields.iter().map(field).collect::<Result<_>>()?)
            }
            TypeKind::Boolean | TypeKind::Date | TypeKind::Time(_) => ValueGenerator::Any,
            other => {
                let e = Error::script(format!("datagen makes no {other} ('{}')", self.column));
                return Err(e.at(self.table.place));
            }
        };
        Ok(GeneratedColumn { ty: ty.clone(), kind, null_rate: self.value(&NULL_RATE)? })
    }
}

impl GeneratedColumn {
    /// A table's column from its options, and how many values it has if it is a sequence.
    ///
    /// # Errors
    /// If an option is invalid, or values of the type cannot be generated.
    pub fn new(table: &TableSpec, name: &str, ty: &SqlType) -> Result<(Self, Option<u64>)> {
        let options = Options { table, column: name.to_string() };
        match options.value(&KIND)? {
            Made::AtRandom => Ok((options.column(ty)?, None)),
            Made::InSequence => {
                let sequenced = ty.is_text() || ty.is_integer() || ty.is_numeric();
                if !sequenced {
                    return Err(
                        options.wrong(&KIND, &format!("is 'sequence', and there is no sequence of {}", ty.kind))
                    );
                }
                let (start, end) = (options.value(&START)?, options.value(&END)?);
                let length = (i128::from(end) - i128::from(start) + 1).clamp(0, i128::from(i64::MAX)) as u64;
                let kind = ValueGenerator::Sequence { start, end };
                Ok((GeneratedColumn { ty: ty.clone(), kind, null_rate: options.value(&NULL_RATE)? }, Some(length)))
            }
        }
    }

    /// The value of a row in the column with number `index`. Timestamps are at or before `now`, in milliseconds since 1970.
    pub fn value(&self, seed: u64, row: u64, index: u64, now: i64) -> Value<'static> {
        if self.null_rate > 0.0 && unit(mix(seed, row, index + 1_000)) < self.null_rate {
            return Value::Null;
        }
        self.made(mix(seed, row, index), row, now)
    }

    /// A value nested in another one, for which `n` was drawn.
    fn inside(&self, n: u64, place: usize, part: u64, now: i64) -> Value<'static> {
        self.value(n, place as u64, part, now)
    }

    fn made(&self, n: u64, row: u64, now: i64) -> Value<'static> {
        match (&self.kind, &self.ty.kind) {
            (ValueGenerator::Sequence { start, end }, kind) => {
                let width = (i128::from(*end) - i128::from(*start) + 1).max(1);
                let v = (i128::from(*start) + i128::from(row) % width) as i64;
                match kind {
                    TypeKind::Char(_) | TypeKind::Varchar(_) => Value::string(v.to_string()),
                    TypeKind::Float => Value::Float(v as f32),
                    TypeKind::Double => Value::Double(v as f64),
                    TypeKind::Decimal(_, s) => Value::Decimal(i128::from(v) * 10i128.pow(u32::from(*s)), *s),
                    _ => Value::Int(v),
                }
            }
            (ValueGenerator::Whole { min, max }, _) => {
                let width = (i128::from(*max) - i128::from(*min) + 1).max(1) as u128;
                Value::Int((i128::from(*min) + (u128::from(n) % width) as i128) as i64)
            }
            (ValueGenerator::Range { min, max }, kind) => {
                let v = min + unit(n) * (max - min);
                match kind {
                    TypeKind::Decimal(p, s) => {
                        let most = 10i128.pow(u32::from(*p)) - 1;
                        Value::Decimal(((v * 10f64.powi(i32::from(*s))) as i128).clamp(-most, most), *s)
                    }
                    TypeKind::Float => Value::Float(v as f32),
                    _ => Value::Double(v),
                }
            }
            (ValueGenerator::Length { length, varies }, kind) => {
                let length = if *varies { 1 + n as usize % (*length).max(1) } else { *length };
                let digits = b"0123456789abcdef";
                let text: Vec<u8> =
                    (0..length).map(|i| digits[(mix(n, i as u64 / 16, 7) >> (4 * (i % 16)) & 15) as usize]).collect();
                match kind {
                    TypeKind::Binary(_) | TypeKind::Varbinary(_) => Value::Bytes(text.into()),
                    _ => Value::string(String::from_utf8(text).unwrap_or_default()),
                }
            }
            (ValueGenerator::Past { millis }, _) => {
                let past = now - if *millis > 0 { (n % *millis as u64) as i64 } else { 0 };
                Value::Timestamp(past.div_euclid(1000), past.rem_euclid(1000) as u32 * 1_000_000)
            }
            (ValueGenerator::List { items, element }, _) => {
                Value::List((0..*items).map(|i| element.inside(n, i, 1, now)).collect())
            }
            (ValueGenerator::Map { items, key, value }, _) => {
                let mut all: Vec<(Value<'static>, Value<'static>)> = vec![];
                for i in 0..*items {
                    let (k, v) = (key.inside(n, i, 1, now), value.inside(n, i, 2, now));
                    match all.iter_mut().find(|(there, _)| *there == k) {
                        Some((_, there)) => *there = v,
                        None => all.push((k, v)),
                    }
                }
                Value::Map(all)
            }
            (ValueGenerator::Row(fields), _) => {
                Value::Row(fields.iter().enumerate().map(|(i, f)| f.inside(n, 0, i as u64 + 1, now)).collect())
            }
            (_, TypeKind::Boolean) => Value::Bool(n & 1 == 1),
            (_, TypeKind::Date) => Value::Date(now.div_euclid(86_400_000) as i32),
            (_, TypeKind::Time(_)) => Value::Time((n % 86_400_000) as i32),
            _ => Value::Null,
        }
    }
}
