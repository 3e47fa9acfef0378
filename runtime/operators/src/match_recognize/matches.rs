//! The matches of a partition: those that are begun, and those that wait for an earlier one. A row is known by its number, and the rows of
//! a match follow each other without a gap.

use super::automaton::{Automaton, COMPLETE, Taken};
use super::queue::{Priority, Queue};
use weir_core::{Error, Result};
use weir_expr::match_recognize::Skip;

/// Rows of a match that follow each other and belong to the same variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub variable: u32,
    /// Whether they are excluded from the output.
    pub excluded: bool,
    pub rows: u32,
}

/// The rows of a match, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    /// The number of the first row.
    pub start: u64,
    /// The time of the first row.
    pub began: i64,
    /// The variables of the rows.
    pub runs: Vec<Run>,
}

impl Path {
    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.runs.iter().map(|r| u64::from(r.rows)).sum()
    }

    /// The path with a further row.
    fn with(&self, taken: &Taken) -> Path {
        let mut path = self.clone();
        push(&mut path.runs, taken.variable as u32, taken.excluded);
        path
    }

    /// The number of the first or last row of some variables.
    fn row_of(&self, variables: &[usize], first: bool) -> Option<u64> {
        let (mut at, mut found) = (self.start, None);
        for run in &self.runs {
            let next = at + u64::from(run.rows);
            if variables.contains(&(run.variable as usize)) {
                if first {
                    return Some(at);
                }
                found = Some(next - 1);
            }
            at = next;
        }
        found
    }
}

/// Appends a row to runs.
pub(super) fn push(runs: &mut Vec<Run>, variable: u32, excluded: bool) {
    match runs.last_mut() {
        Some(last) if (last.variable, last.excluded) == (variable, excluded) && last.rows < u32::MAX => last.rows += 1,
        _ => runs.push(Run { variable, excluded, rows: 1 }),
    }
}

impl Priority for Path {
    fn priority(&self) -> u64 {
        self.start
    }
}

/// A match that has begun, or one that may begin with the next row.
#[derive(Debug, Clone)]
pub(super) struct Partial {
    pub state: u32,
    pub path: Option<Path>,
}

impl Priority for Partial {
    fn priority(&self) -> u64 {
        self.path.as_ref().map_or(u64::MAX, |p| p.start)
    }
}

/// The matches of a partition.
#[derive(Debug, Clone)]
pub(super) struct Matches {
    /// Those that have begun, and the one that may begin with the next row.
    pub partial: Queue<Partial>,
    /// Complete ones that wait until all that began earlier are decided.
    pub complete: Queue<Path>,
}

impl Matches {
    /// Nothing has begun.
    pub fn new(automaton: &Automaton) -> Matches {
        let mut partial = Queue::default();
        partial.add(Partial { state: automaton.start(), path: None });
        Matches { partial, complete: Queue::default() }
    }

    /// Whether nothing has begun.
    pub fn is_new(&self) -> bool {
        self.partial.elements().len() == 1 && self.complete.first().is_none()
    }

    /// The number of the first row that is still needed.
    pub fn first_row(&self) -> Option<u64> {
        let partial = self.partial.first().and_then(|p| p.path.as_ref()).map(|p| p.start);
        let complete = self.complete.first().map(|p| p.start);
        [partial, complete].into_iter().flatten().min()
    }

    /// The time at which the first of the matches that have begun ends without being complete.
    pub fn ends_at(&self, within: i64) -> Option<i64> {
        let first = self.partial.first().and_then(|p| p.path.as_ref())?;
        Some(first.began.saturating_add(within))
    }

    /// Takes a row. `holds` says whether the condition of a variable holds for it behind the match at a place of the queue, and `begins`
    /// whether a match may begin with it. Returns the matches that are certain now, and whether the row is part of a match.
    ///
    /// # Errors
    /// If a match has no row to skip to.
    pub fn step(
        &mut self,
        automaton: &Automaton,
        (row, time): (u64, i64),
        holds: &dyn Fn(usize, usize) -> bool,
        begins: bool,
        skip: &Skip,
    ) -> Result<(Vec<Path>, bool)> {
        let (mut complete, mut any) = (Queue::default(), false);
        for (at, Partial { state, path }) in self.partial.drain().into_iter().enumerate() {
            if path.is_none() && !begins {
                self.partial.add(Partial { state, path });
                continue;
            }
            for taken in automaton.step(state, &|variable| holds(at, variable)) {
                any = true;
                let longer = match &path {
                    Some(path) => path.with(&taken),
                    None => Path { start: row, began: time, runs: vec![] }.with(&taken),
                };
                if taken.completes {
                    complete.add(longer.clone());
                }
                if taken.to != COMPLETE {
                    self.partial.add(Partial { state: taken.to, path: Some(longer) });
                }
            }
            if path.is_none() {
                self.partial.add(Partial { state, path });
            }
        }
        complete.drain().into_iter().for_each(|path| self.complete.add(path));
        Ok((self.certain(skip)?, any))
    }

    /// Drops the matches that are not complete within a time. Returns those that are certain now, and those that were dropped, but for
    /// those behind whose first row matching does not go on because of a match that is certain.
    ///
    /// # Errors
    /// If a match has no row to skip to.
    pub fn expire(&mut self, now: i64, within: i64, skip: &Skip) -> Result<(Vec<Path>, Vec<Path>)> {
        let stays = |p: &Partial| p.path.as_ref().is_none_or(|p| now.saturating_sub(p.began) < within);
        let mut dropped = vec![];
        for p in self.partial.drain() {
            if stays(&p) {
                self.partial.add(p);
            } else {
                dropped.extend(p.path);
            }
        }
        let certain = self.certain(skip)?;
        for m in &certain {
            let from = goes_on(m, skip)?;
            dropped.retain(|p| p.start < m.start || p.start >= from);
        }
        // Several states of the automaton may have the same rows.
        dropped.sort();
        dropped.dedup();
        Ok((certain, dropped))
    }

    /// Takes out the complete matches before which no other one can begin, and drops those that begin in front of where matching goes on.
    fn certain(&mut self, skip: &Skip) -> Result<Vec<Path>> {
        let mut certain = vec![];
        while let Some(next) = self.complete.first() {
            if self.partial.first().is_some_and(|p| p.priority() < next.start) {
                break;
            }
            let Some(path) = self.complete.take_first() else { break };
            let from = goes_on(&path, skip)?;
            self.partial.retain(|p| p.priority() >= from);
            self.complete.retain(|p| p.start >= from);
            certain.push(path);
        }
        Ok(certain)
    }
}

/// The number of the first row with which a match may begin after another one.
fn goes_on(path: &Path, skip: &Skip) -> Result<u64> {
    let (variables, first) = match skip {
        Skip::PastLastRow => return Ok(path.start + path.rows()),
        Skip::ToNextRow => return Ok(path.start + 1),
        Skip::ToFirst(variables) => (variables, true),
        Skip::ToLast(variables) => (variables, false),
    };
    let hint = "AFTER MATCH SKIP PAST LAST ROW and SKIP TO NEXT ROW fit every match";
    match path.row_of(variables, first) {
        None => Err(Error::data("a match has no row of the variable in its AFTER MATCH SKIP TO").hint(hint)),
        Some(row) if row == path.start => {
            Err(Error::data("AFTER MATCH SKIP TO leads to the first row of its match, which would match for ever")
                .hint(hint))
        }
        Some(row) => Ok(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use weir_expr::match_recognize::Pattern;

    /// A variable with how often it is repeated.
    type Part = (usize, u32, Option<u32>, bool);

    fn pattern(parts: &[Part]) -> Pattern {
        let part = |(v, from, to, greedy): &Part| Pattern::Repeat {
            of: Box::new(Pattern::Variable(*v)),
            from: *from,
            to: *to,
            greedy: *greedy,
        };
        Pattern::Sequence(parts.iter().map(part).collect())
    }

    fn is_greedy((_, from, to, greedy): Part) -> bool {
        greedy && to != Some(from) && (from, to) != (0, Some(1))
    }

    /// Whether the parts from one on may be passed without a row, in front of a row or behind the last one. A greedy part is only left
    /// with a row that it would not take.
    fn matched(parts: &[Part], rows: &[Vec<bool>], ends: &mut Vec<usize>, at: usize, count: u32, n: usize) {
        let Some((v, from, to, _)) = parts.get(n).copied() else {
            ends.push(at);
            return;
        };
        if to.is_none_or(|to| count < to) && rows.get(at).is_some_and(|r| r[v]) {
            matched(parts, rows, ends, at + 1, count + 1, n);
        }
        let leaves = !is_greedy(parts[n]) || rows.get(at).is_some_and(|r| !r[v]);
        // Behind the last row, the rest must be empty.
        if count >= from && leaves {
            matched(parts, rows, ends, at, 0, n + 1);
        }
    }

    /// The first and last rows of the matches, by trying all ways for each first row: the shortest match of each, in the order of first
    /// rows, where matching goes on behind a match.
    fn by_hand(parts: &[Part], rows: &[Vec<bool>], past_last: bool) -> Vec<(u64, u64)> {
        let (mut found, mut from) = (vec![], 0);
        while from < rows.len() {
            let mut ends = vec![];
            matched(parts, rows, &mut ends, from, 0, 0);
            match ends.into_iter().min() {
                Some(end) => {
                    found.push((from as u64, end as u64 - 1));
                    from = if past_last { end } else { from + 1 };
                }
                None => from += 1,
            }
        }
        found
    }

    fn by_steps(pattern: &Pattern, rows: &[Vec<bool>], skip: &Skip) -> (Vec<(u64, u64)>, Matches) {
        let automaton = Automaton::new(pattern);
        let (mut matches, mut found) = (Matches::new(&automaton), vec![]);
        for (n, row) in rows.iter().enumerate() {
            let (certain, _) =
                matches.step(&automaton, (n as u64, n as i64), &|_, v| row[v], true, skip).expect("a step");
            found.extend(certain.iter().map(|p| (p.start, p.start + p.rows() - 1)));
        }
        (found, matches)
    }

    #[test]
    fn matches_are_those_found_by_trying_everything() {
        let (mut random, mut all) = (Rng::with_seed(7), 0);
        for round in 0..3000 {
            let mut parts: Vec<Part> = vec![];
            for v in 0..random.usize(1..4) {
                let (from, to) = match random.u8(0..6) {
                    0 => (0, None),
                    1 => (1, None),
                    2 => (0, Some(1)),
                    3 => (1, Some(1)),
                    4 => (random.u32(1..3), None),
                    _ => (random.u32(0..3), Some(random.u32(2..4))),
                };
                parts.push((v, from, to, random.bool() || (from, to) == (0, Some(1))));
            }
            // What Flink and the binder refuse.
            let optional_after_greedy = parts.windows(2).any(|w| is_greedy(w[0]) && w[1].1 == 0);
            let all_optional = parts.iter().all(|p| p.1 == 0);
            if all_optional || optional_after_greedy || pattern(&parts).ends_greedy() {
                continue;
            }
            let mut rows: Vec<Vec<bool>> =
                (0..random.usize(1..9)).map(|_| (0..3).map(|_| random.bool()).collect()).collect();
            // What has begun at the end holds back what follows it.
            rows.extend(vec![vec![false; 3]; 1]);
            for past_last in [false, true] {
                let skip = if past_last { Skip::PastLastRow } else { Skip::ToNextRow };
                let (found, _) = by_steps(&pattern(&parts), &rows, &skip);
                let expected = by_hand(&parts, &rows, past_last);
                assert_eq!(found, expected, "round {round}: {parts:?} {rows:?}");
                all += found.len();
            }
        }
        assert!(all > 3000, "{all} matches: this shows little");
    }

    fn v(n: usize) -> Pattern {
        Pattern::Variable(n)
    }

    fn found(pattern: &Pattern, rows: &[&[usize]], skip: &Skip) -> Vec<Vec<u32>> {
        let automaton = Automaton::new(pattern);
        let (mut matches, mut all) = (Matches::new(&automaton), vec![]);
        for (n, row) in rows.iter().enumerate() {
            let step = matches.step(&automaton, (n as u64, n as i64), &|_, v| row.contains(&v), true, skip);
            all.extend(step.expect("a step").0);
        }
        let rows = |p: Path| p.runs.iter().flat_map(|r| vec![r.variable; r.rows as usize]).collect();
        all.into_iter().map(rows).collect()
    }

    #[test]
    fn groups_and_alternatives_are_tried_in_order() {
        let group =
            Pattern::Repeat { of: Box::new(Pattern::Sequence(vec![v(0), v(1)])), from: 1, to: None, greedy: true };
        let pattern = Pattern::Sequence(vec![group, v(2)]);
        assert_eq!(found(&pattern, &[&[0], &[1], &[0], &[1], &[2]], &Skip::PastLastRow), [[0, 1, 0, 1, 2]]);
        let choice = Pattern::Sequence(vec![v(0), Pattern::Choice(vec![v(1), v(2)]), v(3)]);
        assert_eq!(found(&choice, &[&[0], &[1, 2], &[3]], &Skip::PastLastRow), [[0, 1, 3]]);
        assert_eq!(found(&choice, &[&[0], &[2], &[3]], &Skip::PastLastRow), [[0, 2, 3]]);
        let reluctant = |greedy| {
            let maybe = Pattern::Repeat { of: Box::new(v(1)), from: 0, to: Some(1), greedy };
            Pattern::Sequence(vec![v(0), maybe, v(2), v(3)])
        };
        assert_eq!(found(&reluctant(true), &[&[0], &[1, 2], &[2], &[3]], &Skip::PastLastRow), [[0, 1, 2, 3]]);
        assert_eq!(found(&reluctant(false), &[&[0], &[2, 1], &[3]], &Skip::PastLastRow), [[0, 2, 3]]);
    }

    #[test]
    fn an_undecided_match_holds_back_later_ones() {
        let again = Pattern::Repeat { of: Box::new(v(1)), from: 1, to: None, greedy: true };
        let pattern = Pattern::Sequence(vec![v(0), again, v(2)]);
        let automaton = Automaton::new(&pattern);
        let mut matches = Matches::new(&automaton);
        let mut step = |row: u64, holds: &dyn Fn(usize, usize) -> bool| {
            matches.step(&automaton, (row, row as i64), holds, true, &Skip::ToNextRow).expect("a step").0.len()
        };
        // The first row begins a match; the second one belongs to it and begins another, which is complete with the fourth.
        assert_eq!(step(0, &|_, v| v == 0), 0);
        assert_eq!(step(1, &|_, v| v < 2), 0);
        assert_eq!(step(2, &|_, v| v == 1), 0);
        // The two that have begun are at the places 0 and 1.
        assert_eq!(step(3, &|at, v| if at == 0 { v == 1 } else { v == 2 }), 0);
        let (certain, dropped) = matches.expire(10, 10, &Skip::ToNextRow).expect("a match");
        assert_eq!((certain.len(), dropped.len()), (1, 1));
        assert_eq!((certain[0].start, dropped[0].start), (1, 0));
        assert!(matches.is_new());
    }

    #[test]
    fn a_match_without_a_row_to_skip_to_is_an_error() {
        let run = |variable, rows| Run { variable, excluded: false, rows };
        let path = Path { start: 4, began: 0, runs: vec![run(0, 2), run(1, 3)] };
        assert_eq!(goes_on(&path, &Skip::ToFirst(vec![1])).ok(), Some(6));
        assert_eq!(goes_on(&path, &Skip::ToLast(vec![1])).ok(), Some(8));
        assert_eq!(goes_on(&path, &Skip::PastLastRow).ok(), Some(9));
        assert!(goes_on(&path, &Skip::ToFirst(vec![0])).is_err());
        assert!(goes_on(&path, &Skip::ToLast(vec![2])).is_err());
    }
}
