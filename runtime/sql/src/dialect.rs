//! What Flink's dialect has beyond the parser's common ground, inside expressions.
//!
//! Forms that the parser has no tree for come out as calls of functions with further arguments, which the binder knows.

use crate::between_times;
use crate::types::{expect_words, parse_type, peek_word, word_is};
use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Value, ValueWithSpan,
};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};
use weir_core::SqlType;

/// Functions whose clauses come out as further arguments.
pub const FORMS: &[&str] = &[
    "JSON_VALUE",
    "JSON_QUERY",
    "JSON_EXISTS",
    "JSON_OBJECT",
    "JSON_OBJECTAGG",
    "JSON_ARRAY",
    "JSON_ARRAYAGG",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
];

/// Flink's dialect.
#[derive(Debug)]
pub struct FlinkDialect;

impl Dialect for FlinkDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '$'
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn supports_table_versioning(&self) -> bool {
        true
    }
    fn supports_string_escape_constant(&self) -> bool {
        true
    }
    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
    fn supports_select_expr_star(&self) -> bool {
        true
    }
    // Words that are no keywords here are names to the parser (see `tokens`), so whatever keyword is left is none.
    fn is_column_alias(&self, kw: &Keyword, _: &mut Parser<'_>) -> bool {
        *kw == Keyword::NoKeyword
    }
    fn is_table_alias(&self, kw: &Keyword, _: &mut Parser<'_>) -> bool {
        *kw == Keyword::NoKeyword
    }
    // The parser would read the rest of a statement twice at each of them, to find an error the second time.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        kw != Keyword::NoKeyword
    }
    fn parse_prefix(&self, p: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let word = peek_word(p, 0);
        let next = p.peek_nth_token(1).token;
        match (word.as_str(), next) {
            ("CAST" | "TRY_CAST", Token::LParen) => Some(cast(p, word == "TRY_CAST")),
            ("JSON_VALUE", Token::LParen) => Some(json_value(p)),
            ("JSON_QUERY", Token::LParen) => Some(json_query(p)),
            ("JSON_EXISTS", Token::LParen) => Some(json_exists(p)),
            ("JSON_OBJECT" | "JSON_OBJECTAGG", Token::LParen) => Some(json_object(p)),
            ("JSON_ARRAY" | "JSON_ARRAYAGG", Token::LParen) => Some(json_array(p)),
            ("MAP", Token::LBracket) => Some(map(p)),
            ("ROW", Token::LParen) => Some(row(p)),
            ("TIMESTAMPADD" | "TIMESTAMPDIFF", Token::LParen) => Some(unit_call(p)),
            ("TIMESTAMP", Token::Word(w)) if w.value.eq_ignore_ascii_case("WITH") => Some(ltz_literal(p)),
            ("POSITION", Token::LParen) => Some(position(p)),
            ("TRIM", Token::LParen) => Some(trim(p)),
            _ => None,
        }
    }
    fn get_next_precedence(&self, p: &Parser) -> Option<Result<u8, ParserError>> {
        between_times::follows(p).then(|| Ok(self.prec_value(sqlparser::dialect::Precedence::DoubleColon)))
    }
    fn parse_infix(&self, p: &mut Parser<'_>, left: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        if between_times::follows(p) {
            let span = p.get_current_token().span;
            return Some(between_times::parse(p, left)?.map(|(mut args, unit)| {
                args.push(text(&unit));
                call_at("TIME - TIME", span, args)
            }));
        }
        // `IS [NOT] JSON …`
        let negated = usize::from(peek_word(p, 1) == "NOT");
        if peek_word(p, 0) == "IS" && peek_word(p, 1 + negated) == "JSON" {
            (0..2 + negated).for_each(|_| {
                p.next_token();
            });
            let kind = ["VALUE", "OBJECT", "ARRAY", "SCALAR"].into_iter().find(|k| word_is(p, k)).unwrap_or("VALUE");
            return Some(Ok(not_if(negated == 1, call("IS JSON", p, vec![left.clone(), text(kind)]))));
        }
        // `[NOT] BETWEEN SYMMETRIC a AND b`
        let negated = usize::from(peek_word(p, 0) == "NOT");
        if peek_word(p, negated) == "BETWEEN"
            && ["SYMMETRIC", "ASYMMETRIC"].contains(&peek_word(p, negated + 1).as_str())
        {
            let symmetric = peek_word(p, negated + 1) == "SYMMETRIC";
            (0..2 + negated).for_each(|_| {
                p.next_token();
            });
            return Some(between(p, left, symmetric, negated == 1));
        }
        None
    }
}

fn between(p: &mut Parser<'_>, left: &Expr, symmetric: bool, negated: bool) -> Result<Expr, ParserError> {
    let precedence = p.dialect_between_precedence();
    let low = p.parse_subexpr(precedence)?;
    expect_words(p, "AND")?;
    let high = p.parse_subexpr(precedence)?;
    let one = |low: &Expr, high: &Expr| Expr::Between {
        expr: Box::new(left.clone()),
        negated: false,
        low: Box::new(low.clone()),
        high: Box::new(high.clone()),
    };
    let either = if symmetric {
        Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(one(&low, &high)),
            op: sqlparser::ast::BinaryOperator::Or,
            right: Box::new(one(&high, &low)),
        }))
    } else {
        one(&low, &high)
    };
    Ok(not_if(negated, either))
}

trait Precedence {
    fn dialect_between_precedence(&self) -> u8;
}

impl Precedence for Parser<'_> {
    fn dialect_between_precedence(&self) -> u8 {
        FlinkDialect.prec_value(sqlparser::dialect::Precedence::Between)
    }
}

fn not_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(expr) } } else { expr }
}

fn text(s: &str) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(s.to_string()), span: Span::empty() })
}

fn null() -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Null, span: Span::empty() })
}

fn call(name: &str, p: &Parser<'_>, args: Vec<Expr>) -> Expr {
    call_at(name, p.get_current_token().span, args)
}

fn call_at(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let name = Ident { value: name.to_string(), quote_style: None, span };
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// A type as the syntax tree carries it: as its text, which the binder reads again.
fn carried(ty: &SqlType) -> DataType {
    DataType::Custom(ObjectName::from(vec![Ident::new(ty.to_string())]), vec![])
}

fn open(p: &mut Parser<'_>) -> Result<Span, ParserError> {
    let span = p.next_token().span;
    p.expect_token(&Token::LParen)?;
    Ok(span)
}

fn cast(p: &mut Parser<'_>, safe: bool) -> Result<Expr, ParserError> {
    open(p)?;
    let expr = p.parse_expr()?;
    expect_words(p, "AS")?;
    let ty = parse_type(p)?;
    p.expect_token(&Token::RParen)?;
    let kind = if safe { CastKind::TryCast } else { CastKind::Cast };
    Ok(Expr::Cast { kind, expr: Box::new(expr), data_type: carried(&ty), array: false, format: None })
}

/// `NULL | ERROR | EMPTY ARRAY | EMPTY OBJECT | TRUE | FALSE | UNKNOWN | DEFAULT expr`, then `ON EMPTY` or `ON ERROR`.
fn behaviours(p: &mut Parser<'_>) -> Result<[(Expr, Expr); 2], ParserError> {
    let mut out = [(text("NULL"), null()), (text("NULL"), null())];
    loop {
        let (kind, default) = match peek_word(p, 0).as_str() {
            w @ ("NULL" | "ERROR" | "TRUE" | "FALSE" | "UNKNOWN") => {
                let w = w.to_string();
                p.next_token();
                (w, null())
            }
            "EMPTY" => {
                p.next_token();
                let w = if word_is(p, "ARRAY") { "EMPTY ARRAY" } else { "EMPTY OBJECT" };
                if w == "EMPTY OBJECT" {
                    expect_words(p, "OBJECT")?;
                }
                (w.to_string(), null())
            }
            "DEFAULT" => {
                p.next_token();
                ("DEFAULT".to_string(), p.parse_expr()?)
            }
            _ => return Ok(out),
        };
        expect_words(p, "ON")?;
        let at = usize::from(!word_is(p, "EMPTY"));
        if at == 1 {
            expect_words(p, "ERROR")?;
        }
        out[at] = (text(&kind), default);
    }
}

/// NULL of a type: how a call is told what it returns.
fn null_of(ty: &SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(null()), data_type: carried(ty), array: false, format: None }
}

fn json_value(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = open(p)?;
    let json = p.parse_expr()?;
    p.expect_token(&Token::Comma)?;
    let path = p.parse_expr()?;
    let ty = if word_is(p, "RETURNING") { parse_type(p)? } else { SqlType::STRING };
    let returned = null_of(&ty);
    let [(empty, empty_default), (error, error_default)] = behaviours(p)?;
    p.expect_token(&Token::RParen)?;
    Ok(call_at("JSON_VALUE", span, vec![json, path, returned, empty, empty_default, error, error_default]))
}

fn json_query(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = open(p)?;
    let json = p.parse_expr()?;
    p.expect_token(&Token::Comma)?;
    let path = p.parse_expr()?;
    let ty = if word_is(p, "RETURNING") { parse_type(p)? } else { SqlType::STRING };
    let returned = null_of(&ty);
    let wrapper = if word_is(p, "WITHOUT") {
        "WITHOUT"
    } else if word_is(p, "WITH") {
        if word_is(p, "CONDITIONAL") {
            "CONDITIONAL"
        } else {
            word_is(p, "UNCONDITIONAL");
            "WITH"
        }
    } else {
        ""
    };
    if !wrapper.is_empty() {
        word_is(p, "ARRAY");
        expect_words(p, "WRAPPER")?;
    }
    let [(empty, _), (error, _)] = behaviours(p)?;
    p.expect_token(&Token::RParen)?;
    Ok(call_at("JSON_QUERY", span, vec![json, path, text(wrapper), empty, error, returned]))
}

fn json_exists(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = open(p)?;
    let json = p.parse_expr()?;
    p.expect_token(&Token::Comma)?;
    let path = p.parse_expr()?;
    let [_, (error, _)] = behaviours(p)?;
    p.expect_token(&Token::RParen)?;
    Ok(call_at("JSON_EXISTS", span, vec![json, path, error]))
}

/// `NULL ON NULL` or `ABSENT ON NULL`
fn on_null(p: &mut Parser<'_>, default: &'static str) -> Result<&'static str, ParserError> {
    let found = match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
        ("NULL", "ON") => "NULL",
        ("ABSENT", "ON") => "ABSENT",
        _ => return Ok(default),
    };
    p.next_token();
    expect_words(p, "ON NULL")?;
    Ok(found)
}

fn json_object(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let name = peek_word(p, 0);
    let span = open(p)?;
    let mut args = vec![];
    while p.peek_token().token != Token::RParen && peek_word(p, 1) != "ON" {
        word_is(p, "KEY");
        args.push(p.parse_expr()?);
        if !word_is(p, "VALUE") && !p.consume_token(&Token::Colon) {
            return p.expected("VALUE", p.peek_token());
        }
        args.push(p.parse_expr()?);
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    let on_null = on_null(p, "NULL")?;
    args.insert(0, text(&with_nested(&name, on_null, &args)));
    p.expect_token(&Token::RParen)?;
    let function = call_at(&name, span, args);
    filtered(p, function)
}

fn json_array(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let name = peek_word(p, 0);
    let span = open(p)?;
    let mut args = vec![];
    while p.peek_token().token != Token::RParen && peek_word(p, 1) != "ON" {
        args.push(p.parse_expr()?);
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    let on_null = on_null(p, "ABSENT")?;
    args.insert(0, text(&with_nested(&name, on_null, &args)));
    p.expect_token(&Token::RParen)?;
    let function = call_at(&name, span, args);
    filtered(p, function)
}

fn filtered(p: &mut Parser<'_>, mut expr: Expr) -> Result<Expr, ParserError> {
    if peek_word(p, 0) == "FILTER" && p.peek_nth_token(1).token == Token::LParen {
        p.next_token();
        p.next_token();
        expect_words(p, "WHERE")?;
        let condition = p.parse_expr()?;
        p.expect_token(&Token::RParen)?;
        if let Expr::Function(f) = &mut expr {
            f.filter = Some(Box::new(condition));
        }
    }
    Ok(expr)
}

/// What becomes of NULLs, and the places of arguments that are JSON already, which is not quoted inside other JSON. Aggregates
/// take such an argument as the text that it is, as Flink's do.
fn with_nested(name: &str, on_null: &str, args: &[Expr]) -> String {
    fn json(e: &Expr) -> bool {
        let Expr::Function(f) = e else { return matches!(e, Expr::Nested(e) if json(e)) };
        {
            let name = f.name.to_string().to_ascii_uppercase();
            ["JSON_OBJECT", "JSON_ARRAY", "JSON_OBJECTAGG", "JSON_ARRAYAGG", "JSON"].contains(&name.as_str())
        }
    }
    let mut out = on_null.to_string();
    if !name.ends_with("AGG") {
        args.iter().enumerate().filter(|(_, e)| json(e)).for_each(|(i, _)| out += &format!(" {}", i + 1));
    }
    out
}

fn map(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = p.next_token().span;
    p.expect_token(&Token::LBracket)?;
    let mut args = vec![];
    if p.peek_token().token != Token::RBracket {
        args = p.parse_comma_separated(Parser::parse_expr)?;
    }
    p.expect_token(&Token::RBracket)?;
    subscripts(p, call_at("MAP", span, args))
}

/// The parser looks for subscripts only behind its own forms.
fn subscripts(p: &mut Parser<'_>, mut expr: Expr) -> Result<Expr, ParserError> {
    while p.peek_token().token == Token::LBracket {
        let span = p.next_token().span;
        let index = p.parse_expr()?;
        p.expect_token(&Token::RBracket)?;
        expr = call_at("ITEM", span, vec![expr, index]);
    }
    Ok(expr)
}

fn row(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = open(p)?;
    let args = p.parse_comma_separated(Parser::parse_expr)?;
    p.expect_token(&Token::RParen)?;
    Ok(call_at("ROW", span, args))
}

fn unit_call(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let name = peek_word(p, 0);
    let span = open(p)?;
    let unit = peek_word(p, 0);
    p.next_token();
    let mut args = vec![text(&unit)];
    while p.consume_token(&Token::Comma) {
        args.push(p.parse_expr()?);
    }
    p.expect_token(&Token::RParen)?;
    Ok(call_at(&name, span, args))
}

fn ltz_literal(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    expect_words(p, "TIMESTAMP WITH LOCAL TIME ZONE")?;
    let span = p.get_current_token().span;
    let value = p.parse_literal_string()?;
    Ok(call_at("TIMESTAMP_LTZ LITERAL", span, vec![text(&value)]))
}

fn position(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = open(p)?;
    let precedence = FlinkDialect.prec_value(sqlparser::dialect::Precedence::Between);
    let mut args = vec![p.parse_subexpr(precedence)?];
    if word_is(p, "IN") {
        args.push(p.parse_expr()?);
        if word_is(p, "FROM") {
            args.push(p.parse_expr()?);
        }
    } else {
        while p.consume_token(&Token::Comma) {
            args.push(p.parse_expr()?);
        }
    }
    p.expect_token(&Token::RParen)?;
    Ok(call_at("POSITION", span, args))
}

fn trim(p: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let span = open(p)?;
    let side = ["BOTH", "LEADING", "TRAILING"].into_iter().find(|s| word_is(p, s));
    let name = match side {
        Some("LEADING") => "LTRIM",
        Some("TRAILING") => "RTRIM",
        _ => "TRIM",
    };
    let mut args = vec![];
    if word_is(p, "FROM") {
        args.push(p.parse_expr()?);
    } else {
        let what = p.parse_expr()?;
        if word_is(p, "FROM") {
            args.push(p.parse_expr()?);
        }
        args.push(what);
    }
    p.expect_token(&Token::RParen)?;
    Ok(call_at(name, span, args))
}
