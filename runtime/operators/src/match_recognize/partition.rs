//! The state of a partition: its matches, and the rows that they consist of, each of which is kept once.

use super::automaton::Automaton;
use super::matches::{Matches, Partial, Path, Run};
use arrow::datatypes::DataType;
use std::collections::VecDeque;
use weir_core::key::{decode_value, encode_value};
use weir_core::keyed::Codec;
use weir_core::state::StateHandle;
use weir_core::{Error, Result, Value, varint};

/// The columns of a row that are read.
pub(super) type Row = Box<[Value<'static>]>;

/// The state of a partition.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub matches: Matches,
    /// The rows from the first that is needed, without gaps.
    pub rows: VecDeque<Row>,
    /// The number of the first of these.
    pub first: u64,
    /// The number of the next row.
    pub next: u64,
    /// The number of matches so far.
    pub found: u64,
    /// The time of the timer that is set.
    pub timer: Option<i64>,
    /// The bytes of the rows, estimated.
    bytes: usize,
}

impl Partition {
    /// Nothing has come.
    pub fn new(automaton: &Automaton) -> Partition {
        let matches = Matches::new(automaton);
        Partition { matches, rows: VecDeque::new(), first: 0, next: 0, found: 0, timer: None, bytes: 0 }
    }

    /// Keeps the next row.
    pub fn push(&mut self, row: Row) {
        if self.rows.is_empty() {
            self.first = self.next;
        }
        self.bytes += bytes_of(&row);
        self.rows.push_back(row);
    }

    /// The bytes of the rows and matches, estimated.
    pub fn size(&self) -> usize {
        let partial = self.matches.partial.elements().iter().filter_map(|p| p.path.as_ref());
        let of_path = |p: &Path| size_of::<Partial>() + p.runs.len() * size_of::<Run>();
        self.bytes + partial.chain(self.matches.complete.elements()).map(of_path).sum::<usize>()
    }

    /// Drops the rows that no match needs, but for so many in front of each match.
    pub fn trim(&mut self, reach: usize) {
        let needed = self.matches.first_row().unwrap_or(self.next).saturating_sub(reach as u64);
        while self.first < needed
            && let Some(row) = self.rows.pop_front()
        {
            self.first += 1;
            self.bytes = self.bytes.saturating_sub(bytes_of(&row));
        }
    }
}

/// Bytes of a row, estimated.
fn bytes_of(row: &Row) -> usize {
    let more = |v: &Value<'_>| match v {
        Value::Text(s) => s.len(),
        Value::Bytes(b) => b.len(),
        Value::List(l) => l.len() * size_of::<Value<'_>>(),
        Value::Map(m) => 2 * m.len() * size_of::<Value<'_>>(),
        Value::Row(r) => r.len() * size_of::<Value<'_>>(),
        _ => 0,
    };
    size_of::<Row>() + row.iter().map(|v| size_of::<Value<'_>>() + more(v)).sum::<usize>()
}

/// How partitions are stored.
pub(super) struct Partitions {
    /// The types of the columns that are kept of rows.
    pub types: Vec<DataType>,
    /// The number of states of the automaton.
    pub states: usize,
    /// The number of variables. Rows that are excluded from the output have numbers of variables from it on.
    pub variables: u32,
    /// Whether a partition is kept that has no matches, since they are numbered, rows in front of them are read, or its first row begins
    /// the only match.
    pub stays: bool,
}

fn damaged() -> Error {
    Error::state("the matches of a partition in the state are damaged")
        .hint("start with --fresh, or restore an export with `weir state import`")
}

fn number(bytes: &mut &[u8]) -> Result<u64> {
    varint::take(bytes).ok_or_else(damaged)
}

fn small(bytes: &mut &[u8]) -> Result<u32> {
    number(bytes)?.try_into().map_err(|_| damaged())
}

fn signed(bytes: &mut &[u8]) -> Result<i64> {
    varint::take_signed(bytes).ok_or_else(damaged)
}

impl Partitions {
    fn put_path(&self, path: &Path, out: &mut Vec<u8>) {
        varint::put(out, path.start);
        varint::put_signed(out, path.began);
        varint::put(out, path.runs.len() as u64);
        for run in &path.runs {
            let excluded = if run.excluded { self.variables } else { 0 };
            varint::put(out, u64::from(run.variable + excluded));
            varint::put(out, u64::from(run.rows));
        }
    }

    fn path(&self, bytes: &mut &[u8]) -> Result<Path> {
        let (start, began) = (number(bytes)?, signed(bytes)?);
        let mut runs = vec![];
        for _ in 0..number(bytes)? {
            let (variable, rows) = (small(bytes)?, small(bytes)?);
            if variable >= self.variables.saturating_mul(2) {
                return Err(damaged());
            }
            let excluded = variable >= self.variables;
            runs.push(Run { variable: variable % self.variables, excluded, rows });
        }
        Ok(Path { start, began, runs })
    }
}

/// A partition: the time of the last write, numbers, rows, matches that have begun, in the order of their queue, and complete ones.
impl Codec for Partitions {
    type Value = Partition;

    fn encode(&self, _place: u32, p: &Partition, written: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&written.to_be_bytes());
        varint::put(out, p.first);
        varint::put(out, p.next);
        varint::put(out, p.found);
        varint::put(out, u64::from(p.timer.is_some()));
        p.timer.iter().for_each(|t| varint::put_signed(out, *t));
        varint::put(out, p.rows.len() as u64);
        for row in &p.rows {
            row.iter().zip(&self.types).for_each(|(v, ty)| encode_value(v, ty, out));
        }
        varint::put(out, p.matches.partial.elements().len() as u64);
        for Partial { state, path } in p.matches.partial.elements() {
            varint::put(out, u64::from(*state));
            varint::put(out, u64::from(path.is_some()));
            path.iter().for_each(|p| self.put_path(p, out));
        }
        varint::put(out, p.matches.complete.elements().len() as u64);
        p.matches.complete.elements().iter().for_each(|path| self.put_path(path, out));
    }

    fn decode(&mut self, _place: u32, _key: &[u8], bytes: &[u8], _store: &StateHandle) -> Result<Partition> {
        let mut bytes = bytes.get(8..).ok_or_else(damaged)?;
        let bytes = &mut bytes;
        let (first, next, found) = (number(bytes)?, number(bytes)?, number(bytes)?);
        let timer = if number(bytes)? == 0 { None } else { Some(signed(bytes)?) };
        let (mut rows, mut size) = (VecDeque::new(), 0);
        for _ in 0..number(bytes)? {
            let row: Row = self.types.iter().map(|ty| decode_value(ty, bytes)).collect::<Result<_>>()?;
            size += bytes_of(&row);
            rows.push_back(row);
        }
        let mut matches = Matches { partial: Default::default(), complete: Default::default() };
        for _ in 0..number(bytes)? {
            let state = small(bytes)?;
            if state as usize >= self.states {
                return Err(damaged());
            }
            let path = if number(bytes)? == 0 { None } else { Some(self.path(bytes)?) };
            matches.partial.add(Partial { state, path });
        }
        for _ in 0..number(bytes)? {
            matches.complete.add(self.path(bytes)?);
        }
        // What a match refers to must be there.
        let end = first.saturating_add(rows.len() as u64);
        let partial = matches.partial.elements().iter().filter_map(|p| p.path.as_ref());
        let fits = |p: &Path| p.start >= first && p.start.saturating_add(p.rows()) <= end;
        if !partial.chain(matches.complete.elements()).all(fits) {
            return Err(damaged());
        }
        Ok(Partition { matches, rows, first, next, found, timer, bytes: size })
    }

    fn bytes(&self, _place: u32, p: &Partition) -> usize {
        p.size()
    }

    fn is_empty(&self, _place: u32, p: &Partition) -> bool {
        p.matches.is_new() && !self.stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_expr::match_recognize::{Pattern, Skip};

    #[test]
    fn bytes_that_are_no_partition_are_an_error() {
        let again = Pattern::Repeat { of: Box::new(Pattern::Variable(0)), from: 1, to: None, greedy: true };
        let excluded = Pattern::Excluded(Box::new(again.clone()));
        let automaton = Automaton::new(&Pattern::Sequence(vec![again, excluded, Pattern::Variable(1)]));
        let types = vec![DataType::Int64, DataType::Utf8];
        let mut codec = Partitions { types, states: automaton.len(), variables: 2, stays: false };
        let mut partition = Partition::new(&automaton);
        for n in 0..3 {
            let step = partition.matches.step(&automaton, (n, n as i64), &|_, v| v == 0, true, &Skip::ToNextRow);
            assert_eq!(step.expect("a step"), (vec![], true));
            partition.push([Value::Int(n as i64), Value::string(format!("row {n}"))].into());
            partition.next += 1;
        }
        partition.timer = Some(-7);
        let mut bytes = vec![];
        codec.encode(0, &partition, 0, &mut bytes);
        let store = weir_core::memory_store::MemoryStore::default();
        let reader = std::sync::Arc::new(store);
        let operator = weir_core::state::StateBackend::operator(&*reader, "match").expect("an operator");
        let handle = StateHandle { operator, reader };
        let read = codec.decode(0, &[], &bytes, &handle).expect("a partition");
        assert_eq!((read.rows.clone(), read.first, read.next, read.timer), (partition.rows.clone(), 0, 3, Some(-7)));
        assert_eq!(codec.bytes(0, &read), codec.bytes(0, &partition));
        let mut again = vec![];
        codec.encode(0, &read, 0, &mut again);
        assert_eq!(again, bytes);
        for length in 0..bytes.len() {
            assert!(codec.decode(0, &[], &bytes[..length], &handle).is_err(), "{length}");
        }
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let mut other = bytes.clone();
            let at = random.usize(8..other.len());
            other[at] ^= random.u8(1..);
            // It may still be a partition, but never a panic.
            let _ = codec.decode(0, &[], &other, &handle);
        }
    }
}
