//! Flink's SQL types, how they are printed, and their Arrow types.

use crate::maps;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The length of STRING and BYTES: VARCHAR and VARBINARY without a bound.
pub const UNBOUNDED: u32 = i32::MAX as u32;

/// The number of bytes of a timestamp with more than six digits in a column: the seconds with an inverted sign bit and the nanoseconds,
/// both big-endian, so that the bytes sort in the order of the times.
pub const NANOS: i32 = 12;

/// A type without its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TypeKind {
    /// The type of a bare NULL.
    Null,
    /// BOOLEAN
    Boolean,
    /// TINYINT, 8 bits
    TinyInt,
    /// SMALLINT, 16 bits
    SmallInt,
    /// INT, 32 bits
    Int,
    /// BIGINT, 64 bits
    BigInt,
    /// FLOAT, 32 bits
    Float,
    /// DOUBLE, 64 bits
    Double,
    /// DECIMAL(precision, scale)
    Decimal(u8, u8),
    /// CHAR(length)
    Char(u32),
    /// VARCHAR(length); STRING when unbounded
    Varchar(u32),
    /// BINARY(length)
    Binary(u32),
    /// VARBINARY(length); BYTES when unbounded
    Varbinary(u32),
    /// DATE
    Date,
    /// TIME(digits)
    Time(u8),
    /// TIMESTAMP(digits), no zone
    Timestamp(u8),
    /// TIMESTAMP_LTZ(digits), a point in time
    TimestampLtz(u8),
    /// INTERVAL of years and months, held as months
    IntervalMonth,
    /// INTERVAL of days to seconds, held as milliseconds
    IntervalDay,
    /// ARRAY of a type
    Array(Box<SqlType>),
    /// MAP from a type to a type
    Map(Box<SqlType>, Box<SqlType>),
    /// MULTISET: values with their counts
    Multiset(Box<SqlType>),
    /// ROW of named fields
    Row(Vec<Field>),
}

/// A SQL type: its kind, and whether it is nullable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SqlType {
    /// The kind of the type.
    pub kind: TypeKind,
    /// Whether values may be NULL.
    pub nullable: bool,
}

/// A named column or field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// The name, in its original case.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
}

impl Field {
    /// Creates a field.
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Field { name: name.into(), ty }
    }
}

impl From<TypeKind> for SqlType {
    fn from(kind: TypeKind) -> Self {
        SqlType { kind, nullable: true }
    }
}

impl SqlType {
    /// STRING
    pub const STRING: SqlType = SqlType { kind: TypeKind::Varchar(UNBOUNDED), nullable: true };
    /// BYTES
    pub const BYTES: SqlType = SqlType { kind: TypeKind::Varbinary(UNBOUNDED), nullable: true };
    /// BOOLEAN
    pub const BOOLEAN: SqlType = SqlType { kind: TypeKind::Boolean, nullable: true };
    /// INT
    pub const INT: SqlType = SqlType { kind: TypeKind::Int, nullable: true };
    /// BIGINT
    pub const BIGINT: SqlType = SqlType { kind: TypeKind::BigInt, nullable: true };
    /// DOUBLE
    pub const DOUBLE: SqlType = SqlType { kind: TypeKind::Double, nullable: true };

    /// Sets the nullability.
    pub fn nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }
    /// The same type with NOT NULL.
    pub fn not_null(self) -> Self {
        self.nullable(false)
    }
    /// Whether it is CHAR or VARCHAR.
    pub fn is_text(&self) -> bool {
        matches!(self.kind, TypeKind::Char(_) | TypeKind::Varchar(_))
    }
    /// Whether it is BINARY or VARBINARY.
    pub fn is_bytes(&self) -> bool {
        matches!(self.kind, TypeKind::Binary(_) | TypeKind::Varbinary(_))
    }
    /// Whether it is an integer type.
    pub fn is_integer(&self) -> bool {
        matches!(self.kind, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt)
    }
    /// Whether it is FLOAT or DOUBLE.
    pub fn is_approximate(&self) -> bool {
        matches!(self.kind, TypeKind::Float | TypeKind::Double)
    }
    /// Whether it is a DECIMAL.
    pub fn is_decimal(&self) -> bool {
        matches!(self.kind, TypeKind::Decimal(..))
    }
    /// Whether it is any number.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || self.is_approximate() || self.is_decimal()
    }
    /// Whether it is TIMESTAMP or TIMESTAMP_LTZ.
    pub fn is_timestamp(&self) -> bool {
        matches!(self.kind, TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_))
    }
    /// Whether it is DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ.
    pub fn is_temporal(&self) -> bool {
        self.is_timestamp() || matches!(self.kind, TypeKind::Date | TypeKind::Time(_))
    }
    /// Whether it is of the same kind, regardless of lengths, precisions and element types.
    pub fn is_like(&self, other: &SqlType) -> bool {
        std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
    /// Whether it is an interval.
    pub fn is_interval(&self) -> bool {
        matches!(self.kind, TypeKind::IntervalMonth | TypeKind::IntervalDay)
    }
    /// Whether it is the type of a bare NULL.
    pub fn is_null(&self) -> bool {
        self.kind == TypeKind::Null
    }
    /// Whether it is ARRAY, MAP, MULTISET or ROW.
    pub fn is_nested(&self) -> bool {
        matches!(self.kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_))
    }
    /// The precision and scale of an exact number type. Integers have those that Flink assigns to them.
    pub fn as_decimal(&self) -> Option<(u8, u8)> {
        Some(match self.kind {
            TypeKind::TinyInt => (3, 0),
            TypeKind::SmallInt => (5, 0),
            TypeKind::Int => (10, 0),
            TypeKind::BigInt => (19, 0),
            TypeKind::Decimal(p, s) => (p, s),
            _ => return None,
        })
    }
    /// The number of fractional digits of a time type.
    pub fn time_digits(&self) -> Option<u8> {
        match self.kind {
            TypeKind::Time(p) | TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => Some(p),
            _ => None,
        }
    }
    /// The Arrow type for columns of this type.
    pub fn arrow(&self) -> DataType {
        // Nanoseconds in 64 bits only cover the years 1677 to 2262.
        let stamp = |p: u8, zone: Option<Arc<str>>| {
            if p > 6 { DataType::FixedSizeBinary(NANOS) } else { DataType::Timestamp(TimeUnit::Microsecond, zone) }
        };
        match &self.kind {
            TypeKind::Null => DataType::Null,
            TypeKind::Boolean => DataType::Boolean,
            TypeKind::TinyInt => DataType::Int8,
            TypeKind::SmallInt => DataType::Int16,
            TypeKind::Int => DataType::Int32,
            TypeKind::BigInt => DataType::Int64,
            TypeKind::Float => DataType::Float32,
            TypeKind::Double => DataType::Float64,
            TypeKind::Decimal(p, s) => DataType::Decimal128(*p, *s as i8),
            TypeKind::Char(_) | TypeKind::Varchar(_) => DataType::Utf8,
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => DataType::Binary,
            TypeKind::Date => DataType::Date32,
            TypeKind::Time(_) => DataType::Time32(TimeUnit::Millisecond),
            TypeKind::Timestamp(p) => stamp(*p, None),
            TypeKind::TimestampLtz(p) => stamp(*p, Some("UTC".into())),
            TypeKind::IntervalMonth => DataType::Int32,
            TypeKind::IntervalDay => DataType::Int64,
            TypeKind::Array(e) => DataType::List(Arc::new(ArrowField::new("item", e.arrow(), true))),
            TypeKind::Map(k, v) => maps::data_type(k.arrow(), v.arrow()),
            TypeKind::Multiset(e) => maps::data_type(e.arrow(), DataType::Int32),
            TypeKind::Row(fields) => DataType::Struct(
                fields.iter().map(|f| ArrowField::new(&f.name, f.ty.arrow(), true)).collect::<Fields>(),
            ),
        }
    }
}

/// Quotes a name for SQL.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeKind::Null => f.write_str("NULL"),
            TypeKind::Boolean => f.write_str("BOOLEAN"),
            TypeKind::TinyInt => f.write_str("TINYINT"),
            TypeKind::SmallInt => f.write_str("SMALLINT"),
            TypeKind::Int => f.write_str("INT"),
            TypeKind::BigInt => f.write_str("BIGINT"),
            TypeKind::Float => f.write_str("FLOAT"),
            TypeKind::Double => f.write_str("DOUBLE"),
            TypeKind::Decimal(p, s) => write!(f, "DECIMAL({p}, {s})"),
            TypeKind::Char(n) => write!(f, "CHAR({n})"),
            TypeKind::Varchar(UNBOUNDED) => f.write_str("STRING"),
            TypeKind::Varchar(n) => write!(f, "VARCHAR({n})"),
            TypeKind::Binary(n) => write!(f, "BINARY({n})"),
            TypeKind::Varbinary(UNBOUNDED) => f.write_str("BYTES"),
            TypeKind::Varbinary(n) => write!(f, "VARBINARY({n})"),
            TypeKind::Date => f.write_str("DATE"),
            TypeKind::Time(p) => write!(f, "TIME({p})"),
            TypeKind::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            TypeKind::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            TypeKind::IntervalMonth => f.write_str("INTERVAL MONTH"),
            TypeKind::IntervalDay => f.write_str("INTERVAL SECOND(3)"),
            TypeKind::Array(e) => write!(f, "ARRAY<{e}>"),
            TypeKind::Map(k, v) => write!(f, "MAP<{k}, {v}>"),
            TypeKind::Multiset(e) => write!(f, "MULTISET<{e}>"),
            TypeKind::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{} {}", quoted(&field.name), field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not_null = if self.nullable || self.is_null() { "" } else { " NOT NULL" };
        write!(f, "{}{not_null}", self.kind)
    }
}

/// The columns of a stream of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The columns in order.
    pub fields: Vec<Field>,
    arrow: SchemaRef,
}

impl Schema {
    /// Creates a schema with these columns.
    pub fn new(fields: Vec<Field>) -> Self {
        let arrow = fields.iter().map(|f| ArrowField::new(&f.name, f.ty.arrow(), true)).collect::<Vec<_>>();
        Schema { fields, arrow: Arc::new(ArrowSchema::new(arrow)) }
    }
    /// The schema in Arrow's types.
    pub fn arrow(&self) -> SchemaRef {
        self.arrow.clone()
    }
    /// The number of columns.
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    /// The position of the column with exactly this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
    /// The schema of some of the columns.
    pub fn project(&self, columns: &[usize]) -> Schema {
        Schema::new(columns.iter().map(|&c| self.fields[c].clone()).collect())
    }
}
