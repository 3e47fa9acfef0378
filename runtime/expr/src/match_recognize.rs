//! MATCH_RECOGNIZE: patterns of rows, and what is read of the rows of a match.

use crate::aggregate::AggregateCall;
use crate::expr::Expr;
use std::collections::BTreeSet;
use std::fmt::Write;
use weir_core::{Result, SqlType};

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
}

impl Pattern {
    /// Whether no rows at all fit the pattern.
    pub fn may_be_empty(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Sequence(parts) => parts.iter().all(Pattern::may_be_empty),
            Pattern::Choice(parts) => parts.iter().any(Pattern::may_be_empty),
            Pattern::Repeat { of, from, .. } => *from == 0 || of.may_be_empty(),
        }
    }

    /// Whether the repetition takes rows as long as they fit. One that is optional, or whose number is fixed, does not.
    pub fn is_greedy(&self) -> bool {
        match self {
            Pattern::Repeat { from, to, greedy, .. } => *greedy && *to != Some(*from) && (*from, *to) != (0, Some(1)),
            Pattern::Variable(_) | Pattern::Sequence(_) | Pattern::Choice(_) => false,
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
            Pattern::Repeat { of, .. } => of.each_variable(see),
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
        /// How many rows of the partition it then goes back, whatever they belong to.
        back: usize,
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
        match (&self.what, &other.what) {
            (
                What::Row { of: a, first: b, offset: c, back: d, column: e },
                What::Row { of: f, first: g, offset: h, back: i, column: j },
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
            What::Row { of, first, offset, back, column } => What::Row { of, first, offset, back, column: to(column)? },
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

/// All of MATCH_RECOGNIZE but the input and its order.
#[derive(Debug, Clone)]
pub struct MatchRecognize {
    /// The names of the variables.
    pub variables: Vec<String>,
    /// The pattern.
    pub pattern: Pattern,
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
            What::Row { back, .. } => back,
            What::Aggregate { .. } | What::Time | What::Classifier | What::Number => 0,
        });
        back.max().unwrap_or(0)
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
    }
}
