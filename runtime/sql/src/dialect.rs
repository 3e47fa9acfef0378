//! The syntax of expressions in Flink's dialect that the parser does not know.

use crate::between_times;
use crate::forms::{
    Aggregated, ExistsElse, Form, Forms, JsonKind, OnNull, QueryElse, Side, TableArgument, ValueElse, Wrapper,
};
use crate::places::start;
use crate::types::{ParseResult, expect_words, parse_type, peek_word, word_is};
use crate::words::name_part;
use sqlparser::ast::{AccessExpr, Expr, Ident, Subscript, Value};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};
use weir_core::SqlType;

/// A construct that looks like a call but has its own syntax between the parentheses.
struct Syntax {
    name: &'static str,
    /// Whether there is also a function of this name with ordinary arguments, which is called by the name in quotes.
    function: bool,
    /// Parses the content of the parentheses.
    read: fn(&mut Parser<'_>) -> ParseResult<Form>,
}

const fn syntax(name: &'static str, function: bool, read: fn(&mut Parser<'_>) -> ParseResult<Form>) -> Syntax {
    Syntax { name, function, read }
}

const SYNTAX: &[Syntax] = &[
    syntax("CAST", true, |p| cast(p, false)),
    syntax("TRY_CAST", true, |p| cast(p, true)),
    syntax("JSON_VALUE", false, json_value),
    syntax("JSON_QUERY", false, json_query),
    syntax("JSON_EXISTS", false, json_exists),
    syntax("JSON_OBJECT", false, json_object),
    syntax("JSON_OBJECTAGG", false, json_object_aggregate),
    syntax("JSON_ARRAY", false, json_array),
    syntax("JSON_ARRAYAGG", false, json_array_aggregate),
    syntax("ROW", true, |p| Ok(Form::Row(p.parse_comma_separated(Parser::parse_expr)?))),
    syntax("TIMESTAMPADD", false, timestamp_add),
    syntax("TIMESTAMPDIFF", false, timestamp_difference),
    syntax("POSITION", true, position),
    syntax("TRIM", true, trim),
];

/// Whether this name, in capitals, only has its own syntax, so that there is no function of this name in quotes.
pub fn has_no_function(name: &str) -> bool {
    SYNTAX.iter().any(|s| s.name == name && !s.function)
}

/// Flink's dialect, and the nodes that a parser has created with it.
#[derive(Debug, Default)]
pub struct FlinkDialect {
    pub forms: Forms,
}

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
    fn supports_match_recognize(&self) -> bool {
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
    // Words that are not keywords here are names for the parser (see `tokens`), so any remaining keyword cannot be an alias.
    fn is_column_alias(&self, kw: &Keyword, _: &mut Parser<'_>) -> bool {
        *kw == Keyword::NoKeyword
    }
    fn is_table_alias(&self, kw: &Keyword, _: &mut Parser<'_>) -> bool {
        *kw == Keyword::NoKeyword
    }
    // Otherwise the parser would parse the rest of a statement twice at each keyword, only to fail the second time.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        kw != Keyword::NoKeyword
    }
    fn parse_prefix(&self, p: &mut Parser<'_>) -> Option<ParseResult<Expr>> {
        let first = p.peek_token();
        match first.token {
            Token::EscapedStringLiteral(text) => {
                p.next_token();
                return Some(Ok(text_at(text, first.span)));
            }
            Token::UnicodeStringLiteral(text) if peek_word(p, 1) == "UESCAPE" => {
                p.next_token();
                p.next_token();
                let mark = p.next_token();
                let Some(text) = unescaped(&text, &mark.token) else {
                    return Some(p.expected("a character behind UESCAPE that begins each escape of the text", mark));
                };
                return Some(Ok(text_at(text, first.span)));
            }
            _ => {}
        }
        let word = peek_word(p, 0);
        match (word.as_str(), p.peek_nth_token(1).token) {
            ("TABLE", Token::Word(_) | Token::LParen) => Some(self.table_argument(p)),
            ("MAP", Token::LBracket) => Some(self.map(p)),
            ("TIMESTAMP", Token::Word(w)) if w.value.eq_ignore_ascii_case("WITH") => Some(self.ltz_literal(p)),
            (word, Token::LParen) => {
                let syntax = SYNTAX.iter().find(|s| s.name == word)?;
                Some(self.call(p, syntax))
            }
            _ => None,
        }
    }
    fn get_next_precedence(&self, p: &Parser) -> Option<ParseResult<u8>> {
        between_times::follows(p).then(|| Ok(self.prec_value(Precedence::DoubleColon)))
    }
    fn parse_infix(&self, p: &mut Parser<'_>, left: &Expr, _precedence: u8) -> Option<ParseResult<Expr>> {
        if between_times::follows(p) {
            let span = p.get_current_token().span;
            return Some(between_times::parse(p, left)?.map(|form| self.forms.put(form, span)));
        }
        // `IS [NOT] JSON …`
        let negated = usize::from(peek_word(p, 1) == "NOT");
        if peek_word(p, 0) == "IS" && peek_word(p, 1 + negated) == "JSON" {
            (0..2 + negated).for_each(|_| {
                p.next_token();
            });
            let kind = json_kind(p);
            let form = Form::IsJson { text: left.clone(), kind };
            return Some(Ok(not_if(negated == 1, self.forms.put(form, p.get_current_token().span))));
        }
        // `IS [NOT] DISTINCT FROM …`, whose right side the parser takes too far.
        if peek_word(p, 0) == "IS" && peek_word(p, 1 + negated) == "DISTINCT" && peek_word(p, 2 + negated) == "FROM" {
            (0..3 + negated).for_each(|_| {
                p.next_token();
            });
            let (left, right) = (Box::new(left.clone()), p.parse_subexpr(self.prec_value(Precedence::Is)));
            return Some(right.map(|right| match negated {
                0 => Expr::IsDistinctFrom(left, Box::new(right)),
                _ => Expr::IsNotDistinctFrom(left, Box::new(right)),
            }));
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

fn text_at(text: String, span: Span) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).with_span(span))
}

/// The text of `U&'…' UESCAPE 'c'`: behind the character `c` are four hexadecimal digits, or `+` and six of them, or the character itself.
fn unescaped(text: &str, mark: &Token) -> Option<String> {
    let Token::SingleQuotedString(mark) = mark else { return None };
    let mut marks = mark.chars();
    let (Some(mark), None) = (marks.next(), marks.next()) else { return None };
    let (mut out, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        if c != mark {
            out.push(c);
            continue;
        }
        let mut ahead = rest.clone();
        let digits = match ahead.next()? {
            c if c == mark => {
                out.push(mark);
                rest = ahead;
                continue;
            }
            '+' => {
                rest = ahead;
                6
            }
            _ => 4,
        };
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + rest.next()?.to_digit(16)?;
        }
        out.push(char::from_u32(code)?);
    }
    Some(out)
}

impl FlinkDialect {
    /// Parses `TABLE t [PARTITION BY …] [ORDER BY …]`, an argument of a table function.
    fn table_argument(&self, p: &mut Parser<'_>) -> ParseResult<Expr> {
        let span = p.next_token().span;
        let table = if p.consume_token(&Token::LParen) {
            let query = p.parse_query()?;
            p.expect_token(&Token::RParen)?;
            TableArgument::Query(query)
        } else {
            let mut parts: Vec<Ident> = vec![name_part(p)?];
            while p.consume_token(&Token::Period) {
                parts.push(name_part(p)?);
            }
            TableArgument::Named(parts)
        };
        // Without parentheses, a comma ends the argument.
        let partition_by = clause(p, "PARTITION", |p| p.parse_expr())?;
        let order_by = clause(p, "ORDER", |p| p.parse_order_by_expr())?;
        Ok(self.forms.put(Form::Table { table, partition_by, order_by }, span))
    }

    /// Parses a construct that looks like a call.
    fn call(&self, p: &mut Parser<'_>, syntax: &Syntax) -> ParseResult<Expr> {
        let span = p.next_token().span;
        p.expect_token(&Token::LParen)?;
        let mut form = (syntax.read)(p)?;
        p.expect_token(&Token::RParen)?;
        let span = match &mut form {
            Form::JsonAggregate { filter, .. } => {
                *filter = filter_clause(p)?;
                span
            }
            // The position of an error in a cast is that of its operand.
            Form::Cast { expr, .. } => Span::new(start(expr), start(expr)),
            _ => span,
        };
        Ok(self.forms.put(form, span))
    }

    /// Parses `MAP[key, value, …]` and the subscripts after it, which the parser only expects after its own constructs.
    fn map(&self, p: &mut Parser<'_>) -> ParseResult<Expr> {
        let span = p.next_token().span;
        p.expect_token(&Token::LBracket)?;
        let mut items = vec![];
        if p.peek_token().token != Token::RBracket {
            items = p.parse_comma_separated(Parser::parse_expr)?;
        }
        p.expect_token(&Token::RBracket)?;
        let map = self.forms.put(Form::Map(items), span);
        let mut access_chain = vec![];
        while p.consume_token(&Token::LBracket) {
            access_chain.push(AccessExpr::Subscript(Subscript::Index { index: p.parse_expr()? }));
            p.expect_token(&Token::RBracket)?;
        }
        if access_chain.is_empty() {
            return Ok(map);
        }
        Ok(Expr::CompoundFieldAccess { root: Box::new(map), access_chain })
    }

    fn ltz_literal(&self, p: &mut Parser<'_>) -> ParseResult<Expr> {
        expect_words(p, "TIMESTAMP WITH LOCAL TIME ZONE")?;
        let span = p.get_current_token().span;
        let value = p.parse_literal_string()?;
        Ok(self.forms.put(Form::TimestampLtz(value), span))
    }
}

fn between(p: &mut Parser<'_>, left: &Expr, symmetric: bool, negated: bool) -> ParseResult<Expr> {
    let precedence = between_precedence();
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

/// The precedence of BETWEEN.
fn between_precedence() -> u8 {
    FlinkDialect::default().prec_value(Precedence::Between)
}

/// Parses `WORD BY one`, or several in parentheses; empty if the word does not follow.
fn clause<T>(p: &mut Parser<'_>, word: &str, read: fn(&mut Parser<'_>) -> ParseResult<T>) -> ParseResult<Vec<T>> {
    if !word_is(p, word) {
        return Ok(vec![]);
    }
    expect_words(p, "BY")?;
    if !p.consume_token(&Token::LParen) {
        return Ok(vec![read(p)?]);
    }
    let several = p.parse_comma_separated(read)?;
    p.expect_token(&Token::RParen)?;
    Ok(several)
}

fn not_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(expr) } } else { expr }
}

fn cast(p: &mut Parser<'_>, safe: bool) -> ParseResult<Form> {
    let expr = p.parse_expr()?;
    expect_words(p, "AS")?;
    Ok(Form::Cast { expr, ty: parse_type(p)?, safe })
}

fn json_kind(p: &mut Parser<'_>) -> JsonKind {
    let kinds = [
        ("VALUE", JsonKind::Value),
        ("OBJECT", JsonKind::Object),
        ("ARRAY", JsonKind::Array),
        ("SCALAR", JsonKind::Scalar),
    ];
    kinds.into_iter().find(|(word, _)| word_is(p, word)).map_or(JsonKind::Value, |(_, kind)| kind)
}

/// Parses a JSON document and a path.
fn json_and_path(p: &mut Parser<'_>) -> ParseResult<(Expr, Expr)> {
    let json = p.parse_expr()?;
    p.expect_token(&Token::Comma)?;
    Ok((json, p.parse_expr()?))
}

fn returning(p: &mut Parser<'_>) -> ParseResult<Option<SqlType>> {
    if word_is(p, "RETURNING") { parse_type(p).map(Some) } else { Ok(None) }
}

/// Parses the optional clauses `… ON EMPTY` and `… ON ERROR`. `read` parses the part before ON, if it matches.
fn otherwise<T>(
    p: &mut Parser<'_>,
    read: fn(&mut Parser<'_>) -> ParseResult<Option<T>>,
) -> ParseResult<(Option<T>, Option<T>)> {
    let (mut on_empty, mut on_error) = (None, None);
    while let Some(what) = read(p)? {
        expect_words(p, "ON")?;
        if word_is(p, "EMPTY") {
            on_empty = Some(what);
        } else {
            expect_words(p, "ERROR")?;
            on_error = Some(what);
        }
    }
    Ok((on_empty, on_error))
}

fn json_value(p: &mut Parser<'_>) -> ParseResult<Form> {
    let (json, path) = json_and_path(p)?;
    let returning = returning(p)?;
    let (on_empty, on_error) = otherwise(p, |p| {
        Ok(match peek_word(p, 0).as_str() {
            "NULL" => taken(p, ValueElse::Null),
            "ERROR" => taken(p, ValueElse::Error),
            "DEFAULT" => {
                p.next_token();
                Some(ValueElse::Default(p.parse_expr()?))
            }
            _ => None,
        })
    })?;
    Ok(Form::JsonValue { json, path, returning, on_empty, on_error })
}

/// Consumes a word, and returns its meaning.
fn taken<T>(p: &mut Parser<'_>, meant: T) -> Option<T> {
    p.next_token();
    Some(meant)
}

fn json_query(p: &mut Parser<'_>) -> ParseResult<Form> {
    let (json, path) = json_and_path(p)?;
    let returning = returning(p)?;
    let wrapper = wrapper(p)?;
    let (on_empty, on_error) = otherwise(p, |p| {
        Ok(match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
            ("NULL", _) => taken(p, QueryElse::Null),
            ("ERROR", _) => taken(p, QueryElse::Error),
            ("EMPTY", "ARRAY") => {
                p.next_token();
                taken(p, QueryElse::EmptyArray)
            }
            ("EMPTY", _) => {
                expect_words(p, "EMPTY OBJECT")?;
                Some(QueryElse::EmptyObject)
            }
            _ => None,
        })
    })?;
    Ok(Form::JsonQuery { json, path, returning, wrapper, on_empty, on_error })
}

/// `WITHOUT [ARRAY] WRAPPER`, `WITH [CONDITIONAL | UNCONDITIONAL] [ARRAY] WRAPPER`
fn wrapper(p: &mut Parser<'_>) -> ParseResult<Option<Wrapper>> {
    let wrapper = if word_is(p, "WITHOUT") {
        Wrapper::Without
    } else if !word_is(p, "WITH") {
        return Ok(None);
    } else if word_is(p, "CONDITIONAL") {
        Wrapper::Conditional
    } else {
        word_is(p, "UNCONDITIONAL");
        Wrapper::Unconditional
    };
    word_is(p, "ARRAY");
    expect_words(p, "WRAPPER")?;
    Ok(Some(wrapper))
}

fn json_exists(p: &mut Parser<'_>) -> ParseResult<Form> {
    let (json, path) = json_and_path(p)?;
    let words = [
        ("TRUE", ExistsElse::True),
        ("FALSE", ExistsElse::False),
        ("UNKNOWN", ExistsElse::Unknown),
        ("ERROR", ExistsElse::Error),
    ];
    let on_error = words.into_iter().find(|(word, _)| word_is(p, word)).map(|(_, what)| what);
    if on_error.is_some() {
        expect_words(p, "ON ERROR")?;
    }
    Ok(Form::JsonExists { json, path, on_error })
}

/// `NULL ON NULL` or `ABSENT ON NULL`
fn on_null(p: &mut Parser<'_>, default: OnNull) -> ParseResult<OnNull> {
    let found = match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
        ("NULL", "ON") => OnNull::Null,
        ("ABSENT", "ON") => OnNull::Absent,
        _ => return Ok(default),
    };
    p.next_token();
    expect_words(p, "ON NULL")?;
    Ok(found)
}

/// `[KEY] key VALUE value` or `key : value`
fn member(p: &mut Parser<'_>) -> ParseResult<(Expr, Expr)> {
    word_is(p, "KEY");
    let key = p.parse_expr()?;
    if !word_is(p, "VALUE") && !p.consume_token(&Token::Colon) {
        return p.expected("VALUE", p.peek_token());
    }
    Ok((key, p.parse_expr()?))
}

/// Parses items between commas, up to the clause for NULLs or the end.
fn items<T>(p: &mut Parser<'_>, read: fn(&mut Parser<'_>) -> ParseResult<T>) -> ParseResult<Vec<T>> {
    let mut items = vec![];
    while p.peek_token().token != Token::RParen && peek_word(p, 1) != "ON" {
        items.push(read(p)?);
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    Ok(items)
}

fn json_object(p: &mut Parser<'_>) -> ParseResult<Form> {
    Ok(Form::JsonObject { members: items(p, member)?, on_null: on_null(p, OnNull::Null)? })
}

fn json_array(p: &mut Parser<'_>) -> ParseResult<Form> {
    Ok(Form::JsonArray { items: items(p, |p| p.parse_expr())?, on_null: on_null(p, OnNull::Absent)? })
}

fn json_object_aggregate(p: &mut Parser<'_>) -> ParseResult<Form> {
    let (key, value) = member(p)?;
    Ok(Form::JsonAggregate { of: Aggregated::Object { key, value }, on_null: on_null(p, OnNull::Null)?, filter: None })
}

fn json_array_aggregate(p: &mut Parser<'_>) -> ParseResult<Form> {
    let item = p.parse_expr()?;
    Ok(Form::JsonAggregate { of: Aggregated::Array { item }, on_null: on_null(p, OnNull::Absent)?, filter: None })
}

/// `FILTER (WHERE …)`
fn filter_clause(p: &mut Parser<'_>) -> ParseResult<Option<Expr>> {
    if peek_word(p, 0) != "FILTER" || p.peek_nth_token(1).token != Token::LParen {
        return Ok(None);
    }
    p.next_token();
    p.next_token();
    expect_words(p, "WHERE")?;
    let condition = p.parse_expr()?;
    p.expect_token(&Token::RParen)?;
    Ok(Some(condition))
}

/// Parses a unit of time and two arguments.
fn unit_and_two(p: &mut Parser<'_>) -> ParseResult<(String, Expr, Expr)> {
    let unit = peek_word(p, 0);
    p.next_token();
    p.expect_token(&Token::Comma)?;
    let first = p.parse_expr()?;
    p.expect_token(&Token::Comma)?;
    Ok((unit, first, p.parse_expr()?))
}

fn timestamp_add(p: &mut Parser<'_>) -> ParseResult<Form> {
    let (unit, count, time) = unit_and_two(p)?;
    Ok(Form::TimestampAdd { unit, count, time })
}

fn timestamp_difference(p: &mut Parser<'_>) -> ParseResult<Form> {
    let (unit, from, to) = unit_and_two(p)?;
    Ok(Form::TimestampDiff { unit, from, to })
}

fn position(p: &mut Parser<'_>) -> ParseResult<Form> {
    let what = p.parse_subexpr(between_precedence())?;
    let words = word_is(p, "IN");
    if !words {
        p.expect_token(&Token::Comma)?;
    }
    let text = p.parse_expr()?;
    let more = if words { word_is(p, "FROM") } else { p.consume_token(&Token::Comma) };
    let from = if more { Some(p.parse_expr()?) } else { None };
    Ok(Form::Position { what, text, from })
}

fn trim(p: &mut Parser<'_>) -> ParseResult<Form> {
    let sides = [("BOTH", Side::Both), ("LEADING", Side::Leading), ("TRAILING", Side::Trailing)];
    let side = sides.into_iter().find(|(word, _)| word_is(p, word)).map_or(Side::Both, |(_, side)| side);
    if word_is(p, "FROM") {
        return Ok(Form::Trim { side, what: None, text: p.parse_expr()? });
    }
    let first = p.parse_expr()?;
    Ok(if word_is(p, "FROM") {
        Form::Trim { side, what: Some(first), text: p.parse_expr()? }
    } else {
        Form::Trim { side, what: None, text: first }
    })
}
