//! Validates the bytes of a datum before it is built: whether they are complete, and how much memory the datum would take. The library
//! reads missing bytes at the end as NULL, allocates as many items as a few bytes claim, and recurses for each level.

use super::values::Written;
use apache_avro::schema::Schema;

/// Maximum depth of a value. Only a value of a recursive schema can be deeper than its schema.
const DEEPEST: usize = 200;

/// Maximum number of items without bytes, since any number of them could be claimed.
const MOST_EMPTY: usize = 1 << 20;

struct Walk<'a> {
    rest: &'a [u8],
    by: &'a Written,
    empty: usize,
}

/// Validates the datum at the front of some bytes, and returns its length.
///
/// # Errors
/// Why it is invalid.
pub(super) fn check(by: &Written, bytes: &[u8]) -> Result<usize, String> {
    let mut walk = Walk { rest: bytes, by, empty: 0 };
    walk.value(&by.schema, 0)?;
    Ok(bytes.len() - walk.rest.len())
}

impl Walk<'_> {
    fn skip(&mut self, n: usize) -> Result<(), String> {
        self.rest = self.rest.get(n..).ok_or_else(|| "it ends in the middle of a value".to_string())?;
        Ok(())
    }

    fn long(&mut self) -> Result<i64, String> {
        let mut n = 0u64;
        for i in 0..10 {
            let byte = *self.rest.get(i).ok_or("it ends in the middle of a number")?;
            n |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok((n >> 1).cast_signed() ^ -((n & 1).cast_signed()));
            }
        }
        Err("a number has more than ten bytes".to_string())
    }

    fn length(&mut self) -> Result<usize, String> {
        let n = self.long()?;
        usize::try_from(n).map_err(|_| format!("a length is {n}"))
    }

    /// Walks over the blocks of an array or map, and calls `item` for each item.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.length()?;
                count = count.checked_neg().ok_or("a block has no number of items")?;
            }
            for _ in 0..count {
                let before = self.rest.len();
                item(self)?;
                if self.rest.len() == before {
                    self.empty += 1;
                    if self.empty > MOST_EMPTY {
                        return Err(format!("it has more than {MOST_EMPTY} items without a byte"));
                    }
                }
            }
        }
    }

    fn value(&mut self, schema: &Schema, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} levels"));
        }
        match schema {
            Schema::Null => Ok(()),
            Schema::Boolean => self.skip(1),
            Schema::Float => self.skip(4),
            Schema::Double => self.skip(8),
            Schema::Duration => self.skip(12),
            Schema::Fixed(f) => self.skip(f.size),
            Schema::Decimal(d) => self.value(&d.inner, depth + 1),
            Schema::Bytes | Schema::String | Schema::BigDecimal | Schema::Uuid => {
                let n = self.length()?;
                self.skip(n)
            }
            Schema::Array(a) => self.blocks(|w| w.value(&a.items, depth + 1)),
            Schema::Map(m) => self.blocks(|w| {
                w.value(&Schema::String, depth + 1)?;
                w.value(&m.types, depth + 1)
            }),
            Schema::Union(u) => {
                let n = self.length()?;
                let variant = u.variants().get(n).ok_or_else(|| format!("a union has no part {n}"))?;
                self.value(variant, depth + 1)
            }
            Schema::Record(r) => r.fields.iter().try_for_each(|f| self.value(&f.schema, depth + 1)),
            Schema::Ref { name } => {
                let by = self.by;
                let schema = by.named(name).ok_or_else(|| format!("the schema does not say what {name} is"))?;
                self.value(schema, depth + 1)
            }
            Schema::Int
            | Schema::Long
            | Schema::Enum(_)
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => self.long().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(schema: &str, bytes: &[u8]) -> Result<usize, String> {
        check(&Written::new(Schema::parse_str(schema).expect("a schema")), bytes)
    }

    #[test]
    fn what_is_not_all_there_is_no_datum() {
        let schema = r#"{"type": "record", "name": "r", "fields": [{"name": "b", "type": "boolean"},
            {"name": "s", "type": "string"}, {"name": "u", "type": ["null", "long"]}]}"#;
        let whole = [1, 4, b'a', b'b', 2, 0x80, 1];
        assert_eq!(checked(schema, &whole), Ok(7));
        for n in 0..7 {
            assert!(checked(schema, &whole[..n]).is_err(), "{n} bytes");
        }
        for wrong in
            [&[1, 1, 0, 0][..], &[1, 0, 4], &[1, 0, 1], &[1, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]]
        {
            assert!(checked(schema, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_has_a_deepest_value() {
        let schema = r#"{"type": "record", "name": "n", "fields": [{"name": "next", "type": ["null", "n"]}]}"#;
        assert_eq!(checked(schema, &[2, 2, 0]), Ok(3));
        assert!(checked(schema, &vec![2; 1 << 20]).is_err());
    }

    #[test]
    fn items_that_are_claimed_are_there() {
        // A thousand million numbers in six bytes, and as many NULLs.
        let claim = [0x80, 0xA8, 0xD6, 0xB9, 0x07, 0];
        assert!(checked(r#"{"type": "array", "items": "long"}"#, &claim).is_err());
        assert!(checked(r#"{"type": "array", "items": "null"}"#, &claim).is_err());
        assert_eq!(checked(r#"{"type": "array", "items": "null"}"#, &[6, 0]), Ok(2));
        assert_eq!(checked(r#"{"type": "map", "values": "int"}"#, &[3, 10, 2, b'a', 2, 2, b'b', 4, 0]), Ok(9));
    }
}
