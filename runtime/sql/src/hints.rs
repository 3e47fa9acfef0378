//! Hints: comments that begin with `/*+`. Hints after a table's name give options, those after SELECT times to live and retries of lookups.
//! Hints without an effect here are reported.

use crate::places::place;
use crate::syntax::{self, WithOption, literal};
use crate::tokens::tokens;
use crate::types::ParseResult;
use crate::words::name_part;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};
use std::collections::BTreeSet;
use weir_core::error::Place;
use weir_core::{Error, Result};

/// A hint that takes effect.
#[derive(Debug, Clone)]
pub struct Hint {
    pub kind: HintKind,
    /// What it belongs to: the position of the last part of a table's name, or of SELECT.
    pub target: Place,
    /// The position of the hint.
    pub place: Option<Place>,
    pub options: Vec<WithOption>,
}

/// The hints that take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HintKind {
    /// After a table's name: options of the table.
    Options,
    /// After SELECT: times to live of the rows that joins and aggregations keep, by the names of the relations in FROM.
    StateTtl,
    /// After SELECT: how a lookup join looks up.
    Lookup,
}

/// The name of [`HintKind::StateTtl`].
pub const STATE_TTL: &str = "STATE_TTL";

/// The name of [`HintKind::Lookup`].
pub const LOOKUP: &str = "LOOKUP";

/// Hints that choose a join strategy in batch mode. There is only one strategy here.
const NOTHING: &[&str] = &["BROADCAST", "SHUFFLE_HASH", "SHUFFLE_MERGE", "NEST_LOOP", "MULTI_JOIN"];

/// Extracts the hints of a statement. The names of hints without an effect are added to `idle`.
///
/// # Errors
/// If a hint is misplaced or unknown, or requests something that does not exist.
pub fn take(statement: &[TokenWithSpan], idle: &mut BTreeSet<&'static str>) -> Result<Vec<Hint>> {
    let mut out: Vec<Hint> = vec![];
    let mut before: Option<&TokenWithSpan> = None;
    for t in statement {
        match &t.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) => {
                if let Some(text) = text.strip_prefix('+') {
                    let at = place(t.span.start);
                    one(text, before, at, &mut out, idle).map_err(|e| e.at(at))?;
                }
            }
            Token::Whitespace(_) => {}
            _ => before = Some(t),
        }
    }
    Ok(out)
}

fn one(
    text: &str,
    before: Option<&TokenWithSpan>,
    at: Option<Place>,
    out: &mut Vec<Hint>,
    idle: &mut BTreeSet<&'static str>,
) -> Result<()> {
    let of_query = before.is_some_and(
        |t| matches!(&t.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("SELECT")),
    );
    let select = before.filter(|_| of_query).and_then(|t| place(t.span.start));
    let mut all = tokens(text).map_err(wrong)?;
    let end = Location { line: 0, column: 0 };
    all.push(TokenWithSpan::at(Token::EOF, end, end));
    let dialect = crate::dialect::FlinkDialect::default();
    let mut p = Parser::new(&dialect).with_tokens_with_locations(all);
    loop {
        let name = match p.next_token().token {
            Token::Word(w) => w.value.to_ascii_uppercase(),
            _ => return Err(wrong(())),
        };
        match name.as_str() {
            "OPTIONS" if of_query => {
                let e = Error::script("the hint OPTIONS stands behind SELECT");
                return Err(e.hint("it goes behind the name of the table that it is for"));
            }
            "OPTIONS" => {
                let options = options(&mut p, at).map_err(wrong)?;
                let Some(TokenWithSpan { token: Token::Word(_), span }) = before else { return Err(misplaced()) };
                let Some(target) = place(span.start) else { return Err(misplaced()) };
                if out.iter().any(|h| h.target == target && h.kind == HintKind::Options) {
                    return Err(Error::script("a table takes one hint OPTIONS"));
                }
                out.push(Hint { kind: HintKind::Options, target, place: at, options });
            }
            STATE_TTL => {
                let options = options(&mut p, at).map_err(|_| {
                    let e = Error::script("this hint cannot be read");
                    e.hint("write it as SELECT /*+ STATE_TTL('name of a relation in FROM' = '1 d', …) */")
                })?;
                let target = select.ok_or_else(|| {
                    let e = Error::script("the hint STATE_TTL stands behind no SELECT");
                    e.hint("it goes right behind SELECT: SELECT /*+ STATE_TTL('t' = '1 d') */ …")
                })?;
                out.push(Hint { kind: HintKind::StateTtl, target, place: at, options });
            }
            LOOKUP => {
                const WRITTEN: &str = "SELECT /*+ LOOKUP('table' = 't', 'retry-predicate' = 'lookup_miss', …) */ …";
                let unread = |_| Error::script("this hint cannot be read").hint(format!("write it as {WRITTEN}"));
                let options = options(&mut p, at).map_err(unread)?;
                let target = select.ok_or_else(|| {
                    let e = Error::script("the hint LOOKUP stands behind no SELECT");
                    e.hint(format!("it goes right behind SELECT: {WRITTEN}"))
                })?;
                out.push(Hint { kind: HintKind::Lookup, target, place: at, options });
            }
            name if of_query && NOTHING.contains(&name) => {
                skip(&mut p).map_err(wrong)?;
                idle.extend(NOTHING.iter().find(|n| **n == name));
            }
            name => {
                let e = Error::script(format!("there is no hint {name} here"));
                return Err(e.hint("a comment that is no hint begins with /* and a blank"));
            }
        }
        // Hints are separated by commas or blanks.
        let _more = p.consume_token(&Token::Comma);
        if p.peek_token().token == Token::EOF {
            return Ok(());
        }
    }
}

fn wrong<E>(_: E) -> Error {
    Error::script("this hint cannot be read").hint("write it as /*+ OPTIONS('key' = 'value', …) */")
}

/// The error for a hint that the statement has no use for.
pub(crate) fn unused(hint: Option<&Hint>) -> Error {
    let at = hint.and_then(|h| h.place);
    match hint.map(|h| h.kind) {
        Some(HintKind::StateTtl) => Error::script("this statement has no use for the hint STATE_TTL").at(at),
        Some(HintKind::Lookup) => Error::script("this statement has no use for the hint LOOKUP").at(at),
        Some(HintKind::Options) | None => misplaced().at(at),
    }
}

/// The error for options after something that does not accept them.
fn misplaced() -> Error {
    Error::script("the hint OPTIONS stands behind no table")
        .hint("it goes right behind the name of a table: t /*+ OPTIONS('key' = 'value') */ AS a")
}

fn options(p: &mut Parser<'_>, at: Option<Place>) -> ParseResult<Vec<WithOption>> {
    let found = syntax::options(p)?;
    Ok(found.into_iter().map(|o| WithOption { place: at, ..o }).collect())
}

/// Skips the arguments of a hint without an effect.
fn skip(p: &mut Parser<'_>) -> ParseResult<()> {
    if !p.consume_token(&Token::LParen) {
        return Ok(());
    }
    while !p.consume_token(&Token::RParen) {
        if !p.consume_token(&Token::Comma) && name_part(p).is_err() {
            literal(p)?;
        }
    }
    Ok(())
}
