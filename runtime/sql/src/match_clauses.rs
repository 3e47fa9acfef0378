//! The clauses of MATCH_RECOGNIZE that the parser does not know. They are rewritten on tokens: WITHIN and SUBSET become definitions with
//! names that no script can write, since they stand in quotes that are none here. A relation in parentheses, after which the parser
//! expects no MATCH_RECOGNIZE, becomes the item of FROM before one over a table with such a name. `{- … -}` becomes a group that begins
//! with such a variable, and FINAL or RUNNING a function with a blank in its name.

use sqlparser::ast::{Ident, MatchRecognizePattern, MatchRecognizeSymbol, ObjectName, TableFactor};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

/// The quotes of these names.
const QUOTE: char = '"';

const WITHIN: &str = "WITHIN";
const SUBSET: &str = "SUBSET";
const INPUT: &str = "MATCH_RECOGNIZE";
const EXCLUSION: &str = "{-";

/// The functions that FINAL and RUNNING become.
pub(crate) const FINAL: &str = "FINAL OF";
pub(crate) const RUNNING: &str = "RUNNING OF";

/// Functions whose names the parser has as keywords.
const FUNCTIONS: [&str; 6] = ["FIRST", "LAST", "PREV", "NEXT", "CLASSIFIER", "MATCH_NUMBER"];

/// A definition that is a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    /// `WITHIN interval`
    Within,
    /// `SUBSET name = (variable, …)`
    Subset,
}

/// The clause that a definition is, by its name; none if it is the condition of a variable.
pub(crate) fn clause(name: &Ident) -> Option<Clause> {
    match (name.quote_style, name.value.as_str()) {
        (Some(QUOTE), WITHIN) => Some(Clause::Within),
        (Some(QUOTE), SUBSET) => Some(Clause::Subset),
        _ => None,
    }
}

/// Whether MATCH_RECOGNIZE reads the item of FROM before it.
pub(crate) fn reads_item_before(factor: &TableFactor) -> bool {
    let TableFactor::MatchRecognize { table, .. } = factor else { return false };
    let TableFactor::Table { name: ObjectName(parts), .. } = &**table else { return false };
    let name = |i: &Ident| i.quote_style == Some(QUOTE) && i.value == INPUT;
    parts.iter().filter_map(|p| p.as_ident()).any(name)
}

/// The pattern of an exclusion; none if the pattern in parentheses is none.
pub(crate) fn excluded(group: &MatchRecognizePattern) -> Option<&MatchRecognizePattern> {
    let MatchRecognizePattern::Concat(parts) = group else { return None };
    let [MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(mark)), of] = parts.as_slice() else { return None };
    (mark.quote_style == Some(QUOTE) && mark.value == EXCLUSION).then_some(of)
}

fn quoted(name: &str, span: Span) -> TokenWithSpan {
    let word = Word { value: name.to_string(), quote_style: Some(QUOTE), keyword: Keyword::NoKeyword };
    TokenWithSpan { token: Token::Word(word), span }
}

fn function(name: &str, span: Span) -> TokenWithSpan {
    let word = Word { value: name.to_string(), quote_style: None, keyword: Keyword::NoKeyword };
    TokenWithSpan { token: Token::Word(word), span }
}

fn keyword(keyword: Keyword, span: Span) -> TokenWithSpan {
    let word = Word { value: format!("{keyword:?}"), quote_style: None, keyword };
    TokenWithSpan { token: Token::Word(word), span }
}

/// The word at a place, in capitals; empty if there is none or it is quoted.
fn word(t: Option<&TokenWithSpan>) -> String {
    match t.map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// Where the rewriting is within a MATCH_RECOGNIZE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the pattern.
    Head,
    /// Between MEASURES and the pattern.
    Measures,
    /// Behind PATTERN.
    Pattern,
    /// In the list of SUBSET.
    Subset,
    /// In definitions, or clauses that have become one.
    Define,
}

/// Separates tokens from the blanks and comments, some of which are hints, in front of each and behind the last one.
fn separated(tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, Vec<Vec<TokenWithSpan>>) {
    let (mut all, mut blanks) = (vec![], vec![vec![]]);
    for t in tokens {
        if matches!(t.token, Token::Whitespace(_)) {
            blanks.last_mut().into_iter().for_each(|b| b.push(t.clone()));
        } else {
            all.push(t);
            blanks.push(vec![]);
        }
    }
    (all, blanks)
}

/// Rewrites the clauses of each MATCH_RECOGNIZE.
pub(crate) fn rewritten(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|t| word(Some(t)) == INPUT) {
        return tokens;
    }
    let (all, blanks) = separated(tokens);
    let out = Vec::with_capacity(all.len());
    let mut rewriting = Rewriting { all, blanks, at: 0, open: vec![], around: vec![], out };
    while let Some(t) = rewriting.all.get(rewriting.at).cloned() {
        let named = word(Some(&t));
        rewriting.next();
        if !rewriting.parentheses(&t) && !rewriting.form(&t, &named) {
            rewriting.clause(&t, &named);
        }
    }
    rewriting.out.extend(rewriting.blanks.pop().into_iter().flatten());
    rewriting.out
}

/// The state of the rewriting.
struct Rewriting {
    all: Vec<TokenWithSpan>,
    /// The blanks in front of each token, and behind the last one.
    blanks: Vec<Vec<TokenWithSpan>>,
    /// The place behind the current token.
    at: usize,
    /// For each open parenthesis: the part, if it is that of a MATCH_RECOGNIZE.
    open: Vec<Option<Part>>,
    /// For each FINAL or RUNNING whose call is open: how many parentheses are open around it.
    around: Vec<usize>,
    out: Vec<TokenWithSpan>,
}

impl Rewriting {
    /// Goes on to the next token, with the blanks in front of it.
    fn next(&mut self) {
        if let Some(blanks) = self.blanks.get_mut(self.at) {
            self.out.append(blanks);
        }
        self.at += 1;
    }

    /// The word at a place from the next token on, in capitals.
    fn word(&self, ahead: usize) -> String {
        word(self.all.get(self.at + ahead))
    }

    /// Whether a token is at a place from the next one on.
    fn is(&self, ahead: usize, token: &Token) -> bool {
        self.all.get(self.at + ahead).is_some_and(|t| t.token == *token)
    }

    /// Follows parentheses and the ends of statements. Whether the token is done.
    fn parentheses(&mut self, t: &TokenWithSpan) -> bool {
        match &t.token {
            Token::LParen => {
                let before = self.at.checked_sub(2).and_then(|b| self.all.get(b));
                self.open.push((word(before) == INPUT).then_some(Part::Head));
                false
            }
            Token::RParen => {
                self.open.pop();
                self.out.push(t.clone());
                let filtered = self.word(0) == "FILTER" && self.is(1, &Token::LParen);
                while self.around.pop_if(|depth| *depth == self.open.len() && !filtered).is_some() {
                    self.out.push(t.clone());
                }
                true
            }
            Token::SemiColon => {
                self.open.clear();
                self.around.clear();
                false
            }
            _ => false,
        }
    }

    /// Rewrites FINAL, RUNNING and exclusions. Whether the token is one.
    fn form(&mut self, t: &TokenWithSpan, named: &str) -> bool {
        let plain = |token| TokenWithSpan { token, span: t.span };
        match self.open.iter().rev().find_map(|part| *part) {
            Some(Part::Measures | Part::Define) if matches!(named, "FINAL" | "RUNNING") => {
                let calls = !self.word(0).is_empty() && self.is(1, &Token::LParen);
                if calls {
                    self.around.push(self.open.len());
                    self.out.push(function(if named == "FINAL" { FINAL } else { RUNNING }, t.span));
                    self.out.push(plain(Token::LParen));
                }
                calls
            }
            Some(Part::Pattern) if t.token == Token::LBrace && self.is(0, &Token::Minus) => {
                self.open.extend([None, None]);
                self.out.extend([plain(Token::LParen), quoted(EXCLUSION, t.span), plain(Token::LParen)]);
                self.next();
                true
            }
            Some(Part::Pattern) if t.token == Token::Minus && self.is(0, &Token::RBrace) => {
                self.open.truncate(self.open.len().saturating_sub(2));
                self.out.extend([plain(Token::RParen), plain(Token::RParen)]);
                self.next();
                true
            }
            _ => false,
        }
    }

    /// Rewrites the words of clauses.
    fn clause(&mut self, t: &TokenWithSpan, named: &str) {
        let (span, called) = (t.span, self.is(0, &Token::LParen));
        if named == INPUT && called && behind_parentheses(&self.out) {
            self.out.push(TokenWithSpan { token: Token::Comma, span });
            self.out.push(quoted(INPUT, span));
        }
        let (within, next) = (self.open.iter().any(Option::is_some), self.word(0));
        let begins_clause = is_clause(&self.all, self.at);
        let Some(Some(part)) = self.open.last_mut() else {
            self.out.push(if within && called { plain(t, &FUNCTIONS) } else { t.clone() });
            return;
        };
        match (*part, named) {
            (_, name) if called && FUNCTIONS.contains(&name) => self.out.push(plain(t, &FUNCTIONS)),
            (Part::Head | Part::Measures, "AFTER") if next == "MATCH" => {
                *part = Part::Head;
                self.out.push(keyword(Keyword::AFTER, span));
                self.at = skip(&self.all, self.at, &mut self.out);
            }
            (Part::Head, "MEASURES") => {
                *part = Part::Measures;
                self.out.push(t.clone());
            }
            (Part::Head | Part::Measures, "PATTERN") if called => {
                *part = Part::Pattern;
                self.out.push(t.clone());
            }
            (Part::Pattern | Part::Subset | Part::Define, "WITHIN" | "SUBSET")
                if *part != Part::Define || begins_clause =>
            {
                self.out.push(match *part {
                    Part::Pattern => keyword(Keyword::DEFINE, span),
                    _ => TokenWithSpan { token: Token::Comma, span },
                });
                *part = if named == WITHIN { Part::Define } else { Part::Subset };
                self.out.push(quoted(if named == WITHIN { WITHIN } else { SUBSET }, span));
                self.out.push(keyword(Keyword::AS, span));
            }
            (Part::Pattern, "DEFINE") => {
                *part = Part::Define;
                self.out.push(t.clone());
            }
            (Part::Subset | Part::Define, "DEFINE") => {
                *part = Part::Define;
                self.out.push(TokenWithSpan { token: Token::Comma, span });
            }
            (Part::Subset, _) if t.token == Token::Comma => {
                self.out.extend([t.clone(), quoted(SUBSET, span), keyword(Keyword::AS, span)]);
            }
            (Part::Measures | Part::Define, _) => self.out.push(plain(t, &["ASC", "DESC", "NULLS", "FIRST", "LAST"])),
            _ => self.out.push(t.clone()),
        }
    }
}

/// Whether a word behind an interval of WITHIN begins SUBSET.
fn is_clause(all: &[TokenWithSpan], at: usize) -> bool {
    !word(all.get(at)).is_empty() && all.get(at + 1).is_some_and(|t| t.token == Token::Eq)
}

/// The token without its meaning as a keyword, if it is one of these words.
fn plain(t: &TokenWithSpan, words: &[&str]) -> TokenWithSpan {
    let mut t = t.clone();
    let named = word(Some(&t));
    if let Token::Word(w) = &mut t.token
        && words.contains(&named.as_str())
    {
        w.keyword = Keyword::NoKeyword;
    }
    t
}

/// Passes what follows AFTER in `AFTER MATCH SKIP …`, and gives words their meaning as keywords. Returns the place behind it.
fn skip(all: &[TokenWithSpan], mut at: usize, out: &mut Vec<TokenWithSpan>) -> usize {
    let span = |at: usize| all.get(at).map_or_else(Span::empty, |t| t.span);
    for k in [Keyword::MATCH, Keyword::SKIP] {
        if word(all.get(at)) == format!("{k:?}") {
            out.push(keyword(k, span(at)));
            at += 1;
        }
    }
    let keywords: &[Keyword] = match [0, 1, 2].map(|n| word(all.get(at + n))).each_ref().map(String::as_str) {
        ["PAST", "LAST", "ROW"] => &[Keyword::PAST, Keyword::LAST, Keyword::ROW],
        ["TO", "NEXT", "ROW"] => &[Keyword::TO, Keyword::NEXT, Keyword::ROW],
        ["TO", "FIRST", next] if next != "PATTERN" => &[Keyword::TO, Keyword::FIRST],
        ["TO", "LAST", next] if next != "PATTERN" => &[Keyword::TO, Keyword::LAST],
        // SKIP TO a variable is SKIP TO its last row.
        ["TO", ..] => {
            out.push(keyword(Keyword::TO, span(at)));
            out.push(keyword(Keyword::LAST, span(at)));
            return at + 1;
        }
        _ => &[],
    };
    for k in keywords {
        out.push(keyword(*k, span(at)));
        at += 1;
    }
    at
}

/// Whether the tokens end with parentheses, behind which there may be an alias.
fn behind_parentheses(out: &[TokenWithSpan]) -> bool {
    let mut back = out.iter().rev().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    let closed = |t: Option<&TokenWithSpan>| t.is_some_and(|t| t.token == Token::RParen);
    match back.next() {
        Some(t) if t.token == Token::RParen => true,
        Some(t) if matches!(&t.token, Token::Word(w) if w.keyword == Keyword::NoKeyword) => match back.next() {
            Some(t) if word(Some(t)) == "AS" => closed(back.next()),
            before => closed(before),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::try_compile;

    const TABLE: &str = "CREATE TABLE t (k INT, v INT, `first` INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');";

    /// What is wrong with a query, or the plan of its matches.
    fn bound(query: &str) -> String {
        match try_compile(&format!("{TABLE} {query};")) {
            Ok(c) => weir_plan::explain(&c.inserts, weir_plan::Mode::Streaming, weir_plan::Format::Text),
            Err(e) => e.to_string(),
        }
    }

    fn of(clauses: &str) -> String {
        bound(&format!("SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts {clauses}) AS m"))
    }

    #[test]
    fn clauses_stand_in_their_order() {
        for (clauses, words) in [
            (
                "MEASURES A.v AS x PATTERN (A B) DEFINE B AS B.v > A.v",
                "pattern: A B  define: B AS (B.v > A.v)  rows: one  skip: to next row",
            ),
            ("MEASURES A.v AS x PATTERN (A) WITHIN INTERVAL '1' HOUR DEFINE A AS TRUE", "within: 3600000 ms"),
            (
                "MEASURES S.v AS x PATTERN (A B) SUBSET S = (A, B), T = (B) DEFINE A AS A.v > 1",
                "pattern: A B  define: A AS (A.v > 1)",
            ),
            (
                "MEASURES S.v AS x PATTERN (A B) WITHIN INTERVAL '1' HOUR SUBSET S = (A, B) DEFINE A AS A.v > 1",
                "within: 3600000 ms  define: A",
            ),
            ("MEASURES A.v AS x AFTER MATCH SKIP TO B PATTERN (A B) DEFINE A AS A.v > 1", "skip: to last B"),
            (
                "MEASURES FIRST(A.v) AS x, LAST(A.v, 1) AS y ONE ROW PER MATCH AFTER MATCH SKIP TO FIRST B PATTERN (A B) DEFINE A AS A.v > 1",
                "skip: to first B",
            ),
            (
                "MEASURES A.first AS x, first.v AS y ALL ROWS PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ first) DEFINE A AS A.first > 1, first AS FIRST(first.v) > LAST(A.v)",
                "rows: all  skip: past last row",
            ),
            (
                "MEASURES A.v AS x PATTERN (A B*? C{2,3}? (A | D)+? E) DEFINE B AS B.v = 1",
                "pattern: A B*? C{2,3}? (A | D)+? E",
            ),
            ("MEASURES A.v AS x PATTERN (PERMUTE(A, B) C??  D) DEFINE B AS B.v = 1", "pattern: (A B | B A) C?? D"),
            ("MEASURES A.v AS x PATTERN (^ A (B | C)) DEFINE B AS B.v = 1", "pattern: ^ A (B | C)"),
            (
                "MEASURES FINAL LAST(A.v) AS x, (RUNNING COUNT(A.v) FILTER (WHERE A.v > 1) + FINAL AVG(DISTINCT v)) AS y, SUM(FINAL.v) AS z
                 ALL ROWS PER MATCH PATTERN (A {- B{2,3} (C | D) -}/* . */FINAL{-E-}) DEFINE A AS RUNNING LAST(A.v, 1) > 1",
                "pattern: A {- B{2,3} (C | D) -} FINAL {- E -}",
            ),
            (
                "MEASURES NEXT(A.v) AS x, NEXT(FIRST(B.v), 2) AS y, PREV(LAST(C.v, 1), 2) AS z PATTERN (A B{2} C)
                 DEFINE C AS C.v > NEXT(B.v) AND C.v > NEXT(FIRST(A.v), 3)",
                "define: C AS ((C.v > NEXT(B.v, 1)) AND (C.v > NEXT(FIRST(A.v), 3)))",
            ),
            (
                "MEASURES A.v AS x AFTER MATCH SKIP TO LAST A PATTERN (A B A C) DEFINE A AS A.v > 1",
                "skip: to last A",
            ),
            ("MEASURES A.v AS x PATTERN (A B+? C*? D) DEFINE A AS A.v > 1", "endless: B+?, C*?, up to 64 MiB in a partition"),
        ] {
            let found = of(clauses);
            assert!(found.contains(words), "{clauses}: {found}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (clauses, words) in [
            ("MEASURES A.v AS x PATTERN (A B+) DEFINE B AS B.v > 1", "greedy"),
            ("MEASURES A.v AS x PATTERN (A*) DEFINE A AS A.v > 1", "no rows at all"),
            (
                "MEASURES A.v AS x PATTERN (A+ B? C) DEFINE A AS A.v > 1",
                "optional B? follows the greedy quantifier of A+",
            ),
            ("MEASURES A.v AS x PATTERN (A{3,2}) DEFINE A AS A.v > 1", "{3,2} fits no rows"),
            ("MEASURES A.v AS x PATTERN (A{0}) DEFINE A AS A.v > 1", "{0} fits no rows"),
            ("MEASURES A.v AS x PATTERN (A{9999} B{9999}) DEFINE A AS A.v > 1", "more than 5000 rows"),
            ("MEASURES A.v AS x PATTERN (A+* B) DEFINE A AS A.v > 1", "two quantifiers"),
            ("MEASURES A.v AS x PATTERN (A ^ B) DEFINE A AS A.v > 1", "^ stands at the beginning of the PATTERN"),
            ("MEASURES A.v AS x PATTERN (^) DEFINE A AS A.v > 1", "no rows at all"),
            ("MEASURES A.v AS x PATTERN (A B $) DEFINE A AS A.v > 1", "$ is the last row of a partition"),
            ("MEASURES A.v AS x PATTERN ({- A -} B) DEFINE A AS A.v > 1", "ALL ROWS PER MATCH"),
            (
                "MEASURES A.v AS x ALL ROWS PER MATCH PATTERN ({- A+ -} B?) DEFINE A AS A.v > 1",
                "optional B? follows the greedy quantifier of A+",
            ),
            ("MEASURES C.v AS x PATTERN (A B) DEFINE A AS A.v > 1", "no variable 'C'"),
            ("MEASURES A.w AS x PATTERN (A B) DEFINE A AS A.v > 1", "no column 'w'"),
            ("MEASURES A.v AS x, B.v AS x PATTERN (A B) DEFINE A AS A.v > 1", "'x' twice"),
            ("MEASURES A.v AS x PATTERN (A B) DEFINE A AS A.v > 1, A AS A.v > 2", "'A' twice"),
            ("MEASURES A.v AS x PATTERN (A B) DEFINE A AS A.v", "DEFINE"),
            (
                "MEASURES A.v AS x AFTER MATCH SKIP TO LAST C PATTERN (A B) DEFINE A AS A.v > 1",
                "SKIP TO has a variable 'C'",
            ),
            ("MEASURES A.v AS x PATTERN (A B) WITHIN INTERVAL '1' MONTH DEFINE A AS A.v > 1", "months"),
            ("MEASURES A.v AS x PATTERN (A B) WITHIN A.v DEFINE A AS A.v > 1", "A.v"),
            ("MEASURES A.v AS x PATTERN (A B) SUBSET S = (C) DEFINE A AS A.v > 1", "'C'"),
            ("MEASURES NEXT(B.v) AS x PATTERN (A B) DEFINE A AS A.v > 1", "NEXT(B.v, 1) may lead behind the match"),
            ("MEASURES NEXT(v) AS x PATTERN (A B) DEFINE A AS A.v > 1", "NEXT(v, 1) may lead behind the match"),
            ("MEASURES NEXT(A.v, 2) AS x PATTERN (A B) DEFINE A AS A.v > 1", "NEXT(A.v, 2) may lead"),
            ("MEASURES NEXT(A.v) AS x PATTERN (A B | C D A) DEFINE A AS A.v > 1", "may lead behind the match"),
            ("MEASURES A.v AS x PATTERN (A B) DEFINE A AS A.v > NEXT(A.v)", "may lead behind the row that is tested"),
            ("MEASURES A.v AS x PATTERN (A B) DEFINE B AS B.v > NEXT(A.v, 2)", "may lead behind the row"),
            ("MEASURES A.v AS x PATTERN (A B) DEFINE A AS FINAL LAST(A.v) > 1", "FINAL"),
            (
                "MEASURES FINAL ABS(A.v) AS x PATTERN (A B) DEFINE A AS A.v > 1",
                "in front of FIRST, LAST or an aggregate",
            ),
            ("MEASURES PREV(CLASSIFIER()) AS x PATTERN (A B) DEFINE A AS A.v > 1", "CLASSIFIER"),
            ("MEASURES PREV(PREV(A.v)) AS x PATTERN (A B) DEFINE A AS A.v > 1", "inside"),
            (
                "MEASURES A.v AS x AFTER MATCH SKIP TO LAST A PATTERN (A B+?) DEFINE A AS A.v > 1",
                "leads to the first row of the match",
            ),
            ("MEASURES SUM(A.v + B.v) AS x PATTERN (A B) DEFINE A AS A.v > 1", "several variables"),
            ("MEASURES SUM(FIRST(A.v)) AS x PATTERN (A B) DEFINE A AS A.v > 1", "inside"),
            ("MEASURES FIRST(LAST(A.v)) AS x PATTERN (A B) DEFINE A AS A.v > 1", "inside"),
            ("MEASURES A.v AS x PATTERN (A B) DEFINE A AS MATCH_ROWTIME() > A.ts", "MEASURES"),
        ] {
            let found = of(clauses);
            assert!(found.contains(words) && found.contains("line "), "{clauses}: {found}");
        }
        for (query, words) in [
            (
                "SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY k MEASURES A.v AS x PATTERN (A) DEFINE A AS TRUE)",
                "needs the order",
            ),
            (
                "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY v MEASURES A.v AS x PATTERN (A) DEFINE A AS TRUE)",
                "without a watermark",
            ),
            (
                "SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts DESC MEASURES A.v AS x PATTERN (A) DEFINE A AS TRUE)",
                "ascending",
            ),
            ("SELECT FIRST(v) FROM t", "FIRST"),
        ] {
            let found = bound(query);
            assert!(found.contains(words), "{query}: {found}");
        }
    }

    #[test]
    fn the_input_may_be_a_query() {
        let clauses = "MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts MEASURES A.v AS x PATTERN (A) DEFINE A AS TRUE)";
        for from in [
            format!("(SELECT * FROM t) {clauses}"),
            format!("(SELECT * FROM t) AS q {clauses} AS m"),
            format!("(SELECT * FROM t) q {clauses} m"),
            format!("t AS q {clauses} AS m"),
            format!("t /*+ OPTIONS('number-of-rows' = '7') */ {clauses}"),
        ] {
            let found = bound(&format!("SELECT * FROM {from}"));
            assert!(found.contains("Match  by: k  order: ts  pattern: A"), "{from}: {found}");
        }
        let named = bound("SELECT * FROM `MATCH_RECOGNIZE`");
        assert!(named.contains("MATCH_RECOGNIZE"), "{named}");
    }
}
