//! The built-in functions: those of Flink with their names and semantics, and those of DataFusion with other names.
//!
//! There is one family per file. Each family is a table of definitions: the name, the accepted arguments, the result type, and a function
//! over values. A few performance-critical ones work on whole columns.

mod arguments;
mod choice;
mod collection;
mod datafusion;
mod hash;
mod in_set;
mod json;
mod math;
mod pattern;
mod plain;
mod printf;
mod regexp;
mod row_time;
pub mod size;
mod string;
mod temporal;
mod url;

use crate::context::{EvalContext, Session};
use crate::expr::{Expr, Function};
use arrow::array::ArrayRef;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use weir_core::clock::Clock;
use weir_core::{ColumnBuilder, Error, Result, SqlType, TypeKind, Value};

pub use in_set::in_set;
pub use json::{render as render_json, to_json};
pub use row_time::checked_row_time;

/// The inputs of a built-in function besides its arguments.
pub struct Call<'a> {
    /// The session.
    pub session: &'a Session,
    /// The clock of processing time.
    pub clock: &'a dyn Clock,
    /// The result's type.
    pub ty: &'a SqlType,
    /// The arguments' types.
    pub types: &'a [SqlType],
}

/// The result of a call for a row, or a message about what is wrong with the row.
pub type Outcome = std::result::Result<Value<'static>, String>;

/// How the type of the result follows from the arguments.
#[derive(Clone, Copy)]
pub enum Gives {
    /// This type. It is NULL if and only if an argument is NULL.
    Type(fn() -> TypeKind),
    /// This type. It may be NULL in other cases too.
    MaybeNull(fn() -> TypeKind),
    /// This type, never NULL.
    NotNull(fn() -> TypeKind),
    /// The first argument's type.
    First,
    /// A type that is computed from the argument expressions, which may also be rejected.
    Of(fn(&[Expr]) -> std::result::Result<SqlType, String>),
}

/// The accepted types of an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named after the types")]
pub enum Takes {
    Text,
    TextOrBytes,
    Int,
    Long,
    Double,
    Exact,
    Number,
    Bool,
    Bytes,
    Time,
    Array,
    Map,
    Any,
}

impl Takes {
    /// The accepted types, for messages.
    fn words(self) -> &'static str {
        match self {
            Takes::Text => "text",
            Takes::TextOrBytes => "text or BYTES",
            Takes::Int => "an INT",
            Takes::Long => "a BIGINT",
            Takes::Double => "a number that can be a DOUBLE",
            Takes::Exact => "an integer or a DECIMAL",
            Takes::Number => "a number",
            Takes::Bool => "a BOOLEAN",
            Takes::Bytes => "BYTES",
            Takes::Time => "a DATE, TIME or TIMESTAMP",
            Takes::Array => "an ARRAY",
            Takes::Map => "a MAP",
            Takes::Any => "a value",
        }
    }
}

/// A function of one row's values.
pub type RowFunction = fn(&[Value<'_>], &Call<'_>) -> Outcome;
/// A function of whole columns.
pub type ColumnFunction = fn(&[ArrayRef], usize, &Call<'_>, &mut EvalContext) -> Result<ArrayRef>;

/// The implementation of a function.
#[derive(Clone, Copy)]
pub enum Body {
    /// Row by row. If an argument is NULL, the function is not called, and the result is NULL.
    Strict(RowFunction),
    /// Row by row. The function is also called with NULL arguments.
    Lenient(RowFunction),
    /// All rows of a batch at once.
    Columns(ColumnFunction),
}

/// A built-in function.
pub struct Definition {
    /// The name, in capitals.
    pub name: &'static str,
    /// The accepted types of the arguments. The last one also applies to all further arguments.
    pub takes: &'static [Takes],
    /// The minimum and maximum number of arguments.
    pub arity: (usize, usize),
    /// The type of its result.
    pub gives: Gives,
    /// The implementation.
    pub body: Body,
    /// Whether equal arguments give equal results.
    pub deterministic: bool,
}

/// Short names for the tables of definitions.
mod table {
    pub(super) use super::Body::{Lenient, Strict};
    pub(super) use super::Gives::{First, MaybeNull, NotNull, Of, Type};
    pub(super) use super::Takes::*;
    pub(super) use super::{Call, Definition, Outcome};
    pub(super) use crate::expr::Expr;
    pub(super) use weir_core::{SqlType, TypeKind as T, Value};

    pub(super) fn string() -> T {
        T::Varchar(weir_core::types::UNBOUNDED)
    }
    pub(super) fn bytes() -> T {
        T::Varbinary(weir_core::types::UNBOUNDED)
    }
    pub(super) fn int() -> T {
        T::Int
    }
    pub(super) fn long() -> T {
        T::BigInt
    }
    pub(super) fn double() -> T {
        T::Double
    }
    pub(super) fn boolean() -> T {
        T::Boolean
    }
    pub(super) const fn def(
        name: &'static str,
        takes: &'static [super::Takes],
        arity: (usize, usize),
        gives: super::Gives,
        body: super::Body,
    ) -> Definition {
        Definition { name, takes, arity, gives, body, deterministic: true }
    }
    /// The length of a text type.
    pub(super) fn length(t: &SqlType) -> u32 {
        match t.kind {
            T::Char(n) | T::Varchar(n) => n,
            _ => weir_core::types::UNBOUNDED,
        }
    }
    /// VARCHAR with the length of the first argument.
    pub(super) fn as_long(a: &[Expr]) -> Result<SqlType, String> {
        let nullable = a.iter().any(|e| e.ty().nullable);
        Ok(SqlType::from(T::Varchar(length(&a[0].ty()))).nullable(nullable))
    }
    /// The same type, but nullable.
    pub(super) fn as_long_or_null(a: &[Expr]) -> Result<SqlType, String> {
        as_long(a).map(|t| t.nullable(true))
    }
    /// The common type of all arguments.
    pub(super) fn common(a: &[Expr]) -> Result<SqlType, String> {
        let types: Vec<SqlType> = a.iter().map(Expr::ty).collect();
        super::common_type(&types).ok_or_else(|| "its arguments' types have nothing in common".to_string())
    }
    /// The maximum number of arguments of functions that take any number.
    pub(super) const MANY: usize = 1000;
}

fn families() -> [&'static [Definition]; 9] {
    [choice::ALL, string::ALL, regexp::ALL, math::ALL, temporal::ALL, collection::ALL, json::ALL, hash::ALL, url::ALL]
}

fn definitions() -> &'static BTreeMap<&'static str, &'static Definition> {
    static ALL: OnceLock<BTreeMap<&'static str, &'static Definition>> = OnceLock::new();
    ALL.get_or_init(|| families().into_iter().flatten().map(|d| (d.name, d)).collect())
}

/// The names of all functions of Flink that exist here, sorted. Functions with their own syntax, such as `a SIMILAR TO b`, have names
/// with a blank or a sign in them.
pub fn flink_names() -> Vec<&'static str> {
    definitions().keys().copied().collect()
}

/// The names of the functions that are called by name.
pub fn called_names() -> impl Iterator<Item = &'static str> {
    flink_names().into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The names of DataFusion's functions that exist here beside Flink's, sorted.
pub fn datafusion_names() -> Vec<String> {
    datafusion::names().filter(|n| !definitions().contains_key(n.as_str())).collect()
}

/// Binds a call of a built-in function: checks and casts the arguments, and determines the result type. `Ok(None)` means that there is no
/// such function.
///
/// # Errors
/// If the function does not accept these arguments.
pub fn bind(name: &str, args: Vec<Expr>) -> Result<Option<Expr>> {
    let upper = name.to_ascii_uppercase();
    if let Some(d) = definitions().get(upper.as_str()) {
        return call(d, args).map(Some);
    }
    datafusion::bind(&upper, args)
}

fn signature(name: &str, types: &[SqlType]) -> String {
    format!("{name}({})", types.iter().map(|t| t.kind.to_string()).collect::<Vec<_>>().join(", "))
}

fn call(d: &'static Definition, args: Vec<Expr>) -> Result<Expr> {
    let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
    let wrong = |why: String| Error::script(format!("{} cannot be called like this: {why}", signature(d.name, &types)));
    if args.len() < d.arity.0 || args.len() > d.arity.1 {
        let wanted = match d.arity {
            (a, b) if a == b => format!("{a}"),
            (a, table::MANY) => format!("at least {a}"),
            (a, b) => format!("{a} to {b}"),
        };
        let one = if d.arity.1 == 1 { "argument" } else { "arguments" };
        return Err(Error::script(format!("{} takes {wanted} {one}, not {}", d.name, args.len())));
    }
    let mut cast: Vec<Expr> = vec![];
    for (i, arg) in args.into_iter().enumerate() {
        let takes = d.takes.get(i).or(d.takes.last()).copied().unwrap_or(Takes::Any);
        let from = arg.ty();
        let to = accept(takes, &from).ok_or_else(|| wrong(format!("argument {} must be {}", i + 1, takes.words())))?;
        cast.push(cast_to(arg, &to));
    }
    let types: Vec<SqlType> = cast.iter().map(Expr::ty).collect();
    let any_null = types.iter().any(|t| t.nullable);
    let ty = match d.gives {
        Gives::Type(k) => SqlType::from(k()).nullable(any_null),
        Gives::MaybeNull(k) => SqlType::from(k()),
        Gives::NotNull(k) => SqlType::from(k()).not_null(),
        Gives::First => types[0].clone().nullable(any_null),
        Gives::Of(f) => f(&cast).map_err(wrong)?,
    };
    let function = Arc::new(BuiltIn { definition: d, types });
    Ok(Expr::Call { function, args: cast, ty })
}

/// Casts an expression unless it already has the type.
pub fn cast_to(expr: Expr, to: &SqlType) -> Expr {
    let from = expr.ty();
    if from.kind == to.kind {
        return expr;
    }
    let ty = to.clone().nullable(from.nullable);
    match expr {
        Expr::Literal { value: Value::Null, .. } => Expr::Literal { value: Value::Null, ty: ty.nullable(true) },
        // As in Flink, TO_TIMESTAMP can return more digits than its type TIMESTAMP(3) has. A cast to a longer type keeps them.
        Expr::Call { function, args, .. }
            if function.name() == "TO_TIMESTAMP" && matches!(to.kind, TypeKind::Timestamp(4..)) =>
        {
            Expr::Call { function, args, ty }
        }
        expr => Expr::Cast { expr: Box::new(expr), ty, safe: false },
    }
}

/// The type to which an argument of type `from` is cast; none if it is not accepted.
fn accept(takes: Takes, from: &SqlType) -> Option<SqlType> {
    let to = |kind: TypeKind| Some(SqlType { kind, nullable: from.nullable });
    let same = || Some(from.clone());
    match takes {
        Takes::Any => same(),
        Takes::Text if from.is_text() => same(),
        Takes::Text if from.is_null() => to(table::string()),
        Takes::TextOrBytes if from.is_text() || from.is_bytes() => same(),
        Takes::TextOrBytes if from.is_null() => to(table::string()),
        Takes::Int if from.is_integer() && from.kind != TypeKind::BigInt || from.is_null() => to(TypeKind::Int),
        Takes::Int if from.kind == TypeKind::BigInt => to(TypeKind::Int),
        Takes::Long if from.is_integer() || from.is_null() => to(TypeKind::BigInt),
        Takes::Double if from.is_numeric() || from.is_null() => to(TypeKind::Double),
        Takes::Exact if from.is_integer() || from.is_decimal() => same(),
        Takes::Number if from.is_numeric() => same(),
        Takes::Number if from.is_null() => to(TypeKind::Int),
        Takes::Bool if from.kind == TypeKind::Boolean || from.is_null() => to(TypeKind::Boolean),
        Takes::Bytes if from.is_bytes() => same(),
        Takes::Bytes if from.is_null() => to(table::bytes()),
        Takes::Time if from.is_temporal() => same(),
        Takes::Time if from.is_null() => to(TypeKind::Timestamp(3)),
        Takes::Array if matches!(from.kind, TypeKind::Array(_)) => same(),
        Takes::Map if matches!(from.kind, TypeKind::Map(..)) => same(),
        _ => None,
    }
}

/// A bound call of a built-in function.
struct BuiltIn {
    definition: &'static Definition,
    types: Vec<SqlType>,
}

impl Function for BuiltIn {
    fn name(&self) -> &str {
        self.definition.name
    }
    fn deterministic(&self) -> bool {
        self.definition.deterministic
    }
    fn eval(&self, args: &[ArrayRef], rows: usize, ty: &SqlType, context: &mut EvalContext) -> Result<ArrayRef> {
        let (session, clock) = (context.session.clone(), context.clock.clone());
        let call = Call { session: &session, clock: &*clock, ty, types: &self.types };
        let (strict, f) = match self.definition.body {
            Body::Strict(f) => (true, f),
            Body::Lenient(f) => (false, f),
            Body::Columns(f) => return f(args, rows, &call, context),
        };
        let mut out = ColumnBuilder::new(&ty.arrow());
        let mut values: Vec<Value> = Vec::with_capacity(args.len());
        let mut total = 0;
        for row in 0..rows {
            values.clear();
            values.extend(args.iter().map(|a| Value::read(a, row)));
            if strict && values.iter().any(Value::is_null) {
                out.push_null();
                continue;
            }
            let result = f(&values, &call).and_then(|v| {
                let bytes = size::of(&v);
                total += bytes;
                size::fits(bytes).map(|()| v)
            });
            match result {
                Ok(_) if total > size::MOST_OF_BATCH => return Err(context.too_large()),
                Ok(v) => out.push(&v),
                Err(message) => {
                    context.fail(row, format!("{}: {message}", self.definition.name))?;
                    out.push_null();
                }
            }
        }
        Ok(out.finish())
    }
}

/// The common type of these types, as UNION and VALUES use it; none if there is no such type.
pub fn common_type(types: &[SqlType]) -> Option<SqlType> {
    in_common(types, common_kind)
}

/// The type of CASE, IF and ARRAY over values of these types. Of two kinds of timestamps or floating point numbers it is the first, and
/// dates cannot be combined with timestamps.
pub fn branch_type(types: &[SqlType]) -> Option<SqlType> {
    use TypeKind as T;
    in_common(types, |a, b| match (a, b) {
        (T::Date, T::Timestamp(_) | T::TimestampLtz(_)) | (T::Timestamp(_) | T::TimestampLtz(_), T::Date) => None,
        (T::Timestamp(p), T::TimestampLtz(q)) => Some(T::Timestamp(*p.max(q))),
        (T::TimestampLtz(p), T::Timestamp(q)) => Some(T::TimestampLtz(*p.max(q))),
        (T::Float, T::Double) => Some(T::Float),
        _ => common_kind(a, b),
    })
}

/// The type of COALESCE, IFNULL, GREATEST and LEAST over values of these types. A date or time and a timestamp give the date or time.
pub fn argument_type(types: &[SqlType]) -> Option<SqlType> {
    use TypeKind as T;
    in_common(types, |a, b| match (a, b) {
        (T::Date, T::Timestamp(_)) | (T::Timestamp(_), T::Date) => Some(T::Date),
        (T::Time(p), T::Timestamp(_)) | (T::Timestamp(_), T::Time(p)) => Some(T::Time(*p)),
        (T::Date, T::TimestampLtz(_)) | (T::TimestampLtz(_), T::Date) => None,
        _ => common_kind(a, b),
    })
}

fn in_common(types: &[SqlType], of_two: impl Fn(&TypeKind, &TypeKind) -> Option<TypeKind>) -> Option<SqlType> {
    let nullable = types.iter().any(|t| t.nullable);
    let mut known = types.iter().filter(|t| !t.is_null());
    let mut kind = known.next()?.kind.clone();
    for t in known {
        kind = of_two(&kind, &t.kind)?;
    }
    Some(SqlType { kind, nullable })
}

fn common_kind(a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    use TypeKind as T;
    if a == b {
        return Some(a.clone());
    }
    let (ta, tb) = (SqlType::from(a.clone()), SqlType::from(b.clone()));
    if ta.is_numeric() && tb.is_numeric() {
        if ta.is_approximate() || tb.is_approximate() {
            return Some(match (a, b) {
                (T::Float, T::Float) => T::Float,
                (T::Float, o) | (o, T::Float) if SqlType::from(o.clone()).is_integer() => T::Float,
                _ => T::Double,
            });
        }
        if ta.is_integer() && tb.is_integer() {
            let wide = |t: &SqlType| t.as_decimal().map_or(0, |(p, _)| p);
            return Some(if wide(&ta) >= wide(&tb) { a.clone() } else { b.clone() });
        }
        let ((p1, s1), (p2, s2)) = (ta.as_decimal()?, tb.as_decimal()?);
        let scale = s1.max(s2);
        let whole = (p1 - s1).max(p2 - s2);
        return Some(T::Decimal((whole + scale).min(38), scale.min(38 - whole.min(38))));
    }
    Some(match (a, b) {
        (T::Char(n) | T::Varchar(n), T::Char(m) | T::Varchar(m)) => T::Varchar(*n.max(m)),
        (T::Binary(n) | T::Varbinary(n), T::Binary(m) | T::Varbinary(m)) => T::Varbinary(*n.max(m)),
        (T::Timestamp(p), T::Timestamp(q)) => T::Timestamp(*p.max(q)),
        (T::TimestampLtz(p), T::TimestampLtz(q)) => T::TimestampLtz(*p.max(q)),
        (T::Timestamp(p), T::TimestampLtz(q)) | (T::TimestampLtz(q), T::Timestamp(p)) => T::TimestampLtz(*p.max(q)),
        (T::Date, T::Timestamp(p)) | (T::Timestamp(p), T::Date) => T::Timestamp(*p),
        (T::Date, T::TimestampLtz(p)) | (T::TimestampLtz(p), T::Date) => T::TimestampLtz(*p),
        (T::Time(p), T::Time(q)) => T::Time(*p.max(q)),
        (T::Array(x), T::Array(y)) => T::Array(Box::new(common_type(&[*x.clone(), *y.clone()])?)),
        (T::Multiset(x), T::Multiset(y)) => T::Multiset(Box::new(common_type(&[*x.clone(), *y.clone()])?)),
        (T::Map(k, v), T::Map(l, w)) => {
            T::Map(Box::new(common_type(&[*k.clone(), *l.clone()])?), Box::new(common_type(&[*v.clone(), *w.clone()])?))
        }
        (T::Row(x), T::Row(y)) if x.len() == y.len() => T::Row(
            x.iter()
                .zip(y)
                .map(|(f, g)| Some(weir_core::Field::new(f.name.clone(), common_type(&[f.ty.clone(), g.ty.clone()])?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}
