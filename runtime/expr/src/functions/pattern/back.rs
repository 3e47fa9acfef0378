//! The backtracking engine for look-around, back references, possessive quantifiers and atomic groups. A pattern becomes a program for a
//! small machine with a limited number of steps.

use super::NoPattern;
use super::Span;
use super::tree::{Anchor, Greed, PatternNode};

/// Maximum number of instructions in a program.
const MOST_INSTRUCTIONS: usize = 20_000;
/// Maximum number of steps in a search, in addition to those that are proportional to the length of the text.
const MOST_STEPS: usize = 5_000_000;

#[derive(Debug)]
enum MatchStep {
    /// Matches one character of a set.
    One(usize),
    /// Continues at the first instruction, and at the second one if that fails.
    Split(usize, usize),
    Jump(usize),
    /// Stores the position in a slot.
    Save(usize),
    /// Leaves the loop of a repetition if the position equals the slot, because the repetition matched nothing.
    Progress(usize),
    At(Anchor, bool),
    /// Checks whether the instructions up to the next `Done` match here, or do not, and continues after them.
    Look {
        negative: bool,
        behind: Option<(usize, Option<usize>)>,
        next: usize,
    },
    /// Takes the first match of the instructions up to the next `Done`.
    Atomic {
        next: usize,
    },
    Reference(usize, Option<bool>),
    /// The position at which a look-behind must end.
    Target,
    Done,
}

/// A set of characters.
#[derive(Debug)]
struct Set {
    source: String,
    ascii: u128,
    others: regex::Regex,
}

impl Set {
    fn holds(&self, c: char, text: &str) -> bool {
        if c.is_ascii() { self.ascii >> (c as u32) & 1 == 1 } else { self.others.is_match(text) }
    }
}

#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<MatchStep>,
    sets: Vec<Set>,
    slots: usize,
    groups: usize,
}

impl Program {
    pub(super) fn new(node: &PatternNode, groups: usize) -> Result<Program, NoPattern> {
        let mut program = Program { steps: vec![], sets: vec![], slots: 2 * (groups + 1), groups };
        program.steps.push(MatchStep::Save(0));
        program.add(node)?;
        program.steps.push(MatchStep::Save(1));
        program.steps.push(MatchStep::Done);
        Ok(program)
    }

    fn push(&mut self, step: MatchStep) -> Result<usize, NoPattern> {
        if self.steps.len() >= MOST_INSTRUCTIONS {
            return Err(NoPattern::Unsupported("a pattern of this size, with its repetitions written out".to_string()));
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn set(&mut self, source: &str) -> Result<usize, NoPattern> {
        if let Some(at) = self.sets.iter().position(|s| s.source == source) {
            return Ok(at);
        }
        let compiled = regex::Regex::new(&format!(r"\A(?:{source})\z"));
        let others = compiled.map_err(|_| NoPattern::Unsupported("one of its classes of characters".to_string()))?;
        let ascii = (0u8..128)
            .filter(|b| others.is_match(char::from(*b).encode_utf8(&mut [0; 4])))
            .fold(0u128, |all, b| all | 1 << b);
        self.sets.push(Set { source: source.to_string(), ascii, others });
        Ok(self.sets.len() - 1)
    }

    fn add(&mut self, node: &PatternNode) -> Result<(), NoPattern> {
        match node {
            PatternNode::One(source) => {
                let set = self.set(source)?;
                self.push(MatchStep::One(set))?;
            }
            PatternNode::Sequence(all) => all.iter().try_for_each(|n| self.add(n))?,
            PatternNode::Choice(all) => {
                let mut ends = vec![];
                for (i, n) in all.iter().enumerate() {
                    if i + 1 == all.len() {
                        self.add(n)?;
                        break;
                    }
                    let split = self.push(MatchStep::Done)?;
                    self.add(n)?;
                    ends.push(self.push(MatchStep::Done)?);
                    self.steps[split] = MatchStep::Split(split + 1, self.steps.len());
                }
                let behind = self.steps.len();
                ends.into_iter().for_each(|e| self.steps[e] = MatchStep::Jump(behind));
            }
            PatternNode::Group(number, n) => {
                self.push(MatchStep::Save(2 * number))?;
                self.add(n)?;
                self.push(MatchStep::Save(2 * number + 1))?;
            }
            PatternNode::Repeat { node, least, most, greed } => self.repeat(node, *least, *most, *greed)?,
            PatternNode::Atomic(n) => {
                let at = self.push(MatchStep::Done)?;
                self.add(n)?;
                let end = self.push(MatchStep::Done)?;
                self.steps[at] = MatchStep::Atomic { next: end + 1 };
            }
            PatternNode::Look { node, behind, negative } => {
                let at = self.push(MatchStep::Done)?;
                self.add(node)?;
                if *behind {
                    self.push(MatchStep::Target)?;
                }
                let end = self.push(MatchStep::Done)?;
                let behind = behind.then(|| width(node));
                self.steps[at] = MatchStep::Look { negative: *negative, behind, next: end + 1 };
            }
            PatternNode::Reference(group, case) => {
                self.push(MatchStep::Reference(*group, *case))?;
            }
            PatternNode::At(place, unix) => {
                self.push(MatchStep::At(*place, *unix))?;
            }
        }
        Ok(())
    }

    fn repeat(&mut self, node: &PatternNode, least: u32, most: Option<u32>, greed: Greed) -> Result<(), NoPattern> {
        let choice = |first, second| match greed {
            Greed::Most => MatchStep::Split(first, second),
            Greed::Least => MatchStep::Split(second, first),
        };
        if least.max(most.unwrap_or(0)) as usize > MOST_INSTRUCTIONS {
            return Err(NoPattern::Unsupported("a repetition that often, in a pattern that goes back".to_string()));
        }
        for _ in 0..least {
            self.add(node)?;
        }
        match most {
            None => {
                let slot = self.slots;
                self.slots += 1;
                let split = self.push(MatchStep::Done)?;
                self.push(MatchStep::Save(slot))?;
                self.add(node)?;
                self.push(MatchStep::Progress(slot))?;
                self.push(MatchStep::Jump(split))?;
                self.steps[split] = choice(split + 1, self.steps.len());
            }
            Some(most) => {
                let mut splits = vec![];
                for _ in least..most {
                    splits.push(self.push(MatchStep::Done)?);
                    self.add(node)?;
                }
                let behind = self.steps.len();
                splits.into_iter().for_each(|s| self.steps[s] = choice(s + 1, behind));
            }
        }
        Ok(())
    }

    /// The first match from a position on: the spans of its groups, the whole match first.
    pub(super) fn find(&self, text: &str, at: usize) -> Result<Option<Vec<Option<Span>>>, String> {
        let mut run = Run {
            program: self,
            text,
            begin: at,
            target: at,
            slots: vec![usize::MAX; self.slots],
            left: MOST_STEPS.saturating_add(text.len().saturating_mul(8)),
        };
        let starts = text[at..].char_indices().map(|(i, _)| at + i).chain([text.len()]);
        for start in starts {
            run.slots.fill(usize::MAX);
            if run.run(0, start)?.is_some() {
                let group = |g: usize| match (run.slots[2 * g], run.slots[2 * g + 1]) {
                    (usize::MAX, _) | (_, usize::MAX) => None,
                    (from, to) => Some((from, to)),
                };
                return Ok(Some((0..=self.groups).map(group).collect()));
            }
        }
        Ok(None)
    }
}

/// The minimum and maximum number of characters that a node matches.
fn width(node: &PatternNode) -> (usize, Option<usize>) {
    let add = |(a, b): (usize, Option<usize>), (c, d): (usize, Option<usize>)| {
        (a.saturating_add(c), b.zip(d).map(|(b, d)| b.saturating_add(d)))
    };
    match node {
        PatternNode::One(_) => (1, Some(1)),
        PatternNode::Sequence(all) => all.iter().map(width).fold((0, Some(0)), add),
        PatternNode::Choice(all) => {
            let widths = all.iter().map(width);
            widths.reduce(|(a, b), (c, d)| (a.min(c), b.zip(d).map(|(b, d)| b.max(d)))).unwrap_or((0, Some(0)))
        }
        PatternNode::Group(_, n) | PatternNode::Atomic(n) => width(n),
        PatternNode::Repeat { node, least, most, .. } => {
            let (a, b) = width(node);
            (a.saturating_mul(*least as usize), b.zip(*most).map(|(b, m)| b.saturating_mul(m as usize)))
        }
        PatternNode::Reference(..) => (0, None),
        PatternNode::Look { .. } | PatternNode::At(..) => (0, Some(0)),
    }
}

/// What to do when matching fails: to try another way, or to restore a slot.
enum Back {
    Try(usize, usize),
    Restore(usize, usize),
}

/// A search in a text.
struct Run<'a> {
    program: &'a Program,
    text: &'a str,
    begin: usize,
    target: usize,
    slots: Vec<usize>,
    left: usize,
}

impl Run<'_> {
    /// Runs from an instruction at a position to the next `Done`. Returns the position there.
    #[expect(clippy::too_many_lines, reason = "one loop over one flat match, an arm an instruction")]
    fn run(&mut self, step: usize, at: usize) -> Result<Option<usize>, String> {
        let program = self.program;
        let (mut step, mut at) = (step, at);
        let mut back: Vec<Back> = vec![];
        loop {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or("the pattern takes more steps on this text than are allowed: it tries too many ways to match")?;
            let holds = match &program.steps[step] {
                MatchStep::Done => return Ok(Some(at)),
                MatchStep::One(set) => match self.text[at..].chars().next() {
                    Some(c) if program.sets[*set].holds(c, &self.text[at..at + c.len_utf8()]) => {
                        at += c.len_utf8();
                        true
                    }
                    _ => false,
                },
                MatchStep::Split(first, second) => {
                    back.push(Back::Try(*second, at));
                    step = *first;
                    continue;
                }
                MatchStep::Jump(to) => {
                    step = *to;
                    continue;
                }
                MatchStep::Save(slot) => {
                    back.push(Back::Restore(*slot, std::mem::replace(&mut self.slots[*slot], at)));
                    true
                }
                MatchStep::Progress(slot) => {
                    // A repetition that matched nothing ends: execution continues after the loop, where the jump would eventually have led.
                    if self.slots[*slot] == at {
                        step += 2;
                        continue;
                    }
                    true
                }
                MatchStep::At(place, unix) => self.is_at(*place, *unix, at),
                MatchStep::Target => at == self.target,
                MatchStep::Reference(group, case) => match (self.slots[2 * group], self.slots[2 * group + 1]) {
                    (usize::MAX, _) | (_, usize::MAX) => false,
                    (from, to) => match same(&self.text[from..to], &self.text[at..], *case) {
                        Some(bytes) => {
                            at += bytes;
                            true
                        }
                        None => false,
                    },
                },
                MatchStep::Atomic { next } => {
                    let before = self.slots.clone();
                    match self.run(step + 1, at)? {
                        Some(end) => {
                            self.remember(&before, &mut back);
                            (step, at) = (*next, end);
                            continue;
                        }
                        None => false,
                    }
                }
                MatchStep::Look { negative, behind, next } => {
                    let before = self.slots.clone();
                    let found = match behind {
                        None => self.run(step + 1, at)?.is_some(),
                        Some((least, most)) => self.looks_behind(step + 1, at, *least, *most)?,
                    };
                    if *negative {
                        self.slots = before;
                    } else {
                        self.remember(&before, &mut back);
                    }
                    if found != *negative {
                        step = *next;
                        continue;
                    }
                    false
                }
            };
            if holds {
                step += 1;
                continue;
            }
            loop {
                match back.pop() {
                    None => return Ok(None),
                    Some(Back::Restore(slot, old)) => self.slots[slot] = old,
                    Some(Back::Try(s, p)) => {
                        (step, at) = (s, p);
                        break;
                    }
                }
            }
        }
    }

    /// Records which slots have changed, so that they are restored when matching fails later.
    fn remember(&self, before: &[usize], back: &mut Vec<Back>) {
        for (slot, old) in before.iter().enumerate() {
            if self.slots[slot] != *old {
                back.push(Back::Restore(slot, *old));
            }
        }
    }

    /// Whether the instructions from `step` on match from some earlier position up to this one.
    fn looks_behind(&mut self, step: usize, at: usize, least: usize, most: Option<usize>) -> Result<bool, String> {
        let text = self.text;
        let starts = [at].into_iter().chain(text[..at].char_indices().rev().map(|(i, _)| i));
        let count = most.map_or(usize::MAX, |m| m.saturating_add(1).saturating_sub(least));
        let outer = std::mem::replace(&mut self.target, at);
        let mut found = false;
        for start in starts.skip(least).take(count) {
            found = self.run(step, start)?.is_some();
            if found {
                break;
            }
        }
        self.target = outer;
        Ok(found)
    }

    fn is_at(&self, place: Anchor, unix: bool, at: usize) -> bool {
        let (before, behind) = (&self.text[..at], &self.text[at..]);
        let breaks = |c: char| c == '\n' || !unix && matches!(c, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let middle = || !unix && before.ends_with('\r') && behind.starts_with('\n');
        match place {
            Anchor::TextBegin => at == 0,
            Anchor::TextEnd => behind.is_empty(),
            Anchor::LastLineEnd => {
                let mut rest = behind.chars();
                let first = rest.next();
                first.is_none_or(|c| breaks(c) && (rest.as_str().is_empty() || !unix && behind == "\r\n") && !middle())
            }
            Anchor::LineBegin => !behind.is_empty() && (at == 0 || before.ends_with(breaks) && !middle()),
            Anchor::LineEnd => behind.is_empty() || behind.starts_with(breaks) && !middle(),
            Anchor::WordBoundary | Anchor::NoWordBoundary => {
                let word = |c: Option<char>| c.is_some_and(|c| c == '_' || c.is_alphanumeric());
                let boundary = word(before.chars().next_back()) != word(behind.chars().next());
                boundary == (place == Anchor::WordBoundary)
            }
            Anchor::SearchBegin => at == self.begin,
        }
    }
}

/// The number of bytes of a text that equal the text of a group.
fn same(taken: &str, text: &str, case: Option<bool>) -> Option<usize> {
    let Some(unicode) = case else {
        return text.starts_with(taken).then_some(taken.len());
    };
    let mut rest = text.chars();
    for c in taken.chars() {
        let d = rest.next()?;
        let equal = if unicode { c.to_lowercase().eq(d.to_lowercase()) } else { c.eq_ignore_ascii_case(&d) };
        if !equal {
            return None;
        }
    }
    Some(text.len() - rest.as_str().len())
}
