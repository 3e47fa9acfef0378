//! Rows of several keys whose results are due, which become one batch.

use super::OverFactory;
use crate::aggregate::{Groups, Reads, read_results};
use arrow::array::{ArrayRef, UInt32Array};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use weir_core::frame::Frame;
use weir_core::key::{Keys, decode_row};
use weir_core::keyed::{KeyedState, Touched};
use weir_core::{Batch, ColumnBuilder, Result};

/// A row in its stored form.
pub(super) struct Entry {
    pub time: i64,
    /// What its entry is called.
    pub entry: Vec<u8>,
    pub row: Vec<u8>,
}

/// A key with the rows that are due, time by time, and those that its frame may lose.
pub(super) struct KeyRows {
    pub key: Vec<u8>,
    times: Vec<(i64, Vec<Entry>)>,
    pub frame: VecDeque<Entry>,
}

impl KeyRows {
    /// The last time that is due.
    pub fn last(&self) -> i64 {
        self.times.last().map_or(i64::MIN, |(time, _)| *time)
    }
    /// The time of the last row that is due, if one is.
    fn last_row(&self) -> Option<i64> {
        self.times.iter().rev().find(|(_, rows)| !rows.is_empty()).map(|(time, _)| *time)
    }
    /// How many rows are due.
    pub fn rows(&self) -> usize {
        self.times.iter().map(|(_, rows)| rows.len()).sum()
    }
}

/// What has become of the frame of a key.
pub(super) struct Settled {
    pub key: Vec<u8>,
    /// The time of the last row that got its result, if one did.
    pub last: Option<i64>,
    /// Whether no row is left in it.
    pub emptied: bool,
    /// The entries that it has lost.
    pub lost: Vec<Vec<u8>>,
    /// The rows that it has got, by their entries, the oldest first.
    pub new: VecDeque<(Vec<u8>, Vec<u8>)>,
}

/// The results of a page.
pub(super) struct Results {
    pub batch: Option<Batch>,
    /// What has become of the frames, where they are bounded.
    pub frames: Vec<Settled>,
}

/// Rows of several keys.
pub(super) struct Page {
    plan: Arc<OverFactory>,
    pub keys: Vec<KeyRows>,
    known: HashMap<Vec<u8>, usize>,
}

impl Page {
    pub fn new(plan: &Arc<OverFactory>) -> Page {
        Page { plan: plan.clone(), keys: vec![], known: HashMap::new() }
    }

    /// Adds the rows of a key and a time. Times of a key come in their order.
    pub fn add(&mut self, key: Vec<u8>, time: i64, rows: Vec<Entry>) {
        let count = self.keys.len();
        let number = *self.known.entry(key.clone()).or_insert(count);
        if number == count {
            self.keys.push(KeyRows { key, times: vec![], frame: VecDeque::new() });
        }
        let of_key = &mut self.keys[number];
        match of_key.times.last_mut() {
            Some((last, known)) if *last == time => known.extend(rows),
            _ => of_key.times.push((time, rows)),
        }
    }

    /// Computes the results, and changes the keys' aggregates.
    pub fn results(self, state: &mut KeyedState<Groups>) -> Result<Results> {
        let plan = self.plan.clone();
        let mut builders: Vec<ColumnBuilder> =
            plan.input.fields.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect();
        let types: Vec<_> = plan.input.fields.iter().map(|f| f.ty.arrow()).collect();
        let (mut keys, mut count) = (Keys::default(), 0u32);
        for key in &self.keys {
            for e in key.frame.iter().chain(key.times.iter().flat_map(|(_, rows)| rows)) {
                decode_row(&types, &e.row, &mut builders)?;
                keys.push(&key.key);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(Results { batch: None, frames: vec![] });
        }
        let columns: Vec<ArrayRef> = builders.into_iter().map(ColumnBuilder::finish).collect();
        let found = state.places(&keys)?;
        let places: Vec<u32> = found.numbers.iter().map(|n| found.places[*n as usize]).collect();
        let (mut out, mut frames) = (Output::new(&plan), vec![]);
        let mut evaluation = Evaluation::new(&plan, &columns, &places)?;
        state.change(&found.places, |groups, touched| {
            groups.grow(found.places.iter().max().map_or(0, |most| *most as usize + 1));
            let mut row = 0;
            for key in self.keys {
                let settled = evaluation.key(key, &mut row, groups, &mut out)?;
                frames.extend(settled);
            }
            for touched in touched.iter_mut() {
                *touched = Touched { there: true, changed: true };
            }
            Ok(())
        })?;
        Ok(Results { batch: out.finish(&columns)?, frames })
    }
}

/// The rows that go out, and their results.
struct Output {
    plan: Arc<OverFactory>,
    rows: Vec<u32>,
    results: Vec<ColumnBuilder>,
}

impl Output {
    fn new(plan: &Arc<OverFactory>) -> Output {
        let of_calls = &plan.schema.fields[plan.input.len()..];
        let results = of_calls.iter().map(|f| ColumnBuilder::new(&f.ty.arrow())).collect();
        Output { plan: plan.clone(), rows: vec![], results }
    }

    /// A row, whose results are those of its group now.
    fn row(&mut self, row: u32, groups: &Groups, at: usize) -> Result<()> {
        self.rows.push(row);
        let mut values = vec![];
        read_results(&self.plan.calls, groups, at, &mut values)?;
        self.results.iter_mut().zip(&values).for_each(|(builder, value)| builder.push(value));
        Ok(())
    }

    fn finish(self, columns: &[ArrayRef]) -> Result<Option<Batch>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let rows = UInt32Array::from(self.rows);
        let mut all: Vec<ArrayRef> =
            columns.iter().map(|c| arrow::compute::take(c, &rows, None)).collect::<Result<_, _>>()?;
        all.extend(self.results.into_iter().map(ColumnBuilder::finish));
        Batch::from_columns(self.plan.schema.arrow(), all, rows.len()).map(Some)
    }
}

/// The rows of a page as aggregates see them.
struct Evaluation<'a> {
    plan: &'a OverFactory,
    places: &'a [u32],
    reads: Reads,
    /// The sign of rows that go.
    gone: Vec<i64>,
}

impl<'a> Evaluation<'a> {
    fn new(plan: &'a OverFactory, columns: &[ArrayRef], places: &'a [u32]) -> Result<Evaluation<'a>> {
        Ok(Evaluation { plan, places, reads: Reads::of(&plan.calls, columns)?, gone: vec![-1; places.len()] })
    }

    /// Takes rows into their group, or out of it.
    fn take(&self, rows: &[u32], go: bool, groups: &mut Groups) -> Result<()> {
        self.reads.take(groups, self.places, Some(rows), go.then_some(self.gone.as_slice()))
    }

    /// Gives the rows of a key their results. `row` is the first of the key's in the page.
    fn key(&mut self, key: KeyRows, row: &mut u32, groups: &mut Groups, out: &mut Output) -> Result<Option<Settled>> {
        let (at, bounded) = (self.places[*row as usize] as usize, self.plan.frame.is_bounded());
        let (last, lost, new) = (key.last_row(), vec![], VecDeque::new());
        let mut settled = Settled { key: key.key, last, emptied: false, lost, new };
        let number = |row: &mut u32| {
            *row += 1;
            *row - 1
        };
        // Those of the frame, the oldest first: with what the store calls them, where it knows them.
        let mut frame: VecDeque<(u32, i64, Option<Vec<u8>>)> =
            key.frame.into_iter().map(|e| (number(row), e.time, Some(e.entry))).collect();
        for (time, entries) in key.times {
            let rows: Vec<u32> = entries.iter().map(|_| number(row)).collect();
            if let Frame::Times(range) = self.plan.frame {
                while let Some((old, _, stored)) = frame.pop_front_if(|(_, t, _)| *t < time.saturating_sub(range)) {
                    self.lose(old, stored, groups, &mut settled)?;
                }
            }
            if self.plan.frame.takes_peers() {
                self.take(&rows, false, groups)?;
            }
            for (n, e) in rows.iter().zip(entries) {
                if !self.plan.frame.takes_peers() {
                    self.take(&[*n], false, groups)?;
                }
                if bounded {
                    frame.push_back((*n, time, None));
                    settled.new.push_back((e.entry, e.row));
                }
                if let Frame::Rows(most) = self.plan.frame
                    && groups.rows[at].unsigned_abs() > most.saturating_add(1)
                    && let Some((old, _, stored)) = frame.pop_front()
                {
                    self.lose(old, stored, groups, &mut settled)?;
                }
                out.row(*n, groups, at)?;
            }
        }
        if !bounded {
            return Ok(None);
        }
        settled.emptied = groups.rows[at] <= 0;
        if settled.emptied {
            // What is left are errors of rounding.
            groups.reset(at);
        }
        Ok(Some(settled))
    }

    /// A row leaves the frame: its entry goes from the store, or never comes there.
    fn lose(&self, row: u32, stored: Option<Vec<u8>>, groups: &mut Groups, settled: &mut Settled) -> Result<()> {
        self.take(&[row], true, groups)?;
        match stored {
            Some(entry) => settled.lost.push(entry),
            // Of those that are new the oldest goes first.
            None => _ = settled.new.pop_front(),
        }
        Ok(())
    }
}
