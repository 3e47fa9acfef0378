//! Parses types in the syntax of Flink's dialect.

use crate::words::name_part;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use weir_core::types::UNBOUNDED;
use weir_core::{Field, SqlType, TypeKind};

/// The result of parsing.
pub type ParseResult<T> = Result<T, ParserError>;

/// Parses a type at the current position.
pub fn parse_type(p: &mut Parser<'_>) -> Result<SqlType, ParserError> {
    type_within(p, 0)
}

/// Maximum depth of nested types.
const DEPTH: usize = 100;

fn type_within(p: &mut Parser<'_>, mut depth: usize) -> Result<SqlType, ParserError> {
    let at = p.peek_token();
    let too_deep = || ParserError::ParserError(format!("the type is nested more than {DEPTH} deep{}", at.span.start));
    if depth > DEPTH {
        return Err(too_deep());
    }
    let mut ty = SqlType::from(parse_kind(p, depth + 1)?);
    loop {
        depth += 1;
        if depth > DEPTH {
            return Err(too_deep());
        }
        if word_is(p, "ARRAY") {
            ty = SqlType::from(TypeKind::Array(Box::new(ty)));
        } else if word_is(p, "MULTISET") {
            ty = SqlType::from(TypeKind::Multiset(Box::new(ty)));
        } else {
            break;
        }
    }
    if peek_word(p, 0) == "NOT" && peek_word(p, 1) == "NULL" {
        p.next_token();
        p.next_token();
        ty = ty.not_null();
    } else if peek_word(p, 0) == "NULL" && peek_word(p, 1) != "ON" {
        p.next_token();
    }
    Ok(ty)
}

/// The word at some distance, in capitals; empty if the token is not a word.
pub fn peek_word(p: &Parser<'_>, ahead: usize) -> String {
    match p.peek_nth_token(ahead).token {
        Token::Word(w) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// Consumes the next token if it is this word.
pub fn word_is(p: &mut Parser<'_>, word: &str) -> bool {
    let found = peek_word(p, 0) == word;
    if found {
        p.next_token();
    }
    found
}

/// Consumes these words, or fails with the position of the missing one.
pub fn expect_words(p: &mut Parser<'_>, words: &str) -> Result<(), ParserError> {
    for w in words.split(' ') {
        if !word_is(p, w) {
            return p.expected(w, p.peek_token());
        }
    }
    Ok(())
}

fn numbers(p: &mut Parser<'_>) -> Result<Vec<u64>, ParserError> {
    let mut out = vec![];
    if p.consume_token(&Token::LParen) {
        loop {
            out.push(p.parse_literal_uint()?);
            if !p.consume_token(&Token::Comma) {
                break;
            }
        }
        p.expect_token(&Token::RParen)?;
    }
    Ok(out)
}

fn close_angle(p: &mut Parser<'_>) -> Result<(), ParserError> {
    p.expect_token(&Token::Gt).map(|_| ())
}

#[expect(clippy::too_many_lines, reason = "one flat match, an arm a type")]
fn parse_kind(p: &mut Parser<'_>, depth: usize) -> Result<TypeKind, ParserError> {
    let at = p.peek_token();
    let name = peek_word(p, 0);
    p.next_token();
    let length = |n: &[u64], default: u32| n.first().map_or(default, |v| (*v).min(u64::from(UNBOUNDED)) as u32);
    let digits = |n: &[u64], default: u8| n.first().map_or(default, |v| (*v).min(9) as u8);
    Ok(match name.as_str() {
        "BOOLEAN" => TypeKind::Boolean,
        "TINYINT" => TypeKind::TinyInt,
        "SMALLINT" => TypeKind::SmallInt,
        "INT" | "INTEGER" => TypeKind::Int,
        "BIGINT" => TypeKind::BigInt,
        "FLOAT" => TypeKind::Float,
        "DOUBLE" => {
            word_is(p, "PRECISION");
            TypeKind::Double
        }
        "DECIMAL" | "DEC" | "NUMERIC" => {
            let n = numbers(p)?;
            let precision = n.first().copied().unwrap_or(10).min(38);
            let scale = n.get(1).copied().unwrap_or(0);
            if precision == 0 || scale > precision {
                return Err(ParserError::ParserError(format!(
                    "DECIMAL({precision}, {scale}): the precision is 1 to 38, the scale 0 to the precision{}",
                    at.span.start
                )));
            }
            TypeKind::Decimal(precision as u8, scale as u8)
        }
        "CHAR" | "CHARACTER" => {
            let varying = word_is(p, "VARYING");
            let n = length(&numbers(p)?, 1);
            if varying { TypeKind::Varchar(n) } else { TypeKind::Char(n) }
        }
        "VARCHAR" => TypeKind::Varchar(length(&numbers(p)?, UNBOUNDED)),
        "STRING" => TypeKind::Varchar(UNBOUNDED),
        "BINARY" => {
            let varying = word_is(p, "VARYING");
            let n = length(&numbers(p)?, 1);
            if varying { TypeKind::Varbinary(n) } else { TypeKind::Binary(n) }
        }
        "VARBINARY" => TypeKind::Varbinary(length(&numbers(p)?, UNBOUNDED)),
        "BYTES" => TypeKind::Varbinary(UNBOUNDED),
        "DATE" => TypeKind::Date,
        "TIME" => {
            let n = digits(&numbers(p)?, 0);
            if word_is(p, "WITHOUT") {
                expect_words(p, "TIME ZONE")?;
            }
            TypeKind::Time(n)
        }
        "TIMESTAMP" => {
            let n = digits(&numbers(p)?, 6);
            if word_is(p, "WITHOUT") {
                expect_words(p, "TIME ZONE")?;
            } else if word_is(p, "WITH") {
                expect_words(p, "LOCAL TIME ZONE")?;
                return Ok(TypeKind::TimestampLtz(n));
            }
            TypeKind::Timestamp(n)
        }
        "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(digits(&numbers(p)?, 6)),
        "INTERVAL" => {
            let unit = peek_word(p, 0);
            p.next_token();
            numbers(p)?;
            if word_is(p, "TO") {
                p.next_token();
                numbers(p)?;
            }
            match unit.as_str() {
                "YEAR" | "MONTH" | "QUARTER" => TypeKind::IntervalMonth,
                _ => TypeKind::IntervalDay,
            }
        }
        "ARRAY" | "MULTISET" => {
            p.expect_token(&Token::Lt)?;
            let item = Box::new(type_within(p, depth)?);
            close_angle(p)?;
            if name == "ARRAY" { TypeKind::Array(item) } else { TypeKind::Multiset(item) }
        }
        "MAP" => {
            p.expect_token(&Token::Lt)?;
            let key = Box::new(type_within(p, depth)?);
            p.expect_token(&Token::Comma)?;
            let value = Box::new(type_within(p, depth)?);
            close_angle(p)?;
            TypeKind::Map(key, value)
        }
        "ROW" => {
            let round = p.consume_token(&Token::LParen);
            if !round {
                p.expect_token(&Token::Lt)?;
            }
            let mut fields = vec![];
            loop {
                let field = name_part(p)?;
                let ty = type_within(p, depth)?;
                if matches!(p.peek_token().token, Token::SingleQuotedString(_)) {
                    p.next_token();
                }
                fields.push(Field::new(field.value, ty));
                if !p.consume_token(&Token::Comma) {
                    break;
                }
            }
            if round {
                p.expect_token(&Token::RParen)?;
            } else {
                close_angle(p)?;
            }
            TypeKind::Row(fields)
        }
        _ => return p.expected("a type", at),
    })
}
