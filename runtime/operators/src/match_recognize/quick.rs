//! Evaluates simple conditions on values, one row at a time, without columns. A condition that looks back is evaluated for each row and
//! match, and columns of one row cost more than the comparison itself.

use std::cmp::Ordering;
use weir_core::{TypeKind, Value};
use weir_expr::{ArithOp, CompareOp, Expr};

/// A simple expression: comparisons of columns, constants, and sums of these.
#[derive(Debug)]
pub(super) enum Quick {
    Column(usize),
    Literal(Value<'static>),
    Arith(ArithOp, Kind, Box<Quick>, Box<Quick>),
    Compare(CompareOp, Box<Quick>, Box<Quick>),
    And(Box<Quick>, Box<Quick>),
    Or(Box<Quick>, Box<Quick>),
    Not(Box<Quick>),
    IsNull(Box<Quick>),
}

/// The kind of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    BigInt,
    Double,
}

/// An operand of a comparison.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Decimal(i128),
    Text(&'a str),
    Time(i64, u32),
}

impl<'a> Operand<'a> {
    fn of(value: &'a Value<'_>) -> Operand<'a> {
        match value {
            Value::Bool(b) => Operand::Bool(*b),
            Value::Int(n) => Operand::Int(*n),
            Value::Double(d) => Operand::Double(*d),
            Value::Float(f) => Operand::Double(f64::from(*f)),
            Value::Decimal(v, _) => Operand::Decimal(*v),
            Value::Text(s) => Operand::Text(s),
            Value::Date(d) | Value::Time(d) => Operand::Int(i64::from(*d)),
            Value::Timestamp(s, n) => Operand::Time(*s, *n),
            Value::Null | Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::Row(_) => Operand::Null,
        }
    }

    /// The order of two operands of one type, neither of which is NULL. None with NaN.
    fn compare(self, other: Operand<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Operand::Bool(a), Operand::Bool(b)) => a.cmp(&b),
            (Operand::Int(a), Operand::Int(b)) => a.cmp(&b),
            (Operand::Double(a), Operand::Double(b)) => return a.partial_cmp(&b),
            (Operand::Decimal(a), Operand::Decimal(b)) => a.cmp(&b),
            (Operand::Text(a), Operand::Text(b)) => a.cmp(b),
            (Operand::Time(a, b), Operand::Time(c, d)) => (a, b).cmp(&(c, d)),
            _ => return None,
        })
    }
}

/// Whether values of a type are compared here.
fn compares(kind: &TypeKind) -> bool {
    match kind {
        TypeKind::Boolean
        | TypeKind::TinyInt
        | TypeKind::SmallInt
        | TypeKind::Int
        | TypeKind::BigInt
        | TypeKind::Float
        | TypeKind::Double
        | TypeKind::Decimal(..)
        | TypeKind::Char(_)
        | TypeKind::Varchar(_)
        | TypeKind::Date
        | TypeKind::Time(_)
        | TypeKind::Timestamp(_)
        | TypeKind::TimestampLtz(_) => true,
        TypeKind::Null
        | TypeKind::Binary(_)
        | TypeKind::Varbinary(_)
        | TypeKind::IntervalMonth
        | TypeKind::IntervalDay
        | TypeKind::Array(_)
        | TypeKind::Map(..)
        | TypeKind::Multiset(_)
        | TypeKind::Row(_) => false,
    }
}

/// Whether two types are compared here: decimals only with the same scale.
fn comparable(left: &TypeKind, right: &TypeKind) -> bool {
    match (left, right) {
        (TypeKind::Decimal(_, a), TypeKind::Decimal(_, b)) => a == b,
        _ => std::mem::discriminant(left) == std::mem::discriminant(right) && compares(left),
    }
}

impl Quick {
    /// The condition, if it is simple.
    pub fn condition(e: &Expr) -> Option<Quick> {
        let both = |a: &Expr, b: &Expr| Some((Box::new(Quick::condition(a)?), Box::new(Quick::condition(b)?)));
        Some(match e {
            Expr::Compare { op, left, right } if comparable(&left.ty().kind, &right.ty().kind) => {
                Quick::Compare(*op, Box::new(Quick::operand(left)?), Box::new(Quick::operand(right)?))
            }
            Expr::And(a, b) => both(a, b).map(|(a, b)| Quick::And(a, b))?,
            Expr::Or(a, b) => both(a, b).map(|(a, b)| Quick::Or(a, b))?,
            Expr::Not(e) => Quick::Not(Box::new(Quick::condition(e)?)),
            Expr::IsNull(e) if compares(&e.ty().kind) => Quick::IsNull(Box::new(Quick::operand(e)?)),
            Expr::Column { ty, .. } | Expr::Literal { ty, .. } if ty.kind == TypeKind::Boolean => Quick::operand(e)?,
            _ => return None,
        })
    }

    fn operand(e: &Expr) -> Option<Quick> {
        Some(match e {
            Expr::Column { index, .. } => Quick::Column(*index),
            Expr::Literal { value, .. } => Quick::Literal(value.clone()),
            // A cast that only changes nullability.
            Expr::Cast { expr, ty, .. } if expr.ty().kind == ty.kind => Quick::operand(expr)?,
            Expr::Arith { op: op @ (ArithOp::Add | ArithOp::Subtract | ArithOp::Multiply), left, right, ty } => {
                let kind = match &ty.kind {
                    TypeKind::Int => Kind::Int,
                    TypeKind::BigInt => Kind::BigInt,
                    TypeKind::Double => Kind::Double,
                    _ => return None,
                };
                if left.ty().kind != ty.kind || right.ty().kind != ty.kind {
                    return None;
                }
                Quick::Arith(*op, kind, Box::new(Quick::operand(left)?), Box::new(Quick::operand(right)?))
            }
            _ => return None,
        })
    }

    /// Whether the condition holds. NULL counts as false.
    pub fn holds(&self, columns: &[&Value<'_>]) -> bool {
        self.truth(columns) == Some(true)
    }

    fn truth(&self, columns: &[&Value<'_>]) -> Option<bool> {
        match self {
            Quick::Compare(op, left, right) => compared(*op, left.read(columns), right.read(columns)),
            Quick::And(a, b) => match a.truth(columns) {
                Some(false) => Some(false),
                a => match (a, b.truth(columns)) {
                    (_, Some(false)) => Some(false),
                    (Some(true), b) => b,
                    _ => None,
                },
            },
            Quick::Or(a, b) => match a.truth(columns) {
                Some(true) => Some(true),
                a => match (a, b.truth(columns)) {
                    (_, Some(true)) => Some(true),
                    (Some(false), b) => b,
                    _ => None,
                },
            },
            Quick::Not(e) => e.truth(columns).map(|b| !b),
            Quick::IsNull(e) => Some(matches!(e.read(columns), Operand::Null)),
            Quick::Column(_) | Quick::Literal(_) | Quick::Arith(..) => match self.read(columns) {
                Operand::Bool(b) => Some(b),
                _ => None,
            },
        }
    }

    fn read<'a>(&'a self, columns: &[&'a Value<'_>]) -> Operand<'a> {
        match self {
            Quick::Column(at) => columns.get(*at).map_or(Operand::Null, |v| Operand::of(v)),
            Quick::Literal(value) => Operand::of(value),
            Quick::Arith(op, kind, left, right) => match (left.read(columns), right.read(columns)) {
                (Operand::Int(a), Operand::Int(b)) => {
                    let n = match op {
                        ArithOp::Add => a.wrapping_add(b),
                        ArithOp::Subtract => a.wrapping_sub(b),
                        _ => a.wrapping_mul(b),
                    };
                    Operand::Int(if *kind == Kind::Int { i64::from(n as i32) } else { n })
                }
                (Operand::Double(a), Operand::Double(b)) => Operand::Double(match op {
                    ArithOp::Add => a + b,
                    ArithOp::Subtract => a - b,
                    _ => a * b,
                }),
                _ => Operand::Null,
            },
            Quick::Compare(..) | Quick::And(..) | Quick::Or(..) | Quick::Not(_) | Quick::IsNull(_) => Operand::Null,
        }
    }
}

fn compared(op: CompareOp, left: Operand<'_>, right: Operand<'_>) -> Option<bool> {
    let nulls = (matches!(left, Operand::Null), matches!(right, Operand::Null));
    match (op, nulls) {
        (CompareOp::DistinctFrom, (a, b)) if a || b => return Some(a != b),
        (CompareOp::NotDistinctFrom, (a, b)) if a || b => return Some(a == b),
        (_, (false, false)) => {}
        _ => return None,
    }
    let order = left.compare(right);
    Some(match op {
        CompareOp::Eq | CompareOp::NotDistinctFrom => order == Some(Ordering::Equal),
        CompareOp::NotEq | CompareOp::DistinctFrom => order != Some(Ordering::Equal),
        CompareOp::Less => order == Some(Ordering::Less),
        CompareOp::LessEq => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Greater => order == Some(Ordering::Greater),
        CompareOp::GreaterEq => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use std::sync::Arc;
    use weir_core::{Batch, Field, Schema, SqlType, builder};
    use weir_expr::eval::condition;
    use weir_expr::{EvalContext, Session};

    const OPS: [CompareOp; 8] = [
        CompareOp::Eq,
        CompareOp::NotEq,
        CompareOp::Less,
        CompareOp::LessEq,
        CompareOp::Greater,
        CompareOp::GreaterEq,
        CompareOp::DistinctFrom,
        CompareOp::NotDistinctFrom,
    ];

    fn value(ty: &SqlType, random: &mut Rng) -> Value<'static> {
        let n = random.i64(-2..3);
        match &ty.kind {
            _ if random.u8(0..4) == 0 => Value::Null,
            TypeKind::Int => Value::Int(if random.bool() { n } else { i64::from(i32::MAX) }),
            TypeKind::BigInt => Value::Int(if random.bool() { n } else { i64::MIN + 1 }),
            TypeKind::Double => Value::Double([0.0, -0.0, f64::NAN, f64::INFINITY, 1.5][random.usize(0..5)]),
            TypeKind::Decimal(_, s) => Value::Decimal(i128::from(n), *s),
            TypeKind::Timestamp(_) => Value::Timestamp(n, 1000 * random.u32(0..3)),
            TypeKind::Date => Value::Date(n as i32),
            TypeKind::Boolean => Value::Bool(random.bool()),
            _ => Value::string(["", "a", "ab", "b", "é"][random.usize(0..5)].to_string()),
        }
    }

    fn operand(ty: &SqlType, at: usize, random: &mut Rng) -> Expr {
        let column = |at: usize| Expr::column(at, "c", ty.clone());
        match random.u8(0..4) {
            0 => Expr::literal(value(ty, random), ty.clone()),
            1 if matches!(ty.kind, TypeKind::Int | TypeKind::BigInt | TypeKind::Double) => {
                let op = [ArithOp::Add, ArithOp::Subtract, ArithOp::Multiply][random.usize(0..3)];
                let (left, right) = (Box::new(column(at)), Box::new(column(at + 1)));
                Expr::Arith { op, left, right, ty: ty.clone() }
            }
            _ => column(at + random.usize(0..2)),
        }
    }

    fn predicate(types: &[SqlType], depth: u8, random: &mut Rng) -> Expr {
        let n = random.usize(0..types.len());
        let both = |random: &mut Rng| {
            (Box::new(predicate(types, depth - 1, random)), Box::new(predicate(types, depth - 1, random)))
        };
        match random.u8(0..6) {
            0 if depth > 0 => {
                let (a, b) = both(random);
                Expr::And(a, b)
            }
            1 if depth > 0 => {
                let (a, b) = both(random);
                Expr::Or(a, b)
            }
            2 if depth > 0 => Expr::Not(Box::new(predicate(types, depth - 1, random))),
            3 => Expr::IsNull(Box::new(operand(&types[n], 2 * n, random))),
            _ => {
                let (left, right) = (operand(&types[n], 2 * n, random), operand(&types[n], 2 * n, random));
                Expr::Compare { op: OPS[random.usize(0..8)], left: Box::new(left), right: Box::new(right) }
            }
        }
    }

    #[test]
    fn conditions_hold_as_those_over_columns_do() {
        let types: Vec<SqlType> = [
            TypeKind::Int,
            TypeKind::BigInt,
            TypeKind::Double,
            TypeKind::Decimal(10, 2),
            TypeKind::Timestamp(3),
            TypeKind::Date,
            TypeKind::Boolean,
            TypeKind::Varchar(10),
        ]
        .map(SqlType::from)
        .to_vec();
        // Two columns of each type.
        let columns: Vec<&SqlType> = types.iter().flat_map(|t| [t, t]).collect();
        let fields = columns.iter().enumerate().map(|(n, t)| Field::new(format!("c{n}"), (*t).clone()));
        let schema = Schema::new(fields.collect());
        let mut context = EvalContext::new(Arc::new(Session::default()));
        let mut random = Rng::with_seed(3);
        for _ in 0..2000 {
            let e = predicate(&types, 3, &mut random);
            let quick = Quick::condition(&e).unwrap_or_else(|| panic!("{e} is not simple"));
            let rows: Vec<Vec<Value<'static>>> =
                (0..8).map(|_| columns.iter().map(|t| value(t, &mut random)).collect()).collect();
            let arrays =
                columns.iter().enumerate().map(|(n, t)| builder::column(&t.arrow(), rows.iter().map(|r| r[n].clone())));
            let batch = Batch::from_columns(schema.arrow(), arrays.collect(), rows.len()).expect("a batch");
            let held = condition(&e, &batch.data, &mut context).expect("a condition");
            for (n, row) in rows.iter().enumerate() {
                let values: Vec<&Value<'_>> = row.iter().collect();
                assert_eq!(quick.holds(&values), held.value(n), "{e}: {row:?}");
            }
        }
    }

    #[test]
    fn other_conditions_are_left_to_columns() {
        let column = |ty: TypeKind| Box::new(Expr::column(0, "c", ty.into()));
        let compare = |left, right| Expr::Compare { op: CompareOp::Less, left, right };
        assert!(Quick::condition(&compare(column(TypeKind::Decimal(5, 1)), column(TypeKind::Decimal(5, 2)))).is_none());
        assert!(Quick::condition(&compare(column(TypeKind::Binary(3)), column(TypeKind::Binary(3)))).is_none());
        let half = Expr::Arith {
            op: ArithOp::Divide,
            left: column(TypeKind::Int),
            right: column(TypeKind::Int),
            ty: SqlType::INT,
        };
        assert!(Quick::condition(&compare(Box::new(half), column(TypeKind::Int))).is_none());
    }
}
