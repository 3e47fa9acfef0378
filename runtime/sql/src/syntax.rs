//! The syntax tree of statements, and parsers for parts that several statements have.

use crate::places::{Range, place};
use crate::types::{ParseResult, expect_words, word_is};
use crate::words::{IS_RESERVED, name_part, quote_it, reserved};
use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use std::fmt;
use weir_core::error::Place;
use weir_core::{Error, SqlType};

/// An option as written, with its position. Environment variables are not replaced yet.
#[derive(Debug, Clone)]
pub struct WithOption {
    pub key: String,
    pub value: String,
    pub place: Option<Place>,
}

#[derive(Debug, Clone)]
pub enum ColumnKind {
    Physical(SqlType),
    /// The expression, and its range in the script.
    Computed(Box<Expr>, Range),
    /// The metadata key (by default the column's name), and whether the column is virtual.
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
    pub watermark: Option<Watermark>,
    pub options: Vec<WithOption>,
    pub like: Option<Like>,
    pub query: Option<Box<Query>>,
    /// Names without types, which reorder the columns of AS SELECT.
    pub order: Vec<Ident>,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone)]
pub struct Watermark {
    pub column: Ident,
    pub expr: Expr,
    /// The range of the expression in the script.
    pub text: Range,
}

/// LIKE of a CREATE TABLE: the table, and the merging strategy for each part.
#[derive(Debug, Clone)]
pub struct Like {
    pub table: ObjectName,
    pub options: Vec<(Merging, Part, Option<Place>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    Including,
    Excluding,
    Overwriting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    Constraints,
    Distribution,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

/// The change of an ALTER TABLE.
#[derive(Debug, Clone)]
pub enum Change {
    RenameTo(ObjectName),
    Rename(Ident, Ident),
    Set(Vec<WithOption>),
    Reset(Vec<(String, Option<Place>)>),
    Add(Added),
    Modify(Added),
    Drop(Vec<Ident>),
    DropWatermark,
    DropPrimaryKey,
    AsQuery(Box<Query>, Range),
}

/// The elements that ALTER TABLE adds or modifies.
#[derive(Debug, Clone)]
pub struct Added {
    /// Columns with their positions: first, or after another column.
    pub columns: Vec<(Column, Position)>,
    pub primary_key: Vec<Ident>,
    pub watermark: Option<Watermark>,
}

/// The position of a column.
#[derive(Debug, Clone)]
pub enum Position {
    AsIs,
    First,
    After(Ident),
}

/// A SHOW statement: what it lists, from which database, and with which filter.
#[derive(Debug, Clone)]
pub struct Show {
    pub what: Listed,
    pub of: Option<ObjectName>,
    /// The pattern of LIKE, whether it is negated, and whether it ignores case.
    pub like: Option<(String, bool, bool)>,
}

/// The kind of objects that SHOW lists.
#[derive(Debug, Clone)]
pub enum Listed {
    Tables,
    Views,
    Functions,
    UserFunctions,
    Databases,
    Catalogs,
    CurrentCatalog,
    CurrentDatabase,
    /// The columns of a table or view.
    Columns(ObjectName),
}

impl Listed {
    /// Whether there is exactly one such object.
    pub fn is_current(&self) -> bool {
        matches!(self, Listed::CurrentCatalog | Listed::CurrentDatabase)
    }
}

/// Formats it as in SQL.
impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Listed::Tables => "TABLES",
            Listed::Views => "VIEWS",
            Listed::Functions => "FUNCTIONS",
            Listed::UserFunctions => "USER FUNCTIONS",
            Listed::Databases => "DATABASES",
            Listed::Catalogs => "CATALOGS",
            Listed::CurrentCatalog => "CURRENT CATALOG",
            Listed::CurrentDatabase => "CURRENT DATABASE",
            Listed::Columns(_) => "COLUMNS",
        })
    }
}

/// The kind of object that DROP removes.
#[derive(Debug, Clone, Copy)]
pub enum Dropped {
    Table,
    View,
    Function,
    Database,
}

/// Formats it for messages.
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dropped::Table => "table",
            Dropped::View => "view",
            Dropped::Function => "function",
            Dropped::Database => "database",
        })
    }
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
    /// The columns of PARTITION, with their values if given.
    pub partition: Vec<(Ident, Option<Expr>)>,
    pub columns: Vec<Ident>,
    pub query: Box<Query>,
    pub overwrite: bool,
}

#[derive(Debug, Clone)]
pub enum Statement {
    CreateTable(CreateTable),
    CreateFunction(CreateFunction),
    CreateView { name: ObjectName, columns: Vec<Ident>, query: Box<Query>, text: Range, if_not_exists: bool },
    CreateDatabase { name: ObjectName, if_not_exists: bool },
    Use { name: ObjectName, catalog: bool },
    Drop { what: Dropped, name: ObjectName, if_exists: bool },
    Describe(ObjectName),
    Alter { view: bool, name: ObjectName, if_exists: bool, change: Change },
    Show(Show),
    ShowCreate { name: ObjectName, view: bool },
    Set { key: String, value: String },
    ShowSettings,
    Reset(Option<String>),
    Explain(Box<Statement>),
    Insert(InsertStatement),
    Query(Box<Query>),
    BeginSet(Option<Box<Statement>>),
    EndSet,
}

/// Words that are never meant as names: where one of them is found instead of a name, something is missing before it.
const CLAUSES: &[&str] = &[
    "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "UNION", "AS", "ON", "JOIN", "AND", "OR", "NOT", "INSERT",
    "INTO", "VALUES", "WITH", "CREATE", "EXPLAIN", "WHEN", "THEN", "ELSE", "END", "IN", "IS", "LIKE", "BETWEEN",
    "LIMIT",
];

/// Converts a parser error to an error with a position.
pub fn parser_error(e: ParserError) -> Error {
    let text = match e {
        ParserError::TokenizerError(t) | ParserError::ParserError(t) => t,
        ParserError::RecursionLimitExceeded => {
            return Error::script("the statement is nested too deeply");
        }
    };
    let error = match text.rsplit_once(" at Line: ") {
        Some((message, at)) => {
            let mut numbers = at.split(", Column: ").filter_map(|n| n.trim().parse::<u64>().ok());
            let found = numbers.next().zip(numbers.next());
            let message = message.trim_end_matches(',').to_string();
            let message = message.strip_prefix("Expected: ").map_or(message.clone(), |m| format!("expected {m}"));
            Error::script(message).at(found.map(|(line, column)| Place { line, column }))
        }
        None => Error::script(text),
    };
    match error.message.rsplit_once(", found: ") {
        Some((_, word)) if reserved(word) && !CLAUSES.contains(&word.to_ascii_uppercase().as_str()) => {
            let hint = format!("'{word}' {IS_RESERVED}; {}", quote_it(word));
            error.hint(hint)
        }
        _ => match error.message.strip_suffix(&format!("' {IS_RESERVED}")).and_then(|m| m.strip_prefix('\'')) {
            Some(word) => {
                let hint = quote_it(word);
                error.hint(hint)
            }
            None => error,
        },
    }
}

/// Parses a name of up to three parts.
pub fn object_name(p: &mut Parser<'_>) -> ParseResult<ObjectName> {
    let mut parts = vec![name_part(p)?];
    while p.consume_token(&Token::Period) {
        parts.push(name_part(p)?);
    }
    Ok(ObjectName::from(parts))
}

/// Parses a quoted text.
pub fn literal(p: &mut Parser<'_>) -> ParseResult<String> {
    let t = p.next_token();
    match t.token {
        Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) | Token::UnicodeStringLiteral(s) => Ok(s),
        _ => p.expected("a text in single quotes", t),
    }
}

/// Parses something, and returns its range as well.
pub fn ranged<'a, T>(
    p: &mut Parser<'a>,
    read: impl FnOnce(&mut Parser<'a>) -> ParseResult<T>,
) -> ParseResult<(T, Range)> {
    let from = p.peek_token().span.start;
    let out = read(p)?;
    Ok((out, (from, p.get_current_token().span.end)))
}

/// The error for a feature of Flink that Weir does not support.
pub fn missing<T>(p: &Parser<'_>, what: &str) -> ParseResult<T> {
    let at = p.peek_token().span.start;
    Err(ParserError::ParserError(format!("{what} is not supported yet{at}")))
}

pub fn if_not_exists(p: &mut Parser<'_>) -> ParseResult<bool> {
    if word_is(p, "IF") {
        expect_words(p, "NOT EXISTS")?;
        return Ok(true);
    }
    Ok(false)
}

pub fn options(p: &mut Parser<'_>) -> ParseResult<Vec<WithOption>> {
    p.expect_token(&Token::LParen)?;
    let mut out = vec![];
    while p.peek_token().token != Token::RParen {
        let at = p.peek_token().span.start;
        let key = literal(p)?;
        p.expect_token(&Token::Eq)?;
        let value = literal(p)?;
        out.push(WithOption { key, value, place: place(at) });
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    p.expect_token(&Token::RParen)?;
    Ok(out)
}

pub fn names(p: &mut Parser<'_>) -> ParseResult<Vec<Ident>> {
    p.expect_token(&Token::LParen)?;
    let names = p.parse_comma_separated(name_part)?;
    p.expect_token(&Token::RParen)?;
    Ok(names)
}
