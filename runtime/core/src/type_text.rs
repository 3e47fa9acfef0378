//! Parses types as [`SqlType`] prints them: `DECIMAL(10, 2)`, `ARRAY<STRING NOT NULL>`, ``ROW<`a` INT, b MAP<STRING, DATE>>``.

use crate::types::{Field, UNBOUNDED};
use crate::{SqlType, TypeKind};
use std::str::FromStr;

/// Maximum depth of nested types, since types of guests are parsed on a small stack.
const DEEPEST: usize = 64;

impl FromStr for SqlType {
    type Err = String;

    fn from_str(text: &str) -> Result<SqlType, String> {
        let mut reader = TypeParser { text, at: 0, depth: 0 };
        let found = reader.ty()?;
        reader.skip();
        if reader.at < text.len() { Err(reader.wrong()) } else { Ok(found) }
    }
}

struct TypeParser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl TypeParser<'_> {
    fn wrong(&self) -> String {
        let shown: String = self.text.chars().take(60).collect();
        format!("'{shown}' is not a type, at sign {}", self.text[..self.at].chars().count() + 1)
    }
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }
    fn skip(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }
    fn sign(&mut self, sign: char) -> bool {
        self.skip();
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len_utf8() } else { 0 };
        found
    }
    fn want(&mut self, sign: char) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong()) }
    }
    fn word(&mut self) -> Result<String, String> {
        self.skip();
        let length = self.rest().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.wrong());
        }
        let word = self.rest()[..length].to_string();
        self.at += length;
        Ok(word)
    }
    /// Consumes a word if it comes next.
    fn keyword(&mut self, wanted: &str) -> bool {
        let before = self.at;
        let found = self.word().is_ok_and(|w| w.eq_ignore_ascii_case(wanted));
        if !found {
            self.at = before;
        }
        found
    }
    fn name(&mut self) -> Result<String, String> {
        if !self.sign('`') {
            return self.word();
        }
        let mut name = String::new();
        loop {
            let length = self.rest().find('`').ok_or_else(|| self.wrong())?;
            name += &self.rest()[..length];
            self.at += length + 1;
            if !self.rest().starts_with('`') {
                return Ok(name);
            }
            name.push('`');
            self.at += 1;
        }
    }
    fn number<T: FromStr>(&mut self) -> Result<T, String> {
        self.word()?.parse().map_err(|_| self.wrong())
    }
    /// Parses an optional number in parentheses.
    fn digits<T: FromStr>(&mut self, default: T) -> Result<T, String> {
        if !self.sign('(') {
            return Ok(default);
        }
        let n = self.number()?;
        self.want(')')?;
        Ok(n)
    }
    fn boxed(&mut self) -> Result<Box<SqlType>, String> {
        self.ty().map(Box::new)
    }

    fn ty(&mut self) -> Result<SqlType, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("a type is nested more than {DEEPEST} levels deep"));
        }
        let kind = self.kind()?;
        self.depth -= 1;
        let nullable = !self.keyword("NOT");
        if !nullable && !self.keyword("NULL") {
            return Err(self.wrong());
        }
        Ok(SqlType { kind, nullable })
    }

    fn kind(&mut self) -> Result<TypeKind, String> {
        Ok(match self.word()?.to_ascii_uppercase().as_str() {
            "BOOLEAN" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" => TypeKind::Float,
            "DOUBLE" => TypeKind::Double,
            "STRING" => TypeKind::Varchar(UNBOUNDED),
            "BYTES" => TypeKind::Varbinary(UNBOUNDED),
            "CHAR" => TypeKind::Char(self.digits(1)?),
            "VARCHAR" => TypeKind::Varchar(self.digits(UNBOUNDED)?),
            "BINARY" => TypeKind::Binary(self.digits(1)?),
            "VARBINARY" => TypeKind::Varbinary(self.digits(UNBOUNDED)?),
            "DATE" => TypeKind::Date,
            "TIME" => TypeKind::Time(self.seconds(0)?),
            "TIMESTAMP" => TypeKind::Timestamp(self.seconds(6)?),
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(self.seconds(6)?),
            "DECIMAL" => {
                let (mut precision, mut scale) = (10u8, 0u8);
                if self.sign('(') {
                    precision = self.number()?;
                    if self.sign(',') {
                        scale = self.number()?;
                    }
                    self.want(')')?;
                }
                if !(1..=38).contains(&precision) || scale > precision {
                    return Err(self.wrong());
                }
                TypeKind::Decimal(precision, scale)
            }
            "ARRAY" => {
                self.want('<')?;
                let element = self.boxed()?;
                self.want('>')?;
                TypeKind::Array(element)
            }
            "MULTISET" => {
                self.want('<')?;
                let element = self.boxed()?;
                self.want('>')?;
                TypeKind::Multiset(element)
            }
            "MAP" => {
                self.want('<')?;
                let key = self.boxed()?;
                self.want(',')?;
                let value = self.boxed()?;
                self.want('>')?;
                TypeKind::Map(key, value)
            }
            "ROW" => {
                self.want('<')?;
                let mut fields = vec![];
                while !self.sign('>') {
                    if !fields.is_empty() {
                        self.want(',')?;
                    }
                    let name = self.name()?;
                    fields.push(Field::new(name, self.ty()?));
                }
                TypeKind::Row(fields)
            }
            _ => return Err(self.wrong()),
        })
    }
    fn seconds(&mut self, default: u8) -> Result<u8, String> {
        let digits = self.digits(default)?;
        if digits > 9 { Err(self.wrong()) } else { Ok(digits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let all = "BOOLEAN,TINYINT,SMALLINT,INT,BIGINT,FLOAT,DOUBLE,DECIMAL(38, 18),CHAR(3),VARCHAR(9),STRING,BINARY(2),BYTES,DATE,\
                   TIME(0),TIMESTAMP(3),TIMESTAMP_LTZ(9),ARRAY<INT NOT NULL>,MAP<STRING, ARRAY<DATE>>,MULTISET<INT>,\
                   ROW<`a` INT, `b ``c` ROW<>>";
        let mut from = 0;
        for (at, _) in all.match_indices(',').chain([(all.len(), "")]) {
            let text = &all[from..at];
            let balanced = |o: char, c: char| text.matches(o).count() == text.matches(c).count();
            if balanced('(', ')') && balanced('<', '>') {
                assert_eq!(text.parse::<SqlType>().map(|t| t.to_string()), Ok(text.to_string()));
                from = at + 1;
            }
        }
        assert_eq!(from, all.len() + 1);
        for wrong in
            ["", "FOO", "ARRAY<INT", "ARRAY<INT>>", "DECIMAL(39, 0)", "ROW<a>", "INT NOT", "TIME(10)", "ROW<`a INT>"]
        {
            assert!(wrong.parse::<SqlType>().is_err(), "{wrong}");
        }
        assert!("ARRAY<".repeat(100_000).parse::<SqlType>().is_err());
    }
}
