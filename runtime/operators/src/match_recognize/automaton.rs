//! Compiles patterns into automata, which are those of Flink: the same states, in which transitions are tried in the same order.

use std::collections::BTreeSet;
use weir_expr::match_recognize::Pattern;

/// What a transition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Takes the row as one of a variable, if the variable's condition holds.
    Take(usize),
    /// Goes on to another state with the same row.
    Proceed,
}

/// A transition between states.
#[derive(Debug, Clone)]
pub(super) struct Transition {
    pub action: Action,
    pub to: u32,
    /// Variables that must not hold for the row, because a greedy repetition would have taken it.
    pub unless: Vec<usize>,
    /// Whether the row that is taken is excluded from the output.
    pub excluded: bool,
}

/// A state.
#[derive(Debug, Clone, Default)]
struct State {
    transitions: Vec<Transition>,
    /// The variables whose conditions may be asked for in this state.
    asks: Vec<usize>,
}

/// The state in which a match is complete.
pub(super) const COMPLETE: u32 = 0;

/// An automaton.
#[derive(Debug)]
pub(super) struct Automaton {
    states: Vec<State>,
    start: u32,
    /// Whether a pattern is compiled whose rows are excluded from the output.
    excluding: bool,
}

/// A row that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// The variable that it belongs to.
    pub variable: usize,
    /// Whether it is excluded from the output.
    pub excluded: bool,
    /// The state afterwards.
    pub to: u32,
    /// Whether the match may be complete with this row.
    pub completes: bool,
}

impl Automaton {
    /// Compiles a pattern.
    pub fn new(pattern: &Pattern) -> Automaton {
        let mut automaton = Automaton { states: vec![State::default()], start: COMPLETE, excluding: false };
        automaton.start = automaton.convert(pattern, COMPLETE);
        for at in 0..automaton.states.len() {
            let mut asks = BTreeSet::new();
            automaton.reachable(at as u32, |t| {
                asks.extend(&t.unless);
                if let Action::Take(variable) = t.action {
                    asks.insert(variable);
                    // A match may be complete in the state that follows, under conditions of this row.
                    automaton.reachable(t.to, |t| asks.extend(t.unless.iter().filter(|_| t.action == Action::Proceed)));
                }
            });
            automaton.states[at].asks = asks.into_iter().collect();
        }
        automaton
    }

    /// The state before the first row.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The variables whose conditions may be asked for in a state.
    pub fn asks(&self, state: u32) -> &[usize] {
        &self.states[state as usize].asks
    }

    /// The number of states.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Calls `see` with each transition of a state and of those that it proceeds to.
    fn reachable(&self, state: u32, mut see: impl FnMut(&Transition)) {
        let (mut next, mut seen) = (vec![state], BTreeSet::new());
        while let Some(at) = next.pop() {
            if !seen.insert(at) {
                continue;
            }
            for t in &self.states[at as usize].transitions {
                see(t);
                if t.action == Action::Proceed {
                    next.push(t.to);
                }
            }
        }
    }

    /// The ways in which a row is taken in a state, in order. `holds` says whether the condition of a variable holds for the row.
    pub fn step(&self, state: u32, holds: &dyn Fn(usize) -> bool) -> Vec<Taken> {
        let (mut next, mut seen, mut taken) = (vec![state], vec![], vec![]);
        while let Some(at) = next.pop() {
            if seen.contains(&at) {
                continue;
            }
            seen.push(at);
            for Transition { action, to, unless, excluded } in &self.states[at as usize].transitions {
                let may = !unless.iter().any(|v| holds(*v));
                match action {
                    Action::Proceed if may => next.push(*to),
                    Action::Take(variable) if may && holds(*variable) => {
                        let completes = *to == COMPLETE || self.ends(*to, holds);
                        taken.push(Taken { variable: *variable, excluded: *excluded, to: *to, completes });
                    }
                    Action::Proceed | Action::Take(_) => {}
                }
            }
        }
        taken
    }

    /// Whether a state leads to the end of the pattern without a further row.
    fn ends(&self, state: u32, holds: &dyn Fn(usize) -> bool) -> bool {
        let (mut next, mut seen) = (vec![state], vec![]);
        while let Some(at) = next.pop() {
            if seen.contains(&at) {
                continue;
            }
            seen.push(at);
            for t in &self.states[at as usize].transitions {
                if t.action == Action::Proceed && !t.unless.iter().any(|v| holds(*v)) {
                    if t.to == COMPLETE {
                        return true;
                    }
                    next.push(t.to);
                }
            }
        }
        false
    }

    fn add(&mut self, transitions: Vec<Transition>) -> u32 {
        self.states.push(State { transitions, asks: vec![] });
        self.states.len() as u32 - 1
    }

    /// Adds the states of a pattern that lead to the state `after`. Returns the first one.
    fn convert(&mut self, pattern: &Pattern, after: u32) -> u32 {
        match pattern {
            Pattern::Variable(variable) => self.add(vec![take((*variable, self.excluding), after)]),
            Pattern::Excluded(of) => {
                let around = std::mem::replace(&mut self.excluding, true);
                let first = self.convert(of, after);
                self.excluding = around;
                first
            }
            Pattern::Sequence(parts) => parts.iter().rev().fold(after, |after, p| self.convert(p, after)),
            Pattern::Choice(parts) => {
                // The last one that is proceeded to is tried first.
                let firsts: Vec<u32> = parts.iter().map(|p| self.convert(p, after)).collect();
                self.add(firsts.into_iter().rev().map(proceed).collect())
            }
            Pattern::Repeat { of, from, to, greedy } => {
                let behind = if pattern.is_greedy() { self.behind_greedy(of, after) } else { after };
                self.repeat(of, *from, *to, *greedy, behind)
            }
        }
    }

    /// The state behind a greedy repetition, which is only left with a row that cannot be the first of another round.
    fn behind_greedy(&mut self, of: &Pattern, after: u32) -> u32 {
        let (mut firsts, states) = (BTreeSet::new(), self.states.len());
        let round = self.convert(of, COMPLETE);
        self.reachable(round, |t| {
            if let Action::Take(variable) = t.action {
                firsts.insert(variable);
            }
        });
        self.states.truncate(states);
        let only = Transition { unless: firsts.into_iter().collect(), ..proceed(after) };
        self.add(vec![only])
    }

    fn repeat(&mut self, of: &Pattern, from: u32, to: Option<u32>, greedy: bool, after: u32) -> u32 {
        if let (0, Some(1), false, Some(_)) = (from, to, greedy, self.variable(of)) {
            let once = self.convert(of, after);
            return self.add(vec![proceed(once), proceed(after)]);
        }
        let least = from.max(1);
        let mut next = match to {
            Some(_) => after,
            None => self.endless(of, greedy, after),
        };
        for _ in least..to.unwrap_or(least) {
            next = self.optional(of, greedy, next, after);
        }
        for _ in 1..least {
            next = self.convert(of, next);
        }
        match from {
            0 if to == Some(0) => after,
            0 => self.optional(of, greedy, next, after),
            _ => self.convert(of, next),
        }
    }

    /// The variable that a pattern is, and whether its rows are excluded; none for other patterns.
    fn variable(&self, of: &Pattern) -> Option<(usize, bool)> {
        match of.bare() {
            Pattern::Variable(v) => Some((*v, self.excluding || matches!(of, Pattern::Excluded(_)))),
            _ => None,
        }
    }

    /// A state that takes a pattern again and again, or proceeds.
    fn endless(&mut self, of: &Pattern, greedy: bool, after: u32) -> u32 {
        let at = self.add(vec![]);
        self.states[at as usize].transitions = match self.variable(of) {
            Some(variable) => vec![proceed(after), take(variable, at)],
            None => {
                let round = self.convert(of, at);
                // The last one that is proceeded to is tried first.
                if greedy { vec![proceed(after), proceed(round)] } else { vec![proceed(round), proceed(after)] }
            }
        };
        at
    }

    /// A state that takes a pattern and goes on at `next`, or proceeds to `after`.
    fn optional(&mut self, of: &Pattern, greedy: bool, next: u32, after: u32) -> u32 {
        match self.variable(of) {
            Some(variable) => self.add(vec![take(variable, next), proceed(after)]),
            None => {
                let once = self.convert(of, next);
                let both = if greedy { [after, once] } else { [once, after] };
                self.add(both.map(proceed).to_vec())
            }
        }
    }
}

fn take((variable, excluded): (usize, bool), to: u32) -> Transition {
    Transition { action: Action::Take(variable), to, unless: vec![], excluded }
}

fn proceed(to: u32) -> Transition {
    Transition { action: Action::Proceed, to, unless: vec![], excluded: false }
}
