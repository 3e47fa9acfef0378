//! DataFusion's scalar functions whose names Flink does not use.

use super::{plain, size};
use crate::context::EvalContext;
use crate::expr::{Expr, Function};
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, Volatility};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use weir_core::{Error, Result, SqlType, TypeKind, Value, builder};

fn all() -> &'static BTreeMap<String, Arc<ScalarUDF>> {
    static ALL: OnceLock<BTreeMap<String, Arc<ScalarUDF>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut map = BTreeMap::new();
        let functions = datafusion_functions::all_default_functions();
        for f in functions.into_iter().chain(datafusion_functions_nested::all_default_nested_functions()) {
            for name in f.aliases().iter().map(String::as_str).chain([f.name()]) {
                map.insert(name.to_ascii_uppercase(), f.clone());
            }
        }
        map
    })
}

/// The names of the functions, in capitals.
pub(super) fn names() -> impl Iterator<Item = String> {
    all().keys().cloned()
}

/// The SQL type of a function's result; none if SQL has no such type.
fn sql_type(ty: &DataType) -> Option<TypeKind> {
    Some(match ty {
        DataType::Null => TypeKind::Null,
        DataType::Boolean => TypeKind::Boolean,
        DataType::Int8 => TypeKind::TinyInt,
        DataType::Int16 | DataType::UInt8 => TypeKind::SmallInt,
        DataType::Int32 | DataType::UInt16 => TypeKind::Int,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => TypeKind::BigInt,
        DataType::Float16 | DataType::Float32 => TypeKind::Float,
        DataType::Float64 => TypeKind::Double,
        DataType::Decimal128(p, s) if *s >= 0 => TypeKind::Decimal(*p, *s as u8),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => super::table::string(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            super::table::bytes()
        }
        DataType::Date32 | DataType::Date64 => TypeKind::Date,
        DataType::Time32(_) | DataType::Time64(_) => TypeKind::Time(3),
        DataType::Timestamp(unit, tz) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            if tz.is_some() { TypeKind::TimestampLtz(digits) } else { TypeKind::Timestamp(digits) }
        }
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
            TypeKind::Array(Box::new(sql_type(f.data_type())?.into()))
        }
        DataType::Struct(fields) => TypeKind::Row(
            fields
                .iter()
                .map(|f| Some(weir_core::Field::new(f.name(), sql_type(f.data_type())?.into())))
                .collect::<Option<_>>()?,
        ),
        DataType::Map(f, _) => match f.data_type() {
            DataType::Struct(kv) => TypeKind::Map(
                Box::new(sql_type(kv[0].data_type())?.into()),
                Box::new(sql_type(kv[1].data_type())?.into()),
            ),
            _ => return None,
        },
        DataType::Dictionary(_, v) => sql_type(v)?,
        _ => return None,
    })
}

/// Binds a call, if there is such a function. Some functions panic on unexpected arguments; such a panic becomes an error.
pub(super) fn bind(name: &str, args: Vec<Expr>) -> Result<Option<Expr>> {
    let Some(function) = all().get(name) else {
        return Ok(None);
    };
    let types = args.iter().map(|a| a.ty().kind.to_string()).collect::<Vec<_>>().join(", ");
    if args.is_empty() && !function.signature().type_signature.supports_zero_argument() {
        return Err(Error::script(format!("{name} cannot be called without arguments")));
    }
    weir_core::panics::caught(|| bound(name, function, args))
        .unwrap_or_else(|_| Err(Error::script(format!("{name}({types}) cannot be called like this"))))
        .map(Some)
}

fn bound(name: &str, function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Result<Expr> {
    let wrong = |e: datafusion_common::DataFusionError| {
        let types = args.iter().map(|a| a.ty().kind.to_string()).collect::<Vec<_>>().join(", ");
        let first = e.strip_backtrace();
        let first = first.lines().next().unwrap_or_default().to_string();
        Error::script(format!("{name}({types}) cannot be called like this: {first}"))
    };
    let fields: Vec<FieldRef> = args
        .iter()
        .enumerate()
        .map(|(i, a)| Arc::new(Field::new(format!("a{i}"), plain::data_type(&a.ty()), a.ty().nullable)))
        .collect();
    let coerced =
        if fields.is_empty() { vec![] } else { fields_with_udf(&fields, function.as_ref()).map_err(wrong)? };
    let constants: Vec<Option<ScalarValue>> = args
        .iter()
        .zip(&coerced)
        .map(|(a, f)| match a {
            Expr::Literal { value, ty } => {
                let array = builder::column(&ty.arrow(), [value.clone()]);
                let array = arrow::compute::cast(&plain::hand_over(&array, ty).ok()?, f.data_type()).ok()?;
                ScalarValue::try_from_array(&array, 0).ok()
            }
            _ => None,
        })
        .collect();
    let scalars: Vec<Option<&ScalarValue>> = constants.iter().map(Option::as_ref).collect();
    let return_field = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &coerced, scalar_arguments: &scalars })
        .map_err(wrong)?;
    let kind = sql_type(return_field.data_type()).ok_or_else(|| {
        Error::script(format!("{name} gives {}, which SQL has no type for", return_field.data_type()))
    })?;
    let ty = SqlType::from(kind).nullable(return_field.is_nullable());
    let types = args.iter().map(Expr::ty).collect();
    let function = Arc::new(Bridge { function: function.clone(), types, fields: coerced, constants, return_field });
    Ok(Expr::Call { function, args, ty })
}

/// Estimates the memory for the result of a row in bytes, for functions whose results or running times can be out of proportion to their
/// arguments.
fn demand(name: &str) -> Option<fn(&[Value<'_>]) -> usize> {
    fn count(a: &[Value<'_>], at: usize) -> usize {
        a.get(at).and_then(Value::as_i64).map_or(0, |n| usize::try_from(n).unwrap_or(0))
    }
    fn bytes(a: &[Value<'_>], at: usize) -> usize {
        a.get(at).map_or(0, size::of)
    }
    Some(match name {
        "array_repeat" => |a| count(a, 1).saturating_mul(8 + bytes(a, 0)),
        "array_resize" => |a| count(a, 1).saturating_mul(8 + bytes(a, 2)).saturating_add(bytes(a, 0)),
        "array_to_string" => |a| {
            let items = match a.first() {
                Some(Value::List(l)) => l.len(),
                _ => 0,
            };
            bytes(a, 0).saturating_add(items.saturating_mul(bytes(a, 1) + bytes(a, 2)))
        },
        "range" | "generate_series" => |a| {
            let at = |i: usize| a.get(i).and_then(Value::as_i64).map(i128::from);
            let (from, to) = if a.len() > 1 { (at(0), at(1)) } else { (Some(0), at(0)) };
            let step = at(2).unwrap_or(1).max(1);
            let step = if at(2).is_some_and(|s| s < 0) { -at(2).unwrap_or(-1) } else { step };
            match (from, to) {
                (Some(f), Some(t)) => usize::try_from((t - f).abs() / step * 8).unwrap_or(usize::MAX),
                _ => 0,
            }
        },
        "levenshtein" => |a| bytes(a, 0).saturating_mul(bytes(a, 1)) / 16,
        _ => return None,
    })
}

/// A bound call of a function of DataFusion.
struct Bridge {
    function: Arc<ScalarUDF>,
    types: Vec<SqlType>,
    fields: Vec<FieldRef>,
    constants: Vec<Option<ScalarValue>>,
    return_field: FieldRef,
}

impl Function for Bridge {
    fn name(&self) -> &str {
        self.function.name()
    }
    fn deterministic(&self) -> bool {
        self.function.signature().volatility == Volatility::Immutable
    }
    fn eval(&self, args: &[ArrayRef], rows: usize, ty: &SqlType, context: &mut EvalContext) -> Result<ArrayRef> {
        let demands: Vec<usize> = match demand(self.function.name()) {
            Some(demand) => {
                (0..rows).map(|row| demand(&args.iter().map(|a| Value::read(a, row)).collect::<Vec<_>>())).collect()
            }
            None => vec![],
        };
        let modest = demands.iter().fold(0usize, |sum, d| sum.saturating_add(*d)) <= size::MOST_OF_BATCH
            && demands.iter().all(|d| size::fits(*d).is_ok());
        if modest {
            match self.call(args, rows, ty) {
                Ok(array) if rows > 1 && array.get_array_memory_size() > 2 * size::MOST_OF_BATCH => {
                    return Err(context.too_large());
                }
                Ok(array) => return Ok(array),
                Err(e) if rows == 0 => return Err(e),
                Err(_) => {}
            }
        }
        // These functions fail for a whole batch. Each row is evaluated separately, to find those that fail.
        let (mut parts, mut bytes) = (Vec::with_capacity(rows), 0);
        for row in 0..rows {
            let one: Vec<ArrayRef> = args.iter().map(|a| a.slice(row, 1)).collect();
            let fits = demands.get(row).map_or(Ok(()), |d| size::fits(*d)).map_err(Error::data);
            let part = fits.and_then(|()| self.call(&one, 1, ty)).or_else(|e| {
                context.fail(row, format!("{}: {}", self.name().to_uppercase(), e.message))?;
                Ok::<_, Error>(arrow::array::new_null_array(&ty.arrow(), 1))
            })?;
            bytes += part.get_array_memory_size();
            if row > 0 && bytes > size::MOST_OF_BATCH {
                return Err(context.too_large());
            }
            parts.push(part);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
        Ok(arrow::compute::concat(&parts)?)
    }
}

impl Bridge {
    fn call(&self, args: &[ArrayRef], rows: usize, ty: &SqlType) -> Result<ArrayRef> {
        let values = args
            .iter()
            .zip(&self.types)
            .zip(&self.fields)
            .zip(&self.constants)
            .map(|(((a, ty), f), constant)| {
                Ok(match constant {
                    Some(c) => ColumnarValue::Scalar(c.clone()),
                    None => ColumnarValue::Array(arrow::compute::cast(&plain::hand_over(a, ty)?, f.data_type())?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let fail = |e: datafusion_common::DataFusionError| {
            let why = e.strip_backtrace();
            Error::data(why.lines().next().unwrap_or_default().chars().take(300).collect::<String>()).with_source(e)
        };
        let result = self
            .function
            .invoke_with_args(ScalarFunctionArgs {
                args: values,
                arg_fields: self.fields.clone(),
                number_rows: rows,
                return_field: self.return_field.clone(),
                config_options: Arc::new(ConfigOptions::default()),
            })
            .and_then(|v| v.into_array(rows))
            .map_err(fail)?;
        // If all arguments are constants, some functions return a single row.
        let result = match result.len() {
            n if n == rows => result,
            1 => arrow::compute::take(&result, &arrow::array::UInt32Array::from(vec![0; rows]), None)?,
            n => return Err(Error::data(format!("the function gives {n} rows for {rows}"))),
        };
        plain::take_back(&result, ty)
    }
}
