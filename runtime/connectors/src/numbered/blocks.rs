//! Assigns rows to subtasks, over any number of changes of parallelism. Rows are assigned in blocks, round robin. Each parallelism that the
//! job has had is an assignment with the positions of its subtasks. A block has been generated if any assignment says so.

use std::collections::BTreeMap;
use weir_core::stored::{self, Reader, Stored};
use weir_core::{Error, Result};

/// Rows of a block.
pub const BLOCK: u64 = 4096;

/// The prefix of the keys of positions.
pub const PREFIX: &[u8] = &[0, 1];

/// The position of each subtask of an assignment: its next block, and how many rows of that block it has generated.
type Assignment = Vec<(u64, u64)>;

/// Everything that has been generated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignments(BTreeMap<u32, Assignment>);

/// The key of a subtask's position in the state.
pub fn key(assignment: u32, subtask: usize) -> Vec<u8> {
    [PREFIX, &assignment.to_be_bytes(), &(subtask as u32).to_be_bytes()].concat()
}

/// A subtask's position: the number of subtasks, its next block, and how many rows of that block it has generated.
struct Position {
    subtasks: u64,
    next: u64,
    within: u64,
}

impl Stored for Position {
    const LAYOUT: u8 = 1;
    const NAME: &'static str = "the position of made-up rows";
    fn write(&self, out: &mut Vec<u8>) {
        [self.subtasks, self.next, self.within].iter().for_each(|n| stored::put(out, *n));
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Position { subtasks: from.number()?, next: from.number()?, within: from.number()? })
    }
}

/// The value of a subtask's position: the number of subtasks, its next block, and how many rows of that block it has generated.
pub fn position(subtasks: u64, next: u64, within: u64) -> Vec<u8> {
    stored::encode(&Position { subtasks, next, within })
}

impl Assignments {
    /// Reads the positions in the state.
    ///
    /// # Errors
    /// If a key or a value is not one that this source writes.
    pub fn read(state: &[(Vec<u8>, Vec<u8>)]) -> Result<Assignments> {
        let mut assignments = Assignments::default();
        let damaged =
            || Error::state("the position of made-up rows in the state is damaged").hint("start with --fresh");
        for (k, v) in state {
            let number = |from: &mut &[u8]| -> Option<u32> {
                let (head, rest) = from.split_first_chunk::<4>()?;
                *from = rest;
                Some(u32::from_be_bytes(*head))
            };
            let mut key = k.strip_prefix(PREFIX).ok_or_else(damaged)?;
            let (assignment, subtask) = number(&mut key).zip(number(&mut key)).ok_or_else(damaged)?;
            let Position { subtasks, next, within } = stored::decode(v)?;
            let assignment = assignments.0.entry(assignment).or_default();
            if assignment.is_empty() {
                // A subtask that never finished a row is not in the state. It starts at its own number.
                *assignment = (0..subtasks.min(1 << 16)).map(|l| (l, 0)).collect();
            }
            *assignment.get_mut(subtask as usize).ok_or_else(damaged)? = (next, within);
        }
        Ok(assignments)
    }

    /// How many rows of a block have been generated.
    pub fn made(&self, block: u64) -> u64 {
        let of = |assignment: &Assignment| {
            let (next, within) = assignment[block as usize % assignment.len()];
            match block.cmp(&next) {
                std::cmp::Ordering::Less => BLOCK,
                std::cmp::Ordering::Equal => within,
                std::cmp::Ordering::Greater => 0,
            }
        };
        self.0.values().filter(|l| !l.is_empty()).map(of).max().unwrap_or(0)
    }

    /// The assignment for `parallelism` subtasks, and the position of one of them.
    pub fn position_of(&self, subtasks: usize, subtask: usize) -> (u32, u64, u64) {
        match self.0.last_key_value() {
            Some((n, assignment)) if assignment.len() == subtasks => (*n, assignment[subtask].0, assignment[subtask].1),
            last => (last.map_or(0, |(n, _)| n + 1), subtask as u64, 0),
        }
    }

    /// The keys of assignments that are obsolete, because the last one covers everything that they have.
    pub fn obsolete(&self) -> Vec<Vec<u8>> {
        let Some((last, now)) = self.0.last_key_value() else { return vec![] };
        let first = now.iter().map(|(next, _)| *next).min().unwrap_or(0);
        let over = |l: &Assignment| l.iter().all(|(next, within)| *next < first || *next == first && *within == 0);
        let assignments = self.0.iter().filter(|(n, l)| *n != last && over(l));
        assignments.flat_map(|(n, l)| (0..l.len()).map(|subtask| key(*n, subtask))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_block_is_made_once_whatever_the_lanes() {
        // Pseudo-random numbers, the same in every run.
        let mut seed = 7_u64;
        let mut draw = move |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        for _ in 0..50 {
            let mut state: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
            for _ in 0..30 {
                let entries: Vec<_> = state.clone().into_iter().collect();
                let assignments = Assignments::read(&entries).expect("what was written");
                for k in assignments.obsolete() {
                    state.remove(&k);
                }
                let subtasks = 1 + draw(5);
                for subtask in 0..subtasks as usize {
                    let (assignment, mut next, mut within) = assignments.position_of(subtasks as usize, subtask);
                    for _ in 0..draw(6) {
                        while within == 0 && assignments.made(next) >= BLOCK {
                            next += subtasks;
                        }
                        within = within.max(assignments.made(next));
                        let part = (1 + draw(BLOCK)).min(BLOCK - within);
                        for row in [within, within + part - 1] {
                            // The first and last row of each piece are enough to detect overlapping pieces.
                            let seen = rows.entry(next * BLOCK + row).or_default();
                            *seen += if part == 1 { 1 } else { 2 };
                            assert!(*seen <= 2, "block {next}, row {row}");
                        }
                        within += part;
                        if within == BLOCK {
                            (next, within) = (next + subtasks, 0);
                        }
                        state.insert(key(assignment, subtask), position(subtasks, next, within));
                    }
                }
            }
            assert!(state.len() < 120, "{} keys are kept", state.len());
        }
    }
}
