//! Parses CREATE, ALTER, DROP and SHOW.

use crate::places::place;
use crate::syntax::{
    Added, Change, Column, ColumnKind, CreateFunction, CreateTable, Dropped, Like, Listed, Merging, Part, Position,
    Show, Statement, Watermark, if_not_exists, literal, missing, names, object_name, options, ranged,
};
use crate::types::{ParseResult, expect_words, parse_type, peek_word, word_is};
use crate::words::name_part;
use sqlparser::ast::Ident;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub fn create(p: &mut Parser<'_>) -> ParseResult<Statement> {
    p.next_token();
    if peek_word(p, 0) == "OR" {
        return missing(p, "CREATE OR REPLACE");
    }
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
            let name = object_name(p)?;
            let mut columns = vec![];
            if p.consume_token(&Token::LParen) {
                columns = p.parse_comma_separated(|p| {
                    let name = name_part(p)?;
                    comment(p)?;
                    Ok(name)
                })?;
                p.expect_token(&Token::RParen)?;
            }
            comment(p)?;
            expect_words(p, "AS")?;
            let (query, text) = ranged(p, Parser::parse_query)?;
            Ok(Statement::CreateView { name, columns, query, text, if_not_exists })
        }
        "DATABASE" => {
            p.next_token();
            let if_not_exists = if_not_exists(p)?;
            let name = object_name(p)?;
            comment(p)?;
            if word_is(p, "WITH") {
                options(p)?;
            }
            Ok(Statement::CreateDatabase { name, if_not_exists })
        }
        what @ ("CATALOG" | "MODEL" | "CONNECTION") => missing(p, &format!("CREATE {what}")),
        "MATERIALIZED" => missing(p, "CREATE MATERIALIZED TABLE"),
        _ => p.expected("TABLE, VIEW, FUNCTION or DATABASE", at),
    }
}

fn comment(p: &mut Parser<'_>) -> ParseResult<()> {
    if word_is(p, "COMMENT") {
        literal(p)?;
    }
    Ok(())
}

/// The elements of a table between its parentheses: columns, the primary key, and the watermark.
#[derive(Default)]
struct Elements {
    columns: Vec<(Column, Position)>,
    primary_key: Vec<Ident>,
    watermark: Option<Watermark>,
    /// Names without types.
    bare: Vec<Ident>,
}

fn element(p: &mut Parser<'_>, into: &mut Elements, bare: bool) -> ParseResult<()> {
    match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
        ("WATERMARK", "FOR") => {
            expect_words(p, "WATERMARK FOR")?;
            let column = name_part(p)?;
            let at = p.peek_token().span.start;
            if p.consume_token(&Token::Period) {
                let e = format!("WATERMARK FOR takes a column of the table, not a field of '{}'{at}", column.value);
                return Err(ParserError::ParserError(e));
            }
            if into.watermark.is_some() {
                return Err(ParserError::ParserError(format!("the table has two watermarks{}", column.span.start)));
            }
            expect_words(p, "AS")?;
            let (expr, text) = ranged(p, Parser::parse_expr)?;
            into.watermark = Some(Watermark { column, expr, text });
        }
        ("PRIMARY", "KEY") | ("CONSTRAINT", _) => {
            let at = p.peek_token();
            if word_is(p, "CONSTRAINT") {
                name_part(p)?;
            }
            expect_words(p, "PRIMARY KEY")?;
            let key = names(p)?;
            enforced(p)?;
            only_one(into, key, &at)?;
        }
        ("UNIQUE", _) => return missing(p, "UNIQUE"),
        _ => {
            let at = p.peek_token();
            let name = name_part(p)?;
            if bare && matches!(p.peek_token().token, Token::Comma | Token::RParen) {
                into.bare.push(name);
                return Ok(());
            }
            let kind = if word_is(p, "AS") {
                let (expr, text) = ranged(p, Parser::parse_expr)?;
                ColumnKind::Computed(Box::new(expr), text)
            } else {
                let ty = parse_type(p)?;
                if word_is(p, "METADATA") {
                    let key = if word_is(p, "FROM") { Some(literal(p)?) } else { None };
                    ColumnKind::Metadata { ty, key, is_virtual: word_is(p, "VIRTUAL") }
                } else {
                    if word_is(p, "CONSTRAINT") {
                        name_part(p)?;
                    }
                    if word_is(p, "PRIMARY") {
                        expect_words(p, "KEY")?;
                        enforced(p)?;
                        only_one(into, vec![name.clone()], &at)?;
                    }
                    ColumnKind::Physical(ty)
                }
            };
            comment(p)?;
            let position = if !bare && word_is(p, "FIRST") {
                Position::First
            } else if !bare && word_is(p, "AFTER") {
                Position::After(name_part(p)?)
            } else {
                Position::AsIs
            };
            into.columns.push((Column { name, kind }, position));
        }
    }
    Ok(())
}

fn enforced(p: &mut Parser<'_>) -> ParseResult<()> {
    if peek_word(p, 0) != "NOT" {
        return p.expected("NOT ENFORCED, for no table keeps watch over its key", p.peek_token());
    }
    expect_words(p, "NOT ENFORCED")
}

fn only_one(into: &mut Elements, key: Vec<Ident>, at: &sqlparser::tokenizer::TokenWithSpan) -> ParseResult<()> {
    if !into.primary_key.is_empty() {
        return Err(ParserError::ParserError(format!("the table has two primary keys{}", at.span.start)));
    }
    into.primary_key = key;
    Ok(())
}

/// Parses one element, or several in parentheses.
fn elements(p: &mut Parser<'_>) -> ParseResult<Elements> {
    let mut out = Elements::default();
    if !p.consume_token(&Token::LParen) {
        element(p, &mut out, false)?;
        return Ok(out);
    }
    while p.peek_token().token != Token::RParen {
        element(p, &mut out, false)?;
        if !p.consume_token(&Token::Comma) {
            break;
        }
    }
    p.expect_token(&Token::RParen)?;
    Ok(out)
}

fn create_table(p: &mut Parser<'_>) -> ParseResult<CreateTable> {
    let if_not_exists = if_not_exists(p)?;
    let name = object_name(p)?;
    let mut found = Elements::default();
    if p.consume_token(&Token::LParen) {
        while p.peek_token().token != Token::RParen {
            element(p, &mut found, true)?;
            if !p.consume_token(&Token::Comma) {
                break;
            }
        }
        p.expect_token(&Token::RParen)?;
    }
    let mut table = CreateTable {
        name,
        if_not_exists,
        columns: found.columns.into_iter().map(|(c, _)| c).collect(),
        primary_key: found.primary_key,
        partitioned_by: vec![],
        watermark: found.watermark,
        options: vec![],
        like: None,
        query: None,
        order: found.bare,
    };
    comment(p)?;
    if peek_word(p, 0) == "DISTRIBUTED" {
        return missing(p, "DISTRIBUTED");
    }
    if word_is(p, "PARTITIONED") {
        expect_words(p, "BY")?;
        table.partitioned_by = names(p)?;
    }
    if word_is(p, "WITH") {
        table.options = options(p)?;
    }
    if word_is(p, "LIKE") {
        table.like = Some(like(p)?);
    } else if word_is(p, "AS") {
        table.query = Some(p.parse_query()?);
    }
    if let Some(first) = table.order.first() {
        let mixed = !table.columns.is_empty() || !table.primary_key.is_empty() || table.watermark.is_some();
        if table.query.is_none() || mixed {
            let at = first.span.start;
            return Err(ParserError::ParserError(format!("column '{}' has no type{at}", first.value)));
        }
    }
    Ok(table)
}

fn like(p: &mut Parser<'_>) -> ParseResult<Like> {
    let mut like = Like { table: object_name(p)?, options: vec![] };
    if !p.consume_token(&Token::LParen) {
        return Ok(like);
    }
    while p.peek_token().token != Token::RParen {
        let at = p.peek_token();
        let merging = match peek_word(p, 0).as_str() {
            "INCLUDING" => Merging::Including,
            "EXCLUDING" => Merging::Excluding,
            "OVERWRITING" => Merging::Overwriting,
            _ => return p.expected("INCLUDING, EXCLUDING or OVERWRITING", at),
        };
        p.next_token();
        let part_at = p.peek_token();
        let part = match peek_word(p, 0).as_str() {
            "ALL" => Part::All,
            "CONSTRAINTS" => Part::Constraints,
            "DISTRIBUTION" => Part::Distribution,
            "GENERATED" => Part::Generated,
            "METADATA" => Part::Metadata,
            "OPTIONS" => Part::Options,
            "PARTITIONS" => Part::Partitions,
            "WATERMARKS" => Part::Watermarks,
            _ => {
                let parts = "ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS";
                return p.expected(parts, part_at);
            }
        };
        p.next_token();
        like.options.push((merging, part, place(at.span.start)));
    }
    p.expect_token(&Token::RParen)?;
    Ok(like)
}

fn create_function(p: &mut Parser<'_>) -> ParseResult<CreateFunction> {
    let if_not_exists = if_not_exists(p)?;
    let name = object_name(p)?;
    expect_words(p, "AS")?;
    let identifier = literal(p)?;
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
        file = Some((literal(p)?, place(at)));
    }
    let options = if word_is(p, "WITH") { options(p)? } else { vec![] };
    Ok(CreateFunction { name, if_not_exists, identifier, language, file, options })
}

pub fn drop(p: &mut Parser<'_>) -> ParseResult<Statement> {
    p.next_token();
    word_is(p, "TEMPORARY");
    word_is(p, "SYSTEM");
    let at = p.peek_token();
    let what = match peek_word(p, 0).as_str() {
        "TABLE" => Dropped::Table,
        "VIEW" => Dropped::View,
        "FUNCTION" => Dropped::Function,
        "DATABASE" => Dropped::Database,
        what @ ("CATALOG" | "MODEL" | "CONNECTION") => return missing(p, &format!("DROP {what}")),
        "MATERIALIZED" => return missing(p, "DROP MATERIALIZED TABLE"),
        _ => return p.expected("TABLE, VIEW, FUNCTION or DATABASE", at),
    };
    p.next_token();
    let if_exists = word_is(p, "IF");
    if if_exists {
        expect_words(p, "EXISTS")?;
    }
    let name = object_name(p)?;
    if !word_is(p, "CASCADE") {
        word_is(p, "RESTRICT");
    }
    Ok(Statement::Drop { what, name, if_exists })
}

pub fn alter(p: &mut Parser<'_>) -> ParseResult<Statement> {
    p.next_token();
    let view = peek_word(p, 0) == "VIEW";
    p.next_token();
    let if_exists = word_is(p, "IF");
    if if_exists {
        expect_words(p, "EXISTS")?;
    }
    let name = object_name(p)?;
    let at = p.peek_token();
    let what = peek_word(p, 0);
    p.next_token();
    let change = match (view, what.as_str()) {
        (true, "AS") => {
            let (query, text) = ranged(p, Parser::parse_query)?;
            Change::AsQuery(query, text)
        }
        (_, "RENAME") if word_is(p, "TO") => Change::RenameTo(object_name(p)?),
        (true, _) => return p.expected("RENAME TO or AS", at),
        (_, "RENAME") => {
            let from = name_part(p)?;
            expect_words(p, "TO")?;
            Change::Rename(from, name_part(p)?)
        }
        (_, "SET") => Change::Set(options(p)?),
        (_, "RESET") => {
            p.expect_token(&Token::LParen)?;
            let keys = p.parse_comma_separated(|p| {
                let at = p.peek_token().span.start;
                Ok((literal(p)?, place(at)))
            })?;
            p.expect_token(&Token::RParen)?;
            Change::Reset(keys)
        }
        (_, "ADD" | "MODIFY") => {
            if ["PARTITION", "DISTRIBUTION"].contains(&peek_word(p, 0).as_str()) || peek_word(p, 0) == "IF" {
                return missing(p, &format!("ALTER TABLE {what} {}", peek_word(p, 0)));
            }
            let e = elements(p)?;
            let added = Added { columns: e.columns, primary_key: e.primary_key, watermark: e.watermark };
            match what.as_str() {
                "ADD" => Change::Add(added),
                _ => Change::Modify(added),
            }
        }
        (_, "DROP") => match peek_word(p, 0).as_str() {
            "PRIMARY" => {
                expect_words(p, "PRIMARY KEY")?;
                Change::DropPrimaryKey
            }
            "CONSTRAINT" => {
                p.next_token();
                name_part(p)?;
                Change::DropPrimaryKey
            }
            "WATERMARK" => {
                p.next_token();
                Change::DropWatermark
            }
            w @ ("PARTITION" | "DISTRIBUTION") => return missing(p, &format!("ALTER TABLE DROP {w}")),
            _ if p.peek_token().token == Token::LParen => Change::Drop(names(p)?),
            _ => Change::Drop(vec![name_part(p)?]),
        },
        _ => return p.expected("RENAME, SET, RESET, ADD, MODIFY or DROP", at),
    };
    Ok(Statement::Alter { view, name, if_exists, change })
}

pub fn show(p: &mut Parser<'_>) -> ParseResult<Statement> {
    p.next_token();
    let at = p.peek_token();
    if word_is(p, "CREATE") {
        let view = match peek_word(p, 0).as_str() {
            "TABLE" => false,
            "VIEW" => true,
            what @ ("CATALOG" | "MODEL" | "MATERIALIZED") => return missing(p, &format!("SHOW CREATE {what}")),
            _ => return p.expected("TABLE or VIEW", p.peek_token()),
        };
        p.next_token();
        return Ok(Statement::ShowCreate { name: object_name(p)?, view });
    }
    let what = match (peek_word(p, 0).as_str(), peek_word(p, 1).as_str()) {
        ("CURRENT", "DATABASE") => Listed::CurrentDatabase,
        ("CURRENT", "CATALOG") => Listed::CurrentCatalog,
        ("USER", "FUNCTIONS") => Listed::UserFunctions,
        ("CURRENT" | "USER", _) => return p.expected("CURRENT DATABASE, CURRENT CATALOG or USER FUNCTIONS", at),
        ("TABLES", _) => Listed::Tables,
        ("VIEWS", _) => Listed::Views,
        ("FUNCTIONS", _) => Listed::Functions,
        ("DATABASES", _) => Listed::Databases,
        ("CATALOGS", _) => Listed::Catalogs,
        ("COLUMNS", _) => {
            p.next_token();
            if !word_is(p, "FROM") && !word_is(p, "IN") {
                return p.expected("FROM with a table", p.peek_token());
            }
            Listed::Columns(object_name(p)?)
        }
        (
            what @ ("JARS" | "JOBS" | "MODULES" | "FULL" | "PROCEDURES" | "PARTITIONS" | "MODELS" | "MATERIALIZED"),
            _,
        ) => return missing(p, &format!("SHOW {what}")),
        _ => {
            return p.expected(
                "TABLES, VIEWS, FUNCTIONS, DATABASES, CATALOGS, COLUMNS, CREATE TABLE, CREATE VIEW or CURRENT DATABASE",
                at,
            );
        }
    };
    match &what {
        Listed::CurrentCatalog | Listed::CurrentDatabase | Listed::UserFunctions => {
            p.next_token();
            p.next_token();
        }
        Listed::Tables | Listed::Views | Listed::Functions | Listed::Databases | Listed::Catalogs => {
            p.next_token();
        }
        Listed::Columns(_) => {}
    }
    let mut show = Show { what, of: None, like: None };
    let of_a_table = matches!(show.what, Listed::Columns(_));
    if !show.what.is_current() && !of_a_table && (word_is(p, "FROM") || word_is(p, "IN")) {
        show.of = Some(object_name(p)?);
    }
    let negated = peek_word(p, 0) == "NOT" && ["LIKE", "ILIKE"].contains(&peek_word(p, 1).as_str());
    if negated {
        p.next_token();
    }
    let any_case = peek_word(p, 0) == "ILIKE";
    if !show.what.is_current() && (word_is(p, "LIKE") || word_is(p, "ILIKE")) {
        show.like = Some((literal(p)?, negated, any_case));
    }
    Ok(Statement::Show(show))
}
