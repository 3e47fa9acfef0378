//! The statements of a script.

use crate::ddl::{alter, create, drop, show};
use crate::dialect::FlinkDialect;
use crate::forms::Forms;
use crate::hints::Hint;
use crate::syntax::{InsertStatement, Statement, missing, names, object_name, parser_error};
use crate::tokens::{depth, not_yet, tokens};
use crate::types::{ParseResult, expect_words, peek_word, word_is};
use crate::words::name_part;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use std::collections::BTreeSet;
use weir_core::error::Place;
use weir_core::{Error, Result};

/// A statement with its position, or its error.
pub struct Parsed {
    pub place: Place,
    /// The end of the statement.
    pub end: Place,
    pub statement: Result<Statement>,
}

/// A script, split into statements.
pub struct Statements {
    pub all: Vec<Parsed>,
    /// The nodes for which the statements' syntax trees have placeholders.
    pub forms: Forms,
    /// The hints after tables' names.
    pub hints: Vec<Hint>,
    /// The hints that have no effect.
    pub idle_hints: BTreeSet<&'static str>,
}

/// Maximum depth of nested statements. Stacks hold it easily, and it is far more than scripts need.
const NESTED: usize = 200;

/// Maximum number of consecutive operators in one expression or query.
const OPERATORS: usize = 100_000;

/// Parses all statements. An error in one does not hide the following ones.
///
/// # Errors
/// If the script cannot be split into tokens.
pub fn parse_script(sql: &str) -> Result<Statements> {
    let all = tokens(sql).map_err(parser_error)?;
    let mut out = vec![];
    let forms = Forms::default();
    let (mut hints, mut idle_hints) = (vec![], BTreeSet::new());
    let mut current: Vec<TokenWithSpan> = vec![];
    let end = all.last().map_or(Location { line: 1, column: 1 }, |t| t.span.end);
    for t in all.into_iter().chain([TokenWithSpan::at(Token::SemiColon, end, end)]) {
        if t.token != Token::SemiColon {
            current.push(t);
            continue;
        }
        let statement = std::mem::take(&mut current);
        let Some(first) = statement.iter().find(|t| !matches!(t.token, Token::Whitespace(_))) else {
            continue;
        };
        if first.token == Token::EOF {
            continue;
        }
        let start = Place { line: first.span.start.line, column: first.span.start.column };
        let statement = match crate::hints::take(&statement, &mut idle_hints) {
            Ok(found) => {
                hints.extend(found);
                one(statement, t.span.start, &forms)
            }
            Err(e) => Err(e),
        };
        let end = Place { line: t.span.end.line, column: t.span.end.column };
        out.push(Parsed { place: start, end, statement: statement.map_err(|e| e.at(Some(start))) });
    }
    Ok(Statements { all: out, forms, hints, idle_hints })
}

/// The maximum depth of the syntax trees of a script.
pub fn nesting(sql: &str) -> usize {
    tokens(sql).map_or(0, |all| depth(&all)).min(OPERATORS + NESTED)
}

/// Parses one statement.
fn one(mut tokens: Vec<TokenWithSpan>, end: Location, forms: &Forms) -> Result<Statement> {
    if let Some(e) = not_yet(&tokens) {
        return Err(e);
    }
    if depth(&tokens) > OPERATORS {
        return Err(Error::script(format!("the statement is too long: more than {OPERATORS} operators in a row")));
    }
    let last = tokens.last().map_or(end, |t| t.span.end);
    tokens.push(TokenWithSpan::at(Token::EOF, last, last));
    let dialect = FlinkDialect { forms: forms.clone() };
    let mut p = Parser::new(&dialect).with_recursion_limit(NESTED).with_tokens_with_locations(tokens);
    let parsed = parse(&mut p).and_then(|s| match p.peek_token().token {
        Token::EOF => Ok(s),
        _ => p.expected("the end of the statement", p.peek_token()),
    });
    parsed.map_err(parser_error)
}

/// Parses a statement within another one.
fn inner(p: &mut Parser<'_>) -> ParseResult<Statement> {
    let query = p.peek_token().token == Token::LParen;
    if query || ["INSERT", "SELECT", "WITH", "VALUES", "CREATE"].contains(&peek_word(p, 0).as_str()) {
        return parse(p);
    }
    if peek_word(p, 0) == "STATEMENT" {
        return missing(p, "EXPLAIN of a statement set");
    }
    p.expected("INSERT or SELECT", p.peek_token())
}

#[expect(clippy::too_many_lines, reason = "one flat match, an arm a statement")]
fn parse(p: &mut Parser<'_>) -> ParseResult<Statement> {
    match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
        ("CREATE", _) => create(p),
        ("ALTER", "TABLE" | "VIEW") => alter(p),
        ("ALTER", what) => missing(p, &format!("ALTER {what}")),
        ("INSERT", _) => insert(p).map(Statement::Insert),
        ("DROP", _) => drop(p),
        ("USE", "MODULES") => missing(p, "USE MODULES"),
        ("USE", _) => {
            p.next_token();
            let catalog = word_is(p, "CATALOG");
            if !catalog && matches!(p.peek_nth_token(1).token, Token::Word(_)) {
                word_is(p, "DATABASE");
            }
            Ok(Statement::Use { name: object_name(p)?, catalog })
        }
        ("DESCRIBE" | "DESC", what @ ("CATALOG" | "DATABASE" | "FUNCTION" | "JOB" | "MODEL"))
            if matches!(p.peek_nth_token(2).token, Token::Word(_) | Token::SingleQuotedString(_)) =>
        {
            missing(p, &format!("DESCRIBE {what}"))
        }
        ("DESCRIBE" | "DESC", _) => {
            p.next_token();
            word_is(p, "EXTENDED");
            Ok(Statement::Describe(object_name(p)?))
        }
        ("SHOW", _) => show(p),
        ("SET", _) => set(p),
        ("RESET", _) => {
            p.next_token();
            Ok(Statement::Reset(match p.peek_token().token {
                Token::EOF => None,
                _ => Some(set_part(p)),
            }))
        }
        ("EXPLAIN", _) => {
            p.next_token();
            if word_is(p, "PLAN") {
                expect_words(p, "FOR")?;
            } else {
                while ["ESTIMATED_COST", "CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "PLAN_ADVICE"]
                    .contains(&peek_word(p, 0).as_str())
                {
                    p.next_token();
                    let _more = p.consume_token(&Token::Comma);
                }
            }
            Ok(Statement::Explain(Box::new(inner(p)?)))
        }
        ("EXECUTE", "PLAN") => missing(p, "EXECUTE PLAN"),
        ("EXECUTE" | "BEGIN", _) => {
            let execute = word_is(p, "EXECUTE");
            if !execute {
                p.next_token();
            }
            if execute && peek_word(p, 0) != "STATEMENT" {
                return inner(p);
            }
            expect_words(p, "STATEMENT SET")?;
            if execute {
                expect_words(p, "BEGIN")?;
            }
            Ok(Statement::BeginSet(match p.peek_token().token {
                Token::EOF => None,
                _ => Some(Box::new(inner(p)?)),
            }))
        }
        ("END", _) => {
            p.next_token();
            Ok(Statement::EndSet)
        }
        ("SELECT" | "WITH" | "VALUES", _) => Ok(Statement::Query(p.parse_query()?)),
        ("", _) if p.peek_token().token == Token::LParen => Ok(Statement::Query(p.parse_query()?)),
        (what @ ("ANALYZE" | "TRUNCATE"), "TABLE") => missing(p, &format!("{what} TABLE")),
        (what @ ("LOAD" | "UNLOAD"), "MODULE") => missing(p, &format!("{what} MODULE")),
        (what @ ("ADD" | "REMOVE"), "JAR" | "CUSTOMJAR" | "FILE") => missing(p, &format!("{what} JAR")),
        ("COMPILE", _) => missing(p, "COMPILE PLAN"),
        ("STOP", "JOB") => missing(p, "STOP JOB"),
        (what @ ("CALL" | "DELETE" | "UPDATE" | "MERGE" | "UPSERT" | "REPLACE"), _) => missing(p, what),
        _ => p.expected(
            "a statement (CREATE, ALTER, INSERT, SELECT, SET, USE, DROP, DESCRIBE, SHOW, EXPLAIN, EXECUTE STATEMENT SET)",
            p.peek_token(),
        ),
    }
}

fn insert(p: &mut Parser<'_>) -> ParseResult<InsertStatement> {
    p.next_token();
    let overwrite = word_is(p, "OVERWRITE");
    if !overwrite {
        expect_words(p, "INTO")?;
    }
    word_is(p, "TABLE");
    let table = object_name(p)?;
    let mut partition = vec![];
    if word_is(p, "PARTITION") {
        p.expect_token(&Token::LParen)?;
        partition = p.parse_comma_separated(|p| {
            let column = name_part(p)?;
            let value = if p.consume_token(&Token::Eq) { Some(p.parse_expr()?) } else { None };
            Ok((column, value))
        })?;
        p.expect_token(&Token::RParen)?;
    }
    let mut columns = vec![];
    let query_follows =
        matches!(peek_word(p, 1).as_str(), "SELECT" | "WITH" | "VALUES") || p.peek_nth_token(1).token == Token::LParen;
    if p.peek_token().token == Token::LParen && !query_follows {
        columns = names(p)?;
    }
    Ok(InsertStatement { table, partition, columns, query: p.parse_query()?, overwrite })
}

/// Parses a key or value of SET: quoted, or everything up to the equals sign or the end.
fn set_part(p: &mut Parser<'_>) -> String {
    let mut out = String::new();
    loop {
        match p.peek_token().token {
            Token::SingleQuotedString(s) if out.is_empty() => {
                p.next_token();
                return s;
            }
            Token::Eq | Token::EOF => return out,
            t => {
                out += &t.to_string();
                p.next_token();
            }
        }
    }
}

fn set(p: &mut Parser<'_>) -> ParseResult<Statement> {
    p.next_token();
    if p.peek_token().token == Token::EOF {
        return Ok(Statement::ShowSettings);
    }
    let key = set_part(p);
    p.expect_token(&Token::Eq)?;
    Ok(Statement::Set { key, value: set_part(p) })
}
