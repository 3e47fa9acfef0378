//! `(a - b) DAY TO SECOND`: the interval between two times.

use crate::forms::Form;
use crate::types::{peek_word, word_is};
use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

const UNITS: [&str; 8] = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"];

/// Whether a difference in parentheses was just parsed and a unit follows. Otherwise the word would be an alias.
pub(crate) fn follows(p: &Parser<'_>) -> bool {
    if p.get_current_token().token != Token::RParen || !UNITS.contains(&peek_word(p, 0).as_str()) {
        return false;
    }
    let (mut depth, mut minus) = (0usize, false);
    for at in (0..=p.get_current_index()).rev() {
        match &p.token_at(at).token {
            Token::RParen => depth += 1,
            Token::LParen if depth > 1 => depth -= 1,
            Token::LParen => {
                let mut before = (0..at).rev().map(|i| &p.token_at(i).token);
                let before = before.find(|t| !matches!(t, Token::Whitespace(_)));
                // After a name, the parentheses contain the arguments of a function.
                return minus && !matches!(before, Some(Token::Word(w)) if w.keyword == Keyword::NoKeyword);
            }
            Token::Minus if depth == 1 => minus = true,
            _ => {}
        }
    }
    false
}

/// Parses the interval, if the expression is a difference in parentheses.
pub(crate) fn parse(p: &mut Parser<'_>, left: &Expr) -> Option<Result<Form, ParserError>> {
    let Expr::Nested(inner) = left else { return None };
    let Expr::BinaryOp { left, op: BinaryOperator::Minus, right } = inner.as_ref() else { return None };
    let unit = peek_word(p, 0);
    let (left, right) = (left.as_ref().clone(), right.as_ref().clone());
    Some(qualifier(p).map(|()| Form::TimeDifference { left, right, unit }))
}

fn qualifier(p: &mut Parser<'_>) -> Result<(), ParserError> {
    let one = |p: &mut Parser<'_>| -> Result<(), ParserError> {
        let unit = peek_word(p, 0);
        if !UNITS.contains(&unit.as_str()) {
            return p.expected("a unit of time", p.peek_token());
        }
        p.next_token();
        if p.consume_token(&Token::LParen) {
            p.parse_literal_uint()?;
            if p.consume_token(&Token::Comma) {
                p.parse_literal_uint()?;
            }
            p.expect_token(&Token::RParen)?;
        }
        Ok(())
    };
    one(p)?;
    if word_is(p, "TO") { one(p) } else { Ok(()) }
}
