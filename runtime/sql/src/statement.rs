//! The statements of a script.

use crate::dialect::{FlinkDialect, tokens};
use crate::types::{expect_words, parse_type, peek_word, word_is};
use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use weir_core::error::Place;
use weir_core::{Error, Result, SqlType};

/// An option as written, with its place.
#[derive(Debug, Clone)]
pub struct WithOption {
    pub key: String,
    pub value: String,
    pub place: Option<Place>,
}

#[derive(Debug, Clone)]
pub enum ColumnKind {
    Physical(SqlType),
    Computed(Box<Expr>),
    /// What of a record beside its fields it stands for (its own name otherwise), and whether it is only read.
    Metadata {
        ty: SqlType,
        key: Option<String>,
        is_virtual: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: Ident,
    pub kind: ColumnKind,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub columns: Vec<Column>,
    pub primary_key: Vec<Ident>,
    pub partitioned_by: Vec<Ident>,
    pub watermark: Option<(Ident, Expr)>,
    pub options: Vec<WithOption>,
}

#[derive(Debug, Clone)]
pub struct CreateFunction {
    pub name: ObjectName,
    pub if_not_exists: bool,
    pub identifier: String,
    pub language: Option<String>,
    pub file: Option<(String, Option<Place>)>,
    pub options: Vec<WithOption>,
}

#[derive(Debug, Clone)]
pub struct InsertStatement {
    pub table: ObjectName,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    pub overwrite: bool,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a few dozen of them live for the length of a compilation")]
pub enum Statement {
    CreateTable(CreateTable),
    CreateFunction(CreateFunction),
    CreateView { name: ObjectName, columns: Vec<Ident>, query: Box<Query>, if_not_exists: bool },
    CreateDatabase { name: ObjectName, if_not_exists: bool },
    Use { name: ObjectName, catalog: bool },
    Drop { what: String, name: ObjectName, if_exists: bool },
    Describe(ObjectName),
    Show(String),
    ShowCreate(ObjectName),
    Set { key: String, value: String },
    ShowSettings,
    Reset(Option<String>),
    Explain(Box<Statement>),
    Insert(InsertStatement),
    Query(Box<Query>),
    BeginSet(Option<Box<Statement>>),
    EndSet,
}

/// A statement and where it begins; or what is wrong with it.
pub struct Parsed {
    pub place: Place,
    pub statement: Result<Statement>,
}

pub fn place(l: Location) -> Option<Place> {
    (l.line > 0).then_some(Place { line: l.line, column: l.column })
}

/// Turns the parser's words into an error with its place.
pub fn parser_error(e: ParserError) -> Error {
    let text = match e {
        ParserError::TokenizerError(t) | ParserError::ParserError(t) => t,
        ParserError::RecursionLimitExceeded => {
            return Error::script("the statement is nested too deeply");
        }
    };
    match text.rsplit_once(" at Line: ") {
        Some((message, at)) => {
            let mut numbers = at.split(", Column: ").filter_map(|n| n.trim().parse::<u64>().ok());
            let found = numbers.next().zip(numbers.next());
            let message = message.trim_end_matches(',').to_string();
            let message = message.strip_prefix("Expected: ").map_or(message.clone(), |m| format!("expected {m}"));
            Error::script(message).at(found.map(|(line, column)| Place { line, column }))
        }
        None => Error::script(text),
    }
}

/// Reads all statements; a wrong one does not hide the next.
///
/// # Errors
/// When the script cannot even be cut into tokens.
pub fn parse_script(sql: &str) -> Result<Vec<Parsed>> {
    let all = tokens(sql).map_err(parser_error)?;
    let mut out = vec![];
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
        let last = statement.last().map_or(t.span.start, |t| t.span.end);
        let mut tokens = statement;
        tokens.push(TokenWithSpan::at(Token::EOF, last, last));
        let mut p = Parser::new(&FlinkDialect).with_recursion_limit(200).with_tokens_with_locations(tokens);
        let parsed = parse(&mut p).and_then(|s| match p.peek_token().token {
            Token::EOF => Ok(s),
            _ => p.expected("the end of the statement", p.peek_token()),
        });
        out.push(Parsed { place: start, statement: parsed.map_err(|e| parser_error(e).at(Some(start))) });
    }
    Ok(out)
}

type Outcome<T> = std::result::Result<T, ParserError>;

fn parse(p: &mut Parser<'_>) -> Outcome<Statement> {
    match peek_word(p, 0).as_str() {
        "CREATE" => create(p),
        "INSERT" => insert(p).map(Statement::Insert),
        "DROP" => drop(p),
        "USE" => {
            p.next_token();
            let catalog = word_is(p, "CATALOG");
            if !catalog {
                word_is(p, "DATABASE");
            }
            Ok(Statement::Use { name: p.parse_object_name(false)?, catalog })
        }
        "DESCRIBE" | "DESC" => {
            p.next_token();
            Ok(Statement::Describe(p.parse_object_name(false)?))
        }
        "SHOW" => show(p),
        "SET" => set(p),
        "RESET" => {
            p.next_token();
            Ok(Statement::Reset(match p.peek_token().token {
                Token::EOF => None,
                _ => Some(p.parse_literal_string()?),
            }))
        }
        "EXPLAIN" => {
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
            Ok(Statement::Explain(Box::new(parse(p)?)))
        }
        "EXECUTE" | "BEGIN" => {
            let execute = word_is(p, "EXECUTE");
            if !execute {
                p.next_token();
            }
            if execute && peek_word(p, 0) == "INSERT" {
                return parse(p);
            }
            expect_words(p, "STATEMENT SET")?;
            if execute {
                expect_words(p, "BEGIN")?;
            }
            Ok(Statement::BeginSet(match p.peek_token().token {
                Token::EOF => None,
                _ => Some(Box::new(parse(p)?)),
            }))
        }
        "END" => {
            p.next_token();
            Ok(Statement::EndSet)
        }
        "SELECT" | "WITH" | "VALUES" => Ok(Statement::Query(p.parse_query()?)),
        "" if p.peek_token().token == Token::LParen => Ok(Statement::Query(p.parse_query()?)),
        _ => p.expected(
            "a statement (CREATE, INSERT, SELECT, SET, USE, DROP, DESCRIBE, SHOW, EXPLAIN, EXECUTE STATEMENT SET)",
            p.peek_token(),
        ),
    }
}

fn if_not_exists(p: &mut Parser<'_>) -> Outcome<bool> {
    if word_is(p, "IF") {
        expect_words(p, "NOT EXISTS")?;
        return Ok(true);
    }
    Ok(false)
}

fn create(p: &mut Parser<'_>) -> Outcome<Statement> {
    p.next_token();
    word_is(p, "TEMPORARY");
    word_is(p, "SYSTEM");
    let at = p.peek_token();
    match peek_word(p, 0).as_str() {
        "TABLE" => {
            p.next_token();
            create_table(p).map(Statement::CreateTable)
        }
        "FUNCTION" => {
            p.next_token();
            create_function(p).map(Statement::CreateFunction)
        }
        "VIEW" => {
            p.next_token();
            let if_not_exists = if_not_exists(p)?;
            let name = p.parse_object_name(false)?;
            let mut columns = vec![];
            if p.consume_token(&Token::LParen) {
                columns = p.parse_comma_separated(Parser::parse_identifier)?;
                p.expect_token(&Token::RParen)?;
            }
            if word_is(p, "COMMENT") {
                p.parse_literal_string()?;
            }
            expect_words(p, "AS")?;
            Ok(Statement::CreateView { name, columns, query: p.parse_query()?, if_not_exists })
        }
        "DATABASE" => {
            p.next_token();
            let if_not_exists = if_not_exists(p)?;
            let name = p.parse_object_name(false)?;
            if word_is(p, "COMMENT") {
                p.parse_literal_string()?;
            }
            if word_is(p, "WITH") {
                options(p)?;
            }
            Ok(Statement::CreateDatabase { name, if_not_exists })
        }
        _ => p.expected("TABLE, VIEW, FUNCTION or DATABASE", at),
    }
}

fn options(p: &mut Parser<'_>) -> Outcome<Vec<WithOption>> {
    p.expect_token(&Token::LParen)?;
    let mut out = vec![];
    while p.peek_token().token != Token::RParen {
        let at = p.peek_token().span.start;
        let key = p.parse_literal_string()?;
        p.expect_token(&Token::Eq)?;
        let value = p.parse_literal_string()?;
        out.push(WithOption { key, value, place: place(at) });
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    p.expect_token(&Token::RParen)?;
    Ok(out)
}

fn names(p: &mut Parser<'_>) -> Outcome<Vec<Ident>> {
    p.expect_token(&Token::LParen)?;
    let names = p.parse_comma_separated(Parser::parse_identifier)?;
    p.expect_token(&Token::RParen)?;
    Ok(names)
}

fn create_table(p: &mut Parser<'_>) -> Outcome<CreateTable> {
    let if_not_exists = if_not_exists(p)?;
    let mut table = CreateTable {
        name: p.parse_object_name(false)?,
        if_not_exists,
        columns: vec![],
        primary_key: vec![],
        partitioned_by: vec![],
        watermark: None,
        options: vec![],
    };
    p.expect_token(&Token::LParen)?;
    while p.peek_token().token != Token::RParen {
        match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
            ("WATERMARK", "FOR") => {
                expect_words(p, "WATERMARK FOR")?;
                let column = p.parse_identifier()?;
                expect_words(p, "AS")?;
                table.watermark = Some((column, p.parse_expr()?));
            }
            ("PRIMARY", "KEY") | ("CONSTRAINT", _) => {
                if word_is(p, "CONSTRAINT") {
                    p.parse_identifier()?;
                }
                expect_words(p, "PRIMARY KEY")?;
                table.primary_key = names(p)?;
                expect_words(p, "NOT ENFORCED")?;
            }
            _ => {
                let name = p.parse_identifier()?;
                let kind = if word_is(p, "AS") {
                    ColumnKind::Computed(Box::new(p.parse_expr()?))
                } else {
                    let ty = parse_type(p)?;
                    if word_is(p, "METADATA") {
                        let key = if word_is(p, "FROM") { Some(p.parse_literal_string()?) } else { None };
                        ColumnKind::Metadata { ty, key, is_virtual: word_is(p, "VIRTUAL") }
                    } else {
                        if word_is(p, "PRIMARY") {
                            expect_words(p, "KEY NOT ENFORCED")?;
                            table.primary_key = vec![name.clone()];
                        }
                        ColumnKind::Physical(ty)
                    }
                };
                if word_is(p, "COMMENT") {
                    p.parse_literal_string()?;
                }
                table.columns.push(Column { name, kind });
            }
        }
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    p.expect_token(&Token::RParen)?;
    if word_is(p, "COMMENT") {
        p.parse_literal_string()?;
    }
    if word_is(p, "PARTITIONED") {
        expect_words(p, "BY")?;
        table.partitioned_by = names(p)?;
    }
    if word_is(p, "WITH") {
        table.options = options(p)?;
    }
    Ok(table)
}

fn create_function(p: &mut Parser<'_>) -> Outcome<CreateFunction> {
    let if_not_exists = if_not_exists(p)?;
    let name = p.parse_object_name(false)?;
    expect_words(p, "AS")?;
    let identifier = p.parse_literal_string()?;
    let language = if word_is(p, "LANGUAGE") {
        let w = peek_word(p, 0);
        p.next_token();
        Some(w)
    } else {
        None
    };
    let mut file = None;
    if word_is(p, "USING") {
        if !["FILE", "ARTIFACT", "JAR"].iter().any(|w| word_is(p, w)) {
            return p.expected("FILE or ARTIFACT", p.peek_token());
        }
        let at = p.peek_token().span.start;
        file = Some((p.parse_literal_string()?, place(at)));
    }
    let options = if word_is(p, "WITH") { options(p)? } else { vec![] };
    Ok(CreateFunction { name, if_not_exists, identifier, language, file, options })
}

fn insert(p: &mut Parser<'_>) -> Outcome<InsertStatement> {
    p.next_token();
    let overwrite = word_is(p, "OVERWRITE");
    if !overwrite {
        expect_words(p, "INTO")?;
    }
    word_is(p, "TABLE");
    let table = p.parse_object_name(false)?;
    let mut columns = vec![];
    let query_follows = matches!(peek_word(p, 1).as_str(), "SELECT" | "WITH" | "VALUES");
    if p.peek_token().token == Token::LParen && !query_follows {
        columns = names(p)?;
    }
    Ok(InsertStatement { table, columns, query: p.parse_query()?, overwrite })
}

fn drop(p: &mut Parser<'_>) -> Outcome<Statement> {
    p.next_token();
    word_is(p, "TEMPORARY");
    word_is(p, "SYSTEM");
    let at = p.peek_token();
    let what = peek_word(p, 0);
    if !["TABLE", "VIEW", "FUNCTION", "DATABASE"].contains(&what.as_str()) {
        return p.expected("TABLE, VIEW, FUNCTION or DATABASE", at);
    }
    p.next_token();
    let if_exists = word_is(p, "IF");
    if if_exists {
        expect_words(p, "EXISTS")?;
    }
    let name = p.parse_object_name(false)?;
    if !word_is(p, "CASCADE") {
        word_is(p, "RESTRICT");
    }
    Ok(Statement::Drop { what, name, if_exists })
}

fn show(p: &mut Parser<'_>) -> Outcome<Statement> {
    p.next_token();
    let at = p.peek_token();
    if word_is(p, "CREATE") {
        if !word_is(p, "TABLE") {
            expect_words(p, "VIEW")?;
        }
        return Ok(Statement::ShowCreate(p.parse_object_name(false)?));
    }
    let current = word_is(p, "CURRENT");
    let what = peek_word(p, 0);
    let known = ["TABLES", "VIEWS", "FUNCTIONS", "DATABASES", "CATALOGS", "DATABASE", "CATALOG"];
    if !known.contains(&what.as_str()) && what != "USER" {
        return p.expected("TABLES, VIEWS, FUNCTIONS, DATABASES, CATALOGS, CREATE TABLE or CURRENT DATABASE", at);
    }
    p.next_token();
    if what == "USER" {
        expect_words(p, "FUNCTIONS")?;
        return Ok(Statement::Show("USER FUNCTIONS".to_string()));
    }
    Ok(Statement::Show(if current { format!("CURRENT {what}") } else { what }))
}

fn set(p: &mut Parser<'_>) -> Outcome<Statement> {
    p.next_token();
    if p.peek_token().token == Token::EOF {
        return Ok(Statement::ShowSettings);
    }
    let part = |p: &mut Parser<'_>| -> Outcome<String> {
        let mut out = String::new();
        loop {
            let t = p.peek_token().token;
            match t {
                Token::SingleQuotedString(s) if out.is_empty() => {
                    p.next_token();
                    return Ok(s);
                }
                Token::Eq | Token::EOF => return Ok(out),
                t => {
                    out += &t.to_string();
                    p.next_token();
                }
            }
        }
    };
    let key = part(p)?;
    p.expect_token(&Token::Eq)?;
    let value = part(p)?;
    Ok(Statement::Set { key, value })
}
