//! The structure of expressions as bytes. Expressions have the same bytes if they are equal in structure. The names of columns and the text
//! of the expression do not matter.
//!
//! The identity of state is computed from these bytes, so their format is frozen. Numbers are little-endian, texts follow their length, and
//! each variant has a tag that never changes its meaning. Whoever changes the bytes of existing expressions must increase [`VERSION`]. What
//! does not affect results is left out: the names of columns, and whether a value may be NULL.

use crate::aggregate::{Aggregate, AggregateCall};
use crate::arith::ArithOp;
use crate::expr::{CompareOp, Expr};
use weir_core::key::encode_value;
use weir_core::{SqlType, TypeKind};

/// The version of the format.
pub const VERSION: u32 = 1;

/// Appends a number in 8 bytes.
pub fn write_number(n: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(n as u64).to_le_bytes());
}

/// Appends the count of some numbers, and the numbers.
pub fn write_numbers(all: &[usize], out: &mut Vec<u8>) {
    write_number(all.len(), out);
    all.iter().for_each(|n| write_number(*n, out));
}

/// Appends the length of a text in bytes, and the text.
pub fn write_text(s: &str, out: &mut Vec<u8>) {
    write_number(s.len(), out);
    out.extend_from_slice(s.as_bytes());
}

/// Appends a type. It includes the names of the fields of a ROW, since functions such as JSON_STRING output them.
pub fn write_type(ty: &SqlType, out: &mut Vec<u8>) {
    let mut tagged = |tag: u8, lengths: &[u32]| {
        out.push(tag);
        lengths.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
    };
    match &ty.kind {
        TypeKind::Null => tagged(0, &[]),
        TypeKind::Boolean => tagged(1, &[]),
        TypeKind::TinyInt => tagged(2, &[]),
        TypeKind::SmallInt => tagged(3, &[]),
        TypeKind::Int => tagged(4, &[]),
        TypeKind::BigInt => tagged(5, &[]),
        TypeKind::Float => tagged(6, &[]),
        TypeKind::Double => tagged(7, &[]),
        TypeKind::Decimal(p, s) => tagged(8, &[u32::from(*p), u32::from(*s)]),
        TypeKind::Char(n) => tagged(9, &[*n]),
        TypeKind::Varchar(n) => tagged(10, &[*n]),
        TypeKind::Binary(n) => tagged(11, &[*n]),
        TypeKind::Varbinary(n) => tagged(12, &[*n]),
        TypeKind::Date => tagged(13, &[]),
        TypeKind::Time(p) => tagged(14, &[u32::from(*p)]),
        TypeKind::Timestamp(p) => tagged(15, &[u32::from(*p)]),
        TypeKind::TimestampLtz(p) => tagged(16, &[u32::from(*p)]),
        TypeKind::IntervalMonth => tagged(17, &[]),
        TypeKind::IntervalDay => tagged(18, &[]),
        TypeKind::Array(e) => {
            tagged(19, &[]);
            write_type(e, out);
        }
        TypeKind::Map(k, v) => {
            tagged(20, &[]);
            write_type(k, out);
            write_type(v, out);
        }
        TypeKind::Multiset(e) => {
            tagged(21, &[]);
            write_type(e, out);
        }
        TypeKind::Row(fields) => {
            tagged(22, &[]);
            write_number(fields.len(), out);
            for f in fields {
                write_text(&f.name, out);
                write_type(&f.ty, out);
            }
        }
    }
}

/// Appends an expression without its operands.
fn write_node(e: &Expr, out: &mut Vec<u8>) {
    match e {
        Expr::Column { index, .. } => {
            out.push(0);
            write_number(*index, out);
        }
        Expr::Literal { value, ty } => {
            out.push(1);
            write_type(ty, out);
            encode_value(value, &ty.arrow(), out);
        }
        Expr::Cast { ty, safe, .. } => {
            out.extend_from_slice(&[2, u8::from(*safe)]);
            write_type(ty, out);
        }
        Expr::Arith { op, ty, .. } => {
            let op = match op {
                ArithOp::Add => 0,
                ArithOp::Subtract => 1,
                ArithOp::Multiply => 2,
                ArithOp::Divide => 3,
                ArithOp::Modulo => 4,
            };
            out.extend_from_slice(&[3, op]);
            write_type(ty, out);
        }
        Expr::Compare { op, .. } => {
            let op = match op {
                CompareOp::Eq => 0,
                CompareOp::NotEq => 1,
                CompareOp::Less => 2,
                CompareOp::LessEq => 3,
                CompareOp::Greater => 4,
                CompareOp::GreaterEq => 5,
                CompareOp::DistinctFrom => 6,
                CompareOp::NotDistinctFrom => 7,
            };
            out.extend_from_slice(&[4, op]);
        }
        Expr::And(..) => out.push(5),
        Expr::Or(..) => out.push(6),
        Expr::Not(_) => out.push(7),
        Expr::IsNull(_) => out.push(8),
        Expr::Case { ty, .. } => {
            out.push(9);
            write_type(ty, out);
        }
        Expr::Field { index, .. } => {
            out.push(10);
            write_number(*index, out);
        }
        Expr::Call { function, ty, .. } => {
            out.extend_from_slice(&[11, u8::from(function.is_user_defined())]);
            write_text(function.name(), out);
            write_type(ty, out);
        }
    }
}

/// Appends an expression with its operands.
pub fn write_expr(e: &Expr, out: &mut Vec<u8>) {
    write_node(e, out);
    let children = e.children();
    write_number(children.len(), out);
    children.into_iter().for_each(|c| write_expr(c, out));
}

/// Appends an aggregate function with its options.
fn write_aggregate(a: &Aggregate, out: &mut Vec<u8>) {
    match a {
        Aggregate::CountStar => out.push(0),
        Aggregate::Count => out.push(1),
        Aggregate::Sum => out.push(2),
        Aggregate::Avg => out.push(3),
        Aggregate::Min => out.push(4),
        Aggregate::Max => out.push(5),
        Aggregate::StddevPop => out.push(6),
        Aggregate::StddevSamp => out.push(7),
        Aggregate::VarPop => out.push(8),
        Aggregate::VarSamp => out.push(9),
        Aggregate::FirstValue => out.push(10),
        Aggregate::LastValue => out.push(11),
        Aggregate::Collect => out.push(12),
        Aggregate::ListAgg { separator } => {
            out.push(13);
            write_text(separator, out);
        }
        Aggregate::Percentile { fractions, several } => {
            out.extend_from_slice(&[14, u8::from(*several)]);
            write_number(fractions.len(), out);
            fractions.iter().for_each(|f| out.extend_from_slice(&f.to_le_bytes()));
        }
        Aggregate::ArrayAgg => out.push(15),
        Aggregate::JsonObjectAgg { absent_on_null } => out.extend_from_slice(&[16, u8::from(*absent_on_null)]),
        Aggregate::JsonArrayAgg { absent_on_null } => out.extend_from_slice(&[17, u8::from(*absent_on_null)]),
        Aggregate::Lag { offset } => {
            out.push(18);
            out.extend_from_slice(&offset.to_le_bytes());
        }
        Aggregate::Rank { dense } => out.extend_from_slice(&[19, u8::from(*dense)]),
    }
}

/// Appends an aggregate call of a plan.
pub fn write_call(c: &AggregateCall, out: &mut Vec<u8>) {
    write_aggregate(&c.function, out);
    write_numbers(&c.args, out);
    out.push(u8::from(c.distinct));
    write_numbers(c.filter.as_slice(), out);
    write_type(&c.ty, out);
}

impl Expr {
    /// Whether two expressions over the same columns are equal in structure. The names of columns and the nullability of types do not
    /// matter.
    pub fn same(&self, other: &Expr) -> bool {
        let node = |e: &Expr| {
            let mut out = vec![];
            write_node(e, &mut out);
            out
        };
        if std::mem::discriminant(self) != std::mem::discriminant(other) || node(self) != node(other) {
            return false;
        }
        let (a, b) = (self.children(), other.children());
        a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| a.same(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::Value;

    fn column(name: &str, ty: SqlType) -> Expr {
        Expr::column(0, name, ty)
    }

    #[test]
    fn what_prints_alike_is_not_the_same() {
        let b = || Box::new(column("b", SqlType::BOOLEAN));
        let not_null = Expr::Not(Box::new(Expr::IsNull(b())));
        let null_of_not = Expr::IsNull(Box::new(Expr::Not(b())));
        assert_ne!(not_null.to_string(), null_of_not.to_string());
        assert!(!not_null.same(&null_of_not));
        let bytes = |v: &'static [u8]| Expr::literal(Value::Bytes(v.into()), SqlType::BYTES);
        assert!(!bytes(b"\x80").same(&bytes(b"\x81")));
        assert_eq!(bytes(b"\x80\x01").to_string(), "X'8001'");
        let text = Expr::literal(Value::text("1"), SqlType::STRING);
        assert!(!text.same(&Expr::literal(Value::Int(1), SqlType::INT)));
        let long = Expr::literal(Value::Int(1), SqlType::BIGINT);
        assert!(!long.same(&Expr::literal(Value::Int(1), SqlType::INT)));
        let double = |v| Expr::literal(Value::Double(v), SqlType::DOUBLE);
        assert!(!double(1.0).same(&double(1.0 + f64::EPSILON)));
        assert!(!double(0.0).same(&double(-0.0)));
        assert!(!column("a", SqlType::INT).same(&Expr::column(1, "a", SqlType::INT)));
    }

    /// The identity of state is computed from these bytes. They may only change together with the version.
    #[test]
    fn the_form_is_frozen() {
        let left = Box::new(Expr::column(1, "a", SqlType::INT));
        let right = Box::new(Expr::literal(Value::Int(7), SqlType::INT));
        let mut out = vec![];
        write_expr(&Expr::Compare { op: CompareOp::NotEq, left, right }, &mut out);
        let number = |n: u64| n.to_le_bytes();
        let (column, literal) =
            ([&[0][..], &number(1), &number(0)].concat(), [&[1, 4, 1, 0x80, 0, 0, 7][..], &number(0)].concat());
        assert_eq!(out, [&[4, 1][..], &number(2), &column, &literal].concat());
        assert_eq!(VERSION, 1);
    }

    #[test]
    fn names_of_columns_and_nullability_do_not_matter() {
        let cast = |name, ty: SqlType| Expr::Cast { expr: Box::new(column(name, SqlType::INT)), ty, safe: false };
        assert!(cast("a", SqlType::BIGINT).same(&cast("b", SqlType::BIGINT.not_null())));
        assert!(!cast("a", SqlType::BIGINT).same(&cast("a", SqlType::DOUBLE)));
    }

    #[test]
    fn options_of_aggregates_count() {
        let of = |function| {
            let mut out = vec![];
            write_call(
                &AggregateCall { function, args: vec![0], distinct: false, filter: None, ty: SqlType::STRING },
                &mut out,
            );
            out
        };
        let list = |s: &str| of(Aggregate::ListAgg { separator: s.to_string() });
        assert_ne!(list(","), list(";"));
        let percentile = |f: f64| of(Aggregate::Percentile { fractions: vec![f.to_bits()], several: false });
        assert_ne!(percentile(0.5), percentile(0.9));
        assert_ne!(of(Aggregate::CountStar), of(Aggregate::Count));
    }
}
