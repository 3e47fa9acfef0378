//! Splits scripts into tokens, and checks statements before they are parsed: for unsupported features, and for the maximum depth of
//! nesting.

use crate::dialect::FlinkDialect;
use crate::match_clauses::rewritten;
use crate::places::place;
use crate::words::reserved;
use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};
use weir_core::Error;

/// Splits a text into tokens. `>>`, which only nested types contain in this dialect, becomes two tokens. Words that the parser knows and
/// Flink does not reserve become plain names, unless they are used as keywords.
pub fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, ParserError> {
    let tokens = Tokenizer::new(&FlinkDialect::default(), sql).tokenize_with_location()?;
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut before = Before::default();
    for mut t in tokens {
        if t.token == Token::ShiftRight {
            let half = |from: u64| {
                let at = Location { line: t.span.start.line, column: t.span.start.column + from };
                TokenWithSpan { token: Token::Gt, span: Span::new(at, at) }
            };
            out.push(half(0));
            out.push(half(1));
            before.pass(&Token::Gt);
            continue;
        }
        if let Token::HexStringLiteral(h) = &t.token
            && t.span.end.column - t.span.start.column == h.len() as u64 + 2
        {
            return Err(ParserError::ParserError(format!(
                "0x{h} is no number; write numbers in decimal digits, and bytes as X'{h}'{}",
                t.span.start
            )));
        }
        if let Token::Word(w) = &mut t.token
            && w.quote_style.is_none()
            && w.keyword != Keyword::NoKeyword
            && !reserved(&w.value)
            && !before.is_meant(w.keyword)
        {
            w.keyword = Keyword::NoKeyword;
        }
        // The parser only supports units of time with the shorter word.
        if let Token::Word(w) = &mut t.token
            && w.quote_style.is_none()
            && w.value.eq_ignore_ascii_case("CEILING")
        {
            (w.value, w.keyword) = ("CEIL".to_string(), Keyword::CEIL);
        }
        before.pass(&t.token);
        out.push(t);
    }
    Ok(rewritten(out))
}

/// The last tokens, without blanks and comments. For each open pair of parentheses also the word before it, or ORDER after an ORDER BY
/// within it.
#[derive(Default)]
struct Before {
    last: [Option<Token>; 4],
    within: Vec<Keyword>,
}

impl Before {
    fn pass(&mut self, t: &Token) {
        match t {
            Token::Whitespace(_) => return,
            Token::LParen => self.within.push(self.word(0)),
            Token::RParen => {
                self.within.pop();
            }
            Token::SemiColon => self.within.clear(),
            Token::Word(w) if w.keyword == Keyword::BY && self.word(0) == Keyword::ORDER => {
                self.within.pop();
                self.within.push(Keyword::ORDER);
            }
            _ => {}
        }
        self.last.rotate_right(1);
        self.last[0] = Some(t.clone());
    }

    fn word(&self, back: usize) -> Keyword {
        match &self.last[back] {
            Some(Token::Word(w)) if w.quote_style.is_none() => w.keyword,
            _ => Keyword::NoKeyword,
        }
    }

    /// Whether a word that could be a name is used as a keyword here.
    fn is_meant(&self, keyword: Keyword) -> bool {
        use Keyword as K;
        match keyword {
            K::PLACING => self.within.last() == Some(&K::OVERLAY),
            K::SETS => self.word(0) == K::GROUPING,
            K::PRECEDING | K::FOLLOWING => {
                self.word(0) == K::UNBOUNDED
                    || matches!(self.last[0], Some(Token::Number(..) | Token::RParen))
                    || (1..4).any(|back| self.word(back) == K::INTERVAL)
            }
            K::UNBOUNDED => matches!(self.word(0), K::ROWS | K::RANGE | K::BETWEEN | K::AND),
            K::ORDINALITY => self.word(0) == K::WITH,
            K::ZONE => self.word(0) == K::TIME,
            K::FIRST if self.word(0) == K::FETCH => true,
            K::ASC | K::DESC | K::NULLS | K::FIRST | K::LAST => self.within.last() == Some(&K::ORDER),
            // A unit of time: EXTRACT(unit …), … TO unit, INTERVAL '1' unit
            _ if self.last[0] == Some(Token::LParen) => matches!(self.word(1), K::EXTRACT),
            _ if self.word(0) == K::TO => true,
            _ => {
                let length =
                    matches!(self.last[0], Some(Token::SingleQuotedString(_) | Token::Number(..) | Token::RParen));
                length && (1..4).any(|back| self.word(back) == K::INTERVAL)
            }
        }
    }
}

/// The maximum depth of a statement: consecutive operators, plus those around the parentheses that contain them.
pub fn depth(tokens: &[TokenWithSpan]) -> usize {
    // For each open pair of parentheses: set operations, and operators since the last comma.
    let mut levels = vec![(0usize, 0usize)];
    let (mut sum, mut most) = (0, 0);
    for t in tokens {
        let nested = levels.len() > 1;
        let Some(top) = levels.last_mut() else { break };
        match &t.token {
            Token::LParen | Token::LBracket => levels.push((0, 0)),
            Token::RParen | Token::RBracket if nested => {
                let (a, b) = levels.pop().unwrap_or_default();
                sum -= a + b;
            }
            Token::Comma => {
                sum -= top.1;
                top.1 = 0;
            }
            Token::SemiColon => {
                levels = vec![(0, 0)];
                sum = 0;
            }
            Token::Word(w) => match w.keyword {
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS | Keyword::JOIN => {
                    top.0 += 1;
                    sum += 1;
                }
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::SIMILAR
                | Keyword::BETWEEN
                | Keyword::OVERLAPS
                | Keyword::AT
                | Keyword::INTERVAL
                | Keyword::COLLATE => {
                    top.1 += 1;
                    sum += 1;
                }
                _ => {}
            },
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::RParen
            | Token::RBracket
            | Token::Period => {}
            _ => {
                top.1 += 1;
                sum += 1;
            }
        }
        most = most.max(sum + levels.len());
    }
    most
}

/// The error for features of Flink that Weir does not support. They are recognized by their first words, since the parser would fail on
/// what follows.
pub fn not_yet(tokens: &[TokenWithSpan]) -> Option<Error> {
    let all: Vec<&TokenWithSpan> = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let word = |i: usize| match all.get(i).map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let is = |i: usize, token: &Token| all.get(i).is_some_and(|t| t.token == *token);
    let open = |i: usize| is(i, &Token::LParen);
    (0..all.len()).find_map(|i| {
        let named = word(i);
        let qualified = i > 0 && is(i - 1, &Token::Period);
        if named.is_empty() || qualified {
            return None;
        }
        let before = if i > 0 { word(i - 1) } else { String::new() };
        let (what, hint): (String, &str) = match named.as_str() {
            // The parser recurses here without counting the depth.
            "INTERVAL" if word(i + 1) == "INTERVAL" => ("INTERVAL within INTERVAL".to_string(), ""),
            "LATERAL" if word(i + 1) == "TABLE" => {
                ("LATERAL TABLE".to_string(), "UNNEST takes apart the ARRAY of a function")
            }
            "PIVOT" | "UNPIVOT" | "TABLESAMPLE" => (named.clone(), ""),
            "IGNORE" | "RESPECT" if word(i + 1) == "NULLS" && is(i.wrapping_sub(1), &Token::RParen) => {
                (format!("{named} NULLS"), "")
            }
            "WITHIN" if word(i + 1) == "GROUP" => ("WITHIN GROUP".to_string(), ""),
            "MULTISET"
                if is(i + 1, &Token::LBracket) || matches!(word(i + 1).as_str(), "UNION" | "INTERSECT" | "EXCEPT") =>
            {
                ("MULTISET".to_string(), "")
            }
            "SUBMULTISET" | "MEMBER" if word(i + 1) == "OF" || before == "NOT" => (format!("{named} OF"), ""),
            "PERIOD" if open(i + 1) => ("PERIOD".to_string(), "OVERLAPS takes (begin, end)"),
            "MINUS" if matches!(word(i + 1).as_str(), "SELECT" | "ALL" | "DISTINCT") => ("MINUS".to_string(), ""),
            _ => return None,
        };
        let e = Error::script(format!("{what} is not supported yet")).at(place(all[i].span.start));
        Some(if hint.is_empty() { e } else { e.hint(hint) })
    })
}
