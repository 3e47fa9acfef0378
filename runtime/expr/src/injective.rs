//! Which casts map different values to different results, so that keys stay unique and equality is preserved.

use weir_core::types::UNBOUNDED;
use weir_core::{SqlType, TypeKind};

/// The number of decimal digits that a DOUBLE always preserves.
const DOUBLE_DIGITS: u8 = 15;

/// Whether a cast gives different results for different values, and NULL only for NULL. Casts that wrap, round, truncate, pad or use a time
/// zone do not.
pub fn injective(from: &SqlType, to: &SqlType) -> bool {
    use TypeKind as T;
    let whole = |t: &SqlType| t.as_decimal().filter(|_| t.is_integer()).map(|(p, _)| p);
    match (&from.kind, &to.kind) {
        (a, b) if a == b => true,
        (_, T::Varchar(n)) if from.is_text() => length(&from.kind) <= *n,
        (_, T::Varbinary(n)) if from.is_bytes() => length(&from.kind) <= *n,
        (T::Boolean, _) if to.is_numeric() => true,
        (T::Float, T::Double) => true,
        (T::TinyInt | T::SmallInt, T::Float) => true,
        (_, T::Double) => from.as_decimal().is_some_and(|(p, _)| p <= DOUBLE_DIGITS),
        (_, T::Decimal(..)) | (T::Decimal(..), _) if from.as_decimal().is_some() && to.as_decimal().is_some() => {
            // An integer type does not hold all numbers with as many digits as its precision: BIGINT has precision 19, and holds all
            // numbers of 18 digits.
            let room = |(p, s): (u8, u8)| p - s - u8::from(to.is_integer());
            match (from.as_decimal(), to.as_decimal()) {
                (Some(a), Some(b)) => a.1 <= b.1 && a.0 - a.1 <= room(b),
                _ => false,
            }
        }
        (T::Date, T::Timestamp(p)) => *p <= 6,
        (T::Time(a), T::Time(b)) => a <= b,
        // Timestamps with more than 6 digits have another form in columns. Casts between the two forms are not counted as injective.
        (T::Timestamp(a), T::Timestamp(b)) | (T::TimestampLtz(a), T::TimestampLtz(b)) => a <= b && (*a > 6) == (*b > 6),
        (T::Boolean | T::Date | T::Time(_) | T::Timestamp(_), T::Varchar(n)) => *n == UNBOUNDED,
        (_, T::Varchar(n)) => *n == UNBOUNDED && (from.is_integer() || from.is_decimal()),
        (T::Array(a), T::Array(b)) | (T::Multiset(a), T::Multiset(b)) => injective(a, b),
        (T::Map(a, b), T::Map(c, d)) => injective(a, c) && injective(b, d),
        (T::Row(a), T::Row(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| injective(&a.ty, &b.ty)),
        _ => whole(from).zip(whole(to)).is_some_and(|(a, b)| a <= b),
    }
}

fn length(kind: &TypeKind) -> u32 {
    match kind {
        TypeKind::Char(n) | TypeKind::Varchar(n) | TypeKind::Binary(n) | TypeKind::Varbinary(n) => *n,
        _ => UNBOUNDED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_values_apart() {
        use TypeKind::*;
        let yes = |a: TypeKind, b: TypeKind| assert!(injective(&a.clone().into(), &b.clone().into()), "{a} to {b}");
        let no = |a: TypeKind, b: TypeKind| assert!(!injective(&a.clone().into(), &b.clone().into()), "{a} to {b}");
        yes(Int, BigInt);
        no(BigInt, Int);
        no(Int, Boolean);
        yes(Boolean, TinyInt);
        yes(Int, Double);
        no(BigInt, Double);
        no(Int, Float);
        yes(SmallInt, Float);
        no(Double, Float);
        no(Double, Decimal(38, 18));
        yes(Int, Decimal(10, 0));
        yes(Int, Decimal(12, 2));
        no(Int, Decimal(10, 2));
        yes(Decimal(9, 0), Int);
        no(Decimal(10, 0), Int);
        no(Decimal(10, 2), BigInt);
        yes(Decimal(10, 2), Decimal(12, 3));
        no(Decimal(10, 2), Decimal(12, 1));
        no(Decimal(10, 2), Decimal(10, 3));
        yes(Decimal(15, 2), Double);
        no(Decimal(16, 2), Double);
        yes(Int, Varchar(UNBOUNDED));
        yes(Decimal(10, 2), Varchar(UNBOUNDED));
        no(Int, Varchar(5));
        no(Double, Varchar(UNBOUNDED));
        no(Varchar(UNBOUNDED), Int);
        yes(Char(3), Varchar(3));
        yes(Varchar(3), Varchar(UNBOUNDED));
        no(Varchar(4), Varchar(3));
        no(Varchar(3), Char(3));
        no(Char(3), Char(4));
        no(Varbinary(3), Varchar(UNBOUNDED));
        yes(Date, Timestamp(3));
        no(Date, Timestamp(9));
        no(Date, TimestampLtz(3));
        no(Timestamp(3), Date);
        yes(Timestamp(3), Timestamp(6));
        no(Timestamp(6), Timestamp(3));
        no(Timestamp(6), Timestamp(9));
        no(Timestamp(3), TimestampLtz(3));
        no(TimestampLtz(3), Varchar(UNBOUNDED));
        yes(Array(Box::new(Int.into())), Array(Box::new(SqlType::BIGINT.not_null())));
        no(Array(Box::new(BigInt.into())), Array(Box::new(Int.into())));
    }
}
