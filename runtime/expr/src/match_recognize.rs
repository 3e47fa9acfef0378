//! MATCH_RECOGNIZE: patterns of rows, and what is read of the rows of a match.

use crate::aggregate::AggregateCall;
use crate::expr::Expr;
use std::collections::BTreeSet;
use std::fmt::Write;
use weir_core::error::Place;
use weir_core::{Result, SqlType};

/// The most bytes that the matches of a partition may have which have begun, if neither a time nor the pattern bounds their rows.
pub const MOST_OF_ENDLESS: usize = 64 << 20;

/// A pattern of rows. Variables are known by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One row for which the condition of a variable holds.
    Variable(usize),
    /// Patterns one after the other.
    Sequence(Vec<Pattern>),
    /// One of several patterns.
    Choice(Vec<Pattern>),
    /// A pattern several times in a row.
    Repeat {
        /// What is repeated.
        of: Box<Pattern>,
        /// How often at least.
        from: u32,
        /// How often at most; none: without a bound.
        to: Option<u32>,
        /// Whether it goes on as long as rows fit, rather than ending as soon as possible.
        greedy: bool,
    },
    /// A pattern whose rows are not among those that are emitted if all rows of a match are.
    Excluded(Box<Pattern>),
}

impl Pattern {
    /// Whether no rows at all fit the pattern.
    pub fn may_be_empty(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Sequence(parts) => parts.iter().all(Pattern::may_be_empty),
            Pattern::Choice(parts) => parts.iter().any(Pattern::may_be_empty),
            Pattern::Repeat { of, from, .. } => *from == 0 || of.may_be_empty(),
            Pattern::Excluded(of) => of.may_be_empty(),
        }
    }

    /// The pattern itself, if it is excluded from the output.
    pub fn bare(&self) -> &Pattern {
        match self {
            Pattern::Excluded(of) => of.bare(),
            other => other,
        }
    }

    /// Whether the repetition takes rows as long as they fit. One that is optional, or whose number is fixed, does not.
    pub fn is_greedy(&self) -> bool {
        match self {
            Pattern::Repeat { from, to, greedy, .. } => *greedy && *to != Some(*from) && (*from, *to) != (0, Some(1)),
            Pattern::Variable(_) | Pattern::Sequence(_) | Pattern::Choice(_) | Pattern::Excluded(_) => false,
        }
    }

    /// Whether the last rows of the pattern may be those of a greedy repetition, which only ends with the row that follows.
    pub fn ends_greedy(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Sequence(parts) => {
                let last = parts.iter().rposition(|p| !p.may_be_empty()).unwrap_or(0);
                parts[last..].iter().any(Pattern::ends_greedy)
            }
            Pattern::Choice(parts) => parts.iter().any(Pattern::ends_greedy),
            Pattern::Repeat { of, .. } => self.is_greedy() || of.ends_greedy(),
            Pattern::Excluded(of) => of.ends_greedy(),
        }
    }

    /// The repetitions without a bound.
    pub fn endless(&self) -> Vec<&Pattern> {
        match self {
            Pattern::Variable(_) => vec![],
            Pattern::Sequence(parts) | Pattern::Choice(parts) => parts.iter().flat_map(Pattern::endless).collect(),
            Pattern::Repeat { to: None, .. } => vec![self],
            Pattern::Repeat { of, .. } | Pattern::Excluded(of) => of.endless(),
        }
    }

    /// Whether rows of a part of the pattern are excluded from the output.
    pub fn excludes(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Sequence(parts) | Pattern::Choice(parts) => parts.iter().any(Pattern::excludes),
            Pattern::Repeat { of, .. } => of.excludes(),
            Pattern::Excluded(_) => true,
        }
    }

    /// How many rows the longest alternative has when each open repetition has its least number, which is what matching costs.
    pub fn size(&self) -> u64 {
        match self {
            Pattern::Variable(_) => 1,
            Pattern::Sequence(parts) | Pattern::Choice(parts) => {
                parts.iter().fold(0, |sum, p| p.size().saturating_add(sum))
            }
            Pattern::Repeat { of, from, to, .. } => {
                let times = to.unwrap_or(from.saturating_add(1)).max(1);
                of.size().saturating_mul(u64::from(times))
            }
            Pattern::Excluded(of) => of.size(),
        }
    }

    /// The variables in the order in which they first occur.
    pub fn variables(&self) -> Vec<usize> {
        let mut found = vec![];
        self.each_variable(&mut |v| {
            if !found.contains(&v) {
                found.push(v);
            }
        });
        found
    }

    fn each_variable(&self, see: &mut dyn FnMut(usize)) {
        match self {
            Pattern::Variable(v) => see(*v),
            Pattern::Sequence(parts) | Pattern::Choice(parts) => parts.iter().for_each(|p| p.each_variable(see)),
            Pattern::Repeat { of, .. } | Pattern::Excluded(of) => of.each_variable(see),
        }
    }

    /// The fewest rows of a match without a row of some variables. None if each match has one.
    fn fewest_without(&self, of: &RowsOf) -> Option<u64> {
        match self {
            Pattern::Variable(v) => (!of.has(*v)).then_some(1),
            Pattern::Sequence(parts) => {
                parts.iter().try_fold(0u64, |sum, p| Some(sum.saturating_add(p.fewest_without(of)?)))
            }
            Pattern::Choice(parts) => parts.iter().filter_map(|p| p.fewest_without(of)).min(),
            Pattern::Repeat { from: 0, .. } => Some(0),
            Pattern::Repeat { of: p, from, .. } => Some(p.fewest_without(of)?.saturating_mul(u64::from(*from))),
            Pattern::Excluded(p) => p.fewest_without(of),
        }
    }

    /// The fewest rows that a match has behind its last row of some variables. None if no match has a row of them.
    pub fn rows_behind_last(&self, of: &RowsOf) -> Option<u64> {
        match self {
            Pattern::Variable(v) => of.has(*v).then_some(0),
            Pattern::Sequence(parts) => {
                let behind = |at: usize| {
                    let rest = parts[at + 1..].iter().map(|p| p.fewest_without(of));
                    rest.fold(parts[at].rows_behind_last(of), |sum, p| Some(sum?.saturating_add(p?)))
                };
                (0..parts.len()).filter_map(behind).min()
            }
            Pattern::Choice(parts) => parts.iter().filter_map(|p| p.rows_behind_last(of)).min(),
            Pattern::Repeat { to: Some(0), .. } => None,
            // The row may be one of the last round.
            Pattern::Repeat { of: p, .. } | Pattern::Excluded(p) => p.rows_behind_last(of),
        }
    }

    /// The fewest rows that a match has behind its first row of some variables. None if no match has a row of them.
    pub fn rows_behind_first(&self, of: &RowsOf) -> Option<u64> {
        let fewest = |p: &Pattern| p.fewest_without(&RowsOf::Variables(vec![]));
        match self {
            Pattern::Variable(v) => of.has(*v).then_some(0),
            Pattern::Sequence(parts) => {
                let behind = |at: usize| {
                    parts[..at].iter().all(|p| p.fewest_without(of).is_some()).then_some(())?;
                    let rest = parts[at + 1..].iter().map(fewest);
                    rest.fold(parts[at].rows_behind_first(of), |sum, p| Some(sum?.saturating_add(p?)))
                };
                (0..parts.len()).filter_map(behind).min()
            }
            Pattern::Choice(parts) => parts.iter().filter_map(|p| p.rows_behind_first(of)).min(),
            Pattern::Repeat { to: Some(0), .. } => None,
            Pattern::Repeat { of: p, from, .. } => {
                // The row may be one of the last round, unless each round has one.
                let rounds = if p.fewest_without(of).is_some() { 0 } else { u64::from((*from).max(1) - 1) };
                Some(p.rows_behind_first(of)?.saturating_add(fewest(p)?.saturating_mul(rounds)))
            }
            Pattern::Excluded(p) => p.rows_behind_first(of),
        }
    }

    /// What a match has up to a row of a variable, for each place where the variable stands.
    pub fn up_to(&self, variable: usize) -> Vec<Pattern> {
        match self {
            Pattern::Variable(v) if *v == variable => vec![self.clone()],
            Pattern::Variable(_) => vec![],
            Pattern::Sequence(parts) => {
                let ending = |at: usize| {
                    let before = parts[..at].to_vec();
                    parts[at]
                        .up_to(variable)
                        .into_iter()
                        .map(move |end| Pattern::Sequence(before.iter().cloned().chain([end]).collect()))
                };
                (0..parts.len()).flat_map(ending).collect()
            }
            Pattern::Choice(parts) => parts.iter().flat_map(|p| p.up_to(variable)).collect(),
            Pattern::Repeat { of, to, .. } => {
                let before = Pattern::Repeat { of: of.clone(), from: 0, to: to.map(|n| n.max(1) - 1), greedy: true };
                let ending = |end| Pattern::Sequence(vec![before.clone(), end]);
                of.up_to(variable).into_iter().map(ending).collect()
            }
            Pattern::Excluded(of) => of.up_to(variable),
        }
    }

    /// Whether the last row of some variables is the first row of every match that has one.
    pub fn only_first(&self, of: &RowsOf) -> bool {
        match self {
            Pattern::Variable(v) => of.has(*v),
            Pattern::Sequence(parts) => parts.split_first().is_some_and(|(first, rest)| {
                let elsewhere = rest.iter().any(|p| p.rows_behind_last(of).is_some());
                first.only_first(of) && !elsewhere
            }),
            Pattern::Choice(parts) => parts.iter().all(|p| p.only_first(of)),
            Pattern::Repeat { of: p, from, to, .. } => *from > 0 && *to == Some(1) && p.only_first(of),
            Pattern::Excluded(p) => p.only_first(of),
        }
    }

    /// Formats the pattern with the names of its variables.
    pub fn shown(&self, names: &[String]) -> String {
        match self {
            Pattern::Variable(v) => names.get(*v).cloned().unwrap_or_default(),
            Pattern::Sequence(parts) => parts.iter().map(|p| p.shown(names)).collect::<Vec<_>>().join(" "),
            Pattern::Choice(parts) => {
                format!("({})", parts.iter().map(|p| p.shown(names)).collect::<Vec<_>>().join(" | "))
            }
            Pattern::Repeat { of, from, to, greedy } => {
                let inner = of.shown(names);
                let mut out = if matches!(**of, Pattern::Sequence(_)) { format!("({inner})") } else { inner };
                // Writing into a string never fails.
                let _ = match (from, to) {
                    (0, None) => write!(out, "*"),
                    (1, None) => write!(out, "+"),
                    (0, Some(1)) => write!(out, "?"),
                    (n, None) => write!(out, "{{{n},}}"),
                    (n, Some(m)) if n == m => write!(out, "{{{n}}}"),
                    (n, Some(m)) => write!(out, "{{{n},{m}}}"),
                };
                out + if *greedy { "" } else { "?" }
            }
            Pattern::Excluded(of) => format!("{{- {} -}}", of.shown(names)),
        }
    }
}

/// Where matching goes on after a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// Behind the last row of the match.
    PastLastRow,
    /// At the row behind the first row of the match.
    ToNextRow,
    /// At the first row of these variables.
    ToFirst(Vec<usize>),
    /// At the last row of these variables.
    ToLast(Vec<usize>),
}

/// Rows of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowsOf {
    /// All rows.
    All,
    /// Those of these variables.
    Variables(Vec<usize>),
}

impl RowsOf {
    /// Whether the rows of a variable are among them.
    pub fn has(&self, variable: usize) -> bool {
        match self {
            RowsOf::All => true,
            RowsOf::Variables(all) => all.contains(&variable),
        }
    }
}

/// What is read of the rows of a match.
#[derive(Debug, Clone)]
pub enum What {
    /// A column of one row.
    Row {
        /// The rows that are counted.
        of: RowsOf,
        /// Whether they are counted from the first, rather than back from the last.
        first: bool,
        /// How many of them are passed.
        offset: usize,
        /// How many rows of the partition it then goes on or, if it is negative, back, whatever they belong to.
        shift: i64,
        /// The column of the input.
        column: usize,
    },
    /// An aggregate of rows.
    Aggregate {
        /// The rows.
        of: RowsOf,
        /// The arguments, and the condition of FILTER, over the input.
        args: Vec<Expr>,
        /// The aggregate, with indices of `args`.
        call: AggregateCall,
    },
    /// The event time of the match: that of its last row, or the time when it was certain.
    Time,
    /// The name of the last row's variable.
    Classifier,
    /// The number of the match within its partition, from 1.
    Number,
}

/// A value that is read of the rows of a match.
#[derive(Debug, Clone)]
pub struct Look {
    /// What is read.
    pub what: What,
    /// Whether it is read of the whole match, if all rows of a match are emitted, rather than of the rows up to each.
    pub whole: bool,
    /// Its type.
    pub ty: SqlType,
}

impl Look {
    /// The columns of the input that it reads.
    pub fn columns(&self, into: &mut BTreeSet<usize>) {
        match &self.what {
            What::Row { column, .. } => {
                into.insert(*column);
            }
            What::Aggregate { args, .. } => args.iter().for_each(|e| e.columns(into)),
            What::Time | What::Classifier | What::Number => {}
        }
    }

    /// Whether both read the same.
    pub fn same(&self, other: &Look) -> bool {
        if self.whole != other.whole {
            return false;
        }
        match (&self.what, &other.what) {
            (
                What::Row { of: a, first: b, offset: c, shift: d, column: e },
                What::Row { of: f, first: g, offset: h, shift: i, column: j },
            ) => (a, b, c, d, e) == (f, g, h, i, j),
            (What::Aggregate { of: a, args: b, call: c }, What::Aggregate { of: d, args: e, call: f }) => {
                (a, c) == (d, f) && b.len() == e.len() && b.iter().zip(e).all(|(x, y)| x.same(y))
            }
            (What::Time, What::Time) => self.ty.kind == other.ty.kind,
            (What::Classifier, What::Classifier) | (What::Number, What::Number) => true,
            _ => false,
        }
    }

    /// The same over columns that have moved.
    ///
    /// # Errors
    /// If `to` fails for a column.
    fn moved(self, to: &dyn Fn(usize) -> Result<usize>) -> Result<Look> {
        let what = match self.what {
            What::Row { of, first, offset, shift, column } => {
                What::Row { of, first, offset, shift, column: to(column)? }
            }
            What::Aggregate { of, args, call } => {
                let args = args.into_iter().map(|e| moved(e, to)).collect::<Result<_>>()?;
                What::Aggregate { of, args, call }
            }
            what @ (What::Time | What::Classifier | What::Number) => what,
        };
        Ok(Look { what, ..self })
    }
}

fn moved(e: Expr, to: &dyn Fn(usize) -> Result<usize>) -> Result<Expr> {
    let mut lost = None;
    let e = e.rewrite(&mut |e| match e {
        Expr::Column { index, name, ty } => {
            let index = to(index).unwrap_or_else(|e| {
                lost = Some(e);
                index
            });
            Expr::Column { index, name, ty }
        }
        e => e,
    });
    lost.map_or(Ok(e), Err)
}

/// The condition of a variable. Its columns are what it reads of the rows that are matched so far, the current row included.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The condition.
    pub expr: Expr,
    /// Its columns.
    pub looks: Vec<Look>,
}

/// Where matches go that have begun and are not complete within the time of WITHIN.
#[derive(Debug, Clone)]
pub struct TimedOut {
    /// The name of the table.
    pub table: String,
    /// The position in the script of the option that names it.
    pub place: Option<Place>,
    /// The measures with their names, over the columns of the partition and what is read of the match.
    pub measures: Vec<(String, Expr)>,
}

/// All of MATCH_RECOGNIZE but the input and its order.
#[derive(Debug, Clone)]
pub struct MatchRecognize {
    /// The names of the variables.
    pub variables: Vec<String>,
    /// The pattern.
    pub pattern: Pattern,
    /// Whether a match begins with the first row of its partition.
    pub at_start: bool,
    /// The condition of each variable; none: it holds for all rows.
    pub define: Vec<Option<Condition>>,
    /// Where matching goes on.
    pub skip: Skip,
    /// The time from the first row of a match, in milliseconds, within which its last row must be.
    pub within: Option<i64>,
    /// What is read of each match.
    pub measures: Vec<Look>,
    /// Whether all rows of a match are emitted, rather than one.
    pub all_rows: bool,
    /// Where those go that are not complete in time, if they go anywhere.
    pub timed_out: Option<TimedOut>,
}

impl MatchRecognize {
    /// Everything that is read of rows.
    pub fn looks(&self) -> impl Iterator<Item = &Look> {
        self.define.iter().flatten().flat_map(|c| &c.looks).chain(&self.measures)
    }

    /// The expressions that are evaluated.
    pub fn expressions(&self) -> Vec<&Expr> {
        let conditions = self.define.iter().flatten().map(|c| &c.expr);
        let arguments = self.looks().flat_map(|l| match &l.what {
            What::Aggregate { args, .. } => args.as_slice(),
            What::Row { .. } | What::Time | What::Classifier | What::Number => &[],
        });
        conditions.chain(arguments).collect()
    }

    /// How many rows in front of a match are read.
    pub fn reach(&self) -> usize {
        let back = self.looks().map(|l| match l.what {
            What::Row { shift, .. } => usize::try_from(-shift).unwrap_or(0),
            What::Aggregate { .. } | What::Time | What::Classifier | What::Number => 0,
        });
        back.max().unwrap_or(0)
    }

    /// Whether neither WITHIN nor the pattern bounds the rows of a match.
    pub fn is_endless(&self) -> bool {
        self.within.is_none() && !self.pattern.endless().is_empty()
    }

    /// Formats the pattern with the names of its variables.
    pub fn shown_pattern(&self, names: &[String]) -> String {
        let pattern = self.pattern.shown(names);
        if self.at_start { format!("^ {pattern}") } else { pattern }
    }

    /// The columns of the input that are read of rows.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        self.looks().for_each(|l| l.columns(&mut columns));
        columns
    }

    /// The same over columns that have moved.
    ///
    /// # Errors
    /// If `to` fails for a column.
    pub fn moved(mut self, to: &dyn Fn(usize) -> Result<usize>) -> Result<MatchRecognize> {
        let all = |looks: Vec<Look>| looks.into_iter().map(|l| l.moved(to)).collect::<Result<Vec<_>>>();
        for condition in self.define.iter_mut().flatten() {
            condition.looks = all(std::mem::take(&mut condition.looks))?;
        }
        self.measures = all(self.measures)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeat(of: Pattern, from: u32, to: Option<u32>, greedy: bool) -> Pattern {
        Pattern::Repeat { of: Box::new(of), from, to, greedy }
    }

    #[test]
    fn a_pattern_says_what_it_may_be() {
        let v = Pattern::Variable;
        let star = |n, greedy| repeat(v(n), 0, None, greedy);
        assert!(star(0, true).may_be_empty() && !Pattern::Sequence(vec![star(0, true), v(1)]).may_be_empty());
        assert!(Pattern::Sequence(vec![v(0), star(1, true)]).ends_greedy());
        assert!(Pattern::Sequence(vec![repeat(v(0), 1, None, true), star(1, false)]).ends_greedy());
        assert!(!Pattern::Sequence(vec![star(0, true), v(1), star(2, false)]).ends_greedy());
        assert!(!repeat(v(0), 2, Some(2), true).ends_greedy() && repeat(v(0), 2, Some(3), true).ends_greedy());
        let names: Vec<String> = ["A", "B"].map(str::to_string).to_vec();
        let all = Pattern::Sequence(vec![
            star(0, false),
            repeat(Pattern::Sequence(vec![v(0), v(1)]), 2, Some(3), true),
            Pattern::Choice(vec![v(0), repeat(v(1), 0, Some(1), true)]),
        ]);
        assert_eq!(all.shown(&names), "A*? (A B){2,3} (A | B?)");
        assert_eq!(all.size(), 1 + 6 + 2);
        assert_eq!(all.variables(), [0, 1]);
        let excluded = Pattern::Sequence(vec![v(0), Pattern::Excluded(Box::new(repeat(v(1), 1, None, false)))]);
        assert_eq!(excluded.shown(&names), "A {- B+? -}");
        assert!(excluded.excludes() && !all.excludes());
        assert_eq!((excluded.endless().len(), all.endless().len()), (1, 1));
    }

    /// The matches of a pattern with at most so many rows, as their variables.
    fn matches(p: &Pattern, most: usize) -> Vec<Vec<usize>> {
        let mut all: Vec<Vec<usize>> = match p {
            Pattern::Variable(v) => vec![vec![*v]],
            Pattern::Sequence(parts) => parts.iter().fold(vec![vec![]], |all, p| joined(&all, &matches(p, most), most)),
            Pattern::Choice(parts) => parts.iter().flat_map(|p| matches(p, most)).collect(),
            Pattern::Repeat { of, from, to, .. } => {
                let (once, mut rounds, mut all) = (matches(of, most), vec![vec![]], vec![]);
                for n in 0..=to.unwrap_or(u32::MAX).min(most as u32) {
                    if n >= *from {
                        all.extend(rounds.clone());
                    }
                    rounds = joined(&rounds, &once, most);
                }
                all
            }
            Pattern::Excluded(of) => matches(of, most),
        };
        all.retain(|m| m.len() <= most);
        all.sort();
        all.dedup();
        all
    }

    fn joined(left: &[Vec<usize>], right: &[Vec<usize>], most: usize) -> Vec<Vec<usize>> {
        let all = left.iter().flat_map(|l| right.iter().map(|r| [l.as_slice(), r].concat()));
        let mut all: Vec<Vec<usize>> = all.filter(|m| m.len() <= most).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Numbers that look random: Knuth's linear congruential generator.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }
    }

    fn any_pattern(random: &mut Random, depth: u8) -> Pattern {
        match random.below(if depth == 0 { 1 } else { 5 }) {
            0 | 1 => Pattern::Variable(random.below(3)),
            2 => Pattern::Sequence((0..=random.below(3)).map(|_| any_pattern(random, depth - 1)).collect()),
            3 => Pattern::Choice((0..=random.below(2)).map(|_| any_pattern(random, depth - 1)).collect()),
            _ => {
                let from = random.below(3) as u32;
                let to = (random.below(2) == 0).then(|| from.max(1) + random.below(2) as u32);
                repeat(any_pattern(random, depth - 1), from, to, true)
            }
        }
    }

    #[test]
    fn rows_behind_others_are_those_of_the_matches() {
        let (mut random, mut some, mut same) = (Random(5), 0, 0);
        for _ in 0..2000 {
            let p = any_pattern(&mut random, 2);
            let all = matches(&p, 7);
            let of = RowsOf::Variables(vec![random.below(3)]);
            let behind = |m: &Vec<usize>, at: usize| (m.len() - 1 - at) as u64;
            let last = all.iter().filter_map(|m| m.iter().rposition(|v| of.has(*v)).map(|at| behind(m, at))).min();
            let first = all.iter().filter_map(|m| m.iter().position(|v| of.has(*v)).map(|at| behind(m, at))).min();
            // Longer matches than these may have fewer rows behind.
            for (found, is) in [(p.rows_behind_last(&of), last), (p.rows_behind_first(&of), first)] {
                assert!(is.is_none() || found.is_some_and(|n| Some(n) <= is), "{p:?} {of:?}: {found:?}, not {is:?}");
                same += usize::from(is.is_some() && found == is);
                some += usize::from(is.is_some());
            }
            let only = all.iter().all(|m| m.iter().rposition(|v| of.has(*v)).is_none_or(|at| at == 0));
            assert!(!p.only_first(&of) || only, "{p:?} {of:?}");
            // What is in front of a row of a variable, with the row.
            let variable = random.below(3);
            let fronts: Vec<Vec<usize>> = p.up_to(variable).iter().flat_map(|p| matches(p, 5)).collect();
            for m in matches(&p, 5) {
                for at in (0..m.len()).filter(|at| m[*at] == variable) {
                    assert!(fronts.contains(&m[..=at].to_vec()), "{p:?} {variable}: {m:?}");
                }
            }
        }
        assert!(some > 1000 && same * 20 > some * 19, "{same} of {some}: this shows little");
    }
}
